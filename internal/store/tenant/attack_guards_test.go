package tenant_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/store/internal/unit"
	"strongroom/internal/store/platform"
)

// TestEachGuardIsWhatStopsItsAttack takes one guard away and sees the attack
// succeed that fails with it, so that the suite is known to be able to fail.
// All of it happens in a transaction that is rolled back; the test runs alone
// because its locks would stop the others.
func TestEachGuardIsWhatStopsItsAttack(t *testing.T) {
	n := world(t)
	p := meet(t, n.pooledAttacker, n.pooledVictim)
	v := p.victim
	// of sr.org(): its body with a part replaced by something harmless.
	org := func(part, with string) string {
		return fmt.Sprintf("DO $$ BEGIN EXECUTE replace(pg_get_functiondef('sr.org'::regproc), %s, %s); END $$", quote(part), quote(with))
	}
	minter := unit.NewMinter(p.d.Capability)
	pid := p.root.PgConn().PID()
	seen := func(r result) bool {
		return r.err == nil && strings.Contains(strings.Join(r.rows, " "), v.record.String())
	}
	victimBelieved := func(r result) bool { return r.err == nil && len(r.rows) == 1 && r.rows[0] == v.ID.UUID().String() }
	works := func(r result) bool { return r.err == nil }
	wrote := func(r result) bool { return r.err == nil && r.n == 1 }
	shown := func(c string) func(result) bool { return func(r result) bool { return r.code() == c } }
	victimRow := newRecord + "SELECT {vorg}, gen_random_uuid(), {vcol}, 1, 1, '\\x01', NULL, 'o', now(), {vcol}, now(), {vcol}"
	takenId := newRecord + "SELECT {aorg}, {vrec}, {acol}, 1, 1, '\\x01', NULL, 'o', now(), {acol}, now(), {acol}"

	for _, g := range []struct {
		guard    string
		given    string // what else has gone wrong already
		without  string // takes the guard away
		attack   string
		succeeds func(result) bool
	}{
		{"row level security", "", "ALTER TABLE pool.record DISABLE ROW LEVEL SECURITY", "SELECT id::text FROM record", seen},
		{"row level security for the owner too", "GRANT sr_owner TO {login}", "ALTER TABLE pool.record NO FORCE ROW LEVEL SECURITY",
			"RESET ROLE; SET LOCAL ROLE sr_owner; SELECT id::text FROM pool.record", seen},
		{"the owner's role being nobody's", "", "GRANT sr_owner TO {login}",
			"RESET ROLE; SET LOCAL ROLE sr_owner; ALTER TABLE pool.record DISABLE ROW LEVEL SECURITY; SELECT id::text FROM pool.record", seen},
		{"the capability, in place of a setting", "", "ALTER POLICY isolation ON pool.record USING (org_id = current_setting('sr.claimed')::uuid)",
			"SET LOCAL sr.claimed = '" + v.ID.UUID().String() + "'; SELECT id::text FROM record", seen},
		{"the check of what is written", "", "ALTER POLICY isolation ON pool.record WITH CHECK (true)", victimRow, wrote},
		{"the same for a row that moves", "", "ALTER POLICY isolation ON pool.record USING (true) WITH CHECK (true)", "UPDATE record SET org_id = {vorg}, collection_id = {vcol} WHERE id = {arec}", wrote},
		{"the owner of what is private", "", "ALTER POLICY isolation ON pool.record USING (org_id = (SELECT sr.org()))", "SELECT id::text FROM record WHERE id = {apriv}", wrote},
		{"the capability's code", "", org("sha256(convert_to(encode(code, 'hex'), 'UTF8')) = sha256(convert_to(substr(cap, 89), 'UTF8'))", "true"),
			"SET LOCAL sr.cap = '" + minter.Mint(v.ID.UUID(), uuid.Nil, pid, time.Now())[:88] + strings.Repeat("0", 64) + "'; SELECT sr.org()", victimBelieved},
		{"the capability's connection", "", org("AND substr(cap, 81, 8) = lpad(to_hex(pg_backend_pid()), 8, '0')", ""),
			"SET LOCAL sr.cap = '" + minter.Mint(v.ID.UUID(), uuid.Nil, pid+1, time.Now()) + "'; SELECT sr.org()", victimBelieved},
		{"the capability's end", "", org("substr(cap, 65, 16) > lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000000)::bigint), 16, '0') COLLATE \"C\"", "true"),
			"SET LOCAL sr.cap = '" + minter.Mint(v.ID.UUID(), uuid.Nil, pid, time.Now().Add(-2*time.Minute)) + "'; SELECT sr.org()", victimBelieved},
		{"the secrecy of the capabilities' key", "", "GRANT SELECT ON sr.capability_key TO {login}",
			`RESET ROLE; SELECT set_config('sr.cap', c || encode(sha256(k.opad || sha256(k.ipad || convert_to('strongroom-capability-v1' || c, 'UTF8'))), 'hex'), true)
 FROM sr.capability_key k, (SELECT replace({vorg}::text, '-', '') || repeat('0', 32) || '7fffffffffffffff' || lpad(to_hex(pg_backend_pid()), 8, '0')) x(c); SELECT sr.org()`, victimBelieved},
		{"the witness of each change", "", "ALTER TABLE pool.record DISABLE TRIGGER audited", "UPDATE record SET version = 2 WHERE id = {arec}; SET CONSTRAINTS ALL IMMEDIATE; SELECT 1", works},
		{"the log's pen, kept from organizations", "",
			"GRANT INSERT ON audit.pending TO sr_tenant; CREATE POLICY loose ON audit.pending FOR INSERT TO sr_tenant WITH CHECK (org_id = (SELECT sr.org()))",
			"UPDATE record SET version = 2 WHERE id = {arec}; " + strings.Replace(pending("{aorg}", "'\\x01'", "false"), "'\\x00'", "sha256('x')", 1) + "; SET CONSTRAINTS ALL IMMEDIATE; SELECT 1", works},
		{"an event's transaction, not the writer's to choose", "", "GRANT INSERT (xid) ON audit.pending TO {login}",
			"RESET ROLE; INSERT INTO audit.pending (org_id, event_id, server, seq, chain, leaf, body, void, xid) VALUES ({aorg}, {nobody}, {nobody}, 1, sha256('x'), sha256('x'), '\\x01', false, '1')", wrote},
		{"an event's form", "", "ALTER TABLE audit.pending DROP CONSTRAINT pending_chain_check", "RESET ROLE; " + pending("{aorg}", "'\\x01'", "false"), wrote},
		{"no temporary tables", "", "DO $$ BEGIN EXECUTE format('GRANT TEMP ON DATABASE %I TO PUBLIC', current_database()); END $$",
			"CREATE TEMP TABLE record (id uuid); SET LOCAL search_path = pool; SELECT id::text FROM record; INSERT INTO record VALUES ({nobody})", wrote},
		{"pg_temp last", "DO $$ BEGIN EXECUTE format('GRANT TEMP ON DATABASE %I TO PUBLIC', current_database()); END $$", "SET LOCAL sr.loose = 'yes'",
			"CREATE TEMP TABLE record (id uuid); RESET ROLE; SELECT set_config('search_path', CASE WHEN current_setting('sr.loose', true) = 'yes' THEN 'pool' ELSE 'pool, pg_temp' END, true); SET LOCAL ROLE {arole}; SELECT 1 FROM record HAVING count(*) = 0", wrote},
		{"keys that lead with the organization", "", "CREATE UNIQUE INDEX loose ON pool.record (id)", takenId, shown("23505")},
		{"foreign keys that lead with the organization", "",
			"ALTER TABLE pool.record DROP CONSTRAINT record_collection_fkey; CREATE UNIQUE INDEX loose ON pool.collection (id); ALTER TABLE pool.record ADD FOREIGN KEY (collection_id) REFERENCES pool.collection (id)",
			newRecord + "SELECT {aorg}, gen_random_uuid(), {vcol}, 1, 1, '\\x01', NULL, 'o', now(), {acol}, now(), {acol}; SET CONSTRAINTS ALL DEFERRED", works},
		{"set_config, kept from organizations", "", "GRANT EXECUTE ON FUNCTION set_config(text, text, boolean) TO PUBLIC", "SELECT set_config('role', 'none', true)", works},
		{"the catalogs' silence", "", "GRANT SELECT ON pg_class TO PUBLIC", "SELECT reltuples FROM pg_class WHERE relname = 'record' LIMIT 1", works},
		{"SQL that is no string", "", "GRANT EXECUTE ON FUNCTION query_to_xml(text, boolean, boolean, text) TO PUBLIC", "SELECT query_to_xml('SELECT 1', true, true, '')", works},
		{"the people's table", "", "GRANT USAGE ON SCHEMA platform TO sr_tenant; GRANT SELECT ON platform.org TO sr_tenant", "SELECT id FROM platform.org LIMIT 1", works},
		{"another slice's roles", "", "GRANT {elsewhere} TO {login}", "RESET ROLE; SET LOCAL ROLE {elsewhere}; SELECT 1", works},
	} {
		for _, guarded := range []bool{true, false} {
			script := g.given
			if !guarded {
				script += "; " + g.without
			}
			r := p.asSuperuser(t, strings.ReplaceAll(p.sql(script), "{elsewhere}", n.elsewhereVictim.Role), strings.ReplaceAll(p.sql(g.attack), "{elsewhere}", n.elsewhereVictim.Role))
			if g.succeeds(r) == guarded {
				t.Errorf("%s: with the guard %v, the attack gives %v %v (%d rows)", g.guard, guarded, r.rows, r.err, r.n)
			}
		}
	}
	p.unharmed(t, "guards taken away", result{})
	p.visit(t, "guards taken away")
}

// asSuperuser changes the database, then becomes the attacker's login inside
// her organization, and takes all of it back.
func (p *pair) asSuperuser(t *testing.T, change, attack string) (out result) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	defer func() { _, _ = p.root.PgConn().Exec(ctx, "ROLLBACK").ReadAll() }()
	if r := script1(ctx, p.root, "BEGIN; "+change); r.err != nil {
		t.Fatalf("%s: %v", change, r.err)
	}
	if r := script1(ctx, p.root, "SET LOCAL SESSION AUTHORIZATION "+platform.AppLogin(p.attacker.Slice)+"; "+p.entered(p.root)); r.err != nil {
		t.Fatal(r.err)
	}
	return script1(ctx, p.root, attack)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
