package form

import (
	"strings"
	"unicode"
)

// unitNames are the units whose UCUM code is not what people write.
var unitNames = map[string]string{"Cel": "°C", "[degF]": "°F", "deg": "°", "Ohm": "Ω", "Ao": "Å", "um": "µm", "us": "µs", "ug": "µg", "uL": "µL", "umol": "µmol", "1": "",
	"[arb'U]": "arb. u.", "{count}": "counts", "{counts}": "counts", "[in_i]": "in", "min": "min", "h": "h", "d": "d"}

var superscripts = map[rune]rune{'-': '⁻', '0': '⁰', '1': '¹', '2': '²', '3': '³', '4': '⁴', '5': '⁵', '6': '⁶', '7': '⁷', '8': '⁸', '9': '⁹'}

// UnitWords writes a unit of UCUM as people read it: cm-1 as cm⁻¹, Cel as °C.
func UnitWords(ucum string) string {
	if w, ok := unitNames[ucum]; ok {
		return w
	}
	var b, atom strings.Builder
	flush := func() {
		s := atom.String()
		atom.Reset()
		// An exponent is the digits, and their sign, at the end of an atom.
		name := strings.TrimRight(s, "0123456789")
		exponent := s[len(name):]
		if exponent != "" {
			name, exponent = strings.TrimSuffix(name, "-"), s[len(strings.TrimSuffix(name, "-")):]
		}
		if name == "" || strings.HasSuffix(name, "*") { // a plain number, as in 10*6
			b.WriteString(s)
			return
		}
		if w, ok := unitNames[name]; ok {
			name = w
		}
		b.WriteString(strings.Trim(name, "{}"))
		for _, r := range exponent {
			b.WriteRune(superscripts[r])
		}
	}
	depth := 0
	for _, r := range ucum {
		switch {
		case r == '{' || r == '[':
			depth++
			atom.WriteRune(r)
		case r == '}' || r == ']':
			depth--
			atom.WriteRune(r)
		case depth == 0 && (r == '.' || r == '/' || r == '(' || r == ')' || unicode.IsSpace(r)):
			flush()
			if r == '.' {
				r = '·'
			}
			b.WriteRune(r)
		default:
			atom.WriteRune(r)
		}
	}
	flush()
	return b.String()
}
