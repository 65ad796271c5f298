//! What the laws are tried on where something is taken away and kept: tables and columns with all that can be on them.

use super::cases::{Case, partly, variant};

/// A heap with everything that a table can have; keys that are valid and keys that are not, one to itself.
const FULL: &str = "\
    CREATE TABLE app.\"Full 'x'\" (id serial, nr bigint GENERATED ALWAYS AS IDENTITY, account_id bigint, up int, note text COLLATE \"C\" DEFAULT 'it''s', \
        big int GENERATED ALWAYS AS (up * 2) STORED, gone int, PRIMARY KEY (id), UNIQUE (nr), CHECK (up > -5) NOT VALID); \
    ALTER TABLE app.\"Full 'x'\" DROP COLUMN gone; \
    ALTER TABLE app.\"Full 'x'\" ADD CONSTRAINT itself FOREIGN KEY (up) REFERENCES app.\"Full 'x'\" (id), \
        ADD CONSTRAINT valid FOREIGN KEY (account_id) REFERENCES app.accounts (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, \
        ADD CONSTRAINT \"late\" FOREIGN KEY (nr) REFERENCES app.accounts (id) NOT VALID; \
    COMMENT ON CONSTRAINT valid ON app.\"Full 'x'\" IS 'it''s theirs'; \
    CREATE STATISTICS app.of_full (dependencies) ON account_id, up FROM app.\"Full 'x'\"; \
    CREATE INDEX \"Half\" ON app.\"Full 'x'\" (lower(note)) WHERE up > 3; \
    ALTER TABLE app.\"Full 'x'\" ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON app.\"Full 'x'\" FOR SELECT USING (up > 2); \
    CREATE FUNCTION app.stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
    CREATE TRIGGER stamp BEFORE UPDATE OF note ON app.\"Full 'x'\" FOR EACH ROW WHEN (OLD.up > 1) EXECUTE FUNCTION app.stamp(); \
    GRANT SELECT, INSERT (note) ON app.\"Full 'x'\" TO PUBLIC; COMMENT ON TABLE app.\"Full 'x'\" IS 'full'; \
    INSERT INTO app.\"Full 'x'\" (account_id, up) SELECT 1 + n % 20, 1 + n % 10 FROM generate_series(1, 20) n";

const FULL_STEP: &str = r#"
[[phase.step]]
kind = "drop_table"
table = "app.\"Full 'x'\""
"#;

const PARTED: &str = "\
    CREATE TABLE app.parted (id bigint, account_id bigint REFERENCES app.accounts (id), region text) PARTITION BY LIST (region); \
    CREATE TABLE app.\"Nord %\" PARTITION OF app.parted FOR VALUES IN ('n') PARTITION BY RANGE (id); \
    CREATE TABLE app.n1 PARTITION OF app.\"Nord %\" FOR VALUES FROM (0) TO (200); \
    CREATE TABLE app.rest PARTITION OF app.parted DEFAULT; CREATE INDEX parted_region ON app.parted (region, id); \
    CREATE INDEX alone ON app.rest (account_id); ALTER TABLE app.rest ADD CONSTRAINT own FOREIGN KEY (id) REFERENCES app.orders (id) NOT VALID; \
    INSERT INTO app.parted SELECT n, 1 + n % 20, CASE WHEN n % 3 = 0 THEN 'n' END FROM generate_series(1, 100) n";

const COLUMN: &str = "\
    CREATE TABLE app.top (id bigint PRIMARY KEY, \"Weg 'x'\" text COLLATE \"C\" NOT NULL, last int); \
    ALTER TABLE app.top ALTER \"Weg 'x'\" SET STATISTICS 77, ALTER \"Weg 'x'\" SET STORAGE EXTERNAL, ALTER \"Weg 'x'\" SET (n_distinct = 5); \
    COMMENT ON COLUMN app.top.\"Weg 'x'\" IS 'it''s'; GRANT SELECT (\"Weg 'x'\"), UPDATE (last) ON app.top TO PUBLIC; \
    CREATE TABLE app.below () INHERITS (app.top); CREATE TABLE app.other () INHERITS (app.top); \
    ALTER TABLE ONLY app.other ALTER \"Weg 'x'\" SET DEFAULT 'theirs'; \
    INSERT INTO app.top SELECT n, 'v' || n, n FROM generate_series(1, 50) n; INSERT INTO app.below SELECT n, 'b' || n, n FROM generate_series(51, 60) n";

pub const KEEPS: &[Case] = &[
    variant("drop_table_with_everything", FULL, FULL_STEP),
    variant(
        "drop_table_partitioned",
        PARTED,
        r#"
[[phase.step]]
kind = "drop_table"
table = "app.parted"
"#,
    ),
    variant(
        "drop_column_with_marks",
        COLUMN,
        r#"
[[phase.step]]
kind = "drop_column"
table = "app.top"
column = "\"Weg 'x'\""
meanwhile = "'%'"
"#,
    ),
    variant(
        "drop_column_identity",
        "ALTER TABLE app.users ADD nr bigint GENERATED ALWAYS AS IDENTITY, ADD twice bigint GENERATED ALWAYS AS (account_id * 2) STORED, ADD after int",
        r#"
[[phase.step]]
kind = "drop_column"
table = "app.users"
column = "nr"
[[phase.step]]
kind = "drop_column"
table = "app.users"
column = "twice"
[[phase.step]]
kind = "drop_column"
table = "app.users"
column = "created_at"
"#,
    ),
    partly(
        "drop_of_what_is_gone",
        "DROP TABLE app.orders; ALTER TABLE app.trades DROP COLUMN amount",
        r#"
[[phase.step]]
kind = "drop_table"
table = "app.orders"
[[phase.step]]
kind = "drop_column"
table = "app.trades"
column = "amount"
[[phase.step]]
kind = "drop_column"
table = "app.trades"
column = "tenant_id"
"#,
    ),
];
