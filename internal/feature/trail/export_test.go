package trail

import (
	"context"

	"github.com/google/uuid"

	"strongroom/internal/base/id"
	"strongroom/internal/base/seal"
	"strongroom/internal/store/tenant"
)

// ListIn is the input of the list, for calls inside the process.
type ListIn = listIn

// ID returns the event's identifier.
func (e Event) ID() id.Event { return e.id }

// Read is read with a window of its own.
func Read(ctx context.Context, tx *tenant.Tx, in ListIn, window int64) ([]Event, int64, error) {
	since, until := span(in.Since, in.Until)
	return read(ctx, tx, place{from: in.From, below: in.Before, since: since, until: until, limit: limit(in.Listing), window: window})
}

// Open opens the event at a place with other keys than the door's.
func Open(ctx context.Context, tx *tenant.Tx, keys seal.Keys, idx int64) (Event, error) {
	var ev uuid.UUID
	var leaf []byte
	var body, openings seal.Sealed
	if err := tx.QueryRow(ctx, tenant.Lit(`SELECT event_id, leaf, body, openings FROM audit.event WHERE org_id = $1 AND idx = $2`),
		tx.Org().UUID(), idx).Scan(&ev, &leaf, &body, &openings); err != nil {
		return Event{}, err
	}
	return open(ctx, keys, idx, id.EventOf(ev), leaf, body, openings)
}
