package platform_test

import (
	"slices"
	"testing"

	"strongroom/internal/store/platform"
	"strongroom/internal/testkit"
)

func TestTheInspectorSeesTheFormsOfTablesAndNoRows(t *testing.T) {
	t.Parallel()
	db := testkit.Database(t)
	org := testkit.Org(t, platform.PlacementSchema)
	i := platform.NewInspector(db.URL)
	tables, err := i.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	find := func(schema, name string) platform.Table {
		t.Helper()
		at := slices.IndexFunc(tables, func(t platform.Table) bool { return t.Schema == schema && t.Name == name })
		if at < 0 {
			t.Fatalf("%s.%s is not there", schema, name)
		}
		return tables[at]
	}
	own, pool := find(platform.OwnSchema, "record"), find("pool", "record")
	if own.Owner != "sr_owner" || !own.RowSecurity || !own.Forced || own.Kind != "r" || len(own.Policies) != 2 || len(own.Columns) != len(pool.Columns) || own.Count < 1 {
		t.Errorf("%+v", own)
	}
	// The one is for the owner, who examines; the other binds everybody else.
	if examination := own.Policies[0]; !slices.Equal(examination.Roles, []string{"sr_owner"}) || examination.Command != "r" {
		t.Errorf("%+v", own.Policies)
	}
	if own.Policies[1].Using != pool.Policies[1].Using || !slices.Equal(own.Policies[1].Roles, []string{"sr_tenant"}) || own.Policies[1].Command != "*" {
		t.Errorf("%+v", own.Policies)
	}
	if !slices.ContainsFunc(own.Grants, func(g platform.Grant) bool { return g.Role == platform.OwnSchema && g.Privilege == "UPDATE" }) ||
		!slices.ContainsFunc(pool.Grants, func(g platform.Grant) bool { return g.Role == "w_pool" }) {
		t.Errorf("%+v, %+v", own.Grants, pool.Grants)
	}
	if k := own.ForeignKeys; len(k) != 1 || k[0].Table != platform.OwnSchema+".collection" || !slices.Equal(k[0].Columns, []string{"org_id", "collection_id"}) || !k[0].Valid {
		t.Errorf("%+v", k)
	}
	if g := find("audit", "pending").Grants; !slices.ContainsFunc(g, func(g platform.Grant) bool { return g.Column == "org_id" && g.Privilege == "INSERT" }) {
		t.Errorf("privileges on columns are missing: %+v", g)
	}
	roles, err := i.Roles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(roles, func(r platform.Role) bool { return r.Name == org.Role })
	if at < 0 || roles[at].Login || !slices.Equal(roles[at].Member, []string{"sr_tenant"}) || len(roles[at].Powers) != 0 {
		t.Errorf("the organization's role: %+v", roles)
	}
	if at = slices.IndexFunc(roles, func(r platform.Role) bool { return r.Name == "sr_root" }); at < 0 || !slices.Contains(roles[at].Powers, "superuser") {
		t.Error("the superuser's power is not seen")
	}
	all, err := i.Connections(t.Context())
	if err != nil || len(all) != len(platform.Logins()) {
		t.Fatalf("%d connections, %v", len(all), err)
	}
	for _, c := range all {
		if c.Network != "unix" || c.TLS != 0 {
			t.Errorf("%+v", c)
		}
	}
	if v, err := i.Setting(t.Context(), "row_security"); err != nil || v != "on" {
		t.Errorf("row_security is %q, %v", v, err)
	}
	if v, err := i.Setting(t.Context(), "nothing.of_the_kind"); err != nil || v != "" {
		t.Errorf("a setting that is not there is %q, %v", v, err)
	}
}
