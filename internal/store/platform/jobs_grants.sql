-- What each login may do in the job queue. Run after River's migrations, again
-- at will.
--
-- The doors only ever add a job, in their own transaction; sr_jobs does the
-- rest. A login of the application cannot read the queue: jobs name other
-- organizations. (River's InsertTx reads back and updates what it inserts, so
-- it would need SELECT, UPDATE (kind) and pg_notify; a plain INSERT does not.)
GRANT USAGE ON SCHEMA jobs TO sr_jobs;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs.river_job, jobs.river_leader, jobs.river_queue, jobs.river_notification TO sr_jobs;
GRANT USAGE ON SEQUENCE jobs.river_job_id_seq, jobs.river_notification_id_seq TO sr_jobs;
GRANT EXECUTE ON FUNCTION jobs.river_job_state_in_bitmask(bit, jobs.river_job_state) TO sr_jobs;
DO $$
DECLARE
    doors text := (SELECT string_agg('sr_app_' || lpad(n::text, 2, '0'), ', ') || ', sr_platform' FROM generate_series(0, 15) n);
BEGIN
    EXECUTE 'GRANT USAGE ON SCHEMA jobs TO ' || doors;
    EXECUTE 'GRANT INSERT (kind, queue, args, metadata, max_attempts, priority, state, scheduled_at) ON jobs.river_job TO ' || doors;
    EXECUTE 'GRANT USAGE ON SEQUENCE jobs.river_job_id_seq TO ' || doors;
    -- An index of the table calls it on each insert.
    EXECUTE 'GRANT EXECUTE ON FUNCTION jobs.river_job_state_in_bitmask(bit, jobs.river_job_state) TO ' || doors;
END
$$;
