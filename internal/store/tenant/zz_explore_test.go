package tenant_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/identity/actortest"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/internal/pg"
	"strongroom/internal/store/internal/unit"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
)

func par(n int, d time.Duration, f func()) float64 {
	var ops atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for time.Now().Before(end) {
				f()
				ops.Add(1)
			}
		}()
	}
	wg.Wait()
	return float64(ops.Load()) / d.Seconds()
}

func TestZZExplore(t *testing.T) {
	if os.Getenv("EXPLORE") == "" {
		t.Skip()
	}
	d := testkit.Open(t)
	ctx := context.Background()
	pool, _ := pgxpool.New(ctx, d.DB.URL("sr_root")+"&pool_max_conns=16")
	pool.Exec(ctx, `CREATE TABLE public.raw (id uuid PRIMARY KEY, org uuid, body bytea, at timestamptz)`)
	blob := make([]byte, 1024)
	for i := range blob {
		blob[i] = byte('a' + i%26)
	}

	var last atomic.Pointer[uuid.UUID]
	rawI := func() {
		u := uuid.Must(uuid.NewV7())
		if _, err := pool.Exec(ctx, `INSERT INTO public.raw VALUES ($1,$2,$3,$4)`, u, u, blob, time.Now()); err != nil {
			t.Error(err)
		}
		last.Store(&u)
	}
	rawS := func() {
		var b []byte
		if err := pool.QueryRow(ctx, `SELECT body FROM public.raw WHERE id=$1`, *last.Load()).Scan(&b); err != nil {
			t.Error(err)
		}
	}

	par(16, time.Second, rawI)
	for _, placement := range []string{"schema"} {
		org := testkit.Org(t, placement).ID
		c := declare(t, d, org)
		who := actortest.With(t, org, policy.Scientist)
		var lastRec atomic.Pointer[id.Record]
		create := func() {
			rec, _, err := tenant.Do(ctx, d.Tenant, tenant.Request{Actor: who, Org: org, Action: policy.RecordCreate},
				func(ctx context.Context, tx *tenant.Tx) (id.Record, error) {
					rec := id.NewRecord()
					leaf, err := tx.NewLeaf(ctx)
					if err != nil {
						return rec, err
					}
					body, err := tx.Seal(ctx, "record", rec.UUID(), 1, seal.Section{Name: "content", Leaf: leaf, Plain: seal.NewSecret(blob)})
					if err != nil {
						return rec, err
					}
					tx.Touch(rec)
					_, err = tx.Exec(ctx, tenant.Lit(`INSERT INTO record (org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
 VALUES ($1, $2, $3, 1, $4, $5, $6, 'o', $7, $6, $7, $6)`), tx.Org().UUID(), rec.UUID(), c.UUID(), int64(leaf), body, tx.Actor().Person().UUID(), tx.Now())
					return rec, err
				})
			if err != nil {
				t.Error(err)
			}
			lastRec.Store(&rec)
		}
		get := func() {
			_, _, err := tenant.Do(ctx, d.Tenant, tenant.Request{Actor: who, Org: org, Action: policy.RecordRead},
				func(ctx context.Context, tx *tenant.Tx) (string, error) { return read(ctx, tx, *lastRec.Load()) })
			if err != nil {
				t.Error(err)
			}
		}
		o := org
		place, _ := d.Platform.Placements().Of(ctx, o)
		pp, err := pg.Open(ctx, d.DB.URL(fmt.Sprintf("sr_app_%02d", place.Slice)), 16)
		if err != nil {
			t.Fatal(err)
		}
		m := unit.NewMinter(d.Capability)
		create()
		peek := func() {
			s := pp.Begin(pg.Entry{Role: place.Role, SearchPath: place.Schema + ", pg_temp", ReadOnly: true, Capability: func(b uint32) string { return m.Mint(o.UUID(), uuid.Nil, b, time.Now()) }})
			rows, err := s.Query(ctx, `SELECT body FROM record WHERE org_id = $1 AND id = $2`, o.UUID(), lastRec.Load().UUID())
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
				var b []byte
				rows.Scan(&b)
			}
			if err := s.Finish(ctx); err != nil {
				t.Fatal(err)
			}
		}
		appendOnly := func() {
			if _, err := d.Audit.Append(ctx, audit.Entry{Org: o, Request: id.NewRequest(), Actor: who, Action: policy.RecordRead, Outcome: audit.Done, Targets: []id.Ref{*lastRec.Load()}}); err != nil {
				t.Error(err)
			}
		}
		get()
		par(16, 500*time.Millisecond, create)
		for range 1 {
			ri := par(16, 2*time.Second, rawI)
			ci := par(16, 2*time.Second, create)
			rs := par(16, 2*time.Second, rawS)
			cs := par(16, 2*time.Second, get)
			cpu := func() (a, b float64) {
				var self syscall.Rusage
				syscall.Getrusage(0, &self)
				a = float64(self.Utime.Nano()+self.Stime.Nano()) / 1e3
				m, _ := filepath.Glob("/proc/[0-9]*/stat")
				for _, f := range m {
					x, _ := os.ReadFile(f)
					if !bytes.Contains(x, []byte("(postgres)")) {
						continue
					}
					fs := strings.Fields(string(x[bytes.LastIndexByte(x, ')')+2:]))
					u, _ := strconv.Atoi(fs[11])
					v, _ := strconv.Atoi(fs[12])
					b += float64(u+v) * 1e4
				}
				return
			}
			meas := func(name string, f func()) {
				a0, b0 := cpu()
				n := par(16, 2*time.Second, f) * 2
				a1, b1 := cpu()
				fmt.Printf("  %s: go %.0fus pg %.0fus (%.0f/s)\n", name, (a1-a0)/n, (b1-b0)/n, n/2)
			}
			meas("rawI", rawI)
			if os.Getenv("ONLY") != "" {
				f := map[string]func(){"create": create, "get": get}[os.Getenv("ONLY")]
				fmt.Println("GO")
				par(16, 12*time.Second, f)
				return
			}
			meas("create", create)
			meas("rawS", rawS)
			meas("peek", peek)
			meas("append", appendOnly)
			meas("rawS", rawS)
			meas("get", get)
			fmt.Printf("%s insert raw %.0f ours %.0f ratio %.2f | select raw %.0f ours %.0f ratio %.2f\n", placement, ri, ci, ci/ri, rs, cs, cs/rs)
		}
	}
}
