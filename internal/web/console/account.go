package console

import (
	"net/http"

	"strongroom/client"
)

var accountPages = []Page{
	{Pattern: "GET /account", Access: SignedIn, Serve: showAccount},
	{Pattern: "POST /account/password", Access: SignedIn, Serve: changePassword},
	{Pattern: "POST /account/join-code", Access: SignedIn, Serve: makeJoinCode},
}

type accountView struct {
	Code   client.JoinCode
	Shown  string // the code, in the one answer that shows it
	Errors Errors
}

func showAccount(v *Visit) error { return v.Render("account", "Your account", accountView{}) }

func changePassword(v *Visit) error {
	form, err := v.Form()
	if err != nil {
		return err
	}
	again := func(e Errors) error { return v.Again("account", "Your account", accountView{Errors: e}) }
	if form.Get("new_password") != form.Get("repeated") {
		return again(Errors{"repeated": "The two new passwords differ."})
	}
	err = v.API.ChangePassword(v.Context(), client.NewSecret(form.Get("password")), client.NewSecret(form.Get("new_password")))
	if p, ok := Refused(err); ok {
		return again(FieldErrors(p))
	}
	if err != nil {
		return err
	}
	// Every session ended with the old password, this one too.
	http.SetCookie(v.W, clear(sessionCookie))
	return v.Done("/sign-in", "The password is changed, and every session has ended. Sign in with the new one.")
}

func makeJoinCode(v *Visit) error {
	code, err := v.API.CreateJoinCode(v.Context())
	if err != nil {
		return err
	}
	return v.Render("account", "Your account", accountView{Code: code, Shown: code.Code.Reveal()})
}
