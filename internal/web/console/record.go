package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"strongroom/client"
	"strongroom/internal/web/console/form"
)

var recordPages = []Page{
	{Pattern: "GET /o/{org}/c/{kind}/{rec}", Access: InOrg, Serve: showRecord},
	{Pattern: "GET /o/{org}/c/{kind}/{rec}/history", Access: InOrg, Serve: showHistory},
	{Pattern: "GET /o/{org}/c/{kind}/{rec}/json", Access: InOrg, Serve: showJSON},
	{Pattern: "POST /o/{org}/c/{kind}/{rec}/delete", Access: InOrg, Serve: deleteRecord},
	{Pattern: "POST /o/{org}/c/{kind}/{rec}/restore", Access: InOrg, Serve: restoreRecord},
}

func isRecord(id string) bool { return strings.HasPrefix(id, "rec_") }

// recordView is the page of one record.
type recordView struct {
	Collection client.Collection
	Record     client.Record
	Title      string
	Path       string
	Items      []form.Item
	Groups     []linkGroup
	Files      []attached // of the record itself
	Around     []linkedPictures
	Adds       []addLink
	Versions   []version
	More       bool // versions that are not on this page
	Sharing    *sharingView
	MayEdit    bool
	MayDelete  bool
	MayExport  bool
	Upload     *uploadBox
}

// linkGroup is what a record is linked to in one way.
type linkGroup struct {
	Heading string
	Inward  bool // the others name this record
	Links   []linkRow
	All     string // a list of them, where there may be more
}

type linkRow struct {
	ID, Path, Title string
	Kind            string // the collection's title, where the group does not say it
	At              time.Time
	Out             bool // it is this record's own link, to be removed here
}

// attached is a file that belongs to a record.
type attached struct {
	Link, ID, Name, Relation, Path, Preview string
}

// linkedPictures are the pictures of a record that names this one.
type linkedPictures struct {
	Title, Path string
	Pictures    []attached
}

// addLink leads to the form of a new record that is linked to this one.
type addLink struct{ Label, Path string }

const (
	maxLinks  = 200 // of one record, on one page
	maxAround = 12  // linked records whose pictures are looked for
)

// record reads what every page of a record begins with.
func (v *Visit) record() (c client.Collection, s *form.Schema, r client.Record, err error) {
	kind := v.Param("kind")
	if c, err = v.API.Collection(v.Context(), v.Org.ID, kind); err != nil {
		return c, nil, r, err
	}
	if s, err = schemaOf(c); err != nil {
		return c, nil, r, err
	}
	r, err = v.API.Record(v.Context(), v.Org.ID, kind, v.Param("rec"))
	return c, s, r, err
}

func showRecord(v *Visit) error {
	return v.showRecord(nil)
}

// showRecord makes the page of a record; problem is what the API had against
// a small change made on it.
func (v *Visit) showRecord(problem error) error {
	c, schema, r, err := v.record()
	if err != nil {
		return err
	}
	all, err := v.shelf()
	if err != nil {
		return err
	}
	items, err := schema.Show(r.Content, r.Missing)
	if err != nil {
		return err
	}
	view := recordView{Collection: c, Record: r, Title: recordTitle(schema, r), Path: v.OrgPath("c", c.Kind, r.ID), Items: items,
		MayEdit: v.Holds(client.Scientist), MayDelete: v.mayDelete(r.Owner, r.CreatedBy), MayExport: v.Holds(client.Analyst)}
	if t := schema.Title(); t != "" {
		view.Items = slices.DeleteFunc(view.Items, func(it form.Item) bool { return it.Name == t && it.Value == view.Title })
	}
	links, err := v.API.ListLinks(v.Context(), v.Org.ID, c.Kind, r.ID, client.List{Limit: maxLinks})
	if err != nil {
		return err
	}
	v.group(&view, all, links.Items)
	v.around(&view)
	if view.MayEdit {
		view.Adds = v.adds(all, c, r)
		view.Upload = &uploadBox{Action: v.OrgPath("c", c.Kind, r.ID, "files"), Label: "Add files", Hint: "They are stored, and linked to this record."}
	}
	if err := v.recent(&view, schema); err != nil {
		return err
	}
	if r.Owner == v.Me.Person.ID {
		if view.Sharing, err = v.sharing(c.Kind, r.ID); err != nil {
			return err
		}
	}
	if problem != nil {
		p, ok := Refused(problem)
		if !ok {
			return problem
		}
		if view.Sharing != nil {
			view.Sharing.Errors = FieldErrors(p)
		}
		return v.Again("record", view.Title, view)
	}
	return v.Render("record", view.Title, view)
}

// mayDelete says whether the button shows: one's own, or everybody's for who
// looks after the trash.
func (v *Visit) mayDelete(owner, creator string) bool {
	return v.Holds(client.OrgAdmin) || v.Holds(client.Scientist) && (owner == v.Me.Person.ID || creator == v.Me.Person.ID)
}

