package kind

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"strongroom/internal/base/fault"
)

// Dialect is the only $schema that a kind may declare, and the one that it has
// without declaring any.
const Dialect = "https://json-schema.org/draft/2020-12/schema"

// Limits on schemas. The library compiles in time quadratic in the number of
// subschemas, so their number is what bounds it.
const (
	maxSchemaValues = 4_000  // objects, arrays, strings, numbers, literals of a schema
	maxSubschemas   = 1_000  // that a schema reaches
	maxReferences   = 100    // applied to one value in a row
	maxPattern      = 1_024  // bytes of one regular expression
	maxPatternSize  = 2_000  // instructions of one compiled regular expression
	maxPatternSum   = 20_000 // instructions of all of a schema's
)

// Schema is a compiled schema. It is safe for concurrent use.
type Schema struct {
	compiled *jsonschema.Schema // nil accepts every object
	cost     *node
	size     int
	columns  []string
	fields   []Field
	title    string            // the field that is the title
	people   map[string]string // fields of the top level that are about a person
}

// Any is the schema of the Generic kind: it accepts every object.
var Any = &Schema{size: 1}

// Columns returns the schema's top-level properties in the order in which they
// are written, for tables.
func (s *Schema) Columns() []string { return s.columns }

// location is what the library knows the schema by, a name under which nothing
// can be found (RFC 6761, section 6.4). It is never fetched.
const location = "https://strongroom.invalid/kind/schema"

// Compile reads a JSON Schema. Failures point below at, the pointer of the
// schema in the request.
func Compile(raw []byte, at string) (s *Schema, err error) {
	p, v, err := parse(raw, at, MaxSchema)
	if err != nil {
		return nil, err
	}
	root, ok := v.(map[string]any)
	if !ok {
		return nil, fault.At(fault.Invalid, at, "type", "a schema must be an object")
	}
	if p.values > maxSchemaValues {
		return nil, fault.At(fault.Invalid, at, "too_complex", fmt.Sprintf("a schema has at most %d values", maxSchemaValues))
	}
	if len(root) == 0 {
		return Any, nil
	}
	if d, ok := root["$schema"]; ok && d != any(Dialect) && d != any(Dialect+"#") {
		return nil, fault.At(fault.Invalid, at+"/$schema", "dialect", "the only dialect is "+Dialect)
	}
	// The library is well kept, and this is text of a stranger's choice: a
	// panic in it costs this request, not the server.
	defer func() {
		if r := recover(); r != nil {
			s, err = nil, fault.At(fault.Invalid, at, "schema", "this schema cannot be compiled")
		}
	}()
	patterns := &patterns{known: map[string]*pattern{}}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.RegisterFormat(&jsonschema.Format{Name: FormatUnit, Validate: isUnit})
	c.UseLoader(nothing{})
	c.UseRegexpEngine(patterns.compile)
	if err := c.AddResource(location, v); err != nil {
		return nil, fault.At(fault.Invalid, at, "schema", "this schema cannot be compiled")
	}
	compiled, err := c.Compile(location)
	if err != nil {
		return nil, schemaFault(err, at, patterns)
	}
	g := &graph{nodes: map[*jsonschema.Schema]*node{}}
	cost, err := g.build(compiled, at)
	if err != nil {
		return nil, err
	}
	s = &Schema{compiled: compiled, cost: cost, size: len(g.nodes) + patterns.sum/10, columns: p.properties, fields: FieldsOf(raw)}
	for _, f := range s.fields {
		if f.Annotation.Title && s.title == "" {
			s.title = f.Name
		}
		if f.Annotation.Person != "" {
			if s.people == nil {
				s.people = map[string]string{}
			}
			s.people[f.Name] = f.Annotation.Person
		}
	}
	return s, nil
}

// nothing is the loader of a schema that may read nothing but itself.
type nothing struct{}

var errOutside = errors.New("kind: a reference leads outside the schema")

func (nothing) Load(string) (any, error) { return nil, errOutside }

// patterns compiles the regular expressions of one schema, each once. RE2
// matches in time linear in the text, times the size of the program: so that
// is bounded too.
type patterns struct {
	known map[string]*pattern
	sum   int
}

type pattern struct {
	*regexp.Regexp
	size int
}

