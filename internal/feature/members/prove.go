package members

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/identity"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
)

func (o ops) promises() []feature.Promise {
	clause := func(name string, check func(context.Context, feature.Env) (string, error)) []feature.Clause {
		return []feature.Clause{{Name: name, Tag: feature.Canary, Check: check}}
	}
	return []feature.Promise{
		{ID: "IAM-1", Clauses: clause("password", provePassword)},
		{ID: "IAM-6", Clauses: clause("roles", proveRoles)},
		{ID: "IAM-7", Clauses: clause("keys", proveKeys)},
		{ID: "AUD-2", Clauses: clause("sign_in", proveSignIn)},
	}
}

var errNoCanaries = errors.New("there is not one canary organization and a second member of it for each placement")

// signIn tries an address and a password over HTTP.
func signIn(ctx context.Context, env feature.Env, email string, password seal.Secret) (feature.Answer, error) {
	return env.Call(ctx, "", http.MethodPost, sessionsPath, map[string]string{"email": email, "password": string(password.Reveal())})
}

func token(a feature.Answer) (string, error) {
	var in struct{ Token string }
	if a.Status != http.StatusCreated || json.Unmarshal(a.Body, &in) != nil || in.Token == "" {
		return "", fmt.Errorf("signing in with address and password answers %d", a.Status)
	}
	return in.Token, nil
}

func signOut(ctx context.Context, env feature.Env, token string) (feature.Answer, error) {
	return env.Want(ctx, token, http.MethodDelete, currentPath, nil, http.StatusNoContent, nil)
}

// provePassword signs in, fails to sign in, and looks at how the password is
// stored.
func provePassword(ctx context.Context, env feature.Env) (string, error) {
	if len(env.Canaries) == 0 {
		return "", errNoCanaries
	}
	scheme := ""
	for _, c := range env.Canaries {
		a, err := signIn(ctx, env, c.Email, c.Password)
		if err != nil {
			return "", err
		}
		t, err := token(a)
		if err == nil {
			_, err = signOut(ctx, env, t)
		}
		if err != nil {
			return "", fmt.Errorf("placement %s: %w", c.Placement, err)
		}
		wrong, err := signIn(ctx, env, c.Email, seal.NewSecretString(feature.NewMark().Text))
		if err != nil {
			return "", err
		}
		nobody, err := signIn(ctx, env, feature.NewMark().Text+"@strongroom.invalid", c.Password)
		if err != nil {
			return "", err
		}
		if wrong.Status != http.StatusUnauthorized || nobody.Status != http.StatusUnauthorized || says(wrong) != says(nobody) {
			return "", fmt.Errorf("placement %s: a wrong password and an unknown address are not refused alike", c.Placement)
		}
		if scheme, err = stored(ctx, env, c); err != nil {
			return "", fmt.Errorf("placement %s: %w", c.Placement, err)
		}
	}
	// Whoever comes from another system brings bcrypt hashes along.
	word := []byte(feature.NewMark().Text)
	old, err := bcrypt.GenerateFromPassword(word, bcrypt.MinCost)
	if err != nil {
		return "", err
	}
	passwords := identity.NewPasswords(identity.PasswordOptions{})
	if v, err := passwords.Verify(ctx, string(old), word); err != nil || !v.OK || !v.Rehash {
		return "", errors.Join(errors.New("a bcrypt hash does not verify, or would be kept"), err)
	}
	if v, err := passwords.Verify(ctx, string(old), append(word, 'x')); err != nil || v.OK {
		return "", errors.Join(errors.New("a bcrypt hash verifies with a wrong password"), err)
	}
	return fmt.Sprintf("%d members signed in by address and password; a wrong password and an unknown address are refused alike; hashes are %s, sealed; a bcrypt hash verified, and would be replaced at sign-in", len(env.Canaries), scheme), nil
}

// says is a problem without what differs from request to request.
func says(a feature.Answer) string {
	var p struct{ Title, Code, Detail string }
	_ = json.Unmarshal(a.Body, &p)
	return fmt.Sprint(a.Status, p)
}

const argon2id = "$argon2id$v=19$m=19456,t=2,p=1$"

