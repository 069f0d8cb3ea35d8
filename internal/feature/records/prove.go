package records

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/store/tenant"
)

func (s *Records) promises() []feature.Promise {
	return []feature.Promise{
		personal(),
		{ID: "ENC-1", Clauses: []feature.Clause{{Name: "records", Tag: feature.Canary, Check: proveSealed}}},
		{ID: "DATA-8", Clauses: []feature.Clause{{Name: "storage", Tag: feature.Canary, Check: proveStorage}}},
		{ID: "ISO-6", Clauses: []feature.Clause{{Name: "caches", Tag: feature.Canary, Check: s.proveCaches}}},
	}
}

// proveSealed stores records through the API and looks for their content in
// every row that the database has of the organization, then tries to open a
// stored body in every wrong way.
func proveSealed(ctx context.Context, env feature.Env) (string, error) {
	tables, err := env.Inspect.Tables(ctx)
	if err != nil {
		return "", err
	}
	if len(env.Strange) != len(env.Canaries) {
		return "", errors.New("there is not one strange organization for each canary")
	}
	return env.Plant(ctx, "organization", env.Canaries, func(all []feature.Planted) (string, error) {
		rows, wrong := 0, 0
		for i, p := range all {
			began := time.Now().Add(-time.Second)
			// A second version leaves the first one in the history.
			if _, err := env.Want(ctx, p.In.Token, http.MethodPut, p.Path(""), map[string]any{"content": p.Content}, http.StatusOK, nil, "If-Match", `"1"`); err != nil {
				return "", fmt.Errorf("placement %s: %w", p.In.Placement, err)
			}
			a, err := env.Want(ctx, p.In.Token, http.MethodGet, p.Path(""), nil, http.StatusOK, nil)
			if err != nil {
				return "", fmt.Errorf("placement %s: %w", p.In.Placement, err)
			}
			if !p.Mark.In(a.Body) {
				return "", fmt.Errorf("placement %s: a record came back with another content", p.In.Placement)
			}
			n, err := unseen(ctx, env, p, feature.Readable(tables, p.In.Placement))
			if err == nil {
				rows += n
				n, err = wrongKeys(ctx, env, p, env.Strange[i])
				wrong += n
			}
			if err == nil {
				err = unlogged(ctx, env, p, began)
			}
			if err == nil {
				// In the trash it is sealed as it was.
				_, err = env.Want(ctx, p.In.Token, http.MethodDelete, p.Path(""), nil, http.StatusNoContent, nil, "If-Match", `"2"`)
			}
			if err == nil {
				n, err = unseen(ctx, env, p, feature.Readable(tables, p.In.Placement))
				rows += n
			}
			if err != nil {
				return "", fmt.Errorf("placement %s: %w", p.In.Placement, err)
			}
		}
		return fmt.Sprintf("%d records with random content (AES-256-GCM, envelope v1), alive, with a history and in the trash: the content is in none of %d rows of all tables and in no event of the log, as it is, in hexadecimal or base64; read back by the API; %d wrong keys, places and changed bytes did not open it",
			len(all), rows, wrong), nil
	})
}

// unseen reads every row of the organization as text.
func unseen(ctx context.Context, env feature.Env, p feature.Planted, tables []string) (rows int, err error) {
	found := false
	_, _, err = tenant.Do(ctx, env.Store, p.In.Request(policy.RecordRead), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		tx.Touch(p.ID)
		for _, table := range tables {
			all, err := tenant.Raw(ctx, tx, table)
			if err != nil {
				return struct{}{}, err
			}
			rows += len(all)
			for _, row := range all {
				if p.Mark.In([]byte(row)) {
					return struct{}{}, fmt.Errorf("the content of a record stands in the clear in the table %s", table)
				}
				found = found || strings.Contains(row, p.ID.UUID().String())
			}
		}
		return struct{}{}, nil
	})
	if err == nil && !found {
		err = errors.New("the record is in none of the tables that were looked at")
	}
	return rows, err
}

