package form

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// Form is a form with its values.
type Form struct {
	Fields []*Field
	// Others counts the members that the schema does not name. They have no
	// field, and they stay.
	Others int
	// Problems are what is wrong with the whole, where no field can say it.
	Problems []string

	root *Field
}

// Field is one field of a form. A template shows it by its Kind; Name is its
// input's, and Row that of the hidden input which says where a row came from.
type Field struct {
	Kind               Kind
	ID, Name, Row      string
	Pointer            string // in the content
	Label, About, Unit string
	Value              string
	Choices            []Option
	Required           bool
	MaxLength          int
	Error              string
	Was                string // what somebody else has made of it meanwhile
	Changed            bool   // by somebody else
	Fields             []*Field
	Rows               []*Field
	Origin             string // of a row: its place in the record, or "" where it is new

	node *node
	base *value
	gone bool // a row that was left empty
}

// Option is one choice.
type Option struct {
	Value, Label string
	Selected     bool
}

// Fill makes the form of a record; of a new one content is nil.
func (s *Schema) Fill(content []byte) (*Form, error) {
	v, err := readBase(content)
	if err != nil {
		return nil, err
	}
	return s.form(fill(s.root, v)), nil
}

func readBase(content []byte) (*value, error) {
	if len(content) == 0 {
		return nil, nil
	}
	return read(content)
}

// form numbers what a tree of fields holds.
func (s *Schema) form(root *Field) *Form {
	f := &Form{root: root, Fields: []*Field{root}}
	if root.Kind == Object {
		f.Fields = root.Fields
		if root.base.is(isObject) {
			for _, m := range root.base.members {
				if s.root.field(m.name) == nil {
					f.Others++
				}
			}
		}
	} else {
		root.Label, root.About = "Content", "The record's fields, as a JSON object."
	}
	ids := 0
	root.number("", &ids)
	return f
}

func (n *node) field(name string) *node {
	for _, f := range n.fields {
		if f.name == name {
			return f
		}
	}
	return nil
}

// number gives a field and all below it their names, by their place.
func (f *Field) number(pointer string, ids *int) {
	*ids++
	f.ID, f.Pointer, f.Name = "i"+strconv.Itoa(*ids), pointer, "f"+pointer
	for _, sub := range f.Fields {
		sub.number(join(pointer, sub.node.name), ids)
	}
	for i, row := range f.Rows {
		at := join(pointer, strconv.Itoa(i))
		row.number(at, ids)
		row.Row = "o" + at
	}
}

func fill(n *node, v *value) *Field {
	f := &Field{node: n, base: v, Label: n.label, About: n.about, Unit: n.unit, Required: n.required, MaxLength: n.maxLength}
	f.Kind = n.shownAs(v)
	switch f.Kind {
	case Object:
		for _, sub := range n.fields {
			f.Fields = append(f.Fields, fill(sub, v.get(sub.name)))
		}
	case Rows:
		if v.is(isArray) {
			for i, x := range v.items {
				row := fill(n.item, x)
				row.Origin = strconv.Itoa(i)
				f.Rows = append(f.Rows, row)
			}
		}
	default:
		f.set(f.shown(v))
	}
	return f
}

var plainDate = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)

// shownAs decides by what is there how a value is shown: content may be older
// than its schema, or hold what an input of the schema's kind would change.
func (n *node) shownAs(v *value) Kind {
	if v == nil || v.kind == isNull {
		return n.kind
	}
	ok := false
	switch n.kind {
	case Const:
		return Const
	case Text, Area, Date, DateTime, Email, URI:
		if ok = v.kind == isString && typable(v.text); ok {
			switch {
			case strings.ContainsAny(v.text, "\n\r"):
				return Area // an input of one line drops the others
			case n.kind == Date && !plainDate.MatchString(v.text):
				return Text // a browser shows no other date
			}
		}
	case Number, Integer:
		ok = v.kind == isNumber
	case Bool:
		ok = v.kind == isTrue || v.kind == isFalse
	case Choice:
		ok = scalar(v) && len(v.raw) <= 1000 && typable(v.text)
	case Object:
		ok = v.kind == isObject
	case Rows:
		ok = v.kind == isArray && len(v.items) <= maxRows
		for i := 0; ok && i < len(v.items); i++ {
			x := v.items[i]
			k := n.item.shownAs(x)
			ok = k != JSON && k != Kept && (n.item.kind != Object || x.kind == isObject)
		}
	}
	switch {
	case ok:
		return n.kind
	case len(v.raw) > maxLong || len(v.indented()) > maxJSON:
		return Kept
	}
	return JSON
}

