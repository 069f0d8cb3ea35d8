package form

import (
	"bytes"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Submission is a form as it came back.
type Submission struct {
	Form *Form
	// Content is the record's JSON. It is nil where the form has errors that
	// need no API to see, and where a row was added or removed.
	Content []byte
	// Rearranged says that a button asked for another row, or for one less:
	// the form is shown again and nothing is stored.
	Rearranged bool
}

// Submit reads a form. base is the content that the form was filled with; nil
// for a new record.
func (s *Schema) Submit(values url.Values, base []byte) (Submission, error) {
	v, err := readBase(base)
	if err != nil {
		return Submission{}, err
	}
	root := fill(s.root, v)
	root.take(values, "")
	if do := values.Get("do"); do != "" {
		root.rearrange(do, "")
		return Submission{Form: s.form(root), Rearranged: true}, nil
	}
	raw, present, _ := root.encode()
	root.sweep()
	f := s.form(root)
	if root.wrong() {
		return Submission{Form: f}, nil
	}
	if !present {
		raw = []byte("{}")
	}
	return Submission{Form: f, Content: raw}, nil
}

// take replaces what a field shows by what came back. A field that did not
// come back stays.
func (f *Field) take(values url.Values, pointer string) {
	switch f.Kind {
	case Object:
		for _, sub := range f.Fields {
			sub.take(values, join(pointer, sub.node.name))
		}
	case Rows:
		if values.Has("f" + pointer) { // the mark that the rows were there
			f.takeRows(values, pointer)
		}
	case Const, Kept:
	default:
		if values.Has("f" + pointer) {
			f.set(values.Get("f" + pointer))
		}
	}
}

// takeRows reads the rows in the order of their numbers, which may have gaps.
func (f *Field) takeRows(values url.Values, pointer string) {
	var numbers []int
	for name := range values {
		if rest, ok := strings.CutPrefix(name, "o"+pointer+"/"); ok {
			if i, err := strconv.Atoi(rest); err == nil && i >= 0 && strconv.Itoa(i) == rest {
				numbers = append(numbers, i)
			}
		}
	}
	slices.Sort(numbers)
	if len(numbers) > 2*maxRows {
		numbers = numbers[:2*maxRows]
	}
	f.Rows = nil
	seen := map[int]bool{}
	for _, i := range numbers {
		at := join(pointer, strconv.Itoa(i))
		var base *value
		origin := ""
		// A row comes from one of the record's, and each of those is taken once.
		if k, err := strconv.Atoi(values.Get("o" + at)); err == nil && f.base.is(isArray) && k >= 0 && k < len(f.base.items) && !seen[k] {
			base, origin, seen[k] = f.base.items[k], strconv.Itoa(k), true
		}
		row := fill(f.node.item, base)
		row.Origin = origin
		row.take(values, at)
		f.Rows = append(f.Rows, row)
	}
}

// rearrange adds a row to the list at a place, or takes one away: "add/layers"
// or "remove/layers/2".
func (f *Field) rearrange(do, pointer string) {
	for _, sub := range f.Fields {
		sub.rearrange(do, join(pointer, sub.node.name))
	}
	if f.Kind != Rows {
		return
	}
	if do == "add"+pointer && len(f.Rows) < maxRows {
		f.Rows = append(f.Rows, fill(f.node.item, nil))
		return
	}
	if rest, ok := strings.CutPrefix(do, "remove"+pointer+"/"); ok {
		if i, err := strconv.Atoi(rest); err == nil && i >= 0 && i < len(f.Rows) {
			f.Rows = slices.Delete(f.Rows, i, i+1)
		}
	}
}

// sweep drops the rows that were left empty, so that the places of what stays
// are those that the API speaks of.
func (f *Field) sweep() {
	f.Rows = slices.DeleteFunc(f.Rows, func(r *Field) bool { return r.gone })
	for _, sub := range f.Fields {
		sub.sweep()
	}
}

// sameText compares as browsers let text through: ends of lines have one form.
func sameText(a, b string) bool { return lines(a) == lines(b) }

var oneEnd = strings.NewReplacer("\r\n", "\n", "\r", "\n")

func lines(s string) string { return oneEnd.Replace(s) }

// encode writes a field's JSON. present says whether there is any, changed
// whether it is other than it was.
func (f *Field) encode() (raw []byte, present, changed bool) {
	switch f.Kind {
	case Object:
		return f.encodeObject()
	case Rows:
		return f.encodeRows()
	}
	if f.Kind == Const || f.Kind == Kept || sameText(f.Value, f.shown(f.base)) {
		return f.kept()
	}
	raw, present = f.encodeScalar()
	return raw, present, true
}

func (f *Field) kept() (raw []byte, present, changed bool) {
	if f.base == nil {
		return nil, false, false
	}
	return f.base.raw, true, false
}

func (f *Field) encodeScalar() (raw []byte, present bool) {
	text := f.Value
	if strings.TrimSpace(text) == "" && (f.Kind != Text && f.Kind != Area || text == "") {
		if f.node.nullable && f.Required {
			return []byte("null"), true
		}
		return nil, false
	}
	switch f.Kind {
	case Number, Integer:
		n := numeral(text)
		if !isNumberText(n) {
			f.Error = "Write a number, such as 12.5 or 3e-7, with a point and without a unit."
		}
		return []byte(n), true
	case Bool:
		if text != "true" && text != "false" {
			f.Error = "Choose yes or no."
		}
		return []byte(text), true
	case Choice:
		if !slices.ContainsFunc(f.node.choices, func(c choice) bool { return c.raw == text }) {
			f.Error = "Choose one of the list."
		}
		return []byte(text), true
	case JSON:
		v, err := read([]byte(text))
		if err != nil {
			f.Error = "This is not well-formed JSON."
			return nil, false
		}
		return v.compact(), true
	case DateTime:
		return quote(moment(text)), true
	case Date, Email, URI:
		return quote(strings.TrimSpace(text)), true
	}
	return quote(text), true
}

// numeral writes what people type as JSON has it, digit for digit: a sign that
// says nothing goes, a point gets a digit on both sides, and the minus of a
// typeset text is one.
func numeral(s string) string {
	s = strings.TrimPrefix(strings.ReplaceAll(strings.TrimSpace(s), "\u2212", "-"), "+")
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	if strings.HasPrefix(s, ".") {
		s = "0" + s
	}
	mantissa, exponent := s, ""
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, exponent = s[:i], s[i:]
	}
	return sign + strings.TrimSuffix(mantissa, ".") + exponent
}

