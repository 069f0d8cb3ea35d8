package keyfile

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
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

func drawRef(t *rapid.T) Ref {
	return Ref{Revision: rapid.Uint64().Draw(t, "r"), Key: draw32(t), Hash: draw32(t)}
}

func TestRootsAndPagesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64()
		r := Root{
			Epoch: n.Draw(t, "epoch"), Revision: n.Draw(t, "revision"), Fence: n.Draw(t, "fence"), Serial: n.Draw(t, "serial"),
			Previous: draw32(t), Ledger: guardian.Ledger{Size: n.Draw(t, "size"), Head: draw32(t)}, Leases: n.Draw(t, "leases"),
			First: n.Draw(t, "first"), Since: rapid.Int64().Draw(t, "since"), Pages: map[uint8]Ref{},
		}
		for _, p := range rapid.SliceOfNDistinct(rapid.Uint8(), 0, 5, rapid.ID).Draw(t, "pages") {
			r.Pages[p] = drawRef(t)
		}
		got, err := ParseRoot(r.Marshal())
		if err != nil || fmt.Sprint(got) != fmt.Sprint(r) || !bytes.Equal(got.Marshal(), r.Marshal()) {
			t.Fatalf("a root came back otherwise: %v", err)
		}
		number := rapid.Uint8().Draw(t, "page")
		var es []Entry
		for i := range rapid.IntRange(0, 4).Draw(t, "n") {
			e := Entry{Org: uuid.UUID{0: byte(i), 15: number}, Mark: FirstLeaf + uint64(i)}
			for g := range rapid.IntRange(1, 3).Draw(t, "g") {
				e.Generations = append(e.Generations, Generation{Number: uint32(g + 1), Top: drawRef(t)})
			}
			es = append(es, e)
		}
		b := MarshalPage(number, es)
		back, err := ParsePage(number, b)
		if err != nil || !bytes.Equal(MarshalPage(number, back), b) || len(back) != len(es) {
			t.Fatalf("a page came back otherwise: %v", err)
		}
		for i := range b {
			if _, err := ParsePage(number, b[:i]); err == nil {
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
	f.Add(Top{Tree: tree}.Marshal())
	if _, err := tree.Puncture(40); err != nil {
		f.Fatal(err)
	}
	f.Add(Top{Tree: tree, Splits: map[uint16]Ref{0: {Revision: 3}}}.Marshal())
	f.Add(Root{Epoch: 1, Pages: map[uint8]Ref{3: {Revision: 2}}}.Marshal())
	f.Add(MarshalPage(1, []Entry{{Org: uuid.UUID{15: 1}, Mark: 16, Generations: []Generation{{Number: 1}}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseRoot(b); err == nil && !bytes.Equal(r.Marshal(), b) {
			t.Error("a root has two spellings")
		}
		if len(b) > 1 {
			if es, err := ParsePage(b[1], b); err == nil && !bytes.Equal(MarshalPage(b[1], es), b) {
				t.Error("a page has two spellings")
			}
		}
		if v, err := ParseTop(b); err == nil && !bytes.Equal(v.Marshal(), b) {
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
			if v, ok := ParseName(s, inOrgs); ok && (v.Name() != s || v.OfOrg() != inOrgs) {
				t.Errorf("%q was read as %q", s, v.Name())
			}
		}
	})
}

func TestASealedFileOpensAsItselfOnly(t *testing.T) {
	t.Parallel()
	org := uuid.UUID(id.NewOrg().UUID())
	f := ID{Kind: KindTop, Org: org, Generation: 1, Revision: 7}
	k := NewKey()
	s, err := Seal(f, k, []byte("seeds"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Open(f, k, s.Data); err != nil || string(got) != "seeds" {
		t.Fatal(err)
	}
	other := f
	other.Org[3] ^= 1
	for name, g := range map[string]ID{
		"another organization": other,
		"another generation":   {Kind: KindTop, Org: org, Generation: 2, Revision: 7},
		"another revision":     {Kind: KindTop, Org: org, Generation: 1, Revision: 8},
		"another kind":         {Kind: KindSplit, Org: org, Generation: 1, Revision: 7},
	} {
		if _, err := Open(g, k, s.Data); !errors.Is(err, ErrDamaged) {
			t.Errorf("it opens as %s", name)
		}
	}
	for i := range s.Data {
		bad := bytes.Clone(s.Data)
		bad[i] ^= 1
		if _, err := Open(f, k, bad); !errors.Is(err, ErrDamaged) {
			t.Errorf("it opens with byte %d changed", i)
		}
	}
	if _, err := Open(f, k, s.Data[:len(s.Data)-1]); err == nil {
		t.Error("it opens cut short")
	}
}
