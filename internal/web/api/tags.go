package api

import (
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// tag is a heading of the description: what the last noun of a path is about.
type tag struct {
	noun, name, about string
}

// tags are the headings in the order in which people meet what they are about.
// A second noun of one heading has no words of its own.
var tags = []tag{
	{"sessions", "Sessions", "Signing in and out, and what is about the caller alone."},
	{"setup", "Setup", "The first start of an installation."},
	{"sandboxes", "Sandboxes", "Organizations to throw away, for developers."},
	{"orgs", "Organizations", "Organizations, their names, plans and places."},
	{"members", "Members", "Who belongs to an organization, and in which roles."},
	{"people", "Members", ""},
	{"roles", "Roles", "The roles and what each allows."},
	{"keys", "Keys", "API keys for programs."},
	{"kits", "Kits", "Ready-made sets of collections."},
	{"collections", "Collections", "Kinds of records, each with a JSON Schema."},
	{"records", "Records", "Records, their versions, and who sees them."},
	{"links", "Links", "What a record is linked to."},
	{"files", "Files", "Files of any type and size."},
	{"trash", "Trash", "What was deleted and can be taken back."},
	{"exports", "Exports", "Taking data out."},
	{"audit", "Log", "The organization's own record of who did what."},
	{"plans", "Plans", "What each plan has."},
	{"reports", "Reports", "Reports of vulnerabilities."},
	{"status", "Status", "Whether the installation is well."},
}

// tagOf finds the heading of a path: the last of its parts that is a noun of
// the list.
func tagOf(path string) string {
	parts := strings.Split(path, "/")
	for i := len(parts) - 1; i > 0; i-- {
		noun, _, _ := strings.Cut(parts[i], ":")
		for _, t := range tags {
			if noun == t.noun || noun+"s" == t.noun {
				return t.name
			}
		}
	}
	// The part after /v1, so that an operation with a noun of its own is not
	// lost among others.
	if len(parts) > 2 {
		return camel(parts[2])
	}
	return "Other"
}

// headings describes the tags that operations have.
func headings(used map[string]bool) (all []*huma.Tag) {
	for _, t := range tags {
		if used[t.name] && t.about != "" {
			all = append(all, &huma.Tag{Name: t.name, Description: t.about})
		}
	}
	return all
}
