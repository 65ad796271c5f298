//! Puts a table and everything below it (partitions, children) under row-level security, in one transaction. That is the
//! canonical policy (the tenant column equals the session's tenant, for reading and writing), the same again as a RESTRICTIVE
//! floor that no later policy can open, ENABLE, and FORCE for the owner. `floor = false` and `force = false` leave those out;
//! so does `[tenancy]` with `force = false`. `extra` is a condition that a row must fulfil besides, for reading and for writing;
//! it stands in both policies. A query that names a partition is bound by the partition's own policies only.
//!
//! Lock: ACCESS EXCLUSIVE on the table and everything below it for a moment, parent first; the catalogue changes, no row is
//! read. All of them together are waited for no longer than `lock_timeout`. What the application reads in that moment waits, and
//! no session ever finds a table without its policy, or a policy without its table's flag. A policy of the same name with
//! another text stops the run; with `replace = true` it gives way. Other policies stay, but that of `shadow_rls` goes in the same
//! transaction. A foreign table below it cannot be
//! protected: it stops the run while anybody but its owner may use it. A partition that is made later has no protection of its
//! own: the gate `unprotected`, which this step brings, names it.
//! Undo: takes the flags and both policies from all of them in one transaction, and brings back what stood on each before. From
//! then on every role with a grant sees every tenant's rows: once its phase is over, a rollback that meets rows of more than one
//! tenant asks for --accept-exposure. A partition that was detached meanwhile keeps its protection.

use serde::Deserialize;

use super::{Object, StepKind, create_policy::with_tenant};
use crate::{
    checks::{CheckKind, Gate, Guard, isolation, unprotected::Unprotected},
    isolation::Spec,
    plan::{Deals, Lowering, Site, Tenancy},
    sql,
    sql::{Expr, Ident, QName, Stmt},
    unit::Unit,
};

mod exposure;
pub mod family;

pub(super) use exposure::guard;
use family::{ALL_BELOW, Family, Policy, Shadow};

/// A step of the kind `enforce_rls`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnforceRls {
    table: QName,
    /// The tenant column; that of [tenancy] where it is left out.
    column: Option<Ident>,
    /// The policy's name: `tenant_isolation`.
    name: Option<Ident>,
    /// The floor's name, or `false` for none: `tenant_floor`.
    #[serde(default)]
    floor: Floor,
    /// Whether the owner is bound too; what [tenancy] says where it is left out.
    force: Option<bool>,
    /// A condition beyond the tenant, over the row's columns; `{tenant}` stands for the context.
    extra: Option<Expr>,
    /// A policy of one of the names with another text gives way, and comes back with the undo.
    #[serde(default)]
    replace: bool,
}

/// `false`, `true`, or a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Floor {
    None,
    #[default]
    Usual,
    Named(Ident),
}

impl<'de> Deserialize<'de> for Floor {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Floor;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("true, false, or the name of the restrictive policy")
            }
            fn visit_bool<E: serde::de::Error>(self, floor: bool) -> Result<Floor, E> {
                Ok(if floor { Floor::Usual } else { Floor::None })
            }
            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Floor, E> {
                Ident::parse(name).map(Floor::Named).map_err(E::custom)
            }
        }
        from.deserialize_any(Visitor)
    }
}

const POLICY: &str = "tenant_isolation";
const FLOOR: &str = "tenant_floor";

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind  = "enforce_rls"
table = "app.trades"
"#;

impl StepKind for EnforceRls {
    fn default_id(&self) -> String {
        format!("{}-enforce-rls", self.table.name.as_str())
    }

