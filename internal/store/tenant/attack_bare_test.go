package tenant_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"strongroom/internal/store/internal/unit"
)

// On the bare connection the door's own checks are gone, and any verb and
// several statements at once are sent. Isolation must not need the door: what
// the attacker cannot do is make the database believe that she is another.

// stances are the roles that an attacker on the connection can take.
var stances = []struct{ name, script string }{
	{"as the organization", ""},
	{"as the login", "RESET ROLE; "},
	{"as the victim's role, where it is of the same slice", "RESET ROLE; SET LOCAL ROLE {vrole}; SET LOCAL search_path = {V}, pg_temp; "},
	{"as the group of all organizations", "RESET ROLE; SET LOCAL ROLE w_pool; SET LOCAL search_path = pool, pg_temp; "},
}

// outlasting verbs change what the connection or the login begins with. They
// harm nobody's rows; why the door lets none of them pass is shown by
// TestWhatTheDoorsVerbsAreFor.
func outlasting(sql string) bool {
	return strings.HasPrefix(sql, "ALTER ROLE") || strings.HasPrefix(sql, "DISCARD") || strings.HasPrefix(sql, "DEALLOCATE") || strings.HasPrefix(sql, "COPY record TO STDOUT")
}

func TestTheBareConnectionReachesNobodyElse(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		for _, stance := range stances {
			for _, a := range append(append([]attack{}, reading...), acting...) {
				p.seize(t, a.name+", "+stance.name, stance.script+a.sql)
			}
			for _, sql := range verbs {
				if !outlasting(sql) {
					p.seize(t, sql+", "+stance.name, stance.script+sql)
				}
			}
		}
		p.visit(t, "the bare connection was seized")
	})
}

func TestTheDatabaseRefusesByItself(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		for _, a := range []attack{
			{"the owner's role", "RESET ROLE; SET ROLE sr_owner", denied},
			{"the superuser's", "RESET ROLE; SET SESSION AUTHORIZATION sr_root", denied},
			{"the platform's login", "RESET ROLE; SET ROLE sr_platform", denied},
			{"the log's login", "RESET ROLE; SET ROLE sr_audit", denied},
			{"the role that reads catalogs", "RESET ROLE; SET ROLE sr_catalog", denied},
			{"a function of the session's own", "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql RETURN 1", denied},
			{"a block of code", "DO $$ BEGIN END $$", denied},
			{"a temporary table that shadows a real one", "CREATE TEMP TABLE record (org_id uuid)", denied},
			{"a temporary table that shadows the log", "CREATE TEMP TABLE pending (xid xid8)", denied},
			{"a temporary view", "CREATE TEMP VIEW record AS SELECT 1", denied},
			{"a temporary sequence", "CREATE TEMP SEQUENCE s", denied},
			{"a temporary table, as the login", "RESET ROLE; CREATE TEMP TABLE record (org_id uuid)", denied},
			{"a table in one's schema", "CREATE TABLE mine (a int)", denied},
			{"a table in the public schema", "CREATE TABLE public.mine (a int)", denied},
			{"a schema", "CREATE SCHEMA mine", denied},
			{"an operator", "CREATE OPERATOR = (leftarg = uuid, rightarg = uuid, function = uuid_eq)", denied},
			{"a cast", "CREATE CAST (bytea AS int) WITH INOUT", denied},
			{"an extension", "CREATE EXTENSION dblink", denied},
			{"rows from a file", "COPY record FROM '/etc/passwd'", denied},
			{"rows from the client", "COPY record FROM STDIN", "0A000"},
			{"rows to a program", "COPY (SELECT 1) TO PROGRAM 'true'", denied},
			{"row security switched off, so that policies are errors", "SET LOCAL row_security = off; SELECT id FROM record", denied},
			{"row security altered", "ALTER TABLE record NO FORCE ROW LEVEL SECURITY", denied},
			{"a policy of one's own", "CREATE POLICY mine ON record USING (true)", denied},
			{"a trigger off", "ALTER TABLE record DISABLE TRIGGER audited", denied},
			{"all triggers off", "SET LOCAL session_replication_role = replica", denied},
			{"everything away", "TRUNCATE trash", denied},
			{"a right for everybody", "GRANT SELECT ON record TO PUBLIC", "01007 " + nothing + " " + denied},
			{"another login's settings", "RESET ROLE; ALTER ROLE sr_platform SET search_path = pg_temp", denied},
			{"the database's settings", "ALTER DATABASE postgres SET search_path = pg_temp", denied},
			{"the server's settings", "COMMIT; ALTER SYSTEM SET fsync = off", denied + " 25001"},
			{"one's own row in a stranger's tables, as a role of the slice", "RESET ROLE; SET LOCAL ROLE {vrole}; INSERT INTO {V}.idempotency VALUES ({aorg}, gen_random_uuid(), '\\x01', '\\x01', NULL, NULL, now())", "23503 " + denied},
			{"a change that commits without an event", "UPDATE record SET version = version + 1; COMMIT", "23514"},
			{"a change that commits with a void event", "UPDATE record SET version = version + 1; RESET ROLE; " + pending("{aorg}", "NULL", "true") + "; COMMIT", "23514"},
			{"a change that goes on behind COMMIT", "UPDATE record SET version = version + 1; COMMIT AND CHAIN", "23514"},
			{"a change checked too early", "SET CONSTRAINTS ALL IMMEDIATE; UPDATE record SET version = version + 1", "23514"},
			{"a change inside a savepoint", "SAVEPOINT a; UPDATE record SET version = version + 1; RELEASE a; COMMIT", "23514"},
			{"an event in the victim's log, as the login", "RESET ROLE; " + pending("{vorg}", "'\\x01'", "false"), denied},
			{"an event in the installation's log", "RESET ROLE; " + pending("'00000000-0000-7000-8000-000000000001'", "'\\x01'", "false"), denied},
			{"an event that no log can place", "RESET ROLE; " + strings.Replace(pending("{aorg}", "'\\x01'", "false"), "sha256('x')", "'\\x01'", 1), "23514"},
			{"an event whose chain is no hash", "RESET ROLE; " + strings.Replace(pending("{aorg}", "'\\x01'", "false"), "'\\x00'", "'\\x01'", 1), "23514"},
			{"an event lent to another transaction", "RESET ROLE; INSERT INTO audit.pending (org_id, event_id, server, seq, chain, leaf, body, void, xid) VALUES ({aorg}, {nobody}, {nobody}, 1, sha256('x'), sha256('x'), '\\x', false, '1')", denied},
			{"a look at the queue", "RESET ROLE; SELECT args FROM jobs.river_job", denied},
			{"a job that returns its neighbors", "RESET ROLE; INSERT INTO jobs.river_job (kind, args, max_attempts) VALUES ('door', '{}', 1) RETURNING args", denied},
		} {
			if strings.Contains(a.sql, "{V}.") && p.victim.Schema == p.attacker.Schema {
				continue // no stranger's table
			}
			r := p.seize(t, a.name, a.sql)
			got := r.code()
			if r.err == nil {
				got = own
				if r.n == 0 && len(r.rows) == 0 {
					got = nothing
				}
			}
			if !strings.Contains(" "+a.want+" ", " "+got+" ") {
				t.Errorf("%s: %s (%v), want %s", a.name, got, r.err, a.want)
			}
		}
		p.visit(t, "refusals by the database")
	})
}

