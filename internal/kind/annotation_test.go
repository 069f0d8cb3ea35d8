package kind

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"strongroom/internal/base/fault"
)

// declare checks a declaration of a kind called thing.
func declare(schema string, relations Relations) error {
	_, err := Declaration{Kind: "thing", Title: "Things", Schema: json.RawMessage(schema), Relations: relations}.Check()
	return err
}

func TestAnAnnotationSaysOnlyWhatIsKnown(t *testing.T) {
	t.Parallel()
	people := Relations{"holder": {To: []string{"person"}}, "authors": {To: []string{"person"}, Many: true}}
	for _, tt := range []struct{ name, schema, want string }{
		{"everything that there is", `{"properties":{"a":{"type":"string","x-strongroom":{"title":true,"search":"words","person":"self"}},"b":{"type":["number","null"],"x-strongroom":{"unit":"nm","search":"number"}}}}`, ""},
		{"nothing", `{"x-strongroom":{},"properties":{"a":{"x-strongroom":{}}}}`, ""},
		{"a relation that leads to a person", `{"properties":{"a":{"x-strongroom":{"person":"holder"}}}}`, ""},
		{"units of items and of members", `{"properties":{"a":{"type":"array","items":{"type":"number","x-strongroom":{"unit":"eV"}}},"b":{"$ref":"#/$defs/b"}},"$defs":{"b":{"properties":{"c":{"x-strongroom":{"unit":"mbar"}}}}}}`, ""},
		{"a member of that name", `{"properties":{"x-strongroom":{"type":"string"}},"required":["x-strongroom"]}`, ""},
		{"a value of that name", `{"const":{"x-strongroom":{"colour":1}},"examples":[{"x-strongroom":1}],"properties":{"a":{"enum":[{"x-strongroom":1}],"default":{"x-strongroom":2}}}}`, ""},

		{"an unknown member", `{"properties":{"a":{"x-strongroom":{"colour":"red"}}}}`, "/schema/properties/a/x-strongroom/colour unknown_annotation"},
		{"a misspelled member deep below", `{"properties":{"a":{"items":{"anyOf":[{},{"x-strongroom":{"units":"nm"}}]}}}}`, "/schema/properties/a/items/anyOf/1/x-strongroom/units unknown_annotation"},
		{"an unknown member in a definition", `{"$defs":{"a/b":{"x-strongroom":{"c":1}}}}`, "/schema/$defs/a~1b/x-strongroom/c unknown_annotation"},
		{"no object", `{"properties":{"a":{"x-strongroom":true}}}`, "/schema/properties/a/x-strongroom type"},
		{"the schema as a whole", `{"x-strongroom":{"person":"self"}}`, "/schema/x-strongroom annotation_place"},
		{"a title that is false", `{"properties":{"a":{"x-strongroom":{"title":false}}}}`, "/schema/properties/a/x-strongroom/title annotation"},
		{"a title that is no text", `{"properties":{"a":{"type":"integer","x-strongroom":{"title":true}}}}`, "/schema/properties/a/x-strongroom/title annotation"},
		{"two titles", `{"properties":{"a":{"x-strongroom":{"title":true}},"b":{"x-strongroom":{"title":true}}}}`, "/schema/properties/b/x-strongroom/title annotation"},
		{"a title deep below", `{"properties":{"a":{"properties":{"b":{"x-strongroom":{"title":true}}}}}}`, "/schema/properties/a/properties/b/x-strongroom/title annotation_place"},
		{"an unknown search", `{"properties":{"a":{"x-strongroom":{"search":"magic"}}}}`, "/schema/properties/a/x-strongroom/search annotation"},
		{"a unit of nowhere", `{"properties":{"a":{"x-strongroom":{"unit":"Torr"}}}}`, "/schema/properties/a/x-strongroom/unit unit"},
		{"a unit of a text", `{"properties":{"a":{"type":"string","x-strongroom":{"unit":"nm"}}}}`, "/schema/properties/a/x-strongroom/unit annotation"},
		{"a person deep below", `{"properties":{"a":{"items":{"x-strongroom":{"person":"self"}}}}}`, "/schema/properties/a/items/x-strongroom/person annotation_place"},
		{"a person behind no relation", `{"properties":{"a":{"x-strongroom":{"person":"owner"}}}}`, "/schema/properties/a/x-strongroom/person unknown_relation"},
		{"several people", `{"properties":{"a":{"x-strongroom":{"person":"authors"}}}}`, "/schema/properties/a/x-strongroom/person unknown_relation"},
	} {
		err := declare(tt.schema, people)
		if got := strings.Join(details(err), "; "); tt.want == "" && err != nil || tt.want != "" && (!fault.Is(err, fault.Invalid) || got != tt.want) {
			t.Errorf("%s: %v %q, want %q", tt.name, err, got, tt.want)
		}
	}
}

