package sweep_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
)

// noise is random bytes for something to stand in.
func noise(t testing.TB, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTheSieveCatchesAValueHoweverSoftwareWritesIt(t *testing.T) {
	t.Parallel()
	writers := map[string]func(s string, lead int) string{
		"as it is":     func(s string, _ int) string { return s },
		"upper case":   func(s string, _ int) string { return strings.ToUpper(s) },
		"%q":           func(s string, _ int) string { return fmt.Sprintf("%q", s) },
		"%+q":          func(s string, _ int) string { return fmt.Sprintf("%+q", s) },
		"%x":           func(s string, _ int) string { return fmt.Sprintf("%x", s) },
		"%X":           func(s string, _ int) string { return fmt.Sprintf("%X", s) },
		"% x":          func(s string, _ int) string { return fmt.Sprintf("% x", s) },
		"%v of bytes":  func(s string, _ int) string { return fmt.Sprintf("%v", []byte(s)) },
		"%#v of bytes": func(s string, _ int) string { return fmt.Sprintf("%#v", []byte(s)) },
		"JSON":         func(s string, _ int) string { b, _ := json.Marshal(map[string]string{"a": s}); return string(b) },
		"JSON of bytes": func(s string, lead int) string {
			b, _ := json.Marshal(append(make([]byte, lead), s...))
			return string(b)
		},
		"a query": func(s string, _ int) string { return url.Values{"q": {s}}.Encode() },
		"a path":  func(s string, _ int) string { return url.PathEscape(s) },
		"base64": func(s string, lead int) string {
			return base64.StdEncoding.EncodeToString(append(make([]byte, lead), s...))
		},
		"base64url": func(s string, lead int) string {
			return base64.RawURLEncoding.EncodeToString(append(make([]byte, lead), s+"!"...))
		},
		"UTF-16LE": func(s string, _ int) string { return wide(s, false) },
		"UTF-16BE": func(s string, _ int) string { return wide(s, true) },
		"a JSON document": func(s string, _ int) string {
			b, _ := json.Marshal(map[string]any{s: []any{s, map[string]any{s: s}}})
			return string(b)
		},
	}
	for name, write := range writers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for lead := range 3 {
				n := &sieve{}
				field := n.text("field")
				for _, part := range strings.Fields(field) {
					text := write(part, lead)
					for at := range 12 { // every alignment, and both ends
						if found := n.inBytes("here", append(append(noise(t, at), text...), noise(t, 11-at)...)); len(found) == 0 {
							t.Fatalf("%d bytes before it: not found", at)
						}
					}
				}
			}
		})
	}
}

func wide(s string, big bool) string {
	var b strings.Builder
	for _, r := range s { // none of ours needs a surrogate pair
		if big {
			b.WriteByte(byte(r >> 8))
		}
		b.WriteByte(byte(r))
		if !big {
			b.WriteByte(byte(r >> 8))
		}
	}
	return b.String()
}

func TestTheSieveCatchesAValueWhereverItsReaderBreaks(t *testing.T) {
	t.Parallel()
	n := &sieve{}
	value := n.ascii("field")
	for _, at := range []int{0, 1<<20 - 13, 1 << 20, 3<<20 - 1, 5<<20 - len(value)} {
		text := noise(t, 5<<20)
		copy(text[at:], value)
		found, size, err := n.in("here", iotest.HalfReader(bytes.NewReader(text)))
		if err != nil || size != 5<<20 || len(found) != 1 || found[0].offset != int64(at) {
			t.Errorf("at %d: found %v in %d bytes, %v", at, found, size, err)
		}
	}
}

func TestTheSieveCatchesNothingElse(t *testing.T) {
	t.Parallel()
	n := &sieve{}
	for i := range 300 {
		n.text(fmt.Sprintf("field %d", i))
	}
	other := &sieve{}
	text := noise(t, 4<<20)
	for i := range 1000 {
		text = append(text, other.text(fmt.Sprintf("other %d", i))...)
	}
	if found := n.inBytes("noise", text); len(found) > 0 {
		t.Errorf("found what nobody planted: %v", found)
	}
}

func TestTheSieveSeesFilesTheirNamesAndWhatItCannotRead(t *testing.T) {
	t.Parallel()
	n, dir := &sieve{}, t.TempDir()
	inFile, inName, inFolder := n.ascii("in a file"), n.ascii("in a file's name"), n.ascii("in a folder's name")
	for path, text := range map[string]string{"a/b/page": "…" + inFile + "…", "a/" + inName: "", inFolder + "/x": "", "z.gz": "\x1f\x8b\x08rest"} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := n.inTree(t, dir, nil)
	var fields []string
	for _, c := range h.found {
		fields = append(fields, c.field)
	}
	for _, want := range []string{"in a file", "in a file's name", "in a folder's name"} {
		if strings.Count(strings.Join(fields, "\n")+"\n", want+"\n") != 1 {
			t.Errorf("%s: found %q", want, fields)
		}
	}
	if len(h.packed) != 1 || !strings.HasPrefix(h.packed[0], "z.gz") {
		t.Errorf("compressed are %q", h.packed)
	}
	if h.files != 4 || h.bytes["."] == 0 || h.bytes["a"] == 0 {
		t.Errorf("searched %d files, %v", h.files, h.bytes)
	}
}
