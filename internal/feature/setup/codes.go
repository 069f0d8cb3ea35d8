package setup

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"strongroom/internal/base/fault"
)

// CodeLife is how long a code is good for.
const CodeLife = 24 * time.Hour

// Wrong codes are answered this often; then no wrong one is heard for a while.
// A code has 160 bits, so this is not what keeps it from being guessed: it
// tells strangers to stop. The right one is taken all the same, or anybody who
// sends guesses could keep the installation from being set up.
const (
	maxWrong = 10
	wrongFor = 10 * time.Minute
)

// Codes keeps the one code by which an installation can be set up. Its file
// holds a hash: whoever reads it, or a copy of it, cannot set up anything.
type Codes struct {
	File string
	Now  func() time.Time // nil: the clock

	mu    sync.Mutex
	wrong []time.Time
}

// kept is what the file holds.
type kept struct {
	Hash      string    `json:"sha256"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (c *Codes) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// Issue makes a code, in place of any that there was.
func (c *Codes) Issue() (code string, expires time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var random [20]byte
	_, _ = rand.Read(random[:])
	text := strings.ToLower(base32.StdEncoding.EncodeToString(random[:]))
	// In groups, for people who have to type it.
	var groups []string
	for at := 0; at < len(text); at += 8 {
		groups = append(groups, text[at:at+8])
	}
	code = strings.Join(groups, "-")
	expires = c.now().Add(CodeLife).UTC().Truncate(time.Second)
	return code, expires, c.write(&kept{hash(code), expires})
}

// Waiting says until when the code is good that was issued last, and whether
// there is one.
func (c *Codes) Waiting() (until time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, err := c.read()
	if err != nil || k == nil || !c.now().Before(k.ExpiresAt) {
		return time.Time{}, false
	}
	return k.ExpiresAt, true
}

// Forget makes the code useless.
func (c *Codes) Forget() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.write(nil)
}

var errCode = fault.At(fault.Denied, "/code", "wrong_code",
	"this is not the code, or it has expired; whoever runs the installation makes a new one with: strongroom setup-link")

// Check judges a code that somebody brings.
func (c *Codes) Check(code string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	for len(c.wrong) > 0 && now.Sub(c.wrong[0]) > wrongFor {
		c.wrong = c.wrong[1:]
	}
	k, err := c.read()
	if err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	if k != nil && now.Before(k.ExpiresAt) && subtle.ConstantTimeCompare([]byte(k.Hash), []byte(hash(code))) == 1 {
		return nil
	}
	if len(c.wrong) >= maxWrong {
		return fault.New(fault.TooMany, "too many wrong codes; try again in a few minutes")
	}
	c.wrong = append(c.wrong, now)
	return errCode
}

// hash takes a code as people type it: letters of either case, with or without
// its dashes and spaces.
func hash(code string) string {
	plain := strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return -1
		}
		return r
	}, strings.ToLower(code))
	sum := sha256.Sum256([]byte("strongroom set-up code\x00" + plain))
	return hex.EncodeToString(sum[:])
}

// maxKept bounds the file.
const maxKept = 4096

// The file is written in place and not replaced: its folder belongs to the
// supervisor, which made it for us. What is half written is no code.
func (c *Codes) write(k *kept) error {
	var text []byte
	if k != nil {
		var err error
		if text, err = json.Marshal(k); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	return nil
}

func (c *Codes) read() (*kept, error) {
	f, err := os.Open(c.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxKept))
	if err != nil || len(text) == 0 {
		return nil, err
	}
	var k kept
	if json.Unmarshal(text, &k) != nil || len(k.Hash) != 2*sha256.Size {
		return nil, nil
	}
	return &k, nil
}
