-- Signed checkpoints of the audit trail: what had been committed up to a position, chained, so that what is deleted later is
-- missed.
CREATE TABLE audit_checkpoints (
    -- From 1, without gaps.
    seq bigint PRIMARY KEY,
    -- The last position that it covers.
    position bigint NOT NULL,
    -- Events up to there.
    events bigint NOT NULL,
    -- Over the hashes of those events, in the order of their positions.
    running_hash bytea NOT NULL,
    -- The hash of the checkpoint before; zeros for the first.
    previous_hash bytea NOT NULL,
    created_at timestamptz NOT NULL,
    -- Ed25519, by a key of audit_keys.
    signature bytea NOT NULL
);

-- The keys that sign checkpoints: the newest signs, all verify.
CREATE TABLE audit_keys (
    seq bigint PRIMARY KEY,
    -- PKCS #8 PEM, sealed.
    sealed_key bytea NOT NULL,
    created_at timestamptz NOT NULL
);
