//! Gives rows that were written since the backfill their tenant, right before a key or NOT NULL would refuse them, and says in
//! words which rows are still without one, or have another tenant than their parent.
//!
//! Lock: ROW EXCLUSIVE on the table; the few rows that it fills, 10000 at most, are locked until its one transaction commits.
//! With an index that leads with the column they are found without reading the table; to compare the tenants of a table with
//! those of its parent both are read once, under ACCESS SHARE. A row that has a tenant is never written: whether one that
//! differs from its parent's is a mistake is a person's to say, who is given the UPDATE that takes the parent's.
//! Undo: the undo of the step that added the column takes the values along, as those of a backfill.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Object, StepKind};
use crate::{
    checks::orphans::takes_the_parents,
    plan::{Lowering, Site},
    sql,
    sql::{Expr, Ident, List, Literal, QName, Stmt, block},
    unit::{Down, Growth, Hold, Lock, LockLevel, OnOrphan, Op, Probe, Unit},
};

/// More rows than these are no moment's work for one transaction, and no application writes so many that nothing captures.
const ROWS_MAX: u32 = 10_000;

/// A step of the kind `settle`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settle {
    table: QName,
    column: Ident,
    from: Option<Parent>,
    /// An expression that sees the table's row as `row`.
    sql: Option<Expr>,
    /// What becomes of rows for which no tenant is found: "stop", or "skip", where a quarantine comes next.
    on_orphan: Option<OnOrphan>,
}

/// The parent row that has the tenant.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parent {
    table: QName,
    /// The parent's column; the same name where it is left out.
    column: Option<Ident>,
    /// The table's columns, each with the parent's column that it equals.
    r#match: BTreeMap<Ident, Ident>,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind   = "settle"
table  = "app.badges"
column = "tenant_id"
from   = { table = "app.members", match = { member_id = "id" } }
"#;

impl StepKind for Settle {
    fn default_id(&self) -> String {
        format!("{}-{}-settle", self.table.name.as_str(), self.column.as_str())
    }

    fn check(&mut self, site: &mut Site<'_>) {
        if self.from.is_some() == self.sql.is_some() {
            site.error("column", "TM0355", "the step takes the tenant from one place")
                .help("write one of: from = { table = …, match = { … } }, sql = \"an expression over row\"");
        }
        if self.from.as_ref().is_some_and(|from| from.r#match.is_empty()) {
            site.error("from", "TM0273", "`match` names no column")
                .help("write which column of the row equals which of the parent: match = { user_id = \"id\" }");
        }
        if self.on_orphan == Some(OnOrphan::Quarantine) {
            site.error("on_orphan", "TM0356", "this step moves no rows")
                .help("write on_orphan = \"skip\", and a step of the kind `quarantine` behind it");
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let (table, column) = (&self.table, &self.column);
        let made = cx.made.get(&Object::Column(table.clone(), column.clone()));
        vec![Unit {
            id: cx.unit("settle"),
            title: format!("fill {table}.{column} of the rows that were written since the backfill"),
            up: Op::Tx(self.statements(self.on_orphan.unwrap_or(cx.backfill.on_orphan))),
            down: made.map_or_else(
                || Down::nothing("the column was there before the plan; its filled values stay"),
                |unit| Down::CoveredBy(unit.clone()),
            ),
            probe: Probe::Ledger,
            lock: Lock::on(LockLevel::RowExclusive, table, Hold::Batch),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }]
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        let column = |key, table: &QName, column: &Ident| (key, Object::Column(table.clone(), column.clone()));
        let mut needs = vec![column("column", &self.table, &self.column)];
        if let Some(from) = &self.from {
            needs.push(column("from", &from.table, from.column.as_ref().unwrap_or(&self.column)));
            for (child, up) in &from.r#match {
                needs.extend([column("from", &self.table, child), column("from", &from.table, up)]);
            }
        }
        needs
    }
}

impl Settle {
    fn statements(&self, on_orphan: OnOrphan) -> Vec<Stmt> {
        let mut statements = vec![self.fill()];
        statements.extend(self.from.as_ref().map(|from| self.strays(from)));
        statements.extend((on_orphan == OnOrphan::Stop).then(|| self.orphans()));
        statements
    }

