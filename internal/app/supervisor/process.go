package supervisor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"strongroom/internal/osproc"
)

// Process is a child process that serves until it is asked to end by SIGTERM.
// By default it is this program again, and says itself when it is ready, by
// [Ready] or [Failed].
type Process struct {
	Path  string       // "" means this program
	Args  []string     // without the program's name
	Env   []string     // nothing is inherited; nil means [Environ]
	User  *osproc.User // nil: the supervisor's
	Files []*os.File   // the child finds them by [Inherited], in this order
	Log   io.Writer    // gets what the child writes on stdout and stderr; nil discards it

	// Probe replaces the child's own word where it is not our program: it is
	// tried until it returns nil.
	Probe func(ctx context.Context) error
}

// readyVariable tells a child where its supervisor listens.
const readyVariable = "STRONGROOM_READY_FD"

// firstFD is where exec.Cmd.ExtraFiles begin.
const firstFD = 3

// Start is for [Service.Start].
func (p Process) Start(ctx context.Context) (Running, error) {
	path := p.Path
	if path == "" {
		var err error
		if path, err = Self(); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(path, p.Args...)
	cmd.Args[0] = "strongroom"
	if p.Path != "" {
		cmd.Args[0] = p.Path
	}
	cmd.Dir = "/" // the supervisor's own folder may be closed to the child
	cmd.Env = p.Env
	if cmd.Env == nil {
		cmd.Env = Environ()
	}
	cmd.Stdout, cmd.Stderr = p.Log, p.Log

	word, child, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer word.Close()
	cmd.ExtraFiles = append([]*os.File{child}, p.Files...)
	if p.Probe == nil {
		cmd.Env = append(cmd.Env[:len(cmd.Env):len(cmd.Env)], readyVariable+"="+strconv.Itoa(firstFD))
	}
	process, err := osproc.Start(cmd, osproc.Options{User: p.User})
	_ = child.Close() // the child has its own; ours would keep the pipe open
	if err != nil {
		return nil, err
	}
	r := &runningProcess{process}
	if p.Probe != nil {
		err = r.probe(ctx, p.Probe)
	} else {
		err = r.await(ctx, word)
	}
	if err != nil {
		stop, cancel := context.WithTimeout(context.Background(), startStop)
		defer cancel()
		return nil, errors.Join(err, r.Stop(stop))
	}
	return r, nil
}

// startStop bounds the end of a child that did not become ready.
const startStop = 5 * time.Second

type runningProcess struct{ *osproc.Process }

// Stop implements [Running].
func (r *runningProcess) Stop(ctx context.Context) error {
	err := r.Signal(syscall.SIGTERM)
	select {
	case <-r.Done():
	case <-ctx.Done():
		r.Kill()
		<-r.Done()
	}
	return err
}

// await waits for the child's word.
func (r *runningProcess) await(ctx context.Context, word *os.File) error {
	line := make(chan string, 1)
	go func() { // ends with the pipe: by the word, the child's end, or our Close
		s, _ := bufio.NewReader(io.LimitReader(word, 4096)).ReadString('\n')
		line <- strings.TrimSpace(s)
	}()
	select {
	case s := <-line:
		if s == "ready" {
			return nil
		}
		if s != "" {
			return errors.New(s)
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	// It closed the pipe without a word, most likely by ending.
	select {
	case <-r.Done():
		return r.ended()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *runningProcess) probe(ctx context.Context, probe func(context.Context) error) error {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-r.Done():
			return r.ended()
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-tick.C:
		}
	}
}

func (r *runningProcess) ended() error {
	if err := r.Err(); err != nil {
		return fmt.Errorf("it ended before it was ready: %w", err)
	}
	return errors.New("it ended before it was ready")
}

// Ready tells the supervisor that this process serves; without a supervisor it
// does nothing.
func Ready() error { return tell("ready") }

// Failed tells the supervisor, in one sentence, why this process cannot serve.
func Failed(err error) error {
	return tell(strings.Join(strings.Fields(strings.ReplaceAll(err.Error(), "\n", "; ")), " "))
}

// tell closes the pipe after the first word.
var tell = func() func(string) error {
	var once sync.Once
	return func(word string) (err error) {
		once.Do(func() {
			fd, aerr := strconv.Atoi(os.Getenv(readyVariable))
			if aerr != nil {
				return // not a child of the supervisor
			}
			f := os.NewFile(uintptr(fd), "supervisor")
			_, err = io.WriteString(f, word+"\n")
			err = errors.Join(err, f.Close())
		})
		return err
	}
}()

// Environ is all that our children get for an environment.
func Environ() []string {
	return append([]string{"PATH=/usr/local/bin:/usr/bin:/bin", "TZ=UTC", "LC_ALL=C.UTF-8"}, osproc.Quiet...)
}

// Self returns a path that executes this very program, whoever the child runs
// as and whatever has become of the file: a clone under /root is closed to the
// services' users, and an upgrade replaces the file while old processes still
// restart their children. The descriptor is kept above those that a child
// inherits, which would cover it.
var Self = sync.OnceValues(func() (string, error) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 200)
	if err != nil {
		return "", fmt.Errorf("keep this program open: %w", err)
	}
	return "/proc/self/fd/" + strconv.Itoa(fd), nil
})
