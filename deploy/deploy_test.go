// Package deploy_test holds what an operator installs to what the program is:
// the package as dpkg unpacks it, the unit under the powers that it leaves, the
// container file's paths and commands, and the licences of what is passed on.
package deploy_test

import (
	"bufio"
	"bytes"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// built is the program as `make build` makes it.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("/var/tmp", "strongroom-deploy")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "strongroom")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-X main.version=v1.2.3-test", "-o", path, "strongroom/cmd/strongroom")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := built(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

func program(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	// A package of a test is not compressed, which takes longest of all, and of
	// one date.
	cmd.Env = append(os.Environ(), "DEB_COMPRESS=none", "SOURCE_DATE_EPOCH=1700000000")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, errs.String())
	}
	return string(out)
}

// commandExists tries a command line of the program for its form: --help is
// refused where a command or a flag is not there.
func commandExists(t *testing.T, line string) {
	t.Helper()
	words := strings.Fields(line)
	out, err := exec.Command(program(t), append(words[1:], "--help")...).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Usage:") || !strings.Contains(string(out), "strongroom "+words[1]) {
		t.Errorf("there is no command %q: %v\n%s", line, err, out)
	}
}

// directives reads a unit.
func directives(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for line := range strings.Lines(read(t, "strongroom.service")) {
		line = strings.TrimSpace(line)
		if key, value, found := strings.Cut(line, "="); found && !strings.HasPrefix(line, "#") {
			out[key] = append(out[key], value)
		}
	}
	return out
}

func TestTheUnitStartsACommandThatThereIs(t *testing.T) {
	t.Parallel()
	d := directives(t)
	if got := d["ExecStart"]; len(got) != 1 || !strings.HasPrefix(got[0], "/usr/bin/strongroom up --data /var/lib/strongroom") {
		t.Fatalf("ExecStart: %q", got)
	}
	commandExists(t, d["ExecStart"][0])
	for key, want := range map[string]string{"NoNewPrivileges": "yes", "ProtectSystem": "strict", "PrivateTmp": "yes", "LimitCORE": "0", "Restart": "on-failure",
		"KillMode": "mixed", "MemorySwapMax": "0", "ReadWritePaths": "/var/lib/strongroom"} {
		if got := d[key]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return // not on every machine; the installation below is tried anyway
	}
	// The program is where the package puts it, which need not be here.
	dir := t.TempDir()
	text := strings.ReplaceAll(read(t, "strongroom.service"), "/usr/bin/strongroom", program(t))
	if err := os.WriteFile(filepath.Join(dir, "strongroom.service"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", filepath.Join(dir, "strongroom.service")).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "strongroom.service") {
			t.Errorf("systemd says: %s (%v)", strings.TrimSpace(line), err)
		}
	}
}

