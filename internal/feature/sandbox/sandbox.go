// Package sandbox gives a developer an organization to throw away: one call,
// and there is a place with a key to it that ends by itself.
//
// It promises no more than package identity, which makes, bounds and ends them
// and writes the record: here are the routes, the switch of the operator, and
// the words of the API's description. A sandbox is an ordinary organization in
// every other way; what holds for organizations holds for it. After its time
// nobody enters it, and what is in it stays, sealed: erasing an organization is
// not what this does.
//
// Every operation enters the door by itself, through identity.
package sandbox

import (
	"context"
	"net/http"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/identity"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
)

const (
	path    = "/v1/sandboxes"
	maxBody = 4 << 10
)

// Options says what an operator decides.
type Options struct {
	// On lets people make sandboxes. Where it is false, those that exist go on
	// to their end.
	On bool
}

// Feature offers the operations on sandboxes.
func Feature(s *identity.Service, o Options) feature.Feature {
	f := ops{s, o.On}
	return feature.Feature{Name: "sandbox", Ops: []feature.Op{
		feature.HandleSelf(feature.Meta{ID: "create-sandbox", Example: `{"name": "Trying out"}`, Method: http.MethodPost, Path: path, Action: policy.SandboxCreate,
			Summary: "Make a throw-away organization", Status: http.StatusCreated, MaxBody: maxBody,
			Description: "The caller, a person who has signed in, owns it and holds every role in it. The key in the answer may do in it whatever a key may do, and is never shown again. " +
				"After 24 hours, or when it is ended, nobody enters it any more; what was stored in it stays there, sealed. " +
				"People who have an account join by a code of theirs; new accounts are not made there. " +
				"One person has up to 3 at a time and makes up to 10 a day. An operator can switch sandboxes off; then this is denied.",
			Errors: []fault.Kind{fault.Denied, fault.Conflict}}, f.create),
		feature.HandleSelf(feature.Meta{ID: "list-sandboxes", Method: http.MethodGet, Path: path, Action: policy.SandboxList,
			Summary: "List one's own throw-away organizations", Description: "Those that have ended are listed too, as expired."}, f.list),
		feature.HandleSelf(feature.Meta{ID: "end-sandbox", Method: http.MethodDelete, Path: path + "/{org}", Action: policy.SandboxEnd,
			Summary:     "End a throw-away organization before its time",
			Description: "Its keys are revoked and nobody belongs to it any more. Ending one that has ended changes nothing."}, f.end),
	}}
}

type ops struct {
	s  *identity.Service
	on bool
}

func request(r tenant.Request) platform.Request {
	return platform.Request{Actor: r.Actor, Action: r.Action, ID: r.ID, Client: r.Client}
}

// Created is a new sandbox: the only time that its key is shown.
type Created struct {
	Org       id.Org        `json:"org"`
	Name      string        `json:"name"`
	Key       string        `json:"key" format:"password" doc:"An API key of the organization, shown once. Send it as Authorization: Bearer."`
	Roles     []policy.Role `json:"roles" doc:"Of the key."`
	ExpiresAt time.Time     `json:"expires_at" doc:"From then on nobody enters the organization."`
}

type (
	createIn struct {
		Body struct {
			Name string `json:"name,omitempty" maxLength:"200" doc:"Default: Sandbox."`
		}
	}
	createOut struct {
		Location string `header:"Location" doc:"Where it is."`
		Body     Created
	}
	listIn struct{ feature.Listing }
	endIn  struct {
		Org id.Org `path:"org" doc:"The organization."`
	}
)

var errOff = fault.New(fault.Denied, "sandboxes are switched off in this installation")

func (o ops) create(ctx context.Context, r tenant.Request, in createIn) (createOut, audit.Receipt, error) {
	if !o.on {
		receipt, err := o.s.RefuseSandbox(ctx, request(r), errOff)
		return createOut{}, receipt, err
	}
	box, token, receipt, err := o.s.CreateSandbox(ctx, request(r), in.Body.Name)
	return createOut{"/v1/orgs/" + box.Org.String(), Created{box.Org, box.Name, token.Reveal(), identity.SandboxKeyRoles(), box.ExpiresAt}}, receipt, err
}

func (o ops) list(ctx context.Context, r tenant.Request, in listIn) (feature.List[identity.Sandbox], audit.Receipt, error) {
	items, next, receipt, err := o.s.Sandboxes(ctx, request(r), in.Limit, in.Cursor)
	return feature.List[identity.Sandbox]{Body: feature.NewPage(items, next)}, receipt, err
}

func (o ops) end(ctx context.Context, r tenant.Request, in endIn) (feature.NoContent, audit.Receipt, error) {
	receipt, err := o.s.EndSandbox(ctx, request(r), in.Org)
	return feature.NoContent{}, receipt, err
}
