package trust

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	proofs "strongroom/internal/feature/trust"
	"strongroom/internal/feature/trust/signed"
	"strongroom/internal/store/platform"
)

// Promises offers the checks of what the page itself promises. Each comes in
// through the server's own port, as somebody without an account.
func Promises() []feature.Promise {
	return []feature.Promise{
		{ID: "CMP-1", Clauses: []feature.Clause{{Name: "page", Tag: feature.Passive, Check: provePage}, {Name: "signed", Tag: feature.Passive, Check: proveSigned}}},
		{ID: "INC-4", Clauses: []feature.Clause{{Name: "security_txt", Tag: feature.Passive, Check: proveSecurity}}},
	}
}

// fetch reads the signed document and the key.
func fetch(ctx context.Context, env feature.Env) (d Document, document, key []byte, err error) {
	a, err := env.Want(ctx, "", http.MethodGet, jsonPath, nil, http.StatusOK, nil)
	if err != nil {
		return d, nil, nil, err
	}
	k, err := env.Want(ctx, "", http.MethodGet, keyPath, nil, http.StatusOK, nil)
	if err != nil {
		return d, nil, nil, err
	}
	payload, err := signed.Verify(a.Body, k.Body)
	if err != nil {
		return d, nil, nil, fmt.Errorf("the signed document: %w", err)
	}
	if err := json.Unmarshal(payload, &d); err != nil || d.Kind != Kind {
		return d, nil, nil, errors.New("the signed document is not the one of the trust page")
	}
	return d, a.Body, k.Body, nil
}

// shown is a stored proof as this check reads it, past the page's own code.
type shown struct {
	kept bool
	at   time.Time
}

// provePage holds the page to the stored proofs: nothing counts as kept that
// has no proof that is stored, recent and good, and the page says of each
// promise what the signed document says.
func provePage(ctx context.Context, env feature.Env) (string, error) {
	d, _, _, err := fetch(ctx, env)
	if err != nil {
		return "", err
	}
	rows, _, err := platform.Do(ctx, env.Platform, platform.Request{Actor: env.Operator, Action: policy.ProofRead}, func(ctx context.Context, tx *platform.Tx) (map[string]shown, error) {
		rows, err := tx.Query(ctx, platform.Lit(`SELECT clause, state = 'kept', checked_at FROM platform.proof`))
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		out := map[string]shown{}
		for rows.Next() {
			var clause string
			var s shown
			if err := rows.Scan(&clause, &s.kept, &s.at); err != nil {
				return nil, err
			}
			out[clause] = s
		}
		return out, rows.Err()
	})
	if err != nil {
		return "", err
	}
	a, err := env.Want(ctx, "", http.MethodGet, pagePath, nil, http.StatusOK, nil)
	if err != nil {
		return "", err
	}
	if err := harmless(a); err != nil {
		return "", err
	}
	texts := proofs.Texts()
	promises, clauses := 0, 0
	for _, g := range d.Groups {
		for _, p := range g.Promises {
			if strings.TrimPrefix(texts[p.ID], "+ ") != p.Text {
				return "", fmt.Errorf("the page words %s in another way than the list", p.ID)
			}
			delete(texts, p.ID)
			promises++
			clauses += len(p.Clauses)
			if err := covered(d.AsOf, p, rows); err != nil {
				return "", err
			}
			if !bytes.Contains(a.Body, fmt.Appendf(nil, `<li class="promise is-%s" id="%s">`, p.State, strings.ToLower(p.ID))) ||
				!bytes.Contains(a.Body, fmt.Appendf(nil, `href="#%s">%s</a>`+"\n"+`<span class="badge %s">`, strings.ToLower(p.ID), p.ID, p.State)) {
				return "", fmt.Errorf("the page shows %s in another state than the signed document", p.ID)
			}
		}
	}
	if len(texts) > 0 {
		return "", fmt.Errorf("the page leaves out %d promises", len(texts))
	}
	return fmt.Sprintf("%d promises, %d clauses: each that counts as kept has a stored proof, good and recent enough; page and signed document say the same of each promise; no cookie, no script, nothing from elsewhere", promises, clauses), nil
}

