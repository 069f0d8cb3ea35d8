package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"strongroom/client"
	"strongroom/cmd/strongroom/internal/show"
)

func (a *cli) ls() *cobra.Command {
	var p paging
	var files bool
	var narrow client.Filter
	cmd := &cobra.Command{
		Use:   "ls [KIND]",
		Short: "List collections, the records of one, or files",
		Example: `  strongroom ls
  strongroom ls measurements --all --output csv
  strongroom ls --files`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if files && len(args) > 0 {
				return usagef("give a KIND or --files")
			}
			s, org, err := a.enter(ctx)
			if err != nil {
				return err
			}
			switch {
			case files:
				return list(ctx, a, p, fileColumns, func(ctx context.Context, l client.List) (client.Page[client.File], error) {
					return s.ListFiles(ctx, org, l)
				})
			case len(args) == 1:
				return list(ctx, a, p, recordColumns, func(ctx context.Context, l client.List) (client.Page[client.Record], error) {
					return s.FilterRecords(ctx, org, args[0], narrow, l)
				})
			}
			return list(ctx, a, p, collectionColumns, func(ctx context.Context, l client.List) (client.Page[client.Collection], error) {
				return s.ListCollections(ctx, org, l)
			})
		},
	}
	p.flags(cmd)
	cmd.Flags().BoolVar(&files, "files", false, "list files")
	cmd.Flags().BoolVar(&narrow.Mine, "mine", false, "only records of your own")
	cmd.Flags().StringVar(&narrow.LinkedTo, "linked-to", "", "only records that link to this record or file")
	cmd.Flags().StringVar(&narrow.Relation, "relation", "", "with --linked-to: by this relation alone")
	return a.inOrg(cmd)
}

func (a *cli) history() *cobra.Command {
	var p paging
	var kind string
	cmd := &cobra.Command{
		Use: "history ID", Short: "List the versions of a record or file: who, when, what", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if isFile(args[0]) {
				s, org, err := a.enter(ctx)
				if err != nil {
					return err
				}
				return list(ctx, a, p, versionColumns, func(ctx context.Context, l client.List) (client.Page[client.FileVersion], error) {
					return s.ListFileHistory(ctx, org, args[0], l)
				})
			}
			r, err := parseRef(args[0], kind)
			if err != nil {
				return err
			}
			s, org, err := a.enter(ctx)
			if err != nil {
				return err
			}
			if r.kind == "" {
				rec, err := find(ctx, s.Client, org, r)
				if err != nil {
					return err
				}
				r.kind = rec.Kind
			}
			return list(ctx, a, p, changeColumns, func(ctx context.Context, l client.List) (client.Page[client.Change], error) {
				return s.ListHistory(ctx, org, r.kind, r.id, l)
			})
		},
	}
	p.flags(cmd)
	cmd.Flags().StringVar(&kind, "kind", "", "collection of the record")
	return a.inOrg(cmd)
}

