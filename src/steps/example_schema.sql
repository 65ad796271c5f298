-- The database that the examples of the step kinds work on.
CREATE SCHEMA app;

CREATE TABLE app.accounts (
    id        bigint PRIMARY KEY,
    name      text NOT NULL,
    tenant_id uuid NOT NULL
);
INSERT INTO app.accounts
SELECT n, 'account ' || n, ('00000000-0000-0000-0000-00000000000' || (1 + n % 3))::uuid FROM generate_series(1, 20) n;

CREATE TABLE app.users (
    id         bigint PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES app.accounts (id),
    email      text,
    created_at timestamptz NOT NULL DEFAULT '2026-01-01 00:00:00+00'
);
INSERT INTO app.users (id, account_id, email)
SELECT n, 1 + n % 20, 'user' || n || '@example.org' FROM generate_series(1, 500) n;

-- A table that is half way: the column is there, and filled.
CREATE TABLE app.trades (
    id        bigint PRIMARY KEY,
    user_id   bigint NOT NULL,
    tenant_id uuid,
    symbol    text NOT NULL,
    amount    numeric(12, 2) NOT NULL
);
INSERT INTO app.trades
SELECT n, 1 + n % 500, ('00000000-0000-0000-0000-00000000000' || (1 + n % 3))::uuid, 'SYM' || n % 7, n
FROM generate_series(1, 1000) n;

-- The same, with the column still empty.
CREATE TABLE app.orders (
    id         bigint PRIMARY KEY,
    account_id bigint NOT NULL,
    tenant_id  uuid
);
INSERT INTO app.orders SELECT n, 1 + n % 20, NULL FROM generate_series(1, 1000) n;

-- Names that need their quotes.
CREATE TABLE app."Mixed Case" (
    "order"     bigint PRIMARY KEY,
    "größe"     integer,
    "tenant_ID" uuid
);
INSERT INTO app."Mixed Case" SELECT n, n, '00000000-0000-0000-0000-000000000001' FROM generate_series(1, 50) n;

-- Unique over all tenants, and pointed at without the tenant.
CREATE TABLE app.members (
    id        bigint PRIMARY KEY,
    tenant_id uuid NOT NULL,
    email     text UNIQUE
);
COMMENT ON CONSTRAINT members_email_key ON app.members IS 'one account each';
INSERT INTO app.members
SELECT n, ('00000000-0000-0000-0000-00000000000' || (1 + n % 3))::uuid, 'member' || n || '@example.org' FROM generate_series(1, 60) n;

CREATE TABLE app.badges (
    id        bigint PRIMARY KEY,
    tenant_id uuid NOT NULL,
    member_id bigint REFERENCES app.members (id) ON DELETE CASCADE
);
INSERT INTO app.badges SELECT m.id, m.tenant_id, m.id FROM app.members m;

GRANT SELECT, TRUNCATE, REFERENCES ON app.members TO PUBLIC;
