package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime/debug"
	"time"

	"golang.org/x/sync/errgroup"

	"strongroom/internal/app/certs"
	"strongroom/internal/app/datadir"
	"strongroom/internal/app/tlsca"
	"strongroom/internal/postgres"
	"strongroom/internal/web/api"
)

// Database is the name of the installation's database.
const Database = "strongroom"

// ServeOptions says what the server process is given by its supervisor.
type ServeOptions struct {
	Layout   datadir.Layout
	Listener net.Listener // of the API
	Admin    net.Listener // of the operator's socket
	Redirect net.Listener // plain HTTP, nil for none
	Metrics  net.Listener // on this machine's loopback, nil for none
	URL      string       // under which the API is reached on this machine
	Address  string       // under which people reach it
	Certs    certs.Options
	KeyUIDs  []uint32
	Version  string
	Demo     bool
	// Sandboxes lets people make throw-away organizations.
	Sandboxes bool
	Trust     TrustOptions
	Log       *slog.Logger
	Ready     func() // called once the server answers
}

// KeySocket is where the key service listens.
func KeySocket(l datadir.Layout) string {
	return filepath.Join(l.Run(datadir.RunKeys), "keys.sock")
}

// GuardianSocket is where the guardian of zone "a" or "b" listens.
func GuardianSocket(l datadir.Layout, zone string) string {
	name := datadir.RunGuardianA
	if zone == "b" {
		name = datadir.RunGuardianB
	}
	return filepath.Join(l.Run(name), "guardian.sock")
}

// Tune trades memory that the server has anyway for time: its live heap is
// small, so that a collection after each doubling would run all the time. Near
// the limit it collects as often as it must.
func Tune() {
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(160 << 20)
}

// Serve is the server process. It returns when ctx ends and the requests under
// way are answered.
func Serve(ctx context.Context, o ServeOptions) error {
	Tune()
	sockets := o.Layout.Run(datadir.RunPostgres)
	a, err := Open(ctx, Options{
		URL:       func(login string) string { return postgres.SocketURL(sockets, login, Database) },
		KeySocket: KeySocket(o.Layout), KeyUIDs: o.KeyUIDs, Objects: o.Layout.Objects(), DataDir: o.Layout.Path(), Version: o.Version, Sandboxes: o.Sandboxes,
		Address: o.Address, Trust: o.Trust, Log: o.Log})
	if err != nil {
		return err
	}
	defer a.Close()
	o.Certs.Log = o.Log
	shown, err := certs.New(o.Certs)
	if err != nil {
		return err
	}
	a.Shows(shown.Status)
	tls := shown.TLS()
	client, err := tlsca.Client(filepath.Join(o.Layout.TLS(), "ca.pem"))
	if err != nil {
		return err
	}
	a.Listens(o.URL, &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: client},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }})

	g, run := errgroup.WithContext(ctx)
	g.Go(func() error {
		return api.Serve(run, api.ServeOptions{Listener: o.Listener, TLS: tls, Handler: a.Front, Plain: shown.Plain, Log: o.Log})
	})
	g.Go(func() error { return serveLocal(run, o.Admin, a.admin()) })
	g.Go(func() error { shown.Keep(run); return nil })
	if o.Metrics != nil {
		g.Go(func() error { return serveLocal(run, o.Metrics, onlyMetrics(a.Metrics())) })
	}
	if o.Redirect != nil {
		g.Go(func() error {
			return api.Serve(run, api.ServeOptions{Listener: o.Redirect, TLS: tls, Handler: a.Front, Plain: shown.Plain, Log: o.Log})
		})
	}
	if o.Demo {
		if err := a.demo(run); err != nil {
			return fmt.Errorf("demo data: %w", err)
		}
	} else if err := a.offerSetup(run); err != nil {
		return fmt.Errorf("set-up: %w", err)
	}
	if o.Ready != nil {
		o.Ready()
	}
	a.ProveOnSchedule(run)
	return g.Wait()
}
