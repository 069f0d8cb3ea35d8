package platform

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// OwnSchema stands, in what an Inspector returns, for the schema or role of
// the organization in whose schema a table is.
const OwnSchema = "{own}"

// Table is what the catalogs say of a table. Tables of organizations' schemas
// that are alike in everything are one entry.
type Table struct {
	Schema      string       `json:"-"` // OwnSchema for a schema of an organization
	Name        string       `json:"-"`
	Count       int          `json:"-"` // how many schemas have the table in this form
	Example     string       `json:"-"` // one of those schemas
	Kind        string       `json:"kind"`
	Owner       string       `json:"owner"`
	RowSecurity bool         `json:"row_security"`
	Forced      bool         `json:"forced"` // for the owner as well
	Columns     []Column     `json:"columns"`
	Policies    []Policy     `json:"policies"`
	ForeignKeys []ForeignKey `json:"foreign_keys"`
	Grants      []Grant      `json:"grants"` // those of its owner left out
	Triggers    []string     `json:"triggers"`
}

// Place names the table for people.
func (t Table) Place() string { return t.Example + "." + t.Name }

// Column is a column of a table.
type Column struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	NotNull bool   `json:"not_null"`
}

// Policy is a policy of row-level security. What its expressions name without
// a schema stands in the table's own.
type Policy struct {
	Name       string   `json:"name"`
	Permissive bool     `json:"permissive"`
	Command    string   `json:"command"` // r, a, w, d, or * for all
	Roles      []string `json:"roles"`
	Using      string   `json:"using"`
	Check      string   `json:"check"`
}

// ForeignKey is a foreign key of a table.
type ForeignKey struct {
	Name       string   `json:"name"`
	Columns    []string `json:"columns"`
	Table      string   `json:"table"` // schema.table
	References []string `json:"references"`
	Valid      bool     `json:"valid"`
}

// Grant is a privilege on a table, or on one of its columns.
type Grant struct {
	Role      string `json:"role"`
	Privilege string `json:"privilege"`
	Column    string `json:"column"`
}

// Role is a role of the cluster.
type Role struct {
	Name    string
	Login   bool
	Inherit bool
	Powers  []string // superuser, bypassrls, createrole, createdb, replication
	Member  []string // of these roles, directly
}

// Connection is how a login reaches the database.
type Connection struct {
	Login   string
	Network string // unix or tcp
	TLS     uint16 // version; 0: none
}

// Inspector reads the database's catalogs for the checks, by a login of its
// own that may read these and nothing else: no row of any table.
type Inspector struct{ url func(login string) string }

// NewInspector connects when it is asked something.
func NewInspector(url func(login string) string) *Inspector { return &Inspector{url} }

const inspectorLogin = "sr_inspector"

func (i *Inspector) with(ctx context.Context, fn func(*pgx.Conn) error) error {
	conn, err := connect(ctx, i.url(inspectorLogin), map[string]string{"default_transaction_read_only": "on", "statement_timeout": "9000", "application_name": "strongroom-inspect"})
	if err == nil {
		err = fn(conn)
		_ = conn.Close(context.WithoutCancel(ctx))
	}
	if err != nil {
		return fmt.Errorf("platform: inspect: %w", err)
	}
	return nil
}

