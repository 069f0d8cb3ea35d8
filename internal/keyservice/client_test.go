package keyservice

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/seal"
	"strongroom/internal/keyservice/internal/keyfile"
)

var _ seal.Keys = (*OrgKeys)(nil)

func local(t *testing.T, dir string, o Options) (*Local, *Client) {
	t.Helper()
	o.Patience, o.pulse = 100*time.Millisecond, 20*time.Millisecond
	if o.Log == nil {
		o.Log = discard
	}
	l, err := startLocal(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, dial(t, l.Socket)
}

func dial(t *testing.T, socket string) *Client {
	t.Helper()
	c, err := Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestAClientGetsTheSameKeysAsEveryOther(t *testing.T) {
	t.Parallel()
	l, c := local(t, t.TempDir(), Options{})
	other := dial(t, l.Socket)
	org := id.NewOrg()
	if _, err := c.Keys(org).LeafKey(t.Context(), 1, 5); !errors.Is(err, ErrUnknownOrg) {
		t.Errorf("an organization without keys: %v", err)
	}
	for range 2 { // doing so again changes nothing
		if err := c.CreateOrg(t.Context(), org); err != nil {
			t.Fatal(err)
		}
	}
	gen, err := c.Keys(org).Generation(t.Context())
	if err != nil || gen != 1 {
		t.Fatalf("generation %d, %v", gen, err)
	}
	// Neighbours, far ones, another page, twice each: every cache on the way
	// must give what the tree gives.
	seen := map[keytree.Key]keytree.Leaf{}
	for round := range 3 {
		for leaf := keytree.Leaf(1); leaf < 1<<17; leaf = leaf*5/4 + 1 {
			a, errA := c.Keys(org).LeafKey(t.Context(), gen, leaf)
			b, errB := other.Keys(org).LeafKey(t.Context(), gen, leaf)
			if errA != nil || errB != nil || a != b {
				t.Fatalf("leaf %d: %v %v", leaf, errA, errB)
			}
			if was, ok := seen[a]; ok && was != leaf || round > 0 && !ok {
				t.Fatalf("leaves %d and %d have one key, or a key changed", was, leaf)
			}
			seen[a] = leaf
		}
	}
	if _, err := c.Keys(org).LeafKey(t.Context(), gen, 0); !errors.Is(err, keytree.ErrNoLeaf) {
		t.Errorf("leaf 0: %v", err)
	}
	if _, err := c.Keys(org).LeafKey(t.Context(), gen+1, 1); !errors.Is(err, ErrUnknownOrg) {
		t.Errorf("a generation that is not there: %v", err)
	}
	if err := c.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestEveryPathOfDerivationAgreesWithTheTree(t *testing.T) {
	t.Parallel()
	tree, err := keytree.New(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Puncture(7, 300, 301, 5000, 65535, 70000); err != nil {
		t.Fatal(err)
	}
	for _, number := range []uint16{0, 1, 2} {
		c, err := tree.Page(number)
		if err != nil {
			t.Fatal(err)
		}
		p := newPage(c)
		for i := range 4000 {
			leaf := keytree.Leaf(number)<<16 | keytree.Leaf(i*97%65536)
			if leaf == 0 {
				continue
			}
			want, wantErr := tree.Derive(leaf)
			got, err := p.derive(leaf)
			if got != want || !errors.Is(err, wantErr) {
				t.Fatalf("leaf %d: %v, want %v", leaf, err, wantErr)
			}
		}
		for _, leaf := range []keytree.Leaf{7, 300, 301, 5000, 65535, 70000} {
			if leaf.Page() != number {
				continue
			}
			if _, err := p.derive(leaf); !errors.Is(err, keytree.ErrPunctured) {
				t.Errorf("leaf %d: %v", leaf, err)
			}
		}
	}
}

func TestNoLeafIsTakenTwiceByManyServers(t *testing.T) {
	t.Parallel()
	l, a := local(t, t.TempDir(), Options{})
	b := dial(t, l.Socket)
	org := id.NewOrg()
	if err := a.CreateOrg(t.Context(), org); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := map[keytree.Leaf]bool{}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			leaves, err := []*Client{a, b}[i%2].NewLeaves(t.Context(), org, 3000)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, l := range leaves {
				if seen[l] || l < keytree.FirstLease {
					t.Errorf("leaf %d was handed out twice, or is reserved", l)
				}
				seen[l] = true
			}
		})
	}
	wg.Wait()
	if len(seen) != 8*3000 {
		t.Errorf("%d leaves", len(seen))
	}
}

func TestConcurrentOrganizationsShareRevisions(t *testing.T) {
	t.Parallel()
	_, c := local(t, t.TempDir(), Options{})
	before, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const n = 64
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			org := id.NewOrg()
			if err := c.CreateOrg(t.Context(), org); err != nil {
				t.Error(err)
			}
			if _, err := c.NewLeaf(t.Context(), org); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	after, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if made := after.Organizations - before.Organizations; made != n {
		t.Errorf("%d organizations were made", made)
	}
	if used := after.Revision - before.Revision; used > n/2 {
		t.Errorf("%d organizations took %d revisions", n, used)
	}
}

func TestAnExpiredLeaseAnswersUnavailableAndNeverStale(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const lease = time.Second
	l, c := local(t, dir, Options{Lease: lease})
	org := id.NewOrg()
	if err := c.CreateOrg(t.Context(), org); err != nil {
		t.Fatal(err)
	}
	want, err := c.Keys(org).LeafKey(t.Context(), 1, 5)
	if err != nil {
		t.Fatal(err)
	}
	first := c.until.Load()
	for give := time.Now().Add(10 * lease); c.until.Load() == first; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(give) {
			t.Fatal("the heartbeat does not renew the lease")
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(lease + 50*time.Millisecond)
	if _, err := c.Keys(org).LeafKey(t.Context(), 1, 5); !fault.Is(err, fault.Unavailable) {
		t.Errorf("after the lease: %v", err)
	}
	if _, err := c.Keys(org).Generation(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("after the lease: %v", err)
	}
	if err := c.CreateOrg(t.Context(), id.NewOrg()); !fault.Is(err, fault.Unavailable) {
		t.Errorf("a create: %v", err)
	}
	if err := c.Check(t.Context()); err == nil {
		t.Error("the self-check passed without a key service")
	}
	local(t, dir, Options{Lease: lease}) // it comes back on the same socket
	got, err := c.Keys(org).LeafKey(t.Context(), 1, 5)
	if err != nil || got != want {
		t.Errorf("after the restart: %v", err)
	}
}

func TestTheSelfCheckSeesAKeyThatTheDisksDoNotGive(t *testing.T) {
	t.Parallel()
	_, c := local(t, t.TempDir(), Options{})
	if err := c.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := c.Keys(id.Installation).set.Load().pages[pageIndex(1, 0)]
	wrong := keytree.Key{1}
	p.reserved[checkLeaf].Store(&wrong)
	if err := c.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "give another key than the running service") {
		t.Errorf("got %v", err)
	}
}

func TestAPageThatArrivesAfterItsCacheWasDroppedIsNotKept(t *testing.T) {
	t.Parallel()
	_, c := local(t, t.TempDir(), Options{})
	k := c.Keys(id.Installation)
	if _, err := k.LeafKey(t.Context(), 1, 5); err != nil {
		t.Fatal(err)
	}
	p, stamp := k.set.Load().pages[pageIndex(1, 0)], c.stamp.Load()
	c.drop() // between the request for a page and its answer
	if k.store(stamp, pageAnswer{Generation: 1, Current: 1}, 0, p) != nil || k.fresh() != nil {
		t.Error("a page of before the drop is served")
	}
}

// punctured writes a revision in which leaves of an organization are gone:
// the state that an erasure leaves behind.
func punctured(t *testing.T, s *store, org id.Org, leaves ...keytree.Leaf) {
	t.Helper()
	d := s.begin()
	e, ok := d.get(org.UUID())
	if !ok {
		t.Fatal("no such organization")
	}
	top, err := openTop(e, e.Current(), s.readHealing)
	if err != nil {
		t.Fatal(err)
	}
	for p, r := range top.Splits {
		f := keyfile.ID{Kind: keyfile.KindSplit, Org: e.Org, Generation: e.Current().Number, Page: p, Revision: r.Revision}
		b, err := s.readHealing(f, r.Hash)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := keyfile.Open(f, r.Key, b)
		if err != nil {
			t.Fatal(err)
		}
		c, err := keytree.ParseCover(plain)
		if err != nil || top.Tree.Load(c) != nil {
			t.Fatal("a split page cannot be loaded")
		}
	}
	if _, err := top.Tree.Puncture(leaves...); err != nil {
		t.Fatal(err)
	}
	g, files, err := keyfile.SealTree(e.Org, e.Current().Number, top.Tree, d.revision)
	if err != nil {
		t.Fatal(err)
	}
	e.Generations = slices.Clone(e.Generations)
	e.Generations[len(e.Generations)-1] = g
	d.put(e)
	d.files = append(d.files, files...)
	d.root.Serial++
	if _, err := s.commit(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

func TestAPuncturedLeafLeavesEveryCacheAtTheNextHeartbeat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	s, err := start(ctx, w.options())
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t, w.run+"/keys.sock")
	done := make(chan error, 1)
	run, cancel := context.WithCancel(ctx)
	go func() { done <- s.serve(run, l) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.close()
		w.with(w.intact)
	}()
	c := dial(t, w.run+"/keys.sock")
	org := id.NewOrg()
	if err := w.create(s, org); err != nil {
		t.Fatal(err)
	}
	keys := c.Keys(org)
	before := map[keytree.Leaf]keytree.Key{}
	for _, leaf := range []keytree.Leaf{2, 40, 41, 70000, 70001, 200000} {
		if before[leaf], err = keys.LeafKey(ctx, 1, leaf); err != nil {
			t.Fatal(err)
		}
	}
	// Between two batches of the writer, which is idle here.
	punctured(t, s.store, org, 41)
	punctured(t, s.store, org, 70001, 42)
	if err := c.beat(ctx); err != nil {
		t.Fatal(err)
	}
	for leaf, want := range before {
		got, err := keys.LeafKey(ctx, 1, leaf)
		switch leaf {
		case 41, 70001:
			if !errors.Is(err, keytree.ErrPunctured) {
				t.Errorf("leaf %d: %v", leaf, err)
			}
		default:
			if err != nil || got != want {
				t.Errorf("leaf %d: %v", leaf, err)
			}
		}
	}
	if got, want := c.serial.Load(), uint64(2); got != want {
		t.Errorf("the client is at serial %d, the service at %d", got, want)
	}
	// The split pages live in both zones, through a rotation and the loss of
	// one zone.
	if _, _, err := c.RotateEpoch(ctx); err != nil {
		t.Fatal(err)
	}
	w.wipe("zone-a")
	if err := c.CreateOrg(ctx, id.NewOrg()); err != nil {
		s.store.settled.Store(false)
		if err := c.CreateOrg(ctx, id.NewOrg()); err != nil {
			t.Fatal(err)
		}
	}
	fresh := dial(t, w.run+"/keys.sock")
	for leaf, want := range before {
		got, err := fresh.Keys(org).LeafKey(ctx, 1, leaf)
		if dead := leaf == 41 || leaf == 70001; dead != errors.Is(err, keytree.ErrPunctured) || !dead && got != want {
			t.Errorf("leaf %d after the loss of a zone: %v", leaf, err)
		}
	}
}

func TestARotationStopsNoReaderAndIsAttested(t *testing.T) {
	t.Parallel()
	_, c := local(t, t.TempDir(), Options{})
	org := id.NewOrg()
	if err := c.CreateOrg(t.Context(), org); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := keytree.Leaf(1); ; i += 1 << 16 { // each of a page not cached
			select {
			case <-stop:
				return
			default:
			}
			if _, err := c.Keys(org).LeafKey(t.Context(), 1, i); err != nil {
				t.Errorf("a read during a rotation: %v", err)
			}
		}
	})
	for want := uint64(2); want < 6; want++ {
		epoch, said, err := c.RotateEpoch(t.Context())
		if err != nil || epoch != want || len(said) != 2 {
			t.Fatalf("epoch %d, %d attestations, %v", epoch, len(said), err)
		}
		for _, a := range said {
			st, err := a.Verify(a.PublicKey)
			if err != nil || st.Epoch != want-1 || st.Current != want {
				t.Errorf("attested %+v, %v", st, err)
			}
		}
	}
	close(stop)
	wg.Wait()
}

