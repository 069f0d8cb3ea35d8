package postgres

import (
	"bytes"
	"io"
	"regexp"
	"sync"
)

// logPrefix tells who speaks (%b) and the SQLSTATE (%e), which redact needs.
const logPrefix = "%m [%p] %b %e "

// logLine takes apart what logPrefix makes; the kind of process may have
// spaces in it.
var logLine = regexp.MustCompile(`^(.*? \[\d+\] (.+?) ([0-9A-Z]{5}) )(DEBUG|LOG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC|[A-Z]+): `)

// system are the processes that run no statement of a client. Theirs are the
// messages that an operator needs in full: a failed checksum, an archive that
// refuses.
var system = map[string]bool{"postmaster": true, "startup": true, "checkpointer": true, "background writer": true, "walwriter": true,
	"archiver": true, "autovacuum launcher": true, "logical replication launcher": true, "not initialized": true, "walsender": true}

// maxLogLine bounds what is held of one line.
const maxLogLine = 64 << 10

// redact is PostgreSQL's log on its way out. No setting keeps values out of
// messages (`invalid input syntax for type integer: "…"`, RAISE in a function),
// so the message of a statement that failed is replaced by its SQLSTATE; the
// caller of the statement has the message.
type redact struct {
	to   io.Writer
	mu   sync.Mutex
	line []byte
	drop bool // the lines that continue a replaced message go too
}

// Write passes whole lines on and never fails: a log that cannot be written
// must not stop the database.
func (r *redact) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for rest := p; len(rest) > 0; {
		part, after, whole := bytes.Cut(rest, []byte("\n"))
		rest = after
		if room := maxLogLine - len(r.line); len(part) > room {
			part = part[:room]
		}
		r.line = append(r.line, part...)
		if whole {
			r.emit()
		}
	}
	return len(p), nil
}

// emit writes the line that is complete. PostgreSQL begins every further line of
// a message with a tab.
func (r *redact) emit() {
	line := r.line
	r.line = r.line[:0]
	if len(line) > 0 && line[0] == '\t' {
		if !r.drop {
			_, _ = r.to.Write(append(line, '\n'))
		}
		return
	}
	m := logLine.FindSubmatch(line)
	r.drop = false
	if m != nil && !system[string(m[2])] {
		switch string(m[4]) {
		case "LOG", "FATAL", "PANIC": // of the connection, not of a statement
		default:
			r.drop = true
			line = append(m[0], "(message not logged: it may repeat a value)"...)
		}
	}
	_, _ = r.to.Write(append(line, '\n'))
}
