// Package console is the house in a browser: pages for the people of an
// organization and for whoever runs the installation.
//
// It promises that a page can do nothing that the API cannot. It holds no
// data, no store and no power of its own: it keeps the token of a person's
// session in a cookie that no script reads, and makes every page from answers
// of the API, asked for over a transport that calls the API's handler in the
// same process. Each of these reads and changes is authorized, validated and
// recorded where all others are. A request that changes something is taken
// from the console's own pages alone; no page runs a script or a style that is
// not a file of this package; and nothing that a page shows is kept by a cache.
//
// # To add a page
//
// Write a function that takes a *[Visit] and returns an error, and put it into
// the [Page] list of its file; a new list goes into groups in pages.go:
//
//	var keyPages = []Page{
//		{Pattern: "GET /o/{org}/keys", Access: InOrg, Serve: showKeys},
//		{Pattern: "POST /o/{org}/keys", Access: InOrg, Serve: createKey},
//	}
//
//	func showKeys(v *Visit) error {
//		keys, err := v.API.ListKeys(v.Context(), v.Org.ID, client.List{Cursor: v.Query("cursor")})
//		if err != nil {
//			return err // becomes the error page, or the way to the sign-in
//		}
//		return v.Render("keys", "API keys", keysView{…})
//	}
//
// templates/keys.html then defines "main" and sees a [View]: the page's own
// data is .Data, and .Me, .Org, .Path say where one is. A file whose name
// begins with _ holds components for all pages (see components.go for the
// ready ones: fields, times, people's names, empty states, pages of a list).
//
// A change is a POST: read its form with [Visit.Form], call the API, and end
// with [Visit.Done], which shows a sentence on the next page. If the API
// refuses the form, [Visit.Refused] tells whether the fields can say so: show
// the page again with [FieldErrors] (status 422), else return the error.
//
// Every GET pattern needs a line in the browser test's list of walks, or that
// test fails.
package console

import (
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"time"
)

// Options configures a Console. API is required.
type Options struct {
	API     http.Handler // the API's own handler
	Version string       // of the product, shown at the foot
	Log     *slog.Logger
}

// Console is the handler of all pages.
type Console struct {
	o       Options
	mux     *http.ServeMux
	pages   []Page
	sheets  map[string]*template.Template // one a page
	origins *http.CrossOriginProtection
}

// Access says who may ask for a page; the API decides what it shows.
type Access uint8

// The kinds of access. The zero one is the strictest.
const (
	InOrg    Access = iota // somebody signed in, in the organization {org} of the path
	SignedIn               // somebody signed in
	Anyone                 // everybody: the sign-in and what leads there
)

// Page is one page, or one thing to do.
type Page struct {
	Pattern string // as http.ServeMux has it: "GET /o/{org}/keys"
	Access  Access
	Serve   func(*Visit) error
	// Streams says that Serve reads the request's body itself, of any size.
	Streams bool
}

// New builds the console. It refuses pages that contradict each other and
// templates that do not parse.
func New(o Options) (_ *Console, err error) {
	if o.API == nil {
		return nil, errors.New("console: Options.API is required")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	c := &Console{o: o, mux: http.NewServeMux(), origins: http.NewCrossOriginProtection()}
	if c.sheets, err = parseTemplates(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	defer func() {
		if p := recover(); p != nil { // ServeMux says so about two patterns of one path
			err = fmt.Errorf("console: %v", p)
		}
	}()
	for _, group := range groups {
		for _, p := range group {
			c.pages = append(c.pages, p)
			c.mux.Handle(p.Pattern, pageHandler{c, p})
		}
	}
	c.mux.Handle("GET "+staticPrefix, http.HandlerFunc(serveStatic))
	return c, nil
}

// Pages lists what the console serves.
func (c *Console) Pages() []Page { return append([]Page(nil), c.pages...) }

// Unaudited lists what may answer without a call of the API, which is on
// record: files that are the same for everybody, and pages for those who have
// not signed in. Every other page begins by asking the API who is there.
func (c *Console) Unaudited() (routes []string) {
	for _, p := range c.pages {
		if p.Access == Anyone {
			routes = append(routes, p.Pattern)
		}
	}
	return append(routes, "GET "+staticPrefix+"*")
}

const maxPath = 2048

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	out := &writer{ResponseWriter: w}
	setHeaders(w.Header())
	pattern := "none"
	defer func() {
		c.o.Log.Info("page", "route", pattern, "status", out.status, "duration", time.Since(start).Round(time.Microsecond))
	}()
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p != http.ErrAbortHandler {
			c.panicked(pattern, p)
		}
		if out.status != 0 {
			panic(http.ErrAbortHandler) // a broken connection says that this is not all
		}
		c.plainError(out, r, http.StatusInternalServerError)
	}()
	// ServeMux answers a path in another spelling with a redirect; here such a
	// path names nothing.
	if !plainPath(r.URL.Path) {
		c.plainError(out, r, http.StatusNotFound)
		return
	}
	if err := c.guard(r); err != nil {
		c.plainError(out, r, http.StatusForbidden)
		return
	}
	h, found := c.mux.Handler(r)
	if found == "" {
		status := http.StatusNotFound
		probe := &answer{header: http.Header{}}
		h.ServeHTTP(probe, r)
		if probe.status == http.StatusMethodNotAllowed {
			status = probe.status
			out.Header().Set("Allow", probe.header.Get("Allow"))
		}
		c.plainError(out, r, status)
		return
	}
	pattern = found
	c.mux.ServeHTTP(out, r)
}

// answer takes the mux's own refusals apart, which are plain text.
type answer struct {
	header http.Header
	status int
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return len(b), nil }

func plainPath(p string) bool {
	if len(p) > maxPath || !strings.HasPrefix(p, "/") || strings.Contains(p, "//") || strings.ContainsAny(p, "\\\x00") {
		return false
	}
	for seg := range strings.SplitSeq(p, "/") {
		if seg == "." || seg == ".." {
			return false
		}
	}
	return true
}

// panicked logs where a panic came from. Its value may hold anything, so the
// log has its type alone.
func (c *Console) panicked(pattern string, value any) {
	pc := make([]uintptr, 32)
	frames := runtime.CallersFrames(pc[:runtime.Callers(4, pc)])
	var at []string
	for {
		f, more := frames.Next()
		at = append(at, fmt.Sprintf("%s:%d", f.Function, f.Line))
		if !more {
			break
		}
	}
	c.o.Log.Error("panic", "route", pattern, "type", fmt.Sprintf("%T", value), "at", strings.Join(at, " "))
}

// pageHandler serves one page.
type pageHandler struct {
	c *Console
	p Page
}

func (h pageHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := h.c.visit(w, r, h.p)
	defer v.end()
	err := v.enter()
	if err == nil {
		err = h.p.Serve(v)
	}
	if err != nil && err != errAnswered {
		v.fail(err)
	}
}
