-- The service's own secrets, made by the first node that starts and shared by all of them (for example the key that
-- signs bearer tokens). One row per purpose; a row is written once and never changed.
CREATE TABLE service_keys (
    name       TEXT    NOT NULL PRIMARY KEY,
    secret     BLOB    NOT NULL,
    created_at INTEGER NOT NULL -- microseconds since the Unix epoch, UTC
) STRICT;
