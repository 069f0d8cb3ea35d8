package client

import (
	"context"
	"net/http"
	"time"
)

// SetupStatus says whether an installation waits for its first administrator.
type SetupStatus struct {
	Open    bool   `json:"open"`
	Warning string `json:"warning"` // what losing the guardians means
	Places  struct {
		Guardians []string `json:"guardians"` // folders
		Zones     []string `json:"zones"`
		Grade     string   `json:"grade"` // demo, or independent
	} `json:"places"`
}

// FirstStart is what an empty installation is set up with.
type FirstStart struct {
	Code         Secret // the one-time code; the operator's own socket takes none
	Name         string // of the first system administrator, who is the first owner too
	Email        string
	Password     Secret
	Organization NewOrganization // its Name, Plan and Placement
	Acknowledged bool            // that losing every guardian loses all content
}

// SetUpResult is what the set-up made.
type SetUpResult struct {
	Person       Person       `json:"person"`
	Organization Organization `json:"organization"`
}

// SetupLink is a one-time link by which an installation is set up.
type SetupLink struct {
	Link      Secret    `json:"link"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (f FirstStart) wire() map[string]any {
	org := map[string]any{"name": f.Organization.Name}
	if f.Organization.Plan != "" {
		org["plan"] = f.Organization.Plan
	}
	if f.Organization.Placement != "" {
		org["placement"] = f.Organization.Placement
	}
	return map[string]any{"name": f.Name, "email": f.Email, "password": f.Password.Reveal(), "organization": org, "acknowledged": f.Acknowledged}
}

// SetupStatus says whether the installation waits to be set up. Everybody may
// ask.
func (c *Client) SetupStatus(ctx context.Context) (SetupStatus, error) {
	var out SetupStatus
	_, err := c.call(ctx, call{method: http.MethodGet, path: []string{"v1", "setup"}, out: &out, repeat: always})
	return out, err
}

// SetUp makes the first system administrator and the first organization. It is
// refused for good once there is an administrator.
func (c *Client) SetUp(ctx context.Context, f FirstStart) (SetUpResult, error) {
	in := f.wire()
	in["code"] = f.Code.Reveal()
	var out SetUpResult
	_, err := c.call(ctx, call{method: http.MethodPost, path: []string{"v1", "setup"}, in: in, out: &out})
	return out, err
}

// SetUp is [Client.SetUp] for whoever can open the operator's socket: without a
// code.
func (a *Admin) SetUp(ctx context.Context, f FirstStart) (SetUpResult, error) {
	var out SetUpResult
	_, err := a.c.call(ctx, call{method: http.MethodPost, path: []string{"setup"}, in: f.wire(), out: &out})
	return out, err
}

// SetupLink makes a new one-time link, in place of any that there was.
func (a *Admin) SetupLink(ctx context.Context) (SetupLink, error) {
	var out SetupLink
	_, err := a.c.call(ctx, call{method: http.MethodPost, path: []string{"setup-link"}, out: &out})
	return out, err
}

// CreateOrganization makes an organization with its first owner.
func (a *Admin) CreateOrganization(ctx context.Context, n NewOrganization) (Organization, error) {
	owner := map[string]any{"name": n.Owner.Name, "email": n.Owner.Email, "password": n.Owner.Password.Reveal(), "join_code": n.Owner.JoinCode.Reveal()}
	var out struct {
		Organization Organization `json:"organization"`
	}
	_, err := a.c.call(ctx, call{method: http.MethodPost, path: []string{"orgs"}, out: &out,
		in: map[string]any{"name": n.Name, "plan": n.Plan, "placement": n.Placement, "owner": owner}})
	return out.Organization, err
}
