//! Expressions of policies that isolate, and break, leak in some sessions, or are slow; and functions that policies call.

use super::{
    Policy, Seen, Table,
    judge::{Flaw, Side},
};
use crate::{
    audit::rule::{Look, Row, Rule},
    hazards::Severity,
};

pub(in crate::audit) const KINDS: &[Rule] = &[
    Rule {
        code: "TM0516",
        severity: Severity::High,
        title: "rows without a tenant are everybody's who has none",
        why: "IS NOT DISTINCT FROM holds between NULL and NULL: a session without a tenant sees the rows without one, and \
              may write them",
        fix: "compare with =, and make the column NOT NULL",
        look: Look::Policies(|seen| flawed(seen, Flaw::NullMatches)),
    },
    Rule {
        code: "TM0517",
        severity: Severity::High,
        title: "'' is taken for a tenant",
        why: "after the first transaction that set it the setting is '' and not NULL: a used connection without a tenant sees the \
              rows whose tenant is ''",
        fix: "NULLIF(current_setting(…, true), '')",
        look: Look::Policies(|seen| flawed(seen, Flaw::TextEmpty)),
    },
    Rule {
        code: "TM0518",
        severity: Severity::Break,
        title: "a policy reads another setting",
        why: "the application sets one setting, and this policy reads another: it shows nothing, or another tenant's rows where \
              somebody sets that one",
        fix: "read the one setting that the others read, best through one function",
        look: Look::Policies(|seen| flawed(seen, Flaw::OtherSetting)),
    },
    Rule {
        code: "TM0519",
        severity: Severity::Low,
        title: "a session without a tenant meets a raw error",
        why: "isolation holds, but a setting that was never set (42704) or that is '' again (22P02) raises an error in the middle \
              of an expression, which nobody tells from a mistake of the application",
        fix: "NULLIF(current_setting(…, true), '')::type, or a context function that raises 42501 itself",
        look: Look::Policies(|seen| flawed(seen, Flaw::Noisy)),
    },
    Rule {
        code: "TM0548",
        severity: Severity::Break,
        title: "a policy that reads its own table",
        why: "the policy applies to what the policy reads: infinite recursion (42P17), and every statement on the table fails",
        fix: "compare with the context, or read through a SECURITY DEFINER function of an owner whom no policy binds",
        look: Look::Policies(recursive),
    },
    Rule {
        code: "TM0550",
        severity: Severity::Slow,
        title: "the context is read for every row",
        why: "without a sub-select around it the context is evaluated once a row: ten times as long for a large table",
        fix: "(SELECT …) around it, so that it becomes an InitPlan",
        look: Look::Policies(|seen| flawed(seen, Flaw::PerRow)),
    },
    Rule {
        code: "TM0552",
        severity: Severity::Slow,
        title: "the tenant column is compared in a form that no index has",
        why: "a cast of the column, or IS NOT DISTINCT FROM, keeps the index on the tenant from being used: every query reads \
              the whole table",
        fix: "cast the setting, not the column, and compare with =",
        look: Look::Policies(|seen| flawed(seen, Flaw::CastColumn)),
    },
    Rule {
        code: "TM0556",
        severity: Severity::Slow,
        title: "a policy that asks a query for the tenants",
        why: "a set of tenants by a query is a filter on every row and no condition of an index (147 ms against 0.1); and what \
              the query says is another policy, which no audit can judge",
        fix: "let the application name one tenant a transaction, and compare with that",
        look: Look::Policies(|seen| flawed(seen, Flaw::Member)),
    },
    Rule {
        code: "TM0557",
        severity: Severity::Critical,
        title: "the context function has a tenant for sessions that name none",
        why: "every session that does not name its tenant is taken for one of that tenant, in every policy at once; it is also \
              the first step of a rollback, which may not stay for long",
        fix: "let it return NULL where the setting is not there: SELECT NULLIF(current_setting(…, true), '')::type",
        look: Look::Policies(fallback),
    },
];

fn flawed(seen: &Seen, flaw: Flaw) -> Vec<Row> {
    let mut rows = Vec::new();
    for table in &seen.tables {
        for policy in &table.policies {
            let has = |side: Side| {
                policy.verdict(side).is_some_and(|verdict| verdict.hole.is_none() && verdict.flaws.contains(&flaw))
            };
            if has(Side::Using) || has(Side::Check) {
                rows.push((table.object(policy), said(flaw, table), Some(policy.text()), policy.mend.clone()));
            }
        }
    }
    rows
}

