// Package uptest runs the built program as an operator does: a whole
// installation, its processes, and what is left when they are killed.
package uptest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"strongroom/client"
)

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "strongroom-bin")
	if err == nil {
		binary = filepath.Join(dir, "strongroom")
		build := exec.Command("go", "build", "-o", binary, "strongroom/cmd/strongroom")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "uptest: build:", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// installation is one run of `strongroom up`.
type installation struct {
	dir, url string
	cmd      *exec.Cmd
	log      *lines
	ended    chan struct{}
}

// lines keeps what the processes wrote.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// folder is a data directory that the services' own users can reach.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "strongroom-up")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "data")
}

// freePort is where the test's installation listens in all its runs.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func up(t *testing.T, dir, listen string, args ...string) *installation {
	t.Helper()
	return upBinary(t, binary, dir, listen, args...)
}

func upBinary(t *testing.T, program, dir, listen string, args ...string) *installation {
	t.Helper()
	i := &installation{dir: dir, log: &lines{}, ended: make(chan struct{})}
	i.cmd = exec.Command(program, append([]string{"up", "--data", dir, "--listen", listen}, args...)...)
	i.cmd.Stderr = i.log
	out, err := i.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first := make(chan string, 1)
	go func() {
		r := bufio.NewReader(out)
		line, _ := r.ReadString('\n')
		first <- line
		rest, _ := io.ReadAll(r)
		if len(rest) > 0 {
			t.Errorf("more than one line on stdout: %q", rest)
		}
		_ = i.cmd.Wait()
		close(i.ended)
	}()
	t.Cleanup(func() { i.stop(t) })
	select {
	case line := <-first:
		m := regexp.MustCompile(`^strongroom: ready (https://\S+)\n$`).FindStringSubmatch(line)
		if m == nil {
			<-i.ended
			t.Fatalf("it did not become ready: stdout %q\n%s", line, i.log)
		}
		i.url = m[1]
	case <-time.After(4 * time.Minute):
		t.Fatalf("it did not become ready in four minutes\n%s", i.log)
	}
	return i
}

// stop ends the installation as an operator does.
func (i *installation) stop(t *testing.T) {
	t.Helper()
	_ = i.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-i.ended:
	case <-time.After(90 * time.Second):
		_ = i.cmd.Process.Kill()
		t.Errorf("it did not end within 90 seconds of SIGTERM\n%s", i.log)
	}
}

// below lists the processes that descend from the installation, by name.
func (i *installation) below() map[string]int { return descendants(i.cmd.Process.Pid) }

func descendants(root int) map[string]int {
	out := map[string]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+2:]))
		if parent, _ := strconv.Atoi(fields[1]); parent != root || fields[0] == "Z" {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		args, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "cmdline"))
		words := strings.Split(string(args), "\x00")
		name := filepath.Base(words[0])
		if name == "strongroom" && len(words) > 1 {
			name = words[1]
			for n, w := range words {
				if w == "--zone" {
					name += " " + words[n+1]
				}
			}
		}
		out[name] = pid
	}
	return out
}

func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(b, []byte(") Z "))
}

