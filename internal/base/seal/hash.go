package seal

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"strongroom/internal/base/keytree"
)

// Hasher computes keyed hashes, by which sealed values are found: equal parts
// give equal hashes, and without the key a hash tells nothing about its parts.
// It may be used by many goroutines at once.
type Hasher struct {
	generation uint32
	key        []byte
}

// NewHasher returns the hashes of a purpose, such as "person email", under the
// newest generation of the organization's keys. Hashes of two purposes, two
// organizations or two generations have nothing in common; what is stored
// under an older generation is found by [NewHasherAt].
func NewHasher(ctx context.Context, k Keys, leaf keytree.Leaf, purpose string) (*Hasher, error) {
	generation, err := k.Generation(ctx)
	if err != nil {
		return nil, err
	}
	return NewHasherAt(ctx, k, generation, leaf, purpose)
}

// NewHasherAt is NewHasher under the generation that is named.
func NewHasherAt(ctx context.Context, k Keys, generation uint32, leaf keytree.Leaf, purpose string) (*Hasher, error) {
	if purpose == "" {
		return nil, fmt.Errorf("seal: a keyed hash needs a purpose")
	}
	r := ring{keys: k}
	defer r.wipe()
	key, err := r.key(ctx, generation, leaf, keytree.NoLeaf, info(purposeHash, k.Org(), "", nil, 0, purpose))
	if err != nil {
		return nil, erased(err)
	}
	return &Hasher{generation, key}, nil
}

// Generation returns the generation of keys that the hashes are under.
func (h *Hasher) Generation() uint32 { return h.generation }

// Sum returns 32 bytes: HMAC-SHA-256 over the parts, each behind its length,
// so that ("ab", "c") and ("a", "bc") differ.
func (h *Hasher) Sum(parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, h.key)
	var length [8]byte
	for _, part := range parts {
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		_, _ = mac.Write(length[:])
		_, _ = mac.Write(part)
	}
	return mac.Sum(make([]byte, 0, sha256.Size))
}

// Format prints no key.
func (Hasher) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[hasher]")) }
