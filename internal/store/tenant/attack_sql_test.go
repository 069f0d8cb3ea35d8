package tenant_test

import (
	"fmt"
	"strings"
	"testing"

	"strongroom/internal/base/policy"
)

// What an attempt must come to, beyond what holds for all of them.
const (
	own     = "own"     // it succeeds, on what is the attacker's own
	nothing = "nothing" // it succeeds and finds nothing
)

// attack is one statement. want is own, nothing, or the SQLSTATEs that refuse
// it, separated by spaces.
type attack struct{ name, sql, want string }

const (
	denied   = "42501" // insufficient_privilege, row level security included
	absent   = "42883" // undefined_function
	readOnly = "25006" // read_only_sql_transaction
)

const newRecord = `INSERT INTO record (org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by) `

// reading tries to see what is another's.
var reading = []attack{
	{"a SELECT without a WHERE", "SELECT r::text FROM record r", own},
	{"a SELECT that names the victim", "SELECT id::text FROM record WHERE org_id = {vorg}", nothing},
	{"a SELECT by the victim's id", "SELECT id::text FROM record WHERE id = {vrec}", nothing},
	{"a SELECT of everybody else's", "SELECT id::text FROM record WHERE org_id <> {aorg}", nothing},
	{"a condition that is always true", "SELECT id::text FROM record WHERE org_id = {vorg} OR true", own},
	{"a join to the victim's rows", "SELECT b.id::text FROM record a JOIN record b ON b.org_id <> a.org_id", nothing},
	{"an outer join", "SELECT r.id::text FROM (VALUES ({vorg})) v(o) LEFT JOIN record r ON r.org_id = v.o", nothing},
	{"a lateral subquery", "SELECT x.id::text FROM org o, LATERAL (SELECT id FROM record WHERE org_id <> o.id) x", nothing},
	{"a union of all tables", "SELECT id::text FROM collection UNION ALL SELECT record_id::text FROM record_version UNION ALL SELECT id::text FROM trash UNION ALL SELECT id::text FROM link UNION ALL SELECT id::text FROM file UNION ALL SELECT file_id::text FROM file_version UNION ALL SELECT actor_id::text FROM idempotency UNION ALL SELECT id::text FROM org", own},
	{"an aggregate over all", "SELECT count(*)::text FROM record WHERE org_id = {vorg} HAVING count(*) > 0", nothing},
	{"a window over all", "SELECT (count(*) OVER ())::text FROM record WHERE org_id <> {aorg}", nothing},
	{"a recursive query", "WITH RECURSIVE w(id) AS (SELECT id FROM record WHERE org_id = {vorg} UNION SELECT l.to_id FROM link l JOIN w ON l.from_id = w.id) SELECT id::text FROM w", nothing},
	{"a row by its place on the page", "SELECT id::text FROM record WHERE ctid = ANY (ARRAY(SELECT format('(%s,%s)', b, i)::tid FROM generate_series(0, 3) b, generate_series(1, 60) i)) AND org_id <> {aorg}", nothing},
	{"a sample of the table", "SELECT id::text FROM record TABLESAMPLE SYSTEM (100) WHERE org_id <> {aorg}", nothing},
	{"a lock on the victim's rows", "SELECT id::text FROM record WHERE org_id = {vorg} FOR UPDATE", nothing + " " + readOnly},
	{"the victim's schema by name", "SELECT id::text FROM {V}.record WHERE org_id = {vorg}", nothing + " " + denied},
	{"all rows of the victim's schema by name", "SELECT r::text FROM {V}.record r", own + " " + denied},
	{"the pool by name", "SELECT id::text FROM pool.record WHERE org_id = {vorg}", nothing + " " + denied},
	{"the victim's anchor", "SELECT id::text FROM {V}.org WHERE id = {vorg}", nothing + " " + denied},
	{"the victim's log", "SELECT event_id::text FROM audit.event WHERE org_id = {vorg}", nothing},
	{"the length of the victim's log", "SELECT org_id::text FROM audit.head WHERE org_id = {vorg}", nothing},
	{"everybody's log", "SELECT event_id::text FROM audit.event WHERE org_id <> {aorg}", nothing},
	{"events on their way into the log", "SELECT org_id::text FROM audit.pending", denied},
	{"the leader of the log", "SELECT holder::text FROM audit.leader", denied},
	{"the servers' chains", "SELECT server::text FROM audit.server_chain", denied},
	{"the private rows of another member", "SELECT r::text FROM record r WHERE id = {apriv}", nothing},
	{"the private rows by their owner", "SELECT id::text FROM record WHERE visibility = 'p'", nothing},
	{"the history of a private record", "SELECT body::text FROM record_version WHERE record_id = {apriv}", nothing},

	{"the people", "SELECT id::text FROM platform.person", denied},
	{"the memberships", "SELECT org_id::text FROM platform.membership", denied},
	{"the sessions", "SELECT encode(token_hash, 'hex') FROM platform.session", denied},
	{"the API keys", "SELECT encode(secret_hash, 'hex') FROM platform.api_key", denied},
	{"the directory of organizations", "SELECT id::text FROM platform.org", denied},
	{"the stock of schemas", "SELECT schema_name::text FROM platform.spare", denied},
	{"the job queue", "SELECT args::text FROM jobs.river_job", denied},
	{"the numbers of the job queue", "SELECT last_value::text FROM jobs.river_job_id_seq", denied},
	{"the key of the capabilities", "SELECT encode(ipad, 'hex') FROM sr.capability_key", denied},
	{"the migrations' bookkeeping", "SELECT version_id::text FROM goose_db_version", denied},

	{"an error on sealed bytes that only the victim has", "SELECT id::text FROM record WHERE CASE WHEN org_id = {aorg} THEN true ELSE encode(body, 'hex')::int > 0 END", own},
	{"a division by zero on the victim's row", "SELECT id::text FROM record WHERE 1 / (CASE WHEN org_id = {vorg} THEN 0 ELSE 1 END) = 1", own},
	{"a division by zero on another member's private row", "SELECT id::text FROM record WHERE 1 / (CASE WHEN visibility = 'p' THEN 0 ELSE 1 END) = 1", own},
	{"a cast that fails on the victim's row", "SELECT id::text FROM record WHERE (CASE WHEN org_id = {aorg} THEN '1' ELSE id::text END)::int = 1", own},
	{"an error in an ORDER BY", "SELECT id::text FROM record ORDER BY 1 / (CASE WHEN org_id = {aorg} THEN 1 ELSE 0 END)", own},
	{"an error in an aggregate's filter", "SELECT count(*) FILTER (WHERE 1 / (CASE WHEN org_id = {aorg} THEN 1 ELSE 0 END) = 1)::text FROM record", own},
	{"an error in a join condition", "SELECT r.id::text FROM org o JOIN record r ON 1 / (CASE WHEN r.org_id = o.id THEN 1 ELSE 0 END) = 1", own},

	{"SQL from a string, as XML", "SELECT query_to_xml('SELECT id FROM {V}.record', true, true, '')::text", denied},
	{"a table as XML", "SELECT table_to_xml('{A}.record', true, true, '')::text", denied},
	{"a schema as XML", "SELECT schema_to_xml('{V}', true, true, '')::text", denied},
	{"the database as XML", "SELECT database_to_xml(true, true, '')::text", denied},
	{"SQL from a string, in a text search", "SELECT ts_stat('SELECT NULL::tsvector')::text", denied},
	{"SQL from a string, in a rewrite", "SELECT ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, ''b''::tsquery')::text", denied},
	{"another connection by dblink", "SELECT dblink('dbname=postgres', 'SELECT 1')::text", absent},
	{"a file of the server", "SELECT pg_read_file('PG_VERSION')", denied},
	{"a binary file of the server", "SELECT encode(pg_read_binary_file('PG_VERSION'), 'hex')", denied},
	{"the server's folders", "SELECT pg_ls_dir('.')", denied},
	{"the server's log", "SELECT name FROM pg_ls_logdir()", denied},
	{"the server's WAL files", "SELECT name FROM pg_ls_waldir()", denied},
	{"a file's size", "SELECT pg_stat_file('PG_VERSION')::text", denied},
	{"the settings files", "SELECT name FROM pg_show_all_file_settings()", denied},
	{"the access rules", "SELECT type FROM pg_hba_file_rules()", denied},
	{"a large object", "SELECT lo_get(1)::text", denied},
	{"a new large object", "SELECT lo_from_bytea(0, 'x')::text", denied},
	{"a file as a large object", "SELECT lo_import('/etc/passwd')::text", denied},

	{"the tables and their row counts", "SELECT reltuples::text FROM pg_class", denied},
	{"the columns", "SELECT attname::text FROM pg_attribute", denied},
	{"the schemas", "SELECT nspname::text FROM pg_namespace", denied},
	{"the roles", "SELECT rolname::text FROM pg_roles", denied},
	{"the memberships of roles", "SELECT roleid::text FROM pg_auth_members", denied},
	{"the databases", "SELECT datname::text FROM pg_database", denied},
	{"the functions", "SELECT prosrc FROM pg_proc", denied},
	{"the policies", "SELECT polname::text FROM pg_policy", denied},
	{"the statistics", "SELECT most_common_vals::text FROM pg_stats", denied},
	{"the statistics' table", "SELECT stavalues1::text FROM pg_statistic", denied},
	{"the others' statements", "SELECT query FROM pg_stat_activity", denied},
	{"the others' statements by function", "SELECT query FROM pg_stat_get_activity(NULL)", denied},
	{"the tables' counters", "SELECT n_live_tup::text FROM pg_stat_all_tables", denied},
	{"a table's counters by function", "SELECT pg_stat_get_live_tuples('{A}.record'::regclass)::text", denied},
	{"the prepared statements", "SELECT name FROM pg_prepared_statements", denied},
	{"the prepared statements by function", "SELECT name FROM pg_prepared_statement()", denied},
	{"the cursors", "SELECT name FROM pg_cursors", denied},
	{"the cursors by function", "SELECT name FROM pg_cursor()", denied},
	{"the locks", "SELECT mode FROM pg_locks", denied},
	{"the locks by function", "SELECT mode FROM pg_lock_status()", denied},
	{"the large objects", "SELECT loid::text FROM pg_largeobject", denied},
	{"the settings of all", "SELECT setting FROM pg_settings", denied},
	{"the tables' sizes", "SELECT pg_total_relation_size('{A}.record')::text", denied},
	{"the database's size", "SELECT pg_database_size(current_database())::text", denied},
	{"a table's file", "SELECT pg_relation_filepath('{A}.record')", denied},
	{"the other standard catalog", "SELECT table_name::text FROM information_schema.tables", denied},
	{"the position of the WAL", "SELECT pg_current_wal_lsn()::text", denied},
	{"a snapshot for another connection", "SELECT pg_export_snapshot()", denied},
}

