package checks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/google/uuid"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
)

// The forms that a policy may have. PostgreSQL prints an expression in one
// way, so whatever is not one of these is something else.
const (
	ownOrganization = "(org_id = ( SELECT sr.org() AS org))"
	ownAnchor       = "(id = ( SELECT sr.org() AS org))"
	// A private row: its owner's, and theirs to whom she gave it.
	ownPrivate = "((org_id = ( SELECT sr.org() AS org)) AND ((visibility = 'o'::\"char\") OR (owner_id = ( SELECT sr.usr() AS usr)) OR was_given(org_id, id, owner_id)))"
	ownEnds    = "sees_record(org_id, from_id) AND (sees_record(org_id, to_id) OR sees_file(org_id, to_id))"
)

// form is what the policy of a table lets be read, and written where that is
// less.
type form struct{ using, check string }

// forms are those of the tables whose rows are not every member's.
var forms = map[string]form{
	"org":            {using: ownAnchor},
	"record":         {using: ownPrivate},
	"trash":          {using: ownPrivate},
	"file":           {using: ownPrivate},
	"record_version": {using: strings.Replace(ownPrivate, "(org_id, id,", "(org_id, record_id,", 1)},
	"record_grant": {"((org_id = ( SELECT sr.org() AS org)) AND ((owner_id = ( SELECT sr.usr() AS usr)) OR (person_id = ( SELECT sr.usr() AS usr))))",
		"((org_id = ( SELECT sr.org() AS org)) AND (owner_id = ( SELECT sr.usr() AS usr)))"},
	"record_subject": {using: "((org_id = ( SELECT sr.org() AS org)) AND sees_record(org_id, record_id))"},
	// Exports are their maker's; what is past its time, anybody's job clears away.
	"export": {"((org_id = ( SELECT sr.org() AS org)) AND ((created_by = ( SELECT sr.usr() AS usr)) OR (expires_at < now())))",
		"((org_id = ( SELECT sr.org() AS org)) AND (created_by = ( SELECT sr.usr() AS usr)))"},
	// What follows something else is looked up where that may be private.
	"link": {"((org_id = ( SELECT sr.org() AS org)) AND ((visibility = 'o'::\"char\") OR (" + ownEnds + ")))",
		"((org_id = ( SELECT sr.org() AS org)) AND " + ownEnds + ")"},
	"file_version": {"((org_id = ( SELECT sr.org() AS org)) AND ((visibility = 'o'::\"char\") OR sees_file(org_id, file_id)))",
		"((org_id = ( SELECT sr.org() AS org)) AND sees_file(org_id, file_id))"},
}

// policies reads how every table is secured, and then looks with SQL that has
// no condition at what is really there.
func policies(ctx context.Context, env feature.Env) (string, error) {
	if err := whole(env); err != nil {
		return "", err
	}
	tables, err := env.Inspect.Tables(ctx)
	if err != nil {
		return "", err
	}
	secured, forms := 0, 0
	for _, t := range ofOrganizations(tables) {
		if err := securedTable(t); err != nil {
			return "", err
		}
		secured += t.Count
		forms++
	}
	for _, name := range []string{"audit.event", "audit.head", "audit.pending", "platform.person", "platform.membership", "platform.session", "platform.api_key"} {
		i := slices.IndexFunc(tables, func(t platform.Table) bool { return t.Place() == name })
		if i < 0 || !tables[i].RowSecurity || !tables[i].Forced {
			return "", fmt.Errorf("%s has no forced row-level security", name)
		}
		secured++
	}
	if err := powerless(ctx, env); err != nil {
		return "", err
	}
	if forms == 0 {
		return "", errors.New("no table of an organization was found")
	}
	return env.Plant(ctx, "organization", env.Everybody(), func(all []feature.Planted) (string, error) {
		for _, p := range all {
			if err := onlyOwn(ctx, env, p, all); err != nil {
				return "", at(p.In, err)
			}
		}
		return fmt.Sprintf("%d tables of organizations, people and the log: row-level security on and forced, each policy bound to the verified organization (private tables to the user too); no login is exempt; in %d canary organizations a SELECT without a condition returned the organization's own rows only",
			secured, len(all)), nil
	})
}

