package records_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/feature/records"
	"strongroom/internal/identity/actor"
	"strongroom/internal/identity/actortest"
	"strongroom/internal/kind"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
)

func (a *as) redeclare(name string, version uint64, body records.CollectionBody) (records.Collection, error) {
	a.l.Helper()
	out, err := call[feature.Item[records.Collection]](a, "update-collection", records.UpdateCollectionIn{KindPath: at(name), Match: feature.MatchVersion(version),
		Body: records.ChangedCollection{CollectionBody: body}})
	if err == nil && out.ETag != feature.VersionTag(out.Body.Version) {
		a.l.Errorf("the tag %s is not the version %d", out.ETag, out.Body.Version)
	}
	return out.Body, err
}

func (a *as) install(kit string) (records.Kit, error) {
	a.l.Helper()
	out, err := call[records.InstallKitOut](a, "install-kit", records.InstallKitIn{Kit: kit})
	return out.Body, err
}

func (a *as) collection(name string) records.Collection {
	a.l.Helper()
	out, err := call[feature.Item[records.Collection]](a, "get-collection", records.GetCollectionIn{KindPath: at(name)})
	if err != nil {
		a.l.Fatal(err)
	}
	return out.Body
}

func schemaOf(text string) records.CollectionBody {
	return records.CollectionBody{Schema: json.RawMessage(text)}
}

func TestADeclarationSaysWhoSeesARecordAndWhatItIsLinkedTo(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := openEmpty(t, placement)
		relations := kind.Relations{"about": {Title: "About", To: []string{"note", kind.ToFile}, Many: true}}
		var in records.CreateCollectionIn
		in.Body.Kind = "note"
		in.Body.CollectionBody = records.CollectionBody{Title: "Notes", Description: "What one wants to remember.", Visibility: "private", Relations: relations,
			Schema: json.RawMessage(`{"type":"object","properties":{"text":{"type":"string","x-strongroom":{"title":true,"search":"words"}}}}`)}
		made, err := call[feature.Created[records.Collection]](l.as(l.olga), "create-collection", in)
		if err != nil {
			t.Fatal(err)
		}
		got := l.as(l.ann).collection("note")
		if got.Visibility != "private" || got.Description != "What one wants to remember." || got.Relations["about"].Title != "About" || !got.Relations["about"].Many ||
			got.Kit != "" || got.Changed || got.ID != made.Body.ID || got.UpdatedBy != l.olga.Person() || !got.UpdatedAt.Equal(got.CreatedAt) {
			t.Errorf("%+v", got)
		}
		// The default is the declaration's, the last word the author's.
		for said, want := range map[string]string{"": "private", "organization": "organization", "private": "private"} {
			r, err := l.as(l.ada).create("note", `{"text":"a"}`, said)
			if err != nil || r.Visibility != want {
				t.Errorf("%q made it %q, %v", said, r.Visibility, err)
			}
			_, err = l.as(l.bob).get("note", r.ID)
			if (err == nil) != (want == "organization") {
				t.Errorf("somebody else reads a %s record: %v", want, err)
			}
		}
		var many records.CreateManyIn
		many.Kind = "note"
		many.Body.Items = []records.NewRecord{{Content: feature.Object(`{}`)}}
		out, err := call[records.CreateManyOut](l.as(l.ada), "create-records", many)
		if err != nil {
			t.Fatal(err)
		}
		_, err = l.as(l.bob).get("note", out.Body.Items[0].ID)
		refused(t, err, fault.NotFound)
	})
}

