package files

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/blob"
	"strongroom/internal/feature"
	"strongroom/internal/identity/actor"
	"strongroom/internal/identity/actortest"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
	"strongroom/internal/web/api"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// house is the API with this feature, one organization in it, and a directory
// of objects.
type house struct {
	*Files
	http    http.Handler
	doors   *testkit.Doors
	org     id.Org
	dir     string
	ada     actor.Actor // a scientist
	callers map[string]actor.Actor
}

// Authenticate takes the token for a name.
func (h *house) Authenticate(_ context.Context, r *http.Request) (actor.Actor, error) {
	who, ok := h.callers[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	if !ok {
		return who, fault.New(fault.Unauthenticated, "sign in first")
	}
	return who, nil
}

func build(t testing.TB, placement string) *house {
	t.Helper()
	d := testkit.Open(t)
	org := testkit.Org(t, placement).ID
	dir := t.TempDir()
	store, err := blob.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	h := &house{Files: New(d.Tenant, store, nil), doors: d, org: org, dir: dir, ada: actortest.With(t, org, policy.Scientist)}
	h.callers = map[string]actor.Actor{
		"ada": h.ada, "eve": actortest.With(t, org, policy.Scientist), "ann": actortest.With(t, org, policy.Analyst), "oa": actortest.With(t, org, policy.OrgAdmin),
		"stranger": actortest.With(t, id.NewOrg(), policy.Scientist, policy.Analyst, policy.OrgAdmin),
	}
	f := Feature(h.Files)
	for _, op := range f.Ops {
		if err := op.Check(); err != nil {
			t.Fatal(err)
		}
	}
	h.http, err = api.New(api.Options{Features: []feature.Feature{f}, Doors: feature.ThroughStores(d.Tenant, d.Platform), Auth: h, Record: d.Tenant, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) path(rest ...string) string {
	return "/v1/orgs/" + h.org.String() + "/files" + strings.Join(rest, "")
}

// do sends a request; head is "Name: value" lines.
func (h *house) do(t testing.TB, token, method, path string, body io.Reader, head ...string) (w *httptest.ResponseRecorder) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "https://strongroom.test"+path, body)
	r.Header.Set("Authorization", "Bearer "+token)
	for _, line := range head {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w = httptest.NewRecorder()
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler {
			panic(p)
		} else if p != nil {
			w.Code = 0 // broken off
		}
	}()
	h.http.ServeHTTP(w, r)
	return w
}

func (h *house) want(t testing.TB, status int, token, method, path string, body io.Reader, head ...string) *httptest.ResponseRecorder {
	t.Helper()
	w := h.do(t, token, method, path, body, head...)
	if w.Code != status {
		t.Fatalf("%s %s: %d %s, want %d", method, path, w.Code, w.Body, status)
	}
	return w
}

func decode[T any](t testing.TB, w *httptest.ResponseRecorder) (v T) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return v
}

func (h *house) put(t testing.TB, token, name string, content []byte, head ...string) File {
	t.Helper()
	head = append(head, "Content-Disposition: attachment; filename*=UTF-8''"+strings.ReplaceAll(name, " ", "%20"))
	return decode[File](t, h.want(t, 201, token, "POST", h.path(), bytes.NewReader(content), head...))
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// rows counts what the tables hold, and objects what the store holds.
func (h *house) rows(t testing.TB) (files, versions int) {
	t.Helper()
	r := tenant.Request{Actor: h.ada, Org: h.org, Action: policy.FileRead}
	_, _, err := tenant.Do(t.Context(), h.doors.Tenant, r, func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		return struct{}{}, tx.QueryRow(ctx, tenant.Lit(`SELECT (SELECT count(*) FROM file WHERE org_id = $1), (SELECT count(*) FROM file_version WHERE org_id = $1)`), tx.Org().UUID()).Scan(&files, &versions)
	})
	if err != nil {
		t.Fatal(err)
	}
	return
}

func (h *house) objects(t testing.TB) (all []blob.Key) {
	t.Helper()
	for info, err := range h.blobs.List(t.Context(), h.org) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, info.Key)
	}
	return
}

func code(w *httptest.ResponseRecorder) string {
	var p api.Problem
	_ = json.Unmarshal(w.Body.Bytes(), &p)
	if len(p.Errors) > 0 {
		return p.Code + " " + p.Errors[0].Pointer
	}
	return p.Code
}

