package unit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/seal"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/internal/pg"
)

const (
	// maxVolley and maxVolleyBytes bound what is carried out together.
	maxVolley      = 32
	maxVolleyBytes = 256 << 10
	// maxFlying is how many volleys of one lane are on their way at once. With
	// one alone, a lock that it meets would hold up all that come after, and
	// two leave processors idle while they wait for their flush; with many,
	// few statements travel together.
	maxFlying = 4
)

// Gathering carries out units that are one statement each. Those of the same
// organization and the same person that wait while others are on their way are
// carried out together: one entry, one transaction, one flush; an event and a
// receipt for each. It is the group commit that reads have for their events.
// There is no timer: a unit that finds nobody before it goes at once.
//
// What is together stays within one capability, so no statement runs where its
// own transaction could not have run it. If one of them fails, nothing of the
// volley took place; each is then repeated in a transaction of its own, by
// whoever asked for it.
type Gathering struct {
	mu    sync.Mutex
	lanes map[laneKey]*lane
}

type laneKey struct {
	pool       *pg.Pool
	role, path string
	org, user  uuid.UUID
}

type lane struct {
	waiting []*shot
	flying  int
}

// shot is one unit's statement and event.
type shot struct {
	st    pg.Statement
	size  int
	event *audit.Pending
	done  chan error
}

// errLead tells a shot that waits that it is to fly what waits, itself first.
var errLead = errors.New("store: lead")

// fly returns when the statement and its event are committed, or when nothing
// of them is, or with pg.ErrUnknown.
func (g *Gathering) fly(ctx context.Context, w *Work, st pg.Statement, event *audit.Pending) error {
	s := &shot{st: st, size: size(st), event: event, done: make(chan error, 1)}
	key := laneKey{w.Pool, w.Role, w.SearchPath, w.Org.UUID(), w.Actor.Person().UUID()}
	g.mu.Lock()
	l := g.lanes[key]
	if l == nil {
		if g.lanes == nil {
			g.lanes = map[laneKey]*lane{}
		}
		l = &lane{}
		g.lanes[key] = l
	}
	lead := l.flying < maxFlying
	if lead {
		l.flying++
	} else {
		l.waiting = append(l.waiting, s)
	}
	g.mu.Unlock()
	if !lead {
		if err := <-s.done; !errors.Is(err, errLead) {
			return err
		}
	}
	return g.lead(ctx, w, key, l, s)
}

// lead flies one volley that s is part of, and hands the lane on.
func (g *Gathering) lead(ctx context.Context, w *Work, key laneKey, l *lane, s *shot) error {
	g.mu.Lock()
	volley := l.take(s)
	g.mu.Unlock()
	err := fmt.Errorf("%w: a volley did not return", pg.ErrUnknown)
	defer func() {
		for _, v := range volley {
			if v != s {
				v.done <- err
			}
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(l.waiting) > 0 {
			next := l.waiting[0]
			l.waiting = slices.Delete(l.waiting, 0, 1)
			next.done <- errLead
			return
		}
		if l.flying--; l.flying == 0 {
			delete(g.lanes, key)
		}
	}()
	statements, events := make([]pg.Statement, len(volley)), make([]*audit.Pending, len(volley))
	for i, v := range volley {
		statements[i], events[i] = v.st, v.event
	}
	err = w.Pool.Volley(ctx, pg.Entry{Role: w.Role, SearchPath: w.SearchPath, Capability: func(backend uint32) string {
		return w.Host.Minter.Mint(key.org, key.user, backend, time.Now())
	}}, w.Host.Audit.Together(events), statements)
	return err
}

// take removes from those waiting what flies together with s.
func (l *lane) take(s *shot) (volley []*shot) {
	volley = append(volley, s)
	bytes := s.size
	rest := l.waiting[:0]
	for _, v := range l.waiting {
		if len(volley) < maxVolley && bytes+v.size <= maxVolleyBytes {
			bytes += v.size
			volley = append(volley, v)
		} else {
			rest = append(rest, v)
		}
	}
	clear(l.waiting[len(rest):])
	l.waiting = rest
	return volley
}

// size says about how many bytes a statement carries.
func size(st pg.Statement) (n int) {
	for _, a := range st.Args {
		n += 16
		switch b := a.(type) {
		case []byte:
			n += len(b)
		case seal.Sealed:
			n += len(b)
		}
	}
	return n
}
