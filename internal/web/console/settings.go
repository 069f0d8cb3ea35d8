package console

import (
	"encoding/json"
	"strconv"
	"strings"

	"strongroom/client"
)

var settingsPages = []Page{
	{Pattern: "GET /o/{org}/settings", Access: InOrg, Serve: showSettings},
	{Pattern: "POST /o/{org}/settings", Access: InOrg, Serve: changeSettings},
	{Pattern: "POST /o/{org}/kits/{kit}/install", Access: InOrg, Serve: installKit},
	{Pattern: "GET /o/{org}/collections/new", Access: InOrg, Serve: showNewCollection},
	{Pattern: "POST /o/{org}/collections/new", Access: InOrg, Serve: createCollection},
	{Pattern: "GET /o/{org}/collections/{kind}", Access: InOrg, Serve: showCollection},
	{Pattern: "POST /o/{org}/collections/{kind}", Access: InOrg, Serve: changeCollection},
}

type settingsView struct {
	Org         client.Organization
	Name        string
	MayChange   bool
	Kits        []client.Kit
	Collections []client.Collection
	Errors      Errors
}

// Ready counts the collections of a kit that are there.
func (settingsView) Ready(k client.Kit) (n int) {
	for _, c := range k.Collections {
		if c.Installed {
			n++
		}
	}
	return n
}

func (v *Visit) settingsPage(name string, errs Errors) error {
	org, err := v.API.Organization(v.Context(), v.Org.ID)
	if err != nil {
		return err
	}
	view := settingsView{Org: org, Name: org.Name, MayChange: v.Holds(client.OrgAdmin), Errors: errs}
	if v.Holds(client.OrgAdmin) {
		if view.Kits, err = v.API.Kits(v.Context(), v.Org.ID); err != nil {
			return err
		}
		s, err := v.shelf()
		if err != nil {
			return err
		}
		view.Collections = s.all
	}
	if errs != nil {
		view.Name = name
		return v.Again("settings", "Settings", view)
	}
	return v.Render("settings", "Settings", view)
}

func showSettings(v *Visit) error { return v.settingsPage("", nil) }

func changeSettings(v *Visit) error {
	form, err := v.Form()
	if err != nil {
		return err
	}
	org, err := v.API.RenameOrganization(v.Context(), v.Org.ID, form.Get("name"))
	if p, ok := Refused(err); ok {
		return v.settingsPage(form.Get("name"), FieldErrors(p))
	}
	if err != nil {
		return err
	}
	return v.Done(v.OrgPath("settings"), "The organization is called "+org.Name+" now.")
}

// installKit starts the collections of a kit.
func installKit(v *Visit) error {
	kit, err := v.API.InstallKit(v.Context(), v.Org.ID, v.Param("kit"))
	if p, ok := Refused(err); ok {
		return v.settingsPage(v.Org.Name, FieldErrors(p))
	}
	if err != nil {
		return err
	}
	return v.Done(v.OrgPath(), kit.Title+" is installed.")
}

type collectionView struct {
	New                                    bool
	Kind, Title, Description               string
	Visibility, Schema, Relations, Version string
	Kit                                    string
	Changed                                bool
	Misfits                                []item // records that a new schema would refuse
	Errors                                 Errors
}

// Visibilities says who sees a new record.
func (collectionView) Visibilities() []Option {
	return []Option{{client.ForOrganization, "Everybody in the organization"}, {client.ForOwner, "Its owner alone, until it is shared"}}
}

const emptySchema = `{
  "type": "object",
  "required": ["name"],
  "properties": {
    "name": {"type": "string", "title": "Name", "x-strongroom": {"title": true, "search": "words"}}
  }
}`

func (v *Visit) collectionPage(view collectionView) error {
	title := "Declare a collection"
	if !view.New {
		title = view.Title
	}
	if view.Errors != nil {
		return v.Again("collection", title, view)
	}
	return v.Render("collection", title, view)
}

func showNewCollection(v *Visit) error {
	return v.collectionPage(collectionView{New: true, Visibility: client.ForOrganization, Schema: emptySchema, Relations: "{}"})
}

