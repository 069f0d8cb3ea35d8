package tenant_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"strongroom/internal/base/id"
	"strongroom/internal/base/policy"
	"strongroom/internal/store/tenant"
)

// An oracle answers a question that was not asked: whether an id exists. Each
// statement is run with an id of the victim's ({x}) and with one that nobody
// has; the two must not be told apart.
var oracles = []struct{ name, kind, sql string }{
	{"a record under one's own name with an id that is taken", "record", newRecord + "SELECT {aorg}, {x}, {acol}, 1, 1, '\\x01', NULL, 'o', now(), {acol}, now(), {acol}"},
	{"a record in the victim's name with an id that is taken", "record", newRecord + "SELECT {vorg}, {x}, {vcol}, 1, 1, '\\x01', NULL, 'o', now(), {acol}, now(), {acol}"},
	{"a record in an organization that exists", "org", newRecord + "SELECT {x}, {acol}, {acol}, 1, 1, '\\x01', NULL, 'o', now(), {acol}, now(), {acol}"},
	{"a record in a collection that exists", "collection", newRecord + "SELECT {aorg}, gen_random_uuid(), {x}, 1, 1, '\\x01', NULL, 'o', now(), {acol}, now(), {acol}"},
	{"the same with DO NOTHING", "record", newRecord + "SELECT {aorg}, {x}, {acol}, 1, 1, '\\x01', NULL, 'o', now(), {acol}, now(), {acol} ON CONFLICT DO NOTHING"},
	{"the same in the victim's name with DO NOTHING", "record", newRecord + "SELECT {vorg}, {x}, {vcol}, 1, 1, '\\x01', NULL, 'o', now(), {acol}, now(), {acol} ON CONFLICT DO NOTHING"},
	{"the same with DO UPDATE", "record", newRecord + "SELECT {aorg}, {x}, {acol}, 1, 1, '\\x01', NULL, 'o', now(), {acol}, now(), {acol} ON CONFLICT (org_id, id) DO UPDATE SET version = 9 RETURNING version::text"},
	{"the same in the victim's name with DO UPDATE", "record", newRecord + "SELECT {vorg}, {x}, {vcol}, 1, 1, '\\x01', NULL, 'o', now(), {acol}, now(), {acol} ON CONFLICT (org_id, id) DO UPDATE SET version = 9 RETURNING version::text"},
	{"a collection with a token that is taken", "collection", "INSERT INTO collection VALUES ({aorg}, gen_random_uuid(), uuid_send({x}), 1, 1, '\\x01', now(), {acol})"},
	{"a collection in the victim's name with a token that is taken", "collection", "INSERT INTO collection VALUES ({vorg}, gen_random_uuid(), uuid_send({x}), 1, 1, '\\x01', now(), {acol})"},
	{"a collection in an organization that exists", "org", "INSERT INTO collection VALUES ({x}, gen_random_uuid(), '\\x01', 1, 1, '\\x01', now(), {acol})"},
	{"a link to a record that exists", "record", "INSERT INTO link VALUES ({aorg}, gen_random_uuid(), 1, {arec}, {x}, 'record', '\\x09', '\\x01', now(), {acol})"},
	{"a link with an id that is taken", "link", "INSERT INTO link VALUES ({aorg}, {x}, 1, {arec}, {arec}, 'record', '\\x09', '\\x01', now(), {acol})"},
	{"a version of a record that exists", "record", "INSERT INTO record_version VALUES ({aorg}, {x}, 1, 'created', '\\x01', NULL, 'o', now(), {acol})"},
	{"a file with an id that is taken", "file", "INSERT INTO file VALUES ({aorg}, {x}, 1, 1, 1, 1, 'stored', '\\x01', NULL, 'o', now(), {acol}, now(), {acol})"},
	{"an idempotency key that was used", "other", "INSERT INTO idempotency VALUES ({aorg}, {x}, '\\x02', '\\x03', NULL, NULL, now())"},
	{"trash with an id that is taken", "record", "INSERT INTO trash VALUES ({aorg}, {x}, 'record', NULL, 1, 1, '\\x01', NULL, 'o', now(), {acol}, now(), {acol}, now(), {acol}, now())"},
	{"one's own row renamed to an id that is taken", "record", "UPDATE record SET id = {x} WHERE id = {arec}"},
	{"one's own row moved to a collection that exists", "collection", "UPDATE record SET collection_id = {x} WHERE id = {arec}"},
	{"one's own row moved to an organization that exists", "org", "UPDATE record SET org_id = {x} WHERE id = {arec}"},
	{"an update of an id", "record", "UPDATE record SET version = 9 WHERE id = {x}"},
	{"a deletion of an id", "record", "DELETE FROM record WHERE id = {x}"},
	{"a deletion of a collection that is in use", "collection", "DELETE FROM collection WHERE id = {x}"},
	{"a selection of an id", "record", "SELECT id::text FROM record WHERE id = {x}"},
	{"a lock on an id", "record", "SELECT id::text FROM record WHERE id = {x} FOR UPDATE NOWAIT"},
	{"an error if an id exists", "record", "SELECT (1 / (SELECT count(*) - 1 FROM record WHERE id = {x}))::text"},
	{"an error on the row itself", "record", "SELECT 'a' FROM record WHERE 1 / (CASE WHEN id = {x} THEN 0 ELSE 1 END) > 0"},
	{"a scalar subquery with too many rows", "org", "SELECT (SELECT id FROM record WHERE org_id = {x})::text"},
	{"the log of an organization", "org", "SELECT event_id::text FROM audit.event WHERE org_id = {x}"},
	{"a merge", "record", "MERGE INTO record r USING (VALUES ({x})) v(id) ON r.id = v.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN DO NOTHING"},
}

