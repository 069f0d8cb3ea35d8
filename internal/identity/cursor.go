package identity

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/seal"
	"strongroom/internal/store/platform"
)

// Cursors of this package's lists: the last identifier shown, sealed to the
// organization, the caller and the list, so that a cursor tells nothing and
// continues nobody else's list.
const (
	cursorPurpose = "identity.cursor"
	cursorLife    = 24 * time.Hour
)

var errCursor = fault.At(fault.Malformed, "cursor", "invalid_cursor", "the cursor is not of this list, or is older than 24 hours")

func (l list) associated(tx *platform.Tx) []byte {
	return []byte(l.name + "\x00" + tx.Actor().ID())
}

// list is one page asked for.
type list struct {
	name   string
	limit  int
	cursor string
}

// after returns where the page begins, as an argument of the query: nil for
// the first page.
func (l list) after(ctx context.Context, tx *platform.Tx) (any, error) {
	if l.cursor == "" {
		return nil, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(l.cursor)
	if err != nil {
		return nil, errCursor
	}
	plain, err := seal.OpenToken(ctx, tx.Keys(), keytree.LeafToken, cursorPurpose, raw, l.associated(tx))
	switch {
	case fault.Is(err, fault.Unavailable):
		return nil, err
	case err != nil || len(plain) != 8+16 || tx.Now().Unix() > int64(binary.BigEndian.Uint64(plain)):
		return nil, errCursor
	}
	return uuid.UUID(plain[8:]), nil
}

// next returns the cursor that continues after last.
func (l list) next(ctx context.Context, tx *platform.Tx, last uuid.UUID) (string, error) {
	plain := binary.BigEndian.AppendUint64(nil, uint64(tx.Now().Add(cursorLife).Unix()))
	token, err := seal.SealToken(ctx, tx.Keys(), keytree.LeafToken, cursorPurpose, append(plain, last[:]...), l.associated(tx))
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(token), nil
}