fn said(flaw: Flaw, table: &Table) -> String {
    let column = table.column.as_deref().unwrap_or("the column");
    match flaw {
        Flaw::NullMatches => format!("takes NULL for equal, and {column} may be NULL"),
        Flaw::TextEmpty => "does not tell '' from a tenant".to_owned(),
        Flaw::OtherSetting => "does not read the tenant where the others do".to_owned(),
        Flaw::Noisy => "raises an error where no tenant is set".to_owned(),
        Flaw::PerRow => "reads the context for each row".to_owned(),
        Flaw::CastColumn => format!("compares {column} in a form that its index has not"),
        Flaw::Member => "compares with what a query returns".to_owned(),
    }
}

/// Over any number of tables: each reads the next one under its policies.
fn recursive(seen: &Seen) -> Vec<Row> {
    let reads = |oid: u32| {
        let table = seen.tables.iter().find(|table| table.oid == oid && table.enabled);
        table.map_or(Vec::new(), |table| table.policies.iter().flat_map(|policy| policy.reads.clone()).collect())
    };
    let comes_back = |table: &Table, policy: &Policy| {
        let (mut known, mut next): (Vec<u32>, Vec<u32>) = (Vec::new(), policy.reads.clone());
        while let Some(oid) = next.pop() {
            if oid == table.oid {
                return true;
            }
            if !known.contains(&oid) {
                known.push(oid);
                next.extend(reads(oid));
            }
        }
        false
    };
    let mut rows = Vec::new();
    for table in seen.tables.iter().filter(|table| table.enabled) {
        for policy in table.policies.iter().filter(|policy| comes_back(table, policy)) {
            let what = "reads a table whose policies lead back to it: infinite recursion".to_owned();
            rows.push((table.object(policy), what, Some(policy.text()), policy.mend.clone()));
        }
    }
    rows
}

/// A constant or a COALESCE in the body, or a query: what a function in another language does nobody can read.
fn fallback(seen: &Seen) -> Vec<Row> {
    let mut rows = Vec::new();
    for function in &seen.functions {
        let source = function.source.to_lowercase();
        let constant = source.split('\'').skip(1).step_by(2).any(is_uuid) || names_a_number(&source);
        let what = if source.contains("current_setting") && (source.contains("coalesce") || constant) {
            Some("falls back to a tenant where the session names none")
        } else if constant || queries(&source) {
            Some(
                "takes the tenant from elsewhere than the session's setting: whether a session that names none gets one, no audit can judge",
            )
        } else {
            None
        };
        if let Some(what) = what {
            let evidence = function.source.split_whitespace().collect::<Vec<_>>().join(" ");
            rows.push((
                format!("function {}()", function.name),
                what.to_owned(),
                Some(evidence),
                function.mend.clone(),
            ));
        }
    }
    rows
}

/// Words in the order of the text, without what stands around them.
fn words(source: &str) -> impl Iterator<Item = &str> {
    source.split(|c: char| c.is_whitespace() || "(),;".contains(c)).filter(|word| !word.is_empty())
}

/// Whether a number, maybe in quotes, is what comes out of a branch.
fn names_a_number(source: &str) -> bool {
    let branch = |word: &str| matches!(word, "then" | "else" | "return" | "select");
    let number = |word: &str| word.trim_start_matches(['\'', '-']).starts_with(|c: char| c.is_ascii_digit());
    words(source).zip(words(source).skip(1)).any(|(before, word)| branch(before) && number(word))
}

/// Whether it reads a table. IS DISTINCT FROM is no query.
fn queries(source: &str) -> bool {
    words(source).zip(words(source).skip(1)).any(|(before, word)| word == "from" && before != "distinct")
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_by_its_words() {
        for (source, number, query) in [
            ("select nullif(current_setting('app.t', true), '')::bigint", false, false),
            ("begin if tenant is null then raise x; end if; return tenant::uuid; end", false, false),
            ("select case when a <> '' then a::int else 1 end", true, false),
            ("if a is null then return (-3); end if", true, false),
            ("select '7'::bigint", true, false),
            ("return (select id from s.orgs limit 1)", false, true),
            ("if a is distinct from b then raise x; end if", false, false),
        ] {
            assert_eq!((names_a_number(source), queries(source)), (number, query), "{source}");
        }
    }
}
