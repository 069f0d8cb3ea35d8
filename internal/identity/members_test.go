package identity_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/identity"
	"strongroom/internal/identity/actor"
	"strongroom/internal/identity/actortest"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/testkit"
)

var roles = func(rs ...policy.Role) *[]policy.Role { return &rs }

func TestAnAdminAddsAPersonAndBothLogsSaySo(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	n := newPerson("Grace")
	r := f.as(f.owner)
	m, receipt, err := w.AddMember(t.Context(), r, identity.NewMember{NewPerson: n, Roles: []policy.Role{policy.Analyst, policy.Scientist}})
	if err != nil || receipt.IsZero() {
		t.Fatal(err)
	}
	if m.Name != "Grace" || m.Email != n.Address || !slices.Equal(m.Roles, []policy.Role{policy.Scientist, policy.Analyst}) || m.Owner || m.State != "active" {
		t.Errorf("added %+v", m)
	}
	for _, log := range []id.Org{f.org.ID, id.Installation} {
		testkit.WantEvents(t, w.doors, log, r.ID, testkit.Event{Action: policy.MemberAdd, Outcome: audit.Done})
	}
	got := testkit.Events(t, w.doors, f.org.ID, r.ID)
	if len(got) != 1 || got[0].Actor.ID != f.owner.id.String() || !slices.Contains(got[0].Targets, m.ID.String()) {
		t.Errorf("the event says %+v", got)
	}

	grace := w.enter(t, m.ID, n)
	if !grace.actor.May(f.org.ID, policy.RecordCreate) || grace.actor.May(f.org.ID, policy.MemberList) {
		t.Error("she may not do what her roles say")
	}
	r = f.as(f.owner)
	list, next, _, err := w.Members(t.Context(), r, 50, "")
	if err != nil || next != "" || len(list) != 2 || list[1].Person != m.Person {
		t.Errorf("members: %+v, %q, %v", list, next, err)
	}
	testkit.WantEvents(t, w.doors, f.org.ID, r.ID, testkit.Event{Action: policy.MemberList, Outcome: audit.Done,
		Targets: []string{list[0].ID.String(), list[1].ID.String()}})
}

// Whoever holds no role for it is refused on the record, in the log that knows
// of her; a stranger's attempt does not reach the organization's log.
func TestOnlyAnOrgAdminManagesPeopleAndKeys(t *testing.T) {
	t.Parallel()
	w := open(t)
	f, other := w.found(t), w.found(t)
	security := w.add(t, f, "Sam", policy.SecurityAdmin, policy.Scientist, policy.Analyst, policy.BillingAdmin)
	admin := actortest.SystemAdmin(t)

	calls := map[policy.Action]func(platform.Request) (audit.Receipt, error){
		policy.MemberAdd: func(r platform.Request) (audit.Receipt, error) {
			_, receipt, err := w.AddMember(t.Context(), r, identity.NewMember{NewPerson: newPerson("Mallory"), Roles: []policy.Role{policy.OrgAdmin}})
			return receipt, err
		},
		policy.MemberUpdate: func(r platform.Request) (audit.Receipt, error) {
			_, receipt, err := w.UpdateMember(t.Context(), r, security.id, identity.MemberChange{Roles: roles(policy.OrgAdmin)})
			return receipt, err
		},
		policy.MemberRemove: func(r platform.Request) (audit.Receipt, error) { return w.RemoveMember(t.Context(), r, f.owner.id) },
		policy.KeyCreate: func(r platform.Request) (audit.Receipt, error) {
			_, _, receipt, err := w.CreateKey(t.Context(), r, identity.NewKey{Name: "k", Roles: []policy.Role{policy.OrgAdmin}})
			return receipt, err
		},
	}
	for action, call := range calls {
		for _, tt := range []struct {
			name string
			who  actor.Actor
			log  id.Org
			want fault.Kind
		}{
			{"a member without the role", security.actor, f.org.ID, fault.Denied},
			{"an owner of another organization", other.owner.actor, id.Installation, fault.NotFound},
			{"a system administrator", admin, id.Installation, fault.NotFound},
			{"nobody", actor.Actor{}, id.Installation, fault.Unauthenticated},
		} {
			r := platform.Request{Actor: tt.who, Org: f.org.ID, ID: id.NewRequest()}
			receipt, err := call(r)
			wantKind(t, err, tt.want, tt.name+", "+string(action))
			if receipt.IsZero() {
				t.Errorf("%s, %s: no receipt", tt.name, action)
			}
			testkit.WantEvents(t, w.doors, tt.log, r.ID, testkit.Event{Action: action, Outcome: audit.Denied, Code: tt.want.String()})
			if tt.log == id.Installation {
				testkit.WantEvents(t, w.doors, f.org.ID, r.ID)
			}
		}
	}
	if list, _, _, err := w.Members(t.Context(), f.as(f.owner), 50, ""); err != nil || len(list) != 2 {
		t.Errorf("after all that: %d members, %v", len(list), err)
	}
}

