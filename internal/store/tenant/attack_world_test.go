package tenant_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/identity/actor"
	"strongroom/internal/identity/actortest"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/internal/pg"
	"strongroom/internal/store/internal/unit"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
)

// The attack suite. An attacker has found a hole in the application and runs
// SQL of her own choice, as one organization, on a connection that serves
// others too. It is tried in two ways: through a Tx, as a hole in a feature
// would give it to her, and on the bare connection, as if the door's own Go
// were gone. Whatever she tries, in any placement: the victim's rows are
// neither seen nor changed, her request is on her own organization's record,
// and the door works for the next one who comes through on that connection.
//
// attack_guards_test.go takes the guards away one by one and sees the attacks
// succeed: this suite can fail.

// home is an organization with a row in each of its tables.
type home struct {
	testkit.Organization
	who        actor.Actor // a scientist, who owns nothing private
	other      uuid.UUID   // another member
	collection uuid.UUID
	record     uuid.UUID
	private    uuid.UUID // a record that only the other member may see
	file       uuid.UUID
	link       uuid.UUID
	secret     string   // the content of each row
	marks      []string // texts that no stranger may be shown
}

// statement turns text into tenant.SQL. Inferring the type that Lit does not
// export is the known way around it: the architecture test refuses Lit as a
// value in the product, where an attacker has to find a hole instead.
func statement(text string) tenant.SQL { return convert(tenant.Lit, text) }

func convert[T ~string](f func(T) tenant.SQL, s string) tenant.SQL { return f(T(s)) }

