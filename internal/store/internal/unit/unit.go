// Package unit carries out one unit of work: one transaction, inside one
// organization, with exactly one terminal audit event.
//
// The doors (tenant and platform) decide who may enter; what happens from
// there to the receipt is the same for both and stands here once. Nothing
// above the store can import it.
package unit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/identity/actor"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/internal/pg"
)

// constant is SQL that stands in the source. Being unexported, it takes a
// literal from any package; the architecture test refuses anything else.
type constant string

// SQL is a statement made by Lit.
type SQL struct{ text string }

// Lit makes a statement of a literal.
func Lit(s constant) SQL { return SQL{string(s)} }

// ErrNoRows reports that a query found nothing.
var ErrNoRows = pgx.ErrNoRows

// errClosed reports a transaction used after its function returned.
var errClosed = errors.New("store: the transaction is over")

// Host is what every unit needs of the process it runs in.
type Host struct {
	Audit   *audit.Log
	Keys    func(id.Org) seal.Keys
	NewLeaf func(context.Context, id.Org) (keytree.Leaf, error)
	Minter  *Minter
	Log     *slog.Logger
	// Gathering is nil where units are never carried out together.
	Gathering *Gathering
}

// Client is where a request came from: personal data, kept in events only
// under a commitment.
type Client struct{ Address, Agent string }

// Work says what one unit is to do.
type Work struct {
	Host       *Host
	Pool       *pg.Pool
	Role       string
	SearchPath string
	Org        id.Org // the organization of the capability
	Logs       []id.Org
	Actor      actor.Actor
	Action     policy.Action
	Purpose    string
	Request    id.Request
	Client     Client
	Read       bool
	Pooled     bool          // the organization shares its tables with others
	Outcome    audit.Outcome // the outcome when all goes well; zero: Done
	Failure    error         // a failure before this unit began: the outcome, whatever the unit does
	Counts     map[string]int64
	Targets    []id.Ref
}

// Unit is an open transaction inside an organization. Only Run makes a usable
// one, and it cannot commit itself.
type Unit struct {
	w        *Work
	s        atomic.Pointer[pg.Session] // nil once the function has returned
	targets  []id.Ref
	counts   map[string]int64
	openings []audit.Opening
	logs     []id.Org
	jobs     []Job
	now      time.Time
	// last is the statement that Last took; alone says that it may take none.
	last  *pg.Statement
	alone bool
}

// Job is work to be done later, by ids alone.
type Job struct {
	Kind string // files.sweep
	Ref  id.Ref // what it is about
	At   time.Time
}

// Exec runs a statement and returns how many rows it affected.
func (u *Unit) Exec(ctx context.Context, sql SQL, args ...any) (int64, error) {
	s, err := u.session()
	if err != nil {
		return 0, err
	}
	return s.Exec(ctx, sql.text, args...)
}

// Last hands over the only statement of a unit that writes, and reports
// whether it was taken. If so, the function returns at once, and the statement
// is carried out together with its event in one round trip, perhaps together
// with those of other callers. If not, the function goes on as if it had not
// asked.
//
// The function does not learn how many rows the statement touched: it must be
// one that touches its rows or fails, such as INSERT … VALUES, with NULL for a
// column that takes none where a condition does not hold. If PostgreSQL
// refuses it, nothing took place, and the function is run once more from the
// beginning with Last taking nothing: what it does outside the unit must bear
// that.
func (u *Unit) Last(sql SQL, args ...any) (taken bool) {
	s, err := u.session()
	if err != nil || u.alone || u.w.Read || u.w.Host.Gathering == nil || len(u.jobs) > 0 || len(u.logs) > 0 || s.Begun() {
		return false
	}
	u.last = &pg.Statement{SQL: sql.text, Args: args}
	return true
}

// errLast reports a statement after the one that was to be the last.
var errLast = errors.New("store: a statement after the last one")

func (u *Unit) session() (*pg.Session, error) {
	s := u.s.Load()
	switch {
	case s == nil:
		return nil, errClosed
	case u.last != nil:
		return nil, errLast
	}
	return s, nil
}

// Query runs a statement that returns rows.
func (u *Unit) Query(ctx context.Context, sql SQL, args ...any) (*pg.Rows, error) {
	s, err := u.session()
	if err != nil {
		return nil, err
	}
	return s.Query(ctx, sql.text, args...)
}

