package seal_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/seal"
)

func TestASealedValueOpensWhereItWasSealed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		k := newKeys(t)
		p := seal.Place{Org: k.org, Table: rapid.StringMatching(`[a-z_]{1,64}`).Draw(r, "table"), Row: uuid.New(), Version: rapid.Uint64().Draw(r, "version")}
		var in []seal.Section
		for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[!-~]{1,64}`), 1, 12, rapid.ID).Draw(r, "names") {
			in = append(in, seal.Section{Name: name, Plain: seal.NewSecret(rapid.SliceOf(rapid.Byte()).Draw(r, "plain")),
				Leaf:    keytree.Leaf(rapid.Uint32Range(1, 1<<31).Draw(r, "leaf")),
				Subject: keytree.Leaf(rapid.SampledFrom([]uint32{0, 1<<31 + 1, 1<<32 - 1}).Draw(r, "subject"))})
		}
		s, err := seal.Seal(t.Context(), k, p, in...)
		if err != nil {
			r.Fatal(err)
		}
		k.rotate(t) // an older generation goes on opening
		out, err := seal.Open(t.Context(), k, p, s)
		if err != nil || len(out) != len(in) {
			r.Fatalf("%d sections, %v", len(out), err)
		}
		for i := range in {
			same := out[i].Name == in[i].Name && out[i].Leaf == in[i].Leaf && out[i].Subject == in[i].Subject && !out[i].Erased
			if !same || !bytes.Equal(out[i].Plain.Reveal(), in[i].Plain.Reveal()) || out[i].Plain.IsZero() {
				r.Fatalf("section %d came back as another", i)
			}
			one, err := seal.OpenOne(t.Context(), k, p, s, in[i].Name)
			if err != nil || !bytes.Equal(one.Reveal(), in[i].Plain.Reveal()) {
				r.Fatalf("section %d alone: %v", i, err)
			}
		}
	})
}

func TestAnEnvelopeShowsNoContentAndIsNeverTheSameTwice(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	secret := canary(t)
	section := seal.Section{Name: "content", Leaf: leafRecord, Plain: seal.NewSecret(secret)}
	a, b := mustSeal(t, k, place(k, 1), section), mustSeal(t, k, place(k, 1), section)
	if bytes.Contains(a, secret[:8]) {
		t.Error("the envelope shows the content")
	}
	if bytes.Equal(a, b) {
		t.Error("equal contents give equal envelopes")
	}
}

// opens reports whether any content comes out of s.
func opens(t *testing.T, k seal.Keys, p seal.Place, s seal.Sealed) bool {
	t.Helper()
	sections, err := seal.Open(t.Context(), k, p, s)
	return err == nil && slices.ContainsFunc(sections, func(s seal.Section) bool { return !s.Plain.IsZero() })
}

func TestAChangeOfAnyByteIsRefused(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	p := place(k, 3)
	s := mustSeal(t, k, p, text("title", leafRecord, 0, "T"), text("person", leafRecord, leafPerson, "Ada"))
	if !opens(t, k, p, s) {
		t.Fatal("the untouched value does not open")
	}
	for i := range s {
		for _, flip := range []byte{0x01, 0x80, 0xff, 0x20} {
			bad := bytes.Clone(s)
			bad[i] ^= flip
			if sections, err := seal.Open(t.Context(), k, p, bad); err == nil {
				t.Errorf("byte %d changed by %#x: opened %v", i, flip, sections)
			}
		}
	}
	for n := range s {
		if _, err := seal.Open(t.Context(), k, p, s[:n]); !errors.Is(err, seal.ErrFormat) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := seal.Open(t.Context(), k, p, append(bytes.Clone(s), 0)); !errors.Is(err, seal.ErrFormat) {
		t.Errorf("with a byte more: %v", err)
	}
}

func TestAValueDoesNotOpenAnywhereElse(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	home := place(k, 3)
	s := mustSeal(t, k, home, text("content", leafRecord, 0, "C"))
	for what, change := range map[string]func(*seal.Place){
		"another table":   func(p *seal.Place) { p.Table = "recorc" },
		"a longer table":  func(p *seal.Place) { p.Table = "records" },
		"another row":     func(p *seal.Place) { p.Row[15] ^= 1 },
		"an older place":  func(p *seal.Place) { p.Version-- },
		"a later version": func(p *seal.Place) { p.Version++ },
		"a huge version":  func(p *seal.Place) { p.Version |= 1 << 63 },
	} {
		p := home
		change(&p)
		if _, err := seal.Open(t.Context(), k, p, s); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := seal.OpenOne(t.Context(), k, p, s, "content"); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("%s, one section: %v", what, err)
		}
	}
}

func TestOneOrganizationsKeysOpenNothingOfAnothers(t *testing.T) {
	t.Parallel()
	mine, theirs := newKeys(t), newKeys(t)
	s := mustSeal(t, theirs, place(theirs, 1), text("content", leafRecord, 0, "C"))
	if _, err := seal.Open(t.Context(), mine, place(mine, 1), s); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("their value in my row: %v", err)
	}
	if _, err := seal.Open(t.Context(), mine, place(theirs, 1), s); err == nil {
		t.Error("a place of another organization than the keys was accepted")
	}
	// Even where two organizations had the same tree, the name binds.
	mine.trees = theirs.trees
	if _, err := seal.Open(t.Context(), mine, place(mine, 1), s); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("the same leaf keys under another name: %v", err)
	}
}

// The pieces of an envelope, for one who writes to the database and would
// like to recombine what is there.
type pieces struct{ entries, bodies [][]byte }

func split(t *testing.T, s seal.Sealed) (p pieces) {
	t.Helper()
	rest := []byte(s)[2:]
	for range s[1] {
		n := 1 + int(rest[0]) + 13
		p.entries, rest = append(p.entries, rest[:n]), rest[n:]
	}
	for range s[1] {
		n := 4 + int(rest[2])<<8 + int(rest[3])
		p.bodies, rest = append(p.bodies, rest[:n]), rest[n:]
	}
	if len(rest) > 0 {
		t.Fatal("the test reads the envelope wrongly")
	}
	return p
}

func (p pieces) join() seal.Sealed {
	return slices.Concat([]byte{1, byte(len(p.entries))}, slices.Concat(p.entries...), slices.Concat(p.bodies...))
}

func TestSectionsCannotBeRecombined(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	p := place(k, 1)
	sections := []seal.Section{text("a", leafRecord, 0, "first"), text("b", leafRecord, 0, "other"), text("c", leafRecord, leafPerson, "third")}
	s := mustSeal(t, k, p, sections...)
	if !bytes.Equal(split(t, s).join(), s) {
		t.Fatal("the test joins the envelope wrongly")
	}
	k.puncture(t, leafRetired)
	again := split(t, mustSeal(t, k, p, sections...))
	for what, change := range map[string]func(*pieces){
		"bodies swapped":      func(x *pieces) { x.bodies[0], x.bodies[1] = x.bodies[1], x.bodies[0] },
		"entries swapped":     func(x *pieces) { x.entries[0], x.entries[1] = x.entries[1], x.entries[0] },
		"sections swapped":    func(x *pieces) { slices.Reverse(x.entries); slices.Reverse(x.bodies) },
		"a section taken out": func(x *pieces) { x.entries, x.bodies = x.entries[:2], x.bodies[:2] },
		"a section added":     func(x *pieces) { x.add("d", x.bodies[0]) },
		"a section renamed":   func(x *pieces) { x.entries[1] = append([]byte("\x01z"), x.entries[1][2:]...) },
		"a body emptied":      func(x *pieces) { x.bodies[1] = make([]byte, 4) },
		"a section pointed at a puncture": func(x *pieces) {
			e := bytes.Clone(x.entries[1])
			e[9], e[10] = byte(leafRetired>>8&0xff), byte(leafRetired&0xff)
			x.entries[1] = e
		},
		"a subject taken off": func(x *pieces) {
			x.entries[2] = append(bytes.Clone(x.entries[2][:11]), 0, 0, 0, 0)
		},
	} {
		x := split(t, s)
		change(&x)
		if out, err := seal.Open(t.Context(), k, p, x.join()); err == nil {
			t.Errorf("%s: opened %v", what, out)
		}
	}
	// What is equal in all but its nonce may be exchanged: it says the same.
	x := split(t, s)
	x.bodies[0] = again.bodies[0]
	if !opens(t, k, p, x.join()) {
		t.Error("the same section of the same version, sealed twice, was refused")
	}
}

func (p *pieces) add(name string, body []byte) {
	e := bytes.Clone(p.entries[0])
	copy(e[1:], name)
	p.entries, p.bodies = append(p.entries, e), append(p.bodies, body)
}

func TestAPuncturedSectionIsErasedAndTheOthersOpen(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	p := place(k, 1)
	s := mustSeal(t, k, p,
		text("content", leafRecord, 0, "the measurement"),
		text("author", leafRecord, leafPerson, "Ada"),
		text("reviewer", leafRecord, leafOther, "Grace"),
		text("note", leafRetired, 0, "an older note"))
	k.rotate(t) // the puncture reaches the generation the value is under

	check := func(when string, want ...string) {
		t.Helper()
		out, err := seal.Open(t.Context(), k, p, s)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		for i, section := range out {
			one, err := seal.OpenOne(t.Context(), k, p, s, section.Name)
			if want[i] == "" {
				if !section.Erased || !section.Plain.IsZero() || !errors.Is(err, seal.ErrErased) || !one.IsZero() {
					t.Errorf("%s: %s is not erased: %v", when, section.Name, err)
				}
			} else if section.Erased || string(section.Plain.Reveal()) != want[i] || err != nil || string(one.Reveal()) != want[i] {
				t.Errorf("%s: %s: erased %v, %v", when, section.Name, section.Erased, err)
			}
		}
	}
	check("at first", "the measurement", "Ada", "Grace", "an older note")
	k.puncture(t, leafPerson)
	check("after the author is erased", "the measurement", "", "Grace", "an older note")
	k.puncture(t, leafRetired)
	check("after the note is erased", "the measurement", "", "Grace", "")

	// Sealed again with what is left, under the new generation.
	left, err := seal.Open(t.Context(), k, p, s)
	if err != nil {
		t.Fatal(err)
	}
	p.Version++
	s = mustSeal(t, k, p, left...)
	check("sealed again", "the measurement", "", "Grace", "")

	k.puncture(t, leafRecord)
	check("after the record is erased", "", "", "", "")
	if !fault.Is(seal.ErrErased, fault.NotFound) {
		t.Error("erased content is not NotFound to the caller")
	}
}

func TestAnErasedSectionOpensWithoutItsBody(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	p := place(k, 1)
	s := mustSeal(t, k, p, text("content", leafRecord, 0, "C"), text("author", leafRecord, leafPerson, "Ada"))
	x := split(t, s)
	x.bodies[1] = make([]byte, 4)
	if opens(t, k, p, x.join()) {
		t.Error("a living section without its body was accepted")
	}
	k.puncture(t, leafPerson)
	out, err := seal.Open(t.Context(), k, p, x.join())
	if err != nil || string(out[0].Plain.Reveal()) != "C" || !out[1].Erased {
		t.Errorf("got %v, %v", out, err)
	}
}

func TestAFailureOfTheKeyServiceIsNoErasure(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	p := place(k, 1)
	s := mustSeal(t, k, p, text("content", leafRecord, leafPerson, "C"))
	token, err := seal.SealToken(t.Context(), k, keytree.LeafToken, "test", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	away := fault.New(fault.Unavailable, "the key service does not answer")
	check := func(which string) {
		t.Helper()
		_, openErr := seal.Open(t.Context(), k, p, s)
		_, oneErr := seal.OpenOne(t.Context(), k, p, s, "content")
		_, sealErr := seal.Seal(t.Context(), k, p, text("content", leafRecord, 0, "C"))
		_, erasedErr := seal.Seal(t.Context(), k, p, seal.Section{Name: "content", Leaf: leafRecord, Erased: true})
		_, fileErr := seal.FileKey(t.Context(), k, p, 1, leafRecord)
		_, hashErr := seal.NewHasher(t.Context(), k, keytree.LeafIndex, "test")
		_, makeErr := seal.SealToken(t.Context(), k, keytree.LeafToken, "test", nil, nil)
		_, tokenErr := seal.OpenToken(t.Context(), k, keytree.LeafToken, "test", token, nil)
		for what, err := range map[string]error{"open": openErr, "open one": oneErr, "seal": sealErr, "seal erased": erasedErr,
			"file": fileErr, "hash": hashErr, "seal token": makeErr, "open token": tokenErr} {
			if !fault.Is(err, fault.Unavailable) {
				t.Errorf("%s, %s: %v", which, what, err)
			}
		}
	}
	k.failLeaf = away
	check("no leaf keys")
	k.fail = away
	if _, err := seal.Seal(t.Context(), k, p, text("content", leafRecord, 0, "C")); !fault.Is(err, fault.Unavailable) {
		t.Errorf("no generation: %v", err)
	}
}

// Seal writes one generation, but an envelope says it for each section: a
// reader takes each at its word.
func TestSectionsOfTwoGenerationsOpenEachUnderItsOwn(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	k.rotate(t)
	p := place(k, 1)
	at := refPlace{k.org.Bytes(), p.Table, p.Row[:], p.Version}
	var both []refSection
	keys := [2]map[uint32][]byte{}
	for i := range keys {
		key, err := k.trees[i].Derive(leafRecord)
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = map[uint32][]byte{uint32(leafRecord): key[:]}
		both = append(both, refSection{name: string(rune('a' + i)), generation: uint32(i + 1), leaf: uint32(leafRecord), plain: []byte{byte(i)}, nonce: make([]byte, 12)})
	}
	_, old := refEnvelope(keys[0], at, both)
	_, s := refEnvelope(keys[1], at, both)
	x := split(t, s)
	x.bodies[0] = split(t, old).bodies[0]
	got, err := seal.Open(t.Context(), k, p, x.join())
	if err != nil || got[0].Plain.Reveal()[0] != 0 || got[1].Plain.Reveal()[0] != 1 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestSealRefuses(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	k.puncture(t, leafRetired)
	good := text("content", leafRecord, 0, "C")
	with := func(change func(*seal.Section)) []seal.Section {
		s := good
		change(&s)
		return []seal.Section{s}
	}
	at := func(change func(*seal.Place)) seal.Place {
		p := place(k, 1)
		change(&p)
		return p
	}
	many := func(n int) (out []seal.Section) {
		for i := range n {
			out = append(out, text(strings.Repeat("x", i%64+1)+string(rune('a'+i/64)), leafRecord, 0, ""))
		}
		return out
	}
	if _, err := seal.Seal(t.Context(), k, place(k, 1), many(63)...); err != nil {
		t.Errorf("63 sections: %v", err)
	}
	for what, c := range map[string]struct {
		at       seal.Place
		sections []seal.Section
	}{
		"no sections":            {place(k, 1), nil},
		"65 sections":            {place(k, 1), many(65)},
		"a name twice":           {place(k, 1), []seal.Section{good, good}},
		"no name":                {place(k, 1), with(func(s *seal.Section) { s.Name = "" })},
		"a name of 65 bytes":     {place(k, 1), with(func(s *seal.Section) { s.Name = strings.Repeat("n", 65) })},
		"a name with a space":    {place(k, 1), with(func(s *seal.Section) { s.Name = "a b" })},
		"a name beyond ASCII":    {place(k, 1), with(func(s *seal.Section) { s.Name = "größe" })},
		"no leaf":                {place(k, 1), with(func(s *seal.Section) { s.Leaf = 0 })},
		"its leaf as subject":    {place(k, 1), with(func(s *seal.Section) { s.Subject = s.Leaf })},
		"no content":             {place(k, 1), with(func(s *seal.Section) { s.Plain = seal.Secret{} })},
		"content, yet erased":    {place(k, 1), with(func(s *seal.Section) { s.Erased = true })},
		"erased, yet alive":      {place(k, 1), with(func(s *seal.Section) { s.Erased, s.Plain = true, seal.Secret{} })},
		"a punctured leaf":       {place(k, 1), with(func(s *seal.Section) { s.Leaf = leafRetired })},
		"a punctured subject":    {place(k, 1), with(func(s *seal.Section) { s.Subject = leafRetired })},
		"a place without org":    {at(func(p *seal.Place) { p.Org = id.Org{} }), []seal.Section{good}},
		"another organization":   {at(func(p *seal.Place) { p.Org = id.NewOrg() }), []seal.Section{good}},
		"a place without table":  {at(func(p *seal.Place) { p.Table = "" }), []seal.Section{good}},
		"a place without row":    {at(func(p *seal.Place) { p.Row = uuid.Nil }), []seal.Section{good}},
		"a table with a newline": {at(func(p *seal.Place) { p.Table = "a\nb" }), []seal.Section{good}},
	} {
		if s, err := seal.Seal(t.Context(), k, c.at, c.sections...); err == nil || s != nil {
			t.Errorf("%s was sealed", what)
		}
	}
	if _, err := seal.Seal(t.Context(), k, place(k, 1), with(func(s *seal.Section) { s.Leaf = leafRetired })...); !errors.Is(err, seal.ErrErased) {
		t.Errorf("a write to an erased record: %v", err)
	}
	half := seal.NewSecret(make([]byte, seal.MaxSize/2+1))
	_, err := seal.Seal(t.Context(), k, place(k, 1), seal.Section{Name: "a", Leaf: leafRecord, Plain: half}, seal.Section{Name: "b", Leaf: leafRecord, Plain: half})
	if !fault.Is(err, fault.TooLarge) {
		t.Errorf("too much content: %v", err)
	}
}

func TestTheLargestValueComesBack(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	plain := make([]byte, seal.MaxSize)
	_, _ = rand.Read(plain[:1024])
	s := mustSeal(t, k, place(k, 1), seal.Section{Name: strings.Repeat("n", 64), Leaf: leafRecord, Plain: seal.NewSecret(plain)})
	got, err := seal.OpenOne(t.Context(), k, place(k, 1), s, strings.Repeat("n", 64))
	if err != nil || !bytes.Equal(got.Reveal(), plain) {
		t.Errorf("%d bytes, %v", got.Len(), err)
	}
}

func TestOpenOneSaysThatThereIsNoSuchSection(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	s := mustSeal(t, k, place(k, 1), text("content", leafRecord, 0, "C"))
	if _, err := seal.OpenOne(t.Context(), k, place(k, 1), s, "contents"); !errors.Is(err, seal.ErrNoSection) {
		t.Errorf("got %v", err)
	}
	if _, err := seal.Open(t.Context(), k, place(k, 1), nil); !errors.Is(err, seal.ErrFormat) {
		t.Errorf("NULL: %v", err)
	}
}

func TestLeavesNamesEveryLeafOnce(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	s := mustSeal(t, k, place(k, 1), text("a", leafOther, leafPerson, "1"), text("b", leafRecord, leafPerson, "2"), text("c", leafOther, 0, "3"))
	got, err := seal.Leaves(s)
	if want := []keytree.Leaf{leafRecord, leafPerson, leafOther}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := seal.Leaves(s[:len(s)-1]); !errors.Is(err, seal.ErrFormat) {
		t.Errorf("a cut envelope: %v", err)
	}
}

func TestAFileKeyIsBoundToItsPlace(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	k.rotate(t)
	p := place(k, 1)
	seen := map[[32]byte]string{}
	for what, c := range map[string]struct {
		change     func(*seal.Place)
		generation uint32
		leaf       keytree.Leaf
	}{
		"itself":             {func(*seal.Place) {}, 1, leafRecord},
		"another generation": {func(*seal.Place) {}, 2, leafRecord},
		"another leaf":       {func(*seal.Place) {}, 1, leafOther},
		"another version":    {func(p *seal.Place) { p.Version++ }, 1, leafRecord},
		"another row":        {func(p *seal.Place) { p.Row[0]++ }, 1, leafRecord},
		"another table":      {func(p *seal.Place) { p.Table = "filf" }, 1, leafRecord},
	} {
		q := p
		c.change(&q)
		key, err := seal.FileKey(t.Context(), k, q, c.generation, c.leaf)
		again, _ := seal.FileKey(t.Context(), k, q, c.generation, c.leaf)
		if err != nil || key != again || key == [32]byte{} {
			t.Errorf("%s: %v", what, err)
		}
		if other, ok := seen[key]; ok {
			t.Errorf("%s has the key of %s", what, other)
		}
		seen[key] = what
	}
	k.puncture(t, leafRecord)
	if key, err := seal.FileKey(t.Context(), k, p, 1, leafRecord); !errors.Is(err, seal.ErrErased) || key != [32]byte{} {
		t.Errorf("a punctured file: %v", err)
	}
	if _, err := seal.FileKey(t.Context(), k, p, 1, keytree.NoLeaf); err == nil {
		t.Error("leaf 0 has a file key")
	}
	if _, err := seal.FileKey(t.Context(), newKeys(t), p, 1, leafRecord); err == nil {
		t.Error("another organization's keys gave a file key for this place")
	}
}

func FuzzEnvelope(f *testing.F) {
	k := fixedKeys(f)
	k.puncture(f, leafRetired)
	p := place(k, 1)
	f.Add([]byte(mustSeal(f, k, p, text("content", leafRecord, 0, "C"))))
	f.Add([]byte(mustSeal(f, k, p, text("a", leafRecord, leafPerson, ""), text("b", leafOther, 0, "x"))))
	f.Add([]byte(mustSeal(f, k, p, text("a", leafRecord, 0, "y"), seal.Section{Name: "b", Leaf: leafRetired, Erased: true})))
	sealed := []string{"content C", "a ", "b x", "a y"}
	f.Fuzz(func(t *testing.T, b []byte) {
		leaves, formatErr := seal.Leaves(b)
		sections, err := seal.Open(t.Context(), k, p, b)
		if errors.Is(err, seal.ErrFormat) != (formatErr != nil) {
			t.Fatalf("Open says %v, Leaves says %v", err, formatErr)
		}
		if err != nil {
			return
		}
		for _, s := range sections {
			if !s.Erased && !slices.Contains(sealed, s.Name+" "+string(s.Plain.Reveal())) {
				t.Fatal("a section opened that was never sealed")
			}
			if s.Erased && !slices.Contains(leaves, leafRetired) {
				t.Fatal("a section is shown as erased whose leaves live")
			}
		}
	})
}
