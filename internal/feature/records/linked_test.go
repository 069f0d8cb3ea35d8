package records_test

import (
	"sync"
	"testing"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/feature"
	"strongroom/internal/feature/records"
	"strongroom/internal/store/audit"
	"strongroom/internal/testkit"
)

func (a *as) listing(kind string, in records.ListIn) (feature.Page[records.Record], error) {
	a.l.Helper()
	in.KindPath = at(kind)
	if in.Limit == 0 {
		in.Limit = 10
	}
	out, err := call[feature.List[records.Record]](a, "list-records", in)
	return out.Body, err
}

func idsOf(p feature.Page[records.Record]) (out []string) {
	for _, r := range p.Items {
		out = append(out, r.ID.String())
	}
	return out
}

func TestARecordIsMadeTogetherWithItsLinksOrNotAtAll(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		c := openClinic(t, placement)
		ida, err := c.in(c.ada, "people").create("people", `{"name":"Ida"}`, "")
		if err != nil {
			t.Fatal(err)
		}
		picture := c.file(c.ada, "stored", "o")
		a := c.in(c.ada, "visits")
		r, err := a.linked(`{"title":"visit"}`, records.NewLink{Relation: "patient", To: ida.ID.String()}, records.NewLink{Relation: "picture", To: picture.String()})
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.in(c.ann, "visits").links(r.ID, 10, "")
		if err != nil || len(p.Items) != 2 {
			t.Fatalf("%+v, %v", p.Items, err)
		}
		if one, two := p.Items[0], p.Items[1]; one.Title != "Ida" || one.Collection != "people" || one.Relation != "patient" || one.Direction != "out" ||
			two.Title != "a.sdf" || two.Collection != "" || two.To != picture.String() {
			t.Errorf("%+v", p.Items)
		}
		a.recorded(audit.Done, "", ida.ID, picture, r.ID, p.Items[0].ID, p.Items[1].ID)
		if p, err := c.in(c.ann, "people").links(ida.ID, 10, ""); err != nil || len(p.Items) != 1 || p.Items[0].Title != "visit" || p.Items[0].Collection != "visits" || p.Items[0].Direction != "in" {
			t.Errorf("from the other end: %+v, %v", p.Items, err)
		}
		private, err := c.in(c.bob, "people").create("people", `{}`, "private")
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []struct {
			kind  fault.Kind
			at    string
			links []records.NewLink
		}{
			{fault.NotFound, "/links/1/to", []records.NewLink{{Relation: "patient", To: ida.ID.String()}, {Relation: "doctor", To: id.NewRecord().String()}}},
			{fault.NotFound, "/links/0/to", []records.NewLink{{Relation: "patient", To: private.ID.String()}}},
			{fault.Invalid, "/links/0/to", []records.NewLink{{Relation: "patient", To: "x"}}},
			{fault.Invalid, "/links/0/relation", []records.NewLink{{Relation: "owner", To: ida.ID.String()}}},
			{fault.Invalid, "/links/0/relation", []records.NewLink{{Relation: "picture", To: ida.ID.String()}}},
			{fault.Invalid, "/links/0/relation", []records.NewLink{{Relation: "patient", To: r.ID.String()}}},
			{fault.Invalid, "/links/1", []records.NewLink{{Relation: "picture", To: picture.String()}, {Relation: "picture", To: picture.String()}}},
		} {
			_, err := c.in(c.ada, "visits").linked(`{"title":"bad"}`, bad.links...)
			refused(t, err, bad.kind, bad.at)
		}
		if p, err := c.as(c.ada).list("visits", 10, ""); err != nil || len(p.Items) != 1 {
			t.Errorf("%d records, %v", len(p.Items), err)
		}
		// The same rules for a link that comes later.
		max, err := c.in(c.ada, "people").create("people", `{"name":"Max"}`, "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.in(c.ada, "visits").link(r.ID, max.ID.String(), "patient")
		refused(t, err, fault.Invalid, "/relation")
		_, err = c.in(c.ada, "visits").link(r.ID, max.ID.String(), "nurse")
		refused(t, err, fault.Invalid, "/relation")
		if _, err = c.in(c.ada, "visits").link(r.ID, max.ID.String(), "related"); err != nil {
			t.Error(err)
		}
		for direction, want := range map[string]int{"out": 3, "in": 0, "": 3} {
			out, err := call[feature.List[records.Link]](c.as(c.ada), "list-links", records.ListLinksIn{RecordPath: path("visits", r.ID), Direction: direction})
			if err != nil || len(out.Body.Items) != want {
				t.Errorf("%q: %d, %v", direction, len(out.Body.Items), err)
			}
		}
		out, err := call[feature.List[records.Link]](c.as(c.ada), "list-links", records.ListLinksIn{RecordPath: path("visits", r.ID), Relation: "picture"})
		if err != nil || len(out.Body.Items) != 1 || out.Body.Items[0].To != picture.String() {
			t.Errorf("%+v, %v", out.Body.Items, err)
		}
	})
}

