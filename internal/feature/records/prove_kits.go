package records

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"strongroom/internal/base/id"
	"strongroom/internal/feature"
	"strongroom/internal/kind"
	"strongroom/internal/store/platform"
)

// kitPromises are the promises that a kit's kinds keep.
func kitPromises() []feature.Promise {
	of := func(name string, c chain) feature.Clause {
		return feature.Clause{Name: name, Tag: feature.Canary, Check: c.prove}
	}
	return []feature.Promise{
		{ID: "DATA-2", Clauses: []feature.Clause{of("recipes", recipes), of("parameters", parameters), of("series", series)}},
		{ID: "DATA-4", Clauses: []feature.Clause{of("metadata", metadata)}},
		{ID: "DATA-7", Clauses: []feature.Clause{of("results", results), of("provenance", provenance)}},
		{ID: "DATA-8", Clauses: []feature.Clause{{Name: "evolution", Tag: feature.Canary, Check: proveEvolution}}},
		{ID: "ISO-1", Clauses: []feature.Clause{{Name: "measurements", Tag: feature.Canary, Check: proveNoMeasurements}}},
	}
}

// chain is a piece of work as a trade does it: records of a kit, each linked
// to those before it. {mark} in a content stands for words that nobody else
// has.
type chain struct {
	kit     string
	records []chained
	misfit  string // a content that the last record's kind refuses
	at      string // and where
}

type chained struct {
	kind, content, title string
	links                []towards
}

// towards is a link to the record at an index of the chain.
type towards struct {
	relation string
	to       int
}

