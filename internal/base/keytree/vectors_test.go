package keytree_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"strongroom/internal/base/keytree"
)

var update = flag.Bool("update", false, "write testdata/vectors.json from the re-implementation in reference_test.go")

const vectorsFile = "vectors.json"

// vectors are published with docs/key-tree.md. A line of theirs that changes
// means that every value sealed so far is lost: a new format gets a file of its
// own.
type vectors struct {
	Specification string          `json:"specification"`
	RootSeed      hexBytes        `json:"root_seed"`
	Seeds         []seedVector    `json:"seeds"`
	LeafKeys      []leafVector    `json:"leaf_keys"`
	Punctures     []punctured     `json:"punctures"`
	RefusedTops   []refusedVector `json:"refused_tops"`
	RefusedPages  []refusedVector `json:"refused_pages"`
}

type seedVector struct {
	Height uint8    `json:"height"`
	Index  uint32   `json:"index"`
	Seed   hexBytes `json:"seed"`
}

type leafVector struct {
	Leaf uint32   `json:"leaf"`
	Key  hexBytes `json:"key"`
}

// punctured is a step: the tree of the step before loses leaves.
type punctured struct {
	Leaves       []uint32            `json:"leaves"`
	ChangedPages []uint16            `json:"changed_pages"`
	Top          hexBytes            `json:"top"`
	Pages        map[uint16]hexBytes `json:"pages"`
	Living       []uint32            `json:"living"` // their keys are those of an intact tree
}

type refusedVector struct {
	Why   string   `json:"why"`
	Bytes hexBytes `json:"bytes"`
}

type hexBytes []byte

func (b hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }
func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

// reference makes the vectors without the package.
func reference() vectors {
	var root [32]byte
	for i := range root {
		root[i] = byte(i)
	}
	v := vectors{Specification: "docs/key-tree.md, key tree v1", RootSeed: root[:]}
	for _, n := range []struct {
		height uint8
		index  uint32
	}{{31, 0}, {31, 1}, {16, 0}, {16, 7}, {16, 65535}, {4, 1}, {1, 0x7fffffff}} {
		seed := refSeed(root, n.index<<n.height, int(n.height))
		v.Seeds = append(v.Seeds, seedVector{n.height, n.index, seed[:]})
	}
	for _, leaf := range []uint32{1, 2, 3, 4, 16, 17, 65535, 65536, 1 << 31, 1<<32 - 1} {
		key := refSeed(root, leaf, 0)
		v.LeafKeys = append(v.LeafKeys, leafVector{leaf, key[:]})
	}
	var dead []uint32
	for _, step := range []punctured{
		{Leaves: []uint32{}, ChangedPages: []uint16{}, Living: []uint32{1, 16, 1<<32 - 1}},
		{Leaves: []uint32{20}, ChangedPages: []uint16{0}, Living: []uint32{16, 19, 21, 65535, 65536}},
		{Leaves: []uint32{1<<32 - 1, 65536, 21, 20}, ChangedPages: []uint16{0, 1, 65535}, Living: []uint32{16, 19, 22, 23, 65535, 65537, 131072, 1<<32 - 2}},
		{Leaves: []uint32{21, 65536}, ChangedPages: []uint16{}, Living: []uint32{22}},
		{Leaves: []uint32{22, 23, 16}, ChangedPages: []uint16{0}, Living: []uint32{17, 18, 19, 24}},
	} {
		dead = append(dead, step.Leaves...)
		top, pages := refTree(root, dead)
		step.Top, step.Pages = top, map[uint16]hexBytes{}
		for page, b := range pages {
			step.Pages[page] = b
		}
		v.Punctures = append(v.Punctures, step)
	}
	one := func(height byte, first uint16, fill byte) []byte {
		return append([]byte{height, byte(first >> 8), byte(first)}, bytes.Repeat([]byte{fill}, 32)...)
	}
	list := func(head string, nodes ...[]byte) []byte {
		return append(append([]byte(head), 0, 0, 0, byte(len(nodes))), slices.Concat(nodes...)...)
	}
	end := []byte{0, 0, 0, 0}
	v.RefusedTops = []refusedVector{
		{"version 2", append(list("\x02T", one(32, 0, 9)), end...)},
		{"both halves in place of the root", append(list("\x01T", one(31, 0, 8), one(31, 0x8000, 9)), end...)},
		{"half of the pages in no node and not split", append(list("\x01T", one(31, 0, 8)), end...)},
		{"a split page under a node", append(list("\x01T", one(32, 0, 9)), 0, 0, 0, 1, 0, 0)},
		{"a zero seed", append(list("\x01T", one(32, 0, 0)), end...)},
	}
	v.RefusedPages = []refusedVector{
		{"a node that does not start at a multiple of its size", list("\x01P\x00\x00", one(1, 1, 9))},
		{"both halves of a subtree", list("\x01P\x00\x00", one(0, 4, 8), one(0, 5, 9))},
		{"descending nodes", list("\x01P\x00\x00", one(0, 9, 8), one(0, 4, 9))},
		{"a node inside another", list("\x01P\x00\x00", one(3, 0, 8), one(0, 4, 9))},
		{"a byte after the end", append(list("\x01P\x00\x00", one(0, 4, 9)), 0)},
	}
	return v
}

