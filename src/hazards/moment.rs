//! What stands in the way at this moment, and what the server's version lacks.

use super::kind::{Kind, Needs, Query, Server, Severity};
use crate::{
    sql,
    sql::{List, Literal, Stmt},
};

pub(super) const KINDS: &[Kind] = &[
    Kind {
        code: "TM0438",
        severity: Severity::Break,
        title: "a prepared transaction",
        why: "it holds its locks and its snapshot until somebody ends it, over restarts: DDL waits for it in vain, and a vacuum \
              removes nothing that it may still see",
        fix: "commit or roll it back",
        needs: Needs::Catalog,
        query: Query::Text(PREPARED),
    },
    Kind {
        code: "TM0439",
        severity: Severity::Break,
        title: "an old transaction",
        why: "CREATE INDEX CONCURRENTLY waits for it, DDL queues behind its locks, and dead rows of a backfill stay as long as it \
              may see them",
        fix: "wait for its end, or end it: SELECT pg_terminate_backend(…)",
        needs: Needs::Activity,
        query: Query::Text(OLD),
    },
    Kind {
        code: "TM0440",
        severity: Severity::High,
        title: "a server with a known hole in row-level security",
        why: "a fault of this minor version lets rows pass by policies",
        fix: "install the newest minor version",
        needs: Needs::Catalog,
        query: Query::Built(|server| faults(server, |_| true)),
    },
];

const PREPARED: &str = r#"
SELECT 'prepared transaction ' || quote_literal(x.gid), format('of %s, since %s', quote_ident(x.owner), date_trunc('second', x.prepared)),
       (SELECT 'locks ' || string_agg(DISTINCT l.relation::regclass::text, ', ') FROM pg_locks l
         WHERE l.pid IS NULL AND l.virtualtransaction = '-1/' || x.transaction::text AND l.relation = ANY ($1 || $5)),
       format('ROLLBACK PREPARED %L', x.gid)
  FROM pg_prepared_xacts x
 WHERE x.database = current_database() AND cardinality($1) > 0
 ORDER BY 1"#;

const OLD: &str = r#"
SELECT format('session %s of %s', s.pid, coalesce(quote_ident(s.usename), s.backend_type)),
       format('has a transaction open for %s', date_trunc('second', now() - s.xact_start)),
       concat_ws(', ', 'application ' || nullif(s.application_name, ''), s.state, left(s.query, 100)),
       format('SELECT pg_terminate_backend(%s)', s.pid)
  FROM pg_stat_activity s
 WHERE s.datname = current_database() AND s.pid <> pg_backend_pid() AND s.xact_start < now() - $11 * interval '1 ms' AND cardinality($1) > 0
   AND s.backend_type <> 'autovacuum worker'
 ORDER BY s.xact_start"#;

/// A fault in row-level security, and the minors that are the first without it, one for each major that had it.
struct Fault {
    cve: &'static str,
    what: &'static str,
    fixed: &'static [u32],
}

/// Of the supported versions; 13 ended before the last of them was mended.
const FAULTS: &[Fault] = &[
    Fault {
        cve: "CVE-2023-2455",
        what: "policies are those of another role after SET ROLE, in a plan that inlined a function",
        fixed: &[130_011, 140_008, 150_003],
    },
    Fault { cve: "CVE-2023-39418", what: "MERGE passes by UPDATE and SELECT policies", fixed: &[150_004] },
    Fault {
        cve: "CVE-2024-10976",
        what: "policies below subqueries, CTEs and views are those of another role after SET ROLE",
        fixed: &[130_017, 140_014, 150_009, 160_005, 170_001],
    },
    Fault {
        cve: "CVE-2025-8713",
        what: "the planner's statistics show sampled values that a policy hides",
        fixed: &[130_022, 140_019, 150_014, 160_010, 170_006],
    },
    Fault {
        cve: "CVE-2026-14666",
        what: "statements that were prepared before a role lost BYPASSRLS or its membership still return every row",
        fixed: &[140_024, 150_019, 160_015, 170_011, 180_006],
    },
];

/// Majors without a minor that has the mend, although they have the fault.
const NEVER_MENDED: &[(&str, u32)] = &[("CVE-2026-14666", 13)];

/// A fault that a server has, and since when it is mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    pub cve: &'static str,
    pub what: &'static str,
    pub since: String,
}

/// The faults that a server of this version has, as in `server_version_num`.
pub fn lacking(version_num: u32) -> Vec<Lacking> {
    let major = version_num / 10_000;
    let of = |fault: &Fault| {
        let mended = fault.fixed.iter().find(|minor| **minor / 10_000 == major);
        let open = mended.is_some_and(|minor| version_num < *minor) || NEVER_MENDED.contains(&(fault.cve, major));
        let since = mended.map_or_else(
            || format!("{major} is no longer mended"),
            |minor| format!("mended in {}.{}", minor / 10_000, minor % 10_000),
        );
        open.then_some(Lacking { cve: fault.cve, what: fault.what, since })
    };
    FAULTS.iter().filter_map(of).collect()
}

/// The faults that this server has, those of which `meant` says so by their CVE.
pub fn faults(server: &Server, meant: impl Fn(&str) -> bool) -> Stmt {
    let rows: Vec<Stmt> = lacking(server.version_num)
        .iter()
        .filter(|fault| meant(fault.cve))
        .map(|fault| {
            sql!("({}, {}, {})", Literal::new(fault.cve), Literal::new(fault.what), Literal::new(fault.since.clone()))
        })
        .collect();
    if rows.is_empty() {
        return sql!("SELECT NULL::text, NULL::text, NULL::text, NULL::text WHERE false");
    }
    sql!(
        "SELECT f.cve, f.what, 'server ' || current_setting('server_version') || '; ' || f.since, NULL::text
           FROM (VALUES {}) f (cve, what, since) ORDER BY 1",
        List(&rows, ", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(version_num: u32, expect: &[&str]) {
        let text = faults(&Server { version_num, statements: None }, |_| true).as_str().to_owned();
        let found: Vec<&str> = FAULTS.iter().map(|fault| fault.cve).filter(|cve| text.contains(cve)).collect();
        assert_eq!(found, expect, "{version_num}");
    }

    #[test]
    fn a_fault_is_told_of_the_minors_that_have_it() {
        check(150_019, &[]);
        check(150_018, &["CVE-2026-14666"]);
        check(150_013, &["CVE-2025-8713", "CVE-2026-14666"]);
        check(130_023, &["CVE-2026-14666"]);
        check(180_004, &["CVE-2026-14666"]);
        check(180_006, &[]);
        check(190_000, &[]);
    }
}
