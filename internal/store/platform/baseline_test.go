package platform_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"strongroom/internal/postgres"
	"strongroom/internal/store/platform"
	"strongroom/internal/testkit"
)

var update = flag.Bool("update", false, "write baseline.sql and the golden files anew")

// TestTheBaselineIsTheMigrations generates the script from a migrated schema
// and compares it with the one in the build.
func TestTheBaselineIsTheMigrations(t *testing.T) {
	server := testkit.TestServer(t)
	name := emptyDatabase(t, server)
	url := server.URL("sr_root", name)
	m := migrator(t, server.URL("sr_migrator", name))
	if err := m.MigrateWithoutBaseline(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := generate(t, url)
	if *update {
		if err := os.WriteFile("baseline.sql", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("baseline.sql")
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Error("baseline.sql is not what the migrations make; run: go test ./internal/store/platform -run Baseline -update")
	}
}

func migrator(t *testing.T, url string) *platform.Migrator {
	t.Helper()
	migrations, err := testkit.Migrations()
	if err != nil {
		t.Fatal(err)
	}
	m, err := platform.NewMigrator(platform.MigratorOptions{URL: url, Organizations: migrations})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// noise is what pg_dump writes and a schema built for an organization does not
// need: settings, ownership (everything is made by its owner) and what is not
// the schema's.
var noise = regexp.MustCompile(`^(--|SET |SELECT pg_catalog\.set_config|CREATE SCHEMA|ALTER SCHEMA|ALTER (TABLE|SEQUENCE) .* OWNER TO|(GRANT|REVOKE) .* ON (SCHEMA|LANGUAGE) |\\)`)

// generate writes the tables of the schema pool as a script without the
// schema's name, and with {{role}} for its role.
func generate(t *testing.T, url string) string {
	t.Helper()
	bin, err := postgres.Find()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(filepath.Join(bin.Dir, "pg_dump"), "--dbname="+url, "--schema-only", "--schema=pool", "--no-comments").Output()
	if err != nil {
		t.Fatal(err)
	}
	var script, last []string
	for line := range strings.Lines(string(out)) {
		if line == "\n" || noise.MatchString(line) {
			continue
		}
		line = strings.ReplaceAll(line, " pool.", " ")
		line = strings.ReplaceAll(line, " TO w_pool;", " TO {{role}};")
		script = append(script, line)
		// The reference to platform.org locks that table against new
		// organizations until the build commits: it comes last.
		if strings.Contains(line, " REFERENCES platform.") {
			last = append(last, script[len(script)-2:]...)
			script = script[:len(script)-2]
		}
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	rows, _ := conn.Query(t.Context(), "SELECT version_id FROM pool.goose_db_version ORDER BY id")
	versions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		script = append(script, fmt.Sprintf("INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, true);\n", v))
	}
	return fmt.Sprintf("-- Organization tables at migration %d. Generated from the migrations; do not edit.\n\n%s%s",
		slices.Max(versions), strings.Join(script, ""), strings.Join(last, ""))
}