func readVectors(t *testing.T) (raw []byte, v vectors) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", vectorsFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return raw, v
}

func TestTheReimplementationGivesThePublishedVectors(t *testing.T) {
	want, err := json.MarshalIndent(reference(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("testdata", vectorsFile), want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := readVectors(t); !bytes.Equal(got, want) {
		t.Error("testdata/vectors.json is not what the re-implementation gives")
	}
}

func TestThePackageGivesThePublishedVectors(t *testing.T) {
	_, v := readVectors(t)
	tree, err := keytree.New(bytes.NewReader(v.RootSeed))
	if err != nil {
		t.Fatal(err)
	}
	root, err := keytree.New(bytes.NewReader(v.RootSeed))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range v.Seeds {
		n := keytree.Node{Height: keytree.Depth, Seed: keytree.Seed(v.RootSeed)}
		n, err := n.Descend(keytree.Leaf(s.Index<<s.Height), s.Height)
		if err != nil || !bytes.Equal(n.Seed[:], s.Seed) || n.Index != s.Index {
			t.Errorf("height %d, index %d: %v", s.Height, s.Index, err)
		}
	}
	for _, l := range v.LeafKeys {
		if key, err := tree.Derive(keytree.Leaf(l.Leaf)); err != nil || !bytes.Equal(key[:], l.Key) {
			t.Errorf("leaf %d: %v", l.Leaf, err)
		}
	}
	for i, step := range v.Punctures {
		var dead []keytree.Leaf
		for _, l := range step.Leaves {
			dead = append(dead, keytree.Leaf(l))
		}
		changed, err := tree.Puncture(dead...)
		if err != nil || !slices.Equal(changed, step.ChangedPages) {
			t.Errorf("step %d changed %v, %v", i, changed, err)
		}
		top, pages := bytesOf(t, tree)
		if !bytes.Equal(top, step.Top) || !slices.Equal(slices.Sorted(maps.Keys(pages)), slices.Sorted(maps.Keys(step.Pages))) {
			t.Errorf("step %d: another top, or pages %v", i, tree.SplitPages())
		}
		for page, b := range pages {
			if !bytes.Equal(b, step.Pages[page]) {
				t.Errorf("step %d: page %d differs", i, page)
			}
		}
		for _, l := range dead {
			if _, err := tree.Derive(l); !errors.Is(err, keytree.ErrPunctured) {
				t.Errorf("step %d: leaf %d: %v", i, l, err)
			}
		}
		for _, l := range step.Living {
			got, err := tree.Derive(keytree.Leaf(l))
			if want, _ := root.Derive(keytree.Leaf(l)); err != nil || got != want {
				t.Errorf("step %d: leaf %d: %v", i, l, err)
			}
		}
	}
	for _, r := range v.RefusedTops {
		if _, err := keytree.ParseTop(r.Bytes); !errors.Is(err, keytree.ErrFormat) {
			t.Errorf("a top with %s: %v", r.Why, err)
		}
	}
	for _, r := range v.RefusedPages {
		if _, err := keytree.ParseCover(r.Bytes); !errors.Is(err, keytree.ErrFormat) {
			t.Errorf("a page with %s: %v", r.Why, err)
		}
	}
}
