package openapi

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// known are values that make sense where a name says what a value is; a schema
// alone cannot.
var known = map[string]string{
	"email":        `"ada@lab.example"`,
	"password":     `"correct horse battery staple"`,
	"new_password": `"another long enough phrase"`,
	"name":         `"Ada Lovelace"`,
	"title":        `"Notes"`,
	"kind":         `"note"`,
	"collection":   `"note"`,
	"relation":     `"related"`,
	"schema":       `{"type": "object", "properties": {"text": {"type": "string"}}}`,
	"content":      `{"text": "The first note."}`,
}

// Example makes a value that fits a schema: the example it gives, or what is
// required of it, with the smallest values that are allowed. optional members
// are added where they are named.
func (d *Document) Example(s *Schema, optional ...string) string {
	var b bytes.Buffer
	d.example(&b, "", s, optional, 0)
	var out bytes.Buffer
	if json.Indent(&out, b.Bytes(), "", "  ") != nil {
		return b.String()
	}
	return out.String()
}

const maxExampleDepth = 8

func (d *Document) example(b *bytes.Buffer, name string, s *Schema, optional []string, depth int) {
	r := d.Resolve(s)
	switch {
	case r == nil || depth > maxExampleDepth:
		b.WriteString("{}")
	case len(r.Examples) > 0:
		b.Write(r.Examples[0])
	case len(r.Enum) > 0:
		b.Write(r.Enum[0])
	case known[name] != "" && fits(r, known[name]):
		b.WriteString(known[name])
	case len(r.Default) > 0:
		b.Write(r.Default)
	case r.Type.Is("object"):
		b.WriteByte('{')
		first := true
		for _, f := range r.Fields() {
			if !f.Required && (depth > 0 || !slices.Contains(optional, f.Name)) {
				continue
			}
			if !first {
				b.WriteByte(',')
			}
			first = false
			key, _ := json.Marshal(f.Name)
			b.Write(key)
			b.WriteByte(':')
			d.example(b, f.Name, f.Schema, nil, depth+1)
		}
		b.WriteByte('}')
	case r.Type.Is("array"):
		b.WriteByte('[')
		if r.MinItems != nil && *r.MinItems > 0 || slices.Contains(optional, name) {
			d.example(b, strings.TrimSuffix(name, "s"), r.Items, nil, depth+1)
		}
		b.WriteByte(']')
	case r.Type.Is("integer"), r.Type.Is("number"):
		if r.Minimum != nil {
			b.WriteString(r.Minimum.String())
		} else {
			b.WriteByte('1')
		}
	case r.Type.Is("boolean"):
		b.WriteString("true")
	case r.Format == "date-time":
		b.WriteString(`"2026-12-31T12:00:00Z"`)
	case r.Type.Is("string"):
		text := "text"
		if r.MinLength != nil {
			text += strings.Repeat("x", max(0, *r.MinLength-len(text)))
		}
		if r.MaxLength != nil && len(text) > *r.MaxLength {
			text = text[:*r.MaxLength]
		}
		quoted, _ := json.Marshal(text)
		b.Write(quoted)
	default:
		b.WriteString("{}")
	}
}

// fits reports whether a known value is of the kind that s asks for.
func fits(s *Schema, value string) bool {
	switch value[0] {
	case '{':
		return s.Type.Is("object") && len(s.Properties) == 0 || len(s.Type) == 0
	default:
		return s.Type.Is("string") && s.Format == "" && s.Pattern == "" && (s.MaxLength == nil || len(value)-2 <= *s.MaxLength)
	}
}
