package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"

	"github.com/spf13/cobra"

	"strongroom/internal/app"
	"strongroom/internal/app/config"
	"strongroom/internal/app/datadir"
	"strongroom/internal/app/supervisor"
	"strongroom/internal/keyservice"
	"strongroom/internal/keyservice/guardian"
)

func init() {
	serverCommands = append(serverCommands, upCommand, serveCommand, keyserviceCommand, guardianCommand)
}

// upCommand runs a whole installation. Its line on stdout is a contract with
// scripts: "strongroom: ready https://HOST:PORT", once.
func upCommand() *cobra.Command {
	o := app.UpOptions{}
	c := &cobra.Command{
		Use: "up", Short: "Run a whole installation on this machine", Args: cobra.NoArgs,
		Long: "Runs PostgreSQL, the key service, a guardian for each zone and the server, each a process of its own, until it is ended by SIGTERM or Ctrl-C.\n" +
			"Prints \"strongroom: ready https://HOST:PORT\" when it can serve.",
		RunE: func(c *cobra.Command, _ []string) error {
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
		err := run(c)
		if err != nil {
			return errors.Join(err, supervisor.Failed(err))
		}
		return nil
	}
}

func serveCommand() *cobra.Command {
	var data, url, cert, key string
	var demo, redirect bool
	var keyUIDs []uint
	c := &cobra.Command{Use: "serve", Short: "Run the server (a process of up)", Hidden: true, Args: cobra.NoArgs, RunE: child(func(c *cobra.Command) error {
		o := app.ServeOptions{Layout: datadir.At(data), URL: url, CertFile: cert, KeyFile: key, KeyUIDs: uids(keyUIDs), Version: version, Demo: demo,
			Log: childLog(c, "server"), Ready: func() { _ = supervisor.Ready() }}
		for i, l := range []*net.Listener{&o.Listener, &o.Admin, &o.Redirect} {
			if i == 2 && !redirect {
				break
			}
			var err error
			if *l, err = supervisor.Inherited(i); err != nil {
				return fmt.Errorf("serve is started by up, which hands it its sockets: %w", err)
			}
		}
		return app.Serve(c.Context(), o)
	})}
	f := c.Flags()
	f.StringVar(&data, "data", "", "data directory")
	f.StringVar(&url, "url", "", "URL of the API")
	f.StringVar(&cert, "certificate", "", "certificate file")
	f.StringVar(&key, "key", "", "private key file")
	f.UintSliceVar(&keyUIDs, "keys-uid", nil, "user of the key service")
	f.BoolVar(&demo, "demo", false, "fill an empty installation")
	f.BoolVar(&redirect, "redirect", false, "a third socket redirects plain HTTP")
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

func uids(in []uint) (out []uint32) {
	for _, u := range in {
		out = append(out, uint32(u))
	}
	return out
}
