package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"strongroom/client"
	"strongroom/cmd/strongroom/internal/show"
	"strongroom/internal/feature/trust/signed"
)

// trust checks what an installation says of itself, without the installation.
func (a *cli) trust() *cobra.Command {
	var keyFile string
	verify := &cobra.Command{Use: "verify FILE", Short: "Verify the signed document of a trust page", Args: cobra.ExactArgs(1),
		Long: `Verify the document that a trust page offers at /trust.json, with the key that it offers at
/trust/key: without the server, and without a network. FILE may be - for standard input.

It says whether the installation with this key wrote the document, what it said of its promises, and
how old that is. Exit code 1 says that the document was changed, or that another key signed it.`,
		Example: `  strongroom trust verify trust.json --key trust-key.json`,
		RunE: func(_ *cobra.Command, args []string) error {
			key, err := a.readBounded(keyFile, 4<<10)
			if err != nil {
				return err
			}
			document, err := a.readBounded(args[0], signed.MaxSize)
			if err != nil {
				return err
			}
			payload, err := signed.Verify(document, key)
			if err != nil {
				return err
			}
			_, kid, err := signed.ParseKey(key)
			if err != nil {
				return err
			}
			return a.verified(payload, kid)
		}}
	verify.Flags().StringVar(&keyFile, "key", "", "file with the installation's public key, a JSON Web Key")
	verify.Flags().Var(&a.format, "output", "how to write the result; json is what was signed, byte for byte")
	_ = verify.MarkFlagRequired("key")
	return group("trust", "Verify what a trust page says", verify)
}

func (a *cli) readBounded(name string, most int64) ([]byte, error) {
	in := a.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s is larger than %d bytes", name, most)
	}
	return b, err
}

func (a *cli) verified(payload []byte, kid string) error {
	var d struct {
		Kind         string
		Organization string
		URL          string
		Software     string
		AsOf         time.Time `json:"as_of"`
		Grade        struct{ Grade string }
		Summary      struct {
			Promises, Kept, Partly, Stale, Broken int
			NotYet                                int `json:"not_yet"`
		}
	}
	if err := json.Unmarshal(payload, &d); err != nil || d.Kind != "strongroom-trust" {
		return errors.New("the document is signed, and is not the one of a trust page")
	}
	if a.format == show.AsJSON {
		_, err := a.out.Write(append(payload, '\n'))
		return err
	}
	rows := []show.Pair{
		{Name: "signature", Value: "good"}, {Name: "key", Value: kid}, {Name: "organization", Value: d.Organization}, {Name: "installation", Value: d.URL},
		{Name: "software", Value: d.Software}, {Name: "as of", Value: d.AsOf.UTC().Format(time.RFC3339)}, {Name: "grade", Value: d.Grade.Grade},
		{Name: "promises", Value: strconv.Itoa(d.Summary.Promises)}, {Name: "kept", Value: strconv.Itoa(d.Summary.Kept)},
		{Name: "partly", Value: strconv.Itoa(d.Summary.Partly)}, {Name: "broken", Value: strconv.Itoa(d.Summary.Broken)},
		{Name: "too old", Value: strconv.Itoa(d.Summary.Stale)}, {Name: "not yet", Value: strconv.Itoa(d.Summary.NotYet)},
	}
	if err := show.List(a.out, a.format, []show.Column[show.Pair]{
		{Name: "NAME", Value: func(p show.Pair) string { return p.Name }},
		{Name: "VALUE", Value: func(p show.Pair) string { return p.Value }},
	}, values(rows), nil); err != nil {
		return err
	}
	if age := time.Since(d.AsOf); age > 24*time.Hour {
		a.say("The document is %d days old: it says how it stood then.", int(age/(24*time.Hour)))
	}
	return nil
}

var reportColumns = []show.Column[client.Report]{
	{Name: "REPORT", Value: func(r client.Report) string { return r.ID }},
	{Name: "STATE", Value: func(r client.Report) string { return r.State }},
	{Name: "RECEIVED", Value: func(r client.Report) string { return when(r.ReceivedAt) }},
	{Name: "TITLE", Width: 60, Value: func(r client.Report) string { return r.Title }},
}

