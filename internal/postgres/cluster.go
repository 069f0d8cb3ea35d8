// Package postgres finds PostgreSQL on this machine and runs a private one.
//
// The private cluster serves one unix socket and no network, as an unprivileged
// user of its own when Strongroom runs as root. Who may log in as what is told
// by the kernel (peer authentication and a fixed map), so there is no password
// to steal. Statements and values never reach its log. Start is safe to repeat
// after any crash: a cluster is either absent or whole, what an earlier run
// left running is stopped first, and PostgreSQL then recovers every
// acknowledged commit.
//
// The wiring of `strongroom up` calls it, and the tests, which run on the same
// cluster that customers get.
package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"strongroom/internal/osproc"
)

// OSUser is an operating-system user; see [EnsureUser].
type OSUser = osproc.User

// EnsureUser returns the system user of that name, made first when missing.
// Without root it returns nil: PostgreSQL then runs as the caller.
func EnsureUser(name string) (*OSUser, error) { return osproc.EnsureUser(name) }

// DefaultSuperuser is the database superuser of a private cluster.
const DefaultSuperuser = "sr_root"

// port names the socket file; nothing listens on it.
const port = "5432"

// Options says where and how a private cluster runs. DataDir and SocketDir are
// required.
type Options struct {
	DataDir   string // made when missing; its parent must exist
	SocketDir string // made when missing; a path too long for a socket is replaced, see [Cluster.SocketDir]

	User      *OSUser           // whom PostgreSQL runs as; nil: the caller, which must not be root
	Binaries  Binaries          // the zero value: found on this machine
	Settings  map[string]string // PostgreSQL settings of the operator; guarded ones are refused
	Log       io.Writer         // PostgreSQL's log; nil discards it
	Superuser string            // "" means DefaultSuperuser
	OSLogins  []string          // OS users, beside the caller's, that may log in as any of Logins
	Logins    []string          // database logins they may take; nil means DefaultLogins

	// StopWithin bounds the wait for a cluster that an earlier run left behind;
	// 0 means 30 s. After that it is ended without a checkpoint, which loses
	// nothing.
	StopWithin time.Duration
}

// DefaultLogins are the logins of the control plane and of the sixteen slices.
func DefaultLogins() []string {
	logins := []string{"sr_platform", "sr_audit", "sr_jobs", "sr_migrator", "sr_provisioner", "sr_inspector"}
	for i := range 16 {
		logins = append(logins, fmt.Sprintf("sr_app_%02d", i))
	}
	return logins
}

// Cluster is a running private PostgreSQL.
type Cluster struct {
	options Options
	process *osproc.Process
	tail    *tail
}

// Start returns a cluster that accepts connections. The first start makes the
// data directory; every start writes the configuration anew. It waits for crash
// recovery for as long as ctx lets it.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	c, err := start(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL: %w", err)
	}
	return c, nil
}

func start(ctx context.Context, o Options) (*Cluster, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if err := o.prepareSocketDir(); err != nil {
		return nil, err
	}
	if err := o.stopOrphan(ctx); err != nil {
		return nil, err
	}
	if err := o.ensureData(ctx); err != nil {
		return nil, err
	}
	if err := o.configure(); err != nil {
		return nil, explain(err, o.DataDir)
	}
	c := &Cluster{options: o, tail: &tail{to: o.Log}}
	cmd := exec.Command(filepath.Join(o.Binaries.Dir, "postgres"), arguments(o.DataDir, o.SocketDir)...)
	cmd.Dir = o.DataDir
	cmd.Env = environment()
	cmd.Stdout = &redact{to: c.tail}
	cmd.Stderr = cmd.Stdout
	// SIGQUIT ends every backend at once, and the next start recovers: when the
	// supervisor has been killed there is nobody left to wait for a checkpoint.
	process, err := osproc.Start(cmd, osproc.Options{User: o.User, DeathSignal: syscall.SIGQUIT})
	if err != nil {
		return nil, explain(err, o.DataDir)
	}
	c.process = process
	if err := c.waitReady(ctx); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.StopWithin)
		defer cancel()
		return nil, errors.Join(err, c.Stop(stop))
	}
	return c, nil
}

