// Package export lets an organization take its data away: one record, one
// collection or everything, as one ZIP that is made while it is sent; and, made
// in the background for a browser to fetch later, also one file or a project, in
// a choice of formats.
//
// It promises that nothing leaves before it is on record: the export's opened
// event is durable before the first byte, every page of data has an event of
// its own that names each identifier in it before the page is written, and the
// last event counts what went out. Memory does not grow with the data: no
// transaction is open while bytes flow, and nothing is held but a page. An
// export that fails breaks the connection off; what arrived of it lacks its
// manifest and its directory, so nobody takes it for a whole one.
//
// An archive that is made in the background is a sealed object under a key of
// its own, seen and fetched by whoever asked for it alone, and removed after 24
// hours. Each fetch is on record before its first byte.
//
// What goes in is up to the features: app hands in those whose Export is set,
// and a new kind of data needs no line here. Who exports needs the action
// export.run and every reading action of the features in question.
package export

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/blob"
	"strongroom/internal/feature"
	"strongroom/internal/feature/export/archive"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
)

// Feature offers the export of what the given features hold. Those without an
// Export are passed over. Archives that are made in the background lie in
// blobs, sealed.
func Feature(store *tenant.Store, blobs blob.Store, log *slog.Logger, features ...feature.Feature) feature.Feature {
	if log == nil {
		log = slog.Default()
	}
	e := &exporter{store: store, blobs: blobs, log: log}
	for _, f := range features {
		if f.Export != nil {
			e.sources = append(e.sources, source{f.Export, reads(f)})
		}
		if f.Gather != nil {
			e.gather = f.Gather
		}
	}
	return feature.Feature{Name: "export", Migrations: Migrations, Promises: e.promises(), Jobs: e.jobList(), Ops: append(e.jobOps(),
		feature.Raw(feature.Meta{ID: "run-export", Example: `{"scope": "organization"}`, Method: http.MethodPost, Path: "/v1/orgs/{org}/export", Action: policy.ExportRun,
			Summary: "Export a record, a collection or everything",
			Description: "The answer is a ZIP of NDJSON, CSV, files and a manifest of hashes, written while it is read. " +
				"The manifest is the last entry: a download that broke off has none. Every page of data is on the audit log before it is sent.",
			MaxBody: 4096, Errors: []fault.Kind{fault.Invalid}},
			huma.Operation{Responses: map[string]*huma.Response{"200": {Description: "The export.",
				Content: map[string]*huma.MediaType{mediaType: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}}}, e.run),
	)}
}

const mediaType = "application/zip"

type exporter struct {
	store   *tenant.Store
	blobs   blob.Store
	log     *slog.Logger
	sources []source
	gather  feature.Gather
}

// source is one feature's part of an export.
type source struct {
	export feature.Export
	reads  []policy.Action // what its operations read by
}

func reads(f feature.Feature) (out []policy.Action) {
	for _, op := range f.Ops {
		// What is in the trash is in no export.
		if policy.IsRead(op.Action) && op.Action != policy.TrashList {
			out = append(out, op.Action)
		}
	}
	return out
}

type runIn struct {
	Org  id.Org `path:"org" doc:"The organization."`
	Body struct {
		Scope      string `json:"scope" enum:"record,collection,organization" doc:"How much to export."`
		Collection string `json:"collection,omitempty" maxLength:"64" doc:"The collection's name; for the scopes record and collection."`
		Record     string `json:"record,omitempty" maxLength:"30" doc:"The record; for the scope record."`
	}
}

// scope reads what the request asks for. Whatever it leaves out or says too
// much is refused: an export must never hold more than was meant.
func (in runIn) scope() (s feature.Scope, err error) {
	b := in.Body
	needsCollection, needsRecord := b.Scope != "organization", b.Scope == "record"
	for _, f := range []struct {
		pointer, value string
		wanted         bool
	}{{"/collection", b.Collection, needsCollection}, {"/record", b.Record, needsRecord}} {
		switch {
		case f.wanted && f.value == "":
			return s, fault.At(fault.Invalid, f.pointer, "required", "this scope needs it")
		case !f.wanted && f.value != "":
			return s, fault.At(fault.Invalid, f.pointer, "not_allowed", "this scope has no place for it")
		}
	}
	s.Collection = b.Collection
	if needsRecord {
		if s.Record, err = id.ParseRecord(b.Record); err != nil {
			return s, fault.At(fault.Invalid, "/record", "identifier", "expected the identifier of a record")
		}
	}
	return s, nil
}

func (e *exporter) run(ctx context.Context, x *feature.Exchange, in runIn) error {
	scope, err := in.scope()
	if err != nil {
		return err
	}
	r := x.Request
	if r.Purpose == "" || r.Purpose == tenant.Service {
		// Another one stays: the door has its say about it.
		r.Purpose = tenant.Export
	}
	if !scope.Record.IsZero() {
		r.Targets = append(r.Targets, scope.Record)
	}
	out := &answer{w: x.Writer}
	_, receipt, err := tenant.Stream(ctx, e.store, r, tenant.Steps[struct{}, struct{}]{
		Open: func(_ context.Context, tx *tenant.Tx) (struct{}, error) { return struct{}{}, e.admit(tx) },
		Bytes: func(ctx context.Context, _ struct{}, receipt audit.Receipt) (map[string]int64, error) {
			x.Recorded(receipt)
			// Chunks enter under the same request: one identifier leads to all
			// the events of an export.
			return nil, e.write(ctx, chunks{e.store, r}, scope, out)
		},
		// What went out is counted also where a feature panicked.
		Close: func(_ context.Context, tx *tenant.Tx, _ struct{}, _ error) (struct{}, error) {
			out.count(tx)
			return struct{}{}, nil
		},
	})
	x.Recorded(receipt)
	return err
}

// admit refuses whoever may export but not read what is to be exported.
func (e *exporter) admit(tx *tenant.Tx) error {
	for _, s := range e.sources {
		for _, a := range s.reads {
			if !tx.May(a) {
				return fault.New(fault.Denied, "an export needs %s too", a)
			}
		}
	}
	return nil
}

func (e *exporter) write(ctx context.Context, in feature.Chunks, scope feature.Scope, w *answer) error {
	w.a = archive.New(w, time.Now())
	for _, s := range e.sources {
		if err := s.export(ctx, in, scope, sink{w.a}); err != nil {
			return err
		}
	}
	return w.a.Close()
}

// chunks opens the transactions of an export: each reads a page and leaves an
// event that names what was in it.
type chunks struct {
	store   *tenant.Store
	request tenant.Request
}

func (c chunks) Chunk(ctx context.Context, fn func(context.Context, *tenant.Tx) error) error {
	_, _, err := tenant.Do(ctx, c.store, c.request, func(ctx context.Context, tx *tenant.Tx) (struct{}, error) { return struct{}{}, fn(ctx, tx) })
	return err
}

// answer counts the bytes of the answer. Its headers are set with the first of
// them: until then a failure is a problem document like any other.
type answer struct {
	w     http.ResponseWriter
	bytes int64
	a     *archive.Writer
}

func (a *answer) Write(b []byte) (int, error) {
	if a.bytes == 0 {
		h := a.w.Header()
		h.Set("Content-Type", mediaType)
		h.Set("Content-Disposition", `attachment; filename="strongroom-export.zip"`)
	}
	n, err := a.w.Write(b)
	a.bytes += int64(n)
	return n, err
}

// count puts into the event what went out.
func (a *answer) count(tx *tenant.Tx) {
	t := archive.Totals{}
	if a.a != nil {
		t = a.a.Totals()
	}
	tx.Count("bytes", a.bytes)
	tx.Count("entries", t.Entries)
	tx.Count("records", t.Records)
	tx.Count("files", t.Files)
}
