-- Who is alive: each node that runs a worker counts its beats. A node that leaves, or that others have not seen beating, has no row
-- any more: with the row go its leases, as the foreign keys say.
CREATE TABLE nodes (
    -- Another one whenever the process starts, or after others have declared it dead.
    id BLOB PRIMARY KEY,
    beats INTEGER NOT NULL,
    started_at INTEGER NOT NULL
) STRICT;

-- Which node sends the deliveries of a subscription. Whatever is recorded of them names the epoch, so that what a former owner still
-- records does not count.
CREATE TABLE webhook_leases (
    webhook_id BLOB PRIMARY KEY,
    node BLOB REFERENCES nodes (id) ON DELETE SET NULL,
    epoch INTEGER NOT NULL
) STRICT;
CREATE INDEX webhook_leases_node ON webhook_leases (node);

-- What nodes of the version before had claimed is sent again.
DROP TABLE delivery_claims;

-- When the time of the next attempt was set, for other reasons than that the delivery is new: a clock that was ahead then must not
-- keep it waiting.
ALTER TABLE deliveries ADD COLUMN scheduled_at INTEGER;
CREATE INDEX deliveries_scheduled ON deliveries (webhook_id, scheduled_at) WHERE status = 'pending' AND scheduled_at IS NOT NULL;
