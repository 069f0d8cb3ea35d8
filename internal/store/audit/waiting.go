package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Waiting says how many events wait for their place in the log, and when the
// oldest of them was made; it is zero where none waits. A sound installation
// places them within a fraction of a second.
func (l *Log) Waiting(ctx context.Context) (n int64, oldest time.Time, err error) {
	var first *string
	// Identifiers are UUIDv7, so that their text sorts by time (RFC 9562
	// section 5.7).
	if err := l.pool.Raw().QueryRow(ctx, `SELECT count(*), min(event_id::text) FROM audit.pending`).Scan(&n, &first); err != nil {
		return 0, time.Time{}, fmt.Errorf("audit: waiting: %w", err)
	}
	if first == nil {
		return n, time.Time{}, nil
	}
	u, err := uuid.Parse(*first)
	if err != nil {
		return n, time.Time{}, nil
	}
	seconds, nanos := u.Time().UnixTime()
	return n, time.Unix(seconds, nanos).UTC(), nil
}

// Conns says how many connections to PostgreSQL are open, and in use.
func (l *Log) Conns() (open, busy int32) { return l.pool.Stat() }
