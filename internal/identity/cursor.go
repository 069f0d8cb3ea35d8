package identity

import (
	"context"

	"github.com/google/uuid"

	"strongroom/internal/base/id"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
)

// list is one page asked for.
type list struct {
	name   string
	limit  int
	cursor string
}

// after returns where the page begins, as an argument of the query: nil for
// the first page.
func (l list) after(ctx context.Context, tx *platform.Tx) (any, error) {
	position, err := tx.OpenCursor(ctx, l.query(), l.cursor)
	if err != nil || position == nil {
		return nil, err
	}
	return uuid.FromBytes(position)
}

// next returns the cursor that continues after last.
func (l list) next(ctx context.Context, tx *platform.Tx, last uuid.UUID) (string, error) {
	return tx.SealCursor(ctx, l.query(), last[:])
}

func (l list) query() string { return "identity/" + l.name }

// paged reads one page of what belongs to r.Org: sql takes the organization, the
// position and how many rows to read; scan turns a row into an item and the
// identifier that its position and its event name.
func paged[T any](ctx context.Context, s *Service, r platform.Request, l list, sql platform.SQL,
	scan func(context.Context, *platform.Tx, interface{ Scan(...any) error }) (T, id.Ref, error)) (items []T, next string, receipt audit.Receipt, err error) {
	items, receipt, err = platform.Do(ctx, s.store, r, func(ctx context.Context, tx *platform.Tx) (items []T, err error) {
		after, err := l.after(ctx, tx)
		if err != nil {
			return nil, err
		}
		rows, err := tx.Query(ctx, sql, r.Org, after, l.limit+1)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		var last uuid.UUID
		for rows.Next() {
			if len(items) == l.limit {
				if next, err = l.next(ctx, tx, last); err != nil {
					return nil, err
				}
				break
			}
			item, ref, err := scan(ctx, tx, rows)
			if err != nil {
				return nil, err
			}
			tx.Touch(ref)
			items, last = append(items, item), ref.UUID()
		}
		rows.Close()
		return items, rows.Err()
	})
	if err != nil {
		return nil, "", receipt, err
	}
	return items, next, receipt, nil
}
