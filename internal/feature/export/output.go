package export

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"strongroom/internal/feature"
	"strongroom/internal/feature/export/archive"
)

// output is what an export in the background writes: an archive, or the
// records alone. It counts records and files as they go by.
type output struct {
	w       io.Writer
	archive *archive.Writer // nil: the records alone
	format  string
	count   atomic.Int64
	tables  int
}

func newOutput(w io.Writer, format string) *output {
	o := &output{w: w, format: format}
	if format == formatZIP {
		o.archive = archive.New(w, time.Now())
	}
	return o
}

func (o *output) done() int64 { return o.count.Load() }

func (o *output) close() error {
	if o.archive == nil {
		return nil
	}
	return o.archive.Close()
}

func (o *output) sink() feature.Sink { return counting{o} }

// counting is the sink of an output.
type counting struct{ o *output }

// recordsName is how the entry of a collection's records ends.
const recordsName = "/records.ndjson"

// Entry implements feature.Sink.
func (c counting) Entry(name string, modified time.Time) (io.Writer, error) {
	w := io.Discard
	switch {
	case c.o.archive != nil:
		var err error
		if w, err = (sink{c.o.archive}).Entry(name, modified); err != nil {
			return nil, err
		}
	case c.o.format == formatNDJSON && strings.HasSuffix(name, recordsName):
		w = c.o.w
	}
	switch {
	case strings.HasSuffix(name, recordsName):
		return lines{w, &c.o.count}, nil
	case strings.HasPrefix(name, "files/") && strings.Count(name, "/") > 1:
		c.o.count.Add(1)
	}
	return w, nil
}

// Table implements feature.Sink.
func (c counting) Table(name string, modified time.Time, columns []string) (feature.Table, error) {
	switch {
	case c.o.archive != nil:
		return sink{c.o.archive}.Table(name, modified, columns)
	case c.o.format == formatCSV && c.o.tables == 0:
		c.o.tables++
		return archive.NewPlain(c.o.w, columns)
	}
	return nowhere{}, nil
}

type nowhere struct{}

// Row implements feature.Table.
func (nowhere) Row([]json.RawMessage) error { return nil }

// lines counts the records that pass.
type lines struct {
	w     io.Writer
	count *atomic.Int64
}

// Write implements io.Writer.
func (l lines) Write(b []byte) (int, error) {
	l.count.Add(int64(bytes.Count(b, []byte{'\n'})))
	return l.w.Write(b)
}
