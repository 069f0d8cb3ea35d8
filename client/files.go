package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Upload is a file on its way in.
type Upload struct {
	Name       string    // any UTF-8; it travels in a header, never in a URL
	MediaType  string    // empty: application/octet-stream
	Visibility string    // empty: as the server has it
	Size       int64     // bytes; 0 or less: not known, the body is sent in chunks
	Body       io.Reader // an io.Seeker too is read again where the server asks to wait
}

// ListFiles returns a page of an organization's files.
func (c *Client) ListFiles(ctx context.Context, org string, l List) (Page[File], error) {
	return page[File](ctx, c, l, inOrg(org, "files")...)
}

// File describes one file.
func (c *Client) File(ctx context.Context, org, id string) (File, error) {
	var out File
	_, err := c.call(ctx, call{method: http.MethodGet, path: inOrg(org, "files", id), out: &out, repeat: always})
	return out, err
}

// ListFileHistory returns a page of a file's versions, the newest first.
func (c *Client) ListFileHistory(ctx context.Context, org, id string, l List) (Page[FileVersion], error) {
	return page[FileVersion](ctx, c, l, inOrg(org, "files", id, "history")...)
}

// UploadFile stores a file, in constant memory, once: where the body can be
// read again, a repetition after a lost answer returns the same file.
func (c *Client) UploadFile(ctx context.Context, org string, u Upload) (File, error) {
	rep := unsent
	if u.Size > 0 { // the server knows a repetition by name, type and length
		rep = always
	}
	if u.MediaType == "" {
		u.MediaType = "application/octet-stream"
	}
	return c.upload(ctx, http.MethodPost, inOrg(org, "files"), newKey(), u, rep)
}

// ReplaceFile stores a new version of a file's bytes, if version is still the
// newest. Without a name or media type the file keeps the one it has, and who
// may see it stays.
func (c *Client) ReplaceFile(ctx context.Context, org, id string, version int64, u Upload) (File, error) {
	u.Visibility = ""
	return c.upload(ctx, http.MethodPut, inOrg(org, "files", id, "content"), ifMatch(version), u, unsent)
}

// DeleteFile moves a file to the trash, if version is still the newest.
func (c *Client) DeleteFile(ctx context.Context, org, id string, version int64) error {
	_, err := c.call(ctx, call{method: http.MethodDelete, path: inOrg(org, "files", id), header: ifMatch(version)})
	return err
}

func (c *Client) upload(ctx context.Context, method string, path []string, header http.Header, u Upload, rep repeat) (File, error) {
	target, err := c.url(path, "", nil)
	if err != nil {
		return File{}, err
	}
	if u.Body == nil {
		return File{}, errors.New("client: an upload needs a body")
	}
	header.Set("Accept", "application/json")
	if u.MediaType != "" {
		header.Set("Content-Type", u.MediaType)
	}
	if u.Name != "" {
		header.Set("Content-Disposition", "attachment; filename*=UTF-8''"+extValue(u.Name))
	}
	if u.Visibility != "" {
		header.Set("Visibility", u.Visibility)
	}
	// Refused before the first byte, rather than after the last.
	header.Set("Expect", "100-continue")
	res, err := c.send(ctx, method, target, header, bodies(u), rep)
	if err != nil {
		return File{}, err
	}
	defer drain(res)
	var out File
	if err := json.NewDecoder(io.LimitReader(res.Body, maxProblem)).Decode(&out); err != nil {
		return File{}, unreachable(ctx, c.base, err)
	}
	return out, nil
}

// bodies gives the upload's body, again from where it began if it can seek.
func bodies(u Upload) func() (io.Reader, int64, error) {
	body, length := u.Body, int64(-1)
	if u.Size > 0 {
		length = u.Size
	}
	seeker, _ := body.(io.Seeker)
	var start int64
	if seeker != nil {
		var err error
		if start, err = seeker.Seek(0, io.SeekCurrent); err != nil { // a pipe has the method only
			seeker = nil
		}
	}
	counted := &touched{r: body}
	return func() (io.Reader, int64, error) {
		if counted.yes {
			if seeker == nil {
				return nil, 0, errSpent
			}
			if _, err := seeker.Seek(start, io.SeekStart); err != nil {
				return nil, 0, fmt.Errorf("client: the body cannot be read again: %w", err)
			}
			counted = &touched{r: body}
		}
		return counted, length, nil
	}
}

// touched remembers whether anything was read: a body that never was can be
// sent again even if it cannot seek.
type touched struct {
	r   io.Reader
	yes bool
}

func (t *touched) Read(p []byte) (int, error) {
	t.yes = true
	return t.r.Read(p)
}

