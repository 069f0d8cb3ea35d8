package records_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/feature/records"
	"strongroom/internal/identity/actor"
	"strongroom/internal/identity/actortest"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// lab is an organization of one test, with people in it.
type lab struct {
	testing.TB
	d     *testkit.Doors
	doors feature.Doors
	s     *records.Records
	f     feature.Feature
	ops   map[string]feature.Op
	org   id.Org

	ada, bob   actor.Actor // scientists
	ann        actor.Actor // an analyst
	olga       actor.Actor // an organization's admin
	collection records.Collection
}

// anything is the kind that every lab begins with: it takes any object.
const anything = "samples"

func open(t testing.TB, placement string) *lab {
	t.Helper()
	l := openEmpty(t, placement)
	l.collection = l.declare(anything, "")
	return l
}

func openEmpty(t testing.TB, placement string) *lab {
	t.Helper()
	d := testkit.Open(t)
	var l *lab
	s := records.New(d.Tenant, records.Options{Files: fileName, Members: func(_ context.Context, org id.Org, people []id.Person) ([]id.Person, error) {
		return slices.DeleteFunc(slices.Clone(people), func(p id.Person) bool {
			return org != l.org || !slices.Contains([]id.Person{l.ada.Person(), l.bob.Person(), l.ann.Person(), l.olga.Person()}, p)
		}), nil
	}})
	s.SetExportPage(3)
	l = &lab{TB: t, d: d, doors: feature.ThroughStores(d.Tenant, d.Platform), s: s, f: records.Feature(s), ops: map[string]feature.Op{},
		org: testkit.Org(t, placement).ID}
	for _, op := range l.f.Ops {
		if err := op.Check(); err != nil {
			t.Fatal(err)
		}
		l.ops[op.ID] = op
	}
	l.ada, l.bob = actortest.With(t, l.org, policy.Scientist), actortest.With(t, l.org, policy.Scientist)
	l.ann, l.olga = actortest.With(t, l.org, policy.Analyst), actortest.With(t, l.org, policy.OrgAdmin)
	return l
}

// as is one request under way: who asks, and what was asked for.
type as struct {
	l       *lab
	who     actor.Actor
	request id.Request
	org     id.Org
	kind    string // the collection in paths
}

func (l *lab) as(who actor.Actor) *as { return &as{l: l, who: who, org: l.org, kind: anything} }

// call performs an operation under a request of its own. Whatever comes of it,
// a receipt says that it is on record.
func call[Out, In any](a *as, op string, in In) (Out, error) {
	a.l.Helper()
	o, ok := a.l.ops[op]
	if !ok {
		a.l.Fatalf("no operation %s", op)
	}
	a.request = id.NewRequest()
	out, receipt, err := feature.Call[In, Out](a.l.Context(), a.l.doors, o, tenant.Request{Actor: a.who, Org: a.org, ID: a.request}, in)
	var unclassified *fault.Error
	if err != nil && !errors.As(err, &unclassified) {
		a.l.Errorf("%s failed inside: %v", op, err)
	}
	if receipt.IsZero() && len(o.ID) > 0 && !refusedBefore(err) {
		a.l.Errorf("%s has no receipt", op)
	}
	return out, err
}

// refusedBefore reports a refusal by the operation's form, which the edge
// records: the door never saw it.
func refusedBefore(err error) bool {
	return err != nil && fault.From(err).Public == "the request does not match its schema"
}

// recorded asserts the one event that the last call left.
func (a *as) recorded(outcome audit.Outcome, code string, targets ...id.Ref) {
	a.l.Helper()
	a.events(1, outcome, code, targets...)
}

func (a *as) events(n int, outcome audit.Outcome, code string, targets ...id.Ref) {
	a.l.Helper()
	got := testkit.Events(a.l, a.l.d, a.org, a.request)
	if len(got) != n {
		a.l.Fatalf("the request left %d events, want %d", len(got), n)
	}
	e := got[n-1]
	if e.Outcome != outcome || e.Code != code || e.Actor.ID != a.who.ID() {
		a.l.Errorf("on record as %s %q by %s, want %s %q by %s", e.Outcome, e.Code, e.Actor.ID, outcome, code, a.who.ID())
	}
	want := map[string]int{}
	for _, t := range targets {
		want[t.String()]++
	}
	for _, t := range e.Targets {
		want[t]--
	}
	for t, n := range want {
		if n != 0 {
			a.l.Errorf("the event names %s %+d times too few", t, n)
		}
	}
}

func (l *lab) declare(name, schema string) records.Collection {
	l.Helper()
	var in records.CreateCollectionIn
	in.Body.Kind, in.Body.Schema = name, json.RawMessage(schema)
	out, err := call[feature.Created[records.Collection]](l.as(l.olga), "create-collection", in)
	if err != nil {
		l.Fatal(err)
	}
	return out.Body
}

