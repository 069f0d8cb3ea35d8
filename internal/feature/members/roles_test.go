package members_test

import (
	"slices"
	"testing"

	"strongroom/internal/base/policy"
)

func TestTheTableOfRolesIsTheOneThatDecidesAndIsPublic(t *testing.T) {
	t.Parallel()
	h := open(t)
	table := h.want(t, 200, "", "GET", "/v1/roles", nil)
	words := map[string]string{}
	for _, r := range table["roles"].([]any) {
		words[r.(object)["role"].(string)] = r.(object)["words"].(string)
	}
	for _, r := range policy.Roles {
		if words[string(r)] != policy.DescribeRole(r) {
			t.Errorf("%s is %q", r, words[string(r)])
		}
	}
	seen := map[policy.Action]bool{}
	for _, g := range table["groups"].([]any) {
		for _, line := range g.(object)["actions"].([]any) {
			l := line.(object)
			a := policy.Action(l["action"].(string))
			seen[a] = true
			var roles []string
			for _, r := range l["roles"].([]any) {
				roles = append(roles, r.(string))
			}
			for _, r := range policy.Roles {
				if slices.Contains(roles, string(r)) != policy.Allow([]policy.Role{r}, a) {
					t.Errorf("%s for %s is told otherwise than decided", a, r)
				}
			}
			if l["words"] != policy.Describe(a) || l["for_keys"] != policy.Delegable(a) || l["everybody"] != policy.Open(a, true) {
				t.Errorf("%s is %v", a, l)
			}
		}
	}
	for _, a := range policy.Actions() {
		if seen[a] != (policy.StandingOf(a) != policy.Nobody) {
			t.Errorf("%s: told %t", a, seen[a])
		}
	}
}

func TestAnOrganizationIsRenamedAndASessionSaysWhoRunsTheInstallation(t *testing.T) {
	t.Parallel()
	h := open(t)
	path, ada, _ := h.org(t)
	if out := h.want(t, 200, ada, "PUT", path, object{"name": "Another name"}); out["name"] != "Another name" {
		t.Errorf("renamed: %v", out)
	}
	h.want(t, 422, ada, "PUT", path, object{"name": ""})
	in := h.want(t, 200, ada, "GET", "/v1/sessions/current", nil)
	if got := in["roles"].([]any); len(got) != 0 {
		t.Errorf("an owner holds %v on the installation", got)
	}
	in = h.want(t, 200, h.root, "GET", "/v1/sessions/current", nil)
	if got := in["roles"].([]any); len(got) != 1 || got[0] != "system_admin" {
		t.Errorf("the administrator holds %v", got)
	}
	people := h.want(t, 200, ada, "GET", path+"/people", nil)["items"].([]any)
	if len(people) != 1 || people[0].(object)["email"] != nil || people[0].(object)["name"] == "" {
		t.Errorf("names: %v", people)
	}
}
