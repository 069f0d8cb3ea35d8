package console

import (
	"net/http"
	"net/url"

	"strongroom/client"
)

var signInPages = []Page{
	{Pattern: "GET /sign-in", Access: Anyone, Serve: showSignIn},
	{Pattern: "POST /sign-in", Access: Anyone, Serve: signIn},
	{Pattern: "POST /sign-out", Access: Anyone, Serve: signOut},
	{Pattern: "POST /appearance", Access: Anyone, Serve: setAppearance},
}

type signInView struct {
	Email  string
	Next   string
	Errors Errors
}

// next returns where to go after the sign-in: a page of the console that can be
// looked at, or the start. It is the one thing here that a stranger's link
// decides, so whatever is not plainly that is not followed.
func (v *Visit) next(path string) string {
	if path == "" || !isLocal(path) || len(path) > maxPath {
		return "/"
	}
	u, err := url.Parse(path)
	if err != nil {
		return "/"
	}
	probe := &http.Request{Method: http.MethodGet, URL: u, Host: v.R.Host}
	if _, pattern := v.c.mux.Handler(probe); pattern == "" || pattern == "GET /sign-in" || pattern == "GET "+staticPrefix {
		return "/"
	}
	return path
}

func showSignIn(v *Visit) error {
	next := v.next(v.Query("next"))
	if !v.token.IsZero() {
		if _, err := v.API.WhoAmI(v.Context()); err == nil {
			return v.Redirect(next)
		}
	}
	return v.Render("sign-in", "Sign in", signInView{Next: next})
}

func signIn(v *Visit) error {
	form, err := v.Form()
	if err != nil {
		return err
	}
	view := signInView{Email: form.Get("email"), Next: v.next(form.Get("next"))}
	in, err := v.API.SignIn(v.Context(), view.Email, client.NewSecret(form.Get("password")))
	if client.Status(err) == http.StatusUnauthorized {
		view.Errors = Errors{"": "The address or the password is wrong."}
		return v.Again("sign-in", "Sign in", view)
	}
	if p, ok := Refused(err); ok {
		view.Errors = FieldErrors(p)
		return v.Again("sign-in", "Sign in", view)
	}
	if err != nil {
		return err
	}
	// The session that this browser had before must not stay open unseen.
	if !v.token.IsZero() {
		_ = v.API.SignOut(v.Context())
	}
	setSession(v.W, in.Token)
	return v.Redirect(view.Next)
}

func signOut(v *Visit) error {
	http.SetCookie(v.W, clear(sessionCookie))
	http.SetCookie(v.W, clear(flashCookie))
	// The pages of this visit are not to come back by the browser's own memory.
	v.W.Header().Set("Clear-Site-Data", `"cache"`)
	if !v.token.IsZero() {
		if err := v.API.SignOut(v.Context()); err != nil && client.Status(err) != http.StatusUnauthorized {
			return err
		}
	}
	return v.Done("/sign-in", "You are signed out.")
}

func setAppearance(v *Visit) error {
	form, err := v.Form()
	if err != nil {
		return err
	}
	switch t := form.Get("theme"); t {
	case "light", "dark":
		http.SetCookie(v.W, cookie(themeCookie, t, 365*24*3600*1e9))
	default:
		http.SetCookie(v.W, clear(themeCookie))
	}
	return v.Redirect(v.next(form.Get("back")))
}
