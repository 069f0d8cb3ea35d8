package archive

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// MaxColumns is how many members of the records' content get a column of
// their own; the rest share one.
const MaxColumns = 1000

// Columns collects which members occur in a collection's records, in a first
// pass, so that the second can write a table in constant memory.
type Columns struct {
	declared []string
	found    map[string]bool
	rest     bool
}

// NewColumns begins with the members that a schema declares, in its order.
func NewColumns(declared []string) *Columns {
	c := &Columns{found: map[string]bool{}}
	for _, name := range declared {
		if len(c.declared) == MaxColumns {
			c.rest = true
			break
		}
		if !c.found[name] {
			c.found[name] = true
			c.declared = append(c.declared, name)
		}
	}
	return c
}

// Observe takes note of one record's content.
func (c *Columns) Observe(content []byte) error {
	members, err := membersOf(content)
	if err != nil {
		return err
	}
	for name := range members {
		switch {
		case c.found[name]:
		case len(c.found) >= MaxColumns:
			c.rest = true
		default:
			c.found[name] = true
		}
	}
	return nil
}

// list returns the members with a column: the declared ones in their order,
// then the others by name. The order depends on the set alone.
func (c *Columns) list() []string {
	list := slices.Clone(c.declared)
	for name := range c.found {
		if !slices.Contains(c.declared, name) {
			list = append(list, name)
		}
	}
	slices.Sort(list[len(c.declared):])
	return list
}

func membersOf(content []byte) (map[string]json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(content, &members); err != nil || members == nil {
		return nil, errors.New("archive: a record's content that is not a JSON object") // the cause may quote it
	}
	return members, nil
}

var errNoColumn = errors.New("archive: a table needs a column that every row fills")

// Table begins a CSV entry. fixed names the columns that the exporter fills by
// itself; behind them come the columns of the content.
func (a *Writer) Table(name string, fixed []string, columns *Columns, about any) (*Table, error) {
	if len(fixed) == 0 {
		return nil, a.fail(errNoColumn)
	}
	e, err := a.begin(name, TypeTable, zip.Deflate, a.created, about)
	if err != nil {
		return nil, err
	}
	t := &Table{a: a, e: e, fixed: len(fixed), members: columns.list()}
	used := t.header(fixed)
	for _, name := range t.members {
		t.column(used, Column{Header: name, Member: name})
	}
	if columns.rest {
		t.rest = true
		t.column(used, Column{Header: "(rest)", Rest: true})
	}
	if err := t.line(); err != nil {
		return nil, err
	}
	return t, nil
}

// header writes the headers of columns that are no members.
func (t *Table) header(names []string) (used map[string]bool) {
	used = map[string]bool{}
	for _, name := range names {
		t.column(used, Column{Header: name})
	}
	return used
}

// column writes one header. Headers are unique, also where content has a
// member named as one of ours.
func (t *Table) column(used map[string]bool, c Column) {
	header := c.Header
	for i := 2; used[header]; i++ {
		header = c.Header + " (" + strconv.Itoa(i) + ")"
	}
	used[header], c.Header = true, header
	t.e.Columns = append(t.e.Columns, c)
	t.cell(guard(header), header == "")
}

// Table is a CSV entry.
type Table struct {
	a       *Writer
	e       *entry
	fixed   int
	members []string
	rest    bool
	row     []byte
	cells   int // in row
}

// Row adds one record: the texts of the fixed columns, and the content as a
// JSON object.
func (t *Table) Row(fixed []string, content []byte) error {
	if t.a.err != nil || t.a.open != t.e {
		return t.a.fail(errEnded)
	}
	if len(fixed) != t.fixed {
		return t.a.fail(fmt.Errorf("archive: a row of %d texts for %d columns", len(fixed), t.fixed))
	}
	members, err := membersOf(content)
	if err != nil {
		return t.a.fail(err)
	}
	for _, text := range fixed {
		t.cell(guard(text), false)
	}
	for _, name := range t.members {
		if err := t.value(members[name]); err != nil {
			return t.a.fail(err)
		}
		delete(members, name)
	}
	if t.rest {
		rest := ""
		if len(members) > 0 {
			var b strings.Builder
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(false)
			if enc.Encode(members) != nil { // sorted by name; the values keep their text
				return t.a.fail(errors.New("archive: members that do not encode"))
			}
			rest = strings.TrimSuffix(b.String(), "\n")
		}
		t.cell(rest, false)
	} else if len(members) > 0 {
		return t.a.fail(errors.New("archive: a record has a member that the first pass did not see"))
	}
	if err := t.line(); err != nil {
		return err
	}
	t.e.Rows++
	return nil
}

// value writes a JSON value as a cell: a string's text, everything else as its
// JSON text; null and what is missing are empty, the empty string is "".
func (t *Table) value(v json.RawMessage) error {
	switch {
	case len(v) == 0, string(v) == "null":
		t.cell("", false)
	case v[0] == '"':
		var s string
		if err := json.Unmarshal(v, &s); err != nil {
			return errors.New("archive: a string that does not decode")
		}
		t.cell(guard(s), s == "")
	default:
		t.cell(string(v), false)
	}
	return nil
}

// cell appends one cell to the row, quoted where RFC 4180 asks for it or quote does.
func (t *Table) cell(s string, quote bool) {
	if t.cells++; t.cells > 1 {
		t.row = append(t.row, ',')
	}
	t.row = appendCell(t.row, s, quote)
}

func appendCell(b []byte, s string, quote bool) []byte {
	if !quote && !strings.ContainsAny(s, ",;\"\r\n\t") && (s == "" || s[0] != ' ' && s[len(s)-1] != ' ') {
		return append(b, s...)
	}
	b = append(b, '"')
	for {
		i := strings.IndexByte(s, '"')
		if i < 0 {
			break
		}
		b = append(append(b, s[:i]...), `""`...)
		s = s[i+1:]
	}
	return append(append(b, s...), '"')
}

// line ends the row (RFC 4180: CRLF) and writes it.
func (t *Table) line() error {
	t.row = append(t.row, '\r', '\n')
	_, err := t.e.Write(t.row)
	t.row, t.cells = t.row[:0], 0
	if err != nil {
		return t.a.fail(err)
	}
	return nil
}

// guard keeps a spreadsheet from running a text as a formula: it puts an
// apostrophe before one that begins like a formula, unless it is a number. A
// text that begins with apostrophes and then like a formula gets one more, so
// that [Unguard] takes back exactly what guard did.
func guard(s string) string {
	if formulaLike(s) && !jsonNumber(s) {
		return "'" + s
	}
	return s
}

// Unguard returns the text that a table's cell was made from.
func Unguard(cell string) string {
	if rest, ok := strings.CutPrefix(cell, "'"); ok && formulaLike(rest) {
		return rest
	}
	return cell
}

// formulaLike reports a text that a spreadsheet may take for a formula. The
// full-width signs are what some of them read as the plain ones.
func formulaLike(s string) bool {
	s = strings.TrimLeft(s, "'")
	for _, sign := range []string{"=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"} {
		if strings.HasPrefix(s, sign) {
			return true
		}
	}
	return false
}

// jsonNumber reports a number in the grammar of RFC 8259.
func jsonNumber(s string) bool {
	if s == "" || s[0] != '-' && (s[0] < '0' || s[0] > '9') || strings.TrimRight(s, " \t\r\n") != s {
		return false
	}
	return json.Valid([]byte(s))
}
