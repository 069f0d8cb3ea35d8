// Package archive writes and verifies the form in which an organization takes
// its data away: one ZIP file of records (NDJSON), tables (CSV), files and a
// manifest of hashes.
//
// What it keeps true:
//
//   - It streams: nothing is held back but a few hundred bytes an entry, for
//     the directory and the manifest that end the file.
//   - Records and files come out byte for byte. A table is a view for
//     spreadsheets: no cell of it is run as a formula, and what that changed can
//     be taken back exactly.
//   - Every name inside is safe to unpack on any system: no traversal, no
//     control or invisible characters, no reserved names, one spelling, and no
//     two names that a system without case would take for one.
//   - The manifest is the last entry and lists the size, SHA-256 and counts of
//     every other. An archive that was cut short has none, so a broken export
//     cannot be taken for a whole one. [Verify] holds an archive against it.
//
// The package knows neither database nor organization: the export feature
// brings the bytes.
package archive

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// ManifestName is the name of the last entry.
const ManifestName = "manifest.json"

// Format and Version mark a manifest as ours.
const (
	Format  = "strongroom-export"
	Version = 1
)

// The types of entry.
const (
	TypeRecords = "records" // NDJSON: one JSON value a line, each line ended by LF
	TypeTable   = "table"   // CSV: RFC 4180, the first row names the columns
	TypeFile    = "file"    // the bytes of one file
)

