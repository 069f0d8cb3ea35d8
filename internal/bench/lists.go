package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"strongroom/client"
	"strongroom/internal/store/platform"
)

// listed is how many records the lists hold, in five pages.
const listed = 1000

// lists measures how long a client waits for 1,000 records with their content
// and titles, and for 1,000 links with the titles of their other ends: over
// TLS, each page authorized, opened and recorded with every identifier.
func (w *world) lists(ctx context.Context, b *bench) error {
	url, _, ca, err := w.listen(ctx)
	if err != nil {
		return err
	}
	m, err := w.organization(ctx, platform.PlacementSchema, 71_000)
	if err != nil {
		return err
	}
	c, err := client.New(client.Options{URL: url, Token: client.NewSecret(m.token), CA: ca})
	if err != nil {
		return err
	}
	defer c.Close()
	org := m.org.String()
	if _, err := c.CreateCollection(ctx, org, client.NewCollection{Kind: "listed", Schema: json.RawMessage(`{"properties":{"name":{"type":"string","x-strongroom":{"title":true}}}}`)}); err != nil {
		return err
	}
	content := func(i int) json.RawMessage {
		return json.RawMessage(fmt.Sprintf(`{"name":"Sample %d","composition":"Ga2O3","thickness":%d.50,"notes":"grown on sapphire, annealed for an hour, as sample %d before it"}`, i, 100+i, i-1))
	}
	hub, err := c.CreateRecord(ctx, org, "listed", client.NewRecord{Content: content(0)})
	if err != nil {
		return err
	}
	items := make([]client.NewRecord, listed-1)
	for i := range items {
		items[i] = client.NewRecord{Content: content(i + 1), Links: []client.NewLink{{Relation: "source", To: hub.ID}}}
	}
	if _, err := c.CreateRecords(ctx, org, "listed", items); err != nil {
		return err
	}
	for _, l := range []struct {
		name, target string
		want         int
		page         func(client.List) (n int, next string, err error)
	}{
		{"list_1000_records", "<=100", listed, func(l client.List) (int, string, error) {
			p, err := c.ListRecords(ctx, org, "listed", l)
			return len(p.Items), p.Next, err
		}},
		{"list_1000_links", "", listed - 1, func(l client.List) (int, string, error) {
			p, err := c.ListLinks(ctx, org, "listed", hub.ID, l)
			return len(p.Items), p.Next, err
		}},
	} {
		var times []float64
		for i := range 25 {
			took, err := through(l.page, l.want)
			if err != nil {
				return err
			}
			if i >= 5 { // the first ones warm the caches up
				times = append(times, float64(took)/float64(time.Millisecond))
			}
		}
		slices.Sort(times)
		b.add(l.name, median(times), "ms", l.target)
		b.add(l.name+"_p95", times[len(times)*95/100], "ms", "")
	}
	return nil
}

// through reads a list to its end.
func through(page func(client.List) (int, string, error), want int) (time.Duration, error) {
	start := time.Now()
	got := 0
	for l := (client.List{Limit: 200}); ; {
		n, next, err := page(l)
		if err != nil {
			return 0, err
		}
		got += n
		if l.Cursor = next; next == "" {
			break
		}
	}
	if got != want {
		return 0, errors.New("the list is not complete")
	}
	return time.Since(start), nil
}