// typable reports whether an input gives text back as it was: browsers drop
// most control characters.
func typable(s string) bool {
	return len(s) <= maxLong && !strings.ContainsFunc(s, func(r rune) bool {
		return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r >= 0x7f && r < 0xa0 || r >= 0xfdd0 && r <= 0xfdef || r&0xfffe == 0xfffe || r == 0xfeff
	})
}

// shown is the text of an input that holds v.
func (f *Field) shown(v *value) string {
	if v == nil || v.kind == isNull && f.Kind != JSON {
		return ""
	}
	switch f.Kind {
	case Text, Area, Date, DateTime, Email, URI:
		return v.text
	case JSON:
		return string(v.indented())
	case Kept:
		return ""
	}
	return string(v.compact()) // Number, Integer, Bool, Choice, Const
}

// indented is a value's JSON, laid out where it is long. Its strings and
// numbers stay as they are.
func (v *value) indented() []byte {
	if len(v.raw) < 60 {
		return v.compact()
	}
	var b bytes.Buffer
	if json.Indent(&b, v.raw, "", "  ") != nil {
		return v.raw
	}
	return b.Bytes()
}

// set gives a field its text, and marks the choice.
func (f *Field) set(text string) {
	f.Value, f.Choices = text, nil
	switch f.Kind {
	case Choice:
		known := text == ""
		if !f.Required || text == "" {
			f.Choices = append(f.Choices, Option{"", "–", text == ""})
		}
		for _, c := range f.node.choices {
			f.Choices = append(f.Choices, Option{c.raw, c.label, c.raw == text})
			known = known || c.raw == text
		}
		if !known {
			f.Choices = append(f.Choices, Option{text, f.node.words(f.base), true})
		}
	case Bool:
		if !f.Required || text == "" {
			f.Choices = append(f.Choices, Option{"", "–", text == ""})
		}
		f.Choices = append(f.Choices, Option{"true", "Yes", text == "true"}, Option{"false", "No", text == "false"})
	}
}

// Refuse puts what the API has against a form beside its fields. Pointers are
// those of the request's body: the content is below /content.
func (f *Form) Refuse(pointer, detail string) {
	pointer = strings.TrimPrefix(pointer, "/body")
	rest, ok := strings.CutPrefix(pointer, "/content")
	if !ok || rest != "" && rest[0] != '/' {
		f.Problems = append(f.Problems, detail)
		return
	}
	at := f.root.find(rest)
	if at == nil || at == f.root && at.Kind == Object {
		f.Problems = append(f.Problems, detail)
		return
	}
	if at.Error == "" {
		at.Error = detail
	}
}

// find returns the field of a place, or the nearest that holds it.
func (f *Field) find(pointer string) *Field {
	best := f
	for _, list := range [][]*Field{f.Fields, f.Rows} {
		for _, sub := range list {
			if !sub.gone && (pointer == sub.Pointer || strings.HasPrefix(pointer, sub.Pointer+"/")) {
				return sub.find(pointer)
			}
		}
	}
	return best
}

// HasErrors reports whether anything is wrong.
func (f *Form) HasErrors() bool { return len(f.Problems) > 0 || f.root.wrong() }

func (f *Field) wrong() bool {
	if f.Error != "" {
		return true
	}
	for _, list := range [][]*Field{f.Fields, f.Rows} {
		for _, sub := range list {
			if sub.wrong() {
				return true
			}
		}
	}
	return false
}
