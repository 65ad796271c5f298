//! No NULL is left in the given columns.
//!
//! One sequential scan of the table under ACCESS SHARE; with an index on the column, less.

use serde::Deserialize;

use super::{CheckKind, Gate, Measure};
use crate::{
    plan::Site,
    sql,
    sql::{Ident, List, Literal, QName},
};

/// A check of the kind `nulls`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nulls {
    pub table: QName,
    pub columns: Vec<Ident>,
}

pub const EXAMPLE: &str = r#"
[[phase.gate]]
kind    = "nulls"
table   = "app.trades"
columns = ["tenant_id"]
"#;

impl CheckKind for Nulls {
    fn check(&mut self, site: &mut Site<'_>) {
        if self.columns.is_empty() {
            site.error("columns", "TM0210", "no column is named");
        }
    }

    fn lower(&self) -> Gate {
        let table = &self.table;
        let one = |column: &Ident| {
            sql!(
                "SELECT {} AS what, count(*) AS found, left(min(t::text), 200) AS example
                   FROM {} AS t WHERE t.{} IS NULL HAVING count(*) > 0",
                Literal::new(format!("{table}.{column} is NULL")),
                table,
                column
            )
        };
        let queries: Vec<_> = self.columns.iter().map(one).collect();
        let names: Vec<&str> = self.columns.iter().map(Ident::as_str).collect();
        Gate {
            id: format!("nulls:{table}.{}", names.join(",")),
            kind: "nulls".to_owned(),
            title: format!("no NULL is left in {table} ({})", names.join(", ")),
            query: sql!("{}", List(&queries, " UNION ALL ")),
            baseline: None,
            tables: vec![table.clone()],
            wait: None,
            measure: Measure::Query,
        }
    }
}
