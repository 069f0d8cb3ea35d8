// Package docs serves the documentation: the pages of the repository's docs
// folder, the table of roles, and a reference made from the description of the
// very API that runs beside it.
//
// It promises that a page needs nothing but itself and one style sheet: no
// script, nothing from elsewhere, no cookie, and nothing in it depends on who
// asks. Everything is rendered once, at the start; a request is a lookup. What
// the pages hold is public by nature, so a request leaves no event in any log.
//
// A new file in docs is served without more; a line in sections gives it its
// place in the navigation.
package docs

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"strongroom/internal/web/openapi"
)

// Prefix is where the documentation is.
const Prefix = "/docs/"

// Options says what is served. Pages and OpenAPI are required.
type Options struct {
	Pages   fs.FS  // Markdown files
	OpenAPI []byte // the description of the API that is served
	Version string // of the product
	Console bool   // whether there are pages for people at /
}

// Site is the documentation as a handler.
type Site struct {
	pages  map[string]content // by path
	others map[string]string  // a path that people type → the one it is at
}

type content struct {
	body []byte
	media,
	tag string // entity tag
}

//go:embed docs.css
var style []byte

const stylePath = Prefix + "docs.css"

// section is a heading of the navigation with the files under it.
type section struct {
	title string
	files []string
}

// sections order the navigation. What is not named comes under More, so that no
// page is out of reach.
var sections = []section{
	{"Start here", []string{"quickstart.md", "concepts.md", "python.md"}},
	{"The API", []string{"errors.md", "kits.md", "export.md"}},
	{"Running it", []string{"install.md", "operations.md", "performance.md"}},
	{"Security", []string{"threat-model.md", "trust.md"}},
	{"Formats", []string{"audit-event.md", "file-format.md", "key-tree.md", "key-service.md"}},
}

const moreTitle, designTitle = "More", "Design"

// page is one page before its frame is put around it.
type page struct {
	path, title, section string
	lead                 string
	body                 template.HTML
	toc                  []heading
}

type heading struct {
	ID, Text string
}

// New renders everything. A description that cannot be read is an error: half a
// documentation misleads.
func New(o Options) (*Site, error) {
	if o.Pages == nil {
		return nil, errors.New("docs: Options.Pages is required")
	}
	doc, err := openapi.Read(o.OpenAPI)
	if err != nil {
		return nil, fmt.Errorf("docs: %w", err)
	}
	files, err := markdownFiles(o.Pages)
	if err != nil {
		return nil, err
	}
	var pages []page
	for _, file := range files {
		source, err := fs.ReadFile(o.Pages, file)
		if err != nil {
			return nil, fmt.Errorf("docs: %w", err)
		}
		p, err := renderMarkdown(file, source, files)
		if err != nil {
			return nil, fmt.Errorf("docs: %s: %w", file, err)
		}
		pages = append(pages, p)
	}
	slices.SortStableFunc(pages, func(a, b page) int { return rankOf(a) - rankOf(b) })
	reference, err := referencePages(doc)
	if err != nil {
		return nil, err
	}
	pages = append(pages, reference...)
	pages = append(pages, rolesPage())

	s := &Site{pages: map[string]content{}, others: map[string]string{strings.TrimSuffix(Prefix, "/"): Prefix}}
	nav := navigation(pages)
	for _, p := range append(pages, indexPage(nav, doc)) {
		var b bytes.Buffer
		if err := frame.ExecuteTemplate(&b, "frame", framed{p.title, p.path, p.body, p.toc, nav, stylePath, o.Version, o.Console, p.path == Prefix}); err != nil {
			return nil, fmt.Errorf("docs: %s: %w", p.path, err)
		}
		s.put(p.path, "text/html; charset=utf-8", b.Bytes())
		if p.path != Prefix {
			s.others[p.path+"/"] = p.path
			s.others[p.path+".md"] = p.path
		}
	}
	s.put(stylePath, "text/css; charset=utf-8", style)
	return s, nil
}

func (s *Site) put(at, media string, body []byte) {
	sum := sha256.Sum256(body)
	s.pages[at] = content{body, media, `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}
}

func markdownFiles(pages fs.FS) (files []string, err error) {
	err = fs.WalkDir(pages, ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && path.Ext(p) == ".md" {
			files = append(files, p)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("docs: %w", err)
	}
	slices.Sort(files)
	return files, nil
}

// rankOf orders pages as the sections name them.
func rankOf(p page) int {
	n := 0
	for _, s := range sections {
		for _, f := range s.files {
			if n++; p.path == pathOf(f) {
				return n
			}
		}
	}
	return n + 1
}

func sectionOf(file string) string {
	if strings.HasPrefix(file, "design/") {
		return designTitle
	}
	for _, s := range sections {
		if slices.Contains(s.files, file) {
			return s.title
		}
	}
	return moreTitle
}

// pathOf is where a file of the folder is served.
func pathOf(file string) string { return Prefix + strings.TrimSuffix(file, ".md") }

// Paths lists what is served, sorted.
func (s *Site) Paths() (all []string) {
	for p := range s.pages {
		all = append(all, p)
	}
	slices.Sort(all)
	return all
}

// allowance is what a browser may do with a page: show it, styled.
const allowance = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// ServeHTTP implements http.Handler.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", allowance)
	h.Set("Strict-Transport-Security", "max-age=63072000")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	c, ok := s.pages[r.URL.Path]
	if !ok {
		if to, moved := s.others[r.URL.Path]; moved {
			http.Redirect(w, r, to, http.StatusPermanentRedirect)
			return
		}
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(lost))
		return
	}
	h.Set("Content-Type", c.media)
	h.Set("ETag", c.tag)
	// Asked for again each time, and answered by 304 while nothing has changed.
	h.Set("Cache-Control", "no-cache")
	if slices.Contains(strings.FieldsFunc(r.Header.Get("If-None-Match"), func(c rune) bool { return c == ',' || c == ' ' }), c.tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(c.body)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(c.body)
	}
}

const lost = `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">` +
	`<title>No such page · Strongroom</title><link rel="stylesheet" href="` + stylePath + `"></head><body class="lost"><main><h1>No such page</h1>` +
	`<p>The documentation has no page here. <a href="` + Prefix + `">See what there is.</a></p></main></body></html>`
