package records_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/feature"
	"strongroom/internal/feature/records"
	"strongroom/internal/store/audit"
	"strongroom/internal/testkit"
)

func (a *as) many(key feature.IdempotencyKey, contents ...string) ([]records.Made, error) {
	a.l.Helper()
	out, err := call[records.CreateManyOut](a, "create-records", manyIn(key, contents...))
	return out.Body.Items, err
}

func manyIn(key feature.IdempotencyKey, contents ...string) records.CreateManyIn {
	in := records.CreateManyIn{KindPath: at(anything), Key: key}
	for _, c := range contents {
		in.Body.Items = append(in.Body.Items, records.NewRecord{Content: feature.Object(c)})
	}
	return in
}

func numbered(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf(`{"n":%d}`, i))
	}
	return out
}

// count lists a whole collection.
func (l *lab) count() (n int) {
	l.Helper()
	for cursor := ""; ; {
		p, err := l.as(l.ada).list(anything, 200, cursor)
		if err != nil {
			l.Fatal(err)
		}
		n += len(p.Items)
		if cursor = p.Next; cursor == "" {
			return n
		}
	}
}

func TestManyRecordsAreStoredInChunksEachOnTheRecord(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		a := l.as(l.ada)
		made, err := a.many(feature.IdempotencyKey{}, numbered(1100)...)
		if err != nil || len(made) != 1100 {
			t.Fatalf("%d made, %v", len(made), err)
		}
		events := testkit.Events(t, l.d, l.org, a.request)
		if len(events) != 3 {
			t.Fatalf("%d events, want one a chunk", len(events))
		}
		for i, want := range []int{500, 500, 100} {
			e := events[i]
			if e.Outcome != audit.Done || e.Counts["records"] != int64(want) || len(e.Targets) != want || e.Targets[0] != made[500*i].ID.String() {
				t.Errorf("event %d: %s, %d targets, counts %v", i, e.Outcome, len(e.Targets), e.Counts)
			}
		}
		for _, i := range []int{0, 499, 500, 1099} {
			if r, err := l.as(l.ada).get(anything, made[i].ID); err != nil || string(r.Content) != fmt.Sprintf(`{"n":%d}`, i) || r.Owner != l.ada.Person() {
				t.Errorf("record %d: %+v, %v", i, r, err)
			}
		}
		if n := l.count(); n != 1100 {
			t.Errorf("%d records are there", n)
		}
	})
}

func TestAMistakeInTheLastOfManyLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := openEmpty(t, placement)
		l.declare(anything, `{"properties":{"n":{"type":"integer"}}}`)
		a := l.as(l.ada)
		_, err := a.many(feature.IdempotencyKey{}, append(numbered(600), `{"n":"x"}`)...)
		refused(t, err, fault.Invalid, "/items/600/content/n")
		a.recorded(audit.Refused, "invalid")
		if n := l.count(); n != 0 {
			t.Errorf("%d records are there", n)
		}
	})
}

func TestARepeatedBulkRequestGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		contents := numbered(1200)
		k := key("batch-1", "all of them")
		// A server that was killed after the second chunk has stored what a
		// request for the first thousand under the same key stores.
		first, err := l.as(l.ada).many(k, contents[:1000]...)
		if err != nil || len(first) != 1000 {
			t.Fatalf("the first attempt stored %d, %v", len(first), err)
		}
		if n := l.count(); n != 1000 {
			t.Fatalf("%d records are there after the first attempt", n)
		}
		a := l.as(l.ada)
		made, err := a.many(k, contents...)
		if err != nil || len(made) != 1200 {
			t.Fatalf("the second attempt: %d, %v", len(made), err)
		}
		a.events(3, audit.Done, "", refs(made[1000:])...)
		for i := range first {
			if first[i] != made[i] {
				t.Fatalf("item %d was %v and is now %v", i, first[i], made[i])
			}
		}
		if n := l.count(); n != 1200 {
			t.Errorf("%d records are there", n)
		}
		for _, i := range []int{0, 999, 1000, 1199} {
			if r, err := l.as(l.ada).get(anything, made[i].ID); err != nil || string(r.Content) != contents[i] {
				t.Errorf("item %d: %s, %v", i, r.Content, err)
			}
		}
		// One that was deleted or changed since is still the one that was made.
		if err := l.as(l.ada).delete(made[0].ID, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := l.as(l.ada).update(made[7].ID, 1, `{}`, ""); err != nil {
			t.Fatal(err)
		}
		again, err := l.as(l.ada).many(k, contents...)
		if err != nil || len(again) != 1200 || again[0] != made[0] || again[7] != (records.Made{ID: made[7].ID, Version: 2}) || again[1199] != made[1199] {
			t.Errorf("the third attempt: %d, %v", len(again), err)
		}
		a = l.as(l.ada)
		_, err = a.many(key("batch-1", "something else"), numbered(3)...)
		refused(t, err, fault.Invalid, "Idempotency-Key")
		a.recorded(audit.Refused, "invalid")
	})
}

