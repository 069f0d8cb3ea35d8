package records

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/store/tenant"
)

// personal are the clauses about what belongs to one person.
func personal() feature.Promise {
	return feature.Promise{ID: "DATA-5", Clauses: []feature.Clause{
		{Name: "private", Tag: feature.Canary, Check: provePrivate},
		{Name: "shared", Tag: feature.Canary, Check: proveShared},
		{Name: "sections", Tag: feature.Canary, Check: proveSections},
	}}
}

// inEach runs a check in each canary organization, with a collection that is
// private unless its author says otherwise, and takes everything away again.
func inEach(ctx context.Context, env feature.Env, schema string, fn func(org, peer feature.CanaryOrg, kind string) (int, error)) (n int, err error) {
	if len(env.Canaries) == 0 || len(env.Peers) != len(env.Canaries) {
		return 0, errors.New("there is not another member for each canary organization")
	}
	for i, org := range env.Canaries {
		peer := env.Peers[i]
		if peer.Org != org.Org || peer.Actor.Person() == org.Actor.Person() {
			return 0, errors.New("the other member of a canary organization is none")
		}
		m, err := inOne(ctx, env, org, peer, schema, fn)
		if err != nil {
			return 0, fmt.Errorf("placement %s: %w", org.Placement, err)
		}
		n += m
	}
	return n, nil
}

func inOne(ctx context.Context, env feature.Env, org, peer feature.CanaryOrg, schema string, fn func(org, peer feature.CanaryOrg, kind string) (int, error)) (n int, err error) {
	kind := "k-" + feature.NewMark().Text
	var c struct{ ID id.Collection }
	_, err = env.Want(ctx, org.Token, http.MethodPost, org.Path("/collections"), map[string]any{"kind": kind, "schema": json.RawMessage(schema), "visibility": feature.ForOwner}, http.StatusCreated, &c)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, env.Undeclare(ctx, org, c.ID)) }()
	return fn(org, peer, kind)
}

type planted struct {
	ID      id.Record
	Version uint64
	Mark    feature.Mark `json:"-"`
	path    string
}

// plant stores a record without a word on who sees it.
func plant(ctx context.Context, env feature.Env, org feature.CanaryOrg, kind string, links ...NewLink) (p planted, err error) {
	mark := feature.NewMark()
	_, err = env.Want(ctx, org.Token, http.MethodPost, org.Path("/collections/", kind, "/records"),
		map[string]any{"content": map[string]string{"name": mark.Text}, "links": links}, http.StatusCreated, &p)
	p.Mark, p.path = mark, org.Path("/collections/", kind, "/records/", p.ID.String())
	return p, err
}

// hidden holds that a colleague finds nothing of a record in any way: by its
// identifier, in lists, and with SQL that has no condition.
func hidden(ctx context.Context, env feature.Env, org, peer feature.CanaryOrg, kind string, p planted) (tries int, err error) {
	for _, c := range []struct {
		method, path string
		body         any
		status       int
	}{
		{http.MethodGet, p.path, nil, http.StatusNotFound},
		{http.MethodGet, p.path + "/history", nil, http.StatusNotFound},
		{http.MethodGet, p.path + "/links", nil, http.StatusNotFound},
		{http.MethodGet, p.path + "/sharing", nil, http.StatusNotFound},
		{http.MethodPut, p.path + "/sharing", Sharing{Visibility: feature.ForOrganization, People: []id.Person{}}, http.StatusNotFound},
		{http.MethodGet, org.Path("/collections/", kind, "/records?limit=200"), nil, http.StatusOK},
		{http.MethodGet, org.Path("/trash?limit=200"), nil, http.StatusOK},
	} {
		a, err := env.Want(ctx, peer.Token, c.method, c.path, c.body, c.status, nil)
		if err != nil {
			return tries, fmt.Errorf("another member's private record: %w", err)
		}
		if p.Mark.In(a.Body) {
			return tries, errors.New("a list shows another member's private record")
		}
		tries++
	}
	n, err := rowsOf(ctx, env, peer, p.ID)
	if err == nil && n > 0 {
		err = fmt.Errorf("SQL of a colleague reaches %d rows of another member's private record", n)
	}
	return tries + 1, err
}

