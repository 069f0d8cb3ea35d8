package platform_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"strongroom/internal/store/platform"
	"strongroom/internal/testkit"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		os.Exit(child(url))
	}
	testkit.Main(m)
}

// emptyDatabase returns the name of a database that is bootstrapped and
// nothing else, removed with the test.
func emptyDatabase(t *testing.T, server *testkit.Server) string {
	t.Helper()
	name := "strongroom_empty_" + strings.ToLower(rand.Text())
	if err := platform.Bootstrap(t.Context(), server.URL("sr_root", name)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Drop(context.Background(), name); err != nil {
			t.Error(err)
		}
	})
	return name
}

// ownDatabase is emptyDatabase with all tables.
func ownDatabase(t *testing.T) database {
	t.Helper()
	server := testkit.TestServer(t)
	db := database{server, emptyDatabase(t, server)}
	if _, err := migrator(t, db.URL("sr_migrator")).MigrateAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

type database struct {
	server *testkit.Server
	name   string
}

func (d database) URL(login string) string { return d.server.URL(login, d.name) }

// open connects for the length of the test.
func open(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// failures is a log handler that keeps what is a warning or worse: a missing
// grant of River's login shows there and nowhere else.
type failures struct {
	mu   sync.Mutex
	seen []error
}

func (f *failures) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (f *failures) WithAttrs([]slog.Attr) slog.Handler           { return f }
func (f *failures) WithGroup(string) slog.Handler                { return f }

func (f *failures) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, errors.New(text))
	return nil
}

func (f *failures) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.seen...)
}
