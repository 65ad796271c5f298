-- The table of the benchmark: rows of some 150 bytes, 55 a page, in the order of their key, with two secondary indexes.
-- {rows} and {seed} are numbers. Values come from a hash of the key, so the same seed gives the same pages on every server.
CREATE TABLE tenants (id bigint PRIMARY KEY, name text NOT NULL);
INSERT INTO tenants SELECT n, 'tenant ' || n FROM generate_series(1, 1000) n;

CREATE TABLE users (id bigint PRIMARY KEY, tenant_id bigint NOT NULL REFERENCES tenants, email text NOT NULL);
INSERT INTO users
SELECT n, 1 + (hashint8extended(n, {seed}) & 2147483647) % 1000, 'user' || n || '@example.com' FROM generate_series(1, 100000) n;

CREATE TABLE trades (
    id         bigint NOT NULL,
    user_id    bigint NOT NULL,
    created_at timestamptz NOT NULL,
    price      bigint NOT NULL,
    quantity   integer NOT NULL,
    instrument integer NOT NULL,
    note       text NOT NULL
);
INSERT INTO trades
SELECT n,
       1 + (h & 2147483647) % 100000,
       timestamptz '2025-01-01 00:00:00+00' + n * interval '1 second',
       (h >> 8) & 1048575,
       1 + (h >> 16) & 255,
       1 + (h >> 24) & 1023,
       repeat(md5(n::text), 2) || left(md5(h::text), 12)
  FROM (SELECT n, hashint8extended(n, {seed} + 1) AS h FROM generate_series(1::bigint, {rows}) n OFFSET 0) r;
ALTER TABLE trades ADD PRIMARY KEY (id);
CREATE INDEX trades_user_id ON trades (user_id);
CREATE INDEX trades_instrument ON trades (instrument, created_at);