// unlogged looks for the content in the log.
func unlogged(ctx context.Context, env feature.Env, p feature.Planted, began time.Time) error {
	events, err := env.Log.Since(ctx, p.In.Org, began)
	if err != nil {
		return err
	}
	if len(events) == 0 {
		return errors.New("the log has no event of the record")
	}
	for _, e := range events {
		b, err := json.Marshal(e.Event)
		if err != nil {
			return err
		}
		if p.Mark.In(b) || p.Mark.In(e.Body) {
			return errors.New("the content of a record stands in the log")
		}
	}
	return nil
}

// wrongKeys takes the stored body and opens it as it should be, and then in
// every way that must fail.
func wrongKeys(ctx context.Context, env feature.Env, p feature.Planted, stranger feature.CanaryOrg) (tries int, err error) {
	_, _, err = tenant.Do(ctx, env.Store, p.In.Request(policy.RecordRead), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		tx.Touch(p.ID)
		var body seal.Sealed
		var version int64
		if err := tx.QueryRow(ctx, tenant.Lit(`SELECT body, version FROM record WHERE org_id = $1 AND id = $2`), tx.Org().UUID(), p.ID.UUID()).Scan(&body, &version); err != nil {
			return struct{}{}, err
		}
		own := seal.Place{Org: tx.Org(), Table: tableRecord, Row: p.ID.UUID(), Version: uint64(version)}
		plain, err := seal.OpenOne(ctx, tx.Keys(), own, body, sectionContent)
		if err != nil {
			return struct{}{}, fmt.Errorf("a record's body does not open at its place: %w", err)
		}
		if !p.Mark.In(plain.Reveal()) {
			return struct{}{}, errors.New("a record's body opens to something else")
		}
		theirs := tx.KeysOf(stranger.Org)
		changed := bytes.Clone(body)
		changed[len(changed)-1] ^= 1
		elsewhere := func(change func(*seal.Place)) seal.Place { at := own; change(&at); return at }
		for _, c := range []struct {
			what  string
			keys  seal.Keys
			place seal.Place
			body  seal.Sealed
		}{
			{"another organization's keys", theirs, elsewhere(func(p *seal.Place) { p.Org = stranger.Org }), body},
			{"another organization's keys at this very place", feature.Disguise(theirs, tx.Org()), own, body},
			{"another row", tx.Keys(), elsewhere(func(p *seal.Place) { p.Row = id.NewRecord().UUID() }), body},
			{"another version", tx.Keys(), elsewhere(func(p *seal.Place) { p.Version++ }), body},
			{"another table", tx.Keys(), elsewhere(func(p *seal.Place) { p.Table = tableCollection }), body},
			{"a changed bit", tx.Keys(), own, changed},
		} {
			if _, err := seal.OpenOne(ctx, c.keys, c.place, c.body, sectionContent); err == nil {
				return struct{}{}, fmt.Errorf("a record's body opens with %s", c.what)
			} else if fault.Is(err, fault.Unavailable) {
				return struct{}{}, err
			}
			tries++
		}
		return struct{}{}, nil
	})
	return tries, err
}

// proveStorage declares a collection that nobody has thought of, and uses it.
func proveStorage(ctx context.Context, env feature.Env) (string, error) {
	if len(env.Canaries) == 0 || len(env.Strange) != len(env.Canaries) {
		return "", errors.New("there is not one strange organization for each canary")
	}
	steps := 0
	for i, c := range env.Canaries {
		n, err := storeOwnKind(ctx, env, c, env.Strange[i])
		if err != nil {
			return "", fmt.Errorf("placement %s: %w", c.Placement, err)
		}
		steps += n
	}
	return fmt.Sprintf("in %d placements a collection was declared by JSON Schema (draft 2020-12): a record that fits was stored, changed, listed, linked, exported, deleted and restored, with its history and its very digits; one that does not fit was refused with the place (%d steps); another organization has no such collection", len(env.Canaries), steps), nil
}

