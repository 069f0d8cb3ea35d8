package records

import (
	"context"
	"errors"
	"slices"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/feature"
	"strongroom/internal/store/tenant"
)

// Limits on what one record may gather around itself: their identifiers are
// held in memory, and a chain of links may go round in circles.
const (
	maxGathered    = 50_000
	maxGatherDepth = 16
)

var errGathered = fault.New(fault.Invalid, "more than %d records lead to this one: export its collections instead", maxGathered)

// gather names a record and every record that leads to it by links, as far as
// the caller may see them.
func (s *Records) gather(ctx context.Context, in feature.Chunks, collection string, record id.Record) ([]id.Record, error) {
	err := in.Chunk(ctx, func(ctx context.Context, tx *tenant.Tx) error {
		tx.Touch(record)
		_, err := s.read(ctx, tx, collection, record)
		return err
	})
	if err != nil {
		return nil, err
	}
	found := []id.Record{record}
	seen := map[uuid.UUID]bool{record.UUID(): true}
	edge := []uuid.UUID{record.UUID()}
	for depth := 0; len(edge) > 0 && depth < maxGatherDepth; depth++ {
		var next []uuid.UUID
		for part := range slices.Chunk(edge, s.page) {
			err := in.Chunk(ctx, func(ctx context.Context, tx *tenant.Tx) error {
				near, err := leadingTo(ctx, tx, part)
				for _, u := range near {
					if !seen[u] {
						seen[u] = true
						tx.Touch(id.RecordOf(u))
						next = append(next, u)
						found = append(found, id.RecordOf(u))
					}
				}
				return err
			})
			switch {
			case err != nil:
				return nil, err
			case len(found) > maxGathered:
				return nil, errGathered
			}
		}
		edge = next
	}
	return found, nil
}

// leadingTo finds the records that link to any of the given ones. The join is
// what hides those that the caller may not see.
func leadingTo(ctx context.Context, tx *tenant.Tx, targets []uuid.UUID) ([]uuid.UUID, error) {
	raw := make([][16]byte, len(targets))
	for i, u := range targets {
		raw[i] = u
	}
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT DISTINCT r.id FROM link k JOIN record r ON r.org_id = k.org_id AND r.id = k.from_id
 WHERE k.org_id = $1 AND k.to_id = ANY($2::uuid[]) ORDER BY r.id LIMIT $3`), tx.Org().UUID(), raw, maxGathered+1)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []uuid.UUID
	for rows.Next() {
		var u uuid.UUID
		if err := rows.Scan(&u); err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, rows.Err()
}

// collectionsOf lists the collections that records lie in, in the order of all.
func (s *Records) collectionsOf(ctx context.Context, tx *tenant.Tx, records []id.Record) ([]collection, error) {
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT DISTINCT collection_id FROM record WHERE org_id = $1 AND id = ANY($2::uuid[])`), tx.Org().UUID(), uuids(records))
	if err != nil {
		return nil, err
	}
	wanted := map[uuid.UUID]bool{}
	for rows.Next() {
		var u uuid.UUID
		if err = rows.Scan(&u); err != nil {
			break
		}
		wanted[u] = true
	}
	rows.Close()
	if err = errors.Join(err, rows.Err()); err != nil {
		return nil, err
	}
	all, err := s.inScope(ctx, tx, feature.Scope{})
	return slices.DeleteFunc(all, func(c collection) bool { return !wanted[c.ID.UUID()] }), err
}

// walkGathered visits those of the gathered records that lie in the
// collection, in the order of their identifiers.
func (x exporting) walkGathered(ctx context.Context, last uuid.UUID, visit func(Record) error) error {
	after := uuid.Nil
	for more := true; more; {
		var page []Record
		err := x.in.Chunk(ctx, func(ctx context.Context, tx *tenant.Tx) error {
			part, err := x.gathered(ctx, tx, after, last)
			more = len(part) == x.s.page
			if err != nil {
				return err
			}
			for _, u := range part {
				after = u
				r, err := x.s.read(ctx, tx, x.c.Kind, id.RecordOf(u))
				if fault.Is(err, fault.NotFound) {
					continue // erased
				}
				if err != nil {
					return err
				}
				tx.Touch(r.ID)
				page = append(page, r)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, r := range page {
			if err := visit(r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x exporting) gathered(ctx context.Context, tx *tenant.Tx, after, last uuid.UUID) ([]uuid.UUID, error) {
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT id FROM record WHERE org_id = $1 AND collection_id = $2 AND id = ANY($3::uuid[]) AND id > $4 AND id <= $5 ORDER BY id LIMIT $6`),
		tx.Org().UUID(), x.c.ID.UUID(), uuids(x.scope.Records), after, last, x.s.page)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []uuid.UUID
	for rows.Next() {
		var u uuid.UUID
		if err := rows.Scan(&u); err != nil {
			return nil, err
		}
		out = append(out, u)
	}
	return out, rows.Err()
}

// uuids is nil for nil: no bound.
func uuids(records []id.Record) (out [][16]byte) {
	for _, r := range records {
		out = append(out, r.UUID())
	}
	return out
}
