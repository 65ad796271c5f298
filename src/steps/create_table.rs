//! Creates a table, such as the registry of the tenants, with its first rows and the privileges on it.
//!
//! Lock: ACCESS EXCLUSIVE on the new table alone, which nobody else can see yet. Rows and privileges follow in transactions of
//! their own, each recorded by itself: a row whose key is there already, or a privilege that was granted, is left as it is.
//! A table of that name counts as done when it has the columns, with the same types, defaults and constraints.
//! Undo: takes back the privileges and drops the table, without CASCADE. Where it holds anything but the rows of the plan as they were
//! inserted, it is put aside instead, with all that is in it and on it, and the next apply brings it back: see `drop_table`. (Foreign
//! keys to other tables come back NOT VALID.) In a table that was there before, the rows are deleted by their key, and the table stays.

mod column;
mod privilege;
mod row;

use std::collections::BTreeMap;

use serde::Deserialize;

use self::{column::Column, privilege::Privilege};
use super::{Object, StepKind, drop_table::aside::Aside};
use crate::{
    plan::{Lowering, Site},
    sql,
    sql::{Ident, Literal, QName, Scalar},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Unit},
};

/// A step of the kind `create_table`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateTable {
    table: QName,
    columns: Vec<Column>,
    #[serde(default)]
    primary_key: Vec<Ident>,
    comment: Option<String>,
    /// Rows by column. Strings, numbers and booleans; a column that is left out takes its default.
    #[serde(default)]
    seed: Vec<BTreeMap<Ident, Scalar>>,
    /// Privileges by role: `{ app_rw = ["select"] }`.
    #[serde(default)]
    grant: BTreeMap<Ident, Vec<Privilege>>,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind    = "create_table"
table   = "app.tenants"
columns = [
    { name = "id", type = "uuid", default = "gen_random_uuid()" },
    { name = "name", type = "varchar(255)", not_null = true },
    { name = "slug", type = "varchar(100)", not_null = true, unique = true },
    { name = "status", type = "varchar(50)", not_null = true, default = "'active'", check = "status <> ''" },
    { name = "created_at", type = "timestamptz", default = "now()" },
]
primary_key = ["id"]
comment     = "the registry of the tenants"
seed = [
    { id = "00000000-0000-0000-0000-000000000001", name = "First", slug = "first", created_at = "2026-01-01" },
    { id = "00000000-0000-0000-0000-000000000002", name = "Second", slug = "second", created_at = "2026-01-02" },
    { id = "00000000-0000-0000-0000-000000000003", name = "Third", slug = "third", created_at = "2026-01-03" },
]
"#;

impl StepKind for CreateTable {
    fn default_id(&self) -> String {
        self.table.name.as_str().to_owned()
    }

    fn check(&mut self, site: &mut Site<'_>) {
        self.check_columns(site);
        self.check_seed(site);
        for role in self.grant.iter().filter_map(|(role, privileges)| privileges.is_empty().then_some(role)) {
            site.error(
                &format!("grant.{}", role.as_str()),
                "TM0238",
                format!("no privilege is granted to `{}`", role.as_str()),
            );
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let (table, aside) = (&self.table, Aside::undone(&self.table));
        // What came back is compared with the plan by the probe, like any table that is there.
        let mut up = vec![aside.back(), sql!("CREATE TABLE IF NOT EXISTS {} ({})", table, self.definition())];
        if let Some(comment) = &self.comment {
            up.push(sql!("COMMENT ON TABLE {} IS {}", table, Literal::new(comment.clone())));
        }
        let mut units = vec![Unit {
            id: cx.unit("table"),
            title: format!("create table {table}"),
            up: Op::Tx(up),
            down: Down::tx([aside.away(&self.unless_as_made()), sql!("DROP TABLE IF EXISTS {}", table)]),
            probe: self.probe(),
            lock: Lock::on(LockLevel::AccessExclusive, table, Hold::Moment),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }];
        units.extend(self.seed.iter().enumerate().map(|(i, row)| self.seed_unit(cx, i + 1, row)));
        for (role, privileges) in &self.grant {
            units.extend(privileges.iter().map(|privilege| self.grant_unit(cx, role, *privilege)));
        }
        units
    }

    fn makes(&self) -> Vec<(Object, &'static str)> {
        let columns = self.columns.iter().map(|c| (Object::Column(self.table.clone(), c.name.clone()), "table"));
        [(Object::Table(self.table.clone()), "table")].into_iter().chain(columns).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::{finds, lower};

    #[test]
    fn each_row_and_each_privilege_is_a_unit() {
        let step = "kind = \"create_table\"\ntable = \"app.t\"\nprimary_key = [\"a\", \"b\"]\n\
                    columns = [{ name = \"a\", type = \"int\" }, { name = \"b\", type = \"text\" }]\n\
                    seed = [{ a = 1, b = \"it's\" }, { a = 2, b = \"x\" }]\ngrant = { app = [\"select\", \"insert\"] }";
        let (units, diags) = lower(step, 150_000);
        let titles: Vec<&str> = units.iter().map(|unit| unit.title.as_str()).collect();
        let expect = [
            "create table app.t",
            "insert the row a = '1' AND b = 'it''s' into app.t",
            "insert the row a = '2' AND b = 'x' into app.t",
            "grant SELECT on app.t to app",
            "grant INSERT on app.t to app",
        ];
        assert_eq!(titles, expect, "{diags:?}");
    }

    #[test]
    fn what_cannot_be_a_table_is_found() {
        let table = |columns: &str, rest: &str| {
            format!("kind = \"create_table\"\ntable = \"t\"\ncolumns = [{columns}]\n{rest}")
        };
        let (id, key) = ("{ name = \"id\", type = \"int\" }", "primary_key = [\"id\"]\n");
        let name = "{ name = \"name\", type = \"text\", not_null = true }";
        finds(super::EXAMPLE, &[]);
        finds(&table("", ""), &["TM0230"]);
        finds(&table(&format!("{id}, {id}"), ""), &["TM0231"]);
        finds(&table(id, "primary_key = [\"x\"]"), &["TM0232"]);
        finds(&table(id, "seed = [{ id = 1 }]"), &["TM0233"]);
        finds(&table(id, &format!("{key}seed = [{{ id = 1, x = 2 }}, {{ id = 1 }}]")), &["TM0234", "TM0235"]);
        finds(
            &table(&format!("{id}, {name}"), &format!("{key}seed = [{{ name = \"x\" }}, {{ id = 1 }}]")),
            &["TM0235", "TM0239"],
        );
        finds(&table("{ name = \"id\", type = \"bigserial\" }", ""), &["TM0236"]);
        finds(&table("{ name = \"n\", type = \"int\", default = \"1\", identity = \"always\" }", ""), &["TM0237"]);
        finds(&table(id, "grant = { app = [] }"), &["TM0238"]);
        finds(&table(id, "grant = { app = [\"SELECT\"] }"), &["TM0103"]);
        finds(&table(id, &format!("{key}seed = [{{ id = [1] }}]")), &["TM0103"]);
    }
}
