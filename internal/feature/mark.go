package feature

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"strongroom/internal/base/id"
	"strongroom/internal/base/seal"
)

// Mark is a random value that a check plants to look for it afterwards. It
// cannot be compressed or guessed, so where it is found it got out.
type Mark struct {
	Text  string
	forms [][]byte
}

// NewMark draws a mark: 26 lowercase letters and digits.
func NewMark() Mark { return MarkOf(strings.ToLower(rand.Text())) }

// MarkOf is a mark of a value that stands already.
func MarkOf(text string) Mark {
	m := Mark{Text: text}
	plain := [][]byte{[]byte(text), []byte(strings.ToLower(text))}
	// base64 writes three bytes as four characters, so a value inside a longer
	// one can look in three ways. What depends on its neighbors is cut off.
	for shift := range 3 {
		padded := append(make([]byte, shift), text...)
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			coded := e.EncodeToString(padded)
			first, last := (shift*8+5)/6, len(padded)*8/6
			plain = append(plain, []byte(coded[first:last]))
		}
	}
	for _, p := range plain {
		h := hex.EncodeToString(p)
		// The text form of bytea is hexadecimal: what stands in such a column
		// is found in it, even if it was hexadecimal before.
		m.forms = append(m.forms, p, []byte(h), []byte(strings.ToUpper(h)), []byte(hex.EncodeToString([]byte(h))), []byte(hex.EncodeToString([]byte(strings.ToUpper(h)))))
	}
	return m
}

// In reports whether b holds the mark, as it is, in hexadecimal, in base64,
// or in hexadecimal of these.
func (m Mark) In(b []byte) bool {
	for _, f := range m.forms {
		if len(f) > 0 && bytes.Contains(b, f) {
			return true
		}
	}
	return false
}

// Disguise gives another organization's keys out as those of org. Sealing
// refuses keys that do not belong to a place before it tries them; only in
// disguise do they show whether they would open anything.
func Disguise(keys seal.Keys, org id.Org) seal.Keys { return disguised{keys, org} }

type disguised struct {
	seal.Keys
	org id.Org
}

func (d disguised) Org() id.Org { return d.org }
