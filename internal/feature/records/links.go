package records

import (
	"context"
	"strconv"
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

func itoa(i int) string { return strconv.Itoa(i) }

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
	// Both ends must be there and visible to the caller, and stay until the
	// link is.
	if _, err := s.lock(ctx, tx, c, in.ID); err != nil {
		return feature.Created[Link]{}, err
	}
	var n int64
	if kind == "record" {
		n, err = tx.Exec(ctx, tenant.Lit(`SELECT 1 FROM record WHERE org_id = $1 AND id = $2 FOR SHARE`), tx.Org().UUID(), to.UUID())
	} else {
		n, err = tx.Exec(ctx, tenant.Lit(`SELECT 1 FROM file WHERE org_id = $1 AND id = $2 FOR SHARE`), tx.Org().UUID(), to.UUID())
	}
	if err != nil {
		return feature.Created[Link]{}, err
	}
	if n == 0 {
		return feature.Created[Link]{}, fault.At(fault.NotFound, "/to", "not_found", "the target of the link does not exist")
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
	tx.Touch(l.ID)
	_, err = tx.Exec(ctx, tenant.Lit(`INSERT INTO link (org_id, id, leaf, from_id, to_id, to_kind, token, body, created_at, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`),
		tx.Org().UUID(), l.ID.UUID(), reserved(leaf), in.ID.UUID(), to.UUID(), kind, token, body, l.CreatedAt, l.CreatedBy.UUID())
	if tenant.IsUnique(err, "link_ends_key") {
		return feature.Created[Link]{}, fault.New(fault.Conflict, "this link exists already")
	}
	return feature.Created[Link]{Location: "/v1/orgs/" + tx.Org().String() + "/collections/" + c.Kind + "/records/" + in.ID.String() + "/links/" + l.ID.String(),
		ETag: feature.VersionTag(1), Body: l}, err
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
	// A link shows only while both of its ends are there and visible to the
	// caller. The first column of the outer join says whether the record is.
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT here.id, l.id, l.from_id, l.to_id, l.to_kind, l.body, l.created_at, l.created_by
 FROM record here LEFT JOIN LATERAL (
  SELECT k.id, k.from_id, k.to_id, k.to_kind, k.body, k.created_at, k.created_by FROM link k
  WHERE k.org_id = $1 AND (k.from_id = $2 OR k.to_id = $2) AND k.id > $4
   AND EXISTS (SELECT FROM record f WHERE f.org_id = $1 AND f.id = k.from_id)
   AND (EXISTS (SELECT FROM record t WHERE t.org_id = $1 AND t.id = k.to_id) OR EXISTS (SELECT FROM file t WHERE t.org_id = $1 AND t.id = k.to_id))
  ORDER BY k.id LIMIT $5) l ON true
 WHERE here.org_id = $1 AND here.id = $2 AND here.collection_id = $3 ORDER BY l.id`),
		tx.Org().UUID(), in.ID.UUID(), c.ID.UUID(), after, in.Limit+1)
	if err != nil {
		return feature.List[Link]{}, err
	}
	defer rows.Close()
	var items []Link
	found := false
	for rows.Next() {
		found = true
		var here uuid.UUID
		var link, from, to, by *uuid.UUID
		var kind *string
		var body seal.Sealed
		var at *time.Time
		if err := rows.Scan(&here, &link, &from, &to, &kind, &body, &at, &by); err != nil {
			return feature.List[Link]{}, err
		}
		if link == nil {
			continue
		}
		relation, err := seal.OpenOne(ctx, tx.Keys(), seal.Place{Org: tx.Org(), Table: tableLink, Row: *link, Version: 1}, body, "relation")
		if err != nil {
			return feature.List[Link]{}, err
		}
		l := Link{ID: id.LinkOf(*link), From: id.RecordOf(*from).String(), To: id.RecordOf(*to).String(), Relation: string(relation.Reveal()), Direction: "out",
			CreatedAt: at.UTC(), CreatedBy: id.PersonOf(*by)}
		if *kind == "file" {
			l.To = id.FileOf(*to).String()
		}
		if *from != in.ID.UUID() {
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
	items, next, err := page(ctx, tx, query, items, in.Limit, func(l Link) uuid.UUID { return l.ID.UUID() })
	for _, l := range items {
		tx.Touch(l.ID)
	}
	return feature.List[Link]{Body: feature.NewPage(items, next)}, err
}

func (s *Records) deleteLink(ctx context.Context, tx *tenant.Tx, in deleteLinkIn) (feature.NoContent, error) {
	tx.Touch(in.ID, in.Link)
	c, err := s.collection(ctx, tx, in.Kind)
	if err != nil {
		return feature.NoContent{}, err
	}
	n, err := tx.Exec(ctx, tenant.Lit(`DELETE FROM link l USING record r WHERE l.org_id = $1 AND l.id = $2 AND (l.from_id = $3 OR l.to_id = $3)
 AND r.org_id = $1 AND r.id = $3 AND r.collection_id = $4`), tx.Org().UUID(), in.Link.UUID(), in.ID.UUID(), c.ID.UUID())
	if err == nil && n == 0 {
		err = fault.New(fault.NotFound, "no such link")
	}
	return feature.NoContent{}, err
}
