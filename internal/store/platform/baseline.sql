-- Organization tables at migration 6. Generated from the migrations; do not edit.

CREATE TABLE file (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    version bigint NOT NULL,
    leaf bigint NOT NULL,
    generation integer NOT NULL,
    size bigint NOT NULL,
    state text NOT NULL,
    body sr.sealed NOT NULL,
    owner_id uuid,
    visibility "char" NOT NULL,
    created_at timestamp with time zone NOT NULL,
    created_by uuid NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    updated_by uuid NOT NULL,
    CONSTRAINT file_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'stored'::text]))),
    CONSTRAINT file_visibility_check CHECK ((visibility = ANY (ARRAY['o'::"char", 'p'::"char"])))
);
ALTER TABLE ONLY file FORCE ROW LEVEL SECURITY;
CREATE TABLE trash (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    collection_id uuid,
    version bigint NOT NULL,
    leaf bigint NOT NULL,
    body sr.sealed NOT NULL,
    owner_id uuid,
    visibility "char" NOT NULL,
    created_at timestamp with time zone NOT NULL,
    created_by uuid NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    updated_by uuid NOT NULL,
    deleted_at timestamp with time zone NOT NULL,
    deleted_by uuid NOT NULL,
    purge_after timestamp with time zone NOT NULL,
    CONSTRAINT trash_kind_check CHECK ((kind = ANY (ARRAY['record'::text, 'file'::text]))),
    CONSTRAINT trash_visibility_check CHECK ((visibility = ANY (ARRAY['o'::"char", 'p'::"char"])))
);
ALTER TABLE ONLY trash FORCE ROW LEVEL SECURITY;
CREATE FUNCTION sees_file(org uuid, file uuid) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL RESTRICTED
    BEGIN ATOMIC
 SELECT ((EXISTS ( SELECT
            FROM file f
           WHERE ((f.org_id = sees_file.org) AND (f.id = sees_file.file)))) OR (EXISTS ( SELECT
            FROM trash t
           WHERE ((t.org_id = sees_file.org) AND (t.id = sees_file.file)))));
END;
ALTER FUNCTION sees_file(org uuid, file uuid) OWNER TO sr_owner;
CREATE TABLE record (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    collection_id uuid NOT NULL,
    version bigint NOT NULL,
    leaf bigint NOT NULL,
    body sr.sealed NOT NULL,
    owner_id uuid,
    visibility "char" NOT NULL,
    created_at timestamp with time zone NOT NULL,
    created_by uuid NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    updated_by uuid NOT NULL,
    CONSTRAINT record_visibility_check CHECK ((visibility = ANY (ARRAY['o'::"char", 'p'::"char"])))
);
ALTER TABLE ONLY record FORCE ROW LEVEL SECURITY;
CREATE FUNCTION sees_record(org uuid, record uuid) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL RESTRICTED
    BEGIN ATOMIC
 SELECT ((EXISTS ( SELECT
            FROM record r
           WHERE ((r.org_id = sees_record.org) AND (r.id = sees_record.record)))) OR (EXISTS ( SELECT
            FROM trash t
           WHERE ((t.org_id = sees_record.org) AND (t.id = sees_record.record)))));
END;
ALTER FUNCTION sees_record(org uuid, record uuid) OWNER TO sr_owner;
CREATE TABLE record_grant (
    org_id uuid NOT NULL,
    target_id uuid NOT NULL,
    person_id uuid NOT NULL,
    record_id uuid NOT NULL,
    owner_id uuid NOT NULL,
    granted_at timestamp with time zone NOT NULL
);
ALTER TABLE ONLY record_grant FORCE ROW LEVEL SECURITY;
CREATE FUNCTION was_given(org uuid, target uuid, owner uuid) RETURNS boolean
    LANGUAGE sql STABLE PARALLEL RESTRICTED
    BEGIN ATOMIC
 SELECT (EXISTS ( SELECT
            FROM record_grant g
           WHERE ((g.org_id = was_given.org) AND (g.target_id = was_given.target) AND (g.owner_id = was_given.owner) AND (g.person_id = ( SELECT sr.usr() AS usr))))) AS "exists";
