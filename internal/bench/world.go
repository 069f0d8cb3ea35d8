package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"strongroom/internal/app"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/identity"
	"strongroom/internal/identity/actor"
	"strongroom/internal/keyservice"
	"strongroom/internal/osproc"
	"strongroom/internal/postgres"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
)

// world is an installation in one process, on a PostgreSQL that flushes to
// disk as in production.
type world struct {
	dir     string
	cluster *postgres.Cluster
	keys    *keyservice.Local
	app     *app.App
	raw     *pgxpool.Pool
	closers []func()
}

func open(ctx context.Context) (_ *world, err error) {
	w := &world{}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.dir, err = os.MkdirTemp("", "strongroom-bench"); err != nil {
		return nil, err
	}
	if err = os.Chmod(w.dir, 0o755); err != nil {
		return nil, err
	}
	user, err := postgres.EnsureUser("strongroom-postgres")
	if err != nil {
		return nil, err
	}
	home := filepath.Join(w.dir, "pg")
	if err = os.Mkdir(home, 0o755); err != nil {
		return nil, err
	}
	if err = own(user, home); err != nil {
		return nil, err
	}
	if w.cluster, err = postgres.Start(ctx, postgres.Options{DataDir: filepath.Join(home, "data"), SocketDir: filepath.Join(home, "run"), User: user}); err != nil {
		return nil, err
	}
	if err = platform.Bootstrap(ctx, w.cluster.URL(postgres.DefaultSuperuser, app.Database)); err != nil {
		return nil, err
	}
	if w.keys, err = keyservice.StartLocal(ctx, w.dir); err != nil {
		return nil, err
	}
	objects := filepath.Join(w.dir, "objects")
	if err = os.Mkdir(objects, 0o700); err != nil {
		return nil, err
	}
	if w.app, err = app.Open(ctx, app.Options{URL: func(login string) string { return w.cluster.URL(login, app.Database) }, KeySocket: w.keys.Socket,
		Objects: objects, MaxConns: connections, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))}); err != nil {
		return nil, err
	}
	cfg, err := pgxpool.ParseConfig(w.cluster.URL(postgres.DefaultSuperuser, app.Database))
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = connections
	if w.raw, err = pgxpool.NewWithConfig(ctx, cfg); err != nil {
		return nil, err
	}
	_, err = w.raw.Exec(ctx, `CREATE TABLE public.raw (id uuid PRIMARY KEY, org_id uuid NOT NULL, body bytea NOT NULL, created_at timestamptz NOT NULL)`)
	return w, err
}

func own(u *osproc.User, path string) error {
	if u == nil {
		return nil
	}
	return u.Own(path)
}

func (w *world) close() {
	for _, f := range w.closers {
		f()
	}
	if w.raw != nil {
		w.raw.Close()
	}
	if w.app != nil {
		w.app.Close()
	}
	if w.keys != nil {
		_ = w.keys.Close()
	}
	if w.cluster != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_ = w.cluster.Stop(ctx)
	}
	if w.dir != "" {
		_ = os.RemoveAll(w.dir)
	}
}

// member is somebody with every role in an organization of her own.
type member struct {
	org        id.Org
	who        actor.Actor
	token      string
	collection id.Collection
	last       atomic.Pointer[id.Record]
}

const password = "bench password 8f2c91"

