package keyservice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/keyservice/guardian"
	"strongroom/internal/keyservice/internal/disk"
	"strongroom/internal/keyservice/internal/keyfile"
	"strongroom/internal/keyservice/internal/wire"
)

// Options configure a key service.
type Options struct {
	Listener net.Listener // a unix socket; or
	Socket   string       // the path to make one at, with mode 0600
	UIDs     []uint32     // users that may call, beside this process's own and root

	ZoneA, ZoneB string   // the directories of the two copies
	Guardians    []string // sockets, in the order of the zones
	GuardianUIDs []uint32 // users that guardians run as, beside this process's own and root

	// AcceptRevision lets a start go on from this revision although the
	// guardians counted a later one: what came after it is lost. It is the
	// way on after a disaster in both zones, never a setting that stays.
	AcceptRevision uint64

	Lease       time.Duration // of servers' caches; 0: 10 s, which is also the most
	RotateEvery time.Duration // age at which the epoch is rotated; 0: 7 days
	Patience    time.Duration // how long a start waits for the guardians; 0: 5 s
	Log         *slog.Logger  // nil: slog.Default
	Ready       func()        // called once it answers; may be nil

	pulse time.Duration // of the checks on guardians and zones; 0: 1 s
	gate  func(where string) disk.Gate
}

// MaxLease bounds how long a server may use keys without having heard from
// the key service.
const MaxLease = 10 * time.Second

// Steps by which an organization's lease mark moves: each move is a revision,
// each restart skips what is left of a step.
const (
	firstStep = 1 << 10
	lastStep  = 1 << 16
	maxBlock  = 1 << 13 // leaves in one answer
	maxBatch  = 512     // requests in one revision
)

var (
	errUnknownOrg        = wire.Errorf(wire.NotFound, "the key store has no such organization")
	errUnknownGeneration = wire.Errorf(wire.NotFound, "the organization has no such generation of keys")
)

func (o *Options) complete() error {
	if o.ZoneA == "" || o.ZoneB == "" {
		return errors.New("two zones are needed: ZoneA and ZoneB name their directories")
	}
	if len(o.Guardians) == 0 || len(o.Guardians) > 8 {
		return fmt.Errorf("1 to 8 guardians are needed, and %d are given", len(o.Guardians))
	}
	if o.Lease < 0 || o.Lease > MaxLease {
		return fmt.Errorf("the lease is %s; the most is %s", o.Lease, MaxLease)
	}
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&o.Lease, MaxLease)
	def(&o.RotateEvery, 7*24*time.Hour)
	def(&o.Patience, 5*time.Second)
	def(&o.pulse, time.Second)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.gate == nil {
		o.gate = func(string) disk.Gate { return nil }
	}
	return nil
}

// Serve runs a key service until ctx ends. It refuses to start when it cannot
// tell which revision of the store is the truth, and says which file or
// process to look at. It ends by itself, with an error, when another key
// service has taken the store over.
func Serve(ctx context.Context, o Options) error {
	s, err := start(ctx, o)
	if err != nil {
		if o.Listener != nil {
			o.Listener.Close()
		}
		return fmt.Errorf("key service: %w", err)
	}
	defer s.close()
	l := o.Listener
	if l == nil {
		if l, err = wire.Listen(o.Socket, 0o600); err != nil {
			return fmt.Errorf("key service: %w", err)
		}
	}
	if o.Ready != nil {
		o.Ready()
	}
	st := s.store.cur.Load()
	s.log.Info("key service ready", "epoch", st.root.Epoch, "revision", st.root.Revision, "organizations", st.organizations(), "settled", s.store.settled.Load())
	return s.serve(ctx, l)
}

// service answers servers. What changes the store goes through one goroutine,
// the writer, which puts all requests that wait into one revision.
type service struct {
	o     Options
	log   *slog.Logger
	store *store
	queue chan *request

	// confirmed is when a guardian last agreed that this service's revision
	// is the newest, in nanoseconds since start: without that for as long as
	// a lease, no lease is renewed, as another service may lead.
	confirmed atomic.Int64
	began     time.Time

	mu      sync.Mutex
	leases  map[uuid.UUID]*lease
	clients map[string]*member
}

// lease is what this process may still hand out of an organization: leaves
// below the mark of a revision that was counted.
type lease struct {
	mu        sync.Mutex
	next, end uint64
	step      uint64
}

// member is a server that holds a cache.
type member struct {
	serial  uint64 // acknowledged: nothing older is in its cache
	expires time.Time
}

// request is a change of the store that waits for the writer.
type request struct {
	create uuid.UUID // make this organization
	raise  uuid.UUID // move this organization's mark by n leaves
	n      uint64
	rotate bool // open a new epoch
	settle bool // only bring the store in order

	done chan result
}

