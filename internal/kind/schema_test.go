package kind

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
)

func compile(t testing.TB, schema string) *Schema {
	t.Helper()
	s, err := Compile([]byte(schema), "/schema")
	if err != nil {
		t.Fatalf("%s: %v %+v", schema, err, fault.From(err).Details)
	}
	return s
}

func content(t testing.TB, raw string) *Content {
	t.Helper()
	c, err := ParseContent([]byte(raw), "/content")
	if err != nil {
		t.Fatalf("%.100s: %v", raw, err)
	}
	return c
}

// details writes a failure as "pointer code" lines.
func details(err error) (lines []string) {
	for _, d := range fault.From(err).Details {
		lines = append(lines, d.Pointer+" "+d.Code)
	}
	return
}

func TestEveryKeywordAcceptsAndRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ schema, good, bad, want string }{
		{`{"type":"object","required":["a","b"]}`, `{"a":1,"b":2}`, `{"a":1}`, "/content/b required"},
		{`{"properties":{"a":{"type":"string"}}}`, `{"a":"x"}`, `{"a":1}`, "/content/a type"},
		{`{"properties":{"a":{"type":["integer","null"]}}}`, `{"a":1.0}`, `{"a":1.5}`, "/content/a type"},
		{`{"properties":{"a":{"type":"integer"}}}`, `{"a":123456789012345678901234567890}`, `{"a":0.1}`, "/content/a type"},
		{`{"properties":{"a":{"enum":["x",2,[3]]}}}`, `{"a":2.0}`, `{"a":"y"}`, "/content/a enum"},
		{`{"properties":{"a":{"const":{"x":[1]}}}}`, `{"a":{"x":[1.0]}}`, `{"a":{"x":[2]}}`, "/content/a const"},
		{`{"properties":{"a":{"minimum":0.1}}}`, `{"a":0.1}`, `{"a":0.09999999999999999999999999}`, "/content/a minimum"},
		{`{"properties":{"a":{"maximum":3}}}`, `{"a":3}`, `{"a":3.00000000000000000000000001}`, "/content/a maximum"},
		{`{"properties":{"a":{"exclusiveMinimum":0}}}`, `{"a":1e-400}`, `{"a":0}`, "/content/a exclusive_minimum"},
		{`{"properties":{"a":{"exclusiveMaximum":0}}}`, `{"a":-1}`, `{"a":0.0}`, "/content/a exclusive_maximum"},
		{`{"properties":{"a":{"multipleOf":0.01}}}`, `{"a":19.99}`, `{"a":19.995}`, "/content/a multiple_of"},
		{`{"properties":{"a":{"minLength":2}}}`, `{"a":"éé"}`, `{"a":"é"}`, "/content/a min_length"},
		{`{"properties":{"a":{"maxLength":1}}}`, `{"a":"日"}`, `{"a":"日本"}`, "/content/a max_length"},
		{`{"properties":{"a":{"pattern":"^[a-z]+$"}}}`, `{"a":"abc"}`, `{"a":"a1"}`, "/content/a pattern"},
		{`{"properties":{"a":{"format":"date-time"}}}`, `{"a":"2026-11-01T10:00:00Z"}`, `{"a":"yesterday"}`, "/content/a format"},
		{`{"properties":{"a":{"format":"email"}}}`, `{"a":"ada@example.org"}`, `{"a":"ada"}`, "/content/a format"},
		{`{"properties":{"a":{"format":"regex"}}}`, `{"a":"^a+$"}`, `{"a":"(x{1000}){3}"}`, "/content/a format"},
		{`{"properties":{"a":{"format":"a-format-of-our-own"}}}`, `{"a":"x"}`, ``, ""},
		{`{"minProperties":1}`, `{"a":1}`, `{}`, "/content min_properties"},
		{`{"maxProperties":1}`, `{"a":1}`, `{"a":1,"b":2}`, "/content max_properties"},
		{`{"properties":{"a":true},"additionalProperties":false}`, `{"a":1}`, `{"b":1}`, "/content/b additional_properties"},
		{`{"additionalProperties":{"type":"string"}}`, `{"a":"x"}`, `{"a":1}`, "/content/a type"},
		{`{"patternProperties":{"^n_":{"type":"number"}}}`, `{"n_a":1,"x":"y"}`, `{"n_a":"1"}`, "/content/n_a type"},
		{`{"propertyNames":{"pattern":"^[a-z]+$"}}`, `{"abc":1}`, `{"A":1}`, "/content/A property_names"},
		{`{"dependentRequired":{"a":["b"]}}`, `{"b":1}`, `{"a":1}`, "/content/b dependent_required"},
		{`{"dependentSchemas":{"a":{"required":["b"]}}}`, `{"a":1,"b":1}`, `{"a":1}`, "/content/b required"},
		{`{"properties":{"a":{"items":{"type":"number"}}}}`, `{"a":[1,2]}`, `{"a":[1,"2"]}`, "/content/a/1 type"},
		{`{"properties":{"a":{"prefixItems":[{"type":"number"}],"items":false}}}`, `{"a":[1]}`, `{"a":[1,2]}`, "/content/a/1 false"},
		{`{"properties":{"a":{"minItems":1}}}`, `{"a":[1]}`, `{"a":[]}`, "/content/a min_items"},
		{`{"properties":{"a":{"maxItems":1}}}`, `{"a":[1]}`, `{"a":[1,2]}`, "/content/a max_items"},
		{`{"properties":{"a":{"uniqueItems":true}}}`, `{"a":[1,"1",true,[1],{"x":1},{"x":2},null]}`, `{"a":[{"x":1,"y":2},{"y":2.0,"x":1e0}]}`, "/content/a unique_items"},
		{`{"properties":{"a":{"contains":{"type":"string"}}}}`, `{"a":[1,"x"]}`, `{"a":[1]}`, "/content/a contains"},
		{`{"properties":{"a":{"contains":{"type":"string"},"minContains":2}}}`, `{"a":["x","y"]}`, `{"a":["x"]}`, "/content/a min_contains"},
		{`{"properties":{"a":{"contains":{"type":"string"},"maxContains":1}}}`, `{"a":["x",1]}`, `{"a":["x","y"]}`, "/content/a max_contains"},
		{`{"allOf":[{"required":["a"]},{"required":["b"]}]}`, `{"a":1,"b":1}`, `{}`, "/content/a required,/content/b required"},
		{`{"anyOf":[{"required":["a"]},{"required":["b"]}]}`, `{"b":1}`, `{}`, "/content any_of"},
		{`{"oneOf":[{"required":["a"]},{"required":["b"]}]}`, `{"b":1}`, `{"a":1,"b":1}`, "/content one_of"},
		{`{"not":{"required":["a"]}}`, `{"b":1}`, `{"a":1}`, "/content not"},
		{`{"if":{"required":["a"]},"then":{"required":["b"]},"else":{"required":["c"]}}`, `{"c":1}`, `{"a":1}`, "/content/b required"},
		{`{"allOf":[{"properties":{"a":true}}],"unevaluatedProperties":false}`, `{"a":1}`, `{"b":1}`, "/content/b false"},
		{`{"properties":{"a":{"prefixItems":[true],"unevaluatedItems":false}}}`, `{"a":[1]}`, `{"a":[1,2]}`, "/content/a/1 false"},
		{`{"$defs":{"n":{"type":"number"}},"properties":{"a":{"$ref":"#/$defs/n"}}}`, `{"a":1}`, `{"a":"1"}`, "/content/a type"},
		{`{"$defs":{"n":{"$anchor":"num","type":"number"}},"properties":{"a":{"$ref":"#num"}}}`, `{"a":1}`, `{"a":"1"}`, "/content/a type"},
		{`{"$id":"https://example.org/s","$defs":{"n":{"$id":"n","type":"number"}},"properties":{"a":{"$ref":"n"}}}`, `{"a":1}`, `{"a":"1"}`, "/content/a type"},
		{`{"properties":{"a":{"$ref":"#"},"v":{"type":"number"}}}`, `{"a":{"a":{"v":1}}}`, `{"a":{"a":{"v":"1"}}}`, "/content/a/a/v type"},
		{`{"$dynamicAnchor":"t","properties":{"c":{"items":{"$dynamicRef":"#t"}},"v":{"type":"number"}}}`, `{"c":[{"v":1}]}`, `{"c":[{"v":"1"}]}`, "/content/c/0/v type"},
		{`{"properties":{"a/b":{"properties":{"c~d":{"type":"number"}}}}}`, `{"a/b":{"c~d":1}}`, `{"a/b":{"c~d":"1"}}`, "/content/a~1b/c~0d type"},
	} {
		s := compile(t, c.schema)
		if err := s.Validate(content(t, c.good), "/content"); err != nil {
			t.Errorf("%s refused %s: %v", c.schema, c.good, details(err))
		}
		if c.bad == "" {
			continue
		}
		err := s.Validate(content(t, c.bad), "/content")
		if got := strings.Join(details(err), ","); got != c.want || fault.From(err).Kind != fault.Invalid {
			t.Errorf("%s on %s: %v [%s], want [%s]", c.schema, c.bad, err, got, c.want)
		}
	}
}

