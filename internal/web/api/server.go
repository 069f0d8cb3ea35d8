package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Limits of a connection. There is no limit on a whole request or answer, as
// files of any size pass: bodies and answers are paced instead.
const (
	headTime   = 10 * time.Second
	idleTime   = 2 * time.Minute
	maxHead    = 32 << 10
	maxStreams = 100
	helloTime  = 5 * time.Second
	maxHellos  = 1024
)

// ServeOptions configures Serve. Listener, TLS and Handler are required.
type ServeOptions struct {
	// Listener takes connections of both kinds: those that begin with a TLS
	// handshake are served, plain HTTP is sent to https on the same port.
	Listener net.Listener
	TLS      *tls.Config // the certificate; at least TLS 1.2
	Handler  http.Handler
	// Plain puts something before the redirect of plain HTTP; nil: nothing.
	Plain func(redirect http.Handler) http.Handler
	// Grace is how long requests under way may take to end after ctx is done.
	// Default: 20 s.
	Grace time.Duration
	Log   *slog.Logger
}

// Serve answers requests until ctx is done, and returns when those under way
// have ended. Closing the listener is its own business.
func Serve(ctx context.Context, o ServeOptions) error {
	if o.Listener == nil || o.Handler == nil {
		return errors.New("api: ServeOptions.Listener and Handler are required")
	}
	if o.TLS == nil || len(o.TLS.Certificates) == 0 && o.TLS.GetCertificate == nil && o.TLS.GetConfigForClient == nil {
		return errors.New("api: ServeOptions.TLS has no certificate: nothing is served without TLS")
	}
	if o.TLS.MinVersion != 0 && o.TLS.MinVersion < tls.VersionTLS12 {
		return fmt.Errorf("api: ServeOptions.TLS.MinVersion is %s; it must be TLS 1.2 or newer", tls.VersionName(o.TLS.MinVersion))
	}
	if o.Grace == 0 {
		o.Grace = 20 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	cfg := o.TLS.Clone()
	cfg.MinVersion = max(cfg.MinVersion, tls.VersionTLS12)
	both := split(o.Listener)
	secure := server(o.Handler, o.Log)
	secure.TLSConfig = cfg
	inClear := http.Handler(http.HandlerFunc(redirect))
	if o.Plain != nil {
		inClear = o.Plain(inClear)
	}
	plain := server(inClear, o.Log)
	plain.SetKeepAlivesEnabled(false)

	ended := make(chan error, 2)
	go func() { ended <- secure.ServeTLS(both.secure, "", "") }()
	go func() { ended <- plain.Serve(both.plain) }()
	var err error
	running := 2
	select {
	case <-ctx.Done():
	case err = <-ended:
		running--
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.Grace)
	defer cancel()
	_ = o.Listener.Close()
	_ = plain.Close()
	if late := secure.Shutdown(grace); late != nil {
		_ = secure.Close()
		o.Log.Warn("requests were still under way at the end of the grace period")
	}
	for ; running > 0; running-- {
		o.Log.Debug("stopped", "cause", describe(<-ended))
	}
	both.wait()
	if err != nil && !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
		return fmt.Errorf("api: %w", err)
	}
	return nil
}

func server(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHead,
		// Otherwise "OPTIONS *" would be answered before any of us sees it.
		DisableGeneralOptionsHandler: true,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: time.Minute, PingTimeout: 15 * time.Second,
			WriteByteTimeout: writeIdle},
		// net/http's own lines hold client addresses and what clients sent.
		ErrorLog: log.New(quiet{logger}, "", 0),
	}
}

// quiet says that the HTTP server complained, and not what about.
type quiet struct{ log *slog.Logger }

func (q quiet) Write(b []byte) (int, error) {
	what := "connection error"
	if strings.HasPrefix(string(b), "http: TLS handshake error") {
		what = "TLS handshake error"
	}
	q.log.Debug(what)
	return len(b), nil
}

var hostForm = regexp.MustCompile(`^(\[[0-9a-fA-F:.]+\]|[0-9A-Za-z]([0-9A-Za-z.-]{0,251}[0-9A-Za-z])?)(:[0-9]{1,5})?$`)

// redirect sends plain HTTP to the same place over TLS, with an empty body
// and without the query: what was sent in the clear is not repeated. 308
// keeps the method, so that a client that posts does not turn to reading.
func redirect(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Connection", "close")
	h.Set("Content-Length", "0")
	h.Set("Cache-Control", "no-store")
	path, ok := r.URL.Path, true
	if path != "/" {
		_, ok = plainPath(path)
	}
	if !ok || !hostForm.MatchString(r.Host) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	h.Set("Location", "https://"+r.Host+path)
	w.WriteHeader(http.StatusPermanentRedirect)
}

// splitter tells TLS from plain connections by their first byte, so that one
// port serves both: people type addresses without https.
type splitter struct {
	base          net.Listener
	secure, plain *channel
	wg            sync.WaitGroup
}

func split(l net.Listener) *splitter {
	s := &splitter{base: l}
	s.secure, s.plain = newChannel(l.Addr()), newChannel(l.Addr())
	s.wg.Add(1)
	go func() { defer s.wg.Done(); s.accept() }()
	return s
}

func (s *splitter) wait() { s.wg.Wait() }

func (s *splitter) accept() {
	var once sync.Once
	end := func(err error) { once.Do(func() { s.secure.fail(err); s.plain.fail(err) }) }
	hellos := make(chan struct{}, maxHellos)
	pause := 5 * time.Millisecond
	for {
		c, err := s.base.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				end(net.ErrClosed)
				return
			}
			// Too many open files, as a rule: wait for some to close.
			time.Sleep(pause)
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		hellos <- struct{}{}
		s.wg.Add(1)
		go func() {
			defer s.wg.Done()
			defer func() { <-hellos }()
			s.sort(c)
		}()
	}
}

// tlsHandshake is the first byte of every TLS connection (RFC 8446 section
// 5.1); no HTTP method begins with it.
const tlsHandshake = 0x16

func (s *splitter) sort(c net.Conn) {
	var first [1]byte
	_ = c.SetReadDeadline(time.Now().Add(helloTime))
	if _, err := io.ReadFull(c, first[:]); err != nil {
		_ = c.Close()
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	to := s.plain
	if first[0] == tlsHandshake {
		to = s.secure
	}
	to.give(&peeked{Conn: c, first: first[:]})
}

// peeked is a connection whose first byte was read and is read again.
type peeked struct {
	net.Conn
	first []byte
}

func (p *peeked) Read(b []byte) (int, error) {
	if len(p.first) > 0 && len(b) > 0 {
		n := copy(b, p.first)
		p.first = p.first[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// channel is a listener that is handed its connections.
type channel struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	err    error
}

func newChannel(a net.Addr) *channel {
	return &channel{addr: a, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *channel) give(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.closed:
		_ = c.Close()
	}
}

func (l *channel) fail(err error) {
	l.once.Do(func() { l.err = err; close(l.closed) })
}

func (l *channel) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, l.err
	}
}

// Close ends this half; the other goes on.
func (l *channel) Close() error {
	l.fail(net.ErrClosed)
	return nil
}

// Addr is that of the shared port.
func (l *channel) Addr() net.Addr { return l.addr }
