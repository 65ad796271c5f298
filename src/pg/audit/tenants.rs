//! Who the tenants are, which tables are theirs and as whom the application works, where nobody says so.

use std::collections::BTreeMap;

use tokio_postgres::{
    Client,
    types::{ToSql, Type},
};

use super::{
    super::{
        Fault,
        connect::Connection,
        survey::{Places, read_only},
    },
    scope,
};
use crate::{
    audit::{
        policies::read,
        tenancy::{Tenancy, Votes},
    },
    hazards::Scope,
    sql::{Ident, QName},
};

/// Read by an application where no policy says another one.
const SETTING: &str = "app.tenant_id";

/// Names that a tenant column has where no policy tells; of several the one that most tables have.
const USUAL: &str = "SELECT a.attname::text, count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE a.attname IN ('tenant_id', 'org_id', 'organization_id', 'organisation_id', 'account_id', 'workspace_id', 'company_id', 'customer_id')
    AND NOT a.attisdropped AND c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  GROUP BY 1 HAVING count(*) > 1 ORDER BY 2 DESC, 1 LIMIT 1";

/// Tables with the column or with policies. What an extension brings, the ledger and what tenantmig keeps aside is not the
/// application's: unless somebody was granted it.
const TABLES: &str = "SELECT n.nspname::text, c.relname::text, c.relrowsecurity, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', $2)
    AND (EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = $1 AND NOT a.attisdropped)
         OR c.relrowsecurity OR EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid))
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    AND NOT ((c.relname LIKE 'tenantmig%' OR c.relname LIKE '%\\_quarantined')
             AND NOT EXISTS (SELECT FROM aclexplode(c.relacl) x WHERE x.grantee <> c.relowner))
  ORDER BY 1, 2";

/// What most tenant columns reference by themselves.
const REGISTRY: &str = "SELECT n.nspname::text, t.relname::text, count(*)
   FROM pg_constraint f JOIN pg_class t ON t.oid = f.confrelid JOIN pg_namespace n ON n.oid = t.relnamespace
   JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = f.conkey[1] AND a.attname = $1
  WHERE f.contype = 'f' AND cardinality(f.conkey) = 1 AND f.conparentid = 0 AND f.conrelid <> f.confrelid
  GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT 1";

