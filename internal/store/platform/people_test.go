package platform_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"strongroom/internal/base/fault"
	"strongroom/internal/base/id"
	"strongroom/internal/store/platform"
	"strongroom/internal/testkit"
)

// asPlatform starts a transaction of the platform's login for an organization.
func asPlatform(t *testing.T, conn *pgx.Conn, db *testkit.DB, org id.Org) pgx.Tx {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	if _, err := tx.Exec(t.Context(), "SELECT set_config('sr.cap', $1, true)",
		capability(db.CapabilityKey, org.UUID(), uuid.Nil, time.Now().Add(time.Minute), conn.PgConn().PID())); err != nil {
		t.Fatal(err)
	}
	return tx
}

// person is a member of one organization, with a session, and a key of hers.
type person struct{ id, session, key uuid.UUID }

func newPerson(t *testing.T, conn *pgx.Conn, db *testkit.DB, org id.Org) person {
	t.Helper()
	p := person{uuid.New(), uuid.New(), uuid.New()}
	tx := asPlatform(t, conn, db, id.Installation)
	for _, s := range []struct {
		sql  string
		args []any
	}{
		{`INSERT INTO platform.person (id, email_token, leaf, version, profile, created_at) VALUES ($1, $2, 20, 1, '\x01', now())`, []any{p.id, p.id[:]}},
		{`INSERT INTO platform.membership (org_id, person_id, roles, created_at, created_by) VALUES ($1, $2, '{scientist}', now(), $2)`, []any{org.UUID(), p.id}},
		{`INSERT INTO platform.session (id, person_id, token_hash, created_at, last_seen_at, idle_until, expires_at) VALUES ($1, $2, $3, now(), now(), now(), now())`, []any{p.session, p.id, p.session[:]}},
		{`INSERT INTO platform.api_key (org_id, id, name, leaf, prefix, secret_hash, roles, scopes, created_at, created_by) VALUES ($1, $2, '\x01', 21, 'x', $3, '{}', '{}', now(), $4)`, []any{org.UUID(), p.key, p.key[:], p.id}},
	} {
		if _, err := tx.Exec(t.Context(), s.sql, s.args...); err != nil {
			t.Fatal(err)
		}
	}
	pending(t, tx, id.Installation)
	pending(t, tx, org)
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAnOrganizationSeesItsOwnPeopleAndKeysOnly(t *testing.T) {
	t.Parallel()
	db := testkit.Database(t)
	conn := open(t, db.URL("sr_platform"))
	mine, theirs := testkit.Org(t, platform.PlacementPooled).ID, testkit.Org(t, platform.PlacementPooled).ID
	ada, bob := newPerson(t, conn, db, mine), newPerson(t, conn, db, theirs)

	for _, tt := range []struct {
		name                       string
		org                        id.Org
		sees                       person
		people, sessions, keys     int64
		otherPeople, otherSessions int64
	}{
		{name: "an organization", org: mine, sees: ada, people: 1, keys: 1},
		{name: "another organization", org: theirs, sees: bob, people: 1, keys: 1},
		{name: "the installation", org: id.Installation, sees: bob, people: 1, sessions: 1, keys: 1, otherPeople: 1, otherSessions: 1},
	} {
		other := ada
		if tt.sees == ada {
			other = bob
		}
		tx := asPlatform(t, conn, db, tt.org)
		for _, q := range []struct {
			sql  string
			arg  uuid.UUID
			want int64
		}{
			{"SELECT FROM platform.person WHERE id = $1", tt.sees.id, tt.people},
			{"SELECT FROM platform.membership WHERE person_id = $1", tt.sees.id, tt.people},
			{"SELECT FROM platform.session WHERE id = $1", tt.sees.session, tt.sessions},
			{"SELECT FROM platform.api_key WHERE id = $1", tt.sees.key, tt.keys},
			{"SELECT FROM platform.person WHERE id = $1", other.id, tt.otherPeople},
			{"SELECT FROM platform.membership WHERE person_id = $1", other.id, tt.otherPeople},
			{"SELECT FROM platform.session WHERE id = $1", other.session, tt.otherSessions},
			{"SELECT FROM platform.api_key WHERE id = $1", other.key, tt.otherPeople},
		} {
			tag, err := tx.Exec(t.Context(), q.sql, q.arg)
			if err != nil || tag.RowsAffected() != q.want {
				t.Errorf("%s: %s: %d rows, %v; want %d", tt.name, q.sql, tag.RowsAffected(), err, q.want)
			}
		}
		_ = tx.Rollback(t.Context())
	}
	for _, sql := range []string{"SELECT FROM platform.person", "SELECT FROM platform.membership", "SELECT FROM platform.session", "SELECT FROM platform.api_key"} {
		if err := tryAndUndo(t, conn, sql); code(err) != "28000" {
			t.Errorf("without a capability: %s: %v; want 28000", sql, err)
		}
	}
	tx := asPlatform(t, conn, db, mine)
	if _, err := tx.Exec(t.Context(), "UPDATE platform.membership SET owner = true"); err != nil {
		t.Fatal(err)
	}
	if tag, err := tx.Exec(t.Context(), insertPending, theirs.UUID(), uuid.New(), []byte{1}, false); code(err) != "42501" {
		t.Errorf("an event in another organization's log: %v, %v", tag, err)
	}
}

func TestNoPersonOrSessionChangesWithoutAnEvent(t *testing.T) {
	t.Parallel()
	db := testkit.Database(t)
	conn := open(t, db.URL("sr_platform"))
	org := testkit.Org(t, platform.PlacementPooled).ID
	p := newPerson(t, conn, db, org)
	for sql, audited := range map[string]bool{
		"UPDATE platform.person SET state = 'disabled' WHERE id = $1":                true,
		"UPDATE platform.membership SET owner = true WHERE person_id = $1":           true,
		"DELETE FROM platform.membership WHERE person_id = $1":                       true,
		"UPDATE platform.session SET ended_at = now() WHERE person_id = $1":          true,
		"UPDATE platform.api_key SET revoked_at = now() WHERE created_by = $1":       true,
		"UPDATE platform.session SET last_seen_at = now() WHERE person_id = $1":      false,
		"UPDATE platform.session SET idle_until = now() WHERE person_id = $1":        false,
		"UPDATE platform.api_key SET last_used_at = now() WHERE created_by = $1":     false,
		"UPDATE platform.session SET expires_at = now() WHERE person_id = $1":        true,
		"UPDATE platform.api_key SET roles = '{org_admin}' WHERE created_by = $1":    true,
		"UPDATE platform.person SET platform_roles = '{system_admin}' WHERE id = $1": true,
	} {
		tx := asPlatform(t, conn, db, id.Installation)
		tag, err := tx.Exec(t.Context(), sql, p.id)
		if err != nil || tag.RowsAffected() != 1 {
			t.Fatalf("%s: %v, %v", sql, tag, err)
		}
		err = tx.Commit(t.Context())
		if audited && code(err) != "23514" || !audited && err != nil {
			t.Errorf("%s without an event: %v", sql, err)
		}
	}
	// A membership wants an event in its own organization's log, not in any.
	tx := asPlatform(t, conn, db, id.Installation)
	if _, err := tx.Exec(t.Context(), "UPDATE platform.membership SET owner = true WHERE person_id = $1", p.id); err != nil {
		t.Fatal(err)
	}
	pending(t, tx, id.Installation)
	if err := tx.Commit(t.Context()); code(err) != "23514" {
		t.Errorf("a membership changed with an event in the installation's log alone: %v", err)
	}
}

func TestPlacementsAreFoundAndKept(t *testing.T) {
	t.Parallel()
	db := testkit.Database(t)
	conn := open(t, db.URL("sr_platform"))
	places := platform.NewPlacements(conn)
	org := testkit.Org(t, platform.PlacementSchema)
	if at, err := places.Of(t.Context(), org.ID); err != nil || at != org.Placement {
		t.Errorf("got %+v, %v; want %+v", at, err, org.Placement)
	}
	if _, err := places.Of(t.Context(), id.NewOrg()); !fault.Is(err, fault.NotFound) {
		t.Errorf("an organization that is not there: %v", err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if at, err := places.Of(t.Context(), org.ID); err != nil || at != org.Placement {
		t.Errorf("without the database: %+v, %v; want it kept", at, err)
	}
}
