// Package clienttest is a server for tests of programs that talk to
// Strongroom: it speaks the protocol over TLS, keeps what it is given in
// memory, and fails on command.
//
// It stands in for the wire, not for the product: it promises the status
// codes, headers, limits and shapes of the API, and that whatever it was sent
// can be looked at. Whether the product keeps them too is for tests that run
// the product.
package clienttest

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// What the server knows from the beginning.
const (
	Email    = "ada@example.org"
	Password = "correct horse battery staple"
	Token    = "sr_ses_test"
	Org      = "org_0000000000000000000000000a"
	OrgName  = "Materials Lab"
	Person   = "per_0000000000000000000000000a"
)

// Server is one such server.
type Server struct {
	URL string
	CA  []byte // PEM

	mu       sync.Mutex
	requests []Request
	fail     []int // statuses of the next answers
	pass     int   // answers before those of fail
	drop     int   // answers to drop after they took effect
	cut      int64 // bytes after which the next contents break off; 0: never
	cuts     int   // how many contents break off

	forget bool  // serve the newest version, whichever is asked for
	slow   int64 // bytes a second of contents; 0: as fast as it goes

	next        int
	signedOut   bool
	orgs        []object
	members     []object
	keys        []object
	sandboxes   []object
	collections []object
	installed   bool // the kit
	records     map[string]*record
	order       []string
	files       map[string]*file
	fileOrder   []string
	once        map[string]any
	links       map[string][]object
	// Damage, if set, changes the manifest of an export.
	Damage func(manifest map[string]any)
	// Promises is what the admin socket answers to /prove.
	Promises []map[string]any
}

type object = map[string]any

type record struct {
	object
	versions []object
	trash    bool
}

type file struct {
	object
	content  []byte
	versions [][]byte // by version, from 1
}

func (f *file) replace(content []byte) {
	f.content, f.versions = content, append(f.versions, content)
	f.object["version"], f.object["size"] = len(f.versions), len(content)
}

// Request is what the server was sent.
type Request struct {
	Method, Path string
	Header       http.Header
	Body         []byte
}

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	s := &Server{records: map[string]*record{}, files: map[string]*file{}, once: map[string]any{}, links: map[string][]object{}}
	s.orgs = []object{{"id": Org, "name": OrgName, "roles": []string{"scientist", "analyst", "org_admin"}, "plan": "enterprise", "placement": "schema"}}
	s.members = []object{{"id": Person, "name": "Ada", "email": Email, "roles": []string{"scientist"}, "owner": true}}
	h := httptest.NewUnstartedServer(s)
	h.Config.ErrorLog = log.New(io.Discard, "", 0) // tests break connections on purpose
	h.StartTLS()
	t.Cleanup(h.Close)
	s.URL = h.URL
	s.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
	return s
}

// Fail makes the next answers these statuses.
func (s *Server) Fail(statuses ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = append(s.fail, statuses...)
}

// FailAfter lets n requests pass and makes the answers after them these
// statuses.
func (s *Server) FailAfter(n int, statuses ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pass, s.fail = n, statuses
}

// DropAnswers makes the connection break instead of the next n answers, after
// the requests took effect.
func (s *Server) DropAnswers(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop = n
}

// CutContents makes the contents of files break off after so many bytes, times
// times.
func (s *Server) CutContents(after int64, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut, s.cuts = after, times
}

// SlowContents makes the contents of files come at so many bytes a second; 0:
// as fast as it goes.
func (s *Server) SlowContents(rate int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slow = rate
}

// ForgetVersions makes the server serve the newest version of a file, whichever
// is asked for.
func (s *Server) ForgetVersions(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget = yes
}

// Requests returns what was sent, in order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// AddFile stores a file.
func (s *Server) AddFile(name string, content []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addFile(name, "application/octet-stream", content)
}

// ReplaceFile gives a file a new version.
func (s *Server) ReplaceFile(id string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[id].replace(content)
}

