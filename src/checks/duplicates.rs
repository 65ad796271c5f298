//! No two rows have the same values in the given columns.
//!
//! One scan of the table under ACCESS SHARE, and a sort or a hash of the columns. Rows with a NULL among them are left out,
//! as UNIQUE leaves them out.

use serde::Deserialize;

use super::{CheckKind, Gate, Measure};
use crate::{
    plan::Site,
    sql,
    sql::{Ident, List, Literal, QName, Stmt},
};

/// A check of the kind `duplicates`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Duplicates {
    pub table: QName,
    pub columns: Vec<Ident>,
}

pub const EXAMPLE: &str = r#"
[[phase.gate]]
kind    = "duplicates"
table   = "app.trades"
columns = ["id"]
"#;

impl CheckKind for Duplicates {
    fn check(&mut self, site: &mut Site<'_>) {
        if self.columns.is_empty() {
            site.error("columns", "TM0210", "no column is named");
        }
    }

    fn lower(&self) -> Gate {
        let table = &self.table;
        let names: Vec<&str> = self.columns.iter().map(Ident::as_str).collect();
        let columns = List(&self.columns, ", ");
        let known: Vec<Stmt> = self.columns.iter().map(|column| sql!("t.{} IS NOT NULL", column)).collect();
        Gate {
            id: format!("duplicates:{table}.{}", names.join(",")),
            kind: "duplicates".to_owned(),
            title: format!("no two rows of {table} have the same ({})", names.join(", ")),
            query: sql!(
                "SELECT {} AS what, count(*) AS found, left(min(d.example), 200) AS example
                   FROM (SELECT format('%s: %s times', ROW({}), count(*)) AS example FROM {} AS t WHERE {} GROUP BY {}
                         HAVING count(*) > 1) AS d HAVING count(*) > 0",
                Literal::new(format!("values of {table} ({}) that several rows have", names.join(", "))),
                columns,
                table,
                List(&known, " AND "),
                columns
            ),
            baseline: None,
            tables: vec![table.clone()],
            wait: None,
            measure: Measure::Query,
        }
    }
}
