package sweep_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strongroom/internal/app"
	"strongroom/internal/app/datadir"
	"strongroom/internal/osproc"
	"strongroom/internal/postgres"
	"strongroom/internal/testkit"
)

// long says that the long form is wanted: more data, more deaths.
var long = os.Getenv("STRONGROOM_LONG") != ""

// patience bounds what the tests wait for; several test binaries share a
// machine.
const patience = 2 * time.Minute

var built struct {
	dir  string
	once sync.Once
	path string
	err  error
}

func TestMain(m *testing.M) {
	code := testkit.Run(m)
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// program returns the path of the program, built once for all tests.
func program(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "strongroom-sweep-bin-"); built.err != nil {
			return
		}
		built.path = filepath.Join(built.dir, "strongroom")
		cmd := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-o", built.path, "strongroom/cmd/strongroom")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("the program does not build: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// record keeps all that processes write.
type record struct {
	mu    sync.Mutex
	text  bytes.Buffer
	lines chan string // of what is written, if not nil
	part  string
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text.Write(p)
	if r.lines != nil {
		all := strings.Split(r.part+string(p), "\n")
		r.part = all[len(all)-1]
		for _, line := range all[:len(all)-1] {
			select {
			case r.lines <- line:
			default: // nobody waits any more
			}
		}
	}
	return len(p), nil
}

func (r *record) bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.text.Bytes())
}

// installation is a whole installation: strongroom up, with its processes.
type installation struct {
	layout datadir.Layout
	url    string
	ca     []byte
	caFile string
	log    *record // standard output and error of all its processes
	began  time.Time

	args []string
	up   *osproc.Process
}

// install starts an installation in a folder of its own, and ends it with the
// test. settings, if not empty, are its strongroom.toml.
func install(t testing.TB, settings string, args ...string) *installation {
	t.Helper()
	// A folder of the test's own is closed to the users that services run as.
	dir, err := os.MkdirTemp("", "strongroom-sweep-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	data := filepath.Join(dir, "data")
	if err := errors.Join(os.Chmod(dir, 0o711), os.Mkdir(data, 0o711)); err != nil {
		t.Fatal(err)
	}
	i := &installation{layout: datadir.At(data), log: &record{}, args: args, began: time.Now()}
	if settings != "" {
		if err := os.WriteFile(i.layout.Config(), []byte(settings), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { i.stop(t) })
	i.start(t)
	i.caFile = filepath.Join(i.layout.TLS(), "ca.pem")
	if i.ca, err = os.ReadFile(i.caFile); err != nil {
		t.Fatal(err)
	}
	return i
}

// start runs strongroom up until it says that it is ready.
func (i *installation) start(t testing.TB) {
	t.Helper()
	out := &record{lines: make(chan string, 16)}
	cmd := exec.Command(program(t), append([]string{"up", "--data", i.layout.Path(), "--listen", "127.0.0.1:0"}, i.args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Dir(i.layout.Path())}
	cmd.Stdout, cmd.Stderr = io.MultiWriter(out, i.log), i.log
	up, err := osproc.Start(cmd, osproc.Options{DeathSignal: syscall.SIGTERM})
	if err != nil {
		t.Fatal(err)
	}
	i.up = up
	select {
	case line := <-out.lines:
		url, ok := strings.CutPrefix(line, "strongroom: ready ")
		if !ok {
			t.Fatalf("the first line on the standard output is %q", line)
		}
		i.url = url
	case <-up.Done():
		t.Fatalf("strongroom up ended: %v\n%s", up.Err(), i.log.bytes())
	case <-time.After(patience):
		t.Fatalf("strongroom up is not ready after %v\n%s", patience, i.log.bytes())
	}
}

// stop ends the installation as an operator does.
func (i *installation) stop(t testing.TB) {
	t.Helper()
	if i.up == nil {
		return
	}
	up := i.up
	i.up = nil
	_ = up.Signal(syscall.SIGTERM)
	select {
	case <-up.Done():
		if err := up.Err(); err != nil {
			t.Errorf("strongroom up, asked to end: %v", err)
		}
	case <-time.After(patience):
		up.Kill()
		t.Errorf("strongroom up did not end on SIGTERM within %v", patience)
	}
}

// kill ends strongroom up with kill -9, and so all its processes.
func (i *installation) kill(t testing.TB) {
	t.Helper()
	all := i.processes(t)
	if err := i.up.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-i.up.Done()
	i.up = nil
	// PostgreSQL's own children notice by themselves, or at the next start.
	for _, p := range all {
		if p.has("serve") || p.has("keyservice") || p.has("guardian") {
			waitFor(t, "the end of the process "+p.args[1], func() bool { return !p.alive() })
		}
	}
}

// process is one of the installation's.
type process struct {
	pid  int
	args []string
}

func (p process) has(arg string) bool { return len(p.args) > 1 && p.args[1] == arg }

func (p process) alive() bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	_, rest, ok := strings.Cut(string(b), ") ")
	return err == nil && ok && rest[0] != 'Z' && rest[0] != 'X'
}

// processes lists strongroom up and all that descend from it.
func (i *installation) processes(t testing.TB) (all []process) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	children := map[int][]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join("/proc", e.Name(), "stat"))
		if err != nil {
			continue
		}
		// The name in parentheses may hold anything; the parent comes second
		// after it (proc_pid_stat(5)).
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if parent, err := strconv.Atoi(fields[1]); err == nil {
			children[parent] = append(children[parent], pid)
		}
	}
	for queue := []int{i.up.PID()}; len(queue) > 0; queue = queue[1:] {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", queue[0]))
		all = append(all, process{queue[0], strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")})
		queue = append(queue, children[queue[0]]...)
	}
	return all
}

// server is the process that serves the API.
func (i *installation) server(t testing.TB) process {
	t.Helper()
	for _, p := range i.processes(t) {
		if p.has("serve") {
			return p
		}
	}
	t.Fatal("the installation has no server process")
	return process{}
}

// sql connects to the database as the operator can.
func (i *installation) sql(t testing.TB, login string) *pgx.Conn {
	t.Helper()
	c, err := pgx.Connect(t.Context(), i.database(login))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) })
	return c
}

func (i *installation) database(login string) string {
	return postgres.SocketURL(i.layout.Run(datadir.RunPostgres), login, app.Database)
}

func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
