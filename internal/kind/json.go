package kind

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"strongroom/internal/base/fault"
)

// Limits on JSON text. They bound what one caller can make the server hold,
// and every number to what exact arithmetic handles in microseconds: 1e1000000
// is nine bytes of text and a third of a megabyte as a number.
const (
	MaxContent  = 1 << 20 // bytes of one record's content
	MaxSchema   = 64 << 10
	MaxDepth    = 64      // of objects and arrays in each other
	MaxValues   = 100_000 // objects, arrays, strings, numbers, literals
	MaxDigits   = 200     // characters of one number
	MaxExponent = 400     // written exponent of one number, either sign
)

// Content is the content of one record: a JSON object that was read strictly.
// It prints as [secret].
type Content struct {
	text   []byte
	value  map[string]any
	values int
}

// Text is the content without white space between tokens: every other byte is
// as it was sent, so numbers keep their digits and members their order. The
// caller must not change it.
func (c *Content) Text() []byte { return c.text }

// Format keeps content out of logs and messages.
func (*Content) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[secret]") }

// MarshalText keeps content out of structured logs. To send content, send Text.
func (*Content) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// ParseContent reads one record's content strictly: one JSON object (RFC 8259),
// valid UTF-8, no duplicate member, no lone surrogate, no NUL, within the
// limits of this package. Failures point below at, the pointer of the content
// in the request.
func ParseContent(raw []byte, at string) (*Content, error) {
	p, v, err := parse(raw, at, MaxContent)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, fault.At(fault.Invalid, at, "type", "must be an object")
	}
	return &Content{text: p.text(), value: object, values: p.values}, nil
}

// parser reads one JSON text into the values that the schema library takes.
// encoding/json cannot do it: it takes the last of duplicate members and
// replaces bad UTF-8 and lone surrogates without a word. FuzzContent holds
// this parser against it.
type parser struct {
	in     []byte
	i      int
	at     string
	path   []step
	values int

	out  []byte // the compact text, once white space was met
	kept int    // in[:kept] is in out already

	properties []string // the members of /properties, in the order of the text
}

type step struct {
	member string
	index  int // -1 for a member
}

type syntaxError struct{ fault *fault.Error }

// parse reads one JSON text of at most limit bytes.
func parse(raw []byte, at string, limit int) (p *parser, v any, err error) {
	if len(raw) > limit {
		return nil, nil, fault.At(fault.TooLarge, at, "too_large", fmt.Sprintf("at most %d bytes", limit))
	}
	p = &parser{in: raw, at: at}
	defer func() {
		// The only panics are the parser's own, from however deep.
		if r := recover(); r != nil {
			se, ok := r.(syntaxError)
			if !ok {
				panic(r)
			}
			p, v, err = nil, nil, se.fault
		}
	}()
	p.space()
	v = p.value(1)
	p.space()
	if p.i < len(p.in) {
		p.fail(fault.Malformed, "trailing_data", "more follows after the value")
	}
	return p, v, nil
}

// text is what was read, without white space between tokens.
func (p *parser) text() []byte { return append(p.out, p.in[p.kept:]...) }

func (p *parser) fail(k fault.Kind, code, detail string) {
	panic(syntaxError{fault.At(k, p.pointer(), code, detail)})
}

func (p *parser) syntax() {
	p.fail(fault.Malformed, "json", fmt.Sprintf("is not well-formed JSON at byte %d", p.i))
}

// pointer names the place that is being read.
func (p *parser) pointer() string {
	s := p.at
	for _, st := range p.path {
		if st.index >= 0 {
			s += "/" + strconv.Itoa(st.index)
		} else {
			s += "/" + escaper.Replace(st.member)
		}
	}
	return clip(s)
}

// maxPointer bounds what a caller's own member names add to an answer.
const maxPointer = 512

func clip(pointer string) string {
	if len(pointer) <= maxPointer {
		return pointer
	}
	n := maxPointer
	for n > 0 && !utf8.RuneStart(pointer[n]) {
		n--
	}
	return pointer[:n] + "…"
}

// space skips white space and leaves it out of the compact text.
func (p *parser) space() {
	start := p.i
	for p.i < len(p.in) {
		switch p.in[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
			continue
		}
		break
	}
	if p.i > start {
		p.out = append(p.out, p.in[p.kept:start]...)
		p.kept = p.i
	}
}

func (p *parser) peek() byte {
	if p.i < len(p.in) {
		return p.in[p.i]
	}
	return 0
}

func (p *parser) value(depth int) any {
	if p.values++; p.values > MaxValues {
		p.fail(fault.Invalid, "too_many_values", fmt.Sprintf("at most %d values", MaxValues))
	}
	switch c := p.peek(); {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		return p.string()
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	case c == 't':
		p.literal("true")
		return true
	case c == 'f':
		p.literal("false")
		return false
	case c == 'n':
		p.literal("null")
		return nil
	}
	p.syntax()
	return nil
}

func (p *parser) literal(s string) {
	if len(p.in)-p.i < len(s) || string(p.in[p.i:p.i+len(s)]) != s {
		p.syntax()
	}
	p.i += len(s)
}

func (p *parser) deep(depth int) {
	if depth > MaxDepth {
		p.fail(fault.Invalid, "too_deep", fmt.Sprintf("at most %d objects and arrays in each other", MaxDepth))
	}
}

