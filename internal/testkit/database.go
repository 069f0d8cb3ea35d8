// Package testkit gives tests the real thing: a database of their own on a
// real PostgreSQL, and organizations in both placements.
//
// A package that uses it hands its tests over once:
//
//	func TestMain(m *testing.M) { testkit.Main(m) }
//
// Its tests then share one database, cloned from a template that is made once
// a server, and each case makes an organization of its own. The PostgreSQL is
// the one that STRONGROOM_TEST_PG names (the superuser's URL; go run
// ./internal/testkit/pgrun go test ./... sets it), or one that the package
// starts for itself. Where there is none the test fails: a skipped test looks
// like a passing one.
package testkit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strongroom/internal/postgres"
	"strongroom/internal/store/platform"
)

// Migrations returns the organizations' migrations of all features. They are
// read from the source, not imported: the kit serves tests of the features and
// of every floor below them.
func Migrations() (fs.FS, error) {
	root, err := os.Getwd() // of a test: its package's folder
	if err != nil {
		return nil, err
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			break
		}
		if root == filepath.Dir(root) {
			return nil, errors.New("this test does not run inside the module")
		}
		root = filepath.Dir(root)
	}
	features, err := filepath.Glob(filepath.Join(root, "internal/feature/*/migrations"))
	if err != nil {
		return nil, err
	}
	var sets []fs.FS
	for _, folder := range features {
		sets = append(sets, os.DirFS(filepath.Dir(folder)))
	}
	return platform.MergeMigrations(sets...)
}

// Main runs the package's tests and ends the process, as TestMain does.
func Main(m *testing.M) { os.Exit(Run(m)) }

// Run is Main for a TestMain with something to do afterwards: it returns the
// exit code.
func Run(m *testing.M) int {
	the.run = true
	code := m.Run()
	if err := the.close(); err != nil {
		fmt.Fprintln(os.Stderr, "testkit:", err)
		code = max(code, 1)
	}
	return code
}

// DB is a package's database.
type DB struct {
	// CapabilityKey is the key that the database checks capabilities with.
	CapabilityKey [32]byte
	// Name is the database's name.
	Name   string
	server *Server

	provisioner *platform.Provisioner
}

// URL returns the connection string of a login: sr_root, sr_migrator,
// sr_platform, sr_audit, sr_jobs, sr_provisioner, or sr_app_00 to sr_app_15.
func (d *DB) URL(login string) string { return d.server.URL(login, d.Name) }

// Server is the PostgreSQL that tests use.
type Server struct {
	base    url.URL
	cluster *postgres.Cluster // nil where STRONGROOM_TEST_PG names it
	dir     string
}

// URL returns the connection string of a login in a database.
func (s *Server) URL(login, database string) string {
	u := s.base
	u.User, u.Path = url.User(login), "/"+database
	return u.String()
}

// the holds what a test binary has one of.
var the kit

type kit struct {
	run    bool
	mu     sync.Mutex
	server *Server
	db     *DB
	failed error
}

// Database returns the package's database, made at the first call.
func Database(t testing.TB) *DB {
	t.Helper()
	the.mu.Lock()
	defer the.mu.Unlock()
	if the.db == nil {
		server := the.open(t)
		db, err := server.clone()
		if err != nil {
			the.failed = err
			t.Fatalf("testkit: %v", err)
		}
		the.db = db
	}
	return the.db
}

// TestServer returns the PostgreSQL itself, for tests of bootstrap and
// migrations that make their own databases.
func TestServer(t testing.TB) *Server {
	t.Helper()
	the.mu.Lock()
	defer the.mu.Unlock()
	return the.open(t)
}

func (k *kit) open(t testing.TB) *Server {
	t.Helper()
	switch {
	case !k.run:
		t.Fatal("testkit: this package needs: func TestMain(m *testing.M) { testkit.Main(m) }")
	case k.failed != nil:
		t.Fatalf("testkit: %v", k.failed)
	case k.server != nil:
		return k.server
	}
	server, err := startServer()
	if err != nil {
		k.failed = err
		t.Fatalf("testkit: %v", err)
	}
	k.server = server
	return server
}

// wait bounds what the kit itself does; it is generous, as several test
// binaries share a machine.
const wait = 2 * time.Minute

