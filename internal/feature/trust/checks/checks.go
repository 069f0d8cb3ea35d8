// Package checks proves what the house promises as a whole: that nothing
// crosses between organizations, and that nothing stands in the clear.
//
// What one feature promises is checked in its own folder (prove.go). A check
// here acts like a user, through the server's own port, or like an attacker,
// on the database; it stays inside the canary organizations and takes away
// what it brought. Its evidence says what was tried and seen, and no more.
package checks

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"strongroom/internal/feature"
	"strongroom/internal/store/platform"
)

// Feature offers the checks.
func Feature() feature.Feature {
	canary := func(name string, check func(context.Context, feature.Env) (string, error)) []feature.Clause {
		return []feature.Clause{{Name: name, Tag: feature.Canary, Check: check}}
	}
	return feature.Feature{Name: "checks", Promises: []feature.Promise{
		{ID: "OWN-2", Clauses: canary("purpose", purpose)},
		{ID: "OWN-3", Clauses: canary("interfaces", interfaces)},
		{ID: "ENC-1", Clauses: []feature.Clause{
			{Name: "names", Tag: feature.Canary, Check: names},
			{Name: "clear_columns", Tag: feature.Passive, Check: clearColumns},
		}},
		{ID: "ENC-2", Clauses: canary("keys", separateKeys)},
		{ID: "ENC-4", Clauses: []feature.Clause{{Name: "database", Tag: feature.Passive, Check: databaseConnections}}},
		{ID: "ENC-5", Clauses: canary("credentials", credentials)},
		{ID: "ISO-1", Clauses: canary("schema", schemas)},
		{ID: "ISO-2", Clauses: []feature.Clause{
			{Name: "policies", Tag: feature.Canary, Check: policies},
			{Name: "arbitrary_sql", Tag: feature.Canary, Check: arbitrarySQL},
			{Name: "private_rows", Tag: feature.Canary, Check: privateRows},
		}},
		{ID: "ISO-3", Clauses: canary("foreign_keys", foreignKeys)},
		{ID: "ISO-7", Clauses: canary("api", queries)},
	}}
}

var errNoCanaries = errors.New("there is not one canary organization and one strange one for each placement")

// whole refuses an environment in which a check would have nobody to act as.
func whole(env feature.Env) error {
	if len(env.Canaries) == 0 || len(env.Strange) != len(env.Canaries) || len(env.Peers) != len(env.Canaries) {
		return errNoCanaries
	}
	return nil
}

// at says where something went wrong.
func at(c feature.CanaryOrg, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("placement %s: %w", c.Placement, err)
}

// bookkeeping is the migrations' own table. No role but the owner has any
// right to it, which every check of tables sees to.
const bookkeeping = "goose_db_version"

// ofOrganizations picks the tables of the pool and of organizations' schemas.
func ofOrganizations(tables []platform.Table) []platform.Table {
	return slices.DeleteFunc(slices.Clone(tables), func(t platform.Table) bool {
		return t.Schema != "pool" && t.Schema != platform.OwnSchema || t.Name == bookkeeping
	})
}

// granted reports whether anybody but the owner has a privilege on a table.
func granted(t platform.Table, match func(platform.Grant) bool) bool {
	return slices.ContainsFunc(t.Grants, match)
}
