-- Customers, what happened to them, and the answers that were given.

CREATE TABLE customers (
    id uuid PRIMARY KEY,
    programme_id uuid NOT NULL REFERENCES programmes (id),
    external_id text NOT NULL,
    -- CAIP-10 account id, canonical.
    chain_id text NOT NULL,
    status text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL,
    -- The end of the customer's chain of events.
    event_seq bigint NOT NULL,
    event_head bytea NOT NULL,
    -- The live ownership challenge; absent once it was used.
    challenge bytea,
    challenge_expires_at timestamptz,
    UNIQUE (programme_id, chain_id),
    UNIQUE (programme_id, external_id)
);

-- Pages of GET /customers, with and without a status.
CREATE INDEX customers_newest ON customers (programme_id, created_at, id);
CREATE INDEX customers_newest_by_status ON customers (programme_id, status, created_at, id);

-- The audit trail and the outbox in one: one row a change, written in the transaction of the change, never altered
-- but for its position.
CREATE TABLE events (
    id uuid PRIMARY KEY,
    programme_id uuid NOT NULL,
    customer_id uuid NOT NULL,
    seq bigint NOT NULL,
    entity_type text NOT NULL,
    entity_id uuid NOT NULL,
    actor text NOT NULL,
    cause text NOT NULL,
    from_status text,
    to_status text NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    -- The webhook's body, byte for byte.
    body text NOT NULL,
    traceparent text,
    previous_hash bytea NOT NULL,
    hash bytea NOT NULL,
    -- The place in the order that consumers see. Given after the commit, so that nothing ever appears behind a cursor
    -- that was handed out: ids and times are not in commit order when transactions overlap.
    position bigint,
    UNIQUE (customer_id, seq)
);

CREATE UNIQUE INDEX events_position ON events (position) WHERE position IS NOT NULL;
CREATE INDEX events_by_programme ON events (programme_id, position) WHERE position IS NOT NULL;
CREATE INDEX events_unplaced ON events (id) WHERE position IS NULL;

-- Answers kept under idempotency keys, written in the transaction of the change they answer.
CREATE TABLE idempotency_keys (
    programme_id uuid NOT NULL,
    key uuid NOT NULL,
    -- Keyed hash over the call and its message.
    fingerprint bytea NOT NULL,
    -- gRPC status code, then the encoded reply, or the encoded google.rpc.Status of a refusal.
    status integer NOT NULL,
    reply bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (programme_id, key)
);

CREATE INDEX idempotency_keys_expiry ON idempotency_keys (expires_at);
