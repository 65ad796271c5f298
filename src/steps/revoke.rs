//! Revokes privileges on tables, sequences, schemas, functions or databases, or the default ones of what a role will create.
//!
//! Lock: none on any table; statements that are under way go on. What another role granted is not this one's to revoke, and
//! stops the run with that role's name; what was granted on to others does likewise, for nothing is revoked by CASCADE.
//! Undo: grants again what was revoked, and nothing else, with the grant options that were there.

use serde::Deserialize;

use super::{
    Object, StepKind,
    grant::{Privilege, Target, Way, check_target},
};
use crate::{
    plan::{Lowering, Site},
    sql::{Expr, Ident, QName},
    unit::Unit,
};

/// A step of the kind `revoke`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    privileges: Vec<Privilege>,
    #[serde(default)]
    tables: Vec<QName>,
    #[serde(default)]
    all_tables_in: Vec<Ident>,
    #[serde(default)]
    sequences: Vec<QName>,
    #[serde(default)]
    all_sequences_in: Vec<Ident>,
    #[serde(default)]
    schemas: Vec<Ident>,
    /// With their argument types: `app.current_tenant()`.
    #[serde(default)]
    functions: Vec<Expr>,
    #[serde(default)]
    databases: Vec<Ident>,
    /// Schemas in which what `by` creates from now on has the privileges no more; as `of` says.
    #[serde(default)]
    default_privileges_in: Vec<Ident>,
    of: Option<super::grant::Of>,
    by: Option<Ident>,
    /// Roles; `public` is every role, and takes nothing from a role that has it by itself.
    from: Vec<Ident>,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind       = "revoke"
privileges = ["truncate", "references"]
tables     = ["app.members"]
from       = ["public"]
"#;

impl StepKind for Revoke {
    fn default_id(&self) -> String {
        self.target().id("revoke", &self.privileges, &self.from)
    }

    fn check(&mut self, site: &mut Site<'_>) {
        check_target(&self.target(), &self.privileges, site);
        if self.from.is_empty() {
            site.error("from", "TM0255", "there is nobody to revoke it from");
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        vec![self.target().unit(cx.unit("revoke"), Way::Revoke, &self.privileges, &self.from)]
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        self.tables.iter().map(|table| ("tables", Object::Table(table.clone()))).collect()
    }
}

impl Revoke {
    fn target(&self) -> Target<'_> {
        Target {
            tables: &self.tables,
            all_tables_in: &self.all_tables_in,
            sequences: &self.sequences,
            all_sequences_in: &self.all_sequences_in,
            schemas: &self.schemas,
            functions: &self.functions,
            databases: &self.databases,
            default_privileges_in: &self.default_privileges_in,
            of: self.of,
            by: self.by.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::finds;

    #[test]
    fn what_means_nothing_is_found() {
        finds(super::EXAMPLE, &[]);
        finds(&super::EXAMPLE.replace("truncate", "usage"), &["TM0253"]);
        finds(&super::EXAMPLE.replace("[\"public\"]", "[]"), &["TM0255"]);
    }
}
