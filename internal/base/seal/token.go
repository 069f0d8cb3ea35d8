package seal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/keytree"
)

// A token is a short value that travels through somebody else's hands and
// comes back, such as the cursor of a page:
//
//	token = 01 ‖ salt (16) ‖ nonce (12) ‖ ciphertext ‖ tag (16)
//
// The salt gives each token a key of its own, so that the number of tokens of
// an organization has no bound (a random nonce under one key would: NIST SP
// 800-38D, section 8.3, stops at 2³²). It names no generation: whoever sends a
// token does not choose among our keys.
const (
	// MaxToken is the longest content of a token, in bytes.
	MaxToken  = 4096
	saltSize  = 16
	tokenHead = 1 + saltSize
)

// ErrToken reports a token that was changed, or made for another organization,
// purpose or use, or too long ago.
var ErrToken = errors.New("seal: the token is damaged, too old, or not for this use")

// SealToken encrypts plain for one purpose. Whoever opens it must give the same
// associated bytes.
//
//nolint:revive // seal.Token would read as a type; its counterpart is OpenToken.
func SealToken(ctx context.Context, k Keys, leaf keytree.Leaf, purpose string, plain, associated []byte) ([]byte, error) {
	if len(plain) > MaxToken {
		return nil, fault.New(fault.TooLarge, "a token is limited to %d bytes", MaxToken)
	}
	generation, err := k.Generation(ctx)
	if err != nil {
		return nil, err
	}
	head := make([]byte, tokenHead, tokenHead+bodyOverhead+len(plain))
	head[0] = version1
	_, _ = rand.Read(head[1:]) // never fails: it ends the program instead
	aead, err := tokenAEAD(ctx, k, generation, leaf, purpose, head[1:])
	if err != nil {
		return nil, erased(err)
	}
	body, err := aead.Encrypt(plain, tokenData(k, purpose, head, associated))
	if err != nil {
		return nil, fmt.Errorf("seal: encrypting a token: %w", err)
	}
	return append(head, body...), nil
}

// OpenToken decrypts a token that was sealed under the newest generation of
// keys or the one before. It fails with ErrToken where the token is not good.
func OpenToken(ctx context.Context, k Keys, leaf keytree.Leaf, purpose string, token, associated []byte) ([]byte, error) {
	if len(token) < tokenHead+bodyOverhead || len(token) > tokenHead+bodyOverhead+MaxToken || token[0] != version1 {
		return nil, ErrToken
	}
	newest, err := k.Generation(ctx)
	if err != nil {
		return nil, err
	}
	head, body := token[:tokenHead], token[tokenHead:]
	data := tokenData(k, purpose, head, associated)
	for generation := newest; generation > 0 && generation+1 >= newest; generation-- {
		aead, err := tokenAEAD(ctx, k, generation, leaf, purpose, head[1:])
		switch {
		case err == nil:
			if plain, err := aead.Decrypt(body, data); err == nil {
				return plain, nil
			}
		case generation == newest && !errors.Is(err, keytree.ErrPunctured):
			return nil, err
		}
	}
	return nil, ErrToken
}

func tokenAEAD(ctx context.Context, k Keys, generation uint32, leaf keytree.Leaf, purpose string, salt []byte) (*subtle.AESGCM, error) {
	if purpose == "" {
		return nil, errors.New("seal: a token needs a purpose")
	}
	r := ring{keys: k}
	defer r.wipe()
	key, err := r.key(ctx, generation, leaf, keytree.NoLeaf, info(purposeToken, k.Org(), "", salt, 0, purpose))
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return subtle.NewAESGCM(key)
}

func tokenData(k Keys, purpose string, head, associated []byte) []byte {
	b := appendField(nil, label)
	b = appendField(b, k.Org().Bytes())
	b = appendField(b, purpose)
	b = appendField(b, head)
	return appendField(b, associated)
}
