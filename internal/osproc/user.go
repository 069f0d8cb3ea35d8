package osproc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// User is an operating-system user that children run as.
type User struct {
	Name string
	UID  uint32
	GID  uint32
}

// ErrClosed says that a user may not enter a directory.
var ErrClosed = errors.New("closed")

var userName = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,30}$`)

// EnsureUser returns the system user of that name, and makes it first when it
// is missing. Only root can run children as somebody else, so without root it
// returns nil: the user of the parent.
func EnsureUser(name string) (*User, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if !userName.MatchString(name) {
		return nil, fmt.Errorf("system user %q: a name has 1 to 31 of a-z, 0-9, _ and -, and begins with a letter", name)
	}
	if u, err := lookup(name); err == nil || !errors.As(err, new(user.UnknownUserError)) {
		return u, err
	}
	// One at a time: of two useradd that ran at once, each was seen to give the
	// name another id, and the later one won after the first id was in use.
	etc, err := os.Open("/etc")
	if err != nil {
		return nil, err
	}
	defer etc.Close()
	if err := syscall.Flock(int(etc.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("wait for the turn to make system user %s: %w", name, err)
	}
	if u, err := lookup(name); err == nil { // the one before us made it
		return u, nil
	}
	if err := create(name); err != nil {
		return nil, fmt.Errorf("system user %s is missing and could not be made: %w", name, err)
	}
	return lookup(name)
}

// Current returns the user of this process.
func Current() (*User, error) {
	name := strconv.Itoa(os.Geteuid())
	u, err := user.LookupId(name)
	if err == nil {
		name = u.Username
	} else if !errors.As(err, new(user.UnknownUserIdError)) {
		return nil, fmt.Errorf("current user: %w", err)
	}
	return &User{Name: name, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}, nil
}

func lookup(name string) (*User, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("system user %s: %w", name, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("system user %s: %w", name, err)
	}
	if uid == 0 {
		return nil, fmt.Errorf("system user %s is root under another name", name)
	}
	return &User{Name: name, UID: uint32(uid), GID: uint32(gid)}, nil
}

// create makes a system user without a home, a shell or a password, by
// whichever of the two usual programs the machine has.
func create(name string) error {
	programs := [][]string{
		{"useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", name},
		{"adduser", "-S", "-D", "-H", "-h", "/nonexistent", "-s", "/sbin/nologin", name},
	}
	for _, p := range programs {
		path, err := lookPath(p[0])
		if err != nil {
			continue
		}
		out, err := exec.Command(path, p[1:]...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", p[0], err, strings.TrimSpace(string(out)))
		}
		return nil
	}
	return errors.New("neither useradd nor adduser was found")
}

// lookPath finds a system program also under the sbin folders, which are often
// missing from PATH.
func lookPath(name string) (string, error) {
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin"} {
		p := filepath.Join(dir, name)
		if info, err := os.Stat(p); err == nil && info.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return exec.LookPath(name)
}

// credential returns nil when the child runs as the parent's user.
func (u *User) credential() (*syscall.Credential, error) {
	if u == nil || (int(u.UID) == os.Geteuid() && int(u.GID) == os.Getegid()) {
		return nil, nil
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("only root can run a process as user %s", u.Name)
	}
	return &syscall.Credential{Uid: u.UID, Gid: u.GID}, nil // no supplementary groups
}

// Own gives path to u, and never what a symbolic link there points at; a nil u
// leaves it as it is.
func (u *User) Own(path string) error {
	if u == nil {
		return nil
	}
	return os.Lchown(path, int(u.UID), int(u.GID))
}

// CheckEnter reports whether u may enter dir. The error wraps [ErrClosed] and
// names the ancestor that is closed, for a data directory under /root or in a
// private temporary folder is the usual mistake.
func (u *User) CheckEnter(dir string) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real // a symbolic link leads through other ancestors
	}
	if info, err := os.Stat(abs); err != nil {
		return err
	} else if !info.IsDir() {
		return &fs.PathError{Op: "enter", Path: abs, Err: syscall.ENOTDIR}
	}
	credential, err := u.credential()
	if err != nil || credential == nil {
		return err
	}
	if err := enter(credential, abs); err == nil || !errors.Is(err, syscall.EACCES) {
		return err
	}
	closed := abs
	for p := abs; p != "/"; p = filepath.Dir(p) {
		if errors.Is(enter(credential, p), syscall.EACCES) {
			closed = p // the topmost one that refuses is the one to open
		}
	}
	return fmt.Errorf("the system user %s cannot enter %s, because %s is %w to it: use a directory outside it, or open it with chmod o+x %s",
		u.Name, abs, closed, ErrClosed, closed)
}

// enter asks the kernel itself, so that access lists and mount options count:
// a child takes the user's identity, changes into dir, and then fails to
// execute a file that cannot exist. ENOENT therefore means that dir let it in.
func enter(c *syscall.Credential, dir string) error {
	const nothing = "/proc/self/strongroom-no-such-program"
	pid, err := syscall.ForkExec(nothing, []string{nothing}, &syscall.ProcAttr{Dir: dir, Env: []string{}, Sys: &syscall.SysProcAttr{Credential: c}})
	if err == nil { // cannot happen; reap it all the same
		_, err = syscall.Wait4(pid, nil, 0, nil)
		return err
	}
	if errors.Is(err, syscall.ENOENT) {
		return nil
	}
	return err
}
