//! Collects the planner's statistics of tables (ANALYZE), so that queries by the tenant are planned well from the first one on.
//!
//! Lock: SHARE UPDATE EXCLUSIVE on one table after the other while a sample of it is read; readers and writers go on, other DDL
//! and index builds wait. An autovacuum of the table that is in the way gives way. Of a partitioned table its partitions too.
//! Undo: nothing; statistics change no answer.

use serde::Deserialize;

use super::{Object, StepKind};
use crate::{
    plan::{Lowering, Site},
    sql,
    sql::QName,
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Unit},
};

/// A step of the kind `analyze`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analyze {
    tables: Vec<QName>,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind   = "analyze"
tables = ["app.trades", "app.users"]
"#;

impl StepKind for Analyze {
    fn default_id(&self) -> String {
        "analyze".to_owned()
    }

    fn check(&mut self, site: &mut Site<'_>) {
        if self.tables.is_empty() {
            site.error("tables", "TM0212", "there is no table to analyze");
        }
        if let Some((i, twice)) = self.tables.iter().enumerate().find(|(i, t)| self.tables[..*i].contains(t)) {
            site.error(&format!("tables[{i}]"), "TM0212", format!("`{twice}` is named twice"));
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let unit = |(number, table): (usize, &QName)| Unit {
            id: cx.unit(&format!("analyze-{}", number + 1)),
            title: format!("analyze {table}"),
            up: Op::Tx(vec![sql!("ANALYZE {}", table)]),
            down: Down::nothing("statistics change no answer"),
            probe: Probe::Ledger,
            lock: Lock::on(LockLevel::ShareUpdateExclusive, table, Hold::Scan),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        };
        self.tables.iter().enumerate().map(unit).collect()
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        self.tables.iter().map(|table| ("tables", Object::Table(table.clone()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::finds;

    #[test]
    fn every_table_is_named_once() {
        finds(super::EXAMPLE, &[]);
        finds("kind = \"analyze\"\ntables = []", &["TM0212"]);
        finds("kind = \"analyze\"\ntables = [\"app.a\", \"app.a\"]", &["TM0212"]);
    }
}