// acting tries to change, to hold or to signal what is another's. Each is
// tried in a request that may write.
var acting = []attack{
	{"an UPDATE without a WHERE", "UPDATE record SET version = version + 1", own},
	{"an UPDATE that names the victim", "UPDATE record SET version = 99 WHERE org_id = {vorg}", nothing},
	{"an UPDATE by the victim's id", "UPDATE record SET version = 99 WHERE id = {vrec}", nothing},
	{"an UPDATE in the victim's schema", "UPDATE {V}.record SET version = 99 WHERE org_id = {vorg}", nothing + " " + denied},
	{"an UPDATE from the victim's rows", "UPDATE record r SET body = v.body FROM record v WHERE v.org_id <> r.org_id", nothing},
	{"an UPDATE of another member's private row", "UPDATE record SET visibility = 'o' WHERE id = {apriv}", nothing},
	{"a row moved to the victim", "UPDATE record SET org_id = {vorg} WHERE id = {arec}", denied},
	{"a row moved under the victim's key", "UPDATE record SET org_id = {vorg}, id = {vrec}, collection_id = {vcol} WHERE id = {arec}", denied},
	{"a row made another member's private one", "UPDATE record SET owner_id = {nobody}, visibility = 'p' WHERE id = {arec}", denied},
	{"a DELETE without a WHERE", "DELETE FROM trash", own + " " + nothing},
	{"a DELETE that names the victim", "DELETE FROM record WHERE org_id = {vorg}", nothing},
	{"a DELETE in the victim's schema", "DELETE FROM {V}.link WHERE org_id = {vorg}", nothing + " " + denied},
	{"a DELETE using the victim's rows", "DELETE FROM link l USING record r WHERE r.org_id <> l.org_id", nothing},
	{"a DELETE of another member's private row", "DELETE FROM record WHERE id = {apriv}", nothing},
	{"a DELETE that returns what it took", "WITH gone AS (DELETE FROM record WHERE org_id <> {aorg} RETURNING id) SELECT id::text FROM gone", nothing},
	{"an UPDATE that returns the row before", "UPDATE record r SET version = 2 FROM record v WHERE v.id = r.id AND v.org_id = {vorg} RETURNING v.id::text", nothing},
	{"a MERGE into the victim's rows", "MERGE INTO record r USING (VALUES ({vrec})) v(id) ON r.id = v.id WHEN MATCHED THEN DELETE", nothing},
	{"a MERGE that inserts for the victim", "MERGE INTO link l USING (VALUES ({vlink})) v(id) ON l.id = v.id WHEN NOT MATCHED THEN INSERT VALUES ({vorg}, v.id, 1, v.id, v.id, 'record', '\\x01', '\\x01', now(), v.id)", denied},
	{"a row in the victim's name", newRecord + "SELECT {vorg}, {nobody}, {vcol}, 1, 1, '\\x01', NULL, 'o', now(), {nobody}, now(), {nobody}", denied},
	{"a row in the victim's name that exists", newRecord + "SELECT {vorg}, {vrec}, {vcol}, 1, 1, '\\x01', NULL, 'o', now(), {nobody}, now(), {nobody} ON CONFLICT DO NOTHING", denied},
	{"a row in the victim's name that would be updated", newRecord + "SELECT {vorg}, {vrec}, {vcol}, 1, 1, '\\x01', NULL, 'o', now(), {nobody}, now(), {nobody} ON CONFLICT (org_id, id) DO UPDATE SET body = '\\x02' RETURNING encode(record.body, 'hex')", denied},
	{"one's own row over another member's private one", newRecord + "SELECT {aorg}, {apriv}, {acol}, 1, 1, '\\x01', NULL, 'o', now(), {nobody}, now(), {nobody} ON CONFLICT (org_id, id) DO UPDATE SET visibility = 'o', body = record.body RETURNING encode(record.body, 'hex')", denied},
	{"one's own row moved by a conflict", newRecord + "SELECT {aorg}, {arec}, {acol}, 1, 1, '\\x01', NULL, 'o', now(), {nobody}, now(), {nobody} ON CONFLICT (org_id, id) DO UPDATE SET org_id = {vorg}", denied},
	{"one's own row in the victim's tables", "INSERT INTO {V}.idempotency VALUES ({aorg}, {nobody}, '\\x01', '\\x01', NULL, NULL, now())", own + " " + denied},
	{"a row in the victim's tables in the victim's name", "INSERT INTO {V}.idempotency VALUES ({vorg}, {nobody}, '\\x01', '\\x01', NULL, NULL, now())", denied},
	{"an anchor for oneself", "INSERT INTO org VALUES ({aorg})", denied},
	{"an anchor for somebody new", "INSERT INTO org VALUES ({nobody})", denied},
	{"history rewritten", "UPDATE record_version SET body = '\\x01'", denied},
	{"a request's memory rewritten", "UPDATE idempotency SET result_id = {nobody}", denied},

	{"an event of one's own making", pending("{aorg}", "'\\x01'", "false"), denied},
	{"an event in the victim's log", pending("{vorg}", "'\\x01'", "false"), denied},
	{"a void event", pending("{aorg}", "NULL", "true"), denied},
	{"an event for another transaction", "INSERT INTO audit.pending (org_id, event_id, server, seq, chain, leaf, body, void, xid) VALUES ({aorg}, {nobody}, {nobody}, 1, '\\x', '\\x', '\\x', false, '1'::xid8)", denied},
	{"a placed event", "INSERT INTO audit.event VALUES ({aorg}, 999999, {nobody}, sha256('x'), '\\x', NULL)", denied},
	{"an event unwritten", "DELETE FROM audit.event WHERE org_id = {aorg}", denied},
	{"an event rewritten", "UPDATE audit.event SET body = NULL WHERE org_id = {aorg}", denied},
	{"events kept from the log", "DELETE FROM audit.pending", denied},
	{"a hold on one's log", "SELECT org_id::text FROM audit.head FOR UPDATE", denied},
	{"a log that starts again", "UPDATE audit.head SET org_id = org_id", denied},
	{"the log's lease", "UPDATE audit.leader SET holder = NULL", denied},
	{"a job in the victim's name", "INSERT INTO jobs.river_job (kind, args, max_attempts) VALUES ('door', jsonb_build_object('org', {vorg}), 1)", denied},
	{"a number of the job queue", "SELECT nextval('jobs.river_job_id_seq')::text", denied},

	{"an organization of one's own", "SELECT platform.found({nobody}, 'pooled', 'x', NULL)::text", denied},
	{"the stock", "SELECT platform.restock(1000)::text", denied},
	{"a schema", "SELECT platform.build()::text", denied},
	{"a role", "SELECT sr.create_tenant_role('w_00000000000000000000000000000000', 1)::text", denied},
	{"a grant", "SELECT sr.grant_tenant('record', 'ALL')::text", denied},
	{"the installation", "SELECT sr.installation()::text", denied},

	{"the victim's role", "SELECT set_config('role', '{vrole}', true)", denied},
	{"no role", "SELECT set_config('role', 'none', true)", denied},
	{"the owner's role", "SELECT set_config('role', 'sr_owner', true)", denied},
	{"another session's user", "SELECT set_config('session_authorization', 'sr_root', false)", denied},
	{"another capability", "SELECT set_config('sr.cap', repeat('0', 152), true)", denied},
	{"another capability for good", "SELECT set_config('sr.cap', current_setting('sr.cap'), false)", denied},
	{"the victim's search path", "SELECT set_config('search_path', '{V}', true)", denied},
	{"a search path for good", "SELECT set_config('search_path', 'pg_temp', false)", denied},
	{"row security off", "SELECT set_config('row_security', 'off', true)", denied},
	{"triggers off", "SELECT set_config('session_replication_role', 'replica', true)", denied},
	{"another encoding for the next one", "SELECT set_config('client_encoding', 'LATIN1', false)", denied},
	{"a timeout for the next one", "SELECT set_config('lock_timeout', '1', false)", denied},
	{"no timeout", "SELECT set_config('statement_timeout', '0', true)", denied},
	{"commits that do not wait for the disk", "SELECT set_config('synchronous_commit', 'off', false)", denied},
	{"a capability set on the way", "SELECT r.id::text FROM (SELECT set_config('sr.cap', repeat('0', 152), true) OFFSET 0) x, record r", denied},
	{"a setting by way of the catalog", "UPDATE pg_settings SET setting = 'off' WHERE name = 'row_security'", denied},

	{"a temporary table by SELECT", "SELECT {aorg} AS org_id INTO TEMP record", denied},
	{"a table by SELECT", "SELECT {aorg} AS org_id INTO record_copy", denied},
	{"an advisory lock", "SELECT pg_advisory_lock(1)::text", denied},
	{"an advisory lock of the transaction", "SELECT pg_advisory_xact_lock(1, 2)::text", denied},
	{"a try at an advisory lock", "SELECT pg_try_advisory_lock(1)::text", denied},
	{"a sleep", "SELECT pg_sleep(0)::text", denied},
	{"a notification", "SELECT pg_notify('river_insert', '')::text", denied},
	{"the channels listened to", "SELECT pg_listening_channels()", denied},
	{"an end to another connection", "SELECT pg_terminate_backend(pg_backend_pid())::text", denied},
	{"a cancellation", "SELECT pg_cancel_backend(pg_backend_pid())::text", denied},
	{"words in the WAL", "SELECT pg_logical_emit_message(true, 'a', 'b')::text", denied},
	{"statistics reset", "SELECT pg_stat_reset()::text", denied},
	{"a setting reloaded", "SELECT pg_reload_conf()::text", denied},
	{"a switch of the WAL", "SELECT pg_switch_wal()::text", denied},
	{"a sequence of one's own", "SELECT setval('jobs.river_job_id_seq', 1)::text", denied},
	{"collations", "SELECT pg_import_system_collations('pg_catalog')::text", denied},
}

