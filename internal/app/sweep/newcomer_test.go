package sweep_test

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"strongroom/cmd/strongroom/clitest"
	"strongroom/internal/app"
)

// accounts reads who can sign in to the demo, as a newcomer does, and the
// command that shows how.
func (i *installation) accounts(t testing.TB) (passwords map[string]string, example []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(i.layout.Path(), app.DemoFile))
	if err != nil {
		t.Fatal(err)
	}
	passwords = map[string]string{}
	for line := range strings.Lines(string(b)) {
		words := strings.Fields(line)
		switch {
		case len(words) > 2 && words[0] == "bin/strongroom":
			example = words[1:]
		case len(words) > 2 && strings.HasPrefix(line, "  ") && strings.Contains(words[0], "@"):
			passwords[words[0]] = words[1]
		}
	}
	if example == nil || len(passwords) < 9 {
		t.Fatalf("the sheet of the demo shows %d accounts and the example %q", len(passwords), example)
	}
	return passwords, example
}

// ends fails the test where a command does not end with a code, or says
// nothing of use.
func (u user) ends(t testing.TB, code int, says string, args ...string) {
	t.Helper()
	r := u.Run(args...)
	if r.Code != code || !regexp.MustCompile(says).MatchString(r.Stderr) {
		t.Errorf("strongroom %s ends with %d and says %q; want %d and /%s/", strings.Join(args, " "), r.Code, r.Stderr, code, says)
	}
}

