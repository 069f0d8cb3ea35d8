package client

import (
	"encoding/json"
	"errors"
	"time"
)

// Role is one of the six predefined roles.
type Role string

// The roles of an organization, and that of the installation.
const (
	Scientist     Role = "scientist"
	Analyst       Role = "analyst"
	OrgAdmin      Role = "org_admin"
	SecurityAdmin Role = "security_admin"
	BillingAdmin  Role = "billing_admin"
	SystemAdmin   Role = "system_admin"
)

// The visibilities of a record or file.
const (
	ForOrganization = "organization"
	ForOwner        = "private"
)

// Session is one sign-in.
type Session struct {
	ID        string    `json:"id"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Person is somebody with an account.
type Person struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
}

// Organization is one the caller belongs to, with the roles held in it.
type Organization struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Placement string    `json:"placement,omitempty"` // schema, pooled, dedicated
	Plan      string    `json:"plan,omitempty"`
	State     string    `json:"state,omitempty"`
	CreatedAt time.Time `json:"created_at,omitzero"`
	// ExpiresAt is when nobody enters a throw-away organization any more.
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	Roles     []Role     `json:"roles"` // the caller's own
	Owner     bool       `json:"owner"` // whether the caller is an owner
}

// SignedIn says who a session belongs to and where it leads.
type SignedIn struct {
	Token         Secret         `json:"token,omitzero"` // only SignIn's answer holds it
	Session       Session        `json:"session"`
	Person        Person         `json:"person"`
	Roles         []Role         `json:"roles"` // on the installation: system_admin, or none
	Organizations []Organization `json:"organizations"`
}

// NewOrganization describes an organization to make, with its first admin.
type NewOrganization struct {
	Name      string
	Placement string // schema or pooled; empty: schema
	Plan      string // empty: the installation's default
	Owner     NewMember
}

// Member is a person in an organization.
type Member struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Email     string    `json:"email"`
	Roles     []Role    `json:"roles"`
	Owner     bool      `json:"owner"`
	State     string    `json:"state,omitempty"` // active or disabled
	CreatedAt time.Time `json:"created_at,omitzero"`
}

// NewMember describes a person to add: Email, Name and Password of somebody
// without an account, or the JoinCode that somebody with one handed over.
type NewMember struct {
	Email    string
	Name     string
	Password Secret // empty: the person cannot sign in by password
	JoinCode Secret
	Roles    []Role
}

// MemberChange says what to change of a member; nil: nothing.
type MemberChange struct {
	Roles []Role `json:"roles,omitempty"` // all of them from now on
	Owner *bool  `json:"owner,omitempty"`
}

// JoinCode lets the admin of an organization add the person who made it.
type JoinCode struct {
	Code      Secret    `json:"join_code"`
	ExpiresAt time.Time `json:"expires_at"`
}

// RoleTable is who may do what, in words.
type RoleTable struct {
	Roles []struct {
		Role  Role   `json:"role"`
		Words string `json:"words"`
	} `json:"roles"`
	Groups []struct {
		Name    string       `json:"name"`
		Actions []RoleAction `json:"actions"`
	} `json:"groups"`
}

// RoleAction is a line of the table of roles.
type RoleAction struct {
	Action    string `json:"action"`
	Words     string `json:"words"`
	Roles     []Role `json:"roles"`     // that allow it
	Everybody bool   `json:"everybody"` // needs no role: it is about the caller alone
	ForKeys   bool   `json:"for_keys"`  // an API key may carry it as a scope
}

// Key is an API key, without its secret.
type Key struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Prefix     string     `json:"prefix"`
	Roles      []Role     `json:"roles"`
	Scopes     []string   `json:"scopes"`
	CreatedAt  time.Time  `json:"created_at"`
	CreatedBy  string     `json:"created_by,omitempty"`
	ExpiresAt  *time.Time `json:"expires_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
	RevokedAt  *time.Time `json:"revoked_at"`
}

// NewKey describes an API key to make.
type NewKey struct {
	Name      string     `json:"name"`
	Roles     []Role     `json:"roles"`
	Scopes    []string   `json:"scopes,omitempty"`     // empty: everything its roles allow
	ExpiresAt *time.Time `json:"expires_at,omitempty"` // nil: in 90 days
}

