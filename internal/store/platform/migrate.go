package platform

import (
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed migrations/*.sql
var controlMigrations embed.FS

//go:embed jobs_grants.sql
var jobsGrants string

// ErrNewer says that the database was migrated by a newer Strongroom.
var ErrNewer = errors.New("the database belongs to a newer version of Strongroom")

// MigratorOptions configures a [Migrator].
type MigratorOptions struct {
	URL string // of the login sr_migrator
	// Organizations holds the one set of migrations that every organization's
	// schema runs; see [MergeMigrations].
	Organizations fs.FS
	// Parallel bounds how many schemas are migrated at once; 0 means 4.
	Parallel int
	Log      *slog.Logger
}

// Migrator brings the control plane and every organization's schema to this
// version. Whatever is done stays done: a run that was killed, or that failed
// for one schema, is continued by the next.
type Migrator struct {
	url      string
	orgs     fs.FS
	wanted   int64 // newest version of orgs
	parallel int
	log      *slog.Logger
}

// Status says how far the migrations have come.
type Status struct {
	ControlPlane int64 // version of the control plane
	Wanted       int64 // newest version of the organizations' tables
	Schemas      int   // the pool and every organization's, spare ones included
	Migrated     int   // brought forward by this run
	Behind       []string
}

// NewMigrator checks the migrations and returns a Migrator. It refuses a set
// that this build's baseline does not equal.
func NewMigrator(o MigratorOptions) (*Migrator, error) {
	if o.Organizations == nil {
		return nil, errors.New("platform: MigratorOptions.Organizations is required")
	}
	cfg, err := config(o.URL, nil)
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDB(*cfg) // opened on first use, which there is none of here
	defer func() { _ = db.Close() }()
	p, err := goose.NewProvider(goose.DialectPostgres, db, o.Organizations, gooseOptions()...)
	if err != nil {
		return nil, fmt.Errorf("platform: organization migrations: %w", err)
	}
	sources := p.ListSources()
	m := &Migrator{url: o.URL, orgs: o.Organizations, wanted: sources[len(sources)-1].Version,
		parallel: cmp.Or(o.Parallel, 4), log: cmp.Or(o.Log, slog.Default())}
	return m, nil
}

func gooseOptions() []goose.ProviderOption {
	return []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger())}
}

// asOwner makes a session work as sr_owner from its start, so that everything
// it makes belongs to a role that cannot log in.
func asOwner(searchPath string) map[string]string {
	return map[string]string{"role": "sr_owner", "search_path": searchPath, "application_name": "strongroom-migrate"}
}

// migrateLock lets one migrator work at a time.
const migrateLock = 0x73747267_02

// MigrateAll brings the control plane, the job queue and every organization's
// schema to this version, then installs the baseline for new schemas.
func (m *Migrator) MigrateAll(ctx context.Context) (Status, error) {
	conn, err := connect(ctx, m.url, asOwner("pg_catalog"))
	if err != nil {
		return Status{}, fmt.Errorf("platform: migrate: %w", err)
	}
	// Closing the connection frees the lock, also when this process dies.
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(migrateLock)); err != nil {
		return Status{}, fmt.Errorf("platform: migrate: %w", err)
	}
	if err := m.controlPlane(ctx); err != nil {
		return Status{}, err
	}
	if err := m.jobs(ctx, conn); err != nil {
		return Status{}, err
	}
	// The baseline comes before the list of schemas: from here on nothing new
	// is built at an older version, and the update waits for builds under way.
	if err := installBaseline(ctx, conn, m.wanted); err != nil {
		return Status{}, err
	}
	return m.organizations(ctx, conn)
}

func (m *Migrator) controlPlane(ctx context.Context) error {
	sub, err := fs.Sub(controlMigrations, "migrations")
	if err != nil {
		return err
	}
	if err := m.run(ctx, sub, "platform, pg_temp"); err != nil {
		return fmt.Errorf("platform: control plane: %w", err)
	}
	return nil
}

// run applies a set of migrations in one schema, over a connection of its own:
// one that failed takes its search path with it.
func (m *Migrator) run(ctx context.Context, set fs.FS, searchPath string) error {
	cfg, err := config(m.url, asOwner(searchPath))
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*cfg)
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	p, err := goose.NewProvider(goose.DialectPostgres, db, set, gooseOptions()...)
	if err != nil {
		return err
	}
	now, newest, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if now > newest {
		return fmt.Errorf("%w: it is at migration %d, this version knows %d", ErrNewer, now, newest)
	}
	_, err = p.Up(ctx)
	return err
}

// jobs runs River's own migrations in the schema jobs.
func (m *Migrator) jobs(ctx context.Context, conn *pgx.Conn) error {
	cfg, err := pgxpool.ParseConfig(m.url)
	if err != nil {
		return fmt.Errorf("platform: connection string: %w", err)
	}
	for k, v := range asOwner("jobs, pg_temp") {
		cfg.ConnConfig.RuntimeParams[k] = v
	}
	cfg.MaxConns = 2
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("platform: job queue: %w", err)
	}
	defer pool.Close()
	river, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: "jobs", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("platform: job queue: %w", err)
	}
	if _, err := river.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("platform: job queue: %w", err)
	}
	if _, err := conn.Exec(ctx, jobsGrants); err != nil {
		return fmt.Errorf("platform: job queue: grants: %w", err)
	}
	return nil
}

// organizations migrates every schema that is behind, several at once. One
// that fails does not keep the others from being migrated; all failures are
// returned together.
func (m *Migrator) organizations(ctx context.Context, conn *pgx.Conn) (Status, error) {
	s, err := m.status(ctx, conn)
	if err != nil {
		return s, err
	}
	if len(s.Behind) == 0 {
		return s, nil
	}
	if len(s.Behind) > 1 {
		m.log.Info("migrating organizations", "schemas", len(s.Behind), "to", m.wanted)
	}
	queue := make(chan string)
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		failed []error
		behind []string
	)
	for range min(m.parallel, len(s.Behind)) {
		wg.Go(func() {
			for schema := range queue {
				err := ctx.Err()
				if err == nil {
					err = m.run(ctx, m.orgs, pgx.Identifier{schema}.Sanitize()+", pg_temp")
				}
				if err == nil {
					continue
				}
				mu.Lock()
				behind = append(behind, schema)
				if ctx.Err() == nil {
					failed = append(failed, fmt.Errorf("platform: schema %s: %w", schema, err))
				}
				mu.Unlock()
			}
		})
	}
	for _, schema := range s.Behind {
		queue <- schema
	}
	close(queue)
	wg.Wait()
	slices.Sort(behind)
	s.Migrated, s.Behind = len(s.Behind)-len(behind), behind
	// Who was stopped is told so once, not once a schema.
	if err := ctx.Err(); err != nil {
		failed = append(failed, fmt.Errorf("platform: organizations: %w", err))
	}
	return s, errors.Join(failed...)
}

// Status says how far the migrations have come, and changes nothing.
func (m *Migrator) Status(ctx context.Context) (Status, error) {
	conn, err := connect(ctx, m.url, asOwner("pg_catalog"))
	if err != nil {
		return Status{}, fmt.Errorf("platform: migration status: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return m.status(ctx, conn)
}

func (m *Migrator) status(ctx context.Context, conn *pgx.Conn) (Status, error) {
	s := Status{Wanted: m.wanted}
	if err := conn.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM platform.goose_db_version`).Scan(&s.ControlPlane); err != nil {
		return s, fmt.Errorf("platform: migration status: %w", err)
	}
	rows, err := conn.Query(ctx, `SELECT n.nspname::text, EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'goose_db_version')
 FROM pg_namespace n WHERE n.nspname = 'pool' OR n.nspname ~ '^w_[0-9a-f]{32}$' ORDER BY 1`)
	if err != nil {
		return s, fmt.Errorf("platform: migration status: %w", err)
	}
	type schema struct {
		Name    string
		Started bool
	}
	schemas, err := pgx.CollectRows(rows, pgx.RowToStructByPos[schema])
	if err != nil {
		return s, fmt.Errorf("platform: migration status: %w", err)
	}
	s.Schemas = len(schemas)
	versions := &pgx.Batch{}
	for _, one := range schemas {
		if !one.Started {
			s.Behind = append(s.Behind, one.Name)
			continue
		}
		versions.Queue("SELECT coalesce(max(version_id), 0) FROM " + pgx.Identifier{one.Name, "goose_db_version"}.Sanitize()).QueryRow(func(row pgx.Row) error {
			var v int64
			if err := row.Scan(&v); err != nil {
				return err
			}
			switch {
			case v > m.wanted:
				return fmt.Errorf("%w: schema %s is at migration %d, this version knows %d", ErrNewer, one.Name, v, m.wanted)
			case v < m.wanted:
				s.Behind = append(s.Behind, one.Name)
			}
			return nil
		})
	}
	if versions.Len() == 0 {
		return s, nil
	}
	if err := conn.SendBatch(ctx, versions).Close(); err != nil {
		return s, fmt.Errorf("platform: migration status: %w", err)
	}
	slices.Sort(s.Behind)
	return s, nil
}

// SetCapabilityKey installs the key under which the application signs its
// capabilities. Transactions under way with an older key fail.
func (m *Migrator) SetCapabilityKey(ctx context.Context, key [32]byte) error {
	var ipad, opad [64]byte
	copy(ipad[:], key[:])
	copy(opad[:], key[:])
	for i := range ipad {
		ipad[i] ^= 0x36
		opad[i] ^= 0x5c
	}
	conn, err := connect(ctx, m.url, asOwner("pg_catalog"))
	if err != nil {
		return fmt.Errorf("platform: capability key: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, `INSERT INTO sr.capability_key (ipad, opad) VALUES ($1, $2)
 ON CONFLICT (only_one) DO UPDATE SET ipad = excluded.ipad, opad = excluded.opad
 WHERE capability_key.ipad <> excluded.ipad`, ipad[:], opad[:])
	if err != nil {
		return fmt.Errorf("platform: capability key: %w", err)
	}
	return nil
}
