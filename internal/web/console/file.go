package console

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"

	"strongroom/client"
)

var filePages = []Page{
	{Pattern: "GET /o/{org}/files", Access: InOrg, Serve: listFiles},
	{Pattern: "POST /o/{org}/files", Access: InOrg, Serve: uploadFiles, Streams: true},
	{Pattern: "GET /o/{org}/files/{fil}", Access: InOrg, Serve: showFile},
	{Pattern: "GET /o/{org}/files/{fil}/content", Access: InOrg, Serve: downloadFile},
	{Pattern: "GET /o/{org}/files/{fil}/preview", Access: InOrg, Serve: previewFile},
	{Pattern: "POST /o/{org}/files/{fil}/replace", Access: InOrg, Serve: replaceFile, Streams: true},
	{Pattern: "POST /o/{org}/files/{fil}/delete", Access: InOrg, Serve: deleteFile},
	{Pattern: "POST /o/{org}/files/{fil}/restore", Access: InOrg, Serve: restoreFile},
	{Pattern: "POST /o/{org}/c/{kind}/{rec}/files", Access: InOrg, Serve: attachFiles, Streams: true},
}

// uploadBox is a form that takes files: by drag and drop and with progress
// where its script runs, and by a plain button where not.
type uploadBox struct {
	Action, Label, Hint string
	Visibility          bool  // who sees the file may be chosen
	Version             int64 // of the file that gets a new one
	One                 bool  // file, not several
}

type filesView struct {
	Files  []fileRow
	Next   string
	Upload *uploadBox
	Undo   string
}

type fileRow struct {
	client.File
	Path, Preview string
}

func (v *Visit) fileRow(f client.File) fileRow {
	row := fileRow{File: f, Path: v.OrgPath("files", f.ID)}
	if looksLikePicture(f.Name, f.MediaType) {
		row.Preview = v.OrgPath("files", f.ID, "preview")
	}
	return row
}

func listFiles(v *Visit) error {
	p, err := v.API.ListFiles(v.Context(), v.Org.ID, client.List{Limit: listLimit, Cursor: v.Query("cursor")})
	if err != nil {
		return err
	}
	view := filesView{Next: p.Next}
	if v.Holds(client.Scientist) {
		view.Upload = &uploadBox{Action: v.OrgPath("files"), Label: "Store files", Hint: "Of any kind and size.", Visibility: true}
	}
	for _, f := range p.Items {
		view.Files = append(view.Files, v.fileRow(f))
	}
	if u := v.Query("undo"); view.Upload != nil && isFile(u) {
		view.Undo = v.OrgPath("files", u, "restore")
	}
	return v.Render("files", "Files", view)
}

type fileView struct {
	fileRow
	Versions           []client.FileVersion
	Next               string // page of versions
	Picture            string
	Replace            *uploadBox
	MayDelete, MayTake bool
}

func showFile(v *Visit) error {
	f, err := v.API.File(v.Context(), v.Org.ID, v.Param("fil"))
	if err != nil {
		return err
	}
	h, err := v.API.ListFileHistory(v.Context(), v.Org.ID, f.ID, client.List{Limit: listLimit, Cursor: v.Query("cursor")})
	if err != nil {
		return err
	}
	view := fileView{fileRow: v.fileRow(f), Versions: h.Items, MayDelete: v.mayDelete(f.Owner, f.CreatedBy), MayTake: v.Holds(client.Analyst)}
	if h.Next != "" {
		view.Next = withQuery(view.Path, url.Values{"cursor": {h.Next}})
	}
	if view.Preview != "" {
		view.Picture = withQuery(view.Preview, url.Values{"size": {"1024"}})
	}
	if v.Holds(client.Scientist) {
		view.Replace = &uploadBox{Action: v.OrgPath("files", f.ID, "replace"), Label: "Store a new version", Hint: "Earlier versions stay.", Version: f.Version, One: true}
	}
	return v.Render("file", f.Name, view)
}

// versionQuery reads ?version=, 0 for the newest.
func (v *Visit) versionQuery() (int64, error) {
	s := v.Query("version")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return 0, statusError(http.StatusNotFound)
	}
	return n, nil
}

