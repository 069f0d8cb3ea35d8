package postgres

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"strongroom/internal/osproc"
)

// TestMain lets the test binary play a supervisor that is killed.
func TestMain(m *testing.M) {
	dir := os.Getenv("SR_POSTGRES_HOLD")
	if dir == "" {
		os.Exit(m.Run())
	}
	u, err := EnsureUser("strongroom-postgres")
	if err == nil {
		_, err = Start(context.Background(), Options{DataDir: filepath.Join(dir, "data"), SocketDir: filepath.Join(dir, "s"), User: u})
	}
	fmt.Println("started:", err)
	select {}
}

// place returns a folder that the PostgreSQL user can enter: t.TempDir is
// closed to everybody else.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sr-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

func options(t *testing.T, dir string) Options {
	t.Helper()
	u, err := EnsureUser("strongroom-postgres")
	if err != nil {
		t.Fatal(err)
	}
	return Options{DataDir: filepath.Join(dir, "data"), SocketDir: filepath.Join(dir, "s"), User: u,
		Settings: map[string]string{"shared_buffers": "16MB", "max_connections": "20", "fsync": "off"}}
}

func start1(t *testing.T, o Options) *Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = c.Stop(ctx)
	})
	return c
}

func connect(t *testing.T, c *Cluster, login string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.URL(login, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func run(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func count(t *testing.T, conn *pgx.Conn) int {
	t.Helper()
	var n int
	if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM kept").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAClusterStartsStopsAndStartsAgainWithItsData(t *testing.T) {
	t.Parallel()
	o := options(t, place(t))
	delete(o.Settings, "fsync")
	c := start1(t, o)
	conn := connect(t, c, DefaultSuperuser)
	run(t, conn, "CREATE TABLE kept AS SELECT generate_series(1, 7)")
	settings := map[string]string{"data_checksums": "on", "server_encoding": "UTF8", "fsync": "on", "lc_collate": "C.UTF-8", "shared_buffers": "16MB"}
	maps.Copy(settings, guarded)
	for setting, want := range settings {
		var got string
		if err := conn.QueryRow(t.Context(), "SHOW "+setting).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", setting, got, err, want)
		}
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := servers(c.DataDir()); len(left) != 0 || c.Err() != nil {
		t.Errorf("after Stop: processes %v, error %v", left, c.Err())
	}
	if n := count(t, connect(t, start1(t, o), DefaultSuperuser)); n != 7 {
		t.Errorf("%d rows, want 7", n)
	}
}

func TestKillingAnyProcessLosesNoAcknowledgedCommit(t *testing.T) {
	t.Parallel()
	o := options(t, place(t))
	c := start1(t, o)
	run(t, connect(t, c, DefaultSuperuser), "CREATE TABLE kept(i int)")
	for round := 1; round <= 3; round++ {
		conn := connect(t, c, DefaultSuperuser)
		run(t, conn, "INSERT INTO kept VALUES (1)")
		// A backend that is busy does not notice that its postmaster is gone.
		go func() { _, _ = conn.Exec(context.Background(), "SELECT count(*) FROM generate_series(1, 1000000000)") }()
		time.Sleep(50 * time.Millisecond)
		if err := syscall.Kill(c.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-c.Done()
		if c.Err() == nil {
			t.Error("a killed cluster reports no error")
		}
		c = start1(t, o)
		if n := count(t, connect(t, c, DefaultSuperuser)); n != round {
			t.Fatalf("after round %d: %d rows", round, n)
		}
	}
}

func TestAClusterLeftBehindByAnEarlierRunIsReplaced(t *testing.T) {
	t.Parallel()
	o := options(t, place(t))
	c := start1(t, o)
	run(t, connect(t, c, DefaultSuperuser), "CREATE TABLE kept AS SELECT 1")
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The same command line, started outside of this package's care.
	cmd := exec.Command(filepath.Join(c.Binaries().Dir, "postgres"), arguments(c.DataDir(), c.SocketDir())...)
	cmd.Dir, cmd.Env = c.DataDir(), environment()
	orphan, err := osproc.Start(cmd, osproc.Options{User: o.User})
	if err != nil {
		t.Fatal(err)
	}
	for _, state := readPIDFile(c.DataDir()); state != "ready"; _, state = readPIDFile(c.DataDir()) {
		time.Sleep(10 * time.Millisecond)
	}
	again := start1(t, o)
	select {
	case <-orphan.Done():
	default:
		t.Error("the orphan still runs")
	}
	if n := count(t, connect(t, again, DefaultSuperuser)); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
}

func TestKillingTheSupervisorEndsItsClusterAndLosesNothing(t *testing.T) {
	t.Parallel()
	dir := place(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"SR_POSTGRES_HOLD=" + dir, "PATH=/usr/sbin:/usr/bin:/bin"}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "started: <nil>\n" {
		t.Fatal(line, err)
	}
	conn, err := pgx.Connect(t.Context(), SocketURL(filepath.Join(dir, "s"), DefaultSuperuser, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	run(t, conn, "CREATE TABLE kept AS SELECT generate_series(1, 5)")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed
	data := filepath.Join(dir, "data")
	for range 700 {
		if len(servers(data)) == 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if left := servers(data); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if n := count(t, connect(t, start1(t, options(t, dir)), DefaultSuperuser)); n != 5 {
		t.Errorf("%d rows, want 5", n)
	}
}

func TestAFullDiskIsOneSentenceAndDamagesNothing(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("not root: no small disk can be mounted")
		return
	}
	dir := place(t)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=160m,mode=0711"); err != nil {
		t.Logf("no small disk can be mounted here: %v", err)
		return
	}
	defer func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	o := options(t, dir)
	c := start1(t, o)
	conn := connect(t, c, DefaultSuperuser)
	run(t, conn, "CREATE TABLE kept(v text)")
	acknowledged := 0
	for ; acknowledged < 100; acknowledged++ { // until the disk is full: an error, or the end of the cluster
		if _, err := conn.Exec(t.Context(), "INSERT INTO kept SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 100000)"); err != nil {
			break
		}
	}
	if acknowledged == 100 {
		t.Fatal("the disk took everything")
	}
	stop, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_ = c.Stop(stop) // without room for a checkpoint this may fail
	filler := filepath.Join(dir, "filler")
	if f, err := os.Create(filler); err == nil {
		for block := make([]byte, 4096); err == nil; {
			_, err = f.Write(block)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Start(t.Context(), o)
	if !errors.Is(err, ErrDiskFull) || strings.Contains(err.Error(), "\n") {
		t.Errorf("on a full disk: %v", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=400m"); err != nil {
		t.Fatal(err)
	}
	again := start1(t, o)
	if n := count(t, connect(t, again, DefaultSuperuser)); n != acknowledged {
		t.Errorf("%d rows, want %d", n, acknowledged)
	}
	if err := again.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestALockFileThatNamesAStrangerDoesNotStopTheStart(t *testing.T) {
	t.Parallel()
	o := options(t, place(t))
	c := start1(t, o)
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A process of the same user that has nothing to do with the cluster, as
	// after a reboot.
	cmd := exec.Command("/bin/sleep", "60")
	cmd.Env = []string{}
	stranger, err := osproc.Start(cmd, osproc.Options{User: o.User})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Kill()
	lines := []string{strconv.Itoa(stranger.PID()), c.DataDir(), "1700000000", port, c.SocketDir(), "", "  5432001    32768", "ready   ", ""}
	file := filepath.Join(c.DataDir(), "postmaster.pid")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.User.Own(file); err != nil {
		t.Fatal(err)
	}
	start1(t, o)
	select {
	case <-stranger.Done():
		t.Error("the stranger was killed")
	default:
	}
}

func TestAnInterruptedFirstStartLeavesNothingThatLooksLikeACluster(t *testing.T) {
	t.Parallel()
	dir := place(t)
	o := options(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	if _, err := Start(ctx, o); err == nil {
		t.Fatal("a cluster was made in 150 ms, which cannot be")
	}
	if err := os.Mkdir(filepath.Join(dir, unfinishedPrefix+"crash"), 0o700); err != nil { // as after kill -9
		t.Fatal(err)
	}
	start1(t, o)
	if left, _ := filepath.Glob(filepath.Join(dir, unfinishedPrefix+"*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestALongSocketPathIsReplacedByAShortOne(t *testing.T) {
	t.Parallel()
	dir := place(t)
	o := options(t, dir)
	o.SocketDir = filepath.Join(dir, strings.Repeat("long", 30))
	c := start1(t, o)
	t.Cleanup(func() { _ = os.RemoveAll(c.SocketDir()) })
	if len(c.SocketDir()) > 60 {
		t.Errorf("the socket is in a folder of %d bytes", len(c.SocketDir()))
	}
	connect(t, c, DefaultSuperuser)
}

func TestOnlyTheUsersOfTheMapGetIn(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("not root: only the caller's own logins are tried")
	}
	o := options(t, place(t))
	c := start1(t, o)
	run(t, connect(t, c, DefaultSuperuser), "CREATE ROLE sr_platform LOGIN; CREATE ROLE stranger LOGIN")
	connect(t, c, "sr_platform")
	if _, err := pgx.Connect(t.Context(), c.URL("stranger", "postgres")); err == nil {
		t.Error("a login outside the map was let in")
	}
	if o.User == nil {
		return
	}
	// PostgreSQL's own OS user is not in the map either.
	cmd := exec.Command(filepath.Join(c.Binaries().Dir, "psql"), "--no-psqlrc", "-c", "SELECT 1", c.URL(DefaultSuperuser, "postgres"))
	cmd.Env, cmd.Dir = environment(), "/"
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	p, err := osproc.Start(cmd, osproc.Options{User: o.User})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if p.Err() == nil || !strings.Contains(out.String(), "Peer authentication failed") {
		t.Errorf("another OS user: %v, %s", p.Err(), out.String())
	}
}

func TestNoValueReachesTheLog(t *testing.T) {
	t.Parallel()
	const canary = "canary-7c1f"
	var log locked
	o := options(t, place(t))
	o.Log = &log
	o.Settings["log_min_messages"] = "info" // even when the operator asks for more
	c := start1(t, o)
	conn := connect(t, c, DefaultSuperuser)
	run(t, conn, "CREATE TABLE kept(v text UNIQUE CHECK (length(v) < 30))")
	run(t, conn, "ALTER SYSTEM SET log_statement = 'all'")
	run(t, conn, "SELECT pg_reload_conf()")
	time.Sleep(100 * time.Millisecond)
	for _, sql := range []string{"INSERT INTO kept VALUES ($1)", "INSERT INTO kept VALUES ($1)", "INSERT INTO kept VALUES ($1 || repeat('x', 40))",
		"SELECT $1::text::int", "SELECT ($1::text || E'\\nsecond line')::int",
		"SELECT set_config('role', $1, false)", "SELECT '" + canary + "' FROM nowhere WHERE $1 = ''"} {
		_, _ = conn.Exec(t.Context(), sql, canary)
	}
	if err := c.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := log.String()
	if !strings.Contains(text, "23505 ERROR:") || !strings.Contains(text, "22P02 ERROR:") {
		t.Errorf("the log does not even hold the errors' codes:\n%s", text)
	}
	if strings.Contains(text, canary) {
		t.Errorf("the log holds the value:\n%s", text)
	}
}

func TestRefusalsAreSentences(t *testing.T) {
	t.Parallel()
	dir := place(t)
	made := start1(t, options(t, dir))
	if err := made.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	full := place(t)
	if err := os.WriteFile(filepath.Join(full, "letter"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"a guarded setting":             {func(o *Options) { o.Settings = map[string]string{"log_statement": "all"} }, "log_statement: it is fixed at 'none'"},
		"the network":                   {func(o *Options) { o.Settings = map[string]string{"listen_addresses": "*"} }, "listen_addresses"},
		"a setting of ours":             {func(o *Options) { o.Settings = map[string]string{"port": "1"} }, "port: Strongroom sets it"},
		"a second line":                 {func(o *Options) { o.Settings = map[string]string{"work_mem": "1MB\nfsync=off"} }, "work_mem: a value has one line"},
		"an unknown setting":            {func(o *Options) { o.Settings = map[string]string{"work_memory": "1MB"} }, "unrecognized configuration parameter"},
		"a folder with something else":  {func(o *Options) { o.DataDir = full }, "is not empty"},
		"binaries of another version":   {func(o *Options) { o.Binaries = Binaries{Dir: "/nowhere", Major: 99} }, "made by version"},
		"a superuser that others share": {func(o *Options) { o.Logins = []string{DefaultSuperuser} }, "the superuser is the caller's alone"},
		"a user name that is a pattern": {func(o *Options) { o.OSLogins = []string{"/.*"} }, "not a name"},
	} {
		o := options(t, dir)
		c.change(&o)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		cl, err := Start(ctx, o)
		cancel()
		if err == nil {
			_ = cl.Stop(context.Background())
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want one line with %q", name, err, c.want)
		}
	}
}

func TestAClosedAncestorIsNamed(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Log("not root: PostgreSQL runs as the caller, to whom nothing of his is closed")
		return
	}
	closed := t.TempDir() // 0700, as /root is
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(closed, "inner")
	if err := os.Mkdir(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), options(t, inner))
	if !errors.Is(err, osproc.ErrClosed) {
		t.Fatalf("got %v", err)
	}
}

// locked is a buffer that PostgreSQL's log and the test share.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
