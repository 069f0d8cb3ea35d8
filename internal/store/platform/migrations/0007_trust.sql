-- What the public page of promises is made of, what anybody may report, and
-- the plans. None of it is an organization's: it belongs to the installation.

-- +goose Up

-- The latest result of each check. The code is a keyed hash over the row under
-- the installation's keys: a row that somebody changed here is recognized and
-- shown as such. What is evident from the row is public by its nature.
CREATE TABLE platform.proof (
    clause     text        PRIMARY KEY CHECK (clause ~ '^[A-Z]+-[0-9]+/[a-z0-9_]+$'),
    state      text        NOT NULL CHECK (state IN ('kept', 'broken')),
    evidence   text        NOT NULL CHECK (length(evidence) <= 4000),
    checked_at timestamptz NOT NULL,
    since      timestamptz NOT NULL, -- the first of the checks in a row that ended like this one
    checks     bigint      NOT NULL CHECK (checks > 0),
    source     text        NOT NULL CHECK (source IN ('schedule', 'operator')),
    generation bigint      NOT NULL,
    code       bytea       NOT NULL
);

-- What the results were before, some hundred a clause.
CREATE TABLE platform.proof_history (
    clause     text        NOT NULL,
    checked_at timestamptz NOT NULL,
    state      text        NOT NULL CHECK (state IN ('kept', 'broken')),
    evidence   text        NOT NULL CHECK (length(evidence) <= 4000),
    source     text        NOT NULL CHECK (source IN ('schedule', 'operator')),
    PRIMARY KEY (clause, checked_at)
);

-- The key that signs the page, sealed under the installation's own leaf.
CREATE TABLE platform.trust_key (
    only_one   boolean     PRIMARY KEY DEFAULT true CHECK (only_one),
    id         uuid        NOT NULL,
    key        sr.sealed   NOT NULL,
    created_at timestamptz NOT NULL
);

-- A report of a vulnerability. What it says, who wrote it and what became of it
-- are sealed. The source is a keyed hash of the sender's network and the hour:
-- it counts how much comes from one place, and means nothing in another hour.
CREATE TABLE platform.report (
    id          uuid        PRIMARY KEY,
    leaf        bigint      NOT NULL,
    version     bigint      NOT NULL,
    body        sr.sealed   NOT NULL,
    note        sr.sealed,
    state       text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'acknowledged', 'closed')),
    source      bytea       NOT NULL,
    received_at timestamptz NOT NULL,
    changed_at  timestamptz NOT NULL,
    changed_by  uuid
);
CREATE INDEX report_received_idx ON platform.report (received_at);

-- Whoever adds a report locks this row first: limits that are counted at the
-- same time by two are no limits.
CREATE TABLE platform.report_gate (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one)
);
INSERT INTO platform.report_gate DEFAULT VALUES;

-- The plans: what is on, as data that the operator edits.
CREATE TABLE platform.plan (
    id         text        PRIMARY KEY CHECK (id ~ '^[a-z]{1,32}$'),
    position   smallint    NOT NULL, -- in lists; 0: in none
    spec       jsonb       NOT NULL,
    version    bigint      NOT NULL DEFAULT 1,
    updated_at timestamptz NOT NULL DEFAULT now(),
    updated_by uuid
);
INSERT INTO platform.plan (id, position, spec) VALUES
('pilot', 1, '{"title": "Pilot", "description": "An evaluation with real data, for a limited time.",
  "features": {"password": true, "mfa": true, "roles": true, "service_accounts": false, "api_keys": false, "sso": false, "periods": false, "thresholds": false, "residency": false, "dedicated": false},
  "audit": "none",
  "limits": {"requests_per_minute_person": 300, "requests_per_minute_organization": 1200},
  "periods": {"evaluation_days": 30, "purge_after_days": 30, "undo_days": 7, "sign_in_log_days": 7}}'),
('team', 2, '{"title": "Team", "description": "A group at work, with its programs.",
  "features": {"password": true, "mfa": true, "roles": true, "service_accounts": true, "api_keys": true, "sso": false, "periods": false, "thresholds": false, "residency": false, "dedicated": false},
  "audit": "basic",
  "limits": {"requests_per_minute_person": 600, "requests_per_minute_organization": 3000},
  "periods": {"evaluation_days": 0, "purge_after_days": 30, "undo_days": 7, "sign_in_log_days": 30}}'),
('enterprise', 3, '{"title": "Enterprise", "description": "Everything on; the plan of a self-hosted installation.",
  "features": {"password": true, "mfa": true, "roles": true, "service_accounts": true, "api_keys": true, "sso": true, "periods": true, "thresholds": true, "residency": true, "dedicated": true},
  "audit": "full",
  "limits": {"requests_per_minute_person": 1200, "requests_per_minute_organization": 12000},
  "periods": {"evaluation_days": 0, "purge_after_days": 30, "undo_days": 7, "sign_in_log_days": 365}}');
-- The installation's own row, and the one that checks edit.
INSERT INTO platform.plan (id, position, spec) SELECT x.id, 0, p.spec FROM platform.plan p, (VALUES ('installation'), ('canary')) x (id) WHERE p.id = 'enterprise';
-- An organization is on a plan that there is.
ALTER TABLE platform.org ADD CONSTRAINT org_plan_fkey FOREIGN KEY (plan) REFERENCES platform.plan (id);

ALTER TABLE platform.proof ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE platform.proof_history ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE platform.trust_key ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE platform.report ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY installation ON platform.proof TO sr_platform
    USING ((SELECT sr.org()) = (SELECT sr.installation())) WITH CHECK ((SELECT sr.org()) = (SELECT sr.installation()));
CREATE POLICY installation ON platform.proof_history TO sr_platform
    USING ((SELECT sr.org()) = (SELECT sr.installation())) WITH CHECK ((SELECT sr.org()) = (SELECT sr.installation()));
CREATE POLICY installation ON platform.trust_key TO sr_platform
    USING ((SELECT sr.org()) = (SELECT sr.installation())) WITH CHECK ((SELECT sr.org()) = (SELECT sr.installation()));
CREATE POLICY installation ON platform.report TO sr_platform
    USING ((SELECT sr.org()) = (SELECT sr.installation())) WITH CHECK ((SELECT sr.org()) = (SELECT sr.installation()));

CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE ON platform.proof
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit('any');
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE ON platform.proof_history
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit('any');
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE ON platform.trust_key
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit('any');
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE ON platform.report
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit('any');
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE ON platform.plan
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit('any');

GRANT SELECT, INSERT, UPDATE ON platform.proof TO sr_platform;
GRANT SELECT, INSERT, DELETE ON platform.proof_history TO sr_platform;
GRANT SELECT, INSERT ON platform.trust_key TO sr_platform;
GRANT SELECT, INSERT, DELETE, UPDATE (version, note, state, changed_at, changed_by) ON platform.report TO sr_platform;
GRANT SELECT, UPDATE ON platform.report_gate TO sr_platform; -- FOR UPDATE asks for it; there is nothing to change
GRANT SELECT, UPDATE (spec, version, updated_at, updated_by) ON platform.plan TO sr_platform;
