package intake_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/feature/intake"
	"strongroom/internal/identity"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/testkit"
	"strongroom/internal/web/api"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// house is the API with the intake, on the package's database.
type house struct {
	http.Handler
	d    *testkit.Doors
	root string // the token of a system administrator
	db   *pgx.Conn

	mu      sync.Mutex
	told    []string
	settled int
}

func (h *house) Notify(_ context.Context, subject string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told = append(h.told, subject)
}

func open(t *testing.T) *house {
	t.Helper()
	h := &house{d: testkit.Open(t)}
	people, err := identity.New(identity.Options{Store: h.d.Platform})
	if err != nil {
		t.Fatal(err)
	}
	s, err := intake.New(intake.Options{Store: h.d.Platform, Notify: h, Settled: func() { h.mu.Lock(); defer h.mu.Unlock(); h.settled++ }})
	if err != nil {
		t.Fatal(err)
	}
	f := intake.Feature(s)
	for _, op := range f.Ops {
		if err := op.Check(); err != nil {
			t.Fatal(err)
		}
	}
	if h.Handler, err = api.New(api.Options{Features: []feature.Feature{f}, Doors: feature.ThroughStores(h.d.Tenant, h.d.Platform), Auth: people, Record: h.d.Tenant, Version: "test", Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	admin := identity.NewPerson{Address: strings.ToLower(id.NewRequest().String()) + "@example.org", Name: "Root", Password: seal.NewSecretString("correct horse battery staple")}
	if _, _, err := people.CreateSystemAdmin(t.Context(), platform.Request{Actor: identity.System(id.NewServer())}, admin); err != nil {
		t.Fatal(err)
	}
	in, _, err := people.SignIn(t.Context(), platform.Request{}, admin.Address, admin.Password)
	if err != nil {
		t.Fatal(err)
	}
	h.root = in.Token.Reveal()
	if h.db, err = pgx.Connect(t.Context(), h.d.DB.URL("sr_root")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.run(t, "DELETE FROM platform.report"); _ = h.db.Close(context.WithoutCancel(t.Context())) })
	h.run(t, "DELETE FROM platform.report")
	return h
}

func (h *house) run(t *testing.T, sql string) {
	t.Helper()
	if _, err := h.db.Exec(context.WithoutCancel(t.Context()), "SET session_replication_role = replica; "+sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
}

type object = map[string]any

// send makes a request from an address.
func (h *house) send(t *testing.T, from, token, method, path string, body any, head ...string) (int, object, id.Request) {
	t.Helper()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		in = bytes.NewReader(b)
	}
	r := httptest.NewRequestWithContext(t.Context(), method, "https://strongroom.test"+path, in)
	r.RemoteAddr = from
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var out object
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
			t.Fatalf("%s %s: %d with what is no JSON: %s", method, path, w.Code, w.Body)
		}
	}
	request, err := id.ParseRequest(w.Header().Get(api.RequestIDHeader))
	if err != nil {
		t.Fatalf("%s %s: the answer names no request", method, path)
	}
	return w.Code, out, request
}

const (
	here  = "192.0.2.7:5000"
	there = "198.51.100.8:5000"
)

func report(n int) object {
	return object{"title": fmt.Sprintf("Finding %d", n), "description": "The lock opens with a paper clip.", "contact": "me@finder.example"}
}

