-- An organization's name can be changed: what is sealed is bound to the row's
-- version, so an old name put back in place of a new one does not open.

-- +goose Up

ALTER TABLE platform.org ADD COLUMN version bigint NOT NULL DEFAULT 1 CHECK (version > 0);
GRANT UPDATE (version) ON platform.org TO sr_platform;
