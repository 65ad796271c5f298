//! Tables with policies, and what the rules over policies say of them.

use super::{EXPRESSIONS, MEET, Policy, Seen, Table};
use crate::audit::{Look, Rule};

const TENANT: &str =
    "(tenant_id = ( SELECT (NULLIF(current_setting('app.t'::text, true), ''::text))::uuid AS \"nullif\"))";

/// One policy: permissive or not, command, roles, USING, WITH CHECK.
type Short<'a> = (bool, char, &'a [u32], Option<&'a str>, Option<&'a str>);

const PUBLIC: &[u32] = &[0];

fn policy(number: usize, (permissive, command, roles, using, check): &Short<'_>) -> Policy {
    Policy {
        name: format!("p{number}"),
        permissive: *permissive,
        command: *command,
        roles: roles.to_vec(),
        using: using.map(str::to_owned),
        check: check.map(str::to_owned),
        reads: Vec::new(),
        verdicts: [None, None],
        mend: None,
    }
}

/// The codes that are told of a table with these policies, each with the policy's number.
#[track_caller]
fn check(policies: &[Short<'_>], expect: &[&str]) {
    let table = Table {
        oid: 1,
        name: "app.t".to_owned(),
        enabled: true,
        column: Some("tenant_id".to_owned()),
        column_type: Some("uuid".to_owned()),
        not_null: true,
        floor: None,
        policies: policies.iter().enumerate().map(|(number, short)| policy(number, short)).collect(),
    };
    let mut seen = Seen { tables: vec![table], setting: Some("app.t".to_owned()), ..Seen::default() };
    seen.judge();
    let rows = |rule: &Rule| match rule.look {
        Look::Policies(look) => look(&seen),
        Look::Text(_) | Look::Built(_) | Look::AsHazard(_) | Look::Probes(_) | Look::Elsewhere(_) => Vec::new(),
    };
    let told = |rule: &Rule| {
        rows(rule)
            .into_iter()
            .map(|row| format!("{}{}", rule.code, row.0.trim_start_matches("app.t")))
            .collect::<Vec<_>>()
    };
    let found: Vec<String> = MEET.iter().chain(EXPRESSIONS).flat_map(told).collect();
    assert_eq!(found, expect, "{policies:?}");
}

#[test]
fn what_isolates_is_silent() {
    let (all, open) = ((true, '*', PUBLIC, Some(TENANT), Some(TENANT)), (true, '*', PUBLIC, Some("true"), None));
    let floor = (false, '*', PUBLIC, Some(TENANT), Some(TENANT));
    check(&[all], &[]);
    check(&[all, floor], &[]);
    check(&[(true, '*', PUBLIC, Some(TENANT), None)], &[]);
    // What another condition adds to the tenant's takes nothing from it.
    let narrower = format!("({TENANT} AND (id > 5) AND (note IN ( SELECT n.note FROM app.n)))");
    check(&[(true, '*', PUBLIC, Some(&narrower), None)], &[]);
    // The floor holds whatever stands beside it.
    check(&[open, floor], &[]);
    check(&[all, (true, 'w', PUBLIC, Some("true"), Some("true")), floor], &[]);
    check(&[(true, 'r', PUBLIC, Some(TENANT), None), (true, 'a', PUBLIC, None, Some(TENANT))], &[]);
    check(&[all, (true, '*', &[7], Some("false"), None)], &[]);
}

#[test]
fn what_does_not_is_told_once() {
    let all = (true, '*', PUBLIC, Some(TENANT), Some(TENANT));
    let open = (true, '*', PUBLIC, Some("true"), None);
    check(&[open], &["TM0558.p0"]);
    check(&[all, open], &["TM0510.p1"]);
    check(&[all, (true, '*', &[7], Some("(id > 0)"), None)], &["TM0510.p1"]);
    check(&[open, (false, '*', &[7], Some(TENANT), None)], &["TM0511.p1"]);
    // Restrictive for one command only: the others stay open.
    check(&[open, (false, 'r', PUBLIC, Some(TENANT), None)], &["TM0558.p0"]);
    check(&[(true, '*', PUBLIC, Some(TENANT), Some("true"))], &["TM0512.p0"]);
    check(&[(true, 'r', PUBLIC, Some(TENANT), None), (true, 'a', PUBLIC, None, Some("true"))], &["TM0512.p1"]);
    check(&[all, (true, 'd', PUBLIC, Some("true"), None)], &["TM0513.p1"]);
    // A restrictive WITH CHECK alone holds writes, and no reads.
    check(&[open, (false, '*', PUBLIC, None, Some(TENANT))], &["TM0558.p0"]);
    let unset = format!("((current_setting('app.t'::text, true) IS NULL) OR {TENANT})");
    check(&[(true, '*', PUBLIC, Some(&unset), None)], &["TM0514.p0"]);
    check(
        &[(
            true,
            '*',
            PUBLIC,
            Some("(tenant_id = COALESCE((current_setting('app.t'::text, true))::uuid, tenant_id))"),
            None,
        )],
        &["TM0515.p0"],
    );
    // Another column than the tenant's.
    check(&[(true, '*', PUBLIC, Some(&TENANT.replace("tenant_id", "id")), None)], &["TM0558.p0"]);
    check(&[(true, '*', PUBLIC, Some(&TENANT.replace("app.t", "app.x")), None)], &["TM0518.p0"]);
    // The tenant's first characters are those of others as well.
    let cut = "(((tenant_id)::character varying(8))::text = ( SELECT NULLIF(current_setting('app.t'::text, true), ''::text) AS \"nullif\"))";
    check(&[(true, '*', PUBLIC, Some(cut), None)], &["TM0558.p0"]);
}