// securedTable holds one table of organizations to its policies.
func securedTable(t platform.Table) error {
	if t.Kind != "r" {
		return fmt.Errorf("%s is no table: what it shows is bound by no policy of its own", t.Place())
	}
	if !t.RowSecurity || !t.Forced {
		return fmt.Errorf("%s has no forced row-level security", t.Place())
	}
	want, known := forms[t.Name]
	if !known {
		want.using = ownOrganization
	}
	if want.check == "" {
		want.check = want.using
	}
	bound := false
	for _, p := range t.Policies {
		// Restrictive policies only take away.
		if !p.Permissive || owners(p) {
			continue
		}
		check := p.Check
		if check == "" {
			check = p.Using
		}
		if p.Using != "" && p.Using != want.using || check != want.check {
			return fmt.Errorf("%s: the policy %s lets through more than the organization's own rows", t.Place(), p.Name)
		}
		bound = bound || p.Command == "*"
	}
	if !bound {
		return fmt.Errorf("%s has no policy for its organization", t.Place())
	}
	return nil
}

// owners reports whether a policy is for the owner of the tables, as whom
// nobody can log in: founding an organization, and examining its own rows.
func owners(p platform.Policy) bool {
	return len(p.Roles) == 1 && p.Roles[0] == "sr_owner" && (p.Command == "a" || p.Command == "r" && p.Using == ownOrganization)
}

// powerless holds that no login, and no role that a login can become, stands
// above row-level security.
func powerless(ctx context.Context, env feature.Env) error {
	roles, err := env.Inspect.Roles(ctx)
	if err != nil {
		return err
	}
	byName := map[string]platform.Role{}
	for _, r := range roles {
		byName[r.Name] = r
	}
	for _, login := range platform.Logins() {
		if login == "sr_migrator" {
			continue // owns the tables, changes their form at each start, and serves no request
		}
		r, ok := byName[login]
		if !ok {
			return fmt.Errorf("there is no login %s", login)
		}
		for _, name := range reach(byName, r.Name) {
			if len(byName[name].Powers) > 0 {
				return fmt.Errorf("the login %s can act as %s, which has the power %s", login, name, byName[name].Powers[0])
			}
			if name == "sr_owner" || strings.HasPrefix(name, "pg_") {
				return fmt.Errorf("the login %s can act as %s", login, name)
			}
		}
	}
	return nil
}

// reach lists the roles that a role is, or can become.
func reach(all map[string]platform.Role, name string) []string {
	seen := []string{name}
	for i := 0; i < len(seen); i++ {
		for _, next := range all[seen[i]].Member {
			if !slices.Contains(seen, next) {
				seen = append(seen, next)
			}
		}
	}
	return seen
}

// onlyOwn forgets every WHERE, as a bug would, and looks at what comes.
func onlyOwn(ctx context.Context, env feature.Env, p feature.Planted, all []feature.Planted) error {
	_, _, err := tenant.Do(ctx, env.Store, p.In.Request(policy.RecordRead), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		tx.Touch(p.ID)
		var own, foreign int64
		err := tx.QueryRow(ctx, tenant.Lit(`SELECT count(*) FILTER (WHERE org_id = $1), count(*) FILTER (WHERE org_id <> $1) FROM record`), tx.Org().UUID()).Scan(&own, &foreign)
		if err == nil && own == 0 {
			err = errors.New("the organization does not see its own record")
		}
		if err == nil && foreign > 0 {
			err = fmt.Errorf("a SELECT without a condition returned %d records of other organizations", foreign)
		}
		for _, other := range all {
			if err != nil || other.In.Org == p.In.Org {
				continue
			}
			var n int64
			if n, err = tx.Exec(ctx, tenant.Lit(`SELECT 1 FROM record WHERE id = $1`), other.ID.UUID()); err == nil && n > 0 {
				err = errors.New("a SELECT by its id returned another organization's record")
			}
		}
		return struct{}{}, err
	})
	return err
}

