package tlsca

import (
	"bytes"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"strongroom/internal/osproc"
)

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	content := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		content[e.Name()] = string(b)
	}
	return content
}

func ensured(t *testing.T, o Options) map[string]string {
	t.Helper()
	if err := Ensure(o); err != nil {
		t.Fatal(err)
	}
	return files(t, o.Dir)
}

// serve answers one connection after another with the server's settings.
func serve(t *testing.T, config *tls.Config) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("hello"))
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

func paths(dir string) (ca, cert, key string) {
	return filepath.Join(dir, CAFile), filepath.Join(dir, CertFile), filepath.Join(dir, KeyFile)
}

func TestAClientTrustsTheServerByTheLocalAuthorityAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ensured(t, Options{Dir: dir, Names: []string{"Lab.Example.", "10.1.2.3", "*.example.org"}})
	ca, cert, key := paths(dir)
	server, err := Server(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	if server.MinVersion != tls.VersionTLS12 { // the ciphers alone would refuse TLS 1.1 too
		t.Errorf("the oldest version is %x", server.MinVersion)
	}
	addr := serve(t, server)
	client, err := Client(ca)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "lab.example", "10.1.2.3", "a.example.org"} {
		c := client.Clone()
		c.ServerName = name
		conn, err := tls.Dial("tcp", addr, c)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_ = conn.Close()
	}
	stranger := client.Clone()
	stranger.ServerName = "elsewhere.example"
	other := t.TempDir()
	ensured(t, Options{Dir: other})
	foreign, err := Client(filepath.Join(other, CAFile))
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]*tls.Config{
		"a name that it was not made for":   stranger,
		"an authority that did not sign it": foreign,
		"the machine's authorities":         {},
		"TLS 1.1":                           {RootCAs: client.RootCAs, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10},
		"a cipher without AEAD":             {RootCAs: client.RootCAs, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}},
	} {
		if conn, err := tls.Dial("tcp", addr, c); err == nil {
			_ = conn.Close()
			t.Errorf("a client was let in with %s", what)
		}
	}
	twelve := client.Clone()
	twelve.MaxVersion = tls.VersionTLS12
	conn, err := tls.Dial("tcp", addr, twelve)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
}

func TestEachFileIsOpenToItsReaderAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	user, err := osproc.EnsureUser("strongroom-test")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: dir, Server: user}
	ensured(t, o)
	// As after a copy that lost modes and owners.
	for _, name := range []string{caKeyFile, KeyFile} {
		if err := os.Chmod(filepath.Join(dir, name), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(dir, name), os.Geteuid(), os.Getegid()); err != nil {
			t.Fatal(err)
		}
	}
	ensured(t, o)
	me := uint32(os.Geteuid())
	reader := me
	if user != nil {
		reader = user.UID
	}
	for name, want := range map[string]struct {
		mode  os.FileMode
		owner uint32
	}{CAFile: {0o644, me}, caKeyFile: {0o600, me}, CertFile: {0o644, me}, KeyFile: {0o600, reader}} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if uid := info.Sys().(*syscall.Stat_t).Uid; info.Mode().Perm() != want.mode || uid != want.owner {
			t.Errorf("%s: mode %v, user %d; want %v, %d", name, info.Mode(), uid, want.mode, want.owner)
		}
	}
	if n := len(files(t, dir)); n != 4 {
		t.Errorf("%d files, want 4", n)
	}
}

