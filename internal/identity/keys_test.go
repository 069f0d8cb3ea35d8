package identity_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/identity"
	"strongroom/internal/identity/actor"
	"strongroom/internal/identity/actortest"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/testkit"
)

// another is a second server on the same database: it knows nothing of what
// the first keeps in memory.
func (w world) another(t testing.TB) *identity.Service {
	t.Helper()
	s, err := identity.New(identity.Options{Store: w.doors.Platform})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAKeyIsShownOnceAndDoesWhatItsScopesSay(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	alan := w.add(t, f, "Alan", policy.OrgAdmin, policy.Scientist)
	r := f.as(alan)
	key, token, receipt, err := w.CreateKey(t.Context(), r, identity.NewKey{Name: "robot", Roles: []policy.Role{policy.Scientist},
		Scopes: []policy.Action{policy.RecordCreate, policy.OrgRead}})
	if err != nil || receipt.IsZero() {
		t.Fatal(err)
	}
	if !strings.HasPrefix(token.Reveal(), "sr_key_"+key.Prefix+"_") || key.CreatedBy != alan.id ||
		key.ExpiresAt.Sub(key.CreatedAt) != identity.DefaultKeyLife {
		t.Errorf("made %+v", key)
	}
	for _, log := range []id.Org{f.org.ID, id.Installation} {
		testkit.WantEvents(t, w.doors, log, r.ID, testkit.Event{Action: policy.KeyCreate, Outcome: audit.Done, Targets: []string{key.ID.String()}})
	}

	a := w.mustAuthenticate(t, token)
	if a.Kind() != actor.APIKey || a.ID() != key.ID.String() || a.Via() != key.ID.String() || a.Person() != alan.id {
		t.Errorf("authenticated as %s %s of %s", a.Kind(), a.ID(), a.Person())
	}
	for action, want := range map[policy.Action]bool{policy.RecordCreate: true, policy.OrgRead: true, policy.RecordRead: false,
		policy.MemberAdd: false, policy.KeyCreate: false} {
		if a.May(f.org.ID, action) != want {
			t.Errorf("may %s: %t", action, !want)
		}
	}
	if _, _, err := w.Org(t.Context(), platform.Request{Actor: a, Org: f.org.ID}); err != nil {
		t.Errorf("within its scope: %v", err)
	}

	// Scopes that no key may carry are not believed, whatever the row says.
	w.pastTriggers(t, `UPDATE platform.api_key SET scopes = '{record.create,member.add,key.create}', roles = '{scientist,org_admin}' WHERE id = $1`, key.ID.UUID())
	forged, err := w.another(t).Identify(t.Context(), token)
	if err != nil || !forged.May(f.org.ID, policy.RecordCreate) || forged.May(f.org.ID, policy.MemberAdd) || forged.May(f.org.ID, policy.KeyCreate) {
		t.Errorf("a key with scopes for people only manages people: %v", err)
	}
	w.pastTriggers(t, `UPDATE platform.api_key SET scopes = '{record.create,org.read}', roles = '{scientist}' WHERE id = $1`, key.ID.UUID())

	r = f.as(alan)
	list, _, _, err := w.Keys(t.Context(), r, 50, "")
	if err != nil || len(list) != 1 || list[0].Name != "robot" || list[0].LastUsedAt == nil || list[0].RevokedAt != nil ||
		!slices.Equal(list[0].Scopes, key.Scopes) || !slices.Equal(list[0].Roles, key.Roles) {
		t.Errorf("listed %+v, %v", list, err)
	}
	testkit.WantEvents(t, w.doors, f.org.ID, r.ID, testkit.Event{Action: policy.KeyList, Outcome: audit.Done, Targets: []string{key.ID.String()}})
}

func TestAKeyHasNoMoreThanItsMaker(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	past, far := time.Now().Add(-time.Second), time.Now().Add(identity.MaxKeyLife+time.Hour)
	for _, tt := range []struct {
		name string
		key  identity.NewKey
		want fault.Kind
		at   string
	}{
		{"a role that the maker does not hold", identity.NewKey{Name: "k", Roles: []policy.Role{policy.OrgAdmin, policy.Scientist}}, fault.Denied, "/roles/1"},
		{"no role", identity.NewKey{Name: "k"}, fault.Invalid, "/roles"},
		{"a role of the installation", identity.NewKey{Name: "k", Roles: []policy.Role{policy.SystemAdmin}}, fault.Invalid, "/roles/0"},
		{"no name", identity.NewKey{Roles: []policy.Role{policy.OrgAdmin}}, fault.Invalid, "/name"},
		{"a scope that is no action", identity.NewKey{Name: "k", Roles: []policy.Role{policy.OrgAdmin}, Scopes: []policy.Action{"*"}}, fault.Invalid, "/scopes/0"},
		{"a scope that the roles do not allow", identity.NewKey{Name: "k", Roles: []policy.Role{policy.OrgAdmin}, Scopes: []policy.Action{policy.OrgRead, policy.RecordRead}}, fault.Invalid, "/scopes/1"},
		{"a scope for people only", identity.NewKey{Name: "k", Roles: []policy.Role{policy.OrgAdmin}, Scopes: []policy.Action{policy.KeyCreate}}, fault.Invalid, "/scopes/0"},
		{"a scope of the installation", identity.NewKey{Name: "k", Roles: []policy.Role{policy.OrgAdmin}, Scopes: []policy.Action{policy.OrgCreate}}, fault.Invalid, "/scopes/0"},
		{"a scope twice", identity.NewKey{Name: "k", Roles: []policy.Role{policy.OrgAdmin}, Scopes: []policy.Action{policy.OrgRead, policy.OrgRead}}, fault.Invalid, "/scopes/1"},
		{"scopes, and none of them", identity.NewKey{Name: "k", Roles: []policy.Role{policy.OrgAdmin}, Scopes: []policy.Action{}}, fault.Invalid, "/scopes"},
		{"an end in the past", identity.NewKey{Name: "k", Roles: []policy.Role{policy.OrgAdmin}, ExpiresAt: &past}, fault.Invalid, "/expires_at"},
		{"an end too far off", identity.NewKey{Name: "k", Roles: []policy.Role{policy.OrgAdmin}, ExpiresAt: &far}, fault.Invalid, "/expires_at"},
	} {
		r := f.as(f.owner)
		_, token, receipt, err := w.CreateKey(t.Context(), r, tt.key)
		wantKind(t, err, tt.want, tt.name)
		if d := fault.From(err).Details; len(d) != 1 || d[0].Pointer != tt.at || receipt.IsZero() || token.Reveal() != "" {
			t.Errorf("%s: points at %+v, want %s", tt.name, d, tt.at)
		}
		outcome := audit.Refused
		if tt.want == fault.Denied {
			outcome = audit.Denied
		}
		testkit.WantEvents(t, w.doors, f.org.ID, r.ID, testkit.Event{Action: policy.KeyCreate, Outcome: outcome, Code: tt.want.String()})
	}
	list, _, _, err := w.Keys(t.Context(), f.as(f.owner), 50, "")
	if err != nil || len(list) != 0 {
		t.Errorf("after all that: %d keys, %v", len(list), err)
	}
}

// A key lives on what its maker still holds: taken from the maker, taken from
// the key.
func TestAKeyLosesWhatItsMakerLoses(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	alan := w.add(t, f, "Alan", policy.OrgAdmin, policy.Scientist, policy.Analyst)
	_, token, _, err := w.CreateKey(t.Context(), f.as(alan), identity.NewKey{Name: "robot", Roles: []policy.Role{policy.Scientist, policy.Analyst}})
	if err != nil {
		t.Fatal(err)
	}
	a := w.mustAuthenticate(t, token)
	if !a.May(f.org.ID, policy.RecordCreate) || !a.May(f.org.ID, policy.ExportRun) {
		t.Fatal("the key has not what it was given")
	}
	if _, _, err := w.UpdateMember(t.Context(), f.as(f.owner), alan.id, identity.MemberChange{Roles: roles(policy.OrgAdmin, policy.Analyst)}); err != nil {
		t.Fatal(err)
	}
	a = w.mustAuthenticate(t, token)
	if a.May(f.org.ID, policy.RecordCreate) || !a.May(f.org.ID, policy.ExportRun) || a.May(f.org.ID, policy.MemberList) {
		t.Error("the key did not lose its maker's role, or won one")
	}
	if _, _, err := w.UpdateMember(t.Context(), f.as(f.owner), alan.id, identity.MemberChange{Roles: roles(policy.OrgAdmin)}); err != nil {
		t.Fatal(err)
	}
	_, err = w.authenticate(t.Context(), token)
	wantKind(t, err, fault.Unauthenticated, "a key with nothing left")
}

func TestARevokedOrExpiredKeyOpensNothing(t *testing.T) {
	t.Parallel()
	w := open(t)
	f, other := w.found(t), w.found(t)
	elsewhere := w.another(t)
	soon := time.Now().Add(1500 * time.Millisecond)
	_, brief, _, err := w.CreateKey(t.Context(), f.as(f.owner), identity.NewKey{Name: "brief", Roles: []policy.Role{policy.OrgAdmin}, ExpiresAt: &soon})
	if err != nil {
		t.Fatal(err)
	}
	key, token, _, err := w.CreateKey(t.Context(), f.as(f.owner), identity.NewKey{Name: "k", Roles: []policy.Role{policy.OrgAdmin}})
	if err != nil {
		t.Fatal(err)
	}
	w.mustAuthenticate(t, brief)
	w.mustAuthenticate(t, token)
	if _, err := elsewhere.Identify(t.Context(), token); err != nil {
		t.Fatal(err)
	}

	// Another organization's admin names it in vain.
	r := other.as(other.owner)
	_, err = w.RevokeKey(t.Context(), r, key.ID)
	wantKind(t, err, fault.NotFound, "revoking another organization's key")
	testkit.WantEvents(t, w.doors, f.org.ID, r.ID)
	w.mustAuthenticate(t, token)

	sam := w.add(t, f, "Sam", policy.SecurityAdmin)
	r = f.as(sam)
	if _, err := w.RevokeKey(t.Context(), r, key.ID); err != nil {
		t.Fatalf("a security admin revokes: %v", err)
	}
	testkit.WantEvents(t, w.doors, f.org.ID, r.ID, testkit.Event{Action: policy.KeyRevoke, Outcome: audit.Done, Targets: []string{key.ID.String()}})
	_, err = w.authenticate(t.Context(), token)
	wantKind(t, err, fault.Unauthenticated, "the key on the server that revoked it")
	if _, err := w.RevokeKey(t.Context(), f.as(sam), key.ID); err != nil {
		t.Errorf("revoking it again: %v", err)
	}
	time.Sleep(time.Until(soon))
	fresh()
	_, err = elsewhere.Identify(t.Context(), token)
	wantKind(t, err, fault.Unauthenticated, "the key elsewhere, a second later")
	_, err = w.authenticate(t.Context(), brief)
	wantKind(t, err, fault.Unauthenticated, "the expired key")
}

func TestAKeyCannotActAsItsMaker(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	_, token, _, err := w.CreateKey(t.Context(), f.as(f.owner), identity.NewKey{Name: "k", Roles: []policy.Role{policy.OrgAdmin}})
	if err != nil {
		t.Fatal(err)
	}
	r := platform.Request{Actor: w.mustAuthenticate(t, token), Org: f.org.ID}
	_, _, err = w.AddMember(t.Context(), r, identity.NewMember{NewPerson: newPerson("Mallory"), Roles: []policy.Role{policy.OrgAdmin}})
	wantKind(t, err, fault.Denied, "adding a person")
	_, _, _, err = w.CreateKey(t.Context(), r, identity.NewKey{Name: "k2", Roles: []policy.Role{policy.OrgAdmin}})
	wantKind(t, err, fault.Denied, "making a key")
	_, err = w.ChangePassword(t.Context(), r, f.owner.person.Password, f.owner.person.Password)
	wantKind(t, err, fault.NotFound, "changing the password")
	_, _, err = w.MakeJoinCode(t.Context(), r)
	wantKind(t, err, fault.NotFound, "making a join code")
	_, _, err = w.Current(t.Context(), r)
	wantKind(t, err, fault.NotFound, "reading a session")
	_, err = w.SignOut(t.Context(), r)
	wantKind(t, err, fault.NotFound, "signing its maker out")
	w.mustAuthenticate(t, f.owner.signIn.Token)
}

func TestASessionEndsByItselfAndLivesOnByUse(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	session := f.owner.signIn.Session.ID
	refused := func(what, sql string) {
		in, _, err := w.SignIn(t.Context(), platform.Request{}, f.owner.person.Address, f.owner.person.Password)
		if err != nil {
			t.Fatal(err)
		}
		w.pastTriggers(t, sql, in.Session.ID.UUID())
		_, err = w.another(t).Identify(t.Context(), in.Token)
		wantKind(t, err, fault.Unauthenticated, what)
	}
	refused("one that was not used for long", `UPDATE platform.session SET idle_until = now() - interval '1 second' WHERE id = $1`)
	refused("one past its end", `UPDATE platform.session SET expires_at = now() - interval '1 second' WHERE id = $1`)

	// Use moves the idle time on, but never past the end, and says so in the
	// log only now and then.
	times := func() (idle, expires time.Time) {
		if err := w.root(t).QueryRow(t.Context(), `SELECT idle_until, expires_at FROM platform.session WHERE id = $1`, session.UUID()).Scan(&idle, &expires); err != nil {
			t.Fatal(err)
		}
		return
	}
	w.pastTriggers(t, `UPDATE platform.session SET idle_until = now() + interval '1 minute' WHERE id = $1`, session.UUID())
	for range 3 {
		if _, err := w.another(t).Identify(t.Context(), f.owner.signIn.Token); err != nil {
			t.Fatal(err)
		}
	}
	if idle, _ := times(); time.Until(idle) < 59*time.Minute {
		t.Errorf("it ends idle in %v", time.Until(idle))
	}
	uses := 0
	for _, e := range testkit.AllEvents(t, w.doors, id.Installation) {
		if e.Action == policy.CredentialUse && slices.Contains(e.Targets, session.String()) {
			uses++
		}
	}
	if uses != 1 {
		t.Errorf("three uses left %d events, want 1", uses)
	}
	w.pastTriggers(t, `UPDATE platform.session SET idle_until = now() + interval '1 minute', expires_at = now() + interval '5 minutes' WHERE id = $1`, session.UUID())
	if _, err := w.another(t).Identify(t.Context(), f.owner.signIn.Token); err != nil {
		t.Fatal(err)
	}
	if idle, expires := times(); idle.After(expires) {
		t.Errorf("use moved the session past its end: %v, %v", idle, expires)
	}
}

func TestAServiceRefusesToStartMisconfigured(t *testing.T) {
	t.Parallel()
	w := open(t)
	for name, o := range map[string]identity.Options{
		"no store":                     {},
		"an idle time of a second":     {Store: w.doors.Platform, Idle: time.Second},
		"an end before the idle time":  {Store: w.doors.Platform, Idle: time.Hour, Absolute: time.Minute},
		"an idle time before the past": {Store: w.doors.Platform, Idle: -time.Hour},
	} {
		if _, err := identity.New(o); err == nil {
			t.Errorf("%s: made a service", name)
		}
	}
}

func TestAJobActsWithWhatItsInitiatorHoldsNow(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	bob := w.add(t, f, "Bob", policy.Scientist)
	job := id.NewJob()
	a, err := w.ForJob(t.Context(), job, bob.id, f.org.ID)
	if err != nil || a.Kind() != actor.Job || a.ID() != job.String() || a.Initiator() != bob.id.String() ||
		!a.May(f.org.ID, policy.FileSweep) || a.MayOnPlatform(policy.OrgCreate) {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := w.RemoveMember(t.Context(), f.as(f.owner), bob.id); err != nil {
		t.Fatal(err)
	}
	_, err = w.ForJob(t.Context(), job, bob.id, f.org.ID)
	wantKind(t, err, fault.Denied, "after the initiator left")
}

func TestTheFirstAdministratorIsMadeByTheInstallation(t *testing.T) {
	t.Parallel()
	w := open(t)
	n := newPerson("Root")
	r := platform.Request{Actor: identity.System(id.NewServer()), ID: id.NewRequest()}
	p, receipt, err := w.CreateSystemAdmin(t.Context(), r, n)
	if err != nil || receipt.IsZero() {
		t.Fatal(err)
	}
	testkit.WantEvents(t, w.doors, id.Installation, r.ID, testkit.Event{Action: policy.AdminCreate, Outcome: audit.Done, Targets: []string{p.ID.String()}})
	if has, err := w.HasSystemAdmin(t.Context()); err != nil || !has {
		t.Errorf("has an administrator: %t, %v", has, err)
	}
	root := w.enter(t, p.ID, n)
	if !root.actor.MayOnPlatform(policy.OrgCreate) || len(root.actor.Orgs()) != 0 {
		t.Error("the administrator may not do what one does")
	}
	_, _, err = w.CreateSystemAdmin(t.Context(), platform.Request{Actor: w.found(t).owner.actor}, newPerson("Mallory"))
	wantKind(t, err, fault.Denied, "an organization's owner makes an administrator")
}

func TestOrganizationsAreMadeByAdministratorsAlone(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	valid := func() identity.NewOrg {
		return identity.NewOrg{Name: "Lab", Placement: "pooled", Owner: newPerson("Ada")}
	}
	for _, tt := range []struct {
		name  string
		actor actor.Actor
		want  fault.Kind
	}{
		{"nobody", actor.Actor{}, fault.Unauthenticated},
		{"an owner of another one", f.owner.actor, fault.Denied},
	} {
		r := platform.Request{Actor: tt.actor, ID: id.NewRequest()}
		_, _, receipt, err := w.CreateOrg(t.Context(), r, valid())
		wantKind(t, err, tt.want, tt.name)
		if receipt.IsZero() {
			t.Errorf("%s: no receipt", tt.name)
		}
		testkit.WantEvents(t, w.doors, id.Installation, r.ID, testkit.Event{Action: policy.OrgCreate, Outcome: audit.Denied, Code: tt.want.String()})
	}
	for _, tt := range []struct {
		name string
		edit func(*identity.NewOrg)
		want fault.Kind
		at   string
	}{
		{"no name", func(n *identity.NewOrg) { n.Name = "" }, fault.Invalid, "/name"},
		{"a placement that is none", func(n *identity.NewOrg) { n.Placement = "elsewhere" }, fault.Invalid, "/placement"},
		{"a plan that is none", func(n *identity.NewOrg) { n.Plan = "installation" }, fault.Invalid, "/plan"},
		{"an owner without a password", func(n *identity.NewOrg) { n.Owner.Password = identity.NewPerson{}.Password }, fault.Invalid, "/owner/password"},
		{"an owner without an address", func(n *identity.NewOrg) { n.Owner.Address = "" }, fault.Invalid, "/owner/email"},
		{"an owner with an account", func(n *identity.NewOrg) { n.Owner.Address = f.owner.person.Address }, fault.Conflict, "/owner/email"},
	} {
		n := valid()
		tt.edit(&n)
		r := platform.Request{Actor: actortest.SystemAdmin(t), ID: id.NewRequest()}
		_, _, receipt, err := w.CreateOrg(t.Context(), r, n)
		wantKind(t, err, tt.want, tt.name)
		if d := fault.From(err).Details; len(d) != 1 || d[0].Pointer != tt.at || receipt.IsZero() {
			t.Errorf("%s: points at %+v, want %s", tt.name, d, tt.at)
		}
		testkit.WantEvents(t, w.doors, id.Installation, r.ID, testkit.Event{Action: policy.OrgCreate, Outcome: audit.Refused, Code: tt.want.String()})
		if n.Name != "" && slices.ContainsFunc(w.orgs(t), func(o identity.Org) bool { return o.Name == n.Name }) {
			t.Errorf("%s: the organization exists", tt.name)
		}
	}
}

func TestAnOrganizationWithoutItsOwnerIsClosedAgain(t *testing.T) {
	t.Parallel()
	w := open(t)
	n := identity.NewOrg{Name: "Lab " + unique(), Placement: "pooled", OwnerCode: "sr_join_00"}
	r := platform.Request{Actor: actortest.SystemAdmin(t), ID: id.NewRequest()}
	_, _, _, err := w.CreateOrg(t.Context(), r, n)
	wantKind(t, err, fault.Invalid, "a join code made up")
	if d := fault.From(err).Details; len(d) != 1 || d[0].Pointer != "/owner/join_code" {
		t.Errorf("points at %+v", d)
	}
	all := w.orgs(t)
	i := slices.IndexFunc(all, func(o identity.Org) bool { return o.Name == n.Name })
	if i < 0 || all[i].State != "closed" {
		t.Fatalf("the organization is left as %d of %d", i, len(all))
	}
	testkit.WantEvents(t, w.doors, all[i].ID, r.ID, testkit.Event{Action: policy.OrgCreate, Outcome: audit.Refused, Code: "invalid"})
}

func TestAClosedOrganizationLetsNobodyIn(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	_, token, _, err := w.CreateKey(t.Context(), f.as(f.owner), identity.NewKey{Name: "k", Roles: []policy.Role{policy.OrgAdmin}})
	if err != nil {
		t.Fatal(err)
	}
	w.pastTriggers(t, `UPDATE platform.org SET state = 'closed' WHERE id = $1`, f.org.ID.UUID())
	a, err := w.another(t).Identify(t.Context(), f.owner.signIn.Token)
	if err != nil || a.Sees(f.org.ID) {
		t.Errorf("its owner still sees it: %v", err)
	}
	_, err = w.another(t).Identify(t.Context(), token)
	wantKind(t, err, fault.Unauthenticated, "its key")
	_, err = w.ForJob(t.Context(), id.NewJob(), f.owner.id, f.org.ID)
	wantKind(t, err, fault.Denied, "its job")
	in, _, err := w.SignIn(t.Context(), platform.Request{}, f.owner.person.Address, f.owner.person.Password)
	if err != nil || len(in.Orgs) != 0 {
		t.Errorf("signing in shows %+v, %v", in.Orgs, err)
	}
}

// The old password was right when it was checked. By the time the session
// would open, it is not.
func TestASignInUnderWayDoesNotOutliveThePassword(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	slow := identity.NewPasswords(identity.PasswordOptions{Parallel: 1, Wait: time.Minute})
	other, err := identity.New(identity.Options{Store: w.doors.Platform, Passwords: slow})
	if err != nil {
		t.Fatal(err)
	}
	release := slow.Occupy()
	result := make(chan error)
	go func() {
		_, _, err := other.SignIn(context.WithoutCancel(t.Context()), platform.Request{}, f.owner.person.Address, f.owner.person.Password)
		result <- err
	}()
	for slow.Waiting() == 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := w.ChangePassword(t.Context(), f.as(f.owner), f.owner.person.Password, seal.NewSecretString("an even better passphrase")); err != nil {
		t.Fatal(err)
	}
	release()
	wantKind(t, <-result, fault.Unauthenticated, "a sign-in by the password that was replaced meanwhile")
	var sessions int
	if err := w.root(t).QueryRow(t.Context(), `SELECT count(*) FROM platform.session WHERE person_id = $1 AND ended_at IS NULL`, f.owner.id.UUID()).Scan(&sessions); err != nil || sessions != 0 {
		t.Errorf("%d sessions are left, %v", sessions, err)
	}
}

// orgs lists what a system administrator sees: every organization.
func (w world) orgs(t testing.TB) (all []identity.Org) {
	t.Helper()
	r := platform.Request{Actor: actortest.SystemAdmin(t)}
	for cursor := ""; ; {
		items, next, _, err := w.Orgs(t.Context(), r, 200, cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range items {
			if o.ID == id.Installation || len(o.Roles) != 0 {
				t.Errorf("the list shows %+v", o)
			}
			all = append(all, o)
		}
		if cursor = next; cursor == "" {
			return all
		}
	}
}

func TestSomebodySeesHerOwnOrganizationsAlone(t *testing.T) {
	t.Parallel()
	w := open(t)
	f, other := w.found(t), w.found(t)
	r := platform.Request{Actor: f.owner.actor, ID: id.NewRequest()}
	items, next, _, err := w.Orgs(t.Context(), r, 50, "")
	if err != nil || next != "" || len(items) != 1 || items[0].ID != f.org.ID || items[0].Name != f.org.Name {
		t.Errorf("%+v, %v", items, err)
	}
	testkit.WantEvents(t, w.doors, id.Installation, r.ID, testkit.Event{Action: policy.OrgList, Outcome: audit.Done, Targets: []string{f.org.ID.String()}})
	r = platform.Request{Actor: f.owner.actor, Org: other.org.ID, ID: id.NewRequest()}
	_, receipt, err := w.Org(t.Context(), r)
	wantKind(t, err, fault.NotFound, "another organization")
	if receipt.IsZero() {
		t.Error("no receipt")
	}
	testkit.WantEvents(t, w.doors, id.Installation, r.ID, testkit.Event{Action: policy.OrgRead, Outcome: audit.Denied, Code: "not_found", Targets: []string{other.org.ID.String()}})
	_, _, _, err = w.Orgs(t.Context(), platform.Request{}, 50, "")
	wantKind(t, err, fault.Unauthenticated, "nobody")
}
