package sweep_test

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/png"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"strongroom/internal/app"
	"strongroom/internal/app/datadir"
	"strongroom/internal/app/tlsca"
	"strongroom/internal/base/id"
	"strongroom/internal/base/seal"
	"strongroom/internal/identity"
	"strongroom/internal/postgres"
	"strongroom/internal/store/platform"
)

// document is what the tour needs of /openapi.json.
type document struct {
	Paths      map[string]map[string]*operation
	Components struct{ Schemas map[string]*schema }
}

type operation struct {
	ID          string `json:"operationId"`
	Security    []any
	Parameters  []parameter
	RequestBody struct {
		Content map[string]struct{ Schema *schema }
	}
	method string
	path   string
}

type parameter struct {
	Name   string
	In     string
	Schema *schema
}

type schema struct {
	Ref        string `json:"$ref"`
	Type       any
	Format     string
	Enum       []any
	MaxLength  int
	Properties map[string]*schema
	Items      *schema
	Additional any `json:"additionalProperties"`
}

func (s *schema) is(kind string) bool { return s.Type == kind }

// free reports whether a string may be of the caller's own choice.
func (s *schema) free() bool {
	return s.is("string") && s.Enum == nil && (s.Format == "" || s.Format == "password")
}

// named reports whether an object's names are the caller's own and its values
// are not: a body leaves it out unless a step gives it.
func (s *schema) named() bool {
	_, described := s.Additional.(map[string]any)
	return s.is("object") && s.Properties == nil && described
}

func (d *document) resolve(s *schema) *schema {
	for s != nil && s.Ref != "" {
		s = d.Components.Schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	return s
}

// body is the schema of an operation's JSON body, nil where it takes none.
func (d *document) body(o *operation) *schema {
	return d.resolve(o.RequestBody.Content["application/json"].Schema)
}

func (d *document) operations() map[string]*operation {
	all := map[string]*operation{}
	for path, methods := range d.Paths {
		for method, o := range methods {
			o.method, o.path = strings.ToUpper(method), path
			all[o.ID] = o
		}
	}
	return all
}

// answer is one answer of the server.
type answer struct {
	op     string
	status int
	header http.Header
	body   []byte
}

// text reads a string out of the body: a dotted path, numbers for places.
func (a answer) text(t testing.TB, path string) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: the answer is not JSON: %v", a.op, err)
	}
	for _, part := range strings.Split(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[part]
		case []any:
			if n, err := strconv.Atoi(part); err == nil && n < len(at) {
				v = at[n]
			}
		}
	}
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	t.Fatalf("%s: the answer has no %s", a.op, path)
	return ""
}

// visitor calls an installation's API with planted values and remembers what
// must not repeat them.
type visitor struct {
	*sieve
	http *http.Client
	url  string
	doc  document
	ops  map[string]*operation

	done    map[string]step // operations that succeeded, and how
	planted map[string]bool // "operation pointer" of strings that a success took
	refused []answer        // everything that is not a success
}

func visit(t testing.TB, i *installation) *visitor {
	t.Helper()
	cfg, err := tlsca.Client(i.caFile)
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{sieve: &sieve{}, url: i.url, done: map[string]step{}, planted: map[string]bool{},
		http: &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: cfg}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	t.Cleanup(v.http.CloseIdleConnections)
	a := v.send(t, "openapi", mustRequest(t, http.MethodGet, v.url+"/openapi.json", nil))
	if err := json.Unmarshal(a.body, &v.doc); err != nil {
		t.Fatal(err)
	}
	v.ops = v.doc.operations()
	return v
}

func mustRequest(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// send sends a request under a planted name of the caller's program.
func (v *visitor) send(t testing.TB, op string, r *http.Request) answer {
	t.Helper()
	if r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", "sweep "+v.ascii(op+": User-Agent"))
	}
	res, err := v.http.Do(r)
	if err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	defer func() { _ = res.Body.Close() }()
	a := answer{op: op, status: res.StatusCode, header: res.Header}
	if a.body, err = io.ReadAll(res.Body); err != nil {
		t.Fatalf("%s: the answer breaks off: %v", op, err)
	}
	if a.status >= 300 {
		v.refused = append(v.refused, a)
	}
	return a
}

