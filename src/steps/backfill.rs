//! Fills a column of the rows that are there, in batches: from a constant, from a parent row, or by an expression.
//!
//! Lock: ROW EXCLUSIVE on the table, which blocks neither readers nor writers; the rows of a batch are locked until it commits,
//! and rows that somebody else holds are passed over and come in a later sweep. The batch and its cursor commit together, so a
//! killed run goes on where it was, and no row is written twice. Rows that have a value are left alone.
//! A trigger of the application that sets a column on every UPDATE does so here too; `keep = ["updated_at"]` keeps that column as
//! it was, by a trigger that comes last and is there while the backfill runs (SHARE ROW EXCLUSIVE and ACCESS EXCLUSIVE for a moment).
//! Undo: the undo of the step that added the column takes the values along. A column that was there before the plan keeps
//! them.

mod keep;

use std::collections::BTreeMap;

use keep::Keep;
use serde::Deserialize;

use super::{Object, StepKind, quarantine};
use crate::{
    checks::{CheckKind, Gate, nulls::Nulls, orphans},
    plan::{Deals, Lowering, Site},
    sql,
    sql::{Expr, Ident, List, Literal, QName, Stmt},
    unit::{
        BATCH_ROWS_MAX, BackfillSpec, BackfillValue, Down, Fill, Growth, Hold, Lock, LockLevel, OnOrphan, Op, Probe,
        Unit,
    },
};

/// A step of the kind `backfill`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backfill {
    table: QName,
    column: Ident,
    /// The same for every row, as text: PostgreSQL gives it the column's type.
    value: Option<String>,
    from: Option<Parent>,
    /// An expression that sees the table's row as `row`.
    sql: Option<Expr>,
    /// Only rows for which this is true are filled; sees the table's row as `row`.
    r#where: Option<Expr>,
    batch_rows: Option<u32>,
    on_orphan: Option<OnOrphan>,
    undo: Option<Undo>,
    /// Columns that the application's triggers set on an UPDATE, and that this one leaves as they are.
    #[serde(default)]
    keep: Vec<Ident>,
}

/// The parent row that has the value.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parent {
    table: QName,
    /// The parent's column; the same name where it is left out.
    column: Option<Ident>,
    /// The table's columns, each with the parent's column that it equals.
    r#match: BTreeMap<Ident, Ident>,
}

/// What an undo does with the values of a column that the plan did not add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Undo {
    Keep,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind   = "backfill"
table  = "app.orders"
column = "tenant_id"
from   = { table = "app.accounts", match = { account_id = "id" } }
undo   = "keep"
"#;

impl StepKind for Backfill {
    fn default_id(&self) -> String {
        format!("{}-{}-backfill", self.table.name.as_str(), self.column.as_str())
    }

