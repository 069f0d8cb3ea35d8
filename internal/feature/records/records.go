package records

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/kind"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
)

const tableRecord = "record"

var errNoRecord = fault.New(fault.NotFound, "no such record")

// sight is who sees a new record, as its table holds it.
func sight(c collection, said string) string { return feature.Sight(c.begins(said)) }

// accept checks content against the collection's schema before anything is
// sealed or sent, and returns the text to keep: every byte as it was sent but
// for white space between tokens, so that it is one line of an export.
func accept(c collection, content feature.Object, at string) (feature.Object, error) {
	parsed, err := kind.ParseContent(content, at)
	if err != nil {
		return nil, err
	}
	return parsed.Text(), c.Schema.Validate(parsed, at)
}

func (s *Records) create(ctx context.Context, tx *tenant.Tx, in createIn) (feature.Created[Record], error) {
	var once tenant.Once
	if !in.Key.IsZero() {
		var earlier *tenant.Result
		var err error
		once, earlier, err = tenant.Recall(ctx, tx, in.Key.Key(), in.Key.Fingerprint())
		if err != nil {
			return feature.Created[Record]{}, err
		}
		if earlier != nil {
			return s.again(ctx, tx, in, id.RecordOf(earlier.ID))
		}
	}
	c, content, err := s.accept(ctx, tx, in.Kind, in.Body.Content)
	if err != nil {
		return feature.Created[Record]{}, err
	}
	rec, err := s.insert(ctx, tx, c, content, in.Body)
	if errors.Is(err, errStaleCollection) {
		if c, err = s.load(ctx, tx, in.Kind); err == nil {
			content, err = accept(c, in.Body.Content, "/content")
		}
		if err == nil {
			rec, err = s.insert(ctx, tx, c, content, in.Body)
		}
	}
	if err == nil && !in.Key.IsZero() {
		err = tenant.Remember(ctx, tx, once, tenant.Result{ID: rec.ID.UUID(), Version: 1})
	}
	if err != nil {
		return feature.Created[Record]{}, err
	}
	return created(tx.Org(), rec), nil
}

func created(org id.Org, r Record) feature.Created[Record] {
	return feature.Created[Record]{Location: "/v1/orgs/" + org.String() + "/collections/" + r.Collection + "/records/" + r.ID.String(),
		ETag: feature.VersionTag(r.Version), Body: r}
}

// again answers a repeated create with the record as it is now.
func (s *Records) again(ctx context.Context, tx *tenant.Tx, in createIn, rec id.Record) (feature.Created[Record], error) {
	tx.Touch(rec)
	r, err := s.read(ctx, tx, in.Kind, rec)
	switch {
	case fault.Is(err, fault.NotFound):
		return feature.Created[Record]{}, fault.New(fault.NotFound, "the record that this Idempotency-Key made is gone")
	case err != nil:
		return feature.Created[Record]{}, err
	}
	if !tx.May(policy.RecordRead) {
		// A key that may only create sees what it sent, not what others made
		// of it.
		if r.Content, err = compact(in.Body.Content); err != nil {
			return feature.Created[Record]{}, err
		}
		r.Title, r.Missing = "", nil
	}
	return created(tx.Org(), r), nil
}

func compact(content feature.Object) (feature.Object, error) {
	parsed, err := kind.ParseContent(content, "/content")
	if err != nil {
		return nil, err
	}
	return parsed.Text(), nil
}

var errChanged = fault.New(fault.Conflict, "the collection has changed meanwhile; repeat the request")

var errStaleCollection = errors.New("records: the collection has changed")

