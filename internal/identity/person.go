package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/base/keytree"
	"strongroom/internal/base/policy"
	"strongroom/internal/base/seal"
	"strongroom/internal/store/platform"
)

// Person is what those who may know of a person see.
type Person struct {
	ID    id.Person `json:"id"`
	Name  string    `json:"name,omitempty" doc:"Absent once the person was erased."`
	Email string    `json:"email,omitempty" doc:"Absent once the person was erased."`
}

// NewPerson describes a person to be added.
type NewPerson struct {
	Address  string
	Name     string
	Password seal.Secret // zero: cannot sign in by password
}

// MaxNameChars bounds the names of people, organizations and keys.
const MaxNameChars = 200

// CheckName reports why name cannot be the name of a person, an organization
// or a key, or returns it in normal form.
func CheckName(pointer, name string) (string, error) {
	name = strings.TrimSpace(norm.NFC.String(name))
	switch {
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return "", fault.At(fault.Invalid, pointer, "not_text", "a name is text on one line")
	case name == "":
		return "", fault.At(fault.Invalid, pointer, "required", "a name is not empty")
	case utf8.RuneCountInString(name) > MaxNameChars:
		return "", fault.At(fault.Invalid, pointer, "too_long", fmt.Sprintf("a name has at most %d characters", MaxNameChars))
	}
	return name, nil
}

// person is a row of platform.person.
type person struct {
	id       id.Person
	token    []byte
	leaf     keytree.Leaf
	version  uint64
	profile  seal.Sealed
	password seal.Sealed
	roles    []string
	state    string
}

// A person's profile and password are sealed under her own leaf of the
// installation's tree, so that destroying it erases her everywhere at once.
// Both carry the row's version: an old password put back in place of a new one
// does not open.
const (
	personTable     = "platform.person"
	emailSection    = "email"
	nameSection     = "name"
	passwordSection = "password"
)

func personPlace(p id.Person, version uint64) seal.Place {
	return seal.Place{Org: id.Installation, Table: personTable, Row: p.UUID(), Version: version}
}

func sealProfile(ctx context.Context, tx *platform.Tx, p id.Person, version uint64, leaf keytree.Leaf, address, name string) (seal.Sealed, error) {
	return seal.Seal(ctx, tx.KeysOf(id.Installation), personPlace(p, version),
		seal.Section{Name: emailSection, Leaf: leaf, Plain: seal.NewSecretString(address)},
		seal.Section{Name: nameSection, Leaf: leaf, Plain: seal.NewSecretString(name)})
}

func sealPassword(ctx context.Context, tx *platform.Tx, p id.Person, version uint64, leaf keytree.Leaf, hash string) (seal.Sealed, error) {
	if hash == "" {
		return nil, nil
	}
	return seal.Seal(ctx, tx.KeysOf(id.Installation), personPlace(p, version),
		seal.Section{Name: passwordSection, Leaf: leaf, Plain: seal.NewSecretString(hash)})
}

// openPerson unseals a profile. Somebody who was erased has an id and nothing
// else.
func openPerson(ctx context.Context, tx *platform.Tx, p id.Person, version uint64, profile seal.Sealed) (Person, error) {
	sections, err := seal.Open(ctx, tx.KeysOf(id.Installation), personPlace(p, version), profile)
	if err != nil {
		return Person{}, fmt.Errorf("identity: profile of %s: %w", p, err)
	}
	out := Person{ID: p}
	for _, s := range sections {
		switch {
		case s.Erased:
		case s.Name == emailSection:
			out.Email = string(s.Plain.Reveal())
		case s.Name == nameSection:
			out.Name = string(s.Plain.Reveal())
		}
	}
	return out, nil
}

func (p *person) openPassword(ctx context.Context, tx *platform.Tx) (string, error) {
	if len(p.password) == 0 {
		return "", nil
	}
	hash, err := seal.OpenOne(ctx, tx.KeysOf(id.Installation), personPlace(p.id, p.version), p.password, passwordSection)
	if err != nil {
		return "", fmt.Errorf("identity: password of %s: %w", p.id, err)
	}
	return string(hash.Reveal()), nil
}