// group sorts links by what they are for: files for themselves, others by
// relation and by the collection at the other end.
func (v *Visit) group(view *recordView, all shelf, links []client.Link) {
	at := map[string]int{}
	for _, l := range links {
		out := l.Direction != "in"
		other := l.To
		if !out {
			other = l.From
		}
		if isFile(other) {
			f := attached{Link: l.ID, ID: other, Name: l.Title, Relation: all.relation(view.Collection.Kind, l.Relation), Path: v.OrgPath("files", other)}
			if f.Name == "" {
				f.Name = shortID(other)
			}
			if looksLikePicture(l.Title, "") {
				f.Preview = v.OrgPath("files", other, "preview")
			}
			view.Files = append(view.Files, f)
			continue
		}
		row := linkRow{ID: l.ID, Title: l.Title, At: l.CreatedAt, Out: out}
		if row.Title == "" {
			row.Title = shortID(other)
		}
		if l.Collection != "" {
			row.Path = v.OrgPath("c", l.Collection, other)
		}
		g := linkGroup{Inward: !out}
		if out {
			g.Heading = all.relation(view.Collection.Kind, l.Relation)
			row.Kind = all.title(l.Collection)
		} else {
			// Seen from here they are the things that name this one.
			g.Heading = all.title(l.Collection)
			if l.Collection == "" {
				g.Heading = "Linked from"
			} else {
				g.All = withQuery(v.OrgPath("c", l.Collection), url.Values{"linked_to": {view.Record.ID}, "from": {view.Collection.Kind}})
			}
			if words := all.relation(l.Collection, l.Relation); !strings.EqualFold(words, view.Collection.Kind) && !strings.EqualFold(words, collectionTitle(view.Collection)) {
				row.Kind = words
			}
		}
		key := g.Heading
		if out {
			key = "out " + key
		}
		i, ok := at[key]
		if !ok {
			i = len(view.Groups)
			at[key] = i
			view.Groups = append(view.Groups, g)
		}
		view.Groups[i].Links = append(view.Groups[i].Links, row)
	}
	slices.SortStableFunc(view.Groups, func(a, b linkGroup) int {
		if a.Inward != b.Inward {
			if a.Inward {
				return 1
			}
			return -1
		}
		return strings.Compare(a.Heading, b.Heading)
	})
}

// around looks for the pictures of the records that name this one, so that a
// sample shows the frames of its measurements.
func (v *Visit) around(view *recordView) {
	var near []linkRow
	for _, g := range view.Groups {
		for _, l := range g.Links {
			if g.Inward && l.Path != "" && len(near) < maxAround {
				near = append(near, l)
			}
		}
	}
	shown := map[string]bool{}
	for _, f := range view.Files {
		shown[f.ID] = true
	}
	found := make([]linkedPictures, len(near))
	inParallel(v.Context(), near, func(ctx context.Context, i int, l linkRow) {
		parts := strings.Split(l.Path, "/")
		kind, rec := parts[len(parts)-2], parts[len(parts)-1]
		links, err := v.API.ListLinks(ctx, v.Org.ID, kind, rec, client.List{Limit: maxLinks})
		if err != nil {
			return // the page stands without the pictures of another record
		}
		found[i] = linkedPictures{Title: l.Title, Path: l.Path}
		for _, x := range links.Items {
			if isFile(x.To) && !shown[x.To] && looksLikePicture(x.Title, "") && len(found[i].Pictures) < 12 {
				found[i].Pictures = append(found[i].Pictures, attached{ID: x.To, Name: x.Title, Path: v.OrgPath("files", x.To), Preview: v.OrgPath("files", x.To, "preview")})
			}
		}
	})
	for _, f := range found {
		if len(f.Pictures) > 0 {
			view.Around = append(view.Around, f)
		}
	}
}