    fn check(&mut self, site: &mut Site<'_>) {
        if self.name.is_none() {
            self.name = named(site, "name", POLICY);
        }
        if self.floor == Floor::Usual {
            self.floor = named(site, "floor", FLOOR).map_or(Floor::None, Floor::Named);
        }
        if let (Some(name), Floor::Named(floor)) = (&self.name, &self.floor)
            && name == floor
        {
            site.error("floor", "TM0350", "the policy and its floor have one name")
                .help("leave `floor` out, or give it another name");
        }
        match site.tenancy() {
            Some(tenancy) => {
                let column = self.column.get_or_insert_with(|| tenancy.column.clone());
                if let Some(extra) = &mut self.extra {
                    match Expr::parse(&with_tenant(extra.as_str(), &tenancy.context())) {
                        Ok(full) => *extra = full,
                        Err(why) => {
                            site.error("extra", "TM0351", why);
                        }
                    }
                }
                let text = expression(column, tenancy, self.extra.as_ref());
                if let Err(why) = Expr::parse(text.as_str()) {
                    site.error("table", "TM0351", why);
                }
            }
            None if site.lacks_tenancy() => site
                .error("table", "TM0351", "the plan has no [tenancy], which says who the session's tenant is")
                .help("write [tenancy] with registry, column and setting"),
            None => {}
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let Some(family) = self.family(cx) else { return Vec::new() };
        let table = &self.table;
        let names: Vec<&str> = family.policies.iter().map(|policy| policy.name.as_str()).collect();
        let title = format!(
            "protect {table} {ALL_BELOW} by row-level security: {}{}",
            names.join(" and "),
            if family.force { ", forced on the owner" } else { ", not on the owner" }
        );
        vec![family.unit(cx.unit("enforce"), title)]
    }

    fn gates(&self, cx: &Lowering<'_>) -> Vec<Gate> {
        let Some(family) = self.family(cx) else { return Vec::new() };
        let policies = family.policies.into_iter().map(|policy| policy.name).collect();
        let mut gates =
            vec![Unprotected { tables: vec![self.table.clone()], policies, force: Some(family.force) }.lower()];
        if let (Some(tenancy), Some(column)) = (cx.tenancy, &self.column)
            && !tenancy.roles.is_empty()
        {
            let spec = Spec { force: family.force, extra: self.extra.is_some(), ..tenancy.isolation_of(&self.table) };
            gates.push(isolation::gate(Spec { column: column.clone(), ..spec }));
        }
        gates
    }

    fn guards(&self, cx: &Lowering<'_>) -> Vec<Guard> {
        guard(cx, "enforce", &self.table, self.column.as_ref(), "everybody with a grant on it")
    }

    fn deals(&self) -> Option<Deals> {
        Some(Deals::Family { table: self.table.clone() })
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        let mut needs = vec![("table", Object::Table(self.table.clone()))];
        needs.extend(self.column.iter().map(|c| ("column", Object::Column(self.table.clone(), c.clone()))));
        needs
    }
}

/// A default name, which is an identifier.
fn named(site: &mut Site<'_>, key: &str, name: &str) -> Option<Ident> {
    Ident::parse(name).map_err(|why| site.error(key, "TM0103", why.to_string()).help("write another name")).ok()
}

/// What a row must fulfil to be seen and written.
fn expression(column: &Ident, tenancy: &Tenancy, extra: Option<&Expr>) -> Stmt {
    let of_the_tenant = sql!("{} = {}", column, tenancy.context());
    match extra {
        Some(extra) => sql!("{} AND ({})", of_the_tenant, extra),
        None => of_the_tenant,
    }
}

impl EnforceRls {
    /// `None`: the plan has an error, which `check` has told.
    fn family(&self, cx: &Lowering<'_>) -> Option<Family<'_>> {
        let (tenancy, column, name) = (cx.tenancy?, self.column.as_ref()?, self.name.as_ref()?);
        let row = expression(column, tenancy, self.extra.as_ref());
        let policy = |name: &Ident, kind: &str| Policy {
            name: name.clone(),
            rest: sql!("AS {0} FOR ALL TO PUBLIC USING ({1}) WITH CHECK ({1})", Stmt::raw(kind), row),
        };
        let mut policies = vec![policy(name, "PERMISSIVE")];
        match &self.floor {
            Floor::Named(floor) => policies.push(policy(floor, "RESTRICTIVE")),
            Floor::None | Floor::Usual => {}
        }
        Some(Family {
            table: &self.table,
            policies,
            enable: true,
            force: self.force.unwrap_or(tenancy.force),
            replace: self.replace,
            roles: tenancy.roles.clone(),
            shadow: Shadow::Ends,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::parse;

    const TENANCY: &str = "[tenancy]\ncolumn = 'tenant_id'\nsetting = 'app.tenant_id'\n\
                           registry = { table = 'app.tenants', key = 'id', type = 'uuid' }\n";

    #[track_caller]
    fn check(tenancy: &str, keys: &str, expect: &[&str]) {
        let plan = format!(
            "format = 1\nname = 'p'\n{tenancy}[[phase]]\nid = 'a'\n[[phase.step]]\nkind = 'enforce_rls'\ntable = 'app.t'\n{keys}"
        );
        let (_, diags) = parse(&plan, &|_| Err(String::new()));
        assert_eq!(diags.0.iter().map(|d| d.code).collect::<Vec<_>>(), expect, "{keys}");
    }

    #[test]
    fn what_cannot_be_meant_is_found() {
        check(TENANCY, "", &[]);
        check(TENANCY, "floor = false\nforce = false\nname = 'mine'\ncolumn = '\"Org\"'", &[]);
        check(TENANCY, "extra = 'deleted_at IS NULL OR owner = {tenant}'", &[]);
        check(TENANCY, "extra = 'a) OR (b'", &["TM0103"]);
        check(TENANCY, "floor = 'mine'\nname = 'mine'", &["TM0350"]);
        check(TENANCY, "floor = 5", &["TM0103"]);
        check("", "", &["TM0351"]);
        check("", "column = 'org'", &["TM0351"]);
        check("[tenancy]\ncolumn = 5\n", "", &["TM0103", "TM0104", "TM0104"]);
    }
}
