package keyservice

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/keyservice/guardian"
	"strongroom/internal/keyservice/internal/keyfile"
	"strongroom/internal/keyservice/internal/wire"
)

// ErrUnknownOrg reports an organization that the key store does not know.
var ErrUnknownOrg = errors.New("keyservice: the key store has no such organization or generation")

// Client is a server's end of the key service. It keeps the covers of pages
// it used, under a lease of at most [MaxLease] that one heartbeat renews for
// all of them: when the lease runs out because the key service cannot be
// reached, every key answers Unavailable, and never a stale one.
//
// All methods may be called from any number of goroutines; deriving a key
// from a cached page and taking a leaf from a leased block take no lock.
type Client struct {
	c     *wire.Client
	name  string
	began time.Time
	// until is when the lease ends, in nanoseconds since began.
	until atomic.Int64
	// stamp changes whenever cached pages stop being valid. serial is the
	// key service's number for the same, as far as this client acted on it.
	stamp, serial atomic.Uint64
	cached        atomic.Int64 // pages under the current stamp, about
	orgs          sync.Map     // id.Org → *OrgKeys

	beating chan struct{} // holds one token: a heartbeat at a time
	stop    context.CancelFunc
	stopped sync.WaitGroup
}

// maxCached bounds the cached pages of all organizations; an intact page with
// its derived subtrees takes 1 to 12 KB. Beyond it the cache starts anew.
const maxCached = 16384

// Dial connects to the key service at socket and takes a lease. The service
// must run as this user, as root, or as one of uids.
func Dial(ctx context.Context, socket string, uids ...uint32) (*Client, error) {
	var r [16]byte
	_, _ = rand.Read(r[:])
	c := &Client{c: wire.NewClient(socket, uids), name: hex.EncodeToString(r[:]), began: time.Now(), beating: make(chan struct{}, 1)}
	c.stamp.Store(1)
	if err := c.beat(ctx); err != nil {
		c.c.Close()
		return nil, err
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	c.stopped.Go(func() { c.renew(run) })
	return c, nil
}

// Close ends the lease's renewal. Keys answer Unavailable from then on.
func (c *Client) Close() error {
	c.stop()
	c.stopped.Wait()
	c.until.Store(0)
	c.stamp.Add(1)
	c.c.Close()
	return nil
}

// failed classifies an error of a call.
func failed(err error) error {
	switch {
	case wire.Is(err, wire.NotFound):
		return ErrUnknownOrg
	case errors.Is(err, wire.ErrUnreachable), wire.Is(err, wire.Unavailable), wire.Is(err, wire.Conflict):
		return fault.Wrap(fault.Unavailable, err, "the keys are not available at the moment; try again")
	}
	return fmt.Errorf("key service: %w", err)
}

func (c *Client) alive() bool { return int64(time.Since(c.began)) < c.until.Load() }

var errExpired = errors.New("the lease of the key cache has run out and the key service does not answer")

// beat renews the lease, counted from before the request: the service counts
// from after it, so that a cache never outlives what the service believes.
func (c *Client) beat(ctx context.Context) error {
	select {
	case c.beating <- struct{}{}:
		defer func() { <-c.beating }()
	case <-ctx.Done():
		return failed(errors.Join(wire.ErrUnreachable, ctx.Err()))
	}
	// A second round acknowledges a new serial; a serial that changes in
	// every round is left to the next heartbeat.
	for range 2 {
		sent := int64(time.Since(c.began))
		serial := c.serial.Load()
		a, err := wire.Call[heartbeatAnswer](ctx, c.c, "/v1/heartbeat", heartbeatRequest{Client: c.name, Serial: serial})
		if err != nil {
			return failed(err)
		}
		if a.LeaseMillis <= 0 || a.LeaseMillis > MaxLease.Milliseconds() {
			return fmt.Errorf("key service: the lease it gives is out of bounds")
		}
		if a.Serial != serial {
			c.serial.Store(a.Serial)
			c.drop()
		}
		c.until.Store(sent + a.LeaseMillis*int64(time.Millisecond))
		if a.Serial == serial {
			return nil
		}
	}
	return nil
}

// drop makes every cached page invalid. Their bytes are left to the garbage
// collector: another goroutine may be deriving from them at this moment, and
// half-wiped seeds would give it a wrong key instead of none.
func (c *Client) drop() {
	c.stamp.Add(1)
	c.cached.Store(0)
}

func (c *Client) renew(ctx context.Context) {
	for {
		left := time.Duration(c.until.Load()) - time.Since(c.began)
		// A third of the lease has gone, or the last attempt failed.
		wait := max(left/2, 50*time.Millisecond)
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(wait, MaxLease/4)):
		}
		beat, cancel := context.WithTimeout(ctx, 2*time.Second)
		_ = c.beat(beat) // the lease running out is what callers see
		cancel()
	}
}

