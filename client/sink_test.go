package client_test

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// sink is a server that takes uploads and keeps nothing of them.
type sink struct {
	url string
	ca  []byte
	got atomic.Int64
}

func newSink(t *testing.T) *sink {
	s := &sink{}
	h := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		s.got.Store(n)
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":"fil_x","version":1}`)
	}))
	t.Cleanup(h.Close)
	s.url, s.ca = h.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})
	return s
}
