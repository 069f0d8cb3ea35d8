package unit

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/seal"
)

// cursorLife is how long the next page can be asked for.
const cursorLife = 24 * time.Hour

var errCursor = fault.At(fault.Malformed, "cursor", "invalid_cursor", "the cursor is not one that this query gave to this caller in the last 24 hours")

// SealCursor hides a keyset position. The cursor opens for the same
// organization, actor and query alone, for a day: an identifier inside it
// cannot be read, changed or carried elsewhere.
func (u *Unit) SealCursor(ctx context.Context, query string, position []byte) (string, error) {
	plain := binary.BigEndian.AppendUint64(nil, uint64(u.now.Add(cursorLife).Unix()))
	b, err := seal.SealToken(ctx, u.Keys(), keytree.LeafToken, "cursor", append(plain, position...), u.cursorContext(query))
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// OpenCursor returns the position; an empty cursor gives nil, the beginning.
func (u *Unit) OpenCursor(ctx context.Context, query, cursor string) ([]byte, error) {
	if cursor == "" {
		return nil, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || strings.ContainsAny(cursor, "\r\n") { // which base64 skips
		return nil, errCursor
	}
	plain, err := seal.OpenToken(ctx, u.Keys(), keytree.LeafToken, "cursor", b, u.cursorContext(query))
	if err != nil {
		if fault.Is(err, fault.Unavailable) || errors.Is(err, context.Canceled) {
			return nil, err
		}
		return nil, errCursor
	}
	if len(plain) < 8 || u.now.Unix() > int64(binary.BigEndian.Uint64(plain)) {
		return nil, errCursor
	}
	return plain[8:], nil
}

func (u *Unit) cursorContext(query string) []byte {
	return []byte(u.w.Actor.ID() + "\x00" + query)
}
