//! Creates a role of the application, one that sees all tenants' rows (`bypass`), or one that only reads.
//!
//! None of them is a superuser or may create roles or databases; only `bypass` has BYPASSRLS (the server asks a superuser for
//! that, from 16 on one who has it). `read_only` begins its transactions READ ONLY, a net and not a wall: what it may do, it is
//! granted. A role cannot log in unless `login = true`, and has no password: that is no matter for a plan. Set it by `\password
//! NAME` in psql, or let it log in by a certificate. Roles belong to the whole server: one of that name with the same
//! attributes is adopted, one with others stops the run.
//! Lock: none on any table.
//! Undo: drops the role, unless it was there before. What it owns, here or in another database, refuses a rollback before
//! anything is touched; privileges that somebody else gave it make the drop fail, and the server names them.

use serde::Deserialize;

use super::StepKind;
use crate::{
    checks::{Gate, Guard, Measure},
    plan::{Lowering, Site},
    sql,
    sql::{Ident, Literal, Stmt},
    unit::{Down, Growth, Lock, Op, Probe, Unit},
};

/// A step of the kind `create_role`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRole {
    name: Ident,
    purpose: Purpose,
    #[serde(default)]
    login: bool,
}

/// What the role is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Purpose {
    Application,
    Bypass,
    ReadOnly,
}

pub const EXAMPLE: &str = r#"
[[phase.step]]
kind    = "create_role"
name    = "app_rw"
purpose = "application"
"#;

impl StepKind for CreateRole {
    fn default_id(&self) -> String {
        self.name.as_str().to_owned()
    }

    fn check(&mut self, site: &mut Site<'_>) {
        let name = self.name.as_str();
        if name == "public" || name == "none" || name.starts_with("pg_") {
            site.error("name", "TM0250", format!("PostgreSQL keeps the name `{name}` for itself"));
        }
        if self.login {
            site.warning("login", "TM0251", format!("`{name}` may log in and has no password: a plan keeps no secret"))
                .help("after the apply, set one by `\\password` in psql, or let the role log in by a certificate (pg_hba.conf)");
        }
    }

    fn lower(&self, cx: &Lowering<'_>) -> Vec<Unit> {
        let name = &self.name;
        let bypass = Stmt::raw(if self.purpose == Purpose::Bypass { "BYPASSRLS" } else { "NOBYPASSRLS" });
        let login = Stmt::raw(if self.login { "LOGIN" } else { "NOLOGIN" });
        let mut up = vec![sql!(
            "CREATE ROLE {} NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION INHERIT {} {}",
            name,
            bypass,
            login
        )];
        if self.purpose == Purpose::ReadOnly {
            up.push(sql!("ALTER ROLE {} SET default_transaction_read_only = on", name));
        }
        vec![Unit {
            id: cx.unit("role"),
            title: format!("create role {name}, {}", self.words()),
            up: Op::Tx(up),
            down: Down::tx([sql!("DROP ROLE IF EXISTS {}", name)]),
            probe: self.probe(),
            lock: Lock::none(),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }]
    }

    /// What the plan itself granted goes before the role, and is no finding.
    fn guards(&self, cx: &Lowering<'_>) -> Vec<Guard> {
        let name = &self.name;
        let query = sql!(
            "SELECT {} AS what, count(*) AS found,
                    min(CASE WHEN d.dbid = b.oid THEN pg_describe_object(d.classid, d.objid, d.objsubid)
                             ELSE format('in the database %I', o.datname) END) AS example
               FROM pg_shdepend d JOIN pg_roles r ON d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid
               JOIN pg_database b ON b.datname = current_database() LEFT JOIN pg_database o ON o.oid = d.dbid
              WHERE r.rolname = {} AND (d.deptype = 'o' OR d.dbid NOT IN (0, b.oid)) HAVING count(*) > 0",
            Literal::new(format!("objects that the role {name} owns, or privileges in other databases")),
            Literal::new(name.as_str())
        );
        let gate = Gate {
            id: format!("owned:{name}"),
            kind: "owned".to_owned(),
            title: format!("the role {name} owns nothing"),
            query,
            baseline: None,
            tables: Vec::new(),
            wait: None,
            measure: Measure::Query,
        };
        vec![Guard { gate, of: Some(cx.unit("role")), consent: None }]
    }
}

impl CreateRole {
    fn words(&self) -> &'static str {
        match self.purpose {
            Purpose::Application => "bound by row-level security",
            Purpose::Bypass => "which sees the rows of all tenants",
            Purpose::ReadOnly => "which only reads",
        }
    }

    fn probe(&self) -> Probe {
        let flag = |on: bool| Stmt::raw(if on { "true" } else { "false" });
        Probe::catalog(sql!(
            "SELECT CASE WHEN r.oid IS NULL THEN 'absent'
                         WHEN (r.rolsuper, r.rolcreatedb, r.rolcreaterole, r.rolreplication, r.rolinherit, r.rolbypassrls, r.rolcanlogin, c.reads)
                              = (false, false, false, false, true, {}, {}, {}) THEN 'present' ELSE 'conflict' END,
                    concat_ws(' ', 'role ' || quote_ident(r.rolname), CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
                              CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END,
                              CASE WHEN r.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END, CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END,
                              CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, CASE WHEN c.reads THEN 'with transactions that only read' END),
                    NULL::text[]
               FROM (SELECT 1) one LEFT JOIN pg_roles r ON r.rolname = {}
              CROSS JOIN LATERAL (SELECT coalesce('default_transaction_read_only=on' = ANY (r.rolconfig), false) AS reads) c",
            flag(self.purpose == Purpose::Bypass),
            flag(self.login),
            flag(self.purpose == Purpose::ReadOnly),
            Literal::new(self.name.as_str())
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::finds;

    #[test]
    fn a_role_has_a_name_of_its_own_and_no_secret() {
        finds(super::EXAMPLE, &[]);
        finds(&super::EXAMPLE.replace("app_rw", "pg_mine"), &["TM0250"]);
        finds(&format!("{}\nlogin = true", super::EXAMPLE.trim()), &["TM0251"]);
        finds(&format!("{}\npassword = \"x\"", super::EXAMPLE.trim()), &["TM0102"]);
    }
}
