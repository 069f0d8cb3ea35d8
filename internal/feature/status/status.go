// Package status tells whoever runs the installation how it stands.
//
// It holds nobody's data: counts, versions and the state of the key service
// and its zones. The same answer stands on the operator's socket.
package status

import (
	"context"
	"net/http"
	"time"

	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/keyservice"
	"strongroom/internal/store/platform"
)

// Status is how an installation stands.
type Status struct {
	Version      string            `json:"version"`
	URL          string            `json:"url" doc:"Where people reach it."`
	Ready        bool              `json:"ready"`
	Problem      string            `json:"problem,omitempty" doc:"Why it is not ready."`
	SetUp        bool              `json:"set_up" doc:"Whether somebody runs it: false while it waits for its first administrator."`
	StartedAt    time.Time         `json:"started_at" doc:"Of the server process that answers."`
	Services     []Service         `json:"services" doc:"The processes of the installation, as their supervisor sees them."`
	Alarms       []Alarm           `json:"alarms" doc:"What is wrong now and has been told."`
	Undelivered  []string          `json:"undelivered,omitempty" doc:"Why alarms do not get through, if they do not."`
	Proofs       *Proofs           `json:"proofs,omitempty" doc:"How the promises stand by their last proofs."`
	Disks        []Disk            `json:"disks"`
	Certificates []Certificate     `json:"certificates"`
	SpareSchemas int               `json:"spare_schemas" doc:"Schemas in stock for new organizations."`
	ChainBreaks  int64             `json:"audit_chain_breaks" doc:"Events that were taken out of, or put into, the rows that wait for their place in the log. 0 on a sound installation."`
	Events       Events            `json:"events" doc:"Events on their way to their place in the log."`
	Jobs         Jobs              `json:"jobs"`
	Keys         keyservice.Status `json:"keys"`

	// Lacking counts what could not be found out.
	Lacking int `json:"-"`
}

// Service is one process of the installation.
type Service struct {
	Name     string    `json:"name"`
	State    string    `json:"state" enum:"waiting,starting,up,restarting,stopped"`
	Since    time.Time `json:"since"`
	Restarts int       `json:"restarts" doc:"Since the supervisor started."`
}

// Alarm is a condition that lasts.
type Alarm struct {
	Name     string    `json:"name"`
	Severity string    `json:"severity" enum:"warning,critical"`
	Text     string    `json:"text"`
	Since    time.Time `json:"since"`
}

// Proofs counts the promises by how they stand.
type Proofs struct {
	Kept   int       `json:"kept"`
	Partly int       `json:"partly" doc:"Some clauses are kept, the others are not built."`
	NotYet int       `json:"not_yet"`
	Stale  int       `json:"stale" doc:"The last proof is too old, or there is none yet."`
	Broken int       `json:"broken"`
	At     time.Time `json:"at"`
}

// Disk is a file system and what lies on it.
type Disk struct {
	Holds      []string `json:"holds" doc:"Stores of the installation."`
	FreeBytes  uint64   `json:"free_bytes"`
	TotalBytes uint64   `json:"total_bytes"`
}

// Certificate is one that the server shows.
type Certificate struct {
	Source   string    `json:"source" enum:"local,own,acme" doc:"Who gave it: the local authority, the operator, or an ACME authority."`
	Names    []string  `json:"names"`
	NotAfter time.Time `json:"not_after"`
	Problem  string    `json:"problem,omitempty" doc:"Why there is none, or no newer one."`
}

// Events are those that wait.
type Events struct {
	Waiting    int64   `json:"waiting"`
	LagSeconds float64 `json:"lag_seconds" doc:"Age of the oldest."`
}

// Jobs counts what was left for later.
type Jobs struct {
	Waiting       int64   `json:"waiting"`
	Running       int64   `json:"running"`
	Retrying      int64   `json:"retrying" doc:"Failed, and will be tried again."`
	Failed        int64   `json:"failed" doc:"Given up in the last day."`
	OldestSeconds float64 `json:"oldest_seconds" doc:"How long the oldest that is due has waited."`
}

type out struct{ Body Status }

// Feature offers the status. look gathers it.
func Feature(look func(context.Context) (Status, error)) feature.Feature {
	return feature.Feature{Name: "status", Ops: []feature.Op{
		feature.HandlePlatform(feature.Meta{ID: "get-status", Method: http.MethodGet, Path: "/v1/status", Action: policy.StatusRead,
			Summary: "See how the installation stands"}, func(ctx context.Context, _ *platform.Tx, _ struct{}) (out, error) {
			s, err := look(ctx)
			return out{s}, err
		}),
	}}
}
