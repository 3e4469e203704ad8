-- Work for the workers: one row a thing to do, written in the transaction that made it necessary, deleted when it is done.

CREATE TABLE tasks (
    id uuid PRIMARY KEY,
    kind text NOT NULL,
    programme_id uuid NOT NULL,
    customer_id uuid NOT NULL,
    -- What the work is about: the customer, an account or a card.
    entity_id uuid NOT NULL,
    -- When it is due. A claim moves it to the end of its lease, so that a dead worker's task comes up again by itself.
    run_at timestamptz NOT NULL,
    -- The claim that may settle it.
    lease uuid,
    attempts bigint NOT NULL,
    last_error text,
    created_at timestamptz NOT NULL
);

-- The order of claims: what waits behind is never read.
CREATE INDEX tasks_due ON tasks (kind, run_at, id);
