package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"strongroom/client"
)

// Visit is one request for a page: who asks, where, and the API as that person
// may use it.
type Visit struct {
	W   http.ResponseWriter
	R   *http.Request
	API *client.Client      // calls as whoever is signed in, else as nobody
	Me  client.SignedIn     // zero on pages for everybody
	Org client.Organization // of the path, with the caller's roles; zero outside of {org}

	c       *Console
	page    Page
	cancel  context.CancelFunc
	inside  *inside
	token   client.Secret
	names   map[string]string // of people, by id
	shelved *shelf            // the collections, once somebody asked
	flashed bool
}

// errAnswered says that the answer is given already, and nothing went wrong.
var errAnswered = errors.New("console: answered")

func (c *Console) visit(w http.ResponseWriter, r *http.Request, p Page) *Visit {
	ctx, cancel := context.WithCancel(r.Context())
	r = r.WithContext(ctx)
	r.Body = &pacedBody{ReadCloser: r.Body, deadline: http.NewResponseController(w), start: time.Now()}
	v := &Visit{W: w, R: r, c: c, page: p, cancel: cancel, inside: &inside{api: c.o.API, remote: r.RemoteAddr}, token: sessionToken(r)}
	v.API = client.Over(v.inside, client.Options{Token: v.token, UserAgent: agent(r), Attempts: 1})
	return v
}

// agent is the browser's name as the record has it. An empty one stays so: the
// client's own would be untrue.
func agent(r *http.Request) string {
	if a := r.UserAgent(); a != "" {
		return a
	}
	return "unknown"
}

// end waits for what the page asked of the API.
func (v *Visit) end() {
	v.cancel()
	v.inside.calls.Wait()
}

// enter finds out who asks, and in which organization.
func (v *Visit) enter() error {
	if v.page.Access == Anyone {
		return nil
	}
	if v.token.IsZero() {
		return v.toSignIn()
	}
	var err error
	if v.Me, err = v.API.WhoAmI(v.Context()); err != nil {
		return err
	}
	if v.page.Access != InOrg {
		return nil
	}
	org := v.R.PathValue("org")
	at := slices.IndexFunc(v.Me.Organizations, func(o client.Organization) bool { return o.ID == org })
	if at >= 0 {
		v.Org = v.Me.Organizations[at]
		return nil
	}
	// Somebody in more organizations than the sign-in names, or in none of
	// this name: the API says which, on the record.
	v.Org, err = v.API.Organization(v.Context(), org)
	return err
}

// Context is the page's: it ends when the browser leaves.
func (v *Visit) Context() context.Context { return v.R.Context() }

// Param returns a wildcard of the page's pattern.
func (v *Visit) Param(name string) string { return v.R.PathValue(name) }

// Query returns a parameter of the URL; of a repeated one the first.
func (v *Visit) Query(name string) string { return v.R.URL.Query().Get(name) }

// OrgPath joins segments, each escaped, to the path of the organization:
// v.OrgPath("c", kind) is /o/org_…/c/kind.
func (v *Visit) OrgPath(segments ...string) string { return orgPath(v.Org.ID, segments...) }

func orgPath(org string, segments ...string) string {
	var b strings.Builder
	b.WriteString("/o/" + url.PathEscape(org))
	for _, s := range segments {
		b.WriteString("/" + url.PathEscape(s))
	}
	return b.String()
}

// Holds reports whether the caller holds one of the roles in the organization.
// It decides what a page offers, never what is allowed: that is the API's.
func (v *Visit) Holds(roles ...client.Role) bool {
	return slices.ContainsFunc(v.Org.Roles, func(r client.Role) bool { return slices.Contains(roles, r) })
}

// IsSystemAdmin reports whether the caller runs the installation.
func (v *Visit) IsSystemAdmin() bool { return slices.Contains(v.Me.Roles, client.SystemAdmin) }

// IsPartial reports whether htmx asks, for a part of a page.
func (v *Visit) IsPartial() bool {
	return v.R.Header.Get("HX-Request") == "true" && v.R.Header.Get("HX-History-Restore-Request") != "true"
}

// Form reads the fields of a form that was posted, of at most 1 MiB. It is for
// forms without files: one with a file is read as it streams, by MultipartReader.
func (v *Visit) Form() (url.Values, error) {
	media, _, err := mime.ParseMediaType(v.R.Header.Get("Content-Type"))
	if err != nil || media != "application/x-www-form-urlencoded" {
		return nil, statusError(http.StatusUnsupportedMediaType)
	}
	b, err := io.ReadAll(http.MaxBytesReader(v.W, v.R.Body, maxForm))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, statusError(http.StatusRequestEntityTooLarge)
	case err != nil:
		return nil, statusError(http.StatusBadRequest)
	}
	form, err := url.ParseQuery(string(b))
	if err != nil {
		return nil, statusError(http.StatusBadRequest)
	}
	for _, values := range form {
		for i, s := range values {
			if !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
				return nil, statusError(http.StatusBadRequest)
			}
			// Browsers end lines as HTTP does (HTML, 4.10.22.4), whatever was typed.
			values[i] = strings.ReplaceAll(s, "\r\n", "\n")
		}
	}
	return form, nil
}

// Redirect sends the browser to a path of the console.
func (v *Visit) Redirect(path string) error {
	if !isLocal(path) {
		return fmt.Errorf("console: %q is no path of the console", path)
	}
	if v.IsPartial() {
		v.W.Header().Set("HX-Redirect", path)
		v.W.WriteHeader(http.StatusNoContent)
		return nil
	}
	v.W.Header().Set("Location", path)
	v.W.WriteHeader(http.StatusSeeOther)
	return nil
}

// Done ends a change: it sends the browser to a path and shows a sentence
// there.
func (v *Visit) Done(path, sentence string) error {
	setFlash(v.W, sentence)
	return v.Redirect(path)
}

// isLocal reports whether path leads to a page of this console and nowhere
// else: one slash, no backslash (which browsers take for one), no control
// characters (which they drop).
func isLocal(path string) bool {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsFunc(path, func(r rune) bool { return r < 0x21 || r == 0x7f || r == '\\' }) {
		return false
	}
	u, err := url.Parse(path)
	return err == nil && u.Scheme == "" && u.Host == "" && u.Opaque == "" && plainPath(u.Path)
}

// Name returns the name of a person of the organization, for the places where
// the API gives an identifier: "you" and "somebody who has left" are names too.
func (v *Visit) Name(person string) string {
	if person == "" {
		return ""
	}
	if !strings.HasPrefix(person, "per_") {
		return actorWords(person)
	}
	if v.names == nil {
		v.names = map[string]string{v.Me.Person.ID: v.Me.Person.Name}
		if v.Org.ID != "" {
			for p, err := range v.API.People(v.Context(), v.Org.ID) {
				if err != nil {
					break // a page without names is better than none
				}
				v.names[p.ID] = p.Name
			}
		}
	}
	if n := v.names[person]; n != "" {
		return n
	}
	return "somebody who has left"
}

// actorWords names who is no person.
func actorWords(id string) string {
	switch {
	case strings.HasPrefix(id, "key_"):
		return "an API key"
	case strings.HasPrefix(id, "job_"):
		return "a job of the installation"
	case strings.HasPrefix(id, "srv_"):
		return "the installation"
	}
	return "the installation"
}