func TestACopyOutShowsOnesOwnRowsOnly(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		for _, sql := range []string{"COPY record TO STDOUT", "COPY (SELECT * FROM record) TO STDOUT", "COPY {V}.record TO STDOUT", "COPY pool.record TO STDOUT", "COPY audit.event TO STDOUT"} {
			p.bare(t, func(conn *pgx.Conn) {
				var out bytes.Buffer
				if _, err := conn.PgConn().Exec(t.Context(), "BEGIN; "+p.entered(conn)).ReadAll(); err != nil {
					t.Fatal(err)
				}
				_, err := conn.PgConn().CopyTo(t.Context(), &out, p.sql(sql))
				p.unseen(t, sql, result{rows: []string{out.String()}, err: err})
				if sql == "COPY record TO STDOUT" && (err != nil || out.Len() == 0) {
					t.Errorf("%s: %d bytes, %v: nothing was tried", sql, out.Len(), err)
				}
				_, _ = conn.PgConn().Exec(t.Context(), "ROLLBACK").ReadAll()
			})
		}
		p.visit(t, "a copy")
	})
}

func TestNoCapabilityButOnesOwnIsBelieved(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		a, v := p.attacker, p.victim
		minter, stranger := unit.NewMinter(p.d.Capability), unit.NewMinter([32]byte{1})
		p.bare(t, func(conn *pgx.Conn) {
			pid, now := conn.PgConn().PID(), time.Now()
			good := mint(p.d, conn, a)
			theirs := minter.Mint(v.ID.UUID(), v.other, pid+1, now) // seen on another connection
			forged := map[string]string{
				"the victim's, of another connection":         theirs,
				"the victim's, with this connection put in":   theirs[:80] + good[80:88] + theirs[88:],
				"the victim's claim under one's own code":     theirs[:80] + good[80:],
				"the victim's organization in one's own":      fmt.Sprintf("%x", v.ID.Bytes()) + good[32:],
				"another user in one's own":                   good[:32] + fmt.Sprintf("%x", a.other[:]) + good[64:],
				"one's own, used up a moment ago":             minter.Mint(a.ID.UUID(), uuid.Nil, pid, now.Add(-61*time.Second)),
				"one's own, made to last":                     good[:64] + "7fffffffffffffff" + good[80:],
				"signed with another key":                     stranger.Mint(v.ID.UUID(), uuid.Nil, pid, now),
				"the code of the empty claim":                 strings.Repeat(" ", 88) + good[88:],
				"twice one's own":                             good + good,
				"one's own in capitals":                       strings.ToUpper(good),
				"one's own with a space behind":               good + " ",
				"one's own with a space before":               " " + good,
				"nothing":                                     "",
				"the claim alone":                             good[:88],
				"a job's code":                                good[:88] + fmt.Sprintf("%x", minter.SignJob([]byte(good[:88]))),
				"the victim's claim under a job's code":       theirs[:88] + fmt.Sprintf("%x", minter.SignJob([]byte("strongroom-capability-v1"+theirs[:88]))),
				"one that would be cast to another's by case": strings.ToUpper(good[:32]) + good[32:],
			}
			for i := range good {
				b := []byte(good)
				b[i] = "123456789abcdef0"[strings.IndexByte("0123456789abcdef", b[i])]
				forged[fmt.Sprintf("one's own with digit %d changed", i)] = string(b)
			}
			enter := p.entered(conn)
			if r := script1(t.Context(), conn, "BEGIN; "+enter+"SELECT sr.org()"); r.err != nil || r.rows[0] != a.ID.UUID().String() {
				t.Fatalf("one's own capability is not believed: %v", r.err)
			}
			_, _ = conn.PgConn().Exec(t.Context(), "ROLLBACK").ReadAll()
			for name, cap := range forged {
				for _, sql := range []string{"SELECT sr.org()", "SELECT sr.usr()", "SELECT count(*) FROM record", "UPDATE record SET version = 1"} {
					if strings.Contains(name, "digit") && sql != "SELECT sr.org()" && sql != "SELECT sr.usr()" {
						continue
					}
					r := script1(t.Context(), conn, "BEGIN; "+enter+"SET LOCAL sr.cap = '"+cap+"'; "+sql)
					if r.code() != "28000" || strings.Contains(r.err.Error(), v.ID.UUID().String()) {
						t.Errorf("%s: %s: %v %v, want 28000", name, sql, r.rows, r.err)
					}
					_, _ = conn.PgConn().Exec(t.Context(), "ROLLBACK").ReadAll()
				}
			}
		})
		p.visit(t, "capabilities were forged")
	})
}

