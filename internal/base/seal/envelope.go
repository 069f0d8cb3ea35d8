package seal

import (
	"encoding/binary"
	"errors"
	"fmt"

	"strongroom/internal/base/keytree"
)

// Limits of an envelope.
const (
	MaxSections = 64
	MaxSize     = 16 << 20 // bytes of content, all sections together

	version1     = 1
	bodyOverhead = 12 + 16 // nonce and tag of AES-GCM
	maxEnvelope  = 2 + MaxSections*(1+maxName+1+4+4+4+4+bodyOverhead) + MaxSize
)

// ErrFormat reports bytes that are not an envelope.
var ErrFormat = errors.New("seal: not a well-formed envelope")

// Envelope v1, all numbers big-endian:
//
//	envelope  = directory ‖ bodies
//	directory = 01 ‖ number of sections (1) ‖ entries
//	entry     = length of name (1) ‖ name ‖ suite (1) ‖ generation (4) ‖ leaf (4) ‖ subject leaf (4)
//	body      = length (4) ‖ nonce (12) ‖ ciphertext ‖ tag (16), or length 0 of a section that is erased
//
// The directory comes first and whole, because every section authenticates
// all of it: a section that is taken out, added, renamed or pointed at another
// leaf spoils the others.
type envelope struct {
	directory []byte
	entries   []entry
}

type entry struct {
	name          string
	generation    uint32
	leaf, subject keytree.Leaf
	body          []byte // nonce ‖ ciphertext ‖ tag; empty: erased
}

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrFormat, what) }

// appendDirectory writes what parse reads.
func appendDirectory(b []byte, entries []entry) []byte {
	b = append(b, version1, byte(len(entries)))
	for i := range entries {
		e := &entries[i]
		b = append(b, byte(len(e.name)))
		b = append(b, e.name...)
		b = append(b, suiteGCM)
		b = binary.BigEndian.AppendUint32(b, e.generation)
		b = binary.BigEndian.AppendUint32(b, uint32(e.leaf))
		b = binary.BigEndian.AppendUint32(b, uint32(e.subject))
	}
	return b
}

// parse reads an envelope. It accepts exactly one spelling.
func parse(b []byte) (envelope, error) {
	switch {
	case len(b) < 2:
		return envelope{}, malformed("it ends early")
	case len(b) > maxEnvelope:
		return envelope{}, malformed("it is too long")
	case b[0] != version1:
		return envelope{}, malformed("its version is not 1")
	case b[1] < 1 || b[1] > MaxSections:
		return envelope{}, malformed("its number of sections is out of range")
	}
	v := envelope{entries: make([]entry, b[1])}
	rest := b[2:]
	for i := range v.entries {
		e := &v.entries[i]
		if len(rest) < 1 {
			return envelope{}, malformed("it ends early")
		}
		n := int(rest[0])
		if rest = rest[1:]; len(rest) < n+1+4+4+4 {
			return envelope{}, malformed("it ends early")
		}
		e.name, rest = string(rest[:n]), rest[n:]
		if rest[0] != suiteGCM {
			return envelope{}, malformed("a section has a suite that is not known")
		}
		e.generation = binary.BigEndian.Uint32(rest[1:])
		e.leaf = keytree.Leaf(binary.BigEndian.Uint32(rest[5:]))
		e.subject = keytree.Leaf(binary.BigEndian.Uint32(rest[9:]))
		rest = rest[13:]
		if err := e.check(v.entries[:i]); err != nil {
			return envelope{}, fmt.Errorf("%w: %w", ErrFormat, err)
		}
	}
	v.directory = b[:len(b)-len(rest)]
	for i := range v.entries {
		if len(rest) < 4 {
			return envelope{}, malformed("it ends early")
		}
		n := binary.BigEndian.Uint32(rest)
		if rest = rest[4:]; uint64(n) > uint64(len(rest)) {
			return envelope{}, malformed("it ends early")
		}
		if n != 0 && n < bodyOverhead {
			return envelope{}, malformed("a body is shorter than its nonce and tag")
		}
		v.entries[i].body, rest = rest[:n], rest[n:]
	}
	if len(rest) > 0 {
		return envelope{}, malformed("bytes follow its end")
	}
	return v, nil
}

// check holds an entry to the rules that Seal and parse share. before are the
// entries that precede it.
func (e *entry) check(before []entry) error {
	if err := checkName(e.name, "a section"); err != nil {
		return err
	}
	switch {
	case e.generation == 0:
		return errors.New("seal: a section has no generation")
	case e.leaf == keytree.NoLeaf:
		return errors.New("seal: a section has no leaf")
	case e.leaf == e.subject:
		return errors.New("seal: a section has its own leaf as subject")
	}
	for i := range before {
		if before[i].name == e.name {
			return errors.New("seal: two sections have the same name")
		}
	}
	return nil
}
