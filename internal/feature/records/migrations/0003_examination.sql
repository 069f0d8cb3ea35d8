-- sr.hides tells, for a change of a collection's schema, whether there are
-- records that its caller does not see. It runs as the owner of the tables,
-- whom these policies let see the rows of the verified organization; no login
-- can become that owner.

-- +goose Up

CREATE POLICY examination ON record FOR SELECT TO sr_owner USING (org_id = (SELECT sr.org()));
CREATE POLICY examination ON trash FOR SELECT TO sr_owner USING (org_id = (SELECT sr.org()));
