package tenant_test

import (
	"testing"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/identity/actortest"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
)

func TestAProbeReachesNobodyAndIsOnTheRecord(t *testing.T) {
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		d := testkit.Open(t)
		mine := testkit.Org(t, placement)
		who := actortest.With(t, mine.ID, policy.Scientist)
		for _, other := range []string{"schema", "pooled"} {
			theirs := testkit.Org(t, other)
			r := tenant.Request{Actor: who, Org: mine.ID, Action: policy.RecordRead, ID: id.NewRequest()}
			tried, receipt, err := tenant.Probe(t.Context(), d.Tenant, r, tenant.Victim{Org: theirs.ID, Record: id.NewRecord(), Collection: id.NewCollection()})
			if err != nil || receipt.IsZero() || len(tried) < 60 {
				t.Fatalf("%d attempts, %v", len(tried), err)
			}
			refused := 0
			for _, a := range tried {
				if a.Reached {
					t.Errorf("into %s: %s got through", other, a.Name)
				}
				if a.Code != "" {
					refused++
				}
			}
			if refused < 40 {
				t.Errorf("into %s: %d of %d were refused", other, refused, len(tried))
			}
			testkit.WantEvents(t, d, mine.ID, r.ID, testkit.Event{Action: policy.RecordRead, Outcome: audit.Done})
		}
	})
}

func TestAProbeGoesAfterNobodyWithoutARightToBeThere(t *testing.T) {
	t.Parallel()
	d := testkit.Open(t)
	mine, theirs := testkit.Org(t, "pooled").ID, testkit.Org(t, "pooled").ID
	who := actortest.With(t, mine, policy.Scientist)
	if _, _, err := tenant.Probe(t.Context(), d.Tenant, tenant.Request{Actor: who, Org: mine, Action: policy.RecordRead}, tenant.Victim{Org: mine}); err == nil {
		t.Error("an organization was probed from inside itself")
	}
	if _, _, err := tenant.Probe(t.Context(), d.Tenant, tenant.Request{Actor: who, Org: theirs, Action: policy.RecordRead}, tenant.Victim{Org: mine}); !fault.Is(err, fault.NotFound) {
		t.Errorf("a stranger was let in: %v", err)
	}
	if _, _, err := tenant.Probe(t.Context(), d.Tenant, tenant.Request{Actor: who, Org: mine, Action: policy.ExportRun}, tenant.Victim{Org: theirs}); !fault.Is(err, fault.Denied) {
		t.Errorf("without the role: %v", err)
	}
}
