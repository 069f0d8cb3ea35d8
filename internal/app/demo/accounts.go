package demo

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// Sheet writes down who can sign in, and how, for whoever started the demo.
func Sheet(accounts []Account, url, dataDir string) string {
	var b strings.Builder
	owner := accounts[0].Email
	for _, a := range accounts {
		if a.Owner {
			owner = a.Email
			break
		}
	}
	fmt.Fprintf(&b, `The demonstration's people

Everybody here is made up, and so is every password: for this installation alone, from its keys.
Sign in as one of them, for example:

  bin/strongroom login %s --data %s --email %s

While this file is not empty, the demonstration is left as it is. Without it, the next start with --demo
puts back what is missing and writes the file again.

`, url, quote(dataDir), owner)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	org := "-"
	for _, a := range accounts {
		if a.Organization != org {
			org = a.Organization
			name := org
			if name == "" {
				name = "The installation"
			}
			_, _ = fmt.Fprintf(w, "%s\n", name)
		}
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", a.Email, a.Password.Reveal(), a.Name+", "+a.Duty, roles(a))
	}
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}

func roles(a Account) string {
	names := make([]string, 0, len(a.Roles)+1)
	if a.Owner {
		names = append(names, "owner")
	}
	for _, r := range a.Roles {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}

// quote writes a path as a shell reads it.
func quote(name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-", r)
	}) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
