//! The scope as the catalogue has it: names become OIDs once, and not again for each hazard.

use serde_json::json;
use tokio_postgres::{Client, types::Type};

use super::super::{Fault, connect::Connection};
use crate::{
    hazards::{Scope, Server},
    plan::Deals,
    sql::{Ident, QName},
};

/// Five minutes, as max_xact_age has it where a plan says nothing.
const OLD_AFTER_MS: u64 = 5 * 60_000;

/// OIDs of what the scope names and the database has. A plan may name what it is going to make: that bites nobody yet.
#[derive(Debug, Clone, Default)]
pub(in crate::pg) struct Places {
    pub tables: Vec<u32>,
    pub written: Vec<u32>,
    pub moved: Vec<u32>,
    pub known: Vec<u32>,
    pub roles: Vec<u32>,
    /// As `format_type` writes it.
    pub column_type: Option<String>,
    /// The schema of pg_stat_statements.
    pub statements: Option<Ident>,
    /// Whether this role sees other roles' activity.
    pub sees_others: bool,
}

/// The scope's names as parameters.
#[derive(Debug)]
pub(in crate::pg) struct Names {
    pub column: Option<String>,
    pub setting: Option<String>,
    pub ways: serde_json::Value,
    pub function: Option<String>,
    pub old_after_ms: i64,
    pub deals: serde_json::Value,
}

/// The tables with their partitions and children.
const TREE: &str = "WITH RECURSIVE tree AS (SELECT to_regclass(t)::oid AS oid FROM unnest($1) t
        UNION SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid)
    SELECT coalesce(array_agg(c.oid ORDER BY c.oid), '{}') FROM tree JOIN pg_class c USING (oid) WHERE c.relkind IN ('r', 'p', 'f')";

/// Where no role of the application is known: who may log in and write one of the tables, and a superuser or an owner only if
/// a session of theirs is open that is neither ours nor a person's tool.
const ROLES: &str = "SELECT coalesce(array_agg(r.oid ORDER BY r.oid), '{}') FROM pg_roles r
     WHERE r.rolcanlogin AND CASE
       WHEN r.rolsuper OR r.rolbypassrls OR EXISTS (SELECT FROM pg_class c WHERE c.oid = ANY ($1) AND c.relowner = r.oid)
       THEN EXISTS (SELECT FROM pg_stat_activity s WHERE s.usesysid = r.oid AND s.datname = current_database() AND s.pid <> pg_backend_pid()
                     AND s.backend_type = 'client backend'
                     AND s.application_name !~* '^(tenantmig|psql|pg_dump|pg_restore|pgadmin|dbeaver|datagrip|pg_cron|pgagent)')
       ELSE EXISTS (SELECT FROM pg_class c WHERE c.oid = ANY ($1) AND has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE')) END";

const SERVER: &str = "SELECT (SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'),
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'), format_type(to_regtype($1)::oid, NULL)";

impl Places {
    /// Asks the catalogue, with `search_path = pg_catalog`.
    pub async fn find(client: &Client, scope: &Scope) -> Result<Self, Fault> {
        let (tables, known) = (tree(client, &scope.tables).await?, tree(client, &scope.known).await?);
        let places = Self::over(client, scope, tables, known).await?;
        let (written, moved) = (tree(client, &scope.written).await?, tree(client, &scope.moved).await?);
        Ok(Self { written, moved, ..places })
    }

    /// The same where the tables are known by number: a name is found only with USAGE on its schema.
    pub async fn over(client: &Client, scope: &Scope, tables: Vec<u32>, known: Vec<u32>) -> Result<Self, Fault> {
        let roles: Vec<&str> = scope.roles.iter().map(Ident::as_str).collect();
        let named = "SELECT coalesce(array_agg(oid), '{}') FROM pg_roles WHERE rolname = ANY ($1)";
        let mut roles: Vec<u32> = client.query_typed_one(named, &[(&roles, Type::TEXT_ARRAY)]).await?.try_get(0)?;
        if roles.is_empty() {
            roles = client.query_typed_one(ROLES, &[(&tables, Type::OID_ARRAY)]).await?.try_get(0)?;
        }
        if roles.is_empty() {
            // 0 is PUBLIC.
            roles.push(0);
        }
        let tenant_type = scope.column_type.as_ref().map(ToString::to_string);
        let row = client.query_typed_one(SERVER, &[(&tenant_type, Type::TEXT)]).await?;
        let statements: Option<String> = row.try_get(0)?;
        Ok(Self {
            written: Vec::new(),
            moved: Vec::new(),
            known,
            tables,
            roles,
            statements: statements.and_then(|schema| Ident::new(schema).ok()),
            sees_others: row.try_get(1)?,
            column_type: if tenant_type.is_some() { row.try_get(2)? } else { None },
        })
    }

    /// What queries depend on.
    pub fn server(&self, session: &Connection) -> Server {
        Server {
            version_num: u32::try_from(session.server_version_num).unwrap_or(0),
            statements: self.statements.clone(),
        }
    }

    /// The names of the scope.
    pub fn names(&self, scope: &Scope) -> Names {
        let columns = |columns: &[Ident]| columns.iter().map(|c| c.as_str().to_owned()).collect::<Vec<_>>();
        Names {
            column: scope.column.as_ref().map(|column| column.as_str().to_owned()),
            setting: scope.setting.clone(),
            ways: scope
                .ways
                .iter()
                .map(|way| json!({ "table": way.table.to_string(), "columns": columns(&way.columns) }))
                .collect(),
            deals: scope.deals.iter().map(deal).collect(),
            old_after_ms: i64::try_from(scope.old_after.map_or(OLD_AFTER_MS, |age| age.0)).unwrap_or(i64::MAX),
            function: scope.function.as_ref().map(|f| format!("{}.{}", f.schema.as_str(), f.name.as_str())),
        }
    }
}

/// Columns as the catalogue has them, without quotes.
fn deal(deals: &Deals) -> serde_json::Value {
    let names = |columns: &[Ident]| columns.iter().map(|c| c.as_str().to_owned()).collect::<Vec<_>>();
    match deals {
        Deals::UniqueKey { table, columns, name } => {
            let name = name.as_ref().map(Ident::as_str);
            json!({ "what": "unique_key", "table": table.to_string(), "columns": names(columns), "name": name })
        }
        Deals::ForeignKey { table, columns } => {
            json!({ "what": "foreign_key", "table": table.to_string(), "columns": names(columns) })
        }
        Deals::Index { table, keys } => json!({ "what": "index", "table": table.to_string(), "keys": keys }),
        Deals::Family { table } => json!({ "what": "family", "table": table.to_string() }),
        Deals::Kept { table, columns } => {
            json!({ "what": "kept", "table": table.to_string(), "columns": names(columns) })
        }
    }
}

async fn tree(client: &Client, tables: &[QName]) -> Result<Vec<u32>, Fault> {
    let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
    Ok(client.query_typed_one(TREE, &[(&names, Type::TEXT_ARRAY)]).await?.try_get(0)?)
}
