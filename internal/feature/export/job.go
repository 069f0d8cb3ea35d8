package export

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/blob"
	"strongroom/internal/feature"
	"strongroom/internal/store/audit"
	"strongroom/internal/store/tenant"
)

// Migrations is this feature's part of the one set that every organization's
// schema runs.
//
//go:embed migrations/*.sql
var Migrations embed.FS

// The jobs: one makes an archive, one removes it when its day is over.
const (
	BuildJob  = "export.build"
	ExpireJob = "export.expire"
)

const (
	tableExport  = "export"
	sectionScope = "scope"

	exportsPath = "/v1/orgs/{org}/exports"
	exportPath  = exportsPath + "/{id}"

	life = 24 * time.Hour // of an archive
	most = 6 * time.Hour  // that making one may take
	// An attempt says every beat that it is alive. One that has not for stale
	// belongs to a process that died, and another takes its place.
	beat   = 10 * time.Second
	stale  = time.Minute
	maxOwn = 20 // archives of one person at a time
)

// The formats.
const (
	formatZIP    = "zip"
	formatNDJSON = "ndjson"
	formatCSV    = "csv"
)

// Asked is what an export is to hold.
type Asked struct {
	Scope      string `json:"scope" enum:"record,collection,project,file,organization" doc:"How much: a project is a record and all that leads to it by links."`
	Collection string `json:"collection,omitempty" maxLength:"64" doc:"The collection's name; for the scopes record, collection and project."`
	Record     string `json:"record,omitempty" maxLength:"30" doc:"The record; for the scopes record and project."`
	File       string `json:"file,omitempty" maxLength:"30" doc:"The file; for the scope file."`
	Format     string `json:"format,omitempty" enum:"zip,ndjson,csv" doc:"zip holds everything, with files, history and a manifest of hashes; ndjson and csv hold the records alone, csv of one collection. Default: zip."`
}

// Export is an export as the API shows it.
type Export struct {
	ID    id.Export `json:"id"`
	State string    `json:"state" enum:"waiting,running,ready,failed"`
	Asked
	Done      int64     `json:"done" doc:"Records and files that are in it so far."`
	Total     int64     `json:"total" doc:"How many there are; 0 until it is known, which is at the end."`
	Size      int64     `json:"size" doc:"Of the archive in bytes, once it is ready."`
	Code      string    `json:"code,omitempty" doc:"Why it failed."`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at" doc:"When it is removed."`
}

type (
	// OrgPath names an organization.
	OrgPath struct {
		Org id.Org `path:"org" doc:"The organization."`
	}
	// OnePath names an export.
	OnePath struct {
		OrgPath
		ID id.Export `path:"id" doc:"The export."`
	}
	startIn struct {
		OrgPath
		Body Asked
	}
	listIn struct {
		OrgPath
		feature.Listing
	}
)

func (e *exporter) jobOps() []feature.Op {
	return []feature.Op{
		feature.Handle(feature.Meta{ID: "start-export", Example: `{"scope": "organization"}`, Method: http.MethodPost, Path: exportsPath, Action: policy.ExportCreate, Status: http.StatusCreated,
			Summary: "Have an export made", Description: "It is made in the background and can be fetched for 24 hours, by whoever asked for it and nobody else.",
			MaxBody: 4096, Errors: []fault.Kind{fault.Conflict}}, e.start),
		feature.Handle(feature.Meta{ID: "list-exports", Method: http.MethodGet, Path: exportsPath, Action: policy.ExportRead,
			Summary: "List the exports that one had made"}, e.list),
		feature.Handle(feature.Meta{ID: "get-export", Method: http.MethodGet, Path: exportPath, Action: policy.ExportRead,
			Summary: "See how far an export is"}, e.get),
		feature.Handle(feature.Meta{ID: "delete-export", Method: http.MethodDelete, Path: exportPath, Action: policy.ExportExpire,
			Summary: "Remove an export before its day is over", Errors: []fault.Kind{fault.Conflict}}, e.remove),
		feature.Raw(feature.Meta{ID: "download-export", Method: http.MethodGet, Path: exportPath + "/content", Action: policy.ExportDownload,
			Summary: "Fetch an export", Errors: []fault.Kind{fault.Conflict}},
			huma.Operation{Responses: map[string]*huma.Response{"200": {Description: "The archive.",
				Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}}}, e.download),
	}
}

