package platform_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"strongroom/internal/base/id"
	"strongroom/internal/store/platform"
	"strongroom/internal/testkit"
)

// capability is minted by hand, from the format's description alone.
func capability(key [32]byte, org, user uuid.UUID, expires time.Time, backend uint32) string {
	claim := fmt.Sprintf("%x%x%016x%08x", org[:], user[:], expires.UnixMicro(), backend)
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte("strongroom-capability-v1" + claim))
	return fmt.Sprintf("%s%x", claim, h.Sum(nil))
}

// session is a connection of the login that serves an organization.
type session struct {
	*pgx.Conn
	db  *testkit.DB
	org testkit.Organization
}

func serve(t *testing.T, db *testkit.DB, org testkit.Organization) session {
	t.Helper()
	return session{open(t, db.URL(platform.AppLogin(org.Slice))), db, org}
}

// begin starts a transaction inside the organization: its role, its search
// path, and cap.
func (s session) begin(t *testing.T, cap string) pgx.Tx {
	t.Helper()
	tx, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	if _, err := tx.Exec(t.Context(), `SELECT set_config('role', $1, true), set_config('search_path', $2, true), set_config('sr.cap', $3, true)`,
		s.org.Role, s.org.Schema+", pg_temp", cap); err != nil {
		t.Fatal(err)
	}
	return tx
}

// cap is a right capability for this session.
func (s session) cap(user uuid.UUID) string {
	return capability(s.db.CapabilityKey, s.org.ID.UUID(), user, time.Now().Add(time.Minute), s.PgConn().PID())
}

const insertCollection = `INSERT INTO collection (org_id, id, token, leaf, version, body, created_at, created_by)
 VALUES ($1, $2, $3, 17, 1, $4, now(), $1)`

const insertRecord = `INSERT INTO record (org_id, id, collection_id, version, leaf, body, owner_id, visibility, created_at, created_by, updated_at, updated_by)
 VALUES ($1, $2, $3, 1, 18, '\x01', $4, $5, now(), $1, now(), $1)`

const insertPending = `INSERT INTO audit.pending (org_id, event_id, server, seq, chain, leaf, body, void) VALUES ($1, $2, $2, 1, sha256('x'), sha256('x'), $3, $4)`

// leave gives the organization's role back, as the door does before it writes
// the event.
func leave(t *testing.T, tx pgx.Tx) {
	t.Helper()
	if _, err := tx.Exec(t.Context(), "SET LOCAL ROLE none"); err != nil {
		t.Fatal(err)
	}
}

// pending adds the audit row of a transaction.
func pending(t *testing.T, tx pgx.Tx, org id.Org) {
	t.Helper()
	leave(t, tx)
	if _, err := tx.Exec(t.Context(), insertPending, org.UUID(), uuid.New(), []byte{1}, false); err != nil {
		t.Fatal(err)
	}
}

// collection stores one collection and returns its id.
func (s session) collection(t *testing.T) uuid.UUID {
	t.Helper()
	tx, made := s.begin(t, s.cap(uuid.Nil)), uuid.New()
	if _, err := tx.Exec(t.Context(), insertCollection, s.org.ID.UUID(), made, made[:], []byte{1}); err != nil {
		t.Fatal(err)
	}
	pending(t, tx, s.org.ID)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return made
}

func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestARightCapabilityShowsItsOrganizationOnly(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		db := testkit.Database(t)
		mine, theirs := serve(t, db, testkit.Org(t, placement)), serve(t, db, testkit.Org(t, placement))
		my, their := mine.collection(t), theirs.collection(t)

		tx := mine.begin(t, mine.cap(uuid.Nil))
		rows, _ := tx.Query(t.Context(), "SELECT id FROM collection")
		got, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil || len(got) != 1 || got[0] != my {
			t.Errorf("read %v, %v; want %v alone", got, err, my)
		}
		for name, sql := range map[string]string{
			"an update":   "UPDATE collection SET version = 2 WHERE id = $1",
			"a deletion":  "DELETE FROM collection WHERE id = $1",
			"a selection": "SELECT FROM collection WHERE id = $1 FOR UPDATE",
		} {
			tag, err := tx.Exec(t.Context(), sql, their)
			if err != nil || tag.RowsAffected() != 0 {
				t.Errorf("%s of another organization's row: %v, %v", name, tag, err)
			}
		}
		if _, err := tx.Exec(t.Context(), insertCollection, theirs.org.ID.UUID(), uuid.New(), []byte("a"), []byte{1}); code(err) != "42501" {
			t.Errorf("an insert into another organization: %v", err)
		}
	})
}

