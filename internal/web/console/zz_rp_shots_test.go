package console_test

import (
	"os"
	"path/filepath"
	"testing"

	"strongroom/internal/testkit/browser"
)

func TestZZRecordShots(t *testing.T) {
	dir := os.Getenv("RP_SHOTS")
	if dir == "" {
		t.Skip("no")
	}
	w := newWorld(t)
	b := browser.Start(t, w.S.URL)
	p := b.Person(t)
	p.SignIn(w.Ada.Email, w.Ada.Password.Reveal())
	org := "/o/" + w.Org.ID
	for name, path := range map[string]string{"list": org + "/c/sample", "record": org + "/c/sample/" + w.Sheet["sample"], "edit": org + "/c/sample/" + w.Sheet["sample"] + "/edit",
		"new": org + "/c/measurement/new?link=sample:" + w.Sheet["sample"], "link": org + "/c/sample/" + w.Sheet["sample"] + "/link?relation=related", "files": org + "/files", "file": org + "/files/" + w.Sheet["frame"],
		"trash": org + "/trash", "export": org + "/export", "json": org + "/c/sample/" + w.Sheet["sample"] + "/json"} {
		if got := p.Go(path); got != 200 {
			t.Errorf("%s: %d", path, got)
		}
		for _, look := range []struct {
			n    string
			w, h int64
			dark bool
		}{{"wide", 1280, 900, false}, {"phone", 360, 740, true}} {
			p.Screen(look.w, look.h, look.dark)
			for _, e := range append(p.Axe(), p.Wider()...) {
				t.Errorf("%s %s: %s", name, look.n, e)
			}
			if err := os.WriteFile(filepath.Join(dir, name+"."+look.n+".png"), p.Shot(true), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, e := range p.Unreached() {
			t.Errorf("%s: Tab does not come by %q", name, e)
		}
		for _, tr := range p.Troubles() {
			t.Errorf("%s: %s", name, tr)
		}
	}
}
