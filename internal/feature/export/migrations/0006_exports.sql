-- Exports that are made in the background. What was asked for is sealed; the
-- archive is a sealed object under the export's identifier, one for each attempt.

-- +goose Up

CREATE TABLE export (
    org_id     uuid        NOT NULL REFERENCES org (id),
    id         uuid        NOT NULL,
    state      text        NOT NULL CHECK (state IN ('waiting', 'running', 'ready', 'failed')),
    leaf       bigint      NOT NULL,
    generation int         NOT NULL,
    attempt    bigint      NOT NULL,
    entries    bigint      NOT NULL,
    size       bigint      NOT NULL,
    code       text        NOT NULL,
    body       sr.sealed   NOT NULL,
    created_at timestamptz NOT NULL,
    created_by uuid        NOT NULL,
    updated_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, id)
);
ALTER TABLE export ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
-- An archive holds what its maker may see, so it is hers alone. Once its time
-- is over anybody's job clears it away: it may be that its maker has left.
CREATE POLICY isolation ON export TO sr_tenant
    USING (org_id = (SELECT sr.org()) AND (created_by = (SELECT sr.usr()) OR expires_at < now()))
    WITH CHECK (org_id = (SELECT sr.org()) AND created_by = (SELECT sr.usr()));
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON export
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
SELECT sr.grant_tenant('export', 'SELECT, INSERT, UPDATE, DELETE');
