package records

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/id"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/store/tenant"
)

const (
	exportPage = 200 // rows
	// maxColumns bounds the members of the content that get a column of a
	// table of their own; the others share the last one.
	maxColumns = 500
)

// own are the columns that every record has, before those of its content.
var own = []string{"id", "version", "visibility", "owner", "created_at", "created_by", "updated_at", "updated_by"}

// restColumn holds the members without a column of their own, as one object.
const restColumn = "(rest)"

// export writes each collection in scope: its declaration, its records as
// NDJSON and as CSV, their earlier versions and their links. It holds one page
// in memory. The CSV's columns are found while the NDJSON is written, and its
// rows are the records up to the NDJSON's last one, as they are by then.
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
		x := exporting{s, in, c, scope, sink}
		if err := x.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *Records) inScope(ctx context.Context, tx *tenant.Tx, scope feature.Scope) ([]collection, error) {
	if !scope.File.IsZero() {
		return nil, nil
	}
	if scope.Records != nil {
		return s.collectionsOf(ctx, tx, scope.Records)
	}
	if scope.Collection != "" {
		c, err := s.load(ctx, tx, scope.Collection)
		if err != nil {
			return nil, err
		}
		tx.Touch(c.ID)
		if scope.Record.IsZero() {
			return []collection{c}, nil
		}
		// Whether the record is there shows before anything is written.
		_, err = s.read(ctx, tx, c.Kind, scope.Record)
		return []collection{c}, err
	}
	var all []collection
	after := uuid.Nil
	for {
		page, err := s.listPage(ctx, tx, after, s.page)
		if err != nil {
			return nil, err
		}
		for _, c := range page {
			tx.Touch(c.ID)
		}
		all = append(all, page...)
		if len(page) < s.page {
			return all, nil
		}
		after = page[len(page)-1].ID.UUID()
	}
}

// exporting is the export of one collection under way.
type exporting struct {
	s     *Records
	in    feature.Chunks
	c     collection
	scope feature.Scope
	sink  feature.Sink
}

func (x exporting) run(ctx context.Context) error {
	folder := "records/" + x.c.Kind
	w, err := x.sink.Entry(folder+"/schema.json", x.c.view.CreatedAt)
	if err != nil {
		return err
	}
	if err := writeLine(w, x.c.view); err != nil {
		return err
	}
	if w, err = x.sink.Entry(folder+"/records.ndjson", time.Now()); err != nil {
		return err
	}
	columns := newColumns(x.c)
	last := uuid.Nil
	if err = x.walk(ctx, uuid.Max, func(r Record) error {
		last = r.ID.UUID()
		columns.see(r.Content)
		return writeLine(w, r)
	}); err != nil {
		return err
	}
	table, err := x.sink.Table(folder+"/records.csv", time.Now(), columns.header())
	if err != nil {
		return err
	}
	if err := x.walk(ctx, last, func(r Record) error { return table.Row(columns.cells(r)) }); err != nil {
		return err
	}
	if w, err = x.sink.Entry(folder+"/history.ndjson", time.Now()); err != nil {
		return err
	}
	if err := x.history(ctx, w); err != nil {
		return err
	}
	if w, err = x.sink.Entry(folder+"/links.ndjson", time.Now()); err != nil {
		return err
	}
	return x.links(ctx, w)
}

