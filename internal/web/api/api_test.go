package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/danielgtaylor/huma/v2"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/identity/actor"
	"strongroom/internal/identity/actortest"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
)

// The tests of this package are about the edge alone. Behind it stands a door
// that opens without a database; the suites of app and testkit send the same
// requests through the real one.

// receipt forges what only audit can make: there is no log here.
func receipt() (r audit.Receipt) {
	*(*id.Event)(unsafe.Pointer(&r)) = id.NewEvent()
	return r
}

type fakeDoor struct {
	mu   sync.Mutex
	seen []tenant.Request
	down bool
}

func (d *fakeDoor) note(r tenant.Request) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen = append(d.seen, r)
	if d.down {
		return fault.New(fault.Unavailable, "the log is down")
	}
	return nil
}

func (d *fakeDoor) Do(ctx context.Context, r tenant.Request, fn func(context.Context, *tenant.Tx) (any, error)) (any, audit.Receipt, error) {
	if err := d.note(r); err != nil {
		return nil, audit.Receipt{}, err
	}
	v, err := fn(ctx, nil)
	return v, receipt(), err
}

type fakePlatformDoor struct{ *fakeDoor }

func (d fakePlatformDoor) Do(ctx context.Context, r platform.Request, fn func(context.Context, *platform.Tx) (any, error)) (any, audit.Receipt, error) {
	if err := d.note(tenant.Request{Actor: r.Actor, Org: r.Org, Action: r.Action, ID: r.ID, Client: r.Client}); err != nil {
		return nil, audit.Receipt{}, err
	}
	v, err := fn(ctx, nil)
	return v, receipt(), err
}

type refused struct {
	request tenant.Request
	kind    fault.Kind
}

type fakeRecorder struct {
	mu   sync.Mutex
	seen []refused
	down bool
	// onRecord runs when the event is being written.
	onRecord func()
}

func (f *fakeRecorder) Refused(_ context.Context, r tenant.Request, cause error) (audit.Receipt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.onRecord != nil {
		f.onRecord()
	}
	if f.down {
		return audit.Receipt{}, fault.New(fault.Unavailable, "the log is down")
	}
	f.seen = append(f.seen, refused{r, fault.From(cause).Kind})
	return receipt(), nil
}

func (f *fakeRecorder) all() []refused {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]refused(nil), f.seen...)
}

type tokens map[string]actor.Actor

func (a tokens) Authenticate(_ context.Context, r *http.Request) (actor.Actor, error) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return actor.Actor{}, fault.New(fault.Unauthenticated, "sign in first")
	}
	if token == "broken" {
		return actor.Actor{}, fault.Wrap(fault.Unavailable, errors.New("database is down"), "sign-in cannot be checked now")
	}
	who, ok := a[token]
	if !ok {
		return actor.Actor{}, fault.New(fault.Unauthenticated, "the token is not valid")
	}
	return who, nil
}

// house is a server with operations of every shape.
type house struct {
	*Server
	door     *fakeDoor
	recorder *fakeRecorder
	org      id.Org
	log      *bytes.Buffer
	ran      int // operations that were reached
	last     any // the input of the last one
}

type record struct {
	ID      id.Record      `json:"id"`
	Title   string         `json:"title"`
	Content feature.Object `json:"content"`
}

type createIn struct {
	Kind string                 `path:"kind" pattern:"^[a-z]+$" maxLength:"20"`
	Key  feature.IdempotencyKey `header:"Idempotency-Key"`
	Body struct {
		Title   string         `json:"title" maxLength:"20" minLength:"1"`
		Content feature.Object `json:"content"`
		Count   int32          `json:"count,omitempty" maximum:"10"`
		Exact   feature.JSON   `json:"exact,omitempty"`
		Mail    string         `json:"mail,omitempty" format:"email"`
		Tags    []string       `json:"tags,omitempty" maxItems:"3"`
		State   string         `json:"state,omitempty" enum:"open,closed"`
		Parts   []part         `json:"parts,omitempty"`
	}
}

