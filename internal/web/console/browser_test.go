package console_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strongroom/client"
	"strongroom/internal/testkit"
	"strongroom/internal/testkit/browser"
	"strongroom/internal/testkit/live"
	"strongroom/internal/web/console"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// World is what the pages are walked over: a server, an organization with
// something of everything, and its people signed in.
type World struct {
	S     *live.Server
	Org   *live.Org
	Lab   *live.Org    // has every kit, with something in each
	Bare  *live.Org    // nothing is in it yet
	Eve   *live.Person // reads the log of Bare, and nothing else
	Ada   *live.Person // holds every role
	Root  *live.Person // runs the installation
	Key   client.CreatedKey
	Sheet map[string]string // ids of what other files made, by their own names
}

// Walk is a page to be walked: its path, and who looks.
type Walk struct {
	Path string
	As   string // "ada", "root", "nobody"; "": ada
	Want int    // 0: 200
}

// walks has every page that is looked at, by its pattern. Each file of pages
// adds its own in an init of its test file.
var walks = map[string]func(w *World) []Walk{
	"GET /sign-in": func(*World) []Walk { return []Walk{{Path: "/sign-in", As: "nobody"}} },
	"GET /{$}":     func(*World) []Walk { return []Walk{{Path: "/?all=1"}} },
	"GET /o/{org}": func(w *World) []Walk {
		return []Walk{{Path: "/o/" + w.Lab.ID}, {Path: "/o/" + w.Org.ID}, {Path: "/o/" + w.Bare.ID}, {Path: "/o/" + w.Bare.ID, As: "eve"}}
	},
	"GET /o/{org}/people":          func(w *World) []Walk { return []Walk{{Path: "/o/" + w.Org.ID + "/people"}} },
	"GET /o/{org}/people/add":      func(w *World) []Walk { return []Walk{{Path: "/o/" + w.Org.ID + "/people/add"}} },
	"GET /o/{org}/people/{person}": func(w *World) []Walk { return []Walk{{Path: "/o/" + w.Org.ID + "/people/" + w.Ada.ID}} },
	"GET /o/{org}/roles":           func(w *World) []Walk { return []Walk{{Path: "/o/" + w.Org.ID + "/roles"}} },
	"GET /roles":                   func(*World) []Walk { return []Walk{{Path: "/roles", As: "root"}} },
	"GET /o/{org}/keys":            func(w *World) []Walk { return []Walk{{Path: "/o/" + w.Org.ID + "/keys"}} },
	"GET /o/{org}/keys/new":        func(w *World) []Walk { return []Walk{{Path: "/o/" + w.Org.ID + "/keys/new"}} },
	"GET /o/{org}/log": func(w *World) []Walk {
		return []Walk{{Path: "/o/" + w.Org.ID + "/log"}, {Path: "/o/" + w.Org.ID + "/log?action=key.create&person=" + w.Ada.ID}, {Path: "/o/" + w.Org.ID + "/log?since=never"}}
	},
	"GET /o/{org}/collections/new":    func(w *World) []Walk { return []Walk{{Path: "/o/" + w.Org.ID + "/collections/new"}} },
	"GET /o/{org}/collections/{kind}": func(w *World) []Walk { return []Walk{{Path: "/o/" + w.Org.ID + "/collections/sample"}} },
	"GET /o/{org}/settings":           func(w *World) []Walk { return []Walk{{Path: "/o/" + w.Org.ID + "/settings"}} },
	"GET /account":                    func(*World) []Walk { return []Walk{{Path: "/account"}} },
	"GET /admin":                      func(*World) []Walk { return []Walk{{Path: "/admin", As: "root"}} },
	"GET /admin/new":                  func(*World) []Walk { return []Walk{{Path: "/admin/new", As: "root"}} },
	"GET /admin/plans":                func(*World) []Walk { return []Walk{{Path: "/admin/plans", As: "root"}} },
	"GET /admin/plans/{plan}":         func(*World) []Walk { return []Walk{{Path: "/admin/plans/team", As: "root"}} },
	"GET /admin/reports":              func(*World) []Walk { return []Walk{{Path: "/admin/reports", As: "root"}} },
	"GET /admin/reports/{report}":     func(w *World) []Walk { return []Walk{{Path: "/admin/reports/" + w.Sheet["report"], As: "root"}} },
	"GET /admin/status":               func(*World) []Walk { return []Walk{{Path: "/admin/status", As: "root"}} },
	"none":                            func(*World) []Walk { return []Walk{{Path: "/no/such/page", As: "nobody", Want: 404}} },
}

