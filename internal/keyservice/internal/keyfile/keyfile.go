// Package keyfile is the bytes of the key store's files: their names, their
// plaintexts and how each is sealed. It is pure; docs/key-service.md is the
// specification.
//
// It promises one spelling for everything: a parser accepts exactly what its
// marshaller writes, and a sealed file opens under its own name only.
package keyfile

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/tink-crypto/tink-go/v2/aead/subtle"

	"strongroom/internal/base/keytree"
	"strongroom/internal/keyservice/guardian"
)

// A file is
//
//	"SRK1" ‖ kind (1) ‖ nonce (12) ‖ AES-256-GCM ciphertext ‖ tag (16)
//
// and its associated data is its own identity, length-prefixed, so that a
// file under another's name opens nothing. Each key seals one file, except
// the EMK, which seals every root of its epoch (bounded by MaxRevisions).
const (
	fileMagic  = "SRK1"
	fileFormat = 1 // of the plaintexts
)

// Kind says what a file is.
type Kind byte

// The kinds of file.
const (
	KindRoot  Kind = 'R'
	KindPage  Kind = 'P'
	KindTop   Kind = 'T'
	KindSplit Kind = 'S'
)

// The leaves of an organization that are leased, and their end.
const (
	FirstLeaf = uint64(keytree.FirstLease)
	MaxMark   = 1 << keytree.Depth
)

// MaxRevisions bounds the roots that one EMK seals with random nonces: far
// below the 2^32 of NIST SP 800-38D, section 8.3. The epoch is rotated first.
const MaxRevisions = 1 << 24

// Errors of this package.
var (
	ErrDamaged = errors.New("the bytes are damaged")                   // not what their reference says
	ErrForm    = errors.New("the content is not of the expected form") // it opened, and is malformed
)

// Hash is the SHA-256 of a file's bytes.
type Hash = guardian.Hash

// Key seals files. It never prints.
type Key [32]byte

// Format keeps every verb of fmt from printing the bytes.
func (Key) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("[secret]")) }

// NewKey returns a random key.
func NewKey() (k Key) { _, _ = rand.Read(k[:]); return k }

// ID identifies one file of a store.
type ID struct {
	Kind       Kind
	Epoch      uint64 // root
	Number     uint8  // page
	Org        uuid.UUID
	Generation uint32 // top, split
	Page       uint16 // split
	Revision   uint64 // in which the file was written
}

// Name returns the file's name in its folder.
func (f ID) Name() string {
	switch f.Kind {
	case KindRoot:
		return fmt.Sprintf("root.%d.%d", f.Epoch, f.Revision)
	case KindPage:
		return fmt.Sprintf("page.%d.%d", f.Number, f.Revision)
	case KindTop:
		return fmt.Sprintf("%s.%d.top.%d", hex.EncodeToString(f.Org[:]), f.Generation, f.Revision)
	default:
		return fmt.Sprintf("%s.%d.%d.%d", hex.EncodeToString(f.Org[:]), f.Generation, f.Page, f.Revision)
	}
}

// OfOrg reports whether the file lies in the folder orgs.
func (f ID) OfOrg() bool { return f.Kind == KindTop || f.Kind == KindSplit }

// ParseName reads the one spelling of a file's name.
func ParseName(name string, inOrgs bool) (f ID, ok bool) {
	part := strings.Split(name, ".")
	ok = true
	num := func(i, bits int) uint64 {
		v, err := strconv.ParseUint(part[i], 10, bits)
		ok = ok && err == nil
		return v
	}
	switch {
	case !inOrgs && part[0] == "root" && len(part) == 3:
		f = ID{Kind: KindRoot, Epoch: num(1, 64), Revision: num(2, 64)}
	case !inOrgs && part[0] == "page" && len(part) == 3:
		f = ID{Kind: KindPage, Number: uint8(num(1, 8)), Revision: num(2, 64)}
	case inOrgs && len(part) == 4:
		b, err := hex.DecodeString(part[0])
		if err != nil || len(b) != 16 {
			return ID{}, false
		}
		f = ID{Kind: KindTop, Org: uuid.UUID(b), Generation: uint32(num(1, 32)), Revision: num(3, 64)}
		if part[2] != "top" {
			f.Kind, f.Page = KindSplit, uint16(num(2, 16))
		}
	default:
		return ID{}, false
	}
	return f, ok && f.Name() == name
}

func (f ID) aad() []byte {
	field := func(b, v []byte) []byte { return append(binary.BigEndian.AppendUint16(b, uint16(len(v))), v...) }
	u64 := func(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }
	b := field(nil, []byte("strongroom/keystore/v1"))
	b = field(b, []byte{byte(f.Kind)})
	switch f.Kind {
	case KindRoot:
		b = field(b, u64(f.Epoch))
	case KindPage:
		b = field(b, u64(uint64(f.Number)))
	case KindTop, KindSplit:
		b = field(b, f.Org[:])
		b = field(b, u64(uint64(f.Generation)))
		b = field(b, u64(uint64(f.Page)))
	}
	return field(b, u64(f.Revision))
}