// rowsOf counts the rows of a record that a member's SQL finds.
func rowsOf(ctx context.Context, env feature.Env, who feature.CanaryOrg, rec id.Record) (n int64, err error) {
	_, _, err = tenant.Do(ctx, env.Store, who.Request(policy.RecordRead), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		return struct{}{}, tx.QueryRow(ctx, tenant.Lit(`SELECT (SELECT count(*) FROM record WHERE id = $1) + (SELECT count(*) FROM record_version WHERE record_id = $1) + (SELECT count(*) FROM trash WHERE id = $1)
 + (SELECT count(*) FROM link WHERE from_id = $1 OR to_id = $1) + (SELECT count(*) FROM record_grant WHERE record_id = $1) + (SELECT count(*) FROM record_subject WHERE record_id = $1)`), rec.UUID()).Scan(&n)
	})
	return n, err
}

// provePrivate stores records in a collection of private ones and lets a
// colleague who holds every role go after them, alive and in the trash.
func provePrivate(ctx context.Context, env feature.Env) (string, error) {
	tries, err := inEach(ctx, env, `{"properties":{"name":{"type":"string","x-strongroom":{"title":true}}}}`, func(org, peer feature.CanaryOrg, kind string) (int, error) {
		p, err := plant(ctx, env, org, kind)
		if err != nil {
			return 0, err
		}
		var now struct{ Visibility string }
		if _, err := env.Want(ctx, org.Token, http.MethodGet, p.path, nil, http.StatusOK, &now); err != nil {
			return 0, err
		}
		if now.Visibility != feature.ForOwner {
			return 0, errors.New("a record of a private collection is not private")
		}
		if _, err := env.Want(ctx, org.Token, http.MethodPut, p.path, map[string]any{"content": map[string]string{"name": p.Mark.Text}}, http.StatusOK, nil, "If-Match", `"1"`); err != nil {
			return 0, err
		}
		alive, err := hidden(ctx, env, org, peer, kind, p)
		if err != nil {
			return 0, err
		}
		if _, err := env.Want(ctx, org.Token, http.MethodDelete, p.path, nil, http.StatusNoContent, nil, "If-Match", `"2"`); err != nil {
			return 0, err
		}
		trashed, err := hidden(ctx, env, org, peer, kind, p)
		if err != nil {
			return 0, fmt.Errorf("in the trash: %w", err)
		}
		a, err := env.Want(ctx, org.Token, http.MethodGet, org.Path("/trash?limit=200"), nil, http.StatusOK, nil)
		if err == nil && !p.Mark.In(a.Body) {
			err = errors.New("its owner does not find her record in the trash")
		}
		return alive + trashed, err
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("records that say nothing of who sees them, in a collection of private ones, alive and in the trash: a colleague who holds every role found none in %d tries, by the API and by SQL without a condition; their owner did", tries), nil
}

// proveShared gives a record to a colleague and takes it back.
func proveShared(ctx context.Context, env feature.Env) (string, error) {
	steps, err := inEach(ctx, env, `{}`, func(org, peer feature.CanaryOrg, kind string) (int, error) {
		p, err := plant(ctx, env, org, kind)
		if err != nil {
			return 0, err
		}
		other, err := plant(ctx, env, org, kind)
		if err != nil {
			return 0, err
		}
		share := func(status int, people ...id.Person) error {
			_, err := env.Want(ctx, org.Token, http.MethodPut, p.path+"/sharing", Sharing{Visibility: feature.ForOwner, People: append([]id.Person{}, people...)}, status, nil)
			return err
		}
		if err := share(http.StatusUnprocessableEntity, strangerTo(env, org)); err != nil {
			return 0, fmt.Errorf("somebody who is no member: %w", err)
		}
		if err := share(http.StatusOK, peer.Actor.Person()); err != nil {
			return 0, err
		}
		a, err := env.Want(ctx, peer.Token, http.MethodGet, p.path, nil, http.StatusOK, nil)
		if err == nil && !p.Mark.In(a.Body) {
			err = errors.New("a shared record came back with another content")
		}
		if err == nil {
			_, err = env.Want(ctx, peer.Token, http.MethodPut, p.path+"/sharing", Sharing{Visibility: feature.ForOrganization, People: []id.Person{}}, http.StatusForbidden, nil)
		}
		if err != nil {
			return 0, err
		}
		n, err := hidden(ctx, env, org, peer, kind, other)
		if err != nil {
			return 0, fmt.Errorf("beside a shared record: %w", err)
		}
		if err := share(http.StatusOK); err != nil {
			return 0, err
		}
		m, err := hidden(ctx, env, org, peer, kind, p)
		if err != nil {
			return 0, fmt.Errorf("no more shared: %w", err)
		}
		return 5 + n + m, nil
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("a private record was given to a colleague, who read it and could not pass it on; another one beside it stayed hidden, and so did this one once it was taken back (%d steps, by the API and by SQL); nobody outside the organization can be given one", steps), nil
}

// strangerTo is a member of another organization.
func strangerTo(env feature.Env, org feature.CanaryOrg) id.Person {
	for _, c := range env.Strange {
		if c.Org != org.Org {
			return c.Actor.Person()
		}
	}
	return id.Person{}
}

// without are keys of which one leaf is destroyed.
type without struct {
	seal.Keys
	leaf keytree.Leaf
}

func (w without) LeafKey(ctx context.Context, generation uint32, leaf keytree.Leaf) (keytree.Key, error) {
	if leaf == w.leaf {
		return keytree.Key{}, fmt.Errorf("records: check: %w", keytree.ErrPunctured)
	}
	return w.Keys.LeafKey(ctx, generation, leaf)
}

// proveSections stores a person's record, and looks at it with her key gone.
func proveSections(ctx context.Context, env feature.Env) (string, error) {
	const schema = `{"properties":{"name":{"type":"string","x-strongroom":{"person":"self"}},"stays":{"type":"string"}}}`
	versions, err := inEach(ctx, env, schema, func(org, _ feature.CanaryOrg, kind string) (int, error) {
		hers, rest := feature.NewMark(), feature.NewMark()
		content := json.RawMessage(`{"stays":"` + rest.Text + `","name":"` + hers.Text + `","n":1.50}`)
		var p planted
		if _, err := env.Want(ctx, org.Token, http.MethodPost, org.Path("/collections/", kind, "/records"), map[string]any{"content": content}, http.StatusCreated, &p); err != nil {
			return 0, err
		}
		own := org.Path("/collections/", kind, "/records/", p.ID.String())
		if _, err := env.Want(ctx, org.Token, http.MethodPut, own, map[string]any{"content": content}, http.StatusOK, nil, "If-Match", `"1"`); err != nil {
			return 0, err
		}
		var back struct{ Content json.RawMessage }
		if _, err := env.Want(ctx, org.Token, http.MethodGet, own, nil, http.StatusOK, &back); err != nil {
			return 0, err
		}
		if string(back.Content) != string(content) {
			return 0, errors.New("a person's record did not come back as it was sent")
		}
		return forgotten(ctx, env, org, p.ID, hers, rest)
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("a person's record came back byte for byte; with the key of the person destroyed (simulated: the key tree answered as after a puncture) %d stored versions opened without a trace of her field, and with all the rest", versions), nil
}

// forgotten opens every stored version without the person's leaf.
func forgotten(ctx context.Context, env feature.Env, org feature.CanaryOrg, rec id.Record, hers, rest feature.Mark) (versions int, err error) {
	_, _, err = tenant.Do(ctx, env.Store, org.Request(policy.RecordHistory), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		tx.Touch(rec)
		var leaf int64
		if err := tx.QueryRow(ctx, tenant.Lit(`SELECT leaf FROM record_subject WHERE org_id = $1 AND record_id = $2 AND own`), tx.Org().UUID(), rec.UUID()).Scan(&leaf); err != nil {
			return struct{}{}, fmt.Errorf("no leaf is known as the person's: %w", err)
		}
		rows, err := tx.Query(ctx, tenant.Lit(`SELECT version, body FROM record WHERE org_id = $1 AND id = $2 UNION ALL SELECT version, body FROM record_version WHERE org_id = $1 AND record_id = $2`), tx.Org().UUID(), rec.UUID())
		if err != nil {
			return struct{}{}, err
		}
		defer rows.Close()
		for rows.Next() {
			var version int64
			var body seal.Sealed
			if err := rows.Scan(&version, &body); err != nil {
				return struct{}{}, err
			}
			sections, err := seal.Open(ctx, without{tx.Keys(), keytree.Leaf(leaf)}, seal.Place{Org: tx.Org(), Table: tableRecord, Row: rec.UUID(), Version: uint64(version)}, body)
			if err != nil {
				return struct{}{}, err
			}
			var all []byte
			for _, s := range sections {
				if !s.Erased {
					all = append(all, s.Plain.Reveal()...)
				}
			}
			switch {
			case hers.In(all):
				return struct{}{}, errors.New("a person's field opens without her key")
			case !rest.In(all):
				return struct{}{}, errors.New("the rest of a record does not open without the person's key")
			}
			versions++
		}
		return struct{}{}, rows.Err()
	})
	if err == nil && versions != 2 {
		err = errors.New("not every stored version was found")
	}
	return versions, err
}
