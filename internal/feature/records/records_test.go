package records_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/feature/records"
	"strongroom/internal/identity/actortest"
	"strongroom/internal/kind"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
)

func TestARecordComesBackAsItWasSent(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		for _, tt := range []struct{ sent, kept string }{
			{`{}`, `{}`},
			{`{"z":1,"a":2}`, `{"z":1,"a":2}`},
			{`{"mass":1.10,"tiny":1e-30,"big":12345678901234567890123,"minus":-0.0}`, `{"mass":1.10,"tiny":1e-30,"big":12345678901234567890123,"minus":-0.0}`},
			{`{"html":"<a href='x'>&amp;</a>","line":"\u2028","quote":"\""}`, `{"html":"<a href='x'>&amp;</a>","line":"\u2028","quote":"\""}`},
			{"{ \"a\" :\n[ 1 ,\t2 ] }", `{"a":[1,2]}`},
			{`{"deep":{"list":[{"x":null},true,"é"]}}`, `{"deep":{"list":[{"x":null},true,"é"]}}`},
		} {
			a := l.as(l.ada)
			made, err := a.create(anything, tt.sent, "")
			if err != nil {
				t.Fatalf("%s: %v", tt.sent, err)
			}
			a.recorded(audit.Done, "", made.ID)
			b := l.as(l.ann)
			got, err := b.get(anything, made.ID)
			if err != nil || string(got.Content) != tt.kept || string(made.Content) != tt.kept {
				t.Errorf("%s: came back as %s, made as %s, %v", tt.sent, got.Content, made.Content, err)
			}
			b.recorded(audit.Done, "", made.ID)
			if got.ID != made.ID || got.Version != 1 || got.Collection != anything || got.Visibility != "organization" || got.Owner != l.ada.Person() ||
				got.CreatedBy != l.ada.Person() || got.UpdatedBy != l.ada.Person() || !got.CreatedAt.Equal(made.CreatedAt) || got.CreatedAt.Location() != time.UTC {
				t.Errorf("%s: came back as %+v, made as %+v", tt.sent, got, made)
			}
		}
	})
}

func TestAnAnswerSaysWhereTheRecordIsAndItsVersion(t *testing.T) {
	t.Parallel()
	l := open(t, "pooled")
	out, err := call[feature.Created[records.Record]](l.as(l.ada), "create-record", createIn(anything, `{"a":1}`, ""))
	if err != nil || out.ETag.String() != `"1"` || out.Location != "/v1/orgs/"+l.org.String()+"/collections/"+anything+"/records/"+out.Body.ID.String() {
		t.Errorf("created at %s, version %s, %v", out.Location, out.ETag, err)
	}
}

func TestWhatDoesNotFitTheSchemaIsRefusedWithItsPlaces(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := openEmpty(t, placement)
		l.declare("alloys", `{"type":"object","required":["formula"],"additionalProperties":false,
 "properties":{"formula":{"type":"string","pattern":"^[A-Z]"},"mass":{"type":"number","minimum":0},"tags":{"type":"array","items":{"type":"string"}}}}`)
		for _, tt := range []struct {
			name, content string
			kind          fault.Kind
			pointers      []string
		}{
			{"a missing member", `{"mass":1}`, fault.Invalid, []string{"/content/formula"}},
			{"a wrong type", `{"formula":"Fe","mass":"heavy"}`, fault.Invalid, []string{"/content/mass"}},
			{"a value out of range, inside a list, and an unknown member", `{"formula":"Fe","mass":-1,"tags":["a",7],"x/y":1}`, fault.Invalid,
				[]string{"/content/mass", "/content/tags/1", "/content/x~1y"}},
			{"no object", `[1]`, fault.Invalid, []string{"/content"}},
			{"the same member twice", `{"formula":"Fe","formula":"Co"}`, fault.Malformed, nil},
		} {
			a := l.as(l.ada)
			_, err := a.create("alloys", tt.content, "")
			if tt.name == "the same member twice" {
				// Over HTTP the edge has refused it before; here the parser does.
				if err == nil {
					t.Errorf("%s: accepted", tt.name)
				}
				continue
			}
			refused(t, err, tt.kind, tt.pointers...)
			if strings.Contains(err.Error(), "heavy") {
				t.Errorf("%s: the failure repeats what was sent: %v", tt.name, err)
			}
			if !refusedBefore(err) {
				a.recorded(audit.Refused, "invalid")
			}
		}
		if p, err := l.as(l.ada).list("alloys", 10, ""); err != nil || len(p.Items) != 0 {
			t.Errorf("%d records were stored, %v", len(p.Items), err)
		}
		if _, err := l.as(l.ada).create("alloys", `{"formula":"Fe","mass":55.845}`, ""); err != nil {
			t.Errorf("a fitting record: %v", err)
		}
	})
}

