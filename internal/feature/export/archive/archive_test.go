package archive

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var made = time.Date(2026, 11, 1, 10, 0, 0, 0, time.UTC)

// fatal is what *testing.T and *rapid.T have in common here.
type fatal interface{ Fatalf(string, ...any) }

func must(t fatal, err error) {
	if err != nil {
		t.Fatalf("%v", err)
	}
}

type file struct {
	name    string
	content []byte
}

// write makes an archive of one collection, with its table, and some files.
func write(t fatal, records []string, declared []string, files []file) []byte {
	var out bytes.Buffer
	a := New(&out, made)
	r, err := a.Records("collections/sample/records.ndjson", map[string]string{"kind": "sample"})
	must(t, err)
	columns := NewColumns(declared)
	for _, s := range records {
		must(t, r.Write([]byte(s)))
		must(t, columns.Observe([]byte(s)))
	}
	tab, err := a.Table("collections/sample/records.csv", []string{"id"}, columns, nil)
	must(t, err)
	for i, s := range records {
		must(t, tab.Row([]string{fmt.Sprint("rec_", i)}, []byte(s)))
	}
	for _, f := range files {
		must(t, a.File(f.name, made, int64(len(f.content)), bytes.NewReader(f.content), map[string]any{"original": f.name}))
	}
	must(t, a.Close())
	return out.Bytes()
}

func verify(b []byte) (*Manifest, error) { return Verify(bytes.NewReader(b), int64(len(b))) }

func unpack(t fatal, b []byte) map[string][]byte {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	must(t, err)
	all := map[string][]byte{}
	for _, f := range z.File {
		r, err := f.Open()
		must(t, err)
		all[f.Name], err = io.ReadAll(r)
		must(t, err)
	}
	return all
}

// cells is a strict reader of RFC 4180 that tells a quoted empty cell ("")
// from an empty one and changes no byte: the standard library's does neither.
func cells(t fatal, b []byte) (rows [][]string, quoted [][]bool) {
	s := string(b)
	for len(s) > 0 {
		var row []string
		var marks []bool
		for {
			var cell strings.Builder
			q := strings.HasPrefix(s, `"`)
			if q {
				s = s[1:]
				for {
					i := strings.IndexByte(s, '"')
					if i < 0 {
						t.Fatalf("a cell does not end")
					}
					cell.WriteString(s[:i])
					s = s[i+1:]
					if !strings.HasPrefix(s, `"`) {
						break
					}
					cell.WriteByte('"')
					s = s[1:]
				}
			} else {
				i := strings.IndexAny(s, ",\r\n\"")
				if i < 0 || s[i] == '"' || s[i] == '\n' {
					t.Fatalf("a bare cell with %q", s[:min(len(s), 20)])
				}
				cell.WriteString(s[:i])
				s = s[i:]
			}
			row, marks = append(row, cell.String()), append(marks, q)
			if strings.HasPrefix(s, ",") {
				s = s[1:]
				continue
			}
			if !strings.HasPrefix(s, "\r\n") {
				t.Fatalf("a row that ends with %q", s[:min(len(s), 20)])
			}
			s = s[2:]
			break
		}
		rows, quoted = append(rows, row), append(quoted, marks)
	}
	return
}

