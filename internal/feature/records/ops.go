package records

import (
	"encoding/json"
	"net/http"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/kind"
)

const (
	collectionsPath = "/v1/orgs/{org}/collections"
	recordsPath     = "/v1/orgs/{org}/collections/{kind}/records"
	recordPath      = recordsPath + "/{id}"
)

// Feature offers the collections and records.
func Feature(s *Records) feature.Feature {
	return feature.Feature{Name: "records", Migrations: Migrations, Export: s.export, Describe: s.describe, Promises: s.promises(), Ops: []feature.Op{
		feature.Handle(feature.Meta{ID: "list-collections", Method: http.MethodGet, Path: collectionsPath, Action: policy.CollectionList,
			Summary: "List the collections"}, s.listCollections),
		feature.Handle(feature.Meta{ID: "create-collection", Method: http.MethodPost, Path: collectionsPath, Action: policy.CollectionCreate,
			Summary: "Declare a collection by JSON Schema", Status: http.StatusCreated, Errors: []fault.Kind{fault.Conflict}}, s.createCollection),
		feature.Handle(feature.Meta{ID: "get-collection", Method: http.MethodGet, Path: collectionsPath + "/{kind}", Action: policy.CollectionRead,
			Summary: "Read a collection and its schema"}, s.getCollection),

		feature.Handle(feature.Meta{ID: "create-record", Method: http.MethodPost, Path: recordsPath, Action: policy.RecordCreate,
			Summary: "Create a record", Status: http.StatusCreated, MaxBody: kind.MaxContent + 4096}, s.create),
		feature.HandleSelf(feature.Meta{ID: "create-records", Method: http.MethodPost, Path: recordsPath + ":bulk", Action: policy.RecordCreate,
			Summary: "Create many records", Description: "Records are created in chunks of 500, each a transaction and an audit event of its own. With an Idempotency-Key a repeated request goes on where the first one stopped.",
			Status: http.StatusCreated, MaxBody: 32 << 20, BodyTime: 2 * time.Minute, Shape: feature.Bulk}, s.createMany),
		feature.Handle(feature.Meta{ID: "list-records", Method: http.MethodGet, Path: recordsPath, Action: policy.RecordList,
			Summary: "List a collection's records"}, s.list),
		feature.Handle(feature.Meta{ID: "get-record", Method: http.MethodGet, Path: recordPath, Action: policy.RecordRead,
			Summary: "Read a record"}, s.get),
		feature.Handle(feature.Meta{ID: "update-record", Method: http.MethodPut, Path: recordPath, Action: policy.RecordUpdate,
			Summary: "Replace a record's content", MaxBody: kind.MaxContent + 4096}, s.update),
		feature.Handle(feature.Meta{ID: "delete-record", Method: http.MethodDelete, Path: recordPath, Action: policy.RecordDelete,
			Summary: "Move a record to the trash"}, s.delete),
		feature.Handle(feature.Meta{ID: "restore-record", Method: http.MethodPost, Path: recordPath + ":restore", Action: policy.RecordRestore,
			Summary: "Take a record back out of the trash", Errors: []fault.Kind{fault.Conflict}}, s.restore),
		feature.Handle(feature.Meta{ID: "record-history", Method: http.MethodGet, Path: recordPath + "/history", Action: policy.RecordHistory,
			Summary: "List a record's versions: who, when, what"}, s.history),

		feature.Handle(feature.Meta{ID: "list-links", Method: http.MethodGet, Path: recordPath + "/links", Action: policy.LinkList,
			Summary: "List a record's links, both ways"}, s.listLinks),
		feature.Handle(feature.Meta{ID: "create-link", Method: http.MethodPost, Path: recordPath + "/links", Action: policy.LinkCreate,
			Summary: "Link a record to a record or a file", Status: http.StatusCreated, Errors: []fault.Kind{fault.Conflict}}, s.createLink),
		feature.Handle(feature.Meta{ID: "delete-link", Method: http.MethodDelete, Path: recordPath + "/links/{link}", Action: policy.LinkDelete,
			Summary: "Remove a link"}, s.deleteLink),
	}}
}

// Collection is a kind of record as the API shows it.
type Collection struct {
	ID        id.Collection   `json:"id"`
	Kind      string          `json:"kind" doc:"The name in paths."`
	Title     string          `json:"title"`
	Schema    json.RawMessage `json:"schema" doc:"JSON Schema, draft 2020-12."`
	Version   uint64          `json:"version"`
	CreatedAt time.Time       `json:"created_at"`
	CreatedBy id.Person       `json:"created_by"`
}

