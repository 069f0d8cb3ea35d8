package plans

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
)

// proveData edits the plan that nobody is on, sees the edit take effect and
// stand in the log, and looks at what keeps organizations on plans that there
// are.
func (s *Service) proveData(ctx context.Context, env feature.Env) (string, error) {
	store := env.Platform
	read := func() (Plan, error) {
		p, _, err := platform.Do(ctx, store, platform.Request{Actor: env.Operator, Action: policy.PlanList}, func(ctx context.Context, tx *platform.Tx) (Plan, error) {
			return get(ctx, tx, Canary)
		})
		return p, err
	}
	before, err := read()
	if err != nil {
		return "", err
	}
	wanted := before.Spec
	wanted.Title, wanted.Features.SSO, wanted.Limits.PerPerson = "Canary "+feature.NewMark().Text, !wanted.Features.SSO, wanted.Limits.PerPerson%100000+1
	from, request := time.Now(), id.NewRequest()
	if _, _, err := platform.Do(ctx, store, platform.Request{Actor: env.Operator, Action: policy.PlanUpdate, ID: request}, func(ctx context.Context, tx *platform.Tx) (Plan, error) {
		return update(ctx, tx, Canary, before.Version, wanted)
	}); err != nil {
		return "", err
	}
	after, err := read()
	switch {
	case err != nil:
		return "", err
	case after.Spec != wanted:
		return "", errors.New("an edit of a plan was accepted and has no effect")
	case after.Version != before.Version+1:
		return "", errors.New("an edit of a plan does not count its version")
	}
	events, err := env.Log.Since(ctx, id.Installation, from)
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(events, func(e audit.Stored) bool {
		return e.Request == request && e.Action == policy.PlanUpdate && e.Outcome == audit.Done
	}) {
		return "", errors.New("an edit of a plan is not in the installation's log")
	}
	all, err := s.List(ctx, env.Operator)
	if err != nil {
		return "", err
	}
	tables, err := env.Inspect.Tables(ctx)
	if err != nil {
		return "", err
	}
	bound := slices.ContainsFunc(tables, func(t platform.Table) bool {
		return t.Schema == "platform" && t.Name == "org" && slices.ContainsFunc(t.ForeignKeys, func(k platform.ForeignKey) bool {
			return k.Valid && slices.Equal(k.Columns, []string{"plan"}) && k.Table == "platform.plan" && slices.Equal(k.References, []string{"id"})
		})
	})
	if !bound {
		return "", errors.New("an organization may be on a plan that there is not")
	}
	names := make([]string, len(all))
	for i, p := range all {
		names[i] = p.ID
	}
	if !slices.Equal(names, []string{"pilot", "team", "enterprise"}) {
		return "", fmt.Errorf("%d plans are listed, and not the three", len(names))
	}
	return "3 plans as data; an edit of a plan that nobody is on took effect at once and stands in the installation's log; a foreign key keeps every organization on a plan that there is", nil
}
