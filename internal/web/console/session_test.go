package console_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"strongroom/client"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/store/audit"
	"strongroom/internal/testkit"
	"strongroom/internal/testkit/live"
)

// visitor is a browser without a screen: it keeps cookies, says where its
// requests come from as browsers do, and follows no redirect.
type visitor struct {
	t       *testing.T
	s       *live.Server
	c       *http.Client
	cookies map[string]string
	header  http.Header // of the next request, over what browsers send
}

func newVisitor(t *testing.T, s *live.Server) *visitor {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CA)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(c.CloseIdleConnections)
	return &visitor{t: t, s: s, c: c, cookies: map[string]string{}, header: http.Header{}}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	set    []*http.Cookie
	body   string
}

func (v *visitor) do(method, path, body string) answer {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.s.URL+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", v.s.URL)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for name, values := range v.header {
		r.Header.Del(name)
		if values[0] != "" {
			r.Header[name] = values
		}
	}
	v.header = http.Header{}
	for name, value := range v.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	res, err := v.c.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 {
			delete(v.cookies, c.Name)
		} else {
			v.cookies[c.Name] = c.Value
		}
	}
	return answer{res.StatusCode, res.Header, res.Cookies(), string(b)}
}

func (v *visitor) get(path string) answer { v.t.Helper(); return v.do(http.MethodGet, path, "") }

func (v *visitor) post(path string, form ...string) answer {
	v.t.Helper()
	q := url.Values{}
	for i := 0; i < len(form); i += 2 {
		q.Add(form[i], form[i+1])
	}
	return v.do(http.MethodPost, path, q.Encode())
}

func (v *visitor) signIn(p *live.Person) answer {
	v.t.Helper()
	a := v.post("/sign-in", "email", p.Email, "password", p.Password.Reveal())
	if a.status != http.StatusSeeOther {
		v.t.Fatalf("%s signs in: %d\n%s", p.Name, a.status, a.body)
	}
	return a
}

const sessionCookie = "__Host-strongroom"

func TestASignInIsASessionOfTheAPIInACookieThatNoScriptReads(t *testing.T) {
	t.Parallel()
	s := live.Start(t)
	org := s.Org(t, "pooled")
	v := newVisitor(t, s)
	if a := v.get("/o/" + org.ID + "/people?cursor=x"); a.status != http.StatusSeeOther || a.header.Get("Location") != "/sign-in?next="+url.QueryEscape("/o/"+org.ID+"/people?cursor=x") {
		t.Errorf("a page asks nobody to sign in: %d %s", a.status, a.header.Get("Location"))
	}
	if a := v.post("/sign-in", "email", org.Owner.Email, "password", "not the password"); a.status != http.StatusUnprocessableEntity || v.cookies[sessionCookie] != "" || !strings.Contains(a.body, "The address or the password is wrong.") {
		t.Errorf("a wrong password: %d", a.status)
	}
	a := v.post("/sign-in", "email", org.Owner.Email, "password", org.Owner.Password.Reveal(), "next", "/o/"+org.ID+"/people")
	if a.status != http.StatusSeeOther || a.header.Get("Location") != "/o/"+org.ID+"/people" {
		t.Fatalf("the sign-in leads to %d %s", a.status, a.header.Get("Location"))
	}
	if len(a.set) != 1 || a.set[0].Name != sessionCookie || !a.set[0].HttpOnly || !a.set[0].Secure || a.set[0].Path != "/" || a.set[0].Domain != "" || a.set[0].SameSite != http.SameSiteLaxMode || a.set[0].MaxAge != 0 {
		t.Errorf("the cookie is %v", a.set)
	}
	token := v.cookies[sessionCookie]
	if strings.Contains(a.body, token) {
		t.Error("the token is in the page")
	}
	if a := v.get("/o/" + org.ID + "/people"); a.status != http.StatusOK || !strings.Contains(a.body, org.Owner.Email) || strings.Contains(a.body, token) {
		t.Errorf("the page of people: %d", a.status)
	}
	in, err := s.Client(t, client.NewSecret(token)).WhoAmI(t.Context())
	if err != nil || in.Person.ID != org.Owner.ID {
		t.Errorf("the cookie holds no session of the API: %v", err)
	}
	if a := v.get("/sign-in"); a.status != http.StatusSeeOther {
		t.Errorf("the sign-in asks somebody who is signed in: %d", a.status)
	}
	if a := v.post("/sign-out"); a.status != http.StatusSeeOther || v.cookies[sessionCookie] != "" {
		t.Errorf("the sign-out: %d, %v", a.status, v.cookies)
	}
	if _, err := s.Client(t, client.NewSecret(token)).WhoAmI(t.Context()); client.Status(err) != http.StatusUnauthorized {
		t.Errorf("the session goes on after the sign-out: %v", err)
	}
	v.cookies[sessionCookie] = token
	if a := v.get("/account"); a.status != http.StatusSeeOther || v.cookies[sessionCookie] != "" {
		t.Errorf("an ended session opens a page: %d", a.status)
	}
}

