package members_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/feature/members"
	"strongroom/internal/identity"
	"strongroom/internal/store/platform"
	"strongroom/internal/testkit"
	"strongroom/internal/web/api"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const password = "correct horse battery staple"

// house is the API with this feature, on the package's database.
type house struct {
	http.Handler
	doors *testkit.Doors
	root  string // the token of a system administrator
}

var made struct {
	once sync.Once
	h    *house
	err  error
}

func open(t testing.TB) *house {
	t.Helper()
	d := testkit.Open(t)
	made.once.Do(func() { made.h, made.err = build(d) })
	if made.err != nil {
		t.Fatal(made.err)
	}
	return made.h
}

func build(d *testkit.Doors) (*house, error) {
	ctx := context.Background()
	p, err := platform.NewProvisioner(ctx, d.DB.URL("sr_provisioner"))
	if err != nil {
		return nil, err
	}
	s, err := identity.New(identity.Options{Store: d.Platform, Passwords: identity.NewPasswords(identity.PasswordOptions{Wait: time.Minute}),
		Founding: &identity.Founding{KeysOf: d.Keys, CreateKeys: d.CreateOrg, CreatePlace: p.CreateOrg}})
	if err != nil {
		return nil, err
	}
	f := members.Feature(s)
	for _, op := range f.Ops {
		if err := op.Check(); err != nil {
			return nil, err
		}
	}
	server, err := api.New(api.Options{Features: []feature.Feature{f}, Doors: feature.ThroughStores(d.Tenant, d.Platform), Auth: s, Record: d.Tenant, Version: "test"})
	if err != nil {
		return nil, err
	}
	admin := identity.NewPerson{Address: "root@example.org", Name: "Root", Password: seal.NewSecretString(password)}
	if _, _, err := s.CreateSystemAdmin(ctx, platform.Request{Actor: identity.System(id.NewServer())}, admin); err != nil {
		return nil, err
	}
	in, _, err := s.SignIn(ctx, platform.Request{}, admin.Address, admin.Password)
	return &house{server, d, in.Token.Reveal()}, err
}

type object = map[string]any

// send makes a request and reads the answer.
func (h *house) send(t testing.TB, token, method, path string, body any) (int, object, http.Header) {
	t.Helper()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		in = bytes.NewReader(b)
	}
	r := httptest.NewRequestWithContext(t.Context(), method, "https://strongroom.test"+path, in)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var out object
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatalf("%s %s: %d with what is no JSON: %s", method, path, w.Code, w.Body)
		}
	}
	return w.Code, out, w.Header()
}

// want is send where one status is right.
func (h *house) want(t testing.TB, status int, token, method, path string, body any) object {
	t.Helper()
	got, out, _ := h.send(t, token, method, path, body)
	if got != status {
		t.Fatalf("%s %s: %d %v, want %d", method, path, got, out, status)
	}
	return out
}

func address(name string) string {
	return name + "." + strings.ToLower(id.NewRequest().String()[4:]) + "@example.org"
}

// org makes an organization and signs its owner in.
func (h *house) org(t testing.TB) (path, owner, email string) {
	t.Helper()
	email = address("ada")
	out := h.want(t, 201, h.root, "POST", "/v1/orgs", object{"name": "Crystal Lab", "placement": "pooled", "plan": "team",
		"owner": object{"email": email, "name": "Ada", "password": password}})
	if by := out["owned_by"].(object); by["email"] != email || by["owner"] != true || out["roles"] == nil || len(out["roles"].([]any)) != 0 {
		t.Errorf("made: %v", out)
	}
	return "/v1/orgs/" + out["id"].(string), h.signIn(t, email), email
}

func (h *house) signIn(t testing.TB, email string) string {
	t.Helper()
	return h.want(t, 201, "", "POST", "/v1/sessions", object{"email": email, "password": password})["token"].(string)
}

func TestSomebodySignsInLooksAroundAndLeaves(t *testing.T) {
	t.Parallel()
	h := open(t)
	path, _, email := h.org(t)
	in := h.want(t, 201, "", "POST", "/v1/sessions", object{"email": email, "password": password})
	token := in["token"].(string)
	orgs := in["organizations"].([]any)
	if len(orgs) != 1 || "/v1/orgs/"+orgs[0].(object)["id"].(string) != path || orgs[0].(object)["name"] != "Crystal Lab" ||
		in["person"].(object)["email"] != email || !strings.HasPrefix(in["session"].(object)["id"].(string), "ses_") {
		t.Errorf("signed in: %v", in)
	}
	cur := h.want(t, 200, token, "GET", "/v1/sessions/current", nil)
	if _, shown := cur["token"]; shown || cur["person"].(object)["name"] != "Ada" {
		t.Errorf("current: %v", cur)
	}
	list := h.want(t, 200, token, "GET", "/v1/orgs", nil)["items"].([]any)
	if len(list) != 1 || list[0].(object)["plan"] != "team" || list[0].(object)["owner"] != true {
		t.Errorf("organizations: %v", list)
	}
	if one := h.want(t, 200, token, "GET", path, nil); one["name"] != "Crystal Lab" || one["state"] != "active" {
		t.Errorf("organization: %v", one)
	}
	h.want(t, 204, token, "DELETE", "/v1/sessions/current", nil)
	h.want(t, 401, token, "GET", "/v1/sessions/current", nil)
	h.want(t, 401, token, "GET", path, nil)
}