func TestAListGoesThroughEverythingOnceByItsCursor(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		l.declare("others", "")
		var want []id.Ref
		for i := range 7 {
			want = append(want, l.as(l.ada).put(fmt.Sprintf(`{"n":%d}`, i)).ID)
		}
		if _, err := l.as(l.ada).create("others", `{}`, ""); err != nil {
			t.Fatal(err)
		}
		var got []id.Ref
		cursor := ""
		for pages := 1; ; pages++ {
			a := l.as(l.ann)
			p, err := a.list(anything, 3, cursor)
			if err != nil {
				t.Fatal(err)
			}
			var named []id.Ref
			for _, r := range p.Items {
				named = append(named, r.ID)
			}
			a.recorded(audit.Done, "", named...)
			got = append(got, named...)
			if cursor = p.Next; cursor == "" {
				if pages != 3 || len(p.Items) != 1 {
					t.Errorf("the last page is the %dth, with %d items", pages, len(p.Items))
				}
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("listed %v, want %v", got, want)
		}
		if p, err := l.as(l.ada).list(anything, 7, ""); err != nil || len(p.Items) != 7 || p.Next != "" {
			t.Errorf("a page of exactly all: %d items, next %q, %v", len(p.Items), p.Next, err)
		}
		if p, err := l.as(l.ada).list(anything, 0, ""); err != nil || len(p.Items) != 7 {
			t.Errorf("without a limit: %d items, %v", len(p.Items), err)
		}
	})
}

func TestACursorOpensForItsCallerAndQueryAlone(t *testing.T) {
	t.Parallel()
	l, other := open(t, "pooled"), open(t, "pooled")
	l.declare("others", "")
	for range 2 {
		l.as(l.ada).put(`{}`)
	}
	p, err := l.as(l.ada).list(anything, 1, "")
	if err != nil || p.Next == "" {
		t.Fatalf("no cursor: %v", err)
	}
	both := actortest.With(t, other.org, policy.Scientist)
	for name, try := range map[string]func() error{
		"another caller's":            func() error { _, err := l.as(l.bob).list(anything, 1, p.Next); return err },
		"another collection's":        func() error { _, err := l.as(l.ada).list("others", 1, p.Next); return err },
		"another operation's":         func() error { _, err := l.as(l.ada).history(p.Items[0].ID, 1, p.Next); return err },
		"another organization's":      func() error { _, err := other.as(both).list(anything, 1, p.Next); return err },
		"one that was changed":        func() error { _, err := l.as(l.ada).list(anything, 1, p.Next[:len(p.Next)-2]+"AA"); return err },
		"one that is no cursor":       func() error { _, err := l.as(l.ada).list(anything, 1, "x"); return err },
		"an identifier in its place":  func() error { _, err := l.as(l.ada).list(anything, 1, p.Items[0].ID.String()); return err },
		"another record's history's ": func() error { return foreignHistory(l) },
		"another record's links'":     func() error { return foreignLinks(l) },
	} {
		if err := try(); !fault.Is(err, fault.Malformed) {
			t.Errorf("%s cursor: %v", name, err)
		}
	}
}

func foreignLinks(l *lab) error {
	a, b := l.as(l.ada).put(`{}`), l.as(l.ada).put(`{}`)
	for _, relation := range []string{"x", "y"} {
		if _, err := l.as(l.ada).link(a.ID, b.ID.String(), relation); err != nil {
			return err
		}
	}
	p, err := l.as(l.ada).links(a.ID, 1, "")
	if err != nil || p.Next == "" {
		return fmt.Errorf("no second page: %w", err)
	}
	_, err = l.as(l.ada).links(b.ID, 1, p.Next)
	return err
}