var (
	recipes = chain{kit: "materials", misfit: `{"name":"x","method":"movpe","steps":[{"duration":-1}]}`, at: "/content/steps/0/duration", records: []chained{
		{"project", `{"name":"Oxides {mark}"}`, "Oxides {mark}", nil},
		{"recipe", `{"name":"Anneal {mark}","method":"annealing"}`, "Anneal {mark}", []towards{{"project", 0}}},
		{"recipe", `{"name":"Film {mark}","method":"movpe","carrier_gas":"Ar","precursors":["TEGa"],"steps":[{"name":"Deposition","duration":12600,"temperature":840,"pressure":25.0,"rotation":500},{"name":"Cooling","rate":-40}]}`,
			"Film {mark}", []towards{{"project", 0}, {"follows", 1}}},
		{"sample", `{"name":"Piece {mark}"}`, "Piece {mark}", []towards{{"grown-with", 2}}},
		{"recipe", `{"name":"Next {mark}","method":"movpe"}`, "Next {mark}", []towards{{"follows", 2}}},
	}}
	parameters = chain{kit: "materials", misfit: `{"name":"x","parameters":[{"name":"pressure","value":1,"unit":"millibars"}]}`, at: "/content/parameters/0/unit", records: []chained{
		{"tool-parameters", `{"name":"Chamber, spring {mark}","tool":"MBE 8","valid_from":"2026-03-01"}`, "Chamber, spring {mark}", nil},
		{"tool-parameters", `{"name":"Chamber, summer {mark}","tool":"MBE 8","sources":[{"port":1,"type":"effusion cell","material":"Ga","flux":["Ga","Ga2O"]}],"parameters":[{"name":"base pressure","value":1.50e-10,"unit":"mbar"}]}`,
			"Chamber, summer {mark}", []towards{{"replaces", 0}}},
	}}
	series = chain{kit: "materials", misfit: `{"name":"x","quantity":"flow","interval":0}`, at: "/content/interval", records: []chained{
		{"sample", `{"name":"Piece {mark}"}`, "Piece {mark}", nil},
		{"tool-parameters", `{"name":"Chamber {mark}"}`, "Chamber {mark}", nil},
		{"time-series", `{"name":"Flow {mark}","quantity":"oxygen mass flow","unit":"cm3/min","started":"2023-06-12T00:16:03.701","interval":1,"points":3,"times":[0,1,2],"values":[4.68e-2,4.680,0]}`,
			"Flow {mark}", []towards{{"sample", 0}, {"tool", 1}}},
	}}
	metadata = chain{kit: "materials", misfit: `{"label":""}`, at: "/content/label", records: []chained{
		{"project", `{"name":"Campaign {mark}","labels":["blue","{mark}"]}`, "Campaign {mark}", nil},
		{"sample", `{"name":"20-158-G-1 {mark}","composition":"Ga2O3","labels":["cleaved"]}`, "20-158-G-1 {mark}", []towards{{"project", 0}}},
		{"annotation", `{"label":"Scratch {mark}","type":"region","text":"Seen before.","region":{"x":1,"y":2,"width":3,"height":4}}`, "Scratch {mark}", []towards{{"about", 1}, {"about", 0}}},
	}}
	results = chain{kit: "molecules", misfit: `{"name":"x","properties":[{"name":"cv"}]}`, at: "/content/properties/0/value", records: []chained{
		{"structure", `{"name":"Water {mark}","symbols":["O","H","H"],"geometry":[0.0,0.0,-0.1294769411935893,0.0,-1.494187339479985,1.0274465079245698,0.0,1.494187339479985,1.0274465079245698],"geometry_unit":"bohr"}`, "Water {mark}", nil},
		{"run-configuration", `{"name":"MP2 {mark}","driver":"energy","method":"MP2","basis":"cc-pVDZ","keywords":{"scf_type":"df","maxiter":50}}`, "MP2 {mark}", nil},
		// An external run: registered, fed and finished by whoever runs it.
		{"run", `{"name":"Run {mark}","state":"registered","external":true,"external_id":"{mark}"}`, "Run {mark}", []towards{{"configuration", 1}, {"input", 0}}},
		{"result", `{"name":"Energy {mark}","success":true,"energy":-76.22836742810021,"properties":[{"name":"cv","value":6.4690,"unit":"cal/mol/K"}]}`, "Energy {mark}", []towards{{"run", 2}, {"of", 0}}},
	}}
	provenance = chain{kit: "molecules", misfit: `{"title":"x","status":"maybe"}`, at: "/content/status", records: []chained{
		{"composition", `{"name":"Mixture {mark}","basis":"mass","components":[{"name":"water","amount":0.50}]}`, "Mixture {mark}", nil},
		{"run", `{"name":"Run {mark}","state":"finished"}`, "Run {mark}", []towards{{"input", 0}}},
		{"result", `{"name":"Result {mark}"}`, "Result {mark}", []towards{{"run", 1}}},
		{"provenance", `{"name":"How {mark}","software":"QM Program","software_version":"1.1"}`, "How {mark}", []towards{{"result", 2}, {"run", 1}, {"input", 0}}},
		{"decision-packet", `{"title":"Packet {mark}","status":"in-review","question":"Which one?"}`, "Packet {mark}", []towards{{"result", 2}, {"provenance", 3}, {"structure", 0}}},
	}}
)

// prove does the work in every placement that may have the kit.
func (c chain) prove(ctx context.Context, env feature.Env) (string, error) {
	if len(env.Canaries) == 0 || len(env.Strange) != len(env.Canaries) || len(env.Peers) != len(env.Canaries) {
		return "", errors.New("there is not one strange organization and one colleague for each canary")
	}
	placements, made := 0, 0
	for i, org := range env.Canaries {
		if c.kit == "materials" && org.Placement == platform.PlacementPooled {
			continue // ISO-1: it cannot have the kit
		}
		n, err := c.in(ctx, env, org, env.Peers[i], env.Strange[i])
		if err != nil {
			return "", fmt.Errorf("placement %s: %w", org.Placement, err)
		}
		placements, made = placements+1, made+n
	}
	if placements == 0 {
		return "", errors.New("no canary organization may have the kit")
	}
	var kinds []string
	for _, r := range c.records {
		if !strings.Contains(" "+strings.Join(kinds, " ")+" ", " "+r.kind+" ") {
			kinds = append(kinds, r.kind)
		}
	}
	return fmt.Sprintf("in %d placements the kit %s was installed and %d linked records were stored (%s): each came back with its very digits, under its title, with links that lead both ways, to its author and to a colleague; content and links that do not fit were refused with the place; another organization finds none of them",
		placements, c.kit, made, strings.Join(kinds, ", ")), nil
}

