// Command strongroom is both sides of Strongroom: the client that people and
// scripts use, and the processes of an installation.
//
// Its promises to scripts: results go to stdout and everything else to stderr;
// the exit code says how it ended (see exit.go); --output json and csv stay as
// they are. The client commands are thin: what they know of the server is in
// package client. To add one, write a file with its constructor and add it to
// commands in root.go. The commands of the server register themselves in
// serverCommands.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// serverCommands are the commands that run a part of an installation. The
// files server_*.go add to it; each command gets a context that ends with
// SIGINT or SIGTERM.
var serverCommands []func() *cobra.Command

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], process())
	stop()
	os.Exit(code)
}

// environ is what a command may touch of the process around it.
type environ struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	// Which of the three are terminals.
	inTTY, outTTY, errTTY bool
}

func process() environ {
	tty := func(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
	return environ{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv,
		inTTY: tty(os.Stdin), outTTY: tty(os.Stdout), errTTY: tty(os.Stderr)}
}
