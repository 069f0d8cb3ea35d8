// Package tenant is the one door to an organization's data.
//
// Whoever comes through is authorized, enters exactly one organization, and
// leaves exactly one terminal audit event, durable before the answer:
//
//	record, receipt, err := tenant.Do(ctx, store, request, func(ctx context.Context, tx *tenant.Tx) (Record, error) {
//		return get(ctx, tx, in)
//	})
//
// [Do] is one request in one transaction. [Stream] is for bytes that take
// longer than a transaction should live, [Bulk] for many rows in chunks. A
// function that runs inside is scoped by row-level security to its
// organization, whatever its SQL says; it can neither commit nor leave.
//
// The same SQL serves both placements: an organization with a schema of its
// own, and one in the shared pool.
package tenant

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/identity/actor"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/internal/pg"
	"strongroom/internal/store/internal/unit"
	"strongroom/internal/store/platform"
)

// Slices is the number of logins over which organizations are spread. A
// back-end thereby meets a sixteenth of the schemas and a login is member of
// a sixteenth of the roles.
const Slices = platform.Slices

// Purpose says what a request is for. Reads of customer data carry one.
type Purpose string

// The purposes. Training is named only to be refused (OWN-2).
const (
	Service  Purpose = "service" // the product's own use, the default
	Analysis Purpose = "analysis"
	Export   Purpose = "export"
	Support  Purpose = "support"
	Training Purpose = "training"
)

// Purposes lists what a request may name.
var Purposes = []Purpose{Service, Analysis, Export, Support, Training}

// The store's vocabulary for features.
type (
	// Tx is an open, authorized transaction inside one organization.
	Tx = unit.Unit
	// SQL is a statement made by Lit.
	SQL = unit.SQL
	// Client is where a request came from.
	Client = unit.Client
	// Job is work for later.
	Job = unit.Job
	// Rows are the result of a query.
	Rows = pg.Rows
)

// Lit makes a statement of a literal in the source.
var Lit = unit.Lit

// ErrNoRows reports that a query found nothing.
var ErrNoRows = unit.ErrNoRows

// IsUnique and IsForeignKey recognize the violation of a named constraint; an
// empty name means any.
var (
	IsUnique     = unit.IsUnique
	IsForeignKey = unit.IsForeignKey
)

// Request says who wants to do what, where and why.
type Request struct {
	Actor   actor.Actor
	Org     id.Org
	Action  policy.Action
	Purpose Purpose
	ID      id.Request
	Client  Client
	// Targets are named in the event even when the request is refused before
	// its function runs.
	Targets []id.Ref
}

// Placements says where organizations live: platform.Placements.
type Placements interface {
	Of(context.Context, id.Org) (platform.Placement, error)
}

// Options configures a Store.
type Options struct {
	Slices     [Slices]string // connection strings of sr_app_00 … sr_app_15
	MaxConns   int32          // per slice; default 4
	Placements Placements
	Audit      *audit.Log
	Keys       func(id.Org) seal.Keys
	NewLeaf    func(context.Context, id.Org) (keytree.Leaf, error)
	Capability [32]byte
	Log        *slog.Logger
}

// Store opens transactions inside organizations.
type Store struct {
	pools  [Slices]*pg.Pool
	places Placements
	host   *unit.Host
}

// New connects lazily; it fails on a setting that cannot work.
func New(ctx context.Context, o Options) (*Store, error) {
	switch {
	case o.Audit == nil:
		return nil, errors.New("tenant: Options.Audit is required: nothing is answered without a log")
	case o.Keys == nil || o.NewLeaf == nil || o.Placements == nil:
		return nil, errors.New("tenant: Options.Keys, NewLeaf and Placements are required")
	case o.Capability == [32]byte{}:
		return nil, errors.New("tenant: Options.Capability is required")
	}
	if o.MaxConns == 0 {
		o.MaxConns = 4
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &Store{places: o.Placements, host: &unit.Host{Audit: o.Audit, Keys: o.Keys, NewLeaf: o.NewLeaf, Minter: unit.NewMinter(o.Capability), Log: o.Log, Gathering: &unit.Gathering{}}}
	for i, url := range o.Slices {
		p, err := pg.Open(ctx, url, o.MaxConns)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("tenant: slice %d: %w", i, err)
		}
		s.pools[i] = p
	}
	return s, nil
}

