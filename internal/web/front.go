// Package web is the front of the house: it knows which path belongs to which
// face, and nothing else.
//
// It promises that the API's paths reach the API and no other face, whatever
// else is served on the same port, and that a path of a face that is not there
// is answered by the API, on the record, as any path that names nothing.
// A new face is a field of [Front] and a line in face.
package web

import (
	"net/http"
	"slices"
	"strings"
)

// Front hands each request to the face that it is for. API is required; a nil
// face is not there.
type Front struct {
	API     http.Handler
	Console http.Handler // pages for people, and everything that nobody else has
	Trust   http.Handler // /trust, /trust.json, /trust/…, /.well-known/security.txt
	Docs    http.Handler // /docs/…
}

// ServeHTTP implements http.Handler.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := f.face(r.URL.Path)
	if h == nil {
		h = f.API
	}
	h.ServeHTTP(w, r)
}

// Unaudited lists the routes that may answer without a record, of every face
// that is there: the API says its own, a face that says nothing has none but
// its whole place.
func (f *Front) Unaudited() (routes []string) {
	for _, face := range []struct {
		handler http.Handler
		place   string
	}{{f.API, "/v1/*"}, {f.Console, "/*"}, {f.Trust, "/trust*, /.well-known/security.txt"}, {f.Docs, "/docs/*"}} {
		switch h := face.handler.(type) {
		case nil:
		case interface{ Unaudited() []string }:
			routes = append(routes, h.Unaudited()...)
		default:
			routes = append(routes, "GET "+face.place)
		}
	}
	slices.Sort(routes)
	return routes
}

func (f *Front) face(path string) http.Handler {
	switch {
	case path == "/openapi.json", path == "/healthz", path == "/readyz", under(path, "/v1"):
		return f.API
	case path == "/.well-known/security.txt", path == "/trust.json", under(path, "/trust"):
		return f.Trust
	case under(path, "/docs"):
		return f.Docs
	// A path that no URL has ("*", or a proxy's absolute form) is no page.
	case !strings.HasPrefix(path, "/"):
		return f.API
	}
	return f.Console
}

func under(path, prefix string) bool {
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}