func TestOfTwoLinksAtOnceWhereOneIsAllowedOneIsMade(t *testing.T) {
	t.Parallel()
	c := openClinic(t, "pooled")
	r, err := c.in(c.ada, "visits").linked(`{}`)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		p, err := c.in(c.ada, "people").create("people", `{}`, "")
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { _, errs[i] = c.in(c.ada, "visits").link(r.ID, p.ID.String(), "patient") })
	}
	wg.Wait()
	made := 0
	for _, err := range errs {
		if err == nil {
			made++
		} else {
			refused(t, err, fault.Invalid, "/relation")
		}
	}
	if made != 1 {
		t.Errorf("%d of them were made", made)
	}
}

func TestAListIsNarrowedToOnesOwnAndToWhatLinksSomewhere(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		hub := l.as(l.ada).put(`{}`)
		var linking, all []string
		for i := range 5 {
			who := l.as(l.ada)
			if i%2 == 1 {
				who = l.as(l.bob)
			}
			r := who.put(`{}`)
			all = append(all, r.ID.String())
			if i == 4 {
				break
			}
			relation := "source"
			if i == 3 {
				relation = "other"
			}
			if _, err := l.as(l.ada).link(r.ID, hub.ID.String(), relation); err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				if _, err := l.as(l.ada).link(r.ID, hub.ID.String(), "twice"); err != nil {
					t.Fatal(err)
				}
			}
			linking = append(linking, r.ID.String())
		}
		for _, c := range []struct {
			in   records.ListIn
			want []string
		}{
			{records.ListIn{LinkedTo: hub.ID.String()}, linking},
			{records.ListIn{LinkedTo: hub.ID.String(), Relation: "source"}, linking[:3]},
			{records.ListIn{LinkedTo: hub.ID.String(), Relation: "nothing"}, nil},
			{records.ListIn{Mine: true}, []string{all[1], all[3]}},
			{records.ListIn{LinkedTo: hub.ID.String(), Relation: "source", Mine: true}, []string{all[1]}},
			{records.ListIn{LinkedTo: id.NewRecord().String()}, nil},
			{records.ListIn{LinkedTo: id.NewFile().String()}, nil},
		} {
			p, err := l.as(l.bob).listing(anything, c.in)
			if err != nil || !equal(idsOf(p), c.want) {
				t.Errorf("%+v: %v, want %v, %v", c.in, idsOf(p), c.want, err)
			}
		}
		var got []string
		for cursor := ""; ; {
			p, err := l.as(l.ann).listing(anything, records.ListIn{LinkedTo: hub.ID.String(), Listing: feature.Listing{Limit: 2, Cursor: cursor}})
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, idsOf(p)...)
			if cursor = p.Next; cursor == "" {
				break
			}
			_, err = l.as(l.ann).listing(anything, records.ListIn{Listing: feature.Listing{Cursor: cursor}})
			refused(t, err, fault.Malformed)
		}
		if !equal(got, linking) {
			t.Errorf("by pages: %v", got)
		}
		_, err := l.as(l.ann).listing(anything, records.ListIn{LinkedTo: "x"})
		refused(t, err, fault.Invalid, "linked_to")
		_, err = l.as(l.ann).listing(anything, records.ListIn{Relation: "x"})
		refused(t, err, fault.Invalid, "relation")
		// What links to something private links to nothing for anybody else.
		if _, err := l.as(l.ada).share(hub.ID, "private"); err != nil {
			t.Fatal(err)
		}
		if p, err := l.as(l.bob).listing(anything, records.ListIn{LinkedTo: hub.ID.String()}); err != nil || len(p.Items) != 0 {
			t.Errorf("%v, %v", idsOf(p), err)
		}
	})
}