func TestAnArchiveHoldsEveryByteAndVerifies(t *testing.T) {
	t.Parallel()
	records := []string{`{"name":"GaAs-17","v":1.10,"tags":["a",1e2]}`, `{"v":-0.0,"note":"line\nbreak, \"quoted\"","e":""}`, `{}`}
	image := make([]byte, 300_000)
	rand.Read(image)
	b := write(t, records, []string{"name", "v"}, []file{{"files/fil_1/frame.png", image}, {"files/fil_2/leer", nil}})
	m, err := verify(b)
	if err != nil {
		t.Fatal(err)
	}
	all := unpack(t, b)
	if got := string(all["collections/sample/records.ndjson"]); got != strings.Join(records, "\n")+"\n" {
		t.Errorf("records: %s", got)
	}
	if !bytes.Equal(all["files/fil_1/frame.png"], image) || len(all["files/fil_2/leer"]) != 0 {
		t.Error("files differ")
	}
	want := "id,name,v,e,note,tags\r\nrec_0,GaAs-17,1.10,,,\"[\"\"a\"\",1e2]\"\r\nrec_1,,-0.0,\"\",\"line\nbreak, \"\"quoted\"\"\",\r\nrec_2,,,,,\r\n"
	if got := string(all["collections/sample/records.csv"]); got != want {
		t.Errorf("table:\n%q\n%q", got, want)
	}
	if m.Totals != (Totals{Entries: 4, Records: 3, Files: 2, Bytes: int64(len(image) + len(want) + len(strings.Join(records, "\n")) + 1)}) {
		t.Errorf("totals %+v", m.Totals)
	}
	if !m.CreatedAt.Equal(made) || string(m.Entries[0].About) != `{"kind":"sample"}` || m.Entries[0].Rows != 3 || m.Entries[1].Rows != 3 {
		t.Errorf("%+v", m.Entries)
	}
	if got := fmt.Sprint(m.Entries[1].Columns); got != "[{id  false} {name name false} {v v false} {e e false} {note note false} {tags tags false}]" {
		t.Error(got)
	}
	z, _ := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if z.File[len(z.File)-1].Name != ManifestName {
		t.Error("the manifest is not last")
	}
	for _, f := range z.File {
		if stored := f.Method == zip.Store; stored != strings.HasPrefix(f.Name, "files/") {
			t.Errorf("%s: method %d", f.Name, f.Method)
		}
	}
}

