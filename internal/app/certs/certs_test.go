package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"

	"strongroom/internal/app/tlsca"
	"strongroom/internal/feature/status"
	"strongroom/internal/web/api"
)

func TestMain(m *testing.M) {
	// Pebble waits some seconds before it validates, as if it were busy. It
	// goes on refusing some nonces, as a real authority does.
	_ = os.Setenv("PEBBLE_VA_NOSLEEP", "1")
	os.Exit(m.Run())
}

// authority is a real ACME server, Pebble, that finds every name on this
// machine.
type authority struct {
	directory string
	ca        []byte // of its own HTTPS
	root      *x509.CertPool
	orders    int
	mu        sync.Mutex
}

func startAuthority(t *testing.T, httpPort, tlsPort int) *authority {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	resolver := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg)
		a.SetReply(q)
		if len(q.Question) == 1 && q.Question[0].Qtype == dns.TypeA {
			a.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.IPv4(127, 0, 0, 1)}}
		}
		_ = w.WriteMsg(a)
	})}
	go func() { _ = resolver.ActivateAndServe() }()
	t.Cleanup(func() { _ = resolver.Shutdown() })

	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	issuer := ca.New(quiet, store, "", 0, 1, map[string]ca.Profile{"default": {Description: "default"}})
	checker := va.New(quiet, httpPort, tlsPort, true, pc.LocalAddr().String(), store)
	front := wfe.New(quiet, store, checker, issuer, true, false, 1, 1)
	a := &authority{root: x509.NewCertPool()}
	handler := front.Handler()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/order-plz") {
			a.mu.Lock()
			a.orders++
			a.mu.Unlock()
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	a.directory = s.URL + wfe.DirectoryPath
	a.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	a.root.AddCert(issuer.GetRootCert(0).Cert)
	return a
}

func (a *authority) ordered() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.orders
}

// listen opens a port for the server under test.
func listen(t *testing.T) (net.Listener, int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, l.Addr().(*net.TCPAddr).Port
}

