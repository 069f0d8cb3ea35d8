package console

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
)

// inside carries requests to the API's handler without a network between:
// bodies are handed through as they come, in constant memory in both
// directions, and whoever stops reading or goes away ends the handler's
// context. It belongs to one visit, which waits for its calls in wait: no call
// outlives the page that asked.
type inside struct {
	api    http.Handler
	remote string // the browser's address, which goes on record
	calls  sync.WaitGroup
}

var errBroken = errors.New("console: the API broke its answer off")

// RoundTrip implements http.RoundTripper.
func (t *inside) RoundTrip(out *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(out.Context())
	in := out.Clone(ctx)
	in.RemoteAddr = t.remote
	in.RequestURI = out.URL.RequestURI()
	in.Host = out.URL.Host
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/1.1", 1, 1
	in.Response, in.Close = nil, false
	// The body is read when the handler asks for it, which is what this header
	// is for on a network.
	in.Header.Del("Expect")
	if in.Body == nil {
		in.Body = http.NoBody
	}
	r, w := io.Pipe()
	a := &reply{header: http.Header{}, head: in.Method == http.MethodHead, declared: -1, pipe: w, ready: make(chan struct{})}
	// A page that ends without having read, or closed, what it asked for must
	// not leave the handler waiting for a reader.
	stop := context.AfterFunc(out.Context(), func() { _ = r.CloseWithError(context.Cause(out.Context())) })
	t.calls.Go(func() {
		defer cancel()
		defer stop()
		// As a server does once the handler is done with it.
		defer func() { _ = in.Body.Close() }()
		defer a.finish()
		t.api.ServeHTTP(a, in)
		a.ended = true
	})
	select {
	case <-a.ready:
	case <-ctx.Done():
		// Both may have happened; a failure says more than the end of the call.
		select {
		case <-a.ready:
		default:
			_ = r.CloseWithError(ctx.Err())
			return nil, context.Cause(out.Context())
		}
	}
	if err := context.Cause(out.Context()); err != nil {
		_ = r.CloseWithError(err) // whoever asked is gone: no half of an answer is handed on
		return nil, err
	}
	if a.status == 0 {
		return nil, errBroken
	}
	return &http.Response{Status: strconv.Itoa(a.status) + " " + http.StatusText(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.sent, Body: &replyBody{r, cancel}, ContentLength: a.declared, Request: out}, nil
}

// reply is the handler's side of an answer.
type reply struct {
	header   http.Header
	sent     http.Header // header as it was when the status was written
	status   int
	head     bool  // the request was HEAD: the answer has no body
	declared int64 // Content-Length; -1: none
	written  int64
	pipe     *io.PipeWriter
	ready    chan struct{} // closed when the status is known, or will never be
	ended    bool          // the handler returned: it did not panic
}

// Header implements http.ResponseWriter.
func (a *reply) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *reply) WriteHeader(status int) {
	if a.status != 0 || status < 200 {
		return
	}
	a.sent, a.status = a.header.Clone(), status
	switch n, err := strconv.ParseInt(a.sent.Get("Content-Length"), 10, 64); {
	case status == http.StatusNoContent || status == http.StatusNotModified:
		a.declared = 0
	case err == nil && n >= 0:
		a.declared = n
	}
	close(a.ready)
}

// Write implements http.ResponseWriter. It returns when the reader took the
// bytes.
func (a *reply) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	switch {
	case a.status == http.StatusNoContent || a.status == http.StatusNotModified:
		return 0, http.ErrBodyNotAllowed
	case a.head:
		return len(b), nil
	case a.declared >= 0 && a.written+int64(len(b)) > a.declared:
		return 0, http.ErrContentLength
	}
	n, err := a.pipe.Write(b)
	a.written += int64(n)
	return n, err
}

// Flush implements http.Flusher: nothing is held back.
func (a *reply) Flush() { a.WriteHeader(http.StatusOK) }

// finish ends the body as a connection would end: a handler that panics, as
// http.ErrAbortHandler asks for, or writes less than it declared leaves a body
// that breaks off, never one that looks whole. The panic ends here; the API
// logs its own.
func (a *reply) finish() {
	if !a.ended {
		_ = recover()
		if a.status == 0 {
			close(a.ready)
		}
		_ = a.pipe.CloseWithError(errBroken)
		return
	}
	a.WriteHeader(http.StatusOK)
	if !a.head && a.declared >= 0 && a.written != a.declared {
		_ = a.pipe.CloseWithError(io.ErrUnexpectedEOF)
		return
	}
	_ = a.pipe.Close()
}

// replyBody is the reader's side. Closing it tells the handler that nobody
// reads any more.
type replyBody struct {
	*io.PipeReader
	cancel context.CancelFunc
}

// Close implements io.Closer.
func (b *replyBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}
