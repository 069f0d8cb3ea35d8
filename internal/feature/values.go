package feature

import (
	"encoding/json"
	"strconv"
	"strings"

	"strongroom/internal/base/fault"
)

// Listing is embedded in the input of every list: `feature.Listing`.
type Listing struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"How many items to return at most."`
	Cursor string `query:"cursor" maxLength:"2048" doc:"The field next of the page before. It is sealed to the organization, the caller and the query, and valid for 24 hours."`
}

// Page is the body of every list.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"The cursor of the next page; absent on the last one."`
}

// NewPage returns a page whose items are never null.
func NewPage[T any](items []T, next string) Page[T] {
	if items == nil {
		items = []T{}
	}
	return Page[T]{items, next}
}

// List is an output that holds a page.
type List[T any] struct{ Body Page[T] }

// Item is an output that holds one thing and its version.
type Item[T any] struct {
	ETag ETag `header:"ETag" doc:"The version, as If-Match takes it."`
	Body T
}

// Created is the output of an operation that makes something: give its Meta
// the status 201.
type Created[T any] struct {
	Location string `header:"Location" doc:"Where it is."`
	ETag     ETag   `header:"ETag" doc:"The version, as If-Match takes it."`
	Body     T
}

// NoContent is the output of an operation that answers 204.
type NoContent struct{}

// ETag is a version as a strong entity tag (RFC 9110 section 8.8.3).
type ETag struct{ version uint64 }

// VersionTag makes the entity tag of a version.
func VersionTag(version uint64) ETag { return ETag{version} }

// String returns the version in quotes, or "" for the zero ETag.
func (e ETag) String() string {
	if e.version == 0 {
		return ""
	}
	return `"` + strconv.FormatUint(e.version, 10) + `"`
}

// IfMatch is the version that the caller has seen. An operation whose input
// has a field of this type, tagged `header:"If-Match"`, refuses a request
// without one (428). `*` is refused too: it would match whatever is there.
type IfMatch struct{ version uint64 }

// MatchVersion makes the IfMatch of an in-process call.
func MatchVersion(version uint64) IfMatch { return IfMatch{version} }

// Version returns the version that the change is meant for. Answer
// [fault.Stale] where the thing has another one.
func (m IfMatch) Version() uint64 { return m.version }

// UnmarshalText reads exactly one strong tag with a decimal version.
func (m *IfMatch) UnmarshalText(b []byte) error {
	s := string(b)
	if len(s) < 3 || s[0] != '"' || s[len(s)-1] != '"' {
		return errIfMatch
	}
	s = s[1 : len(s)-1]
	v, err := strconv.ParseUint(s, 10, 63)
	if err != nil || v == 0 || strconv.FormatUint(v, 10) != s {
		return errIfMatch
	}
	m.version = v
	return nil
}

var errIfMatch = fault.At(fault.Malformed, "If-Match", "syntax", `expected one strong entity tag with a version, as in "3"`)

// IdempotencyKey makes a repeated request harmless. An operation that takes
// one has a field of this type, tagged `header:"Idempotency-Key"`; the caller
// may leave it out. The feature stores keyed hashes of both parts in its
// transaction and answers a second request with the first one's result, or
// with [fault.Invalid] where the fingerprint is another.
type IdempotencyKey struct {
	key         string
	fingerprint [32]byte
}

// NewIdempotencyKey makes the key of an in-process call; the fingerprint is a
// hash of everything that the call says.
func NewIdempotencyKey(key string, fingerprint [32]byte) IdempotencyKey {
	return IdempotencyKey{key, fingerprint}
}

// IsZero reports whether the caller sent none.
func (k IdempotencyKey) IsZero() bool { return k.key == "" }

// Key returns what the caller sent.
func (k IdempotencyKey) Key() []byte { return []byte(k.key) }

// Fingerprint returns SHA-256 over the request: method, path, query and exact
// JSON body.
func (k IdempotencyKey) Fingerprint() []byte { return k.fingerprint[:] }

const maxIdempotencyKey = 128

// UnmarshalText reads 1 to 128 visible ASCII characters.
func (k *IdempotencyKey) UnmarshalText(b []byte) error {
	if len(b) == 0 || len(b) > maxIdempotencyKey || strings.ContainsFunc(string(b), func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errIdempotency
	}
	k.key = string(b)
	return nil
}

var errIdempotency = fault.At(fault.Malformed, "Idempotency-Key", "syntax", "expected 1 to 128 visible ASCII characters")

// JSON is a value of any shape, kept byte for byte as it came.
type JSON = json.RawMessage
