package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
)

// Org is an organization as its members, and whoever runs the installation,
// see it.
type Org struct {
	ID        id.Org        `json:"id"`
	Name      string        `json:"name"`
	Placement string        `json:"placement" enum:"schema,pooled"`
	Plan      string        `json:"plan"`
	State     string        `json:"state" enum:"active,closed,expired"`
	CreatedAt time.Time     `json:"created_at"`
	ExpiresAt *time.Time    `json:"expires_at,omitempty" doc:"Of a throw-away organization: from then on nobody enters it."`
	Roles     []policy.Role `json:"roles" doc:"The caller's own roles there; none for a system administrator."`
	Owner     bool          `json:"owner" doc:"Whether the caller is an owner."`
}

// Plans lists what an organization may be on.
var Plans = []string{"pilot", "team", "enterprise"}

// NewOrg describes an organization to be made, with its first owner: a new
// person, or the holder of a join code.
type NewOrg struct {
	Name      string
	Placement string // "": schema
	Plan      string // "": enterprise, as a self-hosted installation starts
	Owner     NewPerson
	OwnerCode string
}

// Founding is what making an organization takes beyond the control plane's
// tables.
type Founding struct {
	// CreateKeys grows the organization's key tree; repeating it is harmless.
	CreateKeys func(context.Context, id.Org) error
	// CreatePlace makes its row, its place and the head of its log.
	CreatePlace func(context.Context, platform.NewOrg) (platform.Placement, error)
	// KeysOf gives the new keys, which seal the name.
	KeysOf func(id.Org) seal.Keys
}

const (
	orgTable       = "platform.org"
	orgNameSection = "name"
	orgVersion     = 1 // of a new organization
)

// SealOrgName seals the name of a new organization under its own profile leaf.
func SealOrgName(ctx context.Context, keys seal.Keys, name string) (seal.Sealed, error) {
	return sealOrgName(ctx, keys, orgVersion, name)
}

func sealOrgName(ctx context.Context, keys seal.Keys, version int64, name string) (seal.Sealed, error) {
	return seal.Seal(ctx, keys, seal.Place{Org: keys.Org(), Table: orgTable, Row: keys.Org().UUID(), Version: uint64(version)},
		seal.Section{Name: orgNameSection, Leaf: keytree.LeafProfile, Plain: seal.NewSecretString(name)})
}

func openOrgName(ctx context.Context, keys seal.Keys, version int64, profile seal.Sealed) (string, error) {
	if len(profile) == 0 {
		return "", nil
	}
	sections, err := seal.Open(ctx, keys, seal.Place{Org: keys.Org(), Table: orgTable, Row: keys.Org().UUID(), Version: uint64(version)}, profile)
	if err != nil {
		return "", fmt.Errorf("identity: name of %s: %w", keys.Org(), err)
	}
	for _, s := range sections {
		if s.Name == orgNameSection && !s.Erased {
			return string(s.Plain.Reveal()), nil
		}
	}
	return "", nil
}

// CreateOrg makes an organization and its first owner. The place comes first,
// as everything refers to it; if the owner cannot be added then, the
// organization is closed again and nobody ever belonged to it.
func (s *Service) CreateOrg(ctx context.Context, r platform.Request, n NewOrg) (Org, Member, audit.Receipt, error) {
	r.Action, r.Org = policy.OrgCreate, id.Org{}
	type made struct {
		org   Org
		owner Member
	}
	fail := func(err error) (Org, Member, audit.Receipt, error) {
		_, receipt, err := platform.Do(ctx, s.store, r, func(context.Context, *platform.Tx) (struct{}, error) { return struct{}{}, err })
		return Org{}, Member{}, receipt, err
	}
	if !r.Actor.MayOnPlatform(r.Action) { // before a password is hashed for somebody who may not
		return fail(fault.New(fault.Denied, "your role does not allow this"))
	}
	org := Org{ID: id.NewOrg(), Placement: n.Placement, Plan: n.Plan, State: "active", Roles: []policy.Role{}}
	owner, err := s.checkOrg(ctx, &org, n)
	if err != nil {
		return fail(err)
	}
	if err := s.place(ctx, org); err != nil {
		return fail(err)
	}
	out, receipt, err := platform.Do(ctx, s.store, r, func(ctx context.Context, tx *platform.Tx) (made, error) {
		tx.AlsoIn(org.ID)
		tx.Touch(org.ID)
		m := made{org, Member{Roles: []policy.Role{policy.OrgAdmin}, Owner: true, State: "active", CreatedAt: tx.Now()}}
		m.org.CreatedAt = tx.Now()
		var err error
		if n.OwnerCode == "" {
			m.owner.Person, err = owner.insert(ctx, tx)
		} else {
			m.owner.Person, err = holderOf(ctx, tx, n.OwnerCode)
		}
		if err != nil {
			return made{}, err
		}
		tx.Touch(m.owner.ID)
		return m, insertMembership(ctx, tx, org.ID, m.owner.ID, m.owner.Roles, true)
	})
	if err != nil {
		if !fault.Is(err, fault.Unavailable) { // where nobody knows how it ended, nothing is undone
			s.close(ctx, r, org.ID)
		}
		return Org{}, Member{}, receipt, inOwner(err)
	}
	s.known.forget(of(out.owner.ID))
	return out.org, out.owner, receipt, nil
}

