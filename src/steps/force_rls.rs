//! Makes row-level security bind the table's owner too.
//!
//! Lock: ACCESS EXCLUSIVE for a moment; a flag in the catalogue changes, no row is read. It has effect only where row-level
//! security is on. From then on a session of the owner without a tenant sees no row, silently: jobs that run as the owner
//! need a role of their own with BYPASSRLS, and a backfill or a foreign key that is validated belongs before this step.
//! A query that names a partition is bound by the partition's own flags: with `partitions = true` the partitions and children of
//! every level get it too, in one transaction, parent first. A partition that is made later has none; the gate `unprotected` names it.
//! Undo: NO FORCE, unless it was forced before. From then on the owner sees every tenant's rows.

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
    plan::{Lowering, Site},
    sql,
    sql::{Literal, QName},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Unit},
};

/// A step of the kind `force_rls`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForceRls {
    table: QName,
    /// Whether everything below the table gets it too.
    #[serde(default)]
    partitions: bool,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind  = "force_rls"
table = "app.trades"
"#;

impl StepKind for ForceRls {
    fn default_id(&self) -> String {
        format!("{}-force-rls", self.table.name.as_str())
    }

    fn check(&mut self, _site: &mut Site<'_>) {}

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let table = &self.table;
        if self.partitions {
            return vec![
                self.family()
                    .unit(cx.unit("force"), format!("force row-level security on the owner of {table} {ALL_BELOW}")),
            ];
        }
        vec![Unit {
            id: cx.unit("force"),
            title: format!("force row-level security on the owner of {table}"),
            up: Op::Tx(vec![sql!("ALTER TABLE {} FORCE ROW LEVEL SECURITY", table)]),
            down: Down::tx([sql!("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY", table)]),
            probe: probe(table),
            lock: Lock::on(LockLevel::AccessExclusive, table, Hold::Moment),
            loses: None,
            guards_rows: true,
            grows: Growth::Little,
        }]
    }

    fn guards(&self, cx: &Lowering<'_>) -> Vec<Guard> {
        guard(cx, "force", &self.table, None, "every session of its owner")
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        vec![("table", Object::Table(self.table.clone()))]
    }
}

impl ForceRls {
    fn family(&self) -> Family<'_> {
        Family {
            table: &self.table,
            policies: Vec::new(),
            enable: false,
            force: true,
            replace: false,
            roles: Vec::new(),
            shadow: Shadow::Apart,
        }
    }
}

fn probe(table: &QName) -> Probe {
    Probe::catalog(sql!(
        "SELECT CASE WHEN c.relforcerowsecurity THEN 'present' ELSE 'absent' END AS presence,
                'row-level security is ' || CASE WHEN c.relforcerowsecurity THEN '' ELSE 'not ' END || 'forced' AS found,
                NULL::text[] AS restore
           FROM (SELECT to_regclass({}) AS rel) t LEFT JOIN pg_class c ON c.oid = t.rel",
        Literal::new(table.to_string())
    ))
}
