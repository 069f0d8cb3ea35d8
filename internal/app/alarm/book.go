package alarm

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"strongroom/internal/osproc"
)

// Destination is somewhere that notices go.
type Destination interface {
	Name() string // mail, webhook
	Deliver(ctx context.Context, n Notice) error
}

// BookOptions configures a Book. File and Log are required.
type BookOptions struct {
	File         string
	Reader       *osproc.User // who else may read the file; nil: nobody
	Destinations []Destination
	Again        time.Duration // until a lasting alarm is told again; 0: a day
	Settle       time.Duration // how long a condition lasts, or is gone, to count; 0: 30 s
	Installation string
	Version      string
	Log          *slog.Logger
	Now          func() time.Time // nil: the clock
}

// Book holds the alarms, and the notices that are still to be delivered.
type Book struct {
	o BookOptions

	mu    sync.Mutex
	saved []byte
	state state
}

// state is what the file holds.
type state struct {
	Alarms  []Alarm   `json:"alarms"`
	Pending []pending `json:"pending"`
}

// pending is a notice that did not reach every destination yet.
type pending struct {
	Notice Notice    `json:"notice"`
	To     []string  `json:"to"`
	Tries  int       `json:"tries"`
	Next   time.Time `json:"next"`
	Fault  string    `json:"fault,omitempty"`
}

// The bounds of what waits for delivery. Past them the oldest goes: what is
// wrong now is told again by its alarm.
const (
	maxPending = 200
	maxBook    = 1 << 20
	keepTrying = 3 * 24 * time.Hour
	firstRetry = 30 * time.Second
	lastRetry  = time.Hour
)

// Open returns the book in o.File. One that cannot be read is put aside: an
// alarm that is told twice is better than none.
func Open(o BookOptions) (*Book, error) {
	if o.File == "" || o.Log == nil {
		return nil, errors.New("alarm: BookOptions.File and Log are required")
	}
	if o.Again == 0 {
		o.Again = 24 * time.Hour
	}
	if o.Settle == 0 {
		o.Settle = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	b := &Book{o: o}
	if err := readState(o.File, &b.state); err != nil && !errors.Is(err, fs.ErrNotExist) {
		o.Log.Warn("the book of alarms is not readable and begins anew", "file", o.File, "error", err)
		b.state = state{}
	}
	return b, nil
}

func readState(file string, s *state) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxBook))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, s)
}

// Read returns the alarms of the book in file that have been told and are not
// over, and why notices do not get through, if they do not. It is for
// whoever shows them; the book itself belongs to the supervisor.
func Read(file string) (raised []Alarm, undelivered []string, err error) {
	var s state
	if err := readState(file, &s); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return []Alarm{}, nil, err
	}
	raised = slices.DeleteFunc(s.Alarms, func(a Alarm) bool { return a.RaisedAt.IsZero() })
	for _, p := range s.Pending {
		if p.Fault != "" && !slices.Contains(undelivered, p.Fault) {
			undelivered = append(undelivered, p.Fault)
		}
	}
	if raised == nil {
		raised = []Alarm{}
	}
	return raised, undelivered, nil
}

// Update takes what is wrong now, all of it.
func (b *Book) Update(now []Condition) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.o.Now().UTC().Truncate(time.Second)
	kept := b.state.Alarms[:0:0]
	for _, a := range b.state.Alarms {
		i := slices.IndexFunc(now, func(c Condition) bool { return c.Name == a.Name })
		if i < 0 {
			if a.RaisedAt.IsZero() {
				continue // it came and went before it counted
			}
			if a.GoneAt.IsZero() {
				a.GoneAt = at
			}
			if at.Sub(a.GoneAt) >= b.o.Settle {
				b.tell(Resolved, a, at)
				continue
			}
			kept = append(kept, a)
			continue
		}
		worse := a.Severity == Warning && now[i].Severity == Critical
		a.Condition, a.GoneAt = now[i], time.Time{}
		a.Text = oneLine(a.Text)
		switch {
		case a.RaisedAt.IsZero():
			if at.Sub(a.Since) >= b.o.Settle {
				a.RaisedAt, a.ToldAt = at, at
				b.tell(Raised, a, at)
			}
		case worse || at.Sub(a.ToldAt) >= b.o.Again:
			a.ToldAt = at
			b.tell(Lasting, a, at)
		}
		kept = append(kept, a)
	}
	for _, c := range now {
		if !slices.ContainsFunc(kept, func(a Alarm) bool { return a.Name == c.Name }) {
			c.Text = oneLine(c.Text)
			kept = append(kept, Alarm{Condition: c, Since: at})
		}
	}
	slices.SortFunc(kept, func(a, b Alarm) int { return cmp.Compare(a.Name, b.Name) })
	b.state.Alarms = kept
	return b.save()
}

