package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"strongroom/client"
	"strongroom/cmd/strongroom/internal/show"
	"strongroom/internal/app"
	"strongroom/internal/app/datadir"
	"strongroom/internal/app/doctor"
	"strongroom/internal/feature/status"
)

// directory is the data directory that an operator's command is for.
func (a *cli) directory() (string, error) {
	dir := a.dataDir
	if dir == "" {
		dir = a.getenv("STRONGROOM_DATA")
	}
	if dir == "" {
		return "", usagef("which installation? Give its data directory with --data DIR")
	}
	return filepath.Abs(dir)
}

// generated is a first password that nobody chose: 125 bits.
func generated() client.Secret {
	t := strings.ToLower(rand.Text())
	return client.NewSecret(strings.Join([]string{t[:5], t[5:10], t[10:15], t[15:20], t[20:25]}, "-"))
}

// createOrg makes an organization, on the server or on this machine.
func (a *cli) createOrg(ctx context.Context, n client.NewOrganization, password *secretFlags) (err error) {
	var create func(context.Context, client.NewOrganization) (client.Organization, error)
	if a.dataDir != "" {
		admin, err := a.admin()
		if err != nil {
			return err
		}
		defer admin.Close()
		create = admin.CreateOrganization
	} else {
		s, err := a.connect()
		if err != nil {
			return err
		}
		create = s.CreateOrganization
	}
	if n.Owner.Name == "" {
		n.Owner.Name = n.Owner.Email
	}
	fresh := !password.given()
	if fresh {
		n.Owner.Password = generated()
	} else if n.Owner.Password, err = password.read(ctx, a, ""); err != nil {
		return err
	}
	var o client.Organization
	if err := a.wait("Making the organization", func() error { o, err = create(ctx, n); return err }); err != nil {
		return err
	}
	if err := show.One(a.out, a.format, orgColumns, o); err != nil {
		return err
	}
	if fresh {
		// On stderr, in clear: the result is what scripts keep.
		_, _ = fmt.Fprintf(a.err, "First password of %s, shown this once: %s\n", show.Text(n.Owner.Email), n.Owner.Password.Reveal())
	}
	return nil
}

func (a *cli) setup() *cobra.Command {
	var f client.FirstStart
	var password secretFlags
	var yes bool
	cmd := a.local(&cobra.Command{Use: "setup", Short: "Set up an empty installation: its first administrator and organization", Args: cobra.NoArgs,
		Long: `Set up the empty installation that runs on this machine, without a browser: make its first system
administrator and its first organization, whose first owner that person is. What is not given by
flags is asked for. It works once.`,
		Example: `  strongroom setup --data /var/lib/strongroom --name Ada --email ada@lab.example --org "Thin films" \
    --password-file ./password --guardians-understood`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx := cmd.Context()
			dir, err := a.directory()
			if err != nil {
				return err
			}
			a.dataDir = dir
			admin, err := a.admin()
			if err != nil {
				return err
			}
			defer admin.Close()
			l := datadir.At(dir)
			a.say("%s", "Whoever loses every guardian loses all content: there is no escrow and no recovery key. The guardians of this installation are "+
				l.Guardian("a")+" and "+l.Guardian("b")+", the copies of the key store "+l.KeyZone("a")+" and "+l.KeyZone("b")+".")
			if !yes {
				answer, err := a.ask(ctx, "Do you understand this? (yes) ", false)
				if err != nil {
					return err
				}
				if yes = strings.EqualFold(answer, "yes"); !yes {
					return usagef("nothing was set up; answer yes, or give --guardians-understood")
				}
			}
			for _, q := range []struct {
				to     *string
				prompt string
			}{{&f.Name, "Your name: "}, {&f.Email, "Email: "}, {&f.Organization.Name, "Name of the first organization: "}} {
				if *q.to == "" {
					if *q.to, err = a.ask(ctx, q.prompt, false); err != nil {
						return err
					}
				}
			}
			if f.Password, err = password.read(ctx, a, "Password (15 characters or more): "); err != nil {
				return err
			}
			f.Acknowledged = yes
			var made client.SetUpResult
			if err := a.wait("Setting up", func() error { made, err = admin.SetUp(ctx, f); return err }); err != nil {
				return err
			}
			a.say("%s is the system administrator, and the owner of %s.", made.Person.Email, made.Organization.Name)
			return show.One(a.out, a.format, orgColumns, made.Organization)
		}})
	fl := cmd.Flags()
	fl.StringVar(&f.Name, "name", "", "name of the first system administrator")
	fl.StringVar(&f.Email, "email", "", "email address of the first system administrator")
	fl.StringVar(&f.Organization.Name, "org", "", "name of the first organization")
	fl.StringVar(&f.Organization.Plan, "plan", "", "plan of the first organization (default: enterprise)")
	fl.StringVar(&f.Organization.Placement, "placement", "", "schema or pooled (default: schema)")
	fl.BoolVar(&yes, "guardians-understood", false, "say that you know what losing every guardian means")
	password.flags(cmd, "password", "password")
	return cmd
}

