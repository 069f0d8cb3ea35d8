package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"mime"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"strongroom/client"
	"strongroom/cmd/strongroom/internal/show"
)

// putFlags are the flags of put.
type putFlags struct {
	kind, name, mediaType, visibility string
	id                                string
	version                           int64
	record, relation                  string
	recursive                         bool
	jobs                              int
	skip                              int
}

func (a *cli) put() *cobra.Command {
	var f putFlags
	cmd := &cobra.Command{
		Use:   "put FILE... | put --kind KIND FILE|-",
		Short: "Store files, or records of a kind",
		Long: `Store files, or, with --kind, records.

Files are streamed: their size does not matter. With - the standard input is stored under the
name given by --name. --record links each new file to a record.

Records are read from a file or, with -, from the standard input: one JSON object, an array of
objects, or one object after another (NDJSON), any number of them.

With --id and --version a file or record gets a new version, if that version is still its newest.

With --output json or csv the result is a list, also of one.`,
		Example: `  strongroom put frame-0001.tif frame-0002.tif
  strongroom put --kind measurements run.json
  strongroom put --kind molecules - < molecules.ndjson
  strongroom put frame-0001.tif --record measurements/rec_… --relation image`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := f.check(cmd, args); err != nil {
				return err
			}
			s, org, err := a.enter(ctx)
			if err != nil {
				return err
			}
			if f.kind != "" {
				return a.putRecords(ctx, s.Client, org, args[0], f)
			}
			return a.putFiles(ctx, s.Client, org, args, f)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.kind, "kind", "", "store records in this collection")
	fl.StringVar(&f.name, "name", "", "name of the stored file (default: that of FILE, without its folder; with --id: as it is)")
	fl.StringVar(&f.mediaType, "type", "", "media type of the file (default: by its name; with --id: as it is)")
	fl.StringVar(&f.visibility, "visibility", "", "organization, or private: for yourself alone")
	fl.StringVar(&f.id, "id", "", "write a new version of this file or record")
	fl.Int64Var(&f.version, "version", 0, "the version that --id was read at")
	fl.StringVar(&f.record, "record", "", "link each file to this record")
	fl.StringVar(&f.relation, "relation", "", "what the file is to the record, as in image or source")
	fl.BoolVarP(&f.recursive, "recursive", "r", false, "store the files in folders, and in folders in them")
	fl.IntVar(&f.jobs, "jobs", 4, "how many files to store at a time")
	fl.IntVar(&f.skip, "skip", 0, "leave out this many records, to go on after a failure")
	cmd.MarkFlagsRequiredTogether("id", "version")
	cmd.MarkFlagsRequiredTogether("record", "relation")
	for _, only := range []string{"name", "type", "record", "recursive"} {
		cmd.MarkFlagsMutuallyExclusive("kind", only)
	}
	return a.inOrg(cmd)
}

func (f *putFlags) check(cmd *cobra.Command, args []string) error {
	switch {
	case f.visibility != "" && f.visibility != client.ForOrganization && f.visibility != client.ForOwner:
		return usagef("--visibility must be organization or private")
	case len(args) > 1 && (f.kind != "" || f.id != "" || f.name != ""):
		return usagef("give one FILE with --kind, --id or --name")
	case f.kind == "" && args[0] == "-" && f.name == "" && f.id == "":
		return usagef("the standard input has no name: give one with --name")
	case f.kind == "" && f.id != "" && !isFile(f.id):
		return usagef("--id names no file: to write a record, give its --kind too")
	case f.kind != "" && f.id != "" && !isRecord(f.id):
		return usagef("--id names no record")
	case f.kind == "" && f.id != "" && f.visibility != "":
		return usagef("a new version of a file keeps its visibility")
	case f.id != "" && f.version < 1:
		return usagef("--version must be at least 1")
	case f.id != "" && f.recursive:
		return usagef("--id takes one FILE")
	case f.jobs < 1 || f.jobs > 64:
		return usagef("--jobs must be 1 to 64")
	case f.skip < 0:
		return usagef("--skip must not be negative")
	case f.skip > 0 && f.kind == "":
		return usagef("--skip is for records")
	}
	return nil
}

