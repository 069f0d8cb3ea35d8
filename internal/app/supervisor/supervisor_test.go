package supervisor

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"strongroom/internal/osproc"
)

// TestMain lets the test binary play the parts of services and of a whole
// supervisor.
func TestMain(m *testing.M) {
	if part := os.Getenv("SR_SUPERVISOR_PART"); part != "" {
		play(part)
		return
	}
	os.Exit(m.Run())
}

func play(part string) {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	switch part {
	case "serves":
		fmt.Println("pid", os.Getpid(), "uid", os.Getuid())
		_ = Ready()
		<-term
		fmt.Println("ends")
	case "fails":
		_ = Failed(errors.New("the zone is absent\nand so is the other"))
		os.Exit(1)
	case "says nothing":
		os.Exit(3)
	case "is never ready":
		<-term
	case "is stubborn":
		cmd := exec.Command("/bin/sh", "-c", "trap '' TERM; exec sleep 600")
		cmd.Env = []string{"PATH=/bin:/usr/bin"}
		p, err := osproc.Start(cmd, osproc.Options{})
		if err != nil {
			os.Exit(1)
		}
		fmt.Println("pid", os.Getpid(), "grandchild", p.PID())
		_ = Ready()
		select {}
	case "accepts":
		l, err := Inherited(0)
		if err != nil {
			_ = Failed(err)
			os.Exit(1)
		}
		_ = Ready()
		c, err := l.Accept()
		if err == nil {
			fmt.Fprintf(c, "served by %d", os.Getuid())
			_ = c.Close()
		}
		os.Exit(0) // one connection each, so that the next needs a restart
	case "supervises":
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			<-term
			cancel()
		}()
		s, err := New(Options{Log: slog.New(slog.DiscardHandler), Services: []Service{
			{Name: "one", Start: process("serves", os.Stdout).Start},
			{Name: "two", Start: process("is stubborn", os.Stdout).Start, StopWithin: 200 * time.Millisecond},
			{Name: "three", Start: process("serves", os.Stdout).Start},
		}, Ready: func() { fmt.Println("all are up") }})
		if err == nil {
			err = s.Run(ctx)
		}
		fmt.Println("run returned", err)
	}
}

func process(part string, log io.Writer) Process {
	return Process{Env: []string{"SR_SUPERVISOR_PART=" + part, "PATH=/bin:/usr/bin"}, Log: log}
}

// log collects lines from several processes.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// number returns the number after a word in the log.
func number(t *testing.T, text, word string) int {
	t.Helper()
	_, after, found := strings.Cut(text, word+" ")
	n, err := strconv.Atoi(strings.FieldsFunc(after+" ", func(r rune) bool { return r < '0' || r > '9' })[0])
	if !found || err != nil {
		t.Fatalf("no %s in %q", word, text)
	}
	return n
}

