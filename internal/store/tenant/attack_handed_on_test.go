package tenant_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
)

// However a request ends, it is on the record once, nothing of it stays but
// what was done, and the next one finds a connection that works.
func TestAConnectionIsHandedOnCleanHoweverARequestEnds(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		many := statement("SELECT repeat('x', 2000) FROM generate_series(1, 20000)")
		touch := func(ctx context.Context, tx *tenant.Tx) {
			_, _ = tx.Exec(ctx, tenant.Lit(`UPDATE record SET version = version + 1000 WHERE org_id = $1`), tx.Org().UUID())
		}
		boom := errors.New("boom")
		for _, end := range []struct {
			name string
			done bool
			how  func(ctx context.Context, cancel func(), tx *tenant.Tx) error
		}{
			{"with an error of its own", false, func(ctx context.Context, _ func(), tx *tenant.Tx) error { touch(ctx, tx); return boom }},
			{"with an error before any statement", false, func(context.Context, func(), *tenant.Tx) error { return boom }},
			{"with a statement that fails", false, func(ctx context.Context, _ func(), tx *tenant.Tx) error {
				touch(ctx, tx)
				_, err := tx.Exec(ctx, tenant.Lit(`SELECT 1 / 0`))
				return err
			}},
			{"with a failure that it keeps to itself", false, func(ctx context.Context, _ func(), tx *tenant.Tx) error {
				touch(ctx, tx)
				_, _ = tx.Exec(ctx, tenant.Lit(`SELECT 1 / 0`))
				touch(ctx, tx)
				return nil
			}},
			{"with a statement that cannot be parsed", false, func(ctx context.Context, _ func(), tx *tenant.Tx) error {
				touch(ctx, tx)
				_, _ = tx.Exec(ctx, tenant.Lit(`SELECT FROM FROM`))
				return nil
			}},
			{"with an argument that cannot be encoded", false, func(ctx context.Context, _ func(), tx *tenant.Tx) error {
				touch(ctx, tx)
				_, _ = tx.Exec(ctx, tenant.Lit(`SELECT FROM record WHERE id = $1`), "not an id")
				return nil
			}},
			{"with too few arguments", false, func(ctx context.Context, _ func(), tx *tenant.Tx) error {
				touch(ctx, tx)
				_, _ = tx.Exec(ctx, tenant.Lit(`SELECT FROM record WHERE id = $1`))
				return nil
			}},
			{"with a verb that does not pass", false, func(ctx context.Context, _ func(), tx *tenant.Tx) error {
				touch(ctx, tx)
				_, _ = tx.Exec(ctx, statement(`COMMIT`))
				return nil
			}},
			{"with rows left open", true, func(ctx context.Context, _ func(), tx *tenant.Tx) error {
				rows, err := tx.Query(ctx, many)
				if err == nil && !rows.Next() {
					err = rows.Err()
				}
				return err
			}},
			{"with an error and rows left open", false, func(ctx context.Context, _ func(), tx *tenant.Tx) error {
				touch(ctx, tx)
				rows, err := tx.Query(ctx, many)
				if err == nil {
					rows.Next()
				}
				return boom
			}},
			{"with a second query over open rows", true, func(ctx context.Context, _ func(), tx *tenant.Tx) error {
				rows, err := tx.Query(ctx, many)
				if err != nil {
					return err
				}
				rows.Next()
				_, err = tx.Exec(ctx, tenant.Lit(`SELECT 1`))
				return err
			}},
			{"with a panic", false, func(ctx context.Context, _ func(), tx *tenant.Tx) error { touch(ctx, tx); panic(boom) }},
			{"with a panic before any statement", false, func(context.Context, func(), *tenant.Tx) error { panic("boom") }},
			{"with a panic in the middle of rows", false, func(ctx context.Context, _ func(), tx *tenant.Tx) error {
				touch(ctx, tx)
				rows, _ := tx.Query(ctx, many)
				rows.Next()
				panic(boom)
			}},
			{"with the end of its goroutine", false, func(ctx context.Context, _ func(), tx *tenant.Tx) error {
				touch(ctx, tx)
				runtime.Goexit()
				return nil
			}},
			{"canceled before its first statement", false, func(ctx context.Context, cancel func(), tx *tenant.Tx) error {
				cancel()
				_, err := tx.Exec(ctx, tenant.Lit(`SELECT 1`))
				return err
			}},
			{"canceled between two statements", false, func(ctx context.Context, cancel func(), tx *tenant.Tx) error {
				touch(ctx, tx)
				cancel()
				_, err := tx.Exec(ctx, tenant.Lit(`SELECT 1`))
				return err
			}},
			{"canceled in the middle of rows", false, func(ctx context.Context, cancel func(), tx *tenant.Tx) error {
				touch(ctx, tx)
				rows, err := tx.Query(ctx, many)
				if err != nil {
					return err
				}
				rows.Next()
				cancel()
				for rows.Next() {
				}
				if rows.Err() == nil {
					return context.Canceled // all had arrived already
				}
				return rows.Err()
			}},
			{"canceled in the middle of a statement", false, func(ctx context.Context, cancel func(), tx *tenant.Tx) error {
				touch(ctx, tx)
				time.AfterFunc(5*time.Millisecond, cancel)
				_, err := tx.Exec(ctx, statement(`SELECT count(*) FROM generate_series(1, 100000000)`))
				return err
			}},
			{"by the loss of its connection", false, func(ctx context.Context, _ func(), tx *tenant.Tx) error {
				touch(ctx, tx)
				r := run(ctx, tx, "SELECT pg_backend_pid()::text")
				if _, err := p.root.Exec(context.WithoutCancel(ctx), "SELECT pg_terminate_backend($1::int, 1000)", r.rows[0]); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, tenant.Lit(`SELECT 1`))
				return err
			}},
		} {
			for _, action := range []policy.Action{policy.RecordUpdate, policy.RecordRead} {
				before := p.attacker.print(t, p.root)
				ctx, cancel := context.WithCancel(t.Context())
				request := id.NewRequest()
				var err error
				var wg sync.WaitGroup
				wg.Go(func() { // as Goexit ends it
					err = errors.New("it did not return")
					_, _, err = tenant.Do(ctx, p.store, tenant.Request{Actor: p.attacker.who, Org: p.attacker.ID, Action: action, ID: request},
						func(ctx context.Context, tx *tenant.Tx) (int, error) { return 0, end.how(ctx, cancel, tx) })
				})
				wg.Wait()
				cancel()
				if (err == nil) != end.done {
					t.Errorf("a request that ends %s in %s: %v", end.name, action, err)
				}
				p.attempts = append(p.attempts, attempt{end.name, request, action, end.done})
				if p.attacker.print(t, p.root) != before {
					t.Errorf("a request that ends %s in %s left a change", end.name, action)
				}
				p.visit(t, "a request that ended "+end.name)
				p.unharmed(t, end.name, result{})
			}
		}
	})
}

