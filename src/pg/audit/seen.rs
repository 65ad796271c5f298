//! The policies as the rules see them.

use tokio_postgres::{Error, Row};

use super::super::{
    Fault,
    connect::Connection,
    survey::{Places, rows},
};
use crate::{
    audit::{
        Ground,
        policies::{Function, Policy, Seen, Table, read},
    },
    hazards::Scope,
    sql::Ident,
};

/// Reads them all.
pub(super) async fn see(session: &Connection, ground: &Ground, places: &Places, scope: &Scope) -> Result<Seen, Fault> {
    let mut seen = Seen {
        column: scope.column.as_ref().map(Ident::to_string),
        setting: scope.setting.clone(),
        function: scope.function.as_ref().map(ToString::to_string),
        ..Seen::default()
    };
    for row in rows(session, "the policies", &read::policies(ground), places, scope).await? {
        let table = table(&row)?;
        if seen.tables.last().is_none_or(|last| last.oid != table.oid) {
            seen.tables.push(table);
        }
        if let Some(table) = seen.tables.last_mut() {
            table.policies.push(policy(&row)?);
        }
    }
    for row in rows(session, "the functions of the policies", &read::functions(), places, scope).await? {
        let function = Function {
            name: row.try_get(0)?,
            source: row.try_get(1)?,
            language: row.try_get(2)?,
            mend: row.try_get(3)?,
        };
        seen.functions.push(function);
    }
    seen.judge();
    Ok(seen)
}

fn table(row: &Row) -> Result<Table, Error> {
    Ok(Table {
        oid: row.try_get(0)?,
        name: row.try_get(1)?,
        enabled: row.try_get(2)?,
        column: row.try_get(3)?,
        column_type: row.try_get(4)?,
        not_null: row.try_get(5)?,
        floor: row.try_get(6)?,
        policies: Vec::new(),
    })
}

fn policy(row: &Row) -> Result<Policy, Error> {
    let command: String = row.try_get(9)?;
    Ok(Policy {
        name: row.try_get(7)?,
        permissive: row.try_get(8)?,
        command: command.chars().next().unwrap_or('*'),
        roles: row.try_get(10)?,
        using: row.try_get(11)?,
        check: row.try_get(12)?,
        reads: row.try_get(13)?,
        verdicts: [None, None],
        mend: row.try_get(14)?,
    })
}
