//! A table has as many rows as expected: at least, at most, or no fewer than when the run started, give or take.
//!
//! One count of the table under ACCESS SHARE, and one more at the start of the run where `max_loss_percent` is given. The
//! application goes on writing meanwhile: a loss of 0 percent holds only for a table that nobody deletes from.

use serde::Deserialize;

use super::{CheckKind, Gate, Measure};
use crate::{
    plan::Site,
    sql,
    sql::{List, Literal, QName, Stmt},
};

/// A check of the kind `row_count`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowCount {
    pub table: QName,
    pub min: Option<u64>,
    pub max: Option<u64>,
    /// How much of the rows counted at the run's start may be gone, 0 to 100.
    pub max_loss_percent: Option<u32>,
}

pub const EXAMPLE: &str = r#"
[[phase.gate]]
kind             = "row_count"
table            = "app.trades"
min              = 1
max_loss_percent = 1
"#;

impl CheckKind for RowCount {
    fn check(&mut self, site: &mut Site<'_>) {
        if self.min.is_none() && self.max.is_none() && self.max_loss_percent.is_none() {
            site.error("table", "TM0297", "nothing is expected of the number of rows")
                .help("write min, max or max_loss_percent");
        }
        if let (Some(min), Some(max)) = (self.min, self.max)
            && min > max
        {
            site.error("max", "TM0298", format!("no table has at least {min} and at most {max} rows"));
        }
        if self.max_loss_percent.is_some_and(|percent| percent > 100) {
            site.error("max_loss_percent", "TM0298", "a loss is between 0 and 100 percent");
        }
    }

    fn lower(&self) -> Gate {
        let table = &self.table;
        let name = Literal::new(table.to_string());
        let count = sql!("SELECT count(*) FROM {}", table);
        let mut tests = Vec::new();
        let mut said = Vec::new();
        if let Some(min) = self.min {
            said.push(format!("at least {min}"));
            tests.push(sql!(
                "SELECT format('%s has %s rows, and at least {1} were expected', {0}, n.n), n.n, NULL FROM n WHERE n.n < {1}",
                name,
                min
            ));
        }
        if let Some(max) = self.max {
            said.push(format!("at most {max}"));
            tests.push(sql!(
                "SELECT format('%s has %s rows, and at most {1} were expected', {0}, n.n), n.n, NULL FROM n WHERE n.n > {1}",
                name,
                max
            ));
        }
        if let Some(percent) = self.max_loss_percent {
            said.push(format!("at most {percent}% fewer than at the start"));
            tests.push(sql!(
                "SELECT format('%s has %s rows, and had %s when the run started', {0}, n.n, $1::bigint), n.n,
                        format('%s rows are gone, {1}%% may be', $1::bigint - n.n)
                   FROM n WHERE n.n::numeric * 100 < $1::bigint::numeric * (100 - {1})",
                name,
                percent
            ));
        }
        Gate {
            id: format!("row_count:{table} [{}]", said.join(", ")),
            kind: "row_count".to_owned(),
            title: format!("{table} has the rows expected: {}", said.join(", ")),
            query: self.query(&count, &tests),
            baseline: self.max_loss_percent.map(|_| count),
            tables: vec![table.clone()],
            wait: None,
            measure: Measure::Query,
        }
    }
}

impl RowCount {
    fn query(&self, count: &Stmt, tests: &[Stmt]) -> Stmt {
        sql!(
            "WITH n (n) AS ({}) SELECT t.what, t.found, t.example FROM ({}) AS t (what, found, example)",
            count,
            List(tests, " UNION ALL ")
        )
    }
}
