// Package actortest makes actors for tests. The architecture test refuses it
// in any file that is not a test or part of testkit.
package actortest

import (
	"testing"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/identity/actor"
	"strongroom/internal/identity/internal/principal"
)

// With returns a person who holds roles in org.
func With(t testing.TB, org id.Org, roles ...policy.Role) actor.Actor {
	t.Helper()
	return Person(t, id.NewPerson(), org, roles...)
}

// Person returns the given person, holding roles in org.
func Person(t testing.TB, p id.Person, org id.Org, roles ...policy.Role) actor.Actor {
	t.Helper()
	return principal.New(principal.Spec{Kind: principal.Person, ID: p, Person: p, Roles: map[id.Org][]policy.Role{org: roles}})
}

// SystemAdmin returns a platform administrator, who belongs to no organization.
func SystemAdmin(t testing.TB) actor.Actor {
	t.Helper()
	p := id.NewPerson()
	return principal.New(principal.Spec{Kind: principal.Person, ID: p, Person: p, Platform: []policy.Role{policy.SystemAdmin}})
}
