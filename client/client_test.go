package client_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"strongroom/client"
	"strongroom/client/clienttest"
)

func connect(t *testing.T) (*clienttest.Server, *client.Client) {
	t.Helper()
	s := clienttest.New(t)
	c, err := client.New(client.Options{URL: s.URL, CA: s.CA, Token: client.NewSecret(clienttest.Token)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return s, c
}

const org = clienttest.Org

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestATokenTravelsToATrustedServerOnly(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{"clear text": "http://localhost:1", "no scheme": "localhost:1", "a user": "https://a:b@localhost", "a query": "https://localhost?x=1"} {
		if _, err := client.New(client.Options{URL: url}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	s := clienttest.New(t)
	c := must(client.New(client.Options{URL: s.URL, Token: client.NewSecret(clienttest.Token)}))(t) // the system's certificates
	_, err := c.WhoAmI(t.Context())
	var gone *client.Unreachable
	if !errors.As(err, &gone) || !gone.Untrusted {
		t.Errorf("an unknown certificate gave %v", err)
	}
	if n := len(s.Requests()); n != 0 {
		t.Errorf("%d requests reached a server that is not trusted", n)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	reached := false
	h := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			reached = true
			_, _ = io.WriteString(w, "{}")
			return
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	}))
	t.Cleanup(h.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
	c := must(client.New(client.Options{URL: h.URL, CA: ca, Token: client.NewSecret(clienttest.Token)}))(t)
	if _, err := c.WhoAmI(t.Context()); client.Status(err) != http.StatusTemporaryRedirect || reached {
		t.Errorf("got %v; it went there: %v", err, reached)
	}
}

func TestASecretNeverPrints(t *testing.T) {
	t.Parallel()
	s := client.NewSecret("hunter2")
	inside := struct{ s client.Secret }{s} // fmt reads unexported fields past all methods
	asJSON, _ := json.Marshal(map[string]any{"s": s})
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s, s, s, s), fmt.Sprintf("%v %+v %#v", inside, inside, &inside), string(asJSON)} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, "68756e7465723") {
			t.Errorf("it prints: %s", text)
		}
	}
	if s.Reveal() != "hunter2" {
		t.Error("it is lost")
	}
}