// What a request holds on to when it is over is worth nothing, whoever is
// served by the connection then.
func TestATransactionIsOfNoUseWhenItIsOver(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		for _, action := range []policy.Action{policy.RecordUpdate, policy.RecordRead} {
			var kept *tenant.Tx
			var rows, unread *tenant.Rows
			var row interface{ Scan(...any) error }
			_, _, err := tenant.Do(t.Context(), p.store, tenant.Request{Actor: p.attacker.who, Org: p.attacker.ID, Action: action}, func(ctx context.Context, tx *tenant.Tx) (int, error) {
				kept = tx
				var err error
				if unread, err = tx.Query(ctx, statement("SELECT id::text FROM record")); err != nil {
					return 0, err
				}
				row = tx.QueryRow(ctx, statement("SELECT id::text FROM record"))
				if rows, err = tx.Query(ctx, statement("SELECT id::text || repeat('x', 3000) FROM record, generate_series(1, 100)")); err != nil {
					return 0, err
				}
				rows.Next()
				return 0, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			var s string
			if rows.Scan(&s) == nil {
				t.Errorf("the current row gives %d bytes when its request is over", len(s))
			}
			// Nor in the middle of the victim's: the buffer is the connection's.
			_, _, err = tenant.Do(t.Context(), p.store, tenant.Request{Actor: p.victim.who, Org: p.victim.ID, Action: policy.RecordList}, func(ctx context.Context, tx *tenant.Tx) (int, error) {
				theirs, err := tx.Query(ctx, statement("SELECT convert_from(body, 'UTF8') || repeat('y', 3000) FROM record, generate_series(1, 100)"))
				if err != nil || !theirs.Next() {
					return 0, errors.New("the victim reads nothing")
				}
				if rows.Scan(&s) == nil {
					t.Errorf("the current row gives %q of a request that is under way", s[:40])
				}
				return 0, nil
			})
			if err != nil {
				t.Error(err)
			}
			p.visit(t, "a request that kept what it had")
			if rows.Next() || rows.Scan(&s) == nil {
				t.Errorf("rows give %d bytes when their request is over", len(s))
			}
			if unread.Next() || unread.Scan(&s) == nil {
				t.Error("rows that were never read give something when their request is over")
			}
			if row.Scan(&s) == nil {
				t.Error("a row gives something when its request is over")
			}
			if r := run(t.Context(), kept, "SELECT id::text FROM record"); r.err == nil {
				t.Errorf("a transaction gives %d rows when its request is over", len(r.rows))
			}
			if r := run(t.Context(), kept, "UPDATE record SET version = 9"); r.err == nil {
				t.Error("a transaction writes when its request is over")
			}
			kept.Touch(id.NewRecord())
			kept.Enqueue(tenant.Job{Kind: "late"})
			rows.Close()
			unread.Close()
			p.visit(t, "a transaction was used when it was over")
		}
		var zero tenant.Tx
		if r := run(t.Context(), &zero, "SELECT 1"); r.err == nil {
			t.Error("the zero transaction runs SQL")
		}
		if r := run(t.Context(), &zero, "UPDATE record SET version = 9"); r.err == nil {
			t.Error("the zero transaction runs SQL")
		}
		p.unharmed(t, "a transaction that is over", result{})
	})
}