func TestADeclarationIsHeldToItsRules(t *testing.T) {
	t.Parallel()
	whole := func(change func(*Declaration)) Declaration {
		d := Declaration{Kind: "thing", Title: "Things", Schema: json.RawMessage(`{}`), Visibility: ForOwner, Relations: Relations{"part of": {To: []string{"thing", ToFile}}}}
		change(&d)
		return d
	}
	for _, tt := range []struct {
		name   string
		change func(*Declaration)
		want   string
	}{
		{"a whole one", func(*Declaration) {}, ""},
		{"no visibility", func(d *Declaration) { d.Visibility = "" }, ""},
		{"a kind that is no name", func(d *Declaration) { d.Kind = "A" }, "/kind kind_name"},
		{"the word for files", func(d *Declaration) { d.Kind = "file" }, "/kind reserved"},
		{"a title that never ends", func(d *Declaration) { d.Title = strings.Repeat("x", 201) }, "/title max_length"},
		{"a description that never ends", func(d *Declaration) { d.Description = strings.Repeat("x", 2001) }, "/description max_length"},
		{"another visibility", func(d *Declaration) { d.Visibility = "public" }, "/visibility enum"},
		{"a relation without a name", func(d *Declaration) { d.Relations = Relations{"": {}} }, "/relations/ relation_name"},
		{"a relation with a slash", func(d *Declaration) { d.Relations = Relations{"a/b": {}} }, "/relations/a~1b relation_name"},
		{"a relation that everything has", func(d *Declaration) { d.Relations = Relations{Related: {}} }, "/relations/related reserved"},
		{"a relation to the same twice", func(d *Declaration) { d.Relations = Relations{"a": {To: []string{"b", "b"}}} }, "/relations/a/to/1 unique_items"},
		{"a relation to no kind", func(d *Declaration) { d.Relations = Relations{"a": {To: []string{"B"}}} }, "/relations/a/to/0 kind_name"},
		{"a relation with an endless title", func(d *Declaration) { d.Relations = Relations{"a": {Title: strings.Repeat("x", 201)}} }, "/relations/a/title max_length"},
		{"too many relations", func(d *Declaration) {
			d.Relations = Relations{}
			for range MaxRelations + 1 {
				d.Relations["r"+strings.Repeat("x", len(d.Relations))] = Relation{}
			}
		}, "/relations too_many"},
		{"a schema that is none", func(d *Declaration) { d.Schema = json.RawMessage(`{"type":"thing"}`) }, "/schema/type"},
	} {
		_, err := whole(tt.change).Check()
		if got := strings.Join(details(err), "; "); tt.want == "" && err != nil || !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %v %q, want %q", tt.name, err, got, tt.want)
		}
	}
}

func TestALinkIsHeldToTheDeclaredRelations(t *testing.T) {
	t.Parallel()
	rs := Relations{"sample": {To: []string{"sample"}}, "raw data": {To: []string{ToFile}, Many: true}, "about": {}}
	for _, tt := range []struct {
		relation, to string
		single       bool
		want         string
	}{
		{"sample", "sample", true, ""},
		{"raw data", ToFile, false, ""},
		{"about", "anything", true, ""},
		{Related, "anything", false, ""},
		{Related, ToFile, false, ""},
		{"sample", "project", false, "/relation relation_target"},
		{"sample", ToFile, false, "/relation relation_target"},
		{"raw data", "sample", false, "/relation relation_target"},
		{"undeclared", "sample", false, "/relation unknown_relation"},
	} {
		single, err := rs.Allows(tt.relation, tt.to, "/relation")
		if got := strings.Join(details(err), "; "); single != tt.single && err == nil || tt.want == "" && err != nil || got != tt.want {
			t.Errorf("%s to %s: %v, %v %q", tt.relation, tt.to, single, err, got)
		}
	}
	for _, none := range []Relations{nil, {}} {
		if single, err := none.Allows("whatever", "anything", "/relation"); single || err != nil {
			t.Errorf("a collection without relations refuses one: %v", err)
		}
	}
}

