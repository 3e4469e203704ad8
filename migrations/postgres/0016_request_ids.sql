-- The X-Request-Id of the request that caused an event goes with its webhooks. Absent for what the service does by itself, and
-- for events from before.
ALTER TABLE events ADD COLUMN request_id text;
