// Package pg holds the only connections to PostgreSQL that serve requests,
// and speaks to it in as few round trips as the protocol allows.
//
// Being nested under store/internal, only the store's packages reach it: a
// feature cannot open a connection, nor write SQL that skips the door. A
// [Session] is one unit of work inside one organization. It sends nothing
// until its first statement. In a session that writes, BEGIN, the entry into
// the organization and that statement travel in one pipeline, and so do the
// audit row and COMMIT at the end. A change that is one statement is a [Pool.Volley]
// of one trip instead. In a session that reads, each statement is
// a pipeline of its own with the entry before it: PostgreSQL runs what stands
// between two Syncs as one transaction, the settings of the entry are local to
// it, and under READ COMMITTED each statement would see a snapshot of its own
// anyway.
//
// A connection is never trusted to be as it was left. Every entry sets role,
// search path, capability and the settings that durability and isolation rest
// on; statements are prepared under names that nobody can guess or list; and
// a connection that ends in any state but idle is closed, not handed on. A
// session that is over gives nothing more, not to a goroutine that was left
// behind either: the connection may be serving somebody else.
package pg

import (
	"container/list"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"strongroom/internal/base/seal"
)

// StatementTimeout bounds one statement on a serving connection. It also
// bounds how long a capability is of use.
const StatementTimeout = 30 * time.Second

// Pool is a set of connections of one login.
type Pool struct {
	pool      *pgxpool.Pool
	described *sync.Map
	trips     atomic.Int64
}

// Setting is a setting of the pool's connections.
type Setting struct{ Name, Value string }

// Open connects as the login that conn names. max bounds the connections.
func Open(ctx context.Context, conn string, max int32, settings ...Setting) (*Pool, error) {
	cfg, err := pgxpool.ParseConfig(conn)
	if err != nil {
		return nil, fmt.Errorf("pg: connection string: %w", err)
	}
	for _, s := range settings {
		cfg.ConnConfig.RuntimeParams[s.Name] = s.Value
	}
	cfg.MaxConns = max
	cfg.MaxConnIdleTime = 5 * time.Minute
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.ConnConfig.StatementCacheCapacity = 0
	cfg.ConnConfig.DescriptionCacheCapacity = 0
	// Statements find their rows by key: a plan that looks at the parameters
	// would be no better, and costs more than running it.
	cfg.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	cfg.ConnConfig.RuntimeParams["application_name"] = "strongroom"
	cfg.AfterConnect = connected
	cfg.AfterRelease = func(c *pgx.Conn) bool { return c.PgConn().TxStatus() == 'I' && asConnected(c.PgConn()) }
	p, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("pg: %w", err)
	}
	return &Pool{pool: p, described: descriptionsOf(cfg.ConnConfig)}, nil
}

// connected prepares a new connection for its first session.
func connected(ctx context.Context, c *pgx.Conn) error {
	asConnected(c.PgConn())
	return registerSealed(ctx, c)
}

// registerSealed tells pgx that the domain sr.sealed is bytea, so that sealed
// values travel as bytes and not as text.
func registerSealed(ctx context.Context, c *pgx.Conn) error {
	var oid, array uint32
	err := c.QueryRow(ctx, "SELECT oid, typarray FROM pg_catalog.pg_type WHERE typname = 'sealed' AND typtype = 'd'").Scan(&oid, &array)
	if err != nil {
		return fmt.Errorf("pg: the type sr.sealed: %w", err)
	}
	t := &pgtype.Type{Name: "sealed", OID: oid, Codec: pgtype.ByteaCodec{}}
	c.TypeMap().RegisterType(t)
	c.TypeMap().RegisterType(&pgtype.Type{Name: "_sealed", OID: array, Codec: &pgtype.ArrayCodec{ElementType: t}})
	return nil
}

// reported are the settings that PostgreSQL tells its client of whenever they
// change, so that looking at them costs nothing. In another encoding or style
// the next one's words would mean something else.
var reported = []string{"client_encoding", "standard_conforming_strings", "DateStyle", "IntervalStyle", "TimeZone", "session_authorization"}

const reportedKey = "strongroom.reported"

// asConnected reports whether those settings are what they were at first.
func asConnected(c *pgconn.PgConn) bool {
	first, ok := c.CustomData()[reportedKey].(map[string]string)
	if !ok {
		first = map[string]string{}
		for _, name := range reported {
			first[name] = c.ParameterStatus(name)
		}
		c.CustomData()[reportedKey] = first
	}
	for name, value := range first {
		if c.ParameterStatus(name) != value {
			return false
		}
	}
	return true
}