// stored opens the hash of a canary's password and says by what it was made.
func stored(ctx context.Context, env feature.Env, c feature.CanaryOrg) (scheme string, err error) {
	who := c.Actor.Person()
	_, _, err = platform.Do(ctx, env.Platform, platform.Request{Actor: c.Actor, Org: c.Org, Action: policy.MemberList}, func(ctx context.Context, tx *platform.Tx) (struct{}, error) {
		tx.Touch(who)
		var version int64
		var sealed seal.Sealed
		if err := tx.QueryRow(ctx, platform.Lit(`SELECT version, password FROM platform.person WHERE id = $1`), who.UUID()).Scan(&version, &sealed); err != nil {
			return struct{}{}, err
		}
		if feature.MarkOf(string(c.Password.Reveal())).In(sealed) || feature.MarkOf("argon2id").In(sealed) {
			return struct{}{}, errors.New("a password or its hash is stored in the clear")
		}
		hash, err := seal.OpenOne(ctx, tx.KeysOf(id.Installation), seal.Place{Org: id.Installation, Table: "platform.person", Row: who.UUID(), Version: uint64(version)}, sealed, "password")
		if err != nil {
			return struct{}{}, fmt.Errorf("a stored password hash does not open: %w", err)
		}
		if !strings.HasPrefix(string(hash.Reveal()), argon2id) {
			return struct{}{}, errors.New("a stored password hash is not argon2id with 19 MiB, two passes and one lane")
		}
		scheme = "argon2id (19 MiB, 2 passes, 1 lane)"
		return struct{}{}, nil
	})
	return scheme, err
}

// proveSignIn signs in and out, well and badly, and looks for each attempt in
// the log the moment it is answered.
func proveSignIn(ctx context.Context, env feature.Env) (string, error) {
	if len(env.Canaries) == 0 {
		return "", errNoCanaries
	}
	n := 0
	see := func(from time.Time, a feature.Answer, status int, action policy.Action, outcome audit.Outcome) error {
		events, err := env.Log.Since(ctx, id.Installation, from)
		if err != nil {
			return err
		}
		if a.Status != status {
			return fmt.Errorf("%s is answered %d, not %d", action, a.Status, status)
		}
		found := 0
		for _, e := range events {
			if e.Request == a.Request && e.Action == action && e.Outcome == outcome {
				found++
			}
		}
		if a.Request.IsZero() || found != 1 {
			return fmt.Errorf("the log has %d events of %s, %s, when its answer arrives", found, action, outcome)
		}
		n++
		return nil
	}
	for _, c := range env.Canaries {
		var t string
		for _, step := range []struct {
			status  int
			action  policy.Action
			outcome audit.Outcome
			do      func() (feature.Answer, error)
		}{
			{http.StatusCreated, policy.SessionCreate, audit.Done, func() (a feature.Answer, err error) {
				if a, err = signIn(ctx, env, c.Email, c.Password); err == nil {
					t, err = token(a)
				}
				return a, err
			}},
			{http.StatusOK, policy.SessionRead, audit.Done, func() (feature.Answer, error) { return env.Call(ctx, t, http.MethodGet, currentPath, nil) }},
			{http.StatusNoContent, policy.SessionEnd, audit.Done, func() (feature.Answer, error) { return env.Call(ctx, t, http.MethodDelete, currentPath, nil) }},
			{http.StatusUnauthorized, policy.SessionRead, audit.Denied, func() (feature.Answer, error) { return env.Call(ctx, t, http.MethodGet, currentPath, nil) }},
			{http.StatusUnauthorized, policy.SessionCreate, audit.Denied, func() (feature.Answer, error) {
				return signIn(ctx, env, c.Email, seal.NewSecretString(feature.NewMark().Text))
			}},
			{http.StatusUnauthorized, policy.SessionCreate, audit.Denied, func() (feature.Answer, error) {
				return signIn(ctx, env, feature.NewMark().Text+"@strongroom.invalid", c.Password)
			}},
		} {
			from := time.Now().Add(-time.Millisecond)
			a, err := step.do()
			if err == nil {
				err = see(from, a, step.status, step.action, step.outcome)
			}
			if err != nil {
				return "", fmt.Errorf("placement %s: %w", c.Placement, err)
			}
		}
	}
	return fmt.Sprintf("%d attempts (sign-in, wrong password, unknown address, use of the session, sign-out, use of an ended session): each had its event, with its outcome, durable in the installation's log when its answer arrived", n), nil
}

// deed is something that a role may or may not do. status is the answer to
// whoever may; 403 is everybody else's.
type deed struct {
	what, method, path string
	body               any
	status             int
	may                []policy.Role
}

