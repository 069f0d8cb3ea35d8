// Package form makes a form from a JSON Schema, and JSON from a form.
//
// It promises that a form loses nothing. A field that was not changed keeps
// the bytes it had: its digits, its escapes, its null. Members that the form
// does not show, because the schema does not name them, stay where they are.
// A number is text from the keyboard to the record: no digit is rounded. What
// cannot be a field (maps, lists of lists, alternatives) is a text area with
// its JSON, and what is too large for that is kept aside unchanged. After a
// refusal everything that was typed is still there, and what the API has
// against it stands beside the field that its pointer names.
//
// [Compile] reads the schema. [Schema.Fill] makes the form of a record,
// [Schema.Submit] reads it back; [Schema.Show] and [Diff] are for pages that
// only show. Whether content is acceptable is not decided here: that is the
// API's. The package is pure: no I/O, no clock.
package form

import (
	"slices"
	"strconv"
	"strings"
)

// Kind is how a field is shown.
type Kind string

// The kinds of fields.
const (
	Text     Kind = "text"
	Area     Kind = "area" // text of several lines
	Number   Kind = "number"
	Integer  Kind = "integer"
	Bool     Kind = "bool"
	Choice   Kind = "choice"
	Date     Kind = "date"
	DateTime Kind = "date-time"
	Email    Kind = "email"
	URI      Kind = "uri"
	Const    Kind = "const" // fixed by the schema: nothing to fill in
	Object   Kind = "object"
	Rows     Kind = "rows" // an array of scalars, or of flat objects
	JSON     Kind = "json"
	Kept     Kind = "kept" // too large or too strange for a form: stays as it is
)

// Limits on what a form offers: beyond them a member is JSON, or kept aside.
const (
	maxNesting = 3   // of objects in each other
	maxChoices = 200 // of one field
	maxRows    = 200 // of one array
	maxJSON    = 128 << 10
	areaFrom   = 1000 // a text that may be longer than this many characters has several lines
	maxLong    = 64 << 10
)

// Schema is the model of a form. It is safe for concurrent use.
type Schema struct {
	root  *node
	title string // the field by which people know a record
}

// node is one place of the schema.
type node struct {
	name, label, about string
	kind               Kind
	unit               string
	isUnit             bool // its value is the name of a unit
	required           bool
	nullable           bool
	choices            []choice
	constant           []byte
	fields             []*node // of an object
	item               *node   // of rows
	maxLength          int
}

type choice struct {
	raw   string // as JSON
	label string
}

// Compile reads a JSON Schema. A schema that it cannot make fields of gives a
// form with one field, the record's JSON; only what is no JSON at all is an
// error.
func Compile(schema []byte) (*Schema, error) {
	v, err := read(schema)
	if err != nil {
		return nil, err
	}
	c := &compiler{root: v}
	n := c.node("", v, 0)
	if n.kind != Object || len(n.fields) == 0 {
		n = &node{kind: JSON}
	}
	n.required = true
	s := &Schema{root: n, title: c.title}
	return s, nil
}

// Title names the field by which people know a record; "": none.
func (s *Schema) Title() string { return s.title }

type compiler struct {
	root  *value
	title string
	steps int // references followed, in all
}

// deref follows references within the schema, and no others.
func (c *compiler) deref(v *value) *value {
	for range 8 {
		ref := v.str("$ref")
		if ref == "" {
			return v
		}
		if c.steps++; c.steps > 500 || !strings.HasPrefix(ref, "#/") {
			return nil
		}
		at := c.root
		for step := range strings.SplitSeq(ref[2:], "/") {
			at = at.get(strings.NewReplacer("~1", "/", "~0", "~").Replace(step))
		}
		if !at.is(isObject) {
			return nil
		}
		v = at
	}
	return nil
}

func (c *compiler) node(name string, given *value, depth int) *node {
	n := &node{name: name, label: label(name), kind: JSON}
	if !given.is(isObject) {
		return n
	}
	v := c.deref(given)
	if v == nil {
		return n
	}
	// What stands beside a reference is nearer than what it leads to.
	for _, at := range []*value{v, given} {
		if t := at.str("title"); t != "" {
			n.label = t
		}
		if d := at.str("description"); d != "" {
			n.about = d
		}
		if x := at.get("x-strongroom"); x.is(isObject) {
			if u := x.str("unit"); u != "" {
				n.unit = UnitWords(u)
			}
			if depth == 1 && x.get("title").is(isTrue) && c.title == "" {
				c.title = name
			}
		}
	}
	if x := c.alternative(v); x != nil {
		n.nullable, v = true, x
	}
	switch {
	case v.get("const") != nil:
		if k := v.get("const"); scalar(k) {
			n.kind, n.constant = Const, k.compact()
		}
		return n
	case v.get("enum").is(isArray):
		n.choose(v.get("enum").items, nil)
		return n
	case v.get("oneOf").is(isArray):
		c.chooseOneOf(n, v.get("oneOf"))
		return n
	case v.get("anyOf").is(isArray):
		c.chooseOneOf(n, v.get("anyOf"))
		return n
	}
	typ, nullable := typeOf(v)
	n.nullable = n.nullable || nullable
	switch typ {
	case "string":
		n.textual(v)
	case "number":
		n.kind = Number
	case "integer":
		n.kind = Integer
	case "boolean":
		n.kind = Bool
	case "object":
		c.object(n, v, depth)
	case "array":
		c.rows(n, v, depth)
	}
	return n
}

