package clitest_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"strongroom/client"
	"strongroom/cmd/strongroom/clitest"
	"strongroom/internal/testkit"
	"strongroom/internal/testkit/live"
)

var bin string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "strongroom-clitest-")
	if err == nil {
		bin, err = clitest.BuildIn(dir)
	}
	code := 1
	if err == nil {
		code = testkit.Run(m)
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// at signs a person in at a machine of her own.
func at(t *testing.T, s *live.Server, p *live.Person, org *live.Org) *clitest.CLI {
	t.Helper()
	c := clitest.New(t, bin)
	c.Login(s.URL, s.CAFile, p.Email, p.Password.Reveal())
	c.Env["STRONGROOM_ORG"] = org.ID
	return c
}

// TestTheCommandLineOnARealServer follows a newcomer through the product, in
// each placement of an organization's data.
func TestTheCommandLineOnARealServer(t *testing.T) {
	s := live.Start(t)
	for _, placement := range []string{"schema", "pooled"} {
		t.Run(placement, func(t *testing.T) {
			t.Parallel()
			org := s.Org(t, placement)
			ada := at(t, s, org.Owner, org)
			ada.Env["NAME"] = org.Name
			ada.Script("testdata/newcomer.txt")

			other := s.Org(t, placement)
			eve := at(t, s, other.Owner, other)
			file := ada.Must("ls", "--files", "--output", "json").Items()[0]["id"].(string)
			record := ada.Must("ls", "runs", "--output", "json").Items()[0]["id"].(string)
			for _, args := range [][]string{{"get", file}, {"get", "runs/" + record}, {"rm", file}, {"history", file}, {"ls", "runs"},
				{"get", file, "--org", org.ID}, {"get", "runs/" + record, "--org", org.ID}, {"ls", "--org", org.ID}, {"export", "--all", "--org", org.ID}, {"members", "list", "--org", org.ID}} {
				if r := eve.Run(args...); r.Code != clitest.NotFound || r.Stdout != "" {
					t.Errorf("another organization's strongroom %s: exit %d: %s%s", strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
				}
			}
		})
	}
}

// TestRolesAreHeldOnTheCommandLine holds the exit code of what is not allowed.
func TestRolesAreHeldOnTheCommandLine(t *testing.T) {
	s := live.Start(t)
	org := s.Org(t, "schema")
	owner := at(t, s, org.Owner, org)
	owner.Must("collections", "create", "runs")
	record := owner.MustIn(`{"a":1}`, "put", "--kind", "runs", "-", "--output", "json").Items()[0]["id"].(string)
	for _, test := range []struct {
		role  client.Role
		may   []string
		never []string
	}{
		{client.Analyst, []string{"get", "runs/" + record}, []string{"rm", "runs/" + record}},
		{client.Scientist, []string{"history", "runs/" + record}, []string{"export", "--all"}},
		{client.BillingAdmin, []string{"orgs", "show"}, []string{"get", "runs/" + record}},
		{client.SecurityAdmin, []string{"audit", "--limit", "3"}, []string{"get", "runs/" + record}},
	} {
		t.Run(string(test.role), func(t *testing.T) {
			t.Parallel()
			c := at(t, s, org.Member(t, test.role), org)
			c.Must(test.may...)
			if r := c.Run(test.never...); r.Code != clitest.Denied {
				t.Errorf("strongroom %s: exit %d: %s", strings.Join(test.never, " "), r.Code, r.Stderr)
			}
		})
	}
	t.Run("an API key does what its scopes say", func(t *testing.T) {
		t.Parallel()
		owner.Must("apikeys", "create", "reader", "--role", "scientist", "--scope", "record.read", "--key-file", "key")
		robot := clitest.New(t, bin)
		robot.Must("login", s.URL, "--ca", s.CAFile, "--api-key-file", filepath.Join(owner.Dir, "key"))
		robot.Must("whoami")
		robot.Must("get", "runs/"+record)
		if r := robot.Run("ls", "--files"); r.Code != clitest.Denied {
			t.Errorf("beyond its scopes: exit %d: %s", r.Code, r.Stderr)
		}
	})
}

// TestAllOfTheSampleDataComesBack stores every file of the folder ../shared/data,
// where it exists, by the command line in both placements, and compares bytes.
func TestAllOfTheSampleDataComesBack(t *testing.T) {
	root, err := filepath.Abs("../../../../shared/data")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	_ = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			paths = append(paths, p)
		}
		return nil
	})
	if len(paths) == 0 {
		t.Log("there is no sample data beside the module, so this test shows nothing")
		return
	}
	s := live.Start(t)
	for _, placement := range []string{"schema", "pooled"} {
		t.Run(placement, func(t *testing.T) {
			t.Parallel()
			org := s.Org(t, placement)
			c := at(t, s, org.Owner, org)
			// In the order of the folder: results come in the order of the files.
			items := c.Must("put", "-r", root, "--output", "json").Items()
			if len(items) != len(paths) {
				t.Fatalf("%d of %d files were stored", len(items), len(paths))
			}
			exported := map[string]int{}
			for i, item := range items {
				want, err := os.ReadFile(paths[i])
				if err != nil {
					t.Fatal(err)
				}
				if item["name"] != filepath.Base(paths[i]) {
					t.Errorf("%s is named otherwise", paths[i])
				}
				c.Must("get", item["id"].(string), "-o", "back", "--force")
				if !bytes.Equal(c.Read("back"), want) {
					t.Errorf("%s came back with other bytes", paths[i])
				}
				exported[string(want)]++
			}
			c.Must("export", "--all", "-o", "all.zip")
			z, err := zip.OpenReader(filepath.Join(c.Dir, "all.zip"))
			if err != nil {
				t.Fatal(err)
			}
			defer z.Close()
			for _, f := range z.File {
				r, err := f.Open()
				if err != nil {
					t.Fatal(err)
				}
				var b bytes.Buffer
				if _, err := b.ReadFrom(r); err != nil {
					t.Fatal(err)
				}
				if exported[b.String()]--; exported[b.String()] <= 0 {
					delete(exported, b.String())
				}
			}
			if len(exported) > 0 {
				t.Errorf("%d files are not in the export", len(exported))
			}
		})
	}
}

