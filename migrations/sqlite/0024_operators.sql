-- Whether an operator may act for every programme. It is said here and not by the absence of rows in operator_programmes, so
-- that a row that is lost gives nobody more access.
ALTER TABLE operators ADD COLUMN every_programme INTEGER NOT NULL DEFAULT 0;
UPDATE operators SET every_programme = 1
    WHERE role <> 'service' AND id NOT IN (SELECT operator_id FROM operator_programmes);

-- An operator's idempotency keys are its own: programme_id is then a hash of operator and programme. Rows of before, and
-- those that a node of before still writes, are under the programme of the call alone.
ALTER TABLE idempotency_keys ADD COLUMN scoped INTEGER NOT NULL DEFAULT 0;
