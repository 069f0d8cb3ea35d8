package signed_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"strongroom/internal/feature/trust/signed"
)

func signer(t testing.TB, b byte) (*signed.Signer, []byte) {
	t.Helper()
	s, err := signed.NewSigner(bytes.Repeat([]byte{b}, 32))
	if err != nil {
		t.Fatal(err)
	}
	key, err := s.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return s, key
}

const payload = `{"kind":"strongroom-trust","n":1}`

func document(t testing.TB) (doc, key []byte) {
	t.Helper()
	s, key := signer(t, 1)
	doc, err := s.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return doc, key
}

func TestWhatIsSignedVerifiesWithItsKeyAlone(t *testing.T) {
	t.Parallel()
	doc, key := document(t)
	got, err := signed.Verify(doc, key)
	if err != nil || string(got) != payload {
		t.Fatalf("%s, %v", got, err)
	}
	_, other := signer(t, 2)
	if _, err := signed.Verify(doc, other); !errors.Is(err, signed.ErrOtherKey) {
		t.Errorf("another key: %v", err)
	}
	// A key that calls itself by the right name is another key all the same.
	var mine, theirs map[string]string
	if json.Unmarshal(key, &mine) != nil || json.Unmarshal(other, &theirs) != nil {
		t.Fatal("a key is no object of strings")
	}
	theirs["kid"] = mine["kid"]
	disguised, _ := json.Marshal(theirs)
	if _, err := signed.Verify(doc, disguised); !errors.Is(err, signed.ErrOtherKey) {
		t.Errorf("another key under this one's name: %v", err)
	}
	if strings.Contains(string(key), `"d"`) {
		t.Errorf("the public key holds the private one: %s", key)
	}
	if s, _ := signer(t, 1); strings.Contains(fmt.Sprintf("%v %+v %#v %s", s, s, s, s), "1 1 1") || fmt.Sprintf("%#v", s) != "[signer]" {
		t.Error("a signer prints its key")
	}
}

func TestNoBitOfADocumentCanBeFlipped(t *testing.T) {
	t.Parallel()
	doc, key := document(t)
	for i := range doc {
		for bit := range 8 {
			changed := bytes.Clone(doc)
			changed[i] ^= 1 << bit
			got, err := signed.Verify(changed, key)
			if err != nil {
				continue
			}
			// JSON has more than one spelling of a name or a blank; what is
			// said must be the same.
			if string(got) != payload {
				t.Fatalf("byte %d, bit %d: verifies and says %s", i, bit, got)
			}
		}
	}
}

func TestOnlyTheOneFormVerifies(t *testing.T) {
	t.Parallel()
	doc, key := document(t)
	var form struct{ Payload, Protected, Signature string }
	if err := json.Unmarshal(doc, &form); err != nil {
		t.Fatal(err)
	}
	enc := base64.RawURLEncoding.EncodeToString
	with := func(protected string) string {
		return fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":%q}`, form.Payload, enc([]byte(protected)), form.Signature)
	}
	mac, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: bytes.Repeat([]byte{1}, 32)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	hmac, err := mac.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":                "",
		"no object":              "[]",
		"the compact form":       form.Protected + "." + form.Payload + "." + form.Signature,
		"a general form":         fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, form.Payload, form.Protected, form.Signature),
		"an unprotected header":  fmt.Sprintf(`{"payload":%q,"protected":%q,"header":{"kid":"x"},"signature":%q}`, form.Payload, form.Protected, form.Signature),
		"a second document":      string(doc) + string(doc),
		"no algorithm":           with(`{"alg":"none","kid":"x"}`),
		"no signature":           fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":""}`, form.Payload, form.Protected),
		"a code in its place":    hmac.FullSerialize(),
		"an oversized one":       `{"payload":"` + strings.Repeat("A", signed.MaxSize) + `"}`,
		"a header of its liking": with(`{"alg":"EdDSA","kid":"x","cty":"` + signed.ContentType + `"}`),
	} {
		if got, err := signed.Verify([]byte(text), key); err == nil {
			t.Errorf("%s verifies: %s", name, got)
		}
	}
	for name, k := range map[string]string{
		"nothing":          "",
		"no key":           "{}",
		"a symmetric key":  `{"kty":"oct","k":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"}`,
		"a short key":      `{"kty":"OKP","crv":"Ed25519","x":"AQ"}`,
		"an oversized key": `{"kty":"OKP","x":"` + strings.Repeat("A", 5000) + `"}`,
	} {
		if _, err := signed.Verify(doc, []byte(k)); !errors.Is(err, signed.ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A document of another key of the same kind, for another purpose, is none of
// ours.
func TestADocumentForAnotherPurposeDoesNotVerify(t *testing.T) {
	t.Parallel()
	_, key := document(t)
	_, kid, err := signed.ParseKey(key)
	if err != nil {
		t.Fatal(err)
	}
	other, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize))}, (&jose.SignerOptions{}).WithContentType("application/jwt").WithHeader("kid", kid))
	if err != nil {
		t.Fatal(err)
	}
	j, err := other.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signed.Verify([]byte(j.FullSerialize()), key); !errors.Is(err, signed.ErrForm) {
		t.Errorf("%v", err)
	}
}

func FuzzVerify(f *testing.F) {
	doc, key := document(f)
	f.Add(doc, key)
	f.Add([]byte(`{"payload":"","protected":"","signature":""}`), key)
	f.Fuzz(func(t *testing.T, d, k []byte) {
		if got, err := signed.Verify(d, k); err == nil && bytes.Equal(k, key) && string(got) != payload {
			t.Errorf("something else verifies: %s", got)
		}
	})
}