// Close waits for the transactions under way.
func (s *Store) Close() {
	for _, p := range s.pools {
		if p != nil {
			p.Close()
		}
	}
}

// Trips counts the round trips to PostgreSQL since the start.
func (s *Store) Trips() (n int64) {
	for _, p := range s.pools {
		n += p.Trips()
	}
	return n
}

// Conns says how many connections to PostgreSQL are open, and in use.
func (s *Store) Conns() (open, busy int32) {
	for _, p := range s.pools {
		o, b := p.Stat()
		open, busy = open+o, busy+b
	}
	return open, busy
}

// Do authorizes r and runs fn in one transaction inside the organization. It
// returns when the event is durable; the receipt proves it, for a refusal as
// for a success. Only an error of kind Unavailable may come without one.
func Do[T any](ctx context.Context, s *Store, r Request, fn func(context.Context, *Tx) (T, error)) (T, audit.Receipt, error) {
	w, receipt, err := s.admit(ctx, r)
	if err != nil {
		var zero T
		return zero, receipt, err
	}
	return unit.Run(ctx, w, fn)
}

// admit decides whether r may enter, and says where. A refusal is on record
// when it returns.
func (s *Store) admit(ctx context.Context, r Request) (unit.Work, audit.Receipt, error) {
	w := unit.Work{Host: s.host, Org: r.Org, Actor: r.Actor, Action: r.Action, Purpose: string(r.Purpose), Request: r.ID, Client: r.Client,
		Read: policy.IsRead(r.Action), Targets: slices.Clone(r.Targets)}
	if w.Purpose == "" {
		w.Purpose = string(Service)
	}
	if w.Request.IsZero() {
		w.Request = id.NewRequest()
	}
	refuse := func(org id.Org, cause error) (unit.Work, audit.Receipt, error) {
		w.Logs = []id.Org{org}
		receipt, lost := unit.Record(ctx, &w, nil, cause)
		if lost != nil {
			return w, audit.Receipt{}, lost
		}
		return w, receipt, cause
	}
	switch {
	case r.Actor.IsNobody():
		return refuse(id.Installation, fault.New(fault.Unauthenticated, "sign in first"))
	case r.Org.IsZero() || r.Org == id.Installation || !r.Actor.Sees(r.Org):
		// The same answer for what is not there and what is not hers. The
		// attempt goes to the installation's log: a stranger cannot write into
		// an organization's.
		if !r.Org.IsZero() {
			w.Targets = append(w.Targets, r.Org)
		}
		return refuse(id.Installation, fault.New(fault.NotFound, "no such organization"))
	}
	p, err := s.places.Of(ctx, r.Org)
	if err != nil {
		if fault.Is(err, fault.NotFound) {
			w.Targets = append(w.Targets, r.Org)
			return refuse(id.Installation, err)
		}
		return refuse(r.Org, err)
	}
	switch {
	case r.Purpose == Training:
		return refuse(r.Org, fault.New(fault.Denied, "no data is read for training"))
	case r.Purpose != "" && !slices.Contains(Purposes, r.Purpose):
		return refuse(r.Org, fault.At(fault.Invalid, "Strongroom-Purpose", "unknown_purpose", "the purpose is not one of those that the API names"))
	case !r.Actor.May(r.Org, r.Action):
		return refuse(r.Org, fault.New(fault.Denied, "your role does not allow %s here", r.Action))
	}
	w.Pool, w.Role, w.Pooled = s.pools[p.Slice%Slices], p.Role, p.Kind == platform.PlacementPooled
	// pg_temp comes last: named nowhere it would come first, and a temporary
	// table could stand in for one of the organization's.
	w.SearchPath = p.Schema + ", pg_temp"
	return w, audit.Receipt{}, nil
}

