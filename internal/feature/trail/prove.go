package trail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
)

func promises() []feature.Promise {
	clause := func(name string, check func(context.Context, feature.Env) (string, error)) []feature.Clause {
		return []feature.Clause{{Name: name, Tag: feature.Canary, Check: check}}
	}
	return []feature.Promise{
		{ID: "ENC-1", Clauses: clause("audit", proveSealed)},
		{ID: "ISO-8", Clauses: clause("log", proveOwnLog)},
		{ID: "AUD-1", Clauses: clause("append_only", proveAppendOnly)},
		{ID: "AUD-2", Clauses: clause("requests", proveRequests)},
		{ID: "AUD-3", Clauses: clause("trail", proveTrail)},
	}
}

// of picks the events of a request.
func of(events []audit.Stored, request id.Request) (out []audit.Stored) {
	for _, e := range events {
		if e.Request == request {
			out = append(out, e)
		}
	}
	return out
}

// began is a moment before a request, on the safe side of the clock's tick.
func began() time.Time { return time.Now().Add(-time.Millisecond) }

// placed waits until an event has its place in the log, as it does within
// milliseconds.
func placed(ctx context.Context, env feature.Env, org id.Org, from time.Time, request id.Request) (audit.Stored, error) {
	for {
		events, err := env.Log.Since(ctx, org, from)
		if err != nil {
			return audit.Stored{}, err
		}
		if mine := of(events, request); len(mine) == 1 && mine[0].Idx >= 0 {
			return mine[0], nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return audit.Stored{}, errors.New("an event did not get its place in the log")
		}
	}
}

// proveSealed makes a request with a mark of the client's, and looks at what
// is stored of its event.
func proveSealed(ctx context.Context, env feature.Env) (string, error) {
	if len(env.Strange) != len(env.Canaries) || len(env.Canaries) == 0 {
		return "", errors.New("there is not one strange organization for each canary")
	}
	return env.Plant(ctx, "organization", env.Canaries, func(all []feature.Planted) (string, error) {
		for i, p := range all {
			if err := sealedEvent(ctx, env, p, env.Strange[i]); err != nil {
				return "", fmt.Errorf("placement %s: %w", p.In.Placement, err)
			}
		}
		return fmt.Sprintf("the events of %d requests: action, actor, target, request and the client's name are in no column of what is stored, sealed with AES-256-GCM; the bytes open with the organization's own key, match their hash, and do not open with another organization's", len(all)), nil
	})
}

func sealedEvent(ctx context.Context, env feature.Env, p feature.Planted, stranger feature.CanaryOrg) error {
	client, from := feature.NewMark(), began()
	a, err := env.Want(ctx, p.In.Token, http.MethodGet, p.Path(""), nil, http.StatusOK, nil, "User-Agent", client.Text)
	if err != nil {
		return err
	}
	e, err := placed(ctx, env, p.In.Org, from, a.Request)
	if err != nil {
		return err
	}
	if e.Action != policy.RecordRead || !slices.Contains(e.Targets, p.ID.String()) {
		return errors.New("the event is not that of the request")
	}
	clear := map[string]feature.Mark{"the client's name": client, "the request": feature.MarkOf(a.Request.String()), "the action": feature.MarkOf(string(e.Action)),
		"the target": feature.MarkOf(p.ID.String()), "the actor": feature.MarkOf(p.In.Actor.ID())}
	_, _, err = tenant.Do(ctx, env.Store, p.In.Request(policy.TrailRead), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		tx.Touch(e.ID)
		var row string
		if err := tx.QueryRow(ctx, tenant.Lit(`SELECT v::text FROM audit.event v WHERE v.org_id = $1 AND v.idx = $2`), tx.Org().UUID(), e.Idx).Scan(&row); err != nil {
			return struct{}{}, err
		}
		for what, m := range clear {
			if m.In([]byte(row)) {
				return struct{}{}, fmt.Errorf("%s stands in the clear in the stored event", what)
			}
		}
		if _, err := audit.OpenBody(ctx, tx.Keys(), e.ID, e.Leaf, e.Body); err != nil {
			return struct{}{}, fmt.Errorf("an event does not open with its organization's key: %w", err)
		}
		for _, keys := range []seal.Keys{tx.KeysOf(stranger.Org), feature.Disguise(tx.KeysOf(stranger.Org), tx.Org())} {
			if _, err := audit.OpenBody(ctx, keys, e.ID, e.Leaf, e.Body); err == nil {
				return struct{}{}, errors.New("an event opens with another organization's key")
			}
		}
		return struct{}{}, nil
	})
	return err
}

