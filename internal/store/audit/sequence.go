package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"strongroom/internal/base/id"
)

const (
	// sequenceEvery is how often the leader looks for pending rows. A busy
	// leader does not wait.
	sequenceEvery = 10 * time.Millisecond
	idleEvery     = 100 * time.Millisecond
	maxSequence   = 2000
	leaseFor      = 5 * time.Second
	// gapAfter is how long a missing number may be on its way: longer than any
	// transaction of the door lives.
	gapAfter = 90 * time.Second
)

// sequence gives pending events their place in their organization's log. One
// process leads at a time, by a lease row with a fence; the primary key
// (org_id, idx) stops a second writer even so.
func (l *Log) sequence(ctx context.Context) {
	s := sequencer{l: l, holder: l.chain.server.UUID(), chains: map[uuid.UUID]*chainState{}}
	wait := sequenceEvery
	for {
		select {
		case <-l.done:
			s.step(ctx)
			s.resign(ctx)
			return
		case <-time.After(wait):
		}
		n := s.step(ctx)
		switch {
		case n == maxSequence:
			wait = 0
		case n > 0:
			wait = sequenceEvery
		default:
			wait = min(wait*2+time.Millisecond, idleEvery)
		}
	}
}

type sequencer struct {
	l       *Log
	holder  uuid.UUID
	fence   int64
	expires time.Time
	failing bool
	renewed bool // the lease was written in the transaction under way
	chains  map[uuid.UUID]*chainState
}

// chainState is what leaders have seen of one server's chain: everything up to
// seq, and rows that arrived ahead of a missing one. It is stored in the
// transaction that moves the rows, so a new leader goes on where the old one
// stood.
type chainState struct {
	seq     int64
	hash    [32]byte
	ahead   map[int64]chainRow
	missing time.Time
	changed bool
	// recent are the links that this leader followed itself, and since is
	// where it began: what comes a second time must be the same.
	recent map[int64][32]byte
	since  int64
}

// maxRecent bounds recent. An event and its void come within seconds.
const maxRecent = 1 << 14

type chainRow struct {
	Org   uuid.UUID `json:"org"`
	Leaf  []byte    `json:"leaf"`
	Chain []byte    `json:"chain"`
}

func (s *sequencer) step(ctx context.Context) int {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	n, err := s.try(ctx)
	if err != nil {
		if !s.failing && !errors.Is(err, errNotLeader) {
			s.l.log.Error("audit: sequencing failed; events wait in audit.pending", "err", err)
		}
		s.failing = !errors.Is(err, errNotLeader)
		return 0
	}
	s.failing = false
	return n
}

var errNotLeader = errors.New("audit: another server leads")

// sequenceSQL moves pending rows into the log in one statement. A row that is
// void only closes its number in the chain.
const sequenceSQL = `WITH taken AS (
  DELETE FROM audit.pending WHERE ctid = ANY (ARRAY(SELECT ctid FROM audit.pending WHERE xid >= $2::text::xid8 ORDER BY xid LIMIT $1))
  RETURNING org_id, event_id, server, seq, chain, leaf, body, openings, void
), numbered AS (
  SELECT *, row_number() OVER (PARTITION BY org_id ORDER BY event_id) AS n
  FROM taken WHERE NOT void
), heads AS (
  SELECT h.org_id, (SELECT coalesce(max(e.idx) + 1, 0) FROM audit.event e WHERE e.org_id = h.org_id) AS start
  FROM audit.head h WHERE h.org_id IN (SELECT DISTINCT t.org_id FROM numbered t)
), placed AS (
  INSERT INTO audit.event (org_id, idx, event_id, leaf, body, openings)
  SELECT n.org_id, h.start + n.n - 1, n.event_id, n.leaf, n.body, n.openings
  FROM numbered n JOIN heads h ON h.org_id = n.org_id
  RETURNING 1
)
SELECT org_id, server, seq, chain, leaf, (SELECT count(*) FROM placed), (SELECT count(*) FROM numbered) FROM taken ORDER BY server, seq`

const (
	horizonSQL = `SELECT pg_snapshot_xmin(pg_current_snapshot())::text`
	fenceSQL   = `SELECT fence FROM audit.leader WHERE holder = $1`
	keepSQL    = `INSERT INTO audit.server_chain (server, seq, chain, ahead) VALUES ($1, $2, $3, $4::text::jsonb)
 ON CONFLICT (server) DO UPDATE SET seq = excluded.seq, chain = excluded.chain, ahead = excluded.ahead`
)

