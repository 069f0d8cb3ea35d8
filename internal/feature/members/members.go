// Package members is how people get in and how organizations keep them: the
// operations on sessions, organizations, members and API keys.
//
// It promises no more than package identity, which does the work and writes
// the record: here are the routes, the forms of what goes in and out, and the
// words of the API's description. Nothing in this package sees a stored
// credential; a token passes through once, on its way to its owner.
//
// Every operation enters the door by itself, through identity, because a
// password is hashed before a transaction opens. To add one, give identity a
// function that returns the receipt, and declare the operation in [Feature].
package members

import (
	"context"
	"net/http"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/identity"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
)

const (
	sessionsPath = "/v1/sessions"
	currentPath  = "/v1/sessions/current"
	orgsPath     = "/v1/orgs"
	orgPath      = "/v1/orgs/{org}"
	membersPath  = "/v1/orgs/{org}/members"
	keysPath     = "/v1/orgs/{org}/keys"

	// What these operations take fits in this many times over; a sign-in is
	// open to everybody, so it should not be able to make us read more.
	maxBody = 16 << 10
)

// Feature offers sessions, organizations, members and keys.
func Feature(s *identity.Service) feature.Feature {
	o := ops{s}
	return feature.Feature{Name: "members", Promises: o.promises(), Ops: []feature.Op{
		feature.HandleSelf(feature.Meta{ID: "create-session", Example: `{"email": "ada@lab.example", "password": "correct horse battery staple"}`, Method: http.MethodPost, Path: sessionsPath, Action: policy.SessionCreate,
			Summary: "Sign in with address and password", Status: http.StatusCreated, MaxBody: maxBody,
			Description: "A wrong password, an address without an account and a disabled account get the same answer. Send the token as `Authorization: Bearer` from then on.",
			Errors:      []fault.Kind{fault.Unauthenticated, fault.TooMany}}, o.signIn),
		feature.HandleSelf(feature.Meta{ID: "get-session", Method: http.MethodGet, Path: currentPath, Action: policy.SessionRead,
			Summary: "See who is signed in", Errors: []fault.Kind{fault.NotFound}}, o.current),
		feature.HandleSelf(feature.Meta{ID: "end-session", Method: http.MethodDelete, Path: currentPath, Action: policy.SessionEnd,
			Summary: "Sign out", Errors: []fault.Kind{fault.NotFound}}, o.signOut),
		feature.HandleSelf(feature.Meta{ID: "change-password", Example: `{"password": "correct horse battery staple", "new_password": "another long enough phrase"}`, Method: http.MethodPut, Path: currentPath + "/password", Action: policy.PasswordChange,
			Summary: "Change one's own password", MaxBody: maxBody,
			Description: "Every session of the person ends, this one too, within a second on every server.",
			Errors:      []fault.Kind{fault.NotFound, fault.Conflict, fault.TooMany}}, o.changePassword),
		feature.HandleSelf(feature.Meta{ID: "create-join-code", Method: http.MethodPost, Path: currentPath + "/join-code", Action: policy.JoinCode,
			Summary: "Make a code by which an organization can add the caller", Status: http.StatusCreated,
			Description: "Whoever has an account already joins another organization by handing this code to its admin.",
			Errors:      []fault.Kind{fault.NotFound}}, o.joinCode),

		feature.HandlePlatform(feature.Meta{ID: "get-roles", Method: http.MethodGet, Path: "/v1/roles", Action: policy.RolesRead,
			Summary: "Read who may do what", Description: "The very table that decides, in words. It is the same for every organization, and public."}, roles),

		feature.HandleSelf(feature.Meta{ID: "list-orgs", Method: http.MethodGet, Path: orgsPath, Action: policy.OrgList,
			Summary: "List the caller's organizations", Description: "A system administrator sees every organization: its name, plan and placement, none of its data."}, o.listOrgs),
		feature.HandleSelf(feature.Meta{ID: "create-org", Example: `{"name": "Thin Films Lab", "plan": "team", "owner": {"email": "ada@lab.example", "name": "Ada Lovelace", "password": "correct horse battery staple"}}`, Method: http.MethodPost, Path: orgsPath, Action: policy.OrgCreate,
			Summary: "Create an organization with its first owner", Status: http.StatusCreated, MaxBody: maxBody,
			Errors: []fault.Kind{fault.Conflict, fault.TooMany}}, o.createOrg),
		feature.HandleSelf(feature.Meta{ID: "get-org", Method: http.MethodGet, Path: orgPath, Action: policy.OrgRead,
			Summary: "Read an organization"}, o.getOrg),
		feature.HandleSelf(feature.Meta{ID: "update-org", Example: `{"name": "Thin Films Lab"}`, Method: http.MethodPut, Path: orgPath, Action: policy.OrgUpdate,
			Summary: "Change an organization's name", MaxBody: maxBody}, o.updateOrg),

		feature.HandleSelf(feature.Meta{ID: "list-people", Method: http.MethodGet, Path: orgPath + "/people", Action: policy.MemberNames,
			Summary: "List the names of the organization's people", Description: "For everybody who works with its data: records and files name people by identifiers."}, o.listPeople),
		feature.HandleSelf(feature.Meta{ID: "list-members", Method: http.MethodGet, Path: membersPath, Action: policy.MemberList,
			Summary: "List the members"}, o.listMembers),
		feature.HandleSelf(feature.Meta{ID: "add-member", Example: `{"email": "grace@lab.example", "name": "Grace Hopper", "password": "correct horse battery staple", "roles": ["scientist"]}`, Method: http.MethodPost, Path: membersPath, Action: policy.MemberAdd,
			Summary: "Add a person", Status: http.StatusCreated, MaxBody: maxBody,
			Description: "Send email, name and password for somebody without an account, or the join_code of somebody who has one.",
			Errors:      []fault.Kind{fault.Conflict, fault.TooMany}}, o.addMember),
		feature.HandleSelf(feature.Meta{ID: "update-member", Example: `{"roles": ["scientist", "analyst"]}`, Method: http.MethodPatch, Path: membersPath + "/{person}", Action: policy.MemberUpdate,
			Summary: "Change a member's roles or mark as owner", MaxBody: maxBody, Errors: []fault.Kind{fault.Conflict}}, o.updateMember),
		feature.HandleSelf(feature.Meta{ID: "remove-member", Method: http.MethodDelete, Path: membersPath + "/{person}", Action: policy.MemberRemove,
			Summary: "Remove a member", Description: "The keys that the person made in the organization are revoked.",
			Errors: []fault.Kind{fault.Conflict}}, o.removeMember),

		feature.HandleSelf(feature.Meta{ID: "list-keys", Method: http.MethodGet, Path: keysPath, Action: policy.KeyList,
			Summary: "List the API keys, without their secrets"}, o.listKeys),
		feature.HandleSelf(feature.Meta{ID: "create-key", Example: `{"name": "nightly import", "roles": ["scientist"], "scopes": ["record.create", "file.upload"]}`, Method: http.MethodPost, Path: keysPath, Action: policy.KeyCreate,
			Summary: "Make an API key", Status: http.StatusCreated, MaxBody: maxBody,
			Description: "The key is in this answer and never shown again."}, o.createKey),
		feature.HandleSelf(feature.Meta{ID: "revoke-key", Method: http.MethodDelete, Path: keysPath + "/{key}", Action: policy.KeyRevoke,
			Summary: "Revoke an API key"}, o.revokeKey),
	}}
}

