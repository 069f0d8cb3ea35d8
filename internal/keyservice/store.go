package keyservice

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/keyservice/guardian"
	"strongroom/internal/keyservice/internal/disk"
	"strongroom/internal/keyservice/internal/keyfile"
)

// state is one revision, opened. It never changes; a new revision is a new
// state.
type state struct {
	root    keyfile.Root
	hash    keyfile.Hash
	emk     keyfile.Key
	entries [256][]keyfile.Entry
	count   guardian.Count // what the guardians have counted
}

func (st *state) get(org uuid.UUID) (keyfile.Entry, bool) {
	es := st.entries[keyfile.PageOf(org)]
	i, ok := keyfile.Find(es, org)
	if !ok {
		return keyfile.Entry{}, false
	}
	return es[i], true
}

func (st *state) organizations() (n int) {
	for _, es := range st.entries {
		n += len(es)
	}
	return n
}

// store holds the two zones and the guardians to one revision protocol:
//
//	write both zones, root last → read back → count at every guardian → answer
//
// A revision that all guardians counted is never lost and never superseded by
// an older one; a revision that was not counted was not answered, and load
// adopts it or drops it. load is also what recovers: after any failure the
// store is read again from the disks, as after a crash, so that there is one
// way back and it is the tested one.
//
// commit and load are called by one goroutine, the writer.
type store struct {
	log   *slog.Logger
	zones []*zone
	wards wards
	// accept is a revision that the operator agreed to go on from although the
	// guardians counted a later one; 0 for none.
	accept uint64

	cur     atomic.Pointer[state]
	settled atomic.Bool // both zones whole, all guardians counted cur
	trouble atomic.Pointer[[]string]
	healed  atomic.Uint64 // files that were missing or damaged in one zone
	lost    atomic.Uint64 // reads that failed in both zones
	highest atomic.Uint64 // the highest revision that this process wrote or saw

	// files orders the readers of files (shared) against their removal.
	files sync.RWMutex
	fence uint64 // of this process; 0 until it has taken the store over
}

// fatal marks what a running service must stop for.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

func fatalf(format string, args ...any) error { return fatal{fmt.Errorf(format, args...)} }

func isFatal(err error) bool { return errors.As(err, new(fatal)) }

var errNoGuardian = errors.New("no guardian answers, and without one no key can be opened. " +
	"Start the guardians; if all of them are lost, the data is lost: there is no other copy of their key, by design")

// candidate is a root that opens.
type candidate struct {
	root keyfile.Root
	hash keyfile.Hash
}

// survey is what a zone's directory holds.
type survey struct {
	have   map[keyfile.ID]bool
	store  [16]byte
	marked bool
	roots  []candidate  // of the current epoch
	bad    []keyfile.ID // damaged or unreadable
	err    error
}