// CreatedKey is a new API key with its token, which is never shown again.
type CreatedKey struct {
	Key
	Token Secret `json:"token"`
}

// Collection is a kind of record with its JSON Schema (2020-12).
type Collection struct {
	ID          string              `json:"id"`
	Kind        string              `json:"kind"`
	Title       string              `json:"title"`
	Description string              `json:"description,omitempty"`
	Schema      json.RawMessage     `json:"schema"`
	Visibility  string              `json:"visibility,omitempty"` // of a new record that says nothing else
	Relations   map[string]Relation `json:"relations,omitempty"`  // that its records carry; none: any
	Kit         string              `json:"kit,omitempty"`
	KitVersion  int                 `json:"kit_version,omitempty"` // that it follows, or was changed from
	Changed     bool                `json:"changed,omitempty"`     // by the organization: it follows its kit no more
	Version     int64               `json:"version"`
	CreatedAt   time.Time           `json:"created_at"`
	CreatedBy   string              `json:"created_by"`
	UpdatedAt   time.Time           `json:"updated_at,omitzero"`
	UpdatedBy   string              `json:"updated_by,omitempty"`
}

// Relation is a kind of link that the records of a collection carry.
type Relation struct {
	Title string   `json:"title"`
	To    []string `json:"to"` // collections whose records it leads to; "file" for files
	Many  bool     `json:"many"`
}

// NewCollection declares a collection.
type NewCollection struct {
	Kind        string              `json:"kind"`
	Title       string              `json:"title,omitempty"`
	Description string              `json:"description,omitempty"`
	Schema      json.RawMessage     `json:"schema,omitempty"`     // empty: any object
	Visibility  string              `json:"visibility,omitempty"` // of a new record that says nothing else
	Relations   map[string]Relation `json:"relations,omitempty"`  // that its records carry; none: any
}

// Kit is a set of collections that ships with the product.
type Kit struct {
	Name        string          `json:"kit"`
	Title       string          `json:"title"`
	Description string          `json:"description"`
	Version     int             `json:"version"`
	Roles       map[Role]string `json:"roles"` // what its trade calls them
	Installed   bool            `json:"installed"`
	Collections []KitCollection `json:"collections"`
}

// KitCollection is a kind of a kit.
type KitCollection struct {
	Kind        string `json:"kind"`
	Title       string `json:"title"`
	Measurement bool   `json:"measurement"` // a pooled organization cannot have it
	Installed   bool   `json:"installed"`   // the organization's collection came with the kit
	Changed     bool   `json:"changed"`     // the organization's collection says something else
}

// Record is one record. Content keeps the text its author sent: digits of
// numbers are not rounded.
type Record struct {
	ID         string          `json:"id"`
	Kind       string          `json:"collection"`
	Title      string          `json:"title,omitempty"` // from the field that the schema names; empty: none
	Version    int64           `json:"version"`
	Content    json.RawMessage `json:"content"`
	Missing    []string        `json:"missing,omitempty"` // JSON pointers of fields that were erased
	Visibility string          `json:"visibility"`
	Owner      string          `json:"owner"`
	CreatedAt  time.Time       `json:"created_at"`
	CreatedBy  string          `json:"created_by"`
	UpdatedAt  time.Time       `json:"updated_at"`
	UpdatedBy  string          `json:"updated_by"`
}

// NewRecord is the content of a record to create or to replace.
type NewRecord struct {
	Content    json.RawMessage // a JSON object; numbers keep their digits, members their order
	Visibility string          // empty: as the server has it
	Links      []NewLink       // made together with a new record, or not at all
}

// NewLink is a link to make along with its record.
type NewLink struct {
	Relation string `json:"relation"`
	To       string `json:"to"` // a record or a file
}

// text writes the content byte for byte as it is, which encoding/json would
// not: an Idempotency-Key stands for these very bytes, and what becomes of
// their white space is the server's to say.
func (n NewRecord) text() ([]byte, error) {
	if !json.Valid(n.Content) {
		return nil, errors.New("the content is not JSON")
	}
	b := append([]byte(`{"content":`), n.Content...)
	if n.Visibility != "" {
		v, err := json.Marshal(n.Visibility)
		if err != nil {
			return nil, err
		}
		b = append(append(b, `,"visibility":`...), v...)
	}
	if len(n.Links) > 0 {
		l, err := encode(n.Links)
		if err != nil {
			return nil, err
		}
		b = append(append(b, `,"links":`...), l...)
	}
	return append(b, '}'), nil
}

