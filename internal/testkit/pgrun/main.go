// Command pgrun runs a command with one private PostgreSQL beside it, so that
// all packages of a test run share a cluster that is started once.
//
//	go run ./internal/testkit/pgrun go test ./...
//
// The command finds the cluster in STRONGROOM_TEST_PG: the superuser's
// connection URL, over a unix socket. pgrun exits with the command's exit code
// and leaves no process and no file behind. The cluster is the product's own,
// except that it does not wait for the disk (fsync is off): a test about
// durability starts a cluster for itself.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"strongroom/internal/postgres"
)

// variable is what the command's environment has, beside the caller's.
const variable = "STRONGROOM_TEST_PG"

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: pgrun command [argument …]")
		os.Exit(2)
	}
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgrun:", err)
	}
	os.Exit(code)
}

func run(command []string) (code int, err error) {
	if os.Getenv(variable) != "" { // somebody runs a cluster already
		return wait(command, os.Environ())
	}
	// The temporary folder is 0700, and PostgreSQL runs as another user.
	dir, err := os.MkdirTemp("", "strongroom-test-")
	if err != nil {
		return 1, err
	}
	defer func() {
		if rerr := os.RemoveAll(dir); err == nil && rerr != nil {
			code, err = 1, rerr
		}
	}()
	if err := os.Chmod(dir, 0o711); err != nil {
		return 1, err
	}
	user, err := postgres.EnsureUser("strongroom-postgres")
	if err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cluster, err := postgres.Start(ctx, postgres.Options{
		DataDir:   filepath.Join(dir, "postgres"),
		SocketDir: filepath.Join(dir, "socket"),
		User:      user,
		Settings: map[string]string{
			"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
			"wal_level": "minimal", "max_wal_senders": "0", "max_wal_size": "2GB",
			"max_connections": "400",
		},
	})
	if err != nil {
		return 1, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if serr := cluster.Stop(ctx); err == nil && serr != nil {
			code, err = 1, serr
		}
	}()
	return wait(command, append(os.Environ(), variable+"="+cluster.URL(postgres.DefaultSuperuser, "postgres")))
}

// wait runs the command and passes on what asks it to end: a terminal sends
// SIGINT to both, a build server SIGTERM to this program alone.
func wait(command, env []string) (int, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			_ = cmd.Process.Signal(s) // it may just have ended
		case err := <-done:
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
				if code := exit.ExitCode(); code > 0 {
					return code, nil
				}
				return 1, fmt.Errorf("%s: %w", command[0], err)
			}
			if err != nil {
				return 1, err
			}
			return 0, nil
		}
	}
}
