package console

import (
	"net/http"

	"strongroom/client"
)

// The first page of an installation: whoever holds its one-time link makes
// herself its administrator there, and her organization with it.
var setupPages = []Page{
	{Pattern: "GET /setup", Access: Anyone, Serve: showSetup},
	{Pattern: "POST /setup", Access: Anyone, Serve: runSetup},
}

type setupView struct {
	newOrganizationView
	Code, Person, Email string
	Acknowledged        bool
	Status              client.SetupStatus
	Errors              Errors
}

func showSetup(v *Visit) error {
	s, err := v.API.SetupStatus(v.Context())
	if err != nil {
		return err
	}
	view := setupView{Status: s}
	view.Placement, view.Plan = "schema", "enterprise"
	return v.Render("setup", "Set up Strongroom", view)
}

func runSetup(v *Visit) error {
	form, err := v.Form()
	if err != nil {
		return err
	}
	view := setupView{Code: form.Get("code"), Person: form.Get("name"), Email: form.Get("email"), Acknowledged: form.Get("acknowledged") == "yes"}
	view.Name, view.Plan, view.Placement = form.Get("organization/name"), form.Get("organization/plan"), form.Get("organization/placement")
	password := client.NewSecret(form.Get("password"))
	_, err = v.API.SetUp(v.Context(), client.FirstStart{Code: client.NewSecret(view.Code), Name: view.Person, Email: view.Email, Password: password,
		Organization: client.NewOrganization{Name: view.Name, Plan: view.Plan, Placement: view.Placement}, Acknowledged: view.Acknowledged})
	if p, ok := Refused(err); ok {
		var serr error
		if view.Status, serr = v.API.SetupStatus(v.Context()); serr != nil {
			return serr
		}
		view.Errors = FieldErrors(p)
		return v.Again("setup", "Set up Strongroom", view)
	}
	if err != nil {
		return err
	}
	in, err := v.API.SignIn(v.Context(), view.Email, password)
	if err != nil {
		if client.Status(err) == http.StatusTooManyRequests {
			return v.Done("/sign-in", "Strongroom is set up. Sign in.")
		}
		return err
	}
	setSession(v.W, in.Token)
	return v.Done("/", "Strongroom is set up.")
}
