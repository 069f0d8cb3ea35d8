// Package openapi reads the API's own description for those who make something
// of it: the pages of the reference, the client in Python, the tests that try
// what the pages say.
//
// It promises to keep what the description says in an order that people can
// follow, and, in [Parse], to refuse a description with a part that it does not
// know: what is made of it would leave that part out in silence. It reads what package api
// writes and no OpenAPI document in general.
package openapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Document is the whole description.
type Document struct {
	OpenAPI    string                           `json:"openapi"`
	Info       Info                             `json:"info"`
	Tags       []Tag                            `json:"tags"`
	Servers    []any                            `json:"servers"`
	Security   []map[string][]string            `json:"security"`
	Paths      map[string]map[string]*Operation `json:"paths"`
	Components struct {
		Schemas         map[string]*Schema         `json:"schemas"`
		SecuritySchemes map[string]json.RawMessage `json:"securitySchemes"`
	} `json:"components"`
}

// Info says what the API is.
type Info struct {
	Title       string          `json:"title"`
	Version     string          `json:"version"`
	Description string          `json:"description"`
	License     json.RawMessage `json:"license"`
}

// Tag is a heading under which operations stand.
type Tag struct {
	Name        string `json:"name"`
	Description string `json:"description"`
}

// Operation is one operation. Method and Path are filled in by Parse.
type Operation struct {
	ID          string                `json:"operationId"`
	Summary     string                `json:"summary"`
	Description string                `json:"description"`
	Tags        []string              `json:"tags"`
	Parameters  []Parameter           `json:"parameters"`
	RequestBody *Body                 `json:"requestBody"`
	Responses   map[string]*Response  `json:"responses"`
	Security    []map[string][]string `json:"security"`
	Action      string                `json:"x-strongroom-action"`
	Shape       string                `json:"x-strongroom-shape"`

	Method string `json:"-"` // in capitals
	Path   string `json:"-"`
}

// Parameter is one of path, query or header.
type Parameter struct {
	Name        string          `json:"name"`
	In          string          `json:"in"`
	Description string          `json:"description"`
	Required    bool            `json:"required"`
	Explode     *bool           `json:"explode"`
	Example     json.RawMessage `json:"example"`
	Schema      *Schema         `json:"schema"`
}

// Body is a request's.
type Body struct {
	Description string           `json:"description"`
	Required    bool             `json:"required"`
	Content     map[string]Media `json:"content"`
}

// Media is a body of one media type.
type Media struct {
	Schema   *Schema         `json:"schema"`
	Example  json.RawMessage `json:"example"`
	Examples json.RawMessage `json:"examples"`
}

// Response is one possible answer.
type Response struct {
	Description string            `json:"description"`
	Headers     map[string]Header `json:"headers"`
	Content     map[string]Media  `json:"content"`
}

// Header is one of an answer.
type Header struct {
	Description string  `json:"description"`
	Schema      *Schema `json:"schema"`
}

// Schema is a JSON Schema as far as the description uses it.
type Schema struct {
	Ref         string             `json:"$ref"`
	Type        Types              `json:"type"`
	Format      string             `json:"format"`
	Title       string             `json:"title"`
	Description string             `json:"description"`
	Enum        []json.RawMessage  `json:"enum"`
	Default     json.RawMessage    `json:"default"`
	Examples    []json.RawMessage  `json:"examples"`
	Properties  map[string]*Schema `json:"properties"`
	Required    []string           `json:"required"`
	Items       *Schema            `json:"items"`
	Additional  *Additional        `json:"additionalProperties"`
	OneOf       []*Schema          `json:"oneOf"`
	AnyOf       []*Schema          `json:"anyOf"`
	Minimum     *json.Number       `json:"minimum"`
	Maximum     *json.Number       `json:"maximum"`
	Above       *json.Number       `json:"exclusiveMinimum"`
	Below       *json.Number       `json:"exclusiveMaximum"`
	MinLength   *int               `json:"minLength"`
	MaxLength   *int               `json:"maxLength"`
	MinItems    *int               `json:"minItems"`
	MaxItems    *int               `json:"maxItems"`
	MinProps    *int               `json:"minProperties"`
	MaxProps    *int               `json:"maxProperties"`
	Unique      bool               `json:"uniqueItems"`
	Pattern     string             `json:"pattern"`
	Media       string             `json:"contentMediaType"`
	Encoding    string             `json:"contentEncoding"`
	Deprecated  bool               `json:"deprecated"`
	ReadOnly    bool               `json:"readOnly"`
	WriteOnly   bool               `json:"writeOnly"`
}

// Types is the keyword type: one name or several.
type Types []string

// UnmarshalJSON reads both forms.
func (t *Types) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = Types{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(t))
}

// Is reports whether name is the type, null apart.
func (t Types) Is(name string) bool {
	return slices.Contains(t, name) && (len(t) == 1 || len(t) == 2 && slices.Contains(t, "null"))
}

// Additional is the keyword additionalProperties: true, false or a schema.
type Additional struct {
	Any    bool
	Schema *Schema
	raw    []byte
}

