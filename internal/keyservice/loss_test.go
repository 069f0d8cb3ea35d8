package keyservice

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/keyservice/internal/wire"
)

// populated is a world with two organizations, in its second epoch.
func populated(t *testing.T) *world {
	w := newWorld(t)
	w.with(func(s *service) {
		w.script(s, []id.Org{id.NewOrg(), id.NewOrg()})
		w.intact(s)
	})
	return w
}

func TestAnEmptiedZoneIsFilledFromTheOtherOne(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"zone-a", "zone-b"} {
		for name, wipe := range map[string]func(*world){
			"with its folder":      func(w *world) { w.wipe(zone) },
			"but not its folder":   func(w *world) { w.wipe(zone); _ = os.Mkdir(w.path(zone), 0o700) },
			"of its organizations": func(w *world) { w.wipe(zone + "/orgs") },
			"of its roots": func(w *world) {
				for _, f := range w.files(zone, "root.*") {
					w.wipe(f)
				}
			},
			"of its pages": func(w *world) {
				for _, f := range w.files(zone, "page.*") {
					w.wipe(f)
				}
			},
		} {
			t.Run(zone+" "+name, func(t *testing.T) {
				t.Parallel()
				w := populated(t)
				wipe(w)
				w.with(w.intact)
				if !w.logs.has("was refilled") {
					t.Error("the refill was silent")
				}
			})
		}
	}
}

func TestAZoneEmptiedWhileTheServiceRunsIsFilledAgain(t *testing.T) {
	t.Parallel()
	w := populated(t)
	w.with(func(s *service) {
		w.wipe("zone-b")
		if s.store.present() {
			t.Fatal("the loss was not noticed")
		}
		s.store.settled.Store(false) // what watch does
		if err := w.create(s, id.NewOrg()); err != nil {
			t.Fatalf("after the loss of a zone: %v", err)
		}
		w.intact(s)
	})
}

func TestAMissingMountPointIsNotWrittenBeneath(t *testing.T) {
	t.Parallel()
	w := populated(t)
	o := w.options()
	o.ZoneB = w.path("not-mounted/zone-b")
	s, stop, err := w.boot(o)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for org, want := range w.orgs {
		if got, err := leafKey(s, org, 5); err != nil || got != want {
			t.Errorf("reads do not go on with one zone: %v", err)
		}
	}
	if err := w.create(s, id.NewOrg()); !wire.Is(err, wire.Unavailable) || !strings.Contains(err.Error(), "zone b") {
		t.Errorf("a write with one zone: %v", err)
	}
	if _, err := os.Stat(w.path("not-mounted")); err == nil {
		t.Error("the missing parent was made")
	}
}

func TestWithOneGuardianDownReadsGoOnAndWritesWait(t *testing.T) {
	t.Parallel()
	for i := range 2 {
		w := populated(t)
		check := func(s *service) {
			t.Helper()
			for org, want := range w.orgs {
				if got, err := leafKey(s, org, 5); err != nil || got != want {
					t.Errorf("reads do not go on: %v", err)
				}
			}
			err := w.create(s, id.NewOrg())
			if want := "guardian " + string(rune('a'+i)) + " does not answer: keys can be read"; !wire.Is(err, wire.Unavailable) || !strings.Contains(err.Error(), want) {
				t.Errorf("a write said %q, not %q", err, want)
			}
			st, err := s.status(t.Context(), wire.Empty{})
			if err != nil || st.State != "degraded" || len(st.Trouble) == 0 {
				t.Errorf("the status is %s %v %v", st.State, st.Trouble, err)
			}
		}
		w.with(func(s *service) {
			w.stopGuardian(i)
			_ = w.create(s, id.NewOrg()) // the first to notice
			check(s)
			w.startGuardian(i)
			w.intact(s)
			w.stopGuardian(i)
			s.pulse(t.Context())
			check(s)
		})
		w.with(check) // also from a start
		w.startGuardian(i)
		w.with(w.intact)
	}
}

