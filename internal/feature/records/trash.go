package records

import (
	"context"
	"encoding/binary"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/store/tenant"
)

// The trash holds deleted records and files until their undo window ends.
// Somebody sees there what she could take back: her own, and with the right to
// delete anybody's also that of others, as far as it is not private. Who may
// not open a record sees no title either.

// trashOps are the operations of this file.
func (s *Records) trashOps() []feature.Op {
	return []feature.Op{
		feature.Handle(feature.Meta{ID: "list-trash", Method: http.MethodGet, Path: "/v1/orgs/{org}/trash", Action: policy.TrashList,
			Summary: "List what can be taken back out of the trash, the latest first"}, s.listTrash),
	}
}

// Trashed is a deleted record or file.
type Trashed struct {
	ID         string    `json:"id" doc:"A record or a file."`
	Kind       string    `json:"kind" enum:"record,file"`
	Collection string    `json:"collection" doc:"Of a record: the collection's name, as its path has it."`
	Title      string    `json:"title" doc:"A record's title, a file's name; empty for who may not open it."`
	Owner      id.Person `json:"owner"`
	DeletedAt  time.Time `json:"deleted_at"`
	DeletedBy  id.Person `json:"deleted_by"`
	PurgeAfter time.Time `json:"purge_after" doc:"Until then it can be taken back."`
}

type listTrashIn struct {
	OrgPath
	feature.Listing
	Kind string `query:"kind" enum:"record,file" doc:"Only records, or only files."`
}

// trashRow is a row of the trash as its table holds it.
type trashRow struct {
	id              uuid.UUID
	kind            string
	collection      *uuid.UUID
	version         int64
	body            seal.Sealed
	owner           *uuid.UUID
	deleted, purged time.Time
	deletedBy       uuid.UUID
}

func (s *Records) listTrash(ctx context.Context, tx *tenant.Tx, in listTrashIn) (feature.List[Trashed], error) {
	query := "trash/" + in.Kind
	before, last := time.Unix(1<<40, 0), uuid.Max
	b, err := tx.OpenCursor(ctx, query, in.Cursor)
	if err != nil {
		return feature.List[Trashed]{}, err
	}
	if len(b) == 8+16 {
		before = time.UnixMicro(int64(binary.BigEndian.Uint64(b)))
		copy(last[:], b[8:])
	}
	found, more, err := s.trashPage(ctx, tx, in, before, last)
	if err != nil {
		return feature.List[Trashed]{}, err
	}
	items, err := s.openTrash(ctx, tx, found)
	if err != nil {
		return feature.List[Trashed]{}, err
	}
	next := ""
	if more {
		end := found[len(found)-1]
		next, err = tx.SealCursor(ctx, query, append(binary.BigEndian.AppendUint64(nil, uint64(end.deleted.UnixMicro())), end.id[:]...))
	}
	return feature.List[Trashed]{Body: feature.NewPage(items, next)}, err
}

// trashPage reads one page. It is short where its rows are large, as a list of
// records is.
func (s *Records) trashPage(ctx context.Context, tx *tenant.Tx, in listTrashIn, before time.Time, last uuid.UUID) (out []trashRow, more bool, err error) {
	n := limit(in.Listing)
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT s.id, s.kind, s.collection_id, s.version, s.body, s.owner_id, s.deleted_at, s.deleted_by, s.purge_after, s.found
 FROM (SELECT p.id, p.kind, p.collection_id, p.version, p.body, p.owner_id, p.deleted_at, p.deleted_by, p.purge_after,
   count(*) OVER () AS found, sum(octet_length(p.body)) OVER (ORDER BY p.deleted_at DESC, p.id DESC) - octet_length(p.body) AS before
  FROM (SELECT id, kind, collection_id, version, body, owner_id, deleted_at, deleted_by, purge_after FROM trash
   WHERE org_id = $1 AND purge_after > $2 AND ($3 = '' OR kind = $3) AND (deleted_at, id) < ($4, $5)
   AND (created_by = $6 OR owner_id = $6 OR CASE kind WHEN 'record' THEN $7::bool ELSE $8::bool END)
   ORDER BY deleted_at DESC, id DESC LIMIT $9) p) s
 WHERE s.before < $10 ORDER BY s.deleted_at DESC, s.id DESC`), tx.Org().UUID(), tx.Now(), in.Kind, before, last, tx.Actor().Person().UUID(),
		tx.May(policy.RecordDeleteAny), tx.May(policy.FileDeleteAny), n+1, maxPageBytes)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	var found int64
	for rows.Next() {
		var r trashRow
		if err := rows.Scan(&r.id, &r.kind, &r.collection, &r.version, &r.body, &r.owner, &r.deleted, &r.deletedBy, &r.purged, &found); err != nil {
			return nil, false, err
		}
		if len(out) < n {
			out = append(out, r)
		}
	}
	return out, found > int64(len(out)), rows.Err()
}

func (s *Records) openTrash(ctx context.Context, tx *tenant.Tx, found []trashRow) ([]Trashed, error) {
	wanted := map[uuid.UUID]bool{}
	for _, r := range found {
		if r.collection != nil {
			wanted[*r.collection] = true
		}
	}
	kinds, err := s.byID(ctx, tx, wanted)
	if err != nil {
		return nil, err
	}
	items := make([]Trashed, len(found))
	for i, r := range found {
		ref := id.Ref(id.FileOf(r.id))
		if r.kind == "record" {
			ref = id.RecordOf(r.id)
		}
		tx.Touch(ref)
		t := Trashed{ID: ref.String(), Kind: r.kind, DeletedAt: r.deleted.UTC(), DeletedBy: id.PersonOf(r.deletedBy), PurgeAfter: r.purged.UTC()}
		if r.owner != nil {
			t.Owner = id.PersonOf(*r.owner)
		}
		far := farEnd{collection: r.collection}
		if r.collection != nil {
			t.Collection = kinds[*r.collection].Kind
			far.record = stored{&r.version, r.body}
		} else {
			far.file = stored{&r.version, r.body}
		}
		if t.Title, err = s.farTitle(ctx, tx, ref, far, kinds); err != nil {
			return nil, err
		}
		items[i] = t
	}
	return items, nil
}

// forgetRequests removes the keys of repeatable requests that are past their
// time. Their rows are the organization's, so any member's job removes all.
func forgetRequests(ctx context.Context, s *tenant.Store, r tenant.Request, _ string) error {
	_, _, err := tenant.Do(ctx, s, r, func(ctx context.Context, tx *tenant.Tx) (struct{}, error) { return struct{}{}, tenant.Forget(ctx, tx) })
	return err
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
			Content: feature.Object("{}"), Visibility: feature.Visibility(r.visibility)}}, nil
	}
	out, err := r.open(ctx, tx, c)
	return feature.Item[Record]{ETag: feature.VersionTag(out.Version), Body: out}, err
}