func TestAddingAPersonRefusesWhatIsWrong(t *testing.T) {
	t.Parallel()
	w := open(t)
	f, other := w.found(t), w.found(t)
	for _, tt := range []struct {
		name string
		edit func(*identity.NewMember)
		want fault.Kind
		at   string
	}{
		{"a short password", func(m *identity.NewMember) { m.Password = seal.NewSecretString("short") }, fault.Invalid, "/password"},
		{"no address", func(m *identity.NewMember) { m.Address = "nobody" }, fault.Invalid, "/email"},
		{"no name", func(m *identity.NewMember) { m.Name = " " }, fault.Invalid, "/name"},
		{"two lines of name", func(m *identity.NewMember) { m.Name = "a\nb" }, fault.Invalid, "/name"},
		{"no role", func(m *identity.NewMember) { m.Roles = nil }, fault.Invalid, "/roles"},
		{"a role of the installation", func(m *identity.NewMember) { m.Roles = []policy.Role{policy.Analyst, policy.SystemAdmin} }, fault.Invalid, "/roles/1"},
		{"a role twice", func(m *identity.NewMember) { m.Roles = []policy.Role{policy.Analyst, policy.Analyst} }, fault.Invalid, "/roles/1"},
		{"an address that has an account elsewhere", func(m *identity.NewMember) { m.Address = other.owner.person.Address }, fault.Conflict, "/email"},
		{"the same in other letters", func(m *identity.NewMember) { m.Address = "Ada" + other.owner.person.Address[3:] }, fault.Conflict, "/email"},
		{"a join code besides", func(m *identity.NewMember) { m.JoinCode = "sr_join_0" }, fault.Invalid, "/join_code"},
		{"a join code made up", func(m *identity.NewMember) {
			m.NewPerson, m.JoinCode = identity.NewPerson{}, "sr_join_00"
		}, fault.Invalid, "/join_code"},
	} {
		m := identity.NewMember{NewPerson: newPerson("Bob"), Roles: []policy.Role{policy.Analyst}}
		tt.edit(&m)
		r := f.as(f.owner)
		_, receipt, err := w.AddMember(t.Context(), r, m)
		wantKind(t, err, tt.want, tt.name)
		if d := fault.From(err).Details; len(d) != 1 || d[0].Pointer != tt.at || receipt.IsZero() {
			t.Errorf("%s: points at %+v, want %s", tt.name, d, tt.at)
		}
		testkit.WantEvents(t, w.doors, f.org.ID, r.ID, testkit.Event{Action: policy.MemberAdd, Outcome: audit.Refused, Code: tt.want.String()})
	}
}

