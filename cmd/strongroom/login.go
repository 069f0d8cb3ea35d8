package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"strongroom/client"
	"strongroom/cmd/strongroom/internal/profile"
	"strongroom/cmd/strongroom/internal/show"
)

// secretFlags say where a password or key is read from: never from an argument,
// which everybody on the machine can see.
type secretFlags struct {
	what  string // password, key
	stdin bool
	file  string
}

func (s *secretFlags) flags(cmd *cobra.Command, prefix, what string) {
	s.what = what
	f := cmd.Flags()
	f.BoolVar(&s.stdin, prefix+"-stdin", false, "read the "+what+" from the first line of the standard input")
	f.StringVar(&s.file, prefix+"-file", "", "read the "+what+" from the first line of a file")
	cmd.MarkFlagsMutuallyExclusive(prefix+"-stdin", prefix+"-file")
}

// given reports whether a flag says where the secret is.
func (s *secretFlags) given() bool { return s.stdin || s.file != "" }

// read returns the secret from where the flags say, else by asking for it.
func (s *secretFlags) read(ctx context.Context, a *cli, prompt string) (client.Secret, error) {
	switch {
	case s.stdin:
		return firstLine(ctx, a.in, s.what)
	case s.file != "":
		f, err := os.Open(s.file)
		if err != nil {
			return client.Secret{}, fmt.Errorf("the %s file: %w", s.what, err)
		}
		defer func() { _ = f.Close() }()
		return firstLine(ctx, f, s.what)
	}
	text, err := a.ask(ctx, prompt, true)
	return client.NewSecret(text), err
}

const maxLine = 4096

func firstLine(ctx context.Context, r io.Reader, what string) (client.Secret, error) {
	line, err := bufio.NewReader(io.LimitReader(interruptible(ctx, r), maxLine)).ReadString('\n')
	if err != nil && err != io.EOF {
		return client.Secret{}, err
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return client.Secret{}, usagef("the " + what + " is empty")
	}
	return client.NewSecret(line), nil
}

// ask reads a line from the terminal, without echo for a secret. Ctrl-C gives
// the terminal back as it was.
func (a *cli) ask(ctx context.Context, prompt string, secret bool) (string, error) {
	f, ok := a.in.(*os.File)
	if !ok || !a.inTTY {
		return "", usagef("there is no terminal to ask at: see the flags for another way to give the " + strings.ToLower(strings.TrimSuffix(prompt, ": ")))
	}
	_, _ = fmt.Fprint(a.err, prompt)
	if !secret {
		line, err := firstLine(ctx, f, strings.ToLower(strings.TrimSuffix(prompt, ": ")))
		return strings.TrimSpace(line.Reveal()), err
	}
	state, err := term.GetState(int(f.Fd()))
	if err != nil {
		return "", err
	}
	type answer struct {
		text []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := term.ReadPassword(int(f.Fd()))
		got <- answer{text, err}
	}()
	defer func() { _, _ = fmt.Fprintln(a.err) }()
	select {
	case r := <-got:
		if r.err == nil && len(r.text) == 0 {
			return "", usagef("nothing was entered")
		}
		return string(r.text), r.err
	case <-ctx.Done():
		_ = term.Restore(int(f.Fd()), state)
		return "", ctx.Err()
	}
}

// interruptible ends a read with the context. The read itself may stay behind:
// the process is about to end.
func interruptible(ctx context.Context, r io.Reader) io.Reader { return &ctxReader{ctx, r} }

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *ctxReader) Read(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	buf := make([]byte, len(p)) // p belongs to the caller again once we return
	go func() {
		n, err := c.r.Read(buf)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		return copy(p, buf[:r.n]), r.err
	case <-c.ctx.Done():
		return 0, c.ctx.Err()
	}
}

