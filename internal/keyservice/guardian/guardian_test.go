package guardian

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom/internal/keyservice/internal/wire"
)

var discard = slog.New(slog.DiscardHandler)

func random() (b [32]byte) { _, _ = rand.Read(b[:]); return b }

func opened(t *testing.T, o Options) *guardian {
	t.Helper()
	o.Log = discard
	g, err := open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	return g
}

func next(e uint64) PrepareRequest {
	return PrepareRequest{Expect: e - 1, Next: Epoch{Epoch: e, Root: random()}, EMK: random()}
}

func (g *guardian) must(t *testing.T, reqs ...any) {
	t.Helper()
	for _, r := range reqs {
		if err := g.do(r); err != nil {
			t.Fatalf("%T: %v", r, err)
		}
	}
}

func (g *guardian) do(r any) (err error) {
	ctx := context.Background()
	switch r := r.(type) {
	case PrepareRequest:
		_, err = g.prepare(ctx, r)
	case CommitRequest:
		_, err = g.commit(ctx, r)
	case DestroyRequest:
		_, err = g.destroy(ctx, r)
	case Advance:
		_, err = g.counter(ctx, CounterRequest{Advance: &r})
	}
	return err
}

func (r PrepareRequest) commit() CommitRequest {
	return CommitRequest{Epoch: r.Next.Epoch, Root: r.Next.Root}
}

func TestAnEpochIsPreparedCommittedAndDestroyed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "g")
	g := opened(t, Options{Dir: dir})
	one, two := next(1), next(2)
	g.must(t, one, one, one.commit(), one.commit(), two, two.commit())
	f, err := g.fetch(t.Context(), wire.Empty{})
	if err != nil || *f.EMK != two.EMK || *f.Current != two.Next || len(f.Undestroyed) != 1 || f.Undestroyed[0] != 1 {
		t.Fatalf("fetched %+v, %v", f, err)
	}
	a, err := g.destroy(t.Context(), DestroyRequest{1})
	if err != nil {
		t.Fatal(err)
	}
	st, err := a.Verify(f.PublicKey)
	if err != nil || st.Epoch != 1 || st.Current != 2 || st.Guardian != f.Guardian || st.Grade != Grade {
		t.Errorf("attested %+v, %v", st, err)
	}
	if found := grep(t, dir, one.EMK[:]); found != "" {
		t.Errorf("the destroyed key is still in %s", found)
	}
	if found := grep(t, dir, two.EMK[:]); found == "" {
		t.Error("the test cannot see a key that is there")
	}
	g.must(t, DestroyRequest{1}) // again
}

// grep returns a file below dir that contains b.
func grep(t *testing.T, dir string, b []byte) (found string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		all, err := os.ReadFile(p)
		if strings.Contains(string(all), string(b)) {
			found = p
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestWhatAGuardianRefuses(t *testing.T) {
	t.Parallel()
	one, two, other := next(1), next(2), next(2)
	two.Next.Ledger = Ledger{Size: 5, Head: random()}
	count := Count{Revision: 7, Root: random(), Leases: 100}
	with := func(r PrepareRequest, fn func(*PrepareRequest)) PrepareRequest { fn(&r); return r }
	for name, c := range map[string]struct {
		before []any
		call   any
		code   wire.Code
	}{
		"a prepare that expects another epoch":      {[]any{one, one.commit()}, next(3), wire.Conflict},
		"a prepare of the current epoch":            {[]any{one, one.commit()}, with(next(1), func(r *PrepareRequest) { r.Expect = 1 }), wire.Refused},
		"a prepare that skips an epoch":             {[]any{one, one.commit()}, with(next(3), func(r *PrepareRequest) { r.Expect = 1 }), wire.Refused},
		"a prepare over another one unseen":         {[]any{one, one.commit(), two}, other, wire.Conflict},
		"a prepare that replaces one that is gone":  {[]any{one, one.commit()}, with(two, func(r *PrepareRequest) { r.Replaces = &one.Next.Root }), wire.Conflict},
		"the same root with another key":            {[]any{one, one.commit(), two}, with(two, func(r *PrepareRequest) { r.EMK = random() }), wire.Conflict},
		"a prepare before the old key is destroyed": {[]any{one, one.commit(), two, two.commit()}, with(next(3), func(r *PrepareRequest) { r.Next.Ledger = two.Next.Ledger }), wire.Conflict},
		"a ledger that shrinks":                     {[]any{one, one.commit(), two, two.commit(), DestroyRequest{1}}, next(3), wire.Refused},
		"a ledger with another past": {[]any{one, one.commit(), two, two.commit(), DestroyRequest{1}},
			with(next(3), func(r *PrepareRequest) { r.Next.Ledger = Ledger{5, random()} }), wire.Refused},
		"a key of zeros":                        {nil, with(one, func(r *PrepareRequest) { r.EMK = Key{} }), wire.Refused},
		"a commit of what was not prepared":     {nil, one.commit(), wire.Conflict},
		"a commit of another root":              {[]any{one}, CommitRequest{1, random()}, wire.Conflict},
		"a commit that goes back":               {[]any{one, one.commit(), two, two.commit()}, one.commit(), wire.Conflict},
		"the destruction of the current key":    {[]any{one, one.commit()}, DestroyRequest{1}, wire.Refused},
		"the destruction of a key to come":      {[]any{one, one.commit()}, DestroyRequest{2}, wire.Refused},
		"the destruction of epoch 0":            {[]any{one, one.commit()}, DestroyRequest{0}, wire.Refused},
		"a count that goes back":                {[]any{Advance{To: count}}, Advance{count, Count{Revision: 6, Leases: 100}}, wire.Refused},
		"a count that gives leases back":        {[]any{Advance{To: count}}, Advance{count, Count{Revision: 8, Leases: 99}}, wire.Refused},
		"a count that stays, with another root": {[]any{Advance{To: count}}, Advance{count, Count{Revision: 7, Root: random(), Leases: 100}}, wire.Refused},
		"a count from a place it is not at":     {[]any{Advance{To: count}}, Advance{Count{Revision: 7, Root: random(), Leases: 100}, Count{Revision: 9, Leases: 100}}, wire.Conflict},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := opened(t, Options{Dir: filepath.Join(t.TempDir(), "g")})
			g.must(t, c.before...)
			was, count := g.st, g.count
			if err := g.do(c.call); !wire.Is(err, c.code) {
				t.Errorf("got %v, want %s", err, c.code)
			}
			if fmt.Sprint(g.st) != fmt.Sprint(was) || g.count != count {
				t.Error("the refusal changed the guardian")
			}
		})
	}
}