func (e *exporter) jobList() []feature.Job {
	return []feature.Job{
		{Kind: BuildJob, Action: policy.ExportBuild, Most: most + time.Minute, Run: e.build},
		{Kind: ExpireJob, Action: policy.ExportExpire, Run: e.expire},
	}
}

// scope reads what is asked for. Whatever it leaves out or says too much is
// refused: an export must never hold more than was meant.
func (a Asked) scope() (s feature.Scope, err error) {
	for _, f := range []struct {
		pointer, value string
		wanted         bool
	}{
		{"/collection", a.Collection, a.Scope == "record" || a.Scope == "collection" || a.Scope == "project"},
		{"/record", a.Record, a.Scope == "record" || a.Scope == "project"},
		{"/file", a.File, a.Scope == "file"},
	} {
		switch {
		case f.wanted && f.value == "":
			return s, fault.At(fault.Invalid, f.pointer, "required", "this scope needs it")
		case !f.wanted && f.value != "":
			return s, fault.At(fault.Invalid, f.pointer, "not_allowed", "this scope has no place for it")
		}
	}
	s.Collection = a.Collection
	if a.Record != "" {
		if s.Record, err = id.ParseRecord(a.Record); err != nil {
			return s, fault.At(fault.Invalid, "/record", "identifier", "expected the identifier of a record")
		}
	}
	if a.File != "" {
		if s.File, err = id.ParseFile(a.File); err != nil {
			return s, fault.At(fault.Invalid, "/file", "identifier", "expected the identifier of a file")
		}
	}
	switch {
	case a.Format == formatCSV && a.Scope != "record" && a.Scope != "collection":
		return s, fault.At(fault.Invalid, "/format", "not_allowed", "a table holds the records of one collection")
	case a.Format == formatNDJSON && a.Scope == "file":
		return s, fault.At(fault.Invalid, "/format", "not_allowed", "a file is no record")
	}
	s.RowsOnly = a.Format != formatZIP
	return s, nil
}

// row is an export as its table holds it.
type row struct {
	id                          uuid.UUID
	state, code                 string
	leaf, attempt               int64
	generation                  int32
	entries, size               int64
	body                        seal.Sealed
	created, updated, expiresAt time.Time
}

func (r *row) dest() []any {
	return []any{&r.id, &r.state, &r.code, &r.leaf, &r.attempt, &r.generation, &r.entries, &r.size, &r.body, &r.created, &r.updated, &r.expiresAt}
}

func (r *row) open(ctx context.Context, tx *tenant.Tx) (Export, error) {
	sections, err := tx.Open(ctx, tableExport, r.id, 1, r.body)
	if err != nil {
		return Export{}, err
	}
	out := Export{ID: id.ExportOf(r.id), State: r.state, Done: r.entries, Size: r.size, Code: r.code, CreatedAt: r.created.UTC(), ExpiresAt: r.expiresAt.UTC()}
	for _, s := range sections {
		if s.Name == sectionScope && !s.Erased {
			if err := json.Unmarshal(s.Plain.Reveal(), &out.Asked); err != nil {
				return Export{}, errors.New("export: what was asked for does not decode")
			}
		}
	}
	if r.state == "ready" {
		out.Total = r.entries
	}
	return out, nil
}

var errNoExport = fault.New(fault.NotFound, "no such export")

// own reads an export of the caller's that is not over yet.
func (e *exporter) own(ctx context.Context, tx *tenant.Tx, exp id.Export) (r row, _ Export, err error) {
	tx.Touch(exp)
	err = tx.QueryRow(ctx, tenant.Lit(`SELECT id, state, code, leaf, attempt, generation, entries, size, body, created_at, updated_at, expires_at
 FROM export WHERE org_id = $1 AND id = $2 AND created_by = $3 AND expires_at > $4`), tx.Org().UUID(), exp.UUID(), tx.Actor().Person().UUID(), tx.Now()).Scan(r.dest()...)
	if errors.Is(err, tenant.ErrNoRows) {
		return r, Export{}, errNoExport
	}
	if err != nil {
		return r, Export{}, err
	}
	out, err := r.open(ctx, tx)
	if errors.Is(err, seal.ErrErased) {
		err = errNoExport
	}
	return r, out, err
}

