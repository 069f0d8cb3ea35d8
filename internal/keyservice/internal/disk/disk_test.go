package disk

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func dir(t *testing.T, gate Gate) *Dir {
	t.Helper()
	d, err := Open(filepath.Join(t.TempDir(), "d"), gate)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var errStop = errors.New("stop")

func TestAFileIsWholeOrAbsentWhereverItsWriterDies(t *testing.T) {
	t.Parallel()
	before, after := bytes.Repeat([]byte("old"), 1000), bytes.Repeat([]byte("newer"), 1000)
	for name, write := range map[string]func(*Dir) error{
		"create":  func(d *Dir) error { return d.Create("new", after) },
		"replace": func(d *Dir) error { return d.Replace("old", after) },
	} {
		for at := 1; ; at++ {
			n := 0
			path := filepath.Join(t.TempDir(), "d")
			d, err := Open(path, nil)
			if err != nil || d.Replace("old", before) != nil {
				t.Fatal(err)
			}
			d.gate = func(string, string) error {
				if n++; n >= at {
					return errStop
				}
				return nil
			}
			err = write(d)
			if err != nil && !errors.Is(err, errStop) {
				t.Fatal(err)
			}
			d.gate = nil
			for _, f := range []string{"old", "new"} {
				b, readErr := d.Read(f)
				switch {
				case errors.Is(readErr, fs.ErrNotExist) && f == "new" && (err != nil || name == "replace"):
				case readErr != nil:
					t.Errorf("%s, killed before step %d: %v", name, at, readErr)
				case !bytes.Equal(b, before) && !bytes.Equal(b, after):
					t.Errorf("%s, killed before step %d: %s is neither the old nor the new", name, at, f)
				}
			}
			if sweepErr := d.Sweep(); sweepErr != nil {
				t.Error(sweepErr)
			}
			if left, _ := filepath.Glob(filepath.Join(path, temporary+"*")); len(left) != 0 {
				t.Errorf("%s, killed before step %d: leftovers stay", name, at)
			}
			if err == nil {
				if at < 5 {
					t.Errorf("%s: only %d steps pass the gate", name, at)
				}
				break
			}
		}
	}
}

func TestAnExistingFileIsNotReplacedByCreate(t *testing.T) {
	t.Parallel()
	d := dir(t, nil)
	if err := d.Create("x", []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := d.Create("x", []byte("two")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if b, err := d.Read("x"); err != nil || string(b) != "one" {
		t.Errorf("it holds %q, %v", b, err)
	}
	if names, err := d.List(); err != nil || len(names) != 1 {
		t.Errorf("the directory lists %v, %v", names, err)
	}
}

func TestAShreddedFileIsOverwrittenBeforeItGoes(t *testing.T) {
	t.Parallel()
	d := dir(t, nil)
	if err := d.Create("key", []byte("secret")); err != nil {
		t.Fatal(err)
	}
	// A second name for the same bytes shows what became of them.
	other := filepath.Join(t.TempDir(), "other")
	if err := os.Link(filepath.Join(d.Path(), "key"), other); err != nil {
		t.Fatal(err)
	}
	if err := d.Shred("key"); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(other); err != nil || !bytes.Equal(b, make([]byte, 6)) {
		t.Errorf("the bytes are %q, %v", b, err)
	}
	if _, err := d.Read("key"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the name is still there: %v", err)
	}
	if err := d.Shred("key"); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestADirectoryThatOthersCanReadOrASymlinkIsRefused(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	for _, mode := range []fs.FileMode{0o750, 0o701, 0o755} {
		p := filepath.Join(base, mode.String())
		if err := os.Mkdir(p, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(p, nil); err == nil {
			t.Errorf("mode %o was accepted", mode)
		}
	}
	d := dir(t, nil)
	if err := os.Symlink(d.Path(), filepath.Join(base, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(base, "link"), nil); err == nil {
		t.Error("a symbolic link was followed")
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(d.Path(), "file")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read("file"); err == nil {
		t.Error("a symbolic link was read through")
	}
	if _, err := Open(filepath.Join(base, "missing", "d"), nil); err == nil {
		t.Error("a missing parent was made")
	}
}

func TestALockEndsWithItsHolder(t *testing.T) {
	t.Parallel()
	d := dir(t, nil)
	release, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lock(); !errors.Is(err, ErrLocked) {
		t.Errorf("a second lock: %v", err)
	}
	release()
	again, err := d.Lock()
	if err != nil {
		t.Fatal(err)
	}
	again()
}
