// Package keytree is a tree of keys from which single keys can be taken out
// for good: a puncturable pseudo-random function, by Goldreich, Goldwasser
// and Micali (1986), one of 2³² leaf keys for each organization.
//
// It promises three things. A living leaf has the same key for ever, whatever
// happens to the others. A punctured leaf cannot be derived from anything
// that the tree still holds, as no ancestor of it is left. And the bytes of a
// tree depend on its seeds and its punctured leaves alone, not on the order
// or the grouping of the punctures.
//
// The key service keeps the [Tree]; servers derive from a [Cover], the part
// of the tree that one page of 65,536 leaves needs. Seeds and keys print as
// [seed] and [key], and have no JSON form. docs/key-tree.md is the
// specification, with test vectors. The package does no input or output, and
// a Tree takes no lock: its owner orders the calls.
package keytree

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sort"
)

const (
	// Depth is the height of the root: the tree has 2^Depth leaves.
	Depth = 32
	// PageBits is the height of a page: the unit in which the key service
	// seals a tree that has been punctured.
	PageBits = 16
	// SeedSize is the length of a seed in bytes.
	SeedSize = 32
	// KeySize is the length of a leaf key in bytes.
	KeySize = 32
)

// Leaf is the index of a leaf, and so the name of its key.
type Leaf uint32

// The leaves that every organization has from the start. Leases begin at
// FirstLease; what lies between is kept for later uses.
const (
	NoLeaf      Leaf = 0  // means "none": never derived, never punctured
	LeafProfile Leaf = 1  // the organization's own name and settings
	LeafIndex   Leaf = 2  // keyed hashes that find rows
	LeafAudit   Leaf = 3  // bodies of audit events
	LeafToken   Leaf = 4  // cursors and other short-lived tokens of the API
	FirstLease  Leaf = 16 // the first leaf that is leased to a record
)

// Page returns the page that holds the leaf.
func (l Leaf) Page() uint16 { return uint16(l >> PageBits) }

// Errors of this package. Only ErrPunctured says that a key is gone: the
// others must never be shown as an erasure.
var (
	ErrPunctured = errors.New("keytree: the leaf is punctured")
	ErrNoLeaf    = errors.New("keytree: leaf 0 stands for none and has no key")
	ErrNotLoaded = errors.New("keytree: the page is not loaded")
	ErrOtherPage = errors.New("keytree: the leaf is of another page")
	ErrWiped     = errors.New("keytree: these seeds were wiped from memory")
	ErrFormat    = errors.New("keytree: not a well-formed page")
	errNoText    = errors.New("keytree: seeds and keys have no text form")
)

// Seed is the secret of a node. Every leaf key below the node follows from it.
type Seed [SeedSize]byte

// Key is the key of a leaf.
type Key [KeySize]byte

// Format prints [seed] under every verb that asks it.
func (Seed) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[seed]")) }