func TestAFileGoesUpAndComesBack(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		h := build(t, placement)
		content := random(3*blob.PackageSize + 123)
		w := h.want(t, 201, "ada", "POST", h.path(), bytes.NewReader(content),
			"Content-Disposition: attachment; filename*=UTF-8''RHEED%20Bild%20%C3%A9.png", "Content-Type: IMAGE/PNG")
		f := decode[File](t, w)
		if f.Name != "RHEED Bild é.png" || f.MediaType != "image/png" || f.Size != int64(len(content)) || f.Version != 1 || f.Visibility != "organization" || f.Owner != h.ada.Person() {
			t.Errorf("made %+v", f)
		}
		if w.Header().Get("ETag") != `"1"` || w.Header().Get("Location") != h.path("/", f.ID.String()) {
			t.Errorf("headers %v", w.Header())
		}
		request, _ := id.ParseRequest(w.Header().Get(api.RequestIDHeader))
		testkit.WantEvents(t, h.doors, h.org, request,
			testkit.Event{Action: policy.FileUpload, Outcome: audit.Opened, Targets: []string{f.ID.String()}},
			testkit.Event{Action: policy.FileUpload, Outcome: audit.Done, Targets: []string{f.ID.String()}})

		if got := decode[File](t, h.want(t, 200, "ann", "GET", h.path("/", f.ID.String()), nil)); got != f {
			t.Errorf("described as %+v, made as %+v", got, f)
		}
		if page := decode[feature.Page[File]](t, h.want(t, 200, "ann", "GET", h.path(), nil)); len(page.Items) != 1 || page.Items[0] != f || page.Next != "" {
			t.Errorf("listed %+v", page)
		}
		w = h.want(t, 200, "ann", "GET", h.path("/", f.ID.String(), "/content"), nil)
		if !bytes.Equal(w.Body.Bytes(), content) {
			t.Error("other bytes came back")
		}
		_, params, err := mime.ParseMediaType(w.Header().Get("Content-Disposition"))
		if err != nil || params["filename"] != f.Name || w.Header().Get("Content-Type") != "image/png" || w.Header().Get("Accept-Ranges") != "bytes" || w.Header().Get("ETag") != `"1"` {
			t.Errorf("headers %v", w.Header())
		}
		request, _ = id.ParseRequest(w.Header().Get(api.RequestIDHeader))
		testkit.WantEvents(t, h.doors, h.org, request,
			testkit.Event{Action: policy.FileDownload, Outcome: audit.Opened, Targets: []string{f.ID.String()}},
			testkit.Event{Action: policy.FileDownload, Outcome: audit.Done, Targets: []string{f.ID.String()}})

		// What the disk holds of it.
		err = filepath.WalkDir(h.dir, func(p string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			b, err := os.ReadFile(p)
			if bytes.Contains(b, content[100:132]) || bytes.Contains(b, []byte("RHEED")) || strings.Contains(p, "RHEED") {
				t.Errorf("plaintext in %s", e.Name())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestANewVersionReplacesTheBytesAndTheOldOnesStay(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		h := build(t, placement)
		first, second := random(1000), random(2000)
		f := h.put(t, "ada", "scan.dat", first, "Content-Type: text/csv; charset=utf-8")
		at := h.path("/", f.ID.String(), "/content")

		if w := h.do(t, "eve", "PUT", at, bytes.NewReader(second)); w.Code != 428 {
			t.Errorf("without If-Match: %d", w.Code)
		}
		if w := h.do(t, "eve", "PUT", at, bytes.NewReader(second), `If-Match: "2"`); w.Code != 412 {
			t.Errorf("another version: %d", w.Code)
		}
		w := h.want(t, 200, "eve", "PUT", at, bytes.NewReader(second), `If-Match: "1"`)
		now := decode[File](t, w)
		if now.Version != 2 || now.Size != 2000 || now.Name != "scan.dat" || now.MediaType != "text/csv; charset=utf-8" || now.CreatedBy != f.CreatedBy || now.UpdatedBy == f.UpdatedBy {
			t.Errorf("now %+v", now)
		}
		if w.Header().Get("ETag") != `"2"` {
			t.Errorf("ETag %s", w.Header().Get("ETag"))
		}
		request, _ := id.ParseRequest(w.Header().Get(api.RequestIDHeader))
		testkit.WantEvents(t, h.doors, h.org, request,
			testkit.Event{Action: policy.FileUpload, Outcome: audit.Opened, Targets: []string{f.ID.String()}},
			testkit.Event{Action: policy.FileUpload, Outcome: audit.Done, Targets: []string{f.ID.String()}})
		for version, want := range map[string][]byte{"": second, "?version=1": first, "?version=2": second} {
			if w := h.want(t, 200, "ann", "GET", at+version, nil); !bytes.Equal(w.Body.Bytes(), want) {
				t.Errorf("%q: other bytes", version)
			}
		}
		if w := h.do(t, "ann", "GET", at+"?version=3", nil); w.Code != 404 {
			t.Errorf("a version that is not there: %d", w.Code)
		}
		renamed := decode[File](t, h.want(t, 200, "ada", "PUT", at, bytes.NewReader(nil), `If-Match: "2"`, `Content-Disposition: attachment; filename="new name"`, "Content-Type: text/plain"))
		if renamed.Version != 3 || renamed.Size != 0 || renamed.Name != "new name" || renamed.MediaType != "text/plain" {
			t.Errorf("renamed %+v", renamed)
		}
		if w := h.want(t, 200, "ann", "GET", at, nil); w.Body.Len() != 0 || w.Header().Get("Content-Length") != "0" {
			t.Errorf("an empty file has %d bytes", w.Body.Len())
		}
		page := decode[feature.Page[Version]](t, h.want(t, 200, "ann", "GET", h.path("/", f.ID.String(), "/history?limit=2"), nil))
		if len(page.Items) != 2 || page.Items[0].Version != 3 || page.Items[1].Size != 2000 || page.Next == "" {
			t.Errorf("history %+v", page)
		}
		page = decode[feature.Page[Version]](t, h.want(t, 200, "ann", "GET", h.path("/", f.ID.String(), "/history?limit=2&cursor="+page.Next), nil))
		if len(page.Items) != 1 || page.Items[0].Version != 1 || page.Items[0].By != f.CreatedBy || page.Next != "" {
			t.Errorf("history goes on %+v", page)
		}
	})
}

func TestOneOfTwoReplacementsWins(t *testing.T) {
	t.Parallel()
	h := build(t, "pooled")
	f := h.put(t, "ada", "x", []byte("one"))
	at := h.path("/", f.ID.String(), "/content")
	// The second begins and ends while the first is under way.
	slow := &during{Reader: strings.NewReader("first"), then: func() {
		h.want(t, 200, "eve", "PUT", at, strings.NewReader("second"), `If-Match: "1"`)
	}}
	if w := h.do(t, "ada", "PUT", at, slow, `If-Match: "1"`); w.Code != 412 {
		t.Errorf("the slower one: %d %s", w.Code, w.Body)
	}
	w := h.want(t, 200, "ada", "GET", at, nil)
	if w.Body.String() != "second" || w.Header().Get("ETag") != `"3"` {
		t.Errorf("now %s %s", w.Body, w.Header().Get("ETag"))
	}
	h.want(t, 200, "ada", "PUT", at, strings.NewReader("third"), `If-Match: "3"`)
}

// during calls then before the first byte.
type during struct {
	io.Reader
	then func()
}

func (d *during) Read(p []byte) (int, error) {
	if d.then != nil {
		d.then()
		d.then = nil
	}
	return d.Reader.Read(p)
}

func TestRanges(t *testing.T) {
	t.Parallel()
	h := build(t, "pooled")
	content := random(2*blob.PackageSize + 10)
	f := h.put(t, "ada", "x", content)
	at := h.path("/", f.ID.String(), "/content")
	size := len(content)
	for _, c := range []struct {
		head     string
		status   int
		from, to int
	}{
		{"Range: bytes=0-0", 206, 0, 1},
		{"Range: bytes=10-19", 206, 10, 20},
		{"Range: bytes=65530-65545", 206, 65530, 65546},
		{"Range: bytes=131080-", 206, 131080, size},
		{"Range: bytes=131080-999999999999999999999999", 206, 131080, size},
		{"Range: bytes=-5", 206, size - 5, size},
		{"Range: bytes=-99999999", 206, 0, size},
		{"Range: bytes=0-", 206, 0, size},
		{"Range: bytes=5-4", 200, 0, size},
		{"Range: bytes=a-b", 200, 0, size},
		{"Range: bytes=1-2,4-5", 200, 0, size},
		{"Range: pages=1-2", 200, 0, size},
		{"Range: bytes=131082-", 416, 0, 0},
		{"Range: bytes=999999999999999999999-", 416, 0, 0},
		{"Range: bytes=-0", 416, 0, 0},
		{`If-None-Match: "2", "1"`, 304, 0, 0},
		{`If-None-Match: W/"1"`, 304, 0, 0},
		{`If-None-Match: *`, 304, 0, 0},
		{`If-None-Match: "2"`, 200, 0, size},
	} {
		w := h.do(t, "ann", "GET", at, nil, c.head)
		if w.Code != c.status {
			t.Errorf("%s: %d, want %d", c.head, w.Code, c.status)
			continue
		}
		switch c.status {
		case 206:
			if want := fmt.Sprintf("bytes %d-%d/%d", c.from, c.to-1, size); w.Header().Get("Content-Range") != want {
				t.Errorf("%s: %s, want %s", c.head, w.Header().Get("Content-Range"), want)
			}
			fallthrough
		case 200:
			if !bytes.Equal(w.Body.Bytes(), content[c.from:c.to]) || w.Header().Get("Content-Length") != fmt.Sprint(c.to-c.from) {
				t.Errorf("%s: %d bytes", c.head, w.Body.Len())
			}
		case 416:
			if w.Header().Get("Content-Range") != fmt.Sprintf("bytes */%d", size) {
				t.Errorf("%s: %v", c.head, w.Header())
			}
		case 304:
			if w.Body.Len() != 0 || w.Header().Get("ETag") != `"1"` {
				t.Errorf("%s: %v", c.head, w.Header())
			}
		}
	}
	for tag, status := range map[string]int{`"1"`: 206, `"2"`: 200, `W/"1"`: 200, "Tue, 15 Nov 1994 12:45:26 GMT": 200} {
		if w := h.do(t, "ann", "GET", at, nil, "Range: bytes=0-9", "If-Range: "+tag); w.Code != status {
			t.Errorf("If-Range %s: %d", tag, w.Code)
		}
	}
	empty := h.put(t, "ada", "empty", nil)
	if w := h.do(t, "ann", "GET", h.path("/", empty.ID.String(), "/content"), nil, "Range: bytes=0-"); w.Code != 416 {
		t.Errorf("a range of nothing: %d", w.Code)
	}
}

func TestWhatIsWrongInTheHeadIsRefusedBeforeAByteIsRead(t *testing.T) {
	t.Parallel()
	h := build(t, "pooled")
	name := "Content-Disposition: attachment; filename*=UTF-8''"
	for _, c := range []struct {
		head   []string
		status int
		code   string
	}{
		{nil, 400, "malformed Content-Disposition"},
		{[]string{"Content-Disposition: attachment"}, 400, "malformed Content-Disposition"},
		{[]string{`Content-Disposition: form-data; name="x"; filename="x"`}, 400, "malformed Content-Disposition"},
		{[]string{"Content-Disposition: attachment; filename*=KOI8-R''x"}, 400, "malformed Content-Disposition"},
		{[]string{"Content-Disposition: attachment; filename*=UTF-8''%zz"}, 400, "malformed Content-Disposition"},
		{[]string{name}, 422, "invalid Content-Disposition"},
		{[]string{name + "%20"}, 422, "invalid Content-Disposition"},
		{[]string{name + ".."}, 422, "invalid Content-Disposition"},
		{[]string{name + "a%2Fb"}, 422, "invalid Content-Disposition"},
		{[]string{name + "a%5Cb"}, 422, "invalid Content-Disposition"},
		{[]string{name + "a%00b"}, 422, "invalid Content-Disposition"},
		{[]string{name + "a%0Ab"}, 422, "invalid Content-Disposition"},
		{[]string{name + "a%FFb"}, 422, "invalid Content-Disposition"},
		{[]string{name + strings.Repeat("x", 256)}, 422, "invalid Content-Disposition"},
		{[]string{name + "x", "Content-Type: text"}, 415, "unsupported_media Content-Type"},
		{[]string{name + "x", "Content-Type: text/html; charset"}, 415, "unsupported_media Content-Type"},
		{[]string{name + "x", "Content-Type: a/b, c/d"}, 415, "unsupported_media Content-Type"},
		{[]string{name + "x", "Content-Type: multipart/form-data; boundary=x"}, 415, "unsupported_media Content-Type"},
		{[]string{name + "x", "Content-Type: text/" + strings.Repeat("x", 300)}, 415, "unsupported_media Content-Type"},
		{[]string{name + "x", "Content-Encoding: gzip"}, 415, "unsupported_media Content-Encoding"},
		{[]string{name + "x", "Visibility: secret"}, 400, "malformed Visibility"},
	} {
		body := &during{Reader: strings.NewReader("x"), then: func() { t.Errorf("%v: the body was read", c.head) }}
		w := h.do(t, "ada", "POST", h.path(), body, c.head...)
		if w.Code != c.status || code(w) != c.code {
			t.Errorf("%v: %d %s, want %d %s", c.head, w.Code, w.Body, c.status, c.code)
		}
	}
	files, versions := h.rows(t)
	if files+versions+len(h.objects(t)) != 0 {
		t.Errorf("left behind: %d files, %d versions", files, versions)
	}
}

func TestNamesAndTypesSurviveTheWay(t *testing.T) {
	t.Parallel()
	h := build(t, "pooled")
	for header, want := range map[string]string{
		`attachment; filename="plain.txt"`:                                 "plain.txt",
		`attachment; filename=plain`:                                       "plain",
		`attachment; filename="a \"quoted\" name"`:                         `a "quoted" name`,
		`attachment; filename="wrong.txt"; filename*=UTF-8''%E2%82%AC.txt`: "€.txt",
		`ATTACHMENT; FILENAME*=utf-8'en'%F0%9F%98%80`:                      "😀",
		`attachment; filename*=UTF-8''CON%3B%20x%27y%25.txt`:               "CON; x'y%.txt",
		`attachment; filename*=UTF-8''` + strings.Repeat("%C3%A9", 255):    strings.Repeat("é", 255),
	} {
		f := decode[File](t, h.want(t, 201, "ada", "POST", h.path(), strings.NewReader("x"), "Content-Disposition: "+header))
		if f.Name != want || f.MediaType != "application/octet-stream" {
			t.Errorf("%s is stored as %q, %s", header, f.Name, f.MediaType)
		}
		w := h.want(t, 200, "ada", "GET", h.path("/", f.ID.String(), "/content"), nil)
		if _, p, err := mime.ParseMediaType(w.Header().Get("Content-Disposition")); err != nil || p["filename"] != want {
			t.Errorf("%q comes back as %q, %v", want, p["filename"], err)
		}
		if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "sandbox") {
			t.Errorf("a stored page would run: %s", csp)
		}
	}
}

func TestAnUploadThatBreaksOffLeavesNothing(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		h := build(t, placement)
		for name, c := range map[string]struct {
			u    Upload
			kind fault.Kind
		}{
			"broken off":       {Upload{Size: -1, Body: io.MultiReader(bytes.NewReader(random(200_000)), iotest.ErrReader(io.ErrUnexpectedEOF))}, fault.Internal},
			"shorter":          {Upload{Size: 10, Body: strings.NewReader("nine byte")}, fault.Malformed},
			"longer":           {Upload{Size: 3, Body: strings.NewReader("four")}, fault.Malformed},
			"failing":          {Upload{Size: 3, Body: iotest.ErrReader(fault.New(fault.Malformed, "the body broke off"))}, fault.Malformed},
			"a panic mid-file": {Upload{Size: -1, Body: &during{Reader: strings.NewReader("x"), then: func() { panic("in the reader") }}}, fault.Internal},
		} {
			c.u.Name = "x"
			r := tenant.Request{Actor: h.ada, Org: h.org, ID: id.NewRequest()}
			if _, receipt, err := h.Create(t.Context(), r, c.u, func(audit.Receipt) {}); err == nil || fault.From(err).Kind != c.kind || receipt.IsZero() {
				t.Errorf("%s: %v", name, err)
			}
			events := testkit.Events(t, h.doors, h.org, r.ID)
			if len(events) != 2 || events[0].Outcome != audit.Opened || events[1].Outcome == audit.Done {
				t.Errorf("%s: %d events", name, len(events))
			}
		}
		files, versions := h.rows(t)
		left, _ := os.ReadDir(filepath.Join(h.dir, "incoming"))
		if files+versions+len(h.objects(t))+len(left) != 0 {
			t.Errorf("left behind: %d files, %d versions, %d objects, %d unfinished", files, versions, len(h.objects(t)), len(left))
		}
		// A replacement that breaks leaves the file as it was.
		f := h.put(t, "ada", "x", []byte("before"))
		r := tenant.Request{Actor: h.ada, Org: h.org}
		if _, _, err := h.Replace(t.Context(), r, f.ID, 1, Upload{Size: 9, Body: strings.NewReader("after")}, func(audit.Receipt) {}); !fault.Is(err, fault.Malformed) {
			t.Errorf("a broken replacement: %v", err)
		}
		if w := h.want(t, 200, "ada", "GET", h.path("/", f.ID.String(), "/content"), nil); w.Body.String() != "before" || w.Header().Get("ETag") != `"1"` {
			t.Errorf("now %s", w.Body)
		}
		if _, versions := h.rows(t); versions != 1 {
			t.Errorf("%d versions", versions)
		}
	})
}

