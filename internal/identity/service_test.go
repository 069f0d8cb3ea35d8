package identity_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

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

func TestMain(m *testing.M) { testkit.Main(m) }

const goodPassword = "correct horse battery staple"

// world is the service on the package's database.
type world struct {
	*identity.Service
	doors *testkit.Doors
}

var made struct {
	once sync.Once
	w    world
	err  error
}

func open(t testing.TB) world {
	t.Helper()
	d := testkit.Open(t)
	made.once.Do(func() {
		var p *platform.Provisioner
		if p, made.err = platform.NewProvisioner(context.Background(), d.DB.URL("sr_provisioner")); made.err != nil {
			return
		}
		s, err := identity.New(identity.Options{Store: d.Platform, Passwords: identity.NewPasswords(identity.PasswordOptions{Wait: time.Minute}),
			Founding: &identity.Founding{KeysOf: d.Keys, CreateKeys: d.CreateOrg, CreatePlace: p.CreateOrg}})
		made.w, made.err = world{s, d}, err
	})
	if made.err != nil {
		t.Fatal(made.err)
	}
	return made.w
}

func unique() string { return strings.ToLower(id.NewRequest().String()[4:]) }

func newPerson(name string) identity.NewPerson {
	return identity.NewPerson{Address: name + "." + unique() + "@example.org", Name: name, Password: seal.NewSecretString(goodPassword)}
}

// founded is an organization with its owner, signed in.
type founded struct {
	org   identity.Org
	owner someone
}

type someone struct {
	person identity.NewPerson
	id     id.Person
	signIn identity.SignedIn
	actor  actor.Actor
}

func (w world) found(t testing.TB) founded {
	t.Helper()
	owner := newPerson("Ada")
	org, m, receipt, err := w.CreateOrg(t.Context(), platform.Request{Actor: actortest.SystemAdmin(t)},
		identity.NewOrg{Name: "Lab " + unique(), Placement: "pooled", Owner: owner})
	if err != nil || receipt.IsZero() {
		t.Fatalf("create org: %v", err)
	}
	return founded{org, w.enter(t, m.ID, owner)}
}

// enter signs somebody in and authenticates her token.
func (w world) enter(t testing.TB, p id.Person, n identity.NewPerson) someone {
	t.Helper()
	in, _, err := w.SignIn(t.Context(), platform.Request{}, n.Address, n.Password)
	if err != nil {
		t.Fatalf("sign in: %v", err)
	}
	return someone{n, p, in, w.mustAuthenticate(t, in.Token)}
}

// add makes a new person a member, and signs her in.
func (w world) add(t testing.TB, f founded, name string, roles ...policy.Role) someone {
	t.Helper()
	n := newPerson(name)
	m, _, err := w.AddMember(t.Context(), f.as(f.owner), identity.NewMember{NewPerson: n, Roles: roles})
	if err != nil {
		t.Fatalf("add %s: %v", name, err)
	}
	return w.enter(t, m.ID, n)
}

// as is a request by somebody in the organization.
func (f founded) as(who someone) platform.Request {
	return platform.Request{Actor: who.actor, Org: f.org.ID, ID: id.NewRequest()}
}

func (w world) authenticate(ctx context.Context, token identity.Token) (actor.Actor, error) {
	r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+token.Reveal())
	return w.Authenticate(ctx, r)
}

func (w world) mustAuthenticate(t testing.TB, token identity.Token) actor.Actor {
	t.Helper()
	a, err := w.authenticate(t.Context(), token)
	if err != nil {
		t.Fatalf("authenticate: %v", err)
	}
	return a
}

// fresh waits until what this server knew of callers is too old to be used.
func fresh() { time.Sleep(identity.Freshness + 50*time.Millisecond) }

func wantKind(t testing.TB, err error, want fault.Kind, what string) {
	t.Helper()
	if !fault.Is(err, want) {
		t.Errorf("%s: got %v, want %s", what, err, want)
	}
}

