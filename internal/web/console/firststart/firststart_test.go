// Package firststart_test walks the set-up of an installation that nobody runs
// yet. It stands apart because it needs a database of its own: everywhere else
// there is an administrator already.
package firststart_test

import (
	"strings"
	"testing"

	"strongroom/internal/testkit"
	"strongroom/internal/testkit/browser"
	"strongroom/internal/testkit/live"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestAnEmptyInstallationIsSetUpInABrowserByItsLinkOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	s := live.Start(t)
	link, _, err := s.App.SetupLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(link, "#")
	if code == "" {
		t.Fatalf("the link has no code")
	}
	b := browser.Start(t, s.URL)
	p := b.Person(t)
	for _, look := range []struct {
		width, height int64
		dark          bool
	}{{360, 740, false}, {3840, 2160, true}, {1280, 900, false}} {
		p.Screen(look.width, look.height, look.dark)
		if status := p.Go("/setup"); status != 200 {
			t.Fatalf("the set-up answers %d", status)
		}
		for _, f := range append(p.Axe(), p.Wider()...) {
			t.Errorf("at %d px: %s", look.width, f)
		}
	}
	if text := p.Text(); !strings.Contains(text, "loses every guardian") {
		t.Errorf("the page does not say what is at stake:\n%s", text)
	}
	for _, e := range p.Unreached() {
		t.Errorf("Tab does not come by %q", e)
	}

	p.Go("/account") // another page first, so that the fragment is a load of its own
	p.Go("/setup#" + code)
	if p.Path() != "/setup" {
		t.Errorf("the code stays in the address bar")
	}
	p.Fill("Your name", "Ada Lovelace")
	p.Fill("Email address", "ada@test.example")
	p.Fill("Password", "short")
	p.Fill("Name", "First lab")
	p.Fill("I understand", "yes")
	p.Press("Set up")
	if text := p.Text(); !strings.Contains(text, "15 characters") || p.Status() != 422 {
		t.Errorf("a short password: %d\n%s", p.Status(), text)
	}
	p.Fill("Password", "a long enough passphrase")
	p.Press("Set up")
	if text := p.Text(); !strings.Contains(text, "Strongroom is set up.") || !strings.Contains(text, "First lab") {
		t.Errorf("after the set-up:\n%s", text)
	}
	for _, trouble := range p.Troubles() {
		t.Errorf("%s", trouble)
	}
	again := b.Person(t)
	again.Go("/setup#" + code)
	if text := again.Text(); !strings.Contains(text, "set up already") {
		t.Errorf("a second set-up shows\n%s", text)
	}
}