func TestSignInAndOut(t *testing.T) {
	t.Parallel()
	_, c := connect(t)
	if _, err := c.SignIn(t.Context(), clienttest.Email, client.NewSecret("wrong")); client.Status(err) != http.StatusUnauthorized {
		t.Errorf("a wrong password gave %v", err)
	}
	in := must(c.SignIn(t.Context(), clienttest.Email, client.NewSecret(clienttest.Password)))(t)
	if in.Token.Reveal() != clienttest.Token || len(in.Organizations) != 1 || in.Organizations[0].Name != clienttest.OrgName {
		t.Errorf("got %+v", in)
	}
	mine := c.WithToken(in.Token)
	if me := must(mine.WhoAmI(t.Context()))(t); me.Person.Email != clienttest.Email || !me.Token.IsZero() {
		t.Errorf("got %+v", me)
	}
	if err := mine.SignOut(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := mine.WhoAmI(t.Context()); client.Status(err) != http.StatusUnauthorized {
		t.Errorf("after signing out: %v", err)
	}
}

func TestAProblemSaysWhatTheServerSaid(t *testing.T) {
	t.Parallel()
	_, c := connect(t)
	_, err := c.Record(t.Context(), org, "nothing", "rec_x")
	var p *client.Problem
	if !errors.As(err, &p) || p.Status != 404 || p.Code != "not_found" || p.RequestID == "" || len(p.Errors) != 1 || p.Errors[0].Pointer != "/somewhere" {
		t.Fatalf("got %#v", err)
	}
	if want := "the test server says no; at /somewhere: is wrong (not_found, request req_0000000000000000000000000t)"; err.Error() != want {
		t.Errorf("it reads %q", err)
	}
}

func TestAnIdentifierCannotNameAnotherRoute(t *testing.T) {
	t.Parallel()
	s, c := connect(t)
	for _, id := range []string{"", ".", ".."} {
		if _, err := c.Record(t.Context(), org, "k", id); err == nil || client.Status(err) != 0 {
			t.Errorf("%q was sent: %v", id, err)
		}
	}
	for _, id := range []string{"../../keys", "a/b", "a?b=c", "a#b", "a:restore", "a%2fb"} {
		_, _ = c.Record(t.Context(), org, "k", id)
		got := s.Requests()[len(s.Requests())-1].Path
		if strings.Count(got, "/") != 7 || strings.ContainsAny(got, "?#:") {
			t.Errorf("%q became %s", id, got)
		}
	}
}

func TestRecordsKeepEveryByteOfTheirContent(t *testing.T) {
	t.Parallel()
	s, c := connect(t)
	s.AddCollection("runs")
	for _, content := range []string{`{"n":1.10000000000000000000000001}`, "{ \"a\" :\t1,\n \"b\":\"<&>\u2028\" }", `{"big":123456789012345678901234567890}`} {
		rec := must(c.CreateRecord(t.Context(), org, "runs", client.NewRecord{Content: json.RawMessage(content)}))(t)
		if got := s.Content(rec.ID); got != content {
			t.Errorf("sent %q, arrived %q", content, got)
		}
		if rec.Version != 1 || rec.Kind != "runs" {
			t.Errorf("got %+v", rec)
		}
	}
}

func TestAChangeNamesTheVersionItWasMadeFrom(t *testing.T) {
	t.Parallel()
	s, c := connect(t)
	s.AddCollection("runs")
	id := s.AddRecord("runs", `{"a":1}`)
	n := client.NewRecord{Content: json.RawMessage(`{"a":2}`)}
	if _, err := c.ReplaceRecord(t.Context(), org, "runs", id, 7, n); client.Status(err) != http.StatusPreconditionFailed {
		t.Errorf("another version gave %v", err)
	}
	rec := must(c.ReplaceRecord(t.Context(), org, "runs", id, 1, n))(t)
	if rec.Version != 2 {
		t.Errorf("version %d", rec.Version)
	}
	if err := c.DeleteRecord(t.Context(), org, "runs", id, 1); client.Status(err) != http.StatusPreconditionFailed {
		t.Errorf("deleting another version gave %v", err)
	}
	if err := c.DeleteRecord(t.Context(), org, "runs", id, 2); err != nil {
		t.Error(err)
	}
	if _, err := c.Record(t.Context(), org, "runs", id); client.Status(err) != http.StatusNotFound {
		t.Errorf("after deleting: %v", err)
	}
	if rec := must(c.RestoreRecord(t.Context(), org, "runs", id))(t); rec.Version != 2 {
		t.Errorf("restored version %d", rec.Version)
	}
	var versions []int64
	for h, err := range c.History(t.Context(), org, "runs", id) {
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, h.Version)
	}
	if fmt.Sprint(versions) != "[2 1]" {
		t.Errorf("history %v", versions)
	}
}

func TestALostAnswerDoesNotCreateTwice(t *testing.T) {
	t.Parallel()
	s, c := connect(t)
	s.AddCollection("runs")
	s.DropAnswers(2)
	must(c.CreateRecord(t.Context(), org, "runs", client.NewRecord{Content: json.RawMessage(`{}`)}))(t)
	if s.Count() != 1 {
		t.Errorf("%d records", s.Count())
	}
	s.DropAnswers(1)
	refs := must(c.CreateRecords(t.Context(), org, "runs", []client.NewRecord{{Content: json.RawMessage(`{}`)}, {Content: json.RawMessage(`{"b": 1}`), Visibility: client.ForOwner}}))(t)
	if len(refs) != 2 || s.Count() != 3 {
		t.Errorf("%d refs, %d records", len(refs), s.Count())
	}
}