func foreignHistory(l *lab) error {
	a, b := l.as(l.ada).put(`{}`), l.as(l.ada).put(`{}`)
	if _, err := l.as(l.ada).update(a.ID, 1, `{}`, ""); err != nil {
		return err
	}
	p, err := l.as(l.ada).history(a.ID, 1, "")
	if err != nil || p.Next == "" {
		return fmt.Errorf("no second page: %w", err)
	}
	_, err = l.as(l.ada).history(b.ID, 1, p.Next)
	return err
}

func TestAPageOfLargeRecordsIsShortAndNotTheLast(t *testing.T) {
	t.Parallel()
	l := open(t, "pooled")
	large := `{"x":"` + strings.Repeat("a", kind.MaxContent-20) + `"}`
	n := records.MaxPageBytes/kind.MaxContent + 3
	for range n {
		l.as(l.ada).put(large)
	}
	seen := 0
	for cursor, pages := "", 1; ; pages++ {
		p, err := l.as(l.ada).list(anything, 200, cursor)
		if err != nil {
			t.Fatal(err)
		}
		if seen += len(p.Items); len(p.Items) >= n {
			t.Errorf("a page of %d large records", len(p.Items))
		}
		if cursor = p.Next; cursor == "" {
			if seen != n || pages < 2 {
				t.Errorf("%d of %d records on %d pages", seen, n, pages)
			}
			return
		}
	}
}

func TestAnUpdateIsForTheVersionThatItNames(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		r := l.as(l.ada).put(`{"n":1}`)
		a := l.as(l.bob)
		got, err := a.update(r.ID, 1, `{"n": 2.50}`, "")
		if err != nil || got.Version != 2 || string(got.Content) != `{"n":2.50}` || got.UpdatedBy != l.bob.Person() || got.CreatedBy != l.ada.Person() ||
			got.Owner != l.ada.Person() || got.UpdatedAt.Before(got.CreatedAt) {
			t.Fatalf("updated: %+v, %v", got, err)
		}
		a.recorded(audit.Done, "", r.ID)
		for _, version := range []uint64{1, 3, 1 << 62} {
			a = l.as(l.ada)
			_, err = a.update(r.ID, version, `{"n":3}`, "")
			refused(t, err, fault.Stale, "If-Match")
			a.recorded(audit.Refused, "stale", r.ID)
		}
		if now, err := l.as(l.ada).get(anything, r.ID); err != nil || string(now.Content) != `{"n":2.50}` || now.Version != 2 {
			t.Errorf("after the refusals: %+v, %v", now, err)
		}
		missing := id.NewRecord()
		a = l.as(l.ada)
		_, err = a.update(missing, 1, `{}`, "")
		refused(t, err, fault.NotFound)
		a.recorded(audit.Denied, "not_found", missing)
	})
}

func TestOfTwoUpdatesAtOnceOneIsStale(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		r := l.as(l.ada).put(`{}`)
		results := make(chan error, 8)
		for i := range cap(results) {
			go func() {
				_, err := l.as(l.ada).update(r.ID, 1, fmt.Sprintf(`{"n":%d}`, i), "")
				results <- err
			}()
		}
		won := 0
		for range cap(results) {
			switch err := <-results; {
			case err == nil:
				won++
			case !fault.Is(err, fault.Stale):
				t.Errorf("a loser got %v", err)
			}
		}
		if h, err := l.as(l.ada).history(r.ID, 10, ""); won != 1 || err != nil || len(h.Items) != 2 {
			t.Errorf("%d won; %d versions, %v", won, len(h.Items), err)
		}
	})
}

