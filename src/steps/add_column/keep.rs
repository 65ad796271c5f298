//! What of a column's values would not come again by themselves, in SQL: which rows are kept, by which key, and the guard for a
//! table without one.

use crate::{
    checks::{Consent, Gate, Guard, Measure},
    sql,
    sql::{Ident, List, Literal, QName, Stmt},
    unit::{BackfillValue, Fill, KeepSpec},
};

/// The trigger that follows what is written between the keeping and the dropping.
pub fn trigger(column: &Ident) -> Ident {
    Ident::derived(&["tenantmig_keep", column.as_str()])
}

/// Takes that trigger away.
pub fn unfollow(table: &QName, column: &Ident) -> Stmt {
    sql!("DROP TRIGGER IF EXISTS {} ON {}", trigger(column), table)
}

/// The rows, called `row`, whose value is kept.
pub fn differs(spec: &KeepSpec) -> Stmt {
    let KeepSpec { column, ty, .. } = spec;
    // As text: not every type can be compared. Two texts of equal values keep a row too many, which harms nobody.
    let is = |value: Stmt| sql!("row.{}::text IS NOT DISTINCT FROM CAST(({}) AS {})::text", column, value, ty);
    if let Some(fresh) = &spec.fresh {
        return sql!("NOT ({})", is(sql!("{}", fresh)));
    }
    let Some(Fill { value, only }) = &spec.again else { return all(spec) };
    let same = match value {
        BackfillValue::Constant(value) => is(sql!("{}", value)),
        BackfillValue::Expr(expr) => is(sql!("{}", expr)),
        // Whole rows fill no column of another step.
        BackfillValue::Copy(_) => Stmt::raw("false"),
        BackfillValue::Parent { table, column: theirs, on } => {
            let on = on.iter().map(|(child, parent)| sql!("parent.{} = row.{}", parent, child)).collect::<Vec<_>>();
            sql!(
                "EXISTS (SELECT FROM {} AS parent WHERE {} AND {})",
                table,
                List(&on, " AND "),
                is(sql!("parent.{}", theirs))
            )
        }
    };
    let only = only.as_ref().map_or(Stmt::raw(""), |only| sql!("coalesce(({}), false) AND ", only));
    sql!("{} AND NOT ({}{})", all(spec), only, same)
}

/// The rows that have a value at all: what is kept where it cannot be asked what would come again.
pub fn all(spec: &KeepSpec) -> Stmt {
    sql!("row.{} IS NOT NULL", spec.column)
}

/// The columns by which a row is found again, as a query of one `text[]`; no row where there are none. Children of an inheritance share
/// no key with their parent.
pub fn key(table: &QName, column: &Ident) -> Stmt {
    sql!(
        "SELECT (SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (nr, n)
                   JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.nr WHERE k.n <= i.indnkeyatts)
           FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
          WHERE i.indrelid = to_regclass({}) AND i.indisunique AND i.indimmediate AND i.indisvalid
            AND i.indpred IS NULL AND i.indexprs IS NULL
            AND (c.relkind = 'p' OR NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhparent = c.oid))
            AND NOT EXISTS (SELECT FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (nr, n)
                              JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.nr
                             WHERE k.n <= i.indnkeyatts AND (NOT a.attnotnull OR a.attname = {}))
          ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1",
        Literal::new(table.to_string()),
        Literal::new(column.as_str())
    )
}

/// Speaks where values would be lost, since no key finds their rows again. The rows are counted in a query of its own, so that a table
/// with a key is not even looked at: under FORCE its owner could not.
pub fn guard(spec: &KeepSpec) -> Guard {
    let KeepSpec { table, column, of, .. } = spec;
    let count = sql!("SELECT count(*) AS n FROM {} AS row WHERE {}", table, differs(spec));
    let query = sql!(
        "SELECT {}, lost.n, NULL::text FROM (
             SELECT CASE WHEN EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass({}) AND attname = {} AND NOT attisdropped)
                          AND NOT EXISTS ({})
                         THEN substring(query_to_xml({}, false, true, '')::text from '<n>([0-9]+)</n>')::bigint END AS n) AS lost
          WHERE lost.n > 0",
        Literal::new(format!(
            "rows lose their value of {table}.{column}, which nothing computes again: {table} has no primary key and no unique key that is NOT NULL, by which they would be found"
        )),
        Literal::new(table.to_string()),
        Literal::new(column.as_str()),
        key(table, column),
        Literal::new(count.as_str())
    );
    let gate = Gate {
        id: format!("keep:{table}.{column}"),
        kind: "keep".to_owned(),
        title: format!("the values of {table}.{column} can be kept for the next apply"),
        query,
        baseline: None,
        tables: vec![table.clone()],
        wait: None,
        measure: Measure::Query,
    };
    Guard { gate, of: Some(of.clone()), consent: Some(Consent::DataLoss) }
}