// File is a file ready to be written.
type File struct {
	ID
	Data []byte
	Hash Hash
}

// Seal makes the file f of a plaintext.
func Seal(f ID, k Key, plain []byte) (File, error) {
	a, err := subtle.NewAESGCM(k[:])
	if err != nil {
		return File{}, err
	}
	ct, err := a.Encrypt(plain, f.aad())
	if err != nil {
		return File{}, err
	}
	data := append([]byte(fileMagic), byte(f.Kind))
	data = append(data, ct...)
	return File{ID: f, Data: data, Hash: Sum(data)}, nil
}

// Open returns the plaintext of data, if they are the bytes of the file f.
func Open(f ID, k Key, data []byte) ([]byte, error) {
	if len(data) < len(fileMagic)+1 || string(data[:len(fileMagic)]) != fileMagic || data[len(fileMagic)] != byte(f.Kind) {
		return nil, ErrDamaged
	}
	a, err := subtle.NewAESGCM(k[:])
	if err != nil {
		return nil, err
	}
	plain, err := a.Decrypt(data[len(fileMagic)+1:], f.aad())
	if err != nil {
		return nil, ErrDamaged
	}
	return plain, nil
}

// Ref names a sealed file from the file above it: where, what key, what bytes.
type Ref struct {
	Revision uint64
	Key      Key
	Hash     Hash
}

// Ref names the file, sealed by k.
func (s File) Ref(k Key) Ref { return Ref{Revision: s.Revision, Key: k, Hash: s.Hash} }

// Root is the index of a revision: everything else hangs from it.
type Root struct {
	Store    [16]byte // the installation's, so that two stores are never mixed
	Epoch    uint64
	Revision uint64
	Fence    uint64 // grows with each key service that takes the store over
	Serial   uint64 // grows when living leaves change; caches of another serial are stale
	Previous Hash   // the root that the guardians had counted when this one was written
	Ledger   guardian.Ledger
	Leases   uint64 // leaves reserved in all organizations, ever
	First    uint64 // the epoch's first revision
	Since    int64  // when the epoch began, in Unix seconds
	Pages    map[uint8]Ref
}

// Entry is an organization in a page of the root.
type Entry struct {
	Org         uuid.UUID
	Mark        uint64 // leaves below it may have been handed out
	Generations []Generation
}

// Generation is one living tree of an organization. New values use the last.
type Generation struct {
	Number uint32
	Splits uint32 // split pages of the tree
	Top    Ref    // sealed by the organization's key
}

// Current returns the generation that new values use.
func (e Entry) Current() Generation { return e.Generations[len(e.Generations)-1] }

// TopID returns the file of a generation's top.
func (e Entry) TopID(g Generation) ID {
	return ID{Kind: KindTop, Org: e.Org, Generation: g.Number, Revision: g.Top.Revision}
}

// PageOf spreads organizations over 256 root pages by the last byte of their
// id, which is random in a UUIDv7.
func PageOf(org uuid.UUID) uint8 { return org[15] }

// Top is an organization's tree as far as it is not split, and the references
// to the pages that are.
type Top struct {
	Tree   *keytree.Tree
	Splits map[uint16]Ref
}

func appendRef(b []byte, r Ref) []byte {
	b = binary.BigEndian.AppendUint64(b, r.Revision)
	b = append(b, r.Key[:]...)
	return append(b, r.Hash[:]...)
}

// Marshal returns the plaintext: secret bytes, which the caller wipes.
func (r Root) Marshal() []byte {
	b := append([]byte{fileFormat}, r.Store[:]...)
	for _, v := range []uint64{r.Epoch, r.Revision, r.Fence, r.Serial, r.Leases, r.First, uint64(r.Since), r.Ledger.Size} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = append(b, r.Ledger.Head[:]...)
	b = append(b, r.Previous[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.Pages)))
	for n := range 256 {
		if p, ok := r.Pages[uint8(n)]; ok {
			b = appendRef(append(b, uint8(n)), p)
		}
	}
	return b
}

// reader takes a plaintext apart; the first shortage sticks.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || len(r.b) < n {
		r.bad = true
		return make([]byte, 32) // the longest fixed field; callers of longer ones check first
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}
func (r *reader) u8() uint8   { return r.take(1)[0] }
func (r *reader) u16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }
func (r *reader) ref() (v Ref) {
	v.Revision = r.u64()
	copy(v.Key[:], r.take(32))
	copy(v.Hash[:], r.take(32))
	return v
}

// end reports whether the plaintext was used up and again, newly written, has
// the same bytes: there is one spelling.
func (r *reader) end(plain, again []byte) error {
	if r.bad || len(r.b) != 0 || !bytes.Equal(plain, again) {
		return ErrForm
	}
	return nil
}