func TestALostAnswerDoesNotStoreAFileTwice(t *testing.T) {
	t.Parallel()
	s, c := connect(t)
	s.DropAnswers(1)
	must(c.UploadFile(t.Context(), org, client.Upload{Name: "x", Size: 5, Body: strings.NewReader("bytes")}))(t)
	if n := len(must(c.ListFiles(t.Context(), org, client.List{}))(t).Items); n != 1 {
		t.Errorf("%d files", n)
	}
	// A body that cannot be read again is not.
	s.DropAnswers(1)
	if _, err := c.UploadFile(t.Context(), org, client.Upload{Name: "y", Size: 5, Body: io.LimitReader(strings.NewReader("bytes"), 5)}); err == nil {
		t.Error("it was sent again, from nothing")
	}
}

func TestAReplacedFileKeepsWhatIsNotSaid(t *testing.T) {
	t.Parallel()
	s, c := connect(t)
	f := must(c.UploadFile(t.Context(), org, client.Upload{Name: "x.tif", MediaType: "image/tiff", Size: 5, Body: strings.NewReader("bytes")}))(t)
	f = must(c.ReplaceFile(t.Context(), org, f.ID, 1, client.Upload{Size: 4, Body: strings.NewReader("more")}))(t)
	if f.Name != "x.tif" || f.MediaType != "image/tiff" || f.Version != 2 || string(s.FileContent(f.ID)) != "more" {
		t.Errorf("got %+v", f)
	}
	h := must(c.ListFileHistory(t.Context(), org, f.ID, client.List{}))(t)
	if len(h.Items) != 2 || h.Items[0].Version != 2 || h.Items[1].Size != 5 {
		t.Errorf("history %+v", h.Items)
	}
}

func TestOnlySafeRequestsAreRepeated(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		fail  []int
		do    func(context.Context, *client.Client) error
		sends int
	}{
		{"a read, when the server is unavailable", []int{503, 503}, func(ctx context.Context, c *client.Client) error { _, err := c.WhoAmI(ctx); return err }, 3},
		{"a read, but not for ever", []int{503, 503, 503, 503, 503}, func(ctx context.Context, c *client.Client) error { _, err := c.WhoAmI(ctx); return err }, 4},
		{"a read, not when it is refused", []int{403}, func(ctx context.Context, c *client.Client) error { _, err := c.WhoAmI(ctx); return err }, 1},
		{"anything, at the rate limit", []int{429}, func(ctx context.Context, c *client.Client) error {
			_, err := c.AddMember(ctx, org, client.NewMember{Email: "b@example.org"})
			return err
		}, 2},
		{"adding a member, not when the outcome is unknown", []int{503}, func(ctx context.Context, c *client.Client) error {
			_, err := c.AddMember(ctx, org, client.NewMember{Email: "b@example.org"})
			return err
		}, 1},
		{"a new key, never", []int{503}, func(ctx context.Context, c *client.Client) error {
			_, err := c.CreateKey(ctx, org, client.NewKey{Name: "k"})
			return err
		}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, c := connect(t)
			s.Fail(test.fail...)
			err := test.do(t.Context(), c)
			if got := len(s.Requests()); got != test.sends {
				t.Errorf("sent %d times, wanted %d (%v)", got, test.sends, err)
			}
			if (err == nil) != (len(test.fail) < test.sends) {
				t.Errorf("ended with %v", err)
			}
		})
	}
}