// arbitrarySQL lets hostile SQL loose on the connection that serves a canary
// organization, against one that shares its tables, and against those that
// have tables of their own.
func arbitrarySQL(ctx context.Context, env feature.Env) (string, error) {
	if err := whole(env); err != nil {
		return "", err
	}
	return env.Plant(ctx, "organization", env.Everybody(), func(all []feature.Planted) (string, error) {
		scripts, runs, refused := 0, 0, 0
		for _, mine := range all[:len(env.Canaries)] {
			for _, theirs := range all[len(env.Canaries):] {
				tried, _, err := tenant.Probe(ctx, env.Store, mine.In.Request(policy.RecordRead), tenant.Victim{Org: theirs.In.Org, Record: theirs.ID, Collection: theirs.Collection})
				if err != nil {
					return "", at(mine.In, err)
				}
				for _, a := range tried {
					if a.Reached {
						return "", fmt.Errorf("from placement %s into placement %s: %s got through", mine.In.Placement, theirs.In.Placement, a.Name)
					}
					if a.Code != "" {
						refused++
					}
				}
				scripts, runs = len(tried), runs+len(tried)
			}
		}
		for _, p := range all {
			if err := unharmed(ctx, env, p); err != nil {
				return "", at(p.In, err)
			}
		}
		return fmt.Sprintf("%d hostile scripts on the application's own connection, each against %d organizations: %d attempts, %d refused by PostgreSQL, the others saw and changed nothing that is not the attacker's; the victims' records are as they were",
			scripts, runs/scripts, runs, refused), nil
	})
}

// unharmed reads a record the way its owner does.
func unharmed(ctx context.Context, env feature.Env, p feature.Planted) error {
	a, err := env.Want(ctx, p.In.Token, http.MethodGet, p.Path(""), nil, http.StatusOK, nil)
	if err == nil && !p.Mark.In(a.Body) {
		err = errors.New("a record came back with another content")
	}
	return err
}

// privateRows lets a colleague with every role go after what is private to
// somebody else in the same organization.
func privateRows(ctx context.Context, env feature.Env) (string, error) {
	if err := whole(env); err != nil {
		return "", err
	}
	return env.Plant(ctx, "private", env.Canaries, func(all []feature.Planted) (string, error) {
		tries := 0
		for i, p := range all {
			peer := env.Peers[i]
			if peer.Org != p.In.Org || peer.Actor.ID() == p.In.Actor.ID() {
				return "", errNoCanaries
			}
			// A second version, so that the history has a row as well.
			if _, err := env.Want(ctx, p.In.Token, http.MethodPut, p.Path(""), map[string]any{"content": p.Content, "visibility": "private"}, http.StatusOK, nil, "If-Match", `"1"`); err != nil {
				return "", at(p.In, err)
			}
			n, err := colleague(ctx, env, p, peer)
			if err != nil {
				return "", at(p.In, err)
			}
			tries += n
			if n, err = colleagueSQL(ctx, env, p, peer); err != nil {
				return "", at(p.In, err)
			}
			tries += n
			if err := unharmed(ctx, env, p); err != nil {
				return "", at(p.In, err)
			}
		}
		return fmt.Sprintf("private records of %d organizations: a colleague who holds every role found, read, changed and deleted none in %d ways, by the API and by SQL without a condition; their owners read them unchanged", len(all), tries), nil
	})
}

// colleague goes through the API.
func colleague(ctx context.Context, env feature.Env, p feature.Planted, peer feature.CanaryOrg) (tries int, err error) {
	body := map[string]any{"content": map[string]any{"a": 1}}
	for _, c := range []struct {
		method, path string
		body         any
		head         []string
		status       int
	}{
		{http.MethodGet, p.Path(""), nil, nil, http.StatusNotFound},
		{http.MethodGet, p.Path("/history"), nil, nil, http.StatusNotFound},
		{http.MethodGet, p.Path("/links"), nil, nil, http.StatusNotFound},
		{http.MethodPut, p.Path(""), body, []string{"If-Match", `"2"`}, http.StatusNotFound},
		{http.MethodDelete, p.Path(""), nil, []string{"If-Match", `"2"`}, http.StatusNotFound},
		{http.MethodGet, p.In.Path("/collections/", p.Kind, "/records?limit=200"), nil, nil, http.StatusOK},
		{http.MethodPost, p.In.Path("/export"), map[string]any{"scope": "collection", "collection": p.Kind}, nil, http.StatusOK},
	} {
		a, err := env.Call(ctx, peer.Token, c.method, c.path, c.body, c.head...)
		switch {
		case err != nil:
			return tries, err
		case a.Status != c.status:
			return tries, fmt.Errorf("%s of another member's private record answers %d, not %d", c.method, a.Status, c.status)
		case shows(a.Body, p):
			return tries, fmt.Errorf("%s %s shows another member's private record", c.method, "collections")
		}
		tries++
	}
	return tries, nil
}

