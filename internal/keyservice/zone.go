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
	"sync/atomic"

	"strongroom/internal/keyservice/internal/disk"
	"strongroom/internal/keyservice/internal/keyfile"
	"strongroom/internal/keyservice/internal/wire"
)

// zone is one copy of the store: a directory, and in it the folder orgs.
type zone struct {
	name string // "a" or "b"
	path string
	gate disk.Gate
	in   atomic.Pointer[opened] // nil while the zone cannot be opened
}

// opened is a zone that this process holds.
type opened struct {
	dir, orgs *disk.Dir
	release   func()
}

func (o *opened) at(f keyfile.ID) *disk.Dir {
	if f.OfOrg() {
		return o.orgs
	}
	return o.dir
}

func (o *opened) sync() error { return errors.Join(o.orgs.Sync(), o.dir.Sync()) }

var errNotThere = errors.New("the directory is not there")

// held returns the zone's directories, or why there are none.
func (z *zone) held() (*opened, error) {
	if o := z.in.Load(); o != nil {
		return o, nil
	}
	return nil, fmt.Errorf("zone %s: %w", z.name, errNotThere)
}

// open takes the zone for this process. Where the directory was emptied
// underneath, the lock went with it and is taken anew.
func (z *zone) open() error {
	if o := z.in.Load(); o != nil {
		if _, err := o.dir.Read(markerName); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		z.close()
	}
	dir, err := disk.Open(z.path, z.gate)
	if err != nil {
		return fmt.Errorf("zone %s: %w", z.name, err)
	}
	release, err := dir.Lock()
	if errors.Is(err, disk.ErrLocked) {
		return fmt.Errorf("zone %s: another key service serves it: %w", z.name, err)
	}
	if err != nil {
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
	z.in.Store(&opened{dir: dir, orgs: orgs, release: release})
	return nil
}

func (z *zone) close() {
	if o := z.in.Swap(nil); o != nil {
		o.release()
	}
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
	o, err := z.held()
	if err != nil {
		return store, false, err
	}
	b, err := o.dir.Read(markerName)
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
func (z *zone) list() (map[keyfile.ID]bool, error) {
	o, err := z.held()
	if err != nil {
		return nil, err
	}
	have := map[keyfile.ID]bool{}
	for _, d := range []*disk.Dir{o.dir, o.orgs} {
		names, err := d.List()
		if err != nil {
			return nil, fmt.Errorf("zone %s: %w", z.name, err)
		}
		for _, n := range names {
			if f, ok := keyfile.ParseName(n, d == o.orgs); ok {
				have[f] = true
			}
		}
	}
	return have, nil
}

// read returns a file whose bytes have the hash want.
func (z *zone) read(f keyfile.ID, want keyfile.Hash) ([]byte, error) {
	o, err := z.held()
	if err != nil {
		return nil, err
	}
	b, err := o.at(f).Read(f.Name())
	if err != nil {
		return nil, fmt.Errorf("zone %s: %w", z.name, err)
	}
	if keyfile.Sum(b) != want {
		return nil, fmt.Errorf("zone %s: %s: %w", z.name, f.Name(), keyfile.ErrDamaged)
	}
	return b, nil
}

// parallel bounds the files of one zone that are written at once: their syncs
// then share commits of the file system's journal.
const parallel = 8

// publish writes files, the root last, and returns when all of them are
// durable. The bytes of every file are durable before any file has its name.
// Of the names a power cut may keep any part: a root without all that it
// names was not counted, and load drops it.
func (z *zone) publish(files []keyfile.File) error {
	o, err := z.held()
	if err != nil {
		return err
	}
	staged := make([]*disk.Staged, len(files))
	errs := make([]error, len(files))
	slot := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i, f := range files {
		slot <- struct{}{}
		wg.Go(func() {
			staged[i], errs[i] = o.at(f.ID).Stage(f.Name(), f.Data)
			<-slot
		})
	}
	wg.Wait()
	err = errors.Join(errs...)
	for _, f := range staged {
		switch {
		case f == nil:
		case err != nil:
			f.Drop()
		default:
			err = f.Link()
		}
	}
	if err == nil {
		wg.Go(func() { errs[0] = o.orgs.Sync() })
		err = o.dir.Sync()
		wg.Wait()
		err = errors.Join(err, errs[0])
	}
	if err != nil {
		return fmt.Errorf("zone %s could not be written: %w", z.name, err)
	}
	return nil
}

// readBack holds what the zone now returns against what was written, and
// opens the root with the key that will have to open it.
func (z *zone) readBack(files []keyfile.File, emk keyfile.Key) error {
	for _, f := range files {
		b, err := z.read(f.ID, f.Hash)
		if err != nil {
			return fmt.Errorf("reading back: %w", err)
		}
		if f.Kind == keyfile.KindRoot {
			plain, err := keyfile.Open(f.ID, emk, b)
			if err == nil {
				_, err = keyfile.ParseRoot(plain)
				clear(plain)
			}
			if err != nil {
				return fmt.Errorf("reading back: zone %s: %s: %w", z.name, f.Name(), err)
			}
		}
	}
	return nil
}

// replace puts a copy of a file where it is missing or damaged. What was
// there is set aside.
func (z *zone) replace(f keyfile.ID, data []byte) error {
	o, err := z.held()
	if err != nil {
		return err
	}
	d := o.at(f)
	if _, err := d.Read(f.Name()); !errors.Is(err, fs.ErrNotExist) {
		if err := d.SetAside(f.Name()); err != nil {
			return fmt.Errorf("zone %s: %w", z.name, err)
		}
	}
	if err := d.Create(f.Name(), data); err != nil {
		return fmt.Errorf("zone %s could not be written: %w", z.name, err)
	}
	return nil
}

func newStoreID() (s [16]byte) { _, _ = rand.Read(s[:]); return s }
