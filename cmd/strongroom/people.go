package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"strongroom/client"
	"strongroom/cmd/strongroom/internal/show"
)

func (a *cli) orgs() *cobra.Command {
	var p paging
	ls := &cobra.Command{Use: "list", Short: "List your organizations", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			return list(cmd.Context(), a, p, orgColumns, s.ListOrganizations)
		}}
	p.flags(ls)
	use := &cobra.Command{Use: "use ORGANIZATION", Short: "Choose the organization that commands are for", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			id, err := findOrg(cmd.Context(), s.Client, args[0])
			if err != nil {
				return err
			}
			o, err := s.Organization(cmd.Context(), id)
			if err != nil {
				return err
			}
			s.profile.Org = o.ID
			if err := s.file.Save(); err != nil {
				return err
			}
			a.say("In use: %s (%s).", o.Name, o.ID)
			return nil
		}}
	get := &cobra.Command{Use: "show [ORGANIZATION]", Short: "Show an organization", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				a.orgFlag = args[0]
			}
			s, org, err := a.enter(cmd.Context())
			if err != nil {
				return err
			}
			o, err := s.Organization(cmd.Context(), org)
			if err != nil {
				return err
			}
			return show.One(a.out, a.format, orgColumns, o)
		}}
	var n client.NewOrganization
	var password secretFlags
	create := &cobra.Command{Use: "create [NAME]", Short: "Make an organization and its first admin (role system_admin)", Args: cobra.MaximumNArgs(1),
		Long: `Make an organization and its first admin, who is its owner: on the server one is signed in to, which
takes the role system_admin, or with --data on the installation of this machine, for whoever may open
its data directory. Without a password the first admin gets a random one, which is printed once.`,
		Example: `  strongroom orgs create "Thin films" --owner-email ada@lab.example --owner-name Ada
  strongroom org create --data /var/lib/strongroom --name "Thin films" --plan team --owner-email ada@lab.example --owner-name Ada`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && n.Name != "" {
				return usagef("give the name once: as NAME or by --name")
			}
			if len(args) == 1 {
				n.Name = args[0]
			}
			if n.Name == "" {
				return usagef("which name? Give it as NAME or by --name")
			}
			return a.createOrg(cmd.Context(), n, &password)
		}}
	f := create.Flags()
	f.StringVar(&n.Name, "name", "", "name of the organization")
	f.StringVar(&n.Placement, "placement", "", "schema or pooled (default: schema)")
	f.StringVar(&n.Plan, "plan", "", "plan (default: the installation's)")
	f.StringVar(&n.Owner.Email, "owner-email", "", "email address of the first admin")
	f.StringVar(&n.Owner.Name, "owner-name", "", "name of the first admin (default: the email address)")
	f.StringVar(&a.dataDir, "data", "", "data directory of the installation on this machine")
	password.flags(create, "owner-password", "first admin's password")
	_ = create.MarkFlagRequired("owner-email")
	orgs := group("orgs", "List, show, choose and make organizations", ls, get, use, create)
	orgs.Aliases = []string{"org"}
	return a.remote(orgs)
}

// roleFlag reads roles, which the server knows better than an old client.
func roleFlag(cmd *cobra.Command, roles *[]string, about string) {
	cmd.Flags().StringSliceVar(roles, "role", nil, about+": scientist, analyst, org_admin, security_admin, billing_admin; may be given again")
}

func asRoles(s []string) []client.Role {
	out := make([]client.Role, len(s))
	for i, r := range s {
		out[i] = client.Role(r)
	}
	return out
}

func (a *cli) members() *cobra.Command {
	var p paging
	ls := &cobra.Command{Use: "list", Short: "List the members", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, org, err := a.enter(cmd.Context())
			if err != nil {
				return err
			}
			return list(cmd.Context(), a, p, memberColumns, func(ctx context.Context, l client.List) (client.Page[client.Member], error) {
				return s.ListMembers(ctx, org, l)
			})
		}}
	p.flags(ls)
	var name string
	var roles []string
	var password, code secretFlags
	add := &cobra.Command{Use: "add [EMAIL]", Short: "Add a member", Args: cobra.MaximumNArgs(1),
		Long: `Add a member: somebody new to the installation by email address, name and password, or somebody
who has an account by the join code that they made with "strongroom joincode".`,
		Example: `  strongroom members add grace@example.org --name Grace --role scientist --password-file ./password
  strongroom members add --role analyst --join-code-stdin < code`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			n := client.NewMember{Name: name, Roles: asRoles(roles)}
			if (len(args) == 1) == code.given() {
				return usagef("who? Give an EMAIL, or the join code of somebody who has an account")
			}
			s, org, err := a.enter(ctx)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				n.Email = args[0]
			}
			if password.given() {
				if n.Password, err = password.read(ctx, a, ""); err != nil {
					return err
				}
			}
			if code.given() {
				if n.JoinCode, err = code.read(ctx, a, ""); err != nil {
					return err
				}
			}
			var m client.Member
			if err := a.wait("Adding the member", func() error { m, err = s.AddMember(ctx, org, n); return err }); err != nil {
				return err
			}
			return show.One(a.out, a.format, memberColumns, m)
		}}
	add.Flags().StringVar(&name, "name", "", "name of the person")
	password.flags(add, "password", "password")
	code.flags(add, "join-code", "join code")
	for _, other := range []string{"name", "password-stdin", "password-file"} {
		add.MarkFlagsMutuallyExclusive("join-code-stdin", other)
		add.MarkFlagsMutuallyExclusive("join-code-file", other)
	}
	roleFlag(add, &roles, "a role to hold")
	_ = add.MarkFlagRequired("role")
	var set []string
	var owner bool
	change := &cobra.Command{Use: "update PERSON", Short: "Change a member's roles, or the mark as owner", Args: cobra.ExactArgs(1),
		Example: `  strongroom members update per_… --role scientist --role org_admin
  strongroom members update per_… --owner=false`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var c client.MemberChange
			if cmd.Flags().Changed("role") {
				c.Roles = asRoles(set)
			}
			if cmd.Flags().Changed("owner") {
				c.Owner = &owner
			}
			s, org, err := a.enter(cmd.Context())
			if err != nil {
				return err
			}
			m, err := s.UpdateMember(cmd.Context(), org, args[0], c)
			if err != nil {
				return err
			}
			return show.One(a.out, a.format, memberColumns, m)
		}}
	roleFlag(change, &set, "a role to hold from now on, instead of those until now")
	change.Flags().BoolVar(&owner, "owner", false, "mark as owner, or with =false no more")
	change.MarkFlagsOneRequired("role", "owner")
	rm := &cobra.Command{Use: "rm PERSON", Short: "Take a member out of the organization", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, org, err := a.enter(cmd.Context())
			if err != nil {
				return err
			}
			if err := s.RemoveMember(cmd.Context(), org, args[0]); err != nil {
				return err
			}
			a.say("%s is no member any more.", args[0])
			return nil
		}}
	return a.inOrg(group("members", "List, add, change and remove members", ls, add, change, rm))
}

