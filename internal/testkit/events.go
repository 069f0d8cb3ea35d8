package testkit

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/store/audit"
)

// Event is what a test expects of an audit event. Targets nil: any.
type Event struct {
	Action  policy.Action
	Outcome audit.Outcome
	Code    string
	Targets []string
}

// Events returns the opened events of one request in one organization's log,
// in their order. It waits until the sequencer has placed all that is pending.
func Events(t testing.TB, d *Doors, org id.Org, request id.Request) (out []audit.Event) {
	t.Helper()
	for _, e := range AllEvents(t, d, org) {
		if e.Request == request {
			out = append(out, e)
		}
	}
	return out
}

// AllEvents returns the whole log of an organization, opened.
func AllEvents(t testing.TB, d *Doors, org id.Org) (out []audit.Event) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, d.DB.URL("sr_audit"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	for pending := 1; pending > 0; time.Sleep(5 * time.Millisecond) {
		if err := conn.QueryRow(ctx, `SELECT count(*) FROM audit.pending WHERE org_id = $1`, org.UUID()).Scan(&pending); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := conn.Query(ctx, `SELECT event_id, leaf, body FROM audit.event WHERE org_id = $1 ORDER BY idx`, org.UUID())
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var ev uuid.UUID
		var leaf []byte
		var body seal.Sealed
		if err := rows.Scan(&ev, &leaf, &body); err != nil {
			t.Fatal(err)
		}
		b, err := audit.OpenBody(ctx, d.Keys(org), id.EventOf(ev), leaf, body)
		if err != nil {
			t.Fatal(err)
		}
		var e audit.Event
		if err := json.Unmarshal(b, &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// WantEvents asserts that a request left exactly these events in a log.
func WantEvents(t testing.TB, d *Doors, org id.Org, request id.Request, want ...Event) {
	t.Helper()
	got := Events(t, d, org, request)
	if len(got) != len(want) {
		t.Errorf("the request left %d events in the log of %s, want %d: %+v", len(got), org, len(want), got)
		return
	}
	for i, w := range want {
		g := got[i]
		if g.Action != w.Action || g.Outcome != w.Outcome || g.Code != w.Code || w.Targets != nil && !slices.Equal(g.Targets, w.Targets) {
			t.Errorf("event %d is %s %s %q %v, want %+v", i, g.Action, g.Outcome, g.Code, g.Targets, w)
		}
	}
}