// root reads the database as its superuser: what an attacker would find.
func (w world) root(t testing.TB) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), w.doors.DB.URL("sr_root"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestSomebodySignsInAndOutAndBothAreOnRecord(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)

	r := platform.Request{ID: id.NewRequest(), Client: platform.Client{Address: "192.0.2.7", Agent: "test"}}
	in, receipt, err := w.SignIn(t.Context(), r, strings.ToUpper(f.owner.person.Address), f.owner.person.Password)
	if err != nil || receipt.IsZero() {
		t.Fatal(err)
	}
	if in.Person.ID != f.owner.id || in.Person.Email != f.owner.person.Address || in.Person.Name != "Ada" {
		t.Errorf("signed in as %+v", in.Person)
	}
	if len(in.Orgs) != 1 || in.Orgs[0].ID != f.org.ID || in.Orgs[0].Name != f.org.Name || !in.Orgs[0].Owner ||
		!slices.Equal(in.Orgs[0].Roles, []policy.Role{policy.OrgAdmin}) {
		t.Errorf("organizations: %+v", in.Orgs)
	}
	testkit.WantEvents(t, w.doors, id.Installation, r.ID, testkit.Event{Action: policy.SessionCreate, Outcome: audit.Done,
		Targets: []string{in.Session.ID.String()}})

	a := w.mustAuthenticate(t, in.Token)
	if a.Kind() != actor.Person || a.Person() != f.owner.id || a.Via() != in.Session.ID.String() || !a.May(f.org.ID, policy.MemberAdd) ||
		a.May(f.org.ID, policy.RecordRead) || a.MayOnPlatform(policy.OrgCreate) {
		t.Errorf("authenticated as %+v", a)
	}

	r = platform.Request{ID: id.NewRequest(), Actor: a}
	cur, _, err := w.Current(t.Context(), r)
	if err != nil || cur.Person != in.Person || cur.Session.ID != in.Session.ID {
		t.Errorf("current session: %+v, %v", cur, err)
	}
	testkit.WantEvents(t, w.doors, id.Installation, r.ID, testkit.Event{Action: policy.SessionRead, Outcome: audit.Done})

	r = platform.Request{ID: id.NewRequest(), Actor: a}
	if _, err := w.SignOut(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	testkit.WantEvents(t, w.doors, id.Installation, r.ID, testkit.Event{Action: policy.SessionEnd, Outcome: audit.Done,
		Targets: []string{in.Session.ID.String()}})
	_, err = w.authenticate(t.Context(), in.Token)
	wantKind(t, err, fault.Unauthenticated, "the token after signing out")
	_, err = w.SignOut(t.Context(), platform.Request{Actor: a})
	wantKind(t, err, fault.Unauthenticated, "signing out twice")
}

// A refused sign-in must not tell whether the address has an account: the same
// error, word for word, and one event each, with the address nowhere in it.
func TestARefusedSignInTellsNothing(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	blocked := w.add(t, f, "Eve", policy.Analyst)
	if _, err := w.root(t).Exec(t.Context(), `UPDATE platform.person SET state = 'disabled' WHERE id = $1`, blocked.id.UUID()); err == nil {
		t.Fatal("a change without an event was committed")
	}
	w.disable(t, blocked.id)

	words := map[string]bool{}
	for _, tt := range []struct {
		name, address string
		password      string
		targets       []string
	}{
		{"a wrong password", f.owner.person.Address, "not the right password", []string{f.owner.id.String()}},
		{"no password", f.owner.person.Address, "", []string{f.owner.id.String()}},
		{"an endless password", f.owner.person.Address, strings.Repeat("x", 1<<20), []string{f.owner.id.String()}},
		{"an address nobody has", "nobody." + unique() + "@example.org", goodPassword, []string{}},
		{"an account that is disabled", blocked.person.Address, goodPassword, []string{blocked.id.String()}},
		{"what is no address", "' OR 1=1 --", goodPassword, []string{}},
		{"an endless address", strings.Repeat("a", 5000) + "@example.org", goodPassword, []string{}},
	} {
		r := platform.Request{ID: id.NewRequest(), Client: platform.Client{Address: "192.0.2.7"}}
		in, receipt, err := w.SignIn(t.Context(), r, tt.address, seal.NewSecretString(tt.password))
		wantKind(t, err, fault.Unauthenticated, tt.name)
		if receipt.IsZero() || in.Token.Reveal() != "" {
			t.Errorf("%s: no receipt, or a token", tt.name)
		}
		words[fmt.Sprintf("%+v", fault.From(err))] = true
		testkit.WantEvents(t, w.doors, id.Installation, r.ID, testkit.Event{Action: policy.SessionCreate, Outcome: audit.Denied,
			Code: "unauthenticated", Targets: tt.targets})
		for _, e := range testkit.Events(t, w.doors, id.Installation, r.ID) {
			if text := fmt.Sprintf("%+v", e); strings.Contains(text, tt.address) || strings.Contains(text, "192.0.2.7") {
				t.Errorf("%s: the event shows the address: %s", tt.name, text)
			}
			names := []string{}
			for _, c := range e.Commitments {
				names = append(names, c.Name)
			}
			if !slices.Equal(names, []string{"address", "client_address"}) {
				t.Errorf("%s: the event commits to %v", tt.name, names)
			}
			if e.Actor.Kind != actor.Unknown || e.Actor.ID != "" {
				t.Errorf("%s: the event names an actor: %+v", tt.name, e.Actor)
			}
		}
	}
	if len(words) != 1 {
		t.Errorf("refusals differ: %v", words)
	}
	fresh()
	_, err := w.authenticate(t.Context(), blocked.signIn.Token)
	wantKind(t, err, fault.Unauthenticated, "the session of a disabled account")
}

// disable does what no operation does yet.
func (w world) disable(t testing.TB, p id.Person) {
	t.Helper()
	w.pastTriggers(t, `UPDATE platform.person SET state = 'disabled' WHERE id = $1`, p.UUID())
}

// pastTriggers changes the database as somebody could who is its superuser.
func (w world) pastTriggers(t testing.TB, sql string, args ...any) {
	t.Helper()
	tx, err := w.root(t).Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), `SET LOCAL session_replication_role = replica`)
	}
	if err == nil {
		_, err = tx.Exec(t.Context(), sql, args...)
	}
	if err == nil {
		err = tx.Commit(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestWhatTheDatabaseHoldsOpensNothing(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	_, token, _, err := w.CreateKey(t.Context(), f.as(f.owner), identity.NewKey{Name: "canary " + unique(), Roles: []policy.Role{policy.OrgAdmin}})
	if err != nil {
		t.Fatal(err)
	}
	conn := w.root(t)
	for _, table := range []string{"person", "session", "api_key", "org", "membership"} {
		rows, err := conn.Query(t.Context(), "SELECT to_jsonb(t)::text FROM platform."+table+" t")
		if err != nil {
			t.Fatal(err)
		}
		all, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil || len(all) == 0 {
			t.Fatalf("%s: %d rows, %v", table, len(all), err)
		}
		dump := strings.ToLower(strings.Join(all, "\n"))
		secret := token.Reveal()[len("sr_key_")+9:]
		for name, canary := range map[string]string{
			"the address": f.owner.person.Address, "the name": `"ada"`, "the password": goodPassword, "a hash": "argon2id",
			"the session's token": f.owner.signIn.Token.Reveal()[7:30], "the key": secret[:20], "the organization's name": f.org.Name,
			"the name of a key": "canary ",
		} {
			if strings.Contains(dump, strings.ToLower(canary)) || strings.Contains(dump, fmt.Sprintf("%x", canary)) {
				t.Errorf("platform.%s shows %s", table, name)
			}
		}
	}
}

func TestOnlyAValidCredentialMakesAnActor(t *testing.T) {
	t.Parallel()
	w := open(t)
	f := w.found(t)
	request := func(headers ...string) *http.Request {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		for _, h := range headers {
			r.Header.Add("Authorization", h)
		}
		return r
	}
	good := f.owner.signIn.Token.Reveal()
	if a, err := w.Authenticate(t.Context(), request()); err != nil || !a.IsNobody() {
		t.Errorf("without a header: %+v, %v", a, err)
	}
	if a, err := w.Authenticate(t.Context(), request("bearer "+good)); err != nil || a.IsNobody() {
		t.Errorf("the scheme in lower case: %v", err)
	}
	for name, headers := range map[string][]string{
		"two headers":            {"Bearer " + good, "Bearer " + good},
		"basic":                  {"Basic " + good},
		"no scheme":              {good},
		"two spaces":             {"Bearer  " + good},
		"an empty one":           {""},
		"somebody else's guess":  {"Bearer " + identity.NewSessionToken().Reveal()},
		"a key nobody made":      {"Bearer " + identity.NewKeyToken().Reveal()},
		"a token with a comma":   {"Bearer " + good + ", Bearer " + good},
		"a token and more words": {"Bearer " + good + " x"},
	} {
		a, err := w.Authenticate(t.Context(), request(headers...))
		wantKind(t, err, fault.Unauthenticated, name)
		if !a.IsNobody() {
			t.Errorf("%s: made an actor", name)
		}
		if err != nil && strings.Contains(err.Error(), good) {
			t.Errorf("%s: the error repeats the token", name)
		}
	}
}
