package checks

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
)

// names plants names of every kind and looks for them in whatever the
// database has of the organization.
func names(ctx context.Context, env feature.Env) (string, error) {
	if err := whole(env); err != nil {
		return "", err
	}
	tables, err := env.Inspect.Tables(ctx)
	if err != nil {
		return "", err
	}
	rows, kinds := 0, 0
	for _, c := range env.Canaries {
		n, k, err := namesIn(ctx, env, tables, c)
		if err != nil {
			return "", at(c, err)
		}
		rows, kinds = rows+n, k
	}
	return fmt.Sprintf("%d kinds of name in %d placements (organization, person, address, collection, its title, relation, key): none in the %d rows that the database has of them, as they are, in hexadecimal or base64; each read back by the API. File names: see ENC-1/files", kinds, len(env.Canaries), rows), nil
}

func namesIn(ctx context.Context, env feature.Env, tables []platform.Table, c feature.CanaryOrg) (rows, kinds int, err error) {
	kind, title, relation, key := feature.NewMark(), feature.NewMark(), feature.NewMark(), feature.NewMark()
	marks := map[string]feature.Mark{
		"the organization's name": feature.MarkOf(c.Name), "a person's address": feature.MarkOf(c.Email), "a collection's name": kind,
		"a collection's title": title, "a relation": relation, "a key's name": key, "a person's name": feature.MarkOf(c.Name),
	}
	name := "c-" + kind.Text
	var made struct{ ID id.Collection }
	if _, err := env.Want(ctx, c.Token, http.MethodPost, c.Path("/collections"), map[string]any{"kind": name, "title": title.Text}, http.StatusCreated, &made); err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, env.Undeclare(ctx, c, made.ID)) }()
	var token struct{ ID id.Key }
	if _, err := env.Want(ctx, c.Token, http.MethodPost, c.Path("/keys"), map[string]any{"name": key.Text, "roles": []policy.Role{policy.Analyst}}, http.StatusCreated, &token); err != nil {
		return 0, 0, err
	}
	_, err = env.Plant(ctx, "organization", []feature.CanaryOrg{c, c}, func(two []feature.Planted) (string, error) {
		if _, err := env.Want(ctx, c.Token, http.MethodPost, two[0].Path("/links"), map[string]any{"to": two[1].ID.String(), "relation": relation.Text}, http.StatusCreated, nil); err != nil {
			return "", err
		}
		// They are really there: each comes back through the API.
		for what, path := range map[string]string{"a collection's title": "/collections/" + name, "a relation": "/collections/" + two[0].Kind + "/records/" + two[0].ID.String() + "/links",
			"a key's name": "/keys?limit=200", "a person's address": "/members?limit=200", "the organization's name": ""} {
			a, err := env.Want(ctx, c.Token, http.MethodGet, c.Path(path), nil, http.StatusOK, nil)
			if err != nil {
				return "", err
			}
			if !strings.Contains(string(a.Body), marks[what].Text) && what != "a key's name" { // an older page may hide a new key
				return "", fmt.Errorf("%s does not come back", what)
			}
		}
		n, err := sift(ctx, env, tables, c, marks)
		rows = n
		return "", err
	})
	if err == nil {
		_, err = env.Want(ctx, c.Token, http.MethodDelete, c.Path("/keys/", token.ID.String()), nil, http.StatusNoContent, nil)
	}
	return rows, len(marks), err
}

