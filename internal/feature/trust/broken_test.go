package trust_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"strongroom/internal/base/id"
	"strongroom/internal/base/seal"
	"strongroom/internal/feature"
	"strongroom/internal/feature/trust"
	"strongroom/internal/store/platform"
	"strongroom/internal/store/tenant"
	"strongroom/internal/testkit"
)

// sabotage is one way in which a mechanism can fail.
type sabotage struct {
	name, clause string
	want         string // in the evidence
	sql, mend    string // run as the superuser, before and after
	change       func(t *testing.T, w *world, env *feature.Env)
	still        string // a clause that is kept all the same; "" for API-3/https
}

const swallow = `CREATE FUNCTION public.swallow() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN IF session_user = 'sr_audit' AND NOT coalesce(NEW.void, false) THEN RETURN NULL; END IF; RETURN NEW; END $$;
GRANT EXECUTE ON FUNCTION public.swallow() TO PUBLIC; GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC; GRANT USAGE ON SCHEMA public TO PUBLIC;
CREATE FUNCTION public.swallow_placed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER swallow BEFORE INSERT ON audit.pending FOR EACH ROW EXECUTE FUNCTION public.swallow(); ALTER TABLE audit.pending ENABLE ALWAYS TRIGGER swallow;
CREATE TRIGGER swallow BEFORE INSERT ON audit.event FOR EACH ROW EXECUTE FUNCTION public.swallow_placed(); ALTER TABLE audit.event ENABLE ALWAYS TRIGGER swallow`

const regurgitate = `DROP TRIGGER swallow ON audit.pending; DROP TRIGGER swallow ON audit.event; DROP FUNCTION public.swallow(); DROP FUNCTION public.swallow_placed();
REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC; REVOKE USAGE ON SCHEMA public FROM PUBLIC`

// trigger is a script that makes a table do something else than it is told.
func trigger(table, when, body string) string {
	return `CREATE FUNCTION public.spoil() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN ` + body + ` END $$;
CREATE TRIGGER spoil BEFORE ` + when + ` ON ` + table + ` FOR EACH ROW EXECUTE FUNCTION public.spoil()`
}

const untrigger = `DROP FUNCTION public.spoil() CASCADE`

