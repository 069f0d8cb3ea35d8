// Package supervisor runs the services of one machine: starts them in order,
// each ready before the next, restarts what dies, and ends all of them in
// reverse order.
//
// It promises that nothing it started outlives it. Asked to end, it returns
// when the last process is gone; killed with kill -9, its processes are killed
// by the kernel (see osproc). A first start that fails ends what was started
// before it and returns one sentence; after that it never gives up, since what
// stops a service (a full disk, an absent zone) can pass without its help.
//
// A service is anything with [Running]'s two methods: a [Process], or the
// private PostgreSQL. The list of services is made in internal/app.
package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Running is a service that is ready.
type Running interface {
	// Done is closed when the service has ended, for whatever reason.
	Done() <-chan struct{}

	// Stop ends the service in order, or at once when ctx ends. No process of
	// it is left when Stop returns. A service that has ended already is no
	// error.
	Stop(ctx context.Context) error
}

// Service is something to keep running.
type Service struct {
	Name string

	// Start returns when the service is ready; ctx bounds the start alone, not
	// the service. When it fails or ctx ends, it leaves no process behind. It
	// is called again after every end.
	Start func(ctx context.Context) (Running, error)

	ReadyWithin time.Duration // 0 means a minute
	StopWithin  time.Duration // 0 means 20 seconds; then it is ended at once
}

// Options says what to run.
type Options struct {
	Services []Service // in the order of start
	Log      *slog.Logger
	Ready    func() // called once, when all services are; may be nil

	// FirstDelay and LastDelay bound the wait before a restart, which doubles
	// with every failure; zero means 0.2 s and 15 s.
	FirstDelay, LastDelay time.Duration
}

// steady is how long a service must run for its earlier ends to be forgotten.
const steady = time.Minute

// State is where a service stands.
type State string

// The states of a service.
const (
	Waiting    State = "waiting" // for those before it
	Starting   State = "starting"
	Up         State = "up"
	Restarting State = "restarting"
	Stopped    State = "stopped"
)

// Status tells about one service.
type Status struct {
	Name     string
	State    State
	Since    time.Time // of the state
	Restarts int       // since the supervisor started
	PID      int       // 0 when it has none or is not up
}

// Supervisor keeps services running; see [Supervisor.Run].
type Supervisor struct {
	options Options

	mu     sync.Mutex
	status []Status
}

// New returns a supervisor; it starts nothing.
func New(o Options) (*Supervisor, error) {
	if o.Log == nil {
		return nil, errors.New("supervisor: Log is required")
	}
	if o.FirstDelay == 0 {
		o.FirstDelay = 200 * time.Millisecond
	}
	if o.LastDelay == 0 {
		o.LastDelay = 15 * time.Second
	}
	s := &Supervisor{options: o}
	seen := map[string]bool{}
	for _, service := range o.Services {
		if service.Name == "" || service.Start == nil || seen[service.Name] {
			return nil, fmt.Errorf("supervisor: service %q needs a name of its own and a Start", service.Name)
		}
		seen[service.Name] = true
		s.status = append(s.status, Status{Name: service.Name, State: Waiting, Since: time.Now()})
	}
	return s, nil
}

// Status returns the services in the order of their start.
func (s *Supervisor) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Status(nil), s.status...)
}

func (s *Supervisor) note(i int, state State, running Running, restarted bool) {
	pid := 0
	if p, ok := running.(interface{ PID() int }); ok && state == Up {
		pid = p.PID()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &s.status[i]
	st.State, st.Since, st.PID = state, time.Now(), pid
	if restarted {
		st.Restarts++
	}
}

// Run starts the services and returns when ctx has ended and all of them have,
// or when a first start failed. The error then says which and why; after an
// orderly end it is nil.
func (s *Supervisor) Run(ctx context.Context) error {
	var keepers []*keeper
	var failure error
	for i, service := range s.options.Services {
		s.note(i, Starting, nil, false)
		began := time.Now()
		running, err := start(ctx, service)
		if err != nil {
			s.note(i, Stopped, nil, false)
			if ctx.Err() == nil { // otherwise it is an end that was asked for
				failure = fmt.Errorf("%s: %w", service.Name, err)
			}
			break
		}
		s.note(i, Up, running, false)
		s.options.Log.Info("service is up", "service", service.Name, "after", time.Since(began).Round(time.Millisecond).String())
		k := &keeper{s: s, i: i, service: service, stop: make(chan struct{}), done: make(chan struct{})}
		keepers = append(keepers, k)
		go k.keep(running)
	}
	if failure == nil && ctx.Err() == nil {
		if s.options.Ready != nil {
			s.options.Ready()
		}
		<-ctx.Done()
	}
	for i := len(keepers) - 1; i >= 0; i-- {
		close(keepers[i].stop)
		<-keepers[i].done
		failure = errors.Join(failure, keepers[i].err)
	}
	return failure
}

func start(ctx context.Context, service Service) (Running, error) {
	within := service.ReadyWithin
	if within == 0 {
		within = time.Minute
	}
	limited, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("not ready within %v", within))
	defer cancel()
	running, err := service.Start(limited)
	if err != nil {
		if cause := context.Cause(limited); cause != nil && errors.Is(err, limited.Err()) {
			return nil, fmt.Errorf("%w (%w)", cause, err)
		}
		return nil, err
	}
	return running, nil
}

// keeper owns one service from its first start to its end.
type keeper struct {
	s       *Supervisor
	i       int
	service Service
	stop    chan struct{} // closed to end the service
	done    chan struct{} // closed when it has ended
	err     error         // of the end; read after done
}

func (k *keeper) keep(running Running) {
	defer close(k.done)
	defer k.s.note(k.i, Stopped, nil, false)
	delay := k.s.options.FirstDelay
	up := time.Now()
	for {
		select {
		case <-k.stop:
			k.err = k.end(running)
			return
		case <-running.Done():
		}
		log := k.s.options.Log.With("service", k.service.Name)
		log.Error("service ended", "cause", cause(running), "ran", time.Since(up).Round(time.Millisecond).String())
		k.s.note(k.i, Restarting, nil, false)
		// Even a service that has ended may have left something: backends of
		// a killed postmaster.
		if err := k.end(running); err != nil {
			log.Error("service left something behind", "error", err)
		}
		if time.Since(up) >= steady {
			delay = k.s.options.FirstDelay
		}
		if running = k.restart(log, &delay); running == nil {
			return
		}
		up = time.Now()
		k.s.note(k.i, Up, running, true)
		log.Info("service is up again")
	}
}

// restart tries until the service is up; it returns nil when it is to end.
func (k *keeper) restart(log *slog.Logger, delay *time.Duration) Running {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-k.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	for {
		select {
		case <-time.After(*delay):
		case <-k.stop:
			return nil
		}
		*delay = min(2**delay, k.s.options.LastDelay)
		running, err := start(ctx, k.service)
		if err == nil {
			return running
		}
		if ctx.Err() == nil {
			log.Error("service does not start", "error", err, "next_try_in", delay.String())
		}
	}
}

func (k *keeper) end(running Running) error {
	within := k.service.StopWithin
	if within == 0 {
		within = 20 * time.Second
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if err := running.Stop(ctx); err != nil {
		return fmt.Errorf("%s: %w", k.service.Name, err)
	}
	return nil
}

// cause asks a service why it ended, if it can tell.
func cause(running Running) string {
	if r, ok := running.(interface{ Err() error }); ok {
		if err := r.Err(); err != nil {
			return err.Error()
		}
	}
	return "it ended by itself"
}
