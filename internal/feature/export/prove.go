package export

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/feature/export/archive"
	"strongroom/internal/store/audit"
)

func (e *exporter) promises() []feature.Promise {
	return []feature.Promise{
		{ID: "EXP-2", Clauses: []feature.Clause{
			{Name: "api", Tag: feature.Canary, Check: proveExport},
			{Name: "console", Tag: feature.Canary, Check: e.proveConsole},
		}},
		{ID: "AUD-2", Clauses: []feature.Clause{{Name: "exports", Tag: feature.Canary, Check: proveRecorded}}},
	}
}

// scopes are the amounts that can be asked for: everything, a collection, a
// record.
func scopes(p feature.Planted) []map[string]any {
	return []map[string]any{
		{"scope": "organization"},
		{"scope": "collection", "collection": p.Kind},
		{"scope": "record", "collection": p.Kind, "record": p.ID.String()},
	}
}

// proveExport takes a record out in every scope and holds the archive against
// its manifest.
func proveExport(ctx context.Context, env feature.Env) (string, error) {
	return env.Plant(ctx, "organization", env.Canaries, func(all []feature.Planted) (string, error) {
		archives, entries := 0, int64(0)
		for _, p := range all {
			for _, scope := range scopes(p) {
				a, err := env.Want(ctx, p.In.Token, http.MethodPost, p.In.Path("/export"), scope, http.StatusOK, nil)
				if err != nil {
					return "", fmt.Errorf("placement %s: %w", p.In.Placement, err)
				}
				m, err := archive.Verify(bytes.NewReader(a.Body), int64(len(a.Body)))
				if err != nil {
					return "", fmt.Errorf("placement %s: scope %s: %w", p.In.Placement, scope["scope"], err)
				}
				if err := holds(a.Body, p); err != nil {
					return "", fmt.Errorf("placement %s: scope %s: %w", p.In.Placement, scope["scope"], err)
				}
				archives, entries = archives+1, entries+int64(len(m.Entries))
			}
		}
		return fmt.Sprintf("%d archives, of everything, one collection and one record in %d placements: each holds the record byte for byte as NDJSON, and each of the %d entries matches the manifest's hash, size and count. The console: see EXP-2/console", archives, len(all), entries), nil
	})
}

// holds looks for the record in the NDJSON of an archive.
func holds(body []byte, p feature.Planted) error {
	z, err := zip.NewReader(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return err
	}
	for _, f := range z.File {
		if !strings.HasSuffix(f.Name, ".ndjson") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return err
		}
		lines, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
		for line := range bytes.Lines(lines) {
			var rec struct {
				ID      string
				Content json.RawMessage
			}
			if json.Unmarshal(line, &rec) == nil && rec.ID == p.ID.String() && bytes.Equal(rec.Content, p.Content) {
				return nil
			}
		}
	}
	return errors.New("the archive does not hold the record as it was stored")
}

// proveRecorded starts an export, and looks into the log before it takes the
// first byte of the answer, and again at its end.
func proveRecorded(ctx context.Context, env feature.Env) (string, error) {
	return env.Plant(ctx, "organization", env.Canaries, func(all []feature.Planted) (string, error) {
		exports, events := 0, 0
		for _, p := range all {
			for _, scope := range scopes(p) {
				n, err := recorded(ctx, env, p, scope)
				if err != nil {
					return "", fmt.Errorf("placement %s: scope %s: %w", p.In.Placement, scope["scope"], err)
				}
				exports, events = exports+1, events+n
			}
		}
		return fmt.Sprintf("%d exports: each was on record as opened when its answer began, named the record that it took in the event of its page, and ended with an event that counts the bytes that came (%d events)", exports, events), nil
	})
}

func recorded(ctx context.Context, env feature.Env, p feature.Planted, scope map[string]any) (int, error) {
	if env.HTTP == nil {
		return 0, errors.New("the server does not listen yet")
	}
	began := time.Now().Add(-time.Millisecond)
	in, err := json.Marshal(scope)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, env.URL+p.In.Path("/export"), bytes.NewReader(in))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+p.In.Token)
	res, err := env.HTTP.Do(r)
	if err != nil {
		return 0, fmt.Errorf("the server cannot be reached: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	request, err := id.ParseRequest(res.Header.Get(feature.RequestIDHeader))
	if err != nil || res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("an export answers %d", res.StatusCode)
	}
	// The head of the answer is here and nothing of it was read.
	at, err := of(ctx, env, p.In.Org, began, request)
	if err != nil {
		return 0, err
	}
	if !slices.ContainsFunc(at, func(e audit.Stored) bool { return e.Action == policy.ExportRun && e.Outcome == audit.Opened }) {
		return 0, errors.New("an answer began before its export was on record")
	}
	size, err := io.Copy(io.Discard, res.Body)
	if err != nil {
		return 0, fmt.Errorf("an export broke off: %w", err)
	}
	// The terminal event counts the bytes, so it comes after them: at once.
	for {
		if at, err = of(ctx, env, p.In.Org, began, request); err != nil {
			return 0, err
		}
		last := slices.IndexFunc(at, func(e audit.Stored) bool { return e.Outcome == audit.Done && e.Counts["bytes"] > 0 })
		if last >= 0 {
			if at[last].Counts["bytes"] != size {
				return 0, fmt.Errorf("the log counts %d bytes of an export, and %d came", at[last].Counts["bytes"], size)
			}
			break
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return 0, errors.New("the log has no event of the end of an export")
		}
	}
	if !slices.ContainsFunc(at, func(e audit.Stored) bool { return slices.Contains(e.Targets, p.ID.String()) }) {
		return 0, errors.New("no event of an export names the record that it took")
	}
	return len(at), nil
}

func of(ctx context.Context, env feature.Env, org id.Org, from time.Time, request id.Request) (out []audit.Stored, err error) {
	all, err := env.Log.Since(ctx, org, from)
	for _, e := range all {
		if e.Request == request {
			out = append(out, e)
		}
	}
	return out, err
}
