package console

import (
	"slices"
	"time"

	"strongroom/client"
)

var keyPages = []Page{
	{Pattern: "GET /o/{org}/keys", Access: InOrg, Serve: showKeys},
	{Pattern: "GET /o/{org}/keys/new", Access: InOrg, Serve: showNewKey},
	{Pattern: "POST /o/{org}/keys/new", Access: InOrg, Serve: createKey},
	{Pattern: "POST /o/{org}/keys/{key}/revoke", Access: InOrg, Serve: revokeKey},
}

type keysView struct {
	Keys      []keyLine
	Next      string
	MayCreate bool
	MayRevoke bool
}

// keyLine is a key with its state in a word.
type keyLine struct {
	client.Key
	State string // in use, expired, revoked
}

// Live reports whether the key can still be used.
func (k keyLine) Live() bool { return k.State == "in use" }

func showKeys(v *Visit) error {
	p, err := v.API.ListKeys(v.Context(), v.Org.ID, client.List{Limit: 100, Cursor: v.Query("cursor")})
	if err != nil {
		return err
	}
	view := keysView{Next: p.Next, MayCreate: v.Holds(client.OrgAdmin), MayRevoke: v.Holds(client.OrgAdmin, client.SecurityAdmin)}
	for _, k := range p.Items {
		line := keyLine{k, "in use"}
		switch {
		case k.RevokedAt != nil:
			line.State = "revoked"
		case k.ExpiresAt != nil && k.ExpiresAt.Before(time.Now()):
			line.State = "expired"
		}
		view.Keys = append(view.Keys, line)
	}
	slices.SortStableFunc(view.Keys, func(a, b keyLine) int {
		switch {
		case a.Live() == b.Live():
			return b.CreatedAt.Compare(a.CreatedAt)
		case a.Live():
			return -1
		}
		return 1
	})
	return v.Render("keys", "API keys", view)
}

type newKeyView struct {
	Name    string
	Days    string
	Choices []RoleChoice
	Scopes  []scopeGroup
	Errors  Errors
}

type scopeGroup struct {
	Name    string
	Actions []scopeLine
}

type scopeLine struct {
	client.RoleAction
	Chosen bool
}

// lives are how long a key may live.
var lives = []Option{{"7", "7 days"}, {"30", "30 days"}, {"90", "90 days"}, {"366", "a year"}}

// Lives lists them for the form.
func (newKeyView) Lives() []Option { return lives }

func (v *Visit) newKeyPage(view newKeyView, roles []client.Role, scopes []string) error {
	t, words, err := v.roleWords()
	if err != nil {
		return err
	}
	view.Choices = words.choices(roles, v.Org.Roles)
	for _, g := range t.Groups {
		group := scopeGroup{Name: g.Name}
		for _, a := range g.Actions {
			// A key holds its maker's roles at most.
			if a.ForKeys && slices.ContainsFunc(a.Roles, func(r client.Role) bool { return slices.Contains(v.Org.Roles, r) }) {
				group.Actions = append(group.Actions, scopeLine{a, slices.Contains(scopes, a.Action)})
			}
		}
		if len(group.Actions) > 0 {
			view.Scopes = append(view.Scopes, group)
		}
	}
	if view.Errors != nil {
		return v.Again("key-new", "Make an API key", view)
	}
	return v.Render("key-new", "Make an API key", view)
}

func showNewKey(v *Visit) error { return v.newKeyPage(newKeyView{Days: "90"}, nil, nil) }

type createdKeyView struct {
	Key   client.Key
	Token string
}

// createKey shows the new key in its own answer: it is nowhere else, so there is
// no page to lead to.
func createKey(v *Visit) error {
	form, err := v.Form()
	if err != nil {
		return err
	}
	view := newKeyView{Name: form.Get("name"), Days: form.Get("days")}
	roles, scopes := toRoles(form["roles"]), form["scopes"]
	days := 90
	for _, l := range lives {
		if l.Value == view.Days {
			days = map[string]int{"7": 7, "30": 30, "90": 90, "366": 366}[l.Value]
		}
	}
	if len(roles) == 0 {
		view.Errors = Errors{"roles": "Choose at least one role."}
		return v.newKeyPage(view, roles, scopes)
	}
	// A minute less than the longest life: the clock runs while this travels.
	until := time.Now().AddDate(0, 0, days).Add(-time.Minute)
	made, err := v.API.CreateKey(v.Context(), v.Org.ID, client.NewKey{Name: view.Name, Roles: roles, Scopes: scopes, ExpiresAt: &until})
	if p, ok := Refused(err); ok {
		view.Errors = FieldErrors(p)
		return v.newKeyPage(view, roles, scopes)
	}
	if err != nil {
		return err
	}
	return v.Render("key-made", "The new key", createdKeyView{made.Key, made.Token.Reveal()})
}

func revokeKey(v *Visit) error {
	if err := v.API.RevokeKey(v.Context(), v.Org.ID, v.Param("key")); err != nil {
		return err
	}
	return v.Done(v.OrgPath("keys"), "The key is revoked. Whatever uses it is refused from now on.")
}
