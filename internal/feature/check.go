package feature

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"strongroom/internal/base/fault"
)

func init() {
	// huma keeps these in package variables. Without the first, "Email" would
	// pass for "email" and a field could be sent twice under two spellings;
	// without the second, null would pass for a list.
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
}

// Words are the names that an operation's own schema uses. Only these are
// ever repeated in an answer: any other name is the caller's text.
type Words struct {
	Body  map[string]bool // names of fields, at any depth
	Query []string
}

// WordsOf collects the field names of a body's schema.
func WordsOf(r huma.Registry, s *huma.Schema) map[string]bool {
	words := map[string]bool{}
	seen := map[*huma.Schema]bool{}
	var walk func(*huma.Schema)
	walk = func(s *huma.Schema) {
		for s != nil && s.Ref != "" {
			s = r.SchemaFromRef(s.Ref)
		}
		if s == nil || seen[s] {
			return
		}
		seen[s] = true
		for name, p := range s.Properties {
			words[name] = true
			walk(p)
		}
		walk(s.Items)
		if more, ok := s.AdditionalProperties.(*huma.Schema); ok {
			walk(more)
		}
		for _, list := range [][]*huma.Schema{s.OneOf, s.AnyOf, s.AllOf} {
			for _, one := range list {
				walk(one)
			}
		}
	}
	walk(s)
	return words
}

const maxDetails = 20

// Invalid turns huma's findings into a failure that names places and repeats
// nothing that was sent. huma's own messages are not passed on: several of
// them quote the value (an address, a URI, a number too large), and its
// locations hold whatever names the caller made up.
func Invalid(words Words, found []error) *fault.Error {
	f := &fault.Error{Kind: fault.Invalid, Public: "the request does not match its schema"}
	for _, err := range found {
		var own *fault.Error
		if errors.As(err, &own) {
			return own
		}
		var d *huma.ErrorDetail
		if !errors.As(err, &d) {
			f.Details = append(f.Details, fault.Detail{Code: "invalid", Detail: "not acceptable"})
			continue
		}
		where, rest, _ := strings.Cut(d.Location, ".")
		switch where {
		case "path":
			// A path that cannot name anything names nothing.
			return fault.New(fault.NotFound, "no such thing")
		case "header":
			f.Kind, f.Public = fault.Malformed, "a header is malformed"
			f.Details = append(f.Details, headerDetail(rest, d.Message))
		case "query":
			f.Details = append(f.Details, queryDetail(words, rest, d.Message))
		default:
			f.Details = append(f.Details, bodyDetail(words, d))
		}
	}
	slices.SortFunc(f.Details, func(a, b fault.Detail) int {
		return strings.Compare(a.Pointer+"\x00"+a.Code, b.Pointer+"\x00"+b.Code)
	})
	f.Details = slices.Compact(f.Details)
	if len(f.Details) > maxDetails {
		f.Details = f.Details[:maxDetails]
	}
	return f
}

func headerDetail(name, message string) fault.Detail {
	for _, known := range []*fault.Error{errIfMatch, errIdempotency} {
		if d := known.Details[0]; strings.EqualFold(d.Pointer, name) {
			return d
		}
	}
	code, detail := explain(message)
	return fault.Detail{Pointer: name, Code: code, Detail: detail}
}

func queryDetail(words Words, name, message string) fault.Detail {
	if !slices.Contains(words.Query, name) {
		detail := "this operation takes no query parameters"
		if len(words.Query) > 0 {
			detail = "an unknown query parameter; known are " + strings.Join(words.Query, ", ")
		}
		return fault.Detail{Code: "unknown_parameter", Detail: detail}
	}
	code, detail := explain(message)
	return fault.Detail{Pointer: name, Code: code, Detail: detail}
}

func bodyDetail(words Words, d *huma.ErrorDetail) fault.Detail {
	pointer := pointerTo(words.Body, d.Location)
	code, detail := explain(d.Message)
	switch code {
	case "unknown_field":
		// The location ends in the caller's own name for it. Were that name
		// also one of ours, from elsewhere in the schema, it would be cut off
		// too: the object is what we can point at.
		if last := d.Location[strings.LastIndexAny(d.Location, ".")+1:]; words.Body[last] {
			pointer = pointer[:strings.LastIndexByte(pointer, '/')]
		}
	case "required":
		if _, name, ok := strings.Cut(d.Message, "property "); ok {
			if name, _, ok = strings.Cut(name, " to be present"); ok && words.Body[name] {
				pointer += "/" + escape(name)
			}
		}
	}
	return fault.Detail{Pointer: pointer, Code: code, Detail: detail}
}

// pointerTo turns body.items[3].title into /items/3/title, and stops at the
// first name that is not one of ours.
func pointerTo(words map[string]bool, location string) string {
	var b strings.Builder
	rest := strings.TrimPrefix(location, "body")
	for rest != "" {
		switch rest[0] {
		case '.':
			end := strings.IndexAny(rest[1:], ".[")
			if end < 0 {
				end = len(rest) - 1
			}
			name := rest[1 : 1+end]
			if !words[name] {
				return b.String()
			}
			b.WriteString("/" + escape(name))
			rest = rest[1+end:]
		case '[':
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return b.String()
			}
			n, err := strconv.Atoi(rest[1:end])
			if err != nil {
				return b.String()
			}
			b.WriteString("/" + strconv.Itoa(n))
			rest = rest[end+1:]
		default:
			return b.String()
		}
	}
	return b.String()
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

