-- Subscriptions, the deliveries to them, and the order of events that consumers see.

CREATE TABLE webhooks (
    id BLOB PRIMARY KEY,
    programme_id BLOB NOT NULL REFERENCES programmes (id),
    callback_url TEXT NOT NULL,
    -- Names of event types, separated by commas.
    types TEXT NOT NULL,
    -- Whether deliveries of one entity are sent one after another.
    fifo INTEGER NOT NULL,
    disabled_reason TEXT,
    -- When a subscription that was disabled for failing is tried next.
    probe_at INTEGER,
    failing_since INTEGER,
    failures INTEGER NOT NULL,
    -- They sign, so they are kept as they are.
    secret TEXT NOT NULL,
    previous_secret TEXT,
    previous_secret_until INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    -- Deleted, as far as anybody can see: the row goes when the last of its deliveries is gone.
    deleted INTEGER NOT NULL
) STRICT;

CREATE INDEX webhooks_newest ON webhooks (programme_id, created_at, id);
CREATE INDEX webhooks_deleted ON webhooks (id) WHERE deleted;

-- One event on its way to one subscription, written in the transaction of the event.
CREATE TABLE deliveries (
    webhook_id BLOB NOT NULL,
    event_id BLOB NOT NULL,
    webhook_type TEXT NOT NULL,
    -- What keeps order, where order is kept.
    entity_id BLOB NOT NULL,
    version INTEGER NOT NULL,
    -- The body of a trial; every other is the event's.
    body TEXT,
    -- pending, delivered or dead.
    status TEXT NOT NULL,
    -- JSON, oldest first.
    attempts TEXT NOT NULL,
    -- Attempts of the present window, and when it began.
    tries INTEGER NOT NULL,
    due_since INTEGER NOT NULL,
    -- Present while pending; while somebody sends it, the end of the lease.
    next_attempt_at INTEGER,
    lease BLOB,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (webhook_id, event_id)
) STRICT;

-- Claims: what is delivered, dead or waits for its time is not in the way.
CREATE INDEX deliveries_due ON deliveries (webhook_id, next_attempt_at, event_id) WHERE status = 'pending';
-- Whether an earlier delivery of an entity is still pending.
CREATE INDEX deliveries_in_order ON deliveries (webhook_id, entity_id, version) WHERE status = 'pending';
-- Pages, of all and of the few that are not delivered.
CREATE INDEX deliveries_newest ON deliveries (webhook_id, created_at, event_id);
CREATE INDEX deliveries_open ON deliveries (status, webhook_id, created_at, event_id) WHERE status <> 'delivered';

-- The last position given to an event. One row; who holds it gives positions.
CREATE TABLE event_order (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    position INTEGER NOT NULL
) STRICT;
INSERT INTO event_order (id, position) VALUES (1, 0);
