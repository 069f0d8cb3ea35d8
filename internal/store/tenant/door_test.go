package tenant_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/identity/actor"
	"strongroom/internal/identity/actortest"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// declare makes the collection that records need.
func declare(t *testing.T, d *testkit.Doors, org id.Org) id.Collection {
	t.Helper()
	c := id.NewCollection()
	r := tenant.Request{Actor: actortest.With(t, org, policy.OrgAdmin), Org: org, Action: policy.CollectionCreate}
	_, _, err := tenant.Do(t.Context(), d.Tenant, r, func(ctx context.Context, tx *tenant.Tx) (int64, error) {
		body, err := tx.Seal(ctx, "collection", c.UUID(), 1, seal.Section{Name: "declaration", Leaf: 20, Plain: seal.NewSecretString("{}")})
		if err != nil {
			return 0, err
		}
		return tx.Exec(ctx, tenant.Lit(`INSERT INTO collection (org_id, id, token, leaf, version, body, created_at, created_by) VALUES ($1, $2, $3, 20, 1, $4, $5, $6)`),
			tx.Org().UUID(), c.UUID(), c.Bytes(), body, tx.Now(), uuid.New())
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func insert(ctx context.Context, tx *tenant.Tx, c id.Collection) (id.Record, error) {
	rec := id.NewRecord()
	leaf, err := tx.NewLeaf(ctx)
	if err != nil {
		return rec, err
	}
	body, err := tx.Seal(ctx, "record", rec.UUID(), 1, seal.Section{Name: "content", Leaf: leaf, Plain: seal.NewSecretString(`{"a":1}`)})
	if err != nil {
		return rec, err
	}
	tx.Touch(rec)
	_, err = tx.Exec(ctx, tenant.Lit(`INSERT INTO record (org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
 VALUES ($1, $2, $3, 1, $4, $5, $6, 'o', $7, $6, $7, $6)`), tx.Org().UUID(), rec.UUID(), c.UUID(), int64(leaf), body, tx.Actor().Person().UUID(), tx.Now())
	return rec, err
}

func read(ctx context.Context, tx *tenant.Tx, rec id.Record) (string, error) {
	tx.Touch(rec)
	var body seal.Sealed
	err := tx.QueryRow(ctx, tenant.Lit(`SELECT body FROM record WHERE org_id = $1 AND id = $2`), tx.Org().UUID(), rec.UUID()).Scan(&body)
	if errors.Is(err, tenant.ErrNoRows) {
		return "", fault.New(fault.NotFound, "no such record")
	}
	if err != nil {
		return "", err
	}
	s, err := tx.Open(ctx, "record", rec.UUID(), 1, body)
	if err != nil {
		return "", err
	}
	return string(s[0].Plain.Reveal()), nil
}

func TestARecordGoesInAndComesBackAndBothAreOnRecord(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		d, org := testkit.Open(t), testkit.Org(t, placement).ID
		c := declare(t, d, org)
		who := actortest.With(t, org, policy.Scientist)
		create := tenant.Request{Actor: who, Org: org, Action: policy.RecordCreate, ID: id.NewRequest(), Client: tenant.Client{Address: "192.0.2.7"}}
		rec, receipt, err := tenant.Do(t.Context(), d.Tenant, create, func(ctx context.Context, tx *tenant.Tx) (id.Record, error) { return insert(ctx, tx, c) })
		if err != nil || receipt.IsZero() {
			t.Fatalf("create: %v, receipt %v", err, receipt)
		}
		get := tenant.Request{Actor: who, Org: org, Action: policy.RecordRead, ID: id.NewRequest()}
		got, receipt, err := tenant.Do(t.Context(), d.Tenant, get, func(ctx context.Context, tx *tenant.Tx) (string, error) { return read(ctx, tx, rec) })
		if err != nil || receipt.IsZero() || got != `{"a":1}` {
			t.Fatalf("read: %q, %v", got, err)
		}
		testkit.WantEvents(t, d, org, create.ID, testkit.Event{Action: policy.RecordCreate, Outcome: audit.Done, Targets: []string{rec.String()}})
		testkit.WantEvents(t, d, org, get.ID, testkit.Event{Action: policy.RecordRead, Outcome: audit.Done, Targets: []string{rec.String()}})
	})
}

func TestWhoMayNotIsRefusedOnTheRecord(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		d, mine, theirs := testkit.Open(t), testkit.Org(t, placement).ID, testkit.Org(t, placement).ID
		for _, tt := range []struct {
			name string
			who  actor.Actor
			org  id.Org
			want fault.Kind
			log  id.Org
		}{
			{"an analyst may not create", actortest.With(t, mine, policy.Analyst), mine, fault.Denied, mine},
			{"a billing admin may not create", actortest.With(t, mine, policy.BillingAdmin), mine, fault.Denied, mine},
			{"a stranger learns nothing", actortest.With(t, theirs, policy.Scientist), mine, fault.NotFound, id.Installation},
			{"a platform administrator is a stranger", actortest.SystemAdmin(t), mine, fault.NotFound, id.Installation},
			{"nobody is asked to sign in", actor.Actor{}, mine, fault.Unauthenticated, id.Installation},
			{"an organization that is not there is the same as one that is not hers", actortest.With(t, theirs, policy.Scientist), id.NewOrg(), fault.NotFound, id.Installation},
			{"one that she belongs to but that is gone is too", actortest.With(t, id.NewOrg(), policy.Scientist), id.NewOrg(), fault.NotFound, id.Installation},
		} {
			t.Run(tt.name, func(t *testing.T) {
				r := tenant.Request{Actor: tt.who, Org: tt.org, Action: policy.RecordCreate, ID: id.NewRequest()}
				_, receipt, err := tenant.Do(t.Context(), d.Tenant, r, func(context.Context, *tenant.Tx) (int, error) {
					t.Error("the function ran")
					return 0, nil
				})
				if !fault.Is(err, tt.want) || receipt.IsZero() {
					t.Fatalf("got %v, receipt %v", err, receipt)
				}
				testkit.WantEvents(t, d, tt.log, r.ID, testkit.Event{Action: policy.RecordCreate, Outcome: audit.Denied, Code: tt.want.String()})
			})
		}
	})
}

func TestTheDoorCountsItsTrips(t *testing.T) {
	d := testkit.Open(t)
	for _, placement := range []string{"schema", "pooled"} {
		org := testkit.Org(t, placement).ID
		c := declare(t, d, org)
		who := actortest.With(t, org, policy.Scientist)
		var rec id.Record
		create := func() {
			var err error
			rec, _, err = tenant.Do(t.Context(), d.Tenant, tenant.Request{Actor: who, Org: org, Action: policy.RecordCreate},
				func(ctx context.Context, tx *tenant.Tx) (id.Record, error) { return insert(ctx, tx, c) })
			if err != nil {
				t.Fatal(err)
			}
		}
		get := func() {
			_, _, err := tenant.Do(t.Context(), d.Tenant, tenant.Request{Actor: who, Org: org, Action: policy.RecordRead},
				func(ctx context.Context, tx *tenant.Tx) (string, error) { return read(ctx, tx, rec) })
			if err != nil {
				t.Fatal(err)
			}
		}
		create() // the first ones ask PostgreSQL what the statements look like
		get()
		want := map[string]int64{"create": 2, "read": 1}
		for name, f := range map[string]func(){"create": create, "read": get} {
			before := d.Tenant.Trips()
			f()
			if n := d.Tenant.Trips() - before; n != want[name] {
				t.Errorf("%s: a %s takes %d round trips, want %d", placement, name, n, want[name])
			}
		}
	}
}