// sabotages has at least one for each check that is built here. Those of the
// edge and of files have their own in their folders.
var sabotages = []sabotage{
	{name: "a column beside the body holds the content", clause: "ENC-1/records", want: "stands in the clear in the table record",
		sql: "ALTER TABLE pool.record ADD COLUMN note text", mend: "ALTER TABLE pool.record DROP COLUMN note", still: "ENC-2/keys",
		change: onRequest(func(t *testing.T, w *world, r *http.Request, body []byte) {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/records/") {
				w.run(t, "UPDATE pool.record SET note = '"+string(body)+"'")
			}
		})},
	{name: "a table that nobody knows holds the content in base64", clause: "ENC-1/records", want: "stands in the clear in the table cache",
		sql:  "CREATE TABLE {schema}.cache (body bytea); GRANT SELECT ON {schema}.cache TO {role}",
		mend: "DROP TABLE {schema}.cache",
		change: onRequest(func(t *testing.T, w *world, r *http.Request, body []byte) {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/records/") {
				w.run(t, "INSERT INTO {schema}.cache VALUES (convert_to('"+base64.StdEncoding.EncodeToString(body)+"', 'UTF8'))")
			}
		})},
	{name: "one organization's keys are another's", clause: "ENC-1/records", want: "opens with another organization's keys", change: sharedKeys},
	{name: "people's addresses are stored in a column", clause: "ENC-1/names", want: "a person's address stands in the clear in the table platform.person",
		sql:  "ALTER TABLE platform.person ADD COLUMN email text; UPDATE platform.person SET email = {email} WHERE id = {person}",
		mend: "ALTER TABLE platform.person DROP COLUMN email"},
	{name: "a collection is found by its bare name", clause: "ENC-1/names", want: " stands in the clear in the table collection",
		sql: "ALTER TABLE {schema}.collection ADD COLUMN name bytea", mend: "ALTER TABLE {schema}.collection DROP COLUMN name",
		change: onRequest(func(t *testing.T, w *world, r *http.Request, body []byte) {
			if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/collections") {
				w.run(t, "UPDATE {schema}.collection SET name = convert_to('"+string(body)+"', 'UTF8')")
			}
		})},
	{name: "the log has a column for the client", clause: "ENC-1/audit", want: "the client's name stands in the clear",
		sql: "ALTER TABLE audit.event ADD COLUMN agent text; CREATE TABLE public.agent (name text); " +
			trigger("audit.event", "INSERT", "NEW.agent := (SELECT max(name) FROM public.agent); RETURN NEW;"),
		mend: untrigger + "; ALTER TABLE audit.event DROP COLUMN agent; DROP TABLE public.agent",
		change: beforeRequest(func(t *testing.T, w *world, r *http.Request, _ []byte) {
			if name := r.Header.Get("User-Agent"); name != "" {
				w.run(t, "DELETE FROM public.agent; INSERT INTO public.agent VALUES ('"+name+"')")
			}
		})},
	{name: "a column is not sealed and not listed", clause: "ENC-1/clear_columns", want: "the column note of pool.record is not sealed",
		sql: "ALTER TABLE pool.record ADD COLUMN note text", mend: "ALTER TABLE pool.record DROP COLUMN note", still: "ENC-1/records"},
	{name: "a view shows a column of a sealed table", clause: "ENC-1/clear_columns", want: "not sealed",
		sql: "CREATE VIEW pool.sizes AS SELECT id, length(body) FROM pool.record", mend: "DROP VIEW pool.sizes"},

	{name: "organizations share their keys", clause: "ENC-2/keys", want: "another organization's keys open", change: sharedKeys},
	{name: "a login reaches the database over the network in the clear", clause: "ENC-4/database", want: "without TLS", still: "ENC-4/api",
		change: func(t *testing.T, w *world, env *feature.Env) {
			env.Inspect = platform.NewInspector(overTCP(t, w.s.Doors.DB, "sr_jobs"))
		}},
	{name: "the API's description holds the database's address", clause: "ENC-5/credentials", want: "hands out the database's address",
		change: onAnswer(func(w *world, r *http.Request, a *http.Response, body []byte) []byte {
			if r.URL.Path == "/openapi.json" {
				return bytes.Replace(body, []byte(`"info"`), []byte(`"x-source": "`+base64.StdEncoding.EncodeToString([]byte(w.s.Doors.DB.URL("sr_platform")))+`", "info"`), 1)
			}
			return body
		})},
	{name: "an answer's header holds the key of the capabilities", clause: "ENC-5/credentials", want: "hands out the key of the capabilities",
		change: onAnswer(func(w *world, r *http.Request, a *http.Response, body []byte) []byte {
			a.Header.Set("Strongroom-Debug", base64.RawURLEncoding.EncodeToString(w.s.Doors.Capability[:]))
			return body
		})},
	{name: "other sites may read answers", clause: "ENC-5/credentials", want: "pages of other sites",
		change: onAnswer(func(_ *world, _ *http.Request, a *http.Response, body []byte) []byte {
			a.Header.Set("Access-Control-Allow-Origin", "*")
			return body
		})},
	{name: "the operator's page is on the network", clause: "ENC-5/credentials", want: "open to the network",
		change: onAnswer(func(_ *world, r *http.Request, a *http.Response, body []byte) []byte {
			if r.URL.Path == "/keys/status" {
				a.StatusCode = http.StatusOK
			}
			return body
		})},

	{name: "a schema's table is granted to the pool's role", clause: "ISO-1/schema", want: "can be used by another role",
		sql: "GRANT SELECT ON {schema}.link TO w_pool", mend: "REVOKE SELECT ON {schema}.link FROM w_pool", still: "ISO-2/policies"},
	{name: "a login may become an organization's role", clause: "ISO-1/schema", want: "sr_platform can act as the role of an organization",
		sql: "GRANT {role} TO sr_platform", mend: "REVOKE {role} FROM sr_platform"},
	{name: "an organization's role may become another's", clause: "ISO-1/schema", want: "can",
		sql: "GRANT {their_role} TO {role}", mend: "REVOKE {their_role} FROM {role}"},
	{name: "an organization's role may read the pool", clause: "ISO-1/schema", want: "is granted to the role of a single organization",
		sql: "GRANT SELECT ON pool.record TO {role}", mend: "REVOKE SELECT ON pool.record FROM {role}"},

	{name: "row-level security is off on one table of one schema", clause: "ISO-2/policies", want: "link has no forced row-level security", still: "ISO-2/private_rows",
		sql: "ALTER TABLE {schema}.link DISABLE ROW LEVEL SECURITY", mend: "ALTER TABLE {schema}.link ENABLE ROW LEVEL SECURITY"},
	{name: "row-level security does not bind the owner", clause: "ISO-2/policies", want: "file has no forced row-level security",
		sql: "ALTER TABLE pool.file NO FORCE ROW LEVEL SECURITY", mend: "ALTER TABLE pool.file FORCE ROW LEVEL SECURITY"},
	{name: "a policy lets everything through", clause: "ISO-2/policies", want: "the policy isolation lets through more",
		sql:  "ALTER POLICY isolation ON pool.collection USING (true)",
		mend: "ALTER POLICY isolation ON pool.collection USING (org_id = (SELECT sr.org()))"},
	{name: "a second policy opens what the first one closes", clause: "ISO-2/policies", want: "the policy support lets through more",
		sql: "CREATE POLICY support ON pool.trash FOR SELECT USING (visibility = 'o')", mend: "DROP POLICY support ON pool.trash"},
	{name: "the log has no row-level security", clause: "ISO-2/policies", want: "audit.event has no forced",
		sql: "ALTER TABLE audit.event DISABLE ROW LEVEL SECURITY", mend: "ALTER TABLE audit.event ENABLE ROW LEVEL SECURITY"},
	{name: "a login is exempt", clause: "ISO-2/policies", want: "has the power bypassrls",
		sql: "ALTER ROLE sr_app_03 BYPASSRLS", mend: "ALTER ROLE sr_app_03 NOBYPASSRLS"},
	{name: "a login may become the owner", clause: "ISO-2/policies", want: "can act as sr_owner",
		sql: "GRANT sr_owner TO sr_jobs", mend: "REVOKE sr_owner FROM sr_jobs"},
	{name: "a view shows what is behind a policy", clause: "ISO-2/policies", want: "is no table",
		sql: "CREATE VIEW pool.recent AS SELECT id FROM pool.record", mend: "DROP VIEW pool.recent"},
	{name: "a table is a view that its owner sees through", clause: "ISO-2/policies", want: "records of other organizations", still: "ISO-1/schema",
		sql:  "ALTER TABLE pool.record RENAME TO record_behind; CREATE VIEW pool.record AS SELECT * FROM pool.record_behind; GRANT SELECT, INSERT, UPDATE, DELETE ON pool.record TO w_pool; ALTER VIEW pool.record OWNER TO sr_root",
		mend: "DROP VIEW pool.record; ALTER TABLE pool.record_behind RENAME TO record",
		change: func(_ *testing.T, _ *world, env *feature.Env) {
			env.Inspect = blind{env.Inspect}
		}},

	{name: "row-level security is off in the pool", clause: "ISO-2/arbitrary_sql", want: "got through", still: "ISO-1/schema",
		sql: "ALTER TABLE pool.record DISABLE ROW LEVEL SECURITY", mend: "ALTER TABLE pool.record ENABLE ROW LEVEL SECURITY"},
	{name: "an organization's role was made a member of the owner", clause: "ISO-2/arbitrary_sql", want: "got through",
		sql: "GRANT sr_owner TO {role}", mend: "REVOKE sr_owner FROM {role}"},
	{name: "a schema's table is open to everybody", clause: "ISO-2/arbitrary_sql", want: "got through",
		sql:  "GRANT USAGE ON SCHEMA {theirs} TO PUBLIC; GRANT SELECT ON {theirs}.record TO PUBLIC; CREATE POLICY open ON {theirs}.record USING (true)",
		mend: "DROP POLICY open ON {theirs}.record; REVOKE SELECT ON {theirs}.record FROM PUBLIC; REVOKE USAGE ON SCHEMA {theirs} FROM PUBLIC"},
	{name: "temporary tables may be made", clause: "ISO-2/arbitrary_sql", want: "a temporary table in front of a real one got through",
		sql: "DO $$ BEGIN EXECUTE format('GRANT TEMP ON DATABASE %I TO PUBLIC', current_database()); END $$", mend: "DO $$ BEGIN EXECUTE format('REVOKE TEMP ON DATABASE %I FROM PUBLIC', current_database()); END $$"},
	{name: "the capability is not checked", clause: "ISO-2/arbitrary_sql", want: "got through",
		sql: "ALTER FUNCTION sr.org() RENAME TO org_checked; CREATE FUNCTION sr.org() RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER AS $$ SELECT nullif(left(current_setting('sr.cap', true), 32), '')::uuid $$; GRANT EXECUTE ON FUNCTION sr.org() TO PUBLIC; " +
			"ALTER POLICY isolation ON pool.record USING (org_id = (SELECT sr.org()))",
		mend: "ALTER POLICY isolation ON pool.record USING (org_id = (SELECT sr.org_checked()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr()) OR pool.was_given(org_id, id, owner_id))); DROP FUNCTION sr.org(); ALTER FUNCTION sr.org_checked() RENAME TO org"},

	{name: "the policy forgets whose a private row is", clause: "ISO-2/private_rows", want: "another member's private record", still: "ISO-2/arbitrary_sql",
		sql:  "ALTER POLICY isolation ON pool.record USING (org_id = (SELECT sr.org()))",
		mend: "ALTER POLICY isolation ON pool.record USING (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr()) OR pool.was_given(org_id, id, owner_id)))"},
	{name: "only the history forgets it", clause: "ISO-2/private_rows", want: "reaches another member's private rows",
		sql:  "ALTER POLICY isolation ON {schema}.record_version USING (org_id = (SELECT sr.org()))",
		mend: "ALTER POLICY isolation ON {schema}.record_version USING (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr()) OR {schema}.was_given(org_id, record_id, owner_id)))"},

	{name: "the policy of the trash forgets whose it is", clause: "DATA-5/private", want: "another member's private record", still: "DATA-5/sections",
		sql:  "ALTER POLICY isolation ON pool.trash USING (org_id = (SELECT sr.org()))",
		mend: "ALTER POLICY isolation ON pool.trash USING (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr()) OR pool.was_given(org_id, id, owner_id)))"},
	{name: "a private collection's records are everybody's", clause: "DATA-5/private", want: "is not private",
		sql: trigger("{schema}.record", "INSERT", "NEW.visibility := 'o'; RETURN NEW;"), mend: untrigger},
	{name: "everything was given to everybody", clause: "DATA-5/shared", want: "another member's private record", still: "DATA-5/sections",
		sql:  "ALTER FUNCTION pool.was_given(uuid, uuid, uuid) RENAME TO was_given_checked; CREATE FUNCTION pool.was_given(uuid, uuid, uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true'; GRANT EXECUTE ON FUNCTION pool.was_given(uuid, uuid, uuid) TO w_pool; ALTER POLICY isolation ON pool.record USING (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr()) OR pool.was_given(org_id, id, owner_id)))",
		mend: "DROP FUNCTION pool.was_given(uuid, uuid, uuid) CASCADE; ALTER FUNCTION pool.was_given_checked(uuid, uuid, uuid) RENAME TO was_given; CREATE POLICY isolation ON pool.record TO sr_tenant USING (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr()) OR pool.was_given(org_id, id, owner_id)))"},
	{name: "what was given cannot be taken back", clause: "DATA-5/shared", want: "no more shared",
		sql: trigger("{schema}.record_grant", "DELETE", "RETURN NULL;"), mend: untrigger + "; DELETE FROM {schema}.record_grant"},
	{name: "nobody is given anything", clause: "DATA-5/shared", want: "answers 404, not 200", still: "DATA-5/private",
		sql: trigger("{schema}.record_grant", "INSERT", "RETURN NULL;"), mend: untrigger},
	{name: "a person's leaf is not the one that her record names", clause: "DATA-5/sections", want: "opens without her key", still: "DATA-5/private",
		sql: trigger("pool.record_subject", "INSERT", "NEW.leaf := NEW.leaf + 1; RETURN NEW;"), mend: untrigger},
	{name: "nobody knows which records hold a person", clause: "DATA-5/sections", want: "no leaf is known",
		sql: trigger("{schema}.record_subject", "INSERT", "RETURN NULL;"), mend: untrigger},

	{name: "links are made and forgotten", clause: "DATA-2/recipes", want: "lead nowhere", still: "ENC-2/keys",
		sql: trigger("{schema}.link", "INSERT", "RETURN NULL;"), mend: untrigger},
	{name: "a recipe is its author's alone", clause: "DATA-2/recipes", want: "answers 404, not 200",
		sql: trigger("{schema}.record", "INSERT", "NEW.visibility := 'p'; RETURN NEW;"), mend: untrigger},
	{name: "a tool's settings are rounded", clause: "DATA-2/parameters", want: "did not come back as it was sent", still: "DATA-2/series",
		change: onAnswer(func(_ *world, r *http.Request, _ *http.Response, body []byte) []byte {
			return bytes.ReplaceAll(body, []byte("1.50e-10"), []byte("1.5e-10"))
		})},
	{name: "the values of a series are rounded", clause: "DATA-2/series", want: "did not come back as it was sent", still: "DATA-2/parameters",
		change: onAnswer(func(_ *world, r *http.Request, _ *http.Response, body []byte) []byte {
			return bytes.ReplaceAll(body, []byte("4.680,0]"), []byte("4.68,0]"))
		})},
	{name: "a record loses its title", clause: "DATA-4/metadata", want: "does not have its title",
		change: onAnswer(func(_ *world, r *http.Request, _ *http.Response, body []byte) []byte {
			return bytes.Replace(body, []byte(`"title":"Scratch `), []byte(`"title":"`), 1)
		})},
	{name: "a result's links lead to itself", clause: "DATA-7/results", want: "lead nowhere", still: "DATA-2/series",
		sql: trigger("pool.link", "INSERT", "NEW.to_id := NEW.from_id; RETURN NEW;"), mend: untrigger},
	{name: "the chain of a result is cut", clause: "DATA-7/provenance", want: "lead nowhere", still: "DATA-4/metadata",
		sql: trigger("pool.link", "INSERT", "RETURN NULL;"), mend: untrigger},
	{name: "nobody knows of private records", clause: "DATA-8/evolution", want: "a private record of another member", still: "DATA-8/storage",
		sql:  "ALTER POLICY examination ON pool.record USING (org_id = (SELECT sr.org()) AND visibility = 'o')",
		mend: "ALTER POLICY examination ON pool.record USING (org_id = (SELECT sr.org()))"},
	{name: "the trash is not looked at", clause: "DATA-8/evolution", want: "in the trash", still: "ENC-2/keys",
		sql: trigger("{schema}.trash", "INSERT", "NEW.collection_id := NEW.id; RETURN NEW;"), mend: untrigger + "; DELETE FROM {schema}.trash"},
	{name: "an organization of the pool is not known as one", clause: "ISO-1/measurements", want: "is not refused measurement kinds", still: "DATA-8/storage",
		change: func(_ *testing.T, _ *world, env *feature.Env) {
			// To the door it is what it is not, as if its placement were another.
			env.Canaries = slices.Clone(env.Canaries)
			for i, c := range env.Strange {
				if c.Placement == platform.PlacementSchema {
					c.Placement = platform.PlacementPooled
					env.Strange = slices.Clone(env.Strange)
					env.Strange[i] = c
				}
			}
		}},
	{name: "the refusal says something else", clause: "ISO-1/measurements", want: "is not refused measurement kinds",
		change: onAnswer(func(_ *world, r *http.Request, a *http.Response, body []byte) []byte {
			return bytes.ReplaceAll(body, []byte("pooled_measurements"), []byte("conflict"))
		})},

	{name: "a table has lost its foreign key", clause: "ISO-3/foreign_keys", want: "pool.link is not bound", still: "ISO-2/policies",
		sql: "ALTER TABLE pool.link DROP CONSTRAINT link_org_id_fkey", mend: "ALTER TABLE pool.link ADD CONSTRAINT link_org_id_fkey FOREIGN KEY (org_id) REFERENCES pool.org (id)"},
	{name: "a foreign key was never validated", clause: "ISO-3/foreign_keys", want: "trash is not bound",
		sql:  "ALTER TABLE {schema}.trash DROP CONSTRAINT trash_org_id_fkey; ALTER TABLE {schema}.trash ADD CONSTRAINT trash_org_id_fkey FOREIGN KEY (org_id) REFERENCES {schema}.org (id) NOT VALID",
		mend: "ALTER TABLE {schema}.trash VALIDATE CONSTRAINT trash_org_id_fkey"},
	{name: "the anchor of a schema is cut off", clause: "ISO-3/foreign_keys", want: "is not bound",
		sql: "ALTER TABLE {schema}.org DROP CONSTRAINT org_id_fkey", mend: "ALTER TABLE {schema}.org ADD CONSTRAINT org_id_fkey FOREIGN KEY (id) REFERENCES platform.org (id)"},
	{name: "an organization's column may be empty", clause: "ISO-3/foreign_keys", want: "is not bound",
		sql:  "ALTER TABLE pool.idempotency DROP CONSTRAINT idempotency_pkey; ALTER TABLE pool.idempotency ALTER org_id DROP NOT NULL",
		mend: "ALTER TABLE pool.idempotency ALTER org_id SET NOT NULL; ALTER TABLE pool.idempotency ADD PRIMARY KEY (org_id, actor_id, key_hash)"},

	{name: "the API forgets to ask who belongs where", clause: "OWN-3/interfaces", want: "to a member of another organization", still: "OWN-2/purpose", change: noAuthorization},
	{name: "an operation is about no organization", clause: "OWN-3/interfaces", want: "nobody has said why",
		change: onAnswer(func(_ *world, r *http.Request, _ *http.Response, body []byte) []byte {
			if r.URL.Path == "/openapi.json" {
				return bytes.Replace(body, []byte(`"/v1/sessions"`), []byte(`"/v1/everything"`), 1)
			}
			return body
		})},
	{name: "a list is answered with another organization's", clause: "ISO-7/api", want: "shows another organization",
		change: redirected(func(w *world, r *http.Request) (string, string) {
			mine, theirs := w.env.Canaries[1], w.env.Strange[1]
			if r.Method == http.MethodGet && r.URL.Path == mine.Path("/collections/", feature.CanaryKind, "/records") {
				return theirs.Path("/collections/", feature.CanaryKind, "/records"), theirs.Token
			}
			return "", ""
		})},
	{name: "a cursor is good for everybody", clause: "ISO-7/api", want: "another organization's cursor",
		change: redirected(func(w *world, r *http.Request) (string, string) {
			if r.URL.Query().Get("cursor") != "" {
				return w.env.Canaries[0].Path("/audit"), w.env.Canaries[0].Token
			}
			return "", ""
		})},
	{name: "the purpose is not looked at", clause: "OWN-2/purpose", want: "for training answers 200",
		change: beforeRequest(func(_ *testing.T, _ *world, r *http.Request, _ []byte) { r.Header.Del("Strongroom-Purpose") })},

	{name: "an event is gone from the log", clause: "ISO-8/log", want: "events up to place", still: "AUD-1/append_only",
		sql:  "CREATE TABLE public.gone AS SELECT * FROM audit.event WHERE org_id = {org} AND idx = 1; DELETE FROM audit.event WHERE org_id = {org} AND idx = 1",
		mend: "INSERT INTO audit.event SELECT * FROM public.gone; DROP TABLE public.gone"},
	{name: "logs share a key", clause: "ISO-8/log", want: "key in common", change: sharedKeys},
	{name: "the log's writer may change entries", clause: "AUD-1/append_only", want: "the role sr_audit has the privilege UPDATE on audit.event", still: "AUD-3/trail",
		sql: "GRANT UPDATE (body) ON audit.event TO sr_audit", mend: "REVOKE UPDATE (body) ON audit.event FROM sr_audit"},
	{name: "organizations may remove entries", clause: "AUD-1/append_only", want: "has the privilege DELETE",
		sql: "GRANT DELETE ON audit.event TO sr_tenant", mend: "REVOKE DELETE ON audit.event FROM sr_tenant"},
	{name: "a login may become the owner of the log", clause: "AUD-1/append_only", want: "can act as the owner of the log",
		sql: "GRANT sr_owner TO sr_audit", mend: "REVOKE sr_owner FROM sr_audit"},
	{name: "reads are not recorded", clause: "AUD-2/requests", want: "a read: the log has 0 events", sql: swallow, mend: regurgitate, still: "ISO-2/policies"},
	{name: "a handler answers without a receipt", clause: "AUD-2/requests", want: "a request without a credential: the log has 0 events",
		change: answered(func(r *http.Request) int {
			if r.Header.Get("Authorization") == "" {
				return http.StatusUnauthorized
			}
			return 0
		})},
	{name: "what somebody does with a session is not recorded", clause: "AUD-2/sign_in", want: "the log has 0 events of session.read", sql: swallow, mend: regurgitate},
	{name: "a wrong password is refused on the way", clause: "AUD-2/sign_in", want: "the log has 0 events of session.create, denied",
		change: onSecondSignIn},
	{name: "downloads begin before they are recorded", clause: "AUD-2/files", want: "the log has no event of file.download, opened", sql: swallow, mend: regurgitate},
	{name: "exports begin before they are recorded", clause: "AUD-2/exports", want: "before its export was on record", sql: swallow, mend: regurgitate},
	{name: "the history forgets who made a version", clause: "AUD-3/trail", want: "whose",
		sql: trigger("pool.record_version", "INSERT", "NEW.by := gen_random_uuid(); RETURN NEW;"), mend: untrigger, still: "AUD-2/requests"},
	{name: "viewing is not on the trail", clause: "AUD-3/trail", want: "the trail does not show a member's viewing",
		change: onAnswer(func(_ *world, r *http.Request, _ *http.Response, body []byte) []byte {
			if strings.HasSuffix(r.URL.Path, "/audit") {
				return []byte(`{"items":[],"next":""}`)
			}
			return body
		})},

	{name: "earlier versions are not kept", clause: "DATA-8/storage", want: "history", still: "ENC-2/keys",
		sql: trigger("{schema}.record_version", "INSERT", "RETURN NULL;"), mend: untrigger},
	{name: "an archive is damaged on its way", clause: "EXP-2/api", want: "archive:", still: "AUD-2/exports",
		change: onAnswer(func(_ *world, r *http.Request, a *http.Response, body []byte) []byte {
			if strings.HasSuffix(r.URL.Path, "/export") {
				// Behind the first entry's header, its name and its extra fields
				// (APPNOTE.TXT, section 4.3.7).
				body[30+int(body[26])+int(body[28])+10] ^= 1
			}
			return body
		})},
	{name: "the console's archives are of something else", clause: "EXP-2/console", want: "archive", still: "EXP-2/api",
		change: onAnswer(func(_ *world, r *http.Request, a *http.Response, body []byte) []byte {
			if strings.HasPrefix(r.URL.Path, "/o/") && strings.HasSuffix(r.URL.Path, "/content") {
				body[30+int(body[26])+int(body[28])+10] ^= 1 // as above
			}
			return body
		})},
	{name: "no export is ever made", clause: "EXP-2/console", want: "archives that were asked for", still: "EXP-2/api",
		sql: trigger("jobs.river_job", "INSERT", "IF NEW.args->>'job' = 'export.build' THEN RETURN NULL; END IF; RETURN NEW;"), mend: untrigger},
	{name: "the stored hash is gone", clause: "IAM-1/password", want: "signing in with address and password answers 401",
		sql:  "CREATE TABLE public.gone AS SELECT password FROM platform.person WHERE id = {person}; UPDATE platform.person SET password = NULL WHERE id = {person}",
		mend: "UPDATE platform.person SET password = (SELECT password FROM public.gone)::sr.sealed WHERE id = {person}; DROP TABLE public.gone"},
	{name: "a wrong password and an unknown address are told apart", clause: "IAM-1/password", want: "not refused alike",
		change: onAnswer(func(_ *world, r *http.Request, a *http.Response, body []byte) []byte {
			if r.URL.Path == "/v1/sessions" && a.StatusCode == http.StatusUnauthorized && a.ContentLength%2 == 0 {
				return []byte(`{"title":"` + rand.Text() + `"}`)
			}
			return []byte(strings.Replace(string(body), "title\":\"", "title\":\""+rand.Text(), 1))
		})},
	{name: "a role that is taken away stays", clause: "IAM-6/roles", want: "the role scientist is answered 200, not 403",
		sql: trigger("platform.membership", "UPDATE", "NEW.roles := OLD.roles; RETURN NEW;"), mend: untrigger, still: "IAM-7/keys"},
	{name: "a key's scope is not what was asked for", clause: "IAM-7/keys", want: "beyond its scope",
		sql: trigger("platform.api_key", "INSERT", "NEW.scopes := NEW.scopes || '{record.list}'; RETURN NEW;"), mend: untrigger, still: "IAM-1/password"},

	{name: "the page says more than the proofs", clause: "CMP-1/page", want: "in another state than the signed document", still: "CMP-1/signed",
		change: onAnswer(func(_ *world, r *http.Request, _ *http.Response, body []byte) []byte {
			if r.URL.Path == "/trust" {
				return bytes.Replace(body, []byte(`class="promise is-not_yet"`), []byte(`class="promise is-kept"`), 1)
			}
			return body
		})},
	{name: "a kept promise has no proof", clause: "CMP-1/page", want: "as kept, and no stored proof shows it",
		mend: "INSERT INTO platform.proof SELECT * FROM public.gone; DROP TABLE public.gone",
		change: func(t *testing.T, w *world, env *feature.Env) {
			if _, err := w.s.App.Proofs.Prove(t.Context(), []string{"API-3"}); err != nil {
				t.Fatal(err)
			}
			// The page is read, and the rows are gone when the check reads them.
			onRequest(func(t *testing.T, w *world, r *http.Request, _ []byte) {
				if r.URL.Path == "/trust/key" {
					w.run(t, "CREATE TABLE public.gone AS SELECT * FROM platform.proof; DELETE FROM platform.proof")
				}
			})(t, w, env)
		}},
	{name: "the page sets a cookie", clause: "CMP-1/page", want: "sets a cookie",
		change: onAnswer(func(_ *world, r *http.Request, a *http.Response, body []byte) []byte {
			if r.URL.Path == "/trust" {
				a.Header.Set("Set-Cookie", "visitor=1")
			}
			return body
		})},
	{name: "the document is changed on its way", clause: "CMP-1/signed", want: "the signed document:", still: "INC-4/security_txt",
		change: onAnswer(func(_ *world, r *http.Request, _ *http.Response, body []byte) []byte {
			if r.URL.Path == "/trust.json" {
				body[len(body)/2] ^= 1
			}
			return body
		})},
	{name: "the key that is handed out is another", clause: "CMP-1/signed", want: "signed by another key",
		change: onAnswer(func(_ *world, r *http.Request, _ *http.Response, body []byte) []byte {
			if r.URL.Path == "/trust/key" {
				return []byte(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`) // RFC 8037, appendix A.2
			}
			return body
		})},
	{name: "security.txt has expired", clause: "INC-4/security_txt", want: "has expired", still: "INC-4/intake",
		change: onAnswer(func(_ *world, r *http.Request, _ *http.Response, body []byte) []byte {
			return bytes.Replace(body, []byte("Expires: 20"), []byte("Expires: 19"), 1)
		})},
	{name: "security.txt names nobody", clause: "INC-4/security_txt", want: "names no contact",
		change: onAnswer(func(_ *world, r *http.Request, _ *http.Response, body []byte) []byte {
			return bytes.ReplaceAll(body, []byte("Contact: "), []byte("Somebody: "))
		})},
	{name: "a report is stored in the clear beside its seal", clause: "INC-4/intake", want: "stands in the clear in its row", still: "INC-4/security_txt",
		sql: "ALTER TABLE platform.report ADD COLUMN title text", mend: "ALTER TABLE platform.report DROP COLUMN title",
		change: onRequest(func(t *testing.T, w *world, r *http.Request, body []byte) {
			if r.URL.Path == "/v1/reports" && r.Method == http.MethodPost {
				w.run(t, "UPDATE platform.report SET title = '"+string(body)+"'")
			}
		})},
	{name: "a report is taken and lost", clause: "INC-4/intake", want: "no such report", sql: trigger("platform.report", "INSERT", "RETURN NULL;"), mend: untrigger},
	{name: "an edit of a plan does nothing", clause: "PLAN-1/data", want: "has no effect", still: "CMP-1/signed",
		sql: trigger("platform.plan", "UPDATE", "NEW.spec := OLD.spec; RETURN NEW;"), mend: untrigger},
	{name: "an organization may be on any plan", clause: "PLAN-1/data", want: "on a plan that there is not",
		sql: "ALTER TABLE platform.org DROP CONSTRAINT org_plan_fkey", mend: "ALTER TABLE platform.org ADD CONSTRAINT org_plan_fkey FOREIGN KEY (plan) REFERENCES platform.plan (id)"},
}

func TestEachCheckTurnsRedWhenItsMechanismBreaksAndBackWhenItIsMended(t *testing.T) {
	w := start(t)
	covered := map[string]bool{}
	for _, c := range sabotages {
		covered[c.clause] = true
		t.Run(c.clause+" when "+c.name, func(t *testing.T) {
			still := c.still
			if still == "" {
				still = "API-3/https"
			}
			mended := false
			mend := func() {
				if !mended {
					mended = true
					w.run(t, c.mend)
				}
			}
			defer mend()
			w.run(t, c.sql)
			proofs := w.prove(t, func(env *feature.Env) {
				if c.change != nil {
					c.change(t, w, env)
				}
			}, c.clause)
			if len(proofs) != 1 || len(proofs[0].Clauses) != 1 || proofs[0].State != trust.Broken || proofs[0].Clauses[0].State != trust.Broken || !strings.Contains(proofs[0].Clauses[0].Evidence, c.want) {
				t.Errorf("%+v, want it broken for %q", proofs, c.want)
			}
			if other := w.prove(t, nil, still); other[0].State != trust.Kept {
				t.Errorf("%s went with it: %+v", still, other)
			}
			mend()
			if proofs = w.prove(t, nil, c.clause); proofs[0].State != trust.Kept {
				t.Errorf("mended, and still %+v", proofs)
			}
		})
	}
	// Clauses whose own folders hold the test that breaks them.
	for _, clause := range []string{"ENC-1/files", "ISO-4/prefix", "ISO-4/key", "ISO-6/caches", "ENC-4/api", "API-2/schema", "API-3/https", "API-4/openapi"} {
		covered[clause] = true
	}
	for _, clause := range kept {
		if !covered[clause] {
			t.Errorf("nothing breaks %s", clause)
		}
	}
}

func TestABrokenClauseBreaksItsPromiseAndNoOther(t *testing.T) {
	w := start(t)
	w.run(t, "ALTER TABLE {schema}.link NO FORCE ROW LEVEL SECURITY")
	defer w.run(t, "ALTER TABLE {schema}.link FORCE ROW LEVEL SECURITY")
	for _, p := range w.prove(t, nil, "ISO") {
		want := trust.Kept
		switch p.ID {
		case "ISO-2":
			want = trust.Broken
		case "ISO-4", "ISO-5", "ISO-7", "ISO-9", "ISO-10":
			want = trust.NotYet
		}
		if p.State != want {
			t.Errorf("%s is %s, want %s: %+v", p.ID, p.State, want, p.Clauses)
		}
		for _, c := range p.Clauses {
			if c.State == trust.Broken && (p.ID != "ISO-2" || c.Name != "policies") {
				t.Errorf("%s/%s is broken: %s", p.ID, c.Name, c.Evidence)
			}
		}
	}
}

func fixed(env feature.Env) func(context.Context) (feature.Env, error) {
	return func(context.Context) (feature.Env, error) { return env, nil }
}

// blind is an inspector that says of views that they are tables.
type blind struct{ feature.Inspector }

func (b blind) Tables(ctx context.Context) ([]platform.Table, error) {
	all, err := b.Inspector.Tables(ctx)
	for i := range all {
		if all[i].Kind != "v" || all[i].Schema != "pool" {
			continue
		}
		for _, t := range all {
			if t.Schema == "pool" && t.Name == "record_behind" {
				name := all[i].Name
				all[i] = t
				all[i].Name = name
			}
		}
	}
	for i := range all { // the table itself passes for what it was
		if all[i].Schema == "pool" && all[i].Name == "record_behind" {
			all[i].Name = "record"
		}
	}
	return all, err
}

// sharedKeys is an installation in which all organizations have the keys of
// one.
func sharedKeys(t *testing.T, w *world, env *feature.Env) {
	t.Helper()
	d := w.s.Doors
	keys := func(org id.Org) seal.Keys {
		if org == id.Installation {
			return d.Keys(org)
		}
		return feature.Disguise(d.Keys(w.env.Canaries[0].Org), org)
	}
	o := tenant.Options{Audit: d.Audit, Keys: keys, NewLeaf: d.NewLeaf, Capability: d.Capability, Placements: d.Platform.Placements()}
	for i := range o.Slices {
		o.Slices[i] = d.DB.URL(platform.AppLogin(i))
	}
	s, err := tenant.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	env.Store = s
}

// overTCP leads one login to the database over a loopback address.
func overTCP(t *testing.T, db *testkit.DB, login string) func(string) string {
	t.Helper()
	cfg, err := pgx.ParseConfig(db.URL(login))
	if err != nil {
		t.Fatal(err)
	}
	socket := cfg.Host + "/.s.PGSQL." + strconv.Itoa(int(cfg.Port))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				s, err := net.Dial("unix", socket)
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(s, c); _ = s.Close() }()
				_, _ = io.Copy(c, s)
			}()
		}
	}()
	return func(name string) string {
		if name != login {
			return db.URL(name)
		}
		u := url.URL{Scheme: "postgres", User: url.User(login), Host: l.Addr().String(), Path: "/" + db.Name, RawQuery: "sslmode=disable"}
		return u.String()
	}
}

// roundTrip stands between the checks and the server, in the place of a
// mistake inside it.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func between(env *feature.Env, f func(next http.RoundTripper, r *http.Request) (*http.Response, error)) {
	c := *env.HTTP
	next := c.Transport
	c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) { return f(next, r) })
	env.HTTP = &c
}

func bodyOf(r *http.Request) []byte {
	if r.Body == nil {
		return nil
	}
	b, _ := io.ReadAll(r.Body)
	_ = r.Body.Close()
	r.Body = io.NopCloser(bytes.NewReader(b))
	return b
}

// onRequest does something after a request was answered; beforeRequest before
// it is sent.
func onRequest(f func(*testing.T, *world, *http.Request, []byte)) func(*testing.T, *world, *feature.Env) {
	return func(t *testing.T, w *world, env *feature.Env) {
		between(env, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			b := bodyOf(r)
			a, err := next.RoundTrip(r)
			f(t, w, r, b)
			return a, err
		})
	}
}

func beforeRequest(f func(*testing.T, *world, *http.Request, []byte)) func(*testing.T, *world, *feature.Env) {
	return func(t *testing.T, w *world, env *feature.Env) {
		between(env, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			f(t, w, r, bodyOf(r))
			return next.RoundTrip(r)
		})
	}
}

// onAnswer changes answers.
func onAnswer(f func(*world, *http.Request, *http.Response, []byte) []byte) func(*testing.T, *world, *feature.Env) {
	return func(_ *testing.T, w *world, env *feature.Env) {
		between(env, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			a, err := next.RoundTrip(r)
			if err != nil {
				return nil, err
			}
			b, err := io.ReadAll(a.Body)
			_ = a.Body.Close()
			b = f(w, r, a, b)
			a.Body, a.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
			return a, err
		})
	}
}

// redirected sends a request elsewhere, as somebody else: "" leaves it.
func redirected(to func(*world, *http.Request) (path, token string)) func(*testing.T, *world, *feature.Env) {
	return func(_ *testing.T, w *world, env *feature.Env) {
		between(env, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			if path, token := to(w, r); path != "" {
				r.URL.Path = path
				r.Header.Set("Authorization", "Bearer "+token)
			}
			return next.RoundTrip(r)
		})
	}
}

// noAuthorization lets whoever names an organization in as its owner.
func noAuthorization(t *testing.T, w *world, env *feature.Env) {
	redirected(func(w *world, r *http.Request) (string, string) {
		for _, c := range w.env.Strange {
			if strings.HasPrefix(r.URL.Path, c.Path()) {
				return r.URL.Path, c.Token
			}
		}
		return "", ""
	})(t, w, env)
}

// answered answers a request itself, with an identifier and without a log.
func answered(status func(*http.Request) int) func(*testing.T, *world, *feature.Env) {
	return func(_ *testing.T, _ *world, env *feature.Env) {
		between(env, func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
			if code := status(r); code != 0 {
				return &http.Response{StatusCode: code, ProtoMajor: 1, ProtoMinor: 1, Request: r, Body: http.NoBody,
					Header: http.Header{feature.RequestIDHeader: {id.NewRequest().String()}}}, nil
			}
			return next.RoundTrip(r)
		})
	}
}

// onSecondSignIn answers every sign-in but the first without asking anybody.
func onSecondSignIn(t *testing.T, w *world, env *feature.Env) {
	n := 0
	answered(func(r *http.Request) int {
		if r.URL.Path == "/v1/sessions" {
			if n++; n > 1 {
				return http.StatusUnauthorized
			}
		}
		return 0
	})(t, w, env)
}
