package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"strongroom/client"
	"strongroom/cmd/strongroom/internal/show"
)

// pairs prints a JSON text whose shape the server decides.
func (a *cli) pairs(text json.RawMessage) error {
	if a.format == show.AsJSON {
		return show.Object(a.out, text)
	}
	rows, err := show.Flatten(text)
	if err != nil {
		return fmt.Errorf("the answer is not readable: %w", err)
	}
	return show.List(a.out, a.format, []show.Column[show.Pair]{
		{Name: "NAME", Value: func(p show.Pair) string { return p.Name }},
		{Name: "VALUE", Value: func(p show.Pair) string { return p.Value }},
	}, values(rows), nil)
}

func (a *cli) keys() *cobra.Command {
	status := a.local(&cobra.Command{Use: "status", Short: "Show the key service, its zones and guardians", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			admin, err := a.admin()
			if err != nil {
				return err
			}
			defer admin.Close()
			var text json.RawMessage
			if err := a.wait("Asking", func() error { text, err = admin.KeysStatus(cmd.Context()); return err }); err != nil {
				return err
			}
			return a.pairs(text)
		}})
	return group("keys", "Look after the installation's keys (API keys: see apikeys)", status)
}

func (a *cli) prove() *cobra.Command {
	var asJSON bool
	cmd := a.local(&cobra.Command{
		Use:   "prove [ID...]",
		Short: "Check the promises on the running installation",
		Long: `Check promises on the running installation whose data directory is given, all of them or those
that an ID names: a promise (ENC-1), one of its clauses (ENC-1/records) or a group (ENC). Each
promise has clauses, each clause a check of the real mechanism.

A promise is kept when all its clauses are, broken when one is, and not_yet when one is not built.
Exit code 1 says that something is broken.`,
		Example: `  strongroom prove --data ./data
  strongroom prove --data ./data --json ENC-1 ISO-2`,
		RunE: func(cmd *cobra.Command, ids []string) error {
			if asJSON {
				a.format = show.AsJSON
			}
			for i, id := range ids {
				promise, clause, one := strings.Cut(id, "/")
				if ids[i] = strings.ToUpper(promise); one {
					ids[i] += "/" + clause
				}
			}
			admin, err := a.admin()
			if err != nil {
				return err
			}
			defer admin.Close()
			var all []client.Promise
			if err := a.wait("Checking", func() error { all, err = admin.Prove(cmd.Context(), ids...); return err }); err != nil {
				return err
			}
			if len(all) == 0 {
				return errors.New("no promise was checked")
			}
			if err := a.proofs(all); err != nil {
				return err
			}
			for _, p := range all {
				if p.State == client.Broken {
					return errSilent
				}
			}
			return nil
		},
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "the same as --output json")
	cmd.MarkFlagsMutuallyExclusive("json", "output")
	return cmd
}

func (a *cli) proofs(all []client.Promise) error {
	switch a.format {
	case show.AsJSON:
		// The rows are a contract: these names and no others.
		type row struct {
			ID      string          `json:"id"`
			State   string          `json:"state"`
			Clauses []client.Clause `json:"clauses"`
		}
		rows := make([]row, len(all))
		for i, p := range all {
			rows[i] = row{p.ID, p.State, p.Clauses}
			if rows[i].Clauses == nil {
				rows[i].Clauses = []client.Clause{}
			}
		}
		return show.Object(a.out, rows)
	case show.CSV:
		type row struct {
			promise client.Promise
			clause  client.Clause
		}
		var rows []row
		for _, p := range all {
			if len(p.Clauses) == 0 {
				rows = append(rows, row{promise: p})
			}
			for _, c := range p.Clauses {
				rows = append(rows, row{p, c})
			}
		}
		return show.List(a.out, show.CSV, []show.Column[row]{
			{Name: "ID", Value: func(r row) string { return r.promise.ID }},
			{Name: "STATE", Value: func(r row) string { return r.promise.State }},
			{Name: "CLAUSE", Value: func(r row) string { return r.clause.Name }},
			{Name: "CLAUSE STATE", Value: func(r row) string { return r.clause.State }},
			{Name: "EVIDENCE", Value: func(r row) string { return r.clause.Evidence }},
			{Name: "CHECKED AT", Value: func(r row) string { return r.clause.CheckedAt }},
		}, values(rows), nil)
	}
	return a.proofTable(a.out, all)
}

// proofTable is for reading: a line for each promise and, under it, what its
// clauses found. Broken ones come again at the end, where the eye rests.
func (a *cli) proofTable(w io.Writer, all []client.Promise) error {
	color := func(state, s string) string {
		if !a.outTTY || a.getenv("NO_COLOR") != "" {
			return s
		}
		return map[string]string{client.Kept: "\x1b[32m", client.Broken: "\x1b[1;31m", client.NotYet: "\x1b[2m"}[state] + s + "\x1b[0m"
	}
	words := map[string]string{client.Kept: "kept", client.Broken: "BROKEN", client.NotYet: "not yet"}
	word := func(state string) string {
		if s := words[state]; s != "" {
			return s
		}
		return show.Text(state)
	}
	var b strings.Builder
	count := map[string]int{}
	var broken []string
	for _, p := range all {
		count[p.State]++
		kept := 0
		for _, c := range p.Clauses {
			if c.State == client.Kept {
				kept++
			}
			if c.State == client.Broken {
				broken = append(broken, show.Text(p.ID+"/"+c.Name+": "+c.Evidence))
			}
		}
		head := show.Text(p.ID)
		if p.Title != "" {
			head = fmt.Sprintf("%-8s %s", head, show.Short(p.Title, 72))
		}
		fmt.Fprintf(&b, "%s %s", color(p.State, fmt.Sprintf("%-8s", word(p.State))), head)
		if len(p.Clauses) > 1 && p.State != client.Kept {
			fmt.Fprintf(&b, " (%d of %d clauses kept)", kept, len(p.Clauses))
		}
		b.WriteString("\n")
		var missing []string
		for _, c := range p.Clauses {
			if c.State == client.NotYet {
				missing = append(missing, show.Text(c.Name))
				continue
			}
			fmt.Fprintf(&b, "         %s %s", color(c.State, fmt.Sprintf("%-8s", word(c.State))), show.Text(c.Name))
			if c.Evidence != "" {
				b.WriteString(": " + show.Text(c.Evidence))
			}
			if c.CheckedAt != "" {
				b.WriteString(" [" + show.Text(c.CheckedAt) + "]")
			}
			b.WriteString("\n")
		}
		if len(missing) > 0 {
			fmt.Fprintf(&b, "         %s %s\n", color(client.NotYet, fmt.Sprintf("%-8s", word(client.NotYet))), strings.Join(missing, ", "))
		}
	}
	fmt.Fprintf(&b, "\n%d promises: %d kept, %d broken, %d not yet\n", len(all), count[client.Kept], count[client.Broken], count[client.NotYet])
	for _, s := range broken {
		fmt.Fprintf(&b, "%s %s\n", color(client.Broken, "BROKEN"), s)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
