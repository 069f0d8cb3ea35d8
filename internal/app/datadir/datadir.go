// Package datadir holds the directory of one installation: who may use it, what
// is where, and whose it is.
//
// [Open] keeps three things true. One Strongroom at a time uses a directory, by
// a lock that the kernel drops with its holder, kill -9 included. A directory
// that a newer version wrote, that holds something else, or that somebody else
// made is left exactly as it was. Each store belongs to the one service that
// uses it, under a user of its own when Strongroom runs as root.
//
// The commands of cmd/strongroom call it. To add a store, add a folder in
// layout.go; to change the meaning of what is stored, raise [Version].
package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Version is the format of the data directory that this Strongroom reads and
// writes.
const Version = 1

// MinFree is the free space, in bytes, without which Strongroom does not start:
// the database needs some to recover.
const MinFree = 64 << 20

// The refusals of Open, for exit codes and tests; the errors that wrap them are
// complete sentences.
var (
	ErrInUse   = errors.New("in use")
	ErrNewer   = errors.New("written by a newer Strongroom")
	ErrForeign = errors.New("not a Strongroom data directory")
	ErrFull    = errors.New("the disk is full")
	ErrOwner   = errors.New("belongs to another user")
)

// Dir is an open data directory; it is this process's alone until Close.
type Dir struct {
	Layout
	Users Users
	lock  *os.File
}

// Open takes the data directory at path, and makes it first when it is missing
// or empty.
func Open(path string, users Users) (*Dir, error) {
	root, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := checkVersion(root); err != nil { // before anything is touched
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		return nil, Explain(err, root)
	}
	if err := os.Mkdir(root, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, Explain(err, root)
	}
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return nil, err
	}
	d := &Dir{Layout: At(root), Users: users}
	if err := d.checkOwner(); err != nil {
		return nil, err
	}
	if d.lock, err = takeLock(root); err != nil {
		return nil, err
	}
	if err := d.prepare(); err != nil {
		return nil, errors.Join(Explain(err, root), d.Close())
	}
	return d, nil
}

func (d *Dir) prepare() error {
	if err := checkSpace(d.root, MinFree); err != nil {
		return err
	}
	if err := checkVersion(d.root); err != nil { // the lock's last holder may have been newer
		return err
	}
	if err := d.mode(d.root, 0o711); err != nil {
		return err
	}
	for _, u := range d.Users.all() {
		if err := u.CheckEnter(d.root); err != nil {
			return fmt.Errorf("data directory: %w", err)
		}
	}
	if err := d.writeVersion(); err != nil {
		return err
	}
	if err := d.prepareRun(); err != nil {
		return err
	}
	for _, f := range d.folders(d.Users) {
		if err := d.ensure(f); err != nil {
			return err
		}
	}
	return syncDir(d.root)
}

// Close gives the directory back. The services must have ended.
func (d *Dir) Close() error { return d.lock.Close() }

// checkVersion refuses what a newer Strongroom or something else wrote.
func checkVersion(root string) error {
	b, err := os.ReadFile(filepath.Join(root, versionFile))
	if errors.Is(err, fs.ErrNotExist) {
		return checkEmpty(root)
	}
	if err != nil {
		return Explain(err, root)
	}
	v, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || v < 1 {
		return fmt.Errorf("%s is %w: its VERSION is not a number", root, ErrForeign)
	}
	if v > Version {
		return fmt.Errorf("the data directory %s was %w: its format is %d and this one reads up to %d; install the newer version again", root, ErrNewer, v, Version)
	}
	return nil
}

const (
	versionFile = "VERSION"
	lockFile    = "lock"
)

// checkEmpty keeps a slip such as `--data /` from spreading a layout over
// somebody's files. What an interrupted first start leaves is no obstacle.
func checkEmpty(root string) error {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return Explain(err, root)
	}
	for _, e := range entries {
		if !slices.Contains([]string{lockFile, "strongroom.toml", "lost+found"}, e.Name()) && !strings.HasPrefix(e.Name(), versionTemp) {
			return fmt.Errorf("%s is %w: it is not empty and has no VERSION; choose an empty or a new directory", root, ErrForeign)
		}
	}
	return nil
}

// checkOwner refuses a directory that another user made: its stores would not
// open, or would change hands.
func (d *Dir) checkOwner() error {
	info, err := os.Stat(d.root)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("the data directory %s %w: it is of the user with id %d, and this is the one with id %d; start Strongroom as the user who made it",
			d.root, ErrOwner, stat.Uid, os.Geteuid())
	}
	return nil
}

// takeLock locks DIR/lock and writes the holder's process id into it.
func takeLock(root string) (*os.File, error) {
	name := filepath.Join(root, lockFile)
	// Descriptors are close-on-exec in Go: no child can hold the lock on.
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, Explain(err, root)
	}
	// Running holds the lock for an instant, so one refusal says little.
	for range 10 {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("the data directory %s is %w by another Strongroom%s; stop that one first, or choose another directory", root, ErrInUse, holder(f))
		return nil, errors.Join(err, f.Close())
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		return nil, errors.Join(Explain(fmt.Errorf("lock %s: %w", name, err), root), f.Close())
	}
	return f, nil
}

