package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
)

// canary stands for whatever a caller sends: a password, a patient's name.
const canary = "hunter2hunter2"

func TestHostileInputIsRefusedBeforeAnyWork(t *testing.T) {
	t.Parallel()
	rec := id.NewRecord().String()
	one := recordsPath + "/" + rec
	body := func(extra string) string { return `{"title":"a","content":{}` + extra + `}` }
	ct := func(v string) edit { return header("Content-Type", v) }
	without := func(name string) edit { return func(r *http.Request) { r.Header.Del(name) } }
	twice := func(name, a, b string) edit { return func(r *http.Request) { r.Header[name] = []string{a, b} } }
	chunked := func(r *http.Request) { r.ContentLength = -1 }
	for _, c := range []struct {
		name, method, path, body string
		edits                    []edit
		status                   int
		code, detail, pointer    string
	}{
		// The body's syntax.
		{"an empty body", "POST", recordsPath, " ", nil, 400, "malformed", "body_required", ""},
		{"no body at all", "POST", recordsPath, "", []edit{ct("application/json")}, 400, "malformed", "body_required", ""},
		{"a cut body", "POST", recordsPath, `{"title":"` + canary, nil, 400, "malformed", "syntax", "/title"},
		{"a duplicate field", "POST", recordsPath, body(`,"title":"` + canary + `"`), nil, 400, "malformed", "duplicate_field", ""},
		{"a duplicate field inside the content", "POST", recordsPath, `{"title":"a","content":{"` + canary + `":1,"` + canary + `":2}}`, nil, 400, "malformed", "duplicate_field", "/content"},
		{"trailing data", "POST", recordsPath, body("") + canary, nil, 400, "malformed", "trailing_data", ""},
		{"bad UTF-8", "POST", recordsPath, body(",\"mail\":\"" + canary + "\xff\""), nil, 400, "malformed", "invalid_utf8", "/mail"},
		{"a NUL", "POST", recordsPath, body(`,"mail":"` + canary + `\u0000"`), nil, 400, "malformed", "nul", "/mail"},
		{"a byte order mark", "POST", recordsPath, "\xef\xbb\xbf" + body(""), nil, 400, "malformed", "byte_order_mark", ""},
		{"deep nesting", "POST", recordsPath, `{"title":"a","content":` + strings.Repeat(`{"x":`, 40) + "1" + strings.Repeat("}", 40) + "}", nil, 400, "malformed", "too_deep", "/content"},
		{"a long number", "POST", recordsPath, body(`,"exact":` + strings.Repeat("9", 200)), nil, 400, "malformed", "number_too_long", "/exact"},
		{"an exponent bomb", "POST", recordsPath, body(`,"exact":1e99999999`), nil, 400, "malformed", "number_out_of_range", "/exact"},
		// The body's form.
		{"an unknown field", "POST", recordsPath, body(`,"` + canary + `":1`), nil, 422, "invalid", "unknown_field", ""},
		{"an unknown field in a part", "POST", recordsPath, body(`,"parts":[{"name":"x"},{"name":"x","title":1}]`), nil, 422, "invalid", "unknown_field", "/parts/1"},
		{"a field in another case", "POST", recordsPath, body(`,"Title":"` + canary + `"`), nil, 422, "invalid", "unknown_field", ""},
		{"a missing field", "POST", recordsPath, `{"content":{}}`, nil, 422, "invalid", "required", "/title"},
		{"a missing field in a part", "POST", recordsPath, body(`,"parts":[{}]`), nil, 422, "invalid", "required", "/parts/0/name"},
		{"a wrong type", "POST", recordsPath, `{"title":["` + canary + `"],"content":{}}`, nil, 422, "invalid", "wrong_type", "/title"},
		{"content that is no object", "POST", recordsPath, `{"title":"a","content":"` + canary + `"}`, nil, 422, "invalid", "wrong_type", "/content"},
		{"null for a list item", "POST", recordsPath, body(`,"tags":[null]`), nil, 422, "invalid", "wrong_type", "/tags/0"},
		{"null for a required field", "POST", recordsPath, `{"title":null,"content":{}}`, nil, 422, "invalid", "wrong_type", "/title"},
		{"a list for the whole", "POST", recordsPath, `["` + canary + `"]`, nil, 422, "invalid", "wrong_type", ""},
		{"a number too large for its type", "POST", recordsPath, body(`,"count":99999999999`), nil, 422, "invalid", "out_of_range", "/count"},
		{"an integer with a fraction", "POST", recordsPath, body(`,"count":1.5`), nil, 422, "invalid", "wrong_type", "/count"},
		{"a number beyond every float", "POST", recordsPath, body(`,"count":-1e400`), nil, 422, "invalid", "wrong_type", ""},
		{"a text too long", "POST", recordsPath, `{"title":"` + canary + canary + `","content":{}}`, nil, 422, "invalid", "too_long", "/title"},
		{"an empty title", "POST", recordsPath, `{"title":"","content":{}}`, nil, 422, "invalid", "too_short", "/title"},
		{"an address that is none", "POST", recordsPath, body(`,"mail":"=?` + canary + `?q?x?= <a@b>"`), nil, 422, "invalid", "format", "/mail"},
		{"a word outside the list", "POST", recordsPath, body(`,"state":"` + canary + `"`), nil, 422, "invalid", "not_allowed", "/state"},
		{"too many items", "POST", recordsPath, body(`,"tags":["a","b","c","` + canary + `"]`), nil, 422, "invalid", "too_many", "/tags"},
		// The body's packing.
		{"a body too large", "POST", recordsPath, body(`,"mail":"` + strings.Repeat(canary, 400) + `"`), nil, 413, "too_large", "too_large", ""},
		{"a body too large that does not say so", "POST", recordsPath, body(`,"mail":"` + strings.Repeat(canary, 400) + `"`), []edit{chunked}, 413, "too_large", "too_large", ""},
		{"no content type", "POST", recordsPath, body(""), []edit{without("Content-Type")}, 415, "unsupported_media", "required", "Content-Type"},
		{"another content type", "POST", recordsPath, body(""), []edit{ct("text/plain; x=" + canary)}, 415, "unsupported_media", "unsupported_media", "Content-Type"},
		{"a form", "POST", recordsPath, "title=" + canary, []edit{ct("application/x-www-form-urlencoded")}, 415, "unsupported_media", "unsupported_media", "Content-Type"},
		{"JSON in another character set", "POST", recordsPath, body(""), []edit{ct("application/json; charset=utf-16")}, 415, "unsupported_media", "unsupported_media", "Content-Type"},
		{"a JSON dialect", "POST", recordsPath, body(""), []edit{ct("application/merge-patch+json")}, 415, "unsupported_media", "unsupported_media", "Content-Type"},
		{"a content type that is none", "POST", recordsPath, body(""), []edit{ct("/" + canary)}, 415, "unsupported_media", "unsupported_media", "Content-Type"},
		{"two content types", "POST", recordsPath, body(""), []edit{twice("Content-Type", "application/json", "text/"+canary)}, 400, "malformed", "repeated", "Content-Type"},
		{"a compressed body", "POST", recordsPath, body(""), []edit{header("Content-Encoding", "gzip")}, 415, "unsupported_media", "unsupported_encoding", "Content-Encoding"},
		{"a compressed upload", "POST", orgPath + "/files", canary, []edit{header("Content-Encoding", "br")}, 415, "unsupported_media", "unsupported_encoding", "Content-Encoding"},
		{"a body where none belongs", "GET", recordsPath, canary, nil, 400, "malformed", "unexpected_body", ""},
		{"a chunked body where none belongs", "GET", one, canary, []edit{chunked}, 400, "malformed", "unexpected_body", ""},
		// Query and path.
		{"an unknown parameter", "GET", recordsPath + "?" + canary + "=1", "", nil, 422, "invalid", "unknown_parameter", ""},
		{"an unknown parameter where none is known", "GET", one + "?x=" + canary, "", nil, 422, "invalid", "unknown_parameter", ""},
		{"a limit that is no number", "GET", recordsPath + "?limit=" + canary, "", nil, 422, "invalid", "wrong_type", "limit"},
		{"a limit too high", "GET", recordsPath + "?limit=201", "", nil, 422, "invalid", "out_of_range", "limit"},
		{"a limit of nothing", "GET", recordsPath + "?limit=0", "", nil, 422, "invalid", "out_of_range", "limit"},
		{"a cursor too long", "GET", recordsPath + "?cursor=" + strings.Repeat("x", 2049), "", nil, 422, "invalid", "too_long", "cursor"},
		{"a parameter twice", "GET", recordsPath + "?limit=1&limit=" + canary, "", nil, 400, "malformed", "repeated_parameter", ""},
		{"a query that is not well-formed", "GET", recordsPath + "?cursor=%zz" + canary, "", nil, 400, "malformed", "query_syntax", ""},
		{"a semicolon in the query", "GET", recordsPath + "?limit=1;cursor=" + canary, "", nil, 400, "malformed", "query_syntax", ""},
		{"bad UTF-8 in the query", "GET", recordsPath + "?cursor=%ff" + canary, "", nil, 400, "malformed", "invalid_utf8", ""},
		{"a NUL in the query", "GET", recordsPath + "?cursor=%00" + canary, "", nil, 400, "malformed", "nul", ""},
		{"another kind's identifier", "GET", recordsPath + "/" + id.NewFile().String(), "", nil, 404, "not_found", "", ""},
		{"an identifier in capitals", "GET", recordsPath + "/" + strings.ToUpper(rec), "", nil, 404, "not_found", "", ""},
		{"a kind that cannot be", "POST", orgPath + "/collections/" + strings.ToUpper(canary) + "/records", body(""), nil, 404, "not_found", "", ""},
		{"SQL in the path", "GET", recordsPath + "/x'%20OR%20'" + canary, "", nil, 404, "not_found", "", ""},
		{"an organization that is none", "GET", "/v1/orgs/" + canary + "/collections/samples/records", "", nil, 404, "not_found", "", ""},
		{"a path beyond all measure", "GET", "/v1/" + strings.Repeat("x", 3000), "", nil, 404, "not_found", "", ""},
		// Headers.
		{"no If-Match", "PUT", one, `{"title":"a"}`, nil, 428, "precondition_required", "required", "If-Match"},
		{"a weak tag", "PUT", one, `{"title":"a"}`, []edit{header("If-Match", `W/"3"`)}, 400, "malformed", "syntax", "If-Match"},
		{"any version", "PUT", one, `{"title":"a"}`, []edit{header("If-Match", `*`)}, 400, "malformed", "syntax", "If-Match"},
		{"two versions", "PUT", one, `{"title":"a"}`, []edit{header("If-Match", `"3", "4"`)}, 400, "malformed", "syntax", "If-Match"},
		{"two If-Match", "PUT", one, `{"title":"a"}`, []edit{twice("If-Match", `"3"`, `"4"`)}, 400, "malformed", "repeated", "If-Match"},
		{"a version that is none", "PUT", one, `{"title":"a"}`, []edit{header("If-Match", `"`+canary+`"`)}, 400, "malformed", "syntax", "If-Match"},
		{"a version with a zero before it", "PUT", one, `{"title":"a"}`, []edit{header("If-Match", `"03"`)}, 400, "malformed", "syntax", "If-Match"},
		{"an old version", "PUT", one, `{"title":"a"}`, []edit{header("If-Match", `"2"`)}, 412, "stale", "", ""},
		{"a key with a space", "POST", recordsPath, body(""), []edit{header("Idempotency-Key", canary+" x")}, 400, "malformed", "syntax", "Idempotency-Key"},
		{"a key too long", "POST", recordsPath, body(""), []edit{header("Idempotency-Key", strings.Repeat("x", 129))}, 400, "malformed", "syntax", "Idempotency-Key"},
		{"two keys", "POST", recordsPath, body(""), []edit{twice("Idempotency-Key", "a", canary)}, 400, "malformed", "repeated", "Idempotency-Key"},
		{"two authorizations", "GET", one, "", []edit{twice("Authorization", "Bearer scientist", "Bearer "+canary)}, 400, "malformed", "repeated", "Authorization"},
		{"an unknown purpose", "GET", one, "", []edit{header(PurposeHeader, canary)}, 422, "invalid", "unknown_purpose", PurposeHeader},
		{"training", "GET", one, "", []edit{header(PurposeHeader, "training")}, 403, "denied", "training", PurposeHeader},
		{"a range outside the file", "GET", orgPath + "/files/" + id.NewFile().String() + "/content", "", []edit{header("Range", "bytes=99-")}, 416, "range_not_satisfiable", "", ""},
		// Who asks.
		{"nobody", "GET", one, "", []edit{without("Authorization")}, 401, "unauthenticated", "", ""},
		{"a false token", "GET", one, "", []edit{as(canary)}, 401, "unauthenticated", "", ""},
		{"sign-in out of order", "GET", one, "", []edit{as("broken")}, 503, "unavailable", "", ""},
		{"an analyst who writes", "POST", recordsPath, body(""), []edit{as("analyst")}, 403, "denied", "", ""},
		{"an analyst who sends rubbish learns that she may not, and no more", "POST", recordsPath, canary, []edit{as("analyst")}, 403, "denied", "", ""},
		{"a stranger", "POST", recordsPath, body(""), []edit{as("stranger")}, 404, "not_found", "", ""},
		{"an administrator of the installation", "GET", one, "", []edit{as("system")}, 404, "not_found", "", ""},
		{"a scientist at the installation's door", "GET", "/v1/status", "", nil, 403, "denied", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			w := h.send(c.method, c.path, c.body, c.edits...)
			p := problemOf(t, w)
			if w.Code != c.status || p.Code != c.code {
				t.Fatalf("got %d %s, want %d %s: %s", w.Code, p.Code, c.status, c.code, w.Body)
			}
			var got fault.Detail
			if len(p.Errors) > 0 {
				got = p.Errors[0]
			}
			if len(p.Errors) > 1 || got.Code != c.detail || got.Pointer != c.pointer {
				t.Errorf("got %+v, want %q at %q", p.Errors, c.detail, c.pointer)
			}
			for name, values := range w.Header() {
				if strings.Contains(strings.Join(values, ""), canary) {
					t.Errorf("the header %s repeats what was sent", name)
				}
			}
			for where, text := range map[string]string{"answer": w.Body.String(), "log": h.log.String()} {
				if strings.Contains(strings.ToLower(text), canary) {
					t.Errorf("the %s repeats what was sent: %s", where, text)
				}
			}
			if c.status != 412 && c.status != 416 && h.ran != 0 {
				t.Error("the operation ran")
			}
			if seen := h.recorder.all(); h.ran == 0 && (len(seen) != 1 || seen[0].request.ID.String() != p.RequestID) {
				t.Errorf("the refusal is not on record: %+v", seen)
			}
		})
	}
}

