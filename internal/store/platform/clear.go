package platform

import (
	_ "embed"
	"strings"
)

//go:embed testdata/clear_columns.golden
var clearColumns string

// ClearColumns lists every column that is stored unsealed, as
// "schema.table.column type". Those of organizations' own schemas are the same
// as those of the schema pool.
func ClearColumns() []string { return strings.Split(strings.TrimSpace(clearColumns), "\n") }