func connect(t testing.TB, d *testkit.Doors, login string) *pgx.Conn {
	t.Helper()
	cfg, err := pgx.ParseConfig(d.DB.URL(login))
	if err != nil {
		t.Fatal(err)
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	c, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// settle fills an organization. The superuser writes past triggers and
// policies: what is tried later shall meet rows in every table.
func settle(t testing.TB, root *pgx.Conn, at testkit.Organization) home {
	t.Helper()
	h := home{Organization: at, who: actortest.With(t, at.ID, policy.Scientist, policy.OrgAdmin, policy.Analyst), other: uuid.New(),
		collection: uuid.New(), record: uuid.New(), private: uuid.New(), file: uuid.New(), link: uuid.New()}
	h.secret = "sealed by " + at.ID.String()
	fill := strings.NewReplacer("$S", at.Schema, "$org", lit(at.ID.UUID()), "$other", lit(h.other), "$col", lit(h.collection), "$rec", lit(h.record),
		"$priv", lit(h.private), "$file", lit(h.file), "$link", lit(h.link), "$body", "convert_to('"+h.secret+"', 'UTF8')").Replace(`
BEGIN; SET LOCAL session_replication_role = replica;
INSERT INTO $S.collection VALUES ($org, $col, uuid_send($col), 20, 1, $body, now(), $other);
INSERT INTO $S.record VALUES ($org, $rec, $col, 1, 21, $body, $other, 'o', now(), $other, now(), $other),
  ($org, $priv, $col, 1, 22, $body, $other, 'p', now(), $other, now(), $other);
INSERT INTO $S.record_version VALUES ($org, $rec, 1, 'created', $body, $other, 'o', now(), $other), ($org, $priv, 1, 'created', $body, $other, 'p', now(), $other);
INSERT INTO $S.trash VALUES ($org, gen_random_uuid(), 'record', $col, 1, 23, $body, $other, 'o', now(), $other, now(), $other, now(), $other, now());
INSERT INTO $S.link VALUES ($org, $link, 24, $rec, $priv, 'record', '\x01', $body, now(), $other);
INSERT INTO $S.file VALUES ($org, $file, 1, 25, 1, 7, 'stored', $body, $other, 'o', now(), $other, now(), $other);
INSERT INTO $S.file_version (org_id, file_id, version, leaf, generation, size, state, at, by) VALUES ($org, $file, 1, 25, 1, 7, 'stored', now(), $other);
INSERT INTO $S.idempotency VALUES ($org, $other, '\x02', '\x03', $rec, 1, now());
COMMIT`)
	if _, err := root.PgConn().Exec(t.Context(), fill).ReadAll(); err != nil {
		t.Fatalf("settle %s: %v", at.Schema, err)
	}
	for _, u := range []uuid.UUID{at.ID.UUID(), h.collection, h.record, h.private, h.file, h.link, h.other} {
		h.marks = append(h.marks, u.String(), fmt.Sprintf("%x", u[:]))
	}
	h.marks = append(h.marks, h.secret, fmt.Sprintf("%x", h.secret))
	return h
}

func lit(u uuid.UUID) string { return "'" + u.String() + "'::uuid" }

// tables are those of an organization that hold its rows.
var tables = []string{"collection", "record", "record_version", "trash", "link", "file", "file_version", "idempotency"}

// print is a fingerprint of all that an organization has, as the superuser
// sees it.
func (h home) print(t testing.TB, root *pgx.Conn) (sum string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("SELECT count(*) || ' ' || md5(string_agg(x, '|' ORDER BY x)) FROM (SELECT 'org' || o::text x FROM " + h.Schema + ".org o WHERE id = $1")
	for _, name := range tables {
		fmt.Fprintf(&b, " UNION ALL SELECT '%s' || r::text FROM %s.%s r WHERE org_id = $1", name, h.Schema, name)
	}
	b.WriteString(") all_rows")
	if err := root.QueryRow(t.Context(), b.String(), h.ID.UUID()).Scan(&sum); err != nil {
		t.Fatal(err)
	}
	return sum
}

// neighbors are organizations that share as much as organizations ever do:
// the cluster, the login, the connection, and in the pool the tables. Nobody
// attacks from a victim's home, so that a victim's rows stand still.
type neighbors struct {
	schemaAttacker, pooledAttacker              home
	schemaVictim, pooledVictim, elsewhereVictim home // the last one is served by another login
}

var neighborhood struct {
	once sync.Once
	made bool
	neighbors
}

// world makes the neighbors at the first call.
func world(t *testing.T) neighbors {
	t.Helper()
	n := &neighborhood
	n.once.Do(func() {
		root := connect(t, testkit.Open(t), "sr_root")
		var twins []testkit.Organization
		alone := map[int]testkit.Organization{}
		for len(twins) == 0 || len(alone) == 0 {
			o := testkit.Org(t, platform.PlacementSchema)
			if other, taken := alone[o.Slice]; taken {
				twins = []testkit.Organization{other, o}
				delete(alone, o.Slice)
				continue
			}
			alone[o.Slice] = o
		}
		n.schemaAttacker, n.schemaVictim = settle(t, root, twins[0]), settle(t, root, twins[1])
		for slice, o := range alone {
			if slice != twins[0].Slice {
				n.elsewhereVictim = settle(t, root, o)
				break
			}
		}
		var pooled []testkit.Organization
		for len(pooled) < 2 {
			if o := testkit.Org(t, platform.PlacementPooled); o.Slice == twins[0].Slice {
				pooled = append(pooled, o)
			}
		}
		n.pooledAttacker, n.pooledVictim = settle(t, root, pooled[0]), settle(t, root, pooled[1])
		n.made = true
	})
	if !n.made {
		t.Fatal("the neighborhood could not be made")
	}
	return n.neighbors
}

// pair is an attacker and a victim, and a door with one connection a slice:
// what one leaves behind the next one finds.
type pair struct {
	d                *testkit.Doors
	root             *pgx.Conn
	store            *tenant.Store
	attacker, victim home
	before           string
	attempts         []attempt
}

type attempt struct {
	name    string
	request id.Request
	action  policy.Action
	done    bool
}

// eachPair runs an attack on every combination of placements, and on two who
// do not share a login.
func eachPair(t *testing.T, attack func(t *testing.T, p *pair)) {
	t.Helper()
	n := world(t)
	for _, c := range []struct {
		name             string
		attacker, victim home
	}{
		{"from a schema into a schema of the same slice", n.schemaAttacker, n.schemaVictim},
		{"from a schema into a schema of another slice", n.schemaAttacker, n.elsewhereVictim},
		{"from a schema into the pool", n.schemaAttacker, n.pooledVictim},
		{"from the pool into a schema", n.pooledAttacker, n.schemaVictim},
		{"inside the pool", n.pooledAttacker, n.pooledVictim},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := meet(t, c.attacker, c.victim)
			attack(t, p)
			p.settleUp(t)
		})
	}
}

func meet(t *testing.T, attacker, victim home) *pair {
	t.Helper()
	d := testkit.Open(t)
	root := connect(t, d, "sr_root")
	p := &pair{d: d, root: root, store: narrow(t, d), attacker: attacker, victim: victim}
	p.before = p.victim.print(t, root)
	return p
}

