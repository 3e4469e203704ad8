-- Event hashes of version 2 cover commitments to personal data, made under the customer's key, in the place of the data.
-- Chains of version 1 are verified and sealed when the service starts; until then they go on as they are.

ALTER TABLE customers ADD COLUMN hash_version INTEGER NOT NULL DEFAULT 1;
-- The customer's key, sealed. Destroying it makes what was committed to unrecoverable.
ALTER TABLE customers ADD COLUMN event_key BLOB;
CREATE INDEX customers_unsealed ON customers (id) WHERE hash_version = 1;

ALTER TABLE events ADD COLUMN hash_version INTEGER NOT NULL DEFAULT 1;
-- 32 bytes for each personal member of the body, in their order.
ALTER TABLE events ADD COLUMN commitments BLOB;