func TestAConnectionThatIsCutLeavesNothing(t *testing.T) {
	t.Parallel()
	h := build(t, "pooled")
	server := httptest.NewServer(h.http)
	defer server.Close()
	body, feed := io.Pipe()
	rq, _ := http.NewRequestWithContext(t.Context(), "POST", server.URL+h.path(), body)
	rq.Header.Set("Authorization", "Bearer ada")
	rq.Header.Set("Content-Disposition", `attachment; filename="x"`)
	done := make(chan error, 1)
	go func() {
		res, err := http.DefaultClient.Do(rq)
		if err == nil {
			res.Body.Close()
		}
		done <- err
	}()
	if _, err := feed.Write(random(300_000)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if left, _ := os.ReadDir(filepath.Join(h.dir, "incoming")); len(left) == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the upload never began")
		}
	}
	if w := h.want(t, 200, "ada", "GET", h.path(), nil); len(decode[feature.Page[File]](t, w).Items) != 0 {
		t.Error("a half-stored file is listed")
	}
	feed.CloseWithError(errors.New("the sender is gone")) // the client cuts the connection
	if <-done == nil {
		t.Error("the upload was answered")
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		files, versions := h.rows(t)
		left, _ := os.ReadDir(filepath.Join(h.dir, "incoming"))
		if files+versions+len(left)+len(h.objects(t)) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %d files, %d versions, %d unfinished", files, versions, len(left))
		}
	}
}