// putFiles stores files, several at a time, and prints them in their order.
func (a *cli) putFiles(ctx context.Context, c *client.Client, org string, args []string, f putFlags) error {
	var to ref
	if f.record != "" {
		r, err := parseRef(f.record, "")
		if err != nil {
			return err
		}
		// Before anything is stored: a link to nothing would be found last.
		rec, err := find(ctx, c, org, r)
		if err != nil {
			return fmt.Errorf("--record: %w", err)
		}
		to = ref{rec.Kind, rec.ID}
	}
	paths, err := a.expand(args, f.recursive)
	if err != nil {
		return err
	}
	jobs := f.jobs
	if len(paths) == 1 {
		jobs = 1
	}
	// One bar for all: bytes are what takes the time.
	var total int64
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil && p != "-" {
			total += info.Size()
		}
	}
	label := fmt.Sprintf("Storing %d files", len(paths))
	if len(paths) == 1 {
		label = filepath.Base(paths[0])
	}
	t := a.progress.Start(label, total)
	results := ordered(ctx, jobs, paths, func(ctx context.Context, path string) (client.File, error) {
		file, err := a.putFile(ctx, c, org, path, f, t)
		if err == nil && to.id != "" {
			if _, err = c.CreateLink(ctx, org, to.kind, to.id, file.ID, f.relation); err != nil {
				err = fmt.Errorf("stored as %s, but not linked: %w", file.ID, err)
			}
		}
		if err != nil {
			return client.File{}, fmt.Errorf("%s: %w", path, err)
		}
		return file, nil
	})
	// The bar leaves the screen before the first row enters it; rows wait for
	// the last file, which keeps them together.
	var rows []client.File
	for file, e := range results {
		switch {
		case e == nil:
			rows = append(rows, file)
		case err == nil:
			err = e
		}
	}
	t.End()
	if len(paths) == 1 && err != nil {
		return err
	}
	if e := printed(a, fileColumns, fileColumns, rows); err == nil {
		err = e
	}
	if err != nil && len(paths) > 1 {
		a.say("%d of %d files were stored, and are listed.", len(rows), len(paths))
	}
	return err
}

// printed prints what was stored: one thing at length for people; for programs
// always a list, as the number of files may be what a shell made of a pattern.
func printed[T any](a *cli, columns, brief []show.Column[T], rows []T) error {
	if a.format == show.Table && len(rows) == 1 {
		return show.One(a.out, a.format, columns, rows[0])
	}
	return show.List(a.out, a.format, brief, values(rows), nil)
}

