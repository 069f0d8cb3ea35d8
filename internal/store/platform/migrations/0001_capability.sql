-- Who is asking, as the database can check for itself.
--
-- In each transaction the application shows for which organization and user it
-- acts: it sets sr.cap to a claim and the claim's HMAC. Policies believe
-- nothing else, so SET ROLE, RESET ROLE and set_config gain an attacker
-- nothing: no application role can read the key.
--
--   sr.cap = organization (32 hex digits) ‖ user (32) ‖ expiry, microseconds (16) ‖ back end (8)
--            ‖ HMAC-SHA-256 over 'strongroom-capability-v1' ‖ those 88 digits (64)

-- +goose Up

GRANT USAGE ON SCHEMA sr TO sr_tenant, sr_platform;

-- The type of every column whose content is sealed. To drivers it is bytea; its
-- name lets a test list the columns that are not of it.
CREATE DOMAIN sr.sealed AS bytea;

-- The key as HMAC uses it (RFC 2104): padded, and combined with each pad.
CREATE TABLE sr.capability_key (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    ipad     bytea NOT NULL CHECK (length(ipad) = 64),
    opad     bytea NOT NULL CHECK (length(opad) = 64)
);

-- Both functions raise 28000, with one and the same sentence, if the capability
-- is missing, malformed, not ours, expired, or another back end's. They compare
-- hashes of the two codes, so that the time taken tells nothing about how close
-- a guess was. What is read from the claim is read after its code was found
-- right; until then it is just text. The bodies repeat each other because a
-- shared function costs more than the HMAC does.

-- +goose StatementBegin
CREATE FUNCTION sr.org() RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    cap  text := current_setting('sr.cap', true);
    code bytea;
BEGIN
    SELECT sha256(k.opad || sha256(k.ipad || convert_to('strongroom-capability-v1' || left(cap, 88), 'UTF8')))
    INTO code FROM sr.capability_key k;
    IF sha256(convert_to(encode(code, 'hex'), 'UTF8')) = sha256(convert_to(substr(cap, 89), 'UTF8'))
        AND substr(cap, 65, 16) > lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000000)::bigint), 16, '0') COLLATE "C"
        AND substr(cap, 81, 8) = lpad(to_hex(pg_backend_pid()), 8, '0')
    THEN
        RETURN left(cap, 32)::uuid;
    END IF;
    RAISE EXCEPTION 'no valid capability' USING ERRCODE = '28000';
END
$$;
-- +goose StatementEnd

-- The user, or NULL where the organization acts without one.
-- +goose StatementBegin
CREATE FUNCTION sr.usr() RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    cap  text := current_setting('sr.cap', true);
    code bytea;
BEGIN
    SELECT sha256(k.opad || sha256(k.ipad || convert_to('strongroom-capability-v1' || left(cap, 88), 'UTF8')))
    INTO code FROM sr.capability_key k;
    IF sha256(convert_to(encode(code, 'hex'), 'UTF8')) = sha256(convert_to(substr(cap, 89), 'UTF8'))
        AND substr(cap, 65, 16) > lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000000)::bigint), 16, '0') COLLATE "C"
        AND substr(cap, 81, 8) = lpad(to_hex(pg_backend_pid()), 8, '0')
    THEN
        RETURN nullif(substr(cap, 33, 32)::uuid, '00000000-0000-0000-0000-000000000000');
    END IF;
    RAISE EXCEPTION 'no valid capability' USING ERRCODE = '28000';
END
$$;
-- +goose StatementEnd

-- The organization that stands for the installation: id.Installation.
-- +goose StatementBegin
CREATE FUNCTION sr.installation() RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '00000000-0000-7000-8000-000000000001'::uuid;
-- +goose StatementEnd

GRANT EXECUTE ON FUNCTION sr.org(), sr.usr() TO sr_tenant, sr_platform;
GRANT EXECUTE ON FUNCTION sr.installation() TO sr_platform;

-- The application's logins write audit rows and jobs after leaving the
-- organization's role.
-- +goose StatementBegin
DO $$
BEGIN
    FOR n IN 0..15 LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA sr TO %I', 'sr_app_' || lpad(n::text, 2, '0'));
        EXECUTE format('GRANT EXECUTE ON FUNCTION sr.org(), sr.usr() TO %I', 'sr_app_' || lpad(n::text, 2, '0'));
    END LOOP;
END
$$;
-- +goose StatementEnd