func (a *cli) rm() *cobra.Command {
	var kind string
	var version int64
	cmd := &cobra.Command{
		Use: "rm ID...", Short: "Move records and files to the trash",
		Long: `Move records and files to the trash, where they stay for the undo window.

With --version only that version is deleted; else the newest.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if version != 0 && (version < 0 || len(args) > 1) {
				return usagef("--version takes a version, and one ID")
			}
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
				err := a.wait("Deleting", func() error { return remove(ctx, s.Client, org, arg, kind, version) })
				if err != nil {
					return fmt.Errorf("%s: %w", arg, err)
				}
				a.say("%s is in the trash.", arg)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "collection of the records")
	cmd.Flags().Int64Var(&version, "version", 0, "delete only if this is the newest version")
	return a.inOrg(cmd)
}

func remove(ctx context.Context, c *client.Client, org, arg, kind string, version int64) error {
	if isFile(arg) {
		if version == 0 {
			f, err := c.File(ctx, org, arg)
			if err != nil {
				return err
			}
			version = f.Version
		}
		return c.DeleteFile(ctx, org, arg, version)
	}
	r, err := parseRef(arg, kind)
	if err != nil {
		return err
	}
	if version == 0 || r.kind == "" {
		rec, err := find(ctx, c, org, r)
		if err != nil {
			return err
		}
		r.kind = rec.Kind
		if version == 0 {
			version = rec.Version
		}
	}
	return c.DeleteRecord(ctx, org, r.kind, r.id, version)
}

func (a *cli) restore() *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use: "restore RECORD...", Short: "Take records out of the trash", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			for _, arg := range args {
				if _, err := parseRef(arg, kind); err != nil {
					return err
				}
			}
			s, org, err := a.enter(ctx)
			if err != nil {
				return err
			}
			for _, arg := range args {
				r, _ := parseRef(arg, kind)
				var rec client.Record
				err := locate(ctx, s.Client, org, r, func(r ref) (err error) {
					rec, err = s.RestoreRecord(ctx, org, r.kind, r.id)
					return err
				})
				if err != nil {
					return fmt.Errorf("%s: %w", arg, err)
				}
				if err := show.One(a.out, a.format, recordColumns, rec); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "collection of the records")
	return a.inOrg(cmd)
}

func (a *cli) links() *cobra.Command {
	var kind string
	// with resolves the record and calls do with it.
	with := func(cmd *cobra.Command, arg string, do func(ctx context.Context, s *session, org string, r ref) error) error {
		ctx := cmd.Context()
		r, err := parseRef(arg, kind)
		if err != nil {
			return err
		}
		s, org, err := a.enter(ctx)
		if err != nil {
			return err
		}
		if r.kind == "" {
			rec, err := find(ctx, s.Client, org, r)
			if err != nil {
				return err
			}
			r.kind = rec.Kind
		}
		return do(ctx, s, org, r)
	}
	var p paging
	var narrow client.LinkFilter
	ls := &cobra.Command{Use: "list RECORD", Short: "List a record's links", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(cmd, args[0], func(ctx context.Context, s *session, org string, r ref) error {
				return list(ctx, a, p, linkColumns, func(ctx context.Context, l client.List) (client.Page[client.Link], error) {
					return s.FilterLinks(ctx, org, r.kind, r.id, narrow, l)
				})
			})
		}}
	p.flags(ls)
	ls.Flags().StringVar(&narrow.Direction, "direction", "", "only links that go out or in")
	ls.Flags().StringVar(&narrow.Relation, "relation", "", "only links of this relation")
	var relation string
	add := &cobra.Command{Use: "add RECORD TARGET", Short: "Link a record to a record or a file", Args: cobra.ExactArgs(2),
		Example: "  strongroom links add results/rec_… rec_… --relation input",
		RunE: func(cmd *cobra.Command, args []string) error {
			_, to, ok := strings.Cut(args[1], "/")
			if !ok {
				to = args[1]
			}
			return with(cmd, args[0], func(ctx context.Context, s *session, org string, r ref) error {
				l, err := s.CreateLink(ctx, org, r.kind, r.id, to, relation)
				if err != nil {
					return err
				}
				return show.One(a.out, a.format, linkColumns, l)
			})
		}}
	add.Flags().StringVar(&relation, "relation", "", "what the target is to the record, as in input or image")
	_ = add.MarkFlagRequired("relation")
	rm := &cobra.Command{Use: "rm RECORD LINK", Short: "Remove a link", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(cmd, args[0], func(ctx context.Context, s *session, org string, r ref) error {
				if err := s.DeleteLink(ctx, org, r.kind, r.id, args[1]); err != nil {
					return err
				}
				a.say("The link is removed.")
				return nil
			})
		}}
	cmd := group("links", "List, make and remove links between records and files", ls, add, rm)
	cmd.PersistentFlags().StringVar(&kind, "kind", "", "collection of the record")
	return a.inOrg(cmd)
}

// readAll reads a file, or the standard input for -, up to a limit of bytes.
func (a *cli) readAll(ctx context.Context, path string, limit int64) ([]byte, error) {
	in := interruptible(ctx, a.in)
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = fmt.Errorf("it is larger than %s", show.Size(limit))
	}
	return text, err
}

func (a *cli) export() *cobra.Command {
	var all, force bool
	var kind, out string
	cmd := &cobra.Command{
		Use:   "export RECORD | KIND | --all",
		Short: "Take data away: a record, a collection or everything, as a ZIP",
		Long: `Export a record, a collection or everything as a ZIP of NDJSON, CSV and files with a manifest.

After the download every entry is held against its hash in the manifest; the ZIP appears under its
name only when all of them match.`,
		Example: `  strongroom export measurements -o measurements.zip
  strongroom export --all`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if all == (len(args) == 1) {
				return usagef("what? Give a record, a KIND or --all")
			}
			var r ref
			var err error
			what := "everything"
			if len(args) == 1 {
				what = args[0]
				r.kind = args[0]
				if isRecord(args[0]) {
					if r, err = parseRef(args[0], kind); err != nil {
						return err
					}
					what = r.id
				}
			}
			if out == "" {
				out = fmt.Sprintf("export-%s-%s.zip", show.FileName(what, "data"), time.Now().UTC().Format("20060102T150405Z"))
			}
			dest, err := destination(out, "export-"+show.FileName(what, "data")+".zip", force)
			if err != nil {
				return err
			}
			s, org, err := a.enter(ctx)
			if err != nil {
				return err
			}
			if r.id != "" && r.kind == "" {
				rec, err := find(ctx, s.Client, org, r)
				if err != nil {
					return err
				}
				r.kind = rec.Kind
			}
			return a.exportTo(ctx, s.Client, org, client.Scope{Kind: r.kind, Record: r.id}, dest, force)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&all, "all", false, "export everything the organization has")
	f.StringVar(&kind, "kind", "", "collection of the record")
	f.StringVarP(&out, "out", "o", "", "file or folder to write to (default: export-…zip here)")
	f.BoolVar(&force, "force", false, "write over an existing file")
	return a.inOrg(cmd)
}

func (a *cli) exportTo(ctx context.Context, c *client.Client, org string, scope client.Scope, dest string, force bool) error {
	var m client.Manifest
	var size int64
	err := a.save(dest, force, func(file *os.File) error {
		t := a.progress.Start("Exporting", 0)
		body, err := c.Export(ctx, org, scope)
		if err == nil {
			size, err = io.Copy(struct{ io.Writer }{file}, t.Reader(body))
			_ = body.Close()
		}
		t.End()
		if err != nil {
			return err
		}
		t = a.progress.Start("Checking against the manifest", 0)
		defer t.End()
		m, err = client.VerifyExport(ctx, file, size, t.Set)
		return err
	})
	if err != nil {
		return err
	}
	path, err := filepath.Abs(dest)
	if err != nil {
		path = dest
	}
	type exported struct {
		Path     string `json:"path"`
		Size     int64  `json:"size"`
		Entries  int    `json:"entries"`
		Verified bool   `json:"verified"`
	}
	return show.One(a.out, a.format, []show.Column[exported]{
		{Name: "PATH", Value: func(e exported) string { return e.Path }},
		{Name: "SIZE", Value: func(e exported) string { return num(e.Size) }},
		{Name: "ENTRIES", Value: func(e exported) string { return fmt.Sprintf("%d, each with the hash in the manifest", e.Entries) }},
	}, exported{path, size, len(m.Entries), true})
}
