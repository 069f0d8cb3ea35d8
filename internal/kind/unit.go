package kind

import (
	"errors"
	"strings"
)

// MaxUnit is the length of the longest unit in bytes.
const MaxUnit = 64

// FormatUnit is the format of a string that holds a unit: beside the formats
// of JSON Schema, it is asserted.
const FormatUnit = "ucum"

func isUnit(v any) error {
	if s, ok := v.(string); ok {
		return CheckUnit(s)
	}
	return nil
}

var errUnit = errors.New("kind: not a unit of UCUM")

// CheckUnit reports whether s is a well-formed unit of the Unified Code for
// Units of Measure, version 2.2, in its case-sensitive form.
//
// It follows the grammar of the specification (section 3): terms joined by
// "." and "/", a leading "/", parentheses, exponents as in m2 or s-1, positive
// integers as factors, and annotations in braces. Of the terminal symbols it
// knows all base units, prefixes and derived units of SI and those of the
// other tables that are used in laboratories, medicine and commerce (see
// atoms); a rare one that is missing, such as [degRe], is refused. It checks
// the form only: whether two units can be compared it does not say.
func CheckUnit(s string) error {
	if s == "" || len(s) > MaxUnit {
		return errUnit
	}
	p := unitParser{in: s}
	if p.peek() == '/' {
		p.i++
	}
	if !p.term(0) || p.i < len(s) {
		return errUnit
	}
	return nil
}

type unitParser struct {
	in string
	i  int
}

func (p *unitParser) peek() byte {
	if p.i < len(p.in) {
		return p.in[p.i]
	}
	return 0
}

// maxNesting bounds parentheses in each other.
const maxNesting = 8

func (p *unitParser) term(depth int) bool {
	for {
		if !p.component(depth) {
			return false
		}
		if c := p.peek(); c != '.' && c != '/' {
			return true
		}
		p.i++
	}
}

func (p *unitParser) component(depth int) bool {
	switch p.peek() {
	case '(':
		p.i++
		if depth >= maxNesting || !p.term(depth+1) || p.peek() != ')' {
			return false
		}
		p.i++
		return true
	case '{':
		return p.braces()
	}
	start := p.i
	p.symbol()
	text := p.in[start:p.i]
	if text == "" {
		return false
	}
	if !factor(text) && !exponentiated(text) {
		return false
	}
	if p.peek() == '{' {
		return p.braces()
	}
	return true
}

// symbol passes over a run of the characters that a unit with its exponent is
// written in. What stands in square brackets belongs to the symbol.
func (p *unitParser) symbol() {
	for p.i < len(p.in) {
		switch c := p.in[p.i]; c {
		case '.', '/', '(', ')', '{', '}':
			return
		case '[':
			end := strings.IndexByte(p.in[p.i:], ']')
			if end < 0 {
				return
			}
			p.i += end + 1
		default:
			if c <= ' ' || c > '~' || c == ']' {
				return
			}
			p.i++
		}
	}
}

// braces passes over an annotation: printable ASCII but braces, in braces.
func (p *unitParser) braces() bool {
	for p.i++; p.i < len(p.in); p.i++ {
		switch c := p.in[p.i]; {
		case c == '}':
			p.i++
			return true
		case c == '{' || c < ' ' || c > '~':
			return false
		}
	}
	return false
}

// factor reports whether text is a positive integer.
func factor(text string) bool {
	return strings.Trim(text, "0123456789") == "" && text[0] != '0'
}

// exponentiated reads a simple unit with an exponent, if it has one.
func exponentiated(text string) bool {
	if simple(text) {
		return true // 10* ends in what could begin an exponent, and [in_i'H2O] in none
	}
	base := strings.TrimRight(text, "0123456789")
	digits := text[len(base):]
	if digits == "" || digits[0] == '0' {
		return false
	}
	if n := len(base); n > 0 && (base[n-1] == '-' || base[n-1] == '+') {
		base = base[:n-1]
	}
	return simple(base)
}

// simple reads an atom, with a prefix where the atom is metric.
func simple(text string) bool {
	if _, ok := atoms[text]; ok {
		return true
	}
	for _, n := range []int{1, 2} {
		if len(text) > n && prefixes[text[:n]] && atoms[text[n:]] {
			return true
		}
	}
	return false
}

// prefixes of tables 1 and 24.
var prefixes = set("Y Z E P T G M k h da d c m u n p f a z y Ki Mi Gi Ti")

func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

// atoms are the unit atoms by their case-sensitive symbols; true: metric,
// which alone takes a prefix.
var atoms = func() map[string]bool {
	m := set(`m s g rad K C cd
		mol sr Hz N Pa J W A V F Ohm S Wb Cel T H lm lx Bq Gy Sv
		l L ar t bar u eV pc
		[c] [h] [k] [eps_0] [mu_0] [e] [m_e] [m_p] [G] [g] [ly] gf
		Ky Gal dyn erg P Bi St Mx G Oe Gb sb Lmb ph Ci R RAD REM
		cal_[15] cal_[20] cal_m cal_IT cal_th cal [Cal] tex
		m[H2O] m[Hg] eq osm kat U [iU] [IU] B Np B[SPL] B[V] B[mV] B[uV] B[10.nV] B[W] B[kW]
		st mho bit By Bd g% [g]`)
	for w := range set(`10* 10^ [pi] % [ppth] [ppm] [ppb] [pptr] deg ' '' gon circ sph
		min h d a_t a_j a_g a wk mo_s mo_j mo_g mo AU
		[in_i] [ft_i] [yd_i] [mi_i] [fth_i] [nmi_i] [kn_i] [sin_i] [sft_i] [syd_i] [cin_i] [cft_i] [cyd_i] [mil_i] [hd_i]
		[ft_us] [yd_us] [in_us] [rd_us] [mi_us] [acr_us] [sct] [mil_us]
		[gal_us] [qt_us] [pt_us] [gil_us] [foz_us] [fdr_us] [bbl_us] [cup_us] [tbs_us] [tsp_us] [crd_us] [bu_us]
		[gal_br] [qt_br] [pt_br] [foz_br]
		[gr] [lb_av] [oz_av] [dr_av] [ston_av] [lton_av] [stone_av] [oz_tr] [lb_tr] [lbf_av] [psi]
		[degF] [degR] [Btu] [Btu_IT] [Btu_th] [HP] [in_i'H2O] [in_i'Hg]
		atm att [S] [pH] [hp_X] [hp_C] [diop] [p'diop] [car_au] [car_m] [den]
		bit_s [smoot] [m/s2/Hz^(1/2)] Ao b kp [drp] [Ch] [mesh_i] [lne] [pnt] [HPF] [LPF] [CFU] [PFU] [arb'U] [USP'U] [DU] [BAU]`) {
		if _, ok := m[w]; !ok {
			m[w] = false
		}
	}
	// st is the stere; the others of its kind are metric as well.
	return m
}()