    /// The tenant of `row`.
    fn tenant(&self) -> Stmt {
        match (&self.from, &self.sql) {
            (Some(from), _) => sql!(
                "(SELECT parent.{} FROM {} AS parent WHERE {} LIMIT 1)",
                self.theirs(from),
                from.table,
                equal(from)
            ),
            (None, Some(expr)) => sql!("({})", expr),
            (None, None) => Stmt::raw("NULL"),
        }
    }

    fn theirs<'a>(&'a self, from: &'a Parent) -> &'a Ident {
        from.column.as_ref().unwrap_or(&self.column)
    }

    fn fill(&self) -> Stmt {
        let (table, column, tenant) = (&self.table, &self.column, self.tenant());
        let due = sql!("row.{} IS NULL AND {} IS NOT NULL", column, tenant);
        block(&sql!(
            "
#variable_conflict use_column
DECLARE late bigint;
BEGIN
    SELECT count(*) INTO late FROM (SELECT FROM {0} AS row WHERE {1} LIMIT {2} + 1) AS due;
    IF late > {2} THEN
        RAISE EXCEPTION 'more than {2} rows of {3} were written without {4} since the backfill'
            USING HINT = 'undo the phases down to before the backfill, which fills them in batches: tenantmig rollback --to PHASE';
    END IF;
    UPDATE {0} AS row SET {5} = {6} WHERE {1};
END ",
            table,
            due,
            Stmt::raw(ROWS_MAX.to_string()),
            told(table),
            told(column),
            column,
            tenant
        ))
    }

    /// Rows of another tenant than their parent's: a child was written while its parent's tenant changed in an open transaction,
    /// or the application named it so.
    fn strays(&self, from: &Parent) -> Stmt {
        let (table, column, theirs) = (&self.table, &self.column, self.theirs(from));
        let differs = sql!("{} AND row.{} IS DISTINCT FROM parent.{}", equal(from), column, theirs);
        let mends = takes_the_parents(table, column, &from.table, theirs, &equal(from));
        block(&sql!(
            "
DECLARE strays bigint; example text;
BEGIN
    SELECT count(*), left(min(row::text), 200) INTO strays, example FROM {} AS row, {} AS parent
     WHERE {} AND row.{} IS NOT NULL;
    IF strays > 0 THEN
        RAISE EXCEPTION '{}.{} differs from {}.{}: % rows, for example %', strays, example
            USING HINT = 'a row was written while its parent changed, or the application named another tenant. To take the parent''s: ' || {};
    END IF;
END ",
            table,
            from.table,
            differs,
            column,
            told(table),
            told(column),
            told(&from.table),
            told(theirs),
            Literal::new(mends.to_string())
        ))
    }

    fn orphans(&self) -> Stmt {
        let (table, column) = (&self.table, &self.column);
        let why = self.from.as_ref().map_or_else(
            || "its expression gives none".to_owned(),
            |from| format!("no row of {} says whose they are", from.table),
        );
        let give = sql!("UPDATE {0} SET {1} = … WHERE {1} IS NULL", table, column);
        let hint =
            format!("they were written since the backfill, and {why}. Give them one ({give}), or take them away");
        block(&sql!(
            "
DECLARE lone bigint; example text;
BEGIN
    SELECT count(*), left(min(row::text), 200) INTO lone, example FROM {} AS row WHERE row.{} IS NULL;
    IF lone > 0 THEN
        RAISE EXCEPTION '{}.{} is NULL: % rows, for example %', lone, example USING HINT = {};
    END IF;
END ",
            table,
            column,
            told(table),
            told(column),
            Literal::new(hint)
        ))
    }
}

fn equal(from: &Parent) -> Stmt {
    let pairs: Vec<Stmt> = from.r#match.iter().map(|(child, up)| sql!("parent.{} = row.{}", up, child)).collect();
    sql!("{}", List(&pairs, " AND "))
}

/// A name inside the text of RAISE, where % stands for a value.
fn told(name: &impl ToString) -> Stmt {
    Stmt::raw(name.to_string().replace('\'', "''").replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use super::super::trial::finds;

    #[test]
    fn the_tenant_comes_from_one_place() {
        let step = |rest: &str| format!("kind = 'settle'\ntable = 'app.t'\ncolumn = 'c'\n{rest}");
        finds(super::EXAMPLE, &[]);
        finds(&step("sql = 'row.a'"), &[]);
        finds(&step(""), &["TM0355"]);
        finds(&step("from = { table = 'app.p', match = {} }"), &["TM0273"]);
        finds(&step("sql = 'row.a'\non_orphan = 'quarantine'"), &["TM0356"]);
    }
}