// QueryRow runs a statement that returns one row.
func (u *Unit) QueryRow(ctx context.Context, sql SQL, args ...any) Row {
	rows, err := u.Query(ctx, sql, args...)
	return Row{rows, err}
}

// Row is the result of QueryRow.
type Row struct {
	rows *pg.Rows
	err  error
}

// Scan reads the row, or returns ErrNoRows.
func (r Row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	r.rows.Close()
	return r.rows.Err()
}

// Touch names what the request read or changed; a list names every id that it
// returns.
func (u *Unit) Touch(refs ...id.Ref) {
	for _, r := range refs {
		if !r.IsZero() {
			u.targets = append(u.targets, r)
		}
	}
}

// Count adds to a number in the event.
func (u *Unit) Count(name string, n int64) {
	if u.counts == nil {
		u.counts = map[string]int64{}
	}
	u.counts[name] += n
}

// Opening puts personal data into the event, shown to whoever holds its keys.
func (u *Unit) Opening(name, value string, subject keytree.Leaf) {
	u.openings = append(u.openings, audit.Opening{Name: name, Value: value, Subject: subject})
}

// AlsoIn records the event in another organization's log too.
func (u *Unit) AlsoIn(org id.Org) { u.logs = append(u.logs, org) }

// Pooled reports whether the organization shares its tables with others.
func (u *Unit) Pooled() bool { return u.w.Pooled }

// Org returns the organization entered.
func (u *Unit) Org() id.Org { return u.w.Org }

// Actor returns who is asking.
func (u *Unit) Actor() actor.Actor { return u.w.Actor }

// Request returns the request's identifier.
func (u *Unit) Request() id.Request { return u.w.Request }

// Now returns one moment for the whole unit, in microseconds.
func (u *Unit) Now() time.Time { return u.now }

// May reports whether the actor may perform another action here.
func (u *Unit) May(a policy.Action) bool { return u.w.Actor.May(u.w.Org, a) }

// Keys returns the organization's keys.
func (u *Unit) Keys() seal.Keys { return u.w.Host.Keys(u.w.Org) }

// KeysOf returns another organization's keys: for the installation, which
// seals people's names.
func (u *Unit) KeysOf(org id.Org) seal.Keys { return u.w.Host.Keys(org) }

// NewLeaf takes a leaf that was never used and never will be again.
func (u *Unit) NewLeaf(ctx context.Context) (keytree.Leaf, error) {
	return u.w.Host.NewLeaf(ctx, u.w.Org)
}

// NewLeafIn takes a leaf of another organization's tree.
func (u *Unit) NewLeafIn(ctx context.Context, org id.Org) (keytree.Leaf, error) {
	return u.w.Host.NewLeaf(ctx, org)
}

// Seal seals sections for one row of the organization.
func (u *Unit) Seal(ctx context.Context, table string, row uuid.UUID, version uint64, sections ...seal.Section) (seal.Sealed, error) {
	return seal.Seal(ctx, u.Keys(), seal.Place{Org: u.w.Org, Table: table, Row: row, Version: version}, sections...)
}

// Open opens what Seal made for the same place.
func (u *Unit) Open(ctx context.Context, table string, row uuid.UUID, version uint64, s seal.Sealed) ([]seal.Section, error) {
	return seal.Open(ctx, u.Keys(), seal.Place{Org: u.w.Org, Table: table, Row: row, Version: version}, s)
}

// Hash is a keyed hash of the organization's own, for finding sealed values
// by equality.
func (u *Unit) Hash(ctx context.Context, purpose string, parts ...[]byte) ([]byte, error) {
	h, err := seal.NewHasher(ctx, u.Keys(), keytree.LeafIndex, purpose)
	if err != nil {
		return nil, err
	}
	return h.Sum(parts...), nil
}

// Enqueue asks for a job once this unit has committed.
func (u *Unit) Enqueue(j Job) { u.jobs = append(u.jobs, j) }

// IsUnique reports whether err is the violation of the named unique
// constraint.
func IsUnique(err error, constraint string) bool { return violates(err, "23505", constraint) }

// IsForeignKey reports whether err is the violation of the named foreign key.
func IsForeignKey(err error, constraint string) bool { return violates(err, "23503", constraint) }

func violates(err error, code, constraint string) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == code && (constraint == "" || e.ConstraintName == constraint)
}

// finishTimeout bounds the writing of an event for a caller who is gone.
const finishTimeout = 15 * time.Second