func (e *exporter) start(ctx context.Context, tx *tenant.Tx, in startIn) (feature.Created[Export], error) {
	none := feature.Created[Export]{}
	asked := in.Body
	if asked.Format == "" {
		asked.Format = formatZIP
	}
	if _, err := asked.scope(); err != nil {
		return none, err
	}
	if err := e.admit(tx); err != nil {
		return none, err
	}
	me := tx.Actor().Person().UUID()
	var have int
	if err := tx.QueryRow(ctx, tenant.Lit(`SELECT count(*) FROM export WHERE org_id = $1 AND created_by = $2 AND expires_at > $3`), tx.Org().UUID(), me, tx.Now()).Scan(&have); err != nil {
		return none, err
	}
	if have >= maxOwn {
		return none, fault.New(fault.Conflict, "you have %d exports already: wait until one of them is removed", maxOwn)
	}
	exp := id.NewExport()
	tx.Touch(exp)
	leaf, err := tx.NewLeaf(ctx)
	if err != nil {
		return none, err
	}
	generation, err := tx.Keys().Generation(ctx)
	if err != nil {
		return none, err
	}
	text, err := json.Marshal(asked)
	if err != nil {
		return none, err
	}
	body, err := tx.Seal(ctx, tableExport, exp.UUID(), 1, seal.Section{Name: sectionScope, Leaf: leaf, Plain: seal.NewSecretString(string(text))})
	if err != nil {
		return none, err
	}
	until := tx.Now().Add(life)
	if _, err := tx.Exec(ctx, tenant.Lit(`INSERT INTO export (org_id, id, state, leaf, generation, attempt, entries, size, code, body, created_at, created_by, updated_at, expires_at)
 VALUES ($1, $2, 'waiting', $3, $4, 0, 0, 0, '', $5, $6, $7, $6, $8)`), tx.Org().UUID(), exp.UUID(), int64(leaf), int32(generation), body, tx.Now(), me, until); err != nil {
		return none, err
	}
	tx.Enqueue(tenant.Job{Kind: BuildJob, Ref: exp})
	tx.Enqueue(tenant.Job{Kind: ExpireJob, Ref: exp, At: until.Add(time.Minute)})
	return feature.Created[Export]{Location: "/v1/orgs/" + tx.Org().String() + "/exports/" + exp.String(),
		Body: Export{ID: exp, State: "waiting", Asked: asked, CreatedAt: tx.Now().UTC(), ExpiresAt: until.UTC()}}, nil
}

type oneOut struct{ Body Export }

func (e *exporter) get(ctx context.Context, tx *tenant.Tx, in OnePath) (oneOut, error) {
	_, out, err := e.own(ctx, tx, in.ID)
	return oneOut{out}, err
}