// CreateOrg makes keys for an organization. Doing so again changes nothing.
// When it returns, the keys are durable in both zones.
func (c *Client) CreateOrg(ctx context.Context, org id.Org) error {
	if _, err := wire.Call[wire.Empty](ctx, c.c, "/v1/create", createRequest{Org: org}); err != nil {
		return failed(err)
	}
	return nil
}

// NewLeaf returns a leaf of the organization that was never returned before
// and never will be again.
func (c *Client) NewLeaf(ctx context.Context, org id.Org) (keytree.Leaf, error) {
	return c.Keys(org).newLeaf(ctx)
}

// NewLeaves returns n leaves as [Client.NewLeaf] does.
func (c *Client) NewLeaves(ctx context.Context, org id.Org, n int) ([]keytree.Leaf, error) {
	k := c.Keys(org)
	out := make([]keytree.Leaf, n)
	for i := range out {
		var err error
		if out[i], err = k.newLeaf(ctx); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Status returns the state of key service, zones and guardians.
func (c *Client) Status(ctx context.Context) (Status, error) {
	s, err := wire.Call[Status](ctx, c.c, "/v1/status", wire.Empty{})
	if err != nil {
		return Status{}, failed(err)
	}
	return s, nil
}

// RotateEpoch has the key service open a new epoch under a fresh master key
// and destroy the old one at every guardian, which attest it. Reads go on
// meanwhile.
func (c *Client) RotateEpoch(ctx context.Context) (epoch uint64, attested []guardian.Attestation, err error) {
	a, err := wire.Call[rotateAnswer](ctx, c.c, "/v1/rotate", wire.Empty{})
	if err != nil {
		return 0, nil, failed(err)
	}
	return a.Epoch, a.Attestations, nil
}

// Check derives one key on every way there is (each guardian with each zone)
// from the bytes on disk, and compares it with the key that the running
// service serves. A difference means that some copy would not bring the data
// back: it is an error, however well the service seems to run. A way that
// cannot be tried at the moment is none, as long as one was; Status names it.
func (c *Client) Check(ctx context.Context) error {
	k := c.Keys(id.Installation)
	gen, err := k.Generation(ctx)
	if err != nil {
		return err
	}
	live, err := k.LeafKey(ctx, gen, checkLeaf)
	if err != nil {
		return err
	}
	var r checkRequest
	_, _ = rand.Read(r.Nonce[:])
	a, err := wire.Call[checkAnswer](ctx, c.c, "/v1/check", r)
	if err != nil {
		return failed(err)
	}
	want, proven := proof(live, r.Nonce), 0
	var failures []error
	for _, p := range a.Paths {
		switch {
		case p.Failure != "":
			failures = append(failures, fmt.Errorf("guardian %s, zone %s: %s", p.Guardian, p.Zone, p.Failure))
		case p.Proof != want:
			return fmt.Errorf("key service: the bytes of zone %s under the key of guardian %s give another key than the running service: do not go on writing", p.Zone, p.Guardian)
		default:
			proven++
		}
	}
	if proven == 0 {
		return fmt.Errorf("key service: no copy of the keys could be checked: %w", errors.Join(failures...))
	}
	return nil
}

// Keys returns the organization's keys. It makes no call: whether the
// organization exists shows when a key is asked for.
func (c *Client) Keys(org id.Org) *OrgKeys {
	if k, ok := c.orgs.Load(org); ok {
		return k.(*OrgKeys)
	}
	k, _ := c.orgs.LoadOrStore(org, &OrgKeys{c: c, org: org, fetching: make(chan struct{}, 1), leasing: make(chan struct{}, 1)})
	return k.(*OrgKeys)
}

// OrgKeys are one organization's keys, through one client.
type OrgKeys struct {
	c   *Client
	org id.Org

	set      atomic.Pointer[pageSet]
	fetching chan struct{} // one token: a fetch at a time
	block    atomic.Pointer[block]
	leasing  chan struct{} // one token: a lease at a time
}

// pageSet is what is cached of an organization. It never changes.
type pageSet struct {
	stamp   uint64
	current uint32
	pages   map[uint64]*page // generation << 16 | page
}

// block is a run of leased leaves.
type block struct {
	next      atomic.Uint64
	end, size uint64
}

// Org returns the organization.
func (k *OrgKeys) Org() id.Org { return k.org }

// Generation returns the generation that new values are sealed in.
func (k *OrgKeys) Generation(ctx context.Context) (uint32, error) {
	if set := k.fresh(); set != nil {
		return set.current, nil
	}
	set, _, err := k.fetch(ctx, 0, 0)
	if err != nil {
		return 0, err
	}
	return set.current, nil
}

// LeafKey returns the key of a leaf, keytree.ErrPunctured when it was
// destroyed, [ErrUnknownOrg], or a fault.Unavailable when it cannot be known.
func (k *OrgKeys) LeafKey(ctx context.Context, gen uint32, leaf keytree.Leaf) (keytree.Key, error) {
	if leaf == keytree.NoLeaf {
		return keytree.Key{}, keytree.ErrNoLeaf
	}
	if gen == 0 {
		return keytree.Key{}, ErrUnknownOrg
	}
	if set := k.fresh(); set != nil {
		if p := set.pages[pageIndex(gen, leaf.Page())]; p != nil {
			return p.derive(leaf)
		}
	}
	_, p, err := k.fetch(ctx, gen, leaf.Page())
	if err != nil {
		return keytree.Key{}, err
	}
	return p.derive(leaf)
}

func pageIndex(gen uint32, p uint16) uint64 { return uint64(gen)<<16 | uint64(p) }

// fresh returns the cached pages, or nil when they may not be used.
func (k *OrgKeys) fresh() *pageSet {
	set := k.set.Load()
	if set == nil || set.stamp != k.c.stamp.Load() || !k.c.alive() {
		return nil
	}
	return set
}

// fetch gets a page from the key service and caches it.
func (k *OrgKeys) fetch(ctx context.Context, gen uint32, number uint16) (*pageSet, *page, error) {
	select {
	case k.fetching <- struct{}{}:
		defer func() { <-k.fetching }()
	case <-ctx.Done():
		return nil, nil, failed(errors.Join(wire.ErrUnreachable, ctx.Err()))
	}
	for range 3 {
		if set := k.fresh(); set != nil { // another goroutine was faster
			if gen == 0 {
				return set, nil, nil
			}
			if p := set.pages[pageIndex(gen, number)]; p != nil {
				return set, p, nil
			}
		}
		if !k.c.alive() {
			if err := k.c.beat(ctx); err != nil {
				return nil, nil, err
			}
		}
		stamp, serial := k.c.stamp.Load(), k.c.serial.Load()
		a, err := wire.Call[pageAnswer](ctx, k.c.c, "/v1/page", pageRequest{Client: k.c.name, Org: k.org, Generation: gen, Page: number})
		if wire.Is(err, wire.Conflict) {
			// The service restarted and has not heard of this client.
			if err := k.c.beat(ctx); err != nil {
				return nil, nil, err
			}
			continue
		}
		if err != nil {
			return nil, nil, failed(err)
		}
		if a.Serial != serial {
			// Leaves were punctured since the last heartbeat: what is cached
			// goes first, then the page is fetched again.
			if err := k.c.beat(ctx); err != nil {
				return nil, nil, err
			}
			continue
		}
		cover, err := keytree.ParseCover(a.Cover)
		clear(a.Cover)
		if err != nil || cover.Page() != number || a.Generation == 0 || a.Current == 0 || gen != 0 && a.Generation != gen {
			return nil, nil, errors.New("key service: the answer is not the page that was asked for")
		}
		p := newPage(cover)
		if set := k.store(stamp, a, number, p); set != nil {
			return set, p, nil
		}
	}
	return nil, nil, failed(fmt.Errorf("%w: %w", wire.ErrUnreachable, errExpired))
}

// store adds a page to the cache, unless what was cached when it was asked
// for has been dropped since. Callers hold the fetching token.
func (k *OrgKeys) store(stamp uint64, a pageAnswer, number uint16, p *page) *pageSet {
	if stamp != k.c.stamp.Load() || !k.c.alive() {
		return nil
	}
	next := &pageSet{stamp: stamp, current: a.Current, pages: map[uint64]*page{}}
	if old := k.set.Load(); old != nil && old.stamp == stamp {
		for i, p := range old.pages {
			next.pages[i] = p
		}
	}
	next.pages[pageIndex(a.Generation, number)] = p
	k.set.Store(next)
	if k.c.cached.Add(1) > maxCached {
		k.c.drop()
	}
	return next
}

const (
	firstBlock = 16
	lastBlock  = 4096
)

func (k *OrgKeys) newLeaf(ctx context.Context) (keytree.Leaf, error) {
	for {
		if b := k.block.Load(); b != nil {
			if n := b.next.Add(1) - 1; n < b.end {
				return keytree.Leaf(n), nil
			}
		}
		if err := k.lease(ctx); err != nil {
			return 0, err
		}
	}
}

// lease gets a next block, twice the size of the last one.
func (k *OrgKeys) lease(ctx context.Context) error {
	select {
	case k.leasing <- struct{}{}:
		defer func() { <-k.leasing }()
	case <-ctx.Done():
		return failed(errors.Join(wire.ErrUnreachable, ctx.Err()))
	}
	size := uint64(firstBlock)
	if b := k.block.Load(); b != nil {
		if b.next.Load() < b.end {
			return nil // another goroutine was faster
		}
		size = min(b.size*2, lastBlock)
	}
	a, err := wire.Call[leaseAnswer](ctx, k.c.c, "/v1/lease", leaseRequest{Org: k.org, Count: uint32(size)})
	if err != nil {
		return failed(err)
	}
	end := uint64(a.First) + uint64(a.Count)
	if uint64(a.First) < keyfile.FirstLeaf || a.Count == 0 || uint64(a.Count) > size || end > keyfile.MaxMark {
		return errors.New("key service: the leaves it gives are out of bounds")
	}
	b := &block{end: end, size: size}
	b.next.Store(uint64(a.First))
	k.block.Store(b)
	return nil
}

// page derives the leaves of a page. Beside the cover it keeps what was
// derived on the way, so that a key costs 4 HMACs for a neighbour of a recent
// leaf, 8 in a page that is used all over, and none for a reserved leaf.
type page struct {
	cover    keytree.Cover
	reserved *[firstLeaves]atomic.Pointer[keytree.Key] // of page 0
	near     [8]atomic.Pointer[keytree.Node]           // subtrees of 16 leaves, by bits 4 to 6 of the leaf
	misses   atomic.Uint32
	far      atomic.Pointer[[256]atomic.Pointer[keytree.Node]] // subtrees of 256 leaves, once the page is hot
}

const (
	firstLeaves = int(keytree.FirstLease)
	nearHeight  = 4
	farHeight   = 8
	hot         = 64 // derivations from the cover after which far is worth its 10 KB
)

func newPage(c keytree.Cover) *page {
	p := &page{cover: c}
	if c.Page() == 0 {
		p.reserved = new([firstLeaves]atomic.Pointer[keytree.Key])
	}
	return p
}

func (p *page) derive(leaf keytree.Leaf) (keytree.Key, error) {
	if leaf < keytree.FirstLease {
		slot := &p.reserved[leaf]
		if k := slot.Load(); k != nil {
			return *k, nil
		}
		k, err := p.cover.Derive(leaf)
		if err == nil {
			slot.Store(&k)
		}
		return k, err
	}
	slot := &p.near[leaf>>nearHeight&7]
	if n := slot.Load(); n != nil && n.Covers(leaf) {
		return n.Derive(leaf)
	}
	n, err := p.above(leaf)
	if err != nil {
		return keytree.Key{}, err
	}
	if n.Height > nearHeight {
		if n, err = n.Descend(leaf, nearHeight); err != nil {
			return keytree.Key{}, err
		}
		slot.Store(&n)
	}
	return n.Derive(leaf)
}

// above returns a subtree of living leaves that holds the leaf, as low as is
// known.
func (p *page) above(leaf keytree.Leaf) (keytree.Node, error) {
	far := p.far.Load()
	i := uint32(leaf) >> farHeight & 255
	if far != nil {
		if n := far[i].Load(); n != nil {
			return *n, nil
		}
	}
	n, err := p.cover.Find(leaf)
	if err != nil || n.Height <= farHeight {
		return n, err
	}
	if far == nil {
		if p.misses.Add(1) < hot {
			return n, nil
		}
		p.far.CompareAndSwap(nil, new([256]atomic.Pointer[keytree.Node]))
		far = p.far.Load()
	}
	if n, err = n.Descend(leaf, farHeight); err != nil {
		return keytree.Node{}, err
	}
	far[i].Store(&n)
	return n, nil
}