func TestIteratorsGoOverAllPages(t *testing.T) {
	t.Parallel()
	s, c := connect(t)
	s.AddCollection("runs")
	for range 120 {
		s.AddRecord("runs", `{}`)
	}
	seen := map[string]bool{}
	for r, err := range c.Records(t.Context(), org, "runs") {
		if err != nil {
			t.Fatal(err)
		}
		seen[r.ID] = true
	}
	if len(seen) != 120 || len(s.Requests()) != 3 {
		t.Errorf("%d records in %d requests", len(seen), len(s.Requests()))
	}
	for _, err := range c.Records(t.Context(), org, "runs") {
		if err != nil {
			t.Error(err)
		}
		break
	}
	if len(s.Requests()) != 4 {
		t.Error("an iterator that was left went on")
	}
	loop := func(context.Context, client.List) (client.Page[int], error) {
		return client.Page[int]{Items: []int{1}, Next: "same"}, nil
	}
	n := 0
	var last error
	for _, err := range client.Items(t.Context(), client.List{}, loop) {
		n, last = n+1, err
	}
	if last == nil || n > 4 {
		t.Errorf("a list that leads to itself ended with %v after %d items", last, n)
	}
}

func TestFilesComeBackByteForByte(t *testing.T) {
	t.Parallel()
	s, c := connect(t)
	content := make([]byte, 300_000)
	_, _ = rand.Read(content)
	for _, test := range []struct{ name, file string }{
		{"a plain name", "frame.tif"}, {"a name in another script", "Probe Ä – 測定.tif"}, {"a name that would end a header", "a\"; x=\"b\r\nX-Evil: 1"}, {"a path", "../../etc/passwd"},
	} {
		f := must(c.UploadFile(t.Context(), org, client.Upload{Name: test.file, MediaType: "image/tiff", Size: int64(len(content)), Body: bytes.NewReader(content)}))(t)
		if f.Name != test.file || f.MediaType != "image/tiff" || f.Size != int64(len(content)) {
			t.Errorf("%s: got %+v", test.name, f)
		}
		if !bytes.Equal(s.FileContent(f.ID), content) {
			t.Errorf("%s: other bytes arrived", test.name)
		}
		d := must(c.DownloadFile(t.Context(), org, f.ID, 0, client.Range{}))(t)
		got := must(io.ReadAll(d))(t)
		if !bytes.Equal(got, content) || d.Name != test.file || d.Size != int64(len(content)) || d.Version != 1 {
			t.Errorf("%s: %d bytes back, %+v", test.name, len(got), d.Name)
		}
		_ = d.Close()
	}
	last := s.Requests()[len(s.Requests())-2]
	if strings.Contains(last.Path, "passwd") || last.Header.Get("Expect") != "100-continue" {
		t.Errorf("a name is in the path %s, or the upload did not ask first", last.Path)
	}
}

func TestABodyOfUnknownLengthIsSentInChunks(t *testing.T) {
	t.Parallel()
	s, c := connect(t)
	for _, content := range []string{"some bytes", ""} {
		f := must(c.UploadFile(t.Context(), org, client.Upload{Name: "x", Body: io.MultiReader(strings.NewReader(content))}))(t)
		if string(s.FileContent(f.ID)) != content {
			t.Errorf("%q arrived", s.FileContent(f.ID))
		}
	}
}

func TestAnUploadIsSentAgainOnlyIfItsBodyCanBe(t *testing.T) {
	t.Parallel()
	s, c := connect(t)
	s.Fail(429)
	f := must(c.UploadFile(t.Context(), org, client.Upload{Name: "x", Size: 5, Body: strings.NewReader("bytes")}))(t)
	if string(s.FileContent(f.ID)) != "bytes" {
		t.Errorf("%q arrived", s.FileContent(f.ID))
	}
	f = must(c.ReplaceFile(t.Context(), org, f.ID, 1, client.Upload{Name: "x", Size: 4, Body: strings.NewReader("more")}))(t)
	if f.Version != 2 || string(s.FileContent(f.ID)) != "more" {
		t.Errorf("version %d: %q", f.Version, s.FileContent(f.ID))
	}
	if _, err := c.ReplaceFile(t.Context(), org, f.ID, 1, client.Upload{Name: "x", Size: 4, Body: strings.NewReader("late")}); client.Status(err) != http.StatusPreconditionFailed {
		t.Errorf("an old version gave %v", err)
	}
}