func TestALostGuardianIsEnrolledAnew(t *testing.T) {
	t.Parallel()
	for _, running := range []bool{false, true} {
		w := populated(t)
		w.with(func(s *service) {
			lose := func() { w.stopGuardian(1); w.wipe("guardian-b"); w.startGuardian(1) }
			if running {
				lose()
				s.pulse(t.Context())
				w.intact(s)
				return
			}
			defer lose()
		})
		w.with(w.intact)
		// The new one alone opens everything.
		w.stopGuardian(0)
		w.with(func(s *service) {
			for org, want := range w.orgs {
				if got, err := leafKey(s, org, 5); err != nil || got != want {
					t.Errorf("the enrolled guardian does not open the store: %v", err)
				}
			}
		})
	}
}

func TestARolledBackGuardianIsNamedAndNotUsed(t *testing.T) {
	t.Parallel()
	for name, later := range map[string]func(*world, *service) error{
		"by an epoch": func(w *world, s *service) error { _, err := s.rotate(context.Background(), struct{}{}); return err },
		"by a revision": func(w *world, s *service) error {
			return errors.Join(w.create(s, id.NewOrg()), w.create(s, id.NewOrg()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := populated(t)
			w.stopGuardian(1)
			back := w.snapshot("guardian-b")
			w.startGuardian(1)
			w.with(func(s *service) {
				if err := later(w, s); err != nil {
					t.Fatal(err)
				}
			})
			w.stopGuardian(1)
			back()
			w.startGuardian(1)
			w.with(func(s *service) {
				err := w.create(s, id.NewOrg())
				if !wire.Is(err, wire.Unavailable) || !strings.Contains(err.Error(), "guardian b") || !strings.Contains(err.Error(), "it was rolled back and is not used") {
					t.Errorf("a write said %v", err)
				}
				for org, want := range w.orgs {
					if got, err := leafKey(s, org, 5); err != nil || got != want {
						t.Errorf("reads do not go on: %v", err)
					}
				}
			})
			w.stopGuardian(0) // alone, it opens nothing
			_, stop, err := w.boot(w.options())
			if err == nil {
				stop()
				t.Error("a service started on a rolled-back guardian alone")
			}
			w.startGuardian(0)
			w.stopGuardian(1) // the way on that the sentence names
			w.wipe("guardian-b")
			w.startGuardian(1)
			w.with(w.intact)
		})
	}
}

func TestAZoneThatWasRolledBackIsHealedAndBothAreRefused(t *testing.T) {
	t.Parallel()
	for name, rotate := range map[string]bool{"within an epoch": false, "across epochs": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := populated(t)
			a, b := w.snapshot("zone-a"), w.snapshot("zone-b")
			var before uint64
			w.with(func(s *service) {
				before = s.store.cur.Load().root.Revision - 1 // of the copies
				if rotate {
					if _, err := s.rotate(context.Background(), struct{}{}); err != nil {
						t.Fatal(err)
					}
				}
				w.intact(s)
			})
			a()
			w.with(w.intact)
			b()
			w.with(w.intact)
			a()
			b()
			w.refuses(w.options(), "the key store was rolled back")
			if rotate {
				return
			}
			// The operator has no newer copy and accepts the loss, by the very
			// number that the sentence named.
			o := w.options()
			o.AcceptRevision = before - 1
			w.refuses(o, "the key store was rolled back")
			o.AcceptRevision = before
			s, stop, err := w.boot(o)
			if err != nil {
				t.Fatal(err)
			}
			for org := range w.orgs {
				if _, err := leafKey(s, org, 5); errors.Is(err, errUnknownOrg) {
					delete(w.orgs, org) // made after the copy: the loss that was accepted
				}
			}
			if len(w.orgs) == 0 {
				t.Fatal("nothing is left")
			}
			w.intact(s) // above all, no leaf comes again
			stop()
			w.with(w.intact)
		})
	}
}

