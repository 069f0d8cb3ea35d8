package demo_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"strongroom/client"
	"strongroom/internal/app"
	"strongroom/internal/app/demo"
	"strongroom/internal/testkit"
	"strongroom/internal/testkit/live"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// world is the one installation of this package, and who can sign in to it.
type world struct {
	*live.Server
	orgs      []demo.Organization
	passwords map[string]client.Secret
	clients   map[string]*client.Client // by address
	ids       map[string]string         // of the organizations, by name
}

func TestTheDemo(t *testing.T) {
	w := &world{Server: live.Start(t), orgs: demo.Organizations(t), passwords: map[string]client.Secret{}, clients: map[string]*client.Client{}, ids: map[string]string{}}
	options := w.App.DemoOptions(w.Client(t, client.Secret{}))
	for _, email := range append(w.emails(), "admin@strongroom.example") {
		p, err := options.Password(t.Context(), email)
		if err != nil {
			t.Fatal(err)
		}
		w.passwords[email] = p
	}
	// The order is the story: broken starts, the whole one, what it shows, and
	// what later starts leave alone.
	for _, step := range []struct {
		name string
		test func(*testing.T)
	}{
		{"A load that is broken off again and again goes on", w.broken},
		{"It writes down who can sign in", w.loaded},
		{"Everything is there once", w.counts},
		{"Every byte is the file's", w.bytes},
		{"The links lead where they say", w.links},
		{"A change has a history", w.history},
		{"What is private shows to its owner alone", w.private},
		{"The roles differ", w.roles},
		{"The three do not see each other", w.isolation},
		{"A second start changes nothing", w.again},
		{"A changed password is nobody's trouble", w.changed},
	} {
		if !t.Run(step.name, step.test) {
			return
		}
	}
}

func (w *world) emails() (all []string) {
	for _, o := range w.orgs {
		for _, p := range o.People {
			all = append(all, p.Email)
		}
	}
	return all
}

