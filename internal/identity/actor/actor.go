// Package actor names the verified caller without the power to make one.
//
// The floors below identity pass actors along and ask them questions;
// minting is left to identity, which alone can import the constructor.
package actor

import "strongroom/internal/identity/internal/principal"

// Actor is who is asking. Only identity mints one; see identity.Authenticate.
type Actor = principal.Actor

// Kind says what sort of caller an actor is.
type Kind = principal.Kind

// The kinds of caller.
const (
	Person  = principal.Person
	APIKey  = principal.APIKey
	Job     = principal.Job
	System  = principal.System
	Unknown = principal.Unknown
)
