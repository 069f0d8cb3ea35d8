package trail_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/merkle"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/feature/trail"
	"strongroom/internal/identity/actor"
	"strongroom/internal/identity/actortest"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
	"strongroom/internal/web/api"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// log is the log of an organization made for one test.
type log struct {
	testing.TB
	d     *testkit.Doors
	org   id.Org
	sam   actor.Actor // a security admin
	doors feature.Doors
	op    feature.Op
}

func open(t testing.TB, placement string) *log {
	t.Helper()
	d := testkit.Open(t)
	l := &log{TB: t, d: d, org: testkit.Org(t, placement).ID, doors: feature.ThroughStores(d.Tenant, d.Platform), op: trail.Feature().Ops[0]}
	l.sam = actortest.With(t, l.org, policy.SecurityAdmin)
	return l
}

// entry is an event as its reader sees it.
type entry struct {
	audit.Event
	Idx     *int64            `json:"idx"`
	Leaf    string            `json:"leaf"`
	Opened  map[string]string `json:"opened"`
	Pruned  bool              `json:"pruned"`
	Damaged bool              `json:"damaged"`
	raw     []byte
}

func decode(t testing.TB, items []trail.Event) (out []entry) {
	t.Helper()
	for _, item := range items {
		raw, err := item.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		e := entry{raw: raw}
		if err := json.Unmarshal(raw, &e); err != nil || e.Idx == nil {
			t.Fatalf("%s: %v", raw, err)
		}
		out = append(out, e)
	}
	return out
}

// read lists a page as who, and returns the identifier of its request.
func (l *log) read(who actor.Actor, in trail.ListIn) ([]entry, string, id.Request, error) {
	l.Helper()
	request := id.NewRequest()
	out, receipt, err := feature.Call[trail.ListIn, feature.List[trail.Event]](l.Context(), l.doors, l.op, tenant.Request{Actor: who, Org: l.org, ID: request}, in)
	if receipt.IsZero() {
		l.Errorf("no receipt: %v", err)
	}
	return decode(l, out.Body.Items), out.Body.Next, request, err
}

func (l *log) all() []entry {
	l.Helper()
	e, _, _, err := l.read(l.sam, trail.ListIn{Listing: feature.Listing{Limit: 200}})
	if err != nil {
		l.Fatal(err)
	}
	return e
}

// act leaves n events in the log and waits until they have their places. It
// returns their requests.
func (l *log) act(n int) (requests []id.Request) {
	l.Helper()
	for range n {
		r := tenant.Request{Actor: actortest.With(l, l.org, policy.Analyst), Org: l.org, Action: policy.RecordRead, ID: id.NewRequest(),
			Client: tenant.Client{Address: "192.0.2.7", Agent: "probe <1>"}}
		if _, _, err := tenant.Do(l.Context(), l.d.Tenant, r, func(_ context.Context, tx *tenant.Tx) (int, error) { tx.Touch(id.NewRecord()); return 0, nil }); err != nil {
			l.Fatal(err)
		}
		requests = append(requests, r.ID)
	}
	testkit.AllEvents(l, l.d, l.org)
	return requests
}

// bytesOf returns the bytes of event v1 inside an entry, as the description of
// leaf tells a reader to find them.
func bytesOf(raw []byte) []byte {
	i := bytes.LastIndex(raw, []byte(`,"idx":`))
	return append(bytes.Clone(raw[:i]), '}')
}

func TestTheLogShowsTheVeryBytesThatWereRecordedNewestFirst(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		requests := l.act(5)
		got, next, request, err := l.read(l.sam, trail.ListIn{Listing: feature.Listing{Limit: 50}})
		if err != nil || next != "" || len(got) != 5 {
			t.Fatalf("%d events, next %q, %v", len(got), next, err)
		}
		var named []string
		for i, e := range got {
			if *e.Idx != int64(4-i) || e.Request != requests[4-i] || e.Action != policy.RecordRead || e.Outcome != audit.Done || e.Org != l.org {
				t.Errorf("entry %d: %s", i, e.raw)
			}
			leaf := merkle.LeafHash(bytesOf(e.raw))
			if base64.RawURLEncoding.EncodeToString(leaf[:]) != e.Leaf {
				t.Errorf("entry %d is not what its leaf was made of: %s", i, e.raw)
			}
			if e.Opened["client_address"] != "192.0.2.7" || e.Opened["client_agent"] != "probe <1>" || len(e.Opened) != 2 {
				t.Errorf("entry %d opens %v", i, e.Opened)
			}
			if e.Pruned || e.Damaged {
				t.Errorf("entry %d: %s", i, e.raw)
			}
			named = append(named, e.ID.String())
		}
		// Reading the log is on the log, and names what it returned.
		testkit.WantEvents(t, l.d, l.org, request, testkit.Event{Action: policy.TrailRead, Outcome: audit.Done, Targets: named})
		if again := l.all(); len(again) != 6 || again[0].Request != request || !slices.Equal(again[0].Targets, named) {
			t.Errorf("the next read: %s", again[0].raw)
		}
	})
}