// Run carries out fn as w says. Whatever happens, it returns only when an
// event is durable, or with a fault.Unavailable that says that none could be
// written.
func Run[T any](ctx context.Context, w Work, fn func(context.Context, *Unit) (T, error)) (out T, receipt audit.Receipt, err error) {
	out, receipt, err = run(ctx, w, false, fn)
	if errors.Is(err, errAgain) {
		out, receipt, err = run(ctx, w, true, fn)
	}
	return out, receipt, err
}

// errAgain reports that a statement handed over with Last was refused: nothing
// took place and nothing is on record.
var errAgain = errors.New("store: once more")

func run[T any](ctx context.Context, w Work, alone bool, fn func(context.Context, *Unit) (T, error)) (out T, receipt audit.Receipt, err error) {
	u := &Unit{w: &w, now: time.Now().UTC().Truncate(time.Microsecond), logs: w.Logs, targets: slices.Clip(w.Targets), counts: maps.Clone(w.Counts), alone: alone}
	session := w.Pool.Begin(pg.Entry{Role: w.Role, SearchPath: w.SearchPath, ReadOnly: w.Read,
		Capability: func(backend uint32) string {
			return w.Host.Minter.Mint(w.Org.UUID(), w.Actor.Person().UUID(), backend, time.Now())
		}})
	out, err = guarded(ctx, u, session, fn)
	var zero T
	if err != nil {
		session.Abort(ctx)
		if away(err) { // nothing was committed, so a repetition does no harm
			err = fault.Wrap(fault.Unavailable, err, "the database does not answer; try again")
		}
		receipt, lost := Record(ctx, &w, u, err)
		if lost != nil {
			return zero, audit.Receipt{}, lost
		}
		return zero, receipt, err
	}
	switch {
	case w.Read:
		out, receipt, err = finishRead(ctx, &w, u, session, out)
	case u.last != nil:
		out, receipt, err = finishLast(ctx, &w, u, session, out)
	default:
		out, receipt, err = finishWrite(ctx, &w, u, session, out)
	}
	if err != nil {
		return zero, receipt, err
	}
	return out, receipt, nil
}

// away reports whether err says that the database is gone, is on its way down
// or up (class 57P), or that the connection to it broke.
func away(err error) bool {
	var known *fault.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return strings.HasPrefix(refused.Code, "57P") || strings.HasPrefix(refused.Code, "08")
	}
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF)
}

// guarded lends the session to fn and turns a panic into an error. The
// connection of a panicked unit is closed: nobody knows what it was in the
// middle of.
func guarded[T any](ctx context.Context, u *Unit, session *pg.Session, fn func(context.Context, *Unit) (T, error)) (out T, err error) {
	returned := false
	u.s.Store(session)
	defer func() {
		u.s.Store(nil) // the function's grip on the transaction ends here
		if returned {
			return
		}
		p := recover()
		session.Discard()
		// The value of a panic may hold content; its place may not.
		u.w.Host.Log.Error("store: a request panicked", "request", u.w.Request.String(), "action", string(u.w.Action), "type", fmt.Sprintf("%T", p), "at", frames())
		err = fault.Wrap(fault.Internal, errors.New("panic"), "internal error")
		if p == nil {
			// runtime.Goexit: the goroutine ends with this function, and
			// nobody is left to write the event.
			_, _ = Record(ctx, u.w, u, err)
		}
	}()
	out, err = fn(ctx, u)
	returned = true
	return out, err
}

// frames lists the functions and lines that led to a panic. The trace that Go
// itself writes also holds the words of arguments: of a key that is handed on
// by value its first ten bytes.
func frames() string {
	pc := make([]uintptr, 32)
	all := runtime.CallersFrames(pc[:runtime.Callers(3, pc)]) // without Callers, this function and the one that recovers
	var at []string
	for {
		f, more := all.Next()
		at = append(at, fmt.Sprintf("%s:%d", f.Function, f.Line))
		if !more {
			return strings.Join(at, " ")
		}
	}
}

