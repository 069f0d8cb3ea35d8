package guardian

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"strongroom/internal/keyservice/internal/wire"
)

type (
	// Hash is a SHA-256 value.
	Hash = wire.Hash
	// Key is 32 secret bytes, which never print.
	Key = wire.Key
)

// Ledger is the head of the deletion ledger that an epoch's root is bound to.
type Ledger struct {
	Size uint64 `json:"size"` // entries
	Head Hash   `json:"head"`
}

// Epoch names one epoch and the root that it was opened with.
type Epoch struct {
	Epoch  uint64 `json:"epoch"`
	Root   Hash   `json:"root"` // SHA-256 of the root file's bytes
	Ledger Ledger `json:"ledger"`
}

// Count is the monotonic counter: the newest revision of the key store that
// may exist, the hash of its root file, and how many leaves were reserved
// since the installation began. Both numbers only grow.
type Count struct {
	Revision uint64 `json:"revision"`
	Root     Hash   `json:"root"`
	Leases   uint64 `json:"leases"`
}

// Fetched answers Fetch.
type Fetched struct {
	Guardian    string   `json:"guardian"`    // 32 hexadecimal digits, for life
	PublicKey   string   `json:"public_key"`  // Ed25519, 64 hexadecimal digits
	Grade       string   `json:"grade"`       // how well this kind of guardian forgets
	Current     *Epoch   `json:"current"`     // null: this guardian holds nothing yet
	EMK         *Key     `json:"emk"`         // the current epoch's, and no other
	Prepared    *Epoch   `json:"prepared"`    // a prepare that was not committed
	Undestroyed []uint64 `json:"undestroyed"` // past epochs whose key is still here
}

// PrepareRequest asks a guardian to hold the key of a next epoch. It is a
// compare-and-swap: the guardian must still be in epoch Expect and hold the
// prepared root Replaces (null for none).
type PrepareRequest struct {
	Expect   uint64 `json:"expect"`
	Replaces *Hash  `json:"replaces"`
	Next     Epoch  `json:"next"`
	EMK      Key    `json:"emk"`
}

// LogValue keeps the key out of logs: the JSON form of a request holds it.
func (r PrepareRequest) LogValue() slog.Value { return slog.Uint64Value(r.Next.Epoch) }

// LogValue keeps the key out of logs: the JSON form of an answer holds it.
func (f Fetched) LogValue() slog.Value { return slog.StringValue(f.Guardian) }

// CommitRequest makes a prepared epoch the current one.
type CommitRequest struct {
	Epoch uint64 `json:"epoch"`
	Root  Hash   `json:"root"`
}

// DestroyRequest asks a guardian to forget a past epoch's key.
type DestroyRequest struct {
	Epoch uint64 `json:"epoch"`
}

// CounterRequest reads the counter, or advances it when Advance is given.
type CounterRequest struct {
	Advance *Advance `json:"advance"`
}

// Advance is a compare-and-swap of the counter. Repeating one that was
// already taken succeeds.
type Advance struct {
	Expect Count `json:"expect"`
	To     Count `json:"to"`
}

// Attestation is a guardian's signed word that it holds no key of an epoch.
// The signature is Ed25519 over the bytes of Statement.
type Attestation struct {
	Statement string `json:"statement"`
	PublicKey string `json:"public_key"`
	Signature string `json:"signature"` // 128 hexadecimal digits
}

// Statement is what an attestation says.
type Statement struct {
	Guardian string
	Grade    string
	Epoch    uint64 // no key of this epoch is held
	Current  uint64 // the epoch at the time
	At       time.Time
}

const statementHead = "strongroom guardian attestation v1"

func (s Statement) text() string {
	return fmt.Sprintf("%s\nguardian: %s\ngrade: %s\nepoch: %d\ncurrent: %d\nat: %s\n",
		statementHead, s.Guardian, s.Grade, s.Epoch, s.Current, s.At.UTC().Format(time.RFC3339))
}

// Verify checks the signature under publicKey, which the caller must know
// from elsewhere (the one inside the attestation proves nothing by itself),
// and returns what was attested.
func (a Attestation) Verify(publicKey string) (Statement, error) {
	bad := errors.New("guardian: the attestation is not of the form v1 or not signed by this guardian")
	pub, err := hex.DecodeString(publicKey)
	if err != nil || len(pub) != ed25519.PublicKeySize || publicKey != a.PublicKey {
		return Statement{}, bad
	}
	sig, err := hex.DecodeString(a.Signature)
	if err != nil || !ed25519.Verify(pub, []byte(a.Statement), sig) {
		return Statement{}, bad
	}
	lines := strings.Split(a.Statement, "\n")
	if len(lines) != 7 || lines[0] != statementHead {
		return Statement{}, bad
	}
	var s Statement
	var parseErr error
	for i, name := range []string{"guardian", "grade", "epoch", "current", "at"} {
		v, ok := strings.CutPrefix(lines[i+1], name+": ")
		if !ok {
			return Statement{}, bad
		}
		var err error
		switch name {
		case "guardian":
			s.Guardian = v
		case "grade":
			s.Grade = v
		case "epoch":
			s.Epoch, err = strconv.ParseUint(v, 10, 64)
		case "current":
			s.Current, err = strconv.ParseUint(v, 10, 64)
		case "at":
			s.At, err = time.Parse(time.RFC3339, v)
		}
		parseErr = errors.Join(parseErr, err)
	}
	if parseErr != nil || s.text() != a.Statement {
		return Statement{}, bad
	}
	return s, nil
}

// Client calls one guardian.
type Client struct{ c *wire.Client }

// NewClient returns a client of the guardian at socket, which must run as one
// of uids, as this user or as root.
func NewClient(socket string, uids ...uint32) *Client { return &Client{wire.NewClient(socket, uids)} }

// Socket returns the path.
func (c *Client) Socket() string { return c.c.Socket() }

// Close drops idle connections.
func (c *Client) Close() { c.c.Close() }

// Fetch returns the current epoch and its key.
func (c *Client) Fetch(ctx context.Context) (Fetched, error) {
	return wire.Call[Fetched](ctx, c.c, "/v1/fetch", wire.Empty{})
}

// Prepare has the guardian hold the key of a next epoch, durably.
func (c *Client) Prepare(ctx context.Context, r PrepareRequest) error {
	_, err := wire.Call[wire.Empty](ctx, c.c, "/v1/prepare", r)
	return err
}

// Commit makes a prepared epoch the current one, durably.
func (c *Client) Commit(ctx context.Context, r CommitRequest) error {
	_, err := wire.Call[wire.Empty](ctx, c.c, "/v1/commit", r)
	return err
}

// Destroy has the guardian forget a past epoch's key and say so, signed.
func (c *Client) Destroy(ctx context.Context, epoch uint64) (Attestation, error) {
	return wire.Call[Attestation](ctx, c.c, "/v1/destroy", DestroyRequest{epoch})
}

// Counter reads the counter.
func (c *Client) Counter(ctx context.Context) (Count, error) {
	return wire.Call[Count](ctx, c.c, "/v1/counter", CounterRequest{})
}

// Advance moves the counter forward, durably.
func (c *Client) Advance(ctx context.Context, a Advance) error {
	_, err := wire.Call[Count](ctx, c.c, "/v1/counter", CounterRequest{Advance: &a})
	return err
}