// Close waits for the connections in use and closes all.
func (p *Pool) Close() { p.pool.Close() }

// Raw gives the pool to the store's own maintenance: jobs and migrations.
// Nothing that serves a request uses it.
func (p *Pool) Raw() *pgxpool.Pool { return p.pool }

// Trips counts the round trips made through sessions of this pool, for the
// test that holds their number.
func (p *Pool) Trips() int64 { return p.trips.Load() }

// Stat says how many connections are open and in use.
func (p *Pool) Stat() (total, acquired int32) {
	s := p.pool.Stat()
	return s.TotalConns(), s.AcquiredConns()
}

// Entry is how a session enters an organization: as which role, on which
// search path, with which capability.
type Entry struct {
	Role       string
	SearchPath string
	Capability func(backend uint32) string // minted for the connection in use
	ReadOnly   bool
}

const (
	begin = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
	// row_security off would turn filtering into errors, synchronous_commit
	// off would lose an acknowledged write: whoever used the connection
	// before may have left either, so each entry sets them.
	enter = `SELECT set_config('role', $1, true), set_config('search_path', $2, true), set_config('sr.cap', $3, true),
 set_config('row_security', 'on', true), set_config('synchronous_commit', 'on', true), set_config('statement_timeout', '30000', true)`
	// transaction_read_only can be switched on at any moment of a transaction
	// and never off again.
	enterRead = `SELECT set_config('role', $1, true), set_config('search_path', $2, true), set_config('sr.cap', $3, true),
 set_config('row_security', 'on', true), set_config('statement_timeout', '30000', true), set_config('transaction_read_only', 'on', true)`
	// The closing statements are the login's own: an organization's role may
	// neither write events and jobs nor call set_config, so that no SQL inside
	// a request can. They name all in full: on one search path for all
	// organizations their plans stay valid from one to the next.
	leaveRole   = "SET LOCAL ROLE NONE"
	closingPath = "SET LOCAL search_path = pg_catalog, pg_temp"
)

// described caches what PostgreSQL says of a statement's parameters and
// result, by database and text. Every organization's schema has the same
// tables, so one answer serves all of a database; it is what lets a statement
// go out in binary form without a round trip of its own. Types have other
// numbers in another database.
var described sync.Map // database → *sync.Map of string → *pgconn.StatementDescription

func descriptionsOf(c *pgx.ConnConfig) *sync.Map {
	m, _ := described.LoadOrStore(fmt.Sprintf("%s:%d/%s", c.Host, c.Port, c.Database), &sync.Map{})
	return m.(*sync.Map)
}

// plans are the prepared statements of one connection, by search path and
// text: a plan belongs to the tables that the path leads to. The least
// recently used one goes when there are too many.
type plans struct {
	names map[planKey]*list.Element
	order *list.List // of *plan, most recently used first
}

type planKey struct{ path, sql string }

type plan struct {
	key  planKey
	name string
}

const plansKey = "strongroom.plans"

func plansOn(c *pgconn.PgConn) *plans {
	if m, ok := c.CustomData()[plansKey].(*plans); ok {
		return m
	}
	m := &plans{names: map[planKey]*list.Element{}, order: list.New()}
	c.CustomData()[plansKey] = m
	return m
}

// name returns the name of a statement's plan, and whether it must be
// prepared first; drop is a plan to give up for it.
func (m *plans) name(k planKey) (name string, fresh bool, drop string) {
	if e, ok := m.names[k]; ok {
		m.order.MoveToFront(e)
		return e.Value.(*plan).name, false, ""
	}
	if m.order.Len() >= maxPrepared {
		last := m.order.Back()
		old := m.order.Remove(last).(*plan)
		delete(m.names, old.key)
		drop = old.name
	}
	p := &plan{k, unguessable()}
	m.names[k] = m.order.PushFront(p)
	return p.name, true, drop
}

// A guessable name could be deallocated and given another meaning by SQL that
// ran earlier on the connection.
func unguessable() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return "s" + hex.EncodeToString(b[:])
}

// maxPrepared bounds the plans that one back-end keeps.
const maxPrepared = 256

// ErrLeft reports that a statement ended or broke the transaction it ran in.
var ErrLeft = errors.New("pg: the statement left its transaction")

