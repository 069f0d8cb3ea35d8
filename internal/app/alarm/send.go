package alarm

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"strongroom/internal/mail"
)

// Mail tells people by mail.
type Mail struct {
	From   string
	To     []string
	Sender mail.Sender
}

// Name implements [Destination].
func (Mail) Name() string { return "mail" }

// Deliver implements [Destination].
func (m Mail) Deliver(ctx context.Context, n Notice) error {
	return m.Sender.Send(ctx, mail.Message{From: m.From, To: m.To, Subject: n.subject(), Text: n.letter(), At: n.At})
}

var headings = map[Kind]string{Raised: "ALARM", Lasting: "still wrong", Resolved: "resolved", Test: "test"}

func (n Notice) subject() string {
	return fmt.Sprintf("[Strongroom %s] %s: %s", n.Severity, headings[n.Kind], n.Name)
}

func (n Notice) letter() string {
	var b strings.Builder
	switch n.Kind {
	case Resolved:
		fmt.Fprintf(&b, "This is over: %s\n\nIt lasted from %s to %s.\n", n.Text, stamp(n.Since), stamp(n.At))
	case Test:
		fmt.Fprintf(&b, "%s\n", n.Text)
	default:
		fmt.Fprintf(&b, "%s\n\nSince %s.\n", n.Text, stamp(n.Since))
	}
	fmt.Fprintf(&b, "\nCondition: %s (%s)\nInstallation: %s\nVersion: %s\nNotice: %s\n", n.Name, n.Severity, n.Installation, n.Version, n.ID)
	if n.Kind != Test {
		b.WriteString("\nSee how it stands: strongroom status --data DIR\nWhat each condition means, and what to do: docs/operations.md, Alarms\n")
	}
	return b.String()
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Webhook posts notices as JSON to one URL.
type Webhook struct {
	URL    string
	Secret []byte // signs; at least [MinSecret] bytes
	CA     []byte // PEM; nil: the system's authorities
}

// MinSecret is the least length of a secret that signs: 32 characters, as a
// random one of 128 bits in hex has.
const MinSecret = 32

// SignatureHeader holds when a notice was sent and the proof that the
// installation sent it: "t=<seconds since 1970>,v1=<hex>", where v1 is
// HMAC-SHA-256 under the secret over "<t>.<body>". A receiver refuses a t that
// is minutes old, so that a notice cannot be played back.
const SignatureHeader = "Strongroom-Signature"

// Sign returns the value of SignatureHeader.
func Sign(secret, body []byte, at time.Time) string {
	t := strconv.FormatInt(at.Unix(), 10)
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(t + "."))
	h.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(h.Sum(nil))
}

// Name implements [Destination].
func (Webhook) Name() string { return "webhook" }

// Deliver implements [Destination].
func (w Webhook) Deliver(ctx context.Context, n Notice) error {
	u, err := url.Parse(w.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return errors.New("the webhook is no https URL")
	}
	if len(w.Secret) < MinSecret {
		return fmt.Errorf("the webhook's secret is shorter than %d characters", MinSecret)
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if w.CA != nil {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(w.CA) {
			return errors.New("the file of the webhook's authority holds no certificate")
		}
	}
	body, err := json.Marshal(n)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("the webhook is no https URL")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "strongroom")
	req.Header.Set(SignatureHeader, Sign(w.Secret, body, time.Now()))
	transport := &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10}
	c := &http.Client{Transport: transport,
		// What was configured is the one destination (OWN-5).
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	if err != nil {
		var leak *url.Error
		if errors.As(err, &leak) { // its text repeats the URL, which may hold a token
			err = leak.Err
		}
		return fmt.Errorf("no answer: %w", err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("the answer was %d", resp.StatusCode)
	}
	return nil
}
