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
	page   int // rows of an export's transaction

	mu     sync.Mutex
	byOrg  map[id.Org]map[string]collection // ISO-6: an organization's entries are reached by its own id alone
	cached int
}

// New returns the feature. Bulk work and exports open their own transactions
// through store.
func New(store *tenant.Store) *Records {
	return &Records{tenant: store, page: exportPage, byOrg: map[id.Org]map[string]collection{}}
}

// collection is what a request needs of a collection.
type collection struct {
	ID      id.Collection
	Kind    string
	Version int64
	Schema  *kind.Schema
	view    Collection
}

const (
	tableCollection = "collection"
	tokenCollection = "collection"
	// maxCached bounds the collections in memory. Beyond it the cache starts
	// anew: a miss costs one query.
	maxCached = 10_000
)

// sealedCollection is the sealed part of a collection.
type sealedCollection struct {
	Kind   string          `json:"kind"`
	Title  string          `json:"title"`
	Schema json.RawMessage `json:"schema"`
}

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
	return c, ok
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
	var d sealedCollection
	if err := json.Unmarshal(plain.Reveal(), &d); err != nil {
		return collection{}, errors.New("records: a collection's declaration is not readable")
	}
	schema, err := s.kinds.Schema(tx.Org(), d.Schema, "/schema")
	if err != nil {
		return collection{}, err
	}
	return collection{ID: id.CollectionOf(r.id), Kind: d.Kind, Version: r.version, Schema: schema, view: Collection{ID: id.CollectionOf(r.id), Kind: d.Kind,
		Title: d.Title, Schema: d.Schema, Version: uint64(r.version), CreatedAt: r.at.UTC(), CreatedBy: id.PersonOf(r.by)}}, nil
}

func (s *Records) createCollection(ctx context.Context, tx *tenant.Tx, in createCollectionIn) (feature.Created[Collection], error) {
	c, err := s.Declare(ctx, tx, in.Body.Kind, in.Body.Title, in.Body.Schema)
	if err != nil {
		return feature.Created[Collection]{}, err
	}
	return feature.Created[Collection]{Location: "/v1/orgs/" + tx.Org().String() + "/collections/" + c.Kind, ETag: feature.VersionTag(c.Version), Body: c}, nil
}

// Declare makes a collection. An empty schema accepts any object.
func (s *Records) Declare(ctx context.Context, tx *tenant.Tx, name, title string, schema json.RawMessage) (Collection, error) {
	if _, err := kind.ParseName(name, "/kind"); err != nil {
		return Collection{}, err
	}
	if len(schema) == 0 {
		schema = json.RawMessage("{}")
	}
	if title == "" {
		title = name
	}
	if _, err := s.kinds.Schema(tx.Org(), schema, "/schema"); err != nil {
		return Collection{}, err
	}
	c := Collection{ID: id.NewCollection(), Kind: name, Title: title, Schema: schema, Version: 1, CreatedAt: tx.Now(), CreatedBy: tx.Actor().Person()}
	plain, err := json.Marshal(sealedCollection{name, title, schema})
	if err != nil {
		return Collection{}, err
	}
	leaf, err := tx.NewLeaf(ctx)
	if err != nil {
		return Collection{}, err
	}
	body, err := tx.Seal(ctx, tableCollection, c.ID.UUID(), 1, seal.Section{Name: "declaration", Leaf: leaf, Plain: seal.NewSecret(plain)})
	if err != nil {
		return Collection{}, err
	}
	token, err := tx.Hash(ctx, tokenCollection, []byte(name))
	if err != nil {
		return Collection{}, err
	}
	tx.Touch(c.ID)
	_, err = tx.Exec(ctx, tenant.Lit(`INSERT INTO collection (org_id, id, token, leaf, version, body, created_at, created_by) VALUES ($1, $2, $3, $4, 1, $5, $6, $7)`),
		tx.Org().UUID(), c.ID.UUID(), token, int64(leaf), body, c.CreatedAt, c.CreatedBy.UUID())
	if tenant.IsUnique(err, "collection_token_key") {
		return Collection{}, fault.At(fault.Conflict, "/kind", "kind_exists", "a collection of this name exists already")
	}
	return c, err
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
