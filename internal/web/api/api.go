// Package api is the HTTP edge: it turns the operations of the features into
// routes, and failures into problem documents.
//
// It promises three things. Nothing malformed reaches an operation: path,
// headers, body and their forms are checked first, and a refusal names the
// place without repeating what was sent (API-2). Nothing is answered before
// it is on record: the response writer holds back the first byte until it has
// the receipt of a durable audit event, also for a refusal, a 404, a panic
// (AUD-2); without a log there is one answer, a bare 503. And the description
// at /openapi.json is made from the very operations that run (API-4).
//
// The routes without audit are a golden list: health, readiness, the
// description itself, static files. A new operation is added in its feature,
// never here.
package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/identity/actor"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
)

// Authenticator finds out who is asking. A failure of kind Unauthenticated
// becomes 401; Unavailable 503.
type Authenticator interface {
	Authenticate(ctx context.Context, r *http.Request) (actor.Actor, error)
}

// Recorder records a request that is refused before it reaches a door.
// *tenant.Store is one.
type Recorder interface {
	Refused(ctx context.Context, r tenant.Request, cause error) (audit.Receipt, error)
}

// Options configures a Server. All but Static, Ready, Observe and Log are
// required.
type Options struct {
	Features []feature.Feature
	Doors    feature.Doors
	Auth     Authenticator
	Record   Recorder
	Version  string // of the product, for the description
	// Ready says why the server cannot serve yet, or any more.
	Ready func(context.Context) error
	// Static serves what lies below /static/: files that are the same for
	// everybody and hold nobody's data.
	Static http.Handler
	// Observe is told of every answer: the operation's id, or unaudited or
	// unrouted; the status, 0 where the connection broke; and how long it took.
	Observe func(operation string, status int, took time.Duration)
	Log     *slog.Logger
}

// Server is the handler of the whole API.
type Server struct {
	o      Options
	router *router
	free   map[string]http.Handler // the golden list, by path
	doc    []byte
	budget budget
}

