//! Creates extended statistics: how columns depend on each other, such as the tenant and what belongs to one tenant only.
//!
//! Lock: SHARE UPDATE EXCLUSIVE on the table for a moment; the catalogue changes, no row is read. The next ANALYZE fills them (a
//! step of the kind `analyze`, or autovacuum). Statistics of that name count as done with the same table, columns and kinds.
//! Undo: drops them, unless they were there before.

use serde::Deserialize;

use super::{Object, StepKind};
use crate::{
    plan::{Lowering, Site},
    sql,
    sql::{Ident, List, Literal, QName, Stmt},
    unit::{Down, Growth, Hold, Lock, LockLevel, Op, Probe, Unit},
};

/// PostgreSQL takes so many columns (STATS_MAX_DIMENSIONS).
const COLUMNS_MAX: usize = 8;

/// A step of the kind `create_statistics`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateStatistics {
    table: QName,
    columns: Vec<Ident>,
    /// In the table's schema; without one, the name that PostgreSQL would choose: `table_column_column_stat`.
    name: Option<Ident>,
    /// All three where it is left out.
    #[serde(default = "all")]
    kinds: Vec<Counted>,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Counted {
    Ndistinct,
    Dependencies,
    Mcv,
}

fn all() -> Vec<Counted> {
    vec![Counted::Ndistinct, Counted::Dependencies, Counted::Mcv]
}

impl Counted {
    /// As SQL says it, and as `stxkind` stores it.
    fn sql(self) -> (Stmt, Literal) {
        let (word, code) = match self {
            Self::Ndistinct => ("ndistinct", "d"),
            Self::Dependencies => ("dependencies", "f"),
            Self::Mcv => ("mcv", "m"),
        };
        (Stmt::raw(word), Literal::new(code))
    }
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind    = "create_statistics"
table   = "app.trades"
columns = ["tenant_id", "user_id"]
kinds   = ["ndistinct", "dependencies"]
"#;

impl StepKind for CreateStatistics {
    fn default_id(&self) -> String {
        self.name().as_str().to_owned()
    }

    fn check(&mut self, site: &mut Site<'_>) {
        if self.columns.len() < 2 {
            site.error("columns", "TM0228", "extended statistics are about two columns or more");
        }
        if self.columns.len() > COLUMNS_MAX {
            site.error("columns", "TM0228", format!("PostgreSQL takes {COLUMNS_MAX} columns at most"));
        }
        if let Some((_, twice)) = self.columns.iter().enumerate().find(|(i, c)| self.columns[..*i].contains(c)) {
            site.error("columns", "TM0229", format!("the column `{}` is named twice", twice.as_str()));
        }
        let twice = self.kinds.iter().enumerate().any(|(i, kind)| self.kinds[..i].contains(kind));
        if self.kinds.is_empty() || twice {
            site.error("kinds", "TM0229", "one or more of ndistinct, dependencies and mcv, each once");
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let (table, name) = (&self.table, self.table.sibling(self.name()));
        let kinds: Vec<Stmt> = self.kinds.iter().map(|kind| kind.sql().0).collect();
        vec![Unit {
            id: cx.unit("statistics"),
            title: format!("create statistics {name} on {table}"),
            up: Op::Tx(vec![sql!(
                "CREATE STATISTICS {} ({}) ON {} FROM {}",
                name,
                List(&kinds, ", "),
                List(&self.columns, ", "),
                table
            )]),
            down: Down::tx([sql!("DROP STATISTICS IF EXISTS {}", name)]),
            probe: self.probe(),
            lock: Lock::on(LockLevel::ShareUpdateExclusive, table, Hold::Moment),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }]
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        self.columns.iter().map(|c| ("columns", Object::Column(self.table.clone(), c.clone()))).collect()
    }
}

impl CreateStatistics {
    fn name(&self) -> Ident {
        let columns = self.columns.iter().map(Ident::as_str);
        let parts: Vec<&str> = [self.table.name.as_str()].into_iter().chain(columns).chain(["stat"]).collect();
        self.name.clone().unwrap_or_else(|| Ident::derived(&parts))
    }

    /// `stxexprs` came with 14, and is read through JSON.
    fn probe(&self) -> Probe {
        let kinds: Vec<Literal> = self.kinds.iter().map(|kind| kind.sql().1).collect();
        let mut columns: Vec<&Ident> = self.columns.iter().collect();
        columns.sort();
        let columns: Vec<Literal> = columns.iter().map(|column| Literal::new(column.as_str())).collect();
        Probe::catalog(sql!(
            "SELECT CASE WHEN s.oid IS NULL THEN 'absent'
                         WHEN s.stxrelid = k.oid AND s.stxkind @> w.kinds AND s.stxkind <@ w.kinds AND to_jsonb(s) ->> 'stxexprs' IS NULL
                              AND ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = k.oid AND a.attnum = ANY (s.stxkeys::int2[])
                                         ORDER BY a.attname COLLATE \"C\") = ARRAY[{}]::text[]
                         THEN 'present' ELSE 'conflict' END,
                    pg_get_statisticsobjdef(s.oid), NULL::text[]
               FROM (SELECT ARRAY[{}]::\"char\"[] AS kinds) w
               LEFT JOIN pg_class k ON k.oid = to_regclass({})
               LEFT JOIN pg_statistic_ext s ON s.stxnamespace = k.relnamespace AND s.stxname = {}",
            List(&columns, ", "),
            List(&kinds, ", "),
            Literal::new(self.table.to_string()),
            Literal::new(self.name().as_str())
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::finds;

    #[test]
    fn what_postgresql_would_refuse_is_found() {
        let of = |rest: &str| format!("kind = \"create_statistics\"\ntable = \"app.t\"\n{rest}");
        finds(super::EXAMPLE, &[]);
        finds(&of("columns = [\"a\"]"), &["TM0228"]);
        finds(&of("columns = [\"a\", \"a\"]"), &["TM0229"]);
        finds(&of("columns = [\"a\", \"b\"]\nkinds = []"), &["TM0229"]);
        finds(&of("columns = [\"a\", \"b\"]\nkinds = [\"x\"]"), &["TM0103"]);
    }
}
