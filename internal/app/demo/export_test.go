package demo

import (
	"path"
	"testing"
)

// Organization, Entry and Upload show the package's own to its tests of a whole
// server, which cannot live in the package: the server imports it.
type (
	Organization = organization
	Person       = person
	Entry        = entry
	Upload       = upload
)

// Organizations returns what there is to load.
func Organizations(t testing.TB) []Organization {
	t.Helper()
	all, err := organizations()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Name returns what tells an entry apart in its collection.
func (e entry) Name() string { return e.name }

// Uploads lists the files.
func (o organization) Uploads() []Upload { return o.uploads() }

// Private reports whether a file is its owner's alone.
func (u upload) Private() bool { return u.private }

// By returns the key of the person who stores a file.
func (u upload) By() string { return u.by }

// Name returns the name under which a file is stored.
func (u upload) Name() string { return path.Base(u.file) }

// File returns a file's bytes.
func (o organization) File(t testing.TB, u Upload) []byte {
	t.Helper()
	b, err := embedded.ReadFile(o.at(u.file))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