func (p *pair) idOf(kind string) uuid.UUID {
	v := p.victim
	return map[string]uuid.UUID{"org": v.ID.UUID(), "record": v.record, "collection": v.collection, "link": v.link, "file": v.file, "other": v.other}[kind]
}

var anyUUID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

func TestNoAnswerTellsWhetherAnIdExists(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		for _, o := range oracles {
			ask := func(x uuid.UUID) string {
				r := p.probe(t, o.name, strings.ReplaceAll(o.sql, "{x}", lit(x)))
				text := ""
				if r.err != nil {
					text = anyUUID.ReplaceAllString(r.err.Error(), "id")
				}
				return fmt.Sprintf("%d affected, rows %q, error %q", r.n, r.rows, text)
			}
			there, nowhere := ask(p.idOf(o.kind)), ask(uuid.New())
			if there != nowhere {
				t.Errorf("%s: with the victim's id %s; with nobody's %s", o.name, there, nowhere)
			}
		}
		p.visit(t, "oracles were asked")
	})
}

var errProbe = errors.New("only a probe")

// probe is try in a request that takes everything back.
func (p *pair) probe(t *testing.T, name, text string) (out result) {
	t.Helper()
	request := id.NewRequest()
	_, receipt, err := tenant.Do(t.Context(), p.store, tenant.Request{Actor: p.attacker.who, Org: p.attacker.ID, Action: policy.RecordUpdate, ID: request},
		func(ctx context.Context, tx *tenant.Tx) (int, error) {
			out = run(ctx, tx, p.sql(text))
			return 0, errProbe
		})
	if receipt.IsZero() || err == nil {
		t.Errorf("%s: %v without a receipt", name, err)
	}
	p.attempts = append(p.attempts, attempt{name, request, policy.RecordUpdate, false})
	p.unharmed(t, name, out)
	return out
}

// Time is an oracle too. It cannot be compared in a test, but what it is spent
// on can: the same plan that touches as many rows, whether the id is the
// victim's or nobody's.
func TestALookUpDoesTheSameWorkWhetherOrNotAnIdExists(t *testing.T) {
	eachPair(t, func(t *testing.T, p *pair) {
		for _, sql := range []string{
			"SELECT FROM record WHERE id = {x}",
			"SELECT FROM record WHERE org_id = {vorg} AND id = {x}",
			"SELECT FROM record WHERE org_id = {aorg} AND id = {x}",
			"SELECT FROM record_version WHERE record_id = {x}",
			"SELECT FROM file WHERE id = {x}",
			"UPDATE record SET version = 1 WHERE id = {x}",
			"DELETE FROM record WHERE org_id = {vorg} AND id = {x}",
		} {
			for _, indexed := range []string{"", "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; "} {
				work := func(x uuid.UUID) (plan string) {
					p.bare(t, func(conn *pgx.Conn) {
						r := script1(t.Context(), conn, "BEGIN; "+p.entered(conn)+indexed+"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) "+
							p.sql(strings.ReplaceAll(sql, "{x}", lit(x))))
						if r.err != nil {
							t.Errorf("%s: %v", sql, r.err)
						}
						plan = anyUUID.ReplaceAllString(strings.Join(r.rows, "\n"), "id")
						_, _ = conn.PgConn().Exec(t.Context(), "ROLLBACK").ReadAll()
					})
					return plan
				}
				x := p.victim.record
				if strings.Contains(sql, "file") {
					x = p.victim.file
				}
				if there, nowhere := work(x), work(uuid.New()); there != nowhere {
					t.Errorf("%s: for the victim's id\n%s\nfor nobody's\n%s", sql, there, nowhere)
				}
			}
		}
	})
}
