-- The application's database. `revision` counts the application's own updates of a row, `touched` those of tenantmig.
CREATE EXTENSION amcheck;
CREATE SCHEMA app;
GRANT USAGE ON SCHEMA app TO chaos_app;

CREATE TABLE app.accounts (
    id        bigint PRIMARY KEY,
    name      text NOT NULL,
    tenant_id uuid NOT NULL
);
INSERT INTO app.accounts
SELECT n, 'account ' || n, ('00000000-0000-0000-0000-00000000000' || (1 + n % 3))::uuid FROM generate_series(1, 20) n;

CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('application_name') LIKE 'tenantmig%' THEN
        NEW.touched := OLD.touched + 1;
    END IF;
    RETURN NEW;
END $$;

CREATE TABLE app.users (
    id         bigint PRIMARY KEY,
    account_id bigint NOT NULL REFERENCES app.accounts (id),
    email      text NOT NULL,
    revision   integer NOT NULL DEFAULT 0,
    touched    integer NOT NULL DEFAULT 0
);
INSERT INTO app.users (id, account_id, email)
SELECT n, 1 + n % 20, 'user' || n || '@example.org' FROM generate_series(1, 400) n;

CREATE TABLE app.trades (
    id         bigint PRIMARY KEY,
    account_id bigint NOT NULL,
    symbol     text NOT NULL,
    amount     numeric(12, 2) NOT NULL,
    revision   integer NOT NULL DEFAULT 0,
    touched    integer NOT NULL DEFAULT 0
);
INSERT INTO app.trades (id, account_id, symbol, amount)
SELECT n, 1 + n % 20, 'SYM' || n % 7, n FROM generate_series(1, 1000) n;

CREATE TABLE app.orders (
    id         bigint PRIMARY KEY,
    account_id bigint NOT NULL,
    note       text NOT NULL,
    revision   integer NOT NULL DEFAULT 0,
    touched    integer NOT NULL DEFAULT 0
) PARTITION BY HASH (id);
CREATE TABLE app.orders_0 PARTITION OF app.orders FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE app.orders_1 PARTITION OF app.orders FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO app.orders (id, account_id, note) SELECT n, 1 + n % 20, 'order ' || n FROM generate_series(1, 400) n;

CREATE TRIGGER touch BEFORE UPDATE ON app.users FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE TRIGGER touch BEFORE UPDATE ON app.trades FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE TRIGGER touch BEFORE UPDATE ON app.orders FOR EACH ROW EXECUTE FUNCTION app.touch();

GRANT SELECT ON app.accounts TO chaos_app;
GRANT SELECT, INSERT, UPDATE ON app.users, app.trades, app.orders TO chaos_app;
ANALYZE;
