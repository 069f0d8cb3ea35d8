package keytree_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// The key tree once more, written from docs/key-tree.md alone and sharing
// nothing with the package: HMAC of the standard library, no cover that is kept
// but the whole of it computed from the root and the set of punctured leaves.
// Tests and published vectors hold the two against each other.

func refHMAC(key [32]byte, message string) (out [32]byte) {
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(message))
	mac.Sum(out[:0])
	return out
}

// refSeed walks from the root to the subtree of that height above the leaf.
func refSeed(root [32]byte, leaf uint32, height int) [32]byte {
	s := root
	for h := 31; h >= height; h-- {
		s = refHMAC(s, "strongroom/keytree/v1"+string(rune(leaf>>h&1)))
	}
	return s
}

type refNode struct {
	height int
	first  uint32
}

// refCover returns the largest subtrees within [first, first + 2^height) that
// hold no dead leaf, ascending. dead is sorted.
func refCover(dead []uint32, first uint32, height int) []refNode {
	lo, _ := slices.BinarySearch(dead, first)
	last := uint64(first) + 1<<height - 1
	hit := lo < len(dead) && uint64(dead[lo]) <= last
	switch {
	case !hit:
		return []refNode{{height, first}}
	case height == 0:
		return nil
	}
	half := uint32(1) << (height - 1)
	return append(refCover(dead, first, height-1), refCover(dead, first+half, height-1)...)
}

// refTree returns the top and the split pages of the tree with these dead
// leaves.
func refTree(root [32]byte, dead []uint32) (top []byte, pages map[uint16][]byte) {
	dead = slices.Compact(slices.Sorted(slices.Values(dead)))
	pages = map[uint16][]byte{}
	var split []uint32
	for _, leaf := range dead {
		split = append(split, leaf>>16)
		pages[uint16(leaf>>16)] = nil
	}
	split = slices.Compact(split)

	// A page with a dead leaf counts as a dead unit of the top.
	above := refCover(split, 0, 16)
	top = binary.BigEndian.AppendUint32([]byte{1, 'T'}, uint32(len(above)))
	for _, n := range above {
		seed := refSeed(root, n.first<<16, n.height+16)
		top = append(top, byte(n.height+16), byte(n.first>>8), byte(n.first))
		top = append(top, seed[:]...)
	}
	top = binary.BigEndian.AppendUint32(top, uint32(len(split)))
	for _, page := range split {
		top = append(top, byte(page>>8), byte(page))
	}

	for page := range pages {
		nodes := refCover(dead, uint32(page)<<16, 16)
		b := binary.BigEndian.AppendUint32([]byte{1, 'P', byte(page >> 8), byte(page)}, uint32(len(nodes)))
		for _, n := range nodes {
			seed := refSeed(root, n.first, n.height)
			b = append(b, byte(n.height), byte(n.first>>8), byte(n.first))
			b = append(b, seed[:]...)
		}
		pages[page] = b
	}
	return top, pages
}
