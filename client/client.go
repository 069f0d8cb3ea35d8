// Package client talks to a Strongroom installation from Go.
//
// What it promises: every call returns a typed answer or an error that says
// what went wrong ([*Problem] when the server answered, [*Unreachable] when it
// did not); files and exports are streams, so that memory stays constant
// whatever their size; a request is repeated only where the repetition cannot
// do anything twice; a token never travels over a connection that is not TLS
// 1.2 or newer with a certificate that checks, never follows a redirect and
// prints as [secret].
//
// It imports the standard library only. To add a route, add its types to
// types.go and one method beside its neighbours: [Client.call] does the rest.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	mrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// stall is how long a connection may stay silent in both directions. It
	// bounds every call without bounding how long a large file may take.
	stall = 2 * time.Minute

	defaultAttempts = 4
	maxAnswer       = 256 << 20 // bytes of a JSON answer
	maxProblem      = 1 << 20   // bytes of a problem document
)

// Options say where a server is and how to trust it.
type Options struct {
	// URL is the server's base, as in https://strongroom.example:8443. Only
	// https is accepted: a token must not travel in clear.
	URL string
	// Token is a session token or an API key; without one only SignIn works.
	Token Secret
	// CA holds PEM certificates. When given, they alone are trusted, not the
	// system's: an installation with a CA of its own needs no other.
	CA []byte
	// Purpose is what data is asked for, which goes on record with every
	// request; empty: service.
	Purpose string
	// UserAgent is sent with every request; empty: a name of our own.
	UserAgent string
	// Attempts bounds how often a repeatable request is sent; 0: four times.
	Attempts int
}

// Client calls one server as one caller. It is safe for concurrent use.
type Client struct {
	base     *url.URL
	token    Secret
	agent    string
	purpose  string
	attempts int
	http     *http.Client
}

// New returns a client for the server that o describes. It sends nothing.
func New(o Options) (*Client, error) {
	base, err := url.Parse(o.URL)
	switch {
	case err != nil || base.Host == "":
		return nil, errors.New("client: the server's URL is not a URL such as https://host:port")
	case base.Scheme != "https":
		return nil, errors.New("client: the server's URL must begin with https://")
	case base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return nil, errors.New("client: the server's URL must hold no user, query or fragment")
	}
	tlsConfig := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(o.CA) > 0 {
		tlsConfig.RootCAs = x509.NewCertPool()
		if !tlsConfig.RootCAs.AppendCertsFromPEM(o.CA) {
			return nil, errors.New("client: the CA file holds no PEM certificate")
		}
	}
	return newClient(base, o, &http.Transport{
		Proxy:           http.ProxyFromEnvironment,
		DialContext:     dialer(stall, (&net.Dialer{Timeout: 10 * time.Second}).DialContext),
		TLSClientConfig: tlsConfig,
	}), nil
}