type result struct {
	made     bool   // of a create: it was not there before
	from, to uint64 // of a raise: the leaves that became available
	attested []guardian.Attestation
	err      error
}

func start(ctx context.Context, o Options) (*service, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	st := &store{log: o.Log, accept: o.AcceptRevision}
	for name, path := range map[string]string{"a": o.ZoneA, "b": o.ZoneB} {
		st.zones = append(st.zones, &zone{name: name, path: path, gate: o.gate("zone " + name)})
	}
	if st.zones[0].name != "a" {
		st.zones[0], st.zones[1] = st.zones[1], st.zones[0]
	}
	for i, socket := range o.Guardians {
		name := string(rune('a' + i))
		st.wards = append(st.wards, &ward{name: name, client: guardian.NewClient(socket, o.GuardianUIDs...), gate: o.gate("guardian " + name)})
	}
	s := &service{
		o: o, log: o.Log, store: st, began: time.Now(), queue: make(chan *request, 4*maxBatch),
		leases: map[uuid.UUID]*lease{}, clients: map[string]*member{},
	}
	st.await(ctx, o.Patience)
	if err := st.load(ctx); err != nil {
		s.close()
		return nil, err
	}
	s.confirm()
	return s, nil
}

// await gives guardians that are being started at the same time a moment.
func (s *store) await(ctx context.Context, patience time.Duration) {
	for until := time.Now().Add(patience); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(25 * time.Millisecond) {
		up := true
		for _, g := range s.wards.look(ctx) {
			up = up && g.err == nil
		}
		if up {
			return
		}
	}
}

func (s *service) close() {
	s.store.close()
	for _, w := range s.store.wards {
		w.client.Close()
	}
}

func (s *service) serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { s.write(ctx, cancel) })
	wg.Go(func() { s.watch(ctx) })
	wg.Go(func() { s.scrubs(ctx) })
	err := wire.Serve(ctx, l, s.o.UIDs, s.handler(), s.log)
	cancel(nil)
	wg.Wait()
	if cause := context.Cause(ctx); isFatal(cause) {
		return fmt.Errorf("key service: %w", cause)
	}
	return err
}

// write is the writer: it takes all requests that wait and puts them into one
// revision. While one is written the next gather, so that the batch grows
// with the load and no timer is needed.
func (s *service) write(ctx context.Context, stop context.CancelCauseFunc) {
	for {
		var batch []*request
		select {
		case <-ctx.Done():
			return
		case r := <-s.queue:
			batch = append(batch, r)
		}
		for more := true; more && len(batch) < maxBatch; {
			select {
			case r := <-s.queue:
				batch = append(batch, r)
			default:
				more = false
			}
		}
		// A revision that was begun is finished or fails by itself: a caller
		// that goes away does not leave it half-counted.
		err := s.carryOut(context.WithoutCancel(ctx), batch)
		if err != nil {
			for _, r := range batch {
				r.done <- result{err: err}
			}
		}
		if isFatal(err) {
			stop(err)
			return
		}
	}
}

// carryOut answers every request of the batch, or returns an error for all.
func (s *service) carryOut(ctx context.Context, batch []*request) error {
	if !s.store.settled.Load() {
		if err := s.store.load(ctx); err != nil {
			if !isFatal(err) {
				s.store.trouble.Store(&[]string{err.Error()})
			}
			return err
		}
		if !s.store.settled.Load() {
			return wire.Errorf(wire.Unavailable, "nothing can be written now: %v", *s.store.trouble.Load())
		}
		s.confirm()
	}
	d := s.store.begin()
	results := make([]result, len(batch))
	for i, r := range batch {
		switch {
		case r.create != uuid.Nil:
			if _, ok := d.get(r.create); !ok {
				results[i].err = d.create(r.create)
				results[i].made = results[i].err == nil
			}
		case r.raise != uuid.Nil:
			e, ok := d.get(r.raise)
			if !ok {
				results[i].err = errUnknownOrg
				break
			}
			results[i].from = e.Mark
			e.Mark = min(e.Mark+r.n, keyfile.MaxMark)
			results[i].to = e.Mark
			if results[i].to == results[i].from {
				results[i].err = wire.Errorf(wire.Refused, "the organization has used all of its 2^32 leaves")
				break
			}
			d.root.Leases += results[i].to - results[i].from
			d.put(e)
		case r.rotate:
			d.rotate = true
		}
	}
	if d.root.Revision-d.root.First > keyfile.MaxRevisions {
		d.rotate = true
	}
	if d.rotate {
		d.seen = s.store.wards.look(ctx)
		for _, g := range d.seen {
			if g.err != nil {
				s.store.settled.Store(false)
				return wire.Errorf(wire.Unavailable, "a rotation needs every guardian: %v", g.err)
			}
		}
	}
	if d.rotate || d.entries != nil {
		attested, err := s.store.commit(ctx, d)
		if err != nil {
			s.store.trouble.Store(&[]string{err.Error()})
			s.log.Error("a revision was not completed; the store is read again", "error", err)
			return wire.Errorf(wire.Unavailable, "the change was not completed, try again: %v", err)
		}
		for i := range results {
			results[i].attested = attested
		}
	}
	for i, r := range batch {
		if results[i].made {
			s.fresh(r.create)
		}
		r.done <- results[i]
	}
	return nil
}

