package pyclient_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"strongroom/internal/testkit/pyclient"
)

var update = flag.Bool("update", false, "write the generated file")

const (
	description = "../../app/testdata/openapi.golden.json"
	generated   = "../../../clients/python/strongroom/_generated.py"
)

func TestTheGeneratedHalfIsTheDescriptions(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile(description)
	if err != nil {
		t.Fatal(err)
	}
	want, err := pyclient.Generate(doc)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(generated, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(generated)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the description gives; run this test with -update", generated)
	}
}

// What the description says reaches Python as text and as nothing else.
func TestNoTextOfTheDescriptionBecomesCode(t *testing.T) {
	t.Parallel()
	const doc = `{"openapi":"3.1.0","info":{"title":"t","version":"1","description":""},"components":{"schemas":{}},"paths":{"/v1/things":{"get":{
		"operationId":"ID","tags":["T"],"summary":"SUMMARY","parameters":[{"name":"NAME","in":"query","schema":{"type":"string","enum":["ENUM"]}}],
		"responses":{"200":{"description":"","content":{"application/json":{"schema":{"type":"object","properties":{"FIELD":{"type":"string","description":"WORDS"}}}}}}}}}}}`
	make := func(pairs ...string) (string, error) {
		plain := []string{"ID", "list-things", "SUMMARY", "s", "NAME", "name", "ENUM", "e", "FIELD", "field", "WORDS", "w"}
		return pyclient.Generate([]byte(strings.NewReplacer(append(pairs, plain...)...).Replace(doc)))
	}
	if _, err := make(); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{"ID", "NAME", "FIELD"} {
		for _, name := range []string{"a b", "a\n", "1a", "a(", "", "a=1", "__import__('os')"} {
			if text, err := make(place, name); err == nil {
				t.Errorf("%q is taken as a name in the place of %s:\n%s", name, place, text)
			}
		}
	}
	for _, place := range []string{"SUMMARY", "WORDS"} {
		text, err := make(place, `x\"\"\"\nimport os\\`)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text, `x\"\"\" import os\\`) || strings.Contains(text, "\nimport os") {
			t.Errorf("the place of %s ends its docstring:\n%s", place, text)
		}
	}
	text, err := make("ENUM", `\"]; import os; [\"`)
	if err != nil || !strings.Contains(text, `Literal["\"]; import os; [\""]`) {
		t.Errorf("an enum is not one literal: %v\n%s", err, text)
	}
	for _, unknown := range []string{`"responses":`, `"tags":`} {
		if _, err := pyclient.Generate([]byte(strings.Replace(doc, unknown, `"surprise":1,`+unknown, 1))); err == nil {
			t.Error("a part that nobody knows is left out in silence")
		}
	}
}