func (u *Unit) entries(err error) []audit.Entry {
	w := u.w
	outcome, code := audit.OutcomeOf(err)
	if w.Failure != nil {
		outcome, code = audit.OutcomeOf(w.Failure)
	} else if err == nil && w.Outcome != "" {
		outcome = w.Outcome
	}
	orgs := slices.Clone(u.logs)
	if len(orgs) == 0 {
		orgs = []id.Org{w.Org}
	}
	var out []audit.Entry
	for i, org := range orgs {
		if slices.Contains(orgs[:i], org) {
			continue
		}
		e := audit.Entry{Org: org, Request: w.Request, Actor: w.Actor, Action: w.Action, Purpose: w.Purpose, Outcome: outcome, Code: code,
			Targets: u.targets, Counts: u.counts}
		for _, o := range u.openings {
			e.Openings = append(e.Openings, inTree(o, org, w.Org))
		}
		subject := w.Actor.Subject(org)
		e.Openings = append(e.Openings, audit.Opening{Name: "client_address", Value: w.Client.Address, Subject: subject},
			audit.Opening{Name: "client_agent", Value: w.Client.Agent, Subject: subject})
		out = append(out, e)
	}
	return out
}

// inTree drops the subject leaf of an opening that is written into another
// organization's log: a leaf means something in its own tree alone.
func inTree(o audit.Opening, log, own id.Org) audit.Opening {
	if log != own {
		o.Subject = 0
	}
	return o
}