// FileContent returns the bytes of a file.
func (s *Server) FileContent(id string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.files[id] == nil {
		return nil
	}
	return s.files[id].content
}

// AddCollection declares a collection.
func (s *Server) AddCollection(kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.collections = append(s.collections, object{"id": s.id("col_"), "kind": kind, "title": kind, "schema": object{"type": "object"}, "version": 1})
}

// AddRecord stores a record.
func (s *Server) AddRecord(kind, content string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addRecord(kind, json.RawMessage(content), "")["id"].(string)
}

// Count returns how many records there are outside the trash.
func (s *Server) Count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.records {
		if !r.trash {
			n++
		}
	}
	return n
}

// Content returns a record's content as it was sent, byte for byte.
func (s *Server) Content(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records[id] == nil {
		return ""
	}
	return string(s.records[id].object["content"].(json.RawMessage))
}

func (s *Server) id(prefix string) string {
	s.next++
	return fmt.Sprintf("%s%026d", prefix, s.next)
}

func (s *Server) addFile(name, media string, content []byte) string {
	id := s.id("fil_")
	s.files[id] = &file{object{"id": id, "version": 1, "size": len(content), "name": name, "media_type": media, "visibility": "organization", "owner": Person}, content, [][]byte{content}}
	s.fileOrder = append(s.fileOrder, id)
	return id
}

func (s *Server) addRecord(kind string, content json.RawMessage, visibility string) object {
	if visibility == "" {
		visibility = "organization"
	}
	id := s.id("rec_")
	o := object{"id": id, "collection": kind, "version": 1, "content": content, "visibility": visibility, "owner": Person, "created_by": Person, "updated_by": Person}
	s.records[id] = &record{object: o, versions: []object{{"version": 1, "action": "create", "by": Person, "content": content}}}
	s.order = append(s.order, id)
	return o
}

// refusal is how a handler refuses.
type refusal struct {
	status int
	code   string
}

func (r refusal) Error() string { return r.code }

func refuse(status int) error {
	return refusal{status, strings.ToLower(strings.ReplaceAll(http.StatusText(status), " ", "_"))}
}

// answer is how a handler answers.
type answer struct {
	status int
	body   any
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := Request{Method: r.Method, Path: r.URL.EscapedPath(), Header: r.Header.Clone()}
	defer func() { s.requests = append(s.requests, seen) }()
	if s.pass > 0 {
		s.pass--
	} else if len(s.fail) > 0 {
		status := s.fail[0]
		s.fail = s.fail[1:]
		w.Header().Set("Connection", "close")
		problem(w, refuse(status))
		return
	}
	if r.URL.Path != "/v1/sessions" && (r.Header.Get("Authorization") != "Bearer "+Token || s.signedOut) && !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer sr_key_") {
		problem(w, refuse(http.StatusUnauthorized))
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if r.Method == http.MethodGet && len(parts) == 6 && parts[3] == "files" && parts[5] == "content" {
		s.content(w, r, parts[4])
		return
	}
	if r.Method == http.MethodPost && len(parts) == 4 && parts[3] == "export" {
		s.export(w)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	seen.Body = body
	a, err := s.route(r, parts, body)
	if s.drop > 0 {
		s.drop--
		s.requests = append(s.requests, seen)
		seen = Request{Method: "DROPPED"}
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		problem(w, err)
		return
	}
	if o, ok := a.body.(object); ok {
		if v, ok := o["version"].(int); ok {
			w.Header().Set("ETag", fmt.Sprintf(`"%d"`, v))
		}
	}
	if a.body == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(max(a.status, http.StatusOK))
	_ = json.NewEncoder(w).Encode(a.body)
}

func problem(w http.ResponseWriter, err error) {
	f, ok := err.(refusal)
	if !ok {
		f = refusal{http.StatusInternalServerError, err.Error()}
	}
	w.Header().Set("Content-Type", "application/problem+json")
	if f.status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "0")
	}
	w.WriteHeader(f.status)
	_ = json.NewEncoder(w).Encode(object{"type": "about:blank", "title": http.StatusText(f.status), "status": f.status, "code": f.code,
		"detail": "the test server says no", "request_id": "req_0000000000000000000000000t",
		"errors": []object{{"pointer": "/somewhere", "code": f.code, "detail": "is wrong"}}})
}