// crash leaves what a process leaves that dies between an upload's two
// transactions.
func (h *house) crash(t testing.TB, store bool) *pending {
	t.Helper()
	r := tenant.Request{Actor: h.ada, Org: h.org, Action: policy.FileUpload}
	p, _, err := tenant.Do(t.Context(), h.doors.Tenant, r, func(ctx context.Context, tx *tenant.Tx) (*pending, error) {
		return h.reserve(ctx, tx, Upload{Name: "x"})
	})
	if err == nil && store {
		_, err = h.store(t.Context(), h.org, p, Upload{Size: -1, Body: strings.NewReader("bytes")})
	}
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheSweepClearsWhatACrashLeftAndNothingElse(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		h := build(t, placement)
		with, without := h.crash(t, true), h.crash(t, false)
		kept := h.put(t, "ada", "kept", []byte("kept"))
		if page := decode[feature.Page[File]](t, h.want(t, 200, "ada", "GET", h.path(), nil)); len(page.Items) != 1 {
			t.Errorf("unfinished files are listed: %+v", page)
		}
		for _, p := range []*pending{with, without} {
			for _, path := range []string{"", "/content", "/history"} {
				if w := h.do(t, "ada", "GET", h.path("/", p.file.String(), path), nil); w.Code != 404 {
					t.Errorf("an unfinished file%s: %d", path, w.Code)
				}
			}
			if w := h.do(t, "ada", "DELETE", h.path("/", p.file.String()), nil, `If-Match: "1"`); w.Code != 404 {
				t.Errorf("delete of an unfinished file: %d", w.Code)
			}
		}
		job := Feature(h.Files).Jobs[0]
		sweep := func(ref string, age time.Duration) error {
			r := tenant.Request{Actor: h.ada, Org: h.org, Action: job.Action}
			if age == 0 {
				return job.Run(t.Context(), h.doors.Tenant, r, ref)
			}
			file, _ := id.ParseFile(ref)
			_, _, err := tenant.Do(t.Context(), h.doors.Tenant, r, func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
				return struct{}{}, h.clear(ctx, tx, file, tx.Now().Add(age))
			})
			return err
		}
		for range 2 { // a job may run twice
			for _, ref := range []string{with.file.String(), without.file.String(), kept.ID.String()} {
				if err := sweep(ref, 0); err != nil {
					t.Fatal(err)
				}
			}
		}
		if files, versions := h.rows(t); files != 3 || versions != 3 || len(h.objects(t)) != 2 {
			t.Errorf("a sweep took what is not a day old: %d files, %d versions", files, versions)
		}
		for range 2 {
			for _, ref := range []string{with.file.String(), without.file.String(), kept.ID.String()} {
				if err := sweep(ref, time.Minute); err != nil {
					t.Fatal(err)
				}
			}
		}
		if files, versions := h.rows(t); files != 1 || versions != 1 {
			t.Errorf("left: %d files, %d versions", files, versions)
		}
		if all := h.objects(t); len(all) != 1 || all[0].File != kept.ID {
			t.Errorf("left: %v", all)
		}
		h.want(t, 200, "ada", "GET", h.path("/", kept.ID.String(), "/content"), nil)
		if err := job.Run(t.Context(), h.doors.Tenant, tenant.Request{Actor: h.ada, Org: h.org, Action: job.Action}, "no file"); !fault.Is(err, fault.Invalid) {
			t.Errorf("a job without a file: %v", err)
		}
		// An upload that the sweep overtook is told, and stores nothing.
		r := tenant.Request{Actor: h.ada, Org: h.org}
		late := &during{Reader: strings.NewReader("late"), then: func() {
			for _, ref := range h.pendingFiles(t) {
				if err := sweep(ref, time.Minute); err != nil {
					t.Error(err)
				}
			}
		}}
		if _, _, err := h.Create(t.Context(), r, Upload{Name: "late", Size: -1, Body: late}, func(audit.Receipt) {}); !fault.Is(err, fault.Conflict) {
			t.Errorf("an upload that was swept: %v", err)
		}
	})
}