func TestARefusalIsRecordedForWhoAskedWhereAndWhat(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.send("GET", recordsPath, "", header(PurposeHeader, "training"))
	h.send("GET", recordsPath, "", header("Authorization", "Bearer nobody"))
	h.send("GET", "/v1/nowhere", "")
	seen := h.recorder.all()
	if len(seen) != 3 {
		t.Fatalf("got %d events", len(seen))
	}
	if r := seen[0]; r.kind != fault.Denied || r.request.Org != h.org || r.request.Actor.IsNobody() || r.request.Action != policy.RecordList || r.request.Purpose != "training" {
		t.Errorf("training: %+v", r)
	}
	if r := seen[1]; r.kind != fault.Unauthenticated || !r.request.Actor.IsNobody() || r.request.Action != policy.RecordList {
		t.Errorf("nobody: %+v", r)
	}
	if r := seen[2]; r.kind != fault.NotFound || r.request.Action != policy.Unrouted || r.request.Client.Address == "" {
		t.Errorf("nowhere: %+v", r)
	}
}

func TestAPasswordIsNeverRepeated(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, body := range []string{
		`{"email":"a@b.c","password":"` + strings.Repeat(canary, 9) + `"}`,
		`{"email":"a@b.c","password":{"` + canary + `":1}}`,
		`{"email":["` + canary + `"],"password":"` + canary + `"}`,
		`{"email":"a@b.c","pasword":"` + canary + `"}`,
		`{"email":"a@b.c","password":"` + canary + `","password":"` + canary + `"}`,
		`{"email":"a@b.c","password":"` + canary + `\ud800"}`,
		`{"password":"` + canary + `"}`,
		canary,
	} {
		w := h.send("POST", "/v1/sessions", body, func(r *http.Request) { r.Header.Del("Authorization") })
		if p := problemOf(t, w); p.Status != 400 && p.Status != 422 {
			t.Errorf("%s: got %d", body, p.Status)
		}
		if strings.Contains(w.Body.String(), canary) {
			t.Errorf("the answer repeats the password: %s", w.Body)
		}
	}
	if strings.Contains(h.log.String(), canary) {
		t.Error("the log has the password")
	}
}

