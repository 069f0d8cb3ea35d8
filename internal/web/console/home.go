package console

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"strongroom/client"
	"strongroom/internal/web/console/form"
)

// How much of each thing a home shows. The page asks the API once for most of
// these, so the numbers bound its time as well as its length.
const (
	homeSamples  = 8
	homeMeasured = 6 // measurements of a sample
	homePictures = 3 // of a sample
	homeTasks    = 12
	homeAccounts = 6
	homeEvents   = 5 // of an account
	homeResults  = 16
	homePlain    = 10 // structures without results
	homeValues   = 3  // of a result
)

type homeView struct {
	Collections []client.Collection
	Kits        []client.Kit // to be installed, for who may
	MayDeclare  bool
	MayStore    bool
	Samples     *samplesHome
	Memory      *memoryHome
	Molecules   *moleculesHome
}

// item is a record as a home names it.
type item struct {
	ID, Kind, Title, Path string
	At                    time.Time
	Note                  string
}

func showHome(v *Visit) error {
	view := homeView{MayDeclare: v.Holds(client.OrgAdmin), MayStore: v.Holds(client.Scientist)}
	if !v.Holds(client.Scientist, client.Analyst, client.OrgAdmin) {
		return v.Render("home", v.Org.Name, view)
	}
	s, err := v.shelf()
	if err != nil {
		return err
	}
	view.Collections = s.all
	if view.MayDeclare {
		kits, err := v.API.Kits(v.Context(), v.Org.ID)
		if err != nil {
			return err
		}
		for _, k := range kits {
			if !k.Installed {
				view.Kits = append(view.Kits, k)
			}
		}
	}
	if v.Holds(client.Scientist, client.Analyst) {
		if err := v.kitHomes(s, &view); err != nil {
			return err
		}
	}
	return v.Render("home", v.Org.Name, view)
}

// kitHomes shows what people of a trade look for first: by the collections of
// its kit, whether or not the organization has changed them since.
func (v *Visit) kitHomes(s shelf, view *homeView) (err error) {
	if s.byKind["sample"].Kit == "materials" {
		if view.Samples, err = v.samplesHome(s); err != nil {
			return err
		}
	}
	if s.byKind["task"].Kit == "memory" || s.byKind["account"].Kit == "memory" {
		if view.Memory, err = v.memoryHome(s); err != nil {
			return err
		}
	}
	if s.byKind["structure"].Kit == "molecules" {
		view.Molecules, err = v.moleculesHome(s)
	}
	return err
}

func (v *Visit) item(r client.Record) item {
	title := r.Title
	if title == "" {
		title = shortID(r.ID)
	}
	return item{ID: r.ID, Kind: r.Kind, Title: title, Path: v.OrgPath("c", r.Kind, r.ID), At: r.CreatedAt}
}

// records lists the newest of a collection; none where there is no such
// collection.
func (v *Visit) records(s shelf, kind string, limit int) ([]client.Record, error) {
	if _, ok := s.byKind[kind]; !ok {
		return nil, nil
	}
	p, err := v.API.ListRecords(v.Context(), v.Org.ID, kind, client.List{Limit: limit})
	return p.Items, err
}

// Materials: samples with what was measured on them.

type samplesHome struct {
	Samples []sampleCard
	All     string
	New     string
}

type sampleCard struct {
	item
	Facts        []string
	Measurements []item
	More         bool
	Pictures     []picture
}

type picture struct{ Name, Path, Preview string }

func (v *Visit) samplesHome(s shelf) (*samplesHome, error) {
	found, err := v.records(s, "sample", homeSamples)
	if err != nil {
		return nil, err
	}
	out := &samplesHome{All: v.OrgPath("c", "sample"), New: v.OrgPath("c", "sample", "new")}
	out.Samples = make([]sampleCard, len(found))
	errs := make([]error, len(found))
	_, measured := s.byKind["measurement"]
	inParallel(v.Context(), found, func(ctx context.Context, i int, r client.Record) {
		card := &out.Samples[i]
		card.item = v.item(r)
		var c struct {
			Composition string `json:"composition"`
			Substrate   string `json:"substrate"`
		}
		_ = json.Unmarshal(r.Content, &c) // an organization's own sample may have other fields
		if c.Composition != "" {
			card.Facts = append(card.Facts, c.Composition)
		}
		if c.Substrate != "" {
			card.Facts = append(card.Facts, "on "+c.Substrate)
		}
		if measured {
			errs[i] = v.measurements(ctx, card)
		}
	})
	return out, cmp.Or(errs...)
}