func TestAReplacedPrepareIsForgotten(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "g")
	g := opened(t, Options{Dir: dir})
	first, second := next(1), next(1)
	second.Replaces = &first.Next.Root
	g.must(t, first, second)
	if err := g.do(first.commit()); !wire.Is(err, wire.Conflict) {
		t.Errorf("the replaced root was committed: %v", err)
	}
	if found := grep(t, dir, first.EMK[:]); found != "" {
		t.Errorf("the replaced key is still in %s", found)
	}
	g.must(t, second.commit())
}

var errKilled = errors.New("killed")

// A guardian that dies before any step of any call: what it answered holds,
// and the call that was cut off can be made again.
func TestAKillAtEveryStepKeepsEveryAnswer(t *testing.T) {
	t.Parallel()
	one, two, three := next(1), next(2), next(3)
	swapped := next(3)
	swapped.Replaces = &three.Next.Root
	c1, c2, c3 := Count{1, random(), 10}, Count{2, random(), 10}, Count{5, random(), 30}
	script := []any{
		one, one.commit(), Advance{Count{}, c1}, two, two.commit(), Advance{c1, c2}, DestroyRequest{1},
		Advance{c2, c3}, three, swapped, swapped.commit(), DestroyRequest{2},
	}
	for at := 1; ; at++ {
		dir := filepath.Join(t.TempDir(), "g")
		n := 0
		gate := func(string, string) error {
			if n++; n >= at {
				return errKilled
			}
			return nil
		}
		answered := 0
		if g, err := open(Options{Dir: dir, Log: discard, gate: gate}); err == nil {
			for _, r := range script {
				if g.do(r) != nil {
					break
				}
				answered++
			}
			g.close()
		}
		g, err := open(Options{Dir: dir, Log: discard})
		if err != nil {
			t.Fatalf("killed before step %d, it does not start again: %v", at, err)
		}
		for i, r := range script[:answered] {
			if a, ok := r.(Advance); ok && g.count.Revision < a.To.Revision {
				t.Errorf("killed before step %d: call %d was answered and is lost", at, i)
			}
			if c, ok := r.(CommitRequest); ok && g.epoch() < c.Epoch {
				t.Errorf("killed before step %d: call %d was answered and is lost", at, i)
			}
			if d, ok := r.(DestroyRequest); ok && (d.Epoch == 1 && grep(t, dir, one.EMK[:]) != "" || d.Epoch == 2 && grep(t, dir, two.EMK[:]) != "") {
				t.Errorf("killed before step %d: a destroyed key is back", at)
			}
		}
		for _, r := range script[answered:] {
			if err := g.do(r); err != nil {
				t.Errorf("killed before step %d: %T cannot be made again: %v", at, r, err)
			}
		}
		if g.epoch() != 3 || g.emk != swapped.EMK || g.count != c3 || grep(t, dir, three.EMK[:]) != "" {
			t.Errorf("killed before step %d: it ends in epoch %d at revision %d", at, g.epoch(), g.count.Revision)
		}
		g.close()
		if answered == len(script) {
			if at < 40 {
				t.Errorf("only %d steps pass the gate", at)
			}
			return
		}
	}
}