// furnish has what is put into the world beside the people, by each file of
// pages that needs something to show.
var furnish []func(t *testing.T, w *World)

func newWorld(t *testing.T) *World {
	t.Helper()
	w := &World{S: live.Start(t), Sheet: map[string]string{}}
	w.Org = w.S.Org(t, "schema")
	w.Ada = w.Org.Owner
	w.Root = w.S.Admin(t)
	w.Lab, w.Bare = w.S.Org(t, "schema"), w.S.Org(t, "pooled")
	w.Eve = w.Bare.Member(t, client.SecurityAdmin)
	w.Org.Member(t, client.Scientist)
	w.Org.Member(t, client.Analyst)
	var err error
	if w.Key, err = w.Ada.CreateKey(t.Context(), w.Org.ID, client.NewKey{Name: "Instrument", Roles: []client.Role{client.Scientist}, Scopes: []string{"record.create"}}); err != nil {
		t.Fatal(err)
	}
	for org, roles := range map[*live.Org][]client.Role{w.Lab: live.Roles, w.Bare: {client.OrgAdmin, client.Scientist}} {
		code, err := w.Ada.CreateJoinCode(t.Context())
		if err == nil {
			_, err = org.Owner.AddMember(t.Context(), org.ID, client.NewMember{JoinCode: code.Code, Roles: roles})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	report, err := w.S.Client(t, client.Secret{}).CreateReport(t.Context(), client.NewReport{Title: "A door ajar", Description: "Found by trying the handle.\nIt was open."})
	if err != nil {
		t.Fatal(err)
	}
	w.Sheet["report"] = report.ID
	w.kits(t)
	for _, f := range furnish {
		f(t, w)
	}
	return w
}

// kits puts something of each trade into the organization.
func (w *World) kits(t *testing.T) {
	t.Helper()
	for _, kit := range []string{"materials", "memory", "molecules"} {
		if _, err := w.Ada.InstallKit(t.Context(), w.Lab.ID, kit); err != nil {
			t.Fatalf("kit %s: %v", kit, err)
		}
	}
	if _, err := w.Ada.CreateCollection(t.Context(), w.Lab.ID, client.NewCollection{Kind: "note", Title: "Notes",
		Schema: json.RawMessage(`{"type":"object","properties":{"name":{"type":"string"}}}`)}); err != nil {
		t.Fatal(err)
	}
	dot := image.NewGray16(image.Rect(0, 0, 64, 48))
	for i := range 64 {
		dot.SetGray16(i, i*3/4, color.Gray16{Y: 0xffff})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, dot); err != nil {
		t.Fatal(err)
	}
	f, err := w.Ada.UploadFile(t.Context(), w.Lab.ID, client.Upload{Name: "pattern.png", MediaType: "image/png", Size: int64(b.Len()), Body: &b})
	if err != nil {
		t.Fatal(err)
	}
	w.Sheet["picture"] = f.ID
	w.store(t, "sample", `{"name":"Ga2O3 on sapphire, a sample whose name is rather long","composition":"Ga2O3","substrate":"c-plane sapphire"}`)
	w.store(t, "sample", `{"name":"Untouched"}`)
	w.store(t, "measurement", `{"name":"Pattern at 700 °C","technique":"rheed"}`, "sample", w.Sheet["sample/0"], "raw-data", f.ID)
	w.store(t, "measurement", `{"name":"Ag 3d","technique":"xps"}`, "sample", w.Sheet["sample/0"])
	w.store(t, "account", `{"name":"Northwind","status":"active","next_step":"Send the offer"}`)
	w.store(t, "task", `{"title":"Answer the last question","status":"open","due":"2020-01-31"}`, "account", w.Sheet["account/0"])
	w.store(t, "task", `{"title":"Some day","status":"waiting"}`)
	w.store(t, "conversation", `{"title":"First call","channel":"call","started":"2026-01-31T09:00:00Z"}`, "account", w.Sheet["account/0"])
	w.store(t, "structure", `{"name":"Water","smiles":"O","formula":"H2O"}`)
	w.store(t, "structure", `{"name":"Methane","smiles":"C"}`)
	w.store(t, "result", `{"name":"Water by MP2","energy":-76.2307,"success":true}`, "of", w.Sheet["structure/0"])
}

// store stores a record and keeps its identifier as kind/N.
func (w *World) store(t *testing.T, kind, content string, links ...string) {
	t.Helper()
	n := client.NewRecord{Content: json.RawMessage(content)}
	for i := 0; i < len(links); i += 2 {
		n.Links = append(n.Links, client.NewLink{Relation: links[i], To: links[i+1]})
	}
	r, err := w.Ada.CreateRecord(t.Context(), w.Lab.ID, kind, n)
	if err != nil {
		t.Fatalf("a %s: %v", kind, err)
	}
	for i := 0; ; i++ {
		if at := fmt.Sprintf("%s/%d", kind, i); w.Sheet[at] == "" {
			w.Sheet[at] = r.ID
			return
		}
	}
}

// TestEveryPageIsFitForEverybody walks every page in light and dark, on a
// phone and on a wall: nothing that axe-core finds, nothing beside the screen,
// nothing on the console, nothing that the keyboard does not reach.
func TestEveryPageIsFitForEverybody(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	w := newWorld(t)
	c, ok := w.S.App.Front.Console.(*console.Console)
	if !ok {
		t.Fatal("the front has no console")
	}
	b := browser.Start(t, w.S.URL)
	people := map[string]*browser.Person{"nobody": b.Person(t), "ada": b.Person(t), "root": b.Person(t), "eve": b.Person(t)}
	people["ada"].SignIn(w.Ada.Email, w.Ada.Password.Reveal())
	people["eve"].SignIn(w.Eve.Email, w.Eve.Password.Reveal())
	people["root"].SignIn(w.Root.Email, w.Root.Password.Reveal())
	served := map[string]bool{"none": true}
	for _, p := range c.Pages() {
		if !strings.HasPrefix(p.Pattern, "GET ") {
			continue
		}
		served[p.Pattern] = true
		if walks[p.Pattern] == nil {
			t.Errorf("%s is walked by no test: add it to walks", p.Pattern)
		}
	}
	shots := os.Getenv("STRONGROOM_SHOTS")
	for pattern, list := range walks {
		if !served[pattern] {
			t.Errorf("%s is walked, and is no page", pattern)
			continue
		}
		for n, walk := range list(w) {
			if walk.As == "" {
				walk.As = "ada"
			}
			if walk.Want == 0 {
				walk.Want = 200
			}
			p := people[walk.As]
			p.Troubles()
			if got := p.Go(walk.Path); got != walk.Want {
				t.Errorf("%s answers %d, want %d\n%s", walk.Path, got, walk.Want, p.Text())
				continue
			}
			for _, look := range []struct {
				width, height int64
				dark          bool
			}{{360, 740, false}, {360, 740, true}, {3840, 2160, true}, {3840, 2160, false}, {1280, 900, false}} {
				p.Screen(look.width, look.height, look.dark)
				as := fmt.Sprintf("%s as %s at %d px, dark %t", walk.Path, walk.As, look.width, look.dark)
				for _, f := range p.Axe() {
					t.Errorf("%s: %s", as, f)
				}
				for _, e := range p.Wider() {
					t.Errorf("%s: %s", as, e)
				}
				if shots != "" {
					name := fmt.Sprint(n) + strings.Map(func(r rune) rune {
						if strings.ContainsRune(" /{}$", r) {
							return '-'
						}
						return r
					}, strings.TrimPrefix(pattern, "GET /"))
					if err := os.WriteFile(filepath.Join(shots, fmt.Sprintf("%s.%d.%t.png", name, look.width, look.dark)), p.Shot(false), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if look.width != 3840 && !look.dark {
					for _, e := range p.Unreached() {
						t.Errorf("%s: Tab does not come by %q", as, e)
					}
				}
			}
			for _, trouble := range p.Troubles() {
				t.Errorf("%s: %s", walk.Path, trouble)
			}
		}
	}
}
