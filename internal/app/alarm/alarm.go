// Package alarm tells people when something is wrong with an installation, and
// when it is over.
//
// A [Condition] is a state, not an event: whoever watches says at every look
// what is wrong now, and the [Book] finds out what that means. It promises
// that a condition which lasts is told once when it has settled, again after
// the period that the operator set, and once when it is over; that a restart
// neither forgets nor repeats; and that a notice which could not be delivered
// is tried again, to each destination by itself. A notice goes to the
// configured destinations and nowhere else (OWN-5), and holds the installation's
// words alone: counts, names of processes and promises, never content.
//
// The supervisor keeps the book, so that it speaks when the server is down.
// What the server sees, it says on a [Board] that the supervisor reads. A new
// condition is a call of [Board.Raise], or a line in the supervisor's watch;
// docs/operations.md has a row for each.
package alarm

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Severity says how fast somebody must look.
type Severity string

// The severities.
const (
	Warning  Severity = "warning"  // soon: it will hurt, or protection has worn thin
	Critical Severity = "critical" // now: it hurts
)

// Condition is something that is wrong.
type Condition struct {
	Name     string   `json:"name"` // stable, such as keys or process/server
	Severity Severity `json:"severity"`
	Text     string   `json:"text"` // one sentence for a person
}

// Alarm is a condition that is in the book.
type Alarm struct {
	Condition
	Since    time.Time `json:"since"`
	RaisedAt time.Time `json:"raised_at,omitzero"` // zero: it has not settled yet
	ToldAt   time.Time `json:"told_at,omitzero"`
	GoneAt   time.Time `json:"gone_at,omitzero"` // it may be over
}

// Kind says what a notice tells.
type Kind string

// The kinds of notice.
const (
	Raised   Kind = "raised"
	Lasting  Kind = "lasting"
	Resolved Kind = "resolved"
	Test     Kind = "test"
)

// Notice is what is told about one alarm.
type Notice struct {
	ID           string    `json:"id"`
	Kind         Kind      `json:"kind"`
	Name         string    `json:"name"`
	Severity     Severity  `json:"severity"`
	Text         string    `json:"text"`
	Since        time.Time `json:"since"`
	At           time.Time `json:"at"`
	Installation string    `json:"installation"` // its address
	Version      string    `json:"version"`
}

// Board is where a server says what it sees. The zero value is empty and ready
// for use.
type Board struct {
	mu     sync.Mutex
	raised map[string]Condition
}

// maxRaised bounds the board: names come from the product, never from outside.
const maxRaised = 100

// maxText bounds the words of a condition.
const maxText = 500

// Raise says that something is wrong, until Resolve says that it is over. It
// may be said again at any time, and takes the newest words. name is a stable
// word of the product; text holds no content.
func (b *Board) Raise(name string, severity Severity, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.raised == nil {
		b.raised = map[string]Condition{}
	}
	if _, known := b.raised[name]; !known && len(b.raised) >= maxRaised {
		return
	}
	b.raised[name] = Condition{name, severity, oneLine(text)}
}

// Resolve says that it is over. What was not raised is no mistake.
func (b *Board) Resolve(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.raised, name)
}

// Conditions lists what is raised, by name.
func (b *Board) Conditions() []Condition {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Condition, 0, len(b.raised))
	for _, c := range b.raised {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Condition) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// oneLine keeps a text from beginning a line of its own in a mail or a log.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}