func values[T any](s []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, v := range s {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// expand lists the files that arguments name: with recursive, those in folders.
func (a *cli) expand(args []string, recursive bool) ([]string, error) {
	var out []string
	for _, arg := range args {
		if arg == "-" {
			out = append(out, arg)
			continue
		}
		info, err := os.Stat(arg)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			out = append(out, arg)
			continue
		}
		if !recursive {
			return nil, usagef(arg + " is a folder: give -r to store what is in it")
		}
		err = filepath.WalkDir(arg, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() { // no links: they may lead out of the folder
				out = append(out, p)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if len(out) == 0 {
		return nil, usagef("there are no files in it")
	}
	return out, nil
}

func (a *cli) putFile(ctx context.Context, c *client.Client, org, path string, f putFlags, t *show.Task) (client.File, error) {
	u := client.Upload{Name: f.name, MediaType: f.mediaType, Visibility: f.visibility}
	replace := f.id != "" // a new version keeps what the flags do not say
	if path == "-" {
		u.Body = t.Reader(interruptible(ctx, a.in))
	} else {
		file, err := os.Open(path)
		if err != nil {
			var at *fs.PathError // the caller names the path
			if errors.As(err, &at) {
				err = at.Err
			}
			return client.File{}, err
		}
		defer func() { _ = file.Close() }()
		info, err := file.Stat()
		if err != nil {
			return client.File{}, err
		}
		if info.Mode().IsRegular() {
			u.Size = info.Size()
		}
		u.Body = &countedFile{file, t}
		if u.Name == "" && !replace {
			u.Name = filepath.Base(path)
		}
	}
	if !utf8.ValidString(u.Name) {
		return client.File{}, errors.New("its name is not UTF-8: give one with --name")
	}
	if u.MediaType == "" && !replace {
		u.MediaType = mediaType(u.Name)
	}
	if replace {
		return c.ReplaceFile(ctx, org, f.id, f.version, u)
	}
	return c.UploadFile(ctx, org, u)
}

// countedFile counts what is read, and takes it back when the file is read
// from its beginning again.
type countedFile struct {
	*os.File
	t *show.Task
}

func (c *countedFile) Read(p []byte) (int, error) {
	n, err := c.File.Read(p)
	c.t.Add(int64(n))
	return n, err
}

func (c *countedFile) Seek(offset int64, whence int) (int64, error) {
	before, err := c.File.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	after, err := c.File.Seek(offset, whence)
	if err == nil {
		c.t.Add(after - before)
	}
	return after, err
}

// WriteTo hides that of *os.File, which would pass by Read.
func (c *countedFile) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{c})
}

// types are those of the trades Strongroom is used in: the system's table does
// not know them, or another one on each machine.
var types = map[string]string{
	".csv": "text/csv", ".txt": "text/plain", ".md": "text/markdown", ".json": "application/json", ".ndjson": "application/x-ndjson",
	".jsonl": "application/x-ndjson", ".tif": "image/tiff", ".tiff": "image/tiff", ".png": "image/png", ".jpg": "image/jpeg",
	".h5": "application/x-hdf5", ".hdf5": "application/x-hdf5", ".nxs": "application/x-hdf5",
	".sdf": "chemical/x-mdl-sdfile", ".mol": "chemical/x-mdl-molfile", ".smi": "chemical/x-daylight-smiles", ".xyz": "chemical/x-xyz",
	".pdb": "chemical/x-pdb", ".cif": "chemical/x-cif", ".pdf": "application/pdf", ".zip": "application/zip",
	".vcf": "text/vcard", ".ics": "text/calendar", ".eml": "message/rfc822", ".html": "text/html", ".xml": "application/xml",
}

func mediaType(name string) string {
	ext := strings.ToLower(filepath.Ext(name))
	if t := types[ext]; t != "" {
		return t
	}
	if t, _, err := mime.ParseMediaType(mime.TypeByExtension(ext)); err == nil {
		return t
	}
	return "application/octet-stream"
}

// ordered calls do for each item, n at a time, and gives the results in the
// order of the items. After an error nothing new begins, but what is under way
// ends and is given too.
func ordered[In, Out any](ctx context.Context, n int, items []In, do func(context.Context, In) (Out, error)) iter.Seq2[Out, error] {
	type result struct {
		out Out
		err error
	}
	return func(yield func(Out, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		slots := make(chan chan result, n)
		var failed atomic.Bool
		go func() {
			defer close(slots)
			free := make(chan struct{}, n)
			for _, item := range items {
				free <- struct{}{}
				if failed.Load() || ctx.Err() != nil {
					return
				}
				slot := make(chan result, 1)
				go func() {
					out, err := do(ctx, item)
					if err != nil {
						failed.Store(true)
					}
					<-free
					slot <- result{out, err}
				}()
				slots <- slot
			}
		}()
		going := true
		for slot := range slots { // to its end: nothing goes on behind the caller's back
			r := <-slot
			if going && !yield(r.out, r.err) {
				going = false
				cancel()
			}
		}
		if err := ctx.Err(); err != nil && going {
			yield(*new(Out), err)
		}
	}
}

const (
	batchBytes = 4 << 20 // of records in one request: a slow line has time for it
	maxRecord  = 2 << 20 // bytes of one record: the server takes less
)

// putRecords creates the records in a stream of JSON, in constant memory.
func (a *cli) putRecords(ctx context.Context, c *client.Client, org, path string, f putFlags) error {
	in := interruptible(ctx, a.in)
	var size int64
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer func() { _ = file.Close() }()
		if info, err := file.Stat(); err == nil {
			size = info.Size()
		}
		in = file
	}
	t := a.progress.Start("Storing records", size)
	ended := false
	end := func() {
		if !ended {
			ended = true
			t.End()
		}
	}
	defer end()
	records := contents(t.Reader(in), f.visibility)
	next, stop := iter.Pull2(records)
	defer stop()
	for range f.skip {
		if _, err, ok := next(); err != nil {
			return err
		} else if !ok {
			break
		}
	}
	first, err, ok := next()
	if err != nil {
		return err
	}
	if !ok {
		return errors.New("there is no record in the input")
	}
	second, err2, more := next()
	if err2 != nil {
		return err2
	}
	if f.id != "" || !more {
		if more {
			return usagef("--id takes one record")
		}
		rec, err := a.putRecord(ctx, c, org, first, f)
		end()
		if err != nil {
			return err
		}
		return printed(a, recordColumns, recordColumns[:2], []client.Record{rec})
	}
	done := f.skip
	batches := func(yield func(client.Ref, error) bool) {
		batch, bytes := []client.NewRecord{first, second}, len(first.Content)+len(second.Content)
		for more {
			var r client.NewRecord
			if r, err, more = next(); err != nil {
				yield(client.Ref{}, err)
				return
			}
			if len(batch) > 0 && (!more || len(batch) == client.MaxBulk || bytes+len(r.Content) > batchBytes) {
				refs, err := c.CreateRecords(ctx, org, f.kind, batch)
				if err != nil {
					yield(client.Ref{}, err)
					return
				}
				done += len(refs)
				for _, ref := range refs {
					if !yield(ref, nil) {
						return
					}
				}
				batch, bytes = batch[:0], 0
			}
			batch, bytes = append(batch, r), bytes+len(r.Content)
		}
	}
	if a.format == show.Table {
		// A million ids tell nobody anything.
		for _, err = range batches {
			if err != nil {
				break
			}
		}
		end()
	} else {
		end()
		err = show.List(a.out, a.format, refColumns, batches, nil)
	}
	if err != nil {
		a.say("Stored so far: %d records. To go on after them, give --skip %d; of the batch after them some may be stored too.", done-f.skip, done)
		return err
	}
	if a.format == show.Table {
		_, err = fmt.Fprintf(a.out, "%d records stored in %s\n", done-f.skip, show.Text(f.kind))
	}
	return err
}

func (a *cli) putRecord(ctx context.Context, c *client.Client, org string, n client.NewRecord, f putFlags) (client.Record, error) {
	if f.id == "" {
		return c.CreateRecord(ctx, org, f.kind, n)
	}
	r, err := parseRef(f.id, f.kind)
	if err != nil {
		return client.Record{}, err
	}
	return c.ReplaceRecord(ctx, org, r.kind, r.id, f.version, n)
}

// contents reads records from a stream: an array of objects, or one object
// after another.
func contents(r io.Reader, visibility string) iter.Seq2[client.NewRecord, error] {
	return func(yield func(client.NewRecord, error) bool) {
		in := bufio.NewReader(r)
		array, err := beginsArray(in)
		if err != nil {
			if err != io.EOF {
				yield(client.NewRecord{}, err)
			}
			return
		}
		meter := &meter{r: in, left: maxRecord}
		d := json.NewDecoder(meter)
		if array {
			if _, err := d.Token(); err != nil {
				yield(client.NewRecord{}, err)
				return
			}
		}
		for i := 1; ; i++ {
			if array && !d.More() {
				_, err = d.Token()
				if err == nil {
					if _, err = d.Token(); err == io.EOF {
						return
					}
					err = errors.New("it goes on after the array")
				}
				yield(client.NewRecord{}, fmt.Errorf("the input is not JSON: %w", err))
				return
			}
			var text json.RawMessage
			if err := d.Decode(&text); err != nil {
				if err != io.EOF || array {
					yield(client.NewRecord{}, fmt.Errorf("record %d of the input: %w", i, inputError(err)))
				}
				return
			}
			if text = bytes.TrimSpace(text); len(text) == 0 || text[0] != '{' {
				yield(client.NewRecord{}, fmt.Errorf("record %d of the input is not a JSON object", i))
				return
			}
			meter.left = maxRecord
			if !yield(client.NewRecord{Content: text, Visibility: visibility}, nil) {
				return
			}
		}
	}
}

func beginsArray(in *bufio.Reader) (bool, error) {
	for {
		c, err := in.ReadByte()
		if err != nil {
			return false, err
		}
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		}
		return c == '[', in.UnreadByte()
	}
}

// inputError says what is wrong without the input's own text.
func inputError(err error) error {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON, at byte %d", syntax.Offset)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("not JSON: it ends too early")
	}
	return err
}

// meter bounds how much of the input one record may take: the decoder would
// keep all of a record that never ends.
type meter struct {
	r    io.Reader
	left int
}

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, fmt.Errorf("it is larger than %s", show.Size(maxRecord))
	}
	n, err := m.r.Read(p[:min(len(p), m.left)])
	m.left -= n
	return n, err
}
