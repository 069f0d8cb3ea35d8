package trust_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/feature/trust"
	"strongroom/internal/feature/trust/signed"
	"strongroom/internal/identity"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/testkit"
)

// keeper is a keeper of proofs whose checks and clock the test holds.
type keeper struct {
	*trust.Proofs
	o    trust.ProofsOptions
	d    *testkit.Doors
	root *pgx.Conn

	mu   sync.Mutex
	now  time.Time
	says map[string]error // what a check fails with
	ran  []string
}

// The clauses that the keeper checks: a promise of one clause, one of three,
// and one that is not whole.
var kept3 = []string{"ENC-2/keys", "ISO-2/policies", "ISO-2/arbitrary_sql", "ISO-2/private_rows", "ISO-1/schema"}

func keep(t *testing.T) *keeper {
	t.Helper()
	d := testkit.Open(t)
	k := &keeper{d: d, now: time.Now(), says: map[string]error{}}
	checks := map[string]check{}
	for _, c := range kept3 {
		checks[c] = func(context.Context, feature.Env) (string, error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.ran = append(k.ran, c)
			return "seen " + c, k.says[c]
		}
	}
	k.o = trust.ProofsOptions{Store: d.Platform, Keys: d.Keys(id.Installation), Actor: identity.System(id.NewServer()), Prover: prover(t, offers(feature.Canary, checks)),
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { k.mu.Lock(); defer k.mu.Unlock(); return k.now }}
	k.Proofs = k.again(t)
	var err error
	if k.root, err = pgx.Connect(t.Context(), d.DB.URL("sr_root")); err != nil {
		t.Fatal(err)
	}
	clear := func() {
		k.run(t, "SET session_replication_role = replica; DELETE FROM platform.proof; DELETE FROM platform.proof_history")
	}
	clear()
	t.Cleanup(func() { clear(); _ = k.root.Close(context.WithoutCancel(t.Context())) })
	return k
}