// covered holds what is said of a promise to what is stored.
func covered(asOf time.Time, p Promise, rows map[string]shown) error {
	all := len(p.Clauses) > 0
	for _, c := range p.Clauses {
		row, ok := rows[p.ID+"/"+c.Name]
		all = all && c.State == proofs.StandsKept
		if c.State != proofs.StandsKept || ok && row.at.After(asOf) { // a younger proof came while the page was read
			continue
		}
		if !ok || !row.kept || c.Period == 0 || asOf.Sub(row.at) > 2*time.Duration(c.Period)*time.Second+time.Minute {
			return fmt.Errorf("the page shows %s/%s as kept, and no stored proof shows it", p.ID, c.Name)
		}
	}
	if (p.State == proofs.StandsKept) != all {
		return fmt.Errorf("the page shows %s as %s, and its clauses say something else", p.ID, p.State)
	}
	return nil
}

// harmless says what is wrong with a page for people without an account.
func harmless(a feature.Answer) error {
	body := bytes.ToLower(a.Body)
	switch {
	case a.Header.Get("Set-Cookie") != "":
		return errors.New("the page sets a cookie")
	case !strings.HasPrefix(a.Header.Get("Content-Security-Policy"), "default-src 'none'; style-src 'self';"):
		return errors.New("the page has no strict content security policy")
	case bytes.Contains(body, []byte("<script")) || bytes.Contains(body, []byte("javascript:")):
		return errors.New("the page has a script")
	}
	return nil
}

// proveSigned verifies the document as somebody who was handed it would, and a
// changed one beside it.
func proveSigned(ctx context.Context, env feature.Env) (string, error) {
	_, document, key, err := fetch(ctx, env)
	if err != nil {
		return "", err
	}
	_, kid, err := signed.ParseKey(key)
	if err != nil {
		return "", err
	}
	if bytes.Contains(key, []byte(`"d"`)) || env.Leaks != nil && (env.Leaks(key) != "" || env.Leaks(document) != "") {
		return "", errors.New("the key that is handed out holds the private one")
	}
	changed, tried := 0, 0
	for at := 0; at < len(document); at += 1 + len(document)/64 {
		copied := bytes.Clone(document)
		copied[at] ^= 1
		tried++
		if _, err := signed.Verify(copied, key); err != nil {
			changed++
		}
	}
	if changed != tried {
		return "", fmt.Errorf("%d of %d changed documents verify", tried-changed, tried)
	}
	return fmt.Sprintf("the document (%d KB) verifies with the key %s, without the server (JWS, Ed25519); %d copies with one changed bit each do not", len(document)>>10, kid, changed), nil
}

// proveSecurity reads security.txt as RFC 9116 says.
func proveSecurity(ctx context.Context, env feature.Env) (string, error) {
	a, err := env.Want(ctx, "", http.MethodGet, securityPath, nil, http.StatusOK, nil)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(a.Header.Get("Content-Type"), "text/plain") {
		return "", errors.New("security.txt is not text/plain")
	}
	fields := map[string][]string{}
	for line := range strings.Lines(string(a.Body)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			return "", errors.New("a line of security.txt is no field")
		}
		fields[name] = append(fields[name], value)
	}
	for _, c := range fields["Contact"] {
		if u, err := url.Parse(c); err != nil || !slices.Contains([]string{"https", "mailto", "tel"}, u.Scheme) {
			return "", errors.New("a contact in security.txt is no URI of https, mailto or tel")
		}
	}
	if len(fields["Contact"]) == 0 {
		return "", errors.New("security.txt names no contact")
	}
	if len(fields["Expires"]) != 1 {
		return "", errors.New("security.txt does not say once when it expires")
	}
	expires, err := time.Parse(time.RFC3339, fields["Expires"][0])
	left := time.Until(expires)
	switch {
	case err != nil:
		return "", errors.New("security.txt expires at something that is no time")
	case left < 24*time.Hour:
		return "", errors.New("security.txt has expired, or does within a day")
	case left > 366*24*time.Hour:
		return "", errors.New("security.txt expires in more than a year")
	}
	form, err := env.Want(ctx, "", http.MethodGet, reportPath, nil, http.StatusOK, nil)
	if err != nil {
		return "", err
	}
	if err := harmless(form); err != nil {
		return "", err
	}
	return fmt.Sprintf("security.txt (RFC 9116) names %d contacts and expires in %d days; the form to report is there", len(fields["Contact"]), int(left/(24*time.Hour))), nil
}
