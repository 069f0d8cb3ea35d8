package console

import (
	"context"
	"slices"

	"strongroom/client"
)

var peoplePages = []Page{
	{Pattern: "GET /o/{org}/people", Access: InOrg, Serve: showPeople},
	{Pattern: "GET /o/{org}/people/add", Access: InOrg, Serve: showAddPerson},
	{Pattern: "POST /o/{org}/people/add", Access: InOrg, Serve: addPerson},
	{Pattern: "GET /o/{org}/people/{person}", Access: InOrg, Serve: showPerson},
	{Pattern: "POST /o/{org}/people/{person}", Access: InOrg, Serve: changePerson},
	{Pattern: "POST /o/{org}/people/{person}/remove", Access: InOrg, Serve: removePerson},
	{Pattern: "GET /o/{org}/roles", Access: InOrg, Serve: showRoles},
	{Pattern: "GET /roles", Access: SignedIn, Serve: showRoles},
}

// orgRoles are those that can be held in an organization, in the order in
// which people read them.
var orgRoles = []client.Role{client.Scientist, client.Analyst, client.OrgAdmin, client.SecurityAdmin, client.BillingAdmin}

// roleWords are the API's own words for the roles.
type roleWords map[client.Role]string

func (v *Visit) roleWords() (client.RoleTable, roleWords, error) {
	t, err := v.API.RoleTable(v.Context())
	words := roleWords{}
	for _, r := range t.Roles {
		words[r.Role] = r.Words
	}
	return t, words, err
}

// RoleChoice is a role to be given or taken.
type RoleChoice struct {
	Role  client.Role
	Words string
	Held  bool
}

func (w roleWords) choices(held []client.Role, among []client.Role) (out []RoleChoice) {
	for _, r := range among {
		out = append(out, RoleChoice{r, w[r], slices.Contains(held, r)})
	}
	return out
}

func toRoles(values []string) []client.Role {
	out := make([]client.Role, len(values))
	for i, s := range values {
		out[i] = client.Role(s)
	}
	return out
}

type peopleView struct {
	Members   []client.Member
	Next      string
	MayChange bool
}

func showPeople(v *Visit) error {
	p, err := v.API.ListMembers(v.Context(), v.Org.ID, client.List{Limit: 100, Cursor: v.Query("cursor")})
	if err != nil {
		return err
	}
	return v.Render("people", "People", peopleView{p.Items, p.Next, v.Holds(client.OrgAdmin)})
}

type addPersonView struct {
	Code    string
	Name    string
	Email   string
	Choices []RoleChoice
	Errors  Errors
	New     bool // the part for somebody without an account is open
}

func showAddPerson(v *Visit) error {
	_, words, err := v.roleWords()
	if err != nil {
		return err
	}
	return v.Render("people-add", "Add a person", addPersonView{Choices: words.choices(nil, orgRoles)})
}

func addPerson(v *Visit) error {
	form, err := v.Form()
	if err != nil {
		return err
	}
	roles := toRoles(form["roles"])
	in := client.NewMember{Roles: roles}
	view := addPersonView{New: form.Get("how") == "new", Name: form.Get("name"), Email: form.Get("email")}
	if view.New {
		in.Name, in.Email, in.Password = view.Name, view.Email, client.NewSecret(form.Get("password"))
	} else {
		in.JoinCode = client.NewSecret(form.Get("join_code"))
		if in.JoinCode.IsZero() {
			view.Errors = Errors{"join_code": "Paste the code that the person made."}
		}
	}
	if len(roles) == 0 {
		if view.Errors == nil {
			view.Errors = Errors{}
		}
		view.Errors["roles"] = "Choose at least one role."
	}
	if view.Errors == nil {
		m, err := v.API.AddMember(v.Context(), v.Org.ID, in)
		p, ok := Refused(err)
		switch {
		case err == nil:
			return v.Done(v.OrgPath("people"), m.Name+" belongs to "+v.Org.Name+" now.")
		case !ok:
			return err
		}
		view.Errors = FieldErrors(p)
	}
	_, words, err := v.roleWords()
	if err != nil {
		return err
	}
	view.Choices = words.choices(roles, orgRoles)
	return v.Again("people-add", "Add a person", view)
}

