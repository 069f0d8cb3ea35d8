package mail

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// MaxWaiting is how many messages an outbox holds: where nobody takes them
// out, they must not fill the disk.
const MaxWaiting = 1000

// Outbox writes each message into a file of its own, NAME.eml, mode 0600, for
// an operator or a program of hers to take. A file is there as a whole or not
// at all.
type Outbox struct{ Dir string }

// Send implements [Sender].
func (o Outbox) Send(_ context.Context, m Message) (err error) {
	text, err := m.bytes()
	if err != nil {
		return err
	}
	waiting, err := filepath.Glob(filepath.Join(o.Dir, "*.eml"))
	if err != nil {
		return err
	}
	if len(waiting) >= MaxWaiting {
		return fmt.Errorf("the outbox %s holds %d messages: take them out", o.Dir, len(waiting))
	}
	f, err := os.CreateTemp(o.Dir, ".new-*") // 0600
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when all went well
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	name := time.Now().UTC().Format("20060102T150405.000000Z") + "-" + strings.ToLower(rand.Text()[:8]) + ".eml"
	if err := os.Rename(f.Name(), filepath.Join(o.Dir, name)); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	dir, err := os.Open(o.Dir)
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}
