// Package app puts the house together: it opens the stores, lists the
// features, and runs the processes of an installation.
//
// [Open] is a server without its sockets, as the server process, the tests and
// the benchmarks use it. [Serve] is the server process, [Up] the supervisor of
// one machine. To add a feature, add its line in features.go.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"strongroom/internal/app/alarm"
	"strongroom/internal/app/metrics"
	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/seal"
	"strongroom/internal/blob"
	"strongroom/internal/feature"
	"strongroom/internal/feature/intake"
	"strongroom/internal/feature/plans"
	"strongroom/internal/feature/setup"
	"strongroom/internal/feature/status"
	"strongroom/internal/feature/trust"
	"strongroom/internal/identity"
	"strongroom/internal/keyservice"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
	"strongroom/internal/web"
	"strongroom/internal/web/api"
)

// Stock is how many spare schemas a server keeps ready.
const Stock = 8

// Options says where a server finds its stores.
type Options struct {
	URL       func(login string) string // PostgreSQL's connection strings
	KeySocket string
	KeyUIDs   []uint32 // users that the key service may run as, beside this one and root
	Objects   string   // directory of the object store
	DataDir   string   // for the checks; "" where there is none
	Version   string
	// Capability is the key that the database checks capabilities with; nil
	// derives it from the installation's keys and installs it, together with
	// the migrations that are due.
	Capability *[32]byte
	MaxConns   int32 // of each of the sixteen logins; 0: 8
	Passwords  identity.PasswordOptions
	Sandboxes  bool   // people may make throw-away organizations
	Address    string // where people reach it; "": nowhere
	Trust      TrustOptions
	Log        *slog.Logger
}

// App is an open server.
type App struct {
	Audit    *audit.Log
	Tenant   *tenant.Store
	Platform *platform.Store
	Identity *identity.Service
	Keys     *keyservice.Client
	Blobs    *blob.Dir
	Features []feature.Feature
	API      *api.Server
	Front    *web.Front // every face on one port; what is served
	Prover   *trust.Prover
	Proofs   *trust.Proofs // what its checks found
	Log      *slog.Logger

	// Alarms is where whoever sees something wrong says so; the supervisor
	// tells people.
	Alarms *alarm.Board

	options     Options
	started     time.Time
	codes       *setup.Codes
	metrics     *metrics.Metrics
	overview    func(context.Context) (trust.Overview, error) // of the promises; nil: not known
	shown       func() []status.Certificate                   // nil: none
	provisioner *platform.Provisioner
	canaries    canaries
	plans       *plans.Service
	intake      *intake.Service
	proving     proving
	jobs        *jobs
	server      id.Server
	// capabilityKey is kept for the check that it is found nowhere outside.
	capabilityKey [32]byte

	mu     sync.Mutex
	public public
}

// public is how the server is reached from outside, once it listens.
type public struct {
	url    string
	client *http.Client
}

// Open opens everything, in the order in which each needs the one before. It
// refuses to start where the keys do not open what they should.
func Open(ctx context.Context, o Options) (_ *App, err error) {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.MaxConns == 0 {
		o.MaxConns = 8
	}
	a := &App{Log: o.Log, options: o, server: id.NewServer(), Alarms: &alarm.Board{}, started: time.Now().UTC().Truncate(time.Second),
		codes: &setup.Codes{File: filepath.Join(o.DataDir, SetupFile)}}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	if a.Keys, err = keyservice.Dial(ctx, o.KeySocket, o.KeyUIDs...); err != nil {
		return nil, fmt.Errorf("key service: %w", err)
	}
	if err = a.Keys.Check(ctx); err != nil {
		return nil, fmt.Errorf("key service: self-check: %w", err)
	}
	keys := func(org id.Org) seal.Keys { return a.Keys.Keys(org) }
	capability, err := a.capability(ctx)
	if err != nil {
		return nil, err
	}
	a.capabilityKey = capability
	if a.Audit, err = audit.Open(ctx, audit.Options{URL: o.URL("sr_audit"), Keys: keys, Log: o.Log}); err != nil {
		return nil, err
	}
	if a.Platform, err = platform.NewStore(ctx, platform.StoreOptions{URL: o.URL("sr_platform"), Audit: a.Audit, Keys: keys, NewLeaf: a.Keys.NewLeaf,
		Capability: capability, Log: o.Log}); err != nil {
		return nil, err
	}
	to := tenant.Options{MaxConns: o.MaxConns, Placements: a.Platform.Placements(), Audit: a.Audit, Keys: keys, NewLeaf: a.Keys.NewLeaf,
		Capability: capability, Log: o.Log}
	for i := range to.Slices {
		to.Slices[i] = o.URL(platform.AppLogin(i))
	}
	if a.Tenant, err = tenant.New(ctx, to); err != nil {
		return nil, err
	}
	if a.provisioner, err = platform.NewProvisioner(ctx, o.URL("sr_provisioner")); err != nil {
		return nil, err
	}
	if a.Identity, err = identity.New(identity.Options{Store: a.Platform, Passwords: identity.NewPasswords(o.Passwords), Log: o.Log,
		Founding: &identity.Founding{CreateKeys: a.Keys.CreateOrg, CreatePlace: a.place, KeysOf: keys}}); err != nil {
		return nil, err
	}
	if a.Blobs, err = blob.OpenDir(o.Objects); err != nil {
		return nil, err
	}
	if err = a.selfCheck(ctx); err != nil {
		return nil, err
	}
	if err = a.openTrust(); err != nil {
		return nil, err
	}
	a.Features = a.features()
	if a.Prover, err = trust.New(a.Features, a.Env); err != nil {
		return nil, err
	}
	if err = a.keepProofs(); err != nil {
		return nil, err
	}
	a.metrics = metrics.New(metrics.Options{Version: o.Version, Operations: operations(a.Features), Look: a.numbers})
	a.API, err = api.New(api.Options{Features: a.Features, Doors: feature.ThroughStores(a.Tenant, a.Platform), Auth: a.Identity, Record: a.Tenant,
		Version: o.Version, Ready: a.Ready, Observe: a.metrics.Request, Log: o.Log})
	if err != nil {
		return nil, err
	}
	if err = a.faces(); err != nil {
		return nil, err
	}
	if a.jobs, err = startJobs(ctx, a); err != nil {
		return nil, err
	}
	return a, nil
}

