package records

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/kind"
	"strongroom/internal/store/tenant"
)

// Records is the feature's state: the collections in use, by organization.
type Records struct {
	tenant *tenant.Store
	kinds  kind.Cache
	kits   []kind.Kit
	page   int // rows of an export's transaction

	members Members
	files   feature.Title

	mu     sync.Mutex
	byOrg  map[id.Org]map[string]collection // ISO-6: an organization's entries are reached by its own id alone
	cached int
}

// Options are what the feature needs of others.
type Options struct {
	Members Members       // with whom a record may be shared; nil: with nobody
	Files   feature.Title // of a file at the end of a link; nil: none is shown
}

// New returns the feature. Bulk work and exports open their own transactions
// through store.
func New(store *tenant.Store, o Options) *Records {
	if o.Members == nil {
		o.Members = func(context.Context, id.Org, []id.Person) ([]id.Person, error) { return nil, nil }
	}
	return &Records{tenant: store, members: o.Members, files: o.Files, kits: kind.Kits(), page: exportPage, byOrg: map[id.Org]map[string]collection{}}
}

// collection is what a request needs of a collection.
type collection struct {
	ID        id.Collection
	Kind      string
	Version   int64
	Schema    *kind.Schema
	Relations kind.Relations
	// Visibility is the one that a record begins with when its author says
	// nothing: organization or private.
	Visibility string
	view       Collection
	until      time.Time // when the cache gives it up
}

// begins is the visibility of a new record, where its author may have said one.
func (c collection) begins(said string) string {
	if said == "" {
		return c.Visibility
	}
	return said
}

const (
	tableCollection = "collection"
	tokenCollection = "collection"
	// maxCached bounds the collections in memory. Beyond it the cache starts
	// anew: a miss costs one query.
	maxCached = 10_000
	// cachedFor bounds how long a server shows a declaration that another one
	// has changed. Nothing is stored by an old one: statements name versions.
	cachedFor = 15 * time.Second
)

// collection finds a collection by its name. One from the cache may be out of
// date: a statement that depends on it names its version.
func (s *Records) collection(ctx context.Context, tx *tenant.Tx, name string) (collection, error) {
	if c, ok := s.cachedOf(tx.Org(), name); ok {
		return c, nil
	}
	return s.load(ctx, tx, name)
}

func (s *Records) cachedOf(org id.Org, name string) (collection, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.byOrg[org][name]
	return c, ok && time.Now().Before(c.until)
}

// accept finds a collection and holds content against its schema. What an old
// schema refuses may fit the present one, so a refusal is never by the cache
// alone.
func (s *Records) accept(ctx context.Context, tx *tenant.Tx, name string, content feature.Object) (collection, feature.Object, error) {
	c, cached := s.cachedOf(tx.Org(), name)
	if !cached {
		var err error
		if c, err = s.load(ctx, tx, name); err != nil {
			return c, nil, err
		}
	}
	text, err := accept(c, content, "/content")
	if err == nil || !cached {
		return c, text, err
	}
	now, lerr := s.load(ctx, tx, name)
	if lerr != nil {
		return c, nil, lerr
	}
	if now.Version == c.Version {
		return c, nil, err
	}
	text, err = accept(now, content, "/content")
	return now, text, err
}

func (s *Records) load(ctx context.Context, tx *tenant.Tx, name string) (collection, error) {
	notFound := fault.New(fault.NotFound, "no such collection")
	if _, err := kind.ParseName(name, "kind"); err != nil {
		return collection{}, notFound
	}
	token, err := tx.Hash(ctx, tokenCollection, []byte(name))
	if err != nil {
		return collection{}, err
	}
	var r collectionRow
	err = tx.QueryRow(ctx, tenant.Lit(`SELECT id, version, body, created_at, created_by FROM collection WHERE org_id = $1 AND token = $2`),
		tx.Org().UUID(), token).Scan(r.dest()...)
	if errors.Is(err, tenant.ErrNoRows) {
		return collection{}, notFound
	}
	if err != nil {
		return collection{}, err
	}
	c, err := s.openCollection(ctx, tx, r)
	if err != nil {
		return collection{}, err
	}
	s.keep(tx.Org(), c)
	return c, nil
}

func (s *Records) keep(org id.Org, c collection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cached >= maxCached {
		s.byOrg, s.cached = map[id.Org]map[string]collection{}, 0
	}
	if s.byOrg[org] == nil {
		s.byOrg[org] = map[string]collection{}
	}
	if _, known := s.byOrg[org][c.Kind]; !known {
		s.cached++
	}
	c.until = time.Now().Add(cachedFor)
	s.byOrg[org][c.Kind] = c
}

func (s *Records) forget(org id.Org, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.byOrg[org][name]; known {
		delete(s.byOrg[org], name)
		s.cached--
	}
}

// collectionRow is a collection as the table holds it.
type collectionRow struct {
	id      uuid.UUID
	version int64
	body    seal.Sealed
	at      time.Time
	by      uuid.UUID
}

func (r *collectionRow) dest() []any { return []any{&r.id, &r.version, &r.body, &r.at, &r.by} }

