package preview_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"image/png"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strongroom/client"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/feature/preview"
	"strongroom/internal/store/audit"
	"strongroom/internal/testkit"
	"strongroom/internal/testkit/live"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// world is a server with an organization that holds pictures.
type world struct {
	s     *live.Server
	org   *live.Org
	orgID id.Org
	http  *http.Client
}

func start(t *testing.T) *world {
	t.Helper()
	s := live.Start(t)
	w := &world{s: s, org: s.Org(t, "pooled")}
	var err error
	if w.orgID, err = id.ParseOrg(w.org.ID); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	w.http = &http.Client{Transport: transport}
	return w
}

func frame(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "app", "demo", "data", "materials", "rheed", "rheed_frame_000.tif"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (w *world) upload(t *testing.T, who *live.Person, visibility string, body []byte) client.File {
	t.Helper()
	f, err := who.UploadFile(t.Context(), w.org.ID, client.Upload{Name: "frame.tif", Visibility: visibility, Size: int64(len(body)), Body: bytes.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

type answer struct {
	status  int
	header  http.Header
	body    []byte
	request id.Request
}

func (w *world) preview(t *testing.T, who *live.Person, path string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.s.URL+"/v1/orgs/"+w.org.ID+"/files/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if who != nil {
		r.Header.Set("Authorization", "Bearer "+who.Token.Reveal())
	}
	res, err := w.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := id.ParseRequest(res.Header.Get(feature.RequestIDHeader))
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, b, request}
}

func (a answer) code(t *testing.T) string {
	t.Helper()
	var p struct{ Errors []struct{ Code string } }
	if err := json.Unmarshal(a.body, &p); err != nil || len(p.Errors) != 1 {
		t.Fatalf("not a problem with one place: %s", a.body)
	}
	return p.Errors[0].Code
}

func TestAPreviewIsASmallPictureAndAReadOfTheFileOnRecord(t *testing.T) {
	t.Parallel()
	w := start(t)
	f := w.upload(t, w.org.Owner, "", frame(t))
	analyst := w.org.Member(t, client.Analyst)
	got := w.preview(t, analyst, f.ID+"/preview?size=256")
	if got.status != http.StatusOK || got.header.Get("Content-Type") != "image/png" || got.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("got %d %v", got.status, got.header)
	}
	if info := got.header.Get(preview.InfoHeader); !strings.HasPrefix(info, "format=tiff, width=64, height=48, bits=16, black=") {
		t.Errorf("the header says %q", info)
	}
	c, err := png.DecodeConfig(bytes.NewReader(got.body))
	if err != nil || c.Width != 64 || c.Height != 48 {
		t.Errorf("got %+v, %v", c, err)
	}
	testkit.WantEvents(t, w.s.Doors, w.orgID, got.request,
		testkit.Event{Action: policy.FilePreview, Outcome: audit.Opened, Targets: []string{f.ID}},
		testkit.Event{Action: policy.FilePreview, Outcome: audit.Done, Targets: []string{f.ID}})
}

func TestWhoMayNotOpenAFileSeesNoPreviewOfIt(t *testing.T) {
	t.Parallel()
	w := start(t)
	mine := w.upload(t, w.org.Owner, client.ForOwner, frame(t))
	if got := w.preview(t, w.org.Owner, mine.ID+"/preview"); got.status != http.StatusOK {
		t.Errorf("the owner gets %d", got.status)
	}
	colleague := w.org.Member(t, client.Scientist)
	got := w.preview(t, colleague, mine.ID+"/preview")
	if got.status != http.StatusNotFound {
		t.Errorf("a colleague gets %d", got.status)
	}
	testkit.WantEvents(t, w.s.Doors, w.orgID, got.request, testkit.Event{Action: policy.FilePreview, Outcome: audit.Denied, Code: "not_found", Targets: []string{mine.ID}})

	shared := w.upload(t, w.org.Owner, "", frame(t))
	biller := w.org.Member(t, client.BillingAdmin)
	got = w.preview(t, biller, shared.ID+"/preview")
	if got.status != http.StatusForbidden {
		t.Errorf("a billing admin gets %d", got.status)
	}
	testkit.WantEvents(t, w.s.Doors, w.orgID, got.request, testkit.Event{Action: policy.FilePreview, Outcome: audit.Denied, Code: "denied"})

	if err := w.org.Owner.DeleteFile(t.Context(), w.org.ID, shared.ID, shared.Version); err != nil {
		t.Fatal(err)
	}
	if got := w.preview(t, w.org.Owner, shared.ID+"/preview"); got.status != http.StatusNotFound {
		t.Errorf("of a deleted file there is a preview: %d", got.status)
	}
}

func TestAnEarlierVersionIsStillToBeSeen(t *testing.T) {
	t.Parallel()
	w := start(t)
	f := w.upload(t, w.org.Owner, "", frame(t))
	text := []byte("no picture any more")
	if _, err := w.org.Owner.ReplaceFile(t.Context(), w.org.ID, f.ID, f.Version, client.Upload{Size: int64(len(text)), Body: bytes.NewReader(text)}); err != nil {
		t.Fatal(err)
	}
	if got := w.preview(t, w.org.Owner, f.ID+"/preview?version=1"); got.status != http.StatusOK || got.header.Get("ETag") != `"1"` {
		t.Errorf("the first version: %d, %s", got.status, got.header.Get("ETag"))
	}
	got := w.preview(t, w.org.Owner, f.ID+"/preview")
	if got.status != http.StatusUnsupportedMediaType || got.code(t) != "not_a_picture" {
		t.Errorf("the second: %d %s", got.status, got.body)
	}
	testkit.WantEvents(t, w.s.Doors, w.orgID, got.request,
		testkit.Event{Action: policy.FilePreview, Outcome: audit.Opened, Targets: []string{f.ID}},
		testkit.Event{Action: policy.FilePreview, Outcome: audit.Refused, Code: "unsupported_media", Targets: []string{f.ID}})
}

func TestOnlyTheTwoSizesAreMade(t *testing.T) {
	t.Parallel()
	w := start(t)
	f := w.upload(t, w.org.Owner, "", frame(t))
	if got := w.preview(t, w.org.Owner, f.ID+"/preview?size=100000"); got.status != http.StatusUnprocessableEntity {
		t.Errorf("got %d", got.status)
	}
}
