// Package plans keeps the plans: what is on for an organization, as data that
// the operator edits.
//
// It promises that an edit takes effect at once and stands in the
// installation's log, that no field of a plan is ignored, and, by a foreign
// key, that an organization is always on a plan that there is. What a plan
// says is not enforced here: whoever limits something reads the plan.
//
// The first cells come with the migration. A new feature or limit is a field
// of [Spec]; a stored plan that lacks it has its zero value.
package plans

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/identity/actor"
	"strongroom/internal/store/platform"
)

// Spec is what a plan says.
type Spec struct {
	Title       string   `json:"title" minLength:"1" maxLength:"60"`
	Description string   `json:"description" maxLength:"300"`
	Features    Features `json:"features"`
	Audit       string   `json:"audit" enum:"none,basic,full" doc:"What the organization's people can do with their log, which is written in every plan. none: nothing; basic: read it; full: export it too, and keep it longer."`
	Limits      Limits   `json:"limits"`
	Periods     Periods  `json:"periods"`
}

// Features are on or off.
type Features struct {
	Password        bool `json:"password" doc:"Sign in by address and password."`
	MFA             bool `json:"mfa" doc:"A second factor, which the organization can require."`
	Roles           bool `json:"roles" doc:"The predefined roles."`
	ServiceAccounts bool `json:"service_accounts" doc:"Accounts for programs."`
	APIKeys         bool `json:"api_keys" doc:"Keys for programs."`
	SSO             bool `json:"sso" doc:"Sign in by the organization's identity provider."`
	Periods         bool `json:"periods" doc:"The organization sets its own periods of retention."`
	Thresholds      bool `json:"thresholds" doc:"The organization sets its own rate limits."`
	Residency       bool `json:"residency" doc:"The organization chooses its region."`
	Dedicated       bool `json:"dedicated" doc:"A database, a store and a key service of its own."`
}

// Limits are bounds; 0 is none.
type Limits struct {
	PerPerson       int `json:"requests_per_minute_person" minimum:"0" maximum:"1000000"`
	PerOrganization int `json:"requests_per_minute_organization" minimum:"0" maximum:"10000000"`
}

// Periods are in days.
type Periods struct {
	Evaluation int `json:"evaluation_days" minimum:"0" maximum:"3650" doc:"How long the plan lasts; 0: it does not end."`
	PurgeAfter int `json:"purge_after_days" minimum:"0" maximum:"30" doc:"How long after the end, or after closing, all data is gone from everywhere."`
	Undo       int `json:"undo_days" minimum:"0" maximum:"7" doc:"How long what was deleted stays in the trash."`
	SignInLog  int `json:"sign_in_log_days" minimum:"7" maximum:"3650" doc:"How long sign-ins and sign-outs stay on record."`
}

// Plan is a plan as it is kept.
type Plan struct {
	ID string `json:"plan"`
	Spec
	Version   uint64     `json:"version"`
	UpdatedAt time.Time  `json:"updated_at"`
	UpdatedBy *id.Person `json:"updated_by,omitempty" doc:"Absent while the plan is as it came, or where the installation itself changed it."`
}

// Canary is the plan that no organization is on: checks edit it.
const Canary = "canary"

// Service reads and changes plans.
type Service struct{ store *platform.Store }

// New returns the service.
func New(store *platform.Store) *Service { return &Service{store} }

type (
	// Path names a plan.
	Path struct {
		Plan string `path:"plan" maxLength:"32" doc:"The plan: pilot, team or enterprise."`
	}
	updateIn struct {
		Path
		IfMatch feature.IfMatch `header:"If-Match" doc:"The version that the change is meant for."`
		Body    Spec
	}
	listIn struct{ feature.Listing }
)

