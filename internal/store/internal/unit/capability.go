package unit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/google/uuid"
)

// capabilityLife is how long a capability is of use: a little longer than the
// longest statement, so that a leaked one is worth nothing soon after.
const capabilityLife = 60 * time.Second

const (
	capabilityDomain = "strongroom-capability-v1"
	jobDomain        = "strongroom-job-v1"
)

// Minter makes the capabilities that row-level security compares with. The
// database holds the same key where no application role can read it; see
// sr.org() in the control-plane migrations.
type Minter struct{ key []byte }

// NewMinter keeps key.
func NewMinter(key [32]byte) *Minter { return &Minter{key: key[:]} }

// Mint returns a capability for one organization and user, good on one
// back-end for a minute: 88 hex digits (organization, user, expiry, back-end)
// and 64 of HMAC-SHA-256 over them.
func (m *Minter) Mint(org, user uuid.UUID, backend uint32, now time.Time) string {
	var b [44]byte
	copy(b[:16], org[:])
	copy(b[16:32], user[:])
	binary.BigEndian.PutUint64(b[32:], uint64(now.Add(capabilityLife).UnixMicro()))
	binary.BigEndian.PutUint32(b[40:], backend)
	var out [152]byte
	hex.Encode(out[:88], b[:])
	h := hmac.New(sha256.New, m.key)
	h.Write([]byte(capabilityDomain))
	h.Write(out[:88])
	hex.Encode(out[88:], h.Sum(nil))
	return string(out[:])
}

// SignJob authenticates a job's arguments, so that SQL on a connection of the
// application cannot put a job into another organization's name.
func (m *Minter) SignJob(args []byte) []byte {
	h := hmac.New(sha256.New, m.key)
	h.Write([]byte(jobDomain))
	h.Write(args)
	return h.Sum(nil)
}

// VerifyJob checks what SignJob made.
func (m *Minter) VerifyJob(args, mac []byte) bool {
	return hmac.Equal(m.SignJob(args), mac)
}
