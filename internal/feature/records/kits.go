package records

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/kind"
	"strongroom/internal/store/tenant"
)

// declaration is what a collection holds, as the kind package knows it.
type declaration kind.Declaration

// whole fills in what a declaration may leave out.
func (d declaration) whole() kind.Declaration {
	if len(d.Schema) == 0 {
		d.Schema = json.RawMessage("{}")
	}
	if d.Title == "" {
		d.Title = d.Kind
	}
	if d.Visibility == "" {
		d.Visibility = kind.ForOrganization
	}
	if d.Relations == nil {
		d.Relations = kind.Relations{}
	}
	return kind.Declaration(d)
}

func (b CollectionBody) declaration(name string) kind.Declaration {
	return declaration{Kind: name, Title: b.Title, Description: b.Description, Schema: b.Schema, Visibility: b.Visibility, Relations: b.Relations}.whole()
}

func (b NewCollection) declaration() kind.Declaration { return b.CollectionBody.declaration(b.Kind) }

// sealedDeclaration is the sealed part of a collection. One without a schema
// follows its kit: what it declares stands in the product's file. Those of the
// first release have kind, title and schema only.
type sealedDeclaration struct {
	Kind        string          `json:"kind"`
	Title       string          `json:"title,omitempty"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema,omitempty"`
	Visibility  string          `json:"visibility,omitempty"`
	Relations   kind.Relations  `json:"relations,omitempty"`
	Kit         string          `json:"kit,omitempty"`
	KitVersion  int             `json:"kit_version,omitempty"`
	UpdatedAt   *time.Time      `json:"updated_at,omitempty"`
	UpdatedBy   id.Person       `json:"updated_by,omitzero"`
}

func (d sealedDeclaration) follows() bool { return d.Kit != "" && len(d.Schema) == 0 }

// toStore takes over a declaration, or lets it follow its kit where it says what
// the kit does.
func (s *Records) toStore(d kind.Declaration, kit string, version int) sealedDeclaration {
	if k, ok := s.kitKind(kit, d.Kind); ok && k.Declaration.Equal(d) {
		return sealedDeclaration{Kind: d.Kind, Kit: kit}
	}
	return sealedDeclaration{Kind: d.Kind, Title: d.Title, Description: d.Description, Schema: d.Schema, Visibility: d.Visibility, Relations: d.Relations, Kit: kit, KitVersion: version}
}

// kit finds a kit of the product.
func (s *Records) kit(name string) (kind.Kit, bool) {
	i := slices.IndexFunc(s.kits, func(k kind.Kit) bool { return k.Name == name })
	if i < 0 {
		return kind.Kit{}, false
	}
	return s.kits[i], true
}

func (s *Records) kitKind(kit, name string) (kind.KitKind, bool) {
	k, ok := s.kit(kit)
	if !ok {
		return kind.KitKind{}, false
	}
	return k.Of(name)
}

// effective returns what a collection declares now, and the version of its kit
// that it follows or was changed from.
func (s *Records) effective(d sealedDeclaration) (kind.Declaration, int, error) {
	if !d.follows() {
		return declaration{Kind: d.Kind, Title: d.Title, Description: d.Description, Schema: d.Schema, Visibility: d.Visibility, Relations: d.Relations}.whole(), d.KitVersion, nil
	}
	k, ok := s.kit(d.Kit)
	n, found := k.Of(d.Kind)
	if !ok || !found {
		return kind.Declaration{}, 0, errors.New("records: a collection follows a kit that this version of the product does not have")
	}
	return declaration(n.Declaration).whole(), k.Version, nil
}

// errPooled says why an organization of the pool does not get a collection.
var errPooled = fault.At(fault.Conflict, "/kind", "pooled_measurements",
	"an organization that shares its tables with others holds no measurement data: it needs a schema of its own")

// refuseMeasurements keeps measurement kinds out of the pool (ISO-1).
func refuseMeasurements(tx *tenant.Tx, d kind.Declaration) error {
	if tx.Pooled() && kind.Measures(d) {
		return errPooled
	}
	return nil
}

