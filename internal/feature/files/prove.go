package files

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/blob"
	"strongroom/internal/feature"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
)

func (f *Files) promises() []feature.Promise {
	return []feature.Promise{
		{ID: "ENC-1", Clauses: []feature.Clause{{Name: "files", Tag: feature.Canary, Check: f.proveSealed}}},
		{ID: "ISO-4", Clauses: []feature.Clause{
			{Name: "prefix", Tag: feature.Canary, Check: f.provePrefix},
			{Name: "key", Tag: feature.Canary, Check: f.proveMoved},
		}},
		{ID: "AUD-2", Clauses: []feature.Clause{{Name: "files", Tag: feature.Canary, Check: f.proveRecorded}}},
	}
}

// canary is a file that a check has stored.
type canary struct {
	File
	org   feature.CanaryOrg
	bytes []byte
	name  string
}

const canarySize = 2*blob.PackageSize + 1000

// plant stores a file of random bytes under a random name, the way every file
// is stored.
func (f *Files) plant(ctx context.Context, org feature.CanaryOrg) (*canary, error) {
	c := &canary{org: org, bytes: make([]byte, canarySize), name: "canary-" + strings.ToLower(rand.Text())}
	if _, err := rand.Read(c.bytes); err != nil {
		return nil, err
	}
	var err error
	c.File, _, err = f.Create(ctx, c.request(policy.FileUpload), Upload{Name: c.name, Size: canarySize, Body: bytes.NewReader(c.bytes)}, func(audit.Receipt) {})
	return c, err
}

func (c *canary) request(a policy.Action) tenant.Request {
	return tenant.Request{Actor: c.org.Actor, Org: c.org.Org, Action: a, ID: id.NewRequest()}
}

func (c *canary) object() blob.Key {
	return blob.Key{Org: c.org.Org, File: c.ID, Version: c.Version}
}

// remove leaves nothing of a canary, not even in the trash: checks run often.
func (f *Files) remove(ctx context.Context, c *canary) error {
	ctx = context.WithoutCancel(ctx)
	_, _, err := tenant.Do(ctx, f.tenant, c.request(policy.FileDelete), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		tx.Touch(c.ID)
		_, err := tx.Exec(ctx, tenant.Lit(`WITH f AS (DELETE FROM file WHERE org_id = $1 AND id = $2) DELETE FROM file_version WHERE org_id = $1 AND file_id = $2`),
			tx.Org().UUID(), c.ID.UUID())
		return struct{}{}, err
	})
	if err != nil {
		return err
	}
	return f.blobs.Delete(ctx, c.object())
}

// with plants a canary in each organization, runs fn and removes them.
func (f *Files) with(ctx context.Context, orgs []feature.CanaryOrg, fn func([]*canary) (string, error)) (evidence string, err error) {
	if len(orgs) == 0 {
		return "", errors.New("there is no canary organization")
	}
	var planted []*canary
	defer func() {
		for _, c := range planted {
			err = errors.Join(err, f.remove(ctx, c))
		}
	}()
	for _, org := range orgs {
		c, err := f.plant(ctx, org)
		if err != nil {
			return "", fmt.Errorf("store a file in placement %s: %w", org.Placement, err)
		}
		planted = append(planted, c)
	}
	return fn(planted)
}

func (f *Files) raw(ctx context.Context, k blob.Key) ([]byte, error) {
	o, err := f.blobs.Open(ctx, k)
	if err != nil {
		return nil, err
	}
	defer func() { _ = o.Close() }()
	return io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
}

// proveSealed stores a file and looks for it in what a thief would hold: the
// object and the rows. Then it opens it again.
func (f *Files) proveSealed(ctx context.Context, env feature.Env) (string, error) {
	return f.with(ctx, env.Canaries, func(all []*canary) (string, error) {
		for _, c := range all {
			object, err := f.raw(ctx, c.object())
			if err != nil {
				return "", err
			}
			for at := 0; at+16 <= len(c.bytes); at += 997 {
				if bytes.Contains(object, c.bytes[at:at+16]) {
					return "", fmt.Errorf("placement %s: plaintext at byte %d of a file is in its object", c.org.Placement, at)
				}
			}
			if bytes.Contains(object, []byte(c.name)) {
				return "", fmt.Errorf("placement %s: the object holds the file's name", c.org.Placement)
			}
			if err := f.proveRow(ctx, c); err != nil {
				return "", err
			}
			var back bytes.Buffer
			if _, err := f.Download(ctx, c.request(policy.FileDownload), c.ID, 0, func(_ audit.Receipt, _ File, _ uint64, size int64) (io.Writer, int64, int64, error) {
				return &back, 0, size, nil
			}); err != nil {
				return "", err
			}
			if !bytes.Equal(back.Bytes(), c.bytes) {
				return "", fmt.Errorf("placement %s: a file came back different", c.org.Placement)
			}
		}
		return fmt.Sprintf("%d files of %d random bytes stored (AES-256-GCM, DARE 2.0): no 16 of their bytes and no name in object or row; each read back equal", len(all), canarySize), nil
	})
}

