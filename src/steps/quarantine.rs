//! Moves rows for which no tenant is found into a table beside, `TABLE_quarantined`: every column, the reason and the time.
//!
//! Lock: ROW EXCLUSIVE on the table; the rows that move are locked until the one transaction that moves them commits, and
//! nobody else's are. So nothing is half moved, and a row that somebody points at meanwhile is waited for. Rows that other
//! tables' foreign keys reference are not moved, neither by CASCADE nor by SET NULL: the step fails and names the keys with
//! their counts, so children are quarantined first. Rows in children of an inheritance are refused too: they have columns of
//! their own. The table beside belongs to whoever runs the plan, has no policies, and nobody else gets a privilege on it.
//! The application's triggers fire: those for DELETE when the rows move, those for INSERT when they come back.
//! Undo: moves the rows back as they were (values of identity columns included; generated columns are computed again;
//! partitions are found anew), checks that no trigger changed them, and drops the table beside, which must be empty by then.
//! Constraints that were never validated are taken off for that transaction, and come back not validated.

mod moves;

use serde::Deserialize;

use super::{Object, StepKind};
use crate::{
    checks::{CheckKind, Gate, nulls::Nulls},
    plan::{Lowering, Site},
    sql,
    sql::{Ident, List, Literal, QName, Stmt},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Unit},
};

/// A step of the kind `quarantine`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantine {
    table: QName,
    column: Ident,
    reason: Option<String>,
    /// The table beside, where it is not `TABLE_quarantined`: a second quarantine of the same table needs one of its own.
    into: Option<QName>,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind   = "quarantine"
table  = "app.orders"
column = "tenant_id"
reason = "their account is gone"
"#;

/// What is said where the plan says nothing.
pub const REASON: &str = "no tenant was found";

impl StepKind for Quarantine {
    fn default_id(&self) -> String {
        format!("{}-quarantine", self.table.name.as_str())
    }

    fn check(&mut self, _site: &mut Site<'_>) {}

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let which = sql!("row.{} IS NULL", self.column);
        units(cx, &self.table, &self.to(), &self.column, &which, self.reason.as_deref().unwrap_or(REASON))
    }

    fn gates(&self, _cx: &Lowering<'_>) -> Vec<Gate> {
        vec![Nulls { table: self.table.clone(), columns: vec![self.column.clone()] }.lower()]
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        vec![
            ("table", Object::Table(self.table.clone())),
            ("column", Object::Column(self.table.clone(), self.column.clone())),
        ]
    }

    fn makes(&self) -> Vec<(Object, &'static str)> {
        vec![(Object::Table(self.to()), "beside")]
    }
}

impl Quarantine {
    fn to(&self) -> QName {
        self.into.clone().unwrap_or_else(|| beside(&self.table))
    }
}

/// The table beside.
pub fn beside(table: &QName) -> QName {
    table.sibling(Ident::derived(&[table.name.as_str(), "quarantined"]))
}

/// Makes the table beside and moves the rows for which `which` is true; sees a row as `row`.
pub fn units(cx: &Lowering<'_>, table: &QName, to: &QName, column: &Ident, which: &Stmt, reason: &str) -> Vec<Unit> {
    let by = format!("{}/{}", cx.phase, cx.step);
    let empty = Literal::new(format!("For the rows of {table} that the step {by} quarantines."));
    let full = Literal::new(format!("The rows of {table} that the step {by} quarantined."));
    let unit = |part: &str, title: String| Unit {
        id: cx.unit(part),
        title,
        up: Op::Tx(Vec::new()),
        down: Down::tx([]),
        probe: Probe::Ledger,
        lock: Lock::none(),
        loses: None,
        guards_rows: false,
        grows: Growth::Unknown,
    };
    vec![
        Unit {
            up: Op::Tx(moves::make(table, to, &empty)),
            down: Down::tx([moves::drop(to)]),
            probe: probe(to, &[empty.clone(), full.clone()], "conflict"),
            lock: Lock::on(LockLevel::AccessExclusive, to, Hold::Moment),
            grows: Growth::Little,
            ..unit("beside", format!("create table {to} for rows of {table} without a tenant"))
        },
        Unit {
            up: Op::Tx(vec![moves::away(table, to, which, reason, &full)]),
            down: Down::tx([moves::back(table, to, column, &empty)]),
            probe: probe(to, &[full], "absent"),
            lock: Lock::on(LockLevel::RowExclusive, table, Hold::Batch).and(to),
            ..unit("move", format!("move the rows of {table} without {column} to {to}"))
        },
    ]
}

/// What was done is told by the comment of the table beside; a table of that name with another one is somebody's own.
fn probe(to: &QName, marks: &[Literal], other: &str) -> Probe {
    Probe::catalog(sql!(
        "SELECT CASE WHEN t.rel IS NULL THEN 'absent' WHEN obj_description(t.rel, 'pg_class') IN ({}) THEN 'present' ELSE {} END,
                'a table ' || t.rel::text, NULL::text[] FROM (SELECT to_regclass({}) AS rel) t",
        List(marks, ", "),
        Literal::new(other),
        Literal::new(to.to_string())
    ))
}
