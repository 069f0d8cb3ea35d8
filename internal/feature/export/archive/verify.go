package archive

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
)

const (
	// maxManifest is the largest manifest that Verify reads: about a million entries.
	maxManifest = 256 << 20
	// maxHeaders is what may stand between the bytes of two entries beside the
	// name: a data descriptor, and a local header with its extra fields.
	maxHeaders = 24 + 30 + 64
)

// A Problem says what is wrong with an archive.
type Problem struct {
	Entry string // "" for the archive as a whole
	What  string
	Cause error
}

func (p *Problem) Error() string {
	s := "archive: " + p.What
	if p.Entry != "" {
		s = fmt.Sprintf("archive: entry %q: %s", p.Entry, p.What)
	}
	if p.Cause != nil {
		s += ": " + p.Cause.Error()
	}
	return s
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Cause }

// Verify holds an archive against its manifest: every entry that it lists is
// there, in its order, with its size, hash and counts, under a safe name, and
// nothing else is. It reads everything once, in constant memory but for the
// directory and the manifest.
//
// It finds damage and loss. Whoever can change the archive can change the
// manifest with it: authorship is proven by other means.
func Verify(r io.ReaderAt, size int64) (*Manifest, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, &Problem{What: "is not a ZIP file, or was cut short", Cause: err}
	}
	if len(z.File) == 0 || z.File[len(z.File)-1].Name != ManifestName {
		return nil, &Problem{What: "its last entry is not the manifest: the export did not finish"}
	}
	if z.Comment != "" {
		return nil, &Problem{What: "has a comment, which no export has"}
	}
	m, err := readManifest(z.File[len(z.File)-1])
	if err != nil {
		return nil, err
	}
	files := z.File[:len(z.File)-1]
	if len(files) != len(m.Entries) {
		return nil, &Problem{What: fmt.Sprintf("has %d entries, and its manifest lists %d", len(files), len(m.Entries))}
	}
	names, totals, end := newNames(), Totals{}, int64(0)
	for i, f := range files {
		e := &m.Entries[i]
		if f.Name != e.Name {
			return nil, &Problem{Entry: e.Name, What: "is missing, or not in its place"}
		}
		if err := names.take(f.Name); err != nil || f.Name == ManifestName {
			return nil, &Problem{Entry: f.Name, What: "has a name that is not safe to unpack", Cause: err}
		}
		// Entries that overlap are how a small archive unpacks without end.
		offset, err := f.DataOffset()
		if err != nil || offset < end || offset > end+maxHeaders+int64(len(f.Name)) {
			return nil, &Problem{Entry: f.Name, What: "does not stand right behind the one before it", Cause: err}
		}
		end = offset + int64(f.CompressedSize64)
		if err := verifyEntry(f, e); err != nil {
			return nil, err
		}
		totals.add(e)
	}
	if totals != m.Totals {
		return nil, &Problem{Entry: ManifestName, What: "its totals are not the sum of its entries"}
	}
	return m, nil
}

func readManifest(f *zip.File) (*Manifest, error) {
	fail := func(what string, cause error) (*Manifest, error) {
		return nil, &Problem{Entry: ManifestName, What: what, Cause: cause}
	}
	if f.UncompressedSize64 > maxManifest {
		return fail("is too large", nil)
	}
	r, err := f.Open()
	if err != nil {
		return fail("does not open", err)
	}
	defer r.Close()
	d := json.NewDecoder(io.LimitReader(r, maxManifest))
	d.DisallowUnknownFields()
	m := &Manifest{}
	if err := d.Decode(m); err != nil {
		return fail("does not read", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fail("does not read to its end", err)
	}
	if m.Format != Format || m.Version != Version {
		return fail(fmt.Sprintf("is not of format %s, version %d", Format, Version), nil)
	}
	return m, nil
}

func verifyEntry(f *zip.File, e *Entry) error {
	fail := func(what string, cause error) error { return &Problem{Entry: e.Name, What: what, Cause: cause} }
	if e.Size < 0 || f.UncompressedSize64 != uint64(e.Size) {
		return fail("has another size than the manifest says", nil)
	}
	if f.Method != zip.Store && f.Method != zip.Deflate || f.Flags&1 != 0 || !f.Mode().IsRegular() {
		return fail("is not a plain file, stored or deflated", nil)
	}
	r, err := f.Open()
	if err != nil {
		return fail("does not open", err)
	}
	defer r.Close()
	c := &counter{typ: e.Type, hash: sha256.New()}
	n, err := io.Copy(c, io.LimitReader(r, e.Size+1))
	if err != nil {
		return fail("is damaged", err)
	}
	if n != e.Size || hex.EncodeToString(c.hash.Sum(nil)) != e.SHA256 {
		return fail("has another content than the manifest says", nil)
	}
	rows, err := c.rows()
	if err != nil {
		return fail("has another form than its type", err)
	}
	if rows != e.Rows {
		return fail(fmt.Sprintf("has %d rows, and the manifest says %d", rows, e.Rows), nil)
	}
	return nil
}

// counter hashes an entry and counts its rows.
type counter struct {
	typ    string
	hash   hash.Hash
	lines  int64
	quoted bool // inside a quoted cell
	last   byte
	seen   bool
}

func (c *counter) Write(p []byte) (int, error) {
	c.hash.Write(p)
	switch c.typ {
	case TypeRecords:
		c.lines += int64(bytes.Count(p, []byte{'\n'}))
	case TypeTable:
		for _, b := range p {
			switch {
			case b == '"': // a doubled one turns this over twice
				c.quoted = !c.quoted
			case b == '\n' && !c.quoted:
				c.lines++
			}
		}
	}
	if len(p) > 0 {
		c.last, c.seen = p[len(p)-1], true
	}
	return len(p), nil
}

func (c *counter) rows() (int64, error) {
	switch c.typ {
	case TypeFile:
		return 0, nil
	case TypeRecords:
		if c.seen && c.last != '\n' {
			return 0, errors.New("the last line does not end")
		}
		return c.lines, nil
	case TypeTable:
		if c.quoted || c.last != '\n' {
			return 0, errors.New("the last row does not end")
		}
		return c.lines - 1, nil
	}
	return 0, errors.New("the type is unknown")
}
