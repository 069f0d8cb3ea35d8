// Package clitest runs the command line as its users do, as a process, for
// tests: against a server made for tests, or against a whole installation.
//
// A CLI has a working folder and a configuration of its own, so tests run side
// by side and never meet the configuration of whoever runs them.
//
//	bin := clitest.Build(t)                     // or a path to a built strongroom
//	ada := clitest.New(t, bin)
//	ada.Login(url, caFile, "ada@example.org", password)
//	id := ada.Must("put", "frame.tif", "--output", "json").Items()[0]["id"].(string)
//	if got := ada.Run("get", id).Code; got != clitest.OK { … }
//
// Script runs a file of such lines; see its comment.
package clitest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// The exit codes of the command line.
const (
	OK = iota
	Failed
	Usage
	Denied
	NotFound
	Unavailable
)

// limit ends a command that hangs.
const limit = 2 * time.Minute

// Build compiles the command into a folder of the test and returns the path of
// the program.
func Build(t testing.TB) string {
	t.Helper()
	path, err := BuildIn(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// BuildIn is Build for a TestMain, so that the tests of a package share one
// program: linking takes a second.
func BuildIn(dir string) (path string, err error) {
	path = filepath.Join(dir, "strongroom")
	_, here, _, _ := runtime.Caller(0)
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Dir = filepath.Dir(filepath.Dir(here))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("the command does not build: %w\n%s", err, out)
	}
	return path, nil
}

// CLI is one user at one machine.
type CLI struct {
	Dir string            // working folder
	Env map[string]string // of every command, and the variables of scripts

	t   testing.TB
	bin string
}

// New returns a user who has signed in nowhere.
func New(t testing.TB, bin string) *CLI {
	dir := t.TempDir()
	return &CLI{Dir: dir, t: t, bin: bin, Env: map[string]string{
		"HOME": filepath.Join(dir, "home"), "XDG_CONFIG_HOME": filepath.Join(dir, "home", "config"), "PATH": os.Getenv("PATH"), "WORK": dir,
	}}
}

// Config is the path of the user's configuration.
func (c *CLI) Config() string {
	return filepath.Join(c.Env["XDG_CONFIG_HOME"], "strongroom", "config.toml")
}

// Result is how a command ended.
type Result struct {
	Args           []string
	Stdout, Stderr string
	Code           int

	t testing.TB
}

// Run runs a command.
func (c *CLI) Run(args ...string) Result { c.t.Helper(); return c.RunIn("", args...) }

// RunIn runs a command with a standard input.
func (c *CLI) RunIn(stdin string, args ...string) Result {
	c.t.Helper()
	r := Result{Args: args, t: c.t}
	var stdout, stderr bytes.Buffer
	cmd, cancel := c.Command(args...)
	defer cancel()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatalf("strongroom %s: %v", strings.Join(args, " "), err)
	}
	r.Stdout, r.Stderr, r.Code = stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
	return r
}

// Command prepares a command that the test starts and ends by itself.
func (c *CLI) Command(args ...string) (*exec.Cmd, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	cmd := exec.CommandContext(ctx, c.bin, args...)
	cmd.Dir = c.Dir
	for k, v := range c.Env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	return cmd, cancel
}

// Must runs a command that has to succeed.
func (c *CLI) Must(args ...string) Result { c.t.Helper(); return c.MustIn("", args...) }

// MustIn is Must with a standard input.
func (c *CLI) MustIn(stdin string, args ...string) Result {
	c.t.Helper()
	r := c.RunIn(stdin, args...)
	if r.Code != OK {
		c.t.Fatalf("strongroom %s: exit %d\n%s%s", strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return r
}

// Login signs in by password, trusting the CA in a file.
func (c *CLI) Login(url, caFile, email, password string) {
	c.t.Helper()
	c.MustIn(password+"\n", "login", url, "--ca", caFile, "--email", email, "--password-stdin")
}

// Write makes a file in the working folder.
func (c *CLI) Write(name string, content []byte) string {
	c.t.Helper()
	path := filepath.Join(c.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// Read returns a file of the working folder.
func (c *CLI) Read(name string) []byte {
	c.t.Helper()
	b, err := os.ReadFile(filepath.Join(c.Dir, name))
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

// JSON reads the output as JSON.
func (r Result) JSON(v any) {
	r.t.Helper()
	if err := json.Unmarshal([]byte(r.Stdout), v); err != nil {
		r.t.Fatalf("strongroom %s: the output is not JSON: %v\n%s", strings.Join(r.Args, " "), err, r.Stdout)
	}
}

// Items returns the items of the list in the output, as --output json prints it.
func (r Result) Items() []map[string]any {
	r.t.Helper()
	var page struct{ Items []map[string]any }
	r.JSON(&page)
	if len(page.Items) == 0 {
		r.t.Fatalf("strongroom %s: the list is empty", strings.Join(r.Args, " "))
	}
	return page.Items
}

// Field returns a text field of the JSON object in the output.
func (r Result) Field(name string) string {
	r.t.Helper()
	var o map[string]any
	r.JSON(&o)
	s, ok := o[name].(string)
	if !ok {
		r.t.Fatalf("strongroom %s: the output has no text field %s\n%s", strings.Join(r.Args, " "), name, r.Stdout)
	}
	return s
}
