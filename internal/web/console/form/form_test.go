package form

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func compiled(t testing.TB, schema string) *Schema {
	t.Helper()
	s, err := Compile([]byte(schema))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func filled(t testing.TB, s *Schema, content string) *Form {
	t.Helper()
	f, err := s.Fill([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// sent is what a browser sends for a form as a template shows it: ends of
// lines as HTTP has them, and of a date input nothing but a date.
func sent(fields []*Field) url.Values {
	values := url.Values{}
	var walk func([]*Field)
	walk = func(all []*Field) {
		for _, f := range all {
			switch f.Kind {
			case Object:
				walk(f.Fields)
			case Rows:
				values.Set(f.Name, "rows")
				for _, r := range f.Rows {
					values.Set(r.Row, r.Origin)
				}
				walk(f.Rows)
			case Const, Kept:
			case Area, JSON:
				values.Set(f.Name, strings.ReplaceAll(lines(f.Value), "\n", "\r\n"))
			case Date:
				if f.Value == "" || plainDate.MatchString(f.Value) {
					values.Set(f.Name, f.Value)
				} else {
					values.Set(f.Name, "")
				}
			case Choice, Bool:
				for _, o := range f.Choices {
					if o.Selected {
						values.Set(f.Name, o.Value)
					}
				}
			default: // one line: an input drops what ends lines
				values.Set(f.Name, strings.NewReplacer("\r", "", "\n", "").Replace(f.Value))
			}
		}
	}
	walk(fields)
	return values
}

func submitted(t testing.TB, s *Schema, values url.Values, base string) Submission {
	t.Helper()
	var b []byte
	if base != "" {
		b = []byte(base)
	}
	sub, err := s.Submit(values, b)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

func (f *Form) at(t testing.TB, pointer string) *Field {
	t.Helper()
	got := f.root.find(pointer)
	if got == nil || got.Pointer != pointer {
		t.Fatalf("no field at %s", pointer)
	}
	return got
}

const sample = `{"type":"object","required":["name","state"],"properties":{
 "name":{"type":"string","title":"Sample name","x-strongroom":{"title":true}},
 "state":{"enum":["grown","measured",3]},
 "thickness":{"type":"number","x-strongroom":{"unit":"nm"}},
 "count":{"type":"integer"},
 "good":{"type":"boolean"},
 "day":{"type":"string","format":"date"},
 "at":{"type":"string","format":"date-time"},
 "notes":{"type":"string","maxLength":4000},
 "maybe":{"type":["number","null"]},
 "form":{"const":"v1"},
 "growth":{"type":"object","properties":{"temperature":{"type":"number","x-strongroom":{"unit":"Cel"}},"by":{"type":"string"}}},
 "tags":{"type":"array","items":{"type":"string"}},
 "layers":{"type":"array","items":{"type":"object","required":["material"],"properties":{"material":{"type":"string"},"thickness":{"type":"number"}}}},
 "map":{"type":"object","additionalProperties":{"type":"number"}},
 "method":{"oneOf":[{"const":"a","title":"Method A"},{"const":"b","title":"Method B"}]}
}}`

func TestEachMemberBecomesTheFieldThatFitsIt(t *testing.T) {
	t.Parallel()
	s := compiled(t, sample)
	if s.Title() != "name" {
		t.Errorf("the title is %q", s.Title())
	}
	f := filled(t, s, `{}`)
	want := []Kind{Text, Choice, Number, Integer, Bool, Date, DateTime, Area, Number, Const, Object, Rows, Rows, JSON, Choice}
	for i, k := range want {
		if f.Fields[i].Kind != k {
			t.Errorf("%s is shown as %s, want %s", f.Fields[i].Pointer, f.Fields[i].Kind, k)
		}
	}
	if f.Fields[0].Label != "Sample name" || !f.Fields[0].Required || f.Fields[2].Unit != "nm" || f.Fields[2].Label != "Thickness" || f.Fields[2].Required {
		t.Errorf("got %+v and %+v", f.Fields[0], f.Fields[2])
	}
	if c := f.Fields[14].Choices; len(c) != 3 || c[1].Label != "Method A" || c[1].Value != `"a"` {
		t.Errorf("the method's choices are %v", c)
	}
}

func TestWhatIsTypedArrivesDigitForDigit(t *testing.T) {
	t.Parallel()
	s := compiled(t, sample)
	values := url.Values{"f/name": {"Ga₂O₃ <7>"}, "f/state": {`3`}, "f/thickness": {"12.500"}, "f/good": {"false"}, "f/at": {"2026-11-22 14:30"},
		"f/notes": {"one\r\ntwo"}, "f/growth/temperature": {"-.50"}, "f/maybe": {"1.0E+20"}, "f/count": {" +7 "},
		"f/tags": {"rows"}, "o/tags/0": {""}, "f/tags/0": {"a"}, "o/tags/5": {""}, "f/tags/5": {""}, "o/tags/9": {""}, "f/tags/9": {"b"},
		"f/map": {`{ "k": 1.10 }`}}
	got := submitted(t, s, values, "")
	want := `{"name":"Ga₂O₃ <7>","state":3,"thickness":12.500,"count":7,"good":false,"at":"2026-11-22T14:30:00Z","notes":"one\r\ntwo","maybe":1.0E+20,` +
		`"growth":{"temperature":-0.50},"tags":["a","b"],"map":{"k":1.10}}`
	if string(got.Content) != want {
		t.Errorf("got  %s\nwant %s", got.Content, want)
	}
}

func TestWhatTheSchemaFixesComesAlong(t *testing.T) {
	t.Parallel()
	s := compiled(t, `{"type":"object","required":["v"],"properties":{"v":{"const":1},"o":{"type":"object","required":["w"],"properties":{"w":{"const":true},"x":{"type":"string"}}}}}`)
	if got := submitted(t, s, url.Values{}, ""); string(got.Content) != `{"v":1}` {
		t.Errorf("got %s", got.Content)
	}
	if got := submitted(t, s, url.Values{"f/o/x": {"y"}}, ""); string(got.Content) != `{"v":1,"o":{"w":true,"x":"y"}}` {
		t.Errorf("got %s", got.Content)
	}
}

func TestAMistypedNumberIsSaidBesideItsFieldAndNothingIsLost(t *testing.T) {
	t.Parallel()
	s := compiled(t, sample)
	for _, typed := range []string{"12,5", "12 nm", "0x10", "1e", "--1", "NaN", "1_000", "007"} {
		got := submitted(t, s, url.Values{"f/name": {"a"}, "f/thickness": {typed}}, "")
		if got.Content != nil || got.Form.at(t, "/thickness").Error == "" || got.Form.at(t, "/thickness").Value != typed || got.Form.at(t, "/name").Value != "a" {
			t.Errorf("%q: %s, %+v", typed, got.Content, got.Form.at(t, "/thickness"))
		}
	}
	if got := submitted(t, s, url.Values{"f/map": {`{"a":`}}, ""); got.Content != nil || got.Form.at(t, "/map").Error == "" {
		t.Error("half a JSON is taken")
	}
	if got := submitted(t, s, url.Values{"f/state": {`"other"`}}, ""); got.Content != nil || got.Form.at(t, "/state").Error == "" {
		t.Error("a choice that is none is taken")
	}
}

func TestOneFieldIsChangedAndAllElseKeepsItsBytes(t *testing.T) {
	t.Parallel()
	s := compiled(t, sample)
	base := `{"unknown":{"x":1.10,"\u0041":null},"layers":[{"material":"\u0047a","extra":1e0},{"material":"Al","thickness":2.0}],"thickness":1.0,"name":"caf\u00e9","growth":{"by":null,"zz":[]}}`
	values := sent(filled(t, s, base).Fields)
	values.Set("f/thickness", "1.00")
	got := submitted(t, s, values, base)
	if want := strings.Replace(base, `"thickness":1.0,"name"`, `"thickness":1.00,"name"`, 1); string(got.Content) != want {
		t.Errorf("got  %s\nwant %s", got.Content, want)
	}
	// A row taken away, another changed: what the form does not show stays with its row.
	values = sent(filled(t, s, base).Fields)
	values.Del("o/layers/1")
	values.Set("f/layers/0/thickness", "5")
	got = submitted(t, s, values, base)
	if want := `"layers":[{"material":"\u0047a","extra":1e0,"thickness":5}]`; !strings.Contains(string(got.Content), want) {
		t.Errorf("got %s, want %s in it", got.Content, want)
	}
	// A cleared field goes; a cleared field that may be null and must be there is null.
	values = sent(filled(t, s, base).Fields)
	values.Set("f/thickness", "")
	if got = submitted(t, s, values, base); strings.Contains(string(got.Content), `"thickness":1.0`) {
		t.Errorf("a cleared field stays: %s", got.Content)
	}
	n := compiled(t, `{"type":"object","required":["a"],"properties":{"a":{"anyOf":[{"type":"number"},{"type":"null"}]}}}`)
	if got := submitted(t, n, url.Values{"f/a": {""}}, `{"a":4}`); string(got.Content) != `{"a":null}` {
		t.Errorf("got %s", got.Content)
	}
}

func TestRowsAreAddedAndRemovedByButtons(t *testing.T) {
	t.Parallel()
	s := compiled(t, sample)
	base := `{"tags":["a","b"]}`
	values := sent(filled(t, s, base).Fields)
	values.Set("f/tags/1", "changed")
	values.Set("do", "add/tags")
	more := submitted(t, s, values, base)
	rows := more.Form.at(t, "/tags").Rows
	if !more.Rearranged || more.Content != nil || len(rows) != 3 || rows[1].Value != "changed" || rows[2].Value != "" || rows[2].Row != "o/tags/2" {
		t.Fatalf("got %+v", rows)
	}
	values = sent(more.Form.Fields)
	values.Set("f/tags/2", "new")
	values.Set("do", "remove/tags/0")
	less := submitted(t, s, values, base)
	got := submitted(t, s, sent(less.Form.Fields), base)
	if string(got.Content) != `{"tags":["changed","new"]}` {
		t.Errorf("got %s", got.Content)
	}
	// Rows that were added and left empty are no rows.
	values = sent(filled(t, s, `{}`).Fields)
	values.Set("o/layers/0", "")
	values.Set("f/layers/0/material", "")
	if got := submitted(t, s, values, `{}`); string(got.Content) != `{}` {
		t.Errorf("got %s", got.Content)
	}
}

func TestARowOfTheRecordIsTakenOnceAndNoOtherIsMadeUp(t *testing.T) {
	t.Parallel()
	s := compiled(t, sample)
	base := `{"layers":[{"material":"a","secret":1}]}`
	values := url.Values{"f/layers": {"rows"}, "o/layers/0": {"0"}, "f/layers/0/material": {"a"}, "o/layers/1": {"0"}, "f/layers/1/material": {"b"}, "o/layers/2": {"99"}, "f/layers/2/material": {"c"}}
	got := submitted(t, s, values, base)
	if want := `{"layers":[{"material":"a","secret":1},{"material":"b"},{"material":"c"}]}`; string(got.Content) != want {
		t.Errorf("got %s, want %s", got.Content, want)
	}
}

func TestARefusalOfTheAPIStandsBesideItsField(t *testing.T) {
	t.Parallel()
	s := compiled(t, sample)
	got := submitted(t, s, url.Values{"f/layers": {"rows"}, "o/layers/0": {""}, "f/layers/0/material": {""}, "o/layers/1": {""}, "f/layers/1/material": {"Ga"}, "f/layers/1/thickness": {"-5"}}, "")
	// The first row was empty and is gone: the API speaks of what it was sent.
	got.Form.Refuse("/content/layers/0/thickness", "is below the minimum")
	got.Form.Refuse("/content/name", "is required")
	got.Form.Refuse("/content/map/a~1b", "must be a number")
	got.Form.Refuse("/content/stranger", "is not a property that the schema knows")
	got.Form.Refuse("/visibility", "must be one of two")
	f := got.Form
	if f.at(t, "/layers/0/thickness").Error == "" || f.at(t, "/layers/0/thickness").Value != "-5" || f.at(t, "/name").Error == "" || f.at(t, "/map").Error == "" {
		t.Errorf("%+v", f.at(t, "/layers/0"))
	}
	if len(f.Problems) != 2 || !f.HasErrors() {
		t.Errorf("what no field can say: %v", f.Problems)
	}
}

func TestWhatAnInputWouldChangeIsShownAsJSON(t *testing.T) {
	t.Parallel()
	s := compiled(t, `{"type":"object","properties":{"s":{"type":"string"},"d":{"type":"string","format":"date"},"n":{"type":"number"},"a":{"type":"array","items":{"type":"number"}}}}`)
	for content, want := range map[string]Kind{
		`{"s":"plain"}`: Text, `{"s":"two\nlines"}`: Area, `{"s":"bell\u0007"}`: JSON, `{"s":5}`: JSON, `{"s":"` + strings.Repeat("x", maxLong+1) + `"}`: Kept,
		`{"d":"2026-11-22"}`: Date, `{"d":"yesterday"}`: Text, `{"n":"5"}`: JSON, `{"a":[1,2]}`: Rows, `{"a":[1,"x"]}`: JSON, `{"a":[1,[2]]}`: JSON,
	} {
		f := filled(t, s, content)
		var got *Field
		for _, x := range f.Fields {
			if x.base != nil {
				got = x
			}
		}
		if got.Kind != want {
			t.Errorf("%.40s is shown as %s, want %s", content, got.Kind, want)
		}
		if out := submitted(t, s, sent(f.Fields), content); string(out.Content) != content {
			t.Errorf("%.40s came back as %.60s", content, out.Content)
		}
	}
}

func TestASchemaWithoutFieldsGivesItsJSON(t *testing.T) {
	t.Parallel()
	for _, schema := range []string{`{}`, `{"type":"object"}`, `{"$ref":"#"}`, `{"$ref":"https://elsewhere/"}`, `{"allOf":[{"properties":{"a":{}}}]}`, `true`, `[]`} {
		s := compiled(t, schema)
		f := filled(t, s, `{"a":1}`)
		if len(f.Fields) != 1 || f.Fields[0].Kind != JSON || f.Fields[0].Name != "f" {
			t.Errorf("%s: %+v", schema, f.Fields)
		}
		if got := submitted(t, s, url.Values{"f": {`{"a": 2.0}`}}, `{"a":1}`); string(got.Content) != `{"a":2.0}` {
			t.Errorf("%s: %s", schema, got.Content)
		}
	}
	if _, err := Compile([]byte(`{"a":`)); err == nil {
		t.Error("half a schema is taken")
	}
}

func TestReferencesInsideOfASchemaAreFollowedAndLoopsEnd(t *testing.T) {
	t.Parallel()
	s := compiled(t, `{"$defs":{"len":{"type":"number","title":"Length"},"loop":{"$ref":"#/$defs/loop"},"tree":{"type":"object","properties":{"sub":{"$ref":"#/$defs/tree"},"v":{"type":"string"}}}},
	 "type":"object","properties":{"a":{"$ref":"#/$defs/len","title":"Mine"},"b":{"$ref":"#/$defs/loop"},"c":{"$ref":"#/$defs/tree"}}}`)
	f := filled(t, s, `{}`)
	if f.Fields[0].Kind != Number || f.Fields[0].Label != "Mine" || f.Fields[1].Kind != JSON || f.Fields[2].Kind != Object {
		t.Errorf("got %s %q, %s, %s", f.Fields[0].Kind, f.Fields[0].Label, f.Fields[1].Kind, f.Fields[2].Kind)
	}
}

func TestAConflictNamesWhatIsOtherNow(t *testing.T) {
	t.Parallel()
	s := compiled(t, sample)
	base := `{"name":"a","thickness":1,"growth":{"temperature":5}}`
	values := sent(filled(t, s, base).Fields)
	values.Set("f/name", "mine")
	got := submitted(t, s, values, base)
	got.Form.Against([]byte(`{"name":"a","thickness":2.5,"growth":{"temperature":5},"good":true}`))
	if f := got.Form.at(t, "/thickness"); !f.Changed || f.Was != "2.5" {
		t.Errorf("%+v", f)
	}
	if f := got.Form.at(t, "/good"); !f.Changed || f.Was != "Yes" {
		t.Errorf("%+v", f)
	}
	if f := got.Form.at(t, "/name"); f.Changed || f.Value != "mine" || !f.Changes() {
		t.Errorf("%+v", f)
	}
	if f := got.Form.at(t, "/growth/temperature"); f.Changed || f.Changes() {
		t.Errorf("%+v", f)
	}
}

func TestARecordIsShownInTheSchemasOrderAndWords(t *testing.T) {
	t.Parallel()
	s := compiled(t, sample)
	items, err := s.Show([]byte(`{"zeta":[1,2],"layers":[{"material":"Ga","thickness":2.50,"x":true}],"method":"b","good":true,"name":"A","growth":{"temperature":600}}`), []string{"/notes"})
	if err != nil {
		t.Fatal(err)
	}
	var labels []string
	for _, it := range items {
		labels = append(labels, it.Label)
	}
	if want := []string{"Sample name", "Good", "Notes", "Growth", "Layers", "Method", "Zeta"}; !slices.Equal(labels, want) {
		t.Errorf("in the order %v, want %v", labels, want)
	}
	if !items[2].Erased || items[1].Value != "Yes" || items[5].Value != "Method B" || items[3].Items[0].Unit != "°C" || items[3].Items[0].Value != "600" {
		t.Errorf("%+v", items)
	}
	if it := items[4]; !slices.Equal(it.Heads, []string{"Material", "Thickness", "X"}) || !slices.Equal(it.Table[0], []string{"Ga", "2.50", "Yes"}) {
		t.Errorf("%+v", it)
	}
	if it := items[6]; !slices.Equal(it.List, []string{"1", "2"}) {
		t.Errorf("%+v", it)
	}
	cols := s.Columns(3)
	if cells := s.Cells([]byte(`{"state":"grown","thickness":1.20}`), cols); !slices.Equal(cells, []string{"grown", "1.20", ""}) || cols[0].Label != "State" || !cols[1].Numeric {
		t.Errorf("%v, %+v", cells, cols)
	}
}

func TestADifferenceIsToldFieldByField(t *testing.T) {
	t.Parallel()
	s := compiled(t, sample)
	got, more := s.Diff([]byte(`{"name":"a","thickness":1,"tags":["x","y"],"growth":{"by":"me"}}`), []byte(`{"name":"a","thickness":1.0,"tags":["x"],"growth":{"by":"you"},"good":true}`))
	want := []Change{
		{Label: "Thickness", Before: "1 nm", After: "1.0 nm"},
		{Label: "Growth › By", Before: "me", After: "you"},
		{Label: "Good", After: "Yes", Added: true},
		{Label: "Tags › 2", Before: "y", Removed: true},
	}
	if !slices.Equal(got, want) || more != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestUnitsReadAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	for ucum, want := range map[string]string{"nm": "nm", "Cel": "°C", "cm-1": "cm⁻¹", "J/m2": "J/m²", "kg.m.s-2": "kg·m·s⁻²", "Ao": "Å", "1": "", "%": "%", "10*6/mL": "10*6/mL", "[degF]": "°F", "mbar": "mbar", "{ML}/s": "ML/s", "um/h": "µm/h", "": ""} {
		if got := UnitWords(ucum); got != want {
			t.Errorf("%s reads %q, want %q", ucum, got, want)
		}
	}
}

// gen makes schemas and contents that need not fit them.
type gen struct{ t *rapid.T }

func (g gen) pick(n int) int { return rapid.IntRange(0, n-1).Draw(g.t, "pick") }

func (g gen) name() string {
	return rapid.SampledFrom([]string{"a", "b", "c/d", "e~f", "g h", "ü", "", "1"}).Draw(g.t, "name")
}

func (g gen) schema(depth int) string {
	kinds := []string{`{"type":"string"}`, `{"type":"string","maxLength":500}`, `{"type":"string","format":"date"}`, `{"type":"string","format":"date-time"}`, `{"type":["string","null"],"format":"email"}`,
		`{"type":"number","x-strongroom":{"unit":"nm"}}`, `{"type":"integer"}`, `{"type":"boolean"}`, `{"enum":["x",1,1.0,null,true,""]}`, `{"const":"k"}`, `{"oneOf":[{"const":1,"title":"one"},{"const":2}]}`,
		`{}`, `true`, `{"anyOf":[{"type":"number"},{"type":"null"}]}`, `{"type":"object","additionalProperties":{"type":"string"}}`, `{"type":"array"}`}
	switch k := g.pick(len(kinds) + 4); {
	case k < len(kinds):
		return kinds[k]
	case depth <= 0:
		return kinds[0]
	case k < len(kinds)+2:
		return `{"type":"array","items":` + g.schema(depth-1) + `}`
	}
	return g.object(depth)
}

func (g gen) object(depth int) string {
	var props, required []string
	seen := map[string]bool{}
	for range g.pick(6) {
		n := g.name()
		if seen[n] {
			continue
		}
		seen[n] = true
		props = append(props, string(quote(n))+":"+g.schema(depth-1))
		if g.pick(2) == 0 {
			required = append(required, string(quote(n)))
		}
	}
	return `{"type":"object","properties":{` + strings.Join(props, ",") + `},"required":[` + strings.Join(required, ",") + `]}`
}

func (g gen) content(depth int) string {
	scalars := []string{`"x"`, `""`, `" lead and trail "`, `"\u0041\/"`, `"two\nlines"`, `"\r\n"`, `"\n first"`, `"\u0007"`, `"2026-11-22"`, `"not a date"`, `"é"`, `"<&>"`, `1`, `1.0`, `-0`, `1E+400`, `0.10`, `true`, `false`, `null`, `"k"`, `2`}
	switch k := g.pick(len(scalars) + 6); {
	case k < len(scalars):
		return scalars[k]
	case depth <= 0:
		return `[]`
	case k < len(scalars)+3:
		var items []string
		for range g.pick(4) {
			items = append(items, g.content(depth-1))
		}
		return `[` + strings.Join(items, ",") + `]`
	}
	return g.members(depth)
}

func (g gen) members(depth int) string {
	var members []string
	seen := map[string]bool{}
	for range g.pick(7) {
		n := g.name()
		if seen[n] {
			continue
		}
		seen[n] = true
		members = append(members, string(quote(n))+":"+g.content(depth-1))
	}
	return `{` + strings.Join(members, ",") + `}`
}

// TestAFormThatNobodyTouchesGivesTheVeryBytesBack is the law of this package:
// whatever the schema and whatever the content, looking at a record in a form
// and saving it changes nothing.
func TestAFormThatNobodyTouchesGivesTheVeryBytesBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := gen{t}
		s, err := Compile([]byte(g.object(3)))
		if err != nil {
			t.Fatal(err)
		}
		content := g.members(3)
		f, err := s.Fill([]byte(content))
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Submit(sent(f.Fields), []byte(content))
		if err != nil {
			t.Fatal(err)
		}
		if string(got.Content) != content {
			t.Fatalf("content %s came back as %s", content, got.Content)
		}
	})
}

// TestAChangeReachesOneFieldAlone changes one text, and takes it back: then
// all is as it was.
func TestAChangeReachesOneFieldAlone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		g := gen{t}
		s, err := Compile([]byte(g.object(3)))
		if err != nil {
			t.Fatal(err)
		}
		content := g.members(3)
		f, err := s.Fill([]byte(content))
		if err != nil {
			t.Fatal(err)
		}
		values := sent(f.Fields)
		var names []string
		for n, v := range values {
			if n[0] == 'f' && v[0] != "rows" {
				names = append(names, n)
			}
		}
		if len(names) == 0 {
			return
		}
		slices.Sort(names)
		n := names[g.pick(len(names))]
		was := values.Get(n)
		values.Set(n, `77`)
		changed, err := s.Submit(values, []byte(content))
		if err != nil {
			t.Fatal(err)
		}
		if changed.Content != nil && !json.Valid(changed.Content) {
			t.Fatalf("%s is no JSON", changed.Content)
		}
		values.Set(n, was)
		back, err := s.Submit(values, []byte(content))
		if err != nil || string(back.Content) != content {
			t.Fatalf("content %s came back as %s (%v)", content, back.Content, err)
		}
	})
}