func (a *cli) login() *cobra.Command {
	var email, ca, data, org string
	var password, key secretFlags
	cmd := &cobra.Command{
		Use:   "login [URL]",
		Short: "Sign in to a server",
		Long: `Sign in to a server by email and password, or with an API key, and remember it in
$XDG_CONFIG_HOME/strongroom/config.toml (mode 0600).

A server with a CA of its own is trusted by the certificate given once with --ca, or, on the
server's machine, taken from its data directory with --data; it is remembered too.

The password is asked for, or read as the flags say, or from the file that
STRONGROOM_PASSWORD_FILE names. The email address may be in STRONGROOM_EMAIL.`,
		Example: `  strongroom login https://localhost:8443 --data ./data --email ada@example.org
  strongroom login https://strongroom.example --api-key-file ./key`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			f, err := a.config()
			if err != nil {
				return err
			}
			name, old := f.Get(a.profileName)
			p := &profile.Profile{URL: old.URL, Email: email}
			if len(args) == 1 {
				p.URL = strings.TrimSuffix(args[0], "/")
			}
			switch {
			case p.URL == "":
				return usagef("which server? Give its URL, as in https://localhost:8443")
			case !strings.Contains(p.URL, "://"):
				p.URL = "https://" + p.URL
			}
			if p.URL == old.URL {
				p.CA, p.Org = old.CA, old.Org
			}
			if data != "" {
				ca = filepath.Join(data, "tls", "ca.pem")
			}
			if ca != "" {
				pem, err := os.ReadFile(ca)
				if err != nil {
					return fmt.Errorf("the CA certificate: %w", err)
				}
				p.CA = string(pem)
			}
			c, err := client.New(client.Options{URL: p.URL, CA: []byte(p.CA), UserAgent: a.agent()})
			if err != nil {
				return usage{err}
			}
			var orgs []client.Organization
			who := "an API key"
			if key.given() {
				orgs, err = a.withKey(ctx, c, p, &key)
			} else {
				if !password.given() {
					password.file = a.getenv("STRONGROOM_PASSWORD_FILE")
				}
				orgs, who, err = a.withPassword(ctx, c, p, old.Email, &password)
			}
			if err != nil {
				return err
			}
			if err := chooseOrg(ctx, c.WithToken(p.Token), p, orgs, org); err != nil {
				return err
			}
			f.Put(name, p)
			f.Current = name
			if err := f.Save(); err != nil {
				return fmt.Errorf("signed in, but it could not be remembered: %w", err)
			}
			a.say("Signed in to %s as %s.", p.URL, who)
			switch {
			case p.Org != "":
				a.say("In use: %s.", orgName(orgs, p.Org))
			case len(orgs) > 0:
				a.say(`Choose one of %d organizations with "strongroom orgs use NAME", or give --org.`, len(orgs))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&email, "email", "", "email address (default: $STRONGROOM_EMAIL, or as last time)")
	f.StringVar(&ca, "ca", "", "trust the certificates in this PEM file, and no others")
	f.StringVar(&data, "data", "", "trust the CA of the installation with this data directory")
	f.StringVar(&org, "org", "", "organization to use, by id or name")
	f.StringVar(&a.profileName, "profile", "", "profile to sign in to (default: the one in use)")
	password.flags(cmd, "password", "password")
	key.flags(cmd, "api-key", "API key")
	cmd.MarkFlagsMutuallyExclusive("ca", "data")
	for _, other := range []string{"email", "password-stdin", "password-file"} {
		cmd.MarkFlagsMutuallyExclusive("api-key-stdin", other)
		cmd.MarkFlagsMutuallyExclusive("api-key-file", other)
	}
	return cmd
}

func (a *cli) withPassword(ctx context.Context, c *client.Client, p *profile.Profile, last string, password *secretFlags) ([]client.Organization, string, error) {
	if p.Email == "" {
		p.Email = a.getenv("STRONGROOM_EMAIL")
	}
	if p.Email == "" {
		p.Email = last
	}
	if p.Email == "" {
		var err error
		if p.Email, err = a.ask(ctx, "Email: ", false); err != nil {
			return nil, "", err
		}
	}
	secret, err := password.read(ctx, a, "Password: ")
	if err != nil {
		return nil, "", err
	}
	var in client.SignedIn
	if err := a.wait("Signing in", func() error { in, err = c.SignIn(ctx, p.Email, secret); return err }); err != nil {
		return nil, "", err
	}
	p.Token, p.ExpiresAt = in.Token, in.Session.ExpiresAt
	return in.Organizations, person(in.Person), nil
}

func (a *cli) withKey(ctx context.Context, c *client.Client, p *profile.Profile, key *secretFlags) ([]client.Organization, error) {
	var err error
	if p.Token, err = key.read(ctx, a, ""); err != nil {
		return nil, err
	}
	p.Email = ""
	var orgs []client.Organization
	err = a.wait("Checking the key", func() error {
		for o, err := range c.WithToken(p.Token).Organizations(ctx) {
			if err != nil {
				return err
			}
			orgs = append(orgs, o)
		}
		return nil
	})
	return orgs, err
}

// chooseOrg decides which organization is in use: the one asked for, the one
// of last time, or the only one.
func chooseOrg(ctx context.Context, c *client.Client, p *profile.Profile, orgs []client.Organization, want string) error {
	if want != "" {
		id, err := findOrg(ctx, c, want)
		p.Org = id
		return err
	}
	for _, o := range orgs {
		if o.ID == p.Org {
			return nil
		}
	}
	p.Org = ""
	if len(orgs) == 1 {
		p.Org = orgs[0].ID
	}
	return nil
}

func orgName(orgs []client.Organization, id string) string {
	for _, o := range orgs {
		if o.ID == id && o.Name != "" {
			return o.Name + " (" + id + ")"
		}
	}
	return id
}

func person(p client.Person) string {
	if p.Name == "" {
		return p.Email
	}
	return p.Name + " <" + p.Email + ">"
}

func (a *cli) logout() *cobra.Command {
	cmd := &cobra.Command{Use: "logout", Short: "End the session, on the server and here", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect()
			if errors.Is(err, errNotSignedIn) {
				a.say("Not signed in.")
				return nil
			} else if err != nil {
				return err
			}
			if s.profile.Email != "" { // an API key is not ours to end
				err = s.SignOut(cmd.Context())
			}
			if code := client.Status(err); err != nil && code != 401 && code != 404 {
				return fmt.Errorf("the session goes on: %w", err)
			}
			s.profile.Token = client.Secret{}
			if err := s.file.Save(); err != nil {
				return err
			}
			a.say("Signed out of %s.", s.profile.URL)
			return nil
		}}
	cmd.Flags().StringVar(&a.profileName, "profile", "", "profile to sign out of (default: the one in use)")
	return cmd
}

