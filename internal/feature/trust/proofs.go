package trust

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/feature/trust/signed"
	"strongroom/internal/identity/actor"
	"strongroom/internal/store/platform"
)

// Periods says how often a check of each tag runs.
type Periods struct{ Passive, Canary, Scheduled time.Duration }

// DefaultPeriods are an hour each.
var DefaultPeriods = Periods{time.Hour, time.Hour, time.Hour}

// MinPeriod is the shortest: below it checks would be most of what a small
// server does.
const MinPeriod = time.Minute

func (p Periods) of(t feature.Tag) time.Duration {
	switch t {
	case feature.Passive:
		return p.Passive
	case feature.Scheduled:
		return p.Scheduled
	}
	return p.Canary
}

// Source says who had a check run.
type Source string

// The sources.
const (
	BySchedule Source = "schedule"
	ByOperator Source = "operator"
)

// ProofsOptions configures Proofs. All but Periods, Now and Log are required.
type ProofsOptions struct {
	Store   *platform.Store
	Keys    seal.Keys   // the installation's
	Actor   actor.Actor // the installation itself
	Prover  *Prover
	Periods Periods // zero: DefaultPeriods
	Now     func() time.Time
	Log     *slog.Logger
}

// Proofs keeps what checks found, and tells how each promise stands by what is
// kept.
//
// It promises that nothing is said that a stored proof does not show: a row
// that was changed, taken away or put back in the database is told from one
// that was written here and counts as broken; a proof that is old counts as
// old; and where the store does not answer nothing counts.
type Proofs struct {
	o ProofsOptions

	writing sync.Mutex // one at a time stores what it found
	loading sync.Mutex // guards rows, readAt and failed, and lets one reading go on at a time
	rows    map[string]stored
	readAt  time.Time
	reading uint64
	failed  error

	mu sync.Mutex // guards newest and due
	// newest is when the youngest proof that this process has seen of a clause
	// was made. A row that is older than that, or gone, was put back or taken
	// away: the code of an old row is still right.
	newest map[string]time.Time
	due    map[string]time.Time

	signing sync.Mutex
	signer  *signed.Signer
	mark    *feature.Mark // of the key
}

// stored is a row of the table, judged.
type stored struct {
	state            State
	evidence         string
	checkedAt, since time.Time
	checks           int64
	source           Source
	altered          string // why the row is not believed; "" for one that is
}