// measurements fills in what was measured on a sample, and pictures of it.
func (v *Visit) measurements(ctx context.Context, card *sampleCard) error {
	p, err := v.API.FilterRecords(ctx, v.Org.ID, "measurement", client.Filter{LinkedTo: card.ID}, client.List{Limit: homeMeasured})
	if err != nil {
		return err
	}
	card.More = p.Next != ""
	asked := 0
	for _, m := range p.Items {
		it := v.item(m)
		var c struct {
			Technique string `json:"technique"`
		}
		_ = json.Unmarshal(m.Content, &c)
		it.Note = techniqueWords(c.Technique)
		card.Measurements = append(card.Measurements, it)
		// One measurement with pictures says enough of a sample at a glance.
		if len(card.Pictures) > 0 || asked == 2 || c.Technique != "rheed" && c.Technique != "other" && c.Technique != "" {
			continue
		}
		asked++
		links, err := v.API.ListLinks(ctx, v.Org.ID, "measurement", m.ID, client.List{Limit: 50})
		if err != nil {
			return err
		}
		for _, l := range links.Items {
			if l.Direction == "out" && isFile(l.To) && looksLikePicture(l.Title, "") && len(card.Pictures) < homePictures {
				at := v.OrgPath("files", l.To)
				card.Pictures = append(card.Pictures, picture{l.Title, at, at + "/preview?size=256"})
			}
		}
	}
	return nil
}

func techniqueWords(t string) string {
	switch t {
	case "rheed", "xps":
		return strings.ToUpper(t)
	case "other":
		return ""
	}
	return t
}

// Memory: what is to be done, and what happened with whom.

type memoryHome struct {
	Due, Open []taskLine // up to today, and the others
	Accounts  []accountCard
	Tasks     string
	NewTask   string
	All       string
	New       string
}

type taskLine struct {
	item
	Due     time.Time
	Late    bool
	Private bool
}

type accountCard struct {
	item
	Status   string
	Next     string
	People   []item
	Timeline []item
}

func (v *Visit) memoryHome(s shelf) (*memoryHome, error) {
	out := &memoryHome{Tasks: v.OrgPath("c", "task"), NewTask: v.OrgPath("c", "task", "new"), All: v.OrgPath("c", "account"), New: v.OrgPath("c", "account", "new")}
	tasks, err := v.records(s, "task", 200)
	if err != nil {
		return nil, err
	}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	for _, r := range tasks {
		var c struct {
			Status string `json:"status"`
			Due    string `json:"due"`
		}
		_ = json.Unmarshal(r.Content, &c)
		if c.Status == "done" || c.Status == "cancelled" {
			continue
		}
		t := taskLine{item: v.item(r), Private: r.Visibility == client.ForOwner}
		t.Note = strings.ReplaceAll(c.Status, "-", " ")
		if d, err := time.Parse(time.DateOnly, c.Due); err == nil {
			t.Due, t.Late = d, d.Before(today)
		}
		if !t.Due.IsZero() && !t.Due.After(today) {
			out.Due = append(out.Due, t)
		} else {
			out.Open = append(out.Open, t)
		}
	}
	byDue := func(a, b taskLine) int {
		switch {
		case a.Due.IsZero() != b.Due.IsZero():
			if a.Due.IsZero() {
				return 1
			}
			return -1
		case !a.Due.Equal(b.Due):
			return a.Due.Compare(b.Due)
		}
		return b.At.Compare(a.At)
	}
	slices.SortStableFunc(out.Due, byDue)
	slices.SortStableFunc(out.Open, byDue)
	out.Due, out.Open = out.Due[:min(len(out.Due), homeTasks)], out.Open[:min(len(out.Open), homeTasks)]

	found, err := v.records(s, "account", homeAccounts)
	if err != nil {
		return nil, err
	}
	out.Accounts = make([]accountCard, len(found))
	errs := make([]error, len(found))
	inParallel(v.Context(), found, func(ctx context.Context, i int, r client.Record) {
		card := &out.Accounts[i]
		card.item = v.item(r)
		var c struct {
			Status string `json:"status"`
			Next   string `json:"next_step"`
		}
		_ = json.Unmarshal(r.Content, &c)
		card.Status, card.Next = c.Status, c.Next
		links, err := v.API.ListLinks(ctx, v.Org.ID, "account", r.ID, client.List{Limit: 50})
		if err != nil {
			errs[i] = err
			return
		}
		for _, l := range links.Items {
			// A person names her account; an account may name people too.
			person := l.To
			if l.Direction == "in" {
				person = l.From
			}
			if l.Collection == "person" && l.Title != "" && len(card.People) < homeEvents && !slices.ContainsFunc(card.People, func(p item) bool { return p.ID == person }) {
				card.People = append(card.People, item{ID: person, Title: l.Title, Path: v.OrgPath("c", "person", person)})
			}
		}
		card.Timeline, errs[i] = v.timeline(ctx, s, r.ID)
	})
	// Whom one dealt with last comes first.
	slices.SortStableFunc(out.Accounts, func(a, b accountCard) int { return b.last().Compare(a.last()) })
	return out, cmp.Or(errs...)
}

func (c accountCard) last() time.Time {
	if len(c.Timeline) == 0 {
		return time.Time{}
	}
	return c.Timeline[0].At
}