func TestWithoutAnyGuardianTheServiceRefuses(t *testing.T) {
	t.Parallel()
	w := populated(t)
	zone := w.snapshot("zone-a", "zone-b")
	before := contents(t, w.path("zone-a"))
	w.stopGuardian(0)
	w.stopGuardian(1)
	w.refuses(w.options(), "no guardian answers")
	w.wipe("guardian-a")
	w.wipe("guardian-b")
	w.startGuardian(0)
	w.refuses(w.options(), "the guardians that answer are empty, and one does not answer")
	w.startGuardian(1)
	w.refuses(w.options(), "all guardians are empty and zone")
	if !bytes.Equal(before, contents(t, w.path("zone-a"))) {
		t.Error("the store was changed by a start that was refused")
	}
	zone()
}

// contents is every byte of a store.
func contents(t *testing.T, dir string) []byte {
	t.Helper()
	var all []byte
	for _, pattern := range []string{"*", "orgs/*"} {
		names, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, n := range names {
			if b, err := os.ReadFile(n); err == nil {
				all = append(append(all, n...), b...)
			}
		}
	}
	return all
}

func TestARunningServiceStopsRenewingLeasesWhenNoGuardianConfirmsIt(t *testing.T) {
	t.Parallel()
	w := populated(t)
	w.with(func(s *service) {
		beat := heartbeatRequest{Client: strings.Repeat("ab", 16)}
		if _, err := s.heartbeat(t.Context(), beat); err != nil {
			t.Fatal(err)
		}
		s.began = s.began.Add(-MaxLease - time.Second) // as much time passes
		if _, err := s.heartbeat(t.Context(), beat); !wire.Is(err, wire.Unavailable) {
			t.Errorf("a lease was renewed: %v", err)
		}
		s.pulse(t.Context())
		if _, err := s.heartbeat(t.Context(), beat); err != nil {
			t.Errorf("with the guardians back: %v", err)
		}
	})
}

func TestEveryDamagedFileInOneZoneIsRepairedLoudly(t *testing.T) {
	t.Parallel()
	const of = 3
	for _, pattern := range []string{"root.*", "page.*", "*.top.*"} {
		for part := range of + 1 {
			w := populated(t)
			for _, f := range w.files("zone-a", pattern) {
				w.flip(f, part, of)
			}
			w.with(func(s *service) {
				s.store.scrub(t.Context())
				w.intact(s)
			})
			if !w.logs.has("damaged") && !w.logs.has("cannot be opened") {
				t.Errorf("%s: damage at %d/%d was silent", pattern, part, of)
			}
			if len(w.files("zone-a/damaged", "*"))+len(w.files("zone-a/orgs/damaged", "*")) == 0 {
				t.Errorf("%s: the damaged file was not set aside", pattern)
			}
		}
	}
}

func TestDamageInBothZonesIsRefusedOrNamed(t *testing.T) {
	t.Parallel()
	for pattern, sentence := range map[string]string{
		"root.*": "no zone holds a whole root",
		"page.*": "is damaged in both zones",
	} {
		w := populated(t)
		for _, z := range []string{"zone-a", "zone-b"} {
			for _, f := range w.files(z, pattern) {
				w.flip(f, 1, 2)
			}
		}
		w.refuses(w.options(), sentence)
	}
	// One organization's keys gone everywhere: it alone fails, and loudly.
	w := populated(t)
	var victim id.Org
	for org := range w.orgs {
		victim = org
	}
	for _, z := range []string{"zone-a", "zone-b"} {
		for _, f := range w.files(z, topPattern(victim)) {
			w.flip(f, 1, 2)
		}
	}
	w.with(func(s *service) {
		for org, want := range w.orgs {
			got, err := leafKey(s, org, 5)
			if org == victim && (err == nil || errors.Is(err, keytree.ErrPunctured)) {
				t.Errorf("damaged keys gave %v; it must be an error, and not an erasure", err)
			}
			if org != victim && (err != nil || got != want) {
				t.Errorf("another organization fails with it: %v", err)
			}
		}
		if st, _ := s.status(t.Context(), wire.Empty{}); st.State != "damaged" {
			t.Errorf("the status is %s", st.State)
		}
		if err := w.create(s, id.NewOrg()); err != nil {
			t.Errorf("the others cannot go on: %v", err)
		}
	})
	if !w.logs.has(victim.String()) {
		t.Error("the log does not name the organization")
	}
}

