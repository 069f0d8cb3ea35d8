package feature

import (
	"context"

	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
)

// Doors are the ways in that operations use. They are [ThroughStores] but in
// tests of the edge alone.
type Doors struct {
	Tenant   TenantDoor
	Platform PlatformDoor
}

// TenantDoor is tenant.Do with its type erased, as operations of all types
// hang in one list.
type TenantDoor interface {
	Do(ctx context.Context, r tenant.Request, fn func(context.Context, *tenant.Tx) (any, error)) (any, audit.Receipt, error)
}

// PlatformDoor is platform.Do with its type erased.
type PlatformDoor interface {
	Do(ctx context.Context, r platform.Request, fn func(context.Context, *platform.Tx) (any, error)) (any, audit.Receipt, error)
}

// ThroughStores returns the doors of the two stores.
func ThroughStores(t *tenant.Store, p *platform.Store) Doors {
	return Doors{Tenant: tenantDoor{t}, Platform: platformDoor{p}}
}

type tenantDoor struct{ s *tenant.Store }

func (d tenantDoor) Do(ctx context.Context, r tenant.Request, fn func(context.Context, *tenant.Tx) (any, error)) (any, audit.Receipt, error) {
	return tenant.Do(ctx, d.s, r, fn)
}

type platformDoor struct{ s *platform.Store }

func (d platformDoor) Do(ctx context.Context, r platform.Request, fn func(context.Context, *platform.Tx) (any, error)) (any, audit.Receipt, error) {
	return platform.Do(ctx, d.s, r, fn)
}