/// Login roles with rights on a tenant's table; one that policies never bind, or an owner, only where a session of it is open that is
/// neither ours nor a person's tool. And roles with such rights that no login inherits but may take by SET ROLE, as one does who logs in
/// for many.
const ROLES: &str = "WITH tables AS (SELECT c.oid, c.relowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $1 AND NOT a.attisdropped
      WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', $2))
   SELECT r.rolname::text FROM pg_roles r
    WHERE r.rolcanlogin AND r.rolname <> current_user AND CASE
      WHEN r.rolsuper OR r.rolbypassrls OR r.oid IN (SELECT relowner FROM tables)
      THEN EXISTS (SELECT FROM pg_stat_activity s WHERE s.usesysid = r.oid AND s.datname = current_database() AND s.pid <> pg_backend_pid()
                    AND s.backend_type = 'client backend'
                    AND s.application_name !~* '^(tenantmig|psql|pg_dump|pg_restore|pgadmin|dbeaver|datagrip|pg_cron|pgagent)')
      ELSE EXISTS (SELECT FROM tables c WHERE (has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE') OR has_table_privilege(r.oid, c.oid, 'DELETE'))) END
   UNION
   SELECT g.rolname::text FROM pg_roles g
    WHERE NOT g.rolcanlogin AND NOT g.rolsuper AND NOT g.rolbypassrls AND g.oid NOT IN (SELECT relowner FROM tables) AND g.rolname !~ '^pg_'
      AND EXISTS (SELECT FROM pg_roles l WHERE l.rolcanlogin AND NOT l.rolsuper AND NOT l.rolbypassrls AND l.rolname <> current_user
                     AND l.oid NOT IN (SELECT relowner FROM tables)
                     AND pg_has_role(l.oid, g.oid, 'MEMBER') AND NOT pg_has_role(l.oid, g.oid, 'USAGE'))
      AND EXISTS (SELECT FROM tables c WHERE (has_any_column_privilege(g.oid, c.oid, 'SELECT, INSERT, UPDATE') OR has_table_privilege(g.oid, c.oid, 'DELETE')))
    ORDER BY 1";

/// Names are compared and not resolved, which needs no right on their schemas.
const KNOWN: &str = "SELECT coalesce(array_agg(c.oid), '{}') FROM unnest($1, $2) k (schema, name)
   JOIN pg_namespace n ON n.nspname = k.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = k.name";

/// Fills the tenancy, and makes the scope of it, with the tables' numbers. `None`: nobody can tell the tenant column.
pub(super) async fn find(
    session: &Connection,
    tenancy: &mut Tenancy,
    ledger: &str,
) -> Result<Option<(Scope, Places)>, Fault> {
    read_only(session, async |client: &Client| {
        infer(client, tenancy).await?;
        let Some(column) = tenancy.column.as_ref().map(|column| column.as_str().to_owned()) else {
            return Ok(None);
        };
        if tenancy.registry.is_none()
            && let Some(row) = client.query_typed(REGISTRY, &[(&column, Type::TEXT)]).await?.first()
            && let Some(registry) = name(row.try_get(0)?, row.try_get(1)?)
        {
            let votes: i64 = row.try_get(2)?;
            tenancy.told.push(format!("the registry is {registry}: {votes} foreign keys of {column} lead there"));
            tenancy.registry = Some(registry);
        }
        if tenancy.roles.is_empty() {
            roles(client, tenancy, &column, ledger).await?;
        }
        let scope = scope(tenancy);
        let of =
            |part: fn(&QName) -> &Ident| scope.known.iter().map(|n| part(n).as_str().to_owned()).collect::<Vec<_>>();
        let (schemas, names) = (of(|name| &name.schema), of(|name| &name.name));
        let params = [(&schemas as &(dyn ToSql + Sync), Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)];
        let known: Vec<u32> = client.query_typed_one(KNOWN, &params).await?.try_get(0)?;
        let mut tables = Vec::new();
        for row in client.query_typed(TABLES, &[(&column, Type::TEXT), (&ledger, Type::TEXT)]).await? {
            let (protected, oid): (bool, u32) = (row.try_get(2)?, row.try_get(3)?);
            // The registry need not be protected; where it is, it counts like the others.
            let registry =
                name(row.try_get(0)?, row.try_get(1)?).is_some_and(|n| tenancy.registry.as_ref() == Some(&n));
            if !known.contains(&oid) || protected && registry {
                tables.push(oid);
            }
        }
        let places = Places::over(client, &scope, tables, known).await?;
        Ok(Some((scope, places)))
    })
    .await
}

async fn infer(client: &Client, tenancy: &mut Tenancy) -> Result<(), Fault> {
    let mut sources = BTreeMap::new();
    for row in client.query_typed(read::SOURCES, &[]).await? {
        sources.insert(row.try_get(0)?, row.try_get(1)?);
    }
    let mut votes = Votes::default();
    for row in client.query_typed(read::VOTES, &[]).await? {
        let texts: Vec<String> = row.try_get(0)?;
        let policies: i64 = row.try_get(1)?;
        votes.count(&texts, usize::try_from(policies).unwrap_or(0), &sources);
    }
    votes.fill(tenancy);
    if tenancy.column.is_none()
        && let Some(row) = client.query_typed(USUAL, &[]).await?.first()
    {
        let (column, tables): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        tenancy
            .told
            .push(format!("the tenant column is {column}: {tables} tables have it, and no policy says another"));
        tenancy.column = Ident::new(column).ok();
    }
    if tenancy.setting.is_none() && tenancy.function.is_none() {
        tenancy.told.push(format!("no policy reads a setting; what is proposed is written with {SETTING}"));
        tenancy.setting = Some(SETTING.to_owned());
    }
    Ok(())
}

async fn roles(client: &Client, tenancy: &mut Tenancy, column: &str, ledger: &str) -> Result<(), Fault> {
    for row in client.query_typed(ROLES, &[(&column, Type::TEXT), (&ledger, Type::TEXT)]).await? {
        let role = Ident::new(row.try_get::<_, String>(0)?).ok();
        tenancy.roles.extend(role.filter(|role| !tenancy.bypass.contains(role)));
    }
    let names: Vec<String> = tenancy.roles.iter().map(ToString::to_string).collect();
    tenancy.told.push(match names.len() {
        0 => "the application's roles are not known: nobody who logs in has rights on the tables but owners and superusers; \
              name them with --app-role"
            .to_owned(),
        1 => format!(
            "the application's role is {}: it logs in, or is taken after a login, and has rights on the tables",
            names.join(", ")
        ),
        _ => format!(
            "the application's roles are {}: they log in, or are taken after a login, and have rights on the tables",
            names.join(", ")
        ),
    });
    Ok(())
}

fn name(schema: String, table: String) -> Option<QName> {
    Some(QName::new(Ident::new(schema).ok()?, Ident::new(table).ok()?))
}