func TestTheLogIsReadByPagesWhileItGrows(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		l.act(7)
		var seen []int64
		cursor := ""
		for {
			got, next, _, err := l.read(l.sam, trail.ListIn{Listing: feature.Listing{Limit: 3, Cursor: cursor}})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range got {
				seen = append(seen, *e.Idx)
			}
			if cursor = next; cursor == "" {
				break
			}
		}
		if !slices.Equal(seen, []int64{6, 5, 4, 3, 2, 1, 0}) {
			t.Errorf("read %v", seen)
		}
		_, next, _, err := l.read(l.sam, trail.ListIn{Listing: feature.Listing{Limit: 3}})
		if err != nil || next == "" {
			t.Fatal(err)
		}
		other := open(t, placement)
		both := actortest.With(t, other.org, policy.SecurityAdmin)
		for name, try := range map[string]func() error{
			"another reader's": func() error {
				_, _, _, err := l.read(actortest.With(t, l.org, policy.SecurityAdmin), trail.ListIn{Listing: feature.Listing{Cursor: next}})
				return err
			},
			"another question's": func() error {
				_, _, _, err := l.read(l.sam, trail.ListIn{Listing: feature.Listing{Cursor: next}, From: 1})
				return err
			},
			"another organization's": func() error {
				_, _, _, err := other.read(both, trail.ListIn{Listing: feature.Listing{Cursor: next}})
				return err
			},
		} {
			if err := try(); !fault.Is(err, fault.Malformed) {
				t.Errorf("%s cursor: %v", name, err)
			}
		}
	})
}

func TestTheLogIsReadByPlaceAndTime(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		l.act(3)
		time.Sleep(5 * time.Millisecond)
		middle := time.Now()
		time.Sleep(5 * time.Millisecond)
		l.act(3)
		for _, tt := range []struct {
			name string
			in   trail.ListIn
			want []int64
		}{
			{"from a place", trail.ListIn{From: 4, Before: 6}, []int64{5, 4}},
			{"before a place", trail.ListIn{Before: 2}, []int64{1, 0}},
			{"between two places", trail.ListIn{From: 1, Before: 3}, []int64{2, 1}},
			{"an empty range", trail.ListIn{From: 3, Before: 3}, nil},
			{"since a time", trail.ListIn{Since: middle, Before: 6}, []int64{5, 4, 3}},
			{"until a time", trail.ListIn{Until: middle}, []int64{2, 1, 0}},
			{"a time with nothing in it", trail.ListIn{Since: middle, Until: middle}, nil},
			{"before there was a log", trail.ListIn{Until: time.Unix(1, 0)}, nil},
		} {
			got, next, _, err := l.read(l.sam, tt.in)
			if err != nil || next != "" {
				t.Errorf("%s: next %q, %v", tt.name, next, err)
			}
			var seen []int64
			for _, e := range got {
				seen = append(seen, *e.Idx)
			}
			if !slices.Equal(seen, tt.want) {
				t.Errorf("%s: %v, want %v", tt.name, seen, tt.want)
			}
		}
	})
}