type part struct {
	Name string `json:"name"`
}

type updateIn struct {
	Kind    string          `path:"kind"`
	ID      id.Record       `path:"id"`
	IfMatch feature.IfMatch `header:"If-Match"`
	Body    struct {
		Title string `json:"title"`
	}
}

type getIn struct {
	Kind string    `path:"kind"`
	ID   id.Record `path:"id"`
}

type listIn struct {
	Kind string `path:"kind"`
	feature.Listing
}

type fileIn struct {
	ID id.File `path:"id"`
}

const (
	orgPath     = "/v1/orgs/{org}"
	recordsPath = orgPath + "/collections/{kind}/records"
)

func newHouse(t testing.TB, more ...feature.Op) *house {
	t.Helper()
	h := &house{door: &fakeDoor{}, recorder: &fakeRecorder{}, org: id.NewOrg(), log: &bytes.Buffer{}}
	ran := func(in any) { h.ran++; h.last = in }
	create := func(_ context.Context, _ *tenant.Tx, in createIn) (feature.Created[record], error) {
		ran(in)
		r := record{ID: id.NewRecord(), Title: in.Body.Title, Content: in.Body.Content}
		return feature.Created[record]{Location: "/there", ETag: feature.VersionTag(1), Body: r}, nil
	}
	get := func(_ context.Context, _ *tenant.Tx, in getIn) (feature.Item[record], error) {
		ran(in)
		return feature.Item[record]{ETag: feature.VersionTag(7), Body: record{ID: in.ID, Title: "a", Content: feature.Object(`{"x":1.10}`)}}, nil
	}
	meta := func(id, method, path string, a policy.Action) feature.Meta {
		return feature.Meta{ID: id, Method: method, Path: path, Action: a, Summary: "Does " + id + "."}
	}
	with := func(m feature.Meta, edit func(*feature.Meta)) feature.Meta { edit(&m); return m }
	ops := append([]feature.Op{
		feature.Handle(with(meta("create-record", "POST", recordsPath, policy.RecordCreate), func(m *feature.Meta) { m.Status = 201; m.MaxBody = 4096 }), create),
		feature.Handle(meta("get-record", "GET", recordsPath+"/{id}", policy.RecordRead), get),
		feature.Handle(meta("list-records", "GET", recordsPath, policy.RecordList), func(_ context.Context, _ *tenant.Tx, in listIn) (feature.List[record], error) {
			ran(in)
			return feature.List[record]{Body: feature.NewPage[record](nil, "")}, nil
		}),
		feature.Handle(meta("update-record", "PUT", recordsPath+"/{id}", policy.RecordUpdate), func(_ context.Context, _ *tenant.Tx, in updateIn) (feature.NoContent, error) {
			ran(in)
			if in.IfMatch.Version() != 3 {
				return feature.NoContent{}, fault.New(fault.Stale, "the record has changed")
			}
			return feature.NoContent{}, nil
		}),
		feature.Handle(meta("restore-record", "POST", recordsPath+"/{id}:restore", policy.RecordRestore), get),
		feature.HandleSelf(with(meta("create-records", "POST", recordsPath+":bulk", policy.RecordCreate), func(m *feature.Meta) { m.Shape = feature.Bulk }),
			func(_ context.Context, _ tenant.Request, in createIn) (feature.NoContent, audit.Receipt, error) {
				ran(in)
				return feature.NoContent{}, receipt(), nil
			}),
		feature.HandlePlatform(with(meta("sign-in", "POST", "/v1/sessions", policy.SessionCreate), func(m *feature.Meta) { m.Status = 201; m.MaxBody = 16 << 10 }),
			func(_ context.Context, _ *platform.Tx, in struct {
				Body struct {
					Email    string `json:"email"`
					Password string `json:"password" maxLength:"64"`
				}
			}) (struct {
				Body struct {
					Token string `json:"token"`
				}
			}, error) {
				ran(in)
				return struct {
					Body struct {
						Token string `json:"token"`
					}
				}{}, nil
			}),
		feature.HandlePlatform(meta("get-status", "GET", "/v1/status", policy.StatusRead), func(context.Context, *platform.Tx, struct{}) (feature.NoContent, error) {
			ran(nil)
			return feature.NoContent{}, nil
		}),
		feature.Raw(with(meta("upload-file", "POST", orgPath+"/files", policy.FileUpload), func(m *feature.Meta) { m.Status = 201 }), huma.Operation{},
			func(_ context.Context, x *feature.Exchange, _ struct{}) error {
				x.Recorded(receipt())
				b, err := io.ReadAll(x.HTTP.Body)
				if err != nil {
					return err
				}
				ran(b)
				return x.Answer(http.StatusCreated, map[string]int{"size": len(b)})
			}),
		feature.Raw(meta("download-file", "GET", orgPath+"/files/{id}/content", policy.FileDownload), huma.Operation{},
			func(_ context.Context, x *feature.Exchange, in fileIn) error {
				ran(in)
				if x.HTTP.Header.Get("Range") != "" {
					x.Recorded(receipt())
					return feature.RangeError{Size: 10}
				}
				x.Recorded(receipt())
				if _, err := x.Writer.Write([]byte("half of it")); err != nil {
					return err
				}
				return errors.New("the disk broke: hunter2")
			}),
	}, more...)
	s, err := New(Options{
		Features: []feature.Feature{{Name: "sample", Ops: ops}},
		Doors:    feature.Doors{Tenant: h.door, Platform: fakePlatformDoor{h.door}},
		Auth: tokens{"scientist": actortest.With(t, h.org, policy.Scientist), "analyst": actortest.With(t, h.org, policy.Analyst),
			"stranger": actortest.With(t, id.NewOrg(), policy.Scientist), "system": actortest.SystemAdmin(t)},
		Record: h.recorder, Version: "test",
		Log: slog.New(slog.NewTextHandler(&locked{w: h.log}, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Server = s
	return h
}

// locked lets a test read the log that the server writes.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// path fills in the organization.
func (h *house) path(p string) string {
	return strings.NewReplacer("{org}", h.org.String(), "{kind}", "samples").Replace(p)
}

type edit func(*http.Request)

func header(name, value string) edit { return func(r *http.Request) { r.Header.Set(name, value) } }

func as(token string) edit { return header("Authorization", "Bearer "+token) }

func (h *house) send(method, path, body string, edits ...edit) *httptest.ResponseRecorder {
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, h.path(path), rd)
	r.Header.Set("Authorization", "Bearer scientist")
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, e := range edits {
		e(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func problemOf(t testing.TB, w *httptest.ResponseRecorder) Problem {
	t.Helper()
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("status %d: the answer is %q, not a problem: %s", w.Code, got, w.Body)
	}
	var p Problem
	d := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	if p.Status != w.Code || p.Title == "" || p.Type != "about:blank" || p.Code == "" {
		t.Errorf("the problem contradicts itself: %+v", p)
	}
	if _, err := id.ParseRequest(p.RequestID); err != nil || p.RequestID != w.Header().Get(RequestIDHeader) {
		t.Errorf("the problem names request %q, the header %q", p.RequestID, w.Header().Get(RequestIDHeader))
	}
	return p
}

const validRecord = `{"title":"GaAs 7","content":{"t":580}}`

func TestARequestPassesThroughTheDoorWithWhatItSaid(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	w := h.send("POST", recordsPath, validRecord, header("Idempotency-Key", "k-1"), header(PurposeHeader, "analysis"), header("User-Agent", "lab\x01/1"),
		header(RequestIDHeader, "req_00000000000000000000000001"), header("X-Request-Id", "mine"), header("X-Forwarded-For", "10.0.0.1"))
	if w.Code != 201 || w.Header().Get("ETag") != `"1"` || w.Header().Get("Location") != "/there" || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("got %d %v %s", w.Code, w.Header(), w.Body)
	}
	r := h.door.seen[0]
	if r.Org != h.org || r.Action != policy.RecordCreate || r.Purpose != tenant.Analysis || r.Actor.IsNobody() || r.Client.Address != "192.0.2.1" || r.Client.Agent != "lab/1" {
		t.Errorf("the door saw %+v", r)
	}
	if r.ID.String() != w.Header().Get(RequestIDHeader) || r.ID.String() == "req_00000000000000000000000001" || time.Since(r.ID.Time()) > time.Minute {
		t.Errorf("the request's identifier is not of our own making: %s", r.ID)
	}
	in := h.last.(createIn)
	if string(in.Key.Key()) != "k-1" || len(in.Key.Fingerprint()) != 32 || in.Kind != "samples" {
		t.Errorf("the operation saw %+v", in)
	}
	first := in.Key
	h.send("POST", recordsPath, `{"title":"GaAs 8","content":{}}`, header("Idempotency-Key", "k-1"))
	if bytes.Equal(first.Fingerprint(), h.last.(createIn).Key.Fingerprint()) {
		t.Error("two requests have one fingerprint")
	}
	if len(h.recorder.all()) != 0 {
		t.Error("a success was recorded as a refusal")
	}
}

func TestTheCallersDigitsSurvive(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const exact = `{"a":1.10,"b":10000000000000000000000000000000001,"c":1E400,"d":"\u00e9<&>","e":[ 0.1,-0 ]}`
	w := h.send("POST", recordsPath, `{"title":"x","exact":`+exact+`,"content":`+exact+`}`)
	if w.Code != 201 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	in := h.last.(createIn)
	if string(in.Body.Exact) != exact || string(in.Body.Content) != exact {
		t.Errorf("the operation got %s and %s", in.Body.Exact, in.Body.Content)
	}
	if !strings.Contains(w.Body.String(), `"a":1.10,"b":10000000000000000000000000000000001,"c":1E400,"d":"\u00e9<&>"`) {
		t.Errorf("the answer has other digits: %s", w.Body)
	}
}

func TestVerbsAndResourcesAreToldApart(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	rec := id.NewRecord().String()
	for path, want := range map[string]int{
		"POST " + recordsPath + "/" + rec + ":restore":   200,
		"GET " + recordsPath + "/" + rec:                 200,
		"HEAD " + recordsPath + "/" + rec:                200,
		"POST " + recordsPath + "/" + rec + "/:restore":  404,
		"POST " + recordsPath + "/" + rec + ":erase":     404,
		"GET " + recordsPath + "/" + rec + ":restore":    405,
		"PUT " + recordsPath + ":bulk":                   405,
		"GET " + recordsPath + ":erase":                  404,
		"POST " + recordsPath + "/" + rec + "/restore":   404,
		"POST " + recordsPath + "/" + rec + ":restore:x": 404,
		"GET " + recordsPath + "/" + rec + ":":           404,
		"GET " + recordsPath + "/" + rec + "/":           404,
		"GET //v1/status":                                404,
		"GET /v1/../v1/status":                           404,
		"GET /v1/./status":                               404,
		"GET /v1/%73tatus%00":                            404,
		"GET /v1/orgs%2Fx":                               404,
		"GET /":                                          404,
		"GET /V1/status":                                 404,
		"GET /v1/nothing":                                404,
		"DELETE /v1/status":                              405,
		"OPTIONS /v1/status":                             405,
		"TRACE /v1/status":                               405,
		"BREW /v1/status":                                405,
		"POST /healthz":                                  404,
	} {
		method, p, _ := strings.Cut(path, " ")
		w := h.send(method, p, "")
		if w.Code != want {
			t.Errorf("%s: got %d, want %d", path, w.Code, want)
		}
		if want == 405 && w.Header().Get("Allow") == "" {
			t.Errorf("%s: no Allow header", path)
		}
		if want >= 400 && method != "HEAD" {
			problemOf(t, w)
		}
	}
	if w := h.send("BREW", recordsPath, ""); w.Header().Get("Allow") != "GET, HEAD, POST" {
		t.Errorf("Allow is %q", w.Header().Get("Allow"))
	}
}
