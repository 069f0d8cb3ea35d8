package records_test

import (
	"context"
	"testing"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/feature/records"
	"strongroom/internal/identity/actor"
	"strongroom/internal/identity/actortest"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
)

func (a *as) sharing(rec id.Record) (records.Sharing, error) {
	a.l.Helper()
	out, err := call[records.SharingOut](a, "get-sharing", records.GetSharingIn{RecordPath: path(a.kind, rec)})
	return out.Body, err
}

func (a *as) share(rec id.Record, visibility string, people ...id.Person) (records.Sharing, error) {
	a.l.Helper()
	if people == nil {
		people = []id.Person{}
	}
	out, err := call[records.SharingOut](a, "set-sharing", records.SetSharingIn{RecordPath: path(a.kind, rec), Body: records.Sharing{Visibility: visibility, People: people}})
	return out.Body, err
}

func (a *as) private(content string) records.Record {
	a.l.Helper()
	r, err := a.create(anything, content, "private")
	if err != nil {
		a.l.Fatal(err)
	}
	return r
}

// sees counts the rows that SQL without a condition but an identifier finds,
// in each table that may hold something of a record or file.
func (l *lab) sees(who actor.Actor, thing id.Ref) map[string]int64 {
	l.Helper()
	out := map[string]int64{}
	_, _, err := tenant.Do(l.Context(), l.d.Tenant, tenant.Request{Actor: who, Org: l.org, Action: policy.RecordRead}, func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		for name, sql := range map[string]tenant.SQL{
			"record":         tenant.Lit(`SELECT 1 FROM record WHERE id = $1`),
			"record_version": tenant.Lit(`SELECT 1 FROM record_version WHERE record_id = $1`),
			"trash":          tenant.Lit(`SELECT 1 FROM trash WHERE id = $1`),
			"link":           tenant.Lit(`SELECT 1 FROM link WHERE from_id = $1 OR to_id = $1`),
			"file":           tenant.Lit(`SELECT 1 FROM file WHERE id = $1`),
			"record_grant":   tenant.Lit(`SELECT 1 FROM record_grant WHERE target_id = $1 OR record_id = $1`),
			"record_subject": tenant.Lit(`SELECT 1 FROM record_subject WHERE record_id = $1`),
		} {
			n, err := tx.Exec(ctx, sql, thing.UUID())
			if err != nil {
				return struct{}{}, err
			}
			if n > 0 {
				out[name] = n
			}
		}
		return struct{}{}, nil
	})
	if err != nil {
		l.Fatal(err)
	}
	return out
}