// UnmarshalJSON reads all three forms.
func (a *Additional) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, &a.Any) == nil {
		return nil
	}
	a.Schema, a.raw = &Schema{}, bytes.Clone(b)
	return json.Unmarshal(b, a.Schema)
}

func strict(b []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the document")
	}
	return nil
}

// Parse reads a description and refuses what it does not know.
func Parse(b []byte) (*Document, error) {
	if err := strict(b, &Document{}); err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	d, err := Read(b)
	if err != nil {
		return nil, err
	}
	d.walk(func(s *Schema) { // what has a way of its own of being read
		if s.Additional != nil && s.Additional.Schema != nil && err == nil {
			err = strict(s.Additional.raw, &Schema{})
		}
	})
	if err != nil {
		return nil, fmt.Errorf("openapi: additionalProperties: %w", err)
	}
	return d, nil
}

// Read reads a description and leaves out what it does not know, for a server
// that has to start: that nothing is left out is what tests use Parse for.
func Read(b []byte) (*Document, error) {
	d := &Document{}
	if err := json.Unmarshal(b, d); err != nil {
		return nil, fmt.Errorf("openapi: %w", err)
	}
	for path, ops := range d.Paths {
		for method, op := range ops {
			op.Method, op.Path = strings.ToUpper(method), path
			if len(op.Tags) != 1 {
				return nil, fmt.Errorf("openapi: %s has %d tags, not one", op.ID, len(op.Tags))
			}
		}
	}
	var err error
	d.walk(func(s *Schema) {
		if s.Ref != "" && d.Components.Schemas[s.Name()] == nil {
			err = fmt.Errorf("openapi: %s leads nowhere", s.Ref)
		}
	})
	return d, err
}

const refPrefix = "#/components/schemas/"

// Name is the name that a reference leads to.
func (s *Schema) Name() string { return strings.TrimPrefix(s.Ref, refPrefix) }

// Resolve follows a reference.
func (d *Document) Resolve(s *Schema) *Schema {
	for s != nil && s.Ref != "" {
		s = d.Components.Schemas[s.Name()]
	}
	return s
}

func (d *Document) walk(visit func(*Schema)) {
	var deep func(*Schema)
	deep = func(s *Schema) {
		if s == nil {
			return
		}
		visit(s)
		for _, p := range s.Properties {
			deep(p)
		}
		deep(s.Items)
		if s.Additional != nil {
			deep(s.Additional.Schema)
		}
		for _, o := range slices.Concat(s.OneOf, s.AnyOf) {
			deep(o)
		}
	}
	for _, s := range d.Components.Schemas {
		deep(s)
	}
	for _, op := range d.Operations() {
		for _, p := range op.Parameters {
			deep(p.Schema)
		}
		if op.RequestBody != nil {
			for _, m := range op.RequestBody.Content {
				deep(m.Schema)
			}
		}
		for _, r := range op.Responses {
			for _, m := range r.Content {
				deep(m.Schema)
			}
			for _, h := range r.Headers {
				deep(h.Schema)
			}
		}
	}
}

var methods = []string{"GET", "POST", "PUT", "PATCH", "DELETE"}

// Operations lists all of them in the order of their tags, then by path, a
// list before what is done to one thing.
func (d *Document) Operations() (all []*Operation) {
	rank := map[string]int{}
	for i, t := range d.Tags {
		rank[t.Name] = i
	}
	for _, ops := range d.Paths {
		for _, op := range ops {
			all = append(all, op)
		}
	}
	slices.SortFunc(all, func(a, b *Operation) int {
		return cmp.Or(cmp.Compare(rank[a.Tags[0]], rank[b.Tags[0]]), cmp.Compare(a.Tags[0], b.Tags[0]), cmp.Compare(a.Path, b.Path),
			cmp.Compare(slices.Index(methods, a.Method), slices.Index(methods, b.Method)))
	})
	return all
}

// Field is one member of an object.
type Field struct {
	Name     string
	Required bool
	Schema   *Schema
}

// Fields lists an object's members, those that are required first, in the
// order in which they are declared.
func (s *Schema) Fields() (all []Field) {
	for _, name := range s.Required {
		if p := s.Properties[name]; p != nil {
			all = append(all, Field{name, true, p})
		}
	}
	var rest []string
	for name := range s.Properties {
		if !slices.Contains(s.Required, name) {
			rest = append(rest, name)
		}
	}
	slices.Sort(rest)
	for _, name := range rest {
		all = append(all, Field{name, false, s.Properties[name]})
	}
	return all
}

// Success is the answer of an operation that went well, with its status.
func (o *Operation) Success() (status string, r *Response) {
	for s, candidate := range o.Responses {
		if strings.HasPrefix(s, "2") && (status == "" || s < status) {
			status, r = s, candidate
		}
	}
	return status, r
}

// JSON is the schema of a JSON body, or nil.
func (b *Body) JSON() *Schema {
	if b == nil {
		return nil
	}
	return b.Content["application/json"].Schema
}

// JSON is the schema of a JSON answer, or nil.
func (r *Response) JSON() *Schema {
	if r == nil {
		return nil
	}
	return r.Content["application/json"].Schema
}
