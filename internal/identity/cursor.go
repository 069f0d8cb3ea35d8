package identity

import (
	"context"

	"github.com/google/uuid"

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
