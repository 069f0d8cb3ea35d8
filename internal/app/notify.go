package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"strongroom/internal/app/alarm"
	"strongroom/internal/app/config"
	"strongroom/internal/app/datadir"
	"strongroom/internal/app/supervisor"
	"strongroom/internal/mail"
	"strongroom/internal/osproc"
)

// outgoing is what it takes to reach people, secrets included. It is made by
// who may read the secrets, and handed to a process that may do nothing else.
type outgoing struct {
	From     string   `json:"from"`
	SMTP     string   `json:"smtp"`
	Implicit bool     `json:"implicit"`
	User     string   `json:"user"`
	Password string   `json:"password"`
	CA       []byte   `json:"ca"`
	Outbox   string   `json:"outbox"`
	To       []string `json:"to"` // of alarms

	Webhook   string `json:"webhook"`
	Secret    []byte `json:"secret"`
	WebhookCA []byte `json:"webhook_ca"`
}

// loadOutgoing reads the settings and the files that they name.
func loadOutgoing(cfg config.Config, l datadir.Layout) (o outgoing, err error) {
	o = outgoing{From: cfg.Mail.From, SMTP: cfg.Mail.SMTP, Implicit: cfg.Mail.TLS == "implicit", User: cfg.Mail.User, Outbox: l.Outbox(),
		To: cfg.Alarms.Mail, Webhook: cfg.Alarms.Webhook}
	if o.From == "" {
		o.From = "strongroom@localhost" // for files in the outbox alone: mail.smtp requires mail.from
	}
	for _, f := range []struct {
		key, path string
		to        *[]byte
		secret    bool
	}{
		{"mail.ca", cfg.Mail.CA, &o.CA, false},
		{"alarms.webhook_ca", cfg.Alarms.WebhookCA, &o.WebhookCA, false},
		{"alarms.webhook_secret_file", cfg.Alarms.WebhookSecretFile, &o.Secret, true},
	} {
		if f.path == "" {
			continue
		}
		if f.secret {
			*f.to, err = readSecret(f.key, f.path)
		} else {
			*f.to, err = os.ReadFile(f.path)
		}
		if err != nil {
			return outgoing{}, fmt.Errorf("%s: %w", f.key, err)
		}
	}
	if len(o.Secret) > 0 && len(o.Secret) < alarm.MinSecret {
		return outgoing{}, fmt.Errorf("alarms.webhook_secret_file: the secret is shorter than %d characters", alarm.MinSecret)
	}
	if cfg.Mail.PasswordFile != "" {
		p, err := readSecret("mail.password_file", cfg.Mail.PasswordFile)
		if err != nil {
			return outgoing{}, fmt.Errorf("mail.password_file: %w", err)
		}
		o.Password = string(p)
	}
	return o, nil
}

// readSecret returns the first line of a file that other users cannot read.
func readSecret(key, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("%s: other users can read it; close it with chmod o-rwx", path)
	}
	line, err := bufio.NewReader(io.LimitReader(f, 4096)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return nil, fmt.Errorf("%s: its first line is empty", path)
	}
	return []byte(line), nil
}

func (o outgoing) sender() mail.Sender {
	if o.SMTP == "" {
		return mail.Outbox{Dir: o.Outbox}
	}
	return mail.SMTP{Address: o.SMTP, Implicit: o.Implicit, User: o.User, Password: o.Password, CA: o.CA}
}

// destinations are those of alarms.
func (o outgoing) destinations() (all []alarm.Destination) {
	if len(o.To) > 0 {
		all = append(all, alarm.Mail{From: o.From, To: o.To, Sender: o.sender()})
	}
	if o.Webhook != "" {
		all = append(all, alarm.Webhook{URL: o.Webhook, Secret: o.Secret, CA: o.WebhookCA})
	}
	return all
}

// parcel is one thing to send, with all that it takes.
type parcel struct {
	By      outgoing      `json:"by"`
	To      string        `json:"to"` // the destination, of a notice
	Notice  *alarm.Notice `json:"notice,omitempty"`
	Message *mail.Message `json:"message,omitempty"`
}

func (p parcel) send(ctx context.Context) error {
	if p.Message != nil {
		return p.By.sender().Send(ctx, *p.Message)
	}
	for _, d := range p.By.destinations() {
		if d.Name() == p.To && p.Notice != nil {
			return d.Deliver(ctx, *p.Notice)
		}
	}
	return errors.New("there is no such destination")
}

// maxParcel bounds what the delivering process reads.
const maxParcel = 4 << 20

// Deliver is the process that speaks to mail servers and webhooks: it reads a
// parcel from in, sends it and writes to out why it could not. It runs as the
// server's user, so that no stranger's bytes are read by root.
func Deliver(ctx context.Context, in io.Reader, out io.Writer) error {
	var p parcel
	if err := json.NewDecoder(io.LimitReader(in, maxParcel)).Decode(&p); err != nil {
		return errors.New("deliver is started by up, which hands it what to send")
	}
	if err := p.send(ctx); err != nil {
		_, werr := io.WriteString(out, strings.Join(strings.Fields(err.Error()), " "))
		return errors.Join(errors.New("not delivered"), werr)
	}
	return nil
}

