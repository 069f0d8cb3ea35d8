package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"strongroom/client"
	"strongroom/internal/web/console/form"
)

var recordFormPages = []Page{
	{Pattern: "GET /o/{org}/c/{kind}/new", Access: InOrg, Serve: newRecord},
	{Pattern: "POST /o/{org}/c/{kind}/new", Access: InOrg, Serve: createRecord},
	{Pattern: "GET /o/{org}/c/{kind}/{rec}/edit", Access: InOrg, Serve: editRecord},
	{Pattern: "POST /o/{org}/c/{kind}/{rec}/edit", Access: InOrg, Serve: changeRecord},
}

// recordForm is the page of a new or changed record.
type recordForm struct {
	Collection client.Collection
	Heading    string
	Form       *form.Form
	Version    int64 // that the form was made from; 0: a new record
	Back       string
	Visibility string
	Private    bool // may be chosen: the record is new
	Relations  []relationPicker
	Conflict   *conflict
	Errors     Errors
}

// conflict says that somebody was faster.
type conflict struct {
	By      string
	Changes []form.Change // what they changed
	Version int64
}

// relationPicker offers what a relation may lead to.
type relationPicker struct {
	Name, Label string
	Many        bool
	Groups      []pickGroup
	More        bool // there is more than a picker holds
	Picked      int
	Error       string
	Count       int
}

type pickGroup struct {
	Label   string
	Options []pickOption
}

type pickOption struct {
	ID, Title string
	Picked    bool
}

func newRecord(v *Visit) error {
	c, schema, err := v.collection()
	if err != nil {
		return err
	}
	f, err := schema.Fill(nil)
	if err != nil {
		return err
	}
	picked := map[string][]string{}
	for _, link := range v.R.URL.Query()["link"] { // as in sample:rec_…
		if name, to, ok := strings.Cut(link, ":"); ok {
			picked[name] = append(picked[name], to)
		}
	}
	view, err := v.newForm(c, f, c.Visibility, picked)
	if err != nil {
		return err
	}
	return v.Render("record-form", view.Heading, view)
}

func (v *Visit) collection() (client.Collection, *form.Schema, error) {
	c, err := v.API.Collection(v.Context(), v.Org.ID, v.Param("kind"))
	if err != nil {
		return c, nil, err
	}
	s, err := schemaOf(c)
	return c, s, err
}

func (v *Visit) newForm(c client.Collection, f *form.Form, visibility string, picked map[string][]string) (recordForm, error) {
	if visibility == "" {
		visibility = client.ForOrganization
	}
	view := recordForm{Collection: c, Heading: "New in " + collectionTitle(c), Form: f, Back: v.OrgPath("c", c.Kind), Visibility: visibility, Private: true}
	all, err := v.shelf()
	if err != nil {
		return view, err
	}
	for _, name := range sortedKeys(c.Relations) {
		r := c.Relations[name]
		if len(r.To) == 0 {
			continue // anything at all: chosen on the record's own page
		}
		p, err := v.picker(all, c.Kind, name, r, picked[name])
		if err != nil {
			return view, err
		}
		view.Relations = append(view.Relations, p)
	}
	return view, nil
}

func sortedKeys[T any](m map[string]T) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// picker lists the first of what a relation may lead to, with what is picked
// among them.
func (v *Visit) picker(all shelf, from, name string, r client.Relation, picked []string) (relationPicker, error) {
	p := relationPicker{Name: name, Label: all.relation(from, name), Many: r.Many}
	left := slices.Clone(picked)
	take := func(id string) bool {
		i := slices.Index(left, id)
		if i >= 0 {
			left = slices.Delete(left, i, i+1)
			p.Picked++
		}
		return i >= 0
	}
	for _, kind := range r.To {
		g := pickGroup{Label: all.title(kind)}
		if kind == toFiles {
			files, err := v.API.ListFiles(v.Context(), v.Org.ID, client.List{Limit: pickLimit})
			if err != nil {
				return p, err
			}
			p.More = p.More || files.Next != ""
			for _, f := range files.Items {
				g.Options = append(g.Options, pickOption{f.ID, f.Name, take(f.ID)})
			}
		} else if c, known := all.byKind[kind]; known {
			schema, err := schemaOf(c)
			if err != nil {
				return p, err
			}
			records, err := v.API.ListRecords(v.Context(), v.Org.ID, kind, client.List{Limit: pickLimit})
			if err != nil {
				return p, err
			}
			p.More = p.More || records.Next != ""
			for _, rec := range records.Items {
				g.Options = append(g.Options, pickOption{rec.ID, recordTitle(schema, rec), take(rec.ID)})
			}
		}
		slices.SortStableFunc(g.Options, func(a, b pickOption) int { return strings.Compare(strings.ToLower(a.Title), strings.ToLower(b.Title)) })
		p.Count += len(g.Options)
		if len(g.Options) > 0 {
			p.Groups = append(p.Groups, g)
		}
	}
	// What was picked elsewhere is not lost because it is not among the first.
	if len(left) > 0 {
		g := pickGroup{Label: "Chosen before"}
		for _, id := range left {
			g.Options = append(g.Options, pickOption{id, shortID(id), true})
			p.Picked++
		}
		p.Groups, p.Count = append(p.Groups, g), p.Count+len(left)
	}
	return p, nil
}

