package identity

import (
	"strings"
	"testing"
)

func TestOneAddressInTwoSpellingsIsOnePerson(t *testing.T) {
	t.Parallel()
	for _, tt := range [][2]string{
		{"ada@example.org", "Ada@EXAMPLE.org"},
		{"andre\u0301@exa\u0308mple.org", "ANDR\u00c9@ex\u00e4mple.org"},
		{"mike@example.org", "mi\u212Ae@example.org"}, // the Kelvin sign is no second Mike
	} {
		a, err1 := ParseAddress(tt[0])
		b, err2 := ParseAddress(tt[1])
		if err1 != nil || err2 != nil || a.Key() != b.Key() {
			t.Errorf("%q and %q differ: %q, %q, %v, %v", tt[0], tt[1], a.Key(), b.Key(), err1, err2)
		}
	}
	if a, _ := ParseAddress("Ada@Example.org"); a.String() != "Ada@Example.org" {
		t.Errorf("her own spelling is lost: %s", a)
	}
}

func TestAddressesOfDifferentPeopleStayDifferent(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, s := range []string{"ada@example.org", "ada+lab@example.org", "a.da@example.org", "ada@example.com", "\u0430da@example.org"} {
		a, err := ParseAddress(s)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if other := seen[a.Key()]; other != "" {
			t.Errorf("%q is taken for %q", s, other)
		}
		seen[a.Key()] = s
	}
}

func TestWhatIsNoAddressIsRefused(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]string{
		"nothing":                     "",
		"no at sign":                  "ada",
		"two at signs":                "ada@lab@example.org",
		"no name":                     "@example.org",
		"no domain":                   "ada@",
		"one label":                   "ada@localhost",
		"an empty label":              "ada@example..org",
		"a dot at the end":            "ada@example.org.",
		"a hyphen at the edge":        "ada@-example.org",
		"two dots in the name":        "a..da@example.org",
		"a dot in front":              ".ada@example.org",
		"a space":                     "ada @example.org",
		"a line end (header folding)": "ada@example.org\r\nBcc: eve@example.org",
		"a NUL":                       "ada\x00@example.org",
		"a display name":              "Ada <ada@example.org>",
		"a quoted name":               `"ada"@example.org`,
		"a literal":                   "ada@[127.0.0.1]",
		"a comma":                     "ada@example.org,eve@example.org",
		"bytes that are no text":      "ada\xff@example.org",
		"a name of 65 bytes":          strings.Repeat("a", 65) + "@example.org",
		"a label of 64 bytes":         "ada@" + strings.Repeat("a", 64) + ".org",
		"255 bytes":                   "ada@" + strings.Repeat("abc.", 63),
	} {
		if a, err := ParseAddress(s); err == nil {
			t.Errorf("accepted %s as %q", name, a)
		} else if s != "" && strings.Contains(err.Error(), s) {
			t.Errorf("%s: the error repeats it", name)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("ada@example.org")
	f.Add("andre\u0301@ex\u00e4mple.org")
	f.Add("\u0130@\u1e9e.de")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAddress(s)
		if err != nil {
			return
		}
		again, err := ParseAddress(a.String())
		if err != nil || again != a {
			t.Errorf("%q reads as %q, then as %q, %v", s, a, again, err)
		}
		if k, err := ParseAddress(a.Key()); err == nil && k.Key() != a.Key() {
			t.Errorf("the key of %q is %q, and the key of that %q", s, a.Key(), k.Key())
		}
		if strings.ContainsAny(a.Key(), " \r\n\x00<>\",") {
			t.Errorf("accepted %q", s)
		}
	})
}
