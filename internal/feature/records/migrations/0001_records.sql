-- The tables of an organization's records. Every name is unqualified: the same
-- statements build the shared schema of pooled organizations and the schema of
-- one organization alone.
--
-- Every key and every foreign key leads with org_id, because unique indexes and
-- foreign keys look past row level security. Policies name sr_tenant, so every
-- other role, the owner included, sees no row at all.

-- +goose Up

-- The local anchor of an organization. Only the founding function writes it.
CREATE TABLE org (
    id uuid PRIMARY KEY REFERENCES platform.org (id)
);
ALTER TABLE org ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY isolation ON org TO sr_tenant USING (id = (SELECT sr.org())) WITH CHECK (id = (SELECT sr.org()));
CREATE POLICY founding ON org FOR INSERT TO sr_owner WITH CHECK (true);
SELECT sr.grant_tenant('org', 'SELECT');

CREATE TABLE collection (
    org_id     uuid        NOT NULL REFERENCES org (id),
    id         uuid        NOT NULL,
    token      bytea       NOT NULL,
    leaf       bigint      NOT NULL,
    version    bigint      NOT NULL,
    body       sr.sealed   NOT NULL,
    created_at timestamptz NOT NULL,
    created_by uuid        NOT NULL,
    PRIMARY KEY (org_id, id),
    CONSTRAINT collection_token_key UNIQUE (org_id, token)
);
ALTER TABLE collection ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY isolation ON collection TO sr_tenant
    USING (org_id = (SELECT sr.org())) WITH CHECK (org_id = (SELECT sr.org()));
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON collection
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
SELECT sr.grant_tenant('collection', 'SELECT, INSERT, UPDATE, DELETE');

CREATE TABLE record (
    org_id        uuid        NOT NULL,
    id            uuid        NOT NULL,
    collection_id uuid        NOT NULL,
    version       bigint      NOT NULL,
    leaf          bigint      NOT NULL,
    body          sr.sealed   NOT NULL,
    owner_id      uuid,
    visibility    "char"      NOT NULL CHECK (visibility IN ('o', 'p')),
    created_at    timestamptz NOT NULL,
    created_by    uuid        NOT NULL,
    updated_at    timestamptz NOT NULL,
    updated_by    uuid        NOT NULL,
    PRIMARY KEY (org_id, id),
    CONSTRAINT record_collection_fkey FOREIGN KEY (org_id, collection_id) REFERENCES collection (org_id, id)
);
CREATE INDEX record_collection_idx ON record (org_id, collection_id, id);
ALTER TABLE record ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY isolation ON record TO sr_tenant
    USING (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr())))
    WITH CHECK (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr())));
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON record
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
SELECT sr.grant_tenant('record', 'SELECT, INSERT, UPDATE, DELETE');

-- What a record was. No role may change a row: history is written once, and a
-- trashed record keeps it.
CREATE TABLE record_version (
    org_id     uuid        NOT NULL REFERENCES org (id),
    record_id  uuid        NOT NULL,
    version    bigint      NOT NULL,
    action     text        NOT NULL,
    body       sr.sealed,
    owner_id   uuid,
    visibility "char"      NOT NULL CHECK (visibility IN ('o', 'p')),
    at         timestamptz NOT NULL,
    by         uuid        NOT NULL,
    PRIMARY KEY (org_id, record_id, version)
);
ALTER TABLE record_version ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY isolation ON record_version TO sr_tenant
    USING (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr())))
    WITH CHECK (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr())));
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON record_version
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
SELECT sr.grant_tenant('record_version', 'SELECT, INSERT, DELETE');

-- Deleted records and files, sealed, until their undo window ends.
CREATE TABLE trash (
    org_id        uuid        NOT NULL REFERENCES org (id),
    id            uuid        NOT NULL,
    kind          text        NOT NULL CHECK (kind IN ('record', 'file')),
    collection_id uuid,
    version       bigint      NOT NULL,
    leaf          bigint      NOT NULL,
    body          sr.sealed   NOT NULL,
    owner_id      uuid,
    visibility    "char"      NOT NULL CHECK (visibility IN ('o', 'p')),
    created_at    timestamptz NOT NULL,
    created_by    uuid        NOT NULL,
    updated_at    timestamptz NOT NULL,
    updated_by    uuid        NOT NULL,
    deleted_at    timestamptz NOT NULL,
    deleted_by    uuid        NOT NULL,
    purge_after   timestamptz NOT NULL,
    PRIMARY KEY (org_id, id)
);
CREATE INDEX trash_purge_idx ON trash (org_id, purge_after);
ALTER TABLE trash ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY isolation ON trash TO sr_tenant
    USING (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr())))
    WITH CHECK (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr())));
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON trash
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
SELECT sr.grant_tenant('trash', 'SELECT, INSERT, UPDATE, DELETE');

-- A link from a record to a record or file. The relation's name is sealed; its
-- token keeps one relation between two ends single.
CREATE TABLE link (
    org_id     uuid        NOT NULL REFERENCES org (id),
    id         uuid        NOT NULL,
    leaf       bigint      NOT NULL,
    from_id    uuid        NOT NULL,
    to_id      uuid        NOT NULL,
    to_kind    text        NOT NULL CHECK (to_kind IN ('record', 'file')),
    token      bytea       NOT NULL,
    body       sr.sealed   NOT NULL,
    created_at timestamptz NOT NULL,
    created_by uuid        NOT NULL,
    PRIMARY KEY (org_id, id),
    CONSTRAINT link_ends_key UNIQUE (org_id, from_id, to_id, token)
);
CREATE INDEX link_to_idx ON link (org_id, to_id);
ALTER TABLE link ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY isolation ON link TO sr_tenant
    USING (org_id = (SELECT sr.org())) WITH CHECK (org_id = (SELECT sr.org()));
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON link
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
SELECT sr.grant_tenant('link', 'SELECT, INSERT, UPDATE, DELETE');

-- What a request with an Idempotency-Key did: keyed hashes and the result's id
-- and version, never the body.
CREATE TABLE idempotency (
    org_id         uuid        NOT NULL REFERENCES org (id),
    actor_id       uuid        NOT NULL,
    key_hash       bytea       NOT NULL,
    request_hash   bytea       NOT NULL,
    result_id      uuid,
    result_version bigint,
    created_at     timestamptz NOT NULL,
    CONSTRAINT idempotency_pkey PRIMARY KEY (org_id, actor_id, key_hash)
);
CREATE INDEX idempotency_age_idx ON idempotency (org_id, created_at);
ALTER TABLE idempotency ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY isolation ON idempotency TO sr_tenant
    USING (org_id = (SELECT sr.org())) WITH CHECK (org_id = (SELECT sr.org()));
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON idempotency
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
SELECT sr.grant_tenant('idempotency', 'SELECT, INSERT, DELETE');
