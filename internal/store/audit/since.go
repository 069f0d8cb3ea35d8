package audit

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/id"
	"strongroom/internal/base/seal"
)

// Stored is an event as the database holds it at one moment.
type Stored struct {
	Event
	Idx  int64  // its place in the log; -1 while it is on its way there
	Leaf []byte // its hash
	Body seal.Sealed
}

// sinceWindow bounds how far back Since looks.
const sinceWindow = 10_000

// Since returns the events of an organization that were made at a moment or
// later and are durable now, in the order in which they were made. Whoever
// asks after an answer has arrived learns whether its event was there before
// it.
func (l *Log) Since(ctx context.Context, org id.Org, from time.Time) ([]Stored, error) {
	// Identifiers of events begin with the millisecond in which they were made
	// (UUIDv7, RFC 9562 section 5.7).
	var low uuid.UUID
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(max(from.UnixMilli(), 0)))
	copy(low[:6], ms[2:])
	// One statement sees one moment: an event that is being moved from pending
	// to its place is in exactly one of the two.
	rows, err := l.pool.Raw().Query(ctx, `SELECT event_id, leaf, body, -1::bigint FROM audit.pending WHERE org_id = $1 AND NOT void AND event_id >= $2
 UNION ALL SELECT event_id, leaf, body, idx FROM audit.event WHERE org_id = $1 AND event_id >= $2
  AND idx > (SELECT coalesce(max(m.idx), 0) FROM audit.event m WHERE m.org_id = $1) - $3
 ORDER BY 1`, org.UUID(), low, sinceWindow)
	if err != nil {
		return nil, fmt.Errorf("audit: since: %w", err)
	}
	defer rows.Close()
	var out []Stored
	for rows.Next() {
		var s Stored
		var ev uuid.UUID
		if err := rows.Scan(&ev, &s.Leaf, &s.Body, &s.Idx); err != nil {
			return nil, fmt.Errorf("audit: since: %w", err)
		}
		b, err := OpenBody(ctx, l.keys(org), id.EventOf(ev), s.Leaf, s.Body)
		if err != nil {
			return nil, fmt.Errorf("audit: the event %s: %w", id.EventOf(ev), err)
		}
		if err := json.Unmarshal(b, &s.Event); err != nil {
			return nil, fmt.Errorf("audit: the event %s is not readable", id.EventOf(ev))
		}
		out = append(out, s)
	}
	return out, rows.Err()
}