func (a *cli) apikeys() *cobra.Command {
	var p paging
	ls := &cobra.Command{Use: "list", Short: "List the API keys", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, org, err := a.enter(cmd.Context())
			if err != nil {
				return err
			}
			return list(cmd.Context(), a, p, keyColumns, func(ctx context.Context, l client.List) (client.Page[client.Key], error) {
				return s.ListKeys(ctx, org, l)
			})
		}}
	p.flags(ls)
	var roles, scopes []string
	var expires, file string
	create := &cobra.Command{Use: "create NAME", Short: "Make an API key; it is shown this once", Args: cobra.ExactArgs(1),
		Example: "  strongroom apikeys create ingest --role scientist --scope record.create --expires 30d --key-file ./key",
		RunE: func(cmd *cobra.Command, args []string) error {
			n := client.NewKey{Name: args[0], Roles: asRoles(roles), Scopes: scopes}
			var err error
			if n.ExpiresAt, err = expiry(expires, time.Now()); err != nil {
				return err
			}
			return a.createKey(cmd.Context(), n, file)
		}}
	roleFlag(create, &roles, "a role of the key")
	_ = create.MarkFlagRequired("role")
	create.Flags().StringSliceVar(&scopes, "scope", nil, "an action the key may perform, as in record.read; may be given again (default: all its roles allow)")
	create.Flags().StringVar(&expires, "expires", "90d", "when it ends: days as in 90d, or a time as in 2030-01-31T00:00:00Z")
	create.Flags().StringVar(&file, "key-file", "", "write the key to this new file (mode 0600), not to the standard output")
	revoke := &cobra.Command{Use: "revoke KEY", Short: "End an API key", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, org, err := a.enter(cmd.Context())
			if err != nil {
				return err
			}
			if err := s.RevokeKey(cmd.Context(), org, args[0]); err != nil {
				return err
			}
			a.say("%s is revoked.", args[0])
			return nil
		}}
	return a.inOrg(group("apikeys", "List, make and revoke API keys", ls, create, revoke))
}

func expiry(s string, now time.Time) (*time.Time, error) {
	if d, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(d); err == nil && n > 0 && n <= 36500 {
			t := now.UTC().AddDate(0, 0, n).Truncate(time.Second)
			return &t, nil
		}
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return &t, nil
	}
	return nil, usagef("--expires must be days as in 90d, or a time as in 2030-01-31T00:00:00Z")
}

// createKey makes a key. The file for it is opened first: a key that cannot be
// written down would be lost.
func (a *cli) createKey(ctx context.Context, n client.NewKey, path string) (err error) {
	var file *os.File
	if path != "" {
		if file, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
			return err
		}
		defer func() {
			if err2 := file.Close(); err == nil {
				err = err2
			}
			if err != nil {
				_ = os.Remove(path)
			}
		}()
	}
	s, org, err := a.enter(ctx)
	if err != nil {
		return err
	}
	k, err := s.CreateKey(ctx, org, n)
	if err != nil {
		return err
	}
	columns := keyColumns
	if file != nil {
		if _, err := fmt.Fprintln(file, k.Token.Reveal()); err != nil {
			return fmt.Errorf("%s was made but could not be written down, so revoke it: %w", k.ID, err)
		}
		return show.One(a.out, a.format, columns, k.Key)
	}
	if a.format == show.AsJSON {
		return show.Object(a.out, struct {
			client.Key
			Token string `json:"token"`
		}{k.Key, k.Token.Reveal()})
	}
	columns = append(slices.Clone(columns), show.Column[client.Key]{Name: "TOKEN", Value: func(client.Key) string { return k.Token.Reveal() }})
	if err := show.One(a.out, a.format, columns, k.Key); err != nil {
		return err
	}
	a.say("This is the only time the key is shown.")
	return nil
}

func (a *cli) audit() *cobra.Command {
	var p paging
	cmd := &cobra.Command{Use: "audit", Short: "List the organization's audit log: who did what, when", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, org, err := a.enter(cmd.Context())
			if err != nil {
				return err
			}
			return list(cmd.Context(), a, p, eventColumns, func(ctx context.Context, l client.List) (client.Page[client.Event], error) {
				return s.ListAudit(ctx, org, l)
			})
		}}
	p.flags(cmd)
	return a.inOrg(cmd)
}