// checkOrg says what is wrong with n, and hashes the owner's password.
func (s *Service) checkOrg(ctx context.Context, org *Org, n NewOrg) (owner newcomer, err error) {
	if org.Name, err = CheckName("/name", n.Name); err != nil {
		return owner, err
	}
	if org.Placement == "" {
		org.Placement = platform.PlacementSchema
	}
	if org.Placement != platform.PlacementSchema && org.Placement != platform.PlacementPooled {
		return owner, fault.At(fault.Invalid, "/placement", "unknown_placement", "a placement is schema or pooled")
	}
	if org.Plan == "" {
		org.Plan = "enterprise"
	}
	if !slices.Contains(Plans, org.Plan) {
		return owner, fault.At(fault.Invalid, "/plan", "unknown_plan", "a plan is pilot, team or enterprise")
	}
	if n.OwnerCode != "" {
		if n.Owner.Address != "" || n.Owner.Name != "" || !n.Owner.Password.IsZero() {
			return owner, fault.At(fault.Invalid, "/owner/join_code", "not_both", "send a join code, or a new person's address, name and password, not both")
		}
		return owner, nil
	}
	if n.Owner.Password.IsZero() {
		return owner, fault.At(fault.Invalid, "/owner/password", "required", "the first owner needs a password to sign in with")
	}
	if owner, err = s.admit(ctx, "/owner", n.Owner); err != nil {
		return owner, err
	}
	// Checked again where it counts; here it saves making a place for nothing.
	_, err = platform.Peek(ctx, s.store, func(ctx context.Context, tx *platform.Tx) (struct{}, error) {
		p, err := findPerson(ctx, tx, owner.address)
		if err == nil && p != nil {
			err = inOwner(errAddressTaken)
		}
		return struct{}{}, err
	})
	return owner, err
}

// inOwner moves a complaint about a person to where the person stands in the
// request.
func inOwner(err error) error {
	var f *fault.Error
	if !errors.As(err, &f) || len(f.Details) == 0 {
		return err
	}
	moved := *f
	moved.Details = slices.Clone(f.Details)
	for i, d := range moved.Details {
		if d.Pointer == "/email" || d.Pointer == "/join_code" {
			moved.Details[i].Pointer = "/owner" + d.Pointer
		}
	}
	return &moved
}

func (s *Service) place(ctx context.Context, org Org) error {
	if s.founding == nil {
		return errNoFounding
	}
	if err := s.founding.CreateKeys(ctx, org.ID); err != nil {
		return fmt.Errorf("identity: keys of a new organization: %w", err)
	}
	profile, err := SealOrgName(ctx, s.founding.KeysOf(org.ID), org.Name)
	if err != nil {
		return fmt.Errorf("identity: name of a new organization: %w", err)
	}
	_, err = s.founding.CreatePlace(ctx, platform.NewOrg{ID: org.ID, Placement: org.Placement, Plan: org.Plan, Profile: profile})
	return err
}

// close puts away a place that got no owner. It is a request of its own on the
// record.
func (s *Service) close(ctx context.Context, r platform.Request, org id.Org) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	r.ID = id.Request{}
	_, _, err := platform.Do(ctx, s.store, r, func(ctx context.Context, tx *platform.Tx) (struct{}, error) {
		tx.AlsoIn(org)
		tx.Touch(org)
		_, err := tx.Exec(ctx, sqlCloseOrg, org)
		return struct{}{}, err
	})
	if err != nil {
		s.log.Error("identity: an organization without an owner could not be closed", "org", org.String(), "error", err)
	}
}

