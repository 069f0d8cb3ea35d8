package kind

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// MaxFieldDepth is how deep [Schema.Fields] goes into objects and arrays.
const MaxFieldDepth = 6

// maxFields bounds what one schema gives, because a reference may be followed
// from many places.
const maxFields = 1_000

// Field is one member of a kind's content, as forms and tables need it. What
// the schema does not say is zero.
type Field struct {
	Name        string            `json:"name"`    // "" for the items of an array
	Pointer     string            `json:"pointer"` // in the content (RFC 6901); an item's place is written "-"
	Types       []string          `json:"types,omitempty"`
	Title       string            `json:"title,omitempty"`
	Description string            `json:"description,omitempty"`
	Enum        []json.RawMessage `json:"enum,omitempty"`
	Const       json.RawMessage   `json:"const,omitempty"`
	Default     json.RawMessage   `json:"default,omitempty"`
	Format      string            `json:"format,omitempty"`
	Pattern     string            `json:"pattern,omitempty"`
	Required    bool              `json:"required,omitempty"`
	Unit        string            `json:"unit,omitempty"` // its own, or that of the array or object it stands in
	Annotation  Annotation        `json:"annotation,omitzero"`

	Minimum          json.Number `json:"minimum,omitempty"`
	Maximum          json.Number `json:"maximum,omitempty"`
	ExclusiveMinimum json.Number `json:"exclusive_minimum,omitempty"`
	ExclusiveMaximum json.Number `json:"exclusive_maximum,omitempty"`
	MinLength        json.Number `json:"min_length,omitempty"`
	MaxLength        json.Number `json:"max_length,omitempty"`
	MinItems         json.Number `json:"min_items,omitempty"`
	MaxItems         json.Number `json:"max_items,omitempty"`

	Fields []Field `json:"fields,omitempty"` // of an object, as they are written
	Items  *Field  `json:"items,omitempty"`  // of an array
	// Open says that an object takes members that are not listed.
	Open bool `json:"open,omitempty"`
}

// Is reports whether a value of the field may be of a type. A field that names
// no type may be anything.
func (f Field) Is(typ string) bool {
	if len(f.Types) == 0 {
		return true
	}
	for _, t := range f.Types {
		if t == typ || typ == "number" && t == "integer" {
			return true
		}
	}
	return false
}

// Label is the title, or the name in words.
func (f Field) Label() string {
	if f.Title != "" {
		return f.Title
	}
	words := strings.NewReplacer("_", " ", "-", " ").Replace(f.Name)
	if words == "" {
		return ""
	}
	return strings.ToUpper(words[:1]) + words[1:]
}

// Fields lists the schema's top-level members in the order in which they are
// written. Members of alternatives (anyOf, oneOf, if) are not listed: a form
// cannot know which of them holds. The caller must not change the list.
func (s *Schema) Fields() []Field { return s.fields }

// FieldsOf reads the fields of a schema that was accepted before. What is no
// schema has none.
func FieldsOf(schema []byte) []Field {
	if len(schema) > MaxSchema {
		return nil
	}
	root, err := readTree(schema)
	if err != nil {
		return nil
	}
	r := fieldReader{root: root}
	return r.object(root, "", "", 0).Fields
}

// tree is a JSON value whose members keep their order, which a map loses.
type tree struct {
	raw     json.RawMessage
	members []treeMember // of an object
	items   []*tree      // of an array
	kind    byte         // { [ or 0 for the others
}

type treeMember struct {
	name  string
	value *tree
}

func (t *tree) get(name string) *tree {
	if t == nil {
		return nil
	}
	for _, m := range t.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

func (t *tree) text() string {
	var s string
	if t != nil {
		_ = json.Unmarshal(t.raw, &s)
	}
	return s
}

func (t *tree) number() json.Number {
	if t == nil || t.kind != 0 || len(t.raw) == 0 || t.raw[0] != '-' && (t.raw[0] < '0' || t.raw[0] > '9') {
		return ""
	}
	return json.Number(t.raw)
}

// readTree reads text that [parse] has accepted: its depth and size are
// bounded already.
func readTree(text []byte) (*tree, error) {
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return nil, err
	}
	b := compact.Bytes()
	t, _ := grow(b, 0, 0)
	return t, nil
}

func grow(b []byte, i, depth int) (*tree, int) {
	start := i
	t := &tree{}
	if i >= len(b) || depth > MaxDepth || b[i] != '{' && b[i] != '[' {
		end := value(b, i)
		t.raw = b[start:end]
		return t, end
	}
	t.kind = b[i]
	closing := byte('}')
	if t.kind == '[' {
		closing = ']'
	}
	i++
	for i < len(b) && b[i] != closing {
		if b[i] == ',' {
			i++
		}
		name := ""
		if t.kind == '{' {
			end := value(b, i)
			_ = json.Unmarshal(b[i:end], &name)
			i = end + 1
		}
		var v *tree
		v, i = grow(b, i, depth+1)
		if t.kind == '{' {
			t.members = append(t.members, treeMember{name, v})
		} else {
			t.items = append(t.items, v)
		}
	}
	t.raw = b[start:min(i+1, len(b))]
	return t, i + 1
}

