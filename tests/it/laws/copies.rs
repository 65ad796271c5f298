//! Rows that are copied: into a table that has some of them, from partitions, with types without equality; and into a new one.

use super::cases::{Case, variant};

pub const COPIES: &[Case] = &[
    variant(
        "rows_into_what_is_partly_there",
        "CREATE TABLE app.parts (part int, nr text, js json, at timestamptz) PARTITION BY LIST (part); \
         CREATE TABLE app.parts1 PARTITION OF app.parts FOR VALUES IN (1); CREATE TABLE app.parts2 PARTITION OF app.parts DEFAULT; \
         INSERT INTO app.parts SELECT n % 3, 'nr ' || n, '{\"a\": 1}', timestamptz '2026-01-01 00:00:00+00' FROM generate_series(1, 300) n; \
         CREATE TABLE app.all_parts (source bigint, \"Nr\" varchar(20), js json, at timestamptz, UNIQUE (\"Nr\", source)); \
         INSERT INTO app.all_parts SELECT part, nr, js, at FROM app.parts WHERE nr LIKE 'nr 1%'",
        r#"
[[phase.step]]
kind    = "copy_rows"
from    = "app.parts"
into    = "app.all_parts"
columns = { source = "row.part", '"Nr"' = "row.nr", js = "row.js", at = "row.at" }
key     = ['"Nr"', "source"]
where   = "row.part <> 2"
"#,
    ),
    variant(
        "rows_into_a_new_table",
        "",
        r#"
[[phase.step]]
kind = "create_table"
table = "app.all_messages"
columns = [{ name = "id", type = "bigint", identity = "always" }, { name = "body", type = "text" }]
primary_key = ["id"]
[[phase.step]]
kind = "copy_rows"
from = "app.old_messages"
into = "app.all_messages"
columns = { id = "row.id", body = "'said'" }
key = ["id"]
"#,
    ),
];