func TestAPrivateRecordIsSharedWithPeopleAndNobodyElse(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		r := l.as(l.ada).private(`{"n":1}`)
		if _, err := l.as(l.ada).update(r.ID, 1, `{"n":2}`, ""); err != nil {
			t.Fatal(err)
		}
		other := l.as(l.ada).put(`{}`)
		if _, err := l.as(l.ada).link(r.ID, other.ID.String(), "x"); err != nil {
			t.Fatal(err)
		}
		a := l.as(l.ada)
		got, err := a.share(r.ID, "private", l.bob.Person())
		if err != nil || got.Visibility != "private" || len(got.People) != 1 {
			t.Fatalf("%+v, %v", got, err)
		}
		a.recorded(audit.Done, "", r.ID, l.bob.Person())
		if got, err = l.as(l.ada).sharing(r.ID); err != nil || len(got.People) != 1 || got.People[0] != l.bob.Person() {
			t.Errorf("read back %+v, %v", got, err)
		}

		b := l.as(l.bob)
		if seen, err := b.get(anything, r.ID); err != nil || string(seen.Content) != `{"n":2}` || seen.Owner != l.ada.Person() || seen.Visibility != "private" {
			t.Errorf("Bob reads %+v, %v", seen, err)
		}
		b.recorded(audit.Done, "", r.ID)
		if h, err := l.as(l.bob).history(r.ID, 10, ""); err != nil || len(h.Items) != 2 {
			t.Errorf("Bob sees %d versions, %v", len(h.Items), err)
		}
		if p, err := l.as(l.bob).links(r.ID, 10, ""); err != nil || len(p.Items) != 1 {
			t.Errorf("Bob sees %d links, %v", len(p.Items), err)
		}
		if p, err := l.as(l.bob).list(anything, 10, ""); err != nil || len(p.Items) != 2 {
			t.Errorf("Bob lists %d, %v", len(p.Items), err)
		}
		if _, err := l.as(l.bob).update(r.ID, 2, `{"n":3}`, ""); err != nil {
			t.Errorf("Bob's role lets him change what he sees: %v", err)
		}
		// Who it is shared with is the owner's to say.
		b = l.as(l.bob)
		_, err = b.sharing(r.ID)
		refused(t, err, fault.Denied)
		b.recorded(audit.Denied, "denied", r.ID)
		_, err = l.as(l.bob).share(r.ID, "organization")
		refused(t, err, fault.Denied)
		_, err = l.as(l.bob).update(r.ID, 3, `{}`, "organization")
		refused(t, err, fault.Denied)
		refused(t, l.as(l.bob).delete(r.ID, 3), fault.Denied)

		// Eve guesses every identifier.
		eve := actortest.With(t, l.org, policy.Scientist, policy.Analyst, policy.OrgAdmin)
		e := l.as(eve)
		_, err = e.get(anything, r.ID)
		refused(t, err, fault.NotFound)
		e.recorded(audit.Denied, "not_found", r.ID)
		_, err = l.as(eve).history(r.ID, 1, "")
		refused(t, err, fault.NotFound)
		_, err = l.as(eve).links(r.ID, 1, "")
		refused(t, err, fault.NotFound)
		_, err = l.as(eve).sharing(r.ID)
		refused(t, err, fault.NotFound)
		_, err = l.as(eve).share(r.ID, "private", eve.Person())
		refused(t, err, fault.NotFound)
		_, err = l.as(eve).link(other.ID, r.ID.String(), "y")
		refused(t, err, fault.NotFound, "/to")
		if p, err := l.as(eve).links(other.ID, 10, ""); err != nil || len(p.Items) != 0 {
			t.Errorf("Eve sees %d links of the other end, %v", len(p.Items), err)
		}
		if sink, _, err := l.export(eve, feature.Scope{Collection: anything}); err != nil || len(sink.lines("records/"+anything+"/records.ndjson")) != 1 {
			t.Errorf("Eve exports %v, %v", sink, err)
		}
		if seen := l.sees(eve, r.ID); len(seen) != 0 {
			t.Errorf("by SQL Eve sees %v", seen)
		}
		if seen := l.sees(l.bob, r.ID); seen["record"] != 1 || seen["record_version"] != 2 || seen["link"] != 1 || seen["record_grant"] != 1 {
			t.Errorf("by SQL Bob sees %v", seen)
		}

		// In the trash it is as private as before.
		if err := l.as(l.ada).delete(r.ID, 3); err != nil {
			t.Fatal(err)
		}
		if seen := l.sees(eve, r.ID); len(seen) != 0 {
			t.Errorf("of the trash Eve sees %v", seen)
		}
		_, err = l.as(eve).restore(r.ID)
		refused(t, err, fault.NotFound)
		if p, err := l.as(eve).trash("", 10, ""); err != nil || len(p.Items) != 0 {
			t.Errorf("Eve lists the trash: %+v, %v", p.Items, err)
		}
		if _, err := l.as(l.ada).restore(r.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := l.as(l.bob).get(anything, r.ID); err != nil {
			t.Errorf("taken back, it is shared as before: %v", err)
		}

		if _, err := l.as(l.ada).share(r.ID, "private"); err != nil {
			t.Fatal(err)
		}
		_, err = l.as(l.bob).get(anything, r.ID)
		refused(t, err, fault.NotFound)
		if seen := l.sees(l.bob, r.ID); len(seen) != 0 {
			t.Errorf("taken away again, Bob sees %v", seen)
		}
	})
}

