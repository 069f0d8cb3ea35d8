package app

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/feature/status"
)

// admin answers on the socket in the data directory, which only the operator
// (root, or the user who runs the installation) can open. It shows how things
// stand and holds nobody's data.
func (a *App) admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /prove", func(w http.ResponseWriter, r *http.Request) {
		var ids []string
		if q := r.URL.Query().Get("ids"); q != "" {
			ids = strings.Split(q, ",")
		}
		proofs, err := a.Prover.Prove(r.Context(), ids)
		if err != nil {
			adminError(w, err)
			return
		}
		type titled struct {
			ID      string `json:"id"`
			Title   string `json:"title"`
			State   any    `json:"state"`
			Clauses any    `json:"clauses"`
		}
		out := make([]titled, len(proofs))
		for i, p := range proofs {
			out[i] = titled{p.ID, p.Text, p.State, p.Clauses}
		}
		adminJSON(w, map[string]any{"promises": out})
	})
	mux.HandleFunc("GET /keys/status", func(w http.ResponseWriter, r *http.Request) {
		s, err := a.Keys.Status(r.Context())
		if err != nil {
			adminError(w, err)
			return
		}
		adminJSON(w, s)
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		s, err := a.status(r.Context())
		if err != nil {
			adminError(w, err)
			return
		}
		adminJSON(w, s)
	})
	return mux
}

func adminJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func adminError(w http.ResponseWriter, err error) {
	f := fault.From(err)
	status := http.StatusInternalServerError
	switch f.Kind {
	case fault.NotFound:
		status = http.StatusNotFound
	case fault.Unavailable:
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	// The operator may read the cause.
	_ = json.NewEncoder(w).Encode(map[string]any{"type": "about:blank", "title": err.Error(), "status": status, "code": f.Kind.String()})
}

// serveAdmin answers on l until ctx ends.
func (a *App) serveAdmin(ctx context.Context, l net.Listener) error {
	s := &http.Server{Handler: a.admin(), ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 16 << 10}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (a *App) status(ctx context.Context) (status.Status, error) {
	s := status.Status{Version: a.options.Version, ChainBreaks: a.Audit.Broken()}
	a.mu.Lock()
	s.URL = a.public.url
	a.mu.Unlock()
	if err := a.Ready(ctx); err != nil {
		s.Problem = fault.From(err).Public
	} else {
		s.Ready = true
	}
	var err error
	if s.SpareSchemas, err = a.provisioner.Stock(ctx); err != nil {
		return s, err
	}
	s.Keys, err = a.Keys.Status(ctx)
	return s, err
}
