package console_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"

	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom/client"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/store/audit"
	"strongroom/internal/testkit"
	"strongroom/internal/testkit/live"
)

// hand is a browser without a screen: it keeps the cookies of one person and
// says, as browsers do, that its requests come from the console's own pages.
type hand struct {
	t    *testing.T
	s    *live.Server
	http *http.Client
	jar  map[string]*http.Cookie
}

func newHand(t *testing.T, s *live.Server, who *live.Person) *hand {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	h := &hand{t: t, s: s, jar: map[string]*http.Cookie{}, http: &http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if got := h.post("/sign-in", url.Values{"email": {who.Email}, "password": {who.Password.Reveal()}}); got.status != http.StatusSeeOther {
		t.Fatalf("%s cannot sign in: %d", who.Name, got.status)
	}
	return h
}

type page struct {
	status int
	header http.Header
	body   string
}

func (p page) to() string { return p.header.Get("Location") }

// text is what a reader sees of a page, more or less.
func (p page) text() string {
	return strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(p.body, " ")), " ")
}

func (h *hand) do(method, path, media string, body io.Reader, head ...string) page {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.s.URL+path, body)
	if err != nil {
		h.t.Fatal(err)
	}
	if media != "" {
		r.Header.Set("Content-Type", media)
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	for i := 0; i+1 < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	for _, c := range h.jar {
		r.AddCookie(c)
	}
	res, err := h.http.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatalf("%s %s broke off: %v", method, path, err)
	}
	for _, c := range res.Cookies() {
		if h.jar[c.Name] = c; c.MaxAge < 0 {
			delete(h.jar, c.Name)
		}
	}
	return page{res.StatusCode, res.Header, string(b)}
}

func (h *hand) get(path string, head ...string) page {
	h.t.Helper()
	return h.do(http.MethodGet, path, "", nil, head...)
}

