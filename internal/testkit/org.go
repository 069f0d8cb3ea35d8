package testkit

import (
	"testing"

	"strongroom/internal/base/id"
	"strongroom/internal/store/platform"
)

// Organization is an organization made for one test.
type Organization struct {
	ID id.Org
	platform.Placement
}

// Org makes an organization in the package's database, in the placement
// "schema" or "pooled". Nothing removes it before the database goes: each
// case has one of its own.
func Org(t testing.TB, placement string) Organization {
	t.Helper()
	org := id.NewOrg()
	if err := Open(t).CreateOrg(t.Context(), org); err != nil {
		t.Fatalf("testkit: keys: %v", err)
	}
	at, err := Database(t).provisioner.CreateOrg(t.Context(), platform.NewOrg{ID: org, Placement: placement, Plan: "enterprise"})
	if err != nil {
		t.Fatalf("testkit: %v", err)
	}
	return Organization{ID: org, Placement: at}
}

// EachPlacement runs a test in both placements, in parallel: isolation is a
// placement, not a code path, so what holds in one must hold in the other.
func EachPlacement(t *testing.T, test func(t *testing.T, placement string)) {
	t.Helper()
	for _, placement := range []string{platform.PlacementSchema, platform.PlacementPooled} {
		t.Run(placement, func(t *testing.T) {
			t.Parallel()
			test(t, placement)
		})
	}
}
