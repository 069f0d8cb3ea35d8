// Package seal encrypts every value that Strongroom stores: envelope v1.
//
// It promises that a sealed value opens only with its organization's keys and
// only where it was sealed ([Place]), that a value changed in any bit does not
// open at all, and that a section whose leaf or subject leaf was punctured
// (see package keytree) never opens again, in any copy, while the sections
// beside it do.
//
// A value is a list of sections, each with a name, a leaf and at most one
// subject leaf: a person's fields are sections of their own, with the person's
// leaf as subject, so that erasing the person leaves the rest readable.
// Content is a [Secret] before sealing and after opening, a [Sealed] in
// between; neither prints what it holds.
//
// The primitives are AES-256-GCM by Tink and HKDF and HMAC with SHA-256 by the
// standard library. docs/key-tree.md is the specification, with test vectors.
// The package does no input or output of its own: keys come from [Keys].
package seal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/keytree"
)

// Section is a part of a value with a life of its own.
type Section struct {
	Name    string       // unique in the value; 1 to 64 bytes of printable ASCII, visible in the envelope
	Leaf    keytree.Leaf // whose puncture erases the section: the record's, mostly
	Subject keytree.Leaf // whose puncture erases it as well: the person's it is about; 0 for none
	Plain   Secret       // the content; the zero Secret where the section is erased
	// Erased says that a key of the section was destroyed. It is always
	// found out from the key tree, never from what is stored; so it shows
	// what is true now, and is no evidence: the deletion ledger is.
	Erased bool
}

// ErrOpen reports a value that was changed, or that belongs to another place
// or other keys.
var ErrOpen = errors.New("seal: the value is damaged or belongs elsewhere")

// ErrNoSection reports a value that has no section of the wanted name.
var ErrNoSection = errors.New("seal: the value has no section of that name")

// Seal encrypts sections for a place, under the newest generation of keys. A
// section that was opened as erased is kept as such: its name and leaves
// without content.
func Seal(ctx context.Context, k Keys, p Place, sections ...Section) (Sealed, error) {
	if err := p.check(k); err != nil {
		return nil, err
	}
	if len(sections) < 1 || len(sections) > MaxSections {
		return nil, fmt.Errorf("seal: a value has 1 to %d sections, not %d", MaxSections, len(sections))
	}
	generation, err := k.Generation(ctx)
	if err != nil {
		return nil, err
	}

	entries := make([]entry, len(sections))
	size, content := 2, 0
	for i := range sections {
		s := &sections[i]
		entries[i] = entry{name: s.Name, generation: generation, leaf: s.Leaf, subject: s.Subject}
		if err := entries[i].check(entries[:i]); err != nil {
			return nil, err
		}
		if s.Erased != s.Plain.IsZero() {
			return nil, fmt.Errorf("seal: section %s has neither content nor the mark that it was erased, or both", s.Name)
		}
		content += s.Plain.Len()
		size += 1 + len(s.Name) + 1 + 4 + 4 + 4 + 4 + bodyOverhead + s.Plain.Len()
	}
	if content > MaxSize {
		return nil, fault.New(fault.TooLarge, "the content of one value is limited to %d bytes", MaxSize)
	}

	out := appendDirectory(make([]byte, 0, size), entries)
	directory := out[:len(out):len(out)]
	r := ring{keys: k}
	defer r.wipe()
	for i := range entries {
		aead, err := r.aead(ctx, p, &entries[i])
		if sections[i].Erased {
			switch {
			case errors.Is(err, keytree.ErrPunctured):
				out = binary.BigEndian.AppendUint32(out, 0)
				continue
			case err == nil:
				err = fmt.Errorf("seal: section %s is marked as erased, but its keys live", entries[i].name)
			}
		}
		if err != nil {
			return nil, erased(err)
		}
		body, err := aead.Encrypt(sections[i].Plain.Reveal(), associated(p, entries[i].name, directory))
		if err != nil {
			return nil, fmt.Errorf("seal: encrypting section %s: %w", entries[i].name, err)
		}
		out = binary.BigEndian.AppendUint32(out, uint32(len(body)))
		out = append(out, body...)
	}
	return out, nil
}

