package uptest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"strongroom/client"
)

// before is the newest version that this one is an upgrade of: the last one
// without kits, console and set-up. Its data must be taken over as it is.
const before = "5005551562840260b17d98d5e574d467ab690fe9"

// oldBinary builds that version from the history.
func oldBinary(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/var/tmp", "strongroom-old")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		t.Fatalf("the version before is built from git's history, and there is none here: %v", err)
	}
	archive := exec.Command("sh", "-c", "git -C \"$1\" archive \"$2\" | tar -x -C \"$3\"", "sh", strings.TrimSpace(string(root)), before, dir)
	if out, err := archive.CombinedOutput(); err != nil {
		t.Fatalf("git's history lacks %s (a shallow clone?): %v %s", before, err, out)
	}
	path := filepath.Join(dir, "strongroom-old")
	build := exec.Command("go", "build", "-o", path, "./cmd/strongroom")
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// everything reads all that an account can read, and returns a mark of each
// thing: its version and the hash of its bytes.
func everything(t *testing.T, c *client.Client, org string) map[string]string {
	t.Helper()
	ctx := t.Context()
	out := map[string]string{}
	sum := func(b []byte) string { h := sha256.Sum256(b); return hex.EncodeToString(h[:8]) }
	for kind, err := range c.Collections(ctx, org) {
		if err != nil {
			t.Fatal(err)
		}
		out["collection "+kind.Kind] = kind.ID + " " + kind.Title
		for r, err := range c.Records(ctx, org, kind.Kind) {
			if err != nil {
				t.Fatal(err)
			}
			out[r.ID] = fmt.Sprint(r.Version, " ", sum(r.Content), " ", r.Owner, " ", r.Visibility, " ", r.CreatedAt.UnixMicro())
			for change, err := range c.History(ctx, org, kind.Kind, r.ID) {
				if err != nil {
					t.Fatal(err)
				}
				out[fmt.Sprint(r.ID, " version ", change.Version)] = sum(change.Content) + " " + change.By
			}
		}
	}
	for l := (client.List{Limit: 200}); ; {
		page, err := c.ListFiles(ctx, org, l)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range page.Items {
			out[f.ID] = fmt.Sprint(f.Version, " ", f.Name, " ", f.MediaType, " ", f.Size, " ", download(t, c, org, f.ID))
		}
		if l.Cursor = page.Next; l.Cursor == "" {
			return out
		}
	}
}

func download(t *testing.T, c *client.Client, org, file string) string {
	t.Helper()
	content, err := c.DownloadFile(t.Context(), org, file, 0, client.Range{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = content.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, content); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// TestAnInstallationOfTheVersionBeforeIsTakenOverWhole starts the version
// before with its demo, kills it in the middle of its life, starts this one on
// the same directory, and compares everything that can be read.
func TestAnInstallationOfTheVersionBeforeIsTakenOverWhole(t *testing.T) {
	if os.Getenv("STRONGROOM_LONG") == "" {
		t.Log("the version before is built and run with STRONGROOM_LONG=1; each run holds its migrations to what was released")
		return
	}
	old := oldBinary(t)
	dir, listen := folder(t), freePort(t)
	i := upBinary(t, old, dir, listen, "--demo")
	type account struct {
		email    string
		password client.Secret
	}
	accounts := map[string]account{}
	want := map[string]map[string]string{}
	sheet, err := os.ReadFile(filepath.Join(dir, "demo-accounts.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(sheet)) {
		words := strings.Fields(line)
		if len(words) < 2 || strings.Count(words[1], "-") != 3 {
			continue
		}
		_, domain, found := strings.Cut(words[0], "@")
		if _, known := accounts[domain]; known || !found {
			continue
		}
		a := account{words[0], client.NewSecret(words[1])}
		if in, err := i.anonymous(t).SignIn(t.Context(), a.email, a.password); err != nil || len(in.Organizations) == 0 {
			if err != nil {
				t.Errorf("%s: %v", a.email, err)
			}
			continue // who runs the installation belongs to no organization
		}
		c, org := i.client(t, a.email, a.password)
		accounts[domain] = a
		if want[domain] = everything(t, c, org); len(want[domain]) < 5 {
			t.Errorf("%s: the version before shows %d things: the test looks in the wrong place", domain, len(want[domain]))
		}
	}
	if len(accounts) < 2 {
		t.Fatalf("%d accounts of the demo are known", len(accounts))
	}
	// Not in order: an upgrade may follow a crash.
	_ = i.cmd.Process.Signal(syscall.SIGKILL)
	<-i.ended

	j := up(t, dir, listen, "--demo")
	for domain, a := range accounts {
		c, org := j.client(t, a.email, a.password)
		got := everything(t, c, org)
		for what, mark := range want[domain] {
			if got[what] != mark {
				t.Errorf("%s: %s was %q and is %q", domain, what, mark, got[what])
			}
		}
		if !maps.Equal(got, want[domain]) {
			t.Errorf("%s: %d things were there, %d are", domain, len(want[domain]), len(got))
		}
	}
	out, errs, code := run(t, "prove", "--data", dir, "ENC-1", "ISO-2", "AUD-1", "ENC-2")
	if code != 0 {
		t.Errorf("the promises on it: %d\n%s%s", code, out, errs)
	}
	if out, _, code := run(t, "doctor", "--data", dir); code != 0 {
		t.Errorf("doctor:\n%s", out)
	}
	j.stop(t)
	// There is no way back: the version before refuses what this one wrote, and
	// leaves it as it is.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	back := exec.CommandContext(ctx, old, "up", "--data", dir, "--listen", listen)
	text, err := back.CombinedOutput()
	if err == nil || !strings.Contains(string(text), "newer") {
		t.Errorf("the version before started on it: %v\n%s", err, text)
	}
	k := up(t, dir, listen, "--demo")
	for _, a := range accounts {
		k.client(t, a.email, a.password)
	}
}
