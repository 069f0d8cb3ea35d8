package docs

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"
	"iter"
	"maps"

	"strongroom/internal/web/openapi"
)

//go:embed docs.tmpl
var templates string

// frame holds the templates. They are parsed at the start of the process: one
// that cannot be parsed is a mistake in the source.
var frame = template.Must(template.New("").Funcs(template.FuncMap{
	"paragraph": inline, "count": count,
	"anchor": func(s string) string { return anchor(s) },
}).Parse(templates))

// framed is what the frame puts around a page.
type framed struct {
	Title, Path string
	Body        template.HTML
	TOC         []heading
	Nav         []navGroup
	Style       string
	Version     string
	Console     bool
	Home        bool
}

type navGroup struct {
	Title string
	Pages []navPage
}

type navPage struct{ Path, Title, Lead string }

// navigation puts the pages under their headings.
func navigation(pages []page) (all []navGroup) {
	titles := []string{}
	for _, s := range sections {
		titles = append(titles, s.title)
		if s.title == "The API" {
			titles = append(titles, referenceSection)
		}
	}
	for _, title := range append(titles, designTitle, moreTitle) {
		g := navGroup{Title: title}
		for _, p := range pages {
			if p.section == title {
				g.Pages = append(g.Pages, navPage{p.path, p.title, p.lead})
			}
		}
		if g.Pages != nil {
			all = append(all, g)
		}
	}
	return all
}

func indexPage(nav []navGroup, doc *openapi.Document) page {
	var b bytes.Buffer
	if err := frame.ExecuteTemplate(&b, "index", struct {
		Nav  []navGroup
		Info openapi.Info
	}{nav, doc.Info}); err != nil {
		panic("docs: index: " + err.Error()) // of data that New has just made
	}
	return page{path: Prefix, title: "Strongroom documentation", body: template.HTML(b.String())} //nolint:gosec // made by html/template
}

// inline renders a sentence of the API's description, in which code stands
// between backticks.
func inline(s string) template.HTML {
	var b bytes.Buffer
	code := false
	for i, part := range bytes.Split([]byte(s), []byte("`")) {
		if i > 0 {
			if code = !code; code {
				b.WriteString("<code>")
			} else {
				b.WriteString("</code>")
			}
		}
		template.HTMLEscape(&b, part)
	}
	if code {
		b.WriteString("</code>")
	}
	return template.HTML(b.String()) //nolint:gosec // every part is escaped
}

func indent(j json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, j, "", "  ") != nil {
		return string(j)
	}
	return b.String()
}

func keys[V any](m map[string]V) iter.Seq[string] { return maps.Keys(m) }
