package sweep_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"strongroom/client"
	"strongroom/cmd/strongroom/clitest"
)

// developerData is real data of many kinds and formats beside the module.
const developerData = "../../../../shared/data"

// user is somebody at a machine who is signed in.
type user struct {
	*clitest.CLI
	email, password string
}

// person signs somebody in by the command line, as she would herself.
func (i *installation) person(t testing.TB, email, password string) user {
	t.Helper()
	u := user{clitest.New(t, program(t)), email, password}
	u.MustIn(password+"\n", "login", i.url, "--data", i.layout.Path(), "--email", email, "--password-stdin")
	return u
}

// found makes an organization by the command line. Its owner holds all the
// roles.
func found(t testing.TB, i *installation, admin user, name, placement string) user {
	t.Helper()
	email, password := strings.ToLower(strings.ReplaceAll(name, " ", "-"))+"@"+placement+".example", "the passphrase of "+name
	admin.Write("password", []byte(password+"\n"))
	admin.Must("orgs", "create", name, "--placement", placement, "--owner-email", email, "--owner-name", "Owner of "+name, "--owner-password-file", "password")
	u := i.person(t, email, password)
	me := u.Must("members", "list", "--output", "json").Items()[0]["id"].(string)
	u.Must("members", "update", me, "--role", "scientist", "--role", "analyst", "--role", "org_admin", "--role", "security_admin")
	return i.person(t, email, password)
}

func TestAllDeveloperDataComesBackThroughTheCommandLine(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(developerData); err != nil {
		t.Skip("the folder shared/data beside the module's own is not here: there is no developer data to store")
	}
	source, err := filepath.Abs(developerData)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{} // by path
	err = filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 50 {
		t.Fatalf("%s holds %d files only", source, len(files))
	}
	i := install(t, "")
	founder(t, i, "admin@installation.example", "Administrator", "the passphrase of the administrator")
	for _, placement := range []string{"schema", "pooled"} {
		t.Run(placement, func(t *testing.T) {
			t.Parallel()
			admin := i.person(t, "admin@installation.example", "the passphrase of the administrator")
			storeAll(t, found(t, i, admin, "Lab", placement), found(t, i, admin, "Other lab", placement), source, files)
		})
	}
}

