package seal_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"

	"github.com/google/uuid"

	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/seal"
)

const (
	leafRecord  = keytree.FirstLease + 1000
	leafPerson  = keytree.FirstLease + 2000
	leafOther   = keytree.FirstLease + 70_000
	leafRetired = keytree.FirstLease + 3000
)

// treeKeys are the keys of one organization on real key trees, one for each
// generation. A leaf is punctured in all of them, as the key service does.
type treeKeys struct {
	org    id.Org
	trees  []*keytree.Tree // generation n is trees[n-1]
	cached map[keytree.Leaf]keytree.Key
	// What the key service answers instead: to everything, to LeafKey alone.
	fail, failLeaf error
}

func newKeys(t testing.TB) *treeKeys {
	t.Helper()
	k := &treeKeys{org: id.NewOrg()}
	k.rotate(t)
	return k
}

// fixedKeys are the same in every process: a fuzzing worker opens what the
// coordinator sealed.
func fixedKeys(t testing.TB) *treeKeys {
	t.Helper()
	tree, err := keytree.New(bytes.NewReader(bytes.Repeat([]byte{7}, keytree.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return &treeKeys{org: id.Installation, trees: []*keytree.Tree{tree}}
}

func (k *treeKeys) rotate(t testing.TB) {
	t.Helper()
	tree, err := keytree.New(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k.trees = append(k.trees, tree)
}

func (k *treeKeys) puncture(t testing.TB, leaves ...keytree.Leaf) {
	t.Helper()
	for _, tree := range k.trees {
		if _, err := tree.Puncture(leaves...); err != nil {
			t.Fatal(err)
		}
	}
}

// warm keeps a leaf key at hand.
func (k *treeKeys) warm(leaf keytree.Leaf) {
	key, err := k.trees[len(k.trees)-1].Derive(leaf)
	if err != nil {
		panic(err)
	}
	k.cached = map[keytree.Leaf]keytree.Key{leaf: key}
}

func (k *treeKeys) Org() id.Org { return k.org }

func (k *treeKeys) Generation(context.Context) (uint32, error) {
	return uint32(len(k.trees)), k.fail
}

func (k *treeKeys) LeafKey(_ context.Context, generation uint32, leaf keytree.Leaf) (keytree.Key, error) {
	if key, ok := k.cached[leaf]; ok {
		return key, nil
	}
	if err := cmp.Or(k.fail, k.failLeaf); err != nil {
		return keytree.Key{}, err
	}
	if generation < 1 || int(generation) > len(k.trees) {
		return keytree.Key{}, errors.New("no such generation of keys")
	}
	key, err := k.trees[generation-1].Derive(leaf)
	if err != nil {
		return keytree.Key{}, fmt.Errorf("key service: %w", err)
	}
	return key, nil
}

func place(k *treeKeys, version uint64) seal.Place {
	return seal.Place{Org: k.org, Table: "record", Row: uuid.UUID{0: 1, 6: 0x70, 8: 0x80, 15: 9}, Version: version}
}

func mustSeal(t testing.TB, k seal.Keys, p seal.Place, sections ...seal.Section) seal.Sealed {
	t.Helper()
	s, err := seal.Seal(t.Context(), k, p, sections...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func text(name string, leaf, subject keytree.Leaf, plain string) seal.Section {
	return seal.Section{Name: name, Leaf: leaf, Subject: subject, Plain: seal.NewSecretString(plain)}
}

// canary is content that cannot be confused with anything else and does not
// compress.
func canary(t testing.TB) []byte {
	t.Helper()
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(b)
}