// Record is a record as the API shows it.
type Record struct {
	ID         id.Record      `json:"id"`
	Collection string         `json:"collection" doc:"The kind's name."`
	Version    uint64         `json:"version"`
	Content    feature.Object `json:"content" doc:"The object as it was sent, but for white space between its tokens: numbers keep their digits, members their order."`
	Visibility string         `json:"visibility" enum:"organization,private"`
	Owner      id.Person      `json:"owner"`
	CreatedAt  time.Time      `json:"created_at"`
	CreatedBy  id.Person      `json:"created_by"`
	UpdatedAt  time.Time      `json:"updated_at"`
	UpdatedBy  id.Person      `json:"updated_by"`
}

// Version is one entry of a record's history.
type Version struct {
	Version uint64         `json:"version"`
	Action  string         `json:"action" enum:"create,update"`
	At      time.Time      `json:"at"`
	By      id.Person      `json:"by"`
	Content feature.Object `json:"content"`
}

// Link is a link as seen from one of its ends.
type Link struct {
	ID        id.Link   `json:"id"`
	From      string    `json:"from" doc:"A record."`
	To        string    `json:"to" doc:"A record or a file."`
	Relation  string    `json:"relation"`
	Direction string    `json:"direction" enum:"out,in" doc:"Seen from the record in the path."`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy id.Person `json:"created_by"`
}

// The path parameters. The door has read the organization already.
type (
	// OrgPath names an organization.
	OrgPath struct {
		Org id.Org `path:"org" doc:"The organization."`
	}
	// KindPath names a collection.
	KindPath struct {
		OrgPath
		Kind string `path:"kind" maxLength:"64" doc:"The collection's name."`
	}
	// RecordPath names a record.
	RecordPath struct {
		KindPath
		ID id.Record `path:"id" doc:"The record."`
	}
)

// NewRecord is the body of a create or update.
type NewRecord struct {
	Content    feature.Object `json:"content" doc:"An object that the collection's schema accepts."`
	Visibility string         `json:"visibility,omitempty" enum:"organization,private" doc:"private: only the owner sees it. Default: organization."`
}

type (
	listCollectionsIn struct {
		OrgPath
		feature.Listing
	}
	createCollectionIn struct {
		OrgPath
		Body struct {
			Kind   string          `json:"kind" minLength:"1" maxLength:"64" doc:"The name in paths: lower case letters, digits and hyphens."`
			Title  string          `json:"title,omitempty" maxLength:"200"`
			Schema json.RawMessage `json:"schema,omitempty" doc:"JSON Schema, draft 2020-12. Default: any object."`
		}
	}
	getCollectionIn struct{ KindPath }
	createIn        struct {
		KindPath
		Key  feature.IdempotencyKey `header:"Idempotency-Key"`
		Body NewRecord
	}
	createManyIn struct {
		KindPath
		Key  feature.IdempotencyKey `header:"Idempotency-Key"`
		Body struct {
			Items []NewRecord `json:"items" minItems:"1" maxItems:"5000"`
		}
	}
	listIn struct {
		KindPath
		feature.Listing
	}
	getIn    struct{ RecordPath }
	updateIn struct {
		RecordPath
		Match feature.IfMatch `header:"If-Match"`
		Body  NewRecord
	}
	deleteIn struct {
		RecordPath
		Match feature.IfMatch `header:"If-Match"`
	}
	historyIn struct {
		RecordPath
		feature.Listing
	}
	listLinksIn struct {
		RecordPath
		feature.Listing
	}
	createLinkIn struct {
		RecordPath
		Body struct {
			To       string `json:"to" maxLength:"30" doc:"A record or a file of the organization."`
			Relation string `json:"relation" minLength:"1" maxLength:"64" doc:"What the target is to the record, as in measurement or source."`
		}
	}
	deleteLinkIn struct {
		RecordPath
		Link id.Link `path:"link"`
	}
)

// Made is one line of a bulk answer.
type Made struct {
	ID      id.Record `json:"id"`
	Version uint64    `json:"version"`
}

type createManyOut struct {
	Body struct {
		Items []Made `json:"items"`
	}
}