// TestTheInstallationRunsWithThePowersThatTheUnitLeaves starts the program
// under the unit's bounding set, without new privileges.
func TestTheInstallationRunsWithThePowersThatTheUnitLeaves(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("not root: there is no bounding set to drop; the unit starts as root")
		return
	}
	d := directives(t)
	var caps []string
	for _, c := range strings.Fields(d["CapabilityBoundingSet"][0]) {
		caps = append(caps, "+"+strings.ToLower(strings.TrimPrefix(c, "CAP_")))
	}
	// The users are there before it starts: the package makes them.
	for _, u := range []string{"server", "postgres", "keys", "guardian-a", "guardian-b", "signer"} {
		if exec.Command("id", "strongroom-"+u).Run() != nil {
			run(t, "useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", "strongroom-"+u)
		}
	}
	dir, err := os.MkdirTemp("/var/tmp", "strongroom-unit")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	set := "-all," + strings.Join(caps, ",")
	cmd := exec.Command("setpriv", "--bounding-set", set, "--inh-caps", "-all", "--no-new-privs",
		program(t), "up", "--data", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0")
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	var log syncBuffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	first := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		first <- line
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			t.Errorf("it does not end\n%s", log.String())
		}
	})
	select {
	case line := <-first:
		if !strings.HasPrefix(line, "strongroom: ready https://") {
			t.Fatalf("it said %q\n%s", line, log.String())
		}
	case <-time.After(3 * time.Minute):
		t.Fatalf("it is not ready\n%s", log.String())
	}
	status := run(t, program(t), "status", "--data", filepath.Join(dir, "data"))
	if !strings.Contains(status, "ready") || !strings.Contains(status, "waits for its first administrator") {
		t.Errorf("status:\n%s", status)
	}
	// A service that ends is started again: the supervisor may end and begin
	// processes of other users.
	pids := run(t, "pgrep", "-P", fmt.Sprint(cmd.Process.Pid), "-f", "keyservice")
	run(t, "kill", "-9", strings.Fields(pids)[0])
	for end := time.Now().Add(30 * time.Second); !strings.Contains(log.String(), "service is up again"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the key service did not come back\n%s", log.String())
		}
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestThePackageUnpacksToWhatItSaysAndRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	t.Parallel()
	dist := t.TempDir()
	deb := strings.TrimSpace(run(t, "../scripts/deb.sh", program(t), "v1.2.3-4-gabcdef", dist))
	deb = filepath.Join(dist, filepath.Base(deb))
	if want := "strongroom_1.2.3+4+gabcdef_"; !strings.HasPrefix(filepath.Base(deb), want) {
		t.Errorf("it is called %s", filepath.Base(deb))
	}
	again := t.TempDir()
	run(t, "../scripts/deb.sh", program(t), "v1.2.3-4-gabcdef", again)
	if one, two := read(t, deb), read(t, filepath.Join(again, filepath.Base(deb))); one != two {
		t.Error("the same sources give two different packages")
	}
	fields := run(t, "dpkg-deb", "--field", deb)
	for _, want := range []string{"Package: strongroom\n", "Version: 1.2.3+4+gabcdef\n", "Depends: adduser, ca-certificates, postgresql-15 | postgresql (>= 15)\n"} {
		if !strings.Contains(fields, want) {
			t.Errorf("the fields lack %q:\n%s", want, fields)
		}
	}

	// As dpkg installs it, into a root of its own.
	root := t.TempDir()
	admin := filepath.Join(root, "var/lib/dpkg")
	for _, dir := range []string{"info", "updates", "triggers"} {
		if err := os.MkdirAll(filepath.Join(admin, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"status", "available"} {
		if err := os.WriteFile(filepath.Join(admin, f), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dpkg := func(args ...string) string {
		// Its dependencies are this machine's: the root has no packages.
		return run(t, "dpkg", append([]string{"--root=" + root, "--force-depends", "--force-script-chrootless", "--force-not-root", "--log=/dev/null"}, args...)...)
	}
	dpkg("--install", deb)
	for path, mode := range map[string]os.FileMode{
		"usr/bin/strongroom": 0o755, "lib/systemd/system/strongroom.service": 0o644, "etc/strongroom/strongroom.toml": 0o640,
		"usr/share/doc/strongroom/copyright": 0o644, "usr/share/doc/strongroom/THIRD-PARTY-NOTICES.txt": 0o644, "usr/share/doc/strongroom/operations.md": 0o644,
		"usr/share/doc/strongroom/changelog.gz": 0o644,
	} {
		info, err := os.Stat(filepath.Join(root, path))
		if err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v, want %v", path, info, err, mode)
		}
	}
	if target, err := os.Readlink(filepath.Join(root, "var/lib/strongroom/strongroom.toml")); err != nil || target != "/etc/strongroom/strongroom.toml" {
		t.Errorf("the settings are found at %q, %v", target, err)
	}
	binary := filepath.Join(root, "usr/bin/strongroom")
	if out := run(t, binary, "version"); !strings.HasPrefix(out, "strongroom v1.2.3-test ") {
		t.Errorf("the installed program says %q", out)
	}
	// The settings that come with it are good ones, each commented out.
	data := t.TempDir()
	settings := read(t, filepath.Join(root, "etc/strongroom/strongroom.toml"))
	if err := os.WriteFile(filepath.Join(data, "strongroom.toml"), []byte(uncommented(settings)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := exec.Command(binary, "doctor", "--data", data, "--output", "json").Output()
	if s := string(out); strings.Contains(s, "there is no setting") || !strings.Contains(s, "tls.certificate: stat /etc/strongroom/tls/fullchain.pem") && !strings.Contains(s, "acme.directory and tls.certificate: set one of them") {
		t.Errorf("of the settings in the file, doctor says:\n%s", s)
	}

	// An administrator's change outlives an upgrade, the data a purge.
	if err := os.WriteFile(filepath.Join(root, "etc/strongroom/strongroom.toml"), []byte("log_level = \"debug\"\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "var/lib/strongroom/postgres"), 0o700); err != nil {
		t.Fatal(err)
	}
	newer := strings.TrimSpace(run(t, "../scripts/deb.sh", program(t), "v1.2.4", dist))
	dpkg("--install", filepath.Join(dist, filepath.Base(newer)))
	if got := read(t, filepath.Join(root, "etc/strongroom/strongroom.toml")); got != "log_level = \"debug\"\n" {
		t.Errorf("after the upgrade the settings are %q", got)
	}
	dpkg("--purge", "strongroom")
	if _, err := os.Stat(filepath.Join(root, "var/lib/strongroom/postgres")); err != nil {
		t.Errorf("a purge took the data along: %v", err)
	}
	if _, err := os.Stat(binary); !os.IsNotExist(err) {
		t.Errorf("the program is still there: %v", err)
	}
}

// uncommented turns the settings on that the file shows.
func uncommented(s string) string {
	var out []string
	for _, line := range strings.Split(s, "\n") {
		if rest, ok := strings.CutPrefix(line, "# "); ok && (strings.Contains(rest, " = ") || strings.HasPrefix(rest, "[")) {
			line = rest
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

func TestTheScriptsOfThePackageAreShell(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"postinst", "prerm", "postrm"} {
		run(t, "sh", "-n", filepath.Join("debian", name))
		if info, err := os.Stat(filepath.Join("debian", name)); err != nil || info.Mode().Perm()&0o111 == 0 {
			t.Errorf("%s is not executable", name)
		}
	}
	// It makes the users that the program looks for.
	users := regexp.MustCompile(`for user in (.+); do`).FindStringSubmatch(read(t, "debian/postinst"))
	layout := read(t, "../internal/app/datadir/layout.go")
	list := regexp.MustCompile(`return \[\]string\{("strongroom-server".+)\}`).FindStringSubmatch(layout)
	if users == nil || list == nil {
		t.Fatal("the lists of users are not found")
	}
	var want []string
	for _, m := range regexp.MustCompile(`"strongroom-([a-z-]+)"`).FindAllStringSubmatch(list[1], -1) {
		want = append(want, m[1])
	}
	if got := strings.Fields(users[1]); !slices.Equal(got, want) {
		t.Errorf("postinst makes %v, the program runs as %v", got, want)
	}
}

// TestTheContainerFileNamesWhatThereIs reads the file as a builder does, for
// where no builder is: its instructions, the paths that it copies from the
// source, and the program's commands that it runs.
func TestTheContainerFileNamesWhatThereIs(t *testing.T) {
	t.Parallel()
	text := strings.ReplaceAll(read(t, "Containerfile"), "\\\n", " ")
	stages := map[string]bool{}
	made := map[string]bool{}
	seen := map[string]int{}
	var entry []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		verb, rest, _ := strings.Cut(line, " ")
		seen[verb]++
		words := strings.Fields(rest)
		switch verb {
		case "FROM":
			if len(words) == 3 && words[1] == "AS" {
				stages[words[2]] = true
			}
		case "RUN":
			for _, m := range regexp.MustCompile(`(?:-o|>) (/out/\S+)`).FindAllStringSubmatch(rest, -1) {
				made[m[1]] = true
			}
			for _, m := range regexp.MustCompile(`go (?:run|build .*) (\./\S+)`).FindAllStringSubmatch(rest, -1) {
				if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
					t.Errorf("%s: %v", line, err)
				}
			}
		case "COPY":
			from := ""
			if strings.HasPrefix(words[0], "--from=") {
				from, words = strings.TrimPrefix(words[0], "--from="), words[1:]
			}
			for _, source := range words[:len(words)-1] {
				if from != "" {
					if !stages[from] || !made[source] {
						t.Errorf("%s: nothing made %s in %s", line, source, from)
					}
				} else if _, err := os.Stat(filepath.Join("..", source)); err != nil {
					t.Errorf("%s: %v", line, err)
				}
			}
		case "ENTRYPOINT":
			entry = quoted(rest)
		case "CMD":
			commandExists(t, strings.Join(append(entry, quoted(rest)...), " "))
		case "HEALTHCHECK":
			_, command, found := strings.Cut(rest, "CMD ")
			if !found {
				t.Errorf("%s: no command", line)
			}
			commandExists(t, strings.Join(quoted(command), " "))
		case "ARG", "WORKDIR", "VOLUME", "EXPOSE", "STOPSIGNAL":
		default:
			t.Errorf("an instruction that there is not: %s", line)
		}
	}
	if seen["FROM"] != 2 || seen["CMD"] != 1 || seen["ENTRYPOINT"] != 1 || !strings.Contains(text, "postgresql-15") || !strings.Contains(text, "debian:12") {
		t.Errorf("the file is not what it was: %v", seen)
	}
	module := read(t, "../go.mod")
	want := regexp.MustCompile(`(?m)^go (1\.\d+)`).FindStringSubmatch(module)
	if want == nil || !strings.Contains(text, "golang:"+want[1]+"-") {
		t.Errorf("it builds with another Go than go.mod names (%v)", want)
	}
}

func quoted(list string) (words []string) {
	for _, m := range regexp.MustCompile(`"([^"]*)"`).FindAllStringSubmatch(list, -1) {
		words = append(words, m[1])
	}
	return words
}

// kinds are the licences that what is linked may have, by words that stand in
// each. Nothing under the AGPL, the GPL or the BSL is passed on.
var kinds = map[string]*regexp.Regexp{
	"Apache-2.0": regexp.MustCompile(`Apache License\s+Version 2\.0`),
	"MIT":        regexp.MustCompile(`Permission is hereby granted, free of charge, to any person obtaining\s+a\s+copy`),
	"BSD":        regexp.MustCompile(`Redistribution and use in source and binary forms`),
	"ISC":        regexp.MustCompile(`Permission to use, copy, modify, and(/or)? distribute this software`),
	"MPL-2.0":    regexp.MustCompile(`Mozilla Public License,? (V|v)ersion 2\.0`),
	"Unlicense":  regexp.MustCompile(`This is free and unencumbered software released into the public domain`),
}

func TestTheNoticesHaveTheLicenceOfEverythingThatIsLinked(t *testing.T) {
	t.Parallel()
	notices := run(t, "go", "run", "./notices")
	sections := map[string]string{}
	parts := strings.Split(notices, strings.Repeat("=", 80)+"\n")
	for i := 1; i+1 < len(parts); i += 2 {
		sections[strings.TrimSpace(parts[i])] = parts[i+1]
	}
	// What is linked is asked of the program itself, not of what made the list.
	f, err := os.Open(program(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	info, err := buildinfo.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Deps) < 20 {
		t.Fatalf("%d modules are linked: the test looks in the wrong place", len(info.Deps))
	}
	var names []string
	for _, d := range info.Deps {
		version := d.Version
		if d.Replace != nil {
			version = d.Replace.Version
		}
		names = append(names, d.Path+" "+version)
	}
	names = append(names, "the Go standard library and runtime "+strings.TrimPrefix(info.GoVersion, "go"))
	for _, name := range names {
		text, found := sections[name]
		if !found {
			t.Errorf("%s is linked, and its licence is not passed on", name)
			continue
		}
		known := ""
		for kind, words := range kinds {
			if words.MatchString(text) {
				known = kind
			}
		}
		if known == "" || regexp.MustCompile(`GNU (AFFERO|GENERAL|LESSER GENERAL|LIBRARY GENERAL) PUBLIC LICENSE|Business Source License`).MatchString(text) {
			t.Errorf("%s: its licence is none of those that may be passed on:\n%.300s", name, text)
		}
	}
	// What is embedded beside code stands in its folder.
	for _, pattern := range []string{"../internal/*/*/static/*.js", "../internal/*/*/*/static/*.js"} {
		files, _ := filepath.Glob(pattern)
		for _, js := range files {
			b := read(t, js)
			if strings.Contains(b[:min(len(b), 400)], "Strongroom") || len(b) < 20_000 {
				continue // our own scripts are short
			}
			beside := strings.TrimSuffix(js, ".js") + ".LICENSE"
			text, err := os.ReadFile(beside)
			if err != nil {
				t.Errorf("%s is embedded without its licence: %v", js, err)
				continue
			}
			if !strings.Contains(notices, strings.TrimSpace(string(text))) {
				t.Errorf("the licence of %s is not passed on", js)
			}
		}
	}
}
