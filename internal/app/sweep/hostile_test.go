package sweep_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// affront sends each operation of the description what it has to refuse, with
// something planted wherever the refusal could repeat it.
func (v *visitor) affront(t testing.TB, p *place) {
	t.Helper()
	for _, op := range slices.Sorted(maps.Keys(v.ops)) {
		o, s := v.ops[op], v.done[op]
		s.token = p.owner.token
		refuse := func(what string, change func(r *http.Request)) {
			t.Helper()
			r, _ := v.request(t, op, s)
			change(r)
			if a := v.send(t, op+", "+what, r); a.status < 400 {
				t.Errorf("%s, %s: status %d: the sweep takes it for refused", op, what, a.status)
			}
		}
		field := func(what string) string { return op + ", refused: " + what }
		ascii := func(what string) string { return v.ascii(field(what)) }
		text := func(what string) string { return v.text(field(what)) }

		for _, name := range []string{"org", "kind", "id", "link", "key", "person"} {
			if !strings.Contains(o.path, "{"+name+"}") {
				continue
			}
			was := s.path
			for _, value := range []string{ascii("path"), text("path"), was[name] + ascii("path, behind an identifier")} {
				s.path = maps.Clone(was)
				s.path[name] = value
				refuse("path", func(*http.Request) {})
			}
			s.path = was
		}
		refuse("unknown parameter", func(r *http.Request) {
			r.URL.RawQuery = url.Values{ascii("name of a parameter"): {text("value of a parameter")}}.Encode()
		})
		refuse("query", func(r *http.Request) { r.URL.RawQuery = "%zz" + ascii("malformed query") })
		for _, q := range o.Parameters {
			switch {
			case q.In == "query":
				refuse("query", func(r *http.Request) { r.URL.RawQuery = url.Values{q.Name: {text("parameter " + q.Name)}}.Encode() })
			case q.In == "header" && !slices.Contains([]string{"Range", "If-Range", "If-None-Match"}, q.Name): // those are hints: what is not understood is ignored
				refuse("header", func(r *http.Request) { r.Header.Set(q.Name, ascii("header "+q.Name)+" x") })
			}
		}
		if len(o.Security) > 0 { // the others are open to everybody
			for _, token := range []string{ascii("token"), "sr_ses_" + ascii("session token") + ascii("session token"), "sr_key_" + ascii("API key"), p.owner.token[:len(p.owner.token)-26] + ascii("end of a token")} {
				refuse("credentials", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) })
			}
			refuse("credentials", func(r *http.Request) {
				r.Header.Del("Authorization")
				r.SetBasicAuth(ascii("user of basic authentication"), ascii("password of basic authentication"))
			})
			refuse("credentials", func(r *http.Request) {
				r.Header.Del("Authorization")
				r.AddCookie(&http.Cookie{Name: ascii("name of a cookie"), Value: ascii("cookie")})
				r.Header.Set("X-"+ascii("name of a header"), ascii("unknown header"))
				r.Header.Set("X-Forwarded-For", ascii("X-Forwarded-For"))
				r.Header.Set("Referer", "https://"+ascii("Referer"))
			})
		}
		refuse("method", func(r *http.Request) { r.Method = strings.ToUpper(ascii("method")) })
		if v.doc.body(o) != nil {
			v.affrontBody(t, op, s)
		}
	}
	v.affrontServer(t)
}

