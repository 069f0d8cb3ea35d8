package records_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature/records"
	"strongroom/internal/identity/actor"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
)

func TestALinkShowsFromBothItsEnds(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		from, to := l.as(l.ada).put(`{}`), l.as(l.ada).put(`{}`)
		a := l.as(l.ada)
		made, err := a.link(from.ID, to.ID.String(), "measured from")
		if err != nil || made.From != from.ID.String() || made.To != to.ID.String() || made.Relation != "measured from" || made.Direction != "out" || made.CreatedBy != l.ada.Person() {
			t.Fatalf("%+v, %v", made, err)
		}
		a.recorded(audit.Done, "", from.ID, to.ID, made.ID)
		for _, end := range []struct {
			rec       id.Record
			direction string
		}{{from.ID, "out"}, {to.ID, "in"}} {
			a := l.as(l.ann)
			p, err := a.links(end.rec, 10, "")
			if err != nil || len(p.Items) != 1 {
				t.Fatalf("%d links, %v", len(p.Items), err)
			}
			got := p.Items[0]
			if got.ID != made.ID || got.From != made.From || got.To != made.To || got.Relation != made.Relation || got.Direction != end.direction || !got.CreatedAt.Equal(made.CreatedAt) {
				t.Errorf("seen %s: %+v", end.direction, got)
			}
			// The other end is on the record: its title was shown.
			a.recorded(audit.Done, "", from.ID, to.ID, made.ID)
		}
		a = l.as(l.ada)
		_, err = a.link(from.ID, to.ID.String(), "measured from")
		refused(t, err, fault.Conflict)
		a.recorded(audit.Refused, "conflict", from.ID, to.ID)
		if _, err := l.as(l.ada).link(from.ID, to.ID.String(), "another relation"); err != nil {
			t.Error(err)
		}
		if self, err := l.as(l.ada).link(from.ID, from.ID.String(), "itself"); err != nil {
			t.Error(err)
		} else if p, err := l.as(l.ada).links(from.ID, 10, ""); err != nil || len(p.Items) != 3 || p.Items[2].ID != self.ID || p.Items[2].Direction != "out" {
			t.Errorf("a link to itself: %+v, %v", p.Items, err)
		}

		a = l.as(l.bob)
		if err := a.unlink(to.ID, made.ID); err != nil {
			t.Fatal(err)
		}
		a.recorded(audit.Done, "", to.ID, made.ID)
		a = l.as(l.bob)
		refused(t, a.unlink(from.ID, made.ID), fault.NotFound)
		a.recorded(audit.Denied, "not_found", from.ID, made.ID)
		if p, err := l.as(l.ada).links(to.ID, 10, ""); err != nil || len(p.Items) != 1 {
			t.Errorf("afterwards: %d, %v", len(p.Items), err)
		}
	})
}

func TestLinksGoByPages(t *testing.T) {
	t.Parallel()
	l := open(t, "pooled")
	hub := l.as(l.ada).put(`{}`)
	var want []string
	for i := range 5 {
		other := l.as(l.ada).put(`{}`)
		from, to := hub.ID, other.ID
		if i%2 == 1 {
			from, to = to, from
		}
		k, err := l.as(l.ada).link(from, to.String(), fmt.Sprint("r", i))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, k.ID.String())
	}
	var got []string
	for cursor := ""; ; {
		p, err := l.as(l.ada).links(hub.ID, 2, cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range p.Items {
			got = append(got, k.ID.String())
		}
		if cursor = p.Next; cursor == "" {
			break
		}
	}
	if !equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestALinkNeedsBothEnds(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		r := l.as(l.ada).put(`{}`)
		missing := id.NewRecord()
		a := l.as(l.ada)
		_, err := a.link(r.ID, missing.String(), "x")
		refused(t, err, fault.NotFound, "/to")
		a.recorded(audit.Denied, "not_found", r.ID, missing)
		_, err = l.as(l.ada).link(missing, r.ID.String(), "x")
		refused(t, err, fault.NotFound)
		file := id.NewFile()
		a = l.as(l.ada)
		_, err = a.link(r.ID, file.String(), "x")
		refused(t, err, fault.NotFound, "/to")
		a.recorded(audit.Denied, "not_found", r.ID, file)
		for _, to := range []string{"", "rec_1", id.NewPerson().String(), l.org.String()} {
			_, err = l.as(l.ada).link(r.ID, to, "x")
			refused(t, err, fault.Invalid, "/to")
		}
		a = l.as(l.ada)
		_, err = a.links(missing, 10, "")
		refused(t, err, fault.NotFound)
		a.recorded(audit.Denied, "not_found", missing)
	})
}

