package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"strongroom/internal/base/fault"
	"strongroom/internal/feature"
)

// What bodies may take of the process, and streams of a connection's time.
const (
	// bodyBudget bounds the bytes of all JSON bodies in memory together; who
	// finds no room within bodyWait is told to come again.
	bodyBudget = 64 << 20
	bodyWait   = 5 * time.Second
	// A streamed body may pause for streamIdle, and must come to streamRate
	// bytes per second over all after the first streamGrace.
	streamIdle  = 30 * time.Second
	streamGrace = 60 * time.Second
	streamRate  = 4 << 10
	// drain is how long a refused request's leftover body may still take.
	drain = 2 * time.Second
)

// checkForm looks at what the headers say of the body, before a byte of it is
// read.
func checkForm(r *http.Request, op feature.Op) error {
	if enc := r.Header.Values("Content-Encoding"); len(enc) > 0 {
		// A compressed body of a kilobyte can hold a gigabyte.
		return fault.At(fault.UnsupportedMedia, "Content-Encoding", "unsupported_encoding", "bodies are sent as they are, without compression")
	}
	switch {
	case op.HasBody():
	case op.Streams() && op.Method != http.MethodGet && op.Method != http.MethodDelete:
		return nil
	case r.ContentLength != 0:
		return fault.At(fault.Malformed, "", "unexpected_body", "this operation takes no body")
	default:
		return nil
	}
	if err := jsonType(r.Header.Get("Content-Type")); err != nil {
		return err
	}
	if r.ContentLength > limitOf(op) {
		return tooLarge(op)
	}
	return nil
}

func jsonType(value string) error {
	if value == "" {
		return fault.At(fault.UnsupportedMedia, "Content-Type", "required", "say that the body is application/json")
	}
	media, params, err := mime.ParseMediaType(value)
	if err == nil && media == "application/json" {
		charset, has := params["charset"]
		if len(params) == 0 || len(params) == 1 && has && strings.EqualFold(charset, "utf-8") {
			return nil
		}
	}
	return fault.At(fault.UnsupportedMedia, "Content-Type", "unsupported_media", "expected application/json")
}

func limitOf(op feature.Op) int64 {
	if op.MaxBody > 0 {
		return op.MaxBody
	}
	return feature.DefaultMaxBody
}

func tooLarge(op feature.Op) error {
	f := fault.New(fault.TooLarge, "the body is larger than %d bytes", limitOf(op))
	f.Details = []fault.Detail{{Code: "too_large", Detail: f.Public}}
	return f
}

// budget is the room for bodies that all requests share.
type budget struct{ room *semaphore.Weighted }

func newBudget() budget { return budget{semaphore.NewWeighted(bodyBudget)} }

// readBody reads a JSON body whole, within the operation's size and time. The
// caller calls release when the bytes are no longer needed.
func (b budget) readBody(w http.ResponseWriter, r *http.Request, op feature.Op) (data []byte, release func(), err error) {
	limit := limitOf(op)
	size := limit // a chunked body may become as large as that
	if r.ContentLength >= 0 {
		size = r.ContentLength
	}
	size = min(size, bodyBudget)
	wait, cancel := context.WithTimeout(r.Context(), bodyWait)
	defer cancel()
	if err := b.room.Acquire(wait, size); err != nil {
		return nil, nil, fault.Wrap(fault.Unavailable, err, "too many bodies at once; try again")
	}
	defer func() {
		if err != nil {
			b.room.Release(size)
		}
	}()
	within := op.BodyTime
	if within == 0 {
		within = feature.DefaultBodyTime
	}
	deadline := http.NewResponseController(w)
	_ = deadline.SetReadDeadline(time.Now().Add(within))
	var buf bytes.Buffer
	if r.ContentLength > 0 {
		buf.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	n, err := buf.ReadFrom(io.LimitReader(r.Body, limit+1))
	switch {
	case n > limit:
		return nil, nil, tooLarge(op)
	case err != nil:
		return nil, nil, brokenBody(err)
	}
	// A deadline left behind would end the request's context while the
	// operation runs: the server goes on reading to see the client leave.
	_ = deadline.SetReadDeadline(time.Time{})
	return buf.Bytes(), func() { b.room.Release(size) }, nil
}

// brokenBody classifies a body that did not come whole.
func brokenBody(err error) error {
	var timeout net.Error
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return errTooSlow
	}
	return fault.Wrap(fault.Malformed, err, "the body broke off")
}

// paced is the body of a streaming operation. It gives a slow but living
// sender all the time it needs, and a sender that trickles bytes to hold the
// connection none.
type paced struct {
	io.ReadCloser
	deadline *http.ResponseController
	start    time.Time
	moved    time.Time
	read     int64
}

func newPaced(w http.ResponseWriter, body io.ReadCloser) *paced {
	return &paced{ReadCloser: body, deadline: http.NewResponseController(w), start: time.Now()}
}

func (p *paced) Read(b []byte) (int, error) {
	if now := time.Now(); now.Sub(p.moved) > time.Second {
		p.moved = now
		_ = p.deadline.SetReadDeadline(earlier(now.Add(streamIdle), p.start.Add(streamGrace+time.Duration(p.read/streamRate)*time.Second)))
	}
	n, err := p.ReadCloser.Read(b)
	p.read += int64(n)
	switch {
	case errors.Is(err, io.EOF):
		_ = p.deadline.SetReadDeadline(time.Time{})
	case err != nil:
		err = brokenBody(err)
	}
	return n, err
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
