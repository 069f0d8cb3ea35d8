-- The tables of an organization's files: the bytes are objects, these rows say
-- which object a version is and hold the sealed name and media type.

-- +goose Up

CREATE TABLE file (
    org_id     uuid        NOT NULL REFERENCES org (id),
    id         uuid        NOT NULL,
    version    bigint      NOT NULL,
    leaf       bigint      NOT NULL,
    generation int         NOT NULL,
    size       bigint      NOT NULL,
    state      text        NOT NULL CHECK (state IN ('pending', 'stored')),
    body       sr.sealed   NOT NULL,
    owner_id   uuid,
    visibility "char"      NOT NULL CHECK (visibility IN ('o', 'p')),
    created_at timestamptz NOT NULL,
    created_by uuid        NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_by uuid        NOT NULL,
    PRIMARY KEY (org_id, id)
);
ALTER TABLE file ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY isolation ON file TO sr_tenant
    USING (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr())))
    WITH CHECK (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr())));
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON file
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
SELECT sr.grant_tenant('file', 'SELECT, INSERT, UPDATE, DELETE');

-- One row a version; its object is immutable. A version is written as pending
-- before its bytes and as stored after them, so this history can be updated.
CREATE TABLE file_version (
    org_id     uuid        NOT NULL REFERENCES org (id),
    file_id    uuid        NOT NULL,
    version    bigint      NOT NULL,
    leaf       bigint      NOT NULL,
    generation int         NOT NULL,
    size       bigint      NOT NULL,
    state      text        NOT NULL CHECK (state IN ('pending', 'stored')),
    at         timestamptz NOT NULL,
    by         uuid        NOT NULL,
    PRIMARY KEY (org_id, file_id, version)
);
ALTER TABLE file_version ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY isolation ON file_version TO sr_tenant
    USING (org_id = (SELECT sr.org())) WITH CHECK (org_id = (SELECT sr.org()));
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON file_version
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
SELECT sr.grant_tenant('file_version', 'SELECT, INSERT, UPDATE, DELETE');
