-- Until when the lists count as used by a node that screens. Lists of before are taken over by the first node that starts.
ALTER TABLE screening_scans ADD COLUMN used_until timestamptz NOT NULL DEFAULT to_timestamp(0);
-- The lists in force, read whenever a customer is cleared.
CREATE INDEX screening_scans_newest ON screening_scans (started_at, fingerprint);
