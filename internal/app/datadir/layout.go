package datadir

import (
	"path/filepath"

	"strongroom/internal/osproc"
)

// Layout names the places of a data directory. It touches nothing, so a command
// that only talks to the running installation uses it too.
type Layout struct{ root string }

// At returns the layout of the data directory at path.
func At(path string) Layout { return Layout{root: path} }

// Path returns the data directory itself.
func (l Layout) Path() string { return l.root }

// Config returns the operator's settings file.
func (l Layout) Config() string { return filepath.Join(l.root, "strongroom.toml") }

// Postgres returns the private cluster's data directory.
func (l Layout) Postgres() string { return filepath.Join(l.root, "postgres") }

// Objects returns the local object store.
func (l Layout) Objects() string { return filepath.Join(l.root, "objects") }

// KeyZone returns the key store of zone "a" or "b".
func (l Layout) KeyZone(zone string) string { return filepath.Join(l.root, "keys", "zone-"+zone) }

// Guardian returns the store of the guardian of zone "a" or "b".
func (l Layout) Guardian(zone string) string { return filepath.Join(l.root, "guardians", zone) }

// Signer returns the audit signer's store.
func (l Layout) Signer() string { return filepath.Join(l.root, "signer") }

// Backup returns the backup repository of zone "a" or "b".
func (l Layout) Backup(zone string) string { return filepath.Join(l.root, "backup", "zone-"+zone) }

// TLS returns the folder of the local authority and the server's certificate.
func (l Layout) TLS() string { return filepath.Join(l.root, "tls") }

// ACME returns the folder of the account and certificates of an ACME authority.
func (l Layout) ACME() string { return filepath.Join(l.root, "tls", "acme") }

// Outbox returns the folder of mail and messages that wait to be sent.
func (l Layout) Outbox() string { return filepath.Join(l.root, "outbox") }

// The services that have a folder for their sockets; see [Layout.Run].
const (
	RunPostgres  = "postgres"
	RunKeys      = "keys"
	RunGuardianA = "guardian-a"
	RunGuardianB = "guardian-b"
	RunSigner    = "signer"
	RunServer    = "server"
)

// Run returns the folder for the sockets of one service. It is short enough for
// a socket of up to [MaxSocketName] bytes in it: under a long path, run is a
// symbolic link to a short one, which is followed here.
func (l Layout) Run(service string) string {
	run := filepath.Join(l.root, "run")
	if real, err := filepath.EvalSymlinks(run); err == nil {
		run = real
	}
	return filepath.Join(run, service)
}

// Users are the operating-system users of the services; each is nil when
// Strongroom does not run as root, and everything runs as the caller.
type Users struct {
	Server    *osproc.User
	Postgres  *osproc.User
	Keys      *osproc.User
	GuardianA *osproc.User
	GuardianB *osproc.User
	Signer    *osproc.User
}

// EnsureUsers returns the users of the services, made first when missing.
func EnsureUsers() (Users, error) {
	var u Users
	for _, s := range []struct {
		to   **osproc.User
		name string
	}{
		{&u.Server, "strongroom-server"},
		{&u.Postgres, "strongroom-postgres"},
		{&u.Keys, "strongroom-keys"},
		{&u.GuardianA, "strongroom-guardian-a"},
		{&u.GuardianB, "strongroom-guardian-b"},
		{&u.Signer, "strongroom-signer"},
	} {
		user, err := osproc.EnsureUser(s.name)
		if err != nil {
			return Users{}, err
		}
		*s.to = user
	}
	return u, nil
}

// UserNames lists the users that root's services run as.
func UserNames() []string {
	return []string{"strongroom-server", "strongroom-postgres", "strongroom-keys", "strongroom-guardian-a", "strongroom-guardian-b", "strongroom-signer"}
}

// all returns each of the users once, nils left out.
func (u Users) all() []*osproc.User {
	var set []*osproc.User
	for _, user := range []*osproc.User{u.Server, u.Postgres, u.Keys, u.GuardianA, u.GuardianB, u.Signer} {
		if user != nil {
			set = append(set, user)
		}
	}
	return set
}

// folder is one folder of the layout, who owns it, and whose group may pass
// through it to a socket.
type folder struct {
	path  string
	owner *osproc.User // nil: the caller
	group *osproc.User // nil: the owner's
	mode  uint32       // as root; otherwise everything is 0700
}

// folders are made in this order. Passing through (x) is all that a service gets
// of a folder that is not its own.
func (l Layout) folders(u Users) []folder {
	in := func(elem ...string) string { return filepath.Join(append([]string{l.root}, elem...)...) }
	return []folder{
		{path: l.Objects(), owner: u.Server, mode: 0o700},
		{path: in("keys"), mode: 0o711},
		{path: l.KeyZone("a"), owner: u.Keys, mode: 0o700},
		{path: l.KeyZone("b"), owner: u.Keys, mode: 0o700},
		{path: in("guardians"), mode: 0o711},
		{path: l.Guardian("a"), owner: u.GuardianA, mode: 0o700},
		{path: l.Guardian("b"), owner: u.GuardianB, mode: 0o700},
		{path: l.Signer(), owner: u.Signer, mode: 0o700},
		{path: in("backup"), mode: 0o711},
		{path: l.Backup("a"), owner: u.Postgres, mode: 0o700},
		{path: l.Backup("b"), owner: u.Postgres, mode: 0o700},
		{path: l.TLS(), mode: 0o755}, // clients read ca.pem; the keys are 0600
		{path: l.ACME(), owner: u.Server, mode: 0o700},
		{path: l.Outbox(), owner: u.Server, mode: 0o700},
		// A socket's folder lets in its one client, by group: guardians speak to
		// the key service alone, the key service and the signer to the server.
		{path: l.Run(RunPostgres), owner: u.Postgres, mode: 0o711}, // the peer map decides there
		{path: l.Run(RunKeys), owner: u.Keys, group: u.Server, mode: 0o710},
		{path: l.Run(RunGuardianA), owner: u.GuardianA, group: u.Keys, mode: 0o710},
		{path: l.Run(RunGuardianB), owner: u.GuardianB, group: u.Keys, mode: 0o710},
		{path: l.Run(RunSigner), owner: u.Signer, group: u.Server, mode: 0o710},
		{path: l.Run(RunServer), owner: u.Server, mode: 0o700},
	}
}