// cutting is the server behind a line that breaks after some requests: the last
// one is carried out and its answer is lost, as when the loader is killed.
func (w *world) cutting(t *testing.T, after int64) *client.Client {
	t.Helper()
	var count atomic.Int64
	s := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch n := count.Add(1); {
		case n < after:
			w.App.API.ServeHTTP(rw, r)
			return
		case n == after:
			w.App.API.ServeHTTP(httptest.NewRecorder(), r)
		}
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(s.Close)
	c, err := client.New(client.Options{URL: s.URL, CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (w *world) broken(t *testing.T) {
	for _, after := range []int64{2, 6, 11, 24, 50, 80, 110} {
		if _, err := demo.Load(t.Context(), w.App.DemoOptions(w.cutting(t, after))); err == nil {
			t.Fatalf("a load whose line broke after %d requests says that it is done", after)
		}
	}
}

func (w *world) loaded(t *testing.T) {
	if err := w.App.LoadDemo(t.Context()); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(w.DataDir, app.DemoFile)
	sheet, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(name)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the sheet has mode %v, %v", info.Mode(), err)
	}
	for email, password := range w.passwords {
		if !strings.Contains(string(sheet), email) || !strings.Contains(string(sheet), password.Reveal()) {
			t.Errorf("the sheet does not say how %s signs in", email)
		}
	}
	if !strings.Contains(string(sheet), "login "+w.URL+" --data "+w.DataDir) {
		t.Errorf("the sheet does not say where to sign in:\n%s", sheet)
	}
	for _, email := range w.emails() {
		w.signIn(t, email)
	}
}

func (w *world) signIn(t *testing.T, email string) client.SignedIn {
	t.Helper()
	c := w.Client(t, client.Secret{})
	in, err := c.SignIn(t.Context(), email, w.passwords[email])
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range in.Organizations {
		w.ids[o.Name] = o.ID
	}
	// The client must outlive this step.
	if w.clients[email], err = client.New(client.Options{URL: w.URL, CA: w.CA, Token: in.Token}); err != nil {
		t.Fatal(err)
	}
	return in
}

// as returns the client of one of o's people, by key.
func (w *world) as(o demo.Organization, key string) *client.Client {
	return w.clients[o.People[slices.IndexFunc(o.People, func(p demo.Person) bool { return p.Key == key })].Email]
}

func owner(o demo.Organization) demo.Person {
	return o.People[slices.IndexFunc(o.People, func(p demo.Person) bool { return p.Owner })]
}

func collect[T any](t *testing.T, items func(func(T, error) bool)) (all []T) {
	t.Helper()
	for item, err := range items {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, item)
	}
	return all
}

// records lists a collection as somebody sees it.
func (w *world) records(t *testing.T, o demo.Organization, key, kind string) []client.Record {
	t.Helper()
	c := w.as(o, key)
	return collect(t, client.Items(t.Context(), client.List{Limit: 200}, func(ctx context.Context, l client.List) (client.Page[client.Record], error) {
		return c.ListRecords(ctx, w.ids[o.Name], kind, l)
	}))
}

func (w *world) files(t *testing.T, o demo.Organization, key string) []client.File {
	t.Helper()
	c := w.as(o, key)
	return collect(t, client.Items(t.Context(), client.List{Limit: 200}, func(ctx context.Context, l client.List) (client.Page[client.File], error) {
		return c.ListFiles(ctx, w.ids[o.Name], l)
	}))
}

// find returns the record that an entry became, as its maker sees it.
func (w *world) find(t *testing.T, o demo.Organization, e demo.Entry) client.Record {
	t.Helper()
	want := e.Content
	if e.Then != nil {
		want = e.Then
	}
	for _, r := range w.records(t, o, e.By, e.Kind) {
		if bytes.Equal(r.Content, want) {
			return r
		}
	}
	t.Fatalf("%s: no record holds %s", o.Name, want)
	return client.Record{}
}

func (w *world) entry(t *testing.T, org, kind, name string) (demo.Organization, demo.Entry) {
	t.Helper()
	for _, o := range w.orgs {
		for _, e := range o.Records {
			if o.Name == org && e.Kind == kind && e.Name() == name {
				return o, e
			}
		}
	}
	t.Fatalf("no %s/%s", kind, name)
	return demo.Organization{}, demo.Entry{}
}

// counts holds every record and file, as all who make some see them together,
// against what there is to load.
func (w *world) counts(t *testing.T) {
	for _, o := range w.orgs {
		want, got := map[string]int{}, map[string]int{}
		for _, e := range o.Records {
			want[e.Kind+" "+string(last(e))]++
		}
		for _, u := range o.Uploads() {
			want["file "+u.Name()]++
		}
		seen := map[string]bool{}
		for _, p := range o.People {
			if !slices.Contains(p.Roles, client.Scientist) {
				continue
			}
			for _, c := range o.Collections {
				for _, r := range w.records(t, o, p.Key, c.Kind) {
					if !seen[r.ID] {
						seen[r.ID] = true
						got[c.Kind+" "+string(r.Content)]++
					}
				}
			}
			for _, f := range w.files(t, o, p.Key) {
				if !seen[f.ID] {
					seen[f.ID] = true
					got["file "+f.Name]++
				}
			}
		}
		if !maps.Equal(want, got) {
			t.Errorf("%s: there are %d things and should be %d", o.Name, len(got), len(want))
			for k, n := range got {
				if n != want[k] {
					t.Errorf("%d times %s", n, k)
				}
			}
		}
		members := collect(t, w.as(o, owner(o).Key).Members(t.Context(), w.ids[o.Name]))
		if len(members) != len(o.People) {
			t.Errorf("%s: %d people", o.Name, len(members))
		}
	}
	admin := w.signIn(t, "admin@strongroom.example")
	if len(admin.Organizations) != 0 {
		t.Error("the administrator belongs to an organization")
	}
	names := map[string]int{}
	for _, org := range collect(t, w.clients["admin@strongroom.example"].Organizations(t.Context())) {
		names[org.Name+" "+org.Placement]++
	}
	if !maps.Equal(names, map[string]int{"Materials lab schema": 1, "Team memory pooled": 1, "Molecular group schema": 1}) {
		t.Errorf("the organizations are %v", names)
	}
}

func last(e demo.Entry) []byte {
	if e.Then != nil {
		return e.Then
	}
	return e.Content
}

func (w *world) bytes(t *testing.T) {
	for _, o := range w.orgs {
		for _, u := range o.Uploads() {
			c, all := w.as(o, u.By()), w.files(t, o, u.By())
			f := all[slices.IndexFunc(all, func(f client.File) bool { return f.Name == u.Name() })]
			content, err := c.DownloadFile(t.Context(), w.ids[o.Name], f.ID, 0, client.Range{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(content)
			if err = errors.Join(err, content.Close()); err != nil || !bytes.Equal(got, o.File(t, u)) {
				t.Errorf("%s: %s came back as %d bytes, %v", o.Name, u.Name(), len(got), err)
			}
		}
	}
}

// links checks every link of one organization, and of the others those that
// tell their story.
func (w *world) links(t *testing.T) {
	total := 0
	for _, o := range w.orgs {
		names := map[string]string{} // of records and files, by id
		for _, p := range o.People {
			if !slices.Contains(p.Roles, client.Scientist) {
				continue
			}
			for _, c := range o.Collections {
				for _, r := range w.records(t, o, p.Key, c.Kind) {
					var members map[string]json.RawMessage
					var name string
					if err := errors.Join(json.Unmarshal(r.Content, &members), json.Unmarshal(members[c.Identity], &name)); err != nil {
						t.Fatal(err)
					}
					names[r.ID] = c.Kind + "/" + name
				}
			}
			for _, f := range w.files(t, o, p.Key) {
				names[f.ID] = f.Name
			}
		}
		ids := map[string]string{}
		for id, name := range names {
			ids[name] = id
		}
		for _, e := range o.Records {
			if len(e.Links) == 0 {
				continue
			}
			want := map[string]int{}
			for _, l := range e.Links {
				to := l.To
				if l.File != "" {
					to = path.Base(l.File)
				}
				want[l.Relation+" "+to]++
			}
			got := map[string]int{}
			for _, l := range collect(t, w.as(o, e.By).Links(t.Context(), w.ids[o.Name], e.Kind, ids[e.Kind+"/"+e.Name()])) {
				if l.Direction == "out" {
					got[l.Relation+" "+names[l.To]]++
					total++
				}
			}
			if !maps.Equal(want, got) {
				t.Errorf("%s: %s/%s leads to %v, want %v", o.Name, e.Kind, e.Name(), got, want)
			}
		}
	}
	if total < 200 {
		t.Errorf("only %d links", total)
	}
}

func (w *world) history(t *testing.T) {
	o, e := w.entry(t, "Materials lab", "measurement", "XPS of FeO, Fe 2p")
	r := w.find(t, o, e)
	history := collect(t, w.as(o, "hanna").History(t.Context(), w.ids[o.Name], e.Kind, r.ID))
	var versions []string
	for _, h := range history {
		versions = append(versions, fmt.Sprint(h.Version, " ", h.Action, " ", strings.Contains(string(h.Content), "components")))
	}
	slices.Sort(versions)
	if !slices.Equal(versions, []string{"1 create false", "2 update true"}) {
		t.Errorf("its history is %v", versions)
	}
}

func (w *world) private(t *testing.T) {
	for _, s := range []struct{ org, kind, name, other, file string }{
		{"Materials lab", "measurement", "Draft: NiO on the same spectrometer", "hanna", ""},
		{"Team memory", "task", "Submit Quebec Income Tax Return for 2006", "omar", "example.ics"},
	} {
		o, e := w.entry(t, s.org, s.kind, s.name)
		r := w.find(t, o, e)
		if _, err := w.as(o, s.other).Record(t.Context(), w.ids[o.Name], e.Kind, r.ID); client.Status(err) != http.StatusNotFound {
			t.Errorf("%s sees %s: %v", s.other, s.name, err)
		}
		named := func(f client.File) bool { return f.Name == s.file }
		if s.file != "" && (!slices.ContainsFunc(w.files(t, o, e.By), named) || slices.ContainsFunc(w.files(t, o, s.other), named)) {
			t.Errorf("%s does not show to its owner alone", s.file)
		}
	}
}

func (w *world) roles(t *testing.T) {
	for _, s := range []struct {
		org, key                    string
		creates, exports, seesTrail bool
	}{
		{"Materials lab", "hanna", true, true, true},
		{"Materials lab", "emil", true, false, false},
		{"Team memory", "lena", false, true, false},
		{"Molecular group", "tom", false, true, false},
	} {
		o := w.orgs[slices.IndexFunc(w.orgs, func(o demo.Organization) bool { return o.Name == s.org })]
		c, org := w.as(o, s.key), w.ids[s.org]
		may := func(err error) bool { return client.Status(err) != http.StatusForbidden }
		// No record: what the collection does not accept is refused after what the role does not.
		_, err := c.CreateRecord(t.Context(), org, o.Collections[0].Kind, client.NewRecord{Content: json.RawMessage(`{"unknown":1}`)})
		if client.Status(err) < 400 || may(err) != s.creates {
			t.Errorf("%s creates: %v", s.key, err)
		}
		if _, err = c.ListAudit(t.Context(), org, client.List{Limit: 1}); may(err) != s.seesTrail || s.seesTrail && err != nil {
			t.Errorf("%s reads the log: %v", s.key, err)
		}
		z, err := c.Export(t.Context(), org, client.Scope{Kind: o.Collections[0].Kind})
		if err == nil {
			_, err = io.Copy(io.Discard, z)
			err = errors.Join(err, z.Close())
		}
		if may(err) != s.exports || s.exports && err != nil {
			t.Errorf("%s exports: %v", s.key, err)
		}
	}
}

func (w *world) isolation(t *testing.T) {
	for _, mine := range w.orgs {
		c := w.as(mine, owner(mine).Key)
		if in, err := c.WhoAmI(t.Context()); err != nil || len(in.Organizations) != 1 {
			t.Errorf("%s: its owner is in %d organizations, %v", mine.Name, len(in.Organizations), err)
		}
		for _, other := range w.orgs {
			if other.Name == mine.Name {
				continue
			}
			e := other.Records[0]
			r := w.find(t, other, e)
			f := w.files(t, other, e.By)[0]
			// Under the other's address, and under one's own.
			for _, org := range []string{w.ids[other.Name], w.ids[mine.Name]} {
				for what, err := range map[string]error{
					"record": second(c.Record(t.Context(), org, e.Kind, r.ID)),
					"file":   second(c.File(t.Context(), org, f.ID)),
					"delete": c.DeleteFile(t.Context(), org, f.ID, f.Version),
				} {
					if client.Status(err) != http.StatusNotFound {
						t.Errorf("%s reaches a %s of %s: %v", mine.Name, what, other.Name, err)
					}
				}
			}
			if err := second(c.ListRecords(t.Context(), w.ids[other.Name], e.Kind, client.List{})); client.Status(err) != http.StatusNotFound {
				t.Errorf("%s lists %s: %v", mine.Name, other.Name, err)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

// state is every row of the organizations' tables that loading could touch.
func (w *world) state(t *testing.T) map[string]int64 {
	t.Helper()
	all := map[string]int64{}
	for _, o := range w.orgs {
		for _, p := range o.People {
			if !slices.Contains(p.Roles, client.Scientist) {
				continue
			}
			for _, c := range o.Collections {
				all[c.Kind]++
				for _, r := range w.records(t, o, p.Key, c.Kind) {
					all[r.ID] = r.Version
				}
			}
			for _, f := range w.files(t, o, p.Key) {
				all[f.ID] = f.Version
			}
		}
	}
	return all
}

func (w *world) again(t *testing.T) {
	name := filepath.Join(w.DataDir, app.DemoFile)
	sheet, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before := w.state(t)
	for _, step := range []string{"with the sheet", "without it"} {
		if err := w.App.LoadDemo(t.Context()); err != nil {
			t.Fatal(err)
		}
		after := w.state(t)
		if !maps.Equal(before, after) {
			t.Errorf("a start %s changed something: %d things were there, %d are", step, len(before), len(after))
		}
		if again, err := os.ReadFile(name); err != nil || !bytes.Equal(sheet, again) {
			t.Errorf("a start %s wrote another sheet: %v", step, err)
		}
		if err := os.Truncate(name, 0); err != nil {
			t.Fatal(err)
		}
	}
	w.links(t)
}

func (w *world) changed(t *testing.T) {
	const email = "nora@team.example"
	if err := w.clients[email].ChangePassword(t.Context(), w.passwords[email], client.NewSecret("a passphrase of her own")); err != nil {
		t.Fatal(err)
	}
	if _, err := demo.Load(t.Context(), w.App.DemoOptions(w.Client(t, client.Secret{}))); !errors.Is(err, demo.ErrOccupied) {
		t.Errorf("loading gave %v", err)
	}
	if err := w.App.LoadDemo(t.Context()); err != nil {
		t.Errorf("a start fails: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(w.DataDir, app.DemoFile)); err != nil || len(text) != 0 {
		t.Errorf("the sheet says %q, %v", text, err)
	}
}
