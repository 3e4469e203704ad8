-- Secrets at rest. A sealed column begins with a byte that says how the rest is kept: 0 as it is, 1 sealed under the
-- encryption key whose id follows (see src/sealing). What is here already gets a 0, and is sealed when the service starts
-- with a key. The columns change their names, so that a node of the version before fails instead of sending webhooks signed
-- with what it cannot read.

-- The service's own keys, several of each purpose while one takes over from another.
CREATE TABLE service_keyring (
    kid text NOT NULL PRIMARY KEY,
    -- jwt, webhook, links or fingerprint.
    purpose text NOT NULL,
    secret bytea NOT NULL,
    created_at timestamptz NOT NULL,
    -- Absent of the one that signs; of an earlier one, until when it still verifies.
    verifies_until timestamptz
);
CREATE UNIQUE INDEX service_keyring_signing ON service_keyring (purpose) WHERE verifies_until IS NULL;

-- One row: whether values may be kept in the clear, or may have left traces in dead tuples.
CREATE TABLE sealing (
    id integer PRIMARY KEY CHECK (id = 1),
    clear boolean NOT NULL
);
INSERT INTO sealing (id, clear) SELECT 1, count(*) > 0 FROM service_keys;

ALTER TABLE idempotency_keys RENAME COLUMN reply TO sealed_reply;
UPDATE idempotency_keys SET sealed_reply = '\x00'::bytea || sealed_reply;

-- Absent of a deleted subscription.
ALTER TABLE webhooks ADD COLUMN sealed_secret bytea;
ALTER TABLE webhooks ADD COLUMN sealed_previous_secret bytea;
UPDATE webhooks SET sealed_secret = '\x00'::bytea || convert_to(secret, 'UTF8'),
    sealed_previous_secret = '\x00'::bytea || convert_to(previous_secret, 'UTF8')
    WHERE NOT deleted;
ALTER TABLE webhooks DROP COLUMN secret;
ALTER TABLE webhooks DROP COLUMN previous_secret;