// extValue encodes a name for a header (RFC 8187, section 3.2).
func extValue(s string) string {
	const plain = "!#$&+-.^_`|~"
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(plain, c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Range is a part of a file. The zero value is the whole.
type Range struct {
	Offset int64 // of the first byte; negative: that many bytes from the end
	Length int64 // bytes; 0: to the end
}

func (r Range) header() string {
	switch {
	case r.Offset == 0 && r.Length == 0:
		return ""
	case r.Offset < 0:
		return "bytes=" + strconv.FormatInt(r.Offset, 10)
	case r.Length == 0:
		return fmt.Sprintf("bytes=%d-", r.Offset)
	}
	return fmt.Sprintf("bytes=%d-%d", r.Offset, r.Offset+r.Length-1)
}

// ErrChanged says that a file got a new version while an old one was being
// downloaded: what was read so far belongs to a version that is not served any
// more.
var ErrChanged = errors.New("the file changed while it was being downloaded")

// Content is a file's bytes on their way out. When the connection breaks it
// asks for the rest by itself, of the same version only.
type Content struct {
	Size      int64 // of the whole file in bytes; -1: not said
	Offset    int64 // of the first byte in the file
	Length    int64 // bytes this Content holds; -1: not said
	Version   int64
	Name      string // as its owner named it: not a safe path
	MediaType string

	c      *Client
	ctx    context.Context // of the download as a whole: reads have none of their own
	target string
	body   io.ReadCloser
	etag   string
	read   int64
	tries  int
}

// DownloadFile opens a file, or a range of it: the newest version for 0, else
// an earlier one. The caller closes it. The context bounds all of the reading.
func (c *Client) DownloadFile(ctx context.Context, org, id string, version int64, r Range) (*Content, error) {
	return c.download(ctx, org, id, version, 0, r)
}

// ResumeFile opens a range of the newest version of a file, to go on with a
// download that broke off. If newest is not that version any more, it is
// ErrChanged.
func (c *Client) ResumeFile(ctx context.Context, org, id string, newest int64, r Range) (*Content, error) {
	return c.download(ctx, org, id, 0, newest, r)
}

func (c *Client) download(ctx context.Context, org, id string, version, newest int64, r Range) (*Content, error) {
	var q url.Values
	if version > 0 {
		q = url.Values{"version": {strconv.FormatInt(version, 10)}}
	}
	target, err := c.url(inOrg(org, "files", id, "content"), "", q)
	if err != nil {
		return nil, err
	}
	f := &Content{c: c, ctx: ctx, target: target}
	if newest > 0 {
		f.etag = fmt.Sprintf(`"%d"`, newest)
	}
	res, err := f.open(r.header())
	if err != nil {
		return nil, err
	}
	f.body, f.etag, f.Version = res.Body, res.Header.Get("ETag"), versionOf(res.Header)
	f.MediaType = res.Header.Get("Content-Type")
	// Should the connection break, the rest is asked for by its version, which
	// stays to be had when a newer one comes.
	if f.Version > 0 {
		if f.target, err = c.url(inOrg(org, "files", id, "content"), "", url.Values{"version": {strconv.FormatInt(f.Version, 10)}}); err != nil {
			_ = f.Close()
			return nil, err
		}
	}
	if _, p, err := mime.ParseMediaType(res.Header.Get("Content-Disposition")); err == nil {
		f.Name = p["filename"]
	}
	f.Length, f.Size = res.ContentLength, res.ContentLength
	if res.StatusCode == http.StatusPartialContent {
		first, last, size, err := contentRange(res.Header.Get("Content-Range"))
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		f.Offset, f.Length, f.Size = first, last-first+1, size
	}
	return f, nil
}

// open asks for a range. A range of another version than f.etag is refused
// here, whatever the server makes of If-Range.
func (f *Content) open(ranges string) (*http.Response, error) {
	h := http.Header{"Accept": {"*/*"}}
	if ranges != "" {
		h.Set("Range", ranges)
		if f.etag != "" {
			h.Set("If-Range", f.etag)
		}
	}
	res, err := f.c.send(f.ctx, http.MethodGet, f.target, h, func() (io.Reader, int64, error) { return nil, 0, nil }, always)
	if err != nil {
		return nil, err
	}
	if f.etag != "" && res.Header.Get("ETag") != f.etag {
		_ = res.Body.Close()
		return nil, ErrChanged
	}
	if ranges != "" && res.StatusCode != http.StatusPartialContent {
		_ = res.Body.Close()
		return nil, errors.New("client: the server does not serve ranges of this file")
	}
	return res, nil
}

// Read implements io.Reader.
func (f *Content) Read(p []byte) (int, error) {
	for {
		n, err := f.body.Read(p)
		f.read += int64(n)
		if n > 0 {
			f.tries = 0
			return n, nil // an error comes again with the next call
		}
		if err == nil || err == io.EOF && (f.Length < 0 || f.read == f.Length) {
			return n, err
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		// Without a strong ETag or a known length, the rest cannot be told
		// from the rest of something else.
		if f.ctx.Err() != nil || f.etag == "" || f.Length < 0 || f.tries >= f.c.attempts {
			return 0, unreachable(f.ctx, f.c.base, err)
		}
		f.tries++
		if pause(f.ctx, f.tries, nil) != nil {
			return 0, unreachable(f.ctx, f.c.base, err)
		}
		_ = f.body.Close()
		from := f.Offset + f.read
		res, err := f.open(Range{Offset: from, Length: f.Length - f.read}.header())
		if err != nil {
			f.body = http.NoBody
			return 0, err
		}
		f.body = res.Body
		if first, _, _, err := contentRange(res.Header.Get("Content-Range")); err == nil && first != from {
			return 0, errors.New("client: the server answers with another range than was asked for")
		}
	}
}

// Close ends the download.
func (f *Content) Close() error { return f.body.Close() }

// contentRange reads "bytes first-last/size" (RFC 9110, section 14.4).
func contentRange(s string) (first, last, size int64, err error) {
	bad := errors.New("client: the server's Content-Range is not well-formed")
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, total, ok2 := strings.Cut(rest, "/")
	a, b, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, 0, bad
	}
	size = -1
	if total != "*" {
		if size, err = strconv.ParseInt(total, 10, 64); err != nil {
			return 0, 0, 0, bad
		}
	}
	if first, err = strconv.ParseInt(a, 10, 64); err != nil {
		return 0, 0, 0, bad
	}
	last, err = strconv.ParseInt(b, 10, 64)
	if err != nil || first < 0 || last < first || size >= 0 && last >= size {
		return 0, 0, 0, bad
	}
	return first, last, size, nil
}
