package trust_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/feature/intake"
	"strongroom/internal/feature/plans"
	proofs "strongroom/internal/feature/trust"
	"strongroom/internal/feature/trust/signed"
	"strongroom/internal/identity"
	"strongroom/internal/store/audit"
	"strongroom/internal/testkit"
	"strongroom/internal/web/api"
	"strongroom/internal/web/trust"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { testkit.Main(m) }

// site is the page on the package's database. Its checks say what the test
// wants.
type site struct {
	http.Handler
	d      *testkit.Doors
	proofs *proofs.Proofs
	root   *pgx.Conn

	mu    sync.Mutex
	now   time.Time
	fails map[string]error
}

var built = []string{"ENC-2/keys", "ISO-2/policies", "ISO-2/arbitrary_sql", "ISO-2/private_rows", "ISO-1/schema", "OWN-2/purpose"}

const at = "https://trust.example"

func open(t *testing.T, change func(*trust.Options)) *site {
	t.Helper()
	d := testkit.Open(t)
	s := &site{d: d, now: time.Now(), fails: map[string]error{}}
	f := feature.Feature{Name: "test"}
	for _, c := range built {
		promise, name, _ := strings.Cut(c, "/")
		f.Promises = append(f.Promises, feature.Promise{ID: promise, Clauses: []feature.Clause{{Name: name, Tag: feature.Canary, Check: func(context.Context, feature.Env) (string, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return "seen <" + c + "> & more", s.fails[c]
		}}}})
	}
	quiet := slog.New(slog.DiscardHandler)
	who := identity.System(id.NewServer())
	prover, err := proofs.New([]feature.Feature{f}, func(context.Context) (feature.Env, error) { return feature.Env{}, nil })
	if err != nil {
		t.Fatal(err)
	}
	if s.proofs, err = proofs.NewProofs(proofs.ProofsOptions{Store: d.Platform, Keys: d.Keys(id.Installation), Actor: who, Prover: prover, Log: quiet,
		Now: func() time.Time { s.mu.Lock(); defer s.mu.Unlock(); return s.now }}); err != nil {
		t.Fatal(err)
	}
	p := plans.New(d.Platform)
	in, err := intake.New(intake.Options{Store: d.Platform})
	if err != nil {
		t.Fatal(err)
	}
	people, err := identity.New(identity.Options{Store: d.Platform})
	if err != nil {
		t.Fatal(err)
	}
	server, err := api.New(api.Options{Features: []feature.Feature{plans.Feature(p), intake.Feature(in)}, Doors: feature.ThroughStores(d.Tenant, d.Platform), Auth: people, Record: d.Tenant, Version: "test", Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	o := trust.Options{Source: s.proofs, Plans: func(ctx context.Context) ([]plans.Plan, error) { return p.List(ctx, who) }, API: server, URL: func() string { return at }, Version: "1.2.3", Log: quiet,
		Grade: func(context.Context) (trust.Grade, error) {
			return trust.Grade{Demo: true, Reasons: []string{"both zones are on one device"}}, nil
		},
		Settings: trust.Settings{Organization: "Lab & Sons", Contact: "security@lab.example"}}
	if change != nil {
		change(&o)
	}
	if s.Handler, err = trust.New(o); err != nil {
		t.Fatal(err)
	}
	if s.root, err = pgx.Connect(t.Context(), d.DB.URL("sr_root")); err != nil {
		t.Fatal(err)
	}
	clear := func() {
		s.run(t, "SET session_replication_role = replica; DELETE FROM platform.proof; DELETE FROM platform.proof_history; DELETE FROM platform.report")
	}
	clear()
	t.Cleanup(func() { clear(); _ = s.root.Close(context.WithoutCancel(t.Context())) })
	return s
}

func (s *site) run(t *testing.T, sql string) {
	t.Helper()
	if _, err := s.root.Exec(context.WithoutCancel(t.Context()), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
}

func (s *site) later(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func (s *site) prove(t *testing.T, ids ...string) {
	t.Helper()
	s.later(time.Millisecond) // no two proofs are of one moment
	if _, err := s.proofs.Prove(t.Context(), ids); err != nil {
		t.Fatal(err)
	}
}

func (s *site) send(t *testing.T, method, path, body string, head ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, at+path, strings.NewReader(body))
	for i := 0; i < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func (s *site) get(t *testing.T, status int, path string, head ...string) *httptest.ResponseRecorder {
	t.Helper()
	w := s.send(t, http.MethodGet, path, "", head...)
	if w.Code != status {
		t.Fatalf("GET %s: %d, want %d: %.300s", path, w.Code, status, w.Body)
	}
	return w
}

// document reads the signed document, verified.
func (s *site) document(t *testing.T) (d trust.Document) {
	t.Helper()
	payload, err := signed.Verify(s.get(t, 200, "/trust.json").Body.Bytes(), s.get(t, 200, "/trust/key").Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(payload, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// shows asserts that page and document say the same of a promise.
func (s *site) shows(t *testing.T, id string, want proofs.Standing) {
	t.Helper()
	page := s.get(t, 200, "/trust").Body.String()
	if !strings.Contains(page, `<li class="promise is-`+string(want)+`" id="`+strings.ToLower(id)+`">`) {
		t.Errorf("the page does not show %s as %s", id, want)
	}
	for _, g := range s.document(t).Groups {
		for _, p := range g.Promises {
			if p.ID == id && p.State != want {
				t.Errorf("the document says %s of %s, not %s", p.State, id, want)
			}
		}
	}
}

func TestThePageTurnsRedWhenACheckFailsAndBack(t *testing.T) {
	s := open(t, nil)
	s.shows(t, "ENC-2", proofs.StandsStale)
	s.prove(t)
	s.shows(t, "ENC-2", proofs.StandsKept)
	s.shows(t, "ISO-2", proofs.StandsKept)
	s.shows(t, "ISO-1", proofs.StandsPartly)
	s.shows(t, "AUD-4", proofs.StandsNotYet)
	if page := s.get(t, 200, "/trust").Body.String(); !strings.Contains(page, "Nothing is broken. 2 of 90 promises are kept in full") {
		t.Errorf("the page begins otherwise: %.2000s", page)
	}
	s.mu.Lock()
	s.fails["ISO-2/policies"] = errors.New("row-level security is off in /var/lib/somewhere")
	s.mu.Unlock()
	s.prove(t, "ISO-2")
	s.shows(t, "ISO-2", proofs.StandsBroken)
	page := s.get(t, 200, "/trust").Body.String()
	if !strings.Contains(page, "1 of 90 promises is broken at this moment.") {
		t.Error("the page does not begin with what is broken")
	}
	if strings.Contains(page, "row-level security is off") || strings.Contains(page, "/var/lib") {
		t.Error("everybody reads what the error says")
	}
	s.mu.Lock()
	delete(s.fails, "ISO-2/policies")
	s.mu.Unlock()
	s.prove(t, "ISO-2/policies")
	s.shows(t, "ISO-2", proofs.StandsKept)
}

func TestThePageTurnsAmberWithAge(t *testing.T) {
	s := open(t, nil)
	s.prove(t)
	s.later(2*time.Hour - time.Minute)
	s.shows(t, "ENC-2", proofs.StandsKept)
	s.later(2 * time.Minute)
	s.shows(t, "ENC-2", proofs.StandsStale)
	s.shows(t, "ISO-1", proofs.StandsStale)
	if page := s.get(t, 200, "/trust").Body.String(); !strings.Contains(page, "not proved recently enough") {
		t.Error("the page does not begin with what is too old")
	}
}

func TestAProofThatWasChangedInTheDatabaseIsShownAsSuch(t *testing.T) {
	s := open(t, nil)
	s.mu.Lock()
	s.fails["ENC-2/keys"] = errors.New("no")
	s.mu.Unlock()
	s.prove(t)
	s.run(t, "SET session_replication_role = replica; UPDATE platform.proof SET state = 'kept' WHERE clause = 'ENC-2/keys'")
	s.later(time.Minute)
	s.shows(t, "ENC-2", proofs.StandsBroken)
	if !strings.Contains(s.get(t, 200, "/trust").Body.String(), "the stored proof was changed after it was written; it does not count") {
		t.Error("the page does not say so")
	}
}

func TestTheDocumentVerifiesAndAFlippedByteDoesNot(t *testing.T) {
	s := open(t, nil)
	s.prove(t)
	w := s.get(t, 200, "/trust.json")
	key := s.get(t, 200, "/trust/key").Body.Bytes()
	document := w.Body.Bytes()
	if _, err := signed.Verify(document, key); err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(document); at += 97 {
		changed := bytes.Clone(document)
		changed[at] ^= 1
		if _, err := signed.Verify(changed, key); err == nil {
			t.Fatalf("a document with byte %d flipped verifies", at)
		}
	}
	d := s.document(t)
	if d.Kind != trust.Kind || d.Summary.Promises != 90 || len(d.Groups) != 14 || d.URL != at || d.Organization != "Lab & Sons" || d.Grade.Grade != "demo" || len(d.Plans) != 3 || len(d.Roles) != 6 || len(d.Permissions) < 40 {
		t.Errorf("%+v", d)
	}
	if got := w.Header().Get("Content-Type"); got != "application/jose+json" {
		t.Error(got)
	}
}

func TestThePageSaysWhenTheStoreDoesNotAnswerAndShowsNothingOld(t *testing.T) {
	gone := &failing{}
	s := open(t, func(o *trust.Options) { gone.Source = o.Source; o.Source = gone })
	s.prove(t)
	s.shows(t, "ENC-2", proofs.StandsKept)
	gone.overview = errors.New("the database is gone")
	w := s.get(t, 503, "/trust")
	if page := w.Body.String(); !strings.Contains(page, "cannot be read now") || strings.Contains(page, "is-kept") || strings.Contains(page, "the database is gone") {
		t.Errorf("%s", page)
	}
	if got := w.Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("a page without proofs may be kept: %s", got)
	}
	s.get(t, 503, "/trust.json")
	gone.overview = nil
	s.shows(t, "ENC-2", proofs.StandsKept)
}

func TestThePageSaysWhenItCannotBeSigned(t *testing.T) {
	gone := &failing{signer: errors.New("the keys are gone")}
	s := open(t, func(o *trust.Options) { gone.Source = o.Source; o.Source = gone })
	s.prove(t)
	page := s.get(t, 200, "/trust").Body.String()
	if !strings.Contains(page, "The signed document is not available now") || strings.Contains(page, `href="/trust.json"`) {
		t.Error("the page does not say that it is not signed")
	}
	s.get(t, 503, "/trust.json")
	s.get(t, 503, "/trust/key")
	gone.signer = nil
	s.shows(t, "ENC-2", proofs.StandsKept)
}

// failing is a source that fails on demand, as a database or a key service
// does that is away.
type failing struct {
	trust.Source
	overview, signer error
}

func (f *failing) Overview(ctx context.Context) (proofs.Overview, error) {
	if f.overview != nil {
		return proofs.Overview{}, f.overview
	}
	return f.Source.Overview(ctx)
}

func (f *failing) Signer(ctx context.Context) (*signed.Signer, error) {
	if f.signer != nil {
		return nil, f.signer
	}
	return f.Source.Signer(ctx)
}

func TestThePageIsForEverybodyAndHarmless(t *testing.T) {
	s := open(t, nil)
	s.prove(t)
	for _, path := range []string{"/trust", "/trust.json", "/trust/key", "/trust/report", "/trust/trust.css", "/.well-known/security.txt"} {
		w := s.get(t, 200, path)
		h := w.Header()
		if h.Get("Set-Cookie") != "" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Strict-Transport-Security") == "" || h.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: %v", path, h)
		}
		if csp := h.Get("Content-Security-Policy"); csp != "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'" {
			t.Errorf("%s: %s", path, csp)
		}
		head := s.send(t, http.MethodHead, path, "")
		if head.Code != 200 || head.Header().Get("Content-Length") != h.Get("Content-Length") {
			t.Errorf("HEAD %s: %d %v", path, head.Code, head.Header())
		}
		if got := s.send(t, http.MethodDelete, path, "").Code; got != http.StatusMethodNotAllowed && got != http.StatusNotFound {
			t.Errorf("DELETE %s: %d", path, got)
		}
	}
	page := s.get(t, 200, "/trust")
	if page.Header().Get("Cache-Control") != "public, max-age=60" {
		t.Error(page.Header())
	}
	body := page.Body.String()
	for _, bad := range []string{"<script", "javascript:", "style=", "onclick", "ZgotmplZ", "<no value>", "seen <ENC"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page holds %q", bad)
		}
	}
	for _, good := range []string{"Lab &amp; Sons", "seen &lt;ENC-2/keys&gt; &amp; more", "Demo grade", "both zones are on one device", "Pilot", "Enterprise", "Statement, not proof", "Penetration test", "mailto:security@lab.example"} {
		if !strings.Contains(body, good) {
			t.Errorf("the page lacks %q", good)
		}
	}
	zipped := s.get(t, 200, "/trust", "Accept-Encoding", "br, gzip")
	z, err := gzip.NewReader(zipped.Body)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || string(b) != body {
		t.Errorf("compressed it says something else: %v", err)
	}
	if got := s.get(t, http.StatusNotModified, "/trust", "If-None-Match", page.Header().Get("ETag")); got.Body.Len() != 0 {
		t.Error("what was not modified is sent")
	}
	if w := s.send(t, http.MethodGet, "/trust/nothing", ""); w.Code != 404 || w.Header().Get(api.RequestIDHeader) == "" {
		t.Errorf("a path that names nothing: %d", w.Code)
	}
}

func TestTheRoutesWithoutARecordAreAGoldenList(t *testing.T) {
	t.Parallel()
	testkit.Golden(t, "testdata/routes.golden", trust.Routes(), *update)
}

func TestSecurityTxtSaysWhatRFC9116Asks(t *testing.T) {
	s := open(t, nil)
	text := s.get(t, 200, "/.well-known/security.txt").Body.String()
	for _, line := range []string{"Contact: mailto:security@lab.example\n", "Contact: " + at + "/trust/report\n", "Canonical: " + at + "/.well-known/security.txt\n", "Preferred-Languages: en\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("it lacks %q:\n%s", line, text)
		}
	}
	_, rest, _ := strings.Cut(text, "Expires: ")
	expires, err := time.Parse(time.RFC3339, strings.SplitN(rest, "\n", 2)[0])
	if left := time.Until(expires); err != nil || left < 150*24*time.Hour || left > 365*24*time.Hour {
		t.Errorf("it expires at %s: %v", expires, err)
	}
}

func form(title, description, contact string) string {
	return url.Values{"title": {title}, "description": {description}, "contact": {contact}}.Encode()
}

const urlencoded = "application/x-www-form-urlencoded"

func TestTheFormTakesAReportWithoutScriptOrAccount(t *testing.T) {
	s := open(t, nil)
	secret := "The lock opens with a paper clip; " + feature.NewMark().Text
	before := len(testkit.AllEvents(t, s.d, id.Installation))
	w := s.send(t, http.MethodPost, "/trust/report", form("Paper clip", secret, "me@finder.example"), "Content-Type", urlencoded, "Sec-Fetch-Site", "same-origin", "Origin", at)
	page := w.Body.String()
	if w.Code != 201 || !strings.Contains(page, "Your reference is <code class=\"key\">rpt_") || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %s", w.Code, page)
	}
	reference := page[strings.Index(page, "rpt_"):][:30]
	found := false
	for _, e := range testkit.AllEvents(t, s.d, id.Installation)[before:] {
		found = found || e.Action == policy.ReportCreate && e.Outcome == audit.Done && len(e.Targets) == 1 && e.Targets[0] == reference
	}
	if !found {
		t.Error("the report is not on record")
	}
	var row string
	if err := s.root.QueryRow(t.Context(), "SELECT r::text FROM platform.report r").Scan(&row); err != nil {
		t.Fatal(err)
	}
	if feature.MarkOf(secret).In([]byte(row)) || feature.MarkOf("me@finder.example").In([]byte(row)) {
		t.Error("the report stands in the clear")
	}
}

func TestTheFormSaysWhatIsWrongAndKeepsWhatWasWritten(t *testing.T) {
	s := open(t, nil)
	for _, c := range []struct {
		name, body, media, site, want string
		status                        int
	}{
		{"a title of blanks", form("     ", "long enough to be read", ""), urlencoded, "same-origin", `id="title-error"`, 422},
		{"a description too short", form("A <b>title</b>", "short", ""), urlencoded, "same-origin", `id="description-error"`, 422},
		{"a control character", form("A title", "long enough, and \x1b[31m red", ""), urlencoded, "same-origin", `id="description-error"`, 422},
		{"another site", form("A title", "long enough to be read", ""), urlencoded, "cross-site", "sent from another site", 403},
		{"a body that is no form", "%zz", urlencoded, "same-origin", "could not be read", 400},
		{"a body that is too long", form("A title", strings.Repeat("x", 300<<10), ""), urlencoded, "same-origin", "too long", 413},
		{"an empty form", "", "text/plain", "same-origin", "has to be changed", 422},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := s.send(t, http.MethodPost, "/trust/report", c.body, "Content-Type", c.media, "Sec-Fetch-Site", c.site)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("%d, want %d with %q: %s", w.Code, c.status, c.want, w.Body)
			}
			if strings.Contains(w.Body.String(), "<b>title</b>") {
				t.Error("what was written becomes markup")
			}
			if strings.Contains(c.body, "title%3C") && !strings.Contains(w.Body.String(), "A &lt;b&gt;title&lt;/b&gt;") {
				t.Error("what was written is lost")
			}
		})
	}
	var n int
	if err := s.root.QueryRow(t.Context(), "SELECT count(*) FROM platform.report").Scan(&n); err != nil || n != 0 {
		t.Errorf("%d reports were taken: %v", n, err)
	}
	for range intake.PerNetwork {
		s.send(t, http.MethodPost, "/trust/report", form("A title", "long enough to be read", ""), "Content-Type", urlencoded, "Sec-Fetch-Site", "same-origin")
	}
	w := s.send(t, http.MethodPost, "/trust/report", form("A title", "long enough to be read", ""), "Content-Type", urlencoded, "Sec-Fetch-Site", "same-origin")
	if w.Code != http.StatusTooManyRequests || !strings.Contains(w.Body.String(), "too many reports came in the last hour") {
		t.Errorf("one too many: %d %s", w.Code, w.Body)
	}
}