func startServer() (*Server, error) {
	if given := os.Getenv("STRONGROOM_TEST_PG"); given != "" {
		u, err := url.Parse(given)
		if err != nil || u.Scheme == "" {
			return nil, errors.New("STRONGROOM_TEST_PG is not the URL of a PostgreSQL superuser")
		}
		return &Server{base: *u}, nil
	}
	// The usual temporary folder of a test is closed to the user that
	// PostgreSQL runs as.
	dir, err := os.MkdirTemp("", "strongroom-test-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	if err := errors.Join(os.Chmod(dir, 0o711), s.start()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func (s *Server) start() error {
	user, err := postgres.EnsureUser("strongroom-postgres")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	s.cluster, err = postgres.Start(ctx, postgres.Options{
		DataDir: filepath.Join(s.dir, "postgres"), SocketDir: filepath.Join(s.dir, "socket"), User: user,
		// Nothing here outlives the tests: waiting for the disk proves nothing.
		Settings: map[string]string{"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off",
			"shared_buffers": "64MB", "wal_level": "minimal", "max_wal_senders": "0"},
	})
	if err != nil {
		return err
	}
	u, err := url.Parse(s.cluster.URL(postgres.DefaultSuperuser, "postgres"))
	if err != nil {
		return err
	}
	s.base = *u
	return nil
}

func (k *kit) close() error {
	if k.server == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	if k.db != nil && k.db.provisioner != nil {
		k.db.provisioner.Close()
	}
	// The doors go before the database they lead to.
	doorsErr := closeDoors()
	if c := k.server.cluster; c != nil {
		return errors.Join(doorsErr, c.Stop(ctx), os.RemoveAll(k.server.dir))
	}
	if k.db == nil {
		return doorsErr
	}
	return errors.Join(doorsErr, k.server.Drop(ctx, k.db.Name))
}

// Drop removes a database and the roles of the organizations in it.
func (s *Server) Drop(ctx context.Context, name string) error {
	db, err := pgx.Connect(ctx, s.URL(postgres.DefaultSuperuser, name))
	if err != nil {
		return err
	}
	rows, _ := db.Query(ctx, `SELECT nspname::text FROM pg_namespace WHERE nspname ~ '^w_[0-9a-f]{32}$'`)
	roles, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err = errors.Join(err, db.Close(ctx)); err != nil {
		return err
	}
	root, err := pgx.Connect(ctx, s.URL(postgres.DefaultSuperuser, "postgres"))
	if err != nil {
		return err
	}
	defer func() { _ = root.Close(ctx) }()
	if _, err := root.Exec(ctx, "DROP DATABASE IF EXISTS "+pgx.Identifier{name}.Sanitize()+" WITH (FORCE)"); err != nil {
		return err
	}
	if len(roles) > 0 {
		_, err = root.Exec(ctx, "DROP ROLE IF EXISTS "+strings.Join(roles, ", "))
	}
	return err
}

// templateLock lets one test binary make the template while others wait.
const templateLock = 0x73747267_10

// template returns the name of a database that is bootstrapped and migrated,
// and makes it if this server has none of this version.
func (s *Server) template(ctx context.Context, root *pgx.Conn) (name string, err error) {
	migrations, err := Migrations()
	if err != nil {
		return "", err
	}
	print, err := platform.Fingerprint(migrations)
	if err != nil {
		return "", err
	}
	name = "strongroom_template_" + print
	if _, err := root.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(templateLock)); err != nil {
		return "", err
	}
	defer func() {
		_, uerr := root.Exec(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", int64(templateLock))
		err = errors.Join(err, uerr)
	}()
	// The comment comes last: a template without it was left half made.
	var ready bool
	if err := root.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database d
 JOIN pg_shdescription c ON c.objoid = d.oid AND c.classoid = 'pg_database'::regclass
 WHERE d.datname = $1 AND c.description = 'ready')`, name).Scan(&ready); err != nil || ready {
		return name, err
	}
	quoted := pgx.Identifier{name}.Sanitize()
	if _, err := root.Exec(ctx, "DROP DATABASE IF EXISTS "+quoted+" WITH (FORCE)"); err != nil {
		return "", err
	}
	if err := platform.Bootstrap(ctx, s.URL(postgres.DefaultSuperuser, name)); err != nil {
		return "", err
	}
	migrator, err := platform.NewMigrator(platform.MigratorOptions{URL: s.URL("sr_migrator", name), Organizations: migrations})
	if err != nil {
		return "", err
	}
	if _, err := migrator.MigrateAll(ctx); err != nil {
		return "", err
	}
	_, err = root.Exec(ctx, "COMMENT ON DATABASE "+quoted+" IS 'ready'")
	return name, err
}

// clone makes a database from the template.
func (s *Server) clone() (*DB, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	root, err := pgx.Connect(ctx, s.URL(postgres.DefaultSuperuser, "postgres"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close(context.WithoutCancel(ctx)) }()
	template, err := s.template(ctx, root)
	if err != nil {
		return nil, err
	}
	d := &DB{Name: "strongroom_test_" + strings.ToLower(rand.Text()), server: s}
	for try := 0; ; try++ {
		_, err = root.Exec(ctx, "CREATE DATABASE "+d.Name+" TEMPLATE "+template+" OWNER sr_owner")
		// A connection that was just closed may still be on its way out.
		if err == nil || try == 50 || !strings.Contains(err.Error(), "being accessed") {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		return nil, err
	}
	// A clone has the template's tables and grants, but not the rights on the
	// database itself.
	if err := platform.Bootstrap(ctx, d.URL(postgres.DefaultSuperuser)); err != nil {
		return nil, err
	}
	_, _ = rand.Read(d.CapabilityKey[:])
	migrations, err := Migrations()
	if err != nil {
		return nil, err
	}
	migrator, err := platform.NewMigrator(platform.MigratorOptions{URL: d.URL("sr_migrator"), Organizations: migrations})
	if err != nil {
		return nil, err
	}
	if err := migrator.SetCapabilityKey(ctx, d.CapabilityKey); err != nil {
		return nil, err
	}
	d.provisioner, err = platform.NewProvisioner(ctx, d.URL("sr_provisioner"))
	return d, err
}
