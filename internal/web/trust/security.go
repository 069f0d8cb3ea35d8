package trust

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"
)

// security answers with security.txt (RFC 9116). It is made anew at each
// request, so that it never expires while the server runs.
func (p *Page) security(w http.ResponseWriter, r *http.Request) {
	text := p.securityText(time.Now())
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", maxAge)
	sent{body: []byte(text), tag: tagOf([]byte(text))}.send(w, r)
}

// validFor is less than the year that RFC 9116 section 2.5.5 recommends.
const validFor = 180 * 24 * time.Hour

func (p *Page) securityText(now time.Time) string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			b.WriteString(name + ": " + value + "\n")
		}
	}
	c := p.contact()
	// The first contact is the preferred one (section 2.5.3).
	line("Contact", c.Security)
	if strings.HasPrefix(c.Report, "https://") {
		line("Contact", c.Report)
		line("Canonical", strings.TrimSuffix(c.Report, reportPath)+securityPath)
	}
	line("Expires", now.UTC().Add(validFor).Truncate(24*time.Hour).Format(time.RFC3339))
	line("Policy", c.Policy)
	line("Preferred-Languages", "en")
	return b.String()
}

// maxForm bounds the form: what the API takes, as a form encodes it at worst.
const maxForm = 200 << 10

// formView is the form, with what was wrong and what was written.
type formView struct {
	bareView
	Title, Description, From string
	Errors                   map[string]string // by field; "" for the whole
	Reference                string
}

func (p *Page) form(w http.ResponseWriter, r *http.Request) {
	p.write(w, r, http.StatusOK, formView{bareView: p.bare()})
}

func (p *Page) write(w http.ResponseWriter, _ *http.Request, status int, v formView) {
	p.show(w, status, p.views.report, v)
}

// report hands the form to the API, as the very request that a program would
// send: the API validates, bounds, records and stores.
func (p *Page) report(w http.ResponseWriter, r *http.Request) {
	v := formView{bareView: p.bare(), Errors: map[string]string{}}
	if err := p.cross.Check(r); err != nil {
		v.Errors[""] = "The form was sent from another site. Open this page and send it again."
		p.write(w, r, http.StatusForbidden, v)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		v.Errors[""] = "The form could not be read."
		status := http.StatusBadRequest
		if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
			v.Errors[""], status = "The report is too long.", http.StatusRequestEntityTooLarge
		}
		p.write(w, r, status, v)
		return
	}
	// Browsers send line ends as CR LF, whatever was typed.
	v.Title, v.From = strings.TrimSpace(r.PostForm.Get("title")), strings.TrimSpace(r.PostForm.Get("contact"))
	v.Description = strings.ReplaceAll(r.PostForm.Get("description"), "\r\n", "\n")
	body := map[string]string{"title": v.Title, "description": v.Description}
	if v.From != "" {
		body["contact"] = v.From
	}
	answer, err := p.ask(r, body)
	if err != nil {
		v.Errors[""] = "The report could not be sent. Try again later."
		p.write(w, r, http.StatusServiceUnavailable, v)
		return
	}
	var got struct {
		Report string
		Detail string
		Errors []struct{ Pointer, Code, Detail string }
	}
	_ = json.Unmarshal(answer.body.Bytes(), &got)
	if answer.status == http.StatusCreated && got.Report != "" {
		v.Reference = got.Report
		p.write(w, r, http.StatusCreated, v)
		return
	}
	for _, e := range got.Errors {
		if field, ok := map[string]string{"/title": "title", "/description": "description", "/contact": "contact"}[e.Pointer]; ok && v.Errors[field] == "" {
			v.Errors[field] = "Not accepted: " + e.Detail + "."
		}
	}
	switch {
	case len(v.Errors) > 0:
		v.Errors[""] = "Something has to be changed before the report can be taken."
	case answer.status == http.StatusTooManyRequests:
		v.Errors[""] = "No more reports are taken now: " + got.Detail + "."
	default:
		v.Errors[""] = "The report could not be taken. Try again later."
	}
	p.write(w, r, max(answer.status, 400), v)
}

// ask sends JSON to the API, in the process, with the browser's address and
// name.
func (p *Page) ask(r *http.Request, body any) (*heard, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), 20*time.Second)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, "/v1/reports", bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	q.RemoteAddr, q.Host = r.RemoteAddr, r.Host
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("User-Agent", r.UserAgent())
	h := &heard{header: http.Header{}}
	p.o.API.ServeHTTP(h, q)
	return h, nil
}

// heard takes the API's answer.
type heard struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (h *heard) Header() http.Header { return h.header }

func (h *heard) WriteHeader(status int) {
	if h.status == 0 {
		h.status = status
	}
}

func (h *heard) Write(b []byte) (int, error) {
	h.WriteHeader(http.StatusOK)
	return h.body.Write(b)
}
