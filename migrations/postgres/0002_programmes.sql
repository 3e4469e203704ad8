-- Who may call. Secrets are kept as hashes only: argon2id (PHC string) for what people choose, SHA-256 for tokens that we make.

CREATE TABLE programmes (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    sandbox boolean NOT NULL,
    disabled boolean NOT NULL,
    -- Absent after the credentials were deleted: no token can be had then.
    api_key uuid UNIQUE,
    api_secret_hash text,
    -- Grows with every change of the credentials. A bearer token names the generation it was issued under.
    generation bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE signing_keys (
    programme_id uuid NOT NULL REFERENCES programmes (id),
    key_id text NOT NULL,
    algorithm text NOT NULL,
    -- SubjectPublicKeyInfo, DER.
    public_key bytea NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (programme_id, key_id),
    UNIQUE (programme_id, public_key)
);

-- Nonces of signatures that were accepted, until their signature is too old to be accepted again.
CREATE TABLE signature_nonces (
    programme_id uuid NOT NULL,
    key_id text NOT NULL,
    nonce text NOT NULL,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (programme_id, key_id, nonce)
);

CREATE INDEX signature_nonces_expiry ON signature_nonces (expires_at);

CREATE TABLE operators (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    token_hash bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL
);
