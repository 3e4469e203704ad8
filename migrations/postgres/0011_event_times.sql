-- The time of the last event of a customer's chain, beside its place and hash: no later event has an earlier time. Absent
-- until the first change after this migration.
ALTER TABLE customers ADD COLUMN event_at timestamptz;
