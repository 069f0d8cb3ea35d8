package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The states of a promise and of its clauses.
const (
	Kept   = "kept"
	Broken = "broken"
	NotYet = "not_yet"
)

// Promise is one promise with the checks behind it. It is kept only when all
// its clauses are.
type Promise struct {
	ID      string   `json:"id"`
	Title   string   `json:"title,omitempty"`
	State   string   `json:"state"`
	Clauses []Clause `json:"clauses"`
}

// Clause is one check of a promise.
type Clause struct {
	Name      string `json:"name"`
	State     string `json:"state"`
	Evidence  string `json:"evidence"`
	CheckedAt string `json:"checked_at"` // RFC 3339; empty: never
}

// proving is how long the installation may be silent while it runs its checks:
// each has ten seconds, there are some hundred, and one may come after another.
const proving = 30 * time.Minute

// Admin talks to the installation on this machine through the socket in its
// data directory, which only its operator can open.
type Admin struct{ c *Client }

// OpenAdmin returns the way to the installation whose data is in dir. It fails
// where nothing runs.
func OpenAdmin(dir string) (*Admin, error) {
	socket := filepath.Join(dir, "run", "admin.sock")
	if _, err := os.Stat(socket); err != nil {
		if os.IsNotExist(err) {
			return nil, &Unreachable{Host: socket, Unsent: true, Err: fmt.Errorf("no installation is running on this data directory")}
		}
		return nil, fmt.Errorf("client: %w", err)
	}
	base := &url.URL{Scheme: "http", Host: "the-admin-socket"}
	c := newClient(base, Options{}, &http.Transport{
		DialContext: dialer(proving, func(ctx context.Context, _, _ string) (net.Conn, error) { return dialUnix(ctx, socket) }),
	})
	return &Admin{c}, nil
}

// Close closes the idle connections.
func (a *Admin) Close() { a.c.Close() }

// Prove runs checks: of the promises, clauses (ENC-1/records) or groups (ENC)
// that ids name, or of all.
func (a *Admin) Prove(ctx context.Context, ids ...string) ([]Promise, error) {
	var out struct {
		Promises []Promise `json:"promises"`
	}
	var q url.Values
	if len(ids) > 0 {
		q = url.Values{"ids": {strings.Join(ids, ",")}}
	}
	_, err := a.c.call(ctx, call{method: http.MethodGet, path: []string{"prove"}, query: q, out: &out})
	return out.Promises, err
}

// Status returns the state of the installation, as the server writes it.
func (a *Admin) Status(ctx context.Context) (json.RawMessage, error) {
	var out json.RawMessage
	_, err := a.c.call(ctx, call{method: http.MethodGet, path: []string{"status"}, out: &out})
	return out, err
}

// KeysStatus returns the state of the key service and its guardians, as the
// server writes it.
func (a *Admin) KeysStatus(ctx context.Context) (json.RawMessage, error) {
	var out json.RawMessage
	_, err := a.c.call(ctx, call{method: http.MethodGet, path: []string{"keys", "status"}, out: &out})
	return out, err
}

// dialUnix connects to a unix socket whatever the length of its path. The
// kernel's limit is 107 bytes; a longer one is reached through the open
// directory.
func dialUnix(ctx context.Context, path string) (net.Conn, error) {
	if len(path) > 107 {
		dir, err := os.Open(filepath.Dir(path))
		if err != nil {
			return nil, err
		}
		defer func() { _ = dir.Close() }()
		path = fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}
