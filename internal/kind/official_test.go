package kind

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// differences are the groups of the official suite that a kind's schema may not
// have, each with the refusal that it gets instead. A schema of a kind
// describes an object, reads nothing but itself and holds no NUL, which
// PostgreSQL has no place for.
var differences = map[string]string{
	"boolean_schema: boolean schema 'true'":                                      "/schema type",
	"boolean_schema: boolean schema 'false'":                                     "/schema type",
	"const: nul characters in strings":                                           "/schema/const nul",
	"dynamicRef: strict-tree schema, guards against misspelled properties":       "/schema remote_reference",
	"dynamicRef: tests for implementation dynamic anchor and reference link":     "/schema remote_reference",
	"dynamicRef: $ref and $dynamicAnchor are independent of order - $defs first": "/schema remote_reference",
	"dynamicRef: $ref and $dynamicAnchor are independent of order - $ref first":  "/schema remote_reference",
	"dynamicRef: $ref to $dynamicRef finds detached $dynamicAnchor":              "/schema remote_reference",
	"enum: nul characters in strings":                                            "/schema/enum/0 nul",
	"refRemote: remote ref":                                                      "/schema remote_reference",
	"refRemote: fragment within remote ref":                                      "/schema remote_reference",
	"refRemote: anchor within remote ref":                                        "/schema remote_reference",
	"refRemote: ref within remote ref":                                           "/schema remote_reference",
	"refRemote: base URI change":                                                 "/schema remote_reference",
	"refRemote: base URI change - change folder":                                 "/schema remote_reference",
	"refRemote: base URI change - change folder in subschema":                    "/schema remote_reference",
	"refRemote: root ref in remote ref":                                          "/schema remote_reference",
	"refRemote: remote ref with ref to defs":                                     "/schema remote_reference",
	"refRemote: Location-independent identifier in remote ref":                   "/schema remote_reference",
	"refRemote: retrieved nested refs resolve relative to their URI not $id":     "/schema remote_reference",
	"refRemote: remote HTTP ref with different $id":                              "/schema remote_reference",
	"refRemote: remote HTTP ref with different URN $id":                          "/schema remote_reference",
	"refRemote: remote HTTP ref with nested absolute ref":                        "/schema remote_reference",
	"refRemote: $ref to $ref finds detached $anchor":                             "/schema remote_reference",
}

// TestTheOfficialSuitePassesThroughOurLimits runs every case of the official
// suite. What is refused is refused for the reason that is written down, and
// nothing that is written down passes.
func TestTheOfficialSuitePassesThroughOurLimits(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/official/*.json")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files of the suite, %v", len(files), err)
	}
	cases, seen := 0, map[string]bool{}
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
			id := strings.TrimSuffix(filepath.Base(name), ".json") + ": " + g.Description
			seen[id] = true
			s, err := Compile(g.Schema, "/schema")
			if want := differences[id]; err != nil || want != "" {
				if got := strings.Join(details(err), ","); got != want {
					t.Errorf("%s: compiling ends in %q, not in %q", id, got, want)
				}
				continue
			}
			for _, c := range g.Tests {
				_, v, err := parse(c.Data, "", MaxContent)
				if err != nil {
					t.Errorf("%s: %s: %v", id, c.Description, err)
					continue
				}
				cases++
				got := s == Any || s.compiled.Validate(v) == nil
				if got != c.Valid {
					t.Errorf("%s: %s: valid is %v", id, c.Description, got)
				}
			}
		}
	}
	for id := range differences {
		if !seen[id] {
			t.Errorf("the suite has no %q", id)
		}
	}
	if cases < 900 {
		t.Errorf("%d cases were tried", cases)
	}
}