// kept is a record of a chain as the API shows it.
type kept struct {
	ID      id.Record
	Title   string
	Content json.RawMessage
}

func (c chain) in(ctx context.Context, env feature.Env, org, peer, stranger feature.CanaryOrg) (made int, err error) {
	mark := feature.NewMark()
	say := func(s string) string { return strings.ReplaceAll(s, "{mark}", mark.Text) }
	if _, err := env.Want(ctx, org.Token, http.MethodPost, org.Path("/kits/", c.kit, ":install"), nil, http.StatusOK, nil); err != nil {
		return 0, err
	}
	ids := make([]id.Record, 0, len(c.records))
	defer func() {
		for _, rec := range ids {
			err = errors.Join(err, env.Uproot(ctx, org, rec))
		}
	}()
	for _, r := range c.records {
		links := []map[string]string{}
		for _, l := range r.links {
			links = append(links, map[string]string{"relation": l.relation, "to": ids[l.to].String()})
		}
		// What begins private is shared here, for the colleague to see.
		body := map[string]any{"content": json.RawMessage(say(r.content)), "links": links, "visibility": kind.ForOrganization}
		var rec kept
		if _, err := env.Want(ctx, org.Token, http.MethodPost, org.Path("/collections/", r.kind, "/records"), body, http.StatusCreated, &rec); err != nil {
			return 0, fmt.Errorf("%s: %w", r.kind, err)
		}
		ids = append(ids, rec.ID)
	}
	for i, r := range c.records {
		own := org.Path("/collections/", r.kind, "/records/", ids[i].String())
		for _, who := range []feature.CanaryOrg{org, peer} {
			var got kept
			if _, err := env.Want(ctx, who.Token, http.MethodGet, own, nil, http.StatusOK, &got); err != nil {
				return 0, fmt.Errorf("%s: %w", r.kind, err)
			}
			switch {
			case !bytes.Equal(got.Content, []byte(say(r.content))):
				return 0, fmt.Errorf("%s: a record did not come back as it was sent", r.kind)
			case got.Title != say(r.title):
				return 0, fmt.Errorf("%s: a record does not have its title", r.kind)
			}
		}
		if err := c.links(ctx, env, org, ids, i); err != nil {
			return 0, fmt.Errorf("%s: %w", r.kind, err)
		}
		if _, err := env.Want(ctx, stranger.Token, http.MethodGet, own, nil, http.StatusNotFound, nil); err != nil {
			return 0, err
		}
		if _, err := env.Want(ctx, stranger.Token, http.MethodGet, stranger.Path("/collections/", r.kind, "/records/", ids[i].String()), nil, http.StatusNotFound, nil); err != nil {
			return 0, err
		}
	}
	return len(ids), c.refuses(ctx, env, org, ids[0])
}

// links follows the links of one record of the chain, out and back in.
func (c chain) links(ctx context.Context, env feature.Env, org feature.CanaryOrg, ids []id.Record, i int) error {
	want := map[string]bool{}
	for j, r := range c.records {
		for _, l := range r.links {
			switch i {
			case j:
				want["out "+l.relation+" "+ids[l.to].String()] = true
			case l.to:
				want["in "+l.relation+" "+ids[j].String()] = true
			}
		}
	}
	var got struct{ Items []Link }
	if _, err := env.Want(ctx, org.Token, http.MethodGet, org.Path("/collections/", c.records[i].kind, "/records/", ids[i].String(), "/links"), nil, http.StatusOK, &got); err != nil {
		return err
	}
	for _, l := range got.Items {
		other := l.To
		if l.Direction == "in" {
			other = l.From
		}
		seen := l.Direction + " " + l.Relation + " " + other
		if !want[seen] {
			return errors.New("a link does not lead where it was made to")
		}
		delete(want, seen)
	}
	if len(want) > 0 {
		return fmt.Errorf("%d links of a record lead nowhere", len(want))
	}
	return nil
}

