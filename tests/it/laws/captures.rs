//! What the laws are tried on where rows get their tenant as they are written: captures of tables with others below them, of
//! themselves, by an expression; what stood there before a capture ends; defaults, functions and triggers that give way.

use super::cases::{Case, partly, variant};

/// A child table with names that need quotes, partitioned; its parent has children by inheritance and a key of two columns.
const FAMILY: &str = r#"
    CREATE TABLE app."The Desks" (id bigint, part text, "tenant %" uuid, PRIMARY KEY (id, part));
    CREATE TABLE app.old_desks () INHERITS (app."The Desks"); CREATE TABLE app."Older 'desks'" () INHERITS (app.old_desks);
    CREATE TABLE app."Fills %" (id bigint, "Desk" bigint, part text, "tenant_ID" uuid) PARTITION BY RANGE (id);
    CREATE TABLE app.f1 PARTITION OF app."Fills %" FOR VALUES FROM (0) TO (100) PARTITION BY HASH (id);
    CREATE TABLE app.f1a PARTITION OF app.f1 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
    CREATE TABLE app.f2 PARTITION OF app."Fills %" DEFAULT"#;

pub const CAPTURES: &[Case] = &[
    variant(
        "capture_family",
        FAMILY,
        r#"
[[phase.step]]
kind = "capture"
table = 'app."Fills %"'
column = '"tenant_ID"'
from = { table = 'app."The Desks"', match = { '"Desk"' = "id", part = "part" }, column = '"tenant %"' }
"#,
    ),
    variant(
        "capture_of_itself_and_others",
        "CREATE TABLE app.tree (id bigint PRIMARY KEY, up bigint, tenant_id uuid); \
         CREATE TABLE app.leaves () INHERITS (app.tree)",
        r#"
[[phase.step]]
kind = "capture_log"
table = "app.tenantmig_writes"
[[phase.step]]
kind = "capture"
table = "app.tree"
column = "tenant_id"
from = { table = "app.tree", match = { up = "id" } }
log = "app.tenantmig_writes"
[[phase.step]]
kind = "capture"
table = "app.trades"
column = "tenant_id"
sql = "SELECT a.tenant_id FROM app.accounts a JOIN app.users u ON u.account_id = a.id WHERE u.id = row.user_id -- it's"
log = "app.tenantmig_writes"
[[phase.step]]
kind = "capture"
table = 'app."Mixed Case"'
column = '"tenant_ID"'
value = "00000000-0000-0000-0000-000000000001"
"#,
    ),
    variant(
        "capture_ended_as_it_stood",
        r#"GRANT EXECUTE ON FUNCTION app.notes_tenant_id_tenantmig_capture() TO PUBLIC;
           COMMENT ON FUNCTION app.notes_tenant_id_tenantmig_capture() IS 'it''s theirs';
           REVOKE ALL ON FUNCTION app.notes_tenant_id_tenantmig_follow() FROM PUBLIC;
           GRANT EXECUTE ON FUNCTION app.notes_tenant_id_tenantmig_follow() TO pg_monitor WITH GRANT OPTION;
           ALTER FUNCTION app.notes_tenant_id_tenantmig_follow() SET search_path = pg_catalog, pg_temp;
           COMMENT ON TRIGGER "~tenantmig_capture_insert_tenant_id" ON app.notes IS 'and this';
           ALTER TABLE app.notes DISABLE TRIGGER "~tenantmig_capture_insert_tenant_id";
           CREATE TABLE app.more_notes (id bigint, tenant_id uuid) PARTITION BY RANGE (id);
           CREATE TABLE app.m1 PARTITION OF app.more_notes DEFAULT;
           CREATE TRIGGER "Theirs" BEFORE INSERT OR UPDATE OF tenant_id ON app.more_notes FOR EACH ROW
               WHEN (NEW.id > 5) EXECUTE FUNCTION app.notes_tenant_id_tenantmig_capture('it''s');
           ALTER TABLE app.m1 ENABLE ALWAYS TRIGGER "Theirs""#,
        r#"
[[phase.step]]
kind = "end_capture"
table = "app.notes"
column = "tenant_id"
"#,
    ),
    partly(
        "default_replaced_below",
        "CREATE TABLE app.parted (id bigint, tenant_id uuid DEFAULT '00000000-0000-0000-0000-000000000001') PARTITION BY RANGE (id); \
         CREATE TABLE app.p1 PARTITION OF app.parted (tenant_id DEFAULT gen_random_uuid()) FOR VALUES FROM (0) TO (100); \
         CREATE TABLE app.p2 PARTITION OF app.parted DEFAULT; ALTER TABLE app.p2 ALTER tenant_id DROP DEFAULT",
        r#"
[[phase.step]]
kind = "set_default"
table = "app.parted"
column = "tenant_id"
default = "{tenant}"
"#,
    ),
    partly(
        "function_replaced_under_a_policy",
        "CREATE FUNCTION app.whose(n int, t text[]) RETURNS uuid LANGUAGE plpgsql SECURITY DEFINER SET work_mem = '5MB' AS 'BEGIN RETURN NULL; END'; \
         COMMENT ON FUNCTION app.whose(int, text[]) IS 'it''s theirs'; REVOKE ALL ON FUNCTION app.whose(int, text[]) FROM PUBLIC; \
         GRANT EXECUTE ON FUNCTION app.whose(int, text[]) TO pg_monitor; CREATE FUNCTION app.whose(n int) RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid'; \
         CREATE POLICY by_function ON app.trades USING (tenant_id = app.whose(1, NULL))",
        r#"
[[phase.step]]
kind = "create_function"
name = "app.whose"
args = ["n int", "t text[]"]
returns = "uuid"
language = "plpgsql"
volatility = "stable"
body = "BEGIN RETURN '00000000-0000-0000-0000-000000000001'; END -- it's \\ new"
comment = "ours"
replace = true
"#,
    ),
    variant(
        "triggers",
        "CREATE FUNCTION app.\"Its Trigger\"() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        r#"
[[phase.step]]
kind = "create_trigger"
table = 'app."Mixed Case"'
name = '"On Change"'
timing = "after"
events = ["insert", "update", "delete"]
columns = ['"tenant_ID"', '"größe"']
function = 'app."Its Trigger"'
args = ["it's", "x"]
enabled = "always"
[[phase.step]]
kind = "create_trigger"
table = "app.trades"
name = "emptied"
timing = "before"
events = ["truncate"]
for_each = "statement"
function = 'app."Its Trigger"'
enabled = "never"
"#,
    ),
];
