package platform_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"strongroom/internal/store/platform"
	"strongroom/internal/testkit"
)

// What no login may do, whoever it is.
var deniedToAll = []string{
	"SELECT FROM sr.capability_key",
	"UPDATE audit.event SET idx = idx + 1",
	"DELETE FROM audit.event",
	"TRUNCATE audit.event",
	"TRUNCATE audit.pending",
	"UPDATE audit.pending SET void = true",
	"DELETE FROM platform.org",
	"INSERT INTO platform.org (id, placement, schema_name, role_name, slice, plan) VALUES (gen_random_uuid(), 'pooled', 'pool', 'w_pool', 0, 'x')",
	"UPDATE platform.org SET schema_name = 'pool'",
	"INSERT INTO pool.org (id) VALUES (gen_random_uuid())",
	"INSERT INTO audit.head (org_id) VALUES (gen_random_uuid())",
	"UPDATE platform.baseline SET script = ''",
	"SELECT sr.create_tenant_role('w_' || repeat('0', 32), 1)",
	"SELECT platform.build()",
	"CREATE ROLE w_mine",
	"CREATE SCHEMA mine",
	"CREATE TABLE public.mine (a int)",
	"CREATE TEMP TABLE mine (a int)",
	"SET ROLE sr_roles",
	"SET ROLE sr_catalog",
	"SET ROLE pg_read_all_data",
	"GRANT sr_owner TO sr_app_00",
	"ALTER ROLE sr_app_00 SUPERUSER",
	"COPY (SELECT 1) TO PROGRAM 'true'",
	"COPY (SELECT 1) TO '/tmp/strongroom-test'",
	"SELECT pg_read_file('PG_VERSION')",
	"SELECT lo_create(0)",
	"DO $$ BEGIN END $$",
}

// What the logins that serve requests may not do either: look around, hold
// or signal other connections, run SQL from a string.
var deniedToServers = []string{
	"SELECT FROM pg_class",
	"SELECT FROM pg_namespace",
	"SELECT FROM pg_roles",
	"SELECT FROM pg_proc",
	"SELECT FROM pg_attribute",
	"SELECT FROM pg_stats",
	"SELECT FROM pg_database",
	"SELECT FROM pg_stat_activity",
	"SELECT FROM pg_stat_user_tables",
	"SELECT FROM pg_locks",
	"SELECT FROM pg_prepared_statements",
	"SELECT FROM pg_cursors",
	"SELECT FROM pg_settings",
	"SELECT FROM information_schema.tables",
	"SELECT pg_advisory_lock(1)",
	"SELECT pg_try_advisory_xact_lock(1)",
	"SELECT pg_sleep(0)",
	"SELECT pg_notify('a', 'b')",
	"SELECT pg_database_size('postgres')",
	"SELECT pg_total_relation_size('pool.record')",
	"SELECT pg_cancel_backend(pg_backend_pid())",
	"SELECT pg_terminate_backend(pg_backend_pid())",
	"SELECT query_to_xml('SELECT 1', true, true, '')",
	"SELECT pg_export_snapshot()",
}