// proveOwnLog makes a request in every canary organization and looks where
// its event is, and where it is not.
func proveOwnLog(ctx context.Context, env feature.Env) (string, error) {
	orgs := env.Everybody()
	if len(orgs) < 2 {
		return "", errors.New("there are not two canary organizations")
	}
	from := began()
	requests := map[id.Org]id.Request{}
	for _, c := range orgs {
		a, err := env.Want(ctx, c.Token, http.MethodGet, c.Path("/collections"), nil, http.StatusOK, nil)
		if err != nil {
			return "", fmt.Errorf("placement %s: %w", c.Placement, err)
		}
		requests[c.Org] = a.Request
		if _, err := placed(ctx, env, c.Org, from, a.Request); err != nil {
			return "", fmt.Errorf("placement %s: %w", c.Placement, err)
		}
	}
	keys := map[keytree.Key]bool{}
	for _, c := range orgs {
		if err := ownLog(ctx, env, c, from, requests); err != nil {
			return "", fmt.Errorf("placement %s: %w", c.Placement, err)
		}
		_, _, err := tenant.Do(ctx, env.Store, c.Request(policy.TrailRead), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
			k, err := tx.Keys().LeafKey(ctx, 1, keytree.LeafAudit)
			keys[k] = true
			return struct{}{}, err
		})
		if err != nil {
			return "", err
		}
	}
	if len(keys) != len(orgs) {
		return "", errors.New("two logs have a key in common")
	}
	return fmt.Sprintf("%d organizations: each log has a sequence of its own, dense from 0, and a key of its own; a request's event is in its own organization's log and in no other, and no log shows another's", len(orgs)), nil
}

func ownLog(ctx context.Context, env feature.Env, c feature.CanaryOrg, from time.Time, requests map[id.Org]id.Request) error {
	events, err := env.Log.Since(ctx, c.Org, from)
	if err != nil {
		return err
	}
	for org, request := range requests {
		if n := len(of(events, request)); org == c.Org && n != 1 || org != c.Org && n != 0 {
			return fmt.Errorf("a request of one organization has %d events in the log of another", n)
		}
	}
	a, err := env.Want(ctx, c.Token, http.MethodGet, c.Path("/audit?limit=200"), nil, http.StatusOK, nil)
	if err != nil {
		return err
	}
	for org, request := range requests {
		if strings.Contains(string(a.Body), request.String()) != (org == c.Org) {
			return errors.New("the log that the API shows is not the organization's own")
		}
	}
	_, _, err = tenant.Do(ctx, env.Store, c.Request(policy.TrailRead), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		var n, next, foreign int64
		err := tx.QueryRow(ctx, tenant.Lit(`SELECT count(*), coalesce(max(idx) + 1, 0), count(*) FILTER (WHERE org_id <> $1) FROM audit.event`), tx.Org().UUID()).Scan(&n, &next, &foreign)
		if err == nil && (n != next || foreign != 0) {
			err = fmt.Errorf("the log has %d events up to place %d, %d of them another organization's", n, next, foreign)
		}
		return struct{}{}, err
	})
	return err
}

