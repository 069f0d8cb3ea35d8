package identity

import (
	"context"
	"errors"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
)

// RenameOrg gives r.Org another name.
func (s *Service) RenameOrg(ctx context.Context, r platform.Request, name string) (Org, audit.Receipt, error) {
	r.Action = policy.OrgUpdate
	org, person := r.Org, r.Actor.Person()
	name, invalid := CheckName("/name", name)
	return asInstallation(ctx, s, r, func(ctx context.Context, tx *platform.Tx) (Org, error) {
		tx.Touch(org)
		if invalid != nil {
			return Org{}, invalid
		}
		var version int64
		if err := tx.QueryRow(ctx, sqlLockOrgVersion, org).Scan(&version); errors.Is(err, platform.ErrNoRows) {
			return Org{}, fault.New(fault.NotFound, "no such organization")
		} else if err != nil {
			return Org{}, err
		}
		profile, err := sealOrgName(ctx, tx.KeysOf(org), version+1, name)
		if err != nil {
			return Org{}, err
		}
		if _, err := tx.Exec(ctx, sqlSetOrgName, org, profile, version+1); err != nil {
			return Org{}, err
		}
		items, err := scanOrgs(ctx, tx, sqlGetOrg, org, person.UUID())
		if err != nil || len(items) == 0 {
			return Org{}, errors.Join(err, errNoMember)
		}
		return items[0], nil
	})
}

// PersonName is a person by name alone.
type PersonName struct {
	ID   id.Person `json:"id"`
	Name string    `json:"name,omitempty" doc:"Absent once the person was erased."`
}

// Names lists the names of who belongs to r.Org: what everybody who works with
// its data may know, as its records name people by identifiers.
func (s *Service) Names(ctx context.Context, r platform.Request, limit int, cursor string) (items []PersonName, next string, receipt audit.Receipt, err error) {
	r.Action = policy.MemberNames
	return paged(ctx, s, r, list{"member-names", pageSize(limit), cursor}, sqlListMembers,
		func(ctx context.Context, tx *platform.Tx, row interface{ Scan(...any) error }) (PersonName, id.Ref, error) {
			m, err := scanMember(ctx, tx, row)
			return PersonName{m.ID, m.Name}, m.ID, err
		})
}