func TestEachLoginIsRefusedWhatItsWorkDoesNotNeed(t *testing.T) {
	t.Parallel()
	db := testkit.Database(t)
	org := testkit.Org(t, platform.PlacementSchema)
	people := []string{"SELECT FROM platform.person", "SELECT FROM platform.membership", "SELECT FROM platform.session", "SELECT FROM platform.api_key"}
	directory := []string{"SELECT FROM platform.org", "SELECT FROM platform.spare", "SELECT FROM platform.baseline"}
	log := []string{"SELECT FROM audit.pending", "SELECT FROM audit.head", "SELECT FROM audit.leader", "SELECT FROM audit.server_chain"}
	data := []string{"SELECT FROM pool.record", "SELECT FROM " + org.Schema + ".record", "INSERT INTO pool.trash DEFAULT VALUES", "SET ROLE " + org.Role, "SET ROLE w_pool", "SET ROLE sr_tenant", "SET ROLE sr_owner"}
	queue := []string{"SELECT FROM jobs.river_job", "DELETE FROM jobs.river_job", "UPDATE jobs.river_job SET state = 'available'", "SELECT FROM jobs.river_leader"}
	capability := []string{"SELECT sr.org()", "SELECT sr.usr()"}
	provision := []string{"SELECT platform.restock(1)", "SELECT platform.found(gen_random_uuid(), 'pooled', 'x', NULL)"}

	denied := map[string][][]string{
		"sr_platform":    {deniedToServers, log, data, queue, provision, {"SELECT FROM platform.spare", "DELETE FROM platform.person", "UPDATE platform.person SET id = id", "UPDATE platform.membership SET org_id = org_id", "UPDATE platform.api_key SET secret_hash = ''", "UPDATE platform.session SET person_id = person_id", "INSERT INTO audit.event (org_id) VALUES (NULL)"}},
		"sr_audit":       {deniedToServers, people, directory, data, queue, capability, provision, {"UPDATE audit.head SET org_id = org_id", "INSERT INTO audit.pending (xid) VALUES (pg_current_xact_id())", "DELETE FROM audit.leader", "DELETE FROM audit.server_chain", "DELETE FROM audit.head"}},
		"sr_provisioner": {deniedToServers, people, log, data, queue, capability, {"SELECT FROM platform.org", "SELECT FROM platform.baseline", "INSERT INTO platform.spare (schema_name) VALUES ('pool')", "DELETE FROM platform.spare"}},
		"sr_inspector":   {people, directory, log, data, queue, capability, provision, {"SELECT FROM audit.event", "SELECT FROM pg_stats", "SELECT FROM pg_statistic", "SELECT FROM pg_proc", "SELECT FROM pg_stat_activity", "SELECT FROM pg_authid", "SELECT FROM sr.capability_key", "SELECT FROM pool.goose_db_version"}},
		"sr_jobs":        {without(deniedToServers, "pg_notify"), people, directory, log, data, capability, provision, {"ALTER TABLE jobs.river_job ADD COLUMN a int"}},
	}
	for n := range platform.Slices {
		lists := [][]string{deniedToServers, people, directory, log, queue, provision, without(data, "w_pool", "sr_tenant", org.Role),
			{"INSERT INTO jobs.river_job (id, kind, max_attempts) VALUES (1, 'x', 1)", "SELECT FROM audit.event"}}
		if n != org.Slice {
			lists = append(lists, []string{"SET ROLE " + org.Role})
		}
		denied[platform.AppLogin(n)] = lists
	}
	for login, lists := range denied {
		t.Run(login, func(t *testing.T) {
			t.Parallel()
			conn := open(t, db.URL(login))
			for _, sql := range append(lists, deniedToAll) {
				for _, one := range sql {
					if err := tryAndUndo(t, conn, one); code(err) != "42501" {
						t.Errorf("%s: %v; want permission denied", one, err)
					}
				}
			}
			if _, err := pgx.Connect(t.Context(), strings.Replace(db.URL(login), db.Name, "postgres", 1)); code(err) != "42501" {
				t.Errorf("connected to the maintenance database: %v", err)
			}
		})
	}
}

// tryAndUndo runs one statement and takes back what it did.
func tryAndUndo(t *testing.T, conn *pgx.Conn, sql string) error {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}()
	_, err = tx.Exec(t.Context(), sql)
	return err
}

func without(list []string, parts ...string) (rest []string) {
next:
	for _, one := range list {
		for _, part := range parts {
			if strings.Contains(one, part) {
				continue next
			}
		}
		rest = append(rest, one)
	}
	return rest
}

