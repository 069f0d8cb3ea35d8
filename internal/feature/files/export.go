package files

import (
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
	exportPage = 100
	// tokenCollection is the purpose under which collections hash their names.
	tokenCollection = "collection"
)

// export writes a list of the files in scope, then the newest bytes of each
// under files/<id>/<name>. A record's files, and a collection's, are those
// that it links to.
func (f *Files) export(ctx context.Context, in feature.Chunks, scope feature.Scope, sink feature.Sink) error {
	list, err := sink.Entry("files/files.ndjson", time.Now())
	if err != nil {
		return err
	}
	enc := json.NewEncoder(list)
	enc.SetEscapeHTML(false)
	if err := f.walk(ctx, in, scope, func(page []File) error {
		for _, file := range page {
			if err := enc.Encode(file); err != nil {
				return err
			}
		}
		return nil
	}); err != nil || scope.RowsOnly {
		return err
	}
	return f.walk(ctx, in, scope, func(page []File) error {
		for _, file := range page {
			if err := f.exportOne(ctx, in, file.ID, sink); err != nil {
				return err
			}
		}
		return nil
	})
}

func (f *Files) exportOne(ctx context.Context, in feature.Chunks, file id.File, sink feature.Sink) error {
	var c *content
	var org id.Org
	err := in.Chunk(ctx, func(ctx context.Context, tx *tenant.Tx) (err error) {
		org = tx.Org()
		tx.Touch(file)
		c, err = f.look(ctx, tx, file, 0)
		return err
	})
	if fault.Is(err, fault.NotFound) {
		return nil // deleted since it was listed
	}
	if err != nil {
		return err
	}
	r, closer, err := f.reader(ctx, org, c)
	if err != nil {
		return err
	}
	defer func() { _ = closer.Close() }()
	w, err := sink.Entry("files/"+file.String()+"/"+c.Name, c.UpdatedAt)
	if err != nil {
		return err
	}
	_, err = r.Range(0, r.Size()).WriteTo(w)
	return err
}

// walk visits the files in scope, a page a transaction.
func (f *Files) walk(ctx context.Context, in feature.Chunks, scope feature.Scope, visit func([]File) error) error {
	after := uuid.Nil
	for more := true; more; {
		var page []File
		if err := in.Chunk(ctx, func(ctx context.Context, tx *tenant.Tx) (err error) {
			switch {
			case !scope.File.IsZero():
				more = false
				file, err := f.read(ctx, tx, scope.File)
				page = []File{file}
				return err
			case scope.Collection == "" && scope.Record.IsZero() && scope.Records == nil:
				page, after, more, err = f.scan(ctx, tx, id.Record{}, after, exportPage)
			default:
				page, after, more, err = f.linked(ctx, tx, scope, after)
			}
			return err
		}); err != nil {
			return err
		}
		if err := visit(page); err != nil {
			return err
		}
	}
	return nil
}

// linked reads one page of the files that the records in scope link to.
func (f *Files) linked(ctx context.Context, tx *tenant.Tx, scope feature.Scope, after uuid.UUID) (files []File, last uuid.UUID, more bool, err error) {
	var token []byte
	if scope.Collection != "" {
		if token, err = tx.Hash(ctx, tokenCollection, []byte(scope.Collection)); err != nil {
			return nil, after, false, err
		}
	}
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT DISTINCT f.id FROM file f
 JOIN link l ON l.org_id = f.org_id AND l.to_id = f.id AND l.to_kind = 'file'
 JOIN record r ON r.org_id = l.org_id AND r.id = l.from_id
 JOIN collection c ON c.org_id = r.org_id AND c.id = r.collection_id
 WHERE f.org_id = $1 AND f.id > $2 AND f.state = 'stored' AND ($3::uuid IS NULL OR r.id = $3) AND ($4::bytea IS NULL OR c.token = $4)
 AND ($6::uuid[] IS NULL OR r.id = ANY($6)) ORDER BY f.id LIMIT $5`), tx.Org().UUID(), after, orNull(scope.Record), token, exportPage+1, uuids(scope.Records))
	if err != nil {
		return nil, after, false, err
	}
	var ids []uuid.UUID
	for rows.Next() {
		var u uuid.UUID
		if err = rows.Scan(&u); err != nil {
			break
		}
		ids = append(ids, u)
	}
	rows.Close()
	if err = errors.Join(err, rows.Err()); err != nil {
		return nil, after, false, err
	}
	if more = len(ids) > exportPage; more {
		ids = ids[:exportPage]
	}
	last = after
	for _, u := range ids {
		last = u
		file, err := f.read(ctx, tx, id.FileOf(u))
		if fault.Is(err, fault.NotFound) {
			continue // erased
		}
		if err != nil {
			return nil, after, false, err
		}
		files = append(files, file)
	}
	return files, last, more, nil
}

// uuids is nil for nil: no bound.
func uuids(records []id.Record) (out [][16]byte) {
	for _, r := range records {
		out = append(out, r.UUID())
	}
	return out
}

func orNull(r id.Record) *uuid.UUID {
	if r.IsZero() {
		return nil
	}
	u := r.UUID()
	return &u
}
