package identity

import (
	"crypto/sha256"
	"sync"
	"time"

	"strongroom/internal/base/id"
	"strongroom/internal/identity/actor"
)

// cache keeps actors for Freshness, so that a caller who sends many requests
// is looked up once a second and not once a request. It holds digests of
// tokens and no token.
type cache struct {
	mu      sync.Mutex
	entries map[[sha256.Size]byte]cached
}

type cached struct {
	actor actor.Actor
	until time.Time
}

// maxCached bounds what a flood of valid tokens can make a server keep.
const maxCached = 8192

func newCache() *cache { return &cache{entries: map[[sha256.Size]byte]cached{}} }

func (c *cache) get(key [sha256.Size]byte, now time.Time) (actor.Actor, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[key]
	if !ok || !now.Before(e.until) {
		return actor.Actor{}, false
	}
	return e.actor, true
}

// put keeps a for Freshness from the moment the lookup began: what it read was
// true then, and may be older than the moment it returned.
func (c *cache) put(key [sha256.Size]byte, a actor.Actor, began time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= maxCached {
		for k, e := range c.entries {
			if !began.Before(e.until) {
				delete(c.entries, k)
			}
		}
		if len(c.entries) >= maxCached {
			clear(c.entries)
		}
	}
	c.entries[key] = cached{a, began.Add(Freshness)}
}

// forget drops at once, on this server, what came with a session or key that
// has just ended, or what belongs to a person whose standing has changed. The
// other servers know within Freshness.
func (c *cache) forget(match func(actor.Actor) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, e := range c.entries {
		if match(e.actor) {
			delete(c.entries, k)
		}
	}
}

func via(ref id.Ref) func(actor.Actor) bool {
	return func(a actor.Actor) bool { return a.Via() == ref.String() }
}

func of(p id.Person) func(actor.Actor) bool {
	return func(a actor.Actor) bool { return a.Person() == p }
}
