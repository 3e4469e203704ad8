-- Accounts and their cards. A row of either is changed only by who holds its customer's row: that settles every race
-- between a child and its parents, and keeps the customer's chain of events in order.

CREATE TABLE accounts (
    id uuid PRIMARY KEY,
    programme_id uuid NOT NULL,
    customer_id uuid NOT NULL REFERENCES customers (id),
    -- CAIP-10 account id, canonical; absent until deployed.
    chain_id text,
    -- ISO 4217.
    currency text NOT NULL,
    status text NOT NULL,
    -- customer: inactive because of its customer, and woken with it.
    slept_by text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL,
    -- The live ownership challenge; absent once it was used.
    challenge bytea,
    challenge_expires_at timestamptz
);

-- Pages of GET /accounts and GET /customers/{id}/accounts, with and without a status.
CREATE INDEX accounts_newest ON accounts (programme_id, created_at, id);
CREATE INDEX accounts_newest_by_status ON accounts (programme_id, status, created_at, id);
CREATE INDEX accounts_of_customer ON accounts (customer_id, created_at, id);
CREATE INDEX accounts_of_customer_by_status ON accounts (customer_id, status, created_at, id);
CREATE INDEX accounts_by_chain_id ON accounts (programme_id, chain_id, created_at, id) WHERE chain_id IS NOT NULL;

CREATE TABLE cards (
    id uuid PRIMARY KEY,
    programme_id uuid NOT NULL,
    customer_id uuid NOT NULL REFERENCES customers (id),
    account_id uuid NOT NULL REFERENCES accounts (id),
    card_type text NOT NULL,
    -- What issuing gave it: all four or none. Of its number there is never more than the last four digits.
    name text,
    network text,
    last_four text,
    expiration_date text,
    -- JSON.
    billing_address text NOT NULL,
    shipping_address text,
    status text NOT NULL,
    -- customer or account: inactive because of it, and woken with it.
    slept_by text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    version bigint NOT NULL
);

-- One live card of each type.
CREATE UNIQUE INDEX cards_one_live ON cards (account_id, card_type)
    WHERE status NOT IN ('blocked', 'issue_failed', 'terminated');

-- Pages of GET /cards and GET /accounts/{id}/cards, with and without a status.
CREATE INDEX cards_newest ON cards (programme_id, created_at, id);
CREATE INDEX cards_newest_by_status ON cards (programme_id, status, created_at, id);
CREATE INDEX cards_of_account ON cards (account_id, created_at, id);
CREATE INDEX cards_of_account_by_status ON cards (account_id, status, created_at, id);

-- What follows its customer or account. What is over is not in it, so that a long past costs nothing.
CREATE INDEX cards_of_customer ON cards (customer_id, created_at, id)
    WHERE status NOT IN ('blocked', 'issue_failed', 'terminated');
