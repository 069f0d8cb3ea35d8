package records

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/feature"
	"strongroom/internal/kind"
	"strongroom/internal/store/tenant"
)

const (
	collectionsPath = "/v1/orgs/{org}/collections"
	kitsPath        = "/v1/orgs/{org}/kits"
	recordsPath     = "/v1/orgs/{org}/collections/{kind}/records"
	recordPath      = recordsPath + "/{id}"
)

// Feature offers the collections and records.
func Feature(s *Records) feature.Feature {
	return feature.Feature{Name: "records", Migrations: Migrations, Export: s.export, Gather: s.gather, Describe: s.describe, Promises: append(s.promises(), kitPromises()...),
		Jobs: []feature.Job{{Kind: tenant.ForgetJob, Action: policy.RequestForget, Run: forgetRequests}}, Ops: slices.Concat(s.sharingOps(), s.trashOps(), []feature.Op{
			feature.Handle(feature.Meta{ID: "list-collections", Method: http.MethodGet, Path: collectionsPath, Action: policy.CollectionList,
				Summary: "List the collections"}, s.listCollections),
			feature.Handle(feature.Meta{ID: "create-collection", Example: `{"kind": "batch", "title": "Batches", "schema": {"type": "object", "required": ["label"], "properties": {"label": {"type": "string"}, "thickness": {"type": "number", "minimum": 0}}}}`, Method: http.MethodPost, Path: collectionsPath, Action: policy.CollectionCreate,
				Summary: "Declare a collection by JSON Schema", Status: http.StatusCreated, Errors: []fault.Kind{fault.Conflict}}, s.createCollection),
			feature.Handle(feature.Meta{ID: "get-collection", Method: http.MethodGet, Path: collectionsPath + "/{kind}", Action: policy.CollectionRead,
				Summary: "Read a collection and its schema"}, s.getCollection),
			feature.Handle(feature.Meta{ID: "update-collection", Method: http.MethodPut, Path: collectionsPath + "/{kind}", Action: policy.CollectionUpdate,
				Summary: "Change a collection's declaration", Description: "A changed schema is held against every stored record first. Where some do not fit, nothing changes, and up to 20 of them are named.",
				Errors: []fault.Kind{fault.Conflict}}, s.updateCollection),
			feature.Handle(feature.Meta{ID: "list-kits", Method: http.MethodGet, Path: kitsPath, Action: policy.KitList,
				Summary: "List the kits and what is installed of them"}, s.listKits),
			feature.Handle(feature.Meta{ID: "install-kit", Method: http.MethodPost, Path: kitsPath + "/{kit}:install", Action: policy.KitInstall,
				Summary: "Start the collections of a kit", Description: "What is there already stays as it is.", Errors: []fault.Kind{fault.Conflict}}, s.installKit),

			feature.Handle(feature.Meta{ID: "create-record", Example: `{"content": {"label": "A-17", "thickness": 12.50}}`, Method: http.MethodPost, Path: recordsPath, Action: policy.RecordCreate,
				Summary: "Create a record", Status: http.StatusCreated, MaxBody: kind.MaxContent + 4096}, s.create),
			feature.HandleSelf(feature.Meta{ID: "create-records", Example: `{"items": [{"content": {"label": "A-17"}}, {"content": {"label": "A-18"}}]}`, Method: http.MethodPost, Path: recordsPath + ":bulk", Action: policy.RecordCreate,
				Summary: "Create many records", Description: "Records are created in chunks of 500, each a transaction and an audit event of its own. With an Idempotency-Key a repeated request goes on where the first one stopped.",
				Status: http.StatusCreated, MaxBody: 32 << 20, BodyTime: 2 * time.Minute, Shape: feature.Bulk}, s.createMany),
			feature.Handle(feature.Meta{ID: "list-records", Method: http.MethodGet, Path: recordsPath, Action: policy.RecordList,
				Summary: "List a collection's records"}, s.list),
			feature.Handle(feature.Meta{ID: "get-record", Method: http.MethodGet, Path: recordPath, Action: policy.RecordRead,
				Summary: "Read a record"}, s.get),
			feature.Handle(feature.Meta{ID: "update-record", Example: `{"content": {"label": "A-17", "thickness": 12.75}}`, Method: http.MethodPut, Path: recordPath, Action: policy.RecordUpdate,
				Summary: "Replace a record's content", MaxBody: kind.MaxContent + 4096}, s.update),
			feature.Handle(feature.Meta{ID: "delete-record", Method: http.MethodDelete, Path: recordPath, Action: policy.RecordDelete,
				Summary: "Move a record to the trash"}, s.delete),
			feature.Handle(feature.Meta{ID: "restore-record", Method: http.MethodPost, Path: recordPath + ":restore", Action: policy.RecordRestore,
				Summary: "Take a record back out of the trash", Errors: []fault.Kind{fault.Conflict}}, s.restore),
			feature.Handle(feature.Meta{ID: "record-history", Method: http.MethodGet, Path: recordPath + "/history", Action: policy.RecordHistory,
				Summary: "List a record's versions: who, when, what"}, s.history),

			feature.Handle(feature.Meta{ID: "list-links", Method: http.MethodGet, Path: recordPath + "/links", Action: policy.LinkList,
				Summary: "List a record's links, both ways"}, s.listLinks),
			feature.Handle(feature.Meta{ID: "create-link", Example: `{"relation": "related", "to": "fil_01m81en5jhfb2r9c9gak8atqx7"}`, Method: http.MethodPost, Path: recordPath + "/links", Action: policy.LinkCreate,
				Summary: "Link a record to a record or a file", Status: http.StatusCreated, Errors: []fault.Kind{fault.Conflict}}, s.createLink),
			feature.Handle(feature.Meta{ID: "delete-link", Method: http.MethodDelete, Path: recordPath + "/links/{link}", Action: policy.LinkDelete,
				Summary: "Remove a link", Description: "One by which fields of the record are about a person stays as long as they are there.",
				Errors: []fault.Kind{fault.Conflict}}, s.deleteLink),
		})}
}

