package records_test

import (
	"context"
	"strings"
	"testing"

	"strongroom/internal/base/id"
	"strongroom/internal/feature"
	"strongroom/internal/feature/records"
	"strongroom/internal/feature/trust"
	"strongroom/internal/testkit/live"
)

func TestSharedCachesBreakTheirPromise(t *testing.T) {
	s := live.Start(t)
	env, err := s.App.Env(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := records.New(s.App.Tenant, records.Options{})
	p, err := trust.New([]feature.Feature{records.Feature(r)}, func(context.Context) (feature.Env, error) { return env, nil })
	if err != nil {
		t.Fatal(err)
	}
	prove := func() trust.Proof {
		t.Helper()
		got, err := p.Prove(t.Context(), []string{"ISO-6"})
		if err != nil {
			t.Fatal(err)
		}
		return got[0]
	}
	if got := prove(); got.State != trust.Kept {
		t.Errorf("%+v", got)
	}
	var orgs []id.Org
	for _, c := range env.Everybody() {
		orgs = append(orgs, c.Org)
	}
	for i := range orgs[1:] {
		r.ShareCaches(orgs[i], orgs[i+1])
		if got := prove(); got.State != trust.Broken || !strings.Contains(got.Clauses[0].Evidence, "placement") {
			t.Errorf("%s and %s share a cache: %+v", orgs[i], orgs[i+1], got)
		}
		r.SeparateCaches()
	}
	if got := prove(); got.State != trust.Kept {
		t.Errorf("separate again: %+v", got)
	}
}
