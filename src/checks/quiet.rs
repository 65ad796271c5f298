//! Nobody wrote without a tenant for so long, as the captures of the plan noted it (`capture_log`): the last session of the old
//! application is gone. `for` says how long, `tables` which tables (all that are captured where it is left out).
//!
//! The notes of that time are read by an index on their minute. A transaction that wrote without a tenant and has not
//! ended is found by its lock on the log, and a log that is younger than that time is a finding too: before it
//! nothing was noted. With `wait` the gate is measured again while it finds something; when that is spent the run
//! pauses, and nothing is undone. Without it a finding is a failure of the phase.

use serde::Deserialize;

use super::{CheckKind, Gate, Measure};
use crate::{
    plan::{Millis, Site},
    sql,
    sql::{List, Literal, QName, Stmt},
};

/// A capture notes a transaction that goes on once a second.
const FOR_MIN: Millis = Millis(1_000);
/// How many findings are told: one for each table, application and user.
const FINDINGS_MAX: u32 = 50;

/// A check of the kind `quiet`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quiet {
    /// The table of a step `capture_log`.
    pub log: QName,
    pub r#for: Millis,
    pub wait: Option<Millis>,
    #[serde(default)]
    pub tables: Vec<QName>,
}

pub const EXAMPLE: &str = r#"
[[phase.gate]]
kind = "quiet"
log  = "app.writes"
for  = "10min"
"#;

impl CheckKind for Quiet {
    fn check(&mut self, site: &mut Site<'_>) {
        if self.r#for < FOR_MIN {
            site.error("for", "TM0320", "the time is shorter than a second, and a transaction is noted once a second")
                .help("write how long nobody may have written without a tenant: for = \"10min\"");
        }
    }

    fn lower(&self) -> Gate {
        let length = humantime::format_duration(self.r#for.duration()).to_string();
        let mut queries = vec![self.notes(), self.young(&length), self.under_way()];
        queries.extend(self.tables.iter().map(disabled));
        let names: Vec<String> = self.tables.iter().map(ToString::to_string).collect();
        let (to, of) = if names.is_empty() {
            (String::new(), String::new())
        } else {
            (format!(" to {}", names.join(", ")), format!(":{}", names.join(",")))
        };
        Gate {
            id: format!("quiet:{}{of}", self.log),
            kind: "quiet".to_owned(),
            title: format!("nobody wrote{to} without a tenant for {length} ({})", self.log),
            query: sql!("{}", List(&queries, " UNION ALL ")),
            baseline: None,
            tables: vec![self.log.clone()],
            wait: self.wait,
            measure: Measure::Query,
        }
    }
}

impl Quiet {
    /// `for` before now.
    fn since(&self) -> Stmt {
        sql!("(clock_timestamp() - {}::interval)", Literal::new(format!("{}ms", self.r#for.0)))
    }

    /// A row of a minute may have been written to in its last second.
    fn notes(&self) -> Stmt {
        let names: Vec<Literal> = self.tables.iter().map(|table| Literal::new(table.to_string())).collect();
        let of = if names.is_empty() { Stmt::raw("") } else { sql!(" AND w.relation IN ({})", List(&names, ", ")) };
        sql!(
            "(SELECT format('%s as %s wrote to %s without a tenant, last at %s', coalesce(nullif(w.application, ''), 'an application without a name'),
                            w.username, w.relation, to_char(max(w.last_at), 'YYYY-MM-DD HH24:MI:SS TZ')) AS what,
                    greatest(sum(w.transactions), 1)::bigint AS found,
                    format('pid %s, since %s', max(w.pid), to_char(min(w.first_at), 'YYYY-MM-DD HH24:MI:SS TZ')) AS example
               FROM {} AS w WHERE w.minute > {} - interval '2 minutes' AND w.last_at > {} AND w.relation <> ''{}
              GROUP BY w.application, w.username, w.relation ORDER BY max(w.last_at) DESC LIMIT {})",
            self.log,
            self.since(),
            self.since(),
            of,
            FINDINGS_MAX
        )
    }

    fn young(&self, length: &str) -> Stmt {
        sql!(
            "SELECT format('who writes without a tenant is noted since %s only, not for %s',
                           coalesce(to_char(l.first, 'YYYY-MM-DD HH24:MI:SS TZ'), 'now'), {}), 1::bigint, NULL::text
               FROM (SELECT (SELECT w.first_at FROM {} AS w ORDER BY w.minute LIMIT 1) AS first) AS l
              WHERE l.first IS NULL OR l.first > {}",
            Literal::new(length),
            self.log,
            self.since()
        )
    }

    /// A prepared transaction has a lock and no process.
    fn under_way(&self) -> Stmt {
        sql!(
            "SELECT CASE WHEN l.pid IS NULL THEN 'a prepared transaction wrote without a tenant'
                         ELSE format('%s as %s writes without a tenant in a transaction that has not ended',
                                     coalesce(nullif(a.application_name, ''), 'an application without a name'), coalesce(a.usename, '?')) END,
                    1::bigint, 'pid ' || l.pid
               FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
              WHERE l.locktype = 'relation' AND l.relation = {}::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
                AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())",
            Literal::new(self.log.to_string())
        )
    }
}

/// Of a table whose capture somebody disabled nothing is noted. One that has ended is no finding: `verify` measures it anew.
fn disabled(table: &QName) -> Stmt {
    sql!(
        "SELECT {}, 1::bigint, g.tgname::text FROM pg_trigger AS g
          WHERE g.tgrelid = to_regclass({}) AND starts_with(g.tgname::text, '~tenantmig_capture_') AND g.tgenabled NOT IN ('O', 'A')",
        Literal::new(format!("the capture of {table} is disabled, so nobody who writes to it is noted")),
        Literal::new(table.to_string())
    )
}

#[cfg(test)]
mod tests {
    use crate::plan::parse;

    #[track_caller]
    fn check(keys: &str, expect: &[&str]) {
        let plan = format!(
            "format = 1\nname = 'p'\n[[phase]]\nid = 'a'\n[[phase.step]]\nkind = 'assert'\nsql = 'SELECT true'\n[[phase.gate]]\nkind = 'quiet'\nlog = 'app.writes'\n{keys}"
        );
        let (_, diags) = parse(&plan, &|_| Err(String::new()));
        let codes: Vec<&str> = diags.0.iter().map(|d| d.code).collect();
        assert_eq!(codes, expect, "{keys}: {diags:?}");
    }

    #[test]
    fn times_have_units() {
        check("for = '10min'\nwait = '24h'", &[]);
        check("for = '10min'\nwait = '24h'\ntables = ['app.trades']", &[]);
        check("for = '600'", &["TM0103"]);
        check("for = 600", &["TM0103"]);
        check("for = '10min'\nwait = 'a day'", &["TM0103"]);
        check("for = '500ms'", &["TM0320"]);
    }
}
