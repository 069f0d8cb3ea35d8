// Package osproc starts child processes that never outlive their parent, each
// under an operating-system user of its own when the parent is root.
//
// It keeps three things true. A child dies with its parent, kill -9 included:
// the kernel delivers its death signal (PR_SET_PDEATHSIG, prctl(2)), and
// because that signal is tied to the thread that forked, not to the process,
// every child is forked from a thread that stays locked until the child has
// been reaped. A child leaves nothing behind: it leads a process group, and
// what is left of the group is killed before the child's id can be reused. A
// child inherits nothing by accident: no environment but the one it is given,
// no supplementary groups, no descriptors but those passed.
//
// The supervisor, the private PostgreSQL and every sandbox start their
// processes here.
package osproc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Options says how a child runs; the zero value runs it as the same user and
// kills it when the parent dies.
type Options struct {
	// User runs the child as another user, which only root can do; nil keeps
	// the parent's.
	User *User

	// DeathSignal is what the kernel sends to the child when the parent dies;
	// zero means SIGKILL, the only one that a hung child obeys.
	DeathSignal syscall.Signal
}

// drainWait bounds how long a dead child's output pipes are read: a descendant
// that left the process group may hold them open for ever.
const drainWait = 2 * time.Second

// Process is a running child.
type Process struct {
	pid  int
	cmd  *exec.Cmd
	done chan struct{}
	err  error // written before done is closed
}

// Start starts cmd, which must not have been started and whose environment
// must be set: a nil Env is refused, because it would hand down the parent's.
func Start(cmd *exec.Cmd, o Options) (*Process, error) {
	if cmd.Env == nil {
		return nil, fmt.Errorf("start %s: no environment was given", cmd.Path)
	}
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: o.DeathSignal}
	if attr.Pdeathsig == 0 {
		attr.Pdeathsig = syscall.SIGKILL
	}
	credential, err := o.User.credential()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	attr.Credential = credential
	cmd.SysProcAttr = attr
	cmd.WaitDelay = drainWait

	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// run forks and waits on one locked thread. While the child lives the thread
// cannot end, so its death signal means the death of the whole process.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	p.pid = p.cmd.Process.Pid
	started <- nil

	// WNOWAIT leaves the child a zombie, so its id, which is also its group's
	// id, still belongs to it while the rest of the group is killed.
	for {
		err := unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	p.err = p.cmd.Wait()
	close(p.done)
}

// PID returns the child's process id.
func (p *Process) PID() int { return p.pid }

// Done is closed when the child has ended and been reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the child ended: nil for exit status 0. It is nil while the
// child runs.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Signal sends s to the child alone; a child that has ended is no error.
func (p *Process) Signal(s syscall.Signal) error {
	err := p.cmd.Process.Signal(s)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Kill ends the child and its whole process group at once.
func (p *Process) Kill() {
	select {
	case <-p.done: // the id may be another's by now
		return
	default:
	}
	// A child that is just being reaped answers ErrProcessDone here, and its
	// group has been killed already.
	if p.cmd.Process.Signal(syscall.Signal(0)) == nil {
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	}
}
