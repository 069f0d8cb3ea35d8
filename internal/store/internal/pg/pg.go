// Package pg holds the only connections to PostgreSQL that serve requests,
// and speaks to it in as few round trips as the protocol allows.
//
// Being nested under store/internal, only the store's packages reach it: a
// feature cannot open a connection, nor write SQL that skips the door. A
// [Session] is one transaction. It sends nothing until its first statement;
// BEGIN, the entry into the organization and that statement then travel in
// one pipeline, and so do the audit row and COMMIT at the end.
//
// A connection is never trusted to be as it was left. Every entry sets role,
// search path, capability and the settings that durability and isolation rest
// on; statements are prepared under names that nobody can guess or list; and
// a connection that ends in any state but idle is closed, not handed on.
package pg

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// StatementTimeout bounds one statement on a serving connection. It also
// bounds how long a capability is of use.
const StatementTimeout = 30 * time.Second

// Pool is a set of connections of one login.
type Pool struct {
	pool  *pgxpool.Pool
	trips atomic.Int64
}

// Open connects as the login that conn names. max bounds the connections.
func Open(ctx context.Context, conn string, max int32) (*Pool, error) {
	cfg, err := pgxpool.ParseConfig(conn)
	if err != nil {
		return nil, fmt.Errorf("pg: connection string: %w", err)
	}
	cfg.MaxConns = max
	cfg.MaxConnIdleTime = 5 * time.Minute
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.ConnConfig.StatementCacheCapacity = 0
	cfg.ConnConfig.DescriptionCacheCapacity = 0
	cfg.AfterRelease = func(c *pgx.Conn) bool { return c.PgConn().TxStatus() == 'I' }
	p, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("pg: %w", err)
	}
	return &Pool{pool: p}, nil
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
	Prepare    bool // use prepared statements: one search path for all (pooled)
}

const (
	beginWrite = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
	beginRead  = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"
	// row_security off would turn filtering into errors, synchronous_commit
	// off would lose an acknowledged write: whoever used the connection
	// before may have left either, so each entry sets them.
	enter = `SELECT set_config('role', $1, true), set_config('search_path', $2, true), set_config('sr.cap', $3, true),
 set_config('row_security', 'on', true), set_config('synchronous_commit', 'on', true), set_config('statement_timeout', '30000', true)`
)

// describe caches what PostgreSQL says of a statement's parameters and
// result, by text. Every organization's schema has the same tables, so one
// answer serves all; it is what lets a statement go out in binary form
// without a round trip of its own.
var describe sync.Map // string → *pgconn.StatementDescription

// prepared maps a statement's text to its name on one connection.
type prepared map[string]string

const preparedKey = "strongroom.prepared"