func newClient(base *url.URL, o Options, t *http.Transport) *Client {
	t.TLSHandshakeTimeout = 10 * time.Second
	t.MaxIdleConnsPerHost = 16
	t.IdleConnTimeout = stall
	// A body that compresses well must not be inflated without bound, and a
	// range is a range of the file's bytes, not of their compressed form.
	t.DisableCompression = true
	// HTTP/1.1 lets the server refuse an upload before its first byte (Expect:
	// 100-continue, RFC 9110 10.1.1), which Go's HTTP/2 does not.
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.ExpectContinueTimeout = 3 * time.Second
	c := &Client{base: base, token: o.Token, agent: o.UserAgent, purpose: o.Purpose, attempts: o.Attempts, http: &http.Client{
		Transport: t,
		// A redirect could carry the token to another place.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if c.agent == "" {
		c.agent = "strongroom-client/1"
	}
	if c.attempts <= 0 {
		c.attempts = defaultAttempts
	}
	return c
}

// WithToken returns a client that shares c's connections and calls as another.
func (c *Client) WithToken(t Secret) *Client {
	other := *c
	other.token = t
	return &other
}

// Close closes the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// repeat says when sending a request a second time is safe.
type repeat uint8

const (
	// unsent: only when the first one never left, or was turned away at the
	// rate limit.
	unsent repeat = iota
	// always: reads, which change nothing, and writes under an
	// Idempotency-Key, which happen once however often they are sent.
	always
)

// call is one exchange of JSON.
type call struct {
	method string
	path   []string // segments, escaped one by one
	verb   string   // ":restore", after the last segment
	query  url.Values
	header http.Header
	in     any // []byte is JSON already
	out    any
	repeat repeat
}

func (c *Client) call(ctx context.Context, k call) (http.Header, error) {
	target, err := c.url(k.path, k.verb, k.query)
	if err != nil {
		return nil, err
	}
	header := k.header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set("Accept", "application/json")
	var body []byte
	if k.in != nil {
		if body, err = encode(k.in); err != nil {
			return nil, fmt.Errorf("client: the request cannot be written as JSON: %w", err)
		}
		header.Set("Content-Type", "application/json")
	}
	open := func() (io.Reader, int64, error) {
		if k.in == nil {
			return nil, 0, nil
		}
		return bytes.NewReader(body), int64(len(body)), nil
	}
	res, err := c.send(ctx, k.method, target, header, open, k.repeat)
	if err != nil {
		return nil, err
	}
	defer drain(res)
	if k.out == nil {
		return res.Header, nil
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, unreachable(ctx, c.base, err)
	case len(answer) > maxAnswer:
		return nil, fmt.Errorf("client: the answer is larger than %d bytes", maxAnswer)
	}
	if err := json.Unmarshal(answer, k.out); err != nil {
		return nil, fmt.Errorf("client: the server at %s does not answer as Strongroom does: %w", c.base.Host, err)
	}
	return res.Header, nil
}

// encode writes JSON without the HTML escapes, so that content arrives with
// the characters its author wrote.
func encode(v any) ([]byte, error) {
	if text, ok := v.([]byte); ok {
		return text, nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

// url joins escaped segments to the base. An empty or dotted segment would
// name another route than the caller meant.
func (c *Client) url(segments []string, verb string, query url.Values) (string, error) {
	var b strings.Builder
	b.WriteString(strings.TrimSuffix(c.base.EscapedPath(), "/"))
	for _, s := range segments {
		if s == "" || s == "." || s == ".." {
			return "", errors.New("client: an identifier in the path is empty or made of dots")
		}
		b.WriteByte('/')
		// A colon begins a verb, so one inside an identifier is escaped too.
		b.WriteString(strings.ReplaceAll(url.PathEscape(s), ":", "%3A"))
	}
	b.WriteString(verb)
	u := c.base.Scheme + "://" + c.base.Host + b.String()
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	return u, nil
}

// send sends a request, again where that is safe, and returns the answer if it
// is a success, else the *Problem. open returns a fresh body and its length
// (negative: unknown), or errSpent when the body cannot be had twice.
func (c *Client) send(ctx context.Context, method, target string, header http.Header, open func() (io.Reader, int64, error), rep repeat) (*http.Response, error) {
	var last error
	for attempt := range c.attempts {
		if attempt > 0 {
			if err := pause(ctx, attempt, last); err != nil {
				return nil, last
			}
		}
		body, length, err := open()
		if errors.Is(err, errSpent) && last != nil {
			return nil, last
		} else if err != nil {
			return nil, err
		}
		req, err := http.NewRequestWithContext(ctx, method, target, nil)
		if err != nil {
			return nil, fmt.Errorf("client: %w", err)
		}
		req.Header = header.Clone()
		req.Header.Set("User-Agent", c.agent)
		if c.purpose != "" {
			req.Header.Set("Strongroom-Purpose", c.purpose)
		}
		if !c.token.IsZero() {
			req.Header.Set("Authorization", "Bearer "+c.token.Reveal())
		}
		if body != nil {
			req.ContentLength = length
			if req.Body = io.NopCloser(body); length == 0 {
				req.Body = http.NoBody
			}
		}
		res, err := c.http.Do(req)
		if err == nil && res.StatusCode < 300 {
			return res, nil
		}
		if err == nil {
			last = problem(res)
		} else {
			last = unreachable(ctx, c.base, err)
		}
		if ctx.Err() != nil || !again(last, rep, attempt) {
			return nil, last
		}
	}
	return nil, last
}

var errSpent = errors.New("client: the body was already sent and cannot be read again")

// again reports whether sending once more is both safe and useful.
func again(err error, rep repeat, attempt int) bool {
	var p *Problem
	var u *Unreachable
	switch {
	case errors.As(err, &p):
		switch p.Status {
		case http.StatusTooManyRequests:
			return true
		case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
			return rep == always
		case http.StatusConflict:
			// A repetition that meets the first request still under way.
			return rep == always && attempt > 0
		}
	case errors.As(err, &u):
		return !u.Untrusted && (u.Unsent || rep == always)
	}
	return false
}

// pause waits before an attempt: as long as the server asked, or exponentially
// with full jitter, so that many clients do not come back in step.
func pause(ctx context.Context, attempt int, last error) error {
	wait := time.Duration(mrand.Int64N(int64(200*time.Millisecond) << attempt))
	var p *Problem
	if errors.As(last, &p) && p.RetryAfter > 0 {
		wait = min(p.RetryAfter, 30*time.Second)
	}
	if d, ok := ctx.Deadline(); ok && time.Until(d) < wait {
		return context.DeadlineExceeded
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drain lets the connection be used again, if little is left to read.
func drain(res *http.Response) {
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
	_ = res.Body.Close()
}

// newKey returns an Idempotency-Key.
func newKey() http.Header { return http.Header{"Idempotency-Key": {rand.Text()}} }

// ifMatch names the version that a change was made from.
func ifMatch(version int64) http.Header {
	return http.Header{"If-Match": {`"` + strconv.FormatInt(version, 10) + `"`}}
}

// versionOf reads a strong ETag, the integer version; 0: none.
func versionOf(h http.Header) int64 {
	s, ok := strings.CutPrefix(h.Get("ETag"), `"`)
	if s, ok2 := strings.CutSuffix(s, `"`); ok && ok2 {
		if v, err := strconv.ParseInt(s, 10, 64); err == nil && v > 0 {
			return v
		}
	}
	return 0
}

// dialer wraps a dial so that a connection which stays silent for too long
// ends, in either direction. Each byte read or written renews both deadlines:
// while an upload runs, the pending read of its answer must not time out.
func dialer(patience time.Duration, dial func(ctx context.Context, network, addr string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &watched{conn, patience}, nil
	}
}

type watched struct {
	net.Conn
	patience time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	_ = w.SetDeadline(time.Now().Add(w.patience))
	return w.Conn.Read(p)
}

func (w *watched) Write(p []byte) (int, error) {
	_ = w.SetDeadline(time.Now().Add(w.patience))
	return w.Conn.Write(p)
}

func retryAfter(h http.Header) time.Duration {
	if n, err := strconv.ParseInt(h.Get("Retry-After"), 10, 32); err == nil && n > 0 && n < math.MaxInt32 {
		return time.Duration(n) * time.Second
	}
	return 0
}