// shows reports whether an answer holds a record: its content or its id. What
// a ZIP holds stands behind a compression.
func shows(body []byte, p feature.Planted) bool {
	return p.Mark.In(body) || strings.Contains(string(body), p.ID.String()) || strings.Contains(string(unzipped(body)), p.Mark.Text)
}

// colleagueSQL forgets every WHERE inside a request of the colleague's.
func colleagueSQL(ctx context.Context, env feature.Env, p feature.Planted, peer feature.CanaryOrg) (tries int, err error) {
	row := uuid.New()
	file := func(ctx context.Context, tx *tenant.Tx) error {
		leaf, err := tx.NewLeaf(ctx)
		if err != nil {
			return err
		}
		body, err := tx.Seal(ctx, "file", row, 1, seal.Section{Name: "name", Leaf: leaf, Plain: seal.NewSecretString(p.Mark.Text)})
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, tenant.Lit(`INSERT INTO file (org_id, id, version, leaf, generation, size, state, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
 VALUES ($1, $2, 1, $3, 1, 0, 'pending', $4, $5, 'p', $6, $5, $6, $5)`), tx.Org().UUID(), row, int64(leaf), body, tx.Actor().Person().UUID(), tx.Now())
		return err
	}
	do := func(who feature.CanaryOrg, a policy.Action, fn func(context.Context, *tenant.Tx) error) error {
		_, _, err := tenant.Do(context.WithoutCancel(ctx), env.Store, who.Request(a), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) { return struct{}{}, fn(ctx, tx) })
		return err
	}
	if err := do(p.In, policy.RecordUpdate, file); err != nil {
		return 0, err
	}
	defer func() {
		err = errors.Join(err, do(p.In, policy.RecordUpdate, func(ctx context.Context, tx *tenant.Tx) error {
			_, err := tx.Exec(ctx, tenant.Lit(`DELETE FROM file WHERE org_id = $1 AND id = $2`), tx.Org().UUID(), row)
			return err
		}))
	}()
	statements := []tenant.SQL{
		tenant.Lit(`SELECT 1 FROM record WHERE id = ANY ($1::uuid[])`),
		tenant.Lit(`SELECT 1 FROM record_version WHERE record_id = ANY ($1::uuid[])`),
		tenant.Lit(`SELECT 1 FROM file WHERE id = ANY ($1::uuid[])`),
		tenant.Lit(`UPDATE record SET visibility = 'o' WHERE id = ANY ($1::uuid[])`),
		tenant.Lit(`UPDATE file SET visibility = 'o' WHERE id = ANY ($1::uuid[])`),
		tenant.Lit(`DELETE FROM record WHERE id = ANY ($1::uuid[])`),
		tenant.Lit(`DELETE FROM record_version WHERE record_id = ANY ($1::uuid[])`),
		tenant.Lit(`DELETE FROM file WHERE id = ANY ($1::uuid[])`),
	}
	for _, sql := range statements {
		var n int64
		if err := do(peer, policy.RecordUpdate, func(ctx context.Context, tx *tenant.Tx) (err error) {
			n, err = tx.Exec(ctx, sql, [][16]byte{p.ID.UUID(), row})
			if err == nil && n > 0 {
				err = errHarm // nothing of it may last
			}
			return err
		}); err != nil && !errors.Is(err, errHarm) {
			return tries, err
		}
		if n > 0 {
			return tries, errors.New("SQL of a member reaches another member's private rows")
		}
		tries++
	}
	// The same statements reach the rows for their owner: they are there.
	return tries, do(p.In, policy.RecordRead, func(ctx context.Context, tx *tenant.Tx) error {
		for _, sql := range statements[:3] {
			if n, err := tx.Exec(ctx, sql, [][16]byte{p.ID.UUID(), row}); err != nil || n == 0 {
				return errors.Join(err, errors.New("the owner does not see the private rows"))
			}
		}
		return nil
	})
}

