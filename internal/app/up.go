package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"strongroom/internal/app/config"
	"strongroom/internal/app/datadir"
	"strongroom/internal/app/supervisor"
	"strongroom/internal/app/tlsca"
	"strongroom/internal/osproc"
	"strongroom/internal/postgres"
	"strongroom/internal/store/platform"
)

// UpOptions says what to run on this machine.
type UpOptions struct {
	DataDir string
	Listen  string // overrides the setting; "" keeps it
	Demo    bool
	Environ []string
	Version string
	Out     io.Writer // gets the one line that says that it is ready
	Log     *slog.Logger
	LogTo   io.Writer // what the children write
}

// Up runs a whole installation on this machine until ctx ends: PostgreSQL, a
// guardian for each zone, the key service and the server, each a process of its
// own, under a user of its own when started as root.
func Up(ctx context.Context, o UpOptions) (err error) {
	cfg, err := config.Load(o.DataDir, o.Environ)
	if err != nil {
		return err
	}
	if o.Listen != "" {
		cfg.Listen = o.Listen
	}
	binaries, err := findPostgres(cfg)
	if err != nil {
		return err
	}
	users, err := datadir.EnsureUsers()
	if err != nil {
		return err
	}
	dir, err := datadir.Open(o.DataDir, users)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()

	listener, addr, err := supervisor.ListenTCP(ctx, cfg.Listen)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	adminPath := filepath.Join(dir.Run(""), "admin.sock")
	admin, err := supervisor.ListenUnix(adminPath, nil)
	if err != nil {
		return fmt.Errorf("the operator's socket: %w", err)
	}
	defer func() { _ = admin.Close(); _ = os.Remove(adminPath) }()
	files := []*os.File{listener, admin}
	if cfg.Redirect != "" {
		redirect, _, err := supervisor.ListenTCP(ctx, cfg.Redirect)
		if err != nil {
			return err
		}
		defer func() { _ = redirect.Close() }()
		files = append(files, redirect)
	}
	if cfg.Metrics.Listen != "" {
		metrics, _, err := supervisor.ListenTCP(ctx, cfg.Metrics.Listen)
		if err != nil {
			return fmt.Errorf("metrics.listen: %w", err)
		}
		defer func() { _ = metrics.Close() }()
		files = append(files, metrics)
	}
	tlsOptions := tlsca.Options{Dir: dir.TLS(), Names: names(cfg, addr), Server: users.Server, Log: o.Log}
	if err := tlsca.Ensure(tlsOptions); err != nil {
		return err
	}
	go tlsca.Keep(ctx, tlsOptions)
	url := "https://" + addr.String()
	at := address(cfg, addr)
	watch, err := newWatch(cfg, dir.Layout, users, adminPath, at, o.Version, o.Log)
	if err != nil {
		return err
	}
	if err := PrepareSetup(dir.Layout, users.Server); err != nil {
		return err
	}

	serve := []string{"serve", "--data", dir.Path(), "--url", url, "--address", at}
	if cfg.TLS.Certificate != "" {
		serve = append(serve, "--certificate", cfg.TLS.Certificate, "--key", cfg.TLS.Key)
	}
	if cfg.ACME.Directory != "" {
		serve = append(serve, "--acme-directory", cfg.ACME.Directory, "--acme-email", cfg.ACME.Email, "--acme-ca", cfg.ACME.CA)
		for _, n := range cfg.ACMENames() {
			serve = append(serve, "--acme-name", n)
		}
	}
	if o.Demo {
		if err := PrepareDemo(dir.Layout, users.Server); err != nil {
			return err
		}
		serve = append(serve, "--demo")
	}
	page, err := TrustSettings(cfg, o.Demo)
	if err != nil {
		return err
	}
	serve = append(serve, "--trust", page.Argument())
	if u := users.Keys; u != nil {
		serve = append(serve, "--keys-uid", uid(u))
	}
	if cfg.Developer.Sandboxes.Or(o.Demo) {
		serve = append(serve, "--sandboxes")
	}
	if cfg.Redirect != "" {
		serve = append(serve, "--redirect")
	}
	if cfg.Metrics.Listen != "" {
		serve = append(serve, "--metrics")
	}
	guardian := func(zone string, own, keys *osproc.User) supervisor.Service {
		args := []string{"guardian", "--dir", dir.Guardian(zone), "--zone", zone}
		if keys != nil {
			args = append(args, "--client-uid", uid(keys))
		}
		return supervisor.Service{Name: "guardian " + zone, Start: func(ctx context.Context) (supervisor.Running, error) {
			f, err := supervisor.ListenUnix(GuardianSocket(dir.Layout, zone), keys)
			if err != nil {
				return nil, err
			}
			defer func() { _ = f.Close() }()
			return supervisor.Process{Args: args, User: own, Files: []*os.File{f}, Log: o.LogTo}.Start(ctx)
		}}
	}
	keyArgs := []string{"keyservice", "--zone-a", dir.KeyZone("a"), "--zone-b", dir.KeyZone("b"),
		"--guardian", GuardianSocket(dir.Layout, "a"), "--guardian", GuardianSocket(dir.Layout, "b")}
	for _, u := range []*osproc.User{users.GuardianA, users.GuardianB} {
		if u != nil {
			keyArgs = append(keyArgs, "--guardian-uid", uid(u))
		}
	}
	if u := users.Server; u != nil {
		keyArgs = append(keyArgs, "--client-uid", uid(u))
	}

	var watching sync.WaitGroup
	s, err := supervisor.New(supervisor.Options{Log: o.Log,
		Ready: func() {
			watching.Go(func() { watch.run(ctx) })
			_, _ = fmt.Fprintf(o.Out, "strongroom: ready %s\n", url)
		},
		Services: []supervisor.Service{
			{Name: "PostgreSQL", ReadyWithin: 10 * time.Minute, StopWithin: time.Minute, Start: func(ctx context.Context) (supervisor.Running, error) {
				return startPostgres(ctx, dir, users, cfg, binaries, o.LogTo)
			}},
			guardian("a", users.GuardianA, users.Keys),
			guardian("b", users.GuardianB, users.Keys),
			{Name: "key service", Start: func(ctx context.Context) (supervisor.Running, error) {
				f, err := supervisor.ListenUnix(KeySocket(dir.Layout), users.Server)
				if err != nil {
					return nil, err
				}
				defer func() { _ = f.Close() }()
				return supervisor.Process{Args: keyArgs, User: users.Keys, Files: []*os.File{f}, Log: o.LogTo}.Start(ctx)
			}},
			{Name: "server", ReadyWithin: 10 * time.Minute, StopWithin: 30 * time.Second, Start: func(ctx context.Context) (supervisor.Running, error) {
				return supervisor.Process{Args: serve, User: users.Server, Files: files, Log: o.LogTo}.Start(ctx)
			}},
		}})
	if err != nil {
		return err
	}
	watch.status = s.Status
	err = s.Run(ctx)
	watching.Wait()
	return err
}