// deliverTime bounds one delivery.
const deliverTime = 45 * time.Second

// deliver sends p in a process of its own, as user.
func deliver(ctx context.Context, user *osproc.User, p parcel) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	path, err := supervisor.Self()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd := exec.Command(path, "deliver")
	cmd.Args[0] = "strongroom"
	cmd.Dir = "/"
	cmd.Env = supervisor.Environ()
	cmd.Stdin, cmd.Stdout = bytes.NewReader(text), &short{w: &out}
	child, err := osproc.Start(cmd, osproc.Options{User: user})
	if err != nil {
		return err
	}
	select {
	case <-child.Done():
	case <-time.After(deliverTime):
		child.Kill()
		<-child.Done()
		return fmt.Errorf("not delivered within %v", deliverTime)
	case <-ctx.Done():
		child.Kill()
		<-child.Done()
		return ctx.Err()
	}
	if child.Err() == nil {
		return nil
	}
	if why := strings.TrimSpace(out.String()); why != "" {
		return errors.New(why)
	}
	return fmt.Errorf("the delivering process ended: %w", child.Err())
}

// short keeps the first bytes and takes the rest without keeping them.
type short struct{ w *bytes.Buffer }

func (s *short) Write(b []byte) (int, error) {
	if left := 4096 - s.w.Len(); left > 0 {
		s.w.Write(b[:min(left, len(b))])
	}
	return len(b), nil
}

// courier is a destination that is reached through a process of its own.
type courier struct {
	name string
	by   outgoing
	user *osproc.User
}

// Name implements alarm.Destination.
func (c courier) Name() string { return c.name }

// Deliver implements alarm.Destination.
func (c courier) Deliver(ctx context.Context, n alarm.Notice) error {
	return deliver(ctx, c.user, parcel{By: c.by, To: c.name, Notice: &n})
}

func couriers(o outgoing, user *osproc.User) (all []alarm.Destination) {
	for _, d := range o.destinations() {
		all = append(all, courier{d.Name(), o, user})
	}
	return all
}

// Sent says what became of a test message at one destination.
type Sent struct {
	To    string `json:"to"`
	State string `json:"state"` // sent, or failed
	Why   string `json:"why,omitempty"`
}

func sent(to string, err error) Sent {
	if err != nil {
		return Sent{to, "failed", err.Error()}
	}
	return Sent{to, "sent", ""}
}

// TestMail sends a test message to one address, as the installation of dir
// sends its mail.
func TestMail(ctx context.Context, dir string, environ []string, to, version string) (Sent, error) {
	o, users, cfg, err := outgoingOf(dir, environ)
	if err != nil {
		return Sent{}, err
	}
	if err := mail.CheckAddress(to); err != nil {
		return Sent{}, err
	}
	m := mail.Message{From: o.From, To: []string{to}, Subject: "[Strongroom] test", At: time.Now(),
		Text: fmt.Sprintf("This is a test: mail of the installation %s arrives here.\n\nVersion: %s\n", address(cfg, nil), version)}
	where := "outbox " + o.Outbox
	if o.SMTP != "" {
		where = "mail server " + o.SMTP
	}
	return sent(where, deliver(ctx, users.Server, parcel{By: o, Message: &m})), nil
}

// ErrNoDestination says that alarms go nowhere.
var ErrNoDestination = errors.New("alarms go nowhere: set alarms.mail or alarms.webhook in strongroom.toml")

// TestAlarm sends a test alarm to every destination of alarms.
func TestAlarm(ctx context.Context, dir string, environ []string, version string) ([]Sent, error) {
	o, users, cfg, err := outgoingOf(dir, environ)
	if err != nil {
		return nil, err
	}
	all := couriers(o, users.Server)
	if len(all) == 0 {
		return nil, ErrNoDestination
	}
	var out []Sent
	for _, d := range all {
		n := alarm.Notice{ID: "test", Kind: alarm.Test, Name: "test", Severity: alarm.Warning, Text: "This is a test: alarms of this installation arrive here.",
			Since: time.Now().UTC(), At: time.Now().UTC(), Installation: address(cfg, nil), Version: version}
		out = append(out, sent(d.Name(), d.Deliver(ctx, n)))
	}
	return out, nil
}

func outgoingOf(dir string, environ []string) (outgoing, datadir.Users, config.Config, error) {
	cfg, err := config.Load(dir, environ)
	if err != nil {
		return outgoing{}, datadir.Users{}, cfg, err
	}
	o, err := loadOutgoing(cfg, datadir.At(dir))
	if err != nil {
		return outgoing{}, datadir.Users{}, cfg, err
	}
	users, err := datadir.EnsureUsers()
	return o, users, cfg, err
}
