package archive

import (
	"crypto/sha256"
	"encoding/json"
	"io"
)

// Plain is a table by itself, without an archive around it: the same cells,
// under the same guard against formulas.
type Plain struct {
	a *Writer
	t *Table
}

// NewPlain begins a table with named columns into w.
func NewPlain(w io.Writer, columns []string) (*Plain, error) {
	if len(columns) == 0 {
		return nil, errNoColumn
	}
	a := &Writer{}
	e := &entry{w: w, hash: sha256.New()}
	a.open = e
	t := &Table{a: a, e: e, fixed: len(columns)}
	t.header(columns)
	return &Plain{a, t}, t.line()
}

// Row adds a row of JSON values; nil is an empty cell.
func (p *Plain) Row(cells []json.RawMessage) error { return (&Grid{p.t}).Row(cells) }

// Rows counts them.
func (p *Plain) Rows() int64 { return p.t.e.Rows }