// alternative returns X of "X or null", said by anyOf or oneOf.
func (c *compiler) alternative(v *value) *value {
	for _, k := range []string{"anyOf", "oneOf"} {
		list := v.get(k)
		if !list.is(isArray) || len(list.items) != 2 {
			continue
		}
		for i, x := range list.items {
			if x.str("type") == "null" {
				if other := list.items[1-i]; other.is(isObject) {
					return c.deref(other)
				}
			}
		}
	}
	return nil
}

func typeOf(v *value) (typ string, nullable bool) {
	t := v.get("type")
	switch {
	case t.is(isString):
		return t.text, false
	case t.is(isArray):
		for _, x := range t.items {
			switch {
			case x.text == "null":
				nullable = true
			case typ != "":
				return "", false
			default:
				typ = x.text
			}
		}
		return typ, nullable
	case v.get("properties").is(isObject):
		return "object", false
	}
	return "", false
}

func scalar(v *value) bool { return v != nil && v.kind != isObject && v.kind != isArray }

func (n *node) choose(values []*value, labels []string) {
	n.choices = nil
	for i, v := range values {
		if v.is(isNull) {
			n.nullable = true
			continue
		}
		if !scalar(v) {
			n.choices = nil
			return
		}
		c := choice{raw: string(v.compact())}
		switch {
		case labels != nil && labels[i] != "":
			c.label = labels[i]
		case v.kind == isString:
			c.label = v.text
		default:
			c.label = c.raw
		}
		if c.label == "" {
			c.label = "(empty)"
		}
		n.choices = append(n.choices, c)
	}
	if len(n.choices) > 0 && len(n.choices) <= maxChoices {
		n.kind = Choice
	}
}

// chooseOneOf reads alternatives that are each one value, with a title.
func (c *compiler) chooseOneOf(n *node, list *value) {
	var values []*value
	var labels []string
	for _, x := range list.items {
		if !x.is(isObject) || x.get("const") == nil {
			return
		}
		values, labels = append(values, x.get("const")), append(labels, x.str("title"))
	}
	n.choose(values, labels)
}

func (n *node) textual(v *value) {
	n.kind = Text
	if m := v.get("maxLength"); m.is(isNumber) {
		n.maxLength, _ = strconv.Atoi(string(m.raw))
	}
	switch v.str("format") {
	case "date":
		n.kind = Date
	case "date-time":
		n.kind = DateTime
	case "email", "idn-email":
		n.kind = Email
	case "uri", "iri":
		n.kind = URI
	case "ucum":
		n.isUnit = true
	default:
		if n.maxLength >= areaFrom || strings.HasPrefix(v.str("contentMediaType"), "text/") {
			n.kind = Area
		}
	}
}

func (c *compiler) object(n *node, v *value, depth int) {
	props := v.get("properties")
	if !props.is(isObject) || depth > maxNesting || v.get("patternProperties") != nil || v.get("additionalProperties").is(isObject) {
		return
	}
	var required []string
	if list := v.get("required"); list.is(isArray) {
		for _, x := range list.items {
			required = append(required, x.text)
		}
	}
	n.kind = Object
	for _, m := range props.members {
		f := c.node(m.name, m.value, depth+1)
		f.required = slices.Contains(required, m.name)
		n.fields = append(n.fields, f)
	}
}

func (c *compiler) rows(n *node, v *value, depth int) {
	items := v.get("items")
	if !items.is(isObject) || v.get("prefixItems") != nil {
		return
	}
	item := c.node("", items, max(depth, 1)+1)
	// A unit on the array is that of its numbers.
	if item.unit == "" {
		item.unit = n.unit
	}
	switch item.kind {
	case Object:
		if len(item.fields) == 0 || slices.ContainsFunc(item.fields, func(f *node) bool { return f.kind == Object || f.kind == Rows }) {
			return
		}
	case Rows, JSON, Const:
		return
	}
	item.required = true
	n.kind, n.item = Rows, item
}

// label makes words of a member's name, where the schema gives it no title.
func label(name string) string {
	s := strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r == '_' || r == '-' }), " ")
	if s == "" {
		return name
	}
	if s[0] >= 'a' && s[0] <= 'z' {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	return s
}