func TestAQuestionThatMatchesLittleGoesOnByItsCursor(t *testing.T) {
	t.Parallel()
	l := open(t, "pooled")
	l.act(2)
	time.Sleep(5 * time.Millisecond)
	middle := time.Now()
	time.Sleep(5 * time.Millisecond)
	l.act(8)
	_, _, err := tenant.Do(t.Context(), l.d.Tenant, tenant.Request{Actor: l.sam, Org: l.org, Action: policy.TrailRead}, func(ctx context.Context, tx *tenant.Tx) (int, error) {
		in := trail.ListIn{Before: 10, Until: middle, Listing: feature.Listing{Limit: 1}}
		var seen, places []int64
		for in.Before > 0 {
			got, next, err := trail.Read(ctx, tx, in, 3)
			if err != nil {
				return 0, err
			}
			for _, e := range decode(t, got) {
				seen = append(seen, *e.Idx)
			}
			places, in.Before = append(places, next), next
		}
		if !slices.Equal(seen, []int64{1, 0}) || !slices.Equal(places, []int64{7, 4, 1, 0}) {
			t.Errorf("found %v by %v", seen, places)
		}
		return 0, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOnlyASecurityAdminReadsTheLog(t *testing.T) {
	t.Parallel()
	l := open(t, "schema")
	l.act(1)
	for _, role := range policy.Roles {
		if role == policy.SecurityAdmin || !policy.IsOrgRole(role) {
			continue
		}
		got, _, request, err := l.read(actortest.With(t, l.org, role), trail.ListIn{})
		if !fault.Is(err, fault.Denied) || got != nil {
			t.Errorf("a %s: %v", role, err)
		}
		testkit.WantEvents(t, l.d, l.org, request, testkit.Event{Action: policy.TrailRead, Outcome: audit.Denied, Code: "denied"})
	}
	for name, who := range map[string]actor.Actor{"another organization's": actortest.With(t, id.NewOrg(), policy.SecurityAdmin), "the platform's": actortest.SystemAdmin(t)} {
		_, _, request, err := l.read(who, trail.ListIn{})
		if !fault.Is(err, fault.NotFound) {
			t.Errorf("%s admin: %v", name, err)
		}
		testkit.WantEvents(t, l.d, id.Installation, request, testkit.Event{Action: policy.TrailRead, Outcome: audit.Denied, Code: "not_found"})
	}
}

func TestEachLogHoldsItsOwnOrganizationAlone(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		a, b := open(t, placement), open(t, placement)
		mine, theirs := a.act(3), b.act(4)
		for l, want := range map[*log][]id.Request{a: mine, b: theirs} {
			var got []id.Request
			for _, e := range l.all() {
				got = append(got, e.Request)
			}
			slices.Reverse(got)
			if !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		}
	})
}

// change does to the log what no role of the application can.
func (l *log) change(sql string, args ...any) {
	l.Helper()
	c, err := pgx.Connect(l.Context(), l.d.DB.URL("sr_root"))
	if err != nil {
		l.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	tag, err := c.Exec(l.Context(), sql, args...)
	if err != nil || tag.RowsAffected() != 1 {
		l.Fatalf("%s: %v, %v", sql, tag, err)
	}
}

func TestAnEventThatWasChangedShowsAsDamagedAndHidesNoOther(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"another event's body":  `UPDATE audit.event e SET body = o.body FROM audit.event o WHERE e.org_id = $1 AND e.idx = 1 AND o.org_id = $1 AND o.idx = 2`,
		"another hash":          `UPDATE audit.event SET leaf = sha256('x') WHERE org_id = $1 AND idx = 1`,
		"bytes of no envelope":  `UPDATE audit.event SET body = '\x00' WHERE org_id = $1 AND idx = 1`,
		"another's openings":    `UPDATE audit.event e SET openings = o.openings FROM audit.event o WHERE e.org_id = $1 AND e.idx = 1 AND o.org_id = $1 AND o.idx = 2`,
		"another's identifier":  `UPDATE audit.event SET event_id = gen_random_uuid() WHERE org_id = $1 AND idx = 1`,
		"another event's place": `UPDATE audit.event e SET event_id = o.event_id, leaf = o.leaf, body = set_byte(o.body, 60, 1) FROM audit.event o WHERE e.org_id = $1 AND e.idx = 1 AND o.org_id = $1 AND o.idx = 2`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := open(t, "pooled")
			l.act(3)
			l.change(sql, l.org.UUID())
			got := l.all()
			if len(got) != 3 || got[0].Damaged || got[2].Damaged || !got[1].Damaged || *got[1].Idx != 1 {
				t.Errorf("shown: %s", [][]byte{got[0].raw, got[1].raw, got[2].raw})
			}
		})
	}
}

func TestAPrunedEventKeepsItsPlaceAndHash(t *testing.T) {
	t.Parallel()
	l := open(t, "schema")
	l.act(3)
	before := l.all()
	l.change(`UPDATE audit.event SET body = NULL, openings = NULL WHERE org_id = $1 AND idx = 1`, l.org.UUID())
	got := l.all()[1:] // the first one is the read before
	if e := got[1]; !e.Pruned || e.Damaged || e.ID != before[1].ID || e.Leaf != before[1].Leaf || *e.Idx != 1 || len(e.Targets) != 0 || e.Opened != nil {
		t.Errorf("shown: %s", e.raw)
	}
	if got[0].Pruned || !bytes.Equal(got[0].raw, before[0].raw) {
		t.Errorf("its neighbour: %s", got[0].raw)
	}
}

// forgetful are keys from which one leaf is gone, as after its erasure.
type forgetful struct {
	seal.Keys
	gone keytree.Leaf
	err  error
}

func (f forgetful) LeafKey(ctx context.Context, gen uint32, leaf keytree.Leaf) (keytree.Key, error) {
	if leaf == f.gone {
		return keytree.Key{}, f.err
	}
	return f.Keys.LeafKey(ctx, gen, leaf)
}

