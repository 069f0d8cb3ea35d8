package identity

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/store/platform"
)

// Freshness is how old the knowledge may be that an actor was minted from: a
// session that ended, a key that was revoked or a role that was taken away
// counts on every server within this time (IAM-9).
const Freshness = time.Second

// Options configures a Service. Store is required.
type Options struct {
	Store     *platform.Store
	Passwords *Passwords // nil: NewPasswords with its defaults
	// Idle ends a session that is not used; Absolute ends it in any case. The
	// defaults are an hour and a day (NIST SP 800-63B-4 section 2.2.3).
	Idle, Absolute time.Duration
	Founding       *Founding // nil: this process makes no organizations
	Log            *slog.Logger
}

// Service is what the package does with a database.
type Service struct {
	store          *platform.Store
	passwords      *Passwords
	idle, absolute time.Duration
	founding       *Founding
	log            *slog.Logger
	known          *cache
}

// New returns a service, or says what is wrong with o.
func New(o Options) (*Service, error) {
	if o.Store == nil {
		return nil, errors.New("identity: Options.Store is required")
	}
	if o.Idle == 0 {
		o.Idle = time.Hour
	}
	if o.Absolute == 0 {
		o.Absolute = 24 * time.Hour
	}
	if o.Idle < time.Minute || o.Absolute < o.Idle {
		return nil, errors.New("identity: Options.Idle must be a minute or more, and Options.Absolute no less than Idle")
	}
	if o.Passwords == nil {
		o.Passwords = NewPasswords(PasswordOptions{})
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return &Service{o.Store, o.Passwords, o.Idle, o.Absolute, o.Founding, o.Log, newCache()}, nil
}

// The purposes that keep one keyed hash from standing for another.
const (
	hashAddress = "person.address"
	hashSession = "session.token"
	hashKey     = "key.token"
)

// maxGenerations bounds how far back a hash is looked for after the
// installation's keys were renewed.
const maxGenerations = 4

// hashes returns the keyed hashes under which a value may be stored, newest
// first. The key belongs to the installation, whichever organization the
// transaction entered: a caller is known before her organization is.
func hashes(ctx context.Context, tx *platform.Tx, purpose string, value string) ([][]byte, error) {
	keys := tx.KeysOf(id.Installation)
	newest, err := keys.Generation(ctx)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for gen := newest; gen > 0 && newest-gen < maxGenerations; gen-- {
		h, err := seal.NewHasherAt(ctx, keys, gen, keytree.LeafIndex, purpose)
		if err != nil {
			if gen < newest && (errors.Is(err, keytree.ErrPunctured) || fault.Is(err, fault.NotFound)) {
				continue // an index key that was destroyed finds nothing any more
			}
			return nil, err
		}
		out = append(out, h.Sum([]byte(value)))
	}
	return out, nil
}

func toRoles(names []string) []policy.Role {
	out := make([]policy.Role, len(names))
	for i, n := range names {
		out[i] = policy.Role(n)
	}
	return out
}

func toNames[T ~string](values []T) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = string(v)
	}
	return out
}

// page asks for one row more than it shows, to know whether there is a next
// page.
const maxPage = 200

func pageSize(limit int) int {
	if limit < 1 || limit > maxPage {
		return 50
	}
	return limit
}
