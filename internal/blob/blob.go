// Package blob keeps the bytes of files: immutable objects, sealed before they
// get here, one prefix for each organization.
//
// What it keeps true:
//
//   - An object is named by organization, file and version, all of them typed
//     identifiers, so no name that a person chose ever becomes a path.
//   - An object is visible only whole, and once visible never changes:
//     [Writer.Commit] makes it durable first and then visible, and refuses to
//     replace one that is there.
//   - Every byte that reaches a [Store] was sealed by [SealWriter] before:
//     temporary files and swap hold ciphertext only.
//   - A sealed object that was moved, swapped, cut, reordered, extended or
//     changed in any bit is unreadable: [OpenReaderAt] and every read after it
//     answer [ErrUnreadable] and never a wrong byte.
//
// [Dir] is the store in a local directory. Another one implements [Store].
package blob

import (
	"context"
	"errors"
	"io"
	"iter"
	"strconv"
	"time"

	"strongroom/internal/base/id"
)

var (
	// ErrNotExist reports that there is no object of this name.
	ErrNotExist = errors.New("blob: no such object")
	// ErrExist reports that the object is there already: objects are never overwritten.
	ErrExist = errors.New("blob: the object exists already and is never overwritten")
	// ErrForeign reports something in the store that the store did not put
	// there: a symbolic link, a device, a name that is no identifier.
	ErrForeign = errors.New("blob: the store holds something that it did not put there")
	// ErrUnreadable reports sealed bytes that do not open: another key, or
	// bytes that were moved, cut or changed. The two cannot be told apart.
	ErrUnreadable = errors.New("blob: the object does not open under its key: it is damaged, changed, or not this object")
)

// Key names one immutable version of one file of one organization.
type Key struct {
	Org     id.Org
	File    id.File
	Version uint64 // counts from 1
}

// String returns orgs/<organization>/<file>/<version>, the name in every kind of store.
func (k Key) String() string {
	return "orgs/" + k.Org.String() + "/" + k.File.String() + "/" + strconv.FormatUint(k.Version, 10)
}

// Valid reports whether k names an object: no part is zero.
func (k Key) Valid() bool { return !k.Org.IsZero() && !k.File.IsZero() && k.Version != 0 }

// Store holds immutable objects.
type Store interface {
	// Create begins the object k. Nothing of it is visible before Commit.
	Create(ctx context.Context, k Key) (Writer, error)
	// Open opens the object k for reading, or answers ErrNotExist.
	Open(ctx context.Context, k Key) (Object, error)
	// Delete removes the object k. An object that is not there is no error,
	// so that a collector may repeat itself.
	Delete(ctx context.Context, k Key) error
	// List yields every object of one organization, in no promised order and
	// in constant memory. An entry that is no object comes as ErrForeign; the
	// walk goes on behind it.
	List(ctx context.Context, org id.Org) iter.Seq2[Info, error]
}

// Writer is an object that does not exist yet.
type Writer interface {
	io.Writer
	// Commit makes the bytes durable and then the object visible. After an
	// error there is no object, unless the error came after visibility: then
	// the object is whole and a second attempt answers ErrExist.
	Commit() error
	// Abort gives the object up and removes its bytes. After Commit it does
	// nothing, so it may be deferred.
	Abort() error
}

// Object is an object opened for reading. It is safe for concurrent use.
type Object interface {
	io.ReaderAt
	io.Closer
	// Size is the number of sealed bytes.
	Size() int64
}

// Info describes one object in a listing.
type Info struct {
	Key  Key
	Size int64 // sealed bytes
	Time time.Time
}
