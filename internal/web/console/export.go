package console

import (
	"net/http"
	"slices"
	"strings"

	"strongroom/client"
)

var exportPages = []Page{
	{Pattern: "GET /o/{org}/export", Access: InOrg, Serve: showExports},
	{Pattern: "POST /o/{org}/export", Access: InOrg, Serve: startExport},
	{Pattern: "GET /o/{org}/export/{exp}/content", Access: InOrg, Serve: downloadExport},
	{Pattern: "POST /o/{org}/export/{exp}/delete", Access: InOrg, Serve: deleteExport},
}

type exportView struct {
	Choices     []choiceOf // of one thing that the page was asked for
	Collections []choiceOf
	Chosen      string
	Format      string
	Formats     []Option
	Exports     []exportRow
	Running     bool
	Errors      Errors
}

// choiceOf is something to export: its value holds the scope and what it is
// of, as in record:sample:rec_….
type choiceOf struct{ Value, Label string }

type exportRow struct {
	client.ExportJob
	What   string
	Path   string // of the archive, once it is there
	Remove string // "": it is being made
	Format string
}

var exportFormats = []Option{
	{client.AsZIP, "ZIP: records as NDJSON and CSV, files, history, hashes"},
	{client.AsNDJSON, "NDJSON: the records alone"},
	{client.AsCSV, "CSV: the records of one collection, for a spreadsheet"},
}

func showExports(v *Visit) error {
	if v.IsPartial() {
		rows, running, err := v.exports()
		if err != nil {
			return err
		}
		return v.Part("export", "export-list", exportView{Exports: rows, Running: running})
	}
	return v.showExports(http.StatusOK, v.Query("chosen"), "", nil)
}

func (v *Visit) showExports(status int, chosen, format string, errs Errors) error {
	all, err := v.shelf()
	if err != nil {
		return err
	}
	view := exportView{Formats: exportFormats, Chosen: chosen, Format: format, Errors: errs}
	kind, rec, file := v.Query("collection"), v.Query("record"), v.Query("file")
	switch {
	case rec != "" && kind != "":
		r, err := v.API.Record(v.Context(), v.Org.ID, kind, rec)
		if err != nil {
			return err
		}
		schema, _ := schemaOf(all.byKind[kind])
		name := recordTitle(schema, r)
		// A sample without what was measured on it is seldom what somebody wants.
		view.Choices = []choiceOf{{"project:" + kind + ":" + rec, name + " and everything that leads to it, with files"}, {"record:" + kind + ":" + rec, name + " alone, with its own files"}}
	case file != "":
		f, err := v.API.File(v.Context(), v.Org.ID, file)
		if err != nil {
			return err
		}
		view.Choices = []choiceOf{{"file:" + file, f.Name}}
	}
	for _, c := range all.all {
		view.Collections = append(view.Collections, choiceOf{"collection:" + c.Kind, collectionTitle(c)})
	}
	if view.Chosen == "" {
		switch {
		case len(view.Choices) > 0:
			view.Chosen = view.Choices[0].Value
		case kind != "":
			view.Chosen = "collection:" + kind
		}
	}
	if view.Exports, view.Running, err = v.exports(); err != nil {
		return err
	}
	return v.render(status, "export", "Export", view)
}

// exports lists the caller's archives with what they hold, in words.
func (v *Visit) exports() (rows []exportRow, running bool, err error) {
	p, err := v.API.ListExports(v.Context(), v.Org.ID, client.List{Limit: listLimit})
	if err != nil {
		return nil, false, err
	}
	var all shelf
	if len(p.Items) > 0 {
		if all, err = v.shelf(); err != nil {
			return nil, false, err
		}
	}
	for _, x := range p.Items {
		row := exportRow{ExportJob: x, What: v.exportWords(all, x.ExportRequest), Format: strings.ToUpper(x.Format)}
		if x.State == "ready" {
			row.Path = v.OrgPath("export", x.ID, "content")
		}
		if x.State != "running" {
			row.Remove = v.OrgPath("export", x.ID, "delete")
		}
		running = running || x.State == "waiting" || x.State == "running"
		rows = append(rows, row)
	}
	return rows, running, nil
}

func (v *Visit) exportWords(all shelf, r client.ExportRequest) string {
	switch r.Scope {
	case client.OfCollection:
		return all.title(r.Collection)
	case client.OfRecord:
		return "One of " + all.title(r.Collection) + " (" + shortID(r.Record) + ")"
	case client.OfProject:
		return "One of " + all.title(r.Collection) + " and what leads to it (" + shortID(r.Record) + ")"
	case client.OfFile:
		return "A file (" + shortID(r.File) + ")"
	}
	return "Everything"
}

func startExport(v *Visit) error {
	f, err := v.Form()
	if err != nil {
		return err
	}
	what, format := f.Get("what"), f.Get("format")
	r := client.ExportRequest{Scope: client.OfOrganization, Format: format}
	if what != "everything" {
		parts := strings.Split(what, ":")
		r.Scope = parts[0]
		switch {
		case r.Scope == client.OfCollection && len(parts) == 2:
			r.Collection = parts[1]
		case (r.Scope == client.OfRecord || r.Scope == client.OfProject) && len(parts) == 3:
			r.Collection, r.Record = parts[1], parts[2]
		case r.Scope == client.OfFile && len(parts) == 2:
			r.File = parts[1]
		default:
			return statusError(http.StatusBadRequest)
		}
	}
	if !slices.ContainsFunc(exportFormats, func(o Option) bool { return o.Value == format }) {
		return statusError(http.StatusBadRequest)
	}
	if _, err := v.API.StartExport(v.Context(), v.Org.ID, r); err != nil {
		p, ok := Refused(err)
		if !ok {
			return err
		}
		return v.showExports(http.StatusUnprocessableEntity, what, format, FieldErrors(p))
	}
	return v.Done(v.OrgPath("export"), "The export is being made. It appears below, and can be fetched for a day.")
}

func downloadExport(v *Visit) error {
	a, err := v.API.DownloadExport(v.Context(), v.Org.ID, v.Param("exp"))
	if err != nil {
		return err
	}
	defer func() { _ = a.Close() }()
	return v.send(a, a.Size, a.MediaType, a.Name)
}

func deleteExport(v *Visit) error {
	if err := v.API.DeleteExport(v.Context(), v.Org.ID, v.Param("exp")); err != nil {
		return err
	}
	return v.Done(v.OrgPath("export"), "The export is removed. What it was made of is still there.")
}