// TestAServersExportIsWhatTheClientVerifies holds the two readers of an
// export's form together: the client stands alone and has one of its own.
func TestAServersExportIsWhatTheClientVerifies(t *testing.T) {
	s := live.Start(t)
	org := s.Org(t, "schema")
	c := org.Owner
	if _, err := c.CreateCollection(t.Context(), org.ID, client.NewCollection{Kind: "runs"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateRecord(t.Context(), org.ID, "runs", client.NewRecord{Content: json.RawMessage(`{"a": "=1+1"}`)}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UploadFile(t.Context(), org.ID, client.Upload{Name: "../x\u202ey.tif", Size: 3, Body: strings.NewReader("abc")}); client.Status(err) != 422 {
		t.Errorf("a name with a slash gave %v", err)
	}
	if _, err := c.UploadFile(t.Context(), org.ID, client.Upload{Name: "x\u202ey.tif", Size: 3, Body: strings.NewReader("abc")}); err != nil {
		t.Fatal(err)
	}
	body, err := c.Export(t.Context(), org.ID, client.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(body); err != nil {
		t.Fatal(err)
	}
	m, err := client.VerifyExport(t.Context(), bytes.NewReader(b.Bytes()), int64(b.Len()), nil)
	if err != nil || m.Totals.Records < 1 || m.Totals.Files < 1 {
		t.Errorf("%+v, %v", m, err)
	}
	for i := 0; i < b.Len(); i += 97 {
		broken := bytes.Clone(b.Bytes())
		broken[i] ^= 1
		if m2, err := client.VerifyExport(t.Context(), bytes.NewReader(broken), int64(len(broken)), nil); err == nil && !sameEntries(m, m2) {
			t.Errorf("a changed byte at %d passed", i)
		}
	}
}

// sameEntries reports whether two manifests promise the same contents: a byte
// of the ZIP's own that says nothing (a time, a comment) may change unseen.
func sameEntries(a, b client.Manifest) bool {
	if len(a.Entries) != len(b.Entries) {
		return false
	}
	for i := range a.Entries {
		if a.Entries[i].Name != b.Entries[i].Name || a.Entries[i].SHA256 != b.Entries[i].SHA256 {
			return false
		}
	}
	return true
}