var errPattern = errors.New("kind: not an accepted regular expression")

func (p *patterns) compile(s string) (jsonschema.Regexp, error) {
	if re, ok := p.known[s]; ok {
		return re, nil
	}
	re, err := compilePattern(s)
	if err != nil {
		return nil, err
	}
	if p.sum += re.size; p.sum > maxPatternSum {
		return nil, errPattern
	}
	p.known[s] = re
	return re, nil
}

func compilePattern(s string) (*pattern, error) {
	if len(s) > maxPattern {
		return nil, errPattern
	}
	tree, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return nil, errPattern
	}
	size := programSize(tree)
	if size > maxPatternSize {
		return nil, errPattern
	}
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, errPattern
	}
	return &pattern{re, size}, nil
}

// programSize bounds the number of instructions that an expression compiles
// to, without compiling it: x{1000} is seven bytes and a thousand instructions.
func programSize(re *syntax.Regexp) int {
	n := 0
	for _, sub := range re.Sub {
		n += programSize(sub)
	}
	switch re.Op {
	case syntax.OpConcat:
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpCharClass:
		n = 1 + len(re.Rune)/8
	case syntax.OpCapture:
		n += 2
	case syntax.OpAlternate:
		n += len(re.Sub)
	case syntax.OpRepeat:
		n = max(n, 1) * max(re.Max, re.Min+1)
	default:
		n++
	}
	return min(n, 1<<20)
}

const regexpDetail = "must be a regular expression in the syntax of RE2 (no look-around, no back-references), at most 1,024 bytes and without large repetitions"

// schemaFault tells what is wrong with a schema. The library's texts repeat
// parts of the schema, so none of them is passed on.
func schemaFault(err error, at string, p *patterns) error {
	var (
		invalid   *jsonschema.SchemaValidationError
		badRegexp *jsonschema.InvalidRegexError
		pointer   *jsonschema.JSONPointerNotFoundError
		syntax    *jsonschema.InvalidJsonPointerError
		anchor    *jsonschema.AnchorNotFoundError
		outside   *jsonschema.LoadURLError
	)
	switch {
	case p.sum > maxPatternSum:
		return fault.At(fault.Invalid, at, "too_complex", "the schema's regular expressions are too large")
	case errors.As(err, &invalid):
		var v *jsonschema.ValidationError
		if errors.As(invalid.Err, &v) {
			return faultOf(v, at+fragment(invalid.URL), "the schema does not follow JSON Schema, draft 2020-12")
		}
	case errors.As(err, &badRegexp):
		return fault.At(fault.Invalid, clip(at+fragment(badRegexp.URL)), "pattern", regexpDetail)
	case errors.As(err, &pointer), errors.As(err, &syntax), errors.As(err, &anchor):
		return fault.At(fault.Invalid, at, "unresolved_reference", "a reference points at a place that the schema does not have")
	case errors.As(err, &outside):
		return fault.At(fault.Invalid, at, "remote_reference", "a reference leads outside the schema: only what the schema itself holds can be referred to")
	}
	return fault.At(fault.Invalid, at, "schema", "this schema cannot be compiled: its identifiers, anchors or references do not fit together")
}

// fragment returns the JSON pointer in a URL that the library made.
func fragment(u string) string {
	_, f, _ := strings.Cut(u, "#")
	if s, err := url.PathUnescape(f); err == nil {
		return s
	}
	return ""
}

// Validate checks content against the schema. Failures point below at, the
// pointer of the content in the request; at most maxDetails of them are told.
func (s *Schema) Validate(c *Content, at string) (err error) {
	if s.compiled == nil {
		return nil
	}
	if err := s.affordable(c, at); err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			// The panic's value may hold content: it goes nowhere.
			err = fault.Wrap(fault.Internal, errors.New("kind: the schema library panicked"), "the content could not be checked")
		}
	}()
	if err := s.compiled.Validate(c.value); err != nil {
		var v *jsonschema.ValidationError
		if !errors.As(err, &v) {
			return fault.Wrap(fault.Internal, errors.New("kind: the schema library failed"), "the content could not be checked")
		}
		return faultOf(v, at, "the content does not fit the schema of its kind")
	}
	return nil
}
