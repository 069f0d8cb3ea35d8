package tenant_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/identity/actortest"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
)

// putLast stores a record as the unit's last statement and says whether it was
// taken. A nil collection is refused by PostgreSQL.
func putLast(ctx context.Context, tx *tenant.Tx, c any, rec id.Record) (taken bool, err error) {
	leaf, err := tx.NewLeaf(ctx)
	if err != nil {
		return false, err
	}
	body, err := tx.Seal(ctx, "record", rec.UUID(), 1, seal.Section{Name: "content", Leaf: leaf, Plain: seal.NewSecretString(`{"a":1}`)})
	if err != nil {
		return false, err
	}
	tx.Touch(rec)
	insert := tenant.Lit(`INSERT INTO record (org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
 VALUES ($1, $2, $3, 1, $4, $5, $6, 'o', $7, $6, $7, $6)`)
	args := []any{tx.Org().UUID(), rec.UUID(), c, int64(leaf), body, tx.Actor().Person().UUID(), tx.Now()}
	if tx.Last(insert, args...) {
		return true, nil
	}
	_, err = tx.Exec(ctx, insert, args...)
	return false, err
}

func TestALastStatementTravelsWithItsEventInOneTrip(t *testing.T) {
	d := testkit.Open(t)
	for _, placement := range []string{"schema", "pooled"} {
		org := testkit.Org(t, placement).ID
		c, who := declare(t, d, org), actortest.With(t, org, policy.Scientist)
		for i := range 3 {
			r := tenant.Request{Actor: who, Org: org, Action: policy.RecordCreate, ID: id.NewRequest()}
			before := d.Tenant.Trips()
			rec, receipt, err := tenant.Do(t.Context(), d.Tenant, r, func(ctx context.Context, tx *tenant.Tx) (id.Record, error) {
				rec := id.NewRecord()
				_, err := putLast(ctx, tx, c.UUID(), rec)
				return rec, err
			})
			if err != nil || receipt.IsZero() {
				t.Fatalf("%s: %v, receipt %v", placement, err, receipt)
			}
			if n := d.Tenant.Trips() - before; i > 0 && n != 1 {
				t.Errorf("%s: %d round trips, want 1", placement, n)
			}
			testkit.WantEvents(t, d, org, r.ID, testkit.Event{Action: policy.RecordCreate, Outcome: audit.Done, Targets: []string{rec.String()}})
			got, _, err := tenant.Do(t.Context(), d.Tenant, tenant.Request{Actor: who, Org: org, Action: policy.RecordRead},
				func(ctx context.Context, tx *tenant.Tx) (string, error) { return read(ctx, tx, rec) })
			if err != nil || got != `{"a":1}` {
				t.Fatalf("%s: read %q, %v", placement, got, err)
			}
		}
	}
}

func TestARefusedLastStatementIsRepeatedAloneAndRecordedOnce(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		d, org := testkit.Open(t), testkit.Org(t, placement).ID
		who := actortest.With(t, org, policy.Scientist)
		r := tenant.Request{Actor: who, Org: org, Action: policy.RecordCreate, ID: id.NewRequest()}
		var taken []bool
		rec := id.NewRecord()
		_, receipt, err := tenant.Do(t.Context(), d.Tenant, r, func(ctx context.Context, tx *tenant.Tx) (int, error) {
			was, err := putLast(ctx, tx, id.NewCollection().UUID(), rec)
			taken = append(taken, was)
			if tenant.IsForeignKey(err, "record_collection_fkey") {
				err = fault.New(fault.NotFound, "no such collection")
			}
			return 0, err
		})
		if !fault.Is(err, fault.NotFound) || receipt.IsZero() {
			t.Fatalf("got %v, receipt %v", err, receipt)
		}
		if len(taken) != 2 || !taken[0] || taken[1] {
			t.Fatalf("the statement was taken %v", taken)
		}
		testkit.WantEvents(t, d, org, r.ID, testkit.Event{Action: policy.RecordCreate, Outcome: audit.Denied, Code: "not_found", Targets: []string{rec.String()}})
	})
}