func pending(org, body, void string) string {
	return fmt.Sprintf("INSERT INTO audit.pending (org_id, event_id, server, seq, chain, leaf, body, void) VALUES (%s, {nobody}, {nobody}, 1, '\\x00', sha256('x'), %s, %s)", org, body, void)
}

// verbs are statements that are no business of a request. PostgreSQL would
// allow some of them, to anybody: the door does not let them through.
var verbs = []string{
	"COMMIT", "COMMIT AND CHAIN", "END", "ROLLBACK", "ROLLBACK AND CHAIN", "ABORT", "BEGIN", "START TRANSACTION", "SAVEPOINT a", "RELEASE a",
	"ROLLBACK TO a", "PREPARE TRANSACTION 'a'", "COMMIT PREPARED 'a'", ";COMMIT", " ;;\n COMMIT", "/* SELECT */ COMMIT", "-- SELECT\nCOMMIT",
	"/* a /* nested */ comment */ COMMIT", "\f\v\tCOMMIT", "(COMMIT)",
	"SET ROLE {vrole}", "SET ROLE none", "RESET ROLE", "SET LOCAL ROLE {vrole}", "SET SESSION AUTHORIZATION sr_root", "RESET SESSION AUTHORIZATION",
	"SET sr.cap = ''", "RESET sr.cap", "RESET ALL", "DISCARD ALL", "DISCARD PLANS", "SET search_path = {V}", "SET row_security = off", "SET client_encoding = 'LATIN1'",
	"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET TRANSACTION READ WRITE", "SET CONSTRAINTS ALL IMMEDIATE", "SHOW ALL",
	"PREPARE a AS SELECT 1", "EXECUTE a", "DEALLOCATE ALL", "DEALLOCATE a", "DECLARE a CURSOR WITH HOLD FOR SELECT 1", "FETCH ALL FROM a", "MOVE a", "CLOSE ALL",
	"COPY record TO STDOUT", "COPY record FROM STDIN", "COPY record TO PROGRAM 'true'", "COPY record FROM PROGRAM 'true'", "COPY (SELECT 1) TO '/tmp/a'",
	"LISTEN a", "NOTIFY a, 'b'", "UNLISTEN *", "LOCK TABLE record", "LOCK TABLE pool.record IN ACCESS EXCLUSIVE MODE", "DO $$ BEGIN END $$", "CALL a()",
	"CREATE TEMP TABLE record (org_id uuid)", "CREATE TABLE a (a int)", "CREATE SCHEMA a", "CREATE TEMP VIEW record AS SELECT 1", "CREATE FUNCTION a() RETURNS int LANGUAGE sql RETURN 1",
	"CREATE EXTENSION dblink", "CREATE ROLE a", "CREATE RULE a AS ON SELECT TO record DO NOTHING", "CREATE POLICY a ON record USING (true)",
	"ALTER TABLE record DISABLE ROW LEVEL SECURITY", "ALTER TABLE record DISABLE TRIGGER ALL", "ALTER ROLE {login} SET synchronous_commit = off", "ALTER DATABASE postgres SET a.b = 1",
	"ALTER SYSTEM SET fsync = off", "DROP TABLE record", "DROP OWNED BY CURRENT_USER", "REASSIGN OWNED BY CURRENT_USER TO sr_root", "TRUNCATE record", "GRANT ALL ON record TO PUBLIC", "REVOKE ALL ON record FROM PUBLIC",
	"EXPLAIN SELECT FROM record", "EXPLAIN (ANALYZE) SELECT FROM record", "ANALYZE record", "VACUUM record", "CLUSTER record", "REINDEX TABLE record", "CHECKPOINT", "LOAD 'a'",
	"COMMENT ON TABLE record IS 'a'", "SECURITY LABEL ON TABLE record IS 'a'", "IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c", "REFRESH MATERIALIZED VIEW a", "", ";", "\x00", "ΣELECT 1",
}

