-- The node that works on a task. Those that nodes of the version before had claimed are due.
ALTER TABLE tasks ADD COLUMN node BLOB REFERENCES nodes (id) ON DELETE SET NULL;
UPDATE tasks SET run_at = created_at, lease = NULL WHERE lease IS NOT NULL AND kind IN ('screening', 'sandbox_deployment');
CREATE INDEX tasks_node ON tasks (node) WHERE node IS NOT NULL;
DROP INDEX tasks_due;
CREATE INDEX tasks_due ON tasks (kind, run_at, id) WHERE node IS NULL;

-- Pages of what was delivered, beside much that was not.
CREATE INDEX deliveries_delivered ON deliveries (webhook_id, created_at, event_id) WHERE status = 'delivered';