type fieldReader struct {
	root *tree
	made int
}

// resolve follows references within the schema. A keyword that stands beside a
// reference counts before what it leads to.
func (r *fieldReader) resolve(t *tree) []*tree {
	all := []*tree{t}
	for range MaxDepth {
		ref := all[len(all)-1].get("$ref")
		if ref == nil {
			break
		}
		to := r.find(ref.text())
		if to == nil {
			break
		}
		all = append(all, to)
	}
	return all
}

// find follows a JSON pointer in a URI fragment.
func (r *fieldReader) find(ref string) *tree {
	rest, ok := strings.CutPrefix(ref, "#")
	if !ok || rest != "" && rest[0] != '/' {
		return nil
	}
	t := r.root
	if rest == "" {
		return t
	}
	for step := range strings.SplitSeq(rest[1:], "/") {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(unescape(step))
		if t == nil {
			return nil
		}
		if t.kind == '[' {
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(t.items) {
				return nil
			}
			t = t.items[i]
			continue
		}
		t = t.get(step)
	}
	return t
}

func unescape(s string) string {
	if strings.Contains(s, "%") {
		return fragment("#" + s)
	}
	return s
}

// first returns a keyword from the nearest schema that has it.
func first(all []*tree, keyword string) *tree {
	for _, t := range all {
		if v := t.get(keyword); v != nil {
			return v
		}
	}
	return nil
}

func (r *fieldReader) object(t *tree, pointer, unit string, depth int) Field {
	return r.field("", pointer, t, unit, depth)
}

func (r *fieldReader) field(name, pointer string, t *tree, unit string, depth int) Field {
	r.made++
	all := r.resolve(t)
	f := Field{Name: name, Pointer: pointer, Unit: unit, Title: first(all, "title").text(), Description: first(all, "description").text(),
		Format: first(all, "format").text(), Pattern: first(all, "pattern").text(),
		Minimum: first(all, "minimum").number(), Maximum: first(all, "maximum").number(),
		ExclusiveMinimum: first(all, "exclusiveMinimum").number(), ExclusiveMaximum: first(all, "exclusiveMaximum").number(),
		MinLength: first(all, "minLength").number(), MaxLength: first(all, "maxLength").number(),
		MinItems: first(all, "minItems").number(), MaxItems: first(all, "maxItems").number()}
	if v := first(all, "type"); v != nil {
		if s := v.text(); s != "" {
			f.Types = []string{s}
		}
		for _, item := range v.items {
			f.Types = append(f.Types, item.text())
		}
	}
	if v := first(all, "enum"); v != nil {
		for _, item := range v.items {
			f.Enum = append(f.Enum, item.raw)
		}
	}
	if v := first(all, "const"); v != nil {
		f.Const = v.raw
	}
	if v := first(all, "default"); v != nil {
		f.Default = v.raw
	}
	if v := first(all, Keyword); v != nil {
		var x any
		d := json.NewDecoder(bytes.NewReader(v.raw))
		d.UseNumber()
		if d.Decode(&x) == nil {
			f.Annotation = readAnnotation(x)
		}
	}
	if f.Annotation.Unit != "" {
		f.Unit = f.Annotation.Unit
	}
	if len(f.Types) == 0 {
		f.Types = impliedTypes(f, all)
	}
	if depth >= MaxFieldDepth || r.made > maxFields {
		return f
	}
	if f.Is("object") {
		r.members(&f, all, depth)
	}
	if items := first(all, "items"); items != nil && items.kind == '{' && f.Is("array") {
		item := r.field("", pointer+"/-", items, f.Unit, depth+1)
		f.Items = &item
	}
	return f
}

func (r *fieldReader) members(f *Field, all []*tree, depth int) {
	required := map[string]bool{}
	if v := first(all, "required"); v != nil {
		for _, item := range v.items {
			required[item.text()] = true
		}
	}
	if v := first(all, "additionalProperties"); v == nil || string(v.raw) != "false" {
		f.Open = true
	}
	properties := first(all, "properties")
	if properties == nil {
		return
	}
	for _, m := range properties.members {
		if r.made > maxFields {
			return
		}
		sub := r.field(m.name, f.Pointer+"/"+escaper.Replace(m.name), m.value, f.Unit, depth+1)
		sub.Required = required[m.name]
		f.Fields = append(f.Fields, sub)
	}
}

// impliedTypes reads the type off the values that a schema lists, or off the
// members and items that it describes.
func impliedTypes(f Field, all []*tree) []string {
	values := f.Enum
	if f.Const != nil {
		values = []json.RawMessage{f.Const}
	}
	var types []string
	for _, v := range values {
		t := typeOf(v)
		if len(types) == 0 || types[len(types)-1] != t {
			types = append(types, t)
		}
	}
	switch {
	case len(types) > 0:
		return types
	case first(all, "properties") != nil:
		return []string{"object"}
	case first(all, "items") != nil:
		return []string{"array"}
	}
	return nil
}

func typeOf(v json.RawMessage) string {
	switch v[0] {
	case '"':
		return "string"
	case '{':
		return "object"
	case '[':
		return "array"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "number"
}
