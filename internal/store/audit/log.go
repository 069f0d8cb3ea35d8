package audit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/seal"
	"strongroom/internal/store/internal/pg"
)

// Receipt is the proof that an event is durable. Only this package makes one;
// the zero Receipt proves nothing.
type Receipt struct{ event id.Event }

// Event returns the identifier of the durable event.
func (r Receipt) Event() id.Event { return r.event }

// IsZero reports whether r proves nothing.
func (r Receipt) IsZero() bool { return r.event.IsZero() }

// Options configures a Log.
type Options struct {
	URL  string // connection string of the login sr_audit
	Keys func(id.Org) seal.Keys
	Log  *slog.Logger
	// Gap is how long a missing number may be on its way before it counts as
	// taken out; 0: longer than any transaction of the doors lives.
	Gap time.Duration
}

const (
	// maxQueue bounds the events that wait for the group commit. A full queue
	// refuses requests instead of answering them unrecorded.
	maxQueue = 4096
	maxBatch = 512
)

// Log writes events. One serves a whole process.
type Log struct {
	pool *pg.Pool
	keys func(id.Org) seal.Keys
	log  *slog.Logger
	gap  time.Duration
	// chainKey makes the first link of each server's chain.
	chainKey *seal.Hasher
	chain    chain
	// broken counts rows that did not continue their chain, and gaps.
	broken atomic.Int64
	// fence is that of this process's lease while it leads, else 0.
	fence atomic.Int64
	// low is a transaction below which nothing is pending any more: looking
	// from there, nobody walks over the remains of what was sequenced since
	// the table was last vacuumed.
	low     atomic.Pointer[string]
	placing sync.Mutex
	queue   chan waiting
	done    chan struct{}
	stop    context.CancelFunc
	wg      sync.WaitGroup
	closing sync.Once
}

type waiting struct {
	row   row
	reply chan error
}

// Open connects and starts the group commit and the sequencer.
func Open(ctx context.Context, o Options) (*Log, error) {
	if o.Keys == nil {
		return nil, errors.New("audit: Options.Keys is required")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	// A queue that was just emptied looks small to the planner and is not: it
	// is always entered by its index.
	pool, err := pg.Open(ctx, o.URL, 4, pg.Setting{Name: "enable_seqscan", Value: "off"})
	if err != nil {
		return nil, err
	}
	if o.Gap == 0 {
		o.Gap = gapAfter
	}
	// The first link of every chain is keyed: rows put in by other hands cannot
	// begin one.
	key, err := seal.NewHasher(ctx, o.Keys(id.Installation), keytree.LeafAudit, "chain")
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("audit: chain key: %w", err)
	}
	run, stop := context.WithCancel(context.Background())
	l := &Log{pool: pool, keys: o.Keys, log: o.Log, gap: o.Gap, chainKey: key, chain: chain{server: id.NewServer()},
		queue: make(chan waiting, maxQueue), done: make(chan struct{}), stop: stop}
	l.chain.last = l.first(l.chain.server.UUID())
	l.wg.Add(2)
	go func() { defer l.wg.Done(); l.commit(run) }()
	go func() { defer l.wg.Done(); l.sequence(run) }()
	return l, nil
}

// Close writes what is waiting and stops. It may be called twice.
func (l *Log) Close() { l.closing.Do(l.close) }

func (l *Log) close() {
	close(l.done)
	time.AfterFunc(5*time.Second, l.stop)
	l.wg.Wait()
	l.stop()
	l.pool.Close()
}

// Broken says how many breaks of a server's chain this process has seen as
// leader. It is zero on a sound installation.
func (l *Log) Broken() int64 { return l.broken.Load() }

// Server identifies this process's run in the chain of pending rows.
func (l *Log) Server() id.Server { return l.chain.server }

// chain links the rows that one server hands to the log, so that a missing
// one shows: link n is SHA-256(link n−1 ‖ n ‖ org ‖ leaf). Numbers are given
// in the order in which rows are sent; a row whose transaction did not commit
// is made good by a void row of the same number and hash.
type chain struct {
	mu     sync.Mutex
	server id.Server
	seq    int64
	last   [32]byte
}

// first is link 0 of a server's chain.
func (l *Log) first(server uuid.UUID) (out [32]byte) {
	copy(out[:], l.chainKey.Sum(server[:]))
	return out
}

type link struct {
	seq  int64
	hash [32]byte
}

