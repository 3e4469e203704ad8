-- How far a customer's identity verification is. No row: it was never opened, and nothing was heard of it.

CREATE TABLE verifications (
    customer_id BLOB PRIMARY KEY REFERENCES customers (id),
    status TEXT NOT NULL,
    -- JSON: [{"code", "message"}], each safe to show to the person.
    reasons TEXT NOT NULL,
    -- Who made the decision in force, when by that partner's clock (milliseconds), and which message of theirs it was.
    provider TEXT,
    decided_at_ms INTEGER,
    last_event TEXT,
    updated_at INTEGER NOT NULL
) STRICT;