func (h *house) pendingFiles(t testing.TB) (refs []string) {
	t.Helper()
	r := tenant.Request{Actor: h.ada, Org: h.org, Action: policy.FileRead}
	_, _, err := tenant.Do(t.Context(), h.doors.Tenant, r, func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		rows, err := tx.Query(ctx, tenant.Lit(`SELECT id FROM file WHERE org_id = $1 AND state = 'pending'`), tx.Org().UUID())
		if err != nil {
			return struct{}{}, err
		}
		defer rows.Close()
		for rows.Next() {
			var f id.File
			if err := rows.Scan(&f); err != nil {
				return struct{}{}, err
			}
			refs = append(refs, f.String())
		}
		return struct{}{}, rows.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return
}

func TestARepeatedUploadAnswersWithTheFirstFile(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		h := build(t, placement)
		key := "Idempotency-Key: " + id.NewRequest().String()
		f := h.put(t, "ada", "x", []byte("bytes"), key)
		if again := h.put(t, "ada", "x", []byte("bytes"), key); again != f {
			t.Errorf("again: %+v", again)
		}
		other := "Content-Disposition: attachment; filename*=UTF-8''y"
		for name, w := range map[string]*httptest.ResponseRecorder{
			"another name":   h.do(t, "ada", "POST", h.path(), strings.NewReader("bytes"), key, other),
			"another length": h.do(t, "ada", "POST", h.path(), strings.NewReader("byte"), key, strings.Replace(other, "y", "x", 1)),
		} {
			if w.Code != 422 {
				t.Errorf("%s under the same key: %d", name, w.Code)
			}
		}
		if another := h.put(t, "eve", "x", []byte("bytes"), key); another.ID == f.ID {
			t.Error("somebody else's key found the file")
		}
		if files, _ := h.rows(t); files != 2 {
			t.Errorf("%d files", files)
		}
		// A failed upload does not use its key up.
		key = "Idempotency-Key: " + id.NewRequest().String()
		if w := h.do(t, "ada", "POST", h.path(), io.MultiReader(strings.NewReader("x"), iotest.ErrReader(io.ErrUnexpectedEOF)), key, other); w.Code == 201 {
			t.Error("a broken upload was stored")
		}
		if w := h.do(t, "ada", "POST", h.path(), io.MultiReader(strings.NewReader("x")), key, other); w.Code != 201 {
			t.Errorf("its repetition: %d", w.Code)
		}
	})
}

func TestAPrivateFileIsItsOwnersAlone(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		h := build(t, placement)
		f := h.put(t, "ada", "diary", []byte("dear diary"), "Visibility: private")
		if f.Visibility != "private" {
			t.Errorf("made %+v", f)
		}
		for _, who := range []string{"eve", "ann"} {
			for _, path := range []string{"", "/content", "/history"} {
				if w := h.do(t, who, "GET", h.path("/", f.ID.String(), path), nil); w.Code != 404 {
					t.Errorf("%s sees %s: %d", who, path, w.Code)
				}
			}
			if page := decode[feature.Page[File]](t, h.want(t, 200, who, "GET", h.path(), nil)); len(page.Items) != 0 {
				t.Errorf("%s lists it", who)
			}
		}
		if w := h.do(t, "eve", "PUT", h.path("/", f.ID.String(), "/content"), strings.NewReader("x"), `If-Match: "1"`); w.Code != 404 {
			t.Errorf("replaced: %d", w.Code)
		}
		for _, who := range []string{"eve", "oa"} {
			if w := h.do(t, who, "DELETE", h.path("/", f.ID.String()), nil, `If-Match: "1"`); w.Code != 404 {
				t.Errorf("%s deletes it: %d", who, w.Code)
			}
		}
		h.want(t, 200, "ada", "PUT", h.path("/", f.ID.String(), "/content"), strings.NewReader("page two"), `If-Match: "1"`)
		if w := h.want(t, 200, "ada", "GET", h.path("/", f.ID.String(), "/content"), nil); w.Body.String() != "page two" {
			t.Errorf("reads %s", w.Body)
		}
	})
}

func TestADeletedFileIsInTheTrashAndNowhereElse(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		h := build(t, placement)
		f, other := h.put(t, "ada", "x", []byte("x")), h.put(t, "ada", "y", []byte("y"))
		at := h.path("/", f.ID.String())
		for _, c := range []struct {
			who, match string
			status     int
		}{{"ada", "", 428}, {"ada", `If-Match: "2"`, 412}, {"eve", `If-Match: "1"`, 403}, {"ann", `If-Match: "1"`, 403}, {"stranger", `If-Match: "1"`, 404}, {"ada", `If-Match: "1"`, 204}, {"ada", `If-Match: "1"`, 404}} {
			if w := h.do(t, c.who, "DELETE", at, nil, c.match); w.Code != c.status {
				t.Errorf("%s, %s: %d, want %d", c.who, c.match, w.Code, c.status)
			}
		}
		for _, path := range []string{"", "/content", "/history"} {
			if w := h.do(t, "ada", "GET", at+path, nil); w.Code != 404 {
				t.Errorf("%s after delete: %d", path, w.Code)
			}
		}
		if page := decode[feature.Page[File]](t, h.want(t, 200, "ada", "GET", h.path(), nil)); len(page.Items) != 1 || page.Items[0].ID != other.ID {
			t.Errorf("listed %+v", page)
		}
		h.want(t, 204, "oa", "DELETE", h.path("/", other.ID.String()), nil, `If-Match: "1"`)

		var kind string
		var purge, deleted time.Time
		var leaves []keytree.Leaf
		_, _, err := tenant.Do(t.Context(), h.doors.Tenant, tenant.Request{Actor: h.ada, Org: h.org, Action: policy.FileRead}, func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
			err := tx.QueryRow(ctx, tenant.Lit(`SELECT kind, purge_after, deleted_at FROM trash WHERE org_id = $1 AND id = $2`), tx.Org().UUID(), f.ID.UUID()).Scan(&kind, &purge, &deleted)
			if err == nil {
				leaves, err = Feature(h.Files).Erase(ctx, tx, []id.Ref{f.ID, other.ID, id.NewFile(), id.NewRecord()})
			}
			return struct{}{}, err
		})
		if err != nil || kind != "file" || purge.Sub(deleted) != feature.Undo {
			t.Errorf("in the trash: %s for %v, %v", kind, purge.Sub(deleted), err)
		}
		if len(leaves) != 2 || leaves[0] == leaves[1] {
			t.Errorf("leaves to destroy: %v", leaves)
		}
		if len(h.objects(t)) != 2 {
			t.Error("an object went with the delete: nothing could be undone")
		}
	})
}

