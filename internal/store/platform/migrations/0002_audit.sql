-- The audit log (architecture, section 7): events wait in pending, written by
-- the transaction that they describe; the leader gives each its place in its
-- organization's log. No role may change or remove an event.

-- +goose Up

CREATE SCHEMA audit;

CREATE TABLE audit.pending (
    org_id   uuid      NOT NULL,
    event_id uuid      NOT NULL,
    server   uuid      NOT NULL,
    seq      bigint    NOT NULL CHECK (seq > 0),
    chain    bytea     NOT NULL CHECK (length(chain) = 32),
    leaf     bytea     NOT NULL CHECK (length(leaf) = 32),
    body     sr.sealed,
    openings sr.sealed,
    void     boolean   NOT NULL,
    xid      xid8      NOT NULL DEFAULT pg_current_xact_id(),
    -- A row that audit.event would refuse must not get in: it would keep every
    -- organization's events from their places.
    CHECK (void OR body IS NOT NULL)
);
CREATE INDEX pending_xid_idx ON audit.pending (xid);
-- A queue: every row is dead within milliseconds.
ALTER TABLE audit.pending SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_threshold = -1, vacuum_index_cleanup = on);

-- The organizations that have a log. The end of a log is its highest idx: kept
-- here it would be a hot row that every event of an organization updates.
CREATE TABLE audit.head (
    org_id uuid PRIMARY KEY -- references platform.org, see 0003
);

-- body is NULL once retention has pruned it; the hash stays.
CREATE TABLE audit.event (
    org_id   uuid   NOT NULL REFERENCES audit.head (org_id),
    idx      bigint NOT NULL CHECK (idx >= 0),
    event_id uuid   NOT NULL,
    leaf     bytea  NOT NULL CHECK (length(leaf) = 32),
    body     sr.sealed,
    openings sr.sealed,
    PRIMARY KEY (org_id, idx)
);

CREATE TABLE audit.leader (
    only_one   boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    holder     uuid,
    fence      bigint NOT NULL DEFAULT 0,
    expires_at timestamptz
);
INSERT INTO audit.leader DEFAULT VALUES;

CREATE TABLE audit.server_chain (
    server uuid   PRIMARY KEY,
    seq    bigint NOT NULL,
    chain  bytea  NOT NULL,
    ahead  jsonb  NOT NULL -- links that came before one that is still missing
);

ALTER TABLE audit.pending ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE audit.head ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE audit.event ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- The check of sr.require_audit runs as the owner.
CREATE POLICY witness ON audit.pending FOR SELECT TO sr_owner USING (true);
CREATE POLICY signer ON audit.pending TO sr_audit USING (true) WITH CHECK (true);
CREATE POLICY signer ON audit.head TO sr_audit USING (true) WITH CHECK (true);
CREATE POLICY signer ON audit.event TO sr_audit USING (true) WITH CHECK (true);
CREATE POLICY reading ON audit.head FOR SELECT TO sr_tenant USING (org_id = (SELECT sr.org()));
CREATE POLICY reading ON audit.event FOR SELECT TO sr_tenant USING (org_id = (SELECT sr.org()));
CREATE POLICY founding ON audit.head FOR INSERT TO sr_owner WITH CHECK (true);

GRANT USAGE ON SCHEMA audit TO sr_tenant, sr_audit, sr_platform;
GRANT SELECT ON audit.head, audit.event TO sr_tenant;
GRANT SELECT, DELETE, INSERT (org_id, event_id, server, seq, chain, leaf, body, openings, void) ON audit.pending TO sr_audit;
GRANT SELECT ON audit.head TO sr_audit;
GRANT SELECT, INSERT ON audit.event TO sr_audit;
GRANT SELECT, UPDATE (holder, fence, expires_at) ON audit.leader TO sr_audit;
GRANT SELECT, INSERT, UPDATE ON audit.server_chain TO sr_audit;

-- Writers name every column but xid: whoever could choose it could lend an
-- event to another transaction. Organizations' roles are no writers: SQL
-- inside a request could excuse its changes with an event of its own making.
GRANT INSERT (org_id, event_id, server, seq, chain, leaf, body, openings, void) ON audit.pending TO sr_platform;
CREATE POLICY platform ON audit.pending FOR INSERT TO sr_platform
    WITH CHECK (org_id = (SELECT sr.org()) OR (SELECT sr.org()) = (SELECT sr.installation()));
-- +goose StatementBegin
DO $$
DECLARE
    logins text := (SELECT string_agg('sr_app_' || lpad(n::text, 2, '0'), ', ') FROM generate_series(0, 15) n);
BEGIN
    EXECUTE 'GRANT USAGE ON SCHEMA audit TO ' || logins;
    EXECUTE 'GRANT INSERT (org_id, event_id, server, seq, chain, leaf, body, openings, void) ON audit.pending TO ' || logins;
    EXECUTE 'CREATE POLICY writing ON audit.pending FOR INSERT TO ' || logins || ' WITH CHECK (org_id = (SELECT sr.org()))';
END
$$;
-- +goose StatementEnd

-- No change commits without an event of its organization in the same
-- transaction. The trigger is deferred, so the event may come last. Tables
-- without an organization pass 'any': there, any event of the transaction will
-- do, the installation's as a rule.
-- +goose StatementBegin
CREATE FUNCTION sr.require_audit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    org uuid;
BEGIN
    IF TG_NARGS > 0 THEN
        IF EXISTS (SELECT FROM audit.pending p WHERE p.xid = pg_current_xact_id() AND NOT p.void) THEN
            RETURN NULL;
        END IF;
    ELSE
        IF TG_OP = 'DELETE' THEN
            org := OLD.org_id;
        ELSE
            org := NEW.org_id;
        END IF;
        IF EXISTS (SELECT FROM audit.pending p WHERE p.xid = pg_current_xact_id() AND p.org_id = org AND NOT p.void) THEN
            RETURN NULL;
        END IF;
    END IF;
    RAISE EXCEPTION 'a change of %.% has no audit event in its transaction', TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = '23514', CONSTRAINT = 'audited';
END
$$;
-- +goose StatementEnd