// ops hold the operations' functions.
type ops struct{ s *identity.Service }

func request(r tenant.Request) platform.Request {
	return platform.Request{Actor: r.Actor, Org: r.Org, Action: r.Action, ID: r.ID, Client: r.Client}
}

type none struct{}

// The path parameters. The edge has read the organization already.
type (
	// OrgPath names an organization.
	OrgPath struct {
		Org id.Org `path:"org" doc:"The organization."`
	}
	// MemberPath names a member.
	MemberPath struct {
		OrgPath
		Person id.Person `path:"person" doc:"The member."`
	}
	// KeyPath names a key.
	KeyPath struct {
		OrgPath
		Key id.Key `path:"key" doc:"The key."`
	}
)

// OrgRoles is an organization and what the caller is there.
type OrgRoles struct {
	ID    id.Org        `json:"id"`
	Name  string        `json:"name"`
	Roles []policy.Role `json:"roles"`
}

// SignedIn is a session and whose it is.
type SignedIn struct {
	Token         string           `json:"token,omitempty" doc:"Only when the session is new."`
	Session       identity.Session `json:"session"`
	Person        identity.Person  `json:"person"`
	Roles         []policy.Role    `json:"roles" doc:"On the installation: system_admin, or none."`
	Organizations []OrgRoles       `json:"organizations"`
}

