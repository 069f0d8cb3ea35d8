package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MinVersion is the oldest PostgreSQL major version that Strongroom runs on.
const MinVersion = 15

// Binaries is one installation of PostgreSQL's server programs.
type Binaries struct {
	Dir   string // holds initdb and postgres
	Major int    // 15, 16 …
}

// ErrMissing says that no usable PostgreSQL is installed.
var ErrMissing = errors.New("no usable PostgreSQL")

// places are where distributions put the server programs, none of which is on
// the usual PATH.
var places = []string{
	"/usr/lib/postgresql/*/bin",       // Debian, Ubuntu
	"/usr/pgsql-*/bin",                // PGDG packages on Red Hat and its kin
	"/usr/libexec/postgresql*",        // Alpine
	"/usr/lib/postgresql*/bin",        // SUSE
	"/usr/local/pgsql/bin",            // built from source
	"/opt/homebrew/opt/postgresql*/*", // Homebrew
}

// Find returns the newest PostgreSQL on this machine, or one sentence that says
// what is missing and how to get it.
func Find() (Binaries, error) { return find(0, candidates()) }

// FindMajor returns a PostgreSQL of exactly that major version, the only one
// that can open a data directory made by it.
func FindMajor(major int) (Binaries, error) { return find(major, candidates()) }

// In returns the PostgreSQL whose programs are in dir.
func In(dir string) (Binaries, error) {
	b, err := probe(dir)
	if err != nil {
		return Binaries{}, fmt.Errorf("%w in %s: %w", ErrMissing, dir, err)
	}
	if b.Major < MinVersion {
		return Binaries{}, fmt.Errorf("%w in %s: it is version %d, and Strongroom needs %d or newer", ErrMissing, dir, b.Major, MinVersion)
	}
	return b, nil
}

func candidates() []string {
	var dirs []string
	for _, p := range places {
		found, _ := filepath.Glob(p) // the patterns are constant and well formed
		dirs = append(dirs, found...)
	}
	if p, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(p); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	return dirs
}

func find(major int, dirs []string) (Binaries, error) {
	var all []Binaries
	for _, dir := range dirs {
		if b, err := probe(dir); err == nil {
			all = append(all, b)
		}
	}
	slices.SortStableFunc(all, func(a, b Binaries) int { return cmp.Compare(b.Major, a.Major) })
	for _, b := range all {
		if b.Major >= MinVersion && (major == 0 || b.Major == major) {
			return b, nil
		}
	}
	want := major
	if want == 0 {
		want = MinVersion
	}
	const remedy = "install it with the system's package manager (on Debian 12 or newer: apt-get install postgresql)"
	switch {
	case major != 0 && major >= MinVersion:
		return Binaries{}, fmt.Errorf("%w: PostgreSQL %d is needed, because this data directory was made by it, and it is not installed: install that version beside the others",
			ErrMissing, want)
	case major != 0:
		return Binaries{}, fmt.Errorf("%w: this data directory was made by PostgreSQL %d, and Strongroom needs %d or newer", ErrMissing, major, MinVersion)
	case len(all) > 0:
		return Binaries{}, fmt.Errorf("%w: the newest PostgreSQL here is version %d, and Strongroom needs %d or newer: %s", ErrMissing, all[0].Major, MinVersion, remedy)
	default:
		return Binaries{}, fmt.Errorf("%w: PostgreSQL %d or newer is not installed: %s", ErrMissing, MinVersion, remedy)
	}
}

var versionLine = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// probe asks the program for its version: a folder's name proves nothing.
func probe(dir string) (Binaries, error) {
	for _, name := range []string{"initdb", "postgres"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return Binaries{}, err
		} else if info.IsDir() || info.Mode()&0o111 == 0 {
			return Binaries{}, fmt.Errorf("%s is not a program", name)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version")
	cmd.Env = environment()
	out, err := cmd.Output()
	if err != nil {
		return Binaries{}, fmt.Errorf("postgres --version: %w", err)
	}
	m := versionLine.FindStringSubmatch(string(out))
	if m == nil {
		return Binaries{}, errors.New("postgres --version gave no version")
	}
	major, err := strconv.Atoi(m[1])
	if err != nil {
		return Binaries{}, fmt.Errorf("postgres --version: %w", err)
	}
	return Binaries{Dir: dir, Major: major}, nil
}

// dataVersion returns the major version that made a data directory, or 0 when
// there is none yet.
func dataVersion(dataDir string) (int, error) {
	b, err := os.ReadFile(filepath.Join(dataDir, "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0, fmt.Errorf("%s: not a version number", filepath.Join(dataDir, "PG_VERSION"))
	}
	return major, nil
}