// again is another server of the installation.
func (k *keeper) again(t *testing.T) *trust.Proofs {
	t.Helper()
	p, err := trust.NewProofs(k.o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (k *keeper) run(t *testing.T, sql string) {
	t.Helper()
	if _, err := k.root.Exec(context.WithoutCancel(t.Context()), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
}

func (k *keeper) later(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.now = k.now.Add(d)
}

func (k *keeper) fails(clause string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.says[clause] = err
}

func (k *keeper) prove(t *testing.T, ids ...string) {
	t.Helper()
	k.later(time.Millisecond) // no two proofs are of one moment
	if _, err := k.Prove(t.Context(), ids); err != nil {
		t.Fatal(err)
	}
}

func stand(t *testing.T, p *trust.Proofs, clause string) (trust.PromiseStanding, trust.ClauseStanding) {
	t.Helper()
	o, err := p.Overview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	promise, name, _ := strings.Cut(clause, "/")
	got, ok := o.Promise(promise)
	if !ok {
		t.Fatalf("%s is not shown", promise)
	}
	for _, c := range got.Clauses {
		if c.Name == name {
			return got, c
		}
	}
	t.Fatalf("%s is not shown", clause)
	return got, trust.ClauseStanding{}
}

func (k *keeper) stands(t *testing.T, clause string, promise, one trust.Standing) trust.ClauseStanding {
	t.Helper()
	p, c := stand(t, k.Proofs, clause)
	if p.Standing != promise || c.Standing != one {
		t.Errorf("%s stands as %s (%s), in a promise that stands as %s; want %s in %s", clause, c.Standing, c.Note, p.Standing, one, promise)
	}
	return c
}

func TestAPromiseStandsAsItsStoredProofsSay(t *testing.T) {
	k := keep(t)
	k.stands(t, "ENC-2/keys", trust.StandsStale, trust.StandsStale) // built, and never proved
	k.stands(t, "AUD-4/siem", trust.StandsNotYet, trust.StandsNotYet)
	k.prove(t)
	c := k.stands(t, "ENC-2/keys", trust.StandsKept, trust.StandsKept)
	if c.Note != "seen ENC-2/keys" || c.Checks != 1 || c.Source != trust.ByOperator || c.Period != time.Hour {
		t.Errorf("%+v", c)
	}
	k.stands(t, "ISO-2/private_rows", trust.StandsKept, trust.StandsKept)
	k.stands(t, "ISO-1/schema", trust.StandsPartly, trust.StandsKept)
	k.stands(t, "ISO-1/measurements", trust.StandsPartly, trust.StandsNotYet)

	k.fails("ISO-2/policies", errors.New("/var/lib/strongroom/postgres is open"))
	k.prove(t, "ISO-2")
	c = k.stands(t, "ISO-2/policies", trust.StandsBroken, trust.StandsBroken)
	if strings.Contains(c.Note, "/var/lib") {
		t.Errorf("everybody reads what the error says: %s", c.Note)
	}
	k.stands(t, "ISO-2/private_rows", trust.StandsBroken, trust.StandsKept)
	k.stands(t, "ENC-2/keys", trust.StandsKept, trust.StandsKept)
	k.fails("ISO-2/policies", nil)
	k.prove(t, "ISO-2/policies")
	c = k.stands(t, "ISO-2/policies", trust.StandsKept, trust.StandsKept)
	if c.Checks != 1 {
		t.Errorf("after a failure the row of checks goes on: %d", c.Checks)
	}
	if _, c = stand(t, k.Proofs, "ISO-2/private_rows"); c.Checks != 2 {
		t.Errorf("two checks in a row count %d", c.Checks)
	}
	o, err := k.Overview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s := o.Summary(); s.Promises != 90 || s.Kept != 2 || s.Partly != 1 || s.NotYet != 87 || s.Broken+s.Stale != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAnOldProofDoesNotCount(t *testing.T) {
	k := keep(t)
	k.prove(t)
	k.later(2*time.Hour - time.Minute)
	k.stands(t, "ENC-2/keys", trust.StandsKept, trust.StandsKept)
	k.later(2 * time.Minute)
	c := k.stands(t, "ENC-2/keys", trust.StandsStale, trust.StandsStale)
	if !strings.Contains(c.Note, "too long ago") {
		t.Errorf("%+v", c)
	}
	k.stands(t, "ISO-1/schema", trust.StandsStale, trust.StandsStale) // and is not partly kept
	// Nor does one of a time that has not come.
	k.later(-5 * time.Hour)
	k.stands(t, "ENC-2/keys", trust.StandsStale, trust.StandsStale)
}

func TestAStoredProofThatWasChangedIsShownAsSuch(t *testing.T) {
	k := keep(t)
	k.fails("ENC-2/keys", errors.New("open"))
	k.prove(t)
	k.stands(t, "ENC-2/keys", trust.StandsBroken, trust.StandsBroken)
	for name, sql := range map[string]string{
		"a failure becomes a success":      "UPDATE platform.proof SET state = 'kept' WHERE clause = 'ENC-2/keys'",
		"an old proof is made young":       "UPDATE platform.proof SET checked_at = checked_at + interval '1 minute' WHERE clause = 'ISO-1/schema'",
		"another clause's proof is put in": "UPDATE platform.proof p SET (state, evidence, checked_at, since, checks, source, generation, code) = (SELECT state, evidence, checked_at, since, checks, source, generation, code FROM platform.proof o WHERE o.clause = 'ISO-1/schema') WHERE clause = 'ENC-2/keys'",
		"the words are changed":            "UPDATE platform.proof SET evidence = 'seen by an auditor' WHERE clause = 'ISO-2/policies'",
		"a row of checks is made longer":   "UPDATE platform.proof SET checks = 100000 WHERE clause = 'ISO-2/policies'",
		"it was so for years":              "UPDATE platform.proof SET since = since - interval '1 year' WHERE clause = 'ISO-2/policies'",
		"the keys are of another time":     "UPDATE platform.proof SET generation = 7 WHERE clause = 'ISO-2/policies'",
		"the code is gone":                 "UPDATE platform.proof SET code = '' WHERE clause = 'ISO-2/policies'",
		"a proof is removed":               "DELETE FROM platform.proof WHERE clause = 'ISO-2/policies'",
	} {
		t.Run(name, func(t *testing.T) {
			k.prove(t)
			k.run(t, "SET session_replication_role = replica; "+sql)
			k.later(time.Minute)
			clause := sql[strings.LastIndex(sql, "clause = '")+10:]
			clause = strings.TrimSuffix(clause, "'")
			promise := trust.StandsBroken
			c := k.stands(t, clause, promise, trust.StandsBroken)
			if !strings.Contains(c.Note, "does not count") {
				t.Errorf("%+v", c)
			}
			// Another server sees it as well, but for the row that is gone: there
			// nothing is claimed.
			p, other := stand(t, k.again(t), clause)
			want := trust.StandsBroken
			if strings.HasPrefix(sql, "DELETE") {
				want = trust.StandsStale
			}
			if clause != "ENC-2/keys" && (p.Standing != want || other.Standing != want) {
				t.Errorf("another server shows %s, %s", p.Standing, other.Standing)
			}
		})
	}
	k.fails("ENC-2/keys", nil)
	k.prove(t)
	k.stands(t, "ENC-2/keys", trust.StandsKept, trust.StandsKept) // the next check mends it
}

// Its code is right: only who has seen the younger one can tell.
func TestAnOldProofThatIsPutBackIsShownAsSuch(t *testing.T) {
	k := keep(t)
	k.prove(t)
	k.run(t, "CREATE TABLE public.before AS SELECT * FROM platform.proof")
	t.Cleanup(func() { k.run(t, "DROP TABLE public.before") })
	k.fails("ENC-2/keys", errors.New("open"))
	k.prove(t, "ENC-2")
	k.run(t, "SET session_replication_role = replica; DELETE FROM platform.proof; INSERT INTO platform.proof SELECT * FROM public.before")
	k.later(time.Minute)
	if c := k.stands(t, "ENC-2/keys", trust.StandsBroken, trust.StandsBroken); !strings.Contains(c.Note, "older one") {
		t.Errorf("%+v", c)
	}
	k.stands(t, "ISO-2/policies", trust.StandsKept, trust.StandsKept)
}

func TestWithoutTheStoreNothingIsClaimed(t *testing.T) {
	k := keep(t)
	k.prove(t)
	store, err := platform.NewStore(t.Context(), platform.StoreOptions{URL: "postgres:///gone?host=/nowhere&user=sr_platform", Audit: k.d.Audit, Keys: k.d.Keys, NewLeaf: k.d.NewLeaf})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	k.o.Store = store
	if o, err := k.again(t).Overview(t.Context()); !fault.Is(err, fault.Unavailable) || len(o.Groups) > 0 {
		t.Errorf("%+v, %v", o, err)
	}
	if s, err := k.again(t).Signer(t.Context()); !fault.Is(err, fault.Unavailable) || s != nil {
		t.Errorf("%v, %v", s, err)
	}
}

func TestWhatWasFoundIsOnRecordAndItsHistoryIsBounded(t *testing.T) {
	k := keep(t)
	before := len(testkit.AllEvents(t, k.d, id.Installation))
	k.prove(t, "ENC-2")
	found := 0
	for _, e := range testkit.AllEvents(t, k.d, id.Installation)[before:] {
		if e.Action == policy.ProofStore && e.Outcome == audit.Done {
			found++
		}
	}
	if found != 1 {
		t.Errorf("%d events of storing", found)
	}
	k.run(t, "SET session_replication_role = replica; INSERT INTO platform.proof_history SELECT 'ENC-2/keys', now() - n * interval '1 hour', 'kept', 'x', 'schedule' FROM generate_series(1, 500) n")
	k.prove(t, "ENC-2")
	var rows int
	var youngest bool
	if err := k.root.QueryRow(t.Context(), `SELECT count(*), max(checked_at) = (SELECT checked_at FROM platform.proof WHERE clause = 'ENC-2/keys') FROM platform.proof_history WHERE clause = 'ENC-2/keys'`).Scan(&rows, &youngest); err != nil {
		t.Fatal(err)
	}
	if rows != 200 || !youngest {
		t.Errorf("%d results are kept, the youngest among them: %v", rows, youngest)
	}
}

func TestTheScheduleRunsEachCheckOnceAndThenInItsTurn(t *testing.T) {
	k := keep(t)
	drain := func() (n int) {
		t.Helper()
		for {
			ran, err := k.RunDue(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if !ran {
				return n
			}
			n++
		}
	}
	if n := drain(); n != len(kept3) {
		t.Errorf("at first %d checks run, of %d", n, len(kept3))
	}
	if n := drain(); n != 0 {
		t.Errorf("%d are due at once again", n)
	}
	if _, c := stand(t, k.Proofs, "ENC-2/keys"); c.Source != trust.BySchedule || c.Standing != trust.StandsKept {
		t.Errorf("%+v", c)
	}
	// One that failed comes again soon, the others when it is their turn: each
	// once, and none so late that its proof would be too old.
	k.fails("ENC-2/keys", errors.New("no"))
	for range 3 * 60 / 5 {
		k.later(5 * time.Minute)
		drain()
		k.stands(t, "ISO-2/policies", trust.StandsKept, trust.StandsKept)
	}
	ran := map[string]int{}
	for _, c := range k.ran {
		ran[c]++
	}
	for _, c := range kept3 {
		if n := ran[c]; c != "ENC-2/keys" && (n < 3 || n > 5) || c == "ENC-2/keys" && n < 20 {
			t.Errorf("in three hours %s was checked %d times", c, n)
		}
	}
	// Another server that takes over finds nothing to do.
	o := k.o
	other, err := trust.NewProofs(o)
	if err != nil {
		t.Fatal(err)
	}
	if ran, err := other.RunDue(t.Context()); ran || err != nil {
		t.Errorf("%v, %v", ran, err)
	}
}

func TestTheKeyIsMadeOnceSealedAndTheSameOnEveryServer(t *testing.T) {
	k := keep(t)
	k.run(t, "SET session_replication_role = replica; DELETE FROM platform.trust_key")
	var wg sync.WaitGroup
	ids := make([]string, 4)
	for i := range ids {
		p := k.again(t)
		wg.Go(func() {
			s, err := p.Signer(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = s.KeyID()
		})
	}
	wg.Wait()
	for _, one := range ids {
		if one == "" || one != ids[0] {
			t.Errorf("the servers sign with %q", ids)
		}
	}
	p := k.again(t)
	s, err := p.Signer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	document, err := s.Sign([]byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := s.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signed.Verify(document, key); err != nil {
		t.Error(err)
	}
	if p.Leaks(key) || p.Leaks(document) {
		t.Error("what is handed out holds the private key")
	}
	rows, _ := k.root.Query(t.Context(), "SELECT t::text FROM platform.trust_key t")
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(all) != 1 || p.Leaks([]byte(all[0])) {
		t.Errorf("the key is stored %d times, in the clear: %v, %v", len(all), len(all) == 1 && p.Leaks([]byte(all[0])), err)
	}
	if text := fmt.Sprintf("%v %+v", s, p); strings.Contains(text, all[0]) || !strings.Contains(text, "[signer]") {
		t.Error("a signer prints itself")
	}
}

func TestEvidenceThatNamesAPlaceIsForTheOperator(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"opened " + id.NewOrg().String(), "the schema w_" + strings.Repeat("0a", 16), "/var/lib/strongroom", "stored in (/home/x)", "10.1.2.3 answered",
		"https://inner.example", "root@example.org signed in", "0192f2c4-7d7e-7000-8000-0123456789ab",
	} {
		if got := trust.Public(s); got == s || !strings.Contains(got, "operator") {
			t.Errorf("everybody reads %q", got)
		}
	}
	for _, s := range []string{
		"10 of 10 kinds of malformed request refused", "TLS 1.3 in use; TLS 1.0 and 1.1 refused; HSTS max-age=63072000", "OpenAPI 3.1.0; 50 operations",
		"in 2 placements, as it is, in hexadecimal or base64", "the role sr_app may add to the log or read it", "see EXP-2/console", "read/write",
	} {
		if got := trust.Public(s); got != s {
			t.Errorf("%q is withheld", s)
		}
	}
}

func TestEveryClauseHasPlainWordsAndEveryPromiseAHeading(t *testing.T) {
	k := keep(t)
	o, err := k.Overview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range o.Groups {
		for _, p := range g.Promises {
			n++
			for _, c := range p.Clauses {
				if c.Words == "" || c.Words == strings.ReplaceAll(c.Name, "_", " ") {
					t.Errorf("%s/%s has no words of its own", p.ID, c.Name)
				}
			}
		}
	}
	if n != len(trust.Texts()) {
		t.Errorf("%d promises are shown, of %d", n, len(trust.Texts()))
	}
}
