// Package kind decides what a record may contain: an organization declares a
// kind by a JSON Schema (draft 2020-12), and every record of that kind is
// checked against it.
//
// What it keeps true:
//
//   - Content keeps its exact text: digits are never rounded, members never
//     reordered, escapes never rewritten. Only white space between tokens goes,
//     so that one record is one line.
//   - A schema reads nothing but itself: no reference leaves it, no file and no
//     network is asked. Patterns are RE2 and run in linear time.
//   - Neither a schema nor content can take more than a fixed amount of work.
//     What would cost more is refused before it is begun, by a bound that is
//     computed from both.
//   - A failure names places in the caller's input, by JSON pointer (RFC 6901)
//     and a stable code, never a value.
//   - Compiled schemas are kept in partitions, one for each organization.
//
// Features call [ParseName], [ParseContent] and [Cache.Schema], then
// [Schema.Validate]. Formats such as date-time are asserted, not just noted.
package kind

import (
	"strings"

	"strongroom/internal/base/fault"
)

// MaxName is the length of the longest kind name in bytes.
const MaxName = 64

// Name is the name of a kind: a slug such as xps-spectrum.
type Name struct{ s string }

// Generic is the kind that every organization has without declaring it: its
// records are any JSON object.
var Generic = Name{"record"}

// ParseName reads a kind's name: lowercase letters and digits in groups
// joined by single hyphens or underscores, a letter first.
func ParseName(s, at string) (Name, error) {
	ok := len(s) <= MaxName
	joined := true // the name begins as if behind a joint, so a joint may not begin it
	for i := 0; ok && i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9' && i > 0:
			joined = false
		case c == '-' || c == '_':
			ok, joined = !joined, true
		default:
			ok = false
		}
	}
	if !ok || joined {
		return Name{}, fault.At(fault.Invalid, at, "kind_name", "a kind's name is at most 64 lowercase letters and digits, joined by single hyphens or underscores, a letter first")
	}
	return Name{s}, nil
}

// String returns the name.
func (n Name) String() string { return n.s }

// IsZero reports whether n names nothing.
func (n Name) IsZero() bool { return n.s == "" }

// escaper writes a member name as one step of a JSON pointer (RFC 6901, section 3).
var escaper = strings.NewReplacer("~", "~0", "/", "~1")
