package keytree_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"strongroom/internal/base/keytree"
)

var testRoot = [32]byte{0: 1, 7: 2, 31: 3}

func newTree(t testing.TB) *keytree.Tree {
	t.Helper()
	tree, err := keytree.New(bytes.NewReader(testRoot[:]))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// leaves draws leaves that meet each other: near the ends of the tree, around
// the border of two pages, close together, anywhere.
func leaves(least, most int) *rapid.Generator[[]keytree.Leaf] {
	leaf := rapid.OneOf(
		rapid.Uint32Range(1, 40),
		rapid.Uint32Range(1<<16-20, 1<<16+20),
		rapid.Uint32Range(7<<16, 7<<16+3000),
		rapid.Uint32Range(math.MaxUint32-20, math.MaxUint32),
		rapid.Uint32Range(1, math.MaxUint32),
	)
	return rapid.Custom(func(t *rapid.T) []keytree.Leaf {
		var out []keytree.Leaf
		for _, l := range rapid.SliceOfN(leaf, least, most).Draw(t, "leaves") {
			out = append(out, keytree.Leaf(l))
		}
		return out
	})
}

func numbers(leaves []keytree.Leaf) []uint32 {
	out := make([]uint32, len(leaves))
	for i, l := range leaves {
		out[i] = uint32(l)
	}
	return out
}

func pagesOf(leaves []keytree.Leaf) []uint16 {
	out := make([]uint16, len(leaves))
	for i, l := range leaves {
		out[i] = l.Page()
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// bytesOf returns all that the key service would store of the tree.
func bytesOf(t testing.TB, tree *keytree.Tree) (top []byte, pages map[uint16][]byte) {
	t.Helper()
	pages = map[uint16][]byte{}
	for _, page := range tree.SplitPages() {
		c, err := tree.Page(page)
		if err != nil {
			t.Fatal(err)
		}
		pages[page] = c.Marshal()
	}
	return tree.MarshalTop(), pages
}

// reload stores a tree and reads it again.
func reload(t testing.TB, tree *keytree.Tree) *keytree.Tree {
	t.Helper()
	top, pages := bytesOf(t, tree)
	again, err := keytree.ParseTop(top)
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range again.SplitPages() {
		c, err := keytree.ParseCover(pages[page])
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Load(c); err != nil {
			t.Fatal(err)
		}
	}
	return again
}

func TestAPunctureTakesTheLeafAndNothingElse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		tree := newTree(t)
		dead := leaves(1, 40).Draw(r, "dead")
		if _, err := tree.Puncture(dead...); err != nil {
			r.Fatal(err)
		}
		gone := map[keytree.Leaf]bool{}
		near := slices.Concat(dead, leaves(0, 10).Draw(r, "others"))
		for _, l := range dead {
			gone[l] = true
			near = append(near, l-1, l+1, l^1, l^0x8000, l^0x10000, l^0x80000000)
		}
		for _, l := range near {
			if l == keytree.NoLeaf {
				continue
			}
			cover, err := tree.Page(l.Page())
			if err != nil {
				r.Fatal(err)
			}
			got, err := tree.Derive(l)
			fromCover, coverErr := cover.Derive(l)
			if gone[l] {
				if !errors.Is(err, keytree.ErrPunctured) || !errors.Is(coverErr, keytree.ErrPunctured) || got != (keytree.Key{}) {
					r.Fatalf("leaf %d is punctured; the tree says %v, its page %v", l, err, coverErr)
				}
				continue
			}
			if want := refSeed(testRoot, uint32(l), 0); err != nil || coverErr != nil || got != want || fromCover != want {
				r.Fatalf("leaf %d lives, and its key has changed or is gone: %v, %v", l, err, coverErr)
			}
		}
	})
}

func TestNoAncestorOfAPuncturedLeafIsStored(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		tree := newTree(t)
		dead := leaves(1, 25).Draw(r, "dead")
		if _, err := tree.Puncture(dead...); err != nil {
			r.Fatal(err)
		}
		top, pages := bytesOf(t, tree)
		stored := top
		for _, b := range pages {
			stored = append(stored, b...)
		}
		for _, l := range dead {
			for height := range keytree.Depth + 1 {
				if seed := refSeed(testRoot, uint32(l), height); bytes.Contains(stored, seed[:]) {
					r.Fatalf("the ancestor of leaf %d at height %d is still stored", l, height)
				}
			}
		}
	})
}