func TestWithoutARightCapabilityNothingIsReadOrWritten(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		db := testkit.Database(t)
		s := serve(t, db, testkit.Org(t, placement))
		s.collection(t)
		other := testkit.Org(t, placement)
		org, soon, pid := s.org.ID.UUID(), time.Now().Add(time.Minute), s.PgConn().PID()
		right := s.cap(uuid.Nil)
		tampered := []byte(right)
		copy(tampered, fmt.Sprintf("%x", other.ID.UUID()))
		for name, cap := range map[string]string{
			"missing":                    "",
			"signed with another key":    capability([32]byte{1}, org, uuid.Nil, soon, pid),
			"expired":                    capability(db.CapabilityKey, org, uuid.Nil, time.Now().Add(-time.Millisecond), pid),
			"expired long ago":           capability(db.CapabilityKey, org, uuid.Nil, time.Unix(0, 0), pid),
			"another back end's":         capability(db.CapabilityKey, org, uuid.Nil, soon, pid+1),
			"changed to name another":    string(tampered),
			"cut short":                  right[:151],
			"longer":                     right + "0",
			"in capitals":                fmt.Sprintf("%X", right),
			"not hexadecimal":            "zz" + right[2:],
			"the claim without its code": right[:88],
			"a quote and a NUL's escape": `'\000` + right[5:],
			"outside ASCII":              "é" + right[1:],
		} {
			for _, sql := range []string{
				"SELECT count(*) FROM collection",
				"SELECT sr.org()",
				"SELECT sr.usr()",
				"UPDATE collection SET version = 3",
				"DELETE FROM collection",
				"SELECT count(*) FROM audit.event",
			} {
				tx := s.begin(t, cap)
				if _, err := tx.Exec(t.Context(), sql); code(err) != "28000" {
					t.Errorf("capability %s: %s: %v; want 28000", name, sql, err)
				}
				_ = tx.Rollback(t.Context())
			}
			tx := s.begin(t, cap)
			leave(t, tx)
			if _, err := tx.Exec(t.Context(), insertPending, org, uuid.New(), []byte{1}, false); code(err) != "28000" {
				t.Errorf("capability %s: an audit row: %v; want 28000", name, err)
			}
			_ = tx.Rollback(t.Context())
		}
		// Another organization's capability opens nothing here, and is no error.
		tx := s.begin(t, capability(db.CapabilityKey, other.ID.UUID(), uuid.Nil, soon, pid))
		var n int
		if err := tx.QueryRow(t.Context(), "SELECT count(*) FROM collection WHERE org_id = $1", org).Scan(&n); err != nil || n != 0 {
			t.Errorf("with another organization's capability: %d rows, %v", n, err)
		}
	})
}

func TestAPrivateRowIsItsOwnersAlone(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		db := testkit.Database(t)
		s := serve(t, db, testkit.Org(t, placement))
		col, ada, bob := s.collection(t), uuid.New(), uuid.New()
		tx := s.begin(t, s.cap(ada))
		for _, visibility := range []string{"o", "p"} {
			if _, err := tx.Exec(t.Context(), insertRecord, s.org.ID.UUID(), uuid.New(), col, ada, visibility); err != nil {
				t.Fatal(err)
			}
		}
		pending(t, tx, s.org.ID)
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			name string
			user uuid.UUID
			want int64
		}{{"its owner", ada, 2}, {"another member", bob, 1}, {"nobody in particular", uuid.Nil, 1}} {
			tx := s.begin(t, s.cap(tt.user))
			tag, err := tx.Exec(t.Context(), "SELECT FROM record WHERE org_id = $1", s.org.ID.UUID())
			if err != nil || tag.RowsAffected() != tt.want {
				t.Errorf("%s sees %d rows, %v; want %d", tt.name, tag.RowsAffected(), err, tt.want)
			}
			_ = tx.Rollback(t.Context())
		}
		tx = s.begin(t, s.cap(bob))
		if _, err := tx.Exec(t.Context(), insertRecord, s.org.ID.UUID(), uuid.New(), col, ada, "p"); code(err) != "42501" {
			t.Errorf("a private row in somebody else's name: %v", err)
		}
	})
}

