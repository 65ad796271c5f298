//! The first rows of a table that is made.

use std::collections::{BTreeMap, BTreeSet};

use super::{super::add_column::is_constant, CreateTable, column::Column};
use crate::{
    plan::{Lowering, Site},
    sql,
    sql::{Ident, List, Literal, Scalar, Stmt},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Unit},
};

impl CreateTable {
    pub(super) fn check_seed(&self, site: &mut Site<'_>) {
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

    /// The columns of `row` that make its primary key, as a condition.
    fn key(&self, row: &BTreeMap<Ident, Scalar>) -> Stmt {
        let pairs = self.primary_key.iter().filter_map(|name| row.get(name).map(|v| sql!("{} = {}", name, v.0)));
        sql!("{}", List(&pairs.collect::<Vec<_>>(), " AND "))
    }

    pub(super) fn seed_unit(&self, cx: &Lowering<'_>, nth: usize, row: &BTreeMap<Ident, Scalar>) -> Unit {
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
            down: Down::With {
                unit: cx.unit("table"),
                alone: Box::new(Down::tx([sql!("DELETE FROM {} WHERE {}", table, key)])),
            },
            probe: Probe::catalog(sql!(
                "SELECT CASE WHEN h.here THEN 'present' ELSE 'absent' END, CASE WHEN h.here THEN {} END, NULL::text[]
                   FROM (SELECT CASE WHEN to_regclass({}) IS NULL THEN false ELSE {} LIKE '%<e>true</e>%' END AS here) h",
                Literal::new(format!("a row with {key}")),
                Literal::new(table.to_string()),
                here
            )),
            lock: Lock::on(LockLevel::RowExclusive, table, Hold::Moment),
            loses: Some("what was changed in the row since, where the table was there before".to_owned()),
            guards_rows: false,
            grows: Growth::Little,
        }
    }

    /// Ends the block that puts the table aside where it holds nothing but the plan's rows as they were inserted. What the plan gives no
    /// value and a default computed anew each time cannot be told from what was written since, and is not looked at; a column that is not
    /// the plan's is. Who may not see every row keeps the table.
    pub(super) fn unless_as_made(&self) -> Stmt {
        let made: Vec<Stmt> = self.seed.iter().map(|row| self.as_made(row)).collect();
        let other = if made.is_empty() { Stmt::raw("true") } else { sql!("NOT ({})", List(&made, " OR ")) };
        sql!(
            "    BEGIN
        SELECT EXISTS (SELECT FROM {} AS present WHERE {}) INTO filled;
    EXCEPTION WHEN insufficient_privilege THEN filled := true;
    END;
    IF NOT filled THEN RETURN; END IF;
",
            self.table,
            other
        )
    }

    /// Whether the row `present` is this one, as it was inserted.
    fn as_made(&self, row: &BTreeMap<Ident, Scalar>) -> Stmt {
        let name = |c: &Column| Literal::new(c.name.as_str());
        let (mut given, mut fluid) = (Vec::new(), Vec::new());
        for column in &self.columns {
            let ty = &column.r#type;
            match (row.get(&column.name), &column.default) {
                (Some(value), _) => given.push(sql!("({}, to_jsonb(CAST({} AS {})))", name(column), value.0, ty)),
                (None, Some(default)) if is_constant(default.as_str()) => {
                    given.push(sql!("({}, to_jsonb(CAST(({}) AS {})))", name(column), default, ty));
                }
                (None, Some(_)) => fluid.push(name(column)),
                (None, None) if column.identity.is_some() => fluid.push(name(column)),
                (None, None) => {}
            }
        }
        sql!(
            "(SELECT jsonb_object_agg(e.key, e.value) FROM jsonb_each(to_jsonb(present.*) - ARRAY[{}]::text[]) e WHERE e.value <> 'null')
               IS NOT DISTINCT FROM (SELECT jsonb_object_agg(v.key, v.value) FROM (VALUES {}) v (key, value) WHERE v.value IS NOT NULL)",
            List(&fluid, ", "),
            List(&given, ", ")
        )
    }
}
