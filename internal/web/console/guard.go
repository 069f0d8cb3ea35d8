package console

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// policy is what a page may load and do. Scripts, styles and pictures are
// files of this server; a form posts to it; nothing frames it. blob: is for
// pictures that a script draws from a file before it is sent.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

func setHeaders(h http.Header) {
	h.Set("Strict-Transport-Security", "max-age=63072000")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	// The paths of pages hold identifiers, which are nobody else's business.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("Cache-Control", "no-store")
}

var errOrigin = errors.New("console: the request comes from another site")

// guard refuses what another site makes a browser send. A change is taken from
// the console's own pages alone: browsers say where a request comes from
// (Fetch Metadata), older ones at least from which origin (RFC 6454). A
// program that says neither uses the API. The sign-in is a change too, so that
// nobody can be signed in as somebody else unawares.
//
// What only reads may be asked for from anywhere as a whole page, as a link in
// a mail is; a picture, script or fetch of another site is refused, so that it
// learns nothing from how the answer looks or how long it takes.
func (c *Console) guard(r *http.Request) error {
	site := r.Header.Get("Sec-Fetch-Site")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if (site == "cross-site" || site == "same-site") && r.Header.Get("Sec-Fetch-Mode") != "navigate" {
			return errOrigin
		}
		return nil
	}
	if site == "" && r.Header.Get("Origin") == "" {
		return errOrigin
	}
	if site != "" && site != "same-origin" {
		return errOrigin
	}
	return c.origins.Check(r)
}

// Limits of what a browser sends and takes.
const (
	maxForm   = 1 << 20 // bytes of a form
	formTime  = 30 * time.Second
	writeIdle = 30 * time.Second
)

// writer remembers what was answered, and moves the write deadline along while
// bytes flow: a download may take as long as it does, and who stops reading is
// given up.
type writer struct {
	http.ResponseWriter
	status int
	paced  time.Time
}

func (w *writer) WriteHeader(status int) {
	if status >= 200 && w.status == 0 {
		w.status = status
	}
	w.pace()
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.pace()
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *writer) pace() {
	now := time.Now()
	if now.Sub(w.paced) < time.Second {
		return
	}
	w.paced = now
	// A recorder has no deadline.
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(now.Add(writeIdle))
}

// How a body that is passed on may take its time: it may pause for bodyIdle,
// and must come to bodyRate bytes a second over all after bodyGrace.
const (
	bodyIdle  = 30 * time.Second
	bodyGrace = 60 * time.Second
	bodyRate  = 4 << 10
)

// pacedBody holds the connection's read deadline while a body comes in. The
// API does so for its own connections; one in the same process has none.
type pacedBody struct {
	io.ReadCloser
	deadline     *http.ResponseController
	start, moved time.Time
	read         int64
}

func (p *pacedBody) Read(b []byte) (int, error) {
	if now := time.Now(); now.Sub(p.moved) > time.Second {
		p.moved = now
		at := p.start.Add(bodyGrace + time.Duration(p.read/bodyRate)*time.Second)
		if idle := now.Add(bodyIdle); idle.Before(at) {
			at = idle
		}
		_ = p.deadline.SetReadDeadline(at)
	}
	n, err := p.ReadCloser.Read(b)
	p.read += int64(n)
	if err != nil {
		// A deadline left behind would end the request's context while the
		// page is made: the server goes on reading to see the browser leave.
		_ = p.deadline.SetReadDeadline(time.Time{})
	}
	return n, err
}