func (a *cli) whoami() *cobra.Command {
	return a.remote(&cobra.Command{Use: "whoami", Short: "Say who is signed in, and where", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			var me client.SignedIn
			err = a.wait("Asking", func() error { me, err = whoAmI(cmd.Context(), s); return err })
			if err != nil {
				return err
			}
			if a.format == show.AsJSON {
				return show.Object(a.out, me)
			}
			var in []string
			for _, o := range me.Organizations {
				in = append(in, fmt.Sprintf("%s (%s): %s", o.Name, o.ID, join(o.Roles)))
			}
			return show.One(a.out, a.format, []show.Column[client.SignedIn]{
				{Name: "SERVER", Value: func(client.SignedIn) string { return s.profile.URL }},
				{Name: "PERSON", Value: func(m client.SignedIn) string {
					if m.Person.ID == "" {
						return "an API key"
					}
					return person(m.Person)
				}},
				{Name: "ID", Value: func(m client.SignedIn) string { return m.Person.ID }},
				{Name: "UNTIL", Value: func(m client.SignedIn) string { return when(m.Session.ExpiresAt) }},
				{Name: "ORGANIZATIONS", Value: func(client.SignedIn) string { return strings.Join(in, "; ") }},
				{Name: "IN USE", Value: func(client.SignedIn) string { return s.profile.Org }},
			}, me)
		}})
}

// whoAmI is about the session; an API key has none, only the organization it
// belongs to.
func whoAmI(ctx context.Context, s *session) (client.SignedIn, error) {
	if s.profile.Email != "" {
		return s.WhoAmI(ctx)
	}
	me := client.SignedIn{Organizations: []client.Organization{}}
	for o, err := range s.Organizations(ctx) {
		if err != nil {
			return me, err
		}
		me.Organizations = append(me.Organizations, o)
	}
	return me, nil
}

func (a *cli) passwd() *cobra.Command {
	var old, fresh secretFlags
	cmd := &cobra.Command{Use: "passwd", Short: "Change your password; all your sessions end", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			s, err := a.connect()
			if err != nil {
				return err
			}
			was, err := old.read(ctx, a, "Password until now: ")
			if err != nil {
				return err
			}
			want, err := fresh.read(ctx, a, "New password: ")
			if err != nil {
				return err
			}
			if !fresh.given() {
				again, err := a.ask(ctx, "New password again: ", true)
				if err != nil {
					return err
				}
				if again != want.Reveal() {
					return errors.New("the new passwords are not the same: nothing was changed")
				}
			}
			if err := a.wait("Changing the password", func() error { return s.ChangePassword(ctx, was, want) }); err != nil {
				return err
			}
			s.profile.Token = client.Secret{}
			if err := s.file.Save(); err != nil {
				return err
			}
			a.say(`The password is changed and every session has ended. Run "strongroom login" to sign in again.`)
			return nil
		}}
	old.flags(cmd, "password", "password until now")
	fresh.flags(cmd, "new-password", "new password")
	cmd.MarkFlagsMutuallyExclusive("password-stdin", "new-password-stdin")
	return a.remote(cmd)
}

func (a *cli) joincode() *cobra.Command {
	return a.remote(&cobra.Command{Use: "joincode", Short: "Make a code by which an organization's admin can add you", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect()
			if err != nil {
				return err
			}
			j, err := s.CreateJoinCode(cmd.Context())
			if err != nil {
				return err
			}
			type code struct { // the answer hides it, and this is the one who may see it
				Code      string `json:"join_code"`
				ExpiresAt string `json:"expires_at"`
			}
			return show.One(a.out, a.format, []show.Column[code]{
				{Name: "CODE", Value: func(c code) string { return c.Code }},
				{Name: "EXPIRES", Value: func(c code) string { return c.ExpiresAt }},
			}, code{j.Code.Reveal(), when(j.ExpiresAt)})
		}})
}
