package console

import (
	"net/url"
	"slices"
	"time"

	"strongroom/client"
	"strongroom/internal/web/console/form"
)

var listPages = []Page{
	{Pattern: "GET /o/{org}/c/{kind}", Access: InOrg, Serve: listRecords},
}

type listView struct {
	Collection client.Collection
	Title      string
	Columns    []form.Column
	Rows       []listRow
	First      string // leads to the first page, from a later one
	Next       string
	Mine       bool
	LinkedTo   string // the title of the record whose neighbors these are
	LinkedPath string
	Undo       string // the record that was just put into the trash
	New        string // where a new one is made; "": not by this person
	Filtered   bool
	Export     bool
}

type listRow struct {
	Path    string
	Title   string
	Cells   []string
	Private bool
	At      time.Time
	By      string
}

func listRecords(v *Visit) error {
	kind := v.Param("kind")
	c, err := v.API.Collection(v.Context(), v.Org.ID, kind)
	if err != nil {
		return err
	}
	schema, err := schemaOf(c)
	if err != nil {
		return err
	}
	filter := client.Filter{LinkedTo: v.Query("linked_to"), Relation: v.Query("relation"), Mine: v.Query("mine") == "true"}
	list := client.List{Limit: listLimit, Cursor: v.Query("cursor")}
	p, err := v.API.FilterRecords(v.Context(), v.Org.ID, kind, filter, list)
	if err != nil {
		return err
	}
	view := listView{Collection: c, Title: collectionTitle(c), Columns: schema.Columns(maxColumns), Mine: filter.Mine, Filtered: filter != client.Filter{}, Export: v.Holds(client.Analyst)}
	for _, r := range p.Items {
		view.Rows = append(view.Rows, listRow{Path: v.OrgPath("c", kind, r.ID), Title: recordTitle(schema, r), Cells: schema.Cells(r.Content, view.Columns),
			Private: r.Visibility == client.ForOwner, At: r.UpdatedAt, By: r.UpdatedBy})
	}
	view.keepFilled(shownColumns)
	q := url.Values{}
	for _, name := range []string{"linked_to", "relation", "mine", "from"} {
		if s := v.Query(name); s != "" {
			q.Set(name, s)
		}
	}
	here := v.OrgPath("c", kind)
	if list.Cursor != "" {
		view.First = withQuery(here, q)
	}
	if p.Next != "" {
		q.Set("cursor", p.Next)
		view.Next = withQuery(here, q)
	}
	if v.Holds(client.Scientist) {
		view.New = v.OrgPath("c", kind, "new")
		if u := v.Query("undo"); isRecord(u) {
			view.Undo = v.OrgPath("c", kind, u, "restore")
		}
	}
	if from := v.Query("from"); filter.LinkedTo != "" && from != "" {
		if r, err := v.API.Record(v.Context(), v.Org.ID, from, filter.LinkedTo); err == nil {
			view.LinkedTo, view.LinkedPath = recordTitle(nil, r), v.OrgPath("c", from, r.ID)
		}
	}
	return v.Render("list", view.Title, view)
}

// Of the columns that a schema could fill, a page shows the first ones that its
// records do fill.
const (
	maxColumns   = 24
	shownColumns = 4
)

func (l *listView) keepFilled(limit int) {
	var keep []int
	for i := range l.Columns {
		if len(keep) < limit && slices.ContainsFunc(l.Rows, func(r listRow) bool { return r.Cells[i] != "" }) {
			keep = append(keep, i)
		}
	}
	columns := make([]form.Column, len(keep))
	for to, from := range keep {
		columns[to] = l.Columns[from]
	}
	l.Columns = columns
	for i, r := range l.Rows {
		cells := make([]string, len(keep))
		for to, from := range keep {
			cells[to] = r.Cells[from]
		}
		l.Rows[i].Cells = cells
	}
}

func collectionTitle(c client.Collection) string {
	if c.Title != "" {
		return c.Title
	}
	return c.Kind
}

func withQuery(path string, q url.Values) string {
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}
