package client

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"
)

// Scope says what an export holds: one record (Kind and Record), one
// collection (Kind), or everything (neither).
type Scope struct {
	Kind   string
	Record string
}

func (s Scope) wire() (map[string]string, error) {
	switch {
	case s.Record != "" && s.Kind != "":
		return map[string]string{"scope": "record", "collection": s.Kind, "record": s.Record}, nil
	case s.Record != "":
		return nil, errors.New("client: to export a record, name its collection too")
	case s.Kind != "":
		return map[string]string{"scope": "collection", "collection": s.Kind}, nil
	}
	return map[string]string{"scope": "organization"}, nil
}

// Export streams a ZIP. The server makes it while it is read, so a broken
// connection ends it, with an error. Check it with VerifyExport before use: a
// ZIP that was cut short has no valid end.
func (c *Client) Export(ctx context.Context, org string, s Scope) (io.ReadCloser, error) {
	in, err := s.wire()
	if err != nil {
		return nil, err
	}
	target, err := c.url(inOrg(org, "export"), "", nil)
	if err != nil {
		return nil, err
	}
	body, err := encode(in)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	header := http.Header{"Accept": {"application/zip"}, "Content-Type": {"application/json"}}
	res, err := c.send(ctx, http.MethodPost, target, header, bodies(Upload{Body: bytes.NewReader(body), Size: int64(len(body))}), unsent)
	if err != nil {
		return nil, err
	}
	return &stream{res.Body, ctx, c}, nil
}

// stream gives the errors of a body the form that all errors here have.
type stream struct {
	io.ReadCloser
	ctx context.Context
	c   *Client
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = unreachable(s.ctx, s.c.base, err)
	}
	return n, err
}

// ManifestName is the last entry of an export, which lists all others.
const ManifestName = "manifest.json"

// The form of exports that VerifyExport knows.
const (
	exportFormat  = "strongroom-export"
	exportVersion = 1
	maxManifest   = 1 << 30 // bytes
)

// Manifest lists what an export holds.
type Manifest struct {
	Format    string    `json:"format"`
	Version   int       `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	Entries   []Entry   `json:"entries"`
	Totals    Totals    `json:"totals"`
}

// Entry describes one entry of an export.
type Entry struct {
	Name   string          `json:"name"`
	Type   string          `json:"type"`   // records (NDJSON), table (CSV) or file
	Size   int64           `json:"size"`   // bytes
	SHA256 string          `json:"sha256"` // lowercase hexadecimal
	Rows   int64           `json:"rows"`
	About  json.RawMessage `json:"about"`
}

// Totals sums an export up.
type Totals struct {
	Entries int64 `json:"entries"`
	Records int64 `json:"records"`
	Files   int64 `json:"files"`
	Bytes   int64 `json:"bytes"`
}

// VerifyExport reads a whole export and holds it against its manifest: every
// entry that is listed is there, in its order, with its size and hash, under a
// name that stays inside the folder it is unpacked to, and nothing else is. It
// calls progress, if not nil, with the number of bytes checked so far.
//
// It finds damage and loss; who made the export it cannot tell.
func VerifyExport(ctx context.Context, r io.ReaderAt, size int64, progress func(int64)) (Manifest, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return Manifest{}, fmt.Errorf("the export is not a ZIP, or was cut short: %w", err)
	}
	last := len(z.File) - 1
	if last < 0 || z.File[last].Name != ManifestName {
		return Manifest{}, errors.New("the export does not end in its manifest")
	}
	m, err := readManifest(z.File[last])
	if err != nil {
		return Manifest{}, err
	}
	if len(m.Entries) != last {
		return Manifest{}, fmt.Errorf("the export holds %d entries and its manifest lists %d", last, len(m.Entries))
	}
	seen := make(map[string]bool, last)
	var done int64
	for i, e := range m.Entries {
		f := z.File[i]
		switch {
		case f.Name != e.Name:
			err = errors.New("it is missing, or not in its place")
		case seen[f.Name]:
			err = errors.New("its name comes twice")
		case !filepath.IsLocal(f.Name) || strings.Contains(f.Name, `\`) || f.Name == ManifestName:
			err = errors.New("its name is not safe to unpack")
		default:
			err = checkEntry(ctx, f, e, &done, progress)
		}
		if err != nil {
			return Manifest{}, fmt.Errorf("entry %d of the export: %w", i+1, err)
		}
		seen[f.Name] = true
	}
	if m.Totals.Entries != int64(last) || m.Totals.Bytes != done {
		return Manifest{}, errors.New("the manifest's totals are not the sum of its entries")
	}
	return m, nil
}

func readManifest(f *zip.File) (Manifest, error) {
	r, err := f.Open()
	if err != nil {
		return Manifest{}, fmt.Errorf("the export's manifest: %w", err)
	}
	defer func() { _ = r.Close() }()
	var m Manifest
	if err := json.NewDecoder(io.LimitReader(r, maxManifest)).Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("the export's manifest is not readable: %w", err)
	}
	if m.Format != exportFormat || m.Version != exportVersion {
		return Manifest{}, fmt.Errorf("the export is not of the form %s, version %d: a newer client may know it", exportFormat, exportVersion)
	}
	return m, nil
}

// checkEntry reads at most one byte more than the manifest says, so that an
// entry which inflates without end costs nothing.
func checkEntry(ctx context.Context, f *zip.File, e Entry, done *int64, progress func(int64)) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	h := sha256.New()
	limited := io.LimitReader(r, e.Size+1)
	buf := make([]byte, 64<<10)
	var n int64
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		k, err := limited.Read(buf)
		h.Write(buf[:k])
		n += int64(k)
		*done += int64(k)
		if progress != nil {
			progress(*done)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if n != e.Size {
		return errors.New("its size is not the one in the manifest")
	}
	if hex.EncodeToString(h.Sum(nil)) != e.SHA256 {
		return errors.New("its hash is not the one in the manifest")
	}
	return nil
}