func TestDamageIsRefusedAtTheStart(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"state", "emk.*", countName} {
		for part := range 8 {
			dir := filepath.Join(t.TempDir(), "g")
			g, err := open(Options{Dir: dir, Log: discard})
			if err != nil {
				t.Fatal(err)
			}
			one := next(1)
			g.must(t, one, one.commit())
			g.close()
			m, err := filepath.Glob(filepath.Join(dir, file))
			if err != nil || len(m) != 1 {
				t.Fatal(m, err)
			}
			b, err := os.ReadFile(m[0])
			if err != nil {
				t.Fatal(err)
			}
			whole := len(b)
			if file == countName {
				whole = slotSize / 4 // the only slot that is written
			}
			b[min(whole*part/7, whole-1)] ^= 1
			if err := os.WriteFile(m[0], b, 0o600); err != nil {
				t.Fatal(err)
			}
			if g, err := open(Options{Dir: dir, Log: discard}); err == nil {
				g.close()
				t.Errorf("a damaged %s (place %d of 7) was accepted", file, part)
			}
		}
	}
}

func TestASecondGuardianOverTheDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "g")
	opened(t, Options{Dir: dir})
	if g, err := open(Options{Dir: dir, Log: discard}); err == nil {
		g.close()
		t.Error("two guardians hold one directory")
	}
}

func TestAGuardianServesFiveCallsOverItsSocket(t *testing.T) {
	t.Parallel()
	run, err := os.MkdirTemp("", "srt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(run) })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	socket := filepath.Join(run, "g.sock")
	go func() {
		done <- Serve(ctx, Options{Dir: filepath.Join(t.TempDir(), "g"), Socket: socket, Log: discard})
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			break
		}
	}
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v, %v", info.Mode(), err)
	}
	c := NewClient(socket)
	defer c.Close()
	one, two := next(1), next(2)
	to := Count{Revision: 1, Root: random(), Leases: 3}
	if err := errors.Join(c.Prepare(ctx, one), c.Commit(ctx, one.commit()), c.Advance(ctx, Advance{To: to}), c.Prepare(ctx, two), c.Commit(ctx, two.commit())); err != nil {
		t.Fatal(err)
	}
	f, err := c.Fetch(ctx)
	if err != nil || *f.EMK != two.EMK {
		t.Errorf("fetch: %v", err)
	}
	if n, err := c.Counter(ctx); err != nil || n != to {
		t.Errorf("counter: %v %v", n, err)
	}
	if a, err := c.Destroy(ctx, 1); err != nil {
		t.Error(err)
	} else if _, err := a.Verify(f.PublicKey); err != nil {
		t.Error(err)
	}
	if err := c.Commit(ctx, one.commit()); !wire.Is(err, wire.Conflict) {
		t.Errorf("a commit that goes back: %v", err)
	}
}

func TestAnAttestationThatWasChangedIsRefused(t *testing.T) {
	t.Parallel()
	g := opened(t, Options{Dir: filepath.Join(t.TempDir(), "g")})
	one, two := next(1), next(2)
	g.must(t, one, one.commit(), two, two.commit())
	a, err := g.destroy(t.Context(), DestroyRequest{1})
	if err != nil {
		t.Fatal(err)
	}
	pub := g.publicKey()
	for i := range a.Statement {
		bad := a
		bad.Statement = a.Statement[:i] + string(a.Statement[i]^1) + a.Statement[i+1:]
		if _, err := bad.Verify(pub); err == nil {
			t.Fatalf("a change of byte %d was accepted", i)
		}
	}
	other := opened(t, Options{Dir: filepath.Join(t.TempDir(), "g")})
	if _, err := a.Verify(other.publicKey()); err == nil {
		t.Error("another guardian's word was accepted")
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	t.Parallel()
	k := Key(random())
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", k, "request", PrepareRequest{EMK: k}, "answer", Fetched{EMK: &k})
	all := fmt.Sprintf("%v %+v %#v %x %s %d", k, PrepareRequest{EMK: k}, &k, k, k, k)
	if want := fmt.Sprintf("%x", [32]byte(k)); strings.Contains(all+log.String(), want) {
		t.Error("a key was printed")
	}
}

func FuzzState(f *testing.F) {
	g, err := open(Options{Dir: filepath.Join(f.TempDir(), "g"), Log: discard})
	if err != nil {
		f.Fatal(err)
	}
	defer g.close()
	for _, st := range []state{g.st, {Version: 1, Past: []held{{File: "x"}}, Current: &held{Epoch: Epoch{Epoch: 3}}}} {
		b, err := marshalState(st)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		st, err := parseState(b)
		if err != nil {
			return
		}
		if again, err := marshalState(st); err != nil || string(again) != string(b) {
			t.Error("accepted a second spelling")
		}
	})
}