// sift looks for marks in every row that the database has of an organization,
// people and keys included.
func sift(ctx context.Context, env feature.Env, tables []platform.Table, c feature.CanaryOrg, marks map[string]feature.Mark) (rows int, err error) {
	look := func(table string, all []string) error {
		rows += len(all)
		for _, row := range all {
			for what, m := range marks {
				if m.In([]byte(row)) {
					return fmt.Errorf("%s stands in the clear in the table %s", what, table)
				}
			}
		}
		return nil
	}
	_, _, err = tenant.Do(ctx, env.Store, c.Request(policy.RecordRead), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		for _, table := range feature.Readable(tables, c.Placement) {
			all, err := tenant.Raw(ctx, tx, table)
			if err == nil {
				err = look(table, all)
			}
			if err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	if err == nil && rows == 0 {
		err = errors.New("no rows were looked at")
	}
	if err != nil {
		return rows, err
	}
	_, _, err = platform.Do(ctx, env.Platform, platform.Request{Actor: c.Actor, Org: c.Org, Action: policy.MemberList}, func(ctx context.Context, tx *platform.Tx) (struct{}, error) {
		for table, sql := range map[string]platform.SQL{
			"platform.person":     platform.Lit(`SELECT p::text FROM platform.person p WHERE $1::uuid IS NOT NULL`),
			"platform.membership": platform.Lit(`SELECT m::text FROM platform.membership m WHERE org_id = $1`),
			"platform.api_key":    platform.Lit(`SELECT k::text FROM platform.api_key k WHERE org_id = $1`),
			"platform.org":        platform.Lit(`SELECT o::text FROM platform.org o WHERE id = $1`),
		} {
			found, err := tx.Query(ctx, sql, c.Org.UUID())
			if err != nil {
				return struct{}{}, err
			}
			var all []string
			for found.Next() {
				var row string
				if err := found.Scan(&row); err != nil {
					found.Close()
					return struct{}{}, err
				}
				all = append(all, row)
			}
			found.Close()
			if err := found.Err(); err != nil {
				return struct{}{}, err
			}
			if len(all) == 0 {
				return struct{}{}, fmt.Errorf("no rows of %s were seen", table)
			}
			if err := look(table, all); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	return rows, err
}

// clearColumns holds the database to the list of what is not sealed.
func clearColumns(ctx context.Context, env feature.Env) (string, error) {
	tables, err := env.Inspect.Tables(ctx)
	if err != nil {
		return "", err
	}
	list := platform.ClearColumns()
	sealed, clear := 0, 0
	for _, t := range tables {
		schema := t.Schema
		if schema == platform.OwnSchema {
			schema = "pool"
		}
		for _, c := range t.Columns {
			if c.Type == "sr.sealed" {
				sealed += t.Count
				continue
			}
			if t.Kind == "v" || !slices.Contains(list, fmt.Sprintf("%s.%s.%s %s", schema, t.Name, c.Name, c.Type)) {
				return "", fmt.Errorf("the column %s of %s is not sealed, and not on the list of clear columns", c.Name, t.Place())
			}
			clear += t.Count
		}
	}
	if sealed == 0 || clear == 0 {
		return "", errors.New("no columns were seen")
	}
	return fmt.Sprintf("%d columns in all schemas are sealed; the %d others are those %d that are listed one by one (ids, times, sizes, states, roles, keyed tokens and hashes)", sealed, clear, len(list)), nil
}

// leaves are places in the key tree that two organizations are compared at:
// the reserved ones, the first leases, and some far off.
var leaves = []keytree.Leaf{keytree.LeafProfile, keytree.LeafIndex, keytree.LeafAudit, keytree.LeafToken, 16, 17, 1000, 65_535, 65_536, 1 << 24, 1 << 31}

// separateKeys compares organizations' keys, and tries one's on what another
// has sealed.
func separateKeys(ctx context.Context, env feature.Env) (string, error) {
	if err := whole(env); err != nil {
		return "", err
	}
	compared, refused := 0, 0
	for _, mine := range env.Everybody() {
		_, _, err := tenant.Do(ctx, env.Store, mine.Request(policy.RecordRead), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
			place := seal.Place{Org: tx.Org(), Table: "canary", Row: id.NewRecord().UUID(), Version: 1}
			mark := feature.NewMark()
			sealed, err := seal.Seal(ctx, tx.Keys(), place, seal.Section{Name: "canary", Leaf: leaves[4], Plain: seal.NewSecretString(mark.Text)})
			if err != nil {
				return struct{}{}, err
			}
			if plain, err := seal.OpenOne(ctx, tx.Keys(), place, sealed, "canary"); err != nil || string(plain.Reveal()) != mark.Text {
				return struct{}{}, errors.Join(errors.New("what was sealed does not open with the organization's own keys"), err)
			}
			for _, other := range env.Everybody() {
				if other.Org == mine.Org {
					continue
				}
				theirs := tx.KeysOf(other.Org)
				// As they are, and in disguise: then it is the key alone that
				// does not open.
				for _, keys := range []seal.Keys{theirs, feature.Disguise(theirs, tx.Org())} {
					if _, err := seal.OpenOne(ctx, keys, place, sealed, "canary"); err == nil {
						return struct{}{}, errors.New("another organization's keys open what was sealed here")
					}
					refused++
				}
				if _, err := seal.OpenOne(ctx, feature.Disguise(theirs, tx.Org()), place, sealed, "canary"); !errors.Is(err, seal.ErrOpen) {
					return struct{}{}, fmt.Errorf("another organization's keys were not tried: %w", err)
				}
				for _, leaf := range leaves {
					a, err := tx.Keys().LeafKey(ctx, 1, leaf)
					if err != nil {
						return struct{}{}, err
					}
					b, err := theirs.LeafKey(ctx, 1, leaf)
					if err != nil {
						return struct{}{}, err
					}
					if a == b {
						return struct{}{}, errors.New("two organizations have a key in common")
					}
					compared++
				}
			}
			return struct{}{}, nil
		})
		if err != nil {
			return "", at(mine, err)
		}
	}
	return fmt.Sprintf("%d organizations: %d pairs of keys compared, no two alike; %d attempts to open one organization's sealed value with another's keys failed, by the key itself", len(env.Everybody()), compared, refused), nil
}

// databaseConnections opens a connection of every login and looks at what it
// goes through.
func databaseConnections(ctx context.Context, env feature.Env) (string, error) {
	all, err := env.Inspect.Connections(ctx)
	if err != nil {
		return "", err
	}
	local, secured := 0, 0
	for _, c := range all {
		switch {
		case c.Network == "unix":
			local++
		case c.TLS >= tls.VersionTLS12:
			secured++
		default:
			return "", fmt.Errorf("the login %s reaches the database over the network without TLS 1.2 or newer", c.Login)
		}
	}
	if len(all) == 0 {
		return "", errors.New("there are no logins")
	}
	listens, err := env.Inspect.Setting(ctx, "listen_addresses")
	if err != nil {
		return "", err
	}
	if listens != "" {
		on, err := env.Inspect.Setting(ctx, "ssl")
		if err != nil {
			return "", err
		}
		least, err := env.Inspect.Setting(ctx, "ssl_min_protocol_version")
		if err != nil {
			return "", err
		}
		if on != "on" || least != "TLSv1.2" && least != "TLSv1.3" {
			return "", errors.New("the database listens on a network and does not insist on TLS 1.2 or newer")
		}
		return fmt.Sprintf("%d logins: %d by a socket of this host, %d by TLS 1.2 or newer", len(all), local, secured), nil
	}
	return fmt.Sprintf("%d logins: %d by a socket of this host, %d by TLS 1.2 or newer; the database listens on no network", len(all), local, secured), nil
}
