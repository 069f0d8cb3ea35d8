package client

import (
	"context"
	"io"
	"mime"
	"net/http"
	"time"
)

// The scopes and formats of an export that is made in the background.
const (
	OfRecord       = "record"
	OfCollection   = "collection"
	OfProject      = "project" // a record and all that leads to it by links
	OfFile         = "file"
	OfOrganization = "organization"

	AsZIP    = "zip"
	AsNDJSON = "ndjson"
	AsCSV    = "csv"
)

// ExportRequest says what an export is to hold.
type ExportRequest struct {
	Scope      string `json:"scope"`
	Collection string `json:"collection,omitempty"` // of a record, a collection or a project
	Record     string `json:"record,omitempty"`
	File       string `json:"file,omitempty"`
	Format     string `json:"format,omitempty"` // empty: zip
}

// ExportJob is an export that is made in the background.
type ExportJob struct {
	ID    string `json:"id"`
	State string `json:"state"` // waiting, running, ready or failed
	ExportRequest
	Done      int64     `json:"done"`  // records and files so far
	Total     int64     `json:"total"` // 0: not known yet
	Size      int64     `json:"size"`  // bytes, once it is ready
	Code      string    `json:"code"`  // why it failed
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// StartExport has an export made.
func (c *Client) StartExport(ctx context.Context, org string, r ExportRequest) (ExportJob, error) {
	var out ExportJob
	_, err := c.call(ctx, call{method: http.MethodPost, path: inOrg(org, "exports"), in: r, out: &out})
	return out, err
}

// ListExports returns a page of the caller's own exports, the newest first.
func (c *Client) ListExports(ctx context.Context, org string, l List) (Page[ExportJob], error) {
	return page[ExportJob](ctx, c, l, inOrg(org, "exports")...)
}

// ExportState says how far an export is.
func (c *Client) ExportState(ctx context.Context, org, id string) (ExportJob, error) {
	var out ExportJob
	_, err := c.call(ctx, call{method: http.MethodGet, path: inOrg(org, "exports", id), out: &out, repeat: always})
	return out, err
}

// DeleteExport removes an export before its day is over.
func (c *Client) DeleteExport(ctx context.Context, org, id string) error {
	_, err := c.call(ctx, call{method: http.MethodDelete, path: inOrg(org, "exports", id)})
	return err
}

// Archive is an export on its way out.
type Archive struct {
	io.ReadCloser
	Size      int64 // bytes; -1: not said
	Name      string
	MediaType string
}

// DownloadExport opens an export that is ready. The caller closes it.
func (c *Client) DownloadExport(ctx context.Context, org, id string) (*Archive, error) {
	target, err := c.url(inOrg(org, "exports", id, "content"), "", nil)
	if err != nil {
		return nil, err
	}
	res, err := c.send(ctx, http.MethodGet, target, http.Header{"Accept": {"*/*"}}, func() (io.Reader, int64, error) { return nil, 0, nil }, always)
	if err != nil {
		return nil, err
	}
	a := &Archive{ReadCloser: c.bodyOf(ctx, res), Size: res.ContentLength, MediaType: res.Header.Get("Content-Type")}
	if _, p, err := mime.ParseMediaType(res.Header.Get("Content-Disposition")); err == nil {
		a.Name = p["filename"]
	}
	return a, nil
}
