//! Grants privileges on tables, sequences, schemas, functions or databases, or the default ones of what a role will create.
//!
//! Lock: none on any table. `all_tables_in` and `all_sequences_in` mean those that are there at this moment; what comes later has
//! what `default_privileges_in` says. A query by way of a partitioned table needs the privileges of that table alone.
//! Undo: revokes what was not granted before, and nothing else: who had a privilege, from whom and with which grant option, is as
//! it was.

mod items;
mod target;

use serde::Deserialize;

use super::{Object, StepKind};
use crate::{
    plan::{Lowering, Site},
    sql::{Expr, Ident, QName},
    unit::Unit,
};
pub(super) use target::{Of, Privilege, Target, Way, check_target};

/// A step of the kind `grant`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
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
    /// Schemas in which what `by` creates from now on has the privileges; tables, sequences or functions, as `of` says.
    #[serde(default)]
    default_privileges_in: Vec<Ident>,
    of: Option<Of>,
    by: Option<Ident>,
    /// Roles; `public` is every role.
    to: Vec<Ident>,
    #[serde(default)]
    with_grant_option: bool,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind       = "grant"
privileges = ["select", "insert"]
tables     = ["app.trades", "app.orders"]
to         = ["public"]
"#;

impl StepKind for Grant {
    fn default_id(&self) -> String {
        self.target().id("grant", &self.privileges, &self.to)
    }

    fn check(&mut self, site: &mut Site<'_>) {
        check_target(&self.target(), &self.privileges, site);
        if self.to.is_empty() {
            site.error("to", "TM0255", "there is nobody to grant it to");
        }
        if self.with_grant_option && self.to.iter().any(|role| role.as_str() == "public") {
            site.error("with_grant_option", "TM0256", "PostgreSQL grants no option to PUBLIC");
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let target = self.target();
        let way = if self.with_grant_option { Way::GrantWithOption } else { Way::Grant };
        vec![target.unit(cx.unit("grant"), way, &self.privileges, &self.to)]
    }

    fn needs(&self) -> Vec<(&'static str, Object)> {
        self.tables.iter().map(|table| ("tables", Object::Table(table.clone()))).collect()
    }
}

impl Grant {
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
    use super::super::trial::{finds, lower};
    use crate::unit::Op;

    #[track_caller]
    fn check(step: &str, expect: &[&str]) {
        let (units, diags) = lower(&format!("kind = \"grant\"\n{step}"), 150_000);
        let texts: Vec<String> = units
            .iter()
            .flat_map(|unit| if let Op::Tx(stmts) = &unit.up { stmts.clone() } else { Vec::new() })
            .map(|stmt| stmt.to_string())
            .collect();
        assert_eq!(texts, expect, "{diags:?}");
    }

    #[test]
    fn every_form_is_written() {
        check(
            "privileges = [\"select\"]\ntables = [\"app.t\", 'app.\"U\"']\nto = [\"a\", \"public\"]",
            &["GRANT SELECT ON TABLE app.t, app.\"U\" TO a, PUBLIC"],
        );
        check(
            "privileges = [\"usage\", \"create\"]\nschemas = [\"app\"]\nto = [\"a\"]\nwith_grant_option = true",
            &["GRANT USAGE, CREATE ON SCHEMA app TO a WITH GRANT OPTION"],
        );
        check(
            "privileges = [\"execute\"]\nfunctions = [\"app.f(integer, text)\"]\nto = [\"a\"]",
            &["GRANT EXECUTE ON FUNCTION app.f(integer, text) TO a"],
        );
        check(
            "privileges = [\"select\"]\nall_tables_in = [\"app\"]\nto = [\"a\"]",
            &["GRANT SELECT ON ALL TABLES IN SCHEMA app TO a"],
        );
        check(
            "privileges = [\"usage\"]\ndefault_privileges_in = [\"app\"]\nof = \"sequences\"\nby = \"o\"\nto = [\"a\"]",
            &["ALTER DEFAULT PRIVILEGES FOR ROLE o IN SCHEMA app GRANT USAGE ON SEQUENCES TO a"],
        );
    }

    #[test]
    fn what_means_nothing_is_found() {
        let of = |rest: &str| format!("kind = \"grant\"\nto = [\"a\"]\n{rest}");
        finds(super::EXAMPLE, &[]);
        finds(&of("privileges = [\"select\"]"), &["TM0252"]);
        finds(&of("privileges = [\"select\"]\ntables = [\"app.t\"]\nschemas = [\"app\"]"), &["TM0252"]);
        finds(&of("privileges = []\ntables = [\"app.t\"]"), &["TM0253"]);
        finds(&of("privileges = [\"execute\"]\ntables = [\"app.t\"]"), &["TM0253"]);
        finds(&of("privileges = [\"select\"]\ntables = [\"app.t\"]\nby = \"o\""), &["TM0254"]);
        finds("kind = \"grant\"\nto = []\nprivileges = [\"select\"]\ntables = [\"app.t\"]", &["TM0255"]);
    }
}
