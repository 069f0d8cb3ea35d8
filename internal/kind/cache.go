package kind

import (
	"container/list"
	"crypto/sha256"
	"sync"

	"strongroom/internal/base/id"
)

// Bounds of a Cache, in subschemas: a compiled subschema takes about a kilobyte.
const (
	maxCached    = 40_000
	maxCachedOrg = 8_000
)

// Cache keeps compiled schemas in partitions, one for each organization: an
// entry made for one is never given to another, whatever the bytes, and one
// organization's schemas can push out at most the others' oldest. The zero
// Cache is ready.
//
// An entry is found by the schema's own bytes, so a schema that was changed,
// or taken back by a restore, can never be mistaken for another version.
type Cache struct {
	mu   sync.Mutex
	orgs map[id.Org]*partition
	age  list.List // of *entry, the latest used first
	size int
}

type partition struct {
	entries map[[sha256.Size]byte]*list.Element
	size    int
}

type entry struct {
	org    id.Org
	hash   [sha256.Size]byte
	schema *Schema
}

// Schema returns the compiled form of an organization's schema, compiling it
// the first time. Failures are Compile's.
func (c *Cache) Schema(org id.Org, raw []byte, at string) (*Schema, error) {
	if string(raw) == "{}" {
		return Any, nil
	}
	hash := sha256.Sum256(raw)
	if s := c.get(org, hash); s != nil {
		return s, nil
	}
	// Outside the lock: a schema may take long, and two compilations of one
	// do no harm.
	s, err := Compile(raw, at)
	if err != nil {
		return nil, err
	}
	return c.put(org, hash, s), nil
}

func (c *Cache) get(org id.Org, hash [sha256.Size]byte) *Schema {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.orgs[org]
	if p == nil {
		return nil
	}
	el := p.entries[hash]
	if el == nil {
		return nil
	}
	c.age.MoveToFront(el)
	return el.Value.(*entry).schema
}

func (c *Cache) put(org id.Org, hash [sha256.Size]byte, s *Schema) *Schema {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.orgs[org]
	if p == nil {
		if c.orgs == nil {
			c.orgs = map[id.Org]*partition{}
		}
		p = &partition{entries: map[[sha256.Size]byte]*list.Element{}}
		c.orgs[org] = p
	}
	if el := p.entries[hash]; el != nil {
		return el.Value.(*entry).schema
	}
	p.entries[hash] = c.age.PushFront(&entry{org, hash, s})
	p.size += s.size
	c.size += s.size
	// Oldest first, the organization's own while it is over its share, then
	// anybody's. The entry just made stays.
	for el := c.age.Back(); p.size > maxCachedOrg && el != c.age.Front(); {
		before := el.Prev()
		if el.Value.(*entry).org == org {
			c.drop(el)
		}
		el = before
	}
	for c.size > maxCached && c.age.Len() > 1 {
		c.drop(c.age.Back())
	}
	return s
}

// drop removes an entry. The caller holds mu.
func (c *Cache) drop(el *list.Element) {
	e := c.age.Remove(el).(*entry)
	p := c.orgs[e.org]
	delete(p.entries, e.hash)
	p.size -= e.schema.size
	c.size -= e.schema.size
	if len(p.entries) == 0 {
		delete(c.orgs, e.org)
	}
}

// Forget drops everything that is kept for an organization.
func (c *Cache) Forget(org id.Org) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.orgs[org]; p != nil {
		for _, el := range p.entries {
			c.drop(el)
		}
	}
}
