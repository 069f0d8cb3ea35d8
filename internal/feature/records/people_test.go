package records_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/feature/records"
	"strongroom/internal/identity/actor"
	"strongroom/internal/kind"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
)

// forgetful are keys of which leaves can be destroyed, at the lowest place
// where the product asks for one.
type forgetful struct {
	seal.Keys
	mu   *sync.Mutex
	gone *[]keytree.Leaf
}

func (f forgetful) LeafKey(ctx context.Context, generation uint32, leaf keytree.Leaf) (keytree.Key, error) {
	f.mu.Lock()
	gone := slices.Contains(*f.gone, leaf)
	f.mu.Unlock()
	if gone {
		return keytree.Key{}, fmt.Errorf("test: %w", keytree.ErrPunctured)
	}
	return f.Keys.LeafKey(ctx, generation, leaf)
}

// clinic is a lab whose collections hold people and what is about them, and
// whose keys can be destroyed.
type clinic struct {
	*lab
	mu   sync.Mutex
	gone []keytree.Leaf
}

const (
	personSchema = `{"type":"object","properties":{"name":{"type":"string","x-strongroom":{"title":true,"person":"self"}},"ward":{"type":"string"},
 "born":{"type":"string","x-strongroom":{"person":"self"}}}}`
	visitSchema = `{"type":"object","properties":{"title":{"type":"string","x-strongroom":{"title":true}},"said":{"type":"string","x-strongroom":{"person":"patient"}},
 "dose":{"type":"number"},"weight":{"type":"number","x-strongroom":{"person":"patient"}},"seen by":{"type":"string","x-strongroom":{"person":"doctor"}}}}`
)

func openClinic(t *testing.T, placement string) *clinic {
	t.Helper()
	c := &clinic{lab: openEmpty(t, placement)}
	o := tenant.Options{Audit: c.d.Audit, NewLeaf: c.d.NewLeaf, Capability: c.d.Capability, Placements: c.d.Platform.Placements(),
		Keys: func(org id.Org) seal.Keys { return forgetful{c.d.Keys(org), &c.mu, &c.gone} }}
	for i := range o.Slices {
		o.Slices[i] = c.d.DB.URL(platform.AppLogin(i))
	}
	s, err := tenant.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	d := *c.d
	d.Tenant = s
	c.d, c.doors = &d, feature.ThroughStores(s, d.Platform)
	f := records.New(s, records.Options{Files: fileName})
	f.SetExportPage(3)
	c.f = records.Feature(f)
	for _, op := range c.f.Ops {
		c.ops[op.ID] = op
	}
	var in records.CreateCollectionIn
	in.Body.Kind, in.Body.Schema = "people", feature.JSON(personSchema)
	if _, err := call[feature.Created[records.Collection]](c.as(c.olga), "create-collection", in); err != nil {
		t.Fatal(err)
	}
	in.Body.Kind, in.Body.Schema = "visits", feature.JSON(visitSchema)
	in.Body.Relations = kind.Relations{"patient": {To: []string{"people"}}, "doctor": {To: []string{"people"}}, "picture": {To: []string{"file"}, Many: true}}
	if _, err := call[feature.Created[records.Collection]](c.as(c.olga), "create-collection", in); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *clinic) in(who actor.Actor, kind string) *as {
	a := c.as(who)
	a.kind = kind
	return a
}

func (a *as) linked(content string, links ...records.NewLink) (records.Record, error) {
	a.l.Helper()
	in := createIn(a.kind, content, "")
	in.Body.Links = links
	out, err := call[feature.Created[records.Record]](a, "create-record", in)
	return out.Body, err
}

// destroy destroys the leaf of a person: the one that her own record's row
// names. It returns how many records hold sections under it.
func (c *clinic) destroy(person id.Record) (holding int) {
	c.Helper()
	_, _, err := tenant.Do(c.Context(), c.d.Tenant, tenant.Request{Actor: c.ada, Org: c.org, Action: policy.RecordRead}, func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		var leaf int64
		err := tx.QueryRow(ctx, tenant.Lit(`SELECT s.leaf, (SELECT count(*)::int FROM record_subject o WHERE o.org_id = s.org_id AND o.leaf = s.leaf) FROM record_subject s
 WHERE s.org_id = $1 AND s.record_id = $2 AND s.own`), tx.Org().UUID(), person.UUID()).Scan(&leaf, &holding)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.gone = append(c.gone, keytree.Leaf(leaf))
		return struct{}{}, err
	})
	if err != nil {
		c.Fatal(err)
	}
	return holding
}