// Feature offers the plans.
func Feature(s *Service) feature.Feature {
	return feature.Feature{Name: "plans",
		Promises: []feature.Promise{{ID: "PLAN-1", Clauses: []feature.Clause{{Name: "data", Tag: feature.Canary, Check: s.proveData}}}},
		Ops: []feature.Op{
			feature.HandlePlatform(feature.Meta{ID: "list-plans", Method: http.MethodGet, Path: "/v1/plans", Action: policy.PlanList,
				Summary: "List the plans"}, func(ctx context.Context, tx *platform.Tx, _ listIn) (feature.List[Plan], error) {
				all, err := list(ctx, tx)
				return feature.List[Plan]{Body: feature.NewPage(all, "")}, err
			}),
			feature.HandlePlatform(feature.Meta{ID: "get-plan", Method: http.MethodGet, Path: "/v1/plans/{plan}", Action: policy.PlanList,
				Summary: "Read a plan"}, func(ctx context.Context, tx *platform.Tx, in Path) (feature.Item[Plan], error) {
				p, err := get(ctx, tx, in.Plan)
				return feature.Item[Plan]{ETag: feature.VersionTag(p.Version), Body: p}, err
			}),
			feature.HandlePlatform(feature.Meta{ID: "update-plan", Method: http.MethodPut, Path: "/v1/plans/{plan}", Action: policy.PlanUpdate,
				Summary: "Change what a plan has", Description: "The whole plan is sent. It counts from the answer on, for every organization on it.",
				MaxBody: 16 << 10}, func(ctx context.Context, tx *platform.Tx, in updateIn) (feature.Item[Plan], error) {
				p, err := update(ctx, tx, in.Plan, in.IfMatch.Version(), in.Body)
				return feature.Item[Plan]{ETag: feature.VersionTag(p.Version), Body: p}, err
			}),
		}}
}

// List returns the plans for whoever may see them, in the order in which
// people read them.
func (s *Service) List(ctx context.Context, who actor.Actor) ([]Plan, error) {
	all, _, err := platform.Do(ctx, s.store, platform.Request{Actor: who, Action: policy.PlanList}, list)
	return all, err
}

func list(ctx context.Context, tx *platform.Tx) (all []Plan, err error) {
	rows, err := tx.Query(ctx, platform.Lit(`SELECT id, spec::text, version, updated_at, updated_by FROM platform.plan WHERE position > 0 ORDER BY position`))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		p, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, rows.Err()
}

func scan(into func(...any) error) (p Plan, err error) {
	var spec string
	var by *uuid.UUID
	if err := into(&p.ID, &spec, &p.Version, &p.UpdatedAt, &by); err != nil {
		return p, err
	}
	p.UpdatedAt = p.UpdatedAt.UTC()
	if by != nil {
		who := id.PersonOf(*by)
		p.UpdatedBy = &who
	}
	d := json.NewDecoder(bytes.NewReader([]byte(spec)))
	d.DisallowUnknownFields() // a cell that this version does not know would be lost by the next edit
	if err := d.Decode(&p.Spec); err != nil {
		return p, fmt.Errorf("plans: the plan %s is not readable: %w", p.ID, err)
	}
	return p, nil
}

var errNoPlan = fault.New(fault.NotFound, "no such plan")

func get(ctx context.Context, tx *platform.Tx, name string) (Plan, error) {
	p, err := scan(tx.QueryRow(ctx, platform.Lit(`SELECT id, spec::text, version, updated_at, updated_by FROM platform.plan
 WHERE id = $1 AND (position > 0 OR id = 'canary')`), name).Scan)
	if errors.Is(err, platform.ErrNoRows) {
		return Plan{}, errNoPlan
	}
	return p, err
}

func update(ctx context.Context, tx *platform.Tx, name string, version uint64, spec Spec) (Plan, error) {
	text, err := json.Marshal(spec)
	if err != nil {
		return Plan{}, err
	}
	var by any
	if person := tx.Actor().Person(); !person.IsZero() {
		by = person.UUID()
	}
	n, err := tx.Exec(ctx, platform.Lit(`UPDATE platform.plan SET spec = $3::text::jsonb, version = version + 1, updated_at = $4, updated_by = $5
 WHERE id = $1 AND version = $2 AND (position > 0 OR id = 'canary')`), name, int64(version), string(text), tx.Now(), by)
	if err != nil {
		return Plan{}, err
	}
	p, err := get(ctx, tx, name)
	if err != nil {
		return Plan{}, err
	}
	if n == 0 {
		return Plan{}, fault.New(fault.Stale, "the plan has another version by now")
	}
	// A plan has a name and no identifier: the count tells which change it was.
	tx.Count("plan_"+name+"_version", int64(p.Version))
	return p, nil
}
