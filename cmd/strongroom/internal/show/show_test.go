package show

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestNothingThatIsPrintedActsOnATerminal(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]string{
		"a color": "\x1b[31mred", "a title": "\x1b]0;owned\x07", "an 8-bit sequence": "\u009b31m", "a raw 8-bit byte": "\x9b31m", "a return": "good\rbad ",
		"a new line": "a\nb", "a backspace": "a\b\b", "delete": "a\x7f", "reordered text": "exe.\u202egpj", "an isolate": "\u2066x", "a line separator": "a\u2028b", "NUL": "a\x00b",
	} {
		got := Text(s)
		if got == s {
			t.Errorf("%s is printed as it is", name)
		}
		for _, r := range got {
			if !harmless(r) {
				t.Errorf("%s: %q keeps %U", name, got, r)
			}
		}
		if !utf8.ValidString(got) {
			t.Errorf("%s: %q is not UTF-8", name, got)
		}
	}
	for _, s := range []string{"Probe Ä 測定 👩\u200d🔬.tif", `C:\file`, "می\u200cخواهم", "a b"} {
		if Text(s) != s {
			t.Errorf("%q became %q", s, Text(s))
		}
	}
}

func TestTextIsAlwaysHarmless(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		for _, r := range Text(string(rapid.SliceOf(rapid.Byte()).Draw(t, "s"))) {
			if !harmless(r) {
				t.Fatalf("%U is left", r)
			}
		}
	})
}

func TestJSONSaysTheSameHarmlessly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.String().Draw(t, "s")
		text, _ := json.Marshal(map[string]string{want: want})
		text = JSON(text)
		for _, r := range string(text) {
			if !harmless(r) {
				t.Fatalf("%q keeps %U", text, r)
			}
		}
		var got map[string]string
		if err := json.Unmarshal(text, &got); err != nil || got[want] != want {
			t.Fatalf("%q reads as %q, %v", text, got, err)
		}
	})
}

func TestNoCellIsAFormula(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "＝1"} {
		if c := Cell(s); strings.ContainsAny(c[:1], "=+-@\t\r") || strings.HasPrefix(c, "＝") {
			t.Errorf("%q is written as %q", s, c)
		}
	}
	if Cell("a=1") != "a=1" || Cell("") != "" {
		t.Error("a harmless cell was changed")
	}
}

func TestAFileNameStaysInItsFolder(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"frame.tif": "frame.tif", "../../etc/passwd": "passwd", `..\..\x`: "x", "..": "id", "": "id", "/": "id", ".bashrc": "_bashrc", "-rf": "_rf",
		"a\nb": "a_b", "測定.tif": "測定.tif", "a\x1b[0m": "a_[0m", " x ": "x", "a/..": "id",
	} {
		if got := FileName(in, "id"); got != want {
			t.Errorf("%q became %q, wanted %q", in, got, want)
		}
	}
	if got := FileName(strings.Repeat("ä", 300), "id"); len(got) > 200 || !utf8.ValidString(got) {
		t.Errorf("%d bytes", len(got))
	}
}

type thing struct {
	Name string `json:"name"`
	N    int    `json:"n"`
}

var columns = []Column[thing]{{Name: "NAME", Value: func(t thing) string { return t.Name }, Width: 10}, {Name: "SOME N", Value: func(t thing) string { return strings.Repeat("x", t.N) }}}

func things(n int, end error) func(func(thing, error) bool) {
	return func(yield func(thing, error) bool) {
		for i := range n {
			if !yield(thing{"=測\x1b" + strings.Repeat("a", 20), i % 3}, nil) {
				return
			}
		}
		if end != nil {
			yield(thing{}, end)
		}
	}
}

func TestListsInEveryFormat(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 2, sample, sample + 1, 3 * sample} {
		var b bytes.Buffer
		if err := List(&b, CSV, columns, things(n, nil), nil); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&b).ReadAll()
		if err != nil || len(rows) != n+1 || rows[0][1] != "some_n" {
			t.Errorf("CSV of %d: %d rows, %v", n, len(rows), err)
		}
		for _, cursor := range []string{"", "next\u009b"} {
			b.Reset()
			if err := List(&b, AsJSON, columns, things(n, nil), func() string { return cursor }); err != nil {
				t.Fatal(err)
			}
			var got struct {
				Items []thing
				Next  *string
			}
			if err := json.Unmarshal(b.Bytes(), &got); err != nil || got.Items == nil || len(got.Items) != n || (got.Next == nil) != (cursor == "") {
				t.Errorf("JSON of %d: %v\n%s", n, err, b.String())
			}
		}
		b.Reset()
		if err := List(&b, Table, columns, things(n, nil), nil); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if n > 0 && (len(lines) != n+1 || lines[1] != `=測\x1baa…`) || n == 0 && b.Len() > 0 {
			t.Errorf("table of %d: %d lines, the first %q", n, len(lines), lines[:min(2, len(lines))])
		}
	}
}

func TestAListThatFailsShowsWhatCame(t *testing.T) {
	t.Parallel()
	for _, f := range []Format{Table, CSV, AsJSON} {
		for _, n := range []int{0, 3, sample + 5} {
			var b bytes.Buffer
			bad := errors.New("gone")
			if err := List(&b, f, columns, things(n, bad), nil); !errors.Is(err, bad) {
				t.Errorf("%s: %v", f, err)
			}
			if n > 0 && strings.Count(b.String(), "測") != n {
				t.Errorf("%s: %d of %d rows", f, strings.Count(b.String(), "測"), n)
			}
		}
	}
}

func TestFlattenKeepsOrderAndDigits(t *testing.T) {
	t.Parallel()
	got, err := Flatten([]byte(`{"z":1.10,"a":{"list":[true,null,{"x":"y"}],"none":{}}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Pair{{"z", "1.10"}, {"a.list.0", "true"}, {"a.list.1", "-"}, {"a.list.2.x", "y"}}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %v, wanted %v", got[i], want[i])
		}
	}
}

func TestSizes(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 1 << 62: "4.6 EB"} {
		if got := Size(n); got != want {
			t.Errorf("%d is %q, wanted %q", n, got, want)
		}
	}
}

func TestProgressShowsWhatIsSlowAndNothingElse(t *testing.T) {
	t.Parallel()
	var quick, slow bytes.Buffer
	p := NewProgress(&quick).Start("quick", 10)
	p.Add(10)
	p.End()
	if quick.Len() > 0 {
		t.Errorf("something quick shows %q", quick.String())
	}
	p = NewProgress(&slow).Start("a \x1b[31mname", 1000)
	_, _ = io.Copy(io.Discard, p.Reader(strings.NewReader(strings.Repeat("x", 500))))
	time.Sleep(patience + 700*time.Millisecond)
	p.End()
	if !strings.Contains(slow.String(), "500 B of 1.0 kB") || strings.Contains(slow.String(), "\x1b[31m") {
		t.Errorf("something slow shows %q", slow.String())
	}
	silent := NewProgress(nil).Start("x", 0)
	silent.Set(5)
	silent.End()
}
