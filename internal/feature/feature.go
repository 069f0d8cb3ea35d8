// Package feature is the contract between a feature and the house.
//
// A feature offers itself as data, a [Feature]: operations, jobs, promises,
// migrations, and what other features may ask of it by ids alone. The runners
// read that data: web/api turns operations into HTTP and OpenAPI, the access
// tests try each of them in every role, jobs and pages call them by [Call].
// Nothing here does I/O of its own.
//
// To add an operation, write its input and output as structs with the tags of
// huma (path, query, header, a field Body for JSON) and hand its function to
// [Handle]: it then runs inside the door, authorized, scoped and recorded, and
// the route, its validation, its OpenAPI entry and its refusal tests follow.
// [HandlePlatform] is for what belongs to no organization, [HandleSelf] for
// what enters the door by itself (signing in, work in chunks), [Raw] for
// bodies that are streamed. Features are strangers to each other.
package feature

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"time"

	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/store/tenant"
)

// Feature is everything that one feature offers.
type Feature struct {
	Name       string // the folder under internal/feature
	Ops        []Op
	Jobs       []Job
	Promises   []Promise
	Migrations fs.FS // goose files for the tables of an organization; nil: no tables

	// What other features may ask, by ids alone. Nil: nothing to offer.
	Export   Export
	Erase    Erase
	Describe Describe
	Content  Content
	Gather   Gather
}

// Job is work that goes on after its request. Run enters the door by r, as
// often as it needs to: r's actor is the job, which names who started it and
// whose membership is checked again each time. It may run twice.
type Job struct {
	Kind   string // the one that tx.Enqueue is given, as in files.sweep
	Action policy.Action
	Every  time.Duration // 0: only when enqueued
	Most   time.Duration // that one run may take; 0: a minute
	Run    func(ctx context.Context, s *tenant.Store, r tenant.Request, ref string) error
}

// Promise is what a feature does for one promise of the list, by clauses.
type Promise struct {
	ID      string // as in "ENC-1"
	Clauses []Clause
}

// Tag says how a clause is checked.
type Tag string

// The tags.
const (
	Passive   Tag = "passive"   // looks, and leaves nothing behind
	Canary    Tag = "canary"    // acts inside a canary organization
	Scheduled Tag = "scheduled" // too heavy to run on demand: reports its last run
)

// Clause is one checkable part of a promise. Check exercises the real
// mechanism within 10 seconds. The evidence it returns is shown to people who
// may not see any customer's data: it holds counts, names of mechanisms and
// ids, never content. An error that is not about the clause itself, such as a
// canary that cannot be reached, counts as broken: nothing was proved.
type Clause struct {
	Name  string // as in "records"
	Tag   Tag
	Check func(ctx context.Context, env Env) (evidence string, err error)
}

// Scope is how much an export takes.
type Scope struct {
	Collection string    // a kind's name; "": all of them
	Record     id.Record // zero: all of them
	// Records are all that is taken, of whatever collections; nil: no bound.
	Records []id.Record
	File    id.File // nothing but this one
	// RowsOnly leaves the bytes of files out.
	RowsOnly bool
}

// Gather names a record and everything that leads to it by links, however many
// of them there are between: a project with its samples and their measurements.
type Gather func(ctx context.Context, in Chunks, collection string, record id.Record) ([]id.Record, error)

// Export writes what is in scope to sink. No transaction is open while bytes
// flow: in opens one for each page, and every page is on the record.
type Export func(ctx context.Context, in Chunks, scope Scope, sink Sink) error

// Chunks opens the short transactions of a long piece of work.
type Chunks interface {
	Chunk(ctx context.Context, fn func(context.Context, *tenant.Tx) error) error
}

// Sink receives the entries of an export one after the other: opening the next
// one ends the one before.
type Sink interface {
	Entry(name string, modified time.Time) (io.Writer, error)
	// Table begins an entry of rows with named columns.
	Table(name string, modified time.Time, columns []string) (Table, error)
}

// Table is an entry of rows. A cell is a JSON value, or nil where the row has
// none.
type Table interface {
	Row(cells []json.RawMessage) error
}

// Erase names the leaves whose destruction makes ids unreadable for good.
type Erase func(ctx context.Context, tx *tenant.Tx, ids []id.Ref) ([]keytree.Leaf, error)

// Describe gives the words by which a person knows the thing that ref names,
// if the caller of the transaction may see it.
type Describe func(ctx context.Context, tx *tenant.Tx, ref id.Ref) (Description, error)

// Description is what Describe gives.
type Description struct {
	Kind  string // record, file, …
	Title string
	Path  string // where the API has it, relative to the organization
}

// Content finds a version of a stored file, 0 for the newest, if the caller of
// the transaction may see it. What it returns is read after the transaction.
type Content func(ctx context.Context, tx *tenant.Tx, file id.File, version uint64) (Bytes, error)

// Bytes are those of one version of a file.
type Bytes struct {
	Version uint64
	Size    int64
	// Open gives the plaintext; whoever opens it closes it.
	Open func(context.Context) (io.ReaderAt, io.Closer, error)
}