func TestAReportIsSealedReadByAnAdministratorAndAnswered(t *testing.T) {
	h := open(t)
	mark := feature.NewMark()
	status, out, request := h.send(t, here, "", "POST", "/v1/reports", object{"title": "Paper clip " + mark.Text, "description": "It opens. " + mark.Text, "contact": mark.Text + "@finder.example"})
	reference, _ := out["report"].(string)
	if _, err := id.ParseReport(reference); status != 201 || err != nil {
		t.Fatalf("%d %v", status, out)
	}
	testkit.WantEvents(t, h.d, id.Installation, request, testkit.Event{Action: policy.ReportCreate, Outcome: audit.Done, Targets: []string{reference}})
	var row string
	if err := h.db.QueryRow(t.Context(), "SELECT r::text FROM platform.report r").Scan(&row); err != nil {
		t.Fatal(err)
	}
	if mark.In([]byte(row)) || strings.Contains(row, "192.0.2.7") {
		t.Error("the report, or where it came from, stands in the clear")
	}
	if len(h.told) != 1 || !strings.Contains(h.told[0], reference) || mark.In([]byte(h.told[0])) {
		t.Errorf("people are told %q", h.told)
	}

	path := "/v1/reports/" + reference
	for _, token := range []string{"", "sr_ses_none"} {
		if status, _, _ := h.send(t, here, token, "GET", path, nil); status != 401 {
			t.Errorf("somebody who has not signed in gets %d", status)
		}
	}
	status, out, request = h.send(t, there, h.root, "GET", path, nil)
	if status != 200 || out["title"] != "Paper clip "+mark.Text || out["contact"] != mark.Text+"@finder.example" || out["state"] != "open" || out["version"] != 1.0 {
		t.Errorf("%d %v", status, out)
	}
	testkit.WantEvents(t, h.d, id.Installation, request, testkit.Event{Action: policy.ReportRead, Outcome: audit.Done, Targets: []string{reference}})

	note := object{"state": "acknowledged", "note": "Seen: " + mark.Text}
	if status, _, _ := h.send(t, there, h.root, "PUT", path, note); status != 428 {
		t.Errorf("without a version: %d", status)
	}
	if status, _, _ := h.send(t, there, h.root, "PUT", path, note, "If-Match", `"7"`); status != 412 {
		t.Errorf("with another version: %d", status)
	}
	status, out, request = h.send(t, there, h.root, "PUT", path, note, "If-Match", `"1"`)
	if status != 200 || out["state"] != "acknowledged" || out["version"] != 2.0 || h.settled != 1 {
		t.Errorf("%d %v, settled %d times", status, out, h.settled)
	}
	testkit.WantEvents(t, h.d, id.Installation, request, testkit.Event{Action: policy.ReportUpdate, Outcome: audit.Done, Targets: []string{reference}})
	if err := h.db.QueryRow(t.Context(), "SELECT r::text FROM platform.report r").Scan(&row); err != nil || mark.In([]byte(row)) {
		t.Errorf("the note stands in the clear: %v", err)
	}
	if _, out, _ = h.send(t, there, h.root, "GET", path, nil); out["note"] != "Seen: "+mark.Text {
		t.Errorf("%v", out)
	}
	if status, _, _ := h.send(t, there, h.root, "PUT", path, object{"state": "closed"}, "If-Match", `"2"`); status != 200 {
		t.Errorf("closing: %d", status)
	}
	if status, _, _ := h.send(t, there, h.root, "GET", "/v1/reports/"+id.NewReport().String(), nil); status != 404 {
		t.Errorf("a report that there is not: %d", status)
	}
}

func TestReportsAreListedNewestFirstByPageAndState(t *testing.T) {
	h := open(t)
	var all []string
	for n := range 5 {
		_, out, _ := h.send(t, here, "", "POST", "/v1/reports", report(n))
		all = append(all, out["report"].(string))
	}
	slices.Reverse(all)
	var got []string
	for path := "/v1/reports?limit=2"; path != ""; {
		status, out, request := h.send(t, here, h.root, "GET", path, nil)
		if status != 200 {
			t.Fatalf("%d %v", status, out)
		}
		var page []string
		for _, item := range out["items"].([]any) {
			page = append(page, item.(object)["report"].(string))
		}
		testkit.WantEvents(t, h.d, id.Installation, request, testkit.Event{Action: policy.ReportList, Outcome: audit.Done, Targets: page})
		got = append(got, page...)
		path = ""
		if next, _ := out["next"].(string); next != "" {
			path = "/v1/reports?limit=2&cursor=" + next
		}
	}
	if !slices.Equal(got, all) {
		t.Errorf("listed are %v, want %v", got, all)
	}
	if status, _, _ := h.send(t, here, h.root, "PUT", "/v1/reports/"+all[0], object{"state": "closed"}, "If-Match", `"1"`); status != 200 {
		t.Fatal(status)
	}
	for state, n := range map[string]int{"open": 4, "closed": 1, "acknowledged": 0} {
		if _, out, _ := h.send(t, here, h.root, "GET", "/v1/reports?state="+state, nil); len(out["items"].([]any)) != n {
			t.Errorf("%s are %v", state, out)
		}
	}
	if status, _, _ := h.send(t, here, h.root, "GET", "/v1/reports?state=lost", nil); status != 422 {
		t.Errorf("a state that there is not: %d", status)
	}
}

