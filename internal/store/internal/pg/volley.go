package pg

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// enterLogin is the first half of an entry: the capability and the settings
	// that durability and isolation rest on, with the role still the login's.
	// Whoever used the connection before may have left any of them.
	enterLogin = `SELECT set_config('role', 'none', true), set_config('search_path', 'pg_catalog, pg_temp', true), set_config('sr.cap', $1, true),
 set_config('row_security', 'on', true), set_config('synchronous_commit', 'on', true), set_config('statement_timeout', '30000', true)`
	// enterRole is the second half.
	enterRole = `SELECT set_config('role', $1, true), set_config('search_path', $2, true)`
	// impatient bounds how long the statements of a volley wait for a lock, so
	// that one of them does not hold up the others for long. One that is alone
	// waits as any statement does.
	impatient = `SELECT set_config('lock_timeout', '250', true)`
)

// Volley runs statements in one transaction and one round trip, each exactly
// once or none at all: first those of the login itself, which write the events,
// then, inside the organization, what they are events of. There is neither
// BEGIN nor COMMIT: PostgreSQL runs what stands between two Syncs as one
// transaction and flushes it before it answers. Nobody sees a result before
// that, so a statement must be one that fails when it does not do its work.
//
// An error of PostgreSQL's own means that nothing took place. ErrUnknown means
// that nobody knows yet.
func (p *Pool) Volley(ctx context.Context, e Entry, events Statement, each []Statement) error {
	s := p.Begin(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.over = true; s.release(ctx) }()
	if err := s.acquire(ctx); err != nil {
		return err
	}
	descriptions := make([]*pgconn.StatementDescription, len(each))
	for i, st := range each {
		d, err := s.glimpse(ctx, st.SQL)
		if err != nil {
			return s.failed(err)
		}
		descriptions[i] = d
	}
	sent, err := s.volley(ctx, events, each, descriptions)
	switch {
	case err == nil && s.conn.Conn().PgConn().TxStatus() == 'I':
		return nil
	case err == nil:
		_ = s.conn.Conn().Close(ctx)
		return ErrLeft
	case errors.Is(err, errEntry):
		_ = s.conn.Conn().Close(ctx)
		return err
	case !sent || rolledBack(err):
		return s.failed(err)
	}
	_ = s.conn.Conn().Close(ctx)
	return fmt.Errorf("%w: %w", ErrUnknown, err)
}

// rolledBack reports whether err, the answer to a commit, says that it did not
// take place. A back-end that is told to end may have committed before it says
// so: what is FATAL settles nothing.
func rolledBack(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.SeverityUnlocalized == "ERROR" || errors.Is(err, errRolledBack)
}

// glimpse asks what a statement looks like, in a transaction of its own that
// may only read.
func (s *Session) glimpse(ctx context.Context, sql string) (*pgconn.StatementDescription, error) {
	reading := s.entry.ReadOnly
	s.entry.ReadOnly = true
	defer func() { s.entry.ReadOnly, s.begun = reading, false }()
	return s.described(ctx, sql)
}

func (s *Session) volley(ctx context.Context, events Statement, each []Statement, descriptions []*pgconn.StatementDescription) (sent bool, err error) {
	c := s.conn.Conn().PgConn()
	p := c.StartPipeline(ctx)
	enter := s.queueText(p, enterLogin, []byte(s.entry.Capability(c.PID())))
	n, err := s.queue(p, events, &pgconn.StatementDescription{ParamOIDs: events.OIDs}, "")
	if err != nil {
		_ = p.Close()
		return false, err
	}
	if len(each) > 1 {
		n += s.queueText(p, impatient)
	}
	n += s.queueText(p, enterRole, []byte(s.entry.Role), []byte(s.entry.SearchPath))
	for i, st := range each {
		m, err := s.queue(p, st, descriptions[i], s.entry.SearchPath)
		if err != nil {
			_ = p.Close()
			return false, err
		}
		n += m
	}
	s.pool.trips.Add(1)
	if err := p.Sync(); err != nil {
		_ = p.Close()
		return true, err
	}
	if err = entered(drain(p, enter)); err == nil {
		err = drain(p, n)
	}
	// The commit's own refusal, as of a change without an event, comes last.
	if cerr := p.Close(); err == nil {
		err = cerr
	}
	return true, err
}
