package feature

import (
	"context"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/seal"
	"strongroom/internal/store/tenant"
)

// Undo is how long the trash keeps what was deleted (DEL-1).
const Undo = 7 * 24 * time.Hour

// The visibilities of a record or file: as the API spells them, and as their
// tables hold them for row-level security.
const (
	ForOrganization = "organization"
	ForOwner        = "private"

	SightOrganization = "o"
	SightPrivate      = "p"
)

// Sight is how tables hold a visibility. What is not private is the
// organization's.
func Sight(visibility string) string {
	if visibility == ForOwner {
		return SightPrivate
	}
	return SightOrganization
}

// Visibility spells what a table holds.
func Visibility(sight string) string {
	if sight == SightPrivate {
		return ForOwner
	}
	return ForOrganization
}

// Sealed is a row of a feature's table as another feature's statement found it:
// at the end of a link, or in the trash.
type Sealed struct {
	Row     uuid.UUID
	Version int64
	Body    seal.Sealed
}

// Title gives the words by which people know a row, "" where it has none or
// was erased. The caller of the transaction sees the row: its statement found it.
type Title func(ctx context.Context, tx *tenant.Tx, row Sealed) (string, error)
