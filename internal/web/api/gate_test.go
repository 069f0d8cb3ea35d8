package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"strongroom/internal/base/fault"
)

func code(t testing.TB, err error) (string, string) {
	t.Helper()
	if err == nil {
		return "", ""
	}
	f := fault.From(err)
	if f.Kind != fault.Malformed || len(f.Details) != 1 {
		t.Fatalf("got %v with %d details", f.Kind, len(f.Details))
	}
	return f.Details[0].Code, f.Details[0].Pointer
}

func TestTheGateRefuses(t *testing.T) {
	t.Parallel()
	words := map[string]bool{"title": true, "items": true, "content": true}
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, c := range []struct{ name, body, code, pointer string }{
		{"nothing", "", "body_required", ""},
		{"white space", " \n\t", "body_required", ""},
		{"a byte order mark", "\xef\xbb\xbf{}", "byte_order_mark", ""},
		{"UTF-16", "\xff\xfe{\x00}\x00", "syntax", ""},
		{"a NUL in place of a value", "\x00", "nul", ""},
		{"a NUL in a string", "{\"title\":\"a\x00b\"}", "nul", "/title"},
		{"an escaped NUL", `{"title":"a\u0000b"}`, "nul", "/title"},
		{"an escaped NUL in a name", `{"ti\u0000tle":1}`, "nul", ""},
		{"a second value", `{} {}`, "trailing_data", ""},
		{"a second closing brace", `{}}`, "trailing_data", ""},
		{"a NUL after the value", "{}\x00", "trailing_data", ""},
		{"a comment", `{} // x`, "trailing_data", ""},
		{"a field twice", `{"title":1,"title":2}`, "duplicate_field", ""},
		{"a field twice by an escape", `{"title":1,"t\u0069tle":2}`, "duplicate_field", ""},
		{"a field twice far apart", `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"a":2}`, "duplicate_field", ""},
		{"a field twice, both late", `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"m":2}`, "duplicate_field", ""},
		{"a field twice, deep inside", `{"items":[{"content":{}},{"content":{"x":1,"x":2}}]}`, "duplicate_field", "/items/1/content"},
		{"a field twice below a name of the caller's", `{"content":{"mine":{"x":1,"x":2}}}`, "duplicate_field", "/content"},
		{"the empty name twice", `{"":1,"":2}`, "duplicate_field", ""},
		{"33 levels", deep(33), "too_deep", "/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0"},
		{"a hundred thousand levels", strings.Repeat("[", 100000), "too_deep", "/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0/0"},
		{"bytes that are not UTF-8", "\"\xc3\x28\"", "invalid_utf8", ""},
		{"an overlong slash", "\"\xc0\xaf\"", "invalid_utf8", ""},
		{"a surrogate in UTF-8", "\"\xed\xa0\x80\"", "invalid_utf8", ""},
		{"a code point beyond Unicode", "\"\xf4\x90\x80\x80\"", "invalid_utf8", ""},
		{"bad UTF-8 in a name", "{\"\xff\":1}", "invalid_utf8", ""},
		{"half a surrogate pair", `"\ud800"`, "invalid_utf8", ""},
		{"the other half", `"\udc00"`, "invalid_utf8", ""},
		{"two first halves", `"\ud800\ud800"`, "invalid_utf8", ""},
		{"a digit bomb", `{"content":` + strings.Repeat("9", 129) + `}`, "number_too_long", "/content"},
		{"an exponent bomb", `{"content":1e999999999}`, "number_out_of_range", "/content"},
		{"a negative exponent bomb", `1e-6145`, "number_out_of_range", ""},
		{"a number with a leading zero", `{"title":01}`, "syntax", ""},
		{"a hexadecimal number", `[0x10]`, "syntax", "/0"},
		{"a plus sign", `+1`, "syntax", ""},
		{"a bare point", `.5`, "syntax", ""},
		{"a point and nothing", `1.`, "syntax", ""},
		{"an exponent and nothing", `1e`, "syntax", ""},
		{"a lone minus", `-`, "syntax", ""},
		{"NaN", `NaN`, "syntax", ""},
		{"Infinity", `-Infinity`, "syntax", ""},
		{"single quotes", `{'a':1}`, "syntax", ""},
		{"a trailing comma", `[1,]`, "syntax", "/1"},
		{"a trailing comma in an object", `{"title":1,}`, "syntax", ""},
		{"a missing colon", `{"title" 1}`, "syntax", ""},
		{"a name that is a number", `{1:1}`, "syntax", ""},
		{"a raw line feed in a string", "\"a\nb\"", "syntax", ""},
		{"an unknown escape", `"\x41"`, "syntax", ""},
		{"an escape cut short", `"\u00`, "syntax", ""},
		{"a body cut short in a string", `{"title":"abc`, "syntax", "/title"},
		{"a body cut short in an object", `{"title":1`, "syntax", ""},
		{"a body cut short after a backslash", `"\`, "syntax", ""},
		{"True", `True`, "syntax", ""},
		{"a form", `title=x&items=y`, "syntax", ""},
	} {
		got, pointer := code(t, gate([]byte(c.body), words))
		if got != c.code || pointer != c.pointer {
			t.Errorf("%s: got %q at %q, want %q at %q", c.name, got, pointer, c.code, c.pointer)
		}
	}
}

func TestTheGateLetsThrough(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"an object":                     `{"a":{"b":[1,2.50,-0,1e5,"x",true,false,null]}}`,
		"32 levels":                     strings.Repeat("[", 32) + strings.Repeat("]", 32),
		"the same name in two objects":  `[{"a":1},{"a":1}]`,
		"names that differ in case":     `{"a":1,"A":2}`,
		"128 digits":                    strings.Repeat("1", 128),
		"the largest exponent":          `1e6144`,
		"a surrogate pair":              `"\ud83d\ude00"`,
		"an escaped quote":              `"\"\\\/\b\f\n\r\t\u0041"`,
		"white space all around":        " \r\n\t{ \"a\" : [ 1 , 2 ] } \n",
		"a lone value":                  `0`,
		"every kind of character":       `"` + "\u007f\u0080\uffff\U0010ffff" + `"`,
		"an empty name":                 `{"":1}`,
		"a name that needs its escapes": `{"\u0061":1,"\"":2}`,
	} {
		if err := gate([]byte(body), nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestARefusalNamesNoNameOfTheCallers(t *testing.T) {
	t.Parallel()
	const canary = "hunter2"
	for _, body := range []string{
		`{"hunter2":{"x":1,"x":2}}`, `{"hunter2":1,"hunter2":2}`, `{"a":"hunter2\ud800"}`, `hunter2`, `{"hunter2`, `{"hunter2":01}`, `"hunter2` + "\x00",
	} {
		f := fault.From(gate([]byte(body), map[string]bool{"a": true}))
		if text, _ := json.Marshal(f); bytes.Contains(text, []byte(canary)) || strings.Contains(f.Error(), canary) {
			t.Errorf("%s: the refusal says %s", body, text)
		}
	}
}

// FuzzGate holds the gate against another reader of JSON: what passes is JSON
// to both, has no name twice, and comes through unchanged.
func FuzzGate(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `[1,2,{"b":"\ud83d\ude00"}]`, `{"a":1,"a":2}`, `"\u0000"`, `1e9999`, "\xef\xbb\xbf1", `{"a":{"a":{"a":[[]]}}}`, `-0.0e-0`, "\"\xff\"", `{"a":1}x`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		err := gate(data, map[string]bool{"a": true})
		if !bytes.Equal(before, data) {
			t.Fatal("the gate changed the body")
		}
		if err != nil {
			code(t, err)
			return
		}
		if !json.Valid(data) {
			t.Fatalf("passed what is not JSON: %q", data)
		}
		if duplicate(t, data) {
			t.Fatalf("passed a name twice: %q", data)
		}
		var raw json.RawMessage
		if err := json.Unmarshal(data, &raw); err != nil || !bytes.Equal(raw, bytes.Trim(data, " \t\r\n")) {
			t.Fatalf("the bytes did not survive: %q, %v", raw, err)
		}
		if _, err := json.Marshal(raw); err != nil {
			t.Fatalf("cannot be sent again: %v", err)
		}
	})
}

// duplicate looks for a repeated name the slow and obvious way.
func duplicate(t *testing.T, data []byte) bool {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	type level struct {
		object, name bool
		seen         map[string]bool
	}
	var stack []*level
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return false
		}
		if err != nil {
			t.Fatalf("the second reader stopped: %v", err)
		}
		top := func() *level {
			if len(stack) == 0 {
				return &level{}
			}
			return stack[len(stack)-1]
		}
		if s, ok := tok.(string); ok && top().object && top().name {
			if top().seen[s] {
				return true
			}
			top().seen[s] = true
			top().name = false
			continue
		}
		switch tok {
		case json.Delim('{'):
			stack = append(stack, &level{object: true, name: true, seen: map[string]bool{}})
			continue
		case json.Delim('['):
			stack = append(stack, &level{})
			continue
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
		top().name = top().object
	}
}