// proveAppendOnly reads who may do what with the tables of the log, and tries
// to change an entry.
func proveAppendOnly(ctx context.Context, env feature.Env) (string, error) {
	tables, err := env.Inspect.Tables(ctx)
	if err != nil {
		return "", err
	}
	seen := 0
	for _, t := range tables {
		if t.Schema != "audit" || t.Name != "event" && t.Name != "head" {
			continue
		}
		seen++
		for _, g := range t.Grants {
			if g.Privilege != "SELECT" && (g.Privilege != "INSERT" || g.Role != "sr_audit") {
				return "", fmt.Errorf("the role %s has the privilege %s on %s", g.Role, g.Privilege, t.Place())
			}
		}
		if t.Owner != "sr_owner" {
			return "", fmt.Errorf("%s belongs to a role that can log in", t.Place())
		}
	}
	if seen != 2 {
		return "", errors.New("the tables of the log were not found")
	}
	roles, err := env.Inspect.Roles(ctx)
	if err != nil {
		return "", err
	}
	logins := 0
	for _, r := range roles {
		if !r.Login || !strings.HasPrefix(r.Name, "sr_") || r.Name == "sr_migrator" || r.Name == "sr_root" {
			continue
		}
		logins++
		if slices.Contains(r.Member, "sr_owner") || len(r.Powers) > 0 {
			return "", fmt.Errorf("the login %s can act as the owner of the log, or stands above it", r.Name)
		}
	}
	tries := 0
	for _, c := range env.Canaries {
		n, err := tamper(ctx, env, c)
		if err != nil {
			return "", fmt.Errorf("placement %s: %w", c.Placement, err)
		}
		tries += n
	}
	return fmt.Sprintf("%d logins and the roles of organizations may add to the log or read it, and nothing else; %d attempts to change or remove entries were refused and the entries are as they were. The migrator's login, which owns the tables and serves no request, and the superuser are not bound by this (see AUD-1/tamper_evident)", logins, tries), nil
}

// tamper tries to change what the log says of a request.
func tamper(ctx context.Context, env feature.Env, c feature.CanaryOrg) (tries int, err error) {
	from := began()
	a, err := env.Want(ctx, c.Token, http.MethodGet, c.Path("/collections"), nil, http.StatusOK, nil)
	if err != nil {
		return 0, err
	}
	before, err := placed(ctx, env, c.Org, from, a.Request)
	if err != nil {
		return 0, err
	}
	for what, sql := range map[string]tenant.SQL{
		"changed": tenant.Lit(`UPDATE audit.event SET body = NULL WHERE org_id = $1 AND idx = $2`),
		"moved":   tenant.Lit(`UPDATE audit.event SET idx = idx + 1 WHERE org_id = $1 AND idx = $2`),
		"removed": tenant.Lit(`DELETE FROM audit.event WHERE org_id = $1 AND idx = $2`),
		"added":   tenant.Lit(`INSERT INTO audit.event (org_id, idx, event_id, leaf, body) SELECT org_id, idx + 1000000, event_id, leaf, body FROM audit.event WHERE org_id = $1 AND idx = $2`),
	} {
		_, _, err := tenant.Do(ctx, env.Store, c.Request(policy.RecordUpdate), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
			n, err := tx.Exec(ctx, sql, tx.Org().UUID(), before.Idx)
			if err == nil {
				err = fmt.Errorf("%w %s: %d rows", errTampered, what, n)
			}
			return struct{}{}, err
		})
		if errors.Is(err, errTampered) {
			return tries, err
		}
		if err == nil {
			return tries, errors.New("an attempt on the log ended well")
		}
		tries++
	}
	after, err := placed(ctx, env, c.Org, from, a.Request)
	if err == nil && (after.Idx != before.Idx || string(after.Body) != string(before.Body)) {
		err = errTampered
	}
	return tries, err
}

var errTampered = errors.New("an entry of the log can be")

