// Package show prints what came from a server to people and to other programs.
//
// It promises that nothing a server or another user wrote can act on the
// reader's terminal or spreadsheet: control characters are escaped in every
// format, and no CSV field begins as a formula. Lists are printed as they
// arrive, in constant memory. Progress appears on terminals only, and only for
// what takes longer than a second.
package show

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
)

// harmless reports whether a terminal shows r and does nothing else. Outside
// are the C0 and C1 controls (U+009B begins a control sequence, as ESC [ does),
// line and paragraph separators, and the marks that reorder text; joiners are
// in, as whole scripts and emoji are spelled with them.
func harmless(r rune) bool {
	return r == ' ' || r == '\u200c' || r == '\u200d' || unicode.IsPrint(r) || unicode.Is(unicode.Zs, r)
}

// Text escapes whatever is not harmless, bytes that are not UTF-8 included:
// the result is one line.
func Text(s string) string {
	clean := true
	for _, r := range s {
		if r == utf8.RuneError || !harmless(r) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case harmless(r):
			b.WriteString(s[i : i+n])
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		i += n
	}
	return b.String()
}

// JSON rewrites a JSON text so that it says the same without a character that
// is not harmless: inside strings they become \u escapes. Line breaks and
// indentation between values stay.
func JSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if c == 0x7f {
				out = append(out, `\u007f`...)
			} else if c >= ' ' || c == '\n' {
				out = append(out, c)
			} else {
				out = append(out, ' ') // between values only: inside strings JSON has them escaped
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			out = append(out, `\ufffd`...)
		case harmless(r):
			out = append(out, text[i:i+n]...)
		case r <= 0xffff:
			out = fmt.Appendf(out, `\u%04x`, r)
		default: // a surrogate pair (RFC 8259, section 7)
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		}
		i += n
	}
	return out
}

// Cell escapes a field of a CSV file. Spreadsheets run a field that begins
// with one of these as a formula (OWASP, CSV injection).
func Cell(s string) string {
	s = Text(s)
	if s != "" && strings.ContainsRune("=+-@\t\r＝＋－＠", []rune(s)[0]) {
		return "'" + s
	}
	return s
}

// FileName makes a name that is safe to create in any directory from one that
// somebody else chose: no folder, no hidden file, no option, no control
// character, at most 200 bytes. fallback stands in for a name of nothing.
func FileName(s, fallback string) string {
	if i := strings.LastIndexAny(s, `/\`); i >= 0 {
		s = s[i+1:]
	}
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !harmless(r) {
			return '_'
		}
		return r
	}, strings.TrimSpace(s))
	if strings.Trim(s, ".") == "" {
		return fallback
	}
	if s[0] == '.' || s[0] == '-' {
		s = "_" + s[1:]
	}
	for len(s) > 200 {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

// Short is Text cut to a width on the screen.
func Short(s string, width int) string { return runewidth.Truncate(Text(s), width, "…") }

// Size writes a number of bytes for people.
func Size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n), -1
	for f >= 999.95 && unit < 5 {
		f /= 1000
		unit++
	}
	return fmt.Sprintf("%.1f %cB", f, "kMGTPE"[unit])
}