// narrow is a door with a single connection a slice.
func narrow(t *testing.T, d *testkit.Doors) *tenant.Store {
	t.Helper()
	o := tenant.Options{MaxConns: 1, Audit: d.Audit, Keys: d.Keys, NewLeaf: d.NewLeaf, Capability: d.Capability, Placements: d.Platform.Placements(), Log: discard}
	for i := range o.Slices {
		o.Slices[i] = d.DB.URL(platform.AppLogin(i))
	}
	s, err := tenant.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// sql fills in what the attacker is assumed to know: everything.
func (p *pair) sql(text string) string {
	a, v := p.attacker, p.victim
	return strings.NewReplacer(
		"{V}", v.Schema, "{A}", a.Schema, "{vrole}", v.Role, "{arole}", a.Role, "{login}", platform.AppLogin(a.Slice),
		"{vorg}", lit(v.ID.UUID()), "{vcol}", lit(v.collection), "{vrec}", lit(v.record), "{vpriv}", lit(v.private), "{vfile}", lit(v.file), "{vlink}", lit(v.link),
		"{aorg}", lit(a.ID.UUID()), "{acol}", lit(a.collection), "{arec}", lit(a.record), "{apriv}", lit(a.private), "{nobody}", lit(uuid.New()),
		"{key}", "'\\x"+strings.Repeat("5c", 64)+"'",
	).Replace(text)
}

// result is what an attempt yielded.
type result struct {
	rows []string
	n    int64
	err  error
}

func (r result) code() string { return codeOf(r.err) }

func codeOf(err error) string {
	var e *pgconn.PgError
	switch {
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, pg.ErrVerb):
		return verb
	case err != nil:
		return err.Error()
	}
	return ""
}

// discard is a log for doors whose errors are part of the test.
var discard = slog.New(slog.DiscardHandler)

// verb stands for the door's own refusal, before PostgreSQL sees a statement.
const verb = "no such verb"

// try runs one statement of the attacker's choice inside a request of hers.
func (p *pair) try(t *testing.T, name string, action policy.Action, text string, args ...any) result {
	t.Helper()
	return p.tryAs(t, p.attacker.who, name, action, text, args...)
}

func (p *pair) tryAs(t *testing.T, who actor.Actor, name string, action policy.Action, text string, args ...any) (out result) {
	t.Helper()
	request := id.NewRequest()
	_, receipt, err := tenant.Do(t.Context(), p.store, tenant.Request{Actor: who, Org: p.attacker.ID, Action: action, ID: request},
		func(ctx context.Context, tx *tenant.Tx) (int, error) {
			out = run(ctx, tx, p.sql(text), args...)
			return 0, out.err
		})
	if receipt.IsZero() {
		t.Errorf("%s: answered without a receipt: %v", name, err)
	}
	if out.err == nil {
		out.err = err // such as a commit that the audit trigger refused
	}
	p.attempts = append(p.attempts, attempt{name, request, action, err == nil})
	p.unharmed(t, name, out)
	return out
}

// run executes one statement and reads the first column of what it returns.
func run(ctx context.Context, tx *tenant.Tx, text string, args ...any) (out result) {
	first := strings.ToUpper(strings.TrimLeft(text, " (\n"))
	if !strings.HasPrefix(first, "SELECT") && !strings.Contains(text, "RETURNING") && !strings.HasPrefix(first, "TABLE") && !strings.HasPrefix(first, "VALUES") {
		out.n, out.err = tx.Exec(ctx, statement(text), args...)
		return out
	}
	rows, err := tx.Query(ctx, statement(text), args...)
	if err != nil {
		return result{err: err}
	}
	defer rows.Close()
	for rows.Next() {
		var s *string
		if err := rows.Scan(&s); err != nil {
			return result{err: err}
		}
		if s != nil {
			out.rows = append(out.rows, *s)
		}
	}
	rows.Close()
	out.err = rows.Err()
	return out
}

// unharmed holds what must hold after every attempt.
func (p *pair) unharmed(t *testing.T, name string, r result) {
	t.Helper()
	p.unseen(t, name, r)
	if now := p.victim.print(t, p.root); now != p.before {
		t.Errorf("%s: the victim's rows changed", name)
		p.before = now
	}
}

// unseen holds that nothing of the victim is in an answer. What the attacker
// wrote herself may be.
func (p *pair) unseen(t *testing.T, name string, r result) {
	t.Helper()
	for _, row := range r.rows {
		for _, mark := range p.victim.marks {
			if strings.Contains(strings.ToLower(row), strings.ToLower(mark)) {
				t.Errorf("%s: shows the victim's %q", name, mark)
			}
		}
	}
}

// visit is an honest request of the victim's, on the slice's one connection:
// she sees what is hers and nothing else, and what she writes stays.
func (p *pair) visit(t *testing.T, after string) {
	t.Helper()
	p.visitAs(t, after, p.victim)
}

