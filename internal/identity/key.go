package identity

import (
	"context"
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

// How long an API key lives.
const (
	DefaultKeyLife = 90 * 24 * time.Hour
	MaxKeyLife     = 366 * 24 * time.Hour
)

// Key is an API key as lists show it.
type Key struct {
	ID         id.Key          `json:"id"`
	Name       string          `json:"name"`
	Prefix     string          `json:"prefix" doc:"The first characters of the key after sr_key_, to tell keys apart."`
	Roles      []policy.Role   `json:"roles"`
	Scopes     []policy.Action `json:"scopes" doc:"What the key may do, at most."`
	CreatedAt  time.Time       `json:"created_at"`
	CreatedBy  id.Person       `json:"created_by"`
	ExpiresAt  *time.Time      `json:"expires_at,omitempty"`
	LastUsedAt *time.Time      `json:"last_used_at,omitempty" doc:"To within five minutes."`
	RevokedAt  *time.Time      `json:"revoked_at,omitempty"`
}

// NewKey describes a key to be made.
type NewKey struct {
	Name      string
	Roles     []policy.Role
	Scopes    []policy.Action // nil: everything that the roles allow and a key may carry
	ExpiresAt *time.Time      // nil: DefaultKeyLife from now
}

const (
	keyTable       = "platform.api_key"
	keyNameSection = "name"
)

func keyPlace(org id.Org, k id.Key) seal.Place {
	return seal.Place{Org: org, Table: keyTable, Row: k.UUID(), Version: 1}
}

// CreateKey makes an API key in r.Org. The token is in the answer and nowhere
// else: what is stored is its keyed hash.
//
// A key acts with its maker's authority and never has more of it: roles that
// the maker does not hold are refused now, and those that the maker loses are
// lost to the key (see findKey).
func (s *Service) CreateKey(ctx context.Context, r platform.Request, n NewKey) (Key, Token, audit.Receipt, error) {
	r.Action = policy.KeyCreate
	token, org := NewKeyToken(), r.Org
	out, receipt, err := asInstallation(ctx, s, r, func(ctx context.Context, tx *platform.Tx) (Key, error) {
		k := Key{ID: id.NewKey(), Prefix: token.Prefix(), CreatedAt: tx.Now(), CreatedBy: r.Actor.Person()}
		tx.Touch(k.ID)
		if err := k.decide(r, n); err != nil {
			return Key{}, err
		}
		return k, k.insert(ctx, tx, org, token)
	})
	if err != nil {
		return Key{}, Token{}, receipt, err
	}
	return out, token, receipt, nil
}

// insert stores the key with the keyed hash of its token.
func (k *Key) insert(ctx context.Context, tx *platform.Tx, org id.Org, token Token) error {
	leaf, err := tx.NewLeafIn(ctx, org)
	if err != nil {
		return err
	}
	name, err := seal.Seal(ctx, tx.KeysOf(org), keyPlace(org, k.ID), seal.Section{Name: keyNameSection, Leaf: leaf, Plain: seal.NewSecretString(k.Name)})
	if err != nil {
		return err
	}
	sums, err := hashes(ctx, tx, hashKey, token.Reveal())
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, sqlInsertKey, org, k.ID, name, int64(leaf), k.Prefix, sums[0], toNames(k.Roles), toNames(k.Scopes),
		k.CreatedAt, k.CreatedBy, *k.ExpiresAt)
	return err
}

// decide fills in what n asks for, or says why it may not.
func (k *Key) decide(r platform.Request, n NewKey) (err error) {
	if r.Actor.Kind() != actor.Person {
		return fault.New(fault.Denied, "keys are made by people who have signed in")
	}
	if k.Name, err = CheckName("/name", n.Name); err != nil {
		return err
	}
	if err := checkRoles("/roles", n.Roles); err != nil {
		return err
	}
	k.Roles = sortedRoles(toNames(n.Roles))
	held := r.Actor.RolesIn(r.Org)
	for i, role := range n.Roles {
		if !slices.Contains(held, role) {
			return fault.At(fault.Denied, fmt.Sprintf("/roles/%d", i), "role_not_held", "a key has no role that its maker does not hold")
		}
	}
	if k.Scopes, err = scopes(k.Roles, n.Scopes); err != nil {
		return err
	}
	until := k.CreatedAt.Add(DefaultKeyLife)
	if n.ExpiresAt != nil {
		until = utc(*n.ExpiresAt)
	}
	if !until.After(k.CreatedAt) || until.After(k.CreatedAt.Add(MaxKeyLife)) {
		return fault.At(fault.Invalid, "/expires_at", "out_of_range", "a key expires in the future, within 366 days")
	}
	k.ExpiresAt = &until
	return nil
}

