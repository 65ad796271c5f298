//! Puts a table and everything below it under row-level security that hides nothing, and notes what enforcement would change:
//! ENABLE, not FORCE, with one permissive policy `tenant_shadow`. Each row is compared with the session's tenant as `enforce_rls`
//! does; for the first one of a query that would be lost, or refused, the function of `log` (step `shadow_log`) notes the statement.
//!
//! Lock: ACCESS EXCLUSIVE on the table and everything below it for a moment, parent first; the catalogue changes, no row is read.
//! Nothing is hidden and nothing refused: the tenant is read from the setting itself, and what is no tenant there raises nothing.
//! What it costs is what enforcement will cost, and more: the policy is asked of each row before any operator that is not
//! leakproof, which so loses its index, and it offers no index of its own; and a query of such a table is not run in parallel,
//! since a note is a write. The context is computed once a query. A row counts as lost where the scan meets it, so a session
//! with a tenant that joins or filters other tenants' rows away is noted too, as `other`. COPY FROM is refused on such a table to
//! everybody but the owner and who bypasses, as it will be. Not noted is who is not bound: the owner, its views and its functions,
//! who bypasses. Where the table has row-level security already, or a restrictive policy, the step stops.
//! Undo: the flag and the policy go in one transaction. `enforce_rls` takes the policy away in its own, and its undo brings it back.

use serde::Deserialize;

use super::{
    Object, StepKind,
    create_policy::with_tenant,
    enforce_rls::family::{ALL_BELOW, Family, Policy, SHADOW, Shadow},
    shadow_log,
};
use crate::{
    plan::{Deals, Lowering, Site, Tenancy},
    sql,
    sql::{Expr, Ident, Literal, QName, Stmt},
    unit::Unit,
};

/// A step of the kind `shadow_rls`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowRls {
    table: QName,
    /// The table of a step `shadow_log`; `tenantmig_shadow` beside the registry where it is left out.
    log: Option<QName>,
    /// The tenant column; that of [tenancy] where it is left out.
    column: Option<Ident>,
    /// As in `enforce_rls`. An error in it is one here already.
    extra: Option<Expr>,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind  = "shadow_rls"
table = "app.trades"
log   = "app.shadow"
"#;

impl StepKind for ShadowRls {
    fn default_id(&self) -> String {
        format!("{}-shadow-rls", self.table.name.as_str())
    }

    fn check(&mut self, site: &mut Site<'_>) {
        let Some(tenancy) = site.tenancy() else {
            if site.lacks_tenancy() {
                site.error("table", "TM0357", "the plan has no [tenancy], which says who the session's tenant is")
                    .help("write [tenancy] with registry, column and setting");
            }
            return;
        };
        let log = self.log.get_or_insert_with(|| tenancy.shadow_log()).clone();
        self.column.get_or_insert_with(|| tenancy.column.clone());
        if let Some(extra) = &mut self.extra {
            match Expr::parse(&with_tenant(extra.as_str(), &context(&log, tenancy))) {
                Ok(full) => *extra = full,
                Err(why) => {
                    site.error("extra", "TM0357", why);
                }
            }
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let Some(family) = self.family(cx) else { return Vec::new() };
        let title = format!("note what row-level security would change on {} {ALL_BELOW}: {SHADOW}", self.table);
        vec![family.unit(cx.unit("shadow"), title)]
    }

    fn deals(&self) -> Option<Deals> {
        Some(Deals::Family { table: self.table.clone() })
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        let mut needs = vec![("table", Object::Table(self.table.clone()))];
        needs.extend(self.log.iter().map(|log| ("log", Object::Table(log.clone()))));
        needs.extend(self.column.iter().map(|c| ("column", Object::Column(self.table.clone(), c.clone()))));
        needs
    }
}

/// The session's tenant, or NULL: never an error. Not the context function, which may refuse a session without a tenant.
fn context(log: &QName, tenancy: &Tenancy) -> Stmt {
    sql!(
        "(SELECT {}({}, NULL::{}, {}))",
        shadow_log::tenant(log),
        Literal::new(tenancy.setting.clone()),
        tenancy.registry.r#type,
        tenancy.fallback.as_ref().map_or(Stmt::raw("NULL"), |key| sql!("{}", key))
    )
}

impl ShadowRls {
    /// `None`: the plan has an error, which `check` has told.
    fn family(&self, cx: &Lowering<'_>) -> Option<Family<'_>> {
        let (tenancy, column, log) = (cx.tenancy?, self.column.as_ref()?, self.log.as_ref()?);
        let context = context(log, tenancy);
        let own = match &self.extra {
            Some(extra) => sql!("{} = {} AND ({})", column, context, extra),
            None => sql!("{} = {}", column, context),
        };
        // A subquery of its own: the server computes it when a row asks for it, and then once a query.
        let side = |command: &str| {
            sql!(
                "{} OR (SELECT {}({}, {}, {}, {} IS NOT NULL))",
                own,
                shadow_log::note(log),
                Literal::new(self.table.to_string()),
                Literal::new(command),
                Literal::new(tenancy.setting.clone()),
                context
            )
        };
        let rest = sql!("AS PERMISSIVE FOR ALL TO PUBLIC USING ({}) WITH CHECK ({})", side("read"), side("write"));
        Some(Family {
            table: &self.table,
            policies: vec![Policy { name: Ident::parse(SHADOW).ok()?, rest }],
            enable: true,
            force: false,
            replace: false,
            roles: Vec::new(),
            shadow: Shadow::Is,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::finds;

    #[test]
    fn there_is_no_shadow_without_tenants() {
        finds(super::EXAMPLE, &["TM0357"]);
    }
}
