package audit_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/identity/actortest"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func root(t *testing.T, d *testkit.Doors) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), d.DB.URL("sr_root"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func exec(t *testing.T, c *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := c.Exec(context.WithoutCancel(t.Context()), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func entry(t *testing.T, org id.Org) audit.Entry {
	return audit.Entry{Org: org, Request: id.NewRequest(), Actor: actortest.With(t, org, policy.Scientist), Action: policy.RecordRead, Outcome: audit.Done, Purpose: "service"}
}

// write stores a row through the door: a change whose event goes with it.
func write(ctx context.Context, t *testing.T, d *testkit.Doors, org id.Org) (id.Request, error) {
	r := tenant.Request{Actor: actortest.With(t, org, policy.Scientist), Org: org, Action: policy.RecordCreate, ID: id.NewRequest()}
	_, receipt, err := tenant.Do(ctx, d.Tenant, r, func(ctx context.Context, tx *tenant.Tx) (int64, error) {
		return tx.Exec(ctx, tenant.Lit(`INSERT INTO idempotency (org_id, actor_id, key_hash, request_hash, created_at) VALUES ($1, $2, $3, $3, $4)`),
			tx.Org().UUID(), uuid.New(), []byte(uuid.NewString()), tx.Now())
	})
	if err == nil && receipt.IsZero() {
		t.Error("a change was answered without a receipt")
	}
	return r.ID, err
}

