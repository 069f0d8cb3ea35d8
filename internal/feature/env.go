package feature

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/identity/actor"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
)

// Env is what a check may use of the running installation.
type Env struct {
	Store    *tenant.Store
	Platform *platform.Store
	Inspect  Inspector
	Log      Log
	Canaries []CanaryOrg // one a placement
	Strange  []CanaryOrg // a second one a placement, whose data the first must not reach
	Peers    []CanaryOrg // another member of each of Canaries, in their order
	Operator actor.Actor // holds SystemAdmin, and belongs to no organization
	URL      string      // of the running server, as in https://127.0.0.1:8443
	HTTP     *http.Client
	DataDir  string
	// Leaks names the credential of the service that b holds, or gives "". A
	// check is not handed the credentials themselves.
	Leaks func(b []byte) string
}

// Inspector reads what the database says of itself: no rows.
type Inspector interface {
	Tables(context.Context) ([]platform.Table, error)
	Roles(context.Context) ([]platform.Role, error)
	Connections(context.Context) ([]platform.Connection, error)
	Setting(ctx context.Context, name string) (string, error)
}

// Log reads an organization's log as it stands at this moment, events on
// their way to their place included: what is durable, and no more.
type Log interface {
	Since(ctx context.Context, org id.Org, from time.Time) ([]audit.Stored, error)
}

// CanaryOrg is an organization made for checks, entered as one of its members.
type CanaryOrg struct {
	Placement string // schema or pooled
	Org       id.Org
	Actor     actor.Actor // holds every role of an organization there
	Token     string      // signs the same actor in over HTTP
	Name      string      // of the member, as it is stored
	Email     string
	Password  seal.Secret
}

// Everybody returns the canary organizations of both kinds.
func (e Env) Everybody() []CanaryOrg { return slices.Concat(e.Canaries, e.Strange) }

// Request is one of the canary's own, for a door.
func (c CanaryOrg) Request(a policy.Action) tenant.Request {
	return tenant.Request{Actor: c.Actor, Org: c.Org, Action: a, ID: id.NewRequest()}
}

// Path is the organization's in the API, with what is below it.
func (c CanaryOrg) Path(rest ...string) string {
	return "/v1/orgs/" + c.Org.String() + strings.Join(rest, "")
}

// Answer is a whole answer of the server.
type Answer struct {
	Status  int
	Header  http.Header
	Body    []byte
	Request id.Request // what the server called the request
}

// RequestIDHeader carries the identifier of a request in its answer.
const RequestIDHeader = "Strongroom-Request-Id"

const maxAnswer = 32 << 20

// Call sends a request to the server's own port, as whoever the token signs
// in; "" is nobody. A body that is not bytes is sent as JSON. head holds pairs
// of header names and values.
func (e Env) Call(ctx context.Context, token, method, path string, body any, head ...string) (Answer, error) {
	if e.HTTP == nil || e.URL == "" {
		return Answer{}, errors.New("the server does not listen yet")
	}
	media := ""
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		in, media = bytes.NewReader(b), "application/octet-stream"
	default:
		j, err := json.Marshal(b)
		if err != nil {
			return Answer{}, err
		}
		in, media = bytes.NewReader(j), "application/json"
	}
	r, err := http.NewRequestWithContext(ctx, method, e.URL+path, in)
	if err != nil {
		return Answer{}, err
	}
	if media != "" {
		r.Header.Set("Content-Type", media)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	res, err := e.HTTP.Do(r)
	if err != nil {
		return Answer{}, fmt.Errorf("the server cannot be reached: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return Answer{}, fmt.Errorf("%s %s: the answer broke off: %w", method, route(path), err)
	}
	a := Answer{Status: res.StatusCode, Header: res.Header, Body: b}
	// An answer without an identifier has none to be found by; whoever looks
	// for its event finds nothing and says so.
	a.Request, _ = id.ParseRequest(res.Header.Get(RequestIDHeader))
	return a, nil
}

// Want is Call for a request that has to end with a status. The answer's JSON
// goes into out, where out is not nil.
func (e Env) Want(ctx context.Context, token, method, path string, body any, status int, out any, head ...string) (Answer, error) {
	a, err := e.Call(ctx, token, method, path, body, head...)
	if err != nil {
		return a, err
	}
	if a.Status != status {
		return a, fmt.Errorf("%s %s answers %d, not %d%s", method, route(path), a.Status, status, a.code())
	}
	if out != nil {
		if err := json.Unmarshal(a.Body, out); err != nil {
			return a, fmt.Errorf("%s %s: the answer is not the JSON that is described", method, route(path))
		}
	}
	return a, nil
}

// code is what a problem document says of the cause, for people who read
// evidence.
func (a Answer) code() string {
	var p struct{ Code string }
	if json.Unmarshal(a.Body, &p) != nil || p.Code == "" {
		return ""
	}
	return " (" + p.Code + ")"
}

// route is a path without its query.
func route(path string) string {
	path, _, _ = strings.Cut(path, "?")
	return path
}
