package docs_test

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	pages "strongroom/docs"
	"strongroom/internal/web/docs"
)

const golden = "../../app/testdata/openapi.golden.json"

func site(t *testing.T) *docs.Site {
	t.Helper()
	doc, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	s, err := docs.New(docs.Options{Pages: pages.Pages, OpenAPI: doc, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func get(t *testing.T, h http.Handler, path string) (*httptest.ResponseRecorder, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w, w.Body.String()
}

var (
	hrefs = regexp.MustCompile(`href="([^"]+)"`)
	ids   = regexp.MustCompile(` id="([^"]+)"`)
)

// outside are paths of other faces that pages lead to.
var outside = []string{"/openapi.json", "/", "/trust"}

func TestEveryLinkOfEveryPageLeadsSomewhere(t *testing.T) {
	t.Parallel()
	s := site(t)
	anchors := map[string][]string{}
	bodies := map[string]string{}
	for _, p := range s.Paths() {
		_, bodies[p] = get(t, s, p)
		for _, m := range ids.FindAllStringSubmatch(bodies[p], -1) {
			if slices.Contains(anchors[p], m[1]) {
				t.Errorf("%s has two parts called %s", p, m[1])
			}
			anchors[p] = append(anchors[p], m[1])
		}
	}
	links := 0
	for page, body := range bodies {
		for _, m := range hrefs.FindAllStringSubmatch(body, -1) {
			links++
			path, anchor, _ := strings.Cut(m[1], "#")
			switch {
			case strings.Contains(path, "://"):
				if !strings.HasPrefix(path, "https://") {
					t.Errorf("%s: %s is not https", page, m[1])
				}
				continue
			case slices.Contains(outside, path):
				continue
			case path == "":
				path = page
			}
			if _, ok := bodies[path]; !ok {
				t.Errorf("%s: %s leads nowhere", page, m[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors[path], anchor) {
				t.Errorf("%s: %s has no such part", page, m[1])
			}
		}
	}
	if links < 500 {
		t.Errorf("%d links: the test looks in the wrong place", links)
	}
}

func TestEveryFileOfTheFolderIsAPageInTheNavigation(t *testing.T) {
	t.Parallel()
	s := site(t)
	_, index := get(t, s, "/docs/")
	err := fs.WalkDir(pages.Pages, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		at := "/docs/" + strings.TrimSuffix(p, ".md")
		if res, _ := get(t, s, at); res.Code != http.StatusOK {
			t.Errorf("%s: %d", at, res.Code)
		}
		if !strings.Contains(index, `href="`+at+`"`) {
			t.Errorf("the index does not lead to %s", at)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAPageNeedsNothingFromElsewhereAndNoScript(t *testing.T) {
	t.Parallel()
	s := site(t)
	for _, p := range s.Paths() {
		res, body := get(t, s, p)
		h := res.Header()
		if csp := h.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; style-src 'self';") || strings.Contains(csp, "unsafe") || strings.Contains(csp, "script") {
			t.Errorf("%s: the policy is %q", p, csp)
		}
		if h.Get("Strict-Transport-Security") == "" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Set-Cookie") != "" {
			t.Errorf("%s: %v", p, h)
		}
		if m := regexp.MustCompile(`(?i)<script|<img|<iframe|<style| style=| on[a-z]+=|@import|url\(`).FindString(body); m != "" {
			t.Errorf("%s has %q", p, m)
		}
		if len(body) > 400<<10 {
			t.Errorf("%s has %d bytes", p, len(body))
		}
	}
}

func TestAPageIsAnsweredOnceAndThenByItsTag(t *testing.T) {
	t.Parallel()
	s := site(t)
	res, _ := get(t, s, "/docs/errors")
	tag := res.Header().Get("ETag")
	r := httptest.NewRequest(http.MethodGet, "/docs/errors", nil)
	r.Header.Set("If-None-Match", `"other", `+tag)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusNotModified || w.Body.Len() != 0 {
		t.Errorf("%d with %d bytes", w.Code, w.Body.Len())
	}
	for path, want := range map[string]int{"/docs": 308, "/docs/errors/": 308, "/docs/errors.md": 308, "/docs/none": 404, "/docs/../etc/passwd": 404, "/docs/errors%00": 404} {
		if res, _ := get(t, s, path); res.Code != want {
			t.Errorf("%s: %d, want %d", path, res.Code, want)
		}
	}
	w = httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/docs/", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

// What looks like markup comes out as text: nothing of a page is left out, and
// nothing of it becomes more than text.
func TestMarkupInAPageIsText(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	for name, page := range map[string]string{
		"a block": "# T\n\n<script>alert(1)</script>\n\nend\n", "a block of another form": "# T\n\n<div onclick=x>\nmore\n</div>\n\nend\n", "a comment": "# T\n\n<!-- x\n<script> -->\n\nend\n",
		"in a line": "# T\n\na <script>b</script> <img src=x onerror=y> end\n", "a picture": "# T\n\n![<script> words](p.png) end\n", "in a heading": "# T <script>\n\nend\n",
		"in code": "# T\n\n`<script>`\n\n```<script>\n<script>\n```\n\n    <script>\n\nend\n", "in a link": "# T\n\n[<script>](https://example.org/?a=\"><script>) end\n",
		"in a table": "# T\n\n| a |\n|---|\n| <script> |\n\nend\n", "no title": "<script> end\n", "a script's address": "# T\n\n[x](javascript:alert(1)) [y](data:text/html,<script>) end\n",
	} {
		s, err := docs.New(docs.Options{Pages: fstest.MapFS{"a.md": {Data: []byte(page)}}, OpenAPI: doc})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, body := get(t, s, "/docs/a")
		if m := regexp.MustCompile(`(?i)<script|<img|<div on|href="(javascript|data):`).FindString(body); m != "" || !strings.Contains(body, "end") {
			t.Errorf("%s: %q in\n%s", name, m, body)
		}
	}
}
