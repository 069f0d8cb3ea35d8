package client

import (
	"context"
	"fmt"
	"iter"
	"net/http"
)

// Limits of one CreateRecords call.
const (
	MaxBulk      = 5000     // records
	MaxBulkBytes = 30 << 20 // bytes of their contents
)

func inOrg(org string, more ...string) []string { return append([]string{"v1", "orgs", org}, more...) }

// ListCollections returns a page of an organization's collections.
func (c *Client) ListCollections(ctx context.Context, org string, l List) (Page[Collection], error) {
	return page[Collection](ctx, c, l, inOrg(org, "collections")...)
}

// Collections returns all of them.
func (c *Client) Collections(ctx context.Context, org string) iter.Seq2[Collection, error] {
	return Items(ctx, List{}, func(ctx context.Context, l List) (Page[Collection], error) { return c.ListCollections(ctx, org, l) })
}

// Collection returns one collection, with its schema.
func (c *Client) Collection(ctx context.Context, org, kind string) (Collection, error) {
	var out Collection
	_, err := c.call(ctx, call{method: http.MethodGet, path: inOrg(org, "collections", kind), out: &out, repeat: always})
	return out, err
}

// CreateCollection declares a collection.
func (c *Client) CreateCollection(ctx context.Context, org string, n NewCollection) (Collection, error) {
	var out Collection
	_, err := c.call(ctx, call{method: http.MethodPost, path: inOrg(org, "collections"), in: n, out: &out})
	return out, err
}

// UpdateCollection changes a collection's declaration as a whole. A schema
// that stored records do not fit is a *Problem of status 409 that names them.
func (c *Client) UpdateCollection(ctx context.Context, org string, n NewCollection, version int64) (Collection, error) {
	var out Collection
	_, err := c.call(ctx, call{method: http.MethodPut, path: inOrg(org, "collections", n.Kind), header: ifMatch(version), in: n, out: &out})
	return out, err
}

// Kits returns the kits of the product, and what an organization has of them.
func (c *Client) Kits(ctx context.Context, org string) ([]Kit, error) {
	p, err := page[Kit](ctx, c, List{}, inOrg(org, "kits")...)
	return p.Items, err
}

// InstallKit starts the collections of a kit that are not there yet.
func (c *Client) InstallKit(ctx context.Context, org, kit string) (Kit, error) {
	var out Kit
	_, err := c.call(ctx, call{method: http.MethodPost, path: inOrg(org, "kits", kit), verb: ":install", out: &out, repeat: always})
	return out, err
}

// ListRecords returns a page of a collection's records.
func (c *Client) ListRecords(ctx context.Context, org, kind string, l List) (Page[Record], error) {
	return page[Record](ctx, c, l, inOrg(org, "collections", kind, "records")...)
}

// Records returns all of them.
func (c *Client) Records(ctx context.Context, org, kind string) iter.Seq2[Record, error] {
	return Items(ctx, List{}, func(ctx context.Context, l List) (Page[Record], error) { return c.ListRecords(ctx, org, kind, l) })
}

// Record returns one record.
func (c *Client) Record(ctx context.Context, org, kind, id string) (Record, error) {
	var out Record
	_, err := c.call(ctx, call{method: http.MethodGet, path: inOrg(org, "collections", kind, "records", id), out: &out, repeat: always})
	return out, err
}

// CreateRecord creates a record, once: a repetition after a lost answer returns
// the same record.
func (c *Client) CreateRecord(ctx context.Context, org, kind string, n NewRecord) (Record, error) {
	body, err := n.text()
	if err != nil {
		return Record{}, fmt.Errorf("client: %w", err)
	}
	var out Record
	_, err = c.call(ctx, call{method: http.MethodPost, path: inOrg(org, "collections", kind, "records"), header: newKey(), in: body, out: &out, repeat: always})
	return out, err
}

// CreateRecords creates up to MaxBulk records, together at most MaxBulkBytes
// long. The server stores them in chunks: after an error some may be stored.
func (c *Client) CreateRecords(ctx context.Context, org, kind string, items []NewRecord) ([]Ref, error) {
	body := []byte(`{"items":[`)
	for i, item := range items {
		text, err := item.text()
		if err != nil {
			return nil, fmt.Errorf("client: item %d: %w", i, err)
		}
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, text...)
	}
	body = append(body, "]}"...)
	var out struct {
		Items []Ref `json:"items"`
	}
	_, err := c.call(ctx, call{method: http.MethodPost, path: inOrg(org, "collections", kind, "records"), verb: ":bulk", header: newKey(),
		in: body, out: &out, repeat: always})
	return out.Items, err
}

// ReplaceRecord writes a new version, if version is still the newest: else the
// *Problem has status 412.
func (c *Client) ReplaceRecord(ctx context.Context, org, kind, id string, version int64, n NewRecord) (Record, error) {
	body, err := n.text()
	if err != nil {
		return Record{}, fmt.Errorf("client: %w", err)
	}
	var out Record
	_, err = c.call(ctx, call{method: http.MethodPut, path: inOrg(org, "collections", kind, "records", id), header: ifMatch(version), in: body, out: &out})
	return out, err
}

// DeleteRecord moves a record to the trash, if version is still the newest.
func (c *Client) DeleteRecord(ctx context.Context, org, kind, id string, version int64) error {
	_, err := c.call(ctx, call{method: http.MethodDelete, path: inOrg(org, "collections", kind, "records", id), header: ifMatch(version)})
	return err
}

// RestoreRecord takes a record out of the trash.
func (c *Client) RestoreRecord(ctx context.Context, org, kind, id string) (Record, error) {
	var out Record
	_, err := c.call(ctx, call{method: http.MethodPost, path: inOrg(org, "collections", kind, "records", id), verb: ":restore", out: &out})
	return out, err
}

// ListHistory returns a page of a record's versions: who, when, what.
func (c *Client) ListHistory(ctx context.Context, org, kind, id string, l List) (Page[Change], error) {
	return page[Change](ctx, c, l, inOrg(org, "collections", kind, "records", id, "history")...)
}

// History returns all of them.
func (c *Client) History(ctx context.Context, org, kind, id string) iter.Seq2[Change, error] {
	return Items(ctx, List{}, func(ctx context.Context, l List) (Page[Change], error) { return c.ListHistory(ctx, org, kind, id, l) })
}

// ListLinks returns a page of a record's links.
func (c *Client) ListLinks(ctx context.Context, org, kind, id string, l List) (Page[Link], error) {
	return page[Link](ctx, c, l, inOrg(org, "collections", kind, "records", id, "links")...)
}

// Links returns all of them.
func (c *Client) Links(ctx context.Context, org, kind, id string) iter.Seq2[Link, error] {
	return Items(ctx, List{}, func(ctx context.Context, l List) (Page[Link], error) { return c.ListLinks(ctx, org, kind, id, l) })
}

// CreateLink links a record to another record or to a file.
func (c *Client) CreateLink(ctx context.Context, org, kind, id, to, relation string) (Link, error) {
	var out Link
	_, err := c.call(ctx, call{method: http.MethodPost, path: inOrg(org, "collections", kind, "records", id, "links"),
		in: map[string]string{"to": to, "relation": relation}, out: &out})
	return out, err
}

// DeleteLink removes a link.
func (c *Client) DeleteLink(ctx context.Context, org, kind, id, link string) error {
	_, err := c.call(ctx, call{method: http.MethodDelete, path: inOrg(org, "collections", kind, "records", id, "links", link)})
	return err
}
