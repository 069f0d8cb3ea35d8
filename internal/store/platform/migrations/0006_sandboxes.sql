-- Throw-away organizations: whose each is, and when it ends. From that moment
-- on nobody signs in to it, whether or not the job has come by.

-- +goose Up

ALTER TABLE platform.org
    ADD COLUMN sandbox_of uuid REFERENCES platform.person (id),
    ADD COLUMN expires_at timestamptz,
    ADD CONSTRAINT org_sandbox_check CHECK ((sandbox_of IS NULL) = (expires_at IS NULL)),
    DROP CONSTRAINT org_state_check,
    ADD CONSTRAINT org_state_check CHECK (state IN ('active', 'closed', 'expired'));
CREATE INDEX org_sandbox_idx ON platform.org (sandbox_of, id) WHERE sandbox_of IS NOT NULL;
CREATE INDEX org_expiring_idx ON platform.org (expires_at) WHERE expires_at IS NOT NULL AND state = 'active';
GRANT UPDATE (sandbox_of, expires_at) ON platform.org TO sr_platform;
