package id

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

func TestEveryIdentifierHasOneSpelling(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var u uuid.UUID
		copy(u[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "u"))
		if u == uuid.Nil {
			return
		}
		s := From[recordKind](u).String()
		got, err := Parse[recordKind](s)
		if err != nil || got.UUID() != u {
			t.Fatalf("%s: got %v, %v", s, got.UUID(), err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(New[orgKind]().String())
	f.Add("org_7zzzzzzzzzzzzzzzzzzzzzzzzz")
	f.Add("org_8zzzzzzzzzzzzzzzzzzzzzzzzz")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Parse[orgKind](s)
		if err == nil && got.String() != s {
			t.Errorf("accepted a second spelling: %q is %q", s, got)
		}
	})
}

func TestParseRefuses(t *testing.T) {
	good := New[recordKind]().String()
	for name, s := range map[string]string{
		"nothing":          "",
		"another kind":     "org_" + good[4:],
		"upper case":       strings.ToUpper(good),
		"a short one":      good[:29],
		"a long one":       good + "0",
		"129 bits":         "rec_8" + good[5:],
		"the zero uuid":    "rec_" + strings.Repeat("0", 26),
		"a bare uuid":      uuid.NewString(),
		"letters left out": "rec_0i" + good[6:],
		"a NUL":            "rec_\x00" + good[5:],
	} {
		if _, err := Parse[recordKind](s); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