func TestARecordIsSharedWithMembersOnly(t *testing.T) {
	t.Parallel()
	l := open(t, "pooled")
	r := l.as(l.ada).private(`{}`)
	stranger := actortest.With(t, id.NewOrg(), policy.Scientist)
	for _, c := range []struct {
		visibility string
		people     []id.Person
		at         string
	}{
		{"private", []id.Person{l.bob.Person(), stranger.Person()}, "/people/1"},
		{"private", []id.Person{l.ada.Person()}, "/people/0"},
		{"private", []id.Person{l.bob.Person(), l.bob.Person()}, "/people/1"},
		{"organization", []id.Person{l.bob.Person()}, "/people"},
	} {
		a := l.as(l.ada)
		_, err := a.share(r.ID, c.visibility, c.people...)
		refused(t, err, fault.Invalid, c.at)
	}
	if got, err := l.as(l.ada).sharing(r.ID); err != nil || len(got.People) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWhatBecomesTheOrganizationsIsGivenToNobodyInParticular(t *testing.T) {
	t.Parallel()
	l := open(t, "pooled")
	for name, publish := range map[string]func(id.Record) error{
		"by sharing": func(r id.Record) error { _, err := l.as(l.ada).share(r, "organization"); return err },
		"by update":  func(r id.Record) error { _, err := l.as(l.ada).update(r, 1, `{}`, "organization"); return err },
	} {
		r := l.as(l.ada).private(`{}`)
		if _, err := l.as(l.ada).share(r.ID, "private", l.bob.Person()); err != nil {
			t.Fatal(err)
		}
		if err := publish(r.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := l.as(l.ann).get(anything, r.ID); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if seen := l.sees(l.bob, r.ID); seen["record_grant"] != 0 {
			t.Errorf("%s: a grant is left", name)
		}
		now, err := l.as(l.ada).get(anything, r.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.as(l.ada).update(r.ID, now.Version, `{}`, "private"); err != nil {
			t.Fatal(err)
		}
		_, err = l.as(l.bob).get(anything, r.ID)
		refused(t, err, fault.NotFound)
	}
}

// A link says that both its ends are the organization's only as long as they
// are: row-level security believes it.
func TestALinkFollowsAnEndThatBecomesPrivate(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		from, to := l.as(l.ada).put(`{}`), l.as(l.bob).put(`{}`)
		if _, err := l.as(l.ada).link(from.ID, to.ID.String(), "x"); err != nil {
			t.Fatal(err)
		}
		if seen := l.sees(l.ann, from.ID); seen["link"] != 1 {
			t.Fatalf("at first: %v", seen)
		}
		if _, err := l.as(l.bob).share(to.ID, "private"); err != nil {
			t.Fatal(err)
		}
		for _, who := range []actor.Actor{l.ann, l.ada} {
			if seen := l.sees(who, from.ID); seen["link"] != 0 {
				t.Errorf("a link to what became private is seen: %v", seen)
			}
		}
		if seen := l.sees(l.bob, from.ID); seen["link"] != 1 {
			t.Errorf("its owner does not see it: %v", seen)
		}
	})
}

// The grant of one person opens nothing of another's, whatever it names.
func TestAForgedGrantOpensNothing(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		r := l.as(l.ada).private(`{}`)
		for name, owner := range map[string]id.Person{"as one's own": l.bob.Person(), "in the owner's name": l.ada.Person()} {
			_, _, err := tenant.Do(t.Context(), l.d.Tenant, tenant.Request{Actor: l.bob, Org: l.org, Action: policy.RecordUpdate}, func(ctx context.Context, tx *tenant.Tx) (int64, error) {
				return tx.Exec(ctx, tenant.Lit(`INSERT INTO record_grant (org_id, target_id, person_id, record_id, owner_id, granted_at) VALUES ($1, $2, $3, $2, $4, $5)`),
					tx.Org().UUID(), r.ID.UUID(), l.bob.Person().UUID(), owner.UUID(), tx.Now())
			})
			if (err == nil) != (owner == l.bob.Person()) {
				t.Errorf("%s: %v", name, err)
			}
			_, err = l.as(l.bob).get(anything, r.ID)
			refused(t, err, fault.NotFound)
			if seen := l.sees(l.bob, r.ID); seen["record"] != 0 {
				t.Errorf("%s: %v", name, seen)
			}
		}
	})
}

func TestAPrivateFileGoesWithTheRecordItsOwnerLinkedItTo(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		r := l.as(l.ada).private(`{}`)
		before, after := l.file(l.ada, "stored", "p"), l.file(l.ada, "stored", "p")
		loose := l.file(l.ada, "stored", "p")
		if _, err := l.as(l.ada).link(r.ID, before.String(), "picture"); err != nil {
			t.Fatal(err)
		}
		if _, err := l.as(l.ada).share(r.ID, "private", l.bob.Person()); err != nil {
			t.Fatal(err)
		}
		made, err := l.as(l.ada).link(r.ID, after.String(), "picture")
		if err != nil {
			t.Fatal(err)
		}
		want := func(who actor.Actor, file id.File, n int64, why string) {
			t.Helper()
			if seen := l.sees(who, file); seen["file"] != n {
				t.Errorf("%s: %v", why, seen)
			}
		}
		want(l.bob, before, 1, "linked before it was shared")
		want(l.bob, after, 1, "linked afterwards")
		want(l.bob, loose, 0, "not linked")
		want(l.ann, before, 0, "somebody it was not shared with")
		if p, err := l.as(l.bob).links(r.ID, 10, ""); err != nil || len(p.Items) != 2 || p.Items[0].Title != "a.sdf" || p.Items[0].Collection != "" {
			t.Errorf("Bob sees %+v, %v", p.Items, err)
		}
		// Bob may not end what Ada shares, and what he links is not hers to give.
		refused(t, l.as(l.bob).unlink(r.ID, made.ID), fault.Denied)
		want(l.bob, after, 1, "Bob could not unlink it")
		second := l.as(l.ada).private(`{"second":1}`)
		if _, err := l.as(l.ada).share(second.ID, "private", l.bob.Person(), l.ann.Person()); err != nil {
			t.Fatal(err)
		}
		if _, err := l.as(l.bob).link(second.ID, before.String(), "from Bob"); err != nil {
			t.Fatal(err)
		}
		if _, err := l.as(l.ada).share(second.ID, "private", l.bob.Person(), l.ann.Person()); err != nil {
			t.Fatal(err)
		}
		want(l.ann, before, 0, "Bob passes Ada's file on")

		if err := l.as(l.ada).unlink(r.ID, made.ID); err != nil {
			t.Fatal(err)
		}
		want(l.bob, after, 0, "unlinked")
		if _, err := l.as(l.ada).share(r.ID, "organization"); err != nil {
			t.Fatal(err)
		}
		want(l.bob, before, 0, "stored as private, the record is the organization's")
		want(l.ada, before, 1, "its owner")
	})
}
