// Package fault describes failures: what kind, what the caller may know, and
// what only the operator may know.
//
// Every floor returns errors made here (or plain errors, which count as
// Internal). The translation to a problem document happens once, at the edge
// of the house, in web/api. A message never repeats a value that the caller
// sent: it names the place.
package fault

import (
	"errors"
	"fmt"
)

// Kind is the class of a failure. The zero Kind is Internal, so a forgotten
// classification hides detail instead of leaking it.
type Kind uint8

// The kinds, each with the HTTP status that the edge gives it.
const (
	Internal             Kind = iota // 500
	Malformed                        // 400 the syntax is wrong
	Unauthenticated                  // 401
	Denied                           // 403
	NotFound                         // 404, also for what the caller may not see
	Conflict                         // 409
	Stale                            // 412 If-Match names another version
	TooLarge                         // 413
	UnsupportedMedia                 // 415
	Invalid                          // 422 the syntax is right, the content is not
	PreconditionRequired             // 428 If-Match is missing
	TooMany                          // 429
	Unavailable                      // 503 try again later
)

var names = [...]string{"internal", "malformed", "unauthenticated", "denied", "not_found", "conflict", "stale", "too_large",
	"unsupported_media", "invalid", "precondition_required", "too_many", "unavailable"}

// String returns the code that problem documents and audit events carry.
func (k Kind) String() string {
	if int(k) < len(names) {
		return names[k]
	}
	return names[Internal]
}

// Detail points at one place in the caller's input.
type Detail struct {
	Pointer string `json:"pointer"` // RFC 6901 JSON pointer, or the name of a header or parameter
	Code    string `json:"code"`    // stable, snake_case
	Detail  string `json:"detail"`  // says what is expected; never the value that was sent
}

// Error pairs what the caller may know with what the operator may know.
type Error struct {
	Kind    Kind
	Public  string // shown to the caller
	Details []Detail
	Cause   error // logged, never sent
}

func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Public
	}
	return e.Public + ": " + e.Cause.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// New returns a failure that the caller may read. The format's arguments are
// names of places and limits, never submitted values.
func New(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Public: fmt.Sprintf(format, args...)}
}

// At returns a failure that points at one place of the input.
func At(k Kind, pointer, code, detail string) *Error {
	return &Error{Kind: k, Public: detail, Details: []Detail{{Pointer: pointer, Code: code, Detail: detail}}}
}

// Wrap classifies cause: the caller reads public, the log reads both.
func Wrap(k Kind, cause error, format string, args ...any) *Error {
	return &Error{Kind: k, Public: fmt.Sprintf(format, args...), Cause: cause}
}

// From finds the classified failure in err's chain, or hides err behind an
// Internal one.
func From(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: Internal, Public: "internal error", Cause: err}
}

// Is reports whether err's chain holds a failure of kind k.
func Is(err error, k Kind) bool { return err != nil && From(err).Kind == k }