// tell queues a notice. A newer one about the same alarm takes the place of
// what did not get through.
func (b *Book) tell(kind Kind, a Alarm, at time.Time) {
	n := Notice{ID: rand.Text(), Kind: kind, Name: a.Name, Severity: a.Severity, Text: a.Text, Since: a.Since, At: at,
		Installation: b.o.Installation, Version: b.o.Version}
	b.o.Log.Warn("alarm", "kind", kind, "name", a.Name, "severity", a.Severity, "text", a.Text, "since", a.Since)
	if len(b.o.Destinations) == 0 {
		return
	}
	p := pending{Notice: n, Next: at}
	for _, d := range b.o.Destinations {
		p.To = append(p.To, d.Name())
	}
	b.state.Pending = append(b.state.Pending, p)
	if len(b.state.Pending) > maxPending {
		b.state.Pending = b.state.Pending[len(b.state.Pending)-maxPending:]
	}
}

// Deliver sends what is due. One destination that does not answer holds up no
// other.
func (b *Book) Deliver(ctx context.Context) error {
	b.mu.Lock()
	at := b.o.Now()
	due := slices.Clone(b.state.Pending)
	b.mu.Unlock()
	for _, p := range due {
		if p.Next.After(at) || ctx.Err() != nil {
			continue
		}
		var left []string
		fault := ""
		for _, d := range b.o.Destinations {
			if !slices.Contains(p.To, d.Name()) {
				continue
			}
			if err := d.Deliver(ctx, p.Notice); err != nil {
				left = append(left, d.Name())
				fault = oneLine(d.Name() + ": " + err.Error())
				b.o.Log.Error("an alarm was not delivered and will be tried again", "to", d.Name(), "name", p.Notice.Name, "error", err)
			}
		}
		b.done(p.Notice.ID, left, fault)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.save()
}

func (b *Book) done(id string, left []string, fault string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.state.Pending, func(p pending) bool { return p.Notice.ID == id })
	if i < 0 {
		return
	}
	p := &b.state.Pending[i]
	at := b.o.Now()
	if len(left) == 0 || at.Sub(p.Notice.At) > keepTrying {
		b.state.Pending = slices.Delete(b.state.Pending, i, i+1)
		return
	}
	p.To, p.Fault = left, fault
	p.Next = at.Add(min(firstRetry<<min(p.Tries, 10), lastRetry))
	p.Tries++
}

// save writes the book if it changed: as a whole or not at all.
func (b *Book) save() error {
	text, err := json.MarshalIndent(b.state, "", " ")
	if err != nil {
		return err
	}
	if string(text) == string(b.saved) {
		return nil
	}
	if err := WriteFile(b.o.File, text, b.o.Reader); err != nil {
		return fmt.Errorf("the book of alarms: %w", err)
	}
	b.saved = text
	return nil
}

// WriteFile replaces a file of the supervisor's that reader may read: it is
// the old or the new one.
func WriteFile(path string, text []byte, reader *osproc.User) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when all went well
	_, err = f.Write(text)
	if err == nil && reader != nil {
		if err = f.Chown(-1, int(reader.GID)); err == nil {
			err = f.Chmod(0o640)
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