// scientist signs in as somebody who stores and reads.
func (i *installation) client(t *testing.T, email string, password client.Secret) (*client.Client, string) {
	t.Helper()
	ca, err := os.ReadFile(filepath.Join(i.dir, "tls", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Options{URL: i.url, CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	in, err := c.SignIn(t.Context(), email, password)
	if err != nil {
		t.Fatalf("sign in: %v\n%s", err, i.log)
	}
	if len(in.Organizations) == 0 {
		t.Fatal("the account belongs to no organization")
	}
	return c.WithToken(in.Token), in.Organizations[0].ID
}

// account is the first of the demo's accounts at a domain.
func (i *installation) account(t *testing.T, domain string) (email string, password client.Secret) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(i.dir, "demo-accounts.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if words := strings.Fields(line); len(words) > 1 && strings.HasSuffix(words[0], "@"+domain) {
			return words[0], client.NewSecret(words[1])
		}
	}
	t.Fatalf("no account at %s", domain)
	return "", client.Secret{}
}

func TestSIGTERMEndsEveryProcessAndARestartKeepsEverything(t *testing.T) {
	dir, listen := folder(t), freePort(t)
	i := up(t, dir, listen, "--demo")
	email, password := i.account(t, "lab.example")
	c, org := i.client(t, email, password)
	rec, err := c.CreateCollection(t.Context(), org, client.NewCollection{Kind: "restart"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.CreateRecord(t.Context(), org, rec.Kind, client.NewRecord{Content: json.RawMessage(`{"kept":1.10}`)})
	if err != nil {
		t.Fatal(err)
	}
	children := i.below()
	for _, want := range []string{"postgres", "guardian a", "guardian b", "keyservice", "serve"} {
		if children[want] == 0 {
			t.Errorf("there is no process %q among %v", want, children)
		}
	}
	i.stop(t)
	for name, pid := range children {
		if alive(pid) {
			t.Errorf("%s is still there after SIGTERM", name)
		}
	}
	j := up(t, dir, listen, "--demo")
	c, org = j.client(t, email, password)
	got, err := c.Record(t.Context(), org, "restart", r.ID)
	if err != nil || string(got.Content) != `{"kept":1.10}` {
		t.Errorf("after the restart: %s, %v", got.Content, err)
	}
}

// Whatever is killed, and whenever: an acknowledged write is there afterwards,
// and nobody has to help.
func TestKillingAnyProcessLosesNothingThatWasAcknowledged(t *testing.T) {
	dir, listen := folder(t), freePort(t)
	i := up(t, dir, listen, "--demo")
	email, password := i.account(t, "lab.example")
	c, org := i.client(t, email, password)
	if _, err := c.CreateCollection(t.Context(), org, client.NewCollection{Kind: "survivor"}); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	kept := map[string]string{}
	writers := func(ctx context.Context, c *client.Client) *sync.WaitGroup {
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					content := fmt.Sprintf(`{"writer":%d,"n":%d,"r":%d}`, w, n, rand.Uint32())
					one, cancel := context.WithTimeout(ctx, 15*time.Second)
					r, err := c.CreateRecord(one, org, "survivor", client.NewRecord{Content: json.RawMessage(content)})
					cancel()
					if err != nil {
						time.Sleep(20 * time.Millisecond)
						continue
					}
					mu.Lock()
					kept[r.ID] = content
					mu.Unlock()
				}
			})
		}
		return &wg
	}
	ctx, cancel := context.WithCancel(t.Context())
	wg := writers(ctx, c)
	for _, victim := range []string{"serve", "keyservice", "guardian a", "postgres", "guardian b"} {
		time.Sleep(700 * time.Millisecond)
		pid := i.below()[victim]
		if pid == 0 {
			t.Fatalf("there is no process %q", victim)
		}
		mu.Lock()
		before := len(kept)
		mu.Unlock()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(90 * time.Second)
		for {
			mu.Lock()
			n := len(kept)
			mu.Unlock()
			if n > before+20 && i.below()[victim] != 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("after kill -9 of %s it did not come back by itself\n%s", victim, i.log)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	// Now the supervisor itself, in the middle of writes.
	children := i.below()
	_ = i.cmd.Process.Kill()
	cancel()
	wg.Wait()
	<-i.ended
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		left := 0
		for _, pid := range children {
			if alive(pid) {
				left++
			}
		}
		if left == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d processes outlived kill -9 of the supervisor", left)
		}
	}
	j := up(t, dir, listen, "--demo")
	c, org = j.client(t, email, password)
	found := map[string]string{}
	for r, err := range c.Records(t.Context(), org, "survivor") {
		if err != nil {
			t.Fatal(err)
		}
		found[r.ID] = string(r.Content)
	}
	lost := 0
	for id, content := range kept {
		if found[id] != content {
			lost++
		}
	}
	if lost > 0 || len(kept) < 100 {
		t.Errorf("%d of %d acknowledged records are lost", lost, len(kept))
	}
	t.Logf("%d acknowledged, %d found", len(kept), len(found))
}

func refuses(t *testing.T, want string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	if err == nil {
		t.Fatal("it started")
	}
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	last := lines[len(lines)-1]
	if !regexp.MustCompile(want).MatchString(last) {
		t.Errorf("it says %q, want %s", last, want)
	}
	if strings.Contains(out.String(), "ready") {
		t.Error("it said that it is ready")
	}
}

func TestWhatCannotStartSaysWhyInOneSentence(t *testing.T) {
	t.Run("a taken port", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		refuses(t, `address .* is taken by another program`, "up", "--data", folder(t), "--listen", l.Addr().String())
	})
	t.Run("a data directory from a newer version", func(t *testing.T) {
		dir := folder(t)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "VERSION"), []byte("999\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		refuses(t, `newer`, "up", "--data", dir, "--listen", "127.0.0.1:0")
	})
	t.Run("a missing PostgreSQL", func(t *testing.T) {
		dir := folder(t)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "strongroom.toml"), []byte("[postgres]\nbinaries = \""+t.TempDir()+"\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		refuses(t, `PostgreSQL`, "up", "--data", dir, "--listen", "127.0.0.1:0")
	})
	t.Run("an unknown setting", func(t *testing.T) {
		dir := folder(t)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "strongroom.toml"), []byte("lisen = \"127.0.0.1:1\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		refuses(t, `there is no setting lisen`, "up", "--data", dir)
	})
	t.Run("a data directory in use", func(t *testing.T) {
		dir := folder(t)
		i := up(t, dir, "127.0.0.1:0")
		refuses(t, `in use|is used`, "up", "--data", dir, "--listen", "127.0.0.1:0")
		i.stop(t)
	})
}
