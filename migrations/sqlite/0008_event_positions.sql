-- An event gets its position as it is written: with one writer at a time that is the order of commits, so none has to be
-- placed later. Those that wait are placed here.
UPDATE events SET position = waiting.position FROM (
    SELECT id, (SELECT position FROM event_order) + row_number() OVER (ORDER BY id) AS position
    FROM events WHERE position IS NULL
) AS waiting WHERE events.id = waiting.id;

DROP INDEX events_unplaced;
DROP TABLE event_order;
