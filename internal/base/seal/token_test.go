package seal_test

import (
	"bytes"
	"errors"
	"testing"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/seal"
)

func TestATokenOpensForItsOwnUseOnly(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	plain, actor := []byte("page after 17"), []byte("actor and query")
	token, err := seal.SealToken(t.Context(), k, keytree.LeafToken, "cursor", plain, actor)
	if err != nil || bytes.Contains(token, plain) {
		t.Fatalf("%v", err)
	}
	got, err := seal.OpenToken(t.Context(), k, keytree.LeafToken, "cursor", token, actor)
	if err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("got %q, %v", got, err)
	}
	again, _ := seal.SealToken(t.Context(), k, keytree.LeafToken, "cursor", plain, actor)
	if bytes.Equal(again, token) {
		t.Error("two tokens are the same")
	}

	refused := func(what string, keys seal.Keys, leaf keytree.Leaf, purpose string, token, associated []byte) {
		t.Helper()
		if got, err := seal.OpenToken(t.Context(), keys, leaf, purpose, token, associated); !errors.Is(err, seal.ErrToken) || got != nil {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	refused("another purpose", k, keytree.LeafToken, "cursos", token, actor)
	refused("another leaf", k, keytree.LeafAudit, "cursor", token, actor)
	refused("another actor", k, keytree.LeafToken, "cursor", token, []byte("actor and querz"))
	refused("no actor", k, keytree.LeafToken, "cursor", token, nil)
	refused("another organization", newKeys(t), keytree.LeafToken, "cursor", token, actor)
	namesake := newKeys(t)
	namesake.trees = k.trees
	refused("the same leaf keys under another name", namesake, keytree.LeafToken, "cursor", token, actor)
	for i := range token {
		bad := bytes.Clone(token)
		bad[i] ^= 1
		refused("a changed byte", k, keytree.LeafToken, "cursor", bad, actor)
		refused("a cut token", k, keytree.LeafToken, "cursor", token[:i], actor)
	}
	refused("a long token", k, keytree.LeafToken, "cursor", append([]byte{1}, make([]byte, 1<<16)...), actor)
}

func TestATokenOutlivesOneRotationOfKeys(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	token, err := seal.SealToken(t.Context(), k, keytree.LeafToken, "cursor", []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	k.rotate(t)
	if _, err := seal.OpenToken(t.Context(), k, keytree.LeafToken, "cursor", token, nil); err != nil {
		t.Errorf("after one rotation: %v", err)
	}
	k.rotate(t)
	if _, err := seal.OpenToken(t.Context(), k, keytree.LeafToken, "cursor", token, nil); !errors.Is(err, seal.ErrToken) {
		t.Errorf("after two: %v", err)
	}
}

func TestATokenNeedsAPurposeALimitAndALivingLeaf(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	if _, err := seal.SealToken(t.Context(), k, keytree.LeafToken, "", nil, nil); err == nil {
		t.Error("a token without a purpose was sealed")
	}
	if _, err := seal.SealToken(t.Context(), k, keytree.LeafToken, "cursor", make([]byte, seal.MaxToken+1), nil); !fault.Is(err, fault.TooLarge) {
		t.Errorf("a token that is too long: %v", err)
	}
	token, err := seal.SealToken(t.Context(), k, keytree.LeafToken, "cursor", make([]byte, seal.MaxToken), nil)
	if err != nil {
		t.Fatal(err)
	}
	k.fail = fault.New(fault.Unavailable, "the key service does not answer")
	if _, err := seal.OpenToken(t.Context(), k, keytree.LeafToken, "cursor", token, nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("the key service is away: %v", err)
	}
	k.fail, k.failLeaf = nil, k.fail
	if _, err := seal.OpenToken(t.Context(), k, keytree.LeafToken, "cursor", token, nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("the leaf key is not to be had: %v", err)
	}
	k.failLeaf = nil
	k.puncture(t, keytree.LeafToken)
	if _, err := seal.OpenToken(t.Context(), k, keytree.LeafToken, "cursor", token, nil); !errors.Is(err, seal.ErrToken) {
		t.Errorf("the leaf is punctured: %v", err)
	}
	if _, err := seal.SealToken(t.Context(), k, keytree.LeafToken, "cursor", nil, nil); !errors.Is(err, seal.ErrErased) {
		t.Errorf("sealing under a punctured leaf: %v", err)
	}
}

func TestAHashIsBoundToEverythingItIsMadeFor(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	k.rotate(t)
	hasher := func(k *treeKeys, generation uint32, leaf keytree.Leaf, purpose string) *seal.Hasher {
		h, err := seal.NewHasherAt(t.Context(), k, generation, leaf, purpose)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	namesake := newKeys(t)
	namesake.trees = k.trees
	h := hasher(k, 2, keytree.LeafIndex, "email")
	ab, c := []byte("ab"), []byte("c")
	seen := map[string]string{}
	for what, sum := range map[string][]byte{
		"itself":               h.Sum(ab, c),
		"parts cut elsewhere":  h.Sum([]byte("a"), []byte("bc")),
		"one part":             h.Sum([]byte("abc")),
		"an empty part more":   h.Sum(ab, c, nil),
		"no parts":             h.Sum(),
		"an empty part":        h.Sum(nil),
		"another purpose":      hasher(k, 2, keytree.LeafIndex, "emails").Sum(ab, c),
		"another leaf":         hasher(k, 2, keytree.LeafAudit, "email").Sum(ab, c),
		"another generation":   hasher(k, 1, keytree.LeafIndex, "email").Sum(ab, c),
		"another organization": hasher(namesake, 2, keytree.LeafIndex, "email").Sum(ab, c),
	} {
		if other, ok := seen[string(sum)]; ok || len(sum) != 32 {
			t.Errorf("%s: %d bytes, the same as %s", what, len(sum), other)
		}
		seen[string(sum)] = what
	}
	newest, err := seal.NewHasher(t.Context(), k, keytree.LeafIndex, "email")
	if err != nil || newest.Generation() != 2 || !bytes.Equal(newest.Sum(ab, c), h.Sum(ab, c)) {
		t.Errorf("the newest generation's hash is another: %v", err)
	}
	if _, err := seal.NewHasher(t.Context(), k, keytree.LeafIndex, ""); err == nil {
		t.Error("a hash without a purpose was made")
	}
	k.puncture(t, keytree.LeafIndex)
	if _, err := seal.NewHasher(t.Context(), k, keytree.LeafIndex, "email"); !errors.Is(err, seal.ErrErased) {
		t.Errorf("a punctured index key: %v", err)
	}
}

func FuzzOpenToken(f *testing.F) {
	k := fixedKeys(f)
	token, err := seal.SealToken(f.Context(), k, keytree.LeafToken, "cursor", []byte("x"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token)
	f.Add(bytes.Repeat([]byte{1}, len(token)))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := seal.OpenToken(t.Context(), k, keytree.LeafToken, "cursor", b, nil)
		if err == nil && string(got) != "x" || err != nil && !errors.Is(err, seal.ErrToken) {
			t.Errorf("got %q, %v", got, err)
		}
	})
}
