package console

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"strongroom/client"
)

// The console's cookies. Their prefix has browsers take them only over TLS,
// from this host alone and for every path (RFC 6265bis, 4.1.3.2), so that no
// neighbouring host can plant one.
const (
	sessionCookie = "__Host-strongroom"
	flashCookie   = "__Host-strongroom-said"
	themeCookie   = "__Host-strongroom-theme"
)

// cookie makes a cookie of the console. SameSite is Lax and not Strict: under
// Strict a link to a record, in a mail or a chat, would show the sign-in to
// somebody who is signed in. What Lax leaves to other sites is asking for
// whole pages, which change nothing; everything else is refused by guard.
func cookie(name, value string, life time.Duration) *http.Cookie {
	return &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: int(life.Seconds()), Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

// clear makes browsers forget a cookie.
func clear(name string) *http.Cookie {
	c := cookie(name, "", 0)
	c.MaxAge = -1
	return c
}

// sessionToken reads the token of the session. What else is wrong with it, the
// API says.
func sessionToken(r *http.Request) client.Secret {
	var found client.Secret
	for _, c := range r.CookiesNamed(sessionCookie) {
		if !found.IsZero() {
			return client.Secret{} // two: one of them is not ours
		}
		if len(c.Value) < 512 && strings.HasPrefix(c.Value, "sr_ses_") {
			found = client.NewSecret(c.Value)
		}
	}
	return found
}

// setSession hands the token to the browser until it closes: how long the
// session lives is the API's to say.
func setSession(w http.ResponseWriter, token client.Secret) {
	http.SetCookie(w, cookie(sessionCookie, token.Reveal(), 0))
}

const maxFlash = 400 // bytes of a sentence

// setFlash keeps a sentence for the next page, in the browser: the server has
// no memory of it.
func setFlash(w http.ResponseWriter, sentence string) {
	if len(sentence) > maxFlash {
		sentence = strings.ToValidUTF8(sentence[:maxFlash], "") + "…"
	}
	http.SetCookie(w, cookie(flashCookie, url.QueryEscape(sentence), time.Minute))
}

// takeFlash returns the sentence of the change before, once.
func (v *Visit) takeFlash() string {
	c, err := v.R.Cookie(flashCookie)
	if err != nil || v.flashed {
		return ""
	}
	v.flashed = true
	http.SetCookie(v.W, clear(flashCookie))
	s, err := url.QueryUnescape(c.Value)
	if err != nil || len(s) > 2*maxFlash {
		return ""
	}
	return s
}

// theme returns light, dark, or "" for what the system says.
func theme(r *http.Request) string {
	if c, err := r.Cookie(themeCookie); err == nil && (c.Value == "light" || c.Value == "dark") {
		return c.Value
	}
	return ""
}

// toSignIn sends the browser to the sign-in, which leads back here.
func (v *Visit) toSignIn() error {
	http.SetCookie(v.W, clear(sessionCookie))
	to := "/sign-in"
	if v.R.Method == http.MethodGet && v.R.URL.Path != "/" {
		to += "?" + url.Values{"next": {v.R.URL.RequestURI()}}.Encode()
	}
	if err := v.Redirect(to); err != nil {
		return err
	}
	return errAnswered
}