// NewProofs returns the keeper of proofs, or says what is wrong with o.
func NewProofs(o ProofsOptions) (*Proofs, error) {
	if o.Store == nil || o.Keys == nil || o.Prover == nil || o.Actor.IsNobody() {
		return nil, errors.New("trust: ProofsOptions.Store, Keys, Actor and Prover are required")
	}
	if o.Periods == (Periods{}) {
		o.Periods = DefaultPeriods
	}
	for _, d := range []time.Duration{o.Periods.Passive, o.Periods.Canary, o.Periods.Scheduled} {
		if d < MinPeriod {
			return nil, fmt.Errorf("trust: a period must be %s or more", MinPeriod)
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	} else {
		o.Prover.now = o.Now // a proof's age is a difference on one clock
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Proofs{o: o, newest: map[string]time.Time{}, due: map[string]time.Time{}}, nil
}

// Prove runs checks for the operator, and keeps what they find. That it could
// not be kept does not keep the operator from hearing it.
func (p *Proofs) Prove(ctx context.Context, ids []string) ([]Proof, error) {
	proofs, err := p.o.Prover.Prove(ctx, ids)
	if err != nil {
		return nil, err
	}
	if err := p.keep(context.WithoutCancel(ctx), proofs, ByOperator); err != nil {
		p.o.Log.Error("what the checks found could not be stored; the trust page shows the proofs before", "err", err)
	}
	return proofs, nil
}

// keepTime bounds the storing of proofs, whoever waits for it.
const keepTime = 15 * time.Second

// maxEvidence bounds what is kept of the evidence, in bytes.
const maxEvidence = 2000

// history is how many results of a clause are kept.
const history = 200

func (p *Proofs) keep(ctx context.Context, proofs []Proof, source Source) error {
	ctx, cancel := context.WithTimeout(ctx, keepTime)
	defer cancel()
	type found struct {
		clause string
		row    stored
	}
	var all []found
	for _, pr := range proofs {
		for _, c := range pr.Clauses {
			if _, built := p.o.Prover.checks[pr.ID][c.Name]; !built {
				continue // nothing was checked
			}
			all = append(all, found{pr.ID + "/" + c.Name, stored{state: c.State, evidence: plain(c.Evidence), checkedAt: c.at, source: source}})
		}
	}
	if len(all) == 0 {
		return nil
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	_, _, err := platform.Do(ctx, p.o.Store, platform.Request{Actor: p.o.Actor, Action: policy.ProofStore}, func(ctx context.Context, tx *platform.Tx) (struct{}, error) {
		before, err := p.read(ctx, tx)
		if err != nil {
			return struct{}{}, err
		}
		h, err := seal.NewHasher(ctx, p.o.Keys, keytree.LeafIndex, hashProof)
		if err != nil {
			return struct{}{}, err
		}
		for i := range all {
			f := &all[i]
			f.row.since, f.row.checks = f.row.checkedAt, 1
			b, ok := before[f.clause]
			if ok && b.altered == "" {
				if !b.checkedAt.Before(f.row.checkedAt) {
					continue // another server was later, and was heard
				}
				if b.state == f.row.state {
					f.row.since, f.row.checks = b.since, b.checks+1
				}
			}
			if err := write(ctx, tx, f.clause, f.row, b.altered != "", h); err != nil {
				return struct{}{}, err
			}
		}
		tx.Count("proofs", int64(len(all)))
		return struct{}{}, nil
	})
	if err != nil {
		return fmt.Errorf("trust: store proofs: %w", err)
	}
	p.mu.Lock()
	for _, f := range all {
		p.saw(f.clause, f.row.checkedAt)
	}
	p.mu.Unlock()
	p.loading.Lock()
	p.readAt = time.Time{} // whoever asks next reads anew
	p.loading.Unlock()
	return nil
}

// saw remembers the youngest proof of a clause. mu is held.
func (p *Proofs) saw(clause string, at time.Time) {
	if p.newest[clause].Before(at) {
		p.newest[clause] = at
	}
}

// plain makes evidence fit for a column of text.
func plain(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
	if len(s) > maxEvidence {
		s = s[:maxEvidence]
		for !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
		s += " …"
	}
	return s
}

func write(ctx context.Context, tx *platform.Tx, clause string, s stored, mend bool, h *seal.Hasher) error {
	if _, err := tx.Exec(ctx, platform.Lit(`INSERT INTO platform.proof (clause, state, evidence, checked_at, since, checks, source, generation, code)
 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (clause) DO UPDATE SET state = $2, evidence = $3, checked_at = $4, since = $5, checks = $6, source = $7, generation = $8, code = $9
 WHERE $10 OR platform.proof.checked_at < $4`), // a younger one of another server stays; one that is not believed goes
		clause, string(s.state), s.evidence, s.checkedAt, s.since, s.checks, string(s.source), int64(h.Generation()), code(h, clause, s), mend); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, platform.Lit(`INSERT INTO platform.proof_history (clause, checked_at, state, evidence, source) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`),
		clause, s.checkedAt, string(s.state), s.evidence, string(s.source)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, platform.Lit(`DELETE FROM platform.proof_history WHERE clause = $1
 AND checked_at <= (SELECT h.checked_at FROM platform.proof_history h WHERE h.clause = $1 ORDER BY h.checked_at DESC OFFSET $2 LIMIT 1)`), clause, history)
	return err
}

// hashProof is the purpose that keeps this keyed hash from standing for
// another.
const hashProof = "proof.row"

// code is what a row carries: a keyed hash over everything that it says.
func code(h *seal.Hasher, clause string, s stored) []byte {
	moment := func(t time.Time) []byte { return binary.BigEndian.AppendUint64(nil, uint64(t.UnixMicro())) }
	return h.Sum([]byte(clause), []byte(s.state), []byte(s.evidence), moment(s.checkedAt), moment(s.since), []byte(strconv.FormatInt(s.checks, 10)), []byte(s.source))
}

// read returns every row, judged.
func (p *Proofs) read(ctx context.Context, tx *platform.Tx) (map[string]stored, error) {
	rows, err := tx.Query(ctx, platform.Lit(`SELECT clause, state, evidence, checked_at, since, checks, source, generation, code FROM platform.proof`))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	p.mu.Lock()
	newest := maps.Clone(p.newest)
	p.mu.Unlock()
	out := map[string]stored{}
	hashers := map[int64]*seal.Hasher{}
	for rows.Next() {
		var clause, state, source string
		var s stored
		var generation int64
		var stamp []byte
		if err := rows.Scan(&clause, &state, &s.evidence, &s.checkedAt, &s.since, &s.checks, &source, &generation, &stamp); err != nil {
			return nil, err
		}
		s.state, s.source = State(state), Source(source)
		s.checkedAt, s.since = s.checkedAt.UTC(), s.since.UTC()
		h, known := hashers[generation]
		if !known {
			if h, err = p.hasher(ctx, generation); err != nil {
				return nil, err
			}
			hashers[generation] = h
		}
		switch {
		case h == nil:
			s.altered = "the stored proof was made with keys that this installation does not have"
		case !hmac.Equal(code(h, clause, s), stamp):
			s.altered = "the stored proof was changed after it was written"
		case s.checkedAt.Before(newest[clause]):
			s.altered = "the stored proof was replaced by an older one"
		}
		out[clause] = s
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	for clause := range newest {
		if _, ok := out[clause]; !ok {
			out[clause] = stored{altered: "the stored proof was removed"}
		}
	}
	return out, nil
}

// hasher returns nil for a generation of keys that there is not.
func (p *Proofs) hasher(ctx context.Context, generation int64) (*seal.Hasher, error) {
	if generation < 1 || generation > 1<<31 {
		return nil, nil
	}
	h, err := seal.NewHasherAt(ctx, p.o.Keys, uint32(generation), keytree.LeafIndex, hashProof)
	switch {
	case err == nil:
		return h, nil
	case fault.Is(err, fault.Unavailable), ctx.Err() != nil:
		return nil, err
	}
	return nil, nil
}

const (
	fresh    = 15 * time.Second // how old what was read may be
	retry    = 2 * time.Second  // how long a failure is remembered
	readTime = 3 * time.Second  // how long somebody waits for a page
)

// load returns the stored proofs. However many ask, the store is asked a few
// times a minute.
func (p *Proofs) load(ctx context.Context) (map[string]stored, time.Time, uint64, error) {
	p.loading.Lock()
	defer p.loading.Unlock()
	now := p.o.Now()
	age := now.Sub(p.readAt)
	if !p.readAt.IsZero() && age >= 0 && (p.failed == nil && age < fresh || p.failed != nil && age < retry) {
		return p.rows, p.readAt, p.reading, p.failed
	}
	// Whoever asks may go away; others wait for the same answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTime)
	defer cancel()
	rows, _, err := platform.Do(ctx, p.o.Store, platform.Request{Actor: p.o.Actor, Action: policy.ProofRead}, p.read)
	p.readAt, p.rows, p.failed = now, rows, err
	p.reading++
	if err != nil {
		p.failed = fault.Wrap(fault.Unavailable, err, "the stored proofs cannot be read")
		return nil, now, p.reading, p.failed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for clause, s := range rows {
		if s.altered == "" {
			p.saw(clause, s.checkedAt)
		}
	}
	return rows, now, p.reading, nil
}

// RunDue runs the check that is due for the longest time, and keeps what it
// finds. It reports false where none is due.
func (p *Proofs) RunDue(ctx context.Context) (bool, error) {
	clause, err := p.mostDue(ctx)
	if clause == "" || err != nil {
		return false, err
	}
	proofs, err := p.o.Prover.Prove(ctx, []string{clause})
	if err != nil || ctx.Err() != nil {
		return false, errors.Join(err, ctx.Err())
	}
	p.mu.Lock()
	p.due[clause] = p.next(clause, proofs[0].State, p.o.Now())
	p.mu.Unlock()
	return true, p.keep(ctx, proofs, BySchedule)
}

func (p *Proofs) mostDue(ctx context.Context) (string, error) {
	now := p.o.Now()
	p.mu.Lock()
	best := p.earliest(now)
	p.mu.Unlock()
	if best == "" {
		return "", nil
	}
	// Another server may have done it: the table knows.
	rows, _, _, err := p.load(ctx)
	if err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.o.Prover.built() {
		s, ok := rows[c]
		if !ok || s.altered != "" {
			p.due[c] = time.Time{}
			continue
		}
		p.due[c] = p.next(c, s.state, s.checkedAt)
	}
	return p.earliest(now), nil
}

// earliest names the clause that is due for the longest time, "" for none. One
// that nothing is known of is due.
func (p *Proofs) earliest(now time.Time) (best string) {
	var at time.Time
	for _, c := range p.o.Prover.built() {
		if d := p.due[c]; !d.After(now) && (best == "" || d.Before(at)) {
			best, at = c, d
		}
	}
	return best
}

// again is how soon a check that failed is run again: what was a moment's
// trouble is not shown for an hour.
const again = 5 * time.Minute

// next says when a clause that was checked at a moment is due again: at its
// own place in the period, so that checks that began together spread out, and
// between half a period and one and a half later.
func (p *Proofs) next(clause string, found State, checked time.Time) time.Time {
	period := p.period(clause)
	if found == Broken && period/2 > again {
		return checked.Add(again)
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(clause))
	offset := time.Duration(h.Sum64() % uint64(period))
	earliest := checked.Add(period / 2).Add(-offset)
	slot := earliest.Truncate(period)
	if slot.Before(earliest) {
		slot = slot.Add(period)
	}
	return slot.Add(offset)
}

func (p *Proofs) period(clause string) time.Duration {
	promise, name, _ := strings.Cut(clause, "/")
	return p.o.Periods.of(p.o.Prover.checks[promise][name].Tag)
}

// built lists the clauses that have a check, in the order of the list.
func (p *Prover) built() (out []string) {
	for _, pr := range catalog {
		for _, name := range pr.clauses {
			if _, ok := p.checks[pr.id][name]; ok {
				out = append(out, pr.id+"/"+name)
			}
		}
	}
	return out
}

// The key that signs the page.

const (
	keyTable   = "platform.trust_key"
	keySection = "ed25519"
	keyVersion = 1
)

// Signer returns the installation's signer, and makes its key the first time.
// The key is sealed under the installation's own leaf wherever it is written.
func (p *Proofs) Signer(ctx context.Context) (*signed.Signer, error) {
	p.signing.Lock()
	defer p.signing.Unlock()
	if p.signer != nil {
		return p.signer, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTime)
	defer cancel()
	seed, err := p.readKey(ctx)
	if errors.Is(err, platform.ErrNoRows) {
		if err = p.makeKey(ctx); err == nil {
			seed, err = p.readKey(ctx) // the one that is stored, whoever made it
		}
	}
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "the key that signs cannot be read")
	}
	s, err := signed.NewSigner(seed.Reveal())
	if err != nil {
		return nil, err
	}
	mark := feature.MarkOf(string(seed.Reveal()))
	p.signer, p.mark = s, &mark
	return s, nil
}

func (p *Proofs) readKey(ctx context.Context) (seal.Secret, error) {
	seed, _, err := platform.Do(ctx, p.o.Store, platform.Request{Actor: p.o.Actor, Action: policy.ProofRead}, func(ctx context.Context, tx *platform.Tx) (seal.Secret, error) {
		var row uuid.UUID
		var key seal.Sealed
		if err := tx.QueryRow(ctx, platform.Lit(`SELECT id, key FROM platform.trust_key`)).Scan(&row, &key); err != nil {
			return seal.Secret{}, err
		}
		return seal.OpenOne(ctx, p.o.Keys, seal.Place{Org: id.Installation, Table: keyTable, Row: row, Version: keyVersion}, key, keySection)
	})
	return seed, err
}

func (p *Proofs) makeKey(ctx context.Context) error {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		return err
	}
	row := uuid.Must(uuid.NewV7())
	_, _, err := platform.Do(ctx, p.o.Store, platform.Request{Actor: p.o.Actor, Action: policy.TrustKeyCreate}, func(ctx context.Context, tx *platform.Tx) (struct{}, error) {
		key, err := tx.Seal(ctx, keyTable, row, keyVersion, seal.Section{Name: keySection, Leaf: keytree.LeafProfile, Plain: seal.NewSecret(seed)})
		if err != nil {
			return struct{}{}, err
		}
		_, err = tx.Exec(ctx, platform.Lit(`INSERT INTO platform.trust_key (id, key, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`), row, key, tx.Now())
		return struct{}{}, err
	})
	return err
}

// Leaks reports whether b holds the private key, for the check that it is found
// nowhere outside.
func (p *Proofs) Leaks(b []byte) bool {
	p.signing.Lock()
	defer p.signing.Unlock()
	return p.mark != nil && p.mark.In(b)
}