func TestADeclarationThatCannotBeIsRefused(t *testing.T) {
	t.Parallel()
	l := open(t, "schema")
	for _, tt := range []struct {
		name    string
		body    records.CollectionBody
		pointer string
	}{
		{"a relation to nothing that can be", records.CollectionBody{Relations: kind.Relations{"a": {To: []string{"No Kind"}}}}, "/relations/a/to/0"},
		{"a relation that everything has", records.CollectionBody{Relations: kind.Relations{"related": {}}}, "/relations/related"},
		{"an annotation that nobody knows", schemaOf(`{"properties":{"a":{"x-strongroom":{"colour":"red"}}}}`), "/schema/properties/a/x-strongroom/colour"},
		{"a unit that is none", schemaOf(`{"properties":{"a":{"type":"number","x-strongroom":{"unit":"parsnip"}}}}`), "/schema/properties/a/x-strongroom/unit"},
		{"a person behind no relation", schemaOf(`{"properties":{"a":{"x-strongroom":{"person":"owner"}}}}`), "/schema/properties/a/x-strongroom/person"},
	} {
		var in records.CreateCollectionIn
		in.Body.Kind, in.Body.CollectionBody = "a", tt.body
		_, err := call[feature.Created[records.Collection]](l.as(l.olga), "create-collection", in)
		refused(t, err, fault.Invalid, tt.pointer)
		_, err = l.as(l.olga).redeclare(anything, 1, tt.body)
		refused(t, err, fault.Invalid, tt.pointer)
	}
	var in records.CreateCollectionIn
	in.Body.Kind = kind.ToFile
	_, err := call[feature.Created[records.Collection]](l.as(l.olga), "create-collection", in)
	refused(t, err, fault.Invalid, "/kind")
	update := records.UpdateCollectionIn{KindPath: at(anything), Match: feature.MatchVersion(1), Body: records.ChangedCollection{Kind: "another"}}
	_, err = call[feature.Item[records.Collection]](l.as(l.olga), "update-collection", update)
	refused(t, err, fault.Invalid, "/kind")
}

func TestAChangeIsHeldAgainstEveryStoredRecord(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		fits, not := l.as(l.ada).put(`{"n":1}`), l.as(l.ada).put(`{"n":"many"}`)
		gone := l.as(l.bob).put(`{"n":"in the trash"}`)
		if err := l.as(l.bob).delete(gone.ID, 1); err != nil {
			t.Fatal(err)
		}
		numbers := schemaOf(`{"properties":{"n":{"type":"number"}}}`)

		a := l.as(l.olga)
		_, err := a.redeclare(anything, 1, numbers)
		refused(t, err, fault.Conflict, "/schema", "/schema")
		f := fault.From(err)
		var named []string
		for _, d := range f.Details {
			named = append(named, d.Code+" "+d.Detail)
		}
		slices.Sort(named)
		want := []string{"records_do_not_fit " + not.ID.String(), "records_do_not_fit " + gone.ID.String()}
		slices.Sort(want)
		if !equal(named, want) || f.Public != "2 stored records do not fit the new schema" {
			t.Errorf("%q %q", f.Public, named)
		}
		a.recorded(audit.Refused, "conflict", l.collection.ID, not.ID, gone.ID)
		if got := l.as(l.olga).collection(anything); got.Version != 1 || string(got.Schema) != "{}" {
			t.Errorf("something changed: %+v", got)
		}

		// With all of them out of the way the change goes through.
		if _, err := l.as(l.ada).update(not.ID, 1, `{"n":2}`, ""); err != nil {
			t.Fatal(err)
		}
		if _, err = l.as(l.bob).restore(gone.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := l.as(l.bob).update(gone.ID, 1, `{"n":3}`, ""); err != nil {
			t.Fatal(err)
		}
		a = l.as(l.olga)
		now, err := a.redeclare(anything, 1, numbers)
		if err != nil || now.Version != 2 || string(now.Schema) != string(numbers.Schema) || now.UpdatedBy != l.olga.Person() || now.CreatedBy != l.olga.Person() || !now.UpdatedAt.After(now.CreatedAt) {
			t.Fatalf("%+v, %v", now, err)
		}
		a.recorded(audit.Done, "", l.collection.ID)
		if got := testkit.Events(t, l.d, l.org, a.request); got[0].Counts["examined"] != 3 {
			t.Errorf("on record: %+v", got[0].Counts)
		}
		_, err = l.as(l.ada).update(fits.ID, 1, `{"n":"none"}`, "")
		refused(t, err, fault.Invalid, "/content/n")
		_, err = l.as(l.olga).redeclare(anything, 1, records.CollectionBody{})
		refused(t, err, fault.Stale, "If-Match")
		_, err = l.as(l.olga).redeclare("no-such", 1, records.CollectionBody{})
		refused(t, err, fault.NotFound)
	})
}