func gone(pid int) bool {
	for range 500 {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil || strings.Contains(string(b), ") Z ") {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 1000 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not within 10 s: %s", what)
}

// started runs a supervisor until the test ends.
func started(t *testing.T, o Options) (s *Supervisor, end func() error) {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	o.FirstDelay, o.LastDelay = 10*time.Millisecond, 50*time.Millisecond
	ready := make(chan struct{})
	o.Ready = func() { close(ready) }
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- s.Run(ctx) }()
	end = sync.OnceValue(func() error {
		cancel()
		return <-result
	})
	t.Cleanup(func() { _ = end() })
	select {
	case <-ready:
	case err := <-result:
		result <- err
		t.Fatal(err)
	}
	return s, end
}

// fake is a service without a process, to see orders of calls.
type fake struct {
	name  string
	calls *log
	done  chan struct{}
}

func (f *fake) Done() <-chan struct{} { return f.done }
func (f *fake) Stop(context.Context) error {
	fmt.Fprintf(f.calls, "-%s ", f.name)
	return nil
}

func fakes(calls *log, broken string, names ...string) []Service {
	var services []Service
	for _, n := range names {
		services = append(services, Service{Name: n, Start: func(context.Context) (Running, error) {
			if n == broken {
				return nil, errors.New("it is broken")
			}
			fmt.Fprintf(calls, "+%s ", n)
			return &fake{name: n, calls: calls, done: make(chan struct{})}, nil
		}})
	}
	return services
}

func TestServicesStartInOrderAndEndInReverse(t *testing.T) {
	t.Parallel()
	var calls log
	s, end := started(t, Options{Services: fakes(&calls, "", "a", "b", "c")})
	for _, st := range s.Status() {
		if st.State != Up {
			t.Errorf("%s is %s", st.Name, st.State)
		}
	}
	if err := end(); err != nil || calls.String() != "+a +b +c -c -b -a " {
		t.Errorf("%s, %v", calls.String(), err)
	}
}

func TestAFirstStartThatFailsEndsWhatWasStarted(t *testing.T) {
	t.Parallel()
	var calls log
	s, err := New(Options{Log: slog.New(slog.DiscardHandler), Services: fakes(&calls, "c", "a", "b", "c", "d"), Ready: func() { t.Error("said to be ready") }})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil || err.Error() != "c: it is broken" || calls.String() != "+a +b -b -a " {
		t.Errorf("%s, %v", calls.String(), err)
	}
}

func TestAKilledServiceIsRestartedAndTheOthersRunOn(t *testing.T) {
	t.Parallel()
	var out log
	s, end := started(t, Options{Services: []Service{
		{Name: "a", Start: process("serves", &out).Start},
		{Name: "b", Start: process("serves", &out).Start},
	}})
	before := s.Status()
	for kill := 1; kill <= 2; kill++ {
		if err := syscall.Kill(s.Status()[0].PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a is up again", func() bool { st := s.Status()[0]; return st.State == Up && st.Restarts == kill })
	}
	after := s.Status()
	if after[0].PID == before[0].PID || after[1].PID != before[1].PID || after[1].Restarts != 0 {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
	for _, st := range after {
		if !gone(st.PID) {
			t.Errorf("%s is left behind", st.Name)
		}
	}
	if n := strings.Count(out.String(), "ends"); n != 2 {
		t.Errorf("%d services ended in order, want 2", n)
	}
}

func TestAServiceThatDoesNotStartAgainIsTriedForEver(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	broken, tries := false, 0
	var last *fake
	service := Service{Name: "a", Start: func(context.Context) (Running, error) {
		mu.Lock()
		defer mu.Unlock()
		if broken {
			tries++
			return nil, errors.New("the disk is full")
		}
		last = &fake{name: "a", calls: &log{}, done: make(chan struct{})}
		return last, nil
	}}
	s, end := started(t, Options{Services: []Service{service}})
	mu.Lock()
	broken = true
	close(last.done)
	mu.Unlock()
	eventually(t, "five tries", func() bool { mu.Lock(); defer mu.Unlock(); return tries >= 5 })
	mu.Lock()
	broken = false
	mu.Unlock()
	eventually(t, "up again", func() bool { return s.Status()[0].State == Up })
	mu.Lock()
	broken = true
	close(last.done)
	mu.Unlock()
	eventually(t, "down again", func() bool { return s.Status()[0].State == Restarting })
	if err := end(); err != nil { // an end while it is down
		t.Error(err)
	}
}

func TestAChildThatDoesNotBecomeReadySaysWhy(t *testing.T) {
	t.Parallel()
	for part, want := range map[string]string{
		"fails":          "the zone is absent; and so is the other",
		"says nothing":   "it ended before it was ready: exit status 3",
		"is never ready": "not ready within",
	} {
		s, err := New(Options{Log: slog.New(slog.DiscardHandler), Services: []Service{{Name: "a", Start: process(part, nil).Start, ReadyWithin: time.Second}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q", part, err, want)
		}
	}
}

func TestAnEndDuringTheStartIsNoFailure(t *testing.T) {
	t.Parallel()
	var calls log
	ctx, cancel := context.WithCancel(t.Context())
	services := append(fakes(&calls, "", "a"), Service{Name: "b", Start: func(ctx context.Context) (Running, error) {
		cancel()
		return process("is never ready", nil).Start(ctx)
	}})
	s, err := New(Options{Log: slog.New(slog.DiscardHandler), Services: services, Ready: func() { t.Error("said to be ready") }})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(ctx); err != nil || calls.String() != "+a -a " {
		t.Errorf("%s, %v", calls.String(), err)
	}
}

// whole starts a supervisor of its own and returns the ids of all below it.
func whole(t *testing.T) (supervisor *exec.Cmd, below []int, rest *bufio.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"SR_SUPERVISOR_PART=supervises", "PATH=/bin:/usr/bin"}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(out)
	var text strings.Builder
	for !strings.Contains(text.String(), "all are up") {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err, text.String())
		}
		text.WriteString(line)
	}
	for line := range strings.Lines(text.String()) {
		for _, word := range []string{"pid", "grandchild"} {
			if strings.Contains(line, word+" ") {
				below = append(below, number(t, line, word))
			}
		}
	}
	if len(below) != 4 {
		t.Fatalf("%v below the supervisor, want 4", below)
	}
	return cmd, below, r
}

func TestSIGTERMLeavesNoProcessBehind(t *testing.T) {
	t.Parallel()
	cmd, below, rest := whole(t)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(rest)
	if err != nil || !strings.Contains(string(text), "run returned <nil>") {
		t.Errorf("%s, %v", text, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	for _, pid := range below { // at once: Run returns when all have ended
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) && !gone(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
}

func TestKillingTheSupervisorKillsAllBelowIt(t *testing.T) {
	t.Parallel()
	cmd, below, _ := whole(t)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed
	for _, pid := range below {
		if !gone(pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Errorf("process %d is left", pid)
		}
	}
}

func TestAChildRunsAsItsUserFromAClosedFolder(t *testing.T) {
	t.Parallel()
	user, err := osproc.EnsureUser("strongroom-test")
	if err != nil {
		t.Fatal(err)
	}
	if user == nil {
		t.Log("not root: the child runs as the caller")
		user = &osproc.User{Name: "me", UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	}
	// go test builds this binary in a folder of mode 0700, as a clone under
	// /root would be.
	var out log
	p := process("serves", &out)
	p.User = user
	_, end := started(t, Options{Services: []Service{{Name: "a", Start: p.Start}}})
	if err := end(); err != nil {
		t.Fatal(err)
	}
	if uid := number(t, out.String(), "uid"); uid != int(user.UID) {
		t.Errorf("it ran as %d, want %d", uid, user.UID)
	}
}

func TestConnectionsWaitForAChildThatRestarts(t *testing.T) {
	t.Parallel()
	tcp, addr, err := ListenTCP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tcp.Close() }) // after the supervisor's end
	path := filepath.Join(t.TempDir(), "s")
	unix, err := ListenUnix(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close() })
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	a, b := process("accepts", nil), process("accepts", nil)
	a.Files, b.Files = []*os.File{tcp}, []*os.File{unix}
	started(t, Options{Services: []Service{{Name: "tcp", Start: a.Start}, {Name: "unix", Start: b.Start}}})
	for range 3 {
		for network, address := range map[string]string{"tcp": addr.String(), "unix": path} {
			c, err := net.Dial(network, address)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(c)
			if err != nil || !strings.HasPrefix(string(answer), "served by") {
				t.Errorf("%s: %q, %v", network, answer, err)
			}
			_ = c.Close()
		}
	}
}

func TestAnAddressThatCannotBeHadIsOneSentence(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for address, want := range map[string]string{l.Addr().String(): "is taken by another program", "192.0.2.1:8443": "does not have the address"} {
		f, _, err := ListenTCP(t.Context(), address)
		if err == nil {
			_ = f.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), address) {
			t.Errorf("%s: got %v", address, err)
		}
	}
}

func TestAProgramOfOthersIsProbed(t *testing.T) {
	t.Parallel()
	tries := 0
	p := Process{Path: "/bin/sleep", Args: []string{"600"}, Probe: func(context.Context) error {
		if tries++; tries < 3 {
			return errors.New("not yet")
		}
		return nil
	}}
	_, end := started(t, Options{Services: []Service{{Name: "a", Start: p.Start, StopWithin: time.Second}}})
	if err := end(); err != nil || tries != 3 {
		t.Errorf("%d tries, %v", tries, err)
	}
	p = Process{Path: "/bin/false", Probe: func(context.Context) error { return errors.New("not yet") }}
	if _, err := p.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("got %v", err)
	}
}

func TestServicesNeedNames(t *testing.T) {
	t.Parallel()
	var calls log
	for name, services := range map[string][]Service{"none": fakes(&calls, "", ""), "the same twice": fakes(&calls, "", "a", "a"), "no start": {{Name: "a"}}} {
		if _, err := New(Options{Log: slog.New(slog.DiscardHandler), Services: services}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
