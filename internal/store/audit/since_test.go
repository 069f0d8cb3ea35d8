package audit_test

import (
	"testing"
	"time"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/identity/actortest"
	"strongroom/internal/store/audit"
	"strongroom/internal/testkit"
)

func TestSinceShowsWhatIsDurableTheMomentItsReceiptIsThere(t *testing.T) {
	t.Parallel()
	d := testkit.Open(t)
	org, other := testkit.Org(t, "pooled").ID, testkit.Org(t, "pooled").ID
	who := actortest.With(t, org, policy.Scientist)
	from := time.Now().Add(-time.Millisecond)
	var requests []id.Request
	for range 20 {
		r := id.NewRequest()
		receipt, err := d.Audit.Append(t.Context(), audit.Entry{Org: org, Request: r, Actor: who, Action: policy.RecordRead, Outcome: audit.Done})
		if err != nil {
			t.Fatal(err)
		}
		requests = append(requests, r)
		all, err := d.Audit.Since(t.Context(), org, from)
		if err != nil || len(all) != len(requests) {
			t.Fatalf("%d events, %v, after %d", len(all), err, len(requests))
		}
		last := all[len(all)-1]
		if last.ID != receipt.Event() || last.Request != r || last.Action != policy.RecordRead || len(last.Body) == 0 || len(last.Leaf) != 32 {
			t.Fatalf("%+v", last)
		}
	}
	if all, err := d.Audit.Since(t.Context(), other, from); err != nil || len(all) != 0 {
		t.Errorf("another organization's log has %d events, %v", len(all), err)
	}
	if all, err := d.Audit.Since(t.Context(), org, time.Now().Add(time.Minute)); err != nil || len(all) != 0 {
		t.Errorf("the future has %d events, %v", len(all), err)
	}
	// With their places, from 0 and without a gap.
	testkit.AllEvents(t, d, org)
	all, err := d.Audit.Since(t.Context(), org, from)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[int64]bool{}
	for _, e := range all {
		seen[e.Idx] = true
	}
	for i := range requests {
		if !seen[int64(i)] {
			t.Errorf("place %d is empty", i)
		}
	}
}