// deeds are one or more of each kind that the promise names. A body that the
// operation refuses for its form (422) shows that the role was not in the way,
// and changes nothing.
func deeds(p feature.Planted) []deed {
	viewers := []policy.Role{policy.Scientist, policy.Analyst}
	admin := []policy.Role{policy.OrgAdmin}
	records := p.In.Path("/collections/", p.Kind, "/records")
	none := map[string]any{}
	return []deed{
		{"see the organization's name", "GET", p.In.Path(), nil, 200, []policy.Role{policy.Scientist, policy.Analyst, policy.OrgAdmin, policy.SecurityAdmin, policy.BillingAdmin}},
		{"view a record", "GET", p.Path(""), nil, 200, viewers},
		{"list records", "GET", records, nil, 200, viewers},
		{"view a history", "GET", p.Path("/history"), nil, 200, viewers},
		{"list files", "GET", p.In.Path("/files"), nil, 200, viewers},
		{"store a record", "POST", records, none, 422, []policy.Role{policy.Scientist}},
		{"change a record", "PUT", p.Path(""), none, 422, []policy.Role{policy.Scientist}},
		{"export", "POST", p.In.Path("/export"), map[string]any{"scope": "record", "collection": p.Kind, "record": p.ID.String()}, 200, []policy.Role{policy.Analyst}},
		{"list members", "GET", p.In.Path("/members"), nil, 200, []policy.Role{policy.OrgAdmin, policy.SecurityAdmin}},
		{"add a member", "POST", p.In.Path("/members"), none, 422, admin},
		{"make a key", "POST", p.In.Path("/keys"), none, 422, admin},
		{"declare a collection", "POST", p.In.Path("/collections"), none, 422, admin},
		{"read the log", "GET", p.In.Path("/audit?limit=1"), nil, 200, []policy.Role{policy.SecurityAdmin}},
		{"make an organization", "POST", orgsPath, none, 422, nil},
	}
}