type personView struct {
	Member    client.Member
	Choices   []RoleChoice
	Errors    Errors
	MayChange bool
	MayOwner  bool
	Self      bool
}

// member finds a person among the members: the API lists them and does not
// show one alone.
func (v *Visit) member(id string) (client.Member, error) {
	for m, err := range client.Items(v.Context(), client.List{Limit: 200}, func(ctx context.Context, l client.List) (client.Page[client.Member], error) {
		return v.API.ListMembers(ctx, v.Org.ID, l)
	}) {
		if err != nil {
			return client.Member{}, err
		}
		if m.ID == id {
			return m, nil
		}
	}
	return client.Member{}, statusError(404)
}

func (v *Visit) personPage(held []client.Role, errs Errors) error {
	m, err := v.member(v.Param("person"))
	if err != nil {
		return err
	}
	_, words, err := v.roleWords()
	if err != nil {
		return err
	}
	if held == nil {
		held = m.Roles
	}
	org, err := v.API.Organization(v.Context(), v.Org.ID)
	if err != nil {
		return err
	}
	view := personView{Member: m, Choices: words.choices(held, orgRoles), Errors: errs, MayChange: v.Holds(client.OrgAdmin), MayOwner: org.Owner, Self: m.ID == v.Me.Person.ID}
	if errs != nil {
		return v.Again("person", m.Name, view)
	}
	return v.Render("person", m.Name, view)
}

func showPerson(v *Visit) error { return v.personPage(nil, nil) }

func changePerson(v *Visit) error {
	form, err := v.Form()
	if err != nil {
		return err
	}
	var change client.MemberChange
	switch form.Get("what") {
	case "owner":
		owner := form.Get("owner") == "yes"
		change.Owner = &owner
	default:
		change.Roles = toRoles(form["roles"])
		if len(change.Roles) == 0 {
			return v.personPage([]client.Role{}, Errors{"roles": "Choose at least one role, or remove the person."})
		}
	}
	m, err := v.API.UpdateMember(v.Context(), v.Org.ID, v.Param("person"), change)
	if p, ok := Refused(err); ok {
		return v.personPage(change.Roles, FieldErrors(p))
	}
	if err != nil {
		return err
	}
	return v.Done(v.OrgPath("people"), "Changed what "+m.Name+" may do.")
}

func removePerson(v *Visit) error {
	m, err := v.member(v.Param("person"))
	if err != nil {
		return err
	}
	err = v.API.RemoveMember(v.Context(), v.Org.ID, m.ID)
	if p, ok := Refused(err); ok {
		return v.personPage(nil, FieldErrors(p))
	}
	if err != nil {
		return err
	}
	if m.ID == v.Me.Person.ID {
		return v.Done("/", "You have left "+v.Org.Name+".")
	}
	return v.Done(v.OrgPath("people"), m.Name+" does not belong to "+v.Org.Name+" any more. Her API keys here are revoked.")
}

type rolesView struct {
	Table client.RoleTable
	Roles []client.Role
}

// Allows says whether a line of the table holds for a role.
func (rolesView) Allows(a client.RoleAction, r client.Role) bool { return slices.Contains(a.Roles, r) }

// Describe gives the words for a role.
func (r rolesView) Describe(role client.Role) string {
	for _, w := range r.Table.Roles {
		if w.Role == role {
			return w.Words
		}
	}
	return ""
}

func showRoles(v *Visit) error {
	t, _, err := v.roleWords()
	if err != nil {
		return err
	}
	roles := orgRoles
	if v.Org.ID == "" {
		roles = append(slices.Clone(orgRoles), client.SystemAdmin)
	}
	// What is open to everybody, or to nobody here, is no row of this table.
	for i := range t.Groups {
		t.Groups[i].Actions = slices.DeleteFunc(t.Groups[i].Actions, func(a client.RoleAction) bool {
			return !slices.ContainsFunc(a.Roles, func(r client.Role) bool { return slices.Contains(roles, r) })
		})
	}
	t.Groups = slices.DeleteFunc(t.Groups, func(g struct {
		Name    string              `json:"name"`
		Actions []client.RoleAction `json:"actions"`
	}) bool {
		return len(g.Actions) == 0
	})
	return v.Render("roles", "Who may do what", rolesView{t, roles})
}
