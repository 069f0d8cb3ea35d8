package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"strongroom/client"
	"strongroom/cmd/strongroom/internal/show"
)

var sandboxColumns = []show.Column[client.Sandbox]{
	{Name: "ORG", Value: func(b client.Sandbox) string { return b.Org }},
	{Name: "NAME", Value: func(b client.Sandbox) string { return b.Name }},
	{Name: "STATE", Value: func(b client.Sandbox) string { return b.State }},
	{Name: "EXPIRES", Value: func(b client.Sandbox) string { return when(b.ExpiresAt) }},
}

var createdSandboxColumns = []show.Column[client.CreatedSandbox]{
	{Name: "ORG", Value: func(b client.CreatedSandbox) string { return b.Org }},
	{Name: "NAME", Value: func(b client.CreatedSandbox) string { return b.Name }},
	{Name: "ROLES OF THE KEY", Value: func(b client.CreatedSandbox) string { return join(b.Roles) }},
	{Name: "EXPIRES", Value: func(b client.CreatedSandbox) string { return when(b.ExpiresAt) }},
}

func (a *cli) sandbox() *cobra.Command {
	var p paging
	ls := &cobra.Command{Use: "list", Short: "List your sandboxes, the ended ones too", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			return list(cmd.Context(), a, p, sandboxColumns, s.ListSandboxes)
		}}
	p.flags(ls)
	var file string
	create := &cobra.Command{Use: "create [NAME]", Short: "Make an organization that ends after 24 hours, with a key to it", Args: cobra.MaximumNArgs(1),
		Example: "  strongroom sandbox create \"Trying out\" --key-file ./key",
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			return a.createSandbox(cmd.Context(), name, file)
		}}
	create.Flags().StringVar(&file, "key-file", "", "write the key to this new file (mode 0600), not to the standard output")
	end := &cobra.Command{Use: "end ORG", Short: "End a sandbox before its time", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			if err := s.EndSandbox(cmd.Context(), args[0]); err != nil {
				return err
			}
			a.say("%s has ended.", args[0])
			return nil
		}}
	return a.remote(group("sandbox", "Make throw-away organizations for development", ls, create, end))
}

// createSandbox makes a sandbox. The file for its key is opened first: a key
// that cannot be written down would be lost.
func (a *cli) createSandbox(ctx context.Context, name, path string) (err error) {
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
	s, err := a.connect()
	if err != nil {
		return err
	}
	box, err := s.CreateSandbox(ctx, name)
	if err != nil {
		return err
	}
	if file != nil {
		if _, err := fmt.Fprintln(file, box.Key.Reveal()); err != nil {
			return fmt.Errorf("%s was made but its key could not be written down, so end it: %w", box.Org, err)
		}
		return show.One(a.out, a.format, createdSandboxColumns, box)
	}
	if a.format == show.AsJSON {
		return show.Object(a.out, struct {
			client.CreatedSandbox
			Key string `json:"key"`
		}{box, box.Key.Reveal()})
	}
	columns := append(slices.Clone(createdSandboxColumns), show.Column[client.CreatedSandbox]{Name: "KEY", Value: func(client.CreatedSandbox) string { return box.Key.Reveal() }})
	if err := show.One(a.out, a.format, columns, box); err != nil {
		return err
	}
	a.say("This is the only time the key is shown.")
	return nil
}
