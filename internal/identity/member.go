package identity

import (
	"context"
	"errors"
	"slices"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/identity/internal/principal"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
)

// Member is a person in an organization.
type Member struct {
	Person
	Roles     []policy.Role `json:"roles"`
	Owner     bool          `json:"owner" doc:"Owners decide on closing the organization; there is always one."`
	State     string        `json:"state" enum:"active,disabled" doc:"Somebody disabled cannot sign in."`
	CreatedAt time.Time     `json:"created_at" doc:"Since when the person belongs to the organization."`
}

// NewMember is a person to be added: a new one, or the holder of a join code.
type NewMember struct {
	NewPerson
	JoinCode string
	Roles    []policy.Role
}

// asInstallation runs fn as r.Actor, authorized in r.Org, inside the
// installation: people's rows belong to it, and a change of who may enter an
// organization goes into both logs in one transaction, which only the
// installation may write. Row-level security does not narrow what fn sees
// then, so each of its statements names the organization.
func asInstallation[T any](ctx context.Context, s *Service, r platform.Request, fn func(context.Context, *platform.Tx) (T, error)) (T, audit.Receipt, error) {
	org := r.Org
	if !mayIn(r) {
		return refusedAtDoor[T](ctx, s, r)
	}
	r.Actor, r.Org = principal.ForInstallation(r.Actor, org), id.Org{}
	return platform.Do(ctx, s.store, r, func(ctx context.Context, tx *platform.Tx) (T, error) {
		tx.AlsoIn(org)
		return fn(ctx, tx)
	})
}

func mayIn(r platform.Request) bool { return r.Actor.Sees(r.Org) && r.Actor.May(r.Org, r.Action) }

// refusedAtDoor lets the door refuse what mayIn has refused, so that the words
// and the record of a refusal are the door's.
func refusedAtDoor[T any](ctx context.Context, s *Service, r platform.Request) (out T, _ audit.Receipt, _ error) {
	return platform.Do(ctx, s.store, r, func(context.Context, *platform.Tx) (T, error) {
		return out, fault.New(fault.Denied, "your role does not allow this here")
	})
}

// AddMember adds a person to r.Org. Somebody whose address is new gets an
// account, but not by a sandbox; an account that exists joins by the code that
// its holder made.
func (s *Service) AddMember(ctx context.Context, r platform.Request, m NewMember) (Member, audit.Receipt, error) {
	r.Action = policy.MemberAdd
	if !mayIn(r) { // before a password is hashed for somebody who may not
		return refusedAtDoor[Member](ctx, s, r)
	}
	org := r.Org
	var fresh newcomer
	invalid := checkRoles("/roles", m.Roles)
	switch {
	case invalid != nil:
	case m.JoinCode != "" && (m.Address != "" || m.Name != "" || !m.Password.IsZero()):
		invalid = fault.At(fault.Invalid, "/join_code", "not_both", "send a join code, or a new person's address, name and password, not both")
	case m.JoinCode == "":
		fresh, invalid = s.admit(ctx, "", m.NewPerson)
	}
	added, receipt, err := asInstallation(ctx, s, r, func(ctx context.Context, tx *platform.Tx) (Member, error) {
		if invalid != nil {
			return Member{}, invalid
		}
		out := Member{Roles: sortedRoles(toNames(m.Roles)), State: "active", CreatedAt: tx.Now()}
		var err error
		if m.JoinCode == "" {
			if err = noSandbox(ctx, tx, org); err == nil {
				out.Person, err = fresh.insert(ctx, tx)
			}
		} else {
			out.Person, err = holderOf(ctx, tx, m.JoinCode)
		}
		if err != nil {
			return Member{}, err
		}
		tx.Touch(out.ID)
		return out, insertMembership(ctx, tx, org, out.ID, out.Roles, false)
	})
	if err == nil {
		s.known.forget(of(added.ID)) // she may be signed in already: what she sees now includes this organization
	}
	return added, receipt, err
}

func insertMembership(ctx context.Context, tx *platform.Tx, org id.Org, p id.Person, roles []policy.Role, owner bool) error {
	by := tx.Actor().Person().UUID()
	_, err := tx.Exec(ctx, sqlInsertMembership, org, p, toNames(roles), owner, tx.Now(), by)
	if platform.IsUnique(err, "membership_pkey") {
		return fault.New(fault.Conflict, "this person belongs to the organization already")
	}
	return err
}

