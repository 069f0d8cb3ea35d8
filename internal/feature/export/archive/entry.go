package archive

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"time"
)

// Entry begins an entry whose size is not known before it ends: what is
// written to the result is kept byte for byte until the next entry begins. A
// name that ends in .ndjson makes it an entry of records, whose lines are
// counted; text is deflated, the rest stored. The name may hold what people
// call their files: it is made safe by SafePath.
func (a *Writer) Entry(name string, modified time.Time, about any) (io.Writer, error) {
	name = SafePath(name)
	typ, method := TypeFile, zip.Store
	switch path.Ext(name) {
	case ".ndjson":
		typ, method = TypeRecords, zip.Deflate
	case ".json", ".csv", ".txt", ".md":
		method = zip.Deflate
	}
	e, err := a.begin(name, typ, method, modified, about)
	if err != nil {
		return nil, err
	}
	return &plainEntry{a, e}, nil
}

type plainEntry struct {
	a *Writer
	e *entry
}

func (p *plainEntry) Write(b []byte) (int, error) {
	if p.a.err != nil || p.a.open != p.e {
		return 0, p.a.fail(errEnded)
	}
	n, err := p.e.Write(b)
	if p.e.Type == TypeRecords {
		p.e.Rows += int64(bytes.Count(b[:n], []byte{'\n'}))
	}
	return n, p.a.fail(err)
}

// Grid begins a CSV entry whose columns the exporter names and fills. The name
// is made safe by SafePath.
func (a *Writer) Grid(name string, modified time.Time, columns []string, about any) (*Grid, error) {
	e, err := a.begin(SafePath(name), TypeTable, zip.Deflate, modified, about)
	if err != nil {
		return nil, err
	}
	t := &Table{a: a, e: e, fixed: len(columns)}
	if len(columns) == 0 {
		return nil, a.fail(errNoColumn)
	}
	t.header(columns)
	return &Grid{t}, t.line()
}

// Grid is a CSV entry whose cells are JSON values.
type Grid struct{ t *Table }

// Row adds one row: a JSON value for each column, nil where there is none. A
// string becomes its text, everything else stays JSON text.
func (g *Grid) Row(cells []json.RawMessage) error {
	t := g.t
	if t.a.err != nil || t.a.open != t.e {
		return t.a.fail(errEnded)
	}
	if len(cells) != t.fixed {
		return t.a.fail(fmt.Errorf("archive: a row of %d cells for %d columns", len(cells), t.fixed))
	}
	for _, c := range cells {
		if err := t.value(c); err != nil {
			return t.a.fail(err)
		}
	}
	if err := t.line(); err != nil {
		return err
	}
	t.e.Rows++
	return nil
}
