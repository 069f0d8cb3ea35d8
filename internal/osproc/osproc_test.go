package osproc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary play the parent that is killed.
func TestMain(m *testing.M) {
	if os.Getenv("SR_OSPROC_PARENT") != "" {
		parent()
		return
	}
	os.Exit(m.Run())
}

// parent starts a child from a goroutine whose thread ends, says the child's
// id and waits to be killed.
func parent() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		cmd := exec.Command("/bin/sleep", "600")
		cmd.Env = []string{}
		p, err := Start(cmd, Options{})
		if err != nil {
			fmt.Println("error:", err)
			return
		}
		fmt.Println(p.PID())
	}()
	<-done
	select {}
}

func alive(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func gone(pid int) bool {
	for range 500 {
		if !alive(pid) {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func TestAChildDiesWithItsParentAndNotWithAThread(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"SR_OSPROC_PARENT=1"}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(line)
	}
	time.Sleep(200 * time.Millisecond) // the thread that asked for the child is gone by now
	if !alive(child) {
		t.Error("the child died with a thread of its parent")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed
	if !gone(child) {
		_ = syscall.Kill(child, syscall.SIGKILL)
		t.Error("the child outlived its parent")
	}
}

func TestAChildLeavesNothingOfItsGroupBehind(t *testing.T) {
	t.Parallel()
	var out lines
	cmd := exec.Command("/bin/sh", "-c", "sleep 600 & echo $!")
	cmd.Env = []string{"PATH=/bin:/usr/bin"}
	cmd.Stdout = &out
	p, err := Start(cmd, Options{})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	grandchild, err := strconv.Atoi(strings.TrimSpace(out.String()))
	if err != nil {
		t.Fatal(err)
	}
	if !gone(grandchild) {
		t.Error("a grandchild was left behind")
	}
}

func TestAChildSaysHowItEnded(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{"exit 0": "", "exit 3": "exit status 3", "kill -9 $$": "signal: killed"} {
		cmd := exec.Command("/bin/sh", "-c", script)
		cmd.Env = []string{}
		p, err := Start(cmd, Options{})
		if err != nil {
			t.Fatal(err)
		}
		<-p.Done()
		if got := fmt.Sprint(p.Err()); got != want && (want != "" || p.Err() != nil) {
			t.Errorf("%s: %s", script, got)
		}
		if err := p.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("a signal to one that has ended: %v", err)
		}
		p.Kill()
	}
}

func TestTheParentsEnvironmentIsNotHandedDownByAccident(t *testing.T) {
	t.Parallel()
	if _, err := Start(exec.Command("/bin/true"), Options{}); err == nil {
		t.Error("a command without an environment was started")
	}
}

func TestAMissingProgramIsAnErrorOfStart(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("/nowhere/program")
	cmd.Env = []string{}
	if _, err := Start(cmd, Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestASystemUserIsMadeOnceAndChildrenRunAsIt(t *testing.T) {
	t.Parallel()
	const name = "strongroom-test"
	if os.Geteuid() != 0 {
		u, err := EnsureUser(name)
		if u != nil || err != nil {
			t.Errorf("not root: got %v, %v", u, err)
		}
		other := &User{Name: "other", UID: uint32(os.Geteuid()) + 1}
		cmd := exec.Command("/bin/true")
		cmd.Env = []string{}
		if _, err := Start(cmd, Options{User: other}); err == nil {
			t.Error("a child ran as another user without root")
		}
		return
	}
	var wg sync.WaitGroup
	users := make([]*User, 4)
	for i := range users {
		wg.Go(func() {
			u, err := EnsureUser(name)
			if err != nil {
				t.Error(err)
			}
			users[i] = u
		})
	}
	wg.Wait()
	for _, u := range users {
		if u == nil || *u != *users[0] {
			t.Fatalf("one name, two users: %v and %v", users[0], u)
		}
	}
	var out lines
	cmd := exec.Command("/bin/sh", "-c", "id -u; id -G; echo $HOME$SECRET")
	cmd.Env = []string{"PATH=/bin:/usr/bin"}
	cmd.Dir = "/"
	cmd.Stdout = &out
	p, err := Start(cmd, Options{User: users[0]})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if want := fmt.Sprintf("%d\n%d\n\n", users[0].UID, users[0].GID); out.String() != want {
		t.Errorf("the child ran as %q, want %q", out.String(), want)
	}

	closed := t.TempDir()
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(closed, "inner")
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	// The topmost closed one is to be named: t.TempDir has a parent of 0700.
	topmost := filepath.Dir(closed)
	if err := users[0].CheckEnter(inner); !errors.Is(err, ErrClosed) || !strings.Contains(err.Error(), "because "+topmost+" is closed") {
		t.Errorf("got %v, want one that names %s", err, topmost)
	}
	if err := users[0].CheckEnter("/usr/bin"); err != nil {
		t.Errorf("an open folder: %v", err)
	}
}

func TestNamesThatNoSystemUserMayHaveAreRefused(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("not root: no user is ever made")
		return
	}
	for _, name := range []string{"", "-x", "a b", "root", "Upper", strings.Repeat("a", 32)} {
		if _, err := EnsureUser(name); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
}

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
