package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func write(t *testing.T, content string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, FileName), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestWithoutAFileTheDefaultsHold(t *testing.T) {
	t.Parallel()
	c, err := Load(t.TempDir(), []string{"PATH=/bin", "HOME=/"})
	if err != nil || !reflect.DeepEqual(c, Default()) {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestTheEnvironmentOverridesTheFile(t *testing.T) {
	t.Parallel()
	dir := write(t, `
listen = "0.0.0.0:443"
log_level = "warn"
names = ["a.example"]
[postgres.settings]
shared_buffers = "1GB"
work_mem = "8MB"
`)
	c, err := Load(dir, []string{"STRONGROOM_LISTEN=[::1]:9443", "STRONGROOM_NAMES=b.example, c.example", "STRONGROOM_POSTGRES_SETTINGS_WORK_MEM=16MB",
		"STRONGROOM_POSTGRES_BINARIES=/usr/bin", "STRONGROOM_TEST_PG=x", "STRONGROOM_ORG=x"})
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Listen, want.LogLevel, want.Names = "[::1]:9443", "warn", []string{"b.example", "c.example"}
	want.Postgres.Binaries = "/usr/bin"
	want.Postgres.Settings = map[string]string{"shared_buffers": "1GB", "work_mem": "16MB"}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, want %+v", c, want)
	}
}

func TestWhatIsWrongRefusesToStartAndIsNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, env, want string }{
		"an unknown key":            {file: `listten = "x:1"`, want: "there is no setting listten; did you mean listen?"},
		"an unknown key in a table": {file: "[tls]\ncertificat = \"x\"", want: "there is no setting tls.certificat; did you mean tls.certificate?"},
		"an unknown table":          {file: "[database]\nhost = \"x\"", want: "there is no setting database"},
		"an unknown variable":       {env: "STRONGROOM_LOGLEVEL=debug", want: "STRONGROOM_LOGLEVEL, and there is no such setting; did you mean STRONGROOM_LOG_LEVEL?"},
		"a far-off variable":        {env: "STRONGROOM_XYZZY=1", want: "the settings are STRONGROOM_ACME_ACCEPT_TERMS"},
		"a wrong type":              {file: `listen = 8443`, want: "listen"},
		"a syntax error":            {file: "listen = \"x:1\"\nname = hunter2", want: "line 2"},
		"a key twice":               {file: "listen = \"x:1\"\nlisten = \"x:2\"", want: "line 2"},
		"an address without a port": {file: `listen = "localhost"`, want: "listen: must be HOST:PORT"},
		"a port by name":            {env: "STRONGROOM_LISTEN=localhost:https", want: "listen: the port must be a number"},
		"a port out of range":       {env: "STRONGROOM_LISTEN=localhost:65536", want: "listen: the port must be a number"},
		"one address for both":      {file: `redirect = "127.0.0.1:8443"`, want: "redirect: must differ from listen"},
		"half a certificate":        {file: "[tls]\nkey = \"/dev/null\"", want: "tls.certificate and tls.key: set both or neither"},
		"a missing file":            {file: "[tls]\nkey = \"/nowhere\"\ncertificate = \"/dev/null\"", want: "tls.key: stat /nowhere"},
		"a relative path":           {file: "[postgres]\nbinaries = \"bin\"", want: "postgres.binaries: must be an absolute path"},
		"an address in clear":       {file: `url = "http://room.example"`, want: "url: must be an https URL"},
		"an address with a path":    {file: `url = "https://room.example/x"`, want: "url: must be https://HOST"},
		"ACME and its own":          {file: "names = [\"a.example\"]\n[tls]\ncertificate = \"/dev/null\"\nkey = \"/dev/null\"\n[acme]\naccept_terms = true\ndirectory = \"https://a.example/d\"", want: "set one of them"},
		"ACME without a word":       {file: "names = [\"a.example\"]\n[acme]\ndirectory = \"https://a.example/d\"", want: "acme.accept_terms: must be true"},
		"ACME without a name":       {file: "names = [\"10.0.0.1\", \"*.a.example\"]\n[acme]\naccept_terms = true\ndirectory = \"https://a.example/d\"", want: "names: must hold a DNS name"},
		"ACME in clear":             {file: "[acme]\ndirectory = \"http://a.example/d\"", want: "acme.directory: must be an https URL"},
		"mail without TLS":          {file: "[mail]\ntls = \"none\"", want: "mail.tls: must be starttls or implicit"},
		"mail from nobody":          {file: "[mail]\nsmtp = \"mail.example:587\"", want: "mail.from: must be set"},
		"mail from two":             {file: "[mail]\nfrom = \"a@b.example\\r\\nBcc: c@d.example\"", want: "mail.from: must be an e-mail address"},
		"half a sign-in":            {file: "[mail]\nuser = \"u\"", want: "mail.user and mail.password_file: set both or neither"},
		"an alarm to no address":    {file: "[alarms]\nmail = [\"ops\"]", want: "alarms.mail: must be an e-mail address"},
		"a webhook in clear":        {file: "[alarms]\nwebhook = \"http://a.example/hunter2\"", want: "alarms.webhook: must be an https URL"},
		"a webhook with a sign-in":  {file: "[alarms]\nwebhook = \"https://u:hunter2@a.example\"", want: "alarms.webhook: must be an https URL"},
		"a webhook unsigned":        {file: "[alarms]\nwebhook = \"https://a.example/x\"", want: "alarms.webhook and alarms.webhook_secret_file"},
		"alarms all the time":       {file: "[alarms]\nagain = \"1s\"", want: "alarms.again: must be a duration"},
		"metrics for everybody":     {file: "[metrics]\nlisten = \"0.0.0.0:9464\"", want: "metrics.listen: must be a loopback address"},
		"a log level":               {env: "STRONGROOM_LOG_LEVEL=loud", want: "log_level: must be debug, info, warn or error"},
		"a map without a name":      {env: "STRONGROOM_POSTGRES_SETTINGS=x", want: "STRONGROOM_POSTGRES_SETTINGS, and there is no such setting"},
	} {
		env := []string{}
		if c.env != "" {
			env = append(env, c.env)
		}
		_, err := Load(write(t, c.file), env)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error repeats a value: %v", name, err)
		}
	}
}

func TestAFileThatOthersCanWriteToIsRefused(t *testing.T) {
	t.Parallel()
	dir := write(t, "")
	if err := os.Chmod(filepath.Join(dir, FileName), 0o646); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, nil); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("got %v", err)
	}
}

func TestEverySettingHasAKindThatTheEnvironmentCanSet(t *testing.T) {
	t.Parallel()
	c := Default()
	for _, s := range c.settings() {
		if s.Key == "" || strings.HasSuffix(s.Key, ".") || s.Doc == "" {
			t.Errorf("%+v: a setting needs its toml and doc tags", s)
		}
		if s.value.Kind() == reflect.Map {
			if s.value.Type() != reflect.TypeFor[map[string]string]() {
				t.Errorf("%s: a map of strings is all that variables can fill", s.Key)
			}
			continue
		}
		if s.value.Kind() == reflect.Slice && s.value.Type() != reflect.TypeFor[[]string]() {
			t.Errorf("%s: a list of strings is all that variables can fill", s.Key)
		}
		if err := set(s.value, "1"); err != nil {
			t.Errorf("%s: %v", s.Key, err)
		}
	}
}
