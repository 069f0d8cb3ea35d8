package identity

import (
	"context"
	"errors"
	"slices"
	"strings"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/identity/actor"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
)

// FirstOwner is what an installation begins with: its first system
// administrator, who is the first owner of its first organization.
type FirstOwner struct {
	Person NewPerson
	Org    NewOrg // its owner is Person
}

var errSetUp = fault.New(fault.Conflict, "this installation is set up already: sign in")

// The row of the installation is locked by whoever sets it up, so that of two
// at a time the second sees the administrator of the first.
var sqlLockInstallation = platform.Lit(`SELECT state FROM platform.org WHERE id = sr.installation() FOR UPDATE`)

// SetUp makes the first system administrator and the first organization. r's
// actor is the installation itself, on whose behalf the holder of the one-time
// code acts. It is refused for good once an administrator exists; admit, which
// judges the code, is asked before anything is done and not otherwise told.
func (s *Service) SetUp(ctx context.Context, r platform.Request, n FirstOwner, admit func() error) (Person, Org, audit.Receipt, error) {
	r.Action, r.Org = policy.SetupRun, id.Org{}
	type made struct {
		person Person
		org    Org
	}
	fail := func(err error) (Person, Org, audit.Receipt, error) {
		refused := r
		refused.Actor = actor.Actor{} // who was not let in did not act for the installation
		_, receipt, err := platform.Do(ctx, s.store, refused, func(context.Context, *platform.Tx) (struct{}, error) { return struct{}{}, err })
		return Person{}, Org{}, receipt, err
	}
	has, err := s.HasSystemAdmin(ctx)
	if err == nil && has {
		err = errSetUp
	}
	if err == nil {
		err = admit()
	}
	if err != nil {
		return fail(err)
	}
	n.Org.Owner, n.Org.OwnerCode = n.Person, ""
	org := Org{ID: id.NewOrg(), Placement: n.Org.Placement, Plan: n.Org.Plan, State: "active", Roles: []policy.Role{policy.OrgAdmin}, Owner: true}
	owner, err := s.checkOrg(ctx, &org, n.Org)
	if err != nil {
		return fail(inSetup(err))
	}
	if err := s.place(ctx, org); err != nil {
		return fail(err)
	}
	out, receipt, err := platform.Do(ctx, s.store, r, func(ctx context.Context, tx *platform.Tx) (made, error) {
		tx.AlsoIn(org.ID)
		tx.Touch(org.ID)
		var state string
		if err := tx.QueryRow(ctx, sqlLockInstallation).Scan(&state); err != nil {
			return made{}, err
		}
		var has bool
		if err := tx.QueryRow(ctx, sqlSystemAdminExists).Scan(&has); err != nil {
			return made{}, err
		}
		if has {
			return made{}, errSetUp
		}
		m := made{org: org}
		m.org.CreatedAt = tx.Now()
		var err error
		if m.person, err = owner.insert(ctx, tx, policy.SystemAdmin); err != nil {
			return made{}, err
		}
		return m, insertMembership(ctx, tx, org.ID, m.person.ID, m.org.Roles, true)
	})
	if err != nil {
		if !fault.Is(err, fault.Unavailable) { // where nobody knows how it ended, nothing is undone
			s.close(ctx, r, org.ID)
		}
		return Person{}, Org{}, receipt, err
	}
	s.known.forget(of(out.person.ID))
	return out.person, out.org, receipt, nil
}

// inSetup moves a complaint about an organization or its owner to where they
// stand in the request of a set-up.
func inSetup(err error) error {
	var f *fault.Error
	if !errors.As(err, &f) || len(f.Details) == 0 {
		return err
	}
	moved := *f
	moved.Details = slices.Clone(f.Details)
	for i, d := range moved.Details {
		if rest, ok := strings.CutPrefix(d.Pointer, "/owner"); ok {
			moved.Details[i].Pointer = rest
		} else {
			moved.Details[i].Pointer = "/organization" + d.Pointer
		}
	}
	return &moved
}