func storeOwnKind(ctx context.Context, env feature.Env, c, stranger feature.CanaryOrg) (steps int, err error) {
	name := "k-" + feature.NewMark().Text
	schema := `{"type":"object","properties":{"sample":{"type":"string"},"nm":{"type":"number","minimum":0}},"required":["sample"],"additionalProperties":false}`
	collection, err := env.Collection(ctx, c, name, schema)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, env.Undeclare(ctx, c, collection)) }()
	list := c.Path("/collections/", name, "/records")
	first, second := json.RawMessage(`{"sample":"a","nm":1.50}`), json.RawMessage(`{"sample":"b","nm":2.500}`)
	var rec struct {
		ID      id.Record
		Content json.RawMessage
	}
	type content = map[string]any
	step := func(method, path string, body any, status int, out any, head ...string) {
		if err == nil {
			steps++
			_, err = env.Want(ctx, c.Token, method, path, body, status, out, head...)
		}
	}
	step(http.MethodPost, list, content{"content": first}, http.StatusCreated, &rec)
	own := list + "/" + rec.ID.String()
	var misfit struct{ Errors []struct{ Pointer string } }
	step(http.MethodPost, list, content{"content": json.RawMessage(`{"sample":"a","nm":-1}`)}, http.StatusUnprocessableEntity, &misfit)
	if err == nil && (len(misfit.Errors) != 1 || misfit.Errors[0].Pointer != "/content/nm") {
		err = errors.New("the refusal of a record that does not fit does not name the place")
	}
	step(http.MethodPut, own, content{"content": second}, http.StatusOK, nil, "If-Match", `"1"`)
	step(http.MethodGet, own, nil, http.StatusOK, &rec)
	if err == nil && !bytes.Equal(rec.Content, second) {
		err = errors.New("a record did not come back as it was sent")
	}
	var history struct {
		Items []struct{ Content json.RawMessage }
	}
	step(http.MethodGet, own+"/history", nil, http.StatusOK, &history)
	if err == nil && (len(history.Items) != 2 || !bytes.Equal(history.Items[1].Content, first)) {
		err = errors.New("the history is not the two versions that were stored")
	}
	var items struct{ Items []struct{ ID id.Record } }
	step(http.MethodGet, list, nil, http.StatusOK, &items)
	if err == nil && (len(items.Items) != 1 || items.Items[0].ID != rec.ID) {
		err = errors.New("the list is not the one record that was stored")
	}
	var link struct{ ID id.Link }
	step(http.MethodPost, own+"/links", content{"to": rec.ID.String(), "relation": "same"}, http.StatusCreated, &link)
	step(http.MethodDelete, own+"/links/"+link.ID.String(), nil, http.StatusNoContent, nil)
	step(http.MethodPost, c.Path("/export"), content{"scope": "collection", "collection": name}, http.StatusOK, nil)
	step(http.MethodDelete, own, nil, http.StatusNoContent, nil, "If-Match", `"2"`)
	step(http.MethodGet, own, nil, http.StatusNotFound, nil)
	step(http.MethodPost, own+":restore", nil, http.StatusOK, nil)
	if err == nil {
		_, err = env.Want(ctx, stranger.Token, http.MethodGet, stranger.Path("/collections/", name), nil, http.StatusNotFound, nil)
	}
	return steps, err
}