// load reads guardians and zones and decides which revision is the truth. It
// repairs what it can: a zone from the other one, a guardian that is empty or
// one step behind. Where it cannot, it leaves a sentence in trouble, and cur
// can be read but not written. An error means that no revision can be
// trusted: at start the service refuses, and a running one goes on reading
// the revision it has unless the error is fatal.
func (s *store) load(ctx context.Context) error {
	s.settled.Store(false)
	seen := s.wards.look(ctx)
	var lead *sight
	up := 0
	for _, w := range s.wards {
		if g := seen[w]; g.err == nil {
			up++
			if g.Current != nil && (lead == nil || g.epoch() > lead.epoch()) {
				lead = g
			}
		}
	}
	if up == 0 {
		return errNoGuardian
	}
	var trouble []string
	zones := map[*zone]*survey{}
	for _, z := range s.zones {
		v := s.survey(z, lead)
		zones[z] = v
		if errors.Is(v.err, disk.ErrLocked) || isFatal(v.err) {
			return fatal{v.err}
		}
		if v.err != nil {
			trouble = append(trouble, v.err.Error())
		}
	}
	if a, b := s.zones[0].in.Load(), s.zones[1].in.Load(); a != nil && b != nil && a.dir.Same(b.dir) {
		return fatalf("both zones are the directory %s: a second copy in the same place is none", s.zones[0].path)
	}
	if len(trouble) == len(s.zones) {
		return fmt.Errorf("no zone can be read: %s", trouble)
	}
	if lead == nil {
		if up < len(s.wards) {
			return errors.New("the guardians that answer are empty, and one does not answer: waiting for it, as it may hold the key")
		}
		return s.genesis(ctx, seen, zones)
	}
	for _, w := range s.wards {
		g := seen[w]
		if g.err == nil && g.epoch() == lead.epoch() && (*g.Current != *lead.Current || *g.EMK != *lead.EMK) {
			return fatalf("the guardians disagree about epoch %d: they belong to different installations, or one is damaged", lead.epoch())
		}
	}

	st, err := s.choose(lead, seen, zones)
	if err != nil {
		return err
	}
	if s.fence != 0 && st.root.Fence > s.fence {
		return fatalf("another key service has taken the store over (fence %d, ours is %d): this one stops", st.root.Fence, s.fence)
	}
	s.cur.Store(st)

	for _, z := range s.zones {
		if v := zones[z]; v.err == nil {
			if err := s.repair(z, v, st); err != nil {
				trouble = append(trouble, err.Error())
			}
		}
	}
	for _, w := range s.wards {
		if err := s.reconcile(ctx, w, seen[w], lead, st); err != nil {
			trouble = append(trouble, err.Error())
		}
	}
	s.trouble.Store(&trouble)
	if len(trouble) > 0 {
		return nil
	}
	s.sweep(st, zones)
	s.settled.Store(true)
	if s.fence == 0 {
		if err := s.takeOver(ctx); err != nil {
			s.trouble.Store(&[]string{err.Error()})
		}
	}
	return nil
}

// survey opens a zone and reads its roots. lead is nil before the first epoch.
func (s *store) survey(z *zone, lead *sight) *survey {
	v := &survey{}
	if v.err = z.open(); v.err != nil {
		return v
	}
	var markerErr error
	if v.store, v.marked, markerErr = z.marker(); markerErr != nil {
		s.log.Error("the marker of a zone cannot be read", "zone", z.name, "error", markerErr)
	}
	if v.have, v.err = z.list(); v.err != nil || lead == nil {
		return v
	}
	for f := range v.have {
		if f.Revision < 1<<62 { // a name is not authenticated: a wild one must not use up the numbers
			s.highest.Store(max(s.highest.Load(), f.Revision))
		}
		if f.Kind != keyfile.KindRoot || f.Epoch != lead.epoch() {
			continue
		}
		var b []byte
		o, err := z.held()
		if err == nil {
			b, err = o.dir.Read(f.Name())
		}
		if err == nil {
			var r keyfile.Root
			if r, err = openRoot(f, keyfile.Key(*lead.EMK), b); err == nil {
				v.roots = append(v.roots, candidate{root: r, hash: keyfile.Sum(b)})
				continue
			}
		}
		s.log.Error("a root cannot be opened", "zone", z.name, "file", f.Name(), "error", err)
		v.bad = append(v.bad, f)
	}
	switch {
	case len(v.roots) > 0 || v.marked: // it is ours, or says whose it is
	case markerErr != nil:
		v.err = markerErr
	case len(v.bad) > 0:
		v.err = fmt.Errorf("zone %s holds roots that the guardians' key does not open and no marker: it is damaged or another installation's, and is left alone", z.name)
	}
	return v
}

func openRoot(f keyfile.ID, emk keyfile.Key, b []byte) (keyfile.Root, error) {
	plain, err := keyfile.Open(f, emk, b)
	if err != nil {
		return keyfile.Root{}, err
	}
	defer clear(plain)
	r, err := keyfile.ParseRoot(plain)
	if err == nil && (r.Epoch != f.Epoch || r.Revision != f.Revision) {
		err = keyfile.ErrForm
	}
	return r, err
}

