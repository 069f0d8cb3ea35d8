package export_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/blob"
	"strongroom/internal/feature"
	"strongroom/internal/feature/export"
	"strongroom/internal/feature/export/archive"
	"strongroom/internal/feature/records"
	"strongroom/internal/identity/actor"
	"strongroom/internal/identity/actortest"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
	"strongroom/internal/web/api"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// house is a server with records and their export, for one organization.
type house struct {
	testing.TB
	*httptest.Server
	d      *testkit.Doors
	org    id.Org
	people *people
}

// people know each caller by a token.
type people struct {
	mu      sync.Mutex
	byToken map[string]actor.Actor
}

func (p *people) Authenticate(_ context.Context, r *http.Request) (actor.Actor, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.byToken[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	if !ok {
		return actor.Actor{}, fault.New(fault.Unauthenticated, "sign in first")
	}
	return a, nil
}

func (p *people) enter(a actor.Actor) (token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	token = id.NewRequest().String()
	p.byToken[token] = a
	return token
}

// open starts a server; more are features whose data is exported beside the
// records.
func open(t testing.TB, placement string, more ...feature.Feature) *house {
	t.Helper()
	d := testkit.Open(t)
	data := append([]feature.Feature{records.Feature(records.New(d.Tenant, records.Options{}))}, more...)
	h := &house{TB: t, d: d, org: testkit.Org(t, placement).ID, people: &people{byToken: map[string]actor.Actor{}}}
	s, err := api.New(api.Options{Features: append(data, export.Feature(d.Tenant, h.blobs(), nil, data...)), Doors: feature.ThroughStores(d.Tenant, d.Platform),
		Auth: h.people, Record: d.Tenant, Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h.Server = httptest.NewServer(s)
	t.Cleanup(h.Close)
	return h
}

// blobs is a store of objects of the test's own.
func (h *house) blobs() blob.Store {
	h.Helper()
	b, err := blob.OpenDir(h.TempDir())
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = b.Close() })
	return b
}

// as returns the token of somebody who holds roles here.
func (h *house) as(roles ...policy.Role) string {
	h.Helper()
	return h.people.enter(actortest.With(h, h.org, roles...))
}

type object = map[string]any

// ask sends a request and returns its answer with the identifier of the
// request. The body is the caller's to read and close.
func (h *house) ask(ctx context.Context, token, method, path string, body any) (*http.Response, id.Request) {
	h.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		h.Fatal(err)
	}
	if s, ok := body.(string); ok {
		b = []byte(s)
	}
	r, err := http.NewRequestWithContext(ctx, method, h.URL+"/v1/orgs/"+h.org.String()+path, bytes.NewReader(b))
	if err != nil {
		h.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := h.Client().Do(r)
	if err != nil {
		h.Fatal(err)
	}
	request, err := id.ParseRequest(res.Header.Get(api.RequestIDHeader))
	if err != nil {
		h.Fatalf("%s %s: the answer names no request", method, path)
	}
	return res, request
}

// want is ask where one status is right; it returns the JSON of the answer.
func (h *house) want(status int, token, method, path string, body any) (object, id.Request) {
	h.Helper()
	res, request := h.ask(h.Context(), token, method, path, body)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != status {
		h.Fatalf("%s %s: %d %s, %v; want %d", method, path, res.StatusCode, b, err, status)
	}
	var out object
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&out); err != nil {
		h.Fatalf("%s %s: %v", method, path, err)
	}
	return out, request
}

// export runs an export that must succeed, and returns its entries.
func (h *house) export(token string, scope object) (map[string]string, *archive.Manifest, id.Request) {
	h.Helper()
	res, request := h.ask(h.Context(), token, "POST", "/export", scope)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/zip" || !strings.HasPrefix(res.Header.Get("Content-Disposition"), "attachment;") {
		h.Fatalf("%v: %d %v %.200s, %v", scope, res.StatusCode, res.Header, b, err)
	}
	m, err := archive.Verify(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		h.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		h.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			h.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			h.Fatal(err)
		}
		out[f.Name] = string(content)
	}
	return out, m, request
}