func count(t *testing.T, c *pgx.Conn, sql string, args ...any) (n int) {
	t.Helper()
	if err := c.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestEveryEventHasItsPlaceAndPlacesAreDense(t *testing.T) {
	d, org := testkit.Open(t), testkit.Org(t, "schema").ID
	const each, workers = 40, 8
	var mu sync.Mutex
	sent := map[id.Request]bool{}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range each {
				var req id.Request
				if i%2 == 0 {
					e := entry(t, org)
					req = e.Request
					if r, err := d.Audit.Append(t.Context(), e); err != nil || r.IsZero() {
						t.Errorf("append: %v", err)
					}
				} else {
					var err error
					if req, err = write(t.Context(), t, d, org); err != nil {
						t.Errorf("write: %v", err)
					}
				}
				mu.Lock()
				sent[req] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	events := testkit.AllEvents(t, d, org)
	if len(events) != each*workers {
		t.Fatalf("%d events, want %d", len(events), each*workers)
	}
	for _, e := range events {
		if !sent[e.Request] {
			t.Errorf("an event of a request that nobody sent, or a second one: %s", e.Request)
		}
		delete(sent, e.Request)
	}
	c := root(t, d)
	if n := count(t, c, `SELECT max(idx) + 1 FROM audit.event WHERE org_id = $1`, org.UUID()); n != each*workers {
		t.Errorf("places end at %d", n)
	}
	if d.Audit.Broken() != 0 {
		t.Errorf("%d breaks in a chain that nobody touched", d.Audit.Broken())
	}
}

func TestANumberThatIsMadeGoodIsNoEvent(t *testing.T) {
	d, org := testkit.Open(t), testkit.Org(t, "schema").ID
	const each, workers = 60, 8
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				p, err := d.Audit.Draft(t.Context(), entry(t, org))
				if err != nil {
					t.Errorf("draft: %v", err)
					return
				}
				p.Statement() // and then its transaction does not commit
				wait, err := d.Audit.Start(t.Context(), entry(t, org))
				if err != nil {
					t.Errorf("start: %v", err)
					return
				}
				p.Lost()
				if _, err := wait(t.Context()); err != nil {
					t.Errorf("append: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if events := testkit.AllEvents(t, d, org); len(events) != each*workers {
		t.Errorf("%d events, want %d", len(events), each*workers)
	}
	if d.Audit.Broken() != 0 {
		t.Errorf("%d breaks in a chain that nobody touched", d.Audit.Broken())
	}
}

func TestWhatCameFirstStandsFirst(t *testing.T) {
	d, org := testkit.Open(t), testkit.Org(t, "schema").ID
	var order []id.Request
	for i := range 60 {
		if i%3 == 0 {
			e := entry(t, org)
			if _, err := d.Audit.Append(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			order = append(order, e.Request)
			continue
		}
		r, err := write(t.Context(), t, d, org)
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, r)
	}
	var got []id.Request
	for _, e := range testkit.AllEvents(t, d, org) {
		got = append(got, e.Request)
	}
	if !slices.Equal(got, order) {
		t.Error("the log's order is not the order in which the requests were answered")
	}
}

func TestWithoutALogThereIsNoAnswerAndItComesBackByItself(t *testing.T) {
	d, org := testkit.Open(t), testkit.Org(t, "pooled").ID
	c := root(t, d)
	if _, err := write(t.Context(), t, d, org); err != nil {
		t.Fatal(err)
	}
	rows := func() int { return count(t, c, `SELECT count(*) FROM pool.idempotency WHERE org_id = $1`, org.UUID()) }
	before := rows()
	exec(t, c, `ALTER TABLE audit.pending RENAME TO pending_gone`)
	exec(t, c, `ALTER TABLE audit.event RENAME TO event_gone`)
	back := func() {
		exec(t, c, `ALTER TABLE IF EXISTS audit.pending_gone RENAME TO pending`)
		exec(t, c, `ALTER TABLE IF EXISTS audit.event_gone RENAME TO event`)
	}
	t.Cleanup(back)

	if _, err := write(t.Context(), t, d, org); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a change without a log: %v, want unavailable", err)
	}
	answered, receipt, err := tenant.Do(t.Context(), d.Tenant, tenant.Request{Actor: actortest.With(t, org, policy.Scientist), Org: org, Action: policy.RecordRead},
		func(ctx context.Context, tx *tenant.Tx) (bool, error) { return true, nil })
	if !fault.Is(err, fault.Unavailable) || !receipt.IsZero() || answered {
		t.Errorf("a read without a log: %v, receipt %v", err, receipt)
	}
	_, receipt, err = tenant.Do(t.Context(), d.Tenant, tenant.Request{Actor: actortest.With(t, org, policy.BillingAdmin), Org: org, Action: policy.RecordRead},
		func(ctx context.Context, tx *tenant.Tx) (bool, error) { return true, nil })
	if !fault.Is(err, fault.Unavailable) || !receipt.IsZero() {
		t.Errorf("a refusal without a log: %v", err)
	}
	if n := rows(); n != before {
		t.Errorf("%d rows were written without a log", n-before)
	}

	back()
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, err = write(t.Context(), t, d, org); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it did not come back by itself: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if _, err := d.Audit.Append(t.Context(), entry(t, org)); err != nil {
		t.Errorf("append after the outage: %v", err)
	}
	testkit.AllEvents(t, d, org)
	if d.Audit.Broken() != 0 {
		t.Errorf("the outage left %d breaks in the chain", d.Audit.Broken())
	}
}

// own opens a second log, as another server of the installation would.
func own(t *testing.T, d *testkit.Doors) *audit.Log {
	t.Helper()
	l, err := audit.Open(t.Context(), audit.Options{URL: d.DB.URL("sr_audit"), Keys: d.Keys, Gap: 300 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// hold takes the lease away from every server.
func hold(t *testing.T, c *pgx.Conn) (release func()) {
	t.Helper()
	exec(t, c, `UPDATE audit.leader SET holder = gen_random_uuid(), fence = fence + 1, expires_at = clock_timestamp() + interval '1 hour'`)
	time.Sleep(50 * time.Millisecond)
	release = func() { exec(t, c, `UPDATE audit.leader SET expires_at = clock_timestamp()`) }
	t.Cleanup(release)
	return release
}

func waitBroken(l ...*audit.Log) int64 {
	for end := time.Now().Add(8 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for _, x := range l {
			if n := x.Broken(); n > 0 {
				return n
			}
		}
	}
	return 0
}

func TestARowTakenOutBeforeItWasPlacedShows(t *testing.T) {
	d, org := testkit.Open(t), testkit.Org(t, "schema").ID
	c := root(t, d)
	release := hold(t, c)
	l := own(t, d)
	for range 3 {
		if _, err := l.Append(t.Context(), entry(t, org)); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, c, `DELETE FROM audit.pending WHERE server = $1 AND seq = 2`, l.Server().UUID())
	was := d.Audit.Broken()
	release()
	if n := waitBroken(l); n == 0 && d.Audit.Broken() == was {
		t.Error("nobody noticed that an event was taken out")
	}
}

func TestARowPutInByOtherHandsShows(t *testing.T) {
	d, org := testkit.Open(t), testkit.Org(t, "schema").ID
	c := root(t, d)
	release := hold(t, c)
	l := own(t, d)
	if _, err := l.Append(t.Context(), entry(t, org)); err != nil {
		t.Fatal(err)
	}
	// A forger copies a real row under a server of her own, as its first.
	exec(t, c, `INSERT INTO audit.pending (org_id, event_id, server, seq, chain, leaf, body, void)
 SELECT org_id, gen_random_uuid(), gen_random_uuid(), 1, chain, leaf, body, false FROM audit.pending WHERE server = $1`, l.Server().UUID())
	was := d.Audit.Broken()
	release()
	if n := waitBroken(l); n == 0 && d.Audit.Broken() == was {
		t.Error("nobody noticed that an event was put in")
	}
}

func TestARowUnderANumberThatWasGivenShows(t *testing.T) {
	d, org := testkit.Open(t), testkit.Org(t, "schema").ID
	c := root(t, d)
	release := hold(t, c)
	l := own(t, d)
	for range 2 {
		if _, err := l.Append(t.Context(), entry(t, org)); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, c, `INSERT INTO audit.pending (org_id, event_id, server, seq, chain, leaf, body, void)
 SELECT org_id, gen_random_uuid(), server, 1, sha256(chain), leaf, body, false FROM audit.pending WHERE server = $1 AND seq = 2`, l.Server().UUID())
	was := d.Audit.Broken()
	release()
	if n := waitBroken(l); n == 0 && d.Audit.Broken() == was {
		t.Error("nobody noticed a second event under one number")
	}
}

func TestASecondServerTakesOverAndNothingIsLostOrDoubled(t *testing.T) {
	d, org := testkit.Open(t), testkit.Org(t, "schema").ID
	second, err := audit.Open(t.Context(), audit.Options{URL: d.DB.URL("sr_audit"), Keys: d.Keys, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	c := root(t, d)
	var sent []id.Request
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 6 {
		wg.Go(func() {
			for i := range 30 {
				e := entry(t, org)
				l := d.Audit
				if (w+i)%2 == 0 {
					l = second
				}
				if _, err := l.Append(t.Context(), e); err != nil {
					t.Errorf("append: %v", err)
					continue
				}
				mu.Lock()
				sent = append(sent, e.Request)
				mu.Unlock()
				if w == 0 && i%10 == 5 { // the lease changes hands in the middle
					_, _ = c.Exec(t.Context(), `UPDATE audit.leader SET holder = NULL, fence = fence + 1, expires_at = clock_timestamp()`)
				}
			}
		})
	}
	wg.Wait()
	second.Close()
	events := testkit.AllEvents(t, d, org)
	if len(events) != len(sent) {
		t.Errorf("%d events for %d answers", len(events), len(sent))
	}
	if n := count(t, c, `SELECT count(*) FROM audit.event WHERE org_id = $1`, org.UUID()); n != len(sent) {
		t.Errorf("%d places for %d answers", n, len(sent))
	}
}

func TestAnEventsPersonalDataIsCommittedToAndOpens(t *testing.T) {
	d, org := testkit.Open(t), testkit.Org(t, "schema").ID
	e := entry(t, org)
	e.Openings = []audit.Opening{{Name: "client_address", Value: "192.0.2.77"}}
	if _, err := d.Audit.Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	events := testkit.Events(t, d, org, e.Request)
	if len(events) != 1 || len(events[0].Commitments) != 1 {
		t.Fatalf("got %+v", events)
	}
	c := root(t, d)
	var sealed []byte
	if err := c.QueryRow(t.Context(), `SELECT openings FROM audit.event WHERE org_id = $1 AND event_id = $2`, org.UUID(), events[0].ID.UUID()).Scan(&sealed); err != nil {
		t.Fatal(err)
	}
	got, err := audit.OpenOpenings(t.Context(), d.Keys(org), events[0], sealed)
	if err != nil || got["client_address"] != "192.0.2.77" {
		t.Errorf("opened %v, %v", got, err)
	}
	// An opening that is not the one committed to is refused.
	events[0].Commitments[0].Digest = "AAAA"
	if _, err := audit.OpenOpenings(t.Context(), d.Keys(org), events[0], sealed); err == nil {
		t.Error("an opening passed that does not match its commitment")
	}
}

// Event v1 is frozen: its members, their order and their names.
func TestEventV1IsFrozen(t *testing.T) {
	d, org := testkit.Open(t), testkit.Org(t, "schema").ID
	e := entry(t, org)
	e.Targets = []id.Ref{id.NewRecord()}
	e.Counts = map[string]int64{"bytes": 7}
	e.Code, e.Outcome = "denied", audit.Denied
	e.Openings = []audit.Opening{{Name: "client_address", Value: "192.0.2.1"}}
	if _, err := d.Audit.Append(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	ev := testkit.Events(t, d, org, e.Request)[0]
	c := root(t, d)
	var leaf, body []byte
	if err := c.QueryRow(t.Context(), `SELECT leaf, body FROM audit.event WHERE org_id = $1 AND event_id = $2`, org.UUID(), ev.ID.UUID()).Scan(&leaf, &body); err != nil {
		t.Fatal(err)
	}
	plain, err := audit.OpenBody(t.Context(), d.Keys(org), ev.ID, leaf, body)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"v":1,"id":"` + ev.ID.String() + `","org":"` + org.String() + `","request_id":"` + e.Request.String() + `","time":"` + ev.Time +
		`","actor":{"kind":"person","id":"` + e.Actor.ID() + `"},"action":"record.read","purpose":"service","outcome":"denied","code":"denied","targets":["` +
		e.Targets[0].String() + `"],"counts":{"bytes":7},"openings":[{"name":"client_address","digest":"` + ev.Commitments[0].Digest + `"}],"salt":"` + ev.Salt + `"}`
	if string(plain) != want {
		t.Errorf("event v1 has changed:\n got %s\nwant %s", plain, want)
	}
	leaf[0] ^= 1
	if _, err := audit.OpenBody(t.Context(), d.Keys(org), ev.ID, leaf, body); err == nil {
		t.Error("a body passed that does not match its leaf")
	}
}

func TestAFullQueueRefusesInsteadOfWaitingForEver(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	d, org := testkit.Open(t), testkit.Org(t, "schema").ID
	l := own(t, d)
	c := root(t, d)
	tx, err := c.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE audit.event, audit.pending IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	refused := false
	var waits []func(context.Context) (audit.Receipt, error)
	for range 6000 {
		wait, err := l.Start(t.Context(), entry(t, org))
		if fault.Is(err, fault.Unavailable) {
			refused = true
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		waits = append(waits, wait)
	}
	if !refused {
		t.Error("6,000 events were queued")
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, wait := range waits {
		if r, err := wait(t.Context()); err != nil || r.IsZero() {
			t.Fatalf("an event that was queued did not become durable: %v", err)
		}
	}
}
