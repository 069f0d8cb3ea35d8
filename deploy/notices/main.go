// Command notices writes the licences of everything that is linked into the
// program, or embedded in it: whoever passes the program on passes them on too.
//
// It reads them where the sources are, in the module cache, so that they are
// those of the very versions that are linked. A module without a licence file is
// an error: nothing is passed on that nobody may pass on.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

func main() {
	if err := write(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "notices:", err)
		os.Exit(1)
	}
}

// module is one that is linked.
type module struct {
	Path    string
	Version string
	Dir     string
	Main    bool
	Replace *module
}

// licence is how its file is called.
var licence = regexp.MustCompile(`(?i)^((un)?licen[cs]e|copying|notice|patents|authors)([-._].*)?$`)

func write(w io.Writer) error {
	mods, err := linked()
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	fmt.Fprint(out, "Strongroom contains the following works of others.\n")
	goroot, err := output("go", "env", "GOROOT")
	if err != nil {
		return err
	}
	if err := section(out, "the Go standard library and runtime", strings.TrimPrefix(runtime.Version(), "go"), strings.TrimSpace(goroot)); err != nil {
		return err
	}
	for _, m := range mods {
		if err := section(out, m.Path, m.Version, m.Dir); err != nil {
			return err
		}
	}
	if err := embedded(out); err != nil {
		return err
	}
	return out.Flush()
}

func output(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	b, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(b), nil
}

// linked lists the modules that a package of the program is of.
func linked() ([]module, error) {
	text, err := output("go", "list", "-deps", "-json=Module", "strongroom/cmd/strongroom")
	if err != nil {
		return nil, err
	}
	seen := map[string]module{}
	for d := json.NewDecoder(strings.NewReader(text)); ; {
		var p struct{ Module *module }
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if p.Module == nil || p.Module.Main {
			continue
		}
		m := *p.Module
		if m.Replace != nil {
			m.Version, m.Dir = m.Replace.Version, m.Replace.Dir
		}
		seen[m.Path] = m
	}
	var all []module
	for _, m := range seen {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

const rule = "================================================================================"

func section(w io.Writer, name, version, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	_, _ = fmt.Fprintf(w, "\n%s\n%s %s\n%s\n", rule, name, version, rule)
	found := false
	for _, e := range entries {
		if e.IsDir() || !licence.MatchString(e.Name()) || strings.HasPrefix(strings.ToLower(e.Name()), "authors") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		found = found || !strings.HasPrefix(strings.ToLower(e.Name()), "patents") && len(bytes.TrimSpace(text)) > 0
		_, _ = fmt.Fprintf(w, "\n--- %s\n\n%s\n", e.Name(), bytes.TrimSpace(text))
	}
	if !found {
		return fmt.Errorf("%s: no licence file in %s", name, dir)
	}
	return nil
}

// embedded writes the notices of what is embedded in the program beside its
// code: each stands in its folder, as NAME.LICENSE or LICENSES.md.
func embedded(w io.Writer) error {
	root, err := output("go", "list", "-m", "-f", "{{.Dir}}")
	if err != nil {
		return err
	}
	root = strings.TrimSpace(root)
	return filepath.WalkDir(filepath.Join(root, "internal"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".LICENSE" && d.Name() != "LICENSES.md" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		short, err := filepath.Rel(root, path)
		_, _ = fmt.Fprintf(w, "\n%s\n%s\n%s\n\n%s\n", rule, filepath.ToSlash(short), rule, bytes.TrimSpace(text))
		return err
	})
}
