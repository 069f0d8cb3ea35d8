package console

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"strongroom/client"
)

// statusError is a refusal of the console's own.
type statusError int

func (e statusError) Error() string { return "console: " + http.StatusText(int(e)) }

// Refused returns what the API has against a request, where a form can say it
// beside its fields: what is malformed, invalid, in conflict or not this
// person's to do. For every other failure ok is false, and the page returns
// the error as it is.
func Refused(err error) (p *client.Problem, ok bool) {
	if !errors.As(err, &p) {
		return nil, false
	}
	switch p.Status {
	case http.StatusBadRequest, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusPreconditionFailed, http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return p, true
	case http.StatusForbidden:
		return p, len(p.Errors) > 0 // at a field; without one it is about the page
	}
	return nil, false
}

// Errors are what is wrong with a form: by field, as JSON pointers name them
// without the first slash ("name", "owner/email"), and under "" what is wrong
// with the whole.
type Errors map[string]string

// FieldErrors turns a refusal into the words beside the fields.
func FieldErrors(p *client.Problem) Errors {
	e := Errors{}
	for _, f := range p.Errors {
		at := strings.TrimPrefix(strings.TrimPrefix(f.Pointer, "/body"), "/")
		if e[at] == "" {
			e[at] = sentence(f.Detail)
		}
	}
	if len(e) == 0 {
		e[""] = sentence(p.Detail)
	}
	return e
}

// sentence makes a remark of the API one: a capital and a full stop.
func sentence(s string) string {
	if s == "" {
		return "This cannot be done."
	}
	if s[0] >= 'a' && s[0] <= 'z' {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	if !strings.ContainsAny(s[len(s)-1:], ".!?") {
		s += "."
	}
	return s
}

// problemView is what an error page says.
type problemView struct {
	Status  int
	Heading string
	Words   string
	Request string // names the request in the log
	Back    string // where to go from here
	BackTo  string // in words
}

func (v *Visit) fail(err error) {
	if v.Context().Err() != nil && !errors.As(err, new(*client.Problem)) {
		return // the browser has left
	}
	var p *client.Problem
	view := problemView{Status: http.StatusInternalServerError}
	var own statusError
	switch {
	case errors.As(err, &p):
		if p.Status == http.StatusUnauthorized && v.page.Access != Anyone {
			_ = v.toSignIn()
			return
		}
		view.Status, view.Request = p.Status, p.RequestID
	case errors.As(err, &own):
		view.Status = int(own)
	case errors.Is(err, context.DeadlineExceeded):
		view.Status = http.StatusServiceUnavailable
	default:
		// Its text may hold what somebody sent; which page it was says enough.
		v.c.o.Log.Error("page failed", "route", v.page.Pattern)
	}
	if out, ok := v.W.(*writer); ok && out.status != 0 {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
	view.Heading, view.Words = headings(view.Status)
	if p != nil && p.Status < 500 && p.Detail != "" && p.Status != http.StatusNotFound {
		view.Words = sentence(p.Detail)
	}
	view.Back, view.BackTo = "/", "To the start"
	if v.Org.ID != "" {
		view.Back, view.BackTo = v.OrgPath(), "To "+v.Org.Name
	}
	_ = v.render(view.Status, "problem", view.Heading, view)
}

func headings(status int) (heading, words string) {
	switch status {
	case http.StatusNotFound:
		return "There is nothing here", "It may have been moved to the trash, or it is not for you to see."
	case http.StatusForbidden:
		return "Your role does not allow this", "Ask whoever looks after the people of your organization."
	case http.StatusUnauthorized:
		return "Sign in first", "This page is for people who are signed in."
	case http.StatusMethodNotAllowed:
		return "This page does not do that", "Go back, load the page again and try once more."
	case http.StatusConflict, http.StatusPreconditionFailed:
		return "Somebody was faster", "It was changed while you looked at it. Load the page again and repeat your change."
	case http.StatusRequestEntityTooLarge:
		return "This is too large", "What was sent is larger than this page takes."
	case http.StatusTooManyRequests:
		return "Too much at once", "Wait a moment and try again."
	case http.StatusServiceUnavailable:
		return "Not available right now", "Try again in a moment. Nothing was changed."
	}
	if status < 500 {
		return "This cannot be done", "What was sent is not what this page expects. Go back, load the page again and try once more."
	}
	return "Something went wrong", "It is not your doing. If it happens again, tell whoever runs this installation."
}

// plainError answers where there is no visit: a path that names nothing, a
// request from another site.
func (c *Console) plainError(w http.ResponseWriter, r *http.Request, status int) {
	v := c.visit(w, r, Page{Access: Anyone, Pattern: "none"})
	defer v.end()
	view := problemView{Status: status, Back: "/", BackTo: "To the start"}
	view.Heading, view.Words = headings(status)
	if status == http.StatusForbidden {
		view.Heading, view.Words = "This request came from another site", "Changes are made on the pages of this console alone. Open the page here and try again."
	}
	_ = v.render(status, "problem", view.Heading, view)
}
