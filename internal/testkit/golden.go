package testkit

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Golden holds lines equal to a file, or writes the file.
func Golden(t testing.TB, path string, lines []string, update bool) {
	t.Helper()
	got := strings.Join(lines, "\n") + "\n"
	if update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s is not what the code says; run the test with -update if the change is meant:\n%s", path, got)
	}
}
