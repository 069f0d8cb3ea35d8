package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/identity/actor"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
)

// What bounds throw-away organizations. The place of one that has ended stays
// taken, so a person's are also counted over a day.
const (
	SandboxLife    = 24 * time.Hour
	SandboxesEach  = 3   // that one person has at a time
	SandboxesADay  = 10  // that one person makes in 24 hours
	SandboxesInAll = 100 // living ones of the installation
)

// Sandbox is a throw-away organization as whoever made it sees it.
type Sandbox struct {
	Org       id.Org    `json:"org"`
	Name      string    `json:"name"`
	State     string    `json:"state" enum:"active,expired"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at" doc:"From then on nobody enters it."`
}

// sandboxPlan has service accounts and keys, and nothing that is set up for one
// customer.
const sandboxPlan = "team"

// sandboxKeyRoles leave out nothing that a program may do: a key gets no right
// over people and keys, whatever its roles.
var sandboxKeyRoles = []policy.Role{policy.Scientist, policy.Analyst, policy.OrgAdmin, policy.SecurityAdmin}

// SandboxKeyRoles lists the roles of the key that comes with a sandbox.
func SandboxKeyRoles() []policy.Role { return slices.Clone(sandboxKeyRoles) }

// CreateSandbox makes an organization that ends by itself, owned by the caller,
// with a key to it: one call, so that a developer's first request is one about
// data. The key ends when the organization does.
func (s *Service) CreateSandbox(ctx context.Context, r platform.Request, name string) (Sandbox, Token, audit.Receipt, error) {
	r.Action, r.Org = policy.SandboxCreate, id.Org{}
	who := r.Actor.Person()
	org := Org{ID: id.NewOrg(), Placement: platform.PlacementPooled, Plan: sandboxPlan}
	err := s.checkSandbox(ctx, r, &org, name)
	if err == nil {
		err = s.place(ctx, org)
	}
	if err != nil {
		receipt, err := s.RefuseSandbox(ctx, r, err)
		return Sandbox{}, Token{}, receipt, err
	}
	token := NewKeyToken()
	out, receipt, err := platform.Do(ctx, s.store, r, func(ctx context.Context, tx *platform.Tx) (Sandbox, error) {
		tx.AlsoIn(org.ID)
		box := Sandbox{Org: org.ID, Name: org.Name, State: "active", CreatedAt: tx.Now(), ExpiresAt: tx.Now().Add(SandboxLife)}
		key := Key{ID: id.NewKey(), Name: org.Name, Prefix: token.Prefix(), Roles: sandboxKeyRoles, CreatedAt: tx.Now(), CreatedBy: who, ExpiresAt: &box.ExpiresAt}
		tx.Touch(org.ID, who, key.ID)
		// Two requests of one moment take turns here, and the second counts the
		// first one's.
		var installation id.Org
		if err := tx.QueryRow(ctx, sqlLockSandboxes).Scan(&installation); err != nil {
			return Sandbox{}, err
		}
		if err := roomForSandbox(ctx, tx, who); err != nil {
			return Sandbox{}, err
		}
		if _, err := tx.Exec(ctx, sqlMakeSandbox, org.ID, who, box.ExpiresAt); err != nil {
			return Sandbox{}, err
		}
		if err := insertMembership(ctx, tx, org.ID, who, orgRoles(), true); err != nil {
			return Sandbox{}, err
		}
		var err error
		if key.Scopes, err = scopes(key.Roles, nil); err != nil {
			return Sandbox{}, err
		}
		return box, key.insert(ctx, tx, org.ID, token)
	})
	if err != nil {
		if !fault.Is(err, fault.Unavailable) { // where nobody knows how it ended, nothing is undone
			s.close(ctx, r, org.ID)
		}
		return Sandbox{}, Token{}, receipt, err
	}
	s.known.forget(of(who))
	return out, token, receipt, nil
}

// RefuseSandbox puts on record that a sandbox was asked for and not made.
func (s *Service) RefuseSandbox(ctx context.Context, r platform.Request, cause error) (audit.Receipt, error) {
	r.Action, r.Org = policy.SandboxCreate, id.Org{}
	_, receipt, err := platform.Do(ctx, s.store, r, func(context.Context, *platform.Tx) (struct{}, error) { return struct{}{}, cause })
	return receipt, err
}

