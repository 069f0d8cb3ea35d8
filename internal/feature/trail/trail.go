// Package trail shows an organization its own log: who did what, when, and how
// it ended, newest first.
//
// It promises that an event is shown as the very bytes that were recorded,
// held against their hash on the way: what follows them (idx, leaf, opened) is
// ours and comes last. Personal data beside an event is opened where its keys
// still live and left out where they were destroyed. Reading the log is on the
// log: the event of the read names every event that it returned.
//
// The body of an event is sealed, so a question about actors, actions or
// targets would cost the decryption of everything; the log is read by places
// and times, and whoever asks more reads it whole and keeps what matters.
package trail

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
)

// Feature offers the log to the organization's security admins.
func Feature() feature.Feature {
	return feature.Feature{Name: "trail", Promises: promises(), Ops: []feature.Op{
		feature.Handle(feature.Meta{ID: "list-audit", Method: http.MethodGet, Path: "/v1/orgs/{org}/audit", Action: policy.TrailRead,
			Summary: "Read the organization's log, newest event first",
			Description: "An event has its place in the log some milliseconds after its request was answered: one that is still on its way " +
				"is on the next page read, never lost. With since or until a page may hold fewer events than asked for, or none, and still have a next one."},
			list),
	}}
}

type listIn struct {
	Org id.Org `path:"org" doc:"The organization."`
	feature.Listing
	From   int64     `query:"from" minimum:"0" doc:"Only events with this idx or a higher one."`
	Before int64     `query:"before" minimum:"1" doc:"Only events with a lower idx."`
	Since  time.Time `query:"since" doc:"Only events of this time and later, to the millisecond."`
	Until  time.Time `query:"until" doc:"Only events before this time, to the millisecond."`
}

// window is how many places of the log one request looks at: times are not
// indexed, so a question that matches little goes on by its cursor.
const window = 20_000

func list(ctx context.Context, tx *tenant.Tx, in listIn) (feature.List[Event], error) {
	query := fmt.Sprintf("audit/%d/%d/%d/%d", in.From, in.Before, in.Since.UnixMilli(), in.Until.UnixMilli())
	b, err := tx.OpenCursor(ctx, query, in.Cursor)
	if err != nil {
		return feature.List[Event]{}, err
	}
	below := in.Before
	if below == 0 {
		below = math.MaxInt64
	}
	if len(b) == 8 {
		below = int64(binary.BigEndian.Uint64(b))
	}
	since, until := span(in.Since, in.Until)
	items, next, err := read(ctx, tx, place{from: in.From, below: below, since: since, until: until, limit: limit(in.Listing), window: window})
	if err != nil {
		return feature.List[Event]{}, err
	}
	for _, e := range items {
		tx.Touch(e.id)
	}
	cursor := ""
	if next > in.From {
		cursor, err = tx.SealCursor(ctx, query, binary.BigEndian.AppendUint64(nil, uint64(next)))
	}
	return feature.List[Event]{Body: feature.NewPage(items, cursor)}, err
}

// span turns times into identifiers: those of events begin with the
// millisecond in which they were made (UUIDv7, RFC 9562 section 5.7).
func span(since, until time.Time) (low, high uuid.UUID) {
	high = uuid.Max
	if !since.IsZero() {
		low = atMilli(since)
	}
	if !until.IsZero() {
		high = atMilli(until)
	}
	return low, high
}

func atMilli(t time.Time) (u uuid.UUID) {
	ms := min(max(t.UnixMilli(), 0), 1<<48-1)
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(ms))
	copy(u[:6], b[2:])
	return u
}

// place is where a page begins and ends.
type place struct {
	from, below  int64 // from ≤ idx < below
	since, until uuid.UUID
	limit        int
	window       int64
}

// limit is how many events a page may hold. Calls inside the process have no
// default of their own.
func limit(l feature.Listing) int {
	if l.Limit <= 0 {
		return 50
	}
	return min(l.Limit, 200)
}

