package sweep_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"strongroom/cmd/strongroom/clitest"
	"strongroom/internal/app/datadir"
	"strongroom/internal/base/id"
	"strongroom/internal/osproc"
	"strongroom/internal/postgres"
	"strongroom/internal/store/platform"
)

// allowed lists what may be found in the clear, each with the reason. Nothing
// that a customer types may, but for names of places in an answer to her.
var allowed = []struct{ where, field, why string }{
	{"a place named by the answer 422", ", a name", "errors[].pointer (RFC 6901) leads to the place in a record's content by the names of its members, for whoever just sent them; it holds no value"},
	{"a place named by the answer 422", "name of a property", "the same for a schema, and for a member that the collection's own schema asks for"},
	{"postgres/", "update-plan: /", "plans are the operator's own words, and public: the trust page shows them"},
	{"the log", "code of the set-up", "the log of a first start names the link for whoever starts it; its code ends with its use"},
}

func unexpected(found []catch) (out []catch) {
	for _, c := range found {
		ok := false
		for _, a := range allowed {
			ok = ok || strings.HasPrefix(c.where, a.where) && strings.Contains(c.field, a.field)
		}
		if !ok {
			out = append(out, c)
		}
	}
	return out
}

func TestWhatCallersTypeIsFoundNowhere(t *testing.T) {
	t.Parallel()
	settings := ""
	if long {
		// What an operator can turn on while looking for a fault.
		settings = "log_level = \"debug\"\n[postgres.settings]\nlog_min_messages = \"debug5\"\nlog_lock_waits = \"on\"\nlog_checkpoints = \"on\"\nlog_connections = \"on\"\nlog_autovacuum_min_duration = \"0\"\n"
	}
	i := install(t, settings+"[developer]\nsandboxes = true\n")
	v := visit(t, i)
	admin := v.account("administrator")
	v.setUp(t, i, admin)
	v.signIn(t, &admin)
	places := []*place{v.tour(t, admin, "schema"), v.tour(t, admin, "pooled")}
	v.complete(t)
	v.quarrel(t, places[0], places[1])
	v.affront(t, places[0])
	if long {
		v.quarrel(t, places[1], places[0])
		v.affront(t, places[1])
	}
	i.failingStatements(t, v)

	// Deaths, each in the middle of an upload.
	signals := []syscall.Signal{syscall.SIGKILL}
	if long {
		signals = append(signals, syscall.SIGQUIT, syscall.SIGSEGV) // which Go answers with the stacks of everything
	}
	for _, signal := range signals {
		up := v.open(t, places[0], "an upload that ends with its server")
		up.write(t, 300<<10)
		s := i.server(t)
		if err := syscall.Kill(s.pid, signal); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the end of the server", func() bool { return !s.alive() })
		report(t, v.inTree(t, i.layout.Objects(), nil).found)
		v.back(t, places)
	}
	if long {
		i.backendDies(t, v)
		v.back(t, places)
	}
	up := v.open(t, places[1], "an upload that ends with everything")
	up.write(t, 300<<10)
	i.kill(t)
	report(t, unexpected(v.inTree(t, i.layout.Path(), nil).found))
	i.start(t)
	v.url = i.url
	v.back(t, places)

	// Everything at once, while an upload is under way.
	under := v.open(t, places[0], "an upload under way")
	under.write(t, 300<<10)
	i.checkpoint(t)
	h := v.inTree(t, i.layout.Path(), nil)
	report(t, unexpected(h.found))
	if len(h.packed) > 0 {
		t.Errorf("compressed, so that nothing could be found in them: %q", h.packed)
	}
	report(t, i.elsewhere(t, v.sieve))
	operator := clitest.New(t, program(t))
	shown := operator.Must("status", "--data", i.layout.Path()).Stdout + operator.Must("keys", "status", "--data", i.layout.Path()).Stdout
	if long {
		shown += operator.Run("prove", "--json", "--data", i.layout.Path()).Stdout
	}
	report(t, v.inBytes("what the operator is shown", []byte(shown)))
	for _, dir := range []string{"postgres/base", "postgres/global", "postgres/pg_wal", "objects/orgs", "objects/incoming", "keys", "guardians"} {
		if h.bytes[dir] == 0 {
			t.Errorf("nothing was searched in %s", dir)
		}
	}
	i.knowsItsIdentifiers(t, places)
	under.close()

	// At rest, and all that was said.
	i.stop(t)
	report(t, unexpected(v.inTree(t, i.layout.Path(), nil).found))
	log := i.log.bytes()
	report(t, unexpected(v.inBytes("the log", log)))
	if lines := strings.Count(string(log), "msg=request"); lines < len(v.refused) {
		t.Errorf("the log has %d lines of requests, and %d were refused: the search looks in the wrong place", lines, len(v.refused))
	}
	report(t, unexpected(v.inAnswers()))
	t.Logf("%d values, %d refusals, %d files, %d MB", len(v.canaries), len(v.refused), h.files, h.bytes["."]>>20)
}