// Collection is a kind of record as the API shows it.
type Collection struct {
	ID          id.Collection   `json:"id"`
	Kind        string          `json:"kind" doc:"The name in paths."`
	Title       string          `json:"title"`
	Description string          `json:"description"`
	Schema      json.RawMessage `json:"schema" doc:"JSON Schema, draft 2020-12, with the annotation x-strongroom."`
	Visibility  string          `json:"visibility" enum:"organization,private" doc:"Who sees a new record when its author says nothing."`
	Relations   kind.Relations  `json:"relations" doc:"The links that its records carry, by name. None: any."`
	Kit         string          `json:"kit" doc:"The kit that it came with; empty: the organization's own."`
	KitVersion  int             `json:"kit_version" doc:"The version of the kit that it follows, or was changed from; 0: none."`
	Changed     bool            `json:"changed" doc:"The organization has changed what the kit declares, so it does not follow the product any more."`
	Version     uint64          `json:"version"`
	CreatedAt   time.Time       `json:"created_at"`
	CreatedBy   id.Person       `json:"created_by"`
	UpdatedAt   time.Time       `json:"updated_at"`
	UpdatedBy   id.Person       `json:"updated_by"`
}

// Kit is a set of collections that ships with the product.
type Kit struct {
	Kit         string            `json:"kit" doc:"The name in paths."`
	Title       string            `json:"title"`
	Description string            `json:"description"`
	Version     int               `json:"version"`
	Roles       map[string]string `json:"roles" doc:"What the trade calls the roles."`
	Installed   bool              `json:"installed" doc:"The organization has a collection for every kind."`
	Collections []KitCollection   `json:"collections"`
}

// KitCollection is a kind of a kit.
type KitCollection struct {
	Kind        string `json:"kind"`
	Title       string `json:"title"`
	Measurement bool   `json:"measurement" doc:"A pooled organization cannot have it."`
	Installed   bool   `json:"installed" doc:"The organization has a collection of this name that came with the kit."`
	Changed     bool   `json:"changed" doc:"The organization's collection of this name differs from what the kit declares."`
}

// CollectionBody is what a collection is declared or changed by.
type CollectionBody struct {
	Title       string          `json:"title,omitempty" maxLength:"200" doc:"Default: the kind."`
	Description string          `json:"description,omitempty" maxLength:"2000"`
	Schema      json.RawMessage `json:"schema,omitempty" doc:"JSON Schema, draft 2020-12, with the annotation x-strongroom. Default: any object."`
	Visibility  string          `json:"visibility,omitempty" enum:"organization,private" doc:"Who sees a new record when its author says nothing. Default: organization."`
	Relations   kind.Relations  `json:"relations,omitempty" doc:"The links that its records carry, by name, and related. Default: any."`
}

