-- Who has which deliveries in hand: a row for each subscription and node, so that a claim need not write every delivery.
CREATE TABLE delivery_claims (
    webhook_id BLOB NOT NULL,
    node BLOB NOT NULL,
    -- Until when nobody else takes them.
    until INTEGER NOT NULL,
    -- The second halves of the ids of the deliveries' events, 8 bytes each.
    events BLOB NOT NULL,
    PRIMARY KEY (webhook_id, node)
) STRICT;

-- What somebody had claimed in the old way is sent again.
ALTER TABLE deliveries DROP COLUMN lease;
ALTER TABLE deliveries DROP COLUMN leased_until;
