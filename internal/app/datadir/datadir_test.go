package datadir

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestMain lets the test binary play another Strongroom that holds a directory.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SR_DATADIR_HOLD"); dir != "" {
		if _, err := Open(dir, Users{}); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		fmt.Println("held")
		select {}
	}
	os.Exit(m.Run())
}

// place returns a folder that other users can enter: t.TempDir is closed to
// them.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sr-dir-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

func users(t *testing.T) Users {
	t.Helper()
	u, err := EnsureUsers()
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// listing describes everything under a folder.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		fmt.Fprintln(&b, p, info.Mode(), info.ModTime(), info.Size())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestADirectoryIsMadeAndOpensAgain(t *testing.T) {
	t.Parallel()
	u := users(t)
	root := filepath.Join(place(t), "deep", "data")
	for range 2 {
		d, err := Open(root, u)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range d.folders(u) {
			info, err := os.Stat(f.path)
			if err != nil {
				t.Fatal(err)
			}
			stat := info.Sys().(*syscall.Stat_t)
			if f.owner != nil && stat.Uid != f.owner.UID {
				t.Errorf("%s belongs to %d, want %s", f.path, stat.Uid, f.owner.Name)
			}
			if os.Geteuid() == 0 && uint32(info.Mode().Perm()) != f.mode {
				t.Errorf("%s has mode %v, want %o", f.path, info.Mode(), f.mode)
			}
			if os.Geteuid() != 0 && info.Mode().Perm() != 0o700 {
				t.Errorf("%s has mode %v", f.path, info.Mode())
			}
		}
		for _, name := range []string{"VERSION", "lock", "objects", "keys/zone-a", "keys/zone-b", "guardians/a", "guardians/b", "signer",
			"backup/zone-a", "backup/zone-b", "tls", "run", "outbox"} {
			if _, err := os.Stat(filepath.Join(root, name)); err != nil {
				t.Error(err)
			}
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNoServiceReadsTheStoreOfAnother(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("not root: every service runs as the caller")
		return
	}
	u := users(t)
	d, err := Open(filepath.Join(place(t), "data"), u)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	may := map[string][]string{
		d.KeyZone("a"): {u.Keys.Name}, d.KeyZone("b"): {u.Keys.Name},
		d.Guardian("a"): {u.GuardianA.Name}, d.Guardian("b"): {u.GuardianB.Name},
		d.Signer(): {u.Signer.Name}, d.Objects(): {u.Server.Name}, d.Outbox(): {u.Server.Name},
		d.Backup("a"): {u.Postgres.Name}, d.Backup("b"): {u.Postgres.Name},
		d.Run(RunKeys):      {u.Keys.Name, u.Server.Name},
		d.Run(RunGuardianA): {u.GuardianA.Name, u.Keys.Name}, d.Run(RunGuardianB): {u.GuardianB.Name, u.Keys.Name},
		d.Run(RunSigner): {u.Signer.Name, u.Server.Name}, d.Run(RunServer): {u.Server.Name},
	}
	for dir, names := range may {
		for _, user := range u.all() {
			err := user.CheckEnter(dir)
			if allowed := slices.Contains(names, user.Name); allowed != (err == nil) {
				t.Errorf("%s, %s: %v", dir, user.Name, err)
			}
		}
	}
}

func TestADirectoryInUseIsRefusedAndKillingTheHolderFreesIt(t *testing.T) {
	t.Parallel()
	root := filepath.Join(place(t), "data")
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"SR_DATADIR_HOLD=" + root}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatal(line, err)
	}
	if pid, running, err := Running(root); !running || pid != cmd.Process.Pid || err != nil {
		t.Errorf("Running: %d, %v, %v; want %d", pid, running, err, cmd.Process.Pid)
	}
	_, err = Open(root, Users{})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("(process %d)", cmd.Process.Pid)) {
		t.Errorf("got %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed
	if _, running, err := Running(root); running || err != nil {
		t.Errorf("after kill -9: %v, %v", running, err)
	}
	d, err := Open(root, Users{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAFailedOpenLeavesEverythingAsItWas(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files map[string]string
		want  error
	}{
		"a newer version":         {map[string]string{"VERSION": fmt.Sprint(Version + 1), "postgres": "x"}, ErrNewer},
		"a VERSION of other kind": {map[string]string{"VERSION": "three"}, ErrForeign},
		"an empty VERSION":        {map[string]string{"VERSION": ""}, ErrForeign},
		"somebody's files":        {map[string]string{"thesis.tex": "x"}, ErrForeign},
	} {
		root := place(t)
		for file, content := range c.files {
			if err := os.WriteFile(filepath.Join(root, file), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before := listing(t, root)
		_, err := Open(root, Users{})
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), root) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v", name, err)
		}
		if after := listing(t, root); after != before {
			t.Errorf("%s: changed from\n%sto\n%s", name, before, after)
		}
	}
}

func TestAnInterruptedFirstOpenIsNoObstacle(t *testing.T) {
	t.Parallel()
	root := place(t)
	for _, name := range []string{"lock", versionTemp + "123", "strongroom.toml"} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := Open(root, Users{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func TestALongPathStillHasRoomForSockets(t *testing.T) {
	t.Parallel()
	root := filepath.Join(place(t), strings.Repeat("long", 40), "data")
	if err := os.Mkdir(filepath.Dir(root), 0o755); err != nil {
		t.Fatal(err)
	}
	u := users(t)
	var first string
	for round := range 2 {
		d, err := Open(root, u)
		if err != nil {
			t.Fatal(err)
		}
		if socket := filepath.Join(d.Run(RunGuardianA), strings.Repeat("s", MaxSocketName)); len(socket) > maxSocketPath {
			t.Errorf("%d bytes", len(socket))
		}
		if At(root).Run(RunKeys) != d.Run(RunKeys) {
			t.Error("another process does not find the sockets")
		}
		if round == 0 {
			first = filepath.Dir(d.Run(RunKeys))
		} else {
			if _, err := os.Stat(first); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the short folder of the first run is left: %v", err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(d.Run(RunKeys))) })
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFullDiskIsOneSentence(t *testing.T) {
	t.Parallel()
	root := place(t)
	free, err := Free(root)
	if err != nil || free == 0 {
		t.Fatal(free, err)
	}
	for name, err := range map[string]error{
		"too little is free":   checkSpace(root, 1<<62),
		"a write fails":        Explain(&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, root),
		"the quota is used up": Explain(&os.PathError{Op: "write", Path: "x", Err: syscall.EDQUOT}, root),
	} {
		if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), root) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if os.Geteuid() != 0 {
		t.Log("not root: no small disk can be mounted")
		return
	}
	small := place(t)
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=1m"); err != nil {
		t.Logf("no small disk can be mounted here: %v", err)
		return
	}
	defer func() {
		if err := syscall.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	}()
	if _, err := Open(small, Users{}); !errors.Is(err, ErrFull) {
		t.Errorf("on a disk of 1 MB: %v", err)
	}
	if err := checkEmpty(small); err != nil { // what it left is no obstacle once there is room
		t.Error(err)
	}
}

func TestADirectoryOfAnotherUserIsRefused(t *testing.T) {
	t.Parallel()
	u := users(t)
	if u.Server == nil {
		t.Log("not root: no directory of another user can be made")
		return
	}
	root := place(t)
	if err := u.Server.Own(root); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(root, u); !errors.Is(err, ErrOwner) {
		t.Errorf("got %v", err)
	}
}

func TestAClosedAncestorIsNamed(t *testing.T) {
	t.Parallel()
	u := users(t)
	if u.Server == nil {
		t.Log("not root: nothing of the caller's is closed to the services")
		return
	}
	closed := place(t)
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Open(filepath.Join(closed, "data"), u)
	if err == nil || !strings.Contains(err.Error(), "because "+closed+" is closed") {
		t.Errorf("got %v", err)
	}
}
