package records

import (
	"context"
	"encoding/binary"
	"errors"
	"strconv"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/kind"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
)

const (
	tableRecord    = "record"
	sectionContent = "content"
	// undo is how long the trash keeps what was deleted (DEL-1).
	undo = 7 * 24 * time.Hour
)

var errNoRecord = fault.New(fault.NotFound, "no such record")

func visibility(v string) string {
	if v == "private" {
		return "p"
	}
	return "o"
}

func spelled(v string) string {
	if v == "p" {
		return "private"
	}
	return "organization"
}

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
	rec, err := s.insert(ctx, tx, c, content, in.Body.Visibility)
	if errors.Is(err, errStaleCollection) {
		if c, err = s.load(ctx, tx, in.Kind); err == nil {
			content, err = accept(c, in.Body.Content, "/content")
		}
		if err == nil {
			rec, err = s.insert(ctx, tx, c, content, in.Body.Visibility)
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

var errStaleCollection = errors.New("records: the collection has changed")

// insert stores one record. Its statement depends on the collection's version,
// so a schema that changed meanwhile is never passed over.
func (s *Records) insert(ctx context.Context, tx *tenant.Tx, c collection, content feature.Object, sight string) (Record, error) {
	r := Record{ID: id.NewRecord(), Collection: c.Kind, Version: 1, Content: content, Visibility: spelled(visibility(sight)),
		Owner: tx.Actor().Person(), CreatedAt: tx.Now(), CreatedBy: tx.Actor().Person(), UpdatedAt: tx.Now(), UpdatedBy: tx.Actor().Person()}
	leaf, err := tx.NewLeaf(ctx)
	if err != nil {
		return Record{}, err
	}
	body, err := tx.Seal(ctx, tableRecord, r.ID.UUID(), 1, seal.Section{Name: sectionContent, Leaf: leaf, Plain: seal.NewSecret(content)})
	if err != nil {
		return Record{}, err
	}
	tx.Touch(r.ID)
	n, err := tx.Exec(ctx, tenant.Lit(`INSERT INTO record (org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
 SELECT $1, $2, c.id, 1, $5, $6, $7, $8::text::"char", $9, $7, $9, $7 FROM collection c WHERE c.org_id = $1 AND c.id = $3 AND c.version = $4`),
		tx.Org().UUID(), r.ID.UUID(), c.ID.UUID(), c.Version, int64(leaf), body, r.Owner.UUID(), visibility(sight), tx.Now())
	if err == nil && n == 0 {
		err = errStaleCollection
	}
	return r, err
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
	n := len(items)
	ids, leaves, bodies, sight := make([][16]byte, n), make([]int64, n), make([][]byte, n), make([]string, n)
	made := make([]Made, n)
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
		ids[i], leaves[i], bodies[i], sight[i] = rec.UUID(), int64(leaf), body, visibility(item.Visibility)
		made[i] = Made{rec, 1}
		tx.Touch(rec)
	}
	tx.Count("records", int64(n))
	if _, err := tx.Exec(ctx, tenant.Lit(`INSERT INTO record (org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
 SELECT $1, t.id, $2, 1, t.leaf, t.body, $3, t.visibility::"char", $4, $3, $4, $3
 FROM unnest($5::uuid[], $6::bigint[], $7::bytea[], $8::text[]) AS t(id, leaf, body, visibility)`),
		tx.Org().UUID(), c.ID.UUID(), tx.Actor().Person().UUID(), tx.Now(), ids, leaves, bodies, sight); err != nil {
		return nil, err
	}
	if !b.in.Key.IsZero() {
		return made, tenant.Remember(ctx, tx, once, tenant.Result{ID: made[0].ID.UUID(), Version: uint64(n)})
	}
	return made, nil
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

func (r *row) open(ctx context.Context, tx *tenant.Tx, name string) (Record, error) {
	content, err := openContent(ctx, tx, r.id, r.version, r.body)
	if err != nil {
		return Record{}, err
	}
	return r.record(name, content), nil
}

func (r *row) record(name string, content feature.Object) Record {
	out := Record{ID: id.RecordOf(r.id), Collection: name, Version: uint64(r.version), Content: content, Visibility: spelled(r.visibility),
		CreatedAt: r.created.UTC(), CreatedBy: id.PersonOf(r.createdBy), UpdatedAt: r.updated.UTC(), UpdatedBy: id.PersonOf(r.updatedBy)}
	if r.owner != nil {
		out.Owner = id.PersonOf(*r.owner)
	}
	return out
}

var errErased = fault.New(fault.NotFound, "the record was erased")

func openContent(ctx context.Context, tx *tenant.Tx, rec uuid.UUID, version int64, body seal.Sealed) (feature.Object, error) {
	plain, err := seal.OpenOne(ctx, tx.Keys(), seal.Place{Org: tx.Org(), Table: tableRecord, Row: rec, Version: uint64(version)}, body, sectionContent)
	if errors.Is(err, seal.ErrErased) {
		return nil, errErased
	}
	if err != nil {
		return nil, err
	}
	return plain.Reveal(), nil
}

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
	return r.open(ctx, tx, c.Kind)
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
	query := "records/" + c.ID.String()
	after, err := position(ctx, tx, query, in.Cursor)
	if err != nil {
		return feature.List[Record]{}, err
	}
	items, last, err := s.scan(ctx, tx, c, after, limit(in.Listing))
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

// scan reads up to n records after a position, in the order of their
// identifiers. last is the position of the next page, and zero where there is
// none: a page may be short without being the last, because its records are
// large, or because one of them was erased this moment and still has its row.
func (s *Records) scan(ctx context.Context, tx *tenant.Tx, c collection, after uuid.UUID, n int) (out []Record, last uuid.UUID, err error) {
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT s.id, s.version, s.leaf, s.body, s.owner_id, s.visibility, s.created_at, s.created_by, s.updated_at, s.updated_by, s.found
 FROM (SELECT p.id, p.version, p.leaf, p.body, p.owner_id, p.visibility, p.created_at, p.created_by, p.updated_at, p.updated_by,
   count(*) OVER () AS found, sum(octet_length(p.body)) OVER (ORDER BY p.id) - octet_length(p.body) AS before
  FROM (SELECT id, version, leaf, body, owner_id, visibility::text, created_at, created_by, updated_at, updated_by
   FROM record WHERE org_id = $1 AND collection_id = $2 AND id > $3 ORDER BY id LIMIT $4) p) s
 WHERE s.before < $5 ORDER BY s.id`), tx.Org().UUID(), c.ID.UUID(), after, n+1, maxPageBytes)
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
		rec, err := r.open(ctx, tx, c.Kind)
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

// lock reads and locks a record that is about to change. It also returns the
// version that its collection has now.
func (s *Records) lock(ctx context.Context, tx *tenant.Tx, c collection, rec id.Record) (r row, declared int64, err error) {
	err = tx.QueryRow(ctx, tenant.Lit(`SELECT r.id, r.version, r.leaf, r.body, r.owner_id, r.visibility::text, r.created_at, r.created_by, r.updated_at, r.updated_by, c.version
 FROM record r JOIN collection c ON c.org_id = r.org_id AND c.id = r.collection_id
 WHERE r.org_id = $1 AND r.id = $2 AND r.collection_id = $3 FOR UPDATE OF r`), tx.Org().UUID(), rec.UUID(), c.ID.UUID()).Scan(append(r.dest(), &declared)...)
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
	sight := old.visibility
	if in.Body.Visibility != "" && visibility(in.Body.Visibility) != sight {
		if old.owner == nil || *old.owner != tx.Actor().Person().UUID() {
			return feature.Item[Record]{}, fault.New(fault.Denied, "only its owner changes who sees a record")
		}
		sight = visibility(in.Body.Visibility)
	}
	next := old
	next.version, next.updated, next.updatedBy, next.visibility = old.version+1, tx.Now(), tx.Actor().Person().UUID(), sight
	// The leaf is the record's own for life; version and place make the key of
	// each value another.
	next.body, err = tx.Seal(ctx, tableRecord, old.id, uint64(next.version), seal.Section{Name: sectionContent, Leaf: keytree.Leaf(old.leaf), Plain: seal.NewSecret(content)})
	if err != nil {
		return feature.Item[Record]{}, err
	}
	n, err := tx.Exec(ctx, tenant.Lit(`WITH kept AS (
  INSERT INTO record_version (org_id, record_id, version, action, body, owner_id, visibility, at, by)
  VALUES ($1, $2, $3, $4, $5, $6, $7::text::"char", $8, $9)
) UPDATE record SET version = $10, body = $11, visibility = $12::text::"char", updated_at = $13, updated_by = $14
 WHERE org_id = $1 AND id = $2 AND EXISTS (SELECT FROM collection c WHERE c.org_id = $1 AND c.id = $15 AND c.version = $16)`),
		tx.Org().UUID(), old.id, old.version, actionOf(old.version), old.body, old.owner, old.visibility, old.updated, old.updatedBy,
		next.version, next.body, next.visibility, next.updated, next.updatedBy, c.ID.UUID(), c.Version)
	if err == nil && n == 0 {
		err = fault.New(fault.Conflict, "the collection has changed meanwhile; repeat the request")
	}
	if err != nil {
		return feature.Item[Record]{}, err
	}
	r := next.record(c.Kind, content)
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
		tx.Org().UUID(), in.ID.UUID(), tx.Now(), tx.Actor().Person().UUID(), tx.Now().Add(undo))
	return feature.NoContent{}, err
}

func mine(tx *tenant.Tx, createdBy uuid.UUID, owner *uuid.UUID) bool {
	me := tx.Actor().Person().UUID()
	return createdBy == me || owner != nil && *owner == me
}

func (s *Records) restore(ctx context.Context, tx *tenant.Tx, in getIn) (feature.Item[Record], error) {
	tx.Touch(in.ID)
	c, err := s.collection(ctx, tx, in.Kind)
	if err != nil {
		return feature.Item[Record]{}, err
	}
	var r row
	err = tx.QueryRow(ctx, tenant.Lit(`SELECT id, version, leaf, body, owner_id, visibility::text, created_at, created_by, updated_at, updated_by
 FROM trash WHERE org_id = $1 AND id = $2 AND collection_id = $3 AND kind = 'record' AND purge_after > $4 FOR UPDATE`),
		tx.Org().UUID(), in.ID.UUID(), c.ID.UUID(), tx.Now()).Scan(r.dest()...)
	if errors.Is(err, tenant.ErrNoRows) {
		return feature.Item[Record]{}, fault.New(fault.NotFound, "no such record in the trash")
	}
	if err != nil {
		return feature.Item[Record]{}, err
	}
	if !mine(tx, r.createdBy, r.owner) && !tx.May(policy.RecordDeleteAny) {
		return feature.Item[Record]{}, fault.New(fault.Denied, "your role restores only what is your own")
	}
	if _, err := tx.Exec(ctx, tenant.Lit(`WITH back AS (
  DELETE FROM trash WHERE org_id = $1 AND id = $2
  RETURNING org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by
) INSERT INTO record (org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
  SELECT org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by FROM back`),
		tx.Org().UUID(), in.ID.UUID()); err != nil {
		return feature.Item[Record]{}, err
	}
	// An OrgAdmin restores without seeing: only who may read gets the content.
	if !tx.May(policy.RecordRead) {
		return feature.Item[Record]{ETag: feature.VersionTag(uint64(r.version)), Body: Record{ID: in.ID, Collection: c.Kind, Version: uint64(r.version),
			Content: feature.Object("{}"), Visibility: spelled(r.visibility)}}, nil
	}
	out, err := r.open(ctx, tx, c.Kind)
	return feature.Item[Record]{ETag: feature.VersionTag(out.Version), Body: out}, err
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
		content, err := openContent(ctx, tx, in.ID.UUID(), version, body)
		if err != nil {
			return feature.List[Version]{}, err
		}
		items = append(items, Version{uint64(version), actionOf(version), at.UTC(), id.PersonOf(by), content})
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
