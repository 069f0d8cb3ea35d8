package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/store/tenant"
)

// description builds the OpenAPI document. To huma it is the router: huma
// hands it each operation's handler, and it keeps them for the edge.
type description struct {
	api   huma.API
	bound map[string]*route // by operation id
	names names
	paths map[string]string // "METHOD path" → operation id
	used  map[string]bool   // tags
	// examples of bodies, by operation id
	examples map[string]string
}

func newDescription(version string) *description {
	d := &description{bound: map[string]*route{}, paths: map[string]string{}, used: map[string]bool{}, examples: map[string]string{}, names: names{types: map[reflect.Type]string{}, taken: map[string]reflect.Type{}}}
	format := huma.Format{Marshal: marshal, Unmarshal: unmarshal}
	// The problem that huma would write is left out: the edge has the failure,
	// records it, and then writes its own.
	unwritten := huma.Format{Marshal: func(io.Writer, any) error { return nil }, Unmarshal: unmarshal}
	d.api = huma.NewAPI(huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{Title: "Strongroom", Version: version,
				License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
				Description: "The data platform's API. Every request is on the record of its organization before it is answered; " +
					"errors are problem documents (RFC 9457) that name the place and never repeat the value. " +
					"The header " + RequestIDHeader + " of every answer names the request in that record."},
			Servers: []*huma.Server{{URL: "/"}},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", d.names.of),
				SecuritySchemes: map[string]*huma.SecurityScheme{"bearer": {Type: "http", Scheme: "bearer",
					Description: "The token of a session (sr_ses_…) or an API key (sr_key_…)."}},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": format, "application/problem+json": unwritten},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}, d)
	return d
}

// marshal writes JSON that keeps < > & as they are and the digits of raw
// numbers as they came.
func marshal(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// unmarshal reads JSON that has passed the gate.
func unmarshal(data []byte, v any) error {
	if tree, ok := v.(*any); ok {
		got, err := feature.Tree(data)
		*tree = got
		return err
	}
	return json.Unmarshal(data, v)
}

// Handle takes an operation's handler from huma.
func (d *description) Handle(op *huma.Operation, handler func(huma.Context)) {
	d.bound[op.OperationID] = &route{doc: op, run: handler}
}

// ServeHTTP completes huma.Adapter. Requests come through Server alone.
func (d *description) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusNotImplemented)
}

// mount registers one operation and returns its route.
func (d *description) mount(s *Server, name string, op feature.Op) (r *route, err error) {
	if err := op.Check(); err != nil {
		return nil, err
	}
	if d.bound[op.ID] != nil {
		return nil, fmt.Errorf("api: two operations are called %s", op.ID)
	}
	defer func() {
		if p := recover(); p != nil { // huma's way to report a type it cannot describe
			err = fmt.Errorf("api: %s: %v", op.ID, p)
		}
	}()
	d.names.op, d.names.feature = op, name
	op.Mount(d.api, edge{s}, func(o *huma.Operation) { d.complete(o, name, op) })
	r = d.bound[op.ID]
	r.op, r.pattern = op, op.Method+" "+op.Path
	for _, p := range r.doc.Parameters {
		if p.In == "query" {
			r.words.Query = append(r.words.Query, p.Name)
		}
		if p.In == "header" && p.Name == "If-Match" && op.NeedsMatch() {
			p.Required = true
		}
	}
	if op.HasBody() {
		r.words.Body = feature.WordsOf(d.api.OpenAPI().Components.Schemas, r.doc.RequestBody.Content["application/json"].Schema)
	}
	return r, nil
}

var wildcard = regexp.MustCompile(`\{([a-z]+)\}`)