func TestRanges(t *testing.T) {
	t.Parallel()
	s, c := connect(t)
	id := s.AddFile("x", []byte("0123456789"))
	for _, test := range []struct {
		r    client.Range
		want string
	}{
		{client.Range{}, "0123456789"}, {client.Range{Offset: 4}, "456789"}, {client.Range{Offset: 2, Length: 3}, "234"},
		{client.Range{Length: 1}, "0"}, {client.Range{Offset: -3}, "789"}, {client.Range{Offset: 8, Length: 100}, "89"},
	} {
		d := must(c.DownloadFile(t.Context(), org, id, 0, test.r))(t)
		got := must(io.ReadAll(d))(t)
		if string(got) != test.want || d.Length != int64(len(test.want)) || d.Size != 10 {
			t.Errorf("%+v: %q (length %d, size %d)", test.r, got, d.Length, d.Size)
		}
	}
	if _, err := c.DownloadFile(t.Context(), org, id, 0, client.Range{Offset: 10}); client.Status(err) != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a range past the end gave %v", err)
	}
}

func TestADownloadGoesOnWhereItBrokeOff(t *testing.T) {
	t.Parallel()
	content := make([]byte, 500_000)
	_, _ = rand.Read(content)
	for _, r := range []client.Range{{}, {Offset: 1000, Length: 450_000}} {
		s, c := connect(t)
		id := s.AddFile("x", content)
		s.CutContents(100_000, 3)
		d := must(c.DownloadFile(t.Context(), org, id, 0, r))(t)
		got := must(io.ReadAll(d))(t)
		end := int64(len(content))
		if r.Length > 0 {
			end = r.Offset + r.Length
		}
		if !bytes.Equal(got, content[r.Offset:end]) {
			t.Errorf("%+v: %d bytes, or other bytes", r, len(got))
		}
		requests := s.Requests()
		if len(requests) != 4 || requests[3].Header.Get("If-Range") != `"1"` {
			t.Errorf("%d requests", len(requests))
		}
	}
}

func TestADownloadNeverMixesTwoVersions(t *testing.T) {
	t.Parallel()
	for _, kept := range []bool{true, false} {
		s, c := connect(t)
		old := bytes.Repeat([]byte("a"), 500_000)
		id := s.AddFile("x", old)
		s.CutContents(100_000, 1)
		d := must(c.DownloadFile(t.Context(), org, id, 0, client.Range{}))(t)
		s.ReplaceFile(id, bytes.Repeat([]byte("b"), 500_000))
		s.ForgetVersions(!kept)
		got, err := io.ReadAll(d)
		if kept && (err != nil || !bytes.Equal(got, old)) {
			t.Errorf("read %d bytes of the old version, then %v", len(got), err)
		}
		if !kept && (!errors.Is(err, client.ErrChanged) || bytes.ContainsRune(got, 'b')) {
			t.Errorf("read %d bytes, then %v", len(got), err)
		}
		s.ForgetVersions(false)
		if _, err := c.ResumeFile(t.Context(), org, id, 1, client.Range{Offset: 10}); !errors.Is(err, client.ErrChanged) {
			t.Errorf("resuming when another version is the newest gave %v", err)
		}
		d = must(c.DownloadFile(t.Context(), org, id, 1, client.Range{Length: 3}))(t)
		if got := must(io.ReadAll(d))(t); string(got) != "aaa" || d.Version != 1 {
			t.Errorf("an earlier version is %q", got)
		}
	}
}

