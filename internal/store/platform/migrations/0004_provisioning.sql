-- How organizations come to be. The provisioner's login owns nothing and may
-- create nothing by itself: it may call the functions below.

-- +goose Up

CREATE SCHEMA pool;
GRANT USAGE ON SCHEMA pool TO w_pool;

-- The tables of a new schema as one script, with {{role}} where its role is
-- named; the migrator installs it together with the migrations it equals.
CREATE TABLE platform.baseline (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    version  bigint  NOT NULL,
    script   text    NOT NULL
);

-- Migrations of organization tables say with this what the organization's role
-- may do with a table. What is not granted is not there.
-- +goose StatementBegin
CREATE FUNCTION sr.grant_tenant(tbl text, privileges text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('GRANT %s ON %I.%I TO %I', privileges, current_schema(), tbl,
        CASE current_schema() WHEN 'pool' THEN 'w_pool' ELSE current_schema() END);
END
$$;
-- +goose StatementEnd

-- platform.build makes a schema with its role and tables. The slice comes from
-- a hash of the random name, so schemas spread evenly over the sixteen logins.
-- +goose StatementBegin
CREATE FUNCTION platform.build(OUT name text, OUT slice smallint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    script text;
BEGIN
    SELECT b.script INTO script FROM platform.baseline b;
    IF script IS NULL THEN
        RAISE EXCEPTION 'platform.build: the migrator has not installed a baseline' USING ERRCODE = '55000';
    END IF;
    name := 'w_' || replace(gen_random_uuid()::text, '-', '');
    slice := get_byte(sha256(convert_to(name, 'UTF8')), 0) % 16;
    PERFORM sr.create_tenant_role(name, slice);
    EXECUTE format('CREATE SCHEMA %I', name);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', name, name);
    PERFORM set_config('search_path', quote_ident(name) || ', pg_temp', true);
    EXECUTE replace(script, '{{role}}', quote_ident(name));
END
$$;
-- +goose StatementEnd

-- platform.restock adds one spare if there are fewer than wanted, and says
-- whether it did. One call is one transaction: a killed restocking leaves whole
-- spares only.
-- +goose StatementBegin
CREATE FUNCTION platform.restock(wanted int) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    b record;
BEGIN
    IF (SELECT count(*) FROM platform.spare) >= wanted THEN
        RETURN false;
    END IF;
    b := platform.build();
    INSERT INTO platform.spare (schema_name, role_name, slice) VALUES (b.name, b.name, b.slice);
    RETURN true;
END
$$;
-- +goose StatementEnd

-- platform.found makes an organization: its row, its place, its anchor and the
-- head of its log, in one transaction.
-- +goose StatementBegin
CREATE FUNCTION platform.found(org uuid, wanted text, plan text, profile bytea,
    OUT schema_name text, OUT role_name text, OUT slice smallint, OUT from_stock boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    b record;
BEGIN
    from_stock := true;
    IF wanted = 'pooled' THEN
        schema_name := 'pool';
        role_name := 'w_pool';
        slice := get_byte(sha256(uuid_send(org)), 0) % 16;
    ELSE
        DELETE FROM platform.spare s
        WHERE s.schema_name = (SELECT o.schema_name FROM platform.spare o ORDER BY o.created_at FOR UPDATE SKIP LOCKED LIMIT 1)
        RETURNING s.schema_name, s.role_name, s.slice INTO schema_name, role_name, slice;
        IF schema_name IS NULL THEN
            b := platform.build();
            schema_name := b.name;
            role_name := b.name;
            slice := b.slice;
            from_stock := false;
        END IF;
    END IF;
    INSERT INTO platform.org (id, placement, schema_name, role_name, slice, plan, profile)
    VALUES (org, wanted, schema_name, role_name, slice, plan, profile);
    EXECUTE format('INSERT INTO %I.org (id) VALUES ($1)', schema_name) USING org;
    INSERT INTO audit.head (org_id) VALUES (org);
END
$$;
-- +goose StatementEnd

GRANT EXECUTE ON FUNCTION platform.restock(int), platform.found(uuid, text, text, bytea) TO sr_provisioner;
GRANT SELECT ON platform.spare TO sr_provisioner;

-- The installation has a log and keys, and no tables to put anything in.
INSERT INTO platform.org (id, placement, schema_name, role_name, slice, plan)
VALUES (sr.installation(), 'pooled', 'pool', 'w_pool', 0, 'installation');
INSERT INTO audit.head (org_id) VALUES (sr.installation());