func preparedOn(c *pgconn.PgConn) prepared {
	if m, ok := c.CustomData()[preparedKey].(prepared); ok {
		return m
	}
	m := prepared{}
	c.CustomData()[preparedKey] = m
	return m
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

// Session is one transaction on one connection, opened lazily. It is used by
// one goroutine at a time.
type Session struct {
	pool  *Pool
	entry Entry
	conn  *pgxpool.Conn
	begun bool
	dirty bool // an error or cancellation: not to be handed on without a clean rollback
	rows  *Rows
}

// Begin returns a session that has sent nothing yet.
func (p *Pool) Begin(e Entry) *Session { return &Session{pool: p, entry: e} }

// Begun reports whether anything was sent.
func (s *Session) Begun() bool { return s.begun }

// Statement is one statement with its arguments.
type Statement struct {
	SQL  string
	Args []any
}

// Exec runs a statement and returns the number of rows it affected.
func (s *Session) Exec(ctx context.Context, sql string, args ...any) (int64, error) {
	rows, err := s.Query(ctx, sql, args...)
	if err != nil {
		return 0, err
	}
	rows.Close()
	return rows.tag.RowsAffected(), rows.Err()
}

// Query runs a statement. The rows must be closed before the session's next
// statement; reading to the end closes them.
func (s *Session) Query(ctx context.Context, sql string, args ...any) (*Rows, error) {
	return s.run(ctx, Statement{sql, args})
}

// Finish sends the closing statements and COMMIT in one pipeline. Closing
// statements run before COMMIT in the same transaction. When it returns
// ErrUnknown, nobody knows yet whether the commit took place.
func (s *Session) Finish(ctx context.Context, closing ...Statement) error {
	if s.rows != nil {
		s.rows.Close()
	}
	if !s.begun && len(closing) == 0 {
		return nil
	}
	if !s.begun {
		if err := s.acquire(ctx); err != nil {
			return err
		}
	}
	err := s.finish(ctx, closing)
	s.release(ctx)
	return err
}

// ErrUnknown reports that the connection was lost while a commit was under
// way: it may or may not have taken place.
var ErrUnknown = errors.New("pg: the outcome of the commit is unknown")

// Abort rolls back, and closes the connection when even that fails.
func (s *Session) Abort(ctx context.Context) {
	if s.rows != nil {
		s.rows.Close()
	}
	if s.conn == nil {
		return
	}
	if s.begun {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		c := s.conn.Conn().PgConn()
		if c.IsClosed() || c.TxStatus() == 'I' && s.dirty {
			_ = s.conn.Conn().Close(ctx)
		} else if _, err := c.Exec(ctx, "ROLLBACK").ReadAll(); err != nil {
			_ = s.conn.Conn().Close(ctx)
		}
		s.pool.trips.Add(1)
	}
	s.release(ctx)
}

// Discard closes the connection instead of handing it on: after a panic or a
// cancellation nobody knows what it would carry along.
func (s *Session) Discard() {
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
	if d, ok := describe.Load(sql); ok {
		return d.(*pgconn.StatementDescription), nil
	}
	c := s.conn.Conn().PgConn()
	if !s.begun {
		// The names in sql mean something only inside the organization.
		if err := s.open(ctx); err != nil {
			return nil, err
		}
	}
	s.pool.trips.Add(1)
	d, err := c.Prepare(ctx, "", sql, nil)
	if err != nil {
		s.dirty = true
		return nil, err
	}
	describe.Store(sql, d)
	return d, nil
}

// open sends BEGIN and the entry on their own.
func (s *Session) open(ctx context.Context) error {
	c := s.conn.Conn().PgConn()
	p := c.StartPipeline(ctx)
	n, err := s.queueOpen(p)
	if err == nil {
		err = p.Sync()
	}
	s.pool.trips.Add(1)
	if err == nil {
		err = drain(p, n)
	}
	if cerr := p.Close(); err == nil {
		err = cerr
	}
	if err == nil && c.TxStatus() != 'T' {
		err = ErrLeft
	}
	if err != nil {
		s.dirty = true
	}
	s.begun = true
	return err
}

// queueOpen puts BEGIN and the entry into a pipeline and says how many
// results they give.
func (s *Session) queueOpen(p *pgconn.Pipeline) (int, error) {
	begin := beginWrite
	if s.entry.ReadOnly {
		begin = beginRead
	}
	n := s.queueKnown(p, begin, nil, nil)
	args := [][]byte{[]byte(s.entry.Role), []byte(s.entry.SearchPath), []byte(s.entry.Capability(s.conn.Conn().PgConn().PID()))}
	n += s.queueKnown(p, enter, args, []uint32{textOID, textOID, textOID})
	return n, nil
}

const textOID = 25

// queueKnown queues a statement whose parameters are text, preparing it when
// this connection has not seen it.
func (s *Session) queueKnown(p *pgconn.Pipeline, sql string, values [][]byte, oids []uint32) (results int) {
	names := preparedOn(s.conn.Conn().PgConn())
	name, ok := names[sql]
	if !ok {
		name = unguessable()
		names[sql] = name
		p.SendPrepare(name, sql, oids)
		results++
	}
	p.SendQueryPrepared(name, values, nil, nil)
	return results + 1
}

// queue puts a described statement into a pipeline.
func (s *Session) queue(p *pgconn.Pipeline, st Statement, d *pgconn.StatementDescription, prepare bool) (results int, err error) {
	var b pgx.ExtendedQueryBuilder
	if err := b.Build(s.conn.Conn().TypeMap(), d, st.Args); err != nil {
		return 0, err
	}
	if !prepare {
		p.SendQueryParams(st.SQL, b.ParamValues, d.ParamOIDs, b.ParamFormats, b.ResultFormats)
		return 1, nil
	}
	names := preparedOn(s.conn.Conn().PgConn())
	name, ok := names[st.SQL]
	if !ok {
		if len(names) >= maxPrepared {
			for sql, old := range names {
				p.SendDeallocate(old)
				delete(names, sql)
				results++
				break
			}
		}
		name = unguessable()
		names[st.SQL] = name
		p.SendPrepare(name, st.SQL, d.ParamOIDs)
		results++
	}
	p.SendQueryPrepared(name, b.ParamValues, b.ParamFormats, b.ResultFormats)
	return results + 1, nil
}

func (s *Session) run(ctx context.Context, st Statement) (*Rows, error) {
	if s.rows != nil {
		s.rows.Close()
	}
	if s.dirty {
		return nil, ErrLeft
	}
	if err := s.acquire(ctx); err != nil {
		return nil, err
	}
	d, err := s.described(ctx, st.SQL)
	if err != nil {
		return nil, s.failed(err)
	}
	c := s.conn.Conn().PgConn()
	p := c.StartPipeline(ctx)
	before := 0
	if !s.begun {
		if before, err = s.queueOpen(p); err != nil {
			_ = p.Close()
			return nil, s.failed(err)
		}
		s.begun = true
	}
	n, err := s.queue(p, st, d, s.entry.Prepare)
	if err != nil {
		s.dirty = true
		_ = p.Close()
		return nil, err
	}
	s.pool.trips.Add(1)
	if err = p.Sync(); err == nil {
		err = drain(p, before+n-1)
	}
	var rr *pgconn.ResultReader
	if err == nil {
		rr, err = reader(p)
	}
	if err != nil {
		_ = p.Close()
		return nil, s.failed(err)
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
		delete(s.conn.Conn().PgConn().CustomData(), preparedKey)
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
	if s.dirty {
		return ErrLeft
	}
	c := s.conn.Conn().PgConn()
	descriptions := make([]*pgconn.StatementDescription, len(closing))
	for i, st := range closing {
		d, err := s.described(ctx, st.SQL)
		if err != nil {
			return s.failed(err)
		}
		descriptions[i] = d
	}
	p := c.StartPipeline(ctx)
	n := 0
	if !s.begun {
		m, err := s.queueOpen(p)
		if err != nil {
			_ = p.Close()
			return s.failed(err)
		}
		n, s.begun = m, true
	}
	for i, st := range closing {
		// Closing statements are the store's own and name their tables in
		// full, so one plan serves every search path.
		m, err := s.queue(p, st, descriptions[i], true)
		if err != nil {
			_ = p.Close()
			return s.failed(err)
		}
		n += m
	}
	n += s.queueKnown(p, "COMMIT", nil, nil)
	s.pool.trips.Add(1)
	if err := p.Sync(); err != nil {
		_ = p.Close()
		s.dirty = true
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	err := drainCommit(p, n)
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
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) && !errors.Is(err, errRolledBack) {
		s.dirty = true
		_ = s.conn.Conn().Close(ctx)
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	return s.failed(err)
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
	if r.done {
		return false
	}
	if r.rows.Next() {
		return true
	}
	r.Close()
	return false
}

// Scan reads the current row.
func (r *Rows) Scan(dest ...any) error {
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	return nil
}

// Err returns the error that ended the rows.
func (r *Rows) Err() error { return r.err }

// Close reads the rest and leaves the session ready for its next statement.
func (r *Rows) Close() {
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
	case r.s.conn.Conn().PgConn().TxStatus() != 'T':
		// A COMMIT or ROLLBACK among the statements: what follows would run
		// outside the organization.
		r.err = ErrLeft
		r.s.dirty = true
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = r.s.conn.Conn().Close(ctx)
	}
}
