package feature

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/policy"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
)

// Shape says how an operation enters the door.
type Shape string

// The shapes. Self, Bulk and Stream enter by themselves and hand the receipt
// over; the edge sends nothing before it has it.
const (
	Do       Shape = "do"       // one request, one transaction, one event
	Platform Shape = "platform" // the same, for what belongs to no organization
	Self     Shape = "self"     // enters by itself, as signing in does
	Bulk     Shape = "bulk"     // in chunks, each with a transaction and an event
	Stream   Shape = "stream"   // bytes flow between two short transactions
)

// Limits that an operation has unless its Meta says otherwise.
const (
	DefaultMaxBody  = 1 << 20
	DefaultBodyTime = 15 * time.Second
)

// Meta describes an operation. ID, Method, Path, Action and Summary are
// required.
type Meta struct {
	ID          string // kebab-case and permanent: clients are generated from it
	Method      string
	Path        string // as in /v1/orgs/{org}/collections/{kind}/records/{id}:restore
	Action      policy.Action
	Summary     string // a line
	Description string
	Example     string        // a JSON body that works, for the description
	Status      int           // of success; 0: 200, or 204 without a body
	MaxBody     int64         // bytes of a JSON body; 0: 1 MiB
	BodyTime    time.Duration // in which a JSON body must have arrived; 0: 15 s
	Errors      []fault.Kind  // failures beyond those that follow from the input's form
	Shape       Shape         // only for HandleSelf: Self (default) or Bulk
}

// InOrg reports whether the operation belongs to an organization.
func (m Meta) InOrg() bool { return strings.HasPrefix(m.Path, orgPrefix+"/") || m.Path == orgPrefix }

const orgPrefix = "/v1/orgs/{org}"

// Op is one operation of the API: plain data that the router, the OpenAPI
// document and the access tests read. One comes from Handle and its siblings.
type Op struct {
	Meta
	in, out reflect.Type
	fn      any // the typed function, for Call
	raw     *huma.Operation
	mount   func(huma.API, huma.Operation, Edge)
}

// In returns the type of the input.
func (o Op) In() reflect.Type { return o.in }

// Out returns the type of the output, or nil for a raw operation.
func (o Op) Out() reflect.Type { return o.out }

// HasBody reports whether the operation takes a JSON body.
func (o Op) HasBody() bool {
	_, ok := o.in.FieldByName("Body")
	return ok
}

// Streams reports whether the operation reads and writes its own bodies.
func (o Op) Streams() bool { return o.raw != nil }

// NeedsMatch reports whether the operation refuses a request without If-Match.
func (o Op) NeedsMatch() bool { return fieldOf(o.in, reflect.TypeFor[IfMatch]()) != nil }

// Incoming is one authenticated request as the edge understood it.
type Incoming struct {
	tenant.Request
	// Fingerprint is SHA-256 over method, path, query and JSON body, where an
	// Idempotency-Key came. A streamed body is not in it.
	Fingerprint [32]byte
}

// Edge is the runner's side of the requests that it carries. ctx is the
// request's own.
type Edge interface {
	Doors() Doors
	Incoming(ctx context.Context) Incoming
	// Recorded hands over the receipt without which nothing is sent.
	Recorded(ctx context.Context, r audit.Receipt)
	// Stream asks to run fn once the input is known to be valid.
	Stream(ctx context.Context, fn func(*Exchange) error)
}

// Handle declares an operation inside an organization. fn runs in one
// transaction of the caller's organization, after the door has authorized
// meta.Action; what it returns is sent after the event is durable.
func Handle[In, Out any](meta Meta, fn func(context.Context, *tenant.Tx, In) (Out, error)) Op {
	meta.Shape = Do
	return handle(meta, fn, func(ctx context.Context, d Doors, r tenant.Request, in In) (Out, audit.Receipt, error) {
		v, receipt, err := d.Tenant.Do(ctx, r, func(ctx context.Context, tx *tenant.Tx) (any, error) { return fn(ctx, tx, in) })
		return result[Out](v, receipt, err)
	})
}

