package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"strongroom/internal/app"
	"strongroom/internal/app/certs"
	"strongroom/internal/app/config"
	"strongroom/internal/app/datadir"
	"strongroom/internal/app/supervisor"
	"strongroom/internal/app/tlsca"
	"strongroom/internal/keyservice"
	"strongroom/internal/keyservice/guardian"
	"strongroom/internal/osproc"
)

func init() {
	serverCommands = append(serverCommands, upCommand, serveCommand, keyserviceCommand, guardianCommand, deliverCommand)
}

// upCommand runs a whole installation. Its line on stdout is a contract with
// scripts: "strongroom: ready https://HOST:PORT", once.
func upCommand() *cobra.Command {
	o := app.UpOptions{}
	c := &cobra.Command{
		Use: "up", Short: "Run a whole installation on this machine", Args: cobra.NoArgs,
		Long: "Runs PostgreSQL, the key service, a guardian for each zone and the server, each a process of its own, until it is ended by SIGTERM or Ctrl-C.\n" +
			"Prints \"strongroom: ready https://HOST:PORT\" when it can serve. An empty installation then waits to be set up: its log, and the file\n" +
			"setup-link.txt in the data directory, have a link for it that works once.",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := osproc.Harden(); err != nil {
				return err
			}
			log, err := serverLog(o.DataDir, c.ErrOrStderr())
			if err != nil {
				return err
			}
			o.Environ, o.Version, o.Out, o.Log, o.LogTo = os.Environ(), version, c.OutOrStdout(), log, c.ErrOrStderr()
			return app.Up(c.Context(), o)
		},
	}
	c.Flags().StringVar(&o.DataDir, "data", "", "data directory; made when missing")
	c.Flags().StringVar(&o.Listen, "listen", "", "address of the HTTPS server, HOST:PORT (default 127.0.0.1:8443)")
	c.Flags().BoolVar(&o.Demo, "demo", false, "fill an empty installation with three organizations and real files")
	_ = c.MarkFlagRequired("data")
	return c
}

func serverLog(dir string, w io.Writer) (*slog.Logger, error) {
	cfg, err := config.Load(dir, os.Environ())
	if err != nil {
		return nil, err
	}
	level, err := cfg.Level()
	if err != nil {
		return nil, err
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})), nil
}

func childLog(c *cobra.Command, name string) *slog.Logger {
	return slog.New(slog.NewTextHandler(c.ErrOrStderr(), nil)).With("process", name)
}

// child runs one of the processes of an installation and gives its supervisor
// the reason when it cannot.
func child(run func(c *cobra.Command) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, _ []string) error {
		err := osproc.Harden()
		if err == nil {
			err = run(c)
		}
		if err != nil {
			return errors.Join(err, supervisor.Failed(err))
		}
		return nil
	}
}

func serveCommand() *cobra.Command {
	var data, url, address, cert, key, trust string
	var authority certs.ACME
	var authorityCA string
	var demo, redirect, metrics, sandboxes bool
	var keyUIDs []uint
	c := &cobra.Command{Use: "serve", Short: "Run the server (a process of up)", Hidden: true, Args: cobra.NoArgs, RunE: child(func(c *cobra.Command) error {
		o := app.ServeOptions{Layout: datadir.At(data), URL: url, Address: address, KeyUIDs: uids(keyUIDs), Version: version, Demo: demo, Sandboxes: sandboxes,
			Log: childLog(c, "server"), Ready: func() { _ = supervisor.Ready() }}
		var err error
		if o.Trust, err = app.ParseTrust(trust); err != nil {
			return fmt.Errorf("trust: %w", err)
		}
		tls := o.Layout.TLS()
		o.Certs = certs.Options{LocalCert: filepath.Join(tls, tlsca.CertFile), LocalKey: filepath.Join(tls, tlsca.KeyFile), OwnCert: cert, OwnKey: key}
		if authority.Directory != "" {
			authority.Cache, authority.HTTP = o.Layout.ACME(), redirect
			if authorityCA != "" {
				var err error
				if authority.CA, err = os.ReadFile(authorityCA); err != nil {
					return fmt.Errorf("acme.ca: %w", err)
				}
			}
			o.Certs.ACME = &authority
		}
		listeners := []*net.Listener{&o.Listener, &o.Admin}
		if redirect {
			listeners = append(listeners, &o.Redirect)
		}
		if metrics {
			listeners = append(listeners, &o.Metrics)
		}
		for i, l := range listeners {
			var err error
			if *l, err = supervisor.Inherited(i); err != nil {
				return fmt.Errorf("serve is started by up, which hands it its sockets: %w", err)
			}
		}
		return app.Serve(c.Context(), o)
	})}
	f := c.Flags()
	f.StringVar(&data, "data", "", "data directory")
	f.StringVar(&url, "url", "", "URL of the API on this machine")
	f.StringVar(&trust, "trust", "", "settings of the trust page, as JSON")
	f.StringVar(&address, "address", "", "URL by which people reach it")
	f.StringVar(&cert, "certificate", "", "certificate file of the operator's own")
	f.StringVar(&key, "key", "", "its private key file")
	f.StringVar(&authority.Directory, "acme-directory", "", "directory URL of an ACME authority")
	f.StringVar(&authority.Email, "acme-email", "", "where it may write to")
	f.StringVar(&authorityCA, "acme-ca", "", "certificates that its own is checked with")
	f.StringArrayVar(&authority.Names, "acme-name", nil, "a DNS name to ask it for")
	f.UintSliceVar(&keyUIDs, "keys-uid", nil, "user of the key service")
	f.BoolVar(&demo, "demo", false, "fill an empty installation")
	f.BoolVar(&sandboxes, "sandboxes", false, "people may make throw-away organizations")
	f.BoolVar(&redirect, "redirect", false, "a further socket redirects plain HTTP")
	f.BoolVar(&metrics, "metrics", false, "the last socket is for Prometheus")
	return c
}

