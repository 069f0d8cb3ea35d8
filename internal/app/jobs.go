package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"strongroom/internal/base/fault"
	"strongroom/internal/feature"
	"strongroom/internal/identity"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
)

// jobs runs what units of work left for later, and keeps the stock of spare
// schemas. The queue is River's; a job enters by the tenant's door like any
// request.
type jobs struct {
	client *river.Client[pgx.Tx]
	pool   *pgxpool.Pool
	stop   context.CancelFunc
	wake   chan struct{}
	done   chan struct{}
	ended  chan struct{}
}

// Jobs at a time, and how many of them may be ones that take long. An export
// may run for hours and is anybody's to ask for; what removes, forgets and
// sweeps must not wait for it.
const (
	maxJobs     = 4
	maxLongJobs = 2
	longJob     = 10 * time.Minute
	longAgain   = time.Second
)

type doorWorker struct {
	river.WorkerDefaults[tenant.JobArgs]
	app  *App
	jobs map[string]feature.Job
	long chan struct{} // one for each long job at work
}

// Timeout implements river.Worker.
func (w *doorWorker) Timeout(j *river.Job[tenant.JobArgs]) time.Duration {
	return w.jobs[j.Args.Job].Most
}

// Work implements river.Worker.
func (w *doorWorker) Work(ctx context.Context, j *river.Job[tenant.JobArgs]) error {
	job, ok := w.jobs[j.Args.Job]
	if !ok {
		return river.JobCancel(fmt.Errorf("no feature offers this job"))
	}
	if job.Most > longJob {
		select {
		case w.long <- struct{}{}:
			defer func() { <-w.long }()
		default:
			return river.JobSnooze(longAgain)
		}
	}
	r, err := w.app.Tenant.JobRequest(ctx, j.Args, job.Action, w.app.Identity.ForJob)
	if err == nil {
		err = job.Run(ctx, w.app.Tenant, r, j.Args.Ref)
	}
	switch {
	case err == nil:
		return nil
	case fault.Is(err, fault.Denied), fault.Is(err, fault.NotFound), fault.Is(err, fault.Invalid):
		// Whoever started it may not any more, or it is done already.
		return river.JobCancel(err)
	}
	return err
}

func startJobs(ctx context.Context, a *App) (*jobs, error) {
	cfg, err := pgxpool.ParseConfig(a.options.URL("sr_jobs"))
	if err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	cfg.MaxConns = 4
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("jobs: %w", err)
	}
	w := &doorWorker{app: a, jobs: map[string]feature.Job{}, long: make(chan struct{}, maxLongJobs)}
	for _, f := range a.Features {
		for _, j := range f.Jobs {
			w.jobs[j.Kind] = j
		}
	}
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, w); err != nil {
		pool.Close()
		return nil, fmt.Errorf("jobs: %w", err)
	}
	if err := river.AddWorkerSafely(workers, &proofWorker{app: a}); err != nil {
		pool.Close()
		return nil, fmt.Errorf("jobs: %w", err)
	}
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Schema: "jobs", Workers: workers, Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: maxJobs}, proofQueue: {MaxWorkers: 1}},
		// An error may name ids, never content; River's own lines stay short.
		Logger:               slog.New(slog.DiscardHandler),
		FetchPollInterval:    time.Second,
		RescueStuckJobsAfter: rescueAfter,
		// The queue's tables belong to the owner, who alone may reindex them.
		ReindexerIndexNames: []string{},
	})
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("jobs: %w", err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	if err := client.Start(run); err != nil {
		stop()
		pool.Close()
		return nil, fmt.Errorf("jobs: %w", err)
	}
	j := &jobs{client: client, pool: pool, stop: stop, wake: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{})}
	go j.keepStock(run, a)
	go j.expireSandboxes(run, a)
	j.restock()
	return j, nil
}

// restock asks for the stock to be filled.
func (j *jobs) restock() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

func (j *jobs) keepStock(ctx context.Context, a *App) {
	defer close(j.done)
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.wake:
		case <-time.After(time.Minute):
		}
		if err := a.provisioner.Restock(ctx, Stock); err != nil && ctx.Err() == nil {
			a.Log.Error("the stock of spare schemas could not be filled; new organizations take longer", "err", err)
		}
	}
}

// expireSandboxes ends throw-away organizations whose time has come, also those
// that ended while no server ran.
func (j *jobs) expireSandboxes(ctx context.Context, a *App) {
	defer close(j.ended)
	for {
		if _, err := a.Identity.ExpireSandboxes(ctx, platform.Request{Actor: identity.System(a.server)}); err != nil && ctx.Err() == nil {
			a.Log.Error("throw-away organizations could not be ended; nobody enters them all the same", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Minute):
		}
	}
}

func (j *jobs) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = j.client.Stop(ctx)
	j.stop()
	<-j.done
	<-j.ended
	j.pool.Close()
}
