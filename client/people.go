package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"time"
)

// SignIn exchanges an email address and a password for a session. Its token is
// in the answer, for WithToken.
func (c *Client) SignIn(ctx context.Context, email string, password Secret) (SignedIn, error) {
	var out SignedIn
	_, err := c.WithToken(Secret{}).call(ctx, call{method: http.MethodPost, path: []string{"v1", "sessions"}, out: &out,
		in: map[string]string{"email": email, "password": password.Reveal()}})
	return out, err
}

// WhoAmI returns the session and its person. An API key has none: it gets a
// *Problem with status 404.
func (c *Client) WhoAmI(ctx context.Context) (SignedIn, error) {
	var out SignedIn
	_, err := c.call(ctx, call{method: http.MethodGet, path: []string{"v1", "sessions", "current"}, out: &out, repeat: always})
	return out, err
}

// SignOut ends the session, on every server.
func (c *Client) SignOut(ctx context.Context) error {
	_, err := c.call(ctx, call{method: http.MethodDelete, path: []string{"v1", "sessions", "current"}})
	return err
}

// ChangePassword changes the caller's password. Every session of the caller
// ends, this one too.
func (c *Client) ChangePassword(ctx context.Context, old, new Secret) error {
	_, err := c.call(ctx, call{method: http.MethodPut, path: []string{"v1", "sessions", "current", "password"},
		in: map[string]string{"password": old.Reveal(), "new_password": new.Reveal()}})
	return err
}

// CreateJoinCode makes a code by which an organization can add the caller.
func (c *Client) CreateJoinCode(ctx context.Context) (JoinCode, error) {
	var out JoinCode
	_, err := c.call(ctx, call{method: http.MethodPost, path: []string{"v1", "sessions", "current", "join-code"}, out: &out})
	return out, err
}

// ListOrganizations returns a page of the organizations the caller may see.
func (c *Client) ListOrganizations(ctx context.Context, l List) (Page[Organization], error) {
	return page[Organization](ctx, c, l, "v1", "orgs")
}

// Organizations returns all of them.
func (c *Client) Organizations(ctx context.Context) iter.Seq2[Organization, error] {
	return Items(ctx, List{}, c.ListOrganizations)
}

// Organization returns one organization.
func (c *Client) Organization(ctx context.Context, org string) (Organization, error) {
	var out Organization
	_, err := c.call(ctx, call{method: http.MethodGet, path: []string{"v1", "orgs", org}, out: &out, repeat: always})
	return out, err
}

// CreateOrganization makes an organization and its first admin. It needs the
// role system_admin.
func (c *Client) CreateOrganization(ctx context.Context, n NewOrganization) (Organization, error) {
	in := map[string]any{"name": n.Name, "owner": n.Owner.wire()}
	if n.Placement != "" {
		in["placement"] = n.Placement
	}
	if n.Plan != "" {
		in["plan"] = n.Plan
	}
	var out Organization
	_, err := c.call(ctx, call{method: http.MethodPost, path: []string{"v1", "orgs"}, in: in, out: &out})
	return out, err
}

// RenameOrganization gives an organization another name.
func (c *Client) RenameOrganization(ctx context.Context, org, name string) (Organization, error) {
	var out Organization
	_, err := c.call(ctx, call{method: http.MethodPut, path: []string{"v1", "orgs", org}, in: map[string]string{"name": name}, out: &out})
	return out, err
}

// People returns the names of an organization's people, for everybody who works
// with its data: of each Person the ID and the Name are set.
func (c *Client) People(ctx context.Context, org string) iter.Seq2[Person, error] {
	return Items(ctx, List{Limit: 200}, func(ctx context.Context, l List) (Page[Person], error) {
		return page[Person](ctx, c, l, "v1", "orgs", org, "people")
	})
}

// RoleTable returns who may do what, in words. It is public.
func (c *Client) RoleTable(ctx context.Context) (RoleTable, error) {
	var out RoleTable
	_, err := c.call(ctx, call{method: http.MethodGet, path: []string{"v1", "roles"}, out: &out, repeat: always})
	return out, err
}