// affrontBody sends an operation JSON that it has to refuse.
func (v *visitor) affrontBody(t testing.TB, op string, s step) {
	t.Helper()
	field := func(what string) string { return op + ", refused: " + what }
	ascii := func(what string) string { return v.ascii(field(what)) }
	refuse := func(what string, body []byte, kind string) {
		t.Helper()
		r, _ := v.request(t, op, s)
		carry(r, body)
		r.Header.Set("Content-Type", kind)
		if a := v.send(t, op+", "+what, r); a.status < 400 {
			t.Errorf("%s, %s: status %d: the sweep takes it for refused", op, what, a.status)
		}
	}
	const isJSON = "application/json"
	for what, body := range map[string]string{
		"JSON that ends early":    `{"` + ascii("name in broken JSON") + `": "` + ascii("value in broken JSON"),
		"a name twice":            `{"` + strings.Repeat(ascii("name that comes twice")+`": 1, "`, 1) + `a": {"b": 1, "b": "` + ascii("value of a name that comes twice") + `"}}`,
		"NUL":                     `{"` + ascii("name with NUL") + `\u0000": "` + ascii("value with NUL") + `\u0000"}`,
		"bytes that are no UTF-8": `{"` + ascii("name that is no UTF-8") + "\xff" + `": "` + ascii("value that is no UTF-8") + "\xfe" + `"}`,
		"half a surrogate pair":   `{"` + ascii("name with half a surrogate pair") + `\ud800": "x"}`,
		"more behind the value":   `{} ` + ascii("behind the value"),
		"deep nesting":            strings.Repeat(`{"`+ascii("name in deep nesting")+`":[`, 40) + strings.Repeat(`]}`, 40),
		"a number too large":      `{"a": 1e9` + v.digits(field("exponent")) + `}`,
		"no object":               `"` + ascii("no object") + `"`,
		"no JSON":                 ascii("no JSON"),
		"a comment":               `{/* ` + ascii("comment") + ` */}`,
	} {
		refuse(what, []byte(body), isJSON)
	}
	refuse("form", []byte(url.Values{ascii("name in a form"): {ascii("value in a form")}}.Encode()), "application/x-www-form-urlencoded")
	refuse("media type", []byte("{}"), "application/"+ascii("media type")+"; charset="+ascii("charset"))

	// From here on the body is as it should be, but for one place.
	form := v.doc.body(v.ops[op])
	whole := func() any { return (&filler{visitor: v, op: op, step: s}).value(form, "") }
	more := whole().(map[string]any)
	more[ascii("unknown name")] = v.text(field("value of an unknown name"))
	refuse("an unknown name", encode(t, more), isJSON)
	for _, at := range stringsOf(form, &v.doc) {
		for what, wrong := range map[string]any{
			"an object": map[string]any{ascii("name in an object that should be a string"): ascii("value in an object that should be a string")},
			"a list":    []any{ascii("list that should be a string")},
			"a number":  json.Number(v.digits(field("number that should be a string"))),
			"too long":  strings.Repeat(v.text(field("too long"))+" ", 4<<10),
		} {
			body := whole()
			if replace(body, at, wrong) {
				refuse(what+" at "+at, encode(t, body), isJSON)
			}
		}
	}
}

// stringsOf lists the pointers of a form's strings.
func stringsOf(form *schema, d *document) (all []string) {
	var walk func(s *schema, at string)
	walk = func(s *schema, at string) {
		if s = d.resolve(s); s == nil {
			return
		}
		if s.is("string") {
			all = append(all, at)
		}
		for name, p := range s.Properties {
			walk(p, at+"/"+name)
		}
		walk(s.Items, at+"/*")
	}
	walk(form, "")
	slices.Sort(all)
	return all
}

// replace puts a value where a pointer leads, and reports whether it leads
// somewhere.
func replace(body any, at string, value any) bool {
	parts := strings.Split(strings.TrimPrefix(at, "/"), "/")
	for i, part := range parts {
		last := i == len(parts)-1
		switch b := body.(type) {
		case map[string]any:
			if last {
				b[part] = value
				return true
			}
			body = b[part]
		case []any:
			if len(b) == 0 {
				return false
			}
			if last {
				b[0] = value
				return true
			}
			body = b[0]
		default:
			return false
		}
	}
	return false
}