// reports reads and answers reports of vulnerabilities.
func (a *cli) reports() *cobra.Command {
	var p paging
	var state string
	ls := &cobra.Command{Use: "list", Short: "List the reports, the newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			return list(cmd.Context(), a, p, reportColumns, func(ctx context.Context, l client.List) (client.Page[client.Report], error) {
				return s.ListReports(ctx, state, l)
			})
		}}
	p.flags(ls)
	ls.Flags().StringVar(&state, "state", "", "only open, acknowledged or closed ones")
	get := &cobra.Command{Use: "show REPORT", Short: "Read a report", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			r, err := s.Report(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.report(r)
		}}
	change := func(use, short, to string) *cobra.Command {
		var note string
		cmd := &cobra.Command{Use: use + " REPORT", Short: short, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				s, err := a.connect()
				if err != nil {
					return err
				}
				r, err := s.Report(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if !cmd.Flags().Changed("note") {
					note = r.Note
				}
				if r, err = s.UpdateReport(cmd.Context(), r.ID, r.Version, to, note); err != nil {
					return err
				}
				return a.report(r)
			}}
		cmd.Flags().StringVar(&note, "note", "", "what was found or done; replaces the note before")
		return cmd
	}
	return a.remote(group("reports", "Read and answer reports of vulnerabilities (role system_admin)", ls, get,
		change("acknowledge", "Say that a report was seen", client.ReportAcknowledged),
		change("close", "Close a report", client.ReportClosed),
		change("reopen", "Open a report again", client.ReportOpen)))
}

// report prints one report with all that it says.
func (a *cli) report(r client.Report) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return a.pairs(text)
}

var planColumns = []show.Column[client.Plan]{
	{Name: "PLAN", Value: func(p client.Plan) string { return p.ID }},
	{Name: "TITLE", Value: func(p client.Plan) string { return p.Title }},
	{Name: "ON", Value: func(p client.Plan) string { return strings.Join(features(p), ", ") }},
	{Name: "AUDIT", Value: func(p client.Plan) string { return p.Audit }},
	{Name: "VERSION", Value: func(p client.Plan) string { return num(p.Version) }},
}

// features lists what is on in a plan.
func features(p client.Plan) (on []string) {
	var spec struct{ Features map[string]bool }
	_ = json.Unmarshal(p.Text, &spec)
	for name, is := range spec.Features {
		if is {
			on = append(on, name)
		}
	}
	slices.Sort(on)
	return on
}

// plans shows and edits the plans.
func (a *cli) plans() *cobra.Command {
	ls := &cobra.Command{Use: "list", Short: "List the plans", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			return list(cmd.Context(), a, paging{all: true}, planColumns, s.ListPlans)
		}}
	get := &cobra.Command{Use: "show PLAN", Short: "Show all that a plan says", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			p, err := s.Plan(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.pairs(p.Text)
		}}
	set := &cobra.Command{Use: "set PLAN NAME=VALUE...", Short: "Change what a plan says", Args: cobra.MinimumNArgs(2),
		Long: `Change what a plan says, by the names that "strongroom plans show" prints. It counts at once, for
every organization on the plan, and is on record.`,
		Example: `  strongroom plans set team features.sso=true limits.requests_per_minute_person=900`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			p, err := s.Plan(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			spec, err := edited(p.Text, args[1:])
			if err != nil {
				return err
			}
			if p, err = s.UpdatePlan(cmd.Context(), p.ID, p.Version, spec); err != nil {
				return err
			}
			return a.pairs(p.Text)
		}}
	return a.remote(group("plans", "Show and edit the plans (role system_admin)", ls, get, set))
}

// edited returns what a plan says with values changed. Only what is there can
// be changed: the server would refuse another name, and with fewer words.
func edited(plan json.RawMessage, changes []string) (json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(plan))
	d.UseNumber()
	var spec map[string]any
	if err := d.Decode(&spec); err != nil {
		return nil, fmt.Errorf("the answer is not readable: %w", err)
	}
	for _, own := range []string{"plan", "version", "updated_at", "updated_by"} {
		delete(spec, own)
	}
	for _, change := range changes {
		name, text, ok := strings.Cut(change, "=")
		if !ok {
			return nil, usagef("a change is NAME=VALUE, such as features.sso=true")
		}
		in := spec
		path := strings.Split(name, ".")
		for _, step := range path[:len(path)-1] {
			if in, ok = in[step].(map[string]any); !ok {
				return nil, usagef("a plan has no " + name)
			}
		}
		last := path[len(path)-1]
		switch in[last].(type) {
		case string:
			in[last] = text
		case bool:
			v, err := strconv.ParseBool(text)
			if err != nil {
				return nil, usagef(name + " is true or false")
			}
			in[last] = v
		case json.Number:
			if _, err := strconv.ParseInt(text, 10, 64); err != nil {
				return nil, usagef(name + " is a whole number")
			}
			in[last] = json.Number(text)
		default:
			return nil, usagef("a plan has no " + name)
		}
	}
	return json.Marshal(spec)
}