func TestALinkTellsNothingOfAnEndThatIsNotVisible(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		open := l.as(l.ada).put(`{}`)
		private, err := l.as(l.ada).create(anything, `{}`, "private")
		if err != nil {
			t.Fatal(err)
		}
		var made []records.Link
		for _, ends := range [][2]id.Record{{open.ID, private.ID}, {private.ID, open.ID}} {
			k, err := l.as(l.ada).link(ends[0], ends[1].String(), "diary")
			if err != nil {
				t.Fatal(err)
			}
			made = append(made, k)
		}
		if p, err := l.as(l.ada).links(open.ID, 10, ""); err != nil || len(p.Items) != 2 {
			t.Errorf("the owner sees %d, %v", len(p.Items), err)
		}
		a := l.as(l.bob)
		if p, err := a.links(open.ID, 10, ""); err != nil || len(p.Items) != 0 {
			t.Errorf("another sees %+v, %v", p.Items, err)
		}
		a.recorded(audit.Done, "", open.ID)
		_, err = l.as(l.bob).links(private.ID, 10, "")
		refused(t, err, fault.NotFound)
		for _, k := range made {
			refused(t, l.as(l.bob).unlink(open.ID, k.ID), fault.NotFound)
			refused(t, l.as(l.bob).unlink(private.ID, k.ID), fault.NotFound)
		}
		// To one who sees the private end not, it is like none at all: also
		// where the same link is there already.
		_, err = l.as(l.bob).link(open.ID, private.ID.String(), "diary")
		refused(t, err, fault.NotFound, "/to")
		if p, err := l.as(l.ada).links(private.ID, 10, ""); err != nil || len(p.Items) != 2 {
			t.Errorf("afterwards the owner sees %d, %v", len(p.Items), err)
		}
	})
}

// file makes the row of a file, as the feature of files does.
func (l *lab) file(who actor.Actor, state, sight string) id.File {
	l.Helper()
	f := id.NewFile()
	_, _, err := tenant.Do(l.Context(), l.d.Tenant, tenant.Request{Actor: who, Org: l.org, Action: policy.FileUpload}, func(ctx context.Context, tx *tenant.Tx) (int64, error) {
		leaf, err := tx.NewLeaf(ctx)
		if err != nil {
			return 0, err
		}
		body, err := tx.Seal(ctx, "file", f.UUID(), 1, seal.Section{Name: "name", Leaf: leaf, Plain: seal.NewSecretString("a.sdf")})
		if err != nil {
			return 0, err
		}
		return tx.Exec(ctx, tenant.Lit(`INSERT INTO file (org_id, id, version, leaf, generation, size, state, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
 VALUES ($1, $2, 1, $3, 1, 0, $4, $5, $6, $7::text::"char", $8, $6, $8, $6)`), tx.Org().UUID(), f.UUID(), int64(leaf), state, body, tx.Actor().Person().UUID(), sight, tx.Now())
	})
	if err != nil {
		l.Fatal(err)
	}
	return f
}

func TestARecordIsLinkedToAFileThatIsThere(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		r := l.as(l.ada).put(`{}`)
		stored, private, pending := l.file(l.ada, "stored", "o"), l.file(l.ada, "stored", "p"), l.file(l.ada, "pending", "o")
		a := l.as(l.ada)
		made, err := a.link(r.ID, stored.String(), "spectrum")
		if err != nil || made.To != stored.String() {
			t.Fatalf("%+v, %v", made, err)
		}
		a.recorded(audit.Done, "", r.ID, stored, made.ID)
		if _, err := l.as(l.ada).link(r.ID, private.String(), "notes"); err != nil {
			t.Fatal(err)
		}
		_, err = l.as(l.ada).link(r.ID, pending.String(), "spectrum")
		refused(t, err, fault.NotFound, "/to")
		_, err = l.as(l.bob).link(r.ID, private.String(), "mine")
		refused(t, err, fault.NotFound, "/to")
		if p, err := l.as(l.ada).links(r.ID, 10, ""); err != nil || len(p.Items) != 2 || p.Items[0].To != stored.String() {
			t.Errorf("the owner sees %+v, %v", p.Items, err)
		}
		if p, err := l.as(l.bob).links(r.ID, 10, ""); err != nil || len(p.Items) != 1 || p.Items[0].ID != made.ID {
			t.Errorf("another sees %+v, %v", p.Items, err)
		}
		if err := l.as(l.bob).unlink(r.ID, made.ID); err != nil {
			t.Error(err)
		}
	})
}

func TestALinkRestsWhileAnEndIsInTheTrash(t *testing.T) {
	t.Parallel()
	l := open(t, "schema")
	from, to := l.as(l.ada).put(`{}`), l.as(l.ada).put(`{}`)
	if _, err := l.as(l.ada).link(from.ID, to.ID.String(), "source"); err != nil {
		t.Fatal(err)
	}
	if err := l.as(l.ada).delete(to.ID, 1); err != nil {
		t.Fatal(err)
	}
	if p, err := l.as(l.ada).links(from.ID, 10, ""); err != nil || len(p.Items) != 0 {
		t.Errorf("while one end is gone: %+v, %v", p.Items, err)
	}
	if _, err := l.as(l.ada).restore(to.ID); err != nil {
		t.Fatal(err)
	}
	if p, err := l.as(l.ada).links(from.ID, 10, ""); err != nil || len(p.Items) != 1 {
		t.Errorf("after the restore: %d, %v", len(p.Items), err)
	}
}

func TestLinksMadeAcrossEachOtherDoNotWait(t *testing.T) {
	t.Parallel()
	l := open(t, "pooled")
	a, b := l.as(l.ada).put(`{}`), l.as(l.ada).put(`{}`)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			from, to := a.ID, b.ID
			if i%2 == 1 {
				from, to = to, from
			}
			if _, err := l.as(l.ada).link(from, to.String(), fmt.Sprint("r", i)); err != nil {
				t.Errorf("link %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if p, err := l.as(l.ada).links(a.ID, 50, ""); err != nil || len(p.Items) != 20 {
		t.Errorf("%d links, %v", len(p.Items), err)
	}
}
