// Package doctor looks at a machine and at an installation on it, and says
// what is wrong, what is doubtful, and what to do about each.
//
// It promises to change nothing, to need no running server, and to look at what
// is really there: the user database, the disks, the sockets, the files. A
// finding names settings and paths, never a secret and nobody's data. To add a
// check, add a function to checks: it returns findings whose Remedy is a
// sentence that a person can follow.
package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"strongroom/internal/app/config"
	"strongroom/internal/app/datadir"
	"strongroom/internal/postgres"
)

// State says how a finding stands.
type State string

// The states.
const (
	OK      State = "ok"
	Warning State = "warning" // it runs, and a promise or a night's sleep rests on it
	Failed  State = "failed"  // it does not run like this
)

// Finding is what one look found.
type Finding struct {
	Check  string `json:"check"`
	State  State  `json:"state"`
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// Patient is what is looked at.
type Patient struct {
	Dir     string
	Environ []string
	Now     func() time.Time // nil: the clock

	cfg     config.Config
	layout  datadir.Layout
	exists  bool
	pid     int // of the supervisor that runs it; 0: none
	running bool
}

// Examine runs every check.
func Examine(ctx context.Context, p Patient) []Finding {
	if p.Now == nil {
		p.Now = time.Now
	}
	if abs, err := filepath.Abs(p.Dir); err == nil {
		p.Dir = abs
	}
	p.layout = datadir.At(p.Dir)
	var all []Finding
	var err error
	if p.cfg, err = config.Load(p.Dir, p.Environ); err != nil {
		all = append(all, failed("settings", err.Error(), "mend the setting that is named; docs/operations.md, Settings, lists all of them"))
		p.cfg = config.Default()
	} else {
		all = append(all, ok("settings", "every setting is known and well formed"))
	}
	if p.pid, p.running, err = datadir.Running(p.Dir); err != nil {
		all = append(all, warning("running", "whether it runs cannot be seen: "+err.Error(), "run doctor as the user who runs the installation"))
	} else if p.running {
		all = append(all, ok("running", fmt.Sprintf("an installation runs on this directory (process %d)", p.pid)))
	} else {
		all = append(all, ok("running", "nothing runs on this directory"))
	}
	if info, err := os.Stat(p.Dir); err == nil && info.IsDir() {
		p.exists = true
	}
	for _, check := range checks {
		all = append(all, check(ctx, &p)...)
	}
	return all
}

var checks = []func(context.Context, *Patient) []Finding{
	directory, users, database, addresses, disks, clock, certificates, secrets, zones, memory, limits, alarms,
}

func ok(check, text string) Finding              { return Finding{check, OK, text, ""} }
func warning(check, text, remedy string) Finding { return Finding{check, Warning, text, remedy} }
func failed(check, text, remedy string) Finding  { return Finding{check, Failed, text, remedy} }

// directory checks the data directory: its format, whose it is, and that what
// holds keys is closed.
func directory(_ context.Context, p *Patient) (out []Finding) {
	const name = "data directory"
	if !p.exists {
		return []Finding{ok(name, p.Dir+" does not exist yet: strongroom up makes it")}
	}
	version, err := os.ReadFile(filepath.Join(p.Dir, "VERSION"))
	switch n, bad := strconv.Atoi(strings.TrimSpace(string(version))); {
	case errors.Is(err, fs.ErrNotExist):
		out = append(out, warning(name, p.Dir+" has no VERSION: it was never used by Strongroom", "give the directory of an installation, or start one there"))
	case errors.Is(err, fs.ErrPermission):
		return []Finding{warning(name, p.Dir+" is closed to you", "run doctor as root, or as the user who runs the installation")}
	case err != nil || bad != nil || n < 1:
		out = append(out, failed(name, "VERSION of "+p.Dir+" is not readable as a number", "put back VERSION from a copy of the directory"))
	case n > datadir.Version:
		out = append(out, failed(name, fmt.Sprintf("%s is of format %d, and this program reads up to %d", p.Dir, n, datadir.Version), "install the newer version again"))
	default:
		out = append(out, ok(name, fmt.Sprintf("%s has format %d", p.Dir, n)))
	}
	var open []string
	for _, f := range []struct {
		path string
		mask fs.FileMode
	}{
		{p.layout.KeyZone("a"), 0o077}, {p.layout.KeyZone("b"), 0o077}, {p.layout.Guardian("a"), 0o077}, {p.layout.Guardian("b"), 0o077},
		{p.layout.Objects(), 0o077}, {p.layout.Postgres(), 0o077}, {p.layout.Outbox(), 0o077}, {p.layout.ACME(), 0o077},
		{filepath.Join(p.layout.TLS(), "ca.key"), 0o077}, {filepath.Join(p.layout.TLS(), "server.key"), 0o077}, {p.layout.Config(), 0o022}, {p.Dir, 0o022},
	} {
		if info, err := os.Stat(f.path); err == nil && info.Mode().Perm()&f.mask != 0 {
			open = append(open, fmt.Sprintf("%s (%v)", f.path, info.Mode().Perm()))
		}
	}
	if len(open) > 0 {
		out = append(out, failed("permissions", "open to other users: "+strings.Join(open, ", "), "close them: chmod go-rwx for folders and keys, chmod go-w for the settings and the directory"))
	} else {
		out = append(out, ok("permissions", "keys, stores and settings are closed to other users"))
	}
	for at := filepath.Dir(p.Dir); os.Geteuid() == 0; at = filepath.Dir(at) {
		if info, err := os.Stat(at); err == nil && info.Mode().Perm()&0o001 == 0 {
			out = append(out, failed("path", at+" is closed to the users that the services run as", "use a directory outside it, or open it with chmod o+x "+at))
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	return out
}

// users checks that each service has a user of its own.
func users(context.Context, *Patient) []Finding {
	const name = "users"
	if os.Geteuid() != 0 {
		return []Finding{warning(name, "not started as root: all services would run as you, and nothing keeps them from each other's files",
			"start it as root, or by the systemd unit, in production: it then gives each service a user of its own")}
	}
	var missing []string
	ids := map[string]string{}
	for _, n := range datadir.UserNames() {
		u, err := user.Lookup(n)
		if err != nil {
			missing = append(missing, n)
			continue
		}
		if other := ids[u.Uid]; other != "" || u.Uid == "0" {
			return []Finding{failed(name, n+" shares its id with "+other+"root: they could read each other's files", "give each of the users an id of its own")}
		}
		ids[u.Uid] = n + " or "
	}
	if len(missing) > 0 {
		return []Finding{ok(name, "strongroom up will make the system users "+strings.Join(missing, ", "))}
	}
	return []Finding{ok(name, "each service has a system user of its own")}
}

// database checks that there is a PostgreSQL, of the version that made the
// cluster.
func database(_ context.Context, p *Patient) []Finding {
	const name = "PostgreSQL"
	find := postgres.Find
	if p.cfg.Postgres.Binaries != "" {
		find = func() (postgres.Binaries, error) { return postgres.In(p.cfg.Postgres.Binaries) }
	}
	b, err := find()
	if err != nil {
		return []Finding{failed(name, err.Error(), "install PostgreSQL 15 or newer with the system's package manager (on Debian 12: apt-get install postgresql), or set postgres.binaries")}
	}
	made, err := os.ReadFile(filepath.Join(p.layout.Postgres(), "PG_VERSION"))
	if err != nil {
		return []Finding{ok(name, fmt.Sprintf("version %d is installed", b.Major))}
	}
	if v := strings.TrimSpace(string(made)); v != strconv.Itoa(b.Major) {
		if p.cfg.Postgres.Binaries != "" {
			return []Finding{failed(name, fmt.Sprintf("postgres.binaries has version %d, and the data directory was made by %s", b.Major, v), "set postgres.binaries to a folder with version "+v+", or leave it empty")}
		}
		n, _ := strconv.Atoi(v)
		if _, err := postgres.FindMajor(n); err != nil {
			return []Finding{failed(name, fmt.Sprintf("the newest here is version %d, and the data directory was made by %s, which is not installed", b.Major, v), "install PostgreSQL "+v+" beside the others")}
		}
		return []Finding{ok(name, fmt.Sprintf("version %s is installed, the one that made the data directory, beside %d", v, b.Major))}
	}
	return []Finding{ok(name, fmt.Sprintf("version %d is installed, the one that made the data directory", b.Major))}
}

// addresses checks that what is to be listened on is free.
func addresses(ctx context.Context, p *Patient) (out []Finding) {
	for _, a := range []struct{ key, address string }{{"listen", p.cfg.Listen}, {"redirect", p.cfg.Redirect}, {"metrics.listen", p.cfg.Metrics.Listen}} {
		if a.address == "" {
			continue
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", a.address)
		switch {
		case err == nil:
			_ = l.Close()
			if p.running {
				out = append(out, warning(a.key, a.address+" is free, though an installation runs: it listens elsewhere", "where --listen is given, it comes before the setting"))
				continue
			}
			out = append(out, ok(a.key, a.address+" is free"))
		case errors.Is(err, syscall.EADDRINUSE) && p.running:
			out = append(out, ok(a.key, a.address+" is in use, by this installation as it seems"))
		case errors.Is(err, syscall.EADDRINUSE):
			out = append(out, failed(a.key, a.address+" is taken by another program", "stop that one, or set "+a.key+" to another address"))
		case errors.Is(err, syscall.EACCES):
			out = append(out, failed(a.key, "only root may listen on "+a.address, "start as root, or choose a port of 1024 or above"))
		default:
			out = append(out, failed(a.key, "this machine cannot listen on "+a.address, "set "+a.key+" to an address of this machine"))
		}
	}
	return out
}

// clock checks that time is kept: certificates, sessions and the log rest on
// it.
func clock(_ context.Context, p *Patient) []Finding {
	const name = "clock"
	now := p.Now()
	if info, err := os.Stat(filepath.Join(p.Dir, "VERSION")); err == nil && info.ModTime().After(now.Add(5*time.Minute)) {
		return []Finding{failed(name, "the clock stands before the time at which the data directory was made", "set the clock")}
	}
	if now.Year() < 2025 {
		return []Finding{failed(name, "the clock stands years in the past", "set the clock")}
	}
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err == nil && state == unix.TIME_ERROR {
		return []Finding{warning(name, "the kernel says that the clock is not synchronized", "run an NTP client, such as systemd-timesyncd or chrony")}
	}
	return []Finding{ok(name, "synchronized, as far as the kernel knows")}
}

// certificates checks the operator's own certificate, or that of the local
// authority.
func certificates(_ context.Context, p *Patient) (out []Finding) {
	const name = "certificate"
	cert, key := p.cfg.TLS.Certificate, p.cfg.TLS.Key
	if cert == "" {
		cert, key = filepath.Join(p.layout.TLS(), "server.pem"), filepath.Join(p.layout.TLS(), "server.key")
		if _, err := os.Stat(cert); errors.Is(err, fs.ErrNotExist) {
			return []Finding{ok(name, "strongroom up makes a local authority and a certificate")}
		}
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if errors.Is(err, fs.ErrPermission) {
		return []Finding{warning(name, key+" is closed to you", "run doctor as root, or as the user who runs the installation")}
	}
	if err != nil {
		return []Finding{failed(name, cert+" and "+key+" are no pair of certificate and key: "+err.Error(), "put back the files, or set tls.certificate and tls.key")}
	}
	left := pair.Leaf.NotAfter.Sub(p.Now())
	switch {
	case left <= 0:
		out = append(out, failed(name, cert+" ended at "+pair.Leaf.NotAfter.UTC().Format(time.RFC3339), "renew it"))
	case left < 14*24*time.Hour:
		out = append(out, warning(name, cert+" ends at "+pair.Leaf.NotAfter.UTC().Format(time.RFC3339), "renew it; the server takes the new one without a restart"))
	default:
		out = append(out, ok(name, fmt.Sprintf("%s is good for %d days", cert, int(left.Hours()/24))))
	}
	if p.cfg.TLS.Certificate == "" {
		return out
	}
	for _, n := range p.cfg.Names {
		if pair.Leaf.VerifyHostname(n) != nil {
			out = append(out, warning(name, cert+" is not for "+n+", which is in names", "order a certificate that holds all names"))
		}
	}
	if info, err := os.Stat(key); err == nil && info.Mode().Perm()&0o007 != 0 {
		out = append(out, failed(name, "other users can read "+key, "chmod o-rwx "+key+", and give it to the group strongroom-server"))
	} else if err == nil && os.Geteuid() == 0 && !serverReads(info) {
		out = append(out, failed(name, "the server's user cannot read "+key, "chgrp strongroom-server "+key+" and chmod g+r "+key))
	}
	return out
}

func serverReads(info fs.FileInfo) bool {
	u, err := user.Lookup("strongroom-server")
	stat, isUnix := info.Sys().(*syscall.Stat_t)
	if err != nil || !isUnix {
		return true // nothing is known
	}
	return strconv.Itoa(int(stat.Uid)) == u.Uid && info.Mode().Perm()&0o400 != 0 || strconv.Itoa(int(stat.Gid)) == u.Gid && info.Mode().Perm()&0o040 != 0
}

// secrets checks the files that settings name.
func secrets(_ context.Context, p *Patient) (out []Finding) {
	for _, f := range []struct{ key, path string }{{"mail.password_file", p.cfg.Mail.PasswordFile}, {"alarms.webhook_secret_file", p.cfg.Alarms.WebhookSecretFile}} {
		if f.path == "" {
			continue
		}
		info, err := os.Stat(f.path)
		switch {
		case err != nil:
			out = append(out, failed(f.key, err.Error(), "make the file, readable by who starts Strongroom alone"))
		case info.Mode().Perm()&0o007 != 0:
			out = append(out, failed(f.key, "other users can read "+f.path, "chmod o-rwx "+f.path))
		default:
			out = append(out, ok(f.key, f.path+" is closed to other users"))
		}
	}
	return out
}

// alarms checks that somebody would hear of trouble.
func alarms(_ context.Context, p *Patient) []Finding {
	const name = "alarms"
	switch {
	case len(p.cfg.Alarms.Mail) == 0 && p.cfg.Alarms.Webhook == "":
		return []Finding{warning(name, "alarms go nowhere: they stand in the log and in strongroom status alone", "set alarms.mail or alarms.webhook, and try them with: strongroom alarm test")}
	case len(p.cfg.Alarms.Mail) > 0 && p.cfg.Mail.SMTP == "" && p.cfg.Alarms.Webhook == "":
		return []Finding{warning(name, "mail is put into outbox/ as files, so that nobody hears an alarm", "set mail.smtp, or have a program take the files out")}
	}
	return []Finding{ok(name, "alarms have a destination; try it with: strongroom alarm test")}
}
