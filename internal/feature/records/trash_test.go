package records_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/feature/records"
	"strongroom/internal/identity/actor"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
)

func (a *as) trash(kind string, limit int, cursor string) (feature.Page[records.Trashed], error) {
	a.l.Helper()
	out, err := call[feature.List[records.Trashed]](a, "list-trash", records.ListTrashIn{Kind: kind, Listing: feature.Listing{Limit: limit, Cursor: cursor}})
	return out.Body, err
}

func TestTheTrashShowsEachWhatTheyCouldTakeBack(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := openEmpty(t, placement)
		l.declare(anything, `{"properties":{"name":{"type":"string","x-strongroom":{"title":true}}}}`)
		hers, his := l.as(l.ada).put(`{"name":"wafer 7"}`), l.as(l.bob).put(`{"name":"wafer 8"}`)
		secret := l.as(l.ada).private(`{"name":"notes"}`)
		for i, r := range []records.Record{hers, his, secret} {
			who := l.as(l.ada)
			if i == 1 {
				who = l.as(l.bob)
			}
			if err := who.delete(r.ID, 1); err != nil {
				t.Fatal(err)
			}
		}
		a := l.as(l.ada)
		p, err := a.trash("", 10, "")
		if err != nil || len(p.Items) != 2 || p.Items[0].ID != secret.ID.String() || p.Items[0].Title != "notes" || p.Items[1].ID != hers.ID.String() || p.Items[1].Title != "wafer 7" {
			t.Fatalf("Ada sees %+v, %v", p.Items, err)
		}
		if got := p.Items[1]; got.Kind != "record" || got.Collection != anything || got.Owner != l.ada.Person() || got.DeletedBy != l.ada.Person() || got.PurgeAfter.Sub(got.DeletedAt) != feature.Undo {
			t.Errorf("%+v", got)
		}
		a.recorded(audit.Done, "", secret.ID, hers.ID)
		// An admin takes back anybody's, and reads nothing by it.
		o := l.as(l.olga)
		p, err = o.trash("record", 10, "")
		if err != nil || len(p.Items) != 2 || p.Items[0].ID != his.ID.String() || p.Items[0].Title != "" || p.Items[1].Title != "" || p.Items[0].Collection != anything {
			t.Errorf("Olga sees %+v, %v", p.Items, err)
		}
		o.recorded(audit.Done, "", his.ID, hers.ID)
		if p, err = l.as(l.ada).trash("file", 10, ""); err != nil || len(p.Items) != 0 {
			t.Errorf("files: %+v, %v", p.Items, err)
		}
		var got []string
		for cursor := ""; ; {
			p, err := l.as(l.olga).trash("", 1, cursor)
			if err != nil {
				t.Fatal(err)
			}
			for _, item := range p.Items {
				got = append(got, item.ID)
			}
			if cursor = p.Next; cursor == "" {
				break
			}
		}
		if !equal(got, []string{his.ID.String(), hers.ID.String()}) {
			t.Errorf("by pages: %v", got)
		}
		if r, err := l.as(l.ada).restore(hers.ID); err != nil || r.Title != "wafer 7" {
			t.Errorf("%+v, %v", r, err)
		}
		if p, err = l.as(l.olga).trash("", 10, ""); err != nil || len(p.Items) != 1 {
			t.Errorf("afterwards: %+v, %v", p.Items, err)
		}
	})
}

func TestKeysOfRequestsAreForgottenAfterADay(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		in := createIn(anything, `{}`, "")
		in.Key = key("today", "a")
		if _, err := call[feature.Created[records.Record]](l.as(l.ada), "create-record", in); err != nil {
			t.Fatal(err)
		}
		do := func(who actor.Actor, fn func(context.Context, *tenant.Tx) error) {
			t.Helper()
			if _, _, err := tenant.Do(t.Context(), l.d.Tenant, tenant.Request{Actor: who, Org: l.org, Action: policy.RecordUpdate}, func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
				return struct{}{}, fn(ctx, tx)
			}); err != nil {
				t.Fatal(err)
			}
		}
		do(l.bob, func(ctx context.Context, tx *tenant.Tx) error {
			_, err := tx.Exec(ctx, tenant.Lit(`INSERT INTO idempotency (org_id, actor_id, key_hash, request_hash, created_at) SELECT $1, $2, '\x01', '\x02', $3`),
				tx.Org().UUID(), tx.Actor().Person().UUID(), tx.Now().Add(-25*time.Hour))
			return err
		})
		request := tenant.Request{Actor: l.ada, Org: l.org, Action: policy.RequestForget, ID: id.NewRequest()}
		for _, job := range l.f.Jobs {
			if job.Kind == tenant.ForgetJob {
				if err := job.Run(t.Context(), l.d.Tenant, request, l.org.String()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if e := testkit.Events(t, l.d, l.org, request.ID); len(e) != 1 || e[0].Action != policy.RequestForget || e[0].Counts["keys"] != 1 {
			t.Errorf("on record: %+v", e)
		}
		do(l.ada, func(ctx context.Context, tx *tenant.Tx) error {
			var n int
			err := tx.QueryRow(ctx, tenant.Lit(`SELECT count(*)::int FROM idempotency WHERE org_id = $1`), tx.Org().UUID()).Scan(&n)
			if n != 1 {
				t.Errorf("%d keys are left, want today's", n)
			}
			return err
		})
		// The first request of an hour asks for the job that forgets it.
		conn, err := pgx.Connect(t.Context(), l.d.DB.URL("sr_root"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		var jobs int
		if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM jobs.river_job WHERE args->>'job' = $1 AND args->>'org' = $2`, tenant.ForgetJob, l.org.String()).Scan(&jobs); err != nil || jobs != 1 {
			t.Errorf("%d jobs, %v", jobs, err)
		}
	})
}
