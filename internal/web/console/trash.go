package console

import (
	"net/url"

	"strongroom/client"
)

var trashPages = []Page{
	{Pattern: "GET /o/{org}/trash", Access: InOrg, Serve: showTrash},
	{Pattern: "POST /o/{org}/trash", Access: InOrg, Serve: restoreTrash},
}

type trashView struct {
	Items []trashRow
	Kind  string // "", record or file
	Next  string
	First string
}

type trashRow struct {
	client.Trashed
	Words string // the collection's title, or File
}

func showTrash(v *Visit) error {
	kind := v.Query("kind")
	if kind != "record" && kind != "file" {
		kind = ""
	}
	p, err := v.API.ListTrash(v.Context(), v.Org.ID, kind, client.List{Limit: listLimit, Cursor: v.Query("cursor")})
	if err != nil {
		return err
	}
	all, err := v.shelf()
	if err != nil {
		return err
	}
	view := trashView{Kind: kind}
	for _, it := range p.Items {
		row := trashRow{Trashed: it, Words: "File"}
		if it.Kind == "record" {
			row.Words = all.title(it.Collection)
		}
		if row.Title == "" {
			row.Title = shortID(it.ID)
		}
		view.Items = append(view.Items, row)
	}
	q := url.Values{}
	if kind != "" {
		q.Set("kind", kind)
	}
	if v.Query("cursor") != "" {
		view.First = withQuery(v.OrgPath("trash"), q)
	}
	if p.Next != "" {
		q.Set("cursor", p.Next)
		view.Next = withQuery(v.OrgPath("trash"), q)
	}
	return v.Render("trash", "Trash", view)
}

// restoreTrash takes one thing out again and stays on the list, as who
// restores often restores several.
func restoreTrash(v *Visit) error {
	f, err := v.Form()
	if err != nil {
		return err
	}
	if id := f.Get("id"); isFile(id) {
		_, err = v.API.RestoreFile(v.Context(), v.Org.ID, id)
	} else {
		_, err = v.API.RestoreRecord(v.Context(), v.Org.ID, f.Get("collection"), id)
	}
	if err != nil {
		return err
	}
	return v.Done(v.OrgPath("trash"), "It is back where it was.")
}