// step is one request of the tour.
type step struct {
	token  string
	path   map[string]string // parameters
	query  url.Values
	header map[string]string
	set    map[string]any // by pointer: values of properties that are not free
	drop   []string       // pointers of properties to leave out
	body   []byte         // of an upload
	want   int            // a status other than success
}

// request makes the request of a step. Every string that the operation's
// description leaves to the caller is planted.
func (v *visitor) request(t testing.TB, op string, s step) (r *http.Request, planted []string) {
	t.Helper()
	o := v.ops[op]
	if o == nil {
		t.Fatalf("the API has no operation %s any more", op)
	}
	r = mustRequest(t, o.method, v.url+v.pathOf(t, o, s.path), nil)
	r.URL.RawQuery = s.query.Encode()
	if s.token != "" {
		r.Header.Set("Authorization", "Bearer "+s.token)
	}
	for _, p := range o.Parameters {
		if p.In != "header" {
			continue
		}
		switch p.Name {
		case "Idempotency-Key":
			r.Header.Set(p.Name, v.ascii(op+": Idempotency-Key"))
			planted = append(planted, op+" "+p.Name)
		case "Content-Disposition":
			r.Header.Set(p.Name, attachment(v.text(op+": file name")))
			planted = append(planted, op+" "+p.Name)
		case "Strongroom-Purpose":
			r.Header.Set(p.Name, "service")
		}
	}
	body := s.body
	if form := v.doc.body(o); form != nil {
		f := filler{visitor: v, op: op, step: s}
		body = encode(t, f.value(form, ""))
		planted = append(planted, f.planted...)
		r.Header.Set("Content-Type", "application/json")
	} else if o.RequestBody.Content != nil {
		r.Header.Set("Content-Type", "application/x-"+v.ascii(op+": media type")+"; note="+v.ascii(op+": parameter of the media type"))
	}
	for name, value := range s.header {
		r.Header.Set(name, value)
	}
	carry(r, body)
	return r, planted
}

