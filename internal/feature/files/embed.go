package files

import "embed"

// Migrations is this feature's part of the one set that every organization's
// schema runs.
//
//go:embed migrations/*.sql
var Migrations embed.FS
