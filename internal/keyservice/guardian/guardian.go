// Package guardian holds the one secret that opens a key store: the epoch
// master key (EMK) of the current epoch. One guardian runs per zone, as a
// process with a directory, and where possible a user and a host, of its own.
//
// It promises:
//   - An answer is given only after what it says is durable.
//   - Epochs and the counter only move forward. A prepare is a
//     compare-and-swap, so two key services cannot both open the next epoch.
//   - Of past epochs it holds no key once it has attested so. How well the
//     storage underneath forgets is its grade, and the attestation names it.
//   - It hands out the current epoch's key and no other.
//
// There are five calls: fetch, prepare, commit, destroy, counter. They are
// specified in docs/key-service.md and their formats do not change.
package guardian

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"strongroom/internal/keyservice/internal/disk"
	"strongroom/internal/keyservice/internal/wire"
)

// Grade says how a guardian that keeps its key in a file forgets: the file is
// overwritten, synced and removed, which storage that copies on write, remaps
// blocks or is snapshotted may undo.
const Grade = "file"

// Options configure a guardian.
type Options struct {
	Dir      string       // its store; made when its parent is there
	Listener net.Listener // a unix socket; or
	Socket   string       // the path to make one at, with mode 0600
	UIDs     []uint32     // users that may call, beside this process's own and root
	Log      *slog.Logger // nil: slog.Default
	Ready    func()       // called once it answers; may be nil

	gate disk.Gate
	now  func() time.Time
}

// Serve runs a guardian until ctx ends. It refuses to start over a damaged
// store or one that another process holds.
func Serve(ctx context.Context, o Options) error {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	g, err := open(o)
	if err != nil {
		if o.Listener != nil {
			o.Listener.Close()
		}
		return fmt.Errorf("guardian: %w", err)
	}
	defer g.close()
	l := o.Listener
	if l == nil {
		if l, err = wire.Listen(o.Socket, 0o600); err != nil {
			return fmt.Errorf("guardian: %w", err)
		}
	}
	if o.Ready != nil {
		o.Ready()
	}
	g.log.Info("guardian ready", "guardian", g.st.Guardian, "epoch", g.epoch())
	return wire.Serve(ctx, l, o.UIDs, g.handler(), g.log)
}

// state is the file "state": what the guardian remembers beside keys.
type state struct {
	Version  int    `json:"version"`
	Guardian string `json:"guardian"`
	Identity Key    `json:"identity"` // Ed25519 seed that signs attestations
	Current  *held  `json:"current"`
	Prepared *held  `json:"prepared"`
	Past     []held `json:"past"` // committed away, key not yet destroyed
	Count    Count  `json:"count"`
}

// held is an epoch whose key lies in a file of its own.
type held struct {
	Epoch
	File string `json:"file"`
}

type guardian struct {
	log     *slog.Logger
	now     func() time.Time
	dir     *disk.Dir
	release func()
	sign    ed25519.PrivateKey

	mu  sync.Mutex
	st  state
	emk Key // of st.Current

	count    Count
	sequence uint64 // of the slot that holds count
}

func open(o Options) (_ *guardian, err error) {
	g := &guardian{log: o.Log, now: o.now}
	if g.log == nil {
		g.log = slog.Default()
	}
	if g.now == nil {
		g.now = time.Now
	}
	if g.dir, err = disk.Open(o.Dir, o.gate); err != nil {
		return nil, err
	}
	if g.release, err = g.dir.Lock(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			g.release()
		}
	}()
	if err := g.dir.Sweep(); err != nil {
		return nil, err
	}
	names, err := g.dir.List()
	if err != nil {
		return nil, err
	}
	b, err := g.dir.Read("state")
	switch {
	case errors.Is(err, fs.ErrNotExist) && (len(names) == 0 || len(names) == 1 && names[0] == countName):
		if err := g.create(); err != nil {
			return nil, err
		}
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s holds keys but no state: it is damaged. If the other guardian is whole, move the directory away and start again: an empty guardian is enrolled anew", g.dir.Path())
	case err != nil:
		return nil, err
	default:
		if g.st, err = parseState(b); err != nil {
			return nil, fmt.Errorf("%s/state: %w", g.dir.Path(), err)
		}
	}
	if g.count, g.sequence, err = g.readCount(); err != nil {
		return nil, err
	}
	g.sign = ed25519.NewKeyFromSeed(g.st.Identity[:])
	if err := g.check(names); err != nil {
		return nil, err
	}
	return g, nil
}

