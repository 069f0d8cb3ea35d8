package records

import (
	"context"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/store/tenant"
)

const (
	tableLink     = "link"
	tokenRelation = "relation"
)

// target reads the other end of a link.
func target(s string) (ref id.Ref, kind string, err error) {
	if r, err := id.ParseRecord(s); err == nil {
		return r, "record", nil
	}
	if f, err := id.ParseFile(s); err == nil {
		return f, "file", nil
	}
	return nil, "", fault.At(fault.Invalid, "/to", "identifier", "expected the identifier of a record or a file")
}

func (s *Records) createLink(ctx context.Context, tx *tenant.Tx, in createLinkIn) (feature.Created[Link], error) {
	tx.Touch(in.ID)
	to, kind, err := target(in.Body.To)
	if err != nil {
		return feature.Created[Link]{}, err
	}
	tx.Touch(to)
	c, err := s.collection(ctx, tx, in.Kind)
	if err != nil {
		return feature.Created[Link]{}, err
	}
	l := Link{ID: id.NewLink(), From: in.ID.String(), To: to.String(), Relation: in.Body.Relation, Direction: "out", CreatedAt: tx.Now(), CreatedBy: tx.Actor().Person()}
	leaf, err := tx.NewLeaf(ctx)
	if err != nil {
		return feature.Created[Link]{}, err
	}
	body, err := tx.Seal(ctx, tableLink, l.ID.UUID(), 1, seal.Section{Name: "relation", Leaf: leaf, Plain: seal.NewSecretString(l.Relation)})
	if err != nil {
		return feature.Created[Link]{}, err
	}
	token, err := tx.Hash(ctx, tokenRelation, []byte(l.Relation))
	if err != nil {
		return feature.Created[Link]{}, err
	}
	args := []any{tx.Org().UUID(), l.ID.UUID(), int64(leaf), in.ID.UUID(), to.UUID(), token, body, l.CreatedAt, l.CreatedBy.UUID(), c.ID.UUID()}
	// Both ends must be there and visible to the caller, and stay until the
	// link is. Two links made across each other share these locks.
	var n int64
	if kind == "record" {
		n, err = tx.Exec(ctx, tenant.Lit(`INSERT INTO link (org_id, id, leaf, from_id, to_id, to_kind, token, body, created_at, created_by)
 SELECT $1, $2, $3, f.id, t.id, 'record', $6, $7, $8, $9 FROM record f, record t
 WHERE f.org_id = $1 AND f.id = $4 AND f.collection_id = $10 AND t.org_id = $1 AND t.id = $5 FOR KEY SHARE`), args...)
	} else {
		n, err = tx.Exec(ctx, tenant.Lit(`INSERT INTO link (org_id, id, leaf, from_id, to_id, to_kind, token, body, created_at, created_by)
 SELECT $1, $2, $3, f.id, t.id, 'file', $6, $7, $8, $9 FROM record f, file t
 WHERE f.org_id = $1 AND f.id = $4 AND f.collection_id = $10 AND t.org_id = $1 AND t.id = $5 AND t.state = 'stored' FOR KEY SHARE`), args...)
	}
	switch {
	case tenant.IsUnique(err, "link_ends_key"):
		err = fault.New(fault.Conflict, "this link exists already")
	case err == nil && n == 0:
		// Which end is missing? The one in the path is asked for first.
		if _, err = s.read(ctx, tx, in.Kind, in.ID); err == nil {
			err = fault.At(fault.NotFound, "/to", "not_found", "the target of the link does not exist")
		}
	}
	if err != nil {
		return feature.Created[Link]{}, err
	}
	tx.Touch(l.ID)
	return feature.Created[Link]{Location: "/v1/orgs/" + tx.Org().String() + "/collections/" + c.Kind + "/records/" + in.ID.String() + "/links/" + l.ID.String(),
		ETag: feature.VersionTag(1), Body: l}, nil
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

func (s *Records) listLinks(ctx context.Context, tx *tenant.Tx, in listLinksIn) (feature.List[Link], error) {
	tx.Touch(in.ID)
	c, err := s.collection(ctx, tx, in.Kind)
	if err != nil {
		return feature.List[Link]{}, err
	}
	query := "links/" + in.ID.String()
	after, err := position(ctx, tx, query, in.Cursor)
	if err != nil {
		return feature.List[Link]{}, err
	}
	n := limit(in.Listing)
	// A link shows only while both of its ends are there and visible to the
	// caller. The outer join gives a row where the record has no link, and none
	// where there is no record. k.from_id and k.to_id are asked apart, so that
	// each finds its index.
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT l.id, l.from_id, l.to_id, l.to_kind, l.body, l.created_at, l.created_by
 FROM record here LEFT JOIN LATERAL (
  SELECT k.id, k.from_id, k.to_id, k.to_kind, k.body, k.created_at, k.created_by FROM (
   SELECT id, from_id, to_id, to_kind, body, created_at, created_by FROM link WHERE org_id = $1 AND from_id = $2 AND id > $4
   UNION ALL
   SELECT id, from_id, to_id, to_kind, body, created_at, created_by FROM link WHERE org_id = $1 AND to_id = $2 AND from_id <> $2 AND id > $4
  ) k
  WHERE EXISTS (SELECT FROM record f WHERE f.org_id = $1 AND f.id = k.from_id)
   AND (EXISTS (SELECT FROM record t WHERE t.org_id = $1 AND t.id = k.to_id) OR EXISTS (SELECT FROM file t WHERE t.org_id = $1 AND t.id = k.to_id))
  ORDER BY k.id LIMIT $5) l ON true
 WHERE here.org_id = $1 AND here.id = $2 AND here.collection_id = $3 ORDER BY l.id`),
		tx.Org().UUID(), in.ID.UUID(), c.ID.UUID(), after, n+1)
	if err != nil {
		return feature.List[Link]{}, err
	}
	defer rows.Close()
	var items []Link
	found := false
	for rows.Next() {
		found = true
		var r linkRow
		var link, from, to, by *uuid.UUID
		var kind *string
		var at *time.Time
		if err := rows.Scan(&link, &from, &to, &kind, &r.body, &at, &by); err != nil {
			return feature.List[Link]{}, err
		}
		if link == nil {
			continue
		}
		r.id, r.from, r.to, r.kind, r.at, r.by = *link, *from, *to, *kind, *at, *by
		l, err := r.open(ctx, tx)
		if err != nil {
			return feature.List[Link]{}, err
		}
		if r.from != in.ID.UUID() {
			l.Direction = "in"
		}
		items = append(items, l)
	}
	if err := rows.Err(); err != nil {
		return feature.List[Link]{}, err
	}
	if !found {
		return feature.List[Link]{}, errNoRecord
	}
	items, next, err := page(ctx, tx, query, items, n, func(l Link) uuid.UUID { return l.ID.UUID() })
	for _, l := range items {
		tx.Touch(l.ID)
	}
	return feature.List[Link]{Body: feature.NewPage(items, next)}, err
}

// deleteLink removes a link that its caller sees: both ends must be there and
// visible, as for the list.
func (s *Records) deleteLink(ctx context.Context, tx *tenant.Tx, in deleteLinkIn) (feature.NoContent, error) {
	tx.Touch(in.ID, in.Link)
	c, err := s.collection(ctx, tx, in.Kind)
	if err != nil {
		return feature.NoContent{}, err
	}
	n, err := tx.Exec(ctx, tenant.Lit(`DELETE FROM link l USING record r WHERE l.org_id = $1 AND l.id = $2 AND (l.from_id = $3 OR l.to_id = $3)
 AND r.org_id = $1 AND r.id = $3 AND r.collection_id = $4
 AND EXISTS (SELECT FROM record f WHERE f.org_id = $1 AND f.id = l.from_id)
 AND (EXISTS (SELECT FROM record t WHERE t.org_id = $1 AND t.id = l.to_id) OR EXISTS (SELECT FROM file t WHERE t.org_id = $1 AND t.id = l.to_id))`),
		tx.Org().UUID(), in.Link.UUID(), in.ID.UUID(), c.ID.UUID())
	if err == nil && n == 0 {
		err = fault.New(fault.NotFound, "no such link")
	}
	return feature.NoContent{}, err
}