// ErrVerb reports a statement that is no business of a request.
var ErrVerb = errors.New("pg: not a statement that a request may run")

// errEntry reports that the connection did not let the session enter: it was
// left in a state that no entry mends. Nothing of the session's own was run.
var errEntry = errors.New("pg: the connection could not be entered")

// errOver reports the use of a session that has ended.
var errOver = errors.New("pg: the session is over")

// allowed reports whether a request may run sql: SELECT, INSERT, UPDATE,
// DELETE, MERGE, VALUES or WITH, and nothing before it. PostgreSQL has no
// privilege for many of the others. EXPLAIN ANALYZE tells how many rows row
// level security hid, LOCK TABLE stops the whole pool, ALTER ROLE changes what
// a login begins with, NOTIFY wakes workers, COMMIT AND CHAIN ends a
// transaction and looks as if it had not, and SET outlasts the request. That
// only one statement is sent, PostgreSQL sees to.
func allowed(sql string) bool {
	sql = strings.TrimLeft(sql, " \t\r\n")
	end := strings.IndexFunc(sql, func(r rune) bool { return r < 'A' || r > 'z' || r > 'Z' && r < 'a' })
	if end < 0 || !strings.ContainsRune(" \t\r\n(", rune(sql[end])) || strings.IndexByte(sql, 0) >= 0 {
		return false
	}
	switch strings.ToUpper(sql[:end]) {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "VALUES", "WITH":
		return true
	}
	return false
}

// Session is one transaction on one connection, opened lazily. It may be used
// by one goroutine at a time; if more than one uses it all the same, they
// wait, and find it over in the end.
type Session struct {
	mu    sync.Mutex // over what follows, its rows included
	over  bool
	pool  *Pool
	entry Entry
	conn  *pgxpool.Conn
	// builder keeps its buffers from one statement to the next.
	builder pgx.ExtendedQueryBuilder
	begun   bool
	dirty   bool // an error or cancellation: not to be handed on without a clean rollback
	rows    *Rows
}

// Begin returns a session that has sent nothing yet.
func (p *Pool) Begin(e Entry) *Session { return &Session{pool: p, entry: e} }

// Begun reports whether anything was sent.
func (s *Session) Begun() bool { return s.begun }

// Statement is one statement with its arguments.
type Statement struct {
	SQL  string
	Args []any
	OIDs []uint32 // the types of Args, where the statement says them all itself
}

// Exec runs a statement and returns the number of rows it affected.
func (s *Session) Exec(ctx context.Context, sql string, args ...any) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows, err := s.run(ctx, Statement{SQL: sql, Args: args})
	if err != nil {
		return 0, err
	}
	rows.close()
	return rows.tag.RowsAffected(), rows.err
}

// Query runs a statement. The rows must be closed before the session's next
// statement; reading to the end closes them.
func (s *Session) Query(ctx context.Context, sql string, args ...any) (*Rows, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run(ctx, Statement{SQL: sql, Args: args})
}

// Finish sends the closing statements and COMMIT in one pipeline. Closing
// statements run before COMMIT in the same transaction. When it returns
// ErrUnknown, nobody knows yet whether the commit took place.
func (s *Session) Finish(ctx context.Context, closing ...Statement) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.rows != nil {
		s.rows.close()
	}
	if s.dirty {
		s.release(ctx)
		return ErrLeft
	}
	// In a session that reads, each statement was a transaction of its own and
	// is over.
	if s.entry.ReadOnly || !s.begun && len(closing) == 0 {
		s.release(ctx)
		return nil
	}
	err := s.finish(ctx, closing)
	if errors.Is(err, errEntry) {
		s.exchange(ctx)
		err = s.finish(ctx, closing)
	}
	if err != nil && !errors.Is(err, ErrUnknown) {
		err = s.failed(err)
	}
	s.release(ctx)
	return err
}

// ErrUnknown reports that the connection was lost while a commit was under
// way: it may or may not have taken place.
var ErrUnknown = errors.New("pg: the outcome of the commit is unknown")

// Abort rolls back, and closes the connection when even that fails.
func (s *Session) Abort(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.rows != nil {
		s.rows.close()
	}
	if s.conn == nil {
		return
	}
	if s.begun {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		c := s.conn.Conn().PgConn()
		switch {
		case c.IsClosed() || c.TxStatus() == 'I' && s.dirty:
			_ = s.conn.Conn().Close(ctx)
		case c.TxStatus() != 'I': // a session that reads has nothing open
			s.pool.trips.Add(1)
			if _, err := c.Exec(ctx, "ROLLBACK").ReadAll(); err != nil {
				_ = s.conn.Conn().Close(ctx)
			}
		}
	}
	s.release(ctx)
}