// choose picks the newest root that the guardians vouch for, or that follows
// directly on the one that they vouch for.
func (s *store) choose(lead *sight, seen map[*ward]*sight, zones map[*zone]*survey) (*state, error) {
	var count guardian.Count // the furthest that any guardian counted
	for _, g := range seen {
		if g.err == nil && g.count.Revision > count.Revision {
			count = g.count
		}
	}
	prepared := map[uint64]bool{}
	for _, g := range seen {
		if g.err == nil && g.Prepared != nil {
			prepared[g.Prepared.Epoch] = true
		}
	}
	var all []candidate
	older := false
	for _, z := range s.zones {
		for f := range zones[z].have {
			switch {
			case f.Kind != keyfile.KindRoot:
			case f.Epoch > lead.epoch() && !prepared[f.Epoch]:
				return nil, fatalf("zone %s holds a root of epoch %d and the guardians are in epoch %d: the guardians were rolled back", z.name, f.Epoch, lead.epoch())
			case f.Epoch < lead.epoch():
				older = true
			}
		}
		for _, c := range zones[z].roots {
			if !slices.ContainsFunc(all, func(o candidate) bool { return o.hash == c.hash }) {
				all = append(all, c)
			}
		}
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Compare(b.root.Revision, a.root.Revision) })
	for _, c := range all {
		r := c.root.Revision
		accepted := s.accept != 0 && r == s.accept && r < count.Revision
		switch {
		case r == count.Revision && c.hash != count.Root:
			s.log.Error("a root is not the one that the guardians counted", "epoch", c.root.Epoch, "revision", r)
			continue
		case r > count.Revision && c.root.Previous != count.Root:
			s.log.Error("a root does not follow on the one that the guardians counted", "epoch", c.root.Epoch, "revision", r, "counted", count.Revision)
			continue
		case r < count.Revision && !accepted:
			return nil, fatalf("the key store was rolled back: its newest root is revision %d, and the guardians have counted revision %d. "+
				"Put back the newer copy of either zone. If there is none, what was written after revision %d is lost; "+
				"to go on without it, start once with the acceptance of revision %d", r, count.Revision, r, r)
		}
		for _, z := range s.zones {
			if v := zones[z]; v.err == nil && v.marked && v.store != c.root.Store {
				return nil, fatalf("zone %s (%s) belongs to another installation: nothing in it was touched", z.name, z.path)
			}
		}
		st := &state{root: c.root, hash: c.hash, emk: keyfile.Key(*lead.EMK), count: guardian.Count{Revision: r, Root: c.hash, Leases: max(c.root.Leases, count.Leases)}}
		if accepted {
			st.count = count
		}
		err := s.loadPages(st, zones, r > count.Revision)
		switch {
		case err == nil:
			return st, nil
		case r > count.Revision: // not counted, so nothing in it was answered
			s.log.Warn("an unfinished revision is dropped", "revision", r, "error", err)
		default:
			return nil, fatalf("revision %d is damaged in both zones: %w", r, err)
		}
	}
	if older {
		return nil, fatalf("the key store was rolled back: it holds roots of earlier epochs only, and the guardians are in epoch %d", lead.epoch())
	}
	return nil, fatalf("no zone holds a whole root of epoch %d, revision %d: both copies of the key store are missing or damaged", lead.epoch(), count.Revision)
}