func (f *Files) proveRow(ctx context.Context, c *canary) error {
	_, _, err := tenant.Do(ctx, f.tenant, c.request(policy.FileRead), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		tx.Touch(c.ID)
		var body seal.Sealed
		var whole string
		err := tx.QueryRow(ctx, tenant.Lit(`SELECT body, f::text FROM file f WHERE org_id = $1 AND id = $2`), tx.Org().UUID(), c.ID.UUID()).Scan(&body, &whole)
		if err == nil && (bytes.Contains(body, []byte(c.name)) || strings.Contains(whole, c.name)) {
			err = fmt.Errorf("placement %s: the row holds the file's name", c.org.Placement)
		}
		return struct{}{}, err
	})
	return err
}

// provePrefix stores a file in two organizations of each placement: each is
// listed under its own organization's prefix and nowhere else.
func (f *Files) provePrefix(ctx context.Context, env feature.Env) (string, error) {
	return f.with(ctx, append(append([]feature.CanaryOrg{}, env.Canaries...), env.Strange...), func(all []*canary) (string, error) {
		listed := 0
		for _, c := range all {
			found := false
			for info, err := range f.blobs.List(ctx, c.org.Org) {
				if err != nil {
					return "", err
				}
				if info.Key.Org != c.org.Org || !strings.HasPrefix(info.Key.String(), "orgs/"+c.org.Org.String()+"/") {
					return "", errors.New("an object of another organization stands under a prefix")
				}
				for _, other := range all {
					if info.Key.File == other.ID && other.org.Org != c.org.Org {
						return "", errors.New("a file of one organization stands under another's prefix")
					}
				}
				found = found || info.Key == c.object()
				listed++
			}
			if !found {
				return "", errors.New("a stored file is not listed under its organization's prefix")
			}
		}
		return fmt.Sprintf("%d organizations, %d objects: each under the prefix of its own organization", len(all), listed), nil
	})
}

// proveMoved lays one organization's object where another's should be, and
// one file's where another of the same organization should be, and tries to
// open each with the key of its new place.
func (f *Files) proveMoved(ctx context.Context, env feature.Env) (string, error) {
	orgs := append(append(append([]feature.CanaryOrg{}, env.Canaries...), env.Canaries...), env.Strange...)
	n := len(env.Canaries)
	if len(env.Strange) != n {
		return "", errors.New("there is not one strange organization for each canary")
	}
	return f.with(ctx, orgs, func(all []*canary) (string, error) {
		for i := range n {
			mine := all[i]
			for _, from := range []*canary{all[n+i], all[2*n+i]} { // a neighbor, a stranger
				if err := f.moved(ctx, mine, from); err != nil {
					return "", fmt.Errorf("placement %s: %w", mine.org.Placement, err)
				}
			}
		}
		return fmt.Sprintf("%d objects moved, within an organization and across: none opens at its new place, each opens at its own", 2*n), nil
	})
}