// Discard closes the connection instead of handing it on: after a panic or a
// cancellation nobody knows what it would carry along.
func (s *Session) Discard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.rows != nil {
		s.rows.done = true
	}
	if s.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Conn().Close(ctx)
	s.conn.Release()
	s.conn = nil
}

func (s *Session) acquire(ctx context.Context) error {
	if s.conn != nil {
		return nil
	}
	c, err := s.pool.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("pg: acquire: %w", err)
	}
	s.conn = c
	return nil
}

func (s *Session) release(ctx context.Context) {
	if s.conn == nil {
		return
	}
	if c := s.conn.Conn().PgConn(); !c.IsClosed() && c.TxStatus() != 'I' {
		_ = s.conn.Conn().Close(ctx)
	}
	s.conn.Release()
	s.conn = nil
}

// described returns the description of sql, asking PostgreSQL once in the
// process's life.
func (s *Session) described(ctx context.Context, sql string) (*pgconn.StatementDescription, error) {
	if d, ok := s.pool.described.Load(sql); ok {
		return d.(*pgconn.StatementDescription), nil
	}
	if !allowed(sql) {
		return nil, ErrVerb
	}
	// The names in sql mean something only inside the organization.
	c := s.conn.Conn().PgConn()
	p := c.StartPipeline(ctx)
	n := 0
	if !s.begun || s.entry.ReadOnly {
		n = s.queueOpen(p)
		s.begun = true
	}
	p.SendPrepare("", sql, nil)
	s.pool.trips.Add(1)
	err := p.Sync()
	if err == nil {
		err = entered(drain(p, n))
	}
	var d *pgconn.StatementDescription
	if err == nil {
		var r any
		if r, err = p.GetResults(); err == nil {
			d, _ = r.(*pgconn.StatementDescription)
		}
	}
	if cerr := p.Close(); err == nil {
		err = cerr
	}
	switch {
	case err == nil && d == nil:
		err = errors.New("pg: the statement was not described")
	case err == nil && c.TxStatus() != s.inside():
		err = ErrLeft
	}
	if err != nil {
		return nil, err
	}
	s.pool.described.Store(sql, d)
	return d, nil
}

// inside is the transaction status between two statements of the session.
func (s *Session) inside() byte {
	if s.entry.ReadOnly {
		return 'I'
	}
	return 'T'
}

// queueOpen puts BEGIN and the entry into a pipeline and says how many
// results they give.
func (s *Session) queueOpen(p *pgconn.Pipeline) int {
	args := [][]byte{[]byte(s.entry.Role), []byte(s.entry.SearchPath), []byte(s.entry.Capability(s.conn.Conn().PgConn().PID()))}
	if s.entry.ReadOnly {
		return s.queueText(p, enterRead, args...)
	}
	return s.queueText(p, begin) + s.queueText(p, enter, args...)
}

const textOID = 25

// queueText queues one of this package's own statements, whose parameters are
// all text.
func (s *Session) queueText(p *pgconn.Pipeline, sql string, values ...[]byte) (results int) {
	name, fresh, drop := plansOn(s.conn.Conn().PgConn()).name(planKey{"", sql})
	results = s.prepare(p, name, sql, fresh, drop, textOIDs[:len(values)])
	p.SendQueryPrepared(name, values, nil, nil)
	return results + 1
}

var textOIDs = []uint32{textOID, textOID, textOID}

func (s *Session) prepare(p *pgconn.Pipeline, name, sql string, fresh bool, drop string, oids []uint32) (results int) {
	if drop != "" {
		p.SendDeallocate(drop)
		results++
	}
	if fresh {
		p.SendPrepare(name, sql, oids)
		results++
	}
	return results
}

// queue puts a described statement into a pipeline.
func (s *Session) queue(p *pgconn.Pipeline, st Statement, d *pgconn.StatementDescription, path string) (results int, err error) {
	for i, a := range st.Args {
		st.Args[i] = direct(a)
	}
	if err := s.builder.Build(s.conn.Conn().TypeMap(), d, st.Args); err != nil {
		return 0, err
	}
	name, fresh, drop := plansOn(s.conn.Conn().PgConn()).name(planKey{path, st.SQL})
	results = s.prepare(p, name, st.SQL, fresh, drop, d.ParamOIDs)
	p.SendQueryPrepared(name, s.builder.ParamValues, s.builder.ParamFormats, s.builder.ResultFormats)
	return results + 1, nil
}