// Members lists who belongs to r.Org.
func (s *Service) Members(ctx context.Context, r platform.Request, limit int, cursor string) (items []Member, next string, receipt audit.Receipt, err error) {
	r.Action = policy.MemberList
	return paged(ctx, s, r, list{"members", pageSize(limit), cursor}, sqlListMembers,
		func(ctx context.Context, tx *platform.Tx, row interface{ Scan(...any) error }) (Member, id.Ref, error) {
			m, err := scanMember(ctx, tx, row)
			return m, m.ID, err
		})
}

func scanMember(ctx context.Context, tx *platform.Tx, row interface{ Scan(...any) error }) (Member, error) {
	var (
		m             Member
		p             id.Person
		leaf, version int64
		profile       seal.Sealed
		roles         []string
	)
	if err := row.Scan(&p, &leaf, &version, &profile, &m.State, &roles, &m.Owner, &m.CreatedAt); err != nil {
		return Member{}, err
	}
	var err error
	m.Person, err = openPerson(ctx, tx, p, uint64(version), profile)
	m.Roles, m.CreatedAt = sortedRoles(roles), utc(m.CreatedAt)
	return m, err
}

// MemberChange says what to change; what is nil stays.
type MemberChange struct {
	Roles *[]policy.Role
	Owner *bool
}

var errNoMember = fault.New(fault.NotFound, "no such member")

// UpdateMember changes a member's roles, or makes or unmakes an owner.
func (s *Service) UpdateMember(ctx context.Context, r platform.Request, p id.Person, change MemberChange) (Member, audit.Receipt, error) {
	r.Action = policy.MemberUpdate
	org := r.Org
	out, receipt, err := asInstallation(ctx, s, r, func(ctx context.Context, tx *platform.Tx) (Member, error) {
		tx.Touch(p)
		if change.Roles != nil {
			if err := checkRoles("/roles", *change.Roles); err != nil {
				return Member{}, err
			}
		}
		all, err := lockMembers(ctx, tx, org, p)
		if err != nil {
			return Member{}, err
		}
		target, ok := all[p]
		if !ok {
			return Member{}, errNoMember
		}
		next := target
		if change.Roles != nil {
			next.roles = sortedRoles(toNames(*change.Roles))
		}
		if change.Owner != nil {
			next.owner = *change.Owner
		}
		if err := all.permit(tx.Actor().Person(), target, next); err != nil {
			return Member{}, err
		}
		if _, err := tx.Exec(ctx, sqlSetMembership, org, p, toNames(next.roles), next.owner); err != nil {
			return Member{}, err
		}
		return scanMember(ctx, tx, tx.QueryRow(ctx, sqlGetMember, org, p))
	})
	if err == nil {
		s.known.forget(of(p))
	}
	return out, receipt, err
}

// RemoveMember takes a person out of r.Org, with every key that she made
// there. If she then belongs nowhere, her sessions end too.
func (s *Service) RemoveMember(ctx context.Context, r platform.Request, p id.Person) (audit.Receipt, error) {
	r.Action = policy.MemberRemove
	org := r.Org
	_, receipt, err := asInstallation(ctx, s, r, func(ctx context.Context, tx *platform.Tx) (struct{}, error) {
		tx.Touch(p)
		all, err := lockMembers(ctx, tx, org, p)
		if err != nil {
			return struct{}{}, err
		}
		target, ok := all[p]
		if !ok {
			return struct{}{}, errNoMember
		}
		if err := all.permit(tx.Actor().Person(), target, membership{}); err != nil {
			return struct{}{}, err
		}
		if err := revokeKeysOf(ctx, tx, org, p); err != nil {
			return struct{}{}, err
		}
		if _, err := tx.Exec(ctx, sqlDeleteMembership, org, p); err != nil {
			return struct{}{}, err
		}
		var elsewhere bool
		if err := tx.QueryRow(ctx, sqlBelongsElsewhere, p).Scan(&elsewhere); err != nil {
			return struct{}{}, err
		}
		if !elsewhere {
			_, err = tx.Exec(ctx, sqlEndSessions, p, tx.Now())
		}
		return struct{}{}, err
	})
	if err == nil {
		s.known.forget(of(p))
	}
	return receipt, err
}

