package files

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/blob"
	"strongroom/internal/feature"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
)

const (
	// SweepJob clears away an upload that never ended.
	SweepJob = "files.sweep"
	// maxUpload bounds the time of one upload, well below sweepAfter: so the
	// sweep never meets an upload that is still alive.
	maxUpload  = 12 * time.Hour
	sweepAfter = 24 * time.Hour
)

// Upload is the bytes of a file on their way in, and what they are called.
type Upload struct {
	Name       string // required for a new file
	MediaType  string // "": application/octet-stream, or what the file had
	Visibility string // of a new file: organization (default) or private
	Size       int64  // -1: not known before
	Body       io.Reader
	Key        feature.IdempotencyKey
}

// pending is an upload between its two transactions.
type pending struct {
	file       id.File
	version    int64
	replaces   int64 // the version that the caller has seen; 0: a new file
	leaf       keytree.Leaf
	generation uint32
	key        [32]byte
	name       string
	media      string
	once       *tenant.Once
	earlier    bool // an earlier request under the same key did all of it
}

func (p *pending) object(org id.Org) blob.Key {
	return blob.Key{Org: org, File: p.file, Version: uint64(p.version)}
}

// Create stores a new file. It hands the receipt of the opening event to
// recorded before it reads the first byte.
func (f *Files) Create(ctx context.Context, r tenant.Request, u Upload, recorded func(audit.Receipt)) (File, audit.Receipt, error) {
	return f.run(ctx, r, u, recorded, func(ctx context.Context, tx *tenant.Tx) (*pending, error) { return f.reserve(ctx, tx, u) })
}

// Replace stores a new version of a file whose newest version is match.
func (f *Files) Replace(ctx context.Context, r tenant.Request, file id.File, match uint64, u Upload, recorded func(audit.Receipt)) (File, audit.Receipt, error) {
	return f.run(ctx, r, u, recorded, func(ctx context.Context, tx *tenant.Tx) (*pending, error) {
		return f.reserveVersion(ctx, tx, file, match, u)
	})
}

func (f *Files) run(ctx context.Context, r tenant.Request, u Upload, recorded func(audit.Receipt), reserve func(context.Context, *tenant.Tx) (*pending, error)) (File, audit.Receipt, error) {
	r.Action = policy.FileUpload
	return tenant.Stream(ctx, f.tenant, r, tenant.Steps[*pending, File]{
		Open: reserve,
		Bytes: func(ctx context.Context, p *pending, receipt audit.Receipt) (map[string]int64, error) {
			recorded(receipt)
			if p.earlier {
				return nil, nil
			}
			ctx, cancel := context.WithTimeout(ctx, maxUpload)
			defer cancel()
			n, err := f.store(ctx, r.Org, p, u)
			return map[string]int64{"bytes": n}, err
		},
		Close: func(ctx context.Context, tx *tenant.Tx, p *pending, failure error) (File, error) {
			return f.settle(ctx, tx, p, failure)
		},
	})
}

// reserve makes room for a new file: invisible until it is stored.
func (f *Files) reserve(ctx context.Context, tx *tenant.Tx, u Upload) (*pending, error) {
	if u.Name == "" {
		return nil, fault.At(fault.Malformed, "Content-Disposition", "required", "a file needs a name: attachment; filename*=UTF-8''…")
	}
	p := &pending{file: id.NewFile(), version: 1, name: u.Name, media: u.MediaType}
	if p.media == "" {
		p.media = octets
	}
	if !u.Key.IsZero() {
		once, earlier, err := tenant.Recall(ctx, tx, u.Key.Key(), u.fingerprint())
		if err != nil {
			return nil, err
		}
		if earlier != nil {
			p.file, p.earlier = id.FileOf(earlier.ID), true
			tx.Touch(p.file)
			return p, nil
		}
		p.once = &once
	}
	tx.Touch(p.file)
	leaf, err := tx.NewLeaf(ctx)
	if err != nil {
		return nil, err
	}
	p.leaf = leaf
	if err := p.takeKey(ctx, tx); err != nil {
		return nil, err
	}
	body, err := sealDescription(ctx, tx, p.file.UUID(), p.version, p.leaf, p.name, p.media)
	if err != nil {
		return nil, err
	}
	if _, err = tx.Exec(ctx, tenant.Lit(`INSERT INTO file (org_id, id, version, leaf, generation, size, state, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
  VALUES ($1, $2, 1, $3, $4, 0, 'pending', $7, $6, $8::text::"char", $5, $6, $5, $6)`),
		tx.Org().UUID(), p.file.UUID(), int64(p.leaf), int32(p.generation), tx.Now(), tx.Actor().Person().UUID(), body, feature.Sight(u.Visibility)); err != nil {
		return nil, err
	}
	return p, p.addVersion(ctx, tx, feature.Sight(u.Visibility))
}