// once makes a keyed request happen once; another one under its key is refused.
func (s *Server) doOnce(r *http.Request, body []byte, do func() answer) (answer, error) {
	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		return answer{}, refuse(http.StatusBadRequest)
	}
	type kept struct {
		print string
		a     answer
	}
	print := r.URL.Path + string(body)
	if old, ok := s.once[key].(kept); ok {
		if old.print != print {
			return answer{}, refuse(http.StatusUnprocessableEntity)
		}
		return old.a, nil
	}
	a := do()
	s.once[key] = kept{print, a}
	return a, nil
}

func (s *Server) route(r *http.Request, parts []string, body []byte) (answer, error) {
	if len(body) > 0 && r.Header.Get("Content-Type") != "application/json" && !slices.Contains(parts, "files") {
		return answer{}, refuse(http.StatusUnsupportedMediaType)
	}
	var in object
	if r.Header.Get("Content-Type") == "application/json" && !slices.Contains(parts, "files") && json.Unmarshal(body, &in) != nil {
		return answer{}, refuse(http.StatusBadRequest)
	}
	notFound := refuse(http.StatusNotFound)
	if len(parts) < 2 || parts[0] != "v1" {
		return answer{}, notFound
	}
	switch parts[1] {
	case "sessions":
		return s.session(r, parts, in)
	case "sandboxes":
		return s.sandbox(r, parts, in)
	case "status":
		return answer{body: object{"ready": true, "set_up": true, "version": "1", "jobs": object{"waiting": 3}}}, nil
	case "orgs":
		switch {
		case len(parts) == 2 && r.Method == http.MethodGet:
			return pageOf(r, s.orgs)
		case len(parts) == 2:
			o := object{"id": s.id("org_"), "name": in["name"], "placement": in["placement"], "plan": in["plan"]}
			s.orgs = append(s.orgs, o)
			return answer{http.StatusCreated, o}, nil
		case parts[2] != Org:
			return answer{}, notFound
		case len(parts) == 3:
			return answer{body: s.orgs[0]}, nil
		}
		return s.org(r, parts[3:], in, body)
	}
	return answer{}, notFound
}

func (s *Server) sandbox(r *http.Request, parts []string, in object) (answer, error) {
	switch r.Method {
	case http.MethodGet:
		return pageOf(r, s.sandboxes)
	case http.MethodPost:
		o := object{"org": s.id("org_"), "name": in["name"], "state": "active", "created_at": "2099-01-01T00:00:00Z", "expires_at": "2099-01-02T00:00:00Z"}
		s.sandboxes = append(s.sandboxes, o)
		return answer{http.StatusCreated, object{"org": o["org"], "name": o["name"], "key": "sr_key_abcdefgh_secret", "roles": []string{"scientist"}, "expires_at": o["expires_at"]}}, nil
	}
	for _, o := range s.sandboxes {
		if o["org"] == parts[2] {
			o["state"] = "expired"
			return answer{}, nil
		}
	}
	return answer{}, refuse(http.StatusNotFound)
}

