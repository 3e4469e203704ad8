-- What waits for another try, oldest first: how far a queue lags is read from it, and what has not failed costs nothing.
CREATE INDEX tasks_retried ON tasks (kind, created_at) WHERE last_error IS NOT NULL;

-- Screening everybody again by lists that have changed: one row for each content that lists had. The newest is in force.
CREATE TABLE screening_scans (
    -- SHA-256 over the SHA-256 of each list.
    fingerprint BLOB PRIMARY KEY,
    started_at INTEGER NOT NULL,
    -- Every customer up to this id has been screened by them.
    position BLOB NOT NULL,
    -- Who goes on, and until when nobody else does.
    lease BLOB,
    leased_until INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;

-- JSON: the ids of messages whose time lay ahead of the time at which they came. A repetition of one must be known, since its
-- time does not tell that it is old.
ALTER TABLE verifications ADD COLUMN early_events TEXT NOT NULL DEFAULT '[]';
