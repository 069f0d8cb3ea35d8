package docs_test

import (
	"net/http"
	"strings"
	"testing"

	"strongroom/internal/testkit/browser"
	"strongroom/internal/testkit/live"
)

// One page of each form, for what takes a second a page.
var forms = []string{"/docs/", "/docs/quickstart", "/docs/errors", "/docs/threat-model", "/docs/api", "/docs/api/records", "/docs/roles", "/docs/none"}

func TestThePagesAreForEverybodyOnEveryScreen(t *testing.T) {
	t.Parallel()
	s := live.Start(t)
	p := browser.Start(t, s.URL).Person(t)
	for _, screen := range []struct {
		width, height int64
		dark          bool
	}{{360, 740, true}, {1400, 900, false}} {
		p.Screen(screen.width, screen.height, screen.dark)
		for _, path := range forms {
			status := p.Go(path)
			if want := map[bool]int{true: http.StatusNotFound, false: http.StatusOK}[path == "/docs/none"]; status != want {
				t.Errorf("%s: %d", path, status)
			}
			for _, finding := range p.Axe() {
				t.Errorf("%s at %d: %s", path, screen.width, finding)
			}
			for _, trouble := range p.Troubles() {
				if !strings.Contains(trouble, "404") {
					t.Errorf("%s at %d: %s", path, screen.width, trouble)
				}
			}
		}
	}
	p.Screen(360, 740, false)
	for _, path := range site(t).Paths() {
		if !strings.HasSuffix(path, ".css") {
			p.Go(path)
			if wide := p.Wider(); len(wide) > 0 {
				t.Errorf("%s is wider than a phone: %v", path, wide)
			}
		}
	}
	p.Screen(3840, 2160, true)
	p.Go("/docs/quickstart")
	var line, size float64
	p.Eval(`document.querySelector("main p").getBoundingClientRect().width`, &line)
	p.Eval(`parseFloat(getComputedStyle(document.querySelector("main p")).fontSize)`, &size)
	if size < 20 || line > 60*size {
		t.Errorf("on a large screen a line is %.0f px of letters of %.0f px", line, size)
	}
	p.Screen(1400, 900, false)
	p.Go("/docs/api/files")
	if missed := p.Unreached(); len(missed) > 0 {
		t.Errorf("the keyboard does not reach %v", missed)
	}
}