func (h *hand) post(path string, form url.Values) page {
	h.t.Helper()
	return h.do(http.MethodPost, path, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
}

// upload sends files as a form does, fields first.
func (h *hand) upload(path string, fields map[string]string, files map[string][]byte, head ...string) page {
	h.t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for k, v := range fields {
		_ = w.WriteField(k, v)
	}
	for name, content := range files {
		part, err := w.CreateFormFile("file", name)
		if err != nil {
			h.t.Fatal(err)
		}
		_, _ = part.Write(content)
	}
	if err := w.Close(); err != nil {
		h.t.Fatal(err)
	}
	return h.do(http.MethodPost, path, w.FormDataContentType(), &b, head...)
}

const sampleSchema = `{"type":"object","required":["name"],"additionalProperties":false,"properties":{
 "name":{"type":"string","title":"Name","minLength":1,"maxLength":100,"x-strongroom":{"title":true}},
 "thickness":{"type":"number","title":"Thickness","minimum":0,"description":"Of the film, by ellipsometry.","x-strongroom":{"unit":"nm"}},
 "substrate":{"enum":["sapphire","silicon","gallium oxide"],"title":"Substrate"},
 "grown":{"type":"string","format":"date","title":"Grown on"},
 "good":{"type":"boolean","title":"Fit for measurement"},
 "notes":{"type":"string","title":"Notes","maxLength":4000},
 "growth":{"type":"object","title":"Growth","properties":{"temperature":{"type":"number","title":"Temperature","x-strongroom":{"unit":"Cel"}},"pressure":{"type":"number","title":"Pressure","x-strongroom":{"unit":"mbar"}}}},
 "layers":{"type":"array","title":"Layers","items":{"type":"object","required":["material"],"properties":{"material":{"type":"string","title":"Material"},"thickness":{"type":"number","title":"Thickness","x-strongroom":{"unit":"nm"}}}}},
 "labels":{"type":"array","title":"Labels","items":{"type":"string"}}}}`

// lab is an organization with samples and their measurements.
type lab struct {
	s      *live.Server
	org    *live.Org
	orgID  id.Org
	sample client.Record
	frame  client.File
}

func (l *lab) path(rest ...string) string { return "/o/" + l.org.ID + "/" + strings.Join(rest, "/") }

func (l *lab) samplePath(rest ...string) string {
	return l.path(append([]string{"c", "sample", l.sample.ID}, rest...)...)
}

const sampleContent = `{"name":"Si(111)-√3 Ag","thickness":12.500,"substrate":"silicon","grown":"2026-11-02","good":true,"growth":{"temperature":550},"layers":[{"material":"Ag","thickness":0.3}],"labels":["rheed","first"]}`

func furnishLab(t testing.TB, s *live.Server, org *live.Org) *lab {
	t.Helper()
	l := &lab{s: s, org: org}
	var err error
	if l.orgID, err = id.ParseOrg(org.ID); err != nil {
		t.Fatal(err)
	}
	who := org.Owner
	for _, c := range []client.NewCollection{
		{Kind: "sample", Title: "Samples", Schema: json.RawMessage(sampleSchema)},
		{Kind: "measurement", Title: "Measurements", Schema: json.RawMessage(`{"type":"object","required":["title"],"properties":{"title":{"type":"string","x-strongroom":{"title":true}}}}`),
			Relations: map[string]client.Relation{"sample": {Title: "Sample", To: []string{"sample"}}, "frames": {Title: "Frames", To: []string{"file"}, Many: true}}},
	} {
		if _, err := who.CreateCollection(t.Context(), org.ID, c); err != nil {
			t.Fatal(err)
		}
	}
	if l.sample, err = who.CreateRecord(t.Context(), org.ID, "sample", client.NewRecord{Content: json.RawMessage(sampleContent)}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join("..", "..", "app", "demo", "data", "materials", "rheed", "Si_111_r3Ag_112.bmp"))
	if err != nil {
		t.Fatal(err)
	}
	if l.frame, err = who.UploadFile(t.Context(), org.ID, client.Upload{Name: "Si_111_r3Ag_112.bmp", MediaType: "image/bmp", Size: int64(len(b)), Body: bytes.NewReader(b)}); err != nil {
		t.Fatal(err)
	}
	m, err := who.CreateRecord(t.Context(), org.ID, "measurement", client.NewRecord{Content: json.RawMessage(`{"title":"RHEED at 112"}`),
		Links: []client.NewLink{{Relation: "sample", To: l.sample.ID}, {Relation: "frames", To: l.frame.ID}}})
	if err != nil {
		t.Fatal(err)
	}
	_ = m
	if _, err := who.CreateLink(t.Context(), org.ID, "sample", l.sample.ID, l.frame.ID, "related"); err != nil {
		t.Fatal(err)
	}
	return l
}

func newLab(t *testing.T) *lab {
	t.Helper()
	s := live.Start(t)
	return furnishLab(t, s, s.Org(t, "schema"))
}

func init() {
	furnish = append(furnish, func(t *testing.T, w *World) {
		l := furnishLab(t, w.S, w.Org)
		w.Sheet["sample"], w.Sheet["frame"] = l.sample.ID, l.frame.ID
		changed := strings.Replace(sampleContent, "12.500", "12.75", 1)
		if _, err := w.Ada.ReplaceRecord(t.Context(), w.Org.ID, "sample", l.sample.ID, l.sample.Version, client.NewRecord{Content: json.RawMessage(changed)}); err != nil {
			t.Fatal(err)
		}
		gone, err := w.Ada.CreateRecord(t.Context(), w.Org.ID, "sample", client.NewRecord{Content: json.RawMessage(`{"name":"Broken"}`)})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Ada.DeleteRecord(t.Context(), w.Org.ID, "sample", gone.ID, gone.Version); err != nil {
			t.Fatal(err)
		}
	})
	at := func(format string) func(*World) []Walk {
		return func(w *World) []Walk {
			return []Walk{{Path: strings.NewReplacer("ORG", "/o/"+w.Org.ID, "SAMPLE", w.Sheet["sample"], "FRAME", w.Sheet["frame"]).Replace(format)}}
		}
	}
	for pattern, path := range map[string]string{
		"GET /o/{org}/c/{kind}":               "ORG/c/sample",
		"GET /o/{org}/c/{kind}/new":           "ORG/c/measurement/new?link=sample:SAMPLE",
		"GET /o/{org}/c/{kind}/{rec}":         "ORG/c/sample/SAMPLE",
		"GET /o/{org}/c/{kind}/{rec}/edit":    "ORG/c/sample/SAMPLE/edit",
		"GET /o/{org}/c/{kind}/{rec}/history": "ORG/c/sample/SAMPLE/history",
		"GET /o/{org}/c/{kind}/{rec}/json":    "ORG/c/sample/SAMPLE/json",
		"GET /o/{org}/c/{kind}/{rec}/link":    "ORG/c/sample/SAMPLE/link?relation=related",
		"GET /o/{org}/files":                  "ORG/files",
		"GET /o/{org}/files/{fil}":            "ORG/files/FRAME",
		"GET /o/{org}/trash":                  "ORG/trash",
		"GET /o/{org}/export":                 "ORG/export",
	} {
		walks[pattern] = at(path)
	}
	// These are bytes and no pages.
	none := func(*World) []Walk { return nil }
	walks["GET /o/{org}/files/{fil}/content"], walks["GET /o/{org}/files/{fil}/preview"], walks["GET /o/{org}/export/{exp}/content"] = none, none, none
}

func want(t *testing.T, what string, got page, status int, words ...string) {
	t.Helper()
	if got.status != status {
		t.Fatalf("%s answers %d, want %d: %s", what, got.status, status, got.text())
	}
	text := got.text()
	for _, w := range words {
		if !strings.Contains(text, w) && !strings.Contains(got.body, w) {
			t.Errorf("%s does not say %q: %s", what, w, text)
		}
	}
}

// wantLogged looks for an event of the person's that names a target.
func (l *lab) wantLogged(t *testing.T, action policy.Action, outcome audit.Outcome, target string) {
	t.Helper()
	// The last event of a download is written when its last byte is out.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		for _, e := range testkit.AllEvents(t, l.s.Doors, l.orgID) {
			if e.Action == action && e.Outcome == outcome && slices.Contains(e.Targets, target) {
				return
			}
		}
		if time.Now().After(deadline) {
			break
		}
	}
	t.Errorf("the log has no %s of %s that ended as %s", action, target, outcome)
}

