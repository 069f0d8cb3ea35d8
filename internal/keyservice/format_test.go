package keyservice

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/keyservice/guardian"
)

func draw32(t *rapid.T) (b [32]byte) {
	copy(b[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "b"))
	return b
}

func drawRef(t *rapid.T) ref {
	return ref{revision: rapid.Uint64().Draw(t, "r"), key: draw32(t), hash: draw32(t)}
}

func TestRootsAndPagesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64()
		r := root{
			epoch: n.Draw(t, "epoch"), revision: n.Draw(t, "revision"), fence: n.Draw(t, "fence"), serial: n.Draw(t, "serial"),
			previous: draw32(t), ledger: guardian.Ledger{Size: n.Draw(t, "size"), Head: draw32(t)}, leases: n.Draw(t, "leases"),
			first: n.Draw(t, "first"), since: rapid.Int64().Draw(t, "since"), pages: map[uint8]ref{},
		}
		for _, p := range rapid.SliceOfNDistinct(rapid.Uint8(), 0, 5, rapid.ID).Draw(t, "pages") {
			r.pages[p] = drawRef(t)
		}
		got, err := parseRoot(r.marshal())
		if err != nil || fmt.Sprint(got) != fmt.Sprint(r) || !bytes.Equal(got.marshal(), r.marshal()) {
			t.Fatalf("a root came back otherwise: %v", err)
		}
		number := rapid.Uint8().Draw(t, "page")
		var es []entry
		for i := range rapid.IntRange(0, 4).Draw(t, "n") {
			e := entry{org: uuid.UUID{0: byte(i), 15: number}, mark: firstLeaf + uint64(i)}
			for g := range rapid.IntRange(1, 3).Draw(t, "g") {
				e.generations = append(e.generations, generation{number: uint32(g + 1), top: drawRef(t)})
			}
			es = append(es, e)
		}
		b := marshalPage(number, es)
		back, err := parsePage(number, b)
		if err != nil || !bytes.Equal(marshalPage(number, back), b) || len(back) != len(es) {
			t.Fatalf("a page came back otherwise: %v", err)
		}
		for i := range b {
			if _, err := parsePage(number, b[:i]); err == nil {
				t.Fatalf("the first %d bytes were taken for the page", i)
			}
		}
	})
}

func FuzzPlaintexts(f *testing.F) {
	tree, err := keytree.New(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(top{tree: tree}.marshal())
	if _, err := tree.Puncture(40); err != nil {
		f.Fatal(err)
	}
	f.Add(top{tree: tree, splits: map[uint16]ref{0: {revision: 3}}}.marshal())
	f.Add(root{epoch: 1, pages: map[uint8]ref{3: {revision: 2}}}.marshal())
	f.Add(marshalPage(1, []entry{{org: uuid.UUID{15: 1}, mark: 16, generations: []generation{{number: 1}}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseRoot(b); err == nil && !bytes.Equal(r.marshal(), b) {
			t.Error("a root has two spellings")
		}
		if len(b) > 1 {
			if es, err := parsePage(b[1], b); err == nil && !bytes.Equal(marshalPage(b[1], es), b) {
				t.Error("a page has two spellings")
			}
		}
		if v, err := parseTop(b); err == nil && !bytes.Equal(v.marshal(), b) {
			t.Error("a top has two spellings")
		}
	})
}

func FuzzFileName(f *testing.F) {
	for _, s := range []string{"root.1.2", "page.3.4", "page.300.4", "root.01.2", strings.Repeat("0a", 16) + ".1.top.3", strings.Repeat("0a", 16) + ".1.7.3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, inOrgs := range []bool{false, true} {
			if v, ok := parseName(s, inOrgs); ok && (v.name() != s || v.ofOrg() != inOrgs) {
				t.Errorf("%q was read as %q", s, v.name())
			}
		}
	})
}

func TestASealedFileOpensAsItselfOnly(t *testing.T) {
	t.Parallel()
	org := uuid.UUID(id.NewOrg().UUID())
	f := fileID{kind: kindTop, org: org, generation: 1, revision: 7}
	k := newKey()
	s, err := sealFile(f, k, []byte("seeds"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := openFile(f, k, s.data); err != nil || string(got) != "seeds" {
		t.Fatal(err)
	}
	other := f
	other.org[3] ^= 1
	for name, g := range map[string]fileID{
		"another organization": other,
		"another generation":   {kind: kindTop, org: org, generation: 2, revision: 7},
		"another revision":     {kind: kindTop, org: org, generation: 1, revision: 8},
		"another kind":         {kind: kindSplit, org: org, generation: 1, revision: 7},
	} {
		if _, err := openFile(g, k, s.data); !errors.Is(err, errDamaged) {
			t.Errorf("it opens as %s", name)
		}
	}
	for i := range s.data {
		bad := bytes.Clone(s.data)
		bad[i] ^= 1
		if _, err := openFile(f, k, bad); !errors.Is(err, errDamaged) {
			t.Errorf("it opens with byte %d changed", i)
		}
	}
	if _, err := openFile(f, k, s.data[:len(s.data)-1]); err == nil {
		t.Error("it opens cut short")
	}
}

// ENC-2: one organization's key opens nothing of another's.
func TestOneOrganizationsKeyOpensNothingOfAnothers(t *testing.T) {
	t.Parallel()
	w := populated(t)
	w.with(func(s *service) {
		st := s.store.cur.Load()
		keys := map[key]id.Org{}
		for org := range w.orgs {
			e, _ := st.get(org.UUID())
			if was, ok := keys[e.current().top.key]; ok {
				t.Errorf("%s and %s have one key", was, org)
			}
			keys[e.current().top.key] = org
		}
		for k, owner := range keys {
			opened := 0
			for org := range w.orgs {
				e, _ := st.get(org.UUID())
				f := e.topID(e.current())
				b, err := s.store.zones[0].read(f, e.current().top.hash)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := openFile(f, k, b); err == nil {
					opened++
					if org != owner {
						t.Errorf("the key of %s opens the tree of %s", owner, org)
					}
				}
				// Nor under the other's name.
				f.org = owner.UUID()
				if _, err := openFile(f, k, b); err == nil && org != owner {
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
		for _, r := range st.root.pages {
			secrets = append(secrets, r.key[:])
		}
		for org, leaf := range w.orgs {
			e, _ := st.get(org.UUID())
			secrets = append(secrets, e.generations[0].top.key[:], leaf[:])
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
