package app

import (
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

// canaries are the organizations that the checks act in: two a placement, so
// that one can try to reach the other. They are ordinary organizations with
// ordinary members; nothing in the house knows them apart.
type canaries struct {
	mu   sync.Mutex
	orgs map[string]feature.CanaryOrg // by name
}

// env is what checks may use.
func (a *App) env(ctx context.Context) (feature.Env, error) {
	a.mu.Lock()
	env := feature.Env{Store: a.Tenant, Platform: a.Platform, URL: a.public.url, HTTP: a.public.client, DataDir: a.options.DataDir}
	a.mu.Unlock()
	for _, placement := range []string{platform.PlacementSchema, platform.PlacementPooled} {
		mine, err := a.canary(ctx, placement, "mine")
		if err != nil {
			return env, err
		}
		theirs, err := a.canary(ctx, placement, "theirs")
		if err != nil {
			return env, err
		}
		env.Canaries = append(env.Canaries, mine)
		env.Strange = append(env.Strange, theirs)
	}
	return env, nil
}

// canary signs in to a canary organization, and makes it the first time. Its
// password is a keyed hash of its name: whoever has the installation's keys
// can sign in, nobody else, and nothing is stored.
func (a *App) canary(ctx context.Context, placement, which string) (feature.CanaryOrg, error) {
	a.canaries.mu.Lock()
	defer a.canaries.mu.Unlock()
	name := placement + "-" + which
	if c, ok := a.canaries.orgs[name]; ok {
		if token, err := identity.ParseToken(c.Token); err == nil {
			if who, err := a.Identity.Identify(ctx, token); err == nil && who.May(c.Org, policy.RecordCreate) {
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
		_, _, _, err = a.Identity.CreateOrg(ctx, platform.Request{Actor: identity.System(a.server)}, identity.NewOrg{Name: "Canary " + name, Placement: placement,
			Owner: identity.NewPerson{Address: address, Name: "Canary " + name, Password: password}})
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
	all := []policy.Role{policy.OrgAdmin, policy.Scientist, policy.Analyst, policy.SecurityAdmin}
	if !who.May(orgs[0], policy.RecordCreate) || !who.May(orgs[0], policy.TrailRead) {
		if _, _, err := a.Identity.UpdateMember(ctx, platform.Request{Actor: who, Org: orgs[0]}, who.Person(), identity.MemberChange{Roles: &all}); err != nil {
			return feature.CanaryOrg{}, fmt.Errorf("canary organization: roles: %w", err)
		}
		if in, err = signIn(); err != nil {
			return feature.CanaryOrg{}, err
		}
		if who, err = a.Identity.Identify(ctx, in.Token); err != nil {
			return feature.CanaryOrg{}, err
		}
	}
	c := feature.CanaryOrg{Placement: placement, Org: orgs[0], Actor: who, Token: in.Token.Reveal()}
	if a.canaries.orgs == nil {
		a.canaries.orgs = map[string]feature.CanaryOrg{}
	}
	a.canaries.orgs[name] = c
	return c, nil
}
