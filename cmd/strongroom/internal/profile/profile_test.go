package profile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom/client"
)

func TestAProfileComesBackAsItWas(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "strongroom", "config.toml")
	f, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	f.Put("work", &Profile{URL: "https://x", CA: "-----BEGIN\nEND-----\n", Token: client.NewSecret("sr_ses_1"), Email: "a@b", ExpiresAt: at, Org: "org_1"})
	f.Put("other", &Profile{URL: "https://y"})
	f.Current = "work"
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	name, p := got.Get("")
	if name != "work" || p.URL != "https://x" || p.Token.Reveal() != "sr_ses_1" || !p.ExpiresAt.Equal(at) || p.Org != "org_1" || !strings.Contains(p.CA, "\n") {
		t.Errorf("got %s: %+v", name, p)
	}
	if _, p := got.Get("other"); p.URL != "https://y" || !p.Token.IsZero() {
		t.Errorf("got %+v", p)
	}
	if name, p := got.Get("new"); name != "new" || p.URL != "" {
		t.Errorf("a new profile is %s: %+v", name, p)
	}
}

func TestTheFileIsForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "strongroom", "config.toml")
	f, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Put("default", &Profile{Token: client.NewSecret("sr_ses_1")})
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", p, info.Mode(), err)
		}
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o660, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || strings.Contains(err.Error(), "sr_ses_1") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".config*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestABadFileIsRefusedWithoutShowingIt(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a number out of range": "[profiles.x]\ntoken = 11112222333344445555666\n",
		"not TOML":              "[profiles.x]\ntoken = sr_ses_hidden\n", "an unknown key": "[profiles.x]\ntoken = \"sr_ses_hidden\"\nfoo = 1\n", "a wrong type": "[profiles.x]\ntoken = [\"sr_ses_hidden\"]\n",
	} {
		path := filepath.Join(t.TempDir(), "c.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "1111") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestALinkToTheFileIsKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real.toml"), filepath.Join(dir, "link.toml")
	if err := os.WriteFile(real, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	f, err := Load(link)
	if err != nil {
		t.Fatal(err)
	}
	f.Put("x", &Profile{URL: "https://x"})
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info.Mode(), err)
	}
	if b, _ := os.ReadFile(real); !strings.Contains(string(b), "https://x") {
		t.Error("the file it leads to was not written")
	}
}

func TestTheFileIsWhereXDGSays(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ xdg, home, want string }{
		{"/x", "/h", "/x/strongroom/config.toml"}, {"", "/h", "/h/.config/strongroom/config.toml"}, {"relative", "/h", "/h/.config/strongroom/config.toml"}, {"", "", ""},
	} {
		got, err := Path(func(k string) string { return map[string]string{"XDG_CONFIG_HOME": test.xdg, "HOME": test.home}[k] })
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%+v: %s, %v", test, got, err)
		}
	}
}
