// Package principal makes actors. Being nested under identity/internal, only
// identity (and its test helper) can reach it: nobody else can forge one.
package principal

import (
	"slices"

	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
)

// Kind says what sort of caller an actor is; audit events carry it.
type Kind string

// The kinds of caller.
const (
	Person  Kind = "person"  // somebody who signed in
	APIKey  Kind = "key"     // a service account's key
	Job     Kind = "job"     // background work, started by somebody
	System  Kind = "system"  // the installation itself
	Unknown Kind = "unknown" // nobody: the zero actor, for refusals
)

// Actor is who is asking, already verified. Its zero value is nobody and may
// do nothing.
type Actor struct{ s Spec }

// Spec is what identity knows of a verified caller.
type Spec struct {
	Kind      Kind
	ID        id.Ref // person, key, job or server
	Person    id.Person
	Via       id.Ref // the session or key that the request came with
	Initiator id.Ref // who started a job
	Roles     map[id.Org][]policy.Role
	Platform  []policy.Role   // roles on the installation: SystemAdmin
	Scopes    []policy.Action // nil: everything the roles allow
	Scoped    bool            // Scopes limits, even when empty
	// Subjects holds the person's own leaf in each organization's key tree:
	// destroying it erases her from that organization's audit openings.
	Subjects map[id.Org]keytree.Leaf
}

// New makes an actor.
func New(s Spec) Actor { return Actor{s} }

// Kind returns what sort of caller a is.
func (a Actor) Kind() Kind {
	if a.s.Kind == "" {
		return Unknown
	}
	return a.s.Kind
}

// ID returns the caller's identifier, or "" for nobody.
func (a Actor) ID() string { return text(a.s.ID) }

// Person returns the person behind the caller: the one who signed in, or who
// made the key. It is zero for the system.
func (a Actor) Person() id.Person { return a.s.Person }

// Via returns the session or key used, or "".
func (a Actor) Via() string { return text(a.s.Via) }

// Initiator returns who started a job, or "".
func (a Actor) Initiator() string { return text(a.s.Initiator) }

// IsNobody reports whether a is the zero actor.
func (a Actor) IsNobody() bool { return a.s.Kind == "" }

// Subject returns the person's leaf in org's key tree, 0 where she has none.
func (a Actor) Subject(org id.Org) keytree.Leaf { return a.s.Subjects[org] }

// Sees reports whether a may know that org exists.
func (a Actor) Sees(org id.Org) bool { return len(a.s.Roles[org]) > 0 }

// Orgs lists the organizations that a belongs to.
func (a Actor) Orgs() (out []id.Org) {
	for o := range a.s.Roles {
		out = append(out, o)
	}
	slices.SortFunc(out, func(x, y id.Org) int { return slices.Compare(x.Bytes(), y.Bytes()) })
	return out
}

// RolesIn returns a's roles in org.
func (a Actor) RolesIn(org id.Org) []policy.Role { return slices.Clone(a.s.Roles[org]) }

// May reports whether a may perform action in org.
func (a Actor) May(org id.Org, action policy.Action) bool {
	return a.inScope(action) && policy.Allow(a.s.Roles[org], action)
}

// MayOnPlatform reports whether a may perform an action of the installation:
// because the action is about the caller alone, or by a platform role.
func (a Actor) MayOnPlatform(action policy.Action) bool {
	return policy.Open(action, !a.IsNobody()) || a.inScope(action) && policy.Allow(a.s.Platform, action)
}

// ForInstallation returns a as the caller whom the platform's door lets act on
// people, by the roles that a holds in org. A person's row belongs to no
// organization, though an organization's admin adds her. It is a function of
// this package and no method, so that identity alone can use it.
func ForInstallation(a Actor, org id.Org) Actor {
	a.s.Platform = slices.Concat(a.s.Platform, a.s.Roles[org])
	return a
}

func (a Actor) inScope(action policy.Action) bool {
	return !a.s.Scoped || slices.Contains(a.s.Scopes, action)
}

func text(r id.Ref) string {
	if r == nil || r.IsZero() {
		return ""
	}
	return r.String()
}