// affrontServer sends what no operation ever sees.
func (v *visitor) affrontServer(t testing.TB) {
	t.Helper()
	for what, path := range map[string]string{
		"unknown path": "/" + v.ascii("unknown path") + "/" + url.PathEscape(v.text("unknown path")), "unknown path below v1": "/v1/" + v.ascii("unknown path below /v1"),
		"path with dots": "/v1/../" + v.ascii("path with dots"), "path with NUL": "/v1/orgs/%00" + v.ascii("path with NUL"), "static": "/static/" + v.ascii("static file"),
	} {
		r := mustRequest(t, http.MethodGet, v.url+path, nil)
		r.Header.Set("Authorization", "Bearer "+v.ascii(what+": token"))
		if a := v.send(t, what, r); a.status < 400 {
			t.Errorf("%s: status %d", what, a.status)
		}
	}
	for _, free := range []string{"/healthz", "/readyz", "/openapi.json"} {
		r := mustRequest(t, http.MethodGet, v.url+free+"?"+v.ascii("query of "+free)+"="+v.ascii("query of "+free), nil)
		r.Header.Set("Cookie", v.ascii("cookie of "+free)+"="+v.ascii("cookie of "+free))
		a := v.send(t, free, r)
		v.refused = append(v.refused, a) // whatever its status: it answers to everybody
	}
	at, err := url.Parse(v.url)
	if err != nil {
		t.Fatal(err)
	}
	// Below HTTP, and before TLS.
	for what, text := range map[string]string{
		"plain HTTP":                 "GET /" + v.ascii("plain HTTP: path") + "?" + v.ascii("plain HTTP: query") + " HTTP/1.1\r\nHost: " + v.ascii("plain HTTP: host") + "/\r\nAuthorization: Bearer " + v.ascii("plain HTTP: token") + "\r\n\r\n",
		"plain HTTP, broken":         v.ascii("plain HTTP: no request") + "\r\n\r\n",
		"a handshake that is none":   "\x16\x03\x01\x00\x40" + v.ascii("no handshake") + v.ascii("no handshake"),
		"TLS: a broken request line": "tls:" + v.ascii("no request line") + "\r\n\r\n",
		"TLS: a broken header":       "tls:GET / HTTP/1.1\r\nHost: x\r\n" + v.ascii("header without a colon") + "\r\n\r\n",
		"TLS: a broken length":       "tls:POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: " + v.ascii("length") + "\r\n\r\n",
		"TLS: a broken encoding":     "tls:POST /v1/sessions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + v.ascii("transfer encoding") + "\r\n\r\n",
		"TLS: a broken chunk":        "tls:POST /v1/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + v.ascii("chunk") + "\r\n",
		"TLS: a broken host":         "tls:GET /v1/orgs HTTP/1.1\r\nHost: " + v.ascii("host") + " " + v.ascii("host") + "\r\n\r\n",
		"TLS: another version":       "tls:GET /v1/orgs HTTP/" + v.ascii("HTTP version") + "\r\n\r\n",
		"TLS: a head too long":       "tls:GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat(v.ascii("long header"), 4000) + "\r\n\r\n",
	} {
		v.refused = append(v.refused, answer{op: what, body: v.raw(t, at.Host, text)})
	}
}