// refuses tries what does not fit: a content, and a relation that the kind
// does not declare.
func (c chain) refuses(ctx context.Context, env feature.Env, org feature.CanaryOrg, to id.Record) error {
	last := c.records[len(c.records)-1]
	list := org.Path("/collections/", last.kind, "/records")
	var misfit struct{ Errors []struct{ Pointer string } }
	if _, err := env.Want(ctx, org.Token, http.MethodPost, list, map[string]any{"content": json.RawMessage(c.misfit)}, http.StatusUnprocessableEntity, &misfit); err != nil {
		return err
	}
	if len(misfit.Errors) != 1 || misfit.Errors[0].Pointer != c.at {
		return fmt.Errorf("%s: the refusal of a record that does not fit does not name the place", last.kind)
	}
	content := strings.ReplaceAll(last.content, "{mark}", "x")
	_, err := env.Want(ctx, org.Token, http.MethodPost, list, map[string]any{"content": json.RawMessage(content), "links": []map[string]string{{"relation": "undeclared", "to": to.String()}}},
		http.StatusUnprocessableEntity, nil)
	return err
}

// proveEvolution changes the schema of a collection that holds a record.
func proveEvolution(ctx context.Context, env feature.Env) (string, error) {
	if len(env.Canaries) == 0 || len(env.Peers) != len(env.Canaries) {
		return "", errors.New("there is not one colleague for each canary")
	}
	for i, c := range env.Canaries {
		if err := evolve(ctx, env, c, env.Peers[i]); err != nil {
			return "", fmt.Errorf("placement %s: %w", c.Placement, err)
		}
	}
	return fmt.Sprintf("in %d placements the schema of a collection was changed: what a stored record does not fit was refused and the record named, alive and in the trash; what fits was taken and holds from then on; with a private record of another member there, a change was refused unseen, and taken where it surely allows more", len(env.Canaries)), nil
}

func evolve(ctx context.Context, env feature.Env, c, peer feature.CanaryOrg) (err error) {
	name := "k-" + feature.NewMark().Text
	collection, err := env.Collection(ctx, c, name, `{"type":"object"}`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, env.Undeclare(ctx, c, collection)) }()
	own := c.Path("/collections/", name)
	store := func(who feature.CanaryOrg, text, visibility string) (rec kept, err error) {
		_, err = env.Want(ctx, who.Token, http.MethodPost, own+"/records", map[string]any{"content": map[string]any{"text": text}, "visibility": visibility}, http.StatusCreated, &rec)
		return rec, err
	}
	change := func(schema string, status int, version int) (a feature.Answer, err error) {
		return env.Want(ctx, c.Token, http.MethodPut, own, map[string]any{"schema": json.RawMessage(schema)}, status, nil, "If-Match", fmt.Sprintf(`"%d"`, version))
	}
	mark := feature.NewMark()
	rec, err := store(c, mark.Text, kind.ForOrganization)
	if err != nil {
		return err
	}
	for _, where := range []string{"alive", "in the trash"} {
		a, err := change(`{"type":"object","properties":{"text":{"type":"number"}}}`, http.StatusConflict, 1)
		switch {
		case err != nil:
			return fmt.Errorf("a record that does not fit, %s: %w", where, err)
		case !bytes.Contains(a.Body, []byte(rec.ID.String())) || !bytes.Contains(a.Body, []byte("records_do_not_fit")):
			return errors.New("the refusal does not name the record that does not fit")
		case mark.In(a.Body):
			return errors.New("the refusal shows what a record holds")
		}
		if where == "alive" {
			_, err = env.Want(ctx, c.Token, http.MethodDelete, own+"/records/"+rec.ID.String(), nil, http.StatusNoContent, nil, "If-Match", `"1"`)
		}
		if err != nil {
			return err
		}
	}
	if _, err = change(`{"type":"object","required":["text"],"properties":{"text":{"type":"string"}}}`, http.StatusOK, 1); err != nil {
		return err
	}
	if _, err = env.Want(ctx, c.Token, http.MethodPost, own+"/records", map[string]any{"content": map[string]any{"text": 1}}, http.StatusUnprocessableEntity, nil); err != nil {
		return err
	}
	hidden, err := store(peer, mark.Text, kind.ForOwner)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, env.Uproot(ctx, peer, hidden.ID)) }()
	// It would fit or it would not: the answer is one.
	var told [][]byte
	for _, schema := range []string{mark.Text, "another"} {
		a, err := change(`{"type":"object","required":["text"],"properties":{"text":{"const":"`+schema+`"}}}`, http.StatusConflict, 2)
		if err != nil {
			return fmt.Errorf("a private record of another member: %w", err)
		}
		var p struct{ Errors json.RawMessage }
		if json.Unmarshal(a.Body, &p) != nil || bytes.Contains(a.Body, []byte(hidden.ID.String())) || !bytes.Contains(p.Errors, []byte("private_records")) {
			return errors.New("the refusal looks at another member's private record")
		}
		told = append(told, p.Errors)
	}
	if !bytes.Equal(told[0], told[1]) {
		return errors.New("the refusal tells what is in another member's private record")
	}
	_, err = change(`{"type":"object","required":["text"],"properties":{"text":{"type":["string","null"]}}}`, http.StatusOK, 2)
	return err
}

