-- Customers, what happened to them, and the answers that were given.

CREATE TABLE customers (
    id BLOB PRIMARY KEY,
    programme_id BLOB NOT NULL REFERENCES programmes (id),
    external_id TEXT NOT NULL,
    -- CAIP-10 account id, canonical.
    chain_id TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    -- The end of the customer's chain of events.
    event_seq INTEGER NOT NULL,
    event_head BLOB NOT NULL,
    -- The live ownership challenge; absent once it was used.
    challenge BLOB,
    challenge_expires_at INTEGER,
    UNIQUE (programme_id, chain_id),
    UNIQUE (programme_id, external_id)
) STRICT;

-- Pages of GET /customers, with and without a status.
CREATE INDEX customers_newest ON customers (programme_id, created_at, id);
CREATE INDEX customers_newest_by_status ON customers (programme_id, status, created_at, id);

-- The audit trail and the outbox in one: one row a change, written in the transaction of the change, never altered
-- but for its position.
CREATE TABLE events (
    id BLOB PRIMARY KEY,
    programme_id BLOB NOT NULL,
    customer_id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    entity_type TEXT NOT NULL,
    entity_id BLOB NOT NULL,
    actor TEXT NOT NULL,
    cause TEXT NOT NULL,
    from_status TEXT,
    to_status TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    -- The webhook's body, byte for byte.
    body TEXT NOT NULL,
    traceparent TEXT,
    previous_hash BLOB NOT NULL,
    hash BLOB NOT NULL,
    -- The place in the order that consumers see. Given after the commit, so that nothing ever appears behind a cursor
    -- that was handed out: ids and times are not in commit order when transactions overlap.
    position INTEGER,
    UNIQUE (customer_id, seq)
) STRICT;

CREATE UNIQUE INDEX events_position ON events (position) WHERE position IS NOT NULL;
CREATE INDEX events_by_programme ON events (programme_id, position) WHERE position IS NOT NULL;
CREATE INDEX events_unplaced ON events (id) WHERE position IS NULL;

-- Answers kept under idempotency keys, written in the transaction of the change they answer.
CREATE TABLE idempotency_keys (
    programme_id BLOB NOT NULL,
    key BLOB NOT NULL,
    -- Keyed hash over the call and its message.
    fingerprint BLOB NOT NULL,
    -- gRPC status code, then the encoded reply, or the encoded google.rpc.Status of a refusal.
    status INTEGER NOT NULL,
    reply BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (programme_id, key)
) STRICT;

CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);
