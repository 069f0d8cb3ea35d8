package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"strongroom/internal/app/datadir"
	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature/setup"
	"strongroom/internal/identity"
	"strongroom/internal/osproc"
	"strongroom/internal/store/platform"
)

// The files of the set-up, in the data directory: the hash of the code, and
// the link for whoever may read it there. Both are empty once it is done.
const (
	SetupFile = "setup.json"
	LinkFile  = "setup-link.txt"
)

// PrepareSetup makes the files empty where they are missing: the data
// directory belongs to whoever runs the installation, and the server may write
// what is its own alone.
func PrepareSetup(l datadir.Layout, server *osproc.User) error {
	for _, name := range []string{SetupFile, LinkFile} {
		path := filepath.Join(l.Path(), name)
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
		if err == nil {
			err = errors.Join(f.Close(), os.Chmod(path, 0o600), server.Own(path))
		}
		if err != nil {
			return fmt.Errorf("the set-up's files: %w", err)
		}
	}
	return nil
}

// setupOptions is what the feature needs of the house.
func (a *App) setupOptions() setup.Options {
	return setup.Options{Codes: a.codes, As: identity.System(a.server), Done: a.setupDone, Places: func() setup.Places {
		p := setup.Places{Guardians: []string{}, Zones: []string{}, Grade: "demo"}
		l := datadir.At(a.options.DataDir)
		for _, zone := range []string{"a", "b"} {
			p.Guardians = append(p.Guardians, l.Guardian(zone))
			p.Zones = append(p.Zones, l.KeyZone(zone))
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if k, err := a.Keys.Status(ctx); err == nil && k.Grade != "" {
			p.Grade = k.Grade // where it cannot be known, the lesser one is said
		}
		return p
	}}
}

// setupDone empties the file that holds the link.
func (a *App) setupDone() { _ = a.writeLink("") }

var errSetUp = fault.New(fault.Conflict, "this installation is set up already")

// SetupLink makes a new one-time link, in place of any that there was.
func (a *App) SetupLink(ctx context.Context) (link string, until time.Time, err error) {
	has, err := a.Identity.HasSystemAdmin(ctx)
	if err != nil {
		return "", until, err
	}
	if has {
		return "", until, errSetUp
	}
	code, until, err := a.codes.Issue()
	if err != nil {
		return "", until, err
	}
	// The code stands behind #: a browser does not send that part, so it is in
	// no proxy's log.
	link = a.options.Address + "/setup#" + code
	return link, until, a.writeLink(link)
}

func (a *App) writeLink(link string) error {
	if link != "" {
		link += "\n"
	}
	f, err := os.OpenFile(filepath.Join(a.options.DataDir, LinkFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, link)
	return errors.Join(err, f.Close())
}

// offerSetup says how an installation that nobody runs yet is set up. A link
// that is still good is said again: a restart must not make it useless.
func (a *App) offerSetup(ctx context.Context) error {
	has, err := a.Identity.HasSystemAdmin(ctx)
	if err != nil || has {
		return err
	}
	file := filepath.Join(a.options.DataDir, LinkFile)
	link, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	said := strings.TrimSpace(string(link))
	until, waiting := a.codes.Waiting()
	if !waiting || said == "" {
		if said, until, err = a.SetupLink(ctx); err != nil {
			return err
		}
	}
	a.Log.Warn("this installation waits to be set up: open the link once; it is in the file too", "link", said, "file", file, "until", until.Format(time.RFC3339))
	return nil
}

// FirstStart is what the operator's own set-up, without a link, is told.
type FirstStart struct {
	Name         string             `json:"name"`
	Email        string             `json:"email"`
	Password     string             `json:"password"`
	Organization setup.Organization `json:"organization"`
	Acknowledged bool               `json:"acknowledged"`
}

// setUp sets the installation up for whoever can open the operator's socket:
// she could make a link for herself.
func (a *App) setUp(ctx context.Context, n FirstStart) (identity.Person, identity.Org, error) {
	p, org, _, err := a.Identity.SetUp(ctx, platform.Request{Actor: identity.System(a.server)},
		identity.FirstOwner{Person: identity.NewPerson{Address: n.Email, Name: n.Name, Password: seal.NewSecretString(n.Password)},
			Org: identity.NewOrg{Name: n.Organization.Name, Plan: n.Organization.Plan, Placement: n.Organization.Placement}},
		func() error {
			if !n.Acknowledged {
				return setup.ErrUnaware
			}
			return nil
		})
	if err == nil {
		_ = a.codes.Forget()
		a.setupDone()
	}
	return p, org, err
}

// NewOrganization is what the operator's own command makes.
type NewOrganization struct {
	Name      string `json:"name"`
	Plan      string `json:"plan"`
	Placement string `json:"placement"`
	Owner     struct {
		Name     string `json:"name"`
		Email    string `json:"email"`
		Password string `json:"password"`
		JoinCode string `json:"join_code"`
	} `json:"owner"`
}

func (a *App) createOrg(ctx context.Context, n NewOrganization) (identity.Org, identity.Member, error) {
	owner := identity.NewPerson{Address: n.Owner.Email, Name: n.Owner.Name}
	if n.Owner.Password != "" {
		owner.Password = seal.NewSecretString(n.Owner.Password)
	}
	org, member, _, err := a.Identity.CreateOrg(ctx, platform.Request{Actor: identity.System(a.server), Org: id.Org{}},
		identity.NewOrg{Name: n.Name, Plan: n.Plan, Placement: n.Placement, Owner: owner, OwnerCode: n.Owner.JoinCode})
	return org, member, err
}
