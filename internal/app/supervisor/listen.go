package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"strongroom/internal/osproc"
)

// A child gets its listening sockets from the supervisor. So an unprivileged
// server can have a port below 1024, a taken port is known before anything is
// started, and connections that arrive while a child restarts wait instead of
// failing.

// ListenTCP returns a listening socket for a child, and its address, which has
// the real port where the asked one is 0.
func ListenTCP(ctx context.Context, address string) (*os.File, net.Addr, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, nil, fmt.Errorf("the address %s is taken by another program; stop that one, or choose another address with --listen HOST:PORT", address)
	case errors.Is(err, syscall.EACCES):
		return nil, nil, fmt.Errorf("only root may listen on %s; start as root, or choose a port of 1024 or above with --listen HOST:PORT", address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, nil, fmt.Errorf("this machine does not have the address %s; choose another with --listen HOST:PORT", address)
	case err != nil:
		return nil, nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	return f, l.Addr(), l.Close()
}

// ListenUnix returns a listening socket at path for a child. Only client, and
// root, can connect; nil means the supervisor's own user. What an earlier run
// left there is removed.
func ListenUnix(path string, client *osproc.User) (*os.File, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// The mode is set before bind, which hands it to the file: a chmod of the
	// path would follow a symbolic link that the folder's owner put there.
	closed := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var mode error
		err := c.Control(func(fd uintptr) { mode = syscall.Fchmod(int(fd), 0o600) })
		return errors.Join(err, mode)
	}}
	l, err := closed.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // the child goes on with it
	f, err := l.(*net.UnixListener).File()
	if err == nil {
		err = client.Own(path)
	}
	if err = errors.Join(err, l.Close()); err != nil && f != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, err
}

// Inherited returns the i-th of [Process.Files] as a listener, in the child.
func Inherited(i int) (net.Listener, error) {
	f := os.NewFile(uintptr(firstFD+1+i), "inherited")
	l, err := net.FileListener(f)
	return l, errors.Join(err, f.Close())
}