// checkSandbox decides what can be decided before a place is made.
func (s *Service) checkSandbox(ctx context.Context, r platform.Request, org *Org, name string) (err error) {
	// A key would get more by it than it has: the person's roles elsewhere.
	if r.Actor.Kind() != actor.Person {
		return fault.New(fault.Denied, "sandboxes are made by people who have signed in")
	}
	if name == "" {
		name = "Sandbox"
	}
	if org.Name, err = CheckName("/name", name); err != nil {
		return err
	}
	_, err = platform.Peek(ctx, s.store, func(ctx context.Context, tx *platform.Tx) (struct{}, error) {
		return struct{}{}, roomForSandbox(ctx, tx, r.Actor.Person())
	})
	return err
}

func roomForSandbox(ctx context.Context, tx *platform.Tx, p id.Person) error {
	var mine, today, all int
	if err := tx.QueryRow(ctx, sqlCountSandboxes, p, tx.Now(), tx.Now().Add(-24*time.Hour)).Scan(&mine, &today, &all); err != nil {
		return err
	}
	switch {
	case mine >= SandboxesEach:
		return fault.New(fault.Conflict, "you have %d sandboxes already; end one, or wait until it has expired", SandboxesEach)
	case today >= SandboxesADay:
		return fault.New(fault.Conflict, "you have made %d sandboxes within 24 hours; wait", SandboxesADay)
	case all >= SandboxesInAll:
		return fault.New(fault.Conflict, "the installation has %d sandboxes already; wait until one has expired", SandboxesInAll)
	}
	return nil
}

var errSandboxAccount = fault.At(fault.Denied, "/email", "sandbox", "a sandbox makes no accounts; ask for the join code of somebody who has one")

// noSandbox refuses accounts to a sandbox. Who may sign in to the installation
// and who may ask which addresses can already is its organizations' to decide;
// a sandbox is anybody's, and an account outlives it.
func noSandbox(ctx context.Context, tx *platform.Tx, org id.Org) error {
	var sandbox bool
	err := tx.QueryRow(ctx, sqlIsSandbox, org).Scan(&sandbox)
	if err == nil && sandbox {
		err = errSandboxAccount
	}
	return err
}

// orgRoles are all that somebody can hold in an organization.
func orgRoles() (all []policy.Role) {
	for _, role := range policy.Roles {
		if policy.IsOrgRole(role) {
			all = append(all, role)
		}
	}
	return all
}

// Sandboxes lists those that the caller made, the ended ones too.
func (s *Service) Sandboxes(ctx context.Context, r platform.Request, limit int, cursor string) (items []Sandbox, next string, receipt audit.Receipt, err error) {
	r.Action, r.Org = policy.SandboxList, id.Org{}
	l := list{"sandboxes", pageSize(limit), cursor}
	items, receipt, err = platform.Do(ctx, s.store, r, func(ctx context.Context, tx *platform.Tx) (items []Sandbox, err error) {
		after, err := l.after(ctx, tx)
		if err != nil {
			return nil, err
		}
		rows, err := tx.Query(ctx, sqlListSandboxes, r.Actor.Person(), after, l.limit+1)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		for rows.Next() {
			if len(items) == l.limit {
				if next, err = l.next(ctx, tx, items[l.limit-1].Org.UUID()); err != nil {
					return nil, err
				}
				break
			}
			var box Sandbox
			var profile seal.Sealed
			var version int64
			if err := rows.Scan(&box.Org, &profile, &version, &box.State, &box.CreatedAt, &box.ExpiresAt); err != nil {
				return nil, err
			}
			// A key shows its own organization alone, whatever its maker made.
			if r.Actor.Kind() != actor.Person && !r.Actor.Sees(box.Org) {
				continue
			}
			box.CreatedAt, box.ExpiresAt = utc(box.CreatedAt), utc(box.ExpiresAt)
			if box.Name, err = openOrgName(ctx, tx.KeysOf(box.Org), version, profile); err != nil {
				return nil, err
			}
			tx.Touch(box.Org)
			items = append(items, box)
		}
		rows.Close()
		return items, rows.Err()
	})
	if err != nil {
		return nil, "", receipt, err
	}
	return items, next, receipt, nil
}