// proveRoles gives the second member one role after the other and tries with
// each what the promise names. It ends with all her roles back.
func proveRoles(ctx context.Context, env feature.Env) (evidence string, err error) {
	if len(env.Peers) != len(env.Canaries) || len(env.Canaries) == 0 {
		return "", errNoCanaries
	}
	tried := 0
	_, err = env.Plant(ctx, "organization", env.Canaries, func(all []feature.Planted) (string, error) {
		for i, p := range all {
			n, err := rolesIn(ctx, env, p, env.Peers[i])
			if err != nil {
				return "", fmt.Errorf("placement %s: %w", p.In.Placement, err)
			}
			tried += n
			// SystemAdmin belongs to no organization, and reads none.
			for _, a := range []policy.Action{policy.RecordRead, policy.FileDownload, policy.ExportRun, policy.TrailRead, policy.MemberList} {
				_, _, err := tenant.Do(ctx, env.Store, tenant.Request{Actor: env.Operator, Org: p.In.Org, Action: a}, func(context.Context, *tenant.Tx) (struct{}, error) { return struct{}{}, nil })
				if !fault.Is(err, fault.NotFound) {
					return "", fmt.Errorf("placement %s: the role system_admin is let in for %s", p.In.Placement, a)
				}
				tried++
			}
		}
		return "", nil
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("six roles, %d attempts: each of the five of an organization did what the promise says of it and was refused the rest (403); system_admin was let into no organization. Usage, billing and quotas are not built, so billing_admin may see the organization's name alone", tried), nil
}

func rolesIn(ctx context.Context, env feature.Env, p feature.Planted, peer feature.CanaryOrg) (tried int, err error) {
	give := func(ctx context.Context, roles []policy.Role) error {
		_, err := env.Want(ctx, p.In.Token, http.MethodPatch, p.In.Path("/members/", peer.Actor.Person().String()), map[string]any{"roles": roles}, http.StatusOK, nil)
		return err
	}
	all := slices.DeleteFunc(slices.Clone(policy.Roles), func(r policy.Role) bool { return !policy.IsOrgRole(r) })
	defer func() { err = errors.Join(err, give(context.WithoutCancel(ctx), all)) }()
	for _, role := range all {
		if err := give(ctx, []policy.Role{role}); err != nil {
			return tried, err
		}
		for _, d := range deeds(p) {
			var head []string
			if d.method == http.MethodPut {
				head = []string{"If-Match", `"1"`}
			}
			a, err := env.Call(ctx, peer.Token, d.method, d.path, d.body, head...)
			if err != nil {
				return tried, err
			}
			want := http.StatusForbidden
			if slices.Contains(d.may, role) {
				want = d.status
			}
			if a.Status != want {
				return tried, fmt.Errorf("the role %s is answered %d, not %d, when it tries to %s", role, a.Status, want, d.what)
			}
			tried++
		}
	}
	return tried, nil
}

// proveKeys makes a key, uses it within and beyond its scope, looks at what is
// stored of it, and takes it away.
func proveKeys(ctx context.Context, env feature.Env) (string, error) {
	if len(env.Canaries) == 0 {
		return "", errNoCanaries
	}
	return env.Plant(ctx, "organization", env.Canaries, func(all []feature.Planted) (string, error) {
		for _, p := range all {
			if err := keyOf(ctx, env, p); err != nil {
				return "", fmt.Errorf("placement %s: %w", p.In.Placement, err)
			}
		}
		return fmt.Sprintf("%d keys made: each did what its scope names and was refused the rest of its role, has an end, was shown once, and is stored as a keyed hash alone; a revoked one opened nothing", len(all)), nil
	})
}

func keyOf(ctx context.Context, env feature.Env, p feature.Planted) (err error) {
	var made struct {
		ID        id.Key
		Token     string
		ExpiresAt *time.Time `json:"expires_at"`
	}
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	if _, err := env.Want(ctx, p.In.Token, http.MethodPost, p.In.Path("/keys"), map[string]any{"name": "canary", "roles": []policy.Role{policy.Scientist},
		"scopes": []policy.Action{policy.RecordRead}, "expires_at": until}, http.StatusCreated, &made); err != nil {
		return err
	}
	revoked := false
	defer func() {
		if !revoked {
			_, rerr := env.Want(context.WithoutCancel(ctx), p.In.Token, http.MethodDelete, p.In.Path("/keys/", made.ID.String()), nil, http.StatusNoContent, nil)
			err = errors.Join(err, rerr)
		}
	}()
	if made.ExpiresAt == nil || !made.ExpiresAt.Equal(until) {
		return errors.New("a key does not end when it was asked to")
	}
	if _, err := env.Want(ctx, made.Token, http.MethodGet, p.Path(""), nil, http.StatusOK, nil); err != nil {
		return err
	}
	// The role would allow these; the scope does not.
	for _, path := range []string{p.In.Path("/collections/", p.Kind, "/records"), p.Path("/history"), p.In.Path("/files")} {
		if _, err := env.Want(ctx, made.Token, http.MethodGet, path, nil, http.StatusForbidden, nil); err != nil {
			return fmt.Errorf("beyond its scope: %w", err)
		}
	}
	secret := feature.MarkOf(made.Token[strings.LastIndexByte(made.Token, '_')+1:])
	list, err := env.Want(ctx, p.In.Token, http.MethodGet, p.In.Path("/keys?limit=200"), nil, http.StatusOK, nil)
	if err != nil {
		return err
	}
	if secret.In(list.Body) {
		return errors.New("a key is shown a second time")
	}
	_, _, err = platform.Do(ctx, env.Platform, platform.Request{Actor: p.In.Actor, Org: p.In.Org, Action: policy.KeyList}, func(ctx context.Context, tx *platform.Tx) (struct{}, error) {
		tx.Touch(made.ID)
		var row string
		var hash, plain []byte
		err := tx.QueryRow(ctx, platform.Lit(`SELECT k::text, k.secret_hash, sha256(convert_to($3, 'UTF8')) FROM platform.api_key k WHERE k.org_id = $1 AND k.id = $2`),
			p.In.Org.UUID(), made.ID.UUID(), made.Token).Scan(&row, &hash, &plain)
		switch {
		case err != nil:
		case secret.In([]byte(row)):
			err = errors.New("a key is stored in the clear")
		case len(hash) != 32 || slices.Equal(hash, plain):
			err = errors.New("a key is not stored as a keyed hash")
		}
		return struct{}{}, err
	})
	if err != nil {
		return err
	}
	if _, err := env.Want(ctx, p.In.Token, http.MethodDelete, p.In.Path("/keys/", made.ID.String()), nil, http.StatusNoContent, nil); err != nil {
		return err
	}
	revoked = true
	_, err = env.Want(ctx, made.Token, http.MethodGet, p.Path(""), nil, http.StatusUnauthorized, nil)
	return err
}