func TestBatchesAndSinglesInAnyOrderGiveTheSameBytes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		dead := leaves(1, 30).Draw(r, "dead")
		wantTop, wantPages := refTree(testRoot, numbers(dead))
		check := func(how string, tree *keytree.Tree) {
			top, pages := bytesOf(t, tree)
			if !bytes.Equal(top, wantTop) || len(pages) != len(wantPages) {
				r.Fatalf("%s: the top differs", how)
			}
			for page, want := range wantPages {
				if !bytes.Equal(pages[page], want) {
					r.Fatalf("%s: page %d differs", how, page)
				}
			}
		}

		batch := newTree(t)
		if _, err := batch.Puncture(dead...); err != nil {
			r.Fatal(err)
		}
		check("one batch", batch)

		// Some one by one, some together, some twice, with restarts between.
		order := rapid.Permutation(append(slices.Clone(dead), dead[0])).Draw(r, "order")
		parts := newTree(t)
		for len(order) > 0 {
			n := rapid.IntRange(1, len(order)).Draw(r, "size")
			if _, err := parts.Puncture(order[:n]...); err != nil {
				r.Fatal(err)
			}
			order = order[n:]
			if rapid.Bool().Draw(r, "restart") {
				parts = reload(t, parts)
			}
		}
		check("parts", parts)
		check("stored and read again", reload(t, parts))
	})
}

func TestAPunctureChangesTheTopAndItsOwnPagesOnly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		tree := newTree(t)
		first, second := leaves(1, 20).Draw(r, "first"), leaves(1, 20).Draw(r, "second")
		changed, err := tree.Puncture(first...)
		if err != nil || !slices.Equal(changed, pagesOf(first)) {
			r.Fatalf("changed %v, want %v, %v", changed, pagesOf(first), err)
		}
		_, before := bytesOf(t, tree)
		changed, err = tree.Puncture(second...)
		if err != nil {
			r.Fatal(err)
		}
		fresh := slices.DeleteFunc(slices.Clone(second), func(l keytree.Leaf) bool { return slices.Contains(first, l) })
		if !slices.Equal(changed, pagesOf(fresh)) {
			r.Fatalf("changed %v, want %v", changed, pagesOf(fresh))
		}
		_, after := bytesOf(t, tree)
		for page, b := range before {
			if same := bytes.Equal(b, after[page]); same == slices.Contains(changed, page) {
				r.Fatalf("page %d: same bytes %v, reported as changed %v", page, same, !same)
			}
		}
	})
}

func TestASecondPunctureOfALeafChangesNothing(t *testing.T) {
	t.Parallel()
	tree := newTree(t)
	dead := []keytree.Leaf{5, 70_000, 5, 4_000_000_000}
	if _, err := tree.Puncture(dead...); err != nil {
		t.Fatal(err)
	}
	top, pages := bytesOf(t, tree)
	changed, err := tree.Puncture(dead...)
	if err != nil || len(changed) != 0 {
		t.Errorf("changed %v, %v", changed, err)
	}
	topAgain, pagesAgain := bytesOf(t, tree)
	if !bytes.Equal(top, topAgain) || !bytes.Equal(pages[0], pagesAgain[0]) {
		t.Error("the bytes changed")
	}
}

func TestAWholePageCanBePunctured(t *testing.T) {
	t.Parallel()
	tree := newTree(t)
	const page = 3
	var all []keytree.Leaf
	for l := range keytree.Leaf(1 << keytree.PageBits) {
		all = append(all, page<<keytree.PageBits|l)
	}
	odd := slices.DeleteFunc(slices.Clone(all), func(l keytree.Leaf) bool { return l%2 == 0 })
	if _, err := tree.Puncture(odd...); err != nil {
		t.Fatal(err)
	}
	tree = reload(t, tree) // every second leaf: the largest page there is
	c, err := tree.Page(page)
	if err != nil || len(c.Nodes()) != 1<<15 {
		t.Fatalf("%d nodes, %v", len(c.Nodes()), err)
	}
	if changed, err := tree.Puncture(all...); err != nil || !slices.Equal(changed, []uint16{page}) {
		t.Fatalf("changed %v, %v", changed, err)
	}
	tree = reload(t, tree)
	for _, l := range []keytree.Leaf{all[0], all[1], all[65535]} {
		if _, err := tree.Derive(l); !errors.Is(err, keytree.ErrPunctured) {
			t.Errorf("leaf %d: %v", l, err)
		}
	}
	for _, l := range []keytree.Leaf{all[0] - 1, all[65535] + 1} {
		if got, err := tree.Derive(l); err != nil || got != refSeed(testRoot, uint32(l), 0) {
			t.Errorf("its neighbour %d: %v", l, err)
		}
	}
}