// Refused records a request that was refused before it reached the door, and
// returns the receipt for its answer. With no organization, or one that the
// actor cannot see, the event goes to the installation's log.
func (s *Store) Refused(ctx context.Context, r Request, cause error) (audit.Receipt, error) {
	org := r.Org
	if org.IsZero() || !r.Actor.Sees(org) {
		org = id.Installation
	}
	w := unit.Work{Host: s.host, Org: org, Actor: r.Actor, Action: r.Action, Purpose: string(r.Purpose), Request: r.ID, Client: r.Client, Targets: r.Targets}
	return unit.Record(ctx, &w, nil, cause)
}

// Steps are the three parts of a Stream.
type Steps[S, T any] struct {
	// Open authorizes and reserves: a leaf, a version. Its event has the
	// outcome "opened" and is durable before the first byte moves.
	Open func(context.Context, *Tx) (S, error)
	// Bytes moves the bytes, outside any transaction. Its counts go into the
	// terminal event.
	Bytes func(context.Context, S, audit.Receipt) (counts map[string]int64, err error)
	// Close commits what Bytes stored, or clears up after its failure. Nil
	// where there is nothing to do, as after a download.
	Close func(ctx context.Context, tx *Tx, state S, failure error) (T, error)
}

// Stream is for bytes that take longer than a transaction should live: a
// short Do that reserves, the bytes, a short Do that commits. It leaves an
// opened and a terminal event under one request id.
func Stream[S, T any](ctx context.Context, s *Store, r Request, steps Steps[S, T]) (out T, receipt audit.Receipt, err error) {
	w, receipt, err := s.admit(ctx, r)
	if err != nil {
		return out, receipt, err
	}
	w.Outcome = audit.Opened
	state, receipt, err := unit.Run(ctx, w, steps.Open)
	if err != nil {
		return out, receipt, err
	}
	counts, failure := stream(ctx, s, w, steps, state, receipt)
	w.Outcome, w.Failure, w.Counts = "", failure, counts
	if steps.Close == nil {
		terminal, lost := unit.Record(ctx, &w, nil, failure)
		if lost != nil {
			return out, audit.Receipt{}, lost
		}
		return out, terminal, failure
	}
	// The caller may be gone; what was reserved is settled all the same.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	out, terminal, err := unit.Run(closing, w, func(ctx context.Context, tx *Tx) (T, error) { return steps.Close(ctx, tx, state, failure) })
	if failure != nil {
		err = failure
	}
	return out, terminal, err
}

// stream runs Bytes and turns a panic into a failure, so that the terminal
// event is written whatever happens.
func stream[S, T any](ctx context.Context, s *Store, w unit.Work, steps Steps[S, T], state S, receipt audit.Receipt) (counts map[string]int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.host.Log.Error("store: a stream panicked", "request", w.Request.String(), "action", string(w.Action), "type", fmt.Sprintf("%T", p))
			err = fault.Wrap(fault.Internal, errors.New("panic"), "internal error")
		}
	}()
	return steps.Bytes(ctx, state, receipt)
}

// ChunkRows is how many rows Bulk puts into one transaction.
const ChunkRows = 500

// Bulk runs fn over items in chunks, each a transaction and an event of its
// own. fn is told the number of its chunk and keeps its checkpoint inside the
// transaction, so that a repeated request skips what is done. It stops at the
// first chunk that fails; those before it stay.
func Bulk[I, T any](ctx context.Context, s *Store, r Request, items []I, fn func(ctx context.Context, tx *Tx, chunk int, items []I) ([]T, error)) (out []T, receipt audit.Receipt, err error) {
	if r.ID.IsZero() {
		r.ID = id.NewRequest()
	}
	chunk := 0
	for part := range slices.Chunk(items, ChunkRows) {
		var got []T
		got, receipt, err = Do(ctx, s, r, func(ctx context.Context, tx *Tx) ([]T, error) { return fn(ctx, tx, chunk, part) })
		if err != nil {
			return out, receipt, err
		}
		out = append(out, got...)
		chunk++
	}
	if chunk == 0 {
		_, receipt, err = Do(ctx, s, r, func(ctx context.Context, tx *Tx) ([]T, error) { return fn(ctx, tx, 0, nil) })
	}
	return out, receipt, err
}
