package records_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"strongroom/internal/base/id"
	"strongroom/internal/feature"
	"strongroom/internal/identity/actor"
	"strongroom/internal/store/audit"
	"strongroom/internal/testkit"
	"strongroom/internal/web/api"
)

// door lets one caller in.
type door struct{ who actor.Actor }

func (d door) Authenticate(context.Context, *http.Request) (actor.Actor, error) { return d.who, nil }

// edge is the API of a lab, as one caller sees it.
type edge struct {
	*lab
	s *api.Server
}

func (l *lab) edge(who actor.Actor) edge {
	l.Helper()
	s, err := api.New(api.Options{Features: []feature.Feature{l.f}, Doors: l.doors, Auth: door{who}, Record: l.d.Tenant, Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		l.Fatal(err)
	}
	return edge{l, s}
}

func (e edge) send(method, path, body string, headers ...string) (*httptest.ResponseRecorder, id.Request) {
	e.Helper()
	r := httptest.NewRequest(method, "/v1/orgs/"+e.org.String()+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	e.s.ServeHTTP(w, r)
	request, err := id.ParseRequest(w.Header().Get(api.RequestIDHeader))
	if err != nil {
		e.Fatalf("%s %s: the answer names no request", method, path)
	}
	return w, request
}

func TestOverHTTPNumbersKeepTheirDigits(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		l := open(t, placement)
		e := l.edge(l.ada)
		const content = `{"a":1.10,"b":12345678901234567890.0,"c":1E+2,"d":"<&>","e":"\u00e9\u2028"}`
		made, request := e.send("POST", "/collections/samples/records", ` { "content" : `+content+` } `)
		if made.Code != 201 || made.Header().Get("ETag") != `"1"` || !strings.Contains(made.Body.String(), `"content":`+content) {
			t.Fatalf("%d %v %s", made.Code, made.Header(), made.Body)
		}
		if ev := testkit.Events(t, l.d, l.org, request); len(ev) != 1 || ev[0].Outcome != audit.Done || len(ev[0].Targets) != 1 {
			t.Errorf("on record: %+v", ev)
		}
		at := strings.TrimPrefix(made.Header().Get("Location"), "/v1/orgs/"+l.org.String())
		for _, path := range []string{at, "/collections/samples/records", at + "/history"} {
			if got, _ := e.send("GET", path, ""); got.Code != 200 || !strings.Contains(got.Body.String(), `"content":`+content) {
				t.Errorf("GET %s: %d %s", path, got.Code, got.Body)
			}
		}
		put, _ := e.send("PUT", at, `{"content":{"a":2.00}}`, "If-Match", `"1"`)
		if put.Code != 200 || put.Header().Get("ETag") != `"2"` || !strings.Contains(put.Body.String(), `"content":{"a":2.00}`) {
			t.Errorf("%d %v %s", put.Code, put.Header(), put.Body)
		}
	})
}

func TestOverHTTPAMalformedRequestIsRefusedAtItsPlace(t *testing.T) {
	t.Parallel()
	l := open(t, "pooled")
	e := l.edge(l.ada)
	r := l.as(l.ada).put(`{}`)
	at := "/collections/samples/records/" + r.ID.String()
	for _, tt := range []struct {
		method, path, body string
		headers            []string
		status             int
		pointer            string
	}{
		{"POST", "/collections/samples/records", `{}`, nil, 422, "/content"},
		{"POST", "/collections/samples/records", `{"content":[]}`, nil, 422, "/content"},
		{"POST", "/collections/samples/records", `{"content":{},"visibility":"secret"}`, nil, 422, "/visibility"},
		{"POST", "/collections/samples/records", `{"content":{},"owner":"me"}`, nil, 422, ""},
		{"POST", "/collections/samples/records", `{"content":{"a":1,"a":2}}`, nil, 400, ""},
		{"POST", "/collections/samples/records", `{"content":{}}`, []string{"Idempotency-Key", strings.Repeat("k", 129)}, 400, "Idempotency-Key"},
		{"POST", "/collections/samples/records:bulk", `{"items":[]}`, nil, 422, "/items"},
		{"POST", "/collections/samples/records:bulk", `{"items":[{"content":{}},{"content":7}]}`, nil, 422, "/items/1/content"},
		{"PUT", at, `{"content":{}}`, nil, 428, "If-Match"},
		{"PUT", at, `{"content":{}}`, []string{"If-Match", "*"}, 400, "If-Match"},
		{"PUT", at, `{"content":{}}`, []string{"If-Match", `"2"`}, 412, "If-Match"},
		{"DELETE", at, "", nil, 428, "If-Match"},
		{"GET", "/collections/samples/records?limit=0", "", nil, 422, "limit"},
		{"GET", "/collections/samples/records?cursor=x", "", nil, 400, "cursor"},
		{"GET", "/collections/samples/records/rec_x", "", nil, 404, ""},
		{"GET", "/collections/samples/records/" + id.NewFile().String(), "", nil, 404, ""},
		{"POST", at + "/links", `{"to":"` + r.ID.String() + `","relation":""}`, nil, 422, "/relation"},
	} {
		got, request := e.send(tt.method, tt.path, tt.body, tt.headers...)
		var p api.Problem
		if err := json.Unmarshal(got.Body.Bytes(), &p); err != nil || got.Code != tt.status {
			t.Errorf("%s %s %s: %d %s, want %d", tt.method, tt.path, tt.body, got.Code, got.Body, tt.status)
			continue
		}
		if tt.pointer != "" && (len(p.Errors) != 1 || p.Errors[0].Pointer != tt.pointer) {
			t.Errorf("%s %s %s: %s", tt.method, tt.path, tt.body, got.Body)
		}
		if ev := testkit.Events(t, l.d, l.org, request); len(ev) != 1 || ev[0].Outcome == audit.Done || ev[0].Code != p.Code {
			t.Errorf("%s %s: on record: %+v", tt.method, tt.path, ev)
		}
	}
	if n := l.count(); n != 1 {
		t.Errorf("%d records are there", n)
	}
}

func TestOverHTTPARepeatedRequestIsKnownByItsKey(t *testing.T) {
	t.Parallel()
	l := open(t, "schema")
	e := l.edge(l.ada)
	const path = "/collections/samples/records"
	var locations []string
	for range 2 {
		got, _ := e.send("POST", path, `{"content":{"n":1}}`, "Idempotency-Key", "k1")
		if got.Code != 201 {
			t.Fatalf("%d %s", got.Code, got.Body)
		}
		locations = append(locations, got.Header().Get("Location"))
	}
	if locations[0] != locations[1] {
		t.Errorf("two records: %v", locations)
	}
	if got, _ := e.send("POST", path, `{"content":{"n":2}}`, "Idempotency-Key", "k1"); got.Code != 422 || !strings.Contains(got.Body.String(), "key_reused") {
		t.Errorf("another body: %d %s", got.Code, got.Body)
	}
	first, _ := e.send("POST", path+":bulk", `{"items":[{"content":{"n":1}},{"content":{"n":2}}]}`, "Idempotency-Key", "k2")
	again, _ := e.send("POST", path+":bulk", `{"items":[{"content":{"n":1}},{"content":{"n":2}}]}`, "Idempotency-Key", "k2")
	if first.Code != 201 || again.Code != 201 || first.Body.String() != again.Body.String() {
		t.Errorf("%d %s, then %d %s", first.Code, first.Body, again.Code, again.Body)
	}
	if n := l.count(); n != 3 {
		t.Errorf("%d records are there", n)
	}
}