func (a *cli) setupLink() *cobra.Command {
	return a.local(&cobra.Command{Use: "setup-link", Short: "Make a new one-time link to set up an empty installation", Args: cobra.NoArgs,
		Long: `Make a new one-time link by which the empty installation on this machine is set up in a browser, good
for a day. The link before it does nothing any more.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			admin, err := a.admin()
			if err != nil {
				return err
			}
			defer admin.Close()
			l, err := admin.SetupLink(cmd.Context())
			if err != nil {
				return err
			}
			if a.format == show.AsJSON {
				return show.Object(a.out, map[string]any{"link": l.Link.Reveal(), "expires_at": l.ExpiresAt})
			}
			_, err = fmt.Fprintln(a.out, show.Text(l.Link.Reveal()))
			a.say("Good once, until %s.", l.ExpiresAt.Format(time.RFC3339))
			return err
		}})
}

var sentColumns = []show.Column[app.Sent]{
	{Name: "TO", Value: func(s app.Sent) string { return s.To }},
	{Name: "STATE", Value: func(s app.Sent) string { return s.State }},
	{Name: "WHY", Value: func(s app.Sent) string { return s.Why }},
}

// sent prints what became of test messages; one that failed fails the command.
func (a *cli) sent(all []app.Sent) error {
	if err := show.List(a.out, a.format, sentColumns, values(all), nil); err != nil {
		return err
	}
	for _, s := range all {
		if s.State != "sent" {
			return errSilent
		}
	}
	return nil
}

func (a *cli) mail() *cobra.Command {
	var to string
	test := a.local(&cobra.Command{Use: "test", Short: "Send a test message", Args: cobra.NoArgs,
		Long: "Send a test message as the installation sends its mail: by the mail server of the settings, or into\noutbox/ where none is set.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := a.directory()
			if err != nil {
				return err
			}
			var s app.Sent
			if err := a.wait("Sending", func() error { s, err = app.TestMail(cmd.Context(), dir, os.Environ(), to, version); return err }); err != nil {
				return err
			}
			return a.sent([]app.Sent{s})
		}})
	test.Flags().StringVar(&to, "to", "", "email address")
	_ = test.MarkFlagRequired("to")
	return group("mail", "Try the installation's mail", test)
}

func (a *cli) alarm() *cobra.Command {
	test := a.local(&cobra.Command{Use: "test", Short: "Send a test alarm to every destination", Args: cobra.NoArgs,
		Long: "Send a test alarm to the addresses and the webhook of the settings, signed as a real one is.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := a.directory()
			if err != nil {
				return err
			}
			var all []app.Sent
			if err := a.wait("Sending", func() error { all, err = app.TestAlarm(cmd.Context(), dir, os.Environ(), version); return err }); err != nil {
				return err
			}
			return a.sent(all)
		}})
	return group("alarm", "Try the installation's alarms", test)
}

func (a *cli) doctor() *cobra.Command {
	return a.local(&cobra.Command{Use: "doctor", Short: "Check this machine and the installation on it", Args: cobra.NoArgs,
		Long: `Check this machine and the installation on it, whether or not it runs: settings, permissions, users,
PostgreSQL, addresses, disks, clock, certificate, zones, swap and core dumps, limits, alarms. What is
wrong comes with what to do about it. Nothing is changed. Exit code 1 says that something failed.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := a.directory()
			if err != nil {
				return err
			}
			found := doctor.Examine(cmd.Context(), doctor.Patient{Dir: dir, Environ: os.Environ()})
			if err := a.findings(found); err != nil {
				return err
			}
			for _, f := range found {
				if f.State == doctor.Failed {
					return errSilent
				}
			}
			return nil
		}})
}

