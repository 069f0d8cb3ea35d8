package console

import (
	"net/http"
	"slices"
	"strings"

	"strongroom/client"
)

var recordLinkPages = []Page{
	{Pattern: "GET /o/{org}/c/{kind}/{rec}/link", Access: InOrg, Serve: chooseLink},
	{Pattern: "POST /o/{org}/c/{kind}/{rec}/link", Access: InOrg, Serve: addLinks},
	{Pattern: "POST /o/{org}/c/{kind}/{rec}/unlink", Access: InOrg, Serve: removeLink},
	{Pattern: "POST /o/{org}/c/{kind}/{rec}/sharing", Access: InOrg, Serve: changeSharing},
}

// linkView is the page on which a link is made: by which relation, to what.
type linkView struct {
	Title, Path, Kind, KindPath string
	Relations                   []Option
	Relation                    string
	Picker                      *relationPicker
	Errors                      Errors
}

// relationsOf lists the relations that a collection's records carry.
func relationsOf(all shelf, c client.Collection) (out []Option) {
	for _, name := range sortedKeys(c.Relations) {
		out = append(out, Option{name, all.relation(c.Kind, name)})
	}
	return append(out, Option{relatedRelation, "Related"})
}

func chooseLink(v *Visit) error { return v.chooseLink(http.StatusOK, nil, nil) }

func (v *Visit) chooseLink(status int, picked []string, errs Errors) error {
	c, schema, r, err := v.record()
	if err != nil {
		return err
	}
	all, err := v.shelf()
	if err != nil {
		return err
	}
	view := linkView{Title: recordTitle(schema, r), Path: v.OrgPath("c", c.Kind, r.ID), Kind: collectionTitle(c), KindPath: v.OrgPath("c", c.Kind),
		Relations: relationsOf(all, c), Relation: v.Query("relation"), Errors: errs}
	if view.Relation != "" {
		if !slices.ContainsFunc(view.Relations, func(o Option) bool { return o.Value == view.Relation }) {
			return statusError(http.StatusNotFound)
		}
		rel, declared := c.Relations[view.Relation]
		if !declared {
			rel.Many = true
		}
		if len(rel.To) == 0 {
			for _, other := range all.all {
				rel.To = append(rel.To, other.Kind)
			}
			rel.To = append(rel.To, toFiles)
		}
		p, err := v.picker(all, c.Kind, view.Relation, rel, picked)
		if err != nil {
			return err
		}
		for i := range p.Groups { // a record is not linked to itself
			p.Groups[i].Options = slices.DeleteFunc(p.Groups[i].Options, func(o pickOption) bool { return o.ID == r.ID })
		}
		p.Groups = slices.DeleteFunc(p.Groups, func(g pickGroup) bool { return len(g.Options) == 0 })
		view.Picker = &p
	}
	return v.render(status, "record-link", "Link "+view.Title, view)
}

func addLinks(v *Visit) error {
	f, err := v.Form()
	if err != nil {
		return err
	}
	kind, rec, relation := v.Param("kind"), v.Param("rec"), v.Query("relation")
	targets := slices.DeleteFunc(f["link/"+relation], func(s string) bool { return s == "" })
	if len(targets) == 0 {
		return v.chooseLink(http.StatusUnprocessableEntity, nil, Errors{"": "Choose what to link to."})
	}
	for i, to := range targets {
		if _, err := v.API.CreateLink(v.Context(), v.Org.ID, kind, rec, to, relation); err != nil {
			p, ok := Refused(err)
			if !ok {
				return err
			}
			return v.chooseLink(http.StatusUnprocessableEntity, targets[i:], Errors{"": FieldErrors(p).first()})
		}
	}
	return v.Done(v.OrgPath("c", kind, rec), "Linked.")
}

// first is one of the remarks, where a page has room for one.
func (e Errors) first() string {
	for _, at := range sortedKeys(e) {
		return e[at]
	}
	return ""
}

func removeLink(v *Visit) error {
	f, err := v.Form()
	if err != nil {
		return err
	}
	kind, rec := v.Param("kind"), v.Param("rec")
	err = v.API.DeleteLink(v.Context(), v.Org.ID, kind, rec, f.Get("link"))
	if p, ok := Refused(err); ok {
		return v.Done(v.OrgPath("c", kind, rec), FieldErrors(p).first())
	}
	if err != nil {
		return err
	}
	return v.Done(v.OrgPath("c", kind, rec), "The link is gone. What it led to is still there.")
}

// sharingView says who sees a record, to its owner.
type sharingView struct {
	client.Sharing
	People []shareChoice
	Errors Errors
}

type shareChoice struct {
	ID, Name string
	Shared   bool
}

func (v *Visit) sharing(kind, rec string) (*sharingView, error) {
	s, err := v.API.Sharing(v.Context(), v.Org.ID, kind, rec)
	if client.Status(err) == http.StatusForbidden {
		return nil, nil // a role that reads and shares nothing
	}
	if err != nil {
		return nil, err
	}
	view := &sharingView{Sharing: s}
	for p, err := range v.API.People(v.Context(), v.Org.ID) {
		if err != nil {
			return nil, err
		}
		if p.ID != v.Me.Person.ID {
			view.People = append(view.People, shareChoice{p.ID, p.Name, slices.Contains(s.People, p.ID)})
		}
	}
	slices.SortFunc(view.People, func(a, b shareChoice) int { return strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return view, nil
}

func changeSharing(v *Visit) error {
	f, err := v.Form()
	if err != nil {
		return err
	}
	kind, rec := v.Param("kind"), v.Param("rec")
	s := client.Sharing{Visibility: f.Get("visibility"), People: f["people"]}
	if s.Visibility != client.ForOwner {
		s.People = nil
	}
	if _, err := v.API.Share(v.Context(), v.Org.ID, kind, rec, s); err != nil {
		return v.showRecord(err)
	}
	words := "Everybody who works with data here sees it now."
	switch {
	case s.Visibility == client.ForOwner && len(s.People) == 0:
		words = "You alone see it now."
	case s.Visibility == client.ForOwner:
		words = "You and the people you chose see it now."
	}
	return v.Done(v.OrgPath("c", kind, rec), words)
}