func signedIn(in identity.SignedIn) SignedIn {
	out := SignedIn{Token: in.Token.Reveal(), Session: in.Session, Person: in.Person, Roles: in.Roles, Organizations: make([]OrgRoles, len(in.Orgs))}
	for i, o := range in.Orgs {
		out.Organizations[i] = OrgRoles{o.ID, o.Name, o.Roles}
	}
	return out
}

type (
	signInIn struct {
		Body struct {
			Email    string `json:"email" minLength:"1" maxLength:"254"`
			Password string `json:"password" minLength:"1" maxLength:"1024" doc:"At most 1,024 bytes."`
		}
	}
	signedInOut      struct{ Body SignedIn }
	changePasswordIn struct {
		Body struct {
			Password    string `json:"password" minLength:"1" maxLength:"1024" doc:"The password until now."`
			NewPassword string `json:"new_password" minLength:"1" maxLength:"1024" doc:"15 characters or more; any characters."`
		}
	}
	joinCodeOut struct{ Body identity.JoinCode }
)

func (o ops) signIn(ctx context.Context, r tenant.Request, in signInIn) (signedInOut, audit.Receipt, error) {
	got, receipt, err := o.s.SignIn(ctx, request(r), in.Body.Email, seal.NewSecretString(in.Body.Password))
	return signedInOut{signedIn(got)}, receipt, err
}

func (o ops) current(ctx context.Context, r tenant.Request, _ none) (signedInOut, audit.Receipt, error) {
	got, receipt, err := o.s.Current(ctx, request(r))
	return signedInOut{signedIn(got)}, receipt, err
}

func (o ops) signOut(ctx context.Context, r tenant.Request, _ none) (feature.NoContent, audit.Receipt, error) {
	receipt, err := o.s.SignOut(ctx, request(r))
	return feature.NoContent{}, receipt, err
}

func (o ops) changePassword(ctx context.Context, r tenant.Request, in changePasswordIn) (feature.NoContent, audit.Receipt, error) {
	receipt, err := o.s.ChangePassword(ctx, request(r), seal.NewSecretString(in.Body.Password), seal.NewSecretString(in.Body.NewPassword))
	return feature.NoContent{}, receipt, err
}

func (o ops) joinCode(ctx context.Context, r tenant.Request, _ none) (joinCodeOut, audit.Receipt, error) {
	got, receipt, err := o.s.MakeJoinCode(ctx, request(r))
	return joinCodeOut{got}, receipt, err
}

// NewPerson is somebody to be added: a new person, or by join code.
type NewPerson struct {
	Email    string `json:"email,omitempty" maxLength:"254" doc:"Of somebody without an account."`
	Name     string `json:"name,omitempty" maxLength:"200"`
	Password string `json:"password,omitempty" maxLength:"1024" doc:"15 characters or more; any characters. Without one the person cannot sign in by password."`
	JoinCode string `json:"join_code,omitempty" maxLength:"300" doc:"Of somebody who has an account; instead of email, name and password."`
}