func TestAStatementAfterTheLastOneIsRefused(t *testing.T) {
	t.Parallel()
	d, org := testkit.Open(t), testkit.Org(t, "schema").ID
	c, who := declare(t, d, org), actortest.With(t, org, policy.Scientist)
	rec := id.NewRecord()
	_, _, err := tenant.Do(t.Context(), d.Tenant, tenant.Request{Actor: who, Org: org, Action: policy.RecordCreate}, func(ctx context.Context, tx *tenant.Tx) (int, error) {
		if taken, err := putLast(ctx, tx, c.UUID(), rec); !taken || err != nil {
			t.Errorf("taken %v, %v", taken, err)
		}
		_, err := insert(ctx, tx, c)
		return 0, err
	})
	if err == nil {
		t.Fatal("a statement after the last one was run")
	}
	_, _, err = tenant.Do(t.Context(), d.Tenant, tenant.Request{Actor: who, Org: org, Action: policy.RecordRead},
		func(ctx context.Context, tx *tenant.Tx) (string, error) { return read(ctx, tx, rec) })
	if !fault.Is(err, fault.NotFound) {
		t.Fatalf("the last statement was carried out all the same: %v", err)
	}
}

func TestOfManyTogetherEachHasItsOwnEventAndOneThatFailsFailsAlone(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		d, org := testkit.Open(t), testkit.Org(t, placement).ID
		c, who := declare(t, d, org), actortest.With(t, org, policy.Scientist)
		const callers, rounds = 16, 12
		type made struct {
			request id.Request
			rec     id.Record
			bad     bool
			err     error
		}
		results := make([]made, callers*rounds)
		var wg sync.WaitGroup
		for i := range callers {
			wg.Go(func() {
				for j := range rounds {
					n := i*rounds + j
					m := made{request: id.NewRequest(), bad: n%29 == 7}
					in := c
					if m.bad {
						in = id.NewCollection()
					}
					var receipt audit.Receipt
					m.rec, receipt, m.err = tenant.Do(t.Context(), d.Tenant, tenant.Request{Actor: who, Org: org, Action: policy.RecordCreate, ID: m.request},
						func(ctx context.Context, tx *tenant.Tx) (id.Record, error) {
							rec := id.NewRecord()
							_, err := putLast(ctx, tx, in.UUID(), rec)
							return rec, err
						})
					if receipt.IsZero() {
						m.err = errors.Join(m.err, errors.New("no receipt"))
					}
					results[n] = m
				}
			})
		}
		wg.Wait()
		for n, m := range results {
			if m.bad {
				if !tenant.IsForeignKey(m.err, "record_collection_fkey") {
					t.Fatalf("%d: %v", n, m.err)
				}
				continue
			}
			if m.err != nil {
				t.Fatalf("%d: %v", n, m.err)
			}
			testkit.WantEvents(t, d, org, m.request, testkit.Event{Action: policy.RecordCreate, Outcome: audit.Done, Targets: []string{m.rec.String()}})
		}
		var count int
		_, _, err := tenant.Do(t.Context(), d.Tenant, tenant.Request{Actor: who, Org: org, Action: policy.RecordRead}, func(ctx context.Context, tx *tenant.Tx) (int, error) {
			return 0, tx.QueryRow(ctx, tenant.Lit(`SELECT count(*)::int FROM record WHERE org_id = $1`), tx.Org().UUID()).Scan(&count)
		})
		want := 0
		for _, m := range results {
			if !m.bad {
				want++
			}
		}
		if err != nil || count != want {
			t.Fatalf("%d records, want %d (%v)", count, want, err)
		}
		if n := d.Audit.Broken(); n != 0 {
			t.Fatalf("%d breaks of the chain", n)
		}
	})
}

// Who goes away, be it the one who carries the others' statements out, takes
// nobody along: what was handed over is carried out, once, and on record.
func TestWhoGoesAwayWhileManyAreTogetherTakesNobodyAlong(t *testing.T) {
	t.Parallel()
	d, org := testkit.Open(t), testkit.Org(t, "pooled").ID
	c, who := declare(t, d, org), actortest.With(t, org, policy.Scientist)
	const callers, rounds = 12, 8
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for j := range rounds {
				ctx, leave := context.WithCancel(t.Context())
				request := id.NewRequest()
				rec, receipt, err := tenant.Do(ctx, d.Tenant, tenant.Request{Actor: who, Org: org, Action: policy.RecordCreate, ID: request},
					func(ctx context.Context, tx *tenant.Tx) (id.Record, error) {
						rec := id.NewRecord()
						_, err := putLast(ctx, tx, c.UUID(), rec)
						if (i+j)%2 == 0 {
							leave()
						}
						return rec, err
					})
				leave()
				if err != nil || receipt.IsZero() {
					t.Errorf("%d: %v, receipt %v", i, err, receipt)
					return
				}
				testkit.WantEvents(t, d, org, request, testkit.Event{Action: policy.RecordCreate, Outcome: audit.Done, Targets: []string{rec.String()}})
			}
		})
	}
	wg.Wait()
	count, _, err := tenant.Do(t.Context(), d.Tenant, tenant.Request{Actor: who, Org: org, Action: policy.RecordRead}, func(ctx context.Context, tx *tenant.Tx) (n int, err error) {
		err = tx.QueryRow(ctx, tenant.Lit(`SELECT count(*)::int FROM record WHERE org_id = $1`), tx.Org().UUID()).Scan(&n)
		return n, err
	})
	if err != nil || count != callers*rounds {
		t.Errorf("%d records of %d, %v", count, callers*rounds, err)
	}
}