func local(t *testing.T) Options {
	t.Helper()
	dir := t.TempDir()
	if err := tlsca.Ensure(tlsca.Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	return Options{LocalCert: filepath.Join(dir, tlsca.CertFile), LocalKey: filepath.Join(dir, tlsca.KeyFile), Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// run serves as the server process does.
func run(t *testing.T, o Options, listeners ...net.Listener) *Certs {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, l := range listeners {
		wg.Go(func() {
			if err := api.Serve(ctx, api.ServeOptions{Listener: l, TLS: c.TLS(), Plain: c.Plain, Grace: time.Second,
				Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") })}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() { c.Keep(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return c
}

func given(c *Certs) (status.Certificate, bool) {
	for _, s := range c.Status() {
		if s.Source == Given {
			return s, !s.NotAfter.IsZero()
		}
	}
	return status.Certificate{}, false
}

func await(t *testing.T, c *Certs) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		s, ok := given(c)
		if ok {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no certificate was given: %+v", s)
		}
	}
}

// shown is the certificate that a client of that name gets.
func shown(t *testing.T, addr, name string) *x509.Certificate {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{ServerName: name, InsecureSkipVerify: true}) //nolint:gosec // what is shown is the question
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer func() { _ = c.Close() }()
	return c.ConnectionState().PeerCertificates[0]
}

func verify(t *testing.T, addr, name string, roots *x509.CertPool) error {
	t.Helper()
	c, err := tls.Dial("tcp", addr, &tls.Config{ServerName: name, RootCAs: roots})
	if err == nil {
		_ = c.Close()
	}
	return err
}

func TestARealAuthorityGivesACertificateThroughTheTLSPort(t *testing.T) {
	t.Parallel()
	l, port := listen(t)
	a := startAuthority(t, 1, port)
	o := local(t)
	o.ACME = &ACME{Directory: a.directory, CA: a.ca, Cache: filepath.Join(t.TempDir(), "acme"), Names: []string{"Room.example", "files.example"}, Email: "ops@lab.example"}
	c := run(t, o, l)
	addr := l.Addr().String()
	// Meanwhile there is one already.
	if cert := shown(t, addr, "localhost"); cert.VerifyHostname("localhost") != nil {
		t.Errorf("for localhost it shows %v", cert.DNSNames)
	}
	await(t, c)
	if err := verify(t, addr, "room.example", a.root); err != nil {
		t.Errorf("what is shown is not the authority's: %v", err)
	}
	for end := time.Now().Add(60 * time.Second); verify(t, addr, "files.example", a.root) != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the second name got no certificate")
		}
	}
	// Names that were not configured are not asked for, whoever says hello.
	before := a.ordered()
	for _, name := range []string{"evil.example", "x.room.example", ""} {
		if cert := shown(t, addr, name); cert.VerifyHostname("localhost") != nil {
			t.Errorf("for %q it shows %v", name, cert.DNSNames)
		}
	}
	if n := a.ordered(); n != before {
		t.Errorf("a stranger's hello made %d orders", n-before)
	}
	info, err := os.Stat(o.ACME.Cache)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the cache: %v, %v", info.Mode(), err)
	}
	files, _ := os.ReadDir(o.ACME.Cache)
	for _, f := range files {
		if info, _ := f.Info(); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", f.Name(), info.Mode())
		}
	}
	// A restart asks for nothing that is there.
	again := *o.ACME
	o.ACME = &again
	l2, _ := listen(t)
	c2 := run(t, o, l2)
	await(t, c2)
	if err := verify(t, l2.Addr().String(), "room.example", a.root); err != nil {
		t.Error(err)
	}
	if n := a.ordered(); n != before {
		t.Errorf("a restart made %d orders", n-before)
	}
}

func TestARealAuthorityGivesACertificateThroughTheRedirectPort(t *testing.T) {
	t.Parallel()
	l, _ := listen(t)
	plain, port := listen(t)
	// The port of its TLS questions is closed: it can ask by HTTP alone.
	closed, closedPort := listen(t)
	_ = closed.Close()
	a := startAuthority(t, port, closedPort)
	o := local(t)
	o.ACME = &ACME{Directory: a.directory, CA: a.ca, Cache: t.TempDir(), Names: []string{"room.example"}, HTTP: true}
	c := run(t, o, l, plain)
	await(t, c)
	if err := verify(t, l.Addr().String(), "room.example", a.root); err != nil {
		t.Error(err)
	}
	// Everything else there is redirected still.
	cl := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := cl.Get("http://" + plain.Addr().String() + "/v1/orgs?x=y")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusPermanentRedirect || resp.Header.Get("Location") != "https://"+plain.Addr().String()+"/v1/orgs" {
		t.Errorf("got %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	resp, err = cl.Get("http://" + plain.Addr().String() + "/.well-known/acme-challenge/made-up")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		t.Error("a question that nobody asked was answered")
	}
}

func TestAnAuthorityThatCannotBeReachedLeavesTheLocalCertificate(t *testing.T) {
	t.Parallel()
	l, _ := listen(t)
	closed, _ := listen(t)
	_ = closed.Close()
	o := local(t)
	o.ACME = &ACME{Directory: "https://" + closed.Addr().String() + "/dir", Cache: t.TempDir(), Names: []string{"room.example"}}
	c := run(t, o, l)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if s, _ := given(c); strings.Contains(s.Problem, "refused") {
			break
		}
		if time.Now().After(end) {
			s, _ := given(c)
			t.Fatalf("the status does not say what is wrong: %+v", s)
		}
	}
	if cert := shown(t, l.Addr().String(), "room.example"); cert.VerifyHostname("localhost") != nil {
		t.Errorf("it shows %v", cert.DNSNames)
	}
}

// own writes a certificate of the operator's.
func own(t *testing.T, dir string, names ...string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "own"}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "own.pem"), filepath.Join(dir, "own.key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestTheOperatorsOwnCertificateIsShownForItsNamesAndTheLocalOneForTheMachines(t *testing.T) {
	t.Parallel()
	l, _ := listen(t)
	o := local(t)
	o.OwnCert, o.OwnKey = own(t, t.TempDir(), "room.example")
	c := run(t, o, l)
	for name, want := range map[string]string{"room.example": "own", "localhost": "localhost", "": "localhost", "elsewhere.example": "own"} {
		cert := shown(t, l.Addr().String(), name)
		if got := cert.Subject.CommonName; got != want {
			t.Errorf("for %q it shows that of %q, want %q", name, got, want)
		}
	}
	if s := c.Status(); len(s) != 2 || s[1].Source != Own || s[1].Names[0] != "room.example" {
		t.Errorf("status: %+v", s)
	}
}

func TestACertificateThatIsNoneRefusesToStart(t *testing.T) {
	t.Parallel()
	o := local(t)
	cert, key := own(t, t.TempDir(), "room.example")
	if err := os.WriteFile(cert, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.OwnCert, o.OwnKey = cert, key
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "tls.certificate and tls.key") {
		t.Errorf("got %v", err)
	}
	o.OwnCert, o.OwnKey = "", ""
	o.ACME = &ACME{Directory: "https://127.0.0.1:1/dir", CA: []byte("nothing"), Cache: t.TempDir(), Names: []string{"room.example"}}
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "acme.ca") {
		t.Errorf("got %v", err)
	}
}
