package id

import "github.com/google/uuid"

// Constructors and parsers, one pair a kind.

// NewOrg returns a fresh identifier.
func NewOrg() Org { return New[orgKind]() }

// ParseOrg reads the one spelling.
func ParseOrg(s string) (Org, error) { return Parse[orgKind](s) }

// NewRecord returns a fresh identifier.
func NewRecord() Record { return New[recordKind]() }

// ParseRecord reads the one spelling.
func ParseRecord(s string) (Record, error) { return Parse[recordKind](s) }

// NewFile returns a fresh identifier.
func NewFile() File { return New[fileKind]() }

// ParseFile reads the one spelling.
func ParseFile(s string) (File, error) { return Parse[fileKind](s) }

// NewEvent returns a fresh identifier.
func NewEvent() Event { return New[eventKind]() }

// ParseEvent reads the one spelling.
func ParseEvent(s string) (Event, error) { return Parse[eventKind](s) }

// NewPerson returns a fresh identifier.
func NewPerson() Person { return New[personKind]() }

// ParsePerson reads the one spelling.
func ParsePerson(s string) (Person, error) { return Parse[personKind](s) }

// NewSession returns a fresh identifier.
func NewSession() Session { return New[sessionKind]() }

// ParseSession reads the one spelling.
func ParseSession(s string) (Session, error) { return Parse[sessionKind](s) }

// NewKey returns a fresh identifier.
func NewKey() Key { return New[keyKind]() }

// ParseKey reads the one spelling.
func ParseKey(s string) (Key, error) { return Parse[keyKind](s) }

// NewRequest returns a fresh identifier.
func NewRequest() Request { return New[requestKind]() }

// ParseRequest reads the one spelling.
func ParseRequest(s string) (Request, error) { return Parse[requestKind](s) }

// NewCollection returns a fresh identifier.
func NewCollection() Collection { return New[collectionKind]() }

// ParseCollection reads the one spelling.
func ParseCollection(s string) (Collection, error) { return Parse[collectionKind](s) }

// NewLink returns a fresh identifier.
func NewLink() Link { return New[linkKind]() }

// ParseLink reads the one spelling.
func ParseLink(s string) (Link, error) { return Parse[linkKind](s) }

// NewServer returns a fresh identifier.
func NewServer() Server { return New[serverKind]() }

// ParseServer reads the one spelling.
func ParseServer(s string) (Server, error) { return Parse[serverKind](s) }

// NewJob returns a fresh identifier.
func NewJob() Job { return New[jobKind]() }

// ParseJob reads the one spelling.
func ParseJob(s string) (Job, error) { return Parse[jobKind](s) }

// NewMembership returns a fresh identifier.
func NewMembership() Membership { return New[membershipKind]() }

// ParseMembership reads the one spelling.
func ParseMembership(s string) (Membership, error) { return Parse[membershipKind](s) }

// NewReport returns a fresh identifier.
func NewReport() Report { return New[reportKind]() }

// ParseReport reads the one spelling.
func ParseReport(s string) (Report, error) { return Parse[reportKind](s) }

// ReportOf gives a database row's uuid its kind.
func ReportOf(u uuid.UUID) Report { return From[reportKind](u) }

// NewExport returns a fresh identifier.
func NewExport() Export { return New[exportKind]() }

// ParseExport reads the one spelling.
func ParseExport(s string) (Export, error) { return Parse[exportKind](s) }

// ExportOf gives a database row's uuid its kind.
func ExportOf(u uuid.UUID) Export { return From[exportKind](u) }

// OrgOf gives a database row's uuid its kind.
func OrgOf(u uuid.UUID) Org { return From[orgKind](u) }

// RecordOf gives a database row's uuid its kind.
func RecordOf(u uuid.UUID) Record { return From[recordKind](u) }

// FileOf gives a database row's uuid its kind.
func FileOf(u uuid.UUID) File { return From[fileKind](u) }

// EventOf gives a database row's uuid its kind.
func EventOf(u uuid.UUID) Event { return From[eventKind](u) }

// PersonOf gives a database row's uuid its kind.
func PersonOf(u uuid.UUID) Person { return From[personKind](u) }

// SessionOf gives a database row's uuid its kind.
func SessionOf(u uuid.UUID) Session { return From[sessionKind](u) }

// KeyOf gives a database row's uuid its kind.
func KeyOf(u uuid.UUID) Key { return From[keyKind](u) }

// RequestOf gives a database row's uuid its kind.
func RequestOf(u uuid.UUID) Request { return From[requestKind](u) }

// CollectionOf gives a database row's uuid its kind.
func CollectionOf(u uuid.UUID) Collection { return From[collectionKind](u) }

// LinkOf gives a database row's uuid its kind.
func LinkOf(u uuid.UUID) Link { return From[linkKind](u) }

// ServerOf gives a database row's uuid its kind.
func ServerOf(u uuid.UUID) Server { return From[serverKind](u) }

// JobOf gives a database row's uuid its kind.
func JobOf(u uuid.UUID) Job { return From[jobKind](u) }

// MembershipOf gives a database row's uuid its kind.
func MembershipOf(u uuid.UUID) Membership { return From[membershipKind](u) }
