package kind

import (
	"encoding/json"
	"slices"
	"strconv"

	"strongroom/internal/base/fault"
)

// Keyword is the annotation in which a schema says what a field is beyond its
// JSON type. It never decides whether content is accepted.
const Keyword = "x-strongroom"

// Self says that a field is about the person whom its record describes.
const Self = "self"

// Searches lists how a field may be searched.
var Searches = []string{"words", "label", "number", "date", "presence"}

// Annotation is what a schema says of one field.
type Annotation struct {
	Title  bool   `json:"title,omitempty"`  // people know the record by this field
	Search string `json:"search,omitempty"` // one of Searches
	Unit   string `json:"unit,omitempty"`   // UCUM, of the field's numbers
	Person string `json:"person,omitempty"` // Self, or the relation that leads to the person whom the field is about
}

// IsZero reports whether nothing is said.
func (a Annotation) IsZero() bool { return a == Annotation{} }

// Keywords whose value is a schema, a list of schemas, or an object of them.
// An annotation is one only where a schema stands: inside const, enum, default
// or examples the same word is a value like any other.
var (
	oneSchema   = []string{"items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties", "not", "if", "then", "else", "contentSchema"}
	schemaLists = []string{"prefixItems", "allOf", "anyOf", "oneOf"}
	schemaMaps  = []string{"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"}
)

// annotations holds every annotation of a schema to its rules. Failures point
// below at.
type annotations struct {
	at     string
	title  string            // pointer of the one title
	people map[string]string // field of the top level → Self or a relation
}

func checkAnnotations(root map[string]any, at string) (*annotations, error) {
	a := &annotations{at: at, people: map[string]string{}}
	return a, a.walk(root, at, 0, "")
}

// where an annotation stands: at the root, on a property of the top level, or
// deeper. field is the property's name.
const (
	atRoot = iota
	atField
	atDepth
)

