// Package screens_test looks at the demo as its people do, and keeps what it
// sees for the documentation. It stands apart because the demo fills an empty
// installation only.
package screens_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"strongroom/client"
	"strongroom/internal/app/demo"
	"strongroom/internal/testkit"
	"strongroom/internal/testkit/browser"
	"strongroom/internal/testkit/live"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// screen is a picture of the demo for docs/screens.
type screen struct {
	name          string
	as            string // the organization whose owner looks; "": nobody
	path          string // below the organization, or from the root with a leading slash
	follow        string // the words of a link on that page, which leads to the one to show
	width, height int64
	dark          bool
	want          string // what must be on it
}

var screens = []screen{
	{name: "sign-in", path: "/sign-in", want: "Email address"},
	{name: "materials-home", as: "materials", want: "Samples"},
	{name: "materials-home-dark", as: "materials", dark: true, want: "Samples"},
	{name: "materials-home-phone", as: "materials", width: 390, height: 844, want: "Samples"},
	{name: "materials-home-4k", as: "materials", width: 3840, height: 2160, want: "Samples"},
	{name: "sample-list", as: "materials", path: "c/sample", want: "Samples"},
	{name: "sample", as: "materials", path: "c/sample", follow: "Si(111)-r3Ag", want: "Pictures of"},
	{name: "sample-dark", as: "materials", path: "c/sample", follow: "Si(111)-r3Ag", dark: true, want: "Pictures of"},
	{name: "sample-phone", as: "materials", path: "c/sample", follow: "Si(111)-r3Ag", width: 360, height: 780, want: "Si(111)-r3Ag"},
	{name: "sample-form", as: "materials", path: "c/sample/new", want: "Composition"},
	{name: "sample-form-phone", as: "materials", path: "c/sample/new", width: 360, height: 780, want: "Composition"},
	{name: "export", as: "materials", path: "export", want: "Export"},
	{name: "trash", as: "materials", path: "trash", want: "Trash"},
	{name: "measurement-list", as: "materials", path: "c/measurement", want: "Measurements"},
	{name: "files", as: "materials", path: "files", want: "Files"},
	{name: "memory-home", as: "memory", want: "Today"},
	{name: "memory-home-dark", as: "memory", dark: true, want: "Today"},
	{name: "account-record", as: "memory", path: "c/account", follow: "Codertocat/Hello-World", want: "Conversations"},
	{name: "result", as: "molecules", follow: "Energy of water by B3LYP/cc-pVDZ", want: "Run"},
	{name: "molecules-home", as: "molecules", want: "Structure"},
	{name: "people", as: "materials", path: "people", want: "People"},
	{name: "roles", as: "materials", path: "roles", want: "Who may do what"},
	{name: "keys", as: "materials", path: "keys/new", want: "Make an API key"},
	{name: "log", as: "materials", path: "log", want: "Log"},
	{name: "settings", as: "materials", path: "settings", want: "Kits"},
	{name: "account", as: "memory", path: "/account", want: "Your account"},
	{name: "admin", as: "installation", path: "/admin", want: "Organizations"},
	{name: "admin-plans", as: "installation", path: "/admin/plans", want: "Plans"},
	{name: "admin-new", as: "installation", path: "/admin/new", want: "Set up an organization"},
	{name: "admin-status-phone", as: "installation", path: "/admin/status", width: 360, height: 780, dark: true, want: "State of the installation"},
	{name: "trust", path: "/trust", want: "Promises"},
	{name: "trust-dark", path: "/trust", dark: true, want: "Promises"},
	{name: "trust-phone", path: "/trust", width: 360, height: 780, want: "Promises"},
	{name: "docs", path: "/docs/", want: "Quick start"},
	{name: "admin-status", as: "installation", path: "/admin/status", want: "State of the installation"},
}

// TestTheScreensOfTheDemo looks at the demo as its people do. With
// STRONGROOM_SCREENS it keeps what it sees there, for the documentation.
func TestTheScreensOfTheDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	s := live.Start(t)
	accounts, err := demo.Load(t.Context(), s.App.DemoOptions(s.Client(t, client.Secret{})))
	if err != nil {
		t.Fatal(err)
	}
	b := browser.Start(t, s.URL)
	people, homes := map[string]*browser.Person{"": b.Person(t)}, map[string]string{}
	for _, a := range accounts {
		kit := "installation"
		if a.Organization != "" {
			if !a.Owner {
				continue
			}
			for _, word := range []string{"materials", "memory", "molec"} {
				if strings.Contains(strings.ToLower(a.Organization), word) {
					kit = strings.Replace(word, "molec", "molecules", 1)
				}
			}
		}
		p := b.Person(t)
		p.SignIn(a.Email, a.Password.Reveal())
		people[kit], homes[kit] = p, strings.TrimSuffix(p.Path(), "/")
	}
	dir := os.Getenv("STRONGROOM_SCREENS")
	if dir != "" { // a page of promises without a proof is no picture of it
		s.App.ProveOnSchedule(t.Context())
		for end := time.Now().Add(5 * time.Minute); ; time.Sleep(time.Second) {
			if people[""].Go("/trust"); !strings.Contains(people[""].Text(), "not proved recently enough") {
				break
			}
			if time.Now().After(end) {
				t.Fatal("the checks do not come to an end")
			}
		}
	}
	for _, sc := range screens {
		p := people[sc.as]
		if p == nil {
			t.Fatalf("nobody of the demo looks at %s", sc.name)
		}
		if sc.width == 0 {
			sc.width, sc.height = 1280, 900
		}
		p.Troubles()
		p.Screen(sc.width, sc.height, sc.dark)
		path := homes[sc.as]
		switch {
		case strings.HasPrefix(sc.path, "/"):
			path = sc.path
		case sc.path != "":
			path += "/" + sc.path
		}
		if sc.follow != "" {
			p.Go(path)
			p.Eval(`([...document.querySelectorAll("main a")].find(a => a.innerText.trim() === `+strconv.Quote(sc.follow)+`) || {pathname: "/"}).pathname`, &path)
		}
		if status := p.Go(path); status != 200 || !strings.Contains(p.Text(), sc.want) {
			t.Errorf("%s: %d\n%s", sc.name, status, p.Text())
			continue
		}
		for _, trouble := range p.Troubles() {
			t.Errorf("%s: %s", sc.name, trouble)
		}
		if dir == "" {
			continue
		}
		p.Eval(`Promise.all([...document.images].map(i => i.decode().catch(() => 0))).then(() => true)`, nil)
		png := p.Shot(false)
		if len(png) > 600_000 {
			t.Errorf("%s takes %d bytes", sc.name, len(png))
		}
		if err := os.WriteFile(filepath.Join(dir, sc.name+".png"), png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
