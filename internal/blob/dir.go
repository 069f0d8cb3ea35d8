package blob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
)

// Dir is a store in a local directory:
//
//	orgs/<organization>/<file>/<version>   objects, read-only
//	incoming/<random>                      objects before their commit
//
// Every step below the directory is one openat with O_NOFOLLOW from the
// descriptor above it, so a symbolic link planted anywhere inside, even one
// that points inside, is refused instead of followed.
//
// Several processes may share the directory. A process that dies leaves at
// most files in incoming/, which the next OpenDir removes: a living writer holds
// a lock on its own.
type Dir struct {
	root, orgs, incoming *os.File
}

const (
	orgsDir     = "orgs"
	incomingDir = "incoming"
	dirFlags    = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
)

// OpenDir opens the store in the directory at path, which must exist, and
// removes what earlier writers left unfinished.
func OpenDir(path string) (*Dir, error) {
	root, err := os.OpenFile(path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("blob: open the object directory: %w", err)
	}
	d := &Dir{root: root}
	if d.orgs, err = makeDir(root, orgsDir); err == nil {
		d.incoming, err = makeDir(root, incomingDir)
	}
	if err == nil {
		err = root.Sync()
	}
	if err == nil {
		err = d.sweep()
	}
	if err != nil {
		d.Close()
		return nil, classify("prepare the object directory", err)
	}
	return d, nil
}

// Close closes the store. Objects and writers that are open stay usable.
func (d *Dir) Close() error {
	for _, f := range []*os.File{d.root, d.orgs, d.incoming} {
		if f != nil {
			_ = f.Close() // opened for reading: nothing to lose
		}
	}
	return nil
}

// classify tells the two failures that a caller can act on, a volume without
// space and a planted link, from the rest.
func classify(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fault.Wrap(fault.Unavailable, err, "the object store has no space left: nothing was stored; free space on its volume and try again")
	case errors.Is(err, unix.EFBIG):
		return fault.Wrap(fault.TooLarge, err, "the object is larger than the object store's volume allows: nothing was stored")
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%w (while trying to %s)", ErrForeign, doing)
	}
	return fmt.Errorf("blob: %s: %w", doing, err)
}

func openAt(dir *os.File, name string, flags int, mode uint32) (*os.File, error) {
	for {
		fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), name), nil
		case unix.EINTR:
			continue
		}
		return nil, &fs.PathError{Op: "openat", Path: name, Err: err}
	}
}

// makeDir opens the directory name below dir and makes it first if it is missing.
func makeDir(dir *os.File, name string) (*os.File, error) {
	if err := unix.Mkdirat(int(dir.Fd()), name, 0o700); err != nil && err != unix.EEXIST {
		return nil, &fs.PathError{Op: "mkdirat", Path: name, Err: err}
	}
	return openAt(dir, name, dirFlags, 0)
}

// names returns the three path elements below orgs/.
func (k Key) names() (org, file, version string) {
	return k.Org.String(), k.File.String(), strconv.FormatUint(k.Version, 10)
}

// folder opens the directory that holds k's versions.
func (d *Dir) folder(k Key) (org, file *os.File, err error) {
	orgName, fileName, _ := k.names()
	if org, err = openAt(d.orgs, orgName, dirFlags, 0); err != nil {
		return nil, nil, err
	}
	if file, err = openAt(org, fileName, dirFlags, 0); err != nil {
		org.Close()
		return nil, nil, err
	}
	return org, file, nil
}

// Open implements Store.
func (d *Dir) Open(ctx context.Context, k Key) (Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !k.Valid() {
		return nil, ErrNotExist
	}
	org, folder, err := d.folder(k)
	if err != nil {
		return nil, openError(err)
	}
	defer org.Close()
	defer folder.Close()
	_, _, version := k.names()
	// O_NONBLOCK: opening a planted FIFO must not wait for a writer.
	f, err := openAt(folder, version, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, openError(err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, classify("inspect an object", err)
	}
	if !st.Mode().IsRegular() {
		f.Close()
		return nil, ErrForeign
	}
	return &object{File: f, size: st.Size()}, nil
}

func openError(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotExist
	}
	return classify("open an object", err)
}

type object struct {
	*os.File
	size int64
}

// Size implements Object.
func (o *object) Size() int64 { return o.size }

