package records

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
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
// sealed or sent.
func accept(c collection, content json.RawMessage, at string) error {
	parsed, err := kind.ParseContent(content, at)
	if err != nil {
		return err
	}
	return c.Schema.Validate(parsed, at)
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
			return s.again(ctx, tx, in.Kind, id.RecordOf(earlier.ID))
		}
	}
	c, err := s.collection(ctx, tx, in.Kind)
	if err != nil {
		return feature.Created[Record]{}, err
	}
	rec, err := s.insert(ctx, tx, c, in.Body)
	if errors.Is(err, errStaleCollection) {
		// The collection changed since it was cached.
		s.forget(tx.Org(), in.Kind)
		if c, err = s.load(ctx, tx, in.Kind); err == nil {
			rec, err = s.insert(ctx, tx, c, in.Body)
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
func (s *Records) again(ctx context.Context, tx *tenant.Tx, name string, rec id.Record) (feature.Created[Record], error) {
	r, err := s.read(ctx, tx, name, rec)
	if err != nil {
		return feature.Created[Record]{}, err
	}
	return created(tx.Org(), r), nil
}

var errStaleCollection = errors.New("records: the collection has changed")

// insert stores one record. Its statement depends on the collection's version,
// so a schema that changed meanwhile is never passed over.
func (s *Records) insert(ctx context.Context, tx *tenant.Tx, c collection, in NewRecord) (Record, error) {
	if err := accept(c, in.Content, "/content"); err != nil {
		return Record{}, err
	}
	r := Record{ID: id.NewRecord(), Collection: c.Kind, Version: 1, Content: in.Content, Visibility: spelled(visibility(in.Visibility)),
		Owner: tx.Actor().Person(), CreatedAt: tx.Now(), CreatedBy: tx.Actor().Person(), UpdatedAt: tx.Now(), UpdatedBy: tx.Actor().Person()}
	leaf, err := tx.NewLeaf(ctx)
	if err != nil {
		return Record{}, err
	}
	body, err := tx.Seal(ctx, tableRecord, r.ID.UUID(), 1, seal.Section{Name: sectionContent, Leaf: leaf, Plain: seal.NewSecret(in.Content)})
	if err != nil {
		return Record{}, err
	}
	tx.Touch(r.ID)
	n, err := tx.Exec(ctx, tenant.Lit(`INSERT INTO record (org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
 SELECT $1, $2, c.id, 1, $5, $6, $7, $8::text::"char", $9, $7, $9, $7 FROM collection c WHERE c.org_id = $1 AND c.id = $3 AND c.version = $4`),
		tx.Org().UUID(), r.ID.UUID(), c.ID.UUID(), c.Version, reserved(leaf), body, r.Owner.UUID(), visibility(in.Visibility), tx.Now())
	if err == nil && n == 0 {
		err = errStaleCollection
	}
	return r, err
}

func (s *Records) createMany(ctx context.Context, req tenant.Request, in createManyIn) (createManyOut, audit.Receipt, error) {
	var out createManyOut
	items, receipt, err := tenant.Bulk(ctx, s.tenant, req, in.Body.Items, func(ctx context.Context, tx *tenant.Tx, chunk int, items []NewRecord) ([]Made, error) {
		return s.insertChunk(ctx, tx, in, chunk, items)
	})
	out.Body.Items = items
	return out, receipt, err
}

// insertChunk stores up to tenant.ChunkRows records in one statement. Its
// checkpoint is the idempotency row of (key, chunk).
func (s *Records) insertChunk(ctx context.Context, tx *tenant.Tx, in createManyIn, chunk int, items []NewRecord) ([]Made, error) {
	var once tenant.Once
	if !in.Key.IsZero() {
		key := binary.BigEndian.AppendUint32(append(in.Key.Key(), 0), uint32(chunk))
		var earlier *tenant.Result
		var err error
		if once, earlier, err = tenant.Recall(ctx, tx, key, in.Key.Fingerprint()); err != nil {
			return nil, err
		}
		if earlier != nil {
			return s.chunkAgain(ctx, tx, earlier, len(items))
		}
	}
	// The schema may have changed since it was cached: one read a chunk.
	c, err := s.load(ctx, tx, in.Kind)
	if err != nil {
		return nil, err
	}
	n := len(items)
	ids, leaves, bodies, sight := make([][16]byte, n), make([]int64, n), make([][]byte, n), make([]string, n)
	made := make([]Made, n)
	for i, item := range items {
		if err := accept(c, item.Content, itemPointer(chunk*tenant.ChunkRows+i)); err != nil {
			return nil, err
		}
		rec := id.NewRecord()
		leaf, err := tx.NewLeaf(ctx)
		if err != nil {
			return nil, err
		}
		body, err := tx.Seal(ctx, tableRecord, rec.UUID(), 1, seal.Section{Name: sectionContent, Leaf: leaf, Plain: seal.NewSecret(item.Content)})
		if err != nil {
			return nil, err
		}
		ids[i], leaves[i], bodies[i], sight[i] = rec.UUID(), reserved(leaf), body, visibility(item.Visibility)
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
	if !in.Key.IsZero() {
		return made, tenant.Remember(ctx, tx, once, tenant.Result{ID: made[0].ID.UUID(), Version: uint64(n)})
	}
	return made, nil
}

func itemPointer(i int) string {
	return "/items/" + itoa(i) + "/content"
}

// chunkAgain finds what an earlier request under the same key stored: the
// records of one chunk have one created_at and ascending identifiers.
func (s *Records) chunkAgain(ctx context.Context, tx *tenant.Tx, earlier *tenant.Result, n int) ([]Made, error) {
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT r.id, r.version FROM record r, record f
 WHERE f.org_id = $1 AND f.id = $2 AND r.org_id = $1 AND r.collection_id = f.collection_id AND r.created_at = f.created_at AND r.created_by = f.created_by AND r.id >= f.id
 ORDER BY r.id LIMIT $3`), tx.Org().UUID(), earlier.ID, n)
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
	out := Record{ID: id.RecordOf(r.id), Collection: name, Version: uint64(r.version), Content: content, Visibility: spelled(r.visibility),
		CreatedAt: r.created.UTC(), CreatedBy: id.PersonOf(r.createdBy), UpdatedAt: r.updated.UTC(), UpdatedBy: id.PersonOf(r.updatedBy)}
	if r.owner != nil {
		out.Owner = id.PersonOf(*r.owner)
	}
	return out, nil
}

func openContent(ctx context.Context, tx *tenant.Tx, rec uuid.UUID, version int64, body seal.Sealed) (json.RawMessage, error) {
	plain, err := seal.OpenOne(ctx, tx.Keys(), seal.Place{Org: tx.Org(), Table: tableRecord, Row: rec, Version: uint64(version)}, body, sectionContent)
	if errors.Is(err, seal.ErrErased) {
		return nil, fault.New(fault.NotFound, "the record was erased")
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
	items, err := s.scan(ctx, tx, c, after, in.Limit+1)
	if err != nil {
		return feature.List[Record]{}, err
	}
	items, next, err := page(ctx, tx, query, items, in.Limit, func(r Record) uuid.UUID { return r.ID.UUID() })
	for _, r := range items {
		tx.Touch(r.ID)
	}
	return feature.List[Record]{Body: feature.NewPage(items, next)}, err
}

// scan reads up to n records after a position, in the order of their
// identifiers.
func (s *Records) scan(ctx context.Context, tx *tenant.Tx, c collection, after uuid.UUID, n int) ([]Record, error) {
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT id, version, leaf, body, owner_id, visibility::text, created_at, created_by, updated_at, updated_by
 FROM record WHERE org_id = $1 AND collection_id = $2 AND id > $3 ORDER BY id LIMIT $4`), tx.Org().UUID(), c.ID.UUID(), after, n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Record
	for rows.Next() {
		var r row
		if err := rows.Scan(r.dest()...); err != nil {
			return nil, err
		}
		rec, err := r.open(ctx, tx, c.Kind)
		if fault.Is(err, fault.NotFound) {
			continue // erased between its row and its key
		}
		if err != nil {
			return nil, err
		}
		out = append(out, rec)
	}
	return out, rows.Err()
}

// lock reads and locks a record that is about to change.
func (s *Records) lock(ctx context.Context, tx *tenant.Tx, c collection, rec id.Record) (row, error) {
	var r row
	err := tx.QueryRow(ctx, tenant.Lit(`SELECT id, version, leaf, body, owner_id, visibility::text, created_at, created_by, updated_at, updated_by
 FROM record WHERE org_id = $1 AND id = $2 AND collection_id = $3 FOR UPDATE`), tx.Org().UUID(), rec.UUID(), c.ID.UUID()).Scan(r.dest()...)
	if errors.Is(err, tenant.ErrNoRows) {
		return r, errNoRecord
	}
	return r, err
}

func stale(have int64, want uint64) error {
	if uint64(have) != want {
		return fault.At(fault.Stale, "If-Match", "stale", "the record has changed since that version")
	}
	return nil
}

func (s *Records) update(ctx context.Context, tx *tenant.Tx, in updateIn) (feature.Item[Record], error) {
	tx.Touch(in.ID)
	c, err := s.load(ctx, tx, in.Kind)
	if err != nil {
		return feature.Item[Record]{}, err
	}
	if err := accept(c, in.Body.Content, "/content"); err != nil {
		return feature.Item[Record]{}, err
	}
	old, err := s.lock(ctx, tx, c, in.ID)
	if err != nil {
		return feature.Item[Record]{}, err
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
	next.body, err = tx.Seal(ctx, tableRecord, old.id, uint64(next.version), seal.Section{Name: sectionContent, Leaf: keytree.Leaf(old.leaf), Plain: seal.NewSecret(in.Body.Content)})
	if err != nil {
		return feature.Item[Record]{}, err
	}
	if _, err := tx.Exec(ctx, tenant.Lit(`WITH kept AS (
  INSERT INTO record_version (org_id, record_id, version, action, body, owner_id, visibility, at, by)
  VALUES ($1, $2, $3, $4, $5, $6, $7::text::"char", $8, $9)
) UPDATE record SET version = $10, body = $11, visibility = $12::text::"char", updated_at = $13, updated_by = $14 WHERE org_id = $1 AND id = $2`),
		tx.Org().UUID(), old.id, old.version, actionOf(old.version), old.body, old.owner, old.visibility, old.updated, old.updatedBy,
		next.version, next.body, next.visibility, next.updated, next.updatedBy); err != nil {
		return feature.Item[Record]{}, err
	}
	r, err := next.open(ctx, tx, c.Kind)
	return feature.Item[Record]{ETag: feature.VersionTag(r.Version), Body: r}, err
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
	old, err := s.lock(ctx, tx, c, in.ID)
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
			Content: json.RawMessage("{}"), Visibility: spelled(r.visibility)}}, nil
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
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT h.version, h.body, h.at, h.by FROM (
  SELECT r.version, r.body, r.updated_at AS at, r.updated_by AS by FROM record r WHERE r.org_id = $1 AND r.id = $2 AND r.collection_id = $3
  UNION ALL
  SELECT v.version, v.body, v.at, v.by FROM record_version v JOIN record r ON r.org_id = v.org_id AND r.id = v.record_id
  WHERE v.org_id = $1 AND v.record_id = $2 AND r.collection_id = $3
) h WHERE h.version < $4 ORDER BY h.version DESC LIMIT $5`), tx.Org().UUID(), in.ID.UUID(), c.ID.UUID(), before, in.Limit+1)
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
	if len(items) > in.Limit {
		items = items[:in.Limit]
		next, err = tx.SealCursor(ctx, query, binary.BigEndian.AppendUint64(nil, items[in.Limit-1].Version))
	}
	return feature.List[Version]{Body: feature.NewPage(items, next)}, err
}
