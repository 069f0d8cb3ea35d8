// Package disk writes small files so that a crash at any moment leaves each
// of them either whole or absent, and never a half.
//
// The key service and the guardians keep their stores through it and through
// nothing else. Every system call that changes a store passes a [Gate] first:
// the tests use it to end the world before each one in turn, which is what
// makes "at every point" in the crash tests mean every point.
//
// What it rests on: fsync on a file and on its directory (fsync(2)), and
// link(2) and rename(2) being atomic on one file system.
package disk

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// MaxFile is the largest file that is read, in bytes: a store that holds a
// larger one is damaged or not ours.
const MaxFile = 256 << 20

const (
	temporary = "tmp."
	lockName  = "lock"
	// Damaged is the folder that keeps files which failed their checks: they
	// are evidence, so they are set aside and never deleted.
	Damaged = "damaged"
)

// Gate is asked before every system call that changes a store: op is what is
// about to happen, name the file. An error stops it. A nil Gate lets all pass.
type Gate func(op, name string) error

func (g Gate) pass(op, name string) error {
	if g == nil {
		return nil
	}
	return g(op, name)
}

// Dir is one directory of a store. Its methods may be called from several
// goroutines as long as no two write the same name.
type Dir struct {
	path string
	gate Gate
}

// ErrLocked reports a directory that another process holds.
var ErrLocked = errors.New("another process holds it")

// Open opens the directory, and makes it when its parent is there. Only the
// last element is made: a missing parent is a disk that was not mounted, and
// writing keys beneath an empty mount point would scatter them.
func Open(path string, gate Gate) (*Dir, error) {
	if path == "" {
		return nil, errors.New("no directory given")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := gate.pass("mkdir", path); err != nil {
		return nil, err
	}
	err = os.Mkdir(path, 0o700)
	switch {
	case err == nil:
		if err := syncDir(filepath.Dir(path)); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", path)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o: it holds keys, so it must be 0700", path, perm)
	}
	return &Dir{path: path, gate: gate}, nil
}

// Path returns the absolute path.
func (d *Dir) Path() string { return d.path }

// Lock takes the directory for this process until release is called or the
// process ends, however it ends (flock(2) locks die with their owner).
func (d *Dir) Lock() (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(d.path, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", d.path, ErrLocked)
		}
		return nil, fmt.Errorf("%s: %w", d.path, err)
	}
	return func() { f.Close() }, nil
}

// Sub opens a directory inside d, and makes it when it is missing.
func (d *Dir) Sub(name string) (*Dir, error) { return Open(filepath.Join(d.path, name), d.gate) }

// Staged is a file whose bytes are durable and whose name is not there yet.
type Staged struct {
	d         *Dir
	name, tmp string
}

// Stage writes a file's bytes, durably, under no name that is looked at.
func (d *Dir) Stage(name string, data []byte) (*Staged, error) {
	tmp, err := d.writeTemp(name, data)
	if err != nil {
		return nil, err
	}
	return &Staged{d: d, name: name, tmp: tmp}, nil
}

// Link gives the file its name, which is durable once Sync has returned. An
// existing name is never replaced (fs.ErrExist): it would be another writer's.
func (s *Staged) Link() error {
	if err := s.d.gate.pass("link", s.name); err != nil {
		return err
	}
	if err := os.Link(s.tmp, filepath.Join(s.d.path, s.name)); err != nil {
		s.Drop()
		return err
	}
	return s.d.remove(filepath.Base(s.tmp))
}

// Drop gives the file up.
func (s *Staged) Drop() { _ = s.d.remove(filepath.Base(s.tmp)) }

// Create writes a file that must not exist yet: Stage and Link in one.
func (d *Dir) Create(name string, data []byte) error {
	f, err := d.Stage(name, data)
	if err != nil {
		return err
	}
	return f.Link()
}

// Replace writes a file, whether or not it exists, and returns when bytes and
// name are durable. A crash leaves the old content or the new.
func (d *Dir) Replace(name string, data []byte) error {
	tmp, err := d.writeTemp(name, data)
	if err != nil {
		return err
	}
	if err := d.gate.pass("rename", name); err != nil {
		return err
	}
	if err := os.Rename(tmp, filepath.Join(d.path, name)); err != nil {
		_ = d.remove(filepath.Base(tmp))
		return err
	}
	return d.Sync()
}