func TestDeclarationsAreEqualByWhatTheySay(t *testing.T) {
	t.Parallel()
	d := Declaration{Kind: "a", Title: "A", Schema: json.RawMessage(`{"type": "object"}`), Relations: Relations{"b": {}}}
	o := Declaration{Kind: "a", Title: "A", Schema: json.RawMessage("{\n\"type\":\"object\"}"), Visibility: ForOrganization, Relations: Relations{"b": {To: []string{}}}}
	if !d.Equal(o) {
		t.Error("white space and defaults make a difference")
	}
	for _, change := range []func(*Declaration){func(d *Declaration) { d.Title = "B" }, func(d *Declaration) { d.Description = "B" }, func(d *Declaration) { d.Visibility = ForOwner },
		func(d *Declaration) { d.Relations = nil }, func(d *Declaration) { d.Schema = json.RawMessage(`{}`) }} {
		c := o
		change(&c)
		if d.Equal(c) {
			t.Errorf("%+v counts as the same", c)
		}
	}
}

func TestATitleIsFoundInTheText(t *testing.T) {
	t.Parallel()
	s := compile(t, `{"properties":{"n":{"type":"number"},"na me":{"type":"string","x-strongroom":{"title":true}}}}`)
	for content, want := range map[string]string{
		`{"na me":"Ada"}`: "Ada",
		`{"x":{"na me":"inner"},"y":["na me","a",{"b":"}"}],"na me":"Ada \"\u00e9\" 日"}`: `Ada "é" 日`,
		`{"na\u0020me":"escaped"}`:            "escaped",
		`{ "a" : [ 1 , 2 ] , "na me" : "x" }`: "x",
		`{"a":"\\\"","na me":"y"}`:            "y",
		`{"na me":7}`:                         "",
		`{"na me":null}`:                      "",
		`{}`:                                  "",
		`{"other":"na me"}`:                   "",
		`{"na me":"` + strings.Repeat("é", 300) + `"}`: strings.Repeat("é", 200) + "…",
	} {
		if got := s.Title([]byte(content)); got != want {
			t.Errorf("%s has the title %q, want %q", content, got, want)
		}
	}
	if got := compile(t, `{"properties":{"a":{"type":"string"}}}`).Title([]byte(`{"a":"b"}`)); got != "" {
		t.Errorf("a schema without a title gives %q", got)
	}
}

// FuzzTitle holds the search for a member against a whole reading of the text.
func FuzzTitle(f *testing.F) {
	for _, s := range []string{`{"a":"b"}`, `{"x":{"a":"c"},"a":"b"}`, `{"\u0061":"z"}`, `{"y":"\\\"","a":"}"}`, `{`, `{"a":`, `[]`, `{"a" "b"}`, `{,}`} {
		f.Add([]byte(s))
	}
	s := &Schema{title: "a"}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got := s.Title(raw) // of whatever bytes it ends
		c, err := ParseContent(raw, "")
		if err != nil {
			return
		}
		want, _ := c.value["a"].(string)
		if r := []rune(want); len(r) > maxTitle {
			want = string(r[:maxTitle]) + "…"
		}
		if got != want || s.Title(c.Text()) != want {
			t.Errorf("%q has the title %q, want %q", raw, got, want)
		}
	})
}

