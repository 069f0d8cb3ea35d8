// Package certs decides which certificate the server shows: the operator's
// own, one that an ACME authority gave (RFC 8555), or the local authority's.
//
// It promises that there is always one. What the server shows for a name is
// valid for that name where any of the three is; while an ACME authority has
// given nothing yet, or cannot be reached, the local one stands in, so that the
// checks and whoever trusts the local authority still come through. A renewal,
// of any of them, needs no restart. Only the configured names are asked for,
// and no handshake waits for an authority: a stranger's hello cannot make the
// server ask anybody.
//
// The server process calls [New], shows what [Certs.TLS] says and runs
// [Certs.Keep]; the supervisor makes the local certificate (see tlsca).
package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"

	"strongroom/internal/app/tlsca"
	"strongroom/internal/feature/status"
)

// Options says where certificates come from.
type Options struct {
	LocalCert, LocalKey string // of the local authority; required
	OwnCert, OwnKey     string // "": none
	ACME                *ACME  // nil: none
	Log                 *slog.Logger
}

// ACME is an authority that is asked for certificates.
type ACME struct {
	Directory string
	Email     string
	CA        []byte   // PEM, for the directory's own certificate; nil: the system's authorities
	Cache     string   // folder of the account's key and the certificates, this process's alone
	Names     []string // DNS names, and no others
	HTTP      bool     // what comes to port 80 of the names reaches [Certs.Plain]
}

// The sources of a certificate.
const (
	Local = "local"
	Own   = "own"
	Given = "acme"
)

// Certs chooses.
type Certs struct {
	o       Options
	local   func() *tls.Certificate
	own     func() *tls.Certificate // nil: none
	base    *tls.Config
	manager *autocert.Manager
	names   map[string]bool

	mu    sync.Mutex
	given map[string]*tls.Certificate
	fault map[string]string
}

// The waits between attempts at an authority that refuses. Public ones allow a
// few failures an hour.
const (
	firstRetry = time.Minute
	lastRetry  = 6 * time.Hour
	recheck    = time.Hour
)

