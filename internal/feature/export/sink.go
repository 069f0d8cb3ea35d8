package export

import (
	"io"
	"strings"
	"time"

	"strongroom/internal/feature"
	"strongroom/internal/feature/export/archive"
)

// sink gives the features' entries their place in the archive. A name may hold
// what somebody called a file: it becomes one that unpacks everywhere, and the
// manifest keeps the name that it was.
type sink struct{ a *archive.Writer }

// about is what the manifest says of an entry.
type about struct {
	Name string `json:"name"` // before it was made safe
}

func safe(name string) (string, any) {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = archive.SafeName(p)
	}
	s := strings.Join(parts, "/")
	if s == name {
		return s, nil
	}
	return s, about{name}
}

// Entry implements feature.Sink.
func (s sink) Entry(name string, modified time.Time) (io.Writer, error) {
	name, about := safe(name)
	return s.a.Entry(name, modified, about)
}

// Table implements feature.Sink.
func (s sink) Table(name string, modified time.Time, columns []string) (feature.Table, error) {
	name, about := safe(name)
	return s.a.Grid(name, modified, columns, about)
}
