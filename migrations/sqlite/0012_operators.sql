-- Operators have a role, may be limited to some programmes, expire, and are revoked. Those of before may do everything, as
-- they could.

ALTER TABLE operators ADD COLUMN role TEXT NOT NULL DEFAULT 'admin';
-- Absent: the token never expires.
ALTER TABLE operators ADD COLUMN expires_at INTEGER;
-- When the present token replaced another one.
ALTER TABLE operators ADD COLUMN rotated_at INTEGER;
ALTER TABLE operators ADD COLUMN revoked_at INTEGER;

-- The programmes that an operator may name. Without any: every programme, except for the role service.
CREATE TABLE operator_programmes (
    operator_id BLOB NOT NULL REFERENCES operators (id),
    programme_id BLOB NOT NULL REFERENCES programmes (id),
    PRIMARY KEY (operator_id, programme_id)
) STRICT;

-- What operators and the command line did: written in the transaction of the change, never altered. Holds no secrets.
CREATE TABLE acts (
    id BLOB PRIMARY KEY,
    at INTEGER NOT NULL,
    -- operator:<name> or command-line:<user of the operating system>.
    actor TEXT NOT NULL,
    -- Such as programme.disable.
    act TEXT NOT NULL,
    target_type TEXT NOT NULL,
    target_id TEXT,
    -- The programme that it was done for, or to.
    programme_id BLOB,
    -- Free text of the operator. For operators alone.
    reason TEXT,
    -- The caller's address, or the host of the command line.
    client TEXT,
    request_id TEXT,
    -- done, or the code of the refusal.
    outcome TEXT NOT NULL
) STRICT;

CREATE INDEX acts_newest ON acts (at, id);
