-- What each login may do in the job queue. Run after River's migrations, again
-- at will. The door inserts jobs as the application's login; workers do the rest.
GRANT USAGE ON SCHEMA jobs TO sr_jobs, sr_app_00, sr_app_01, sr_app_02, sr_app_03, sr_app_04, sr_app_05, sr_app_06, sr_app_07,
    sr_app_08, sr_app_09, sr_app_10, sr_app_11, sr_app_12, sr_app_13, sr_app_14, sr_app_15, sr_platform;
GRANT SELECT, INSERT, UPDATE, DELETE ON jobs.river_job, jobs.river_leader, jobs.river_queue, jobs.river_notification TO sr_jobs;
GRANT USAGE ON SEQUENCE jobs.river_job_id_seq, jobs.river_notification_id_seq TO sr_jobs;
GRANT EXECUTE ON FUNCTION jobs.river_job_state_in_bitmask(bit, jobs.river_job_state) TO sr_jobs;