func (h *house) collection(name string) {
	h.Helper()
	h.want(201, h.as(policy.OrgAdmin), "POST", "/collections", object{"kind": name, "title": strings.ToUpper(name), "schema": json.RawMessage(`{"properties":{"b":{},"a":{}}}`)})
}

// put stores a record and returns it.
func (h *house) put(token, collection, body string) object {
	h.Helper()
	out, _ := h.want(201, token, "POST", "/collections/"+collection+"/records", body)
	return out
}

func lines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

var everything = object{"scope": "organization"}

func TestAnExportHoldsEverythingAndVerifies(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		h := open(t, placement)
		h.collection("samples")
		h.collection("runs")
		scientist, analyst := h.as(policy.Scientist), h.as(policy.Analyst)
		const exact = `{"a":1.10,"text":"<b>\"x\"</b> é\u2028","formula":"=1+1","nested":{"z":1e400,"y":[]}}`
		one := h.put(scientist, "samples", `{"content": `+exact+` }`)
		two := h.put(scientist, "samples", `{"content":{"b":"-2","n":-2}}`)
		run := h.put(scientist, "runs", `{"content":{}}`)
		hidden := h.put(scientist, "runs", `{"content":{"diary":1},"visibility":"private"}`)
		link, _ := h.want(201, scientist, "POST", "/collections/samples/records/"+one["id"].(string)+"/links", object{"to": run["id"], "relation": "made in"})
		h.put2(scientist, two["id"].(string), `{"content":{"b":"@new","n":-3}}`)

		files, m, request := h.export(analyst, everything)
		var names []string
		for n := range files {
			names = append(names, n)
		}
		slices.Sort(names)
		if want := []string{"manifest.json", "records/runs/history.ndjson", "records/runs/links.ndjson", "records/runs/records.csv", "records/runs/records.ndjson", "records/runs/schema.json",
			"records/samples/history.ndjson", "records/samples/links.ndjson", "records/samples/records.csv", "records/samples/records.ndjson", "records/samples/schema.json"}; !slices.Equal(names, want) {
			t.Fatalf("entries: %v", names)
		}
		got := lines(files["records/samples/records.ndjson"])
		if len(got) != 2 || !strings.Contains(got[0], `"content":`+exact) || !strings.HasPrefix(got[0], `{"id":"`+one["id"].(string)+`"`) || !strings.Contains(got[1], `"content":{"b":"@new","n":-3}`) {
			t.Errorf("records: %q", got)
		}
		if got := lines(files["records/runs/records.ndjson"]); len(got) != 1 || !strings.Contains(got[0], run["id"].(string)) {
			t.Errorf("runs: %q", got)
		}
		for name, content := range files {
			if strings.Contains(content, hidden["id"].(string)) {
				t.Errorf("%s holds somebody's private record", name)
			}
		}
		table := strings.Split(files["records/samples/records.csv"], "\r\n")
		if len(table) != 4 || table[0] != "id,version,visibility,owner,created_at,created_by,updated_at,updated_by,b,a,text,formula,nested,n" {
			t.Fatalf("table: %q", table)
		}
		if !strings.HasSuffix(table[1], `,,1.10,"<b>""x""</b> é`+"\u2028"+`",'=1+1,"{""z"":1e400,""y"":[]}",`) {
			t.Errorf("row: %q", table[1])
		}
		if !strings.HasSuffix(table[2], ",'@new,,,,,-3") {
			t.Errorf("row: %q", table[2])
		}
		history := lines(files["records/samples/history.ndjson"])
		if len(history) != 1 || !strings.Contains(history[0], `"content":{"b":"-2","n":-2}`) || !strings.Contains(history[0], `"version":1`) || !strings.Contains(history[0], two["id"].(string)) {
			t.Errorf("history: %q", history)
		}
		if links := lines(files["records/samples/links.ndjson"]); len(links) != 1 || !strings.Contains(links[0], link["id"].(string)) || !strings.Contains(links[0], `"relation":"made in"`) {
			t.Errorf("links: %q", links)
		}
		if !strings.Contains(files["records/samples/schema.json"], `"title":"SAMPLES"`) || !strings.Contains(files["records/samples/schema.json"], `"schema":{"properties"`) {
			t.Errorf("declaration: %q", files["records/samples/schema.json"])
		}

		events := testkit.Events(t, h.d, h.org, request)
		first, last := events[0], events[len(events)-1]
		if first.Outcome != audit.Opened || last.Outcome != audit.Done || last.Counts["entries"] != m.Totals.Entries || last.Counts["records"] != m.Totals.Records || last.Counts["bytes"] == 0 {
			t.Errorf("from %+v to %+v", first, last)
		}
		named := map[string]bool{}
		for _, e := range events {
			if e.Action != policy.ExportRun || e.Purpose != "export" {
				t.Errorf("an event of an export: %+v", e)
			}
			for _, target := range e.Targets {
				named[target] = true
			}
		}
		for _, r := range []object{one, two, run, link} {
			if !named[r["id"].(string)] {
				t.Errorf("%v left without being named", r["id"])
			}
		}
		if named[hidden["id"].(string)] {
			t.Error("a record is named that did not leave")
		}
	})
}

