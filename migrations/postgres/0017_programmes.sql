-- Names of programmes are given once, unless somebody insists: who writes the row has the name. Programmes that share one
-- already stay, and the oldest has the row.
CREATE TABLE programme_names (
    name text PRIMARY KEY,
    programme_id uuid NOT NULL REFERENCES programmes (id)
);
INSERT INTO programme_names (name, programme_id)
    SELECT name, id FROM programmes ORDER BY created_at, id ON CONFLICT DO NOTHING;

-- Since when a programme is disabled, and the latest times in which it was: the deliveries' clock stood still then. JSON:
-- pairs of microseconds since the Unix epoch.
ALTER TABLE programmes ADD COLUMN disabled_at timestamptz;
ALTER TABLE programmes ADD COLUMN pauses text NOT NULL DEFAULT '[]';
UPDATE programmes SET disabled_at = updated_at WHERE disabled;