func (s *Records) declare(ctx context.Context, tx *tenant.Tx, d kind.Declaration) (Collection, error) {
	if _, err := d.Check(); err != nil {
		return Collection{}, err
	}
	if err := refuseMeasurements(tx, d); err != nil {
		return Collection{}, err
	}
	c := Collection{ID: id.NewCollection(), Kind: d.Kind, Title: d.Title, Description: d.Description, Schema: d.Schema, Visibility: d.Visibility, Relations: d.Relations,
		Version: 1, CreatedAt: tx.Now(), CreatedBy: tx.Actor().Person(), UpdatedAt: tx.Now(), UpdatedBy: tx.Actor().Person()}
	made, err := s.insertCollection(ctx, tx, c.ID, s.toStore(d, "", 0))
	if err == nil && !made {
		err = fault.At(fault.Conflict, "/kind", "kind_exists", "a collection of this name exists already")
	}
	return c, err
}

// insertCollection stores a declaration, unless there is a collection of that
// name.
func (s *Records) insertCollection(ctx context.Context, tx *tenant.Tx, c id.Collection, d sealedDeclaration) (made bool, err error) {
	leaf, err := tx.NewLeaf(ctx)
	if err != nil {
		return false, err
	}
	body, err := sealDeclaration(ctx, tx, c, 1, leaf, d)
	if err != nil {
		return false, err
	}
	token, err := tx.Hash(ctx, tokenCollection, []byte(d.Kind))
	if err != nil {
		return false, err
	}
	n, err := tx.Exec(ctx, tenant.Lit(`INSERT INTO collection (org_id, id, token, leaf, version, body, created_at, created_by) VALUES ($1, $2, $3, $4, 1, $5, $6, $7)
 ON CONFLICT ON CONSTRAINT collection_token_key DO NOTHING`),
		tx.Org().UUID(), c.UUID(), token, int64(leaf), body, tx.Now(), tx.Actor().Person().UUID())
	if n == 1 {
		tx.Touch(c)
	}
	return n == 1, err
}

func sealDeclaration(ctx context.Context, tx *tenant.Tx, c id.Collection, version uint64, leaf keytree.Leaf, d sealedDeclaration) (seal.Sealed, error) {
	plain, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	return tx.Seal(ctx, tableCollection, c.UUID(), version, seal.Section{Name: "declaration", Leaf: leaf, Plain: seal.NewSecret(plain)})
}

// updateCollection changes a declaration.
//
// It locks the collection's row first. Whoever stores a record holds that row
// against such a lock until the record is there (FOR KEY SHARE), so from here
// to the commit nothing comes in under the old schema, and what came in before
// is seen by the examination.
func (s *Records) updateCollection(ctx context.Context, tx *tenant.Tx, in updateCollectionIn) (feature.Item[Collection], error) {
	none := feature.Item[Collection]{}
	if in.Body.Kind != "" && in.Body.Kind != in.Kind {
		return none, fault.At(fault.Invalid, "/kind", "const", "a collection keeps its name")
	}
	r, leaf, err := s.lockCollection(ctx, tx, in.Kind)
	if err != nil {
		return none, err
	}
	now, err := s.openCollection(ctx, tx, r)
	if err != nil {
		return none, err
	}
	tx.Touch(now.ID)
	if uint64(now.Version) != in.Match.Version() {
		return none, fault.At(fault.Stale, "If-Match", "stale", "the collection has changed since that version")
	}
	d := in.Body.declaration(in.Kind)
	schema, err := d.Check()
	if err != nil {
		return none, err
	}
	if err := refuseMeasurements(tx, d); err != nil {
		return none, err
	}
	if !kind.Widens(now.view.Schema, d.Schema) {
		if err := s.examine(ctx, tx, now.ID, schema); err != nil {
			return none, err
		}
	}
	version := now.view.KitVersion
	next := s.toStore(d, now.view.Kit, version)
	at := tx.Now()
	next.UpdatedAt, next.UpdatedBy = &at, tx.Actor().Person()
	body, err := sealDeclaration(ctx, tx, now.ID, uint64(now.Version+1), leaf, next)
	if err != nil {
		return none, err
	}
	if _, err := tx.Exec(ctx, tenant.Lit(`UPDATE collection SET version = $3, body = $4 WHERE org_id = $1 AND id = $2`), tx.Org().UUID(), r.id, now.Version+1, body); err != nil {
		return none, err
	}
	s.forget(tx.Org(), in.Kind)
	r.version, r.body = now.Version+1, body
	out, err := s.openCollection(ctx, tx, r)
	return feature.Item[Collection]{ETag: feature.VersionTag(out.view.Version), Body: out.view}, err
}

