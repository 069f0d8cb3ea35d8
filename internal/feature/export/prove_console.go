package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/blob"
	"strongroom/internal/feature"
	"strongroom/internal/feature/export/archive"
	"strongroom/internal/store/tenant"
)

// browser is a person in front of the console, as the check plays her: it has
// her password, the cookies that the console gave her, and nothing else.
type browser struct {
	env     feature.Env
	org     feature.CanaryOrg
	cookies map[string]string
}

// open signs a member of a canary organization in on the console's page.
func open(ctx context.Context, env feature.Env, org feature.CanaryOrg) (*browser, error) {
	b := &browser{env: env, org: org, cookies: map[string]string{}}
	a, err := b.post(ctx, "/sign-in", url.Values{"email": {org.Email}, "password": {string(org.Password.Reveal())}})
	if err != nil {
		return nil, err
	}
	if a.Status != http.StatusSeeOther || len(b.cookies) == 0 {
		return nil, fmt.Errorf("the console's sign-in answers %d", a.Status)
	}
	return b, nil
}

func (b *browser) send(ctx context.Context, method, path string, body any, head ...string) (feature.Answer, error) {
	var jar []string
	for name, value := range b.cookies {
		jar = append(jar, name+"="+value)
	}
	slices.Sort(jar)
	head = append(head, "Cookie", strings.Join(jar, "; "), "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate")
	a, err := b.env.Call(ctx, "", method, path, body, head...)
	if err != nil {
		return a, err
	}
	for _, c := range (&http.Response{Header: a.Header}).Cookies() {
		if b.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	return a, nil
}

func (b *browser) post(ctx context.Context, path string, form url.Values) (feature.Answer, error) {
	return b.send(ctx, http.MethodPost, path, []byte(form.Encode()), "Content-Type", "application/x-www-form-urlencoded")
}

func (b *browser) get(ctx context.Context, path string) (feature.Answer, error) {
	a, err := b.send(ctx, http.MethodGet, path, nil)
	if err == nil && a.Status != http.StatusOK {
		err = fmt.Errorf("the console's page answers %d", a.Status)
	}
	return a, err
}

func (b *browser) close(ctx context.Context) error {
	_, err := b.post(context.WithoutCancel(ctx), "/sign-out", url.Values{})
	return err
}

// links finds the archives that the page of exports offers.
var archiveLink = regexp.MustCompile(`href="(/o/org_[a-z0-9]+/export/(exp_[a-z0-9]+)/content)"`)

func (b *browser) page() string { return "/o/" + b.org.Org.String() + "/export" }

func (b *browser) links(ctx context.Context) (map[string]string, error) {
	a, err := b.get(ctx, b.page())
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, m := range archiveLink.FindAllSubmatch(a.Body, -1) {
		found[string(m[2])] = string(m[1])
	}
	return found, nil
}

// one is what the check takes out by the console: its choice on the page, and
// what must be in the archive.
type one struct {
	words, choice string
	record, file  bool
}

// proveConsole signs in on the console as a person does, takes one file, one
// collection, one project and everything out by the form of its page, waits
// until the page offers the archives, and holds each against its manifest.
func (e *exporter) proveConsole(ctx context.Context, env feature.Env) (string, error) {
	return env.Plant(ctx, "organization", env.Canaries, func(all []feature.Planted) (string, error) {
		archives := 0
		for _, p := range all {
			n, err := e.byConsole(ctx, env, p)
			if err != nil {
				return "", fmt.Errorf("placement %s: %w", p.In.Placement, err)
			}
			archives += n
		}
		return fmt.Sprintf("%d archives, of one file, a collection, a project and everything in %d placements, asked for and fetched by the console's own pages after signing in with a password: each matches its manifest and holds what it was asked for", archives, len(all)), nil
	})
}

func (e *exporter) byConsole(ctx context.Context, env feature.Env, p feature.Planted) (n int, err error) {
	file, err := attach(ctx, env, p)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, e.detach(ctx, p, file)) }()
	b, err := open(ctx, env, p.In)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.close(ctx)) }()
	before, err := b.links(ctx)
	if err != nil {
		return 0, err
	}
	rec := p.Kind + ":" + p.ID.String()
	asked := []one{
		{"one file", "file:" + file.ID.String(), false, true},
		{"a collection", "collection:" + p.Kind, true, true},
		{"a project", "project:" + rec, true, true},
		{"everything", "everything", true, true},
	}
	for _, o := range asked {
		a, err := b.post(ctx, b.page(), url.Values{"what": {o.choice}, "format": {formatZIP}})
		if err != nil {
			return 0, err
		}
		if a.Status != http.StatusSeeOther {
			return 0, fmt.Errorf("asked for %s, the console answers %d", o.words, a.Status)
		}
	}
	made, err := b.wait(ctx, before, len(asked))
	if err != nil {
		return 0, err
	}
	// What the check made is nobody's, and the number of exports is bounded.
	defer func() {
		for exp := range made {
			_, derr := env.Want(context.WithoutCancel(ctx), p.In.Token, http.MethodDelete, p.In.Path("/exports/", exp), nil, http.StatusNoContent, nil)
			err = errors.Join(err, derr)
		}
	}()
	left := slices.Clone(asked)
	for _, exp := range sortedKeys(made) { // identifiers are in the order in which they were made
		o := left[0]
		left = left[1:]
		a, err := b.get(ctx, made[exp])
		if err != nil {
			return 0, err
		}
		if _, err := archive.Verify(bytes.NewReader(a.Body), int64(len(a.Body))); err != nil {
			return 0, fmt.Errorf("%s: %w", o.words, err)
		}
		if o.record {
			if err := holds(a.Body, p); err != nil {
				return 0, fmt.Errorf("%s: %w", o.words, err)
			}
		}
		if o.file && !bytes.Contains(a.Body, []byte("files/"+file.ID.String()+"/")) {
			return 0, fmt.Errorf("%s: the archive does not hold the file", o.words)
		}
		n++
	}
	return n, nil
}