func (s *Records) openCollection(ctx context.Context, tx *tenant.Tx, r collectionRow) (collection, error) {
	plain, err := seal.OpenOne(ctx, tx.Keys(), seal.Place{Org: tx.Org(), Table: tableCollection, Row: r.id, Version: uint64(r.version)}, r.body, "declaration")
	if err != nil {
		return collection{}, err
	}
	var d sealedDeclaration
	if err := json.Unmarshal(plain.Reveal(), &d); err != nil {
		return collection{}, errors.New("records: a collection's declaration is not readable")
	}
	is, version, err := s.effective(d)
	if err != nil {
		return collection{}, err
	}
	schema, err := s.kinds.Schema(tx.Org(), is.Schema, "/schema")
	if err != nil {
		return collection{}, err
	}
	v := Collection{ID: id.CollectionOf(r.id), Kind: is.Kind, Title: is.Title, Description: is.Description, Schema: is.Schema, Visibility: is.Visibility, Relations: is.Relations,
		Kit: d.Kit, KitVersion: version, Changed: d.Kit != "" && !d.follows(), Version: uint64(r.version),
		CreatedAt: r.at.UTC(), CreatedBy: id.PersonOf(r.by), UpdatedAt: r.at.UTC(), UpdatedBy: id.PersonOf(r.by)}
	if d.UpdatedAt != nil {
		v.UpdatedAt, v.UpdatedBy = d.UpdatedAt.UTC(), d.UpdatedBy
	}
	return collection{ID: v.ID, Kind: is.Kind, Version: r.version, Schema: schema, Relations: is.Relations, Visibility: is.Visibility, view: v}, nil
}

func (s *Records) createCollection(ctx context.Context, tx *tenant.Tx, in createCollectionIn) (feature.Created[Collection], error) {
	c, err := s.declare(ctx, tx, in.Body.declaration())
	if err != nil {
		return feature.Created[Collection]{}, err
	}
	return feature.Created[Collection]{Location: "/v1/orgs/" + tx.Org().String() + "/collections/" + c.Kind, ETag: feature.VersionTag(c.Version), Body: c}, nil
}

// Declare makes a collection. An empty schema accepts any object.
func (s *Records) Declare(ctx context.Context, tx *tenant.Tx, name, title string, schema json.RawMessage) (Collection, error) {
	return s.declare(ctx, tx, declaration{Kind: name, Title: title, Schema: schema}.whole())
}

func (s *Records) getCollection(ctx context.Context, tx *tenant.Tx, in getCollectionIn) (feature.Item[Collection], error) {
	c, err := s.load(ctx, tx, in.Kind)
	if err != nil {
		return feature.Item[Collection]{}, err
	}
	tx.Touch(c.ID)
	return feature.Item[Collection]{ETag: feature.VersionTag(uint64(c.Version)), Body: c.view}, nil
}

func (s *Records) listCollections(ctx context.Context, tx *tenant.Tx, in listCollectionsIn) (feature.List[Collection], error) {
	const query = "collections"
	after, err := position(ctx, tx, query, in.Cursor)
	if err != nil {
		return feature.List[Collection]{}, err
	}
	n := limit(in.Listing)
	found, err := s.listPage(ctx, tx, after, n+1)
	if err != nil {
		return feature.List[Collection]{}, err
	}
	items := make([]Collection, len(found))
	for i, c := range found {
		items[i] = c.view
	}
	items, next, err := page(ctx, tx, query, items, n, func(c Collection) uuid.UUID { return c.ID.UUID() })
	for _, c := range items {
		tx.Touch(c.ID)
	}
	return feature.List[Collection]{Body: feature.NewPage(items, next)}, err
}

// listPage reads up to n collections after a position.
func (s *Records) listPage(ctx context.Context, tx *tenant.Tx, after uuid.UUID, n int) ([]collection, error) {
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT id, version, body, created_at, created_by FROM collection WHERE org_id = $1 AND id > $2 ORDER BY id LIMIT $3`),
		tx.Org().UUID(), after, n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []collection
	for rows.Next() {
		var r collectionRow
		if err := rows.Scan(r.dest()...); err != nil {
			return nil, err
		}
		c, err := s.openCollection(ctx, tx, r)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, rows.Err()
}

// position opens a cursor: the identifier after which the page begins.
func position(ctx context.Context, tx *tenant.Tx, query, cursor string) (uuid.UUID, error) {
	b, err := tx.OpenCursor(ctx, query, cursor)
	if err != nil || b == nil {
		return uuid.Nil, err
	}
	return uuid.FromBytes(b)
}

// limit is how many items a page may hold. Calls inside the process have no
// default of their own.
func limit(l feature.Listing) int {
	if l.Limit <= 0 {
		return 50
	}
	return min(l.Limit, 200)
}

// page cuts the one row that was read too many, and seals the way to it.
func page[T any](ctx context.Context, tx *tenant.Tx, query string, items []T, limit int, key func(T) uuid.UUID) ([]T, string, error) {
	if len(items) <= limit {
		return items, "", nil
	}
	items = items[:limit]
	last := key(items[limit-1])
	next, err := tx.SealCursor(ctx, query, last[:])
	return items, next, err
}
