package records

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/kind"
	"strongroom/internal/store/tenant"
)

// A person's fields are sealed as a section of their own, under the leaf of
// the record and the leaf of that person: when hers is destroyed they are gone
// in every record, version and copy, and the rest of each record stays.
//
// The section "content" is the record's text with the values of such fields
// left out ({"a":1,"name":,"b":2}), which is no JSON and so cannot be taken for
// a record without them. It keeps the order of the members, and the names of
// those that are missing once a person was erased. A person's section is an
// object of her fields, keys and values as they were written.
const (
	sectionContent = "content"
	sectionSelf    = "person.self"
	// A section that a relation leads to is known by the relation's keyed
	// hash, as the link is: what an organization calls its relations stands
	// nowhere in the clear.
	sectionRelation = "person."
)

// subject is the person whom a part of a record is about.
type subject struct {
	section string
	leaf    keytree.Leaf // 0: not known yet
}

// subjects lists the people whom the fields of a record are about, by what the
// schema says of the fields: Self, or a relation.
type subjects map[string]subject

// about names the subjects that text has fields of. Self is always among them
// where the schema has such a field: the record is that person's, and others
// may hold something about her before it does.
func about(ctx context.Context, tx *tenant.Tx, c collection, text feature.Object) (subjects, error) {
	people := c.Schema.People()
	if len(people) == 0 {
		return nil, nil
	}
	out := subjects{}
	for _, whose := range people {
		if whose == kind.Self {
			out[kind.Self] = subject{section: sectionSelf}
		}
	}
	var failed error
	kind.Members(text, func(key, _ []byte) {
		whose := people[nameOf(key)]
		if _, known := out[whose]; whose == "" || known || failed != nil {
			return
		}
		token, err := tx.Hash(ctx, tokenRelation, []byte(whose))
		if err != nil {
			failed = err
			return
		}
		out[whose] = subject{section: sectionRelation + hex.EncodeToString(token[:8])}
	})
	return out, failed
}

// nameOf is the name that a key stands for.
func nameOf(key []byte) string {
	if !slices.Contains(key, '\\') {
		return string(key[1 : len(key)-1])
	}
	var s string
	_ = json.Unmarshal(key, &s)
	return s
}

// split cuts a record's text into its sections. gone are keys of fields that
// were erased, with the sections that held them: both stay as they are.
func split(c collection, text feature.Object, leaf keytree.Leaf, of subjects, gone [][]byte, erased []seal.Section) []seal.Section {
	if len(of) == 0 && len(gone) == 0 {
		return []seal.Section{{Name: sectionContent, Leaf: leaf, Plain: seal.NewSecret(text)}}
	}
	people := c.Schema.People()
	rest := append(make([]byte, 0, len(text)), '{')
	parts := map[string][]byte{}
	kind.Members(text, func(key, value []byte) {
		if len(rest) > 1 {
			rest = append(rest, ',')
		}
		rest = append(append(rest, key...), ':')
		s, personal := of[people[nameOf(key)]]
		if !personal {
			rest = append(rest, value...)
			return
		}
		part := append(parts[s.section], ',')
		parts[s.section] = append(append(append(part, key...), ':'), value...)
	})
	for _, key := range gone {
		if len(rest) > 1 {
			rest = append(rest, ',')
		}
		rest = append(append(rest, key...), ':')
	}
	out := []seal.Section{{Name: sectionContent, Leaf: leaf, Plain: seal.NewSecret(append(rest, '}'))}}
	for _, s := range of {
		if part := parts[s.section]; part != nil {
			part[0] = '{'
			out = append(out, seal.Section{Name: s.section, Leaf: leaf, Subject: s.leaf, Plain: seal.NewSecret(append(part, '}'))})
		}
	}
	slices.SortFunc(out[1:], func(a, b seal.Section) int { return compare(a.Name, b.Name) })
	return append(out, erased...)
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// opened is a record's content put together again.
type opened struct {
	text     feature.Object
	missing  []string // pointers of fields whose person was erased
	gone     [][]byte // their keys, as they were written
	sections []seal.Section
}

// openParts opens every section that can be opened and puts the text together,
// byte for byte as it was. A record whose own leaf is gone is errErased.
func openParts(ctx context.Context, tx *tenant.Tx, rec uuid.UUID, version int64, body seal.Sealed) (opened, error) {
	sections, err := tx.Open(ctx, tableRecord, rec, uint64(version), body)
	if err != nil {
		return opened{}, err
	}
	if sections[0].Name != sectionContent {
		return opened{}, errors.New("records: a body does not begin with its content")
	}
	if sections[0].Erased {
		return opened{}, errErased
	}
	rest := sections[0].Plain.Reveal()
	if len(sections) == 1 {
		return opened{text: rest, sections: sections}, nil
	}
	values, size := map[string][]byte{}, len(rest)
	for _, s := range sections[1:] {
		if s.Erased {
			continue
		}
		size += s.Plain.Len()
		kind.Members(s.Plain.Reveal(), func(key, value []byte) { values[string(key)] = value })
	}
	o := opened{sections: sections}
	out := append(make([]byte, 0, size), '{')
	kind.Members(rest, func(key, value []byte) {
		if len(value) == 0 {
			if value = values[string(key)]; value == nil {
				o.missing = append(o.missing, kind.Pointer(nameOf(key)))
				o.gone = append(o.gone, key)
				return
			}
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, key...), ':'), value...)
	})
	o.text = append(out, '}')
	return o, nil
}

