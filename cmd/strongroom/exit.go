package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"strongroom/client"
)

// The exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2 // the command line is wrong; nothing was tried
	exitDenied      = 3 // not signed in, or not allowed
	exitNotFound    = 4 // not there, or not visible
	exitUnavailable = 5 // no answer, or not now: later may do
)

// usage is an error of the command line.
type usage struct{ error }

func (u usage) Unwrap() error { return u.error }

func usagef(text string) error { return usage{errors.New(text)} }

// errSilent ends a command with exitFailed after it has said everything.
var errSilent = errors.New("failed")

// errNotReady is errSilent with exitUnavailable: what was asked about does not
// serve.
var errNotReady = fmt.Errorf("not ready: %w", errSilent)

// errInterrupted is what Ctrl-C turns every error into.
var errInterrupted = errors.New("interrupted")

func exitCode(err error) int {
	var u usage
	var gone *client.Unreachable
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &u):
		return exitUsage
	case errors.As(err, &gone):
		if gone.Untrusted {
			return exitFailed // later will not do: it takes another CA, or another server
		}
		return exitUnavailable
	case errors.Is(err, errNotReady):
		return exitUnavailable
	case errors.Is(err, errNotSignedIn):
		return exitDenied
	case errors.Is(err, errNotFound):
		return exitNotFound
	case errors.Is(err, context.DeadlineExceeded):
		return exitUnavailable
	}
	switch client.Status(err) {
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitDenied
	case http.StatusNotFound:
		return exitNotFound
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return exitUnavailable
	}
	return exitFailed
}