func TestPersonalDataWhoseKeyIsGoneIsLeftOut(t *testing.T) {
	t.Parallel()
	l := open(t, "pooled")
	var subject keytree.Leaf
	r := tenant.Request{Actor: actortest.With(t, l.org, policy.Analyst), Org: l.org, Action: policy.RecordRead, Client: tenant.Client{Address: "192.0.2.7"}}
	if _, _, err := tenant.Do(t.Context(), l.d.Tenant, r, func(ctx context.Context, tx *tenant.Tx) (_ int, err error) {
		subject, err = tx.NewLeaf(ctx)
		tx.Opening("address", "ada@example.org", subject)
		return 0, err
	}); err != nil {
		t.Fatal(err)
	}
	testkit.AllEvents(t, l.d, l.org)
	whole := l.all()[0]
	if whole.Opened["address"] != "ada@example.org" || whole.Opened["client_address"] != "192.0.2.7" {
		t.Fatalf("opened: %v", whole.Opened)
	}
	if strings.Contains(string(bytesOf(whole.raw)), "ada@") || strings.Contains(string(bytesOf(whole.raw)), "192.0.2.7") {
		t.Error("the event itself holds personal data")
	}
	_, _, err := tenant.Do(t.Context(), l.d.Tenant, tenant.Request{Actor: l.sam, Org: l.org, Action: policy.TrailRead}, func(ctx context.Context, tx *tenant.Tx) (int, error) {
		e, err := trail.Open(ctx, tx, forgetful{tx.Keys(), subject, keytree.ErrPunctured}, 0)
		if err != nil {
			return 0, err
		}
		got := decode(t, []trail.Event{e})[0]
		if _, there := got.Opened["address"]; there || got.Opened["client_address"] != "192.0.2.7" || got.Damaged || !bytes.Equal(bytesOf(got.raw), bytesOf(whole.raw)) {
			t.Errorf("after the erasure: %s", got.raw)
		}
		// A key service that does not answer is no damage.
		down := fault.New(fault.Unavailable, "the key service does not answer")
		if _, err := trail.Open(ctx, tx, forgetful{tx.Keys(), keytree.LeafAudit, down}, 0); !errors.Is(err, down) {
			t.Errorf("without keys: %v", err)
		}
		return 0, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// door lets one caller in.
type door struct{ who actor.Actor }

func (d door) Authenticate(context.Context, *http.Request) (actor.Actor, error) { return d.who, nil }

func TestOverHTTPTheBytesAreTheSame(t *testing.T) {
	t.Parallel()
	l := open(t, "schema")
	l.act(2)
	s, err := api.New(api.Options{Features: []feature.Feature{trail.Feature()}, Doors: l.doors, Auth: door{l.sam}, Record: l.d.Tenant, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	get := func(query string) (int, struct {
		Items []json.RawMessage
		Next  string
	}) {
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "/v1/orgs/"+l.org.String()+"/audit"+query, nil))
		var page struct {
			Items []json.RawMessage
			Next  string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
			t.Fatalf("%s: %s", query, w.Body)
		}
		return w.Code, page
	}
	code, page := get("?limit=1")
	if code != 200 || len(page.Items) != 1 || page.Next == "" {
		t.Fatalf("%d %s", code, page.Items)
	}
	var e entry
	if err := json.Unmarshal(page.Items[0], &e); err != nil {
		t.Fatal(err)
	}
	leaf := merkle.LeafHash(bytesOf(page.Items[0]))
	if base64.RawURLEncoding.EncodeToString(leaf[:]) != e.Leaf || *e.Idx != 1 || e.Opened["client_agent"] != "probe <1>" {
		t.Errorf("%s", page.Items[0])
	}
	if code, page = get("?limit=1&cursor=" + page.Next); code != 200 || len(page.Items) != 1 || page.Next != "" {
		t.Errorf("the second page: %d %s", code, page.Items)
	}
	if code, page = get("?since=" + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + "&from=0&before=2"); code != 200 || len(page.Items) != 0 {
		t.Errorf("a time to come: %d %s", code, page.Items)
	}
	for _, query := range []string{"?before=0", "?from=-1", "?since=yesterday", "?actor=x", "?limit=201"} {
		if code, _ := get(query); code != 422 {
			t.Errorf("%s: %d", query, code)
		}
	}
	if doc := string(s.OpenAPI()); !strings.Contains(doc, `"AuditEvent"`) || !strings.Contains(doc, `"idx"`) || !strings.Contains(doc, `"outcome"`) {
		t.Errorf("the description does not describe an event: %s", doc)
	}
}