func TestADamagedMarkerIsWrittenAnewWhereTheRootsOpen(t *testing.T) {
	t.Parallel()
	w := populated(t)
	w.flip("zone-a/zone", 1, 2)
	w.flip("zone-b/zone", 1, 3)
	w.with(w.intact)
	if !w.logs.has("marker") {
		t.Error("the damage was silent")
	}
	w.flip("zone-b/zone", 1, 2)
	for _, f := range w.files("zone-b", "root.*") {
		w.flip(f, 1, 2) // nothing says any more that this is ours
	}
	s, stop, err := w.boot(w.options())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := w.create(s, id.NewOrg()); !wire.Is(err, wire.Unavailable) || !strings.Contains(err.Error(), "the file zone is damaged") {
		t.Errorf("a write said %v", err)
	}
}

func topPattern(org id.Org) string { return strings.ReplaceAll(org.UUID().String(), "-", "") + ".*" }

func TestAnotherInstallationsZoneIsRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	w, other := populated(t), populated(t)
	before := contents(t, other.path("zone-b"))
	o := w.options()
	o.ZoneB = other.path("zone-b")
	w.refuses(o, "belongs to another installation")
	if !bytes.Equal(before, contents(t, other.path("zone-b"))) {
		t.Error("the other installation's zone was changed")
	}
	o = w.options()
	o.Guardians[1] = other.socket(1)
	w.refuses(o, "the guardians disagree")
	o = w.options()
	o.ZoneB = o.ZoneA
	w.refuses(o, "another key service serves it")
	w.with(w.intact)
	other.with(other.intact)
}

func TestASecondKeyServiceOverTheStoreIsRefused(t *testing.T) {
	t.Parallel()
	w := populated(t)
	w.with(func(s *service) {
		w.refuses(w.options(), "another key service serves it")
		w.intact(s)
	})
}

// Two key services whose locks do not see each other (another host, a file
// system without locks): the guardians' counter decides, the first stops, and
// no leaf is handed out by both.
func TestAKeyServiceThatWasTakenOverStops(t *testing.T) {
	t.Parallel()
	w := populated(t)
	unlock := func() { w.wipe("zone-a/lock"); w.wipe("zone-b/lock") }
	w.with(func(first *service) {
		orgs := []id.Org{id.NewOrg(), id.NewOrg()}
		if err := errors.Join(w.create(first, orgs[0]), w.lease(first, orgs[0], 10)); err != nil {
			t.Fatal(err)
		}
		unlock()
		w.with(func(second *service) {
			w.intact(second)
			if err := w.lease(first, orgs[0], 10); err != nil { // reserved before: its own for ever
				t.Fatal(err)
			}
			if err := w.create(first, orgs[1]); err == nil {
				t.Error("the first key service still writes")
			}
			if err := w.create(first, orgs[1]); err == nil || !strings.Contains(err.Error(), "taken the store over") {
				t.Errorf("the first key service said %v", err)
			}
			w.intact(second)
		})
	})
	w.with(w.intact)
}

func TestASharedFolderIsNoSecondZone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := os.Mkdir(w.path("zone-a"), 0o755); err != nil {
		t.Fatal(err)
	}
	w.refuses(w.options(), "it holds keys, so it must be 0700")
}