func TestEntriesOfUnknownSizeAndGridsVerifyToo(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := New(&out, made)
	for _, name := range []string{"r/records.ndjson", "r/schema.json", "f/frame.tiff", "e/empty.ndjson"} {
		w, err := a.Entry(name, made, nil)
		must(t, err)
		if name[0] != 'e' {
			for range 3 {
				_, err = io.WriteString(w, "{\"a\":1}\n")
				must(t, err)
			}
		}
		defer func() {
			if _, err := w.Write([]byte("x")); err == nil {
				t.Error("wrote behind the end of an entry")
			}
		}()
	}
	g, err := a.Grid("r/records.csv", made, []string{"id", "=n", "id"}, nil)
	must(t, err)
	must(t, g.Row([]json.RawMessage{json.RawMessage(`"=x"`), json.RawMessage(`-1.50`), nil}))
	must(t, a.Close())
	m, err := verify(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if m.Totals.Records != 3 || m.Totals.Files != 2 || m.Entries[4].Rows != 1 {
		t.Errorf("%+v", m.Totals)
	}
	if got := string(unpack(t, out.Bytes())["r/records.csv"]); got != "id,'=n,id (2)\r\n'=x,-1.50,\r\n" {
		t.Errorf("%q", got)
	}
	a = New(io.Discard, made)
	for _, name := range []string{"files/fil_1/CON", "files/fil_2/a:b", "files/fil_3/e\u0301..", "files/fil_4/" + strings.Repeat("x", 255)} {
		if _, err := a.Entry(name, made, nil); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	must(t, a.Close())
	if got := SafePath("files/fil_1/../a:b"); got != "files/fil_1/_/a_b" {
		t.Error(got)
	}
	for name, cells := range map[string][]json.RawMessage{"short": nil, "long": make([]json.RawMessage, 2)} {
		a := New(io.Discard, made)
		g, err := a.Grid("g", made, []string{"id"}, nil)
		must(t, err)
		if g.Row(cells) == nil || a.Close() == nil {
			t.Errorf("a row that is too %s", name)
		}
	}
	if _, err := New(io.Discard, made).Grid("g", made, nil, nil); err == nil {
		t.Error("a grid without columns")
	}
}

func TestTheSameExportTwiceIsTheSameArchive(t *testing.T) {
	t.Parallel()
	records := []string{`{"z":1,"y":2,"x":3,"w":4}`, `{"a":1,"b":2,"c":3,"d":4}`}
	if !bytes.Equal(write(t, records, nil, nil), write(t, records, nil, nil)) {
		t.Error("two exports differ")
	}
}

// Export, then read back: every value comes out of both forms.
func TestWhatIsExportedReadsBackEqual(t *testing.T) {
	t.Parallel()
	text := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.RuneFrom([]rune("=+-@\t\r\n'\",; aé日1.e＝"))), rapid.SampledFrom([]string{"", "=1+1", "-5", "+5", "'=x", "''", "null", "1e5", " x ", "\ufeff"}))
	value := rapid.Custom(func(t *rapid.T) any {
		switch rapid.IntRange(0, 4).Draw(t, "type") {
		case 0:
			return nil
		case 1:
			return rapid.Bool().Draw(t, "b")
		case 2:
			return json.Number(rapid.SampledFrom([]string{"0", "-1", "1.10", "-2.5e-3", "12345678901234567890.123"}).Draw(t, "n"))
		case 3:
			return []any{text.Draw(t, "in"), map[string]any{"=k": "@v"}}
		}
		return text.Draw(t, "s")
	})
	rapid.Check(t, func(t *rapid.T) {
		objects := rapid.SliceOfN(rapid.MapOfN(text, value, 0, 5), 0, 6).Draw(t, "records")
		files := map[string][]byte{}
		var list []file
		for i, n := range rapid.SliceOfN(text, 0, 3).Draw(t, "names") {
			f := file{fmt.Sprintf("files/%d/%s", i, SafeName(n)), rapid.SliceOf(rapid.Byte()).Draw(t, "content")}
			files[f.name], list = f.content, append(list, f)
		}
		var records []string
		for _, o := range objects {
			b, err := json.Marshal(o)
			must(t, err)
			records = append(records, string(b))
		}
		b := write(t, records, []string{"declared"}, list)
		m, err := verify(b)
		must(t, err)
		all := unpack(t, b)
		for name, want := range files {
			if !bytes.Equal(all[name], want) {
				t.Fatalf("%s differs", name)
			}
		}
		lines := strings.SplitAfter(string(all["collections/sample/records.ndjson"]), "\n")
		if !slices.Equal(lines[:len(lines)-1], appendLF(records)) {
			t.Fatalf("records differ")
		}
		rows, quoted := cells(t, all["collections/sample/records.csv"])
		columns := m.Entries[1].Columns
		for i, o := range objects {
			for j, c := range columns {
				if j == 0 {
					continue
				}
				cell, q := rows[i+1][j], quoted[i+1][j]
				if Unguard(rows[0][j]) != c.Header {
					t.Fatalf("the header %q says %q", rows[0][j], c.Header)
				}
				switch v := o[c.Member].(type) {
				case nil:
					if cell != "" || q {
						t.Fatalf("null came out as %q", cell)
					}
				case string:
					if Unguard(cell) != v || v == "" && !q {
						t.Fatalf("%q came out as %q", v, cell)
					}
					if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r\n") && !jsonNumber(cell) {
						t.Fatalf("a formula: %q", cell)
					}
				default:
					want, _ := json.Marshal(v)
					if cell != string(want) {
						t.Fatalf("%s came out as %q", want, cell)
					}
				}
			}
		}
	})
}

func appendLF(in []string) (out []string) {
	for _, s := range in {
		out = append(out, s+"\n")
	}
	return
}

func TestNoCellIsRunAsAFormula(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`=cmd|' /C calc'!A0`: `'=cmd|' /C calc'!A0`, "@SUM(A1)": "'@SUM(A1)", "+1": "'+1", "-1+1": "'-1+1", "\t=1": "'\t=1", "\r=1": "'\r=1", "\n=1": "'\n=1", "＝1": "'＝1",
		"-1": "-1", "-1.5e3": "-1.5e3", "-": "'-", "-01": "'-01", "- 1": "'- 1", "-1 ": "'-1 ",
		"'=1": "''=1", "''=1": "'''=1", "'": "'", "'x": "'x", "": "", "1+1": "1+1", "a=b": "a=b",
	} {
		if got := guard(text); got != want {
			t.Errorf("%q is written %q", text, got)
		}
		if got := Unguard(want); got != text {
			t.Errorf("%q is read as %q", want, got)
		}
	}
}