// Ref names a version of something.
type Ref struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
}

// Change is one entry of a record's history.
type Change struct {
	Version int64           `json:"version"`
	Action  string          `json:"action"`
	At      time.Time       `json:"at"`
	By      string          `json:"by"`
	Content json.RawMessage `json:"content"`           // absent where the change left none
	Missing []string        `json:"missing,omitempty"` // JSON pointers of fields that were erased
}

// Link leads from a record to another record or to a file.
type Link struct {
	ID        string `json:"id"`
	From      string `json:"from"`
	To        string `json:"to"`
	Relation  string `json:"relation"`
	Direction string `json:"direction"` // out or in, seen from the record that was asked
	// Of the other end, where the caller may see it.
	Title      string    `json:"title,omitempty"`
	Collection string    `json:"collection,omitempty"` // empty: a file
	CreatedAt  time.Time `json:"created_at"`
	CreatedBy  string    `json:"created_by"`
}

// Sharing says who sees a record.
type Sharing struct {
	Visibility string   `json:"visibility"`
	People     []string `json:"people"` // who see a private record besides its owner
}

// Trashed is something in the trash.
type Trashed struct {
	ID         string    `json:"id"`
	Kind       string    `json:"kind"`       // record or file
	Collection string    `json:"collection"` // of a record
	Title      string    `json:"title"`
	Owner      string    `json:"owner"`
	DeletedAt  time.Time `json:"deleted_at"`
	DeletedBy  string    `json:"deleted_by"`
	PurgeAfter time.Time `json:"purge_after"`
}

// File describes a file; its bytes come from DownloadFile.
type File struct {
	ID         string    `json:"id"`
	Version    int64     `json:"version"`
	Size       int64     `json:"size"` // bytes
	Name       string    `json:"name"`
	MediaType  string    `json:"media_type"`
	State      string    `json:"state,omitempty"`
	Visibility string    `json:"visibility"`
	Owner      string    `json:"owner"`
	CreatedAt  time.Time `json:"created_at"`
	CreatedBy  string    `json:"created_by"`
	UpdatedAt  time.Time `json:"updated_at"`
	UpdatedBy  string    `json:"updated_by"`
}

// FileVersion is one entry of a file's history.
type FileVersion struct {
	Version int64     `json:"version"`
	Size    int64     `json:"size"` // bytes
	At      time.Time `json:"at"`
	By      string    `json:"by"`
}

// Event is an entry of an organization's audit log (event v1). Raw holds the
// whole of it, with whatever a newer server adds.
type Event struct {
	Index   int64     `json:"idx"` // the place in the organization's log
	ID      string    `json:"id"`
	Request string    `json:"request_id"`
	Time    time.Time `json:"time"`
	Actor   struct {
		Kind string `json:"kind"`
		ID   string `json:"id"`
		Via  string `json:"via"`
	} `json:"actor"`
	Action  string           `json:"action"`
	Purpose string           `json:"purpose"`
	Outcome string           `json:"outcome"`
	Code    string           `json:"code"`
	Targets []string         `json:"targets"`
	Counts  map[string]int64 `json:"counts"`
	Pruned  bool             `json:"pruned"`  // its content is past its retention
	Damaged bool             `json:"damaged"` // it was changed after it was recorded

	Raw json.RawMessage `json:"-"`
}

// UnmarshalJSON keeps the event's own bytes beside its fields.
func (e *Event) UnmarshalJSON(b []byte) error {
	type plain Event
	if err := json.Unmarshal(b, (*plain)(e)); err != nil {
		return err
	}
	e.Raw = append(json.RawMessage(nil), b...)
	return nil
}

// MarshalJSON writes the event as the server did.
func (e Event) MarshalJSON() ([]byte, error) {
	if e.Raw != nil {
		return e.Raw, nil
	}
	type plain Event
	return json.Marshal(plain(e))
}