// proveRequests sends a request of each kind and looks, the moment its answer
// is there, whether the log has its event already.
func proveRequests(ctx context.Context, env feature.Env) (string, error) {
	if len(env.Strange) != len(env.Canaries) || len(env.Canaries) == 0 {
		return "", errors.New("there is not one strange organization for each canary")
	}
	return env.Plant(ctx, "organization", env.Canaries, func(all []feature.Planted) (string, error) {
		n := 0
		for i, p := range all {
			for _, r := range kindsOfRequest(p, env.Strange[i]) {
				if err := onRecord(ctx, env, p, r); err != nil {
					return "", fmt.Errorf("placement %s: %s: %w", p.In.Placement, r.what, err)
				}
				n++
			}
		}
		return fmt.Sprintf("%d requests (reads, lists, changes, refusals by role, form and conflict, strangers, nobody, no such route): each had exactly one event, with its action and outcome, durable in the right log when its answer arrived", n), nil
	})
}

type request struct {
	what, method, path, token string
	body                      any
	head                      []string
	status                    int
	action                    policy.Action
	outcome                   audit.Outcome
	log                       id.Org
}

func kindsOfRequest(p feature.Planted, stranger feature.CanaryOrg) []request {
	me, here, house := p.In.Token, p.In.Org, id.Installation
	records := p.In.Path("/collections/", p.Kind, "/records")
	missing := id.NewRecord().String()
	content := map[string]any{"content": p.Content}
	return []request{
		{"a read", "GET", p.Path(""), me, nil, nil, 200, policy.RecordRead, audit.Done, here},
		{"a list", "GET", records, me, nil, nil, 200, policy.RecordList, audit.Done, here},
		{"a history", "GET", p.Path("/history"), me, nil, nil, 200, policy.RecordHistory, audit.Done, here},
		{"a read of the log itself", "GET", p.In.Path("/audit?limit=1"), me, nil, nil, 200, policy.TrailRead, audit.Done, here},
		{"a list of members", "GET", p.In.Path("/members"), me, nil, nil, 200, policy.MemberList, audit.Done, here},
		{"a change", "PUT", p.Path(""), me, content, []string{"If-Match", `"1"`}, 200, policy.RecordUpdate, audit.Done, here},
		{"a stale change", "PUT", p.Path(""), me, content, []string{"If-Match", `"1"`}, 412, policy.RecordUpdate, audit.Refused, here},
		{"a change without If-Match", "PUT", p.Path(""), me, content, nil, 428, policy.RecordUpdate, audit.Refused, here},
		{"a malformed change", "PUT", p.Path(""), me, json.RawMessage(`{"content":{},"more":1}`), []string{"If-Match", `"2"`}, 422, policy.RecordUpdate, audit.Refused, here},
		{"a read of what is not there", "GET", records + "/" + missing, me, nil, nil, 404, policy.RecordRead, audit.Denied, here},
		{"a read for training", "GET", p.Path(""), me, nil, []string{"Strongroom-Purpose", "training"}, 403, policy.RecordRead, audit.Denied, here},
		{"a read in another organization", "GET", stranger.Path("/collections"), me, nil, nil, 404, policy.CollectionList, audit.Denied, house},
		{"a request without a credential", "GET", p.Path(""), "", nil, nil, 401, policy.RecordRead, audit.Denied, house},
		{"a request with a made-up credential", "GET", p.Path(""), "sr_ses_" + strings.Repeat("0", 59), nil, nil, 401, policy.RecordRead, audit.Denied, house},
		{"what only the installation may", "POST", "/v1/orgs", me, map[string]any{"name": "x", "owner": map[string]any{}}, nil, 403, policy.OrgCreate, audit.Denied, house},
		{"a path that is not there", "GET", "/v1/nothing", "", nil, nil, 404, policy.Unrouted, audit.Denied, house},
	}
}

