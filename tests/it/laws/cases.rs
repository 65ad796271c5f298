//! What the laws are tried on: the example of every kind, and variants in which the database is not so simple.

use tenantmig::steps::KINDS;

use super::{captures::CAPTURES, copies::COPIES, families::FAMILIES, keeps::KEEPS, keys::KEYS};

/// Steps, and what the owner did to the example schema before them.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    pub setup: &'static str,
    pub steps: &'static str,
    /// Whether nothing of it is there before.
    pub absent: bool,
}

/// Every example, then the variants.
pub fn cases() -> impl Iterator<Item = Case> {
    let examples = KINDS.iter().map(|kind| Case { name: kind.name, setup: "", steps: kind.example, absent: true });
    examples.chain([VARIANTS, FAMILIES, CAPTURES, COPIES, KEYS, KEEPS].into_iter().flatten().copied())
}

/// Every example, and the variants in which an undo has more to do than to take away: what every seam is tried on.
pub fn deep() -> impl Iterator<Item = Case> {
    cases().enumerate().filter(|(i, case)| *i < KINDS.len() || DEEP.contains(&case.name)).map(|(_, case)| case)
}

const DEEP: &[&str] = &[
    "policy_replaced",
    "key_not_valid_before",
    "sql_outside_a_transaction",
    "sql_without_probe",
    "index_partitioned",
    "quarantine_everything",
    "rows_into_what_is_partly_there",
    "family_partly",
    "shadow_enforced",
    "key_partitioned",
    "unique_with_marks",
    "unique_partitioned",
    "capture_ended_as_it_stood",
    "function_replaced_under_a_policy",
    "drop_table_with_everything",
];

pub const fn variant(name: &'static str, setup: &'static str, steps: &'static str) -> Case {
    Case { name, setup, steps, absent: true }
}

/// As a variant, with part of it there before.
pub const fn partly(name: &'static str, setup: &'static str, steps: &'static str) -> Case {
    Case { name, setup, steps, absent: false }
}