// lockCollection reads a collection and keeps writers out until the end of the
// transaction.
func (s *Records) lockCollection(ctx context.Context, tx *tenant.Tx, name string) (r collectionRow, leaf keytree.Leaf, err error) {
	notFound := fault.New(fault.NotFound, "no such collection")
	if _, err := kind.ParseName(name, "kind"); err != nil {
		return r, 0, notFound
	}
	token, err := tx.Hash(ctx, tokenCollection, []byte(name))
	if err != nil {
		return r, 0, err
	}
	var l int64
	err = tx.QueryRow(ctx, tenant.Lit(`SELECT id, version, body, created_at, created_by, leaf FROM collection WHERE org_id = $1 AND token = $2 FOR UPDATE`),
		tx.Org().UUID(), token).Scan(append(r.dest(), &l)...)
	if errors.Is(err, tenant.ErrNoRows) {
		err = notFound
	}
	return r, keytree.Leaf(l), err
}

const (
	// examinePage is how many records are read at a time, and examineFor how
	// long a change may keep a collection's writers waiting; the capability of
	// a transaction ends 20 seconds later.
	examinePage = 500
	examineFor  = 40 * time.Second
	maxMisfits  = 20
)

// examine holds a schema against every record of a collection, living and in
// the trash: whatever is taken back out must fit as well.
//
// Records that are private to somebody else stop every change that may break
// them, unseen: if they were looked at, whoever may change a schema could ask
// by one after the other what is in them.
func (s *Records) examine(ctx context.Context, tx *tenant.Tx, c id.Collection, schema *kind.Schema) error {
	var hides bool
	if err := tx.QueryRow(ctx, tenant.Lit(`SELECT sr.hides($1)`), c.UUID()).Scan(&hides); err != nil {
		return err
	}
	if hides {
		return fault.At(fault.Conflict, "/schema", "private_records",
			"the collection holds records that are private to other members, so its schema changes only to one that surely accepts whatever the present one does")
	}
	var e examination
	// The living first: what goes to the trash meanwhile is met there, and what
	// comes back waits for the lock.
	for _, trashed := range []bool{false, true} {
		var after uuid.UUID
		for more := true; more; {
			if time.Since(tx.Now()) > examineFor {
				return fault.At(fault.Conflict, "/schema", "too_many_records", "the collection holds more records than can be checked while its writers wait; change it so that it only allows more")
			}
			var err error
			if after, more, err = e.page(ctx, tx, c, schema, trashed, after); err != nil {
				return err
			}
		}
	}
	tx.Count("examined", e.read)
	return e.result(tx)
}

// examination is what came of it so far.
type examination struct {
	read, misfits int64
	named         []id.Record
}

// page looks at some records after a position. It reads as many as their
// bodies allow, as a list does.
func (e *examination) page(ctx context.Context, tx *tenant.Tx, c id.Collection, schema *kind.Schema, trashed bool, after uuid.UUID) (last uuid.UUID, more bool, err error) {
	from := tenant.Lit(`SELECT s.id, s.version, s.body, s.found FROM (
  SELECT p.id, p.version, p.body, count(*) OVER () AS found, sum(octet_length(p.body)) OVER (ORDER BY p.id) - octet_length(p.body) AS before
  FROM (SELECT id, version, body FROM record WHERE org_id = $1 AND collection_id = $2 AND id > $3 ORDER BY id LIMIT $4) p) s
 WHERE s.before < $5 ORDER BY s.id`)
	if trashed {
		from = tenant.Lit(`SELECT s.id, s.version, s.body, s.found FROM (
  SELECT p.id, p.version, p.body, count(*) OVER () AS found, sum(octet_length(p.body)) OVER (ORDER BY p.id) - octet_length(p.body) AS before
  FROM (SELECT id, version, body FROM trash WHERE org_id = $1 AND collection_id = $2 AND kind = 'record' AND id > $3 ORDER BY id LIMIT $4) p) s
 WHERE s.before < $5 ORDER BY s.id`)
	}
	rows, err := tx.Query(ctx, from, tx.Org().UUID(), c.UUID(), after, examinePage, maxPageBytes)
	if err != nil {
		return after, false, err
	}
	defer rows.Close()
	var n, found int64
	last = after
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.id, &r.version, &r.body, &found); err != nil {
			return last, false, err
		}
		n++
		last = r.id
		fits, err := stillFits(ctx, tx, r, schema)
		if err != nil {
			return last, false, err
		}
		e.read++
		if fits {
			continue
		}
		if e.misfits++; len(e.named) < maxMisfits {
			e.named = append(e.named, id.RecordOf(r.id))
		}
	}
	return last, found > n || n == examinePage, rows.Err()
}