// writeLine writes a line of NDJSON. Content keeps its bytes: it has no line
// break, and nothing is escaped anew.
func writeLine(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// walk visits the records of the collection up to a last one, a page a
// transaction, each with the identifiers it returned on the record.
func (x exporting) walk(ctx context.Context, last uuid.UUID, visit func(Record) error) error {
	if !x.scope.Record.IsZero() {
		var r Record
		err := x.in.Chunk(ctx, func(ctx context.Context, tx *tenant.Tx) (err error) {
			tx.Touch(x.scope.Record)
			r, err = x.s.read(ctx, tx, x.c.Kind, x.scope.Record)
			return err
		})
		if err != nil {
			return err
		}
		return visit(r)
	}
	if x.scope.Records != nil {
		return x.walkGathered(ctx, last, visit)
	}
	after, more := uuid.Nil, true
	for more && bytes.Compare(after[:], last[:]) < 0 {
		var page []Record
		err := x.in.Chunk(ctx, func(ctx context.Context, tx *tenant.Tx) (err error) {
			page, after, err = x.s.scan(ctx, tx, x.c, narrowed{}, after, x.s.page)
			for _, r := range page {
				tx.Touch(r.ID)
			}
			return err
		})
		if err != nil {
			return err
		}
		more = after != uuid.Nil
		for _, r := range page {
			u := r.ID.UUID()
			if bytes.Compare(u[:], last[:]) > 0 {
				return nil
			}
			if err := visit(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// only is the one record in scope, nil for all of the collection.
func (x exporting) only() *uuid.UUID {
	if x.scope.Record.IsZero() {
		return nil
	}
	u := x.scope.Record.UUID()
	return &u
}

// exportedVersion is an earlier version of a record; the present one is among
// the records.
type exportedVersion struct {
	ID id.Record `json:"id"`
	Version
}

// history writes what the records were before.
func (x exporting) history(ctx context.Context, w io.Writer) error {
	only := x.only()
	record, version := uuid.Nil, int64(0)
	for more := true; more; {
		var page []exportedVersion
		err := x.in.Chunk(ctx, func(ctx context.Context, tx *tenant.Tx) (err error) {
			rows, err := tx.Query(ctx, tenant.Lit(`SELECT v.record_id, v.version, v.body, v.at, v.by FROM record_version v
 JOIN record r ON r.org_id = v.org_id AND r.id = v.record_id
 WHERE v.org_id = $1 AND r.collection_id = $2 AND (v.record_id, v.version) > ($3, $4) AND ($5::uuid IS NULL OR v.record_id = $5)
 AND ($7::uuid[] IS NULL OR v.record_id = ANY($7)) ORDER BY v.record_id, v.version LIMIT $6`), tx.Org().UUID(), x.c.ID.UUID(), record, version, only, x.s.page, uuids(x.scope.Records))
			if err != nil {
				return err
			}
			defer rows.Close()
			n := 0
			for size := 0; rows.Next(); n++ {
				if size > maxPageBytes {
					n = x.s.page
					break
				}
				var body seal.Sealed
				var at time.Time
				var by uuid.UUID
				if err := rows.Scan(&record, &version, &body, &at, &by); err != nil {
					return err
				}
				size += len(body)
				o, err := openParts(ctx, tx, record, version, body)
				if errors.Is(err, errErased) {
					continue
				}
				if err != nil {
					return err
				}
				rec := id.RecordOf(record)
				tx.Touch(rec)
				page = append(page, exportedVersion{rec, Version{uint64(version), actionOf(version), at.UTC(), id.PersonOf(by), o.text, o.missing}})
			}
			more = n >= x.s.page
			return rows.Err()
		})
		if err != nil {
			return err
		}
		for _, v := range page {
			if err := writeLine(w, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// links writes the links that begin at the records, as far as both ends are
// there and visible; for one record, also those that end at it.
func (x exporting) links(ctx context.Context, w io.Writer) error {
	only := x.only()
	after := uuid.Nil
	for more := true; more; {
		var page []Link
		err := x.in.Chunk(ctx, func(ctx context.Context, tx *tenant.Tx) (err error) {
			rows, err := tx.Query(ctx, tenant.Lit(`SELECT k.id, k.from_id, k.to_id, k.to_kind, k.body, k.created_at, k.created_by FROM link k
 JOIN record f ON f.org_id = k.org_id AND f.id = k.from_id
 WHERE k.org_id = $1 AND k.id > $3 AND CASE WHEN $4::uuid IS NULL THEN f.collection_id = $2 ELSE k.from_id = $4 OR k.to_id = $4 END
 AND ($6::uuid[] IS NULL OR k.from_id = ANY($6))
 AND (EXISTS (SELECT FROM record t WHERE t.org_id = $1 AND t.id = k.to_id) OR EXISTS (SELECT FROM file t WHERE t.org_id = $1 AND t.id = k.to_id))
 ORDER BY k.id LIMIT $5`), tx.Org().UUID(), x.c.ID.UUID(), after, only, x.s.page, uuids(x.scope.Records))
			if err != nil {
				return err
			}
			defer rows.Close()
			n := 0
			for ; rows.Next(); n++ {
				var r linkRow
				if err := rows.Scan(r.dest()...); err != nil {
					return err
				}
				l, err := r.open(ctx, tx)
				if err != nil {
					return err
				}
				after = r.id
				tx.Touch(l.ID)
				page = append(page, l)
			}
			more = n == x.s.page
			return rows.Err()
		})
		if err != nil {
			return err
		}
		for _, l := range page {
			if only != nil && l.From != x.scope.Record.String() {
				l.Direction = "in"
			}
			if err := writeLine(w, l); err != nil {
				return err
			}
		}
	}
	return nil
}

// columns are the members that the contents of a collection have at the top,
// in the order in which the schema or the records name them first.
type columns struct {
	names []string
	at    map[string]int
	rest  bool
}

func newColumns(c collection) *columns {
	out := &columns{at: map[string]int{}}
	for _, name := range c.Schema.Columns() {
		out.add(name)
	}
	return out
}

func (c *columns) add(name string) {
	if _, ok := c.at[name]; ok {
		return
	}
	if len(c.names) >= maxColumns {
		c.rest = true
		return
	}
	c.at[name] = len(c.names)
	c.names = append(c.names, name)
}

func (c *columns) header() []string {
	all := append(append([]string{}, own...), c.names...)
	if c.rest {
		all = append(all, restColumn)
	}
	return all
}

func (c *columns) see(content feature.Object) {
	_ = members(content, func(name string, _ json.RawMessage) { c.add(name) })
}

// cells gives a record its row. A member that came with a change since the
// columns were found has none.
func (c *columns) cells(r Record) []json.RawMessage {
	cells := make([]json.RawMessage, len(own), len(own)+len(c.names)+1)
	for i, v := range []any{r.ID, r.Version, r.Visibility, r.Owner, r.CreatedAt, r.CreatedBy, r.UpdatedAt, r.UpdatedBy} {
		cells[i], _ = json.Marshal(v)
	}
	cells = cells[:len(own)+len(c.names)]
	var rest []byte
	_ = members(r.Content, func(name string, v json.RawMessage) {
		if i, ok := c.at[name]; ok {
			cells[len(own)+i] = v
			return
		}
		key, _ := json.Marshal(name)
		rest = append(append(append(append(rest, ','), key...), ':'), v...)
	})
	if c.rest {
		if len(rest) > 0 {
			rest[0] = '{'
			rest = append(rest, '}')
		}
		cells = append(cells, rest)
	}
	return cells
}

// members visits the members of an object in their order.
func members(object feature.Object, visit func(string, json.RawMessage)) error {
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New("records: not an object")
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := t.(string)
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
	var r collectionRow
	err := tx.QueryRow(ctx, tenant.Lit(`SELECT c.id, c.version, c.body, c.created_at, c.created_by FROM record r
 JOIN collection c ON c.org_id = r.org_id AND c.id = r.collection_id WHERE r.org_id = $1 AND r.id = $2`), tx.Org().UUID(), rec.UUID()).Scan(r.dest()...)
	if errors.Is(err, tenant.ErrNoRows) {
		return feature.Description{}, errNoRecord
	}
	if err != nil {
		return feature.Description{}, err
	}
	c, err := s.openCollection(ctx, tx, r)
	if err != nil {
		return feature.Description{}, err
	}
	return feature.Description{Kind: "record", Title: c.view.Title, Path: "/collections/" + c.Kind + "/records/" + rec.String()}, nil
}
