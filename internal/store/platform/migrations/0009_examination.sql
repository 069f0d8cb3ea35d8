-- Whether a collection holds records that are private to somebody else.
--
-- A changed schema is held against the records that the caller sees. What she
-- does not see, nobody may look at for her: with a schema of her choice, each
-- refusal would tell her something of what is in it. So a change that may break
-- such records is refused for their being there, and that is all this tells.

-- +goose Up

-- +goose StatementBegin
CREATE FUNCTION sr.hides(coll uuid) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    org  uuid := sr.org();
    usr  uuid := sr.usr();
    home text := (SELECT o.schema_name FROM platform.org o WHERE o.id = org);
    some boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM %1$I.record r WHERE r.org_id = $1 AND r.collection_id = $2 AND r.visibility = ''p'' AND r.owner_id IS DISTINCT FROM $3)
        OR EXISTS (SELECT FROM %1$I.trash t WHERE t.org_id = $1 AND t.collection_id = $2 AND t.visibility = ''p'' AND t.owner_id IS DISTINCT FROM $3)', home)
    INTO some USING org, coll, usr;
    RETURN some;
END
$$;
-- +goose StatementEnd

REVOKE ALL ON FUNCTION sr.hides(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sr.hides(uuid) TO sr_tenant;
