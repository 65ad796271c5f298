//! What would help a query that lost its index: by which operator or function it lost it, and the statement that makes another.
//!
//! A policy's condition is asked before anything that is not leakproof, since that could tell of rows which the policy hides
//! (by an error, for instance); so an index whose operator is not leakproof cannot be used by a session that policies bind.

use tokio_postgres::{Client, types::Type};

use super::tenant_column;
use crate::{
    latency::{Run, Spec},
    pg::{Fault, connect::Connection},
    sql::QName,
};

/// $1 the table, $2 the names of the indexes that were used, $3 the operators, $4 the tenant's column: of the first of the
/// indexes its key, its functions and operators that are not leakproof; and an index that begins with the tenant, if any.
const FACTS: &str = r"
SELECT (SELECT string_agg(pg_get_indexdef(i.indexrelid, k, true), ', ' ORDER BY k) FROM generate_series(1, i.indnkeyatts) k),
       ARRAY(SELECT DISTINCT p.oid::regprocedure::text
               FROM regexp_matches(coalesce(i.indexprs::text, ''), ':(?:funcid|opfuncid) (\d+)', 'g') m
               JOIN pg_proc p ON p.oid = m[1]::oid WHERE NOT p.proleakproof
              UNION
             SELECT DISTINCT o.oid::regoperator::text FROM unnest(i.indclass) k JOIN pg_opclass c ON c.oid = k
               JOIN pg_operator o ON o.oprleft = c.opcintype AND o.oprright = c.opcintype AND o.oprname = ANY ($3)
               JOIN pg_proc p ON p.oid = o.oprcode WHERE NOT p.proleakproof
              ORDER BY 1),
       i.indexrelid::regclass::text,
       (SELECT t.indexrelid::regclass::text FROM pg_index t JOIN pg_attribute a ON a.attrelid = t.indrelid AND a.attnum = t.indkey[0]
         WHERE t.indrelid = to_regclass($1) AND a.attname = $4 AND t.indisvalid AND t.indpred IS NULL
         ORDER BY t.indnatts LIMIT 1)
  FROM (SELECT 1) one
  LEFT JOIN pg_index i ON i.indrelid = to_regclass($1)
        AND i.indexrelid = ANY (SELECT c.oid FROM pg_class c WHERE c.relname = ANY ($2)) ORDER BY i.indexrelid LIMIT 1";

/// What would help one table, of which `other` read fewer rows.
pub(super) async fn help(session: &Connection, spec: &Spec, table: &str, other: &Run) -> Result<Option<String>, Fault> {
    let Ok(name) = QName::parse(table) else { return Ok(None) };
    let Some(column) = tenant_column(session, spec, &name).await? else { return Ok(None) };
    let theirs = other.shape.scans.get(table).cloned().unwrap_or_default();
    let indexes: Vec<String> = theirs.indexes.into_iter().collect();
    let operators: Vec<String> = theirs.operators.into_iter().collect();
    let (table, tenant) = (name.to_string(), column.as_str());
    let look = async |client: &Client| {
        let params: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] =
            [(&table, Type::TEXT), (&indexes, Type::TEXT_ARRAY), (&operators, Type::TEXT_ARRAY), (&tenant, Type::TEXT)];
        Ok::<_, Fault>(client.query_typed_opt(FACTS, &params).await?)
    };
    let Some(row) = session.with(look).await? else { return Ok(None) };
    let (key, leaky): (Option<String>, Vec<String>) =
        (row.try_get(0).map_err(Fault::from)?, row.try_get(1).map_err(Fault::from)?);
    let (index, led): (Option<String>, Option<String>) =
        (row.try_get(2).map_err(Fault::from)?, row.try_get(3).map_err(Fault::from)?);
    let lost = match &index {
        Some(index) if !leaky.is_empty() => format!(
            "the index {index} cannot be used under policies, since {} is not leakproof: the tenant is asked first; ",
            leaky.join(", ")
        ),
        Some(_) | None => String::new(),
    };
    let help = match (key.filter(|_| leaky.is_empty()), led) {
        (Some(key), _) => format!(
            "a compound index serves tenant and query alike: CREATE INDEX CONCURRENTLY ON {name} ({column}, {key})"
        ),
        (None, None) => format!(
            "an index that begins with the tenant reads its rows only: CREATE INDEX CONCURRENTLY ON {name} ({column})"
        ),
        (None, Some(led)) if !leaky.is_empty() => format!(
            "{led} begins with the tenant already: keep what is looked for in a column of its own (GENERATED ALWAYS AS (…) STORED), and \
             CREATE INDEX CONCURRENTLY ON {name} ({column}, that column), since = on text is leakproof"
        ),
        (None, Some(led)) => format!(
            "{led} begins with the tenant, and the plan does not use it: ANALYZE {name}; then look at the costs (random_page_cost, enable_indexscan)"
        ),
    };
    Ok(Some(format!("{lost}{help}")))
}
