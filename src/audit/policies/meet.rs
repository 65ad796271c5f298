//! How the policies of one table work together: permissive ones are joined by OR, and a restrictive one holds only for the
//! commands and roles that it names.

use super::{
    Policy, Seen, Table,
    judge::{COMMANDS, Hole, Side},
};
use crate::{
    audit::rule::{Look, Row, Rule},
    hazards::Severity,
    sql,
    sql::Stmt,
};

pub(in crate::audit) const KINDS: &[Rule] = &[
    Rule {
        code: "TM0510",
        severity: Severity::Critical,
        title: "a second permissive policy opens the first",
        why: "permissive policies are joined by OR: what one of them shows is shown, whatever the tenant's policy says",
        fix: "add the restrictive floor, which no later policy opens, or drop the second policy",
        look: Look::Policies(|seen| opened(seen, Opening::Second)),
    },
    Rule {
        code: "TM0511",
        severity: Severity::High,
        title: "a restrictive policy that does not bind every role",
        why: "beside a permissive policy that shows all, a restrictive one is the only thing that isolates, and roles that it \
              does not name see every tenant's rows",
        fix: "let it be TO PUBLIC",
        look: Look::Policies(partly),
    },
    Rule {
        code: "TM0512",
        severity: Severity::Critical,
        title: "WITH CHECK lets rows into another tenant",
        why: "an INSERT plants rows in another tenant, and an UPDATE without WHERE moves rows there",
        fix: "write the same expression on both sides",
        look: Look::Policies(|seen| opened(seen, Opening::Check)),
    },
    Rule {
        code: "TM0513",
        severity: Severity::Critical,
        title: "one command is not isolated",
        why: "a permissive policy of its own opens one command to every tenant's rows, although the others are isolated",
        fix: "one policy FOR ALL, with the same expression on both sides",
        look: Look::Policies(|seen| opened(seen, Opening::Command)),
    },
    Rule {
        code: "TM0514",
        severity: Severity::Critical,
        title: "a policy that shows all where no tenant is named",
        why: "on a fresh connection the setting is NULL, and the condition that lets that pass lets every tenant's rows pass; \
              on a used one it is '', so tests do not see it",
        fix: "compare with the context alone: without one no row is shown",
        look: Look::Policies(|seen| opened(seen, Opening::Unset)),
    },
    Rule {
        code: "TM0515",
        severity: Severity::Critical,
        title: "a policy that falls back to the row's own tenant",
        why: "COALESCE(context, column) is the column itself where there is no context, so every row passes",
        fix: "compare with the context alone: without one no row is shown",
        look: Look::Policies(|seen| opened(seen, Opening::Coalesced)),
    },
    Rule {
        code: "TM0558",
        severity: Severity::Critical,
        title: "a policy of no form that is known to isolate",
        why: "its expression does not compare the row's tenant with the session's, and nothing else on the table does for what it \
              shows; a form that nobody can judge is told rather than passed over",
        fix: "use the canonical expression, add the restrictive floor beside it, or waive this with the reason why it isolates",
        look: Look::Policies(|seen| opened(seen, Opening::Unknown)),
    },
];

/// Which class an open policy is told as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    Second,
    Check,
    Command,
    Unset,
    Coalesced,
    Unknown,
}

/// Whether what `policy` shows for this command is held by a restrictive policy that isolates.
fn floored(table: &Table, policy: &Policy, command: char, side: Side, everybody: bool) -> bool {
    table.policies.iter().filter(|other| !other.permissive && other.is_for(command)).any(|other| {
        let isolates = other.verdict(side).is_some_and(|verdict| verdict.hole.is_none());
        isolates && (!everybody || other.reaches(policy))
    })
}

/// The holes of a permissive policy that nothing closes: the commands and sides.
fn holes(table: &Table, policy: &Policy) -> Vec<(char, Side, Hole)> {
    let mut out = Vec::new();
    for (command, sides) in COMMANDS.iter().filter(|(command, _)| policy.is_for(*command)) {
        for side in *sides {
            let hole = policy.verdict(*side).and_then(|verdict| verdict.hole);
            // A floor that is only not for all roles is a finding of its own, and closes this one when it is mended.
            if let Some(hole) = hole.filter(|_| !floored(table, policy, *command, *side, false)) {
                out.push((*command, *side, hole));
            }
        }
    }
    out
}

