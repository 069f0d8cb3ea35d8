package keytree

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sort"
)

// Tree is an organization's keys: the seeds that still cover every living
// leaf. Pages in which nothing is punctured lie under the nodes of the top;
// a page that has lost a leaf is split off and has a cover of its own, so that
// a puncture changes the top and the pages it touches, and no other page.
//
// Derive and Page may run at the same time as each other, not at the same
// time as the methods that change the tree.
type Tree struct {
	top   []Node            // heights 16 to 32, ascending, disjoint, never both halves of one subtree
	pages map[uint16][]Node // the split pages; nil: not loaded
}

// New returns a tree in which every leaf lives, from 32 bytes of rand, which
// is [crypto/rand.Reader] everywhere but in tests.
func New(rand io.Reader) (*Tree, error) {
	root := Node{Height: Depth}
	if _, err := io.ReadFull(rand, root.Seed[:]); err != nil {
		return nil, fmt.Errorf("keytree: no randomness for a root seed: %w", err)
	}
	if root.Seed == (Seed{}) {
		return nil, fmt.Errorf("keytree: the source of randomness returned zeros")
	}
	return &Tree{top: []Node{root}, pages: map[uint16][]Node{}}, nil
}

// Derive returns the key of a leaf. It fails with ErrPunctured where the leaf
// is punctured, with ErrNotLoaded where its page is split and was not loaded.
func (t *Tree) Derive(leaf Leaf) (Key, error) {
	if leaf == NoLeaf {
		return Key{}, ErrNoLeaf
	}
	nodes, split := t.pages[leaf.Page()]
	if split {
		return Cover{page: leaf.Page(), nodes: nodes}.Derive(leaf)
	}
	n, err := t.above(leaf.Page())
	if err != nil {
		return Key{}, err
	}
	return n.Derive(leaf)
}

// above returns the node of the top that holds an intact page.
func (t *Tree) above(page uint16) (Node, error) {
	n, err := find(t.top, Leaf(page)<<PageBits)
	if err != nil {
		// Nodes of the top and split pages together cover every page, so a
		// page that is in neither is of a tree that was wiped.
		return Node{}, ErrWiped
	}
	return n, nil
}

// Page returns what a server needs to derive the leaves of a page: a copy,
// which the caller wipes. Where nothing of the page is punctured it is one
// node of height 16.
func (t *Tree) Page(page uint16) (Cover, error) {
	if nodes, split := t.pages[page]; split {
		if nodes == nil {
			return Cover{}, ErrNotLoaded
		}
		return Cover{page: page, nodes: append(make([]Node, 0, len(nodes)), nodes...)}, nil
	}
	n, err := t.above(page)
	if err != nil {
		return Cover{}, err
	}
	n, err = n.Descend(Leaf(page)<<PageBits, PageBits)
	return Cover{page: page, nodes: []Node{n}}, err
}

// SplitPages returns the pages that have lost a leaf, ascending.
func (t *Tree) SplitPages() []uint16 { return slices.Sorted(maps.Keys(t.pages)) }

// Puncture takes leaves out of the tree for good, and overwrites every seed
// from which one of them could be derived. It returns the pages it changed,
// ascending: with the top, these are what the key service has to seal again.
// Leaves that are punctured already change nothing. On an error nothing has
// changed.
//
// What was derived before is beyond its reach: bytes of earlier pages, covers
// that were handed out, and copies that the runtime left on a stack.
func (t *Tree) Puncture(leaves ...Leaf) (changed []uint16, err error) {
	if len(t.top) == 0 && len(t.pages) == 0 {
		return nil, ErrWiped
	}
	dead := slices.Clone(leaves)
	slices.Sort(dead)
	dead = slices.Compact(dead)
	if len(dead) > 0 && dead[0] == NoLeaf {
		return nil, ErrNoLeaf
	}
	for _, leaf := range dead {
		if nodes, split := t.pages[leaf.Page()]; split && nodes == nil {
			return nil, ErrNotLoaded
		}
	}

	var intact []uint32 // pages that lose their first leaf
	for _, leaf := range dead {
		page := leaf.Page()
		if _, split := t.pages[page]; !split && (len(intact) == 0 || intact[len(intact)-1] != uint32(page)) {
			intact = append(intact, uint32(page))
		}
	}
	t.top = cut(t.top, intact, PageBits, func(n Node) { t.pages[uint16(n.Index)] = []Node{n} })

	for len(dead) > 0 {
		page := dead[0].Page()
		k := sort.Search(len(dead), func(i int) bool { return dead[i].Page() != page })
		nodes := t.pages[page]
		var living []uint32
		for _, leaf := range dead[:k] {
			if _, err := find(nodes, leaf); err == nil {
				living = append(living, uint32(leaf))
			}
		}
		if len(living) > 0 {
			t.pages[page] = cut(nodes, living, 0, func(Node) {})
			changed = append(changed, page)
		}
		dead = dead[k:]
	}
	return changed, nil
}

// Clone returns a copy that shares no seed, so that a change can be prepared,
// stored and only then adopted.
func (t *Tree) Clone() *Tree {
	c := &Tree{top: slices.Clone(t.top), pages: make(map[uint16][]Node, len(t.pages))}
	for page, nodes := range t.pages {
		c.pages[page] = slices.Clone(nodes)
	}
	return c
}

// Wipe overwrites every seed. The tree then answers ErrWiped.
func (t *Tree) Wipe() {
	clear(t.top)
	for _, nodes := range t.pages {
		clear(nodes)
	}
	t.top, t.pages = nil, nil
}

// Format prints the shape of the tree, never a seed.
func (t Tree) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "[key tree, %d nodes, %d split pages]", len(t.top), len(t.pages))
}

// LogValue shows the shape, never a seed.
func (t Tree) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(t)) }

// mostNodes is the largest cover of 2^16 units of which one is missing: with
// both halves of a pair the pair itself would be there.
const mostNodes = 1 << (PageBits - 1)

// cut takes units out of nodes and overwrites nodes. A unit is a subtree of
// height floor, given by its index; units are ascending, without repeats, and
// all in nodes. Each is passed to hit.
func cut(nodes []Node, units []uint32, floor uint8, hit func(Node)) []Node {
	if len(units) == 0 {
		return nodes
	}
	// Room for all from the start: an append that grows would leave a copy of
	// the seeds so far in memory that nobody wipes.
	room := make([]Node, 0, min(mostNodes, len(nodes)+len(units)*PageBits))
	out := room
	for i := range nodes {
		above := nodes[i].Height - floor
		k := sort.Search(len(units), func(j int) bool { return uint64(units[j]) >= (uint64(nodes[i].Index)+1)<<above })
		out = carve(out, &nodes[i], units[:k], floor, hit)
		units = units[k:]
	}
	clear(nodes)
	exact := append(make([]Node, 0, len(out)), out...)
	clear(out)
	return exact
}

// carve appends to out what is left of n without the units, which are all in
// n.
func carve(out []Node, n *Node, units []uint32, floor uint8, hit func(Node)) []Node {
	switch {
	case len(units) == 0:
		return append(out, *n)
	case n.Height == floor:
		hit(*n)
		return out
	}
	left, right := n.child(0), n.child(1)
	k := sort.Search(len(units), func(i int) bool { return units[i]>>(right.Height-floor) >= right.Index })
	out = carve(out, &left, units[:k], floor, hit)
	out = carve(out, &right, units[k:], floor, hit)
	left, right = Node{}, Node{}
	return out
}