// put2 updates a record of the collection samples to its second version.
func (h *house) put2(token, rec, body string) {
	h.Helper()
	r, err := http.NewRequestWithContext(h.Context(), "PUT", h.URL+"/v1/orgs/"+h.org.String()+"/collections/samples/records/"+rec, strings.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("If-Match", `"1"`)
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := h.Client().Do(r)
	if err != nil || res.StatusCode != 200 {
		h.Fatalf("%v, %v", res, err)
	}
	_ = res.Body.Close()
}

func TestAnExportOfOneCollectionOrRecordHoldsNoMore(t *testing.T) {
	t.Parallel()
	h := open(t, "pooled")
	h.collection("samples")
	h.collection("runs")
	scientist, analyst := h.as(policy.Scientist), h.as(policy.Analyst)
	one, two := h.put(scientist, "samples", `{"content":{"n":1}}`), h.put(scientist, "samples", `{"content":{"n":2}}`)
	run := h.put(scientist, "runs", `{"content":{}}`)
	h.want(201, scientist, "POST", "/collections/runs/records/"+run["id"].(string)+"/links", object{"to": one["id"], "relation": "used"})

	files, _, _ := h.export(analyst, object{"scope": "collection", "collection": "samples"})
	if got := lines(files["records/samples/records.ndjson"]); len(got) != 2 || len(files) != 6 || len(lines(files["records/samples/links.ndjson"])) != 0 {
		t.Errorf("a collection: %d records in %d entries", len(got), len(files))
	}
	files, m, request := h.export(analyst, object{"scope": "record", "collection": "samples", "record": one["id"]})
	got := lines(files["records/samples/records.ndjson"])
	if len(got) != 1 || !strings.Contains(got[0], one["id"].(string)) || len(files) != 6 || m.Totals.Records < 1 {
		t.Errorf("a record: %q in %d entries", got, len(files))
	}
	if links := lines(files["records/samples/links.ndjson"]); len(links) != 1 || !strings.Contains(links[0], `"direction":"in"`) {
		t.Errorf("its links: %q", links)
	}
	for i, e := range testkit.Events(t, h.d, h.org, request) {
		if i == 0 && !slices.Equal(e.Targets, []string{one["id"].(string)}) {
			t.Errorf("an export of one record begins with the targets %v", e.Targets)
		}
		if slices.Contains(e.Targets, two["id"].(string)) {
			t.Error("an export of one record names another")
		}
	}
}

func TestALongCollectionIsExportedInPagesEachOnTheRecord(t *testing.T) {
	t.Parallel()
	h := open(t, "pooled")
	h.collection("samples")
	scientist := h.as(policy.Scientist)
	items := make([]object, 450)
	for i := range items {
		items[i] = object{"content": object{"n": i, "only_" + fmt.Sprint(i%7): true}}
	}
	made, _ := h.want(201, scientist, "POST", "/collections/samples/records:bulk", object{"items": items})
	files, _, request := h.export(h.as(policy.Analyst), everything)
	got := lines(files["records/samples/records.ndjson"])
	if table := lines(files["records/samples/records.csv"]); len(got) != 450 || len(table) != 451 {
		t.Fatalf("%d records, %d lines", len(got), len(table))
	}
	named := map[string]int{}
	pages := 0
	for _, e := range testkit.Events(t, h.d, h.org, request) {
		if n := len(e.Targets); n > 200 {
			t.Errorf("an event names %d targets", n)
		} else if n > 100 {
			pages++
		}
		for _, target := range e.Targets {
			named[target]++
		}
	}
	for i, item := range made["items"].([]any) {
		rec := item.(object)["id"].(string)
		if !strings.Contains(got[i], rec) || named[rec] != 2 {
			t.Fatalf("record %d is named %d times: once for each of NDJSON and CSV", i, named[rec])
		}
	}
	if pages != 4 {
		t.Errorf("%d full pages, want two for each of NDJSON and CSV", pages)
	}
}

func TestWhoMayNotExportGetsNothing(t *testing.T) {
	t.Parallel()
	h := open(t, "schema")
	h.collection("samples")
	h.put(h.as(policy.Scientist), "samples", `{"content":{"canary":1}}`)
	for _, tt := range []struct {
		name   string
		token  string
		status int
	}{
		{"a scientist", h.as(policy.Scientist), 403},
		{"an organization's admin", h.as(policy.OrgAdmin), 403},
		{"a security admin", h.as(policy.SecurityAdmin), 403},
		{"a stranger", h.people.enter(actortest.With(t, id.NewOrg(), policy.Analyst)), 404},
		{"a platform administrator", h.people.enter(actortest.SystemAdmin(t)), 404},
		{"nobody", "", 401},
	} {
		out, request := h.want(tt.status, tt.token, "POST", "/export", everything)
		if out["code"] == nil {
			t.Errorf("%s: no problem document: %v", tt.name, out)
		}
		org := h.org
		if tt.status != 403 {
			org = id.Installation
		}
		if e := testkit.Events(t, h.d, org, request); len(e) != 1 || e[0].Outcome != audit.Denied || e[0].Action != policy.ExportRun {
			t.Errorf("%s: on record: %+v", tt.name, e)
		}
	}
}

func TestWhoExportsMustBeAllowedToReadAllOfIt(t *testing.T) {
	t.Parallel()
	locked := odd(func(context.Context, feature.Chunks, feature.Scope, feature.Sink) error {
		t.Error("the export ran")
		return nil
	})
	locked.Ops = []feature.Op{feature.Handle(feature.Meta{ID: "read-odd", Method: "GET", Path: "/v1/orgs/{org}/odd", Action: policy.TrailRead, Summary: "Read"},
		func(context.Context, *tenant.Tx, struct{}) (struct{}, error) { return struct{}{}, nil })}
	h := open(t, "pooled", locked)
	_, request := h.want(403, h.as(policy.Analyst), "POST", "/export", everything)
	testkit.WantEvents(t, h.d, h.org, request, testkit.Event{Action: policy.ExportRun, Outcome: audit.Denied, Code: "denied"})
	res, _ := h.ask(t.Context(), h.as(policy.Analyst, policy.SecurityAdmin), "POST", "/export", object{"scope": "collection"})
	_ = res.Body.Close()
	if res.StatusCode != 422 {
		t.Errorf("one who holds both roles: %d", res.StatusCode)
	}
}

func TestAScopeSaysExactlyWhatItMeans(t *testing.T) {
	t.Parallel()
	h := open(t, "pooled")
	h.collection("samples")
	analyst := h.as(policy.Analyst)
	for _, tt := range []struct {
		body    object
		status  int
		pointer string
	}{
		{object{}, 422, "/scope"},
		{object{"scope": "everything"}, 422, "/scope"},
		{object{"scope": "organization", "collection": "samples"}, 422, "/collection"},
		{object{"scope": "organization", "record": id.NewRecord().String()}, 422, "/record"},
		{object{"scope": "collection"}, 422, "/collection"},
		{object{"scope": "collection", "collection": "samples", "record": id.NewRecord().String()}, 422, "/record"},
		{object{"scope": "record", "collection": "samples"}, 422, "/record"},
		{object{"scope": "record", "record": id.NewRecord().String()}, 422, "/collection"},
		{object{"scope": "record", "collection": "samples", "record": "rec_1"}, 422, "/record"},
		{object{"scope": "organization", "format": "pdf"}, 422, ""},
		{object{"scope": "collection", "collection": "nothing"}, 404, ""},
		{object{"scope": "record", "collection": "samples", "record": id.NewRecord().String()}, 404, ""},
	} {
		out, request := h.want(tt.status, analyst, "POST", "/export", tt.body)
		if tt.pointer != "" {
			if errs, _ := out["errors"].([]any); len(errs) != 1 || errs[0].(object)["pointer"] != tt.pointer {
				t.Errorf("%v: %v", tt.body, out)
			}
		}
		e := testkit.Events(t, h.d, h.org, request)
		if last := e[len(e)-1]; last.Outcome == audit.Done || last.Outcome == audit.Opened || last.Code != out["code"] {
			t.Errorf("%v: on record as %+v", tt.body, e)
		}
	}
}

// odd is a feature whose export does what a test says.
func odd(f feature.Export) feature.Feature { return feature.Feature{Name: "odd", Export: f} }

func TestAnExportThatFailsBreaksOff(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func() error{
		"with an error": func() error { return errors.New("the store is gone") },
		"with a panic":  func() error { panic("secret") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, "pooled", odd(func(_ context.Context, _ feature.Chunks, _ feature.Scope, sink feature.Sink) error {
				w, err := sink.Entry("odd/file", time.Now())
				if err != nil {
					return err
				}
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return err
				}
				return end()
			}))
			res, request := h.ask(t.Context(), h.as(policy.Analyst), "POST", "/export", everything)
			defer func() { _ = res.Body.Close() }()
			b, err := io.ReadAll(res.Body)
			if res.StatusCode != 200 || err == nil {
				t.Errorf("%d with %d bytes, and no broken connection", res.StatusCode, len(b))
			}
			if _, err := archive.Verify(bytes.NewReader(b), int64(len(b))); err == nil {
				t.Error("half an export verifies")
			}
			events := testkit.Events(t, h.d, h.org, request)
			last := events[len(events)-1]
			if events[0].Outcome != audit.Opened || last.Outcome != audit.Failed || last.Counts["bytes"] < 1<<20 {
				t.Errorf("on record: %+v", events)
			}
		})
	}
}