func TestADownloadThatNeverMovesEnds(t *testing.T) {
	t.Parallel()
	s := clienttest.New(t)
	c := must(client.New(client.Options{URL: s.URL, CA: s.CA, Token: client.NewSecret(clienttest.Token), Attempts: 2}))(t)
	id := s.AddFile("x", make([]byte, 1000))
	s.CutContents(0, 1000)
	d, err := c.DownloadFile(t.Context(), org, id, 0, client.Range{})
	if err == nil {
		_, err = io.ReadAll(d)
	}
	var gone *client.Unreachable
	if !errors.As(err, &gone) {
		t.Errorf("ended with %v", err)
	}
}

// endless is a body that takes no memory.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestAnUploadTakesConstantMemory(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	// A server of its own that keeps nothing: the test is about our side.
	s := newSink(t)
	c := must(client.New(client.Options{URL: s.url, CA: s.ca}))(t)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if _, err := c.UploadFile(t.Context(), org, client.Upload{Name: "x", Size: size, Body: io.LimitReader(endless{}, size)}); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if s.got.Load() != size {
		t.Errorf("%d bytes arrived", s.got.Load())
	}
	// Other tests run beside this one, so the bound is wide; what it must not
	// come near is the size of the file.
	if used := after.HeapInuse - min(before.HeapInuse, after.HeapInuse); used > size/2 {
		t.Errorf("it took %d bytes of memory", used)
	}
}