func holder(f *os.File) string {
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0)
	if pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n]))); err == nil {
		return fmt.Sprintf(" (process %d)", pid)
	}
	return ""
}

// Running reports whether a Strongroom holds the directory at path, and its
// process id.
func Running(path string) (pid int, running bool, err error) {
	f, err := os.Open(filepath.Join(path, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	// The lock is let go at once; takeLock is patient enough for that.
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if err == nil {
		return 0, false, nil
	}
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return 0, false, err
	}
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0)
	pid, err = strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		return 0, true, nil // it is just writing its id
	}
	return pid, true, nil
}

const versionTemp = ".VERSION-"

// writeVersion marks the directory before the first store is made in it.
func (d *Dir) writeVersion() error {
	name := filepath.Join(d.root, versionFile)
	if _, err := os.Stat(name); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.CreateTemp(d.root, versionTemp)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	_, err = fmt.Fprintln(f, Version)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err == nil {
		err = syncDir(d.root)
	}
	return err
}

// MaxSocketName is the longest name of a socket in a folder of [Layout.Run].
const MaxSocketName = 20

// maxSocketPath is what fits into sockaddr_un on Linux, the final NUL left out.
const maxSocketPath = 107

// prepareRun makes an empty run folder: sockets of an earlier run lead nowhere.
// Where the path is too long for sockets, run is a symbolic link to a short,
// private folder, which does not outlive a reboot and is then made again.
func (d *Dir) prepareRun() error {
	run := filepath.Join(d.root, "run")
	if target, err := os.Readlink(run); err == nil && strings.HasPrefix(filepath.Base(target), shortPrefix) {
		if info, err := os.Lstat(target); err == nil && info.IsDir() && ownedByMe(info) {
			if err := os.RemoveAll(target); err != nil {
				return err
			}
		}
	}
	if err := os.RemoveAll(run); err != nil {
		return err
	}
	longest := len("/") + len(RunGuardianA) + len("/") + MaxSocketName
	if len(run)+longest <= maxSocketPath {
		if err := os.Mkdir(run, 0o700); err != nil {
			return err
		}
		return d.mode(run, 0o711)
	}
	short, err := os.MkdirTemp(shortBase(), shortPrefix)
	if err != nil {
		return err
	}
	if err := d.mode(short, 0o711); err != nil {
		return err
	}
	return os.Symlink(short, run)
}

const shortPrefix = "strongroom-"

// shortBase is where a short folder goes: /run belongs to root, the runtime
// folder to the user; /tmp is left.
func shortBase() string {
	if os.Geteuid() == 0 {
		return "/run"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) && len(dir) < 40 {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
	}
	return "/tmp"
}

func ownedByMe(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Geteuid()
}

// ensure makes a folder, or checks that one that exists is as it was made.
func (d *Dir) ensure(f folder) error {
	err := os.Mkdir(f.path, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if f.owner != nil {
		uid, gid = int(f.owner.UID), int(f.owner.GID)
	}
	if f.group != nil {
		gid = int(f.group.GID)
	}
	if err == nil {
		if err := os.Lchown(f.path, uid, gid); err != nil {
			return err
		}
		return d.mode(f.path, os.FileMode(f.mode))
	}
	info, err := os.Lstat(f.path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s must be a folder", f.path)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != uid {
		return fmt.Errorf("%s %w: it is of the user with id %d, and should be of the one with id %d", f.path, ErrOwner, stat.Uid, uid)
	}
	return d.mode(f.path, os.FileMode(f.mode))
}

// mode opens a folder no further than needed: without root there is only one
// user, so everything is closed to others.
func (d *Dir) mode(path string, asRoot os.FileMode) error {
	if len(d.Users.all()) == 0 {
		asRoot = 0o700
	}
	return os.Chmod(path, asRoot)
}

// Free returns the bytes that are free, for users other than root, on the disk
// of path.
func Free(path string) (uint64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}

func checkSpace(root string, need uint64) error {
	free, err := Free(root)
	if err != nil {
		return err
	}
	if free < need {
		return fmt.Errorf("%w: %s has %d MB free, and Strongroom needs %d MB to start; free some, nothing was changed", ErrFull, root, free>>20, need>>20)
	}
	return nil
}

// Explain turns the common failures of a disk into a sentence that says what to
// do; other errors come back as they are.
func Explain(err error, dir string) error {
	switch {
	case errors.Is(err, ErrFull):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %s has no room left; free some and start again, nothing was damaged (%w)", ErrFull, dir, err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%s is on a read-only file system: choose another data directory (%w)", dir, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s is not open to the user with id %d: choose another data directory, or start as its owner (%w)", dir, os.Geteuid(), err)
	}
	return err
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
