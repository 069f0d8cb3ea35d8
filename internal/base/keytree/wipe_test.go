package keytree

import (
	"bytes"
	"testing"
)

// The slices that a puncture replaces must not keep what they held: they stay
// in memory until the collector takes them, and longer.
func TestAPunctureOverwritesTheSeedsItReplaces(t *testing.T) {
	t.Parallel()
	tree, err := New(bytes.NewReader(bytes.Repeat([]byte{7}, SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Puncture(1000); err != nil {
		t.Fatal(err)
	}
	top, page := tree.top, tree.pages[0]
	if _, err := tree.Puncture(1001, 1<<20); err != nil {
		t.Fatal(err)
	}
	for _, nodes := range [][]Node{top, page} {
		if len(nodes) == 0 {
			t.Fatal("nothing to look at")
		}
		for _, n := range nodes {
			if n != (Node{}) {
				t.Errorf("a replaced node of height %d is still in memory", n.Height)
			}
		}
	}

	top, page = tree.top, tree.pages[0]
	tree.Wipe()
	for _, n := range append(top, page...) {
		if n != (Node{}) {
			t.Error("a seed survived Wipe")
		}
	}
}