func TestANewcomersWayThroughTheCommandLine(t *testing.T) {
	t.Parallel()
	i := install(t, "", "--demo")
	passwords, example := i.accounts(t)
	sign := func(email string) user { t.Helper(); return i.person(t, email, passwords[email]) }
	data := func(path string) (string, []byte) {
		t.Helper()
		path, err := filepath.Abs(filepath.Join("../demo/data", path))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return path, b
	}
	stdout := func(r clitest.Result, wants ...string) {
		t.Helper()
		for _, want := range wants {
			if !strings.Contains(r.Stdout, want) {
				t.Errorf("strongroom %s does not print %q:\n%s", strings.Join(r.Args, " "), want, r.Stdout)
			}
		}
	}

	// Sign in, as the sheet says, and look around.
	hanna := user{clitest.New(t, program(t)), "hanna@lab.example", passwords["hanna@lab.example"]}
	hanna.ends(t, clitest.Denied, "not signed in: run .strongroom login", "ls")
	hanna.MustIn(hanna.password+"\n", append(example, "--password-stdin")...)
	stdout(hanna.Must("whoami"), "Hanna Berg <hanna@lab.example>", "Materials lab", i.url)
	stdout(hanna.Must("orgs", "list"), "Materials lab", "schema")
	stdout(hanna.Must("ls"), "measurement", "Measurements")
	stdout(hanna.Must("ls", "--files", "--all"), "rheed_frame_000.tif")
	stdout(hanna.Must("ls", "measurement", "--all", "--output", "csv"), "RHEED")
	stdout(hanna.Must("members", "list"), "jonas@lab.example", "scientist")

	// A RHEED frame, in and out.
	frame, bytes := data("materials/rheed/rheed_frame_000.tif")
	file := hanna.Must("put", frame, "--output", "json").Items()[0]["id"].(string)
	hanna.Must("get", file, "-o", "frame.tif")
	if sha256.Sum256(hanna.Read("frame.tif")) != sha256.Sum256(bytes) {
		t.Error("the frame came back changed")
	}
	hanna.ends(t, clitest.Failed, "exists: give --force", "get", file, "-o", "frame.tif")

	// A record: made, linked, changed, deleted, restored.
	hanna.Write("note.schema.json", []byte(`{"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}, "dose": {"type": "number"}}}`))
	hanna.Must("collections", "create", "note", "--title", "Notes", "--schema", "note.schema.json")
	hanna.ends(t, clitest.Failed, "conflict", "collections", "create", "note")
	hanna.Write("note.json", []byte(`{"text": "the first", "dose": 1.50}`))
	hanna.Write("changed.json", []byte(`{"text": "the second", "dose": 0.1000}`))
	hanna.Write("wrong.json", []byte(`{"text": 7}`))
	note := hanna.Must("put", "--kind", "note", "note.json", "--output", "json").Items()[0]["id"].(string)
	hanna.ends(t, clitest.Failed, "/content/text", "put", "--kind", "note", "wrong.json")
	hanna.Must("links", "add", "note/"+note, file, "--relation", "image")
	stdout(hanna.Must("links", "list", "note/"+note), "image", file)
	hanna.ends(t, clitest.Failed, "has changed since that version", "put", "--kind", "note", "--id", note, "--version", "9", "changed.json")
	hanna.Must("put", "--kind", "note", "--id", note, "--version", "1", "changed.json")
	history := hanna.Must("history", note, "--output", "json").Items()
	if len(history) != 2 || history[0]["action"] != "update" || history[1]["action"] != "create" || history[0]["by"] == "" {
		t.Errorf("the history is %v", history)
	}
	if got := hanna.Must("get", note, "--content").Stdout; !strings.Contains(got, "0.1000") {
		t.Errorf("the digits of a number changed: %s", got)
	}
	hanna.Must("rm", note)
	hanna.ends(t, clitest.NotFound, "not", "get", note)
	hanna.Must("restore", note)
	stdout(hanna.Must("get", note, "--content"), "the second")

	// The other organization cannot see any of it, and an SDF of its own it can.
	paul := sign("paul@chem.example")
	sdf, bytes := data("molecules/sdf/qm9_mini.sdf")
	molecules := paul.Must("put", sdf, "--output", "json").Items()[0]["id"].(string)
	paul.Must("get", molecules, "-o", "back.sdf")
	if sha256.Sum256(paul.Read("back.sdf")) != sha256.Sum256(bytes) {
		t.Error("the SDF came back changed")
	}
	lab := hanna.Must("orgs", "list", "--output", "json").Items()[0]["id"].(string)
	paul.ends(t, clitest.NotFound, "not", "get", file, "-o", "x")
	paul.ends(t, clitest.NotFound, "not", "get", file, "-o", "x", "--org", lab)
	paul.ends(t, clitest.NotFound, "not", "get", "note/"+note, "--org", lab)
	paul.ends(t, clitest.NotFound, "not", "ls", "--org", lab)
	paul.ends(t, clitest.NotFound, "no organization of this name", "ls", "--org", "Materials lab")
	hanna.ends(t, clitest.NotFound, "not", "get", molecules, "-o", "x")

	// Roles: an analyst reads and exports, and changes nothing.
	mira := sign("mira@lab.example")
	mira.Must("get", file, "-o", "frame.tif")
	mira.ends(t, clitest.Denied, "your role does not allow", "put", frame)
	mira.ends(t, clitest.Denied, "your role does not allow", "rm", file)
	mira.ends(t, clitest.Denied, "your role does not allow", "members", "list")

	// Out of the house, each with its manifest.
	for name, args := range map[string][]string{"everything.zip": {"--all"}, "notes.zip": {"note"}, "one.zip": {"note/" + note}} {
		mira.Must(append([]string{"export", "-o", name}, args...)...)
		if inside := zipped(t, filepath.Join(mira.Dir, name)); len(inside) < 2 || name == "everything.zip" && inside[sha256.Sum256(mira.Read("frame.tif"))] == 0 {
			t.Errorf("%s holds %d contents, or not the frame", name, len(inside))
		}
	}
	mira.ends(t, clitest.NotFound, "not", "export", "nothing-of-this-name")

	// People come and go.
	hanna.Write("password", []byte("a passphrase for Grace\n"))
	grace := hanna.Must("members", "add", "grace@lab.example", "--name", "Grace", "--role", "scientist", "--password-file", "password", "--output", "json").Field("id")
	guest := i.person(t, "grace@lab.example", "a passphrase for Grace")
	guest.Must("put", "--kind", "note", hanna.Write("by-grace.json", []byte(`{"text": "by Grace"}`)))
	hanna.Must("members", "update", grace, "--role", "analyst")
	again := []string{"put", "--kind", "note", filepath.Join(hanna.Dir, "by-grace.json")}
	waitFor(t, "a role that was taken away is gone", func() bool { return guest.Run(again...).Code == clitest.Denied })
	guest.ends(t, clitest.Denied, "your role does not allow", again...)
	hanna.Must("members", "rm", grace)
	waitFor(t, "a member who was removed is out", func() bool { return guest.Run("ls").Code == clitest.Denied })
	guest.ends(t, clitest.Denied, "strongroom login", "ls") // who belongs nowhere has no session

	// A key: made, used for what it is for, revoked.
	hanna.Must("apikeys", "create", "reader", "--role", "scientist", "--scope", "collection.list,collection.read,record.list,record.read,org.read", "--key-file", "key")
	robot := user{CLI: clitest.New(t, program(t))}
	robot.Must("login", i.url, "--data", i.layout.Path(), "--api-key-file", filepath.Join(hanna.Dir, "key"), "--org", lab)
	stdout(robot.Must("get", "note/"+note, "--content"), "the second")
	robot.ends(t, clitest.Denied, "not allow|scope", "put", frame)
	listed := hanna.Must("apikeys", "list", "--output", "json").Items()
	hanna.Must("apikeys", "revoke", listed[0]["id"].(string))
	waitFor(t, "a revoked key is of no use", func() bool { return robot.Run("get", "note/"+note, "--content").Code == clitest.Denied })

	// All of it is on record, also what was refused. An event has its place in
	// the log some moments after its answer.
	waitFor(t, "everything is on record", func() bool {
		var trail struct {
			Items []struct{ Action, Outcome string }
		}
		hanna.Must("audit", "--all", "--output", "json").JSON(&trail)
		seen := map[string]bool{}
		for _, e := range trail.Items {
			seen[e.Action+" "+e.Outcome] = true
		}
		for _, want := range []string{"collection.create done", "collection.create refused", "record.create done", "record.create denied", "record.read done", "record.update done", "record.update refused", "record.delete done", "record.restore done",
			"record.history done", "link.create done", "file.upload done", "file.upload denied", "file.download done", "export.run done", "member.add done", "member.update done", "member.remove done", "key.create done", "key.revoke done", "trail.read done"} {
			if !seen[want] {
				return false
			}
		}
		return true
	})
	mira.ends(t, clitest.Denied, "your role does not allow", "audit")

	// The installation, by its API and on its machine.
	hanna.ends(t, clitest.Denied, "your role does not allow", "status")
	root := sign("admin@strongroom.example")
	stdout(root.Must("status"), "ready")
	stdout(root.Must("orgs", "list"), "Materials lab", "Team memory", "Molecular group")
	root.ends(t, clitest.NotFound, "not", "ls", "--org", lab) // runs the installation, sees nobody's data
	stdout(root.Must("status", "--data", i.layout.Path()), "ready", i.url)
	stdout(root.Must("keys", "status", "--data", i.layout.Path()), "epoch")
	stdout(root.Must("prove", "--data", i.layout.Path(), "ISO-3"), "kept")

	// What goes wrong says so.
	hanna.ends(t, clitest.Usage, "what is it\\?", "get", "frame.tif")
	hanna.ends(t, clitest.Usage, "--help", "put")
	wrong := hanna.RunIn("a wrong passphrase\n", "login", i.url, "--data", i.layout.Path(), "--email", hanna.email, "--password-stdin", "--profile", "other")
	if wrong.Code != clitest.Denied || strings.Contains(wrong.Stderr, "a wrong passphrase") {
		t.Errorf("a wrong password: exit %d, %s", wrong.Code, wrong.Stderr)
	}
	guest.ends(t, clitest.Failed, "certificate|--ca", "login", i.url, "--email", "grace@lab.example", "--password-file", filepath.Join(hanna.Dir, "password"), "--profile", "untrusting")
	url := i.url
	i.stop(t)
	hanna.ends(t, clitest.Unavailable, "", "ls")
	root.ends(t, clitest.Unavailable, "no installation is running", "status", "--data", i.layout.Path())

	// The next day all is as it was, and the demo is left alone.
	i.start(t)
	text, err := os.ReadFile(hanna.Config())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hanna.Config(), []byte(strings.ReplaceAll(string(text), url, i.url)), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout(hanna.Must("get", "note/"+note, "--content"), "the second")
	hanna.Must("get", file, "-o", "frame.tif", "--force")
	hanna.Must("logout")
	hanna.ends(t, clitest.Denied, "not signed in", "ls")
}
