//! The privileges on a table that is made.

use serde::Deserialize;

use super::CreateTable;
use crate::{
    plan::Lowering,
    sql,
    sql::{Ident, Literal, Stmt},
    unit::{Down, Growth, Lock, Op, Probe, Unit},
};

/// What a role may do with the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Privilege {
    Select,
    Insert,
    Update,
    Delete,
    References,
    Trigger,
    Truncate,
}

impl Privilege {
    pub fn word(self) -> &'static str {
        match self {
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::References => "REFERENCES",
            Self::Trigger => "TRIGGER",
            Self::Truncate => "TRUNCATE",
        }
    }
}

impl CreateTable {
    pub(super) fn grant_unit(&self, cx: &Lowering<'_>, role: &Ident, privilege: Privilege) -> Unit {
        let (table, word) = (&self.table, Stmt::raw(privilege.word()));
        Unit {
            id: cx.unit(&format!("grant-{}-{}", privilege.word().to_lowercase(), role.as_str())),
            title: format!("grant {word} on {table} to {role}"),
            up: Op::Tx(vec![sql!("GRANT {} ON {} TO {}", word, table, role)]),
            down: Down::tx([sql!("REVOKE {} ON {} FROM {}", word, table, role)]),
            probe: Probe::catalog(sql!(
                "SELECT CASE WHEN EXISTS (SELECT FROM pg_class k, aclexplode(coalesce(k.relacl, acldefault('r', k.relowner))) a
                             WHERE k.oid = to_regclass({}) AND a.privilege_type = {}
                               AND a.grantee = CASE {} WHEN 'public' THEN 0 ELSE (SELECT oid FROM pg_roles WHERE rolname = {}) END) THEN 'present' ELSE 'absent' END, NULL::text, NULL::text[]",
                Literal::new(table.to_string()),
                Literal::new(privilege.word()),
                Literal::new(role.as_str()),
                Literal::new(role.as_str())
            )),
            lock: Lock::none(),
            loses: None,
            guards_rows: false,
            grows: Growth::Little,
        }
    }
}
