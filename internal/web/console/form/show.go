package form

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Item is one value of a record, for a page that shows it.
type Item struct {
	Name, Label, Unit string
	Kind              Kind
	Value             string
	Pointer           string
	Items             []Item     // of an object
	List              []string   // of an array of scalars
	Heads             []string   // of an array of objects, and its rows
	Table             [][]string // cells in the order of Heads
	Erased            bool       // it was here, and its key was destroyed
	More              int64      // rows or items that are left out here
}

// Limits on what one page shows of one record.
const (
	maxShownRows = 500
	maxShownText = 20_000
	maxLeaves    = 2000
	maxInline    = 60 // bytes of a text that stands beside its label
)

// Show lists a record's values as its schema orders and names them; what the
// schema does not name comes last. erased holds the pointers of what is gone.
func (s *Schema) Show(content []byte, erased []string) ([]Item, error) {
	v, err := read(content)
	if err != nil {
		return nil, err
	}
	return s.root.showMembers(v, "", erased), nil
}

func (n *node) showMembers(v *value, pointer string, erased []string) (items []Item) {
	for _, f := range n.fields {
		at := join(pointer, f.name)
		if x := v.get(f.name); x != nil && !x.is(isNull) {
			items = append(items, f.show(x, at))
		} else if slices.Contains(erased, at) {
			items = append(items, Item{Name: f.name, Label: f.label, Pointer: at, Erased: true})
		}
	}
	for _, m := range v.members {
		if n.field(m.name) == nil && !m.is(isNull) {
			other := guess(m.name, m.value)
			items = append(items, other.show(m.value, join(pointer, m.name)))
		}
	}
	return items
}

// guess makes a node of what no schema names.
func guess(name string, v *value) *node {
	n := &node{name: name, label: label(name), kind: JSON}
	switch v.kind {
	case isString:
		n.kind = Text
	case isNumber:
		n.kind = Number
	case isTrue, isFalse:
		n.kind = Bool
	case isObject:
		n.kind = Object
	case isArray:
		if len(v.items) > 0 && !slices.ContainsFunc(v.items, func(x *value) bool { return !scalar(x) }) {
			n.kind, n.item = Rows, &node{kind: Text}
		}
	}
	return n
}

func (n *node) show(v *value, pointer string) Item {
	it := Item{Name: n.name, Label: n.label, Unit: n.unit, Kind: n.kind, Pointer: pointer}
	switch {
	case n.kind == Object && v.is(isObject):
		it.Items = n.showMembers(v, pointer, nil)
	case n.kind == Rows && v.is(isArray) && n.item.kind == Object && !slices.ContainsFunc(v.items, func(x *value) bool { return !x.is(isObject) }):
		n.showTable(v, &it)
	case n.kind == Rows && v.is(isArray) && !slices.ContainsFunc(v.items, func(x *value) bool { return !scalar(x) }):
		for i, x := range v.items {
			if i == maxShownRows {
				it.More = int64(len(v.items) - i)
				break
			}
			it.List = append(it.List, n.item.words(x))
		}
	case scalar(v):
		it.Value = clip(n.words(v))
		if it.Kind == Rows || it.Kind == Object || it.Kind == JSON {
			it.Kind = Text
		}
		switch long := strings.Contains(it.Value, "\n"); {
		case long:
			it.Kind = Area
		case it.Kind == Area && len(it.Value) <= maxInline:
			it.Kind = Text // room for a page, and a word in it
		}
	default:
		it.Kind, it.Value = JSON, clip(string(v.indented()))
	}
	return it
}

func clip(s string) string {
	if len(s) <= maxShownText {
		return s
	}
	return strings.ToValidUTF8(s[:maxShownText], "") + " …"
}

func (n *node) showTable(v *value, it *Item) {
	cols := slices.Clone(n.item.fields)
	for _, x := range v.items {
		for _, m := range x.members {
			if len(cols) < 40 && !slices.ContainsFunc(cols, func(f *node) bool { return f.name == m.name }) {
				cols = append(cols, guess(m.name, m.value))
			}
		}
	}
	for _, f := range cols {
		head := f.label
		if f.unit != "" {
			head += " (" + f.unit + ")"
		}
		it.Heads = append(it.Heads, head)
	}
	for i, x := range v.items {
		if i == maxShownRows {
			it.More = int64(len(v.items) - i)
			break
		}
		var row []string
		for _, f := range cols {
			cell := ""
			if c := x.get(f.name); c != nil {
				cell = f.words(c)
			}
			row = append(row, cell)
		}
		it.Table = append(it.Table, row)
	}
	it.dropEmpty()
}

// dropEmpty takes away the columns of a table that no row has anything in.
func (it *Item) dropEmpty() {
	for c := len(it.Heads) - 1; c >= 0 && len(it.Heads) > 1; c-- {
		if slices.ContainsFunc(it.Table, func(row []string) bool { return row[c] != "" }) {
			continue
		}
		it.Heads = slices.Delete(it.Heads, c, c+1)
		for i, row := range it.Table {
			it.Table[i] = slices.Delete(row, c, c+1)
		}
	}
}

// words is a value in words.
func (n *node) words(v *value) string {
	if v == nil || v.is(isNull) {
		return ""
	}
	for _, c := range n.choices {
		if c.raw == string(v.compact()) {
			return c.label
		}
	}
	switch v.kind {
	case isString:
		switch {
		case n.isUnit:
			return UnitWords(v.text)
		case n.kind == DateTime, n.kind == Text:
			return timeWords(v.text)
		}
		return v.text
	case isTrue:
		return "Yes"
	case isFalse:
		return "No"
	}
	return string(v.compact())
}

