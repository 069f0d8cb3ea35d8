package keyservice

import (
	"bytes"
	"errors"
	"os"
	"testing"

	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/keyservice/internal/keyfile"
)

// ENC-2: one organization's key opens nothing of another's.
func TestOneOrganizationsKeyOpensNothingOfAnothers(t *testing.T) {
	t.Parallel()
	w := populated(t)
	w.with(func(s *service) {
		st := s.store.cur.Load()
		keys := map[keyfile.Key]id.Org{}
		for org := range w.orgs {
			e, _ := st.get(org.UUID())
			if was, ok := keys[e.Current().Top.Key]; ok {
				t.Errorf("%s and %s have one key", was, org)
			}
			keys[e.Current().Top.Key] = org
		}
		for k, owner := range keys {
			opened := 0
			for org := range w.orgs {
				e, _ := st.get(org.UUID())
				f := e.TopID(e.Current())
				b, err := s.store.zones[0].read(f, e.Current().Top.Hash)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := keyfile.Open(f, k, b); err == nil {
					opened++
					if org != owner {
						t.Errorf("the key of %s opens the tree of %s", owner, org)
					}
				}
				// Nor under the other's name.
				f.Org = owner.UUID()
				if _, err := keyfile.Open(f, k, b); err == nil && org != owner {
					t.Errorf("the key of %s opens the tree of %s, renamed", owner, org)
				}
			}
			if opened != 1 {
				t.Errorf("the key of %s opens %d trees", owner, opened)
			}
		}
	})
	// Swapped on disk, in both zones: neither is served with the other's.
	var pair []id.Org
	for org := range w.orgs {
		pair = append(pair, org)
	}
	for _, z := range []string{"zone-a", "zone-b"} {
		a, b := w.files(z, topPattern(pair[0])), w.files(z, topPattern(pair[1]))
		if len(a) != 1 || len(b) != 1 {
			t.Fatal("not one file for each")
		}
		tmp := w.path("tmp")
		for _, mv := range [][2]string{{w.path(a[0]), tmp}, {w.path(b[0]), w.path(a[0])}, {tmp, w.path(b[0])}} {
			if err := os.Rename(mv[0], mv[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.with(func(s *service) {
		for _, org := range pair[:2] {
			if _, err := leafKey(s, org, 5); err == nil || errors.Is(err, keytree.ErrPunctured) {
				t.Errorf("a swapped file gave %v", err)
			}
		}
	})
}

// A stolen copy of the store, without a guardian, holds no key in clear.
func TestTheStoreHoldsNoKeyInClear(t *testing.T) {
	t.Parallel()
	w := populated(t)
	var secrets [][]byte
	w.with(func(s *service) {
		st := s.store.cur.Load()
		secrets = append(secrets, st.emk[:])
		for _, r := range st.root.Pages {
			secrets = append(secrets, r.Key[:])
		}
		for org, leaf := range w.orgs {
			e, _ := st.get(org.UUID())
			secrets = append(secrets, e.Generations[0].Top.Key[:], leaf[:])
			c, _, _, _, err := s.store.cover(org.UUID(), 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range c.Nodes() {
				secrets = append(secrets, n.Seed[:])
			}
		}
	})
	disk := append(contents(t, w.path("zone-a")), contents(t, w.path("zone-b"))...)
	for _, s := range secrets {
		if bytes.Contains(disk, s) {
			t.Error("a key lies in a zone in clear")
		}
	}
	if !bytes.Contains(contents(t, w.path("guardian-a")), secrets[0]) {
		t.Error("the test cannot see a key that is there")
	}
}