func TestAnOldEpochIsRotatedByItself(t *testing.T) {
	t.Parallel()
	_, c := local(t, t.TempDir(), Options{RotateEvery: time.Second})
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if st, err := c.Status(t.Context()); err == nil && st.Epoch > 1 {
			return
		}
	}
	t.Error("the epoch was not rotated")
}

// TestMain lets the test binary be the key service that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("STRONGROOM_TEST_SERVE"); dir != "" {
		l, err := StartLocal(context.Background(), dir)
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println("ready", l.Socket)
		select {}
	}
	os.Exit(m.Run())
}

func TestKillingTheProcessLosesNothingAndRepeatsNoLeaf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	orgs := map[id.Org]keytree.Key{}
	shared := id.NewOrg()
	seen := map[keytree.Leaf]bool{}
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "STRONGROOM_TEST_SERVE="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		socket, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
		if err != nil || !ok {
			t.Fatalf("after %d kills the start said %q", round, line)
		}
		c := dial(t, socket)
		for org, want := range orgs {
			if got, err := c.Keys(org).LeafKey(t.Context(), 1, 5); err != nil || got != want {
				t.Errorf("an acknowledged organization is lost: %v", err)
			}
		}
		if err := c.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if err := c.CreateOrg(t.Context(), shared); err != nil {
			t.Fatal(err)
		}
		killed := make(chan struct{})
		made := len(orgs)
		for dead, armed := false, false; !dead; {
			if !armed && len(orgs) > made { // in the middle of the next ones
				armed = true
				time.AfterFunc(time.Duration(5+round*17)*time.Millisecond, func() { _ = cmd.Process.Kill(); close(killed) })
			}
			select {
			case <-killed:
				dead = true
			default:
			}
			org := id.NewOrg()
			if c.CreateOrg(t.Context(), org) == nil {
				if k, err := c.Keys(org).LeafKey(t.Context(), 1, 5); err == nil {
					orgs[org] = k
				}
			}
			leaves, _ := c.NewLeaves(t.Context(), shared, 400)
			for _, l := range leaves {
				if seen[l] {
					t.Errorf("leaf %d was handed out twice", l)
				}
				seen[l] = true
			}
		}
		_ = cmd.Wait()
		c.Close()
	}
	if len(orgs) < rounds || len(seen) < rounds {
		t.Errorf("only %d organizations and %d leaves were made before the kills", len(orgs), len(seen))
	}
}

func BenchmarkLeafKey(b *testing.B) {
	l, err := StartLocal(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	c, err := Dial(b.Context(), l.Socket)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	k := c.Keys(id.Installation)
	for name, next := range map[string]func(int) keytree.Leaf{
		"reserved": func(int) keytree.Leaf { return 3 },
		"run":      func(i int) keytree.Leaf { return keytree.Leaf(16 + i%50000) },
		"random":   func(i int) keytree.Leaf { return keytree.Leaf(16 + i*7919%65000) },
	} {
		b.Run(name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if _, err := k.LeafKey(b.Context(), 1, next(i)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("create organization", func(b *testing.B) {
		for b.Loop() {
			if err := c.CreateOrg(b.Context(), id.NewOrg()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new leaf", func(b *testing.B) {
		for b.Loop() {
			if _, err := c.NewLeaf(b.Context(), id.Installation); err != nil {
				b.Fatal(err)
			}
		}
	})
}