// insert stores one record. Its statement depends on the collection's version,
// so a schema that changed meanwhile is never passed over.
func (s *Records) insert(ctx context.Context, tx *tenant.Tx, c collection, content feature.Object, n NewRecord) (Record, error) {
	if len(n.Links) > 0 || len(c.Schema.People()) > 0 {
		all, err := s.insertLinked(ctx, tx, c, []draft{{content: content, said: n, at: ""}})
		if err != nil {
			return Record{}, err
		}
		return all[0], nil
	}
	r := newRecord(tx, c, content, n)
	leaf, err := tx.NewLeaf(ctx)
	if err != nil {
		return Record{}, err
	}
	body, err := tx.Seal(ctx, tableRecord, r.ID.UUID(), 1, seal.Section{Name: sectionContent, Leaf: leaf, Plain: seal.NewSecret(content)})
	if err != nil {
		return Record{}, err
	}
	tx.Touch(r.ID)
	args := []any{tx.Org().UUID(), r.ID.UUID(), c.ID.UUID(), c.Version, int64(leaf), body, r.Owner.UUID(), sight(c, n.Visibility), tx.Now()}
	// Where nothing was asked before, it is the unit's only statement. As such it
	// fails where the other one finds no row: a collection that has changed gives
	// NULL, which the column does not take.
	if tx.Last(tenant.Lit(`INSERT INTO record (org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
 VALUES ($1, $2, (SELECT id FROM collection WHERE org_id = $1 AND id = $3 AND version = $4 FOR KEY SHARE), 1, $5, $6, $7, $8::text::"char", $9, $7, $9, $7)`), args...) {
		return r, nil
	}
	affected, err := tx.Exec(ctx, tenant.Lit(`WITH c AS (SELECT id FROM collection WHERE org_id = $1 AND id = $3 AND version = $4 FOR KEY SHARE)
INSERT INTO record (org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
 SELECT $1, $2, c.id, 1, $5, $6, $7, $8::text::"char", $9, $7, $9, $7 FROM c`), args...)
	if err == nil && affected == 0 {
		err = errStaleCollection
	}
	return r, err
}

func newRecord(tx *tenant.Tx, c collection, content feature.Object, n NewRecord) Record {
	me := tx.Actor().Person()
	return Record{ID: id.NewRecord(), Collection: c.Kind, Version: 1, Title: c.Schema.Title(content), Content: content, Visibility: feature.Visibility(sight(c, n.Visibility)),
		Owner: me, CreatedAt: tx.Now(), CreatedBy: me, UpdatedAt: tx.Now(), UpdatedBy: me}
}

func (s *Records) createMany(ctx context.Context, req tenant.Request, in createManyIn) (createManyOut, audit.Receipt, error) {
	b := batch{s: s, in: in}
	items, receipt, err := tenant.Bulk(ctx, s.tenant, req, in.Body.Items, b.chunk)
	var out createManyOut
	out.Body.Items = items
	return out, receipt, err
}

// batch is a bulk create under way.
type batch struct {
	s  *Records
	in createManyIn
	// checked is the version of the collection that all items were held
	// against, and texts are what to keep of them.
	checked int64
	texts   []feature.Object
}

// check holds every item of the request against the schema before the first
// one is stored: a mistake in the last of 5,000 leaves nothing behind.
func (b *batch) check(c collection) error {
	if b.checked == c.Version {
		return nil
	}
	texts := make([]feature.Object, len(b.in.Body.Items))
	var err error
	for i, item := range b.in.Body.Items {
		if texts[i], err = accept(c, item.Content, itemPointer(i)); err != nil {
			return err
		}
	}
	b.checked, b.texts = c.Version, texts
	return nil
}

func itemPointer(i int) string { return "/items/" + strconv.Itoa(i) + "/content" }

// chunk stores up to tenant.ChunkRows records in one statement. Its checkpoint
// is the idempotency row of (key, chunk), in the same transaction.
func (b *batch) chunk(ctx context.Context, tx *tenant.Tx, chunk int, items []NewRecord) ([]Made, error) {
	var once tenant.Once
	if !b.in.Key.IsZero() {
		key := binary.BigEndian.AppendUint32(append(b.in.Key.Key(), 0), uint32(chunk))
		var earlier *tenant.Result
		var err error
		if once, earlier, err = tenant.Recall(ctx, tx, key, b.in.Key.Fingerprint()); err != nil {
			return nil, err
		}
		if earlier != nil {
			return b.again(ctx, tx, earlier, len(items))
		}
	}
	// The schema may have changed since it was cached: one read a chunk.
	c, err := b.s.load(ctx, tx, b.in.Kind)
	if err != nil {
		return nil, err
	}
	if err := b.check(c); err != nil {
		return nil, err
	}
	made, err := b.store(ctx, tx, c, chunk, items)
	if err == nil && !b.in.Key.IsZero() {
		err = tenant.Remember(ctx, tx, once, tenant.Result{ID: made[0].ID.UUID(), Version: uint64(len(made))})
	}
	return made, err
}

