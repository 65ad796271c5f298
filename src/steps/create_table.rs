//! Creates a table, such as the registry of the tenants, with its first rows and the privileges on it.
//!
//! Lock: ACCESS EXCLUSIVE on the new table alone, which nobody else can see yet. Rows and privileges follow in transactions of
//! their own, each recorded by itself: a row whose key is there already, or a privilege that was granted, is left as it is.
//! A table of that name counts as done when it has the columns, with the same types, defaults and constraints.
//! Undo: takes back the privileges, deletes the rows by their key and drops the table, without CASCADE; what was there before stays.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{Object, StepKind};
use crate::{
    plan::{Lowering, Site},
    sql,
    sql::{Expr, Ident, List, Literal, QName, Scalar, Stmt, TypeName},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Twin, Unit},
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

/// One column, as an inline table writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Column {
    name: Ident,
    r#type: TypeName,
    #[serde(default)]
    not_null: bool,
    default: Option<Expr>,
    identity: Option<Identity>,
    #[serde(default)]
    unique: bool,
    check: Option<Expr>,
}

/// Who numbers the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Identity {
    #[serde(rename = "always")]
    Always,
    #[serde(rename = "by default")]
    ByDefault,
}

/// What a role may do with the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Privilege {
    Select,
    Insert,
    Update,
    Delete,
    References,
    Trigger,
    Truncate,
}

