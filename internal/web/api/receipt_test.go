package api

import (
	"context"
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestTheListOfUnauditedRoutesIsGolden: a route that answers without a record
// is added here by a person, or not at all.
func TestTheListOfUnauditedRoutesIsGolden(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.o.Static = http.NotFoundHandler()
	s, err := New(h.o)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(s.Unaudited(), "\n") + "\n"
	path := filepath.Join("testdata", "unaudited.golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("unaudited routes are\n%s\nthe golden list has\n%s", got, want)
	}
}

// forgetful are operations that answer, or try to, without having been
// recorded: the mistakes that the response writer is there for.
func forgetful(path string) map[string]feature.Op {
	meta := feature.Meta{ID: "forget", Method: "GET", Path: orgPath + "/" + path, Action: policy.RecordRead, Summary: "Forgets."}
	raw := func(fn func(x *feature.Exchange) error) feature.Op {
		return feature.Raw(meta, huma.Operation{}, func(_ context.Context, x *feature.Exchange, _ struct{}) error { return fn(x) })
	}
	return map[string]feature.Op{
		"returns a zero receipt": feature.HandleSelf(meta, func(context.Context, tenant.Request, struct{}) (struct{ Body string }, audit.Receipt, error) {
			return struct{ Body string }{canary}, audit.Receipt{}, nil
		}),
		"fails without a receipt": feature.HandleSelf(meta, func(context.Context, tenant.Request, struct{}) (struct{ Body string }, audit.Receipt, error) {
			return struct{ Body string }{}, audit.Receipt{}, fault.New(fault.Conflict, "no")
		}),
		"writes at once":           raw(func(x *feature.Exchange) error { _, err := io.WriteString(x.Writer, canary); return err }),
		"writes and looks away":    raw(func(x *feature.Exchange) error { _, _ = io.WriteString(x.Writer, canary); return nil }),
		"sends a status":           raw(func(x *feature.Exchange) error { x.Writer.WriteHeader(204); return nil }),
		"sends an interim status":  raw(func(x *feature.Exchange) error { x.Writer.WriteHeader(103); return nil }),
		"flushes":                  raw(func(x *feature.Exchange) error { return http.NewResponseController(x.Writer).Flush() }),
		"takes the connection":     raw(func(x *feature.Exchange) error { _, _, _ = http.NewResponseController(x.Writer).Hijack(); return nil }),
		"hands in an empty one":    raw(func(x *feature.Exchange) error { x.Recorded(audit.Receipt{}); x.Writer.WriteHeader(200); return nil }),
		"returns and does nothing": raw(func(*feature.Exchange) error { return nil }),
		"panics":                   raw(func(*feature.Exchange) error { panic(canary) }),
		"aborts":                   raw(func(*feature.Exchange) error { panic(http.ErrAbortHandler) }),
	}
}

func TestNothingIsAnsweredWithoutAReceipt(t *testing.T) {
	t.Parallel()
	for name, op := range forgetful("forget") {
		t.Run("an operation that "+name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, op)
			sent := false
			w := httptest.NewRecorder()
			h.recorder.onRecord = func() { sent = w.Code != 200 || w.Body.Len() > 0 || w.Flushed }
			r := httptest.NewRequest("GET", h.path(orgPath+"/forget"), nil)
			r.Header.Set("Authorization", "Bearer scientist")
			h.ServeHTTP(w, r)
			if sent {
				t.Error("something was sent before the event was written")
			}
			if want := map[bool]int{true: 409, false: 500}[name == "fails without a receipt"]; w.Code != want {
				t.Errorf("got %d, want %d", w.Code, want)
			}
			if strings.Contains(w.Body.String(), canary) || strings.Contains(h.log.String(), canary) {
				t.Errorf("what was to be sent went out: %s\n%s", w.Body, h.log)
			}
			if seen := h.recorder.all(); len(seen) != 1 {
				t.Errorf("the failure is on record %d times", len(seen))
			}
		})
	}
}

