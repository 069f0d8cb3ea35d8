package trust_test

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strongroom/internal/base/id"
	"strongroom/internal/feature"
	"strongroom/internal/feature/trust"
	"strongroom/internal/store/platform"
	"strongroom/internal/testkit"
	"strongroom/internal/testkit/live"
)

func TestMain(m *testing.M) {
	// These tests break roles, which belong to the whole cluster: they have one
	// of their own.
	if err := os.Unsetenv("STRONGROOM_TEST_PG"); err != nil {
		panic(err)
	}
	testkit.Main(m)
}

// world is a running server and what it takes to break it.
type world struct {
	s    *live.Server
	env  feature.Env
	root *pgx.Conn
	fill *strings.Replacer
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{s: live.Start(t)}
	var err error
	if w.env, err = w.s.App.Env(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.root, err = pgx.Connect(t.Context(), w.s.Doors.DB.URL("sr_root")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.root.Close(t.Context()) })
	mine, theirs := w.home(t, w.env.Canaries[0].Org), w.home(t, w.env.Strange[0].Org)
	w.fill = strings.NewReplacer("{schema}", mine.Schema, "{role}", mine.Role, "{theirs}", theirs.Schema, "{their_role}", theirs.Role,
		"{org}", "'"+w.env.Canaries[0].Org.UUID().String()+"'", "{pooled}", "'"+w.env.Canaries[1].Org.UUID().String()+"'",
		"{person}", "'"+w.env.Canaries[1].Actor.Person().UUID().String()+"'", "{email}", "'"+w.env.Canaries[1].Email+"'")
	return w
}

