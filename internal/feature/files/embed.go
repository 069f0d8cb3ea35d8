// Package files keeps an organization's files: the bytes are sealed objects,
// and these tables hold their versions and their sealed names.
package files

import "embed"

// Migrations is this feature's part of the one set that every organization's
// schema runs.
//
//go:embed migrations/*.sql
var Migrations embed.FS
