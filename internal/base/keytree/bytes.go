package keytree

import (
	"encoding/binary"
	"fmt"
)

// The bytes of a tree: one top, and one page for each page that is split. All
// numbers are big-endian; docs/key-tree.md has the tables.
//
//	top  = 01 54 ‖ number of nodes (4) ‖ nodes ‖ number of split pages (4) ‖ page numbers (2 each)
//	page = 01 50 ‖ page number (2) ‖ number of nodes (4) ‖ nodes
//	node = height (1) ‖ first (2) ‖ seed (32)
//
// First is the node's first page (in the top) or its first leaf within the
// page (in a page). A set of living leaves and a root seed have exactly one
// spelling, and the parsers refuse every other: two spellings of one state
// would give two hashes, and a seed smuggled in beside the cover would undo a
// puncture.
const (
	formatVersion = 1
	kindTop       = 'T'
	kindPage      = 'P'
	nodeSize      = 1 + 2 + SeedSize
)

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrFormat, what) }

// MarshalTop returns the top of the tree: secret bytes, which the caller seals
// and wipes.
func (t *Tree) MarshalTop() []byte {
	split := t.SplitPages()
	b := make([]byte, 0, 2+4+len(t.top)*nodeSize+4+len(split)*2)
	b = append(b, formatVersion, kindTop)
	b = appendNodes(b, t.top, PageBits)
	b = binary.BigEndian.AppendUint32(b, uint32(len(split)))
	for _, page := range split {
		b = binary.BigEndian.AppendUint16(b, page)
	}
	return b
}

// Marshal returns the page: secret bytes, which the caller seals and wipes.
func (c Cover) Marshal() []byte {
	b := make([]byte, 0, 2+2+4+len(c.nodes)*nodeSize)
	b = append(b, formatVersion, kindPage)
	b = binary.BigEndian.AppendUint16(b, c.page)
	return appendNodes(b, c.nodes, 0)
}

func appendNodes(b []byte, nodes []Node, floor uint8) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(nodes)))
	for i := range nodes {
		b = append(b, nodes[i].Height)
		b = binary.BigEndian.AppendUint16(b, uint16(nodes[i].First()>>floor))
		b = append(b, nodes[i].Seed[:]...)
	}
	return b
}

// ParseTop reads a top. The split pages it names are not loaded: see
// [Tree.Load].
func ParseTop(b []byte) (*Tree, error) {
	rest, err := header(b, kindTop)
	if err != nil {
		return nil, err
	}
	t := &Tree{pages: map[uint16][]Node{}}
	if t.top, rest, err = parseNodes(rest, 0, PageBits, Depth); err != nil {
		return nil, err
	}
	if len(rest) < 4 {
		return nil, malformed("it ends early")
	}
	n := binary.BigEndian.Uint32(rest)
	if rest = rest[4:]; uint64(len(rest)) != uint64(n)*2 {
		return nil, malformed("its length does not match the number of split pages")
	}

	// Nodes and split pages together must cover every page exactly once, in
	// order: nothing is lost, and no node stands above a split page.
	next, nodes := uint32(0), t.top
	for next < 1<<(Depth-PageBits) {
		switch {
		case len(nodes) > 0 && uint32(nodes[0].First()>>PageBits) == next:
			next += 1 << (nodes[0].Height - PageBits)
			nodes = nodes[1:]
		case len(rest) > 0 && uint32(binary.BigEndian.Uint16(rest)) == next:
			t.pages[uint16(next)] = nil
			next++
			rest = rest[2:]
		default:
			return nil, malformed("a page is missing, or out of order")
		}
	}
	if len(nodes) > 0 || len(rest) > 0 {
		return nil, malformed("a page is covered twice")
	}
	return t, nil
}

// ParseCover reads a page.
func ParseCover(b []byte) (Cover, error) {
	rest, err := header(b, kindPage)
	if err != nil {
		return Cover{}, err
	}
	if len(rest) < 2 {
		return Cover{}, malformed("it ends early")
	}
	c := Cover{page: binary.BigEndian.Uint16(rest)}
	if c.nodes, rest, err = parseNodes(rest[2:], Leaf(c.page)<<PageBits, 0, PageBits); err != nil {
		return Cover{}, err
	}
	if len(rest) > 0 {
		return Cover{}, malformed("bytes follow its end")
	}
	return c, nil
}

// Load gives a split page its cover, as read by [ParseCover]. The tree then
// owns the cover's seeds.
func (t *Tree) Load(c Cover) error {
	nodes, split := t.pages[c.page]
	switch {
	case c.nodes == nil:
		return ErrNotLoaded
	case !split || c.Intact():
		return fmt.Errorf("%w: the top and page %d disagree on whether it is split", ErrFormat, c.page)
	case nodes != nil:
		return fmt.Errorf("keytree: page %d is loaded already", c.page)
	}
	t.pages[c.page] = c.nodes
	return nil
}

func header(b []byte, kind byte) ([]byte, error) {
	switch {
	case len(b) < 2:
		return nil, malformed("it ends early")
	case b[0] != formatVersion:
		return nil, malformed("its version is not 1")
	case b[1] != kind:
		return nil, malformed("it is of another kind")
	}
	return b[2:], nil
}

// parseNodes reads a list of nodes of heights floor to ceiling, whose first
// leaf is counted from base in units of 2^floor leaves.
func parseNodes(b []byte, base Leaf, floor, ceiling uint8) (nodes []Node, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, malformed("it ends early")
	}
	n := binary.BigEndian.Uint32(b)
	if b = b[4:]; n > mostNodes || uint64(len(b)) < uint64(n)*nodeSize {
		return nil, nil, malformed("its length does not match the number of nodes")
	}
	nodes = make([]Node, n) // not nil, also when every leaf is punctured
	var free uint64         // the first leaf that no node has yet
	for i := range nodes {
		height, first := b[0], base+Leaf(binary.BigEndian.Uint16(b[1:]))<<floor
		switch {
		case height < floor || height > ceiling:
			return nil, nil, malformed("a node has a height outside its range")
		case first&(Leaf(1)<<height-1) != 0:
			return nil, nil, malformed("a node does not start at a multiple of its size")
		case uint64(first) < free:
			return nil, nil, malformed("nodes overlap or are out of order")
		}
		nodes[i] = Node{Height: height, Index: uint32(first >> height), Seed: Seed(b[3:nodeSize])}
		free = uint64(first) + 1<<height
		if nodes[i].Seed == (Seed{}) {
			// Only a wiped node has it, and everyone knows the keys under it.
			return nil, nil, malformed("a seed is zero")
		}
		if i > 0 && nodes[i-1].Height == height && nodes[i-1].Index^1 == nodes[i].Index {
			return nil, nil, malformed("both halves of a subtree stand where the subtree should")
		}
		b = b[nodeSize:]
	}
	return nodes, b, nil
}