func TestAPersonsFieldsGoWithThePersonAndTheRestStays(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		c := openClinic(t, placement)
		person := func(text string) records.Record {
			r, err := c.in(c.ada, "people").create("people", text, "")
			if err != nil {
				t.Fatal(err)
			}
			if string(r.Content) != text {
				t.Errorf("%s came back as %s", text, r.Content)
			}
			return r
		}
		ida := person(`{"ward":"3","name":"Ida \u00d6st","born":"1901-02-03","x":1.50}`)
		max := person(`{"name":"Max","ward":"3"}`)
		const text = `{"dose":1.500,"said":"\u0022it hurts\"","title":"first visit","weight":61.20,"seen\u0020by":"Max","more":{"a":[1,2]}}`
		a := c.in(c.ada, "visits")
		visit, err := a.linked(text, records.NewLink{Relation: "patient", To: ida.ID.String()}, records.NewLink{Relation: "doctor", To: max.ID.String()})
		if err != nil {
			t.Fatal(err)
		}
		if string(visit.Content) != text || visit.Title != "first visit" || len(visit.Missing) != 0 {
			t.Fatalf("%s, %q", visit.Content, visit.Title)
		}
		changed := strings.Replace(text, "1.500", "2.0", 1)
		if got, err := c.in(c.ada, "visits").update(visit.ID, 1, changed, ""); err != nil || string(got.Content) != changed {
			t.Fatalf("%s, %v", got.Content, err)
		}
		if got, err := c.as(c.ada).get("visits", visit.ID); err != nil || string(got.Content) != changed || got.Version != 2 {
			t.Errorf("%s, %v", got.Content, err)
		}
		if n := c.destroy(ida.ID); n != 2 {
			t.Errorf("%d records hold something about her, want her own and the visit", n)
		}
		// Everything but hers, in every version, list and export.
		rest := func(dose string) string {
			return `{"dose":` + dose + `,"title":"first visit","seen\u0020by":"Max","more":{"a":[1,2]}}`
		}
		missing := []string{"/said", "/weight"}
		got, err := c.as(c.ada).get("visits", visit.ID)
		if err != nil || string(got.Content) != rest("2.0") || !equal(got.Missing, missing) {
			t.Errorf("%s, %v, %v", got.Content, got.Missing, err)
		}
		if h, err := c.in(c.ada, "visits").history(visit.ID, 10, ""); err != nil || len(h.Items) != 2 || string(h.Items[1].Content) != rest("1.500") || !equal(h.Items[1].Missing, missing) {
			t.Errorf("%+v, %v", h.Items, err)
		}
		if p, err := c.as(c.ada).list("visits", 10, ""); err != nil || len(p.Items) != 1 || !equal(p.Items[0].Missing, missing) {
			t.Errorf("%+v, %v", p.Items, err)
		}
		if p, err := c.as(c.ada).list("people", 10, ""); err != nil || len(p.Items) != 2 || string(p.Items[0].Content) != `{"ward":"3","x":1.50}` || p.Items[0].Title != "" ||
			!equal(p.Items[0].Missing, []string{"/name", "/born"}) || string(p.Items[1].Content) != `{"name":"Max","ward":"3"}` || p.Items[1].Title != "Max" {
			t.Errorf("%+v, %v", p.Items, err)
		}
		sink, _, err := c.export(c.ann, feature.Scope{Collection: "visits"})
		if err != nil || !strings.Contains(strings.Join(sink.lines("records/visits/records.ndjson"), ""), `"missing":["/said","/weight"]`) ||
			!strings.Contains(strings.Join(sink.lines("records/visits/history.ndjson"), ""), `"missing":["/said","/weight"]`) {
			t.Errorf("%v, %v", sink, err)
		}
		// What is missing stays known to be, and nothing new about her comes in.
		for _, about := range []string{`{"said":"again"}`, `{"weight":1}`} {
			_, err = c.in(c.ada, "visits").update(visit.ID, 2, about, "")
			refused(t, err, fault.Invalid)
		}
		if got, err := c.in(c.ada, "visits").update(visit.ID, 2, `{"dose":3.0,"seen by":"Max"}`, ""); err != nil || string(got.Content) != `{"dose":3.0,"seen by":"Max"}` || !equal(got.Missing, missing) {
			t.Errorf("%s, %v, %v", got.Content, got.Missing, err)
		}
		if got, err := c.as(c.ada).get("visits", visit.ID); err != nil || !equal(got.Missing, missing) {
			t.Errorf("%v, %v", got.Missing, err)
		}
		a = c.in(c.ada, "visits")
		_, err = a.linked(`{"said":"new"}`, records.NewLink{Relation: "patient", To: ida.ID.String()})
		refused(t, err, fault.Conflict)
		a.recorded(audit.Refused, "conflict", ida.ID)
	})
}