func (p NewPerson) identity() identity.NewPerson {
	n := identity.NewPerson{Address: p.Email, Name: p.Name}
	if p.Password != "" {
		n.Password = seal.NewSecretString(p.Password)
	}
	return n
}

type (
	listOrgsIn  struct{ feature.Listing }
	createOrgIn struct {
		Body struct {
			Name      string    `json:"name" minLength:"1" maxLength:"200"`
			Placement string    `json:"placement,omitempty" enum:"schema,pooled" doc:"schema: tables of its own. pooled: shared tables, for personal accounts. Default: schema."`
			Plan      string    `json:"plan,omitempty" enum:"pilot,team,enterprise" doc:"Default: enterprise."`
			Owner     NewPerson `json:"owner" doc:"Becomes org_admin and owner."`
		}
	}
	createdOrg struct {
		identity.Org
		OwnedBy identity.Member `json:"owned_by"`
	}
	createOrgOut struct {
		Location string `header:"Location" doc:"Where it is."`
		Body     createdOrg
	}
	getOrgIn    struct{ OrgPath }
	updateOrgIn struct {
		OrgPath
		Body struct {
			Name string `json:"name" minLength:"1" maxLength:"200"`
		}
	}
	orgOut struct{ Body identity.Org }
)

func (o ops) listOrgs(ctx context.Context, r tenant.Request, in listOrgsIn) (feature.List[identity.Org], audit.Receipt, error) {
	items, next, receipt, err := o.s.Orgs(ctx, request(r), in.Limit, in.Cursor)
	return feature.List[identity.Org]{Body: feature.NewPage(items, next)}, receipt, err
}

func (o ops) createOrg(ctx context.Context, r tenant.Request, in createOrgIn) (createOrgOut, audit.Receipt, error) {
	org, owner, receipt, err := o.s.CreateOrg(ctx, request(r), identity.NewOrg{Name: in.Body.Name, Placement: in.Body.Placement, Plan: in.Body.Plan,
		Owner: in.Body.Owner.identity(), OwnerCode: in.Body.Owner.JoinCode})
	return createOrgOut{orgsPath + "/" + org.ID.String(), createdOrg{org, owner}}, receipt, err
}

func (o ops) getOrg(ctx context.Context, r tenant.Request, _ getOrgIn) (orgOut, audit.Receipt, error) {
	org, receipt, err := o.s.Org(ctx, request(r))
	return orgOut{org}, receipt, err
}

func (o ops) updateOrg(ctx context.Context, r tenant.Request, in updateOrgIn) (orgOut, audit.Receipt, error) {
	org, receipt, err := o.s.RenameOrg(ctx, request(r), in.Body.Name)
	return orgOut{org}, receipt, err
}

type listPeopleIn struct {
	OrgPath
	feature.Listing
}

func (o ops) listPeople(ctx context.Context, r tenant.Request, in listPeopleIn) (feature.List[identity.PersonName], audit.Receipt, error) {
	items, next, receipt, err := o.s.Names(ctx, request(r), in.Limit, in.Cursor)
	return feature.List[identity.PersonName]{Body: feature.NewPage(items, next)}, receipt, err
}

type (
	listMembersIn struct {
		OrgPath
		feature.Listing
	}
	memberOut   struct{ Body identity.Member }
	addMemberIn struct {
		OrgPath
		Body struct {
			NewPerson
			Roles []policy.Role `json:"roles" minItems:"1" maxItems:"5" enum:"scientist,analyst,org_admin,security_admin,billing_admin"`
		}
	}
	addMemberOut struct {
		Location string `header:"Location" doc:"Where it is."`
		Body     identity.Member
	}
	removeMemberIn struct{ MemberPath }
	updateMemberIn struct {
		MemberPath
		Body struct {
			Roles *[]policy.Role `json:"roles,omitempty" minItems:"1" maxItems:"5" enum:"scientist,analyst,org_admin,security_admin,billing_admin" doc:"All the roles from now on."`
			Owner *bool          `json:"owner,omitempty" doc:"Only owners make, change and remove owners. The last one stays."`
		}
	}
)

