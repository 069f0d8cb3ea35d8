package records_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/feature/records"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
)

func TestACollectionIsDeclaredReadAndListed(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := openEmpty(t, placement)
		schema := `{"type":"object","properties":{"mass":{"type":"number"}}}`
		var in records.CreateCollectionIn
		in.Body.Kind, in.Body.Title, in.Body.Schema = "thin-films", "Thin films", json.RawMessage(schema)
		a := l.as(l.olga)
		made, err := call[feature.Created[records.Collection]](a, "create-collection", in)
		if err != nil || made.Body.Kind != "thin-films" || made.Body.Title != "Thin films" || made.Body.Version != 1 ||
			made.Location != "/v1/orgs/"+l.org.String()+"/collections/thin-films" || made.Body.CreatedBy != l.olga.Person() {
			t.Fatalf("%+v, %v", made, err)
		}
		a.recorded(audit.Done, "", made.Body.ID)
		a = l.as(l.ann)
		got, err := call[feature.Item[records.Collection]](a, "get-collection", records.GetCollectionIn{KindPath: at("thin-films")})
		if err != nil || got.Body.ID != made.Body.ID || string(got.Body.Schema) != schema || got.Body.Title != "Thin films" || got.ETag != made.ETag || !got.Body.CreatedAt.Equal(made.Body.CreatedAt) {
			t.Errorf("%+v, %v", got, err)
		}
		a.recorded(audit.Done, "", made.Body.ID)

		a = l.as(l.olga)
		_, err = call[feature.Created[records.Collection]](a, "create-collection", in)
		refused(t, err, fault.Conflict, "/kind")
		if got := testkit.Events(t, l.d, l.org, a.request); len(got) != 1 || got[0].Outcome != audit.Refused || got[0].Code != "conflict" {
			t.Errorf("on record: %+v", got)
		}

		want := []id.Ref{made.Body.ID}
		for i := range 3 {
			want = append(want, l.declare(fmt.Sprint("kind-", i), "").ID)
		}
		var seen []id.Ref
		for cursor := ""; ; {
			a := l.as(l.ada)
			p, err := call[feature.List[records.Collection]](a, "list-collections", records.ListCollectionsIn{Listing: feature.Listing{Limit: 3, Cursor: cursor}})
			if err != nil {
				t.Fatal(err)
			}
			var named []id.Ref
			for _, c := range p.Body.Items {
				named = append(named, c.ID)
			}
			a.recorded(audit.Done, "", named...)
			seen = append(seen, named...)
			if cursor = p.Body.Next; cursor == "" {
				break
			}
		}
		if fmt.Sprint(seen) != fmt.Sprint(want) {
			t.Errorf("listed %v, want %v", seen, want)
		}
	})
}

func TestACollectionThatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	l := openEmpty(t, "pooled")
	for _, tt := range []struct{ name, kind, schema, pointer string }{
		{"no name", "", "", "/kind"},
		{"a name with a slash", "a/b", "", "/kind"},
		{"a name in upper case", "Samples", "", "/kind"},
		{"a schema that is none", "a", `{"type":"thing"}`, "/schema/type"},
		{"a schema that reads from elsewhere", "a", `{"$ref":"https://example.org/x"}`, "/schema"},
		{"a schema that is no object", "a", `[]`, "/schema"},
	} {
		var in records.CreateCollectionIn
		in.Body.Kind, in.Body.Schema = tt.kind, json.RawMessage(tt.schema)
		a := l.as(l.olga)
		_, err := call[feature.Created[records.Collection]](a, "create-collection", in)
		if !fault.Is(err, fault.Invalid) || len(fault.From(err).Details) == 0 || !strings.HasPrefix(fault.From(err).Details[0].Pointer, tt.pointer) {
			t.Errorf("%s: %v %+v", tt.name, err, fault.From(err).Details)
		}
	}
	for _, kind := range []string{"nothing", "Samples", ""} {
		a := l.as(l.ada)
		_, err := call[feature.Item[records.Collection]](a, "get-collection", records.GetCollectionIn{KindPath: at(kind)})
		refused(t, err, fault.NotFound)
		a.recorded(audit.Denied, "not_found")
	}
}

func TestDescribeKnowsARecordByItsCollection(t *testing.T) {
	t.Parallel()
	l := open(t, "schema")
	r := l.as(l.ada).put(`{}`)
	got, err := l.describe(l.ann, r.ID)
	if err != nil || got.Kind != "record" || got.Title != anything || got.Path != "/collections/"+anything+"/records/"+r.ID.String() {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = l.describe(l.ann, id.NewRecord())
	refused(t, err, fault.NotFound)
}

// redeclare gives a collection another schema behind the back of the feature,
// as another server would.
func (l *lab) redeclare(c records.Collection, version uint64, schema string) {
	l.Helper()
	r := tenant.Request{Actor: l.olga, Org: l.org, Action: policy.CollectionCreate}
	_, _, err := tenant.Do(l.Context(), l.d.Tenant, r, func(ctx context.Context, tx *tenant.Tx) (int64, error) {
		leaf, err := tx.NewLeaf(ctx)
		if err != nil {
			return 0, err
		}
		body, err := tx.Seal(ctx, "collection", c.ID.UUID(), version, seal.Section{Name: "declaration", Leaf: leaf,
			Plain: seal.NewSecretString(`{"kind":"` + c.Kind + `","title":"x","schema":` + schema + `}`)})
		if err != nil {
			return 0, err
		}
		return tx.Exec(ctx, tenant.Lit(`UPDATE collection SET version = $3, body = $4 WHERE org_id = $1 AND id = $2`), tx.Org().UUID(), c.ID.UUID(), int64(version), body)
	})
	if err != nil {
		l.Fatal(err)
	}
}

func TestASchemaThatChangedElsewhereIsNeverPassedOver(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		r := l.as(l.ada).put(`{}`)
		l.redeclare(l.collection, 2, `{"required":["n"]}`)
		_, err := l.as(l.ada).create(anything, `{}`, "")
		refused(t, err, fault.Invalid, "/content/n")
		if _, err := l.as(l.ada).create(anything, `{"n":1}`, ""); err != nil {
			t.Error(err)
		}
		l.redeclare(l.collection, 3, `{"required":["m"]}`)
		_, err = l.as(l.ada).update(r.ID, 1, `{"n":1}`, "")
		refused(t, err, fault.Invalid, "/content/m")
		l.redeclare(l.collection, 4, `{"properties":{"n":{"type":"string"}}}`)
		if got, err := l.as(l.ada).update(r.ID, 1, `{"n":"now a text"}`, ""); err != nil || got.Version != 2 {
			t.Errorf("what the present schema accepts: %v", err)
		}
		l.redeclare(l.collection, 5, `{}`)
		if _, err := l.as(l.ada).create(anything, `{"n":1}`, ""); err != nil {
			t.Errorf("what only an old schema refuses: %v", err)
		}
		l.redeclare(l.collection, 6, `{"required":["k"]}`)
		_, err = l.as(l.ada).many(feature.IdempotencyKey{}, `{"n":1}`)
		refused(t, err, fault.Invalid, "/items/0/content/k")
	})
}