// A capability that was good on this very connection is there to be read only
// while its own transaction lasts.
func TestTheVictimsCapabilityIsGoneWithHerTransaction(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		for range 3 {
			p.visit(t, "nothing")
			p.bare(t, func(conn *pgx.Conn) {
				for _, sql := range []string{"SELECT current_setting('sr.cap', true)", "SELECT current_setting('search_path')", "SELECT current_user", "SHOW ALL", "SELECT pg_show_all_settings()::text"} {
					r := script1(t.Context(), conn, sql)
					p.unseen(t, sql, r)
					if strings.Contains(sql, "sr.cap") && len(r.rows) == 1 && r.rows[0] != "" {
						t.Errorf("%s: %v is still there", sql, r.rows)
					}
				}
			})
		}
	})
}

// What a plan was made for is not what it is used for: the same text, prepared
// once by each on one connection, in turns.
func TestAPlanServesNobodyButItsUser(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		const sql = "SELECT id::text FROM record ORDER BY id"
		for range 8 { // more often than PostgreSQL tries custom plans
			r := p.try(t, sql, "record.read", sql)
			if r.err != nil || len(r.rows) == 0 {
				t.Errorf("the attacker's own: %v", r.err)
			}
			p.visit(t, "a plan was used")
		}
		// The same on the bare connection, where one prepared statement lives
		// through changes of role, path, capability and plan mode.
		p.bare(t, func(conn *pgx.Conn) {
			r := script1(t.Context(), conn, "BEGIN; "+p.entered(conn)+"PREPARE stolen AS "+sql+"; EXECUTE stolen; COMMIT")
			if r.err != nil {
				t.Fatal(r.err)
			}
			for _, mode := range []string{"auto", "force_generic_plan", "force_custom_plan"} {
				for _, stance := range stances {
					script := "BEGIN; SET LOCAL plan_cache_mode = " + mode + "; " + p.entered(conn) + p.sql(stance.script) + "EXECUTE stolen"
					p.unseen(t, script, script1(t.Context(), conn, script))
					_, _ = conn.PgConn().Exec(t.Context(), "ROLLBACK").ReadAll()
				}
				// As the victim would: her capability, the attacker's statement.
				if p.victim.Slice == p.attacker.Slice {
					r := script1(t.Context(), conn, "BEGIN; "+enterAs(p.d, conn, p.victim)+"EXECUTE stolen")
					for _, row := range r.rows {
						if row == p.attacker.record.String() {
							t.Errorf("%s: a plan shows the one who made it", mode)
						}
					}
					_, _ = conn.PgConn().Exec(t.Context(), "ROLLBACK").ReadAll()
				}
			}
			_ = script1(t.Context(), conn, "DEALLOCATE stolen")
		})
	})
}

