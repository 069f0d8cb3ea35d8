package api

import (
	"errors"
	"net/http"
	"time"

	"strongroom/internal/store/audit"
)

// errNoReceipt reports an answer that was about to leave before its event was
// durable.
var errNoReceipt = errors.New("api: an answer without an audit receipt")

// writeIdle is how long a reader may take no byte of an answer before the
// connection is given up.
const writeIdle = 30 * time.Second

// guard is the response writer of every route. It lets nothing out, not even
// an interim status, before it holds a receipt: "recorded before the answer"
// (AUD-2) is a property of this type, not of the care of handlers. The routes
// of the golden list have free set; the one other exception is lost.
//
// It has no Unwrap, on purpose: http.ResponseController would find the
// connection behind it.
type guard struct {
	w       http.ResponseWriter
	free    bool // a route of the golden list
	receipt audit.Receipt
	lost    bool // the log is down: the bare 503 may leave, nothing else
	breach  bool // something tried to answer without a receipt
	status  int  // what was sent; 0: nothing yet
	bytes   int64
	paced   time.Time // when the write deadline was last moved
}

// accept takes a receipt; a zero one proves nothing and changes nothing.
func (g *guard) accept(r audit.Receipt) {
	if !r.IsZero() {
		g.receipt = r
	}
}

func (g *guard) may() bool {
	if g.free || g.lost || !g.receipt.IsZero() {
		return true
	}
	g.breach = true
	return false
}

// Header returns the headers to be sent.
func (g *guard) Header() http.Header { return g.w.Header() }

// WriteHeader sends the status, or marks the breach and sends nothing.
func (g *guard) WriteHeader(status int) {
	if !g.may() || g.status != 0 {
		return
	}
	if status >= 200 {
		g.status = status
	}
	g.pace()
	g.w.WriteHeader(status)
}

// Write sends bytes, or refuses them.
func (g *guard) Write(b []byte) (int, error) {
	if !g.may() {
		return 0, errNoReceipt
	}
	if g.status == 0 {
		g.WriteHeader(http.StatusOK)
	}
	g.pace()
	n, err := g.w.Write(b)
	g.bytes += int64(n)
	return n, err
}

// Flush sends what is buffered, if anything may be sent.
func (g *guard) Flush() {
	if !g.may() {
		return
	}
	if g.status == 0 {
		g.WriteHeader(http.StatusOK)
	}
	_ = http.NewResponseController(g.w).Flush()
}

// SetReadDeadline bounds the time for the request's body.
func (g *guard) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(g.w).SetReadDeadline(t)
}

// pace moves the write deadline along while bytes flow. A deadline for the
// whole answer would cut long downloads off; none at all would let a client
// that stops reading hold the connection for ever.
func (g *guard) pace() {
	now := time.Now()
	if now.Sub(g.paced) < time.Second {
		return
	}
	g.paced = now
	// Recorders and other writers without a connection have no deadline.
	_ = http.NewResponseController(g.w).SetWriteDeadline(now.Add(writeIdle))
}
