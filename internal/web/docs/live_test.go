package docs_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"strongroom/client"
	pages "strongroom/docs"
	"strongroom/internal/base/id"
	"strongroom/internal/testkit"
	"strongroom/internal/testkit/live"
	"strongroom/internal/web/docs"
	"strongroom/internal/web/openapi"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// shell runs a script with curl as a reader would, in a folder of its own.
func shell(t *testing.T, folder, script string, env ...string) (string, error) {
	t.Helper()
	for _, tool := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("the examples are run with %s (scripts/ensure-python.sh installs curl): %v", tool, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = folder
	// curl reads no settings of whoever runs the tests, and goes through no proxy.
	cmd.Env = append([]string{"PATH=/usr/bin:/bin", "HOME=" + folder, "LANG=C.UTF-8", "NO_PROXY=*"}, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, errs.String())
	}
	return out.String(), err
}

var (
	fences  = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
	setting = regexp.MustCompile(`(?m)^(URL|CA|EMAIL|PASSWORD)=.*$`)
)

func TestTheQuickStartWorksAsItIsWritten(t *testing.T) {
	t.Parallel()
	s := live.Start(t)
	dev := s.Org(t, "pooled").Member(t, client.Scientist)
	page, err := fs.ReadFile(pages.Pages, "quickstart.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := fences.FindAllStringSubmatch(string(page), -1)
	if len(blocks) < 10 {
		t.Fatalf("%d examples: the test looks in the wrong place", len(blocks))
	}
	var script strings.Builder
	for i, b := range blocks {
		// The reader's own four lines are what the test knows better.
		fmt.Fprintf(&script, "echo; echo '--- %d ---'\n%s", i, setting.ReplaceAllString(b[1], ""))
	}
	folder := t.TempDir()
	out, err := shell(t, folder, script.String(), "URL="+s.URL, "CA="+s.CAFile, "EMAIL="+dev.Email, "PASSWORD="+dev.Password.Reveal())
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		`"thickness":12.50`,              // digits are kept
		`"code":"required"`, `"/content`, // a refusal names the place
		`"version":2`, `"relation":"related"`,
		`"action":"`, // the newest events may still be on their way to their place
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the examples do not answer %s:\n%s", want, out)
		}
	}
	if z, err := os.ReadFile(filepath.Join(folder, "export.zip")); err != nil || !bytes.HasPrefix(z, []byte("PK")) {
		t.Errorf("the export is no ZIP: %v", err)
	}
	list, err := dev.ListSandboxes(t.Context(), client.List{})
	if err != nil || len(list.Items) != 1 || list.Items[0].State != "expired" {
		t.Errorf("it leaves %+v, %v", list.Items, err)
	}
}

// Every example of the reference is run as it stands, with its variables set:
// what the server answers may be that somebody may not, or that a thing is not
// there, but never that the request itself is wrong.
func TestEveryExampleOfTheReferenceIsARequestThatTheServerTakes(t *testing.T) {
	t.Parallel()
	s := live.Start(t)
	doc, err := openapi.Parse(s.App.API.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "frame.tif"), []byte("II*\x00 not much of a picture"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "ca.pem"), s.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	org := s.Org(t, "schema")
	if _, err := org.Owner.CreateCollection(t.Context(), org.ID, client.NewCollection{Kind: "thing", Title: "Things", Schema: []byte(`{"type":"object"}`)}); err != nil {
		t.Fatal(err)
	}
	admin := s.Admin(t)
	tried := 0
	for _, op := range doc.Operations() {
		env := map[string]string{"URL": s.URL, "ORG": org.ID, "KIND": "thing", "PLAN": "team", "KIT": "materials", "REPORT": id.NewReport().String(), "TOKEN": org.Owner.Token.Reveal()}
		if !strings.HasPrefix(op.Path, "/v1/orgs/{org}") && op.Tags[0] != "Sessions" && op.Tags[0] != "Sandboxes" {
			s.SignIn(t, admin)
			env["TOKEN"] = admin.Token.Reveal()
		}
		if op.Tags[0] == "Sessions" { // a session that the example may end
			p := org.Member(t, client.Scientist)
			env["TOKEN"] = p.Token.Reveal()
		}
		fill(t, org, env, op)
		var vars []string
		for name, value := range env {
			vars = append(vars, name+"="+value)
		}
		command := docs.Curl(doc, op)
		out, err := shell(t, folder, command+" --silent --show-error --output answer --write-out '%{http_code}'", vars...)
		if err != nil {
			t.Errorf("%s: %v\n%s", op.ID, err, command)
			continue
		}
		tried++
		answer, _ := os.ReadFile(filepath.Join(folder, "answer"))
		wrong := []string{"400", "405", "408", "413", "415", "422", "428", "500", "503"}
		if op.ID == "preview-file" && out == "415" { // of a text
			continue
		}
		if slices.Contains(wrong, out) || out == "404" && bytes.Contains(answer, []byte(`"no such thing"`)) && op.Tags[0] != "Reports" || out == "401" && op.ID != "create-session" && op.ID != "change-password" {
			t.Errorf("%s answers %s %s to\n%s", op.ID, out, answer, command)
		}
	}
	if tried < 30 {
		t.Errorf("%d examples were tried: the test looks in the wrong place", tried)
	}
}

// fill makes what the path of an operation names, and names it.
func fill(t *testing.T, org *live.Org, env map[string]string, op *openapi.Operation) {
	t.Helper()
	ctx := t.Context()
	needs := func(name string) bool { return strings.Contains(op.Path, name) }
	record := func() string {
		r, err := org.Owner.CreateRecord(ctx, org.ID, "thing", client.NewRecord{Content: []byte(`{"n":1}`)})
		if err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	if needs("records/{id}") {
		env["RECORD"] = record()
	}
	if needs("{link}") {
		l, err := org.Owner.CreateLink(ctx, org.ID, "thing", env["RECORD"], record(), "related")
		if err != nil {
			t.Fatal(err)
		}
		env["LINK"] = l.ID
	}
	if needs("files/{id}") {
		f, err := org.Owner.UploadFile(ctx, org.ID, client.Upload{Name: "a.txt", MediaType: "text/plain", Body: strings.NewReader("text")})
		if err != nil {
			t.Fatal(err)
		}
		env["FILE"] = f.ID
	}
	if needs("{person}") {
		env["PERSON"] = org.Member(t, client.Analyst).ID
	}
	if needs("{key}") {
		k, err := org.Owner.CreateKey(ctx, org.ID, client.NewKey{Name: "k", Roles: []client.Role{client.Analyst}})
		if err != nil {
			t.Fatal(err)
		}
		env["KEY"] = k.ID
	}
	for _, m := range regexp.MustCompile(`\{([a-z]+)\}`).FindAllStringSubmatch(op.Path, -1) {
		name := strings.ToUpper(m[1])
		if m[1] == "id" {
			before, _, _ := strings.Cut(op.Path, "/{id}")
			name = strings.ToUpper(strings.TrimSuffix(before[strings.LastIndexByte(before, '/')+1:], "s"))
		}
		if env[name] == "" { // something that is not there
			env[name] = strings.ToLower(name)[:3] + "_01m81en5jhfb2r9c9gak8atqx7"
		}
	}
}