var errHarm = errors.New("another member's private rows were reached")

// schemas holds the placement schema: tables that nobody but the organization
// is granted, a role that is granted nothing else, one organization a schema.
func schemas(ctx context.Context, env feature.Env) (string, error) {
	if err := whole(env); err != nil {
		return "", err
	}
	tables, err := env.Inspect.Tables(ctx)
	if err != nil {
		return "", err
	}
	found := 0
	for _, t := range tables {
		if t.Schema == platform.OwnSchema {
			found = max(found, t.Count)
			// The owner logs in never; whoever else is named could read it.
			if granted(t, func(g platform.Grant) bool { return g.Role != platform.OwnSchema }) {
				return "", fmt.Errorf("%s can be used by another role than its organization's", t.Place())
			}
			continue
		}
		if granted(t, func(g platform.Grant) bool { return organizationRole(g.Role) || g.Role == "PUBLIC" }) {
			return "", fmt.Errorf("%s is granted to the role of a single organization or to everybody", t.Place())
		}
		if granted(t, func(g platform.Grant) bool { return g.Role == "sr_tenant" }) && !slices.Contains([]string{"audit.event", "audit.head"}, t.Place()) {
			return "", fmt.Errorf("%s is granted to all organizations", t.Place())
		}
	}
	logins, err := schemaRoles(ctx, env)
	if err != nil {
		return "", err
	}
	for i, c := range env.Canaries {
		if c.Placement != platform.PlacementSchema {
			continue
		}
		if err := oneOwnSchema(ctx, env, c, env.Strange[i]); err != nil {
			return "", at(c, err)
		}
		return fmt.Sprintf("%d schemas of single organizations, %d roles: each role is granted the tables of its own schema and the organization's own log (under row-level security), no schema's tables are granted to another role, each role can be entered by one login; a canary organization's schema holds its rows and no other's", found, logins), nil
	}
	return "", errors.New("there is no canary organization in the placement schema")
}

func organizationRole(name string) bool { return len(name) == 34 && strings.HasPrefix(name, "w_") }

// schemaRoles holds the roles of single organizations to what they may become,
// and counts them.
func schemaRoles(ctx context.Context, env feature.Env) (n int, err error) {
	roles, err := env.Inspect.Roles(ctx)
	if err != nil {
		return 0, err
	}
	entered := map[string]int{}
	for _, r := range roles {
		for _, m := range r.Member {
			entered[m]++
			if organizationRole(m) && !strings.HasPrefix(r.Name, "sr_app_") {
				return 0, fmt.Errorf("%s can act as the role of an organization", r.Name)
			}
		}
		if organizationRole(r.Name) {
			n++
			if r.Login || len(r.Powers) > 0 || !slices.Equal(r.Member, []string{"sr_tenant"}) {
				return 0, fmt.Errorf("the role %s of an organization can become more than that", r.Name)
			}
		}
	}
	for role, by := range entered {
		if organizationRole(role) && by != 1 {
			return 0, fmt.Errorf("the role %s of an organization can be entered by %d logins", role, by)
		}
	}
	return n, nil
}

// oneOwnSchema looks where a canary organization really is.
func oneOwnSchema(ctx context.Context, env feature.Env, mine, theirs feature.CanaryOrg) error {
	home := func(c feature.CanaryOrg) (schema string, sharing int64, err error) {
		_, _, err = platform.Do(ctx, env.Platform, platform.Request{Actor: c.Actor, Org: c.Org, Action: policy.OrgRead}, func(ctx context.Context, tx *platform.Tx) (struct{}, error) {
			return struct{}{}, tx.QueryRow(ctx, platform.Lit(`SELECT o.schema_name, (SELECT count(*) FROM platform.org p WHERE p.schema_name = o.schema_name) FROM platform.org o WHERE o.id = $1`), c.Org.UUID()).Scan(&schema, &sharing)
		})
		return schema, sharing, err
	}
	a, n, err := home(mine)
	if err != nil {
		return err
	}
	b, _, err := home(theirs)
	if err != nil {
		return err
	}
	if n != 1 || a == b || !organizationRole(a) {
		return errors.New("the organization shares its schema")
	}
	_, err = env.Plant(ctx, "organization", []feature.CanaryOrg{mine}, func(all []feature.Planted) (string, error) {
		_, _, err := tenant.Do(ctx, env.Store, mine.Request(policy.RecordRead), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
			var role, schema string
			var own, foreign int64
			err := tx.QueryRow(ctx, tenant.Lit(`SELECT current_user::text, current_schema()::text, count(*) FILTER (WHERE org_id = $1), count(*) FILTER (WHERE org_id <> $1) FROM record`), tx.Org().UUID()).
				Scan(&role, &schema, &own, &foreign)
			if err == nil && (role != a || schema != a || own == 0 || foreign > 0) {
				err = errors.New("a request does not run in the organization's own schema and role")
			}
			return struct{}{}, err
		})
		return "", err
	})
	return err
}