// New builds the routes and their description. It refuses operations that
// contradict themselves or each other.
func New(o Options) (*Server, error) {
	switch {
	case o.Auth == nil:
		return nil, errors.New("api: Options.Auth is required")
	case o.Record == nil:
		return nil, errors.New("api: Options.Record is required: nothing is answered without a record")
	case o.Doors.Tenant == nil || o.Doors.Platform == nil:
		return nil, errors.New("api: Options.Doors is required")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &Server{o: o, router: newRouter(), budget: newBudget()}
	d := newDescription(o.Version)
	for _, f := range o.Features {
		for _, op := range f.Ops {
			r, err := d.mount(s, f.Name, op)
			if err == nil {
				err = s.router.add(r)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	var err error
	if s.doc, err = d.finish(); err != nil {
		return nil, err
	}
	s.free = map[string]http.Handler{
		"/healthz":      http.HandlerFunc(s.health),
		"/readyz":       http.HandlerFunc(s.ready),
		"/openapi.json": http.HandlerFunc(s.openapi),
	}
	if o.Static != nil {
		s.free[staticPrefix] = o.Static
	}
	return s, nil
}

const staticPrefix = "/static/"

// Unaudited lists the routes that answer without a record.
func (s *Server) Unaudited() (routes []string) {
	for p := range s.free {
		if strings.HasSuffix(p, "/") {
			p += "*"
		}
		routes = append(routes, "GET "+p)
	}
	slices.Sort(routes)
	return routes
}

// Ops lists the operations that are served.
func (s *Server) Ops() (ops []feature.Op) {
	for _, f := range s.o.Features {
		ops = append(ops, f.Ops...)
	}
	return ops
}

// OpenAPI returns the description.
func (s *Server) OpenAPI() []byte { return slices.Clone(s.doc) }

// RequestIDHeader carries the request's identifier in every answer. It is
// never taken from a request: an identifier that the caller chose could hide
// one request behind another in the log.
const RequestIDHeader = "Strongroom-Request-Id"

// PurposeHeader says what data is asked for.
const PurposeHeader = "Strongroom-Purpose"

// call is one request on its way.
type call struct {
	s        *Server
	guard    *guard
	route    *route
	incoming feature.Incoming
	failure  error
	stream   func(*feature.Exchange) error
}

// ServeHTTP carries a request from its first byte to the end of its answer.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	c := &call{s: s, guard: &guard{w: w}}
	c.incoming.ID = id.NewRequest()
	c.incoming.Action = policy.Unrouted
	c.incoming.Client = clientOf(r)
	setHeaders(w.Header(), c.incoming.ID)
	abort := false
	func() {
		defer func() {
			if p := recover(); p != nil {
				s.panicked(c, p)
				abort = c.guard.status != 0
				c.failure = errPanic
			}
		}()
		c.serve(r)
	}()
	if c.guard.status == 0 {
		c.answer(r)
	}
	s.access(c, start)
	if abort || c.failure != nil && c.stream != nil && !c.refused() {
		// Bytes are out already: a broken connection is the only way left to
		// say that they are not all.
		panic(http.ErrAbortHandler)
	}
}

var errPanic = fault.Wrap(fault.Internal, errors.New("panic"), "internal error")

// refused reports whether the failure itself was the answer.
func (c *call) refused() bool { return c.guard.status >= 400 }

// answer sends the problem that is still owed. Whatever went wrong is on
// record first; when that cannot be, the caller learns nothing but "later".
func (c *call) answer(r *http.Request) {
	if c.failure == nil {
		c.s.o.Log.Error("an operation ended without an audit receipt", "route", c.pattern(), "request_id", c.incoming.ID.String())
		c.failure = fault.Wrap(fault.Internal, errNoReceipt, "internal error")
	}
	// An unread body must not hold the connection while the answer leaves.
	if r.ContentLength != 0 {
		_ = c.guard.SetReadDeadline(time.Now().Add(drain))
	}
	p := problem(c.failure, c.incoming.ID)
	if c.guard.receipt.IsZero() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 5*time.Second)
		defer cancel()
		receipt, err := c.s.o.Record.Refused(ctx, c.incoming.Request, c.failure)
		c.guard.accept(receipt)
		if err != nil || c.guard.receipt.IsZero() {
			c.s.o.Log.Error("the audit log takes no events: requests are refused", "request_id", c.incoming.ID.String(), "cause", describe(err))
			c.guard.lost = true
			p = problem(errUnavailable, c.incoming.ID)
		}
	}
	if p.Status == http.StatusInternalServerError {
		c.s.o.Log.Error("request failed", "route", c.pattern(), "request_id", c.incoming.ID.String(), "cause", describe(c.failure))
	}
	p.send(c.guard)
}

var errUnavailable = fault.New(fault.Unavailable, "the service cannot answer now; try again")

// serve does everything up to the answer. It answers by itself only what
// succeeds; a failure is left in c.failure.
func (c *call) serve(r *http.Request) {
	if h, ok := c.s.freeRoute(r); ok {
		c.guard.free = true
		h.ServeHTTP(c.guard, r)
		return
	}
	route, r, err := c.s.router.find(r)
	if err != nil {
		c.failure = err
		return
	}
	c.route = route
	c.incoming.Action = route.op.Action
	if c.failure = c.admit(r); c.failure != nil {
		return
	}
	var body []byte
	if route.op.HasBody() {
		var release func()
		body, release, err = c.s.budget.readBody(c.guard, r, route.op)
		if err != nil {
			c.failure = err
			return
		}
		defer release()
		if c.failure = gate(body, route.words.Body); c.failure != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	} else if route.op.Streams() {
		r.Body = newPaced(c.guard, r.Body)
	}
	if r.Header.Get("Idempotency-Key") != "" {
		c.incoming.Fingerprint = fingerprint(r, body)
	}
	c.perform(r)
}

// fingerprint tells a repeated request from another one under the same key.
func fingerprint(r *http.Request, body []byte) [32]byte {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(r.Method), []byte(r.URL.Path), []byte(r.URL.RawQuery), body} {
		h.Write([]byte(strconv.Itoa(len(part)) + ":"))
		h.Write(part)
	}
	return [32]byte(h.Sum(nil))
}

// once are the headers whose repetition would let two readers of a request
// disagree about it.
var once = []string{"Authorization", "Content-Type", "If-Match", "Idempotency-Key", "Content-Disposition", "Range", PurposeHeader}

