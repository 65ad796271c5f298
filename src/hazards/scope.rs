//! What hazards are looked for over: the tables, roles and names of a tenancy. A plan gives them; so may anybody else.

use crate::{
    plan::{Deals, Millis, Tenancy},
    sql::{Ident, QName, TypeName},
};

/// Everything that the queries are told. What is empty or missing is not asked about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// The tables whose rows get a tenant. Their partitions and children count with them.
    pub tables: Vec<QName>,
    /// Those that a backfill writes.
    pub written: Vec<QName>,
    /// Those that rows are moved out of.
    pub moved: Vec<QName>,
    /// Tables that are known to belong to no tenant, the registry among them.
    pub known: Vec<QName>,
    /// The application's roles. Those that exist; where none does, the survey looks who may write the tables.
    pub roles: Vec<Ident>,
    pub column: Option<Ident>,
    pub column_type: Option<TypeName>,
    /// The setting that carries the tenant: `app.tenant_id`.
    pub setting: Option<String>,
    /// The function that returns the session's tenant.
    pub function: Option<QName>,
    pub ways: Vec<Way>,
    /// What the plan deals with by itself, which is no hazard then.
    pub deals: Vec<Deals>,
    /// A transaction that is open for so long is told; five minutes where nothing is said.
    pub old_after: Option<Millis>,
}

/// The columns of a table by which a row finds its tenant's row in another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    pub table: QName,
    pub columns: Vec<Ident>,
}

impl Scope {
    /// What a plan's [tenancy] says; the tables are still to be named.
    pub fn of_tenancy(tenancy: &Tenancy) -> Self {
        Self {
            known: vec![tenancy.registry.table.clone()],
            roles: tenancy.roles.clone(),
            column: Some(tenancy.column.clone()),
            column_type: Some(tenancy.registry.r#type.clone()),
            setting: Some(tenancy.setting.clone()),
            function: tenancy.function.clone(),
            ..Self::default()
        }
    }
}
