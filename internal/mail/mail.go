// Package mail sends messages to people: by SMTP, or into a folder of files
// where no mail server is configured.
//
// It promises three things. A message is what its fields say: an address or a
// subject that would begin a header of its own is refused, whoever wrote it
// (CWE-93). Nothing leaves in clear: the connection is TLS 1.2 or newer, from
// the first byte or by STARTTLS, the server's certificate is checked, and
// where it offers no TLS nothing is sent (ENC-4). And a send ends: every
// connection has a deadline and every answer a limit.
//
// What may stand in a message is up to the caller, and customer content never
// is: mail leaves the installation. A new way to send is another [Sender].
package mail

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Sender takes messages.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// Message is a plain text for people.
type Message struct {
	From    string
	To      []string
	Subject string
	Text    string
	At      time.Time // zero: now
}

// The bounds of a message.
const (
	maxTo      = 50
	maxSubject = 200
	maxText    = 64 << 10
)

// ErrRefused marks a message that cannot be sent as it is.
var ErrRefused = errors.New("the message cannot be sent")

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRefused}, args...)...)
}

// CheckAddress reports whether a is an address and nothing else: no name, no
// comment, no second line. Letters beyond ASCII need SMTPUTF8 (RFC 6531) of
// every server on the way and are refused.
func CheckAddress(a string) error {
	p, err := netmail.ParseAddress(a)
	if err != nil || p.Address != a || p.Name != "" || len(a) > 254 {
		return errors.New("this is no e-mail address")
	}
	for _, r := range a {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune("<>,;:\"\\()[]", r) {
			return errors.New("the e-mail address has a character that is not allowed")
		}
	}
	return nil
}

// bytes renders m by RFC 5322 and checks it.
func (m Message) bytes() ([]byte, error) {
	if err := CheckAddress(m.From); err != nil {
		return nil, refused("sender: %w", err)
	}
	if len(m.To) == 0 || len(m.To) > maxTo {
		return nil, refused("it has %d recipients, and may have 1 to %d", len(m.To), maxTo)
	}
	for _, a := range m.To {
		if err := CheckAddress(a); err != nil {
			return nil, refused("recipient: %w", err)
		}
	}
	if m.Subject == "" || utf8.RuneCountInString(m.Subject) > maxSubject || !utf8.ValidString(m.Subject) || strings.ContainsFunc(m.Subject, unicode.IsControl) {
		return nil, refused("the subject is empty, too long or not text on one line")
	}
	if len(m.Text) > maxText || !utf8.ValidString(m.Text) {
		return nil, refused("the text is longer than %d bytes, or not text", maxText)
	}
	at := m.At
	if at.IsZero() {
		at = time.Now()
	}
	_, domain, _ := strings.Cut(m.From, "@")
	var b bytes.Buffer
	head := func(name, value string) { b.WriteString(name + ": " + value + "\r\n") }
	head("From", "Strongroom <"+m.From+">")
	head("To", strings.Join(m.To, ",\r\n "))
	head("Subject", mime.QEncoding.Encode("utf-8", m.Subject))
	head("Date", at.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"))
	head("Message-ID", "<"+strings.ToLower(rand.Text())+"@"+domain+">")
	head("Auto-Submitted", "auto-generated") // RFC 3834: no vacation notes come back
	head("MIME-Version", "1.0")
	head("Content-Type", "text/plain; charset=utf-8")
	head("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	if _, err := q.Write([]byte(strings.ReplaceAll(strings.ReplaceAll(m.Text, "\r\n", "\n"), "\n", "\r\n"))); err != nil {
		return nil, err
	}
	if err := q.Close(); err != nil {
		return nil, err
	}
	b.WriteString("\r\n")
	return b.Bytes(), nil
}
