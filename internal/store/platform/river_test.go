package platform_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"strongroom/internal/store/platform"
)

type sweepArgs struct {
	Org string `json:"org"`
}

func (sweepArgs) Kind() string { return "sweep" }

type sweepWorker struct {
	river.WorkerDefaults[sweepArgs]
	done chan string
}

func (w *sweepWorker) Work(_ context.Context, job *river.Job[sweepArgs]) error {
	w.done <- job.Args.Org
	return nil
}

func TestAJobThatADoorAddsIsWorked(t *testing.T) {
	t.Parallel()
	db := ownDatabase(t)
	for _, login := range []string{platform.AppLogin(0), "sr_platform"} {
		if _, err := open(t, db.URL(login)).Exec(t.Context(), `INSERT INTO jobs.river_job (kind, queue, args, metadata, max_attempts, priority, state, scheduled_at)
 VALUES ('sweep', 'default', $1::text::jsonb, '{}'::jsonb, 25, 1, 'available', $2)`, `{"org":"`+login+`"}`, time.Now()); err != nil {
			t.Fatalf("%s: %v", login, err)
		}
	}
	cfg, err := pgxpool.ParseConfig(db.URL("sr_jobs"))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	worker := &sweepWorker{done: make(chan string, 2)}
	workers := river.NewWorkers()
	river.AddWorker(workers, worker)
	var failures failures
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{Schema: "jobs", Workers: workers,
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 2}}, Logger: slog.New(&failures)})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for range 2 {
		select {
		case org := <-worker.done:
			got[org] = true
		case <-time.After(20 * time.Second):
			t.Fatalf("worked on %v within 20 s", got)
		}
	}
	stop, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := errors.Join(client.Stop(stop), failures.err()); err != nil {
		t.Error(err)
	}
}