// loadPages reads the pages of the root from whichever zone has them whole.
// Of a revision that was not counted, every file must be in a zone as well.
func (s *store) loadPages(st *state, zones map[*zone]*survey, complete bool) error {
	for n, r := range st.root.Pages {
		f := keyfile.ID{Kind: keyfile.KindPage, Number: n, Revision: r.Revision}
		b, err := s.readAny(f, r.Hash, func(z *zone, err error) {
			zones[z].bad = append(zones[z].bad, f)
			s.log.Error("a page is missing or damaged in one zone", "zone", z.name, "file", f.Name(), "error", err)
		})
		if err != nil {
			return err
		}
		plain, err := keyfile.Open(f, r.Key, b)
		if err == nil {
			st.entries[n], err = keyfile.ParsePage(n, plain)
			clear(plain)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	if !complete {
		return nil
	}
	return s.need(st, func(f keyfile.ID, _ keyfile.Hash) error {
		if f.Kind != keyfile.KindRoot && !slices.ContainsFunc(s.zones, func(z *zone) bool { return zones[z].have[f] }) {
			return fmt.Errorf("%s is in no zone", f.Name())
		}
		return nil
	}, func(_ keyfile.Entry, err error) error { return err })
}

// readAny reads a file from the first zone that has it whole; missing is
// called for the zones tried before.
func (s *store) readAny(f keyfile.ID, want keyfile.Hash, missing func(*zone, error)) ([]byte, error) {
	var errs []error
	for _, z := range s.zones {
		b, err := z.read(f, want)
		if err == nil {
			return b, nil
		}
		errs = append(errs, err)
		if !errors.Is(err, errNotThere) {
			missing(z, err)
		}
	}
	return nil, errors.Join(errs...)
}

// need calls fn for every file of the revision, the root last, and lost for
// an organization whose split pages cannot be told because its top is whole
// in no zone.
func (s *store) need(st *state, fn func(keyfile.ID, keyfile.Hash) error, lost func(keyfile.Entry, error) error) error {
	for n := range 256 {
		r, ok := st.root.Pages[uint8(n)]
		if !ok {
			continue
		}
		for _, e := range st.entries[n] {
			for _, g := range e.Generations {
				if err := fn(e.TopID(g), g.Top.Hash); err != nil {
					return err
				}
				if g.Splits == 0 {
					continue
				}
				t, err := openTop(e, g, func(f keyfile.ID, want keyfile.Hash) ([]byte, error) {
					return s.readAny(f, want, func(*zone, error) {})
				})
				if err != nil {
					if err := lost(e, err); err != nil {
						return err
					}
					continue
				}
				t.Tree.Wipe()
				for p, r := range t.Splits {
					if err := fn(keyfile.ID{Kind: keyfile.KindSplit, Org: e.Org, Generation: g.Number, Page: p, Revision: r.Revision}, r.Hash); err != nil {
						return err
					}
				}
			}
		}
		if err := fn(keyfile.ID{Kind: keyfile.KindPage, Number: uint8(n), Revision: r.Revision}, r.Hash); err != nil {
			return err
		}
	}
	return fn(keyfile.ID{Kind: keyfile.KindRoot, Epoch: st.root.Epoch, Revision: st.root.Revision}, st.hash)
}

// openTop reads an organization's tree, its bytes by read.
func openTop(e keyfile.Entry, g keyfile.Generation, read func(keyfile.ID, keyfile.Hash) ([]byte, error)) (keyfile.Top, error) {
	f := e.TopID(g)
	b, err := read(f, g.Top.Hash)
	if err != nil {
		return keyfile.Top{}, err
	}
	plain, err := keyfile.Open(f, g.Top.Key, b)
	if err != nil {
		return keyfile.Top{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	defer clear(plain)
	t, err := keyfile.ParseTop(plain)
	if err == nil && len(t.Splits) != int(g.Splits) {
		err = keyfile.ErrForm
	}
	if err != nil {
		return keyfile.Top{}, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return t, nil
}

// repair makes a zone hold every file of the revision, from the other zone.
// Files whose presence the listing shows are taken for whole here; scrub
// reads them.
func (s *store) repair(z *zone, v *survey, st *state) error {
	o, err := z.held()
	if err != nil {
		return err
	}
	n := 0
	err = s.need(st, func(f keyfile.ID, want keyfile.Hash) error {
		if v.have[f] && !slices.Contains(v.bad, f) {
			return nil
		}
		n++
		if f.Kind == keyfile.KindRoot { // everything it names is durable before it
			if err := o.sync(); err != nil {
				return err
			}
		}
		err := s.copyTo(z, f, want)
		if errors.Is(err, errNowhere) {
			// One organization's keys are gone from both zones. It is said
			// loudly and often; the others go on.
			s.gone(f, err)
			return nil
		}
		return err
	}, func(e keyfile.Entry, err error) error { s.gone(e.TopID(e.Current()), err); return nil })
	if err == nil && (!v.marked || v.store != st.root.Store) {
		err = o.dir.Replace(markerName, marshalMarker(st.root.Store))
	}
	if err == nil && n > 0 {
		err = o.sync()
		s.log.Warn("a zone lacked files and was refilled from the other one", "zone", z.name, "files", n)
	}
	return err
}

func (s *store) copyTo(z *zone, f keyfile.ID, want keyfile.Hash) error {
	var errs []error
	for _, from := range s.zones {
		if from == z {
			continue
		}
		b, err := from.read(f, want)
		if err == nil {
			s.healed.Add(1)
			return z.replace(f, b)
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("%s: %w: %w", f.Name(), errNowhere, errors.Join(errs...))
}

var errNowhere = errors.New("the file is whole in no zone")

// gone reports an organization's file that no zone holds whole.
func (s *store) gone(f keyfile.ID, err error) {
	s.lost.Add(1)
	s.log.Error("keys of an organization are damaged or missing in every zone", "organization", text(f.Org), "file", f.Name(), "error", err)
}

// reconcile brings one guardian to the chosen revision.
func (s *store) reconcile(ctx context.Context, w *ward, seen, lead *sight, st *state) error {
	if seen.err != nil {
		return fmt.Errorf("guardian %s does not answer: keys can be read; new organizations and leases wait until it is back: %w", w.name, seen.err)
	}
	if err := w.align(ctx, seen, lead); err != nil {
		return err
	}
	switch {
	case seen.count == st.count:
		return nil
	case seen.count == (guardian.Count{}) || seen.count.Root == st.root.Previous && seen.count.Revision < st.count.Revision:
		// Enrolled just now, or the count of this revision did not reach it.
		return w.advance(ctx, seen.count, st.count)
	}
	return fmt.Errorf("guardian %s has counted revision %d and the store is at %d: it was rolled back and is not used. "+
		"Move its directory away and start it empty; it is then enrolled anew", w.name, seen.count.Revision, st.count.Revision)
}

// sweep removes files of other revisions. It runs only when the chosen one is
// whole in both zones and counted by all.
func (s *store) sweep(st *state, zones map[*zone]*survey) {
	s.files.Lock()
	defer s.files.Unlock()
	for _, z := range s.zones {
		stale := maps.Clone(zones[z].have)
		_ = s.need(st, func(f keyfile.ID, _ keyfile.Hash) error { delete(stale, f); return nil }, func(e keyfile.Entry, _ error) error {
			// Its split pages are unknown: none of its files is rubbish.
			maps.DeleteFunc(stale, func(f keyfile.ID, _ bool) bool { return f.Org == e.Org && f.OfOrg() })
			return nil
		})
		s.remove(z, slices.Collect(maps.Keys(stale)))
	}
}

// remove deletes superseded files, roots first: a root without its pages is
// damage, pages without a root are rubbish. Callers hold files.
func (s *store) remove(z *zone, stale []keyfile.ID) {
	o, err := z.held()
	if err != nil {
		return
	}
	slices.SortFunc(stale, func(a, b keyfile.ID) int {
		return cmp.Compare(b2i(a.Kind != keyfile.KindRoot), b2i(b.Kind != keyfile.KindRoot))
	})
	for _, f := range stale {
		if err := o.at(f).Remove(f.Name()); err != nil {
			s.log.Warn("a superseded file could not be removed; the next start tries again", "zone", z.name, "file", f.Name(), "error", err)
			return
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// genesis makes the first epoch. Guardians that are all empty may also mean
// that all of them were lost, so the zones must hold nothing but what an
// interrupted first start leaves.
func (s *store) genesis(ctx context.Context, seen map[*ward]*sight, zones map[*zone]*survey) error {
	unfinished := map[keyfile.Hash]bool{}
	for _, g := range seen {
		if g.Prepared != nil && g.Prepared.Epoch == 1 {
			unfinished[g.Prepared.Root] = true
		}
		if g.count != (guardian.Count{}) {
			return fatalf("guardian %s has counted revisions and holds no key: it is damaged", g.Guardian)
		}
	}
	for _, z := range s.zones {
		v := zones[z]
		if v.err != nil {
			return fmt.Errorf("a first start needs both zones: %w", v.err)
		}
		for f := range v.have {
			ours := f.Revision == 1
			if f.Kind == keyfile.KindRoot {
				b, err := z.in.Load().dir.Read(f.Name())
				ours = err == nil && f.Epoch == 1 && unfinished[keyfile.Sum(b)]
			}
			if !ours {
				return fatalf("all guardians are empty and zone %s holds keys (%s): the guardians were lost or are new. "+
					"Without the old ones this store cannot be opened; nothing was changed", z.name, f.Name())
			}
		}
	}
	for _, z := range s.zones {
		s.remove(z, slices.Collect(maps.Keys(zones[z].have)))
		if err := z.in.Load().sync(); err != nil {
			return err
		}
	}
	now := time.Now().Unix()
	d := &draft{store: s, base: &state{root: keyfile.Root{Store: newStoreID(), Since: now}}, revision: 1, rotate: true, seen: seen}
	d.root = d.base.root
	d.root.Pages = map[uint8]keyfile.Ref{}
	if err := d.create(id.Installation.UUID()); err != nil {
		return err
	}
	for _, z := range s.zones {
		if err := z.in.Load().dir.Replace(markerName, marshalMarker(d.root.Store)); err != nil {
			return err
		}
	}
	if _, err := s.commit(ctx, d); err != nil {
		return fmt.Errorf("the first start: %w", err)
	}
	s.log.Info("key store made", "epoch", 1)
	return s.load(ctx)
}

// takeOver writes a revision with a higher fence: a key service that held the
// store before fails at its next compare-and-swap.
func (s *store) takeOver(ctx context.Context) error {
	d := s.begin()
	d.root.Fence++
	// Guardians that counted more leases than the root knows (it was restored)
	// bound what any one organization may have used since: skip that far.
	if known := d.root.Leases; d.base.count.Leases > known {
		skip := d.base.count.Leases - known
		s.log.Warn("leaves are skipped that may have been used after the restored revision", "leaves", skip)
		d.root.Leases += skip
		for _, es := range d.base.entries {
			for _, e := range es {
				e.Mark = min(e.Mark+skip, keyfile.MaxMark)
				d.put(e)
			}
		}
	}
	if _, err := s.commit(ctx, d); err != nil {
		return err
	}
	s.fence, s.accept = d.root.Fence, 0
	return nil
}

// draft is a revision in the making.
type draft struct {
	store    *store
	base     *state
	root     keyfile.Root
	revision uint64
	entries  map[uint8][]keyfile.Entry // pages that change
	files    []keyfile.File            // of organizations
	rotate   bool
	seen     map[*ward]*sight // of a rotation: what the guardians hold
}

func (s *store) begin() *draft {
	st := s.cur.Load()
	d := &draft{store: s, base: st, root: st.root}
	d.root.Pages = maps.Clone(st.root.Pages)
	// A revision number is never used for two attempts: a root that a failed
	// one left behind must not meet another of its name.
	d.revision = max(s.highest.Load(), st.count.Revision) + 1
	return d
}

func (d *draft) get(org uuid.UUID) (keyfile.Entry, bool) {
	es, ok := d.entries[keyfile.PageOf(org)]
	if !ok {
		es = d.base.entries[keyfile.PageOf(org)]
	}
	i, ok := keyfile.Find(es, org)
	if !ok {
		return keyfile.Entry{}, false
	}
	return es[i], true
}

func (d *draft) put(e keyfile.Entry) {
	if d.entries == nil {
		d.entries = map[uint8][]keyfile.Entry{}
	}
	p := keyfile.PageOf(e.Org)
	es, ok := d.entries[p]
	if !ok {
		es = slices.Clone(d.base.entries[p])
	}
	if i, ok := keyfile.Find(es, e.Org); ok {
		es[i] = e
	} else {
		es = slices.Insert(es, i, e)
	}
	d.entries[p] = es
}

// create adds an organization with a tree of its own and its first leaves
// reserved, so that its first records need no further revision.
func (d *draft) create(org uuid.UUID) error {
	tree, err := keytree.New(rand.Reader)
	if err != nil {
		return err
	}
	defer tree.Wipe()
	g, files, err := keyfile.SealTree(org, 1, tree, d.revision)
	if err != nil {
		return err
	}
	d.files = append(d.files, files...)
	d.put(keyfile.Entry{Org: org, Mark: uint64(keytree.FirstLease) + firstStep, Generations: []keyfile.Generation{g}})
	d.root.Leases += firstStep
	return nil
}

// build seals the pages that changed and the root.
func (d *draft) build() (files []keyfile.File, next *state, err error) {
	next = &state{emk: d.base.emk, entries: d.base.entries}
	if d.rotate {
		// Every page gets a fresh key too: who once read the old root knows
		// nothing of the new one.
		next.emk = keyfile.NewKey()
		d.root.Epoch++
		d.root.First, d.root.Since = d.revision, time.Now().Unix()
		for p, es := range d.base.entries {
			if _, ok := d.entries[uint8(p)]; !ok && len(es) > 0 {
				d.entries[uint8(p)] = es
			}
		}
	}
	files = d.files
	for p, es := range d.entries {
		plain := keyfile.MarshalPage(p, es)
		k := keyfile.NewKey()
		f, err := keyfile.Seal(keyfile.ID{Kind: keyfile.KindPage, Number: p, Revision: d.revision}, k, plain)
		clear(plain)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, f)
		d.root.Pages[p] = f.Ref(k)
		next.entries[p] = es
	}
	d.root.Revision = d.revision
	d.root.Previous = d.base.count.Root
	plain := d.root.Marshal()
	defer clear(plain)
	f, err := keyfile.Seal(keyfile.ID{Kind: keyfile.KindRoot, Epoch: d.root.Epoch, Revision: d.revision}, next.emk, plain)
	if err != nil {
		return nil, nil, err
	}
	next.root, next.hash = d.root, f.Hash
	next.count = guardian.Count{Revision: d.revision, Root: f.Hash, Leases: d.root.Leases}
	return append(files, f), next, nil
}

// commit carries out the revision protocol. After an error nothing is known
// about whether the revision will be found, and the store is unsettled: load
// decides.
func (s *store) commit(ctx context.Context, d *draft) (attested []guardian.Attestation, err error) {
	defer func() {
		if err != nil {
			s.settled.Store(false)
		}
	}()
	if d.rotate && d.entries == nil {
		d.entries = map[uint8][]keyfile.Entry{}
	}
	files, next, err := d.build()
	if err != nil {
		return nil, err
	}
	epoch := guardian.Epoch{Epoch: next.root.Epoch, Root: next.hash, Ledger: next.root.Ledger}
	if d.rotate {
		if err := s.wards.prepare(ctx, d.seen, epoch, next.emk); err != nil {
			return nil, err
		}
	}
	s.highest.Store(d.revision)
	errs := make([]error, len(s.zones))
	var wg sync.WaitGroup
	for i, z := range s.zones {
		wg.Go(func() {
			if errs[i] = z.publish(files); errs[i] == nil {
				errs[i] = z.readBack(files, next.emk)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if d.rotate {
		if err := s.wards.commit(ctx, epoch); err != nil {
			return nil, err
		}
	}
	if err := s.wards.advance(ctx, d.base.count, next.count); err != nil {
		return nil, err
	}
	s.cur.Store(next)
	if d.rotate && d.base.root.Epoch > 0 {
		if attested, err = s.wards.destroy(ctx, d.base.root.Epoch); err != nil {
			return nil, err
		}
	}
	s.discard(d)
	return attested, nil
}

// discard removes the files that d superseded.
func (s *store) discard(d *draft) {
	if d.base.root.Revision == 0 {
		return
	}
	stale := []keyfile.ID{{Kind: keyfile.KindRoot, Epoch: d.base.root.Epoch, Revision: d.base.root.Revision}}
	for p := range d.entries {
		if r, ok := d.base.root.Pages[p]; ok {
			stale = append(stale, keyfile.ID{Kind: keyfile.KindPage, Number: p, Revision: r.Revision})
		}
	}
	s.files.Lock()
	defer s.files.Unlock()
	for _, z := range s.zones {
		s.remove(z, slices.Clone(stale))
	}
}

// cover returns what derives the leaves of one page of an organization's
// tree, with the number of its generation and of the current one. Generation
// 0 asks for the current one.
func (s *store) cover(org uuid.UUID, number uint32, page uint16) (c keytree.Cover, gen, current uint32, serial uint64, err error) {
	s.files.RLock()
	defer s.files.RUnlock()
	st := s.cur.Load()
	e, ok := st.get(org)
	if !ok {
		return c, 0, 0, 0, errUnknownOrg
	}
	g := e.Current()
	if number != 0 {
		i := slices.IndexFunc(e.Generations, func(g keyfile.Generation) bool { return g.Number == number })
		if i < 0 {
			return c, 0, 0, 0, errUnknownGeneration
		}
		g = e.Generations[i]
	}
	c, err = s.openCover(e, g, page)
	return c, g.Number, e.Current().Number, st.root.Serial, err
}

func (s *store) openCover(e keyfile.Entry, g keyfile.Generation, page uint16) (c keytree.Cover, err error) {
	t, err := openTop(e, g, s.readHealing)
	if err != nil {
		return c, err
	}
	defer t.Tree.Wipe()
	r, split := t.Splits[page]
	if !split {
		return t.Tree.Page(page)
	}
	f := keyfile.ID{Kind: keyfile.KindSplit, Org: e.Org, Generation: g.Number, Page: page, Revision: r.Revision}
	b, err := s.readHealing(f, r.Hash)
	if err != nil {
		return c, err
	}
	plain, err := keyfile.Open(f, r.Key, b)
	if err == nil {
		c, err = keytree.ParseCover(plain)
		clear(plain)
	}
	if err == nil && (c.Page() != page || c.Intact()) {
		err = keyfile.ErrForm
	}
	if err != nil {
		return c, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return c, nil
}

// readHealing reads a file from either zone. A zone that lacks it or holds it
// damaged gets it back from the other. Callers hold files, shared.
func (s *store) readHealing(f keyfile.ID, want keyfile.Hash) ([]byte, error) {
	var bad []*zone
	b, err := s.readAny(f, want, func(z *zone, _ error) { bad = append(bad, z) })
	if err != nil {
		s.gone(f, err)
		return nil, err
	}
	for _, z := range bad {
		err := s.heal(z, f, b)
		s.log.Error("a file of the key store was damaged or missing in one zone", "zone", z.name, "file", f.Name(), "repaired", err == nil, "error", err)
	}
	return b, nil
}

func (s *store) heal(z *zone, f keyfile.ID, b []byte) error {
	err := z.replace(f, b)
	if errors.Is(err, fs.ErrExist) {
		return nil // another reader was faster
	}
	if err == nil {
		s.healed.Add(1)
		var o *opened
		if o, err = z.held(); err == nil {
			err = o.at(f).Sync()
		}
	}
	return err
}

// scrub reads every file of the current revision in both zones and repairs
// one from the other. It returns how many are whole nowhere.
func (s *store) scrub(ctx context.Context) (lost int) {
	st := s.cur.Load()
	_ = s.need(st, func(f keyfile.ID, want keyfile.Hash) error {
		s.files.RLock()
		defer s.files.RUnlock()
		if s.cur.Load() != st && f.Kind != keyfile.KindTop && f.Kind != keyfile.KindSplit {
			return nil // superseded while we walk; its writer has read it back
		}
		for _, z := range s.zones {
			if _, err := z.read(f, want); err == nil {
				continue
			}
			if s.cur.Load() != st {
				continue
			}
			b, err := s.readAny(f, want, func(*zone, error) {})
			if err != nil {
				lost++
				s.gone(f, err)
				return ctx.Err()
			}
			err = s.heal(z, f, b)
			s.log.Error("a file of the key store was damaged or missing in one zone", "zone", z.name, "file", f.Name(), "repaired", err == nil, "error", err)
		}
		return ctx.Err()
	}, func(e keyfile.Entry, err error) error { return ctx.Err() })
	return lost
}

func (s *store) close() {
	for _, z := range s.zones {
		z.close()
	}
}

// text names an organization in messages.
func text(org uuid.UUID) string { return fmt.Sprint(orgID(org)) }

func orgID(u uuid.UUID) (o id.Org) { _ = o.Scan([16]byte(u)); return o }