func TestTheListShowsARecordWithItsColumnsAndTheReadIsOnRecord(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := newHand(t, l.s, l.org.Member(t, client.Analyst))
	got := h.get(l.path("c", "sample"))
	want(t, "the list", got, http.StatusOK, "Samples", "Si(111)-√3 Ag", "12.500", "silicon", "Thickness", "nm")
	if strings.Contains(got.text(), " New ") {
		t.Error("an analyst is offered to store a record")
	}
	l.wantLogged(t, policy.RecordList, audit.Done, l.sample.ID)
	want(t, "an unknown collection", h.get(l.path("c", "nothing")), http.StatusNotFound)
}

func TestTheRecordsPageShowsFieldsPicturesLinksAndHistory(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := newHand(t, l.s, l.org.Owner)
	got := h.get(l.samplePath())
	want(t, "the page", got, http.StatusOK, "Si(111)-√3 Ag", "12.500", "nm", "°C", "Fit for measurement", "Measurements", "RHEED at 112", "Si_111_r3Ag_112.bmp", "Version 1", "Who sees it")
	preview := l.path("files", l.frame.ID, "preview")
	if !strings.Contains(got.body, `src="`+preview+`"`) {
		t.Error("the linked picture is not shown")
	}
	l.wantLogged(t, policy.RecordRead, audit.Done, l.sample.ID)
	img := h.get(preview, "Sec-Fetch-Mode", "no-cors")
	if img.status != http.StatusOK || img.header.Get("Content-Type") != "image/png" || !strings.HasPrefix(img.body, "\x89PNG") {
		t.Errorf("the preview answers %d %s", img.status, img.header.Get("Content-Type"))
	}
	l.wantLogged(t, policy.FilePreview, audit.Done, l.frame.ID)
	want(t, "its JSON", h.get(l.samplePath("json")), http.StatusOK, "12.500")
	want(t, "its history", h.get(l.samplePath("history")), http.StatusOK, "Stored")
}