// Somebody else's admin may have made an account with my colleague's address
// and a password of his own. Only who holds the account can bring it along.
func TestAnAccountJoinsAnotherOrganizationOnlyByItsHoldersCode(t *testing.T) {
	t.Parallel()
	w := open(t)
	f, other := w.found(t), w.found(t)
	code, _, err := w.MakeJoinCode(t.Context(), platform.Request{Actor: other.owner.actor})
	if err != nil || code.ExpiresAt.Before(time.Now().Add(23*time.Hour)) {
		t.Fatal(err)
	}
	changed := []byte(code.Code)
	changed[20] ^= 1
	_, _, err = w.AddMember(t.Context(), f.as(f.owner), identity.NewMember{JoinCode: string(changed), Roles: []policy.Role{policy.Analyst}})
	wantKind(t, err, fault.Invalid, "a changed code")
	old, err := identity.SealJoinCode(t.Context(), w.doors.Keys(id.Installation), other.owner.id, time.Now().Add(-time.Second))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = w.AddMember(t.Context(), f.as(f.owner), identity.NewMember{JoinCode: old, Roles: []policy.Role{policy.Analyst}})
	wantKind(t, err, fault.Invalid, "an old code")
	stranger, err := identity.SealJoinCode(t.Context(), w.doors.Keys(id.Installation), id.NewPerson(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = w.AddMember(t.Context(), f.as(f.owner), identity.NewMember{JoinCode: stranger, Roles: []policy.Role{policy.Analyst}})
	wantKind(t, err, fault.Invalid, "the code of somebody who does not exist")

	blocked := w.add(t, other, "Eve", policy.Analyst)
	theirs, _, err := w.MakeJoinCode(t.Context(), platform.Request{Actor: blocked.actor})
	if err != nil {
		t.Fatal(err)
	}
	w.disable(t, blocked.id)
	_, _, err = w.AddMember(t.Context(), f.as(f.owner), identity.NewMember{JoinCode: theirs.Code, Roles: []policy.Role{policy.Analyst}})
	wantKind(t, err, fault.Invalid, "the code of somebody disabled")

	m, _, err := w.AddMember(t.Context(), f.as(f.owner), identity.NewMember{JoinCode: code.Code, Roles: []policy.Role{policy.Analyst}})
	if err != nil || m.ID != other.owner.id || m.Email != other.owner.person.Address {
		t.Fatalf("by code: %+v, %v", m, err)
	}
	_, _, err = w.AddMember(t.Context(), f.as(f.owner), identity.NewMember{JoinCode: code.Code, Roles: []policy.Role{policy.Scientist}})
	wantKind(t, err, fault.Conflict, "the code a second time")

	fresh()
	a := w.mustAuthenticate(t, other.owner.signIn.Token)
	if !slices.Equal(a.RolesIn(f.org.ID), []policy.Role{policy.Analyst}) || !slices.Equal(a.RolesIn(other.org.ID), []policy.Role{policy.OrgAdmin}) {
		t.Errorf("roles in both: %v, %v", a.RolesIn(f.org.ID), a.RolesIn(other.org.ID))
	}
	orgs, _, _, err := w.Orgs(t.Context(), platform.Request{Actor: a}, 50, "")
	if err != nil || len(orgs) != 2 {
		t.Errorf("organizations: %+v, %v", orgs, err)
	}
	// What goes in one organization means nothing in the other.
	if a.May(f.org.ID, policy.MemberAdd) || a.May(other.org.ID, policy.RecordRead) {
		t.Error("a role leaks from one organization into another")
	}
}

func TestChangedRolesCountWithinASecond(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	bob := w.add(t, f, "Bob", policy.Scientist)
	r := f.as(f.owner)
	m, _, err := w.UpdateMember(t.Context(), r, bob.id, identity.MemberChange{Roles: roles(policy.Analyst)})
	if err != nil || !slices.Equal(m.Roles, []policy.Role{policy.Analyst}) || m.Name != "Bob" {
		t.Fatalf("%+v, %v", m, err)
	}
	for _, log := range []id.Org{f.org.ID, id.Installation} {
		testkit.WantEvents(t, w.doors, log, r.ID, testkit.Event{Action: policy.MemberUpdate, Outcome: audit.Done, Targets: []string{bob.id.String()}})
	}
	if a := w.mustAuthenticate(t, bob.signIn.Token); a.May(f.org.ID, policy.RecordCreate) || !a.May(f.org.ID, policy.ExportRun) {
		t.Error("on the server that made the change, the old roles still count")
	}
	// Another server knows nothing of the change; it asks again in time.
	elsewhere, err := identity.New(identity.Options{Store: w.doors.Platform})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := elsewhere.Identify(t.Context(), bob.signIn.Token); err != nil {
		t.Fatal(err)
	}
	if _, err := w.RemoveMember(t.Context(), f.as(f.owner), bob.id); err != nil {
		t.Fatal(err)
	}
	fresh()
	_, err = elsewhere.Identify(t.Context(), bob.signIn.Token)
	wantKind(t, err, fault.Unauthenticated, "elsewhere, a second after the removal")
}

func TestTheLastOwnerStays(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	yes, no := true, false
	admin := w.add(t, f, "Alan", policy.OrgAdmin)
	plain := w.add(t, f, "Bob", policy.Analyst)

	update := func(who someone, p id.Person, c identity.MemberChange) error {
		_, _, err := w.UpdateMember(t.Context(), f.as(who), p, c)
		return err
	}
	remove := func(who someone, p id.Person) error {
		_, err := w.RemoveMember(t.Context(), f.as(who), p)
		return err
	}
	wantKind(t, remove(f.owner, f.owner.id), fault.Conflict, "the last owner leaves")
	wantKind(t, update(f.owner, f.owner.id, identity.MemberChange{Owner: &no}), fault.Conflict, "the last owner lays it down")
	wantKind(t, update(f.owner, f.owner.id, identity.MemberChange{Roles: roles(policy.Scientist)}), fault.Invalid, "an owner who is no admin")
	wantKind(t, update(f.owner, plain.id, identity.MemberChange{Owner: &yes}), fault.Invalid, "an analyst becomes owner")
	wantKind(t, update(admin, admin.id, identity.MemberChange{Owner: &yes}), fault.Denied, "an admin makes himself owner")
	wantKind(t, update(admin, f.owner.id, identity.MemberChange{Owner: &no}), fault.Denied, "an admin unmakes the owner")
	wantKind(t, remove(admin, f.owner.id), fault.Denied, "an admin removes the owner")
	wantKind(t, update(f.owner, id.NewPerson(), identity.MemberChange{Owner: &yes}), fault.NotFound, "somebody who is no member")
	wantKind(t, remove(f.owner, id.NewPerson()), fault.NotFound, "removing somebody who is no member")

	if err := update(f.owner, admin.id, identity.MemberChange{Owner: &yes}); err != nil {
		t.Fatalf("a second owner: %v", err)
	}
	if err := remove(admin, f.owner.id); err != nil {
		t.Fatalf("then the first may go: %v", err)
	}
	wantKind(t, remove(admin, admin.id), fault.Conflict, "the last owner leaves, again")
}

// Two owners remove each other at the same moment: whoever comes second is the
// last owner.
func TestTwoOwnersCannotRemoveEachOther(t *testing.T) {
	t.Parallel()
	w := open(t)
	for range 5 {
		f := w.found(t)
		alan := w.add(t, f, "Alan", policy.OrgAdmin)
		yes := true
		if _, _, err := w.UpdateMember(t.Context(), f.as(f.owner), alan.id, identity.MemberChange{Owner: &yes}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		errs := make([]error, 2)
		start := make(chan struct{})
		for i, pair := range [][2]someone{{f.owner, alan}, {alan, f.owner}} {
			wg.Go(func() {
				<-start
				_, errs[i] = w.RemoveMember(context.WithoutCancel(t.Context()), f.as(pair[0]), pair[1].id)
			})
		}
		close(start)
		wg.Wait()
		var owners int
		if err := w.root(t).QueryRow(t.Context(), `SELECT count(*) FROM platform.membership WHERE org_id = $1 AND owner`, f.org.ID.UUID()).Scan(&owners); err != nil {
			t.Fatal(err)
		}
		if owners != 1 || (errs[0] == nil) == (errs[1] == nil) {
			t.Errorf("%d owners left; %v, %v", owners, errs[0], errs[1])
		}
	}
}

func TestARemovedMemberLosesSessionsAndKeys(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	alan := w.add(t, f, "Alan", policy.OrgAdmin, policy.Scientist)
	key, token, _, err := w.CreateKey(t.Context(), f.as(alan), identity.NewKey{Name: "robot", Roles: []policy.Role{policy.Scientist}})
	if err != nil {
		t.Fatal(err)
	}
	w.mustAuthenticate(t, token)
	r := f.as(f.owner)
	if _, err := w.RemoveMember(t.Context(), r, alan.id); err != nil {
		t.Fatal(err)
	}
	testkit.WantEvents(t, w.doors, f.org.ID, r.ID, testkit.Event{Action: policy.MemberRemove, Outcome: audit.Done,
		Targets: []string{alan.id.String(), key.ID.String()}})
	_, err = w.authenticate(t.Context(), token)
	wantKind(t, err, fault.Unauthenticated, "the key")
	_, err = w.authenticate(t.Context(), alan.signIn.Token)
	wantKind(t, err, fault.Unauthenticated, "the session of somebody who belongs nowhere any more")
}

func TestAListGoesOnWhereItsCursorSays(t *testing.T) {
	t.Parallel()
	w := open(t)
	f, other := w.found(t), w.found(t)
	alan := w.add(t, f, "Alan", policy.OrgAdmin)
	for _, name := range []string{"b", "c", "d"} {
		n := newPerson(name)
		n.Password = seal.Secret{}
		if _, _, err := w.AddMember(t.Context(), f.as(f.owner), identity.NewMember{NewPerson: n, Roles: []policy.Role{policy.Analyst}}); err != nil {
			t.Fatal(err)
		}
	}
	var seen []id.Person
	cursor := ""
	for pages := 1; ; pages++ {
		items, next, _, err := w.Members(t.Context(), f.as(f.owner), 2, cursor)
		if err != nil || len(items) > 2 || pages > 3 {
			t.Fatalf("page %d: %d items, %v", pages, len(items), err)
		}
		for _, m := range items {
			seen = append(seen, m.ID)
		}
		if next == "" {
			break
		}
		cursor = next
	}
	if len(seen) != 5 || len(slices.Compact(slices.Clone(seen))) != 5 {
		t.Errorf("saw %v", seen)
	}
	for name, try := range map[string]func() error{
		"in another organization": func() error { _, _, _, err := w.Members(t.Context(), other.as(other.owner), 2, cursor); return err },
		"by somebody else":        func() error { _, _, _, err := w.Members(t.Context(), f.as(alan), 2, cursor); return err },
		"in another list":         func() error { _, _, _, err := w.Keys(t.Context(), f.as(f.owner), 2, cursor); return err },
		"cut short":               func() error { _, _, _, err := w.Members(t.Context(), f.as(f.owner), 2, cursor[:40]); return err },
		"made up":                 func() error { _, _, _, err := w.Members(t.Context(), f.as(f.owner), 2, "AAAA"); return err },
	} {
		wantKind(t, try(), fault.Malformed, "a cursor "+name)
	}
}

func TestAChangedPasswordEndsEverySession(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	bob := w.add(t, f, "Bob", policy.Analyst)
	second := w.enter(t, bob.id, bob.person)
	better := seal.NewSecretString("an even better passphrase")

	_, err := w.ChangePassword(t.Context(), f.as(bob), seal.NewSecretString("not it, and that is all"), better)
	wantKind(t, err, fault.Denied, "without the old password")
	_, err = w.ChangePassword(t.Context(), f.as(bob), bob.person.Password, seal.NewSecretString("short"))
	wantKind(t, err, fault.Invalid, "to a poor one")
	_, err = w.ChangePassword(t.Context(), platform.Request{}, bob.person.Password, better)
	wantKind(t, err, fault.Unauthenticated, "by nobody")

	r := f.as(bob)
	if _, err := w.ChangePassword(t.Context(), r, bob.person.Password, better); err != nil {
		t.Fatal(err)
	}
	testkit.WantEvents(t, w.doors, id.Installation, r.ID, testkit.Event{Action: policy.PasswordChange, Outcome: audit.Done})
	for _, token := range []identity.Token{bob.signIn.Token, second.signIn.Token} {
		_, err := w.authenticate(t.Context(), token)
		wantKind(t, err, fault.Unauthenticated, "a session from before")
	}
	_, _, err = w.SignIn(t.Context(), platform.Request{}, bob.person.Address, bob.person.Password)
	wantKind(t, err, fault.Unauthenticated, "the old password")
	in, _, err := w.SignIn(t.Context(), platform.Request{}, bob.person.Address, better)
	if err != nil || in.Person.Name != "Bob" {
		t.Errorf("the new password: %+v, %v", in.Person, err)
	}
}

// An old sealed password, put back into the row by somebody who can write the
// database, does not open.
func TestAnOldPasswordPutBackDoesNotOpen(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	bob := w.add(t, f, "Bob", policy.Analyst)
	conn := w.root(t)
	var old []byte
	if err := conn.QueryRow(t.Context(), `SELECT password FROM platform.person WHERE id = $1`, bob.id.UUID()).Scan(&old); err != nil {
		t.Fatal(err)
	}
	better := seal.NewSecretString("an even better passphrase")
	if _, err := w.ChangePassword(t.Context(), f.as(bob), bob.person.Password, better); err != nil {
		t.Fatal(err)
	}
	w.pastTriggers(t, `UPDATE platform.person SET password = $1 WHERE id = $2`, old, bob.id.UUID())
	if in, _, err := w.SignIn(t.Context(), platform.Request{}, bob.person.Address, bob.person.Password); err == nil || in.Token.Reveal() != "" {
		t.Error("the old password opens again")
	}
}

func TestAHashFromAnotherSystemIsReplacedAtTheFirstSignIn(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	bob := w.add(t, f, "Bob", policy.Analyst)
	// bcrypt of "U*U", from Openwall's crypt_blowfish.
	w.setHash(t, bob.id, "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW")
	for n := range 2 {
		if _, _, err := w.SignIn(t.Context(), platform.Request{}, bob.person.Address, seal.NewSecretString("U*U")); err != nil {
			t.Fatalf("sign-in %d: %v", n, err)
		}
		if got := w.hash(t, bob.id); got[:10] != "$argon2id$" {
			t.Errorf("after sign-in %d the hash is %.8s…", n, got)
		}
	}
	_, _, err := w.SignIn(t.Context(), platform.Request{}, bob.person.Address, seal.NewSecretString("U*V"))
	wantKind(t, err, fault.Unauthenticated, "a wrong one")
}

// stored opens what a person's row holds, with the keys and the place that
// docs and code agree on.
func (w world) place(t testing.TB, p id.Person) (seal.Place, seal.Sealed, uint32) {
	t.Helper()
	var version, leaf int64
	var sealed seal.Sealed
	if err := w.root(t).QueryRow(t.Context(), `SELECT version, leaf, password FROM platform.person WHERE id = $1`, p.UUID()).Scan(&version, &leaf, &sealed); err != nil {
		t.Fatal(err)
	}
	return seal.Place{Org: id.Installation, Table: "platform.person", Row: p.UUID(), Version: uint64(version)}, sealed, uint32(leaf)
}

func (w world) hash(t testing.TB, p id.Person) string {
	t.Helper()
	place, sealed, _ := w.place(t, p)
	got, err := seal.OpenOne(t.Context(), w.doors.Keys(id.Installation), place, sealed, "password")
	if err != nil {
		t.Fatal(err)
	}
	return string(got.Reveal())
}

func (w world) setHash(t testing.TB, p id.Person, hash string) {
	t.Helper()
	place, _, leaf := w.place(t, p)
	sealed, err := seal.Seal(t.Context(), w.doors.Keys(id.Installation), place,
		seal.Section{Name: "password", Leaf: keytree.Leaf(leaf), Plain: seal.NewSecretString(hash)})
	if err != nil {
		t.Fatal(err)
	}
	w.pastTriggers(t, `UPDATE platform.person SET password = $1 WHERE id = $2`, []byte(sealed), p.UUID())
}
