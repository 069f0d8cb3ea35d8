package form

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// maxDepth bounds how deep JSON may lie in itself; the API takes no more.
const maxDepth = 64

// kinds of JSON values, by their first byte: numbers are all 'n'.
const (
	isObject = '{'
	isArray  = '['
	isString = '"'
	isNumber = 'n'
	isTrue   = 't'
	isFalse  = 'f'
	isNull   = '0'
)

// value is one JSON value with the very text that it came as.
type value struct {
	kind    byte
	raw     []byte
	text    string   // of a string: what it says
	members []member // of an object, in their order
	items   []*value // of an array
}

type member struct {
	name string
	key  []byte // the name as it was written, quotes included
	*value
}

var errJSON = errors.New("form: not one JSON value")

// read parses one JSON value and keeps the text of all its parts.
func read(raw []byte) (*value, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	v, err := readValue(d, raw, 0)
	if err != nil {
		return nil, errJSON
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errJSON
	}
	return v, nil
}

// start returns where the next token begins.
func start(d *json.Decoder, raw []byte) int {
	i := int(d.InputOffset())
	for i < len(raw) && strings.IndexByte(" \t\r\n,:", raw[i]) >= 0 {
		i++
	}
	return i
}

func readValue(d *json.Decoder, raw []byte, depth int) (*value, error) {
	if depth > maxDepth {
		return nil, errJSON
	}
	from := start(d, raw)
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	v := &value{}
	switch t := t.(type) {
	case json.Delim:
		if v.kind = byte(t); v.kind != isObject && v.kind != isArray {
			return nil, errJSON
		}
		for d.More() {
			var m member
			if v.kind == isObject {
				at := start(d, raw)
				name, err := d.Token()
				if err != nil {
					return nil, err
				}
				m.name, _ = name.(string)
				m.key = raw[at:d.InputOffset()]
			}
			if m.value, err = readValue(d, raw, depth+1); err != nil {
				return nil, err
			}
			if v.kind == isObject {
				v.members = append(v.members, m)
			} else {
				v.items = append(v.items, m.value)
			}
		}
		if _, err := d.Token(); err != nil {
			return nil, err
		}
	case string:
		v.kind, v.text = isString, t
	case json.Number:
		v.kind = isNumber
	case bool:
		v.kind = isFalse
		if t {
			v.kind = isTrue
		}
	case nil:
		v.kind = isNull
	}
	v.raw = raw[from:d.InputOffset()]
	return v, nil
}

// get returns a member's value, or nil; of v nil too.
func (v *value) get(name string) *value {
	if v == nil {
		return nil
	}
	for _, m := range v.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// str returns the text of a member that is a string, else "".
func (v *value) str(name string) string {
	if m := v.get(name); m != nil && m.kind == isString {
		return m.text
	}
	return ""
}

func (v *value) is(kind byte) bool { return v != nil && v.kind == kind }

// compact returns a value's text without the white space between its tokens.
func (v *value) compact() []byte {
	var b bytes.Buffer
	if json.Compact(&b, v.raw) != nil {
		return v.raw
	}
	return b.Bytes()
}

// quote writes a string as JSON, with the characters that its author wrote.
func quote(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil {
		return []byte(`""`)
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}

// isNumberText reports whether s is a number as JSON has it (RFC 8259, section 6).
func isNumberText(s string) bool {
	i := 0
	digits := func() bool {
		from := i
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(s) && s[i] == '-' {
		i++
	}
	whole := i
	if !digits() || s[whole] == '0' && i > whole+1 {
		return false
	}
	if i < len(s) && s[i] == '.' {
		if i++; !digits() {
			return false
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return false
		}
	}
	return i == len(s)
}

var escaper = strings.NewReplacer("~", "~0", "/", "~1")

// join adds one step to a JSON pointer (RFC 6901, section 3).
func join(pointer, step string) string { return pointer + "/" + escaper.Replace(step) }
