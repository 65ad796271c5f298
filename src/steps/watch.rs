//! Looks for a time whether tables are as busy as an `observe` before it saw them, and fails the phase when writes collapse, more
//! transactions fail, more statements are refused (42501), or a query of the plan's own is not true: behind a change that an
//! application may not be ready for.
//!
//! Writes have collapsed when they are fewer than `writes_percent` of those before; transactions fail when the share that is rolled back
//! has risen by more than `rollback_points` of a hundred; refused statements count where the server's log can be read (see `observe`), and may be
//! `denied_per_minute` more than before. Over a limit at two looks in a row, some twenty of them in the time, it fails at once; over it at the last, too.
//! Where too little happens to tell, it says so and goes on; `sql` is asked at every look.
//! Lock: none, but for what `sql` reads.
//! Undo: nothing, for nothing was changed.

use serde::Deserialize;

use super::{
    Object, StepKind,
    observe::{self, length, unit},
};
use crate::{
    plan::{Lowering, Millis, Site},
    sql::{Expr, List, QName, Stmt, words},
    unit::{Limits, Unit, WatchSpec},
};

/// A share of a hundred.
const HUNDRED: u32 = 100;

/// A step of the kind `watch`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Each of them was observed by an earlier step.
    tables: Vec<QName>,
    /// How long.
    r#for: Millis,
    /// With fewer writes than this percentage of those before they have collapsed; 20 where it is left out.
    writes_percent: Option<u32>,
    /// By how many points of a hundred the share of transactions that are rolled back may rise; 5 where it is left out.
    rollback_points: Option<u32>,
    /// How many statements a minute more than before may be refused with 42501; 10 where it is left out.
    denied_per_minute: Option<u32>,
    /// A query of one boolean.
    sql: Option<Expr>,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind   = "observe"
tables = ["app.users"]
for    = "1s"

[[phase.step]]
kind   = "watch"
tables = ["app.users"]
for    = "1s"
sql    = "SELECT count(*) >= 0 FROM app.users"
"#;

impl StepKind for Watch {
    fn default_id(&self) -> String {
        observe::id(&self.tables, "watch")
    }

    fn check(&mut self, site: &mut Site<'_>) {
        observe::check(&self.tables, self.r#for, site);
        for (key, value) in [("writes_percent", self.writes_percent), ("rollback_points", self.rollback_points)] {
            if value.is_some_and(|value| value > HUNDRED) {
                site.error(key, "TM0367", format!("`{key}` is a part of a hundred"))
                    .help("20 for writes and 5 for transactions that fail are usual");
            }
        }
        if let Some(sql) = &self.sql {
            let words = words(sql.as_str());
            if !words.first().is_some_and(|first| ["SELECT", "WITH", "VALUES", "TABLE"].contains(&first.as_str())) {
                site.error("sql", "TM0368", "what is asked at every look is a query of one boolean")
                    .help("write it as a query: sql = \"SELECT count(*) < 10 FROM app.errors WHERE at > now() - interval '1 min'\"");
            }
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let usual = Limits::default();
        let spec = WatchSpec {
            tables: self.tables.clone(),
            length_ms: self.r#for.0,
            against: self.tables.iter().filter_map(|t| cx.made.get(&Object::Activity(t.clone())).cloned()).collect(),
            limits: Limits {
                writes_percent: self.writes_percent.unwrap_or(usual.writes_percent),
                rollback_points: self.rollback_points.unwrap_or(usual.rollback_points),
                denied_per_minute: self.denied_per_minute.unwrap_or(usual.denied_per_minute),
            },
            query: self.sql.as_ref().map(|sql| Stmt::raw(sql.as_str())),
        };
        let title =
            format!("watch for {} whether {} is as busy as before", length(self.r#for), List(&self.tables, ", "));
        vec![unit(cx.unit("watch"), title, spec)]
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        let both = |table: &QName| [Object::Table(table.clone()), Object::Activity(table.clone())];
        self.tables.iter().flat_map(both).map(|object| ("tables", object)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::finds;

    #[test]
    fn limits_are_parts_of_a_hundred_and_the_question_is_a_query() {
        let observed = "kind = 'observe'\ntables = ['app.t']\nfor = '5s'\n[[phase.step]]\n";
        let watch = |keys: &str| format!("{observed}kind = 'watch'\ntables = ['app.t']\nfor = '1min'\n{keys}");
        finds(&watch("writes_percent = 0\nrollback_points = 100\nsql = 'SELECT true'"), &[]);
        finds(&watch("writes_percent = 101"), &["TM0367"]);
        finds(&watch("rollback_points = 101"), &["TM0367"]);
        finds(&watch("sql = 'DELETE FROM app.t'"), &["TM0368"]);
    }

    #[test]
    fn what_nobody_observed_is_compared_with_nothing() {
        finds("kind = 'watch'\ntables = ['app.t']\nfor = '1min'", &["TM0369"]);
        let other = "kind = 'observe'\ntables = ['app.other']\nfor = '5s'\n[[phase.step]]\n";
        finds(&format!("{other}kind = 'watch'\ntables = ['app.t']\nfor = '1min'"), &["TM0369"]);
    }
}