func TestWithoutALogTheOneAnswerIsLater(t *testing.T) {
	t.Parallel()
	h := newHouse(t, forgetful("forget")["returns a zero receipt"])
	h.recorder.down, h.door.down = true, true
	rec := id.NewRecord().String()
	for _, c := range []struct {
		method, path, body string
		edits              []edit
	}{
		{"GET", recordsPath + "/" + rec, "", nil},
		{"POST", recordsPath, validRecord, nil},
		{"POST", recordsPath, `{"title":1}`, nil},
		{"POST", recordsPath, canary, nil},
		{"GET", recordsPath + "/" + rec, "", []edit{as("nobody")}},
		{"GET", recordsPath + "/" + rec, "", []edit{as("stranger")}},
		{"POST", recordsPath, validRecord, []edit{as("analyst")}},
		{"GET", "/v1/nowhere", "", nil},
		{"DELETE", "/v1/status", "", nil},
		{"GET", orgPath + "/forget", "", nil},
		{"POST", "/v1/sessions", `{"email":"a","password":"b"}`, nil},
	} {
		w := h.send(c.method, c.path, c.body, c.edits...)
		if p := problemOf(t, w); p.Status != 503 || p.Code != "unavailable" || p.Errors != nil || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s %s: got %s", c.method, c.path, w.Body)
		}
		for _, name := range []string{"WWW-Authenticate", "Allow", "ETag", "Location"} {
			if w.Header().Get(name) != "" {
				t.Errorf("%s %s: the answer still says %s", c.method, c.path, name)
			}
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/openapi.json"} {
		if w := h.send("GET", path, ""); w.Code != 200 {
			t.Errorf("%s: got %d", path, w.Code)
		}
	}
	// And back by itself.
	h.recorder.down, h.door.down = false, false
	if w := h.send("GET", recordsPath+"/"+rec, ""); w.Code != 200 {
		t.Errorf("the log is back, the answer is %d", w.Code)
	}
}

func TestReadinessSaysNoMoreThanNo(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.o.Ready = func(context.Context) error { return errors.New("password is " + canary) }
	s, err := New(h.o)
	if err != nil {
		t.Fatal(err)
	}
	h.Server = s
	w := h.send("GET", "/readyz", "")
	if p := problemOf(t, w); p.Status != 503 || strings.Contains(w.Body.String()+h.log.String(), canary) {
		t.Errorf("got %s; log %s", w.Body, h.log)
	}
}

func TestAStreamThatBreaksOffIsNotTakenForAWholeOne(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("the connection was not broken off: %v", p)
		}
		if strings.Contains(h.log.String(), canary) {
			t.Error("the log has the cause's text")
		}
	}()
	h.send("GET", orgPath+"/files/"+id.NewFile().String()+"/content", "")
	t.Error("the answer came to an end")
}

func TestAPanicTellsTheCallerNothingAndTheOperatorWhere(t *testing.T) {
	t.Parallel()
	h := newHouse(t, forgetful("forget")["panics"])
	w := h.send("GET", orgPath+"/forget", "")
	if p := problemOf(t, w); p.Status != 500 || p.Detail != "internal error" {
		t.Errorf("got %+v", p)
	}
	if log := h.log.String(); !strings.Contains(log, "receipt_test.go") && !strings.Contains(log, "forgetful") || strings.Contains(log, canary) {
		t.Errorf("the log says %s", log)
	}
}

func TestTheAccessLogHoldsNothingOfTheCallers(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.send("GET", recordsPath+"/"+id.NewRecord().String()+"?cursor="+canary, "", header("User-Agent", canary))
	h.send("GET", "/"+canary, "")
	log := h.log.String()
	for _, s := range []string{canary, h.org.String(), "rec_", "192.0.2.1", "scientist"} {
		if strings.Contains(log, s) {
			t.Errorf("the log holds %q: %s", s, log)
		}
	}
	for _, s := range []string{"route=\"GET " + recordsPath + "/{id}\"", "route=unrouted", "status=422", "status=404", "duration=", "request_id=req_"} {
		if !strings.Contains(log, s) {
			t.Errorf("the log lacks %q: %s", s, log)
		}
	}
}

func TestEveryAnswerCarriesTheHeadersThatKeepBrowsersCareful(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, path := range []string{"/healthz", "/openapi.json", "/v1/nowhere", recordsPath, recordsPath + "/x"} {
		w := h.send("GET", path, "")
		for name, want := range map[string]string{"Strict-Transport-Security": "max-age=63072000", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Referrer-Policy": "no-referrer"} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		if _, err := id.ParseRequest(w.Header().Get(RequestIDHeader)); err != nil {
			t.Errorf("%s: no request identifier", path)
		}
	}
}

func TestAServerRefusesToBeMadeWithoutItsParts(t *testing.T) {
	t.Parallel()
	whole := newHouse(t).o
	for name, change := range map[string]func(*Options){
		"no authenticator": func(o *Options) { o.Auth = nil },
		"no recorder":      func(o *Options) { o.Record = nil },
		"no doors":         func(o *Options) { o.Doors = feature.Doors{} },
		"an operation twice": func(o *Options) {
			o.Features = append(o.Features[:1:1], o.Features[0])
		},
		"two operations on one route": func(o *Options) {
			again := forgetful("files/{id}/content")["panics"]
			o.Features = append(o.Features[:1:1], feature.Feature{Name: "more", Ops: []feature.Op{again}})
		},
	} {
		o := whole
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: made", name)
		}
	}
}