END;
ALTER FUNCTION was_given(org uuid, target uuid, owner uuid) OWNER TO sr_owner;
CREATE TABLE collection (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    token bytea NOT NULL,
    leaf bigint NOT NULL,
    version bigint NOT NULL,
    body sr.sealed NOT NULL,
    created_at timestamp with time zone NOT NULL,
    created_by uuid NOT NULL
);
ALTER TABLE ONLY collection FORCE ROW LEVEL SECURITY;
CREATE TABLE export (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    state text NOT NULL,
    leaf bigint NOT NULL,
    generation integer NOT NULL,
    attempt bigint NOT NULL,
    entries bigint NOT NULL,
    size bigint NOT NULL,
    code text NOT NULL,
    body sr.sealed NOT NULL,
    created_at timestamp with time zone NOT NULL,
    created_by uuid NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT export_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'running'::text, 'ready'::text, 'failed'::text])))
);
ALTER TABLE ONLY export FORCE ROW LEVEL SECURITY;
CREATE TABLE file_version (
    org_id uuid NOT NULL,
    file_id uuid NOT NULL,
    version bigint NOT NULL,
    leaf bigint NOT NULL,
    generation integer NOT NULL,
    size bigint NOT NULL,
    state text NOT NULL,
    at timestamp with time zone NOT NULL,
    by uuid NOT NULL,
    visibility "char" DEFAULT 'p'::"char" NOT NULL,
    CONSTRAINT file_version_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'stored'::text]))),
    CONSTRAINT file_version_visibility_check CHECK ((visibility = ANY (ARRAY['o'::"char", 'p'::"char"])))
);
ALTER TABLE ONLY file_version FORCE ROW LEVEL SECURITY;
CREATE TABLE goose_db_version (
    id integer NOT NULL,
    version_id bigint NOT NULL,
    is_applied boolean NOT NULL,
    tstamp timestamp without time zone DEFAULT now() NOT NULL
);
ALTER TABLE goose_db_version ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME goose_db_version_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE idempotency (
    org_id uuid NOT NULL,
    actor_id uuid NOT NULL,
    key_hash bytea NOT NULL,
    request_hash bytea NOT NULL,
    result_id uuid,
    result_version bigint,
    created_at timestamp with time zone NOT NULL
);
ALTER TABLE ONLY idempotency FORCE ROW LEVEL SECURITY;
CREATE TABLE link (
    org_id uuid NOT NULL,
    id uuid NOT NULL,
    leaf bigint NOT NULL,
    from_id uuid NOT NULL,
    to_id uuid NOT NULL,
    to_kind text NOT NULL,
    token bytea NOT NULL,
    body sr.sealed NOT NULL,
    created_at timestamp with time zone NOT NULL,
    created_by uuid NOT NULL,
    visibility "char" DEFAULT 'p'::"char" NOT NULL,
    CONSTRAINT link_to_kind_check CHECK ((to_kind = ANY (ARRAY['record'::text, 'file'::text]))),
    CONSTRAINT link_visibility_check CHECK ((visibility = ANY (ARRAY['o'::"char", 'p'::"char"])))
);
ALTER TABLE ONLY link FORCE ROW LEVEL SECURITY;
CREATE TABLE org (
    id uuid NOT NULL
);
ALTER TABLE ONLY org FORCE ROW LEVEL SECURITY;
CREATE TABLE record_subject (
    org_id uuid NOT NULL,
    leaf bigint NOT NULL,
    record_id uuid NOT NULL,
    own boolean NOT NULL
);
ALTER TABLE ONLY record_subject FORCE ROW LEVEL SECURITY;
CREATE TABLE record_version (
    org_id uuid NOT NULL,
    record_id uuid NOT NULL,
    version bigint NOT NULL,
    action text NOT NULL,
    body sr.sealed,
    owner_id uuid,
    visibility "char" NOT NULL,
    at timestamp with time zone NOT NULL,
    by uuid NOT NULL,
    CONSTRAINT record_version_visibility_check CHECK ((visibility = ANY (ARRAY['o'::"char", 'p'::"char"])))
);
ALTER TABLE ONLY record_version FORCE ROW LEVEL SECURITY;
ALTER TABLE ONLY collection
    ADD CONSTRAINT collection_pkey PRIMARY KEY (org_id, id);
