//! What this minor version of the server lacks.

use super::rule::{Ground, Look, Rule};
use crate::{
    hazards::{self, Severity},
    sql::Stmt,
};

/// The one whose remedy is more than an upgrade: pools must be emptied as well.
const STALE_PLANS: &str = "CVE-2026-14666";

pub(super) const KINDS: &[Rule] = &[
    Rule {
        code: "TM0508",
        severity: Severity::High,
        title: "prepared statements keep a role's former rights",
        why: "after a role lost BYPASSRLS, SUPERUSER or its membership in an owner, statements that were prepared before still return \
              every row, and row_security_active() says that policies apply",
        fix: "install the newest minor version, and let every pool open its connections anew",
        look: Look::Built(stale_plans),
    },
    Rule {
        code: "TM0509",
        severity: Severity::Medium,
        title: "a server with a known hole in row-level security",
        why: "a fault of this minor version lets rows pass by policies",
        fix: "install the newest minor version",
        look: Look::Built(others),
    },
];

fn stale_plans(ground: &Ground) -> Stmt {
    hazards::faults(&ground.server, |cve| cve == STALE_PLANS)
}

fn others(ground: &Ground) -> Stmt {
    hazards::faults(&ground.server, |cve| cve != STALE_PLANS)
}