// Whatever the connection was left as, the next one works as she should: the
// entry sets what isolation and durability rest on.
func TestWhatWasLeftOnTheConnectionIsNotThereForTheNextOne(t *testing.T) {
	n := world(t)
	for _, victim := range []home{n.schemaVictim, n.pooledVictim} {
		p := meet(t, n.schemaAttacker, victim)
		for _, left := range []string{
			"SET search_path = {A}", "SET search_path = pg_temp", "SET search_path = {V}", "SET ROLE {arole}", "SET ROLE w_pool", "SET ROLE {vrole}",
			"SET row_security = off", "SET synchronous_commit = off", "SET synchronous_commit = local", "SET statement_timeout = 0", "SET statement_timeout = 1",
			"SET plan_cache_mode = force_custom_plan", "SET default_transaction_read_only = on", "SET default_transaction_isolation = serializable",
			"SET default_transaction_deferrable = on", "SET default_transaction_isolation = 'repeatable read'; SET default_transaction_read_only = on",
			"SET sr.cap = 'x'", "SET transaction_read_only = on", "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE",
			"SET client_encoding = 'LATIN1'", "SET client_encoding = 'SQL_ASCII'", "DEALLOCATE ALL", "DISCARD ALL", "DISCARD PLANS", "SET standard_conforming_strings = off", "PREPARE record AS SELECT 1", "LISTEN river_insert; NOTIFY river_insert", "SET constraint_exclusion = on", "SET enable_seqscan = off; SET enable_indexscan = off",
			"BEGIN; " + "$ENTER" + "DECLARE left_open CURSOR WITH HOLD FOR SELECT id FROM record; COMMIT", "SET session_authorization = default", "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'",
			"SELECT set_config('sr.cap', '', false), set_config('role', 'none', false)", "SET xmloption = document", "SELECT setseed(0)",
			"BEGIN", "BEGIN; SELECT 1/0", "BEGIN; $ENTER SELECT 1", "BEGIN; $ENTER LOCK TABLE record", "SAVEPOINT a", "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY; SAVEPOINT a",
		} {
			p.bare(t, func(conn *pgx.Conn) {
				script := strings.Replace(p.sql(left), "$ENTER", p.entered(conn), 1)
				_, _ = conn.PgConn().Exec(t.Context(), script).ReadAll()
			})
			p.visit(t, left)
			p.visit(t, left+", once more")
			p.visitAs(t, left, p.attacker)
			p.unharmed(t, left, result{})
		}
	}
}

// What the door refuses by its verb, the database would not: each of these
// works on the bare connection, for which PostgreSQL has no privilege to take
// away.
func TestWhatTheDoorsVerbsAreFor(t *testing.T) {
	n := world(t)
	p := meet(t, n.pooledAttacker, n.pooledVictim)
	// EXPLAIN ANALYZE counts the rows that row level security hid.
	r := p.seize(t, "EXPLAIN ANALYZE", "SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_indexonlyscan = off; EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) SELECT FROM record")
	if !strings.Contains(strings.Join(r.rows, "\n"), "Rows Removed by Filter") {
		t.Errorf("EXPLAIN ANALYZE no longer counts what was hidden (%v): the verb may not need refusing", r.err)
	}
	if r := p.seize(t, "LOCK TABLE", "LOCK TABLE record IN ACCESS EXCLUSIVE MODE; SELECT 1"); r.err != nil {
		t.Errorf("LOCK TABLE: %v", r.err)
	}
	login := connect(t, p.d, "sr_app_15")
	defer func() {
		if _, err := p.root.Exec(context.Background(), "ALTER ROLE sr_app_15 RESET lock_timeout"); err != nil {
			t.Error(err)
		}
	}()
	if r := script1(t.Context(), login, "ALTER ROLE sr_app_15 SET lock_timeout = '25s'"); r.err != nil {
		t.Errorf("ALTER ROLE: %v", r.err)
	}
	if r := script1(t.Context(), connect(t, p.d, "sr_app_15"), "SHOW lock_timeout"); r.err != nil || r.rows[0] != "25s" {
		t.Errorf("what a login begins with: %v %v", r.rows, r.err)
	}
}