// addVersion writes the row of a version on its way. Its policy asks for the
// file, so that stands already.
func (p *pending) addVersion(ctx context.Context, tx *tenant.Tx, sight string) error {
	_, err := tx.Exec(ctx, tenant.Lit(`INSERT INTO file_version (org_id, file_id, version, leaf, generation, size, state, at, by, visibility) VALUES ($1, $2, $3, $4, $5, 0, 'pending', $6, $7, $8::text::"char")`),
		tx.Org().UUID(), p.file.UUID(), p.version, int64(p.leaf), int32(p.generation), tx.Now(), tx.Actor().Person().UUID(), sight)
	return err
}

// reserveVersion makes room for another version of a file. Several uploads of
// one file may be under way: the first to finish wins, the others are stale.
func (f *Files) reserveVersion(ctx context.Context, tx *tenant.Tx, file id.File, match uint64, u Upload) (*pending, error) {
	r, err := f.lock(ctx, tx, file, match)
	if err != nil {
		return nil, err
	}
	now, err := gone(r.open(ctx, tx))
	if err != nil {
		return nil, err
	}
	p := &pending{file: file, replaces: r.version, leaf: keytree.Leaf(r.leaf), name: u.Name, media: u.MediaType}
	if p.name == "" {
		p.name = now.Name
	}
	if p.media == "" {
		p.media = now.MediaType
	}
	// The row is locked, so no two uploads take the same number.
	if err := tx.QueryRow(ctx, tenant.Lit(`SELECT max(version) + 1 FROM file_version WHERE org_id = $1 AND file_id = $2`),
		tx.Org().UUID(), file.UUID()).Scan(&p.version); err != nil {
		return nil, err
	}
	if err := p.takeKey(ctx, tx); err != nil {
		return nil, err
	}
	return p, p.addVersion(ctx, tx, r.visibility)
}

// takeKey fetches the key of the bytes, so that their way needs no key
// service, and asks for the sweep, should this be the last that is heard.
func (p *pending) takeKey(ctx context.Context, tx *tenant.Tx) (err error) {
	if p.generation, err = tx.Keys().Generation(ctx); err != nil {
		return err
	}
	tx.Enqueue(tenant.Job{Kind: SweepJob, Ref: p.file, At: tx.Now().Add(sweepAfter + time.Minute)})
	p.key, err = seal.FileKey(ctx, tx.Keys(), place(tx.Org(), p.file.UUID(), p.version), p.generation, p.leaf)
	return err
}

// store moves the bytes into a sealed, durable object.
func (f *Files) store(ctx context.Context, org id.Org, p *pending, u Upload) (n int64, err error) {
	w, err := f.blobs.Create(ctx, p.object(org))
	if err != nil {
		return 0, err
	}
	defer func() {
		if aerr := w.Abort(); aerr != nil {
			f.log.Error("an unfinished object could not be removed; the next start removes it", "err", aerr)
		}
	}()
	s, err := blob.SealWriter(w, p.key)
	if err != nil {
		return 0, err
	}
	n, err = s.ReadFrom(within{ctx, u.Body})
	switch {
	case err != nil:
		return n, err
	case u.Size >= 0 && n != u.Size:
		return n, fault.New(fault.Malformed, "the body has another length than was announced")
	}
	if err := s.Close(); err != nil {
		return n, err
	}
	return n, w.Commit()
}