func TestARecordIsStoredFromAFormWithItsLinks(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := newHand(t, l.s, l.org.Member(t, client.Scientist))
	form := h.get(l.path("c", "measurement", "new") + "?link=sample:" + l.sample.ID)
	want(t, "the form", form, http.StatusOK, "Si(111)-√3 Ag", `value="`+l.sample.ID+`" selected`)
	got := h.post(l.path("c", "measurement", "new"), url.Values{"f/title": {"XPS of Ag 3d"}, "link/sample": {l.sample.ID}, "visibility": {"organization"}})
	want(t, "storing it", got, http.StatusSeeOther)
	stored := h.get(got.to())
	want(t, "its page", stored, http.StatusOK, "XPS of Ag 3d", "Stored.", "Si(111)-√3 Ag")
	rec := got.to()[strings.LastIndex(got.to(), "/")+1:]
	l.wantLogged(t, policy.RecordCreate, audit.Done, rec)
}

func TestARefusedFormKeepsWhatWasTypedAndSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := newHand(t, l.s, l.org.Owner)
	form := url.Values{"f/name": {"Typed <b>name</b>"}, "f/thickness": {"-3.50"}, "f/layers": {"rows"}, "o/layers/0": {""}, "f/layers/0/thickness": {"1"}}
	got := h.post(l.path("c", "sample", "new"), form)
	want(t, "the refused form", got, http.StatusUnprocessableEntity, "Typed &lt;b&gt;name", `value="-3.50"`, "below the schema&#39;s minimum", "Is required.")
	form.Set("do", "add/layers")
	got = h.post(l.path("c", "sample", "new"), form)
	want(t, "another row", got, http.StatusOK, `name="o/layers/1"`, `value="-3.50"`)
}

func TestAnEditChangesWhatWasChangedAndNothingElse(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := newHand(t, l.s, l.org.Owner)
	form := formOf(t, h.get(l.samplePath("edit")))
	form.Set("f/thickness", "12.75")
	got := h.post(l.samplePath("edit"), form)
	want(t, "saving", got, http.StatusSeeOther)
	now, err := l.org.Owner.Record(t.Context(), l.org.ID, "sample", l.sample.ID)
	if err != nil {
		t.Fatal(err)
	}
	if wanted := strings.Replace(sampleContent, "12.500", "12.75", 1); string(now.Content) != wanted {
		t.Errorf("the record is %s, want %s", now.Content, wanted)
	}
	l.wantLogged(t, policy.RecordUpdate, audit.Done, l.sample.ID)
	want(t, "the history", h.get(l.samplePath("history")), http.StatusOK, "12.500 nm", "12.75 nm", "is now")
	// A form that changes nothing writes nothing.
	want(t, "saving nothing", h.post(l.samplePath("edit"), formOf(t, h.get(l.samplePath("edit")))), http.StatusSeeOther)
	if again, _ := l.org.Owner.Record(t.Context(), l.org.ID, "sample", l.sample.ID); again.Version != now.Version {
		t.Error("a form that changed nothing made a version")
	}
}

// formOf reads the fields of a page's record form, as a browser would send
// them.
func formOf(t *testing.T, p page) url.Values {
	t.Helper()
	values := url.Values{}
	_, body, ok := strings.Cut(p.body, `id="record-form"`)
	if !ok {
		t.Fatalf("no form: %d %s", p.status, p.text())
	}
	attr := func(tag, name string) string {
		m := regexp.MustCompile(name + `="([^"]*)"`).FindStringSubmatch(tag)
		if m == nil {
			return ""
		}
		return unescape(m[1])
	}
	for _, tag := range regexp.MustCompile(`<input[^>]*>`).FindAllString(body, -1) {
		if kind := attr(tag, " type"); (kind == "radio" || kind == "checkbox") && !strings.Contains(tag, " checked") {
			continue
		}
		if name := attr(tag, " name"); name != "" {
			values.Add(name, attr(tag, " value"))
		}
	}
	for _, m := range regexp.MustCompile(`(?s)(<textarea[^>]*>)\n?(.*?)</textarea>`).FindAllStringSubmatch(body, -1) {
		values.Add(attr(m[1], " name"), unescape(m[2]))
	}
	for _, m := range regexp.MustCompile(`(?s)(<select[^>]*>)(.*?)</select>`).FindAllStringSubmatch(body, -1) {
		if o := regexp.MustCompile(`<option value="([^"]*)" selected`).FindStringSubmatch(m[2]); o != nil {
			values.Add(attr(m[1], " name"), unescape(o[1]))
		}
	}
	return values
}

