package keyservice

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/keyservice/guardian"
	"strongroom/internal/keyservice/internal/disk"
	"strongroom/internal/keyservice/internal/keyfile"
	"strongroom/internal/keyservice/internal/wire"
)

// world is an installation: two zones and two guardians on disk, and what was
// answered so far, which must hold whatever is done to them.
type world struct {
	t    *testing.T
	dir  string
	run  string // sockets
	logs *logs

	guardians [2]func() // stop, or nil

	orgs   map[id.Org]keytree.Key // acknowledged, with the key of leaf 5
	leaves map[id.Org]map[uint64]bool
}

// logs keeps what was logged, to see that faults are loud.
type logs struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logs) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }
func (l *logs) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), s)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	run, err := os.MkdirTemp("", "srt")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: t.TempDir(), run: run, logs: &logs{}, orgs: map[id.Org]keytree.Key{}, leaves: map[id.Org]map[uint64]bool{}}
	t.Cleanup(func() {
		w.stopGuardian(0)
		w.stopGuardian(1)
		_ = os.RemoveAll(run)
	})
	w.startGuardian(0)
	w.startGuardian(1)
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) socket(i int) string { return filepath.Join(w.run, "g"+string(rune('a'+i))+".sock") }

func (w *world) startGuardian(i int) {
	w.t.Helper()
	l, err := wire.Listen(w.socket(i), 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- guardian.Serve(ctx, guardian.Options{Dir: w.path("guardian-" + string(rune('a'+i))), Listener: l, Log: slog.New(slog.DiscardHandler)})
	}()
	w.guardians[i] = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("guardian: %v", err)
		}
	}
}

func (w *world) stopGuardian(i int) {
	if w.guardians[i] != nil {
		w.guardians[i]()
		w.guardians[i] = nil
	}
}

func (w *world) options() Options {
	return Options{
		ZoneA: w.path("zone-a"), ZoneB: w.path("zone-b"), Guardians: []string{w.socket(0), w.socket(1)},
		Patience: 10 * time.Millisecond, pulse: 20 * time.Millisecond, Log: slog.New(slog.NewTextHandler(w.logs, nil)),
	}
}

// doom ends a process before its nth step, and every step after.
type doom struct {
	mu    sync.Mutex
	n, at int
}

var errKilled = errors.New("killed")

func (d *doom) gate(string) disk.Gate {
	return func(string, string) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.n++; d.at > 0 && d.n >= d.at {
			return errKilled
		}
		return nil
	}
}

// boot starts a key service without socket and pulse: each step of it is a
// step of the test.
func (w *world) boot(o Options) (*service, func(), error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	s, err := start(ctx, o)
	if err != nil {
		cancel(nil)
		return nil, nil, err
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.write(ctx, cancel) })
	return s, func() { cancel(nil); wg.Wait(); s.close() }, nil
}

// with boots a service that must start, runs fn and stops it.
func (w *world) with(fn func(*service)) {
	w.t.Helper()
	s, stop, err := w.boot(w.options())
	if err != nil {
		w.t.Fatalf("the key service did not start: %v", err)
	}
	defer stop()
	fn(s)
}

func (w *world) refuses(o Options, sentence string) {
	w.t.Helper()
	_, stop, err := w.boot(o)
	if err == nil {
		stop()
		w.t.Fatalf("the key service started; it should have said %q", sentence)
	}
	if !strings.Contains(err.Error(), sentence) {
		w.t.Fatalf("the key service said %q, not %q", err, sentence)
	}
}

func leafKey(s *service, org id.Org, leaf keytree.Leaf) (keytree.Key, error) {
	c, _, _, _, err := s.store.cover(org.UUID(), 0, leaf.Page())
	if err != nil {
		return keytree.Key{}, err
	}
	return c.Derive(leaf)
}

// create makes an organization; once acknowledged, its key is noted.
func (w *world) create(s *service, org id.Org) error {
	if _, err := s.create(context.Background(), createRequest{Org: org}); err != nil {
		return err
	}
	k, err := leafKey(s, org, 5)
	if err != nil {
		w.t.Errorf("an acknowledged organization has no key: %v", err)
	}
	w.orgs[org] = k
	return nil
}