// within ends a body with its context: a reader that is not a connection
// knows of none.
type within struct {
	ctx context.Context
	r   io.Reader
}

func (w within) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.r.Read(p)
}

// settle commits what the bytes became. Only where they failed does it remove
// anything: after a success whose commit is in doubt the object must stay, and
// the sweep decides by what the rows say.
func (f *Files) settle(ctx context.Context, tx *tenant.Tx, p *pending, failure error) (File, error) {
	switch {
	case p.earlier:
		return f.read(ctx, tx, p.file)
	case failure != nil:
		tx.Touch(p.file)
		return File{}, f.withdraw(ctx, tx, p)
	case p.replaces == 0:
		return f.settleNew(ctx, tx, p)
	}
	return f.settleVersion(ctx, tx, p)
}

// size is what the object itself says: the row never differs from it.
func (f *Files) size(ctx context.Context, org id.Org, p *pending) (int64, error) {
	o, err := f.blobs.Open(ctx, p.object(org))
	if err != nil {
		return 0, err
	}
	defer func() { _ = o.Close() }()
	return blob.PlainSize(o.Size())
}

var errSwept = fault.New(fault.Conflict, "the upload took too long and was cleared away")

func (f *Files) settleNew(ctx context.Context, tx *tenant.Tx, p *pending) (File, error) {
	size, err := f.size(ctx, tx.Org(), p)
	if err != nil {
		return File{}, err
	}
	n, err := tx.Exec(ctx, tenant.Lit(`WITH v AS (
  UPDATE file_version SET state = 'stored', size = $3 WHERE org_id = $1 AND file_id = $2 AND version = 1 AND state = 'pending' RETURNING version
) UPDATE file SET state = 'stored', size = $3 WHERE org_id = $1 AND id = $2 AND state = 'pending' AND EXISTS (SELECT FROM v)`),
		tx.Org().UUID(), p.file.UUID(), size)
	switch {
	case err != nil:
		return File{}, err
	case n == 0:
		tx.Touch(p.file)
		return File{}, errSwept
	}
	if p.once != nil {
		if err := tenant.Remember(ctx, tx, *p.once, tenant.Result{ID: p.file.UUID(), Version: 1}); err != nil {
			return File{}, err
		}
	}
	return f.read(ctx, tx, p.file)
}

func (f *Files) settleVersion(ctx context.Context, tx *tenant.Tx, p *pending) (File, error) {
	size, err := f.size(ctx, tx.Org(), p)
	if err != nil {
		return File{}, err
	}
	if _, err := f.lock(ctx, tx, p.file, uint64(p.replaces)); err != nil {
		return File{}, err
	}
	body, err := sealDescription(ctx, tx, p.file.UUID(), p.version, p.leaf, p.name, p.media)
	if err != nil {
		return File{}, err
	}
	n, err := tx.Exec(ctx, tenant.Lit(`WITH v AS (
  UPDATE file_version SET state = 'stored', size = $4 WHERE org_id = $1 AND file_id = $2 AND version = $3 AND state = 'pending' RETURNING version
) UPDATE file SET version = $3, generation = $5, size = $4, body = $6, updated_at = $7, updated_by = $8 WHERE org_id = $1 AND id = $2 AND EXISTS (SELECT FROM v)`),
		tx.Org().UUID(), p.file.UUID(), p.version, size, int32(p.generation), body, tx.Now(), tx.Actor().Person().UUID())
	switch {
	case err != nil:
		return File{}, err
	case n == 0:
		return File{}, errSwept
	}
	return f.fetch(ctx, tx, p.file)
}