func (a *cli) findings(found []doctor.Finding) error {
	if a.format != show.Table {
		return show.List(a.out, a.format, []show.Column[doctor.Finding]{
			{Name: "CHECK", Value: func(f doctor.Finding) string { return f.Check }},
			{Name: "STATE", Value: func(f doctor.Finding) string { return string(f.State) }},
			{Name: "TEXT", Value: func(f doctor.Finding) string { return f.Text }},
			{Name: "REMEDY", Value: func(f doctor.Finding) string { return f.Remedy }},
		}, values(found), nil)
	}
	var b strings.Builder
	count := map[doctor.State]int{}
	for _, f := range found {
		count[f.State]++
		fmt.Fprintf(&b, "%s %-15s %s\n", a.paint(string(f.State), fmt.Sprintf("%-8s", f.State)), f.Check, show.Text(f.Text))
		if f.Remedy != "" {
			fmt.Fprintf(&b, "%25s→ %s\n", "", show.Text(f.Remedy))
		}
	}
	fmt.Fprintf(&b, "\n%d checks: %d ok, %d doubtful, %d failed\n", len(found), count[doctor.OK], count[doctor.Warning], count[doctor.Failed])
	_, err := a.out.Write([]byte(b.String()))
	return err
}

// paint colors a word on a terminal.
func (a *cli) paint(state, text string) string {
	if !a.outTTY || a.getenv("NO_COLOR") != "" {
		return text
	}
	color := map[string]string{"ok": "\x1b[32m", "warning": "\x1b[33m", "failed": "\x1b[1;31m", "critical": "\x1b[1;31m"}[state]
	if color == "" {
		return text
	}
	return color + text + "\x1b[0m"
}