// Format prints [key] under every verb that asks it.
func (Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[key]")) }

// LogValue shows nothing.
func (Seed) LogValue() slog.Value { return slog.StringValue("[seed]") }

// LogValue shows nothing.
func (Key) LogValue() slog.Value { return slog.StringValue("[key]") }

// MarshalText refuses: a seed travels only in a page.
func (Seed) MarshalText() ([]byte, error) { return nil, errNoText }

// MarshalText refuses: a key never travels.
func (Key) MarshalText() ([]byte, error) { return nil, errNoText }

// Node is a subtree whose leaves all live: the leaves whose index, shifted
// right by Height, is Index.
type Node struct {
	Height uint8
	Index  uint32
	Seed   Seed
}

// First returns the lowest leaf of the subtree.
func (n Node) First() Leaf { return Leaf(n.Index << n.Height) }

// Covers reports whether the leaf is in the subtree.
func (n Node) Covers(leaf Leaf) bool { return uint32(leaf)>>n.Height == n.Index }

// label separates this use of HMAC from every other. Label and side fit in one
// block of SHA-256 beside the padding.
const label = "strongroom/keytree/v1"

// child returns the left (0) or right (1) half of n, whose seed is
// HMAC-SHA-256(seed of n, label ‖ side).
//
// HMAC (RFC 2104) is spelled out over two hashes that stay on the stack, where
// they are overwritten: crypto/hmac would leave the padded seed of every node
// on the way down in the heap, where a puncture cannot reach it, and would
// make garbage of 500 bytes a step. A test holds the two equal.
func (n *Node) child(side byte) Node {
	var inner [sha256.BlockSize + len(label) + 1]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	for i := range sha256.BlockSize {
		inner[i], outer[i] = 0x36, 0x5c
	}
	for i, b := range n.Seed {
		inner[i] ^= b
		outer[i] ^= b
	}
	copy(inner[sha256.BlockSize:], label)
	inner[len(inner)-1] = side
	digest := sha256.Sum256(inner[:])
	copy(outer[sha256.BlockSize:], digest[:])
	c := Node{Height: n.Height - 1, Index: n.Index<<1 | uint32(side), Seed: sha256.Sum256(outer[:])}
	clear(inner[:])
	clear(outer[:])
	clear(digest[:])
	return c
}

// Descend returns the subtree of the given height that holds the leaf. A
// server that serves many neighbouring leaves keeps it, and saves the
// derivation from above.
func (n Node) Descend(leaf Leaf, height uint8) (Node, error) {
	if !n.Covers(leaf) || height > n.Height {
		return Node{}, fmt.Errorf("keytree: the node has no subtree of height %d that holds the leaf", height)
	}
	for n.Height > height {
		n = n.child(byte(uint32(leaf)>>(n.Height-1)) & 1)
	}
	return n, nil
}

// Derive returns the key of a leaf of the subtree.
func (n Node) Derive(leaf Leaf) (Key, error) {
	if leaf == NoLeaf {
		return Key{}, ErrNoLeaf
	}
	if n.Seed == (Seed{}) {
		return Key{}, ErrWiped
	}
	n, err := n.Descend(leaf, 0)
	return Key(n.Seed), err
}

// Cover is the part of a tree that a page needs: the subtrees that hold its
// living leaves, and no ancestor of a punctured one. The zero Cover is not
// loaded: it knows nothing, and does not take a leaf for punctured.
type Cover struct {
	page  uint16
	nodes []Node // ascending, disjoint, never both halves of one subtree; nil: not loaded
}

// Page returns the number of the page.
func (c Cover) Page() uint16 { return c.page }

// Nodes returns the cover's subtrees in ascending order, not to be changed.
func (c Cover) Nodes() []Node { return c.nodes }

// Intact reports whether no leaf of the page is punctured.
func (c Cover) Intact() bool { return len(c.nodes) == 1 && c.nodes[0].Height == PageBits }

// Find returns the subtree of living leaves that holds the leaf, or
// ErrPunctured.
func (c Cover) Find(leaf Leaf) (Node, error) {
	switch {
	case leaf == NoLeaf:
		return Node{}, ErrNoLeaf
	case c.nodes == nil:
		return Node{}, ErrNotLoaded
	case leaf.Page() != c.page:
		return Node{}, ErrOtherPage
	}
	return find(c.nodes, leaf)
}

// Derive returns the key of a leaf of the page, or ErrPunctured.
func (c Cover) Derive(leaf Leaf) (Key, error) {
	n, err := c.Find(leaf)
	if err != nil {
		return Key{}, err
	}
	return n.Derive(leaf)
}

// Wipe overwrites the seeds. The cover, and every copy of it that shares its
// nodes, then answers ErrWiped.
func (c Cover) Wipe() { clear(c.nodes) }

// Format prints the shape of the cover, never a seed.
func (c Cover) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "[cover of page %d, %d nodes]", c.page, len(c.nodes))
}

// LogValue shows the shape, never a seed.
func (c Cover) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

// find returns the node of an ascending, disjoint list that holds the leaf.
func find(nodes []Node, leaf Leaf) (Node, error) {
	// The candidate is the last node that starts at the leaf or before it.
	i := sort.Search(len(nodes), func(i int) bool { return nodes[i].First() > leaf }) - 1
	if i >= 0 && nodes[i].Covers(leaf) {
		return nodes[i], nil
	}
	// A wiped list looks like one without the leaf. It must not be taken for
	// one: the content would be reported as erased.
	if len(nodes) > 0 && nodes[0].Seed == (Seed{}) {
		return Node{}, ErrWiped
	}
	return Node{}, ErrPunctured
}
