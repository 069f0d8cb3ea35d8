package files

import (
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
)

const (
	filesPath   = "/v1/orgs/{org}/files"
	filePath    = filesPath + "/{id}"
	contentPath = filePath + "/content"
)

// Feature offers the files.
func Feature(f *Files) feature.Feature {
	return feature.Feature{Name: "files", Migrations: Migrations, Promises: f.promises(), Export: f.export, Erase: f.erase, Describe: f.describe, Content: f.content,
		Jobs: []feature.Job{{Kind: SweepJob, Action: policy.FileSweep, Run: f.sweep}},
		Ops: []feature.Op{
			feature.Raw(feature.Meta{ID: "upload-file", Method: http.MethodPost, Path: filesPath, Action: policy.FileUpload,
				Summary: "Store a file", Errors: []fault.Kind{fault.UnsupportedMedia, fault.TooLarge, fault.Conflict},
				Description: "The body is the file's bytes, whatever they are. Its name is in Content-Disposition, as filename* (RFC 8187) or filename; its media type is the Content-Type. " +
					"The answer comes once the bytes are durable. With an Idempotency-Key a repeated upload of the same name, type and length answers with the file of the first one."},
				documentUpload("201", "The file."), f.upload),
			feature.Handle(feature.Meta{ID: "list-files", Method: http.MethodGet, Path: filesPath, Action: policy.FileList,
				Summary: "List the files"}, f.list),
			feature.Handle(feature.Meta{ID: "get-file", Method: http.MethodGet, Path: filePath, Action: policy.FileRead,
				Summary: "Describe a file"}, f.get),
			feature.Handle(feature.Meta{ID: "delete-file", Method: http.MethodDelete, Path: filePath, Action: policy.FileDelete,
				Summary: "Move a file to the trash"}, f.delete),
			feature.Handle(feature.Meta{ID: "restore-file", Method: http.MethodPost, Path: filePath + ":restore", Action: policy.FileRestore,
				Summary: "Take a file back out of the trash"}, f.restore),
			feature.Handle(feature.Meta{ID: "file-history", Method: http.MethodGet, Path: filePath + "/history", Action: policy.FileRead,
				Summary: "List a file's versions, the newest first"}, f.history),
			feature.Raw(feature.Meta{ID: "download-file", Method: http.MethodGet, Path: contentPath, Action: policy.FileDownload,
				Summary: "Fetch a file's bytes", Description: "One range of bytes is served (RFC 9110, section 14); a request for several gets the whole."},
				documentDownload(), f.download),
			feature.Raw(feature.Meta{ID: "replace-file", Method: http.MethodPut, Path: contentPath, Action: policy.FileUpload,
				Summary: "Store a new version of a file", Errors: []fault.Kind{fault.UnsupportedMedia, fault.TooLarge, fault.Conflict},
				Description: "Without Content-Disposition the file keeps its name, without Content-Type its media type. Earlier versions stay."},
				documentUpload("200", "The file as it is now."), f.replace),
		}}
}

// File is a file as the API shows it.
type File struct {
	ID         id.File   `json:"id"`
	Version    uint64    `json:"version" doc:"Grows with every new version of the bytes."`
	Size       int64     `json:"size" doc:"In bytes."`
	Name       string    `json:"name"`
	MediaType  string    `json:"media_type"`
	Visibility string    `json:"visibility" enum:"organization,private"`
	Owner      id.Person `json:"owner"`
	CreatedAt  time.Time `json:"created_at"`
	CreatedBy  id.Person `json:"created_by"`
	UpdatedAt  time.Time `json:"updated_at"`
	UpdatedBy  id.Person `json:"updated_by"`
}

// Version is one entry of a file's history.
type Version struct {
	Version uint64    `json:"version"`
	Size    int64     `json:"size" doc:"In bytes."`
	At      time.Time `json:"at"`
	By      id.Person `json:"by"`
}

type (
	// OrgPath is the organization; the door has read it already.
	OrgPath struct {
		Org id.Org `path:"org" doc:"The organization."`
	}
	// FilePath names a file.
	FilePath struct {
		OrgPath
		ID id.File `path:"id" doc:"The file."`
	}

	uploadIn struct {
		OrgPath
		Key         feature.IdempotencyKey `header:"Idempotency-Key"`
		Disposition string                 `header:"Content-Disposition" maxLength:"8192" doc:"attachment; filename*=UTF-8''…"`
		Visibility  string                 `header:"Visibility" enum:"organization,private" doc:"private: only the owner sees it. Default: organization."`
	}
	replaceIn struct {
		FilePath
		Match       feature.IfMatch `header:"If-Match"`
		Disposition string          `header:"Content-Disposition" maxLength:"8192" doc:"attachment; filename*=UTF-8''…"`
	}
	listIn struct {
		OrgPath
		feature.Listing
		LinkedFrom id.Record `query:"linked_from" doc:"Only files that this record links to."`
	}
	getIn    struct{ FilePath }
	deleteIn struct {
		FilePath
		Match feature.IfMatch `header:"If-Match"`
	}
	historyIn struct {
		FilePath
		feature.Listing
	}
	downloadIn struct {
		FilePath
		Version     uint64 `query:"version" minimum:"1" maximum:"9223372036854775807" doc:"An earlier version. Default: the newest."`
		Range       string `header:"Range" maxLength:"1024" doc:"bytes=0-99, bytes=100- or bytes=-100"`
		IfRange     string `header:"If-Range" maxLength:"64" doc:"The version that the range is meant for; for another one the whole is sent."`
		IfNoneMatch string `header:"If-None-Match" maxLength:"1024" doc:"Versions that the caller has already."`
	}
)

func anyBytes() map[string]*huma.MediaType {
	return map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
}

func documentUpload(status, says string) huma.Operation {
	r := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	return huma.Operation{
		RequestBody: &huma.RequestBody{Required: true, Description: "The bytes, of any media type.", Content: anyBytes()},
		Responses: map[string]*huma.Response{status: {Description: says, Content: map[string]*huma.MediaType{"application/json": {Schema: huma.SchemaFromType(r, typeOf[File]())}},
			Headers: map[string]*huma.Param{"ETag": {Description: "The version, as If-Match takes it.", Schema: &huma.Schema{Type: huma.TypeString}}}}},
	}
}

func documentDownload() huma.Operation {
	headers := map[string]*huma.Param{
		"ETag":                {Description: "The version.", Schema: &huma.Schema{Type: huma.TypeString}},
		"Content-Disposition": {Description: "The name, as filename*.", Schema: &huma.Schema{Type: huma.TypeString}},
	}
	return huma.Operation{Responses: map[string]*huma.Response{
		"200": {Description: "The bytes, with the file's media type.", Content: anyBytes(), Headers: headers},
		"206": {Description: "The range that was asked for.", Content: anyBytes(), Headers: headers},
		"304": {Description: "The caller has this version."},
		"416": {Description: "The range lies outside the file."},
	}}
}