// adds lists the collections whose records may name this one.
func (v *Visit) adds(all shelf, c client.Collection, r client.Record) (out []addLink) {
	for _, other := range all.all {
		for name, rel := range other.Relations {
			if slices.Contains(rel.To, c.Kind) && (other.Kind != c.Kind) {
				out = append(out, addLink{Label: collectionTitle(other), Path: withQuery(v.OrgPath("c", other.Kind, "new"), url.Values{"link": {name + ":" + r.ID}})})
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b addLink) int { return strings.Compare(a.Label, b.Label) })
	return out
}

// attachRelation is the relation of a file that is put onto a record: the one
// that leads to files, else the one that leads anywhere.
func attachRelation(c client.Collection) string {
	var names []string
	for name, r := range c.Relations {
		if slices.Contains(r.To, toFiles) && r.Many {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		for name, r := range c.Relations {
			if slices.Contains(r.To, toFiles) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	switch {
	case len(names) > 0:
		return names[0]
	case len(c.Relations) == 0:
		return toFiles
	}
	return relatedRelation
}

// version is one line of a history: who, when, and what it changed.
type version struct {
	Number  int64
	Action  string
	At      time.Time
	By      string
	Changes []form.Change
	More    int // changes that are left out
	First   bool
	Erased  bool // its content is gone
	JSON    string
}

// versions turns changes, the newest first, into lines. before is the one
// behind the last of them, or nil where that is the first of all.
func (v *Visit) versions(schema *form.Schema, all []client.Change, before *client.Change) (out []version) {
	for i, c := range all {
		line := version{Number: c.Version, Action: c.Action, At: c.At, By: v.Name(c.By), Erased: len(c.Content) == 0}
		older := before
		if i+1 < len(all) {
			older = &all[i+1]
		}
		switch {
		case older == nil:
			line.First = true
		case len(c.Content) > 0 && len(older.Content) > 0:
			line.Changes, line.More = schema.Diff(older.Content, c.Content)
		}
		line.JSON = indented(c.Content)
		out = append(out, line)
	}
	return out
}

func indented(raw []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}

// oneMore cuts a page of n+1 changes into n and the one behind them.
func oneMore(all []client.Change, n int) ([]client.Change, *client.Change) {
	if len(all) <= n {
		return all, nil
	}
	return all[:n], &all[n]
}

func (v *Visit) recent(view *recordView, schema *form.Schema) error {
	const shown = 3
	p, err := v.API.ListHistory(v.Context(), v.Org.ID, view.Collection.Kind, view.Record.ID, client.List{Limit: shown + 1})
	if err != nil {
		return err
	}
	some, before := oneMore(newestFirst(p.Items), shown)
	view.Versions, view.More = v.versions(schema, some, before), before != nil || p.Next != ""
	return nil
}

// newestFirst holds the order of the API's history.
func newestFirst(all []client.Change) []client.Change {
	slices.SortStableFunc(all, func(a, b client.Change) int { return int(b.Version - a.Version) })
	return all
}

type historyView struct {
	Title, Path, Kind, KindPath string
	Versions                    []version
	Next                        string
}

func showHistory(v *Visit) error {
	c, schema, r, err := v.record()
	if err != nil {
		return err
	}
	const shown = 20
	p, err := v.API.ListHistory(v.Context(), v.Org.ID, c.Kind, r.ID, client.List{Limit: shown, Cursor: v.Query("cursor")})
	if err != nil {
		return err
	}
	all := newestFirst(p.Items)
	var before *client.Change
	if p.Next != "" { // the difference of the last one needs the one behind it
		q, err := v.API.ListHistory(v.Context(), v.Org.ID, c.Kind, r.ID, client.List{Limit: 1, Cursor: p.Next})
		if err != nil {
			return err
		}
		if len(q.Items) > 0 {
			before = &q.Items[0]
		}
	}
	view := historyView{Title: recordTitle(schema, r), Path: v.OrgPath("c", c.Kind, r.ID), Kind: collectionTitle(c), KindPath: v.OrgPath("c", c.Kind),
		Versions: v.versions(schema, all, before), Next: p.Next}
	return v.Render("record-history", "History of "+view.Title, view)
}

type jsonView struct {
	Title, Path, Kind, KindPath string
	JSON                        string
	API                         string // where programs find it
}

func showJSON(v *Visit) error {
	c, schema, r, err := v.record()
	if err != nil {
		return err
	}
	var whole bytes.Buffer
	enc := json.NewEncoder(&whole)
	enc.SetEscapeHTML(false) // the template escapes what needs it
	if err := enc.Encode(r); err != nil {
		return errors.New("console: a record is no JSON")
	}
	view := jsonView{Title: recordTitle(schema, r), Path: v.OrgPath("c", c.Kind, r.ID), Kind: collectionTitle(c), KindPath: v.OrgPath("c", c.Kind),
		JSON: indented(whole.Bytes()), API: "/v1/orgs/" + v.Org.ID + "/collections/" + c.Kind + "/records/" + r.ID}
	return v.Render("record-json", "JSON of "+view.Title, view)
}

func deleteRecord(v *Visit) error {
	f, err := v.Form()
	if err != nil {
		return err
	}
	kind, rec := v.Param("kind"), v.Param("rec")
	number, err := versionIn(f)
	if err != nil {
		return err
	}
	if err := v.API.DeleteRecord(v.Context(), v.Org.ID, kind, rec, number); err != nil {
		return err
	}
	to := v.OrgPath("c", kind)
	if v.Holds(client.Scientist) {
		to = withQuery(to, url.Values{"undo": {rec}})
	}
	return v.Done(to, "It is in the trash now, for seven days.")
}

func restoreRecord(v *Visit) error {
	kind := v.Param("kind")
	r, err := v.API.RestoreRecord(v.Context(), v.Org.ID, kind, v.Param("rec"))
	if err != nil {
		return err
	}
	if !v.Holds(client.Scientist, client.Analyst) { // who restores may not be one who reads
		return v.Done(v.OrgPath("trash"), "It is back where it was.")
	}
	return v.Done(v.OrgPath("c", kind, r.ID), "It is back where it was.")
}

// versionIn reads the version that a page was made from.
func versionIn(f url.Values) (int64, error) {
	var n int64
	if err := json.Unmarshal([]byte(f.Get("version")), &n); err != nil || n < 1 {
		return 0, statusError(http.StatusBadRequest)
	}
	return n, nil
}
