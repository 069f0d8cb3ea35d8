package api

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"strongroom/internal/feature"
)

func check(t *testing.T, id string, env feature.Env) (string, error) {
	t.Helper()
	for _, p := range Promises() {
		if p.ID == id {
			return p.Clauses[0].Check(t.Context(), env)
		}
	}
	t.Fatalf("no check of %s", id)
	return "", nil
}

func TestTheChecksOfTheEdgeHoldOnTheEdge(t *testing.T) {
	t.Parallel()
	addr, roots, _ := up(t, newHouse(t))
	env := feature.Env{URL: "https://" + addr, HTTP: client(roots, 0)}
	for _, p := range Promises() {
		evidence, err := check(t, p.ID, env)
		if err != nil || evidence == "" {
			t.Errorf("%s: %q, %v", p.ID, evidence, err)
		}
	}
}

// TestEachCheckTurnsRed breaks what each check watches.
func TestEachCheckTurnsRed(t *testing.T) {
	t.Parallel()
	whole := newHouse(t)
	broken := func(change func(w *httptest.ResponseRecorder, r *http.Request)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			whole.ServeHTTP(rec, r)
			change(rec, r)
			for name, v := range rec.Header() {
				w.Header()[name] = v
			}
			w.Header().Del("Content-Length")
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes())
		})
	}
	same := broken(func(*httptest.ResponseRecorder, *http.Request) {})
	for _, c := range []struct {
		name, id, want string
		handler        http.Handler
		config         func(*tls.Config)
		plain          bool // plain HTTP is served, not redirected
	}{
		{"TLS 1.1 is accepted", "ENC-4", "was accepted", same, func(c *tls.Config) { c.MinVersion = tls.VersionTLS10 }, false},
		{"HSTS is off", "ENC-4", "Strict-Transport-Security", broken(func(w *httptest.ResponseRecorder, _ *http.Request) { w.Header().Del("Strict-Transport-Security") }), nil, false},
		{"plain HTTP is not redirected", "ENC-4", "something else", same, nil, false},
		{"plain HTTP is not redirected", "API-3", "something else", same, nil, false},
		{"there is no TLS at all", "API-3", "not https", same, nil, true},
		{"a malformed request gets through", "API-2", "not refused", broken(func(w *httptest.ResponseRecorder, _ *http.Request) {
			if strings.Contains(w.Body.String(), "duplicate_field") {
				w.Code = 201
			}
		}), nil, false},
		{"a refusal names no place", "API-2", "does not name", broken(func(w *httptest.ResponseRecorder, _ *http.Request) {
			b := strings.ReplaceAll(w.Body.String(), `"/email"`, `""`)
			w.Body.Reset()
			w.Body.WriteString(b)
		}), nil, false},
		{"a refusal repeats the value", "API-2", "repeats", broken(func(w *httptest.ResponseRecorder, _ *http.Request) {
			b := strings.ReplaceAll(w.Body.String(), `"title":"`, `"title":"`+proveMark)
			w.Body.Reset()
			w.Body.WriteString(b)
		}), nil, false},
		{"an operation is missing", "API-4", "is described and answers 404", broken(func(w *httptest.ResponseRecorder, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/content") {
				w.Code = 404
			}
		}), nil, false},
		{"an operation is not described", "API-4", "is not described", broken(func(w *httptest.ResponseRecorder, r *http.Request) {
			if r.Method == http.MethodDelete && r.URL.Path == "/v1/status" {
				w.Code = 204
			}
		}), nil, false},
		{"the description is of another version", "API-4", "OpenAPI 3.1", broken(func(w *httptest.ResponseRecorder, r *http.Request) {
			b := strings.ReplaceAll(w.Body.String(), `"openapi": "3.1.0"`, `"openapi": "3.0.3"`)
			w.Body.Reset()
			w.Body.WriteString(b)
		}), nil, false},
		{"nobody answers", "API-2", "cannot be reached", nil, nil, false},
	} {
		t.Run(c.id+" when "+c.name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewUnstartedServer(c.handler)
			s.Config.ErrorLog = nil
			env := feature.Env{}
			if c.plain {
				s.Start()
			} else {
				s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
				if c.config != nil {
					c.config(s.TLS)
				}
				s.StartTLS()
			}
			env.URL, env.HTTP = s.URL, s.Client()
			if c.handler == nil {
				s.Close()
			} else {
				defer s.Close()
			}
			evidence, err := check(t, c.id, env)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, %v, want an error with %q", evidence, err, c.want)
			}
		})
	}
}
