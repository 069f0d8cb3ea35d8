package keyservice

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

	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/keyservice/guardian"
)

// The files of a zone, specified in docs/key-service.md. A file is
//
//	"SRK1" ‖ kind (1) ‖ nonce (12) ‖ AES-256-GCM ciphertext ‖ tag (16)
//
// and its associated data is its own identity, length-prefixed, so that a
// file under another's name opens nothing. Each key seals one file, except
// the EMK, which seals every root of its epoch (bounded by maxRevisions).
const (
	fileMagic  = "SRK1"
	fileFormat = 1 // of the plaintexts
)

type fileKind byte

const (
	kindRoot  fileKind = 'R'
	kindPage  fileKind = 'P'
	kindTop   fileKind = 'T'
	kindSplit fileKind = 'S'
)

// maxMark is the end of the leaves of an organization.
const (
	maxMark   = 1 << keytree.Depth
	firstLeaf = uint64(keytree.FirstLease)
)

// maxRevisions bounds the roots that one EMK seals with random nonces: far
// below the 2^32 of NIST SP 800-38D, section 8.3. The epoch is rotated first.
const maxRevisions = 1 << 24

var (
	// errDamaged reports bytes that are not what their reference says.
	errDamaged = errors.New("the bytes are damaged")
	errForm    = errors.New("the content is not of the expected form")
)

type hash = guardian.Hash

type key [32]byte

// Format keeps every verb of fmt from printing the bytes.
func (key) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("[secret]")) }

func newKey() (k key) { _, _ = rand.Read(k[:]); return k }

// fileID identifies one file of a store.
type fileID struct {
	kind       fileKind
	epoch      uint64 // root
	number     uint8  // page
	org        uuid.UUID
	generation uint32 // top, split
	page       uint16 // split
	revision   uint64 // in which the file was written
}

func (f fileID) name() string {
	switch f.kind {
	case kindRoot:
		return fmt.Sprintf("root.%d.%d", f.epoch, f.revision)
	case kindPage:
		return fmt.Sprintf("page.%d.%d", f.number, f.revision)
	case kindTop:
		return fmt.Sprintf("%s.%d.top.%d", hex.EncodeToString(f.org[:]), f.generation, f.revision)
	default:
		return fmt.Sprintf("%s.%d.%d.%d", hex.EncodeToString(f.org[:]), f.generation, f.page, f.revision)
	}
}

// ofOrg reports whether the file lies in the folder orgs.
func (f fileID) ofOrg() bool { return f.kind == kindTop || f.kind == kindSplit }

// parseName reads the one spelling of a file's name.
func parseName(name string, inOrgs bool) (f fileID, ok bool) {
	part := strings.Split(name, ".")
	ok = true
	num := func(i, bits int) uint64 {
		v, err := strconv.ParseUint(part[i], 10, bits)
		ok = ok && err == nil
		return v
	}
	switch {
	case !inOrgs && part[0] == "root" && len(part) == 3:
		f = fileID{kind: kindRoot, epoch: num(1, 64), revision: num(2, 64)}
	case !inOrgs && part[0] == "page" && len(part) == 3:
		f = fileID{kind: kindPage, number: uint8(num(1, 8)), revision: num(2, 64)}
	case inOrgs && len(part) == 4:
		b, err := hex.DecodeString(part[0])
		if err != nil || len(b) != 16 {
			return fileID{}, false
		}
		f = fileID{kind: kindTop, org: uuid.UUID(b), generation: uint32(num(1, 32)), revision: num(3, 64)}
		if part[2] != "top" {
			f.kind, f.page = kindSplit, uint16(num(2, 16))
		}
	default:
		return fileID{}, false
	}
	return f, ok && f.name() == name
}

func (f fileID) aad() []byte {
	field := func(b, v []byte) []byte { return append(binary.BigEndian.AppendUint16(b, uint16(len(v))), v...) }
	u64 := func(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }
	b := field(nil, []byte("strongroom/keystore/v1"))
	b = field(b, []byte{byte(f.kind)})
	switch f.kind {
	case kindRoot:
		b = field(b, u64(f.epoch))
	case kindPage:
		b = field(b, u64(uint64(f.number)))
	case kindTop, kindSplit:
		b = field(b, f.org[:])
		b = field(b, u64(uint64(f.generation)))
		b = field(b, u64(uint64(f.page)))
	}
	return field(b, u64(f.revision))
}