var bareMoment = regexp.MustCompile(`^([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2})(:[0-9]{2}(?:\.[0-9]+)?)?[ ]?([zZ]|[+-][0-9]{2}:[0-9]{2})?$`)

// moment completes a time as people write it to RFC 3339: without an offset
// it is UTC, as the field says.
func moment(s string) string {
	m := bareMoment.FindStringSubmatch(strings.TrimSpace(s))
	if m == nil {
		return strings.TrimSpace(s)
	}
	if m[3] == "" {
		m[3] = ":00"
	}
	if m[4] == "" {
		m[4] = "Z"
	}
	return m[1] + "T" + m[2] + m[3] + strings.ToUpper(m[4])
}

func (f *Field) encodeObject() (raw []byte, present, changed bool) {
	type part struct {
		raw     []byte
		present bool
	}
	parts := map[string]part{}
	filled := false
	for _, sub := range f.Fields {
		p := part{}
		var c bool
		p.raw, p.present, c = sub.encode()
		parts[sub.node.name] = p
		changed = changed || c
		filled = filled || p.present
	}
	was := f.base.is(isObject)
	if !changed && f.base != nil {
		return f.base.raw, true, false
	}
	if filled || f.Required || was {
		// What the schema fixes comes with the object that it belongs to.
		for _, sub := range f.Fields {
			if sub.Kind == Const && sub.base == nil && sub.Required {
				parts[sub.node.name] = part{sub.node.constant, true}
			}
		}
	}
	var b bytes.Buffer
	b.WriteByte('{')
	write := func(key, raw []byte) {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		b.Write(key)
		b.WriteByte(':')
		b.Write(raw)
	}
	seen := map[string]bool{}
	if was {
		for _, m := range f.base.members {
			p, known := parts[m.name]
			switch {
			case !known:
				write(m.key, m.raw)
			case p.present:
				write(m.key, p.raw)
			}
			seen[m.name] = true
		}
	}
	for _, sub := range f.Fields {
		if p := parts[sub.node.name]; p.present && !seen[sub.node.name] {
			write(quote(sub.node.name), p.raw)
		}
	}
	empty := b.Len() == 1
	b.WriteByte('}')
	if empty && !f.Required && (!was || changed) {
		return nil, false, changed
	}
	return b.Bytes(), true, changed
}

func (f *Field) encodeRows() (raw []byte, present, changed bool) {
	var b bytes.Buffer
	b.WriteByte('[')
	count := 0
	for i, row := range f.Rows {
		raw, present, c := row.encode()
		changed = changed || c || row.Origin != strconv.Itoa(i)
		// An empty row is none, unless the record has it and nobody touched it.
		if row.gone = !present || (c || row.Origin == "") && row.Kind == Object && row.empty(); row.gone {
			row.gone = !row.wrong()
			changed = true
			continue
		}
		if count++; count > 1 {
			b.WriteByte(',')
		}
		b.Write(raw)
	}
	b.WriteByte(']')
	was := 0
	if f.base.is(isArray) {
		was = len(f.base.items)
	}
	if !changed && len(f.Rows) == was {
		return f.kept()
	}
	if count == 0 && was == 0 { // rows were added and left empty
		return f.kept()
	}
	if count == 0 && !f.Required {
		return nil, false, true
	}
	return b.Bytes(), true, true
}

// empty reports whether nothing is filled in.
func (f *Field) empty() bool {
	for _, sub := range f.Fields {
		if sub.Kind != Const && strings.TrimSpace(sub.Value) != "" {
			return false
		}
	}
	return true
}
