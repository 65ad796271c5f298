//! Turns row-level security on for a table.
//!
//! Lock: ACCESS EXCLUSIVE for a moment; a flag in the catalogue changes, no row is read. It holds at once, for running
//! transactions and prepared statements too, so create the policies first: without one, everybody but the owner sees no row.
//! The owner, and who bypasses row-level security, still see every row; `force_rls` binds the owner.
//! A query that names a partition is bound by the partition's own flags: with `partitions = true` the partitions and children of
//! every level get it too, in one transaction, parent first. A partition that is made later has none; the gate `unprotected` names it.
//! Undo: turns it off again, unless it was on before. From then on every role with a grant sees every tenant's rows.

use serde::Deserialize;

use super::{
    Object, StepKind,
    enforce_rls::{
        family::{ALL_BELOW, Family, Shadow},
        guard,
    },
};
use crate::{
    checks::Guard,
    plan::{Deals, Lowering, Site},
    sql,
    sql::{Literal, QName},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Unit},
};

/// A step of the kind `enable_rls`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnableRls {
    table: QName,
    /// Whether everything below the table gets it too.
    #[serde(default)]
    partitions: bool,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind  = "enable_rls"
table = "app.trades"
"#;

impl StepKind for EnableRls {
    fn default_id(&self) -> String {
        format!("{}-rls", self.table.name.as_str())
    }

    fn check(&mut self, _site: &mut Site<'_>) {}

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let table = &self.table;
        if self.partitions {
            return vec![
                self.family().unit(cx.unit("enable"), format!("enable row-level security on {table} {ALL_BELOW}")),
            ];
        }
        vec![Unit {
            id: cx.unit("enable"),
            title: format!("enable row-level security on {table}"),
            up: Op::Tx(vec![sql!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY", table)]),
            down: Down::tx([sql!("ALTER TABLE {} DISABLE ROW LEVEL SECURITY", table)]),
            probe: probe(table),
            lock: Lock::on(LockLevel::AccessExclusive, table, Hold::Moment),
            loses: None,
            guards_rows: true,
            grows: Growth::Little,
        }]
    }

    fn deals(&self) -> Option<Deals> {
        self.partitions.then(|| Deals::Family { table: self.table.clone() })
    }

    fn guards(&self, cx: &Lowering<'_>) -> Vec<Guard> {
        guard(cx, "enable", &self.table, None, "everybody with a grant on it")
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        vec![("table", Object::Table(self.table.clone()))]
    }
}

impl EnableRls {
    fn family(&self) -> Family<'_> {
        Family {
            table: &self.table,
            policies: Vec::new(),
            enable: true,
            force: false,
            replace: false,
            roles: Vec::new(),
            shadow: Shadow::Apart,
        }
    }
}

fn probe(table: &QName) -> Probe {
    Probe::catalog(sql!(
        "SELECT CASE WHEN c.relrowsecurity THEN 'present' ELSE 'absent' END AS presence,
                'row-level security is ' || CASE WHEN c.relrowsecurity THEN 'on' ELSE 'off' END AS found,
                NULL::text[] AS restore
           FROM (SELECT to_regclass({}) AS rel) t LEFT JOIN pg_class c ON c.oid = t.rel",
        Literal::new(table.to_string())
    ))
}
