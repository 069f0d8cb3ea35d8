package sandbox_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strongroom/client"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/identity"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/testkit"
	"strongroom/internal/testkit/live"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// developer is somebody with an account and an ordinary role somewhere.
func developer(t *testing.T, s *live.Server) *live.Person {
	t.Helper()
	return s.Org(t, "pooled").Member(t, client.Analyst)
}

func wantCode(t *testing.T, err error, status int, code string) {
	t.Helper()
	p, ok := err.(*client.Problem)
	if !ok || p.Status != status || p.Code != code {
		t.Errorf("got %v, want %d %s", err, status, code)
	}
}

func events(t *testing.T, s *live.Server, org string, action policy.Action) (found []audit.Event) {
	t.Helper()
	o := id.Installation
	if org != "" {
		var err error
		if o, err = id.ParseOrg(org); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range testkit.AllEvents(t, s.Doors, o) {
		if e.Action == action {
			found = append(found, e)
		}
	}
	return found
}

func TestOneCallMakesAnOrganizationWithAKeyThatWorks(t *testing.T) {
	t.Parallel()
	s := live.Start(t)
	dev := developer(t, s)
	box, err := dev.CreateSandbox(t.Context(), "Trying out")
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(box.ExpiresAt); box.Name != "Trying out" || !strings.HasPrefix(box.Key.Reveal(), "sr_key_") || left < 23*time.Hour || left > 24*time.Hour {
		t.Errorf("made %+v", box)
	}
	program := s.Client(t, box.Key)
	if _, err := program.CreateCollection(t.Context(), box.Org, client.NewCollection{Kind: "note", Title: "Notes", Schema: []byte(`{"type":"object"}`)}); err != nil {
		t.Fatal(err)
	}
	rec, err := program.CreateRecord(t.Context(), box.Org, "note", client.NewRecord{Content: []byte(`{"text":"first"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dev.Record(t.Context(), box.Org, "note", rec.ID); err != nil {
		t.Errorf("whoever made it does not see what is in it: %v", err)
	}
	org, err := dev.Organization(t.Context(), box.Org)
	if err != nil || org.Placement != "pooled" || !org.Owner || len(org.Roles) != 5 || org.ExpiresAt == nil || !org.ExpiresAt.Equal(box.ExpiresAt) {
		t.Errorf("the organization is %+v, %v", org, err)
	}
	// A key is no way to more keys, people or sandboxes.
	if _, err := program.CreateSandbox(t.Context(), ""); client.Status(err) != http.StatusForbidden {
		t.Errorf("a key makes a sandbox: %v", err)
	}
	if err := program.EndSandbox(t.Context(), box.Org); client.Status(err) != http.StatusNotFound {
		t.Errorf("a key ends a sandbox: %v", err)
	}
	if _, err := program.CreateKey(t.Context(), box.Org, client.NewKey{Name: "k", Roles: []client.Role{client.Analyst}}); client.Status(err) != http.StatusForbidden {
		t.Errorf("a key makes a key: %v", err)
	}
	for _, log := range []string{"", box.Org} {
		made := events(t, s, log, policy.SandboxCreate)
		made = slices.DeleteFunc(made, func(e audit.Event) bool { return !slices.Contains(e.Targets, box.Org) })
		if len(made) != 1 || made[0].Outcome != audit.Done || made[0].Actor.ID != dev.ID {
			t.Errorf("the log of %q says %+v", log, made)
		}
	}
}

func TestAStrangerNeitherSeesNorEndsASandbox(t *testing.T) {
	t.Parallel()
	s := live.Start(t)
	dev, other := developer(t, s), developer(t, s)
	box, err := dev.CreateSandbox(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if list, err := other.ListSandboxes(t.Context(), client.List{}); err != nil || len(list.Items) != 0 {
		t.Errorf("a stranger's list has %+v, %v", list, err)
	}
	if _, err := other.Organization(t.Context(), box.Org); client.Status(err) != http.StatusNotFound {
		t.Errorf("a stranger enters: %v", err)
	}
	wantCode(t, other.EndSandbox(t.Context(), box.Org), http.StatusNotFound, "not_found")
	wantCode(t, other.EndSandbox(t.Context(), id.NewOrg().String()), http.StatusNotFound, "not_found")
	if got := events(t, s, box.Org, policy.SandboxEnd); len(got) != 0 {
		t.Errorf("a stranger writes into the organization's log: %+v", got)
	}
	// Nor is an ordinary organization one, not even its owner's own.
	org := s.Org(t, "pooled")
	wantCode(t, org.Owner.EndSandbox(t.Context(), org.ID), http.StatusNotFound, "not_found")
}

func TestOnePersonHasThreeAtATimeHoweverFastSheAsks(t *testing.T) {
	t.Parallel()
	s := live.Start(t)
	dev := developer(t, s)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var made []string
	for range 8 {
		wg.Go(func() {
			box, err := dev.CreateSandbox(t.Context(), "")
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made = append(made, box.Org)
			} else {
				wantCode(t, err, http.StatusConflict, "conflict")
			}
		})
	}
	wg.Wait()
	if len(made) != identity.SandboxesEach {
		t.Fatalf("%d were made at once, of %d that one person may have", len(made), identity.SandboxesEach)
	}
	if err := dev.EndSandbox(t.Context(), made[0]); err != nil {
		t.Fatal(err)
	}
	if err := dev.EndSandbox(t.Context(), made[0]); err != nil {
		t.Errorf("ending it again: %v", err)
	}
	if _, err := dev.CreateSandbox(t.Context(), ""); err != nil {
		t.Errorf("after one has ended there is no room for another: %v", err)
	}
	refused := slices.DeleteFunc(events(t, s, "", policy.SandboxCreate), func(e audit.Event) bool { return e.Actor.ID != dev.ID || e.Outcome == audit.Done })
	if len(refused) != 5 || refused[0].Code != "conflict" {
		t.Errorf("the refusals left %+v", refused)
	}
}

func TestTheDayOfOnePersonIsBounded(t *testing.T) {
	t.Parallel()
	s := live.Start(t)
	root := superuser(t, s)
	dev := developer(t, s)
	for range identity.SandboxesADay {
		box, err := dev.CreateSandbox(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := dev.EndSandbox(t.Context(), box.Org); err != nil {
			t.Fatal(err)
		}
	}
	_, err := dev.CreateSandbox(t.Context(), "")
	wantCode(t, err, http.StatusConflict, "conflict")
	if _, err := root.Exec(t.Context(), `UPDATE platform.org SET created_at = created_at - interval '25 hours' WHERE sandbox_of::text = $1`, uuidOf(t, dev.ID)); err != nil {
		t.Fatal(err)
	}
	if _, err := dev.CreateSandbox(t.Context(), ""); err != nil {
		t.Errorf("the day after: %v", err)
	}
}

func TestAfterItsTimeNobodyEntersAndTheJobTakesEveryWayInAway(t *testing.T) {
	t.Parallel()
	s := live.Start(t)
	root := superuser(t, s)
	dev := developer(t, s)
	box, err := dev.CreateSandbox(t.Context(), "Short-lived")
	if err != nil {
		t.Fatal(err)
	}
	program := s.Client(t, box.Key)
	if _, err := root.Exec(t.Context(), `UPDATE platform.org SET expires_at = now() - interval '1 second' WHERE id::text = $1`, uuidOf(t, box.Org)); err != nil {
		t.Fatal(err)
	}
	s.SignIn(t, dev) // a session that no cache knows
	if _, err := dev.Organization(t.Context(), box.Org); client.Status(err) != http.StatusNotFound {
		t.Errorf("before the job has run, a person enters: %v", err)
	}
	if _, err := program.ListCollections(t.Context(), box.Org, client.List{}); client.Status(err) != http.StatusUnauthorized {
		t.Errorf("before the job has run, the key opens: %v", err)
	}
	in, err := s.Client(t, client.Secret{}).SignIn(t.Context(), dev.Email, dev.Password)
	if err != nil || slices.ContainsFunc(in.Organizations, func(o client.Organization) bool { return o.ID == box.Org }) {
		t.Errorf("before the job has run, the sign-in leads there: %+v, %v", in.Organizations, err)
	}
	who, err := id.ParsePerson(dev.ID)
	if err != nil {
		t.Fatal(err)
	}
	org, err := id.ParseOrg(box.Org)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := s.App.Identity.ForJob(t.Context(), id.NewJob(), who, org); err == nil {
		t.Errorf("before the job has run, a job that she left enters as %v", a)
	}
	if _, err := s.App.Identity.ExpireSandboxes(t.Context(), platform.Request{Actor: identity.System(id.NewServer())}); err != nil {
		t.Fatal(err)
	}
	var state string
	var members, keys int
	if err := root.QueryRow(t.Context(), `SELECT state, (SELECT count(*) FROM platform.membership m WHERE m.org_id = o.id),
 (SELECT count(*) FROM platform.api_key k WHERE k.org_id = o.id AND revoked_at IS NULL) FROM platform.org o WHERE id::text = $1`, uuidOf(t, box.Org)).Scan(&state, &members, &keys); err != nil {
		t.Fatal(err)
	}
	if state != "expired" || members != 0 || keys != 0 {
		t.Errorf("state %s, %d members, %d keys", state, members, keys)
	}
	list, err := dev.ListSandboxes(t.Context(), client.List{})
	if err != nil || len(list.Items) != 1 || list.Items[0].State != "expired" || list.Items[0].Name != "Short-lived" {
		t.Errorf("the list has %+v, %v", list, err)
	}
	for _, log := range []string{"", box.Org} {
		got := slices.DeleteFunc(events(t, s, log, policy.SandboxExpire), func(e audit.Event) bool { return !slices.Contains(e.Targets, box.Org) })
		if len(got) != 1 || got[0].Outcome != audit.Done || !slices.Contains(got[0].Targets, dev.ID) {
			t.Errorf("the log of %q says %+v", log, got)
		}
	}
	for o, err := range s.Admin(t).Organizations(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if o.ID == box.Org && o.State != "expired" {
			t.Errorf("whoever runs the installation sees it %s", o.State)
		}
	}
}

// Not in parallel with the others, to which it leaves no room.
func TestTheInstallationHasAHundredHoweverManyAskForTheLast(t *testing.T) {
	s := live.Start(t)
	root := superuser(t, s)
	first, second, crowd := developer(t, s), developer(t, s), developer(t, s)
	if _, err := first.CreateSandbox(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	// As many as leave room for one, in the shape of that one.
	if _, err := root.Exec(t.Context(), `INSERT INTO platform.org (id, placement, schema_name, role_name, slice, plan, profile, version, sandbox_of, expires_at)
 SELECT gen_random_uuid(), placement, schema_name, role_name, slice, plan, profile, version, $3::text::uuid, expires_at
 FROM platform.org, generate_series(1, $2) WHERE sandbox_of::text = $1`, uuidOf(t, first.ID), identity.SandboxesInAll-2, uuidOf(t, crowd.ID)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := root.Exec(context.Background(), `DELETE FROM platform.org WHERE sandbox_of::text = $1`, uuidOf(t, crowd.ID)); err != nil {
			t.Error(err)
		}
	})
	var wg sync.WaitGroup
	answers := make([]error, 2)
	for i, dev := range []*live.Person{first, second} {
		wg.Go(func() { _, answers[i] = dev.CreateSandbox(t.Context(), "") })
	}
	wg.Wait()
	if (answers[0] == nil) == (answers[1] == nil) {
		t.Fatalf("of two who asked for the last one, one gets it: %v, %v", answers[0], answers[1])
	}
	for _, dev := range []*live.Person{first, second} {
		_, err := dev.CreateSandbox(t.Context(), "")
		wantCode(t, err, http.StatusConflict, "conflict")
	}
	if _, err := root.Exec(t.Context(), `UPDATE platform.org SET expires_at = now() - interval '1 second'
 WHERE id = (SELECT id FROM platform.org WHERE sandbox_of::text = $1 LIMIT 1)`, uuidOf(t, crowd.ID)); err != nil {
		t.Fatal(err)
	}
	if _, err := second.CreateSandbox(t.Context(), ""); err != nil {
		t.Errorf("after one has expired: %v", err)
	}
}

// Whoever could make accounts in a sandbox of her own would learn which
// addresses have one, keep a way in after she is dismissed, and take the
// address of somebody who is still to come.
func TestASandboxMakesNoAccountsAndTellsNoAddress(t *testing.T) {
	t.Parallel()
	s := live.Start(t)
	dev, other := developer(t, s), developer(t, s)
	box, err := dev.CreateSandbox(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, address := range []string{other.Email, "somebody.new@example.org"} {
		_, err := dev.AddMember(t.Context(), box.Org, client.NewMember{Email: address, Name: "Somebody", Password: client.NewSecret("a sentence that nobody knows"), Roles: []client.Role{client.Scientist}})
		wantCode(t, err, http.StatusForbidden, "denied")
		words = append(words, err.(*client.Problem).Detail)
	}
	if words[0] != words[1] {
		t.Errorf("an address that has an account is told from one that has none: %q, %q", words[0], words[1])
	}
	if _, err := s.Client(t, client.Secret{}).SignIn(t.Context(), "somebody.new@example.org", client.NewSecret("a sentence that nobody knows")); client.Status(err) != http.StatusUnauthorized {
		t.Errorf("the account is there: %v", err)
	}
	code, err := other.CreateJoinCode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dev.AddMember(t.Context(), box.Org, client.NewMember{JoinCode: code.Code, Roles: []client.Role{client.Scientist}}); err != nil {
		t.Errorf("somebody who has an account does not come in by her code: %v", err)
	}
	added := events(t, s, box.Org, policy.MemberAdd)
	if len(added) != 3 || added[0].Outcome != audit.Denied || added[1].Outcome != audit.Denied || added[2].Outcome != audit.Done {
		t.Errorf("the log has %+v", added)
	}
}

func TestASwitchedOffInstallationMakesNone(t *testing.T) {
	t.Parallel()
	s := live.StartWith(t, live.Options{NoSandboxes: true})
	dev := developer(t, s)
	_, err := dev.CreateSandbox(t.Context(), "")
	wantCode(t, err, http.StatusForbidden, "denied")
	got := slices.DeleteFunc(events(t, s, "", policy.SandboxCreate), func(e audit.Event) bool { return e.Actor.ID != dev.ID })
	if len(got) != 1 || got[0].Outcome != audit.Denied {
		t.Errorf("the refusal left %+v", got)
	}
	if list, err := dev.ListSandboxes(t.Context(), client.List{}); err != nil || len(list.Items) != 0 {
		t.Errorf("the list has %+v, %v", list, err)
	}
}

func superuser(t *testing.T, s *live.Server) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.Doors.DB.URL("sr_root"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func uuidOf(t *testing.T, text string) string {
	t.Helper()
	if o, err := id.ParseOrg(text); err == nil {
		return o.UUID().String()
	}
	p, err := id.ParsePerson(text)
	if err != nil {
		t.Fatal(err)
	}
	return p.UUID().String()
}
