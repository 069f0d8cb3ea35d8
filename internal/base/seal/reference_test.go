package seal_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
)

// Envelope v1 once more, written from docs/key-tree.md alone and sharing
// nothing with the package: HKDF by RFC 5869 over HMAC, AES-GCM of the standard
// library instead of Tink's, and nonces that the caller chooses.

type refPlace struct {
	org     []byte
	table   string
	row     []byte
	version uint64
}

type refSection struct {
	name                      string
	generation, leaf, subject uint32
	erased                    bool
	plain, nonce              []byte
}

func refMAC(key []byte, message ...[]byte) []byte {
	mac := hmac.New(sha256.New, key)
	for _, m := range message {
		mac.Write(m)
	}
	return mac.Sum(nil)
}

// refHKDF is HKDF-SHA-256 without salt, for one block of output.
func refHKDF(secret, info []byte) []byte {
	return refMAC(refMAC(make([]byte, 32), secret), info, []byte{1})
}

func refFields(fields ...[]byte) (b []byte) {
	for _, f := range fields {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(f))), f...)
	}
	return b
}

func ref32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
func ref64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func refInfo(purpose string, p refPlace, section string) []byte {
	return refFields([]byte("strongroom/seal/v1"), []byte{1}, []byte(purpose), p.org, []byte(p.table), p.row, ref64(p.version), []byte(section))
}

func refGCM(key, nonce, plain, associated []byte) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	return gcm.Seal(nonce, nonce, plain, associated)
}

// refEnvelope seals sections with the leaf keys that are given.
func refEnvelope(keys map[uint32][]byte, p refPlace, sections []refSection) (valueKeys [][]byte, envelope []byte) {
	directory := []byte{1, byte(len(sections))}
	for _, s := range sections {
		directory = append(directory, byte(len(s.name)))
		directory = append(directory, s.name...)
		directory = append(directory, 1)
		directory = append(directory, ref32(s.generation)...)
		directory = append(directory, ref32(s.leaf)...)
		directory = append(directory, ref32(s.subject)...)
	}
	envelope = append(envelope, directory...)
	for _, s := range sections {
		if s.erased {
			valueKeys = append(valueKeys, nil)
			envelope = append(envelope, ref32(0)...)
			continue
		}
		secret := append([]byte{}, keys[s.leaf]...)
		if s.subject != 0 {
			secret = append(secret, keys[s.subject]...)
		}
		key := refHKDF(secret, refInfo("value", p, s.name))
		associated := refFields([]byte("strongroom/seal/v1"), p.org, []byte(p.table), p.row, ref64(p.version), []byte(s.name), directory)
		body := refGCM(key, append([]byte{}, s.nonce...), s.plain, associated)
		valueKeys = append(valueKeys, key)
		envelope = append(append(envelope, ref32(uint32(len(body)))...), body...)
	}
	return valueKeys, envelope
}

func refHash(leafKey, org []byte, purpose string, parts ...[]byte) (key, sum []byte) {
	key = refHKDF(leafKey, refInfo("hash", refPlace{org: org}, purpose))
	var message []byte
	for _, part := range parts {
		message = append(append(message, ref64(uint64(len(part)))...), part...)
	}
	return key, refMAC(key, message)
}

func refToken(leafKey, org []byte, purpose string, salt, nonce, plain, associated []byte) (key, token []byte) {
	key = refHKDF(leafKey, refInfo("token", refPlace{org: org, row: salt}, purpose))
	head := append([]byte{1}, salt...)
	data := refFields([]byte("strongroom/seal/v1"), org, []byte(purpose), head, associated)
	return key, append(head, refGCM(key, append([]byte{}, nonce...), plain, data)...)
}

func refFileKey(leafKey []byte, p refPlace) []byte { return refHKDF(leafKey, refInfo("file", p, "")) }
