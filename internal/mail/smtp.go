package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"os"
	"strings"
	"time"
)

// SMTP sends through one mail server.
type SMTP struct {
	Address  string // HOST:PORT
	Implicit bool   // TLS from the first byte (RFC 8314); otherwise STARTTLS, which is required
	User     string // "": no sign-in
	Password string
	CA       []byte        // PEM; nil: the system's authorities
	Timeout  time.Duration // of the whole conversation; 0: 30 s
}

// maxAnswers bounds what a mail server may say in one conversation.
const maxAnswers = 1 << 20

// Send implements [Sender].
func (s SMTP) Send(ctx context.Context, m Message) error {
	text, err := m.bytes()
	if err != nil {
		return err
	}
	if s.Timeout == 0 {
		s.Timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	c, err := s.open(ctx)
	if err != nil {
		return fmt.Errorf("mail server %s: %w", s.Address, err)
	}
	defer func() { _ = c.Close() }()
	if err := s.talk(c, m, text); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer within %v (%w)", s.Timeout, err)
		}
		return fmt.Errorf("mail server %s: %w", s.Address, err)
	}
	return nil
}

func (s SMTP) open(ctx context.Context) (*smtp.Client, error) {
	host, _, err := net.SplitHostPort(s.Address)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if s.CA != nil {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(s.CA) {
			return nil, errors.New("the file of its authority holds no certificate")
		}
	}
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", s.Address)
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	_ = raw.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	conn := net.Conn(&limited{Conn: raw, left: maxAnswers, stop: stop})
	if s.Implicit {
		t := tls.Client(conn, cfg)
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		conn = t
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if err := s.greet(c, cfg); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (s SMTP) greet(c *smtp.Client, cfg *tls.Config) error {
	name, err := os.Hostname()
	if err != nil || strings.ContainsAny(name, " \r\n") || name == "" {
		name = "localhost"
	}
	if err := c.Hello(name); err != nil {
		return err
	}
	if s.Implicit {
		return nil
	}
	// A man in the middle can strike the offer out of the answer (RFC 3207
	// section 6): without it nothing more is said.
	if ok, _ := c.Extension("STARTTLS"); !ok {
		return errors.New("it offers no STARTTLS, and mail is not sent without TLS")
	}
	return c.StartTLS(cfg)
}

func (s SMTP) talk(c *smtp.Client, m Message, text []byte) error {
	if s.User != "" {
		ok, offered := c.Extension("AUTH")
		if !ok {
			return errors.New("it offers no sign-in, and mail.user is set")
		}
		host, _, _ := net.SplitHostPort(s.Address)
		auth := smtp.PlainAuth("", s.User, s.Password, host)
		if ways := strings.Fields(offered); !has(ways, "PLAIN") && has(ways, "LOGIN") {
			auth = &login{s.User, s.Password}
		}
		if err := c.Auth(auth); err != nil {
			return fmt.Errorf("sign-in: %w", err)
		}
	}
	if err := c.Mail(m.From); err != nil {
		return err
	}
	for _, a := range m.To {
		if err := c.Rcpt(a); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	// The message is accepted: a server that hangs up now has it.
	_ = c.Quit()
	return nil
}

func has(all []string, want string) bool {
	for _, s := range all {
		if strings.EqualFold(s, want) {
			return true
		}
	}
	return false
}

// login is the sign-in that some servers have in place of PLAIN. The
// connection is TLS by then.
type login struct{ user, password string }

// Start implements smtp.Auth.
func (l *login) Start(s *smtp.ServerInfo) (string, []byte, error) {
	if !s.TLS {
		return "", nil, errors.New("the connection is not encrypted")
	}
	return "LOGIN", nil, nil
}

// Next implements smtp.Auth.
func (l *login) Next(prompt []byte, more bool) ([]byte, error) {
	switch {
	case !more:
		return nil, nil
	case strings.EqualFold(string(prompt), "Username:"):
		return []byte(l.user), nil
	case strings.EqualFold(string(prompt), "Password:"):
		return []byte(l.password), nil
	}
	return nil, errors.New("the server asks for something unknown")
}

// limited ends a conversation in which the other side says too much.
type limited struct {
	net.Conn
	left int
	stop func() bool
}

func (l *limited) Read(b []byte) (int, error) {
	if l.left <= 0 {
		return 0, errors.New("the answers are too long")
	}
	n, err := l.Conn.Read(b[:min(len(b), l.left)])
	l.left -= n
	return n, err
}

func (l *limited) Close() error {
	l.stop()
	return l.Conn.Close()
}
