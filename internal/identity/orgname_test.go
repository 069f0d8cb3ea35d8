package identity_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/identity"
	"strongroom/internal/store/audit"
	"strongroom/internal/testkit"
)

func TestAnOrganizationGetsAnotherNameAndBothLogsSaySo(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	bob := w.add(t, f, "Bob", policy.Scientist, policy.SecurityAdmin)
	r := f.as(f.owner)
	org, receipt, err := w.RenameOrg(t.Context(), r, "  Another name ")
	if err != nil || receipt.IsZero() || org.Name != "Another name" || !org.Owner {
		t.Fatalf("renamed: %+v, %v", org, err)
	}
	for _, log := range []id.Org{f.org.ID, id.Installation} {
		testkit.WantEvents(t, w.doors, log, r.ID, testkit.Event{Action: policy.OrgUpdate, Outcome: audit.Done, Targets: []string{f.org.ID.String()}})
	}
	if got, _, err := w.Org(t.Context(), f.as(bob)); err != nil || got.Name != "Another name" {
		t.Errorf("Bob sees %q, %v", got.Name, err)
	}
	r = f.as(bob)
	if _, _, err := w.RenameOrg(t.Context(), r, "Mine"); !fault.Is(err, fault.Denied) {
		t.Errorf("a scientist renames it: %v", err)
	}
	testkit.WantEvents(t, w.doors, f.org.ID, r.ID, testkit.Event{Action: policy.OrgUpdate, Outcome: audit.Denied, Code: "denied"})
	for _, name := range []string{"", " ", "two\nlines", strings.Repeat("x", 201)} {
		if _, _, err := w.RenameOrg(t.Context(), f.as(f.owner), name); !fault.Is(err, fault.Invalid) {
			t.Errorf("%.20q is a name: %v", name, err)
		}
	}
}

func TestNamesGivenAtOnceComeOneAfterTheOther(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	var wg sync.WaitGroup
	names := []string{"One", "Two", "Three", "Four"}
	for _, name := range names {
		wg.Go(func() {
			if _, _, err := w.RenameOrg(t.Context(), f.as(f.owner), name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
	if got, _, err := w.Org(t.Context(), f.as(f.owner)); err != nil || !slices.Contains(names, got.Name) {
		t.Errorf("in the end it is called %q, %v", got.Name, err)
	}
}

// An old sealed name, put back by somebody who can write the database, does not
// open.
func TestAnOldNamePutBackDoesNotOpen(t *testing.T) {
	// Not beside others: whoever lists every organization meets the damaged one.
	w := open(t)
	f := w.found(t)
	conn := w.root(t)
	var old []byte
	if err := conn.QueryRow(t.Context(), `SELECT profile FROM platform.org WHERE id = $1`, f.org.ID.UUID()).Scan(&old); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.RenameOrg(t.Context(), f.as(f.owner), "Another name"); err != nil {
		t.Fatal(err)
	}
	var fresh []byte
	if err := conn.QueryRow(t.Context(), `SELECT profile FROM platform.org WHERE id = $1`, f.org.ID.UUID()).Scan(&fresh); err != nil {
		t.Fatal(err)
	}
	w.pastTriggers(t, `UPDATE platform.org SET profile = $1 WHERE id = $2`, old, f.org.ID.UUID())
	if got, _, err := w.Org(t.Context(), f.as(f.owner)); err == nil {
		t.Errorf("it is called %q again", got.Name)
	}
	w.pastTriggers(t, `UPDATE platform.org SET profile = $1 WHERE id = $2`, fresh, f.org.ID.UUID())
}

func TestWhoWorksWithDataSeesTheNamesOfTheOthersAndNoMore(t *testing.T) {
	t.Parallel()
	w := open(t)
	f, other := w.found(t), w.found(t)
	bob := w.add(t, f, "Bob", policy.Scientist)
	bill := w.add(t, f, "Bill", policy.BillingAdmin)
	r := f.as(bob)
	got, next, receipt, err := w.Names(t.Context(), r, 1, "")
	if err != nil || receipt.IsZero() || next == "" || len(got) != 1 {
		t.Fatalf("names: %+v, %q, %v", got, next, err)
	}
	testkit.WantEvents(t, w.doors, f.org.ID, r.ID, testkit.Event{Action: policy.MemberNames, Outcome: audit.Done, Targets: []string{got[0].ID.String()}})
	rest, next, _, err := w.Names(t.Context(), f.as(bob), 50, next)
	if err != nil || next != "" {
		t.Fatalf("the rest: %v", err)
	}
	all := append(got, rest...)
	want := []identity.PersonName{{ID: f.owner.id, Name: "Ada"}, {ID: bob.id, Name: "Bob"}, {ID: bill.id, Name: "Bill"}}
	if !slices.Equal(all, want) {
		t.Errorf("names: %+v", all)
	}
	r = f.as(bill)
	if _, _, _, err := w.Names(t.Context(), r, 50, ""); !fault.Is(err, fault.Denied) {
		t.Errorf("who has to do with bills alone sees them: %v", err)
	}
	testkit.WantEvents(t, w.doors, f.org.ID, r.ID, testkit.Event{Action: policy.MemberNames, Outcome: audit.Denied, Code: "denied"})
	if _, _, _, err := w.Names(t.Context(), f.as(other.owner), 50, ""); !fault.Is(err, fault.NotFound) {
		t.Errorf("a stranger sees them: %v", err)
	}
}