func TestRefusedSignInsReadTheSame(t *testing.T) {
	t.Parallel()
	h := open(t)
	_, _, email := h.org(t)
	var answers []string
	for _, body := range []object{
		{"email": email, "password": "not the right password"},
		{"email": address("nobody"), "password": password},
		{"email": "nobody", "password": password},
	} {
		status, out, header := h.send(t, "", "POST", "/v1/sessions", body)
		if status != 401 || header.Get("WWW-Authenticate") == "" {
			t.Errorf("%v: %d %v", body["email"], status, header)
		}
		delete(out, "request_id")
		b, _ := json.Marshal(out)
		if strings.Contains(string(b), email) || strings.Contains(string(b), password) {
			t.Errorf("the answer repeats what was sent: %s", b)
		}
		answers = append(answers, string(b))
	}
	if len(slices.Compact(answers)) != 1 {
		t.Errorf("the answers differ: %q", answers)
	}
	for _, body := range []any{object{"email": email}, object{"email": email, "password": password, "remember": true}, object{"email": 7, "password": password}} {
		if status, _, _ := h.send(t, "", "POST", "/v1/sessions", body); status != 422 {
			t.Errorf("%v: %d, want 422", body, status)
		}
	}
}

func TestPeopleComeAndGo(t *testing.T) {
	t.Parallel()
	h := open(t)
	path, ada, _ := h.org(t)
	email := address("grace")
	status, grace, header := h.send(t, ada, "POST", path+"/members", object{"email": email, "name": "Grace", "password": password, "roles": []string{"scientist"}})
	if status != 201 || header.Get("Location") != path+"/members/"+grace["id"].(string) || grace["owner"] != false {
		t.Fatalf("added: %d %v %v", status, grace, header)
	}
	at := path + "/members/" + grace["id"].(string)
	token := h.signIn(t, email)
	h.want(t, 403, token, "GET", path+"/members", nil)
	h.want(t, 403, token, "POST", path+"/members", object{"email": address("eve"), "name": "Eve", "password": password, "roles": []string{"org_admin"}})
	h.want(t, 409, ada, "POST", path+"/members", object{"email": email, "name": "Grace", "password": password, "roles": []string{"scientist"}})
	h.want(t, 422, ada, "POST", path+"/members", object{"email": address("x"), "name": "X", "roles": []string{"system_admin"}})
	if out := h.want(t, 422, ada, "POST", path+"/members", object{"email": address("x"), "name": "X", "password": "too short", "roles": []string{"analyst"}}); out["errors"].([]any)[0].(object)["pointer"] != "/password" {
		t.Errorf("a short password: %v", out)
	}

	changed := h.want(t, 200, ada, "PATCH", at, object{"roles": []string{"analyst", "org_admin"}})
	if got := changed["roles"].([]any); len(got) != 2 || got[0] != "analyst" {
		t.Errorf("changed: %v", changed)
	}
	list := h.want(t, 200, token, "GET", path+"/members?limit=1", nil)
	if items := list["items"].([]any); len(items) != 1 || list["next"] == nil {
		t.Errorf("first page: %v", list)
	}
	rest := h.want(t, 200, token, "GET", path+"/members?limit=1&cursor="+list["next"].(string), nil)
	if items := rest["items"].([]any); len(items) != 1 || rest["next"] != nil {
		t.Errorf("second page: %v", rest)
	}
	if out := h.want(t, 400, ada, "GET", path+"/members?cursor="+list["next"].(string), nil); out["errors"].([]any)[0].(object)["pointer"] != "cursor" {
		t.Errorf("somebody else's cursor: %v", out)
	}

	h.want(t, 204, ada, "DELETE", at, nil)
	h.want(t, 404, ada, "DELETE", at, nil)
	h.want(t, 401, token, "GET", path, nil)
}

func TestAStrangerFindsNothing(t *testing.T) {
	t.Parallel()
	h := open(t)
	path, _, _ := h.org(t)
	_, stranger, _ := h.org(t)
	missing := "/v1/orgs/" + id.NewOrg().String()
	for _, tt := range []struct {
		method, path string
		body         any
	}{
		{"GET", "", nil},
		{"GET", "/members", nil},
		{"POST", "/members", object{"email": address("eve"), "name": "Eve", "roles": []string{"analyst"}}},
		{"PATCH", "/members/" + id.NewPerson().String(), object{"roles": []string{"analyst"}}},
		{"DELETE", "/members/" + id.NewPerson().String(), nil},
		{"GET", "/keys", nil},
		{"POST", "/keys", object{"name": "k", "roles": []string{"analyst"}}},
		{"DELETE", "/keys/" + id.NewKey().String(), nil},
	} {
		for _, who := range []string{stranger, h.root} {
			a := h.want(t, 404, who, tt.method, path+tt.path, tt.body)
			b := h.want(t, 404, who, tt.method, missing+tt.path, tt.body)
			delete(a, "request_id")
			delete(b, "request_id")
			if x, y := text(a), text(b); x != y {
				t.Errorf("%s %s: one that exists reads %s, one that does not %s", tt.method, tt.path, x, y)
			}
		}
		h.want(t, 401, "", tt.method, path+tt.path, tt.body)
	}
	h.want(t, 403, stranger, "POST", "/v1/orgs", object{"name": "Mine", "owner": object{"email": address("eve"), "name": "Eve", "password": password}})
}