// Create implements Store.
func (d *Dir) Create(ctx context.Context, k Key) (Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !k.Valid() {
		return nil, errors.New("blob: an object needs an organization, a file and a version")
	}
	// Refusing here only saves the upload; Commit decides.
	switch o, err := d.Open(ctx, k); {
	case err == nil:
		o.Close()
		return nil, ErrExist
	case !errors.Is(err, ErrNotExist):
		return nil, err
	}
	f, name, err := d.temporary()
	if err != nil {
		return nil, classify("begin an object", err)
	}
	return &dirWriter{ctx: ctx, d: d, k: k, f: f, name: name}, nil
}

// temporary makes a file in incoming/ and locks it, which tells every sweep
// that its writer lives.
func (d *Dir) temporary() (*os.File, string, error) {
	for {
		var r [16]byte
		if _, err := rand.Read(r[:]); err != nil {
			return nil, "", err
		}
		name := hex.EncodeToString(r[:])
		f, err := openAt(d.incoming, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL, 0o600)
		if err != nil {
			return nil, "", err
		}
		var st unix.Stat_t
		if err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			err = unix.Fstat(int(f.Fd()), &st)
		}
		if err == nil && st.Nlink == 1 {
			return f, name, nil
		}
		f.Close()
		// A sweep of another process came between making and locking, and
		// has removed the file or is about to: make another one.
		if err != nil && err != unix.EWOULDBLOCK {
			return nil, "", err
		}
	}
}

// sweep removes files in incoming/ whose writers are gone.
func (d *Dir) sweep() error {
	var failed error
	err := eachEntry(d.incoming, func(name string) bool {
		f, err := openAt(d.incoming, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return true
		case errors.Is(err, unix.ELOOP): // a planted link: remove the link itself
		case err != nil:
			failed = err
			return false
		default:
			defer f.Close()
			if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
				return true
			}
		}
		if err := unix.Unlinkat(int(d.incoming.Fd()), name, 0); err != nil && err != unix.ENOENT {
			failed = &fs.PathError{Op: "unlinkat", Path: incomingDir, Err: err}
			return false
		}
		return true
	})
	return errors.Join(failed, err)
}

// eachEntry calls fn with every name in the directory dir until it returns
// false. It reads in batches: a directory may hold millions.
func eachEntry(dir *os.File, fn func(name string) bool) error {
	// A descriptor of its own: the offset of dir's is shared by everybody.
	d, err := openAt(dir, ".", dirFlags, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(256)
		for _, name := range names {
			if !fn(name) {
				return nil
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

type dirWriter struct {
	mu   sync.Mutex // an Abort may meet a Write that a Sealer still has under way
	ctx  context.Context
	d    *Dir
	k    Key
	f    *os.File // nil once committed or aborted
	name string
	err  error

	size, flushed int64
}

// writeBack is how many bytes may wait in memory before the kernel is asked to
// begin writing them: so the flush in Commit finds little left to do.
const writeBack = 8 << 20

// Write implements io.Writer. After an error the object is lost.
func (w *dirWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = w.ctx.Err()
	}
	if w.err == nil && w.f == nil {
		w.err = fs.ErrClosed
	}
	if w.err != nil {
		return 0, classify("write an object", w.err)
	}
	n, err := w.f.Write(p)
	w.size += int64(n)
	if err != nil {
		w.err = err
		return n, classify("write an object", err)
	}
	if w.size-w.flushed >= writeBack {
		beginWriteBack(w.f, w.flushed, w.size-w.flushed)
		w.flushed = w.size
	}
	return n, nil
}

// Commit implements Writer: flush the bytes, then link them in under their
// name, which fails where the name is taken, then flush the directories.
func (w *dirWriter) Commit() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && w.f == nil {
		return fs.ErrClosed
	}
	if w.err == nil {
		w.err = w.ctx.Err()
	}
	if w.err == nil {
		w.err = w.f.Chmod(0o400)
	}
	if w.err == nil {
		w.err = w.f.Sync()
	}
	if w.err == nil {
		w.err = w.publish()
	}
	err := w.err
	_ = w.discard() // what it cannot remove the next sweep does
	if errors.Is(err, fs.ErrExist) {
		return ErrExist
	}
	return classify("commit an object", err)
}

func (w *dirWriter) publish() error {
	orgName, fileName, version := w.k.names()
	// A Delete beside us may remove the directories while they are still
	// empty; each round makes them anew.
	for range 16 {
		org, err := makeDir(w.d.orgs, orgName)
		if err != nil {
			return err
		}
		defer org.Close()
		folder, err := makeDir(org, fileName)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		defer folder.Close()
		err = unix.Linkat(int(w.d.incoming.Fd()), w.name, int(folder.Fd()), version, 0)
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			_ = unix.Unlinkat(int(org.Fd()), fileName, unix.AT_REMOVEDIR) // only if it is empty
			return &fs.PathError{Op: "linkat", Path: orgsDir, Err: err}
		}
		// All three, even where they were there before: another writer may
		// have made them a moment ago and not yet flushed them.
		for _, dir := range []*os.File{folder, org, w.d.orgs} {
			if err := dir.Sync(); err != nil {
				return err
			}
		}
		return nil
	}
	return errors.New("blob: the object's directory vanishes again and again")
}

// Abort implements Writer.
func (w *dirWriter) Abort() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = fs.ErrClosed
	}
	return w.discard()
}