func TestAChangeLooksAtEachPageAndNamesTwenty(t *testing.T) {
	t.Parallel()
	l := open(t, "schema")
	var in records.CreateManyIn
	in.Kind = anything
	for i := range 1_100 {
		in.Body.Items = append(in.Body.Items, records.NewRecord{Content: feature.Object(fmt.Sprintf(`{"n":%d}`, i))})
	}
	if _, err := call[records.CreateManyOut](l.as(l.ada), "create-records", in); err != nil {
		t.Fatal(err)
	}
	// The last one alone does not fit, behind the second page.
	_, err := l.as(l.olga).redeclare(anything, 1, schemaOf(`{"properties":{"n":{"maximum":1098}}}`))
	if f := fault.From(err); f.Kind != fault.Conflict || len(f.Details) != 1 {
		t.Errorf("%v %+v", err, f.Details)
	}
	_, err = l.as(l.olga).redeclare(anything, 1, schemaOf(`{"required":["m"]}`))
	if f := fault.From(err); f.Kind != fault.Conflict || len(f.Details) != 20 || !strings.HasPrefix(f.Public, "1100 stored records") {
		t.Errorf("%v with %d named", err, len(f.Details))
	}
	a := l.as(l.olga)
	if _, err = a.redeclare(anything, 1, schemaOf(`{"properties":{"n":{"maximum":1099}}}`)); err != nil {
		t.Fatal(err)
	}
	if got := testkit.Events(t, l.d, l.org, a.request); got[0].Counts["examined"] != 1_100 {
		t.Errorf("on record: %+v", got[0].Counts)
	}
	// What surely allows more is not looked at again.
	a = l.as(l.olga)
	if _, err = a.redeclare(anything, 2, schemaOf(`{"properties":{"n":{"maximum":2000}}}`)); err != nil {
		t.Fatal(err)
	}
	if got := testkit.Events(t, l.d, l.org, a.request); got[0].Counts["examined"] != 0 {
		t.Errorf("on record: %+v", got[0].Counts)
	}
}

// Whatever comes in while a schema changes fits it, or the change is refused.
func TestNothingSlipsInWhileASchemaChanges(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := openEmpty(t, placement)
		changed, kept := 0, 0
		for round := range 25 {
			name := fmt.Sprint("round-", round)
			l.declare(name, "")
			seed, err := l.as(l.ada).create(name, `{"n":0}`, "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.as(l.bob).create(name, `{"n":0}`, ""); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			start := make(chan struct{})
			run := func(fn func()) {
				wg.Go(func() {
					<-start
					fn()
				})
			}
			run(func() {
				if round%2 == 0 {
					_, _ = l.as(l.bob).create(name, `{}`, []string{"private", ""}[round/2%2])
				}
			})
			run(func() {
				who := l.as(l.ada)
				who.kind = name
				if round%3 == 0 {
					_, _ = who.update(seed.ID, 1, `{"m":0}`, "")
				}
			})
			run(func() {
				var in records.CreateManyIn
				in.Kind = name
				in.Body.Items = []records.NewRecord{{Content: feature.Object(`{}`)}, {Content: feature.Object(`{"n":1}`)}}
				if round%5 == 0 {
					_, _ = call[records.CreateManyOut](l.as(l.ada), "create-records", in)
				}
			})
			run(func() {
				_, err = l.as(l.olga).redeclare(name, 1, schemaOf(`{"required":["n"]}`))
			})
			close(start)
			wg.Wait()
			if err != nil {
				refused(t, err, fault.Conflict)
				kept++
				continue
			}
			changed++
			for _, who := range []actor.Actor{l.ada, l.bob} {
				p, err := l.as(who).list(name, 50, "")
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range p.Items {
					if !strings.Contains(string(r.Content), `"n"`) {
						t.Errorf("%s: %s slipped in", name, r.Content)
					}
				}
			}
		}
		if changed == 0 {
			t.Errorf("no change went through, %d were refused: nothing was tried", kept)
		}
	})
}