// Record is a record as the API shows it.
type Record struct {
	ID         id.Record      `json:"id"`
	Collection string         `json:"collection" doc:"The kind's name."`
	Version    uint64         `json:"version"`
	Title      string         `json:"title" doc:"The words by which people know it: the field that the schema names for that, or nothing."`
	Content    feature.Object `json:"content" doc:"The object as it was sent, but for white space between its tokens: numbers keep their digits, members their order."`
	Missing    []string       `json:"missing,omitempty" doc:"JSON pointers of the fields that are gone from the content because the person whom they were about was erased."`
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
	Missing []string       `json:"missing,omitempty" doc:"Pointers of the fields whose person was erased."`
}

// Link is a link as seen from one of its ends.
type Link struct {
	ID         id.Link   `json:"id"`
	From       string    `json:"from" doc:"A record."`
	To         string    `json:"to" doc:"A record or a file."`
	Relation   string    `json:"relation"`
	Direction  string    `json:"direction" enum:"out,in" doc:"Seen from the record in the path."`
	Title      string    `json:"title" doc:"Of the other end: a record's title, a file's name."`
	Collection string    `json:"collection" doc:"Of the other end, if that is a record."`
	CreatedAt  time.Time `json:"created_at"`
	CreatedBy  id.Person `json:"created_by"`
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

// NewRecord is the body of a create.
type NewRecord struct {
	Content    feature.Object `json:"content" doc:"An object that the collection's schema accepts."`
	Visibility string         `json:"visibility,omitempty" enum:"organization,private" doc:"private: only the owner sees it, and the people she shares it with. Default: what the collection says."`
	Links      []NewLink      `json:"links,omitempty" maxItems:"100" doc:"Links from the record, made together with it or not at all."`
}

// NewLink is a link to make.
type NewLink struct {
	Relation string `json:"relation" minLength:"1" maxLength:"64" doc:"What the target is to the record, as in measurement or source."`
	To       string `json:"to" maxLength:"30" doc:"A record or a file of the organization."`
}

// ChangedRecord is the body of an update.
type ChangedRecord struct {
	Content    feature.Object `json:"content" doc:"An object that the collection's schema accepts. It replaces the one that is there."`
	Visibility string         `json:"visibility,omitempty" enum:"organization,private" doc:"Only the owner changes it. Default: as it is."`
}

// NewCollection is the body by which a collection is declared.
type NewCollection struct {
	Kind string `json:"kind" minLength:"1" maxLength:"64" doc:"The name in paths: lower case letters, digits and hyphens."`
	CollectionBody
}

// ChangedCollection is the body of a change: the whole declaration.
type ChangedCollection struct {
	Kind string `json:"kind,omitempty" maxLength:"64" doc:"The same as in the path; a collection keeps its name."`
	CollectionBody
}

type (
	listCollectionsIn struct {
		OrgPath
		feature.Listing
	}
	createCollectionIn struct {
		OrgPath
		Body NewCollection
	}
	getCollectionIn    struct{ KindPath }
	updateCollectionIn struct {
		KindPath
		Match feature.IfMatch `header:"If-Match"`
		Body  ChangedCollection
	}
	listKitsIn   struct{ OrgPath }
	installKitIn struct {
		OrgPath
		Kit string `path:"kit" maxLength:"64" doc:"The kit's name."`
	}
	createIn struct {
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
		Mine     bool   `query:"mine" doc:"Only the caller's own records."`
		LinkedTo string `query:"linked_to" maxLength:"30" doc:"Only records that link to this record or file."`
		Relation string `query:"relation" maxLength:"64" doc:"With linked_to: by links of this relation alone."`
	}
	getIn    struct{ RecordPath }
	updateIn struct {
		RecordPath
		Match feature.IfMatch `header:"If-Match"`
		Body  ChangedRecord
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
		Direction string `query:"direction" enum:"in,out" doc:"Only links that end or begin at the record."`
		Relation  string `query:"relation" maxLength:"64" doc:"Only links of this relation."`
	}
	createLinkIn struct {
		RecordPath
		Body NewLink
	}
	deleteLinkIn struct {
		RecordPath
		Link id.Link `path:"link" doc:"The link."`
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
