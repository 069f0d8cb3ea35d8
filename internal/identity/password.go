package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/text/unicode/norm"

	"strongroom/internal/base/fault"
)

// The rules for a new password, from NIST SP 800-63B-4 section 3.1.1.2. A
// password is the only factor of a sign-in today, and the standard asks for 15
// characters then (8 where a second factor is required). It forbids rules of
// composition and silent truncation. A character is a Unicode code point.
const (
	MinPasswordChars = 15
	MaxPasswordBytes = 1024 // before normalization; bounds what a sign-in can make us read
	minDistinctChars = 5    // "aaaaaaaaaaaaaaa" is long and worthless
)

// Cost of argon2id: 19 MiB of memory, two passes, one lane (OWASP Password
// Storage Cheat Sheet; RFC 9106 for the function).
const (
	argonMemory  = 19 * 1024 // KiB
	argonTime    = 2
	argonLanes   = 1
	argonSaltLen = 16
	argonKeyLen  = 32
)

// Bounds on the cost that a stored hash may ask for: whoever can write the
// column must not be able to make a sign-in eat the machine.
const (
	maxArgonMemory = 256 * 1024 // KiB
	maxArgonTime   = 16
	maxArgonLanes  = 16
	maxBcryptCost  = 14
)

var errHashFormat = errors.New("identity: the stored password hash is not one this version knows")

// PasswordOptions bound the work that passwords may cause. The zero value is
// the right one for a server.
type PasswordOptions struct {
	Parallel int           // hashes at a time, 19 MiB each; 0: half the cores, at least one
	Queue    int           // callers that may wait for a turn; 0: 64
	Wait     time.Duration // how long one waits; 0: five seconds
}

// Passwords hashes and verifies passwords, a bounded number at a time: hashing
// is slow on purpose, and a flood of sign-ins must not starve everything else.
type Passwords struct {
	turn    chan struct{}
	waiting atomic.Int64
	queue   int64
	wait    time.Duration
	dummy   string // a hash that no password fits
}

