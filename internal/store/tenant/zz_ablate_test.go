package tenant_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"strongroom/internal/base/id"
	"strongroom/internal/store/internal/unit"
	"strongroom/internal/testkit"
)

func TestZZAblate(t *testing.T) {
	if os.Getenv("EXPLORE") == "" {
		t.Skip()
	}
	d := testkit.Open(t)
	ctx := context.Background()
	for _, placement := range []string{"schema", "pooled"} {
		o := testkit.Org(t, placement)
		c := declare(t, d, o.ID)
		cfg, _ := pgx.ParseConfig(d.DB.URL(fmt.Sprintf("sr_app_%02d", o.Slice)))
		cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
		conn, err := pgx.ConnectConfig(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		pid := conn.PgConn().PID()
		m := unit.NewMinter(d.Capability)
		prep := func(name, sql string) {
			if _, err := conn.Prepare(ctx, name, sql); err != nil {
				t.Fatal(name, err)
			}
		}
		prep("begin", "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")
		prep("beginr", "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY")
		prep("commit", "COMMIT")
		prep("enter6", `SELECT set_config('role', $1, true), set_config('search_path', $2, true), set_config('sr.cap', $3, true), set_config('row_security', 'on', true), set_config('synchronous_commit', 'on', true), set_config('statement_timeout', '30000', true)`)
		prep("enter3", `SELECT set_config('role', $1, true), set_config('search_path', $2, true), set_config('sr.cap', $3, true)`)
		prep("role", `SELECT set_config('role', $1, true)`)
		prep("sp", `SELECT set_config('search_path', $1, true)`)
		prep("cap", `SELECT set_config('sr.cap', $1, true)`)
		prep("one", `SELECT 1`)
		prep("org", `SELECT sr.org()`)
		cap := m.Mint(o.ID.UUID(), uuid.New(), pid, time.Now())
		sp := o.Schema + ", pg_temp"
		who := uuid.New()
		cpu := func() float64 {
			x, _ := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
			n, _ := strconv.ParseFloat(strings.Fields(string(x))[0], 64)
			return n / 1e3
		}
		_ = bytes.NewReader
		blob := make([]byte, 1100)
		selSQL := `SELECT body FROM record WHERE org_id = $1 AND id = $2`
		insSQL := `INSERT INTO record (org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by) VALUES ($1, $2, $3, 1, 20, $4, $5, 'o', now(), $5, now(), $5)`
		audSQL := `INSERT INTO audit.pending (org_id, event_id, server, seq, chain, leaf, body, openings, void) VALUES ($1, $2, $3, 1, $4, $4, $5, null, false)`
		prep("aud", audSQL)
		if placement == "pooled" {
			if _, err := conn.Exec(ctx, "SELECT set_config('role','w_pool',false)"); err != nil {
				t.Fatal(err)
			}
			conn.Exec(ctx, "SET search_path=pool")
			prep("selp", selSQL)
			prep("insp", insSQL)
		}
		rec := id.NewRecord()
		run := func(name string, n int, q func(b *pgx.Batch)) {
			do := func() {
				b := &pgx.Batch{}
				q(b)
				if err := conn.SendBatch(ctx, b).Close(); err != nil {
					t.Fatal(name, err)
				}
			}
			for range 50 {
				do()
			}
			a := cpu()
			for range n {
				do()
			}
			fmt.Printf("%s %-28s %.1f us\n", placement, name, (cpu()-a)/float64(n))
		}
		enter6 := func(b *pgx.Batch) { b.Queue("begin"); b.Queue("enter6", o.Role, sp, cap) }
		enter3 := func(b *pgx.Batch) { b.Queue("begin"); b.Queue("enter3", o.Role, sp, cap) }
		run("enter6 exec select", 3000, func(b *pgx.Batch) { enter6(b); b.Queue(selSQL, o.ID.UUID(), rec.UUID()); b.Queue("commit") })
		if placement == "pooled" {
			run("enter6 prep select", 3000, func(b *pgx.Batch) { enter6(b); b.Queue("selp", o.ID.UUID(), rec.UUID()); b.Queue("commit") })
		}
		conn.Exec(ctx, "SET synchronous_commit=off")
		run("enter3 async aud", 3000, func(b *pgx.Batch) {
			enter3(b)
			b.Queue("aud", o.ID.UUID(), uuid.New(), who, blob[:32], blob[:700])
			b.Queue("commit")
		})
		run("enter3 async exec ins aud", 3000, func(b *pgx.Batch) {
			enter3(b)
			b.Queue(insSQL, o.ID.UUID(), uuid.Must(uuid.NewV7()), c.UUID(), blob, who)
			b.Queue("aud", o.ID.UUID(), uuid.New(), who, blob[:32], blob[:700])
			b.Queue("commit")
		})
		run("enter6 aud", 3000, func(b *pgx.Batch) {
			enter6(b)
			b.Queue("aud", o.ID.UUID(), uuid.New(), who, blob[:32], blob[:700])
			b.Queue("commit")
		})
		run("enter6 exec insert aud", 3000, func(b *pgx.Batch) {
			enter6(b)
			b.Queue(insSQL, o.ID.UUID(), uuid.Must(uuid.NewV7()), c.UUID(), blob, who)
			b.Queue("aud", o.ID.UUID(), uuid.New(), who, blob[:32], blob[:700])
			b.Queue("commit")
		})
		if placement == "pooled" {
			run("enter6 prep insert aud", 3000, func(b *pgx.Batch) {
				enter6(b)
				b.Queue("insp", o.ID.UUID(), uuid.Must(uuid.NewV7()), c.UUID(), blob, who)
				b.Queue("aud", o.ID.UUID(), uuid.New(), who, blob[:32], blob[:700])
				b.Queue("commit")
			})
		}
		conn.Close(ctx)
	}
}
