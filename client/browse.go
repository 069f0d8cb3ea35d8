package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// Filter narrows a list of records.
type Filter struct {
	LinkedTo string // a record: those that link to it
	Relation string // by this relation alone
	Mine     bool   // those that the caller owns
}

// FilterRecords returns a page of a collection's records that fit a filter.
func (c *Client) FilterRecords(ctx context.Context, org, kind string, f Filter, l List) (Page[Record], error) {
	q := l.query()
	for name, v := range map[string]string{"linked_to": f.LinkedTo, "relation": f.Relation} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if f.Mine {
		q.Set("mine", "true")
	}
	var p Page[Record]
	_, err := c.call(ctx, call{method: http.MethodGet, path: inOrg(org, "collections", kind, "records"), query: q, out: &p, repeat: always})
	return p, err
}

// Sharing says who sees a record.
func (c *Client) Sharing(ctx context.Context, org, kind, id string) (Sharing, error) {
	var out Sharing
	_, err := c.call(ctx, call{method: http.MethodGet, path: inOrg(org, "collections", kind, "records", id, "sharing"), out: &out, repeat: always})
	return out, err
}

// Share says anew who sees a record. Only its owner may.
func (c *Client) Share(ctx context.Context, org, kind, id string, s Sharing) (Sharing, error) {
	if s.People == nil {
		s.People = []string{}
	}
	var out Sharing
	_, err := c.call(ctx, call{method: http.MethodPut, path: inOrg(org, "collections", kind, "records", id, "sharing"), in: s, out: &out})
	return out, err
}

// ListTrash returns a page of what is in the trash: records, files, or both
// for an empty kind.
func (c *Client) ListTrash(ctx context.Context, org, kind string, l List) (Page[Trashed], error) {
	q := l.query()
	if kind != "" {
		q.Set("kind", kind)
	}
	var p Page[Trashed]
	_, err := c.call(ctx, call{method: http.MethodGet, path: inOrg(org, "trash"), query: q, out: &p, repeat: always})
	return p, err
}

// RestoreFile takes a file out of the trash.
func (c *Client) RestoreFile(ctx context.Context, org, id string) (File, error) {
	var out File
	_, err := c.call(ctx, call{method: http.MethodPost, path: inOrg(org, "files", id), verb: ":restore", out: &out})
	return out, err
}

// Picture is a small picture of a stored one, as PNG.
type Picture struct {
	io.ReadCloser
	Size int64  // bytes; -1: not said
	Info string // of the original: format, width, height, bits (RFC 9651)
}

// PreviewFile opens a small picture of a version of a file, 0 for the newest.
// Its longer side is at most size pixels, 256 or 1024. What has no preview is
// a *Problem of status 415. The caller closes it.
func (c *Client) PreviewFile(ctx context.Context, org, id string, size int, version int64) (*Picture, error) {
	q := url.Values{"size": {strconv.Itoa(size)}}
	if version > 0 {
		q.Set("version", strconv.FormatInt(version, 10))
	}
	target, err := c.url(inOrg(org, "files", id, "preview"), "", q)
	if err != nil {
		return nil, err
	}
	res, err := c.send(ctx, http.MethodGet, target, http.Header{"Accept": {"image/png"}}, func() (io.Reader, int64, error) { return nil, 0, nil }, always)
	if err != nil {
		return nil, err
	}
	return &Picture{c.bodyOf(ctx, res), res.ContentLength, res.Header.Get("Strongroom-Picture")}, nil
}

// bodyOf hands an answer's body over to who asked, who closes it.
func (c *Client) bodyOf(ctx context.Context, res *http.Response) io.ReadCloser {
	return &stream{res.Body, ctx, c}
}