// stepSQL are the statements of a step. Parsed and planned at each, a hundred
// times a second, they took a seventh of the database's time under writes.
var stepSQL = []string{sequenceSQL, horizonSQL, fenceSQL, keepSQL}

// prepare prepares them, once on each connection.
func prepare(ctx context.Context, c *pgx.Conn) error {
	for _, sql := range stepSQL {
		if _, err := c.Prepare(ctx, sql, sql); err != nil {
			return err
		}
	}
	return nil
}

func (s *sequencer) try(ctx context.Context) (int, error) {
	// A leader with nothing to do keeps out of the way of the group commit.
	if time.Until(s.expires) > leaseFor/2 {
		var work bool
		if err := s.l.pool.Raw().QueryRow(ctx, `SELECT EXISTS (SELECT FROM audit.pending WHERE xid >= $1::text::xid8)`, s.l.drained()).Scan(&work); err != nil || !work && !s.overdue() {
			return 0, err
		}
	}
	s.l.placing.Lock()
	defer s.l.placing.Unlock()
	tx, err := s.l.pool.Raw().Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := prepare(ctx, tx.Conn()); err != nil {
		return 0, err
	}
	if err := s.lead(ctx, tx); err != nil {
		return 0, err
	}
	// Rows of transactions that had ended before this moment are all visible
	// to the statement below.
	low := s.l.drained()
	var horizon string
	if err := tx.QueryRow(ctx, horizonSQL).Scan(&horizon); err != nil {
		return 0, err
	}
	rows, err := tx.Query(ctx, sequenceSQL, maxSequence, low)
	if err != nil {
		return 0, err
	}
	type taken struct {
		server uuid.UUID
		seq    int64
		chainRow
	}
	var got []taken
	var placed, numbered int64
	for rows.Next() {
		var t taken
		if err := rows.Scan(&t.Org, &t.server, &t.seq, &t.Chain, &t.Leaf, &placed, &numbered); err != nil {
			return 0, err
		}
		got = append(got, t)
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	if placed != numbered {
		return 0, fmt.Errorf("audit: %d of %d events belong to an organization without a log", numbered-placed, numbered)
	}
	if len(got) == 0 && !s.renewed && !s.overdue() {
		return 0, nil
	}
	for _, t := range got {
		if err := s.follow(ctx, tx, t.server, t.seq, t.chainRow); err != nil {
			s.chains = map[uuid.UUID]*chainState{}
			return 0, err
		}
	}
	s.gaps()
	if err = s.keep(ctx, tx); err == nil {
		err = tx.Commit(ctx)
	}
	if err != nil {
		// What was followed in memory did not take place.
		s.expires, s.chains = time.Time{}, map[uuid.UUID]*chainState{}
		return 0, err
	}
	if len(got) < maxSequence {
		s.l.low.Store(&horizon)
	}
	if s.renewed {
		s.renewed = false
		s.l.fence.Store(s.fence)
	}
	return len(got), nil
}

// keep stores how far each chain was followed.
func (s *sequencer) keep(ctx context.Context, tx pgx.Tx) error {
	for server, c := range s.chains {
		if !c.changed {
			continue
		}
		ahead, err := json.Marshal(c.ahead)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, keepSQL, server, c.seq, c.hash[:], string(ahead)); err != nil {
			return err
		}
		c.changed = false
	}
	return nil
}

// state returns what is known of a server's chain. A server that nobody has
// seen begins at its first link, which only this installation can compute.
func (s *sequencer) state(ctx context.Context, tx pgx.Tx, server uuid.UUID) (*chainState, error) {
	if c := s.chains[server]; c != nil {
		return c, nil
	}
	c := &chainState{hash: s.l.first(server), ahead: map[int64]chainRow{}}
	var hash []byte
	var ahead string
	err := tx.QueryRow(ctx, `SELECT seq, chain, ahead::text FROM audit.server_chain WHERE server = $1`, server).Scan(&c.seq, &hash, &ahead)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
	case err != nil:
		return nil, err
	default:
		copy(c.hash[:], hash)
		if err := json.Unmarshal([]byte(ahead), &c.ahead); err != nil {
			return nil, fmt.Errorf("audit: the state of a chain: %w", err)
		}
		if len(c.ahead) > 0 {
			c.missing = time.Now()
		}
	}
	c.since, c.recent = c.seq, map[int64][32]byte{}
	s.chains[server] = c
	return c, nil
}

