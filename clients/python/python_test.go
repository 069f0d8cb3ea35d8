// Package python_test runs the Python client: its hand-written half in tests of
// its own, and the whole of it against a live server. Package pyclient holds its
// generated half to the API's description.
package python_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom/client"
	"strongroom/internal/testkit"
	"strongroom/internal/testkit/live"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const interpreter = "/usr/bin/python3" // the system's own: what a user of Debian has

// python runs the interpreter with the client on its path and nothing else of
// this process's environment.
func python(t *testing.T, env []string, args ...string) string {
	t.Helper()
	if _, err := os.Stat(interpreter); err != nil {
		t.Fatalf("the tests of the Python client need %s (scripts/ensure-python.sh installs it): %v", interpreter, err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, interpreter, append([]string{"-I", "-B", "-W", "error", "-c",
		"import sys, runpy; sys.path.insert(0, " + quoted(here) + "); sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"}, args...)...)
	cmd.Env = append([]string{"PATH=/usr/bin:/bin", "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir(), "LANG=C.UTF-8"}, env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", args[0], err, out)
	}
	return string(out)
}

func quoted(s string) string { return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'" }

func TestTheHandWrittenHalfKeepsItsPromises(t *testing.T) {
	t.Parallel()
	s := live.Start(t) // for its certificate
	dir := filepath.Join(s.DataDir, "tls")
	out := python(t, []string{"TEST_CERT=" + filepath.Join(dir, "server.pem"), "TEST_KEY=" + filepath.Join(dir, "server.key"), "TEST_CA=" + s.CAFile}, "tests/test_client.py")
	if !strings.Contains(out, "\nOK\n") {
		t.Errorf("the tests did not run:\n%s", out)
	}
}

func TestTheNotebookRunsAgainstALiveServer(t *testing.T) {
	t.Parallel()
	s := live.Start(t)
	dev := s.Org(t, "pooled").Member(t, client.Scientist)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(dev.Password.Reveal()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := python(t, []string{"SERVER=" + s.URL, "CA=" + s.CAFile, "EMAIL=" + dev.Email, "PASSWORD_FILE=" + password}, "examples/notebook.py")
	for _, want := range []string{"stored 61 records; the last one is 12.50 nm thick", "refused: [('/content/thickness', 'required')]", "61 records in pages of 20", "\ndone\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("the notebook does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, dev.Password.Reveal()) || strings.Contains(out, "sr_key_") || strings.Contains(out, "sr_ses_") {
		t.Error("the notebook prints a secret")
	}
	list, err := dev.ListSandboxes(t.Context(), client.List{})
	if err != nil || len(list.Items) != 1 || list.Items[0].State != "expired" {
		t.Errorf("the notebook leaves %+v, %v", list.Items, err)
	}
}