func text(o object) string {
	b, _ := json.Marshal(o)
	return string(b)
}

func TestAKeyOpensTheAPIUntilItIsRevoked(t *testing.T) {
	t.Parallel()
	h := open(t)
	path, ada, _ := h.org(t)
	status, key, header := h.send(t, ada, "POST", path+"/keys", object{"name": "robot", "roles": []string{"org_admin"}, "scopes": []string{"member.list"}})
	if status != 201 || header.Get("Location") != path+"/keys/"+key["id"].(string) {
		t.Fatalf("made: %d %v", status, key)
	}
	token := key["token"].(string)
	h.want(t, 200, token, "GET", path+"/members", nil)
	h.want(t, 403, token, "GET", path, nil)
	h.want(t, 403, token, "POST", path+"/keys", object{"name": "another", "roles": []string{"org_admin"}})
	h.want(t, 404, token, "GET", "/v1/sessions/current", nil)
	list := h.want(t, 200, ada, "GET", path+"/keys", nil)
	if text(list) == "" || strings.Contains(text(list), token[20:40]) || !strings.Contains(text(list), `"name":"robot"`) {
		t.Errorf("the list: %v", list)
	}
	h.want(t, 422, ada, "POST", path+"/keys", object{"name": "k", "roles": []string{"org_admin"}, "scopes": []string{"everything"}})
	h.want(t, 403, ada, "POST", path+"/keys", object{"name": "k", "roles": []string{"scientist"}})
	h.want(t, 204, ada, "DELETE", path+"/keys/"+key["id"].(string), nil)
	h.want(t, 401, token, "GET", path+"/members", nil)
}

func TestSomebodyWithAnAccountJoinsByCode(t *testing.T) {
	t.Parallel()
	h := open(t)
	path, ada, _ := h.org(t)
	_, alan, email := h.org(t)
	code := h.want(t, 201, alan, "POST", "/v1/sessions/current/join-code", nil)["join_code"].(string)
	h.want(t, 409, ada, "POST", path+"/members", object{"email": email, "name": "Alan", "password": password, "roles": []string{"analyst"}})
	m := h.want(t, 201, ada, "POST", path+"/members", object{"join_code": code, "roles": []string{"analyst"}})
	if m["email"] != email {
		t.Errorf("joined: %v", m)
	}
	out := h.want(t, 201, "", "POST", "/v1/sessions", object{"email": email, "password": password})
	if len(out["organizations"].([]any)) != 2 {
		t.Errorf("belongs to %v", out["organizations"])
	}
}

func TestAChangedPasswordIsTheOnlyOneThatOpens(t *testing.T) {
	t.Parallel()
	h := open(t)
	path, ada, email := h.org(t)
	better := "an even better passphrase"
	h.want(t, 403, ada, "PUT", "/v1/sessions/current/password", object{"password": "not the right password", "new_password": better})
	h.want(t, 204, ada, "PUT", "/v1/sessions/current/password", object{"password": password, "new_password": better})
	h.want(t, 401, ada, "GET", path, nil)
	h.want(t, 401, "", "POST", "/v1/sessions", object{"email": email, "password": password})
	h.want(t, 201, "", "POST", "/v1/sessions", object{"email": email, "password": better})
}

func TestEveryOperationOfThisFeatureIsDescribed(t *testing.T) {
	t.Parallel()
	h := open(t)
	doc := h.want(t, 200, "", "GET", "/openapi.json", nil)
	paths := doc["paths"].(object)
	for path, methods := range map[string][]string{
		"/v1/sessions": {"post"}, "/v1/sessions/current": {"get", "delete"}, "/v1/sessions/current/password": {"put"},
		"/v1/sessions/current/join-code": {"post"}, "/v1/orgs": {"get", "post"}, "/v1/orgs/{org}": {"get"},
		"/v1/orgs/{org}/members": {"get", "post"}, "/v1/orgs/{org}/members/{person}": {"patch", "delete"},
		"/v1/orgs/{org}/keys": {"get", "post"}, "/v1/orgs/{org}/keys/{key}": {"delete"},
	} {
		for _, m := range methods {
			if at, ok := paths[path].(object); !ok || at[m] == nil {
				t.Errorf("%s %s is not described", m, path)
			}
		}
	}
	// The enumeration in the inputs is the policy's.
	for _, r := range policy.Roles {
		if policy.IsOrgRole(r) != strings.Contains(text(doc), `"`+string(r)+`"`) {
			t.Errorf("the description and the policy disagree about the role %s", r)
		}
	}
}