// timeline is what happened last with an account: its conversations and tasks,
// by when they were.
func (v *Visit) timeline(ctx context.Context, s shelf, account string) (out []item, err error) {
	for _, kind := range []string{"conversation", "task"} {
		if _, ok := s.byKind[kind]; !ok {
			continue
		}
		p, err := v.API.FilterRecords(ctx, v.Org.ID, kind, client.Filter{LinkedTo: account}, client.List{Limit: 2 * homeEvents})
		if err != nil {
			return nil, err
		}
		for _, r := range p.Items {
			it := v.item(r)
			var c struct {
				Channel string `json:"channel"`
				Started string `json:"started"`
				Created string `json:"created"`
				Status  string `json:"status"`
			}
			_ = json.Unmarshal(r.Content, &c)
			it.Note = cmp.Or(c.Channel, "task, "+strings.ReplaceAll(c.Status, "-", " "))
			if t, ok := when(cmp.Or(c.Started, c.Created)); ok {
				it.At = t
			}
			out = append(out, it)
		}
	}
	slices.SortStableFunc(out, func(a, b item) int { return b.At.Compare(a.At) })
	return out[:min(len(out), homeEvents)], nil
}

// when reads a time as records write it: the whole, to the minute, or the day.
func when(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

// Molecules: structures with what was computed for them.

type moleculesHome struct {
	Rows []structureRow
	All  string
	New  string
}

// Formulas and SMILES say whether any structure has one: a column that is empty
// from top to bottom says nothing.
func (m moleculesHome) Formulas() bool {
	return slices.ContainsFunc(m.Rows, func(r structureRow) bool { return r.Formula != "" })
}

// SMILES is the same for the other column.
func (m moleculesHome) SMILES() bool {
	return slices.ContainsFunc(m.Rows, func(r structureRow) bool { return r.SMILES != "" })
}

type structureRow struct {
	item
	Formula string
	SMILES  string
	Results []resultLine
}

type resultLine struct {
	item
	Values []string
	Failed bool
}

func (v *Visit) moleculesHome(s shelf) (*moleculesHome, error) {
	out := &moleculesHome{All: v.OrgPath("c", "structure"), New: v.OrgPath("c", "structure", "new")}
	results, err := v.records(s, "result", homeResults)
	if err != nil {
		return nil, err
	}
	structures, err := v.records(s, "structure", homePlain+homeResults)
	if err != nil {
		return nil, err
	}
	of := make([][]client.Link, len(results))
	errs := make([]error, len(results))
	inParallel(v.Context(), results, func(ctx context.Context, i int, r client.Record) {
		var p client.Page[client.Link]
		if p, errs[i] = v.API.ListLinks(ctx, v.Org.ID, "result", r.ID, client.List{Limit: 50}); errs[i] != nil {
			return
		}
		for _, l := range p.Items {
			if l.Direction == "out" && l.Relation == "of" && l.Collection == "structure" {
				of[i] = append(of[i], l)
			}
		}
	})
	if err := cmp.Or(errs...); err != nil {
		return nil, err
	}
	at := map[string]int{}
	for i, r := range results {
		line := resultLine{item: v.item(r)}
		var c struct {
			Energy     json.Number `json:"energy"`
			Success    *bool       `json:"success"`
			Properties []struct {
				Name  string      `json:"name"`
				Value json.Number `json:"value"`
				Unit  string      `json:"unit"`
			} `json:"properties"`
		}
		_ = json.Unmarshal(r.Content, &c)
		if c.Energy != "" {
			line.Values = append(line.Values, c.Energy.String()+" "+form.UnitWords("{hartree}"))
		}
		for _, p := range c.Properties[:min(len(c.Properties), homeValues)] {
			if p.Value != "" && c.Energy == "" {
				line.Values = append(line.Values, strings.TrimSpace(p.Name+" "+p.Value.String()+" "+form.UnitWords(p.Unit)))
			}
		}
		line.Failed = c.Success != nil && !*c.Success
		for _, l := range of[i] {
			n, ok := at[l.To]
			if !ok {
				n = len(out.Rows)
				at[l.To] = n
				out.Rows = append(out.Rows, structureRow{item: item{ID: l.To, Kind: "structure", Title: cmp.Or(l.Title, shortID(l.To)), Path: v.OrgPath("c", "structure", l.To)}})
			}
			out.Rows[n].Results = append(out.Rows[n].Results, line)
		}
	}
	errs = make([]error, len(out.Rows))
	inParallel(v.Context(), slices.Clone(out.Rows), func(ctx context.Context, i int, row structureRow) {
		r, err := v.API.Record(ctx, v.Org.ID, "structure", row.ID)
		switch {
		case err == nil:
			out.Rows[i].describe(r)
		case client.Status(err) != http.StatusNotFound: // else in the trash since
			errs[i] = err
		}
	})
	if err := cmp.Or(errs...); err != nil {
		return nil, err
	}
	plain := 0
	for _, r := range structures {
		if _, ok := at[r.ID]; ok || plain == homePlain {
			continue
		}
		plain++
		row := structureRow{item: v.item(r)}
		row.describe(r)
		out.Rows = append(out.Rows, row)
	}
	return out, nil
}

func (row *structureRow) describe(r client.Record) {
	var c struct {
		Formula string `json:"formula"`
		SMILES  string `json:"smiles"`
	}
	_ = json.Unmarshal(r.Content, &c)
	row.Formula, row.SMILES = c.Formula, c.SMILES
}
