//! The part of a batch's statement that writes the table's rows.

use super::{Batches, Deed, value::Value};
use crate::{
    engine::ranges::Range,
    sql,
    sql::{Ident, Literal, Stmt},
};

/// Common table expressions, the last of which is `tenantmig_done` with a row for each row that was written. They ask
/// `(SELECT ok FROM tenantmig_open)` before anything is touched.
#[derive(Debug, Clone)]
pub struct Work(pub Stmt);

/// Which rows of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The range's next stripe.
    Stripe,
    /// The rows at these addresses, such as `(4711,3)`.
    Rows(Vec<String>),
}

/// A page has at most so many line pointers, in the usual block size of 8 kB (`MaxHeapTuplesPerPage`).
const ROWS_A_BLOCK_MAX: u32 = 291;

impl Batches {
    /// Fills what is due in a part of a range. `range.skipping` passes by what somebody has locked.
    pub fn work(&self, range: &Range, part: &Part) -> Work {
        let rows = self.rows(range, part);
        let (column, value) = match &self.deed {
            Deed::Fill { column, value } => (column, value),
            Deed::Copy(copy) => {
                // The first walk meets rows that nobody has copied yet, so it does not look.
                let again = range.sweep > 0 || matches!(part, Part::Rows(_));
                return Work(copy.work(&self.target(range), &self.only, &rows, again, range.skipping));
            }
        };
        match (value, range.skipping) {
            (Value::Constant(value), false) => self.direct(range, (column, value), Stmt::raw(""), &rows),
            (Value::Parent { value, table, on }, false) => {
                let rows = sql!("{} AND {} AND {} IS NOT NULL", rows, on, value);
                self.direct(range, (column, value), sql!("FROM {} AS parent", table), &rows)
            }
            // An expression is computed once a row: beside IS NOT NULL and SET it would be twice.
            (Value::Expr(_), false) => self.picked(range, (column, value), "FOR NO KEY UPDATE OF row", &rows),
            (Value::Constant(_) | Value::Parent { .. } | Value::Expr(_), true) => {
                self.picked(range, (column, value), "FOR NO KEY UPDATE OF row SKIP LOCKED", &rows)
            }
        }
    }

    /// One plain UPDATE.
    fn direct(&self, range: &Range, (column, value): (&Ident, &Stmt), from: Stmt, rows: &Stmt) -> Work {
        Work(sql!(
            "tenantmig_done AS (UPDATE {} AS row SET {} = {} {} WHERE (SELECT ok FROM tenantmig_open) AND row.{} IS NULL{} AND {} RETURNING 1)",
            self.target(range),
            column,
            value,
            from,
            column,
            self.only,
            rows
        ))
    }

    /// Locks the rows first, and writes those it has.
    fn picked(&self, range: &Range, (column, of): (&Ident, &Value), locking: &str, rows: &Stmt) -> Work {
        let value = of.expression();
        Work(sql!(
            "tenantmig_todo AS MATERIALIZED (SELECT row.tableoid AS heap, row.ctid AS at, {} AS value FROM {} AS row {}
                  WHERE (SELECT ok FROM tenantmig_open) AND row.{} IS NULL{} AND {} AND ({}) IS NOT NULL {}),
             tenantmig_done AS (UPDATE {} AS t SET {} = tenantmig_todo.value FROM tenantmig_todo
                  WHERE t.tableoid = tenantmig_todo.heap AND t.ctid = tenantmig_todo.at AND t.{} IS NULL RETURNING 1)",
            value,
            self.target(range),
            of.join(),
            column,
            self.only,
            rows,
            value,
            Stmt::raw(locking),
            self.target(range),
            column,
            column
        ))
    }

    fn target(&self, range: &Range) -> Stmt {
        if self.through_root { sql!("{}", self.table) } else { sql!("ONLY {}", Stmt::raw(range.heap.clone())) }
    }

    /// The rows of a part. Which stripe a row belongs to is told by its place in the page (the low byte of the row number in
    /// `tidsend`, six bytes: block and row): that spreads a stripe evenly over each page, along any key or none. `hashtid`
    /// spreads it by chance, and pages in which a stripe has many rows overflow (size 1.32 against 1.24 with eight stripes).
    pub(super) fn rows(&self, range: &Range, part: &Part) -> Stmt {
        let at = match part {
            Part::Rows(addresses) => {
                let quoted: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
                let list = Literal::new(format!("{{{}}}", quoted.join(",")));
                sql!("row.ctid = ANY ({}::tid[])", list)
            }
            Part::Stripe if self.ranges_scanned => {
                let tid = |block: u64| Literal::new(format!("({block},0)"));
                let within = sql!("row.ctid >= {}::tid AND row.ctid < {}::tid", tid(range.lo), tid(range.hi));
                match range.stripes {
                    1 => within,
                    k => sql!("{} AND get_byte(tidsend(row.ctid), 5) % {} = {}", within, k, range.stripes_done),
                }
            }
            // 13 has no scan of a block range: the addresses that there may be are listed.
            Part::Stripe => sql!(
                "row.ctid = ANY (ARRAY(SELECT format('(%s,%s)', block, nr)::tid FROM generate_series({}::bigint, {}::bigint - 1) AS block,
                    generate_series(1, {}) AS nr WHERE nr % {} = {}))",
                range.lo,
                range.hi,
                ROWS_A_BLOCK_MAX,
                range.stripes,
                range.stripes_done
            ),
        };
        // Through the root the addresses of all partitions are meant.
        if self.through_root {
            sql!("{} AND row.tableoid = {}::regclass", at, Literal::new(range.heap.clone()))
        } else {
            at
        }
    }
}