var entities = strings.NewReplacer("&#34;", `"`, "&#39;", "'", "&lt;", "<", "&gt;", ">", "&amp;", "&", "&#43;", "+")

func unescape(s string) string { return entities.Replace(s) }

func TestWhoSavesTooLateSeesBothAndLosesNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := newHand(t, l.s, l.org.Owner)
	form := formOf(t, h.get(l.samplePath("edit")))
	theirs := strings.Replace(sampleContent, "12.500", "99.9", 1)
	if _, err := l.org.Owner.ReplaceRecord(t.Context(), l.org.ID, "sample", l.sample.ID, 1, client.NewRecord{Content: json.RawMessage(theirs)}); err != nil {
		t.Fatal(err)
	}
	form.Set("f/substrate", `"sapphire"`)
	got := h.post(l.samplePath("edit"), form)
	want(t, "the late form", got, http.StatusConflict, "Changed meanwhile", "99.9", `value="&#34;sapphire&#34;" selected`, `value="12.500"`)
	again := formOf(t, got)
	if again.Get("version") != "2" {
		t.Fatalf("the form shown again is for version %q", again.Get("version"))
	}
	again.Set("f/thickness", "99.9")
	want(t, "saving with open eyes", h.post(l.samplePath("edit"), again), http.StatusSeeOther)
	now, err := l.org.Owner.Record(t.Context(), l.org.ID, "sample", l.sample.ID)
	if wanted := strings.Replace(theirs, `"silicon"`, `"sapphire"`, 1); err != nil || string(now.Content) != wanted {
		t.Errorf("the record is %s (%v), want %s", now.Content, err, wanted)
	}
}

func TestWhatIsDeletedComesBackByOneButton(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := newHand(t, l.s, l.org.Owner)
	got := h.post(l.samplePath("delete"), url.Values{"version": {"1"}})
	want(t, "deleting", got, http.StatusSeeOther)
	l.wantLogged(t, policy.RecordDelete, audit.Done, l.sample.ID)
	want(t, "the list", h.get(got.to()), http.StatusOK, "in the trash now", "Undo")
	want(t, "the page", h.get(l.samplePath()), http.StatusNotFound)
	want(t, "the trash", h.get(l.path("trash")), http.StatusOK, "Si(111)-√3 Ag", "Samples", "Take back")
	back := h.post(l.samplePath("restore"), url.Values{})
	want(t, "taking it back", back, http.StatusSeeOther)
	want(t, "its page again", h.get(back.to()), http.StatusOK, "Si(111)-√3 Ag")
	l.wantLogged(t, policy.RecordRestore, audit.Done, l.sample.ID)

	file := l.path("files", l.frame.ID)
	want(t, "deleting a file", h.post(file+"/delete", url.Values{"version": {"1"}}), http.StatusSeeOther)
	want(t, "its page", h.get(file), http.StatusNotFound)
	want(t, "the trash", h.get(l.path("trash")+"?kind=file"), http.StatusOK, "Si_111_r3Ag_112.bmp")
	want(t, "taking it out", h.post(l.path("trash"), url.Values{"id": {l.frame.ID}}), http.StatusSeeOther)
	want(t, "its page again", h.get(file), http.StatusOK, "Si_111_r3Ag_112.bmp")
}

