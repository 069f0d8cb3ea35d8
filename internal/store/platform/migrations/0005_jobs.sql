-- The schema of the job queue. River's own migrations fill it; what each login
-- may do there is granted after them.

-- +goose Up

CREATE SCHEMA jobs;
