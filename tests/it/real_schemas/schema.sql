-- One of each thing that a schema in use has and a schema in a book has not.
CREATE SCHEMA app;
CREATE SCHEMA "Archiv";
CREATE TYPE app.kind AS ENUM ('trade', 'quote');
CREATE DOMAIN app.mail AS text CHECK (VALUE LIKE '%@%');

CREATE TABLE app.tenants (id uuid PRIMARY KEY, name text NOT NULL);
INSERT INTO app.tenants SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, 'tenant ' || n FROM generate_series(1, 3) n;
CREATE TABLE app.accounts (id bigint PRIMARY KEY, tenant_id uuid NOT NULL REFERENCES app.tenants (id));
INSERT INTO app.accounts SELECT n, ('00000000-0000-0000-0000-00000000000' || 1 + n % 3)::uuid FROM generate_series(1, 12) n;

CREATE FUNCTION app.stamp() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END $$;

-- RANGE over LIST and HASH; identity, generated and enum columns; a trigger of the application's; a partition in another schema.
CREATE TABLE app.events (
    id         bigint NOT NULL,
    at         date NOT NULL,
    account_id bigint NOT NULL,
    kind       app.kind NOT NULL,
    amount     numeric NOT NULL,
    vat        numeric GENERATED ALWAYS AS (amount * 0.2) STORED,
    updated_at timestamptz NOT NULL DEFAULT '2026-01-01 00:00:00+00',
    PRIMARY KEY (id, at, kind)
) PARTITION BY RANGE (at);
CREATE TABLE app.events_q1 PARTITION OF app.events FOR VALUES FROM ('2026-01-01') TO ('2026-04-01');
CREATE TABLE "Archiv"."Q 2%" PARTITION OF app.events FOR VALUES FROM ('2026-04-01') TO ('2026-07-01') PARTITION BY LIST (kind);
CREATE TABLE app.q2_trade PARTITION OF "Archiv"."Q 2%" FOR VALUES IN ('trade') PARTITION BY HASH (id);
CREATE TABLE app.q2_trade_0 PARTITION OF app.q2_trade FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE app.q2_trade_1 PARTITION OF app.q2_trade FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE "Archiv"."Rest" PARTITION OF "Archiv"."Q 2%" DEFAULT;
-- Attached, with its columns in another order and one dropped.
CREATE TABLE app.events_q3 (gone int, updated_at timestamptz NOT NULL DEFAULT '2026-01-01 00:00:00+00', kind app.kind NOT NULL, id bigint NOT NULL,
    amount numeric NOT NULL, vat numeric GENERATED ALWAYS AS (amount * 0.2) STORED, account_id bigint NOT NULL, at date NOT NULL);
ALTER TABLE app.events_q3 DROP COLUMN gone;
ALTER TABLE app.events ATTACH PARTITION app.events_q3 FOR VALUES FROM ('2026-07-01') TO ('2026-10-01');
CREATE TRIGGER stamp BEFORE UPDATE ON app.events FOR EACH ROW EXECUTE FUNCTION app.stamp();
INSERT INTO app.events (id, at, account_id, kind, amount)
SELECT n, '2026-01-01'::date + n % 270, 1 + n % 12, CASE n % 2 WHEN 0 THEN 'trade' ELSE 'quote' END::app.kind, n FROM generate_series(1, 1200) n;
CREATE VIEW app.trades AS SELECT id, account_id, amount FROM app.events WHERE kind = 'trade';
CREATE MATERIALIZED VIEW app.totals AS SELECT account_id, sum(amount) AS amount FROM app.events GROUP BY account_id;

-- LIST by text, with a partition for what is left.
CREATE TABLE app.regions (id bigint GENERATED ALWAYS AS IDENTITY, region text, account_id bigint NOT NULL) PARTITION BY LIST (region);
CREATE TABLE app.regions_n PARTITION OF app.regions FOR VALUES IN ('n', NULL);
CREATE TABLE app.regions_rest PARTITION OF app.regions DEFAULT;
-- An identity of a partitioned table is its own before 17.
INSERT INTO app.regions (region, account_id) SELECT CASE n % 3 WHEN 0 THEN 'n' WHEN 1 THEN 's' END, 1 + n % 12 FROM generate_series(1, 300) n;

-- Inheritance, at two levels and with two parents.
CREATE TABLE app.docs (id bigint NOT NULL, account_id bigint NOT NULL, title app.mail);
CREATE TABLE app.invoices (due date, PRIMARY KEY (id)) INHERITS (app.docs);
CREATE TABLE app.notes () INHERITS (app.docs);
CREATE TABLE app.reminders () INHERITS (app.invoices, app.notes);
INSERT INTO app.docs SELECT n, 1 + n % 12, n || '@a' FROM generate_series(1, 50) n;
INSERT INTO app.invoices SELECT n, 1 + n % 12, n || '@a', '2026-01-01' FROM generate_series(51, 100) n;
INSERT INTO app.notes SELECT n, 1 + n % 12 FROM generate_series(101, 150) n;
INSERT INTO app.reminders SELECT n, 1 + n % 12 FROM generate_series(151, 200) n;

-- No key; a rule that no UPDATE meets.
CREATE TABLE app.nokey (account_id bigint NOT NULL, note text);
INSERT INTO app.nokey SELECT 1 + n % 12, 'the same' FROM generate_series(1, 300) n;
CREATE RULE kept AS ON DELETE TO app.nokey WHERE OLD.note = 'kept' DO INSTEAD NOTHING;

-- A natural key of several columns, published.
CREATE TABLE app."Mixed Case" ("Year" int, "größe" app.mail, "Account" bigint NOT NULL, PRIMARY KEY ("größe", "Year"));
INSERT INTO app."Mixed Case" SELECT 2000 + n % 20, n || '@a', 1 + n % 12 FROM generate_series(1, 200) n;
CREATE PUBLICATION pub FOR TABLE app."Mixed Case", app.events WITH (publish_via_partition_root = true);