// New loads the certificates. One of the operator's that cannot be read is an
// error; that an authority cannot be reached is not.
func New(o Options) (*Certs, error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	c := &Certs{o: o, given: map[string]*tls.Certificate{}, fault: map[string]string{}, names: map[string]bool{}}
	local, err := tlsca.Server(o.LocalCert, o.LocalKey)
	if err != nil {
		return nil, err
	}
	c.base, c.local = local, current(local)
	if o.OwnCert != "" {
		own, err := tlsca.Server(o.OwnCert, o.OwnKey)
		if err != nil {
			return nil, fmt.Errorf("tls.certificate and tls.key: %w", err)
		}
		c.own = current(own)
	}
	if o.ACME == nil {
		return c, nil
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if o.ACME.CA != nil {
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(o.ACME.CA) {
			return nil, errors.New("acme.ca: the file holds no certificate")
		}
	}
	c.manager = &autocert.Manager{Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(o.ACME.Cache), HostPolicy: c.configured,
		Email:  o.ACME.Email,
		Client: &acme.Client{DirectoryURL: o.ACME.Directory, HTTPClient: &http.Client{Transport: transport, Timeout: time.Minute}, UserAgent: "strongroom"}}
	// Before it is asked for anything: the manager tries HTTP only once it has
	// been asked for its handler.
	if o.ACME.HTTP {
		c.manager.HTTPHandler(nil)
	}
	for _, n := range o.ACME.Names {
		c.names[strings.ToLower(n)] = true
	}
	return c, nil
}

// configured is the manager's rule for names. The host of an HTTP request may
// come with a port.
func (c *Certs) configured(_ context.Context, host string) error {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if !c.names[strings.ToLower(host)] {
		return errors.New("this is none of the configured names")
	}
	return nil
}

func current(cfg *tls.Config) func() *tls.Certificate {
	return func() *tls.Certificate {
		cert, _ := cfg.GetCertificate(nil) // it never fails: the last good one stays
		return cert
	}
}

// TLS returns the settings of the server.
func (c *Certs) TLS() *tls.Config {
	cfg := c.base.Clone()
	cfg.GetCertificate = c.choose
	if c.manager != nil {
		cfg.NextProtos = append(cfg.NextProtos[:len(cfg.NextProtos):len(cfg.NextProtos)], acme.ALPNProto)
	}
	return cfg
}

// Plain answers an authority's questions over plain HTTP (HTTP-01, RFC 8555
// section 8.3), and leaves everything else to next.
func (c *Certs) Plain(next http.Handler) http.Handler {
	if c.manager == nil || !c.o.ACME.HTTP {
		return next
	}
	return c.manager.HTTPHandler(next)
}

func (c *Certs) choose(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.manager != nil && len(h.SupportedProtos) == 1 && h.SupportedProtos[0] == acme.ALPNProto {
		return c.manager.GetCertificate(h) // an authority's question (RFC 8737)
	}
	name := strings.ToLower(strings.TrimSuffix(h.ServerName, "."))
	if c.names[name] {
		c.mu.Lock()
		ready := c.given[name] != nil
		c.mu.Unlock()
		if ready {
			if cert, err := c.manager.GetCertificate(hello(name)); err == nil {
				return cert, nil
			}
		}
	}
	local := c.local()
	if c.own == nil {
		return local, nil
	}
	own := c.own()
	if name == "" && h.Conn != nil { // by address: there is no name in the hello
		if host, _, err := net.SplitHostPort(h.Conn.LocalAddr().String()); err == nil {
			name = host
		}
	}
	if own.Leaf.VerifyHostname(name) != nil && local.Leaf.VerifyHostname(name) == nil {
		return local, nil
	}
	return own, nil
}

// hello asks the manager for a name as a modern client does: one kind of key,
// whoever asks.
func hello(name string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{ServerName: name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
}

// Keep asks the ACME authority for what is missing until ctx ends. What was
// given is renewed by itself, 30 days before its end.
func (c *Certs) Keep(ctx context.Context) {
	if c.manager == nil {
		return
	}
	var all sync.WaitGroup
	for name := range c.names {
		all.Go(func() { c.keep(ctx, name) })
	}
	all.Wait()
}

func (c *Certs) keep(ctx context.Context, name string) {
	retry := firstRetry
	for {
		wait := recheck
		cert, err := c.manager.GetCertificate(hello(name))
		c.mu.Lock()
		if err == nil {
			if c.given[name] == nil || c.given[name].Leaf.SerialNumber.Cmp(cert.Leaf.SerialNumber) != 0 {
				c.o.Log.Info("certificate given by the ACME authority", "name", name, "valid_until", cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
			}
			c.given[name], retry = cert, firstRetry
			delete(c.fault, name)
		} else {
			c.fault[name] = oneLine(err)
			wait, retry = retry, min(2*retry, lastRetry)
			c.o.Log.Error("the ACME authority gave no certificate", "name", name, "error", oneLine(err), "next_try_in", wait.String())
		}
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

func oneLine(err error) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}

// Status lists the certificates that the server shows.
func (c *Certs) Status() []status.Certificate {
	out := []status.Certificate{of(Local, c.local().Leaf)}
	if c.own != nil {
		out = append(out, of(Own, c.own().Leaf))
	}
	if c.manager == nil {
		return out
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range c.o.ACME.Names {
		name = strings.ToLower(name)
		s := status.Certificate{Source: Given, Names: []string{name}, Problem: c.fault[name]}
		if cert := c.given[name]; cert != nil {
			s.NotAfter = cert.Leaf.NotAfter.UTC()
		} else if s.Problem == "" {
			s.Problem = "it is being asked for"
		}
		out = append(out, s)
	}
	return out
}

func of(source string, leaf *x509.Certificate) status.Certificate {
	names := append([]string{}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return status.Certificate{Source: source, Names: names, NotAfter: leaf.NotAfter.UTC()}
}
