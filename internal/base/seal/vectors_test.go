package seal_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/uuid"

	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/seal"
)

var update = flag.Bool("update", false, "write testdata/vectors.json from the re-implementation in reference_test.go")

const vectorsFile = "vectors.json"

// vectors are published with docs/key-tree.md. A line of theirs that changes
// means that every value sealed so far is lost: a new format gets a file of its
// own.
type vectors struct {
	Specification string              `json:"specification"`
	Organization  uuid.UUID           `json:"organization"`
	Generation    uint32              `json:"generation"`
	LeafKeys      map[uint32]hexBytes `json:"leaf_keys"`
	Punctured     []uint32            `json:"punctured"` // of the leaves above: known to the writer, not to the reader
	Envelopes     []envelopeVector    `json:"envelopes"`
	Refused       []refusedVector     `json:"refused"` // at the place of the first envelope
	FileKeys      []fileVector        `json:"file_keys"`
	Hashes        []hashVector        `json:"hashes"`
	Tokens        []tokenVector       `json:"tokens"`
}

type envelopeVector struct {
	Table    string          `json:"table"`
	Row      uuid.UUID       `json:"row"`
	Version  uint64          `json:"version"`
	Sections []sectionVector `json:"sections"`
	Envelope hexBytes        `json:"envelope"`
}

type sectionVector struct {
	Name     string   `json:"name"`
	Leaf     uint32   `json:"leaf"`
	Subject  uint32   `json:"subject"`
	Plain    hexBytes `json:"plain,omitempty"`
	Nonce    hexBytes `json:"nonce,omitempty"`
	ValueKey hexBytes `json:"value_key,omitempty"`
	Erased   bool     `json:"erased,omitempty"` // to the reader
	NoBody   bool     `json:"no_body,omitempty"`
}

type refusedVector struct {
	Why       string   `json:"why"`
	Malformed bool     `json:"malformed"` // seen without a key
	Envelope  hexBytes `json:"envelope"`
}

type fileVector struct {
	Table   string    `json:"table"`
	Row     uuid.UUID `json:"row"`
	Version uint64    `json:"version"`
	Leaf    uint32    `json:"leaf"`
	Key     hexBytes  `json:"key"`
}

type hashVector struct {
	Leaf    uint32     `json:"leaf"`
	Purpose string     `json:"purpose"`
	Parts   []hexBytes `json:"parts"`
	Key     hexBytes   `json:"key"`
	Sum     hexBytes   `json:"sum"`
}

type tokenVector struct {
	Leaf       uint32   `json:"leaf"`
	Purpose    string   `json:"purpose"`
	Plain      hexBytes `json:"plain"`
	Associated hexBytes `json:"associated"`
	Key        hexBytes `json:"key"`
	Token      hexBytes `json:"token"`
}

type hexBytes []byte

func (b hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }
func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

// filler gives the vectors their keys and nonces.
func filler(name string, n int) []byte {
	sum := sha256.Sum256([]byte("strongroom test vector " + name))
	return sum[:n]
}