func TestAKitIsInstalledOnceAndFollowsTheProduct(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := openEmpty(t, placement)
		own := l.declare("task", `{"type":"object"}`)
		a := l.as(l.olga)
		k, err := a.install("memory")
		if err != nil || !k.Installed || len(k.Collections) != 8 {
			t.Fatalf("%+v, %v", k, err)
		}
		for _, c := range k.Collections {
			if mine := c.Kind == "task"; c.Installed == mine || c.Changed != mine || c.Measurement {
				t.Errorf("%+v", c)
			}
		}
		var targets []id.Ref
		person := l.as(l.ann).collection("person")
		for _, c := range k.Collections {
			got := l.as(l.ann).collection(c.Kind)
			targets = append(targets, got.ID)
			if got.Kind != "task" {
				targets = append(targets, got.ID) // made and shown
			}
		}
		a.recorded(audit.Done, "", targets...)
		if person.Kit != "memory" || person.KitVersion != k.Version || person.Changed || person.Visibility != "private" || person.Title != "People" || len(person.Relations) == 0 || person.Version != 1 {
			t.Errorf("%+v", person)
		}
		if got := l.as(l.ann).collection("task"); got.ID != own.ID || got.Kit != "" || string(got.Schema) != `{"type":"object"}` {
			t.Errorf("the organization's own was touched: %+v", got)
		}
		again, err := l.as(l.olga).install("memory")
		if err != nil || fmt.Sprint(again) != fmt.Sprint(k) {
			t.Errorf("a second time gave %+v, %v", again, err)
		}
		_, err = l.as(l.olga).install("bakery")
		refused(t, err, fault.NotFound)

		out, err := call[feature.List[records.Kit]](l.as(l.ann), "list-kits", records.ListKitsIn{})
		if err != nil || len(out.Body.Items) != 3 {
			t.Fatalf("%+v, %v", out, err)
		}
		for _, k := range out.Body.Items {
			if k.Installed != (k.Kit == "memory") {
				t.Errorf("%s: installed is %v", k.Kit, k.Installed)
			}
		}
	})
}

