package seal

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
)

const secretText = "[secret]"

// Secret holds content that must not be printed, logged or stored in the
// clear. Only [Secret.Reveal] gives it away, so every place where content
// leaves the program can be found by that word.
//
// The bytes are behind a function, not in a field: fmt prints the unexported
// fields of a struct that holds a Secret, and every field under %p, without
// asking the methods below. A Secret cannot be compared with ==, which would
// also take a different time for different contents.
//
// The zero Secret holds nothing, not even empty content.
type Secret struct{ reveal func() []byte }

// NewSecret takes b over: the caller does not change it afterwards.
func NewSecret(b []byte) Secret { return Secret{func() []byte { return b }} }

// NewSecretString holds a copy of s.
func NewSecretString(s string) Secret { return NewSecret([]byte(s)) }

// Reveal returns the content, not to be changed; nil for the zero Secret.
func (s Secret) Reveal() []byte {
	if s.reveal == nil {
		return nil
	}
	return s.reveal()
}

// IsZero reports whether s is the zero Secret. Empty content is not zero.
func (s Secret) IsZero() bool { return s.reveal == nil }

// Len returns the length of the content in bytes.
func (s Secret) Len() int { return len(s.Reveal()) }

// Format prints [secret] under every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(secretText)) }

// String returns [secret].
func (Secret) String() string { return secretText }

// GoString returns [secret].
func (Secret) GoString() string { return secretText }

// LogValue shows [secret] in slog.
func (Secret) LogValue() slog.Value { return slog.StringValue(secretText) }

// MarshalText gives [secret] to JSON, XML and every other encoder of text.
func (Secret) MarshalText() ([]byte, error) { return []byte(secretText), nil }

// Value refuses: a Secret that is passed to the database is one that somebody
// forgot to seal.
func (Secret) Value() (driver.Value, error) {
	return nil, errors.New("seal: a Secret does not go into a column unsealed")
}
