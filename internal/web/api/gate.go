package api

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"strongroom/internal/base/fault"
)

// Limits of a JSON body. They are far from what people write by hand and near
// enough to keep a hostile body cheap.
const (
	maxDepth = 32
	// maxNumber bounds the text of one number, and maxExponent is the range of
	// IEEE 754 decimal128: arithmetic on arbitrary precision (as JSON Schema's
	// multipleOf needs) would take gigabytes for 1e999999999.
	maxNumber   = 128
	maxExponent = 6144
)

// gate reads a whole JSON text before anything else looks at it, and refuses
// what parsers disagree about: duplicate names (RFC 8259 section 4 leaves them
// to chance, and an attacker to choice), bytes that are not UTF-8, half
// surrogate pairs, NUL, a byte order mark, anything after the value. It
// changes nothing: who accepts the text gets its very bytes.
//
// words are the field names of the operation's own schema. A failure names
// the place by a pointer made of these and of array indexes, and by the offset
// in bytes; names that the caller made up are never repeated.
func gate(data []byte, words map[string]bool) error {
	if bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
		return malformed("", "byte_order_mark", "the body starts with a byte order mark", 0)
	}
	s := scanner{data: data, words: words}
	s.space()
	if s.at == len(data) {
		return fault.At(fault.Malformed, "", "body_required", "the body is empty")
	}
	if err := s.value(0); err != nil {
		return err
	}
	s.space()
	if s.at != len(data) {
		return s.fail("trailing_data", "the body goes on after its value")
	}
	return nil
}

func malformed(pointer, code, detail string, at int) error {
	return fault.At(fault.Malformed, pointer, code, detail+", at byte "+strconv.Itoa(at))
}

type scanner struct {
	data  []byte
	at    int
	words map[string]bool
	path  []step
}

// step is one level of the way to the current value.
type step struct {
	name  []byte // nil in an array
	index int
}

func (s *scanner) fail(code, detail string) error {
	var pointer []byte
	for _, p := range s.path {
		if p.name != nil && !s.words[string(p.name)] {
			break
		}
		pointer = append(pointer, '/')
		if p.name == nil {
			pointer = strconv.AppendInt(pointer, int64(p.index), 10)
		} else {
			pointer = append(pointer, p.name...)
		}
	}
	return malformed(string(pointer), code, detail, s.at)
}

