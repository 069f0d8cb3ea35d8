package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"strongroom/client/clienttest"
	"strongroom/cmd/strongroom/clitest"
)

// terminal is a pseudo-terminal with what a person at it sees.
type terminal struct {
	keyboard *os.File
	screen   func() string
	tty      *os.File
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	conn, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := conn.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
		if err == nil {
			err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 120})
		}
	}); err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tty.Close() })
	var mu sync.Mutex
	var seen bytes.Buffer
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			mu.Lock()
			seen.Write(buf[:n])
			mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return &terminal{keyboard: master, tty: tty, screen: func() string {
		mu.Lock()
		defer mu.Unlock()
		return seen.String()
	}}
}

func (x *terminal) waitFor(t *testing.T, text string) {
	t.Helper()
	for range 500 {
		if strings.Contains(x.screen(), text) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("no %q on the screen: %q", text, x.screen())
}

// echoes reports whether the terminal shows what is typed.
func (x *terminal) echoes(t *testing.T) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(x.tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// at starts a command at the terminal: its keyboard and screen are for the
// questions and messages; results go elsewhere.
func (x *terminal) at(t *testing.T, c *clitest.CLI, args ...string) (wait func() int, interrupt func()) {
	t.Helper()
	cmd, cancel := c.Command(args...)
	t.Cleanup(cancel)
	cmd.Stdin, cmd.Stderr = x.tty, x.tty
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() int { _ = cmd.Wait(); return cmd.ProcessState.ExitCode() }, func() { _ = cmd.Process.Signal(os.Interrupt) }
}

func TestAPasswordIsAskedForWithoutShowingIt(t *testing.T) {
	t.Parallel()
	c, s := user(t)
	x := newTerminal(t)
	wait, _ := x.at(t, c, "login", s.URL, "--ca", c.Env["CA"])
	x.waitFor(t, "Email: ")
	_, _ = x.keyboard.WriteString(clienttest.Email + "\n")
	x.waitFor(t, "Password: ")
	for x.echoes(t) {
		time.Sleep(5 * time.Millisecond)
	}
	_, _ = x.keyboard.WriteString(clienttest.Password + "\n")
	if code := wait(); code != clitest.OK {
		t.Errorf("exit %d: %q", code, x.screen())
	}
	x.waitFor(t, "Signed in to")
	if strings.Contains(x.screen(), clienttest.Password) || !strings.Contains(x.screen(), clienttest.Email) {
		t.Errorf("on the screen: %q", x.screen())
	}
	if !x.echoes(t) {
		t.Error("the terminal stays without echo")
	}
}

func TestCtrlCAtThePasswordGivesTheTerminalBack(t *testing.T) {
	t.Parallel()
	c, s := user(t)
	x := newTerminal(t)
	wait, interrupt := x.at(t, c, "login", s.URL, "--ca", c.Env["CA"], "--email", clienttest.Email)
	x.waitFor(t, "Password: ")
	for x.echoes(t) {
		time.Sleep(5 * time.Millisecond)
	}
	interrupt()
	if code := wait(); code != clitest.Failed {
		t.Errorf("exit %d", code)
	}
	if !x.echoes(t) {
		t.Error("the terminal stays without echo")
	}
	if _, err := os.Stat(c.Config()); err == nil {
		t.Error("something was remembered")
	}
}

func TestProgressIsShownAtATerminalWhenItTakesLong(t *testing.T) {
	t.Parallel()
	c, s := signedIn(t)
	x := newTerminal(t)
	id := s.AddFile("frame.tif", make([]byte, 4<<20))
	s.SlowContents(1 << 20)
	wait, _ := x.at(t, c, "get", id, "-o", "x")
	if code := wait(); code != clitest.OK {
		t.Fatalf("exit %d: %q", code, x.screen())
	}
	x.waitFor(t, "of 4.2 MB")
	s.SlowContents(0)
	y := newTerminal(t)
	wait, _ = y.at(t, c, "get", id, "-o", "y")
	if code := wait(); code != clitest.OK || strings.Contains(y.screen(), "of 4.2 MB") {
		t.Errorf("exit %d; something quick shows %q", code, y.screen())
	}
}
