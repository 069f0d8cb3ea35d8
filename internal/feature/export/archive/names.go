package archive

import (
	"crypto/sha256"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

const (
	maxElement = 120  // bytes of one part of a path: leaves room below the 255 of file systems
	maxPath    = 1000 // bytes of a whole path
	maxParts   = 16
)

// SafeName turns any text into one part of a path that every system can
// unpack: what it changes it replaces by an underscore. Applied twice it
// changes nothing more.
func SafeName(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1: // bad UTF-8
			b.WriteByte('_')
		case unicode.IsControl(r), strings.ContainsRune(`/\:*?"<>|`, r):
			b.WriteByte('_')
		case unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r), unicode.Is(unicode.Co, r), unicode.Is(unicode.Noncharacter_Code_Point, r):
			// Invisible, or turns the text around it: invoice\u202Efdp.exe.
			b.WriteByte('_')
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
		s = s[n:]
	}
	s = norm.NFC.String(b.String())
	s = strings.TrimRight(strings.TrimLeft(s, " "), " .")
	if reserved(s) {
		s = "_" + s
	}
	if len(s) > maxElement {
		ext := ""
		if i := strings.LastIndexByte(s, '.'); i > 0 && len(s)-i <= 16 {
			ext = s[i:]
		}
		n := maxElement - len(ext)
		for !utf8.RuneStart(s[n]) {
			n--
		}
		s = strings.TrimRight(s[:n], " .") + ext
	}
	if s == "" {
		return "_"
	}
	if reserved(s) { // cutting may have laid one bare
		s = "_" + s
	}
	return s
}

// reserved reports a name that Windows gives to a device, with or without an
// extension. The superscript digits count as digits there.
func reserved(s string) bool {
	base, _, _ := strings.Cut(s, ".")
	base = strings.ToUpper(strings.TrimRight(base, " "))
	switch base {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$", "CLOCK$":
		return true
	}
	for _, port := range []string{"COM", "LPT"} {
		if digit, ok := strings.CutPrefix(base, port); ok && utf8.RuneCountInString(digit) == 1 && strings.ContainsAny(digit, "0123456789¹²³") {
			return true
		}
	}
	return false
}

var (
	errUnsafe   = errors.New("archive: a name that is not safe to unpack everywhere")
	errNameUsed = errors.New("archive: a name that is used already, or differs from one only in case or in how its characters are composed, or is a folder of one")
)

// checkName accepts a relative path of safe parts.
func checkName(name string) error {
	parts := strings.Split(name, "/")
	if len(name) > maxPath || len(parts) > maxParts {
		return errUnsafe
	}
	for _, part := range parts {
		if SafeName(part) != part {
			return errUnsafe
		}
	}
	return nil
}

// names remembers which names are taken, folded as a system without case
// folds them, by sixteen bytes of hash each.
type names struct {
	fold cases.Caser
	used map[[16]byte]bool // true: an entry; false: a folder of one
}

func newNames() *names { return &names{fold: cases.Fold(), used: map[[16]byte]bool{}} }

func (n *names) key(path string) (k [16]byte) {
	// NFKC, then fold, then NFKC: the caseless match of Unicode, section 3.13.
	folded := norm.NFKC.String(n.fold.String(norm.NFKD.String(path)))
	h := sha256.Sum256([]byte(folded))
	copy(k[:], h[:])
	return
}

// take claims a name.
func (n *names) take(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	for i, c := range name {
		if c != '/' {
			continue
		}
		k := n.key(name[:i])
		if entry, ok := n.used[k]; ok && entry {
			return errNameUsed
		}
		n.used[k] = false
	}
	k := n.key(name)
	if _, ok := n.used[k]; ok {
		return errNameUsed
	}
	n.used[k] = true
	return nil
}

// SafePath makes every part of a path safe.
func SafePath(name string) string {
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = SafeName(part)
	}
	return strings.Join(parts, "/")
}