// submit hands a request to the writer and waits for its result.
func (s *service) submit(ctx context.Context, r *request) (result, error) {
	r.done = make(chan result, 1)
	select {
	case s.queue <- r:
	default:
		return result{}, wire.Errorf(wire.Unavailable, "too many changes are waiting; try again")
	}
	select {
	case res := <-r.done:
		return res, res.err
	case <-ctx.Done():
		return result{}, wire.Errorf(wire.Unavailable, "the change did not complete in time; try again")
	}
}

// fresh makes the first leaves of an organization available that this process
// has just made.
func (s *service) fresh(org uuid.UUID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases[org] = &lease{next: keyfile.FirstLeaf, end: keyfile.FirstLeaf + firstStep, step: firstStep}
}

func (s *service) leaseOf(org uuid.UUID) *lease {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.leases[org]
	if !ok {
		// Nothing below the mark is handed out: a process before this one may
		// have done so.
		l = &lease{step: firstStep}
		s.leases[org] = l
	}
	return l
}

// take hands out a run of up to n leaves, all below the counted mark.
func (s *service) take(ctx context.Context, org uuid.UUID, n uint64) (first, count uint64, err error) {
	if _, ok := s.store.cur.Load().get(org); !ok {
		return 0, 0, errUnknownOrg
	}
	l := s.leaseOf(org)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == l.end {
		res, err := s.submit(ctx, &request{raise: org, n: l.step})
		if err != nil {
			return 0, 0, err
		}
		l.next, l.end = res.from, res.to
		l.step = min(l.step*2, lastStep)
	}
	first, count = l.next, min(n, l.end-l.next)
	l.next += count
	return first, count, nil
}

func (s *service) confirm() { s.confirmed.Store(int64(time.Since(s.began))) }

// watch looks after guardians and zones: it notices a guardian that went or
// came back, a service that took over, a zone that was emptied, and an epoch
// that is due for rotation.
func (s *service) watch(ctx context.Context) {
	t := time.NewTicker(s.o.pulse)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		s.pulse(ctx)
		st := s.store.cur.Load()
		switch {
		case !s.store.settled.Load():
			_, _ = s.submit(ctx, &request{settle: true})
		case time.Since(time.Unix(st.root.Since, 0)) > s.o.RotateEvery:
			if _, err := s.submit(ctx, &request{rotate: true}); err != nil {
				s.log.Error("the epoch could not be rotated; it is tried again", "error", err)
			}
		}
	}
}

func (s *service) pulse(ctx context.Context) {
	for _, w := range s.store.wards {
		old := w.last.Load()
		var c guardian.Count
		err := w.call(ctx, "pulse", func(ctx context.Context) (err error) { c, err = w.client.Counter(ctx); return })
		now := sight{err: err, at: time.Now()}
		if old != nil {
			now.Fetched = old.Fetched
		}
		now.count = c
		w.last.Store(&now)
		switch {
		case err != nil:
			if s.store.settled.Swap(false) {
				s.log.Warn("a guardian does not answer: reads go on, writes wait", "guardian", w.name, "error", err)
			}
		case c.Revision > s.store.highest.Load() || c.Revision == 0:
			s.store.settled.Store(false) // another service wrote, or the guardian is empty
		default:
			s.confirm()
		}
	}
	if !s.store.present() {
		s.store.settled.Store(false)
	}
}

// present reports whether both zones still hold the root of the current
// revision.
func (s *store) present() bool {
	s.files.RLock()
	defer s.files.RUnlock()
	st := s.cur.Load()
	f := keyfile.ID{Kind: keyfile.KindRoot, Epoch: st.root.Epoch, Revision: st.root.Revision}
	for _, z := range s.zones {
		if _, err := z.read(f, st.hash); err != nil && s.cur.Load() == st {
			return false
		}
	}
	return true
}

// scrubEvery is how often every file of both zones is read.
const scrubEvery = 6 * time.Hour

func (s *service) scrubs(ctx context.Context) {
	for wait := 15 * time.Second; ; wait = scrubEvery { // not while everything starts
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		if lost := s.store.scrub(ctx); lost > 0 {
			s.log.Error("the scrub found keys that are whole in no zone", "files", lost)
		}
	}
}
