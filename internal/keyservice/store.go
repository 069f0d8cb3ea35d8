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
)

// state is one revision, opened. It never changes; a new revision is a new
// state.
type state struct {
	root    root
	hash    hash
	emk     key
	entries [256][]entry
	count   guardian.Count // what the guardians have counted
}

func (st *state) get(org uuid.UUID) (entry, bool) {
	es := st.entries[pageOf(org)]
	i, ok := find(es, org)
	if !ok {
		return entry{}, false
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
	root root
	hash hash
}

// survey is what a zone's directory holds.
type survey struct {
	have   map[fileID]bool
	store  [16]byte
	marked bool
	roots  []candidate // of the current epoch
	bad    []fileID    // damaged or unreadable
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
	if s.fence != 0 && st.root.fence > s.fence {
		return fatalf("another key service has taken the store over (fence %d, ours is %d): this one stops", st.root.fence, s.fence)
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
		if f.revision < 1<<62 { // a name is not authenticated: a wild one must not use up the numbers
			s.highest.Store(max(s.highest.Load(), f.revision))
		}
		if f.kind != kindRoot || f.epoch != lead.epoch() {
			continue
		}
		var b []byte
		o, err := z.held()
		if err == nil {
			b, err = o.dir.Read(f.name())
		}
		if err == nil {
			var r root
			if r, err = openRoot(f, key(*lead.EMK), b); err == nil {
				v.roots = append(v.roots, candidate{root: r, hash: sum(b)})
				continue
			}
		}
		s.log.Error("a root cannot be opened", "zone", z.name, "file", f.name(), "error", err)
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

func openRoot(f fileID, emk key, b []byte) (root, error) {
	plain, err := openFile(f, emk, b)
	if err != nil {
		return root{}, err
	}
	defer clear(plain)
	r, err := parseRoot(plain)
	if err == nil && (r.epoch != f.epoch || r.revision != f.revision) {
		err = errForm
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
			case f.kind != kindRoot:
			case f.epoch > lead.epoch() && !prepared[f.epoch]:
				return nil, fatalf("zone %s holds a root of epoch %d and the guardians are in epoch %d: the guardians were rolled back", z.name, f.epoch, lead.epoch())
			case f.epoch < lead.epoch():
				older = true
			}
		}
		for _, c := range zones[z].roots {
			if !slices.ContainsFunc(all, func(o candidate) bool { return o.hash == c.hash }) {
				all = append(all, c)
			}
		}
	}
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Compare(b.root.revision, a.root.revision) })
	for _, c := range all {
		r := c.root.revision
		accepted := s.accept != 0 && r == s.accept && r < count.Revision
		switch {
		case r == count.Revision && c.hash != count.Root:
			s.log.Error("a root is not the one that the guardians counted", "epoch", c.root.epoch, "revision", r)
			continue
		case r > count.Revision && c.root.previous != count.Root:
			s.log.Error("a root does not follow on the one that the guardians counted", "epoch", c.root.epoch, "revision", r, "counted", count.Revision)
			continue
		case r < count.Revision && !accepted:
			return nil, fatalf("the key store was rolled back: its newest root is revision %d, and the guardians have counted revision %d. "+
				"Put back the newer copy of either zone. If there is none, what was written after revision %d is lost; "+
				"to go on without it, start once with the acceptance of revision %d", r, count.Revision, r, r)
		}
		for _, z := range s.zones {
			if v := zones[z]; v.err == nil && v.marked && v.store != c.root.store {
				return nil, fatalf("zone %s (%s) belongs to another installation: nothing in it was touched", z.name, z.path)
			}
		}
		st := &state{root: c.root, hash: c.hash, emk: key(*lead.EMK), count: guardian.Count{Revision: r, Root: c.hash, Leases: max(c.root.leases, count.Leases)}}
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
	for n, r := range st.root.pages {
		f := fileID{kind: kindPage, number: n, revision: r.revision}
		b, err := s.readAny(f, r.hash, func(z *zone, err error) {
			zones[z].bad = append(zones[z].bad, f)
			s.log.Error("a page is missing or damaged in one zone", "zone", z.name, "file", f.name(), "error", err)
		})
		if err != nil {
			return err
		}
		plain, err := openFile(f, r.key, b)
		if err == nil {
			st.entries[n], err = parsePage(n, plain)
			clear(plain)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.name(), err)
		}
	}
	if !complete {
		return nil
	}
	return s.need(st, func(f fileID, _ hash) error {
		if f.kind != kindRoot && !slices.ContainsFunc(s.zones, func(z *zone) bool { return zones[z].have[f] }) {
			return fmt.Errorf("%s is in no zone", f.name())
		}
		return nil
	}, func(_ entry, err error) error { return err })
}

