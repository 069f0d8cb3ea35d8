// Package setup turns an empty installation into one that somebody runs: by a
// one-time code it makes the first system administrator, and with her the first
// organization.
//
// It promises that this happens once. The code has 160 random bits, is stored
// as a hash, ends after a day and with its use; wrong ones are on the record
// and bounded; and once an administrator exists no code does anything any
// more, which the database decides under a lock (see identity.Service.SetUp).
// Whoever sets an installation up says first that she knows what losing its
// guardians means, and the installation says where they are.
package setup

import (
	"context"
	"net/http"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/identity"
	"strongroom/internal/identity/actor"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
)

const (
	path = "/v1/setup"
	// The request is small, and open to everybody.
	maxBody = 8 << 10
)

// Warning is what is at stake, in the words that every face shows.
const Warning = "Whoever loses every guardian loses all content: records, files and the log can then be opened by nobody. " +
	"There is no escrow and no recovery key, as either would undo every erasure. Keep the guardians on different machines or disks, and keep copies of none of them beside the data."

// Options configures the feature.
type Options struct {
	Codes *Codes
	// As is the installation itself, on whose behalf the code's holder acts.
	As actor.Actor
	// Done is called after the set-up; nil: nothing is left to do.
	Done func()
	// Places lists where the guardians and the zones of the key store are.
	Places func() Places
}

// Places says where the keys are.
type Places struct {
	Guardians []string `json:"guardians" doc:"Folders of the guardians."`
	Zones     []string `json:"zones" doc:"Folders of the copies of the key store."`
	Grade     string   `json:"grade" enum:"demo,independent" doc:"demo: they are on one machine or one disk."`
}

type (
	none struct{}
	// Status says whether the installation waits to be set up.
	Status struct {
		Open    bool    `json:"open" doc:"Whether it waits for its first administrator."`
		Warning string  `json:"warning,omitempty" doc:"What losing the guardians means."`
		Places  *Places `json:"places,omitempty" doc:"Where the keys are; while it waits."`
	}
	statusOut struct{ Body Status }
	runIn     struct {
		Body struct {
			Code         string       `json:"code" minLength:"1" maxLength:"100" doc:"The one-time code that the installation printed."`
			Name         string       `json:"name" minLength:"1" maxLength:"200" doc:"Of the first system administrator."`
			Email        string       `json:"email" minLength:"1" maxLength:"254"`
			Password     string       `json:"password" minLength:"1" maxLength:"1024" doc:"15 characters or more; any characters."`
			Organization Organization `json:"organization" doc:"The first organization; the administrator is its first owner."`
			Acknowledged bool         `json:"acknowledged" doc:"true: whoever loses every guardian loses all content, and the caller knows it."`
		}
	}
	runOut struct {
		Body struct {
			Person       identity.Person `json:"person"`
			Organization identity.Org    `json:"organization"`
		}
	}
)

// Organization is the first one, as it is asked for.
type Organization struct {
	Name      string `json:"name" minLength:"1" maxLength:"200"`
	Plan      string `json:"plan,omitempty" maxLength:"32" doc:"Default: enterprise."`
	Placement string `json:"placement,omitempty" enum:"schema,pooled" doc:"schema: tables of its own. pooled: shared tables, for personal accounts. Default: schema."`
}

type ops struct {
	s *identity.Service
	o Options
}

// Feature offers the set-up.
func Feature(s *identity.Service, o Options) feature.Feature {
	x := ops{s, o}
	return feature.Feature{Name: "setup", Ops: []feature.Op{
		feature.HandlePlatform(feature.Meta{ID: "get-setup", Method: http.MethodGet, Path: path, Action: policy.SetupRead,
			Summary: "See whether the installation waits to be set up"}, x.read),
		feature.HandleSelf(feature.Meta{ID: "run-setup", Method: http.MethodPost, Path: path, Action: policy.SetupRun,
			Summary: "Set up an empty installation", Status: http.StatusCreated, MaxBody: maxBody,
			Description: "Makes the first system administrator and the first organization, with the one-time code that the installation printed. Refused for good once an administrator exists.",
			Errors:      []fault.Kind{fault.Denied, fault.Conflict, fault.TooMany}}, x.run),
	}}
}

func (x ops) read(ctx context.Context, _ *platform.Tx, _ none) (statusOut, error) {
	has, err := x.s.HasSystemAdmin(ctx)
	if err != nil || has {
		return statusOut{}, err
	}
	p := x.o.Places()
	return statusOut{Status{Open: true, Warning: Warning, Places: &p}}, nil
}

// ErrUnaware refuses a set-up by somebody who did not say that she knows what
// is at stake.
var ErrUnaware = fault.At(fault.Invalid, "/acknowledged", "not_acknowledged", "say that you know what losing the guardians means: all content is lost with them")

func (x ops) run(ctx context.Context, r tenant.Request, in runIn) (out runOut, _ audit.Receipt, err error) {
	b := in.Body
	p, org, receipt, err := x.s.SetUp(ctx, platform.Request{Actor: x.o.As, ID: r.ID, Client: r.Client},
		identity.FirstOwner{Person: identity.NewPerson{Address: b.Email, Name: b.Name, Password: seal.NewSecretString(b.Password)},
			Org: identity.NewOrg{Name: b.Organization.Name, Plan: b.Organization.Plan, Placement: b.Organization.Placement}},
		func() error {
			if err := x.o.Codes.Check(b.Code); err != nil {
				return err
			}
			if !b.Acknowledged {
				return ErrUnaware
			}
			return nil
		})
	if err != nil {
		return out, receipt, err
	}
	// The administrator that exists now is what makes the code useless; that
	// its file is emptied as well is tidiness.
	_ = x.o.Codes.Forget()
	if x.o.Done != nil {
		x.o.Done()
	}
	out.Body.Person, out.Body.Organization = p, org
	return out, receipt, nil
}
