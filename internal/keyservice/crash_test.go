package keyservice

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"strongroom/internal/base/id"
	"strongroom/internal/keyservice/internal/disk"
)

// sweep yields the steps to fail at: all of them in the long suite
// (STRONGROOM_LONG=1), else a sample that differs from run to run.
func sweep(steps int) iter.Seq[int] {
	stride := 9
	switch {
	case os.Getenv("STRONGROOM_LONG") != "":
		stride = 1
	case testing.Short():
		stride = 25
	}
	return func(yield func(int) bool) {
		for at := 1 + rand.IntN(stride); at <= steps; at += stride {
			if !yield(at) {
				return
			}
		}
	}
}

// script does everything that changes a store, until it ends or the service
// is dead. The orgs are given, so that a repeated create meets its first try.
func (w *world) script(s *service, orgs []id.Org) {
	for i, org := range orgs {
		if w.create(s, org) != nil {
			return
		}
		if i == 0 {
			if w.lease(s, org, firstStep-2) != nil || w.lease(s, org, 1000) != nil || w.lease(s, org, 1000) != nil {
				return
			}
		}
	}
	if _, err := s.rotate(context.Background(), struct{}{}); err != nil {
		return
	}
	_ = w.lease(s, orgs[len(orgs)-1], 10)
}

func TestAKillAtEveryStepLosesNothingAndRepeatsNoLeaf(t *testing.T) {
	t.Parallel()
	// How many steps there are, from an empty directory to the end.
	w := newWorld(t)
	count := &doom{}
	o := w.options()
	o.gate = count.gate
	s, stop, err := w.boot(o)
	if err != nil {
		t.Fatal(err)
	}
	w.script(s, []id.Org{id.NewOrg(), id.NewOrg()})
	w.intact(s)
	stop()
	steps := count.n
	t.Logf("%d steps", steps)
	if steps < 150 {
		t.Fatalf("only %d steps pass the gate", steps)
	}
	for at := range sweep(steps) {
		t.Run(fmt.Sprintf("before step %d", at), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			orgs := []id.Org{id.NewOrg(), id.NewOrg()}
			// Killed once in the work, then once more in the recovery.
			for _, d := range []*doom{{at: at}, {at: 1 + rand.IntN(60)}} {
				o := w.options()
				o.gate = d.gate
				if s, stop, err := w.boot(o); err == nil {
					w.script(s, orgs)
					stop()
				}
			}
			w.with(func(s *service) {
				w.intact(s)
				w.script(s, orgs)
				w.intact(s)
			})
			w.with(w.intact)
		})
	}
}

// A step that fails while the service lives on (a full disk, a guardian that
// hangs up) must leave it able to go on by itself.
func TestAFailureAtEveryStepIsRecoveredWithoutARestart(t *testing.T) {
	t.Parallel()
	for at := range sweep(220) {
		t.Run(fmt.Sprintf("at step %d", at), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.with(func(*service) {}) // the first start is another test's
			orgs := []id.Org{id.NewOrg(), id.NewOrg()}
			d := &doom{at: at}
			o := w.options()
			o.gate = d.gate
			s, stop, err := w.boot(o)
			if err != nil {
				return // it failed before it ran
			}
			defer stop()
			w.script(s, orgs)
			d.mu.Lock()
			d.at = 0 // what failed works again
			d.mu.Unlock()
			w.script(s, orgs)
			w.intact(s)
		})
	}
}

// Recovery from a loss is itself cut off at every step.
func TestAKillAtEveryStepOfARecoveryIsRecovered(t *testing.T) {
	t.Parallel()
	for at := range sweep(110) {
		t.Run(fmt.Sprintf("before step %d", at), func(t *testing.T) {
			t.Parallel()
			w := populated(t)
			w.wipe("zone-b")
			w.stopGuardian(1)
			w.wipe("guardian-b")
			w.startGuardian(1)
			d := &doom{at: at}
			o := w.options()
			o.gate = d.gate
			if s, stop, err := w.boot(o); err == nil {
				_ = w.create(s, id.NewOrg())
				stop()
			}
			w.with(w.intact)
		})
	}
}

func TestAKeyThatACrashLeftUndestroyedIsDestroyedAtTheNextStart(t *testing.T) {
	t.Parallel()
	for _, dies := range []string{"call", "answer"} { // before the guardian acts, and after
		w := populated(t)
		o := w.options()
		var mu sync.Mutex // the guardians are called at the same time
		dead := false
		o.gate = func(string) disk.Gate {
			return func(op, name string) error {
				mu.Lock()
				defer mu.Unlock()
				if dead = dead || op == dies && name == "destroy"; dead {
					return errKilled
				}
				return nil
			}
		}
		s, stop, err := w.boot(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.rotate(context.Background(), struct{}{}); err == nil {
			t.Error("a rotation was answered before the old key was destroyed")
		}
		stop()
		w.with(w.intact)
	}
}
