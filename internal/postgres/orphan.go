package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// stopOrphan ends what an earlier run left behind on this data directory. A
// cluster whose supervisor was killed is asked to stop in order; backends whose
// postmaster was killed are ended, for a new postmaster beside them would
// refuse to start, and with a removed lock file would corrupt the data. A lock
// file that nobody holds any more is removed: its process id may by now be a
// stranger's, and PostgreSQL would then refuse to start for ever.
//
// The caller holds the lock of the Strongroom data directory, so nobody else is
// starting a cluster here.
func (o *Options) stopOrphan(ctx context.Context) error {
	if pid, _ := readPIDFile(o.DataDir); pid != 0 && isServer(pid, o.DataDir) {
		if err := syscall.Kill(pid, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("the PostgreSQL of an earlier run (process %d) cannot be stopped: %w", pid, err)
		}
		if err := waitGone(ctx, o.DataDir, o.StopWithin); err != nil {
			return err
		}
	}
	if err := endAll(ctx, o.DataDir, 500*time.Millisecond); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(o.DataDir, "postmaster.pid")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explain(err, o.DataDir)
	}
	return nil
}

// endAll ends every PostgreSQL process on dataDir: first by SIGQUIT, after
// grace by SIGKILL. All of them being dead, the next start recovers.
func endAll(ctx context.Context, dataDir string, grace time.Duration) error {
	for _, step := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{0, grace}, {syscall.SIGQUIT, grace}, {syscall.SIGKILL, 10 * time.Second}} {
		left := servers(dataDir)
		if len(left) == 0 {
			return nil
		}
		for _, pid := range left {
			if step.signal == 0 {
				continue // orphaned backends end by themselves when they are idle
			}
			if err := syscall.Kill(pid, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("a PostgreSQL process of an earlier run (process %d) cannot be ended: %w", pid, err)
			}
		}
		if err := waitGone(ctx, dataDir, step.wait); err != nil {
			return err
		}
	}
	if left := servers(dataDir); len(left) > 0 {
		return fmt.Errorf("a PostgreSQL process of an earlier run (process %d) does not end", left[0])
	}
	return nil
}

// waitGone waits until no process is left or the time is up, which is no error.
func waitGone(ctx context.Context, dataDir string, atMost time.Duration) error {
	deadline := time.Now().Add(atMost)
	for time.Now().Before(deadline) {
		if len(servers(dataDir)) == 0 {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// servers returns the PostgreSQL processes on dataDir. A process id in a file
// proves nothing after a reboot; the kernel knows who works in that folder, and
// postmaster and backends all do.
func servers(dataDir string) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && isServer(pid, dataDir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func isServer(pid int, dataDir string) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	comm, err := os.ReadFile(filepath.Join(proc, "comm"))
	if err != nil || string(bytes.TrimSpace(comm)) != "postgres" {
		return false
	}
	cwd, err := os.Stat(filepath.Join(proc, "cwd"))
	if err != nil { // also a zombie, which holds nothing any more
		return false
	}
	data, err := os.Stat(dataDir)
	return err == nil && os.SameFile(cwd, data)
}
