package records

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/feature"
	"strongroom/internal/store/tenant"
)

const (
	exportPage = 200
	// maxColumns bounds the columns of a CSV; what lies beyond is in the
	// NDJSON, which is always whole.
	maxColumns = 500
)

// own are the columns that every record has, before those of its content.
var own = []string{"id", "version", "visibility", "owner", "created_at", "created_by", "updated_at", "updated_by"}

// export writes each collection as its declaration, as NDJSON and as CSV. It
// holds one page in memory. The CSV's columns are found while the NDJSON is
// written, and hold exactly the records that were in it then, as they are now.
func (s *Records) export(ctx context.Context, in feature.Chunks, scope feature.Scope, sink feature.Sink) error {
	var all []collection
	err := in.Chunk(ctx, func(ctx context.Context, tx *tenant.Tx) (err error) {
		all, err = s.inScope(ctx, tx, scope)
		return err
	})
	if err != nil {
		return err
	}
	for _, c := range all {
		if err := s.exportOne(ctx, in, c, scope, sink); err != nil {
			return err
		}
	}
	return nil
}

func (s *Records) inScope(ctx context.Context, tx *tenant.Tx, scope feature.Scope) ([]collection, error) {
	if scope.Collection != "" {
		c, err := s.load(ctx, tx, scope.Collection)
		if err == nil {
			tx.Touch(c.ID)
		}
		return []collection{c}, err
	}
	var all []collection
	after := uuid.Nil
	for {
		page, err := s.listPage(ctx, tx, after, exportPage)
		if err != nil {
			return nil, err
		}
		for _, c := range page {
			tx.Touch(c.ID)
		}
		all = append(all, page...)
		if len(page) < exportPage {
			return all, nil
		}
		after = page[len(page)-1].ID.UUID()
	}
}

func (s *Records) exportOne(ctx context.Context, in feature.Chunks, c collection, scope feature.Scope, sink feature.Sink) error {
	folder := "records/" + c.Kind
	w, err := sink.Entry(folder+"/schema.json", c.view.CreatedAt)
	if err != nil {
		return err
	}
	if _, err := w.Write(c.view.Schema); err != nil {
		return err
	}
	if w, err = sink.Entry(folder+"/records.ndjson", time.Now()); err != nil {
		return err
	}
	columns := newColumns(c)
	last := uuid.Nil
	err = s.walk(ctx, in, c, scope, maxUUID, func(r Record) error {
		last = r.ID.UUID()
		columns.see(r.Content)
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		_, err = w.Write(append(line, '\n'))
		return err
	})
	if err != nil {
		return err
	}
	table, err := sink.Table(folder+"/records.csv", time.Now(), append(append([]string{}, own...), columns.names...))
	if err != nil {
		return err
	}
	return s.walk(ctx, in, c, scope, last, func(r Record) error { return table.Row(columns.cells(r)) })
}

var maxUUID = uuid.UUID{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// walk visits the records of a collection up to a last one, a page a
// transaction, each with the identifiers it returned on the record.
func (s *Records) walk(ctx context.Context, in feature.Chunks, c collection, scope feature.Scope, last uuid.UUID, visit func(Record) error) error {
	if !scope.Record.IsZero() {
		var r Record
		err := in.Chunk(ctx, func(ctx context.Context, tx *tenant.Tx) (err error) {
			tx.Touch(scope.Record)
			r, err = s.read(ctx, tx, c.Kind, scope.Record)
			return err
		})
		if err != nil {
			return err
		}
		return visit(r)
	}
	after := uuid.Nil
	for {
		var page []Record
		err := in.Chunk(ctx, func(ctx context.Context, tx *tenant.Tx) (err error) {
			page, err = s.scan(ctx, tx, c, after, exportPage)
			for _, r := range page {
				tx.Touch(r.ID)
			}
			return err
		})
		if err != nil {
			return err
		}
		for _, r := range page {
			u := r.ID.UUID()
			if bytes.Compare(u[:], last[:]) > 0 {
				return nil
			}
			if err := visit(r); err != nil {
				return err
			}
			after = u
		}
		if len(page) < exportPage {
			return nil
		}
	}
}

// columns are the members that the contents of a collection have at the top,
// in the order in which the schema or the records name them first.
type columns struct {
	names []string
	at    map[string]int
}

func newColumns(c collection) *columns {
	out := &columns{at: map[string]int{}}
	for _, name := range c.Schema.Columns() {
		out.add(name)
	}
	return out
}

func (c *columns) add(name string) {
	if _, ok := c.at[name]; ok || len(c.names) >= maxColumns {
		return
	}
	c.at[name] = len(c.names)
	c.names = append(c.names, name)
}

func (c *columns) see(content json.RawMessage) {
	_ = members(content, func(name string, _ json.RawMessage) { c.add(name) })
}

func (c *columns) cells(r Record) []json.RawMessage {
	cells := make([]json.RawMessage, len(own)+len(c.names))
	for i, v := range []any{r.ID, r.Version, r.Visibility, r.Owner, r.CreatedAt, r.CreatedBy, r.UpdatedAt, r.UpdatedBy} {
		cells[i], _ = json.Marshal(v)
	}
	_ = members(r.Content, func(name string, v json.RawMessage) {
		if i, ok := c.at[name]; ok {
			cells[len(own)+i] = v
		}
	})
	return cells
}

// members visits the members of an object in their order.
func members(object json.RawMessage, visit func(string, json.RawMessage)) error {
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New("records: not an object")
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, ok := t.(string)
		if !ok {
			return errors.New("records: not a member's name")
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return err
		}
		visit(name, v)
	}
	return nil
}

// describe gives a record its words: its collection, as the content has no
// title of its own here.
func (s *Records) describe(ctx context.Context, tx *tenant.Tx, ref id.Ref) (feature.Description, error) {
	rec := id.RecordOf(ref.UUID())
	tx.Touch(rec)
	var row uuid.UUID
	err := tx.QueryRow(ctx, tenant.Lit(`SELECT collection_id FROM record WHERE org_id = $1 AND id = $2`), tx.Org().UUID(), rec.UUID()).Scan(&row)
	if errors.Is(err, tenant.ErrNoRows) {
		return feature.Description{}, errNoRecord
	}
	if err != nil {
		return feature.Description{}, err
	}
	all, err := s.inScope(ctx, tx, feature.Scope{})
	if err != nil {
		return feature.Description{}, err
	}
	for _, c := range all {
		if c.ID.UUID() == row {
			return feature.Description{Kind: "record", Title: c.view.Title, Path: "/collections/" + c.Kind + "/records/" + rec.String()}, nil
		}
	}
	return feature.Description{}, fault.New(fault.NotFound, "no such collection")
}