func TestHeadersAreUniqueAndGuardedToo(t *testing.T) {
	t.Parallel()
	b := write(t, []string{`{"id":1,"=x":2,"(rest)":3,"":4}`}, nil, nil)
	rows, _ := cells(t, unpack(t, b)["collections/sample/records.csv"])
	if got := strings.Join(rows[0], "|"); got != "id||(rest)|'=x|id (2)" {
		t.Error(got)
	}
}

func TestColumnsBeyondTheLimitShareOne(t *testing.T) {
	t.Parallel()
	var parts []string
	for i := range MaxColumns + 3 {
		parts = append(parts, fmt.Sprintf(`"m%04d":"<%d>"`, i, i))
	}
	big := "{" + strings.Join(parts, ",") + "}"
	b := write(t, []string{`{"first":1}`, big}, []string{"declared"}, nil)
	m, err := verify(b)
	if err != nil {
		t.Fatal(err)
	}
	columns := m.Entries[1].Columns
	if len(columns) != 1+MaxColumns+1 || !columns[len(columns)-1].Rest || columns[1].Member != "declared" {
		t.Fatalf("%d columns", len(columns))
	}
	rows, _ := cells(t, unpack(t, b)["collections/sample/records.csv"])
	last := rows[2][len(columns)-1]
	rest := map[string]string{}
	if err := json.Unmarshal([]byte(last), &rest); err != nil || len(rest) != 5 {
		t.Errorf("%d members in %s, %v", len(rest), last, err)
	}
	found := 0
	for _, c := range rows[2] {
		if strings.HasPrefix(c, "<") {
			found++
		}
	}
	if found+len(rest) != MaxColumns+3 {
		t.Errorf("%d cells and %d in the rest", found, len(rest))
	}
	if rows[1][len(columns)-1] != "" {
		t.Error("a record without further members has some")
	}
}

func TestNamesAreSafeEverywhere(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"frame.png": "frame.png", "日本語.txt": "日本語.txt", "": "_", ".": "_", "..": "_", "...": "_", "a..": "a", " a ": "a", ".hidden": ".hidden",
		"../../etc/passwd": ".._.._etc_passwd", `C:\x`: "C__x", "a\x00b\x1fc\x7f": "a_b_c_", "a\u202efdp.exe": "a_fdp.exe", "a\u200bb": "a_b", "a\u2028b": "a_b",
		"CON": "_CON", "con.txt": "_con.txt", "Com1": "_Com1", "COM¹.log": "_COM¹.log", "COM10": "COM10", "lpt0": "_lpt0", "nul .tar.gz": "_nul .tar.gz", "aux.": "_aux",
		"e\u0301": "é", "a\xffb": "a_b", "a\u00a0b": "a b", "a<b>c\"d|e?f*g": "a_b_c_d_e_f_g",
		"CON" + strings.Repeat(" ", 120) + "x.txt": "_CON.txt",
		strings.Repeat("é", 100) + ".tar.gz":       strings.Repeat("é", 58) + ".gz",
	} {
		if got := SafeName(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.RuneFrom([]rune("conCON1 ./\\é\u0301\u202e.\x00~"))), rapid.Custom(func(t *rapid.T) string {
			return strings.Repeat(rapid.StringN(1, 3, -1).Draw(t, "s"), 80)
		})).Draw(t, "in")
		s := SafeName(in)
		if again := SafeName(s); again != s {
			t.Fatalf("%q became %q and then %q", in, s, again)
		}
		if s == "" || len(s) > maxElement+1 || strings.ContainsAny(s, "/\\\x00:") || s == "." || s == ".." {
			t.Fatalf("%q became %q", in, s)
		}
	})
}