func TestLeafZeroIsNoLeaf(t *testing.T) {
	t.Parallel()
	tree := newTree(t)
	before := tree.MarshalTop()
	c, err := tree.Page(0)
	if err != nil {
		t.Fatal(err)
	}
	_, treeErr := tree.Derive(keytree.NoLeaf)
	_, coverErr := c.Derive(keytree.NoLeaf)
	_, nodeErr := c.Nodes()[0].Derive(keytree.NoLeaf)
	_, punctureErr := tree.Puncture(9, keytree.NoLeaf)
	for what, err := range map[string]error{"tree": treeErr, "cover": coverErr, "node": nodeErr, "puncture": punctureErr} {
		if !errors.Is(err, keytree.ErrNoLeaf) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if !bytes.Equal(before, tree.MarshalTop()) {
		t.Error("a refused puncture changed the tree")
	}
}

// What is not known must not be taken for punctured: the content would be
// shown as erased.
func TestOnlyAPunctureIsReportedAsOne(t *testing.T) {
	t.Parallel()
	tree := newTree(t)
	if _, err := tree.Puncture(20); err != nil {
		t.Fatal(err)
	}
	unloaded, err := keytree.ParseTop(tree.MarshalTop())
	if err != nil {
		t.Fatal(err)
	}
	page0, _ := tree.Page(0)
	wiped, _ := tree.Page(0)
	wiped.Wipe()
	wipedTree := tree.Clone()
	wipedTree.Wipe()
	derive := func(_ keytree.Key, err error) error { return err }
	page := func(_ keytree.Cover, err error) error { return err }
	puncture := func(_ []uint16, err error) error { return err }

	for _, c := range []struct {
		what      string
		got, want error
	}{
		{"a punctured leaf", derive(tree.Derive(20)), keytree.ErrPunctured},
		{"a page that is not loaded, derive", derive(unloaded.Derive(21)), keytree.ErrNotLoaded},
		{"a page that is not loaded, punctured leaf", derive(unloaded.Derive(20)), keytree.ErrNotLoaded},
		{"a page that is not loaded, page", page(unloaded.Page(0)), keytree.ErrNotLoaded},
		{"a page that is not loaded, puncture", puncture(unloaded.Puncture(1<<20, 21)), keytree.ErrNotLoaded},
		{"the zero cover", derive(keytree.Cover{}.Derive(21)), keytree.ErrNotLoaded},
		{"the zero node", derive(keytree.Node{Height: 32}.Derive(21)), keytree.ErrWiped},
		{"a leaf of another page", derive(page0.Derive(1 << 16)), keytree.ErrOtherPage},
		{"a wiped cover, living leaf", derive(wiped.Derive(21)), keytree.ErrWiped},
		{"a wiped cover, punctured leaf", derive(wiped.Derive(20)), keytree.ErrWiped},
		{"a wiped tree, split page", derive(wipedTree.Derive(20)), keytree.ErrWiped},
		{"a wiped tree, intact page", derive(wipedTree.Derive(1 << 20)), keytree.ErrWiped},
		{"a wiped tree, page", page(wipedTree.Page(9)), keytree.ErrWiped},
		{"a wiped tree, puncture", puncture(wipedTree.Puncture(9)), keytree.ErrWiped},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", c.what, c.got, c.want)
		}
	}
	if _, err := unloaded.Derive(1 << 20); err != nil {
		t.Errorf("a page that is intact needs no loading: %v", err)
	}
	if got := unloaded.SplitPages(); !slices.Equal(got, []uint16{0}) {
		t.Errorf("the refused puncture split pages %v", got)
	}
}

func TestACloneSharesNothing(t *testing.T) {
	t.Parallel()
	tree := newTree(t)
	if _, err := tree.Puncture(20); err != nil {
		t.Fatal(err)
	}
	top, pages := bytesOf(t, tree)
	other := tree.Clone()
	if _, err := other.Puncture(21, 1<<20); err != nil {
		t.Fatal(err)
	}
	c, _ := other.Page(0)
	c.Wipe()
	other.Wipe()
	topAgain, pagesAgain := bytesOf(t, tree)
	if !bytes.Equal(top, topAgain) || !bytes.Equal(pages[0], pagesAgain[0]) {
		t.Error("a change of the clone changed the tree")
	}
}