func (s *Server) session(r *http.Request, parts []string, in object) (answer, error) {
	me := object{"session": object{"id": "ses_0000000000000000000000000a", "expires_at": "2099-01-01T00:00:00Z"},
		"person": object{"id": Person, "name": "Ada", "email": Email}, "organizations": s.orgs}
	if strings.HasPrefix(r.Header.Get("Authorization"), "Bearer sr_key_") {
		return answer{}, refuse(http.StatusNotFound) // a key has no session
	}
	switch {
	case len(parts) == 4 && parts[3] == "password":
		if in["password"] != Password || in["new_password"] == "" {
			return answer{}, refuse(http.StatusForbidden)
		}
		s.signedOut = true
		return answer{}, nil
	case len(parts) == 4 && parts[3] == "join-code":
		return answer{http.StatusCreated, object{"join_code": "sr_join_test", "expires_at": "2099-01-01T00:00:00Z"}}, nil
	case r.Method == http.MethodPost && len(parts) == 2:
		if in["email"] != Email || in["password"] != Password {
			return answer{}, refuse(http.StatusUnauthorized)
		}
		s.signedOut = false
		me["token"] = Token
		return answer{http.StatusCreated, me}, nil
	case r.Method == http.MethodDelete:
		s.signedOut = true
		return answer{}, nil
	}
	return answer{body: me}, nil
}

func (s *Server) org(r *http.Request, parts []string, in object, body []byte) (answer, error) {
	switch parts[0] {
	case "members":
		return s.people(r, parts, in, &s.members, func() object {
			return object{"id": s.id("per_"), "name": in["name"], "email": in["email"], "roles": in["roles"]}
		})
	case "keys":
		return s.people(r, parts, in, &s.keys, func() object {
			return object{"id": s.id("key_"), "name": in["name"], "roles": in["roles"], "scopes": in["scopes"], "expires_at": in["expires_at"],
				"prefix": "abcdefgh", "token": "sr_key_abcdefgh_secret"}
		})
	case "audit":
		return pageOf(r, []object{{"v": 1, "id": "evt_0000000000000000000000000a", "request_id": "req_0000000000000000000000000a", "time": "2026-11-22T10:00:00.000001Z",
			"actor": object{"kind": "person", "id": Person}, "action": "record.read", "purpose": "service", "outcome": "done", "targets": []string{"rec_0000000000000000000000000a"}, "salt": "x"}})
	case "collections":
		return s.collection(r, parts, in, body)
	case "kits":
		return s.kit(r, parts)
	case "files":
		return s.file(r, parts, body)
	}
	return answer{}, refuse(http.StatusNotFound)
}

func (s *Server) people(r *http.Request, parts []string, in object, list *[]object, create func() object) (answer, error) {
	if len(parts) == 1 {
		if r.Method == http.MethodGet {
			shown := make([]object, len(*list))
			for i, o := range *list {
				shown[i] = object{}
				for k, v := range o {
					if k != "token" {
						shown[i][k] = v
					}
				}
			}
			return pageOf(r, shown)
		}
		o := create()
		*list = append(*list, o)
		return answer{http.StatusCreated, o}, nil
	}
	i := slices.IndexFunc(*list, func(o object) bool { return o["id"] == parts[1] })
	if i < 0 {
		return answer{}, refuse(http.StatusNotFound)
	}
	if r.Method == http.MethodDelete {
		*list = slices.Delete(*list, i, i+1)
		return answer{}, nil
	}
	for _, field := range []string{"roles", "owner"} {
		if v, ok := in[field]; ok {
			(*list)[i][field] = v
		}
	}
	return answer{body: (*list)[i]}, nil
}

func pageOf[T any](r *http.Request, items []T) (answer, error) {
	limit, from := 50, 0
	q := r.URL.Query()
	if q.Has("limit") {
		limit, _ = strconv.Atoi(q.Get("limit"))
	}
	if limit < 1 || limit > 200 {
		return answer{}, refuse(http.StatusUnprocessableEntity)
	}
	if q.Has("cursor") {
		n, err := strconv.Atoi(strings.TrimPrefix(q.Get("cursor"), "after-"))
		if err != nil || n > len(items) {
			return answer{}, refuse(http.StatusUnprocessableEntity)
		}
		from = n
	}
	to := min(len(items), from+limit)
	o := object{"items": append([]T{}, items[from:to]...)}
	if to < len(items) {
		o["next"] = fmt.Sprintf("after-%d", to)
	}
	return answer{body: o}, nil
}

