package client

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// The states of a report of a vulnerability.
const (
	ReportOpen         = "open"
	ReportAcknowledged = "acknowledged"
	ReportClosed       = "closed"
)

// NewReport is what somebody reports.
type NewReport struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	Contact     string `json:"contact,omitempty"`
}

// Report is a report of a vulnerability. In a list it has no description, and
// in the answer to a sender no more than its reference and time.
type Report struct {
	ID          string    `json:"report"` // the reference
	State       string    `json:"state,omitempty"`
	ReceivedAt  time.Time `json:"received_at"`
	ChangedAt   time.Time `json:"changed_at,omitzero"`
	Version     int64     `json:"version,omitempty"`
	Title       string    `json:"title,omitempty"`
	Description string    `json:"description,omitempty"`
	Contact     string    `json:"contact,omitempty"`
	Note        string    `json:"note,omitempty"`
}

// CreateReport reports a vulnerability. It needs no sign-in.
func (c *Client) CreateReport(ctx context.Context, n NewReport) (Report, error) {
	var out Report
	_, err := c.call(ctx, call{method: http.MethodPost, path: []string{"v1", "reports"}, in: n, out: &out})
	return out, err
}

// ListReports returns a page of the reports, the newest first; state "" is
// all. It needs the role system_admin, as what follows does.
func (c *Client) ListReports(ctx context.Context, state string, l List) (Page[Report], error) {
	q := l.query()
	if state != "" {
		q.Set("state", state)
	}
	var p Page[Report]
	_, err := c.call(ctx, call{method: http.MethodGet, path: []string{"v1", "reports"}, query: q, out: &p, repeat: always})
	return p, err
}

// Report returns one report, opened.
func (c *Client) Report(ctx context.Context, id string) (Report, error) {
	var out Report
	_, err := c.call(ctx, call{method: http.MethodGet, path: []string{"v1", "reports", id}, out: &out, repeat: always})
	return out, err
}

// UpdateReport sets what became of a report, and the note.
func (c *Client) UpdateReport(ctx context.Context, id string, version int64, state, note string) (Report, error) {
	in := map[string]string{"state": state}
	if note != "" {
		in["note"] = note
	}
	var out Report
	_, err := c.call(ctx, call{method: http.MethodPut, path: []string{"v1", "reports", id}, header: ifMatch(version), in: in, out: &out})
	return out, err
}

// Plan is a plan and what it says, as the server writes it.
type Plan struct {
	ID      string
	Title   string
	Audit   string
	Version int64
	Text    json.RawMessage // the whole plan
}

// UnmarshalJSON keeps the text.
func (p *Plan) UnmarshalJSON(b []byte) error {
	var known struct {
		Plan, Title, Audit string
		Version            int64
	}
	if err := json.Unmarshal(b, &known); err != nil {
		return err
	}
	*p = Plan{known.Plan, known.Title, known.Audit, known.Version, append(json.RawMessage(nil), b...)}
	return nil
}

// MarshalJSON gives the text.
func (p Plan) MarshalJSON() ([]byte, error) { return p.Text, nil }

// ListPlans returns the plans. It needs the role system_admin, as what follows
// does.
func (c *Client) ListPlans(ctx context.Context, l List) (Page[Plan], error) {
	return page[Plan](ctx, c, l, "v1", "plans")
}

// Plan returns one plan.
func (c *Client) Plan(ctx context.Context, id string) (Plan, error) {
	var out Plan
	_, err := c.call(ctx, call{method: http.MethodGet, path: []string{"v1", "plans", id}, out: &out, repeat: always})
	return out, err
}

// UpdatePlan replaces what a plan says: the members of a plan without plan,
// version, updated_at and updated_by.
func (c *Client) UpdatePlan(ctx context.Context, id string, version int64, spec json.RawMessage) (Plan, error) {
	var out Plan
	_, err := c.call(ctx, call{method: http.MethodPut, path: []string{"v1", "plans", id}, header: ifMatch(version), in: []byte(spec), out: &out})
	return out, err
}