// A later version of the product has other texts: what was never changed
// follows, what was changed stays, and what says the same follows again.
func TestAChangedCollectionKeepsItsOwnText(t *testing.T) {
	t.Parallel()
	l := openEmpty(t, "schema")
	if _, err := l.as(l.olga).install("materials"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.as(l.ada).create("sample", `{"name":"GaN 12"}`, ""); err != nil {
		t.Fatal(err)
	}
	project := l.as(l.olga).collection("project")
	changed, err := l.as(l.olga).redeclare("project", 1, records.CollectionBody{Title: "Campaigns", Description: project.Description, Schema: project.Schema,
		Visibility: project.Visibility, Relations: project.Relations})
	if err != nil || !changed.Changed || changed.Kit != "materials" || changed.KitVersion != project.KitVersion || changed.Title != "Campaigns" {
		t.Fatalf("%+v, %v", changed, err)
	}

	later := kind.Kits()
	later = slices.Clone(later)
	i := slices.IndexFunc(later, func(k kind.Kit) bool { return k.Name == "materials" })
	later[i].Version++
	later[i].Kinds = slices.Clone(later[i].Kinds)
	for n := range later[i].Kinds {
		if d := &later[i].Kinds[n].Declaration; d.Kind == "project" || d.Kind == "sample" {
			d.Title = "Later " + d.Title
			d.Schema = json.RawMessage(strings.Replace(string(d.Schema), `"properties":{`, `"properties":{"later":{"type":"string"},`, 1))
		}
	}
	l.s.SetKits(later)
	if got := l.as(l.ada).collection("sample"); got.Title != "Later Samples" || got.Changed || got.KitVersion != later[i].Version || got.Version != 1 {
		t.Errorf("what was not changed does not follow: %+v", got)
	}
	if _, err := l.as(l.ada).create("sample", `{"name":"GaN 13","later":"yes"}`, ""); err != nil {
		t.Error(err)
	}
	now := l.as(l.ada).collection("project")
	if now.Title != "Campaigns" || !now.Changed || now.KitVersion != project.KitVersion || strings.Contains(string(now.Schema), "later") {
		t.Errorf("what was changed is gone: %+v", now)
	}
	_, err = l.as(l.ada).create("project", `{"name":"a","later":"yes"}`, "")
	refused(t, err, fault.Invalid, "/content/later")

	d, _ := later[i].Of("project")
	back, err := l.as(l.olga).redeclare("project", now.Version, records.CollectionBody{Title: d.Declaration.Title, Description: d.Declaration.Description, Schema: d.Declaration.Schema,
		Visibility: d.Declaration.Visibility, Relations: d.Declaration.Relations})
	if err != nil || back.Changed || back.KitVersion != later[i].Version || back.UpdatedBy != l.olga.Person() {
		t.Errorf("it does not follow again: %+v, %v", back, err)
	}
}

func TestThePoolHoldsNoMeasurements(t *testing.T) {
	t.Parallel()
	l := openEmpty(t, "pooled")
	a := l.as(l.olga)
	_, err := a.install("materials")
	refused(t, err, fault.Conflict, "kit")
	if fault.From(err).Details[0].Code != "pooled_measurements" {
		t.Error(err)
	}
	a.recorded(audit.Refused, "conflict")
	if p, err := call[feature.List[records.Collection]](l.as(l.ann), "list-collections", records.ListCollectionsIn{}); err != nil || len(p.Body.Items) != 0 {
		t.Errorf("something was installed: %+v, %v", p, err)
	}
	materials, _ := kind.KitOf("materials")
	measurement, _ := materials.Of("measurement")
	l.declare("notes", "")
	for _, name := range []string{"measurement", "readings"} {
		var in records.CreateCollectionIn
		in.Body.Kind, in.Body.Schema = name, measurement.Declaration.Schema
		a := l.as(l.olga)
		_, err := call[feature.Created[records.Collection]](a, "create-collection", in)
		if !fault.Is(err, fault.Conflict) || fault.From(err).Details[0].Code != "pooled_measurements" {
			t.Errorf("%s: %v", name, err)
		}
		if got := testkit.Events(t, l.d, l.org, a.request); len(got) != 1 || got[0].Outcome != audit.Refused {
			t.Errorf("on record: %+v", got)
		}
	}
	_, err = l.as(l.olga).redeclare("notes", 1, records.CollectionBody{Schema: measurement.Declaration.Schema})
	if !fault.Is(err, fault.Conflict) || fault.From(err).Details[0].Code != "pooled_measurements" {
		t.Error(err)
	}
	for _, kit := range []string{"memory", "molecules"} {
		if _, err := l.as(l.olga).install(kit); err != nil {
			t.Errorf("%s: %v", kit, err)
		}
	}
}

// What the first release sealed has three members.
func TestADeclarationOfTheFirstReleaseStaysReadable(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		l.redeclare(l.collection, 2, `{"properties":{"a":{"x-strongroom":{"old":1}}}}`)
		got := l.as(l.ada).collection(anything)
		if got.Title != "x" || got.Visibility != "organization" || len(got.Relations) != 0 || got.Relations == nil || got.Kit != "" || got.Changed || got.UpdatedAt.IsZero() {
			t.Errorf("%+v", got)
		}
		if now, err := l.as(l.olga).redeclare(anything, 2, records.CollectionBody{Title: "New"}); err != nil || now.Version != 3 || now.Title != "New" {
			t.Errorf("%+v, %v", now, err)
		}
	})
}

