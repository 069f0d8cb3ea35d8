package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Problem is the server's refusal (RFC 9457). It names places, never values.
type Problem struct {
	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Code      string  `json:"code"` // stable: not_found, stale, invalid ...
	RequestID string  `json:"request_id"`
	Detail    string  `json:"detail"`
	Errors    []Fault `json:"errors"`

	RetryAfter time.Duration `json:"-"` // when the server asks for a pause
}

// Fault points at one place of the request.
type Fault struct {
	Pointer string `json:"pointer"` // RFC 6901, or the name of a header or parameter
	Code    string `json:"code"`
	Detail  string `json:"detail"`
}

// Error says what the server said, with the request's id for whoever must look
// it up.
func (p *Problem) Error() string {
	head := p.Detail
	if head == "" {
		head = p.Title
	}
	var b strings.Builder
	b.WriteString(head)
	for i, f := range p.Errors {
		if i == 8 {
			fmt.Fprintf(&b, "; and %d more", len(p.Errors)-i)
			break
		}
		var what string
		switch {
		case f.Detail == "" || f.Detail == head:
			if f.Pointer == "" {
				continue
			}
			what = "at " + f.Pointer
		case f.Pointer == "":
			what = f.Detail
		default:
			what = "at " + f.Pointer + ": " + f.Detail
		}
		b.WriteString("; " + what)
	}
	b.WriteString(" (" + p.Code)
	if p.RequestID != "" {
		b.WriteString(", request " + p.RequestID)
	}
	b.WriteString(")")
	return b.String()
}

// Status returns the HTTP status of the *Problem in err's chain, or 0.
func Status(err error) int {
	var p *Problem
	if errors.As(err, &p) {
		return p.Status
	}
	return 0
}

// problem reads a refusal. What stands between us and the server (a proxy) may
// answer in another format: then the status alone speaks.
func problem(res *http.Response) *Problem {
	defer drain(res)
	p := &Problem{}
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if media == "application/problem+json" || media == "application/json" {
		if b, err := io.ReadAll(io.LimitReader(res.Body, maxProblem)); err != nil || json.Unmarshal(b, p) != nil {
			p = &Problem{}
		}
	}
	p.Status = res.StatusCode
	if p.Title == "" {
		p.Title = fmt.Sprintf("the server answered %d %s", res.StatusCode, http.StatusText(res.StatusCode))
	}
	if p.Code == "" {
		p.Code = strings.ToLower(strings.ReplaceAll(http.StatusText(res.StatusCode), " ", "_"))
	}
	p.RetryAfter = retryAfter(res.Header)
	return p
}

// Unreachable says that no answer came.
type Unreachable struct {
	Host      string
	Unsent    bool // the request never left
	Untrusted bool // the server's certificate does not check
	Err       error
}

func (u *Unreachable) Error() string {
	if u.Untrusted {
		return fmt.Sprintf("the certificate of %s is not trusted: %v", u.Host, u.Err)
	}
	return fmt.Sprintf("no answer from %s: %v", u.Host, u.Err)
}

// Unwrap returns the cause.
func (u *Unreachable) Unwrap() error { return u.Err }

func unreachable(ctx context.Context, base *url.URL, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var shell *url.Error // repeats method and URL, which the caller knows
	if errors.As(err, &shell) {
		err = shell.Err
	}
	u := &Unreachable{Host: base.Host, Err: err}
	var op *net.OpError
	u.Unsent = errors.As(err, &op) && op.Op == "dial"
	var chain *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	u.Untrusted = errors.As(err, &chain) || errors.As(err, &authority) || errors.As(err, &name)
	return u
}
