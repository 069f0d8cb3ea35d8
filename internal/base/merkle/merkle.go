// Package merkle computes the hashes of the audit log's tree as RFC 6962
// (Certificate Transparency) defines them, so that standard verifiers accept
// ours.
package merkle

import "crypto/sha256"

// Size is the length of a hash in bytes.
const Size = sha256.Size

// leafPrefix keeps the hash of a leaf apart from that of an inner node (0x01):
// without it a node could be passed off as an entry (RFC 6962, section 2.1).
const leafPrefix = 0x00

// LeafHash returns SHA-256(0x00 ‖ entry), the leaf of an entry of exactly
// these bytes.
func LeafHash(entry []byte) [Size]byte {
	h := sha256.New()
	_, _ = h.Write([]byte{leafPrefix})
	_, _ = h.Write(entry)
	var out [Size]byte
	h.Sum(out[:0])
	return out
}
