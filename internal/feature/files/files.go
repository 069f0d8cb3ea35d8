package files

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"reflect"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/blob"
	"strongroom/internal/feature"
	"strongroom/internal/store/tenant"
)

const (
	tableFile    = "file"
	sectionName  = "name"
	sectionMedia = "media_type"
)

// Files is the feature's state.
type Files struct {
	tenant *tenant.Store
	blobs  blob.Store
	log    *slog.Logger
}

// New returns the feature over a store of objects.
func New(store *tenant.Store, blobs blob.Store, log *slog.Logger) *Files {
	if log == nil {
		log = slog.Default()
	}
	return &Files{tenant: store, blobs: blobs, log: log}
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

var errNoFile = fault.New(fault.NotFound, "no such file")

// row is a file as its table holds it.
type row struct {
	id                   uuid.UUID
	version, leaf, size  int64
	body                 seal.Sealed
	owner                *uuid.UUID
	visibility           string
	created, updated     time.Time
	createdBy, updatedBy uuid.UUID
}

func (r *row) dest() []any {
	return []any{&r.id, &r.version, &r.leaf, &r.size, &r.body, &r.owner, &r.visibility, &r.created, &r.createdBy, &r.updated, &r.updatedBy}
}

func place(org id.Org, file uuid.UUID, version int64) seal.Place {
	return seal.Place{Org: org, Table: tableFile, Row: file, Version: uint64(version)}
}

// open opens what is sealed of a file's description.
func (r *row) open(ctx context.Context, tx *tenant.Tx) (File, error) {
	sections, err := tx.Open(ctx, tableFile, r.id, uint64(r.version), r.body)
	if err != nil {
		return File{}, err
	}
	out := File{ID: id.FileOf(r.id), Version: uint64(r.version), Size: r.size, Visibility: feature.Visibility(r.visibility),
		CreatedAt: r.created.UTC(), CreatedBy: id.PersonOf(r.createdBy), UpdatedAt: r.updated.UTC(), UpdatedBy: id.PersonOf(r.updatedBy)}
	if r.owner != nil {
		out.Owner = id.PersonOf(*r.owner)
	}
	for _, s := range sections {
		switch {
		case s.Erased:
			return File{}, seal.ErrErased
		case s.Name == sectionName:
			out.Name = string(s.Plain.Reveal())
		case s.Name == sectionMedia:
			out.MediaType = string(s.Plain.Reveal())
		}
	}
	return out, nil
}

func sealDescription(ctx context.Context, tx *tenant.Tx, file uuid.UUID, version int64, leaf keytree.Leaf, name, media string) (seal.Sealed, error) {
	return tx.Seal(ctx, tableFile, file, uint64(version),
		seal.Section{Name: sectionName, Leaf: leaf, Plain: seal.NewSecretString(name)},
		seal.Section{Name: sectionMedia, Leaf: leaf, Plain: seal.NewSecretString(media)})
}

// Title is the name of a file as another feature's statement found it.
func Title(ctx context.Context, tx *tenant.Tx, row feature.Sealed) (string, error) {
	name, err := seal.OpenOne(ctx, tx.Keys(), place(tx.Org(), row.Row, row.Version), row.Body, sectionName)
	if errors.Is(err, seal.ErrErased) {
		return "", nil
	}
	return string(name.Reveal()), err
}

// read describes a stored file and names it in the event.
func (f *Files) read(ctx context.Context, tx *tenant.Tx, file id.File) (File, error) {
	tx.Touch(file)
	return f.fetch(ctx, tx, file)
}

// fetch describes a stored file. An erased one is gone.
func (f *Files) fetch(ctx context.Context, tx *tenant.Tx, file id.File) (File, error) {
	var r row
	err := tx.QueryRow(ctx, tenant.Lit(`SELECT id, version, leaf, size, body, owner_id, visibility::text, created_at, created_by, updated_at, updated_by
 FROM file WHERE org_id = $1 AND id = $2 AND state = 'stored'`), tx.Org().UUID(), file.UUID()).Scan(r.dest()...)
	if errors.Is(err, tenant.ErrNoRows) {
		return File{}, errNoFile
	}
	if err != nil {
		return File{}, err
	}
	return gone(r.open(ctx, tx))
}

// gone answers for what was erased as for what never was.
func gone[T any](v T, err error) (T, error) {
	if errors.Is(err, seal.ErrErased) {
		return v, errNoFile
	}
	return v, err
}

func (f *Files) get(ctx context.Context, tx *tenant.Tx, in getIn) (feature.Item[File], error) {
	file, err := f.read(ctx, tx, in.ID)
	return feature.Item[File]{ETag: feature.VersionTag(file.Version), Body: file}, err
}

// scan reads one page of the files behind a position, all or those that a
// record links to, leaving erased ones out.
// It returns the position behind the page, which is not the last file's where
// that was erased; more says whether there may be another page.
func (f *Files) scan(ctx context.Context, tx *tenant.Tx, from id.Record, after uuid.UUID, limit int) (files []File, last uuid.UUID, more bool, err error) {
	var rows *tenant.Rows
	if from.IsZero() {
		rows, err = tx.Query(ctx, tenant.Lit(`SELECT id, version, leaf, size, body, owner_id, visibility::text, created_at, created_by, updated_at, updated_by
 FROM file WHERE org_id = $1 AND id > $2 AND state = 'stored' ORDER BY id LIMIT $3`), tx.Org().UUID(), after, limit+1)
	} else {
		rows, err = tx.Query(ctx, tenant.Lit(`SELECT f.id, f.version, f.leaf, f.size, f.body, f.owner_id, f.visibility::text, f.created_at, f.created_by, f.updated_at, f.updated_by
 FROM file f WHERE f.org_id = $1 AND f.id > $2 AND f.state = 'stored'
 AND f.id IN (SELECT l.to_id FROM link l JOIN record r ON r.org_id = l.org_id AND r.id = l.from_id WHERE l.org_id = $1 AND l.from_id = $4 AND l.to_kind = 'file')
 ORDER BY f.id LIMIT $3`), tx.Org().UUID(), after, limit+1, from.UUID())
	}
	if err != nil {
		return nil, after, false, err
	}
	defer rows.Close()
	last = after
	for n := 0; rows.Next(); n++ {
		if n == limit {
			return files, last, true, nil
		}
		var r row
		if err := rows.Scan(r.dest()...); err != nil {
			return nil, after, false, err
		}
		last = r.id
		file, err := r.open(ctx, tx)
		if errors.Is(err, seal.ErrErased) {
			continue
		}
		if err != nil {
			return nil, after, false, err
		}
		tx.Touch(file.ID)
		files = append(files, file)
	}
	return files, last, false, rows.Err()
}

func (f *Files) list(ctx context.Context, tx *tenant.Tx, in listIn) (feature.List[File], error) {
	query := "files"
	if !in.LinkedFrom.IsZero() {
		query += "/" + in.LinkedFrom.String()
		tx.Touch(in.LinkedFrom)
	}
	after := uuid.Nil
	b, err := tx.OpenCursor(ctx, query, in.Cursor)
	if err != nil {
		return feature.List[File]{}, err
	}
	if len(b) == len(after) {
		copy(after[:], b)
	}
	files, last, more, err := f.scan(ctx, tx, in.LinkedFrom, after, in.Limit)
	if err != nil {
		return feature.List[File]{}, err
	}
	next := ""
	if more {
		next, err = tx.SealCursor(ctx, query, last[:])
	}
	return feature.List[File]{Body: feature.NewPage(files, next)}, err
}

// history lists the stored versions of a file that the caller may see.
func (f *Files) history(ctx context.Context, tx *tenant.Tx, in historyIn) (feature.List[Version], error) {
	tx.Touch(in.ID)
	query := "file-history/" + in.ID.String()
	before := int64(1) << 62
	b, err := tx.OpenCursor(ctx, query, in.Cursor)
	if err != nil {
		return feature.List[Version]{}, err
	}
	if len(b) == 8 {
		before = int64(binary.BigEndian.Uint64(b))
	}
	// The join is what hides a private file's versions: they have no owner.
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT v.version, v.size, v.at, v.by FROM file_version v JOIN file f ON f.org_id = v.org_id AND f.id = v.file_id
 WHERE v.org_id = $1 AND v.file_id = $2 AND v.state = 'stored' AND f.state = 'stored' AND v.version < $3 ORDER BY v.version DESC LIMIT $4`),
		tx.Org().UUID(), in.ID.UUID(), before, in.Limit+1)
	if err != nil {
		return feature.List[Version]{}, err
	}
	defer rows.Close()
	var items []Version
	for rows.Next() {
		var version int64
		var v Version
		var by uuid.UUID
		if err := rows.Scan(&version, &v.Size, &v.At, &by); err != nil {
			return feature.List[Version]{}, err
		}
		v.Version, v.At, v.By = uint64(version), v.At.UTC(), id.PersonOf(by)
		items = append(items, v)
	}
	if err := rows.Err(); err != nil {
		return feature.List[Version]{}, err
	}
	if len(items) == 0 && in.Cursor == "" {
		return feature.List[Version]{}, errNoFile
	}
	next := ""
	if len(items) > in.Limit {
		items = items[:in.Limit]
		next, err = tx.SealCursor(ctx, query, binary.BigEndian.AppendUint64(nil, items[in.Limit-1].Version))
	}
	return feature.List[Version]{Body: feature.NewPage(items, next)}, err
}

// lock reads a stored file and holds it for a change.
func (f *Files) lock(ctx context.Context, tx *tenant.Tx, file id.File, match uint64) (row, error) {
	tx.Touch(file)
	var r row
	err := tx.QueryRow(ctx, tenant.Lit(`SELECT id, version, leaf, size, body, owner_id, visibility::text, created_at, created_by, updated_at, updated_by
 FROM file WHERE org_id = $1 AND id = $2 AND state = 'stored' FOR UPDATE`), tx.Org().UUID(), file.UUID()).Scan(r.dest()...)
	switch {
	case errors.Is(err, tenant.ErrNoRows):
		return r, errNoFile
	case err != nil:
		return r, err
	case uint64(r.version) != match:
		return r, errStale
	}
	return r, nil
}

var errStale = fault.At(fault.Stale, "If-Match", "stale", "the file has changed since that version")

// delete moves a file to the trash. Its objects stay: they are immutable, and
// collected once nothing refers to them.
func (f *Files) delete(ctx context.Context, tx *tenant.Tx, in deleteIn) (feature.NoContent, error) {
	r, err := f.lock(ctx, tx, in.ID, in.Match.Version())
	if err != nil {
		return feature.NoContent{}, err
	}
	me := tx.Actor().Person().UUID()
	if r.createdBy != me && (r.owner == nil || *r.owner != me) && !tx.May(policy.FileDeleteAny) {
		return feature.NoContent{}, fault.New(fault.Denied, "your role deletes only what is your own")
	}
	_, err = tx.Exec(ctx, tenant.Lit(`WITH gone AS (
  DELETE FROM file WHERE org_id = $1 AND id = $2
  RETURNING org_id, id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by
) INSERT INTO trash (org_id, id, kind, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by, deleted_at, deleted_by, purge_after)
  SELECT org_id, id, 'file', version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by, $3, $4, $5 FROM gone`),
		tx.Org().UUID(), in.ID.UUID(), tx.Now(), me, tx.Now().Add(feature.Undo))
	return feature.NoContent{}, err
}

// restore takes a file back out of the trash, with all its versions: the trash
// keeps what is sealed of it, its versions say the rest.
func (f *Files) restore(ctx context.Context, tx *tenant.Tx, in getIn) (feature.Item[File], error) {
	tx.Touch(in.ID)
	var version int64
	var owner *uuid.UUID
	var createdBy uuid.UUID
	var visibility string
	err := tx.QueryRow(ctx, tenant.Lit(`SELECT version, owner_id, created_by, visibility::text FROM trash WHERE org_id = $1 AND id = $2 AND kind = 'file' AND purge_after > $3 FOR UPDATE`),
		tx.Org().UUID(), in.ID.UUID(), tx.Now()).Scan(&version, &owner, &createdBy, &visibility)
	if errors.Is(err, tenant.ErrNoRows) {
		return feature.Item[File]{}, fault.New(fault.NotFound, "no such file in the trash")
	}
	if err != nil {
		return feature.Item[File]{}, err
	}
	me := tx.Actor().Person().UUID()
	if createdBy != me && (owner == nil || *owner != me) && !tx.May(policy.FileDeleteAny) {
		return feature.Item[File]{}, fault.New(fault.Denied, "your role restores only what is your own")
	}
	n, err := tx.Exec(ctx, tenant.Lit(`WITH back AS (
  DELETE FROM trash WHERE org_id = $1 AND id = $2
  RETURNING org_id, id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by
) INSERT INTO file (org_id, id, version, leaf, generation, size, state, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
  SELECT b.org_id, b.id, b.version, b.leaf, v.generation, v.size, 'stored', b.body, b.owner_id, b.visibility, b.created_at, b.created_by, b.updated_at, b.updated_by
  FROM back b JOIN file_version v ON v.org_id = b.org_id AND v.file_id = b.id AND v.version = b.version AND v.state = 'stored'`), tx.Org().UUID(), in.ID.UUID())
	if err == nil && n != 1 {
		err = fault.Wrap(fault.Internal, errors.New("files: a file in the trash has no version"), "the file cannot be taken back")
	}
	if err != nil {
		return feature.Item[File]{}, err
	}
	// An OrgAdmin restores without seeing: only who may read gets its name.
	if !tx.May(policy.FileRead) {
		return feature.Item[File]{ETag: feature.VersionTag(uint64(version)), Body: File{ID: in.ID, Version: uint64(version), Visibility: feature.Visibility(visibility)}}, nil
	}
	file, err := f.fetch(ctx, tx, in.ID)
	return feature.Item[File]{ETag: feature.VersionTag(file.Version), Body: file}, err
}

// erase names the leaves of files, the deleted ones included.
func (f *Files) erase(ctx context.Context, tx *tenant.Tx, ids []id.Ref) ([]keytree.Leaf, error) {
	var wanted [][16]byte
	for _, ref := range ids {
		if file, ok := ref.(id.File); ok {
			tx.Touch(file)
			wanted = append(wanted, file.UUID())
		}
	}
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT leaf FROM file WHERE org_id = $1 AND id = ANY($2::uuid[])
 UNION SELECT leaf FROM trash WHERE org_id = $1 AND kind = 'file' AND id = ANY($2::uuid[])`), tx.Org().UUID(), wanted)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var leaves []keytree.Leaf
	for rows.Next() {
		var leaf int64
		if err := rows.Scan(&leaf); err != nil {
			return nil, err
		}
		leaves = append(leaves, keytree.Leaf(leaf))
	}
	return leaves, rows.Err()
}

// describe gives a file its words: its name.
func (f *Files) describe(ctx context.Context, tx *tenant.Tx, ref id.Ref) (feature.Description, error) {
	file, err := f.read(ctx, tx, id.FileOf(ref.UUID()))
	if err != nil {
		return feature.Description{}, err
	}
	return feature.Description{Kind: "file", Title: file.Name, Path: "/files/" + file.ID.String()}, nil
}