const inspectTables = `
WITH t AS (
  SELECT c.oid, n.nspname::text AS home, c.relname::text AS name, c.relkind, c.relowner, c.relrowsecurity, c.relforcerowsecurity, c.relacl,
    CASE WHEN n.nspname ~ '^w_[0-9a-f]{32}$' THEN '{own}' ELSE n.nspname::text END AS schema
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
), d AS (
  SELECT t.schema, t.name, t.home, jsonb_build_object(
    'kind', t.relkind::text, 'owner', t.relowner::regrole::text, 'row_security', t.relrowsecurity, 'forced', t.relforcerowsecurity,
    'columns', (SELECT jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'not_null', a.attnotnull) ORDER BY a.attname)
      FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped),
    'policies', (SELECT jsonb_agg(jsonb_build_object('name', p.polname, 'permissive', p.polpermissive, 'command', p.polcmd::text,
        'roles', (SELECT jsonb_agg(CASE WHEN r = 0 THEN 'PUBLIC' WHEN r::regrole::text = t.home THEN '{own}' ELSE r::regrole::text END ORDER BY r) FROM unnest(p.polroles) r),
        'using', replace(coalesce(pg_get_expr(p.polqual, p.polrelid), ''), t.home || '.', ''),
        'check', replace(coalesce(pg_get_expr(p.polwithcheck, p.polrelid), ''), t.home || '.', '')) ORDER BY p.polname)
      FROM pg_policy p WHERE p.polrelid = t.oid),
    'foreign_keys', (SELECT jsonb_agg(jsonb_build_object('name', k.conname, 'valid', k.convalidated,
        'table', CASE WHEN fn.nspname = t.home AND t.schema = '{own}' THEN '{own}' ELSE fn.nspname::text END || '.' || f.relname,
        'columns', (SELECT jsonb_agg(a.attname ORDER BY x.n) FROM unnest(k.conkey) WITH ORDINALITY x(num, n) JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.num),
        'references', (SELECT jsonb_agg(a.attname ORDER BY x.n) FROM unnest(k.confkey) WITH ORDINALITY x(num, n) JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.num)) ORDER BY k.conname)
      FROM pg_constraint k JOIN pg_class f ON f.oid = k.confrelid JOIN pg_namespace fn ON fn.oid = f.relnamespace WHERE k.conrelid = t.oid AND k.contype = 'f'),
    'grants', (SELECT jsonb_agg(jsonb_build_object('role', CASE WHEN g.grantee = 0 THEN 'PUBLIC' WHEN g.grantee::regrole::text = t.home THEN '{own}' ELSE g.grantee::regrole::text END,
        'privilege', g.privilege_type, 'column', g.col) ORDER BY g.grantee::regrole::text = t.home, g.grantee::regrole::text, g.privilege_type, g.col)
      FROM (SELECT x.grantee, x.privilege_type, '' AS col FROM aclexplode(t.relacl) x
        UNION ALL SELECT x.grantee, x.privilege_type, a.attname::text FROM pg_attribute a, aclexplode(a.attacl) x WHERE a.attrelid = t.oid AND a.attnum > 0) g
      WHERE g.grantee <> t.relowner),
    'triggers', (SELECT jsonb_agg(g.tgname || ' ' || g.tgenabled::text ORDER BY g.tgname) FROM pg_trigger g WHERE g.tgrelid = t.oid AND NOT g.tgisinternal)) AS form
  FROM t
)
SELECT schema, name, count(*)::int, min(home), form::text FROM d GROUP BY schema, name, form ORDER BY 1, 2, 4`

// Tables returns all tables and views but those of PostgreSQL itself.
func (i *Inspector) Tables(ctx context.Context) (out []Table, err error) {
	err = i.with(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, inspectTables)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var t Table
			var form string
			if err := rows.Scan(&t.Schema, &t.Name, &t.Count, &t.Example, &form); err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(form), &t); err != nil {
				return err
			}
			out = append(out, t)
		}
		return rows.Err()
	})
	return out, err
}

// Roles returns the roles of the cluster, those of PostgreSQL itself left out.
func (i *Inspector) Roles(ctx context.Context) (out []Role, err error) {
	err = i.with(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT r.rolname::text, r.rolcanlogin, r.rolinherit,
 array_remove(ARRAY[CASE WHEN r.rolsuper THEN 'superuser' END, CASE WHEN r.rolbypassrls THEN 'bypassrls' END, CASE WHEN r.rolcreaterole THEN 'createrole' END,
  CASE WHEN r.rolcreatedb THEN 'createdb' END, CASE WHEN r.rolreplication THEN 'replication' END], NULL)::text[],
 ARRAY(SELECT m.roleid::regrole::text FROM pg_auth_members m WHERE m.member = r.oid ORDER BY 1)::text[]
 FROM pg_roles r WHERE r.rolname !~ '^pg_' ORDER BY 1`)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Role])
		return err
	})
	return out, err
}

// Setting returns a setting of the server, "" where there is none of the name.
func (i *Inspector) Setting(ctx context.Context, name string) (value string, err error) {
	err = i.with(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT coalesce(current_setting($1, true), '')`, name).Scan(&value)
	})
	return value, err
}

// Connections opens a connection of every login, the way the server does, and
// says what it goes through.
func (i *Inspector) Connections(ctx context.Context) (out []Connection, err error) {
	for _, login := range Logins() {
		conn, err := connect(ctx, i.url(login), nil)
		if err != nil {
			return nil, fmt.Errorf("platform: inspect: %s: %w", login, err)
		}
		c := Connection{Login: login, Network: conn.PgConn().Conn().RemoteAddr().Network()}
		if t, ok := conn.PgConn().Conn().(*tls.Conn); ok {
			c.TLS = t.ConnectionState().Version
		}
		_ = conn.Close(ctx)
		out = append(out, c)
	}
	return out, nil
}