func TestSQLOfTheAttackersChoiceReachesNobodyElse(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		for _, a := range reading {
			a.check(t, p, policy.RecordRead)
			p.visit(t, a.name)
			a.check(t, p, policy.RecordUpdate)
			p.visit(t, a.name)
		}
		for _, a := range acting {
			a.check(t, p, policy.RecordUpdate)
			p.visit(t, a.name)
		}
	})
}

func TestARequestThatReadsChangesNothing(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		for _, a := range acting {
			r := p.try(t, a.name, policy.RecordRead, a.sql)
			if allowed := strings.Fields(a.want)[0] != denied; allowed && r.code() != readOnly && r.code() != denied {
				t.Errorf("%s in a request that reads: %v (%d affected), want it refused as writing", a.name, r.err, r.n)
			}
		}
		p.visit(t, "writing in a request that reads")
	})
}

func TestStatementsThatAreNoRequestsBusinessDoNotPassTheDoor(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		for _, sql := range verbs {
			for _, action := range []policy.Action{policy.RecordRead, policy.RecordUpdate} {
				if r := p.try(t, sql, action, sql); r.code() != verb {
					t.Errorf("%q in %s: %v, want it refused before it is sent", sql, action, r.err)
				}
			}
		}
		// After an honest statement, too, and with others behind it.
		for _, sql := range []string{"SELECT 1; COMMIT", "SELECT 1; SELECT 2", "SELECT 1;;", "SELECT 1 /* ; */ ; ROLLBACK"} {
			if r := p.try(t, sql, policy.RecordUpdate, sql); r.err == nil && strings.Contains(sql, "; ") {
				t.Errorf("%q: several statements in one passed", sql)
			}
		}
		p.visit(t, "statements that did not pass")
	})
}

func (a attack) check(t *testing.T, p *pair, action policy.Action) {
	t.Helper()
	r := p.try(t, a.name, action, a.sql)
	got := r.code()
	switch {
	case r.err != nil:
	case len(r.rows) == 0 && r.n == 0:
		got = nothing
	default:
		got = own
	}
	if !strings.Contains(" "+a.want+" ", " "+got+" ") {
		t.Errorf("%s in %s: %s (%v, %d rows, %d affected), want %s", a.name, action, got, r.err, len(r.rows), r.n, a.want)
	}
}