// With a schema of one's own choice, an answer that depended on a record would
// be an answer about it: what is private to somebody else is not looked at.
func TestAChangeTellsNothingOfPrivateRecords(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		hidden, err := l.as(l.bob).create(anything, `{"n":"a secret"}`, "private")
		if err != nil {
			t.Fatal(err)
		}
		told := map[string]bool{}
		for _, schema := range []string{`{"properties":{"n":{"const":"a secret"}}}`, `{"properties":{"n":{"const":"a guess"}}}`, `{"properties":{"n":{"type":"number"}}}`,
			`{"required":["n"]}`, `{"properties":{"n":{"pattern":"^a"}}}`} {
			a := l.as(l.olga)
			_, err := a.redeclare(anything, 1, schemaOf(schema))
			refused(t, err, fault.Conflict, "/schema")
			if code := fault.From(err).Details[0].Code; code != "private_records" {
				t.Errorf("%s: %s", schema, code)
			}
			told[fmt.Sprint(fault.From(err), fault.From(err).Details)] = true
			a.recorded(audit.Refused, "conflict", l.collection.ID)
		}
		for text := range told {
			if len(told) != 1 || strings.Contains(text, "secret") || strings.Contains(text, hidden.ID.String()) {
				t.Errorf("it tells %q", text)
			}
		}
		// What surely allows more breaks nobody's record.
		if _, err := l.as(l.olga).redeclare(anything, 1, records.CollectionBody{Title: "Pieces", Schema: json.RawMessage(`{"title":"anything"}`)}); err != nil {
			t.Error(err)
		}
		// Her own private records are looked at, and named.
		both := actortest.Person(t, l.bob.Person(), l.org, policy.OrgAdmin, policy.Scientist)
		_, err = l.as(both).redeclare(anything, 2, schemaOf(`{"properties":{"n":{"type":"number"}}}`))
		if f := fault.From(err); len(f.Details) != 1 || f.Details[0].Detail != hidden.ID.String() {
			t.Errorf("her own record is not named: %v", err)
		}
		// In the trash it may come back out of, a record counts as well.
		if err := l.as(l.bob).delete(hidden.ID, 1); err != nil {
			t.Fatal(err)
		}
		_, err = l.as(l.olga).redeclare(anything, 2, schemaOf(`{"required":["n"]}`))
		refused(t, err, fault.Conflict, "/schema")
		// Another collection's, and another organization's, stand in nobody's way.
		other := l.declare("other", "")
		if _, err := l.as(l.olga).redeclare("other", other.Version, schemaOf(`{"required":["n"]}`)); err != nil {
			t.Error(err)
		}
	})
}

// A collection's declaration is sealed like any content.
func TestADeclarationIsSealed(t *testing.T) {
	t.Parallel()
	l := open(t, "schema")
	mark := "unmistakable-" + id.NewRecord().String()
	if _, err := l.as(l.olga).redeclare(anything, 1, records.CollectionBody{Title: mark, Description: mark}); err != nil {
		t.Fatal(err)
	}
	_, _, err := tenant.Do(t.Context(), l.d.Tenant, tenant.Request{Actor: l.ada, Org: l.org, Action: policy.CollectionRead}, func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		var body seal.Sealed
		if err := tx.QueryRow(ctx, tenant.Lit(`SELECT body FROM collection WHERE org_id = $1 AND id = $2`), tx.Org().UUID(), l.collection.ID.UUID()).Scan(&body); err != nil {
			return struct{}{}, err
		}
		if strings.Contains(string(body), mark) {
			t.Error("it stands in the clear")
		}
		return struct{}{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
