//! Roles: what they may do as far as row-level security goes, and whether the login may take them.

use tokio_postgres::{Client, Row, types::Type};

use super::Fault;
use crate::{
    sql,
    sql::{QName, Stmt},
};

/// A role as the catalogue has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub name: String,
    /// Neither superuser nor BYPASSRLS: policies apply to it, where it owns the table under FORCE.
    pub plain: bool,
    /// Whether the current role may SET ROLE to it.
    pub takeable: bool,
}

const FACTS: &str = "r.rolname::text, NOT (r.rolsuper OR r.rolbypassrls), pg_has_role(current_user, r.oid, 'MEMBER')";

/// The role of this name, or the current one; `None` when there is no such role.
pub async fn role(client: &Client, name: Option<&str>) -> Result<Option<Role>, Fault> {
    let query = sql!("SELECT {} FROM pg_roles r WHERE r.rolname = coalesce($1, current_user::text)", Stmt::raw(FACTS));
    let row = client.query_typed_opt(query.as_str(), &[(&name, Type::TEXT)]).await?;
    row.as_ref().map(read).transpose()
}

/// The owners of those of `tables` that exist, each once, by name.
pub async fn owners(client: &Client, tables: &[QName]) -> Result<Vec<Role>, Fault> {
    let query = sql!(
        "SELECT DISTINCT {} FROM unnest($1) t JOIN pg_class c ON c.oid = to_regclass(t) JOIN pg_roles r ON r.oid = c.relowner
          ORDER BY 1",
        Stmt::raw(FACTS)
    );
    let names: Vec<String> = tables.iter().map(QName::to_string).collect();
    let rows = client.query_typed(query.as_str(), &[(&names, Type::TEXT_ARRAY)]).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<Role, Fault> {
    Ok(Role { name: row.try_get(0)?, plain: row.try_get(1)?, takeable: row.try_get(2)? })
}