// openContent opens a record's content, without what was erased of it.
func openContent(ctx context.Context, tx *tenant.Tx, rec uuid.UUID, version int64, body seal.Sealed) (feature.Object, error) {
	o, err := openParts(ctx, tx, rec, version, body)
	return o.text, err
}

// simple reports whether a body is one section under the record's leaf alone.
func simple(body seal.Sealed) bool {
	leaves, err := seal.Leaves(body)
	return err == nil && len(leaves) == 1
}

// reseal seals the next version of a record. A person's section keeps the leaf
// of its person, so that she can be erased from all versions at once; the
// record's own leaf is its for life as well.
func (s *Records) reseal(ctx context.Context, tx *tenant.Tx, c collection, old row, version int64, text feature.Object) (seal.Sealed, error) {
	of, err := about(ctx, tx, c, text)
	if err != nil {
		return nil, err
	}
	var gone [][]byte
	var erased []seal.Section
	if !simple(old.body) {
		was, err := openParts(ctx, tx, old.id, old.version, old.body)
		if err != nil {
			return nil, err
		}
		for _, part := range was.sections[1:] {
			if part.Erased {
				erased = append(erased, part)
			}
			for whose, p := range of {
				if p.section == part.Name {
					p.leaf = part.Subject
					of[whose] = p
				}
			}
		}
		if gone, erased, err = erasedStays(c, text, of, was, erased); err != nil {
			return nil, err
		}
	}
	for whose, p := range of {
		if p.leaf != keytree.NoLeaf {
			continue
		}
		if p.leaf, err = s.subjectOf(ctx, tx, old.id, whose); err != nil {
			return nil, err
		}
		of[whose] = p
	}
	return tx.Seal(ctx, tableRecord, old.id, uint64(version), split(c, text, keytree.Leaf(old.leaf), of, gone, erased)...)
}

// erasedStays keeps what was erased as it is: nothing new about an erased
// person goes into the record, and what is missing stays known to be.
func erasedStays(c collection, text feature.Object, of subjects, was opened, erased []seal.Section) ([][]byte, []seal.Section, error) {
	present := map[string]bool{}
	var err error
	kind.Members(text, func(key, _ []byte) {
		name := nameOf(key)
		present[name] = true
		p, personal := of[c.Schema.People()[name]]
		if personal && slices.ContainsFunc(erased, func(e seal.Section) bool { return e.Name == p.section }) {
			err = errGone(kind.Pointer(name))
		}
	})
	var gone [][]byte
	for _, key := range was.gone {
		if !present[nameOf(key)] {
			gone = append(gone, key)
		}
	}
	for whose, p := range of { // an erased section is kept, not sealed anew
		if slices.ContainsFunc(erased, func(e seal.Section) bool { return e.Name == p.section }) {
			delete(of, whose)
		}
	}
	return gone, erased, err
}

func errGone(pointer string) error {
	return fault.At(fault.Invalid, "/content"+pointer, "person_erased", "the person whom this field is about was erased")
}

// sealing turns the refusal of a leaf that was destroyed meanwhile into words.
func sealing(err error) error {
	if errors.Is(err, seal.ErrErased) {
		return fault.New(fault.Conflict, "a person whom the record is about was erased")
	}
	return err
}