// Open decrypts the sections of a value, in the order in which they were
// sealed. A section whose leaf or subject leaf is punctured comes back with
// Erased set. Any other failure fails the whole value.
func Open(ctx context.Context, k Keys, p Place, s Sealed) ([]Section, error) {
	v, err := read(k, p, s)
	if err != nil {
		return nil, err
	}
	sections := make([]Section, len(v.entries))
	r := ring{keys: k}
	defer r.wipe()
	for i := range v.entries {
		e := &v.entries[i]
		sections[i] = Section{Name: e.name, Leaf: e.leaf, Subject: e.subject}
		sections[i].Plain, err = r.open(ctx, p, v.directory, e)
		if errors.Is(err, keytree.ErrPunctured) {
			sections[i].Erased = true
		} else if err != nil {
			return nil, err
		}
	}
	return sections, nil
}

// OpenOne decrypts the section of the given name and no other. It fails with
// ErrErased where the section is erased.
func OpenOne(ctx context.Context, k Keys, p Place, s Sealed, name string) (Secret, error) {
	v, err := read(k, p, s)
	if err != nil {
		return Secret{}, err
	}
	for i := range v.entries {
		if v.entries[i].name != name {
			continue
		}
		r := ring{keys: k}
		defer r.wipe()
		plain, err := r.open(ctx, p, v.directory, &v.entries[i])
		return plain, erased(err)
	}
	return Secret{}, ErrNoSection
}

// Leaves returns the leaves and subject leaves of a value, ascending, each
// once. It needs no key: it reads what the envelope shows.
func Leaves(s Sealed) ([]keytree.Leaf, error) {
	v, err := parse(s)
	if err != nil {
		return nil, err
	}
	var leaves []keytree.Leaf
	for i := range v.entries {
		leaves = append(leaves, v.entries[i].leaf)
		if v.entries[i].subject != keytree.NoLeaf {
			leaves = append(leaves, v.entries[i].subject)
		}
	}
	slices.Sort(leaves)
	return slices.Compact(leaves), nil
}

func read(k Keys, p Place, s Sealed) (envelope, error) {
	if err := p.check(k); err != nil {
		return envelope{}, err
	}
	return parse(s)
}

// aead returns the cipher of a section, whose key no other section, row or
// version has.
func (r *ring) aead(ctx context.Context, p Place, e *entry) (*subtle.AESGCM, error) {
	key, err := r.key(ctx, e.generation, e.leaf, e.subject, info(purposeValue, p.Org, p.Table, p.Row[:], p.Version, e.name))
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return subtle.NewAESGCM(key)
}

func (r *ring) open(ctx context.Context, p Place, directory []byte, e *entry) (Secret, error) {
	aead, err := r.aead(ctx, p, e)
	if err != nil {
		return Secret{}, err
	}
	// An erased section may have lost its body. One whose keys live may not:
	// Decrypt refuses a body without nonce and tag.
	plain, err := aead.Decrypt(e.body, associated(p, e.name, directory))
	if err != nil {
		return Secret{}, ErrOpen
	}
	return NewSecret(plain), nil
}

// associated is the additional data that a section authenticates: where the
// value stands, which section this is, and the whole directory, with the
// suite, generation, leaf and subject leaf of every section.
func associated(p Place, name string, directory []byte) []byte {
	b := make([]byte, 0, 160+len(directory))
	b = appendField(b, label)
	b = appendField(b, p.Org.Bytes())
	b = appendField(b, p.Table)
	b = appendField(b, p.Row[:])
	b = appendField(b, binary.BigEndian.AppendUint64(nil, p.Version))
	b = appendField(b, name)
	return appendField(b, directory)
}
