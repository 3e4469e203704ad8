-- Cursors are encrypted from here on. Consumers still hold some in the clear: they are read up to the last position that was
-- given by now, and no further, because a made-up one would tell how many events other programmes had.
CREATE TABLE plain_cursors (
    until_position INTEGER NOT NULL
) STRICT;

INSERT INTO plain_cursors (until_position) SELECT COALESCE(MAX(position), 0) FROM events WHERE position IS NOT NULL;
