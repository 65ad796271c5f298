//! Asks a question, and fails the phase when the answer is not true.
//!
//! Lock: ACCESS SHARE on what the query reads, which blocks neither readers nor writers; a large table takes a scan. The
//! query may not change anything. False and NULL both fail.
//! Undo: nothing, for nothing was changed.

use serde::Deserialize;

use super::StepKind;
use crate::{
    plan::{Lowering, Site},
    sql::{Expr, Stmt, words},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Unit},
};

/// A step of the kind `assert`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assert {
    /// A query of one boolean.
    sql: Expr,
    /// What it asserts, in words.
    message: Option<String>,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind    = "assert"
sql     = "SELECT count(*) = 0 FROM app.trades WHERE tenant_id IS NULL"
message = "every trade has a tenant"
"#;

/// Words of a query's first place, and words that change rows wherever they stand.
const QUERIES: &[&str] = &["SELECT", "WITH", "VALUES", "TABLE"];
const CHANGES: &[&str] = &["INSERT", "UPDATE", "DELETE", "MERGE"];

impl StepKind for Assert {
    fn default_id(&self) -> String {
        "assert".to_owned()
    }

    fn check(&mut self, site: &mut Site<'_>) {
        let words = words(self.sql.as_str());
        if !words.first().is_some_and(|first| QUERIES.contains(&first.as_str())) {
            site.error("sql", "TM0270", "an assert is a query of one boolean")
                .help("write it as a query: \"SELECT count(*) = 0 FROM …\"");
        }
        // FOR UPDATE locks rows and changes none, but a check that makes writers wait is no check either.
        if let Some(change) = words.iter().find(|word| CHANGES.contains(&word.as_str())) {
            site.error("sql", "TM0271", format!("an assert changes nothing, and this one has {change} in it"))
                .help("use a step of the kind `sql`, with its `down`, for what changes the database");
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let said = self.message.clone().unwrap_or_else(|| self.sql.as_str().trim().to_owned());
        vec![Unit {
            id: cx.unit("assert"),
            title: format!("assert: {said}"),
            up: Op::Assert(Stmt::raw(self.sql.as_str())),
            down: Down::nothing("it only asked"),
            probe: Probe::Ledger,
            lock: Lock { level: LockLevel::AccessShare, on: Vec::new(), hold: Hold::Scan },
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::plan::parse;

    #[track_caller]
    fn check(sql: &str, expect: &[&str]) {
        let plan = format!(
            "format = 1\nname = \"p\"\n[[phase]]\nid = \"a\"\n[[phase.step]]\nkind = \"assert\"\nsql = \"{sql}\""
        );
        let (_, diags) = parse(&plan, &|_| Err(String::new()));
        let codes: Vec<&str> = diags.0.iter().map(|d| d.code).collect();
        assert_eq!(codes, expect, "{sql}");
    }

    #[test]
    fn only_questions_are_asserted() {
        check("SELECT true", &[]);
        check("(SELECT 'DELETE' = 'x')", &[]);
        check("WITH n AS (SELECT 1) SELECT count(*) = 1 FROM n", &[]);
        check("count(*) = 0", &["TM0270"]);
        check("WITH d AS (DELETE FROM t RETURNING 1) SELECT true FROM d", &["TM0271"]);
        check("SELECT 1; SELECT 2", &["TM0103"]);
    }
}