func TestHistorySaysWhoWhenAndWhat(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		r := l.as(l.ada).put(`{"n":1.0}`)
		for i, who := range []*as{l.as(l.bob), l.as(l.ada), l.as(l.bob)} {
			if _, err := who.update(r.ID, uint64(i+1), fmt.Sprintf(`{"n":%d.0}`, i+2), ""); err != nil {
				t.Fatal(err)
			}
		}
		a := l.as(l.ann)
		p, err := a.history(r.ID, 50, "")
		if err != nil || len(p.Items) != 4 || p.Next != "" {
			t.Fatalf("%d versions, %v", len(p.Items), err)
		}
		a.recorded(audit.Done, "", r.ID)
		by := []id.Person{l.bob.Person(), l.ada.Person(), l.bob.Person(), l.ada.Person()}
		for i, v := range p.Items {
			n := 4 - i
			action := "update"
			if n == 1 {
				action = "create"
			}
			if v.Version != uint64(n) || string(v.Content) != fmt.Sprintf(`{"n":%d.0}`, n) || v.By != by[i] || v.Action != action || v.At.IsZero() {
				t.Errorf("entry %d: %+v", i, v)
			}
			if i > 0 && v.At.After(p.Items[i-1].At) {
				t.Errorf("version %d is younger than the next", v.Version)
			}
		}
		if !p.Items[3].At.Equal(r.CreatedAt) {
			t.Errorf("the first version is of %s, created %s", p.Items[3].At, r.CreatedAt)
		}
		var versions []uint64
		for cursor := ""; ; {
			p, err := l.as(l.ann).history(r.ID, 3, cursor)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range p.Items {
				versions = append(versions, v.Version)
			}
			if cursor = p.Next; cursor == "" {
				break
			}
		}
		if !slices.Equal(versions, []uint64{4, 3, 2, 1}) {
			t.Errorf("by pages: %v", versions)
		}
		missing := id.NewRecord()
		a = l.as(l.ann)
		_, err = a.history(missing, 50, "")
		refused(t, err, fault.NotFound)
		a.recorded(audit.Denied, "not_found", missing)
	})
}

func TestADeletedRecordIsGoneUntilItIsRestored(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		r := l.as(l.ada).put(`{"n":1}`)
		if _, err := l.as(l.ada).update(r.ID, 1, `{"n":2}`, ""); err != nil {
			t.Fatal(err)
		}
		a := l.as(l.ada)
		refused(t, a.delete(r.ID, 1), fault.Stale, "If-Match")
		a.recorded(audit.Refused, "stale", r.ID)
		a = l.as(l.bob)
		refused(t, a.delete(r.ID, 2), fault.Denied)
		a.recorded(audit.Denied, "denied", r.ID)
		a = l.as(l.ada)
		if err := a.delete(r.ID, 2); err != nil {
			t.Fatal(err)
		}
		a.recorded(audit.Done, "", r.ID)

		_, err := l.as(l.ada).get(anything, r.ID)
		refused(t, err, fault.NotFound)
		_, err = l.as(l.ada).history(r.ID, 10, "")
		refused(t, err, fault.NotFound)
		_, err = l.as(l.ada).update(r.ID, 2, `{}`, "")
		refused(t, err, fault.NotFound)
		refused(t, l.as(l.ada).delete(r.ID, 2), fault.NotFound)
		if p, err := l.as(l.ada).list(anything, 10, ""); err != nil || len(p.Items) != 0 {
			t.Errorf("still listed: %d, %v", len(p.Items), err)
		}

		a = l.as(l.bob)
		_, err = a.restore(r.ID)
		refused(t, err, fault.Denied)
		a.recorded(audit.Denied, "denied", r.ID)
		a = l.as(l.ada)
		back, err := a.restore(r.ID)
		if err != nil || back.Version != 2 || string(back.Content) != `{"n":2}` || back.Owner != l.ada.Person() || !back.CreatedAt.Equal(r.CreatedAt) {
			t.Fatalf("restored: %+v, %v", back, err)
		}
		a.recorded(audit.Done, "", r.ID)
		if h, err := l.as(l.ada).history(r.ID, 10, ""); err != nil || len(h.Items) != 2 {
			t.Errorf("history after the restore: %d, %v", len(h.Items), err)
		}
		a = l.as(l.ada)
		_, err = a.restore(r.ID)
		refused(t, err, fault.NotFound)
		a.recorded(audit.Denied, "not_found", r.ID)
	})
}