// storeAll stores the files of a folder, gets each one back, and takes all of
// it away.
func storeAll(t *testing.T, owner, stranger user, source string, files map[string][]byte) {
	// Stored, in the order of their paths, and listed.
	stored := owner.Must("put", "-r", source, "--output", "json").Items()
	paths := make([]string, 0, len(files))
	_ = filepath.WalkDir(source, func(path string, d fs.DirEntry, _ error) error {
		if d.Type().IsRegular() {
			paths = append(paths, path)
		}
		return nil
	})
	if len(stored) != len(files) {
		t.Errorf("%d of %d files were stored", len(stored), len(files))
		return
	}
	var ids, listed []string
	for n, f := range stored {
		content := files[paths[n]]
		if f["name"] != filepath.Base(paths[n]) || int(f["size"].(float64)) != len(content) {
			t.Errorf("%s was stored as %v with %v bytes", paths[n], f["name"], f["size"])
		}
		ids = append(ids, f["id"].(string))
	}
	for _, f := range owner.Must("ls", "--files", "--all", "--output", "json").Items() {
		listed = append(listed, f["id"].(string))
	}
	if slices.Sort(listed); !slices.Equal(listed, slices.Sorted(slices.Values(ids))) {
		t.Errorf("%d files were stored and %d others are listed", len(ids), len(listed))
	}

	// Back, byte for byte.
	ranges := 0
	for n, id := range ids {
		content := files[paths[n]]
		owner.Must("get", id, "-o", "back-"+id)
		if got := owner.Read("back-" + id); sha256.Sum256(got) != sha256.Sum256(content) {
			t.Errorf("%s came back as %d bytes of another hash", paths[n], len(got))
		}
		if err := os.Remove(filepath.Join(owner.Dir, "back-"+id)); err != nil {
			t.Error(err)
		}
		if len(content) > 70_000 && (long || ranges < 3) { // across the packages in which files are sealed
			ranges++
			if got := owner.Must("get", id, "--range", "65530-65545").Stdout; got != string(content[65530:65546]) {
				t.Errorf("a range of %s came back changed", paths[n])
			}
		}
	}

	// JSON, as records.
	owner.Must("collections", "create", "document")
	for path, content := range files {
		if filepath.Ext(path) != ".json" || !bytes.HasPrefix(bytes.TrimSpace(content), []byte("{")) {
			continue
		}
		r := owner.Run("put", "--kind", "document", path, "--output", "json")
		if r.Code != clitest.OK {
			t.Errorf("%s as a record: exit %d\n%s", path, r.Code, r.Stderr)
			continue
		}
		var want, got bytes.Buffer
		back := owner.Must("get", "document/"+r.Items()[0]["id"].(string), "--content").Stdout
		if json.Compact(&want, content) != nil || json.Compact(&got, []byte(back)) != nil || !bytes.Equal(want.Bytes(), got.Bytes()) {
			t.Errorf("%s came back changed from a record", path)
		}
	}

	// To nobody else.
	org := owner.Must("orgs", "list", "--output", "json").Items()[0]["id"].(string)
	refused := func(way ...string) {
		t.Helper()
		if r := stranger.Run(way...); r.Code != clitest.NotFound {
			t.Errorf("a stranger's strongroom %s ends with %d, want %d\n%s", strings.Join(way, " "), r.Code, clitest.NotFound, r.Stderr)
		}
	}
	for n, id := range ids {
		if !long && n%5 != 0 {
			continue // each is a process of its own
		}
		refused("get", id, "-o", "stolen")
		refused("rm", id)
	}
	// Whose organization it is, is asked before what is in it.
	refused("get", ids[0], "-o", "stolen", "--org", org)
	refused("ls", "--files", "--org", org)
	refused("export", "--all", "-o", "stolen.zip", "--org", org)
	refused("put", paths[0], "--org", org)
	if left, _ := filepath.Glob(filepath.Join(stranger.Dir, "*stolen*")); len(left) > 0 {
		t.Errorf("a stranger got %v", left)
	}
	if got := stranger.Must("ls", "--files", "--all").Stdout; strings.Contains(got, "fil_") {
		t.Errorf("a stranger sees files:\n%s", got)
	}

	// And out of the house, all of it.
	owner.Must("export", "--all", "-o", "all.zip")
	inside := zipped(t, filepath.Join(owner.Dir, "all.zip"))
	for path, content := range files {
		if inside[sha256.Sum256(content)] == 0 {
			t.Errorf("%s is not in the export", path)
		}
	}
	stranger.Must("export", "--all", "-o", "none.zip")
	for hash := range zipped(t, filepath.Join(stranger.Dir, "none.zip")) {
		for path, content := range files {
			if len(content) > 0 && sha256.Sum256(content) == hash {
				t.Errorf("a stranger's export holds %s", path)
			}
		}
	}
}

// zipped verifies an export and returns how often each content is in it.
func zipped(t testing.TB, path string) map[[32]byte]int {
	f, err := os.Open(path)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err == nil {
		_, err = client.VerifyExport(t.Context(), f, info.Size(), nil)
	}
	if err != nil {
		t.Errorf("the export is not what its manifest says: %v", err)
		return nil
	}
	z, err := zip.NewReader(f, info.Size())
	if err != nil {
		t.Error(err)
		return nil
	}
	out := map[[32]byte]int{}
	for _, entry := range z.File {
		r, err := entry.Open()
		if err != nil {
			t.Error(err)
			continue
		}
		b, err := io.ReadAll(r)
		_ = r.Close()
		if err != nil {
			t.Error(err)
		}
		out[sha256.Sum256(b)]++
	}
	return out
}
