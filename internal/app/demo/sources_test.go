package demo

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// source is a row of SOURCES.md.
type source struct{ file, repository, path, commit, licence, bytes, sha256, line string }

func rows(t *testing.T, text []byte) (all []source) {
	t.Helper()
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| ") || len(cells) != 8 || strings.TrimSpace(cells[0]) == "file" {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		all = append(all, source{cells[0], cells[1], cells[2], cells[3], cells[4], cells[5], cells[6], strings.TrimSpace(line)})
	}
	return all
}

func sources(t *testing.T) []source {
	t.Helper()
	text, err := embedded.ReadFile("data/SOURCES.md")
	if err != nil {
		t.Fatal(err)
	}
	return rows(t, text)
}

func TestEveryFileIsTheOneThatItsSourceNames(t *testing.T) {
	t.Parallel()
	listed := map[string]bool{"SOURCES.md": true, "LICENSES.md": true}
	total := 0
	for _, s := range sources(t) {
		if listed[s.file] {
			t.Errorf("%s stands twice", s.file)
		}
		listed[s.file] = true
		b, err := embedded.ReadFile("data/" + s.file)
		if err != nil {
			t.Error(err)
			continue
		}
		total += len(b)
		sum := sha256.Sum256(b)
		if strconv.Itoa(len(b)) != s.bytes || hex.EncodeToString(sum[:]) != s.sha256 {
			t.Errorf("%s is not the file that was taken", s.file)
		}
		if !regexp.MustCompile(`^[0-9a-f]{40}$`).MatchString(s.commit) || strings.Count(s.repository, "/") != 1 || s.path == "" {
			t.Errorf("%s: its source is not complete", s.file)
		}
	}
	if total < 3e6 || total > 5e6 {
		t.Errorf("%d bytes: the demo should have 3 to 5 MB", total)
	}
	err := fs.WalkDir(embedded, "data", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !listed[strings.TrimPrefix(name, "data/")] {
			t.Errorf("%s has no source", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheSourcesAreThoseOfTheSharedData(t *testing.T) {
	t.Parallel()
	const shared = "../../../../shared/data/SOURCES.md"
	text, err := os.ReadFile(shared)
	if err != nil {
		t.Logf("there is no %s to compare with", shared)
		return
	}
	var lines []string
	for _, s := range rows(t, text) {
		lines = append(lines, s.line)
	}
	for _, s := range sources(t) {
		if !slices.Contains(lines, s.line) {
			t.Errorf("%s: its row is not the one in the shared data", s.file)
		}
	}
}

func TestEveryProjectIsThankedUnderItsLicence(t *testing.T) {
	t.Parallel()
	text, err := embedded.ReadFile("data/LICENSES.md")
	if err != nil {
		t.Fatal(err)
	}
	thanked := map[string]string{}
	licence := ""
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "## "); ok {
			licence = strings.TrimSpace(name)
		}
		if m := regexp.MustCompile(`^- ([\w.-]+/[\w.-]+)`).FindStringSubmatch(line); m != nil {
			thanked[m[1]] = licence
		}
	}
	used := map[string]bool{}
	for _, s := range sources(t) {
		used[s.repository] = true
		if thanked[s.repository] != s.licence {
			t.Errorf("%s is under %s, and LICENSES.md has it under %q", s.repository, s.licence, thanked[s.repository])
		}
	}
	for repository := range thanked {
		if !used[repository] {
			t.Errorf("nothing comes from %s", repository)
		}
	}
	for _, o := range Organizations(t) {
		for _, e := range o.Records {
			var p struct{ Source, Licence string }
			if e.Kind != "project" {
				continue
			}
			unmarshal(t, e.Content, &p)
			if !used[p.Source] || thanked[p.Source] != p.Licence {
				t.Errorf("%s: %s", e.ref(), fmt.Sprint(p))
			}
		}
	}
}