func (d *Dir) writeTemp(name string, data []byte) (path string, err error) {
	var r [8]byte
	_, _ = rand.Read(r[:])
	tmp := temporary + name + "." + hex.EncodeToString(r[:])
	path = filepath.Join(d.path, tmp)
	if err := d.gate.pass("create", name); err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	defer func() {
		f.Close()
		if err != nil {
			_ = d.remove(tmp)
		}
	}()
	if err := d.gate.pass("write", name); err != nil {
		// What a process leaves that dies inside write(2).
		_, _ = f.Write(data[:len(data)/2])
		return "", err
	}
	if _, err := f.Write(data); err != nil {
		return "", err
	}
	if err := d.gate.pass("fsync", name); err != nil {
		return "", err
	}
	return path, f.Sync()
}

// Overwrite writes bytes in place, inside a file that exists, and returns when
// they are durable. A crash may leave any part of them: the caller's format
// must tell.
func (d *Dir) Overwrite(name string, offset int64, data []byte) error {
	f, err := os.OpenFile(filepath.Join(d.path, name), os.O_WRONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := d.gate.pass("write", name); err != nil {
		_, _ = f.WriteAt(data[:len(data)/2], offset)
		return err
	}
	if _, err := f.WriteAt(data, offset); err != nil {
		return err
	}
	if err := d.gate.pass("fsync", name); err != nil {
		return err
	}
	return unix.Fdatasync(int(f.Fd()))
}

// Sync makes the names in the directory durable.
func (d *Dir) Sync() error {
	if err := d.gate.pass("syncdir", filepath.Base(d.path)); err != nil {
		return err
	}
	return syncDir(d.path)
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Read returns a file's bytes.
func (d *Dir) Read(name string) ([]byte, error) {
	f, err := os.OpenFile(filepath.Join(d.path, name), os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > MaxFile {
		return nil, fmt.Errorf("%s is not a file of this store", filepath.Join(d.path, name))
	}
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, err
	}
	return b, nil
}

// List returns the names of the store's files, without locks and leftovers.
func (d *Dir) List() ([]string, error) {
	all, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(all))
	for _, e := range all {
		if n := e.Name(); e.Type().IsRegular() && n != lockName && !strings.HasPrefix(n, temporary) {
			names = append(names, n)
		}
	}
	return names, nil
}

// Sweep removes what a crash left half-written. Call it with the lock held:
// another process's work in progress looks the same.
func (d *Dir) Sweep() error {
	all, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, e := range all {
		if strings.HasPrefix(e.Name(), temporary) {
			if err := d.remove(e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// Remove deletes files; one that is already gone is no error. The removal is
// not synced: a file that comes back after a power cut is removed again.
func (d *Dir) Remove(names ...string) error {
	for _, n := range names {
		if err := d.remove(n); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dir) remove(name string) error {
	if err := d.gate.pass("unlink", name); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(d.path, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// SetAside moves a file that failed its checks into the folder [Damaged],
// where no start looks and nothing deletes it.
func (d *Dir) SetAside(name string) error {
	sub, err := d.Sub(Damaged)
	if err != nil {
		return err
	}
	if err := d.gate.pass("rename", name); err != nil {
		return err
	}
	var r [4]byte
	_, _ = rand.Read(r[:])
	err = os.Rename(filepath.Join(d.path, name), filepath.Join(sub.path, name+"."+hex.EncodeToString(r[:])))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.Sync()
}

// Shred overwrites a file with zeros, syncs, removes it and syncs the
// directory. It forgets as well as a file can be forgotten: on storage that
// copies on write or remaps blocks, an old copy may stay underneath.
func (d *Dir) Shred(name string) error {
	if err := d.gate.pass("shred", name); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(d.path, name), os.O_WRONLY|unix.O_NOFOLLOW, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return d.Sync()
	case err != nil:
		return err
	}
	err = func() error {
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if _, err := f.Write(make([]byte, info.Size())); err != nil {
			return err
		}
		return f.Sync()
	}()
	if err != nil {
		return err
	}
	if err := d.remove(name); err != nil {
		return err
	}
	return d.Sync()
}

// Device returns the number of the device that holds the directory.
func (d *Dir) Device() (uint64, error) {
	var st unix.Stat_t
	if err := unix.Stat(d.path, &st); err != nil {
		return 0, fmt.Errorf("%s: %w", d.path, err)
	}
	return st.Dev, nil
}

// Same reports whether both are one directory.
func (d *Dir) Same(o *Dir) bool {
	a, errA := os.Stat(d.path)
	b, errB := os.Stat(o.path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}