func keyserviceCommand() *cobra.Command {
	var zoneA, zoneB string
	var guardians []string
	var clientUIDs, guardianUIDs []uint
	c := &cobra.Command{Use: "keyservice", Short: "Run the key service (a process of up)", Hidden: true, Args: cobra.NoArgs, RunE: child(func(c *cobra.Command) error {
		l, err := supervisor.Inherited(0)
		if err != nil {
			return fmt.Errorf("keyservice is started by up, which hands it its socket: %w", err)
		}
		return keyservice.Serve(c.Context(), keyservice.Options{Listener: l, UIDs: uids(clientUIDs), ZoneA: zoneA, ZoneB: zoneB, Guardians: guardians,
			GuardianUIDs: uids(guardianUIDs), Log: childLog(c, "key service"), Ready: func() { _ = supervisor.Ready() }})
	})}
	f := c.Flags()
	f.StringVar(&zoneA, "zone-a", "", "key store of zone a")
	f.StringVar(&zoneB, "zone-b", "", "key store of zone b")
	f.StringSliceVar(&guardians, "guardian", nil, "socket of a guardian, in the order of the zones")
	f.UintSliceVar(&clientUIDs, "client-uid", nil, "user of the server")
	f.UintSliceVar(&guardianUIDs, "guardian-uid", nil, "user of a guardian")
	return c
}

func guardianCommand() *cobra.Command {
	var dir, zone string
	var clientUIDs []uint
	c := &cobra.Command{Use: "guardian", Short: "Run a guardian (a process of up)", Hidden: true, Args: cobra.NoArgs, RunE: child(func(c *cobra.Command) error {
		l, err := supervisor.Inherited(0)
		if err != nil {
			return fmt.Errorf("guardian is started by up, which hands it its socket: %w", err)
		}
		return guardian.Serve(c.Context(), guardian.Options{Dir: dir, Listener: l, UIDs: uids(clientUIDs), Log: childLog(c, "guardian "+zone),
			Ready: func() { _ = supervisor.Ready() }})
	})}
	f := c.Flags()
	f.StringVar(&dir, "dir", "", "store of the guardian")
	f.StringVar(&zone, "zone", "", "its zone")
	f.UintSliceVar(&clientUIDs, "client-uid", nil, "user of the key service")
	return c
}

// deliverCommand sends one message and ends. Its supervisor hears from it by
// its output and exit code.
func deliverCommand() *cobra.Command {
	return &cobra.Command{Use: "deliver", Short: "Send one message (a process of up)", Hidden: true, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		if err := osproc.Harden(); err != nil {
			return err
		}
		return app.Deliver(c.Context(), c.InOrStdin(), c.OutOrStdout())
	}}
}

func uids(in []uint) (out []uint32) {
	for _, u := range in {
		out = append(out, uint32(u))
	}
	return out
}
