package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// Sandbox is a throw-away organization that the caller made.
type Sandbox struct {
	Org       string    `json:"org"`
	Name      string    `json:"name"`
	State     string    `json:"state"` // active, expired
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"` // from then on nobody enters it
}

// CreatedSandbox is a new one with its API key, which is never shown again.
type CreatedSandbox struct {
	Org       string    `json:"org"`
	Name      string    `json:"name"`
	Key       Secret    `json:"key"`
	Roles     []Role    `json:"roles"` // of the key
	ExpiresAt time.Time `json:"expires_at"`
}

// CreateSandbox makes an organization that ends by itself after 24 hours; an
// empty name is the server's default.
func (c *Client) CreateSandbox(ctx context.Context, name string) (CreatedSandbox, error) {
	in := map[string]string{}
	if name != "" {
		in["name"] = name
	}
	var out CreatedSandbox
	_, err := c.call(ctx, call{method: http.MethodPost, path: []string{"v1", "sandboxes"}, in: in, out: &out})
	return out, err
}

// ListSandboxes returns a page of those that the caller made, the ended ones
// too.
func (c *Client) ListSandboxes(ctx context.Context, l List) (Page[Sandbox], error) {
	return page[Sandbox](ctx, c, l, "v1", "sandboxes")
}

// Sandboxes returns all of them.
func (c *Client) Sandboxes(ctx context.Context) iter.Seq2[Sandbox, error] {
	return Items(ctx, List{}, c.ListSandboxes)
}

// EndSandbox ends one before its time.
func (c *Client) EndSandbox(ctx context.Context, org string) error {
	_, err := c.call(ctx, call{method: http.MethodDelete, path: []string{"v1", "sandboxes", org}})
	return err
}