func TestAWriterRefusesUnsafeAndUsedNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "/a", "a/", "a//b", "../a", "a/../b", "./a", `a\b`, "a/CON", "a\x00", "a/b.", "e\u0301", strings.Repeat("a/", 20) + "a", strings.Repeat("a", 130)} {
		if err := New(io.Discard, made).File(name, made, 0, strings.NewReader(""), nil); !errors.Is(err, errUnsafe) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, pair := range [][2]string{{"a", "a"}, {"a", "A"}, {"straße", "STRASSE"}, {"a", "a/b"}, {"a/b", "a"}, {"A/b", "a"}, {"ﬁle", "file"}, {"K", "\u212a"}} {
		a := New(io.Discard, made)
		if err := a.File(pair[0], made, 0, strings.NewReader(""), nil); err != nil {
			t.Fatal(err)
		}
		if err := a.File(pair[1], made, 0, strings.NewReader(""), nil); err == nil {
			t.Errorf("%q beside %q", pair[1], pair[0])
		}
		if a.Close() == nil {
			t.Error("an archive that failed was closed as if it were whole")
		}
	}
	if err := New(io.Discard, made).File(ManifestName, made, 0, strings.NewReader(""), nil); err == nil {
		t.Error("the manifest's name was given away")
	}
}

func TestWhatWouldBreakTheFormIsRefusedAndEndsTheArchive(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(a *Writer) error{
		"a record with a line break": func(a *Writer) error {
			r, err := a.Records("r", nil)
			must(t, err)
			return r.Write([]byte("{\n}"))
		},
		"an empty record": func(a *Writer) error {
			r, err := a.Records("r", nil)
			must(t, err)
			return r.Write(nil)
		},
		"a record behind the next entry": func(a *Writer) error {
			r, err := a.Records("r", nil)
			must(t, err)
			_, err = a.Records("r2", nil)
			must(t, err)
			return r.Write([]byte("{}"))
		},
		"a row behind the next entry": func(a *Writer) error {
			r, err := a.Table("t", []string{"id"}, NewColumns(nil), nil)
			must(t, err)
			must(t, a.File("f", made, 0, strings.NewReader(""), nil))
			return r.Row([]string{"1"}, []byte("{}"))
		},
		"a row that is too short": func(a *Writer) error {
			r, err := a.Table("t", []string{"id"}, NewColumns(nil), nil)
			must(t, err)
			return r.Row(nil, []byte("{}"))
		},
		"a row that is no object": func(a *Writer) error {
			r, err := a.Table("t", []string{"id"}, NewColumns(nil), nil)
			must(t, err)
			return r.Row([]string{"1"}, []byte("null"))
		},
		"a member that the first pass missed": func(a *Writer) error {
			r, err := a.Table("t", []string{"id"}, NewColumns(nil), nil)
			must(t, err)
			return r.Row([]string{"1"}, []byte(`{"late":"canary"}`))
		},
		"a table without a column": func(a *Writer) error {
			_, err := a.Table("t", nil, NewColumns(nil), nil)
			return err
		},
		"a file that is too short": func(a *Writer) error { return a.File("f", made, 5, strings.NewReader("1234"), nil) },
		"a file that is too long":  func(a *Writer) error { return a.File("f", made, 3, strings.NewReader("1234"), nil) },
		"a file that breaks": func(a *Writer) error {
			return a.File("f", made, 3, io.MultiReader(strings.NewReader("1"), broken{}), nil)
		},
	} {
		var out bytes.Buffer
		a := New(&out, made)
		err := do(a)
		if err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
		if cerr := a.Close(); cerr == nil {
			t.Errorf("%s: closed as if it were whole", name)
		}
		if _, err := verify(out.Bytes()); err == nil {
			t.Errorf("%s: verifies", name)
		}
	}
	a := New(io.Discard, made)
	must(t, a.Close())
	if _, err := a.Records("late", nil); err == nil {
		t.Error("an entry behind the manifest")
	}
	if a.Close() == nil {
		t.Error("closed twice")
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the store is gone") }

func TestAWriterThatFailsIsNotLost(t *testing.T) {
	t.Parallel()
	for _, room := range []int{0, 100, 5000} {
		a := New(&narrow{room}, made)
		err := a.File("f", made, 1<<20, bytes.NewReader(make([]byte, 1<<20)), nil)
		if cerr := a.Close(); err == nil && cerr == nil {
			t.Errorf("%d bytes of room: a whole archive", room)
		}
	}
}

type narrow struct{ room int }

func (n *narrow) Write(p []byte) (int, error) {
	if n.room -= len(p); n.room < 0 {
		return 0, errors.New("no room")
	}
	return len(p), nil
}

// rezip copies an archive, letting change alter or drop entries.
func rezip(t fatal, b []byte, change func(name string, content []byte) (string, []byte, bool), more ...file) []byte {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	must(t, err)
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	put := func(name string, content []byte) {
		f, err := w.Create(name)
		must(t, err)
		_, err = f.Write(content)
		must(t, err)
	}
	all := unpack(t, b)
	for _, f := range z.File {
		if f.Name == ManifestName {
			for _, m := range more {
				put(m.name, m.content)
			}
		}
		if name, content, keep := change(f.Name, bytes.Clone(all[f.Name])); keep {
			put(name, content)
		}
	}
	must(t, w.Close())
	return out.Bytes()
}

func TestVerifyFindsEveryDifference(t *testing.T) {
	t.Parallel()
	b := write(t, []string{`{"a":1}`, `{"a":2}`}, nil, []file{{"files/1/x", []byte("some bytes")}, {"files/2/y", []byte("other bytes")}})
	same := func(n string, c []byte) (string, []byte, bool) { return n, c, true }
	if _, err := verify(rezip(t, b, same)); err != nil {
		t.Fatalf("a faithful copy: %v", err)
	}
	manifest := func(change func(m *Manifest)) func(string, []byte) (string, []byte, bool) {
		return func(n string, c []byte) (string, []byte, bool) {
			if n == ManifestName {
				m := &Manifest{}
				must(t, json.Unmarshal(c, m))
				change(m)
				c, _ = json.Marshal(m)
			}
			return n, c, true
		}
	}
	on := func(name string, change func(c []byte) (string, []byte, bool)) func(string, []byte) (string, []byte, bool) {
		return func(n string, c []byte) (string, []byte, bool) {
			if n == name {
				return change(c)
			}
			return n, c, true
		}
	}
	for name, broken := range map[string][]byte{
		"nothing":              {},
		"no ZIP":               []byte("hello"),
		"an empty ZIP":         {'P', 'K', 5, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"cut":                  b[:len(b)-1],
		"cut in half":          b[:len(b)/2],
		"something before it":  append([]byte(strings.Repeat("#!/bin/sh\n", 100)), b...),
		"a changed byte":       rezip(t, b, on("files/1/x", func(c []byte) (string, []byte, bool) { c[0] ^= 1; return "files/1/x", c, true })),
		"a longer file":        rezip(t, b, on("files/1/x", func(c []byte) (string, []byte, bool) { return "files/1/x", append(c, 0), true })),
		"a missing file":       rezip(t, b, on("files/1/x", func(c []byte) (string, []byte, bool) { return "", nil, false })),
		"a file too many":      rezip(t, b, same, file{"files/3/z", nil}),
		"another name":         rezip(t, b, on("files/1/x", func(c []byte) (string, []byte, bool) { return "files/1/X", c, true })),
		"no manifest":          rezip(t, b, on(ManifestName, func([]byte) (string, []byte, bool) { return "", nil, false })),
		"a manifest not last":  rezip(t, rezip(t, b, on(ManifestName, func(c []byte) (string, []byte, bool) { return "m", c, true })), func(n string, c []byte) (string, []byte, bool) { return n, c, true }),
		"another size":         rezip(t, b, manifest(func(m *Manifest) { m.Entries[2].Size++ })),
		"a negative size":      rezip(t, b, manifest(func(m *Manifest) { m.Entries[2].Size = -1 })),
		"another hash":         rezip(t, b, manifest(func(m *Manifest) { m.Entries[2].SHA256 = strings.Repeat("0", 64) })),
		"another count":        rezip(t, b, manifest(func(m *Manifest) { m.Entries[0].Rows++ })),
		"another count, table": rezip(t, b, manifest(func(m *Manifest) { m.Entries[1].Rows-- })),
		"another type":         rezip(t, b, manifest(func(m *Manifest) { m.Entries[0].Type = TypeFile })),
		"an unknown type":      rezip(t, b, manifest(func(m *Manifest) { m.Entries[2].Type = "device" })),
		"other totals":         rezip(t, b, manifest(func(m *Manifest) { m.Totals.Bytes++ })),
		"another order":        rezip(t, b, manifest(func(m *Manifest) { m.Entries[2], m.Entries[3] = m.Entries[3], m.Entries[2] })),
		"one entry twice":      rezip(t, b, manifest(func(m *Manifest) { m.Entries = append(m.Entries, m.Entries[3]) })),
		"another format":       rezip(t, b, manifest(func(m *Manifest) { m.Format = "x" })),
		"another version":      rezip(t, b, manifest(func(m *Manifest) { m.Version = 2 })),
		"trailing data":        rezip(t, b, on(ManifestName, func(c []byte) (string, []byte, bool) { return ManifestName, append(c, '1'), true })),
		"an unknown member": rezip(t, b, on(ManifestName, func(c []byte) (string, []byte, bool) {
			return ManifestName, append([]byte(`{"x":1,`), c[1:]...), true
		})),
	} {
		m, err := verify(broken)
		var p *Problem
		if !errors.As(err, &p) {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	// A name that is consistent with the manifest and still unsafe.
	evil := func(n string, c []byte) (string, []byte, bool) {
		if n == "files/1/x" {
			n = "files/1/COM1"
		}
		return n, bytes.ReplaceAll(c, []byte("files/1/x"), []byte("files/1/COM1")), true
	}
	if _, err := verify(rezip(t, b, evil)); err == nil || !strings.Contains(err.Error(), "not safe") {
		t.Errorf("an unsafe name: %v", err)
	}
}

func TestVerifyDoesNotUnpackMoreThanTheManifestSays(t *testing.T) {
	t.Parallel()
	// 50 MB of zeros that the manifest calls one byte.
	b := write(t, nil, nil, []file{{"f", []byte{0}}})
	bomb := rezip(t, b, func(n string, c []byte) (string, []byte, bool) {
		if n == "f" {
			c = make([]byte, 50<<20)
		}
		return n, c, true
	})
	start := time.Now()
	if _, err := verify(bomb); err == nil {
		t.Error("verified")
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestMoreEntriesThanAClassicZIPHolds(t *testing.T) {
	if testing.Short() {
		t.Skip("70,000 entries")
	}
	t.Parallel()
	const n = 70_000 // over 65,535: ZIP64
	var out bytes.Buffer
	a := New(&out, made)
	for i := range n {
		must(t, a.File(fmt.Sprintf("files/%d/x", i), made, 1, strings.NewReader("x"), nil))
	}
	must(t, a.Close())
	m, err := verify(out.Bytes())
	if err != nil || m.Totals.Files != n {
		t.Fatalf("%v, %v", m, err)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(write(f, []string{`{"a":1}`}, nil, []file{{"x", []byte("y")}}))
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := verify(b)
		if err == nil && len(m.Entries) != int(m.Totals.Entries) {
			t.Error("verified with wrong totals")
		}
	})
}

func FuzzCell(f *testing.F) {
	f.Add("=1", "'\"\r\n")
	f.Fuzz(func(t *testing.T, a, b string) {
		row := appendCell(nil, guard(a), a == "")
		row = append(appendCell(append(row, ','), guard(b), b == ""), '\r', '\n')
		rows, _ := cells(t, row)
		if len(rows) != 1 || len(rows[0]) != 2 || Unguard(rows[0][0]) != a || Unguard(rows[0][1]) != b {
			t.Errorf("%q and %q came out as %q", a, b, rows)
		}
	})
}

func FuzzSafeName(f *testing.F) {
	f.Add("CON .txt")
	f.Add("e\u0301\u202e..")
	f.Fuzz(func(t *testing.T, s string) {
		safe := SafeName(s)
		if SafeName(safe) != safe || checkName(safe) != nil {
			t.Errorf("%q became %q", s, safe)
		}
	})
}

func BenchmarkFile(b *testing.B) {
	content := make([]byte, 8<<20)
	rand.Read(content)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		a := New(io.Discard, made)
		must(b, a.File("f", made, int64(len(content)), bytes.NewReader(content), nil))
		must(b, a.Close())
	}
}