// proveNoMeasurements asks for measurement kinds in an organization that
// shares its tables, in every way that there is, and in one that does not.
func proveNoMeasurements(ctx context.Context, env feature.Env) (string, error) {
	var kinds []kind.KitKind
	for _, k := range kind.Kits() {
		for _, n := range k.Kinds {
			if n.Measurement {
				kinds = append(kinds, n)
			}
		}
	}
	pooled, own, refused := 0, 0, 0
	for _, c := range env.Everybody() {
		if c.Placement != platform.PlacementPooled {
			// There the same request is served: the refusal is the pool's.
			if _, err := env.Want(ctx, c.Token, http.MethodPost, c.Path("/kits/materials:install"), nil, http.StatusOK, nil); err != nil {
				return "", fmt.Errorf("placement %s: %w", c.Placement, err)
			}
			own++
			continue
		}
		pooled++
		n, err := refusesMeasurements(ctx, env, c, kinds)
		if err != nil {
			return "", err
		}
		refused += n
	}
	if pooled == 0 || own == 0 || len(kinds) == 0 {
		return "", errors.New("there is no canary organization in each placement")
	}
	return fmt.Sprintf("%d organizations that share their tables were refused the kit and each of its %d measurement kinds, by name and by schema (%d requests), and have no such collection; %d organizations with a schema of their own have them", pooled, len(kinds), refused, own), nil
}

func refusesMeasurements(ctx context.Context, env feature.Env, c feature.CanaryOrg, kinds []kind.KitKind) (refused int, err error) {
	try := func(path string, body any) error {
		a, err := env.Call(ctx, c.Token, http.MethodPost, c.Path(path), body)
		switch {
		case err != nil:
			return err
		case a.Status != http.StatusConflict || !bytes.Contains(a.Body, []byte("pooled_measurements")):
			return fmt.Errorf("an organization of the pool is not refused measurement kinds: POST %s answers %d", strings.Split(path, "/")[1], a.Status)
		}
		refused++
		return nil
	}
	if err := try("/kits/materials:install", nil); err != nil {
		return refused, err
	}
	for _, n := range kinds {
		for _, d := range []struct {
			name   string
			schema json.RawMessage
		}{{n.Kind, json.RawMessage(`{}`)}, {"k-" + feature.NewMark().Text, n.Declaration.Schema}} {
			if err := try("/collections", map[string]any{"kind": d.name, "schema": d.schema}); err != nil {
				return refused, err
			}
			if _, err := env.Want(ctx, c.Token, http.MethodGet, c.Path("/collections/", d.name), nil, http.StatusNotFound, nil); err != nil {
				return refused, fmt.Errorf("an organization of the pool has a collection for measurements: %w", err)
			}
		}
	}
	return refused, nil
}
