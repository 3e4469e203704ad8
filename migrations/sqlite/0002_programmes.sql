-- Who may call. Secrets are kept as hashes only: argon2id (PHC string) for what people choose, SHA-256 for tokens that we make.

CREATE TABLE programmes (
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    sandbox INTEGER NOT NULL,
    disabled INTEGER NOT NULL,
    -- Absent after the credentials were deleted: no token can be had then.
    api_key BLOB UNIQUE,
    api_secret_hash TEXT,
    -- Grows with every change of the credentials. A bearer token names the generation it was issued under.
    generation INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE signing_keys (
    programme_id BLOB NOT NULL REFERENCES programmes (id),
    key_id TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    -- SubjectPublicKeyInfo, DER.
    public_key BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (programme_id, key_id),
    UNIQUE (programme_id, public_key)
) STRICT;

-- Nonces of signatures that were accepted, until their signature is too old to be accepted again.
CREATE TABLE signature_nonces (
    programme_id BLOB NOT NULL,
    key_id TEXT NOT NULL,
    nonce TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (programme_id, key_id, nonce)
) STRICT;

CREATE INDEX signature_nonces_expiry ON signature_nonces (expires_at);

CREATE TABLE operators (
    id BLOB PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    token_hash BLOB NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;