// declared takes over what a declaration says.
func declared(o, in object) object {
	for _, member := range []string{"title", "description", "schema", "visibility", "relations"} {
		if v, ok := in[member]; ok {
			o[member] = v
		}
	}
	return o
}

func (s *Server) kit(r *http.Request, parts []string) (answer, error) {
	k := object{"kit": "memory", "title": "Team memory", "version": 1, "installed": s.installed, "collections": []object{{"kind": "person", "title": "People"}}}
	if len(parts) == 1 {
		return pageOf(r, []object{k})
	}
	if parts[1] != "memory:install" || r.Method != http.MethodPost {
		return answer{}, refuse(http.StatusNotFound)
	}
	s.installed, k["installed"] = true, true
	return answer{body: k}, nil
}

func (s *Server) collection(r *http.Request, parts []string, in object, body []byte) (answer, error) {
	if len(parts) == 1 {
		if r.Method == http.MethodGet {
			return pageOf(r, s.collections)
		}
		o := object{"id": s.id("col_"), "kind": in["kind"], "version": 1}
		s.collections = append(s.collections, declared(o, in))
		return answer{http.StatusCreated, o}, nil
	}
	kind := parts[1]
	i := slices.IndexFunc(s.collections, func(o object) bool { return o["kind"] == kind })
	if i < 0 {
		return answer{}, refuse(http.StatusNotFound)
	}
	if len(parts) == 2 {
		o := s.collections[i]
		if r.Method == http.MethodPut {
			if r.Header.Get("If-Match") != fmt.Sprintf("%q", fmt.Sprint(o["version"])) {
				return answer{}, refuse(http.StatusPreconditionFailed)
			}
			o["version"] = o["version"].(int) + 1
			declared(o, in)
		}
		return answer{body: o}, nil
	}
	if len(parts) == 3 {
		return s.recordsOf(r, kind, parts[2], body)
	}
	id, verb, _ := strings.Cut(parts[3], ":")
	rec := s.records[id]
	if rec == nil || rec.object["collection"] != kind || rec.trash != (verb == "restore") {
		return answer{}, refuse(http.StatusNotFound)
	}
	if verb == "restore" {
		rec.trash = false
		return answer{body: rec.object}, nil
	}
	if len(parts) > 4 {
		return s.ofRecord(r, rec, parts[4:], in)
	}
	return s.oneRecord(r, rec, body)
}

type sent struct {
	Content    json.RawMessage `json:"content"`
	Visibility string          `json:"visibility"`
}

func (s *Server) recordsOf(r *http.Request, kind, what string, body []byte) (answer, error) {
	switch {
	case what == "records" && r.Method == http.MethodGet:
		var all []object
		for _, id := range s.order {
			if rec := s.records[id]; rec.object["collection"] == kind && !rec.trash {
				all = append(all, rec.object)
			}
		}
		return pageOf(r, all)
	case what == "records":
		return s.doOnce(r, body, func() answer {
			var n sent
			_ = json.Unmarshal(body, &n)
			return answer{http.StatusCreated, s.addRecord(kind, n.Content, n.Visibility)}
		})
	case what == "records:bulk":
		var n struct{ Items []sent }
		if json.Unmarshal(body, &n) != nil || len(n.Items) == 0 || len(n.Items) > 5000 {
			return answer{}, refuse(http.StatusUnprocessableEntity)
		}
		return s.doOnce(r, body, func() answer {
			var made []object
			for _, item := range n.Items {
				made = append(made, object{"id": s.addRecord(kind, item.Content, item.Visibility)["id"], "version": 1})
			}
			return answer{http.StatusCreated, object{"items": made}}
		})
	}
	return answer{}, refuse(http.StatusNotFound)
}