func uid(u *osproc.User) string { return strconv.FormatUint(uint64(u.UID), 10) }

func findPostgres(cfg config.Config) (postgres.Binaries, error) {
	if cfg.Postgres.Binaries != "" {
		return postgres.In(cfg.Postgres.Binaries)
	}
	return postgres.Find()
}

// startPostgres starts the private cluster and brings its roles and database
// to this version, which only the superuser can.
func startPostgres(ctx context.Context, dir *datadir.Dir, users datadir.Users, cfg config.Config, binaries postgres.Binaries, log io.Writer) (supervisor.Running, error) {
	po := postgres.Options{DataDir: dir.Postgres(), SocketDir: dir.Run(datadir.RunPostgres), User: users.Postgres, Binaries: binaries,
		Settings: cfg.Postgres.Settings, Log: log}
	if users.Server != nil {
		po.OSLogins = []string{users.Server.Name}
	}
	c, err := postgres.Start(ctx, po)
	if err != nil {
		return nil, err
	}
	if err := platform.Bootstrap(ctx, c.URL(postgres.DefaultSuperuser, Database)); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return nil, errors.Join(err, c.Stop(stop))
	}
	return c, nil
}

// names are what the certificate is for: what the operator set, and the
// address that is listened on.
func names(cfg config.Config, addr net.Addr) []string {
	all := append([]string{}, cfg.Names...)
	if t, ok := addr.(*net.TCPAddr); ok && !t.IP.IsUnspecified() {
		all = append(all, t.IP.String())
	}
	return all
}