// subjectOf finds the leaf of a person whom a stored record did not hold
// anything about so far: that of the record itself, or of the one person to
// whom it is linked by the relation.
func (s *Records) subjectOf(ctx context.Context, tx *tenant.Tx, rec uuid.UUID, whose string) (keytree.Leaf, error) {
	if whose == kind.Self {
		var leaf int64
		err := tx.QueryRow(ctx, tenant.Lit(`SELECT leaf FROM record_subject WHERE org_id = $1 AND record_id = $2 AND own`), tx.Org().UUID(), rec).Scan(&leaf)
		if !errors.Is(err, tenant.ErrNoRows) {
			return keytree.Leaf(leaf), err
		}
		own, err := tx.NewLeaf(ctx)
		if err != nil {
			return 0, err
		}
		return own, addSubjects(ctx, tx, []subjectRow{{rec, own, true}})
	}
	token, err := tx.Hash(ctx, tokenRelation, []byte(whose))
	if err != nil {
		return 0, err
	}
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT coalesce(s.leaf, 0) FROM link l JOIN record r ON r.org_id = l.org_id AND r.id = l.to_id
 LEFT JOIN record_subject s ON s.org_id = r.org_id AND s.record_id = r.id AND s.own
 WHERE l.org_id = $1 AND l.from_id = $2 AND l.token = $3 LIMIT 2 FOR SHARE OF r`), tx.Org().UUID(), rec, token)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var leaves []int64
	for rows.Next() {
		var leaf int64
		if err := rows.Scan(&leaf); err != nil {
			return 0, err
		}
		leaves = append(leaves, leaf)
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return 0, err
	}
	if len(leaves) != 1 || leaves[0] == 0 {
		return 0, errNotOnePerson
	}
	return keytree.Leaf(leaves[0]), addSubjects(ctx, tx, []subjectRow{{rec, keytree.Leaf(leaves[0]), false}})
}

var errAboutHer = fault.New(fault.Conflict, "fields of the record are about this person: take them out before the link")

// saysNothingAbout refuses to end the link by which fields of a record are a
// person's. They keep her leaf as long as they are there: linked to somebody
// else, what is written into them then would be erased with the wrong person.
// The lock keeps a change of the record from bringing such fields in meanwhile.
func saysNothingAbout(ctx context.Context, tx *tenant.Tx, rec, person uuid.UUID, token []byte) error {
	var version, leaf int64
	var body seal.Sealed
	err := tx.QueryRow(ctx, tenant.Lit(`SELECT r.version, r.body, s.leaf FROM record r JOIN record_subject s ON s.org_id = r.org_id AND s.record_id = $3 AND s.own
 WHERE r.org_id = $1 AND r.id = $2 FOR SHARE OF r`), tx.Org().UUID(), rec, person).Scan(&version, &body, &leaf)
	if errors.Is(err, tenant.ErrNoRows) {
		return nil // nobody's record
	}
	if err != nil || simple(body) {
		return err
	}
	sections, err := tx.Open(ctx, tableRecord, rec, uint64(version), body)
	if err != nil {
		return err
	}
	for _, part := range sections {
		if !part.Erased && part.Subject == keytree.Leaf(leaf) && part.Name == sectionRelation+hex.EncodeToString(token[:8]) {
			return errAboutHer
		}
	}
	return nil
}

var errNotOnePerson = fault.At(fault.Invalid, "/links", "one_person", "a field is about the person whom the record is linked to: exactly one such link to a person's record is needed")

// subjectRow says that a record holds, or may come to hold, sections under a
// person's leaf; own: that it is the person's.
type subjectRow struct {
	record uuid.UUID
	leaf   keytree.Leaf
	own    bool
}

func addSubjects(ctx context.Context, tx *tenant.Tx, all []subjectRow) error {
	if len(all) == 0 {
		return nil
	}
	records, leaves, own := make([][16]byte, len(all)), make([]int64, len(all)), make([]bool, len(all))
	for i, s := range all {
		records[i], leaves[i], own[i] = s.record, int64(s.leaf), s.own
	}
	_, err := tx.Exec(ctx, tenant.Lit(`INSERT INTO record_subject (org_id, leaf, record_id, own) SELECT $1, t.leaf, t.record, t.own FROM unnest($2::bigint[], $3::uuid[], $4::bool[]) AS t(leaf, record, own)
 ON CONFLICT DO NOTHING`), tx.Org().UUID(), leaves, records, own)
	return err
}