func (p *parser) object(depth int) map[string]any {
	p.deep(depth)
	m := map[string]any{}
	p.i++
	p.space()
	if p.peek() == '}' {
		p.i++
		return m
	}
	for {
		if p.peek() != '"' {
			p.syntax()
		}
		name := p.string()
		if len(p.path) == 1 && p.path[0].member == "properties" {
			p.properties = append(p.properties, name)
		}
		p.path = append(p.path, step{name, -1})
		if _, twice := m[name]; twice {
			p.fail(fault.Malformed, "duplicate_member", "the member is there twice")
		}
		p.space()
		if p.peek() != ':' {
			p.syntax()
		}
		p.i++
		p.space()
		m[name] = p.value(depth + 1)
		p.path = p.path[:len(p.path)-1]
		p.space()
		switch p.peek() {
		case ',':
			p.i++
			p.space()
		case '}':
			p.i++
			return m
		default:
			p.syntax()
		}
	}
}

func (p *parser) array(depth int) []any {
	p.deep(depth)
	a := []any{}
	p.i++
	p.space()
	if p.peek() == ']' {
		p.i++
		return a
	}
	for {
		p.path = append(p.path, step{"", len(a)})
		a = append(a, p.value(depth+1))
		p.path = p.path[:len(p.path)-1]
		p.space()
		switch p.peek() {
		case ',':
			p.i++
			p.space()
		case ']':
			p.i++
			return a
		default:
			p.syntax()
		}
	}
}

// number follows the grammar of RFC 8259, section 6.
func (p *parser) number() json.Number {
	start := p.i
	if p.peek() == '-' {
		p.i++
	}
	switch c := p.peek(); {
	case c == '0':
		p.i++
	case c >= '1' && c <= '9':
		p.digits()
	default:
		p.syntax()
	}
	if p.peek() == '.' {
		p.i++
		p.digits()
	}
	exponent := 0
	if c := p.peek(); c == 'e' || c == 'E' {
		p.i++
		if c := p.peek(); c == '+' || c == '-' {
			p.i++
		}
		from := p.i
		p.digits()
		for _, d := range p.in[from:p.i] {
			exponent = min(exponent*10+int(d-'0'), MaxExponent+1)
		}
	}
	if p.i-start > MaxDigits || exponent > MaxExponent {
		p.fail(fault.Invalid, "number_range", fmt.Sprintf("a number has at most %d characters and an exponent of at most %d", MaxDigits, MaxExponent))
	}
	return json.Number(p.in[start:p.i])
}

func (p *parser) digits() {
	if c := p.peek(); c < '0' || c > '9' {
		p.syntax()
	}
	for {
		if c := p.peek(); c < '0' || c > '9' {
			return
		}
		p.i++
	}
}

// string reads a string and returns what it stands for.
func (p *parser) string() string {
	p.i++
	start := p.i
	var b []byte // what the string stands for, once an escape was met
	for {
		if p.i >= len(p.in) {
			p.syntax()
		}
		switch c := p.in[p.i]; {
		case c == '"':
			p.i++
			if b == nil {
				return string(p.in[start : p.i-1])
			}
			return string(b)
		case c == '\\':
			if b == nil {
				b = append(make([]byte, 0, p.i-start+16), p.in[start:p.i]...)
			}
			b = p.escape(b)
		case c < 0x20:
			p.syntax()
		case c < utf8.RuneSelf:
			if b != nil {
				b = append(b, c)
			}
			p.i++
		default:
			r, n := utf8.DecodeRune(p.in[p.i:])
			if r == utf8.RuneError && n == 1 {
				p.fail(fault.Malformed, "utf8", fmt.Sprintf("is not valid UTF-8 at byte %d", p.i))
			}
			if b != nil {
				b = append(b, p.in[p.i:p.i+n]...)
			}
			p.i += n
		}
	}
}

func (p *parser) escape(b []byte) []byte {
	p.i++
	c := p.peek()
	p.i++
	switch c {
	case '"', '\\', '/':
		return append(b, c)
	case 'b':
		return append(b, '\b')
	case 'f':
		return append(b, '\f')
	case 'n':
		return append(b, '\n')
	case 'r':
		return append(b, '\r')
	case 't':
		return append(b, '\t')
	case 'u':
	default:
		p.i--
		p.syntax()
	}
	r := p.hex()
	switch {
	case r == 0:
		p.fail(fault.Malformed, "nul", "holds the character NUL")
	case r >= 0xDC00 && r <= 0xDFFF:
		p.fail(fault.Malformed, "surrogate", "holds half of a surrogate pair")
	case r >= 0xD800 && r <= 0xDBFF:
		if p.peek() != '\\' || p.i+1 >= len(p.in) || p.in[p.i+1] != 'u' {
			p.fail(fault.Malformed, "surrogate", "holds half of a surrogate pair")
		}
		p.i += 2
		low := p.hex()
		if low < 0xDC00 || low > 0xDFFF {
			p.fail(fault.Malformed, "surrogate", "holds half of a surrogate pair")
		}
		r = (r-0xD800)<<10 | (low - 0xDC00) + 0x10000
	}
	return utf8.AppendRune(b, r)
}

func (p *parser) hex() (r rune) {
	for range 4 {
		switch c := p.peek(); {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			p.syntax()
		}
		p.i++
	}
	return r
}
