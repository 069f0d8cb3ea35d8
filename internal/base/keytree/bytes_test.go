package keytree_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"strongroom/internal/base/keytree"
)

func stored(t testing.TB, dead ...keytree.Leaf) (top []byte, pages map[uint16][]byte) {
	t.Helper()
	tree := newTree(t)
	if _, err := tree.Puncture(dead...); err != nil {
		t.Fatal(err)
	}
	return bytesOf(t, tree)
}

func node(height byte, first uint16, fill byte) []byte {
	b := []byte{height, byte(first >> 8), byte(first)}
	return append(b, bytes.Repeat([]byte{fill}, 32)...)
}

func count(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func TestATopIsReadStrictly(t *testing.T) {
	t.Parallel()
	good, _ := stored(t, 20)
	if _, err := keytree.ParseTop(good); err != nil {
		t.Fatal(err)
	}
	top := func(parts ...[]byte) []byte { return append([]byte{1, 'T'}, slices.Concat(parts...)...) }
	cases := map[string][]byte{
		"nothing":                                 {},
		"a later version":                         append([]byte{2}, good[1:]...),
		"a page in place of a top":                append([]byte{1, 'P'}, good[2:]...),
		"bytes after its end":                     append(slices.Clone(good), 0),
		"no nodes and no pages":                   top(count(0), count(0)),
		"a whole tree beside a split page":        top(count(1), node(32, 0, 9), count(1), []byte{0, 0}),
		"both halves in place of the root":        top(count(2), node(31, 0, 8), node(31, 0x8000, 9), count(0)),
		"a missing half":                          top(count(1), node(31, 0, 8), count(0)),
		"a node higher than the root":             top(count(1), node(33, 0, 9), count(0)),
		"a node lower than a page":                top(count(1), node(15, 0, 9), count(0)),
		"a root off its place":                    top(count(1), node(32, 1, 9), count(0)),
		"a zero seed":                             top(count(1), node(32, 0, 0), count(0)),
		"more nodes than it has bytes":            top(count(2), node(32, 0, 9), count(0)),
		"more nodes than there can be":            top(count(1<<31), node(32, 0, 9), count(0)),
		"more split pages than it has bytes":      top(count(1), node(32, 0, 9), count(1)),
		"more split pages than 32 bits can count": top(count(1), node(32, 0, 9), count(1<<31)),
	}
	// The seed of a page that was split off, put back beside the cover.
	root := newTree(t)
	page0, err := root.Page(0)
	if err != nil {
		t.Fatal(err)
	}
	seed := page0.Nodes()[0].Seed
	smuggled := append(append([]byte{1, 'T'}, count(17)...), append([]byte{16, 0, 0}, seed[:]...)...)
	cases["the seed of a split page beside the rest"] = append(smuggled, good[6:]...)

	for name, b := range cases {
		if _, err := keytree.ParseTop(b); !errors.Is(err, keytree.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range good {
		if _, err := keytree.ParseTop(good[:n]); !errors.Is(err, keytree.ErrFormat) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
}

func TestAPageIsReadStrictly(t *testing.T) {
	t.Parallel()
	_, pages := stored(t, 7<<16|20)
	good := pages[7]
	if _, err := keytree.ParseCover(good); err != nil {
		t.Fatal(err)
	}
	page := func(parts ...[]byte) []byte { return append([]byte{1, 'P', 0, 7}, slices.Concat(parts...)...) }
	for name, b := range map[string][]byte{
		"nothing":                       {},
		"a later version":               append([]byte{2}, good[1:]...),
		"a top in place of a page":      append([]byte{1, 'T'}, good[2:]...),
		"bytes after its end":           append(slices.Clone(good), 0),
		"a node higher than a page":     page(count(1), node(17, 0, 9)),
		"a page node off its place":     page(count(1), node(16, 1, 9)),
		"a node off its place":          page(count(1), node(1, 1, 9)),
		"nodes out of order":            page(count(2), node(0, 9, 9), node(0, 4, 8)),
		"a node twice":                  page(count(2), node(0, 4, 9), node(0, 4, 9)),
		"a node inside another":         page(count(2), node(3, 0, 9), node(0, 4, 8)),
		"a node around the one before":  page(count(2), node(0, 0, 9), node(3, 0, 8)),
		"both halves of a subtree":      page(count(2), node(0, 4, 9), node(0, 5, 8)),
		"a zero seed":                   page(count(1), node(0, 4, 0)),
		"more nodes than it has bytes":  page(count(2), node(0, 4, 9)),
		"fewer nodes than it has bytes": page(count(0), node(0, 4, 9)),
	} {
		if _, err := keytree.ParseCover(b); !errors.Is(err, keytree.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range good {
		if _, err := keytree.ParseCover(good[:n]); !errors.Is(err, keytree.ErrFormat) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := keytree.ParseCover(page(count(2), node(0, 5, 9), node(0, 6, 8))); err != nil {
		t.Errorf("neighbours that are no halves of one subtree: %v", err)
	}
}

func TestALoadedPageMustAgreeWithTheTop(t *testing.T) {
	t.Parallel()
	top, pages := stored(t, 20)
	cover := func(b []byte) keytree.Cover {
		c, err := keytree.ParseCover(b)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	tree, err := keytree.ParseTop(top)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := newTree(t).Page(0)
	if err != nil {
		t.Fatal(err)
	}
	_, others := stored(t, 1<<16|20)
	if err := tree.Load(whole); !errors.Is(err, keytree.ErrFormat) {
		t.Errorf("an intact page where the top says split: %v", err)
	}
	if err := tree.Load(cover(others[1])); !errors.Is(err, keytree.ErrFormat) {
		t.Errorf("a split page where the top says intact: %v", err)
	}
	if err := tree.Load(keytree.Cover{}); !errors.Is(err, keytree.ErrNotLoaded) {
		t.Errorf("the zero cover: %v", err)
	}
	if err := tree.Load(cover(pages[0])); err != nil {
		t.Error(err)
	}
	if err := tree.Load(cover(pages[0])); err == nil {
		t.Error("a page was loaded twice")
	}
	if _, err := tree.Derive(21); err != nil {
		t.Error(err)
	}
}

func TestAnIntactPageTravelsAsOneNode(t *testing.T) {
	t.Parallel()
	c, err := newTree(t).Page(9)
	if err != nil || !c.Intact() || c.Page() != 9 {
		t.Fatalf("%v, %v", c, err)
	}
	again, err := keytree.ParseCover(c.Marshal())
	if err != nil || !again.Intact() {
		t.Fatalf("%v, %v", again, err)
	}
	got, err := again.Derive(9<<16 | 5)
	if err != nil || got != refSeed(testRoot, 9<<16|5, 0) {
		t.Error(err)
	}
}

func FuzzParseTop(f *testing.F) {
	for _, dead := range [][]keytree.Leaf{nil, {20}, {1 << 16, 1<<32 - 1}, {1, 1 << 16, 2 << 16, 3 << 16}} {
		top, _ := stored(f, dead...)
		f.Add(top)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, err := keytree.ParseTop(b)
		if err != nil {
			if !errors.Is(err, keytree.ErrFormat) {
				t.Errorf("refused with %v", err)
			}
			return
		}
		if !bytes.Equal(tree.MarshalTop(), b) {
			t.Error("accepted a second spelling")
		}
		// Every page is somewhere: intact, or waiting to be loaded.
		for _, page := range []uint16{0, 1, 0x7fff, 0x8000, 0xffff} {
			if c, err := tree.Page(page); err == nil != c.Intact() || err != nil && !errors.Is(err, keytree.ErrNotLoaded) {
				t.Errorf("page %d: %v", page, err)
			}
		}
	})
}

func FuzzParseCover(f *testing.F) {
	_, pages := stored(f, 20, 1<<16, 1<<16|1, 1<<32-1)
	for _, b := range pages {
		f.Add(b)
	}
	whole, err := newTree(f).Page(0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole.Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := keytree.ParseCover(b)
		if err != nil {
			if !errors.Is(err, keytree.ErrFormat) {
				t.Errorf("refused with %v", err)
			}
			return
		}
		if !bytes.Equal(c.Marshal(), b) {
			t.Error("accepted a second spelling")
		}
		for _, n := range c.Nodes() {
			if got, err := c.Find(n.First()); n.First() != keytree.NoLeaf && (err != nil || got != n) {
				t.Errorf("node at %d is not found: %v", n.First(), err)
			}
		}
	})
}