// stillFits holds one stored record against a schema. One that was erased this
// moment has no content to fit.
func stillFits(ctx context.Context, tx *tenant.Tx, r row, schema *kind.Schema) (bool, error) {
	o, err := openParts(ctx, tx, r.id, r.version, r.body)
	if errors.Is(err, errErased) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	content, err := kind.ParseContent(o.text, "")
	if err != nil {
		return false, errors.New("records: a stored record is not readable")
	}
	err = schema.Validate(content, "")
	if err == nil || !fault.Is(err, fault.Invalid) {
		return err == nil, err
	}
	// What was a person's and is forgotten cannot be asked for.
	for _, d := range fault.From(err).Details {
		if d.Code != "required" || !slices.Contains(o.missing, d.Pointer) {
			return false, nil
		}
	}
	return true, nil
}

func (e *examination) result(tx *tenant.Tx) error {
	if e.misfits == 0 {
		return nil
	}
	f := fault.New(fault.Conflict, "%d stored records do not fit the new schema", e.misfits)
	for _, rec := range e.named {
		tx.Touch(rec)
		f.Details = append(f.Details, fault.Detail{Pointer: "/schema", Code: "records_do_not_fit", Detail: rec.String()})
	}
	return f
}

func (s *Records) listKits(ctx context.Context, tx *tenant.Tx, _ listKitsIn) (feature.List[Kit], error) {
	var items []Kit
	for _, k := range s.kits {
		v, err := s.kitView(ctx, tx, k)
		if err != nil {
			return feature.List[Kit]{}, err
		}
		items = append(items, v)
	}
	return feature.List[Kit]{Body: feature.NewPage(items, "")}, nil
}

// kitView says what an organization has of a kit.
func (s *Records) kitView(ctx context.Context, tx *tenant.Tx, k kind.Kit) (Kit, error) {
	v := Kit{Kit: k.Name, Title: k.Title, Description: k.Description, Version: k.Version, Roles: k.Roles, Installed: true}
	there, err := s.named(ctx, tx, k)
	if err != nil {
		return v, err
	}
	for _, n := range k.Kinds {
		c, ok := there[n.Kind]
		v.Collections = append(v.Collections, KitCollection{Kind: n.Kind, Title: n.Declaration.Title, Measurement: n.Measurement,
			Installed: ok && c.Kit == k.Name, Changed: ok && (c.Kit != k.Name || c.Changed)})
		v.Installed = v.Installed && ok
		if ok {
			tx.Touch(c.ID)
		}
	}
	return v, nil
}

// named finds the collections that have the names of a kit's kinds.
func (s *Records) named(ctx context.Context, tx *tenant.Tx, k kind.Kit) (map[string]Collection, error) {
	tokens := make([][]byte, len(k.Kinds))
	for i, n := range k.Kinds {
		var err error
		if tokens[i], err = tx.Hash(ctx, tokenCollection, []byte(n.Kind)); err != nil {
			return nil, err
		}
	}
	rows, err := tx.Query(ctx, tenant.Lit(`SELECT id, version, body, created_at, created_by FROM collection WHERE org_id = $1 AND token = ANY ($2::bytea[])`), tx.Org().UUID(), tokens)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]Collection{}
	for rows.Next() {
		var r collectionRow
		if err := rows.Scan(r.dest()...); err != nil {
			return nil, err
		}
		c, err := s.openCollection(ctx, tx, r)
		if err != nil {
			return nil, err
		}
		out[c.Kind] = c.view
	}
	return out, rows.Err()
}

type installKitOut struct{ Body Kit }

// installKit starts the collections of a kit that are not there. One of the
// same name stays as it is, whoever declared it.
func (s *Records) installKit(ctx context.Context, tx *tenant.Tx, in installKitIn) (installKitOut, error) {
	k, ok := s.kit(in.Kit)
	if !ok {
		return installKitOut{}, fault.New(fault.NotFound, "no such kit")
	}
	for _, n := range k.Kinds {
		if err := refuseMeasurements(tx, n.Declaration); err != nil {
			return installKitOut{}, fault.At(fault.Conflict, "kit", "pooled_measurements", errPooled.Public)
		}
	}
	for _, n := range k.Kinds {
		if _, err := s.insertCollection(ctx, tx, id.NewCollection(), sealedDeclaration{Kind: n.Kind, Kit: k.Name}); err != nil {
			return installKitOut{}, err
		}
	}
	v, err := s.kitView(ctx, tx, k)
	return installKitOut{Body: v}, err
}
