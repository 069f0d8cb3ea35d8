// Package trust is the public page of the promises: /trust, the same as a
// signed document, security.txt, and a form to report a vulnerability.
//
// It promises that the page claims no more than the stored proofs show: how a
// promise stands comes from [Source].Overview and from nowhere else, what is no
// proof is marked as a statement of the operator, and where the store or the
// key does not answer the page says that instead of what it said before. It
// needs no account, sets no cookie, runs no script and names no customer.
//
// However many ask, the store is read a few times a minute: a page is made
// once for each reading, and what is sent is the same for everybody.
package trust

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"strongroom/internal/feature/plans"
	proofs "strongroom/internal/feature/trust"
	"strongroom/internal/feature/trust/signed"
)

//go:embed page
var pageFiles embed.FS

// Source is where what the page says comes from.
type Source interface {
	Overview(ctx context.Context) (proofs.Overview, error)
	Signer(ctx context.Context) (*signed.Signer, error)
}

// Grade says what the promises rest on, as the key service judges it.
type Grade struct {
	Demo    bool     `json:"demo"`
	Reasons []string `json:"reasons"`
}

// Options configures a Page. Source, Plans and API are required.
type Options struct {
	Source   Source
	Plans    func(context.Context) ([]plans.Plan, error)
	Grade    func(context.Context) (Grade, error) // nil: nothing is said
	API      http.Handler                         // takes reports, and answers what is no path of the page
	URL      func() string                        // under which people reach the installation
	Version  string
	Settings Settings
	Log      *slog.Logger
}

// Page is the handler.
type Page struct {
	o      Options
	css    []byte
	cssTag string
	views  views
	cross  *http.CrossOriginProtection

	mu    sync.Mutex
	made  *made
	extra extras
}

// made is what one reading of the store became.
type made struct {
	of         uint64 // the reading of the store
	html, json sent
	noSigner   error
}

// sent is a body with what is sent along.
type sent struct {
	body, zipped []byte
	tag          string
}

// extras are asked for less often than the proofs.
type extras struct {
	at    time.Time
	plans []plans.Plan
	grade *Grade
}

// New returns the page, or says what is wrong with o.
func New(o Options) (*Page, error) {
	if o.Source == nil || o.Plans == nil || o.API == nil {
		return nil, errors.New("trust: Options.Source, Plans and API are required")
	}
	if o.URL == nil {
		o.URL = func() string { return "" }
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	var err error
	if o.Settings, err = o.Settings.checked(); err != nil {
		return nil, err
	}
	p := &Page{o: o, cross: http.NewCrossOriginProtection()}
	if p.css, err = pageFiles.ReadFile("page/trust.css"); err != nil {
		return nil, err
	}
	p.cssTag = tagOf(p.css)
	if p.views, err = parseViews(p.cssTag); err != nil {
		return nil, err
	}
	return p, nil
}

// The paths of the page.
const (
	pagePath     = "/trust"
	jsonPath     = "/trust.json"
	keyPath      = "/trust/key"
	cssPath      = "/trust/trust.css"
	reportPath   = "/trust/report"
	securityPath = "/.well-known/security.txt"
)

// Routes lists what answers without a record in the log: it is the same for
// everybody and holds nobody's data. The form's POST is answered by the API,
// on the record.
func Routes() []string {
	return []string{"GET " + securityPath, "GET " + pagePath, "GET " + jsonPath, "GET " + keyPath, "GET " + reportPath, "GET " + cssPath}
}

// ServeHTTP implements http.Handler.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == reportPath && r.Method == http.MethodPost {
		setHeaders(w.Header())
		p.report(w, r)
		return
	}
	answer := map[string]func(http.ResponseWriter, *http.Request){
		pagePath: p.page, jsonPath: p.document, keyPath: p.key, cssPath: p.style, reportPath: p.form, securityPath: p.security,
	}[r.URL.Path]
	if answer == nil || r.URL.Path == reportPath && r.Method != http.MethodGet && r.Method != http.MethodHead {
		p.o.API.ServeHTTP(w, r) // says on the record that there is no such path
		return
	}
	setHeaders(w.Header())
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		plainText(w, http.StatusMethodNotAllowed, "This path is for reading.\n")
		return
	}
	answer(w, r)
}

// setHeaders are on every answer. There is no script, no picture, no font, no
// frame: what is not named may not be loaded.
func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Strict-Transport-Security", "max-age=63072000")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store")
}

// maxAge is how long what was sent may be shown again.
const maxAge = "public, max-age=60"

// buildTime bounds the making of a page.
const buildTime = 8 * time.Second