func TestADeletedFileComesBackWithItsVersions(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		h := build(t, placement)
		f := h.put(t, "ada", "spectrum.csv", []byte("one"))
		at := h.path("/", f.ID.String())
		h.want(t, 200, "ada", "PUT", at+"/content", strings.NewReader("two!"), `If-Match: "1"`)
		h.want(t, 404, "ada", "POST", at+":restore", nil)
		h.want(t, 204, "ada", "DELETE", at, nil, `If-Match: "2"`)
		for who, status := range map[string]int{"eve": 403, "ann": 403, "stranger": 404} {
			if w := h.do(t, who, "POST", at+":restore", nil); w.Code != status {
				t.Errorf("%s: %d, want %d", who, w.Code, status)
			}
		}
		back := decode[File](t, h.want(t, 200, "ada", "POST", at+":restore", nil))
		if back.ID != f.ID || back.Name != f.Name || back.Version != 2 || back.Size != 4 || back.Owner != f.Owner || !back.CreatedAt.Equal(f.CreatedAt) {
			t.Errorf("%+v, was %+v", back, f)
		}
		for version, want := range map[string]string{"": "two!", "?version=1": "one"} {
			if got := h.want(t, 200, "ada", "GET", at+"/content"+version, nil).Body.String(); got != want {
				t.Errorf("version %q is %q", version, got)
			}
		}
		// An OrgAdmin gives it back without seeing what it is called.
		h.want(t, 204, "ada", "DELETE", at, nil, `If-Match: "2"`)
		if blind := h.want(t, 200, "oa", "POST", at+":restore", nil).Body.String(); strings.Contains(blind, f.Name) || strings.Contains(blind, "text/") {
			t.Errorf("an OrgAdmin sees %s", blind)
		}
		h.want(t, 200, "ada", "GET", at, nil)
		if _, versions := h.rows(t); versions != 2 {
			t.Errorf("%d versions", versions)
		}
	})
}

func TestAStrangerFindsNothing(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		h, other := build(t, placement), build(t, placement)
		f := h.put(t, "ada", "x", []byte("x"))
		for _, path := range []string{"", "/content", "/history"} {
			// Her own organization's path with another's file, and the other's path.
			if w := other.do(t, "ada", "GET", other.path("/", f.ID.String(), path), nil); w.Code != 404 {
				t.Errorf("a foreign file%s: %d", path, w.Code)
			}
			if w := h.do(t, "stranger", "GET", h.path("/", f.ID.String(), path), nil); w.Code != 404 {
				t.Errorf("a foreign organization%s: %d", path, w.Code)
			}
		}
		if w := other.do(t, "ada", "PUT", other.path("/", f.ID.String(), "/content"), strings.NewReader("x"), `If-Match: "1"`); w.Code != 404 {
			t.Errorf("replaced a foreign file: %d", w.Code)
		}
		if w := h.do(t, "ann", "POST", h.path(), strings.NewReader("x"), `Content-Disposition: attachment; filename="x"`); w.Code != 403 {
			t.Errorf("an analyst uploads: %d", w.Code)
		}
	})
}

func TestDamagedMovedAndMissingBytesAreNeverSent(t *testing.T) {
	t.Parallel()
	h := build(t, "pooled")
	content := random(3 * blob.PackageSize)
	object := func(f File) string {
		return filepath.Join(h.dir, blob.Key{Org: h.org, File: f.ID, Version: 1}.String())
	}
	a, b := h.put(t, "ada", "a", content), h.put(t, "ada", "b", random(3*blob.PackageSize))
	get := func(f File) *httptest.ResponseRecorder {
		return h.do(t, "ada", "GET", h.path("/", f.ID.String(), "/content"), nil)
	}
	edit := func(f File, change func([]byte) []byte) {
		raw, err := os.ReadFile(object(f))
		if err == nil {
			err = os.Remove(object(f))
		}
		if raw = change(raw); err == nil && raw != nil {
			err = os.WriteFile(object(f), raw, 0o400)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// Damage in the middle: the first package has left, so the connection breaks.
	edit(a, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	if w := get(a); w.Code != 0 || !bytes.HasPrefix(content, w.Body.Bytes()) {
		t.Errorf("a damaged file: %d, %d bytes", w.Code, w.Body.Len())
	}
	if w := h.do(t, "ada", "GET", h.path("/", a.ID.String(), "/content"), nil, "Range: bytes=0-9"); w.Code != 206 || !bytes.Equal(w.Body.Bytes(), content[:10]) {
		t.Errorf("the sound part of it: %d", w.Code)
	}
	// Another file's object in its place, a cut one, none: nothing is sent.
	edit(a, func([]byte) []byte { other, _ := os.ReadFile(object(b)); return other })
	if w := get(a); w.Code != 500 || strings.Contains(w.Body.String(), "damaged") {
		t.Errorf("a moved object: %d %s", w.Code, w.Body)
	}
	edit(b, func(b []byte) []byte { return b[:len(b)-blob.PackageSize] })
	if w := get(b); w.Code != 500 {
		t.Errorf("a cut object: %d", w.Code)
	}
	edit(b, func([]byte) []byte { return nil })
	if w := get(b); w.Code != 500 {
		t.Errorf("a missing object: %d", w.Code)
	}
	request, _ := id.ParseRequest(get(b).Header().Get(api.RequestIDHeader))
	testkit.WantEvents(t, h.doors, h.org, request,
		testkit.Event{Action: policy.FileDownload, Outcome: audit.Opened}, testkit.Event{Action: policy.FileDownload, Outcome: audit.Failed, Code: "internal"})
}

func TestListsGoPageByPage(t *testing.T) {
	t.Parallel()
	h := build(t, "pooled")
	var all []id.File
	for i := range 5 {
		all = append(all, h.put(t, "ada", fmt.Sprint(i), nil).ID)
	}
	var got []id.File
	next := ""
	for range 4 {
		page := decode[feature.Page[File]](t, h.want(t, 200, "ann", "GET", h.path("?limit=2", next), nil))
		for _, f := range page.Items {
			got = append(got, f.ID)
		}
		if page.Next == "" {
			break
		}
		next = "&cursor=" + page.Next
	}
	if !slices.Equal(got, all) {
		t.Errorf("listed %v, made %v", got, all)
	}
	if w := h.do(t, "eve", "GET", h.path("?limit=2", next), nil); w.Code != 400 {
		t.Errorf("another's cursor: %d", w.Code)
	}
}

// endless yields n bytes and keeps none.
type endless struct{ n int64 }

func (e *endless) Read(p []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), e.n))
	e.n -= int64(n)
	return n, nil
}

