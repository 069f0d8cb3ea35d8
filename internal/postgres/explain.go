package postgres

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
)

// tailSize is what is kept of the log for the sentence that explains a failed
// start.
const tailSize = 8 << 10

// tail passes PostgreSQL's log on and remembers its end.
type tail struct {
	to io.Writer
	mu sync.Mutex
	b  []byte
}

// Write never fails: a log that cannot be written must not stop the database.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - tailSize; over > 0 {
		t.b = append(t.b[:0], t.b[over:]...)
	}
	if t.to != nil {
		_, _ = t.to.Write(p)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

// last returns the line that says most: the last complaint, else the last line.
func (t *tail) last() string {
	lines := strings.Split(strings.TrimSpace(t.String()), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		for _, mark := range []string{"PANIC:", "FATAL:", "error:", "ERROR:"} {
			_, text, found := strings.Cut(lines[i], mark)
			if !found {
				continue
			}
			if i > 0 && strings.HasSuffix(text, "contains errors") { // which one, the line before says
				if _, why, found := strings.Cut(lines[i-1], "LOG:"); found {
					text = why
				}
			}
			return strings.TrimSpace(text)
		}
	}
	if last := lines[len(lines)-1]; last != "" {
		return strings.TrimSpace(last)
	}
	return "it said nothing"
}

// diagnose says in one sentence why the postmaster ended.
func (c *Cluster) diagnose() error {
	how := "it ended"
	if err := c.process.Err(); err != nil {
		how = "it ended with " + err.Error()
	}
	return explain(fmt.Errorf("%s: %s", how, c.tail.last()), c.options.DataDir)
}

// ErrDiskFull says that the disk of the data directory is full.
var ErrDiskFull = errors.New("the disk is full")

// explain turns the common failures of a machine into a sentence that says
// what to do.
func explain(err error, dir string) error {
	text := err.Error()
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT),
		strings.Contains(text, "No space left on device"), strings.Contains(text, "Disk quota exceeded"):
		return fmt.Errorf("%w: %s has no room left; free some and start again, nothing was damaged (%w)", ErrDiskFull, dir, err)
	case errors.Is(err, syscall.EROFS), strings.Contains(text, "Read-only file system"):
		return fmt.Errorf("%s is on a read-only file system: %w", dir, err)
	case strings.Contains(text, "could not map anonymous shared memory"), strings.Contains(text, "Cannot allocate memory"):
		return fmt.Errorf("there is not enough memory; lower shared_buffers or max_connections under [postgres.settings]: %w", err)
	case strings.Contains(text, `invalid locale name "C.UTF-8"`):
		return fmt.Errorf("the locale C.UTF-8 is missing; on Debian it comes with the package libc-bin: %w", err)
	}
	return err
}
