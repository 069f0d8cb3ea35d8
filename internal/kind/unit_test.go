package kind

import (
	"strings"
	"testing"
)

func TestUnitsOfLaboratoriesAreKnown(t *testing.T) {
	t.Parallel()
	for _, s := range strings.Fields(`m nm um mm cm km s ms us ns min h d a Hz kHz GHz kg g mg ug mol mmol cd K mK Cel [degF] Pa kPa mbar bar atm m[Hg] mm[Hg] eV keV meV V mV kV A mA uA W kW mW Ohm F pF T mT
		% [ppm] [ppb] deg rad L mL uL l dL /min 1/min {rev}/min cm-1 m2 m2/s kcal/mol kJ/mol cal/mol/K J/(mol.K) g/cm3 mol/L mmol/L {hartree} {bohr} {hartree}/{bohr} 10*6/L 10*-6 10^3 Ao K/h K/min
		cm3/min{STP} m/s2 kg.m/s2 [IU]/mL k[IU]/L [pH] dB[W] B Np Cel/min /m3 mol.L-1 (mol/L).s-1 GBy MiBy bit By u Da{alias}.1`) {
		want := s != "Da{alias}.1" // not of UCUM
		if got := CheckUnit(s) == nil; got != want {
			t.Errorf("%s: known is %v", s, got)
		}
	}
}

func TestWhatIsNoUnitIsRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", " ", "nm ", " nm", "n m", "Torr", "torr", "hartree", "Å", "°C", "C°", "degC", "Angstrom", "kmin", "k%", "m/", "/", "//m", "m..s", "m.", ".m", "(m", "m)", "()", "{", "{}}", "{a", "a}", "{é}",
		"m-", "m+", "m--1", "m0", "0m", "01", "0", "-1", "m^2", "m²", "mm2-1", "[", "[]", "[foo]", "]", "kk", "kkg", "nnm", "m s", "m\x00", "m\n", "M", "x", "mb ar", "Kg/", strings.Repeat("m.", 40) + "m",
		strings.Repeat("(", 20) + "m" + strings.Repeat(")", 20), "m{a}2", "10*x", "kCel.kdeg"} {
		if CheckUnit(s) == nil {
			t.Errorf("%q passes for a unit", s)
		}
	}
}

func TestAContentsUnitIsChecked(t *testing.T) {
	t.Parallel()
	s := compile(t, `{"properties":{"u":{"format":"ucum"}}}`)
	if err := s.Validate(content(t, `{"u":"mbar"}`), "/content"); err != nil {
		t.Error(err)
	}
	if got := details(s.Validate(content(t, `{"u":"millibars"}`), "/content")); len(got) != 1 || got[0] != "/content/u format" {
		t.Errorf("%q", got)
	}
	if err := s.Validate(content(t, `{"u":7}`), "/content"); err != nil {
		t.Error("a format speaks of strings alone")
	}
}

// FuzzUnit holds the laws of the grammar: a unit stays one beside another, in
// parentheses and under a stroke, and has no other characters than ASCII's.
func FuzzUnit(f *testing.F) {
	for _, s := range []string{"nm", "kg.m/s2", "10*-6/L", "/min", "{rev}/min", "mm[Hg]", "(m)", "[in_i'H2O]", "m-", "10^", "[m/s2/Hz^(1/2)]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckUnit(s) != nil {
			return
		}
		if len(s) > MaxUnit || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("%q", s)
		}
		if len(s)+4 > MaxUnit || strings.Count(s, "(") >= maxNesting-1 || s[0] == '/' {
			return
		}
		for _, made := range []string{"(" + s + ")", s + ".m", "m/" + s, "/" + s} {
			if CheckUnit(made) != nil {
				t.Errorf("%q is a unit, and %q is none", s, made)
			}
		}
	})
}
