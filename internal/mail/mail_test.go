package mail

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

func letter() Message {
	return Message{From: "room@lab.example", To: []string{"ops@lab.example", "night@lab.example"}, Subject: "Guardian b: läuft nicht",
		Text: "Zeile eins mit Umlaut ä\n.\nFrom here on\n" + strings.Repeat("x", 200) + "\n", At: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
}

func TestAMessageIsReadBackAsItWasWritten(t *testing.T) {
	t.Parallel()
	b, err := letter().bytes()
	if err != nil {
		t.Fatal(err)
	}
	m, err := netmail.ReadMessage(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if to, err := m.Header.AddressList("To"); err != nil || len(to) != 2 || to[1].Address != "night@lab.example" {
		t.Errorf("To: %v, %v", to, err)
	}
	if m.Header.Get("Auto-Submitted") != "auto-generated" || m.Header.Get("Message-Id") == "" || m.Header.Get("Date") != "Wed, 04 Mar 2026 05:06:07 +0000" {
		t.Errorf("headers: %v", m.Header)
	}
	for line := range bytes.Lines(b) {
		if !bytes.HasSuffix(line, []byte("\r\n")) || len(line) > 1000 {
			t.Errorf("a line that SMTP does not carry: %q", line)
		}
	}
}

func TestNothingThatIsWrittenBeginsAHeader(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Message){
		"a subject of two lines":            func(m *Message) { m.Subject = "a\r\nBcc: evil@lab.example" },
		"a subject with a lone line feed":   func(m *Message) { m.Subject = "a\nBcc: evil@lab.example" },
		"a subject with a control":          func(m *Message) { m.Subject = "a\x1b[2J" },
		"no subject":                        func(m *Message) { m.Subject = "" },
		"a recipient of two lines":          func(m *Message) { m.To = []string{"a@lab.example\r\nBcc: evil@lab.example"} },
		"a recipient with a name":           func(m *Message) { m.To = []string{"Ada <a@lab.example>"} },
		"two recipients in one":             func(m *Message) { m.To = []string{"a@lab.example, b@lab.example"} },
		"a quoted recipient":                func(m *Message) { m.To = []string{"\"a b\"@lab.example"} },
		"a recipient that needs SMTPUTF8":   func(m *Message) { m.To = []string{"ä@lab.example"} },
		"no recipient":                      func(m *Message) { m.To = nil },
		"a sender with a bracket":           func(m *Message) { m.From = "a>@lab.example" },
		"a text that is not text":           func(m *Message) { m.Text = "\xff" },
		"a text that would fill a mailbox":  func(m *Message) { m.Text = strings.Repeat("x", maxText+1) },
		"more recipients than people":       func(m *Message) { m.To = make([]string, maxTo+1) },
		"a subject that is longer than any": func(m *Message) { m.Subject = strings.Repeat("x", maxSubject+1) },
	} {
		m := letter()
		change(&m)
		if _, err := m.bytes(); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzAMessageHasTheHeadersThatItWasGiven(f *testing.F) {
	f.Add("Subject", "ops@lab.example", "text")
	f.Add("a\r\nBcc: x@y.example", "a@b.example\r\n", "\r\n.\r\n")
	f.Fuzz(func(t *testing.T, subject, to, text string) {
		b, err := (Message{From: "room@lab.example", To: []string{to}, Subject: subject, Text: text}).bytes()
		if err != nil {
			return
		}
		m, err := netmail.ReadMessage(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("not a message: %v", err)
		}
		if len(m.Header) != 9 {
			t.Fatalf("%d headers: %v", len(m.Header), m.Header)
		}
		if got, err := m.Header.AddressList("To"); err != nil || len(got) != 1 || got[0].Address != to {
			t.Fatalf("To: %v, %v", got, err)
		}
	})
}

func TestTheOutboxHoldsWholeMessagesThatNobodyElseReads(t *testing.T) {
	t.Parallel()
	o := Outbox{t.TempDir()}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := o.Send(t.Context(), letter()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	names, _ := os.ReadDir(o.Dir)
	if len(names) != 8 {
		t.Fatalf("%d files", len(names))
	}
	for _, n := range names {
		info, err := n.Info()
		if err != nil || info.Mode().Perm() != 0o600 || filepath.Ext(n.Name()) != ".eml" {
			t.Errorf("%s: %v, %v", n.Name(), info.Mode(), err)
		}
		f, err := os.Open(filepath.Join(o.Dir, n.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := netmail.ReadMessage(f); err != nil {
			t.Errorf("%s: %v", n.Name(), err)
		}
		_ = f.Close()
	}
}

func TestAFullOutboxTakesNoMoreAndLeavesNoTrace(t *testing.T) {
	t.Parallel()
	o := Outbox{t.TempDir()}
	for i := range MaxWaiting {
		if err := os.WriteFile(filepath.Join(o.Dir, fmt.Sprintf("%d.eml", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Send(t.Context(), letter()); err == nil || !strings.Contains(err.Error(), "take them out") {
		t.Errorf("got %v", err)
	}
	if names, _ := os.ReadDir(o.Dir); len(names) != MaxWaiting {
		t.Errorf("%d files", len(names))
	}
}

// server is a mail server of a test: as strict as RFC 5321 where it matters.
type server struct {
	addr string
	ca   []byte
	conf serverOptions

	mu    sync.Mutex
	said  []string // commands
	plain []string // commands before TLS
	mail  []string
}

type serverOptions struct {
	implicit   bool
	noSTARTTLS bool
	auth       string // offered ways
	noise      int    // bytes of greeting that never ends
	hang       bool
	refuse     string // a command that is refused
	name       string // of the certificate
}

func serve(t *testing.T, o serverOptions) *server {
	t.Helper()
	if o.name == "" {
		o.name = "127.0.0.1"
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: o.name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	if ip := net.ParseIP(o.name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{o.name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: l.Addr().String(), ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), conf: o}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { s.session(c, cfg) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	return s
}

func (s *server) session(c net.Conn, cfg *tls.Config) {
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	secure := s.conf.implicit
	if secure {
		c = tls.Server(c, cfg)
	}
	r := bufio.NewReader(c)
	say := func(line string) { _, _ = io.WriteString(c, line+"\r\n") }
	if s.conf.hang {
		_, _ = r.ReadString('\n')
		return
	}
	for range s.conf.noise / 100 {
		say("220-" + strings.Repeat("x", 96))
	}
	say("220 mail.test ready")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		s.mu.Lock()
		s.said = append(s.said, line)
		if !secure {
			s.plain = append(s.plain, line)
		}
		s.mu.Unlock()
		verb, _, _ := strings.Cut(line, " ")
		if s.conf.refuse != "" && verb == s.conf.refuse {
			say("550 no")
			continue
		}
		switch verb {
		case "EHLO":
			say("250-mail.test")
			if !secure && !s.conf.noSTARTTLS {
				say("250-STARTTLS")
			}
			if s.conf.auth != "" && secure {
				say("250-AUTH " + s.conf.auth)
			}
			say("250 8BITMIME")
		case "STARTTLS":
			say("220 go ahead")
			c = tls.Server(c, cfg)
			r, secure = bufio.NewReader(c), true
		case "AUTH":
			if strings.HasPrefix(line, "AUTH LOGIN") {
				for _, prompt := range []string{"Username:", "Password:"} {
					say("334 " + base64.StdEncoding.EncodeToString([]byte(prompt)))
					answer, _ := r.ReadString('\n')
					text, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(answer))
					s.mu.Lock()
					s.said = append(s.said, string(text))
					s.mu.Unlock()
				}
			}
			say("235 welcome")
		case "DATA":
			say("354 go on")
			var b strings.Builder
			for {
				l, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if l == ".\r\n" {
					break
				}
				b.WriteString(strings.TrimPrefix(l, "."))
			}
			s.mu.Lock()
			s.mail = append(s.mail, b.String())
			s.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (s *server) seen() (said, plain, mail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.said, "\n"), strings.Join(s.plain, "\n"), strings.Join(s.mail, "\n---\n")
}

func TestAMessageArrivesOverTLSAndNothingIsSaidBefore(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]serverOptions{"STARTTLS": {auth: "PLAIN LOGIN"}, "TLS from the first byte": {implicit: true, auth: "PLAIN"}, "sign-in by LOGIN": {auth: "LOGIN"}} {
		s := serve(t, o)
		err := SMTP{Address: s.addr, Implicit: o.implicit, User: "room", Password: "pass", CA: s.ca}.Send(t.Context(), letter())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		said, plain, mail := s.seen()
		if !strings.Contains(mail, "To: ops@lab.example") || !strings.Contains(mail, "=C3=A4") || !strings.Contains(said, "RCPT TO:<night@lab.example>") {
			t.Errorf("%s: the server has %q after %q", name, mail, said)
		}
		if strings.Contains(plain, "AUTH") || strings.Contains(plain, "MAIL") || strings.Contains(plain, "room@") {
			t.Errorf("%s: said in clear: %q", name, plain)
		}
		if !strings.Contains(said, "AUTH") {
			t.Errorf("%s: nobody signed in: %q", name, said)
		}
	}
}

func TestWhereTLSIsNotToBeHadNothingIsSent(t *testing.T) {
	t.Parallel()
	other := serve(t, serverOptions{})
	for name, c := range map[string]struct {
		o    serverOptions
		ca   func(*server) []byte
		want string
	}{
		"no STARTTLS is offered":                      {serverOptions{noSTARTTLS: true}, (*server).itsCA, "without TLS"},
		"STARTTLS is refused":                         {serverOptions{refuse: "STARTTLS"}, (*server).itsCA, "550"},
		"the certificate is of another authority":     {serverOptions{}, func(*server) []byte { return other.ca }, "certificate"},
		"the certificate is of another name":          {serverOptions{name: "mail.elsewhere.example"}, (*server).itsCA, "certificate"},
		"no file of the authority's is a certificate": {serverOptions{}, func(*server) []byte { return []byte("nothing") }, "no certificate"},
	} {
		s := serve(t, c.o)
		err := SMTP{Address: s.addr, User: "room", Password: "hunter2", CA: c.ca(s)}.Send(t.Context(), letter())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
		if _, plain, mail := s.seen(); mail != "" || strings.Contains(plain, "MAIL") || strings.Contains(plain, "AUTH") {
			t.Errorf("%s: it said %q, mail %q", name, plain, mail)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error holds the password", name)
		}
	}
}

func (s *server) itsCA() []byte { return s.ca }

func TestAMailServerThatHangsOrNeverEndsIsGivenUp(t *testing.T) {
	t.Parallel()
	hanging := serve(t, serverOptions{hang: true})
	start := time.Now()
	if err := (SMTP{Address: hanging.addr, CA: hanging.ca, Timeout: 300 * time.Millisecond}).Send(t.Context(), letter()); err == nil {
		t.Error("a server that says nothing took the message")
	}
	if time.Since(start) > 5*time.Second {
		t.Errorf("it took %v", time.Since(start))
	}
	loud := serve(t, serverOptions{noise: 4 * maxAnswers})
	if err := (SMTP{Address: loud.addr, CA: loud.ca}).Send(t.Context(), letter()); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a server that never ends: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if err := (SMTP{Address: hanging.addr, CA: hanging.ca}).Send(ctx, letter()); err == nil {
		t.Error("an ended context sent the message")
	}
}

func TestARefusedRecipientIsAnError(t *testing.T) {
	t.Parallel()
	s := serve(t, serverOptions{refuse: "RCPT"})
	if err := (SMTP{Address: s.addr, CA: s.ca}).Send(t.Context(), letter()); err == nil || !strings.Contains(err.Error(), "550") {
		t.Errorf("got %v", err)
	}
	unsigned := serve(t, serverOptions{})
	if err := (SMTP{Address: unsigned.addr, CA: unsigned.ca, User: "room", Password: "p"}).Send(t.Context(), letter()); err == nil || !strings.Contains(err.Error(), "no sign-in") {
		t.Errorf("a sign-in that is not offered: %v", err)
	}
}