// create makes an empty guardian. The state comes last: with it the guardian
// exists.
func (g *guardian) create() error {
	if err := g.dir.Replace(countName, append(marshalSlot(0, Count{}), make([]byte, slotSize)...)); err != nil {
		return err
	}
	var r [16]byte
	_, _ = rand.Read(r[:])
	st := state{Version: 1, Guardian: hex.EncodeToString(r[:]), Past: []held{}}
	_, _ = rand.Read(st.Identity[:])
	return g.put(st)
}

// check holds the keys against the state: each named key must be whole, and
// each key that is not named was left by a crash and is destroyed.
func (g *guardian) check(names []string) error {
	keep := map[string]bool{"state": true, countName: true}
	for _, h := range g.st.Past {
		keep[h.File] = true // may be zeros or gone: a destroy that crashed in between
	}
	if h := g.st.Prepared; h != nil {
		if _, err := g.readKey(*h); err != nil {
			return err
		}
		keep[h.File] = true
	}
	if h := g.st.Current; h != nil {
		k, err := g.readKey(*h)
		if err != nil {
			return err
		}
		g.emk, keep[h.File] = k, true
	}
	for _, n := range names {
		switch {
		case keep[n]:
		case strings.HasPrefix(n, "emk."):
			if err := g.dir.Shred(n); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s/%s is no file of a guardian", g.dir.Path(), n)
		}
	}
	return nil
}

func (g *guardian) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.emk[:])
	g.release()
}

// put makes st durable and then current. Callers hold mu, or own g alone.
func (g *guardian) put(st state) error {
	b, err := marshalState(st)
	if err != nil {
		return err
	}
	if err := g.dir.Replace("state", b); err != nil {
		return err
	}
	g.st = st
	return nil
}

func marshalState(st state) ([]byte, error) {
	b, err := json.Marshal(st)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(b, "\nsha256 %x\n", sha256.Sum256(b)), nil
}

var errState = errors.New("the bytes are damaged: they do not match their own checksum or form")

func parseState(b []byte) (state, error) {
	doc, _, ok := bytes.Cut(b, []byte("\nsha256 "))
	if !ok {
		return state{}, errState
	}
	var st state
	if err := wire.Decode(doc, &st); err != nil {
		return state{}, errState
	}
	if st.Version != 1 {
		return state{}, fmt.Errorf("its version is %d; this program reads version 1", st.Version)
	}
	// One spelling only: what we would write is what must be there.
	if again, err := marshalState(st); err != nil || !bytes.Equal(again, b) {
		return state{}, errState
	}
	return st, nil
}

const keyMagic = "strongroom-emk-v1\n"

// keyName differs for every attempt at an epoch, so that a new prepare never
// overwrites the key that the state still names.
func keyName(e Epoch) string { return fmt.Sprintf("emk.%d.%x", e.Epoch, e.Root[:8]) }

