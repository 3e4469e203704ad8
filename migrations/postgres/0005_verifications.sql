-- How far a customer's identity verification is. No row: it was never opened, and nothing was heard of it.

CREATE TABLE verifications (
    customer_id uuid PRIMARY KEY REFERENCES customers (id),
    status text NOT NULL,
    -- JSON: [{"code", "message"}], each safe to show to the person.
    reasons text NOT NULL,
    -- Who made the decision in force, when by that partner's clock (milliseconds), and which message of theirs it was.
    provider text,
    decided_at_ms bigint,
    last_event text,
    updated_at timestamptz NOT NULL
);