func TestFilesAreUploadedByAFormAndByItsScript(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := newHand(t, l.s, l.org.Member(t, client.Scientist))
	got := h.upload(l.path("files"), map[string]string{"visibility": "private"}, map[string][]byte{"größe.txt": []byte("hello")})
	want(t, "the upload", got, http.StatusSeeOther)
	want(t, "the list", h.get(got.to()), http.StatusOK, "größe.txt", "private", "Stored größe.txt.")

	big := bytes.Repeat([]byte("strongroom "), 400_000) // more than a form may be
	got = h.upload(l.samplePath("files"), nil, map[string][]byte{"big.dat": big}, "Strongroom-Upload", "1")
	want(t, "the script's upload", got, http.StatusCreated)
	var told struct{ ID, Path string }
	if err := json.Unmarshal([]byte(got.body), &told); err != nil || !strings.HasSuffix(told.Path, told.ID) {
		t.Fatalf("the script is told %s", got.body)
	}
	l.wantLogged(t, policy.FileUpload, audit.Done, told.ID)
	want(t, "the record", h.get(l.samplePath()), http.StatusOK, "big.dat")
	down := h.get(told.Path + "/content")
	if down.body != string(big) || !strings.HasPrefix(down.header.Get("Content-Disposition"), "attachment") {
		t.Errorf("%d bytes came back of %d, as %s", len(down.body), len(big), down.header.Get("Content-Disposition"))
	}
	l.wantLogged(t, policy.FileDownload, audit.Done, told.ID)

	want(t, "a new version", h.upload(told.Path+"/replace", map[string]string{"version": "1"}, map[string][]byte{"big2.dat": []byte("2")}), http.StatusSeeOther)
	want(t, "its page", h.get(told.Path), http.StatusOK, "Version 1", "Version 2", "big2.dat")
	if first := h.get(told.Path + "/content?version=1"); first.body != string(big) {
		t.Error("the first version is not to be had any more")
	}
	want(t, "nothing chosen", h.upload(l.path("files"), nil, nil), http.StatusSeeOther)
	stale := h.upload(told.Path+"/replace", map[string]string{"version": "1"}, map[string][]byte{"x": []byte("3")}, "Strongroom-Upload", "1")
	want(t, "a stale new version", stale, http.StatusPreconditionFailed, "changed")
}

func TestARecordIsLinkedAndUnlinked(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := newHand(t, l.s, l.org.Owner)
	other, err := l.org.Owner.CreateRecord(t.Context(), l.org.ID, "sample", client.NewRecord{Content: json.RawMessage(`{"name":"Second"}`)})
	if err != nil {
		t.Fatal(err)
	}
	want(t, "the picker", h.get(l.samplePath("link")+"?relation=related"), http.StatusOK, "Second", "Si_111_r3Ag_112.bmp")
	want(t, "linking nothing", h.post(l.samplePath("link")+"?relation=related", url.Values{}), http.StatusUnprocessableEntity, "Choose what to link to.")
	want(t, "linking", h.post(l.samplePath("link")+"?relation=related", url.Values{"link/related": {other.ID}}), http.StatusSeeOther)
	got := h.get(l.samplePath())
	want(t, "the page", got, http.StatusOK, "Second", "Linked.")
	links, err := l.org.Owner.ListLinks(t.Context(), l.org.ID, "sample", other.ID, client.List{})
	if err != nil || len(links.Items) != 1 {
		t.Fatalf("%v, %v", links, err)
	}
	want(t, "the other's page", h.get(l.path("c", "sample", other.ID)), http.StatusOK, "Si(111)-√3 Ag")
	want(t, "unlinking", h.post(l.samplePath("unlink"), url.Values{"link": {links.Items[0].ID}}), http.StatusSeeOther)
	if after, _ := l.org.Owner.ListLinks(t.Context(), l.org.ID, "sample", other.ID, client.List{}); len(after.Items) != 0 {
		t.Error("the link is still there")
	}
}