// Orgs lists the organizations that the caller belongs to; for a system
// administrator, every one.
func (s *Service) Orgs(ctx context.Context, r platform.Request, limit int, cursor string) (items []Org, next string, receipt audit.Receipt, err error) {
	r.Org = id.Org{}
	r.Action = policy.OrgList
	query := sqlOrgsOfPerson
	if r.Actor.MayOnPlatform(policy.OrgListAll) {
		r.Action, query = policy.OrgListAll, sqlAllOrgs
	}
	l := list{string(r.Action), pageSize(limit), cursor}
	items, receipt, err = platform.Do(ctx, s.store, r, func(ctx context.Context, tx *platform.Tx) (items []Org, err error) {
		after, err := l.after(ctx, tx)
		if err != nil {
			return nil, err
		}
		if items, err = scanOrgs(ctx, tx, query, r.Actor.Person().UUID(), after, l.limit+1); err != nil {
			return nil, err
		}
		if len(items) > l.limit {
			items = items[:l.limit]
			if next, err = l.next(ctx, tx, items[l.limit-1].ID.UUID()); err != nil {
				return nil, err
			}
		}
		// A key shows its own organization alone, whatever its maker sees.
		if r.Action == policy.OrgList {
			items = slices.DeleteFunc(items, func(o Org) bool { return !r.Actor.Sees(o.ID) })
		}
		for _, o := range items {
			tx.Touch(o.ID)
		}
		return items, nil
	})
	if err != nil {
		return nil, "", receipt, err
	}
	return items, next, receipt, nil
}

// Org reads one organization.
func (s *Service) Org(ctx context.Context, r platform.Request) (Org, audit.Receipt, error) {
	r.Action = policy.OrgRead
	return platform.Do(ctx, s.store, r, func(ctx context.Context, tx *platform.Tx) (Org, error) {
		tx.Touch(r.Org)
		items, err := scanOrgs(ctx, tx, sqlGetOrg, r.Org, r.Actor.Person().UUID())
		if err == nil && len(items) == 0 {
			err = fault.New(fault.NotFound, "no such organization")
		}
		if err != nil {
			return Org{}, err
		}
		return items[0], nil
	})
}

func orgsOf(ctx context.Context, tx *platform.Tx, p id.Person) ([]Org, error) {
	return scanOrgs(ctx, tx, sqlOrgsOfPerson, p, nil, maxOrgsShown)
}

func scanOrgs(ctx context.Context, tx *platform.Tx, query platform.SQL, args ...any) ([]Org, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	items := []Org{}
	for rows.Next() {
		var o Org
		var profile seal.Sealed
		var roles []string
		var version int64
		if err := rows.Scan(&o.ID, &profile, &version, &o.Placement, &o.Plan, &o.State, &o.CreatedAt, &o.ExpiresAt, &roles, &o.Owner); err != nil {
			return nil, err
		}
		o.Roles, o.CreatedAt, o.ExpiresAt = sortedRoles(roles), utc(o.CreatedAt), utcOrNil(o.ExpiresAt)
		if o.Name, err = openOrgName(ctx, tx.KeysOf(o.ID), version, profile); err != nil {
			return nil, err
		}
		items = append(items, o)
	}
	rows.Close()
	return items, rows.Err()
}

// CreateSystemAdmin makes a person who runs the installation. It is for the
// first start and the command line; r.Actor is the installation itself.
func (s *Service) CreateSystemAdmin(ctx context.Context, r platform.Request, n NewPerson) (Person, audit.Receipt, error) {
	r.Action, r.Org = policy.AdminCreate, id.Org{}
	fresh, invalid := s.admit(ctx, "", n)
	return platform.Do(ctx, s.store, r, func(ctx context.Context, tx *platform.Tx) (Person, error) {
		if invalid != nil {
			return Person{}, invalid
		}
		return fresh.insert(ctx, tx, policy.SystemAdmin)
	})
}

// HasSystemAdmin reports whether somebody runs the installation yet.
func (s *Service) HasSystemAdmin(ctx context.Context) (bool, error) {
	return platform.Peek(ctx, s.store, func(ctx context.Context, tx *platform.Tx) (has bool, err error) {
		return has, tx.QueryRow(ctx, sqlSystemAdminExists).Scan(&has)
	})
}
