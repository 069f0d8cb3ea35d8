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
	"strongroom/internal/testkit"
)

var update = flag.Bool("update", false, "write baseline.sql and the golden files anew")

// TestTheBaselineIsTheMigrations compares a schema that the baseline built with
// one that was migrated, catalog row by catalog row.
func TestTheBaselineIsTheMigrations(t *testing.T) {
	server := testkit.TestServer(t)
	name := emptyDatabase(t, server)
	url := server.URL("sr_root", name)
	m := migrator(t, server.URL("sr_migrator", name))
	if err := m.MigrateWithoutBaseline(t.Context()); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("baseline.sql", []byte(generate(t, url)), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if _, err := m.MigrateAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := provisioner(t, server.URL("sr_provisioner", name))
	if err := p.Restock(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	root := open(t, url)
	var built string
	if err := root.QueryRow(t.Context(), "SELECT schema_name FROM platform.spare").Scan(&built); err != nil {
		t.Fatal(err)
	}
	want, got := catalog(t, root, "pool", "w_pool"), catalog(t, root, built, built)
	for line := range want {
		if !got[line] {
			t.Errorf("the baseline lacks: %s", line)
		}
	}
	for line := range got {
		if !want[line] {
			t.Errorf("the migrations do not make: %s", line)
		}
	}
	if len(want) < 100 {
		t.Errorf("the comparison looked at %d things only", len(want))
	}
}

// catalog describes everything in a schema, without the names of the schema
// and its role.
func catalog(t *testing.T, conn *pgx.Conn, schema, role string) map[string]bool {
	t.Helper()
	rows, _ := conn.Query(t.Context(), `
WITH rel AS (SELECT c.* FROM pg_class c WHERE c.relnamespace = $1::text::regnamespace)
SELECT format('relation %s %s owner %s rls %s force %s options %s persistence %s', relkind, relname, relowner::regrole, relrowsecurity, relforcerowsecurity, reloptions, relpersistence) FROM rel
UNION ALL SELECT format('privilege %s %s to %s by %s grantable %s', c.relname, a.privilege_type, a.grantee::regrole, a.grantor::regrole, a.is_grantable) FROM rel c, aclexplode(c.relacl) a
UNION ALL SELECT format('column privilege %s.%s %s', c.relname, a.attname, a.attacl) FROM rel c JOIN pg_attribute a ON a.attrelid = c.oid WHERE a.attacl IS NOT NULL
UNION ALL SELECT format('column %s.%s %s %s null %s default %s identity %s storage %s', c.relname, a.attname, a.attnum, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attstorage)
 FROM rel c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum WHERE c.relkind IN ('r', 'v', 'm', 'p')
UNION ALL SELECT format('constraint %s %s %s deferrable %s %s valid %s', c.relname, k.conname, pg_get_constraintdef(k.oid), k.condeferrable, k.condeferred, k.convalidated) FROM rel c JOIN pg_constraint k ON k.conrelid = c.oid
UNION ALL SELECT format('index %s valid %s', pg_get_indexdef(i.indexrelid), i.indisvalid) FROM rel c JOIN pg_index i ON i.indrelid = c.oid
UNION ALL SELECT format('policy %s %s cmd %s permissive %s roles %s using %s check %s', c.relname, p.polname, p.polcmd, p.polpermissive, p.polroles::regrole[], pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) FROM rel c JOIN pg_policy p ON p.polrelid = c.oid
UNION ALL SELECT format('trigger %s %s enabled %s', c.relname, pg_get_triggerdef(g.oid), g.tgenabled) FROM rel c JOIN pg_trigger g ON g.tgrelid = c.oid WHERE NOT g.tgisinternal
UNION ALL SELECT format('foreign key trigger %s %s', c.relname, count(*)) FROM rel c JOIN pg_trigger g ON g.tgrelid = c.oid WHERE g.tgisinternal GROUP BY c.relname
UNION ALL SELECT format('function %s', pg_get_functiondef(p.oid)) FROM pg_proc p WHERE p.pronamespace = $1::text::regnamespace
UNION ALL SELECT format('type %s %s', y.typname, y.typtype) FROM pg_type y WHERE y.typnamespace = $1::text::regnamespace
UNION ALL SELECT format('schema privilege %s to %s', a.privilege_type, a.grantee::regrole) FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = $1
UNION ALL SELECT format('default privilege %s', d.defaclacl) FROM pg_default_acl d WHERE d.defaclnamespace = $1::text::regnamespace`, schema)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	qualifier, roleName := regexp.MustCompile(`\b`+schema+`\.`), regexp.MustCompile(`\b`+role+`\b`)
	set := map[string]bool{}
	for _, line := range lines {
		set[roleName.ReplaceAllString(qualifier.ReplaceAllString(line, ""), "ROLE")] = true
	}
	rows, _ = conn.Query(t.Context(), "SELECT format('version %s %s', version_id, is_applied) FROM "+schema+".goose_db_version")
	versions, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range versions {
		set[v] = true
	}
	return set
}

// noise is what pg_dump writes and a schema built for an organization does not
// need: settings, ownership (everything is made by its owner) and what is not
// the schema's.
var noise = regexp.MustCompile(`^(--|SET |SELECT pg_catalog\.set_config|CREATE SCHEMA|ALTER SCHEMA|ALTER (TABLE|SEQUENCE) .* OWNER TO|(GRANT|REVOKE) .* ON (SCHEMA|LANGUAGE) |\\)`)

// inPool is the schema's name before that of something in it.
var inPool = regexp.MustCompile(`\bpool\.`)

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
		line = inPool.ReplaceAllString(line, "")
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
