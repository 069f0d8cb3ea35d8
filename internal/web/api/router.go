package api

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"strongroom/internal/feature"
)

// route is one operation as the edge serves it.
type route struct {
	op      feature.Op
	pattern string // as in POST /v1/orgs/{org}/files, for the access log
	words   feature.Words
	doc     *huma.Operation
	run     func(huma.Context)
}

const maxPath = 2048

// router finds the route of a request. Below it works the ServeMux of the
// standard library, which answers some requests by itself (redirects to a
// cleaned path, plain-text 404 and 405); none of those reach it, as none
// would be on record.
type router struct {
	mux     *http.ServeMux
	routes  map[string]*route // by the mux's pattern
	methods []string
}

func newRouter() *router { return &router{mux: http.NewServeMux(), routes: map[string]*route{}} }

// add takes a route. A verb after a colon becomes a segment of its own, as the
// mux's wildcards fill whole segments.
func (rt *router) add(r *route) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("api: %s: %v", r.op.ID, p)
		}
	}()
	pattern := r.op.Method + " " + strings.Replace(r.op.Path, ":", "/:", 1)
	rt.mux.Handle(pattern, http.NotFoundHandler())
	rt.routes[pattern] = r
	if !slices.Contains(rt.methods, r.op.Method) {
		rt.methods = append(rt.methods, r.op.Method)
		slices.Sort(rt.methods)
	}
	return nil
}

// find returns the route of r and r with its path values, or the refusal.
func (rt *router) find(r *http.Request) (*route, *http.Request, error) {
	p, ok := plainPath(r.URL.Path)
	if !ok {
		return nil, r, errNoRoute
	}
	probe := r.Clone(r.Context())
	probe.URL.Path, probe.URL.RawPath, probe.Host = p, "", ""
	if found, pattern := rt.match(probe); found != nil {
		fill(r, pattern, p)
		return found, r, nil
	}
	var allow []string
	for _, m := range rt.methods {
		probe.Method = m
		if found, _ := rt.match(probe); found != nil {
			allow = append(allow, m)
			if m == http.MethodGet {
				allow = append(allow, http.MethodHead)
			}
		}
	}
	if len(allow) > 0 {
		return nil, r, notAllowed(strings.Join(allow, ", "))
	}
	return nil, r, errNoRoute
}

// match asks the mux. A verb is no identifier: it does not fill a wildcard.
func (rt *router) match(probe *http.Request) (*route, string) {
	_, pattern := rt.mux.Handler(probe)
	verb := strings.Contains(probe.URL.Path, "/:")
	if verb && strings.HasSuffix(pattern, "}") {
		return nil, ""
	}
	return rt.routes[pattern], pattern
}

// fill sets the path values that pattern finds in p: both have the same
// number of segments, and a wildcard takes exactly one.
func fill(r *http.Request, pattern, p string) {
	_, pattern, _ = strings.Cut(pattern, " ")
	values := strings.Split(p, "/")
	for i, seg := range strings.Split(pattern, "/") {
		if strings.HasPrefix(seg, "{") {
			r.SetPathValue(seg[1:len(seg)-1], values[i])
		}
	}
}

const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_-.~:"

// plainPath accepts the one spelling of a path and gives the form in which
// the mux has it. Every path of the API is made of plain characters: what
// holds others (NUL, a slash in disguise, dot segments) names nothing here.
func plainPath(p string) (string, bool) {
	if len(p) > maxPath || !strings.HasPrefix(p, "/") {
		return "", false
	}
	if strings.Trim(p, plain) != "" { // what stops the trimming is not plain
		return "", false
	}
	if p == "/" {
		return p, true
	}
	for _, seg := range strings.Split(p[1:], "/") {
		if seg == "" || seg == "." || seg == ".." || seg[0] == ':' {
			return "", false
		}
	}
	if i := strings.IndexByte(p, ':'); i >= 0 {
		if strings.ContainsAny(p[i+1:], ":/") || i == len(p)-1 {
			return "", false
		}
		p = p[:i] + "/" + p[i:]
	}
	return p, true
}
