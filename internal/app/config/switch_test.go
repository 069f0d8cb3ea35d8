package config

import (
	"os"
	"path/filepath"
	"testing"
)

func TestASwitchKnowsWhatTheOperatorHasNotDecided(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		file, variable string
		demo, plain    bool // what follows with --demo, and without
		fails          bool
	}{
		{file: "", demo: true, plain: false},
		{file: "[developer]\nsandboxes = true", demo: true, plain: true},
		{file: "[developer]\nsandboxes = false", demo: false, plain: false},
		{file: "[developer]\nsandboxes = false", variable: "true", demo: true, plain: true},
		{file: "[developer]\nsandboxes = \"sometimes\"", fails: true},
		{variable: "sometimes", fails: true},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, FileName), []byte(tt.file), 0o600); err != nil {
			t.Fatal(err)
		}
		var environ []string
		if tt.variable != "" {
			environ = []string{"STRONGROOM_DEVELOPER_SANDBOXES=" + tt.variable}
		}
		c, err := Load(dir, environ)
		if (err != nil) != tt.fails {
			t.Errorf("%q, %q: %v", tt.file, tt.variable, err)
		}
		if err == nil && (c.Developer.Sandboxes.Or(true) != tt.demo || c.Developer.Sandboxes.Or(false) != tt.plain) {
			t.Errorf("%q, %q: with --demo %v, without %v", tt.file, tt.variable, c.Developer.Sandboxes.Or(true), c.Developer.Sandboxes.Or(false))
		}
	}
}
