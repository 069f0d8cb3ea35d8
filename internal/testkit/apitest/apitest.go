// Package apitest tests what must hold for every operation of the API,
// whichever feature it comes from.
//
// It promises that no operation is left out: the operations are those that
// the server under test serves, so that one without a test of its refusals
// cannot be added. [Access] tries each of them as everybody, in each
// placement, against the policy's table; [NothingWithoutLog] tries each of
// them while the log is down; [OpenAPI] holds the description to the
// operations and to its golden file. A new rule for all operations goes here.
package apitest

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/store/audit"
	"strongroom/internal/web/api"
)

// World is a server with people in it.
type World struct {
	Server     *api.Server
	Placements []Placement
	// Log returns every event of an organization's log, once all that is
	// pending has its place there.
	Log func(t testing.TB, org id.Org) []audit.Event
}

// Placement is one organization under test. A token is what follows "Bearer".
type Placement struct {
	Name     string
	Org      id.Org
	Tokens   map[policy.Role]string // holders of one role each, SystemAdmin among them
	Stranger string                 // holds every role in another organization
}

// caller is somebody who tries an operation.
type caller struct {
	name  string
	token string
	role  policy.Role // "" for nobody and the stranger
}

func (p Placement) callers(t *testing.T) []caller {
	t.Helper()
	all := []caller{{name: "nobody"}, {name: "a stranger", token: p.Stranger}}
	for _, r := range policy.Roles {
		token := p.Tokens[r]
		if token == "" {
			t.Fatalf("apitest: placement %s has no token of a %s", p.Name, r)
		}
		all = append(all, caller{string(r), token, r})
	}
	return all
}

// refusal returns the status with which c must be refused, or 0 where c is
// let in. It is written down apart from the edge's own decision, so that a
// slip in one shows against the other.
func refusal(op feature.Op, c caller) int {
	standing := policy.StandingOf(op.Action)
	switch {
	case standing == policy.Anyone:
		return 0
	case c.token == "":
		return http.StatusUnauthorized
	case standing == policy.SignedIn:
		return 0
	case !op.InOrg():
		if c.role == policy.SystemAdmin && policy.Allow([]policy.Role{policy.SystemAdmin}, op.Action) {
			return 0
		}
		return http.StatusForbidden
	case c.role == "" || c.role == policy.SystemAdmin:
		return http.StatusNotFound
	case !policy.Allow([]policy.Role{c.role}, op.Action):
		return http.StatusForbidden
	}
	return 0
}