// Manifest describes an archive.
type Manifest struct {
	Format    string    `json:"format"`
	Version   int       `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	Entries   []Entry   `json:"entries"`
	Totals    Totals    `json:"totals"`
}

// Entry describes one entry of an archive.
type Entry struct {
	Name    string          `json:"name"`
	Type    string          `json:"type"`
	Size    int64           `json:"size"` // bytes, unpacked
	SHA256  string          `json:"sha256"`
	Rows    int64           `json:"rows,omitempty"`    // records, or rows below the header of a table
	Columns []Column        `json:"columns,omitempty"` // of a table
	About   json.RawMessage `json:"about,omitempty"`   // what the exporter says: kind, schema, original name …
}

// Column says what a column of a table holds.
type Column struct {
	Header string `json:"header"`           // as it stands in the first row, before the guard against formulas
	Member string `json:"member,omitempty"` // the member of a record's content
	Rest   bool   `json:"rest,omitempty"`   // the members without a column, as one JSON object
}

// Totals sums an archive up.
type Totals struct {
	Entries int64 `json:"entries"`
	Records int64 `json:"records"`
	Files   int64 `json:"files"`
	Bytes   int64 `json:"bytes"`
}

func (t *Totals) add(e *Entry) {
	t.Entries++
	t.Bytes += e.Size
	switch e.Type {
	case TypeRecords:
		t.Records += e.Rows
	case TypeFile:
		t.Files++
	}
}

// Writer writes an archive. One entry is open at a time: beginning the next
// ends the one before. After an error every call returns it.
type Writer struct {
	zip      *zip.Writer
	created  time.Time
	names    *names
	manifest Manifest
	open     *entry
	err      error
}

// New begins an archive into w. It writes w in pieces as they come and does
// not close it.
func New(w io.Writer, created time.Time) *Writer {
	z := zip.NewWriter(w)
	// Text compresses well at any level, and at this one it does not hold an
	// export up.
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	created = created.UTC().Truncate(time.Second)
	a := &Writer{zip: z, created: created, names: newNames()}
	a.manifest = Manifest{Format: Format, Version: Version, CreatedAt: created}
	return a
}

// entry is the entry being written: it counts and hashes what goes by.
type entry struct {
	w    io.Writer
	hash hash.Hash
	Entry
}

func (e *entry) Write(p []byte) (int, error) {
	n, err := e.w.Write(p)
	e.hash.Write(p[:n])
	e.Size += int64(n)
	return n, err
}

var errClosed = errors.New("archive: the archive is closed")

// begin opens an entry.
func (a *Writer) begin(name, typ string, method uint16, modified time.Time, about any) (*entry, error) {
	if a.end(); a.err != nil {
		return nil, a.err
	}
	if name == ManifestName {
		return nil, a.fail(fmt.Errorf("archive: the name %s belongs to the manifest", ManifestName))
	}
	if err := a.names.take(name); err != nil {
		return nil, a.fail(err)
	}
	e := &entry{hash: sha256.New(), Entry: Entry{Name: name, Type: typ}}
	if about != nil {
		b, err := json.Marshal(about)
		if err != nil {
			return nil, a.fail(fmt.Errorf("archive: describe an entry: %w", err))
		}
		e.About = b
	}
	if err := a.create(e, name, method, modified); err != nil {
		return nil, err
	}
	a.open = e
	return e, nil
}

func (a *Writer) create(e *entry, name string, method uint16, modified time.Time) (err error) {
	h := &zip.FileHeader{Name: name, Method: method, Modified: modified.UTC().Truncate(time.Second)}
	h.SetMode(0o600)
	e.w, err = a.zip.CreateHeader(h)
	return a.fail(err)
}

// end closes the open entry and puts it on the list.
func (a *Writer) end() {
	if a.open == nil || a.err != nil {
		return
	}
	e := a.open
	a.open = nil
	e.SHA256 = hex.EncodeToString(e.hash.Sum(nil))
	a.manifest.Entries = append(a.manifest.Entries, e.Entry)
	a.manifest.Totals.add(&e.Entry)
}

// fail keeps the first error.
func (a *Writer) fail(err error) error {
	if a.err == nil {
		a.err = err
	}
	return a.err
}

// Records begins an NDJSON entry.
func (a *Writer) Records(name string, about any) (*Records, error) {
	e, err := a.begin(name, TypeRecords, zip.Deflate, a.created, about)
	if err != nil {
		return nil, err
	}
	return &Records{a: a, e: e}, nil
}

// Records is an NDJSON entry.
type Records struct {
	a *Writer
	e *entry
}

// Write adds one record: JSON text without line breaks, kept byte for byte.
func (r *Records) Write(record []byte) error {
	if r.a.err != nil || r.a.open != r.e {
		return r.a.fail(errEnded)
	}
	for _, c := range record {
		if c == '\n' || c == '\r' {
			return r.a.fail(errors.New("archive: a record with a line break in it"))
		}
	}
	if len(record) == 0 {
		return r.a.fail(errors.New("archive: an empty record"))
	}
	if _, err := r.e.Write(record); err != nil {
		return r.a.fail(err)
	}
	if _, err := r.e.Write([]byte{'\n'}); err != nil {
		return r.a.fail(err)
	}
	r.e.Rows++
	return nil
}

var errEnded = errors.New("archive: write to an entry that has ended")

// File adds the bytes of one file, which must be exactly size.
func (a *Writer) File(name string, modified time.Time, size int64, content io.Reader, about any) error {
	// Stored, not deflated: research data is mostly compressed already, and an
	// export should not wait for what gains nothing.
	e, err := a.begin(name, TypeFile, zip.Store, modified, about)
	if err != nil {
		return err
	}
	n, err := io.Copy(e, content)
	if err != nil {
		return a.fail(err)
	}
	if n != size {
		return a.fail(fmt.Errorf("archive: a file of %d bytes came with %d", size, n))
	}
	a.end()
	return a.err
}

// Close writes the manifest and the directory. Without it there is no archive.
func (a *Writer) Close() error {
	if a.end(); a.err != nil {
		return a.err
	}
	e := &entry{hash: sha256.New()}
	if err := a.create(e, ManifestName, zip.Deflate, a.created); err != nil {
		return err
	}
	w := bufio.NewWriterSize(e, 64<<10)
	if err := a.manifest.write(w); err != nil {
		return a.fail(err)
	}
	if err := w.Flush(); err != nil {
		return a.fail(err)
	}
	if err := a.zip.Close(); err != nil {
		return a.fail(err)
	}
	a.err = errClosed
	return nil
}

// write writes the manifest, one entry a line: it may list millions.
func (m *Manifest) write(w io.Writer) error {
	entries, m2 := m.Entries, *m
	m2.Entries = []Entry{}
	head, err := json.Marshal(&m2)
	if err != nil {
		return err
	}
	head, tail, _ := bytes.Cut(head, []byte(`"entries":[]`)) // the first: only our own words stand before it
	put := func(b ...byte) {
		if err == nil {
			_, err = w.Write(b)
		}
	}
	put(head...)
	put([]byte(`"entries":[`)...)
	for i := range entries {
		var line []byte
		if line, err = json.Marshal(&entries[i]); err != nil {
			return err
		}
		if i > 0 {
			put(',')
		}
		put('\n')
		put(line...)
	}
	put([]byte("\n]")...)
	put(tail...)
	put('\n')
	return err
}
