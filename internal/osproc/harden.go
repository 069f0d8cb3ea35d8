package osproc

import (
	"errors"
	"fmt"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// Quiet are the variables that a child is given so that its runtime says
// nothing of its memory: a Go traceback prints the words of arguments, and a
// key that is passed by value stands among them.
var Quiet = []string{"GOTRACEBACK=none"}

// Harden keeps what this process holds in memory, keys and content, from being
// written to a disk or read by a neighbor when it dies: no core dump of it and
// of what it starts, no traceback with the words of its arguments, and no
// debugger of the same user (PR_SET_DUMPABLE, prctl(2)).
func Harden() error {
	debug.SetTraceback("none")
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &l); err != nil {
		return fmt.Errorf("core dumps: %w", err)
	}
	// A limit of 0 keeps files from being written, but a handler behind a pipe
	// is called all the same; of 1, neither (core(5), do_coredump in fs/coredump.c).
	l.Max = min(l.Max, 1)
	l.Cur = l.Max
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &l); err != nil {
		return fmt.Errorf("core dumps: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("core dumps: %w", err)
	}
	if n, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || n != 0 {
		return errors.Join(errors.New("core dumps: the kernel did not switch them off"), err)
	}
	return nil
}
