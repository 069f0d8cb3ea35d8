package main

import (
	"strings"
	"testing"
)

func TestTheCountsAreThoseOfTheEvents(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		events, last string
		code         int
		shows, hides string
	}{
		"all is well": {
			events: `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"chatter\n"}
{"Action":"pass","Package":"p","Test":"TestA/sub"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Elapsed":1.5}
{"Action":"skip","Package":"no/tests"}`,
			last: "2 passed, 0 failed, 1 skipped", shows: "ok    p  2 tests, 1.5s", hides: "chatter",
		},
		"a test fails": {
			events: `{"Action":"output","Package":"p","Test":"TestA","Output":"x.go:1: broken\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"fail","Package":"p"}`,
			last: "1 passed, 1 failed", code: 1, shows: "x.go:1: broken",
		},
		"a package does not build": {
			events: `{"ImportPath":"p [p.test]","Action":"build-output","Output":"x.go:2: undefined\n"}
{"ImportPath":"p [p.test]","Action":"build-fail"}
{"Action":"fail","Package":"p","FailedBuild":"p [p.test]"}
{"Action":"pass","Package":"q","Test":"TestA"}
{"Action":"pass","Package":"q"}`,
			last: "1 passed, 1 failed", code: 1, shows: "x.go:2: undefined",
		},
		"a panic ends the package": {
			events: `{"Action":"output","Package":"p","Test":"TestA","Output":"panic: oh\n"}
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"fail","Package":"p"}`,
			last: "1 passed, 1 failed", code: 1, shows: "panic: oh",
		},
		"the stream is cut": {
			events: `{"Action":"pass","Package":"p","Test":"TestA"}`,
			last:   "1 passed, 1 failed", code: 1,
		},
		"the go command complains": {
			events: "go: no such tool",
			last:   "0 passed, 0 failed", code: 1, shows: "go: no such tool",
		},
		"nothing ran": {events: "", last: "0 passed, 0 failed", code: 1},
	} {
		var out strings.Builder
		code, err := tally(strings.NewReader(c.events), &out)
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if err != nil || code != c.code || lines[len(lines)-1] != c.last {
			t.Errorf("%s: code %d, %v, last line %q", name, code, err, lines[len(lines)-1])
		}
		if !strings.Contains(out.String(), c.shows) || c.hides != "" && strings.Contains(out.String(), c.hides) {
			t.Errorf("%s: %s", name, out.String())
		}
	}
}
