-- A claim leaves the time of the next attempt alone and says in a column of its own until when it counts, so that no index
-- changes with it.
ALTER TABLE deliveries ADD COLUMN leased_until INTEGER;
UPDATE deliveries SET leased_until = next_attempt_at WHERE status = 'pending' AND lease IS NOT NULL;