// FuzzSubmit gives the reader of forms anything for a schema, a record and
// what came back: the result is JSON or a form with errors.
func FuzzSubmit(f *testing.F) {
	f.Add(sample, `{"name":"a","layers":[{"material":"b"}]}`, "f/name=b&o/layers/0=0&f/layers=rows")
	f.Add(`{"type":"object","properties":{"a":{"type":"array","items":{"type":"number"}}}}`, `{"a":[1]}`, "f/a=rows&o/a/0=0&f/a/0=x&do=add/a")
	f.Fuzz(func(t *testing.T, schema, content, query string) {
		s, err := Compile([]byte(schema))
		if err != nil {
			return
		}
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		got, err := s.Submit(values, []byte(content))
		if err != nil {
			return
		}
		if got.Content != nil && !json.Valid(got.Content) {
			t.Fatalf("not JSON: %q", got.Content)
		}
		if got.Content == nil && !got.Rearranged && !got.Form.HasErrors() {
			t.Fatal("neither content nor an error")
		}
		_, _ = s.Show([]byte(content), nil)
		_, _ = s.Diff([]byte(content), got.Content)
		got.Form.Refuse("/content"+query, "x")
		got.Form.Against([]byte(content))
		_ = fmt.Sprint(s.Cells([]byte(content), s.Columns(4)), s.Summary([]byte(content)))
	})
}

func TestAPageShowsTimesAndUnitsInWordsAndNoEmptyColumns(t *testing.T) {
	t.Parallel()
	s, err := Compile([]byte(`{"type":"object","properties":{
		"at":{"type":"string","format":"date-time"},"who":{"type":"string","maxLength":5000},
		"values":{"type":"array","items":{"type":"object","properties":{"name":{"type":"string"},"unit":{"type":"string","format":"ucum"},"method":{"type":"string"}}}}}}`))
	if err != nil {
		t.Fatal(err)
	}
	items, err := s.Show([]byte(`{"at":"2026-11-22T14:30:00Z","who":"Ada","values":[{"name":"energy","unit":"{hartree}"}]}`), nil)
	if err != nil || len(items) != 3 {
		t.Fatalf("%v: %+v", err, items)
	}
	if items[0].Value != "22 Nov 2026, 14:30 UTC" {
		t.Errorf("the time is %q", items[0].Value)
	}
	if items[1].Kind != Text {
		t.Errorf("one word takes a block of its own: %v", items[1].Kind)
	}
	if got := fmt.Sprint(items[2].Heads, items[2].Table); got != "[Name Unit] [[energy hartree]]" {
		t.Errorf("the table is %s", got)
	}
}
