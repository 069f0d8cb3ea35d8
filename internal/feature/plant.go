package feature

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
)

// Planted is a record that a check has stored, through the API.
type Planted struct {
	In         CanaryOrg
	Kind       string
	Collection id.Collection
	ID         id.Record
	Version    uint64
	Content    json.RawMessage
	Mark       Mark // stands in the content and nowhere else
}

// Path is the record's in the API, with what is below it.
func (p Planted) Path(rest string) string {
	return p.In.Path("/collections/", p.Kind, "/records/", p.ID.String(), rest)
}

// CanaryKind is the collection that checks keep their records in. Every canary
// organization has one of this name.
const CanaryKind = "canary"

// Plant stores a record with a mark in each organization, runs fn and takes
// the records away again, whatever happened. visibility is organization or
// private.
func (e Env) Plant(ctx context.Context, visibility string, orgs []CanaryOrg, fn func([]Planted) (string, error)) (evidence string, err error) {
	if len(orgs) == 0 {
		return "", errors.New("there is no canary organization")
	}
	var all []Planted
	defer func() {
		for _, p := range all {
			err = errors.Join(err, e.uproot(ctx, p))
		}
		if err != nil {
			evidence = ""
		}
	}()
	for _, org := range orgs {
		p, err := e.plant(ctx, org, visibility)
		if err != nil {
			return "", fmt.Errorf("placement %s: store a record: %w", org.Placement, err)
		}
		all = append(all, p)
	}
	return fn(all)
}

func (e Env) plant(ctx context.Context, org CanaryOrg, visibility string) (Planted, error) {
	c, err := e.Collection(ctx, org, CanaryKind, `{"type":"object"}`)
	if err != nil {
		return Planted{}, err
	}
	p := Planted{In: org, Kind: CanaryKind, Collection: c, Mark: NewMark()}
	p.Content = json.RawMessage(`{"canary":"` + p.Mark.Text + `","n":1.50}`)
	var made struct {
		ID      id.Record
		Version uint64
	}
	_, err = e.Want(ctx, org.Token, http.MethodPost, org.Path("/collections/", CanaryKind, "/records"),
		map[string]any{"content": p.Content, "visibility": visibility}, http.StatusCreated, &made)
	p.ID, p.Version = made.ID, made.Version
	return p, err
}

// Collection declares a collection in a canary organization, unless it is
// there, and returns its identifier.
func (e Env) Collection(ctx context.Context, org CanaryOrg, kind, schema string) (id.Collection, error) {
	var c struct{ ID id.Collection }
	a, err := e.Call(ctx, org.Token, http.MethodGet, org.Path("/collections/", kind), nil)
	switch {
	case err != nil:
		return c.ID, err
	case a.Status == http.StatusOK:
		return c.ID, json.Unmarshal(a.Body, &c)
	}
	_, err = e.Want(ctx, org.Token, http.MethodPost, org.Path("/collections"), map[string]any{"kind": kind, "schema": json.RawMessage(schema)}, http.StatusCreated, &c)
	return c.ID, err
}

// Uproot takes a record away that a check has stored by itself.
func (e Env) Uproot(ctx context.Context, org CanaryOrg, rec id.Record) error {
	return e.uproot(ctx, Planted{In: org, ID: rec})
}

// uproot removes a record with all its traces, from the trash too: checks run
// often, and what they stored is nobody's.
func (e Env) uproot(ctx context.Context, p Planted) error {
	ctx = context.WithoutCancel(ctx)
	_, _, err := tenant.Do(ctx, e.Store, p.In.Request(policy.RecordDelete), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		tx.Touch(p.ID)
		_, err := tx.Exec(ctx, tenant.Lit(`WITH a AS (DELETE FROM link WHERE org_id = $1 AND (from_id = $2 OR to_id = $2)), b AS (DELETE FROM record_version WHERE org_id = $1 AND record_id = $2),
 c AS (DELETE FROM trash WHERE org_id = $1 AND id = $2), d AS (DELETE FROM record_grant WHERE org_id = $1 AND record_id = $2),
 e AS (DELETE FROM record_subject WHERE org_id = $1 AND record_id = $2) DELETE FROM record WHERE org_id = $1 AND id = $2`), tx.Org().UUID(), p.ID.UUID())
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("take a canary away: %w", err)
	}
	return nil
}

// Undeclare removes a collection that a check has declared, and whatever is
// left in it.
func (e Env) Undeclare(ctx context.Context, org CanaryOrg, c id.Collection) error {
	ctx = context.WithoutCancel(ctx)
	_, _, err := tenant.Do(ctx, e.Store, org.Request(policy.CollectionCreate), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		tx.Touch(c)
		_, err := tx.Exec(ctx, tenant.Lit(`WITH a AS (SELECT id FROM record WHERE org_id = $1 AND collection_id = $2 UNION ALL SELECT id FROM trash WHERE org_id = $1 AND collection_id = $2),
 b AS (DELETE FROM record_version v USING a WHERE v.org_id = $1 AND v.record_id = a.id), c AS (DELETE FROM link l USING a WHERE l.org_id = $1 AND (l.from_id = a.id OR l.to_id = a.id)),
 d AS (DELETE FROM record_grant g USING a WHERE g.org_id = $1 AND g.record_id = a.id), e AS (DELETE FROM record_subject s USING a WHERE s.org_id = $1 AND s.record_id = a.id),
 f AS (DELETE FROM trash WHERE org_id = $1 AND collection_id = $2) DELETE FROM record WHERE org_id = $1 AND collection_id = $2`), tx.Org().UUID(), c.UUID())
		if err == nil {
			_, err = tx.Exec(ctx, tenant.Lit(`DELETE FROM collection WHERE org_id = $1 AND id = $2`), tx.Org().UUID(), c.UUID())
		}
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("take a canary collection away: %w", err)
	}
	return nil
}

// Readable lists the tables that the role of an organization in a placement
// may read: those of its schema, with bookkeeping left out.
func Readable(tables []platform.Table, placement string) (out []string) {
	home := "pool"
	if placement == platform.PlacementSchema {
		home = platform.OwnSchema
	}
	for _, t := range tables {
		if t.Schema == home && t.Name != "goose_db_version" && !slices.Contains(out, t.Name) {
			out = append(out, t.Name)
		}
	}
	return out
}