func (w *world) home(t *testing.T, org id.Org) platform.Placement {
	t.Helper()
	at, err := w.s.App.Platform.Placements().Of(t.Context(), org)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// run executes a script as the superuser, past every trigger.
func (w *world) run(t *testing.T, script string) {
	t.Helper()
	if script == "" {
		return
	}
	// A cleanup runs when the test's own context is over.
	if _, err := w.root.PgConn().Exec(t.Context(), "SET session_replication_role = replica; "+w.fill.Replace(script)).ReadAll(); err != nil {
		t.Fatalf("%s: %v", script, err)
	}
}

// prove runs one clause, or several, in an environment that was changed.
func (w *world) prove(t *testing.T, change func(*feature.Env), ids ...string) []trust.Proof {
	t.Helper()
	env := w.env
	if change != nil {
		change(&env)
	}
	p, err := trust.New(w.s.App.Features, fixed(env))
	if err != nil {
		t.Fatal(err)
	}
	proofs, err := p.Prove(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	return proofs
}

// kept are the clauses that this version keeps. One that goes from the list,
// or comes onto it, is a decision.
var kept = []string{
	"OWN-2/purpose", "OWN-3/interfaces",
	"DATA-2/recipes", "DATA-2/parameters", "DATA-2/series", "DATA-4/metadata",
	"DATA-5/private", "DATA-5/shared", "DATA-5/sections", "DATA-7/results", "DATA-7/provenance",
	"DATA-8/storage", "DATA-8/evolution",
	"ENC-1/records", "ENC-1/files", "ENC-1/names", "ENC-1/audit", "ENC-1/clear_columns", "ENC-2/keys", "ENC-4/api", "ENC-4/database", "ENC-5/credentials",
	"ISO-1/schema", "ISO-1/measurements", "ISO-2/policies", "ISO-2/arbitrary_sql", "ISO-2/private_rows", "ISO-3/foreign_keys", "ISO-4/prefix", "ISO-4/key", "ISO-6/caches", "ISO-7/api", "ISO-8/log",
	"IAM-1/password", "IAM-6/roles", "IAM-7/keys",
	"AUD-1/append_only", "AUD-2/requests", "AUD-2/sign_in", "AUD-2/files", "AUD-2/exports", "AUD-3/trail",
	"API-2/schema", "API-3/https", "API-4/openapi",
	"EXP-2/api",
	"EXP-2/console",
	"CMP-1/page", "CMP-1/signed", "INC-4/security_txt", "INC-4/intake", "PLAN-1/data",
}

func TestWhatIsBuiltIsKeptOnARunningServerAndTheRestIsNotYet(t *testing.T) {
	s := live.Start(t)
	for run := range 2 { // the second one finds the canaries of the first
		proofs, err := s.App.Prover.Prove(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, p := range proofs {
			for _, c := range p.Clauses {
				switch c.State {
				case trust.Kept:
					got = append(got, p.ID+"/"+c.Name)
				case trust.Broken:
					t.Errorf("run %d: %s/%s is broken: %s", run, p.ID, c.Name, c.Evidence)
				}
			}
		}
		if strings.Join(got, " ") != strings.Join(kept, " ") {
			t.Errorf("run %d: kept are\n%s\nwant\n%s", run, strings.Join(got, " "), strings.Join(kept, " "))
		}
	}
	// Checks leave nothing of a canary behind but names of people and keys.
	w, err := s.App.Env(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	root, err := pgx.Connect(t.Context(), s.Doors.DB.URL("sr_root"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close(t.Context()) }()
	for _, c := range w.Everybody() {
		at, err := s.App.Platform.Placements().Of(t.Context(), c.Org)
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range []string{"record", "record_version", "trash", "link", "file", "file_version", "idempotency", "record_grant", "record_subject"} {
			var n int
			if err := root.QueryRow(t.Context(), "SELECT count(*) FROM "+at.Schema+"."+table+" WHERE org_id = $1", c.Org.UUID()).Scan(&n); err != nil || n != 0 {
				t.Errorf("the checks left %d rows in %s of placement %s: %v", n, table, c.Placement, err)
			}
		}
	}
}

// A failing check turns the page red, on the running server, and back.
func TestAFailingCheckTurnsTheTrustPageRed(t *testing.T) {
	w := start(t)
	page := func() string {
		t.Helper()
		a, err := w.env.Want(t.Context(), "", http.MethodGet, "/trust", nil, http.StatusOK, nil)
		if err != nil {
			t.Fatal(err)
		}
		return string(a.Body)
	}
	prove := func() {
		t.Helper()
		if _, err := w.s.App.Proofs.Prove(t.Context(), []string{"INC-4"}); err != nil {
			t.Fatal(err)
		}
	}
	if p := page(); !strings.Contains(p, `<li class="promise is-stale" id="inc-4">`) {
		t.Error("before its first proof INC-4 is shown as something else than too old")
	}
	prove()
	if p := page(); !strings.Contains(p, `<li class="promise is-kept" id="inc-4">`) {
		t.Error("INC-4 is not shown as kept")
	}
	w.run(t, trigger("platform.report", "INSERT", "RETURN NULL;"))
	prove()
	w.run(t, untrigger)
	if p := page(); !strings.Contains(p, `<li class="promise is-broken" id="inc-4">`) || strings.Contains(p, "no such report") {
		t.Error("INC-4 is not shown as broken, or with what the error says")
	}
	prove()
	if p := page(); !strings.Contains(p, `<li class="promise is-kept" id="inc-4">`) {
		t.Error("mended, INC-4 is not shown as kept")
	}
}

func TestChecksRunByThemselvesOnceTheServerIsReached(t *testing.T) {
	s := live.Start(t)
	ctx, stop := context.WithCancel(t.Context())
	s.App.ProveOnSchedule(ctx)
	first := func() (at time.Time) {
		o, err := s.App.Proofs.Overview(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range o.Groups {
			for _, p := range g.Promises {
				for _, c := range p.Clauses {
					if c.Source == trust.BySchedule && c.Standing == trust.StandsKept {
						return c.CheckedAt
					}
				}
			}
		}
		return at
	}
	for until := time.Now().Add(time.Minute); first().IsZero(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("within a minute no check ran by itself")
		}
	}
	stop()
}