// downloadFile hands a file's bytes through as they come.
func downloadFile(v *Visit) error {
	number, err := v.versionQuery()
	if err != nil {
		return err
	}
	c, err := v.API.DownloadFile(v.Context(), v.Org.ID, v.Param("fil"), number, client.Range{})
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	return v.send(c, c.Length, c.MediaType, c.Name)
}

// send answers with bytes to be kept, never to be shown: what somebody stored
// as a page must not become one of ours.
func (v *Visit) send(r io.Reader, length int64, media, name string) error {
	h := v.W.Header()
	if media == "" {
		media = "application/octet-stream"
	}
	h.Set("Content-Type", media)
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	if d := mime.FormatMediaType("attachment", map[string]string{"filename": name}); d != "" {
		h.Set("Content-Disposition", d)
	} else {
		h.Set("Content-Disposition", "attachment")
	}
	if length >= 0 {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	v.W.WriteHeader(http.StatusOK)
	if _, err := io.Copy(v.W, r); err != nil {
		panic(http.ErrAbortHandler) // half a file must not look like a whole one
	}
	return nil
}

func previewFile(v *Visit) error {
	number, err := v.versionQuery()
	if err != nil {
		return err
	}
	size := 256
	if v.Query("size") == "1024" {
		size = 1024
	}
	p, err := v.API.PreviewFile(v.Context(), v.Org.ID, v.Param("fil"), size, number)
	if err != nil {
		// A picture element has no use for a page.
		if status := client.Status(err); status >= 400 && status < 500 && status != http.StatusUnauthorized {
			v.W.WriteHeader(status)
			return nil
		}
		return err
	}
	defer func() { _ = p.Close() }()
	h := v.W.Header()
	h.Set("Content-Type", "image/png")
	if p.Size >= 0 {
		h.Set("Content-Length", strconv.FormatInt(p.Size, 10))
	}
	v.W.WriteHeader(http.StatusOK)
	if _, err := io.Copy(v.W, p); err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// uploaded is what a script gets to know of a file it sent.
type uploaded struct {
	ID    string `json:"id,omitempty"`
	Name  string `json:"name"`
	Path  string `json:"path,omitempty"`
	Error string `json:"error,omitempty"`
}

// byScript reports whether the upload's own script asks, which shows progress
// and wants no page.
func (v *Visit) byScript() bool { return v.R.Header.Get("Strongroom-Upload") == "1" }

const maxFormFields = 20 // of a form with files, beside the files

// parts walks the files of a form as they come in, in constant memory; fields
// before a file are told along with it.
func (v *Visit) parts(file func(*multipart.Part, url.Values) error) error {
	r, err := v.R.MultipartReader()
	if err != nil {
		return statusError(http.StatusUnsupportedMediaType)
	}
	fields := url.Values{}
	for given := 0; ; {
		p, err := r.NextRawPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return statusError(http.StatusBadRequest)
		}
		if p.FileName() == "" {
			// Counted one by one: many of one name take as much room as many names.
			given++
			b, err := io.ReadAll(io.LimitReader(p, 4<<10))
			if err != nil || given > maxFormFields {
				return statusError(http.StatusBadRequest)
			}
			// A file input that was left empty comes as a part without a name.
			if p.FormName() != "file" {
				fields.Add(p.FormName(), string(b))
			}
			continue
		}
		if err := file(p, fields); err != nil {
			return err
		}
	}
}

// upload passes one file on to the API.
func (v *Visit) upload(p *multipart.Part, visibility string) (client.File, error) {
	media := p.Header.Get("Content-Type")
	if _, _, err := mime.ParseMediaType(media); err != nil {
		media = ""
	}
	return v.API.UploadFile(v.Context(), v.Org.ID, client.Upload{Name: p.FileName(), MediaType: media, Visibility: visibility, Body: p})
}

var errNoFileChosen = errors.New("console: no file was chosen")

// receive stores every file of a form and answers: a script with what became
// of its one, a browser with the page that done returns.
func (v *Visit) receive(back string, each func(*multipart.Part, url.Values) (client.File, error)) error {
	var stored []client.File
	err := v.parts(func(p *multipart.Part, fields url.Values) error {
		f, err := each(p, fields)
		if err == nil {
			stored = append(stored, f)
		}
		return err
	})
	if err == nil && len(stored) == 0 {
		err = errNoFileChosen
	}
	if v.byScript() {
		return v.tell(stored, err)
	}
	switch p, refused := Refused(err); {
	case err == nil && len(stored) == 1:
		return v.Done(back, "Stored "+stored[0].Name+".")
	case err == nil:
		return v.Done(back, "Stored "+strconv.Itoa(len(stored))+" files.")
	case errors.Is(err, errNoFileChosen):
		return v.Done(back, "Choose a file first.")
	case refused && len(stored) == 0:
		return v.Done(back, FieldErrors(p).first())
	case refused:
		return v.Done(back, "Stored "+strconv.Itoa(len(stored))+" files, then one was refused. "+FieldErrors(p).first())
	}
	return err
}

func (v *Visit) tell(stored []client.File, err error) error {
	status, out := http.StatusCreated, uploaded{}
	switch p, refused := Refused(err); {
	case err == nil:
		f := stored[len(stored)-1]
		out = uploaded{ID: f.ID, Name: f.Name, Path: v.OrgPath("files", f.ID)}
	case errors.Is(err, errNoFileChosen):
		status, out.Error = http.StatusUnprocessableEntity, "Choose a file first."
	case refused:
		status, out.Error = p.Status, FieldErrors(p).first()
	default:
		status = client.Status(err)
		if status < 400 {
			status = http.StatusInternalServerError
			if own := statusError(0); errors.As(err, &own) {
				status = int(own)
			}
		}
		out.Error, _ = headings(status)
	}
	b, err := json.Marshal(out)
	if err != nil {
		return err
	}
	h := v.W.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	v.W.WriteHeader(status)
	_, _ = v.W.Write(b)
	return nil
}

func uploadFiles(v *Visit) error {
	return v.receive(v.OrgPath("files"), func(p *multipart.Part, fields url.Values) (client.File, error) {
		return v.upload(p, visibilityOf(fields))
	})
}

// visibilityOf reads the choice of a form; what is no choice is the API's to
// refuse.
func visibilityOf(fields url.Values) string { return fields.Get("visibility") }

// attachFiles stores files and links each to a record.
func attachFiles(v *Visit) error {
	kind, rec := v.Param("kind"), v.Param("rec")
	c, err := v.API.Collection(v.Context(), v.Org.ID, kind)
	if err != nil {
		return err
	}
	// Before the first byte: a file for a record that is not there would lie
	// about with nothing that leads to it.
	r, err := v.API.Record(v.Context(), v.Org.ID, kind, rec)
	if err != nil {
		return err
	}
	return v.receive(v.OrgPath("c", kind, rec), func(p *multipart.Part, _ url.Values) (client.File, error) {
		// A private record's files are as private.
		f, err := v.upload(p, r.Visibility)
		if err != nil {
			return f, err
		}
		_, err = v.API.CreateLink(v.Context(), v.Org.ID, kind, rec, f.ID, attachRelation(c))
		return f, err
	})
}

func replaceFile(v *Visit) error {
	id := v.Param("fil")
	return v.receive(v.OrgPath("files", id), func(p *multipart.Part, fields url.Values) (client.File, error) {
		number, err := versionIn(fields)
		if err != nil {
			return client.File{}, err
		}
		media := p.Header.Get("Content-Type")
		if _, _, err := mime.ParseMediaType(media); err != nil {
			media = ""
		}
		return v.API.ReplaceFile(v.Context(), v.Org.ID, id, number, client.Upload{Name: p.FileName(), MediaType: media, Body: p})
	})
}

func deleteFile(v *Visit) error {
	f, err := v.Form()
	if err != nil {
		return err
	}
	number, err := versionIn(f)
	if err != nil {
		return err
	}
	id := v.Param("fil")
	if err := v.API.DeleteFile(v.Context(), v.Org.ID, id, number); err != nil {
		return err
	}
	return v.Done(withQuery(v.OrgPath("files"), url.Values{"undo": {id}}), "It is in the trash now, for seven days.")
}

func restoreFile(v *Visit) error {
	f, err := v.API.RestoreFile(v.Context(), v.Org.ID, v.Param("fil"))
	if err != nil {
		return err
	}
	if !v.Holds(client.Scientist, client.Analyst) {
		return v.Done(v.OrgPath("trash"), "It is back where it was.")
	}
	return v.Done(v.OrgPath("files", f.ID), "It is back where it was.")
}