func TestRenewalKeepsTheAuthority(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	o := Options{Dir: dir, Now: func() time.Time { return now }}
	first := ensured(t, o)
	again := ensured(t, o)
	if first[CertFile] != again[CertFile] || first[KeyFile] != again[KeyFile] {
		t.Error("a good certificate was replaced")
	}
	for name, step := range map[string]func(){
		"59 days later":     func() { now = now.Add(serverLife - serverRenew + time.Hour) },
		"names change":      func() { o.Names = append(o.Names, "x"+now.Format("050405")+".example") },
		"the key is lost":   func() { _ = os.Remove(filepath.Join(dir, KeyFile)) },
		"a file is damaged": func() { _ = os.WriteFile(filepath.Join(dir, CertFile), []byte("x"), 0o644) },
	} {
		before := files(t, dir)
		step()
		after := ensured(t, o)
		if after[CertFile] == before[CertFile] || after[KeyFile] == before[KeyFile] || after[CAFile] != first[CAFile] || after[caKeyFile] != first[caKeyFile] {
			t.Errorf("%s: the server's pair must be new and the authority the old one", name)
		}
	}
	now = now.Add(caLife - caRenew)
	if last := ensured(t, o); last[CAFile] == first[CAFile] {
		t.Error("the authority was kept to its end")
	}
}

func TestADamagedAuthorityIsNotReplacedSilently(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(dir string) error{
		"its key is lost":            func(dir string) error { return os.Remove(filepath.Join(dir, caKeyFile)) },
		"its certificate is damaged": func(dir string) error { return os.WriteFile(filepath.Join(dir, CAFile), []byte("x"), 0o644) },
		"the key is of another":      func(dir string) error { return os.Rename(filepath.Join(dir, KeyFile), filepath.Join(dir, caKeyFile)) },
		"it is a server's, not a CA's": func(dir string) error {
			_ = os.Rename(filepath.Join(dir, KeyFile), filepath.Join(dir, caKeyFile))
			return os.Rename(filepath.Join(dir, CertFile), filepath.Join(dir, CAFile))
		},
	} {
		dir := t.TempDir()
		ensured(t, Options{Dir: dir})
		if err := damage(dir); err != nil {
			t.Fatal(err)
		}
		before := files(t, dir)
		if err := Ensure(Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: got %v", name, err)
		}
		after := files(t, dir)
		if before[CAFile] != after[CAFile] || before[caKeyFile] != after[caKeyFile] {
			t.Errorf("%s: the authority was changed", name)
		}
	}
}

func TestARunningServerPicksUpARenewedCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ensured(t, Options{Dir: dir})
	_, cert, key := paths(dir)
	start := time.Now()
	r := &reloader{certFile: cert, keyFile: key}
	if err := r.load(start); err != nil {
		t.Fatal(err)
	}
	old := r.current(start)
	ensured(t, Options{Dir: dir, Names: []string{"new.example"}})
	if err := os.Chtimes(cert, start.Add(time.Hour), start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if r.current(start.Add(recheck-time.Second)) != old {
		t.Error("it looks at the files at every handshake")
	}
	renewed := r.current(start.Add(recheck))
	if renewed == old || renewed.Leaf.VerifyHostname("new.example") != nil {
		t.Error("the renewed certificate is not in use")
	}
	if err := os.WriteFile(cert, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r.current(start.Add(3*recheck)) != renewed {
		t.Error("a damaged file put the last good certificate out of use")
	}
}

func TestNamesThatNoCertificateCanHaveAreRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a b", "https://x", "x:443", "-x.example", "a..b", "*", "a.*.b", strings.Repeat("a", 64) + ".example", "exämple"} {
		if err := Ensure(Options{Dir: t.TempDir(), Names: []string{name}}); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
}

func TestTheFingerprintIsOfTheCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ensured(t, Options{Dir: dir})
	ca, cert, _ := paths(dir)
	a, err := Fingerprint(ca)
	b, err2 := Fingerprint(cert)
	if err != nil || err2 != nil || len(a) != 64 || a == b {
		t.Errorf("%s, %s, %v, %v", a, b, err, err2)
	}
}

func TestALeafHoldsEveryNameOnce(t *testing.T) {
	t.Parallel()
	names, err := serverNames([]string{"LOCALHOST", "0:0:0:0:0:0:0:1", "a.example", "A.example."})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, n := range names {
		if seen[n] {
			t.Errorf("%s twice", n)
		}
		seen[n] = true
	}
	if !seen["a.example"] || !seen[net.IPv6loopback.String()] || bytes.ContainsRune([]byte(strings.Join(names, "")), 'A') {
		t.Error(names)
	}
}