func TestNothingIsRestoredAfterTheUndoWindow(t *testing.T) {
	t.Parallel()
	l := open(t, "schema")
	r := l.as(l.ada).put(`{}`)
	if err := l.as(l.ada).delete(r.ID, 1); err != nil {
		t.Fatal(err)
	}
	_, _, err := tenant.Do(t.Context(), l.d.Tenant, tenant.Request{Actor: l.ada, Org: l.org, Action: policy.RecordRestore}, func(ctx context.Context, tx *tenant.Tx) (int64, error) {
		var window time.Duration
		if err := tx.QueryRow(ctx, tenant.Lit(`SELECT purge_after - deleted_at FROM trash WHERE org_id = $1 AND id = $2`), tx.Org().UUID(), r.ID.UUID()).Scan(&window); err != nil {
			return 0, err
		}
		if window != 7*24*time.Hour {
			t.Errorf("the trash keeps it for %s", window)
		}
		return tx.Exec(ctx, tenant.Lit(`UPDATE trash SET purge_after = $3 WHERE org_id = $1 AND id = $2`), tx.Org().UUID(), r.ID.UUID(), tx.Now())
	})
	if err != nil {
		t.Fatal(err)
	}
	a := l.as(l.ada)
	_, err = a.restore(r.ID)
	refused(t, err, fault.NotFound)
	a.recorded(audit.Denied, "not_found", r.ID)
}

func TestAnAdminDeletesAndRestoresWithoutSeeing(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		r := l.as(l.ada).put(`{"secret":"yes"}`)
		if err := l.as(l.olga).delete(r.ID, 1); err != nil {
			t.Fatal(err)
		}
		back, err := l.as(l.olga).restore(r.ID)
		if err != nil || string(back.Content) != "{}" || back.Version != 1 || back.ID != r.ID {
			t.Errorf("restored: %+v, %v", back, err)
		}
		if got, err := l.as(l.ada).get(anything, r.ID); err != nil || string(got.Content) != `{"secret":"yes"}` {
			t.Errorf("afterwards: %s, %v", got.Content, err)
		}
	})
}