// current returns the page for the newest reading of the store. An error means
// that nothing is known now.
func (p *Page) current(ctx context.Context) (*made, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), buildTime)
	defer cancel()
	o, err := p.o.Source.Overview(ctx)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.made != nil && p.made.of == o.Reading && p.made.noSigner == nil {
		return p.made, nil
	}
	d := p.describe(ctx, o)
	m := &made{of: o.Reading}
	payload, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	var document []byte
	signer, err := p.o.Source.Signer(ctx)
	if err == nil {
		document, err = signer.Sign(payload)
	}
	if err != nil {
		m.noSigner = err
		p.o.Log.Error("the trust page cannot be signed", "err", err)
	} else {
		m.json = pack(document)
	}
	var b bytes.Buffer
	if err := p.views.page.Execute(&b, view{Document: d, Signed: m.noSigner == nil, KeyID: keyID(signer)}); err != nil {
		return nil, fmt.Errorf("trust: page: %w", err)
	}
	m.html = pack(b.Bytes())
	p.made = m
	return m, nil
}

func keyID(s *signed.Signer) string {
	if s == nil {
		return ""
	}
	return s.KeyID()
}

func pack(body []byte) sent {
	var z bytes.Buffer
	w, _ := gzip.NewWriterLevel(&z, gzip.BestCompression)
	_, _ = w.Write(body)
	_ = w.Close()
	return sent{body, z.Bytes(), tagOf(body)}
}

func tagOf(b []byte) string {
	sum := sha256.Sum256(b)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// extrasLife is how old plans and grade may be.
const extrasLife = time.Minute

// more asks for what does not come from the proofs. mu is held.
func (p *Page) more(ctx context.Context, now time.Time) extras {
	if !p.extra.at.IsZero() && now.Sub(p.extra.at) >= 0 && now.Sub(p.extra.at) < extrasLife {
		return p.extra
	}
	p.extra = extras{at: now}
	var err error
	if p.extra.plans, err = p.o.Plans(ctx); err != nil {
		p.o.Log.Warn("the trust page has no plans", "err", err)
		p.extra.plans, p.extra.at = nil, time.Time{}
	}
	if p.o.Grade != nil {
		if g, err := p.o.Grade(ctx); err == nil {
			p.extra.grade = &g
		} else {
			p.o.Log.Warn("the trust page does not know the key service's grade", "err", err)
			p.extra.at = time.Time{}
		}
	}
	return p.extra
}

func (p *Page) page(w http.ResponseWriter, r *http.Request) {
	m, err := p.current(r.Context())
	if err != nil {
		p.o.Log.Error("the trust page has nothing to show", "err", err)
		p.show(w, http.StatusServiceUnavailable, p.views.unavailable, p.bare())
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", maxAge)
	m.html.send(w, r)
}

func (p *Page) document(w http.ResponseWriter, r *http.Request) {
	m, err := p.current(r.Context())
	if err == nil {
		err = m.noSigner
	}
	if err != nil {
		problem(w, http.StatusServiceUnavailable, "the stored proofs or the key that signs them cannot be read now")
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/jose+json")
	h.Set("Content-Disposition", `attachment; filename="trust.json"`)
	h.Set("Cache-Control", maxAge)
	m.json.send(w, r)
}

func (p *Page) key(w http.ResponseWriter, r *http.Request) {
	s, err := p.o.Source.Signer(r.Context())
	var key []byte
	if err == nil {
		key, err = s.PublicKey()
	}
	if err != nil {
		p.o.Log.Error("the key of the trust page cannot be read", "err", err)
		problem(w, http.StatusServiceUnavailable, "the key cannot be read now")
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/jwk+json")
	h.Set("Cache-Control", maxAge)
	pack(append(key, '\n')).send(w, r)
}

func (p *Page) style(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/css; charset=utf-8")
	h.Set("Cache-Control", maxAge)
	if r.URL.RawQuery == "v="+p.cssTag {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	sent{body: p.css, tag: p.cssTag}.send(w, r)
}

func (s sent) send(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	tag := `"` + s.tag + `"`
	body := s.body
	if len(s.zipped) > 0 {
		h.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r.Header.Get("Accept-Encoding")) {
			body, tag = s.zipped, `"`+s.tag+`-z"`
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("ETag", tag)
	if match := r.Header.Get("If-None-Match"); match != "" && (match == tag || match == "W/"+tag) {
		h.Del("Content-Encoding")
		h.Del("Content-Type")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// acceptsGzip reads the header as RFC 9110 section 12.5.3 says, as far as it
// matters: whoever names gzip and does not forbid it gets it.
func acceptsGzip(header string) bool {
	for _, part := range strings.Split(header, ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q := strings.ReplaceAll(weight, " ", "")
			return q != "q=0" && !strings.HasPrefix(q, "q=0.000") && q != "q=0.0" && q != "q=0.00"
		}
	}
	return false
}

func plainText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}

// problem answers programs (RFC 9457).
func problem(w http.ResponseWriter, status int, detail string) {
	b, _ := json.Marshal(map[string]any{"type": "about:blank", "title": http.StatusText(status), "status": status, "code": "unavailable", "detail": detail})
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Header().Set("Retry-After", "5")
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
