package client

import (
	"encoding/json"
	"fmt"
	"log/slog"
)

// Secret holds a password, a token or a key. It prints as [secret] under every
// verb, in JSON and in logs; only Reveal gives it. (The pointer is for structs
// that hold a Secret in an unexported field: fmt reads such a field by
// reflection, past every method, and finds an address.)
type Secret struct{ p *string }

// NewSecret wraps s.
func NewSecret(s string) Secret { return Secret{&s} }

// Reveal returns what the secret holds.
func (s Secret) Reveal() string {
	if s.p == nil {
		return ""
	}
	return *s.p
}

// IsZero reports whether there is no secret.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// Format implements fmt.Formatter, which covers every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[secret]")) }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalJSON never writes the secret: requests that carry one reveal it.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"[secret]"`), nil }

// UnmarshalJSON reads a secret that the server shows once.
func (s *Secret) UnmarshalJSON(b []byte) error {
	var text string
	err := json.Unmarshal(b, &text)
	s.p = &text
	return err
}