func (s *scanner) space() {
	for s.at < len(s.data) {
		switch s.data[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// peek returns the next byte, or 0 at the end: NUL is nowhere allowed outside
// strings, so the two need no telling apart.
func (s *scanner) peek() byte {
	if s.at < len(s.data) {
		return s.data[s.at]
	}
	return 0
}

func (s *scanner) value(depth int) error {
	switch c := s.peek(); {
	case c == '{':
		return s.object(depth + 1)
	case c == '[':
		return s.array(depth + 1)
	case c == '"':
		_, err := s.text()
		return err
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	}
	return s.syntax()
}

func (s *scanner) syntax() error {
	switch {
	case s.at >= len(s.data):
		return s.fail("syntax", "the body ends in the middle of a value")
	case s.data[s.at] == 0:
		return s.fail("nul", "the body contains a NUL")
	}
	return s.fail("syntax", "this is not JSON")
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.data[s.at:], []byte(word)) {
		return s.syntax()
	}
	s.at += len(word)
	return nil
}

// fewNames is up to how many names comparing them all is cheaper than a map.
const fewNames = 12

func (s *scanner) object(depth int) error {
	if depth > maxDepth {
		return s.fail("too_deep", "nested more than "+strconv.Itoa(maxDepth)+" levels deep")
	}
	s.at++
	s.space()
	if s.peek() == '}' {
		s.at++
		return nil
	}
	var few [fewNames][]byte
	names := few[:0]
	var many map[string]struct{}
	for {
		start := s.at
		if s.peek() != '"' {
			return s.syntax()
		}
		name, err := s.text()
		if err != nil {
			return err
		}
		known := false
		if many != nil {
			_, known = many[string(name)]
			many[string(name)] = struct{}{}
		} else {
			for _, n := range names {
				known = known || bytes.Equal(n, name)
			}
			names = append(names, name)
			if len(names) == fewNames {
				many = make(map[string]struct{}, 4*fewNames)
				for _, n := range names {
					many[string(n)] = struct{}{}
				}
			}
		}
		if known {
			s.at = start
			return s.fail("duplicate_field", "a field of this object comes twice")
		}
		s.space()
		if s.peek() != ':' {
			return s.syntax()
		}
		s.at++
		s.space()
		s.path = append(s.path, step{name: name})
		if err := s.value(depth); err != nil {
			return err
		}
		s.path = s.path[:len(s.path)-1]
		s.space()
		switch s.peek() {
		case ',':
			s.at++
			s.space()
		case '}':
			s.at++
			return nil
		default:
			return s.syntax()
		}
	}
}

func (s *scanner) array(depth int) error {
	if depth > maxDepth {
		return s.fail("too_deep", "nested more than "+strconv.Itoa(maxDepth)+" levels deep")
	}
	s.at++
	s.space()
	if s.peek() == ']' {
		s.at++
		return nil
	}
	s.path = append(s.path, step{})
	for {
		if err := s.value(depth); err != nil {
			return err
		}
		s.space()
		switch s.peek() {
		case ',':
			s.at++
			s.space()
			s.path[len(s.path)-1].index++
		case ']':
			s.at++
			s.path = s.path[:len(s.path)-1]
			return nil
		default:
			return s.syntax()
		}
	}
}

// text reads a string and returns what it says, without its quotes and
// escapes. Without escapes that is a part of the body itself.
func (s *scanner) text() ([]byte, error) {
	s.at++
	start := s.at
	var plain []byte // nil until the first escape
	for s.at < len(s.data) {
		c := s.data[s.at]
		switch {
		case c == '"':
			out := s.data[start:s.at]
			if plain != nil {
				out = plain
			}
			s.at++
			if out == nil {
				out = []byte{}
			}
			return out, nil
		case c == '\\':
			if plain == nil {
				plain = append(make([]byte, 0, 64), s.data[start:s.at]...)
			}
			r, err := s.escape()
			if err != nil {
				return nil, err
			}
			plain = utf8.AppendRune(plain, r)
			continue
		case c == 0:
			return nil, s.fail("nul", "a string contains a NUL")
		case c < 0x20:
			return nil, s.fail("syntax", "a string contains a control character that is not escaped")
		case c < utf8.RuneSelf:
			if plain != nil {
				plain = append(plain, c)
			}
			s.at++
			continue
		}
		r, n := utf8.DecodeRune(s.data[s.at:])
		if r == utf8.RuneError && n == 1 {
			return nil, s.fail("invalid_utf8", "a string is not UTF-8")
		}
		if plain != nil {
			plain = append(plain, s.data[s.at:s.at+n]...)
		}
		s.at += n
	}
	return nil, s.syntax()
}

func (s *scanner) escape() (rune, error) {
	if s.at+1 >= len(s.data) {
		s.at = len(s.data)
		return 0, s.syntax()
	}
	c := s.data[s.at+1]
	switch c {
	case '"', '\\', '/':
		s.at += 2
		return rune(c), nil
	case 'b', 'f', 'n', 'r', 't':
		s.at += 2
		return map[byte]rune{'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}[c], nil
	case 'u':
		r, ok := s.hex(s.at + 2)
		switch {
		case !ok:
			return 0, s.fail("syntax", "an escape in a string is not complete")
		case r == 0:
			return 0, s.fail("nul", "a string contains an escaped NUL")
		case r >= 0xDC00 && r <= 0xDFFF:
			return 0, s.fail("invalid_utf8", "a string contains half of a surrogate pair")
		case r >= 0xD800 && r <= 0xDBFF:
			low, ok := s.hex(s.at + 8)
			if !ok || s.data[s.at+6] != '\\' || s.data[s.at+7] != 'u' || low < 0xDC00 || low > 0xDFFF {
				return 0, s.fail("invalid_utf8", "a string contains half of a surrogate pair")
			}
			s.at += 12
			return 0x10000 + (r-0xD800)<<10 + (low - 0xDC00), nil
		}
		s.at += 6
		return r, nil
	}
	return 0, s.fail("syntax", "a string contains an escape that JSON does not have")
}

func (s *scanner) hex(at int) (r rune, ok bool) {
	if at+4 > len(s.data) {
		return 0, false
	}
	for _, c := range s.data[at : at+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

func (s *scanner) number() error {
	start := s.at
	if s.peek() == '-' {
		s.at++
	}
	if s.peek() == '0' {
		s.at++
	} else if !s.digits() {
		return s.syntax()
	}
	if s.peek() == '.' {
		s.at++
		if !s.digits() {
			return s.syntax()
		}
	}
	exponent := 0
	if c := s.peek(); c == 'e' || c == 'E' {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		from := s.at
		if !s.digits() {
			return s.syntax()
		}
		for _, d := range s.data[from:s.at] {
			if exponent = exponent*10 + int(d-'0'); exponent > maxExponent {
				s.at = start
				return s.fail("number_out_of_range", "a number has an exponent beyond ±"+strconv.Itoa(maxExponent))
			}
		}
	}
	if s.at-start > maxNumber {
		s.at = start
		return s.fail("number_too_long", "a number has more than "+strconv.Itoa(maxNumber)+" characters")
	}
	return nil
}

func (s *scanner) digits() bool {
	from := s.at
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.at++
	}
	return s.at > from
}