// match holds If-Match against a version.
func match(r *http.Request, o object) error {
	switch r.Header.Get("If-Match") {
	case "":
		return refuse(http.StatusPreconditionRequired)
	case fmt.Sprintf(`"%d"`, o["version"]):
		return nil
	}
	return refuse(http.StatusPreconditionFailed)
}

func (s *Server) oneRecord(r *http.Request, rec *record, body []byte) (answer, error) {
	if r.Method == http.MethodGet {
		return answer{body: rec.object}, nil
	}
	if err := match(r, rec.object); err != nil {
		return answer{}, err
	}
	if r.Method == http.MethodDelete {
		rec.trash = true
		return answer{}, nil
	}
	var n sent
	_ = json.Unmarshal(body, &n)
	rec.object["content"], rec.object["version"] = n.Content, rec.object["version"].(int)+1
	rec.versions = append([]object{{"version": rec.object["version"], "action": "update", "by": Person, "content": n.Content}}, rec.versions...)
	return answer{body: rec.object}, nil
}

func (s *Server) ofRecord(r *http.Request, rec *record, parts []string, in object) (answer, error) {
	id := rec.object["id"].(string)
	switch {
	case parts[0] == "history":
		return pageOf(r, rec.versions)
	case r.Method == http.MethodGet:
		return pageOf(r, s.links[id])
	case r.Method == http.MethodPost:
		o := object{"id": s.id("lnk_"), "from": id, "to": in["to"], "relation": in["relation"], "direction": "out"}
		s.links[id] = append(s.links[id], o)
		return answer{http.StatusCreated, o}, nil
	case r.Method == http.MethodDelete && len(parts) == 2:
		before := len(s.links[id])
		s.links[id] = slices.DeleteFunc(s.links[id], func(o object) bool { return o["id"] == parts[1] })
		if len(s.links[id]) == before {
			return answer{}, refuse(http.StatusNotFound)
		}
		return answer{}, nil
	}
	return answer{}, refuse(http.StatusNotFound)
}

func (s *Server) file(r *http.Request, parts []string, body []byte) (answer, error) {
	if len(parts) == 1 {
		if r.Method == http.MethodGet {
			var all []object
			for _, id := range s.fileOrder {
				if f := s.files[id]; f != nil {
					all = append(all, f.object)
				}
			}
			return pageOf(r, all)
		}
		_, p, err := mime.ParseMediaType(r.Header.Get("Content-Disposition"))
		if err != nil || p["filename"] == "" {
			return answer{}, refuse(http.StatusBadRequest)
		}
		return s.doOnce(r, []byte(p["filename"]), func() answer {
			id := s.addFile(p["filename"], r.Header.Get("Content-Type"), body)
			return answer{http.StatusCreated, s.files[id].object}
		})
	}
	f := s.files[parts[1]]
	if f == nil {
		return answer{}, refuse(http.StatusNotFound)
	}
	if len(parts) == 3 && parts[2] == "history" {
		var all []object
		for v := len(f.versions); v > 0; v-- {
			all = append(all, object{"version": v, "size": len(f.versions[v-1]), "by": Person})
		}
		return pageOf(r, all)
	}
	if r.Method == http.MethodGet {
		return answer{body: f.object}, nil
	}
	if err := match(r, f.object); err != nil {
		return answer{}, err
	}
	if r.Method == http.MethodDelete {
		delete(s.files, parts[1])
		return answer{}, nil
	}
	f.replace(body)
	if media := r.Header.Get("Content-Type"); media != "" {
		f.object["media_type"] = media
	}
	return answer{body: f.object}, nil
}