func TestASignInOverAnotherEndsTheOtherAndReadsAreOnTheRecord(t *testing.T) {
	t.Parallel()
	s := live.Start(t)
	org := s.Org(t, "schema")
	v := newVisitor(t, s)
	v.signIn(org.Owner)
	old := v.cookies[sessionCookie]
	bob := org.Member(t, client.Scientist)
	v.signIn(bob)
	if _, err := s.Client(t, client.NewSecret(old)).WhoAmI(t.Context()); client.Status(err) != http.StatusUnauthorized {
		t.Errorf("the session before goes on: %v", err)
	}
	if a := v.get("/o/" + org.ID + "/people"); a.status != http.StatusForbidden {
		t.Errorf("a scientist sees the members: %d", a.status)
	}
	o, err := id.ParseOrg(org.ID)
	if err != nil {
		t.Fatal(err)
	}
	if all := testkit.AllEvents(t, s.Doors, o); !slices.ContainsFunc(all, func(e audit.Event) bool {
		return e.Actor.ID == bob.ID && e.Action == policy.MemberList && e.Outcome == audit.Denied
	}) {
		t.Errorf("the refused page is not on the record: %+v", all)
	}
}

func TestNoLinkLeadsOutOfTheConsole(t *testing.T) {
	t.Parallel()
	s := live.Start(t)
	org := s.Org(t, "pooled")
	v := newVisitor(t, s)
	for next, want := range map[string]string{
		"/account": "/account", "/o/" + org.ID + "/log?since=2026-01-01": "/o/" + org.ID + "/log?since=2026-01-01", "": "/",
		"//evil.example": "/", "https://evil.example/": "/", "/\\evil.example": "/", "\\\\evil.example": "/", "/\t/evil.example": "/", "/\n/evil.example": "/",
		"javascript:alert(1)": "/", "/..//evil.example": "/", "/%2f/evil.example": "/", "/no/such/page": "/", "/sign-in": "/", "/static/console/x": "/", "account": "/",
		" /account": "/", "/v1/orgs": "/", "///evil.example": "/", "/account@evil.example": "/", "/./account": "/",
	} {
		a := v.post("/sign-in", "email", org.Owner.Email, "password", org.Owner.Password.Reveal(), "next", next)
		if got := a.header.Get("Location"); a.status != http.StatusSeeOther || got != want {
			t.Errorf("next=%q leads to %d %q, want %q", next, a.status, got, want)
		}
		a = v.post("/appearance", "theme", "dark", "back", next)
		if got := a.header.Get("Location"); got != want {
			t.Errorf("back=%q leads to %q, want %q", next, got, want)
		}
		if a := v.get("/sign-in?" + url.Values{"next": {next}}.Encode()); a.header.Get("Location") != want {
			t.Errorf("somebody who is signed in: next=%q leads to %q, want %q", next, a.header.Get("Location"), want)
		}
		v.cookies = map[string]string{}
	}
	for _, path := range []string{"//evil.example/", "/a/../b", "/o//x", "/sign-in/", "/./sign-in", "/o/%2e%2e/x"} {
		if a := v.get(path); a.status != http.StatusNotFound && a.header.Get("Location") != "" {
			t.Errorf("%s leads to %d %s", path, a.status, a.header.Get("Location"))
		}
	}
}

