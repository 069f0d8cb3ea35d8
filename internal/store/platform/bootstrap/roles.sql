-- Roles belong to the whole PostgreSQL cluster. Run as its superuser; running
-- it again mends attributes that were changed.

DO $roles$
DECLARE
    group_role text;
    login      text;
BEGIN
    -- sr_owner owns every object and logs in never. sr_tenant is what every
    -- organization's role has in common. sr_roles may create roles, and owns the
    -- one function that does. sr_catalog may read the system catalogs.
    FOREACH group_role IN ARRAY ARRAY['sr_owner', 'sr_tenant', 'sr_roles', 'sr_catalog', 'w_pool'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = group_role) THEN
            EXECUTE format('CREATE ROLE %I', group_role);
        END IF;
        EXECUTE format('ALTER ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOREPLICATION NOBYPASSRLS INHERIT %s',
            group_role, CASE group_role WHEN 'sr_roles' THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END);
    END LOOP;

    -- The application's logins do not inherit: what they may do in an
    -- organization they may do only after SET ROLE. sr_migrator works as
    -- sr_owner from its first statement.
    FOR login IN
        SELECT 'sr_app_' || lpad(n::text, 2, '0') FROM generate_series(0, 15) n
        UNION ALL SELECT unnest(ARRAY['sr_platform', 'sr_audit', 'sr_jobs', 'sr_provisioner', 'sr_migrator', 'sr_inspector'])
    LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = login) THEN
            EXECUTE format('CREATE ROLE %I', login);
        END IF;
        EXECUTE format('ALTER ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS NOINHERIT', login);
        -- Every role may change what its own sessions begin with; whatever it
        -- was, it goes. pg_temp is named, and last: unnamed, it would come
        -- before every schema, and a temporary table could shadow a real one.
        EXECUTE format('ALTER ROLE %I RESET ALL', login);
        EXECUTE format('ALTER ROLE %I SET search_path = pg_catalog, pg_temp', login);
        IF login LIKE 'sr\_app\_%' THEN
            EXECUTE format('GRANT w_pool TO %I', login);
        END IF;
    END LOOP;
END
$roles$;

GRANT sr_tenant TO w_pool;
GRANT sr_tenant TO sr_roles WITH ADMIN OPTION;
GRANT sr_owner TO sr_migrator;
GRANT sr_catalog TO sr_owner;
