package app

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"strongroom/internal/app/alarm"
	"strongroom/internal/app/config"
	"strongroom/internal/base/id"
	"strongroom/internal/feature/intake"
	"strongroom/internal/feature/plans"
	"strongroom/internal/feature/trust"
	"strongroom/internal/identity"
	trustpage "strongroom/internal/web/trust"
)

// TrustOptions are what the trust page needs of the settings.
type TrustOptions struct {
	Page    trustpage.Settings `json:"page"`
	Periods trust.Periods      `json:"periods"` // zero: trust.DefaultPeriods
}

// TrustSettings reads them from the operator's.
func TrustSettings(c config.Config, demo bool) (o TrustOptions, err error) {
	t := c.Trust
	o.Page = trustpage.Settings{Organization: t.Organization, Contact: t.Contact, Policy: t.Policy, Location: t.Location, Hosting: t.Hosting, Roadmap: t.Roadmap, Demo: demo}
	for _, p := range []struct {
		key, text string
		to        *time.Duration
	}{{"trust.every_passive", t.EveryPassive, &o.Periods.Passive}, {"trust.every_canary", t.EveryCanary, &o.Periods.Canary}, {"trust.every_scheduled", t.EveryScheduled, &o.Periods.Scheduled}} {
		if *p.to, err = time.ParseDuration(p.text); err != nil || *p.to < trust.MinPeriod || *p.to > 30*24*time.Hour {
			return o, fmt.Errorf("%s: must be a duration from 1m to 720h, such as 1h", p.key)
		}
	}
	return o, o.Page.Check()
}

// Argument is o as the server process is given it.
func (o TrustOptions) Argument() string {
	b, _ := json.Marshal(o)
	return string(b)
}

// ParseTrust reads what Argument wrote.
func ParseTrust(text string) (o TrustOptions, err error) {
	if text != "" {
		err = json.Unmarshal([]byte(text), &o)
	}
	return o, err
}

// openTrust makes what features of the trust page are made of.
func (a *App) openTrust() (err error) {
	a.plans = plans.New(a.Platform)
	a.intake, err = intake.New(intake.Options{Store: a.Platform, Notify: reports{a.Alarms}, Settled: func() { a.Alarms.Resolve(reportAlarm) }})
	return err
}

// reports tells people that somebody reported something.
type reports struct{ board *alarm.Board }

const reportAlarm = "report"

// Notify implements intake.Notifier. One alarm stands for all: what anybody
// can send must not become as many letters.
func (r reports) Notify(_ context.Context, subject string) {
	r.board.Raise(reportAlarm, alarm.Warning, subject)
}

// keepProofs opens the store of what checks find.
func (a *App) keepProofs() (err error) {
	a.Proofs, err = trust.NewProofs(trust.ProofsOptions{Store: a.Platform, Keys: a.Keys.Keys(id.Installation), Actor: identity.System(a.server),
		Prover: a.Prover, Periods: a.options.Trust.Periods, Log: a.Log})
	if err != nil {
		return err
	}
	a.overview = a.Proofs.Overview
	return nil
}

func (a *App) trustPage() (*trustpage.Page, error) {
	return trustpage.New(trustpage.Options{Source: a.Proofs, API: a.API, Version: a.options.Version, Settings: a.options.Trust.Page, Log: a.Log,
		Plans: func(ctx context.Context) ([]plans.Plan, error) { return a.plans.List(ctx, identity.System(a.server)) },
		Grade: func(ctx context.Context) (trustpage.Grade, error) {
			s, err := a.Keys.Status(ctx)
			return trustpage.Grade{Demo: s.Grade != "independent", Reasons: s.GradeReasons}, err
		},
		URL: func() string {
			if a.options.Address != "" {
				return a.options.Address
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			return a.public.url
		}})
}

// The schedule. River's leader puts a job into the queue twice a minute unless
// one is there, and whichever server takes it runs the checks that are due, one
// after the other.
const (
	proofQueue = "proofs"
	proofTick  = 30 * time.Second
	proofTime  = 4 * time.Minute // of one job; the first one of an installation has everything to do
	proofPause = 500 * time.Millisecond
	// rescueAfter is when a job of a process that died is taken up again; it
	// is more than any job may take.
	rescueAfter = proofTime + time.Minute
)

type proofArgs struct{}

// Kind implements river.JobArgs.
func (proofArgs) Kind() string { return "trust.proofs" }

// proofWorker runs the checks that are due.
type proofWorker struct {
	river.WorkerDefaults[proofArgs]
	app *App
}

// Timeout implements river.Worker.
func (*proofWorker) Timeout(*river.Job[proofArgs]) time.Duration { return proofTime }

// proving is the time in which this server may run checks: while it is reached
// from outside. A check that comes to a closed door would find a promise
// broken that is not.
type proving struct {
	mu  sync.Mutex
	ctx context.Context
}

func (p *proving) during() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ctx
}

// Work implements river.Worker. What a check finds is no failure of the job,
// and what cannot be stored is tried again by the next one.
func (w *proofWorker) Work(ctx context.Context, _ *river.Job[proofArgs]) error {
	open := w.app.proving.during()
	if open == nil || open.Err() != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(open, cancel)()
	until := time.Now().Add(proofTime - time.Minute)
	for time.Now().Before(until) {
		ran, err := w.app.Proofs.RunDue(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			w.app.Log.Error("a scheduled check could not be run or stored; the trust page shows its last proof, and its age", "err", err)
			return nil
		}
		if !ran {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(proofPause):
		}
	}
	return nil
}

// ProveOnSchedule begins to run checks by themselves, until ctx ends. It is
// called once the server is reached from outside.
func (a *App) ProveOnSchedule(ctx context.Context) {
	a.proving.mu.Lock()
	a.proving.ctx = ctx
	a.proving.mu.Unlock()
	a.jobs.client.PeriodicJobs().Add(river.NewPeriodicJob(river.PeriodicInterval(proofTick), func() (river.JobArgs, *river.InsertOpts) {
		return proofArgs{}, &river.InsertOpts{Queue: proofQueue, UniqueOpts: river.UniqueOpts{ByQueue: true, ByState: []rivertype.JobState{
			rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateRetryable, rivertype.JobStateScheduled}}}
	}, &river.PeriodicJobOpts{RunOnStart: true}))
}