// sealed is a file ready to be written.
type sealed struct {
	fileID
	data []byte
	hash hash
}

func sealFile(f fileID, k key, plain []byte) (sealed, error) {
	a, err := subtle.NewAESGCM(k[:])
	if err != nil {
		return sealed{}, err
	}
	ct, err := a.Encrypt(plain, f.aad())
	if err != nil {
		return sealed{}, err
	}
	data := append([]byte(fileMagic), byte(f.kind))
	data = append(data, ct...)
	return sealed{fileID: f, data: data, hash: sum(data)}, nil
}

func openFile(f fileID, k key, data []byte) ([]byte, error) {
	if len(data) < len(fileMagic)+1 || string(data[:len(fileMagic)]) != fileMagic || data[len(fileMagic)] != byte(f.kind) {
		return nil, errDamaged
	}
	a, err := subtle.NewAESGCM(k[:])
	if err != nil {
		return nil, err
	}
	plain, err := a.Decrypt(data[len(fileMagic)+1:], f.aad())
	if err != nil {
		return nil, errDamaged
	}
	return plain, nil
}

// ref names a sealed file from the file above it: where, what key, what bytes.
type ref struct {
	revision uint64
	key      key
	hash     hash
}

func (s sealed) ref(k key) ref { return ref{revision: s.revision, key: k, hash: s.hash} }

// root is the index of a revision: everything else hangs from it.
type root struct {
	store    [16]byte // the installation's, so that two stores are never mixed
	epoch    uint64
	revision uint64
	fence    uint64 // grows with each key service that takes the store over
	serial   uint64 // grows when living leaves change; caches of another serial are stale
	previous hash   // the root that the guardians had counted when this one was written
	ledger   guardian.Ledger
	leases   uint64 // leaves reserved in all organizations, ever
	first    uint64 // the epoch's first revision
	since    int64  // when the epoch began, in Unix seconds
	pages    map[uint8]ref
}

// entry is an organization in a page of the root.
type entry struct {
	org         uuid.UUID
	mark        uint64 // leaves below it may have been handed out
	generations []generation
}

// generation is one living tree of an organization. New values use the last.
type generation struct {
	number uint32
	splits uint32 // split pages of the tree
	top    ref    // sealed by the organization's key
}

func (e entry) current() generation { return e.generations[len(e.generations)-1] }

// pageOf spreads organizations over 256 root pages by the last byte of their
// id, which is random in a UUIDv7.
func pageOf(org uuid.UUID) uint8 { return org[15] }

// top is an organization's tree as far as it is not split, and the references
// to the pages that are.
type top struct {
	tree   *keytree.Tree
	splits map[uint16]ref
}

func appendRef(b []byte, r ref) []byte {
	b = binary.BigEndian.AppendUint64(b, r.revision)
	b = append(b, r.key[:]...)
	return append(b, r.hash[:]...)
}