func TestNobodyFillsTheStore(t *testing.T) {
	h := open(t)
	for n := range intake.PerNetwork {
		if status, out, _ := h.send(t, here, "", "POST", "/v1/reports", report(n)); status != 201 {
			t.Fatalf("report %d: %d %v", n, status, out)
		}
	}
	status, out, request := h.send(t, "192.0.2.7:6000", "", "POST", "/v1/reports", report(99))
	if status != 429 || !strings.Contains(out["detail"].(string), "security.txt") {
		t.Errorf("one more from the same address: %d %v", status, out)
	}
	testkit.WantEvents(t, h.d, id.Installation, request, testkit.Event{Action: policy.ReportCreate, Outcome: audit.Refused, Code: "too_many"})
	if status, _, _ := h.send(t, there, "", "POST", "/v1/reports", report(0)); status != 201 {
		t.Errorf("from elsewhere: %d", status)
	}
	// A network of IPv6 is one sender, whatever its addresses.
	for n := range intake.PerNetwork {
		if status, _, _ := h.send(t, fmt.Sprintf("[2001:db8:1:2::%x]:5000", n+1), "", "POST", "/v1/reports", report(n)); status != 201 {
			t.Fatalf("report %d: %d", n, status)
		}
	}
	if status, _, _ := h.send(t, "[2001:db8:1:2:ffff::1]:5000", "", "POST", "/v1/reports", report(0)); status != 429 {
		t.Errorf("one more from the same network: %d", status)
	}
	// An hour later the address counts from the beginning again.
	h.run(t, "UPDATE platform.report SET received_at = received_at - interval '61 minutes'")
	if status, _, _ := h.send(t, here, "", "POST", "/v1/reports", report(0)); status != 201 {
		t.Errorf("an hour later: %d", status)
	}
	fill := fmt.Sprintf("INSERT INTO platform.report (id, leaf, version, body, state, source, received_at, changed_at) SELECT gen_random_uuid(), 1, 1, '\\x00', 'STATE', '\\x00', now() - interval 'AGE', now() FROM generate_series(1, %d)", intake.MaxOpen)
	h.run(t, "DELETE FROM platform.report; "+strings.NewReplacer("STATE", "open", "AGE", "3 hours").Replace(fill))
	if status, out, _ := h.send(t, there, "", "POST", "/v1/reports", report(0)); status != 429 || !strings.Contains(out["detail"].(string), "as many reports are open") {
		t.Errorf("beyond what may be open: %d %v", status, out)
	}
	h.run(t, "UPDATE platform.report SET state = 'closed'")
	if status, _, _ := h.send(t, there, "", "POST", "/v1/reports", report(0)); status != 201 {
		t.Errorf("when all are closed: %d", status)
	}
	h.run(t, "DELETE FROM platform.report; "+strings.NewReplacer("STATE", "closed", "AGE", "3 minutes").Replace(fill))
	if status, _, _ := h.send(t, there, "", "POST", "/v1/reports", report(0)); status != 429 {
		t.Errorf("beyond what comes in an hour: %d", status)
	}
}

// Two that come together are counted one after the other.
func TestTheLimitHoldsForReportsThatComeTogether(t *testing.T) {
	h := open(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken := 0
	for n := range 3 * intake.PerNetwork {
		wg.Go(func() {
			r := httptest.NewRequestWithContext(t.Context(), "POST", "https://strongroom.test/v1/reports", strings.NewReader(fmt.Sprintf(`{"title":"Finding %d","description":"The lock opens with a clip."}`, n)))
			r.Header.Set("Content-Type", "application/json")
			r.RemoteAddr = here
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			mu.Lock()
			defer mu.Unlock()
			if w.Code == 201 {
				taken++
			}
		})
	}
	wg.Wait()
	if taken != intake.PerNetwork {
		t.Errorf("%d reports were taken, %d may be", taken, intake.PerNetwork)
	}
}

func TestWhatIsNoReportIsRefusedWithItsPlace(t *testing.T) {
	h := open(t)
	long := strings.Repeat("x", 10001)
	for name, c := range map[string]struct {
		body    object
		status  int
		pointer string
	}{
		"nothing":                     {object{}, 422, "/description"},
		"a title of blanks":           {object{"title": "    ", "description": "long enough to read"}, 422, "/title"},
		"a title of two lines":        {object{"title": "one\ntwo", "description": "long enough to read"}, 422, "/title"},
		"an escape for a terminal":    {object{"title": "A title", "description": "long enough \x1b[2J"}, 422, "/description"},
		"a description too long":      {object{"title": "A title", "description": long}, 422, "/description"},
		"a contact too long":          {object{"title": "A title", "description": "long enough to read", "contact": long[:201]}, 422, "/contact"},
		"a field that nobody knows":   {object{"title": "A title", "description": "long enough to read", "state": "closed"}, 422, ""},
		"more than fits in a request": {object{"title": "A title", "description": strings.Repeat(long, 7)}, 413, ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, out, _ := h.send(t, here, "", "POST", "/v1/reports", c.body)
			if status != c.status {
				t.Fatalf("%d %v, want %d", status, out, c.status)
			}
			if c.pointer == "" {
				return
			}
			if found, _ := out["errors"].([]any); len(found) == 0 || found[0].(object)["pointer"] != c.pointer {
				t.Errorf("%v does not point at %s", out, c.pointer)
			}
		})
	}
	if len(h.told) != 0 {
		t.Errorf("people are told %q", h.told)
	}
}
