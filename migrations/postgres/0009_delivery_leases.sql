-- A claim leaves the time of the next attempt alone and says in a column of its own until when it counts, so that no index
-- changes with it (a heap-only update): for that the page must have room for another version of the row.
ALTER TABLE deliveries ADD COLUMN leased_until timestamptz;
UPDATE deliveries SET leased_until = next_attempt_at WHERE status = 'pending' AND lease IS NOT NULL;
ALTER TABLE deliveries SET (fillfactor = 50);
