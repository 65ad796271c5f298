//! The guard in front of taking row-level security off a table: whose rows everybody would see.
//!
//! Two tenants are enough to know, so nothing is counted: any row's tenant, and then one beside it. That is found among the first
//! rows, or at either side of it in an index that leads with the tenant; without such an index a table of one tenant is read once,
//! within a bound.

use crate::{
    checks::{Consent, Gate, Guard, Measure},
    plan::Lowering,
    sql,
    sql::{Ident, Literal, QName},
    unit::UnitId,
};

/// Rows that are looked at before the table is searched: the tenants of most tables lie mixed.
const FIRST_ROWS: u32 = 1_000;

/// What speaks against undoing `unit`, which protects `table`. Where the plan has no tenants, nobody can say whose a row is.
pub(in crate::steps) fn guard(
    cx: &Lowering<'_>,
    part: &str,
    table: &QName,
    column: Option<&Ident>,
    seen_by: &str,
) -> Vec<Guard> {
    let Some(tenancy) = cx.tenancy else { return Vec::new() };
    let unit: UnitId = cx.unit(part);
    let registry = &tenancy.registry;
    let own = if *table == registry.table { &registry.key } else { &tenancy.column };
    let column = column.unwrap_or(own);
    let query = sql!(
        "SELECT {0}, 2::bigint, format('%s and %s', a.tenant, b.tenant)
           FROM (SELECT t.{2} AS tenant FROM {1} AS t WHERE t.{2} IS NOT NULL LIMIT 1) AS a
          CROSS JOIN LATERAL (SELECT u.tenant FROM (
                (SELECT s.tenant FROM (SELECT t.{2} AS tenant FROM {1} AS t WHERE t.{2} IS NOT NULL LIMIT {3}) AS s
                  WHERE s.tenant <> a.tenant LIMIT 1)
                UNION ALL (SELECT t.{2} FROM {1} AS t WHERE t.{2} > a.tenant ORDER BY t.{2} LIMIT 1)
                UNION ALL (SELECT t.{2} FROM {1} AS t WHERE t.{2} < a.tenant ORDER BY t.{2} DESC LIMIT 1)) AS u LIMIT 1) AS b",
        Literal::new(format!("{table} holds rows of more than one tenant, which {seen_by} would see")),
        table,
        column,
        FIRST_ROWS
    );
    let gate = Gate {
        id: format!("exposure:{unit}"),
        kind: "exposure".to_owned(),
        title: format!("no tenant sees another one's rows when {table} is no longer protected"),
        query,
        baseline: None,
        tables: vec![table.clone()],
        wait: None,
        measure: Measure::Tenants(table.clone()),
    };
    vec![Guard { gate, of: Some(unit), consent: Some(Consent::Exposure) }]
}