func TestAPrivateRecordIsSeenByWhomItsOwnerChooses(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	owner, colleague, other := newHand(t, l.s, l.org.Owner), l.org.Member(t, client.Scientist), l.org.Member(t, client.Scientist)
	a, b := newHand(t, l.s, colleague), newHand(t, l.s, other)
	want(t, "sharing with one", owner.post(l.samplePath("sharing"), url.Values{"visibility": {"private"}, "people": {colleague.ID}}), http.StatusSeeOther)
	want(t, "the chosen one", a.get(l.samplePath()), http.StatusOK, "private", "Si(111)-√3 Ag")
	want(t, "another one", b.get(l.samplePath()), http.StatusNotFound)
	want(t, "the owner's page", owner.get(l.samplePath()), http.StatusOK, "1 person")
	if strings.Contains(a.get(l.samplePath()).text(), "Who sees it") {
		t.Error("who does not own a record is offered to share it")
	}
	want(t, "sharing as another", a.post(l.samplePath("sharing"), url.Values{"visibility": {"organization"}}), http.StatusForbidden)
}

func TestAChangeThatComesFromAnotherSiteIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	h := newHand(t, l.s, l.org.Owner)
	got := h.do(http.MethodPost, l.samplePath("delete"), "application/x-www-form-urlencoded", strings.NewReader("version=1"), "Sec-Fetch-Site", "cross-site")
	want(t, "a forged delete", got, http.StatusForbidden)
	want(t, "the page", h.get(l.samplePath()), http.StatusOK)
	if img := h.get(l.path("files", l.frame.ID, "preview"), "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"); img.status != http.StatusForbidden {
		t.Errorf("another site's page shows the picture: %d", img.status)
	}
}

// TestWhatIsExportedIsMadeAndFetchedOnThePage is not parallel: a job goes to
// any server of the package, and each test's server has files of its own.
func TestWhatIsExportedIsMadeAndFetchedOnThePage(t *testing.T) {
	l := newLab(t)
	h := newHand(t, l.s, l.org.Member(t, client.Analyst))
	want(t, "the page", h.get(l.path("export")+"?collection=sample&record="+l.sample.ID), http.StatusOK, "Si(111)-√3 Ag and everything that leads to it", "None yet")
	want(t, "the menu of every page", h.get(l.path("files")), http.StatusOK, `<a href="`+l.path("c", "sample")+`">`, `<a href="`+l.path("files")+`" aria-current="page">`)
	want(t, "a table of everything", h.post(l.path("export"), url.Values{"what": {"everything"}, "format": {"csv"}}), http.StatusUnprocessableEntity, "A table holds the records of one collection.")
	want(t, "a project", h.post(l.path("export"), url.Values{"what": {"project:sample:" + l.sample.ID}, "format": {"zip"}}), http.StatusSeeOther)
	link := regexp.MustCompile(`href="([^"]+/export/(exp_[a-z0-9]+)/content)"`)
	var found []string
	for deadline := time.Now().Add(30 * time.Second); found == nil; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the page offers no archive")
		}
		// What the page asks for again and again is a part of it.
		part := h.get(l.path("export"), "HX-Request", "true")
		if strings.Contains(part.body, "<html") {
			t.Fatal("a part of the page is the whole")
		}
		found = link.FindStringSubmatch(part.body)
	}
	got := h.get(found[1])
	if got.status != http.StatusOK || got.header.Get("Content-Type") != "application/zip" || !strings.Contains(got.header.Get("Content-Disposition"), "strongroom-export.zip") {
		t.Fatalf("%d %v", got.status, got.header)
	}
	if _, err := client.VerifyExport(t.Context(), strings.NewReader(got.body), int64(len(got.body)), nil); err != nil {
		t.Error(err)
	}
	l.wantLogged(t, policy.ExportDownload, audit.Done, found[2])
	want(t, "removing it", h.post(l.path("export", found[2], "delete"), url.Values{}), http.StatusSeeOther)
	want(t, "fetching it again", h.get(found[1]), http.StatusNotFound)
	scientist := newHand(t, l.s, l.org.Member(t, client.Scientist))
	want(t, "a scientist's page", scientist.get(l.path("export")), http.StatusForbidden)
}