// complete fills the defaults and refuses what cannot work.
func (o *Options) complete() error {
	if o.DataDir == "" || o.SocketDir == "" {
		return errors.New("DataDir and SocketDir are required")
	}
	if o.Superuser == "" {
		o.Superuser = DefaultSuperuser
	}
	if o.Logins == nil {
		o.Logins = DefaultLogins()
	}
	if o.StopWithin == 0 {
		o.StopWithin = 30 * time.Second
	}
	if o.User == nil && os.Geteuid() == 0 {
		return errors.New("it refuses to run as root: give it a user of its own")
	}
	if err := errors.Join(checkSettings(o.Settings), checkNames("superuser", o.Superuser),
		checkNames("login", o.Logins...), checkNames("OS user", o.OSLogins...)); err != nil {
		return err
	}
	if slices.Contains(o.Logins, o.Superuser) {
		return fmt.Errorf("login %s: the superuser is the caller's alone", o.Superuser)
	}
	var err error
	// postgres changes into its data directory and the orphan search compares
	// it with what the kernel says, which knows no symbolic links.
	if o.DataDir, err = realPath(o.DataDir); err != nil {
		return err
	}
	if o.SocketDir, err = filepath.Abs(o.SocketDir); err != nil {
		return err
	}
	if parent := filepath.Dir(o.DataDir); o.User != nil {
		if err := o.User.CheckEnter(parent); err != nil {
			return err
		}
	}
	major, err := dataVersion(o.DataDir)
	if err != nil {
		return err
	}
	switch {
	case o.Binaries.Dir == "" && major == 0:
		o.Binaries, err = Find()
	case o.Binaries.Dir == "":
		o.Binaries, err = FindMajor(major)
	case major != 0 && major != o.Binaries.Major:
		err = fmt.Errorf("%w in %s: the data directory was made by version %d, and this is version %d", ErrMissing, o.Binaries.Dir, major, o.Binaries.Major)
	}
	return err
}

// realPath resolves symbolic links; the last element need not exist yet.
func realPath(p string) (string, error) {
	abs, err := filepath.Abs(p)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(abs)
	if err == nil {
		return real, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(abs)), nil
}

// maxSocketPath is what fits into sockaddr_un on Linux, the final NUL left out.
const maxSocketPath = 107

const socketFile = "/.s.PGSQL." + port

// prepareSocketDir makes the socket's folder. A path that no socket address
// can hold is replaced by a short one that follows from the data directory.
func (o *Options) prepareSocketDir() error {
	if len(o.SocketDir)+len(socketFile) > maxSocketPath {
		sum := sha256.Sum256([]byte(o.DataDir))
		o.SocketDir = filepath.Join(shortBase(), "strongroom-"+hex.EncodeToString(sum[:8]))
	}
	// 0755: other users may reach the socket, and the peer map decides. The
	// caller closes a parent where that is not wanted.
	if err := os.Mkdir(o.SocketDir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return explain(err, o.SocketDir)
	} else if err == nil {
		if err := o.User.Own(o.SocketDir); err != nil {
			return err
		}
	}
	// Whoever owns the folder can put a socket of his own there, and the base
	// of the short path is open to all.
	info, err := os.Lstat(o.SocketDir)
	if err != nil {
		return err
	}
	want := uint32(os.Geteuid())
	if o.User != nil {
		want = o.User.UID
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || stat.Uid != want || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s is not a folder that only the PostgreSQL user can write to: remove it", o.SocketDir)
	}
	return o.User.CheckEnter(o.SocketDir)
}

// shortBase is where a short socket folder goes: /run belongs to root, and
// the runtime folder to the user; /tmp is left.
func shortBase() string {
	if os.Geteuid() == 0 {
		return "/run"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) && len(dir) < 40 {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
	}
	return "/tmp"
}

