package identity

import (
	"encoding/base32"
	"errors"
	"hash/crc32"
	"log/slog"
	"strings"
)

// Credentials that a caller carries. Each is a recognizable word: secret
// scanners find it in a repository or a log by its prefix, and tell a real one
// from a look-alike by the checksum, without asking us.
//
//	sr_ses_<secret:52><checksum:7>
//	sr_key_<prefix:8>_<secret:52><checksum:7>
//
// The secret is 32 random bytes and the checksum the CRC-32 (IEEE) of all the
// text before it, both in lowercase Crockford base32. Scanners match
//
//	sr_(ses|key_[0-9a-hjkmnp-tv-z]{8})_[0-9a-hjkmnp-tv-z]{59}
//
// The checksum protects nothing: it catches a typing error before the database
// is asked. What protects is the 256 random bits, and that only a keyed hash
// of the token is stored.
const (
	sessionMark  = "sr_ses_"
	keyMark      = "sr_key_"
	secretBytes  = 32
	secretChars  = 52
	sumChars     = 7
	prefixBytes  = 5
	prefixChars  = 8
	sessionChars = len(sessionMark) + secretChars + sumChars
	keyChars     = len(keyMark) + prefixChars + 1 + secretChars + sumChars
)

var crockford = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// ErrToken reports text that is not a token. It does not repeat the text.
var ErrToken = errors.New("identity: not a well-formed token")

// TokenKind says what a token opens.
type TokenKind uint8

// The kinds of token. The zero kind is none.
const (
	SessionToken TokenKind = iota + 1
	KeyToken
)

// Token is a credential in the clear. It exists on its way from the caller to
// its hash, and once on its way to its owner; it prints as [secret].
type Token struct {
	kind TokenKind
	text string
}

// NewSessionToken draws the token of a new session.
func NewSessionToken() Token {
	return Token{SessionToken, sum(sessionMark + crockford.EncodeToString(random(secretBytes)))}
}

// NewKeyToken draws the token of a new API key. Its prefix is random too, and
// is all that lists ever show again.
func NewKeyToken() Token {
	return Token{KeyToken, sum(keyMark + crockford.EncodeToString(random(prefixBytes)) + "_" + crockford.EncodeToString(random(secretBytes)))}
}

// ParseToken reads the one spelling of a token.
func ParseToken(s string) (Token, error) {
	var kind TokenKind
	body := ""
	switch {
	case strings.HasPrefix(s, sessionMark) && len(s) == sessionChars:
		kind, body = SessionToken, s[len(sessionMark):]
	case strings.HasPrefix(s, keyMark) && len(s) == keyChars && s[len(keyMark)+prefixChars] == '_':
		kind, body = KeyToken, s[len(keyMark)+prefixChars+1:]
		if !canonical(s[len(keyMark) : len(keyMark)+prefixChars]) {
			return Token{}, ErrToken
		}
	default:
		return Token{}, ErrToken
	}
	if !canonical(body[:secretChars]) || sum(s[:len(s)-sumChars]) != s {
		return Token{}, ErrToken
	}
	return Token{kind, s}, nil
}

// canonical reports whether s is the one spelling of some bytes: the decoder
// skips line ends, and takes 260 bits for 256 whatever the last four are.
func canonical(s string) bool {
	raw, err := crockford.DecodeString(s)
	return err == nil && crockford.EncodeToString(raw) == s
}

// Kind returns what the token opens.
func (t Token) Kind() TokenKind { return t.kind }

// Prefix returns the part of an API key that may be shown in lists.
func (t Token) Prefix() string {
	if t.kind != KeyToken {
		return ""
	}
	return t.text[len(keyMark) : len(keyMark)+prefixChars]
}

// Reveal returns the token in the clear: for the answer that hands it to its
// owner, once.
func (t Token) Reveal() string { return t.text }

// String hides the token.
func (t Token) String() string { return "[secret]" }

// GoString hides the token from %#v.
func (t Token) GoString() string { return "[secret]" }

// LogValue hides the token from slog.
func (t Token) LogValue() slog.Value { return slog.StringValue("[secret]") }

// MarshalText hides the token from encoders.
func (t Token) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// sum appends the checksum.
func sum(s string) string {
	c := crc32.ChecksumIEEE([]byte(s))
	var b [sumChars]byte
	for i := range b {
		b[i] = "0123456789abcdefghjkmnpqrstvwxyz"[c>>(5*(sumChars-1-i))&31]
	}
	return s + string(b[:])
}
