package testkit

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"testing"

	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/seal"
	"strongroom/internal/keyservice"
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
	CreateOrg  func(context.Context, id.Org) error // makes an organization's keys
	KeySocket  string                              // of the key service
	Capability [32]byte
	close      func() error
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
	dir, err := os.MkdirTemp("", "strongroom-keys")
	if err != nil {
		return nil, err
	}
	local, err := keyservice.StartLocal(ctx, dir)
	if err != nil {
		return nil, err
	}
	client, err := keyservice.Dial(ctx, local.Socket)
	if err != nil {
		return nil, err
	}
	d := &Doors{DB: db, KeySocket: local.Socket, Keys: func(org id.Org) seal.Keys { return client.Keys(org) }, NewLeaf: client.NewLeaf, CreateOrg: client.CreateOrg,
		close: func() error { return errors.Join(client.Close(), local.Close(), os.RemoveAll(dir)) }}
	d.Capability = db.CapabilityKey
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if d.Audit, err = audit.Open(ctx, audit.Options{URL: db.URL("sr_audit"), Keys: d.Keys, Log: log}); err != nil {
		return nil, err
	}
	if d.Platform, err = platform.NewStore(ctx, platform.StoreOptions{URL: db.URL("sr_platform"), Audit: d.Audit, Keys: d.Keys, NewLeaf: d.NewLeaf, Capability: d.Capability, Log: log}); err != nil {
		return nil, err
	}
	o := tenant.Options{MaxConns: 16, Audit: d.Audit, Keys: d.Keys, NewLeaf: d.NewLeaf, Capability: d.Capability, Log: log, Placements: d.Platform.Placements()}
	for i := range o.Slices {
		o.Slices[i] = db.URL(platform.AppLogin(i))
	}
	d.Tenant, err = tenant.New(ctx, o)
	return d, err
}

// closeDoors ends what Open began, if it did.
func closeDoors() error {
	d := doors.d
	if d == nil {
		return nil
	}
	d.Tenant.Close()
	d.Platform.Close()
	d.Audit.Close()
	return d.close()
}