// HandlePlatform declares an operation that belongs to no organization.
func HandlePlatform[In, Out any](meta Meta, fn func(context.Context, *platform.Tx, In) (Out, error)) Op {
	meta.Shape = Platform
	return handle(meta, fn, func(ctx context.Context, d Doors, r tenant.Request, in In) (Out, audit.Receipt, error) {
		v, receipt, err := d.Platform.Do(ctx, onPlatform(r), func(ctx context.Context, tx *platform.Tx) (any, error) { return fn(ctx, tx, in) })
		return result[Out](v, receipt, err)
	})
}

// onPlatform leaves out the purpose: the control plane holds no content.
func onPlatform(r tenant.Request) platform.Request {
	return platform.Request{Actor: r.Actor, Org: r.Org, Action: r.Action, ID: r.ID, Client: r.Client}
}

// HandleSelf declares an operation that enters the door by itself and returns
// the receipt of what it recorded, also along with an error.
func HandleSelf[In, Out any](meta Meta, fn func(context.Context, tenant.Request, In) (Out, audit.Receipt, error)) Op {
	if meta.Shape != Bulk {
		meta.Shape = Self
	}
	return handle(meta, fn, func(ctx context.Context, _ Doors, r tenant.Request, in In) (Out, audit.Receipt, error) {
		return fn(ctx, r, in)
	})
}

// result gives back its type to what passed through a door.
func result[Out any](v any, receipt audit.Receipt, err error) (out Out, _ audit.Receipt, _ error) {
	if err != nil {
		return out, receipt, err
	}
	out, ok := v.(Out)
	if !ok {
		return out, receipt, fmt.Errorf("feature: the door returned a %T", v)
	}
	return out, receipt, nil
}

type enter[In, Out any] func(context.Context, Doors, tenant.Request, In) (Out, audit.Receipt, error)

func handle[In, Out any](meta Meta, fn any, enter enter[In, Out]) Op {
	set := setter[In]()
	return Op{Meta: meta, in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](), fn: enter,
		mount: func(api huma.API, o huma.Operation, e Edge) {
			huma.Register(api, o, func(ctx context.Context, in *In) (*Out, error) {
				r := e.Incoming(ctx)
				if err := set(in, r); err != nil {
					return nil, err
				}
				out, receipt, err := enter(ctx, e.Doors(), r.Request, *in)
				e.Recorded(ctx, receipt)
				if err != nil {
					return nil, err
				}
				return &out, nil
			})
		}}
}

// Exchange is a request whose bodies the operation streams itself.
type Exchange struct {
	Request tenant.Request
	HTTP    *http.Request // its body is cut off when the sender is too slow
	// Writer refuses the first byte until Recorded was given a receipt.
	Writer   http.ResponseWriter
	Recorded func(audit.Receipt)
}

// Answer sends v as JSON. ETag, Location and other headers are set on Writer
// before.
func (x *Exchange) Answer(status int, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("feature: answer: %w", err)
	}
	h := x.Writer.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	x.Writer.WriteHeader(status)
	_, err := x.Writer.Write(b.Bytes())
	return err
}

// Raw declares an operation that reads its request's body or writes its
// answer itself: uploads, downloads, exports. In holds path, query and header
// parameters; with a field Body the request is JSON like any other and only
// the answer is streamed. doc holds the responses and, for uploads, the
// request body for the OpenAPI document, as nothing else knows them.
//
// fn enters the door, hands the receipt of the opening event to
// Exchange.Recorded, and only then reads or writes bytes. An error that comes
// before the first byte becomes a problem; a later one breaks the connection
// off, so that nobody takes half an answer for a whole one.
func Raw[In any](meta Meta, doc huma.Operation, fn func(context.Context, *Exchange, In) error) Op {
	meta.Shape = Stream
	set := setter[In]()
	return Op{Meta: meta, in: reflect.TypeFor[In](), fn: fn, raw: &doc,
		mount: func(api huma.API, o huma.Operation, e Edge) {
			huma.Register(api, o, func(ctx context.Context, in *In) (*struct{}, error) {
				if err := set(in, e.Incoming(ctx)); err != nil {
					return nil, err
				}
				e.Stream(ctx, func(x *Exchange) error { return fn(ctx, x, *in) })
				return nil, nil
			})
		}}
}