// The cases that the library tests itself by, through our limits.
func TestTheLibrarysOwnSuitePassesThroughOurLimits(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/suite/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no suite: %v", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var groups []struct {
			Description string
			Schema      json.RawMessage
			Tests       []struct {
				Description string
				Data        json.RawMessage
				Valid       bool
			}
		}
		if err := json.Unmarshal(b, &groups); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, g := range groups {
			s, err := Compile(g.Schema, "")
			for _, c := range g.Tests {
				_, v, perr := parse(c.Data, "", MaxContent)
				if perr != nil {
					t.Fatalf("%s: %v", name, perr)
				}
				if err != nil { // a reference without end: refused once, instead of every time
					if got := details(err); c.Valid || len(got) != 1 || got[0] != " reference_cycle" {
						t.Errorf("%s: %s: %v", name, g.Description, got)
					}
					continue
				}
				if got := s.compiled.Validate(v) == nil; got != c.Valid {
					t.Errorf("%s: %s: %s: valid is %v", name, g.Description, c.Description, got)
				}
			}
		}
	}
}

func TestASchemaThatIsNoneIsRefusedAtItsPlace(t *testing.T) {
	t.Parallel()
	many := func(n int, f func(i int) string) string {
		var parts []string
		for i := range n {
			parts = append(parts, f(i))
		}
		return strings.Join(parts, ",")
	}
	for name, c := range map[string]struct{ schema, want string }{
		"no JSON":                 {`{`, "/schema json"},
		"an array":                {`[]`, "/schema type"},
		"a boolean":               {`true`, "/schema type"},
		"a member twice":          {`{"type":"object","type":"array"}`, "/schema/type duplicate_member"},
		"an unknown type":         {`{"properties":{"a":{"type":"text"}}}`, "/schema/properties/a/type any_of"},
		"a negative length":       {`{"properties":{"a":{"maxLength":-1}}}`, "/schema/properties/a/maxLength minimum"},
		"a step of zero":          {`{"properties":{"a":{"multipleOf":0}}}`, "/schema/properties/a/multipleOf exclusive_minimum"},
		"another draft":           {`{"$schema":"http://json-schema.org/draft-07/schema#"}`, "/schema/$schema dialect"},
		"a draft of its own":      {`{"$schema":"https://example.org/own"}`, "/schema/$schema dialect"},
		"another draft inside":    {`{"$defs":{"a":{"$id":"a","$schema":"http://json-schema.org/draft-07/schema#","type":"object"}},"$ref":"a"}`, "/schema dialect"},
		"a remote reference":      {`{"$ref":"https://example.org/other.json"}`, "/schema remote_reference"},
		"a file":                  {`{"$ref":"file:///etc/passwd"}`, "/schema remote_reference"},
		"a relative file":         {`{"$ref":"../../../../etc/passwd"}`, "/schema remote_reference"},
		"a reference to nothing":  {`{"$ref":"#/$defs/none"}`, "/schema unresolved_reference"},
		"an anchor to nothing":    {`{"$ref":"#none"}`, "/schema unresolved_reference"},
		"a bad pointer":           {`{"$ref":"#/a~2"}`, "/schema unresolved_reference"},
		"a bad URL":               {`{"$ref":"%zz"}`, "/schema/$ref format"},
		"an anchor twice":         {`{"$defs":{"a":{"$anchor":"x"},"b":{"$anchor":"x"}}}`, "/schema schema"},
		"an id twice":             {`{"$defs":{"a":{"$id":"x"},"b":{"$id":"x"}}}`, "/schema schema"},
		"look-around":             {`{"properties":{"a":{"pattern":"(?=x)"}}}`, "/schema/properties/a/pattern format"},
		"a back-reference":        {`{"patternProperties":{"(a)\\1":true}}`, ""},
		"a large repetition":      {`{"properties":{"a":{"pattern":"(x{100}){100}"}}}`, ""},
		"a long pattern":          {`{"properties":{"a":{"pattern":"` + strings.Repeat("x", maxPattern+1) + `"}}}`, ""},
		"patterns without end":    {`{"properties":{` + many(30, func(i int) string { return fmt.Sprintf(`"p%d":{"pattern":"x{%d}"}`, i, 900+i) }) + `}}`, "/schema too_complex"},
		"itself":                  {`{"$ref":"#"}`, "/schema reference_cycle"},
		"itself, with detours":    {`{"$defs":{"a":{"anyOf":[{"type":"null"},{"$ref":"#/$defs/b"}]},"b":{"not":{"$ref":"#/$defs/a"}}},"$ref":"#/$defs/a"}`, "/schema reference_cycle"},
		"too many values":         {`{"enum":[` + many(maxSchemaValues, func(int) string { return "0" }) + `]}`, "/schema too_complex"},
		"too many subschemas":     {`{"properties":{` + many(maxSubschemas, func(i int) string { return fmt.Sprintf(`"p%d":true`, i) }) + `}}`, "/schema too_complex"},
		"too many in a row":       {`{"$defs":{` + many(150, func(i int) string { return fmt.Sprintf(`"d%d":{"$ref":"#/$defs/d%d"}`, i, i+1) }) + `,"d150":{}},"$ref":"#/$defs/d0"}`, "/schema too_complex"},
		"too large":               {`{"description":"` + strings.Repeat("x", MaxSchema) + `"}`, "/schema too_large"},
		"a number out of range":   {`{"minimum":1e1000000}`, "/schema/minimum number_range"},
		"a NUL":                   {`{"title":"\u0000"}`, "/schema/title nul"},
		"the dialect's own place": {`{"$id":"https://json-schema.org/draft/2020-12/schema","type":"objec"}`, ""},
	} {
		s, err := Compile([]byte(c.schema), "/schema")
		if err == nil {
			t.Errorf("%s was compiled: %v", name, s)
			continue
		}
		f := fault.From(err)
		if got := strings.Join(details(err), ","); f.Kind == fault.Internal || c.want != "" && got != c.want {
			t.Errorf("%s: %v %v [%s]", name, f.Kind, err, got)
		}
		if f.Cause != nil {
			t.Errorf("%s: the cause repeats the schema: %v", name, f.Cause)
		}
	}
}

