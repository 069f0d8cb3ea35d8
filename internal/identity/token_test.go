package identity

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
)

// What docs and token.go tell secret scanners to look for.
var scanner = regexp.MustCompile(`\bsr_(ses|key_[0-9a-hjkmnp-tv-z]{8})_[0-9a-hjkmnp-tv-z]{59}\b`)

func TestATokenHasOneSpelling(t *testing.T) {
	t.Parallel()
	for _, tok := range []Token{NewSessionToken(), NewKeyToken()} {
		s := tok.Reveal()
		got, err := ParseToken(s)
		if err != nil || got != tok {
			t.Fatalf("%q: %v", s, err)
		}
		if scanner.FindString("Authorization: Bearer "+s+"\n") != s {
			t.Errorf("a scanner does not find %q", s)
		}
		// Every change of one character is caught before anybody asks the
		// database.
		for i := range s {
			for _, c := range "0z_A\x00é" {
				changed := s[:i] + string(c) + s[i+1:]
				if changed == s {
					continue
				}
				if _, err := ParseToken(changed); err == nil {
					t.Fatalf("accepted a change at %d: %q", i, changed)
				}
			}
		}
	}
}

func TestTokensAreNotWhatTheyLookLike(t *testing.T) {
	t.Parallel()
	ses, key := NewSessionToken().Reveal(), NewKeyToken().Reveal()
	for name, s := range map[string]string{
		"nothing":                      "",
		"a mark alone":                 sessionMark,
		"upper case":                   strings.ToUpper(ses),
		"a space at the end":           ses + " ",
		"a line end inside":            ses[:20] + "\n" + ses[21:],
		"a session marked as a key":    keyMark + ses[len(sessionMark):],
		"a key marked as a session":    sessionMark + key[len(keyMark):],
		"zero length":                  sum(sessionMark),
		"a right sum over short bytes": sum(sessionMark + strings.Repeat("0", secretChars-1)),
		"a right sum, padding not zero": sum(sessionMark +
			strings.Repeat("0", secretChars-1) + "1"),
		"a right sum over a foreign letter": sum(sessionMark + strings.Repeat("u", secretChars)),
		"a right sum, a broken prefix":      sum(keyMark + "aaaa\naaa_" + strings.Repeat("0", secretChars)),
	} {
		if _, err := ParseToken(s); err == nil {
			t.Errorf("accepted %s", name)
		}
	}
	if _, err := ParseToken(sum(sessionMark + strings.Repeat("0", secretChars))); err != nil {
		t.Error("the checks above fail for another reason than they say")
	}
}

func TestATokenPrintsAsSecret(t *testing.T) {
	t.Parallel()
	tok := NewKeyToken()
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %+v %#v %s %q %x", tok, tok, tok, tok, tok, tok)
	fmt.Fprintf(&out, "%v %+v %#v", struct{ T Token }{tok}, &tok, []Token{tok})
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "t", tok)
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "t", tok)
	if err := json.NewEncoder(&out).Encode(map[string]any{"t": tok}); err != nil {
		t.Fatal(err)
	}
	secret := tok.Reveal()[len(keyMark)+prefixChars+1:]
	if strings.Contains(out.String(), secret[:10]) || strings.Contains(out.String(), fmt.Sprintf("%x", secret[:10])) {
		t.Errorf("the secret shows: %s", out.String())
	}
}

func TestNoTwoTokensShareAnything(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		for _, tok := range []Token{NewSessionToken(), NewKeyToken()} {
			if seen[tok.Reveal()] {
				t.Fatal("drawn twice")
			}
			seen[tok.Reveal()] = true
		}
	}
	if NewSessionToken().Prefix() != "" || len(NewKeyToken().Prefix()) != prefixChars {
		t.Error("a key shows its prefix, a session nothing")
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(NewSessionToken().Reveal())
	f.Add(NewKeyToken().Reveal())
	f.Add(sum(sessionMark + strings.Repeat("0", secretChars)))
	f.Fuzz(func(t *testing.T, s string) {
		tok, err := ParseToken(s)
		if err != nil {
			return
		}
		if tok.Reveal() != s || !scanner.MatchString(s) || scanner.FindString(s) != s {
			t.Errorf("accepted %q, which is no token", s)
		}
	})
}
