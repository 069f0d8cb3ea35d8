package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// headerWords describes the headers that several operations take and whose
// types say everything to the code and nothing to a reader.
var headerWords = map[string]string{
	"Idempotency-Key": "Makes a repeated request harmless for 24 hours: the second one is answered with the result of the first. 1 to 128 visible ASCII characters, new for every request.",
	"If-Match":        "The version that the change is meant for, as the ETag of an answer has it.",
}

// secretFields are what tools should hide: OpenAPI's format password.
var secretFields = []string{"token", "password", "new_password", "join_code"}

// tidy makes of what huma wrote a document that others can generate clients
// from: named types instead of copies, examples, words for every header, and
// answers that may gain fields. It works on the text, for huma goes on to check
// requests by the schemas themselves.
func tidy(raw []byte, examples map[string]string) ([]byte, error) {
	var doc map[string]any
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // limits keep their digits
	if err := dec.Decode(&doc); err != nil {
		return nil, fmt.Errorf("api: openapi: %w", err)
	}
	schemas := at(doc, "components", "schemas")
	named := map[string]string{}
	for name, s := range schemas {
		named[canonical(s)] = name
	}
	asked := map[string]bool{} // schemas that requests use
	for _, ops := range at(doc, "paths") {
		for _, v := range ops.(map[string]any) {
			op := v.(map[string]any)
			for _, r := range at(op, "responses") {
				for _, m := range at(r.(map[string]any), "content") {
					media := m.(map[string]any)
					if name := named[canonical(media["schema"])]; name != "" {
						media["schema"] = map[string]any{"$ref": schemaPrefix + name}
					}
				}
			}
			mark(op["requestBody"], schemas, asked)
			if example := examples[op["operationId"].(string)]; example != "" {
				var value any
				if err := json.Unmarshal([]byte(example), &value); err != nil {
					return nil, fmt.Errorf("api: %s: the example: %w", op["operationId"], err)
				}
				media := at(op, "requestBody", "content", "application/json")
				if media == nil {
					return nil, fmt.Errorf("api: %s has an example and no JSON body", op["operationId"])
				}
				media["example"] = value
			}
			params, _ := op["parameters"].([]any)
			for _, p := range params {
				param := p.(map[string]any)
				if words := headerWords[param["name"].(string)]; words != "" && param["in"] == "header" && param["description"] == nil {
					param["description"] = words
				}
			}
		}
	}
	for name, s := range schemas {
		schema := s.(map[string]any)
		if !asked[name] && schema["additionalProperties"] == false {
			delete(schema, "additionalProperties")
		}
		for field, p := range at(schema, "properties") {
			if property := p.(map[string]any); slices.Contains(secretFields, field) && property["type"] == "string" {
				property["format"] = "password"
			}
		}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(doc)
	return out.Bytes(), err
}

const schemaPrefix = "#/components/schemas/"

func at(m map[string]any, path ...string) map[string]any {
	for _, name := range path {
		m, _ = m[name].(map[string]any)
	}
	return m
}

func canonical(v any) string {
	b, _ := json.Marshal(v) // of maps, whose names come out sorted
	return string(b)
}

// mark notes every named schema that v leads to.
func mark(v any, schemas map[string]any, seen map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			if name := strings.TrimPrefix(ref, schemaPrefix); !seen[name] {
				seen[name] = true
				mark(schemas[name], schemas, seen)
			}
		}
		for _, inner := range v {
			mark(inner, schemas, seen)
		}
	case []any:
		for inner := range slices.Values(v) {
			mark(inner, schemas, seen)
		}
	}
}