func TestTheGenericKindAcceptsEveryObject(t *testing.T) {
	t.Parallel()
	for _, schema := range []string{`{}`, ` { } `} {
		if s := compile(t, schema); s != Any {
			t.Errorf("%q is not the schema that accepts every object", schema)
		}
	}
	if err := Any.Validate(content(t, `{"any":["thing",{"at":"all"}]}`), "/content"); err != nil {
		t.Error(err)
	}
}

func TestColumnsAreThePropertiesInTheirWrittenOrder(t *testing.T) {
	t.Parallel()
	s := compile(t, `{"$defs":{"properties":{"properties":{"no":{}}}},"properties":{"z":{"properties":{"inner":{}}},"a":true,"m":{"type":"object"}},"required":["q"]}`)
	if got := s.Columns(); !slices.Equal(got, []string{"z", "a", "m"}) {
		t.Errorf("got %v", got)
	}
	if got := Any.Columns(); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestFailuresNeverRepeatWhatWasSent(t *testing.T) {
	t.Parallel()
	s := compile(t, `{"properties":{"a":{"type":"number"},"b":{"pattern":"^x$"},"c":{"enum":["schema-side"]},"d":{"const":1},"e":{"format":"email"},"f":{"maxLength":1},
		"g":{"maximum":1},"h":{"not":true},"i":{"items":{"type":"null"}},"j":{"oneOf":[{"type":"null"}]}}}`)
	err := s.Validate(content(t, `{"a":"canary","b":"canary","c":"canary","d":"canary","e":"canary","f":"canary","g":7777777,"h":"canary","i":["canary"],"j":"canary"}`), "/content")
	f := fault.From(err)
	if len(f.Details) != 10 {
		t.Errorf("%d details: %v", len(f.Details), details(err))
	}
	if text := fmt.Sprintf("%v %+v %v", err, f, f.Cause); strings.Contains(text, "canary") || strings.Contains(text, "7777777") {
		t.Errorf("a value came back: %s", text)
	}
}

func TestManyFailuresAreToldInOrderAndOnlyTheFirst(t *testing.T) {
	t.Parallel()
	s := compile(t, `{"additionalProperties":{"type":"null"}}`)
	var b strings.Builder
	for i := range 500 {
		fmt.Fprintf(&b, `,"m%03d":1`, i)
	}
	c := content(t, "{"+b.String()[1:]+"}")
	first := details(s.Validate(c, "/content"))
	if len(first) != maxDetails || first[0] != "/content/m000 type" || !slices.IsSorted(first) {
		t.Errorf("%d: %v", len(first), first)
	}
	if again := details(s.Validate(c, "/content")); !slices.Equal(first, again) {
		t.Error("the same request got another answer")
	}
}

// doubled is a schema of n definitions, each of them using the next twice.
func doubled(n int, how string) string {
	var b strings.Builder
	b.WriteString(`{"$defs":{`)
	for i := range n {
		fmt.Fprintf(&b, `"d%d":`+how+`,`, i, i+1, i+1)
	}
	fmt.Fprintf(&b, `"d%d":{"type":"string"}},"$ref":"#/$defs/d0"}`, n)
	return b.String()
}

func inNot(schema string) string {
	return strings.Replace(schema, `"$ref":"#/$defs/d0"}`, `"not":{"$ref":"#/$defs/d0"}}`, 1)
}

// A bomb is refused at once; what is just under the limit ends soon.
func TestNoSchemaAndNoContentCostMoreThanTheLimit(t *testing.T) {
	t.Parallel()
	numbers := "[" + strings.TrimSuffix(strings.Repeat("1,", 90_000), ",") + "]"
	nested := strings.Repeat(`{"x":`, 60) + "1" + strings.Repeat("}", 60)
	var colliding []string // one hash for all of them in the library
	for i := range 4096 {
		item := `["a`
		for bit := range 12 {
			item += map[bool]string{true: `\u0004b`, false: `","b`}[i>>bit&1 == 1]
		}
		colliding = append(colliding, item+`"]`)
	}
	for name, c := range map[string]struct {
		schema, content string
		refused         bool
	}{
		"all of, twice, 40 deep":        {doubled(40, `{"allOf":[{"$ref":"#/$defs/d%[2]d"},{"$ref":"#/$defs/d%[3]d"}]}`), `{"a":1}`, true},
		"any of, in not, 40 deep":       {inNot(doubled(40, `{"anyOf":[{"$ref":"#/$defs/d%[2]d"},{"$ref":"#/$defs/d%[3]d"}]}`)), `{"a":1}`, true},
		"dependent, in not, 40 deep":    {inNot(doubled(40, `{"dependentSchemas":{"a":{"$ref":"#/$defs/d%[2]d"},"b":{"$ref":"#/$defs/d%[3]d"}}}`)), `{"a":1,"b":1}`, true},
		"one branch, 40 deep":           {doubled(40, `{"$comment":"%[2]d","$ref":"#/$defs/d%[3]d"}`), `{"a":1}`, false},
		"twice into each member":        {`{"not":{"$ref":"#/$defs/a"},"$defs":{"a":{"properties":{"x":{"$ref":"#/$defs/a"}},"patternProperties":{"^x$":{"$ref":"#/$defs/a"}}}}}`, nested, true},
		"once into each member":         {`{"$ref":"#/$defs/a","$defs":{"a":{"properties":{"x":{"$ref":"#/$defs/a"}}}}}`, nested, false},
		"a long text, a large pattern":  {`{"properties":{"a":{"pattern":"(.*a){20}[^x]{300}y$"}}}`, `{"a":"` + strings.Repeat("a", 900_000) + `"}`, true},
		"a long text, a small pattern":  {`{"properties":{"a":{"pattern":"^a+b?$"}}}`, `{"a":"` + strings.Repeat("a", 900_000) + `"}`, false},
		"the largest pattern it allows": {`{"properties":{"a":{"pattern":"(.*a){20}[^x]{300}y$"}}}`, `{"a":"` + strings.Repeat("a", 10_000) + `"}`, false},
		"90,000 numbers of one type":    {`{"properties":{"a":{"items":{"type":"integer","minimum":0}}}}`, `{"a":` + numbers + `}`, false},
		"90,000 failures":               {`{"properties":{"a":{"items":{"type":"string"}}}}`, `{"a":` + numbers + `}`, false},
		"90,000 numbers, 300 schemas":   {`{"properties":{"a":{"items":{"anyOf":[` + strings.Repeat(`{"type":"string"},`, 299) + `true]}}}}`, `{"a":` + numbers + `}`, true},
		"4,096 items of one hash":       {`{"properties":{"a":{"uniqueItems":true}}}`, `{"a":[` + strings.Join(colliding, ",") + `]}`, false},
		"90,000 members, 90 schemas":    {`{"allOf":[` + strings.Repeat(`{"unevaluatedProperties":true},`, 89) + `true]}`, manyMembers(60_000), true},
	} {
		start := time.Now()
		s, err := Compile([]byte(c.schema), "")
		if err == nil {
			err = s.Validate(content(t, c.content), "")
		}
		took := time.Since(start)
		complex := err != nil && slices.Contains(details(err), " too_complex")
		if complex != c.refused {
			t.Errorf("%s: refused is %v (%v)", name, complex, details(err))
		}
		// Generous, for a machine under load: unbounded cases run for years.
		if took > 20*time.Second {
			t.Errorf("%s took %v", name, took)
		}
		t.Logf("%-30s %v", name, took.Round(time.Millisecond))
	}
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"m%d":0`, i)
	}
	return "{" + b.String()[1:] + "}"
}

func TestCompilingIsBounded(t *testing.T) {
	t.Parallel()
	var ids, refs []string
	for i := range 900 {
		ids = append(ids, fmt.Sprintf(`"d%d":{"$id":"i%d"}`, i, i))
		refs = append(refs, fmt.Sprintf(`"r%d":{"$ref":"#/x/r%d"}`, i, i))
	}
	for name, schema := range map[string]string{
		"900 identifiers":                    `{"$defs":{` + strings.Join(ids, ",") + `}}`,
		"900 references to unknown keywords": `{"properties":{` + strings.Join(refs, ",") + `},"x":{` + strings.ReplaceAll(strings.Join(refs, ","), `{"$ref":"#/x/`, `{"y":"`) + `}}`,
		"deep":                               strings.Repeat(`{"not":`, MaxDepth-1) + `{}` + strings.Repeat(`}`, MaxDepth-1),
	} {
		start := time.Now()
		_, err := Compile([]byte(schema), "")
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s took %v", name, took)
		} else {
			t.Logf("%-40s %v %v", name, took.Round(time.Millisecond), err)
		}
	}
}

func TestCachesArePartitionedByOrganization(t *testing.T) {
	t.Parallel()
	var c Cache
	a, b := id.NewOrg(), id.NewOrg()
	raw := []byte(`{"required":["x"]}`)
	get := func(org id.Org, raw []byte) *Schema {
		t.Helper()
		s, err := c.Schema(org, raw, "/schema")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	mine := get(a, raw)
	if get(a, bytes.Clone(raw)) != mine {
		t.Error("the same schema of one organization was compiled twice")
	}
	theirs := get(b, raw)
	if theirs == mine || theirs.compiled == mine.compiled {
		t.Error("two organizations share a compiled schema")
	}
	if get(a, []byte(`{"required":["y"]}`)) == mine {
		t.Error("another schema found this one's entry")
	}
	c.Forget(a)
	if get(a, raw) == mine {
		t.Error("a forgotten organization's schema is still there")
	}
	if get(b, raw) != theirs {
		t.Error("forgetting one organization forgot another")
	}
	if _, err := c.Schema(a, []byte(`{"type":3}`), "/schema"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a bad schema: %v", err)
	}
}

func TestACacheIsBoundedAndOneOrganizationCannotTakeItAll(t *testing.T) {
	t.Parallel()
	var c Cache
	other := id.NewOrg()
	kept, err := c.Schema(other, []byte(`{"required":["kept"]}`), "")
	if err != nil {
		t.Fatal(err)
	}
	greedy := id.NewOrg()
	big := &Schema{size: 900}
	for i := range 200 {
		c.put(greedy, [32]byte{1, byte(i)}, big)
		if c.size > maxCached || c.orgs[greedy].size > maxCachedOrg {
			t.Fatalf("after %d: %d in all, %d of one", i, c.size, c.orgs[greedy].size)
		}
	}
	if s, _ := c.Schema(other, []byte(`{"required":["kept"]}`), ""); s != kept {
		t.Error("one organization pushed out another's schema")
	}
	if c.get(greedy, [32]byte{1, 199}) == nil {
		t.Error("the latest entry is gone")
	}
	for i := range 200 { // many organizations: the oldest go, whoever they belong to
		c.put(id.NewOrg(), [32]byte{2, byte(i)}, big)
		if c.size > maxCached {
			t.Fatalf("%d in all", c.size)
		}
	}
	sum := 0
	for _, p := range c.orgs {
		sum += p.size
	}
	if sum != c.size || len(c.orgs) > maxCached/900+1 {
		t.Errorf("%d in %d partitions, %d counted", sum, len(c.orgs), c.size)
	}
	c.put(id.NewOrg(), [32]byte{3}, &Schema{size: maxCached + 1}) // never fits, is served all the same
	if c.age.Len() != 1 {
		t.Errorf("%d entries beside one that fills the cache", c.age.Len())
	}
}

func FuzzSchema(f *testing.F) {
	f.Add([]byte(`{"type":"object","properties":{"a":{"$ref":"#/$defs/b"}},"$defs":{"b":{"enum":[1,"x",{}]}}}`), []byte(`{"a":1}`))
	f.Add([]byte(`{"$dynamicAnchor":"x","items":{"$dynamicRef":"#x"},"unevaluatedProperties":false}`), []byte(`{"b":[1.5]}`))
	f.Add([]byte(`{"patternProperties":{"^a+$":{"uniqueItems":true,"format":"date"}},"$id":"urn:x"}`), []byte(`{"a":[1,1.0]}`))
	f.Add([]byte(`{"if":{"not":{"oneOf":[true,false]}},"then":{"multipleOf":0.1},"else":{"contains":true}}`), []byte(`{"a":[]}`))
	f.Fuzz(func(t *testing.T, schema, raw []byte) {
		s, err := Compile(schema, "/schema")
		if err != nil {
			if fault.From(err).Kind == fault.Internal || len(fault.From(err).Details) == 0 {
				t.Fatalf("%v", err)
			}
			return
		}
		c, err := ParseContent(raw, "/content")
		if err != nil {
			return
		}
		start := time.Now()
		if err := s.Validate(c, "/content"); err != nil && fault.From(err).Kind == fault.Internal {
			t.Fatalf("%q on %q: %v", schema, raw, err)
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Fatalf("took %v", took)
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	s := compile(b, `{"type":"object","required":["sample"],"properties":{"sample":{"type":"string","maxLength":64},"taken":{"format":"date-time"},"energy":{"type":"array","items":{"type":"number"}},"note":{"type":"string"}}}`)
	raw := []byte(`{"sample":"Si-100-07","taken":"2026-11-01T10:00:00Z","energy":[` + strings.TrimSuffix(strings.Repeat("1486.61,", 60), ",") + `],"note":"` + strings.Repeat("n", 400) + `"}`)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		c, err := ParseContent(raw, "")
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Validate(c, ""); err != nil {
			b.Fatal(err)
		}
	}
}

func TestTheBoundOnAPatternIsNotBelowItsProgram(t *testing.T) {
	t.Parallel()
	for _, expr := range []string{"", "x", "^abc$", "(a|b|cd)*", "[a-z0-9_]+@[a-z]+", "x{1000}", "(x{10}){50}", "(?:a?){0,900}", "\\pL{50}", "(?i)straße{3,}", "[^x]{2,5}|y", "(a*)*", "\\bword\\b", "(?s).{0,200}"} {
		tree, err := syntax.Parse(expr, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		bound := programSize(tree)
		prog, err := syntax.Compile(tree.Simplify())
		if err != nil {
			t.Fatal(err)
		}
		// Every instruction is a step for each byte; a handful always belong to the frame.
		if len(prog.Inst) > 2*bound+8 {
			t.Errorf("%s: %d instructions, bound %d", expr, len(prog.Inst), bound)
		}
	}
}