// knowsItsIdentifiers fails the test where the search is blind: what stands in
// the clear by design has to be found.
func (i *installation) knowsItsIdentifiers(t testing.TB, places []*place) {
	t.Helper()
	known := &sieve{}
	for _, p := range places {
		record, err := id.ParseRecord(p.recordID)
		if err != nil {
			t.Fatal(err)
		}
		raw := record.UUID()
		known.watch("identifier", string(raw[:]))
	}
	seen := map[string]bool{}
	for _, c := range known.inTree(t, i.layout.Postgres(), nil).found {
		top, _, _ := strings.Cut(c.where, "/")
		seen[top] = true
	}
	if !seen["base"] || !seen["pg_wal"] {
		t.Errorf("identifiers, which are in the clear, were found in %v only: the search looks in the wrong place", seen)
	}
}

// inAnswers searches all that was refused. The places that a refusal names are
// searched apart from the rest.
func (v *visitor) inAnswers() (found []catch) {
	for _, a := range v.refused {
		where := fmt.Sprintf("the answer %d to %s", a.status, a.op)
		var head strings.Builder
		_ = a.header.Write(&head)
		body := a.body
		var problem map[string]any
		if a.status == http.StatusUnprocessableEntity && json.Unmarshal(body, &problem) == nil {
			places, _ := problem["errors"].([]any)
			for _, one := range places {
				if one, ok := one.(map[string]any); ok {
					pointer, _ := one["pointer"].(string)
					delete(one, "pointer")
					found = append(found, v.inBytes("a place named by "+where, []byte(pointer))...)
				}
			}
			body, _ = json.Marshal(problem)
		}
		found = append(found, v.inBytes(where, append([]byte(head.String()+"\n"), body...))...)
	}
	return found
}

// back waits until the installation serves again, and everything is there.
// Meanwhile it answers "later" or not at all, and never that it failed.
func (v *visitor) back(t testing.TB, places []*place) {
	t.Helper()
	v.http.CloseIdleConnections()
	for _, p := range places {
		waitFor(t, "the server is back", func() bool {
			r, _ := v.request(t, "get-record", step{token: p.owner.token, path: p.in("id", p.recordID)})
			res, err := v.http.Do(r)
			if err != nil {
				return false
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("while the installation recovers, get-record answers %d", res.StatusCode)
			}
			return res.StatusCode == http.StatusOK
		})
	}
	// Connections to the database that broke are found one by one.
	for _, p := range places {
		waitFor(t, "the file is back", func() bool {
			r, _ := v.request(t, "download-file", step{token: p.owner.token, path: p.in("id", p.file)})
			a := v.send(t, "download-file", r)
			if a.status == http.StatusServiceUnavailable {
				return false
			}
			if a.status != http.StatusOK || string(a.body) != string(p.fileBytes) {
				t.Errorf("after the recovery, download-file answers %d and %d bytes, want %d", a.status, len(a.body), len(p.fileBytes))
			}
			return true
		})
	}
}

// checkpoint brings every page of the database to its file.
func (i *installation) checkpoint(t testing.TB) {
	t.Helper()
	if _, err := i.sql(t, postgres.DefaultSuperuser).Exec(t.Context(), "CHECKPOINT"); err != nil {
		t.Fatal(err)
	}
}

