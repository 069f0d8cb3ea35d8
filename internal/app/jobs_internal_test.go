package app

import (
	"errors"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"strongroom/internal/feature"
	"strongroom/internal/store/tenant"
)

// Exports are anybody's to ask for and may run for hours: whatever their
// number, there are workers left for what sweeps, forgets and expires.
func TestLongJobsLeaveRoomForShortOnes(t *testing.T) {
	t.Parallel()
	if maxLongJobs >= maxJobs {
		t.Fatalf("%d long jobs of %d in all", maxLongJobs, maxJobs)
	}
	w := &doorWorker{jobs: map[string]feature.Job{"long": {Kind: "long", Most: time.Hour}}, long: make(chan struct{}, maxLongJobs)}
	for range maxLongJobs {
		w.long <- struct{}{}
	}
	err := w.Work(t.Context(), &river.Job[tenant.JobArgs]{JobRow: &rivertype.JobRow{}, Args: tenant.JobArgs{Job: "long"}})
	var later *river.JobSnoozeError
	if !errors.As(err, &later) || later.Duration != longAgain {
		t.Errorf("one more than there is room for: %v", err)
	}
	if len(w.long) != maxLongJobs {
		t.Errorf("%d hold a place", len(w.long))
	}
}
