-- The control plane: organizations and where they live, people, memberships,
-- sessions, keys. None of it is part of an organization's schema, so restoring
-- one organization never rolls back who may enter it.

-- +goose Up

CREATE TABLE platform.org (
    id          uuid        PRIMARY KEY,
    placement   text        NOT NULL CHECK (placement IN ('schema', 'pooled')),
    schema_name text        NOT NULL,
    role_name   text        NOT NULL,
    slice       smallint    NOT NULL CHECK (slice BETWEEN 0 AND 15),
    state       text        NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'closed')),
    plan        text        NOT NULL,
    profile     sr.sealed,
    created_at  timestamptz NOT NULL DEFAULT now()
);
-- One schema, one organization; the pool is the exception.
CREATE UNIQUE INDEX org_schema_key ON platform.org (schema_name) WHERE placement = 'schema';
ALTER TABLE audit.head ADD CONSTRAINT head_org_fkey FOREIGN KEY (org_id) REFERENCES platform.org (id);

CREATE TABLE platform.spare (
    schema_name text        PRIMARY KEY,
    role_name   text        NOT NULL,
    slice       smallint    NOT NULL CHECK (slice BETWEEN 0 AND 15),
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- People belong to the installation. A person is found by a keyed hash of the
-- address; name and address are sealed under the person's own leaf.
CREATE TABLE platform.person (
    id             uuid        PRIMARY KEY,
    email_token    bytea       NOT NULL,
    leaf           bigint      NOT NULL,
    version        bigint      NOT NULL,
    profile        sr.sealed   NOT NULL,
    password       sr.sealed,
    platform_roles text[]      NOT NULL DEFAULT '{}',
    state          text        NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
    created_at     timestamptz NOT NULL,
    CONSTRAINT person_email_key UNIQUE (email_token)
);

CREATE TABLE platform.membership (
    org_id     uuid        NOT NULL REFERENCES platform.org (id),
    person_id  uuid        NOT NULL REFERENCES platform.person (id),
    roles      text[]      NOT NULL,
    owner      boolean     NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    created_by uuid        NOT NULL,
    PRIMARY KEY (org_id, person_id)
);
CREATE INDEX membership_person_idx ON platform.membership (person_id);

CREATE TABLE platform.session (
    id           uuid        PRIMARY KEY,
    person_id    uuid        NOT NULL REFERENCES platform.person (id),
    token_hash   bytea       NOT NULL,
    created_at   timestamptz NOT NULL,
    last_seen_at timestamptz NOT NULL,
    idle_until   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    CONSTRAINT session_token_key UNIQUE (token_hash)
);
CREATE INDEX session_person_idx ON platform.session (person_id);

CREATE TABLE platform.api_key (
    org_id       uuid        NOT NULL REFERENCES platform.org (id),
    id           uuid        NOT NULL,
    name         sr.sealed   NOT NULL,
    leaf         bigint      NOT NULL,
    prefix       text        NOT NULL,
    secret_hash  bytea       NOT NULL,
    roles        text[]      NOT NULL,
    scopes       text[]      NOT NULL,
    created_at   timestamptz NOT NULL,
    created_by   uuid        NOT NULL,
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    PRIMARY KEY (org_id, id),
    CONSTRAINT api_key_secret_key UNIQUE (secret_hash)
);

-- The platform's login sees what its capability names: one organization's
-- members and keys, or, with the installation's, everybody's, as signing in
-- needs. Whoever adds a person or a session acts for the installation.
ALTER TABLE platform.person ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE platform.membership ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE platform.session ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE platform.api_key ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY installation ON platform.person TO sr_platform
    USING ((SELECT sr.org()) = (SELECT sr.installation())) WITH CHECK ((SELECT sr.org()) = (SELECT sr.installation()));
CREATE POLICY members ON platform.person FOR SELECT TO sr_platform
    USING (EXISTS (SELECT FROM platform.membership m WHERE m.org_id = (SELECT sr.org()) AND m.person_id = person.id));
CREATE POLICY isolation ON platform.membership TO sr_platform
    USING (org_id = (SELECT sr.org()) OR (SELECT sr.org()) = (SELECT sr.installation()))
    WITH CHECK (org_id = (SELECT sr.org()) OR (SELECT sr.org()) = (SELECT sr.installation()));
CREATE POLICY installation ON platform.session TO sr_platform
    USING ((SELECT sr.org()) = (SELECT sr.installation())) WITH CHECK ((SELECT sr.org()) = (SELECT sr.installation()));
CREATE POLICY isolation ON platform.api_key TO sr_platform
    USING (org_id = (SELECT sr.org()) OR (SELECT sr.org()) = (SELECT sr.installation()))
    WITH CHECK (org_id = (SELECT sr.org()) OR (SELECT sr.org()) = (SELECT sr.installation()));

-- Being seen is no change that the log must hold: last_seen_at, idle_until and
-- last_used_at move without an event.
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE ON platform.person
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit('any');
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE ON platform.membership
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE OF person_id, token_hash, expires_at, ended_at ON platform.session
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit('any');
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE
    OR UPDATE OF name, leaf, prefix, secret_hash, roles, scopes, expires_at, revoked_at ON platform.api_key
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();

GRANT USAGE ON SCHEMA platform TO sr_platform, sr_provisioner;
GRANT SELECT, UPDATE (state, plan, profile) ON platform.org TO sr_platform;
GRANT SELECT, INSERT, UPDATE (email_token, leaf, version, profile, password, platform_roles, state) ON platform.person TO sr_platform;
GRANT SELECT, INSERT, DELETE, UPDATE (roles, owner) ON platform.membership TO sr_platform;
GRANT SELECT, INSERT, DELETE, UPDATE (last_seen_at, idle_until, expires_at, ended_at) ON platform.session TO sr_platform;
GRANT SELECT, INSERT, UPDATE (name, leaf, roles, scopes, expires_at, last_used_at, revoked_at) ON platform.api_key TO sr_platform;
