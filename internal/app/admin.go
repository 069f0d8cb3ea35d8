package app

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"strongroom/internal/base/fault"
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
		proofs, err := a.Proofs.Prove(r.Context(), ids)
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
	mux.HandleFunc("GET /conditions", func(w http.ResponseWriter, r *http.Request) {
		adminJSON(w, a.conditions(r.Context()))
	})
	mux.Handle("GET /metrics", a.Metrics())
	mux.HandleFunc("POST /setup-link", func(w http.ResponseWriter, r *http.Request) {
		link, until, err := a.SetupLink(r.Context())
		if err != nil {
			adminError(w, err)
			return
		}
		adminJSON(w, map[string]any{"link": link, "expires_at": until})
	})
	mux.HandleFunc("POST /setup", func(w http.ResponseWriter, r *http.Request) {
		n, err := adminBody[FirstStart](w, r)
		if err != nil {
			adminError(w, err)
			return
		}
		person, org, err := a.setUp(r.Context(), n)
		if err != nil {
			adminError(w, err)
			return
		}
		adminJSON(w, map[string]any{"person": person, "organization": org})
	})
	mux.HandleFunc("POST /orgs", func(w http.ResponseWriter, r *http.Request) {
		n, err := adminBody[NewOrganization](w, r)
		if err != nil {
			adminError(w, err)
			return
		}
		org, owner, err := a.createOrg(r.Context(), n)
		if err != nil {
			adminError(w, err)
			return
		}
		adminJSON(w, map[string]any{"organization": org, "owner": owner})
	})
	return mux
}

// maxAdminBody bounds what the operator's commands send.
const maxAdminBody = 64 << 10

func adminBody[T any](w http.ResponseWriter, r *http.Request) (v T, err error) {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAdminBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		// Its text may quote a password.
		return v, fault.New(fault.Malformed, "the body is not what this command sends: client and server are of different versions")
	}
	return v, nil
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
	case fault.Malformed:
		status = http.StatusBadRequest
	case fault.Invalid:
		status = http.StatusUnprocessableEntity
	case fault.Conflict:
		status = http.StatusConflict
	case fault.TooMany:
		status = http.StatusTooManyRequests
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	// The operator may read the cause.
	_ = json.NewEncoder(w).Encode(map[string]any{"type": "about:blank", "title": err.Error(), "status": status, "code": f.Kind.String(), "errors": f.Details})
}

// serveLocal answers on l, which nobody beyond this machine reaches, until ctx
// ends.
func serveLocal(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: log.New(io.Discard, "", 0)} // its lines hold what clients sent
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// onlyMetrics is what a listener for Prometheus serves. A page of a browser on
// this machine must not read it through a name that leads to 127.0.0.1 (DNS
// rebinding), so the host that is asked for must be an address or localhost.
func onlyMetrics(h http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if host != "localhost" && net.ParseIP(strings.Trim(host, "[]")) == nil {
			http.Error(w, "ask by address", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
	return mux
}