// ParseRoot reads a root.
func ParseRoot(plain []byte) (Root, error) {
	r := reader{b: plain}
	if r.u8() != fileFormat {
		return Root{}, ErrForm
	}
	v := Root{Pages: map[uint8]Ref{}}
	copy(v.Store[:], r.take(16))
	v.Epoch, v.Revision, v.Fence, v.Serial, v.Leases = r.u64(), r.u64(), r.u64(), r.u64(), r.u64()
	v.First, v.Since, v.Ledger.Size = r.u64(), int64(r.u64()), r.u64()
	copy(v.Ledger.Head[:], r.take(32))
	copy(v.Previous[:], r.take(32))
	for range r.u16() {
		if r.bad {
			break
		}
		n := r.u8()
		v.Pages[n] = r.ref()
	}
	return v, r.end(plain, v.Marshal())
}

// MarshalPage returns the plaintext of a root page: secret bytes, which the
// caller wipes.
func MarshalPage(number uint8, entries []Entry) []byte {
	b := []byte{fileFormat, number}
	b = binary.BigEndian.AppendUint32(b, uint32(len(entries)))
	for _, e := range entries {
		b = append(b, e.Org[:]...)
		b = binary.BigEndian.AppendUint64(b, e.Mark)
		b = binary.BigEndian.AppendUint16(b, uint16(len(e.Generations)))
		for _, g := range e.Generations {
			b = binary.BigEndian.AppendUint32(b, g.Number)
			b = binary.BigEndian.AppendUint32(b, g.Splits)
			b = appendRef(b, g.Top)
		}
	}
	return b
}

// ParsePage reads a root page.
func ParsePage(number uint8, plain []byte) ([]Entry, error) {
	r := reader{b: plain}
	if r.u8() != fileFormat || r.u8() != number {
		return nil, ErrForm
	}
	var entries []Entry
	for range r.u32() {
		if r.bad {
			break
		}
		e := Entry{Org: uuid.UUID(r.take(16)[:16]), Mark: r.u64()}
		for range r.u16() {
			if r.bad {
				break
			}
			g := Generation{Number: r.u32(), Splits: r.u32(), Top: r.ref()}
			if n := len(e.Generations); g.Number == 0 || n > 0 && e.Generations[n-1].Number >= g.Number {
				return nil, ErrForm
			}
			e.Generations = append(e.Generations, g)
		}
		n := len(entries)
		if len(e.Generations) == 0 || e.Mark < uint64(keytree.FirstLease) || e.Mark > MaxMark || PageOf(e.Org) != number ||
			n > 0 && bytes.Compare(entries[n-1].Org[:], e.Org[:]) >= 0 {
			return nil, ErrForm
		}
		entries = append(entries, e)
	}
	return entries, r.end(plain, MarshalPage(number, entries))
}

// Marshal returns the plaintext: secret bytes, which the caller wipes.
func (t Top) Marshal() []byte {
	tree := t.Tree.MarshalTop()
	b := binary.BigEndian.AppendUint32([]byte{fileFormat}, uint32(len(tree)))
	b = append(b, tree...)
	clear(tree)
	for _, p := range t.Tree.SplitPages() {
		b = appendRef(b, t.Splits[p])
	}
	return b
}

// ParseTop reads a top.
func ParseTop(plain []byte) (Top, error) {
	r := reader{b: plain}
	if r.u8() != fileFormat {
		return Top{}, ErrForm
	}
	n := r.u32()
	if r.bad || int64(n) > int64(len(r.b)) {
		return Top{}, ErrForm
	}
	tree, err := keytree.ParseTop(r.take(int(n)))
	if err != nil {
		return Top{}, ErrForm
	}
	t := Top{Tree: tree, Splits: map[uint16]Ref{}}
	for _, p := range tree.SplitPages() {
		t.Splits[p] = r.ref()
	}
	again := t.Marshal()
	defer clear(again)
	return t, r.end(plain, again)
}

// SealTree makes the files of an organization's tree under fresh keys: a file
// for the top and one for each split page.
func SealTree(org uuid.UUID, number uint32, tree *keytree.Tree, revision uint64) (Generation, []File, error) {
	t := Top{Tree: tree, Splits: map[uint16]Ref{}}
	var files []File
	for _, p := range tree.SplitPages() {
		cover, err := tree.Page(p)
		if err != nil {
			return Generation{}, nil, err
		}
		plain := cover.Marshal()
		cover.Wipe()
		k := NewKey()
		f, err := Seal(ID{Kind: KindSplit, Org: org, Generation: number, Page: p, Revision: revision}, k, plain)
		clear(plain)
		if err != nil {
			return Generation{}, nil, err
		}
		t.Splits[p] = f.Ref(k)
		files = append(files, f)
	}
	plain := t.Marshal()
	defer clear(plain)
	k := NewKey()
	f, err := Seal(ID{Kind: KindTop, Org: org, Generation: number, Revision: revision}, k, plain)
	if err != nil {
		return Generation{}, nil, err
	}
	return Generation{Number: number, Splits: uint32(len(t.Splits)), Top: f.Ref(k)}, append(files, f), nil
}

// Sum returns the hash of a file's bytes.
func Sum(b []byte) Hash { return sha256.Sum256(b) }

// Find returns where an organization is, or belongs, in a root page.
func Find(entries []Entry, org uuid.UUID) (int, bool) {
	return slices.BinarySearchFunc(entries, org, func(e Entry, o uuid.UUID) int { return bytes.Compare(e.Org[:], o[:]) })
}