func (e entry) topID(g generation) fileID {
	return fileID{kind: kindTop, org: e.org, generation: g.number, revision: g.top.revision}
}

// readAny reads a file from the first zone that has it whole; missing is
// called for the zones tried before.
func (s *store) readAny(f fileID, want hash, missing func(*zone, error)) ([]byte, error) {
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
func (s *store) need(st *state, fn func(fileID, hash) error, lost func(entry, error) error) error {
	for n := range 256 {
		r, ok := st.root.pages[uint8(n)]
		if !ok {
			continue
		}
		for _, e := range st.entries[n] {
			for _, g := range e.generations {
				if err := fn(e.topID(g), g.top.hash); err != nil {
					return err
				}
				if g.splits == 0 {
					continue
				}
				t, err := openTop(e, g, func(f fileID, want hash) ([]byte, error) { return s.readAny(f, want, func(*zone, error) {}) })
				if err != nil {
					if err := lost(e, err); err != nil {
						return err
					}
					continue
				}
				t.tree.Wipe()
				for p, r := range t.splits {
					if err := fn(fileID{kind: kindSplit, org: e.org, generation: g.number, page: p, revision: r.revision}, r.hash); err != nil {
						return err
					}
				}
			}
		}
		if err := fn(fileID{kind: kindPage, number: uint8(n), revision: r.revision}, r.hash); err != nil {
			return err
		}
	}
	return fn(fileID{kind: kindRoot, epoch: st.root.epoch, revision: st.root.revision}, st.hash)
}

// openTop reads an organization's tree, its bytes by read.
func openTop(e entry, g generation, read func(fileID, hash) ([]byte, error)) (top, error) {
	f := e.topID(g)
	b, err := read(f, g.top.hash)
	if err != nil {
		return top{}, err
	}
	plain, err := openFile(f, g.top.key, b)
	if err != nil {
		return top{}, fmt.Errorf("%s: %w", f.name(), err)
	}
	defer clear(plain)
	t, err := parseTop(plain)
	if err == nil && len(t.splits) != int(g.splits) {
		err = errForm
	}
	if err != nil {
		return top{}, fmt.Errorf("%s: %w", f.name(), err)
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
	err = s.need(st, func(f fileID, want hash) error {
		if v.have[f] && !slices.Contains(v.bad, f) {
			return nil
		}
		n++
		if f.kind == kindRoot { // everything it names is durable before it
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
	}, func(e entry, err error) error { s.gone(e.topID(e.current()), err); return nil })
	if err == nil && (!v.marked || v.store != st.root.store) {
		err = o.dir.Replace(markerName, marshalMarker(st.root.store))
	}
	if err == nil && n > 0 {
		err = o.sync()
		s.log.Warn("a zone lacked files and was refilled from the other one", "zone", z.name, "files", n)
	}
	return err
}

func (s *store) copyTo(z *zone, f fileID, want hash) error {
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
	return fmt.Errorf("%s: %w: %w", f.name(), errNowhere, errors.Join(errs...))
}

var errNowhere = errors.New("the file is whole in no zone")

// gone reports an organization's file that no zone holds whole.
func (s *store) gone(f fileID, err error) {
	s.lost.Add(1)
	s.log.Error("keys of an organization are damaged or missing in every zone", "organization", text(f.org), "file", f.name(), "error", err)
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
	case seen.count == (guardian.Count{}) || seen.count.Root == st.root.previous && seen.count.Revision < st.count.Revision:
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
		_ = s.need(st, func(f fileID, _ hash) error { delete(stale, f); return nil }, func(e entry, _ error) error {
			// Its split pages are unknown: none of its files is rubbish.
			maps.DeleteFunc(stale, func(f fileID, _ bool) bool { return f.org == e.org && f.ofOrg() })
			return nil
		})
		s.remove(z, slices.Collect(maps.Keys(stale)))
	}
}

// remove deletes superseded files, roots first: a root without its pages is
// damage, pages without a root are rubbish. Callers hold files.
func (s *store) remove(z *zone, stale []fileID) {
	o, err := z.held()
	if err != nil {
		return
	}
	slices.SortFunc(stale, func(a, b fileID) int {
		return cmp.Compare(b2i(a.kind != kindRoot), b2i(b.kind != kindRoot))
	})
	for _, f := range stale {
		if err := o.at(f).Remove(f.name()); err != nil {
			s.log.Warn("a superseded file could not be removed; the next start tries again", "zone", z.name, "file", f.name(), "error", err)
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
	unfinished := map[hash]bool{}
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
			ours := f.revision == 1
			if f.kind == kindRoot {
				b, err := z.in.Load().dir.Read(f.name())
				ours = err == nil && f.epoch == 1 && unfinished[sum(b)]
			}
			if !ours {
				return fatalf("all guardians are empty and zone %s holds keys (%s): the guardians were lost or are new. "+
					"Without the old ones this store cannot be opened; nothing was changed", z.name, f.name())
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
	d := &draft{store: s, base: &state{root: root{store: newStoreID(), since: now}}, revision: 1, rotate: true, seen: seen}
	d.root = d.base.root
	d.root.pages = map[uint8]ref{}
	if err := d.create(id.Installation.UUID()); err != nil {
		return err
	}
	for _, z := range s.zones {
		if err := z.in.Load().dir.Replace(markerName, marshalMarker(d.root.store)); err != nil {
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
	d.root.fence++
	// Guardians that counted more leases than the root knows (it was restored)
	// bound what any one organization may have used since: skip that far.
	if known := d.root.leases; d.base.count.Leases > known {
		skip := d.base.count.Leases - known
		s.log.Warn("leaves are skipped that may have been used after the restored revision", "leaves", skip)
		d.root.leases += skip
		for _, es := range d.base.entries {
			for _, e := range es {
				e.mark = min(e.mark+skip, maxMark)
				d.put(e)
			}
		}
	}
	if _, err := s.commit(ctx, d); err != nil {
		return err
	}
	s.fence, s.accept = d.root.fence, 0
	return nil
}

// draft is a revision in the making.
type draft struct {
	store    *store
	base     *state
	root     root
	revision uint64
	entries  map[uint8][]entry // pages that change
	files    []sealed          // of organizations
	rotate   bool
	seen     map[*ward]*sight // of a rotation: what the guardians hold
}

func (s *store) begin() *draft {
	st := s.cur.Load()
	d := &draft{store: s, base: st, root: st.root}
	d.root.pages = maps.Clone(st.root.pages)
	// A revision number is never used for two attempts: a root that a failed
	// one left behind must not meet another of its name.
	d.revision = max(s.highest.Load(), st.count.Revision) + 1
	return d
}

func (d *draft) get(org uuid.UUID) (entry, bool) {
	es, ok := d.entries[pageOf(org)]
	if !ok {
		es = d.base.entries[pageOf(org)]
	}
	i, ok := find(es, org)
	if !ok {
		return entry{}, false
	}
	return es[i], true
}

func (d *draft) put(e entry) {
	if d.entries == nil {
		d.entries = map[uint8][]entry{}
	}
	p := pageOf(e.org)
	es, ok := d.entries[p]
	if !ok {
		es = slices.Clone(d.base.entries[p])
	}
	if i, ok := find(es, e.org); ok {
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
	g, files, err := sealTree(org, 1, tree, d.revision)
	if err != nil {
		return err
	}
	d.files = append(d.files, files...)
	d.put(entry{org: org, mark: uint64(keytree.FirstLease) + firstStep, generations: []generation{g}})
	d.root.leases += firstStep
	return nil
}

// build seals the pages that changed and the root.
func (d *draft) build() (files []sealed, next *state, err error) {
	next = &state{emk: d.base.emk, entries: d.base.entries}
	if d.rotate {
		// Every page gets a fresh key too: who once read the old root knows
		// nothing of the new one.
		next.emk = newKey()
		d.root.epoch++
		d.root.first, d.root.since = d.revision, time.Now().Unix()
		for p, es := range d.base.entries {
			if _, ok := d.entries[uint8(p)]; !ok && len(es) > 0 {
				d.entries[uint8(p)] = es
			}
		}
	}
	files = d.files
	for p, es := range d.entries {
		plain := marshalPage(p, es)
		k := newKey()
		f, err := sealFile(fileID{kind: kindPage, number: p, revision: d.revision}, k, plain)
		clear(plain)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, f)
		d.root.pages[p] = f.ref(k)
		next.entries[p] = es
	}
	d.root.revision = d.revision
	d.root.previous = d.base.count.Root
	plain := d.root.marshal()
	defer clear(plain)
	f, err := sealFile(fileID{kind: kindRoot, epoch: d.root.epoch, revision: d.revision}, next.emk, plain)
	if err != nil {
		return nil, nil, err
	}
	next.root, next.hash = d.root, f.hash
	next.count = guardian.Count{Revision: d.revision, Root: f.hash, Leases: d.root.leases}
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
		d.entries = map[uint8][]entry{}
	}
	files, next, err := d.build()
	if err != nil {
		return nil, err
	}
	epoch := guardian.Epoch{Epoch: next.root.epoch, Root: next.hash, Ledger: next.root.ledger}
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
	if d.rotate && d.base.root.epoch > 0 {
		if attested, err = s.wards.destroy(ctx, d.base.root.epoch); err != nil {
			return nil, err
		}
	}
	s.discard(d)
	return attested, nil
}

// discard removes the files that d superseded.
func (s *store) discard(d *draft) {
	if d.base.root.revision == 0 {
		return
	}
	stale := []fileID{{kind: kindRoot, epoch: d.base.root.epoch, revision: d.base.root.revision}}
	for p := range d.entries {
		if r, ok := d.base.root.pages[p]; ok {
			stale = append(stale, fileID{kind: kindPage, number: p, revision: r.revision})
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
	g := e.current()
	if number != 0 {
		i := slices.IndexFunc(e.generations, func(g generation) bool { return g.number == number })
		if i < 0 {
			return c, 0, 0, 0, errUnknownGeneration
		}
		g = e.generations[i]
	}
	c, err = s.openCover(e, g, page)
	return c, g.number, e.current().number, st.root.serial, err
}

func (s *store) openCover(e entry, g generation, page uint16) (c keytree.Cover, err error) {
	t, err := openTop(e, g, s.readHealing)
	if err != nil {
		return c, err
	}
	defer t.tree.Wipe()
	r, split := t.splits[page]
	if !split {
		return t.tree.Page(page)
	}
	f := fileID{kind: kindSplit, org: e.org, generation: g.number, page: page, revision: r.revision}
	b, err := s.readHealing(f, r.hash)
	if err != nil {
		return c, err
	}
	plain, err := openFile(f, r.key, b)
	if err == nil {
		c, err = keytree.ParseCover(plain)
		clear(plain)
	}
	if err == nil && (c.Page() != page || c.Intact()) {
		err = errForm
	}
	if err != nil {
		return c, fmt.Errorf("%s: %w", f.name(), err)
	}
	return c, nil
}

// readHealing reads a file from either zone. A zone that lacks it or holds it
// damaged gets it back from the other. Callers hold files, shared.
func (s *store) readHealing(f fileID, want hash) ([]byte, error) {
	var bad []*zone
	b, err := s.readAny(f, want, func(z *zone, _ error) { bad = append(bad, z) })
	if err != nil {
		s.gone(f, err)
		return nil, err
	}
	for _, z := range bad {
		err := s.heal(z, f, b)
		s.log.Error("a file of the key store was damaged or missing in one zone", "zone", z.name, "file", f.name(), "repaired", err == nil, "error", err)
	}
	return b, nil
}

func (s *store) heal(z *zone, f fileID, b []byte) error {
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
	_ = s.need(st, func(f fileID, want hash) error {
		s.files.RLock()
		defer s.files.RUnlock()
		if s.cur.Load() != st && f.kind != kindTop && f.kind != kindSplit {
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
			s.log.Error("a file of the key store was damaged or missing in one zone", "zone", z.name, "file", f.name(), "repaired", err == nil, "error", err)
		}
		return ctx.Err()
	}, func(e entry, err error) error { return ctx.Err() })
	return lost
}

func (s *store) close() {
	for _, z := range s.zones {
		z.close()
	}
}
