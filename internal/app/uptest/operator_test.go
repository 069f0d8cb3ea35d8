package uptest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"strongroom/client"
)

// run runs one of the operator's commands.
func run(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	cmd := exec.Command(binary, args...)
	var stderr lines
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(b), stderr.String(), cmd.ProcessState.ExitCode()
}

func (i *installation) settings(t *testing.T, text string) {
	t.Helper()
	if err := os.MkdirAll(i.dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(i.dir, "strongroom.toml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// status asks for how the installation stands, as a program does.
func (i *installation) status(t *testing.T) (s struct {
	Ready  bool `json:"ready"`
	SetUp  bool `json:"set_up"`
	Alarms []struct {
		Name string `json:"name"`
		Text string `json:"text"`
	} `json:"alarms"`
	Services []struct {
		Name  string `json:"name"`
		State string `json:"state"`
	} `json:"services"`
}, code int) {
	t.Helper()
	out, errs, code := run(t, "status", "--data", i.dir, "--output", "json")
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("status: %v: %q %q", err, out, errs)
	}
	return s, code
}

func eventually(t *testing.T, within time.Duration, what string, do func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !do(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("within %v: not %s", within, what)
		}
	}
}

// TestAnOperatorStartsARealInstallation goes the way that docs/operations.md
// describes, without a demo: the link, the set-up, another organization,
// numbers, an alarm and its end.
func TestAnOperatorStartsARealInstallation(t *testing.T) {
	dir, listen, numbers := folder(t), freePort(t), freePort(t)
	i := &installation{dir: dir}
	i.settings(t, fmt.Sprintf("url = \"https://room.example\"\n[alarms]\nmail = [\"ops@lab.example\"]\n[metrics]\nlisten = %q\n", numbers))
	i = up(t, dir, listen)

	// The link stands in the log and in a file, once, and leads to the address
	// that people use.
	var link []string
	eventually(t, 10*time.Second, "a link in the log", func() bool {
		link = regexp.MustCompile(`link=(https://room\.example/setup#[a-z2-7-]{35})\b`).FindStringSubmatch(i.log.String())
		return link != nil
	})
	if b, err := os.ReadFile(filepath.Join(dir, "setup-link.txt")); err != nil || strings.TrimSpace(string(b)) != link[1] {
		t.Errorf("the file has %q, %v", b, err)
	}
	if out, _, code := run(t, "status", "--data", dir); code != 0 || !strings.Contains(out, "waits for its first administrator") || !strings.Contains(out, "Grade        demo") {
		t.Errorf("status, %d:\n%s", code, out)
	}
	newer, _, code := run(t, "setup-link", "--data", dir)
	if code != 0 || strings.TrimSpace(newer) == link[1] || !strings.HasPrefix(newer, "https://room.example/setup#") {
		t.Fatalf("setup-link: %d %q", code, newer)
	}
	anon := i.anonymous(t)
	first := client.FirstStart{Name: "Ada", Email: "ada@lab.example", Password: client.NewSecret("a sentence that nobody knows"),
		Organization: client.NewOrganization{Name: "Thin films"}, Acknowledged: true}
	for _, l := range []string{link[1], "https://room.example/setup#aaaaaaaa-aaaaaaaa-aaaaaaaa-aaaaaaaa"} {
		_, code, _ := strings.Cut(l, "#")
		first.Code = client.NewSecret(code)
		if _, err := anon.SetUp(t.Context(), first); client.Status(err) != http.StatusForbidden {
			t.Errorf("an old or wrong code: %v", err)
		}
	}
	_, fresh, _ := strings.Cut(strings.TrimSpace(newer), "#")
	first.Code = client.NewSecret(fresh)
	if _, err := anon.SetUp(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if _, err := anon.SetUp(t.Context(), first); client.Status(err) != http.StatusConflict {
		t.Errorf("a second time: %v", err)
	}
	if _, errs, code := run(t, "setup-link", "--data", dir); code == 0 || !strings.Contains(errs, "set up already") {
		t.Errorf("another link: %d %q", code, errs)
	}
	if _, errs, code := run(t, "setup", "--data", dir, "--guardians-understood", "--name", "x", "--email", "x@lab.example", "--org", "x", "--password-file", secretFile(t)); code == 0 || !strings.Contains(errs, "set up already") {
		t.Errorf("another set-up: %d %q", code, errs)
	}
	ada, _ := i.client(t, first.Email, first.Password)

	// Another organization by the operator's own hand; its owner signs in with
	// the password that was printed.
	canary := "organization with a very special name"
	out, errs, code := run(t, "org", "create", "--data", dir, "--name", canary, "--plan", "pilot", "--placement", "pooled", "--owner-email", "grace@team.example", "--owner-name", "Grace", "--output", "json")
	password := regexp.MustCompile(`shown this once: (\S+)`).FindStringSubmatch(errs)
	if code != 0 || password == nil || !strings.Contains(out, canary) || strings.Contains(out, password[1]) {
		t.Fatalf("org create: %d %q %q", code, out, errs)
	}
	grace, org := i.client(t, "grace@team.example", client.NewSecret(password[1]))
	if _, err := grace.CreateCollection(t.Context(), org, client.NewCollection{Kind: "special_kind"}); err != nil {
		t.Fatal(err)
	}

	// The numbers: over the loopback address, by address alone, without a word
	// of anybody's.
	text := fetch(t, "http://"+numbers+"/metrics", "")
	for _, want := range []string{`strongroom_requests_total{class="2xx",operation="run-setup"} 1`, `strongroom_requests_total{class="4xx",operation="run-setup"} 3`, "strongroom_ready 1",
		`strongroom_keys_state{state="ok"} 1`, "strongroom_guardians_answering 2", "strongroom_zones_whole 2", "strongroom_spare_schemas", "process_open_fds", "strongroom_build_info"} {
		if !strings.Contains(text, want) {
			t.Errorf("the numbers lack %s", want)
		}
	}
	for _, never := range []string{canary, "Thin films", "grace", "ada@", "Grace", "special_kind", org, strings.TrimPrefix(org, "org_"), "w_", "room.example", fresh, dir} {
		if strings.Contains(text, never) {
			t.Errorf("the numbers hold %q", never)
		}
	}
	before := strings.Count(text, "\n")
	for n := range 30 {
		_, _ = grace.Record(t.Context(), org, fmt.Sprintf("kind%d", n), "rec_00000000000000000000000000")
		_, _ = grace.Organization(t.Context(), fmt.Sprintf("org_made_up_%d", n))
	}
	time.Sleep(5100 * time.Millisecond) // longer than what was seen is shown again
	if after := strings.Count(fetch(t, "http://"+numbers+"/metrics", ""), "\n"); after > before+10 {
		t.Errorf("30 made-up names made %d series", after-before)
	}
	if got := fetch(t, "http://"+numbers+"/metrics", "evil.example"); strings.Contains(got, "strongroom_") {
		t.Error("a name that was led here reads the numbers")
	}

	// No process leaves its memory on a disk.
	found, _, code := run(t, "doctor", "--data", dir)
	if code != 0 || !strings.Contains(found, "no process of this installation writes any") || !strings.Contains(found, "on one disk") {
		t.Errorf("doctor, %d:\n%s", code, found)
	}
	for name, pid := range i.below() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
		if err != nil || !regexp.MustCompile(`Max core file size\s+[01]\s+[01]\s`).Match(b) {
			t.Errorf("%s may write a core file: %v\n%s", name, err, b)
		}
	}

	// The server hangs: the status says so all the same, people are told by
	// mail, and told again when it is over.
	if s, code := i.status(t); !s.Ready || !s.SetUp || code != 0 || len(s.Alarms) != 0 || len(s.Services) != 5 {
		t.Errorf("status: %d %+v", code, s)
	}
	server := i.below()["serve"]
	if err := syscall.Kill(server, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resumed := false
	resume := func() {
		if !resumed {
			resumed = true
			_ = syscall.Kill(server, syscall.SIGCONT)
		}
	}
	defer resume()
	eventually(t, 100*time.Second, "told by mail that the server does not answer", func() bool {
		return slices.ContainsFunc(outbox(dir), func(m string) bool { return strings.Contains(m, "ALARM: ready") })
	})
	s, code := i.status(t)
	if s.Ready || code != 5 || len(s.Alarms) != 1 || s.Alarms[0].Name != "ready" || len(s.Services) != 5 {
		t.Errorf("status while the server hangs: %d %+v", code, s)
	}
	resume()
	eventually(t, 100*time.Second, "told by mail that it is over", func() bool {
		return slices.ContainsFunc(outbox(dir), func(m string) bool { return strings.Contains(m, "resolved: ready") })
	})
	told := outbox(dir)
	for _, m := range told {
		if !strings.Contains(m, ": ready") {
			t.Errorf("a mail about something else:\n%s", m)
		}
	}
	if len(told) != 2 {
		t.Errorf("%d mails", len(told))
	}
	if _, err := ada.Status(t.Context()); err != nil {
		t.Error(err)
	}
	for _, m := range outbox(dir) {
		for _, never := range []string{canary, "Thin films", "grace", org} {
			if strings.Contains(m, never) {
				t.Errorf("a mail holds %q", never)
			}
		}
	}
	if out, _, code := run(t, "mail", "test", "--data", dir, "--to", "ops@lab.example"); code != 0 || !strings.Contains(out, "sent") || len(outbox(dir)) != 3 {
		t.Errorf("mail test: %d %q, %d mails", code, out, len(outbox(dir)))
	}
	if out, _, code := run(t, "alarm", "test", "--data", dir); code != 0 || !strings.Contains(out, "mail") || len(outbox(dir)) != 4 {
		t.Errorf("alarm test: %d %q, %d mails", code, out, len(outbox(dir)))
	}
	// A restart says nothing about a set-up any more.
	i.stop(t)
	if _, _, code := run(t, "status", "--data", dir); code != 5 {
		t.Errorf("status of what does not run: %d", code)
	}
	j := up(t, dir, listen)
	if strings.Contains(j.log.String(), "setup#") {
		t.Error("a new link was made for an installation that is set up")
	}
	j.client(t, first.Email, first.Password)
}

func TestAHeadlessMachineIsSetUpByItsOwnSocket(t *testing.T) {
	dir := folder(t)
	i := up(t, dir, freePort(t))
	args := []string{"setup", "--data", dir, "--name", "Ada", "--email", "ada@lab.example", "--org", "Lab", "--password-file", secretFile(t)}
	if _, errs, code := run(t, args...); code != 2 || !strings.Contains(errs, filepath.Join(dir, "guardians", "a")) {
		t.Errorf("without a word on the guardians: %d %q", code, errs)
	}
	out, errs, code := run(t, append(args, "--guardians-understood")...)
	if code != 0 || !strings.Contains(out, "Lab") || !strings.Contains(errs, "no escrow") {
		t.Fatalf("setup: %d %q %q", code, out, errs)
	}
	i.client(t, "ada@lab.example", client.NewSecret("a sentence that nobody knows"))
}

func secretFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte("a sentence that nobody knows\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func outbox(dir string) (all []string) {
	files, _ := filepath.Glob(filepath.Join(dir, "outbox", "*.eml"))
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil {
			all = append(all, string(b))
		}
	}
	return all
}

func fetch(t *testing.T, url, host string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (i *installation) anonymous(t *testing.T) *client.Client {
	t.Helper()
	ca, err := os.ReadFile(filepath.Join(i.dir, "tls", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Options{URL: i.url, CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
