package api_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
	"strongroom/internal/testkit"
	"strongroom/internal/testkit/apitest"
	"strongroom/internal/web/api"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// The tests of this file go through the real doors: every answer here has a
// receipt that PostgreSQL stands for.

type people map[string]actor.Actor

func (p people) Authenticate(_ context.Context, r *http.Request) (actor.Actor, error) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token == "" {
		return actor.Actor{}, nil
	}
	who, ok := p[token]
	if !ok {
		return actor.Actor{}, fault.New(fault.Unauthenticated, "the token is not valid")
	}
	return who, nil
}

type none struct{}

type thingIn struct {
	ID id.Record `path:"id"`
}

type uploadIn struct {
	Key feature.IdempotencyKey `header:"Idempotency-Key"`
}

// sample is a feature with an operation of each shape.
func sample(s *tenant.Store) feature.Feature {
	const org = "/v1/orgs/{org}"
	downloads := huma.Operation{Responses: map[string]*huma.Response{"200": {Description: "The bytes.",
		Content: map[string]*huma.MediaType{"application/octet-stream": {}}}}}
	uploads := huma.Operation{
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/octet-stream": {}}},
		Responses:   map[string]*huma.Response{"201": {Description: "Stored."}},
	}
	return feature.Feature{Name: "sample", Ops: []feature.Op{
		feature.Handle(feature.Meta{ID: "read-thing", Method: "GET", Path: org + "/things/{id}", Action: policy.RecordRead, Summary: "Reads."},
			func(_ context.Context, tx *tenant.Tx, in thingIn) (feature.Item[string], error) {
				tx.Touch(in.ID)
				return feature.Item[string]{ETag: feature.VersionTag(1), Body: "x"}, nil
			}),
		feature.Handle(feature.Meta{ID: "lose-thing", Method: "DELETE", Path: org + "/things/{id}", Action: policy.RecordDelete, Summary: "Fails."},
			func(_ context.Context, tx *tenant.Tx, in thingIn) (feature.NoContent, error) {
				tx.Touch(in.ID)
				return feature.NoContent{}, fault.New(fault.NotFound, "no such thing")
			}),
		feature.HandlePlatform(feature.Meta{ID: "list-members", Method: "GET", Path: org + "/members", Action: policy.MemberList, Summary: "Lists."},
			func(context.Context, *platform.Tx, feature.Listing) (feature.List[string], error) {
				return feature.List[string]{Body: feature.NewPage[string](nil, "")}, nil
			}),
		feature.HandlePlatform(feature.Meta{ID: "read-status", Method: "GET", Path: "/v1/status", Action: policy.StatusRead, Summary: "Looks."},
			func(context.Context, *platform.Tx, none) (feature.NoContent, error) { return feature.NoContent{}, nil }),
		feature.HandleSelf(feature.Meta{ID: "create-things", Method: "POST", Path: org + "/things:bulk", Action: policy.RecordCreate, Summary: "Creates many.", Shape: feature.Bulk},
			func(ctx context.Context, r tenant.Request, in struct {
				Body struct {
					Items []int `json:"items"`
				}
			}) (feature.NoContent, audit.Receipt, error) {
				_, receipt, err := tenant.Bulk(ctx, s, r, in.Body.Items, func(context.Context, *tenant.Tx, int, []int) ([]int, error) { return nil, nil })
				return feature.NoContent{}, receipt, err
			}),
		feature.Raw(feature.Meta{ID: "download", Method: "GET", Path: org + "/files/{file}", Action: policy.FileDownload, Summary: "Downloads."}, downloads,
			func(ctx context.Context, x *feature.Exchange, in struct {
				File id.File `path:"file"`
			}) error {
				_, receipt, err := tenant.Stream(ctx, s, x.Request, tenant.Steps[none, none]{
					Open: func(_ context.Context, tx *tenant.Tx) (none, error) { tx.Touch(in.File); return none{}, nil },
					Bytes: func(_ context.Context, _ none, opened audit.Receipt) (map[string]int64, error) {
						x.Recorded(opened)
						n, err := io.WriteString(x.Writer, "the bytes")
						return map[string]int64{"bytes": int64(n)}, err
					},
				})
				x.Recorded(receipt)
				return err
			}),
		feature.Raw(feature.Meta{ID: "upload", Method: "POST", Path: org + "/files", Action: policy.FileUpload, Summary: "Uploads."}, uploads,
			func(ctx context.Context, x *feature.Exchange, _ uploadIn) error {
				n, receipt, err := tenant.Stream(ctx, s, x.Request, tenant.Steps[none, int64]{
					Open: func(context.Context, *tenant.Tx) (none, error) { return none{}, nil },
					Bytes: func(context.Context, none, audit.Receipt) (map[string]int64, error) {
						n, err := io.Copy(io.Discard, x.HTTP.Body)
						return map[string]int64{"bytes": n}, err
					},
				})
				x.Recorded(receipt)
				if err != nil {
					return err
				}
				return x.Answer(http.StatusCreated, map[string]int64{"n": n})
			}),
	}}
}