// timeWords writes a time to the second in words, and leaves alone what holds
// more than that, or is no time.
func timeWords(s string) string {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.Nanosecond() != 0 {
		return s
	}
	layout := "2 Jan 2006, 15:04:05"
	if t.Second() == 0 {
		layout = "2 Jan 2006, 15:04"
	}
	if _, offset := t.Zone(); offset == 0 {
		return t.Format(layout) + " UTC"
	}
	return t.Format(layout + " -07:00")
}

// Column is one column of a table of records.
type Column struct {
	Label, Unit string
	Numeric     bool
	node        *node
}

// Columns picks at most limit fields for a table of records: short ones of the
// top level, in the schema's order, without the title.
func (s *Schema) Columns(limit int) (out []Column) {
	for _, f := range s.root.fields {
		if len(out) == limit {
			break
		}
		switch f.kind {
		case Text, Number, Integer, Bool, Choice, Date, DateTime, Email, URI:
			if f.name != s.title {
				out = append(out, Column{f.label, f.unit, f.kind == Number || f.kind == Integer, f})
			}
		}
	}
	return out
}

// Cells gives a record's values for columns.
func (s *Schema) Cells(content []byte, columns []Column) []string {
	cells := make([]string, len(columns))
	v, err := read(content)
	if err != nil {
		return cells
	}
	for i, c := range columns {
		text := c.node.words(v.get(c.node.name))
		if r := []rune(text); len(r) > 80 {
			text = string(r[:80]) + "…"
		}
		cells[i] = text
	}
	return cells
}

// Summary makes a few words of a record without a title: its first texts and
// numbers.
func (s *Schema) Summary(content []byte) string {
	v, err := read(content)
	if err != nil {
		return ""
	}
	var parts []string
	for _, m := range v.members {
		if scalar(m.value) && !m.is(isNull) && len(parts) < 3 {
			n := s.root.field(m.name)
			if n == nil {
				n = guess(m.name, m.value)
			}
			if w := n.words(m.value); w != "" && len(w) < 80 {
				parts = append(parts, w)
			}
		}
	}
	return strings.Join(parts, " · ")
}

// Change is one field that differs between two versions.
type Change struct {
	Label         string // with those of the objects around it
	Before, After string
	Added         bool // there was nothing before
	Removed       bool // there is nothing any more
}

// Diff lists what changed from one content to the next, field by field. It
// stops after a number of changes that a page can hold; more says how many it
// left out.
func (s *Schema) Diff(before, after []byte) (changes []Change, more int) {
	a, b := s.leaves(before), s.leaves(after)
	at := map[string]leaf{}
	for _, l := range a {
		at[l.pointer] = l
	}
	seen := map[string]bool{}
	add := func(c Change) {
		if len(changes) < 200 {
			c.Before, c.After = short(c.Before), short(c.After)
			changes = append(changes, c)
			return
		}
		more++
	}
	for _, l := range b {
		seen[l.pointer] = true
		old, was := at[l.pointer]
		switch {
		case !was:
			add(Change{Label: l.label, After: l.text, Added: true})
		case old.raw != l.raw:
			add(Change{Label: l.label, Before: old.text, After: l.text})
		}
	}
	for _, l := range a {
		if !seen[l.pointer] {
			add(Change{Label: l.label, Before: l.text, Removed: true})
		}
	}
	return changes, more
}

func short(s string) string {
	if r := []rune(s); len(r) > 400 {
		return string(r[:400]) + "…"
	}
	return s
}

// leaf is one value that holds no other.
type leaf struct{ pointer, label, text, raw string }

func (s *Schema) leaves(content []byte) (out []leaf) {
	v, err := readBase(content)
	if err != nil || v == nil {
		return nil
	}
	walk(s.root, v, "", "", &out)
	return out
}

func walk(n *node, v *value, pointer, label string, out *[]leaf) {
	if len(*out) >= maxLeaves {
		return
	}
	sub := func(n *node, v *value, step, name string) {
		if label != "" {
			name = label + " › " + name
		}
		walk(n, v, join(pointer, step), name, out)
	}
	switch {
	case v.is(isObject) && len(v.members) > 0:
		for _, m := range v.members {
			f := n.field(m.name)
			if f == nil {
				f = guess(m.name, m.value)
			}
			sub(f, m.value, m.name, f.label)
		}
	case v.is(isArray) && len(v.items) > 0:
		item := n.item
		if item == nil {
			item = &node{}
		}
		for i, x := range v.items {
			sub(item, x, strconv.Itoa(i), strconv.Itoa(i+1))
		}
	default:
		text := n.words(v)
		if n.unit != "" && v.is(isNumber) {
			text += " " + n.unit
		}
		*out = append(*out, leaf{pointer, label, text, string(v.compact())})
	}
}

// Against marks the fields that are other in newer content than they were when
// the form was filled, and says what they are now.
func (f *Form) Against(newer []byte) {
	if v, err := read(newer); err == nil {
		f.root.against(v)
	}
}

func (f *Field) against(now *value) {
	if f.Kind == Object && (now == nil || now.is(isObject)) {
		for _, sub := range f.Fields {
			sub.against(now.get(sub.node.name))
		}
		return
	}
	same := f.base == nil && now == nil || f.base != nil && now != nil && string(f.base.compact()) == string(now.compact())
	if same {
		return
	}
	f.Changed = true
	switch {
	case now == nil:
	case scalar(now):
		f.Was = short(f.node.words(now))
	default:
		f.Was = short(string(now.compact()))
	}
}

// Changes reports whether the submission itself changes a field.
func (f *Field) Changes() bool {
	_, _, changed := f.encode()
	return changed
}