func (c *chain) next(org id.Org, leaf [32]byte) link {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	c.last = linkHash(c.last, c.seq, org.UUID(), leaf[:])
	return link{c.seq, c.last}
}

func linkHash(last [32]byte, seq int64, org uuid.UUID, leaf []byte) [32]byte {
	var b [88]byte
	copy(b[:], last[:])
	binary.BigEndian.PutUint64(b[32:], uint64(seq))
	copy(b[40:], org[:])
	copy(b[56:], leaf)
	return sha256.Sum256(b[:])
}

const insertPending = `INSERT INTO audit.pending (org_id, event_id, server, seq, chain, leaf, body, openings, void)
 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, false)`

// Pending is an event on its way into the transaction of the change that it
// describes.
type Pending struct {
	l *Log
	r row
}

// Draft seals an event for the caller's own transaction. The caller runs
// Statement there as the last thing before COMMIT, and then says how the
// commit ended: exactly one of Committed and Lost.
func (l *Log) Draft(ctx context.Context, e Entry) (*Pending, error) {
	select {
	case <-l.done:
		return nil, unavailable(errors.New("audit: closed"))
	default:
	}
	r, err := l.seal(ctx, e)
	if err != nil {
		return nil, err
	}
	return &Pending{l: l, r: r}, nil
}

// Statement numbers the row and returns the insert.
func (p *Pending) Statement() pg.Statement {
	p.r.link = p.l.chain.next(p.r.org, p.r.leaf)
	return pg.Statement{SQL: insertPending, Args: []any{p.r.org.UUID(), p.r.event.UUID(), p.l.chain.server.UUID(), p.r.link.seq,
		p.r.link.hash[:], p.r.leaf[:], []byte(p.r.body), []byte(p.r.openings)}}
}

// Committed returns the receipt of a committed transaction.
func (p *Pending) Committed() Receipt { return Receipt{p.r.event} }

// Lost makes good the number of a row whose transaction did not commit.
func (p *Pending) Lost() {
	if p.r.link.seq == 0 {
		return
	}
	r := p.r
	r.void, r.body, r.openings = true, nil, nil
	select {
	case p.l.queue <- waiting{row: r, reply: make(chan error, 1)}:
	default:
		p.l.log.Error("audit: the queue is full; a void row is missing and will show as a gap", "seq", r.link.seq)
	}
}

// Exists reports whether the event of p became durable: the way to resolve a
// commit of unknown outcome.
func (p *Pending) Exists(ctx context.Context) (bool, error) {
	var found bool
	err := p.l.pool.Raw().QueryRow(ctx, `SELECT EXISTS (SELECT FROM audit.pending WHERE event_id = $1 AND NOT void)
 OR EXISTS (SELECT FROM audit.event e WHERE e.org_id = $2 AND e.event_id = $1 AND e.idx >= (SELECT coalesce(max(m.idx), 0) FROM audit.event m WHERE m.org_id = $2) - 100000)`, p.r.event.UUID(), p.r.org.UUID()).Scan(&found)
	return found, err
}

// Append writes an event outside any transaction of its own and returns when
// it is durable: reads, refusals, sign-ins. Many callers share one commit.
func (l *Log) Append(ctx context.Context, e Entry) (Receipt, error) {
	wait, err := l.Start(ctx, e)
	if err != nil {
		return Receipt{}, err
	}
	return wait(ctx)
}

// Start is Append in two halves: it queues the event, and the returned
// function waits until it is durable.
func (l *Log) Start(ctx context.Context, e Entry) (wait func(context.Context) (Receipt, error), err error) {
	r, err := l.seal(ctx, e)
	if err != nil {
		return nil, unavailable(err)
	}
	w := waiting{row: r, reply: make(chan error, 1)}
	select {
	case <-l.done:
		return nil, unavailable(errors.New("audit: closed"))
	default:
	}
	select {
	case l.queue <- w:
	default:
		return nil, unavailable(errors.New("audit: the queue is full"))
	}
	return func(ctx context.Context) (Receipt, error) {
		select {
		case err := <-w.reply:
			if err != nil {
				return Receipt{}, unavailable(err)
			}
			return Receipt{r.event}, nil
		case <-ctx.Done():
			return Receipt{}, unavailable(ctx.Err())
		}
	}, nil
}

func unavailable(cause error) error {
	return fault.Wrap(fault.Unavailable, fmt.Errorf("audit: %w", cause), "the audit log cannot be written; nothing is answered without it")
}

