-- Work for the workers: one row a thing to do, written in the transaction that made it necessary, deleted when it is done.

CREATE TABLE tasks (
    id BLOB PRIMARY KEY,
    kind TEXT NOT NULL,
    programme_id BLOB NOT NULL,
    customer_id BLOB NOT NULL,
    -- What the work is about: the customer, an account or a card.
    entity_id BLOB NOT NULL,
    -- When it is due. A claim moves it to the end of its lease, so that a dead worker's task comes up again by itself.
    run_at INTEGER NOT NULL,
    -- The claim that may settle it.
    lease BLOB,
    attempts INTEGER NOT NULL,
    last_error TEXT,
    created_at INTEGER NOT NULL
) STRICT;

-- The order of claims: what waits behind is never read.
CREATE INDEX tasks_due ON tasks (kind, run_at, id);