// RangeError is returned by a raw operation for a range that lies outside the
// thing (RFC 9110 section 14.4): the edge answers 416 and says how long it is.
type RangeError struct{ Size int64 }

func (e RangeError) Error() string { return "the range is not satisfiable" }

// Mount registers the operation with huma; o carries what the runner adds.
func (o Op) Mount(api huma.API, e Edge, edit func(*huma.Operation)) {
	var h huma.Operation
	if o.raw != nil {
		h = *o.raw
	}
	h.OperationID, h.Method, h.Path = o.ID, o.Method, o.Path
	h.Summary, h.Description, h.DefaultStatus = o.Summary, o.Description, o.Status
	if o.Status == 0 {
		for status := range h.Responses { // the success that a raw operation describes
			if n, err := strconv.Atoi(status); err == nil && n < 300 && n != http.StatusPartialContent {
				h.DefaultStatus = n
			}
		}
	}
	edit(&h)
	o.mount(api, h, e)
}

// setter prepares what an input needs beyond its parsing: the fingerprint of
// its idempotency key, and the refusal of a change that names no version.
func setter[In any]() func(*In, Incoming) error {
	t := reflect.TypeFor[In]()
	if t.Kind() != reflect.Struct {
		panic(fmt.Sprintf("feature: the input %s is not a struct", t))
	}
	key, match := fieldOf(t, reflect.TypeFor[IdempotencyKey]()), fieldOf(t, reflect.TypeFor[IfMatch]())
	return func(in *In, r Incoming) error {
		v := reflect.ValueOf(in).Elem()
		if key != nil {
			if k := v.FieldByIndex(key).Addr().Interface().(*IdempotencyKey); !k.IsZero() {
				k.fingerprint = r.Fingerprint
			}
		}
		if match != nil && v.FieldByIndex(match).Interface().(IfMatch).version == 0 {
			return fault.At(fault.PreconditionRequired, "If-Match", "required", "say which version the change is meant for")
		}
		return nil
	}
}

func fieldOf(t, want reflect.Type) []int {
	for _, f := range reflect.VisibleFields(t) {
		if f.Type == want {
			return f.Index
		}
	}
	return nil
}

var errNotThisCall = errors.New("feature: the operation takes another input or gives another output")

// Call performs an operation in-process, for pages and jobs: through the same
// door, with the same checks of its input's body as over HTTP. Raw operations
// cannot be called.
func Call[In, Out any](ctx context.Context, d Doors, op Op, r tenant.Request, in In) (out Out, _ audit.Receipt, _ error) {
	f, ok := op.fn.(enter[In, Out])
	if !ok {
		return out, audit.Receipt{}, fmt.Errorf("%w: %s", errNotThisCall, op.ID)
	}
	if err := checkBody(in); err != nil {
		return out, audit.Receipt{}, err
	}
	r.Action = op.Action
	return f(ctx, d, r, in)
}

var (
	idForm   = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	pathForm = regexp.MustCompile(`^/v1(/([a-z][a-z_-]*|\{[a-z]+\}))+(:[a-z]+)?$`)
)

// Check reports what is wrong with the declaration itself.
func (o Op) Check() error {
	switch {
	case !idForm.MatchString(o.ID):
		return fmt.Errorf("feature: operation id %q is not kebab-case", o.ID)
	case !pathForm.MatchString(o.Path):
		return fmt.Errorf("feature: %s: the path %q has another form than ours", o.ID, o.Path)
	case o.Action == "" || policy.StandingOf(o.Action) == policy.Nobody:
		return fmt.Errorf("feature: %s: no action that somebody may perform", o.ID)
	case o.Summary == "":
		return fmt.Errorf("feature: %s: no summary", o.ID)
	case o.mount == nil:
		return fmt.Errorf("feature: %s: not made by Handle, HandlePlatform, HandleSelf or Raw", o.ID)
	case (o.Shape == Do || o.Shape == Bulk || o.Shape == Stream) && !o.InOrg():
		return fmt.Errorf("feature: %s: enters an organization that its path does not name", o.ID)
	case (o.Method == http.MethodGet || o.Method == http.MethodDelete) && o.HasBody():
		return fmt.Errorf("feature: %s: %s takes no body", o.ID, o.Method)
	}
	return nil
}