// failingStatements sends the database, on the application's own logins, what
// fails and quotes a value.
func (i *installation) failingStatements(t testing.TB, v *visitor) {
	t.Helper()
	for _, login := range []string{platform.AppLogin(0), "sr_platform", "sr_audit"} {
		c := i.sql(t, login)
		quoted := func(what string) string { return "'" + v.text("statement of "+login+": "+what) + "'" }
		for _, sql := range []string{
			"SELECT " + quoted("no number") + "::int", "SELECT " + quoted("no column") + " FROM " + v.ascii("statement: no table"), "SELEKT " + quoted("no statement"),
			"SELECT '\\x" + v.ascii("statement: no bytea") + "'::bytea", "SELECT " + quoted("no regular expression") + " ~ '('", "SELECT " + quoted("no JSON") + "::jsonb", "SELECT 1/0, " + quoted("division"),
			"DO $$ BEGIN RAISE EXCEPTION " + quoted("RAISE") + "; END $$", "DO $$ BEGIN RAISE LOG " + quoted("RAISE LOG") + "; END $$",
			"SET application_name = " + quoted("application_name"), "SET sr.cap = " + quoted("capability"), "SELECT sr.org(), " + quoted("no capability"),
			"SET debug_print_plan = on; SELECT " + quoted("debug_print_plan"), "SET debug_print_parse = on; SELECT " + quoted("debug_print_parse"),
			"INSERT INTO pool.record (org_id) VALUES (" + quoted("no uuid") + ")", "SET statement_timeout = 1; SELECT count(*), " + quoted("timeout") + " FROM generate_series(1, 100000000); ",
		} {
			_, _ = c.Exec(t.Context(), sql) // most fail, and that is the point
		}
		var n int
		if err := c.QueryRow(t.Context(), "SELECT $1::text::int", v.text("parameter of a statement of "+login)).Scan(&n); err == nil {
			t.Error("a statement that must fail does not")
		}
	}
}

// backendDies kills a back end with kill -9 in the middle of a statement, the
// death of which PostgreSQL likes to tell with the statement's text.
func (i *installation) backendDies(t testing.TB, v *visitor) {
	t.Helper()
	c := i.sql(t, postgres.DefaultSuperuser)
	var pid int
	if err := c.QueryRow(t.Context(), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := c.Exec(context.WithoutCancel(t.Context()), "SELECT pg_sleep(600), '"+v.text("statement of a back end that dies")+"'")
		ended <- err
	}()
	watch := i.sql(t, postgres.DefaultSuperuser)
	waitFor(t, "the statement runs", func() bool {
		var running bool
		err := watch.QueryRow(t.Context(), "SELECT query LIKE '%pg_sleep(600)%' AND state = 'active' FROM pg_stat_activity WHERE pid = $1", pid).Scan(&running)
		return err == nil && running
	})
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the statement of a dead back end succeeded")
	}
}