// Not in parallel: it reads the process's memory counters.
func TestALargeFileTakesLittleMemory(t *testing.T) {
	h := build(t, "pooled")
	const size = 64 << 20
	r := tenant.Request{Actor: h.ada, Org: h.org}
	if _, _, err := h.Create(t.Context(), r, Upload{Name: "warm", Size: 1, Body: &endless{1}}, func(audit.Receipt) {}); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f, _, err := h.Create(t.Context(), r, Upload{Name: "large", Size: size, Body: &endless{size}}, func(audit.Receipt) {})
	if err != nil {
		t.Fatal(err)
	}
	var n counter
	if _, err := h.Download(t.Context(), r, f.ID, 0, func(_ audit.Receipt, _ File, _ uint64, size int64) (io.Writer, int64, int64, error) {
		return &n, 0, size, nil
	}); err != nil || n != size {
		t.Fatalf("%d bytes, %v", n, err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > size/2 { // the race detector makes pools forget
		t.Errorf("%d MB were allocated for a file of %d MB", used>>20, size>>20)
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// sink keeps an export in memory.
type sink struct {
	names   []string
	entries map[string]*bytes.Buffer
}

func (s *sink) Entry(name string, _ time.Time) (io.Writer, error) {
	if s.entries == nil {
		s.entries = map[string]*bytes.Buffer{}
	}
	s.names = append(s.names, name)
	s.entries[name] = &bytes.Buffer{}
	return s.entries[name], nil
}

func (s *sink) Table(string, time.Time, []string) (feature.Table, error) {
	return nil, errors.New("files have no table")
}

type chunks struct {
	s *tenant.Store
	r tenant.Request
}

func (c chunks) Chunk(ctx context.Context, fn func(context.Context, *tenant.Tx) error) error {
	_, _, err := tenant.Do(ctx, c.s, c.r, func(ctx context.Context, tx *tenant.Tx) (struct{}, error) { return struct{}{}, fn(ctx, tx) })
	return err
}

func TestAnExportHoldsTheFilesInScope(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		h := build(t, placement)
		content := map[id.File][]byte{}
		var all []File
		for i := range exportPage + 3 {
			b := random(i)
			f := h.put(t, "ada", fmt.Sprintf("file %d", i), b)
			content[f.ID], all = b, append(all, f)
		}
		h.put(t, "eve", "private", []byte("not hers"), "Visibility: private")
		h.crash(t, true)
		gone := h.put(t, "ada", "gone", []byte("gone"))
		h.want(t, 204, "ada", "DELETE", h.path("/", gone.ID.String()), nil, `If-Match: "1"`)

		c := chunks{h.doors.Tenant, tenant.Request{Actor: actortest.Person(t, h.ada.Person(), h.org, policy.Analyst), Org: h.org, Action: policy.ExportRun, Purpose: tenant.Export}}
		var out sink
		if err := Feature(h.Files).Export(t.Context(), c, feature.Scope{}, &out); err != nil {
			t.Fatal(err)
		}
		if len(out.names) != 1+len(all) {
			t.Errorf("%d entries: %v", len(out.names), out.names)
		}
		lines := strings.Split(strings.TrimSuffix(out.entries["files/files.ndjson"].String(), "\n"), "\n")
		for i, f := range all {
			got := out.entries["files/"+f.ID.String()+"/"+f.Name]
			if got == nil || !bytes.Equal(got.Bytes(), content[f.ID]) {
				t.Errorf("%s differs", f.Name)
			}
			var listed File
			if err := json.Unmarshal([]byte(lines[i]), &listed); err != nil || listed != f {
				t.Errorf("listed as %s", lines[i])
			}
		}

		// The files of one record, and of one collection, are those linked.
		record, collection := id.NewRecord(), id.NewCollection()
		h.link(t, record, collection, all[7].ID)
		h.link(t, id.NewRecord(), id.Collection{}, all[8].ID)
		for name, scope := range map[string]feature.Scope{"record": {Collection: "sample", Record: record}, "collection": {Collection: "sample"}} {
			var out sink
			if err := Feature(h.Files).Export(t.Context(), c, scope, &out); err != nil {
				t.Fatal(err)
			}
			want := map[string]int{"record": 2, "collection": 3}[name]
			if len(out.names) != want || out.names[1] != "files/"+all[7].ID.String()+"/file 7" {
				t.Errorf("%s: %v", name, out.names)
			}
		}
		var none sink
		if err := Feature(h.Files).Export(t.Context(), c, feature.Scope{Collection: "other"}, &none); err != nil || len(none.names) != 1 {
			t.Errorf("a collection without files: %v, %v", none.names, err)
		}
	})
}

// link writes a collection, a record in it and a link from it, as the records
// feature does. With no collection it takes the one made before.
func (h *house) link(t testing.TB, record id.Record, collection id.Collection, to id.File) {
	t.Helper()
	r := tenant.Request{Actor: h.ada, Org: h.org, Action: policy.RecordCreate}
	_, _, err := tenant.Do(t.Context(), h.doors.Tenant, r, func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		org, me := tx.Org().UUID(), tx.Actor().Person().UUID()
		token, err := tx.Hash(ctx, tokenCollection, []byte("sample"))
		if err != nil {
			return struct{}{}, err
		}
		leaf, err := tx.NewLeaf(ctx)
		if err != nil {
			return struct{}{}, err
		}
		body, err := tx.Seal(ctx, "record", record.UUID(), 1, seal.Section{Name: "content", Leaf: leaf, Plain: seal.NewSecretString("{}")})
		if err != nil {
			return struct{}{}, err
		}
		if !collection.IsZero() {
			if _, err := tx.Exec(ctx, tenant.Lit(`INSERT INTO collection (org_id, id, token, leaf, version, body, created_at, created_by) VALUES ($1, $2, $3, $4, 1, $5, $6, $7)`),
				org, collection.UUID(), token, int64(leaf), body, tx.Now(), me); err != nil {
				return struct{}{}, err
			}
		}
		if _, err := tx.Exec(ctx, tenant.Lit(`INSERT INTO record (org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
 SELECT $1, $2, id, 1, $3, $4, $5, 'o', $6, $5, $6, $5 FROM collection WHERE org_id = $1 AND token = $7`), org, record.UUID(), int64(leaf), body, me, tx.Now(), token); err != nil {
			return struct{}{}, err
		}
		_, err = tx.Exec(ctx, tenant.Lit(`INSERT INTO link (org_id, id, leaf, from_id, to_id, to_kind, token, body, created_at, created_by) VALUES ($1, $2, $3, $4, $5, 'file', $6, $7, $8, $9)`),
			org, id.NewLink().UUID(), int64(leaf), record.UUID(), to.UUID(), token, body, tx.Now(), me)
		return struct{}{}, err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheFilesOfARecordAreThoseItLinksTo(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		h := build(t, placement)
		one, _ := h.put(t, "ada", "one", []byte("1")), h.put(t, "ada", "two", []byte("2"))
		private := h.put(t, "ada", "private", []byte("3"), "Visibility: private")
		record := id.NewRecord()
		h.link(t, record, id.NewCollection(), one.ID)
		other := id.NewRecord()
		h.link(t, other, id.Collection{}, private.ID)
		for _, c := range []struct {
			who    string
			record id.Record
			want   []id.File
		}{{"ada", record, []id.File{one.ID}}, {"ann", record, []id.File{one.ID}}, {"ada", other, []id.File{private.ID}}, {"ann", other, nil}, {"ada", id.NewRecord(), nil}} {
			page := decode[feature.Page[File]](t, h.want(t, 200, c.who, "GET", h.path("?linked_from=", c.record.String()), nil))
			if len(page.Items) != len(c.want) || len(c.want) == 1 && page.Items[0].ID != c.want[0] {
				t.Errorf("%s: %+v, want %v", c.who, page.Items, c.want)
			}
		}
		h.want(t, 422, "ada", "GET", h.path("?linked_from=rec_1"), nil)
	})
}

func TestAFileIsDescribedByItsName(t *testing.T) {
	t.Parallel()
	h := build(t, "pooled")
	f := h.put(t, "ada", "spectrum.vms", nil)
	r := tenant.Request{Actor: h.ada, Org: h.org, Action: policy.FileRead}
	d, _, err := tenant.Do(t.Context(), h.doors.Tenant, r, func(ctx context.Context, tx *tenant.Tx) (feature.Description, error) {
		return Feature(h.Files).Describe(ctx, tx, f.ID)
	})
	if err != nil || d.Title != "spectrum.vms" || d.Path != "/files/"+f.ID.String() {
		t.Errorf("%+v, %v", d, err)
	}
}

// env makes what the checks of the promises work on.
func env(t *testing.T, h *house) feature.Env {
	t.Helper()
	var e feature.Env
	for _, placement := range []string{"schema", "pooled"} {
		for _, list := range []*[]feature.CanaryOrg{&e.Canaries, &e.Strange} {
			org := testkit.Org(t, placement).ID
			*list = append(*list, feature.CanaryOrg{Placement: placement, Org: org, Actor: actortest.With(t, org, policy.Scientist, policy.Analyst, policy.OrgAdmin)})
		}
	}
	return e
}

func check(t *testing.T, f *Files, e feature.Env, id, name string) (string, error) {
	t.Helper()
	for _, p := range f.promises() {
		for _, c := range p.Clauses {
			if p.ID == id && c.Name == name {
				return c.Check(t.Context(), e)
			}
		}
	}
	t.Fatalf("no check for %s/%s", id, name)
	return "", nil
}

func TestThePromisesAreKeptAndTheChecksLeaveNothing(t *testing.T) {
	t.Parallel()
	h := build(t, "pooled")
	e := env(t, h)
	for _, clause := range [][2]string{{"ENC-1", "files"}, {"ISO-4", "prefix"}, {"ISO-4", "key"}} {
		evidence, err := check(t, h.Files, e, clause[0], clause[1])
		if err != nil || evidence == "" {
			t.Errorf("%s/%s: %v", clause[0], clause[1], err)
		}
		if _, err := check(t, h.Files, feature.Env{}, clause[0], clause[1]); err == nil {
			t.Errorf("%s/%s is kept without a canary", clause[0], clause[1])
		}
	}
	for _, org := range append(e.Canaries, e.Strange...) {
		for info, err := range h.blobs.List(t.Context(), org.Org) {
			t.Errorf("a check left %s, %v", info.Key, err)
		}
	}
}

// spoiled is an object store with one thing wrong.
type spoiled struct {
	blob.Store
	open func(context.Context, blob.Key) (blob.Object, error)
	list func(id.Org) id.Org
}

func (s spoiled) Open(ctx context.Context, k blob.Key) (blob.Object, error) {
	if s.open != nil {
		return s.open(ctx, k)
	}
	return s.Store.Open(ctx, k)
}

func (s spoiled) List(ctx context.Context, org id.Org) iter.Seq2[blob.Info, error] {
	if s.list != nil {
		org = s.list(org)
	}
	return s.Store.List(ctx, org)
}

type fixed struct {
	*bytes.Reader
}

func (fixed) Close() error { return nil }

func TestEachCheckGoesRedWhenItsMechanismBreaks(t *testing.T) {
	t.Parallel()
	h := build(t, "pooled")
	e := env(t, h)
	sound := h.blobs

	// An object that holds what went in.
	leaky := New(h.doors.Tenant, spoiled{Store: sound, open: func(ctx context.Context, k blob.Key) (blob.Object, error) {
		raw, err := h.raw(ctx, k)
		if err != nil {
			return nil, err
		}
		r := tenant.Request{Actor: e.Canaries[0].Actor, Org: k.Org, Action: policy.FileRead}
		c, _, err := tenant.Do(ctx, h.doors.Tenant, r, func(ctx context.Context, tx *tenant.Tx) (*content, error) { return h.look(ctx, tx, k.File, 0) })
		if err != nil { // not stored yet
			return fixed{bytes.NewReader(raw)}, nil
		}
		b, o, err := h.reader(ctx, k.Org, c)
		if err != nil {
			return nil, err
		}
		defer o.Close()
		plain, err := io.ReadAll(b.Range(0, b.Size()))
		return fixed{bytes.NewReader(append(raw, plain...))}, err
	}}, nil)
	if _, err := check(t, leaky, e, "ENC-1", "files"); err == nil || !strings.Contains(err.Error(), "plaintext at byte") {
		t.Errorf("ENC-1/files: %v", err)
	}

	// A list that answers with another organization's objects.
	mixed := New(h.doors.Tenant, spoiled{Store: sound, list: func(org id.Org) id.Org { return e.Strange[0].Org }}, nil)
	if _, err := check(t, mixed, e, "ISO-4", "prefix"); err == nil {
		t.Error("ISO-4/prefix is kept by a store without prefixes")
	}

	// A place where a moved object opens.
	open := New(h.doors.Tenant, spoiled{Store: sound, open: func(ctx context.Context, k blob.Key) (blob.Object, error) {
		if k.Version == 1<<40 {
			k.Version = 1
		}
		return sound.Open(ctx, k)
	}}, nil)
	if _, err := check(t, open, e, "ISO-4", "key"); err == nil || !strings.Contains(err.Error(), "a moved object opens") {
		t.Errorf("ISO-4/key: %v", err)
	}
}
