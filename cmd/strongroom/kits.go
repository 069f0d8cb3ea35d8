package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"strongroom/client"
	"strongroom/cmd/strongroom/internal/show"
)

func (a *cli) collections() *cobra.Command {
	var p paging
	ls := &cobra.Command{Use: "list", Short: "List the collections", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, org, err := a.enter(cmd.Context())
			if err != nil {
				return err
			}
			return list(cmd.Context(), a, p, collectionColumns, func(ctx context.Context, l client.List) (client.Page[client.Collection], error) {
				return s.ListCollections(ctx, org, l)
			})
		}}
	p.flags(ls)
	get := &cobra.Command{Use: "show KIND", Short: "Show a collection and its schema", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, org, err := a.enter(cmd.Context())
			if err != nil {
				return err
			}
			c, err := s.Collection(cmd.Context(), org, args[0])
			if err != nil {
				return err
			}
			if err := show.One(a.out, a.format, collectionColumns, c); err != nil || a.format != show.Table {
				return err
			}
			return show.Object(a.out, c.Schema)
		}}
	var title, schema string
	create := &cobra.Command{Use: "create KIND", Short: "Declare a collection", Args: cobra.ExactArgs(1),
		Long: `Declare a collection: a kind of record, with the JSON Schema (draft 2020-12) that each must fit.
Without a schema any JSON object does.`,
		Example: "  strongroom collections create measurements --title Measurements --schema measurement.schema.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			n := client.NewCollection{Kind: args[0], Title: title}
			if schema != "" {
				text, err := a.readAll(ctx, schema, maxRecord)
				if err != nil {
					return fmt.Errorf("the schema: %w", err)
				}
				if !json.Valid(text) {
					return errors.New("the schema is not JSON")
				}
				n.Schema = text
			}
			s, org, err := a.enter(ctx)
			if err != nil {
				return err
			}
			c, err := s.CreateCollection(ctx, org, n)
			if err != nil {
				return err
			}
			return show.One(a.out, a.format, collectionColumns, c)
		}}
	create.Flags().StringVar(&title, "title", "", "what people call it (default: KIND)")
	create.Flags().StringVar(&schema, "schema", "", "file with the JSON Schema, or - for the standard input")
	return a.inOrg(group("collections", "List, show, declare and change collections", ls, get, create, a.declare()))
}

// maxDeclaration bounds a file with a declaration: a schema of 64 KiB with
// generous white space around it.
const maxDeclaration = 1 << 20

func (a *cli) declare() *cobra.Command {
	return &cobra.Command{Use: "declare FILE", Short: "Declare or change a collection as a file says", Args: cobra.ExactArgs(1),
		Long: `Make the collection that a file declares, or change the one that is there to what it says.

The file is a JSON object with kind, title, description, schema, visibility and relations. What
"collections show KIND --output json" writes is one; the version in it is then the one that the
change is made from. A changed schema is held against every stored record first: if some do not
fit, nothing changes and they are named.`,
		Example: `  strongroom collections declare sample.json
  strongroom collections show sample --output json > sample.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			text, err := a.readAll(ctx, args[0], maxDeclaration)
			if err != nil {
				return fmt.Errorf("the declaration: %w", err)
			}
			d, err := declarationOf(text)
			if err != nil {
				return fmt.Errorf("the declaration: %w", err)
			}
			s, org, err := a.enter(ctx)
			if err != nil {
				return err
			}
			n := client.NewCollection{Kind: d.Kind, Title: d.Title, Description: d.Description, Schema: d.Schema, Visibility: d.Visibility, Relations: d.Relations}
			there, err := s.Collection(ctx, org, d.Kind)
			var now client.Collection
			switch {
			case client.Status(err) == http.StatusNotFound && d.Version == 0:
				now, err = s.CreateCollection(ctx, org, n)
			case err == nil:
				if d.Version == 0 {
					d.Version = there.Version
				}
				now, err = s.UpdateCollection(ctx, org, n, d.Version)
			}
			if err != nil {
				return err
			}
			return show.One(a.out, a.format, collectionColumns, now)
		}}
}

// declarationOf reads a file strictly: a misspelled member would be a change
// that is silently not made.
func declarationOf(text []byte) (c client.Collection, err error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, err
	}
	if _, err := d.Token(); err != io.EOF {
		return c, errors.New("more follows after the object")
	}
	if c.Kind == "" {
		return c, errors.New("it does not name its kind")
	}
	return c, nil
}

var kitColumns = []show.Column[client.Kit]{
	{Name: "KIT", Value: func(k client.Kit) string { return k.Name }},
	{Name: "TITLE", Value: func(k client.Kit) string { return k.Title }, Width: 32},
	{Name: "VERSION", Value: func(k client.Kit) string { return num(int64(k.Version)) }},
	{Name: "INSTALLED", Value: func(k client.Kit) string { return yes(k.Installed) }},
	{Name: "KINDS", Value: func(k client.Kit) string {
		var kinds []string
		for _, c := range k.Collections {
			kinds = append(kinds, c.Kind)
		}
		return join(kinds)
	}},
}

func (a *cli) kits() *cobra.Command {
	install := &cobra.Command{Use: "install KIT", Short: "Start the collections of a kit", Args: cobra.ExactArgs(1),
		Long: `Start the collections of a kit that the organization does not have yet. What is there stays as it
is. A collection follows the product's file until the organization changes it.`,
		Example: "  strongroom kits install materials",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, org, err := a.enter(cmd.Context())
			if err != nil {
				return err
			}
			k, err := s.InstallKit(cmd.Context(), org, args[0])
			if err != nil {
				return err
			}
			return show.One(a.out, a.format, kitColumns, k)
		}}
	cmd := &cobra.Command{Use: "kits", Short: "List the kits of the product, and install one", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return list(cmd.Context(), a, paging{limit: 50}, kitColumns, func(ctx context.Context, _ client.List) (client.Page[client.Kit], error) {
				s, org, err := a.enter(ctx)
				if err != nil {
					return client.Page[client.Kit]{}, err
				}
				items, err := s.Kits(ctx, org)
				return client.Page[client.Kit]{Items: items}, err
			})
		}}
	cmd.AddCommand(install)
	return a.inOrg(cmd)
}
