package identity

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Limits of an e-mail address (RFC 5321 section 4.5.3.1).
const (
	maxAddressBytes = 254
	maxLocalBytes   = 64
	maxLabelBytes   = 63
)

// errAddress reports text that is not an e-mail address. It does not repeat
// the text.
var errAddress = errors.New("not an e-mail address")

// Address is an e-mail address that has been read strictly.
type Address struct{ text, key string }

// ParseAddress reads an e-mail address: a dot-atom, an at sign and a domain
// name of two or more labels (RFC 5322 section 3.4.1, with the letters of RFC
// 6531). Quoted local parts, comments, address literals and display names are
// refused: nobody signs in with one, and parsers disagree about them.
func ParseAddress(s string) (Address, error) {
	if len(s) > maxAddressBytes || !utf8.ValidString(s) {
		return Address{}, errAddress
	}
	s = norm.NFC.String(s)
	local, domain, ok := strings.Cut(s, "@")
	if !ok || len(s) > maxAddressBytes || len(local) > maxLocalBytes || strings.Contains(domain, "@") {
		return Address{}, errAddress
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, func(r rune) bool { return !isAtext(r) }) {
			return Address{}, errAddress
		}
	}
	labels := strings.Split(domain, ".")
	for _, l := range labels {
		if l == "" || len(l) > maxLabelBytes || l[0] == '-' || l[len(l)-1] == '-' ||
			strings.ContainsFunc(l, func(r rune) bool { return !isLetDig(r) && r != '-' }) {
			return Address{}, errAddress
		}
	}
	if len(labels) < 2 {
		return Address{}, errAddress
	}
	// Lower-casing can undo the normal form, so it is applied again.
	return Address{text: s, key: norm.NFC.String(strings.ToLower(s))}, nil
}

// String returns the address as its owner writes it.
func (a Address) String() string { return a.text }

// Key returns the form under which the address is found. RFC 5321 lets a host
// tell "Ada" from "ada"; no host that people use does, and two accounts that
// differ in case would only mislead.
func (a Address) Key() string { return a.key }

func isAtext(r rune) bool {
	return isLetDig(r) || r < utf8.RuneSelf && strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
}

func isLetDig(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) && r >= utf8.RuneSelf
}