    fn check(&mut self, site: &mut Site<'_>) {
        let sources = [("value", self.value.is_some()), ("from", self.from.is_some()), ("sql", self.sql.is_some())];
        let given: Vec<&str> = sources.iter().filter(|(_, given)| *given).map(|(key, _)| *key).collect();
        match given.as_slice() {
            [_] => {}
            [] => site.error("column", "TM0272", "nothing says what the column is filled with").help(
                "write one of: value = \"…\", from = { table = …, match = { … } }, sql = \"an expression over row\"",
            ),
            [_, second, ..] => site
                .error(second, "TM0272", format!("the value comes from {} at once", given.join(" and ")))
                .help("write one of them"),
        }
        if self.from.as_ref().is_some_and(|from| from.r#match.is_empty()) {
            site.error("from", "TM0273", "`match` names no column")
                .help("write which column of the row equals which of the parent: match = { user_id = \"id\" }");
        }
        if self.keep.contains(&self.column) {
            site.error("keep", "TM0353", format!("{} is what is filled, so it cannot stay as it is", self.column));
        }
        if let Some(rows) = self.batch_rows
            && !(1..=BATCH_ROWS_MAX).contains(&rows)
        {
            site.error("batch_rows", "TM0274", format!("a batch has 1 to {BATCH_ROWS_MAX} rows, not {rows}"))
                .help("a batch is one transaction, and holds the locks of its rows until it commits");
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let (table, column) = (&self.table, &self.column);
        let Some((value, source)) = self.source() else { return Vec::new() };
        let made = cx.made.get(&Object::Column(table.clone(), column.clone()));
        let kept = match self.undo {
            Some(Undo::Keep) => "the plan says undo = \"keep\"",
            None => "the column was there before the plan; its filled values stay",
        };
        let quarantines = self.on_orphan(cx) == OnOrphan::Quarantine;
        let fill = Unit {
            id: cx.unit("backfill"),
            title: format!("fill {table}.{column} from {source}"),
            up: Op::Backfill(BackfillSpec {
                table: table.clone(),
                column: column.clone(),
                value: value.clone(),
                only: self.r#where.clone(),
                on_orphan: if quarantines { OnOrphan::Skip } else { self.on_orphan(cx) },
                batch_rows: self.batch_rows.unwrap_or(cx.backfill.batch_rows),
            }),
            down: made.map_or_else(|| Down::nothing(kept), |unit| Down::CoveredBy(unit.clone())),
            probe: Probe::Ledger,
            lock: Lock::on(LockLevel::RowExclusive, table, Hold::Batch),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        };
        let mut units = if self.keep.is_empty() {
            vec![fill]
        } else {
            let (before, after) = Keep { table, column, columns: &self.keep }.around(cx);
            vec![before, fill, after]
        };
        if quarantines {
            units.extend(quarantine::units(
                cx,
                table,
                &quarantine::beside(table),
                column,
                &self.orphaned(&value),
                quarantine::REASON,
            ));
        }
        units
    }

    fn gates(&self, cx: &Lowering<'_>) -> Vec<Gate> {
        let (table, column) = (self.table.clone(), self.column.clone());
        let stops = self.on_orphan(cx) != OnOrphan::Skip;
        let mut gates = Vec::new();
        if stops && self.r#where.is_none() {
            gates.push(Nulls { table: table.clone(), columns: vec![column.clone()] }.lower());
        }
        let parent = self.from.as_ref().map(|from| orphans::Parent {
            table: from.table.clone(),
            r#match: from.r#match.clone(),
            column: Some(from.column.clone().unwrap_or_else(|| column.clone())),
            // Where orphans are skipped on purpose, they must not fail the phase after all.
            optional: !stops,
        });
        let tenancy = cx.tenancy.filter(|tenancy| tenancy.column == column);
        let registry =
            tenancy.map(|t| orphans::Registry::Table { table: t.registry.table.clone(), key: t.registry.key.clone() });
        if parent.is_some() || registry.is_some() {
            gates.push(
                orphans::Orphans { table, column, parent, registry, sql: None, r#where: self.r#where.clone() }.lower(),
            );
        }
        gates
    }

    fn fills(&self) -> Option<(Object, Fill)> {
        let (value, _) = self.source()?;
        let column = Object::Column(self.table.clone(), self.column.clone());
        Some((column, Fill { value, only: self.r#where.clone() }))
    }

    fn fills_alike(&self) -> Option<Object> {
        let everywhere = self.value.is_some() && self.r#where.is_none();
        everywhere.then(|| Object::Column(self.table.clone(), self.column.clone()))
    }

    fn deals(&self) -> Option<Deals> {
        let kept = || Deals::Kept { table: self.table.clone(), columns: self.keep.clone() };
        (!self.keep.is_empty()).then(kept)
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        let mut needs = vec![
            ("table", Object::Table(self.table.clone())),
            ("column", Object::Column(self.table.clone(), self.column.clone())),
        ];
        needs.extend(self.keep.iter().map(|c| ("keep", Object::Column(self.table.clone(), c.clone()))));
        if let Some(from) = &self.from {
            let theirs = from.column.as_ref().unwrap_or(&self.column);
            needs.push(("from", Object::Table(from.table.clone())));
            needs.push(("from", Object::Column(from.table.clone(), theirs.clone())));
            for (child, up) in &from.r#match {
                needs.push(("from", Object::Column(self.table.clone(), child.clone())));
                needs.push(("from", Object::Column(from.table.clone(), up.clone())));
            }
        }
        needs
    }
}

impl Backfill {
    fn on_orphan(&self, cx: &Lowering<'_>) -> OnOrphan {
        self.on_orphan.unwrap_or(cx.backfill.on_orphan)
    }

    /// Which rows are orphans: due, and without a value to be had.
    fn orphaned(&self, value: &BackfillValue) -> Stmt {
        let none = match value {
            BackfillValue::Constant(value) => sql!("{} IS NULL", value),
            BackfillValue::Expr(expr) => sql!("({}) IS NULL", expr),
            // Whole rows are another step's.
            BackfillValue::Copy(_) => Stmt::raw("false"),
            BackfillValue::Parent { table, column, on } => {
                let on = on.iter().map(|(child, parent)| sql!("parent.{} = row.{}", parent, child)).collect::<Vec<_>>();
                sql!(
                    "NOT EXISTS (SELECT FROM {} AS parent WHERE {} AND parent.{} IS NOT NULL)",
                    table,
                    List(&on, " AND "),
                    column
                )
            }
        };
        let only = self.r#where.as_ref().map_or(Stmt::raw(""), |only| sql!(" AND ({})", only));
        sql!("row.{} IS NULL{} AND {}", self.column, only, none)
    }

    /// The value, and where it comes from in words.
    fn source(&self) -> Option<(BackfillValue, String)> {
        if let Some(text) = &self.value {
            return Some((BackfillValue::Constant(Literal::new(text.clone())), "a constant".to_owned()));
        }
        if let Some(from) = &self.from {
            let column = from.column.as_ref().unwrap_or(&self.column).clone();
            let said = format!("{}.{column}", from.table);
            let on = from.r#match.iter().map(|(child, up)| (child.clone(), up.clone())).collect();
            return Some((BackfillValue::Parent { table: from.table.clone(), column, on }, said));
        }
        self.sql.clone().map(|expr| (BackfillValue::Expr(expr), "an expression".to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        plan::{Plan, ServerFacts, parse},
        unit::UnitId,
    };

    const TENANCY: &str = "[tenancy]\ncolumn = 'tenant_id'\nsetting = 'app.tenant_id'\n\
                           registry = { table = 'app.tenants', key = 'id', type = 'uuid' }\n";
    const FROM: &str = "from = { table = 'app.users', match = { user_id = 'id' } }";

    fn read(keys: &str) -> (Option<Plan>, Vec<&'static str>) {
        let plan = format!(
            "format = 1\nname = 'p'\n{TENANCY}[[phase]]\nid = 'a'\n[[phase.step]]\nkind = 'backfill'\n\
             table = 'app.trades'\ncolumn = 'tenant_id'\n{keys}"
        );
        let (plan, diags) = parse(&plan, &|_| Err(String::new()));
        (plan, diags.0.iter().map(|d| d.code).collect())
    }

    #[test]
    fn the_value_has_one_source() {
        for (keys, expect) in [
            ("value = 'x'", vec![]),
            (FROM, vec![]),
            ("sql = 'row.a'", vec![]),
            ("", vec!["TM0272"]),
            ("value = 'x'\nsql = 'row.a'", vec!["TM0272"]),
            ("from = { table = 'app.users', match = {} }", vec!["TM0273"]),
            ("from = { table = 'app.users', matches = { a = 'b' } }", vec!["TM0102"]),
            ("value = 'x'\nbatch_rows = 0", vec!["TM0274"]),
            ("value = 'x'\nbatch_rows = 1000000", vec!["TM0274"]),
            ("value = 'x'\nundo = 'restore'", vec!["TM0103"]),
            ("value = 'x'\nkeep = ['updated_at']", vec![]),
            ("value = 'x'\nkeep = ['tenant_id']", vec!["TM0353"]),
        ] {
            assert_eq!(read(keys).1, expect, "{keys}");
        }
    }

    #[track_caller]
    fn check(keys: &str, made: bool, gates: &[&str]) {
        let plan = read(keys).0.unwrap();
        let column = Object::Column(QName::parse("app.trades").unwrap(), Ident::parse("tenant_id").unwrap());
        let unit = UnitId("a/b/column".to_owned());
        let made = BTreeMap::from_iter(made.then(|| (column, unit.clone())));
        let cx = Lowering {
            phase: "a",
            step: "s",
            server: ServerFacts::default(),
            tenancy: plan.tenancy.as_ref(),
            backfill: &plan.backfill,
            made: &made,
            filled: &BTreeMap::new(),
        };
        let step = &plan.phases[0].steps[0].step;
        let units = step.lower(&cx);
        assert_eq!(units[0].down == Down::CoveredBy(unit), !made.is_empty());
        let ids: Vec<String> = step.gates(&cx).into_iter().map(|g| g.id).collect();
        assert_eq!(ids, gates, "{keys}");
    }

    #[test]
    fn it_is_undone_with_the_column_and_guarded_by_gates() {
        let (nulls, orphans) = ("nulls:app.trades.tenant_id", "orphans:app.trades.tenant_id<app.users");
        check(FROM, true, &[nulls, orphans]);
        check(FROM, false, &[nulls, orphans]);
        check(&format!("{FROM}\non_orphan = 'skip'"), true, &[orphans]);
        check(&format!("{FROM}\nwhere = 'row.a = 1'"), true, &[&format!("{orphans} [row.a = 1]")]);
        check("value = 'x'", true, &[nulls, "orphans:app.trades.tenant_id"]);
    }
}