func TestAFailureBeforeTheFirstByteIsAProblem(t *testing.T) {
	t.Parallel()
	h := open(t, "pooled", odd(func(context.Context, feature.Chunks, feature.Scope, feature.Sink) error {
		return fault.New(fault.Unavailable, "the object store does not answer")
	}))
	res, request := h.ask(t.Context(), h.as(policy.Analyst), "POST", "/export", everything)
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != 503 || res.Header.Get("Content-Type") != "application/problem+json" || res.Header.Get("Content-Disposition") != "" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	events := testkit.Events(t, h.d, h.org, request)
	if last := events[len(events)-1]; last.Outcome != audit.Failed || last.Code != "unavailable" {
		t.Errorf("on record: %+v", events)
	}
}

func TestWhateverAFileIsCalledItUnpacksSafelyAndKeepsItsName(t *testing.T) {
	t.Parallel()
	names := []string{"odd/1/plain.txt", "odd/2/CON", "odd/3/../../../etc/passwd", "odd/4/a\u202Etxt.exe", "odd/5/a:b*c?.csv", "odd/6/", "odd/7/\\\\host\\share", "odd/8/é ", "odd/9/" + strings.Repeat("x", 300) + ".sdf"}
	h := open(t, "pooled", odd(func(_ context.Context, _ feature.Chunks, _ feature.Scope, sink feature.Sink) error {
		for _, name := range names {
			w, err := sink.Entry(name, time.Now())
			if err != nil {
				return err
			}
			if _, err := io.WriteString(w, name); err != nil {
				return err
			}
		}
		return nil
	}))
	files, m, _ := h.export(h.as(policy.Analyst), everything)
	for i, name := range names {
		e := m.Entries[i]
		var about struct{ Name string }
		if e.About != nil {
			if err := json.Unmarshal(e.About, &about); err != nil {
				t.Fatal(err)
			}
		}
		if files[e.Name] != name || (about.Name != name) != (e.Name == name) {
			t.Errorf("%q became %q, about %s", name, e.Name, e.About)
		}
	}
}