func TestNoChangeCommitsWithoutItsAuditEvent(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		db := testkit.Database(t)
		s := serve(t, db, testkit.Org(t, placement))
		col, empty := s.collection(t), s.collection(t)
		org := s.org.ID.UUID()
		changes := map[string]func(pgx.Tx) error{
			"an insert": func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), insertRecord, org, uuid.New(), col, nil, "o")
				return err
			},
			"an update": func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), "UPDATE collection SET version = version + 1 WHERE org_id = $1", org)
				return err
			},
			"a deletion": func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), "DELETE FROM collection WHERE org_id = $1 AND id = $2", org, empty)
				return err
			},
		}
		for name, change := range changes {
			for _, tt := range []struct {
				name  string
				event func(pgx.Tx) error
			}{
				{"no event", func(pgx.Tx) error { return nil }},
				{"a void event", func(tx pgx.Tx) error {
					leave(t, tx)
					_, err := tx.Exec(t.Context(), insertPending, org, uuid.New(), nil, true)
					return err
				}},
				{"an earlier transaction's event", func(pgx.Tx) error {
					earlier := serve(t, db, s.org)
					tx := earlier.begin(t, earlier.cap(uuid.Nil))
					pending(t, tx, s.org.ID)
					return tx.Commit(t.Context())
				}},
			} {
				tx := s.begin(t, s.cap(uuid.Nil))
				if err := errors.Join(change(tx), tt.event(tx)); err != nil {
					t.Fatalf("%s with %s: %v", name, tt.name, err)
				}
				if err := tx.Commit(t.Context()); code(err) != "23514" {
					t.Errorf("%s with %s committed: %v", name, tt.name, err)
				}
			}
		}
		tx := s.begin(t, s.cap(uuid.Nil))
		leave(t, tx)
		if _, err := tx.Exec(t.Context(), `INSERT INTO audit.pending (org_id, event_id, server, seq, chain, leaf, body, void, xid)
 VALUES ($1, $1, $1, 1, sha256('x'), sha256('x'), '\x01', false, pg_current_xact_id())`, org); code(err) != "42501" {
			t.Errorf("a writer chose the transaction of its event: %v", err)
		}
		_ = tx.Rollback(t.Context())
		tx = s.begin(t, s.cap(uuid.Nil))
		if _, err := tx.Exec(t.Context(), insertPending, org, uuid.New(), []byte{1}, false); code(err) != "42501" {
			t.Errorf("an organization's role wrote an event: %v", err)
		}
		_ = tx.Rollback(t.Context())
		for name, change := range changes {
			tx := s.begin(t, s.cap(uuid.Nil))
			if err := change(tx); err != nil {
				t.Fatal(err)
			}
			pending(t, tx, s.org.ID)
			if err := tx.Commit(t.Context()); err != nil {
				t.Errorf("%s with its event: %v", name, err)
			}
		}
	})
}

func TestSettingTheRoleBackGainsNothing(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		db := testkit.Database(t)
		s := serve(t, db, testkit.Org(t, placement))
		s.collection(t)
		for _, sql := range []string{
			"RESET ROLE; SELECT FROM " + s.org.Schema + ".collection",
			"SET ROLE none; SELECT FROM audit.event",
			"SET ROLE sr_tenant; SELECT FROM " + s.org.Schema + ".collection",
			"SET ROLE sr_owner",
			"SET ROLE sr_audit",
			"SET SESSION AUTHORIZATION sr_owner",
			"SELECT FROM sr.capability_key",
			"ALTER TABLE collection DISABLE ROW LEVEL SECURITY",
			"ALTER TABLE collection DISABLE TRIGGER audited",
			"SET session_replication_role = replica",
			"DROP POLICY isolation ON collection",
			"CREATE TEMP TABLE pending (xid xid8)",
			"CREATE SCHEMA mine",
			"CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql RETURN 1",
			"COPY collection FROM STDIN",
			"COPY collection TO PROGRAM 'true'",
			"TRUNCATE collection",
			"LOCK TABLE collection IN EXCLUSIVE MODE; TRUNCATE collection",
			"INSERT INTO org (id) VALUES (gen_random_uuid())",
			"DELETE FROM audit.pending",
			"UPDATE audit.head SET org_id = org_id",
		} {
			tx := s.begin(t, s.cap(uuid.Nil))
			_, err := tx.Conn().PgConn().Exec(t.Context(), sql).ReadAll()
			if c := code(err); c != "42501" && c != "0A000" {
				t.Errorf("%s: %v; want a refusal", sql, err)
			}
			_ = tx.Rollback(t.Context())
		}
	})
}

// A condition that row level security may not let an index see would turn each
// page of a list into a scan of the organization.
func TestAPageOfRecordsIsReadFromTheIndex(t *testing.T) {
	t.Parallel()
	testkit.EachPlacement(t, func(t *testing.T, placement string) {
		s := serve(t, testkit.Database(t), testkit.Org(t, placement))
		tx := s.begin(t, s.cap(uuid.Nil))
		// An empty table is scanned as a rule; the question is what an index can do.
		if _, err := tx.Exec(t.Context(), "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"); err != nil {
			t.Fatal(err)
		}
		for sql, conditions := range map[string][]string{
			"SELECT id FROM record WHERE org_id = $1 AND collection_id = $1 AND id > $1 ORDER BY id LIMIT 50": {"collection_id =", "id >"},
			"SELECT id FROM record WHERE org_id = $1 AND id = $1":                                             {"(id ="},
			"SELECT id FROM collection WHERE org_id = $1 AND token = uuid_send($1)":                           {"token ="},
		} {
			rows, _ := tx.Query(t.Context(), "EXPLAIN "+sql, s.org.ID.UUID())
			lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, line := range lines {
				hit := strings.Contains(line, "Index Cond:")
				for _, c := range conditions {
					hit = hit && strings.Contains(line, c)
				}
				found = found || hit
			}
			if !found {
				t.Errorf("%s: the index does not see all of it:\n%s", sql, strings.Join(lines, "\n"))
			}
		}
	})
}