func escape(name string) string { return pointerEscapes.Replace(name) }

// explanations maps the beginnings of huma's messages to codes of ours. Where
// safe is true the message is made from the schema alone and is passed on;
// otherwise it may quote the value and says is sent.
var explanations = []struct {
	prefix, code, says string
	safe               bool
}{
	{"unexpected property", "unknown_field", "this object has a field that is not known here", false},
	{"unknown query parameter", "unknown_parameter", "an unknown query parameter", false},
	{"expected required property ", "required", "this field is required", false},
	{"expected property ", "required", "", true},
	{"expected propertyName value", "required", "", true},
	{"required ", "required", "this is required", false},
	{"expected value to be one of ", "not_allowed", "", true},
	{"expected value to ", "no_match", "", true},
	{"expected boolean", "wrong_type", "", true},
	{"expected integer", "wrong_type", "", true},
	{"expected string to be RFC 5322 email", "format", "expected an email address", false},
	{"expected string to be RFC 3986 uri", "format", "expected a URI", false},
	{"expected string to be RFC 4122 uuid", "format", "expected a UUID", false},
	{"expected string to be regex", "format", "expected a regular expression", false},
	{"expected duration", "format", "expected a duration", false},
	{"expected string to be RFC ", "format", "", true},
	{"expected string to be base64", "format", "", true},
	{"expected string to ", "pattern", "", true},
	{"expected string", "wrong_type", "", true},
	{"expected number to ", "out_of_range", "", true},
	{"expected number >", "out_of_range", "", true},
	{"expected number <", "out_of_range", "", true},
	{"expected number", "wrong_type", "", true},
	{"expected array items to be unique", "not_unique", "", true},
	{"expected array length >", "too_few", "", true},
	{"expected array length <", "too_many", "", true},
	{"expected array", "wrong_type", "", true},
	{"expected length >", "too_short", "", true},
	{"expected length <", "too_long", "", true},
	{"expected object with at least", "too_few", "", true},
	{"expected object with at most", "too_many", "", true},
	{"expected object", "wrong_type", "", true},
	{"invalid integer", "wrong_type", "expected an integer", false},
	{"invalid float", "wrong_type", "expected a number", false},
	{"invalid boolean", "wrong_type", "expected true or false", false},
	{"invalid date/time", "format", "expected a time as in RFC 3339", false},
	{"json: cannot unmarshal", "wrong_type", "a value is of another type, or too large for it", false},
}

func explain(message string) (code, detail string) {
	for _, e := range explanations {
		if strings.HasPrefix(message, e.prefix) {
			if e.safe {
				return e.code, message
			}
			return e.code, e.says
		}
	}
	return "invalid", "not acceptable here"
}

// Object is a JSON object of any form, kept byte for byte as it came.
type Object []byte

// MarshalJSON gives the bytes.
func (o Object) MarshalJSON() ([]byte, error) {
	if len(o) == 0 {
		return []byte("{}"), nil
	}
	return o, nil
}

// UnmarshalJSON keeps a copy of the bytes.
func (o *Object) UnmarshalJSON(b []byte) error {
	*o = append((*o)[:0], b...)
	return nil
}

// Schema says that it is an object.
func (Object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}

// Tree decodes JSON for validation. A number too large for a float becomes an
// infinity, so that validation says where it stands instead of giving up; the
// digits themselves are kept by whoever takes the raw bytes.
func Tree(data []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return floats(v), nil
}

func floats(v any) any {
	switch t := v.(type) {
	case json.Number:
		f, _ := strconv.ParseFloat(string(t), 64)
		return f
	case map[string]any:
		for k, e := range t {
			t[k] = floats(e)
		}
	case []any:
		for i, e := range t {
			t[i] = floats(e)
		}
	}
	return v
}

// bodies caches the schemas that in-process calls check against.
var bodies struct {
	sync.Mutex
	byType map[reflect.Type]*bodySchema
}

type bodySchema struct {
	registry huma.Registry
	schema   *huma.Schema
	words    Words
}

// checkBody holds the Body of an in-process call to the schema that the edge
// holds a request's to.
func checkBody(in any) error {
	v := reflect.ValueOf(in)
	f := v.FieldByName("Body")
	if !f.IsValid() {
		return nil
	}
	b := schemaOf(f.Type())
	data, err := json.Marshal(f.Interface())
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "the input cannot be written as JSON")
	}
	tree, err := Tree(data)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "the input cannot be read as JSON")
	}
	res := &huma.ValidateResult{}
	huma.Validate(b.registry, b.schema, huma.NewPathBuffer([]byte("body"), 4), huma.ModeWriteToServer, tree, res)
	if len(res.Errors) > 0 {
		return Invalid(b.words, res.Errors)
	}
	return nil
}

func schemaOf(t reflect.Type) *bodySchema {
	bodies.Lock()
	defer bodies.Unlock()
	if b := bodies.byType[t]; b != nil {
		return b
	}
	r := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	s := r.Schema(t, true, "Body")
	b := &bodySchema{registry: r, schema: s, words: Words{Body: WordsOf(r, s)}}
	if bodies.byType == nil {
		bodies.byType = map[reflect.Type]*bodySchema{}
	}
	bodies.byType[t] = b
	return b
}