// discard removes the temporary name: the bytes too, unless they were
// published under another. The caller holds mu.
func (w *dirWriter) discard() error {
	if w.f == nil {
		return nil
	}
	err := unix.Unlinkat(int(w.d.incoming.Fd()), w.name, 0)
	w.f.Close() // releases the lock, after the name is gone
	w.f = nil
	if err != nil && err != unix.ENOENT {
		return classify("remove an unfinished object", err)
	}
	return nil
}

// Delete implements Store.
func (d *Dir) Delete(ctx context.Context, k Key) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !k.Valid() {
		return nil
	}
	org, folder, err := d.folder(k)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return classify("delete an object", err)
	}
	defer org.Close()
	defer folder.Close()
	_, fileName, version := k.names()
	if err := unix.Unlinkat(int(folder.Fd()), version, 0); err != nil && err != unix.ENOENT {
		return classify("delete an object", err)
	}
	if err := folder.Sync(); err != nil {
		return classify("delete an object", err)
	}
	if err := unix.Unlinkat(int(org.Fd()), fileName, unix.AT_REMOVEDIR); err == nil {
		return classify("delete an object", org.Sync())
	}
	return nil // other versions live there
}

// List implements Store.
func (d *Dir) List(ctx context.Context, org id.Org) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		dir, err := openAt(d.orgs, org.String(), dirFlags, 0)
		if errors.Is(err, fs.ErrNotExist) || org.IsZero() {
			return
		}
		if err != nil {
			yield(Info{}, classify("list an organization", err))
			return
		}
		defer dir.Close()
		err = eachEntry(dir, func(name string) bool {
			if err := ctx.Err(); err != nil {
				yield(Info{}, err)
				return false
			}
			file, err := id.ParseFile(name)
			if err != nil {
				return yield(Info{}, ErrForeign)
			}
			return d.listFile(dir, org, file, yield)
		})
		if err != nil {
			yield(Info{}, classify("list an organization", err))
		}
	}
}

func (d *Dir) listFile(dir *os.File, org id.Org, file id.File, yield func(Info, error) bool) bool {
	folder, err := openAt(dir, file.String(), dirFlags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return true // deleted meanwhile
	}
	if err != nil {
		return yield(Info{}, classify("list a file", err))
	}
	defer folder.Close()
	more := true
	err = eachEntry(folder, func(name string) bool {
		var st unix.Stat_t
		version, err := strconv.ParseUint(name, 10, 64)
		if err == nil {
			err = unix.Fstatat(int(folder.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		}
		switch {
		case errors.Is(err, unix.ENOENT):
		case err != nil, version == 0, strconv.FormatUint(version, 10) != name, st.Mode&unix.S_IFMT != unix.S_IFREG:
			more = yield(Info{}, ErrForeign)
		default:
			more = yield(Info{Key: Key{org, file, version}, Size: st.Size, Time: time.Unix(st.Mtim.Unix()).UTC()}, nil)
		}
		return more
	})
	if err != nil && more {
		more = yield(Info{}, classify("list a file", err))
	}
	return more
}
