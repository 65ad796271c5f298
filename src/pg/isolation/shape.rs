//! How the server reads a tenant's rows (P14), and whether a row can point at another tenant's parent (P13). Both are told and
//! fail nothing: the first is about time, the second about keys, and policies bind neither.

use serde_json::Value;
use tokio_postgres::{Client, types::Type};

use super::{
    actor::Actor,
    facts::Facts,
    transaction::{BOUNDS, refusal, rolled_back, set},
};
use crate::{
    isolation::{Spec, Verdict},
    pg::{Fault, connect::Connection},
    sql,
};

/// P14, as a tenant.
pub(super) async fn plan(actor: &Actor<'_>, spec: &Spec, facts: &Facts, tenant: &str) -> Result<Verdict, Fault> {
    let explain = sql!("EXPLAIN (FORMAT JSON, COSTS OFF) SELECT 1 FROM {}", spec.table);
    let planned = actor.act(BOUNDS, async |client: &Client| {
        set(client, &spec.setting, tenant).await?;
        // A small table is read whole where an index would do as well.
        client.batch_execute("SET LOCAL enable_seqscan = off").await?;
        Ok(client.query_typed_one(explain.as_str(), &[]).await?.try_get::<_, Value>(0)?)
    });
    let plan = match planned.await {
        Ok(plan) => plan,
        Err(fault) => return Ok(Verdict::Untried(refusal(fault)?.told())),
    };
    let (once, found) = (is_once(&plan), is_found(&plan, spec.column.as_str()));
    let mut lacks = Vec::new();
    if !once {
        lacks.push("the tenant is computed anew for each row: write the context as (SELECT …)".to_owned());
    }
    match (facts.indexed, found) {
        (false, _) => lacks.push(format!("no index begins with {}, so each read goes through all tenants' rows", spec.column)),
        (true, false) => lacks.push(format!(
            "an index begins with {}, and the policy does not use it: a cast or a function on the column, or a VOLATILE one beside it",
            spec.column
        )),
        (true, true) => {}
    }
    Ok(if lacks.is_empty() {
        Verdict::Holds("computed once, found by an index".to_owned())
    } else {
        Verdict::Weak(lacks.join("; "))
    })
}

/// Whether some part of the plan is computed before the rest.
fn is_once(plan: &Value) -> bool {
    any(plan, &|key, value| key == "Parent Relationship" && value.as_str() == Some("InitPlan"))
}

/// Whether an index is asked for the column.
fn is_found(plan: &Value, column: &str) -> bool {
    any(plan, &|key, value| key == "Index Cond" && value.as_str().is_some_and(|cond| cond.contains(column)))
}

fn any(value: &Value, is_it: &dyn Fn(&str, &Value) -> bool) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| is_it(key, value) || any(value, is_it)),
        Value::Array(list) => list.iter().any(|value| any(value, is_it)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// $1 the table, $2 its tenant column, $3 the registry, to which every tenant points.
const KEYS: &str = "
    SELECT c.conname::text, c.confrelid::regclass::text, a.attnum = ANY (c.conkey) AS scoped
      FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attname = $2 JOIN pg_class p ON p.oid = c.confrelid
     WHERE c.conrelid = to_regclass($1) AND c.contype = 'f' AND c.confrelid <> to_regclass($3) AND p.relrowsecurity ORDER BY 1";

/// P13, by the catalogue: the server asks a key past every policy, so only a key that has the tenant in it holds.
pub(super) async fn parents(admin: &Connection, spec: &Spec) -> Result<Verdict, Fault> {
    let (table, column, registry) = (spec.table.to_string(), spec.column.as_str(), spec.registry.0.to_string());
    let rows = rolled_back(admin, BOUNDS, async |client: &Client| {
        Ok(client.query_typed(KEYS, &[(&table, Type::TEXT), (&column, Type::TEXT), (&registry, Type::TEXT)]).await?)
    })
    .await?;
    let (mut scoped, mut open) = (Vec::new(), Vec::new());
    for row in rows {
        let (name, parent): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let list = if row.try_get(2)? { &mut scoped } else { &mut open };
        list.push(format!("{name} to {parent}"));
    }
    Ok(if !open.is_empty() {
        Verdict::Weak(format!(
            "a row may point at another tenant's parent, and tells by that whether it exists: {} without {column}",
            open.join(", ")
        ))
    } else if scoped.is_empty() {
        Verdict::Untried("no foreign key leads to another protected table".to_owned())
    } else {
        Verdict::Holds(format!("{column} is in the key: {}", scoped.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_is_read_at_every_depth() {
        let plan = json!([{ "Plan": { "Node Type": "Append", "Plans": [
            { "Node Type": "Result", "Parent Relationship": "InitPlan" },
            { "Node Type": "Bitmap Heap Scan", "Plans": [{ "Node Type": "Bitmap Index Scan", "Index Cond": "(org_id = $0)" }] } ] } }]);
        assert!(is_once(&plan) && is_found(&plan, "org_id") && !is_found(&plan, "account"));
        let plan = json!([{ "Plan": { "Node Type": "Seq Scan", "Filter": "(org_id = $0)" } }]);
        assert!(!is_once(&plan) && !is_found(&plan, "org_id"));
    }
}
