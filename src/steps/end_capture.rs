//! Ends a capture: drops its triggers on the table and on its parent, and their functions.
//!
//! Lock: ACCESS EXCLUSIVE for a moment, on the parent and then on the table; the catalogue changes, no row is read. From
//! then on a row gets its tenant from the application, from the column's default, or not at all.
//! Undo: brings the triggers and functions back by the definitions that stood there, with their owner, rights, comments and whether
//! they were enabled.

use serde::Deserialize;

use super::{
    Object, StepKind,
    capture::{functions, recorded},
};
use crate::{
    plan::{Lowering, Site},
    sql,
    sql::{Ident, QName},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Unit},
};

/// A step of the kind `end_capture`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndCapture {
    table: QName,
    column: Ident,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind   = "end_capture"
table  = "app.notes"
column = "tenant_id"
"#;

impl StepKind for EndCapture {
    fn default_id(&self) -> String {
        format!("{}-{}-end-capture", self.table.name.as_str(), self.column.as_str())
    }

    fn check(&mut self, _site: &mut Site<'_>) {}

    /// The parent's trigger first: a child whose own is gone would not be filled, but one that does not follow is wrong.
    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let [capture, follow] = functions(&self.table, &self.column);
        let unit = |part: &str, title: String, function: &QName| Unit {
            id: cx.unit(part),
            title,
            up: Op::Tx(recorded::drop(function)),
            // What stood there is brought back by what the probe recorded.
            down: Down::tx([]),
            probe: probe(function),
            lock: Lock::on(LockLevel::AccessExclusive, &self.table, Hold::Moment),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        };
        vec![
            unit("follow", format!("no longer let the rows of {} follow their parent", self.table), &follow),
            unit("capture", format!("end the capture of {}", self.table), &capture),
        ]
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        vec![("table", Object::Table(self.table.clone()))]
    }
}

/// Without a function there is nothing to end.
fn probe(function: &QName) -> Probe {
    let select = sql!(
        "SELECT CASE WHEN p.oid IS NULL THEN 'present' ELSE 'absent' END, 'no capture is there',
            CASE WHEN p.oid IS NOT NULL THEN {} END",
        recorded::restore()
    );
    Probe::catalog(recorded::about(function, &select))
}

#[cfg(test)]
mod tests {
    use super::super::trial::finds;

    #[test]
    fn the_example_has_no_findings() {
        finds(super::EXAMPLE, &[]);
    }
}
