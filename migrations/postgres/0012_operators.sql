-- Operators have a role, may be limited to some programmes, expire, and are revoked. Those of before may do everything, as
-- they could.

ALTER TABLE operators ADD COLUMN role text NOT NULL DEFAULT 'admin';
-- Absent: the token never expires.
ALTER TABLE operators ADD COLUMN expires_at timestamptz;
-- When the present token replaced another one.
ALTER TABLE operators ADD COLUMN rotated_at timestamptz;
ALTER TABLE operators ADD COLUMN revoked_at timestamptz;

-- The programmes that an operator may name. Without any: every programme, except for the role service.
CREATE TABLE operator_programmes (
    operator_id uuid NOT NULL REFERENCES operators (id),
    programme_id uuid NOT NULL REFERENCES programmes (id),
    PRIMARY KEY (operator_id, programme_id)
);

-- What operators and the command line did: written in the transaction of the change, never altered. Holds no secrets.
CREATE TABLE acts (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL,
    -- operator:<name> or command-line:<user of the operating system>.
    actor text NOT NULL,
    -- Such as programme.disable.
    act text NOT NULL,
    target_type text NOT NULL,
    target_id text,
    -- The programme that it was done for, or to.
    programme_id uuid,
    -- Free text of the operator. For operators alone.
    reason text,
    -- The caller's address, or the host of the command line.
    client text,
    request_id text,
    -- done, or the code of the refusal.
    outcome text NOT NULL
);

CREATE INDEX acts_newest ON acts (at, id);