// reference makes the vectors without the package.
func reference() vectors {
	const gone = 99
	v := vectors{
		Specification: "docs/key-tree.md, envelope v1",
		Organization:  uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8057"),
		Generation:    3,
		LeafKeys:      map[uint32]hexBytes{},
		Punctured:     []uint32{gone},
	}
	keys := map[uint32][]byte{}
	for _, leaf := range []struct {
		index uint32
		name  string
	}{{2, "index"}, {4, "tokens"}, {16, "record"}, {17, "person"}, {gone, "punctured"}} {
		keys[leaf.index] = filler("leaf key "+leaf.name, 32)
		v.LeafKeys[leaf.index] = keys[leaf.index]
	}
	row := uuid.MustParse("01890a5d-ac96-774b-bcce-b302099a8058")
	section := func(name string, leaf, subject uint32, plain string) sectionVector {
		return sectionVector{Name: name, Leaf: leaf, Subject: subject, Plain: hexBytes(plain), Nonce: filler("nonce "+name, 12)}
	}
	for _, e := range []envelopeVector{
		{Table: "record", Version: 1, Sections: []sectionVector{section("content", 16, 0, `{"sample":"GaAs-17"}`)}},
		{Table: "record", Version: 1<<63 + 5, Sections: []sectionVector{section("content", 16, 0, ""), section("author", 16, 17, "Ada Lovelace"), section("empty", 17, 0, "")}},
		{Table: "record", Version: 2, Sections: []sectionVector{section("content", 16, 0, "kept"), section("author", 16, gone, "Grace Hopper"), section("note", gone, 17, "unread")}},
		{Table: "a_table_with_a_longer_name", Version: 7, Sections: []sectionVector{section("content", 16, 0, "kept"),
			{Name: "author", Leaf: 16, Subject: gone, NoBody: true}}},
	} {
		e.Row = row
		p := refPlace{v.Organization[:], e.Table, row[:], e.Version}
		var sections []refSection
		for i := range e.Sections {
			s := &e.Sections[i]
			s.Erased = s.Leaf == gone || s.Subject == gone
			sections = append(sections, refSection{s.Name, v.Generation, s.Leaf, s.Subject, s.NoBody, s.Plain, s.Nonce})
		}
		valueKeys, envelope := refEnvelope(keys, p, sections)
		for i := range e.Sections {
			e.Sections[i].ValueKey = valueKeys[i]
		}
		e.Envelope = envelope
		v.Envelopes = append(v.Envelopes, e)
	}

	first := v.Envelopes[0].Envelope
	changed := func(at int, to byte) hexBytes {
		b := bytes.Clone(first)
		b[at] = to
		return b
	}
	const suite = 2 + 1 + len("content")
	const body = suite + 13
	v.Refused = []refusedVector{
		{"version 2", true, changed(0, 2)},
		{"no section", true, hexBytes{1, 0}},
		{"an unknown suite", true, changed(suite, 2)},
		{"generation 0", true, changed(suite+4, 0)},
		{"leaf 0", true, changed(suite+8, 0)},
		{"its leaf as subject", true, changed(suite+12, 16)},
		{"a name with a space", true, changed(3, ' ')},
		{"the same name twice", true, slices.Concat(hexBytes{1, 2}, first[2:body], first[2:body], first[body:], first[body:])},
		{"a body shorter than nonce and tag", true, slices.Concat(first[:body], hexBytes{0, 0, 0, 27}, make(hexBytes, 27))},
		{"a byte after the end", true, append(bytes.Clone(first), 0)},
		{"a changed name", false, changed(3, 'k')},
		{"a changed generation", false, changed(suite+4, 2)},
		{"a changed tag", false, changed(len(first)-1, first[len(first)-1]^1)},
		{"no body, and its keys live", false, append(bytes.Clone(first[:body]), 0, 0, 0, 0)},
		{"the envelope of another version", false, bytes.Clone(v.Envelopes[1].Envelope)},
	}
	for _, f := range []fileVector{{Table: "file", Row: row, Version: 1, Leaf: 16}, {Table: "file", Row: row, Version: 2, Leaf: 16}} {
		f.Key = refFileKey(keys[f.Leaf], refPlace{v.Organization[:], f.Table, row[:], f.Version})
		v.FileKeys = append(v.FileKeys, f)
	}
	for _, parts := range [][]hexBytes{{[]byte("ada@example.org")}, {[]byte("ab"), []byte("c")}, {}} {
		h := hashVector{Leaf: 2, Purpose: "person email", Parts: parts}
		var raw [][]byte
		for _, part := range parts {
			raw = append(raw, part)
		}
		h.Key, h.Sum = refHash(keys[2], v.Organization[:], h.Purpose, raw...)
		v.Hashes = append(v.Hashes, h)
	}
	for _, k := range []tokenVector{{Plain: []byte("after 17"), Associated: []byte("actor and query")}, {Plain: []byte{}, Associated: []byte{}}} {
		k.Leaf, k.Purpose = 4, "cursor"
		k.Key, k.Token = refToken(keys[4], v.Organization[:], k.Purpose, filler("salt", 16), filler("nonce token", 12), k.Plain, k.Associated)
		v.Tokens = append(v.Tokens, k)
	}
	return v
}

// vectorKeys are the reader's keys.
type vectorKeys struct{ v vectors }

func (k vectorKeys) Org() id.Org { return orgOf(k.v.Organization) }

func (k vectorKeys) Generation(context.Context) (uint32, error) { return k.v.Generation, nil }

func (k vectorKeys) LeafKey(_ context.Context, generation uint32, leaf keytree.Leaf) (keytree.Key, error) {
	key, ok := k.v.LeafKeys[uint32(leaf)]
	switch {
	case generation != k.v.Generation || !ok:
		return keytree.Key{}, errors.New("the vectors have no such key")
	case bytes.Equal(key, filler("leaf key punctured", 32)):
		return keytree.Key{}, keytree.ErrPunctured
	}
	return keytree.Key(key), nil
}

// orgOf gives a uuid the type of an organization.
func orgOf(u uuid.UUID) (org id.Org) {
	if err := org.Scan([16]byte(u)); err != nil {
		panic(err)
	}
	return org
}

func readVectors(t *testing.T) (raw []byte, v vectors) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", vectorsFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return raw, v
}