func revokeKeysOf(ctx context.Context, tx *platform.Tx, org id.Org, p id.Person) error {
	rows, err := tx.Query(ctx, sqlRevokeKeysOf, org, p, tx.Now())
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var k id.Key
		if err := rows.Scan(&k); err != nil {
			return err
		}
		tx.Touch(k)
	}
	rows.Close()
	return rows.Err()
}

// membership is what a member is; the zero membership is none.
type membership struct {
	roles []policy.Role
	owner bool
}

// memberships are those that a change has to be judged by, all of them locked.
type memberships map[id.Person]membership

func lockMembers(ctx context.Context, tx *platform.Tx, org id.Org, p id.Person) (memberships, error) {
	rows, err := tx.Query(ctx, sqlLockMembers, org, p, tx.Actor().Person())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := memberships{}
	for rows.Next() {
		var who id.Person
		var roles []string
		var m membership
		if err := rows.Scan(&who, &roles, &m.owner); err != nil {
			return nil, err
		}
		m.roles = sortedRoles(roles)
		all[who] = m
	}
	rows.Close()
	return all, rows.Err()
}

// permit judges a change of one membership from was to will, by actor.
func (all memberships) permit(actor id.Person, was, will membership) error {
	owners := 0
	for _, m := range all {
		if m.owner {
			owners++
		}
	}
	switch {
	case (was.owner || will.owner) && !all[actor].owner:
		return fault.New(fault.Denied, "only an owner may make, change or remove an owner")
	case was.owner && !will.owner && owners == 1:
		return fault.New(fault.Conflict, "the last owner stays: make somebody else an owner first")
	case will.owner && !slices.Contains(will.roles, policy.OrgAdmin):
		return fault.At(fault.Invalid, "/roles", "owner_is_org_admin", "an owner has the role org_admin")
	}
	return nil
}

// Join codes. Whoever holds an account makes one and hands it to the admin of
// an organization that is to add her: the hand-over, outside Strongroom, is
// what proves that the account is hers.
const (
	joinMark    = "sr_join_"
	joinPurpose = "identity.join_code"
	joinLife    = 24 * time.Hour
)

var errJoinCode = fault.At(fault.Invalid, "/join_code", "not_a_code", "the join code is damaged or older than 24 hours")

// JoinCode is a code and its end.
type JoinCode struct {
	Code      string    `json:"join_code" doc:"Hand it to the admin of the organization that is to add you; nobody else."`
	ExpiresAt time.Time `json:"expires_at"`
}

// MakeJoinCode makes a code by which an organization can add the caller.
func (s *Service) MakeJoinCode(ctx context.Context, r platform.Request) (JoinCode, audit.Receipt, error) {
	r.Action, r.Org = policy.JoinCode, id.Org{}
	return platform.Do(ctx, s.store, r, func(ctx context.Context, tx *platform.Tx) (JoinCode, error) {
		if _, err := sessionOf(r.Actor); err != nil {
			return JoinCode{}, err
		}
		out := JoinCode{ExpiresAt: tx.Now().Add(joinLife)}
		var err error
		out.Code, err = sealJoinCode(ctx, tx.KeysOf(id.Installation), r.Actor.Person(), out.ExpiresAt)
		return out, err
	})
}

func sealJoinCode(ctx context.Context, installation seal.Keys, p id.Person, until time.Time) (string, error) {
	token, err := seal.SealToken(ctx, installation, keytree.LeafToken, joinPurpose, encodeJoin(p, until), nil)
	return joinMark + crockford.EncodeToString(token), err
}

// holderOf returns the person whose join code it is.
func holderOf(ctx context.Context, tx *platform.Tx, code string) (Person, error) {
	token, ok := decodeJoinText(code)
	if !ok {
		return Person{}, errJoinCode
	}
	plain, err := seal.OpenToken(ctx, tx.KeysOf(id.Installation), keytree.LeafToken, joinPurpose, token, nil)
	if fault.Is(err, fault.Unavailable) {
		return Person{}, err
	}
	who, until, ok := decodeJoin(plain)
	if err != nil || !ok || !tx.Now().Before(until) {
		return Person{}, errJoinCode
	}
	p, err := scanPerson(tx.QueryRow(ctx, sqlGetPerson, who))
	if err != nil {
		return Person{}, err
	}
	if p == nil || p.state != "active" {
		return Person{}, errJoinCode
	}
	return openPerson(ctx, tx, p.id, p.version, p.profile)
}

var errNoFounding = errors.New("identity: this service was made without Options.Founding")
