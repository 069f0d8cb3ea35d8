package kind

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"strongroom/internal/base/fault"
)

func TestContentKeepsItsExactText(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`{}`: `{}`,
		` { "b" : 1.10 , "a" : [ 1e2 , -0.0 , 100000000000000000000000000000000.000000000001 ] } `: `{"b":1.10,"a":[1e2,-0.0,100000000000000000000000000000000.000000000001]}`,
		"{\"s\":\"two  spaces\\n\\u00e9 \\u0041 \\/\"}\n":                                          `{"s":"two  spaces\n\u00e9 \u0041 \/"}`,
		`{"émigré":"日本","pair":"\ud83d\ude00","":{"":[]}}`:                                         `{"émigré":"日本","pair":"\ud83d\ude00","":{"":[]}}`,
		`{"t":true,"f":false,"n":null}`:                                                            `{"t":true,"f":false,"n":null}`,
	} {
		c, err := ParseContent([]byte(raw), "/content")
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if string(c.Text()) != want {
			t.Errorf("%s became %s", raw, c.Text())
		}
	}
}

func TestContentNeverPrints(t *testing.T) {
	t.Parallel()
	c, err := ParseContent([]byte(`{"canary":"7f3a9c"}`), "")
	if err != nil {
		t.Fatal(err)
	}
	j, _ := json.Marshal(map[string]any{"c": c})
	for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v %s %q %x %d", c, c, c, c, c, c), string(j)} {
		if strings.Contains(s, "canary") || strings.Contains(s, "7f3a9c") || strings.Contains(s, "63616e617279") {
			t.Errorf("content was printed: %s", s)
		}
	}
}

func TestContentDoesNotShareMemoryWithTheRequest(t *testing.T) {
	t.Parallel()
	raw := []byte(`{"a":"before"}`)
	c, err := ParseContent(raw, "")
	if err != nil {
		t.Fatal(err)
	}
	copy(raw, `{"a":"AFTER!"}`)
	if string(c.Text()) != `{"a":"before"}` {
		t.Errorf("the text changed with the request's buffer: %s", c.Text())
	}
}

