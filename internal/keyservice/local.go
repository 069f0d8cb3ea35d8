package keyservice

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"

	"strongroom/internal/keyservice/guardian"
	"strongroom/internal/keyservice/internal/wire"
)

// Local is a key service and two guardians that run inside this process. They
// are the real ones, over real sockets and directories; what is missing is
// what separate processes and users give.
type Local struct {
	Socket string // of the key service: give it to [Dial]

	cancel context.CancelFunc
	done   sync.WaitGroup
	short  string // folder of the sockets, when dir is too long for them
	errs   [3]error
}

// StartLocal runs two guardians and a key service over the directories
// keys/zone-a, keys/zone-b, guardians/a and guardians/b of dir, until Close
// is called or ctx ends.
func StartLocal(ctx context.Context, dir string) (*Local, error) {
	return startLocal(ctx, dir, Options{Log: slog.New(slog.DiscardHandler)})
}

func startLocal(ctx context.Context, dir string, o Options) (_ *Local, err error) {
	l := &Local{}
	ctx, l.cancel = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			_ = l.Close()
		}
	}()
	run := filepath.Join(dir, "run")
	if len(run)+len("/guardian-a.sock") > 107 {
		if l.short, err = os.MkdirTemp("", "sr"); err != nil {
			return nil, err
		}
		run = l.short
	}
	for _, d := range []string{"keys", "guardians"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	listen := func(name string) (net.Listener, error) { return wire.Listen(filepath.Join(run, name), 0o600) }
	for i, name := range []string{"a", "b"} {
		ln, err := listen("guardian-" + name + ".sock")
		if err != nil {
			return nil, err
		}
		l.done.Go(func() {
			l.errs[i] = guardian.Serve(ctx, guardian.Options{Dir: filepath.Join(dir, "guardians", name), Listener: ln, Log: o.Log})
		})
		o.Guardians = append(o.Guardians, ln.Addr().String())
	}
	o.ZoneA, o.ZoneB = filepath.Join(dir, "keys", "zone-a"), filepath.Join(dir, "keys", "zone-b")
	s, err := start(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("key service: %w", err)
	}
	ln, err := listen("keys.sock")
	if err != nil {
		s.close()
		return nil, err
	}
	l.Socket = ln.Addr().String()
	l.done.Go(func() {
		defer s.close()
		l.errs[2] = s.serve(ctx, ln)
	})
	return l, nil
}

// Close stops all three and returns what went wrong with them.
func (l *Local) Close() error {
	l.cancel()
	l.done.Wait()
	if l.short != "" {
		_ = os.RemoveAll(l.short)
	}
	return errors.Join(l.errs[:]...)
}
