package files

import (
	"context"
	"errors"
	"io"
	"net/http"

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

// content is a version of a file that the door has opened for reading: what
// it is, and the key of its bytes.
type content struct {
	File
	version uint64
	size    int64 // of that version
	key     [32]byte
}

// look finds a stored version, 0 for the newest, and takes its key. The caller
// names the file in the event.
func (f *Files) look(ctx context.Context, tx *tenant.Tx, file id.File, version uint64) (*content, error) {
	var r row
	var chosen, size, leaf int64
	var generation int32
	err := tx.QueryRow(ctx, tenant.Lit(`SELECT f.id, f.version, f.leaf, f.size, f.body, f.owner_id, f.visibility::text, f.created_at, f.created_by, f.updated_at, f.updated_by,
  v.version, v.size, v.leaf, v.generation FROM file f JOIN file_version v ON v.org_id = f.org_id AND v.file_id = f.id
 WHERE f.org_id = $1 AND f.id = $2 AND f.state = 'stored' AND v.state = 'stored' AND v.version = CASE WHEN $3::bigint = 0 THEN f.version ELSE $3 END`),
		tx.Org().UUID(), file.UUID(), int64(version)).Scan(append(r.dest(), &chosen, &size, &leaf, &generation)...)
	if errors.Is(err, tenant.ErrNoRows) {
		return nil, errNoFile
	}
	if err != nil {
		return nil, err
	}
	c := &content{version: uint64(chosen), size: size}
	if c.File, err = gone(r.open(ctx, tx)); err != nil {
		return nil, err
	}
	c.key, err = gone(seal.FileKey(ctx, tx.Keys(), place(tx.Org(), file.UUID(), chosen), uint32(generation), keytree.Leaf(leaf)))
	return c, err
}

// reader opens the object. The caller closes it.
func (f *Files) reader(ctx context.Context, org id.Org, c *content) (*blob.Reader, io.Closer, error) {
	o, err := f.blobs.Open(ctx, blob.Key{Org: org, File: c.ID, Version: c.version})
	if err != nil {
		return nil, nil, lost(err)
	}
	r, err := blob.OpenReaderAt(c.key, o, o.Size())
	if err == nil && r.Size() != c.size {
		err = blob.ErrUnreadable
	}
	if err != nil {
		_ = o.Close()
		return nil, nil, lost(err)
	}
	return r, o, nil
}

// lost classifies bytes that should be there: no fault of the caller's.
func lost(err error) error {
	switch {
	case errors.Is(err, blob.ErrNotExist):
		return fault.Wrap(fault.Internal, err, "the file's bytes are missing")
	case errors.Is(err, blob.ErrUnreadable), errors.Is(err, blob.ErrForeign):
		return fault.Wrap(fault.Internal, err, "the file's bytes are damaged")
	}
	return err
}

// Download streams a version of a file, 0 for the newest. begin is called
// once the opening event is durable and the object is verified to be there: it
// chooses the part and returns where to, or nil to send nothing.
func (f *Files) Download(ctx context.Context, r tenant.Request, file id.File, version uint64, begin func(receipt audit.Receipt, what File, version uint64, size int64) (io.Writer, int64, int64, error)) (audit.Receipt, error) {
	r.Action = policy.FileDownload
	r.Targets = append(r.Targets, file) // for both events: the second has no transaction to touch it in
	_, receipt, err := tenant.Stream(ctx, f.tenant, r, tenant.Steps[*content, struct{}]{
		Open: func(ctx context.Context, tx *tenant.Tx) (*content, error) { return f.look(ctx, tx, file, version) },
		Bytes: func(ctx context.Context, c *content, receipt audit.Receipt) (map[string]int64, error) {
			n, err := f.send(ctx, r.Org, c, receipt, begin)
			return map[string]int64{"bytes": n}, err
		},
	})
	return receipt, err
}

func (f *Files) send(ctx context.Context, org id.Org, c *content, receipt audit.Receipt, begin func(audit.Receipt, File, uint64, int64) (io.Writer, int64, int64, error)) (int64, error) {
	b, closer, err := f.reader(ctx, org, c)
	if err != nil {
		return 0, err
	}
	defer func() { _ = closer.Close() }()
	w, off, n, err := begin(receipt, c.File, c.version, b.Size())
	if err != nil || w == nil {
		return 0, err
	}
	sent, err := b.Range(off, n).WriteTo(w)
	switch {
	case err == nil:
		return sent, nil
	case errors.Is(err, blob.ErrUnreadable):
		return sent, lost(err)
	}
	return sent, fault.Wrap(fault.Unavailable, err, "the download broke off")
}

func (f *Files) download(ctx context.Context, x *feature.Exchange, in downloadIn) error {
	receipt, err := f.Download(ctx, x.Request, in.ID, in.Version, func(opened audit.Receipt, what File, version uint64, size int64) (io.Writer, int64, int64, error) {
		x.Recorded(opened)
		tag := feature.VersionTag(version).String()
		h := x.Writer.Header()
		if in.IfNoneMatch != "" && has(in.IfNoneMatch, tag) {
			h.Set("ETag", tag)
			x.Writer.WriteHeader(http.StatusNotModified)
			return nil, 0, 0, nil
		}
		ranges := in.Range
		if in.IfRange != "" && in.IfRange != tag {
			ranges = "" // meant for other bytes than these
		}
		s, err := spanOf(ranges, size)
		if err != nil {
			return nil, 0, 0, err
		}
		h.Set("ETag", tag)
		h.Set("Accept-Ranges", "bytes")
		h.Set("Content-Type", what.MediaType)
		h.Set("Content-Disposition", disposition(what.Name))
		// Whoever opens it in a browser all the same gets a page without power.
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
		x.Writer.WriteHeader(s.head(h, size))
		return x.Writer, s.off, s.n, nil
	})
	x.Recorded(receipt)
	return err
}

// content hands a version to another feature, which reads it after the
// transaction and names the file in its own event.
func (f *Files) content(ctx context.Context, tx *tenant.Tx, file id.File, version uint64) (feature.Bytes, error) {
	c, err := f.look(ctx, tx, file, version)
	if err != nil {
		return feature.Bytes{}, err
	}
	org := tx.Org()
	return feature.Bytes{Version: c.version, Size: c.size, Open: func(ctx context.Context) (io.ReaderAt, io.Closer, error) {
		return f.reader(ctx, org, c)
	}}, nil
}