// ensureData makes the data directory beside its final place and renames it, so
// that an interrupted initdb leaves nothing that looks like a cluster.
func (o *Options) ensureData(ctx context.Context) error {
	major, err := dataVersion(o.DataDir)
	if err != nil {
		return err
	}
	if major != 0 {
		return o.checkOwner()
	}
	if entries, err := os.ReadDir(o.DataDir); err == nil && len(entries) > 0 {
		return fmt.Errorf("%s is not empty and holds no PostgreSQL data: it is left as it is", o.DataDir)
	}
	parent := filepath.Dir(o.DataDir)
	unfinished, err := filepath.Glob(filepath.Join(escapeGlob(parent), unfinishedPrefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range unfinished { // of an earlier start that was interrupted
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp(parent, unfinishedPrefix)
	if err != nil {
		return explain(err, parent)
	}
	if err := o.initialize(ctx, dir); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	if err := os.Rename(dir, o.DataDir); err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	return syncDir(parent)
}

const unfinishedPrefix = ".postgres-unfinished-"

func escapeGlob(p string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(p)
}

func (o *Options) initialize(ctx context.Context, dir string) error {
	if err := o.User.Own(dir); err != nil {
		return err
	}
	args := []string{"--pgdata", dir, "--username", o.Superuser, "--auth", "peer", "--data-checksums",
		"--encoding", "UTF8", "--locale", "C.UTF-8", "--no-instructions"}
	if o.Settings["fsync"] == "off" {
		args = append(args, "--no-sync")
	}
	cmd := exec.Command(filepath.Join(o.Binaries.Dir, "initdb"), args...)
	cmd.Dir = dir
	cmd.Env = environment()
	out := &tail{}
	cmd.Stdout, cmd.Stderr = out, out
	p, err := osproc.Start(cmd, osproc.Options{User: o.User})
	if err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Kill()
		<-p.Done()
		return ctx.Err()
	}
	if err := p.Err(); err != nil {
		return explain(fmt.Errorf("initdb: %w: %s", err, out.last()), dir)
	}
	return nil
}

// checkOwner turns the usual consequence of a copy or of a change between root
// and not-root into a sentence; PostgreSQL refuses a folder that is another's.
func (o *Options) checkOwner() error {
	want := os.Geteuid()
	if o.User != nil {
		want = int(o.User.UID)
	}
	info, err := os.Stat(o.DataDir)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != want {
		return fmt.Errorf("%s belongs to the user with id %d, and PostgreSQL would run as the one with id %d: start Strongroom as the user who made it, or give it over with chown -R",
			o.DataDir, stat.Uid, want)
	}
	return nil
}

func (o *Options) configure() error {
	me, err := osproc.Current()
	if err != nil {
		return err
	}
	if err := checkNames("OS user", me.Name); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"postgresql.conf": configuration(o.Settings),
		"pg_hba.conf":     access(),
		"pg_ident.conf":   identities(me.Name, o.Superuser, o.OSLogins, o.Logins),
	} {
		if err := o.replace(o.DataDir, name, content); err != nil {
			return err
		}
	}
	return syncDir(o.DataDir)
}

// environment is all that PostgreSQL's programs get: PGDATA, PGOPTIONS and
// their like would change what they do.
func environment() []string {
	return []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC", "PGSYSCONFDIR=/nonexistent"}
}

// waitReady follows postmaster.pid, as pg_ctl does: its eighth line says when
// connections are accepted.
func (c *Cluster) waitReady(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if pid, state := readPIDFile(c.options.DataDir); pid == c.PID() && state == "ready" {
			return nil
		}
		select {
		case <-tick.C:
		case <-c.Done():
			return c.diagnose()
		case <-ctx.Done():
			return fmt.Errorf("not ready yet: %w: %s", ctx.Err(), c.tail.last())
		}
	}
}

// readPIDFile returns zero values while there is no complete file.
func readPIDFile(dataDir string) (pid int, state string) {
	b, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return 0, ""
	}
	lines := strings.Split(string(b), "\n")
	pid, err = strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil {
		return 0, ""
	}
	if len(lines) > 7 {
		state = strings.TrimSpace(lines[7])
	}
	return pid, state
}

// URL returns a pgx connection string for a login and a database, over the
// unix socket.
func (c *Cluster) URL(login, database string) string {
	return SocketURL(c.options.SocketDir, login, database)
}

// SocketURL returns the connection string of a private cluster whose socket is
// in dir.
func SocketURL(dir, login, database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(login), Path: "/" + database,
		RawQuery: url.Values{"host": {dir}, "port": {port}, "sslmode": {"disable"}}.Encode()}
	return u.String()
}

// SocketDir returns the folder of the socket, which differs from the one asked
// for when that was too long.
func (c *Cluster) SocketDir() string { return c.options.SocketDir }

// DataDir returns the data directory, symbolic links resolved.
func (c *Cluster) DataDir() string { return c.options.DataDir }

// Binaries returns the programs that the cluster runs on.
func (c *Cluster) Binaries() Binaries { return c.options.Binaries }

// PID returns the process id of the postmaster.
func (c *Cluster) PID() int { return c.process.PID() }

// Done is closed when the postmaster has ended, for whatever reason.
func (c *Cluster) Done() <-chan struct{} { return c.process.Done() }

// Err says why a postmaster that has ended did so; nil when it ended in order.
func (c *Cluster) Err() error {
	select {
	case <-c.Done():
		if c.process.Err() == nil {
			return nil
		}
		return fmt.Errorf("PostgreSQL: %w", c.diagnose())
	default:
		return nil
	}
}

// Stop ends the cluster in order: connections are cut, a checkpoint is written.
// When ctx ends first, it is ended at once and recovers at its next start. No
// process of the cluster is left when Stop returns.
func (c *Cluster) Stop(ctx context.Context) error {
	err := c.process.Signal(syscall.SIGINT)
	select {
	case <-c.Done():
	case <-ctx.Done():
		err = errors.Join(err, c.process.Signal(syscall.SIGQUIT))
		select {
		case <-c.Done():
		case <-time.After(quitWait):
			c.process.Kill()
			<-c.Done()
		}
	}
	if err != nil {
		err = fmt.Errorf("PostgreSQL: stop: %w", err)
	}
	// Backends of a postmaster that was killed notice within moments, unless
	// they are busy.
	return errors.Join(err, endAll(context.WithoutCancel(ctx), c.options.DataDir, time.Second))
}

// quitWait is a little more than the five seconds that a postmaster gives its
// backends on SIGQUIT.
const quitWait = 7 * time.Second

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
