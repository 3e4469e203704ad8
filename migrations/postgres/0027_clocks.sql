-- When the time at which a task is due was set, for other reasons than that the task is new: a clock that was ahead then must not
-- keep it waiting. Nodes of the version before leave it as it is.
ALTER TABLE tasks ADD COLUMN scheduled_at timestamptz;
CREATE INDEX tasks_scheduled ON tasks (COALESCE(scheduled_at, created_at));

-- Which screening lists a node has, and which node screens customers again: both end with the node, not with a time. Nodes of the
-- version before go by `used_until` and `leased_until`, which are written no more once a scan has begun.
ALTER TABLE nodes ADD COLUMN screening_lists bytea;
ALTER TABLE screening_scans ADD COLUMN node uuid REFERENCES nodes (id) ON DELETE SET NULL;