// admit decides everything that can be decided from the request's head: its
// form, who asks, and whether that is allowed. The door asks again; here the
// answer comes before the body is read.
func (c *call) admit(r *http.Request) error {
	for _, name := range once {
		if len(r.Header.Values(name)) > 1 {
			return fault.At(fault.Malformed, name, "repeated", "this header may come once")
		}
	}
	op := c.route.op
	standing := policy.StandingOf(op.Action)
	if standing != policy.Anyone {
		who, err := c.s.o.Auth.Authenticate(r.Context(), r)
		if err != nil {
			return err
		}
		if who.IsNobody() {
			return fault.New(fault.Unauthenticated, "sign in first")
		}
		c.incoming.Actor = who
	}
	if op.InOrg() {
		org, err := id.ParseOrg(r.PathValue("org"))
		if err != nil {
			return fault.New(fault.NotFound, "no such organization")
		}
		c.incoming.Org = org
	}
	if err := c.purpose(r); err != nil {
		return err
	}
	if standing == policy.ByRole {
		if err := c.allowed(); err != nil {
			return err
		}
	}
	if err := checkQuery(r); err != nil {
		return err
	}
	return checkForm(r, op)
}

func (c *call) allowed() error {
	who, org, action := c.incoming.Actor, c.incoming.Org, c.incoming.Action
	switch {
	case org.IsZero() && !who.MayOnPlatform(action):
		return fault.New(fault.Denied, "your role does not allow %s", action)
	case org.IsZero():
	case !who.Sees(org):
		return fault.New(fault.NotFound, "no such organization")
	case !who.May(org, action):
		return fault.New(fault.Denied, "your role does not allow %s here", action)
	}
	return nil
}

// perform hands the request to huma, which parses and validates it and calls
// the operation, and sends what comes of it.
func (c *call) perform(r *http.Request) {
	r = r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	out := &held{header: http.Header{}}
	c.route.run(humago.NewContext(c.route.doc, r, out))
	switch {
	case c.failure != nil:
	case c.stream != nil:
		c.failure = c.stream(&feature.Exchange{Request: c.incoming.Request, HTTP: r, Writer: c.guard, Recorded: c.guard.accept})
		if c.failure == nil && c.guard.status == 0 && c.guard.may() {
			c.guard.WriteHeader(max(c.route.doc.DefaultStatus, http.StatusOK))
		}
	case c.guard.may():
		out.send(c.guard)
	}
}

// held is an answer that waits for its receipt.
type held struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (h *held) Header() http.Header         { return h.header }
func (h *held) WriteHeader(status int)      { h.status = status }
func (h *held) Write(b []byte) (int, error) { return h.body.Write(b) }

func (h *held) send(w http.ResponseWriter) {
	for name, values := range h.header {
		w.Header()[name] = values
	}
	if h.body.Len() > 0 {
		// There is one form of answer, whatever the request would rather have.
		w.Header().Set("Content-Type", "application/json")
	}
	if h.status != http.StatusNoContent {
		w.Header().Set("Content-Length", strconv.Itoa(h.body.Len()))
	}
	w.WriteHeader(max(h.status, http.StatusOK))
	if h.body.Len() > 0 {
		_, _ = w.Write(h.body.Bytes())
	}
}

// edge is what operations see of the server.
type edge struct{ s *Server }

func (e edge) Doors() feature.Doors                                      { return e.s.o.Doors }
func (edge) Incoming(ctx context.Context) feature.Incoming               { return callOf(ctx).incoming }
func (edge) Recorded(ctx context.Context, r audit.Receipt)               { callOf(ctx).guard.accept(r) }
func (edge) Stream(ctx context.Context, f func(*feature.Exchange) error) { callOf(ctx).stream = f }

// The golden list.

func (s *Server) freeRoute(r *http.Request) (http.Handler, bool) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil, false
	}
	if h, ok := s.free[r.URL.Path]; ok && !strings.HasSuffix(r.URL.Path, "/") {
		return h, true
	}
	if s.o.Static != nil && strings.HasPrefix(r.URL.Path, staticPrefix) {
		if _, ok := plainPath(r.URL.Path); ok {
			return s.o.Static, true
		}
	}
	return nil, false
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]string{"status": "ok"})
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if s.o.Ready != nil {
		if err := s.o.Ready(r.Context()); err != nil {
			s.o.Log.Warn("not ready", "cause", describe(err))
			requestID, _ := id.ParseRequest(w.Header().Get(RequestIDHeader))
			problem(errUnavailable, requestID).send(w)
			return
		}
	}
	writeJSON(w, map[string]string{"status": "ready"})
}

func (s *Server) openapi(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/openapi+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(s.doc)))
	_, _ = w.Write(s.doc)
}

func writeJSON(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b)
}

var _ huma.Adapter = (*description)(nil)
