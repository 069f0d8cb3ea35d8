package client

import (
	"context"
	"net/http"
)

// LinkFilter narrows a list of links.
type LinkFilter struct {
	Direction string // out or in; empty: both
	Relation  string // only links of this relation
}

// FilterLinks returns a page of a record's links that fit a filter.
func (c *Client) FilterLinks(ctx context.Context, org, kind, id string, f LinkFilter, l List) (Page[Link], error) {
	q := l.query()
	for name, v := range map[string]string{"direction": f.Direction, "relation": f.Relation} {
		if v != "" {
			q.Set(name, v)
		}
	}
	var p Page[Link]
	_, err := c.call(ctx, call{method: http.MethodGet, path: inOrg(org, "collections", kind, "records", id, "links"), query: q, out: &p, repeat: always})
	return p, err
}

// ListFilesOf returns a page of the files that a record links to.
func (c *Client) ListFilesOf(ctx context.Context, org, record string, l List) (Page[File], error) {
	q := l.query()
	q.Set("linked_from", record)
	var p Page[File]
	_, err := c.call(ctx, call{method: http.MethodGet, path: inOrg(org, "files"), query: q, out: &p, repeat: always})
	return p, err
}
