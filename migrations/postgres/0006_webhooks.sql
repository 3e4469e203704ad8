-- Subscriptions, the deliveries to them, and the order of events that consumers see.

CREATE TABLE webhooks (
    id uuid PRIMARY KEY,
    programme_id uuid NOT NULL REFERENCES programmes (id),
    callback_url text NOT NULL,
    -- Names of event types, separated by commas.
    types text NOT NULL,
    -- Whether deliveries of one entity are sent one after another.
    fifo boolean NOT NULL,
    disabled_reason text,
    -- When a subscription that was disabled for failing is tried next.
    probe_at timestamptz,
    failing_since timestamptz,
    failures bigint NOT NULL,
    -- They sign, so they are kept as they are.
    secret text NOT NULL,
    previous_secret text,
    previous_secret_until timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    -- Deleted, as far as anybody can see: the row goes when the last of its deliveries is gone.
    deleted boolean NOT NULL
);

CREATE INDEX webhooks_newest ON webhooks (programme_id, created_at, id);
CREATE INDEX webhooks_deleted ON webhooks (id) WHERE deleted;

-- One event on its way to one subscription, written in the transaction of the event.
CREATE TABLE deliveries (
    webhook_id uuid NOT NULL,
    event_id uuid NOT NULL,
    webhook_type text NOT NULL,
    -- What keeps order, where order is kept.
    entity_id uuid NOT NULL,
    version bigint NOT NULL,
    -- The body of a trial; every other is the event's.
    body text,
    -- pending, delivered or dead.
    status text NOT NULL,
    -- JSON, oldest first.
    attempts text NOT NULL,
    -- Attempts of the present window, and when it began.
    tries bigint NOT NULL,
    due_since timestamptz NOT NULL,
    -- Present while pending; while somebody sends it, the end of the lease.
    next_attempt_at timestamptz,
    lease uuid,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (webhook_id, event_id)
);

-- Claims: what is delivered, dead or waits for its time is not in the way.
CREATE INDEX deliveries_due ON deliveries (webhook_id, next_attempt_at, event_id) WHERE status = 'pending';
-- Whether an earlier delivery of an entity is still pending.
CREATE INDEX deliveries_in_order ON deliveries (webhook_id, entity_id, version) WHERE status = 'pending';
-- Pages, of all and of the few that are not delivered.
CREATE INDEX deliveries_newest ON deliveries (webhook_id, created_at, event_id);
CREATE INDEX deliveries_open ON deliveries (status, webhook_id, created_at, event_id) WHERE status <> 'delivered';

-- The last position given to an event. One row; who holds it gives positions.
CREATE TABLE event_order (
    id integer PRIMARY KEY CHECK (id = 1),
    position bigint NOT NULL
);
INSERT INTO event_order (id, position) VALUES (1, 0);
