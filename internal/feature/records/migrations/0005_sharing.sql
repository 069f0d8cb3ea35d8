-- Who sees what is private: its owner, and the people to whom she gave it.
--
-- A grant opens one row to one person: the record that was shared, or a
-- private file of the same owner's that the record links to. It counts only
-- while its owner is the owner of what it opens, and only she can write it, so
-- nobody opens what is not hers by writing a grant of her own.
--
-- What has no owner of its own follows what it belongs to: a link both of its
-- ends, a file's version the file, a record's subjects the record. The trash
-- counts as a place where an end may be, so that what is restored has its
-- links again and what is purged takes them along.
--
-- Policies ask for grants and ends by functions, not by subqueries: a
-- statement whose rows are the organization's then has no more to plan, lock
-- and open than before. The functions have the rights of their caller, and
-- bodies that were resolved when they were made, so no search path gives them
-- another meaning.

-- +goose Up

CREATE TABLE record_grant (
    org_id     uuid        NOT NULL REFERENCES org (id),
    target_id  uuid        NOT NULL,
    person_id  uuid        NOT NULL,
    record_id  uuid        NOT NULL,
    owner_id   uuid        NOT NULL,
    granted_at timestamptz NOT NULL,
    PRIMARY KEY (org_id, target_id, person_id, record_id)
);
CREATE INDEX record_grant_record_idx ON record_grant (org_id, record_id);
ALTER TABLE record_grant ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY isolation ON record_grant TO sr_tenant
    USING (org_id = (SELECT sr.org()) AND (owner_id = (SELECT sr.usr()) OR person_id = (SELECT sr.usr())))
    WITH CHECK (org_id = (SELECT sr.org()) AND owner_id = (SELECT sr.usr()));
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON record_grant
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
SELECT sr.grant_tenant('record_grant', 'SELECT, INSERT, DELETE');

-- Whether the owner of a row gave it to the person who is asking.
-- +goose StatementBegin
CREATE FUNCTION was_given(org uuid, target uuid, owner uuid) RETURNS boolean
LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT EXISTS (SELECT FROM record_grant g
        WHERE g.org_id = org AND g.target_id = target AND g.owner_id = owner AND g.person_id = (SELECT sr.usr()));
END;
-- +goose StatementEnd

ALTER POLICY isolation ON record
    USING (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr()) OR was_given(org_id, id, owner_id)))
    WITH CHECK (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr()) OR was_given(org_id, id, owner_id)));
ALTER POLICY isolation ON record_version
    USING (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr()) OR was_given(org_id, record_id, owner_id)))
    WITH CHECK (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr()) OR was_given(org_id, record_id, owner_id)));
ALTER POLICY isolation ON trash
    USING (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr()) OR was_given(org_id, id, owner_id)))
    WITH CHECK (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr()) OR was_given(org_id, id, owner_id)));
ALTER POLICY isolation ON file
    USING (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr()) OR was_given(org_id, id, owner_id)))
    WITH CHECK (org_id = (SELECT sr.org()) AND (visibility = 'o' OR owner_id = (SELECT sr.usr()) OR was_given(org_id, id, owner_id)));

-- Whether the person who is asking sees a record, or a file, here or in the
-- trash.
-- +goose StatementBegin
CREATE FUNCTION sees_record(org uuid, record uuid) RETURNS boolean
LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT EXISTS (SELECT FROM record r WHERE r.org_id = org AND r.id = record) OR EXISTS (SELECT FROM trash t WHERE t.org_id = org AND t.id = record);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE FUNCTION sees_file(org uuid, file uuid) RETURNS boolean
LANGUAGE sql STABLE PARALLEL RESTRICTED
BEGIN ATOMIC
    SELECT EXISTS (SELECT FROM file f WHERE f.org_id = org AND f.id = file) OR EXISTS (SELECT FROM trash t WHERE t.org_id = org AND t.id = file);
END;
-- +goose StatementEnd

-- What follows something else says 'o' only as long as that is certainly the
-- organization's, which is what most is; at 'p' it is looked up. Whoever makes
-- a record private makes its links so, all of which she sees: they were 'o'.
ALTER TABLE link ADD COLUMN visibility "char" NOT NULL DEFAULT 'p' CHECK (visibility IN ('o', 'p'));
ALTER POLICY isolation ON link
    USING (org_id = (SELECT sr.org()) AND (visibility = 'o' OR sees_record(org_id, from_id) AND (sees_record(org_id, to_id) OR sees_file(org_id, to_id))))
    WITH CHECK (org_id = (SELECT sr.org()) AND sees_record(org_id, from_id) AND (sees_record(org_id, to_id) OR sees_file(org_id, to_id)));
ALTER TABLE file_version ADD COLUMN visibility "char" NOT NULL DEFAULT 'p' CHECK (visibility IN ('o', 'p'));
ALTER POLICY isolation ON file_version
    USING (org_id = (SELECT sr.org()) AND (visibility = 'o' OR sees_file(org_id, file_id)))
    WITH CHECK (org_id = (SELECT sr.org()) AND sees_file(org_id, file_id));

-- A record's links are read in the order of their identifiers, from either end.
CREATE INDEX link_from_idx ON link (org_id, from_id, id);
DROP INDEX link_to_idx;
CREATE INDEX link_to_idx ON link (org_id, to_id, id);

-- Which records hold sections that are sealed under the leaf of a person, so
-- that whoever erases her knows where they are. own marks the record that is
-- the person's. The envelope of the record shows the same leaf.
CREATE TABLE record_subject (
    org_id    uuid    NOT NULL REFERENCES org (id),
    leaf      bigint  NOT NULL,
    record_id uuid    NOT NULL,
    own       boolean NOT NULL,
    PRIMARY KEY (org_id, leaf, record_id)
);
CREATE INDEX record_subject_record_idx ON record_subject (org_id, record_id);
ALTER TABLE record_subject ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY isolation ON record_subject TO sr_tenant
    USING (org_id = (SELECT sr.org()) AND sees_record(org_id, record_id))
    WITH CHECK (org_id = (SELECT sr.org()) AND sees_record(org_id, record_id));
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON record_subject
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
SELECT sr.grant_tenant('record_subject', 'SELECT, INSERT, DELETE');

-- +goose StatementBegin
DO $$
BEGIN
    EXECUTE format('GRANT EXECUTE ON FUNCTION was_given(uuid, uuid, uuid), sees_record(uuid, uuid), sees_file(uuid, uuid) TO %I',
        CASE current_schema() WHEN 'pool' THEN 'w_pool' ELSE current_schema() END);
END
$$;
-- +goose StatementEnd
