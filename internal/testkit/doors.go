package testkit

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/seal"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
)

// Doors are both doors to the package's database, with a log and keys.
type Doors struct {
	DB         *DB
	Audit      *audit.Log
	Tenant     *tenant.Store
	Platform   *platform.Store
	Keys       func(id.Org) seal.Keys
	NewLeaf    func(context.Context, id.Org) (keytree.Leaf, error)
	Capability [32]byte
}

type tmpKeys struct {
	mu    sync.Mutex
	trees map[id.Org]*keytree.Tree
	next  atomic.Uint32
}

type tmpOrg struct {
	o id.Org
	t *keytree.Tree
}

func (k tmpOrg) Org() id.Org                                { return k.o }
func (k tmpOrg) Generation(context.Context) (uint32, error) { return 1, nil }
func (k tmpOrg) LeafKey(_ context.Context, _ uint32, l keytree.Leaf) (keytree.Key, error) {
	return k.t.Derive(l)
}

func (k *tmpKeys) of(o id.Org) seal.Keys {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.trees[o]
	if t == nil {
		t, _ = keytree.New(rand.Reader)
		k.trees[o] = t
	}
	return tmpOrg{o, t}
}

var doors struct {
	once sync.Once
	d    *Doors
	err  error
}

// Open returns both doors, opened at the first call.
func Open(t testing.TB) *Doors {
	t.Helper()
	db := Database(t)
	doors.once.Do(func() { doors.d, doors.err = open(db) })
	if doors.err != nil {
		t.Fatalf("testkit: %v", doors.err)
	}
	return doors.d
}

func open(db *DB) (*Doors, error) {
	ctx := context.Background()
	k := &tmpKeys{trees: map[id.Org]*keytree.Tree{}}
	k.next.Store(16)
	d := &Doors{DB: db, Keys: k.of, NewLeaf: func(context.Context, id.Org) (keytree.Leaf, error) { return keytree.Leaf(k.next.Add(1)), nil }}
	d.Capability = db.CapabilityKey
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	var err error
	if d.Audit, err = audit.Open(ctx, audit.Options{URL: db.URL("sr_audit"), Keys: d.Keys, Log: log}); err != nil {
		return nil, err
	}
	if d.Platform, err = platform.NewStore(ctx, platform.StoreOptions{URL: db.URL("sr_platform"), Audit: d.Audit, Keys: d.Keys, NewLeaf: d.NewLeaf, Capability: d.Capability, Log: log}); err != nil {
		return nil, err
	}
	o := tenant.Options{Audit: d.Audit, Keys: d.Keys, NewLeaf: d.NewLeaf, Capability: d.Capability, Log: log, Placements: d.Platform.Placements()}
	for i := range o.Slices {
		o.Slices[i] = db.URL(platform.AppLogin(i))
	}
	d.Tenant, err = tenant.New(ctx, o)
	return d, err
}