func TestWhatIsNotStrictJSONIsRefused(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth)
	for name, c := range map[string]struct {
		raw, pointer, code string
		kind               fault.Kind
	}{
		"nothing":                   {"", "/content", "json", fault.Malformed},
		"white space":               {" \n", "/content", "json", fault.Malformed},
		"an array":                  {"[]", "/content", "type", fault.Invalid},
		"a string":                  {`"x"`, "/content", "type", fault.Invalid},
		"null":                      {"null", "/content", "type", fault.Invalid},
		"two values":                {"{}{}", "/content", "trailing_data", fault.Malformed},
		"a comma too many":          {`{"a":1,}`, "/content", "json", fault.Malformed},
		"a comma too many in array": {`{"a":[1,]}`, "/content/a/1", "json", fault.Malformed},
		"no colon":                  {`{"a" 1}`, "/content/a", "json", fault.Malformed},
		"a bare name":               {`{a:1}`, "/content", "json", fault.Malformed},
		"single quotes":             {`{'a':1}`, "/content", "json", fault.Malformed},
		"a comment":                 {`{/**/}`, "/content", "json", fault.Malformed},
		"a BOM":                     {"\ufeff{}", "/content", "json", fault.Malformed},
		"an open object":            {`{"a":1`, "/content", "json", fault.Malformed},
		"an open string":            {`{"a":"x`, "/content/a", "json", fault.Malformed},
		"an open escape":            {`{"a":"\`, "/content/a", "json", fault.Malformed},
		"a wrong escape":            {`{"a":"\x"}`, "/content/a", "json", fault.Malformed},
		"a short \\u":               {`{"a":"\u12"}`, "/content/a", "json", fault.Malformed},
		"a line break in a string":  {"{\"a\":\"x\ny\"}", "/content/a", "json", fault.Malformed},
		"NaN":                       {`{"a":NaN}`, "/content/a", "json", fault.Malformed},
		"a leading zero":            {`{"a":01}`, "/content", "json", fault.Malformed},
		"a plus":                    {`{"a":+1}`, "/content/a", "json", fault.Malformed},
		"a bare point":              {`{"a":1.}`, "/content/a", "json", fault.Malformed},
		"a bare exponent":           {`{"a":1e}`, "/content/a", "json", fault.Malformed},
		"a cut literal":             {`{"a":tru}`, "/content/a", "json", fault.Malformed},
		"a raw NUL":                 {"{\"a\":\"\x00\"}", "/content/a", "json", fault.Malformed},
		"an escaped NUL":            {`{"a":"\u0000"}`, "/content/a", "nul", fault.Malformed},
		"a NUL in a name":           {`{"a\u0000":1}`, "/content", "nul", fault.Malformed},
		"half a pair":               {`{"a":"\ud83d"}`, "/content/a", "surrogate", fault.Malformed},
		"the other half":            {`{"a":"\ude00"}`, "/content/a", "surrogate", fault.Malformed},
		"two first halves":          {`{"a":"\ud83d\ud83d"}`, "/content/a", "surrogate", fault.Malformed},
		"bad UTF-8":                 {"{\"a\":\"\xff\"}", "/content/a", "utf8", fault.Malformed},
		"UTF-8 of a surrogate":      {"{\"a\":\"\xed\xa0\x80\"}", "/content/a", "utf8", fault.Malformed},
		"overlong UTF-8":            {"{\"a\":\"\xc0\xaf\"}", "/content/a", "utf8", fault.Malformed},
		"a member twice":            {`{"a":1,"b":{"c":1,"c":2}}`, "/content/b/c", "duplicate_member", fault.Malformed},
		"a member twice, escaped":   {`{"a":1,"\u0061":2}`, "/content/a", "duplicate_member", fault.Malformed},
		"a place to escape":         {`{"a/b":{"c~d":[0,01]}}`, "/content/a~1b/c~0d", "json", fault.Malformed},
		"too deep":                  {`{"a":` + deep + `}`, "/content/a" + strings.Repeat("/0", MaxDepth-1), "too_deep", fault.Invalid},
		"too many values":           {`{"a":[` + strings.Repeat("0,", MaxValues) + `0]}`, "", "too_many_values", fault.Invalid},
		"too large":                 {`{"a":"` + strings.Repeat("x", MaxContent) + `"}`, "/content", "too_large", fault.TooLarge},
		"a number too long":         {`{"a":` + strings.Repeat("1", MaxDigits+1) + `}`, "/content/a", "number_range", fault.Invalid},
		"an exponent too large":     {`{"a":1e401}`, "/content/a", "number_range", fault.Invalid},
		"an exponent too small":     {`{"a":1e-99999999999999999999}`, "/content/a", "number_range", fault.Invalid},
	} {
		got, err := ParseContent([]byte(c.raw), "/content")
		if err == nil {
			t.Errorf("%s was accepted as %s", name, got.Text())
			continue
		}
		f := fault.From(err)
		if f.Kind != c.kind || len(f.Details) != 1 || f.Details[0].Code != c.code || c.pointer != "" && f.Details[0].Pointer != c.pointer {
			t.Errorf("%s: %v %+v", name, f.Kind, f.Details)
		}
	}
	if _, err := ParseContent([]byte(`{"a":`+strings.Repeat("[", MaxDepth-1)+strings.Repeat("]", MaxDepth-1)+`,"b":1e400}`), ""); err != nil {
		t.Errorf("at the limits: %v", err)
	}
}

func TestAMessageNeverRepeatsAValueAndBoundsAName(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		`{"a":"canary\x"}`, `{"a":"canary","a":1}`, `{"a":canary}`, `{"a":"canary` + "\xff" + `"}`,
	} {
		_, err := ParseContent([]byte(raw), "")
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, fault.From(err)), "canary") {
			t.Errorf("%s: %v", raw, err)
		}
	}
	_, err := ParseContent([]byte(`{"`+strings.Repeat("é", 10_000)+`":x}`), "/content")
	if p := fault.From(err).Details[0].Pointer; len(p) > maxPointer+len("…") || !strings.HasSuffix(p, "é…") {
		t.Errorf("a pointer of %d bytes: %.20s", len(p), p)
	}
}

// FuzzContent holds the parser against encoding/json: what it accepts means
// the same there, and what it refuses is wrong there too or over one of our
// limits.
func FuzzContent(f *testing.F) {
	for _, s := range []string{`{}`, ` {"a" : [1, -2.5e3, "x\u00e9\n", true, null, {"b":{}}]} `, `{"a":1,"a":2}`, "{\"\xff\":0}", `{"a":"\ud800"}`, `[1]`, `{"a":01}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := ParseContent(raw, "")
		if err != nil {
			d := fault.From(err).Details
			if len(d) == 1 && (d[0].Code == "json" || d[0].Code == "trailing_data") && json.Valid(raw) {
				t.Fatalf("refused valid JSON as %s: %q", d[0].Code, raw)
			}
			if fault.From(err).Kind == fault.Internal {
				t.Fatalf("internal: %v", err)
			}
			return
		}
		if !json.Valid(raw) {
			t.Fatalf("accepted %q", raw)
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		var want map[string]any
		if err := d.Decode(&want); err != nil || !reflect.DeepEqual(c.value, want) {
			t.Fatalf("%q means %v here and %v there, %v", raw, c.value, want, err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, raw); err != nil || !bytes.Equal(compact.Bytes(), c.Text()) {
			t.Fatalf("%q became %q", raw, c.Text())
		}
		again, err := ParseContent(c.Text(), "")
		if err != nil || !bytes.Equal(again.Text(), c.Text()) || again.values != c.values {
			t.Fatalf("the text %q does not read as itself: %v", c.Text(), err)
		}
	})
}

func TestKindNamesAreSlugs(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"a", "record", "xps-spectrum", "rheed_image", "x2", "a1-b2_c3", strings.Repeat("a", MaxName)} {
		if n, err := ParseName(s, "/kind"); err != nil || n.String() != s {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{"", "A", "2x", "-a", "a-", "a--b", "a-_b", "_a", "a_", "a b", "a.b", "a/b", "..", "a:bulk", "é", "a\x00", strings.Repeat("a", MaxName+1)} {
		n, err := ParseName(s, "/kind")
		if err == nil || !n.IsZero() {
			t.Errorf("%q was accepted", s)
			continue
		}
		if f := fault.From(err); f.Kind != fault.Invalid || f.Details[0].Pointer != "/kind" {
			t.Errorf("%q: %+v", s, f)
		}
	}
	if Generic.String() != "record" || Generic.IsZero() {
		t.Error("the generic kind is record")
	}
}