func TestAPrivateRecordIsItsOwnersAlone(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		r, err := l.as(l.ada).create(anything, `{"diary":1}`, "private")
		if err != nil || r.Visibility != "private" {
			t.Fatalf("%+v, %v", r, err)
		}
		if _, err := l.as(l.ada).update(r.ID, 1, `{"diary":2}`, ""); err != nil {
			t.Fatal(err)
		}
		for name, who := range map[string]*as{"another scientist": l.as(l.bob), "an analyst": l.as(l.ann)} {
			_, err := who.get(anything, r.ID)
			refused(t, err, fault.NotFound)
			who.recorded(audit.Denied, "not_found", r.ID)
			_, err = who.history(r.ID, 10, "")
			refused(t, err, fault.NotFound)
			if p, err := who.list(anything, 10, ""); err != nil || len(p.Items) != 0 {
				t.Errorf("%s lists %d, %v", name, len(p.Items), err)
			}
			who.recorded(audit.Done, "")
		}
		_, err = l.as(l.bob).update(r.ID, 2, `{}`, "organization")
		refused(t, err, fault.NotFound)
		refused(t, l.as(l.olga).delete(r.ID, 2), fault.NotFound)
		if p, err := l.as(l.ada).list(anything, 10, ""); err != nil || len(p.Items) != 1 || p.Items[0].Visibility != "private" {
			t.Errorf("the owner lists %d, %v", len(p.Items), err)
		}
		if h, err := l.as(l.ada).history(r.ID, 10, ""); err != nil || len(h.Items) != 2 {
			t.Errorf("the owner's history: %d, %v", len(h.Items), err)
		}
		// In the trash it is hers alone too.
		if err := l.as(l.ada).delete(r.ID, 2); err != nil {
			t.Fatal(err)
		}
		_, err = l.as(l.olga).restore(r.ID)
		refused(t, err, fault.NotFound)
		if back, err := l.as(l.ada).restore(r.ID); err != nil || back.Visibility != "private" {
			t.Errorf("restored: %+v, %v", back, err)
		}

		shared, err := l.as(l.ada).update(r.ID, 2, `{"shared":1}`, "organization")
		if err != nil || shared.Visibility != "organization" {
			t.Fatalf("shared: %+v, %v", shared, err)
		}
		// What it said while it was private stays hers.
		if h, err := l.as(l.bob).history(r.ID, 10, ""); err != nil || len(h.Items) != 1 || string(h.Items[0].Content) != `{"shared":1}` {
			t.Errorf("history for another: %+v, %v", h.Items, err)
		}
		a := l.as(l.bob)
		_, err = a.update(r.ID, 3, `{}`, "private")
		refused(t, err, fault.Denied)
		a.recorded(audit.Denied, "denied", r.ID)
		if kept, err := l.as(l.bob).update(r.ID, 3, `{"by":"bob"}`, ""); err != nil || kept.Visibility != "organization" {
			t.Errorf("another's change of content: %+v, %v", kept, err)
		}
	})
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		l.declare("others", "")
		r := l.as(l.ada).put(`{}`)
		for _, kind := range []string{"nothing", "others", "No Name!", ""} {
			a := l.as(l.ada)
			_, err := a.get(kind, r.ID)
			refused(t, err, fault.NotFound)
			a.recorded(audit.Denied, "not_found", r.ID)
			a = l.as(l.ada)
			if _, err = a.create(kind, `{}`, ""); kind != "others" {
				refused(t, err, fault.NotFound)
				a.recorded(audit.Denied, "not_found")
			}
			if _, err = l.as(l.ada).list(kind, 5, ""); kind != "others" {
				refused(t, err, fault.NotFound)
			}
		}
		// A record is reached through its own collection alone.
		link, err := l.as(l.ada).link(r.ID, r.ID.String(), "x")
		if err != nil {
			t.Fatal(err)
		}
		elsewhere := func() *as {
			a := l.as(l.ada)
			a.kind = "others"
			return a
		}
		_, err = elsewhere().update(r.ID, 1, `{}`, "")
		refused(t, err, fault.NotFound)
		_, err = elsewhere().history(r.ID, 5, "")
		refused(t, err, fault.NotFound)
		_, err = elsewhere().links(r.ID, 5, "")
		refused(t, err, fault.NotFound)
		_, err = elsewhere().link(r.ID, r.ID.String(), "y")
		refused(t, err, fault.NotFound)
		refused(t, elsewhere().unlink(r.ID, link.ID), fault.NotFound)
		refused(t, elsewhere().delete(r.ID, 1), fault.NotFound)
		if err := l.as(l.ada).delete(r.ID, 1); err != nil {
			t.Fatal(err)
		}
		_, err = elsewhere().restore(r.ID)
		refused(t, err, fault.NotFound)
	})
}

func TestNothingCrossesToAnotherOrganization(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		mine, theirs := open(t, placement), open(t, placement)
		r := theirs.as(theirs.ada).put(`{"canary":1}`)
		target := theirs.as(theirs.ada).put(`{}`)
		link, err := theirs.as(theirs.ada).link(r.ID, target.ID.String(), "source")
		if err != nil {
			t.Fatal(err)
		}
		own := mine.as(mine.ada).put(`{}`)

		// A foreign identifier in a path of one's own organization.
		who := func() *as { return mine.as(mine.ada) }
		_, err = who().get(anything, r.ID)
		refused(t, err, fault.NotFound)
		_, err = who().update(r.ID, 1, `{"taken":1}`, "")
		refused(t, err, fault.NotFound)
		refused(t, who().delete(r.ID, 1), fault.NotFound)
		refused(t, mine.as(mine.olga).delete(r.ID, 1), fault.NotFound)
		_, err = who().restore(r.ID)
		refused(t, err, fault.NotFound)
		_, err = who().history(r.ID, 5, "")
		refused(t, err, fault.NotFound)
		_, err = who().links(r.ID, 5, "")
		refused(t, err, fault.NotFound)
		_, err = who().link(r.ID, own.ID.String(), "source")
		refused(t, err, fault.NotFound)
		_, err = who().link(own.ID, r.ID.String(), "source")
		refused(t, err, fault.NotFound, "/to")
		refused(t, who().unlink(own.ID, link.ID), fault.NotFound)
		refused(t, who().unlink(r.ID, link.ID), fault.NotFound)

		// The other organization itself.
		stranger := theirs.as(mine.ada)
		if _, err := stranger.list(anything, 5, ""); !fault.Is(err, fault.NotFound) {
			t.Errorf("a stranger lists: %v", err)
		}
		testkit.WantEvents(t, mine.d, theirs.org, stranger.request)
		testkit.WantEvents(t, mine.d, id.Installation, stranger.request, testkit.Event{Action: policy.RecordList, Outcome: audit.Denied, Code: "not_found"})

		if got, err := theirs.as(theirs.ada).get(anything, r.ID); err != nil || string(got.Content) != `{"canary":1}` || got.Version != 1 {
			t.Errorf("afterwards: %+v, %v", got, err)
		}
		if p, err := theirs.as(theirs.ada).links(r.ID, 5, ""); err != nil || len(p.Items) != 1 {
			t.Errorf("afterwards: %d links, %v", len(p.Items), err)
		}
		// Both may have a collection of one name.
		if _, err := mine.as(mine.ada).get(anything, own.ID); err != nil {
			t.Error(err)
		}
	})
}