// lease takes leaves and holds that none was given before.
func (w *world) lease(s *service, org id.Org, n uint32) error {
	a, err := s.lease(context.Background(), leaseRequest{Org: org, Count: n})
	if err != nil {
		return err
	}
	if w.leaves[org] == nil {
		w.leaves[org] = map[uint64]bool{}
	}
	for i := range uint64(a.Count) {
		leaf := uint64(a.First) + i
		if w.leaves[org][leaf] || leaf < keyfile.FirstLeaf {
			w.t.Errorf("leaf %d was handed out twice, or is reserved", leaf)
		}
		w.leaves[org][leaf] = true
	}
	return nil
}

// intact holds that nothing that was answered is lost, that both zones are
// whole on their own, and that the service can go on.
func (w *world) intact(s *service) {
	w.t.Helper()
	if _, err := s.submit(context.Background(), &request{settle: true}); err != nil {
		w.t.Errorf("settling: %v", err)
		return
	}
	if !s.store.settled.Load() {
		w.t.Errorf("the service is not settled: %v", *s.store.trouble.Load())
		return
	}
	for _, g := range s.store.wards {
		if seen := g.look(context.Background()); seen.err != nil || len(seen.Undestroyed) > 0 || seen.count != s.store.cur.Load().count {
			w.t.Errorf("guardian %s is not in line: keys of past epochs %v, revision %d, %v", g.name, seen.Undestroyed, seen.count.Revision, seen.err)
		}
	}
	for org, want := range w.orgs {
		if got, err := leafKey(s, org, 5); err != nil || got != want {
			w.t.Errorf("an acknowledged organization's key is lost or another: %v", err)
		}
		if err := w.lease(s, org, 3); err != nil {
			w.t.Errorf("lease: %v", err)
		}
		for _, g := range s.store.wards {
			for _, z := range s.store.zones {
				if got, err := s.store.derive(context.Background(), g, z, org.UUID(), 5); err != nil || got != want {
					w.t.Errorf("guardian %s with zone %s alone does not give the key: %v", g.name, z.name, err)
				}
			}
		}
	}
	if err := w.create(s, id.NewOrg()); err != nil {
		w.t.Errorf("create: %v", err)
	}
	if lost := s.store.scrub(context.Background()); lost != 0 || s.store.lost.Load() != 0 {
		w.t.Errorf("%d files are whole in no zone", lost)
	}
}

// snapshot copies folders of the world and returns how to put the copy back.
func (w *world) snapshot(names ...string) func() {
	w.t.Helper()
	keep := w.t.TempDir()
	for _, n := range names {
		if err := os.CopyFS(filepath.Join(keep, n), os.DirFS(w.path(n))); err != nil {
			w.t.Fatal(err)
		}
	}
	return func() {
		w.t.Helper()
		for _, n := range names {
			w.wipe(n)
			if err := os.MkdirAll(w.path(n), 0o700); err != nil {
				w.t.Fatal(err)
			}
			if err := os.CopyFS(w.path(n), os.DirFS(filepath.Join(keep, n))); err != nil {
				w.t.Fatal(err)
			}
			w.private(n)
		}
	}
}

// private gives a copied folder the modes of a store.
func (w *world) private(name string) {
	_ = filepath.WalkDir(w.path(name), func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(p, 0o700)
		}
		return err
	})
}

func (w *world) wipe(name string) {
	w.t.Helper()
	if err := os.RemoveAll(w.path(name)); err != nil {
		w.t.Fatal(err)
	}
}

// files lists the files of a folder, relative to the world.
func (w *world) files(name, pattern string) (out []string) {
	w.t.Helper()
	for _, dir := range []string{name, filepath.Join(name, "orgs")} {
		m, err := filepath.Glob(filepath.Join(w.path(dir), pattern))
		if err != nil {
			w.t.Fatal(err)
		}
		for _, f := range m {
			rel, _ := filepath.Rel(w.dir, f)
			if info, err := os.Stat(f); err == nil && info.Mode().IsRegular() {
				out = append(out, rel)
			}
		}
	}
	return out
}

// flip changes one bit of a file, at a place that its length divides.
func (w *world) flip(name string, part, of int) {
	w.t.Helper()
	b, err := os.ReadFile(w.path(name))
	if err != nil {
		w.t.Fatal(err)
	}
	b[min(len(b)*part/of, len(b)-1)] ^= 0x10
	if err := os.WriteFile(w.path(name), b, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

var discard = slog.New(slog.DiscardHandler)

func listen(t *testing.T, socket string) net.Listener {
	t.Helper()
	l, err := wire.Listen(socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