func TestNoLoginHasAPowerOfItsOwn(t *testing.T) {
	t.Parallel()
	root := open(t, testkit.Database(t).URL("sr_root"))
	testkit.Org(t, platform.PlacementSchema)
	rows, _ := root.Query(t.Context(), `SELECT rolname::text FROM pg_roles
 WHERE (rolname ~ '^(sr|w)_') AND rolname <> 'sr_root'
 AND (rolsuper OR rolcreatedb OR rolreplication OR rolbypassrls OR (rolcreaterole AND rolname <> 'sr_roles')
 OR (rolcanlogin AND rolinherit) OR (rolcanlogin AND (rolname ~ '^w_' OR rolname IN ('sr_owner', 'sr_tenant', 'sr_roles', 'sr_catalog'))))`)
	if got, err := pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || len(got) > 0 {
		t.Errorf("roles with a power they should not have: %v, %v", got, err)
	}
	rows, _ = root.Query(t.Context(), `SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE (n.nspname IN ('platform', 'audit', 'jobs', 'sr', 'pool') OR n.nspname ~ '^w_') AND c.relowner <> 'sr_owner'::regrole`)
	if got, err := pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || len(got) > 0 {
		t.Errorf("not owned by sr_owner: %v, %v", got, err)
	}
	// Every table of an organization, of people and of the log is under row
	// level security, its owner included.
	rows, _ = root.Query(t.Context(), `SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND NOT (c.relrowsecurity AND c.relforcerowsecurity) AND c.relname <> 'goose_db_version'
 AND (n.nspname = 'pool' OR n.nspname ~ '^w_' OR c.oid::regclass::text IN ('platform.person', 'platform.membership', 'platform.session',
 'platform.api_key', 'audit.pending', 'audit.head', 'audit.event'))`)
	if got, err := pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || len(got) > 0 {
		t.Errorf("without forced row level security: %v, %v", got, err)
	}
	// A foreign key or unique index that does not lead with the organization
	// would tell one organization what another one has.
	rows, _ = root.Query(t.Context(), `SELECT c.conrelid::regclass::text || ' ' || c.conname FROM pg_constraint c
 JOIN pg_namespace n ON n.oid = c.connamespace JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
 WHERE (n.nspname = 'pool' OR n.nspname ~ '^w_') AND c.contype IN ('p', 'u', 'f') AND a.attname <> 'org_id'
 AND c.conrelid::regclass::text !~ '(\.org|\.goose_db_version)$'
 UNION ALL
 SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
 WHERE (n.nspname = 'pool' OR n.nspname ~ '^w_') AND a.attname <> 'org_id' AND c.relname NOT IN ('org', 'goose_db_version')`)
	if got, err := pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || len(got) > 0 {
		t.Errorf("not led by the organization: %v, %v", got, err)
	}
	// A table that a change could slip into without an event.
	rows, _ = root.Query(t.Context(), `SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND (n.nspname = 'pool' OR n.nspname ~ '^w_') AND c.relname NOT IN ('org', 'goose_db_version')
 AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND g.tgname = 'audited' AND g.tgdeferrable AND g.tginitdeferred
 AND g.tgenabled = 'O' AND g.tgtype & 29 = 29)`)
	if got, err := pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || len(got) > 0 {
		t.Errorf("without the audit trigger: %v, %v", got, err)
	}
}

// TestTheClearColumnsAreListed holds the golden list of everything that is
// stored unsealed. A new line is a decision: docs/threat-model.md says what an
// observer learns from it.
func TestTheClearColumnsAreListed(t *testing.T) {
	t.Parallel()
	root := open(t, testkit.Database(t).URL("sr_root"))
	rows, _ := root.Query(t.Context(), `SELECT format('%s.%s.%s %s', n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod))
 FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm') AND a.attnum > 0 AND NOT a.attisdropped AND a.atttypid <> 'sr.sealed'::regtype
 AND n.nspname !~ '^(pg_|information_schema$|w_[0-9a-f]{32}$)' ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C", a.attname COLLATE "C"`)
	columns, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/clear_columns.golden", strings.Join(columns, "\n")+"\n")
}

// golden compares got with a file, or writes it with -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	have := map[string]bool{}
	for line := range strings.Lines(string(want)) {
		have[line] = true
	}
	var diff strings.Builder
	for line := range strings.Lines(got) {
		if !have[line] {
			fmt.Fprintf(&diff, "+ %s", line)
		}
		delete(have, line)
	}
	for line := range have {
		fmt.Fprintf(&diff, "- %s", line)
	}
	t.Errorf("%s differs (go test -update writes it anew):\n%s", file, diff.String())
}
