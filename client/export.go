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

// ManifestName is the entry of an export that lists all others.
const ManifestName = "manifest.json"

// Manifest lists what an export holds.
type Manifest struct {
	Format string  `json:"format"`
	Files  []Entry `json:"files"`
}

// Entry is one file of an export.
type Entry struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // lowercase hexadecimal
}

// VerifyExport reads a whole export and holds it against its manifest: every
// entry that is listed is there once with its size and hash, and nothing else
// is. It calls progress, if not nil, with the number of bytes checked so far.
func VerifyExport(ctx context.Context, r io.ReaderAt, size int64, progress func(int64)) (Manifest, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return Manifest{}, fmt.Errorf("the export is not a whole ZIP: %w", err)
	}
	inside := make(map[string]*zip.File, len(z.File))
	for _, f := range z.File {
		if inside[f.Name] != nil {
			return Manifest{}, errors.New("the export holds two entries of one name")
		}
		inside[f.Name] = f
	}
	m, err := readManifest(inside[ManifestName])
	if err != nil {
		return Manifest{}, err
	}
	delete(inside, ManifestName)
	var done int64
	for i, e := range m.Files {
		f := inside[e.Path]
		if f == nil {
			return Manifest{}, fmt.Errorf("entry %d of the manifest is missing from the export, or listed twice", i)
		}
		delete(inside, e.Path)
		if err := checkEntry(ctx, f, e, &done, progress); err != nil {
			return Manifest{}, fmt.Errorf("entry %d of the manifest: %w", i, err)
		}
	}
	if len(inside) > 0 {
		return Manifest{}, fmt.Errorf("the export holds %d entries that its manifest does not list", len(inside))
	}
	return m, nil
}

func readManifest(f *zip.File) (Manifest, error) {
	if f == nil {
		return Manifest{}, errors.New("the export has no manifest")
	}
	r, err := f.Open()
	if err != nil {
		return Manifest{}, fmt.Errorf("the export's manifest: %w", err)
	}
	defer func() { _ = r.Close() }()
	var m Manifest
	if err := json.NewDecoder(r).Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("the export's manifest is not JSON: %w", err)
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