func TestFieldsAreInWrittenOrder(t *testing.T) {
	t.Parallel()
	s := compile(t, `{"type":"object","required":["z"],"additionalProperties":false,"properties":{
		"z":{"type":"string","title":"Zed","description":"d","minLength":1,"maxLength":9,"format":"date","x-strongroom":{"title":true,"search":"words"}},
		"a":{"type":["number","null"],"minimum":0,"exclusiveMaximum":1.50,"x-strongroom":{"unit":"eV"}},
		"list":{"type":"array","maxItems":3,"items":{"$ref":"#/$defs/item"},"x-strongroom":{"unit":"nm"}},
		"e":{"enum":["x","y"]},"c":{"const":7,"default":7},
		"o":{"$ref":"#/$defs/item","title":"Own"},
		"free":{"type":"object"}},
		"$defs":{"item":{"type":"object","title":"Item","required":["v"],"additionalProperties":false,"properties":{"v":{"type":"number"},"deeper":{"$ref":"#/$defs/item"}}}}}`)
	fields := s.Fields()
	var names []string
	byName := map[string]Field{}
	for _, f := range fields {
		names = append(names, f.Name)
		byName[f.Name] = f
	}
	if !slices.Equal(names, []string{"z", "a", "list", "e", "c", "o", "free"}) {
		t.Fatalf("%q", names)
	}
	z, a, list, o := byName["z"], byName["a"], byName["list"], byName["o"]
	if z.Pointer != "/z" || !z.Required || z.Title != "Zed" || z.Description != "d" || z.MinLength != "1" || z.MaxLength != "9" || z.Format != "date" || !z.Annotation.Title || z.Annotation.Search != "words" || !z.Is("string") || z.Is("number") {
		t.Errorf("%+v", z)
	}
	if a.Required || a.Unit != "eV" || a.Minimum != "0" || a.ExclusiveMaximum != "1.50" || !a.Is("number") || !a.Is("null") {
		t.Errorf("%+v", a)
	}
	if list.Items == nil || list.Items.Pointer != "/list/-" || list.MaxItems != "3" || list.Items.Title != "Item" || list.Items.Fields[0].Pointer != "/list/-/v" || list.Items.Fields[0].Unit != "nm" || !list.Items.Fields[0].Required || list.Items.Open {
		t.Errorf("%+v", list)
	}
	if e := byName["e"]; len(e.Enum) != 2 || string(e.Enum[1]) != `"y"` || !slices.Equal(e.Types, []string{"string"}) {
		t.Errorf("%+v", e)
	}
	if c := byName["c"]; string(c.Const) != "7" || string(c.Default) != "7" || !c.Is("number") {
		t.Errorf("%+v", c)
	}
	if o.Title != "Own" || len(o.Fields) != 2 || !byName["free"].Open || len(byName["free"].Fields) != 0 {
		t.Errorf("%+v", o)
	}
	depth := 0
	for f := o; len(f.Fields) == 2; f = f.Fields[1] {
		depth++
	}
	if depth != MaxFieldDepth-1 {
		t.Errorf("a schema that refers to itself is read %d deep", depth)
	}
	if s.TitleField() != "z" || byName["list"].Label() != "List" || z.Label() != "Zed" {
		t.Error("titles and labels")
	}
}

func TestFieldsOfAWideSchemaEnd(t *testing.T) {
	t.Parallel()
	// Each level refers to the next one ten times: a million fields, if nobody
	// counted.
	var b strings.Builder
	b.WriteString(`{"properties":{"a":{"$ref":"#/$defs/d0"}},"$defs":{`)
	for i := range 6 {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString(`"d` + string(rune('0'+i)) + `":{"type":"object","properties":{`)
		for j := range 10 {
			if j > 0 {
				b.WriteString(",")
			}
			b.WriteString(`"p` + string(rune('0'+j)) + `":{"$ref":"#/$defs/d` + string(rune('0'+(i+1)%6)) + `"}`)
		}
		b.WriteString(`}}`)
	}
	b.WriteString(`}}`)
	if n := count(FieldsOf([]byte(b.String()))); n > 2*maxFields || n < 100 {
		t.Errorf("%d fields", n)
	}
	for _, raw := range []string{"", "[]", "true", `{"properties":[]}`, `{"properties":{"a":true}}`, `{"$ref":"#"}`, `{"properties":{"a":{"$ref":"#/properties/a"}}}`} {
		_ = FieldsOf([]byte(raw))
	}
}

func count(fields []Field) (n int) {
	for _, f := range fields {
		n += 1 + count(f.Fields)
		if f.Items != nil {
			n += 1 + count(f.Items.Fields)
		}
	}
	return n
}

// FuzzFields reads the fields of whatever comes, and those of what compiles
// have the names that the schema lists.
func FuzzFields(f *testing.F) {
	for _, k := range Kits() {
		for _, n := range k.Kinds {
			f.Add([]byte(n.Declaration.Schema))
		}
	}
	f.Add([]byte(`{"properties":{"a":{"items":{"$ref":"#"}}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		fields := FieldsOf(raw)
		s, err := Compile(raw, "")
		if err != nil {
			return
		}
		var names []string
		for _, f := range fields {
			names = append(names, f.Name)
		}
		if s == Any {
			return
		}
		if len(s.Columns()) <= maxFields && !slices.Equal(names, s.Columns()) {
			t.Errorf("%q has the fields %q and the columns %q", raw, names, s.Columns())
		}
	})
}
