// Package identity verifies credentials and mints actors.
//
// It promises that an [actor.Actor] exists only for a caller whose session or
// key was valid no longer than [Freshness] ago; that a password, a session
// token and an API key are stored only as hashes; that a refused sign-in
// tells nobody, by words or by time, whether the address has an account; and
// that all of it is on the record.
//
// People, their sessions and their keys live in the control plane and not in
// any organization's schema, so that restoring an organization to last Tuesday
// does not bring back the member who left on Wednesday.
//
// To add a way of signing in, verify its proof in a file of its own and end in
// the session that [Service.SignIn] ends in.
package identity
