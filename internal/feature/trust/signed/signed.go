// Package signed signs what the trust page says, and checks such signatures
// without a server.
//
// It promises one form: a JSON Web Signature in its flattened JSON
// serialization (RFC 7515 section 7.2.2) by Ed25519 (RFC 8037), whose header
// names the key by its thumbprint (RFC 7638). Nothing else verifies: no other
// algorithm, no key out of the document itself, no second signature. What is
// signed are the bytes of the payload, so there is nothing to canonicalize.
package signed

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/go-jose/go-jose/v4"
)

// ContentType is what the header says of the payload.
const ContentType = "application/vnd.strongroom.trust+json"

// MaxSize bounds a document. The whole list of promises is a tenth of it.
const MaxSize = 4 << 20

// Signer signs with one key. It prints nothing of it.
type Signer struct {
	public jose.JSONWebKey
	signer jose.Signer
}

// NewSigner makes a signer of an Ed25519 seed (RFC 8032 section 5.1.5).
func NewSigner(seed []byte) (*Signer, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("signed: a seed has %d bytes", ed25519.SeedSize)
	}
	private := ed25519.NewKeyFromSeed(seed)
	public, err := describe(private.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	o := (&jose.SignerOptions{}).WithContentType(ContentType).WithHeader("kid", public.KeyID)
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: private}, o)
	if err != nil {
		return nil, fmt.Errorf("signed: %w", err)
	}
	return &Signer{public, s}, nil
}

// Format prints no key.
func (*Signer) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("[signer]")) }

// KeyID names the key: its thumbprint.
func (s *Signer) KeyID() string { return s.public.KeyID }

// PublicKey returns the public key as a JSON Web Key (RFC 7517).
func (s *Signer) PublicKey() ([]byte, error) { return s.public.MarshalJSON() }

// Sign returns the signed document.
func (s *Signer) Sign(payload []byte) ([]byte, error) {
	j, err := s.signer.Sign(payload)
	if err != nil {
		return nil, fmt.Errorf("signed: %w", err)
	}
	return []byte(j.FullSerialize()), nil
}

func describe(key ed25519.PublicKey) (jose.JSONWebKey, error) {
	k := jose.JSONWebKey{Key: key, Algorithm: string(jose.EdDSA), Use: "sig"}
	sum, err := k.Thumbprint(crypto.SHA256)
	if err != nil {
		return k, fmt.Errorf("signed: %w", err)
	}
	k.KeyID = base64.RawURLEncoding.EncodeToString(sum)
	return k, nil
}

var (
	// ErrKey reports a key that is no Ed25519 public key.
	ErrKey = errors.New("the key is not an Ed25519 public key in the form of a JSON Web Key")
	// ErrForm reports a document that is not one of ours.
	ErrForm = errors.New("the document is not a signed document of this form")
	// ErrOtherKey reports a document that names another key.
	ErrOtherKey = errors.New("the document was signed by another key")
	// ErrSignature reports a document that was changed after it was signed.
	ErrSignature = errors.New("the signature does not match: the document was changed, or another key signed it")
)

// ParseKey reads a public key and returns its identifier.
func ParseKey(jwk []byte) (ed25519.PublicKey, string, error) {
	var k jose.JSONWebKey
	if len(jwk) > 4<<10 || k.UnmarshalJSON(jwk) != nil {
		return nil, "", ErrKey
	}
	public, ok := k.Key.(ed25519.PublicKey)
	if !ok || len(public) != ed25519.PublicKeySize {
		return nil, "", ErrKey
	}
	// The identifier is computed, never believed.
	known, err := describe(public)
	return public, known.KeyID, err
}

// Verify returns what the document says, if the key signed it.
func Verify(document, jwk []byte) ([]byte, error) {
	public, kid, err := ParseKey(jwk)
	if err != nil {
		return nil, err
	}
	if len(document) > MaxSize {
		return nil, ErrForm
	}
	// The general form could carry signatures that nobody looks at, and a
	// compact one could be a token of something else.
	var form struct {
		Payload   string `json:"payload"`
		Protected string `json:"protected"`
		Signature string `json:"signature"`
	}
	d := json.NewDecoder(bytes.NewReader(document))
	d.DisallowUnknownFields()
	if err := d.Decode(&form); err != nil || form.Payload == "" || form.Protected == "" || form.Signature == "" {
		return nil, ErrForm
	}
	if _, err := d.Token(); err == nil {
		return nil, ErrForm // something follows the document
	}
	j, err := jose.ParseSignedCompact(form.Protected+"."+form.Payload+"."+form.Signature, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil || len(j.Signatures) != 1 {
		return nil, ErrForm
	}
	header := j.Signatures[0].Protected
	if header.ExtraHeaders[jose.HeaderContentType] != ContentType || header.JSONWebKey != nil {
		return nil, ErrForm
	}
	if header.KeyID != kid {
		return nil, ErrOtherKey
	}
	payload, err := j.Verify(public)
	if err != nil {
		return nil, ErrSignature
	}
	return payload, nil
}
