//! Asked as the application, in every context, the table keeps its tenants apart: `verify`'s probes P0 to P12, as each of its roles.
//!
//! By SET ROLE, which the migrating role must be able to (a membership; on 16 and later one with SET), or by the application's
//! own connection string, TENANTMIG_APP_URL. Each probe is rolled back and bounded in time; what writes tries one row, or a copy of
//! the policies. A probe that cannot be asked is no pass. What is weak, or was tried on the copy only, is told and holds
//! nothing up. `enforce_rls` brings it along where [tenancy] names roles, so that a leak takes the enforcing back.

use serde::Deserialize;

use super::{CheckKind, Gate, Measure};
use crate::{
    isolation::Spec,
    plan::{OnUnset, Site},
    sql,
    sql::{Ident, Literal, QName},
};

/// A check of the kind `isolation`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Isolation {
    pub table: QName,
    /// The tenant column; that of [tenancy] where it is left out.
    pub column: Option<Ident>,
    /// The application's roles; those of [tenancy] where they are left out.
    #[serde(default)]
    pub roles: Vec<Ident>,
    /// Whether the owner must be bound too; what [tenancy] says where it is left out.
    pub force: Option<bool>,
    /// Whether the fallback of [tenancy] must have ended.
    #[serde(default)]
    pub strict: bool,
    #[serde(skip)]
    spec: Option<Spec>,
}

pub const EXAMPLE: &str = r#"
[[phase.gate]]
kind  = "isolation"
table = "app.trades"
roles = ["app_rw"]
"#;

impl CheckKind for Isolation {
    fn check(&mut self, site: &mut Site<'_>) {
        let Some(tenancy) = site.tenancy() else {
            if site.lacks_tenancy() {
                site.error("table", "TM0360", "the plan has no [tenancy], which says who the session's tenant is")
                    .help("write [tenancy] with registry, column, setting and roles");
            }
            return;
        };
        let mut spec = tenancy.isolation_of(&self.table);
        spec.column = self.column.clone().unwrap_or(spec.column);
        spec.force = self.force.unwrap_or(spec.force);
        if self.strict {
            spec.fallback = None;
            spec.strict = tenancy.on_unset == OnUnset::Error;
        }
        if !self.roles.is_empty() {
            spec.roles.clone_from(&self.roles);
        }
        if spec.roles.is_empty() {
            site.error("table", "TM0361", "nobody is named as whom the table is asked")
                .help("write roles = [\"…\"] in [tenancy] or here: the roles as which the application works");
        }
        self.spec = Some(spec);
    }

    fn lower(&self) -> Gate {
        match &self.spec {
            Some(spec) => gate(spec.clone()),
            // Not checked, which a plan that is lowered was.
            None => Gate {
                id: format!("isolation:{}", self.table),
                kind: "isolation".to_owned(),
                title: "nothing".to_owned(),
                query: sql!("SELECT 'not checked', 1::bigint, NULL::text"),
                baseline: None,
                tables: Vec::new(),
                wait: None,
                measure: Measure::Query,
            },
        }
    }
}

/// The gate that asks this.
pub fn gate(spec: Spec) -> Gate {
    let roles: Vec<String> = spec.roles.iter().map(Ident::to_string).collect();
    let table = Literal::new(spec.table.to_string());
    Gate {
        id: format!("isolation:{}", spec.table),
        kind: "isolation".to_owned(),
        title: format!("{} keeps its tenants apart, asked as {}", spec.table, roles.join(", ")),
        // What the catalogue alone can tell.
        query: sql!(
            "SELECT format('row-level security is off on %s', c.oid::regclass), 1::bigint, NULL::text FROM pg_class c
              WHERE c.oid = {}::regclass AND NOT c.relrowsecurity",
            table
        ),
        baseline: None,
        // Policies hide rows from the application and from nobody who measures.
        tables: Vec::new(),
        wait: None,
        measure: Measure::Isolation(Box::new(spec)),
    }
}