// complete adds to an operation what follows from its declaration.
func (d *description) complete(o *huma.Operation, name string, op feature.Op) {
	// Limits on body and time are the edge's own, before huma sees anything.
	o.MaxBodyBytes, o.BodyReadTimeout = -1, -1
	o.Tags = []string{tagOf(op.Path)}
	d.used[o.Tags[0]] = true
	if op.Example != "" {
		d.examples[op.ID] = op.Example
	}
	o.Extensions = map[string]any{"x-strongroom-action": string(op.Action), "x-strongroom-shape": string(op.Shape)}
	if policy.StandingOf(op.Action) != policy.Anyone {
		o.Security = []map[string][]string{{"bearer": {}}}
	}
	declared := pathFields(op.In())
	for _, m := range wildcard.FindAllStringSubmatch(op.Path, -1) {
		if !slices.Contains(declared, m[1]) {
			o.Parameters = append(o.Parameters, &huma.Param{Name: m[1], In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
		}
	}
	if op.InOrg() && policy.IsRead(op.Action) {
		purposes := make([]any, len(tenant.Purposes))
		for i, p := range tenant.Purposes {
			purposes[i] = string(p)
		}
		o.Parameters = append(o.Parameters, &huma.Param{Name: PurposeHeader, In: "header",
			Description: "What the data is read for; service where nothing is said. training is always refused, and the attempt recorded.",
			Schema:      &huma.Schema{Type: huma.TypeString, Enum: purposes}})
	}
	for _, k := range kinds(op) {
		if status := statusOf[k]; !slices.Contains(o.Errors, status) {
			o.Errors = append(o.Errors, status)
		}
	}
	if op.HasBody() {
		o.Errors = append(o.Errors, http.StatusRequestTimeout)
	}
	slices.Sort(o.Errors)
}

// kinds lists how an operation can fail.
func kinds(op feature.Op) []fault.Kind {
	k := slices.Concat(op.Errors, []fault.Kind{fault.Malformed, fault.Unavailable})
	if standing := policy.StandingOf(op.Action); standing != policy.Anyone {
		k = append(k, fault.Unauthenticated)
		if standing == policy.ByRole {
			k = append(k, fault.Denied)
		}
	}
	if strings.Contains(op.Path, "{") {
		k = append(k, fault.NotFound)
	}
	if op.HasBody() {
		k = append(k, fault.TooLarge, fault.UnsupportedMedia, fault.Invalid)
	}
	if op.NeedsMatch() {
		k = append(k, fault.PreconditionRequired, fault.Stale)
	}
	return k
}

func pathFields(t reflect.Type) (out []string) {
	for _, f := range reflect.VisibleFields(t) {
		if name := f.Tag.Get("path"); name != "" {
			out = append(out, name)
		}
	}
	return out
}

// finish renders the document, indented and in an order of its own making, so
// that two versions of it can be compared by eye.
func (d *description) finish() ([]byte, error) {
	doc := d.api.OpenAPI()
	doc.Tags = headings(d.used)
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("api: openapi: %w", err)
	}
	return tidy(raw, d.examples)
}

// names gives schemas their names. Types of different features may share a
// name, and inputs have bodies without one; huma stops at the first clash.
type names struct {
	op      feature.Op // being mounted
	feature string
	types   map[reflect.Type]string
	taken   map[string]reflect.Type
}

func (n *names) of(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if name, ok := n.types[t]; ok {
		return name
	}
	name := huma.DefaultSchemaNamer(t, hint)
	if t.Name() == "" {
		name = n.anonymous(hint)
	}
	if t.Kind() != reflect.Struct {
		return name // never becomes a schema of its own
	}
	if other, clash := n.taken[name]; clash && other != t {
		name = camel(n.feature) + name
	}
	n.types[t], n.taken[name] = name, t
	return name
}

func (n *names) anonymous(hint string) string {
	base := camel(n.op.ID)
	hint = strings.TrimPrefix(hint, n.op.ID)
	switch in, out := n.op.In(), n.op.Out(); {
	case hint == in.Name()+"Body":
		return base + "Request"
	case out != nil && hint == out.Name()+"Body":
		return base + "Response"
	}
	return base + camel(hint)
}

func camel(s string) string {
	var b strings.Builder
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return r == '-' || r == '_' }) {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String()
}
