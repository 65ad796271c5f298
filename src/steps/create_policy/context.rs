//! How a policy reads the session's tenant: the mistakes that let nobody in, or raise an error, in sessions that look alike.

use crate::{
    plan::Site,
    sql::{Expr, mask},
};

const CANONICAL: &str = "(SELECT NULLIF(current_setting('app.tenant_id', true), '')::uuid)";

/// A setting is NULL before its first use and '' ever after in that session, and `''::uuid` raises 22P02.
pub(super) fn check_context(key: &str, expr: &Expr, site: &mut Site<'_>) {
    let masked = mask(expr.as_str()).to_ascii_lowercase();
    for (at, call) in masked.match_indices("current_setting") {
        let before = masked[..at].trim_end();
        let before = before.strip_suffix("pg_catalog.").unwrap_or(before).trim_end();
        let wrapped = before.strip_suffix('(').is_some_and(|b| b.trim_end().ends_with("nullif"));
        if !wrapped {
            site.warning(key, "TM0264", "`current_setting` without NULLIF: once a transaction has set it, the setting is '' and never NULL again")
                .help(format!("write {{tenant}}, or {CANONICAL}"));
        }
        if arguments(&masked[at + call.len()..]) == 1 {
            site.warning(key, "TM0265", "`current_setting` without `true` raises 42704 in a session that never set it")
                .help(format!("write {{tenant}}, or {CANONICAL}"));
        }
    }
}

/// How many arguments the call whose `(` opens `rest` has.
fn arguments(rest: &str) -> usize {
    let (mut depth, mut count) = (0usize, 1);
    for c in rest.chars() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 1 => count += 1,
            _ => {}
        }
        if depth == 0 && !c.is_whitespace() {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::super::super::trial::finds;

    #[track_caller]
    fn check(keys: &str, expect: &[&str]) {
        finds(&format!("kind = 'create_policy'\ntable = 'app.trades'\nname = 'p'\n{keys}"), expect);
    }

    #[test]
    fn a_setting_is_read_the_canonical_way() {
        let call = |text: &str| format!("using = \"\"\"a = {text}\"\"\"");
        check(&call("current_setting('x.y')::uuid"), &["TM0264", "TM0265"]);
        check(&call("current_setting('x.y', true)::uuid"), &["TM0264"]);
        check(&call("nullif ( pg_catalog.current_setting('x.y'), '')::uuid"), &["TM0265"]);
        check(&call("(SELECT NULLIF(current_setting('x,y', true), '')::uuid)"), &[]);
    }
}
