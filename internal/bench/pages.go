package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"strongroom/client"
	"strongroom/internal/app/tlsca"
	"strongroom/internal/store/platform"
)

// pages measures the first page that somebody of a materials lab sees: samples
// with what was measured on them, as the demo has them, from the request to the
// last byte.
func (w *world) pages(ctx context.Context, b *bench) error {
	url, _, ca, err := w.listen(ctx)
	if err != nil {
		return err
	}
	tlsConfig, err := tlsca.Client(filepath.Join(w.dir, "tls", tlsca.CAFile))
	if err != nil {
		return err
	}
	m, err := w.organization(ctx, platform.PlacementSchema, 70_000)
	if err != nil {
		return err
	}
	c, err := client.New(client.Options{URL: url, Token: client.NewSecret(m.token), CA: ca})
	if err != nil {
		return err
	}
	defer c.Close()
	org := m.org.String()
	if _, err := c.InstallKit(ctx, org, "materials"); err != nil {
		return err
	}
	for i := range 20 {
		s, err := c.CreateRecord(ctx, org, "sample", client.NewRecord{Content: json.RawMessage(fmt.Sprintf(`{"name":"Sample %d","composition":"Ga2O3"}`, i))})
		if err != nil {
			return err
		}
		for j := range 5 {
			if _, err := c.CreateRecord(ctx, org, "measurement", client.NewRecord{Content: json.RawMessage(fmt.Sprintf(`{"name":"Measurement %d of %d","technique":"rheed"}`, j, i)),
				Links: []client.NewLink{{Relation: "sample", To: s.ID}}}); err != nil {
				return err
			}
		}
	}
	browser := &http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true}}
	defer browser.CloseIdleConnections()
	look := func() (time.Duration, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/o/"+org, nil)
		if err != nil {
			return 0, err
		}
		r.AddCookie(&http.Cookie{Name: "__Host-strongroom", Value: m.token})
		start := time.Now()
		res, err := browser.Do(r)
		if err != nil {
			return 0, err
		}
		defer func() { _ = res.Body.Close() }()
		page, err := io.ReadAll(res.Body)
		if err == nil && (res.StatusCode != http.StatusOK || len(page) < 5000) {
			err = fmt.Errorf("the page is %d bytes with status %s", len(page), res.Status)
		}
		return time.Since(start), err
	}
	var times []float64
	for i := range 60 {
		took, err := look()
		if err != nil {
			return err
		}
		if i >= 10 { // the first ones warm the caches up
			times = append(times, float64(took)/float64(time.Millisecond))
		}
	}
	slices.Sort(times)
	b.add("console_first_page", median(times), "ms", "<=200")
	b.add("console_first_page_p95", times[len(times)*95/100], "ms", "")
	return nil
}
