package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/feature"
)

// Problem is the body of every answer that is not a success (RFC 9457). It
// never repeats a value that was sent.
type Problem struct {
	Type      string         `json:"type" doc:"about:blank: the code tells problems apart."`
	Title     string         `json:"title" doc:"The status in words."`
	Status    int            `json:"status" doc:"The HTTP status."`
	Code      string         `json:"code" doc:"Stable, for programs."`
	Detail    string         `json:"detail,omitempty" doc:"What happened, for people."`
	RequestID string         `json:"request_id" doc:"Names this request in the organization's log."`
	Errors    []fault.Detail `json:"errors,omitempty" doc:"The places in the request that are wrong."`

	header [][2]string // headers that go with it
}

// Error, GetStatus and ContentType are what huma asks of an error.
func (p *Problem) Error() string { return p.Code }

// GetStatus returns the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType returns the media type of problems.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

var statusOf = map[fault.Kind]int{
	fault.Internal:             http.StatusInternalServerError,
	fault.Malformed:            http.StatusBadRequest,
	fault.Unauthenticated:      http.StatusUnauthorized,
	fault.Denied:               http.StatusForbidden,
	fault.NotFound:             http.StatusNotFound,
	fault.Conflict:             http.StatusConflict,
	fault.Stale:                http.StatusPreconditionFailed,
	fault.TooLarge:             http.StatusRequestEntityTooLarge,
	fault.UnsupportedMedia:     http.StatusUnsupportedMediaType,
	fault.Invalid:              http.StatusUnprocessableEntity,
	fault.PreconditionRequired: http.StatusPreconditionRequired,
	fault.TooMany:              http.StatusTooManyRequests,
	fault.Unavailable:          http.StatusServiceUnavailable,
}

// refusal is a failure with a status that no fault has: those of the protocol
// itself. The log files it under its fault's kind.
type refusal struct {
	fault  *fault.Error
	status int
	code   string
	header [2]string // one header of the answer; "" for none
}

func (r *refusal) Error() string { return r.fault.Error() }

// Unwrap gives the fault to the log.
func (r *refusal) Unwrap() error { return r.fault }

var (
	errTooSlow = &refusal{fault.New(fault.Malformed, "the body did not arrive in time"), http.StatusRequestTimeout, "too_slow",
		[2]string{"Connection", "close"}}
	errNoRoute = fault.New(fault.NotFound, "no such thing")
)

func notAllowed(allow string) error {
	return &refusal{fault.New(fault.Malformed, "this resource has no such method"), http.StatusMethodNotAllowed, "method_not_allowed",
		[2]string{"Allow", allow}}
}

func outOfRange(r feature.RangeError) error {
	return &refusal{fault.New(fault.Invalid, "the range lies outside the content"), http.StatusRequestedRangeNotSatisfiable, "range_not_satisfiable",
		[2]string{"Content-Range", "bytes */" + strconv.FormatInt(r.Size, 10)}}
}

// problem translates err, the one place where that happens.
func problem(err error, request id.Request) *Problem {
	var out feature.RangeError
	if errors.As(err, &out) {
		err = outOfRange(out)
	}
	f := fault.From(err)
	p := &Problem{Type: "about:blank", Status: statusOf[f.Kind], Code: f.Kind.String(), Detail: f.Public, RequestID: request.String(), Errors: f.Details}
	var r *refusal
	if errors.As(err, &r) {
		p.Status, p.Code, p.Detail, p.Errors = r.status, r.code, r.fault.Public, r.fault.Details
		if r.header[0] != "" {
			p.header = append(p.header, r.header)
		}
	}
	if p.Status == 0 {
		p.Status, p.Code = http.StatusInternalServerError, fault.Internal.String()
	}
	if p.Status == http.StatusInternalServerError {
		// Whatever an internal failure says of itself is for the operator.
		p.Detail, p.Errors = "internal error", nil
	}
	p.Title = http.StatusText(p.Status)
	if p.Status == http.StatusUnprocessableEntity {
		p.Title = "Unprocessable Content" // its name since RFC 9110
	}
	if p.Status == http.StatusRequestEntityTooLarge {
		p.Title = "Content Too Large"
	}
	switch p.Status {
	case http.StatusUnauthorized:
		p.header = append(p.header, [2]string{"WWW-Authenticate", `Bearer realm="strongroom"`})
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		p.header = append(p.header, [2]string{"Retry-After", "1"})
	case http.StatusRequestEntityTooLarge:
		p.header = append(p.header, [2]string{"Connection", "close"})
	}
	return p
}

// send writes p. What a handler may have put into the headers belongs to the
// answer that is not given.
func (p *Problem) send(w http.ResponseWriter) {
	h := w.Header()
	for _, name := range []string{"ETag", "Location", "Content-Disposition", "Content-Length", "Content-Encoding", "Accept-Ranges", "Last-Modified"} {
		h.Del(name)
	}
	b, err := json.Marshal(p)
	if err != nil {
		b = []byte(`{"type":"about:blank","title":"Internal Server Error","status":500,"code":"internal"}`)
	}
	for _, set := range p.header {
		h.Set(set[0], set[1])
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(p.Status)
	_, _ = w.Write(b)
}

func init() {
	// huma makes its errors through these variables. Its own model repeats the
	// value that was sent, a password as well as any other; ours hands the
	// failure to the call in hand, which records it before it answers.
	huma.NewErrorWithContext = func(ctx huma.Context, status int, message string, errs ...error) huma.StatusError {
		if c := callOf(ctx.Context()); c != nil {
			c.fail(status, errs)
		}
		return &Problem{Status: status}
	}
	huma.NewError = func(status int, _ string, _ ...error) huma.StatusError { return &Problem{Status: status} }
}

// fail notes what huma or the operation found wrong.
func (c *call) fail(status int, errs []error) {
	switch {
	case status == http.StatusInternalServerError && len(errs) == 1:
		c.failure = errs[0] // what the operation returned
	case len(errs) > 0:
		c.failure = feature.Invalid(c.route.words, errs)
	case status == http.StatusBadRequest:
		c.failure = fault.At(fault.Malformed, "", "body_required", "the body is empty")
	default:
		c.failure = fault.Wrap(fault.Internal, errors.New("huma: status "+strconv.Itoa(status)), "internal error")
	}
}

type callKey struct{}

// callOf finds the call that ctx belongs to. huma hands the context through
// and nothing else; outside this package nobody can read it.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}
