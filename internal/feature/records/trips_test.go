package records_test

import (
	"context"
	"testing"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/identity/actor"
	"strongroom/internal/store/tenant"
)

func (l *lab) describe(who actor.Actor, rec id.Record) (feature.Description, error) {
	l.Helper()
	d, _, err := tenant.Do(l.Context(), l.d.Tenant, tenant.Request{Actor: who, Org: l.org, Action: policy.RecordRead}, func(ctx context.Context, tx *tenant.Tx) (feature.Description, error) {
		return l.f.Describe(ctx, tx, rec)
	})
	return d, err
}

// Not parallel: the count of trips is the whole store's.
func TestAnOperationTakesFewRoundTrips(t *testing.T) {
	for _, placement := range []string{"schema", "pooled"} {
		l := open(t, placement)
		r, other := l.as(l.ada).put(`{}`), l.as(l.ada).put(`{}`)
		version := uint64(1)
		ops := []struct {
			name string
			trip int64
			do   func() error
		}{
			{"create", 1, func() error { _, err := l.as(l.ada).create(anything, `{"n":1}`, ""); return err }},
			{"read", 1, func() error { _, err := l.as(l.ada).get(anything, r.ID); return err }},
			{"list", 1, func() error { _, err := l.as(l.ada).list(anything, 10, ""); return err }},
			{"history", 1, func() error { _, err := l.as(l.ada).history(r.ID, 10, ""); return err }},
			{"links", 1, func() error { _, err := l.as(l.ada).links(r.ID, 10, ""); return err }},
			{"link", 2, func() error {
				_, err := l.as(l.ada).link(r.ID, other.ID.String(), id.NewRequest().String())
				return err
			}},
			{"update", 3, func() error {
				_, err := l.as(l.ada).update(r.ID, version, `{"n":2}`, "")
				version++
				return err
			}},
			{"bulk", 3, func() error { _, err := l.as(l.ada).many(feature.IdempotencyKey{}, numbered(50)...); return err }},
		}
		for _, op := range ops {
			if err := op.do(); err != nil { // the first one asks PostgreSQL what the statements look like
				t.Fatal(err)
			}
			before := l.d.Tenant.Trips()
			if err := op.do(); err != nil {
				t.Fatal(err)
			}
			if n := l.d.Tenant.Trips() - before; n != op.trip {
				t.Errorf("%s: a %s takes %d round trips, want %d", placement, op.name, n, op.trip)
			}
		}
	}
}
