package checks

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
)

// unzipped is the content of a ZIP, one entry behind the other; nil of
// anything else.
func unzipped(body []byte) []byte {
	z, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return nil
	}
	var out bytes.Buffer
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			return nil
		}
		_, err = io.Copy(&out, io.LimitReader(r, 64<<20))
		if cerr := r.Close(); err != nil || cerr != nil {
			return nil
		}
	}
	return out.Bytes()
}

// operation is one line of the API's own description.
type operation struct {
	method, path string
	open         bool // to everybody
}

func described(ctx context.Context, env feature.Env) (all []operation, err error) {
	var doc struct {
		Paths map[string]map[string]struct{ Security []any }
	}
	if _, err := env.Want(ctx, "", http.MethodGet, "/openapi.json", nil, http.StatusOK, &doc); err != nil {
		return nil, err
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			all = append(all, operation{strings.ToUpper(method), path, len(op.Security) == 0})
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return all, nil
}

// aboutTheCaller lists the operations that name no organization. They are
// about the caller's own session, or make or list organizations; another one
// is a decision, and this check has to learn of it.
var aboutTheCaller = []string{
	"POST /v1/sessions", "GET /v1/sessions/current", "DELETE /v1/sessions/current", "PUT /v1/sessions/current/password", "POST /v1/sessions/current/join-code",
	"GET /v1/orgs", "POST /v1/orgs", "GET /v1/status", "POST /v1/sandboxes", "GET /v1/sandboxes", "DELETE /v1/sandboxes/{org}", "GET /v1/setup", "POST /v1/setup", "GET /v1/roles",
	"POST /v1/reports", "GET /v1/reports", "GET /v1/reports/{report}", "PUT /v1/reports/{report}", "GET /v1/plans", "GET /v1/plans/{plan}", "PUT /v1/plans/{plan}",
}

var wildcard = regexp.MustCompile(`\{[a-z_]+\}`)

// interfaces calls every operation of the API's own description as somebody
// who belongs to another organization.
func interfaces(ctx context.Context, env feature.Env) (string, error) {
	if err := whole(env); err != nil {
		return "", err
	}
	ops, err := described(ctx, env)
	if err != nil {
		return "", err
	}
	return env.Plant(ctx, "organization", env.Strange, func(theirs []feature.Planted) (string, error) {
		calls, refused := 0, 0
		for i, me := range env.Canaries {
			for j, p := range theirs {
				names := strings.NewReplacer("{org}", p.In.Org.String(), "{kind}", p.Kind, "{id}", p.ID.String(), "{person}", p.In.Actor.ID())
				for _, op := range ops {
					inOrg := strings.Contains(op.path, "{org}")
					if !inOrg && !slices.Contains(aboutTheCaller, op.method+" "+op.path) {
						return "", fmt.Errorf("%s %s belongs to no organization, and nobody has said why", op.method, op.path)
					}
					// Nothing of the caller's own is to change, and what changes
					// needs to be tried in one direction only.
					if !inOrg && op.method != http.MethodGet || i != j && op.method != http.MethodGet {
						continue
					}
					a, err := env.Call(ctx, me.Token, op.method, wildcard.ReplaceAllString(names.Replace(op.path), "none"), nil)
					switch {
					case err != nil:
						return "", err
					case inOrg && a.Status != http.StatusNotFound:
						return "", fmt.Errorf("%s %s answers %d to a member of another organization", op.method, op.path, a.Status)
					case shows(a.Body, p) || strings.Contains(string(a.Body), p.In.Org.String()) || strings.Contains(string(a.Body), p.In.Name):
						return "", fmt.Errorf("%s %s shows another organization", op.method, op.path)
					}
					calls++
					if inOrg {
						refused++
					}
				}
			}
			a, err := env.Call(ctx, me.Token, http.MethodPost, "/v1/orgs", map[string]any{"name": "x", "owner": map[string]any{"email": "x@strongroom.invalid", "name": "x"}})
			if err != nil || a.Status != http.StatusForbidden {
				return "", errors.Join(err, fmt.Errorf("a member may make organizations: %d", a.Status))
			}
		}
		if refused == 0 {
			return "", errors.New("the description has no operations of organizations")
		}
		return fmt.Sprintf("%d operations described; called on another organization by a member who holds every role in hers: %d calls, all %d that name an organization answered 404, none showed anything of it", len(ops), calls, refused), nil
	})
}

// queries lists and asks in one organization, and looks for what others have.
func queries(ctx context.Context, env feature.Env) (string, error) {
	if err := whole(env); err != nil {
		return "", err
	}
	return env.Plant(ctx, "organization", env.Everybody(), func(all []feature.Planted) (string, error) {
		asked := 0
		for _, mine := range all {
			for _, path := range []string{"/collections?limit=200", "/collections/" + mine.Kind, "/collections/" + mine.Kind + "/records?limit=200", "/files?limit=200", "/members?limit=200", "/keys?limit=200", "/audit?limit=200", ""} {
				a, err := env.Want(ctx, mine.In.Token, http.MethodGet, mine.In.Path(path), nil, http.StatusOK, nil)
				if err != nil {
					return "", at(mine.In, err)
				}
				if err := showsNoOther(a.Body, mine, all); err != nil {
					return "", fmt.Errorf("placement %s: GET %s: %w", mine.In.Placement, path, err)
				}
				asked++
			}
			a, err := env.Want(ctx, mine.In.Token, http.MethodPost, mine.In.Path("/export"), map[string]any{"scope": "organization"}, http.StatusOK, nil)
			if err == nil && !shows(a.Body, mine) {
				err = errors.New("an export lacks the organization's own record")
			}
			if err == nil {
				err = showsNoOther(unzipped(a.Body), mine, all)
			}
			if err != nil {
				return "", at(mine.In, fmt.Errorf("export: %w", err))
			}
			asked++
			n, err := foreignIDs(ctx, env, mine, all)
			if err != nil {
				return "", at(mine.In, err)
			}
			asked += n
		}
		n, err := foreignCursors(ctx, env, all)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d organizations with one record each: %d lists, reads, exports, foreign ids in own paths and foreign cursors: each saw its own organization's and nothing of another", len(all), asked+n), nil
	})
}

func showsNoOther(body []byte, mine feature.Planted, all []feature.Planted) error {
	for _, p := range all {
		if p.In.Org == mine.In.Org {
			continue
		}
		// Attempts on another organization name it in the log of the
		// installation, never in the attacker's.
		if shows(body, p) || strings.Contains(string(body), p.In.Org.String()) {
			return errors.New("shows another organization")
		}
	}
	return nil
}

// foreignIDs puts identifiers of other organizations into one's own paths and
// bodies.
func foreignIDs(ctx context.Context, env feature.Env, mine feature.Planted, all []feature.Planted) (tries int, err error) {
	for _, p := range all {
		if p.In.Org == mine.In.Org {
			continue
		}
		own := mine.In.Path("/collections/", mine.Kind, "/records/")
		for _, c := range []struct {
			method, path string
			body         any
			head         []string
		}{
			{http.MethodGet, own + p.ID.String(), nil, nil},
			{http.MethodGet, own + p.ID.String() + "/history", nil, nil},
			{http.MethodPut, own + p.ID.String(), map[string]any{"content": map[string]any{}}, []string{"If-Match", `"1"`}},
			{http.MethodDelete, own + p.ID.String(), nil, []string{"If-Match", `"1"`}},
			{http.MethodPost, mine.Path("/links"), map[string]any{"to": p.ID.String(), "relation": "probe"}, nil},
			{http.MethodDelete, mine.In.Path("/members/", p.In.Actor.ID()), nil, nil},
		} {
			a, err := env.Call(ctx, mine.In.Token, c.method, c.path, c.body, c.head...)
			if err != nil {
				return tries, err
			}
			if a.Status < 400 || a.Status >= 500 || shows(a.Body, p) && c.body == nil && !strings.Contains(c.path, p.ID.String()) {
				return tries, fmt.Errorf("%s with another organization's id answers %d", c.method, a.Status)
			}
			if p.Mark.In(a.Body) {
				return tries, fmt.Errorf("%s with another organization's id shows its content", c.method)
			}
			tries++
		}
	}
	return tries, nil
}

// foreignCursors hands one organization's place in a list to another.
func foreignCursors(ctx context.Context, env feature.Env, all []feature.Planted) (tries int, err error) {
	var page struct{ Next string }
	if _, err := env.Want(ctx, all[0].In.Token, http.MethodGet, all[0].In.Path("/audit?limit=1"), nil, http.StatusOK, &page); err != nil {
		return 0, err
	}
	if page.Next == "" {
		return 0, errors.New("a list of one item of many has no next page")
	}
	if _, err := env.Want(ctx, all[0].In.Token, http.MethodGet, all[0].In.Path("/audit?limit=1&cursor="+page.Next), nil, http.StatusOK, nil); err != nil {
		return 0, err
	}
	for _, p := range all[1:] {
		if _, err := env.Want(ctx, p.In.Token, http.MethodGet, p.In.Path("/audit?limit=1&cursor="+page.Next), nil, http.StatusBadRequest, nil); err != nil {
			return tries, fmt.Errorf("another organization's cursor: %w", err)
		}
		tries++
	}
	return tries, nil
}

// purpose asks for data to train on.
func purpose(ctx context.Context, env feature.Env) (string, error) {
	if err := whole(env); err != nil {
		return "", err
	}
	const header = "Strongroom-Purpose"
	return env.Plant(ctx, "organization", env.Canaries, func(all []feature.Planted) (string, error) {
		refused := 0
		for _, p := range all {
			began := time.Now()
			want := map[string]string{} // request → purpose in its event
			a, err := env.Want(ctx, p.In.Token, http.MethodGet, p.Path(""), nil, http.StatusOK, nil)
			if err != nil {
				return "", at(p.In, err)
			}
			want[a.Request.String()] = string(tenant.Service)
			if a, err = env.Want(ctx, p.In.Token, http.MethodGet, p.Path(""), nil, http.StatusOK, nil, header, string(tenant.Analysis)); err != nil {
				return "", at(p.In, err)
			}
			want[a.Request.String()] = string(tenant.Analysis)
			for _, c := range []struct {
				method, path string
				body         any
			}{
				{http.MethodGet, p.Path(""), nil}, {http.MethodGet, p.Path("/history"), nil}, {http.MethodGet, p.Path("/links"), nil},
				{http.MethodGet, p.In.Path("/collections/", p.Kind, "/records"), nil}, {http.MethodGet, p.In.Path("/collections"), nil},
				{http.MethodGet, p.In.Path("/files"), nil}, {http.MethodGet, p.In.Path("/audit"), nil},
				{http.MethodPost, p.In.Path("/export"), map[string]any{"scope": "organization"}},
			} {
				a, err := env.Call(ctx, p.In.Token, c.method, c.path, c.body, header, string(tenant.Training))
				if err != nil {
					return "", err
				}
				if a.Status != http.StatusForbidden || shows(a.Body, p) {
					return "", at(p.In, fmt.Errorf("%s for training answers %d, not 403", c.method, a.Status))
				}
				want[a.Request.String()] = string(tenant.Training)
				refused++
			}
			if err := purposesOnRecord(ctx, env, p, began, want); err != nil {
				return "", at(p.In, err)
			}
			// Past the API, at the door itself.
			r := p.In.Request(policy.RecordRead)
			r.Purpose = tenant.Training
			if _, receipt, err := tenant.Do(ctx, env.Store, r, func(context.Context, *tenant.Tx) (struct{}, error) { return struct{}{}, nil }); err == nil || receipt.IsZero() {
				return "", at(p.In, errors.New("the door lets a read for training through"))
			}
			refused++
		}
		return fmt.Sprintf("%d reads for training by members who hold every role: all refused with 403 and recorded as denied, with that purpose, in the organization's log; reads for another purpose carry theirs in their events", refused), nil
	})
}

func purposesOnRecord(ctx context.Context, env feature.Env, p feature.Planted, began time.Time, want map[string]string) error {
	events, err := env.Log.Since(ctx, p.In.Org, began)
	if err != nil {
		return err
	}
	for _, e := range events {
		purpose, ok := want[e.Request.String()]
		if !ok {
			continue
		}
		if e.Purpose != purpose || (e.Outcome == audit.Denied) != (purpose == string(tenant.Training)) {
			return fmt.Errorf("the event of a read for %s says %s, %s", purpose, e.Purpose, e.Outcome)
		}
		delete(want, e.Request.String())
	}
	if len(want) > 0 {
		return fmt.Errorf("%d reads have no event in the log", len(want))
	}
	return nil
}

// credentials looks through everything that the server hands out for what the
// service itself acts with, and tries to act as the service with the one
// credential that a person is given.
func credentials(ctx context.Context, env feature.Env) (string, error) {
	if err := whole(env); err != nil {
		return "", err
	}
	ops, err := described(ctx, env)
	if err != nil {
		return "", err
	}
	answers, size := 0, 0
	see := func(method, path, token string, body any) (feature.Answer, error) {
		a, err := env.Call(ctx, token, method, path, body)
		if err != nil {
			return a, err
		}
		head, err := json.Marshal(a.Header)
		if err != nil {
			return a, err
		}
		if name := env.Leaks(slices.Concat(a.Body, head)); name != "" {
			return a, fmt.Errorf("%s %s hands out %s", method, path, name)
		}
		if a.Header.Get("Access-Control-Allow-Origin") != "" {
			return a, fmt.Errorf("%s %s lets pages of other sites read the answer", method, path)
		}
		answers, size = answers+1, size+len(a.Body)
		return a, nil
	}
	for _, path := range []string{"/", "/healthz", "/readyz", "/openapi.json", "/prove", "/keys/status", "/status", "/metrics", "/debug/pprof/", "/.env", "/tls/key.pem"} {
		a, err := see(http.MethodGet, path, "", nil)
		if err != nil {
			return "", err
		}
		if slices.Contains([]string{"/prove", "/keys/status", "/status"}, path) && a.Status < 400 {
			return "", fmt.Errorf("the operator's %s is open to the network", path)
		}
	}
	for _, c := range env.Canaries {
		names := strings.NewReplacer("{org}", c.Org.String(), "{kind}", feature.CanaryKind)
		for _, op := range ops {
			if op.method != http.MethodGet {
				continue
			}
			if _, err := see(op.method, wildcard.ReplaceAllString(names.Replace(op.path), "none"), c.Token, nil); err != nil {
				return "", at(c, err)
			}
		}
		a, err := see(http.MethodPost, "/v1/sessions", "", map[string]string{"email": c.Email, "password": string(c.Password.Reveal())})
		if err != nil {
			return "", at(c, err)
		}
		var in struct{ Token string }
		if a.Status != http.StatusCreated || json.Unmarshal(a.Body, &in) != nil || in.Token == "" {
			return "", at(c, fmt.Errorf("signing in answers %d", a.Status))
		}
		if err := noService(ctx, env, in.Token); err != nil {
			return "", at(c, err)
		}
		if _, err := env.Want(ctx, in.Token, http.MethodDelete, "/v1/sessions/current", nil, http.StatusNoContent, nil); err != nil {
			return "", at(c, err)
		}
	}
	return fmt.Sprintf("%d answers (%d KB), open ones, those of every reading operation and of signing in: none holds a key or address of the service; the session's token, the only credential handed out, was refused what the installation does; the operator's socket is not on the network", answers, size>>10), nil
}

// noService tries with a person's token what only the installation may.
func noService(ctx context.Context, env feature.Env, token string) error {
	for _, c := range []struct {
		method, path string
		body         any
	}{
		{http.MethodPost, "/v1/orgs", map[string]any{"name": "x", "owner": map[string]any{"email": "x@strongroom.invalid", "name": "x"}}},
		{http.MethodGet, "/v1/orgs/" + env.Strange[0].Org.String(), nil},
		{http.MethodGet, "/v1/status", nil},
		{http.MethodGet, "/v1/prove", nil},
	} {
		a, err := env.Call(ctx, token, c.method, c.path, c.body)
		if err != nil {
			return err
		}
		if a.Status < 400 || a.Status >= 500 {
			return fmt.Errorf("a member's token was answered %d by %s %s", a.Status, c.method, c.path)
		}
	}
	return nil
}