// list has one page: nobody has more exports than fit.
func (e *exporter) list(ctx context.Context, tx *tenant.Tx, in listIn) (feature.List[Export], error) {
	none := feature.List[Export]{}
	after := uuid.Max
	const query = "exports"
	b, err := tx.OpenCursor(ctx, query, in.Cursor)
	if err != nil {
		return none, err
	}
	if len(b) == len(after) {
		copy(after[:], b)
	}
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT id, state, code, leaf, attempt, generation, entries, size, body, created_at, updated_at, expires_at
 FROM export WHERE org_id = $1 AND created_by = $2 AND expires_at > $3 AND id < $4 ORDER BY id DESC LIMIT $5`),
		tx.Org().UUID(), tx.Actor().Person().UUID(), tx.Now(), after, in.Limit+1)
	if err != nil {
		return none, err
	}
	defer rows.Close()
	var items []Export
	for rows.Next() {
		var r row
		if err := rows.Scan(r.dest()...); err != nil {
			return none, err
		}
		x, err := r.open(ctx, tx)
		if errors.Is(err, seal.ErrErased) {
			continue
		}
		if err != nil {
			return none, err
		}
		tx.Touch(x.ID)
		items = append(items, x)
	}
	if err := rows.Err(); err != nil {
		return none, err
	}
	next := ""
	if len(items) > in.Limit {
		items = items[:in.Limit]
		last := items[in.Limit-1].ID.UUID()
		next, err = tx.SealCursor(ctx, query, last[:])
	}
	return feature.List[Export]{Body: feature.NewPage(items, next)}, err
}

// object names the archive of one attempt: attempts do not overwrite each
// other.
func object(org id.Org, exp id.Export, attempt int64) blob.Key {
	return blob.Key{Org: org, File: id.FileOf(exp.UUID()), Version: uint64(attempt)}
}

func keyOf(ctx context.Context, tx *tenant.Tx, r row) ([32]byte, error) {
	return seal.FileKey(ctx, tx.Keys(), seal.Place{Org: tx.Org(), Table: tableExport, Row: r.id, Version: uint64(r.attempt)}, uint32(r.generation), keytree.Leaf(r.leaf))
}

// attempt is one try at making an archive.
type attempt struct {
	row
	asked Export
	key   [32]byte
	mine  bool
}

// build makes an archive. It may run twice: an attempt that is alive is left
// alone, one that died is replaced.
func (e *exporter) build(ctx context.Context, s *tenant.Store, r tenant.Request, ref string) error {
	exp, err := id.ParseExport(ref)
	if err != nil {
		return fault.Wrap(fault.Invalid, err, "the job names no export")
	}
	r.Purpose = tenant.Export
	a, _, err := tenant.Do(ctx, s, r, func(ctx context.Context, tx *tenant.Tx) (attempt, error) { return e.claim(ctx, tx, exp) })
	if err != nil || !a.mine {
		return err
	}
	work, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	entries, size, failure := e.make(work, s, r, exp, a)
	closing, done := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer done()
	_, _, err = tenant.Do(closing, s, r, func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		return struct{}{}, e.settle(ctx, tx, exp, a, entries, size, failure)
	})
	return err
}

func (e *exporter) claim(ctx context.Context, tx *tenant.Tx, exp id.Export) (a attempt, err error) {
	if err := e.admit(tx); err != nil { // roles may have changed since it was asked for
		return a, err
	}
	if a.row, a.asked, err = e.own(ctx, tx, exp); err != nil {
		return a, err
	}
	// The row is taken by a change of its attempt: of two that come at the same
	// time one finds it changed.
	n, err := tx.Exec(ctx, tenant.Lit(`UPDATE export SET state = 'running', attempt = attempt + 1, updated_at = $4, entries = 0
 WHERE org_id = $1 AND id = $2 AND attempt = $3 AND (state = 'waiting' OR state = 'running' AND updated_at < $5)`),
		tx.Org().UUID(), exp.UUID(), a.attempt, tx.Now(), tx.Now().Add(-stale))
	switch {
	case err != nil:
		return a, err
	case n == 0 && a.state != "running":
		return a, nil // it is made, or another has just begun
	}
	// Should this process die, the next look finds out.
	tx.Enqueue(tenant.Job{Kind: BuildJob, Ref: exp, At: tx.Now().Add(2 * stale)})
	if n == 0 {
		return a, nil
	}
	a.mine = true
	a.attempt++
	a.key, err = keyOf(ctx, tx, a.row)
	return a, err
}

// make writes the archive into a sealed object. Every page of data that goes
// in has an event of its own under export.run, as when it is sent at once.
func (e *exporter) make(ctx context.Context, s *tenant.Store, r tenant.Request, exp id.Export, a attempt) (entries, size int64, err error) {
	scope, err := a.asked.scope()
	if err != nil {
		return 0, 0, err
	}
	reading := r
	reading.Action = policy.ExportRun
	in := chunks{s, reading}
	if a.asked.Scope == "project" {
		if e.gather == nil {
			return 0, 0, fault.New(fault.Invalid, "there is nothing to gather")
		}
		if scope.Records, err = e.gather(ctx, in, scope.Collection, scope.Record); err != nil {
			return 0, 0, err
		}
		scope.Collection, scope.Record = "", id.Record{}
	}
	w, err := e.blobs.Create(ctx, object(r.Org, exp, a.attempt))
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = w.Abort() }() // after a commit there is nothing to abort
	sealed, err := blob.SealWriter(w, a.key)
	if err != nil {
		return 0, 0, err
	}
	out := newOutput(sealed, a.asked.Format)
	stop := e.tell(ctx, s, r, exp, a.attempt, out)
	for _, src := range e.sources {
		if err = src.export(ctx, in, scope, out.sink()); err != nil {
			break
		}
	}
	stop()
	if err == nil {
		err = out.close()
	}
	if err == nil {
		err = sealed.Close()
	}
	if err == nil {
		err = w.Commit()
	}
	return out.done(), sealed.Size(), err
}

// tell says while an archive is made that somebody is at it, and how far.
func (e *exporter) tell(ctx context.Context, s *tenant.Store, r tenant.Request, exp id.Export, attempt int64, out *output) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(beat)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			// What goes wrong here shows in the attempt itself.
			_, _, _ = tenant.Do(ctx, s, r, func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
				tx.Touch(exp)
				_, err := tx.Exec(ctx, tenant.Lit(`UPDATE export SET entries = $4, updated_at = $5 WHERE org_id = $1 AND id = $2 AND attempt = $3 AND state = 'running'`),
					tx.Org().UUID(), exp.UUID(), attempt, out.done(), tx.Now())
				return struct{}{}, err
			})
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// settle says what became of an attempt. The day begins when the archive is
// there.
func (e *exporter) settle(ctx context.Context, tx *tenant.Tx, exp id.Export, a attempt, entries, size int64, failure error) error {
	tx.Touch(exp)
	state, code, until := "ready", "", tx.Now().Add(life)
	if failure != nil {
		state, code, size = "failed", fault.From(failure).Kind.String(), 0
	}
	tx.Count("entries", entries)
	tx.Count("bytes", size)
	n, err := tx.Exec(ctx, tenant.Lit(`UPDATE export SET state = $4, code = $5, entries = $6, size = $7, updated_at = $8, expires_at = $9
 WHERE org_id = $1 AND id = $2 AND attempt = $3 AND state = 'running'`), tx.Org().UUID(), exp.UUID(), a.attempt, state, code, entries, size, tx.Now(), until)
	switch {
	case err == nil && n > 0:
		tx.Enqueue(tenant.Job{Kind: ExpireJob, Ref: exp, At: until.Add(time.Minute)})
	case err == nil:
		// The export was removed meanwhile, or another attempt took over: nobody
		// would come for what this one made.
		err = e.blobs.Delete(ctx, object(tx.Org(), exp, a.attempt))
	}
	if failure != nil && fault.Is(failure, fault.Internal) {
		e.log.Error("an export failed", "export", exp.String(), "err", failure)
	}
	return err
}

// expire removes archives whose day is over: the one it is about, and any
// other of the organization, whose maker may be gone.
func (e *exporter) expire(ctx context.Context, s *tenant.Store, r tenant.Request, ref string) error {
	if _, err := id.ParseExport(ref); err != nil {
		return fault.Wrap(fault.Invalid, err, "the job names no export")
	}
	_, _, err := tenant.Do(ctx, s, r, func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		return struct{}{}, e.clear(ctx, tx)
	})
	return err
}

func (e *exporter) clear(ctx context.Context, tx *tenant.Tx) error {
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT id, attempt FROM export WHERE org_id = $1 AND expires_at < $2 LIMIT 100 FOR UPDATE`), tx.Org().UUID(), tx.Now())
	if err != nil {
		return err
	}
	type over struct {
		id       uuid.UUID
		attempts int64
	}
	var all []over
	for rows.Next() {
		var o over
		if err = rows.Scan(&o.id, &o.attempts); err != nil {
			break
		}
		all = append(all, o)
	}
	rows.Close()
	if err = errors.Join(err, rows.Err()); err != nil {
		return err
	}
	for _, o := range all {
		if err := e.drop(ctx, tx, id.ExportOf(o.id), o.attempts); err != nil {
			return err
		}
	}
	tx.Count("exports", int64(len(all)))
	return nil
}

