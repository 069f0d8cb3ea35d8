package seal

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
)

// Keys gives an organization's leaf keys. The key service's client implements
// it.
type Keys interface {
	// Org is the organization whose keys these are.
	Org() id.Org
	// Generation is the generation of keys that new values are sealed under,
	// from 1.
	Generation(ctx context.Context) (uint32, error)
	// LeafKey fails with an error that wraps [keytree.ErrPunctured] if, and
	// only if, the leaf is punctured: any other failure must not be taken for
	// an erasure.
	LeafKey(ctx context.Context, generation uint32, leaf keytree.Leaf) (keytree.Key, error)
}

// Place is where a sealed value stands. A value opens at its own place only:
// not in another row, column of another table, version or organization.
type Place struct {
	Org     id.Org
	Table   string
	Row     uuid.UUID
	Version uint64
}

const maxName = 64

func (p Place) check(k Keys) error {
	switch {
	case p.Org.IsZero():
		return errors.New("seal: the place names no organization")
	case p.Org != k.Org():
		return errors.New("seal: the place is of another organization than the keys")
	case p.Row == uuid.Nil:
		return errors.New("seal: the place names no row")
	}
	return checkName(p.Table, "the table of the place")
}

// checkName holds names to short printable ASCII. They stand in the clear, so
// they are words of the schema, never content.
func checkName(name, what string) error {
	if len(name) < 1 || len(name) > maxName {
		return fmt.Errorf("seal: %s has a name of %d bytes, not of 1 to %d", what, len(name), maxName)
	}
	for i := range len(name) {
		if name[i] <= ' ' || name[i] > '~' {
			return fmt.Errorf("seal: %s has a name that is not printable ASCII", what)
		}
	}
	return nil
}

const (
	label    = "strongroom/seal/v1"
	suiteGCM = 1 // AES-256-GCM with a random 96-bit nonce, key by HKDF-SHA-256

	purposeValue = "value"
	purposeFile  = "file"
	purposeHash  = "hash"
	purposeToken = "token"

	keySize = 32
)

// appendField appends a field behind its length, so that no two lists of
// fields share an encoding.
func appendField[T string | []byte](b []byte, field T) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(field)))
	return append(b, field...)
}

// info is what a key is bound to, for HKDF (RFC 5869, section 3.2).
func info(purpose string, org id.Org, table string, row []byte, version uint64, section string) string {
	b := make([]byte, 0, 192)
	b = appendField(b, label)
	b = appendField(b, []byte{suiteGCM})
	b = appendField(b, purpose)
	b = appendField(b, org.Bytes())
	b = appendField(b, table)
	b = appendField(b, row)
	b = appendField(b, binary.BigEndian.AppendUint64(nil, version))
	b = appendField(b, section)
	return string(b)
}

// ring derives the keys of one call. Sections mostly share their leaves, so it
// remembers the last extraction, and forgets it in wipe.
type ring struct {
	keys          Keys
	generation    uint32
	leaf, subject keytree.Leaf
	prk           []byte
}

// key derives a key from the leaf key and, where there is a subject, the
// subject's leaf key: whoever has destroyed either has destroyed it.
func (r *ring) key(ctx context.Context, generation uint32, leaf, subject keytree.Leaf, info string) ([]byte, error) {
	if r.prk == nil || r.generation != generation || r.leaf != leaf || r.subject != subject {
		if err := r.extract(ctx, generation, leaf, subject); err != nil {
			return nil, err
		}
	}
	return hkdf.Expand(sha256.New, r.prk, info, keySize)
}

func (r *ring) extract(ctx context.Context, generation uint32, leaf, subject keytree.Leaf) error {
	r.wipe()
	if leaf == keytree.NoLeaf {
		return keytree.ErrNoLeaf
	}
	var secret [2 * keytree.KeySize]byte
	defer clear(secret[:])
	used := secret[:keytree.KeySize]
	k, err := r.keys.LeafKey(ctx, generation, leaf)
	if err != nil {
		return err
	}
	copy(secret[:], k[:])
	if subject != keytree.NoLeaf {
		if k, err = r.keys.LeafKey(ctx, generation, subject); err != nil {
			return err
		}
		copy(secret[keytree.KeySize:], k[:])
		used = secret[:]
	}
	clear(k[:])
	prk, err := hkdf.Extract(sha256.New, used, nil)
	if err != nil {
		return err
	}
	r.generation, r.leaf, r.subject, r.prk = generation, leaf, subject, prk
	return nil
}

func (r *ring) wipe() {
	clear(r.prk)
	r.prk = nil
}

// ErrErased reports content whose key was destroyed.
var ErrErased error = fault.New(fault.NotFound, "this content has been erased")

// erased turns the puncture of a leaf into ErrErased, and leaves every other
// failure what it is.
func erased(err error) error {
	if errors.Is(err, keytree.ErrPunctured) {
		return ErrErased
	}
	return err
}

// FileKey returns the key of a file's bytes, which minio/sio encrypts. It
// fails with ErrErased where the leaf is punctured.
func FileKey(ctx context.Context, k Keys, p Place, generation uint32, leaf keytree.Leaf) (key [32]byte, err error) {
	if err := p.check(k); err != nil {
		return key, err
	}
	r := ring{keys: k}
	defer r.wipe()
	b, err := r.key(ctx, generation, leaf, keytree.NoLeaf, info(purposeFile, p.Org, p.Table, p.Row[:], p.Version, ""))
	if err != nil {
		return key, erased(err)
	}
	copy(key[:], b)
	clear(b)
	return key, nil
}