func (r root) marshal() []byte {
	b := append([]byte{fileFormat}, r.store[:]...)
	for _, v := range []uint64{r.epoch, r.revision, r.fence, r.serial, r.leases, r.first, uint64(r.since), r.ledger.Size} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = append(b, r.ledger.Head[:]...)
	b = append(b, r.previous[:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.pages)))
	for n := range 256 {
		if p, ok := r.pages[uint8(n)]; ok {
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
func (r *reader) ref() (v ref) {
	v.revision = r.u64()
	copy(v.key[:], r.take(32))
	copy(v.hash[:], r.take(32))
	return v
}

// end reports whether the plaintext was used up and again, newly written, has
// the same bytes: there is one spelling.
func (r *reader) end(plain, again []byte) error {
	if r.bad || len(r.b) != 0 || !bytes.Equal(plain, again) {
		return errForm
	}
	return nil
}

func parseRoot(plain []byte) (root, error) {
	r := reader{b: plain}
	if r.u8() != fileFormat {
		return root{}, errForm
	}
	v := root{pages: map[uint8]ref{}}
	copy(v.store[:], r.take(16))
	v.epoch, v.revision, v.fence, v.serial, v.leases = r.u64(), r.u64(), r.u64(), r.u64(), r.u64()
	v.first, v.since, v.ledger.Size = r.u64(), int64(r.u64()), r.u64()
	copy(v.ledger.Head[:], r.take(32))
	copy(v.previous[:], r.take(32))
	for range r.u16() {
		if r.bad {
			break
		}
		n := r.u8()
		v.pages[n] = r.ref()
	}
	return v, r.end(plain, v.marshal())
}

func marshalPage(number uint8, entries []entry) []byte {
	b := []byte{fileFormat, number}
	b = binary.BigEndian.AppendUint32(b, uint32(len(entries)))
	for _, e := range entries {
		b = append(b, e.org[:]...)
		b = binary.BigEndian.AppendUint64(b, e.mark)
		b = binary.BigEndian.AppendUint16(b, uint16(len(e.generations)))
		for _, g := range e.generations {
			b = binary.BigEndian.AppendUint32(b, g.number)
			b = binary.BigEndian.AppendUint32(b, g.splits)
			b = appendRef(b, g.top)
		}
	}
	return b
}

func parsePage(number uint8, plain []byte) ([]entry, error) {
	r := reader{b: plain}
	if r.u8() != fileFormat || r.u8() != number {
		return nil, errForm
	}
	var entries []entry
	for range r.u32() {
		if r.bad {
			break
		}
		e := entry{org: uuid.UUID(r.take(16)[:16]), mark: r.u64()}
		for range r.u16() {
			if r.bad {
				break
			}
			g := generation{number: r.u32(), splits: r.u32(), top: r.ref()}
			if n := len(e.generations); g.number == 0 || n > 0 && e.generations[n-1].number >= g.number {
				return nil, errForm
			}
			e.generations = append(e.generations, g)
		}
		n := len(entries)
		if len(e.generations) == 0 || e.mark < uint64(keytree.FirstLease) || e.mark > maxMark || pageOf(e.org) != number ||
			n > 0 && bytes.Compare(entries[n-1].org[:], e.org[:]) >= 0 {
			return nil, errForm
		}
		entries = append(entries, e)
	}
	return entries, r.end(plain, marshalPage(number, entries))
}

func (t top) marshal() []byte {
	tree := t.tree.MarshalTop()
	b := binary.BigEndian.AppendUint32([]byte{fileFormat}, uint32(len(tree)))
	b = append(b, tree...)
	clear(tree)
	for _, p := range t.tree.SplitPages() {
		b = appendRef(b, t.splits[p])
	}
	return b
}

func parseTop(plain []byte) (top, error) {
	r := reader{b: plain}
	if r.u8() != fileFormat {
		return top{}, errForm
	}
	n := r.u32()
	if r.bad || int64(n) > int64(len(r.b)) {
		return top{}, errForm
	}
	tree, err := keytree.ParseTop(r.take(int(n)))
	if err != nil {
		return top{}, errForm
	}
	t := top{tree: tree, splits: map[uint16]ref{}}
	for _, p := range tree.SplitPages() {
		t.splits[p] = r.ref()
	}
	again := t.marshal()
	defer clear(again)
	return t, r.end(plain, again)
}

// sealTree makes the files of an organization's tree under fresh keys: a file
// for the top and one for each split page.
func sealTree(org uuid.UUID, number uint32, tree *keytree.Tree, revision uint64) (generation, []sealed, error) {
	t := top{tree: tree, splits: map[uint16]ref{}}
	var files []sealed
	for _, p := range tree.SplitPages() {
		cover, err := tree.Page(p)
		if err != nil {
			return generation{}, nil, err
		}
		plain := cover.Marshal()
		cover.Wipe()
		k := newKey()
		f, err := sealFile(fileID{kind: kindSplit, org: org, generation: number, page: p, revision: revision}, k, plain)
		clear(plain)
		if err != nil {
			return generation{}, nil, err
		}
		t.splits[p] = f.ref(k)
		files = append(files, f)
	}
	plain := t.marshal()
	defer clear(plain)
	k := newKey()
	f, err := sealFile(fileID{kind: kindTop, org: org, generation: number, revision: revision}, k, plain)
	if err != nil {
		return generation{}, nil, err
	}
	return generation{number: number, splits: uint32(len(t.splits)), top: f.ref(k)}, append(files, f), nil
}

func sum(b []byte) hash { return sha256.Sum256(b) }

func find(entries []entry, org uuid.UUID) (int, bool) {
	return slices.BinarySearchFunc(entries, org, func(e entry, o uuid.UUID) int { return bytes.Compare(e.org[:], o[:]) })
}

// text names an organization in messages.
func text(org uuid.UUID) string { return fmt.Sprint(orgID(org)) }

func orgID(u uuid.UUID) (o id.Org) { _ = o.Scan([16]byte(u)); return o }
