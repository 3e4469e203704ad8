-- Who has which deliveries in hand: a row for each subscription and node, so that a claim need not write every delivery. The rows
-- are written over and over: with room in their pages no index changes with them (heap-only updates).
CREATE TABLE delivery_claims (
    webhook_id uuid NOT NULL,
    node uuid NOT NULL,
    -- Until when nobody else takes them.
    until timestamptz NOT NULL,
    -- The second halves of the ids of the deliveries' events, 8 bytes each.
    events bytea NOT NULL,
    PRIMARY KEY (webhook_id, node)
) WITH (fillfactor = 25);
ALTER TABLE delivery_claims ALTER COLUMN events SET STORAGE EXTERNAL;

-- What somebody had claimed in the old way is sent again.
ALTER TABLE deliveries DROP COLUMN lease, DROP COLUMN leased_until;
ALTER TABLE deliveries RESET (fillfactor);
