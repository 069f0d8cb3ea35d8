package members

import (
	"context"

	"strongroom/internal/base/policy"
	"strongroom/internal/store/platform"
)

// RoleTable is who may do what, in words: the very table that decides.
type RoleTable struct {
	Roles  []RoleWords   `json:"roles" doc:"In the order in which people read them."`
	Groups []ActionGroup `json:"groups"`
}

// RoleWords says what somebody in a role does.
type RoleWords struct {
	Role  policy.Role `json:"role"`
	Words string      `json:"words"`
}

// ActionGroup is a heading of the table.
type ActionGroup struct {
	Name    string        `json:"name"`
	Actions []ActionWords `json:"actions"`
}

// ActionWords is a line of the table.
type ActionWords struct {
	Action    policy.Action `json:"action"`
	Words     string        `json:"words"`
	Roles     []policy.Role `json:"roles" doc:"That allow it."`
	Everybody bool          `json:"everybody" doc:"Needs no role: it is about the caller alone."`
	ForKeys   bool          `json:"for_keys" doc:"A key for a program may carry it as a scope."`
}

var roleTable = makeRoleTable()

func makeRoleTable() RoleTable {
	var t RoleTable
	for _, r := range policy.Roles {
		t.Roles = append(t.Roles, RoleWords{r, policy.DescribeRole(r)})
	}
	for _, g := range policy.Groups() {
		group := ActionGroup{Name: g.Name}
		for _, a := range g.Actions {
			if policy.StandingOf(a) == policy.Nobody {
				continue // a mark in the log, nothing to do
			}
			line := ActionWords{Action: a, Words: policy.Describe(a), Roles: []policy.Role{}, Everybody: policy.Open(a, true), ForKeys: policy.Delegable(a)}
			for _, r := range policy.Roles {
				if policy.Allow([]policy.Role{r}, a) {
					line.Roles = append(line.Roles, r)
				}
			}
			group.Actions = append(group.Actions, line)
		}
		t.Groups = append(t.Groups, group)
	}
	return t
}

type rolesOut struct{ Body RoleTable }

func roles(context.Context, *platform.Tx, none) (rolesOut, error) { return rolesOut{roleTable}, nil }
