// Package id gives each kind of thing an identifier type of its own.
//
// An identifier is a UUIDv7 (RFC 9562): in SQL a uuid, in text a prefix that
// names its kind and 26 characters of lowercase Crockford base32, as in
// rec_01h455vb4pex5vsknk084sn02q. There is one spelling: Parse refuses every
// other. The zero value is no identifier.
package id

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

var decode = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i := range len(alphabet) {
		t[alphabet[i]] = int8(i)
	}
	return
}()

// ErrSyntax reports text that is not an identifier of the wanted kind. It
// does not repeat the text.
var ErrSyntax = errors.New("not a well-formed identifier of this kind")

type kind interface{ prefix() string }

// ID identifies one thing of kind K. It has no exported field: one comes from
// New, Parse or a database column, never from a raw string.
type ID[K kind] struct{ u uuid.UUID }

type (
	orgKind        struct{}
	recordKind     struct{}
	fileKind       struct{}
	eventKind      struct{}
	personKind     struct{}
	sessionKind    struct{}
	keyKind        struct{}
	requestKind    struct{}
	collectionKind struct{}
	linkKind       struct{}
	serverKind     struct{}
	jobKind        struct{}
	membershipKind struct{}
	reportKind     struct{}
	exportKind     struct{}
)

func (orgKind) prefix() string        { return "org_" }
func (recordKind) prefix() string     { return "rec_" }
func (fileKind) prefix() string       { return "fil_" }
func (eventKind) prefix() string      { return "evt_" }
func (personKind) prefix() string     { return "per_" }
func (sessionKind) prefix() string    { return "ses_" }
func (keyKind) prefix() string        { return "key_" }
func (requestKind) prefix() string    { return "req_" }
func (collectionKind) prefix() string { return "col_" }
func (linkKind) prefix() string       { return "lnk_" }
func (serverKind) prefix() string     { return "srv_" }
func (jobKind) prefix() string        { return "job_" }
func (membershipKind) prefix() string { return "mem_" }
func (reportKind) prefix() string     { return "rpt_" }
func (exportKind) prefix() string     { return "exp_" }

type (
	// Org identifies an organization, the unit of isolation.
	Org = ID[orgKind]
	// Record identifies a record.
	Record = ID[recordKind]
	// File identifies a file.
	File = ID[fileKind]
	// Event identifies an audit event.
	Event = ID[eventKind]
	// Person identifies a person.
	Person = ID[personKind]
	// Session identifies a session of a person.
	Session = ID[sessionKind]
	// Key identifies an API key.
	Key = ID[keyKind]
	// Request identifies one request.
	Request = ID[requestKind]
	// Collection identifies a collection.
	Collection = ID[collectionKind]
	// Link identifies a link between two things.
	Link = ID[linkKind]
	// Server identifies one run of a server process.
	Server = ID[serverKind]
	// Job identifies one run of a job.
	Job = ID[jobKind]
	// Membership identifies a membership.
	Membership = ID[membershipKind]
	// Report identifies a report of a vulnerability.
	Report = ID[reportKind]
	// Export identifies an export that is made in the background.
	Export = ID[exportKind]
)

// Installation is the organization that stands for the installation itself:
// it owns the people's sealed names and the log of what belongs to no
// organization. It has keys and a log, no members and no records.
var Installation = Org{uuid.UUID{0, 0, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 1}}

// Ref is an identifier of any kind, for lists that mix kinds.
type Ref interface {
	String() string
	UUID() uuid.UUID
	IsZero() bool
}

// New returns a fresh identifier. It panics where the system has no
// randomness, as nothing is safe then.
func New[K kind]() ID[K] { return ID[K]{uuid.Must(uuid.NewV7())} }

// From gives the uuid of a database row its kind.
func From[K kind](u uuid.UUID) ID[K] { return ID[K]{u} }

// Parse reads the one spelling of an identifier of kind K.
func Parse[K kind](s string) (ID[K], error) {
	var k K
	p := k.prefix()
	if len(s) != len(p)+26 || s[:len(p)] != p {
		return ID[K]{}, ErrSyntax
	}
	u, err := decode26(s[len(p):])
	if err != nil || u == uuid.Nil {
		return ID[K]{}, ErrSyntax
	}
	return ID[K]{u}, nil
}

// UUID returns the value as databases hold it.
func (i ID[K]) UUID() uuid.UUID { return i.u }

// Bytes returns the sixteen bytes.
func (i ID[K]) Bytes() []byte { b := i.u; return b[:] }

// IsZero reports whether i identifies nothing.
func (i ID[K]) IsZero() bool { return i.u == uuid.Nil }

// Time returns the moment inside a UUIDv7, in milliseconds.
func (i ID[K]) Time() time.Time {
	ms := int64(i.u[0])<<40 | int64(i.u[1])<<32 | int64(i.u[2])<<24 | int64(i.u[3])<<16 | int64(i.u[4])<<8 | int64(i.u[5])
	return time.UnixMilli(ms).UTC()
}

// String returns the one spelling, or "" for the zero value.
func (i ID[K]) String() string {
	if i.IsZero() {
		return ""
	}
	var k K
	return k.prefix() + encode26(i.u)
}

// MarshalText makes identifiers strings in JSON.
func (i ID[K]) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText is Parse.
func (i *ID[K]) UnmarshalText(b []byte) error {
	got, err := Parse[K](string(b))
	if err == nil {
		*i = got
	}
	return err
}

// Value stores the identifier as a uuid; the zero value is NULL.
func (i ID[K]) Value() (driver.Value, error) {
	if i.IsZero() {
		return nil, nil
	}
	return i.u.String(), nil
}

// Scan reads a uuid column; NULL gives the zero value.
func (i *ID[K]) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		i.u = uuid.Nil
		return nil
	case [16]byte:
		i.u = v
		return nil
	case string:
		u, err := uuid.Parse(v)
		i.u = u
		return err
	case []byte:
		return i.u.Scan(v)
	}
	return fmt.Errorf("id: cannot read a %T", src)
}

// encode26 writes 128 bits as 26 base32 digits, the first of which is 0 to 7.
func encode26(u uuid.UUID) string {
	var b [26]byte
	hi, lo := be64(u[:8]), be64(u[8:])
	for n := 25; n >= 0; n-- {
		b[n] = alphabet[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(b[:])
}

func decode26(s string) (uuid.UUID, error) {
	var hi, lo uint64
	for i := range 26 {
		d := decode[s[i]]
		if d < 0 || i == 0 && d > 7 {
			return uuid.Nil, ErrSyntax
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(d)
	}
	var u uuid.UUID
	for n := range 8 {
		u[n] = byte(hi >> (56 - 8*n))
		u[8+n] = byte(lo >> (56 - 8*n))
	}
	return u, nil
}

func be64(b []byte) (v uint64) {
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return
}