// declaration reads the form. What is wrong with its JSON beyond being none,
// the API says.
func (v *Visit) declaration(view *collectionView) (n client.NewCollection, err error) {
	form, err := v.Form()
	if err != nil {
		return n, err
	}
	view.Title, view.Description, view.Visibility = form.Get("title"), form.Get("description"), form.Get("visibility")
	view.Schema, view.Relations, view.Version = form.Get("schema"), form.Get("relations"), form.Get("version")
	if view.New {
		view.Kind = form.Get("kind")
	}
	n = client.NewCollection{Kind: view.Kind, Title: view.Title, Description: view.Description, Visibility: view.Visibility, Schema: json.RawMessage(view.Schema)}
	errs := Errors{}
	if !json.Valid(n.Schema) {
		errs["schema"] = "This is not JSON."
	}
	if view.Relations != "" && json.Unmarshal([]byte(view.Relations), &n.Relations) != nil {
		errs["relations"] = `Write relations as {"name": {"title": "…", "to": ["kind"], "many": true}}.`
	}
	if len(errs) > 0 {
		view.Errors = errs
	}
	return n, nil
}

func createCollection(v *Visit) error {
	view := collectionView{New: true}
	n, err := v.declaration(&view)
	if err != nil {
		return err
	}
	if view.Errors == nil {
		c, err := v.API.CreateCollection(v.Context(), v.Org.ID, n)
		p, ok := Refused(err)
		switch {
		case err == nil:
			return v.Done(v.OrgPath("c", c.Kind), c.Title+" is ready.")
		case !ok:
			return err
		}
		view.refuse(p)
		if view.Misfits = v.misfits(view.Kind, p); len(view.Misfits) > 0 {
			view.Errors = Errors{"": sentence(p.Detail)}
		}
	}
	return v.collectionPage(view)
}

// refuse says what the API has against a declaration. The pointers of a
// schema's faults go on inside of it: they belong to the one field.
func (w *collectionView) refuse(p *client.Problem) {
	w.Errors = Errors{}
	for at, words := range FieldErrors(p) {
		for _, field := range []string{"schema", "relations"} {
			if len(at) > len(field) && at[:len(field)] == field {
				words = "At " + at[len(field):] + ": " + words
				at = field
			}
		}
		if w.Errors[at] == "" {
			w.Errors[at] = words
		}
	}
}

// misfits names the stored records that keep a schema from being changed.
func (v *Visit) misfits(kind string, p *client.Problem) (out []item) {
	for _, f := range p.Errors {
		if f.Code != "records_do_not_fit" {
			continue
		}
		it := item{Title: f.Detail}
		if strings.HasPrefix(f.Detail, "rec_") {
			it = item{Title: shortID(f.Detail), Path: v.OrgPath("c", kind, f.Detail)}
			// One in the trash, or one that is not for this person to open, keeps
			// its identifier.
			if r, err := v.API.Record(v.Context(), v.Org.ID, kind, f.Detail); err == nil && r.Title != "" {
				it.Title = r.Title
			}
		}
		out = append(out, it)
	}
	return out
}

func showCollection(v *Visit) error {
	c, err := v.API.Collection(v.Context(), v.Org.ID, v.Param("kind"))
	if err != nil {
		return err
	}
	view := collectionView{Kind: c.Kind, Title: c.Title, Description: c.Description, Visibility: c.Visibility, Kit: c.Kit, Changed: c.Changed,
		Version: strconv.FormatInt(c.Version, 10), Relations: "{}", Schema: indented(c.Schema)}
	if len(c.Relations) > 0 {
		b, err := json.MarshalIndent(c.Relations, "", "  ")
		if err != nil {
			return err
		}
		view.Relations = string(b)
	}
	return v.collectionPage(view)
}

func changeCollection(v *Visit) error {
	view := collectionView{Kind: v.Param("kind")}
	n, err := v.declaration(&view)
	if err != nil {
		return err
	}
	version, err := strconv.ParseInt(view.Version, 10, 64)
	if err != nil {
		return statusError(400)
	}
	if view.Errors == nil {
		c, err := v.API.UpdateCollection(v.Context(), v.Org.ID, n, version)
		p, ok := Refused(err)
		switch {
		case err == nil:
			return v.Done(v.OrgPath("settings"), c.Title+" is changed.")
		case !ok:
			return err
		}
		view.refuse(p)
		if view.Misfits = v.misfits(view.Kind, p); len(view.Misfits) > 0 {
			view.Errors = Errors{"": sentence(p.Detail)}
		}
	}
	return v.collectionPage(view)
}