// NewPasswords returns a hasher. It draws the hash that stands in for people
// who do not exist.
func NewPasswords(o PasswordOptions) *Passwords {
	if o.Parallel <= 0 {
		o.Parallel = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if o.Queue <= 0 {
		o.Queue = 64
	}
	if o.Wait <= 0 {
		o.Wait = 5 * time.Second
	}
	// A random key in place of a hash: verifying against it costs the same and
	// never succeeds.
	return &Passwords{
		turn: make(chan struct{}, o.Parallel), queue: int64(o.Queue), wait: o.Wait,
		dummy: encodeArgon(random(argonSaltLen), random(argonKeyLen)),
	}
}

// CheckNew reports why password may not be chosen, pointing at pointer in the
// caller's input, or nil. address is the person's own, which makes a poor
// password; it may be empty.
func CheckNew(pointer string, password []byte, address string) error {
	switch {
	case len(password) > MaxPasswordBytes:
		return fault.At(fault.Invalid, pointer, "too_long", fmt.Sprintf("a password has at most %d bytes", MaxPasswordBytes))
	case !utf8.Valid(password):
		return fault.At(fault.Invalid, pointer, "not_utf8", "a password is UTF-8 text")
	}
	text := normalizePassword(password)
	if utf8.RuneCountInString(text) < MinPasswordChars {
		return fault.At(fault.Invalid, pointer, "too_short", fmt.Sprintf("a password has at least %d characters", MinPasswordChars))
	}
	distinct := map[rune]bool{}
	for _, r := range text {
		if unicode.IsControl(r) {
			return fault.At(fault.Invalid, pointer, "control_character", "a password has no control characters")
		}
		distinct[unicode.ToLower(r)] = true
	}
	if len(distinct) < minDistinctChars {
		return fault.At(fault.Invalid, pointer, "too_repetitive", fmt.Sprintf("a password has at least %d different characters", minDistinctChars))
	}
	if address != "" && strings.Contains(strings.ToLower(text), strings.ToLower(norm.NFKC.String(address))) {
		return fault.At(fault.Invalid, pointer, "contains_address", "a password does not contain the person's address")
	}
	return nil
}

// Hash returns the argon2id hash of password in PHC string format, under a
// fresh salt.
func (p *Passwords) Hash(ctx context.Context, password []byte) (string, error) {
	done, err := p.enter(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	salt := random(argonSaltLen)
	key := argon2.IDKey([]byte(normalizePassword(password)), salt, argonTime, argonMemory, argonLanes, argonKeyLen)
	return encodeArgon(salt, key), nil
}

// Verdict is what a verification found.
type Verdict struct {
	OK     bool
	Rehash bool // the hash is right and of another kind or cost than new ones are
}

// Verify reports whether password fits stored. An empty stored stands for a
// person who does not exist or has no password: it costs what a real one costs
// and never fits, so that the time of an answer does not tell who has an
// account. bcrypt hashes, brought along from another system, verify too; they
// take bcrypt's time until the first sign-in replaces them.
func (p *Passwords) Verify(ctx context.Context, stored string, password []byte) (Verdict, error) {
	done, err := p.enter(ctx)
	if err != nil {
		return Verdict{}, err
	}
	defer done()
	known := stored != ""
	if !known {
		stored = p.dummy
	}
	// Too long to have been chosen. It takes the full time, like any other
	// wrong one.
	if len(password) > MaxPasswordBytes {
		known, password = false, password[:MaxPasswordBytes]
	}
	v, err := verify(stored, password)
	return Verdict{OK: v.OK && known, Rehash: v.Rehash && v.OK && known}, err
}

func verify(stored string, password []byte) (Verdict, error) {
	if strings.HasPrefix(stored, "$2") {
		return verifyBcrypt(stored, password)
	}
	h, err := parseArgon(stored)
	if err != nil {
		return Verdict{}, err
	}
	got := argon2.IDKey([]byte(normalizePassword(password)), h.salt, h.time, h.memory, h.lanes, uint32(len(h.key)))
	return Verdict{
		OK: subtle.ConstantTimeCompare(got, h.key) == 1,
		Rehash: h.memory != argonMemory || h.time != argonTime || h.lanes != argonLanes ||
			len(h.salt) != argonSaltLen || len(h.key) != argonKeyLen,
	}, nil
}

// verifyBcrypt takes the password's bytes as they are: the system that made
// the hash did not normalize.
func verifyBcrypt(stored string, password []byte) (Verdict, error) {
	cost, err := bcrypt.Cost([]byte(stored))
	if err != nil || cost > maxBcryptCost {
		return Verdict{}, errHashFormat
	}
	switch err := bcrypt.CompareHashAndPassword([]byte(stored), password); {
	case err == nil:
		return Verdict{OK: true, Rehash: true}, nil
	case errors.Is(err, bcrypt.ErrMismatchedHashAndPassword):
		return Verdict{}, nil
	}
	return Verdict{}, errHashFormat
}

// KnownHash reports whether Verify can read stored: what an import checks
// before it keeps somebody's hash.
func KnownHash(stored string) bool {
	if strings.HasPrefix(stored, "$2") {
		cost, err := bcrypt.Cost([]byte(stored))
		return err == nil && cost <= maxBcryptCost && len(stored) == 60
	}
	_, err := parseArgon(stored)
	return err == nil
}

// enter waits for a turn. The wait is bounded in length and in company.
func (p *Passwords) enter(ctx context.Context) (done func(), err error) {
	leave := func() { <-p.turn }
	select {
	case p.turn <- struct{}{}:
		return leave, nil
	default:
	}
	if p.waiting.Add(1) > p.queue {
		p.waiting.Add(-1)
		return nil, fault.New(fault.TooMany, "too many sign-ins at once; try again in a few seconds")
	}
	defer p.waiting.Add(-1)
	timer := time.NewTimer(p.wait)
	defer timer.Stop()
	select {
	case p.turn <- struct{}{}:
		return leave, nil
	case <-timer.C:
		return nil, fault.New(fault.Unavailable, "sign-in is busy; try again in a few seconds")
	case <-ctx.Done():
		return nil, fault.Wrap(fault.Unavailable, ctx.Err(), "the request ended while it waited for sign-in")
	}
}

// normalizePassword applies NFKC, so that one password typed on two keyboards
// is one password (NIST SP 800-63B-4 section 3.1.1.2, UAX #15).
func normalizePassword(password []byte) string { return string(norm.NFKC.Bytes(password)) }

type argonHash struct {
	memory, time uint32
	lanes        uint8
	salt, key    []byte
}

var b64 = base64.RawStdEncoding.Strict()

// encodeArgon writes the PHC string format
// (github.com/P-H-C/phc-string-format), which carries its own parameters.
func encodeArgon(salt, key []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonLanes,
		b64.EncodeToString(salt), b64.EncodeToString(key))
}

// parseArgon reads one spelling of a PHC string and refuses costs out of
// bounds. Its error never repeats the hash.
func parseArgon(s string) (h argonHash, err error) {
	f := strings.Split(s, "$")
	if len(f) != 6 || f[0] != "" || f[1] != "argon2id" || f[2] != "v="+strconv.Itoa(argon2.Version) {
		return h, errHashFormat
	}
	cost := strings.Split(f[3], ",")
	if len(cost) != 3 {
		return h, errHashFormat
	}
	memory, ok1 := parameter(cost[0], "m=", maxArgonMemory)
	passes, ok2 := parameter(cost[1], "t=", maxArgonTime)
	lanes, ok3 := parameter(cost[2], "p=", maxArgonLanes)
	// RFC 9106: at least eight blocks of 1 KiB a lane.
	if !ok1 || !ok2 || !ok3 || memory < 8*lanes {
		return h, errHashFormat
	}
	salt, err1 := b64.DecodeString(f[4])
	key, err2 := b64.DecodeString(f[5])
	if err1 != nil || err2 != nil || len(salt) < 8 || len(salt) > 64 || len(key) < 16 || len(key) > 64 ||
		strings.ContainsAny(f[4]+f[5], "\r\n") { // which the base64 decoder skips
		return h, errHashFormat
	}
	return argonHash{memory, passes, uint8(lanes), salt, key}, nil
}

func parameter(s, name string, limit uint64) (uint32, bool) {
	digits, ok := strings.CutPrefix(s, name)
	n, err := strconv.ParseUint(digits, 10, 32)
	if !ok || err != nil || n < 1 || n > limit || strconv.FormatUint(n, 10) != digits {
		return 0, false
	}
	return uint32(n), true
}

// random returns n random bytes. crypto/rand does not fail: it ends the
// program where the system has no randomness.
func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