// foreignKeys follows the foreign keys from every table to the directory of
// organizations, and tries to store a row that belongs nowhere.
func foreignKeys(ctx context.Context, env feature.Env) (string, error) {
	if err := whole(env); err != nil {
		return "", err
	}
	tables, err := env.Inspect.Tables(ctx)
	if err != nil {
		return "", err
	}
	count := 0
	for _, t := range ofOrganizations(tables) {
		if !bound(tables, t, "org_id", 0) && (t.Name != "org" || !bound(tables, t, "id", 0)) {
			return "", fmt.Errorf("%s is not bound to its organization by a foreign key", t.Place())
		}
		count += t.Count
	}
	for _, name := range []string{"audit.event", "platform.membership", "platform.api_key"} {
		i := slices.IndexFunc(tables, func(t platform.Table) bool { return t.Place() == name })
		if i < 0 || !bound(tables, tables[i], "org_id", 0) {
			return "", fmt.Errorf("%s is not bound to its organization by a foreign key", name)
		}
		count++
	}
	for _, c := range env.Canaries {
		if err := homeless(ctx, env, c); err != nil {
			return "", at(c, err)
		}
	}
	return fmt.Sprintf("%d tables: a validated foreign key leads from the organization's column of each to the directory of organizations (events get theirs with their place in the log, at once); in %d placements a row without a home was refused by its foreign key", count, len(env.Canaries)), nil
}

// bound reports whether a column of a table refers to an organization: to
// the directory itself, or to a table whose own column does.
func bound(tables []platform.Table, t platform.Table, column string, depth int) bool {
	if depth > 4 {
		return false
	}
	i := slices.IndexFunc(t.Columns, func(c platform.Column) bool { return c.Name == column })
	if i < 0 || !t.Columns[i].NotNull {
		return false
	}
	for _, k := range t.ForeignKeys {
		at := slices.Index(k.Columns, column)
		// A key of several columns of which one is NULL binds nothing.
		whole := !slices.ContainsFunc(k.Columns, func(name string) bool {
			return slices.ContainsFunc(t.Columns, func(c platform.Column) bool { return c.Name == name && !c.NotNull })
		})
		if at < 0 || !k.Valid || !whole {
			continue
		}
		if k.Table == "platform.org" && k.References[at] == "id" {
			return true
		}
		all := true
		some := false
		for _, next := range tables {
			if next.Schema+"."+next.Name == k.Table {
				some = true
				all = all && bound(tables, next, k.References[at], depth+1)
			}
		}
		if some && all {
			return true
		}
	}
	return false
}

// homeless stores a record in a collection that is not there.
func homeless(ctx context.Context, env feature.Env, c feature.CanaryOrg) error {
	_, _, err := tenant.Do(ctx, env.Store, c.Request(policy.RecordUpdate), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		row := id.NewRecord().UUID()
		_, err := tx.Exec(ctx, tenant.Lit(`INSERT INTO record (org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
 VALUES ($1, $2, $2, 1, 1, '\x01', $3, 'o', $4, $3, $4, $3)`), tx.Org().UUID(), row, tx.Actor().Person().UUID(), tx.Now())
		if err == nil {
			err = errors.New("a record was stored in a collection that is not there")
		}
		return struct{}{}, err
	})
	if tenant.IsForeignKey(err, "") {
		return nil
	}
	return err
}
