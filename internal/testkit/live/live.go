// Package live gives a test the whole server: every feature, over TLS on a
// loopback port, with the package's own database, real keys and real files.
//
// It promises that nothing is in the way that a user would not meet: what the
// product opens for its server process is opened here by the same function,
// and requests travel through the same listener, certificate and middleware.
// What is missing is what separate processes give.
//
// A package that uses it hands its tests to testkit:
//
//	func TestMain(m *testing.M) { testkit.Main(m) }
//
//	s := live.Start(t)
//	org := s.Org(t, "pooled")          // with an owner who holds every role
//	bob := org.Member(t, client.Scientist)
//	rec, err := bob.CreateRecord(t.Context(), org.ID, "note", …)
//
// Servers of one package share its database and keys, and nothing else: two of
// them are two machines of one installation, and one that is started after
// another was closed is the same after a restart.
package live

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"strongroom/client"
	"strongroom/internal/app"
	"strongroom/internal/app/tlsca"
	"strongroom/internal/base/id"
	"strongroom/internal/base/seal"
	"strongroom/internal/identity"
	"strongroom/internal/store/platform"
	"strongroom/internal/testkit"
	"strongroom/internal/web/api"
)

// Server is a server under test.
type Server struct {
	URL     string // https://127.0.0.1:PORT
	CA      []byte // PEM; what a client trusts
	CAFile  string // the same, as a file for command lines
	DataDir string // with objects/ and tls/ in it
	App     *app.App
	Doors   *testkit.Doors // the same database and keys, past the API

	mu   sync.Mutex
	root *Person
	stop func()
}

// Options vary a server. The zero value is Start's.
type Options struct {
	DataDir string       // "": a folder of the test's own
	Log     *slog.Logger // nil: warnings and errors go to the test's output
	// NoSandboxes switches throw-away organizations off, as an installation is
	// without --demo.
	NoSandboxes bool
}

// Start starts a server and stops it when the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	return StartWith(t, Options{})
}

// StartWith starts a server as o says.
func StartWith(t testing.TB, o Options) *Server {
	t.Helper()
	if o.DataDir == "" {
		o.DataDir = t.TempDir()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	doors := testkit.Open(t)
	s := &Server{DataDir: o.DataDir, Doors: doors, CAFile: filepath.Join(o.DataDir, "tls", tlsca.CAFile)}
	for _, dir := range []string{"objects", "tls"} {
		if err := os.MkdirAll(filepath.Join(o.DataDir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := tlsca.Ensure(tlsca.Options{Dir: filepath.Dir(s.CAFile)}); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.CA, err = os.ReadFile(s.CAFile); err != nil {
		t.Fatal(err)
	}
	serverTLS, err := tlsca.Server(filepath.Join(o.DataDir, "tls", tlsca.CertFile), filepath.Join(o.DataDir, "tls", tlsca.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	clientTLS, err := tlsca.Client(s.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	s.App, err = app.Open(context.WithoutCancel(t.Context()), app.Options{URL: doors.DB.URL, KeySocket: doors.KeySocket, Objects: filepath.Join(o.DataDir, "objects"), DataDir: o.DataDir,
		Version: "test", Capability: &doors.Capability, Sandboxes: !o.NoSandboxes, Log: o.Log})
	if err != nil {
		t.Fatalf("live: %v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.App.Close()
		t.Fatal(err)
	}
	s.URL = "https://" + listener.Addr().String()
	transport := &http.Transport{TLSClientConfig: clientTLS}
	s.App.Listens(s.URL, &http.Client{Timeout: 30 * time.Second, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }})
	run, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() {
		ended <- api.Serve(run, api.ServeOptions{Listener: listener, TLS: serverTLS, Handler: s.App.Front, Grace: 5 * time.Second, Log: o.Log})
	}()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("live: the server ended: %v", err)
		}
		transport.CloseIdleConnections()
		s.App.Close()
	})
	t.Cleanup(s.stop)
	return s
}

// Stop ends the server before the test ends, as a restart does.
func (s *Server) Stop() { s.stop() }

// Client returns a client that calls with a token, or as nobody without one.
func (s *Server) Client(t testing.TB, token client.Secret) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{URL: s.URL, Token: token, CA: s.CA})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Person is somebody who is signed in: the client calls as her.
type Person struct {
	*client.Client
	ID       string
	Name     string
	Email    string
	Password client.Secret
	Token    client.Secret
}

// Admin returns a system administrator of the installation.
func (s *Server) Admin(t testing.TB) *Person {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.root == nil {
		p := newPerson("root")
		_, _, err := s.App.Identity.CreateSystemAdmin(t.Context(), platform.Request{Actor: identity.System(id.NewServer())},
			identity.NewPerson{Address: p.Email, Name: p.Name, Password: seal.NewSecretString(p.Password.Reveal())})
		if err != nil {
			t.Fatalf("live: a system administrator: %v", err)
		}
		s.root = &p
	}
	// The client belongs to the test that asks, as several may share a server.
	p := *s.root
	s.SignIn(t, &p)
	return &p
}

// SignIn gives a person a new session and a client that uses it.
func (s *Server) SignIn(t testing.TB, p *Person) {
	t.Helper()
	c := s.Client(t, client.Secret{})
	in, err := c.SignIn(t.Context(), p.Email, p.Password)
	if err != nil {
		t.Fatalf("live: %s signs in: %v", p.Name, err)
	}
	p.ID, p.Token = in.Person.ID, in.Token
	p.Client = c.WithToken(in.Token)
}

// Org is an organization made for one test.
type Org struct {
	ID        string
	Name      string
	Placement string
	Owner     *Person // holds every role of an organization
	server    *Server
}

// Org makes an organization in the placement "schema" or "pooled".
func (s *Server) Org(t testing.TB, placement string) *Org {
	t.Helper()
	owner := newPerson("owner")
	made, err := s.Admin(t).CreateOrganization(t.Context(), client.NewOrganization{Name: "Org " + rand.Text()[:8], Placement: placement,
		Owner: client.NewMember{Email: owner.Email, Name: owner.Name, Password: owner.Password}})
	if err != nil {
		t.Fatalf("live: an organization: %v", err)
	}
	s.SignIn(t, &owner)
	if _, err := owner.UpdateMember(t.Context(), made.ID, owner.ID, client.MemberChange{Roles: Roles}); err != nil {
		t.Fatalf("live: the owner's roles: %v", err)
	}
	return &Org{ID: made.ID, Name: made.Name, Placement: placement, Owner: &owner, server: s}
}

// Roles are all that can be held in an organization.
var Roles = []client.Role{client.Scientist, client.Analyst, client.OrgAdmin, client.SecurityAdmin, client.BillingAdmin}

// Member adds a person who holds roles, and signs her in.
func (o *Org) Member(t testing.TB, roles ...client.Role) *Person {
	t.Helper()
	name := "member"
	if len(roles) > 0 {
		name = string(roles[0])
	}
	p := newPerson(name)
	if _, err := o.Owner.AddMember(t.Context(), o.ID, client.NewMember{Email: p.Email, Name: p.Name, Password: p.Password, Roles: roles}); err != nil {
		t.Fatalf("live: a member: %v", err)
	}
	o.server.SignIn(t, &p)
	return &p
}

func newPerson(name string) Person {
	unique := rand.Text()
	return Person{Name: name, Email: strings.ToLower(name + "-" + unique + "@test.example"), Password: client.NewSecret("pass " + rand.Text())}
}