// A goroutine that a request left behind goes on using the transaction, while
// the connection serves others.
func TestAGoroutineLeftBehindSeesNobodyElse(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		for _, action := range []policy.Action{policy.RecordUpdate, policy.RecordRead} {
			var stop atomic.Bool
			var wg sync.WaitGroup
			var mu sync.Mutex
			var seen []string
			started := make(chan struct{})
			_, _, _ = tenant.Do(t.Context(), p.store, tenant.Request{Actor: p.attacker.who, Org: p.attacker.ID, Action: action}, func(ctx context.Context, tx *tenant.Tx) (int, error) {
				for i := range 4 {
					wg.Go(func() {
						for n := 0; !stop.Load(); n++ {
							r := run(ctx, tx, []string{"SELECT id::text FROM record", "SELECT id::text FROM record ORDER BY id", "SELECT r::text FROM record r", "UPDATE record SET version = version WHERE false"}[i])
							mu.Lock()
							seen = append(seen, r.rows...)
							mu.Unlock()
							if n == 0 && i == 0 {
								close(started)
							}
							if r.err != nil {
								time.Sleep(20 * time.Microsecond)
							}
						}
					})
				}
				<-started
				return 0, nil
			})
			for range 20 {
				p.visit(t, "a goroutine was left behind")
			}
			stop.Store(true)
			wg.Wait()
			slices.Sort(seen)
			p.unharmed(t, "a goroutine left behind", result{rows: slices.Compact(seen)})
		}
	})
}

// Two victims in turns on one connection, from many goroutines at once.
func TestRequestsThatShareAConnectionDoNotShareRows(t *testing.T) {
	n := world(t)
	d := narrow(t, testkit.Open(t))
	homes := []home{n.schemaAttacker, n.schemaVictim, n.pooledAttacker, n.pooledVictim}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 25 {
				h := homes[(i+k)%len(homes)]
				got, _, err := tenant.Do(t.Context(), d, tenant.Request{Actor: h.who, Org: h.ID, Action: policy.RecordList}, func(ctx context.Context, tx *tenant.Tx) ([]string, error) {
					r := run(ctx, tx, "SELECT DISTINCT org_id::text FROM record")
					return r.rows, r.err
				})
				if err != nil || len(got) != 1 || got[0] != h.ID.UUID().String() {
					t.Errorf("one of several sees %v, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}