func (b *batch) store(ctx context.Context, tx *tenant.Tx, c collection, chunk int, items []NewRecord) ([]Made, error) {
	n := len(items)
	made := make([]Made, n)
	tx.Count("records", int64(n))
	if len(c.Schema.People()) > 0 || slices.ContainsFunc(items, func(item NewRecord) bool { return len(item.Links) > 0 }) {
		drafts := make([]draft, n)
		for i, item := range items {
			at := chunk*tenant.ChunkRows + i
			drafts[i] = draft{content: b.texts[at], said: item, at: "/items/" + strconv.Itoa(at)}
		}
		all, err := b.s.insertLinked(ctx, tx, c, drafts)
		for i, r := range all {
			made[i] = Made{r.ID, 1}
		}
		return made, err
	}
	ids, leaves, bodies, sights := make([][16]byte, n), make([]int64, n), make([][]byte, n), make([]string, n)
	for i, item := range items {
		rec := id.NewRecord()
		leaf, err := tx.NewLeaf(ctx)
		if err != nil {
			return nil, err
		}
		content := b.texts[chunk*tenant.ChunkRows+i]
		body, err := tx.Seal(ctx, tableRecord, rec.UUID(), 1, seal.Section{Name: sectionContent, Leaf: leaf, Plain: seal.NewSecret(content)})
		if err != nil {
			return nil, err
		}
		ids[i], leaves[i], bodies[i], sights[i] = rec.UUID(), int64(leaf), body, sight(c, item.Visibility)
		made[i] = Made{rec, 1}
		tx.Touch(rec)
	}
	stored, err := tx.Exec(ctx, tenant.Lit(`WITH c AS (SELECT id FROM collection WHERE org_id = $1 AND id = $2 AND version = $9 FOR KEY SHARE)
INSERT INTO record (org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
 SELECT $1, t.id, c.id, 1, t.leaf, t.body, $3, t.visibility::"char", $4, $3, $4, $3
 FROM c, unnest($5::uuid[], $6::bigint[], $7::bytea[], $8::text[]) AS t(id, leaf, body, visibility)`),
		tx.Org().UUID(), c.ID.UUID(), tx.Actor().Person().UUID(), tx.Now(), ids, leaves, bodies, sights, c.Version)
	if err == nil && stored != int64(n) {
		err = errChanged
	}
	return made, err
}