fn opened(seen: &Seen, class: Opening) -> Vec<Row> {
    let mut rows = Vec::new();
    for table in seen.tables.iter().filter(|table| table.enabled) {
        for policy in table.policies.iter().filter(|policy| policy.permissive) {
            let holes = holes(table, policy);
            let Some(opening) = opening(table, policy, &holes).filter(|opening| *opening == class) else {
                continue;
            };
            let mut commands: Vec<&str> = holes.iter().map(|(command, _, _)| word(*command)).collect();
            commands.dedup();
            let mend = match opening {
                Opening::Second => table.floor.clone(),
                Opening::Check | Opening::Command | Opening::Unset | Opening::Coalesced | Opening::Unknown => {
                    policy.mend.clone()
                }
            };
            let what = format!("{} for {}", said(opening), commands.join(", "));
            rows.push((table.object(policy), what, Some(policy.text()), mend));
        }
    }
    rows
}

fn opening(table: &Table, policy: &Policy, holes: &[(char, Side, Hole)]) -> Option<Opening> {
    let worst = holes.iter().map(|(_, _, hole)| *hole).min()?;
    Some(match worst {
        Hole::Unset => Opening::Unset,
        Hole::Coalesced => Opening::Coalesced,
        Hole::Open if policy.command == 'a' || holes.iter().all(|(_, side, _)| *side == Side::Check) => Opening::Check,
        Hole::Open if policy.command != '*' => Opening::Command,
        Hole::Open => {
            let isolates = |other: &Policy| other.verdict(Side::Using).is_some_and(|verdict| verdict.hole.is_none());
            let beside = |other: &&Policy| other.permissive && other.name != policy.name && other.meets(policy);
            let second = table.policies.iter().filter(beside).any(isolates);
            if second { Opening::Second } else { Opening::Unknown }
        }
    })
}

fn said(opening: Opening) -> &'static str {
    match opening {
        Opening::Second => "shows every tenant's rows beside the policy that isolates,",
        Opening::Check => "takes rows of every tenant",
        Opening::Command => "does not isolate tenants",
        Opening::Unset => "shows every tenant's rows to a session without a tenant,",
        Opening::Coalesced => "compares the row with itself where there is no tenant,",
        Opening::Unknown => "is not known to isolate tenants",
    }
}

fn word(command: char) -> &'static str {
    match command {
        'r' => "SELECT",
        'a' => "INSERT",
        'w' => "UPDATE",
        _ => "DELETE",
    }
}

/// Restrictive policies that isolate, beside a permissive one that does not and that speaks for more roles.
fn partly(seen: &Seen) -> Vec<Row> {
    let mut rows = Vec::new();
    for table in seen.tables.iter().filter(|table| table.enabled) {
        for floor in table.policies.iter().filter(|policy| !policy.permissive && !policy.is_for_all_roles()) {
            let opens = |policy: &&Policy| {
                policy.permissive
                    && !floor.reaches(policy)
                    && COMMANDS.iter().filter(|(command, _)| policy.is_for(*command) && floor.is_for(*command)).any(
                        |(command, sides)| {
                            sides.iter().any(|side| {
                                let open = policy.verdict(*side).is_some_and(|v| v.hole.is_some());
                                let closes = floor.verdict(*side).is_some_and(|v| v.hole.is_none());
                                open && closes && !floored(table, policy, *command, *side, true)
                            })
                        },
                    )
            };
            if let Some(open) = table.policies.iter().find(opens) {
                let what = format!("isolates only some of the roles to which {} shows every row", open.name);
                // The server wrote both names.
                let (policy, name) = (Stmt::raw(floor.name.as_str()), Stmt::raw(table.name.as_str()));
                let mend = sql!("ALTER POLICY {} ON {} TO PUBLIC", policy, name).to_string();
                rows.push((table.object(floor), what, Some(open.text()), Some(mend)));
            }
        }
    }
    rows
}
