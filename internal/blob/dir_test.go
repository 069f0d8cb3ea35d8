package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
)

var _ Store = (*Dir)(nil)

func newDir(t testing.TB) (*Dir, string) {
	t.Helper()
	path := t.TempDir()
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d, path
}

func newObject() Key { return Key{id.NewOrg(), id.NewFile(), 1} }

func put(t testing.TB, d Store, k Key, b []byte) {
	t.Helper()
	w, err := d.Create(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, d Store, k Key) []byte {
	t.Helper()
	o, err := d.Open(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	b, err := io.ReadAll(io.NewSectionReader(o, 0, o.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func list(t testing.TB, d Store, org id.Org) (names []string, errs []error) {
	t.Helper()
	for info, err := range d.List(t.Context(), org) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		names = append(names, fmt.Sprintf("%s %d", info.Key, info.Size))
	}
	sort.Strings(names)
	return
}

// tree returns every path below dir, so that a test can say "and nothing else".
func tree(t testing.TB, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, p); err == nil && rel != "." {
			all = append(all, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return
}

func TestAnObjectIsInvisibleUntilItIsCommitted(t *testing.T) {
	t.Parallel()
	d, path := newDir(t)
	k := newObject()
	w, err := d.Create(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("half of ")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Open(t.Context(), k); !errors.Is(err, ErrNotExist) {
		t.Errorf("a half-written object opened: %v", err)
	}
	if names, errs := list(t, d, k.Org); len(names)+len(errs) != 0 {
		t.Errorf("a half-written object is listed: %v %v", names, errs)
	}
	if _, err := w.Write([]byte("it")); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := get(t, d, k); string(got) != "half of it" {
		t.Errorf("read %q", got)
	}
	if names, _ := list(t, d, k.Org); len(names) != 1 || names[0] != k.String()+" 10" {
		t.Errorf("listed %v", names)
	}
	if err := w.Abort(); err != nil {
		t.Errorf("abort after commit: %v", err)
	}
	if got := tree(t, filepath.Join(path, incomingDir)); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
	if st, err := os.Stat(filepath.Join(path, k.String())); err != nil || st.Mode().Perm() != 0o400 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

func TestAnAbortedObjectLeavesNothing(t *testing.T) {
	t.Parallel()
	d, path := newDir(t)
	w, err := d.Create(t.Context(), newObject())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err == nil {
		t.Error("committed after abort")
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("wrote after abort")
	}
	if got := tree(t, path); len(got) != 2 {
		t.Errorf("left behind: %v", got)
	}
}

func TestAnObjectIsNeverOverwritten(t *testing.T) {
	t.Parallel()
	d, _ := newDir(t)
	k := newObject()
	late, err := d.Create(t.Context(), k) // begun before, committed after
	if err != nil {
		t.Fatal(err)
	}
	put(t, d, k, []byte("first"))
	if _, err := d.Create(t.Context(), k); !errors.Is(err, ErrExist) {
		t.Errorf("Create over an object: %v", err)
	}
	if _, err := late.Write([]byte("second")); err != nil {
		t.Fatal(err)
	}
	if err := late.Commit(); !errors.Is(err, ErrExist) {
		t.Errorf("Commit over an object: %v", err)
	}
	if got := get(t, d, k); string(got) != "first" {
		t.Errorf("read %q", got)
	}
}

func TestOfManyWritersOfOneObjectOneWins(t *testing.T) {
	t.Parallel()
	d, path := newDir(t)
	k := newObject()
	var wg sync.WaitGroup
	var mu sync.Mutex
	won, winner := 0, ""
	var writers []Writer
	for range 8 {
		w, err := d.Create(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		writers = append(writers, w)
	}
	for i, w := range writers {
		wg.Go(func() {
			text := fmt.Sprint("writer ", i)
			_, err := w.Write([]byte(text))
			if err == nil {
				err = w.Commit()
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won, winner = won+1, text
			case !errors.Is(err, ErrExist):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won != 1 || string(get(t, d, k)) != winner {
		t.Errorf("%d won; %q reads %q", won, winner, get(t, d, k))
	}
	if got := tree(t, filepath.Join(path, incomingDir)); len(got) != 0 {
		t.Errorf("left behind: %v", got)
	}
}

func TestDeletedMeansGoneAndMayBeRepeated(t *testing.T) {
	t.Parallel()
	d, path := newDir(t)
	k := newObject()
	second := k
	second.Version = 2
	put(t, d, k, []byte("one"))
	put(t, d, second, []byte("two"))
	o, err := d.Open(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	for range 2 {
		if err := d.Delete(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Open(t.Context(), k); !errors.Is(err, ErrNotExist) {
		t.Errorf("opened after delete: %v", err)
	}
	if got := get(t, d, second); string(got) != "two" {
		t.Errorf("the other version reads %q", got)
	}
	if b := make([]byte, 3); true {
		if _, err := o.ReadAt(b, 0); err != nil || string(b) != "one" {
			t.Errorf("a download under way broke: %q, %v", b, err)
		}
	}
	if err := d.Delete(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(path, "orgs", k.Org.String(), k.File.String())); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file's directory is still there: %v", err)
	}
	if err := d.Delete(t.Context(), newObject()); err != nil {
		t.Errorf("an unknown object: %v", err)
	}
	if err := d.Delete(t.Context(), Key{}); err != nil {
		t.Errorf("the zero key: %v", err)
	}
}

func TestWritersAndDeletersOfOneFileDoNotDisturbEachOther(t *testing.T) {
	t.Parallel()
	d, _ := newDir(t)
	org, file := id.NewOrg(), id.NewFile()
	var wg sync.WaitGroup
	for worker := range uint64(4) {
		wg.Go(func() {
			for i := range uint64(10) {
				k := Key{org, file, worker*10 + i + 1}
				w, err := d.Create(t.Context(), k)
				if err == nil {
					err = w.Commit()
				}
				if err == nil {
					err = d.Delete(t.Context(), k)
				}
				if err != nil {
					t.Errorf("%v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if names, errs := list(t, d, org); len(names)+len(errs) != 0 {
		t.Errorf("left: %v %v", names, errs)
	}
}

func TestAListHoldsOneOrganizationOnly(t *testing.T) {
	t.Parallel()
	d, path := newDir(t)
	mine, theirs := newObject(), newObject()
	put(t, d, mine, []byte("mine"))
	put(t, d, theirs, []byte("theirs"))
	names, errs := list(t, d, mine.Org)
	if len(errs) != 0 || len(names) != 1 || !strings.HasPrefix(names[0], "orgs/"+mine.Org.String()+"/") {
		t.Errorf("listed %v %v", names, errs)
	}
	if names, errs := list(t, d, id.NewOrg()); len(names)+len(errs) != 0 {
		t.Errorf("an organization without objects: %v %v", names, errs)
	}
	if names, errs := list(t, d, id.Org{}); len(names)+len(errs) != 0 {
		t.Errorf("no organization: %v %v", names, errs)
	}

	// What the store did not put there is told, and does not hide the rest.
	folder := filepath.Join(path, "orgs", mine.Org.String())
	for _, err := range []error{
		os.WriteFile(filepath.Join(folder, "notes.txt"), nil, 0o600),
		os.WriteFile(filepath.Join(folder, mine.File.String(), "01"), nil, 0o600),
		os.WriteFile(filepath.Join(folder, mine.File.String(), "0"), nil, 0o600),
		os.Symlink("1", filepath.Join(folder, mine.File.String(), "2")),
		os.Symlink(mine.File.String(), filepath.Join(folder, id.NewFile().String())),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	names, errs = list(t, d, mine.Org)
	if len(names) != 1 || len(errs) != 5 {
		t.Errorf("listed %v, %v", names, errs)
	}
	for _, err := range errs {
		if !errors.Is(err, ErrForeign) {
			t.Errorf("got %v", err)
		}
	}
	for _, err := range d.List(t.Context(), mine.Org) {
		_ = err
		break // a caller may stop anywhere
	}
}

func TestPlantedLinksAreRefusedEverywhere(t *testing.T) {
	t.Parallel()
	d, path := newDir(t)
	victim := newObject()
	put(t, d, victim, []byte("of another organization"))
	orgs := filepath.Join(path, "orgs")

	plant := func(target, link string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(link), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	asOrg := Key{id.NewOrg(), victim.File, 1}
	plant(victim.Org.String(), filepath.Join(orgs, asOrg.Org.String()))
	asFile := Key{id.NewOrg(), id.NewFile(), 1}
	plant(filepath.Join("..", victim.Org.String(), victim.File.String()), filepath.Join(orgs, asFile.Org.String(), asFile.File.String()))
	asVersion := Key{id.NewOrg(), id.NewFile(), 1}
	plant(filepath.Join("..", "..", victim.Org.String(), victim.File.String(), "1"), filepath.Join(orgs, asVersion.Org.String(), asVersion.File.String(), "1"))
	outside := Key{id.NewOrg(), id.NewFile(), 1}
	plant("/etc/hostname", filepath.Join(orgs, outside.Org.String(), outside.File.String(), "1"))

	for name, k := range map[string]Key{"an organization": asOrg, "a file": asFile, "a version": asVersion, "a way out": outside} {
		if _, err := d.Open(t.Context(), k); !errors.Is(err, ErrForeign) {
			t.Errorf("a link in place of %s was opened: %v", name, err)
		}
		next := k
		next.Version = 7
		w, err := d.Create(t.Context(), next)
		if err == nil {
			err = w.Commit()
		}
		if (name == "an organization" || name == "a file") && !errors.Is(err, ErrForeign) {
			t.Errorf("a link in place of %s was written through: %v", name, err)
		}
		if err := d.Delete(t.Context(), k); err != nil && !errors.Is(err, ErrForeign) {
			t.Errorf("delete through %s: %v", name, err)
		}
	}
	if got := get(t, d, victim); string(got) != "of another organization" {
		t.Errorf("the victim reads %q", got)
	}
	if got := tree(t, filepath.Join(orgs, victim.Org.String())); len(got) != 2 {
		t.Errorf("something was written into the victim: %v", got)
	}
}

func TestADeviceOrPipeInPlaceOfAnObjectIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	d, path := newDir(t)
	pipe, folder := newObject(), newObject()
	if err := os.MkdirAll(filepath.Join(path, filepath.Dir(pipe.String())), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(path, pipe.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path, folder.String()), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]Key{"a pipe": pipe, "a directory": folder} {
		if _, err := d.Open(t.Context(), k); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpeningTheStoreRemovesWhatDeadWritersLeftAndSparesTheLiving(t *testing.T) {
	t.Parallel()
	d, path := newDir(t)
	living, err := d.Create(t.Context(), newObject())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := living.Write([]byte("still here")); err != nil {
		t.Fatal(err)
	}
	incoming := filepath.Join(path, incomingDir)
	precious := filepath.Join(t.TempDir(), "precious")
	for _, err := range []error{
		os.WriteFile(filepath.Join(incoming, "0123456789abcdef"), []byte("of a writer that died"), 0o600),
		os.WriteFile(precious, []byte("elsewhere"), 0o600),
		os.Symlink(precious, filepath.Join(incoming, "planted")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	second, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if got := tree(t, incoming); len(got) != 1 {
		t.Errorf("after the sweep: %v", got)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Errorf("the sweep followed a link: %v", err)
	}
	if err := living.Commit(); err != nil {
		t.Errorf("the living writer: %v", err)
	}
	if got := get(t, second, living.(*dirWriter).k); string(got) != "still here" {
		t.Errorf("read %q", got)
	}
}

// A writer in a process of its own is killed in the middle of an object.
func TestAKilledWriterLeavesNoObject(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	k := newObject()
	cmd := exec.Command(os.Args[0], "-test.run=^TestMain$")
	cmd.Env = append(os.Environ(), "BLOB_CHILD=hang", "BLOB_DIR="+path, "BLOB_ORG="+k.Org.String(), "BLOB_FILE="+k.File.String())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 7)); err != nil { // "written"
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if got := tree(t, filepath.Join(path, incomingDir)); len(got) != 1 {
		t.Fatalf("the test killed nothing: %v", got)
	}
	d, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Open(t.Context(), k); !errors.Is(err, ErrNotExist) {
		t.Errorf("the object: %v", err)
	}
	if got := tree(t, path); len(got) != 2 {
		t.Errorf("left behind: %v", got)
	}
	put(t, d, k, []byte("again"))
}

func TestAFullVolumeIsToldClearlyAndNothingIsLeft(t *testing.T) {
	t.Parallel()
	d, path := newDir(t)
	k := newObject()
	w, err := d.Create(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	// /dev/full answers ENOSPC to every write, as a full volume does.
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	dw := w.(*dirWriter)
	dw.f.Close()
	dw.f = full
	s, err := SealWriter(w, newKey())
	if err == nil {
		_, err = s.Write(make([]byte, 1<<20))
	}
	if !fault.Is(err, fault.Unavailable) || !strings.Contains(fault.From(err).Public, "no space") {
		t.Errorf("got %v", err)
	}
	if err := w.Commit(); !fault.Is(err, fault.Unavailable) {
		t.Errorf("commit of a cut object: %v", err)
	}
	if got := tree(t, path); len(got) != 2 {
		t.Errorf("left behind: %v", got)
	}
}

func TestAnObjectOverTheVolumesLimitLeavesNothing(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	k := newObject()
	cmd := exec.Command(os.Args[0], "-test.run=^TestMain$")
	cmd.Env = append(os.Environ(), "BLOB_CHILD=limit", "BLOB_DIR="+path, "BLOB_ORG="+k.Org.String(), "BLOB_FILE="+k.File.String())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !bytes.HasPrefix(out, []byte("too_large")) {
		t.Errorf("the child said %q", out)
	}
	if got := tree(t, path); len(got) != 2 {
		t.Errorf("left behind: %v", got)
	}
}

// TestMain runs the tests, or, as a child of one of them, a writer.
func TestMain(m *testing.M) {
	if mode := os.Getenv("BLOB_CHILD"); mode != "" {
		child(mode)
		return
	}
	os.Exit(m.Run())
}

func child(mode string) {
	org, _ := id.ParseOrg(os.Getenv("BLOB_ORG"))
	file, _ := id.ParseFile(os.Getenv("BLOB_FILE"))
	d, err := OpenDir(os.Getenv("BLOB_DIR"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	w, err := d.Create(context.Background(), Key{org, file, 1})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	switch mode {
	case "hang":
		_, _ = w.Write(make([]byte, 1<<20))
		fmt.Print("written")
		_, _ = io.Copy(io.Discard, os.Stdin)
		select {}
	case "limit":
		limitFileSize(1 << 20)
		_, err := w.Write(make([]byte, 2<<20))
		fmt.Print(fault.From(err).Kind)
		if err := w.Abort(); err != nil {
			fmt.Print(err)
		}
	}
}

func TestACanceledUploadStops(t *testing.T) {
	t.Parallel()
	d, path := newDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	w, err := d.Create(ctx, newObject())
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := w.Write([]byte("late")); !errors.Is(err, context.Canceled) {
		t.Errorf("write: %v", err)
	}
	if err := w.Commit(); !errors.Is(err, context.Canceled) {
		t.Errorf("commit: %v", err)
	}
	if got := tree(t, path); len(got) != 2 {
		t.Errorf("left behind: %v", got)
	}
	if _, err := d.Create(ctx, newObject()); !errors.Is(err, context.Canceled) {
		t.Errorf("create: %v", err)
	}
}

func TestOnlyWholeKeysNameObjects(t *testing.T) {
	t.Parallel()
	d, _ := newDir(t)
	whole := newObject()
	for name, k := range map[string]Key{
		"no organization": {File: whole.File, Version: 1},
		"no file":         {Org: whole.Org, Version: 1},
		"no version":      {Org: whole.Org, File: whole.File},
	} {
		if _, err := d.Create(t.Context(), k); err == nil {
			t.Errorf("%s: created", name)
		}
		if _, err := d.Open(t.Context(), k); !errors.Is(err, ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if want := "orgs/" + whole.Org.String() + "/" + whole.File.String() + "/1"; whole.String() != want {
		t.Errorf("the name is %s", whole)
	}
}

func TestAMissingDirectoryRefusesToOpen(t *testing.T) {
	t.Parallel()
	if _, err := OpenDir(filepath.Join(t.TempDir(), "nowhere")); err == nil {
		t.Error("opened")
	}
	path := t.TempDir()
	if err := os.Symlink(t.TempDir(), filepath.Join(path, "orgs")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDir(path); !errors.Is(err, ErrForeign) {
		t.Errorf("a link in place of orgs/: %v", err)
	}
}

// The whole way of a file, and what the disk sees of it.
func TestTheStoreNeverHoldsPlaintext(t *testing.T) {
	t.Parallel()
	d, path := newDir(t)
	k, key := newObject(), newKey()
	canary := random(64)
	w, err := d.Create(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	s, err := SealWriter(w, key)
	if err != nil {
		t.Fatal(err)
	}
	look := func(when string) {
		for _, name := range tree(t, path) {
			if b, err := os.ReadFile(filepath.Join(path, name)); err == nil && bytes.Contains(b, canary[:16]) {
				t.Errorf("%s: plaintext in %s", when, name)
			}
		}
	}
	for range 5 {
		if _, err := s.Write(bytes.Repeat(canary, 1000)); err != nil {
			t.Fatal(err)
		}
		look("while writing")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	look("after commit")
	o, err := d.Open(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	r, err := OpenReaderAt(key, o, o.Size())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r.Range(0, r.Size())); err != nil || !bytes.Equal(got, bytes.Repeat(canary, 5000)) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
}
