package platform

import (
	"context"
	"errors"
	"log/slog"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/identity/actor"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/internal/pg"
	"strongroom/internal/store/internal/unit"
)

// The control plane's vocabulary, the same as the tenant door's.
type (
	// Tx is an open transaction on the control plane's tables.
	Tx = unit.Unit
	// SQL is a statement made by Lit.
	SQL = unit.SQL
	// Client is where a request came from.
	Client = unit.Client
)

// Lit makes a statement of a literal in the source.
var Lit = unit.Lit

// ErrNoRows reports that a query found nothing.
var ErrNoRows = unit.ErrNoRows

// IsUnique recognizes the violation of a unique constraint.
var IsUnique = unit.IsUnique

// Request says who wants to do what on the control plane.
type Request struct {
	Actor  actor.Actor
	Org    id.Org // the organization concerned; zero: the installation alone
	Action policy.Action
	ID     id.Request
	Client Client
}

// StoreOptions configures a Store.
type StoreOptions struct {
	URL        string // connection string of the login sr_platform
	MaxConns   int32
	Audit      *audit.Log
	Keys       func(id.Org) seal.Keys
	NewLeaf    func(context.Context, id.Org) (keytree.Leaf, error)
	Capability [32]byte
	Log        *slog.Logger
}

// Store opens transactions on the control plane.
type Store struct {
	pool *pg.Pool
	host *unit.Host
}

// NewStore connects lazily; it fails on a setting that cannot work.
func NewStore(ctx context.Context, o StoreOptions) (*Store, error) {
	if o.Audit == nil || o.Keys == nil || o.NewLeaf == nil {
		return nil, errors.New("platform: StoreOptions.Audit, Keys and NewLeaf are required")
	}
	if o.MaxConns == 0 {
		o.MaxConns = 8
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	pool, err := pg.Open(ctx, o.URL, o.MaxConns)
	if err != nil {
		return nil, err
	}
	return &Store{pool: pool, host: &unit.Host{Audit: o.Audit, Keys: o.Keys, NewLeaf: o.NewLeaf, Minter: unit.NewMinter(o.Capability), Log: o.Log}}, nil
}

// Placements looks up where organizations live, through the platform's login.
func (s *Store) Placements() *Placements { return NewPlacements(s.pool.Raw()) }

// Close waits for the transactions under way.
func (s *Store) Close() { s.pool.Close() }

// Conns says how many connections to PostgreSQL are open, and in use.
func (s *Store) Conns() (open, busy int32) { return s.pool.Stat() }

// Do is the door for what belongs to no organization's schema: people,
// memberships, sessions, keys, organizations themselves. It follows the rules
// of the tenant door. Its events go to the installation's log, and to the log
// of each organization concerned (r.Org, and those named by [Tx.AlsoIn]).
func Do[T any](ctx context.Context, s *Store, r Request, fn func(context.Context, *Tx) (T, error)) (T, audit.Receipt, error) {
	w := s.work(r)
	var cause error
	switch {
	case policy.Open(r.Action, !r.Actor.IsNobody()):
	case r.Actor.IsNobody():
		w.Logs = []id.Org{id.Installation}
		cause = fault.New(fault.Unauthenticated, "sign in first")
	case r.Org.IsZero() && !r.Actor.MayOnPlatform(r.Action):
		cause = fault.New(fault.Denied, "your role does not allow %s", r.Action)
	case r.Org.IsZero():
	case !r.Actor.Sees(r.Org):
		w.Logs = []id.Org{id.Installation}
		w.Targets = []id.Ref{r.Org}
		cause = fault.New(fault.NotFound, "no such organization")
	case !r.Actor.May(r.Org, r.Action):
		cause = fault.New(fault.Denied, "your role does not allow %s here", r.Action)
	}
	if cause != nil {
		var zero T
		receipt, lost := unit.Record(ctx, &w, nil, cause)
		if lost != nil {
			return zero, audit.Receipt{}, lost
		}
		return zero, receipt, cause
	}
	return unit.Run(ctx, w, fn)
}

func (s *Store) work(r Request) unit.Work {
	w := unit.Work{Host: s.host, Pool: s.pool, Role: "none", SearchPath: "pg_catalog, pg_temp", Org: r.Org, Actor: r.Actor, Action: r.Action,
		Purpose: "service", Request: r.ID, Client: r.Client, Read: policy.IsRead(r.Action), Logs: []id.Org{id.Installation}}
	if w.Request.IsZero() {
		w.Request = id.NewRequest()
	}
	if w.Org.IsZero() {
		w.Org = id.Installation
	} else {
		w.Logs = []id.Org{r.Org, id.Installation}
	}
	return w
}

// Peek runs fn in a read-only transaction that belongs to a request whose
// event somebody else writes: looking up the session or key that a request
// came with. It is the one way past the audit rule and is for identity's
// Authenticate alone; the architecture test holds that.
func Peek[T any](ctx context.Context, s *Store, fn func(context.Context, *Tx) (T, error)) (T, error) {
	w := s.work(Request{Action: policy.SessionRead})
	return unit.Peek(ctx, w, fn)
}
