package tenant

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"strongroom/internal/base/id"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/internal/unit"
)

// Raw returns the rows of a table that the transaction may see, as text. It is
// for the checks of the promises alone.
var Raw = unit.Raw

// Victim is the organization that a probe goes after. The attacker is assumed
// to know everything about it but its keys.
type Victim struct {
	Org        id.Org
	Record     id.Record // one that it has
	Collection id.Collection
}

// Attempt is one hostile script and what came of it.
type Attempt struct {
	Name    string
	Reached bool   // it got at what is the victim's
	Code    string // the SQLSTATE that refused it; "" where it ran
}

// Probe takes a connection of the very login that serves r's organization,
// enters the organization as the door does, and then runs hostile SQL as if
// there were no door: any verb, several statements at once, roles and settings
// changed at will. Every script runs in a transaction of its own that is rolled
// back, and the connection is closed in the end. The visit itself is on the
// organization's record, as every request is.
//
// The list is fixed and stands in this file: nobody can hand Probe a statement.
func Probe(ctx context.Context, s *Store, r Request, v Victim) ([]Attempt, audit.Receipt, error) {
	return Do(ctx, s, r, func(ctx context.Context, _ *Tx) ([]Attempt, error) {
		if v.Org == r.Org {
			return nil, errors.New("tenant: a probe goes after another organization than its own")
		}
		at, err := s.places.Of(ctx, r.Org)
		if err != nil {
			return nil, err
		}
		to, err := s.places.Of(ctx, v.Org)
		if err != nil {
			return nil, err
		}
		cfg := s.pools[at.Slice%Slices].Raw().Config().ConnConfig // a copy
		cfg.RuntimeParams["application_name"] = "strongroom-probe"
		conn, err := pgx.ConnectConfig(ctx, cfg)
		if err != nil {
			return nil, fmt.Errorf("tenant: probe: %w", err)
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		p := prober{conn: conn.PgConn(), marks: marks(v.Org.UUID(), v.Record.UUID(), v.Collection.UUID())}
		mint := func(org id.Org, backend uint32, when time.Time) string {
			return s.host.Minter.Mint(org.UUID(), r.Actor.Person().UUID(), backend, when)
		}
		own := mint(r.Org, p.conn.PID(), time.Now())
		foreign := mint(v.Org, 0, time.Now())
		p.fill = strings.NewReplacer(
			"{V}", to.Schema, "{A}", at.Schema, "{vrole}", to.Role, "{arole}", at.Role, "{login}", cfg.User,
			"{vorg}", quoted(v.Org.UUID()), "{vrec}", quoted(v.Record.UUID()), "{vcol}", quoted(v.Collection.UUID()), "{aorg}", quoted(r.Org.UUID()),
			"{new}", quoted(uuid.New()),
			// What a leaked or forged capability would be worth: the victim's for
			// another back end, one that has expired, and the attacker's own with
			// the victim's name written into it.
			"{elsewhere}", "'"+foreign+"'", "{expired}", "'"+mint(v.Org, p.conn.PID(), time.Now().Add(-time.Hour))+"'",
			"{forged}", "'"+foreign[:32]+own[32:]+"'", "{unsigned}", "'"+foreign[:32]+own[32:88]+strings.Repeat("0", 64)+"'")
		p.enter = "BEGIN; SET LOCAL search_path = " + at.Schema + ", pg_temp; SET LOCAL sr.cap = '" + own + "'; SET LOCAL ROLE " + at.Role + "; "
		return p.run(ctx)
	})
}

func quoted(u uuid.UUID) string { return "'" + u.String() + "'::uuid" }

// marks are the spellings in which an identifier can stand in an answer.
func marks(ids ...uuid.UUID) (out []string) {
	for _, u := range ids {
		out = append(out, u.String(), hex.EncodeToString(u[:]))
	}
	return out
}

type prober struct {
	conn  *pgconn.PgConn
	enter string
	fill  *strings.Replacer
	marks []string
}

func (p *prober) run(ctx context.Context) (out []Attempt, err error) {
	// Without this the probe would prove nothing: a connection that can do
	// nothing at all reaches nobody either.
	_, rows, err := p.try(ctx, "SELECT id::text FROM org WHERE id = {aorg}")
	if err != nil || rows == 0 {
		return nil, fmt.Errorf("tenant: the probe does not get into its own organization: %w", err)
	}
	for _, h := range hostile {
		seen, affected, err := p.try(ctx, h.sql)
		a := Attempt{Name: h.name}
		var refused *pgconn.PgError
		switch {
		case errors.As(err, &refused):
			a.Code = refused.Code
			// An error that tells whether the victim has a row tells of the row.
			a.Reached = h.silent != "" && refused.Code == h.silent
			if !a.Reached && !slices.Contains(refusals, a.Code) && (!h.absent || a.Code != "42P01") {
				// A script that fails for its own mistakes tries nothing.
				return nil, fmt.Errorf("tenant: probe: %s ended with %s, which is no refusal", h.name, a.Code)
			}
		case err != nil:
			return nil, fmt.Errorf("tenant: probe: %s: %w", h.name, err)
		default:
			a.Reached = seen || h.must || h.writes && affected > 0
		}
		out = append(out, a)
	}
	return out, nil
}

// try runs a script in a transaction that does not last, and says whether an
// answer shows the victim, and how many rows its last statement affected.
func (p *prober) try(ctx context.Context, script string) (seen bool, affected int64, err error) {
	results, err := p.conn.Exec(ctx, p.enter+p.fill.Replace(script)).ReadAll()
	if _, lost := p.conn.Exec(ctx, "ROLLBACK").ReadAll(); lost != nil {
		return false, 0, lost
	}
	if err != nil {
		return false, 0, err
	}
	for _, r := range results {
		affected = r.CommandTag.RowsAffected()
		for _, row := range r.Rows {
			for _, value := range row {
				for _, m := range p.marks {
					seen = seen || strings.Contains(strings.ToLower(string(value)), m)
				}
			}
		}
	}
	return seen, affected, nil
}

// refusals are the codes by which PostgreSQL turns an attacker away:
// insufficient_privilege, which row-level security uses too, no valid
// capability, and a foreign key that leads nowhere.
var refusals = []string{"42501", "28000", "23503"}

// script is one thing that an attacker would try.
type script struct {
	name, sql string
	must      bool   // it has to be refused: that it runs is enough
	writes    bool   // a row that it affects is the victim's
	absent    bool   // the schema of another slice may not even be there for this login
	silent    string // the SQLSTATE by which a refusal would tell of a row
}

const everyTable = `SELECT org_id::text FROM {S}.collection WHERE org_id <> {aorg} UNION ALL SELECT org_id::text FROM {S}.record WHERE org_id <> {aorg}
 UNION ALL SELECT org_id::text FROM {S}.record_version WHERE org_id <> {aorg} UNION ALL SELECT org_id::text FROM {S}.trash WHERE org_id <> {aorg}
 UNION ALL SELECT org_id::text FROM {S}.link WHERE org_id <> {aorg} UNION ALL SELECT org_id::text FROM {S}.file WHERE org_id <> {aorg}
 UNION ALL SELECT org_id::text FROM {S}.file_version WHERE org_id <> {aorg} UNION ALL SELECT org_id::text FROM {S}.idempotency WHERE org_id <> {aorg}
 UNION ALL SELECT id::text FROM {S}.org WHERE id <> {aorg}`

const insertRecord = `INSERT INTO {V}.record (org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by) `

func in(schema string) string { return strings.ReplaceAll(everyTable, "{S}", schema) }

// hostile is what Probe runs. The attack suite of this package's tests is
// wider; these are the roads into another organization, one of each kind.
var hostile = []script{
	{name: "all rows of the table, without a condition", sql: "SELECT r::text FROM record r"},
	{name: "the victim's rows by name", sql: "SELECT r::text FROM record r WHERE org_id = {vorg}"},
	{name: "the victim's row by its id", sql: "SELECT r::text FROM record r WHERE id = {vrec}"},
	{name: "everybody else's rows in every table", sql: in("{A}")},
	{name: "every table of the victim's schema", sql: in("{V}")},
	{name: "every table of the pool", sql: in("pool")},
	{name: "a join to the victim's rows", sql: "SELECT b.id::text FROM org a JOIN {V}.record b ON b.org_id <> a.id"},
	{name: "the victim's log", sql: "SELECT org_id::text FROM audit.event WHERE org_id = {vorg} UNION ALL SELECT org_id::text FROM audit.head WHERE org_id = {vorg}"},
	{name: "events on their way into the log", sql: "SELECT org_id::text FROM audit.pending", must: true},
	{name: "people and their memberships", sql: "SELECT m::text FROM platform.membership m", must: true},
	{name: "sessions", sql: "SELECT s::text FROM platform.session s", must: true},
	{name: "API keys", sql: "SELECT k::text FROM platform.api_key k", must: true},
	{name: "the list of organizations", sql: "SELECT o::text FROM platform.org o", must: true},
	{name: "the job queue", sql: "SELECT args::text FROM jobs.river_job", must: true},
	{name: "the key of the capabilities", sql: "SELECT k::text FROM sr.capability_key k", must: true},
	{name: "the catalog of tables and their sizes", sql: "SELECT relname::text FROM pg_catalog.pg_class", must: true},
	{name: "the statistics of columns", sql: "SELECT most_common_vals::text FROM pg_catalog.pg_stats", must: true},
	{name: "the statements of others", sql: "SELECT query FROM pg_catalog.pg_stat_activity", must: true},

	{name: "SET ROLE to the victim's", sql: "SET LOCAL ROLE {vrole}; " + in("{V}")},
	{name: "RESET ROLE", sql: "RESET ROLE; " + in("{V}")},
	{name: "SET ROLE to the pool's", sql: "SET LOCAL ROLE w_pool; " + in("pool")},
	{name: "SET ROLE to the owner", sql: "SET LOCAL ROLE sr_owner", must: true},
	{name: "SET ROLE to the platform's login", sql: "RESET ROLE; SET LOCAL ROLE sr_platform", must: true},
	{name: "SET SESSION AUTHORIZATION", sql: "SET SESSION AUTHORIZATION sr_root", must: true},
	{name: "search_path of the victim", sql: "SET LOCAL search_path = {V}; SELECT r::text FROM record r", absent: true},
	{name: "row_security switched off", sql: "SET LOCAL row_security = off; " + in("{V}")},
	{name: "no capability", sql: "RESET sr.cap; SET LOCAL ROLE {vrole}; SELECT r::text FROM {V}.record r"},
	{name: "an empty capability", sql: "SET LOCAL sr.cap = ''; SET LOCAL ROLE {vrole}; SELECT r::text FROM {V}.record r"},
	{name: "a capability with the victim's name written in", sql: "SET LOCAL sr.cap = {forged}; SET LOCAL ROLE {vrole}; SELECT r::text FROM {V}.record r"},
	{name: "a capability in the attacker's own role, forged", sql: "SET LOCAL sr.cap = {forged}; " + in("{A}")},
	{name: "a capability without its code", sql: "SET LOCAL sr.cap = {unsigned}; SET LOCAL ROLE {vrole}; SELECT r::text FROM {V}.record r"},
	{name: "the victim's capability of another back end", sql: "SET LOCAL sr.cap = {elsewhere}; SET LOCAL ROLE {vrole}; SELECT r::text FROM {V}.record r"},
	{name: "the victim's capability of an hour ago", sql: "SET LOCAL sr.cap = {expired}; SET LOCAL ROLE {vrole}; SELECT r::text FROM {V}.record r"},
	{name: "a capability by set_config", sql: "SELECT set_config('sr.cap', {forged}, true); SELECT r::text FROM {V}.record r", must: true},

	{name: "a prepared statement", sql: "PREPARE strongroom_probe AS SELECT r::text FROM {V}.record r WHERE org_id = {vorg}; EXECUTE strongroom_probe"},
	{name: "a cursor", sql: "DECLARE strongroom_probe CURSOR FOR SELECT r::text FROM {V}.record r WHERE org_id = {vorg}; FETCH ALL FROM strongroom_probe"},
	{name: "SQL from a string", sql: "SELECT query_to_xml('SELECT id FROM {V}.record', true, true, '')::text", must: true},
	{name: "an anonymous block", sql: "DO $$ BEGIN END $$", must: true},
	{name: "a temporary table in front of a real one", sql: "CREATE TEMP TABLE record (org_id uuid)", must: true},
	{name: "a function of one's own", sql: "CREATE FUNCTION {A}.org() RETURNS uuid LANGUAGE sql RETURN {vorg}", must: true},
	{name: "a schema of one's own", sql: "CREATE SCHEMA strongroom_probe", must: true},
	{name: "a file of the server", sql: "SELECT pg_read_file('PG_VERSION')", must: true},
	{name: "COPY to a program", sql: "COPY {V}.record TO PROGRAM 'true'", must: true},
	{name: "COPY to a file", sql: "COPY {V}.record TO '/tmp/strongroom-probe'", must: true},
	{name: "a large object", sql: "SELECT lo_create(0)", must: true},

	{name: "an error that depends on the victim's row", sql: "SELECT id::text FROM {V}.record WHERE 1 / (CASE WHEN org_id = {vorg} THEN 0 ELSE 1 END) = 1", silent: "22012"},
	{name: "a unique key that only the victim's row violates", sql: insertRecord + "SELECT {vorg}, {vrec}, {vcol}, 1, 1, '\\x01', NULL, 'o', now(), {new}, now(), {new}", must: true, silent: "23505"},
	{name: "a foreign key that only the victim's row satisfies", sql: insertRecord + "SELECT {aorg}, {new}, {vcol}, 1, 1, '\\x01', NULL, 'o', now(), {new}, now(), {new}", must: true},

	{name: "UPDATE of the victim's rows", sql: "UPDATE record SET version = version + 1 WHERE org_id = {vorg}", writes: true},
	{name: "UPDATE in the victim's schema", sql: "UPDATE {V}.record SET version = version + 1 WHERE org_id = {vorg}", writes: true},
	{name: "UPDATE in the victim's role", sql: "SET LOCAL ROLE {vrole}; UPDATE {V}.record SET version = version + 1 WHERE org_id = {vorg}", writes: true},
	{name: "DELETE of the victim's rows", sql: "DELETE FROM {V}.record WHERE org_id = {vorg}", writes: true},
	{name: "a row moved to the victim", sql: "UPDATE collection SET org_id = {vorg}", writes: true},
	{name: "a row in the victim's name", sql: insertRecord + "SELECT {vorg}, {new}, {vcol}, 1, 1, '\\x01', NULL, 'o', now(), {new}, now(), {new}", must: true},
	{name: "TRUNCATE", sql: "TRUNCATE {V}.record", must: true},
	{name: "TRUNCATE of one's own table", sql: "TRUNCATE record", must: true},
	{name: "an event in the victim's log", sql: "RESET ROLE; INSERT INTO audit.pending (org_id, event_id, server, seq, chain, leaf, body, void) VALUES ({vorg}, {new}, {new}, 1, sha256('x'), sha256('x'), '\\x01', false)", must: true},
	{name: "an event removed", sql: "DELETE FROM audit.event", must: true},
	{name: "an event changed, as the login", sql: "RESET ROLE; UPDATE audit.event SET body = NULL", must: true},

	{name: "the victim's role granted to oneself", sql: "RESET ROLE; GRANT {vrole} TO {arole}", must: true},
	{name: "row-level security taken off", sql: "ALTER TABLE {V}.record DISABLE ROW LEVEL SECURITY", must: true},
	{name: "a policy of one's own", sql: "CREATE POLICY strongroom_probe ON {V}.record USING (true)", must: true},
	{name: "the audit trigger taken off", sql: "ALTER TABLE record DISABLE TRIGGER ALL", must: true},
	{name: "a role of one's own", sql: "RESET ROLE; CREATE ROLE w_strongroom_probe", must: true},
	{name: "BYPASSRLS", sql: "RESET ROLE; ALTER ROLE {login} BYPASSRLS", must: true},
	{name: "an organization of one's own", sql: "RESET ROLE; SELECT platform.found({new}, 'pooled', 'x', NULL)::text", must: true},
}