func sortedKeys(m map[string]string) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// wait looks at the page until it offers n archives more than before.
func (b *browser) wait(ctx context.Context, before map[string]string, n int) (map[string]string, error) {
	for {
		now, err := b.links(ctx)
		if err != nil {
			return nil, err
		}
		for exp := range before {
			delete(now, exp)
		}
		if len(now) >= n {
			return now, nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("the console offers %d of %d archives that were asked for", len(now), n)
		}
	}
}

// attached is a file that a check stored and linked to its record.
type attached struct {
	ID      id.File
	Version uint64
}

func attach(ctx context.Context, env feature.Env, p feature.Planted) (f attached, err error) {
	if _, err = env.Want(ctx, p.In.Token, http.MethodPost, p.In.Path("/files"), []byte(p.Mark.Text), http.StatusCreated, &f,
		"Content-Disposition", "attachment; filename=canary.txt"); err != nil {
		return f, err
	}
	_, err = env.Want(ctx, p.In.Token, http.MethodPost, p.Path("/links"), map[string]string{"to": f.ID.String(), "relation": "related"}, http.StatusCreated, nil)
	return f, err
}

// detach leaves nothing of a canary's file, not even in the trash: checks run
// often.
func (e *exporter) detach(ctx context.Context, p feature.Planted, f attached) error {
	ctx = context.WithoutCancel(ctx)
	_, _, err := tenant.Do(ctx, e.store, p.In.Request(policy.FileDelete), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		tx.Touch(f.ID)
		_, err := tx.Exec(ctx, tenant.Lit(`WITH f AS (DELETE FROM file WHERE org_id = $1 AND id = $2) DELETE FROM file_version WHERE org_id = $1 AND file_id = $2`),
			tx.Org().UUID(), f.ID.UUID())
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("take a canary's file away: %w", err)
	}
	return e.blobs.Delete(ctx, blob.Key{Org: p.In.Org, File: f.ID, Version: f.Version})
}