// drop removes an export with the archives of all its attempts. The bytes go
// first: a row without bytes is found again, bytes without a row are not.
func (e *exporter) drop(ctx context.Context, tx *tenant.Tx, exp id.Export, attempts int64) error {
	tx.Touch(exp)
	for n := int64(1); n <= attempts; n++ {
		if err := e.blobs.Delete(ctx, object(tx.Org(), exp, n)); err != nil {
			return err
		}
	}
	_, err := tx.Exec(ctx, tenant.Lit(`DELETE FROM export WHERE org_id = $1 AND id = $2`), tx.Org().UUID(), exp.UUID())
	return err
}

var errAtWork = fault.New(fault.Conflict, "the export is being made: wait until it is ready")

func (e *exporter) remove(ctx context.Context, tx *tenant.Tx, in OnePath) (feature.NoContent, error) {
	r, _, err := e.own(ctx, tx, in.ID)
	switch {
	case err != nil:
		return feature.NoContent{}, err
	case r.state == "running" && tx.Now().Sub(r.updated) < stale:
		return feature.NoContent{}, errAtWork // its bytes would outlive its row
	}
	return feature.NoContent{}, e.drop(ctx, tx, in.ID, r.attempt)
}

var errNotReady = fault.New(fault.Conflict, "the export is not ready")

