// Package tlsca gives an installation TLS without anybody's help: a local
// certificate authority, and a server certificate signed by it.
//
// It keeps these true: TLS is 1.2 or newer, with forward secrecy and AEAD
// ciphers only; private keys are ECDSA P-256 in files of mode 0600, the
// authority's readable by the supervisor alone and the server's by the server;
// a certificate is renewed well before it expires, and a running server picks
// the new one up without a restart. Clients trust tls/ca.pem, which stays the
// same for years.
//
// The supervisor calls [Ensure] at start and [Keep] while it runs; the server
// gets its settings from [Server], clients theirs from [Client].
package tlsca

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"strongroom/internal/osproc"
)

// The files in the folder.
const (
	CAFile     = "ca.pem"     // what clients trust
	caKeyFile  = "ca.key"     // the supervisor's
	CertFile   = "server.pem" // what the server shows
	KeyFile    = "server.key" // the server's
	caLife     = 10 * 365 * 24 * time.Hour
	serverLife = 90 * 24 * time.Hour
	backdate   = time.Hour // a client's clock may be slow
)

// A certificate is renewed when less than this is left.
const (
	caRenew     = 2 * 365 * 24 * time.Hour
	serverRenew = 30 * 24 * time.Hour
)

// Options says where the files are and what the certificate is for.
type Options struct {
	Dir    string           // must exist
	Names  []string         // DNS names and IP addresses of the server, beside this machine's own
	Server *osproc.User     // who reads the server's key; nil: the caller
	Now    func() time.Time // nil: the clock
	Log    *slog.Logger     // nil: silent
}

// Ensure makes or renews what is missing, expiring, unreadable or not for these
// names. An authority that exists is kept: its clients trust it.
func Ensure(o Options) error {
	_, err := ensure(o)
	return err
}

func ensure(o Options) (renewed bool, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	names, err := serverNames(o.Names)
	if err != nil {
		return false, err
	}
	ca, err := o.authority()
	if err != nil {
		return false, fmt.Errorf("local certificate authority in %s: %w", o.Dir, err)
	}
	if o.serverIsGood(ca, names) {
		return false, nil
	}
	if err := o.issue(ca, names); err != nil {
		return false, fmt.Errorf("server certificate in %s: %w", o.Dir, err)
	}
	o.Log.Info("server certificate made", "names", strings.Join(names, " "), "valid_until", o.Now().Add(serverLife).UTC().Format(time.RFC3339))
	return true, nil
}

// Keep renews the certificate while ctx lasts. A failure is logged and tried
// again: days are left.
func Keep(ctx context.Context, o Options) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := Ensure(o); err != nil {
				o.Log.Error("server certificate not renewed", "error", err)
			}
		}
	}
}

type pair struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// authority loads the local authority, or makes one where there is none. One
// that exists but cannot be read is an error: a new one would silently lock out
// every client that trusts the old.
func (o Options) authority() (*pair, error) {
	certPath, keyPath := filepath.Join(o.Dir, CAFile), filepath.Join(o.Dir, caKeyFile)
	certPEM, certErr := os.ReadFile(certPath)
	keyPEM, keyErr := os.ReadFile(keyPath)
	switch {
	case errors.Is(certErr, fs.ErrNotExist): // the certificate is written last: without it nobody trusts the key
		return o.newAuthority()
	case certErr != nil:
		return nil, certErr
	case keyErr != nil:
		return nil, fmt.Errorf("%w; put it back, or remove %s to make a new authority, which every client must then trust anew", keyErr, certPath)
	}
	ca, err := parse(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("%w; put the files back, or remove %s to make a new authority, which every client must then trust anew", err, certPath)
	}
	if !ca.cert.IsCA {
		return nil, fmt.Errorf("%s is not the certificate of an authority", certPath)
	}
	if o.Now().Add(caRenew).After(ca.cert.NotAfter) {
		o.Log.Warn("the local certificate authority nears its end: a new one is made, and clients need the new ca.pem", "ends", ca.cert.NotAfter)
		return o.newAuthority()
	}
	return ca, os.Chmod(keyPath, 0o600)
}

func (o Options) newAuthority() (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	template, err := o.template("Strongroom local authority of "+host, caLife)
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.MaxPathLenZero = true // it signs servers, never another authority
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if err := writeKey(filepath.Join(o.Dir, caKeyFile), key, nil); err != nil {
		return nil, err
	}
	if err := write(filepath.Join(o.Dir, CAFile), encode("CERTIFICATE", der), 0o644, nil); err != nil {
		return nil, err
	}
	return &pair{cert: cert, key: key}, nil
}

func (o Options) issue(ca *pair, names []string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template, err := o.template(names[0], serverLife)
	if err != nil {
		return err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return err
	}
	// The key first: a reader that meets the new key with the old certificate
	// sees that they do not match and keeps what it has.
	if err := writeKey(filepath.Join(o.Dir, KeyFile), key, o.Server); err != nil {
		return err
	}
	return write(filepath.Join(o.Dir, CertFile), encode("CERTIFICATE", der), 0o644, nil)
}