// FuzzAnswers sends arbitrary bodies, paths and headers. Whatever they hold,
// the answer is a success or a problem, is on record, and repeats nothing.
func FuzzAnswers(f *testing.F) {
	f.Add("POST", "samples/records", "limit=1", validRecord, "application/json")
	f.Add("PUT", "samples/records/x", "", `{"title":1,"title":2}`, `"3"`)
	f.Add("GET", "a/../b", "cursor=%00", "", "W/\"1\"")
	h := newHouse(f)
	f.Fuzz(func(t *testing.T, method, path, query, body, head string) {
		const mark = "\uE000mark\uE000"
		r, err := http.NewRequest("POST", "http://x/", strings.NewReader(strings.ReplaceAll(body, "a", mark)))
		if err != nil || method == "" {
			return
		}
		r.Method = method
		r.URL.Path = "/v1/orgs/" + h.org.String() + "/collections/" + path
		r.URL.RawQuery = query
		r.RemoteAddr = "192.0.2.1:1"
		for _, name := range []string{"If-Match", "Idempotency-Key", "Content-Type"} {
			r.Header.Set(name, head)
		}
		if len(body)%2 == 0 {
			r.Header.Set("Content-Type", "application/json")
		}
		r.Header.Set("Authorization", "Bearer scientist")
		before := len(h.recorder.all()) + len(h.door.seen)
		w := carry(h, r)
		if w.status >= 400 {
			var p Problem
			if err := json.Unmarshal(w.body, &p); err != nil || p.Status != w.status {
				t.Fatalf("status %d with %q", w.status, w.body)
			}
			if strings.Contains(string(w.body), mark) {
				t.Fatalf("the answer repeats what was sent: %s", w.body)
			}
			if w.status == 500 {
				t.Fatalf("an internal error: %s", h.log)
			}
		}
		if len(h.recorder.all())+len(h.door.seen) != before+1 && !strings.HasSuffix(path, "/content") && !strings.Contains(path, ":bulk") {
			t.Fatalf("status %d is not on record once", w.status)
		}
	})
}

type plainWriter struct {
	header http.Header
	status int
	body   []byte
}

func (w *plainWriter) Header() http.Header         { return w.header }
func (w *plainWriter) WriteHeader(s int)           { w.status = s }
func (w *plainWriter) Write(b []byte) (int, error) { w.body = append(w.body, b...); return len(b), nil }

func carry(h *house, r *http.Request) *plainWriter {
	w := &plainWriter{header: http.Header{}}
	h.ServeHTTP(w, r)
	return w
}
