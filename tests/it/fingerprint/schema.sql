-- One of every object that the fingerprint has to see, PostgreSQL 13 to 18.
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['fp_owner', 'fp_rw', 'fp_reader'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I', name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- another test was first
        END;
    END LOOP;
END $$;
CREATE SCHEMA app;
CREATE SCHEMA tenantmig;
CREATE TABLE tenantmig.runs (id int PRIMARY KEY);
CREATE TYPE app.mood AS ENUM ('sad', 'ok');
CREATE DOMAIN app.positive AS int CHECK (VALUE > 0);
CREATE TYPE app.pair AS (a int, b text);
CREATE TYPE app.span AS RANGE (subtype = numeric);
CREATE TABLE app.accounts (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, mood app.mood DEFAULT 'ok');
CREATE TABLE app."Odd ""Name" ("Select" int PRIMARY KEY, "größe" app.positive);
CREATE TABLE app.users (
    id serial PRIMARY KEY,
    account_id bigint REFERENCES app.accounts,
    email text COLLATE "C" NOT NULL,
    age int DEFAULT 18 CONSTRAINT adult CHECK (age >= 18),
    twice int GENERATED ALWAYS AS (age * 2) STORED,
    noted timestamptz DEFAULT now(),
    CONSTRAINT users_email UNIQUE (email) DEFERRABLE
) WITH (fillfactor = 90);
CREATE INDEX users_age ON app.users (age) WHERE age > 20;
CREATE INDEX users_lower ON app.users (lower(email));
CREATE STATISTICS app.users_stats ON account_id, age FROM app.users;
CREATE TABLE app.trades (id bigint, day date NOT NULL, note text) PARTITION BY RANGE (day);
CREATE TABLE app.trades_1 PARTITION OF app.trades FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE app.trades_2 PARTITION OF app.trades FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
CREATE INDEX trades_day ON app.trades (day);
CREATE TABLE app.base (a int, b int, c int);
CREATE TABLE app.child (d int) INHERITS (app.base);
CREATE UNLOGGED TABLE app.scratch (a int);
CREATE SEQUENCE app.numbers START 10;
CREATE VIEW app.adults AS SELECT id, email FROM app.users WHERE age >= 18;
CREATE MATERIALIZED VIEW app.totals AS SELECT count(*) AS n FROM app.users;
CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.noted := now();
    RETURN NEW;
END $$;
CREATE FUNCTION app.add(a int, b int) RETURNS int LANGUAGE sql AS 'SELECT a + b';
CREATE PROCEDURE app.nothing() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE app.total(int) (SFUNC = app.add, STYPE = int, INITCOND = '0');
CREATE OPERATOR app.@+ (LEFTARG = int, RIGHTARG = int, FUNCTION = app.add);
CREATE TRIGGER users_touch BEFORE UPDATE ON app.users FOR EACH ROW EXECUTE FUNCTION app.touch();
CREATE TRIGGER trades_touch AFTER INSERT ON app.trades FOR EACH ROW EXECUTE FUNCTION app.touch();
ALTER TABLE app.trades DISABLE TRIGGER trades_touch;
CREATE RULE scratch_quiet AS ON DELETE TO app.scratch DO INSTEAD NOTHING;
ALTER TABLE app.users ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.users FOR SELECT TO fp_rw, fp_reader USING (account_id = current_setting('app.account')::bigint);
CREATE POLICY narrow ON app.users AS RESTRICTIVE USING (true) WITH CHECK (age > 0);
COMMENT ON SCHEMA app IS 'the application';
COMMENT ON TABLE app.users IS 'people';
COMMENT ON COLUMN app.users.email IS E'two\nlines';
COMMENT ON CONSTRAINT adult ON app.users IS 'law';
COMMENT ON INDEX app.users_age IS 'for reports';
COMMENT ON POLICY tenant ON app.users IS 'isolation';
COMMENT ON TRIGGER users_touch ON app.users IS 'stamps';
GRANT USAGE ON SCHEMA app TO fp_rw;
GRANT SELECT, INSERT ON app.users TO fp_rw;
GRANT SELECT (name) ON app.accounts TO fp_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO fp_reader;
CREATE FUNCTION app.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER fp_ddl ON ddl_command_end WHEN TAG IN ('DROP FUNCTION') EXECUTE FUNCTION app.on_ddl();
CREATE PUBLICATION fp_pub FOR TABLE app.accounts, app.base WITH (publish = 'insert');
CREATE FOREIGN DATA WRAPPER fp_wrapper;
CREATE SERVER fp_server FOREIGN DATA WRAPPER fp_wrapper OPTIONS (host 'elsewhere');
CREATE FOREIGN TABLE app.remote (a int OPTIONS (x 'y')) SERVER fp_server OPTIONS (z '1');
INSERT INTO app.accounts (name) SELECT 'a' || g FROM generate_series(1, 10) g;
INSERT INTO app.users (account_id, email, age) SELECT g, 'u' || g, 20 + g FROM generate_series(1, 10) g;
INSERT INTO app.trades SELECT g, DATE '2026-06-26' + g, NULL FROM generate_series(1, 10) g;
INSERT INTO app.base VALUES (1, 1, 1), (1, 1, 1), (2, 2, 2);
INSERT INTO app.child VALUES (3, 3, 3, 3);