// lead takes or keeps the lease. The row lock orders two servers that try at
// once; the fence rises at each change of hands.
func (s *sequencer) lead(ctx context.Context, tx pgx.Tx) error {
	if time.Until(s.expires) > leaseFor/2 {
		var fence int64
		if err := tx.QueryRow(ctx, fenceSQL, s.holder).Scan(&fence); err == nil && fence == s.fence {
			return nil
		} else if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
	}
	err := tx.QueryRow(ctx, `UPDATE audit.leader SET holder = $1, expires_at = clock_timestamp() + $2::int * interval '1 millisecond',
 fence = CASE WHEN holder = $1 THEN fence ELSE fence + 1 END
 WHERE holder = $1 OR holder IS NULL OR expires_at < clock_timestamp() RETURNING fence`, s.holder, leaseFor.Milliseconds()).Scan(&s.fence)
	if errors.Is(err, pgx.ErrNoRows) {
		s.expires = time.Time{}
		s.l.fence.Store(0)
		s.l.low.Store(nil)
		return errNotLeader
	}
	if err == nil {
		s.expires = time.Now().Add(leaseFor)
		s.renewed = true
	}
	return err
}

// resign hands the lease on at once instead of letting it run out.
func (s *sequencer) resign(ctx context.Context) {
	if s.expires.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, _ = s.l.pool.Raw().Exec(ctx, `UPDATE audit.leader SET expires_at = clock_timestamp() WHERE holder = $1`, s.holder)
}

// follow checks that a row continues its server's chain. Rows may arrive out
// of order, as transactions commit when they do.
func (s *sequencer) follow(ctx context.Context, tx pgx.Tx, server uuid.UUID, seq int64, r chainRow) error {
	c, err := s.state(ctx, tx, server)
	if err != nil {
		return err
	}
	if first, twice := c.ahead[seq]; seq <= c.seq || twice {
		// The second of an event and its void: the first one counted. Any
		// other row under a number that was given is not ours.
		known, followed := c.recent[seq]
		if followed && !bytes.Equal(known[:], r.Chain) || twice && !bytes.Equal(first.Chain, r.Chain) || !followed && !twice && seq > c.since {
			s.l.broken.Add(1)
			s.l.log.Error("audit: a second pending row has a number that was given to another", "server", id.ServerOf(server).String(), "seq", seq)
		}
		return nil
	}
	c.changed = true
	c.ahead[seq] = r
	for {
		next, ok := c.ahead[c.seq+1]
		if !ok {
			break
		}
		delete(c.ahead, c.seq+1)
		want := linkHash(c.hash, c.seq+1, next.Org, next.Leaf)
		if !bytes.Equal(want[:], next.Chain) {
			s.l.broken.Add(1)
			s.l.log.Error("audit: a pending row does not continue its server's chain", "server", id.ServerOf(server).String(), "seq", c.seq+1)
		}
		c.seq, c.hash, c.missing = c.seq+1, [32]byte(next.Chain), time.Time{}
		if len(c.recent) >= maxRecent {
			c.recent, c.since = map[int64][32]byte{}, c.seq-1
		}
		c.recent[c.seq] = c.hash
	}
	if len(c.ahead) > 0 && c.missing.IsZero() {
		c.missing = time.Now()
	}
	return nil
}

// overdue reports whether a number is missing for so long that it will not
// come any more.
func (s *sequencer) overdue() bool {
	for _, c := range s.chains {
		if len(c.ahead) > 0 && time.Since(c.missing) >= s.l.gap {
			return true
		}
	}
	return false
}

// gaps reports numbers that stayed away longer than any transaction lives:
// a row was removed before it was sequenced, or a server died in mid-commit.
func (s *sequencer) gaps() {
	for server, c := range s.chains {
		if len(c.ahead) == 0 || time.Since(c.missing) < s.l.gap {
			continue
		}
		lowest := int64(0)
		for seq := range c.ahead {
			if lowest == 0 || seq < lowest {
				lowest = seq
			}
		}
		s.l.broken.Add(1)
		s.l.log.Error("audit: events are missing from a server's chain", "server", id.ServerOf(server).String(), "from", c.seq+1, "to", lowest-1)
		c.seq, c.hash, c.missing = lowest, [32]byte(c.ahead[lowest].Chain), time.Time{}
		c.changed = true
		delete(c.ahead, lowest)
	}
}