// EndSandbox ends one that the caller made before its time. Ending one that has
// ended changes nothing.
func (s *Service) EndSandbox(ctx context.Context, r platform.Request, org id.Org) (audit.Receipt, error) {
	r.Action, r.Org = policy.SandboxEnd, id.Org{}
	by := r.Actor.Person()
	if r.Actor.Kind() != actor.Person {
		by = id.Person{} // a key ends nothing: no sandbox is nobody's
	}
	ended, receipt, err := platform.Do(ctx, s.store, r, func(ctx context.Context, tx *platform.Tx) (ended, error) {
		tx.Touch(org)
		return endSandbox(ctx, tx, org, &by)
	})
	s.forgetAll(ended, err)
	return receipt, err
}

// ExpireSandboxes ends those whose time has come and says how many. Nobody
// enters them any more by then: signing in looks at the time itself. What is
// stored in them stays, sealed, until organizations can be erased.
func (s *Service) ExpireSandboxes(ctx context.Context, r platform.Request) (n int, err error) {
	due, err := platform.Peek(ctx, s.store, func(ctx context.Context, tx *platform.Tx) (due []id.Org, err error) {
		rows, err := tx.Query(ctx, sqlExpiredSandboxes, tx.Now(), SandboxesInAll)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		for rows.Next() {
			var org id.Org
			if err := rows.Scan(&org); err != nil {
				return nil, err
			}
			due = append(due, org)
		}
		return due, rows.Err()
	})
	if err != nil {
		return 0, err
	}
	var failed []error
	r.Action, r.Org = policy.SandboxExpire, id.Org{}
	for _, org := range due {
		r.ID = id.NewRequest()
		ended, _, err := platform.Do(ctx, s.store, r, func(ctx context.Context, tx *platform.Tx) (ended, error) {
			tx.Touch(org)
			return endSandbox(ctx, tx, org, nil)
		})
		if s.forgetAll(ended, err); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", org, err))
			continue
		}
		n++
	}
	return n, errors.Join(failed...)
}

// ended is who and what had a way in.
type ended struct {
	people []id.Person
	keys   []id.Key
}

func (s *Service) forgetAll(e ended, err error) {
	if err != nil {
		return
	}
	for _, p := range e.people {
		s.known.forget(of(p))
	}
	for _, k := range e.keys {
		s.known.forget(via(k))
	}
}

// endSandbox takes every way into org away. by, where it is given, must have
// made it.
func endSandbox(ctx context.Context, tx *platform.Tx, org id.Org, by *id.Person) (out ended, err error) {
	var maker id.Person
	var state string
	err = tx.QueryRow(ctx, sqlGetSandbox, org).Scan(&maker, &state)
	if errors.Is(err, platform.ErrNoRows) || err == nil && by != nil && *by != maker {
		return out, fault.New(fault.NotFound, "no such sandbox")
	}
	if err != nil || state != "active" {
		return out, err
	}
	tx.AlsoIn(org)
	if _, err := tx.Exec(ctx, sqlEndSandbox, org, tx.Now()); err != nil {
		return out, err
	}
	rows, err := tx.Query(ctx, sqlRevokeKeysIn, org, tx.Now())
	if err != nil {
		return out, err
	}
	for rows.Next() {
		var k id.Key
		if err := rows.Scan(&k); err != nil {
			rows.Close()
			return out, err
		}
		out.keys = append(out.keys, k)
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return out, err
	}
	rows, err = tx.Query(ctx, sqlDeleteMemberships, org)
	if err != nil {
		return out, err
	}
	defer rows.Close()
	for rows.Next() {
		var p id.Person
		if err := rows.Scan(&p); err != nil {
			return out, err
		}
		out.people = append(out.people, p)
	}
	rows.Close()
	for _, k := range out.keys {
		tx.Touch(k)
	}
	for _, p := range out.people {
		tx.Touch(p)
	}
	return out, rows.Err()
}