func TestALastStatementIsHeldToItsOrganization(t *testing.T) {
	t.Parallel()
	d, org := testkit.Open(t), testkit.Org(t, "schema").ID
	c, who := declare(t, d, org), actortest.With(t, org, policy.Scientist)
	other := testkit.Org(t, "schema").ID
	// A row of another organization is refused by its policy, however it comes.
	_, _, err := tenant.Do(t.Context(), d.Tenant, tenant.Request{Actor: who, Org: org, Action: policy.RecordCreate}, func(ctx context.Context, tx *tenant.Tx) (int, error) {
		insert := tenant.Lit(`INSERT INTO record (org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
 VALUES ($1, $2, $3, 1, 20, '\x01', $4, 'o', $5, $4, $5, $4)`)
		args := []any{other.UUID(), id.NewRecord().UUID(), c.UUID(), tx.Actor().Person().UUID(), tx.Now()}
		if tx.Last(insert, args...) {
			return 0, nil
		}
		_, err := tx.Exec(ctx, insert, args...)
		return 0, err
	})
	if err == nil {
		t.Fatal("a row of another organization went in")
	}
}

// Back-ends are ended all the while, some of them in the middle of a commit.
func TestWhatWasAnsweredIsThereAndWhatWasRefusedIsNotWhenBackEndsDie(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"in one trip", "between BEGIN and COMMIT"} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			underFire(t, way == "in one trip")
		})
	}
}

func underFire(t *testing.T, last bool) {
	d, org := testkit.Open(t), testkit.Org(t, "schema").ID
	c, who := declare(t, d, org), actortest.With(t, org, policy.Scientist)
	admin, err := pgx.Connect(t.Context(), d.DB.URL("sr_root"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = admin.Close(context.Background()) }()
	at, err := d.Platform.Placements().Of(t.Context(), org)
	if err != nil {
		t.Fatal(err)
	}
	const callers, rounds = 8, 6
	done, killed := make([]error, callers*rounds), make(chan int)
	made := make([]id.Record, callers*rounds)
	stop := make(chan struct{})
	go func() {
		n := 0
		defer func() { killed <- n }()
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			var one int
			if err := admin.QueryRow(context.Background(), `SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
 WHERE datname = current_database() AND usename = $1 AND state <> 'idle'`, platform.AppLogin(at.Slice)).Scan(&one); err == nil {
				n += one
			}
		}
	}()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for j := range rounds {
				n := i*rounds + j
				_, receipt, err := tenant.Do(t.Context(), d.Tenant, tenant.Request{Actor: who, Org: org, Action: policy.RecordCreate},
					func(ctx context.Context, tx *tenant.Tx) (int, error) {
						var err error
						if last {
							made[n] = id.NewRecord()
							_, err = putLast(ctx, tx, c.UUID(), made[n])
						} else {
							made[n], err = insert(ctx, tx, c)
						}
						return 0, err
					})
				if done[n] = err; err == nil && receipt.IsZero() {
					done[n] = errors.New("answered without a receipt")
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	t.Logf("%d back-ends were ended", <-killed)
	for n, err := range done {
		var there bool
		if e := admin.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM `+at.Schema+`.record WHERE id = $1)`, made[n].UUID()).Scan(&there); e != nil {
			t.Fatal(e)
		}
		if there != (err == nil) {
			t.Fatalf("%d: the record is there: %v, and the answer was %v", n, there, err)
		}
	}
	if n := d.Audit.Broken(); n != 0 {
		t.Fatalf("%d breaks of the chain", n)
	}
}