func marshalKey(epoch uint64, k Key) []byte {
	b := append([]byte(keyMagic), binary.BigEndian.AppendUint64(nil, epoch)...)
	b = append(b, k[:]...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func (g *guardian) readKey(h held) (k Key, err error) {
	b, err := g.dir.Read(h.File)
	if err != nil {
		return k, fmt.Errorf("the key of epoch %d: %w", h.Epoch.Epoch, err)
	}
	defer clear(b)
	if n := len(keyMagic) + 8; len(b) == n+64 {
		copy(k[:], b[n:])
	}
	if !bytes.Equal(b, marshalKey(h.Epoch.Epoch, k)) {
		return Key{}, fmt.Errorf("%s/%s is damaged", g.dir.Path(), h.File)
	}
	return k, nil
}

func (g *guardian) epoch() uint64 {
	if g.st.Current == nil {
		return 0
	}
	return g.st.Current.Epoch.Epoch
}

func (g *guardian) handler() http.Handler {
	m := http.NewServeMux()
	m.Handle("POST /v1/fetch", wire.Handle(g.log, g.fetch))
	m.Handle("POST /v1/prepare", wire.Handle(g.log, g.prepare))
	m.Handle("POST /v1/commit", wire.Handle(g.log, g.commit))
	m.Handle("POST /v1/destroy", wire.Handle(g.log, g.destroy))
	m.Handle("POST /v1/counter", wire.Handle(g.log, g.counter))
	return m
}

func (g *guardian) publicKey() string {
	return hex.EncodeToString(g.sign.Public().(ed25519.PublicKey))
}

func (g *guardian) fetch(context.Context, wire.Empty) (Fetched, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := Fetched{Guardian: g.st.Guardian, PublicKey: g.publicKey(), Grade: Grade, Undestroyed: []uint64{}}
	if g.st.Current != nil {
		cur, emk := g.st.Current.Epoch, g.emk
		f.Current, f.EMK = &cur, &emk
	}
	if g.st.Prepared != nil {
		next := g.st.Prepared.Epoch
		f.Prepared = &next
	}
	for _, h := range g.st.Past {
		f.Undestroyed = append(f.Undestroyed, h.Epoch.Epoch)
	}
	return f, nil
}

func (g *guardian) prepare(_ context.Context, r PrepareRequest) (wire.Empty, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	cur := g.epoch()
	switch {
	case r.Expect != cur:
		return wire.Empty{}, wire.Errorf(wire.Conflict, "the guardian is in epoch %d, not %d", cur, r.Expect)
	case r.Next.Epoch <= cur:
		return wire.Empty{}, wire.Errorf(wire.Refused, "epoch %d is not after epoch %d: a guardian never goes back", r.Next.Epoch, cur)
	case cur != 0 && r.Next.Epoch != cur+1:
		return wire.Empty{}, wire.Errorf(wire.Refused, "epoch %d does not follow epoch %d", r.Next.Epoch, cur)
	case r.EMK == Key{} || r.Next.Root == Hash{}:
		return wire.Empty{}, wire.Errorf(wire.Refused, "a key or a root of zeros is none")
	case len(g.st.Past) > 0:
		return wire.Empty{}, wire.Errorf(wire.Conflict, "the key of epoch %d is not destroyed yet", g.st.Past[0].Epoch.Epoch)
	}
	if c := g.st.Current; c != nil && (r.Next.Ledger.Size < c.Ledger.Size || r.Next.Ledger.Size == c.Ledger.Size && r.Next.Ledger.Head != c.Ledger.Head) {
		return wire.Empty{}, wire.Errorf(wire.Refused, "the deletion ledger of the new root does not continue the current one")
	}
	old := g.st.Prepared
	if old != nil && old.Epoch == r.Next {
		if k, err := g.readKey(*old); err == nil && k == r.EMK {
			return wire.Empty{}, nil // the same call again
		}
		return wire.Empty{}, wire.Errorf(wire.Conflict, "the same root was prepared with another key")
	}
	if (old == nil) != (r.Replaces == nil) || old != nil && old.Root != *r.Replaces {
		return wire.Empty{}, wire.Errorf(wire.Conflict, "another prepare of epoch %d came between", r.Next.Epoch)
	}
	next := held{Epoch: r.Next, File: keyName(r.Next)}
	if old != nil && old.File == next.File {
		return wire.Empty{}, wire.Errorf(wire.Refused, "two roots of one epoch share the first 8 bytes of their hash")
	}
	// The key is durable before the state names it, and the state names it
	// before the one that it replaces is forgotten. A file of this name that
	// the state does not name was left by a call that failed here.
	if err := g.dir.Shred(next.File); err != nil {
		return wire.Empty{}, err
	}
	if err := g.dir.Create(next.File, marshalKey(r.Next.Epoch, r.EMK)); err != nil {
		return wire.Empty{}, err
	}
	if err := g.dir.Sync(); err != nil {
		return wire.Empty{}, err
	}
	st := g.st
	st.Prepared = &next
	if err := g.put(st); err != nil {
		return wire.Empty{}, err
	}
	if old != nil {
		if err := g.dir.Shred(old.File); err != nil {
			return wire.Empty{}, err
		}
	}
	return wire.Empty{}, nil
}

func (g *guardian) commit(_ context.Context, r CommitRequest) (wire.Empty, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c := g.st.Current; c != nil && c.Epoch.Epoch == r.Epoch && c.Root == r.Root {
		return wire.Empty{}, nil // the same call again
	}
	p := g.st.Prepared
	if p == nil || p.Epoch.Epoch != r.Epoch || p.Root != r.Root {
		return wire.Empty{}, wire.Errorf(wire.Conflict, "epoch %d with this root was not prepared", r.Epoch)
	}
	emk, err := g.readKey(*p)
	if err != nil {
		return wire.Empty{}, err
	}
	st := g.st
	st.Past = slices.Clone(st.Past)
	if st.Current != nil {
		st.Past = append(st.Past, *st.Current)
	}
	st.Current, st.Prepared = p, nil
	if err := g.put(st); err != nil {
		return wire.Empty{}, err
	}
	g.emk = emk
	g.log.Info("epoch committed", "epoch", r.Epoch)
	return wire.Empty{}, nil
}

func (g *guardian) destroy(_ context.Context, r DestroyRequest) (Attestation, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	cur := g.epoch()
	if r.Epoch == 0 || r.Epoch >= cur {
		return Attestation{}, wire.Errorf(wire.Refused, "epoch %d is not past: the guardian is in epoch %d", r.Epoch, cur)
	}
	if i := slices.IndexFunc(g.st.Past, func(h held) bool { return h.Epoch.Epoch == r.Epoch }); i >= 0 {
		// The bytes go first: a crash in between leaves a state that still
		// names the key, and the next destroy finds it gone and goes on.
		if err := g.dir.Shred(g.st.Past[i].File); err != nil {
			return Attestation{}, err
		}
		st := g.st
		st.Past = slices.Delete(slices.Clone(st.Past), i, i+1)
		if err := g.put(st); err != nil {
			return Attestation{}, err
		}
		g.log.Info("epoch key destroyed", "epoch", r.Epoch)
	}
	text := Statement{Guardian: g.st.Guardian, Grade: Grade, Epoch: r.Epoch, Current: cur, At: g.now()}.text()
	return Attestation{
		Statement: text,
		PublicKey: g.publicKey(),
		Signature: hex.EncodeToString(ed25519.Sign(g.sign, []byte(text))),
	}, nil
}

func (g *guardian) counter(_ context.Context, r CounterRequest) (Count, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Advance == nil || g.count == r.Advance.To {
		return g.count, nil
	}
	from, to := r.Advance.Expect, r.Advance.To
	switch {
	case from != g.count:
		return Count{}, wire.Errorf(wire.Conflict, "the counter stands at revision %d, not at the %d that was expected", g.count.Revision, from.Revision)
	case to.Revision <= from.Revision || to.Leases < from.Leases:
		return Count{}, wire.Errorf(wire.Refused, "the counter only moves forward")
	}
	next := g.sequence + 1
	if err := g.dir.Overwrite(countName, int64(next%2)*slotSize, marshalSlot(next, to)); err != nil {
		return Count{}, err
	}
	g.count, g.sequence = to, next
	return to, nil
}

// The counter moves with every revision of the key store, so it lies in a
// file of its own that is written in place: two slots in turn, each with a
// checksum. A crash tears at most the slot that was being written, and that
// advance was not answered; the other slot holds the count before it.
const (
	countName  = "count"
	countMagic = "SRCOUNT1"
	slotSize   = 512 // a sector, so that the slots do not share one
)

func marshalSlot(sequence uint64, c Count) []byte {
	b := []byte(countMagic)
	for _, v := range []uint64{sequence, c.Revision, c.Leases} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	b = append(b, c.Root[:]...)
	sum := sha256.Sum256(b)
	return append(append(b, sum[:]...), make([]byte, slotSize-len(b)-len(sum))...)
}

func parseSlot(b []byte) (sequence uint64, c Count, ok bool) {
	if len(b) != slotSize {
		return 0, c, false
	}
	n := len(countMagic)
	sequence, c.Revision, c.Leases = binary.BigEndian.Uint64(b[n:]), binary.BigEndian.Uint64(b[n+8:]), binary.BigEndian.Uint64(b[n+16:])
	copy(c.Root[:], b[n+24:])
	return sequence, c, bytes.Equal(b, marshalSlot(sequence, c))
}

func (g *guardian) readCount() (c Count, sequence uint64, err error) {
	b, err := g.dir.Read(countName)
	if err != nil {
		return c, 0, err
	}
	found := 0
	if len(b) == 2*slotSize {
		for i := range uint64(2) {
			n, slot, ok := parseSlot(b[i*slotSize : (i+1)*slotSize])
			if !ok || n%2 != i {
				continue
			}
			if found++; found == 1 || n > sequence {
				c, sequence = slot, n
			}
		}
	}
	if found == 1 && sequence > 0 {
		g.log.Warn("one slot of the counter is not whole: a crash in the middle of an advance, or damage", "revision", c.Revision)
	}
	if found == 0 {
		return c, 0, fmt.Errorf("%s/%s is damaged", g.dir.Path(), countName)
	}
	return c, sequence, nil
}