// ready is an archive that may be sent.
type ready struct {
	row
	asked Export
	key   [32]byte
}

func (e *exporter) download(ctx context.Context, x *feature.Exchange, in OnePath) error {
	r := x.Request
	if r.Purpose == "" || r.Purpose == tenant.Service {
		r.Purpose = tenant.Export
	}
	r.Targets = append(r.Targets, in.ID)
	_, receipt, err := tenant.Stream(ctx, e.store, r, tenant.Steps[ready, struct{}]{
		Open: func(ctx context.Context, tx *tenant.Tx) (out ready, err error) {
			if err := e.admit(tx); err != nil {
				return out, err
			}
			if out.row, out.asked, err = e.own(ctx, tx, in.ID); err != nil {
				return out, err
			}
			if out.state != "ready" {
				return out, errNotReady
			}
			out.key, err = keyOf(ctx, tx, out.row)
			return out, err
		},
		Bytes: func(ctx context.Context, a ready, opened audit.Receipt) (map[string]int64, error) {
			n, err := e.send(ctx, x, r.Org, a, opened)
			return map[string]int64{"bytes": n}, err
		},
	})
	x.Recorded(receipt)
	return err
}

func (e *exporter) send(ctx context.Context, x *feature.Exchange, org id.Org, a ready, opened audit.Receipt) (int64, error) {
	o, err := e.blobs.Open(ctx, object(org, a.asked.ID, a.attempt))
	if err != nil {
		return 0, fault.Wrap(fault.Internal, err, "the archive is missing")
	}
	defer func() { _ = o.Close() }()
	b, err := blob.OpenReaderAt(a.key, o, o.Size())
	if err != nil {
		return 0, fault.Wrap(fault.Internal, err, "the archive is damaged")
	}
	x.Recorded(opened)
	h := x.Writer.Header()
	h.Set("Content-Type", media(a.asked.Format))
	h.Set("Content-Disposition", `attachment; filename="strongroom-export.`+a.asked.Format+`"`)
	h.Set("Content-Length", strconv.FormatInt(b.Size(), 10))
	x.Writer.WriteHeader(http.StatusOK)
	n, err := b.Range(0, b.Size()).WriteTo(x.Writer)
	if err != nil {
		err = fault.Wrap(fault.Unavailable, err, "the download broke off")
	}
	return n, err
}

func media(format string) string {
	switch format {
	case formatNDJSON:
		return "application/x-ndjson"
	case formatCSV:
		return "text/csv; charset=utf-8"
	}
	return mediaType
}
