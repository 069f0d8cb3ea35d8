package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"strongroom/client"
	"strongroom/cmd/strongroom/internal/show"
)

var trashColumns = []show.Column[client.Trashed]{
	{Name: "ID", Value: func(t client.Trashed) string { return t.ID }},
	{Name: "KIND", Value: func(t client.Trashed) string {
		if t.Collection != "" {
			return t.Collection
		}
		return t.Kind
	}},
	{Name: "DELETED", Value: func(t client.Trashed) string { return when(t.DeletedAt) }},
	{Name: "UNTIL", Value: func(t client.Trashed) string { return when(t.PurgeAfter) }},
	{Name: "TITLE", Value: func(t client.Trashed) string { return t.Title }, Width: 48},
}

var sharingColumns = []show.Column[client.Sharing]{
	{Name: "VISIBILITY", Value: func(s client.Sharing) string { return s.Visibility }},
	{Name: "PEOPLE", Value: func(s client.Sharing) string { return join(s.People) }},
}

func (a *cli) trash() *cobra.Command {
	var p paging
	var files, records bool
	ls := &cobra.Command{Use: "ls", Short: "List what can be taken back", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			kind := ""
			switch {
			case files && records:
				return usagef("give --files or --records, or neither for both")
			case files:
				kind = "file"
			case records:
				kind = "record"
			}
			s, org, err := a.enter(ctx)
			if err != nil {
				return err
			}
			return list(ctx, a, p, trashColumns, func(ctx context.Context, l client.List) (client.Page[client.Trashed], error) {
				return s.ListTrash(ctx, org, kind, l)
			})
		}}
	p.flags(ls)
	ls.Flags().BoolVar(&files, "files", false, "only files")
	ls.Flags().BoolVar(&records, "records", false, "only records")
	var kind string
	back := &cobra.Command{Use: "restore ID...", Short: "Take records and files back out of the trash", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			for _, arg := range args {
				if !isRecord(arg) && !isFile(arg) {
					return usagef("what is it? An id begins with rec_ or fil_")
				}
			}
			s, org, err := a.enter(ctx)
			if err != nil {
				return err
			}
			for _, arg := range args {
				if err := restoreOne(ctx, s.Client, org, arg, kind); err != nil {
					return fmt.Errorf("%s: %w", arg, err)
				}
				a.say("%s is back.", arg)
			}
			return nil
		}}
	back.Flags().StringVar(&kind, "kind", "", "collection of the records")
	return a.inOrg(group("trash", "List the trash, and take things back", ls, back))
}

func restoreOne(ctx context.Context, c *client.Client, org, arg, kind string) error {
	if isFile(arg) {
		_, err := c.RestoreFile(ctx, org, arg)
		return err
	}
	r, err := parseRef(arg, kind)
	if err != nil {
		return err
	}
	return locate(ctx, c, org, r, func(r ref) error {
		_, err := c.RestoreRecord(ctx, org, r.kind, r.id)
		return err
	})
}

func (a *cli) share() *cobra.Command {
	var kind string
	var with []string
	var everybody, nobody bool
	cmd := &cobra.Command{
		Use: "share RECORD", Short: "Say who sees a record of your own, or see who does", Args: cobra.ExactArgs(1),
		Long: `Say who sees a record of your own, or see who does.

Without a flag it shows who sees the record. --with makes it private and names
everybody else who sees it: whoever is left out sees it no more. With a private
record they also see your private files that you linked it to.`,
		Example: `  strongroom share notes/rec_…
  strongroom share notes/rec_… --with prs_… --with prs_…
  strongroom share notes/rec_… --nobody
  strongroom share notes/rec_… --organization`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			r, err := parseRef(args[0], kind)
			if err != nil {
				return err
			}
			said := 0
			for _, yes := range []bool{len(with) > 0, everybody, nobody} {
				if yes {
					said++
				}
			}
			if said > 1 {
				return usagef("give one of --with, --organization and --nobody")
			}
			for _, p := range with {
				if !strings.HasPrefix(p, "prs_") {
					return usagef("a person is named by an id that begins with prs_; strongroom members list shows them")
				}
			}
			s, org, err := a.enter(ctx)
			if err != nil {
				return err
			}
			var now client.Sharing
			err = locate(ctx, s.Client, org, r, func(r ref) (err error) {
				switch {
				case said == 0:
					now, err = s.Sharing(ctx, org, r.kind, r.id)
				case everybody:
					now, err = s.Share(ctx, org, r.kind, r.id, client.Sharing{Visibility: client.ForOrganization})
				default:
					now, err = s.Share(ctx, org, r.kind, r.id, client.Sharing{Visibility: client.ForOwner, People: with})
				}
				return err
			})
			if err != nil {
				return err
			}
			return show.One(a.out, a.format, sharingColumns, now)
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "collection of the record")
	cmd.Flags().StringArrayVar(&with, "with", nil, "share the private record with this person, `prs_…`; may be repeated")
	cmd.Flags().BoolVar(&everybody, "organization", false, "let everybody in the organization see it")
	cmd.Flags().BoolVar(&nobody, "nobody", false, "let nobody but yourself see it")
	return a.inOrg(cmd)
}