// scopes checks the wanted scopes, or gives all that the roles have to give.
func scopes(roles []policy.Role, wanted []policy.Action) ([]policy.Action, error) {
	var all []policy.Action
	for _, a := range policy.Actions() {
		if policy.Delegable(a) && policy.Allow(roles, a) {
			all = append(all, a)
		}
	}
	if wanted == nil {
		return all, nil
	}
	if len(wanted) == 0 {
		return nil, fault.At(fault.Invalid, "/scopes", "required", "name at least one scope, or leave scopes out")
	}
	out := make([]policy.Action, 0, len(wanted))
	for i, a := range wanted {
		at := fmt.Sprintf("/scopes/%d", i)
		switch {
		case policy.Describe(a) == "":
			return nil, fault.At(fault.Invalid, at, "unknown_scope", "a scope is the name of an action")
		case !policy.Delegable(a):
			return nil, fault.At(fault.Invalid, at, "people_only", "this action is for people who have signed in, not for keys")
		case !policy.Allow(roles, a):
			return nil, fault.At(fault.Invalid, at, "not_in_roles", "the key's roles do not allow this action")
		case slices.Contains(out, a):
			return nil, fault.At(fault.Invalid, at, "duplicate", "the scope is named twice")
		}
		out = append(out, a)
	}
	return out, nil
}

// Keys lists the keys of r.Org, the revoked and expired ones too.
func (s *Service) Keys(ctx context.Context, r platform.Request, limit int, cursor string) (items []Key, next string, receipt audit.Receipt, err error) {
	r.Action = policy.KeyList
	return paged(ctx, s, r, list{"keys", pageSize(limit), cursor}, sqlListKeys,
		func(ctx context.Context, tx *platform.Tx, row interface{ Scan(...any) error }) (Key, id.Ref, error) {
			k, err := scanKey(ctx, tx, row)
			return k, k.ID, err
		})
}

func scanKey(ctx context.Context, tx *platform.Tx, row interface{ Scan(...any) error }) (Key, error) {
	var (
		k             Key
		name          seal.Sealed
		roles, scopes []string
	)
	if err := row.Scan(&k.ID, &name, &k.Prefix, &roles, &scopes, &k.CreatedAt, &k.CreatedBy, &k.ExpiresAt, &k.LastUsedAt, &k.RevokedAt); err != nil {
		return Key{}, err
	}
	sections, err := seal.Open(ctx, tx.Keys(), keyPlace(tx.Org(), k.ID), name)
	if err != nil {
		return Key{}, fmt.Errorf("identity: name of %s: %w", k.ID, err)
	}
	for _, s := range sections {
		if s.Name == keyNameSection && !s.Erased {
			k.Name = string(s.Plain.Reveal())
		}
	}
	k.Roles, k.Scopes = sortedRoles(roles), make([]policy.Action, len(scopes))
	for i, a := range scopes {
		k.Scopes[i] = policy.Action(a)
	}
	k.CreatedAt, k.ExpiresAt, k.LastUsedAt, k.RevokedAt = utc(k.CreatedAt), utcOrNil(k.ExpiresAt), utcOrNil(k.LastUsedAt), utcOrNil(k.RevokedAt)
	return k, nil
}

// RevokeKey makes a key useless: here at once, on every other server within
// Freshness. Revoking a key that is revoked already changes nothing.
func (s *Service) RevokeKey(ctx context.Context, r platform.Request, k id.Key) (audit.Receipt, error) {
	r.Action = policy.KeyRevoke
	org := r.Org
	_, receipt, err := asInstallation(ctx, s, r, func(ctx context.Context, tx *platform.Tx) (struct{}, error) {
		tx.Touch(k)
		n, err := tx.Exec(ctx, sqlRevokeKey, org, k, tx.Now())
		if err != nil || n == 1 {
			return struct{}{}, err
		}
		var exists bool
		if err := tx.QueryRow(ctx, sqlKeyExists, org, k).Scan(&exists); err != nil {
			return struct{}{}, err
		}
		if !exists {
			return struct{}{}, fault.New(fault.NotFound, "no such key")
		}
		return struct{}{}, nil
	})
	if err == nil {
		s.known.forget(via(k))
	}
	return receipt, err
}