// wire writes the member with the secrets in clear: the one place where they
// are, on their way into TLS.
func (n NewMember) wire() map[string]any {
	m := map[string]any{}
	for name, value := range map[string]string{"email": n.Email, "name": n.Name, "password": n.Password.Reveal(), "join_code": n.JoinCode.Reveal()} {
		if value != "" {
			m[name] = value
		}
	}
	if n.Roles != nil {
		m["roles"] = n.Roles
	}
	return m
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// ListMembers returns a page of an organization's members.
func (c *Client) ListMembers(ctx context.Context, org string, l List) (Page[Member], error) {
	return page[Member](ctx, c, l, "v1", "orgs", org, "members")
}

// Members returns all of them.
func (c *Client) Members(ctx context.Context, org string) iter.Seq2[Member, error] {
	return Items(ctx, List{}, func(ctx context.Context, l List) (Page[Member], error) { return c.ListMembers(ctx, org, l) })
}

// AddMember adds a person to an organization.
func (c *Client) AddMember(ctx context.Context, org string, n NewMember) (Member, error) {
	var out Member
	_, err := c.call(ctx, call{method: http.MethodPost, path: []string{"v1", "orgs", org, "members"}, in: n.wire(), out: &out})
	return out, err
}

// UpdateMember changes a member's roles, or the mark as owner.
func (c *Client) UpdateMember(ctx context.Context, org, person string, change MemberChange) (Member, error) {
	var out Member
	_, err := c.call(ctx, call{method: http.MethodPatch, path: []string{"v1", "orgs", org, "members", person}, in: change, out: &out})
	return out, err
}

// RemoveMember takes a person out of an organization.
func (c *Client) RemoveMember(ctx context.Context, org, person string) error {
	_, err := c.call(ctx, call{method: http.MethodDelete, path: []string{"v1", "orgs", org, "members", person}})
	return err
}

// ListKeys returns a page of an organization's API keys.
func (c *Client) ListKeys(ctx context.Context, org string, l List) (Page[Key], error) {
	return page[Key](ctx, c, l, "v1", "orgs", org, "keys")
}

// Keys returns all of them.
func (c *Client) Keys(ctx context.Context, org string) iter.Seq2[Key, error] {
	return Items(ctx, List{}, func(ctx context.Context, l List) (Page[Key], error) { return c.ListKeys(ctx, org, l) })
}

// CreateKey makes an API key. Its token is in the answer and nowhere else.
func (c *Client) CreateKey(ctx context.Context, org string, n NewKey) (CreatedKey, error) {
	n.Roles = orEmpty(n.Roles)
	var out CreatedKey
	// Sent once only: the answer to a repetition could not hold the token.
	_, err := c.call(ctx, call{method: http.MethodPost, path: []string{"v1", "orgs", org, "keys"}, in: n, out: &out})
	return out, err
}

// RevokeKey ends an API key.
func (c *Client) RevokeKey(ctx context.Context, org, key string) error {
	_, err := c.call(ctx, call{method: http.MethodDelete, path: []string{"v1", "orgs", org, "keys", key}})
	return err
}

// ListAudit returns a page of an organization's audit log.
func (c *Client) ListAudit(ctx context.Context, org string, l List) (Page[Event], error) {
	return page[Event](ctx, c, l, "v1", "orgs", org, "audit")
}

// ListAuditBetween returns a page of the events of a time; a zero time is no
// bound. A page may be empty and still have a next one.
func (c *Client) ListAuditBetween(ctx context.Context, org string, since, until time.Time, l List) (Page[Event], error) {
	q := l.query()
	for name, t := range map[string]time.Time{"since": since, "until": until} {
		if !t.IsZero() {
			q.Set(name, t.UTC().Format(time.RFC3339Nano))
		}
	}
	var out Page[Event]
	_, err := c.call(ctx, call{method: http.MethodGet, path: inOrg(org, "audit"), query: q, out: &out, repeat: always})
	return out, err
}

// Audit returns all of it.
func (c *Client) Audit(ctx context.Context, org string) iter.Seq2[Event, error] {
	return Items(ctx, List{}, func(ctx context.Context, l List) (Page[Event], error) { return c.ListAudit(ctx, org, l) })
}

// Status returns the installation's state, as the server writes it. It needs
// the role system_admin.
func (c *Client) Status(ctx context.Context) (json.RawMessage, error) {
	var out json.RawMessage
	_, err := c.call(ctx, call{method: http.MethodGet, path: []string{"v1", "status"}, out: &out, repeat: always})
	return out, err
}
