package keyservice

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"strongroom/internal/keyservice/internal/disk"
	"strongroom/internal/keyservice/internal/wire"
)

// zone is one copy of the store: a directory, and in it the folder orgs.
type zone struct {
	name    string // "a" or "b"
	path    string
	gate    disk.Gate
	dir     *disk.Dir // nil while the zone cannot be opened
	orgs    *disk.Dir
	release func()
}

// open takes the zone for this process. Of a zone whose own lock is gone (it
// was wiped) the lock is taken anew.
func (z *zone) open() error {
	if z.dir != nil {
		if _, err := z.dir.Read(markerName); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		z.close()
	}
	dir, err := disk.Open(z.path, z.gate)
	if err != nil {
		return fmt.Errorf("zone %s: %w", z.name, err)
	}
	release, err := dir.Lock()
	if err != nil {
		if errors.Is(err, disk.ErrLocked) {
			return fmt.Errorf("zone %s: another key service serves it: %w", z.name, err)
		}
		return fmt.Errorf("zone %s: %w", z.name, err)
	}
	orgs, err := dir.Sub("orgs")
	if err == nil {
		err = errors.Join(dir.Sweep(), orgs.Sweep())
	}
	if err != nil {
		release()
		return fmt.Errorf("zone %s: %w", z.name, err)
	}
	z.dir, z.orgs, z.release = dir, orgs, release
	return nil
}

func (z *zone) close() {
	if z.dir != nil {
		z.release()
		z.dir, z.orgs, z.release = nil, nil, nil
	}
}

func (z *zone) at(f fileID) *disk.Dir {
	if f.ofOrg() {
		return z.orgs
	}
	return z.dir
}

// marker is the file "zone": it says in clear whose store this is, so that
// another installation's directory is refused and never cleaned up.
type marker struct {
	Version int    `json:"version"`
	Store   string `json:"store"` // 32 hexadecimal digits
}

const markerName = "zone"

func marshalMarker(store [16]byte) []byte {
	b, _ := json.Marshal(marker{Version: 1, Store: hex.EncodeToString(store[:])})
	return append(b, '\n')
}

// marker returns the store that the directory belongs to; ok is false when it
// has no marker.
func (z *zone) marker() (store [16]byte, ok bool, err error) {
	b, err := z.dir.Read(markerName)
	if errors.Is(err, fs.ErrNotExist) {
		return store, false, nil
	}
	var m marker
	if err == nil {
		err = wire.Decode(b, &m)
	}
	if err == nil && m.Version != 1 {
		return store, false, fmt.Errorf("zone %s: its format is version %d; this program reads version 1", z.name, m.Version)
	}
	raw, hexErr := hex.DecodeString(m.Store)
	if err != nil || hexErr != nil || len(raw) != 16 || !bytes.Equal(marshalMarker([16]byte(raw)), b) {
		return store, false, fmt.Errorf("zone %s: the file %s is damaged", z.name, markerName)
	}
	return [16]byte(raw), true, nil
}

// list returns the store's files; names that are none of ours are left out,
// and so never touched.
func (z *zone) list() (map[fileID]bool, error) {
	have := map[fileID]bool{}
	for _, d := range []*disk.Dir{z.dir, z.orgs} {
		names, err := d.List()
		if err != nil {
			return nil, fmt.Errorf("zone %s: %w", z.name, err)
		}
		for _, n := range names {
			if f, ok := parseName(n, d == z.orgs); ok {
				have[f] = true
			}
		}
	}
	return have, nil
}

// read returns a file whose bytes have the hash want.
func (z *zone) read(f fileID, want hash) ([]byte, error) {
	if z.dir == nil {
		return nil, fmt.Errorf("zone %s is not there", z.name)
	}
	b, err := z.at(f).Read(f.name())
	if err != nil {
		return nil, fmt.Errorf("zone %s: %w", z.name, err)
	}
	if sum(b) != want {
		return nil, fmt.Errorf("zone %s: %s: %w", z.name, f.name(), errDamaged)
	}
	return b, nil
}

// publish writes files so that the last, the root, appears only when all that
// it names is durable; and it returns when the root is.
func (z *zone) publish(files []sealed) error {
	if z.dir == nil {
		return fmt.Errorf("zone %s is not there", z.name)
	}
	last := len(files) - 1
	if err := z.write(files[:last]); err != nil {
		return err
	}
	if err := z.write(files[last:]); err != nil {
		return err
	}
	return nil
}

// parallel bounds the files of one zone that are written at once: their syncs
// then share commits of the file system's journal.
const parallel = 8

func (z *zone) write(files []sealed) error {
	if len(files) == 0 {
		return nil
	}
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		fail error
		slot = make(chan struct{}, parallel)
		orgs bool
		main bool
	)
	for _, f := range files {
		orgs, main = orgs || f.ofOrg(), main || !f.ofOrg()
		slot <- struct{}{}
		wg.Go(func() {
			defer func() { <-slot }()
			if err := z.at(f.fileID).Create(f.name(), f.data); err != nil {
				mu.Lock()
				fail = err
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if fail == nil && orgs {
		fail = z.orgs.Sync()
	}
	if fail == nil && main {
		fail = z.dir.Sync()
	}
	if fail != nil {
		return fmt.Errorf("zone %s could not be written: %w", z.name, fail)
	}
	return nil
}

// readBack holds what the zone now returns against what was written, and
// opens the root with the key that will have to open it.
func (z *zone) readBack(files []sealed, emk key) error {
	for _, f := range files {
		b, err := z.read(f.fileID, f.hash)
		if err != nil {
			return fmt.Errorf("reading back: %w", err)
		}
		if f.kind == kindRoot {
			plain, err := unseal(f.fileID, emk, b)
			if err == nil {
				_, err = parseRoot(plain)
				clear(plain)
			}
			if err != nil {
				return fmt.Errorf("reading back: zone %s: %s: %w", z.name, f.name(), err)
			}
		}
	}
	return nil
}

// replace puts a copy of a file where it is missing or damaged. What was
// there is set aside.
func (z *zone) replace(f fileID, data []byte) error {
	if z.dir == nil {
		return fmt.Errorf("zone %s is not there", z.name)
	}
	d := z.at(f)
	if _, err := d.Read(f.name()); !errors.Is(err, fs.ErrNotExist) {
		if err := d.SetAside(f.name()); err != nil {
			return fmt.Errorf("zone %s: %w", z.name, err)
		}
	}
	if err := d.Create(f.name(), data); err != nil {
		return fmt.Errorf("zone %s could not be written: %w", z.name, err)
	}
	return nil
}

func newStoreID() (s [16]byte) { _, _ = rand.Read(s[:]); return s }