func TestTheReimplementationGivesThePublishedVectors(t *testing.T) {
	want, err := json.MarshalIndent(reference(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join("testdata", vectorsFile), want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := readVectors(t); !bytes.Equal(got, want) {
		t.Error("testdata/vectors.json is not what the re-implementation gives")
	}
}

func TestThePackageReadsThePublishedVectors(t *testing.T) {
	_, v := readVectors(t)
	k := vectorKeys{v}
	for i, e := range v.Envelopes {
		p := seal.Place{Org: k.Org(), Table: e.Table, Row: e.Row, Version: e.Version}
		got, err := seal.Open(t.Context(), k, p, seal.Sealed(e.Envelope))
		if err != nil || len(got) != len(e.Sections) {
			t.Errorf("envelope %d: %d sections, %v", i, len(got), err)
			continue
		}
		for j, want := range e.Sections {
			s := got[j]
			if s.Name != want.Name || uint32(s.Leaf) != want.Leaf || uint32(s.Subject) != want.Subject || s.Erased != want.Erased {
				t.Errorf("envelope %d, section %s: got %+v", i, want.Name, s)
			}
			if !want.Erased && !bytes.Equal(s.Plain.Reveal(), want.Plain) {
				t.Errorf("envelope %d, section %s: other content", i, want.Name)
			}
		}
	}
	first := v.Envelopes[0]
	p := seal.Place{Org: k.Org(), Table: first.Table, Row: first.Row, Version: first.Version}
	for _, r := range v.Refused {
		if _, err := seal.Open(t.Context(), k, p, seal.Sealed(r.Envelope)); err == nil || errors.Is(err, seal.ErrFormat) != r.Malformed {
			t.Errorf("%s: %v", r.Why, err)
		}
	}
	for i, f := range v.FileKeys {
		p := seal.Place{Org: k.Org(), Table: f.Table, Row: f.Row, Version: f.Version}
		if key, err := seal.FileKey(t.Context(), k, p, v.Generation, keytree.Leaf(f.Leaf)); err != nil || !bytes.Equal(key[:], f.Key) {
			t.Errorf("file key %d: %v", i, err)
		}
	}
	for i, h := range v.Hashes {
		hasher, err := seal.NewHasher(t.Context(), k, keytree.Leaf(h.Leaf), h.Purpose)
		if err != nil {
			t.Fatal(err)
		}
		var parts [][]byte
		for _, part := range h.Parts {
			parts = append(parts, part)
		}
		if !bytes.Equal(hasher.Sum(parts...), h.Sum) {
			t.Errorf("hash %d differs", i)
		}
	}
	for i, k2 := range v.Tokens {
		got, err := seal.OpenToken(t.Context(), k, keytree.Leaf(k2.Leaf), k2.Purpose, k2.Token, k2.Associated)
		if err != nil || !bytes.Equal(got, k2.Plain) {
			t.Errorf("token %d: %v", i, err)
		}
	}
}

// What the package writes, the re-implementation must write as well, given the
// nonce that the package drew.
func TestThePackageWritesWhatTheReimplementationWrites(t *testing.T) {
	_, v := readVectors(t)
	k := vectorKeys{v}
	keys := map[uint32][]byte{}
	for leaf, key := range v.LeafKeys {
		keys[leaf] = key
	}
	for i, e := range v.Envelopes {
		var in []seal.Section
		var ref []refSection
		for _, s := range e.Sections {
			section := seal.Section{Name: s.Name, Leaf: keytree.Leaf(s.Leaf), Subject: keytree.Leaf(s.Subject), Erased: s.Erased}
			if !s.Erased {
				section.Plain = seal.NewSecret(s.Plain)
			}
			in = append(in, section)
			ref = append(ref, refSection{s.Name, v.Generation, s.Leaf, s.Subject, s.Erased, s.Plain, nil})
		}
		p := seal.Place{Org: k.Org(), Table: e.Table, Row: e.Row, Version: e.Version}
		got := mustSeal(t, k, p, in...)
		for j, body := range split(t, got).bodies {
			if len(body) > 4 {
				ref[j].nonce = body[4:16]
			}
		}
		if _, want := refEnvelope(keys, refPlace{v.Organization[:], e.Table, e.Row[:], e.Version}, ref); !bytes.Equal(got, want) {
			t.Errorf("envelope %d differs", i)
		}
	}
	for i, want := range v.Tokens {
		got, err := seal.SealToken(t.Context(), k, keytree.Leaf(want.Leaf), want.Purpose, want.Plain, want.Associated)
		if err != nil {
			t.Fatal(err)
		}
		if _, ref := refToken(keys[want.Leaf], v.Organization[:], want.Purpose, got[1:17], got[17:29], want.Plain, want.Associated); !bytes.Equal(got, ref) {
			t.Errorf("token %d differs", i)
		}
	}
}
