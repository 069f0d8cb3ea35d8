package plans_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/feature/plans"
	"strongroom/internal/identity"
	"strongroom/internal/identity/actor"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/testkit"
	"strongroom/internal/web/api"
)

func TestMain(m *testing.M) { testkit.Main(m) }

var root = identity.System(id.NewServer())

// asRoot signs every request in as the installation.
type asRoot struct{}

func (asRoot) Authenticate(context.Context, *http.Request) (actor.Actor, error) { return root, nil }

func open(t *testing.T) (*testkit.Doors, *plans.Service, http.Handler) {
	t.Helper()
	d := testkit.Open(t)
	s := plans.New(d.Platform)
	h, err := api.New(api.Options{Features: []feature.Feature{plans.Feature(s)}, Doors: feature.ThroughStores(d.Tenant, d.Platform), Auth: asRoot{}, Record: d.Tenant, Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return d, s, h
}

func call(t *testing.T, h http.Handler, method, path, match string, body any) (int, []byte, id.Request) {
	t.Helper()
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	r := httptest.NewRequestWithContext(context.WithoutCancel(t.Context()), method, "https://strongroom.test"+path, bytes.NewReader(b))
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if match != "" {
		r.Header.Set("If-Match", match)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	request, err := id.ParseRequest(w.Header().Get(api.RequestIDHeader))
	if err != nil {
		t.Fatal("the answer names no request")
	}
	return w.Code, w.Body.Bytes(), request
}

func TestThePlansComeAsTheyWereDecided(t *testing.T) {
	_, s, _ := open(t)
	all, err := s.List(t.Context(), root)
	if err != nil || len(all) != 3 {
		t.Fatalf("%+v, %v", all, err)
	}
	pilot, team, enterprise := all[0], all[1], all[2]
	if pilot.ID != "pilot" || team.ID != "team" || enterprise.ID != "enterprise" {
		t.Errorf("%s, %s, %s", pilot.ID, team.ID, enterprise.ID)
	}
	if f := pilot.Features; !f.Password || !f.MFA || !f.Roles || f.ServiceAccounts || f.APIKeys || f.SSO || pilot.Periods.Evaluation != 30 || pilot.Audit != "none" {
		t.Errorf("%+v", pilot)
	}
	if f := team.Features; !f.ServiceAccounts || !f.APIKeys || f.SSO || f.Dedicated || team.Audit != "basic" {
		t.Errorf("%+v", team)
	}
	if enterprise.Features != (plans.Features{true, true, true, true, true, true, true, true, true, true}) || enterprise.Audit != "full" {
		t.Errorf("something is off on the plan of a self-hosted installation: %+v", enterprise)
	}
	// What people can be on is what there is.
	for i, name := range identity.Plans {
		if all[i].ID != name {
			t.Errorf("an organization may be on %s", name)
		}
	}
}

func TestAnEditCountsAtOnceAndIsOnRecord(t *testing.T) {
	d, s, h := open(t)
	all, err := s.List(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	before := all[1]
	t.Cleanup(func() {
		now, err := s.List(context.WithoutCancel(t.Context()), root)
		if err == nil {
			status, _, _ := call(t, h, "PUT", "/v1/plans/team", feature.VersionTag(now[1].Version).String(), before.Spec)
			if status != 200 {
				t.Errorf("the plan is not put back: %d", status)
			}
		}
	})
	spec := before.Spec
	spec.Features.SSO, spec.Limits.PerPerson, spec.Description = true, 42, "With single sign-on."
	status, body, request := call(t, h, "PUT", "/v1/plans/team", feature.VersionTag(before.Version).String(), spec)
	if status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	testkit.WantEvents(t, d, id.Installation, request, testkit.Event{Action: policy.PlanUpdate, Outcome: audit.Done})
	if e := testkit.Events(t, d, id.Installation, request)[0]; e.Counts["plan_team_version"] != int64(before.Version)+1 {
		t.Errorf("the event does not say which plan: %+v", e)
	}
	after, err := s.List(t.Context(), root)
	if err != nil || after[1].Spec != spec || after[1].Version != before.Version+1 {
		t.Errorf("%+v, %v", after[1], err)
	}
	if status, _, _ := call(t, h, "PUT", "/v1/plans/team", feature.VersionTag(before.Version).String(), spec); status != 412 {
		t.Errorf("by a version that is over: %d", status)
	}
	if status, _, _ := call(t, h, "PUT", "/v1/plans/team", "", spec); status != 428 {
		t.Errorf("without a version: %d", status)
	}
}

func TestWhatIsNoPlanIsRefused(t *testing.T) {
	_, s, h := open(t)
	all, err := s.List(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"installation", "gold", "x"} {
		if status, _, _ := call(t, h, "GET", "/v1/plans/"+name, "", nil); status != 404 {
			t.Errorf("GET %s: %d", name, status)
		}
		if status, _, _ := call(t, h, "PUT", "/v1/plans/"+name, `"1"`, all[0].Spec); status != 404 {
			t.Errorf("PUT %s: %d", name, status)
		}
	}
	text, err := json.Marshal(all[0].Spec)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string][2]string{
		"a feature that there is not": {`"mfa":`, `"gold":true,"mfa":`},
		"a feature that is left out":  {`"mfa":true,`, ``},
		"an audit of its own making":  {`"none"`, `"some"`},
		"a purge after a year":        {`"purge_after_days":30`, `"purge_after_days":365`},
		"a negative limit":            {`"requests_per_minute_person":300`, `"requests_per_minute_person":-1`},
		"no title":                    {`"title":"Pilot"`, `"title":""`},
	} {
		changed := strings.Replace(string(text), change[0], change[1], 1)
		if changed == string(text) {
			t.Fatalf("%s: nothing is changed in %s", name, text)
		}
		if status, body, _ := call(t, h, "PUT", "/v1/plans/pilot", `"1"`, json.RawMessage(changed)); status != 422 {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if status, body, _ := call(t, h, "GET", "/v1/plans/pilot", "", nil); status != 200 || !bytes.Contains(body, []byte(`"version":1`)) {
		t.Errorf("%d %s", status, body)
	}
}

func TestNobodyElseMayEditAPlan(t *testing.T) {
	d, s, _ := open(t)
	if _, err := s.List(t.Context(), actor.Actor{}); !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("nobody: %v", err)
	}
	_, _, err := platform.Do(t.Context(), d.Platform, platform.Request{Actor: actor.Actor{}, Action: policy.PlanUpdate}, func(context.Context, *platform.Tx) (struct{}, error) {
		return struct{}{}, errors.New("was let in")
	})
	if !fault.Is(err, fault.Unauthenticated) {
		t.Errorf("nobody edits: %v", err)
	}
}

// The database itself keeps an organization on a plan that there is.
func TestAnOrganizationIsOnAPlanThatThereIs(t *testing.T) {
	d, _, _ := open(t)
	p, err := platform.NewProvisioner(t.Context(), d.DB.URL("sr_provisioner"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	org := id.NewOrg()
	if err := d.CreateOrg(t.Context(), org); err != nil {
		t.Fatal(err)
	}
	if _, err := p.CreateOrg(t.Context(), platform.NewOrg{ID: org, Plan: "gold", Placement: platform.PlacementPooled}); !fault.Is(err, fault.Invalid) {
		t.Errorf("an organization on a plan that there is not: %v", err)
	}
	if _, err := p.CreateOrg(t.Context(), platform.NewOrg{ID: org, Plan: "team", Placement: platform.PlacementPooled}); err != nil {
		t.Error(err)
	}
}
