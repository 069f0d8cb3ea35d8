package app_test

import (
	"flag"
	"log/slog"
	"testing"

	"strongroom/client"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/store/audit"
	"strongroom/internal/testkit"
	"strongroom/internal/testkit/apitest"
	"strongroom/internal/testkit/live"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { testkit.Main(m) }

// roleOf gives each role its name in the client.
var roleOf = map[policy.Role]client.Role{policy.Scientist: client.Scientist, policy.Analyst: client.Analyst, policy.OrgAdmin: client.OrgAdmin,
	policy.SecurityAdmin: client.SecurityAdmin, policy.BillingAdmin: client.BillingAdmin}

func TestEveryOperationRefusesWhoMayNotInEveryPlacement(t *testing.T) {
	s := live.Start(t)
	w := apitest.World{Server: s.App.API, Log: func(t testing.TB, org id.Org) []audit.Event { return testkit.AllEvents(t, s.Doors, org) }}
	admin := s.Admin(t)
	for _, placement := range []string{"schema", "pooled"} {
		org, other := s.Org(t, placement), s.Org(t, placement)
		s.SignIn(t, admin) // a session for this placement alone, as trying everything ends it
		p := apitest.Placement{Name: placement, Tokens: map[policy.Role]string{policy.SystemAdmin: admin.Token.Reveal()}, Stranger: other.Owner.Token.Reveal()}
		var err error
		if p.Org, err = id.ParseOrg(org.ID); err != nil {
			t.Fatal(err)
		}
		for role, name := range roleOf {
			p.Tokens[role] = org.Member(t, name).Token.Reveal()
		}
		w.Placements = append(w.Placements, p)
	}
	apitest.Access(t, w)
}

func TestTheDescriptionIsTheCodesOwn(t *testing.T) {
	s := live.Start(t)
	apitest.OpenAPI(t, s.App.API, "testdata/openapi.golden.json", *update)
}

func TestTheUnauditedRoutesAreAGoldenList(t *testing.T) {
	s := live.Start(t)
	testkit.Golden(t, "testdata/unaudited.golden", s.App.Front.Unaudited(), *update)
}

// It comes last: the log does not come back in it.
func TestZNoOperationAnswersWithoutALog(t *testing.T) {
	s := live.StartWith(t, live.Options{Log: slog.New(slog.DiscardHandler)}) // one line a refusal
	org := s.Org(t, "schema")
	o, err := id.ParseOrg(org.ID)
	if err != nil {
		t.Fatal(err)
	}
	s.App.Audit.Close()
	apitest.NothingWithoutLog(t, s.App.API, o, org.Owner.Token.Reveal())
}