// withdraw takes back what reserve wrote. Bytes that did not become an object
// left nothing; an object whose upload failed all the same is removed first.
func (f *Files) withdraw(ctx context.Context, tx *tenant.Tx, p *pending) error {
	if err := f.blobs.Delete(ctx, p.object(tx.Org())); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, tenant.Lit(`WITH f AS (
  DELETE FROM file WHERE org_id = $1 AND id = $2 AND version = $3 AND state = 'pending'
) DELETE FROM file_version WHERE org_id = $1 AND file_id = $2 AND version = $3 AND state = 'pending'`),
		tx.Org().UUID(), p.file.UUID(), p.version)
	return err
}

// sweep clears away the uploads of a file that never ended. Objects go before
// rows: what a crash leaves in between is swept again.
func (f *Files) sweep(ctx context.Context, s *tenant.Store, r tenant.Request, ref string) error {
	file, err := id.ParseFile(ref)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "the job names no file")
	}
	_, _, err = tenant.Do(ctx, s, r, func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		return struct{}{}, f.clear(ctx, tx, file, tx.Now().Add(-sweepAfter))
	})
	return err
}

func (f *Files) clear(ctx context.Context, tx *tenant.Tx, file id.File, before time.Time) error {
	tx.Touch(file)
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT version FROM file_version WHERE org_id = $1 AND file_id = $2 AND state = 'pending' AND at < $3 FOR UPDATE`),
		tx.Org().UUID(), file.UUID(), before)
	if err != nil {
		return err
	}
	var versions []int64
	for rows.Next() {
		var v int64
		if err = rows.Scan(&v); err != nil {
			break
		}
		versions = append(versions, v)
	}
	rows.Close()
	if err = errors.Join(err, rows.Err()); err != nil {
		return err
	}
	for _, v := range versions {
		if err := f.withdraw(ctx, tx, &pending{file: file, version: v}); err != nil {
			return err
		}
	}
	tx.Count("versions", int64(len(versions)))
	return nil
}

// fingerprint tells a repeated upload from another one under the same key. The
// bytes are not in it: they would have to be read before anything is known.
func (u Upload) fingerprint() []byte {
	h := sha256.New()
	for _, part := range []string{string(u.Key.Fingerprint()), u.Name, u.MediaType, u.Visibility} {
		_ = binary.Write(h, binary.BigEndian, uint64(len(part)))
		_, _ = io.WriteString(h, part)
	}
	_ = binary.Write(h, binary.BigEndian, u.Size)
	return h.Sum(nil)
}

// incoming reads what the request's head says of the bytes.
func incoming(x *feature.Exchange, disposition string) (u Upload, err error) {
	u = Upload{Size: x.HTTP.ContentLength, Body: x.HTTP.Body}
	if u.Name, err = nameOf(disposition); err != nil {
		return u, err
	}
	if u.MediaType, err = mediaOf(x.HTTP.Header.Get("Content-Type")); err != nil {
		return u, err
	}
	if u.Size > blob.MaxSize {
		return u, fault.New(fault.TooLarge, "a file has at most %d bytes", blob.MaxSize)
	}
	return u, nil
}

func (f *Files) upload(ctx context.Context, x *feature.Exchange, in uploadIn) error {
	u, err := incoming(x, in.Disposition)
	if err != nil {
		return err
	}
	u.Key, u.Visibility = in.Key, in.Visibility
	file, receipt, err := f.Create(ctx, x.Request, u, x.Recorded)
	return answer(x, http.StatusCreated, file, receipt, err)
}

func (f *Files) replace(ctx context.Context, x *feature.Exchange, in replaceIn) error {
	u, err := incoming(x, in.Disposition)
	if err != nil {
		return err
	}
	file, receipt, err := f.Replace(ctx, x.Request, in.ID, in.Match.Version(), u, x.Recorded)
	return answer(x, http.StatusOK, file, receipt, err)
}

func answer(x *feature.Exchange, status int, file File, receipt audit.Receipt, err error) error {
	x.Recorded(receipt)
	if err != nil {
		return err
	}
	h := x.Writer.Header()
	h.Set("ETag", feature.VersionTag(file.Version).String())
	if status == http.StatusCreated {
		h.Set("Location", "/v1/orgs/"+x.Request.Org.String()+"/files/"+file.ID.String())
	}
	return x.Answer(status, file)
}
