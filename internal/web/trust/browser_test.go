package trust_test

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"strongroom/internal/testkit/browser"
)

// TestThePagesInABrowser looks at the pages as people do: on a phone, a desk
// and a wall, in light and dark, with nothing but the keyboard, and with
// axe-core.
func TestThePagesInABrowser(t *testing.T) {
	s := open(t, nil)
	s.mu.Lock()
	s.fails["ENC-2/keys"] = errors.New("no")
	s.mu.Unlock()
	s.prove(t)
	server := httptest.NewTLSServer(s)
	defer server.Close()
	p := browser.Start(t, server.URL).Person(t)
	for _, path := range []string{"/trust", "/trust/report"} {
		for _, screen := range []struct {
			width, height int64
			dark          bool
		}{{360, 740, false}, {360, 740, true}, {1280, 900, false}, {1280, 900, true}, {3840, 2160, false}} {
			name := fmt.Sprintf("%s at %d, dark %v", path, screen.width, screen.dark)
			p.Screen(screen.width, screen.height, screen.dark)
			if got := p.Go(path); got != 200 {
				t.Fatalf("%s: %d", name, got)
			}
			// What is folded is looked at as well.
			p.Eval(`document.querySelectorAll("details").forEach(d => d.open = true)`, nil)
			for _, finding := range p.Axe() {
				t.Errorf("%s: %s", name, finding)
			}
			if wide := p.Wider(); len(wide) > 0 {
				t.Errorf("%s: wider than the window: %s", name, wide)
			}
		}
		p.Screen(1280, 900, false)
		p.Go(path)
		if left := p.Unreached(); len(left) > 0 {
			t.Errorf("%s: Tab does not come by %s", path, left)
		}
	}

	p.Go("/trust")
	visible := func() (n int) {
		p.Eval(`[...document.querySelectorAll(".promise")].filter(e => e.offsetParent).length`, &n)
		return n
	}
	if n := visible(); n != 90 {
		t.Errorf("%d promises are shown", n)
	}
	p.Eval(`document.getElementById("show-broken").click()`, nil)
	if n := visible(); n != 1 {
		t.Errorf("of what is broken %d are shown", n)
	}

	p.Go("/trust/report")
	p.Fill("What is it, in a line", "Paper clip")
	p.Fill("What is wrong, how to see it, what it lets somebody do", "The lock opens with a paper clip.")
	p.Press("Send the report")
	if text := p.Text(); !strings.Contains(text, "Your reference is rpt_") {
		t.Errorf("the form does not answer with a reference:\n%s", text)
	}
	for _, finding := range p.Axe() {
		t.Errorf("the receipt: %s", finding)
	}
	if troubles := p.Troubles(); len(troubles) > 0 {
		t.Errorf("the browser complains: %q", troubles)
	}
}