func (p *pair) visitAs(t *testing.T, after string, h home) {
	t.Helper()
	look := tenant.Request{Actor: h.who, Org: h.ID, Action: policy.RecordList, ID: id.NewRequest()}
	write := tenant.Request{Actor: h.who, Org: h.ID, Action: policy.LinkDelete, ID: id.NewRequest()}
	got, _, err := tenant.Do(t.Context(), p.store, look, func(ctx context.Context, tx *tenant.Tx) ([]string, error) {
		r := run(ctx, tx, "SELECT id::text FROM record ORDER BY id")
		return r.rows, r.err
	})
	if err != nil || !slices.Contains(got, h.record.String()) || slices.Contains(got, h.private.String()) {
		t.Errorf("after %s: the next one reads %d rows, %v", after, len(got), err)
	}
	state, _, err := tenant.Do(t.Context(), p.store, write, func(ctx context.Context, tx *tenant.Tx) (string, error) {
		// A row that is there again before the print is taken.
		if _, err := tx.Exec(ctx, tenant.Lit(`UPDATE link SET token = token WHERE org_id = $1 AND id = $2`), h.ID.UUID(), h.link); err != nil {
			return "", err
		}
		r := run(ctx, tx, `SELECT current_user || ' ' || current_setting('search_path') || ' ' || current_setting('row_security') || ' ' ||
 current_setting('synchronous_commit') || ' ' || current_setting('statement_timeout') || ' ' || current_setting('transaction_isolation') || ' ' || current_setting('transaction_read_only') || ' ' ||
 current_setting('client_encoding') || ' ' || current_setting('DateStyle')`)
		return strings.Join(r.rows, ""), r.err
	})
	want := fmt.Sprintf("%s %s, pg_temp on on 30s read committed off UTF8 ISO, MDY", h.Role, h.Schema)
	if err != nil || state != want {
		t.Errorf("after %s: the next one works as %q, %v; want %q", after, state, err, want)
	}
}

// settleUp holds, at the end, that each attempt is in the attacker's log once,
// and that the victim's holds her own requests only.
func (p *pair) settleUp(t *testing.T) {
	t.Helper()
	seen := map[id.Request][]audit.Event{}
	for _, e := range testkit.AllEvents(t, p.d, p.attacker.ID) {
		seen[e.Request] = append(seen[e.Request], e)
	}
	for _, a := range p.attempts {
		events := seen[a.request]
		if len(events) != 1 || events[0].Action != a.action || (events[0].Outcome == audit.Done) != a.done {
			t.Errorf("%s: the attempt left %d events in the attacker's log: %+v", a.name, len(events), events)
		}
	}
	for _, e := range testkit.AllEvents(t, p.d, p.victim.ID) {
		for _, a := range p.attempts {
			if e.Request == a.request {
				t.Errorf("%s: the attempt is in the victim's log", a.name)
			}
		}
	}
}

// bare takes the connection that serves the attacker and lets her use it as
// if there were no door: several statements at once, any verb.
func (p *pair) bare(t *testing.T, use func(conn *pgx.Conn)) {
	t.Helper()
	c, err := tenant.Bare(p.store, p.attacker.Slice).Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	use(c.Conn())
}

// entered is the script of an entry into the attacker's organization.
func (p *pair) entered(conn *pgx.Conn) string { return enterAs(p.d, conn, p.attacker) }

func enterAs(d *testkit.Doors, conn *pgx.Conn, h home) string {
	return fmt.Sprintf("SET LOCAL search_path = %s, pg_temp; SET LOCAL sr.cap = '%s'; SET LOCAL ROLE %s; ", h.Schema, mint(d, conn, h), h.Role)
}

func mint(d *testkit.Doors, conn *pgx.Conn, h home) string {
	return unit.NewMinter(d.Capability).Mint(h.ID.UUID(), h.who.Person().UUID(), conn.PgConn().PID(), time.Now())
}

// seize runs a script on the bare connection inside the attacker's
// organization, in a transaction that is rolled back, and returns the rows of
// its last statement.
func (p *pair) seize(t *testing.T, name, script string) (out result) {
	t.Helper()
	p.bare(t, func(conn *pgx.Conn) {
		out = script1(t.Context(), conn, "BEGIN; "+p.entered(conn)+p.sql(script))
		_, _ = conn.PgConn().Exec(t.Context(), "ROLLBACK").ReadAll()
	})
	p.unharmed(t, name, out)
	return out
}

// script1 runs a script and returns what its last statement yielded.
func script1(ctx context.Context, conn *pgx.Conn, script string) (out result) {
	all, err := conn.PgConn().Exec(ctx, script).ReadAll()
	out.err = err
	if err != nil || len(all) == 0 {
		return out
	}
	last := all[len(all)-1]
	out.n = last.CommandTag.RowsAffected()
	for _, row := range last.Rows {
		var cols []string
		for _, col := range row {
			cols = append(cols, string(col))
		}
		out.rows = append(out.rows, strings.Join(cols, " "))
	}
	return out
}
