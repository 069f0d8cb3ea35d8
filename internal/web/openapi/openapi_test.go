package openapi_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"strongroom/internal/web/openapi"
)

const golden = "../../app/testdata/openapi.golden.json"

func description(t *testing.T) ([]byte, *openapi.Document) {
	t.Helper()
	b, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return b, doc
}

func compile(t *testing.T, at string, v any) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("https://strongroom.invalid/doc", v); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("https://strongroom.invalid/doc" + at)
	if err != nil {
		t.Fatalf("%s: %v", at, err)
	}
	return s
}

func parse(t *testing.T, b []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestTheDescriptionIsOpenAPI holds it to the official schema, and each of its
// own schemas to JSON Schema 2020-12, as OpenAPI 3.1 says.
func TestTheDescriptionIsOpenAPI(t *testing.T) {
	t.Parallel()
	raw, doc := description(t)
	official, err := os.ReadFile("testdata/openapi-3.1/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	schema := compile(t, "", parse(t, official))
	if err := schema.Validate(parse(t, raw)); err != nil {
		t.Errorf("%v", err)
	}
	for _, change := range []func(d map[string]any){ // the schema is not one that takes everything
		func(d map[string]any) { delete(d, "info") },
		func(d map[string]any) { d["openapi"] = "3.0.0" },
		func(d map[string]any) { d["surprise"] = true },
		func(d map[string]any) { d["paths"].(map[string]any)["no-slash"] = map[string]any{} },
	} {
		d := parse(t, raw).(map[string]any)
		change(d)
		if schema.Validate(d) == nil {
			t.Error("a wrong document passes")
		}
	}
	v := parse(t, raw)
	for name := range doc.Components.Schemas {
		compile(t, "#/components/schemas/"+name, v)
	}
}

var (
	kebab     = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	className = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)
)

// TestOtherPeoplesGeneratorsFindWhatTheyNeed: names that become names in any
// language, words for every part, one tag an operation, a way to sign in.
func TestOtherPeoplesGeneratorsFindWhatTheyNeed(t *testing.T) {
	t.Parallel()
	_, doc := description(t)
	if len(doc.Servers) == 0 || doc.Info.License == nil || doc.Components.SecuritySchemes["bearer"] == nil {
		t.Error("the document lacks its servers, licence or security schemes")
	}
	tags := map[string]bool{}
	for _, tag := range doc.Tags {
		if tag.Description == "" || tags[tag.Name] {
			t.Errorf("the tag %s has no words or comes twice", tag.Name)
		}
		tags[tag.Name] = true
	}
	for name := range doc.Components.Schemas {
		if !className.MatchString(name) {
			t.Errorf("the schema %q has no name for a class", name)
		}
	}
	ids := map[string]bool{}
	for _, op := range doc.Operations() {
		if !kebab.MatchString(op.ID) || ids[op.ID] {
			t.Errorf("%s: not a name, or not the only one", op.ID)
		}
		ids[op.ID] = true
		if !tags[op.Tags[0]] {
			t.Errorf("%s: nothing is said of its tag %s; add a line to tags in package api", op.ID, op.Tags[0])
		}
		if op.Summary == "" || strings.HasSuffix(op.Summary, ".") || len(op.Summary) > 80 {
			t.Errorf("%s: the summary %q is no line without a full stop", op.ID, op.Summary)
		}
		if op.Description != "" && !strings.HasSuffix(op.Description, ".") {
			t.Errorf("%s: the description does not end", op.ID)
		}
		for _, p := range op.Parameters {
			if p.Description == "" {
				t.Errorf("%s: nothing is said of the parameter %s", op.ID, p.Name)
			}
			if p.Schema == nil || len(p.Schema.Type) == 0 {
				t.Errorf("%s: the parameter %s has no type", op.ID, p.Name)
			}
		}
		status, answer := op.Success()
		if answer == nil || answer.Description == "" {
			t.Errorf("%s: no success is described", op.ID)
			continue
		}
		if s := answer.JSON(); s != nil && s.Ref == "" {
			t.Errorf("%s: the answer %s has a type without a name", op.ID, status)
		}
		// Links and exports are made and removed, never changed.
		if _, has := answer.Headers["ETag"]; has && op.ID != "create-link" && op.ID != "start-export" && answer.JSON() != nil && doc.Resolve(answer.JSON()).Properties["version"] == nil {
			t.Errorf("%s: the answer has an ETag and no version, which clients that read bodies need", op.ID)
		}
		for _, want := range []string{"400", "500", "503"} {
			if op.Responses[want] == nil {
				t.Errorf("%s: %s is not described", op.ID, want)
			}
		}
	}
}

func TestEveryExampleFitsItsSchema(t *testing.T) {
	t.Parallel()
	raw, doc := description(t)
	v := parse(t, raw)
	written := 0
	for _, op := range doc.Operations() {
		s := op.RequestBody.JSON()
		if s == nil {
			continue
		}
		if s.Ref == "" {
			t.Errorf("%s: the body has a type without a name", op.ID)
			continue
		}
		example := op.RequestBody.Content["application/json"].Example
		if len(example) > 0 {
			written++
		} else {
			example = json.RawMessage(doc.Example(s))
		}
		if err := compile(t, s.Ref, v).Validate(parse(t, example)); err != nil {
			t.Errorf("%s: %s\n%v", op.ID, example, err)
		}
	}
	if written < 10 {
		t.Errorf("%d examples are written: the test looks in the wrong place", written)
	}
}

func TestWhatNobodyKnowsIsRefused(t *testing.T) {
	t.Parallel()
	raw, _ := description(t)
	for _, change := range [][2]string{
		{`"openapi":`, `"surprise": 1, "openapi":`},
		{`"operationId":`, `"surprise": 1, "operationId":`},
		{`"additionalProperties": false`, `"additionalProperties": {"surprise": 1}`},
		{`"#/components/schemas/Problem"`, `"#/components/schemas/Nowhere"`},
	} {
		if !bytes.Contains(raw, []byte(change[0])) {
			t.Fatalf("%s is not there", change[0])
		}
		if _, err := openapi.Parse(bytes.Replace(raw, []byte(change[0]), []byte(change[1]), 1)); err == nil {
			t.Errorf("%s is taken", change[1])
		}
	}
	for _, doc := range []string{``, `{`, `[]`, `{} {}`, `{"paths":{"/x":{"get":{"operationId":"a"}}}}`} {
		if _, err := openapi.Parse([]byte(doc)); err == nil && doc != `{}` {
			t.Errorf("%s is taken", doc)
		}
	}
}

func TestOperationsComeInOneOrder(t *testing.T) {
	t.Parallel()
	_, doc := description(t)
	name := func(all []*openapi.Operation) (out []string) {
		for _, op := range all {
			out = append(out, op.ID)
		}
		return out
	}
	first := name(doc.Operations())
	for range 5 {
		if got := name(doc.Operations()); !slices.Equal(got, first) {
			t.Fatal("the order changes")
		}
	}
	if list, one := slices.Index(first, "list-records"), slices.Index(first, "get-record"); list < 0 || one < list {
		t.Error("a list comes after what is done to one thing")
	}
}
