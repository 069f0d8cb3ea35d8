package records

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/kind"
	"strongroom/internal/store/tenant"
)

const (
	tableLink     = "link"
	tokenRelation = "relation"
)

// target reads the other end of a link.
func target(s, at string) (ref id.Ref, kind string, err error) {
	if r, err := id.ParseRecord(s); err == nil {
		return r, "record", nil
	}
	if f, err := id.ParseFile(s); err == nil {
		return f, "file", nil
	}
	return nil, "", fault.At(fault.Invalid, at, "identifier", "expected the identifier of a record or a file")
}

var errNoTarget = func(at string) error {
	return fault.At(fault.NotFound, at, "not_found", "the target of the link does not exist")
}

// end is a record or file that a link leads to, as its row says.
type end struct {
	sight      string
	collection uuid.UUID    // of a record
	subject    keytree.Leaf // of a person's record
}

// ends finds targets that the caller sees, and holds them until the
// transaction ends: FOR SHARE, so that none becomes private while a link to it
// is being made that says it is not. Two links made across each other share
// the locks.
func ends(ctx context.Context, tx *tenant.Tx, records, files [][16]byte) (map[uuid.UUID]end, error) {
	found := map[uuid.UUID]end{}
	read := func(rows *tenant.Rows, err error) error {
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var u uuid.UUID
			var e end
			var in *uuid.UUID
			var leaf int64
			if err := rows.Scan(&u, &e.sight, &in, &leaf); err != nil {
				return err
			}
			if in != nil {
				e.collection = *in
			}
			e.subject = keytree.Leaf(leaf)
			found[u] = e
		}
		rows.Close()
		return rows.Err()
	}
	if len(records) > 0 {
		if err := read(tx.Query(ctx, tenant.Lit(`SELECT r.id, r.visibility::text, r.collection_id, coalesce(s.leaf, 0) FROM record r
 LEFT JOIN record_subject s ON s.org_id = r.org_id AND s.record_id = r.id AND s.own
 WHERE r.org_id = $1 AND r.id = ANY ($2::uuid[]) FOR SHARE OF r`), tx.Org().UUID(), records)); err != nil {
			return nil, err
		}
	}
	if len(files) > 0 {
		if err := read(tx.Query(ctx, tenant.Lit(`SELECT id, visibility::text, NULL::uuid, 0::bigint FROM file WHERE org_id = $1 AND id = ANY ($2::uuid[]) AND state = 'stored' FOR SHARE`),
			tx.Org().UUID(), files)); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// newLink is a link about to be stored.
type newLink struct {
	Link
	from, to uuid.UUID
	toKind   string
	leaf     keytree.Leaf
	body     seal.Sealed
	token    []byte
	sight    string
}

func makeLink(ctx context.Context, tx *tenant.Tx, from id.Record, to id.Ref, toKind, relation, sight string) (l newLink, err error) {
	l = newLink{Link: Link{ID: id.NewLink(), From: from.String(), To: to.String(), Relation: relation, Direction: "out", CreatedAt: tx.Now(), CreatedBy: tx.Actor().Person()},
		from: from.UUID(), to: to.UUID(), toKind: toKind, sight: sight}
	if l.leaf, err = tx.NewLeaf(ctx); err != nil {
		return l, err
	}
	if l.body, err = tx.Seal(ctx, tableLink, l.ID.UUID(), 1, seal.Section{Name: "relation", Leaf: l.leaf, Plain: seal.NewSecretString(relation)}); err != nil {
		return l, err
	}
	l.token, err = tx.Hash(ctx, tokenRelation, []byte(relation))
	return l, err
}

// storeLinks stores links whose ends are there and held.
func storeLinks(ctx context.Context, tx *tenant.Tx, all []newLink) error {
	n := len(all)
	if n == 0 {
		return nil
	}
	ids, leaves, froms, tos := make([][16]byte, n), make([]int64, n), make([][16]byte, n), make([][16]byte, n)
	kinds, tokens, bodies, sights := make([]string, n), make([][]byte, n), make([][]byte, n), make([]string, n)
	for i, l := range all {
		ids[i], leaves[i], froms[i], tos[i] = l.ID.UUID(), int64(l.leaf), l.from, l.to
		kinds[i], tokens[i], bodies[i], sights[i] = l.toKind, l.token, l.body, l.sight
		tx.Touch(l.ID)
	}
	_, err := tx.Exec(ctx, tenant.Lit(`INSERT INTO link (org_id, id, leaf, from_id, to_id, to_kind, token, body, created_at, created_by, visibility)
 SELECT $1, t.id, t.leaf, t.from_id, t.to_id, t.to_kind, t.token, t.body, $2, $3, t.sight::"char"
 FROM unnest($4::uuid[], $5::bigint[], $6::uuid[], $7::uuid[], $8::text[], $9::bytea[], $10::bytea[], $11::text[]) AS t(id, leaf, from_id, to_id, to_kind, token, body, sight)`),
		tx.Org().UUID(), tx.Now(), tx.Actor().Person().UUID(), ids, leaves, froms, tos, kinds, tokens, bodies, sights)
	if tenant.IsUnique(err, "link_ends_key") {
		return fault.New(fault.Conflict, "this link exists already")
	}
	return err
}

// both is who sees a link between two ends for certain.
func both(a, b string) string {
	if a == feature.SightOrganization && b == feature.SightOrganization {
		return a
	}
	return feature.SightPrivate
}

// draft is a record about to be stored, with its links.
type draft struct {
	content feature.Object
	said    NewRecord
	at      string // the pointer of the record in the request

	targets []id.Ref
	kinds   []string
}

// insertLinked stores records with their links and the sections of people, all
// or none. It takes a statement for each table, however many records they are.
func (s *Records) insertLinked(ctx context.Context, tx *tenant.Tx, c collection, drafts []draft) ([]Record, error) {
	var records, files [][16]byte
	for i := range drafts {
		d := &drafts[i]
		for j, l := range d.said.Links {
			ref, kind, err := target(l.To, d.link(j, "/to"))
			if err != nil {
				return nil, err
			}
			d.targets, d.kinds = append(d.targets, ref), append(d.kinds, kind)
			if kind == "file" {
				files = append(files, ref.UUID())
			} else {
				records = append(records, ref.UUID())
			}
			tx.Touch(ref)
		}
	}
	found, err := ends(ctx, tx, records, files)
	if err != nil {
		return nil, err
	}
	names, err := s.kindsOf(ctx, tx, c, found)
	if err != nil {
		return nil, err
	}
	n := len(drafts)
	out := make([]Record, n)
	ids, leaves, bodies, sights := make([][16]byte, n), make([]int64, n), make([][]byte, n), make([]string, n)
	var links []newLink
	var about []subjectRow
	for i := range drafts {
		d := &drafts[i]
		if err := d.check(c, found, names); err != nil {
			return nil, err
		}
		r := newRecord(tx, c, d.content, d.said)
		leaf, err := tx.NewLeaf(ctx)
		if err != nil {
			return nil, err
		}
		of, err := d.subjects(ctx, tx, c, found)
		if err != nil {
			return nil, err
		}
		for whose, p := range of {
			about = append(about, subjectRow{r.ID.UUID(), p.leaf, whose == kind.Self})
		}
		if bodies[i], err = tx.Seal(ctx, tableRecord, r.ID.UUID(), 1, split(c, d.content, leaf, of, nil, nil)...); err != nil {
			return nil, sealing(err)
		}
		out[i], ids[i], leaves[i], sights[i] = r, r.ID.UUID(), int64(leaf), sight(c, d.said.Visibility)
		for j, l := range d.said.Links {
			link, err := makeLink(ctx, tx, r.ID, d.targets[j], d.kinds[j], l.Relation, both(sights[i], found[d.targets[j].UUID()].sight))
			if err != nil {
				return nil, err
			}
			links = append(links, link)
		}
	}
	stored, err := tx.Exec(ctx, tenant.Lit(`WITH c AS (SELECT id FROM collection WHERE org_id = $1 AND id = $2 AND version = $9 FOR KEY SHARE)
INSERT INTO record (org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
 SELECT $1, t.id, c.id, 1, t.leaf, t.body, $3, t.visibility::"char", $4, $3, $4, $3
 FROM c, unnest($5::uuid[], $6::bigint[], $7::bytea[], $8::text[]) AS t(id, leaf, body, visibility)`),
		tx.Org().UUID(), c.ID.UUID(), tx.Actor().Person().UUID(), tx.Now(), ids, leaves, bodies, sights, c.Version)
	if err == nil && stored != int64(n) {
		err = errStaleCollection
	}
	if err == nil {
		for _, r := range out {
			tx.Touch(r.ID)
		}
		err = addSubjects(ctx, tx, about)
	}
	if err == nil {
		err = storeLinks(ctx, tx, links)
	}
	return out, err
}

func (d *draft) link(i int, rest string) string { return d.at + "/links/" + strconv.Itoa(i) + rest }

// check holds a draft's links to what the collection declares.
func (d *draft) check(c collection, found map[uuid.UUID]end, names map[uuid.UUID]string) error {
	type pair struct {
		relation string
		to       uuid.UUID
	}
	seen, singles := map[pair]bool{}, map[string]bool{}
	for i, l := range d.said.Links {
		to := d.targets[i].UUID()
		e, ok := found[to]
		if !ok {
			return errNoTarget(d.link(i, "/to"))
		}
		name := kind.ToFile
		if d.kinds[i] == "record" {
			name = names[e.collection]
		}
		single, err := c.Relations.Allows(l.Relation, name, d.link(i, "/relation"))
		switch {
		case err != nil:
			return err
		case seen[pair{l.Relation, to}]:
			return fault.At(fault.Invalid, d.link(i, ""), "unique_items", "must not repeat a link")
		case single && singles[l.Relation]:
			return errSingle(d.link(i, "/relation"))
		}
		seen[pair{l.Relation, to}], singles[l.Relation] = true, true
	}
	return nil
}

func errSingle(at string) error {
	return fault.At(fault.Invalid, at, "one_only", "a record has at most one link of this relation")
}

// subjects finds the leaves of the people whom a draft's fields are about.
func (d *draft) subjects(ctx context.Context, tx *tenant.Tx, c collection, found map[uuid.UUID]end) (subjects, error) {
	of, err := about(ctx, tx, c, d.content)
	if err != nil {
		return nil, err
	}
	for whose, p := range of {
		if whose == kind.Self {
			if p.leaf, err = tx.NewLeaf(ctx); err != nil {
				return nil, err
			}
		} else if p.leaf, err = d.person(whose, found); err != nil {
			return nil, err
		}
		of[whose] = p
	}
	return of, nil
}

// person is the leaf of the one person to whom a draft is linked by a relation.
func (d *draft) person(relation string, found map[uuid.UUID]end) (leaf keytree.Leaf, err error) {
	n := 0
	for i, l := range d.said.Links {
		if l.Relation == relation {
			n++
			leaf = found[d.targets[i].UUID()].subject
		}
	}
	if n != 1 || leaf == keytree.NoLeaf {
		return 0, fault.At(fault.Invalid, d.at+"/links", "one_person", "a field is about the person whom the record is linked to: exactly one such link to a person's record is needed")
	}
	return leaf, nil
}

// kindsOf names the collections of found records, where the relations of a
// collection ask for them.
func (s *Records) kindsOf(ctx context.Context, tx *tenant.Tx, c collection, found map[uuid.UUID]end) (map[uuid.UUID]string, error) {
	if len(c.Relations) == 0 {
		return nil, nil
	}
	wanted := map[uuid.UUID]bool{}
	for _, e := range found {
		if e.collection != uuid.Nil {
			wanted[e.collection] = true
		}
	}
	all, err := s.byID(ctx, tx, wanted)
	names := map[uuid.UUID]string{}
	for u, c := range all {
		names[u] = c.Kind
	}
	return names, err
}

// byID finds collections by their identifiers: those that are not cached take
// one query together.
func (s *Records) byID(ctx context.Context, tx *tenant.Tx, wanted map[uuid.UUID]bool) (map[uuid.UUID]collection, error) {
	out := map[uuid.UUID]collection{}
	if len(wanted) == 0 {
		return out, nil
	}
	s.mu.Lock()
	now := time.Now()
	for _, c := range s.byOrg[tx.Org()] {
		if u := c.ID.UUID(); wanted[u] && now.Before(c.until) {
			out[u] = c
		}
	}
	s.mu.Unlock()
	var missing [][16]byte
	for u := range wanted {
		if _, ok := out[u]; !ok {
			missing = append(missing, u)
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT id, version, body, created_at, created_by FROM collection WHERE org_id = $1 AND id = ANY ($2::uuid[])`), tx.Org().UUID(), missing)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r collectionRow
		if err := rows.Scan(r.dest()...); err != nil {
			return nil, err
		}
		c, err := s.openCollection(ctx, tx, r)
		if err != nil {
			return nil, err
		}
		s.keep(tx.Org(), c)
		out[r.id] = c
	}
	return out, rows.Err()
}

func (s *Records) createLink(ctx context.Context, tx *tenant.Tx, in createLinkIn) (feature.Created[Link], error) {
	tx.Touch(in.ID)
	to, toKind, err := target(in.Body.To, "/to")
	if err != nil {
		return feature.Created[Link]{}, err
	}
	tx.Touch(to)
	c, err := s.collection(ctx, tx, in.Kind)
	if err != nil {
		return feature.Created[Link]{}, err
	}
	l, err := s.linkStored(ctx, tx, c, in.ID, to, toKind, in.Body.Relation)
	if err != nil {
		return feature.Created[Link]{}, err
	}
	if l.toKind == "file" && l.sight == feature.SightPrivate {
		if err := shareFile(ctx, tx, in.ID, l.to); err != nil {
			return feature.Created[Link]{}, err
		}
	}
	return feature.Created[Link]{Location: "/v1/orgs/" + tx.Org().String() + "/collections/" + c.Kind + "/records/" + in.ID.String() + "/links/" + l.ID.String(),
		ETag: feature.VersionTag(1), Body: l.Link}, nil
}

// linkStored makes a link from a stored record. Both ends must be there and
// visible to the caller, and stay until the link is.
func (s *Records) linkStored(ctx context.Context, tx *tenant.Tx, c collection, from id.Record, to id.Ref, toKind, relation string) (newLink, error) {
	single := false
	if len(c.Relations) > 0 {
		var err error
		if single, err = s.allows(ctx, tx, c, to, toKind, relation); err != nil {
			return newLink{}, err
		}
	}
	l, err := makeLink(ctx, tx, from, to, toKind, relation, feature.SightPrivate)
	if err != nil {
		return l, err
	}
	if single {
		// One at a time: of two requests the second one finds the first one's.
		if _, err := tx.Exec(ctx, tenant.Lit(`SELECT 1 FROM record WHERE org_id = $1 AND id = $2 FOR NO KEY UPDATE`), tx.Org().UUID(), from.UUID()); err != nil {
			return l, err
		}
	}
	args := []any{tx.Org().UUID(), l.ID.UUID(), int64(l.leaf), l.from, l.to, l.token, l.body, l.CreatedAt, l.CreatedBy.UUID(), c.ID.UUID(), single}
	if toKind == "record" {
		err = tx.QueryRow(ctx, tenant.Lit(`INSERT INTO link (org_id, id, leaf, from_id, to_id, to_kind, token, body, created_at, created_by, visibility)
 SELECT $1, $2, $3, f.id, t.id, 'record', $6, $7, $8, $9, CASE WHEN f.visibility = 'o' AND t.visibility = 'o' THEN 'o'::"char" ELSE 'p'::"char" END FROM record f, record t
 WHERE f.org_id = $1 AND f.id = $4 AND f.collection_id = $10 AND t.org_id = $1 AND t.id = $5
 AND NOT ($11 AND EXISTS (SELECT FROM link k WHERE k.org_id = $1 AND k.from_id = $4 AND k.token = $6)) FOR SHARE OF f, t RETURNING visibility::text`), args...).Scan(&l.sight)
	} else {
		err = tx.QueryRow(ctx, tenant.Lit(`INSERT INTO link (org_id, id, leaf, from_id, to_id, to_kind, token, body, created_at, created_by, visibility)
 SELECT $1, $2, $3, f.id, t.id, 'file', $6, $7, $8, $9, CASE WHEN f.visibility = 'o' AND t.visibility = 'o' THEN 'o'::"char" ELSE 'p'::"char" END FROM record f, file t
 WHERE f.org_id = $1 AND f.id = $4 AND f.collection_id = $10 AND t.org_id = $1 AND t.id = $5 AND t.state = 'stored'
 AND NOT ($11 AND EXISTS (SELECT FROM link k WHERE k.org_id = $1 AND k.from_id = $4 AND k.token = $6)) FOR SHARE OF f, t RETURNING visibility::text`), args...).Scan(&l.sight)
	}
	switch {
	case tenant.IsUnique(err, "link_ends_key"):
		err = fault.New(fault.Conflict, "this link exists already")
	case errors.Is(err, tenant.ErrNoRows):
		// Which end is missing? The one in the path is asked for first.
		if _, err = s.read(ctx, tx, c.Kind, from); err == nil && single {
			var there map[uuid.UUID]end
			if there, err = endOf(ctx, tx, to, toKind); err == nil && len(there) > 0 {
				return l, errSingle("/relation")
			}
		}
		if err == nil {
			err = errNoTarget("/to")
		}
	case err == nil:
		tx.Touch(l.ID)
	}
	return l, err
}

func endOf(ctx context.Context, tx *tenant.Tx, to id.Ref, toKind string) (map[uuid.UUID]end, error) {
	one := [][16]byte{to.UUID()}
	if toKind == "file" {
		return ends(ctx, tx, nil, one)
	}
	return ends(ctx, tx, one, nil)
}

// allows holds one link to the relations of its collection.
func (s *Records) allows(ctx context.Context, tx *tenant.Tx, c collection, to id.Ref, toKind, relation string) (single bool, err error) {
	found, err := endOf(ctx, tx, to, toKind)
	if err != nil {
		return false, err
	}
	e, ok := found[to.UUID()]
	if !ok {
		return false, nil // which end is missing shows where both are asked for
	}
	name := kind.ToFile
	if toKind == "record" {
		names, err := s.kindsOf(ctx, tx, c, found)
		if err != nil {
			return false, err
		}
		name = names[e.collection]
	}
	return c.Relations.Allows(relation, name, "/relation")
}

// linkRow is a link as the table holds it.
type linkRow struct {
	id, from, to, by uuid.UUID
	kind             string
	body             seal.Sealed
	at               time.Time
}

func (r *linkRow) dest() []any {
	return []any{&r.id, &r.from, &r.to, &r.kind, &r.body, &r.at, &r.by}
}

// open returns the link as seen from where it begins.
func (r *linkRow) open(ctx context.Context, tx *tenant.Tx) (Link, error) {
	relation, err := seal.OpenOne(ctx, tx.Keys(), seal.Place{Org: tx.Org(), Table: tableLink, Row: r.id, Version: 1}, r.body, "relation")
	if err != nil {
		return Link{}, err
	}
	l := Link{ID: id.LinkOf(r.id), From: id.RecordOf(r.from).String(), To: id.RecordOf(r.to).String(), Relation: string(relation.Reveal()), Direction: "out",
		CreatedAt: r.at.UTC(), CreatedBy: id.PersonOf(r.by)}
	if r.kind == "file" {
		l.To = id.FileOf(r.to).String()
	}
	return l, nil
}

// farEnd is what stands at the other end of a link.
type farEnd struct {
	record     stored
	collection *uuid.UUID
	file       stored
}

// stored is a row as an outer join found it: nil where there is none.
type stored struct {
	version *int64
	body    seal.Sealed
}

func (s *Records) listLinks(ctx context.Context, tx *tenant.Tx, in listLinksIn) (feature.List[Link], error) {
	tx.Touch(in.ID)
	c, err := s.collection(ctx, tx, in.Kind)
	if err != nil {
		return feature.List[Link]{}, err
	}
	query := "links/" + in.ID.String() + "/" + in.Direction + "/" + in.Relation
	after, err := position(ctx, tx, query, in.Cursor)
	if err != nil {
		return feature.List[Link]{}, err
	}
	var relation []byte
	if in.Relation != "" {
		if relation, err = tx.Hash(ctx, tokenRelation, []byte(in.Relation)); err != nil {
			return feature.List[Link]{}, err
		}
	}
	found, total, err := s.linkPage(ctx, tx, c, in, relation, after, limit(in.Listing))
	if err != nil {
		return feature.List[Link]{}, err
	}
	items, err := s.openLinks(ctx, tx, in.ID, found)
	if err != nil {
		return feature.List[Link]{}, err
	}
	next := ""
	if total > len(items) {
		last := items[len(items)-1].ID.UUID()
		next, err = tx.SealCursor(ctx, query, last[:])
	}
	return feature.List[Link]{Body: feature.NewPage(items, next)}, err
}

// linkFound is a link together with its other end.
type linkFound struct {
	linkRow
	farEnd
}

// linkPage reads up to n links of a record, and how many there are at least
// with those behind them. A link shows only while both of its ends are there
// and visible to the caller; the outer join gives a row where the record has
// no link, and none where there is no record. Each direction has its index, and
// the page ends early where the ends are large, as that of a list does.
func (s *Records) linkPage(ctx context.Context, tx *tenant.Tx, c collection, in listLinksIn, relation []byte, after uuid.UUID, n int) (out []linkFound, total int, err error) {
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT l.id, l.from_id, l.to_id, l.to_kind, l.body, l.created_at, l.created_by, l.collection_id, l.record_version, l.record_body, l.file_version, l.file_body, l.found
 FROM record here LEFT JOIN LATERAL (
  SELECT m.id, m.from_id, m.to_id, m.to_kind, m.body, m.created_at, m.created_by, m.collection_id, m.record_version, m.record_body, m.file_version, m.file_body,
   count(*) OVER () AS found, sum(coalesce(octet_length(m.record_body), octet_length(m.file_body))) OVER (ORDER BY m.id) - coalesce(octet_length(m.record_body), octet_length(m.file_body)) AS before
  FROM (
   (SELECT k.id, k.from_id, k.to_id, k.to_kind, k.body, k.created_at, k.created_by, r.collection_id, r.version AS record_version, r.body AS record_body, f.version AS file_version, f.body AS file_body
    FROM link k LEFT JOIN record r ON r.org_id = $1 AND r.id = k.to_id LEFT JOIN file f ON f.org_id = $1 AND f.id = k.to_id AND f.state = 'stored'
    WHERE $6 <> 'in' AND k.org_id = $1 AND k.from_id = $2 AND k.id > $4 AND ($7::bytea IS NULL OR k.token = $7) AND (r.id IS NOT NULL OR f.id IS NOT NULL) ORDER BY k.id LIMIT $5)
   UNION ALL
   (SELECT k.id, k.from_id, k.to_id, k.to_kind, k.body, k.created_at, k.created_by, r.collection_id, r.version, r.body, NULL::bigint, NULL::bytea
    FROM link k JOIN record r ON r.org_id = $1 AND r.id = k.from_id
    WHERE $6 <> 'out' AND k.org_id = $1 AND k.to_id = $2 AND k.from_id <> $2 AND k.id > $4 AND ($7::bytea IS NULL OR k.token = $7) ORDER BY k.id LIMIT $5)
   ORDER BY id LIMIT $5) m
  ) l ON l.before < $8
 WHERE here.org_id = $1 AND here.id = $2 AND here.collection_id = $3 ORDER BY l.id`),
		tx.Org().UUID(), in.ID.UUID(), c.ID.UUID(), after, n+1, in.Direction, relation, maxPageBytes)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	there := false
	for rows.Next() {
		there = true
		var f linkFound
		var link, from, to, by *uuid.UUID
		var toKind *string
		var at *time.Time
		var found *int64
		if err := rows.Scan(&link, &from, &to, &toKind, &f.body, &at, &by, &f.collection, &f.record.version, &f.record.body, &f.file.version, &f.file.body, &found); err != nil {
			return nil, 0, err
		}
		if link == nil || len(out) == n {
			continue
		}
		f.id, f.from, f.to, f.kind, f.at, f.by, total = *link, *from, *to, *toKind, *at, *by, int(*found)
		out = append(out, f)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, err
	}
	if !there {
		return nil, 0, errNoRecord
	}
	return out, total, nil
}

// openLinks opens a page of links with the titles of their other ends, each of
// which is on the record: its title is of its content.
func (s *Records) openLinks(ctx context.Context, tx *tenant.Tx, here id.Record, found []linkFound) ([]Link, error) {
	wanted := map[uuid.UUID]bool{}
	for _, f := range found {
		if f.collection != nil {
			wanted[*f.collection] = true
		}
	}
	kinds, err := s.byID(ctx, tx, wanted)
	if err != nil {
		return nil, err
	}
	items := make([]Link, len(found))
	for i, f := range found {
		l, err := f.open(ctx, tx)
		if err != nil {
			return nil, err
		}
		other := id.Ref(id.FileOf(f.to))
		if f.from != here.UUID() {
			l.Direction, other = "in", id.RecordOf(f.from)
		} else if f.kind == "record" {
			other = id.RecordOf(f.to)
		}
		if l.Title, err = s.farTitle(ctx, tx, other, f.farEnd, kinds); err != nil {
			return nil, err
		}
		if f.collection != nil {
			l.Collection = kinds[*f.collection].Kind
		}
		tx.Touch(l.ID)
		if other.UUID() != here.UUID() {
			tx.Touch(other)
		}
		items[i] = l
	}
	return items, nil
}

// farTitle is the title of a link's other end, for who may open it.
func (s *Records) farTitle(ctx context.Context, tx *tenant.Tx, other id.Ref, f farEnd, kinds map[uuid.UUID]collection) (string, error) {
	switch {
	case f.record.version != nil && tx.May(policy.RecordRead):
		return recordTitle(ctx, tx, kinds[*f.collection], other.UUID(), *f.record.version, f.record.body)
	case f.file.version != nil && tx.May(policy.FileRead) && s.files != nil:
		return s.files(ctx, tx, feature.Sealed{Row: other.UUID(), Version: *f.file.version, Body: f.file.body})
	}
	return "", nil
}

// recordTitle opens a record for its title alone. An erased one has none.
func recordTitle(ctx context.Context, tx *tenant.Tx, c collection, rec uuid.UUID, version int64, body seal.Sealed) (string, error) {
	if c.Schema == nil || c.Schema.TitleField() == "" {
		return "", nil
	}
	text, err := openContent(ctx, tx, rec, version, body)
	if errors.Is(err, errErased) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return c.Schema.Title(text), nil
}

// deleteLink removes a link that its caller sees: both ends must be there and
// visible, as for the list.
func (s *Records) deleteLink(ctx context.Context, tx *tenant.Tx, in deleteLinkIn) (feature.NoContent, error) {
	tx.Touch(in.ID, in.Link)
	c, err := s.collection(ctx, tx, in.Kind)
	if err != nil {
		return feature.NoContent{}, err
	}
	var from, to uuid.UUID
	var toKind, sight string
	var token []byte
	err = tx.QueryRow(ctx, tenant.Lit(`DELETE FROM link l USING record r WHERE l.org_id = $1 AND l.id = $2 AND (l.from_id = $3 OR l.to_id = $3)
 AND r.org_id = $1 AND r.id = $3 AND r.collection_id = $4
 AND EXISTS (SELECT FROM record f WHERE f.org_id = $1 AND f.id = l.from_id)
 AND (EXISTS (SELECT FROM record t WHERE t.org_id = $1 AND t.id = l.to_id) OR EXISTS (SELECT FROM file t WHERE t.org_id = $1 AND t.id = l.to_id))
 RETURNING l.from_id, l.to_id, l.to_kind, l.visibility::text, l.token`),
		tx.Org().UUID(), in.Link.UUID(), in.ID.UUID(), c.ID.UUID()).Scan(&from, &to, &toKind, &sight, &token)
	if errors.Is(err, tenant.ErrNoRows) {
		err = fault.New(fault.NotFound, "no such link")
	}
	switch {
	case err == nil && toKind == "file" && sight == feature.SightPrivate:
		err = unshareFile(ctx, tx, from, to)
	case err == nil && toKind == "record":
		err = saysNothingAbout(ctx, tx, from, to, token)
	}
	return feature.NoContent{}, err
}