// attachment names a file (RFC 6266, RFC 8187).
func attachment(name string) string {
	return "attachment; filename*=UTF-8''" + strings.ReplaceAll(url.QueryEscape(name), "+", "%20")
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func carry(r *http.Request, body []byte) {
	if body != nil {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
}

// do performs an operation.
func (v *visitor) do(t testing.TB, op string, s step) answer {
	t.Helper()
	r, planted := v.request(t, op, s)
	a := v.send(t, op, r)
	switch {
	case s.want != 0 && a.status != s.want:
		t.Errorf("%s: status %d, want %d\n%s", op, a.status, s.want, a.body)
	case s.want == 0 && a.status >= 300:
		t.Fatalf("%s: status %d\n%s", op, a.status, a.body)
	case a.status < 300:
		v.done[op] = s
		for _, p := range planted {
			v.planted[p] = true
		}
	}
	return a
}

func (v *visitor) pathOf(t testing.TB, o *operation, values map[string]string) string {
	t.Helper()
	path := o.path
	for _, p := range o.Parameters {
		if p.In != "path" {
			continue
		}
		value, ok := values[p.Name]
		if !ok {
			t.Fatalf("%s: the tour gives no %s", o.ID, p.Name)
		}
		path = strings.ReplaceAll(path, "{"+p.Name+"}", url.PathEscape(value))
	}
	return path
}

// filler makes a body from its description.
type filler struct {
	*visitor
	op      string
	step    step
	planted []string
}

func (f *filler) value(s *schema, at string) any {
	s = f.doc.resolve(s)
	if value, ok := f.step.set[at]; ok {
		if f.holds(value) {
			f.planted = append(f.planted, f.op+" "+at)
		}
		return value
	}
	switch {
	case s.Enum != nil:
		return s.Enum[0]
	case s.free():
		f.planted = append(f.planted, f.op+" "+at)
		return f.text(f.op + ": " + at)
	case s.is("array"):
		return []any{f.value(s.Items, at+"/*")}
	case s.is("object") && s.Properties == nil, s.Type == nil:
		f.planted = append(f.planted, f.op+" "+at)
		return f.content(f.op + ": " + at)
	case s.is("object"):
		out := map[string]any{}
		for name, p := range s.Properties {
			if _, given := f.step.set[at+"/"+name]; !given && f.doc.resolve(p).named() {
				continue
			}
			if !slices.Contains(f.step.drop, at+"/"+name) && f.doc.resolve(p).Format != "date-time" {
				out[name] = f.value(p, at+"/"+name)
			}
		}
		return out
	case s.is("boolean"):
		return true
	}
	return 1
}

// content is a JSON object whose names and values are planted, at every depth.
func (n *sieve) content(field string) map[string]any {
	key := func() string { return n.text(field + ", a name") }
	value := func() string { return n.text(field + ", a value") }
	number := func() any { return json.Number("-0." + n.digits(field+", a number")) }
	return map[string]any{key(): value(), key(): number(), key(): []any{value(), number(), map[string]any{key(): []any{value()}}},
		key(): map[string]any{key(): map[string]any{key(): value()}}}
}

// form is a JSON Schema with planted names and words, which asks for one
// property.
func (n *sieve) form(field string) (form map[string]any, required string) {
	required = n.text(field + ", name of a property")
	about := func(what string) string { return n.text(field + ", " + what) }
	return map[string]any{
		"type": "object", "title": about("title"), "description": about("description"), "$comment": about("$comment"), "x-" + n.ascii(field+", unknown keyword"): about("value of an unknown keyword"),
		"required": []any{required}, "examples": []any{n.content(field + ", example")},
		"properties": map[string]any{
			required:              map[string]any{"type": "string", "description": about("description of a property"), "default": about("default")},
			about("second name"):  map[string]any{"enum": []any{about("enum"), about("enum")}},
			about("third name"):   map[string]any{"const": about("const")},
			about("fourth name"):  map[string]any{"type": "string", "pattern": "^" + n.ascii(field+", pattern") + "$"},
			about("name of more"): map[string]any{"$ref": "#/$defs/" + "d"},
		},
		"$defs": map[string]any{"d": map[string]any{"title": about("title in $defs"), "type": "object"}, n.ascii(field + ", name in $defs"): map[string]any{}},
	}, required
}

// founder makes a system administrator: the one thing that no API does. It
// opens a second server on the same stores, as the installation's own does.
func founder(t testing.TB, i *installation, email, name, password string) {
	t.Helper()
	users, err := datadir.EnsureUsers()
	if err != nil {
		t.Fatal(err)
	}
	var uids []uint32
	if users.Keys != nil {
		uids = append(uids, users.Keys.UID)
	}
	ctx := context.WithoutCancel(t.Context())
	a, err := app.Open(ctx, app.Options{URL: func(login string) string {
		return postgres.SocketURL(i.layout.Run(datadir.RunPostgres), login, app.Database)
	},
		KeySocket: app.KeySocket(i.layout), KeyUIDs: uids, Objects: t.TempDir(), Version: "test", Log: slog.New(slog.NewTextHandler(i.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, _, err := a.Identity.CreateSystemAdmin(ctx, platform.Request{Actor: identity.System(id.NewServer())},
		identity.NewPerson{Address: email, Name: name, Password: seal.NewSecretString(password)}); err != nil {
		t.Fatal(err)
	}
}

// account is somebody who can sign in.
type account struct{ email, password, token, person string }

func (n *sieve) account(field string) account {
	return account{email: n.ascii(field+": local part of an address") + "@" + n.ascii(field+": domain of an address") + ".example", password: n.text(field + ": password")}
}

func (v *visitor) signIn(t testing.TB, a *account) answer {
	t.Helper()
	got := v.do(t, "create-session", step{set: map[string]any{"/email": a.email, "/password": a.password}})
	a.token, a.person = got.text(t, "token"), got.text(t, "person.id")
	v.watchToken("session token", a.token)
	return got
}

// watchToken looks for the secret part of a credential; its mark and prefix may
// be seen.
func (n *sieve) watchToken(field, token string) {
	n.watch(field, token[strings.LastIndexByte(token, '_')+1:])
}

// place is one organization of the tour, and what was made in it.
type place struct {
	org, kind, required string
	owner, member       account
	records             []string
	file, key, keyID    string
	fileBytes           []byte
	recordID, linkID    string
}

func (p *place) in(more ...string) map[string]string {
	out := map[string]string{"org": p.org, "kind": p.kind}
	for i := 0; i+1 < len(more); i += 2 {
		out[more[i]] = more[i+1]
	}
	return out
}

// content is a record that the collection's schema accepts.
func (p *place) content(n *sieve, field string) map[string]any {
	c := n.content(field)
	c[p.required] = n.text(field + ", the required value")
	return c
}

// planted is a file's content: planted lines between bytes of no pattern.
func (v *visitor) fileOf(t testing.TB, field string, size int) []byte {
	var b bytes.Buffer
	line := v.text(field + ", file bytes")
	for b.Len() < size {
		b.WriteString(line + "\n")
		b.Write(noise(t, 1000))
	}
	binary := noise(t, 64)
	v.watch(field+", binary file bytes", string(binary))
	b.Write(binary)
	return b.Bytes()
}

// tour makes an organization and calls every operation of the API in it with
// planted values, all of them with success.
func (v *visitor) tour(t testing.TB, admin account, placement string) *place {
	t.Helper()
	p := &place{owner: v.account("owner"), member: v.account("member"), kind: "k-" + v.ascii("create-collection: /kind")}
	as := func(a account, s step) step { s.token = a.token; return s }
	owner := func(s step) step { return as(p.owner, s) }

	// The organization and its people.
	made := v.do(t, "create-org", as(admin, step{set: map[string]any{"/placement": placement, "/plan": "enterprise", "/owner/email": p.owner.email, "/owner/password": p.owner.password}, drop: []string{"/owner/join_code"}}))
	p.org = made.text(t, "id")
	v.signIn(t, &p.owner)
	roles := []any{"scientist", "analyst", "org_admin", "security_admin", "billing_admin"}
	v.do(t, "update-member", owner(step{path: p.in("person", p.owner.person), set: map[string]any{"/roles": roles}, drop: []string{"/owner"}}))
	v.signIn(t, &p.owner)
	v.do(t, "add-member", owner(step{path: p.in(), set: map[string]any{"/email": p.member.email, "/password": p.member.password, "/roles": []any{"scientist"}}, drop: []string{"/join_code"}}))
	v.signIn(t, &p.member)
	fresh := v.text("change-password: /new_password")
	v.do(t, "change-password", as(p.member, step{set: map[string]any{"/password": p.member.password, "/new_password": fresh}}))
	p.member.password = fresh
	v.signIn(t, &p.member)

	// Somebody with an account joins by a code.
	guest := v.account("guest")
	v.do(t, "create-org", as(admin, step{set: map[string]any{"/placement": "pooled", "/plan": "enterprise", "/owner/email": guest.email, "/owner/password": guest.password}, drop: []string{"/owner/join_code"}}))
	v.signIn(t, &guest)
	code := v.do(t, "create-join-code", as(guest, step{})).text(t, "join_code")
	v.watchToken("join code", code)
	v.do(t, "add-member", owner(step{path: p.in(), set: map[string]any{"/join_code": code, "/roles": []any{"analyst"}}, drop: []string{"/email", "/name", "/password"}}))
	v.do(t, "remove-member", owner(step{path: p.in("person", guest.person)}))
	v.do(t, "end-session", as(guest, step{}))

	// Records.
	var form map[string]any
	form, p.required = v.form("create-collection: /schema")
	v.do(t, "create-collection", owner(step{path: p.in(), set: map[string]any{"/kind": p.kind, "/schema": form}}))
	v.do(t, "get-collection", owner(step{path: p.in()}))
	v.evolve(t, p)
	record := func(field string) map[string]any { return p.content(v.sieve, field) }
	create := func(a account, visibility string) string {
		got := v.do(t, "create-record", as(a, step{path: p.in(), set: map[string]any{"/content": record("create-record: /content"), "/visibility": visibility}, drop: []string{"/links"}}))
		return got.text(t, "id")
	}
	p.records = append(p.records, create(p.owner, "organization"), create(p.member, "private"), create(p.owner, "organization"))
	bulk := v.do(t, "create-records", owner(step{path: p.in(), set: map[string]any{"/items/*/content": record("create-records: /items/*/content"), "/items/*/links/*/to": p.records[0]}}))
	p.records = append(p.records, bulk.text(t, "items.0.id"))
	v.do(t, "create-record", owner(step{path: p.in(), set: map[string]any{"/content": record("create-record: /content"), "/links/*/to": p.records[0]}}))
	p.recordID = p.records[0]
	rec := p.in("id", p.recordID)
	v.do(t, "get-record", owner(step{path: rec}))
	v.do(t, "update-record", owner(step{path: rec, header: map[string]string{"If-Match": `"1"`}, set: map[string]any{"/content": record("update-record: /content"), "/visibility": "organization"}}))
	v.do(t, "record-history", owner(step{path: rec}))
	mine := p.in("id", p.records[1])
	v.do(t, "set-sharing", as(p.member, step{path: mine, set: map[string]any{"/visibility": "private", "/people/*": p.owner.person}}))
	v.do(t, "get-sharing", as(p.member, step{path: mine}))

	// Files.
	p.fileBytes = v.fileOf(t, "upload-file", 200<<10)
	p.file = v.do(t, "upload-file", owner(step{path: p.in(), body: p.fileBytes})).text(t, "id")
	file := p.in("id", p.file)
	p.fileBytes = v.fileOf(t, "replace-file", 150<<10)
	v.do(t, "replace-file", owner(step{path: file, header: map[string]string{"If-Match": `"1"`}, body: p.fileBytes}))
	got := v.do(t, "download-file", owner(step{path: file}))
	if !bytes.Equal(got.body, p.fileBytes) {
		t.Error("a file came back changed")
	}
	v.do(t, "download-file", owner(step{path: file, header: map[string]string{"Range": "bytes=100-40000"}}))
	v.do(t, "get-file", owner(step{path: file}))
	v.do(t, "file-history", owner(step{path: file}))
	shot := v.do(t, "upload-file", owner(step{path: p.in(), body: picture(t), header: map[string]string{"Content-Type": "image/png"}})).text(t, "id")
	v.do(t, "preview-file", owner(step{path: p.in("id", shot)}))

	// Links.
	for _, to := range []string{p.file, p.records[2]} {
		p.linkID = v.do(t, "create-link", owner(step{path: rec, set: map[string]any{"/to": to}})).text(t, "id")
	}
	v.do(t, "delete-link", owner(step{path: p.in("id", p.recordID, "link", p.linkID)}))
	v.do(t, "list-links", owner(step{path: rec}))

	// The trash, and out of it.
	for _, one := range p.records[2:] {
		v.do(t, "delete-record", owner(step{path: p.in("id", one), header: map[string]string{"If-Match": `"1"`}}))
	}
	v.do(t, "restore-record", owner(step{path: p.in("id", p.records[2])}))
	other := v.do(t, "upload-file", owner(step{path: p.in(), body: v.fileOf(t, "upload-file, deleted", 3000), header: map[string]string{"Visibility": "private"}})).text(t, "id")
	v.do(t, "delete-file", owner(step{path: p.in("id", other), header: map[string]string{"If-Match": `"1"`}}))
	v.do(t, "restore-file", owner(step{path: p.in("id", other)}))

	// Keys.
	key := v.do(t, "create-key", owner(step{path: p.in(), set: map[string]any{"/roles": []any{"scientist"}, "/scopes": []any{"record.read", "record.create"}}}))
	p.key, p.keyID = key.text(t, "token"), key.text(t, "id")
	v.watchToken("API key", p.key)
	v.do(t, "get-record", step{token: p.key, path: rec})
	spent := v.do(t, "create-key", owner(step{path: p.in(), set: map[string]any{"/roles": []any{"scientist"}}, drop: []string{"/scopes"}}))
	v.watchToken("API key", spent.text(t, "token"))
	v.do(t, "revoke-key", owner(step{path: p.in("key", spent.text(t, "id"))}))
	v.do(t, "get-record", step{token: spent.text(t, "token"), path: rec, want: http.StatusUnauthorized})

	v.refused = append(v.refused, v.do(t, "get-status", as(admin, step{}))) // who may read it may read no data

	// Out of the house.
	for _, scope := range []map[string]any{{"/scope": "organization"}, {"/scope": "collection", "/collection": p.kind}, {"/scope": "record", "/collection": p.kind, "/record": p.recordID}} {
		var drop []string
		for _, name := range []string{"/collection", "/record"} {
			if scope[name] == nil {
				drop = append(drop, name)
			}
		}
		v.do(t, "run-export", owner(step{path: p.in(), set: scope, drop: drop}))
	}
	v.archives(t, p)
	v.do(t, "get-org", owner(step{path: p.in()}))
	v.do(t, "update-org", owner(step{path: p.in()}))
	v.do(t, "get-session", owner(step{}))
	v.do(t, "get-roles", step{})
	v.do(t, "install-kit", owner(step{path: p.in("kit", "memory")}))
	v.do(t, "list-kits", owner(step{path: p.in()}))
	v.installation(t, admin, p.owner)

	// Every list, page by page.
	for _, op := range slices.Sorted(maps.Keys(v.ops)) {
		o := v.ops[op]
		if o.method != http.MethodGet || !slices.ContainsFunc(o.Parameters, func(p parameter) bool { return p.Name == "cursor" }) {
			continue
		}
		at := p.in("id", p.recordID)
		if strings.Contains(o.path, "/files/") {
			at = file
		}
		if strings.HasPrefix(o.path, "/v1/plans") || strings.HasPrefix(o.path, "/v1/reports") {
			v.do(t, op, as(admin, step{query: url.Values{"limit": {"1"}}}))
			continue
		}
		first := v.do(t, op, owner(step{path: at, query: url.Values{"limit": {"1"}}}))
		var page struct{ Next string }
		if err := json.Unmarshal(first.body, &page); err != nil {
			t.Fatal(err)
		}
		if page.Next != "" {
			v.do(t, op, owner(step{path: at, query: url.Values{"limit": {"200"}, "cursor": {page.Next}}}))
		}
	}
	return p
}

// evolve declares a collection with relations, and changes it.
func (v *visitor) evolve(t testing.TB, p *place) {
	t.Helper()
	kind := "r-" + v.ascii("create-collection: /kind, with relations")
	relations := func(op string) map[string]any {
		return map[string]any{"l-" + v.ascii(op+": /relations, a name"): map[string]any{"title": v.text(op + ": /relations, a title"), "to": []any{p.kind, "file"}, "many": true}}
	}
	form, _ := v.form("create-collection: /schema")
	first := relations("create-collection")
	v.do(t, "create-collection", step{token: p.owner.token, path: p.in(), set: map[string]any{"/kind": kind, "/schema": form, "/relations": first}})
	maps.Copy(first, relations("update-collection"))
	form["title"] = v.text("update-collection: /schema, title")
	v.do(t, "update-collection", step{token: p.owner.token, path: p.in("kind", kind), header: map[string]string{"If-Match": `"1"`},
		set: map[string]any{"/kind": kind, "/schema": form, "/relations": first}})
}

// archives asks for exports in the background and takes one away.
func (v *visitor) archives(t testing.TB, p *place) {
	t.Helper()
	var made string
	for _, scope := range []map[string]any{{"/scope": "collection", "/collection": p.kind}, {"/scope": "organization"}} {
		drop := []string{"/record", "/file"}
		if scope["/collection"] == nil {
			drop = append(drop, "/collection")
		}
		made = v.do(t, "start-export", step{token: p.owner.token, path: p.in(), set: scope, drop: drop}).text(t, "id")
		for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
			state := v.do(t, "get-export", step{token: p.owner.token, path: p.in("id", made)}).text(t, "state")
			if state == "ready" {
				break
			}
			if state == "failed" || time.Now().After(end) {
				t.Fatalf("an export of the %s is %s", scope["/scope"], state)
			}
		}
		v.do(t, "download-export", step{token: p.owner.token, path: p.in("id", made)})
	}
	v.do(t, "delete-export", step{token: p.owner.token, path: p.in("id", made)})
}

// installation calls what belongs to no organization.
func (v *visitor) installation(t testing.TB, admin, somebody account) {
	t.Helper()
	plan := map[string]string{"plan": "team"}
	tag := v.do(t, "get-plan", step{token: admin.token, path: plan}).header.Get("ETag")
	v.do(t, "update-plan", step{token: admin.token, path: plan, header: map[string]string{"If-Match": tag}, set: map[string]any{"/periods/sign_in_log_days": 7}})

	report := map[string]string{"report": v.do(t, "create-report", step{}).text(t, "report")}
	tag = v.do(t, "get-report", step{token: admin.token, path: report}).header.Get("ETag")
	v.do(t, "update-report", step{token: admin.token, path: report, header: map[string]string{"If-Match": tag}, set: map[string]any{"/state": "acknowledged"}})

	sandbox := v.do(t, "create-sandbox", step{token: somebody.token})
	v.watchToken("key of a sandbox", sandbox.text(t, "key"))
	v.do(t, "end-sandbox", step{token: somebody.token, path: map[string]string{"org": sandbox.text(t, "org")}})
}

// setUp makes the first administrator by the link that a first start leaves.
func (v *visitor) setUp(t testing.TB, i *installation, admin account) {
	t.Helper()
	v.do(t, "get-setup", step{})
	link, err := os.ReadFile(filepath.Join(i.layout.Path(), app.LinkFile))
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(strings.TrimSpace(string(link)), "#")
	v.do(t, "run-setup", step{set: map[string]any{"/code": code, "/email": admin.email, "/password": admin.password, "/organization/placement": "pooled", "/organization/plan": "enterprise"}})
	v.watch("code of the set-up", code)
}

// picture is a small PNG of noise.
func picture(t testing.TB) []byte {
	t.Helper()
	m := image.NewGray(image.Rect(0, 0, 40, 30))
	copy(m.Pix, noise(t, len(m.Pix)))
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// notFree are strings of bodies in which nobody can write what they like: the
// API takes one of a few words or an identifier of its own making there.
var notFree = map[string]string{
	"create-key /scopes/*":               "one of the actions that the roles allow",
	"create-link /to":                    "an identifier",
	"create-record /links/*/to":          "an identifier",
	"create-records /items/*/links/*/to": "an identifier",
	"set-sharing /people/*":              "an identifier",
	"run-export /record":                 "an identifier",
	"start-export /record":               "an identifier",
	"start-export /file":                 "an identifier",
	"run-setup /code":                    "a code that the server made",
	"run-setup /organization/plan":       "one of the plans",
	"create-org /owner/join_code":        "a code that the server made; planted through add-member",
}

// complete fails the test where the description names an operation or a string
// that the tour did not plant: a new one needs a step.
func (v *visitor) complete(t testing.TB) {
	t.Helper()
	known := map[string]bool{}
	for op, o := range v.ops {
		if _, ok := v.done[op]; !ok {
			t.Errorf("the tour does not call %s %s (%s) with success: add a step", o.method, o.path, op)
		}
		var walk func(s *schema, at string)
		walk = func(s *schema, at string) {
			s = v.doc.resolve(s)
			if s == nil {
				return
			}
			known[op+" "+at] = true
			if (s.free() || s.Type == nil || s.is("object") && s.Properties == nil) && !v.planted[op+" "+at] && notFree[op+" "+at] == "" {
				t.Errorf("the tour plants nothing in %s of %s: plant it, or say in notFree why nobody can", at, op)
			}
			for name, p := range s.Properties {
				walk(p, at+"/"+name)
			}
			walk(s.Items, at+"/*")
		}
		walk(v.doc.body(o), "")
		for _, p := range o.Parameters {
			if p.In == "header" && (p.Name == "Idempotency-Key" || p.Name == "Content-Disposition") && !v.planted[op+" "+p.Name] {
				t.Errorf("the tour plants nothing in the header %s of %s", p.Name, op)
			}
		}
	}
	for place := range notFree {
		if !known[place] {
			t.Errorf("notFree names %s, which the API does not have", place)
		}
	}
}