func TestARoleThatMayNotIsRefusedOnTheRecord(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		r := l.as(l.ada).put(`{}`)
		for _, role := range policy.Roles {
			if !policy.IsOrgRole(role) {
				continue
			}
			for _, op := range l.f.Ops {
				who := l.as(actortest.With(t, l.org, role))
				err := l.try(who, op.ID, r.ID)
				allowed := policy.Allow([]policy.Role{role}, op.Action)
				switch {
				case allowed && fault.Is(err, fault.Denied) && op.ID != "delete-record" && op.ID != "restore-record":
					t.Errorf("a %s may %s, and was refused: %v", role, op.ID, err)
				case !allowed && !fault.Is(err, fault.Denied):
					t.Errorf("a %s may not %s: %v", role, op.ID, err)
				case !allowed:
					testkit.WantEvents(t, l.d, l.org, who.request, testkit.Event{Action: op.Action, Outcome: audit.Denied, Code: "denied", Targets: []string{}})
				}
			}
		}
	})
}

// try performs any operation on a record that is there.
func (l *lab) try(who *as, op string, rec id.Record) (err error) {
	switch op {
	case "list-collections":
		_, err = call[feature.List[records.Collection]](who, op, records.ListCollectionsIn{})
	case "create-collection":
		var in records.CreateCollectionIn
		in.Body.Kind = anything
		_, err = call[feature.Created[records.Collection]](who, op, in)
	case "get-collection":
		_, err = call[feature.Item[records.Collection]](who, op, records.GetCollectionIn{KindPath: at(anything)})
	case "update-collection":
		_, err = who.redeclare(anything, 99, records.CollectionBody{})
	case "list-kits":
		_, err = call[feature.List[records.Kit]](who, op, records.ListKitsIn{})
	case "install-kit":
		_, err = who.install("memory")
	case "create-record":
		_, err = who.create(anything, `{}`, "")
	case "create-records":
		_, err = who.many(feature.IdempotencyKey{}, `{}`)
	case "list-records":
		_, err = who.list(anything, 1, "")
	case "get-record":
		_, err = who.get(anything, rec)
	case "update-record":
		_, err = who.update(rec, 99, `{}`, "")
	case "delete-record":
		err = who.delete(rec, 99)
	case "restore-record":
		_, err = who.restore(rec)
	case "record-history":
		_, err = who.history(rec, 1, "")
	case "get-sharing":
		_, err = who.sharing(id.NewRecord())
	case "set-sharing":
		_, err = who.share(id.NewRecord(), "private")
	case "list-trash":
		_, err = who.trash("", 1, "")
	case "list-links":
		_, err = who.links(rec, 1, "")
	case "create-link":
		_, err = who.link(rec, id.NewRecord().String(), "x")
	case "delete-link":
		err = who.unlink(rec, id.NewLink())
	default:
		l.Fatalf("no test of refusals for %s", op)
	}
	return err
}