func TestSettingsThatCannotBeShownAreRefused(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]trust.Settings{
		"trust.contact":      {Contact: "ring twice"},
		"trust.contact: ":    {Contact: "javascript:alert(1)"},
		"trust.contact:":     {Contact: "http://plain.example"},
		"trust.policy":       {Policy: "http://plain.example/policy"},
		"trust.organization": {Organization: "two\nlines"},
		"trust.location":     {Location: strings.Repeat("x", 501)},
		"trust.roadmap":      {Roadmap: map[string]string{"Penetration test": "certified"}},
	} {
		if err := s.Check(); err == nil || !strings.Contains(err.Error(), strings.TrimRight(name, ": ")) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	for _, contact := range []string{"", "security@lab.example", "mailto:security@lab.example", "https://lab.example/security", "tel:+1-201-555-0123"} {
		if err := (trust.Settings{Contact: contact, Roadmap: map[string]string{"Penetration test": "planned: in spring"}}).Check(); err != nil {
			t.Errorf("%s: %v", contact, err)
		}
	}
}

// The operator's plans are on the page a minute later at the latest.
func TestAPlanThatTheOperatorEditsIsShown(t *testing.T) {
	s := open(t, nil)
	s.run(t, `SET session_replication_role = replica; UPDATE platform.plan SET spec = jsonb_set(spec, '{title}', '"Team of Ten"') WHERE id = 'team'`)
	t.Cleanup(func() {
		s.run(t, `UPDATE platform.plan SET spec = jsonb_set(spec, '{title}', '"Team"') WHERE id = 'team'`)
	})
	if !strings.Contains(s.get(t, 200, "/trust").Body.String(), "Team of Ten") {
		t.Error("the page does not show it")
	}
}
