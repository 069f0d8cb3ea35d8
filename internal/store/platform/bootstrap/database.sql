-- What PUBLIC may do in this database. PostgreSQL's defaults trust whoever can
-- connect; here a connection may be in the hands of somebody who found a hole
-- in the application, so everything is taken away that would let it see, signal
-- or outlast the organization it serves. Run as the superuser, again at will.

REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON SCHEMA information_schema FROM PUBLIC;
GRANT USAGE ON SCHEMA information_schema TO sr_catalog; -- River's migrations look there
REVOKE ALL ON LANGUAGE plpgsql, sql FROM PUBLIC;
GRANT USAGE ON LANGUAGE plpgsql, sql TO sr_owner, sr_roles;

-- The catalogs name every schema, role and connection, and pg_class even knows
-- how many rows each table has. Drivers need the list of types, nothing else.
DO $catalogs$
DECLARE
    r record;
BEGIN
    FOR r IN
        SELECT c.oid::regclass AS name
        FROM pg_class c
        WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind IN ('r', 'v')
          AND EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = 0 AND a.privilege_type = 'SELECT')
          AND c.relname NOT IN ('pg_type', 'pg_range', 'pg_enum')
    LOOP
        EXECUTE format('REVOKE SELECT ON %s FROM PUBLIC', r.name);
        EXECUTE format('GRANT SELECT ON %s TO sr_catalog', r.name);
    END LOOP;
    -- Some catalogs are granted by column.
    FOR r IN
        SELECT a.attrelid::regclass AS name, string_agg(quote_ident(a.attname), ', ') AS columns
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'pg_catalog'::regnamespace AND a.attnum > 0
          AND EXISTS (SELECT FROM aclexplode(a.attacl) x WHERE x.grantee = 0 AND x.privilege_type = 'SELECT')
        GROUP BY 1
    LOOP
        EXECUTE format('REVOKE SELECT (%s) ON %s FROM PUBLIC', r.columns, r.name);
        EXECUTE format('GRANT SELECT (%s) ON %s TO sr_catalog', r.columns, r.name);
    END LOOP;
END
$catalogs$;

-- The checks of the promises read what the catalogs say of tables and roles,
-- by a login that may do nothing else.
GRANT SELECT ON pg_class, pg_namespace, pg_attribute, pg_constraint, pg_policy, pg_trigger, pg_roles, pg_auth_members TO sr_inspector;

-- Functions by what they would be used for: large objects have no row level
-- security; advisory locks and sleeps hold a connection or signal through it;
-- statistics, sizes, locks and snapshots tell about the neighbors, and so do
-- those that read the control file or a row's newest place, past row level
-- security; the XML family runs SQL from a string; set_config outlasts the
-- request that calls it; the last ones end other connections.
DO $functions$
DECLARE
    r record;
BEGIN
    FOR r IN
        SELECT p.oid::regprocedure AS name
        FROM pg_proc p
        WHERE p.pronamespace = 'pg_catalog'::regnamespace AND has_function_privilege('public', p.oid, 'EXECUTE')
          AND p.prorettype <> 'trigger'::regtype
          AND p.proname ~ ('^(lo_.*|loread|lowrite'
            '|pg_(try_)?advisory_.*|pg_sleep.*|pg_notify|pg_listening_channels|pg_notification_queue_usage'
            '|pg_stat_get_.*|pg_stat_.*|pg_(database|relation|total_relation|table|indexes|tablespace)_size'
            '|pg_relation_filenode|pg_relation_filepath|pg_filenode_relation|pg_tablespace_databases|pg_tablespace_location'
            '|pg_lock_status|pg_blocking_pids|pg_safe_snapshot_blocking_pids|pg_isolation_test_session_is_blocked'
            '|pg_export_snapshot|pg_prepared_(statement|xact)|pg_cursor|pg_get_multixact_members'
            '|pg_get_replication_slots|pg_last_committed_xact|pg_xact_commit_timestamp.*|pg_current_wal_.*|pg_last_wal_.*'
            '|query_to_xml.*|table_to_xml.*|schema_to_xml.*|database_to_xml.*|cursor_to_xml.*'
            '|ts_stat|ts_rewrite'
            '|pg_control_.*|pg_xact_status|txid_status|currtid2|pg_sequence_last_value|pg_nextoid'
            '|pg_logical_.*|pg_(create|copy|drop)_.*slot|pg_replication_slot_advance|pg_import_system_collations'
            '|pg_read_file_old|pg_rotate_logfile_old|binary_upgrade_.*|pg_extension_config_dump|pg_stop_making_pinned_objects'
            '|set_config'
            '|pg_cancel_backend|pg_terminate_backend)$')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', r.name);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO sr_catalog', r.name);
    END LOOP;
END
$functions$;

-- The doors enter an organization with it, as the login. An organization's role
-- cannot call it: whatever it could set would be there for the next one.
DO $doors$
BEGIN
    FOR n IN 0..15 LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION set_config(text, text, boolean) TO %I', 'sr_app_' || lpad(n::text, 2, '0'));
    END LOOP;
END
$doors$;
GRANT EXECUTE ON FUNCTION set_config(text, text, boolean) TO sr_platform;

-- River's workers wake each other with it. NOTIFY itself cannot be revoked.
GRANT EXECUTE ON FUNCTION pg_notify(text, text) TO sr_jobs;

-- A function is executable by PUBLIC from birth unless its owner says otherwise.
ALTER DEFAULT PRIVILEGES FOR ROLE sr_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

CREATE SCHEMA IF NOT EXISTS sr AUTHORIZATION sr_owner;
CREATE SCHEMA IF NOT EXISTS platform AUTHORIZATION sr_owner;

-- The one way to make a role. The login that provisions organizations has no
-- CREATEROLE: in PostgreSQL 15 that is one GRANT away from pg_execute_server_program.
CREATE OR REPLACE FUNCTION sr.create_tenant_role(name text, slice int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF name !~ '^w_[0-9a-f]{32}$' OR slice NOT BETWEEN 0 AND 15 THEN
        RAISE EXCEPTION 'sr.create_tenant_role: not the name of a tenant role, or no slice' USING ERRCODE = '22023';
    END IF;
    EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT IN ROLE sr_tenant', name);
    EXECUTE format('GRANT %I TO %I', name, 'sr_app_' || lpad(slice::text, 2, '0'));
END
$$;
REVOKE ALL ON FUNCTION sr.create_tenant_role(text, int) FROM PUBLIC;
ALTER FUNCTION sr.create_tenant_role(text, int) OWNER TO sr_roles;
GRANT EXECUTE ON FUNCTION sr.create_tenant_role(text, int) TO sr_owner;