type world struct {
	apitest.World
	doors *testkit.Doors
}

func newWorld(t *testing.T) world {
	t.Helper()
	d := testkit.Open(t)
	auth := people{}
	w := world{doors: d, World: apitest.World{Log: func(t testing.TB, org id.Org) []audit.Event { return testkit.AllEvents(t, d, org) }}}
	for _, name := range []string{platform.PlacementSchema, platform.PlacementPooled} {
		p := apitest.Placement{Name: name, Org: testkit.Org(t, name).ID, Tokens: map[policy.Role]string{}, Stranger: name + "-stranger"}
		for _, r := range policy.Roles {
			p.Tokens[r] = name + "-" + string(r)
			auth[p.Tokens[r]] = actortest.With(t, p.Org, r)
		}
		auth[p.Tokens[policy.SystemAdmin]] = actortest.SystemAdmin(t)
		auth[p.Stranger] = actortest.With(t, testkit.Org(t, name).ID, policy.Scientist, policy.OrgAdmin, policy.SecurityAdmin, policy.Analyst)
		w.Placements = append(w.Placements, p)
	}
	var err error
	w.Server, err = api.New(api.Options{Features: []feature.Feature{sample(d.Tenant)}, Doors: feature.ThroughStores(d.Tenant, d.Platform),
		Auth: auth, Record: d.Tenant, Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestEveryShapeOfOperationIsRefusedAndRecordedAsThePolicySays(t *testing.T) {
	t.Parallel()
	apitest.Access(t, newWorld(t).World)
}

func TestTheDescriptionIsThatOfTheOperations(t *testing.T) {
	t.Parallel()
	apitest.OpenAPI(t, newWorld(t).Server, filepath.Join("testdata", "sample.openapi.golden.json"), api.Update())
}

func (w world) send(method, path, body string) (*httptest.ResponseRecorder, id.Request) {
	p := w.Placements[0]
	r := httptest.NewRequest(method, strings.ReplaceAll(path, "{org}", p.Org.String()), strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+p.Tokens[policy.Scientist])
	if strings.HasPrefix(body, "{") {
		r.Header.Set("Content-Type", "application/json")
	}
	res := httptest.NewRecorder()
	w.Server.ServeHTTP(res, r)
	request, _ := id.ParseRequest(res.Header().Get(api.RequestIDHeader))
	return res, request
}

func TestAnswersAndTheirEventsTellTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	org := w.Placements[0].Org
	thing, file := id.NewRecord(), id.NewFile()
	for _, c := range []struct {
		method, path, body string
		status             int
		events             []testkit.Event
	}{
		{"GET", "/v1/orgs/{org}/things/" + thing.String(), "", 200, []testkit.Event{{Action: policy.RecordRead, Outcome: audit.Done, Targets: []string{thing.String()}}}},
		{"DELETE", "/v1/orgs/{org}/things/" + thing.String(), "", 404, []testkit.Event{{Action: policy.RecordDelete, Outcome: audit.Denied, Code: "not_found"}}},
		{"POST", "/v1/orgs/{org}/things:bulk", `{"items":[1,2]}`, 204, []testkit.Event{{Action: policy.RecordCreate, Outcome: audit.Done}}},
		{"POST", "/v1/orgs/{org}/things:bulk", `{"items":[1,"2"]}`, 422, []testkit.Event{{Action: policy.RecordCreate, Outcome: audit.Refused, Code: "invalid"}}},
		{"POST", "/v1/orgs/{org}/things:bulk", `{"items":[1,`, 400, []testkit.Event{{Action: policy.RecordCreate, Outcome: audit.Refused, Code: "malformed"}}},
		{"GET", "/v1/orgs/{org}/members", "", 403, []testkit.Event{{Action: policy.MemberList, Outcome: audit.Denied, Code: "denied"}}},
		{"GET", "/v1/orgs/{org}/files/" + file.String(), "", 200, []testkit.Event{{Action: policy.FileDownload, Outcome: audit.Opened}, {Action: policy.FileDownload, Outcome: audit.Done}}},
		{"POST", "/v1/orgs/{org}/files", "bytes", 201, []testkit.Event{{Action: policy.FileUpload, Outcome: audit.Opened}, {Action: policy.FileUpload, Outcome: audit.Done}}},
	} {
		res, request := w.send(c.method, c.path, c.body)
		if res.Code != c.status {
			t.Errorf("%s %s: got %d %s", c.method, c.path, res.Code, res.Body)
		}
		got := testkit.Events(t, w.doors, org, request)
		// By their own time: the two events of a stream take different ways
		// into the log, and their places in it are the log's affair.
		slices.SortFunc(got, func(a, b audit.Event) int { return strings.Compare(a.Time, b.Time) })
		if len(got) != len(c.events) {
			t.Errorf("%s %s: %d events, want %d", c.method, c.path, len(got), len(c.events))
			continue
		}
		for i, want := range c.events {
			if e := got[i]; e.Action != want.Action || e.Outcome != want.Outcome || e.Code != want.Code || want.Targets != nil && !slices.Equal(e.Targets, want.Targets) {
				t.Errorf("%s %s: event %d is %+v, want %+v", c.method, c.path, i, e, want)
			}
		}
	}
	res, request := w.send("GET", "/v1/nowhere", "")
	if res.Code != 404 {
		t.Errorf("nowhere: got %d", res.Code)
	}
	testkit.WantEvents(t, w.doors, id.Installation, request, testkit.Event{Action: policy.Unrouted, Outcome: audit.Denied, Code: "not_found"})
	var p api.Problem
	if err := json.Unmarshal(res.Body.Bytes(), &p); err != nil || p.RequestID != request.String() {
		t.Errorf("the problem names request %q", p.RequestID)
	}
}

// TestNoOperationAnswersWithoutItsLog closes the log under stores that work
// otherwise.
func TestNoOperationAnswersWithoutItsLog(t *testing.T) {
	t.Parallel()
	d := testkit.Open(t)
	ctx := t.Context()
	quiet := slog.New(slog.DiscardHandler)
	log, err := audit.Open(ctx, audit.Options{URL: d.DB.URL("sr_audit"), Keys: d.Keys, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	control, err := platform.NewStore(ctx, platform.StoreOptions{URL: d.DB.URL("sr_platform"), Audit: log, Keys: d.Keys, NewLeaf: d.NewLeaf, Capability: d.Capability, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer control.Close()
	o := tenant.Options{Audit: log, Keys: d.Keys, NewLeaf: d.NewLeaf, Capability: d.Capability, Log: quiet, Placements: control.Placements()}
	for i := range o.Slices {
		o.Slices[i] = d.DB.URL(platform.AppLogin(i))
	}
	store, err := tenant.New(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	org := testkit.Org(t, platform.PlacementPooled).ID
	all := []policy.Role{policy.Scientist, policy.Analyst, policy.OrgAdmin, policy.SecurityAdmin}
	s, err := api.New(api.Options{Features: []feature.Feature{sample(store)}, Doors: feature.ThroughStores(store, control),
		Auth: people{"all": actortest.With(t, org, all...)}, Record: store, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	log.Close()
	apitest.NothingWithoutLog(t, s, org, "all")
}
