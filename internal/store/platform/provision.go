package platform

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
)

// Where an organization's rows can be.
const (
	PlacementSchema = "schema" // a schema and role of its own
	PlacementPooled = "pooled" // the shared schema
)

// NewOrg describes an organization to be made.
type NewOrg struct {
	ID        id.Org
	Placement string // PlacementSchema or PlacementPooled
	Plan      string
	Profile   []byte // sealed under the organization's own keys
}

// Placement says where an organization's rows are and which login serves them.
type Placement struct {
	Kind   string // PlacementSchema or PlacementPooled
	Schema string
	Role   string
	Slice  int // the login is AppLogin(Slice)
}

// Provisioner makes organizations. Its login owns nothing and may create
// nothing: it calls two functions that do, and each call is one transaction.
type Provisioner struct {
	pool *pgxpool.Pool
	// stocking keeps one server from building the same spares twice.
	stocking sync.Mutex
}

// NewProvisioner connects as the login sr_provisioner.
func NewProvisioner(ctx context.Context, url string) (*Provisioner, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("platform: connection string: %w", err)
	}
	cfg.MaxConns = 4
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("platform: provisioner: %w", err)
	}
	return &Provisioner{pool: pool}, nil
}

// Close ends the connections.
func (p *Provisioner) Close() { p.pool.Close() }

// Restock builds spare schemas until there are n. What it has built when it is
// stopped stays in stock.
func (p *Provisioner) Restock(ctx context.Context, n int) error {
	p.stocking.Lock()
	defer p.stocking.Unlock()
	for built := true; built; {
		if err := p.pool.QueryRow(ctx, "SELECT platform.restock($1)", n).Scan(&built); err != nil {
			return fmt.Errorf("platform: restock: %w", err)
		}
	}
	return nil
}

// Stock says how many spare schemas there are.
func (p *Provisioner) Stock(ctx context.Context) (n int, err error) {
	if err = p.pool.QueryRow(ctx, "SELECT count(*) FROM platform.spare").Scan(&n); err != nil {
		return 0, fmt.Errorf("platform: stock: %w", err)
	}
	return n, nil
}

// CreateOrg makes an organization: its row, its place, the anchor of its
// tables and the head of its log, all or nothing. A schema comes from stock,
// or is built on the spot, some ten times slower, when the stock is empty. An
// identifier that is taken is a [fault.Conflict].
func (p *Provisioner) CreateOrg(ctx context.Context, o NewOrg) (Placement, error) {
	if o.ID.IsZero() || o.Plan == "" || o.Placement != PlacementSchema && o.Placement != PlacementPooled {
		return Placement{}, fault.New(fault.Invalid, "a new organization needs an identifier, a plan and a placement, schema or pooled")
	}
	at := Placement{Kind: o.Placement}
	err := p.pool.QueryRow(ctx, "SELECT schema_name, role_name, slice FROM platform.found($1, $2, $3, $4)",
		o.ID.UUID(), o.Placement, o.Plan, o.Profile).Scan(&at.Schema, &at.Role, &at.Slice)
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && refused.Code == "23505":
		return Placement{}, fault.Wrap(fault.Conflict, err, "there is an organization with this identifier")
	case errors.As(err, &refused) && refused.ConstraintName == "org_plan_fkey":
		return Placement{}, fault.At(fault.Invalid, "/plan", "unknown_plan", "there is no such plan")
	case err != nil:
		return Placement{}, fmt.Errorf("platform: create organization: %w", err)
	}
	return at, nil
}

// Querier is the one method of a pool that a lookup needs.
type Querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Placements says where organizations live. A placement never changes, so
// what was looked up once is kept; its absence is not.
type Placements struct {
	db    Querier
	known sync.Map // id.Org → Placement
}

// NewPlacements reads through db, a pool of the login sr_platform.
func NewPlacements(db Querier) *Placements { return &Placements{db: db} }

// Of returns the placement of an organization, or a [fault.NotFound].
func (p *Placements) Of(ctx context.Context, org id.Org) (Placement, error) {
	if at, ok := p.known.Load(org); ok {
		return at.(Placement), nil
	}
	var at Placement
	err := p.db.QueryRow(ctx, "SELECT placement, schema_name, role_name, slice FROM platform.org WHERE id = $1", org.UUID()).
		Scan(&at.Kind, &at.Schema, &at.Role, &at.Slice)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Placement{}, fault.New(fault.NotFound, "no such organization")
	case err != nil:
		return Placement{}, fmt.Errorf("platform: placement: %w", err)
	}
	p.known.Store(org, at)
	return at, nil
}