// direct unwraps types that pgx would otherwise encode by way of their
// database/sql text form.
func direct(a any) any {
	switch v := a.(type) {
	case uuid.UUID:
		return [16]byte(v)
	case *uuid.UUID:
		return (*[16]byte)(v)
	case seal.Sealed:
		return []byte(v)
	}
	return a
}

func (s *Session) run(ctx context.Context, st Statement) (*Rows, error) {
	if s.over {
		return nil, errOver
	}
	if s.rows != nil {
		s.rows.close()
	}
	if s.dirty {
		return nil, ErrLeft
	}
	rows, err := s.send(ctx, st)
	if errors.Is(err, errEntry) {
		s.exchange(ctx)
		rows, err = s.send(ctx, st)
	}
	if err != nil {
		return nil, s.failed(err)
	}
	return rows, nil
}

// exchange closes a connection that could not be entered; the next attempt
// takes another one.
func (s *Session) exchange(ctx context.Context) {
	_ = s.conn.Conn().Close(ctx)
	s.release(ctx)
	s.begun = false
}

// entered marks PostgreSQL's refusal of an entry.
func entered(err error) error {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return fmt.Errorf("%w: %w", errEntry, err)
	}
	return err
}

func (s *Session) send(ctx context.Context, st Statement) (*Rows, error) {
	if err := s.acquire(ctx); err != nil {
		return nil, err
	}
	d, err := s.described(ctx, st.SQL)
	if err != nil {
		return nil, err
	}
	c := s.conn.Conn().PgConn()
	p := c.StartPipeline(ctx)
	before := 0
	if !s.begun || s.entry.ReadOnly {
		before = s.queueOpen(p)
		s.begun = true
	}
	n, err := s.queue(p, st, d, s.entry.SearchPath)
	if err != nil {
		_ = p.Close()
		return nil, err
	}
	s.pool.trips.Add(1)
	if err = p.Sync(); err == nil {
		if err = entered(drain(p, before)); err == nil {
			err = drain(p, n-1)
		}
	}
	var rr *pgconn.ResultReader
	if err == nil {
		rr, err = reader(p)
	}
	if err != nil {
		_ = p.Close()
		return nil, err
	}
	s.rows = &Rows{s: s, p: p, rr: rr, rows: pgx.RowsFromResultReader(s.conn.Conn().TypeMap(), rr)}
	return s.rows, nil
}

// failed marks the session: PostgreSQL refuses further statements in a failed
// transaction, and a statement that failed to parse may have left a name that
// was never prepared.
func (s *Session) failed(err error) error {
	s.dirty = true
	if s.conn != nil {
		delete(s.conn.Conn().PgConn().CustomData(), plansKey)
		s.forget()
	}
	return err
}

// forget drops every prepared statement of the connection with the session's
// rollback: after an error the map and the server may disagree.
func (s *Session) forget() {
	c := s.conn.Conn().PgConn()
	if c.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if _, err := c.Exec(ctx, "ROLLBACK; DEALLOCATE ALL").ReadAll(); err != nil {
		_ = s.conn.Conn().Close(ctx)
	}
	s.pool.trips.Add(1)
	s.begun = false
}

func drain(p *pgconn.Pipeline, n int) error {
	for range n {
		r, err := p.GetResults()
		if err != nil {
			return err
		}
		if rr, ok := r.(*pgconn.ResultReader); ok {
			if _, err := rr.Close(); err != nil {
				return err
			}
		}
	}
	return nil
}

func reader(p *pgconn.Pipeline) (*pgconn.ResultReader, error) {
	r, err := p.GetResults()
	if err != nil {
		return nil, err
	}
	rr, ok := r.(*pgconn.ResultReader)
	if !ok {
		return nil, fmt.Errorf("pg: expected a result, got %T", r)
	}
	return rr, nil
}