func (o Options) template(name string, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := o.Now()
	return &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), // never zero: RFC 5280, section 4.1.2.2
		Subject:      pkix.Name{CommonName: name, Organization: []string{"Strongroom"}},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(life),
	}, nil
}

// serverIsGood reports whether the server's certificate is this authority's, for
// exactly these names, has time left, and fits its key.
func (o Options) serverIsGood(ca *pair, names []string) bool {
	certPEM, err := os.ReadFile(filepath.Join(o.Dir, CertFile))
	if err != nil {
		return false
	}
	keyPEM, err := os.ReadFile(filepath.Join(o.Dir, KeyFile))
	if err != nil {
		return false
	}
	s, err := parse(certPEM, keyPEM)
	if err != nil {
		return false
	}
	has := slices.Clone(s.cert.DNSNames)
	for _, ip := range s.cert.IPAddresses {
		has = append(has, ip.String())
	}
	slices.Sort(has)
	want := slices.Sorted(slices.Values(names))
	if !slices.Equal(has, want) || s.cert.CheckSignatureFrom(ca.cert) != nil {
		return false
	}
	now := o.Now()
	if now.Before(s.cert.NotBefore) || now.Add(serverRenew).After(s.cert.NotAfter) {
		return false
	}
	keyPath := filepath.Join(o.Dir, KeyFile)
	return os.Chmod(keyPath, 0o600) == nil && o.Server.Own(keyPath) == nil
}

// serverNames returns the configured names and what this machine is called,
// in their canonical spelling, each once.
func serverNames(extra []string) ([]string, error) {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil && validName(strings.ToLower(host)) {
		names = append(names, strings.ToLower(host))
	}
	for _, n := range extra {
		if ip := net.ParseIP(n); ip != nil {
			n = ip.String()
		} else if n = strings.ToLower(strings.TrimSuffix(n, ".")); !validName(n) {
			return nil, fmt.Errorf("server name %q: neither a DNS name nor an IP address", n)
		}
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return names, nil
}

// validName accepts DNS names of RFC 1123, and a wildcard as the first label.
func validName(n string) bool {
	if len(n) == 0 || len(n) > 253 {
		return false
	}
	for i, label := range strings.Split(n, ".") {
		if i == 0 && label == "*" && strings.Contains(n, ".") {
			continue
		}
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

// parse reads a certificate and its key, and refuses a pair that does not
// match.
func parse(certPEM, keyPEM []byte) (*pair, error) {
	p, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	key, ok := p.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key cannot sign")
	}
	return &pair{cert: p.Leaf, key: key}, nil
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func writeKey(path string, key *ecdsa.PrivateKey, owner *osproc.User) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return write(path, encode("PRIVATE KEY", der), 0o600, owner)
}

// write replaces a file durably: it is the old or the new one, and a key is
// never open to others, not for an instant.
func write(path string, content []byte, mode fs.FileMode, owner *osproc.User) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil && owner != nil {
		err = f.Chown(int(owner.UID), int(owner.GID))
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// ciphers are what TLS 1.2 may use: forward secrecy, AEAD, and a certificate
// of either kind. TLS 1.3 has its own, all good.
var ciphers = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// recheck is how often a server looks whether its certificate was renewed.
const recheck = time.Minute

// Server returns the TLS settings of a server that shows the certificate in
// certFile. They follow the files: a renewal needs no restart, and a pair that
// cannot be read, or does not match because it is just being replaced, leaves
// the last good one in use.
func Server(certFile, keyFile string) (*tls.Config, error) {
	r := &reloader{certFile: certFile, keyFile: keyFile}
	if err := r.load(time.Now()); err != nil {
		return nil, fmt.Errorf("TLS certificate: %w", err)
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		CipherSuites:   ciphers,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return r.current(time.Now()), nil },
	}, nil
}

type reloader struct {
	certFile, keyFile string

	mu      sync.Mutex
	cert    *tls.Certificate
	stamp   time.Time // of the certificate's file
	checked time.Time
}

func (r *reloader) load(now time.Time) error {
	r.checked = now
	info, err := os.Stat(r.certFile)
	if err != nil {
		return err
	}
	if r.cert != nil && info.ModTime().Equal(r.stamp) {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(r.certFile, r.keyFile)
	if err != nil {
		return err
	}
	r.cert, r.stamp = &cert, info.ModTime()
	return nil
}

func (r *reloader) current(now time.Time) *tls.Certificate {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.checked) >= recheck {
		_ = r.load(now) // the next look may find a whole pair
	}
	return r.cert
}

// Client returns the TLS settings of a client that trusts the authority in
// caFile and no other.
func Client(caFile string) (*tls.Config, error) {
	b, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no certificate", caFile)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: ciphers, RootCAs: pool}, nil
}

// Fingerprint returns the SHA-256 of the authority's certificate in hex, for a
// person to compare.
func Fingerprint(caFile string) (string, error) {
	b, err := os.ReadFile(caFile)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return "", fmt.Errorf("%s holds no certificate", caFile)
	}
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:]), nil
}