// Close ends what Open began, in reverse.
func (a *App) Close() {
	if a.jobs != nil {
		a.jobs.close()
	}
	if a.provisioner != nil {
		a.provisioner.Close()
	}
	if a.Tenant != nil {
		a.Tenant.Close()
	}
	if a.Platform != nil {
		a.Platform.Close()
	}
	if a.Audit != nil {
		a.Audit.Close()
	}
	if a.Blobs != nil {
		_ = a.Blobs.Close()
	}
	if a.Keys != nil {
		_ = a.Keys.Close()
	}
}

// Migrations is the one set for the tables of organizations.
func Migrations() (*platform.MigratorOptions, error) {
	set, err := platform.MergeMigrations(migrations()...)
	if err != nil {
		return nil, err
	}
	return &platform.MigratorOptions{Organizations: set}, nil
}

// capability returns the key under which capabilities are signed, and makes
// sure that the database has the same and is of this version.
func (a *App) capability(ctx context.Context) (key [32]byte, err error) {
	if a.options.Capability != nil {
		return *a.options.Capability, nil
	}
	h, err := seal.NewHasher(ctx, a.Keys.Keys(id.Installation), keytree.LeafIndex, "database-capability")
	if err != nil {
		return key, err
	}
	copy(key[:], h.Sum())
	mo, err := Migrations()
	if err != nil {
		return key, err
	}
	mo.URL, mo.Log = a.options.URL("sr_migrator"), a.Log
	m, err := platform.NewMigrator(*mo)
	if err != nil {
		return key, err
	}
	if _, err := m.MigrateAll(ctx); err != nil {
		return key, err
	}
	return key, m.SetCapabilityKey(ctx, key)
}

// place makes an organization's place and fills the stock again behind it.
func (a *App) place(ctx context.Context, o platform.NewOrg) (platform.Placement, error) {
	at, err := a.provisioner.CreateOrg(ctx, o)
	if err == nil && a.jobs != nil {
		a.jobs.restock()
	}
	return at, err
}

// selfCheck seals and opens one value through the very path that requests
// take: a server whose keys do not work must not take data in.
func (a *App) selfCheck(ctx context.Context) error {
	k := a.Keys.Keys(id.Installation)
	place := seal.Place{Org: id.Installation, Table: "self_check", Row: a.server.UUID(), Version: 1}
	const probe = "strongroom"
	s, err := seal.Seal(ctx, k, place, seal.Section{Name: "probe", Leaf: keytree.LeafProfile, Plain: seal.NewSecretString(probe)})
	if err != nil {
		return fmt.Errorf("self-check: sealing: %w", err)
	}
	got, err := seal.OpenOne(ctx, k, place, s, "probe")
	if err != nil || string(got.Reveal()) != probe {
		return errors.Join(errors.New("self-check: what was sealed does not open again"), err)
	}
	place.Version = 2
	if _, err := seal.OpenOne(ctx, k, place, s, "probe"); err == nil {
		return errors.New("self-check: a sealed value opened in a place that is not its own")
	}
	return nil
}

// Ready says why the server cannot serve, if it cannot.
func (a *App) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := a.Identity.HasSystemAdmin(ctx); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the database does not answer")
	}
	if _, err := a.Keys.Status(ctx); err != nil {
		return fault.Wrap(fault.Unavailable, err, "the key service does not answer")
	}
	return nil
}

// Listens tells the app how it is reached, for the checks that come from
// outside.
func (a *App) Listens(url string, c *http.Client) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.public = public{url, c}
}