func TestCancelEndsACall(t *testing.T) {
	t.Parallel()
	s, c := connect(t)
	s.Fail(503, 503, 503)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if _, err := c.WhoAmI(ctx); err == nil || time.Since(begun) > 5*time.Second {
		t.Errorf("ended with %v after %v", err, time.Since(begun))
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := c.WhoAmI(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestNoServerIsUnreachable(t *testing.T) {
	t.Parallel()
	c := must(client.New(client.Options{URL: "https://127.0.0.1:1", Attempts: 1}))(t)
	_, err := c.WhoAmI(t.Context())
	var gone *client.Unreachable
	if !errors.As(err, &gone) || !gone.Unsent || gone.Untrusted {
		t.Errorf("got %#v", err)
	}
	if _, err := client.OpenAdmin(t.TempDir()); !errors.As(err, &gone) {
		t.Errorf("an empty data directory gave %v", err)
	}
}

func TestExportsAreHeldAgainstTheirManifest(t *testing.T) {
	t.Parallel()
	download := func(t *testing.T, s *clienttest.Server, c *client.Client) []byte {
		body := must(c.Export(t.Context(), org, client.Scope{}))(t)
		defer func() { _ = body.Close() }()
		return must(io.ReadAll(body))(t)
	}
	check := func(t *testing.T, zip []byte) (client.Manifest, error) {
		return client.VerifyExport(t.Context(), bytes.NewReader(zip), int64(len(zip)), nil)
	}
	entries := func(m map[string]any) []any { return m["entries"].([]any) }
	for _, test := range []struct {
		name   string
		damage func(map[string]any)
		ok     bool
	}{
		{"a whole one is fine", func(map[string]any) {}, true},
		{"another hash is seen", func(m map[string]any) { entries(m)[1].(map[string]any)["sha256"] = strings.Repeat("0", 64) }, false},
		{"another size is seen", func(m map[string]any) { entries(m)[0].(map[string]any)["size"] = 1 }, false},
		{"an entry that is not listed is seen", func(m map[string]any) { m["entries"] = entries(m)[:1] }, false},
		{"an entry that is listed twice is seen", func(m map[string]any) { m["entries"] = append(entries(m), entries(m)[0]) }, false},
		{"an entry that is missing is seen", func(m map[string]any) { entries(m)[1].(map[string]any)["name"] = "gone" }, false},
		{"entries in another order are seen", func(m map[string]any) { m["entries"] = []any{entries(m)[1], entries(m)[0]} }, false},
		{"totals that are not the sum are seen", func(m map[string]any) { m["totals"].(map[string]any)["bytes"] = 1 }, false},
		{"another form is seen", func(m map[string]any) { m["version"] = 2 }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, c := connect(t)
			s.AddFile("a", []byte("first"))
			s.AddFile("b", []byte("second"))
			s.Damage = test.damage
			m, err := check(t, download(t, s, c))
			if (err == nil) != test.ok {
				t.Errorf("got %v", err)
			}
			if test.ok && len(m.Entries) != 2 {
				t.Errorf("%d entries", len(m.Entries))
			}
		})
	}
	for _, name := range []string{"../x", "/x", `a\x`, "a/../../x"} {
		zip := archive(t, name)
		if _, err := check(t, zip); err == nil || !strings.Contains(err.Error(), "not safe") {
			t.Errorf("an entry named %s gave %v", name, err)
		}
	}
	if _, err := check(t, archive(t, "files/x")); err != nil {
		t.Errorf("a safe name gave %v", err)
	}
	s, c := connect(t)
	s.AddFile("a", []byte("first"))
	whole := download(t, s, c)
	for _, cut := range []int{0, 1, len(whole) / 2, len(whole) - 1} {
		if _, err := check(t, whole[:cut]); err == nil {
			t.Errorf("an export cut after %d of %d bytes passed", cut, len(whole))
		}
	}
}

// archive is an export with one empty entry.
func archive(t *testing.T, name string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	_ = must(z.Create(name))(t)
	f := must(z.Create(client.ManifestName))(t)
	if err := json.NewEncoder(f).Encode(map[string]any{"format": "strongroom-export", "version": 1, "totals": map[string]int{"entries": 1}, "entries": []map[string]any{
		{"name": name, "type": "file", "size": 0, "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}}); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTheAdminSocketIsReachedAtAnyDepth(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), strings.Repeat("deep/", 30))} {
		s := clienttest.New(t)
		s.Promises = []map[string]any{
			{"id": "ENC-1", "state": "kept", "clauses": []map[string]any{{"name": "records", "state": "kept", "evidence": "3 rows", "checked_at": "2026-11-22T10:00:00Z"}}},
			{"id": "ISO-2", "state": "broken", "clauses": []map[string]any{}},
		}
		s.ServeAdmin(t, dir)
		a := must(client.OpenAdmin(dir))(t)
		defer a.Close()
		all := must(a.Prove(t.Context()))(t)
		if len(all) != 2 || all[0].Clauses[0].Evidence != "3 rows" {
			t.Errorf("got %+v", all)
		}
		if one := must(a.Prove(t.Context(), "ISO-2"))(t); len(one) != 1 || one[0].State != client.Broken {
			t.Errorf("got %+v", one)
		}
		if _, err := a.Prove(t.Context(), "NO-1"); client.Status(err) != http.StatusNotFound {
			t.Errorf("an unknown promise gave %v", err)
		}
		if text := must(a.KeysStatus(t.Context()))(t); !strings.Contains(string(text), `"epoch":3`) {
			t.Errorf("got %s", text)
		}
	}
}

func TestAnEventKeepsWhatANewerServerAdds(t *testing.T) {
	t.Parallel()
	_, c := connect(t)
	for e, err := range c.Audit(t.Context(), org) {
		if err != nil {
			t.Fatal(err)
		}
		text, _ := json.Marshal(e)
		if e.Action != "record.read" || e.Actor.ID != clienttest.Person || !strings.Contains(string(text), `"salt":"x"`) {
			t.Errorf("got %s", text)
		}
	}
}

func TestTheClientStandsAlone(t *testing.T) {
	t.Parallel()
	files := must(filepath.Glob("*.go"))(t)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text := string(must(os.ReadFile(name))(t))
		for _, line := range strings.Split(text, "\n") {
			if path, ok := strings.CutPrefix(line, "\t\""); ok && strings.Contains(strings.SplitN(path, "/", 2)[0], ".") || strings.Contains(line, "\"strongroom/") {
				t.Errorf("%s imports %s", name, line)
			}
		}
	}
	if len(files) < 5 {
		t.Error("the test looks in the wrong place")
	}
}