func (a *cli) status() *cobra.Command {
	cmd := a.remote(&cobra.Command{Use: "status", Short: "Show the state of the installation", Args: cobra.NoArgs,
		Long: `Show the state of the installation: of the server one is signed in to, which takes the role
system_admin, or with --data of the one on this machine, for whoever may open its data directory.
With --data it answers even while the server does not. Exit code 5 says that it is not ready.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var text json.RawMessage
			ask, done, err := a.statusSource()
			if err != nil {
				return err
			}
			defer done()
			if err := a.wait("Asking", func() error { text, err = ask(cmd.Context()); return err }); err != nil {
				return err
			}
			return a.showStatus(text)
		}})
	cmd.Flags().StringVar(&a.dataDir, "data", "", "data directory of the installation on this machine")
	cmd.MarkFlagsMutuallyExclusive("data", "profile")
	return cmd
}

// statusTime bounds how long the server of this machine is waited for: one
// that hangs is what an operator asks about.
const statusTime = 15 * time.Second

func (a *cli) statusSource() (ask func(context.Context) (json.RawMessage, error), done func(), err error) {
	if a.dataDir == "" {
		s, err := a.connect()
		if err != nil {
			return nil, nil, err
		}
		return s.Status, s.Close, nil
	}
	admin, err := a.admin()
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context) (json.RawMessage, error) {
		limited, cancel := context.WithTimeout(ctx, statusTime)
		defer cancel()
		text, err := admin.Status(limited)
		if err == nil || ctx.Err() != nil {
			return text, err
		}
		if aside, ok := statusAside(a.dataDir, err); ok {
			return aside, nil
		}
		return nil, err
	}, admin.Close, nil
}

// statusAside is what the supervisor's files say while the server does not
// answer.
func statusAside(dir string, cause error) (json.RawMessage, bool) {
	l := datadir.At(dir)
	if _, running, err := datadir.Running(dir); err != nil || !running {
		return nil, false
	}
	sv, err := app.ReadServices(l)
	if err != nil {
		return nil, false
	}
	problem := "the server does not answer"
	if !errors.Is(cause, context.DeadlineExceeded) {
		problem += ": " + cause.Error()
	}
	s := status.Status{Version: sv.Version, URL: sv.URL, Problem: problem, StartedAt: sv.StartedAt, Services: sv.Services, Alarms: []status.Alarm{},
		Certificates: []status.Certificate{}}
	if all, undelivered, err := app.ReadAlarms(l); err == nil {
		s.Alarms, s.Undelivered = all, undelivered
	}
	s.Disks, _ = app.Disks(l)
	text, err := json.Marshal(s)
	return text, err == nil
}

func (a *cli) showStatus(text json.RawMessage) error {
	var s status.Status
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("the answer is not readable: %w", err)
	}
	var err error
	if a.format == show.Table {
		_, err = a.out.Write([]byte(a.statusText(s, time.Now())))
	} else {
		err = a.pairs(text)
	}
	if err == nil && !s.Ready {
		err = errNotReady
	}
	return err
}

// statusText is for reading.
func (a *cli) statusText(s status.Status, now time.Time) string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s %s\n", name, show.Text(fmt.Sprintf(format, args...)))
	}
	state := a.paint("ok", "ready")
	if !s.Ready {
		state = a.paint("failed", "NOT READY")
	}
	v := s.Version
	if v == "" {
		v = "(development)"
	}
	fmt.Fprintf(&b, "%-12s %s · Strongroom %s · %s\n", "State", state, show.Text(v), show.Text(s.URL))
	if s.Problem != "" {
		line("Problem", "%s", s.Problem)
	}
	if !s.StartedAt.IsZero() {
		line("Since", "%s (%s)", s.StartedAt.UTC().Format(time.RFC3339), ago(now.Sub(s.StartedAt)))
	}
	if s.Ready && !s.SetUp {
		line("Set-up", "waits for its first administrator: strongroom setup-link, or strongroom setup")
	}
	name := "Alarms"
	for _, al := range s.Alarms {
		fmt.Fprintf(&b, "%-12s %s %s\n", name, a.paint(al.Severity, strings.ToUpper(show.Text(al.Severity))),
			show.Text(fmt.Sprintf("%s, since %s: %s", al.Name, al.Since.UTC().Format(time.RFC3339), al.Text)))
		name = ""
	}
	if len(s.Alarms) == 0 {
		line("Alarms", "none")
	}
	for _, u := range s.Undelivered {
		line("", "not delivered: %s", u)
	}
	name = "Processes"
	for _, sv := range s.Services {
		more := ""
		if sv.Restarts > 0 {
			more = fmt.Sprintf(", %d restarts", sv.Restarts)
		}
		line(name, "%s %s for %s%s", sv.Name, sv.State, ago(now.Sub(sv.Since)), more)
		name = ""
	}
	if k := s.Keys; k.State != "" {
		answering, whole := 0, 0
		for _, g := range k.Guardians {
			if g.Answers {
				answering++
			}
		}
		for _, z := range k.Zones {
			if z.Whole {
				whole++
			}
		}
		line("Keys", "%s · epoch %d · %d of %d guardians answer · %d of %d zones whole", k.State, k.Epoch, answering, len(k.Guardians), whole, len(k.Zones))
		if k.Grade != "" {
			line("Grade", "%s%s", k.Grade, because(k.GradeReasons))
		}
		for _, t := range k.Trouble {
			line("", "%s", t)
		}
	}
	if p := s.Proofs; p != nil {
		line("Promises", "%d kept, %d partly, %d not yet, %d stale, %d broken", p.Kept, p.Partly, p.NotYet, p.Stale, p.Broken)
	}
	name = "Disk"
	for _, d := range s.Disks {
		line(name, "%s of %s free: %s", size(d.FreeBytes), size(d.TotalBytes), strings.Join(d.Holds, ", "))
		name = ""
	}
	name = "Certificate"
	for _, c := range s.Certificates {
		if c.NotAfter.IsZero() {
			line(name, "%s: none for %s: %s", c.Source, strings.Join(c.Names, ", "), c.Problem)
		} else {
			line(name, "%s, until %s (%d days): %s", c.Source, c.NotAfter.UTC().Format(time.DateOnly), int(c.NotAfter.Sub(now).Hours()/24), strings.Join(c.Names, ", "))
		}
		name = ""
	}
	if s.Keys.State != "" { // the server answered
		line("Log", "%d events wait for their place, the oldest for %.1f s; %d breaks of the chain", s.Events.Waiting, s.Events.LagSeconds, s.ChainBreaks)
		line("Jobs", "%d waiting, %d running, %d retrying, %d given up in the last day", s.Jobs.Waiting, s.Jobs.Running, s.Jobs.Retrying, s.Jobs.Failed)
		line("Stock", "%d spare schemas for new organizations", s.SpareSchemas)
	}
	return b.String()
}

func because(reasons []string) string {
	if len(reasons) == 0 {
		return ""
	}
	return ": " + strings.Join(reasons, "; ")
}

func size(n uint64) string {
	if n >= 10<<30 {
		return fmt.Sprintf("%d GB", n>>30)
	}
	return fmt.Sprintf("%d MB", n>>20)
}

func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
