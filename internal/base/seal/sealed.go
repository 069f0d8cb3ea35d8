package seal

import (
	"bytes"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
)

// Sealed is an envelope: what a bytea column holds. It prints as its length.
type Sealed []byte

// Format prints the length under every verb.
func (s Sealed) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// String returns the length in words.
func (s Sealed) String() string { return fmt.Sprintf("[sealed %d bytes]", len(s)) }

// LogValue shows the length in slog.
func (s Sealed) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText refuses: an envelope in a document is either a leak of what
// should have been opened, or a loss if only its length were written.
func (Sealed) MarshalText() ([]byte, error) {
	return nil, errors.New("seal: an envelope has no text form")
}

// Value stores the envelope; nil is NULL.
func (s Sealed) Value() (driver.Value, error) {
	if s == nil {
		return nil, nil
	}
	return []byte(s), nil
}

// Scan reads a bytea column; NULL is nil. The bytes are copied, as the
// driver's are gone with the next row.
func (s *Sealed) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*s = nil
	case []byte:
		*s = bytes.Clone(v)
	default:
		return fmt.Errorf("seal: an envelope is a bytea column, not a %T", src)
	}
	return nil
}

// BytesValue gives pgx the bytes for its binary format.
func (s Sealed) BytesValue() ([]byte, error) { return s, nil }

// ScanBytes takes the bytes from pgx's binary format, and copies them.
func (s *Sealed) ScanBytes(b []byte) error {
	*s = bytes.Clone(b)
	return nil
}