func (s *Session) finish(ctx context.Context, closing []Statement) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	c := s.conn.Conn().PgConn()
	descriptions := make([]*pgconn.StatementDescription, len(closing))
	for i, st := range closing {
		if _, ok := s.pool.described.Load(st.SQL); !ok {
			// An organization's role may not even look up what it names.
			if err := s.leave(ctx); err != nil {
				return err
			}
		}
		d, err := s.described(ctx, st.SQL)
		if err != nil {
			return err
		}
		descriptions[i] = d
	}
	p := c.StartPipeline(ctx)
	before, n := 0, 0
	if !s.begun {
		before = s.queueOpen(p)
		s.begun = true
	}
	if len(closing) > 0 {
		n += s.queueText(p, leaveRole) + s.queueText(p, closingPath)
	}
	for i, st := range closing {
		m, err := s.queue(p, st, descriptions[i], "")
		if err != nil {
			_ = p.Close()
			return err
		}
		n += m
	}
	n += s.queueText(p, "COMMIT")
	s.pool.trips.Add(1)
	if err := p.Sync(); err != nil {
		_ = p.Close()
		s.dirty = true
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	err := entered(drain(p, before))
	if err == nil {
		err = drainCommit(p, n)
	}
	if cerr := p.Close(); err == nil && cerr != nil {
		err = cerr
	}
	switch {
	case err == nil && c.TxStatus() == 'I':
		s.begun = false
		return nil
	case err == nil:
		s.dirty = true
		return ErrLeft
	}
	if !rolledBack(err) {
		s.dirty = true
		_ = s.conn.Conn().Close(ctx)
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return err
}

// leave gives up the organization's role.
func (s *Session) leave(ctx context.Context) error {
	p := s.conn.Conn().PgConn().StartPipeline(ctx)
	before := 0
	if !s.begun {
		before = s.queueOpen(p)
		s.begun = true
	}
	n := s.queueText(p, leaveRole) + s.queueText(p, closingPath)
	s.pool.trips.Add(1)
	err := p.Sync()
	if err == nil {
		if err = entered(drain(p, before)); err == nil {
			err = drain(p, n)
		}
	}
	if cerr := p.Close(); err == nil {
		err = cerr
	}
	return err
}

var errRolledBack = errors.New("pg: the transaction was rolled back")

// drainCommit reads the results of a closing pipeline. COMMIT of a failed
// transaction answers ROLLBACK without an error, so its tag is read.
func drainCommit(p *pgconn.Pipeline, n int) error {
	for i := range n {
		r, err := p.GetResults()
		if err != nil {
			return err
		}
		rr, ok := r.(*pgconn.ResultReader)
		if !ok {
			continue
		}
		tag, err := rr.Close()
		if err != nil {
			return err
		}
		if i == n-1 && tag.String() != "COMMIT" {
			return errRolledBack
		}
	}
	return nil
}

// Rows are the result of a query. They hold the connection until closed.
type Rows struct {
	s    *Session
	p    *pgconn.Pipeline
	rr   *pgconn.ResultReader
	rows pgx.Rows
	tag  pgconn.CommandTag
	err  error
	done bool
}

// Next moves to the next row.
func (r *Rows) Next() bool {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.done {
		return false
	}
	if r.rows.Next() {
		return true
	}
	r.close()
	return false
}

// Scan reads the current row. Once the rows are closed there is none: the
// buffer that it was read into is used again, for another one's rows too.
func (r *Rows) Scan(dest ...any) error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.done {
		return errOver
	}
	for i, d := range dest {
		switch v := d.(type) {
		case *uuid.UUID:
			dest[i] = (*[16]byte)(v)
		case *seal.Sealed:
			dest[i] = (*[]byte)(v)
		}
	}
	return r.rows.Scan(dest...)
}

// Err returns the error that ended the rows.
func (r *Rows) Err() error { return r.err }

// Close reads the rest and leaves the session ready for its next statement.
func (r *Rows) Close() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.close()
}

func (r *Rows) close() {
	if r.done {
		return
	}
	r.done = true
	r.rows.Close()
	r.tag, r.err = r.rows.CommandTag(), r.rows.Err()
	if err := r.p.Close(); r.err == nil && err != nil {
		r.err = err
	}
	if r.s.rows == r {
		r.s.rows = nil
	}
	switch {
	case r.err != nil:
		r.err = r.s.failed(r.err)
	case r.s.conn.Conn().PgConn().TxStatus() != r.s.inside():
		// A COMMIT or ROLLBACK among the statements: what follows would run
		// outside the organization.
		r.err = ErrLeft
		r.s.dirty = true
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = r.s.conn.Conn().Close(ctx)
	}
}