func TestNothingLeavesBeforeItIsOnRecord(t *testing.T) {
	t.Parallel()
	rec := id.NewRecord()
	var h *house
	var seen [2][]audit.Event
	h = open(t, "schema", odd(func(ctx context.Context, in feature.Chunks, _ feature.Scope, _ feature.Sink) error {
		seen[0] = testkit.AllEvents(h.TB, h.d, h.org)
		if err := in.Chunk(ctx, func(_ context.Context, tx *tenant.Tx) error { tx.Touch(rec); return nil }); err != nil {
			return err
		}
		seen[1] = testkit.AllEvents(h.TB, h.d, h.org)
		return nil
	}))
	_, _, request := h.export(h.as(policy.Analyst), everything)
	before, after := seen[0], seen[1]
	if !slices.ContainsFunc(before, func(e audit.Event) bool { return e.Request == request && e.Outcome == audit.Opened }) {
		t.Errorf("the export began with %+v on record", before)
	}
	if e := after[len(after)-1]; len(after) != len(before)+1 || e.Request != request || !slices.Equal(e.Targets, []string{rec.String()}) {
		t.Errorf("a page was handed over with %+v on record", after)
	}
}

func TestACallerWhoGoesAwayEndsTheExport(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	h := open(t, "pooled", odd(func(ctx context.Context, _ feature.Chunks, _ feature.Scope, sink feature.Sink) error {
		w, err := sink.Entry("odd/endless", time.Now())
		for ; err == nil; _, err = w.Write(make([]byte, 1<<16)) {
			if ctx.Err() != nil {
				err = ctx.Err()
				break
			}
		}
		ended <- err
		return err
	}))
	ctx, leave := context.WithCancel(t.Context())
	res, request := h.ask(ctx, h.as(policy.Analyst), "POST", "/export", everything)
	if _, err := io.CopyN(io.Discard, res.Body, 1<<20); err != nil {
		t.Fatal(err)
	}
	leave()
	_ = res.Body.Close()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("it ended without an error")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the export goes on")
	}
	h.Close() // waits for the request's end
	events := testkit.Events(t, h.d, h.org, request)
	if last := events[len(events)-1]; last.Outcome != audit.Failed || last.Counts["bytes"] == 0 {
		t.Errorf("on record: %+v", events)
	}
}

// Not parallel: it measures the memory of the process.
func TestAnExportTakesNoMoreMemoryForMoreData(t *testing.T) {
	peak := uint64(0)
	h := open(t, "pooled", odd(func(_ context.Context, _ feature.Chunks, _ feature.Scope, sink feature.Sink) error {
		w, err := sink.Entry("odd/large", time.Now())
		if err != nil {
			return err
		}
		block := make([]byte, 1<<20)
		for i := range 128 {
			if _, err := w.Write(block); err != nil {
				return err
			}
			if i%16 == 0 {
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapAlloc)
			}
		}
		return nil
	}))
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	res, _ := h.ask(t.Context(), h.as(policy.Analyst), "POST", "/export", everything)
	defer func() { _ = res.Body.Close() }()
	n, err := io.Copy(io.Discard, res.Body)
	if err != nil || n < 128<<20 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if grown := int64(peak) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("128 MiB took %d MiB of memory", grown>>20)
	}
}