func (f *Files) moved(ctx context.Context, to, from *canary) error {
	object, err := f.raw(ctx, from.object())
	if err != nil {
		return err
	}
	// A version that the file does not have: objects are never overwritten.
	place := to.object()
	place.Version = 1 << 40
	w, err := f.blobs.Create(ctx, place)
	if err != nil {
		return err
	}
	defer func() { _ = w.Abort() }()
	if _, err := w.Write(object); err != nil {
		return err
	}
	if err := w.Commit(); err != nil {
		return err
	}
	defer func() { _ = f.blobs.Delete(context.WithoutCancel(ctx), place) }()
	_, _, err = tenant.Do(ctx, f.tenant, to.request(policy.FileDownload), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		tx.Touch(to.ID)
		c, err := f.look(ctx, tx, to.ID, 0)
		if err != nil {
			return struct{}{}, err
		}
		if r, o, err := f.reader(ctx, to.org.Org, c); err != nil || r.Size() != canarySize {
			return struct{}{}, errors.Join(errors.New("an object does not open at its own place"), err)
		} else if err := o.Close(); err != nil {
			return struct{}{}, err
		}
		c.version = place.Version
		if _, o, err := f.reader(ctx, to.org.Org, c); err == nil {
			_ = o.Close()
			return struct{}{}, errors.New("a moved object opens")
		} else if !errors.Is(err, blob.ErrUnreadable) {
			return struct{}{}, err
		}
		return struct{}{}, nil
	})
	return err
}

// proveRecorded uploads and downloads a file and looks into the log while the
// bytes are still to come.
func (f *Files) proveRecorded(ctx context.Context, env feature.Env) (string, error) {
	began := time.Now().Add(-time.Millisecond)
	events := 0
	_, err := f.with(ctx, env.Canaries, func(all []*canary) (string, error) {
		for _, c := range all {
			n, err := recorded(ctx, env, f, c, began)
			if err != nil {
				return "", fmt.Errorf("placement %s: %w", c.org.Placement, err)
			}
			events += n
		}
		return "seen", nil
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d uploads and downloads, and as many that were refused: %d events; each download was on record before its first byte left, and each end with the count of bytes", 2*len(env.Canaries), events), nil
}

func recorded(ctx context.Context, env feature.Env, f *Files, c *canary, began time.Time) (events int, err error) {
	count := func(request id.Request, action policy.Action, outcome audit.Outcome, bytes int64) error {
		all, err := env.Log.Since(ctx, c.org.Org, began)
		if err != nil {
			return err
		}
		for _, e := range all {
			about := slices.Contains(e.Targets, c.ID.String()) || outcome == audit.Denied
			if e.Action == action && e.Outcome == outcome && about && (request.IsZero() || e.Request == request) && e.Counts["bytes"] == bytes {
				events++
				return nil
			}
		}
		return fmt.Errorf("the log has no event of %s, %s, when it should", action, outcome)
	}
	if err := count(id.Request{}, policy.FileUpload, audit.Opened, 0); err != nil {
		return events, err
	}
	if err := count(id.Request{}, policy.FileUpload, audit.Done, canarySize); err != nil {
		return events, err
	}
	down := c.request(policy.FileDownload)
	_, err = f.Download(ctx, down, c.ID, 0, func(_ audit.Receipt, _ File, _ uint64, size int64) (io.Writer, int64, int64, error) {
		return io.Discard, 0, size, count(down.ID, policy.FileDownload, audit.Opened, 0)
	})
	if err == nil {
		err = count(down.ID, policy.FileDownload, audit.Done, canarySize)
	}
	if err != nil {
		return events, err
	}
	// What is refused is on record too, here for want of the file.
	missing, err := env.Call(ctx, c.org.Token, http.MethodGet, c.org.Path("/files/", id.NewFile().String(), "/content"), nil)
	if err == nil && missing.Status != http.StatusNotFound {
		err = fmt.Errorf("a file that is not there answers %d", missing.Status)
	}
	if err == nil {
		err = count(missing.Request, policy.FileDownload, audit.Denied, 0)
	}
	if err != nil {
		return events, err
	}
	named, err := env.Call(ctx, c.org.Token, http.MethodPost, c.org.Path("/files"), []byte("x"), "Content-Disposition", "inline")
	if err == nil && named.Status != http.StatusBadRequest {
		err = fmt.Errorf("an upload without a name answers %d", named.Status)
	}
	if err == nil {
		err = refused(ctx, env, c, began, named.Request)
		events++
	}
	return events, err
}

// refused looks for the event of an upload that was refused for its form.
func refused(ctx context.Context, env feature.Env, c *canary, began time.Time, request id.Request) error {
	all, err := env.Log.Since(ctx, c.org.Org, began)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Request == request && e.Action == policy.FileUpload && e.Outcome == audit.Refused {
			return nil
		}
	}
	return errors.New("the log has no event of an upload that was refused")
}