func onRecord(ctx context.Context, env feature.Env, p feature.Planted, r request) error {
	from := began()
	a, err := env.Call(ctx, r.token, r.method, r.path, r.body, r.head...)
	if err != nil {
		return err
	}
	events, err := env.Log.Since(ctx, r.log, from)
	if err != nil {
		return err
	}
	if a.Status != r.status {
		return fmt.Errorf("answered %d, not %d", a.Status, r.status)
	}
	mine := of(events, a.Request)
	if a.Request.IsZero() || len(mine) != 1 {
		return fmt.Errorf("the log has %d events of the request when its answer arrives", len(mine))
	}
	if e := mine[0]; e.Action != r.action || e.Outcome != r.outcome {
		return fmt.Errorf("the event says %s, %s, not %s, %s", e.Action, e.Outcome, r.action, r.outcome)
	}
	if r.token == p.In.Token && mine[0].Actor.ID != p.In.Actor.ID() {
		return errors.New("the event names another actor")
	}
	return nil
}

// proveTrail lets two members work on one record, and asks the log and the
// history who did what.
func proveTrail(ctx context.Context, env feature.Env) (string, error) {
	if len(env.Peers) != len(env.Canaries) || len(env.Canaries) == 0 {
		return "", errors.New("there is not a second member in each canary organization")
	}
	return env.Plant(ctx, "organization", env.Canaries, func(all []feature.Planted) (string, error) {
		for i, p := range all {
			if err := trailOf(ctx, env, p, env.Peers[i]); err != nil {
				return "", fmt.Errorf("placement %s: %w", p.In.Placement, err)
			}
		}
		return fmt.Sprintf("%d records, each viewed and changed by a second member: the organization's log, as its members with the role security_admin read it, names who viewed and who changed it and when; the record's history gives what it was before and after, by whom and when, to whoever may read it", len(all)), nil
	})
}

func trailOf(ctx context.Context, env feature.Env, p feature.Planted, peer feature.CanaryOrg) error {
	from := began()
	viewed, err := env.Want(ctx, peer.Token, http.MethodGet, p.Path(""), nil, http.StatusOK, nil)
	if err != nil {
		return err
	}
	next := json.RawMessage(`{"canary":"changed"}`)
	changed, err := env.Want(ctx, peer.Token, http.MethodPut, p.Path(""), map[string]any{"content": next}, http.StatusOK, nil, "If-Match", `"1"`)
	if err != nil {
		return err
	}
	for _, r := range []id.Request{viewed.Request, changed.Request} {
		if _, err := placed(ctx, env, p.In.Org, from, r); err != nil {
			return err
		}
	}
	var page struct{ Items []audit.Event }
	if _, err := env.Want(ctx, p.In.Token, http.MethodGet, p.In.Path("/audit?limit=200&since=", from.UTC().Format("2006-01-02T15:04:05.000Z")), nil, http.StatusOK, &page); err != nil {
		return err
	}
	for _, want := range []struct {
		what    string
		request id.Request
		action  policy.Action
	}{{"viewing", viewed.Request, policy.RecordRead}, {"changing", changed.Request, policy.RecordUpdate}} {
		i := slices.IndexFunc(page.Items, func(e audit.Event) bool { return e.Request == want.request })
		if i < 0 {
			return fmt.Errorf("the trail does not show a member's %s", want.what)
		}
		e := page.Items[i]
		at, err := time.Parse(time.RFC3339Nano, e.Time)
		if err != nil || at.Before(from.Add(-time.Second)) || at.After(time.Now().Add(time.Second)) || e.Actor.ID != peer.Actor.ID() || e.Action != want.action || !slices.Contains(e.Targets, p.ID.String()) {
			return fmt.Errorf("the trail of a member's %s does not say who, what and when", want.what)
		}
	}
	var history struct {
		Items []struct {
			Version uint64
			By      id.Person
			Content json.RawMessage
		}
	}
	if _, err := env.Want(ctx, p.In.Token, http.MethodGet, p.Path("/history"), nil, http.StatusOK, &history); err != nil {
		return err
	}
	h := history.Items
	if len(h) != 2 || string(h[0].Content) != string(next) || h[0].By != peer.Actor.Person() || string(h[1].Content) != string(p.Content) || h[1].By != p.In.Actor.Person() {
		return errors.New("the history does not give what the change was, and whose")
	}
	return nil
}
