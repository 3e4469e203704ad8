-- Set by the first node that starts with an encryption key, before it seals what was kept in the clear: from then on no value
-- is written in the clear, whatever node or command still runs without the key.
ALTER TABLE sealing ADD COLUMN sealed_only boolean NOT NULL DEFAULT false;