func (s *Server) content(w http.ResponseWriter, r *http.Request, id string) {
	f := s.files[id]
	if f == nil {
		problem(w, refuse(http.StatusNotFound))
		return
	}
	content, v := f.content, f.object["version"].(int)
	if q := r.URL.Query().Get("version"); q != "" && !s.forget {
		n, err := strconv.Atoi(q)
		if err != nil || n < 1 || n > len(f.versions) {
			problem(w, refuse(http.StatusNotFound))
			return
		}
		content, v = f.versions[n-1], n
	}
	w.Header().Set("ETag", fmt.Sprintf(`"%d"`, v))
	w.Header().Set("Content-Type", f.object["media_type"].(string))
	w.Header().Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.object["name"].(string)}))
	out := w
	if s.cuts > 0 {
		s.cuts--
		out = &cutter{w, s.cut}
	}
	if s.slow > 0 {
		out = &slowly{out, s.slow}
	}
	http.ServeContent(out, r, "", time.Time{}, bytes.NewReader(content))
}

// cutter breaks the connection after so many bytes of body.
type cutter struct {
	http.ResponseWriter
	left int64
}

func (c *cutter) Write(p []byte) (int, error) {
	if int64(len(p)) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= int64(len(p))
	return c.ResponseWriter.Write(p)
}

// slowly writes at a rate of bytes a second.
type slowly struct {
	http.ResponseWriter
	rate int64
}

func (s *slowly) Write(p []byte) (int, error) {
	done := 0
	for len(p) > 0 {
		part := p[:min(len(p), int(s.rate/10)+1)]
		n, err := s.ResponseWriter.Write(part)
		if done += n; err != nil {
			return done, err
		}
		time.Sleep(time.Duration(int64(n) * int64(time.Second) / s.rate))
		p = p[n:]
	}
	return done, nil
}

func (s *Server) export(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/zip")
	z := zip.NewWriter(w)
	entries, total := []any{}, 0
	add := func(name string, content []byte) {
		f, _ := z.Create(name)
		_, _ = f.Write(content)
		sum := sha256.Sum256(content)
		entries = append(entries, object{"name": name, "type": "file", "size": len(content), "sha256": hex.EncodeToString(sum[:])})
		total += len(content)
	}
	for _, id := range s.fileOrder {
		if f := s.files[id]; f != nil {
			add("files/"+id, f.content)
		}
	}
	m := object{"format": "strongroom-export", "version": 1, "created_at": "2026-11-22T10:00:00Z", "entries": entries,
		"totals": object{"entries": len(entries), "files": len(entries), "bytes": total}}
	if s.Damage != nil {
		s.Damage(m)
	}
	f, _ := z.Create("manifest.json")
	_ = json.NewEncoder(f).Encode(m)
	_ = z.Close()
}

// ServeAdmin answers on the admin socket of a data directory, which it makes.
func (s *Server) ServeAdmin(t testing.TB, dir string) {
	run := filepath.Join(dir, "run")
	if err := os.MkdirAll(run, 0o700); err != nil {
		t.Fatal(err)
	}
	// A folder may be deeper than a socket's path can be long.
	short, err := os.Open(run)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", fmt.Sprintf("/proc/self/fd/%d/admin.sock", short.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /prove", func(w http.ResponseWriter, r *http.Request) {
		var out []map[string]any
		for _, p := range s.Promises {
			if ids := r.URL.Query().Get("ids"); ids == "" || slices.Contains(strings.Split(ids, ","), p["id"].(string)) {
				out = append(out, p)
			}
		}
		if out == nil {
			problem(w, refuse(http.StatusNotFound))
			return
		}
		_ = json.NewEncoder(w).Encode(object{"promises": out})
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(object{"version": "1", "ready": true, "set_up": false})
	})
	mux.HandleFunc("GET /keys/status", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(object{"epoch": 3, "guardians": []object{{"zone": "a", "state": "ok"}, {"zone": "b", "state": "gone"}}})
	})
	h := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = h.Serve(l) }()
	t.Cleanup(func() {
		_ = h.Close()
		_ = short.Close()
	})
}