func refs(made []records.Made) (out []id.Ref) {
	for _, m := range made {
		out = append(out, m.ID)
	}
	return out
}

func TestARepeatedCreateMakesOneRecord(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		in := createIn(anything, `{ "n": 1 }`, "")
		in.Key = key("once", "n is 1")
		a := l.as(l.ada)
		first, err := call[feature.Created[records.Record]](a, "create-record", in)
		if err != nil {
			t.Fatal(err)
		}
		a.recorded(audit.Done, "", first.Body.ID)
		a = l.as(l.ada)
		second, err := call[feature.Created[records.Record]](a, "create-record", in)
		if err != nil || second.Body.ID != first.Body.ID || string(second.Body.Content) != `{"n":1}` || second.Location != first.Location || second.ETag != first.ETag {
			t.Errorf("repeated: %+v, %v; the first was %+v", second, err, first)
		}
		a.recorded(audit.Done, "", first.Body.ID)

		other := createIn(anything, `{"n":2}`, "")
		other.Key = key("once", "n is 2")
		a = l.as(l.ada)
		_, err = call[feature.Created[records.Record]](a, "create-record", other)
		refused(t, err, fault.Invalid, "Idempotency-Key")
		a.recorded(audit.Refused, "invalid")

		// Keys are the caller's own.
		third, err := call[feature.Created[records.Record]](l.as(l.bob), "create-record", in)
		if err != nil || third.Body.ID == first.Body.ID {
			t.Errorf("another's request under the same key: %+v, %v", third.Body, err)
		}
		if n := l.count(); n != 2 {
			t.Errorf("%d records are there", n)
		}
		if err := l.as(l.ada).delete(first.Body.ID, 1); err != nil {
			t.Fatal(err)
		}
		_, err = call[feature.Created[records.Record]](l.as(l.ada), "create-record", in)
		refused(t, err, fault.NotFound)
	})
}

func TestOfManyRequestsAtOnceUnderOneKeyOneIsDone(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		in := createIn(anything, `{"n":1}`, "")
		in.Key = key("once", "n is 1")
		var wg sync.WaitGroup
		var mu sync.Mutex
		made := map[id.Record]int{}
		for range 12 {
			wg.Go(func() {
				out, err := call[feature.Created[records.Record]](l.as(l.ada), "create-record", in)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					made[out.Body.ID]++
				case !fault.Is(err, fault.Conflict):
					t.Errorf("a loser got %v", err)
				}
			})
		}
		wg.Wait()
		if n := l.count(); n != 1 || len(made) != 1 {
			t.Errorf("%d records are there; answers named %v", n, made)
		}
	})
}

func TestAKeyThatFailedIsFree(t *testing.T) {
	t.Parallel()
	l := openEmpty(t, "pooled")
	l.declare(anything, `{"required":["n"]}`)
	in := createIn(anything, `{}`, "")
	in.Key = key("once", "first")
	_, err := call[feature.Created[records.Record]](l.as(l.ada), "create-record", in)
	refused(t, err, fault.Invalid, "/content/n")
	in.Body.Content, in.Key = feature.Object(`{"n":1}`), key("once", "second")
	if _, err := call[feature.Created[records.Record]](l.as(l.ada), "create-record", in); err != nil {
		t.Errorf("after a refusal: %v", err)
	}
}

func TestPrivateItemsOfABulkRequestArePrivate(t *testing.T) {
	t.Parallel()
	l := open(t, "schema")
	in := manyIn(feature.IdempotencyKey{}, `{"n":1}`, `{"n":2}`)
	in.Body.Items[1].Visibility = "private"
	out, err := call[records.CreateManyOut](l.as(l.ada), "create-records", in)
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.as(l.bob).list(anything, 10, "")
	if err != nil || len(p.Items) != 1 || p.Items[0].ID != out.Body.Items[0].ID {
		t.Errorf("another sees %+v, %v", p.Items, err)
	}
}

func TestContentOfOneRecordIsBounded(t *testing.T) {
	t.Parallel()
	l := open(t, "pooled")
	a := l.as(l.ada)
	_, err := a.create(anything, `{"x":"`+strings.Repeat("a", 1<<20)+`"}`, "")
	if !fault.Is(err, fault.TooLarge) && !fault.Is(err, fault.Invalid) {
		t.Errorf("got %v", err)
	}
	if n := l.count(); n != 0 {
		t.Error("it was stored")
	}
}
