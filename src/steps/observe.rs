//! Looks for a time how busy tables are, so that a `watch` behind a change has something to compare with.
//!
//! What is counted: the rows that are written to each table (with its partitions and children), the transactions of the database and
//! how many of them are rolled back, and the statements that are refused with 42501 where the server's log can be read (csvlog or
//! jsonlog, and a role with EXECUTE on pg_current_logfile, pg_stat_file and pg_read_binary_file). It is kept in the ledger.
//! Lock: none; the counters are the server's own, and anybody may read them.
//! Undo: nothing, for nothing was changed.

use serde::Deserialize;

use super::{Object, StepKind};
use crate::{
    plan::{Lowering, Millis, Site},
    sql::{List, QName},
    unit::{Down, Growth, Limits, Lock, Op, Probe, Unit, UnitId, WatchSpec},
};

/// The server's counters move about once a second (what is compared needs five); nobody waits longer than the second in front of
/// an open phase.
pub(super) const LENGTH: std::ops::RangeInclusive<Millis> = Millis(1_000)..=Millis(24 * 3_600_000);

/// A step of the kind `observe`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observe {
    tables: Vec<QName>,
    /// How long.
    r#for: Millis,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind   = "observe"
tables = ["app.trades"]
for    = "1s"
"#;

impl StepKind for Observe {
    fn default_id(&self) -> String {
        id(&self.tables, "observe")
    }

    fn check(&mut self, site: &mut Site<'_>) {
        check(&self.tables, self.r#for, site);
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let spec = WatchSpec {
            tables: self.tables.clone(),
            length_ms: self.r#for.0,
            against: Vec::new(),
            limits: Limits::default(),
            query: None,
        };
        let title = format!("look for {} how busy {} is", length(self.r#for), List(&self.tables, ", "));
        vec![unit(cx.unit("observe"), title, spec)]
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        self.tables.iter().map(|table| ("tables", Object::Table(table.clone()))).collect()
    }

    fn makes(&self) -> Vec<(Object, &'static str)> {
        self.tables.iter().map(|table| (Object::Activity(table.clone()), "observe")).collect()
    }
}

/// The id of a look that has none.
pub(super) fn id(tables: &[QName], what: &str) -> String {
    match tables {
        [table] => format!("{}-{what}", table.name.as_str()),
        _ => what.to_owned(),
    }
}

/// What both kinds must have.
pub(super) fn check(tables: &[QName], length: Millis, site: &mut Site<'_>) {
    if tables.is_empty() {
        site.error("tables", "TM0397", "no table is named").help("write which ones: tables = [\"app.trades\"]");
    }
    if !LENGTH.contains(&length) {
        site.error("for", "TM0399", "so long nothing can be compared, or nobody waits")
            .help("write a time from 1s to 24h (under 5s nothing is compared); \"30s\" before a change and \"2min\" after it are usual");
    }
}

/// A unit that looks.
pub(super) fn unit(id: UnitId, title: String, spec: WatchSpec) -> Unit {
    Unit {
        id,
        title,
        up: Op::Watch(Box::new(spec)),
        down: Down::nothing("it only looked"),
        probe: Probe::Ledger,
        lock: Lock::none(),
        loses: None,
        guards_rows: false,
        grows: Growth::Little,
    }
}

/// A length of time as a plan has it.
pub(super) fn length(time: Millis) -> humantime::FormattedDuration {
    humantime::format_duration(time.duration())
}

#[cfg(test)]
mod tests {
    use super::super::trial::finds;

    #[test]
    fn a_look_has_tables_and_a_time() {
        finds(super::EXAMPLE, &[]);
        finds("kind = 'observe'\ntables = []\nfor = '30s'", &["TM0397"]);
        finds("kind = 'observe'\ntables = ['app.t']\nfor = '999ms'", &["TM0399"]);
        finds("kind = 'observe'\ntables = ['app.t']\nfor = '2d'", &["TM0399"]);
    }
}
