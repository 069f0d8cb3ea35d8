package app

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/identity"
	"strongroom/internal/store/platform"
)

// canaryRoles are all that can be held in an organization.
var canaryRoles = []policy.Role{policy.OrgAdmin, policy.Scientist, policy.Analyst, policy.SecurityAdmin, policy.BillingAdmin}

// canaries are the organizations that the checks act in: two a placement, so
// that one can try to reach the other. They are ordinary organizations with
// ordinary members; nothing in the house knows them apart.
type canaries struct {
	mu   sync.Mutex
	orgs map[string]feature.CanaryOrg // by name
}

// Env is what checks may use.
func (a *App) Env(ctx context.Context) (feature.Env, error) {
	a.mu.Lock()
	env := feature.Env{Store: a.Tenant, Platform: a.Platform, Inspect: platform.NewInspector(a.options.URL), Log: a.Audit, Operator: identity.System(a.server),
		URL: a.public.url, HTTP: a.public.client, DataDir: a.options.DataDir, Leaks: a.leaks}
	a.mu.Unlock()
	for _, placement := range []string{platform.PlacementSchema, platform.PlacementPooled} {
		mine, err := a.canary(ctx, placement, "mine", nil)
		if err != nil {
			return env, err
		}
		theirs, err := a.canary(ctx, placement, "theirs", nil)
		if err != nil {
			return env, err
		}
		peer, err := a.canary(ctx, placement, "peer", &mine)
		if err != nil {
			return env, err
		}
		env.Canaries, env.Strange, env.Peers = append(env.Canaries, mine), append(env.Strange, theirs), append(env.Peers, peer)
	}
	return env, nil
}

// leaks names the credential of the service that b holds. Those are what the
// server process could act as the service with: the key that signs
// capabilities and jobs, and the way to the database.
func (a *App) leaks(b []byte) string {
	for name, secret := range map[string]string{
		"the key of the capabilities":  string(a.capabilityKey[:]),
		"the database's address":       a.options.URL("sr_platform"),
		"the address of the key store": a.options.KeySocket,
	} {
		if feature.MarkOf(secret).In(b) {
			return name
		}
	}
	if a.Proofs != nil && a.Proofs.Leaks(b) {
		return "the key that signs the trust page"
	}
	if bytes.Contains(b, []byte("PRIVATE KEY")) {
		return "a private key"
	}
	return ""
}

// canary signs in to a canary organization, and makes it the first time; where
// home is given, as another member of that one. Its password is a keyed hash
// of its name: whoever has the installation's keys can sign in, nobody else,
// and nothing is stored.
func (a *App) canary(ctx context.Context, placement, which string, home *feature.CanaryOrg) (feature.CanaryOrg, error) {
	a.canaries.mu.Lock()
	defer a.canaries.mu.Unlock()
	name := placement + "-" + which
	if c, ok := a.canaries.orgs[name]; ok {
		if token, err := identity.ParseToken(c.Token); err == nil {
			if who, err := a.Identity.Identify(ctx, token); err == nil && len(who.RolesIn(c.Org)) == len(canaryRoles) {
				c.Actor = who
				return c, nil
			}
		}
	}
	h, err := seal.NewHasher(ctx, a.Keys.Keys(id.Installation), keytree.LeafIndex, "canary-password")
	if err != nil {
		return feature.CanaryOrg{}, err
	}
	address := "canary-" + name + "@strongroom.invalid"
	password := seal.NewSecretString(base64.RawURLEncoding.EncodeToString(h.Sum([]byte(name))))
	signIn := func() (identity.SignedIn, error) {
		in, _, err := a.Identity.SignIn(ctx, platform.Request{Action: policy.SessionCreate}, address, password)
		return in, err
	}
	in, err := signIn()
	if fault.Is(err, fault.Unauthenticated) {
		person := identity.NewPerson{Address: address, Name: "Canary " + name, Password: password}
		if home == nil {
			_, _, _, err = a.Identity.CreateOrg(ctx, platform.Request{Actor: identity.System(a.server)}, identity.NewOrg{Name: person.Name, Placement: placement, Owner: person})
		} else {
			_, _, err = a.Identity.AddMember(ctx, platform.Request{Actor: home.Actor, Org: home.Org}, identity.NewMember{NewPerson: person, Roles: canaryRoles})
		}
		if err != nil {
			return feature.CanaryOrg{}, fmt.Errorf("canary organization: %w", err)
		}
		in, err = signIn()
	}
	if err != nil {
		return feature.CanaryOrg{}, fmt.Errorf("canary organization: sign in: %w", err)
	}
	who, err := a.Identity.Identify(ctx, in.Token)
	if err != nil {
		return feature.CanaryOrg{}, err
	}
	orgs := who.Orgs()
	if len(orgs) != 1 {
		return feature.CanaryOrg{}, errors.New("canary organization: its owner belongs to another number of organizations than one")
	}
	if len(who.RolesIn(orgs[0])) < len(canaryRoles) {
		by := who
		if home != nil {
			by = home.Actor // a check that was broken off may have left her without the role to mend herself
		}
		if _, _, err := a.Identity.UpdateMember(ctx, platform.Request{Actor: by, Org: orgs[0]}, who.Person(), identity.MemberChange{Roles: &canaryRoles}); err != nil {
			return feature.CanaryOrg{}, fmt.Errorf("canary organization: roles: %w", err)
		}
		if in, err = signIn(); err != nil {
			return feature.CanaryOrg{}, err
		}
		if who, err = a.Identity.Identify(ctx, in.Token); err != nil {
			return feature.CanaryOrg{}, err
		}
	}
	c := feature.CanaryOrg{Placement: placement, Org: orgs[0], Actor: who, Token: in.Token.Reveal(), Name: "Canary " + name, Email: address, Password: password}
	if a.canaries.orgs == nil {
		a.canaries.orgs = map[string]feature.CanaryOrg{}
	}
	a.canaries.orgs[name] = c
	return c, nil
}
