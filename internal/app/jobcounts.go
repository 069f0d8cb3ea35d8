package app

import (
	"context"
	"fmt"

	"strongroom/internal/feature/status"
)

// counts says how the queue stands: numbers alone.
func (j *jobs) counts(ctx context.Context) (s status.Jobs, err error) {
	err = j.pool.QueryRow(ctx, `SELECT
  count(*) FILTER (WHERE state IN ('available', 'scheduled', 'pending')),
  count(*) FILTER (WHERE state = 'running'),
  count(*) FILTER (WHERE state = 'retryable'),
  count(*) FILTER (WHERE state = 'discarded' AND finalized_at > now() - interval '1 day'),
  coalesce(extract(epoch FROM now() - min(scheduled_at) FILTER (WHERE state = 'available' AND scheduled_at <= now())), 0)::float8
FROM jobs.river_job WHERE state NOT IN ('completed', 'cancelled')`).Scan(&s.Waiting, &s.Running, &s.Retrying, &s.Failed, &s.OldestSeconds)
	if err != nil {
		return s, fmt.Errorf("jobs: %w", err)
	}
	return s, nil
}

// Conns says how many connections to PostgreSQL are open, and in use.
func (j *jobs) Conns() (open, busy int32) {
	s := j.pool.Stat()
	return s.TotalConns(), s.AcquiredConns()
}