// organization makes an organization with one member and one collection.
func (w *world) organization(ctx context.Context, placement string, n int) (*member, error) {
	system := platform.Request{Actor: identity.System(id.NewServer())}
	address := fmt.Sprintf("bench-%s-%d@bench.example", placement, n)
	_, _, _, err := w.app.Identity.CreateOrg(ctx, system, identity.NewOrg{Name: fmt.Sprintf("Bench %d", n), Placement: placement,
		Owner: identity.NewPerson{Address: address, Name: "Bench", Password: seal.NewSecretString(password)}})
	if err != nil {
		return nil, err
	}
	in, _, err := w.app.Identity.SignIn(ctx, platform.Request{Action: policy.SessionCreate}, address, seal.NewSecretString(password))
	if err != nil {
		return nil, err
	}
	who, err := w.app.Identity.Identify(ctx, in.Token)
	if err != nil {
		return nil, err
	}
	m := &member{org: who.Orgs()[0], token: in.Token.Reveal()}
	roles := []policy.Role{policy.OrgAdmin, policy.Scientist, policy.Analyst}
	if _, _, err := w.app.Identity.UpdateMember(ctx, platform.Request{Actor: who, Org: m.org}, who.Person(), identity.MemberChange{Roles: &roles}); err != nil {
		return nil, err
	}
	// A change of roles ends what was known of her.
	for range 50 {
		if in, _, err = w.app.Identity.SignIn(ctx, platform.Request{Action: policy.SessionCreate}, address, seal.NewSecretString(password)); err == nil {
			if m.who, err = w.app.Identity.Identify(ctx, in.Token); err == nil && m.who.May(m.org, policy.RecordCreate) {
				m.token = in.Token.Reveal()
				break
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	if !m.who.May(m.org, policy.RecordCreate) {
		return nil, errors.New("the new roles did not take effect")
	}
	m.collection, err = w.declare(ctx, m)
	return m, err
}

func (w *world) declare(ctx context.Context, m *member) (id.Collection, error) {
	c := id.NewCollection()
	_, _, err := tenant.Do(ctx, w.app.Tenant, tenant.Request{Actor: m.who, Org: m.org, Action: policy.CollectionCreate}, func(ctx context.Context, tx *tenant.Tx) (int64, error) {
		token, err := tx.Hash(ctx, "collection", []byte("bench"))
		if err != nil {
			return 0, err
		}
		leaf, err := tx.NewLeaf(ctx)
		if err != nil {
			return 0, err
		}
		body, err := tx.Seal(ctx, "collection", c.UUID(), 1, seal.Section{Name: "declaration", Leaf: leaf, Plain: seal.NewSecretString(`{"kind":"bench","title":"Bench","schema":{}}`)})
		if err != nil {
			return 0, err
		}
		return tx.Exec(ctx, tenant.Lit(`INSERT INTO collection (org_id, id, token, leaf, version, body, created_at, created_by) VALUES ($1, $2, $3, $4, 1, $5, $6, $7)`),
			tx.Org().UUID(), c.UUID(), token, int64(leaf), body, tx.Now(), m.who.Person().UUID())
	})
	return c, err
}

// content is about a kilobyte of JSON.
var content = func() []byte {
	b := []byte(`{"sample":"Si(111)-7x7","temperature_K":1023.15,"notes":"`)
	for len(b) < 1000 {
		b = append(b, uuid.NewString()...)
	}
	return append(b, `"}`...)
}()

func (w *world) create(ctx context.Context, m *member) error {
	rec, _, err := tenant.Do(ctx, w.app.Tenant, tenant.Request{Actor: m.who, Org: m.org, Action: policy.RecordCreate}, func(ctx context.Context, tx *tenant.Tx) (id.Record, error) {
		rec := id.NewRecord()
		leaf, err := tx.NewLeaf(ctx)
		if err != nil {
			return rec, err
		}
		body, err := tx.Seal(ctx, "record", rec.UUID(), 1, seal.Section{Name: "content", Leaf: leaf, Plain: seal.NewSecret(content)})
		if err != nil {
			return rec, err
		}
		tx.Touch(rec)
		insert := tenant.Lit(`INSERT INTO record (org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
 VALUES ($1, $2, $3, 1, $4, $5, $6, 'o', $7, $6, $7, $6)`)
		args := []any{tx.Org().UUID(), rec.UUID(), m.collection.UUID(), int64(leaf), body, m.who.Person().UUID(), tx.Now()}
		if tx.Last(insert, args...) {
			return rec, nil
		}
		_, err = tx.Exec(ctx, insert, args...)
		return rec, err
	})
	if err == nil {
		m.last.Store(&rec)
	}
	return err
}

func (w *world) read(ctx context.Context, m *member) error {
	rec := *m.last.Load()
	_, _, err := tenant.Do(ctx, w.app.Tenant, tenant.Request{Actor: m.who, Org: m.org, Action: policy.RecordRead}, func(ctx context.Context, tx *tenant.Tx) (int, error) {
		tx.Touch(rec)
		var body seal.Sealed
		if err := tx.QueryRow(ctx, tenant.Lit(`SELECT body FROM record WHERE org_id = $1 AND id = $2`), tx.Org().UUID(), rec.UUID()).Scan(&body); err != nil {
			return 0, err
		}
		s, err := tx.Open(ctx, "record", rec.UUID(), 1, body)
		if err != nil {
			return 0, err
		}
		return s[0].Plain.Len(), nil
	})
	return err
}

func (w *world) rawInsert(ctx context.Context, last *atomic.Pointer[uuid.UUID]) error {
	u, err := uuid.NewV7()
	if err != nil {
		return err
	}
	_, err = w.raw.Exec(ctx, `INSERT INTO public.raw (id, org_id, body, created_at) VALUES ($1, $2, $3, $4)`, [16]byte(u), [16]byte(u), content, time.Now())
	last.Store(&u)
	return err
}

func (w *world) rawSelect(ctx context.Context, last *atomic.Pointer[uuid.UUID]) error {
	var b []byte
	return w.raw.QueryRow(ctx, `SELECT body FROM public.raw WHERE id = $1`, [16]byte(*last.Load())).Scan(&b)
}
