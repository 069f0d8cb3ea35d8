package export

import (
	"io"
	"time"

	"strongroom/internal/feature"
	"strongroom/internal/feature/export/archive"
)

// sink gives the features' entries their place in the archive.
type sink struct{ a *archive.Writer }

func (s sink) Entry(name string, modified time.Time) (io.Writer, error) {
	return s.a.Entry(name, modified, nil)
}

func (s sink) Table(name string, modified time.Time, columns []string) (feature.Table, error) {
	return s.a.Grid(name, modified, columns, nil)
}
