//! What the laws are tried on where a table has others below it: partitions at several levels, and children by INHERITS.

use super::cases::{Case, partly, variant};

/// LIST over RANGE and HASH, with a name that needs its quotes.
const PARTED: &str = "\
    CREATE TABLE app.parted (id bigint, tenant_id uuid, region text, note text) PARTITION BY LIST (region); \
    CREATE TABLE app.\"Nord %\" PARTITION OF app.parted FOR VALUES IN ('n') PARTITION BY RANGE (id); \
    CREATE TABLE app.n1 PARTITION OF app.\"Nord %\" FOR VALUES FROM (0) TO (100); \
    CREATE TABLE app.n2 PARTITION OF app.\"Nord %\" FOR VALUES FROM (100) TO (200) PARTITION BY HASH (id); \
    CREATE TABLE app.n2a PARTITION OF app.n2 FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
    CREATE TABLE app.n2b PARTITION OF app.n2 FOR VALUES WITH (MODULUS 2, REMAINDER 1); \
    CREATE TABLE app.rest PARTITION OF app.parted DEFAULT";

/// The root has another policy and its flag, one partition a policy of the name with another text, one what the step makes.
const PARTLY: &str = "CREATE TABLE app.parted (id bigint, tenant_id uuid) PARTITION BY RANGE (id); \
    CREATE TABLE app.p1 PARTITION OF app.parted FOR VALUES FROM (0) TO (100); \
    CREATE TABLE app.p2 PARTITION OF app.parted FOR VALUES FROM (100) TO (200); \
    CREATE TABLE app.p3 PARTITION OF app.parted FOR VALUES FROM (200) TO (300); \
    ALTER TABLE app.parted ENABLE ROW LEVEL SECURITY; CREATE POLICY theirs ON app.parted FOR SELECT USING (id > 5); \
    CREATE POLICY tenant_isolation ON app.p1 AS RESTRICTIVE FOR SELECT TO CURRENT_USER USING (id <> 7); \
    COMMENT ON POLICY tenant_isolation ON app.p1 IS 'it''s theirs'; ALTER TABLE app.p1 FORCE ROW LEVEL SECURITY; \
    CREATE POLICY tenant_floor ON app.p2 AS RESTRICTIVE USING (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)) \
        WITH CHECK (tenant_id = (SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)); \
    COMMENT ON POLICY tenant_floor ON app.p2 IS 'as the step makes it'; ALTER TABLE app.p2 ENABLE ROW LEVEL SECURITY";

const ENFORCE: &str = "
[[phase.step]]
kind = \"enforce_rls\"
table = \"app.parted\"
";

pub const FAMILIES: &[Case] = &[
    variant(
        "shadow_family",
        PARTED,
        "
[[phase.step]]
kind = \"shadow_rls\"
table = \"app.parted\"
log = \"app.shadow\"
extra = \"note <> 'hidden' OR tenant_id = {tenant}\"
",
    ),
    partly(
        "shadow_enforced",
        "CREATE TABLE app.parted (id bigint, tenant_id uuid) PARTITION BY RANGE (id); \
         CREATE TABLE app.p1 PARTITION OF app.parted FOR VALUES FROM (0) TO (100); \
         CREATE TABLE app.p2 PARTITION OF app.parted FOR VALUES FROM (100) TO (200); \
         CREATE POLICY tenant_shadow ON app.parted USING (id > 5 OR app.shadow_note('app.parted', 'read', 'a.b', true)); \
         CREATE POLICY tenant_shadow ON app.p1 USING (true); COMMENT ON POLICY tenant_shadow ON app.p1 IS 'it''s the shadow'; \
         ALTER TABLE app.parted ENABLE ROW LEVEL SECURITY; ALTER TABLE app.p1 ENABLE ROW LEVEL SECURITY",
        ENFORCE,
    ),
    variant("family_partitions", PARTED, ENFORCE),
    variant(
        "family_children",
        "CREATE TABLE app.parted (id bigint, tenant_id uuid); CREATE TABLE app.left (a int) INHERITS (app.parted); \
         CREATE TABLE app.right () INHERITS (app.parted); CREATE TABLE app.both () INHERITS (app.left, app.right)",
        "
[[phase.step]]
kind = \"enforce_rls\"
table = \"app.parted\"
floor = false
force = false
name = '\"Nur eigene\"'
",
    ),
    partly(
        "family_partly",
        PARTLY,
        "
[[phase.step]]
kind = \"enforce_rls\"
table = \"app.parted\"
replace = true
",
    ),
    variant(
        "key_partitioned",
        "CREATE TABLE app.parted (id bigint, account_id bigint, region text) PARTITION BY LIST (region); \
         CREATE TABLE app.north PARTITION OF app.parted FOR VALUES IN ('n') PARTITION BY HASH (id); \
         CREATE TABLE app.\"N A\" PARTITION OF app.north FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
         CREATE TABLE app.nb PARTITION OF app.north FOR VALUES WITH (MODULUS 2, REMAINDER 1); \
         CREATE TABLE app.rest PARTITION OF app.parted DEFAULT; \
         INSERT INTO app.parted SELECT n, 1 + n % 20, CASE WHEN n % 3 = 0 THEN 'n' END FROM generate_series(1, 300) n",
        "
[[phase.step]]
kind = \"add_foreign_key\"
table = \"app.parted\"
columns = [\"account_id\"]
references = { table = \"app.accounts\", columns = [\"id\"] }
on_delete = \"cascade\"
",
    ),
    variant(
        "backfill_keeps",
        "ALTER TABLE app.users ADD COLUMN updated_at timestamptz NOT NULL DEFAULT '2026-01-01'; \
         CREATE FUNCTION app.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := now(); RETURN NEW; END $$; \
         CREATE TRIGGER zz_stamp BEFORE UPDATE ON app.users FOR EACH ROW EXECUTE FUNCTION app.stamp()",
        "
[[phase.step]]
kind = \"add_column\"
table = \"app.users\"
column = \"tenant_id\"
type = \"uuid\"
[[phase.step]]
kind = \"backfill\"
table = \"app.users\"
column = \"tenant_id\"
from = { table = \"app.accounts\", match = { account_id = \"id\" } }
keep = [\"updated_at\"]
",
    ),
    partly(
        "family_by_hand",
        PARTLY,
        "
[[phase.step]]
kind = \"create_policy\"
table = \"app.parted\"
name = \"tenant_isolation\"
replace = true
partitions = true
[[phase.step]]
kind = \"enable_rls\"
table = \"app.parted\"
partitions = true
[[phase.step]]
kind = \"force_rls\"
table = \"app.parted\"
partitions = true
",
    ),
];
