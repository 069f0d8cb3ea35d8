package sweep_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
	"strongroom/internal/testkit/live"
	"strongroom/internal/web/api"
)

// failing is an operation that fails in the way that it is asked for, with the
// caller's text in hand.
type failing struct {
	Org  id.Org `path:"org"`
	Body struct {
		Text string `json:"text"`
		How  string `json:"how"`
	}
}

var ways = map[string]func(ctx context.Context, tx *tenant.Tx, text string) error{
	"panics with the text":  func(_ context.Context, _ *tenant.Tx, text string) error { panic(text) },
	"panics with an error":  func(_ context.Context, _ *tenant.Tx, text string) error { panic(fmt.Errorf("cannot store %q", text)) },
	"panics with the input": func(_ context.Context, _ *tenant.Tx, text string) error { panic(map[string][]byte{text: []byte(text)}) },
	"panics by mistake": func(_ context.Context, _ *tenant.Tx, text string) error {
		return []error{errors.New(text)}[len(text)]
	},
	"returns an error with the text": func(_ context.Context, _ *tenant.Tx, text string) error { return fmt.Errorf("cannot store %q", text) },
	"returns a fault around it": func(_ context.Context, _ *tenant.Tx, text string) error {
		return fault.Wrap(fault.Conflict, errors.New(text), "a conflict")
	},
	"returns an internal fault": func(_ context.Context, _ *tenant.Tx, text string) error {
		return fault.Wrap(fault.Internal, errors.New(text), "no use")
	},
	"panics with a key in hand": func(_ context.Context, _ *tenant.Tx, text string) error { return holding([32]byte([]byte(text))) },
	"sends a statement that fails": func(ctx context.Context, tx *tenant.Tx, text string) error {
		var n int
		return tx.QueryRow(ctx, tenant.Lit(`SELECT $1::text::int`), text).Scan(&n)
	},
	"reads into the wrong type": func(ctx context.Context, tx *tenant.Tx, text string) error {
		var n int
		return tx.QueryRow(ctx, tenant.Lit(`SELECT $1::text`), text).Scan(&n)
	},
	"panics after a statement that fails": func(ctx context.Context, tx *tenant.Tx, text string) error {
		_, err := tx.Exec(ctx, tenant.Lit(`SELECT convert_from($1::bytea, 'UTF8')::jsonb`), []byte(text))
		panic(err)
	},
}

// holding is a function that keys and other arrays are handed to by value: Go
// writes the first ten elements into the traces of stacks.
//
//go:noinline
func holding(key [32]byte) error { panic(len(key)) }

func TestWhatCallersTypeIsNotTheLastWordOfAPanic(t *testing.T) {
	t.Parallel()
	log := &record{}
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := live.StartWith(t, live.Options{Log: logger})
	where := feature.Meta{ID: "fail-here", Method: http.MethodPost, Path: "/v1/orgs/{org}/failures", Action: policy.RecordCreate, Summary: "Fail"}
	inStream := where
	inStream.ID, inStream.Path = "fail-in-a-stream", "/v1/orgs/{org}/broken"
	server, err := api.New(api.Options{Features: []feature.Feature{{Name: "failing", Ops: []feature.Op{
		feature.Handle(where, func(ctx context.Context, tx *tenant.Tx, in failing) (feature.NoContent, error) {
			return feature.NoContent{}, ways[in.Body.How](ctx, tx, in.Body.Text)
		}),
		feature.Raw(inStream, huma.Operation{}, func(ctx context.Context, x *feature.Exchange, in failing) error {
			_, receipt, err := tenant.Do(ctx, s.App.Tenant, x.Request, func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
				return struct{}{}, ways[in.Body.How](ctx, tx, in.Body.Text)
			})
			x.Recorded(receipt)
			return err
		}),
	}}}, Doors: feature.ThroughStores(s.App.Tenant, s.App.Platform), Auth: s.App.Identity, Record: s.App.Tenant, Version: "test", Log: logger})
	if err != nil {
		t.Fatal(err)
	}
	n := &sieve{}
	var answers strings.Builder
	var orgs []*live.Org
	for _, placement := range []string{"schema", "pooled"} {
		org := s.Org(t, placement)
		orgs = append(orgs, org)
		for how := range ways {
			for _, path := range []string{"failures", "broken"} {
				text := n.text("an operation that " + how + ", " + path)
				n.watch("an operation that "+how+", "+path+" (beginning)", text[:10])
				body := encode(t, map[string]string{"how": how, "text": text})
				r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/v1/orgs/"+org.ID+"/"+path, strings.NewReader(string(body)))
				r.Header.Set("Authorization", "Bearer "+org.Owner.Token.Reveal())
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				server.ServeHTTP(w, r)
				if want := map[bool]int{true: http.StatusConflict, false: http.StatusInternalServerError}[how == "returns a fault around it"]; w.Code != want {
					t.Errorf("%s: an operation that %s answers %d, want %d", path, how, w.Code, want)
				}
				_ = w.Header().Write(&answers)
				answers.Write(w.Body.Bytes())
			}
		}
	}
	s.Stop()
	report(t, n.inBytes("an answer", []byte(answers.String())))
	report(t, n.inBytes("the log", log.bytes()))
	for _, org := range orgs {
		o, err := id.ParseOrg(org.ID)
		if err != nil {
			t.Fatal(err)
		}
		events := testkit.AllEvents(t, s.Doors, o)
		report(t, n.inBytes("an event", encode(t, events)))
		if len(events) < 2*len(ways) {
			t.Errorf("%d failures left %d events", 2*len(ways), len(events))
		}
	}
	for _, line := range []string{"a request panicked", "sweep_test.holding:", "msg=\"request failed\""} {
		if !strings.Contains(string(log.bytes()), line) {
			t.Errorf("the log has no %s: the search looks in the wrong place", line)
		}
	}
}