// read returns a page and the idx below which the next one begins, 0 at the
// beginning of the log.
func read(ctx context.Context, tx *tenant.Tx, p place) (items []Event, next int64, err error) {
	// Places are dense from 0, so the window's edge is known without counting.
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT w.top, e.idx, e.event_id, e.leaf, e.body, e.openings
 FROM (SELECT least(coalesce(max(h.idx) + 1, 0), $2) AS top FROM audit.event h WHERE h.org_id = $1) w
 LEFT JOIN LATERAL (
  SELECT v.idx, v.event_id, v.leaf, v.body, v.openings FROM audit.event v
  WHERE v.org_id = $1 AND v.idx < w.top AND v.idx >= greatest(w.top - $3, $4) AND v.event_id >= $5 AND v.event_id < $6
  ORDER BY v.idx DESC LIMIT $7) e ON true
 ORDER BY e.idx DESC`), tx.Org().UUID(), p.below, p.window, p.from, p.since, p.until, p.limit)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	var top int64
	for rows.Next() {
		var idx *int64
		var ev *uuid.UUID
		var leaf []byte
		var body, openings seal.Sealed
		if err := rows.Scan(&top, &idx, &ev, &leaf, &body, &openings); err != nil {
			return nil, 0, err
		}
		if idx == nil {
			continue
		}
		e, err := open(ctx, tx.Keys(), *idx, id.EventOf(*ev), leaf, body, openings)
		if err != nil {
			return nil, 0, err
		}
		items = append(items, e)
		next = *idx
	}
	if err := rows.Err(); err != nil {
		return nil, 0, err
	}
	if len(items) < p.limit {
		next = max(top-p.window, 0)
	}
	return items, next, nil
}

// Event is an entry of the log: event v1 as it was recorded, and behind it
// what the log says of it.
type Event struct {
	id  id.Event
	raw []byte
}

// MarshalJSON gives the bytes.
func (e Event) MarshalJSON() ([]byte, error) { return e.raw, nil }

// tail is what stands behind the bytes of event v1.
type tail struct {
	Idx    int64             `json:"idx" doc:"The place in the organization's log, dense from 0."`
	Leaf   string            `json:"leaf" doc:"SHA-256(0x00 || the bytes of event v1), base64url: the event's hash in the log (RFC 6962). The bytes are this object up to idx, closed by a brace."`
	Opened map[string]string `json:"opened,omitempty" doc:"The personal data that openings commits to, where its keys still live."`
	Pruned bool              `json:"pruned,omitempty" doc:"True where retention has removed the event's content; id, idx and leaf stay."`
	// One event that somebody damaged must not hide the others.
	Damaged bool `json:"damaged,omitempty" doc:"True where what is stored does not open, or not match its hash: it was changed after it was recorded."`
}

// auditEvent is Event in the API's description.
type auditEvent struct {
	audit.Event
	tail
}

// Schema describes the object. Of a pruned event little is left, and a later
// version may have more members: neither is another form.
func (Event) Schema(r huma.Registry) *huma.Schema {
	s := r.Schema(reflect.TypeFor[auditEvent](), true, "")
	if object := r.SchemaFromRef(s.Ref); object != nil {
		object.Required = []string{"id", "idx", "leaf"}
		object.AdditionalProperties = true
	}
	return s
}

func open(ctx context.Context, keys seal.Keys, idx int64, ev id.Event, leaf []byte, body, openings seal.Sealed) (Event, error) {
	t := tail{Idx: idx, Leaf: base64.RawURLEncoding.EncodeToString(leaf)}
	raw, opened, err := unseal(ctx, keys, ev, leaf, body, openings)
	switch {
	case err != nil && (fault.Is(err, fault.Unavailable) || ctx.Err() != nil):
		return Event{}, err
	case err != nil:
		t.Damaged = true
	case raw == nil:
		t.Pruned = true
	}
	if raw == nil {
		raw = []byte(`{"id":` + strconv.Quote(ev.String()) + `}`)
	}
	t.Opened = opened
	return splice(ev, raw, t)
}

func unseal(ctx context.Context, keys seal.Keys, ev id.Event, leaf []byte, body, openings seal.Sealed) (raw []byte, opened map[string]string, err error) {
	if len(body) == 0 {
		return nil, nil, nil
	}
	if raw, err = audit.OpenBody(ctx, keys, ev, leaf, body); err != nil || len(openings) == 0 {
		return raw, nil, err
	}
	var e audit.Event
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, nil, err
	}
	opened, err = audit.OpenOpenings(ctx, keys, e, openings)
	return raw, opened, err
}

// splice puts the tail's members behind the object's own, whose bytes stay.
func splice(ev id.Event, object []byte, t tail) (Event, error) {
	b, err := json.Marshal(t)
	if err != nil {
		return Event{}, err
	}
	raw := make([]byte, 0, len(object)+len(b))
	raw = append(raw, object[:len(object)-1]...)
	raw = append(raw, ',')
	return Event{ev, append(raw, b[1:]...)}, nil
}