impl Privilege {
    fn word(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::References => "REFERENCES",
            Self::Trigger => "TRIGGER",
            Self::Truncate => "TRUNCATE",
        }
    }
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
        let table = &self.table;
        let mut up = vec![sql!("CREATE TABLE {} ({})", table, self.definition())];
        if let Some(comment) = &self.comment {
            up.push(sql!("COMMENT ON TABLE {} IS {}", table, Literal::new(comment.clone())));
        }
        let mut units = vec![Unit {
            id: cx.unit("table"),
            title: format!("create table {table}"),
            up: Op::Tx(up),
            down: Down::tx([sql!("DROP TABLE IF EXISTS {}", table)]),
            probe: self.probe(),
            lock: Lock::on(LockLevel::AccessExclusive, table, Hold::Moment),
            loses: Some(format!("the rows of {table}")),
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

impl CreateTable {
    fn check_columns(&self, site: &mut Site<'_>) {
        if self.columns.is_empty() {
            site.error("columns", "TM0230", "a table without columns can hold nothing");
        }
        for (i, column) in self.columns.iter().enumerate() {
            let (name, place) = (column.name.as_str(), format!("columns[{i}]"));
            if self.columns[..i].iter().any(|c| c.name == column.name) {
                site.error(&place, "TM0231", format!("two columns have the name `{name}`"));
            }
            let ty = column.r#type.as_str().to_ascii_lowercase();
            if ["serial", "bigserial", "smallserial", "serial4", "serial8", "serial2"].contains(&ty.as_str()) {
                site.error(&place, "TM0236", format!("`{name}` is a {ty}, whose sequence cannot be told from another"))
                    .help("write type = \"bigint\" (or integer, smallint) and identity = \"by default\"");
            }
            if column.identity.is_some() && column.default.is_some() {
                site.error(&place, "TM0237", format!("`{name}` has a default and is numbered as an identity"));
            }
        }
        for (i, key) in self.primary_key.iter().enumerate() {
            let (name, place) = (key.as_str(), format!("primary_key[{i}]"));
            if !self.columns.iter().any(|c| c.name == *key) {
                site.error(&place, "TM0232", format!("the table has no column `{name}`"));
            }
            if self.primary_key[..i].contains(key) {
                site.error(&place, "TM0231", format!("`{name}` is named twice"));
            }
        }
    }

    fn check_seed(&self, site: &mut Site<'_>) {
        if !self.seed.is_empty() && self.primary_key.is_empty() {
            site.error("seed", "TM0233", "rows can only be recognised by a primary key")
                .help("name the key's columns: primary_key = [\"id\"]");
            return;
        }
        let mut keys = BTreeSet::new();
        for (i, row) in self.seed.iter().enumerate() {
            let (nth, place) = (i + 1, format!("seed[{i}]"));
            let is_column = |name: &Ident| self.columns.iter().any(|c| c.name == *name);
            for unknown in row.keys().filter(|name| !is_column(name) && !self.primary_key.contains(name)) {
                site.error(&place, "TM0234", format!("row {nth} names `{}`, which is no column", unknown.as_str()));
            }
            if let Some(missing) = self.primary_key.iter().find(|key| is_column(key) && !row.contains_key(key)) {
                site.error(&place, "TM0235", format!("row {nth} has no value for `{}`", missing.as_str()))
                    .help("every row names its whole primary key, by which it is recognised");
            } else if !keys.insert(self.key(row).to_string()) {
                site.error(&place, "TM0235", format!("row {nth} has the key of an earlier row"));
            }
            let filled = |c: &Column| !c.not_null || c.default.is_some() || c.identity.is_some();
            let empty = |c: &&Column| !filled(c) && !row.contains_key(&c.name) && !self.primary_key.contains(&c.name);
            if let Some(column) = self.columns.iter().find(empty) {
                let name = column.name.as_str();
                site.error(
                    &place,
                    "TM0239",
                    format!("row {nth} leaves `{name}` out, which is NOT NULL without a default"),
                );
            }
        }
    }

    /// What stands between the parentheses of CREATE TABLE. The constraints get the names that PostgreSQL chooses.
    fn definition(&self) -> Stmt {
        let column = |c: &Column| {
            let mut text = sql!("{} {}", c.name, c.r#type);
            if let Some(default) = &c.default {
                text = sql!("{} DEFAULT {}", text, default);
            }
            let identity = match c.identity {
                None => "",
                Some(Identity::Always) => " GENERATED ALWAYS AS IDENTITY",
                Some(Identity::ByDefault) => " GENERATED BY DEFAULT AS IDENTITY",
            };
            let not_null = if c.not_null { " NOT NULL" } else { "" };
            let unique = if c.unique { " UNIQUE" } else { "" };
            text = sql!("{}{}{}{}", text, Stmt::raw(identity), Stmt::raw(not_null), Stmt::raw(unique));
            c.check.as_ref().map_or(text.clone(), |check| sql!("{} CHECK ({})", text, check))
        };
        let mut parts: Vec<Stmt> = self.columns.iter().map(column).collect();
        if !self.primary_key.is_empty() {
            parts.push(sql!("PRIMARY KEY ({})", List(&self.primary_key, ", ")));
        }
        sql!("{}", List(&parts, ", "))
    }

    /// The twin is a temporary table of the same name, made of the same text. What later steps add to the table (columns,
    /// constraints, NOT NULL) does not make it another one.
    fn probe(&self) -> Probe {
        let (here, twin) = (self.table.to_string(), format!("pg_temp.{}", self.table.name));
        let state = |other: &str, same: Stmt, lacks: Stmt| {
            sql!(
                "SELECT CASE WHEN k.oid IS NULL THEN 'absent' WHEN k.relkind NOT IN ('r', 'p') THEN 'conflict'
                             WHEN {} THEN 'present' ELSE {} END,
                        CASE WHEN k.relkind NOT IN ('r', 'p') THEN format('%s, which is no table', k.oid::regclass)
                             WHEN d.lacks IS NOT NULL THEN 'a table without ' || d.lacks
                             WHEN k.oid IS NOT NULL THEN 'a table of that name' END,
                        NULL::text[]
                   FROM (SELECT to_regclass({}) AS rel) t LEFT JOIN pg_class k ON k.oid = t.rel
                   CROSS JOIN LATERAL (SELECT {} AS lacks) d",
                same,
                Literal::new(other),
                Literal::new(here.as_str()),
                lacks
            )
        };
        let lacks = sql!(
            "(SELECT string_agg(w.item, ', ' ORDER BY w.item) FROM (({}) EXCEPT ({})) w (item))",
            items(&sql!("to_regclass({})", Literal::new(twin))),
            items(&sql!("k.oid"))
        );
        Probe::Catalog {
            query: state("compare", sql!("false"), sql!("NULL::text")),
            twin: Some(Twin {
                setup: vec![sql!("CREATE TEMPORARY TABLE {} ({}) ON COMMIT DROP", self.table.name, self.definition())],
                query: state("conflict", sql!("d.lacks IS NULL"), lacks),
            }),
        }
    }

    /// The columns of `row` that make its primary key, as a condition.
    fn key(&self, row: &BTreeMap<Ident, Scalar>) -> Stmt {
        let pairs = self.primary_key.iter().filter_map(|name| row.get(name).map(|v| sql!("{} = {}", name, v.0)));
        sql!("{}", List(&pairs.collect::<Vec<_>>(), " AND "))
    }

    fn seed_unit(&self, cx: &Lowering<'_>, nth: usize, row: &BTreeMap<Ident, Scalar>) -> Unit {
        let (table, key) = (&self.table, self.key(row));
        let columns: Vec<&Ident> = row.keys().collect();
        let values: Vec<&Literal> = row.values().map(|value| &value.0).collect();
        // A number that the plan gives for an identity column is wanted, even where the column is GENERATED ALWAYS.
        let numbered = self.columns.iter().any(|c| c.identity.is_some() && row.contains_key(&c.name));
        let overriding = Stmt::raw(if numbered { " OVERRIDING SYSTEM VALUE" } else { "" });
        let insert = (List(&columns, ", "), List(&values, ", "));
        // The table may not exist yet when the probe is read, so the look into it is text that only runs when it does.
        let look = sql!("SELECT FROM {} WHERE {}", table, key);
        let here = sql!(
            "query_to_xml({}, false, true, '')::text",
            Literal::new(sql!("SELECT EXISTS ({}) AS e", look).as_str())
        );
        Unit {
            id: cx.unit(&format!("row-{nth}")),
            title: format!("insert the row {key} into {table}"),
            up: Op::Tx(vec![sql!("INSERT INTO {} ({}){} VALUES ({})", table, insert.0, overriding, insert.1)]),
            down: Down::tx([sql!("DELETE FROM {} WHERE {}", table, key)]),
            probe: Probe::catalog(sql!(
                "SELECT CASE WHEN h.here THEN 'present' ELSE 'absent' END, CASE WHEN h.here THEN {} END, NULL::text[]
                   FROM (SELECT CASE WHEN to_regclass({}) IS NULL THEN false ELSE {} LIKE '%<e>true</e>%' END AS here) h",
                Literal::new(format!("a row with {key}")),
                Literal::new(table.to_string()),
                here
            )),
            lock: Lock::on(LockLevel::RowExclusive, table, Hold::Moment),
            loses: Some("what was changed in the row since".to_owned()),
            guards_rows: false,
            grows: Growth::Little,
        }
    }

    fn grant_unit(&self, cx: &Lowering<'_>, role: &Ident, privilege: Privilege) -> Unit {
        let (table, word) = (&self.table, Stmt::raw(privilege.word()));
        Unit {
            id: cx.unit(&format!("grant-{}-{}", privilege.word().to_lowercase(), role.as_str())),
            title: format!("grant {word} on {table} to {role}"),
            up: Op::Tx(vec![sql!("GRANT {} ON {} TO {}", word, table, role)]),
            down: Down::tx([sql!("REVOKE {} ON {} FROM {}", word, table, role)]),
            probe: Probe::catalog(sql!(
                "SELECT CASE WHEN EXISTS (SELECT FROM pg_class k, aclexplode(coalesce(k.relacl, acldefault('r', k.relowner))) a
                             WHERE k.oid = to_regclass({}) AND a.privilege_type = {}
                               AND a.grantee = CASE {} WHEN 'public' THEN 0 ELSE (SELECT oid FROM pg_roles WHERE rolname = {}) END) THEN 'present' ELSE 'absent' END, NULL::text, NULL::text[]",
                Literal::new(table.to_string()),
                Literal::new(privilege.word()),
                Literal::new(role.as_str()),
                Literal::new(role.as_str())
            )),
            lock: Lock::none(),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }
    }
}

/// A query of what the table `rel` is made of, in words that two tables can be compared by.
fn items(rel: &Stmt) -> Stmt {
    sql!(
        "SELECT i.item FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
           LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
          CROSS JOIN LATERAL (VALUES
                (format('column %I %s', a.attname, format_type(a.atttypid, a.atttypmod))
                 || CASE WHEN a.attcollation <> y.typcollation THEN ' COLLATE ' || a.attcollation::regcollation ELSE '' END
                 || CASE a.attidentity WHEN 'a' THEN ' GENERATED ALWAYS' WHEN 'd' THEN ' GENERATED BY DEFAULT' ELSE '' END),
                (CASE WHEN a.attnotnull THEN format('NOT NULL of %I', a.attname) END),
                ('default of ' || quote_ident(a.attname) || ': ' || pg_get_expr(d.adbin, d.adrelid))) i (item)
          WHERE a.attrelid = {} AND a.attnum > 0 AND NOT a.attisdropped AND i.item IS NOT NULL
         UNION ALL SELECT pg_get_constraintdef(c.oid) FROM pg_constraint c WHERE c.conrelid = {} AND c.contype IN ('p', 'u', 'c')",
        rel,
        rel
    )
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