func (a *annotations) walk(v any, at string, where int, field string) error {
	m, ok := v.(map[string]any)
	if !ok {
		return nil // true and false are schemas too
	}
	if x, there := m[Keyword]; there {
		if err := a.check(x, m, at+"/"+Keyword, where, field); err != nil {
			return err
		}
	}
	for _, k := range oneSchema {
		if sub, ok := m[k]; ok {
			if err := a.walk(sub, at+"/"+k, atDepth, ""); err != nil {
				return err
			}
		}
	}
	for _, k := range schemaLists {
		list, _ := m[k].([]any)
		for i, sub := range list {
			if err := a.walk(sub, at+"/"+k+"/"+strconv.Itoa(i), atDepth, ""); err != nil {
				return err
			}
		}
	}
	for _, k := range schemaMaps {
		subs, _ := m[k].(map[string]any)
		for _, name := range sortedNames(subs) {
			below := atDepth
			if k == "properties" && where == atRoot {
				below = atField
			}
			if err := a.walk(subs[name], at+"/"+k+"/"+escaper.Replace(name), below, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (a *annotations) check(x any, schema map[string]any, at string, where int, field string) error {
	bad := func(member, code, detail string) error {
		if member != "" {
			at += "/" + escaper.Replace(member)
		}
		return fault.At(fault.Invalid, clip(at), code, detail)
	}
	m, ok := x.(map[string]any)
	if !ok {
		return bad("", "type", "must be an object")
	}
	if where == atRoot && len(m) > 0 {
		return bad("", "annotation_place", "stands on a field, not on the schema as a whole")
	}
	for _, name := range sortedNames(m) {
		text, isText := m[name].(string)
		switch name {
		case "title":
			if on, ok := m[name].(bool); !ok || !on {
				return bad(name, "annotation", "is true or absent")
			}
			switch {
			case where != atField:
				return bad(name, "annotation_place", "stands on a field of the top level only")
			case a.title != "":
				return bad(name, "annotation", "one field is the title")
			case !mayBe(schema, "string"):
				return bad(name, "annotation", "the title is a string")
			}
			a.title = at
		case "search":
			if !isText || !slices.Contains(Searches, text) {
				return bad(name, "annotation", "is one of words, label, number, date, presence")
			}
		case "unit":
			if !isText || CheckUnit(text) != nil {
				return bad(name, "unit", "is a unit of UCUM in its case-sensitive form, as in nm, eV, mbar, cm-1 or Cel")
			}
			if !mayBe(schema, "number") && !mayBe(schema, "array") && !mayBe(schema, "object") {
				return bad(name, "annotation", "a unit stands on a number, or on what holds numbers")
			}
		case "person":
			if !isText || text == "" || len(text) > maxRelation {
				return bad(name, "annotation", "is self, or the name of a relation that leads to a person")
			}
			if where != atField {
				return bad(name, "annotation_place", "stands on a field of the top level only")
			}
			a.people[field] = text
		default:
			return bad(name, "unknown_annotation", "the members are title, search, unit and person")
		}
	}
	return nil
}

// mayBe reports whether a schema lets a value of a type through, as far as its
// own type keyword says.
func mayBe(schema map[string]any, typ string) bool {
	is := func(t any) bool { return t == any(typ) || typ == "number" && t == any("integer") }
	switch t := schema["type"].(type) {
	case string:
		return is(t)
	case []any:
		return slices.ContainsFunc(t, is)
	}
	return true
}

// readAnnotation reads what was checked when it was declared. What an older
// product took without looking at it says nothing.
func readAnnotation(x any) (a Annotation) {
	m, ok := x.(map[string]any)
	if !ok {
		return a
	}
	a.Title, _ = m["title"].(bool)
	if s, _ := m["search"].(string); slices.Contains(Searches, s) {
		a.Search = s
	}
	if s, _ := m["unit"].(string); CheckUnit(s) == nil {
		a.Unit = s
	}
	a.Person, _ = m["person"].(string)
	return a
}

// maxTitle bounds a record's title in runes; a longer text is cut.
const maxTitle = 200

// TitleField names the field by which people know a record; "": none.
func (s *Schema) TitleField() string { return s.title }

// Title returns the title of a record with this content: "" where the schema
// declares none, or the content has no text there. content is well-formed, as
// Content.Text gives it.
func (s *Schema) Title(content []byte) string {
	if s.title == "" {
		return ""
	}
	raw := member(content, s.title)
	var text string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
		return ""
	}
	n := 0
	for i := range text {
		if n++; n > maxTitle {
			return text[:i] + "…"
		}
	}
	return text
}

// People returns the fields of the top level that are about a person, with
// Self or the relation that leads to her. The caller must not change it.
func (s *Schema) People() map[string]string { return s.people }

// member finds a member of a well-formed object and returns its value's text.
// It looks at each byte once and builds nothing, because a list asks for the
// title of every row.
func member(text []byte, name string) []byte {
	i := space(text, 0)
	if i >= len(text) || text[i] != '{' {
		return nil
	}
	for i = space(text, i+1); i < len(text) && text[i] == '"'; {
		end := value(text, i)
		key := text[i:end]
		i = space(text, end)
		if i >= len(text) || text[i] != ':' {
			return nil
		}
		from := space(text, i+1)
		i = value(text, from)
		if isName(key, name) {
			return text[from:min(i, len(text))]
		}
		if i = space(text, i); i >= len(text) || text[i] != ',' {
			return nil
		}
		i = space(text, i+1)
	}
	return nil
}

func isName(quoted []byte, name string) bool {
	if len(quoted) == len(name)+2 && string(quoted[1:len(quoted)-1]) == name {
		return true
	}
	var s string
	return slices.Contains(quoted, '\\') && json.Unmarshal(quoted, &s) == nil && s == name
}

func space(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r') {
		i++
	}
	return i
}

// value returns where the value that begins at i ends.
func value(text []byte, i int) int {
	depth := 0
	for i < len(text) {
		switch text[i] {
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			i++
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
			i++
			continue
		default:
			for i < len(text) && !isEnd(text[i]) {
				i++
			}
		}
		if depth == 0 {
			return min(i, len(text))
		}
	}
	return len(text)
}

func isEnd(c byte) bool {
	switch c {
	case ',', ':', '}', ']', '{', '[', '"', ' ', '\t', '\n', '\r':
		return true
	}
	return false
}
