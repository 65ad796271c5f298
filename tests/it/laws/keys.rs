//! Variants of keys, checks and privileges: what a DBA gave them beyond what a plan says, all of which an undo brings back.

use super::cases::{Case, partly, variant};

pub const KEYS: &[Case] = &[
    variant(
        "unique_index_of_an_expression",
        "CREATE UNIQUE INDEX \"One Mail\" ON app.members (lower(email) text_pattern_ops DESC) INCLUDE (id) WITH (fillfactor = 80) WHERE email IS NOT NULL; \
         ALTER INDEX app.\"One Mail\" ALTER COLUMN 1 SET STATISTICS 400; \
         COMMENT ON INDEX app.\"One Mail\" IS 'it''s theirs'",
        r#"
[[phase.step]]
kind = "scope_unique"
table = "app.members"
columns = [{ expr = "lower(email)" }]
where = "email IS NOT NULL"
constraint = '"One Mail"'
"#,
    ),
    variant(
        "unique_with_marks",
        "ALTER TABLE app.members ALTER email SET NOT NULL, ADD CONSTRAINT \"Its Key\" UNIQUE (email, id) INCLUDE (tenant_id); \
         COMMENT ON INDEX app.\"Its Key\" IS 'an index'; COMMENT ON CONSTRAINT \"Its Key\" ON app.members IS 'a key'; \
         ALTER TABLE app.members REPLICA IDENTITY USING INDEX \"Its Key\"; ALTER TABLE app.members CLUSTER ON \"Its Key\"",
        r#"
[[phase.step]]
kind = "scope_unique"
table = "app.members"
columns = ["email", "id"]
name = '"New Key"'
"#,
    ),
    variant(
        "unique_deferrable",
        "ALTER TABLE app.accounts ADD CONSTRAINT named UNIQUE (name) DEFERRABLE INITIALLY DEFERRED",
        r#"
[[phase.step]]
kind = "scope_unique"
table = "app.accounts"
columns = ["name"]
"#,
    ),
    variant(
        "unique_partitioned",
        "CREATE TABLE app.\"Seats Of\" (id bigint, tenant_id uuid NOT NULL, \"Row\" text NOT NULL, no int, CONSTRAINT \"Its Key\" UNIQUE (\"Row\", no) INCLUDE (id) WITH (fillfactor = 77) DEFERRABLE INITIALLY DEFERRED) PARTITION BY LIST (\"Row\"); \
         CREATE TABLE app.seats_a PARTITION OF app.\"Seats Of\" FOR VALUES IN ('a'); \
         CREATE TABLE app.seats_b PARTITION OF app.\"Seats Of\" FOR VALUES IN ('b') PARTITION BY RANGE (no); \
         CREATE TABLE app.\"seats_b $1\" PARTITION OF app.seats_b FOR VALUES FROM (0) TO (100); \
         CREATE UNIQUE INDEX partial ON app.\"Seats Of\" (\"Row\", lower(id::text), no) WHERE id > 3; \
         COMMENT ON CONSTRAINT \"Its Key\" ON app.\"Seats Of\" IS 'a key'; COMMENT ON INDEX app.\"seats_b $1_Row_no_id_key\" IS 'it''s below'; \
         ALTER TABLE app.seats_a CLUSTER ON \"seats_a_Row_no_id_key\"; \
         INSERT INTO app.\"Seats Of\" SELECT n, '00000000-0000-0000-0000-000000000001', (ARRAY['a', 'b'])[1 + n % 2], n FROM generate_series(1, 60) n",
        r#"
[[phase.step]]
kind = "scope_unique"
table = 'app."Seats Of"'
columns = ['"Row"', "no"]
[[phase.step]]
kind = "scope_unique"
table = 'app."Seats Of"'
columns = ['"Row"', { expr = "lower(id::text)" }, "no"]
where = "id > 3"
constraint = "partial"
"#,
    ),
    partly(
        "unique_scoped_by_hand",
        "CREATE UNIQUE INDEX members_tenant_id_email_key ON app.members (tenant_id, email)",
        r#"
[[phase.step]]
kind = "scope_unique"
table = "app.members"
columns = ["email"]
"#,
    ),
    partly(
        "composite_deferrable",
        "ALTER TABLE app.badges DROP CONSTRAINT badges_member_id_fkey, ADD CONSTRAINT \"Its Key\" FOREIGN KEY (member_id) \
           REFERENCES app.members (id) ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED; \
         COMMENT ON CONSTRAINT \"Its Key\" ON app.badges IS 'it''s theirs'; \
         ALTER TABLE app.members ADD CONSTRAINT stood UNIQUE (id, tenant_id)",
        r#"
[[phase.step]]
kind = "scope_unique"
table = "app.members"
columns = ["email"]
[[phase.step]]
kind = "composite_foreign_key"
table = "app.badges"
columns = ["member_id"]
references = { table = "app.members", columns = ["id"] }
name = '"New Key"'
on_delete = "restrict"
"#,
    ),
    variant(
        "composite_partitioned",
        "CREATE TABLE app.wins (id bigint, tenant_id uuid NOT NULL, member_id bigint, CONSTRAINT \"Its Key\" FOREIGN KEY (member_id) REFERENCES app.members (id) \
           ON DELETE CASCADE DEFERRABLE) PARTITION BY RANGE (id); \
         CREATE TABLE app.\"Wins 1\" PARTITION OF app.wins FOR VALUES FROM (0) TO (30); \
         CREATE TABLE app.wins_2 PARTITION OF app.wins FOR VALUES FROM (30) TO (100) PARTITION BY HASH (id); \
         CREATE TABLE app.wins_2a PARTITION OF app.wins_2 FOR VALUES WITH (MODULUS 1, REMAINDER 0); \
         COMMENT ON CONSTRAINT \"Its Key\" ON app.wins IS 'a key'; COMMENT ON CONSTRAINT \"Its Key\" ON app.wins_2a IS 'it''s below'; \
         INSERT INTO app.wins SELECT m.id, m.tenant_id, m.id FROM app.members m",
        r#"
[[phase.step]]
kind = "composite_foreign_key"
table = "app.wins"
columns = ["member_id"]
references = { table = "app.members", columns = ["id"] }
"#,
    ),
    partly(
        "composite_partly_before",
        "ALTER TABLE app.badges ADD CONSTRAINT \"Other\" FOREIGN KEY (member_id) REFERENCES app.accounts (id) NOT VALID; \
         CREATE UNIQUE INDEX members_tenant_id_id_idx ON app.members (tenant_id, id); \
         ALTER TABLE app.badges ADD CONSTRAINT badges_tenant_id_member_id_fkey FOREIGN KEY (tenant_id, member_id) \
           REFERENCES app.members (tenant_id, id) ON DELETE CASCADE NOT VALID; \
         COMMENT ON CONSTRAINT badges_tenant_id_member_id_fkey ON app.badges IS 'theirs'",
        r#"
[[phase.step]]
kind = "composite_foreign_key"
table = "app.badges"
columns = ["member_id"]
references = { table = "app.members", columns = ["id"] }
"#,
    ),
    partly(
        "check_not_valid_before",
        "ALTER TABLE app.trades ADD CONSTRAINT \"Its Check\" CHECK (amount > 0::numeric) NOT VALID; \
         COMMENT ON CONSTRAINT \"Its Check\" ON app.trades IS 'it''s theirs'",
        r#"
[[phase.step]]
kind = "attach_check"
table = "app.trades"
name = '"Its Check"'
check = "amount > 0"
[[phase.step]]
kind = "attach_check"
table = 'app."Mixed Case"'
name = "mixed"
check = '"größe" >= 0 AND "order" IS NOT NULL'
"#,
    ),
    partly(
        "grants",
        "GRANT SELECT ON app.users TO PUBLIC; CREATE SEQUENCE app.\"A Sequence\"; CREATE FUNCTION app.one(a int, b text) RETURNS int LANGUAGE sql AS 'SELECT 1'; \
         ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC",
        r#"
[[phase.step]]
kind = "create_role"
name = "app_rw"
purpose = "read_only"
[[phase.step]]
kind = "grant"
privileges = ["select", "update"]
all_tables_in = ["app"]
to = ["app_rw", "public"]
[[phase.step]]
kind = "grant"
privileges = ["usage"]
schemas = ["app"]
to = ["app_rw"]
with_grant_option = true
[[phase.step]]
kind = "grant"
privileges = ["usage"]
all_sequences_in = ["app"]
to = ["app_rw"]
[[phase.step]]
kind = "grant"
privileges = ["insert"]
default_privileges_in = ["app"]
to = ["app_rw", "public"]
[[phase.step]]
kind = "revoke"
privileges = ["select"]
default_privileges_in = ["app"]
from = ["public"]
[[phase.step]]
kind = "revoke"
privileges = ["execute"]
functions = ["app.one(integer, text)"]
from = ["public"]
"#,
    ),
];
