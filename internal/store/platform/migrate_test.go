package platform_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"strongroom/internal/store/platform"
	"strongroom/internal/testkit"
)

// spares is how many spare schemas the test of many schemas has.
const spares = 50

func migrator(t *testing.T, url string) *platform.Migrator {
	t.Helper()
	migrations, err := testkit.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	return migratorOf(t, url, migrations)
}

func migratorOf(t *testing.T, url string, set fs.FS) *platform.Migrator {
	t.Helper()
	m, err := platform.NewMigrator(platform.MigratorOptions{URL: url, Organizations: set, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// next returns the organizations' migrations and one more, of the given SQL.
func next(t *testing.T, sql string) fs.FS {
	t.Helper()
	set, err := nextSet(sql)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func nextSet(sql string) (fs.FS, error) {
	now, err := testkit.Migrations()
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(now, "*.sql")
	if err != nil {
		return nil, err
	}
	all := fstest.MapFS{}
	for _, name := range names {
		b, err := fs.ReadFile(now, name)
		if err != nil {
			return nil, err
		}
		all[name] = &fstest.MapFile{Data: b}
	}
	all["9999_next.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + sql)}
	return all, nil
}

// applied says how often the next migration was applied, by schema.
func applied(t *testing.T, root *pgx.Conn) map[string]int {
	t.Helper()
	rows, _ := root.Query(t.Context(), `SELECT nspname::text FROM pg_namespace WHERE nspname = 'pool' OR nspname ~ '^w_' ORDER BY 1`)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, name := range names {
		var n int
		if err := root.QueryRow(t.Context(), "SELECT count(*) FROM "+name+".goose_db_version WHERE version_id = 9999").Scan(&n); err != nil {
			t.Fatal(err)
		}
		times[name] = n
	}
	return times
}

func TestARunThatFailedForOneSchemaIsContinued(t *testing.T) {
	t.Parallel()
	db := ownDatabase(t)
	if err := provisioner(t, db.URL("sr_provisioner")).Restock(t.Context(), spares); err != nil {
		t.Fatal(err)
	}
	root := open(t, db.URL("sr_root"))
	before := applied(t, root)
	names := make([]string, 0, len(before))
	for name := range before {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) != spares+1 {
		t.Fatalf("%d schemas, want %d spares and the pool", len(names), spares)
	}
	broken := names[spares/2]
	if _, err := root.Exec(t.Context(), "CREATE TABLE "+broken+".note (a int)"); err != nil {
		t.Fatal(err)
	}
	// The first statement succeeds everywhere; where the second fails, the
	// first must be undone.
	m := migratorOf(t, db.URL("sr_migrator"), next(t, "CREATE TABLE early (a int);\nCREATE TABLE note (a int);\n"))
	if err := m.MigrateWithoutBaseline(t.Context()); err == nil || !strings.Contains(err.Error(), broken) {
		t.Fatalf("the run with a broken schema: %v; want an error that names it", err)
	}
	s, err := m.Status(t.Context())
	if err != nil || len(s.Behind) != 1 || s.Behind[0] != broken || s.Schemas != spares+1 {
		t.Fatalf("after it: %+v, %v; want the broken schema alone behind", s, err)
	}
	if _, err := root.Exec(t.Context(), "DROP TABLE "+broken+".note"); err != nil {
		t.Fatal(err)
	}
	if err := m.MigrateWithoutBaseline(t.Context()); err != nil {
		t.Fatalf("the run after the repair: %v", err)
	}
	for name, n := range applied(t, root) {
		if n != 1 {
			t.Errorf("%s was migrated %d times", name, n)
		}
	}
	// An older version must not touch what a newer one made.
	if _, err := migrator(t, db.URL("sr_migrator")).MigrateAll(t.Context()); !errors.Is(err, platform.ErrNewer) {
		t.Errorf("an older version on it: %v; want %v", err, platform.ErrNewer)
	}
}

// childURL, when set, makes this test binary a migrator that waits to be
// killed.
const childURL = "STRONGROOM_PLATFORM_TEST_MIGRATE"

const slowMigration = "CREATE TABLE slow (a int);\nSELECT pg_sleep(0.1);\n"

func child(url string) int {
	set, err := nextSet(slowMigration)
	if err == nil {
		var m *platform.Migrator
		if m, err = platform.NewMigrator(platform.MigratorOptions{URL: url, Organizations: set}); err == nil {
			err = m.MigrateWithoutBaseline(context.Background())
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func TestAKilledRunIsContinuedAndSchemasAreMigratedInParallel(t *testing.T) {
	t.Parallel()
	const some = 20
	db := ownDatabase(t)
	if err := provisioner(t, db.URL("sr_provisioner")).Restock(t.Context(), some); err != nil {
		t.Fatal(err)
	}
	root := open(t, db.URL("sr_root"))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childURL+"="+db.URL("sr_migrator"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := func() (n int) {
		for _, times := range applied(t, root) {
			n += times
		}
		return n
	}
	for deadline := time.Now().Add(30 * time.Second); done() < 3; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the run did not get anywhere")
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if n := done(); n > some {
		t.Fatalf("the run was killed too late: %d schemas were done", n)
	}

	// The continuing run, watched: more than one schema at once, and no more
	// than allowed.
	watch := open(t, db.URL("sr_root"))
	var wg sync.WaitGroup
	finished := make(chan struct{})
	most := 0
	wg.Go(func() {
		for {
			var n int
			if err := watch.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND query LIKE '%pg_sleep%' AND state = 'active' AND pid <> pg_backend_pid()", db.name).Scan(&n); err != nil {
				t.Error(err)
				return
			}
			most = max(most, n)
			select {
			case <-finished:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	err := migratorOf(t, db.URL("sr_migrator"), next(t, slowMigration)).MigrateWithoutBaseline(t.Context())
	close(finished)
	wg.Wait()
	if err != nil {
		t.Fatalf("the run after the killed one: %v", err)
	}
	for name, n := range applied(t, root) {
		if n != 1 {
			t.Errorf("%s was migrated %d times", name, n)
		}
	}
	if most < 2 || most > 4 {
		t.Errorf("at most %d schemas were migrated at once; want 2 to 4", most)
	}
}

func TestMigratingIsRepeatableAndSafeAtOnce(t *testing.T) {
	t.Parallel()
	server := testkit.TestServer(t)
	db := database{server, emptyDatabase(t, server)}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := platform.Bootstrap(t.Context(), db.URL("sr_root")); err != nil {
				t.Error(err)
			}
			if _, err := migrator(t, db.URL("sr_migrator")).MigrateAll(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s, err := migrator(t, db.URL("sr_migrator")).MigrateAll(t.Context())
	if err != nil || s.Migrated != 0 || s.Schemas != 1 || len(s.Behind) > 0 || s.ControlPlane == 0 {
		t.Errorf("once more: %+v, %v; want nothing to do", s, err)
	}
}

func TestAStaleBaselineIsRefused(t *testing.T) {
	t.Parallel()
	db := ownDatabase(t)
	_, err := migratorOf(t, db.URL("sr_migrator"), next(t, "CREATE TABLE note (a int);\n")).MigrateAll(t.Context())
	if err == nil || !strings.Contains(err.Error(), "generate it again") {
		t.Errorf("migrations that the baseline does not know: %v", err)
	}
}

func TestTwoMigrationsOfOneNumberAreRefused(t *testing.T) {
	t.Parallel()
	one := fstest.MapFS{"migrations/0007_a.sql": {Data: []byte("-- +goose Up\n")}}
	two := fstest.MapFS{"migrations/0007_b.sql": {Data: []byte("-- +goose Up\n")}}
	if _, err := platform.MergeMigrations(one, two); err == nil {
		t.Error("accepted")
	}
}

func TestTheFingerprintKnowsTheMigrations(t *testing.T) {
	t.Parallel()
	now, err := testkit.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, set := range []fs.FS{now, next(t, "SELECT 1;\n"), next(t, "SELECT 2;\n")} {
		print, err := platform.Fingerprint(set)
		if err != nil || seen[print] {
			t.Errorf("fingerprint %s, %v; want a new one for each set", print, err)
		}
		seen[print] = true
	}
}

func TestBootstrapMendsWhatWasChanged(t *testing.T) {
	t.Parallel()
	server := testkit.TestServer(t)
	db := database{server, emptyDatabase(t, server)}
	root := open(t, db.URL("sr_root"))
	if _, err := root.Exec(t.Context(), "GRANT CREATE ON SCHEMA public TO PUBLIC; GRANT TEMP ON DATABASE "+db.name+" TO PUBLIC; GRANT SELECT ON pg_class TO PUBLIC; GRANT EXECUTE ON FUNCTION lo_create(oid) TO PUBLIC"); err != nil {
		t.Fatal(err)
	}
	if err := platform.Bootstrap(t.Context(), db.URL("sr_root")); err != nil {
		t.Fatal(err)
	}
	app := open(t, db.URL("sr_app_00"))
	for _, sql := range []string{"CREATE TABLE public.a (a int)", "CREATE TEMP TABLE a (a int)", "SELECT FROM pg_class", "SELECT lo_create(0)"} {
		if _, err := app.Exec(t.Context(), sql); code(err) != "42501" {
			t.Errorf("%s: %v; want permission denied", sql, err)
		}
	}
	if err := platform.Bootstrap(t.Context(), server.URL("sr_root", "postgres")); err == nil {
		t.Error("bootstrapped the maintenance database")
	}
}
