package main

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"strongroom/client"
	"strongroom/client/clienttest"
	"strongroom/cmd/strongroom/clitest"
	"strongroom/cmd/strongroom/internal/show"
)

var update = flag.Bool("update", false, "write the golden files")

// asCommand makes this test program the command: so tests run real processes,
// with exit codes and signals, without building anything else.
const asCommand = "STRONGROOM_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

// user returns somebody at a machine of their own, and a server to talk to.
func user(t *testing.T) (*clitest.CLI, *clienttest.Server) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := clienttest.New(t)
	c := clitest.New(t, self)
	c.Env[asCommand] = "1"
	c.Env["URL"], c.Env["ORGID"], c.Env["ORGNAME"] = s.URL, clienttest.Org, clienttest.OrgName
	c.Env["EMAIL"] = clienttest.Email
	c.Env["CA"] = c.Write("ca.pem", s.CA)
	c.Write("password", []byte(clienttest.Password+"\n"))
	c.Write("data/tls/ca.pem", s.CA)
	return c, s
}

func signedIn(t *testing.T) (*clitest.CLI, *clienttest.Server) {
	t.Helper()
	c, s := user(t)
	c.Login(s.URL, c.Env["CA"], clienttest.Email, clienttest.Password)
	return c, s
}

func TestScripts(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/script/*.txt")
	if err != nil || len(scripts) < 5 {
		t.Fatalf("%d scripts, %v", len(scripts), err)
	}
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			c, s := user(t)
			s.Promises = promises("kept")
			s.ServeAdmin(t, filepath.Join(c.Dir, "data"))
			broken, other := filepath.Join(c.Dir, "broken"), clienttest.New(t)
			other.Promises = promises("broken")
			other.ServeAdmin(t, broken)
			c.Script(path)
		})
	}
}

func promises(state string) []map[string]any {
	return []map[string]any{
		{"id": "ENC-1", "title": "AES-256 at rest", "state": "kept", "clauses": []map[string]any{
			{"name": "records", "state": "kept", "evidence": "12 rows open with their key and with no other", "checked_at": "2026-11-22T10:00:00Z"}}},
		{"id": "ISO-2", "state": state, "clauses": []map[string]any{
			{"name": "forced", "state": state, "evidence": "a \x1b[2Jrow", "checked_at": "2026-11-22T10:00:00Z"}}},
		{"id": "BAK-1", "state": "not_yet", "clauses": []map[string]any{{"name": "daily", "state": "not_yet", "evidence": "not built", "checked_at": ""}}},
	}
}

// TestHelp holds the whole help text equal to testdata/help.golden, so that a
// change of the command line is a change that somebody reads.
func TestHelp(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	a := &cli{format: show.Table}
	root := a.root()
	root.InitDefaultHelpFlag()
	root.SetOut(&b)
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Name() == "completion" || c.Hidden {
			return
		}
		fmt.Fprintf(&b, "==> %s\n", c.CommandPath())
		if err := c.Help(); err != nil {
			t.Fatal(err)
		}
		b.WriteString("\n")
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	const path = "testdata/help.golden"
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		got, lines := strings.Split(b.String(), "\n"), strings.Split(string(want), "\n")
		for i := range got {
			if i >= len(lines) || got[i] != lines[i] {
				t.Fatalf("line %d is %q; if that is meant, run go test -run TestHelp -update ./cmd/strongroom", i+1, got[i])
			}
		}
		t.Fatal("the help text became shorter; if that is meant, run go test -run TestHelp -update ./cmd/strongroom")
	}
}

func TestEveryCommandSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" && !c.Hidden {
			t.Errorf("%s has no short text", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk((&cli{}).root())
}

func TestExitCodesTellScriptsWhatHappened(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		fail []int
		args []string
		code int
	}{
		{"it worked", nil, []string{"ls"}, clitest.OK},
		{"the server's own failure", []int{500}, []string{"ls"}, clitest.Failed},
		{"a conflict", []int{409}, []string{"ls"}, clitest.Failed},
		{"an old version", nil, []string{"rm", "runs/RECORD", "--version", "9"}, clitest.Failed},
		{"an unknown command", nil, []string{"fly"}, clitest.Usage},
		{"an unknown flag", nil, []string{"ls", "--fly"}, clitest.Usage},
		{"a missing argument", nil, []string{"get"}, clitest.Usage},
		{"a missing flag", nil, []string{"links", "add", "runs/RECORD", "fil_x"}, clitest.Usage},
		{"an unknown format", nil, []string{"ls", "--output", "yaml"}, clitest.Usage},
		{"flags that exclude each other", nil, []string{"ls", "--all", "--limit", "3"}, clitest.Usage},
		{"a group alone", nil, []string{"members"}, clitest.Usage},
		{"an id of no kind", nil, []string{"get", "abc"}, clitest.Usage},
		{"an id that is a path", nil, []string{"get", "fil_../../x", "-o", "."}, clitest.Usage},
		{"not signed in any more", []int{401}, []string{"ls"}, clitest.Denied},
		{"not allowed", []int{403}, []string{"ls"}, clitest.Denied},
		{"a collection that is not there", nil, []string{"ls", "nothing"}, clitest.NotFound},
		{"a record that is not there", nil, []string{"get", "rec_00000000000000000000000000"}, clitest.NotFound},
		{"an organization that is not there", nil, []string{"ls", "--org", "org_00000000000000000000000000"}, clitest.NotFound},
		{"an organization of no such name", nil, []string{"ls", "--org", "Nobody"}, clitest.NotFound},
		{"a server that is not ready", []int{503, 503, 503, 503}, []string{"ls"}, clitest.Unavailable},
		{"no installation", nil, []string{"prove", "--data", "nowhere"}, clitest.Unavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, s := signedIn(t)
			s.AddCollection("runs")
			record := s.AddRecord("runs", "{}")
			for i := range test.args {
				test.args[i] = strings.ReplaceAll(test.args[i], "RECORD", record)
			}
			s.Fail(test.fail...)
			r := c.Run(test.args...)
			if r.Code != test.code {
				t.Errorf("exit %d, wanted %d\n%s%s", r.Code, test.code, r.Stdout, r.Stderr)
			}
			if test.code != clitest.OK && (r.Stdout != "" || !strings.HasPrefix(r.Stderr, "strongroom: ")) {
				t.Errorf("stdout %q, stderr %q", r.Stdout, r.Stderr)
			}
		})
	}
}

func TestAServerThatIsGoneIsUnavailable(t *testing.T) {
	t.Parallel()
	c, s := signedIn(t)
	config := strings.ReplaceAll(string(c.Read("home/config/strongroom/config.toml")), s.URL, "https://127.0.0.1:1")
	c.Write("home/config/strongroom/config.toml", []byte(config))
	if r := c.Run("ls"); r.Code != clitest.Unavailable || !strings.Contains(r.Stderr, "no answer from 127.0.0.1:1") {
		t.Errorf("exit %d: %s", r.Code, r.Stderr)
	}
}

func TestACertificateThatIsNotTrustedIsRefused(t *testing.T) {
	t.Parallel()
	c, s := user(t)
	r := c.RunIn(clienttest.Password, "login", s.URL, "--email", clienttest.Email, "--password-stdin")
	if r.Code != clitest.Failed || !strings.Contains(r.Stderr, "not trusted") || !strings.Contains(r.Stderr, "--ca") {
		t.Errorf("exit %d: %s", r.Code, r.Stderr)
	}
	if len(s.Requests()) > 0 {
		t.Error("the password went to a server that is not trusted")
	}
}

func TestTheServersNamesAreEscapedInEveryFormat(t *testing.T) {
	t.Parallel()
	c, s := signedIn(t)
	id := s.AddFile("=evil\x1b[2J\u009b31m\u202egpj.exe\r", []byte("x"))
	for _, format := range []string{"table", "json", "csv"} {
		out := c.Must("ls", "--files", "--output", format).Stdout
		for _, bad := range []string{"\x1b", "\u009b", "\u202e", "\r"} {
			if strings.Contains(out, bad) {
				t.Errorf("%s prints %q", format, bad)
			}
		}
		switch format {
		case "json":
			var page struct{ Items []client.File }
			if err := json.Unmarshal([]byte(out), &page); err != nil || page.Items[0].Name != "=evil\x1b[2J\u009b31m\u202egpj.exe\r" {
				t.Errorf("JSON lost the name: %v", err)
			}
		case "csv":
			rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
			if err != nil || !strings.HasPrefix(rows[1][5], "'=evil") {
				t.Errorf("CSV: %v, %v", rows, err)
			}
		}
	}
	c.Must("get", id, "-o", ".")
	names, _ := filepath.Glob(filepath.Join(c.Dir, "=evil*"))
	if len(names) != 1 || strings.ContainsAny(filepath.Base(names[0]), "\x1b\r\u009b\u202e") {
		t.Errorf("saved as %q", names)
	}
}

func TestErrorsAreEscapedToo(t *testing.T) {
	t.Parallel()
	c, _ := signedIn(t)
	r := c.Run("put", "no\x1b[2Jfile")
	if r.Code != clitest.Failed || strings.Contains(r.Stderr, "\x1b") || !strings.Contains(r.Stderr, `no\x1b[2Jfile`) {
		t.Errorf("exit %d: %q", r.Code, r.Stderr)
	}
}

func TestBulkRecordsKeepEveryByteAndDigit(t *testing.T) {
	t.Parallel()
	c, s := signedIn(t)
	s.AddCollection("runs")
	var lines []string
	for i := range 12_001 {
		lines = append(lines, fmt.Sprintf(`{"i":%d, "x": 0.1000000000000000000%d}`, i, i))
	}
	r := c.MustIn(strings.Join(lines, "\n"), "put", "--kind", "runs", "-")
	if r.Stdout != "12001 records stored in runs\n" || s.Count() != 12_001 {
		t.Errorf("%d stored: %s", s.Count(), r.Stdout)
	}
	n := 0
	for _, q := range s.Requests() {
		if strings.HasSuffix(q.Path, "records:bulk") {
			n++
		}
	}
	if n != 3 {
		t.Errorf("%d requests", n)
	}
	var refs struct{ Items []client.Ref }
	c.MustIn("["+strings.Join(lines[:2], ",")+"]", "put", "--kind", "runs", "-", "--output", "json").JSON(&refs)
	for i, ref := range refs.Items {
		if s.Content(ref.ID) != lines[i] {
			t.Errorf("stored %q, sent %q", s.Content(ref.ID), lines[i])
		}
	}
	// After a failure it says how to go on, and going on leaves nothing out.
	before := s.Count()
	s.Fail(400)
	if r := c.RunIn(strings.Join(lines[:10], "\n"), "put", "--kind", "runs", "-", "--skip", "4"); r.Code != clitest.Failed || !strings.Contains(r.Stderr, "--skip 4") {
		t.Errorf("exit %d: %s", r.Code, r.Stderr)
	}
	c.MustIn(strings.Join(lines[:10], "\n"), "put", "--kind", "runs", "-", "--skip", "4")
	if s.Count() != before+6 {
		t.Errorf("%d records, wanted %d", s.Count(), before+6)
	}
}

func TestABadRecordIsNamedAndNotShown(t *testing.T) {
	t.Parallel()
	c, s := signedIn(t)
	s.AddCollection("runs")
	for name, test := range map[string]struct{ in, says string }{
		"not JSON":            {`{"a":1} {"secret`, "record 2 of the input"},
		"not an object":       {`{"a":1} ["secret"]`, "record 2 of the input is not a JSON object"},
		"text after an array": {`[{"a":1},{"b":2}] secret`, "not JSON"},
		"nothing":             {" \n ", "no record"},
		"an array of nothing": {"[]", "no record"},
		"a record too large":  {`{"a":"` + strings.Repeat("x", maxRecord+1) + `"}`, "larger than"},
	} {
		r := c.RunIn(test.in, "put", "--kind", "runs", "-")
		if r.Code != clitest.Failed || !strings.Contains(r.Stderr, test.says) || strings.Contains(r.Stderr, "secret") {
			t.Errorf("%s: exit %d: %s", name, r.Code, r.Stderr)
		}
	}
}

func TestManyFilesComeBackByteForByte(t *testing.T) {
	t.Parallel()
	c, s := signedIn(t)
	want := map[string][]byte{}
	for i := range 20 {
		b := make([]byte, i*5000)
		_, _ = rand.Read(b)
		name := fmt.Sprintf("f%02d.tif", i)
		want[name] = b
		c.Write(filepath.Join("in", "deep", name), b)
	}
	var page struct{ Items []client.File }
	c.Must("put", "-r", "in", "--output", "json").JSON(&page)
	if len(page.Items) != 20 || page.Items[0].Name != "f00.tif" || page.Items[19].MediaType != "image/tiff" {
		t.Fatalf("got %+v", page.Items)
	}
	if err := os.Mkdir(filepath.Join(c.Dir, "out"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, f := range page.Items {
		if !bytes.Equal(s.FileContent(f.ID), want[f.Name]) {
			t.Errorf("%s: other bytes were stored", f.Name)
		}
		c.Must("get", f.ID, "-o", "out")
		if !bytes.Equal(c.Read(filepath.Join("out", f.Name)), want[f.Name]) {
			t.Errorf("%s: other bytes came back", f.Name)
		}
	}
	// One that fails does not take the others' ids with it.
	c.Write("bad\xff", nil)
	r := c.Run("put", "in/deep/f01.tif", "bad\xff", "--jobs", "1", "--output", "csv")
	if r.Code != clitest.Failed || !strings.Contains(r.Stdout, "f01.tif") || !strings.Contains(r.Stderr, "1 of 2 files were stored") {
		t.Errorf("exit %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}

func TestADownloadGoesOnInTheNextRun(t *testing.T) {
	t.Parallel()
	c, s := signedIn(t)
	content := make([]byte, 400_000)
	_, _ = rand.Read(content)
	id := s.AddFile("x.tif", content)
	s.CutContents(100_000, 1)
	// The connection breaks and the server is away for longer than one run
	// tries: what has arrived is kept, and the target is not there.
	r := runWhileFailing(c, s, "get", id, "-o", "x.tif")
	if r.Code != clitest.Unavailable || !strings.Contains(r.Stderr, "have arrived and are kept") {
		t.Fatalf("exit %d: %s", r.Code, r.Stderr)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "x.tif")); err == nil {
		t.Error("half a file has the name of the whole")
	}
	parts, _ := filepath.Glob(filepath.Join(c.Dir, ".strongroom-*.part"))
	if len(parts) != 1 {
		t.Fatalf("kept: %v", parts)
	}
	if info, _ := os.Stat(parts[0]); info.Mode().Perm() != 0o600 || info.Size() == 0 {
		t.Errorf("%v, %d bytes", info.Mode(), info.Size())
	}
	r = c.Must("get", id, "-o", "x.tif")
	if !strings.Contains(r.Stderr, "Going on after") || !bytes.Equal(c.Read("x.tif"), content) {
		t.Errorf("it did not go on, or other bytes: %s", r.Stderr)
	}
	if parts, _ := filepath.Glob(filepath.Join(c.Dir, ".strongroom-*.part")); len(parts) != 0 {
		t.Errorf("left behind: %v", parts)
	}
	if r := c.Run("get", id, "-o", "x.tif"); r.Code != clitest.Failed || !strings.Contains(r.Stderr, "--force") {
		t.Errorf("it wrote over a file: exit %d", r.Code)
	}
}

// runWhileFailing runs a command whose server serves one content and is then
// unavailable.
func runWhileFailing(c *clitest.CLI, s *clienttest.Server, args ...string) clitest.Result {
	s.FailAfter(1, 503, 503, 503, 503)
	return c.Run(args...)
}

func TestAChangedFileIsDownloadedAfresh(t *testing.T) {
	t.Parallel()
	c, s := signedIn(t)
	id := s.AddFile("x", bytes.Repeat([]byte("a"), 400_000))
	s.CutContents(100_000, 1)
	if r := runWhileFailing(c, s, "get", id, "-o", "x"); r.Code != clitest.Unavailable {
		t.Fatalf("exit %d: %s", r.Code, r.Stderr)
	}
	s.ReplaceFile(id, bytes.Repeat([]byte("b"), 300_000))
	c.Must("get", id, "-o", "x")
	if got := c.Read("x"); len(got) != 300_000 || bytes.ContainsRune(got, 'a') {
		t.Errorf("%d bytes, of two versions", len(got))
	}
}

func TestAPlantedPartIsNotUsed(t *testing.T) {
	t.Parallel()
	c, s := signedIn(t)
	id := s.AddFile("x", []byte("0123456789"))
	part := c.Write(".strongroom-"+id+"-v1.part", []byte("evil"))
	if err := os.Chmod(part, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := c.Run("get", id, "-o", "x"); r.Code != clitest.Failed || !strings.Contains(r.Stderr, "not a private file") {
		t.Errorf("exit %d: %s", r.Code, r.Stderr)
	}
	if err := os.Remove(part); err != nil {
		t.Fatal(err)
	}
	victim := c.Write("victim", []byte("precious"))
	if err := os.Symlink(victim, part); err != nil {
		t.Fatal(err)
	}
	if r := c.Run("get", id, "-o", "x"); r.Code == clitest.OK || string(c.Read("victim")) != "precious" {
		t.Errorf("exit %d: it wrote through a link", r.Code)
	}
}

func TestAnExportThatDoesNotMatchItsManifestIsNotKept(t *testing.T) {
	t.Parallel()
	c, s := signedIn(t)
	s.AddFile("a", []byte("first"))
	c.Must("export", "--all", "-o", "good.zip")
	z, err := zip.OpenReader(filepath.Join(c.Dir, "good.zip"))
	if err != nil || len(z.File) != 2 {
		t.Fatalf("%v", err)
	}
	_ = z.Close()
	s.Damage = func(m map[string]any) {
		m["entries"].([]any)[0].(map[string]any)["sha256"] = strings.Repeat("0", 64)
	}
	if r := c.Run("export", "--all", "-o", "bad.zip"); r.Code != clitest.Failed || !strings.Contains(r.Stderr, "hash") {
		t.Errorf("exit %d: %s", r.Code, r.Stderr)
	}
	if left, _ := filepath.Glob(filepath.Join(c.Dir, "*bad*")); len(left) != 0 {
		t.Errorf("kept: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(c.Dir, ".strongroom*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestCtrlCEndsCleanly(t *testing.T) {
	t.Parallel()
	c, s := signedIn(t)
	s.AddCollection("runs")
	cmd, cancel := c.Command("put", "--kind", "runs", "-")
	defer cancel()
	in, err := cmd.StdinPipe() // stays open: the command waits for more
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write([]byte(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	begun := time.Now()
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != clitest.Failed || time.Since(begun) > 10*time.Second {
		t.Errorf("exit %d after %v", code, time.Since(begun))
	}
	if got := stderr.String(); !strings.Contains(got, "interrupted") || strings.Contains(got, "goroutine") {
		t.Errorf("it says %q", got)
	}
	if s.Count() != 0 {
		t.Errorf("%d records of an input that never ended", s.Count())
	}
}

func TestAServerCommandRegistersItself(t *testing.T) { // not parallel: it changes the one list
	before := serverCommands
	defer func() { serverCommands = before }()
	serverCommands = append(serverCommands, func() *cobra.Command {
		return &cobra.Command{Use: "up-for-test", Short: "x", RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(cmd.OutOrStdout(), "ready")
			return nil
		}}
	})
	var out, err bytes.Buffer
	if code := run(t.Context(), []string{"up-for-test"}, environ{in: strings.NewReader(""), out: &out, err: &err, getenv: os.Getenv}); code != exitOK || out.String() != "ready\n" {
		t.Errorf("exit %d: %q %q", code, out.String(), err.String())
	}
	if code := run(t.Context(), []string{"up-for-test", "--fly"}, environ{in: strings.NewReader(""), out: &out, err: &err, getenv: os.Getenv}); code != exitUsage {
		t.Errorf("exit %d", code)
	}
}

func TestRangesOfTheCommandLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]client.Range{"": {}, "0-0": {Length: 1}, "5-": {Offset: 5}, "-5": {Offset: -5}, "2-4": {Offset: 2, Length: 3}} {
		if got, err := parseRange(in); err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"x", "-", "4-2", "-0", "1-2-3", "+1-2", " 1-2", "99999999999999999999-"} {
		if _, err := parseRange(in); err == nil {
			t.Errorf("%q was accepted", in)
		}
	}
}

func TestExpiries(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if got, err := expiry("90d", now); err != nil || !got.Equal(now.AddDate(0, 0, 90)) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := expiry("2030-01-31T00:00:00Z", now); err != nil || got.Year() != 2030 {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{"", "d", "0d", "-1d", "90", "never", "tomorrow"} {
		if _, err := expiry(s, now); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}
