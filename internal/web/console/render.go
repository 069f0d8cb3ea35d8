package console

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"strongroom/client"
)

//go:embed templates/*.html
var templateFiles embed.FS

// View is what every template sees.
type View struct {
	Title   string
	Path    string // of this page
	Me      client.SignedIn
	Org     client.Organization // zero outside of an organization
	Admin   bool                // the caller runs the installation
	Nav     []NavGroup
	Said    string // the sentence about the change before
	Theme   string // light, dark, or "" for what the system says
	Version string
	Data    any // the page's own

	v *Visit
}

// Name returns the name of a person: {{.Name .Data.Owner}}, inside of a range
// {{$.Name .Owner}}.
func (w View) Name(person string) string { return w.v.Name(person) }

// Link returns a path inside the organization: {{$.Link "c" .Kind}}.
func (w View) Link(segments ...string) string { return w.v.OrgPath(segments...) }

// Holds reports whether the caller holds one of the roles in the organization.
func (w View) Holds(roles ...string) bool {
	return slices.ContainsFunc(roles, func(r string) bool { return w.v.Holds(client.Role(r)) })
}

// Render answers with a page: templates/NAME.html inside the layout.
func (v *Visit) Render(name, title string, data any) error {
	return v.render(http.StatusOK, name, title, data)
}

// Again answers with the page of a form that was refused.
func (v *Visit) Again(name, title string, data any) error {
	return v.render(http.StatusUnprocessableEntity, name, title, data)
}

// Part answers with one block of a page, for htmx.
func (v *Visit) Part(name, block string, data any) error {
	return v.execute(http.StatusOK, name, block, View{Path: v.R.URL.Path, Me: v.Me, Org: v.Org, Data: data, v: v})
}

func (v *Visit) render(status int, name, title string, data any) error {
	view := View{Title: title, Path: v.R.URL.Path, Me: v.Me, Org: v.Org, Admin: v.IsSystemAdmin(), Said: v.takeFlash(), Theme: theme(v.R),
		Version: v.c.o.Version, Data: data, v: v}
	if name == "problem" {
		view.Path = "/" // a refusal repeats nothing of what was asked for
	}
	view.Nav = v.nav(status)
	return v.execute(status, name, "layout", view)
}

// execute makes the whole answer before it sends any of it, so that a failure
// half way becomes an error page and not half a page.
func (v *Visit) execute(status int, name, block string, view View) error {
	t := v.c.sheets[name]
	if t == nil {
		return errors.New("console: there is no template " + name)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, block, view); err != nil {
		return fmt.Errorf("console: template %s: %w", name, err)
	}
	h := v.W.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	h.Add("Vary", "HX-Request")
	v.W.WriteHeader(status)
	if v.R.Method != http.MethodHead {
		_, _ = v.W.Write(b.Bytes())
	}
	return nil
}

// parseTemplates parses every page together with the shared components, whose
// files begin with _.
func parseTemplates() (map[string]*template.Template, error) {
	base := template.New("").Funcs(functions)
	shared, err := fs.Glob(templateFiles, "templates/_*.html")
	if err != nil {
		return nil, err
	}
	if base, err = base.ParseFS(templateFiles, shared...); err != nil {
		return nil, err
	}
	all, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, err
	}
	sheets := map[string]*template.Template{}
	for _, file := range all {
		if slices.Contains(shared, file) {
			continue
		}
		t, err := template.Must(base.Clone()).ParseFS(templateFiles, file)
		if err != nil {
			return nil, err
		}
		if t.Lookup("main") == nil {
			return nil, fmt.Errorf("%s defines no block main", file)
		}
		sheets[strings.TrimSuffix(path.Base(file), ".html")] = t
	}
	return sheets, nil
}

// NavItem is a line of the menu.
type NavItem struct {
	Label string
	Path  string
	Here  bool
}

// NavGroup is some lines of the menu under a heading.
type NavGroup struct {
	Label string // "" for the lines on top
	Items []NavItem
}

// menu lists the parts of an organization. A part shows to who holds one of
// its roles, and only once its page is there.
var menu = []struct {
	label, part string
	roles       []client.Role
}{
	{"Files", "files", []client.Role{client.Scientist, client.Analyst}},
	{"Trash", "trash", []client.Role{client.Scientist, client.OrgAdmin}},
	{"Export", "export", []client.Role{client.Analyst}},
	{"People", "people", []client.Role{client.OrgAdmin, client.SecurityAdmin}},
	{"API keys", "keys", []client.Role{client.OrgAdmin, client.SecurityAdmin}},
	{"Log", "log", []client.Role{client.SecurityAdmin}},
	{"Settings", "settings", nil},
}

func (v *Visit) nav(status int) []NavGroup {
	at := v.R.URL.Path
	switch {
	case v.Org.ID != "":
		groups := []NavGroup{{Items: []NavItem{{"Home", v.OrgPath(), at == v.OrgPath()}}}}
		// An error page does not ask again of an API that just failed.
		if status < http.StatusInternalServerError {
			groups = append(groups, v.navCollections(at)...)
		}
		parts := NavGroup{Label: "Organization"}
		for _, m := range menu {
			if len(m.roles) > 0 && !v.Holds(m.roles...) || !v.c.serves("/o/{org}", m.part) {
				continue
			}
			p := v.OrgPath(m.part)
			parts.Items = append(parts.Items, NavItem{m.label, p, at == p || strings.HasPrefix(at, p+"/")})
		}
		return append(groups, parts)
	case at == "/admin" || strings.HasPrefix(at, "/admin/"):
		var parts NavGroup
		for _, m := range adminMenu {
			if v.c.serves("/admin", m.part) {
				p := strings.TrimSuffix("/admin/"+m.part, "/")
				parts.Items = append(parts.Items, NavItem{m.label, p, at == p || m.part != "" && strings.HasPrefix(at, p+"/")})
			}
		}
		return []NavGroup{parts}
	}
	return nil
}

// navCollections lists the collections by their kits, and then those that the
// organization declared itself.
func (v *Visit) navCollections(at string) (groups []NavGroup) {
	if !v.Holds(client.Scientist, client.Analyst, client.OrgAdmin) {
		return nil
	}
	s, err := v.shelf()
	if err != nil {
		return nil // a page without this menu is better than none
	}
	own := NavGroup{Label: "Of your own"}
	for _, c := range s.all {
		p := v.OrgPath("c", c.Kind)
		item := NavItem{collectionTitle(c), p, at == p || strings.HasPrefix(at, p+"/")}
		if c.Kit == "" {
			own.Items = append(own.Items, item)
			continue
		}
		i := slices.IndexFunc(groups, func(g NavGroup) bool { return g.Label == title(c.Kit) })
		if i < 0 {
			i = len(groups)
			groups = append(groups, NavGroup{Label: title(c.Kit)})
		}
		groups[i].Items = append(groups[i].Items, item)
	}
	if len(own.Items) > 0 {
		if len(groups) == 0 {
			own.Label = "Collections"
		}
		groups = append(groups, own)
	}
	return groups
}

// adminMenu lists the parts of the installation.
var adminMenu = []struct{ label, part string }{
	{"Organizations", ""}, {"State", "status"}, {"Plans", "plans"}, {"Reports", "reports"},
}

// serves reports whether there is a page to look at.
func (c *Console) serves(prefix, part string) bool {
	want := "GET " + strings.TrimSuffix(prefix+"/"+part, "/")
	return slices.ContainsFunc(c.pages, func(p Page) bool { return strings.TrimSuffix(p.Pattern, "/{$}") == want })
}
