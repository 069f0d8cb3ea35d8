package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"strongroom/client"
	"strongroom/cmd/strongroom/internal/profile"
	"strongroom/cmd/strongroom/internal/show"
)

// version is set by the linker in released builds.
var version = ""

// cli is one run of the command line.
type cli struct {
	environ
	progress *show.Progress

	format      show.Format
	profileName string
	orgFlag     string
	dataDir     string
	purpose     string
}

// run runs one command and returns its exit code.
func run(ctx context.Context, args []string, e environ) int {
	a := &cli{environ: e, format: show.Table, progress: show.NewProgress(nil)}
	if e.errTTY {
		a.progress = show.NewProgress(e.err)
	}
	root := a.root()
	begun := false
	wrap(root, &begun)
	root.SetArgs(args)
	root.SetIn(e.in)
	root.SetOut(e.out)
	root.SetErr(e.err)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if !begun { // cobra refused the command line before any command began
		err = usage{err}
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = fmt.Errorf("%w%s", errInterrupted, strings.TrimPrefix(err.Error(), context.Canceled.Error()))
	}
	if !errors.Is(err, errSilent) {
		_, _ = fmt.Fprintf(e.err, "strongroom: %s\n", show.Text(err.Error()))
	}
	var u usage
	if errors.As(err, &u) {
		_, _ = fmt.Fprintf(e.err, "Run %q for how to use it.\n", cmd.CommandPath()+" --help")
	}
	var gone *client.Unreachable
	if errors.As(err, &gone) && gone.Untrusted {
		_, _ = fmt.Fprintln(e.err, "Sign in with --ca FILE, or on the server's machine with --data DIR, to trust an installation's own CA.")
	}
	if client.Status(err) == http.StatusUnauthorized && cmd.Name() != "login" {
		_, _ = fmt.Fprintln(e.err, `Run "strongroom login" to sign in again.`)
	}
	return exitCode(err)
}

// wrap marks the moment a command begins: an error before it is one of usage.
func wrap(cmd *cobra.Command, begun *bool) {
	if do := cmd.RunE; do != nil {
		cmd.RunE = func(c *cobra.Command, args []string) error { *begun = true; return do(c, args) }
	}
	if do := cmd.Run; do != nil {
		cmd.Run = func(c *cobra.Command, args []string) { *begun = true; do(c, args) }
	}
	for _, sub := range cmd.Commands() {
		wrap(sub, begun)
	}
}

