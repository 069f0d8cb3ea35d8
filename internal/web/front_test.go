package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"strongroom/internal/web"
)

func face(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Face", name) })
}

func TestEachPathReachesItsFace(t *testing.T) {
	t.Parallel()
	whole := &web.Front{API: face("api"), Console: face("console"), Trust: face("trust"), Docs: face("docs")}
	bare := &web.Front{API: face("api")}
	for path, want := range map[string]string{
		"/v1/orgs": "api", "/v1": "api", "/v1/": "api", "/openapi.json": "api", "/healthz": "api", "/readyz": "api",
		"/trust": "trust", "/trust.json": "trust", "/trust/key": "trust", "/.well-known/security.txt": "trust", "/trusted": "console",
		"/docs": "docs", "/docs/": "docs", "/docs/quick-start": "docs", "/docsy": "console",
		"/": "console", "/sign-in": "console", "/v1x": "console", "/static/console/x.js": "console", "/.well-known/other": "console",
	} {
		for _, f := range []struct {
			front *web.Front
			want  string
		}{{whole, want}, {bare, "api"}} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.URL.Path = path
			w := httptest.NewRecorder()
			f.front.ServeHTTP(w, r)
			if got := w.Header().Get("Face"); got != f.want {
				t.Errorf("%s reaches %s, want %s", path, got, f.want)
			}
		}
	}
	if got := strings.Join(whole.Unaudited(), " "); got != "GET /* GET /docs/* GET /trust*, /.well-known/security.txt GET /v1/*" {
		t.Errorf("faces that say nothing are listed as %s", got)
	}
	r := httptest.NewRequest(http.MethodOptions, "/", nil)
	r.URL.Path = "*"
	w := httptest.NewRecorder()
	whole.ServeHTTP(w, r)
	if w.Header().Get("Face") != "api" {
		t.Error("OPTIONS * is no page")
	}
}