func createRecord(v *Visit) error {
	c, schema, err := v.collection()
	if err != nil {
		return err
	}
	f, err := v.Form()
	if err != nil {
		return err
	}
	picked := map[string][]string{}
	var links []client.NewLink
	for _, name := range sortedKeys(f) {
		relation, ok := strings.CutPrefix(name, "link/")
		if !ok {
			continue
		}
		for _, to := range f[name] {
			if to != "" {
				picked[relation] = append(picked[relation], to)
				links = append(links, client.NewLink{Relation: relation, To: to})
			}
		}
	}
	sub, err := schema.Submit(f, nil)
	if err != nil {
		return statusError(http.StatusBadRequest)
	}
	again := func(errs Errors) error {
		view, err := v.newForm(c, sub.Form, f.Get("visibility"), picked)
		if err != nil {
			return err
		}
		view.Errors = errs
		if sub.Rearranged {
			return v.Render("record-form", view.Heading, view)
		}
		return v.Again("record-form", view.Heading, view)
	}
	if sub.Content == nil {
		return again(nil)
	}
	r, err := v.API.CreateRecord(v.Context(), v.Org.ID, c.Kind, client.NewRecord{Content: sub.Content, Visibility: f.Get("visibility"), Links: links})
	if err != nil {
		p, ok := Refused(err)
		if !ok {
			return err
		}
		refuse(sub.Form, p)
		return again(nil)
	}
	return v.Done(v.OrgPath("c", c.Kind, r.ID), "Stored.")
}

// refuse puts what the API has against a record beside its fields.
func refuse(f *form.Form, p *client.Problem) {
	for _, e := range p.Errors {
		f.Refuse(e.Pointer, sentence(e.Detail))
	}
	if len(p.Errors) == 0 {
		f.Refuse("", sentence(p.Detail))
	}
}

func editRecord(v *Visit) error {
	c, schema, r, err := v.record()
	if err != nil {
		return err
	}
	f, err := schema.Fill(r.Content)
	if err != nil {
		return err
	}
	view := v.editForm(c, schema, r, f)
	return v.Render("record-form", view.Heading, view)
}

func (v *Visit) editForm(c client.Collection, schema *form.Schema, r client.Record, f *form.Form) recordForm {
	return recordForm{Collection: c, Heading: "Edit " + recordTitle(schema, r), Form: f, Version: r.Version, Back: v.OrgPath("c", c.Kind, r.ID), Visibility: r.Visibility}
}

func changeRecord(v *Visit) error {
	c, schema, r, err := v.record()
	if err != nil {
		return err
	}
	f, err := v.Form()
	if err != nil {
		return err
	}
	number, err := versionIn(f)
	if err != nil {
		return err
	}
	base := r.Content
	if r.Version != number {
		return v.conflict(c, schema, r, number, f)
	}
	sub, err := schema.Submit(f, base)
	if err != nil {
		return statusError(http.StatusBadRequest)
	}
	view := v.editForm(c, schema, r, sub.Form)
	switch {
	case sub.Rearranged:
		return v.Render("record-form", view.Heading, view)
	case sub.Content == nil:
		return v.Again("record-form", view.Heading, view)
	case string(sub.Content) == string(base):
		return v.Done(view.Back, "Nothing was changed.")
	}
	_, err = v.API.ReplaceRecord(v.Context(), v.Org.ID, c.Kind, r.ID, number, client.NewRecord{Content: sub.Content})
	switch p, ok := Refused(err); {
	case err == nil:
		return v.Done(view.Back, "Saved.")
	case client.Status(err) == http.StatusPreconditionFailed:
		if r, err = v.API.Record(v.Context(), v.Org.ID, c.Kind, r.ID); err != nil {
			return err
		}
		return v.conflict(c, schema, r, number, f)
	case ok:
		refuse(sub.Form, p)
		return v.Again("record-form", view.Heading, view)
	}
	return err
}

var errNoVersion = errors.New("console: the version that a form was made from is not to be had")

// conflict shows a form that was made from an older version again, as it was
// filled in, and beside each field what somebody else has made of it.
func (v *Visit) conflict(c client.Collection, schema *form.Schema, now client.Record, number int64, f url.Values) error {
	var base []byte
	all := client.Items(v.Context(), client.List{Limit: pickLimit}, func(ctx context.Context, l client.List) (client.Page[client.Change], error) {
		return v.API.ListHistory(ctx, v.Org.ID, c.Kind, now.ID, l)
	})
	for change, err := range all {
		if err != nil {
			return err
		}
		if change.Version == number {
			base = change.Content
			break
		}
	}
	if len(base) == 0 {
		return errNoVersion
	}
	sub, err := schema.Submit(f, base)
	if err != nil {
		return statusError(http.StatusBadRequest)
	}
	sub.Form.Against(now.Content)
	theirs, _ := schema.Diff(base, now.Content)
	// What the form shows now is what was typed; saved again, it takes the
	// place of the newer version, with open eyes.
	view := v.editForm(c, schema, now, sub.Form)
	view.Conflict = &conflict{By: now.UpdatedBy, Changes: theirs, Version: now.Version}
	return v.render(http.StatusConflict, "record-form", view.Heading, view)
}