ALTER TABLE ONLY collection
    ADD CONSTRAINT collection_token_key UNIQUE (org_id, token);
ALTER TABLE ONLY export
    ADD CONSTRAINT export_pkey PRIMARY KEY (org_id, id);
ALTER TABLE ONLY file
    ADD CONSTRAINT file_pkey PRIMARY KEY (org_id, id);
ALTER TABLE ONLY file_version
    ADD CONSTRAINT file_version_pkey PRIMARY KEY (org_id, file_id, version);
ALTER TABLE ONLY goose_db_version
    ADD CONSTRAINT goose_db_version_pkey PRIMARY KEY (id);
ALTER TABLE ONLY idempotency
    ADD CONSTRAINT idempotency_pkey PRIMARY KEY (org_id, actor_id, key_hash);
ALTER TABLE ONLY link
    ADD CONSTRAINT link_ends_key UNIQUE (org_id, from_id, to_id, token);
ALTER TABLE ONLY link
    ADD CONSTRAINT link_pkey PRIMARY KEY (org_id, id);
ALTER TABLE ONLY org
    ADD CONSTRAINT org_pkey PRIMARY KEY (id);
ALTER TABLE ONLY record_grant
    ADD CONSTRAINT record_grant_pkey PRIMARY KEY (org_id, target_id, person_id, record_id);
ALTER TABLE ONLY record
    ADD CONSTRAINT record_pkey PRIMARY KEY (org_id, id);
ALTER TABLE ONLY record_subject
    ADD CONSTRAINT record_subject_pkey PRIMARY KEY (org_id, leaf, record_id);
ALTER TABLE ONLY record_version
    ADD CONSTRAINT record_version_pkey PRIMARY KEY (org_id, record_id, version);
ALTER TABLE ONLY trash
    ADD CONSTRAINT trash_pkey PRIMARY KEY (org_id, id);
CREATE INDEX idempotency_age_idx ON idempotency USING btree (org_id, created_at);
CREATE INDEX link_from_idx ON link USING btree (org_id, from_id, id);
CREATE INDEX link_to_idx ON link USING btree (org_id, to_id, id);
CREATE INDEX record_collection_idx ON record USING btree (org_id, collection_id, id);
CREATE INDEX record_grant_record_idx ON record_grant USING btree (org_id, record_id);
CREATE INDEX record_subject_record_idx ON record_subject USING btree (org_id, record_id);
CREATE INDEX trash_purge_idx ON trash USING btree (org_id, purge_after);
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE ON collection DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE ON export DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE ON file DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE ON file_version DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE ON idempotency DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE ON link DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE ON record DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE ON record_grant DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE ON record_subject DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE ON record_version DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
CREATE CONSTRAINT TRIGGER audited AFTER INSERT OR DELETE OR UPDATE ON trash DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION sr.require_audit();
ALTER TABLE ONLY collection
    ADD CONSTRAINT collection_org_id_fkey FOREIGN KEY (org_id) REFERENCES org(id);
ALTER TABLE ONLY export
    ADD CONSTRAINT export_org_id_fkey FOREIGN KEY (org_id) REFERENCES org(id);
ALTER TABLE ONLY file
    ADD CONSTRAINT file_org_id_fkey FOREIGN KEY (org_id) REFERENCES org(id);
ALTER TABLE ONLY file_version
    ADD CONSTRAINT file_version_org_id_fkey FOREIGN KEY (org_id) REFERENCES org(id);
ALTER TABLE ONLY idempotency
    ADD CONSTRAINT idempotency_org_id_fkey FOREIGN KEY (org_id) REFERENCES org(id);
ALTER TABLE ONLY link
    ADD CONSTRAINT link_org_id_fkey FOREIGN KEY (org_id) REFERENCES org(id);