// commit is the group commit: it takes whatever waits, writes it in one
// insert, answers, and looks again. There is no timer: while one batch is
// being flushed the next one gathers.
func (l *Log) commit(ctx context.Context) {
	var owed []waiting // void rows for numbers that a failed insert left open
	batch := make([]waiting, 0, maxBatch)
	for {
		select {
		case w := <-l.queue:
			batch = append(batch[:0], w)
		case <-l.done:
			select {
			case w := <-l.queue:
				batch = append(batch[:0], w)
			default:
				return
			}
		}
	more:
		for len(batch) < maxBatch {
			select {
			case w := <-l.queue:
				batch = append(batch, w)
			default:
				break more
			}
		}
		if n := min(len(owed), maxBatch); n > 0 {
			if l.write(ctx, owed[:n]) == nil {
				owed = owed[n:]
			}
		}
		err := l.write(ctx, batch)
		var refused *pgconn.PgError
		if errors.As(err, &refused) && len(batch) > 1 {
			// The server is there and refuses: one bad row must not take the
			// others with it.
			for i := range batch {
				one := l.write(ctx, batch[i:i+1])
				batch[i].reply <- one
				if one != nil {
					owed = l.owe(owed, batch[i])
				}
			}
			continue
		}
		for _, w := range batch {
			w.reply <- err
			if err != nil {
				owed = l.owe(owed, w)
			}
		}
		if err != nil {
			l.log.Error("audit: the group commit failed; requests are refused until it succeeds", "events", len(batch), "err", err)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
}

// maxOwed bounds what an outage of the log may keep in memory. Numbers beyond
// it stay open and show as a gap.
const maxOwed = 1 << 16

func (l *Log) owe(owed []waiting, w waiting) []waiting {
	if len(owed) >= maxOwed {
		l.log.Error("audit: too many numbers are owed; one will show as a gap", "seq", w.row.link.seq)
		return owed
	}
	if w.row.link.seq == 0 {
		return owed // it never had a number to close
	}
	w.row.void, w.row.body, w.row.openings = true, nil, nil
	w.reply = make(chan error, 1)
	return append(owed, w)
}

// write makes a batch durable: straight into the log where this process leads,
// else into audit.pending for the leader to sequence. A void row has a number
// to close and always takes the second way.
func (l *Log) write(ctx context.Context, batch []waiting) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if fence := l.fence.Load(); fence > 0 && !slices.ContainsFunc(batch, func(w waiting) bool { return w.row.void }) {
		placed, err := l.place(ctx, batch, fence)
		if placed || err != nil {
			return err
		}
	}
	return l.hand(ctx, batch)
}

// insertPlaced gives events their places and stores them in one statement. It
// stores nothing where the lease has gone to another process; were two to write
// at once all the same, the primary key (org_id, idx) would stop one of them.
const insertPlaced = `INSERT INTO audit.event (org_id, idx, event_id, leaf, body, openings)
SELECT i.org_id, h.start + i.k, i.event_id, i.leaf, i.body, i.openings
FROM unnest($3::uuid[], $4::bigint[], $5::uuid[], $6::bytea[], $7::bytea[], $8::bytea[]) AS i(org_id, k, event_id, leaf, body, openings)
JOIN (SELECT o.org_id, (SELECT coalesce(max(e.idx) + 1, 0) FROM audit.event e WHERE e.org_id = o.org_id) AS start FROM unnest($9::uuid[]) AS o(org_id)) h
  ON h.org_id = i.org_id
WHERE EXISTS (SELECT FROM audit.leader l WHERE l.holder = $1 AND l.fence = $2 AND l.expires_at > clock_timestamp())
 AND NOT EXISTS (SELECT FROM audit.pending p WHERE p.xid >= $10::text::xid8)`

// drained returns the transaction from which pending rows are looked for.
func (l *Log) drained() string {
	if low := l.low.Load(); low != nil {
		return *low
	}
	return "0"
}

// place writes a batch as the leader. The sequencer of this process waits
// meanwhile, so that the two never lock heads in different orders.
func (l *Log) place(ctx context.Context, batch []waiting, fence int64) (bool, error) {
	n := len(batch)
	var heads [][16]byte
	var totals []int64
	at := map[id.Org]int{}
	orgs, events, ks := make([][16]byte, n), make([][16]byte, n), make([]int64, n)
	leaves, bodies, openings := make([][]byte, n), make([][]byte, n), make([][]byte, n)
	for i := range batch {
		r := &batch[i].row
		h, ok := at[r.org]
		if !ok {
			h = len(heads)
			at[r.org] = h
			heads, totals = append(heads, r.org.UUID()), append(totals, 0)
		}
		orgs[i], events[i], ks[i] = r.org.UUID(), r.event.UUID(), totals[h]
		leaves[i], bodies[i], openings[i] = r.leaf[:], []byte(r.body), []byte(r.openings)
		totals[h]++
	}
	l.placing.Lock()
	defer l.placing.Unlock()
	tag, err := l.exec(ctx, "insert_placed", insertPlaced, [16]byte(l.chain.server.UUID()), fence, orgs, ks, events, leaves, bodies, openings, heads, l.drained())
	switch {
	case err != nil:
		return false, err
	case tag == 0:
		// The lease has gone, or changes wait to be sequenced: these events
		// queue behind them, as what came first stands first in the log.
		return false, nil
	case tag != int64(n):
		return true, fmt.Errorf("audit: %d of %d events belong to an organization without a log", int64(n)-tag, n)
	}
	return true, nil
}

const insertBatch = `INSERT INTO audit.pending (org_id, event_id, server, seq, chain, leaf, body, openings, void)
 SELECT o, e, $9, s, c, l, b, p, v
 FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[], $8::boolean[]) AS t(o, e, s, c, l, b, p, v)`

// columns are rows as insertBatch takes them.
type columns struct {
	orgs, events                    [][16]byte
	seqs                            []int64
	chains, leaves, bodies, opening [][]byte
	voids                           []bool
}

func (c *columns) add(r *row) {
	c.orgs, c.events, c.seqs, c.voids = append(c.orgs, r.org.UUID()), append(c.events, r.event.UUID()), append(c.seqs, r.link.seq), append(c.voids, r.void)
	c.chains, c.leaves = append(c.chains, r.link.hash[:]), append(c.leaves, r.leaf[:])
	c.bodies, c.opening = append(c.bodies, []byte(r.body)), append(c.opening, []byte(r.openings))
}

func (c *columns) args(server id.Server) []any {
	return []any{c.orgs, c.events, c.seqs, c.chains, c.leaves, c.bodies, c.opening, c.voids, [16]byte(server.UUID())}
}

// The types of the parameters of both inserts are the catalog's own, which have
// the same numbers everywhere.
var insertPendingTypes = []uint32{pgtype.UUIDOID, pgtype.UUIDOID, pgtype.UUIDOID, pgtype.Int8OID, pgtype.ByteaOID, pgtype.ByteaOID, pgtype.ByteaOID, pgtype.ByteaOID}

var insertBatchTypes = []uint32{pgtype.UUIDArrayOID, pgtype.UUIDArrayOID, pgtype.Int8ArrayOID, pgtype.ByteaArrayOID, pgtype.ByteaArrayOID,
	pgtype.ByteaArrayOID, pgtype.ByteaArrayOID, pgtype.BoolArrayOID, pgtype.UUIDOID}

// Together numbers the rows of several events of one transaction and returns
// the insert of them all.
func (l *Log) Together(events []*Pending) pg.Statement {
	if len(events) == 1 {
		st := events[0].Statement()
		st.OIDs = insertPendingTypes
		return st
	}
	var c columns
	for _, p := range events {
		p.r.link = l.chain.next(p.r.org, p.r.leaf)
		c.add(&p.r)
	}
	return pg.Statement{SQL: insertBatch, Args: c.args(l.chain.server), OIDs: insertBatchTypes}
}

// hand gives a batch to whoever leads.
func (l *Log) hand(ctx context.Context, batch []waiting) error {
	var c columns
	for i := range batch {
		r := &batch[i].row
		// A number is given once: a batch that failed closes its numbers with
		// void rows when the log is back, so that the chain stays whole.
		if r.link.seq == 0 {
			r.link = l.chain.next(r.org, r.leaf)
		}
		c.add(r)
	}
	_, err := l.exec(ctx, "insert_batch", insertBatch, c.args(l.chain.server)...)
	return err
}

func (l *Log) exec(ctx context.Context, name, sql string, args ...any) (int64, error) {
	conn, err := l.pool.Raw().Acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Release()
	if _, err := conn.Conn().Prepare(ctx, name, sql); err != nil {
		return 0, err
	}
	tag, err := conn.Conn().Exec(ctx, name, args...)
	return tag.RowsAffected(), err
}
