package doctor

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom/internal/app/tlsca"
)

func about(found []Finding, check string) (state State, text string) {
	for _, f := range found {
		if f.Check == check {
			if f.State == Failed || state == "" || state == OK {
				state = f.State
			}
			text += f.Text + " → " + f.Remedy + "\n"
		}
	}
	return state, text
}

// place makes a data directory as an installation leaves it.
func place(t *testing.T, settings string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	for _, d := range []string{"", "keys", "keys/zone-a", "keys/zone-b", "guardians", "guardians/a", "guardians/b", "objects", "postgres", "outbox", "tls"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "VERSION"), []byte("1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "strongroom.toml"), []byte("listen = \"127.0.0.1:0\"\n"+settings), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tlsca.Ensure(tlsca.Options{Dir: filepath.Join(dir, "tls")}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestEachThingThatIsWrongIsFoundWithWhatToDo(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() }) // after the cases, which run at the same time
	open := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(open, []byte(strings.Repeat("s", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		settings string
		spoil    func(t *testing.T, dir string)
		now      time.Time
		check    string
		state    State
		says     string
	}{
		"an unknown setting":                    {settings: "listten = \"x\"\n", check: "settings", state: Failed, says: "did you mean listen"},
		"a sound place":                         {check: "data directory", state: OK},
		"closed stores":                         {check: "permissions", state: OK},
		"a key that others read":                {spoil: chmod("tls/ca.key", 0o644), check: "permissions", state: Failed, says: "ca.key"},
		"a guardian that others enter":          {spoil: chmod("guardians/b", 0o750), check: "permissions", state: Failed, says: "guardians/b"},
		"settings that others write":            {spoil: chmod("strongroom.toml", 0o622), check: "settings", state: Failed, says: "chmod go-w"},
		"a newer format":                        {spoil: write("VERSION", "9"), check: "data directory", state: Failed, says: "newer version"},
		"a format that is none":                 {spoil: write("VERSION", "x"), check: "data directory", state: Failed, says: "VERSION"},
		"a taken address":                       {settings: "redirect = \"" + taken.Addr().String() + "\"\n", check: "redirect", state: Failed, says: "taken by another program"},
		"PostgreSQL where there is none":        {settings: "[postgres]\nbinaries = \"/usr/share\"\n", check: "PostgreSQL", state: Failed, says: "install PostgreSQL"},
		"a cluster of a version that is gone":   {spoil: write("postgres/PG_VERSION", "9\n"), check: "PostgreSQL", state: Failed, says: "install PostgreSQL 9"},
		"a certificate near its end":            {now: time.Now().Add(80 * 24 * time.Hour), check: "certificate", state: Warning, says: "ends at"},
		"a certificate past it":                 {now: time.Now().Add(100 * 24 * time.Hour), check: "certificate", state: Failed, says: "renew"},
		"a certificate without its key":         {spoil: write("tls/server.key", "nothing"), check: "certificate", state: Failed, says: "no pair"},
		"a clock before the data":               {now: time.Now().Add(-48 * time.Hour), check: "clock", state: Failed, says: "set the clock"},
		"a clock years back":                    {now: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), check: "clock", state: Failed, says: "set the clock"},
		"both guardians on one disk":            {check: "guardians", state: Warning, says: "no escrow"},
		"both zones on one disk":                {check: "zones", state: Warning, says: "demo grade"},
		"alarms that go nowhere":                {check: "alarms", state: Warning, says: "nowhere"},
		"alarms into files":                     {settings: "[alarms]\nmail = [\"a@b.example\"]\n", check: "alarms", state: Warning, says: "outbox/"},
		"a secret that others read":             {settings: fmt.Sprintf("[alarms]\nwebhook = \"https://a.example/x\"\nwebhook_secret_file = %q\n", open), check: "alarms.webhook_secret_file", state: Failed, says: "chmod o-rwx"},
		"a place that nothing is in yet":        {spoil: remove, check: "data directory", state: OK, says: "does not exist yet"},
		"nothing that runs":                     {check: "running", state: OK, says: "nothing runs"},
		"room on the disk, of whatever is left": {check: "disk", state: "", says: " free"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := place(t, c.settings)
			if c.spoil != nil {
				c.spoil(t, dir)
			}
			p := Patient{Dir: dir}
			if !c.now.IsZero() {
				p.Now = func() time.Time { return c.now }
			}
			found := Examine(t.Context(), p)
			state, text := about(found, c.check)
			if c.state != "" && state != c.state || !strings.Contains(text, c.says) || text == "" {
				t.Errorf("%s is %q: %s\nwant %q with %q", c.check, state, text, c.state, c.says)
			}
			for _, f := range found {
				if f.State != OK && f.Remedy == "" {
					t.Errorf("%s: %s: no word on what to do", f.Check, f.Text)
				}
				if strings.Contains(f.Text+f.Remedy, "\n") || strings.Contains(f.Text, "ssss") {
					t.Errorf("%s: %q", f.Check, f.Text)
				}
			}
		})
	}
}

func chmod(name string, mode os.FileMode) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
}

func write(name, content string) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func remove(t *testing.T, dir string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
}

func TestNothingIsChanged(t *testing.T) {
	t.Parallel()
	dir := place(t, "")
	list := func() string {
		var b strings.Builder
		_ = filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
			if err == nil {
				fmt.Fprintln(&b, p, info.Mode(), info.Size(), info.ModTime())
			}
			return err
		})
		return b.String()
	}
	before := list()
	Examine(t.Context(), Patient{Dir: dir})
	if after := list(); after != before {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
}