func TestChangesAreTakenFromTheConsolesOwnPagesAlone(t *testing.T) {
	t.Parallel()
	s := live.Start(t)
	org := s.Org(t, "pooled")
	v := newVisitor(t, s)
	v.signIn(org.Owner)
	token := v.cookies[sessionCookie]
	from := func(site, origin string) http.Header {
		return http.Header{"Sec-Fetch-Site": {site}, "Origin": {origin}}
	}
	evil := "https://evil.example"
	for name, header := range map[string]http.Header{
		"another site": from("cross-site", evil), "a neighbouring host": from("same-site", "https://other.test.example"), "a hand-made request": from("", ""),
		"a bookmark": from("none", ""), "an older browser elsewhere": from("", evil), "an opaque origin": from("", "null"), "two stories": from("cross-site", s.URL), "an unknown word": from("same-planet", s.URL),
		"an origin by name alone": from("", "127.0.0.1"), "plain HTTP": from("", strings.Replace(s.URL, "https", "http", 1)),
	} {
		for path, form := range map[string][]string{
			"/sign-in": {"email", org.Owner.Email, "password", org.Owner.Password.Reveal()}, "/sign-out": nil, "/account/join-code": nil, "/appearance": {"theme", "dark"},
			"/o/" + org.ID + "/settings": {"name", "Taken over"}, "/o/" + org.ID + "/keys/new": {"name", "k", "roles", "scientist"},
		} {
			if name == "plain HTTP" {
				// CrossOriginProtection compares hosts alone; HSTS keeps a page of
				// the same host from ever being loaded in the clear.
				continue
			}
			v.header = header.Clone()
			if a := v.post(path, form...); a.status != http.StatusForbidden || len(a.set) > 0 {
				t.Errorf("%s: POST %s answers %d and sets %v", name, path, a.status, a.set)
			}
		}
	}
	if _, err := s.Client(t, client.NewSecret(token)).WhoAmI(t.Context()); err != nil {
		t.Errorf("a refused sign-out ended the session: %v", err)
	}
	if got, err := org.Owner.Organization(t.Context(), org.ID); err != nil || got.Name != org.Name {
		t.Errorf("the organization is called %q now, %v", got.Name, err)
	}
	v.header = from("", s.URL)
	if a := v.post("/appearance", "theme", "dark"); a.status != http.StatusSeeOther {
		t.Errorf("an older browser on our own page is refused: %d", a.status)
	}
	for mode, want := range map[string]int{"navigate": http.StatusOK, "no-cors": http.StatusForbidden, "cors": http.StatusForbidden} {
		v.header = http.Header{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {mode}}
		if a := v.get("/account"); a.status != want {
			t.Errorf("a %s of another site gets %d, want %d", mode, a.status, want)
		}
	}
}