// raw sends bytes and returns what comes back. Bytes that begin with tls: are
// sent inside TLS, to a server name that is planted.
func (v *visitor) raw(t testing.TB, host, text string) []byte {
	t.Helper()
	var c net.Conn
	c, err := net.DialTimeout("tcp", host, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(patience))
	if inside, ok := strings.CutPrefix(text, "tls:"); ok {
		cfg := v.http.Transport.(*http.Transport).TLSClientConfig.Clone()
		cfg.ServerName, cfg.InsecureSkipVerify = v.ascii("server name of TLS")+".example", true
		cfg.NextProtos = []string{"http/1.1"}
		c, text = tls.Client(c, cfg), inside
	}
	if _, err := io.WriteString(c, text); err != nil {
		return nil // refused before its end
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	b, _ := io.ReadAll(c) // a reset after the answer is no matter
	return b
}

// quarrel makes requests that are well formed and come at the wrong time, to
// the wrong thing or by the wrong person.
func (v *visitor) quarrel(t testing.TB, p, other *place) {
	t.Helper()
	owner := func(s step) step { s.token = p.owner.token; return s }
	stranger := func(s step) step { s.token = other.owner.token; return s }
	rec, file := p.in("id", p.recordID), p.in("id", p.file)

	v.do(t, "create-session", step{set: map[string]any{"/email": p.owner.email}, want: 401})                                                     // the password is another
	v.do(t, "create-session", step{set: map[string]any{"/email": v.account("nobody").email}, want: 401})                                         // nobody has this address
	v.do(t, "create-session", step{set: map[string]any{"/email": v.text("create-session: no address")}, want: 401})                              // nor this
	v.do(t, "change-password", owner(step{want: 403}))                                                                                           // the old one is another
	v.do(t, "change-password", owner(step{set: map[string]any{"/password": p.owner.password, "/new_password": v.short("password")}, want: 422})) // too short
	v.do(t, "create-collection", owner(step{path: p.in(), set: map[string]any{"/kind": p.kind, "/schema": map[string]any{}}, want: 409}))
	v.do(t, "create-collection", owner(step{path: p.in(), set: map[string]any{"/kind": v.text("create-collection: no kind"), "/schema": map[string]any{}}, want: 422}))
	v.do(t, "add-member", owner(step{path: p.in(), set: map[string]any{"/email": p.member.email, "/roles": []any{"analyst"}}, drop: []string{"/join_code"}, want: 409}))
	v.do(t, "add-member", owner(step{path: p.in(), set: map[string]any{"/email": v.text("add-member: no address"), "/roles": []any{"analyst"}}, drop: []string{"/join_code"}, want: 422}))
	v.do(t, "add-member", owner(step{path: p.in(), set: map[string]any{"/roles": []any{"analyst"}}, drop: []string{"/email", "/name", "/password"}, want: 422}))
	v.do(t, "create-key", owner(step{path: p.in(), set: map[string]any{"/roles": []any{"scientist"}}, want: 422})) // scopes of the caller's invention
	v.do(t, "create-link", owner(step{path: rec, want: 422}))
	v.do(t, "run-export", owner(step{path: p.in(), set: map[string]any{"/scope": "collection"}, drop: []string{"/record"}, want: 404}))
	v.do(t, "run-export", owner(step{path: p.in(), set: map[string]any{"/scope": "record"}, want: 422}))

	// Records that the schema refuses, and schemas that are none.
	for what, content := range map[string]map[string]any{
		"without the required property": v.content("a record without the required property"),
		"of the wrong type":             {p.required: v.content("a record of the wrong type")},
	} {
		v.do(t, "create-record", owner(step{drop: []string{"/links"}, path: p.in(), set: map[string]any{"/content": content, "/visibility": "organization"}, want: 422}))
		v.do(t, "update-record", owner(step{path: rec, header: map[string]string{"If-Match": `"2"`}, set: map[string]any{"/content": content, "/visibility": "organization"}, want: 422}))
		v.do(t, "create-records", owner(step{drop: []string{"/items/*/links"}, path: p.in(), set: map[string]any{"/items/*/content": content}, want: 422}))
		_ = what
	}
	for _, form := range []any{
		map[string]any{"type": v.text("schema: type")}, map[string]any{"$ref": "https://" + v.ascii("schema: $ref") + ".example/"}, map[string]any{"pattern": "(" + v.ascii("schema: pattern")},
		map[string]any{"properties": map[string]any{v.text("schema: name of a property"): v.text("schema: no subschema")}}, map[string]any{"$schema": v.text("schema: $schema")},
		map[string]any{"required": v.text("schema: required")}, map[string]any{"$ref": "#/$defs/" + v.ascii("schema: dangling $ref")}, []any{v.text("schema: a list")}, v.text("schema: a string"),
		map[string]any{"$id": "https://" + v.ascii("schema: $id") + ".example", "$anchor": v.text("schema: $anchor")},
	} {
		r, _ := v.request(t, "create-collection", owner(step{path: p.in(), set: map[string]any{"/kind": "k-" + v.ascii("create-collection: /kind, refused"), "/schema": form}}))
		v.send(t, "create-collection with a schema that is none", r)
	}
	strict := "k-" + v.ascii("create-collection: /kind of a strict one")
	v.do(t, "create-collection", owner(step{path: p.in(), set: map[string]any{"/kind": strict, "/schema": map[string]any{"additionalProperties": false, "propertyNames": map[string]any{"maxLength": 5}, "properties": map[string]any{"a": map[string]any{"enum": []any{1}, "format": "email", "pattern": "^x$"}}}}}))
	at := p.in()
	at["kind"] = strict
	v.do(t, "create-record", owner(step{drop: []string{"/links"}, path: at, set: map[string]any{"/content": v.content("a record with properties that nobody knows")}, want: 422}))
	v.do(t, "create-record", owner(step{drop: []string{"/links"}, path: at, set: map[string]any{"/content": map[string]any{"a": v.text("a record with a value outside its enum")}}, want: 422}))

	// Stale, repeated, not here, not yours.
	v.do(t, "update-record", owner(step{path: rec, header: map[string]string{"If-Match": `"77"`}, set: map[string]any{"/content": p.content(v.sieve, "a stale update")}, want: 412}))
	key := v.ascii("Idempotency-Key that comes twice")
	v.do(t, "create-record", owner(step{drop: []string{"/links"}, path: p.in(), header: map[string]string{"Idempotency-Key": key}, set: map[string]any{"/content": p.content(v.sieve, "create-record: /content")}}))
	v.do(t, "create-record", owner(step{drop: []string{"/links"}, path: p.in(), header: map[string]string{"Idempotency-Key": key}, set: map[string]any{"/content": p.content(v.sieve, "another record under the same key")}, want: 422}))
	relation := v.text("create-link: /relation that comes twice")
	v.do(t, "create-link", owner(step{path: rec, set: map[string]any{"/to": p.file, "/relation": relation}}))
	v.do(t, "create-link", owner(step{path: rec, set: map[string]any{"/to": p.file, "/relation": relation}, want: 409}))
	v.do(t, "get-record", stranger(step{path: rec, want: 404}))
	v.do(t, "create-record", stranger(step{drop: []string{"/links"}, path: p.in(), set: map[string]any{"/content": p.content(v.sieve, "a stranger's record")}, want: 404}))
	v.do(t, "upload-file", stranger(step{path: p.in(), body: v.fileOf(t, "a stranger's file", 40<<10), want: 404}))
	v.do(t, "create-org", owner(step{set: map[string]any{"/owner/email": v.account("owner, refused").email}, drop: []string{"/owner/join_code"}, want: 403}))

	// Files.
	for what, header := range map[string]map[string]string{
		"a name with a slash":   {"Content-Disposition": attachment("../" + v.text("upload-file: a name with a slash"))},
		"a name too long":       {"Content-Disposition": attachment(strings.Repeat(v.ascii("upload-file: a name too long"), 20))},
		"another disposition":   {"Content-Disposition": "inline; filename=" + v.ascii("upload-file: another disposition")},
		"no media type":         {"Content-Type": v.ascii("upload-file: no media type")},
		"a form":                {"Content-Type": "multipart/form-data; boundary=" + v.ascii("upload-file: boundary")},
		"no visibility":         {"Visibility": v.ascii("upload-file: visibility")},
		"no key":                {"Idempotency-Key": v.ascii("upload-file: no key") + " x"},
		"a purpose of her own":  {"Strongroom-Purpose": v.ascii("upload-file: purpose")},
		"two encodings at once": {"Content-Encoding": v.ascii("upload-file: content encoding"), "Content-Type": "x"},
	} {
		r, _ := v.request(t, "upload-file", owner(step{path: p.in(), header: header, body: v.fileOf(t, "upload-file, refused: "+what, 20<<10)}))
		if a := v.send(t, "upload-file, "+what, r); a.status < 400 {
			t.Errorf("upload-file, %s: status %d", what, a.status)
		}
	}
	v.do(t, "replace-file", owner(step{path: file, header: map[string]string{"If-Match": `"77"`}, body: v.fileOf(t, "replace-file, stale", 20<<10), want: 412}))
	v.do(t, "download-file", owner(step{path: file, header: map[string]string{"Range": "bytes=99999999-"}, want: 416}))
	v.do(t, "download-file", owner(step{path: file, header: map[string]string{"Range": "bytes=" + v.ascii("download-file: Range"), "If-Range": `"` + v.ascii("download-file: If-Range") + `"`, "If-None-Match": `"` + v.ascii("download-file: If-None-Match") + `"`}}))
	for range 2 {
		up := v.open(t, p, "an upload that breaks off")
		up.write(t, 100<<10)
		up.close()
	}
}

// short plants a password too short to be one. It is long enough to be looked
// for.
func (n *sieve) short(field string) string {
	s := draw(lowerCase, 14)
	n.watch(field+", too short", s)
	return s
}

// upload is one on its way, whose sender is in no hurry.
type upload struct {
	conn net.Conn
	line string
}

// open begins an upload, up to its body.
func (v *visitor) open(t testing.TB, p *place, field string) *upload {
	t.Helper()
	at, err := url.Parse(v.url)
	if err != nil {
		t.Fatal(err)
	}
	cfg := v.http.Transport.(*http.Transport).TLSClientConfig.Clone()
	cfg.ServerName, cfg.NextProtos = at.Hostname(), []string{"http/1.1"}
	c, err := tls.Dial("tcp", at.Host, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_, err = fmt.Fprintf(c, "POST /v1/orgs/%s/files HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/x-%s\r\nContent-Disposition: %s\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\nUser-Agent: %s\r\n\r\n",
		p.org, at.Host, p.owner.token, v.ascii(field+": media type"), attachment(v.text(field+": file name")), v.ascii(field+": User-Agent"))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	status, err := bufio.NewReader(c).ReadString('\n')
	if err != nil || !strings.Contains(status, "100") {
		t.Fatalf("an upload begins with %q, %v", status, err)
	}
	return &upload{c, v.text(field+": file bytes") + "\n"}
}

func (u *upload) write(t testing.TB, size int) {
	t.Helper()
	var b bytes.Buffer
	for b.Len() < size {
		b.WriteString(u.line)
		b.Write(noise(t, 500))
	}
	if _, err := fmt.Fprintf(u.conn, "%x\r\n%s\r\n", b.Len(), b.Bytes()); err != nil {
		t.Fatal(err)
	}
}

func (u *upload) close() { _ = u.conn.Close() }