// again finds what an earlier request under the same key stored: the records
// of one chunk have one created_at and ascending identifiers, in the trash as
// outside of it.
func (b *batch) again(ctx context.Context, tx *tenant.Tx, earlier *tenant.Result, n int) ([]Made, error) {
	rows, err := tx.Query(ctx, tenant.Lit(`WITH first AS (
  SELECT collection_id, created_at, created_by FROM record WHERE org_id = $1 AND id = $2
  UNION ALL SELECT collection_id, created_at, created_by FROM trash WHERE org_id = $1 AND id = $2
) SELECT a.id, a.version FROM first f CROSS JOIN LATERAL (
  SELECT r.id, r.version FROM record r
  WHERE r.org_id = $1 AND r.collection_id = f.collection_id AND r.created_at = f.created_at AND r.created_by = f.created_by AND r.id >= $2
  UNION ALL SELECT t.id, t.version FROM trash t
  WHERE t.org_id = $1 AND t.collection_id = f.collection_id AND t.created_at = f.created_at AND t.created_by = f.created_by AND t.id >= $2
) a ORDER BY a.id LIMIT $3`), tx.Org().UUID(), earlier.ID, n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Made
	for rows.Next() {
		var row uuid.UUID
		var version int64
		if err := rows.Scan(&row, &version); err != nil {
			return nil, err
		}
		out = append(out, Made{id.RecordOf(row), uint64(version)})
		tx.Touch(id.RecordOf(row))
	}
	return out, rows.Err()
}

// row is a record as the table holds it.
type row struct {
	id                   uuid.UUID
	version, leaf        int64
	body                 seal.Sealed
	owner                *uuid.UUID
	visibility           string
	created, updated     time.Time
	createdBy, updatedBy uuid.UUID
}

func (r *row) dest() []any {
	return []any{&r.id, &r.version, &r.leaf, &r.body, &r.owner, &r.visibility, &r.created, &r.createdBy, &r.updated, &r.updatedBy}
}

func (r *row) open(ctx context.Context, tx *tenant.Tx, c collection) (Record, error) {
	o, err := openParts(ctx, tx, r.id, r.version, r.body)
	if err != nil {
		return Record{}, err
	}
	return r.record(c, o.text, o.missing), nil
}

func (r *row) record(c collection, content feature.Object, missing []string) Record {
	out := Record{ID: id.RecordOf(r.id), Collection: c.Kind, Version: uint64(r.version), Title: c.Schema.Title(content), Content: content, Missing: missing,
		Visibility: feature.Visibility(r.visibility),
		CreatedAt:  r.created.UTC(), CreatedBy: id.PersonOf(r.createdBy), UpdatedAt: r.updated.UTC(), UpdatedBy: id.PersonOf(r.updatedBy)}
	if r.owner != nil {
		out.Owner = id.PersonOf(*r.owner)
	}
	return out
}

var errErased = fault.New(fault.NotFound, "the record was erased")

// read finds one record of a collection.
func (s *Records) read(ctx context.Context, tx *tenant.Tx, name string, rec id.Record) (Record, error) {
	c, err := s.collection(ctx, tx, name)
	if err != nil {
		return Record{}, err
	}
	var r row
	err = tx.QueryRow(ctx, tenant.Lit(`SELECT id, version, leaf, body, owner_id, visibility::text, created_at, created_by, updated_at, updated_by
 FROM record WHERE org_id = $1 AND id = $2 AND collection_id = $3`), tx.Org().UUID(), rec.UUID(), c.ID.UUID()).Scan(r.dest()...)
	if errors.Is(err, tenant.ErrNoRows) {
		return Record{}, errNoRecord
	}
	if err != nil {
		return Record{}, err
	}
	return r.open(ctx, tx, c)
}

func (s *Records) get(ctx context.Context, tx *tenant.Tx, in getIn) (feature.Item[Record], error) {
	tx.Touch(in.ID)
	r, err := s.read(ctx, tx, in.Kind, in.ID)
	if err != nil {
		return feature.Item[Record]{}, err
	}
	return feature.Item[Record]{ETag: feature.VersionTag(r.Version), Body: r}, nil
}

func (s *Records) list(ctx context.Context, tx *tenant.Tx, in listIn) (feature.List[Record], error) {
	c, err := s.collection(ctx, tx, in.Kind)
	if err != nil {
		return feature.List[Record]{}, err
	}
	narrow, err := in.narrow(ctx, tx)
	if err != nil {
		return feature.List[Record]{}, err
	}
	query := "records/" + c.ID.String() + narrow.query()
	after, err := position(ctx, tx, query, in.Cursor)
	if err != nil {
		return feature.List[Record]{}, err
	}
	items, last, err := s.scan(ctx, tx, c, narrow, after, limit(in.Listing))
	if err != nil {
		return feature.List[Record]{}, err
	}
	for _, r := range items {
		tx.Touch(r.ID)
	}
	next := ""
	if last != uuid.Nil {
		next, err = tx.SealCursor(ctx, query, last[:])
	}
	return feature.List[Record]{Body: feature.NewPage(items, next)}, err
}

// maxPageBytes bounds the sealed content of one page: what a list of large
// records holds in memory.
const maxPageBytes = 8 << 20

// narrowed says which records of a collection a list holds.
type narrowed struct {
	mine     *uuid.UUID // only this person's own
	to       *uuid.UUID // only those that link to this one
	relation []byte     // by links of this relation; nil: any
	name     string     // the relation's, for the cursor
}

func (in listIn) narrow(ctx context.Context, tx *tenant.Tx) (n narrowed, err error) {
	if in.Mine {
		me := tx.Actor().Person().UUID()
		n.mine = &me
	}
	if in.LinkedTo == "" {
		if in.Relation != "" {
			err = fault.At(fault.Invalid, "relation", "alone", "narrows linked_to, which is missing")
		}
		return n, err
	}
	to, _, err := target(in.LinkedTo, "linked_to")
	if err != nil {
		return n, err
	}
	u := to.UUID()
	n.to, n.name = &u, in.Relation
	if in.Relation != "" {
		n.relation, err = tx.Hash(ctx, tokenRelation, []byte(in.Relation))
	}
	tx.Touch(to)
	return n, err
}

// query tells cursors of lists that were narrowed in other ways apart.
func (n narrowed) query() string {
	out := ""
	if n.mine != nil {
		out += "/mine"
	}
	if n.to != nil {
		out += "/to/" + n.to.String() + "/" + n.name
	}
	return out
}

// scan reads up to n records after a position, in the order of their
// identifiers. last is the position of the next page, and zero where there is
// none: a page may be short without being the last, because its records are
// large, or because one of them was erased this moment and still has its row.
func (s *Records) scan(ctx context.Context, tx *tenant.Tx, c collection, narrow narrowed, after uuid.UUID, n int) (out []Record, last uuid.UUID, err error) {
	rows, err := scanRows(ctx, tx, c, narrow, after, n)
	if err != nil {
		return nil, last, err
	}
	defer rows.Close()
	var seen uuid.UUID
	var found, read int64
	for read < int64(n) && rows.Next() {
		read++
		var r row
		if err := rows.Scan(append(r.dest(), &found)...); err != nil {
			return nil, last, err
		}
		seen = r.id
		rec, err := r.open(ctx, tx, c)
		if errors.Is(err, errErased) {
			continue
		}
		if err != nil {
			return nil, last, err
		}
		out = append(out, rec)
	}
	rows.Close()
	if found > read {
		last = seen
	}
	return out, last, rows.Err()
}

func scanRows(ctx context.Context, tx *tenant.Tx, c collection, narrow narrowed, after uuid.UUID, n int) (*tenant.Rows, error) {
	switch {
	case narrow.to != nil:
		return tx.Query(ctx, tenant.Lit(`SELECT s.id, s.version, s.leaf, s.body, s.owner_id, s.visibility, s.created_at, s.created_by, s.updated_at, s.updated_by, s.found
 FROM (SELECT p.id, p.version, p.leaf, p.body, p.owner_id, p.visibility, p.created_at, p.created_by, p.updated_at, p.updated_by,
   count(*) OVER () AS found, sum(octet_length(p.body)) OVER (ORDER BY p.id) - octet_length(p.body) AS before
  FROM (SELECT r.id, r.version, r.leaf, r.body, r.owner_id, r.visibility::text, r.created_at, r.created_by, r.updated_at, r.updated_by
   FROM (SELECT DISTINCT l.from_id FROM link l WHERE l.org_id = $1 AND l.to_id = $6 AND l.from_id > $3 AND ($7::bytea IS NULL OR l.token = $7)) k
   JOIN record r ON r.org_id = $1 AND r.id = k.from_id
   WHERE r.collection_id = $2 AND ($8::uuid IS NULL OR r.owner_id = $8) AND (EXISTS (SELECT FROM record t WHERE t.org_id = $1 AND t.id = $6)
    OR EXISTS (SELECT FROM file t WHERE t.org_id = $1 AND t.id = $6 AND t.state = 'stored'))
   ORDER BY r.id LIMIT $4) p) s
 WHERE s.before < $5 ORDER BY s.id`), tx.Org().UUID(), c.ID.UUID(), after, n+1, maxPageBytes, narrow.to, narrow.relation, narrow.mine)
	case narrow.mine != nil:
		return tx.Query(ctx, tenant.Lit(`SELECT s.id, s.version, s.leaf, s.body, s.owner_id, s.visibility, s.created_at, s.created_by, s.updated_at, s.updated_by, s.found
 FROM (SELECT p.id, p.version, p.leaf, p.body, p.owner_id, p.visibility, p.created_at, p.created_by, p.updated_at, p.updated_by,
   count(*) OVER () AS found, sum(octet_length(p.body)) OVER (ORDER BY p.id) - octet_length(p.body) AS before
  FROM (SELECT id, version, leaf, body, owner_id, visibility::text, created_at, created_by, updated_at, updated_by
   FROM record WHERE org_id = $1 AND collection_id = $2 AND id > $3 AND owner_id = $6 ORDER BY id LIMIT $4) p) s
 WHERE s.before < $5 ORDER BY s.id`), tx.Org().UUID(), c.ID.UUID(), after, n+1, maxPageBytes, narrow.mine)
	}
	return tx.Query(ctx, tenant.Lit(`SELECT s.id, s.version, s.leaf, s.body, s.owner_id, s.visibility, s.created_at, s.created_by, s.updated_at, s.updated_by, s.found
 FROM (SELECT p.id, p.version, p.leaf, p.body, p.owner_id, p.visibility, p.created_at, p.created_by, p.updated_at, p.updated_by,
   count(*) OVER () AS found, sum(octet_length(p.body)) OVER (ORDER BY p.id) - octet_length(p.body) AS before
  FROM (SELECT id, version, leaf, body, owner_id, visibility::text, created_at, created_by, updated_at, updated_by
   FROM record WHERE org_id = $1 AND collection_id = $2 AND id > $3 ORDER BY id LIMIT $4) p) s
 WHERE s.before < $5 ORDER BY s.id`), tx.Org().UUID(), c.ID.UUID(), after, n+1, maxPageBytes)
}

// lock reads and locks a record that is about to change. It also returns the
// version that its collection has now, and keeps until the end.
func (s *Records) lock(ctx context.Context, tx *tenant.Tx, c collection, rec id.Record) (r row, declared int64, err error) {
	err = tx.QueryRow(ctx, tenant.Lit(`SELECT r.id, r.version, r.leaf, r.body, r.owner_id, r.visibility::text, r.created_at, r.created_by, r.updated_at, r.updated_by, c.version
 FROM record r JOIN collection c ON c.org_id = r.org_id AND c.id = r.collection_id
 WHERE r.org_id = $1 AND r.id = $2 AND r.collection_id = $3 FOR UPDATE OF r FOR KEY SHARE OF c`), tx.Org().UUID(), rec.UUID(), c.ID.UUID()).Scan(append(r.dest(), &declared)...)
	if errors.Is(err, tenant.ErrNoRows) {
		return r, 0, errNoRecord
	}
	return r, declared, err
}

func stale(have int64, want uint64) error {
	if uint64(have) != want {
		return fault.At(fault.Stale, "If-Match", "stale", "the record has changed since that version")
	}
	return nil
}

func (s *Records) update(ctx context.Context, tx *tenant.Tx, in updateIn) (feature.Item[Record], error) {
	tx.Touch(in.ID)
	c, content, err := s.accept(ctx, tx, in.Kind, in.Body.Content)
	if err != nil {
		return feature.Item[Record]{}, err
	}
	old, declared, err := s.lock(ctx, tx, c, in.ID)
	if err != nil {
		return feature.Item[Record]{}, err
	}
	if declared != c.Version {
		if c, err = s.load(ctx, tx, in.Kind); err == nil {
			content, err = accept(c, in.Body.Content, "/content")
		}
		if err != nil {
			return feature.Item[Record]{}, err
		}
	}
	if err := stale(old.version, in.Match.Version()); err != nil {
		return feature.Item[Record]{}, err
	}
	next := old
	next.version, next.updated, next.updatedBy = old.version+1, tx.Now(), tx.Actor().Person().UUID()
	if in.Body.Visibility != "" && feature.Sight(in.Body.Visibility) != old.visibility {
		if !old.isOwner(tx) {
			return feature.Item[Record]{}, errNotOwner
		}
		next.visibility = feature.Sight(in.Body.Visibility)
	}
	next.body, err = s.reseal(ctx, tx, c, old, next.version, content)
	if err != nil {
		return feature.Item[Record]{}, sealing(err)
	}
	n, err := tx.Exec(ctx, tenant.Lit(`WITH kept AS (
  INSERT INTO record_version (org_id, record_id, version, action, body, owner_id, visibility, at, by)
  VALUES ($1, $2, $3, $4, $5, $6, $7::text::"char", $8, $9)
) UPDATE record SET version = $10, body = $11, visibility = $12::text::"char", updated_at = $13, updated_by = $14
 WHERE org_id = $1 AND id = $2 AND EXISTS (SELECT FROM collection c WHERE c.org_id = $1 AND c.id = $15 AND c.version = $16)`),
		tx.Org().UUID(), old.id, old.version, actionOf(old.version), old.body, old.owner, old.visibility, old.updated, old.updatedBy,
		next.version, next.body, next.visibility, next.updated, next.updatedBy, c.ID.UUID(), c.Version)
	if err == nil && n == 0 {
		err = errChanged
	}
	if err != nil {
		return feature.Item[Record]{}, err
	}
	if next.visibility != old.visibility {
		if err := sightChanged(ctx, tx, in.ID, next.visibility); err != nil {
			return feature.Item[Record]{}, err
		}
	}
	var missing []string
	if !simple(next.body) {
		o, err := openParts(ctx, tx, next.id, next.version, next.body)
		if err != nil {
			return feature.Item[Record]{}, err
		}
		missing = o.missing
	}
	r := next.record(c, content, missing)
	return feature.Item[Record]{ETag: feature.VersionTag(r.Version), Body: r}, nil
}

// actionOf says what made a version: the first one was created.
func actionOf(version int64) string {
	if version == 1 {
		return "create"
	}
	return "update"
}

func (s *Records) delete(ctx context.Context, tx *tenant.Tx, in deleteIn) (feature.NoContent, error) {
	tx.Touch(in.ID)
	c, err := s.collection(ctx, tx, in.Kind)
	if err != nil {
		return feature.NoContent{}, err
	}
	old, _, err := s.lock(ctx, tx, c, in.ID)
	if err != nil {
		return feature.NoContent{}, err
	}
	if !mine(tx, old.createdBy, old.owner) && !tx.May(policy.RecordDeleteAny) {
		return feature.NoContent{}, fault.New(fault.Denied, "your role deletes only what is your own")
	}
	if err := stale(old.version, in.Match.Version()); err != nil {
		return feature.NoContent{}, err
	}
	_, err = tx.Exec(ctx, tenant.Lit(`WITH gone AS (
  DELETE FROM record WHERE org_id = $1 AND id = $2
  RETURNING org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by
) INSERT INTO trash (org_id, id, kind, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by, deleted_at, deleted_by, purge_after)
  SELECT org_id, id, 'record', collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by, $3, $4, $5 FROM gone`),
		tx.Org().UUID(), in.ID.UUID(), tx.Now(), tx.Actor().Person().UUID(), tx.Now().Add(feature.Undo))
	return feature.NoContent{}, err
}

func mine(tx *tenant.Tx, createdBy uuid.UUID, owner *uuid.UUID) bool {
	me := tx.Actor().Person().UUID()
	return createdBy == me || owner != nil && *owner == me
}

// history lists the versions of a living record, newest first.
func (s *Records) history(ctx context.Context, tx *tenant.Tx, in historyIn) (feature.List[Version], error) {
	tx.Touch(in.ID)
	c, err := s.collection(ctx, tx, in.Kind)
	if err != nil {
		return feature.List[Version]{}, err
	}
	query := "history/" + in.ID.String()
	before := int64(1) << 62
	b, err := tx.OpenCursor(ctx, query, in.Cursor)
	if err != nil {
		return feature.List[Version]{}, err
	}
	if len(b) == 8 {
		before = int64(binary.BigEndian.Uint64(b))
	}
	n := limit(in.Listing)
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT h.version, h.body, h.at, h.by FROM (
  SELECT r.version, r.body, r.updated_at AS at, r.updated_by AS by FROM record r WHERE r.org_id = $1 AND r.id = $2 AND r.collection_id = $3
  UNION ALL
  SELECT v.version, v.body, v.at, v.by FROM record_version v JOIN record r ON r.org_id = v.org_id AND r.id = v.record_id
  WHERE v.org_id = $1 AND v.record_id = $2 AND r.collection_id = $3
) h WHERE h.version < $4 ORDER BY h.version DESC LIMIT $5`), tx.Org().UUID(), in.ID.UUID(), c.ID.UUID(), before, n+1)
	if err != nil {
		return feature.List[Version]{}, err
	}
	defer rows.Close()
	var items []Version
	for rows.Next() {
		var version int64
		var body seal.Sealed
		var at time.Time
		var by uuid.UUID
		if err := rows.Scan(&version, &body, &at, &by); err != nil {
			return feature.List[Version]{}, err
		}
		o, err := openParts(ctx, tx, in.ID.UUID(), version, body)
		if err != nil {
			return feature.List[Version]{}, err
		}
		items = append(items, Version{uint64(version), actionOf(version), at.UTC(), id.PersonOf(by), o.text, o.missing})
	}
	if err := rows.Err(); err != nil {
		return feature.List[Version]{}, err
	}
	if len(items) == 0 && in.Cursor == "" {
		return feature.List[Version]{}, errNoRecord
	}
	next := ""
	if len(items) > n {
		items = items[:n]
		next, err = tx.SealCursor(ctx, query, binary.BigEndian.AppendUint64(nil, items[n-1].Version))
	}
	return feature.List[Version]{Body: feature.NewPage(items, next)}, err
}