func (o ops) listMembers(ctx context.Context, r tenant.Request, in listMembersIn) (feature.List[identity.Member], audit.Receipt, error) {
	items, next, receipt, err := o.s.Members(ctx, request(r), in.Limit, in.Cursor)
	return feature.List[identity.Member]{Body: feature.NewPage(items, next)}, receipt, err
}

func (o ops) addMember(ctx context.Context, r tenant.Request, in addMemberIn) (addMemberOut, audit.Receipt, error) {
	m, receipt, err := o.s.AddMember(ctx, request(r), identity.NewMember{NewPerson: in.Body.identity(), JoinCode: in.Body.JoinCode, Roles: in.Body.Roles})
	return addMemberOut{orgsPath + "/" + r.Org.String() + "/members/" + m.ID.String(), m}, receipt, err
}

func (o ops) updateMember(ctx context.Context, r tenant.Request, in updateMemberIn) (memberOut, audit.Receipt, error) {
	m, receipt, err := o.s.UpdateMember(ctx, request(r), in.Person, identity.MemberChange{Roles: in.Body.Roles, Owner: in.Body.Owner})
	return memberOut{m}, receipt, err
}

func (o ops) removeMember(ctx context.Context, r tenant.Request, in removeMemberIn) (feature.NoContent, audit.Receipt, error) {
	receipt, err := o.s.RemoveMember(ctx, request(r), in.Person)
	return feature.NoContent{}, receipt, err
}

// CreatedKey is a new key: the only time that its token is shown.
type CreatedKey struct {
	identity.Key
	Token string `json:"token" doc:"Shown once. Send it as Authorization: Bearer."`
}

type (
	listKeysIn struct {
		OrgPath
		feature.Listing
	}
	createKeyIn struct {
		OrgPath
		Body struct {
			Name      string          `json:"name" minLength:"1" maxLength:"200"`
			Roles     []policy.Role   `json:"roles" minItems:"1" maxItems:"5" enum:"scientist,analyst,org_admin,security_admin,billing_admin" doc:"Roles that the caller holds."`
			Scopes    []policy.Action `json:"scopes,omitempty" maxItems:"64" doc:"Actions that the key is limited to, as in record.read. Default: all that its roles allow a key."`
			ExpiresAt *time.Time      `json:"expires_at,omitempty" doc:"Within 366 days. Default: in 90 days."`
		}
	}
	createKeyOut struct {
		Location string `header:"Location" doc:"Where it is."`
		Body     CreatedKey
	}
	revokeKeyIn struct{ KeyPath }
)

func (o ops) listKeys(ctx context.Context, r tenant.Request, in listKeysIn) (feature.List[identity.Key], audit.Receipt, error) {
	items, next, receipt, err := o.s.Keys(ctx, request(r), in.Limit, in.Cursor)
	return feature.List[identity.Key]{Body: feature.NewPage(items, next)}, receipt, err
}

func (o ops) createKey(ctx context.Context, r tenant.Request, in createKeyIn) (createKeyOut, audit.Receipt, error) {
	k, token, receipt, err := o.s.CreateKey(ctx, request(r), identity.NewKey{Name: in.Body.Name, Roles: in.Body.Roles, Scopes: in.Body.Scopes, ExpiresAt: in.Body.ExpiresAt})
	return createKeyOut{orgsPath + "/" + r.Org.String() + "/keys/" + k.ID.String(), CreatedKey{k, token.Reveal()}}, receipt, err
}

func (o ops) revokeKey(ctx context.Context, r tenant.Request, in revokeKeyIn) (feature.NoContent, audit.Receipt, error) {
	receipt, err := o.s.RevokeKey(ctx, request(r), in.Key)
	return feature.NoContent{}, receipt, err
}