// proveCaches gives collections of one name another schema in each
// organization, warms the caches and asks for each in turn. What one
// organization has cached would answer for another if anything were shared.
func (s *Records) proveCaches(ctx context.Context, env feature.Env) (evidence string, err error) {
	orgs := env.Everybody()
	if len(orgs) < 2 {
		return "", errors.New("there are not two canary organizations")
	}
	name := "k-" + feature.NewMark().Text
	made := map[int]id.Collection{}
	defer func() {
		for i, c := range made {
			err = errors.Join(err, env.Undeclare(ctx, orgs[i], c))
			s.forget(orgs[i].Org, name)
		}
		if err != nil {
			evidence = ""
		}
	}()
	own := func(i int) string { return fmt.Sprintf(`{"whose":"%d"}`, i) }
	for i, c := range orgs {
		_, _, err := tenant.Do(ctx, s.tenant, c.Request(policy.CollectionCreate), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
			d, err := s.Declare(ctx, tx, name, name, json.RawMessage(fmt.Sprintf(`{"properties":{"whose":{"const":"%d"}},"required":["whose"]}`, i)))
			made[i] = d.ID
			return struct{}{}, err
		})
		if err != nil {
			delete(made, i)
			return "", fmt.Errorf("placement %s: %w", c.Placement, err)
		}
	}
	asked := 0
	const rounds = 3 // the first one fills the caches, the others are answered from them
	for range rounds {
		for i, c := range orgs {
			for j := range orgs {
				err := s.tryContent(ctx, c, name, own(j))
				switch {
				case i == j && err != nil:
					return "", fmt.Errorf("placement %s: %w", c.Placement, err)
				case i != j && err == nil:
					return "", fmt.Errorf("placement %s: content was held against another organization's schema", c.Placement)
				case i != j && !fault.Is(err, fault.Invalid):
					return "", fmt.Errorf("placement %s: %w", c.Placement, err)
				}
				asked++
			}
		}
		for i, c := range orgs {
			if err := s.seesOnly(ctx, c, name, own(i)); err != nil {
				return "", fmt.Errorf("placement %s: %w", c.Placement, err)
			}
			asked++
		}
	}
	n, err := callers(ctx, env, orgs)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d organizations with a collection of one name and a schema of their own each: %d questions in turn, each answered from the organization's own part of the caches (collections, compiled schemas); %d requests in turn, each known as its own caller's (sign-ins), in her own place and with its own keys", len(orgs), asked, n), nil
}

// tryContent stores a record in the collection of a name.
func (s *Records) tryContent(ctx context.Context, c feature.CanaryOrg, name, content string) error {
	_, _, err := tenant.Do(ctx, s.tenant, c.Request(policy.RecordCreate), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		in := createIn{KindPath: KindPath{Kind: name}}
		in.Body.Content = []byte(content)
		_, err := s.create(ctx, tx, in)
		return struct{}{}, err
	})
	return err
}

// seesOnly lists the collection of a name: what is in it fits the
// organization's own schema, and is there.
func (s *Records) seesOnly(ctx context.Context, c feature.CanaryOrg, name, content string) error {
	_, _, err := tenant.Do(ctx, s.tenant, c.Request(policy.RecordList), func(ctx context.Context, tx *tenant.Tx) (struct{}, error) {
		in := listIn{KindPath: KindPath{Kind: name}}
		in.Limit = 50
		got, err := s.list(ctx, tx, in)
		if err == nil && len(got.Body.Items) == 0 {
			err = errors.New("another organization's collection was looked into")
		}
		for _, r := range got.Body.Items {
			if string(r.Content) != content {
				err = errors.New("a record that does not fit the organization's own schema was stored")
			}
		}
		return struct{}{}, err
	})
	return err
}

// callers asks by turns who the caller is, and for the organization's own
// name, which is sealed with its own keys.
func callers(ctx context.Context, env feature.Env, orgs []feature.CanaryOrg) (n int, err error) {
	for range 3 {
		for _, c := range orgs {
			var who struct{ Person struct{ ID id.Person } }
			if _, err := env.Want(ctx, c.Token, http.MethodGet, "/v1/sessions/current", nil, http.StatusOK, &who); err != nil {
				return n, err
			}
			var org struct {
				ID   id.Org
				Name string
			}
			if _, err := env.Want(ctx, c.Token, http.MethodGet, c.Path(), nil, http.StatusOK, &org); err != nil {
				return n, err
			}
			if who.Person.ID != c.Actor.Person() || org.ID != c.Org || org.Name != c.Name {
				return n, fmt.Errorf("placement %s: a request was answered as another caller's or organization's", c.Placement)
			}
			n += 2
		}
	}
	return n, nil
}
