//! What mends a table, as SQL that makes the statement: expressions over `pg_class c` and its tenant column `pg_attribute a`.

use super::rule::Ground;
use crate::{
    sql,
    sql::{Literal, QName, Stmt},
};

/// Names that `enforce_rls` gives.
const POLICY: &str = "tenant_isolation";
const FLOOR: &str = "tenant_floor";

/// SQL text of an SQL expression: how the setting is read, as the type of the column that `a` stands on.
const SETTING_READ: &str = "format('NULLIF(current_setting(%L, true), '''')::%s', $8, format_type(a.atttypid, NULL))";

/// The session's tenant: the function's where there is one.
pub fn context(function: Option<&QName>) -> Stmt {
    match function {
        Some(function) => {
            let call = sql!("{}()", function);
            sql!("{}", Literal::new(call.as_str()))
        }
        None => setting_read(),
    }
}

/// What a context function returns.
pub fn setting_read() -> Stmt {
    Stmt::raw(SETTING_READ)
}

/// The canonical expression: the tenant column is the session's tenant.
pub fn row(ground: &Ground) -> Stmt {
    sql!("format('%I = (SELECT %s)', a.attname, {})", ground.context)
}

/// A policy's name that the table does not have yet.
fn free(name: &str) -> Stmt {
    sql!(
        "(CASE WHEN EXISTS (SELECT FROM pg_policy f WHERE f.polrelid = c.oid AND f.polname = {0}) THEN {0} || '_2' ELSE {0} END)",
        Literal::new(name)
    )
}

/// CREATE POLICY of the canonical permissive policy.
pub fn permissive(ground: &Ground) -> Stmt {
    sql!(
        "format('CREATE POLICY %I ON %s USING (%s) WITH CHECK (%3$s)', {}, c.oid::regclass, {})",
        free(POLICY),
        row(ground)
    )
}

/// CREATE POLICY of the restrictive floor.
pub fn floor(ground: &Ground) -> Stmt {
    sql!(
        "format('CREATE POLICY %I ON %s AS RESTRICTIVE USING (%s) WITH CHECK (%3$s)', {}, c.oid::regclass, {})",
        free(FLOOR),
        row(ground)
    )
}

/// ENABLE, and FORCE where owners are meant to be bound.
pub fn flags(ground: &Ground) -> Stmt {
    let force = Literal::new(if ground.force { ", FORCE ROW LEVEL SECURITY" } else { "" });
    sql!("format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY%s', c.oid::regclass, {})", force)
}

/// All of it, for a table that has no permissive policy: a moment between ENABLE and the policy would hide every row.
pub fn protect(ground: &Ground) -> Stmt {
    sql!("concat_ws('; ', {}, {}, {})", permissive(ground), floor(ground), flags(ground))
}