// elsewhere searches what the processes have outside the data directory:
// temporary and core files, shared memory that has a name, files that were
// removed and are still open, command lines, environments, and what the
// database tells about its sessions.
func (i *installation) elsewhere(t testing.TB, n *sieve) (found []catch) {
	t.Helper()
	// Other tests write here too. As root each service has a user of its own,
	// and only what is theirs counts.
	users, err := datadir.EnsureUsers()
	if err != nil {
		t.Fatal(err)
	}
	theirs := map[uint32]bool{}
	for _, u := range []*osproc.User{users.Server, users.Postgres, users.Keys, users.GuardianA, users.GuardianB} {
		if u != nil {
			theirs[u.UID] = true
		}
	}
	fresh := func(path string, info fs.FileInfo) bool {
		if st, ok := info.Sys().(*syscall.Stat_t); ok && !info.IsDir() && len(theirs) > 0 && !theirs[st.Uid] {
			return false
		}
		if info.IsDir() {
			return path != filepath.Dir(i.layout.Path()) && path != built.dir && !strings.HasPrefix(info.Name(), "go-build") && !strings.HasPrefix(info.Name(), "go-link")
		}
		const most = 64 << 20
		return info.ModTime().After(i.began) && info.Size() <= most
	}
	for _, root := range []string{os.TempDir(), "/tmp", "/var/tmp", "/dev/shm"} {
		if _, err := os.Stat(root); err == nil {
			found = append(found, n.inTree(t, root, fresh).found...)
		}
	}
	cores, err := filepath.Glob("/core*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range i.processes(t) {
		dir := "/proc/" + strconv.Itoa(p.pid)
		files := []string{dir + "/cmdline", dir + "/environ"}
		fds, err := os.ReadDir(dir + "/fd")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, fd := range fds {
			link, _ := os.Readlink(dir + "/fd/" + fd.Name())
			if info, err := os.Stat(dir + "/fd/" + fd.Name()); err == nil && info.Mode().IsRegular() && strings.HasSuffix(link, " (deleted)") {
				files = append(files, dir+"/fd/"+fd.Name())
			}
		}
		for _, path := range files {
			b, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ESRCH) {
				t.Fatal(err)
			}
			found = append(found, n.inBytes(fmt.Sprintf("%s of %s", filepath.Base(path), strings.Join(p.args[:min(2, len(p.args))], " ")), b)...)
		}
	}
	for _, path := range cores {
		if info, err := os.Stat(path); err == nil && info.ModTime().After(i.began) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, n.inBytes(path, b)...)
		}
	}
	rows, err := i.sql(t, postgres.DefaultSuperuser).Query(t.Context(), "SELECT a::text FROM pg_stat_activity a")
	if err != nil {
		t.Fatal(err)
	}
	told, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(told) == 0 {
		t.Fatalf("pg_stat_activity: %d rows, %v", len(told), err)
	}
	return append(found, n.inBytes("pg_stat_activity", []byte(strings.Join(told, "\n")))...)
}

func TestTheSweepFindsWhatIsPlantedInTheClear(t *testing.T) {
	t.Parallel()
	i, n := install(t, ""), &sieve{}
	db := i.sql(t, postgres.DefaultSuperuser)
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := db.Exec(t.Context(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE SCHEMA scratch; CREATE TABLE scratch.t (plain text, packed text, bytes bytea)")
	packed := strings.Repeat("the same words again and again; ", 200)
	exec("INSERT INTO scratch.t VALUES ($1, $2, $3)", n.text("row"), packed+n.text("compressed row")+packed, []byte(n.text("bytes")))
	exec("COMMENT ON TABLE scratch.t IS '" + n.text("comment") + "'")
	exec("BEGIN")
	exec("INSERT INTO scratch.t (plain) VALUES ($1)", n.text("row that was never committed"))
	exec("ROLLBACK")
	i.checkpoint(t)
	fmt.Fprintf(i.log, "time=now level=ERROR msg=oops value=%q\n", n.text("line of the log"))
	object := filepath.Join(i.layout.Objects(), "orgs", "left")
	if err := os.WriteFile(object, []byte(n.text("object")), 0o600); err != nil {
		t.Fatal(err)
	}
	outside, err := os.CreateTemp("", "strongroom-left-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = outside.Close(); _ = os.Remove(outside.Name()) })
	if _, err := outside.WriteString(n.text("temporary file")); err != nil {
		t.Fatal(err)
	}
	users, err := datadir.EnsureUsers() // a server's own, as that is what is looked for
	if err == nil {
		err = users.Server.Own(outside.Name())
	}
	if err != nil {
		t.Fatal(err)
	}
	exec("SELECT '" + n.text("statement of a session") + "'")

	var fields []string
	for _, c := range slices.Concat(n.inTree(t, i.layout.Path(), nil).found, n.inBytes("the log", i.log.bytes()), i.elsewhere(t, n)) {
		fields = append(fields, c.where+": "+c.field)
	}
	for _, want := range []string{"postgres/base/*: row", "postgres/pg_wal/*: row", "postgres/base/*: compressed row", "postgres/base/*: bytes", "postgres/base/*: comment",
		"postgres/*: row that was never committed", "the log: line of the log", "objects/orgs/left: object", "strongroom-left-*: temporary file", "pg_stat_activity: statement of a session"} {
		where, field, _ := strings.Cut(want, ": ")
		before, _, _ := strings.Cut(where, "*")
		if !slices.ContainsFunc(fields, func(f string) bool { return strings.HasPrefix(f, before) && strings.HasSuffix(f, ": "+field) }) {
			t.Errorf("%s in %s was not found", field, where)
		}
	}
}
