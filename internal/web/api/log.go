package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"time"

	"strongroom/internal/base/fault"
)

// access writes the line of a request: route, status, duration, identifier.
// Nothing that the caller chose is in it, not even the path.
func (s *Server) access(c *call, start time.Time) {
	s.o.Log.Info("request", "route", c.pattern(), "status", c.guard.status, "duration", time.Since(start).Round(time.Microsecond),
		"request_id", c.incoming.ID.String())
	if s.o.Observe != nil {
		s.o.Observe(c.operation(), c.guard.status, time.Since(start))
	}
}

// operation names what was asked for, in words of the product alone.
func (c *call) operation() string {
	if c.guard.free || c.route == nil {
		return c.pattern()
	}
	return c.route.op.ID
}

func (c *call) pattern() string {
	switch {
	case c.guard.free:
		return "unaudited"
	case c.route == nil:
		return "unrouted"
	}
	return c.route.pattern
}

// panicked logs where a panic came from. Its value may hold anything, so the
// log has its type alone.
func (s *Server) panicked(c *call, value any) {
	if value == http.ErrAbortHandler {
		return
	}
	pc := make([]uintptr, 32)
	frames := runtime.CallersFrames(pc[:runtime.Callers(4, pc)])
	var at []string
	for {
		f, more := frames.Next()
		at = append(at, fmt.Sprintf("%s:%d", f.Function, f.Line))
		if !more {
			break
		}
	}
	s.o.Log.Error("panic", "route", c.pattern(), "request_id", c.incoming.ID.String(), "type", fmt.Sprintf("%T", value), "at", strings.Join(at, " "))
}

// describe renders a failure for the operator. The texts of errors from below
// are left out, as drivers and decoders quote values in them: what is shown is
// what our own faults say, the types of the others, and codes.
func describe(err error) string {
	var parts []string
	for ; err != nil && len(parts) < 16; err = errors.Unwrap(err) {
		var state interface{ SQLState() string }
		switch e := err.(type) {
		case *fault.Error:
			parts = append(parts, e.Kind.String()+" "+e.Public)
		default:
			part := fmt.Sprintf("%T", err)
			switch {
			case errors.As(err, &state) && errors.Unwrap(err) == nil:
				part += " SQLSTATE " + state.SQLState()
			case err == context.Canceled || err == context.DeadlineExceeded || err == errNoReceipt:
				part = err.Error()
			}
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}
