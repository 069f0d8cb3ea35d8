package intake

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
)

// proveIntake sends a report as nobody, through the server's own port, reads it
// as the installation, looks at what is stored, and takes it away again.
func (s *Service) proveIntake(ctx context.Context, env feature.Env) (evidence string, err error) {
	mark := feature.NewMark()
	sent := Text{Title: "Canary " + mark.Text, Description: "A check of the intake: " + mark.Text, Contact: mark.Text + "@strongroom.invalid"}
	from := time.Now()
	var got Receipt
	a, err := env.Want(ctx, "", http.MethodPost, "/v1/reports", sent, http.StatusCreated, &got)
	if err != nil {
		return "", err
	}
	defer func() {
		if gone := s.remove(context.WithoutCancel(ctx), env, got.ID); gone != nil {
			evidence, err = "", errors.Join(err, fmt.Errorf("take the canary report away: %w", gone))
		}
	}()
	ask := platform.Request{Actor: env.Operator, Action: policy.ReportRead}
	kept, _, err := platform.Do(ctx, env.Platform, ask, func(ctx context.Context, tx *platform.Tx) (Report, error) {
		tx.Touch(got.ID)
		r, _, err := get(ctx, tx, got.ID)
		return r, err
	})
	switch {
	case err != nil:
		return "", err
	case kept.Text != sent || kept.State != Open:
		return "", errors.New("a report was taken and is not the one that was sent")
	}
	row, _, err := platform.Do(ctx, env.Platform, ask, func(ctx context.Context, tx *platform.Tx) (text string, err error) {
		err = tx.QueryRow(ctx, platform.Lit(`SELECT r::text FROM platform.report r WHERE r.id = $1`), got.ID.UUID()).Scan(&text)
		return text, err
	})
	switch {
	case err != nil:
		return "", err
	case mark.In([]byte(row)):
		return "", errors.New("what a report says stands in the clear in its row")
	}
	events, err := env.Log.Since(ctx, id.Installation, from)
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(events, func(e audit.Stored) bool {
		return e.Request == a.Request && e.Action == policy.ReportCreate && e.Outcome == audit.Done && slices.Contains(e.Targets, got.ID.String())
	}) {
		return "", errors.New("the taking of a report is not in the installation's log")
	}
	refused, err := env.Call(ctx, "", http.MethodGet, "/v1/reports/"+got.ID.String(), nil)
	switch {
	case err != nil:
		return "", err
	case refused.Status != http.StatusUnauthorized || mark.In(refused.Body):
		return "", errors.New("a report is shown to somebody who has not signed in")
	}
	for _, c := range env.Canaries {
		a, err := env.Call(ctx, c.Token, http.MethodGet, "/v1/reports/"+got.ID.String(), nil)
		if err != nil {
			return "", err
		}
		if a.Status != http.StatusForbidden || mark.In(a.Body) {
			return "", errors.New("a report is shown to a member of an organization")
		}
	}
	return fmt.Sprintf("a report was sent without an account, stored sealed (nothing of it is in its row), read back by the installation, and is on record; nobody, and a member with every role in %d organizations, could not read it; bounds: %d KB, %d an hour from one network, %d from all, %d open",
		len(env.Canaries), MaxBody>>10, PerNetwork, PerHour, MaxOpen), nil
}

func (s *Service) remove(ctx context.Context, env feature.Env, which id.Report) error {
	_, _, err := platform.Do(ctx, env.Platform, platform.Request{Actor: env.Operator, Action: policy.ReportUpdate}, func(ctx context.Context, tx *platform.Tx) (struct{}, error) {
		tx.Touch(which)
		n, err := tx.Exec(ctx, platform.Lit(`DELETE FROM platform.report WHERE id = $1`), which.UUID())
		if err == nil && n != 1 {
			err = fault.New(fault.NotFound, "no such report")
		}
		return struct{}{}, err
	})
	return err
}