const VARIANTS: &[Case] = &[
    variant(
        "column_quoted",
        "",
        r#"
[[phase.step]]
kind = "add_column"
table = 'app."Mixed Case"'
column = "\"Tenant größe's\""
type = "numeric(12,2)"
default = "'1.5'"
not_null = true
comment = "it's \\ here"
"#,
    ),
    variant(
        "column_and_backfill",
        "",
        r#"
[[phase.step]]
kind = "add_column"
table = "app.users"
column = "tenant_id"
type = "uuid"
[[phase.step]]
kind = "backfill"
table = "app.users"
column = "tenant_id"
from = { table = "app.accounts", match = { account_id = "id" } }
[[phase.step]]
kind = "set_not_null"
table = "app.users"
column = "tenant_id"
"#,
    ),
    variant(
        "column_settled",
        "",
        r#"
[[phase.step]]
kind = "add_column"
table = "app.users"
column = "tenant_id"
type = "uuid"
[[phase.step]]
kind = "settle"
table = "app.users"
column = "tenant_id"
from = { table = "app.accounts", match = { account_id = "id" } }
"#,
    ),
    variant(
        "backfill_by_block",
        "CREATE TABLE app.log (line text, tenant_id uuid); INSERT INTO app.log SELECT repeat('x', 200), NULL FROM generate_series(1, 1000)",
        r#"
[[phase.step]]
kind = "backfill"
table = "app.log"
column = "tenant_id"
value = "00000000-0000-0000-0000-000000000001"
batch_rows = 200
"#,
    ),
    variant(
        "backfill_expression",
        "CREATE TABLE app.pairs (a int, b text, tenant_id uuid, PRIMARY KEY (b, a)); \
         INSERT INTO app.pairs SELECT n % 50, 'it''s ' || n, NULL FROM generate_series(1, 700) n",
        r#"
[[phase.step]]
kind = "backfill"
table = "app.pairs"
column = "tenant_id"
sql = "('00000000-0000-0000-0000-00000000000' || (1 + row.a % 3))::uuid"
where = "row.a < 40"
batch_rows = 100
"#,
    ),
    variant(
        "quarantine_everything",
        "CREATE TABLE app.\"Odd $ 'One'\" (id bigint GENERATED ALWAYS AS IDENTITY, up bigint, account_id bigint, \"größe\" int, \
            twice int GENERATED ALWAYS AS (\"größe\" * 2) STORED, gone int, tenant_id uuid, note text, PRIMARY KEY (id)) PARTITION BY RANGE (id); \
         CREATE TABLE app.odd1 PARTITION OF app.\"Odd $ 'One'\" FOR VALUES FROM (0) TO (100); \
         CREATE TABLE app.odd2 PARTITION OF app.\"Odd $ 'One'\" FOR VALUES FROM (100) TO (2000) PARTITION BY HASH (id); \
         CREATE TABLE app.odd2a PARTITION OF app.odd2 FOR VALUES WITH (MODULUS 1, REMAINDER 0); \
         ALTER TABLE app.\"Odd $ 'One'\" DROP COLUMN gone; \
         INSERT INTO app.\"Odd $ 'One'\" (up, account_id, \"größe\", note) SELECT n, n % 40, n, 'it''s ' || n FROM generate_series(1, 300) n; \
         ALTER TABLE app.\"Odd $ 'One'\" ADD CONSTRAINT itself FOREIGN KEY (up) REFERENCES app.\"Odd $ 'One'\" (id) ON DELETE CASCADE; \
         ALTER TABLE app.odd1 ADD CONSTRAINT small CHECK (id < 50 OR account_id < 21) NOT VALID; COMMENT ON CONSTRAINT small ON app.odd1 IS 'theirs'",
        r#"
[[phase.step]]
kind = "backfill"
table = "app.\"Odd $ 'One'\""
column = "tenant_id"
from = { table = "app.accounts", match = { account_id = "id" } }
on_orphan = "quarantine"
"#,
    ),
    variant(
        "quarantine_not_valid",
        "ALTER TABLE app.orders ADD CONSTRAINT of FOREIGN KEY (account_id) REFERENCES app.accounts (id) NOT VALID; \
         ALTER TABLE app.orders ADD CONSTRAINT few CHECK (account_id < 10) NOT VALID; \
         COMMENT ON CONSTRAINT few ON app.orders IS 'it''s theirs'; \
         ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC",
        r#"
[[phase.step]]
kind = "quarantine"
table = "app.orders"
column = "tenant_id"
"#,
    ),
    variant(
        "index_quoted",
        "",
        r#"
[[phase.step]]
kind = "create_index"
table = 'app."Mixed Case"'
name = '"An Index"'
columns = [{ expr = '"größe" + 1' }, { column = '"tenant_ID"', order = "desc nulls last" }]
where = '"größe" > 0'
"#,
    ),
    variant(
        "index_partitioned",
        "CREATE TABLE app.parted (id bigint, tenant_id uuid, note text, PRIMARY KEY (id)) PARTITION BY RANGE (id); \
         CREATE TABLE app.p1 PARTITION OF app.parted FOR VALUES FROM (0) TO (100); \
         CREATE TABLE app.\"P Two\" PARTITION OF app.parted FOR VALUES FROM (100) TO (200) PARTITION BY HASH (id); \
         CREATE TABLE app.p2a PARTITION OF app.\"P Two\" FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
         CREATE TABLE app.p2b PARTITION OF app.\"P Two\" FOR VALUES WITH (MODULUS 2, REMAINDER 1); \
         INSERT INTO app.parted SELECT n, NULL, 'note ' || n FROM generate_series(1, 199) n; \
         CREATE INDEX stood ON app.p1 (lower(note), id) WHERE id > 0",
        r#"
[[phase.step]]
kind = "create_index"
table = "app.parted"
name = "parted_note"
columns = [{ expr = "lower(note)" }, "id"]
unique = true
where = "id > 0"
"#,
    ),
    variant(
        "index_collation",
        "",
        r#"
[[phase.step]]
kind = "create_index"
table = "app.users"
columns = [{ column = "email", collation = "C" }]
[[phase.step]]
kind = "create_index"
table = "app.users"
columns = ["account_id"]
method = "hash"
"#,
    ),
    variant(
        "key_deferrable",
        "",
        r#"
[[phase.step]]
kind = "add_foreign_key"
table = "app.orders"
name = '"Its Key"'
columns = ["account_id"]
references = { table = "app.accounts", columns = ["id"] }
on_update = "cascade"
on_delete = "set null"
deferrable = "initially deferred"
"#,
    ),
    partly(
        "key_not_valid_before",
        "ALTER TABLE app.trades ADD CONSTRAINT trades_user_id_fkey FOREIGN KEY (user_id) REFERENCES app.users (id) ON DELETE CASCADE NOT VALID; \
         COMMENT ON CONSTRAINT trades_user_id_fkey ON app.trades IS 'theirs'",
        r#"
[[phase.step]]
kind = "add_foreign_key"
table = "app.trades"
columns = ["user_id"]
references = { table = "app.users", columns = ["id"] }
on_delete = "cascade"
"#,
    ),
    variant(
        "not_null_beside_a_check",
        r#"UPDATE app."Mixed Case" SET "tenant_ID" = '00000000-0000-0000-0000-000000000002';
           ALTER TABLE app."Mixed Case" ADD CONSTRAINT mine CHECK ("tenant_ID" IS NOT NULL)"#,
        r#"
[[phase.step]]
kind = "set_not_null"
table = 'app."Mixed Case"'
column = '"tenant_ID"'
"#,
    ),
    partly(
        "policy_replaced",
        "CREATE POLICY tenant_isolation ON app.trades AS RESTRICTIVE FOR SELECT TO CURRENT_USER USING (symbol <> 'it''s'); \
         COMMENT ON POLICY tenant_isolation ON app.trades IS 'the old one''s'",
        r#"
[[phase.step]]
kind = "create_policy"
table = "app.trades"
name = "tenant_isolation"
replace = true
"#,
    ),
    variant(
        "policies",
        "",
        r#"
[[phase.step]]
kind = "create_policy"
table = 'app."Mixed Case"'
name = '"For Insert"'
for = "insert"
to = ["public"]
with_check = '"tenant_ID" = {tenant}'
[[phase.step]]
kind = "create_policy"
table = "app.trades"
name = "narrow"
as = "restrictive"
for = "update"
using = "amount > 0"
with_check = "amount >= 0"
[[phase.step]]
kind = "enable_rls"
table = "app.trades"
"#,
    ),
    partly(
        "rls_forced_before",
        "ALTER TABLE app.trades FORCE ROW LEVEL SECURITY",
        "
[[phase.step]]
kind = \"force_rls\"
table = \"app.trades\"
[[phase.step]]
kind = \"enable_rls\"
table = \"app.trades\"
",
    ),
    variant(
        "table_with_everything",
        "",
        r#"
[[phase.step]]
kind = "create_table"
table = 'app."The Tenants"'
columns = [
    { name = '"Key"', type = "bigint", identity = "always" },
    { name = "part", type = "smallint", default = "1" },
    { name = "rate", type = "numeric(5, 2)", check = "rate > 0" },
    { name = "live", type = "boolean", not_null = true, default = "true" },
    { name = "note", type = "text[]", default = "'{}'" },
]
primary_key = ['"Key"', "part"]
seed = [
    { '"Key"' = 7, part = 1, rate = 1.5, live = false },
    { '"Key"' = 8, part = 2, note = "{it's,\"a b\"}" },
]
grant = { public = ["select", "references"] }
"#,
    ),
    partly(
        "table_there_with_a_row",
        "CREATE TABLE app.tenants (id uuid DEFAULT gen_random_uuid() PRIMARY KEY, name text NOT NULL, more int); \
         INSERT INTO app.tenants VALUES ('00000000-0000-0000-0000-000000000002', 'Theirs', 3); GRANT SELECT ON app.tenants TO PUBLIC",
        r#"
[[phase.step]]
kind = "create_table"
table = "app.tenants"
columns = [{ name = "id", type = "uuid", default = "gen_random_uuid()" }, { name = "name", type = "text", not_null = true }]
primary_key = ["id"]
seed = [
    { id = "00000000-0000-0000-0000-000000000001", name = "First" },
    { id = "00000000-0000-0000-0000-000000000002", name = "Second" },
]
grant = { public = ["insert", "select"] }
"#,
    ),
    variant(
        "sql_without_probe",
        "",
        r#"
[[phase.step]]
kind = "sql"
up = "CREATE FUNCTION app.one() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$; CREATE VIEW app.ones AS SELECT app.one();"
down = "DROP VIEW IF EXISTS app.ones; DROP FUNCTION IF EXISTS app.one();"
"#,
    ),
    variant(
        "sql_outside_a_transaction",
        "",
        r#"
[[phase.step]]
kind = "sql"
transaction = false
up = "CREATE VIEW app.ones AS SELECT 1 AS one"
down = "DROP VIEW IF EXISTS app.ones"
probe = "SELECT to_regclass('app.ones') IS NOT NULL"
"#,
    ),
];