// Otherwise what is written about the second person would go with the first
// one, and stay when she herself is erased.
func TestAFieldAboutAPersonHoldsTheLinkToHer(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		c := openClinic(t, placement)
		var people [2]records.Record
		for i, name := range []string{"Ida", "Eva"} {
			var err error
			if people[i], err = c.in(c.ada, "people").create("people", `{"name":"`+name+`"}`, ""); err != nil {
				t.Fatal(err)
			}
		}
		visits := func() *as { return c.in(c.ada, "visits") }
		visit, err := visits().linked(`{"said":"it hurts","dose":1}`, records.NewLink{Relation: "patient", To: people[0].ID.String()}, records.NewLink{Relation: "doctor", To: people[0].ID.String()})
		if err != nil {
			t.Fatal(err)
		}
		p, err := visits().links(visit.ID, 10, "")
		if err != nil || len(p.Items) != 2 {
			t.Fatal(p, err)
		}
		link := map[string]id.Link{}
		for _, l := range p.Items {
			link[l.Relation] = l.ID
		}
		a := visits()
		refused(t, a.unlink(visit.ID, link["patient"]), fault.Conflict)
		a.recorded(audit.Refused, "conflict", visit.ID, link["patient"])
		refused(t, c.in(c.ada, "people").unlink(people[0].ID, link["patient"]), fault.Conflict) // from her end
		if err := visits().unlink(visit.ID, link["doctor"]); err != nil {
			t.Errorf("a link that no field depends on: %v", err)
		}
		if _, err := visits().update(visit.ID, 1, `{"dose":1}`, ""); err != nil {
			t.Fatal(err)
		}
		if err := visits().unlink(visit.ID, link["patient"]); err != nil {
			t.Fatalf("the fields are gone, and the link stays: %v", err)
		}
		if _, err := visits().link(visit.ID, people[1].ID.String(), "patient"); err != nil {
			t.Fatal(err)
		}
		if _, err := visits().update(visit.ID, 2, `{"said":"it is better","dose":1}`, ""); err != nil {
			t.Fatal(err)
		}
		c.destroy(people[0].ID)
		if got, err := visits().get("visits", visit.ID); err != nil || string(got.Content) != `{"said":"it is better","dose":1}` {
			t.Errorf("what is about the second went with the first: %s, %v", got.Content, err)
		}
		c.destroy(people[1].ID)
		if got, err := visits().get("visits", visit.ID); err != nil || string(got.Content) != `{"dose":1}` {
			t.Errorf("what is about the second stays: %s, %v", got.Content, err)
		}
	})
}

func TestAFieldAboutAPersonNeedsExactlyOneLinkToHer(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		c := openClinic(t, placement)
		ida, err := c.in(c.ada, "people").create("people", `{}`, "")
		if err != nil {
			t.Fatal(err)
		}
		to := records.NewLink{Relation: "patient", To: ida.ID.String()}
		for name, links := range map[string][]records.NewLink{"none": nil, "another relation": {{Relation: "doctor", To: ida.ID.String()}}} {
			_, err := c.in(c.ada, "visits").linked(`{"said":"x"}`, links...)
			if !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		bare, err := c.in(c.ada, "visits").linked(`{"dose":1}`)
		if err != nil {
			t.Fatalf("nothing about a person needs no link: %v", err)
		}
		// A field that comes later is hers all the same.
		_, err = c.in(c.ada, "visits").update(bare.ID, 1, `{"said":"later"}`, "")
		refused(t, err, fault.Invalid, "/links")
		if _, err := c.in(c.ada, "visits").link(bare.ID, ida.ID.String(), "patient"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.in(c.ada, "visits").update(bare.ID, 1, `{"said":"later"}`, ""); err != nil {
			t.Fatal(err)
		}
		made, err := c.in(c.ada, "visits").linked(`{"said":"x"}`, to)
		if err != nil {
			t.Fatal(err)
		}
		if n := c.destroy(ida.ID); n != 3 {
			t.Errorf("%d records hold something about her, want 3", n)
		}
		for _, rec := range []id.Record{bare.ID, made.ID} {
			if got, err := c.as(c.ada).get("visits", rec); err != nil || string(got.Content) != `{}` || !equal(got.Missing, []string{"/said"}) {
				t.Errorf("%s, %v, %v", got.Content, got.Missing, err)
			}
		}
	})
}

func TestManyRecordsHoldPeopleAndLinksInOneTransactionEach(t *testing.T) {
	t.Parallel()
	c := openClinic(t, "pooled")
	ida, err := c.in(c.ada, "people").create("people", `{"name":"Ida"}`, "")
	if err != nil {
		t.Fatal(err)
	}
	in := records.CreateManyIn{KindPath: at("visits")}
	for i := range 3 {
		in.Body.Items = append(in.Body.Items, records.NewRecord{Content: feature.Object(fmt.Sprintf(`{"said":"%d"}`, i)), Links: []records.NewLink{{Relation: "patient", To: ida.ID.String()}}})
	}
	a := c.as(c.ada)
	out, err := call[records.CreateManyOut](a, "create-records", in)
	if err != nil || len(out.Body.Items) != 3 {
		t.Fatalf("%+v, %v", out, err)
	}
	if p, err := c.as(c.ada).list("visits", 10, ""); err != nil || len(p.Items) != 3 || string(p.Items[2].Content) != `{"said":"2"}` {
		t.Errorf("%+v, %v", p.Items, err)
	}
	in.Body.Items[2].Links = nil
	_, err = call[records.CreateManyOut](c.as(c.ada), "create-records", in)
	refused(t, err, fault.Invalid, "/items/2/links")
	if p, err := c.as(c.ada).list("visits", 10, ""); err != nil || len(p.Items) != 3 {
		t.Errorf("some of a refused request were stored: %d, %v", len(p.Items), err)
	}
}
