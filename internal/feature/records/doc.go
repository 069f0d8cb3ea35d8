// Package records keeps an organization's collections and records: sealed at
// rest, versioned, and gone when asked.
//
// A collection is a kind of record with a JSON Schema (draft 2020-12); its
// name is found by a keyed hash and stands nowhere in the clear. A record is
// one JSON object, kept as it was sent but for white space between its tokens
// (numbers keep their digits, members their order), with a leaf of the key tree
// of its own for life. Every function runs inside the tenant's door, so it is authorized,
// scoped and recorded already. To add an operation, declare a [feature.Op] in
// ops.go: the route, the OpenAPI entry and the access tests follow from it.
package records

import "embed"

// Migrations is this feature's part of the one set that every organization's
// schema runs.
//
//go:embed migrations/*.sql
var Migrations embed.FS