// Record writes the event of a unit that did not take place.
func Record(ctx context.Context, w *Work, u *Unit, cause error) (audit.Receipt, error) {
	if u == nil {
		u = &Unit{w: w, logs: w.Logs, targets: w.Targets, counts: w.Counts}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	var first audit.Receipt
	for _, e := range u.entries(cause) {
		r, err := w.Host.Audit.Append(ctx, e)
		if err != nil {
			return audit.Receipt{}, err
		}
		if first.IsZero() {
			first = r
		}
	}
	return first, nil
}

func finishRead[T any](ctx context.Context, w *Work, u *Unit, s *pg.Session, out T) (T, audit.Receipt, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	// Nothing is left to do for the connection, but a failure that fn kept to
	// itself shows here: it must be known before the event says done.
	if err := s.Finish(ctx); err != nil {
		receipt, lost := Record(ctx, w, u, err)
		if lost != nil {
			return out, audit.Receipt{}, lost
		}
		return out, receipt, err
	}
	var waits []func(context.Context) (audit.Receipt, error)
	for _, e := range u.entries(nil) {
		wait, err := w.Host.Audit.Start(ctx, e)
		if err != nil {
			return out, audit.Receipt{}, err
		}
		waits = append(waits, wait)
	}
	var first audit.Receipt
	for _, wait := range waits {
		r, err := wait(ctx)
		if err != nil {
			return out, audit.Receipt{}, err
		}
		if first.IsZero() {
			first = r
		}
	}
	return out, first, nil
}

const (
	insertJob = `INSERT INTO jobs.river_job (kind, queue, args, metadata, max_attempts, priority, state, scheduled_at)
 VALUES ($1, 'default', $2::text::jsonb, '{}'::jsonb, 25, 1, $3::text::jobs.river_job_state, $4)`
)

// JobKind is the kind under which River knows all jobs; which job it is
// stands in the arguments, under their code.
const JobKind = "door"

// JobArgs is what a job carries: ids, who started it, and a code over both
// that only this installation's servers can make.
type JobArgs struct {
	Job       string `json:"job"`
	Org       string `json:"org"`
	Initiator string `json:"initiator"`
	Request   string `json:"request"`
	Ref       string `json:"ref"`
	MAC       []byte `json:"mac,omitempty"`
}

// Kind is River's name for all jobs.
func (JobArgs) Kind() string { return JobKind }

// Bytes returns what the code is made over.
func (a JobArgs) Bytes() []byte {
	a.MAC = nil
	b, _ := json.Marshal(a)
	return b
}

func finishWrite[T any](ctx context.Context, w *Work, u *Unit, s *pg.Session, out T) (T, audit.Receipt, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	var closing []pg.Statement
	var pending []*audit.Pending
	lost := func() {
		for _, p := range pending {
			p.Lost()
		}
	}
	for _, e := range u.entries(nil) {
		p, err := w.Host.Audit.Draft(ctx, e)
		if err != nil {
			s.Abort(ctx)
			return out, audit.Receipt{}, fault.Wrap(fault.Unavailable, err, "the audit event could not be sealed")
		}
		pending = append(pending, p)
	}
	for _, j := range u.jobs {
		args := JobArgs{Job: j.Kind, Org: w.Org.String(), Initiator: w.Actor.Person().String(), Request: w.Request.String(), Ref: j.Ref.String()}
		args.MAC = w.Host.Minter.SignJob(args.Bytes())
		b, err := json.Marshal(args)
		if err != nil {
			s.Abort(ctx)
			lost()
			return out, audit.Receipt{}, err
		}
		state := "available"
		if j.At.After(u.now) {
			state = "scheduled"
		} else {
			j.At = u.now
		}
		closing = append(closing, pg.Statement{SQL: insertJob, Args: []any{JobKind, string(b), state, j.At}})
	}
	for _, p := range pending {
		closing = append(closing, p.Statement())
	}
	err := s.Finish(ctx, closing...)
	switch {
	case err == nil:
		return out, pending[0].Committed(), nil
	case errors.Is(err, pg.ErrUnknown):
		return resolve(ctx, w, u, pending, out, err)
	}
	s.Abort(ctx)
	lost()
	receipt, unrecorded := Record(ctx, w, u, err)
	if unrecorded != nil {
		return out, audit.Receipt{}, unrecorded
	}
	return out, receipt, err
}

// finishLast carries out a unit whose only statement is still to be sent.
func finishLast[T any](ctx context.Context, w *Work, u *Unit, s *pg.Session, out T) (T, audit.Receipt, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	s.Abort(ctx) // it was never begun
	entries := u.entries(nil)
	if len(entries) != 1 || len(u.jobs) > 0 {
		// Something was asked for after Last that a volley does not carry.
		return out, audit.Receipt{}, errAgain
	}
	event, err := w.Host.Audit.Draft(ctx, entries[0])
	if err != nil {
		return out, audit.Receipt{}, fault.Wrap(fault.Unavailable, err, "the audit event could not be sealed")
	}
	err = w.Host.Gathering.fly(ctx, w, *u.last, event)
	switch {
	case err == nil:
		return out, event.Committed(), nil
	case errors.Is(err, pg.ErrUnknown):
		return resolve(ctx, w, u, []*audit.Pending{event}, out, err)
	}
	event.Lost()
	return out, audit.Receipt{}, errAgain
}

// settleAfter is how long a back-end that lost its client may go on with a
// COMMIT that it had already received.
const settleAfter = 3 * time.Second

// resolve finds out how a commit ended whose answer was lost: the event is in
// the log exactly if the change is.
func resolve[T any](ctx context.Context, w *Work, u *Unit, pending []*audit.Pending, out T, cause error) (T, audit.Receipt, error) {
	unsettled := fault.Wrap(fault.Unavailable, cause, "the outcome of the request is not known; repeat it with the same Idempotency-Key")
	for from := time.Now(); ; {
		found, err := pending[0].Exists(ctx)
		if err == nil && found {
			return out, pending[0].Committed(), nil
		}
		if err == nil && time.Since(from) > settleAfter {
			break
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return out, audit.Receipt{}, unsettled
		}
	}
	for _, p := range pending {
		p.Lost()
	}
	w.Outcome, w.Failure = audit.Unknown, nil
	receipt, lost := Record(ctx, w, u, fault.Wrap(fault.Unavailable, cause, "the change was not committed"))
	if lost != nil {
		return out, audit.Receipt{}, lost
	}
	return out, receipt, fault.Wrap(fault.Unavailable, cause, "the change was not committed; it is safe to repeat")
}

// Peek runs fn in a read-only transaction without an event of its own.
func Peek[T any](ctx context.Context, w Work, fn func(context.Context, *Unit) (T, error)) (out T, err error) {
	u := &Unit{w: &w, now: time.Now().UTC().Truncate(time.Microsecond)}
	session := w.Pool.Begin(pg.Entry{Role: w.Role, SearchPath: w.SearchPath, ReadOnly: true, Capability: func(backend uint32) string {
		return w.Host.Minter.Mint(w.Org.UUID(), w.Actor.Person().UUID(), backend, time.Now())
	}})
	out, err = guarded(ctx, u, session, fn)
	if err == nil {
		err = session.Finish(ctx)
	}
	if err != nil {
		session.Abort(ctx)
		var zero T
		return zero, err
	}
	return out, nil
}

var tableName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// Raw returns the rows of a table that the transaction may see, as text: what
// somebody reads who has the database and no keys. It is for the checks of the
// promises, which look for content there; the architecture test holds that.
func Raw(ctx context.Context, u *Unit, table string) (out []string, err error) {
	if !tableName.MatchString(table) {
		return nil, errors.New("store: not the name of a table")
	}
	s := u.s.Load()
	if s == nil {
		return nil, errClosed
	}
	rows, err := s.Query(ctx, "SELECT t::text FROM "+table+" t")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var row string
		if err := rows.Scan(&row); err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, rows.Err()
}