// Access tries every operation as nobody, as a stranger and in every role, in
// every placement: the answer is the one that the policy's table demands, and
// every attempt is on record.
func Access(t *testing.T, w World) {
	ops := w.Server.Ops()
	if len(ops) == 0 || len(w.Placements) == 0 {
		t.Fatal("apitest: nothing to test")
	}
	// What a caller does to her own session comes last: ending it would turn
	// every later answer into 401.
	last := func(o feature.Op) int {
		if o.Action == policy.SessionEnd {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(ops, func(a, b feature.Op) int { return last(a) - last(b) })
	type attempt struct {
		where   string
		request id.Request
		denied  bool
	}
	var attempts []attempt
	for _, p := range w.Placements {
		for _, op := range ops {
			refused, admitted := 0, 0
			for _, c := range p.callers(t) {
				where := fmt.Sprintf("%s, %s as %s", p.Name, op.ID, c.name)
				res := try(w.Server, op, p.Org, c.token)
				want := refusal(op, c)
				switch {
				case want != 0 && res.Code != want:
					t.Errorf("%s: got %d, want %d", where, res.Code, want)
				case want == 0 && slices.Contains([]int{401, 403, 405, 500, 503}, res.Code):
					t.Errorf("%s: got %d, want to be let in: %s", where, res.Code, res.Body)
				}
				if want != 0 {
					refused++
				} else {
					admitted++
				}
				request, err := id.ParseRequest(res.Header().Get(api.RequestIDHeader))
				if err != nil {
					t.Errorf("%s: the answer names no request", where)
					continue
				}
				attempts = append(attempts, attempt{where, request, want != 0})
			}
			if admitted == 0 {
				t.Errorf("%s: nobody may %s: the operation cannot be used", op.ID, op.Action)
			}
			if refused == 0 && policy.StandingOf(op.Action) != policy.Anyone {
				t.Errorf("%s: nobody is refused: the operation has no refusal to test", op.ID)
			}
		}
	}
	outcomes := map[id.Request]audit.Outcome{}
	logs := []id.Org{id.Installation}
	for _, p := range w.Placements {
		logs = append(logs, p.Org)
	}
	for _, org := range logs {
		for _, e := range w.Log(t, org) {
			outcomes[e.Request] = e.Outcome
		}
	}
	for _, a := range attempts {
		switch outcome, ok := outcomes[a.request]; {
		case !ok:
			t.Errorf("%s: the attempt is not on record", a.where)
		case a.denied && outcome != audit.Denied:
			t.Errorf("%s: the refusal is on record as %s", a.where, outcome)
		}
	}
}

// NothingWithoutLog tries every operation on a server whose log is down: the
// one answer is 503, and the golden list of unaudited routes goes on.
func NothingWithoutLog(t *testing.T, s *api.Server, org id.Org, token string) {
	t.Helper()
	for _, op := range s.Ops() {
		for _, as := range []string{token, "", "sr_key_none"} {
			res := try(s, op, org, as)
			var p api.Problem
			if err := json.Unmarshal(res.Body.Bytes(), &p); err != nil || res.Code != http.StatusServiceUnavailable || p.Code != "unavailable" || p.Errors != nil {
				t.Errorf("%s: got %d %s, want 503 and nothing else", op.ID, res.Code, res.Body)
			}
		}
	}
	for _, route := range s.Unaudited() {
		method, path, _ := strings.Cut(route, " ")
		if strings.HasSuffix(path, "*") || path == "/readyz" {
			continue
		}
		res := httptest.NewRecorder()
		s.ServeHTTP(res, httptest.NewRequest(method, path, nil))
		if res.Code != http.StatusOK {
			t.Errorf("%s: got %d", route, res.Code)
		}
	}
}

// try sends a request that is right in form as far as that can be known from
// the operation's declaration.
func try(h http.Handler, op feature.Op, org id.Org, token string) *httptest.ResponseRecorder {
	body := ""
	switch {
	case op.HasBody():
		body = "{}"
	case op.Streams() && op.Method != http.MethodGet:
		body = "x"
	}
	r := httptest.NewRequest(op.Method, Path(op, org), strings.NewReader(body))
	if op.HasBody() {
		r.Header.Set("Content-Type", "application/json")
	}
	if op.NeedsMatch() {
		r.Header.Set("If-Match", `"1"`)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

var wildcard = regexp.MustCompile(`\{([a-z]+)\}`)

// Path fills an operation's path: with org, and with identifiers of the right
// kind of things that do not exist.
func Path(op feature.Op, org id.Org) string {
	return wildcard.ReplaceAllStringFunc(op.Path, func(w string) string {
		name := w[1 : len(w)-1]
		if name == "org" {
			return org.String()
		}
		for _, f := range reflect.VisibleFields(op.In()) {
			if f.Tag.Get("path") == name {
				return sample(f.Type)
			}
		}
		return "none"
	})
}

func sample(t reflect.Type) string {
	u, ok := reflect.New(t).Interface().(encoding.TextUnmarshaler)
	if !ok {
		return "none"
	}
	for _, text := range []string{id.NewRecord().String(), id.NewFile().String(), id.NewPerson().String(), id.NewKey().String(), id.NewLink().String(),
		id.NewCollection().String(), id.NewEvent().String(), id.NewSession().String(), id.NewJob().String(), id.NewMembership().String(), id.NewReport().String()} {
		if u.UnmarshalText([]byte(text)) == nil {
			return text
		}
	}
	return "none"
}

// OpenAPI holds the description of s to the operations it serves, and to the
// golden file at path, which update rewrites.
func OpenAPI(t *testing.T, s *api.Server, path string, update bool) {
	t.Helper()
	doc := s.OpenAPI()
	describes(t, s, doc)
	if update {
		if err := os.WriteFile(path, doc, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run the test with -update", err)
	}
	if !bytes.Equal(doc, want) {
		t.Errorf("the API's description has changed: look at the difference after running the test with -update. The first one is at line %d", firstDifference(doc, want))
	}
}

func firstDifference(a, b []byte) int {
	x, y := bytes.Split(a, []byte("\n")), bytes.Split(b, []byte("\n"))
	for i := range min(len(x), len(y)) {
		if !bytes.Equal(x[i], y[i]) {
			return i + 1
		}
	}
	return min(len(x), len(y)) + 1
}

type operation struct {
	ID         string                            `json:"operationId"`
	Summary    string                            `json:"summary"`
	Action     string                            `json:"x-strongroom-action"`
	Security   []map[string][]string             `json:"security"`
	Parameters []struct{ Name, In string }       `json:"parameters"`
	Responses  map[string]map[string]any         `json:"responses"`
	Body       *struct{ Content map[string]any } `json:"requestBody"`
}

func describes(t *testing.T, s *api.Server, raw []byte) {
	t.Helper()
	var doc struct {
		OpenAPI    string
		Paths      map[string]map[string]operation
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") {
		t.Errorf("the description is OpenAPI %s", doc.OpenAPI)
	}
	for _, m := range regexp.MustCompile(`"#/components/schemas/([^"]+)"`).FindAllSubmatch(raw, -1) {
		if doc.Components.Schemas[string(m[1])] == nil {
			t.Errorf("the schema %s is referred to and missing", m[1])
		}
	}
	described := 0
	for _, byMethod := range doc.Paths {
		described += len(byMethod)
	}
	ops := s.Ops()
	if described != len(ops) {
		t.Errorf("%d operations are described, %d are served", described, len(ops))
	}
	for _, op := range ops {
		d := doc.Paths[op.Path][strings.ToLower(op.Method)]
		if d.ID != op.ID || d.Summary == "" || d.Action != string(op.Action) {
			t.Errorf("%s: described as %+v", op.ID, d)
			continue
		}
		if open := policy.StandingOf(op.Action) == policy.Anyone; open == (len(d.Security) > 0) {
			t.Errorf("%s: its security is %v", op.ID, d.Security)
		}
		for _, m := range wildcard.FindAllStringSubmatch(op.Path, -1) {
			if !slices.ContainsFunc(d.Parameters, func(p struct{ Name, In string }) bool { return p.In == "path" && p.Name == m[1] }) {
				t.Errorf("%s: the parameter %s is not described", op.ID, m[1])
			}
		}
		success := 0
		for status := range d.Responses {
			if strings.HasPrefix(status, "2") {
				success++
			}
		}
		if success == 0 {
			t.Errorf("%s: no success is described", op.ID)
		}
		for _, status := range []string{"400", "500", "503"} {
			content, _ := d.Responses[status]["content"].(map[string]any)
			if content["application/problem+json"] == nil {
				t.Errorf("%s: its %s is not described as a problem", op.ID, status)
			}
		}
		if op.Streams() && (op.Method == http.MethodPost || op.Method == http.MethodPut) && (d.Body == nil || len(d.Body.Content) == 0) {
			// A POST that streams only its answer has no body of its own to
			// describe, but then it has a JSON one.
			t.Errorf("%s: its request body is not described", op.ID)
		}
	}
}