func TestEveryAnswerTellsTheBrowserToBeCareful(t *testing.T) {
	t.Parallel()
	s := live.Start(t)
	org := s.Org(t, "pooled")
	v := newVisitor(t, s)
	v.signIn(org.Owner)
	inline := regexp.MustCompile(`(?i)<style|<script(?:[^>]*)></?script>?|<script>|\sstyle=|\son[a-z]+=|javascript:|hx-on|http://`)
	for _, path := range []string{"/sign-in", "/account", "/o/" + org.ID, "/o/" + org.ID + "/log", "/no/such", "/o/" + org.ID + "/settings", "/admin"} {
		a := v.get(path)
		for name, want := range map[string]string{
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
			"X-Content-Type-Options":  "nosniff", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			"Cache-Control": "no-store", "X-Frame-Options": "DENY", "Strict-Transport-Security": "max-age=63072000",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		for _, m := range inline.FindAllString(a.body, -1) {
			if m != `<script src=` && !strings.Contains(m, "src=") {
				t.Errorf("%s holds %q", path, m)
			}
		}
	}
	page := v.get("/account").body
	total := 0
	for _, m := range regexp.MustCompile(`(?:src|href)="(/static/console/[^"]+)"`).FindAllStringSubmatch(page, -1) {
		a := v.get(m[1])
		if a.status != http.StatusOK || a.header.Get("Cache-Control") != "public, max-age=31536000, immutable" || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %s", m[1], a.status, a.header.Get("Cache-Control"))
		}
		if strings.HasSuffix(m[1], ".js") {
			total += len(a.body)
		}
	}
	if total == 0 || total > 150_000 {
		t.Errorf("the pages load %d bytes of script; at most 150,000", total)
	}
	for _, path := range []string{"/static/console/", "/static/console/console.css", "/static/console/htmx.LICENSE", "/static/console/../console.go"} {
		if a := v.get(path); a.status != http.StatusNotFound {
			t.Errorf("%s answers %d", path, a.status)
		}
	}
}

func TestFormsAreBoundedAndMethodsAreNamed(t *testing.T) {
	t.Parallel()
	s := live.Start(t)
	v := newVisitor(t, s)
	if a := v.post("/sign-in", "email", strings.Repeat("a", 2<<20)); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("a form of two megabytes: %d", a.status)
	}
	v.header = http.Header{"Content-Type": {"application/json"}}
	if a := v.do(http.MethodPost, "/sign-in", `{}`); a.status != http.StatusUnsupportedMediaType {
		t.Errorf("a form of JSON: %d", a.status)
	}
	if a := v.do(http.MethodPost, "/sign-in", "email=%zz"); a.status != http.StatusBadRequest {
		t.Errorf("a broken form: %d", a.status)
	}
	if a := v.do(http.MethodPost, "/sign-in", "email=%ff"); a.status != http.StatusBadRequest {
		t.Errorf("a form that is no text: %d", a.status)
	}
	v.header = http.Header{"Origin": {s.URL}, "Sec-Fetch-Site": {"same-origin"}}
	if a := v.do(http.MethodDelete, "/sign-in", ""); a.status != http.StatusMethodNotAllowed || !strings.Contains(a.header.Get("Allow"), "POST") {
		t.Errorf("DELETE /sign-in: %d %s", a.status, a.header.Get("Allow"))
	}
	if a := v.do(http.MethodHead, "/sign-in", ""); a.status != http.StatusOK || a.body != "" {
		t.Errorf("HEAD /sign-in: %d", a.status)
	}
	v.signIn(s.Org(t, "pooled").Owner)
	org := strings.Trim(v.get("/").header.Get("Location"), "/")
	for _, name := range []string{`"visibility"`, `"file"; filename=""`} { // of one name, as long as the sender likes
		v.header = http.Header{"Content-Type": {"multipart/form-data; boundary=b"}}
		part := "--b\r\nContent-Disposition: form-data; name=" + name + "\r\n\r\n" + strings.Repeat("a", 4<<10) + "\r\n"
		if a := v.do(http.MethodPost, "/"+org+"/files", strings.Repeat(part, 30)+"--b--\r\n"); a.status != http.StatusBadRequest {
			t.Errorf("a form of thirty fields %s: %d", name, a.status)
		}
	}
	v.cookies[sessionCookie] = strings.Repeat("x", 3000)
	if a := v.get("/account"); a.status != http.StatusSeeOther {
		t.Errorf("a cookie of another kind: %d", a.status)
	}
}