func TestASubtreeDerivesWhatTheTreeDerives(t *testing.T) {
	t.Parallel()
	tree := newTree(t)
	if _, err := tree.Puncture(300); err != nil {
		t.Fatal(err)
	}
	c, err := tree.Page(0)
	if err != nil {
		t.Fatal(err)
	}
	n, err := c.Find(517)
	if err != nil {
		t.Fatal(err)
	}
	block, err := n.Descend(517, 4)
	if err != nil || block.First() != 512 || block.Seed != refSeed(testRoot, 512, 4) {
		t.Fatalf("block at %d, %v", block.First(), err)
	}
	for l := block.First(); block.Covers(l); l++ {
		if got, err := block.Derive(l); err != nil || got != refSeed(testRoot, uint32(l), 0) {
			t.Errorf("leaf %d: %v", l, err)
		}
	}
	if _, err := block.Derive(528); err == nil {
		t.Error("a leaf outside the subtree was derived")
	}
	if _, err := block.Descend(517, 5); err == nil {
		t.Error("a descent went up")
	}
}

func TestATreeNeedsGoodRandomness(t *testing.T) {
	t.Parallel()
	if _, err := keytree.New(bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("31 bytes were enough")
	}
	if _, err := keytree.New(bytes.NewReader(make([]byte, 32))); err == nil {
		t.Error("32 zeros were taken for randomness")
	}
}

func TestSeedsAndKeysArePrintedNowhere(t *testing.T) {
	t.Parallel()
	var root [32]byte
	for i := range root {
		root[i] = 'K' // as bytes, hex or decimal it is easy to find
	}
	tree, err := keytree.New(bytes.NewReader(root[:]))
	if err != nil {
		t.Fatal(err)
	}
	seed, key := keytree.Seed(root), keytree.Key(root)
	node := keytree.Node{Height: 32, Seed: seed}
	c, err := tree.Page(0)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	log := slog.New(slog.NewJSONHandler(&out, nil))
	text := slog.New(slog.NewTextHandler(&out, nil))
	for _, v := range []any{seed, &seed, key, &key, node, &node, []keytree.Node{node}, tree, *tree, c, &c} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d", "%o", "%b", "%c", "%U", "%t", "%e"} {
			_, _ = fmt.Fprintf(&out, verb+"\n", v)
		}
		log.Info("x", "v", v)
		text.Info("x", "v", v)
		if b, err := json.Marshal(v); err == nil {
			out.Write(b)
		}
	}
	first := c.Nodes()[0].Seed
	for _, leak := range []string{"KKKK", "4b4b", "4B4B", "75 75", "75,75", "0x4b, 0x4b", "113 113", "1001011 ",
		string(first[:4]), fmt.Sprintf("%x", first[:4]), fmt.Sprintf("%d", first[:4])[1:10]} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("the output shows a secret as %q", leak)
		}
	}
	if !strings.Contains(out.String(), "[seed]") || !strings.Contains(out.String(), "[key]") {
		t.Error("the output shows nothing at all")
	}
}

func BenchmarkDerive(b *testing.B) {
	tree, err := keytree.New(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	c, err := tree.Page(1)
	if err != nil {
		b.Fatal(err)
	}
	const leaf = 1<<16 + 4711
	block, err := c.Nodes()[0].Descend(leaf, 4)
	if err != nil {
		b.Fatal(err)
	}
	for _, from := range []struct {
		name   string
		derive func(keytree.Leaf) (keytree.Key, error)
	}{{"from the root", tree.Derive}, {"from the page", c.Derive}, {"from a block of 16", block.Derive}} {
		b.Run(from.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := from.derive(leaf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPunctureOne(b *testing.B) {
	tree, err := keytree.New(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	// An organization that has already erased every tenth record of a page.
	var dead []keytree.Leaf
	for l := keytree.FirstLease; l < 1<<16; l += 10 {
		dead = append(dead, l)
	}
	if _, err := tree.Puncture(dead...); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		t := tree.Clone()
		b.StartTimer()
		if _, err := t.Puncture(keytree.FirstLease + 5); err != nil {
			b.Fatal(err)
		}
	}
}