ALTER TABLE ONLY record
    ADD CONSTRAINT record_collection_fkey FOREIGN KEY (org_id, collection_id) REFERENCES collection(org_id, id);
ALTER TABLE ONLY record_grant
    ADD CONSTRAINT record_grant_org_id_fkey FOREIGN KEY (org_id) REFERENCES org(id);
ALTER TABLE ONLY record_subject
    ADD CONSTRAINT record_subject_org_id_fkey FOREIGN KEY (org_id) REFERENCES org(id);
ALTER TABLE ONLY record_version
    ADD CONSTRAINT record_version_org_id_fkey FOREIGN KEY (org_id) REFERENCES org(id);
ALTER TABLE ONLY trash
    ADD CONSTRAINT trash_org_id_fkey FOREIGN KEY (org_id) REFERENCES org(id);
ALTER TABLE collection ENABLE ROW LEVEL SECURITY;
CREATE POLICY examination ON record FOR SELECT TO sr_owner USING ((org_id = ( SELECT sr.org() AS org)));
CREATE POLICY examination ON trash FOR SELECT TO sr_owner USING ((org_id = ( SELECT sr.org() AS org)));
ALTER TABLE export ENABLE ROW LEVEL SECURITY;
ALTER TABLE file ENABLE ROW LEVEL SECURITY;
ALTER TABLE file_version ENABLE ROW LEVEL SECURITY;
CREATE POLICY founding ON org FOR INSERT TO sr_owner WITH CHECK (true);
ALTER TABLE idempotency ENABLE ROW LEVEL SECURITY;
CREATE POLICY isolation ON collection TO sr_tenant USING ((org_id = ( SELECT sr.org() AS org))) WITH CHECK ((org_id = ( SELECT sr.org() AS org)));
CREATE POLICY isolation ON export TO sr_tenant USING (((org_id = ( SELECT sr.org() AS org)) AND ((created_by = ( SELECT sr.usr() AS usr)) OR (expires_at < now())))) WITH CHECK (((org_id = ( SELECT sr.org() AS org)) AND (created_by = ( SELECT sr.usr() AS usr))));
CREATE POLICY isolation ON file TO sr_tenant USING (((org_id = ( SELECT sr.org() AS org)) AND ((visibility = 'o'::"char") OR (owner_id = ( SELECT sr.usr() AS usr)) OR was_given(org_id, id, owner_id)))) WITH CHECK (((org_id = ( SELECT sr.org() AS org)) AND ((visibility = 'o'::"char") OR (owner_id = ( SELECT sr.usr() AS usr)) OR was_given(org_id, id, owner_id))));
CREATE POLICY isolation ON file_version TO sr_tenant USING (((org_id = ( SELECT sr.org() AS org)) AND ((visibility = 'o'::"char") OR sees_file(org_id, file_id)))) WITH CHECK (((org_id = ( SELECT sr.org() AS org)) AND sees_file(org_id, file_id)));
CREATE POLICY isolation ON idempotency TO sr_tenant USING ((org_id = ( SELECT sr.org() AS org))) WITH CHECK ((org_id = ( SELECT sr.org() AS org)));
CREATE POLICY isolation ON link TO sr_tenant USING (((org_id = ( SELECT sr.org() AS org)) AND ((visibility = 'o'::"char") OR (sees_record(org_id, from_id) AND (sees_record(org_id, to_id) OR sees_file(org_id, to_id)))))) WITH CHECK (((org_id = ( SELECT sr.org() AS org)) AND sees_record(org_id, from_id) AND (sees_record(org_id, to_id) OR sees_file(org_id, to_id))));
CREATE POLICY isolation ON org TO sr_tenant USING ((id = ( SELECT sr.org() AS org))) WITH CHECK ((id = ( SELECT sr.org() AS org)));
CREATE POLICY isolation ON record TO sr_tenant USING (((org_id = ( SELECT sr.org() AS org)) AND ((visibility = 'o'::"char") OR (owner_id = ( SELECT sr.usr() AS usr)) OR was_given(org_id, id, owner_id)))) WITH CHECK (((org_id = ( SELECT sr.org() AS org)) AND ((visibility = 'o'::"char") OR (owner_id = ( SELECT sr.usr() AS usr)) OR was_given(org_id, id, owner_id))));
CREATE POLICY isolation ON record_grant TO sr_tenant USING (((org_id = ( SELECT sr.org() AS org)) AND ((owner_id = ( SELECT sr.usr() AS usr)) OR (person_id = ( SELECT sr.usr() AS usr))))) WITH CHECK (((org_id = ( SELECT sr.org() AS org)) AND (owner_id = ( SELECT sr.usr() AS usr))));
CREATE POLICY isolation ON record_subject TO sr_tenant USING (((org_id = ( SELECT sr.org() AS org)) AND sees_record(org_id, record_id))) WITH CHECK (((org_id = ( SELECT sr.org() AS org)) AND sees_record(org_id, record_id)));
CREATE POLICY isolation ON record_version TO sr_tenant USING (((org_id = ( SELECT sr.org() AS org)) AND ((visibility = 'o'::"char") OR (owner_id = ( SELECT sr.usr() AS usr)) OR was_given(org_id, record_id, owner_id)))) WITH CHECK (((org_id = ( SELECT sr.org() AS org)) AND ((visibility = 'o'::"char") OR (owner_id = ( SELECT sr.usr() AS usr)) OR was_given(org_id, record_id, owner_id))));
CREATE POLICY isolation ON trash TO sr_tenant USING (((org_id = ( SELECT sr.org() AS org)) AND ((visibility = 'o'::"char") OR (owner_id = ( SELECT sr.usr() AS usr)) OR was_given(org_id, id, owner_id)))) WITH CHECK (((org_id = ( SELECT sr.org() AS org)) AND ((visibility = 'o'::"char") OR (owner_id = ( SELECT sr.usr() AS usr)) OR was_given(org_id, id, owner_id))));
ALTER TABLE link ENABLE ROW LEVEL SECURITY;
ALTER TABLE org ENABLE ROW LEVEL SECURITY;
ALTER TABLE record ENABLE ROW LEVEL SECURITY;
ALTER TABLE record_grant ENABLE ROW LEVEL SECURITY;
ALTER TABLE record_subject ENABLE ROW LEVEL SECURITY;
ALTER TABLE record_version ENABLE ROW LEVEL SECURITY;
ALTER TABLE trash ENABLE ROW LEVEL SECURITY;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE file TO {{role}};
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE trash TO {{role}};
REVOKE ALL ON FUNCTION sees_file(org uuid, file uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION sees_file(org uuid, file uuid) TO {{role}};
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE record TO {{role}};
REVOKE ALL ON FUNCTION sees_record(org uuid, record uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION sees_record(org uuid, record uuid) TO {{role}};
GRANT SELECT,INSERT,DELETE ON TABLE record_grant TO {{role}};
REVOKE ALL ON FUNCTION was_given(org uuid, target uuid, owner uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION was_given(org uuid, target uuid, owner uuid) TO {{role}};
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE collection TO {{role}};
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE export TO {{role}};
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE file_version TO {{role}};
GRANT SELECT,INSERT,DELETE ON TABLE idempotency TO {{role}};
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE link TO {{role}};
GRANT SELECT ON TABLE org TO {{role}};
GRANT SELECT,INSERT,DELETE ON TABLE record_subject TO {{role}};
GRANT SELECT,INSERT,DELETE ON TABLE record_version TO {{role}};
INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true);
INSERT INTO goose_db_version (version_id, is_applied) VALUES (1, true);
INSERT INTO goose_db_version (version_id, is_applied) VALUES (2, true);
INSERT INTO goose_db_version (version_id, is_applied) VALUES (3, true);
INSERT INTO goose_db_version (version_id, is_applied) VALUES (5, true);
INSERT INTO goose_db_version (version_id, is_applied) VALUES (6, true);
ALTER TABLE ONLY org
    ADD CONSTRAINT org_id_fkey FOREIGN KEY (id) REFERENCES platform.org(id);