// scanPerson returns nil where there is no such person.
func scanPerson(row interface{ Scan(...any) error }) (*person, error) {
	var p person
	var leaf, version int64
	err := row.Scan(&p.id, &p.token, &leaf, &version, &p.profile, &p.password, &p.roles, &p.state)
	if errors.Is(err, platform.ErrNoRows) {
		return nil, nil
	}
	p.leaf, p.version = keytree.Leaf(leaf), uint64(version)
	return &p, err
}

func findPerson(ctx context.Context, tx *platform.Tx, a Address) (*person, error) {
	tokens, err := hashes(ctx, tx, hashAddress, a.Key())
	if err != nil {
		return nil, err
	}
	return scanPerson(tx.QueryRow(ctx, sqlFindPerson, tokens))
}

// newcomer is a person who has been checked and not yet been added. Making one
// hashes the password, which is slow: it happens before a transaction opens.
type newcomer struct {
	address Address
	name    string
	hash    string
}

// admit checks p; the pointers of what is wrong begin with at.
func (s *Service) admit(ctx context.Context, at string, p NewPerson) (n newcomer, err error) {
	if n.address, err = ParseAddress(p.Address); err != nil {
		return n, fault.At(fault.Invalid, at+"/email", "not_an_address", "expected an e-mail address")
	}
	if n.name, err = CheckName(at+"/name", p.Name); err != nil {
		return n, err
	}
	if p.Password.IsZero() {
		return n, nil
	}
	if err := CheckNew(at+"/password", p.Password.Reveal(), n.address.String()); err != nil {
		return n, err
	}
	n.hash, err = s.passwords.Hash(ctx, p.Password.Reveal())
	return n, err
}

// insert adds n. The transaction must have entered the installation.
func (n newcomer) insert(ctx context.Context, tx *platform.Tx, roles ...policy.Role) (Person, error) {
	p := id.NewPerson()
	tokens, err := hashes(ctx, tx, hashAddress, n.address.Key())
	if err != nil {
		return Person{}, err
	}
	if known, err := scanPerson(tx.QueryRow(ctx, sqlFindPerson, tokens)); err != nil {
		return Person{}, err
	} else if known != nil {
		return Person{}, errAddressTaken
	}
	leaf, err := tx.NewLeafIn(ctx, id.Installation)
	if err != nil {
		return Person{}, err
	}
	profile, err := sealProfile(ctx, tx, p, 1, leaf, n.address.String(), n.name)
	if err != nil {
		return Person{}, err
	}
	password, err := sealPassword(ctx, tx, p, 1, leaf, n.hash)
	if err != nil {
		return Person{}, err
	}
	_, err = tx.Exec(ctx, sqlInsertPerson, p, tokens[0], int64(leaf), profile, password, toNames(roles), tx.Now())
	if platform.IsUnique(err, "person_email_key") {
		return Person{}, errAddressTaken
	}
	if err != nil {
		return Person{}, err
	}
	tx.Touch(p)
	return Person{ID: p, Name: n.name, Email: n.address.String()}, nil
}

// An account may have been made, with a password of his own, by whoever runs
// another organization. Adding it here because the address fits would let him
// in: account pre-hijacking (Sudhodanan and Paverd, USENIX Security 2022). So
// only its holder can bring an account along, with a join code.
var errAddressTaken = fault.At(fault.Conflict, "/email", "address_taken",
	"there is an account with this address already; ask its holder for a join code")

// checkRoles reports what is wrong with the roles given in an organization.
func checkRoles(pointer string, roles []policy.Role) error {
	if len(roles) == 0 {
		return fault.At(fault.Invalid, pointer, "required", "name at least one role")
	}
	for i, r := range roles {
		if !policy.IsOrgRole(r) {
			return fault.At(fault.Invalid, fmt.Sprintf("%s/%d", pointer, i), "unknown_role", "this is no role of an organization")
		}
		if slices.Contains(roles[:i], r) {
			return fault.At(fault.Invalid, fmt.Sprintf("%s/%d", pointer, i), "duplicate", "the role is named twice")
		}
	}
	return nil
}

// sortedRoles puts roles into the order in which people read them.
func sortedRoles(names []string) []policy.Role {
	out := make([]policy.Role, 0, len(names))
	for _, r := range policy.Roles {
		if slices.Contains(names, string(r)) {
			out = append(out, r)
		}
	}
	return out
}

// utc gives times of the database the one form that answers have.
func utc(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

func utcOrNil(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	u := utc(*t)
	return &u
}