func at(kind string) records.KindPath { return records.KindPath{Kind: kind} }

func path(kind string, rec id.Record) records.RecordPath {
	return records.RecordPath{KindPath: at(kind), ID: rec}
}

func createIn(kind, content, visibility string) records.CreateIn {
	return records.CreateIn{KindPath: at(kind), Body: records.NewRecord{Content: feature.Object(content), Visibility: visibility}}
}

func (a *as) create(kind, content, visibility string) (records.Record, error) {
	a.l.Helper()
	out, err := call[feature.Created[records.Record]](a, "create-record", createIn(kind, content, visibility))
	return out.Body, err
}

// put is create where nothing may go wrong.
func (a *as) put(content string) records.Record {
	a.l.Helper()
	r, err := a.create(anything, content, "")
	if err != nil {
		a.l.Fatal(err)
	}
	return r
}

func (a *as) get(kind string, rec id.Record) (records.Record, error) {
	a.l.Helper()
	out, err := call[feature.Item[records.Record]](a, "get-record", records.GetIn{RecordPath: path(kind, rec)})
	return out.Body, err
}

func (a *as) update(rec id.Record, version uint64, content, visibility string) (records.Record, error) {
	a.l.Helper()
	out, err := call[feature.Item[records.Record]](a, "update-record", records.UpdateIn{RecordPath: path(a.kind, rec), Match: feature.MatchVersion(version),
		Body: records.ChangedRecord{Content: feature.Object(content), Visibility: visibility}})
	return out.Body, err
}

func (a *as) delete(rec id.Record, version uint64) error {
	a.l.Helper()
	_, err := call[feature.NoContent](a, "delete-record", records.DeleteIn{RecordPath: path(a.kind, rec), Match: feature.MatchVersion(version)})
	return err
}

func (a *as) restore(rec id.Record) (records.Record, error) {
	a.l.Helper()
	out, err := call[feature.Item[records.Record]](a, "restore-record", records.GetIn{RecordPath: path(a.kind, rec)})
	return out.Body, err
}

func (a *as) list(kind string, limit int, cursor string) (feature.Page[records.Record], error) {
	a.l.Helper()
	out, err := call[feature.List[records.Record]](a, "list-records", records.ListIn{KindPath: at(kind), Listing: feature.Listing{Limit: limit, Cursor: cursor}})
	return out.Body, err
}

func (a *as) history(rec id.Record, limit int, cursor string) (feature.Page[records.Version], error) {
	a.l.Helper()
	out, err := call[feature.List[records.Version]](a, "record-history", records.HistoryIn{RecordPath: path(a.kind, rec), Listing: feature.Listing{Limit: limit, Cursor: cursor}})
	return out.Body, err
}

func (a *as) link(from id.Record, to, relation string) (records.Link, error) {
	a.l.Helper()
	in := records.CreateLinkIn{RecordPath: path(a.kind, from)}
	in.Body.To, in.Body.Relation = to, relation
	out, err := call[feature.Created[records.Link]](a, "create-link", in)
	return out.Body, err
}

func (a *as) links(rec id.Record, limit int, cursor string) (feature.Page[records.Link], error) {
	a.l.Helper()
	out, err := call[feature.List[records.Link]](a, "list-links", records.ListLinksIn{RecordPath: path(a.kind, rec), Listing: feature.Listing{Limit: limit, Cursor: cursor}})
	return out.Body, err
}

func (a *as) unlink(rec id.Record, link id.Link) error {
	a.l.Helper()
	_, err := call[feature.NoContent](a, "delete-link", records.DeleteLinkIn{RecordPath: path(a.kind, rec), Link: link})
	return err
}

// key is the idempotency key of a call that says content.
func key(name, content string) feature.IdempotencyKey {
	return feature.NewIdempotencyKey(name, sha256.Sum256([]byte(content)))
}

// refused asserts the kind of a failure and, where given, the place it names.
func refused(t testing.TB, err error, kind fault.Kind, pointers ...string) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Fatalf("got %v, want %s", err, kind)
	}
	var got []string
	for _, d := range fault.From(err).Details {
		got = append(got, d.Pointer)
	}
	if len(pointers) > 0 && !equal(got, pointers) {
		t.Errorf("the failure points at %q, want %q", got, pointers)
	}
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// fileName opens the name of a file, as the feature of files does.
func fileName(ctx context.Context, tx *tenant.Tx, row feature.Sealed) (string, error) {
	name, err := seal.OpenOne(ctx, tx.Keys(), seal.Place{Org: tx.Org(), Table: "file", Row: row.Row, Version: uint64(row.Version)}, row.Body, "name")
	return string(name.Reveal()), err
}