func (a *cli) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "strongroom",
		Short: "Keep sensitive data sealed, and prove it",
		Long: `Strongroom keeps an organization's records and files sealed, records every access,
and proves each of its promises on demand.

Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 denied, 4 not found, 5 unavailable.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetHelpCommand(&cobra.Command{Hidden: true})
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddGroup(&cobra.Group{ID: "data", Title: "Data:"}, &cobra.Group{ID: "people", Title: "People and access:"},
		&cobra.Group{ID: "installation", Title: "The installation:"})
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			if c.GroupID == "" {
				c.GroupID = group
			}
			root.AddCommand(c)
		}
	}
	add("people", a.login(), a.logout(), a.whoami(), a.passwd(), a.joincode(), a.orgs(), a.members(), a.apikeys(), a.sandbox(), a.audit())
	add("data", a.put(), a.get(), a.ls(), a.history(), a.rm(), a.restore(), a.trash(), a.share(), a.export(), a.kits(), a.collections(), a.links())
	add("installation", a.setup(), a.setupLink(), a.status(), a.doctor(), a.mail(), a.alarm(), a.keys(), a.prove(), a.trust(), a.reports(), a.plans(), a.versionCommand())
	for _, c := range serverCommands {
		add("installation", c())
	}
	return root
}

// remote gives a command, and those under it, the flags of all commands that
// talk to a server.
func (a *cli) remote(cmd *cobra.Command) *cobra.Command {
	f := cmd.PersistentFlags()
	f.Var(&a.format, "output", "how to write the result")
	f.StringVar(&a.profileName, "profile", "", "profile to use (default: the one last signed in to)")
	f.StringVar(&a.purpose, "purpose", "", "what the data is for, for the record (default: service)")
	return cmd
}

// inOrg is remote for commands inside an organization.
func (a *cli) inOrg(cmd *cobra.Command) *cobra.Command {
	cmd.PersistentFlags().StringVar(&a.orgFlag, "org", "", "organization, by id or name (default: the one in use)")
	return a.remote(cmd)
}

// local gives a command the flags of those that talk to the installation on
// this machine.
func (a *cli) local(cmd *cobra.Command) *cobra.Command {
	f := cmd.Flags()
	f.Var(&a.format, "output", "how to write the result")
	f.StringVar(&a.dataDir, "data", "", "data directory of the installation (default: $STRONGROOM_DATA)")
	return cmd
}

// group is a command that only holds others.
func group(use, short string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		return usagef("which of its commands?")
	}}
	cmd.AddCommand(subs...)
	return cmd
}

func (a *cli) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		v, revision := version, ""
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, s := range info.Settings {
				if s.Key == "vcs.revision" {
					revision = " " + s.Value[:min(12, len(s.Value))]
				}
			}
		}
		if v == "" {
			v = "(development)"
		}
		_, err := fmt.Fprintf(a.out, "strongroom %s%s %s %s/%s\n", v, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return err
	}}
}

var (
	errNotSignedIn = errors.New(`not signed in: run "strongroom login https://SERVER"`)
	errNotFound    = errors.New("not found")
)

// session is a client with the profile it came from.
type session struct {
	*client.Client
	file    *profile.File
	name    string
	profile *profile.Profile
}

func (a *cli) config() (*profile.File, error) {
	path, err := profile.Path(a.getenv)
	if err != nil {
		return nil, err
	}
	return profile.Load(path)
}

// connect returns a client for the profile in use. Nothing is sent yet.
func (a *cli) connect() (*session, error) {
	f, err := a.config()
	if err != nil {
		return nil, err
	}
	name, p := f.Get(a.profileName)
	if p.URL == "" || p.Token.IsZero() {
		return nil, errNotSignedIn
	}
	c, err := client.New(client.Options{URL: p.URL, CA: []byte(p.CA), Token: p.Token, Purpose: a.purpose, UserAgent: a.agent()})
	if err != nil {
		return nil, err
	}
	return &session{c, f, name, p}, nil
}

func (a *cli) agent() string {
	if version == "" {
		return "strongroom-cli"
	}
	return "strongroom-cli/" + version
}

// enter is connect for commands inside an organization: that of --org, of
// STRONGROOM_ORG, or the one in use.
func (a *cli) enter(ctx context.Context) (*session, string, error) {
	s, err := a.connect()
	if err != nil {
		return nil, "", err
	}
	want := a.orgFlag
	if want == "" {
		want = a.getenv("STRONGROOM_ORG")
	}
	if want == "" {
		want = s.profile.Org
	}
	if want == "" {
		return nil, "", usagef(`which organization? Give --org, or choose one with "strongroom orgs use"`)
	}
	org, err := findOrg(ctx, s.Client, want)
	return s, org, err
}

// findOrg turns an id or a name into an id.
func findOrg(ctx context.Context, c *client.Client, want string) (string, error) {
	if strings.HasPrefix(want, "org_") {
		return want, nil
	}
	found := ""
	for o, err := range c.Organizations(ctx) {
		if err != nil {
			return "", err
		}
		if o.Name != want {
			continue
		}
		if found != "" {
			return "", usagef("several organizations have this name: give the id of one")
		}
		found = o.ID
	}
	if found == "" {
		return "", fmt.Errorf("no organization of this name: %w", errNotFound)
	}
	return found, nil
}

// admin opens the installation on this machine.
func (a *cli) admin() (*client.Admin, error) {
	dir := a.dataDir
	if dir == "" {
		dir = a.getenv("STRONGROOM_DATA")
	}
	if dir == "" {
		return nil, usagef("which installation? Give its data directory with --data DIR")
	}
	return client.OpenAdmin(dir)
}

// say tells the person something that is not the result.
func (a *cli) say(format string, args ...any) {
	_, _ = fmt.Fprintln(a.err, show.Text(fmt.Sprintf(format, args...)))
}

// wait runs do, and shows that it runs once it takes long.
func (a *cli) wait(label string, do func() error) error {
	t := a.progress.Start(label, 0)
	defer t.End()
	return do()
}

// paging holds the flags of a command that lists.
type paging struct {
	limit  int
	all    bool
	cursor string
}

func (p *paging) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.IntVar(&p.limit, "limit", 50, "how many to list")
	f.BoolVar(&p.all, "all", false, "list all, however many")
	f.StringVar(&p.cursor, "cursor", "", "go on from the cursor that an earlier list ended with")
	cmd.MarkFlagsMutuallyExclusive("limit", "all")
}

// pageSize is the most that the server gives at once.
const pageSize = 200

// list prints a list, page by page.
func list[T any](ctx context.Context, a *cli, p paging, columns []show.Column[T], get func(context.Context, client.List) (client.Page[T], error)) error {
	if !p.all && p.limit < 1 {
		return usagef("--limit must be at least 1")
	}
	next := p.cursor
	items := func(yield func(T, error) bool) {
		for left := p.limit; p.all || left > 0; {
			n := pageSize
			if !p.all {
				n = min(n, left)
			}
			var page client.Page[T]
			// Quiet while rows are on the screen: the spinner would stand among them.
			page, err := get(ctx, client.List{Limit: n, Cursor: next})
			if err != nil {
				yield(*new(T), err)
				return
			}
			if page.Next != "" && page.Next == next {
				yield(*new(T), errors.New("the server's list leads back to itself"))
				return
			}
			next = page.Next
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if left -= len(page.Items); next == "" {
				return
			}
		}
	}
	if err := show.List(a.out, a.format, columns, iter.Seq2[T, error](items), func() string { return next }); err != nil {
		return err
	}
	if next != "" && a.format != show.AsJSON {
		a.say("There is more: go on with --cursor %s, or list --all.", next)
	}
	return nil
}
